"""Descent: the known iterates, what is recorded, divergence, bad input."""

import pickle
import re
import sys

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Diverged,
    from_moments,
    initial_weights,
    sample,
    statistics,
    train,
)
from attndyn.simulate.descent.gradient_descent import descend
from attndyn.simulate.descent.recorder import DescentOptions

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1, scheme="gaussian")
RULE = {"learning_rate": 0.05, "steps": 30, "record": 7}


def source(seed=0):
    return statistics(sample(TASK, 40, seed=seed), MODEL)


def bowl(curvatures):
    """The objective Σ k θ², whose descent is θ_t = θ_0 (1 − 2ηk)^t."""
    k = np.asarray(curvatures)
    return lambda weights: (float(k @ weights["θ"] ** 2), {"θ": 2 * k * weights["θ"]})


def same_run(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        assert np.array_equal(getattr(run, name), getattr(other, name)), name
    assert run.weights.keys() == other.weights.keys()
    for name in run.weights:
        assert np.array_equal(run.weights[name], other.weights[name]), name
    assert run.learning_rate == other.learning_rate


# Known descents


def test_descent_in_a_bowl_is_geometric():
    k, θ, η, steps = np.array([1.0, 0.3]), np.array([2.0, -1.0]), 0.1, 60
    run = descend(bowl(k), {"θ": θ}, DescentOptions(η, steps, record=1), {})
    t = np.arange(steps + 1)[:, None]
    iterates = θ * (1 - 2 * η * k) ** t
    np.testing.assert_allclose(run.weights["θ"], iterates, rtol=1e-12)
    np.testing.assert_allclose(
        run.loss, (k * iterates[:-1] ** 2).sum(axis=1), rtol=1e-12
    )
    np.testing.assert_allclose(
        run.gradient_norm, np.linalg.norm(2 * k * iterates[:-1], axis=1), rtol=1e-12
    )
    flow_convention = θ * (1 - η * k) ** t  # control: the rate of the ½∂L convention
    assert not np.allclose(run.weights["θ"], flow_convention, rtol=1e-2)


def test_one_dimension_follows_the_scalar_recursion():
    c, A, B, Λ, η, u, v = 1.3, 2.0, 0.8, 1.5, 0.05, 0.2, 0.3
    model = Merged(heads=1)
    start = {"value": [[0.0, v]], "key_query": [[[u, 0.0], [0.0, 0.0]]]}
    run = train(
        model,
        from_moments(c, [[A]], [[B]], [[Λ]], model, (5,)),
        start,
        learning_rate=η,
        steps=300,
        record=1,
    )
    for step in range(300):
        assert run.loss[step] == pytest.approx(
            c - 2 * B * u * v + A * Λ * (u * v) ** 2, rel=1e-12
        )
        assert run.weights["value"][step, 0, 1] == pytest.approx(v, rel=1e-12)
        pull = 2 * η * (B - A * Λ * u * v)
        u, v = u + pull * v, v + pull * u
    assert run.final["key_query"][0, 0, 0] == pytest.approx(u, rel=1e-12)
    assert u * v == pytest.approx(B / (A * Λ), rel=1e-4)  # it has arrived


def test_the_start_is_left_alone():
    before = {name: value.copy() for name, value in START.items()}
    train(MODEL, source(), START, learning_rate=0.1, steps=5)
    assert all(np.array_equal(START[name], before[name]) for name in START)


# What is recorded


@settings(max_examples=25, deadline=None)
@forall(
    st.integers(1, 40),
    st.one_of(st.none(), st.integers(1, 50), st.lists(st.integers(0, 40), max_size=5)),
)
def test_records_are_the_iterates(steps, record):
    if isinstance(record, list):
        record = [step for step in record if step <= steps]
    every = descend(
        bowl([1.0, 2.0]), {"θ": np.array([1.0, 1.0])}, DescentOptions(0.1, steps, 1), {}
    )
    run = descend(
        bowl([1.0, 2.0]),
        {"θ": np.array([1.0, 1.0])},
        DescentOptions(0.1, steps, record),
        {},
    )
    assert np.array_equal(run.loss, every.loss)
    assert np.array_equal(run.steps, np.arange(steps))
    stored = run.weight_steps
    if isinstance(record, list):
        assert stored.tolist() == sorted({0, *record, steps})
    else:
        assert stored.tolist() == sorted({*range(0, steps, record or 1), steps})
    assert np.array_equal(run.weights["θ"], every.weights["θ"][stored])
    assert np.array_equal(run.final["θ"], every.weights["θ"][-1])


def test_about_five_hundred_weights_are_stored_unless_asked():
    for steps in (10, 999, 1000, 20_001):
        count = len(DescentOptions(0.1, steps).recorded)
        assert min(steps, 500) <= count <= 1001
    assert DescentOptions(0.1, 20_001).recorded[-1] == 20_001


def test_flow_time_is_twice_the_rate_times_the_step():
    run = train(MODEL, source(), START, learning_rate=0.01, steps=10, record=3)
    np.testing.assert_allclose(run.flow_time, 0.02 * np.arange(10), rtol=1e-15)
    np.testing.assert_allclose(
        run.weight_flow_time, 0.02 * np.array([0, 3, 6, 9, 10]), rtol=1e-15
    )
    assert not np.allclose(run.flow_time, 0.01 * run.steps)  # control: without the 2


def test_settings_tell_what_produced_the_run():
    run = train(MODEL, source(), START, learning_rate=0.01, steps=np.int64(4))
    assert run.settings["model"] == repr(MODEL)
    assert run.settings["source"] == source().digest
    assert (run.settings["steps"], run.settings["learning_rate"]) == (4, 0.01)
    assert {"attndyn", "numpy", "python"} <= run.settings["versions"].keys()


# Divergence


def test_divergence_is_raised_with_the_run_so_far():
    with pytest.raises(
        Diverged,
        match=r"not finite at step \d+; choose a learning rate smaller than 30",
    ) as error:
        train(MODEL, source(), START, learning_rate=30.0, steps=1000, record=1)
    run, step = error.value.trajectory, error.value.step
    assert len(run.loss) == step > 2
    assert np.all(np.isfinite(run.loss))
    assert run.weight_steps.tolist() == list(range(step + 1))
    again = train(MODEL, source(), START, learning_rate=30.0, steps=2, record=1)
    assert np.array_equal(again.loss, run.loss[:2])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("η", "diverges"), [(0.99, False), (1.01, True)])
