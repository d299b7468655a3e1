"""Balanced flow against factors that are trained explicitly, its closed warm-up, its limits and its decays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.softmax_attention import (
    balanced_flow,
    balanced_limit,
    off_task_decay,
    warm_up,
)
from tests.oracles.white_tasks import white

MASKS = np.kron(np.eye(2, dtype=bool), np.ones(2, dtype=bool))
"""Two tasks of two coordinates, (T, D)."""


def summed_loss(state, c, noise=1.1 / 8):
    """Σ_t L̃_t of two heads B_h = diag(c k_h²), m_ht = o_ht², for k (H, D) and o (H, T): coordinate by coordinate."""
    w = c * state[:8].reshape(2, 4) ** 2
    m = state[8:].reshape(2, 2) ** 2
    total = 0.0
    for t, mask in enumerate(MASKS):
        M = m[:, t] @ w
        total += 1.1 - np.sum(M[mask]) + np.sum(M[mask] ** 2) / 2
        total += noise * m[:, t] @ np.exp(w @ w.T) @ m[:, t]
    return total


def slopes(state, c):
    """Derivatives of the summed loss by k and o, by differences."""
    step = 1e-5
    units = step * np.eye(len(state))
    return np.array(
        [
            (summed_loss(state + u, c) - summed_loss(state - u, c)) / (2 * step)
            for u in units
        ]
    )


@pytest.mark.parametrize("divisor", [1.0, 2.0])
def test_the_flow_is_that_of_equal_keys_and_queries(divisor):
    """Midpoint steps of k and o. The loss depends on k² = k q: half of its derivative by k is that by the key alone."""
    c = 1 / divisor
    ω0 = np.array([[0.3, 0.1], [0.15, 0.2]])
    μ0 = np.array([[0.4, 0.2], [0.3, 0.5]])
    flow = balanced_flow(white(2, 8), ω0, μ0, [1.0], score_divisor=divisor)
    key = np.sqrt(np.repeat(ω0 / c, 2, axis=1))
    errors = []
    for count in (10, 20):
        x = np.concatenate([key.ravel(), np.sqrt(μ0).ravel()])
        for _ in range(count):
            middle = x - 0.25 / (2 * count) * slopes(x, c)
            x = x - 0.25 / count * slopes(middle, c)
        ω = c * x[:8].reshape(2, 4)[:, ::2] ** 2
        by_ω = np.max(np.abs(ω - flow.omega))
        by_μ = np.max(np.abs(x[8:].reshape(2, 2) ** 2 - flow.mu))
        errors.append(max(by_ω, by_μ))
    assert errors[1] < 5e-4
    assert 3 < errors[0] / errors[1] < 5
    assert_allclose(flow.loss, summed_loss(x, c) / 2, atol=1e-3)


@pytest.mark.parametrize("divisor", [1.0, 3.0])
def test_the_warm_up_is_exact_as_weights_vanish(divisor):
    """The relative error falls as the square of the weights."""
    task = white(10, 80)
    errors = []
    for μ0 in (4e-3, 2e-3):
        start = warm_up(task, μ0, [0], score_divisor=divisor)
        end = 0.5 * divisor * 10 / (2 * μ0)
        flow = balanced_flow(
            task, [start.omega], [start.mu], [end], score_divisor=divisor
        )
        course = warm_up(task, μ0, [end], score_divisor=divisor)
        assert_allclose(course.mu, 2 * μ0)
        errors.append(abs(float(flow.mu[0, 0, 0] / course.mu[0]) - 1))
    assert errors[0] < 1e-3
    assert 3 < errors[0] / errors[1] < 5


def test_other_starts_approach_the_line_slowly():
    """pω/μ from 1 to 1.055, 1.107, 1.127 at t = 200, 400, 480, on the way to 1.1375."""
    flow = balanced_flow(white(10, 80), [[1e-3]], [[0.01]], [200, 400, 480])
    ratio = 10 * (flow.omega / flow.mu).ravel()
    assert_allclose(ratio, [1.055, 1.107, 1.127], atol=6e-4)


def test_one_head_for_each_task_ends_on_the_limit():
    task = white(10, 80)
    ω = np.full((3, 3), 0.002) + 0.01 * np.eye(3)
    μ = np.full((3, 3), 0.02) + 0.1 * np.eye(3)
    flow = balanced_flow(task, ω, μ, [1000, 2000, 4000])
    limit = balanced_limit(task)
    assert_allclose(limit, [0.3162, 2.3019, 0.372073], atol=6e-5)
    assert_allclose(np.diag(flow.omega[-1]), limit.omega, rtol=1e-4)
    assert_allclose(np.diag(flow.mu[-1]), limit.mu, rtol=1e-4)
    assert abs(flow.loss[-1] - limit.loss) < 2e-5

    decay = off_task_decay(task)
    off_μ = np.log(flow.mu[:, 0, 1])
    assert_allclose((off_μ[1] - off_μ[2]) / 2000, decay.rate, rtol=2e-3)
    # 6e-4 at t = 4000, relative to which the start still counts.
    assert abs(1 / (decay.growth * 4000) - 6e-4) < 5e-5
    growth = np.diff(1 / flow.omega[:, 0, 1])[1] / 2000
    assert_allclose(growth, decay.growth, rtol=2e-3)


def test_one_head_for_all_tasks_ends_on_the_limit_of_more_coordinates():
    flow = balanced_flow(white(10, 80), [[0.1, 0.1]], [[0.1, 0.1]], [1e4])
    limit = balanced_limit(white(10, 80), 2)
    assert_allclose(limit, [0.2236, 2.5591, 0.527763], atol=5e-5)
    assert_allclose(flow.omega.ravel(), limit.omega, rtol=1e-8)
    assert_allclose(flow.mu.ravel(), limit.mu, rtol=1e-8)
    assert abs(flow.loss[0] - limit.loss) < 1e-9


def test_limits_do_not_depend_on_the_divisor():
    flow = balanced_flow(
        white(10, 80), [[0.1]], [[0.5]], [4e3], score_divisor=np.sqrt(13)
    )
    assert_allclose(flow.omega.item(), balanced_limit(white(10, 80)).omega, rtol=1e-7)


def test_a_balanced_flow_is_drawn():
    flow = balanced_flow(white(10, 80), [[0.1]], [[0.5]], [10.0, 0.0])
    (line,) = flow.plot().get_lines()
    assert_allclose(line.get_xdata(), [0, 10])
    assert flow.to_dict()["loss"] == flow.loss.tolist()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: balanced_flow(white(10, 80), [[-0.1]], [[0.1]], [1]),
            "must be positive",
        ),
        (lambda: balanced_flow(white(10, 80), [0.1], [[0.1]], [1]), "omega must have"),
        (lambda: balanced_flow(white(10, 80), [[9.0]], [[0.1]], [1]), "start smaller"),
        (lambda: warm_up(white(10, 80), 0.1, [1e3]), "the warm-up ends before"),
        (
            lambda: balanced_limit(Task([1] * 3, context_length=4)),
            "divide teachers by the number of coordinates",
        ),
    ],
)
def test_what_has_no_balanced_flow_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
