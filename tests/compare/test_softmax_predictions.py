"""Predictions of softmax heads: which flow belongs to which run, and choices that there are not."""

import numpy as np
import pytest

from attndyn import Factorised, Merged, Task
from attndyn.compare import softmax_predictions
from attndyn.compare.softmax_predictions import (
    SoftmaxSetting,
    flow_under_run,
    softmax_prediction,
)
from attndyn.simulate import initial_weights, sample, train
from attndyn.theory.softmax_attention import head_scalars

D = 3
TASK = Task([1] * D, teacher_covariance=np.eye(D) / D, context_length=12)


def run_of(model, steps=4, matrix=None):
    """A run from heads 0.1 A, −0.12 A on a few prompts."""
    B = np.zeros((D + 1, D + 1))
    B[:D, :D] = np.eye(D) if matrix is None else matrix
    start = {
        "value": np.outer([0.1, -0.08], np.eye(D + 1)[D]),
        "key_query": np.multiply.outer([0.1, -0.12], B),
    }
    return train(model, sample(TASK, 20), start, learning_rate=0.1, steps=steps)


@pytest.mark.parametrize("query_token", [False, True])
@pytest.mark.parametrize(("divisor", "number"), [(1, 1), ("2", 2), ("sqrt_key", 2)])
def test_the_flow_of_a_run_is_that_of_its_model(
    query_token, divisor, number, monkeypatch
):
    """B over the divisor s is ω, whose flow is s² times as slow."""
    called = {}
    monkeypatch.setattr(
        softmax_predictions,
        "reduced_flow",
        lambda task, *arrays, **options: called.update(arrays=arrays, **options),
    )
    model = Merged(2, softmax=True, query_token=query_token, score_divisor=divisor)
    run = run_of(model)
    flow_under_run(TASK, model, run)
    ω, μ, times = called.pop("arrays")
    np.testing.assert_allclose(ω, np.array([0.1, -0.12]) / number, rtol=1e-12)
    np.testing.assert_allclose(μ, [0.1, -0.08], rtol=1e-12)
    np.testing.assert_array_equal(times, run.flow_time)
    assert called == {
        "loss": "exact",
        "metric": pytest.approx(1 / (D * number**2)),
        "query_token": query_token,
    }


def test_long_runs_are_followed_at_some_of_their_times(monkeypatch):
    times = []
    monkeypatch.setattr(
        softmax_predictions,
        "reduced_flow",
        lambda task, ω, μ, flow_time, **options: times.extend(flow_time),
    )
    model = Merged(2, softmax=True)
    run = run_of(model, steps=1000)
    flow_under_run(TASK, model, run)
    assert len(times) == len(set(times)) == 401
    assert set(times) <= set(run.flow_time)
    assert (times[0], times[-1]) == (run.flow_time[0], run.flow_time[-1])


def test_a_step_moves_omega_at_the_speed_of_the_metric():
    """dω/dt = −(ρ/2) ∂L/∂ω on any prompts: another power of the divisor would be off by a factor of two."""
    divisor, rate, ε = 2, 0.1, 1e-6
    model = Merged(2, softmax=True, query_token=False, score_divisor=divisor)
    data = sample(TASK, 20)
    run = run_of(model, steps=1)
    moved = head_scalars(model, run).omega
    speed = (moved[-1] - moved[0]) / run.weight_flow_time[-1]

    def loss(head, change):
        """The loss with one ω changed: B is the divisor times as much."""
        B = run.initial["key_query"].copy()
        B[head, :D, :D] += divisor * change * np.eye(D)
        start = run.initial | {"key_query": B}
        return train(model, data, start, learning_rate=rate, steps=1).loss[0]

    by_ω = [(loss(head, ε) - loss(head, -ε)) / (2 * ε) for head in range(2)]
    ρ = SoftmaxSetting(score_divisor=divisor).rate_of_omega(TASK)
    assert run.weight_steps.tolist() == [0, 1]
    np.testing.assert_allclose(speed, -ρ / 2 * np.array(by_ω), rtol=1e-6)


def test_other_heads_have_no_reduced_flow():
    factorised = Factorised(heads=2, softmax=True)
    start = initial_weights(factorised, TASK, 0.1, scheme="gaussian")
    run = train(factorised, sample(TASK, 20), start, learning_rate=0.1, steps=2)
    with pytest.raises(ValueError, match="merged key and query, not for Factorised"):
        flow_under_run(TASK, factorised, run)
    model = Merged(2, softmax=True)
    other = run_of(model, matrix=np.diag([1, 1, 1.3]))
    with pytest.raises(ValueError, match=r"off the symmetric family by 0\.128 of 1"):
        flow_under_run(TASK, model, other)


def test_a_tolerance_lets_the_flow_of_omega_and_mu_alone_lie_under_a_run(monkeypatch):
    model = Merged(2, softmax=True)
    other = run_of(model, matrix=np.diag([1, 1, 1.3]))
    monkeypatch.setattr(
        softmax_predictions, "reduced_flow", lambda task, ω, μ, times, **options: ω
    )
    ω = flow_under_run(TASK, model, other, family_tolerance=0.2)
    np.testing.assert_allclose(ω, 1.1 * np.array([0.1, -0.12]), rtol=1e-12)
    with pytest.raises(ValueError, match="family_tolerance must be"):
        flow_under_run(TASK, model, other, family_tolerance=-1)


@pytest.mark.parametrize(
    ("choice", "message"),
    [
        ({"loss": "mean"}, "loss must be one of exact, approximate, not 'mean'"),
        ({"query_token": 1}, "query_token must be True or False"),
        ({"score_divisor": "sqrt"}, "score_divisor must be"),
        ({"metric": "flat"}, "metric must be one of matrix, euclidean"),
        ({"metric": float("inf")}, "metric must be positive and finite"),
        ({"loss": "approximate", "query_token": True}, "leave query_token out"),
    ],
)
def test_a_setting_has_choices(choice, message):
    with pytest.raises(ValueError, match=message):
        SoftmaxSetting(**choice)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"heads": 0}, "heads must be a whole number of at least 1"),
        ({"omega": [1.0]}, "omega and mu belong together"),
        ({"flow_time": [1.0]}, "a flow needs a start"),
        ({"omega": [0.1], "mu": [0.1]}, r"omega must have shape \(2,\), not \(1,\)"),
        ({"omega": [[0.1, 0.2]], "mu": [[0.1, 0.2]]}, "omega must have shape"),
    ],
)
def test_what_is_missing_is_said(arguments, message):
    with pytest.raises(ValueError, match=message):
        softmax_prediction(TASK, **({"heads": 2} | arguments))
