"""Gradient flow against closed forms, its conservation laws, and descent converging to it at first order."""

import re

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import (
    flow,
    from_moments,
    initial_weights,
    sample,
    statistics,
    train,
)
from attndyn.theory import population

A, B, Λ, C = 2.0, 0.8, 1.5, 1.3
"""Moments of a problem in one dimension: L(M) = C − 2 B M + A Λ M²."""

TASK = Task([3, 2, 1], trace=1.0, context_length=7)


def scalar(u, v):
    """Merged attention in one dimension with M = v·u."""
    return {"value": [[0.0, v]], "key_query": [[[u, 0.0], [0.0, 0.0]]]}


def scalar_flow(u, v, times):
    return flow(
        Merged(heads=1),
        from_moments(C, [[A]], [[B]], [[Λ]], Merged(heads=1), (5,)),
        scalar(u, v),
        times,
    )


def scalar_loss(M):
    return C - 2 * B * M + A * Λ * M**2


def test_one_dimension_balanced_is_a_logistic_curve():
    """u = v: M' = 2 M (B − AΛ M), solved by separation of variables."""
    t, w0 = np.linspace(0, 12, 50), 0.05
    growth = np.exp(2 * B * t)
    M = B * growth / (A * Λ * (growth - 1) + B / w0**2)
    run = scalar_flow(w0, w0, t)
    np.testing.assert_allclose(run.weights["value"][:, 0, 1] ** 2, M, rtol=1e-9)
    np.testing.assert_allclose(run.loss, scalar_loss(M), rtol=1e-9)
    np.testing.assert_array_equal(run.flow_time, t)
    slow = np.exp(B * t)  # control: the flow of half the rate
    wrong = B * slow / (A * Λ * (slow - 1) + B / w0**2)
    assert np.max(np.abs(run.loss / scalar_loss(wrong) - 1)) > 0.1


def test_one_dimension_unbalanced_conserves_the_difference_of_squares():
    """u² − v² = K: with 2 M = K sinh θ, θ' = 2 B − AΛ K sinh θ, integrated here in θ by quadrature."""
    from scipy.integrate import quad

    u, v = 0.3, 0.1
    K = u**2 - v**2
    run = scalar_flow(u, v, [0.0, 0.5, 1.0, 2.0])
    M = run.weights["value"][:, 0, 1] * run.weights["key_query"][:, 0, 0, 0]
    θ = np.arcsinh(2 * M / K)
    for index in range(1, 4):
        time, _ = quad(
            lambda x: 1 / (2 * B - A * Λ * K * np.sinh(x)), θ[0], θ[index], epsabs=1e-13
        )
        assert time == pytest.approx(run.flow_time[index], rel=1e-10)
    half = quad(lambda x: 1 / (B - A * Λ * K * np.sinh(x) / 2), θ[0], θ[1])[
        0
    ]  # control
    assert half != pytest.approx(run.flow_time[1], rel=0.5)


def test_an_aligned_head_follows_its_scalar_equation():
    """One separate head in one dimension, balanced: v' = B v² − AΛ v⁵, by quadrature."""
    from scipy.integrate import quad

    model, v0 = Separate(heads=1), 0.3
    start = {"value": [[0.0, v0]], "key": [[[v0, 0.0]]], "query": [[[v0, 0.0]]]}
    stats = from_moments(C, [[A]], [[B]], [[Λ]], model, (5,))
    run = flow(model, stats, start, [0.0, 1.0, 3.0, 5.0])
    v = run.weights["value"][:, 0, 1]
    for index in range(1, 4):
        time, _ = quad(
            lambda x: 1 / (B * x**2 - A * Λ * x**5), v[0], v[index], epsabs=1e-13
        )
        assert time == pytest.approx(run.flow_time[index], rel=1e-9)
    assert np.ptp(run.weights["key"][:, 0, 0, 0] - v) < 1e-11


MERGED, SEPARATE = Merged(heads=3), Separate(heads=2, rank=2)
STATISTICS = statistics(sample(TASK, 500), MERGED)


