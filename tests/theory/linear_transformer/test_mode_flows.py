"""The flow of modes, exact and decoupled, against independent integration, its limits and what it conserves."""

import time

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn.theory.linear_transformer import (
    many_starts,
    minimum,
    mode_flow,
    mode_loss,
)
from attndyn.theory.linear_transformer.mode_flows import decoupled_rates
from attndyn.theory.linear_transformer.mode_losses import (
    half_hessian_of_modes,
    velocity_of_modes,
)
from attndyn.theory.linear_transformer.mode_tasks import mode_task

from .laws import hostile_task, modes

STAIRCASE = [2, 1, 0.5, 0.25]


def by_differences(task, model, D):
    """−½∂L/∂(p, q) by five differences of the loss, exact for a polynomial of degree 4."""

    def velocity(_, x):
        steps = 1e-3 * np.eye(2 * D)
        moved = np.array([x + 2 * steps, x + steps, x - steps, x - 2 * steps])
        losses = mode_loss(task, moved[..., :D], moved[..., D:], model)
        return -(-losses[0] + 8 * losses[1] - 8 * losses[2] + losses[3]) / 12e-3 / 2

    return velocity


@pytest.mark.parametrize("seed", range(4))
def test_the_flow_descends_the_loss_of_modes(seed):
    generator = np.random.default_rng(seed)
    task, model = hostile_task(generator)
    D = task.dimension
    start = generator.normal(size=2 * D)
    expected = solve_ivp(
        by_differences(task, model, D), (0, 3), start, rtol=1e-7, atol=1e-9
    )
    flow = mode_flow(task, start[:D], start[D:], [3.0, 0.0], model)
    found = np.concatenate([flow.p[0], flow.q[0]])
    assert found == pytest.approx(expected.y[:, -1], abs=1e-5)
    assert np.concatenate([flow.p[1], flow.q[1]]) == pytest.approx(start, abs=1e-14)


def test_many_starts_are_each_as_alone():
    task = modes([1, 0.6, 0.3], 9, [1, 2, 0.5], 0.2)
    generator = np.random.default_rng(0)
    p, q = 0.1 * generator.normal(size=(2, 3, 3, 3))
    times = [0.0, 5.0, 2.5, 20.0]
    together = mode_flow(task, p, q, times)
    assert together.loss.shape == (4, 3, 3)
    for start in ((0, 0), (2, 1), (1, 2)):
        alone = mode_flow(task, p[start], q[start], times)
        found = together.coefficients[(slice(None), *start)]
        assert found == pytest.approx(alone.coefficients, rel=1e-9, abs=1e-11)


def test_the_implicit_solver_goes_on_where_explicit_steps_run_out(monkeypatch):
    task = modes([1, 0.6, 0.3], 9, [1, 2, 0.5], 0.2)
    p, q = 0.1 * np.random.default_rng(1).normal(size=(2, 8, 3))
    times = [0.0, 1.0, 5.0, 20.0]
    expected = mode_flow(task, p, q, times)
    monkeypatch.setattr(many_starts, "_most_steps", lambda starts: 20)
    found = mode_flow(task, p, q, times)
    assert not np.array_equal(found.p, expected.p)
    assert found.p == pytest.approx(expected.p, rel=1e-9, abs=1e-11)
    assert found.q == pytest.approx(expected.q, rel=1e-9, abs=1e-11)


def test_a_long_time_ends_at_the_minimum():
    task = modes([1, 0.5, 0.01], 5, noise=0.1)
    flow = mode_flow(task, [1e-3] * 3, [1e-3] * 3, [0, 1e7])
    least = minimum(task)
    assert not least.active[2]
    assert flow.loss[-1] == pytest.approx(least.loss, rel=1e-12)
    assert flow.coefficients[-1] == pytest.approx(least.coefficients, abs=1e-6)


@pytest.mark.parametrize(
    ("N", "slowest", "loss"),
    [(20, 0.557, None), (1000, 0.0145, 0.001), (10**5, 0.00015, 1.2e-5)],
)
def test_the_decoupled_law_is_off_by_order_1_over_N(N, slowest, loss):
    task = modes(STAIRCASE, N)
    start, times = [np.sqrt(1e-3)] * 4, np.linspace(0, 180, 721)
    exact = mode_flow(task, start, start, times)
    decoupled = mode_flow(task, start, start, times, law="decoupled")
    learned = decoupled_rates(exact.modes).coefficients
    error = np.max(np.abs(exact.coefficients - decoupled.coefficients), axis=0)
    assert (error / learned)[3] == pytest.approx(slowest, rel=0.02)
    if loss is not None:
        gap = np.max(np.abs(exact.loss - decoupled.loss)) / exact.loss[0]
        assert gap == pytest.approx(loss, rel=0.1)


def test_the_decoupled_law_is_exact_for_equal_modes():
    task = modes([0.7] * 3, 5, [1.5] * 3, 0.4)
    times = np.linspace(0, 20, 11)
    start = np.array([0.2, 0.2, 0.2]), np.array([0.05, 0.05, 0.05])
    exact = mode_flow(task, *start, times)
    decoupled = mode_flow(task, *start, times, law="decoupled")
    assert decoupled.p == pytest.approx(exact.p, rel=1e-9)
    assert decoupled.loss == pytest.approx(exact.loss, rel=1e-10)