def test_a_bowl_diverges_exactly_past_its_critical_rate(η, diverges):
    def run():
        return descend(
            bowl([1.0]), {"θ": np.array([1.0])}, DescentOptions(η, 40_000, 40_000), {}
        )

    if diverges:
        with pytest.raises(Diverged) as error:
            run()
        assert error.value.step == pytest.approx(
            np.log(sys.float_info.max) / 2 / np.log(1.02), rel=1e-3
        )
    else:
        assert run().loss[-1] == pytest.approx(0, abs=1e-300)


def test_divergence_on_restricted_statistics_is_divergence():
    model, start = (
        Merged(heads=2),
        initial_weights(Merged(heads=2), TASK, 0.5, scheme="restricted"),
    )
    stats = statistics(sample(TASK, 40), model, "restricted")
    with pytest.raises(Diverged):
        train(model, stats, start, learning_rate=1e3, steps=1000)


def test_divergence_travels_between_processes():
    with pytest.raises(Diverged) as error:
        train(MODEL, source(), START, learning_rate=30.0, steps=1000)
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.step) == (str(error.value), error.value.step)
    same_run(again.trajectory, error.value.trajectory)


# Bad input

BAD = {
    "learning_rate must be positive and finite, not 0": {"learning_rate": 0},
    "learning_rate must be positive and finite, not -0.1": {"learning_rate": -0.1},
    "learning_rate must be positive and finite, not nan": {
        "learning_rate": float("nan")
    },
    "learning_rate must be positive and finite, not inf": {
        "learning_rate": float("inf")
    },
    "learning_rate must be positive and finite, not '0.1'": {"learning_rate": "0.1"},
    "steps must be a whole number of at least 1, not 0": {"steps": 0},
    "steps must be a whole number of at least 1, not 5.0": {"steps": 5.0},
    "steps must be a whole number of at least 1, not True": {"steps": True},
    "record must be a number of steps of at least 1, or a list of steps, not 0": {
        "record": 0
    },
    "record must be a number of steps of at least 1, or a list of steps, not [1.5]": {
        "record": [1.5]
    },
    "record must be a number of steps of at least 1, or a list of steps, not 'all'": {
        "record": "all"
    },
    "record must name steps from 0 to 30, not 0 … 31": {"record": [31]},
    "record must name steps from 0 to 30, not -1 … 30": {"record": [-1]},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(MODEL, source(), START, **{**RULE, **BAD[message]})


@pytest.mark.parametrize(
    ("start", "message"),
    [
        (
            {"value": np.ones((2, 3))},
            "start must hold the weights value, key, query, not value",
        ),
        ({}, "start must hold the weights value, key, query, not none"),
        (
            {**START, "key": np.ones((2, 3))},
            "start['key'] must have shape (2, 1, 3), not (2, 3)",
        ),
        ({**START, "key": np.full((2, 1, 3), np.nan)}, "start['key'] must be finite"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(MODEL, source(), start, **RULE)
