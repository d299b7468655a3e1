"""Several tasks at once: numbers of another implementation, one task, bounds, and searches without elimination."""

import math
import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from attndyn import Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory.softmax_attention import (
    approximate_loss,
    best_maps,
    disjoint_infimum,
    head_loads,
    heads_needed,
    infimum,
    least_several_tasks_loss,
    one_head_per_task_loss,
    several_tasks_infimum,
    several_tasks_loss,
)


def several(dimension, supports, length, noise=0.1, **settings):
    return Task(
        [1] * dimension,
        teachers=Gaussian.on_supports(dimension, supports),
        noise_variance=noise,
        context_length=length,
        **settings,
    )


THREE = several(6, [[0, 1], [2, 3], [4, 5]], 24)
TWO = several(4, [[0, 1], [2, 3]], 16)
OVERLAP = several(6, [[0, 1, 2, 3], [2, 3, 4, 5]], 48)
NESTED = several(4, [[0, 1], [2, 3], [0, 1, 2, 3]], 16)

SEARCHED = [
    (THREE, [0.527763, 0.315686, 0.220879, 0.183969]),
    (TWO, [0.527763, 0.315686, 0.220879]),
    (OVERLAP, [0.366036, 0.219450, 0.183969]),
]


@pytest.mark.parametrize(
    ("task", "expected"), SEARCHED, ids=["three", "two", "overlap"]
)
def test_searches_find_the_losses_of_another_implementation(task, expected):
    for heads, loss in enumerate(expected, 1):
        optimum = least_several_tasks_loss(task, heads, restarts=2)
        assert abs(optimum.loss - loss) < 6e-7
        # The closed bound is never undershot.
        assert optimum.loss > several_tasks_infimum(task) - 1e-9
        stated = several_tasks_loss(task, optimum.omega, optimum.mu)
        assert_allclose(stated.loss, optimum.loss, rtol=1e-8)
    assert abs(several_tasks_infimum(task) - expected[-1]) < 6e-7


def test_disjoint_tasks_have_their_closed_form():
    for task, expected in SEARCHED[:2]:
        for heads, loss in enumerate(expected, 1):
            assert abs(disjoint_infimum(task, heads) - loss) < 6e-7
        for heads in (len(expected), len(expected) + 3):
            assert_allclose(disjoint_infimum(task, heads), several_tasks_infimum(task))


def test_as_many_heads_as_independent_supports_and_one_are_needed():
    masks = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 1, 1, 1]])
    assert heads_needed(masks) == 3
    assert heads_needed(best_maps(NESTED)) == 3
    assert heads_needed(np.eye(3)) == 4
    # The map of a noisy task is small: its direction counts as any other.
    assert heads_needed(np.diag([1e-20, 1.0])) == 3


@pytest.mark.parametrize(
    ("task", "needed"), [(TWO, 3), (OVERLAP, 3), (THREE, 4), (NESTED, 3)]
)
def test_fewer_heads_stay_above_the_infimum(task, needed):
    bound = several_tasks_infimum(task)
    assert heads_needed(best_maps(task)) == needed
    assert least_several_tasks_loss(task, needed, restarts=2).loss - bound < 1e-7
    assert least_several_tasks_loss(task, needed - 1, restarts=2).loss - bound > 0.02


def test_one_task_is_the_approximate_loss():
    D = 3
    task = several(D, [[0, 1, 2]], 9)
    plain = Task(
        [1] * D, teacher_covariance=np.eye(D) / D, noise_variance=0.1, context_length=9
    )
    ω, μ = np.array([0.4, -0.3]), np.array([0.8, -1.1])
    found = several_tasks_loss(task, np.outer(ω, np.ones(D)), μ[:, None])
    assert_allclose(found.loss, float(approximate_loss(plain, ω, μ)), rtol=1e-13)
    assert_allclose(several_tasks_infimum(task), infimum(plain, 2), rtol=1e-13)
    assert_allclose(disjoint_infimum(task, 1), infimum(plain, 1), rtol=1e-13)


def hostile_task():
    """Coordinates of x and of teachers of unequal variances, and a clean query."""
    covariance = np.zeros((2, 3, 2, 3))
    covariance[0, :, 0, :] = np.diag([1.0, 0.3, 0.0])
    covariance[1, :, 1, :] = np.diag([0.0, 0.5, 0.2])
    return Task(
        [2.0, 1.0, 0.5],
        teachers=Gaussian(covariance),
        noise_variance=0.3,
        query_noise_variance=0.0,
        context_length=7,
    )


