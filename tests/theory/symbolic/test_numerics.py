"""The derived flow in numbers: against finite differences of the derived loss, in scipy and in our integrator."""

import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.compare.user.derived_time_courses import derived_time_course
from attndyn.simulate import flow, from_moments
from attndyn.theory import population, time_course
from attndyn.theory.ode import integrate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    SymbolicTask,
    average,
    rational_task,
    symbolic_task,
)
from attndyn.theory.symbolic.derivation import derive, derive_output
from attndyn.theory.symbolic.numerics import (
    numeric,
    packed,
    parameter_values,
    to_numpy,
    unpacked,
)

TASK = Task(eigenvalues=[0.6, 0.3], context_length=5)
MODEL = Separate(heads=2)
DERIVED = derive(symbolic_task(2), MODEL, "restricted")
EXACT = derive(rational_task(TASK), MODEL, "restricted")


def weights(seed=0, model=MODEL):
    """Random weights on the restricted block."""
    random = np.random.default_rng(seed)
    arrays = {
        name: random.normal(size=shape) for name, shape in model.shapes(2).items()
    }
    arrays["value"][..., :-1] = 0
    if "key" in arrays:
        arrays["key"][..., -1] = 0
    else:
        arrays["key_query"][:, -1, :-1] = 0
    return arrays


def test_rates_are_minus_half_the_slope_of_the_loss():
    right = to_numpy(EXACT)
    y = packed(EXACT, weights())
    loss = numeric([EXACT.loss.expression], EXACT.weights, {})
    steps = 1e-5 * np.eye(len(y))
    slopes = (loss((y + steps).T) - loss((y - steps).T))[0] / 2e-5
    np.testing.assert_allclose(right.rate(y), -slopes / 2, rtol=1e-7, atol=1e-9)
    assert np.max(np.abs(right.rate(y) + slopes)) > 1e-2  # control: no half


def test_symbols_with_numbers_are_the_exact_task():
    values = parameter_values(DERIVED.task, TASK)
    y = packed(DERIVED, weights(1))
    assert DERIVED.weights == EXACT.weights
    expected = to_numpy(EXACT).rate(y)
    np.testing.assert_allclose(to_numpy(DERIVED, values).rate(y), expected, rtol=1e-12)
    floats = {symbol: float(value) for symbol, value in values.items()}
    np.testing.assert_allclose(to_numpy(DERIVED, floats).rate(y), expected, rtol=1e-12)
    np.testing.assert_allclose(
        to_numpy(DERIVED.flow, values).rate(y), expected, rtol=1e-12
    )
    assert np.max(np.abs(to_numpy(DERIVED, values | {N: 6}).rate(y) - expected)) > 1e-3


def test_scipy_and_our_integrator_take_it_as_it_is():
    right = to_numpy(EXACT)
    start, times = 0.3 * packed(EXACT, weights(2)), np.linspace(0, 20, 5)
    ours = integrate(right.rate, start, times)
    scipys = solve_ivp(
        right, (0, 20), start, t_eval=times, rtol=1e-10, atol=1e-12, method="DOP853"
    )
    np.testing.assert_allclose(scipys.y.T, ours, rtol=1e-7, atol=1e-9)
    assert np.max(np.abs(ours[-1] - start)) > 0.1


def test_reduced_equations_are_compiled_like_a_flow():
    v, rate = sp.Symbol("v", real=True), sp.Symbol("g", positive=True)
    right = to_numpy({v: v**2 - rate * v**5}, {rate: sp.Rational(1, 2)})
    assert right.weights == (v,)
    assert right(0.0, np.array([2.0])).tolist() == [4 - 16]


def test_a_symbol_without_a_number_is_named():
    with pytest.raises(
        ValueError, match="parameters must give a number for N, lambda_2"
    ):
        to_numpy(DERIVED, {DERIVED.parameters[0]: 1})
    with pytest.raises(ValueError, match="N must be a finite real number, not zoo"):
        to_numpy(DERIVED, {N: sp.zoo})


# Packing


def test_packing_is_undone_and_weights_off_the_output_stay():
    start = weights(3)
    y = packed(EXACT, start)
    assert y.shape == (10,)
    for name, array in unpacked(EXACT, y, start).items():
        np.testing.assert_array_equal(array, start[name])
    moved = unpacked(EXACT, np.stack([y, 2 * y]), start)
    assert moved["query"].shape == (2, 2, 1, 3)
    np.testing.assert_array_equal(
        moved["query"][1, ..., :2], 2 * start["query"][..., :2]
    )
    np.testing.assert_array_equal(moved["query"][1, ..., 2], start["query"][..., 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"values": 0},
            "weights must be value, key, query, not value, key, query, values",
        ),
        ({"key": np.zeros((2, 3))}, r"key must be finite numbers of shape \(2, 1, 3\)"),
        ({"key": np.full((2, 1, 3), np.nan)}, r"key must be finite numbers"),
    ],
)
def test_wrong_weights_are_named(change, message):
    with pytest.raises(ValueError, match=message):
        packed(EXACT, weights() | change)


# A symbolic task in numbers


