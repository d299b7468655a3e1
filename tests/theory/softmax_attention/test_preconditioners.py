"""The best preconditioner against minimisation over all matrices, the exact loss, and drawn prompts."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from attndyn import Task
from attndyn.theory.predictors import best_debiased_step, debiased_step_loss
from attndyn.theory.softmax_attention import (
    best_exact_values,
    best_preconditioner,
    exact_loss,
    two_head_preconditioner,
)


def exponential(dimension=5, length=40, noise=0.1):
    """Λ_ij = .7^|i−j|, w ~ N(0, 1/D)."""
    distance = np.abs(np.subtract.outer(np.arange(dimension), np.arange(dimension)))
    return Task(
        covariance=0.7**distance,
        teacher_covariance=np.eye(dimension) / dimension,
        noise_variance=noise,
        context_length=length,
    )


def hostile_task():
    """Λ and Ω that do not commute, Ω singular, three lengths, another noise of the query."""
    return Task(
        covariance=[[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.4]],
        teacher_covariance=[[1.0, 0.4, 0.0], [0.4, 0.5, 0.0], [0.0, 0.0, 0.0]],
        noise_variance=0.3,
        query_noise_variance=0.1,
        context_length={0: 0.1, 3: 0.4, 8: 0.5},
    )


def test_losses_are_those_of_another_implementation():
    task = exponential()
    A, loss = best_preconditioner(task)
    Λ = task.covariance
    assert_allclose(A, np.linalg.inv(Λ + (5 + 0.5) / 40 * np.eye(5)), rtol=1e-12)
    assert abs(loss - 0.227768) < 6e-7
    stated = 0.1 + (np.trace(Λ) - 39 / 40 * np.trace(A @ Λ @ Λ)) / 5
    assert_allclose(loss, stated, rtol=1e-13)
    assert abs(best_debiased_step(task).loss - 0.381657) < 6e-7
    whitened = best_debiased_step(task, preconditioner=np.linalg.inv(Λ)).loss
    assert abs(whitened - 0.242857) < 6e-7
    # A* itself is the best multiple of its direction.
    assert best_debiased_step(task, preconditioner=A).step == pytest.approx(
        1, rel=1e-12
    )


@pytest.mark.parametrize(
    "task", [exponential(3, 7), hostile_task()], ids=["exponential", "hostile"]
)
def test_no_matrix_is_better(task):
    D = task.dimension

    def loss(flat):
        return float(debiased_step_loss(task, 1.0, preconditioner=flat.reshape(D, D)))

    found = minimize(loss, np.zeros(D * D), options={"gtol": 1e-9})
    A, lowest = best_preconditioner(task)
    assert_allclose(found.fun, lowest, rtol=1e-8)
    rng = np.random.default_rng(0)
    for change in rng.normal(size=(20, D, D)) * 0.1:
        assert loss((A + change).ravel()) >= lowest
    if not np.any(np.array(task.context_lengths) == 0):
        assert_allclose(found.x.reshape(D, D), A, atol=1e-4)


def test_exact_loss_with_the_best_preconditioner():
    task = exponential()
    A = best_preconditioner(task).matrix
    found = best_exact_values(task, [0.08, -0.08], matrix=A)
    assert found.loss == pytest.approx(0.2277279962, abs=1e-9)
    assert found.error < 3e-10
    plain = exact_loss(task, [0.08, -0.08], [6.25, -6.25], matrix=A)
    assert float(plain) == pytest.approx(0.2277285678, abs=1e-9)
    # A finite optimum again: below γ → 0, here by 4e-5, in which A* alone has a loss of .2277682.
    small = best_exact_values(task, [0.01, -0.01], matrix=A)
    assert found.loss - small.loss == pytest.approx(-4e-5, abs=1e-5)
    # Sampled by another implementation on full prompts, and integrated by it with an error of 5e-4.
    loss = float(exact_loss(task, [0.12, -0.1], [4, -3.5], matrix=A))
    assert abs(loss - 0.2599) < 2 * 0.0011
    assert abs(loss - 0.2606) < 1e-3
    # Wrong matrices are told apart.
    for wrong in (np.eye(5), np.linalg.inv(task.covariance)):
        assert (
            best_exact_values(task, [0.08, -0.08], matrix=wrong).loss
            > found.loss + 0.01
        )


def test_exact_loss_is_stationary_at_the_best_preconditioner_as_heads_vanish():
    """Its derivatives by A, in any direction, are of order γ²: those at A* vanish and no others."""
    task = exponential(3, 12)
    A = best_preconditioner(task).matrix
    directions = np.random.default_rng(2).normal(size=(2, 3, 3))

    def slopes(matrix, γ):
        step = 1e-2
        up_and_down = [
            [
                exact_loss(
                    task,
                    [γ, -γ],
                    [0.5 / γ, -0.5 / γ],
                    matrix=matrix + s * step * direction,
                )
                for s in (1, -1)
            ]
            for direction in directions
        ]
        return np.array(
            [(float(up) - float(down)) / (2 * step) for up, down in up_and_down]
        )

    wide, narrow = slopes(A, 0.08), slopes(A, 0.04)
    assert_allclose(wide / narrow, 4, rtol=0.1)
    assert np.all(np.abs(narrow) < 0.1 * np.abs(slopes(0.8 * A, 0.04)))


def test_search_over_commuting_matrices_finds_it():
    task = exponential(3, 24)
    A = best_preconditioner(task).matrix
    gaps = []
    for γ in (0.08, 0.04):
        found = two_head_preconditioner(task, γ)
        direction = found.matrix / np.linalg.norm(found.matrix)
        assert np.linalg.norm(direction - A / np.linalg.norm(A)) < 2e-2
        assert_allclose(
            found.matrix @ task.covariance, task.covariance @ found.matrix, atol=1e-10
        )
        at_A = exact_loss(task, [γ, -γ], [0.5 / γ, -0.5 / γ], matrix=A)
        assert found.loss <= float(at_A) + 1e-12
        gaps.append(np.linalg.norm(found.matrix - A))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.1)
    # Λ⁻¹ is another matrix.
    assert np.linalg.norm(A - np.linalg.inv(task.covariance)) > 20 * gaps[1]


def test_a_direction_in_which_x_does_not_vary_changes_nothing():
    """The difference of losses has a step for all directions, which leaves 2e-6."""
    flat, line = (
        Task(λ, teacher_covariance=np.eye(len(λ)) / 2, context_length=20)
        for λ in ([2.0, 0.0], [2.0])
    )
    found, alone = (two_head_preconditioner(task, 0.1) for task in (flat, line))
    assert_allclose(found.matrix[0, 0], alone.matrix[0, 0], rtol=1e-5)
    assert_allclose(found.loss, alone.loss, rtol=1e-10)


def test_refusals():
    with pytest.raises(ValueError, match="contexts of at least 2 tokens"):
        best_preconditioner(exponential(length=1))
    with pytest.raises(ValueError, match="the Ω of this task does not"):
        two_head_preconditioner(hostile_task(), 0.1)
    with pytest.raises(ValueError, match="Gaussian x"):
        best_preconditioner(Task([1, 1], inputs="uniform", context_length=5))
    with pytest.raises(ValueError, match="gamma must be positive"):
        two_head_preconditioner(exponential(), -0.1)
    stretched = Task([2, 1], teacher_covariance=np.eye(2) / 2, context_length=20)
    # √tr(ΛAΛA) = 1.28
    with pytest.raises(ValueError, match=r"^gamma = 0.9 gives scores .* of 1\.1"):
        two_head_preconditioner(stretched, 0.9)
    with pytest.raises(ArithmeticError, match="rounding hides"):
        two_head_preconditioner(stretched, 1e-6)