def invariants(run):
    """Conserved quantities along a run (K, …), those of the full block: every entry of a and of B moves."""
    value, last = run.weights["value"], slice(None, -1)
    if "key" not in run.weights:
        B = run.weights["key_query"][..., last].reshape(*value.shape[:2], -1)
        return value @ value.swapaxes(1, 2) - B @ B.swapaxes(1, 2)
    key, query = run.weights["key"], run.weights["query"][..., last]
    balance = key @ key.swapaxes(-1, -2) - query @ query.swapaxes(-1, -2)
    norm = (value**2).sum(-1) - (key**2).sum((-1, -2))
    return np.concatenate([balance.reshape(len(value), -1), norm], axis=1)


def drift(run):
    return np.max(np.abs(invariants(run) - invariants(run)[0]))


@pytest.mark.parametrize("model", [MERGED, SEPARATE], ids=["merged", "separate"])
def test_flow_conserves_what_descent_breaks_at_first_order(model):
    start = initial_weights(model, TASK, 0.4, seed=1, scheme="gaussian")
    run = flow(model, STATISTICS, start, np.linspace(0, 10, 21))
    assert drift(run) < 1e-10
    assert (
        np.max(np.abs(run.final["value"] - start["value"])) > 0.1
    )  # control: the weights do move
    rates = np.array([0.02, 0.01, 0.005, 0.0025])
    drifts = [
        drift(
            train(
                model,
                STATISTICS,
                start,
                learning_rate=rate,
                steps=round(5 / rate),
                record=100,
            )
        )
        for rate in rates
    ]
    assert order(rates, drifts) == pytest.approx(1, abs=0.1)
    assert drifts[-1] > 1e-5  # control: 1e-10 is a bound that descent does not meet


def order(rates, errors):
    """Slope of log error over log rate."""
    return np.polyfit(np.log(rates), np.log(errors), 1)[0]


@pytest.mark.parametrize("model", [MERGED, SEPARATE], ids=["merged", "separate"])
def test_descent_converges_to_flow_at_first_order(model):
    start = initial_weights(model, TASK, 0.4, seed=1, scheme="gaussian")
    rates, end = np.array([0.02, 0.01, 0.005, 0.0025]), 8.0
    reference = flow(model, STATISTICS, start, np.arange(0, end, 2 * rates[0]))
    errors, shifted = [], []
    for rate in rates:
        run = train(
            model,
            STATISTICS,
            start,
            learning_rate=rate,
            steps=round(end / (2 * rate)),
            record=10**6,
        )
        loss = run.loss[:: round(rates[0] / rate)]
        errors.append(np.max(np.abs(loss - reference.loss)))
        shifted.append(np.max(np.abs(loss[::2] - reference.loss[: len(loss[::2])])))
    assert order(rates, errors) == pytest.approx(1, abs=0.1)
    assert errors[-1] < 2e-3
    assert (
        abs(order(rates, shifted)) < 0.1
    )  # control: at t = η·step descent does not converge to the flow
    assert shifted[-1] > 10 * errors[-1]


@pytest.mark.parametrize("model", [MERGED, SEPARATE], ids=["merged", "separate"])
def test_loss_decreases_by_the_squared_gradient(model):
    """dL/dt = −½ |∂L/∂θ|², so that the loss never rises."""
    start = initial_weights(model, TASK, 0.4, seed=1, scheme="gaussian")
    run = flow(model, STATISTICS, start, np.linspace(0, 8, 2001))
    assert np.all(np.diff(run.loss) < 0)
    half = run.gradient_norm**2 / 2
    fallen = np.sum((half[1:] + half[:-1]) / 2 * np.diff(run.flow_time))
    assert fallen == pytest.approx(run.loss[0] - run.loss[-1], rel=1e-5)
    assert fallen != pytest.approx(
        2 * (run.loss[0] - run.loss[-1]), rel=0.1
    )  # control: without the ½


