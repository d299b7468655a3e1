"""Preconditioned debiased steps: the best matrix A of softmax heads B_h = (ω_h A; 0) on anisotropic inputs.

Two heads ±γ with μ = ±1/(2γ) are, as γ → 0, the debiased step (1/N) Σ_n y_n (x_n − x̄)ᵀ A x_q. With Ω = E[w wᵀ] its
loss is least at

    A* = (ΩΛ + r (tr ΩΛ + σ²))⁻¹ Ω,    r = 1/N (over several lengths, E[(N−1)/N²]/E[(N−1)/N])

which for w ~ N(0, 1/D) is (Λ + (tr Λ + Dσ²)/N)⁻¹: neither the identity nor Λ⁻¹. Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import positive_number
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import teacher_second_moments
from ..predictors.step_losses import debiased_step_loss
from .exact_losses import value_averages
from .softmax_tasks import refuse_other_inputs

_WHAT = "the best preconditioner of softmax heads"
# Steps of the search for A, each of which gains two digits or more where γ is small; the relative change at its end.
_MOST_STEPS = 40
_CONVERGED = 1e-7
# Relative steps of differences of the loss, which is a smooth function known to 1e-13.
_DIFFERENCE = 1e-3
_NODES, _GRID_ERROR = 13, 1e-16
_COMMUTING = 1e-9
# Standard deviations of scores: beyond the largest the search is slow and its nodes are off by more than 1e-6, and
# below the smallest rounding hides how the loss depends on A.
_LARGEST_SCORES, _SMALLEST_SCORES = 1.0, 1e-2


class Preconditioner(NamedTuple):
    """A matrix A (D, D) and the loss with it."""

    matrix: FloatArray
    loss: float


def best_preconditioner(task: Task) -> Preconditioner:
    """A* and the loss of its debiased step: tr ΩΛ + σ_q² − ((N−1)/N) tr(ΩΛA*Λ).

    No other two heads ±γ with a common matrix have a lower loss as γ → 0. Any Λ, Ω, noise and context lengths.
    ValueError for x that is not Gaussian with mean zero, several outputs, and contexts of one token alone.

    >>> distance = np.abs(np.subtract.outer(range(5), range(5)))
    >>> task = Task(covariance=0.7**distance, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(best_preconditioner(task).loss, 6)
    0.227768
    """
    require_task_first("best_preconditioner(task)", task, None)
    Ω, Λ = _moments(task)
    label_variance = float(np.sum(Ω * Λ)) + task.noise_variance
    ratio = _length_ratio(task)
    D = task.dimension
    A = np.linalg.solve(Ω @ Λ + ratio * label_variance * np.eye(D), Ω)
    loss = float(debiased_step_loss(task, 1.0, preconditioner=A))
    return Preconditioner(np.asarray(A, dtype=np.float64), loss)


def two_head_preconditioner(task: Task, gamma: float) -> Preconditioner:
    """The A of least exact loss of the heads ω = ±γ, μ = ±1/(2γ), among those that commute with Λ.

    As γ → 0 it is `best_preconditioner`, from which it differs by O(γ²). It is found by steps −½ ∂L/∂a_i / c_i of the
    eigenvalues a_i, where c_i are the curvatures at γ → 0 and derivatives are differences of the exact loss.
    ValueError as `best_preconditioner`, where Λ and Ω do not commute, and for γ with scores of a standard deviation
    above 1; ArithmeticError where the search does not converge. Source: derived here.

    >>> task = Task([2, 1], teacher_covariance=np.eye(2) / 2, noise_variance=0.1, context_length=20)
    >>> two_head_preconditioner(task, 0.1).matrix.diagonal().round(4)
    array([0.464 , 0.8639])
    >>> best_preconditioner(task).matrix.diagonal().round(4)
    array([0.463 , 0.8621])
    """
    require_task_first("two_head_preconditioner(task, gamma)", task, gamma)
    γ = positive_number(gamma, "gamma")
    search = _CommutingSearch.of(task, γ)
    a = search.limit
    for _ in range(_MOST_STEPS):
        change = search.change(a)
        a = a + change
        if np.max(np.abs(change)) <= _CONVERGED * np.max(np.abs(a)):
            return Preconditioner(search.matrix(a), search.loss(a))
    reason = "is too large for heads that are nearly a debiased step: make it smaller"
    if search.deviation < _SMALLEST_SCORES:
        reason = "is so small that rounding hides how the loss depends on A: take the limit, best_preconditioner"
    raise ArithmeticError(
        f"the search for A did not converge at gamma = {γ:g}, which {reason}"
    )


class _CommutingSearch(NamedTuple):
    """The exact loss of heads ±γ as a function of the eigenvalues a (D,) of A, in the eigenbasis (D, D) of Λ.

    `deviation` is the standard deviation of scores with A*, the `limit`, and `curvatures` (D,) are those at γ → 0.
    """

    task: Task
    γ: float
    deviation: float
    basis: FloatArray
    limit: FloatArray
    curvatures: FloatArray

    # Long because the basis in which A is searched is refused, made and used in one place.
    @classmethod
    def of(cls, task: Task, γ: float) -> "_CommutingSearch":
        """The search from A*."""
        Ω, Λ = _moments(task)
        gap = np.max(np.abs(Λ @ Ω - Ω @ Λ))
        if gap > _COMMUTING * np.max(np.abs(Λ)) * np.max(np.abs(Ω)):
            raise ValueError(
                "the search runs over A that commute with Λ, and the Ω of this task does not: use best_preconditioner"
            )
        # Of Λ and Ω at once: an irrational combination keeps ties apart that only one of them has.
        scale = np.max(np.abs(Λ)) / np.max(np.abs(Ω))
        _, basis = np.linalg.eigh(Λ + math.sqrt(2) * scale * Ω)
        A = best_preconditioner(task).matrix
        deviation = _score_deviation(Λ, A, γ)
        curvatures = [_curvature(task, np.outer(vector, vector)) for vector in basis.T]
        return cls(
            task,
            γ,
            deviation,
            basis,
            np.einsum("di,de,ei->i", basis, A, basis),
            np.array(curvatures),
        )

    def matrix(self, a: FloatArray) -> FloatArray:
        """A (D, D)."""
        return np.asarray(self.basis * a @ self.basis.T)

    def loss(self, a: FloatArray) -> float:
        """The exact loss of ω = ±γ, μ = ±1/(2γ)."""
        form = value_averages(
            self.task,
            [self.γ, -self.γ],
            matrix=self.matrix(a),
            nodes=_NODES,
            error=_GRID_ERROR,
        )
        Ω, Λ = _moments(self.task)
        zero_loss = float(np.sum(Ω * Λ)) + self.task.query_noise_variance
        μ = np.array([0.5, -0.5]) / self.γ
        return form.loss(zero_loss, μ)

    def change(self, a: FloatArray) -> FloatArray:
        """−½ ∂L/∂a_i / c_i, (D,), by central differences."""
        step = _DIFFERENCE * float(np.max(np.abs(a)))
        changes = np.zeros_like(a)
        for i, curvature in enumerate(self.curvatures):
            shift = step * np.eye(len(a))[i]
            slope = (self.loss(a + shift) - self.loss(a - shift)) / (2 * step)
            # A direction in which x or w does not vary changes no loss.
            changes[i] = -slope / (2 * curvature) if curvature > 0 else 0.0
        return changes


def _score_deviation(Λ: FloatArray, A: FloatArray, γ: float) -> float:
    """The standard deviation γ √tr(ΛAΛA) of scores γ xᵀA x_q of a symmetric A; ValueError where it is above 1."""
    deviation = γ * math.sqrt(float(np.trace(Λ @ A @ Λ @ A)))
    if deviation > _LARGEST_SCORES:
        raise ValueError(
            f"gamma = {γ:g} gives scores of a standard deviation of {deviation:.3g}, and A is searched for heads that "
            f"are nearly a debiased step, with {_LARGEST_SCORES:g} at most: make it smaller"
        )
    return deviation


def _curvature(task: Task, projector: FloatArray) -> float:
    """c of L = L(0) − 2 a s + c a² for A = a times a projector."""
    up, zero, down = debiased_step_loss(
        task, [1.0, 0.0, -1.0], preconditioner=projector
    )
    return float(up + down - 2 * zero) / 2


def _moments(task: Task) -> tuple[FloatArray, FloatArray]:
    """Ω and Λ (D, D); ValueError for tasks whose best preconditioner is not known."""
    refuse_other_inputs(task, _WHAT)
    return teacher_second_moments(task.teachers)[0, :, 0, :], task.covariance


def _length_ratio(task: Task) -> float:
    """E[(N−1)/N²]/E[(N−1)/N] over context lengths, 1/N for one."""
    lengths = np.array(task.context_lengths, dtype=float)
    has_context = lengths > 0
    N, weights = lengths[has_context], task.context_weights[has_context]
    share = float(np.sum(weights * (N - 1) / N))
    if share == 0:
        raise ValueError(
            f"{_WHAT} needs contexts of at least 2 tokens: x_n − x̄ vanishes for one"
        )
    return float(np.sum(weights * (N - 1) / N**2)) / share
