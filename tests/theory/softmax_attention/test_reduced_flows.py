"""Reduced flows against explicit steps of the losses, the numbers of another integration, and their limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.softmax_attention import (
    ReducedFlow,
    approximate_loss,
    exact_loss,
    head_paths,
    reduced_flow,
)
from attndyn.theory.softmax_attention.exact_tables import ExactTable, exact_table
from tests.oracles.white_tasks import white


def explicit_steps(gradient_at, start, step, count, rho):
    """`count` steps of size `step` of flow time by RK4: another integrator."""
    H = len(start) // 2
    rates = np.repeat([-rho / 2, -0.5], H)

    def rate(state):
        gradient = gradient_at(state[:H], state[H:])
        return rates * np.concatenate([gradient.omega, gradient.mu])

    state = np.array(start)
    for _ in range(count):
        first = rate(state)
        second = rate(state + step / 2 * first)
        third = rate(state + step / 2 * second)
        fourth = rate(state + step * third)
        state = state + step / 6 * (first + 2 * second + 2 * third + fourth)
    return state


# ---- the table of the exact loss ----


@pytest.fixture(scope="module", params=[False, True], ids=["context", "query token"])
def table(request):
    """Heads up to ω = 0.5 at a size where a table costs little."""
    return exact_table(white(3, 12), 0.5, query_token=request.param), request.param


def test_a_table_is_the_quadrature_itself(table):
    table, query_token = table
    rng = np.random.default_rng(4)
    ω = rng.uniform(-0.5, 0.5, (3, 3))
    μ = rng.normal(size=(3, 3))
    exact = exact_loss(white(3, 12), ω, μ, query_token=query_token, gradient=True)
    assert_allclose(table.loss(ω, μ), exact.loss, atol=2e-9)
    gradient = table.gradient(ω, μ)
    assert_allclose(gradient.mu, exact.gradient.mu, atol=1e-8)
    assert_allclose(gradient.omega, exact.gradient.omega, atol=3e-8)


def test_a_table_keeps_the_digits_of_tiny_heads(table):
    """What its series leave at ω = 0 would push heads smaller than that: drops came early, of starts of 1e-12."""
    table, _ = table

    def signal(size):
        ω = size * np.array([1.0, -1.0, 0.0])
        return table.gradient(ω, np.zeros(3)).mu / size

    assert signal(1e-5)[0] == pytest.approx(-signal(1e-5)[1], rel=1e-4)
    assert_allclose(signal(1e-30), signal(1e-5), rtol=1e-4, atol=0)


def test_second_derivatives_of_a_table_are_differences_of_its_gradient(table):
    table, _ = table
    point = np.array([0.31, -0.2, 0.05, 0.9, -1.1, 0.4])
    step = 1e-5

    def gradient(state):
        return np.concatenate(table.gradient(state[:3], state[3:]))

    differences = [
        (gradient(point + step * unit) - gradient(point - step * unit)) / (2 * step)
        for unit in np.eye(6)
    ]
    hessian = table.hessian(point[:3], point[3:])
    assert_allclose(hessian, hessian.T, atol=1e-10)
    assert_allclose(hessian, differences, atol=1e-7)


# ---- flows ----


@pytest.mark.parametrize("query_token", [False, True])
def test_the_exact_flow_is_that_of_explicit_steps(query_token):
    """RK4 at steps 1.5 and 0.75 of flow time: the difference to the flow falls 16-fold."""
    task = white(5, 40)
    start = [0.1, -0.12, 0.1, -0.08]
    flow = reduced_flow(task, start[:2], start[2:], [12.0], query_token=query_token)
    end = np.concatenate([flow.omega[0], flow.mu[0]])

    def gradient(ω, μ):
        return exact_loss(
            task, ω, μ, query_token=query_token, gradient=True, nodes=14
        ).gradient

    coarse, fine = (
        np.max(np.abs(explicit_steps(gradient, start, step, int(12 / step), 0.2) - end))
        for step in (1.5, 0.75)
    )
    assert fine < 5e-4
    assert 10 < coarse / fine < 40


@pytest.mark.parametrize(("metric", "rho"), [("matrix", 0.2), ("euclidean", 1.0)])
def test_the_approximate_flow_is_that_of_explicit_steps(metric, rho):
    task = white(5, 40)
    start = [0.05, -0.02, 0.08, 0.03, -0.1, 0.02]
    flow = reduced_flow(
        task, start[:3], start[3:], [30], loss="approximate", metric=metric
    )
    end = np.concatenate([flow.omega[0], flow.mu[0]])

    def gradient(ω, μ):
        return approximate_loss(task, ω, μ, gradient=True).gradient

    coarse, fine = (
        np.max(np.abs(explicit_steps(gradient, start, step, int(30 / step), rho) - end))
        for step in (0.2, 0.1)
    )
    assert fine < 1e-5
    assert 10 < coarse / fine < 40


def test_the_exact_flow_ends_on_the_finite_optimum():
    """γ = .0713, μ = 6.18, loss .24282410 of two heads, where the approximate flow goes on for ever."""
    task = white(5, 40)
    flow = reduced_flow(task, [0.1, -0.12], [0.1, -0.08], [1e5, 1e8])
    assert_allclose(np.abs(flow.omega[1]), 0.0713, atol=1e-4)
    assert_allclose(np.abs(flow.mu[1]), 6.18, atol=1e-2)
    assert abs(flow.loss[1] - 0.24282410) < 1e-8
    assert flow.loss[0] > flow.loss[1] + 1e-6
    gradient = exact_loss(task, flow.omega[1], flow.mu[1], gradient=True).gradient
    assert np.max(np.abs(gradient.omega)) < 1e-7


TAILS = [
    # ω, n₊, n₋, metric, s over its law at t = 1e4, 1e6, 1e8
    ([0.01, -0.01], 1, 1, "euclidean", [1.0032, 1.00015, 1.000007]),
    ([0.01, 0.02, -0.01, -0.015], 2, 2, "euclidean", [1.0053, 1.00026, 1.00001]),
    ([0.01] + [-0.01] * 7, 1, 7, "matrix", [1.037, 1.0021, 1.0001]),
]


@pytest.mark.parametrize(("omega", "positive", "negative", "metric", "expected"), TAILS)
def test_the_tail_falls_as_the_cube_root_of_time(
    omega, positive, negative, metric, expected
):
    task = white(5, 40)
    times = np.array([1e4, 1e6, 1e8])
    flow = reduced_flow(task, omega, omega, times, loss="approximate", metric=metric)
    s = 5 * np.mean(flow.omega**2, axis=1)
    n_eff = 2 * positive * negative / (positive + negative)
    law = (4 * 1.1 / 40 * n_eff * times) ** (-1 / 3)
    assert_allclose(s / law, expected, rtol=0, atol=5e-4)
    assert_allclose(s[1:] / law[1:], expected[1:], rtol=0, atol=5e-5)
    assert abs(s[2] / law[2] - expected[2]) < 3e-6
    if positive != negative:
        half = (4 * 1.1 / 40 * len(omega) / 2 * times) ** (-1 / 3)
        assert np.all(np.abs(s / half - 1) > 0.2)


@pytest.mark.parametrize("part", ["signal", "products"])
def test_a_table_that_the_quadrature_does_not_confirm_is_refused(
    monkeypatch, table, part
):
    """Its error of 1e-6 is far below what the flow would show."""
    right, query_token = table
    parts = {"signal": right.signal, "products": right.products}
    parts[part] = parts[part] * (1 + 1e-6)
    wrong = ExactTable((right.bound, right.scale), *parts.values(), right.zero_loss)
    monkeypatch.setattr(head_paths, "exact_table", lambda *_, **options: wrong)
    heads = [0.1, -0.2], [0.2, -0.1]
    with pytest.raises(ArithmeticError, match="could not be tabulated accurately"):
        reduced_flow(white(3, 12), *heads, [0.1], query_token=query_token)


# Long because grouped heads, others beside them and one that is idle are compared with heads that are nearly alike.
def test_heads_that_start_alike_are_those_that_start_nearly_alike():
    ω = np.array([0.1, -0.2, 0.1, 0.1, 0.15, 0.0])
    μ = np.array([0.2, -0.1, 0.2, 0.2, 0.2, 0.0])
    times = [0.0, 1.0, 10.0, 100.0]
    options = {"loss": "approximate", "metric": 0.3}
    flow = reduced_flow(white(), ω, μ, times, **options)
    apart = 1e-9 * np.arange(6)
    nearly = reduced_flow(white(), ω * (1 + apart), μ * (1 - apart), times, **options)
    for name in ("loss", "omega", "mu"):
        assert_allclose(getattr(flow, name), getattr(nearly, name), atol=1e-6)
    assert_allclose(flow.phases.valley_error, nearly.phases.valley_error, rtol=1e-5)
    for place in (2, 3):
        assert_allclose(flow.omega[:, place], flow.omega[:, 0], rtol=0)


def test_equal_pairs_end_where_one_pair_does():
    """Rounding would move heads of one sign apart there, to weights beyond any table."""
    late = [1e9]
    four = reduced_flow(white(3, 20), [0.1, -0.1] * 4, [0.1, -0.1] * 4, late)
    one = reduced_flow(white(3, 20), [0.1, -0.1], [0.1, -0.1], late)
    assert_allclose(np.abs(four.omega), np.abs(one.omega[0, 0]), rtol=1e-6)
    assert_allclose(np.abs(four.mu), np.abs(one.mu[0, 0]) / 4, rtol=1e-6)
    assert_allclose(four.phases.end, one.phases.end, rtol=1e-6)
    assert_allclose(four.loss, one.loss, rtol=1e-9)


def test_a_flow_at_time_0_is_its_start():
    task = white(5, 40)
    flow = reduced_flow(task, [0.1], [0.2], [0.0, 0.0], loss="approximate")
    assert_allclose(flow.omega, 0.1)
    assert_allclose(flow.loss, float(approximate_loss(task, [0.1], [0.2])), rtol=1e-12)


def test_flows_at_times_in_any_order():
    flow = reduced_flow(
        white(5, 40), [0.1, -0.1], [0.1, -0.1], [5.0, 1.0, 5.0], loss="approximate"
    )
    assert flow.omega[0, 0] == flow.omega[2, 0]
    assert flow.omega[0, 0] > flow.omega[1, 0]


def test_flows_are_stored(tmp_path):
    flow = reduced_flow(
        white(5, 40), [0.1, -0.1], [0.1, -0.1], [0, 1.0], loss="approximate"
    )
    again = ReducedFlow.load(flow.save(tmp_path / "flow.npz"))
    assert again.to_dict() == flow.to_dict()
    np.savez(tmp_path / "other.npz", omega=np.zeros(2))
    with pytest.raises(ValueError, match="is no reduced flow"):
        ReducedFlow.load(tmp_path / "other.npz")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"loss": "approx"}, "loss must be one of"),
        ({"metric": "riemann"}, "metric must be one of"),
        ({"metric": -1.0}, "metric must be"),
        ({"loss": "approximate", "query_token": True}, "leave query_token out"),
        ({"omega": [0.1]}, "must have one shape"),
        ({"omega": [50.0, 0.0]}, "beyond the largest number"),
        ({"omega": [5.0, 0.0]}, "sample the task"),
        ({"flow_time": [-1.0]}, "flow_time must be finite and zero or more"),
    ],
)
def test_what_has_no_flow_is_refused(arguments, message):
    given = {"omega": [0.1, -0.1], "mu": [0.1, -0.1], "flow_time": [1.0]} | arguments
    with pytest.raises(ValueError, match=message):
        reduced_flow(white(5, 40), **given)


# ---- starts and units of any size ----


def test_starts_without_digits_are_refused():
    with pytest.raises(ValueError, match="of size 1e-300: they may be 0, or of size"):
        reduced_flow(white(3, 12), [0.1, 1e-300], [0.1, 0.1], [1.0])


@pytest.mark.parametrize("loss", ["exact", "approximate"])
def test_flow_and_phases_have_the_units_of_labels_and_inputs(loss):
    """y in units of 1e-6 takes 1e12 times the time; x in units of 1e3 has ω in units of 1e-6."""
    options = {"loss": loss}
    ω, μ, times = np.array([0.1, -0.12]), [0.1, -0.1], np.array([0.0, 10.0, 1000.0])
    plain = reduced_flow(white(3, 12), ω, μ, times, **options)

    labels = Task(
        [1] * 3,
        teacher_covariance=np.eye(3) / 3 * 1e-12,
        noise_variance=0.1e-12,
        context_length=12,
    )
    small = reduced_flow(labels, ω, μ, 1e12 * times, **options)
    inputs = Task(
        [1e6] * 3,
        teacher_covariance=np.eye(3) / 3 * 1e-6,
        noise_variance=0.1,
        context_length=12,
    )
    large = reduced_flow(inputs, 1e-6 * ω, μ, times, metric=1e-12 / 3, **options)
    for flow, loss_unit, time_unit, ω_unit in (
        (small, 1e-12, 1e12, 1.0),
        (large, 1.0, 1.0, 1e-6),
    ):
        assert_allclose(flow.omega / ω_unit, plain.omega, rtol=1e-6)
        assert_allclose(flow.mu, plain.mu, rtol=1e-6)
        assert_allclose(flow.loss / loss_unit, plain.loss, rtol=1e-7)
        phases, expected = flow.phases, plain.phases
        assert phases.drop_time / time_unit == pytest.approx(expected.drop_time, 1e-5)
        assert phases.overshoot == pytest.approx(expected.overshoot, 1e-5)
        assert phases.valley_time / time_unit == pytest.approx(
            expected.valley_time, 0.01
        )


def test_a_table_of_scores_beyond_a_bearable_cost_is_refused_in_a_sentence():
    """Two tokens in one dimension: the heads of a flow grow until softmax picks single tokens."""
    task = Task([1], teacher_covariance=[[1]], noise_variance=0.1, context_length=2)
    with pytest.raises(ArithmeticError, match="scores of a standard deviation"):
        exact_table(task, 2.25)