def test_the_closed_form_holds_for_either_sign_and_above_the_fixed_point():
    task = modes([1.0, 0.5], 10)
    spectrum = mode_task(task, None, "this test")
    α, κ = decoupled_rates(spectrum)
    p, q = 1.5 * np.random.default_rng(0).normal(size=(2, 12, 2))

    def velocity(_, x):
        p, q = x.reshape(2, 12, 2)
        residual = α - κ * p * q
        return np.concatenate([(q * residual).ravel(), (p * residual).ravel()])

    start = np.concatenate([p.ravel(), q.ravel()])
    expected = solve_ivp(velocity, (0, 8), start, rtol=1e-11, atol=1e-13).y[:, -1]
    flow = mode_flow(task, p, q, 8.0, law="decoupled")
    found = np.concatenate([flow.p[0].ravel(), flow.q[0].ravel()])
    assert found == pytest.approx(expected, abs=3e-9)
    assert np.any(p * q > α / κ)
    assert np.any(p * q < 0)


def test_the_total_is_conserved_and_no_mode_alone():
    task = modes(STAIRCASE, 20)
    start = [np.sqrt(1e-3)] * 4
    flow = mode_flow(task, start, start, [0, 180.0])
    differences = (flow.p**2 - flow.q**2)[-1]
    assert differences == pytest.approx([0.70, 0.68, 0.17, -1.55], abs=0.01)
    assert np.sum(differences) == pytest.approx(0, abs=1e-10)
    decoupled = mode_flow(task, start, start, [0, 180.0], law="decoupled")
    assert (decoupled.p**2 - decoupled.q**2)[-1] == pytest.approx(0, abs=1e-9)


@pytest.mark.slow
def test_a_thousand_starts_take_seconds_and_keep_ten_digits():
    task = modes(STAIRCASE, 20)
    p, q = 1e-3 * np.random.default_rng(0).normal(size=(2, 1000, 4))
    times = np.linspace(0, 180, 19)
    before = time.process_time()
    flow = mode_flow(task, p, q, times)
    assert time.process_time() - before < 10

    def velocity(_, x):
        return np.concatenate(velocity_of_modes(flow.modes, x[:4], x[4:]))

    # SciPy's own pair of order 8 is off by 1e-10 here, and its interpolation by more: so that of order 5, to t = 20.
    for start in (0, 500):
        x = np.concatenate([p[start], q[start]])
        expected = solve_ivp(velocity, (0, 20), x, rtol=1e-12, atol=1e-20).y[:, -1]
        found = flow.coefficients[2, start]
        assert found == pytest.approx(expected[:4] * expected[4:], abs=1e-11)
        alone = mode_flow(task, p[start], q[start], times)
        found = flow.coefficients[:, start]
        assert found == pytest.approx(alone.coefficients, abs=1e-10)


def test_one_over_the_mean_spectrum_is_the_minimum_up_to_1_over_N():
    errors = []
    for N in (20, 2000, 20000):
        task = modes(STAIRCASE, N)
        learned = decoupled_rates(mode_task(task, None, "this test")).coefficients
        errors.append(np.max(np.abs(learned / minimum(task).coefficients - 1)))
    # 18 % of the slowest mode where N = 20.
    assert errors[0] == pytest.approx(0.18, abs=0.005)
    assert np.log10(errors[1] / errors[2]) == pytest.approx(1, abs=0.02)


def effective_rank(coefficients):
    shares = coefficients / np.sum(coefficients, axis=-1, keepdims=True)
    return np.exp(-np.sum(shares * np.log(shares), axis=-1))


@pytest.mark.parametrize(("N", "last"), [(10**9, 3.686), (2000, 3.692)])
def test_the_effective_rank_dips_while_modes_switch_on(N, last):
    task = modes(2.0 ** -np.arange(6), N)
    start = [np.sqrt(1e-3)] * 6
    times = np.append(np.linspace(0, 8, 401), 2e4)
    flow = mode_flow(task, start, start, times)
    rank = effective_rank(flow.coefficients)
    assert rank[0] == pytest.approx(6)
    dip = np.argmin(rank)
    assert rank[dip] == pytest.approx(1.1038, abs=2e-4)
    assert times[dip] == pytest.approx(4.32, abs=0.03)
    assert rank[-1] == pytest.approx(last, abs=2e-3)
    first = np.interp(0.5, flow.coefficients[:-1, 0], times[:-1])
    assert first == pytest.approx(3.453, abs=0.003)


def test_the_hessian_is_that_of_the_loss():
    task, model = hostile_task(np.random.default_rng(3))
    D = task.dimension
    x = np.random.default_rng(4).normal(size=2 * D)
    velocity = by_differences(task, model, D)
    steps = 1e-4 * np.eye(2 * D)
    slopes = [(velocity(0, x + e) - velocity(0, x - e)) / -2e-4 for e in steps]
    found = half_hessian_of_modes(mode_task(task, model, "this test"), x[:D], x[D:])
    assert found == pytest.approx(np.array(slopes), abs=1e-6 * np.max(np.abs(slopes)))


@pytest.mark.parametrize(
    ("p", "q", "law", "message"),
    [
        ([1, 1, 1], [1, 1], "exact", r"p must have shape \(..., 2\)"),
        ([[1, 1]], [1, 1], "exact", "one shape"),
        ([1, 1], [1, 1], "coupled", "exact, decoupled"),
        ([1, 1], [1, 1], "decoupled", "mode 2 has the variance 0"),
    ],
)
def test_what_cannot_be_followed_is_refused(p, q, law, message):
    with pytest.raises(ValueError, match=message):
        mode_flow(modes([1, 2], 5, [1, 0]), p, q, [1.0], law=law)