def test_every_symbol_of_a_task_has_its_number():
    task = Task(
        covariance=[[2, 0], [0, 0.5]],
        teacher_covariance=[[1, 0.25], [0.25, 3]],
        noise_variance=0.25,
        fixed_teacher=[1, -1],
        in_context_fraction=0.75,
        context_length=4,
    )
    symbols = symbolic_task(2, teachers="general", noise=True, mixture=True)
    values = {
        str(symbol): value for symbol, value in parameter_values(symbols, task).items()
    }
    assert values == {
        "N": 4,
        "lambda_1": 2,
        "lambda_2": sp.Rational(1, 2),
        "Omega_11": 1,
        "Omega_12": sp.Rational(1, 4),
        "Omega_22": 3,
        "sigma": sp.Rational(1, 2),
        "w0_1": 1,
        "w0_2": -1,
        "p": sp.Rational(3, 4),
    }
    assert parameter_values(rational_task(task), task) == {}


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (
            Task(covariance=[[2, 0.5], [0.5, 1]], context_length=4),
            "covariance is 0 in the derivation and 1/2 in",
        ),
        (
            Task([2, 1], context_length=4, noise_variance=1),
            "noise_variance is 0 in the derivation",
        ),
        (
            Task([2, 1, 1], context_length=4),
            "dimension is 2 in the derivation and 3 in the task",
        ),
        (
            Task([2, 1], context_length="1..4"),
            r"context_lengths is \(N,\) in the derivation and 1..4",
        ),
        (
            Task(
                [2, 1], context_length=4, fixed_teacher=[1, 0], in_context_fraction=0.5
            ),
            "fixed_teacher is 0",
        ),
    ],
)
def test_another_task_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        parameter_values(symbolic_task(2), task)


def test_one_symbol_cannot_have_two_numbers():
    a = sp.Symbol("a", positive=True)
    white = SymbolicTask(a * sp.eye(2), sp.eye(2), sp.Integer(0), (N,))
    assert parameter_values(white, Task([2, 2], context_length=3)) == {N: 3, a: 2}
    with pytest.raises(
        ValueError, match="covariance is a in the derivation and 1 in the task"
    ):
        parameter_values(white, Task([2, 1], context_length=3))
    with pytest.raises(ValueError, match=r"covariance is a \+ 1 in the derivation"):
        parameter_values(
            SymbolicTask((a + 1) * sp.eye(1), sp.eye(1), 0, (N,)),
            Task([2], context_length=3),
        )


# The course


@pytest.mark.parametrize(
    "model", [Merged(2), Separate(2), Separate(1, rank=2)], ids=repr
)
def test_the_course_is_the_gradient_flow_of_exact_statistics(model):
    start = {name: 0.4 * array for name, array in weights(4, model).items()}
    derivation, times = (
        derive(symbolic_task(2), model, "restricted"),
        np.linspace(0, 40, 9),
    )
    course = derived_time_course(derivation, TASK, start, times)
    moments = population(TASK, model)
    exact = from_moments(
        moments.c, moments.A, moments.B, moments.Lambda, model, TASK.context_lengths
    )
    run = flow(model, exact, start, times, rtol=1e-10)
    np.testing.assert_allclose(course.loss, run.loss, rtol=1e-7)
    final = unpacked(derivation, course.amplitudes, start)
    for name, array in run.weights.items():
        np.testing.assert_allclose(final[name], array, rtol=1e-6, atol=1e-8)
    other = derived_time_course(
        derivation, Task([0.6, 0.3], context_length=6), start, times
    )
    assert np.max(np.abs(other.loss - run.loss)) > 1e-3


def test_the_course_is_the_closed_form_where_there_is_one():
    amplitudes, times = np.array([0.3, 0.2]), np.array([0.0, 5, 50])
    curve = time_course(TASK, MODEL, times, amplitudes)
    start = {name: np.zeros(shape) for name, shape in MODEL.shapes(2).items()}
    start["value"][:, 2] = amplitudes
    start["key"][:, 0, :2] = start["query"][:, 0, :2] = np.diag(amplitudes)
    course = derived_time_course(EXACT, TASK, start, times)
    np.testing.assert_allclose(course.loss, curve.loss, rtol=1e-9)
    np.testing.assert_allclose(
        course.coefficients, curve.coefficients, rtol=1e-9, atol=1e-15
    )
    assert course.source == "derived flow"


def test_the_block_of_the_derivation_is_held():
    outside = weights()
    outside["key"][0, 0, 2] = 0.1
    with pytest.raises(ValueError, match='derive the model with block "full"'):
        derived_time_course(DERIVED, TASK, outside, [0, 1])
    full = derive(rational_task(TASK), MODEL)
    assert derived_time_course(full, TASK, outside, [0, 1]).loss.shape == (2,)


def test_an_output_without_a_model_starts_from_zero_too():
    """dm/dt = B − A m is solved by hand; zero is no point of rest."""
    prompt, m = Prompt(1), sp.Symbol("m", real=True)
    derivation = derive_output(
        symbolic_task(1), m * average(prompt.y * prompt.x[0]) * prompt.query[0], [m]
    )
    times = np.array([0.0, 0.1, 1, 10])
    course = derived_time_course(
        derivation, Task([2], context_length=4), {"m": 0.0}, times
    )
    limit, speed = 1 / 3, 12
    np.testing.assert_allclose(
        course.amplitudes[:, 0], limit * -np.expm1(-speed * times), rtol=1e-9
    )
    assert course.coefficients.shape == (4, 0)
    assert course.loss[-1] == pytest.approx(2 - 4 * limit, rel=1e-9)
