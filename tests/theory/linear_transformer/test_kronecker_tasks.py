"""Kronecker teachers, against searches over all p and q, the full flow and merged attention of one output."""

import numpy as np
import pytest
from scipy.optimize import minimize

from attndyn import Merged, Task
from attndyn.teachers import Gaussian
from attndyn.theory import fixed_points, population
from attndyn.theory.linear_attention.merged import matrix_amplitudes
from attndyn.theory.linear_transformer import (
    kronecker_flow,
    kronecker_minimum,
    layer_flow,
    layer_loss,
    merged_equivalent,
    mode_fixed_points,
    wiener_filter,
)
from attndyn.theory.linear_transformer.kronecker_tasks import (
    kronecker_task,
    stationary_noise_ratios,
)

from .laws import modes


def kronecker(generator, K, D, *, noise, lengths=2):
    """A task with generic Γ, Ω and Λ."""
    Γ, Ω, Λ = (
        root @ root.T for root in (generator.normal(size=(n, n)) for n in (K, D, D))
    )
    return Task(
        covariance=Λ,
        teachers=Gaussian.kronecker(Γ, Ω),
        context_length=lengths,
        noise_variance=noise,
    )


@pytest.mark.parametrize(
    ("K", "D", "noise", "lengths"),
    [(3, 2, 0, 2), (2, 2, 0.5, (3, 7)), (3, 2, 5, 2), (1, 3, 0.5, 4)],
)
def test_the_minimum_is_what_a_search_over_all_p_and_q_finds(K, D, noise, lengths):
    generator = np.random.default_rng(K + D)
    task = kronecker(generator, K, D, noise=noise, lengths=lengths)
    least = kronecker_minimum(task)
    assert layer_loss(task, least.p, least.q) == pytest.approx(least.loss, rel=1e-12)
    assert np.linalg.norm(least.p) == pytest.approx(np.linalg.norm(least.q), rel=1e-10)
    filtered = wiener_filter(task, least.q)
    assert least.p == pytest.approx(filtered, abs=1e-9 * np.max(filtered))

    def loss(x):
        p, q = x[: K * K].reshape(K, K), x[K * K :].reshape(D, D)
        found = layer_loss(task, p, q, gradient=True)
        return float(found.loss), np.append(found.by_p, found.by_q)

    start = generator.normal(size=(2, K * K + D * D))
    found = [minimize(loss, x, jac=True, tol=1e-11).fun for x in start]
    assert min(found) == pytest.approx(least.loss, rel=1e-8)


def test_without_noise_the_outputs_are_not_filtered():
    least = kronecker_minimum(kronecker(np.random.default_rng(0), 3, 2, noise=0))
    assert least.noise_ratio == 0
    assert least.p == pytest.approx(least.p[0, 0] * np.eye(3), abs=1e-12)


def test_weights_of_the_minimum_have_its_loss():
    task = kronecker(np.random.default_rng(0), 2, 3, noise=1)
    least = kronecker_minimum(task)
    weights = least.weights()
    assert weights["value"].shape == (1, 2, 5)
    assert pytest.approx(least.p) == weights["value"][0, :, 3:]
    assert pytest.approx(least.q) == weights["key_query"][0, :3, :3]


def test_small_weights_follow_one_growing_mode():
    Γ, Ω = np.array([[2, 0.5], [0.5, 1]]), np.diag([1, 2])
    task = Task(
        [2, 0.5],
        teachers=Gaussian.kronecker(Γ, Ω),
        context_length=6,
        noise_variance=0.4,
    )
    start = np.random.default_rng(0).normal(size=(2, 2, 2))
    times = np.linspace(0, 30, 16)
    errors = []
    for w in (1e-2, 1e-4):
        full = layer_flow(task, *(w * start), times)
        course = kronecker_flow(task, *(w * start), times)
        errors.append(np.max(np.abs(full.loss - course.loss)) / full.loss[0])
    assert errors[1] < 0.05 * errors[0] < 0.01
    on_the_mode = layer_flow(task, course.p[0], course.q[0], times)
    assert course.loss == pytest.approx(on_the_mode.loss, rel=1e-10)
    assert course.p == pytest.approx(on_the_mode.p, abs=1e-9)
    assert course.loss[-1] == pytest.approx(kronecker_minimum(task).loss, rel=1e-6)


def alike(K):
    """K outputs that vary alike, of four inputs."""
    teachers = Gaussian.kronecker(np.eye(K), np.eye(4))
    return Task([2, 1, 0.5, 0.25], teachers=teachers, context_length=20)