def test_accuracy_is_what_rtol_says():
    start, times = (
        initial_weights(SEPARATE, TASK, 0.4, seed=1, scheme="gaussian"),
        np.linspace(0, 20, 41),
    )
    best = flow(SEPARATE, STATISTICS, start, times, rtol=3e-14)
    error = [
        np.max(
            np.abs(flow(SEPARATE, STATISTICS, start, times, rtol=r).loss - best.loss)
        )
        for r in (1e-6, 1e-12)
    ]
    assert error[1] < 1e-11 < 1e-9 < error[0] < 1e-4
    other = flow(SEPARATE, STATISTICS, start, times, method="Radau", rtol=1e-8)
    np.testing.assert_allclose(other.loss, best.loss, rtol=1e-6)


def test_small_weights_keep_their_digits():
    """At scale 1e-6 the linear phase multiplies the weights: relative accuracy, though each is tiny."""
    t = np.array([0.0, 1.0, 2.0])
    run = scalar_flow(1e-6, 1e-6, t)
    np.testing.assert_allclose(
        run.weights["value"][:, 0, 1], 1e-6 * np.exp(B * t), rtol=1e-9
    )


def test_the_flow_of_tokens_is_the_flow_of_statistics():
    data, start = (
        sample(TASK, 30),
        initial_weights(SEPARATE, TASK, 0.4, scheme="gaussian"),
    )
    times = [0.0, 1.0, 4.0]
    tokens, stats = (
        flow(SEPARATE, each, start, times)
        for each in (data, statistics(data, SEPARATE))
    )
    np.testing.assert_allclose(tokens.loss, stats.loss, rtol=1e-10)
    soft = Merged(heads=2, softmax=True)
    run = flow(
        soft,
        data,
        initial_weights(soft, TASK, 0.4, scheme="gaussian"),
        times,
        rtol=1e-8,
    )
    assert run.loss[-1] < run.loss[0]


def test_a_flow_may_start_late_and_go_on_from_where_it_stands():
    start = initial_weights(SEPARATE, TASK, 0.4, scheme="gaussian")
    whole = flow(SEPARATE, STATISTICS, start, [0.0, 2.0, 5.0])
    first = flow(SEPARATE, STATISTICS, start, [2.0])
    second = flow(SEPARATE, STATISTICS, first.final, [3.0])
    np.testing.assert_allclose(
        [first.loss[0], second.loss[0]], whole.loss[1:], rtol=1e-11
    )
    assert np.array_equal(
        flow(SEPARATE, STATISTICS, start, [0.0]).final["key"], start["key"]
    )