def plain_loss(task, w, m):
    """L̃ of each task by its definition, entry by entry."""
    λ = np.diag(task.covariance)
    second = task.teachers.covariance
    losses = []
    for t in range(task.outputs):
        Ω = np.diag(second[t, :, t, :])
        loss = np.sum(λ * Ω) + task.query_noise_variance
        κ = (np.sum(λ * Ω) + task.noise_variance) / task.context_lengths[0]
        for d in range(task.dimension):
            M = sum(m[h, t] * w[h, d] for h in range(len(w)))
            loss += λ[d] * Ω[d] * ((1 - λ[d] * M) ** 2 - 1)
        for h in range(len(w)):
            for k in range(len(w)):
                overlap = math.exp(
                    sum(λ[d] ** 2 * w[h, d] * w[k, d] for d in range(task.dimension))
                )
                loss += κ * m[h, t] * m[k, t] * overlap
        losses.append(loss)
    return losses


def test_unequal_variances():
    task = hostile_task()
    rng = np.random.default_rng(0)
    w, m = rng.normal(size=(4, 3)) * 0.5, rng.normal(size=(4, 2))
    assert_allclose(several_tasks_loss(task, w, m).by_task, plain_loss(task, w, m))

    # No random heads fall below the infimum, and it is reached by enough of them.
    bound = several_tasks_infimum(task)
    for _ in range(200):
        w, m = rng.normal(size=(4, 3)) * rng.uniform(0, 1), rng.normal(size=(4, 2))
        assert several_tasks_loss(task, w, m).loss > bound
    needed = heads_needed(best_maps(task))
    assert least_several_tasks_loss(task, needed, restarts=2).loss - bound < 1e-6


def test_searches_without_elimination_find_nothing_lower():
    task = hostile_task()
    least = least_several_tasks_loss(task, 2, restarts=3).loss

    def loss(flat):
        w, m = flat[:6].reshape(2, 3), flat[6:].reshape(2, 2)
        return np.mean(plain_loss(task, np.clip(w, -3, 3), m))

    start = np.random.default_rng(1).normal(size=10) * 0.4
    found = minimize(loss, start, options={"maxiter": 60}).fun
    assert found > least - 1e-9
    assert found < least + 0.05


def test_heads_of_one_task_each():
    for task in (TWO, THREE):
        T = task.outputs
        masks = (
            np.einsum("tatb->tab", task.teachers.covariance).diagonal(axis1=1, axis2=2)
            > 0
        )
        p, κ = 2, 1.1 / task.context_lengths[0]
        ω = masks / math.sqrt(p)
        μ = np.eye(T) * math.sqrt(p) / (1 + math.e * κ * p)
        loss = several_tasks_loss(task, ω, μ).loss
        assert_allclose(loss, one_head_per_task_loss(task), rtol=1e-12)
        assert disjoint_infimum(task, T) < loss
        # Every head carries one task.
        loads = head_loads(task, ω, μ)
        assert_allclose(loads, np.eye(T) / (1 + math.e * κ * p), atol=1e-15)
    # Ratio of excesses → e where the noise is small beside the signal.
    long = several(4, [[0, 1], [2, 3]], 10**7)
    ratio = (one_head_per_task_loss(long) - 0.1) / (several_tasks_infimum(long) - 0.1)
    assert ratio == pytest.approx(math.e, rel=1e-6)


def test_few_heads_share_tasks():
    optimum = least_several_tasks_loss(TWO, 2, restarts=2)
    loads = head_loads(TWO, optimum.omega, optimum.mu)
    η = 1 / (1 + 1.1 / 16 * 2 * 2)
    assert_allclose(np.sum(loads, axis=1), η, rtol=1e-3)
    # Both heads carry half of each task, with values that add up to zero.
    assert_allclose(loads, η / 2, rtol=0.1)
    assert_allclose(
        np.sum(optimum.mu, axis=0), 0, atol=0.02 * np.max(np.abs(optimum.mu))
    )


def test_refusals():
    for call, message in [
        (lambda: several_tasks_loss(TWO, np.eye(3), np.eye(3)), "omega must have shape (H, 4)"),
        (lambda: several_tasks_loss(TWO, np.eye(4), np.eye(2)), "mu must have shape (4, 2)"),
        (lambda: several_tasks_loss(TWO, 30 * np.eye(4), np.ones((4, 2))), "w·w = 900"),
        (lambda: disjoint_infimum(OVERLAP, 2), "disjoint supports of one size"),
        (lambda: disjoint_infimum(several(3, [[0], [1, 2]], 5), 2), "disjoint supports of one size"),
        (lambda: heads_needed([[0, 0], [1, 1]]), "give every task a coordinate"),
        (lambda: heads_needed([[np.nan, 0], [1, 1]]), "masks must be finite"),
        (lambda: several_tasks_infimum(several(2, [[0], [1]], "2..4")), "one context length"),
        (lambda: several_tasks_infimum(Task(covariance=[[1, 0.5], [0.5, 1]], context_length=3)), "are independent"),
        (lambda: several_tasks_infimum(Task([1, 1], teachers=Pool([[1, 1]]), context_length=3)), "are independent"),
        (lambda: several_tasks_infimum(Task([1, 1], inputs="uniform", context_length=3)), "Gaussian x"),
        (lambda: least_several_tasks_loss(TWO, 0), "heads must be a whole number"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=re.escape(message)):
            call()
