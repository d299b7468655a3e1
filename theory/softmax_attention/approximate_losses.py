"""The approximate loss of softmax heads, in which He et al. and Chen et al. derive their dynamics.

With κ = (1 + σ²)/N, for white inputs of dimension D and labels of variance 1 without noise,

    L̃(ω, μ) = 1 + σ² − 2 μᵀω + (μᵀω)² + κ μᵀE μ,    E_hk = exp(D ω_h ω_k)

Its limit is D → ∞ at fixed D/N and ω√D, where it differs from the exact loss by O(1/D). The query's own token is not
among the keys: with it the limit does not hold for ω > 0. Source: the reduced model of He et al. 2025 (arXiv
2503.12734) and Chen et al. 2024 (arXiv 2402.19442).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import true_or_false
from ...task import Task
from ..call_order import require_task_first
from ..moments.laws import teacher_second_moments
from .head_scalars import checked_head_scalars
from .losses_of_heads import ApproximateLoss, HeadGradient
from .softmax_tasks import refuse_other_inputs

# Relative difference up to which variances of x are one.
_SAME_VARIANCE = 1e-10
# Standard deviations of scores up to which the error falls as 1/D, and D times the relative error at most: measured at
# D = 2 … 40, N = D/2 … 30 D, σ² = 0 … 3 and one to four heads, whose μ was .6 to 1.2 times the best one.
_LARGEST_SCORES, _ERROR_TIMES_DIMENSION = 1.0 + 1e-9, 2.0
# e^700 is about the largest number.
_LARGEST_EXPONENT = 700.0


class WhiteTask(NamedTuple):
    """The numbers of a task with white inputs, Λ = λ 1, that softmax heads depend on.

    `input_variance` λ, `label_variance` v = λ tr Ω, `query_noise_variance` σ_q², `noise` κ = (v + σ²)/N averaged over
    context lengths, and `share_with_context` the weight of those above 0.
    """

    dimension: int
    input_variance: float
    label_variance: float
    query_noise_variance: float
    noise: float
    share_with_context: float

    @property
    def zero_loss(self) -> float:
        """The loss of the zero predictor."""
        return self.label_variance + self.query_noise_variance


# Long because each number of the task is read and named once.
def white_task(task: Task, what: str) -> WhiteTask:
    """Its numbers; ValueError unless x is Gaussian with mean zero and a multiple of the identity as covariance."""
    refuse_other_inputs(task, what)
    λ = float(np.mean(task.eigenvalues))
    if not np.allclose(
        task.covariance, λ * np.eye(task.dimension), rtol=0, atol=_SAME_VARIANCE * λ
    ):
        raise ValueError(
            f"{what} is known for white inputs, whose covariance is a multiple of the identity; eigenvalues given: "
            f"{task.eigenvalues.tolist()}"
        )
    Ω = teacher_second_moments(task.teachers)[0, :, 0, :]
    v = λ * float(np.trace(Ω))
    lengths = np.array(task.context_lengths)
    has_context = lengths > 0
    weights = task.context_weights[has_context]
    return WhiteTask(
        dimension=task.dimension,
        input_variance=λ,
        label_variance=v,
        query_noise_variance=task.query_noise_variance,
        noise=(v + task.noise_variance) * float(np.sum(weights / lengths[has_context])),
        share_with_context=float(np.sum(weights)),
    )


def approximate_loss(
    task: Task,
    omega: ArrayLike,
    mu: ArrayLike,
    *,
    query_token: bool = False,
    gradient: bool = False,
) -> ApproximateLoss:
    """L̃ = 1 + σ² − 2 μᵀω + (μᵀω)² + κ μᵀE μ with E_hk = exp(D ω_h ω_k), for heads without the query's token.

    `omega`, `mu` are (H,) or (points, H). On white inputs x ~ N(0, λ 1) with labels of variance v the first 1 is v,
    ω is λω and μᵀω and its square have a factor v. It is near the exact loss up to scores of standard deviation
    λ|ω|√D = 1: `.reliable` says where, `.relative_error` how near, and `.note` warns of other points.
    ValueError for other inputs, several outputs, ω and μ of different shapes, where D ω_h ω_k is above 700, and for
    ω > 0 with `query_token`, with which it is no limit of the exact loss.
    Source: the reduced model of He et al. 2025 (arXiv 2503.12734).

    >>> from attndyn import Task
    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(float(approximate_loss(task, [0.3, -0.2], [1.2, -1.5])), 7)
    0.2799385
    """
    require_task_first("approximate_loss(task, omega, mu)", task, omega)
    ω, μ = checked_head_scalars(omega, mu)
    white = white_task(task, "the approximate loss of softmax heads")
    wants_gradient = true_or_false(gradient, "gradient")
    refuse_large_exponents(white, ω)
    _refuse_large_losses(white, ω, μ)
    if true_or_false(query_token, "query_token"):
        _refuse_positive_heads(ω)
    reliable = is_reliable(white, ω)
    return ApproximateLoss(
        approximate_values(white, ω, μ),
        approximate_gradient(white, ω, μ) if wants_gradient else None,
        reliable,
        relative_error=approximation_error(white),
        note="" if np.all(reliable) else large_scores_note(white, ω),
    )


def is_reliable(white: WhiteTask, ω: FloatArray) -> NDArray[np.bool_]:
    """Whether the scores of heads ω (…, H) are within the limit of the approximate loss."""
    largest = np.max(np.abs(ω), axis=-1, initial=0.0)
    scores = white.input_variance * largest * math.sqrt(white.dimension)
    return np.asarray(scores <= _LARGEST_SCORES)


def approximation_error(white: WhiteTask) -> float:
    """What the approximate loss is off by at most there, relative: O(1/D)."""
    return _ERROR_TIMES_DIMENSION / white.dimension


def large_scores_note(white: WhiteTask, ω: FloatArray) -> str:
    """A warning of heads that are beyond the limit."""
    scores = white.input_variance * np.max(np.abs(ω)) * math.sqrt(white.dimension)
    return (
        f"scores have a standard deviation |omega| sqrt(D) of up to {scores:.3g}, and the approximate loss holds up to "
        f"{_LARGEST_SCORES:g}: beyond, it was seen to be off by 10 to 25 % at D = 5 to 80; use exact_loss"
    )


def _refuse_positive_heads(ω: FloatArray) -> None:
    """ValueError for heads that the query's own token takes all the weight of."""
    largest = float(np.max(ω))
    if largest > 0:
        raise ValueError(
            f"with query_token the approximate loss holds for omega ≤ 0 alone, not for {largest:.3g}: the query's own "
            "token then outweighs all others; use exact_loss"
        )