@pytest.mark.parametrize("method", ["LSODA", "Radau"])
@pytest.mark.parametrize(
    "model", [Merged(heads=1), Separate(heads=2)], ids=["merged", "separate"]
)
def test_implicit_methods_stay_inside_the_block(model, method):
    """Their Jacobian is taken by differences, which must not leave the block that statistics know."""
    start = initial_weights(model, TASK, 0.4, scheme="restricted")
    inside, times = statistics(sample(TASK, 100), model, "restricted"), [0.0, 3.0, 60.0]
    run = flow(model, inside, start, times, method=method, rtol=1e-9)
    np.testing.assert_allclose(
        run.loss, flow(model, inside, start, times).loss, rtol=1e-6
    )
    full = flow(model, statistics(sample(TASK, 100), model), start, times)
    assert not np.any(run.weights["value"][..., :-1])
    assert (
        np.max(np.abs(full.weights["value"][..., :-1])) > 1e-3
    )  # control: full statistics move them
    untouched = "query" if "query" in start else "key_query"
    assert np.array_equal(full.final[untouched][..., -1], start[untouched][..., -1])


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([], "flow_time must be a list of finite times, not []"),
        (3.0, "flow_time must be a list of finite times, not 3.0"),
        ([0, np.nan], "flow_time must be a list of finite times"),
        ([-1, 2], "flow_time must start at 0 or later and increase"),
        ([0, 2, 1], "flow_time must start at 0 or later and increase"),
        ([0, 1, 1], "flow_time must start at 0 or later and increase"),
    ],
)
def test_times_that_do_not_increase_are_refused(times, message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        flow(
            SEPARATE,
            STATISTICS,
            initial_weights(SEPARATE, TASK, 0.4, scheme="gaussian"),
            times,
        )
    assert "\n" not in str(error.value)


# Weights of different sizes


@pytest.mark.parametrize("small", [1e-6, 1e-12, 1e-18, 1e-30])
def test_tiny_keys_and_queries_beside_a_large_value_leave_when_they_should(small):
    """v = 1 and k = q = ε in one dimension: with s = ln(k/ε), v' = B k² − A v k⁴ and s' = v (B − A v k²)."""
    moments = population(Task([1.0], context_length=5), Separate(heads=1))
    A, B = float(moments.A[0, 0]), float(moments.B[0, 0])

    def slope(_, y):
        v, k = y[0], small * np.exp(y[1])
        force = B - A * v * k * k
        return [k * k * force, v * force]

    until = (0.5 - np.log(small)) / B
    v, s = solve_ivp(
        slope, (0, until), [1.0, 0.0], method="DOP853", rtol=1e-13, atol=1e-13
    ).y[:, -1]
    start = {"value": [[0.0, 1.0]], "key": [[[small, 0.0]]], "query": [[[small, 0.0]]]}
    model = Separate(heads=1)
    run = flow(
        model,
        population_statistics(Task([1.0], context_length=5), model),
        start,
        [0.0, until],
    )
    np.testing.assert_allclose(run.final["key"][0, 0, 0], small * np.exp(s), rtol=1e-9)
    np.testing.assert_allclose(run.final["value"][0, 1], v, rtol=1e-9)


@pytest.mark.parametrize("small", [1e-3, 1e-5, 1e-7])
def test_a_tiny_head_beside_one_at_rest_waits_as_long_as_it_should(small):
    """A balanced head on an eigenvector obeys u' = b u² while it is small, so that 1/u falls at the rate b."""
    task, model = Task([1.0, 0.7], context_length=5), Separate(heads=2)
    moments = population(task, model)
    at_rest = moments.coefficients[0] ** (1 / 3)
    start = initial_weights(model, task, scale=[at_rest, small], scheme="aligned")
    half = 0.5 / (moments.b[1] * small)
    run = flow(model, population_statistics(task, model), start, [0.0, half])
    np.testing.assert_allclose(
        run.final["value"][1, -1], 2 * small, rtol=max(1e-9, 20 * small**2)
    )


def test_losses_that_the_tolerance_decides_are_refused():
    task, model = Task([2, 1], context_length=4, noise_variance=0.1), Separate(heads=2)
    start = initial_weights(model, task, scale=0.3, seed=2, scheme="restricted")
    run = flow(
        model,
        population_statistics(task, model),
        {name: 1e3 * value for name, value in start.items()},
        [0, 3],
    )
    assert abs(run.loss[-1] - 1.7165) < 1e-3
    with pytest.raises(
        ArithmeticError,
        match="and may decide what the loss is: start from smaller weights",
    ):
        flow(
            model,
            population_statistics(task, model),
            {name: 1e6 * value for name, value in start.items()},
            [0, 3],
        )


@pytest.mark.parametrize("rtol", [0, -1, np.nan, np.inf, 0.1, True, None, "1e-9"])
@pytest.mark.parametrize("method", ["automatic", "RK45"])
def test_a_tolerance_that_is_none_is_refused(rtol, method):
    with pytest.raises(ValueError, match="rtol must be"):
        flow(
            SEPARATE,
            STATISTICS,
            initial_weights(SEPARATE, TASK, 0.4, scheme="gaussian"),
            [0, 1],
            rtol=rtol,
            method=method,
        )


def test_a_coarse_tolerance_is_no_fall_of_the_weights():
    start = initial_weights(SEPARATE, TASK, 0.4, scheme="gaussian")
    fine = flow(SEPARATE, STATISTICS, start, [0, 3])
    coarse = flow(SEPARATE, STATISTICS, start, [0, 3], rtol=1e-3)
    assert 0 < np.max(np.abs(coarse.loss / fine.loss - 1)) < 1e-2
