"""The method that a flow is integrated by: chosen by the problem, with the same result and far fewer velocities."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import flow, initial_weights, objective, sample, statistics
from attndyn.simulate.descent import stiffness
from attndyn.simulate.descent.gradient_flow import _flat, _moving
from attndyn.simulate.descent.restricted_flow import block_field
from attndyn.simulate.descent.stiffness import Tolerances, integrate

TASK = Task([3, 1, 0.2], context_length=6)
MODELS = [Merged(heads=2), Separate(heads=2), Separate(heads=3, rank=2)]


def correlated(dimension):
    """Λ_ij = 0.8^|i − j|."""
    place = np.arange(dimension)
    return Task(
        covariance=0.8 ** np.abs(place[:, None] - place), context_length=2 * dimension
    )


def sources(model):
    return population_statistics(TASK, model), statistics(
        sample(TASK, 200), model, block="restricted"
    )


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("which", [0, 1], ids=["moments", "data"])
def test_the_field_of_the_block_is_the_gradient_and_its_derivative(model, which):
    source = sources(model)[which]
    weights = initial_weights(model, TASK, 0.7, scheme="restricted")
    moving, field = _moving(model, source, weights), block_field(model, source)
    y = _flat(weights)[moving]
    slope = -0.5 * _flat(objective(model, source)(weights)[1])[moving]
    np.testing.assert_allclose(field.velocity(y), slope, rtol=1e-12, atol=1e-13)
    columns = [
        (field.velocity(y + e) - field.velocity(y - e)) / 2e-6
        for e in 1e-6 * np.eye(len(y))
    ]
    np.testing.assert_allclose(field.jacobian(y), np.transpose(columns), atol=3e-8)
    np.testing.assert_allclose(field.jacobian(y), field.jacobian(y).T, atol=1e-12)


def test_the_block_is_known_for_the_built_in_models_only():
    with pytest.raises(TypeError, match="no known velocity"):
        block_field(object(), sources(MODELS[0])[0])


class Counted:
    """A velocity that counts its calls."""

    def __init__(self, velocity):
        self.velocity, self.calls = velocity, 0

    def __call__(self, y):
        self.calls += 1
        return self.velocity(y)


RATES = -np.logspace(0, 4, 8)
TIMES = np.array([0.0, 0.1, 1.0, 5.0])


@pytest.mark.parametrize("known", [True, False])
def test_a_stiff_problem_is_solved_as_exactly_with_fewer_velocities(monkeypatch, known):
    exact = np.exp(TIMES[:, None] * RATES)
    velocity = Counted(lambda y: RATES * y)
    jacobian = (lambda y: np.diag(RATES)) if known else None
    found = integrate(velocity, np.ones(8), TIMES, Tolerances(1e-10, 1e-14), jacobian)
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-12)
    few = velocity.calls
    monkeypatch.setattr(stiffness, "STABLE", np.inf)
    monkeypatch.setattr(stiffness, "_LIMITED", np.inf)
    velocity.calls = 0
    found = integrate(velocity, np.ones(8), TIMES, Tolerances(1e-10, 1e-14), jacobian)
    np.testing.assert_allclose(found, exact, rtol=1e-8, atol=1e-12)
    assert few < velocity.calls / 5


def test_a_problem_that_is_not_stiff_is_left_to_the_explicit_method(monkeypatch):
    def never(*_):
        raise AssertionError("the implicit method was begun")

    monkeypatch.setattr(stiffness, "_implicit", never)
    times = np.array([0.0, 50.0, 2000.0])
    found = integrate(
        lambda y: np.array([y[1], -y[0]]),
        np.array([0.0, 1.0]),
        times,
        Tolerances(1e-12, 1e-14),
    )
    np.testing.assert_allclose(
        found[:, 0], np.sin(times), atol=1e-8
    )  # thousands of steps that accuracy needs
    with pytest.raises(
        AssertionError, match="was begun"
    ):  # control: a stiff one would begin it
        integrate(lambda y: RATES * y, np.ones(8), TIMES, Tolerances(1e-10, 1e-14))


@pytest.mark.parametrize("model", [Merged(heads=1), Separate(heads=2)], ids=str)
def test_the_flow_of_correlated_inputs_is_that_of_the_explicit_method(
    model, monkeypatch
):
    task = correlated(6)
    source, start = (
        population_statistics(task, model),
        initial_weights(model, task, 0.1, scheme="restricted"),
    )
    begun = []
    implicit = stiffness._implicit
    monkeypatch.setattr(
        stiffness, "_implicit", lambda *of: begun.append(of[2][0]) or implicit(*of)
    )
    monkeypatch.setattr(
        stiffness, "_IMPLICIT_STEPS", 100
    )  # a small problem would not be worth it
    times = [0.0, 3.0, 20.0, 100.0]
    automatic = flow(model, source, start, times)
    assert len(begun) == 1
    explicit = flow(model, source, start, times, method="DOP853", rtol=1e-13)
    np.testing.assert_allclose(automatic.loss, explicit.loss, rtol=1e-11)
    for name, value in explicit.weights.items():
        np.testing.assert_allclose(
            automatic.weights[name], value, atol=1e-9 * np.abs(value).max()
        )
    assert (automatic.settings["method"], explicit.settings["method"]) == (
        "automatic",
        "DOP853",
    )


def test_the_flow_of_twenty_correlated_inputs_takes_a_second():
    import time

    model, task = Separate(heads=4), correlated(20)
    source, start = (
        population_statistics(task, model),
        initial_weights(model, task, 0.1, scheme="restricted"),
    )
    begin = time.process_time()
    run = flow(model, source, start, [0.0, 50.0, 500.0])
    assert time.process_time() - begin < 4  # 9.5 s by the explicit method alone
    lowest = 6.534637186
    assert run.loss[-1] == pytest.approx(lowest, abs=1e-8)


def test_times_in_the_past_of_a_step_and_none_at_all():
    y = np.array([1.0, 2.0])
    dense = np.linspace(0.0, 2.0, 301)
    found = integrate(lambda x: -x, y, dense, Tolerances(1e-12, 1e-14))
    np.testing.assert_allclose(found, np.exp(-dense)[:, None] * y, rtol=1e-10)
    np.testing.assert_array_equal(
        integrate(lambda x: -x, y, np.array([0.0]), Tolerances(1e-12, 1e-14)), [y]
    )


def test_a_flow_that_cannot_be_followed_says_so():
    with (
        pytest.raises(ArithmeticError, match="could not be integrated"),
        np.errstate(all="ignore"),
    ):
        integrate(
            lambda x: x * x, np.ones(1), np.array([0.5, 2.0]), Tolerances(1e-10, 1e-12)
        )
