"""Phases measured on flows against their laws and the numbers of another integration."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.softmax_attention import (
    approximate_loss,
    drop_time,
    effective_heads,
    exact_loss,
    growth_rates,
    reduced_flow,
    tail_end,
    tail_law,
    valley_step,
)
from tests.oracles.white_tasks import white


def flow_of_pair(dimension, size, flow_time, metric):
    """Two heads of opposite sign that start on the growing mode, on the approximate loss."""
    ρ = 1 / dimension if metric == "matrix" else 1.0
    ω = np.sqrt(ρ) * size * np.array([1, -1])
    task = white(dimension, 8 * dimension)
    return reduced_flow(
        task, ω, [size, -size], flow_time, loss="approximate", metric=metric
    )


# ---- growth ----


@pytest.mark.parametrize(
    ("heads", "metric", "common"),
    [
        (2, "euclidean", 0.97288),
        (4, "euclidean", 0.94651),
        (2, "matrix", 0.42056),
        (4, "matrix", 0.39558),
    ],
)
def test_growth_rates_of_the_approximate_loss(heads, metric, common):
    rates = growth_rates(white(5, 40), heads, metric, loss="approximate")
    assert abs(rates.common - common) < 6e-6
    assert_allclose(rates.zero_sum, 1 if metric == "euclidean" else np.sqrt(0.2))


def general(length):
    """x of variance 2, y of variance 1.5, several context lengths."""
    return Task(
        [2] * 3,
        teacher_covariance=np.eye(3) / 4,
        noise_variance=0.3,
        context_length=length,
    )


@pytest.mark.parametrize("length", [7, [0, 3, 9]])
@pytest.mark.parametrize("loss", ["exact", "exact, query token", "approximate"])
def test_growth_rates_are_eigenvalues_at_0(length, loss):
    """Second derivatives at 0 by differences of the gradient of the loss itself."""
    task, heads, ρ = general(length), 3, 0.7
    query_token = loss.endswith("token")

    def gradient(state):
        ω, μ = state[:heads], state[heads:]
        if loss == "approximate":
            found = approximate_loss(task, ω, μ, gradient=True).gradient
        else:
            found = exact_loss(
                task, ω, μ, gradient=True, query_token=query_token, nodes=8
            ).gradient
        return np.concatenate(found)

    step = 1e-4
    units = step * np.eye(2 * heads)
    hessian = np.array([(gradient(u) - gradient(-u)) / (2 * step) for u in units])
    metric = np.repeat([-ρ / 2, -0.5], heads)
    found = np.sort(np.linalg.eigvals(metric[:, None] * hessian).real)
    rates = growth_rates(
        task, heads, ρ, loss=loss.split(",")[0], query_token=query_token
    )
    largest = sorted([rates.common, rates.zero_sum, rates.zero_sum])
    assert_allclose(found[-heads:], largest, rtol=1e-5)


def test_measured_growth_is_the_predicted_one():
    task = white(5, 40)
    start = np.array([2e-4, -1e-4]), np.array([1e-4, 1e-4])
    flow = reduced_flow(task, *start, [30.0], loss="approximate")
    rates = growth_rates(task, 2, loss="approximate")
    assert_allclose(flow.phases.growth, rates, rtol=1e-3)
    without_noise = math.sqrt(0.2)
    assert abs(flow.phases.growth.common / without_noise - 1) > 0.05


def test_one_head_has_no_zero_sum_mode():
    task = white(5, 40)
    flow = reduced_flow(task, [1e-4], [1e-4], [40.0], loss="approximate")
    rates = growth_rates(task, 1, loss="approximate")
    assert math.isnan(rates.zero_sum)
    assert math.isnan(flow.phases.growth.zero_sum)
    assert_allclose(flow.phases.growth.common, rates.common, rtol=1e-3)


# ---- drop and overshoot ----

DROPS = [
    # D, half done for ρ = 1/D, s at its largest for ρ = 1/D and ρ = 1
    (5, 14.45, 0.8961, 1.66),
    (20, 30.45, 1.5404, 3.19),
    (50, 49.8, 2.0483, 4.10),
    (200, 104.8, 2.8252, 5.37),
]


@pytest.mark.parametrize(("dimension", "half", "matrix", "euclidean"), DROPS)
def test_drop_and_overshoot(dimension, half, matrix, euclidean):
    task = white(dimension, 8 * dimension)
    phases = flow_of_pair(dimension, 1e-3, [200.0], "matrix").phases
    assert abs(phases.drop_time - half) < 0.06
    law = drop_time(task, 1e-3)
    assert abs(law - np.sqrt(dimension) * np.log(1e3)) < 1e-9
    assert abs(phases.drop_time / law - 1) < 0.08
    assert abs(phases.overshoot - matrix) < 2e-4
    other = flow_of_pair(dimension, 1e-3, [200.0], "euclidean").phases
    assert abs(other.overshoot - euclidean) < 6e-3
    assert phases.overshoot_time > phases.drop_time


def test_smaller_starts_drop_later_by_the_logarithm():
    times = [
        flow_of_pair(20, size, [400.0], "matrix").phases.drop_time
        for size in (1e-3, 1e-5)
    ]
    assert abs(np.diff(times)[0] / (np.sqrt(20) * np.log(100)) - 1) < 2e-3


# ---- valley and tail ----


def test_the_valley_is_off_by_as_much_as_another_integration_found():
    """1.3e-3, 1.0e-4, 4e-6 at t = 20, 100, 1000 for D = 50, N = 400, ρ = 1."""
    times = np.array([20.0, 100.0, 1000.0])
    flow = flow_of_pair(50, 1e-3, times, "euclidean")
    s = 50 * flow.omega[:, 0] ** 2
    η = np.sum(flow.omega * flow.mu, axis=1)
    task = white(50, 400)
    error = np.abs(η / valley_step(task, s, loss="approximate") - 1)
    assert_allclose(error, [1.3e-3, 1.0e-4, 4e-6], rtol=0.3)
    assert flow.phases.valley_time < 20
    assert abs(flow.phases.valley_error) < 6e-6
    # Without the noise of the labels κ is 1/N.
    noiseless = valley_step(white(50, 400, 0.0), s, loss="approximate")
    assert np.all(np.abs(η / noiseless - 1) > 1e-3)


def test_the_measured_tail_and_its_heads():
    ω = [0.01] + [-0.01] * 3
    flow = reduced_flow(white(5, 40), ω, ω, [1e6], loss="approximate")
    assert (flow.phases.positive, flow.phases.negative) == (1, 3)
    assert abs(flow.phases.tail_ratio - 1) < 2e-3
    assert flow.phases.end is None
    s = 5 * np.mean(flow.omega**2)
    assert_allclose(
        s / tail_law(white(5, 40), 1e6, positive=1, negative=3, loss="approximate"),
        flow.phases.tail_ratio,
    )
    assert effective_heads(1, 3) == 1.5


def test_the_tail_ends_at_the_optimum_of_the_exact_loss():
    task = white(5, 40)
    flow = reduced_flow(task, [0.1, -0.12], [0.1, -0.08], [1e8])
    phases = flow.phases
    assert abs(phases.end - 5 * 0.0713**2) < 1e-4
    expected = tail_end(task)
    assert abs(expected.size / phases.end - 1) < 1e-5
    # At 10/9 of s*; up to O(1/N).
    assert abs(expected.time / 6e5 - 1) < 0.03
    assert abs(phases.end_time / expected.time - 1) < 0.025
    # Twice s* is passed long before, and 1/(4κ s*³) with the κ of the approximate loss is 7 % early.
    assert abs(phases.end_time * 4 * 1.1 / 40 * phases.end**3 - 1) > 0.05


def test_the_sum_of_values_decays_at_the_rate_of_its_noise():
    """−Hκ for H = 2, 4, 8 in the valley: an eigenvalue of the flow there."""
    from attndyn.theory.softmax_attention.approximate_losses import (
        approximate_hessian,
        white_task,
    )

    task = white(5, 40)
    for heads, found in ((2, -0.05500), (4, -0.10998), (8, -0.21999)):
        ω = 0.01 * np.tile([1.0, -1.0], heads // 2)
        flow = reduced_flow(task, ω, ω, [1e8], loss="approximate", metric="euclidean")
        hessian = approximate_hessian(
            white_task(task, "this"), flow.omega[0], flow.mu[0]
        )
        eigenvalues = -np.linalg.eigvals(hessian).real / 2
        nearest = eigenvalues[np.argmin(np.abs(eigenvalues - found))]
        assert abs(nearest / (-heads * 1.1 / 40) - 1) < 2e-3
        assert abs(nearest - found) < 5e-5


def test_active_heads_become_alike():
    """A spread of 5e-5, 1e-6, 2e-8 at t = 1e4, 1e6, 1e8 for two and two heads."""
    ω = [0.01, 0.02, -0.01, -0.015]
    flow = reduced_flow(
        white(5, 40), ω, ω, [1e4, 1e6, 1e8], loss="approximate", metric="euclidean"
    )
    size = np.abs(flow.omega)
    spread = (np.max(size, axis=1) - np.min(size, axis=1)) / np.mean(size, axis=1)
    assert np.all(spread < [5e-4, 1e-5, 2e-7])
    assert 30 < spread[0] / spread[1] < 80


def test_heads_at_0_stay_there_and_have_no_phases():
    phases = reduced_flow(white(3, 12), [0, 0], [0, 0], [9], loss="approximate").phases
    assert (phases.positive, phases.negative) == (0, 0)
    assert phases.drop_time is None
    assert phases.in_words() == "none yet"


def test_the_smallest_size_has_a_drop_time():
    """Its inverse is no number."""
    assert_allclose(drop_time(white(4, 40), 5e-324), 2 * 1074 * math.log(2))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: growth_rates(task, 0), "heads must be"),
        (lambda task: growth_rates(task, 2, loss="half"), "loss must be one of"),
        (
            lambda task: growth_rates(task, 2, loss="approximate", query_token=True),
            "leave query_token out",
        ),
        (lambda task: drop_time(task, 2.0), "size must be below 1"),
        (lambda task: tail_law(task, 0.0, loss="approximate"), "from flow time 72.73"),
        (lambda task: tail_law(task, 1.0, positive=0), "positive must be"),
        (lambda task: tail_law(task, 1e3), "is before it"),
        (lambda task: tail_law(task, 1e6, negative=2), "which move apart"),
        (
            lambda task: tail_law(task, 1e6, loss="approximate", query_token=True),
            "leave query_token out",
        ),
        (lambda task: tail_end(white(5, 10)), "which is no tail"),
        (lambda task: valley_step(task, [0.0]), "must be above 0"),
        (lambda task: valley_step(task, -1.0, loss="approximate"), "must be above 0"),
    ],
)
def test_phases_of_nothing_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(white(5, 40))
