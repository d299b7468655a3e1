"""Exact losses of one gradient step in context, plain and debiased, averaged over all prompts.

Both predict (1/N) Σ_n y_n v_nᵀ Γ x_q; the plain step has v_n = x_n, the debiased one v_n = x_n − x̄. Γ is the step η,
times a preconditioner if there is one, so that

    L(η) = E[y_q²] − 2η signal + η² square

With Ω = E[w wᵀ], M₂ = E[x xᵀ] of the query, P = Γ M₂ Γᵀ, S = Σ_n (x_n − x̄)(x_n − x̄)ᵀ and K(Ω) the fourth cumulant of
x contracted with Ω, which is 0 for Gaussian x,

    plain:     signal = tr(Ω M₂ Γ M₂),             square = tr P [(1 − 1/N) M₂ΩM₂ + (E[(xᵀΩx) x xᵀ] + σ² M₂)/N]
    debiased:  signal = (1 − 1/N) tr(Ω Λ Γ M₂),    square = tr P [E[S Ω S] + (N − 1) σ² Λ] / N²
               E[S Ω S] = (N − 1)² [ΛΩΛ + K(Ω)/N] + (N − 1) [ΛΩΛ + tr(ΩΛ) Λ]

The last line is the covariance of a sample covariance. The debiased step is the limit ω → 0 of two softmax heads
(He et al. 2025, arXiv 2503.12734). Losses of several outputs are added, and context lengths averaged.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import (
    central_contraction,
    contracted_fourth_moments,
    input_second_moments,
    teacher_second_moments,
)


class BestStep(NamedTuple):
    """The step η of the least loss, and that loss."""

    step: float
    loss: float


class _Parabola(NamedTuple):
    """L(η) = zero − 2 signal η + square η²."""

    zero: float
    signal: float
    square: float

    def at(self, step: ArrayLike) -> FloatArray:
        """L(η) for every η."""
        η = finite_array(step, "step")
        return np.asarray(self.zero - 2 * η * self.signal + η**2 * self.square)

    def lowest(self) -> BestStep:
        """The lowest point; η = 0 where no step changes the prediction."""
        if self.square == 0:
            return BestStep(0.0, self.zero)
        η = self.signal / self.square
        return BestStep(η, self.zero - η * self.signal)


def plain_step_loss(
    task: Task, step: ArrayLike, *, preconditioner: ArrayLike | None = None
) -> FloatArray:
    """Loss of the prediction (η/N) Σ_n y_n x_nᵀ Γ x_q, of the shape of `step`, in units of y².

    η is `step`, Γ (D, D) the `preconditioner`, the identity if left out. Any task whose x has a known fourth moment;
    ValueError for others. On white x with labels of variance 1 it is
    1 + σ² − 2η + η² (N + D + 1 + σ²D)/N. Source: derived here; Zhang et al. 2025 (arXiv 2501.16265) for M = ηΓ.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> plain_step_loss(task, [0, 0.5]).round(6)
    array([1.1     , 0.390625])
    """
    return _plain(task, step, preconditioner).at(step)


def best_plain_step(task: Task, *, preconditioner: ArrayLike | None = None) -> BestStep:
    """The step with the least `plain_step_loss`: N/(N + D + 1 + σ²D) on white x.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(best_plain_step(task).loss, 6)
    0.239785
    """
    return _plain(task, 0, preconditioner).lowest()


def debiased_step_loss(
    task: Task, step: ArrayLike, *, preconditioner: ArrayLike | None = None
) -> FloatArray:
    """Loss of the prediction (η/N) Σ_n y_n (x_n − x̄)ᵀ Γ x_q, of the shape of `step`, in units of y².

    Arguments and refusals are those of `plain_step_loss`. On white x with labels of variance 1 it is
    1 + σ² − 2η(N−1)/N + η²(N−1)(N + D + σ²D)/N². Source: derived here.

    >>> shifted = Task([1] * 5, input_mean=[1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1,
    ...                context_length=40)
    >>> plain_step_loss(shifted, 0.5).round(4), debiased_step_loss(shifted, 0.5).round(4)
    (np.float64(5.525), np.float64(0.7045))
    """
    return _debiased(task, step, preconditioner).at(step)


def best_debiased_step(
    task: Task, *, preconditioner: ArrayLike | None = None
) -> BestStep:
    """The step with the least `debiased_step_loss`: N/(N + D + σ²D) on white x; 0 where N = 1.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(best_debiased_step(task).loss, 6)
    0.242857
    """
    return _debiased(task, 0, preconditioner).lowest()


class _StepTask(NamedTuple):
    """What the losses of steps depend on: Ω, M₂, Λ and Γ (D, D), σ² of all outputs together, lengths and weights."""

    Ω: FloatArray
    M2: FloatArray
    Λ: FloatArray
    Γ: FloatArray
    noise_variance: float
    zero_loss: float
    lengths: tuple[tuple[int, float], ...]

    @property
    def P(self) -> FloatArray:
        """Γ M₂ Γᵀ."""
        return np.asarray(self.Γ @ self.M2 @ self.Γ.T)


def _step_task(task: Task, preconditioner: ArrayLike | None) -> _StepTask:
    """The task for steps with this preconditioner."""
    D, K = task.dimension, task.outputs
    Γ = np.eye(D)
    if preconditioner is not None:
        Γ = finite_array(preconditioner, "preconditioner", "(D, D)", D=D)
    Ω = np.einsum("kakb->ab", teacher_second_moments(task.teachers))
    M2 = input_second_moments(task)
    lengths = zip(task.context_lengths, task.context_weights.tolist(), strict=True)
    return _StepTask(
        Ω=Ω,
        M2=M2,
        Λ=task.covariance,
        Γ=Γ,
        noise_variance=K * task.noise_variance,
        zero_loss=float(np.sum(Ω * M2)) + K * task.query_noise_variance,
        # Without a context the prediction is 0.
        lengths=tuple((N, weight) for N, weight in lengths if N > 0),
    )


def _plain(task: Task, step: ArrayLike, preconditioner: ArrayLike | None) -> _Parabola:
    """The loss of plain steps."""
    require_task_first("plain_step_loss(task, step)", task, step)
    prompts = _step_task(task, preconditioner)
    Ω, M2, P = prompts.Ω, prompts.M2, prompts.P
    one_token = contracted_fourth_moments(task, Ω) + prompts.noise_variance * M2
    signal = float(np.trace(Ω @ M2 @ prompts.Γ @ M2))
    of_one_token = float(np.sum(P * one_token))
    of_two_tokens = float(np.sum(P * (M2 @ Ω @ M2)))

    share = sum(weight for _, weight in prompts.lengths)
    square = sum(
        weight * ((1 - 1 / N) * of_two_tokens + of_one_token / N)
        for N, weight in prompts.lengths
    )
    return _Parabola(prompts.zero_loss, share * signal, square)


def _debiased(
    task: Task, step: ArrayLike, preconditioner: ArrayLike | None
) -> _Parabola:
    """The loss of debiased steps."""
    require_task_first("debiased_step_loss(task, step)", task, step)
    prompts = _step_task(task, preconditioner)
    Λ = prompts.Λ
    of_pairs, of_pair_cumulant, of_single = _sums_of_debiased(task, prompts)
    signal = float(np.trace(prompts.Ω @ Λ @ prompts.Γ @ prompts.M2))

    share, square = 0.0, 0.0
    for N, weight in prompts.lengths:
        share += weight * (N - 1) / N
        pairs = (N - 1) ** 2 * (of_pairs + of_pair_cumulant / N)
        square += weight * (pairs + (N - 1) * of_single) / N**2
    return _Parabola(prompts.zero_loss, share * signal, square)


def _sums_of_debiased(task: Task, prompts: _StepTask) -> tuple[float, float, float]:
    """tr P of ΛΩΛ, of K(Ω), and of ΛΩΛ + (tr(ΩΛ) + σ²) Λ."""
    Ω, Λ, P = prompts.Ω, prompts.Λ, prompts.P
    ΛΩΛ = Λ @ Ω @ Λ
    tr_ΩΛ = float(np.sum(Ω * Λ))
    cumulant = central_contraction(task, Ω) - 2 * ΛΩΛ - tr_ΩΛ * Λ
    single = ΛΩΛ + (tr_ΩΛ + prompts.noise_variance) * Λ
    return (
        float(np.sum(P * ΛΩΛ)),
        float(np.sum(P * cumulant)),
        float(np.sum(P * single)),
    )