def approximate_values(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> FloatArray:
    """L̃ (…) at ω, μ (…, H)."""
    ω = white.input_variance * ω
    v = white.share_with_context * white.label_variance
    η = np.sum(μ * ω, axis=-1)
    noise = white.noise * np.sum(μ * _overlap_times(white, ω, μ), axis=-1)
    return np.asarray(white.zero_loss - 2 * v * η + v * η**2 + noise)


def approximate_gradient(
    white: WhiteTask, ω: FloatArray, μ: FloatArray
) -> HeadGradient:
    """Derivatives of L̃ by ω and by μ, at ω, μ (…, H)."""
    λ = white.input_variance
    ω = λ * ω
    v = white.share_with_context * white.label_variance
    η = np.sum(μ * ω, axis=-1, keepdims=True)
    by_η = -2 * v * (1 - η)
    # ∂/∂ω_h of Σ_jk μ_j μ_k e^{D ω_j ω_k} is 2D μ_h Σ_k E_hk μ_k ω_k.
    by_overlap = 2 * white.dimension * μ * _overlap_times(white, ω, μ * ω)
    by_ω = by_η * μ + white.noise * by_overlap
    by_μ = by_η * ω + 2 * white.noise * _overlap_times(white, ω, μ)
    return HeadGradient(λ * by_ω, by_μ)


def refuse_large_exponents(white: WhiteTask, ω: FloatArray) -> None:
    """ValueError where e^{D λ² ω²} is no number."""
    D, λ = white.dimension, white.input_variance
    largest = float(np.max(np.abs(ω)))
    if λ * largest > math.sqrt(_LARGEST_EXPONENT / D):
        raise ValueError(
            f"omega = {largest:.3g} gives e^(D ω²) beyond the largest number: |ω| may be at most "
            f"{np.sqrt(_LARGEST_EXPONENT / D) / λ:.3g} for D = {D}"
        )


def _refuse_large_losses(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> None:
    """ValueError where terms of the loss are beyond the largest number."""
    largest_ω = white.input_variance * float(np.max(np.abs(ω)))
    logarithm_of_E = white.dimension * largest_ω**2
    size_of_μ = max(1.0, float(np.max(np.sum(np.abs(μ), axis=-1))))
    if logarithm_of_E + 2 * math.log(size_of_μ) > _LARGEST_EXPONENT:
        raise ValueError(
            f"omega = {np.max(np.abs(ω)):.3g} and mu = {np.max(np.abs(μ)):.3g} give a loss beyond the largest number"
        )


def _overlap_times(white: WhiteTask, ω: FloatArray, values: FloatArray) -> FloatArray:
    """Σ_k exp(D ω_h ω_k) values_k (…, H)."""
    E = np.exp(white.dimension * ω[..., :, None] * ω[..., None, :])
    return np.asarray(np.sum(E * values[..., None, :], axis=-1))


# Long because every block of second derivatives stands as in its formula.
def approximate_hessian(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> FloatArray:
    """Second derivatives (2H, 2H) of the approximate loss by (ω, μ), at ω, μ (H,)."""
    D, κ = white.dimension, white.noise
    v = white.share_with_context * white.label_variance
    λ = white.input_variance
    ω = λ * ω
    E = np.exp(D * np.outer(ω, ω))
    η = float(μ @ ω)
    H = len(ω)

    by_μ_μ = 2 * v * np.outer(ω, ω) + 2 * κ * E
    # Σ_j E_hj μ_j ω_j and Σ_j E_hj μ_j ω_j² stand on the diagonals, where ω_h changes its whole row.
    by_μ_ω = 2 * v * (np.outer(ω, μ) - (1 - η) * np.eye(H))
    by_μ_ω += 2 * κ * D * (ω[:, None] * E * μ + np.diag(E @ (μ * ω)))
    by_ω_ω = 2 * v * np.outer(μ, μ)
    by_ω_ω += 2 * κ * D * E * np.outer(μ, μ) * (1 + D * np.outer(ω, ω))
    by_ω_ω += 2 * κ * D**2 * np.diag(μ * (E @ (μ * ω**2)))
    return np.block([[λ**2 * by_ω_ω, λ * by_μ_ω.T], [λ * by_μ_ω, by_μ_μ]])