@pytest.mark.parametrize("K", [2, 4])
def test_outputs_that_vary_alike_are_merged_attention_at_root_K_times_the_speed(K):
    task = alike(K)
    one = merged_equivalent(task)
    loss = population(one.task, Merged(heads=1))
    q = 0.3 * np.random.default_rng(0).normal(size=(4, 4))
    times = np.linspace(0, 6, 13)
    flow = layer_flow(task, 0.2 * np.eye(K), q, times)

    def merged(speed):
        s0, U0 = np.sqrt(K) * 0.2 / one.weights, q / one.weights
        s, U = matrix_amplitudes(loss, speed * times, s0, U0)
        return one.loss * loss.loss(s[:, None, None] * U)

    assert flow.loss == pytest.approx(merged(one.time), rel=1e-10)
    # As fast, or K times as fast, is another course.
    for wrong in (1, K):
        assert np.max(np.abs(flow.loss - merged(wrong))) > 0.1
    assert flow.p[-1] == pytest.approx(flow.p[-1, 0, 0] * np.eye(K), abs=1e-12)


def test_random_weights_drop_once_as_they_get_small():
    task = alike(4)
    start = np.random.default_rng(1).normal(size=(2, 4, 4))
    times = np.linspace(0, 8, 81)
    errors = []
    for w in (1e-2, 1e-4):
        full = layer_flow(task, *(w * start), times)
        course = kronecker_flow(task, *(w * start), times)
        errors.append(np.max(np.abs(full.loss - course.loss)) / full.loss[0])
    # Of first order in the weights, or faster: 8e-4, 2e-4 and 5e-6 of another draw.
    assert errors[0] < 3e-2
    assert errors[1] < errors[0] / 50
    p = full.p[-1] / np.linalg.norm(full.p[-1])
    assert np.abs(p) == pytest.approx(np.eye(4) / 2, abs=1e-3)


def test_where_nothing_varies_p_and_q_are_zero():
    # The first input has no teachers, and the second is always 0.
    teachers = Gaussian.kronecker(np.eye(2), np.diag([0, 1]))
    task = Task([1, 0], teachers=teachers, context_length=5, noise_variance=1)
    least = kronecker_minimum(task)
    assert not np.any(least.p)
    assert not np.any(least.q)
    with pytest.raises(ValueError, match="nothing to learn"):
        kronecker_flow(task, np.eye(2), np.eye(2), [1.0])


def test_of_three_stationary_filters_the_best_is_the_minimum():
    # One output and one input vary twenty thousand times as much as 39 others.
    variances = np.diag([0.43] * 39 + [8000.0])
    task = Task(
        [1] * 40,
        teachers=Gaussian.kronecker(variances, variances),
        context_length=10**6,
        noise_variance=1e9,
    )
    law = kronecker_task(task, None, "this test")
    ratios = stationary_noise_ratios(law)
    assert len(ratios) == 3
    least = kronecker_minimum(task)
    assert least.noise_ratio == ratios[0]
    # Each rests: the best p beside its q is its own filter.
    for ratio in ratios:
        γ = law.gamma / (law.gamma + ratio)
        x = law.signal / (
            np.sum(γ**2 * law.gamma) * law.curvature
            + law.single * law.noise * np.sum(γ**2)
        )
        h = np.sum(law.curvature * x**2)
        assert law.single * law.noise * np.sum(x**2) / h == pytest.approx(ratio)
    with pytest.raises(ArithmeticError, match="3 filters of the outputs"):
        fixed_points(task, Merged(heads=1, outputs=40))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: kronecker_minimum(modes([1, 0.5], 5)), "Gaussian.kronecker"),
        (
            lambda: merged_equivalent(
                kronecker(np.random.default_rng(0), 2, 2, noise=0)
            ),
            "Γ = γ 1",
        ),
        (
            lambda: kronecker_flow(
                kronecker(np.random.default_rng(0), 2, 2, noise=0),
                np.eye(2),
                np.eye(2),
                [1.0],
            ),
            "Λ and Ω commute",
        ),
        (
            lambda: kronecker_flow(alike(2), np.eye(2), -np.diag([1, 0, 0, 0]), [1.0]),
            None,
        ),
        (
            lambda: kronecker_flow(alike(2), np.zeros((2, 2)), np.zeros((4, 4)), [1.0]),
            "nothing in the mode that grows",
        ),
        (lambda: mode_fixed_points(alike(4)), "another second moment"),
    ],
)
def test_what_is_not_known_is_refused(call, message):
    if message is None:
        assert call().amplitude != 0
        return
    with pytest.raises(ValueError, match=message):
        call()
