"""Least approximate losses of softmax heads on white inputs, in closed form.

With labels of variance v, κ the `noise` of a `WhiteTask` and x ~ N(0, λ 1), η = λ μᵀω and E_hk = exp(D λ² ω_h ω_k),

    L̃ = L(0) − v (2η − η²) + κ μᵀE μ

Every exponential of a product of ω's is, by the theorem of Schur, at least its first terms: E ⪰ D λ² ωωᵀ. So
κ μᵀEμ ≥ κD η², which no number of heads of mixed signs falls below and two heads reach as ω → 0. If all μ_h have one
sign, Jensen's inequality gives μᵀEμ ≥ m² exp(D η²/m²) with m = Σ_h μ_h, at least e D η²: no better than one head.
Source: derived here from the reduced model of He et al. 2025 (arXiv 2503.12734).
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, positive_number, whole_number
from ...task import Task
from ..call_order import require_task_first
from .approximate_losses import (
    WhiteTask,
    approximation_error,
    is_reliable,
    large_scores_note,
    refuse_large_exponents,
    white_task,
)
from .head_scalars import refuse_nearly_equal
from .losses_of_heads import HeadOptimum

_WHAT = "the least approximate loss of softmax heads"


# Long because the units of ω, the form and its minimum are the formula of the docstring, line by line.
def best_values(task: Task, omega: ArrayLike) -> HeadOptimum:
    """The heads of least approximate loss at these `omega` (H,): μ = (ωωᵀ + κE)⁻¹ ω, the shortest where many are.

    ValueError for inputs that are not white, and for ω that are neither equal nor apart. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> best_values(task, [0.2, -0.2]).mu.round(6)
    array([ 2.196029, -2.196029])
    """
    white = _white(task, "best_values(task, omega)", omega)
    ω = finite_array(omega, "omega", "(H,)")
    refuse_large_exponents(white, ω)
    refuse_nearly_equal(ω, 1 / (white.input_variance * math.sqrt(white.dimension)))
    v, κ = _signal(white), white.noise
    ω_in_units = white.input_variance * ω
    E = np.exp(white.dimension * np.outer(ω_in_units, ω_in_units))
    form = v * np.outer(ω_in_units, ω_in_units) + κ * E
    μ = np.linalg.lstsq(form, v * ω_in_units, rcond=None)[0]
    loss = white.zero_loss - v * float(ω_in_units @ μ)
    return HeadOptimum(ω, np.asarray(μ), loss, note=_approximate_note(white, ω))


def single_head_optimum(task: Task) -> HeadOptimum:
    """The single head of least approximate loss, ω = 1/(λ√D) and μ = √D/(1 + eκD/v).

    Its loss is L(0) − v/(1 + eκD/v); −ω, −μ have the same.
    ValueError for inputs that are not white. Source: derived here; Chen et al. 2024 (arXiv 2402.19442).

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> optimum = single_head_optimum(task)
    >>> optimum.omega.round(6), optimum.mu.round(6), round(optimum.loss, 6)
    (array([0.447214]), array([1.627695]), 0.372073)
    """
    white = _white(task, "single_head_optimum(task)")
    D, v = white.dimension, _signal(white)
    η = _shrinkage(white, math.e)
    ω = 1 / (white.input_variance * math.sqrt(D))
    μ = math.sqrt(D) * η
    return HeadOptimum(
        np.array([ω]),
        np.array([μ]),
        white.zero_loss - v * η,
        note=_approximate_note(white, np.array([ω])),
    )


def two_head_optimum(task: Task, gamma: float) -> HeadOptimum:
    """The heads ±(γ, m) of least approximate loss at this γ > 0: m = γ/(2(γ² + κ sinh(Dγ²))).

    The loss, 1 + σ² − 1/(1 + κ sinh(Dγ²)/γ²), increases with γ: there is no minimiser, and the infimum is the limit
    γ → 0, in which 2γm → 1/(1 + κD). ValueError for inputs that are not white. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(two_head_optimum(task, 1e-3).loss, 8), round(infimum(task, 2), 8)
    (0.22087912, 0.22087912)
    """
    white, γ = _pair(task, "two_head_optimum(task, gamma)", gamma)
    v = _signal(white)
    overlap = _pair_overlap(white, γ)
    η = 1 / (1 + white.noise / v * overlap)
    m = η / (2 * γ * white.input_variance)
    ω = np.array([gamma, -gamma], dtype=float)
    return HeadOptimum(
        ω,
        np.array([m, -m]),
        white.zero_loss - v * η,
        note=_approximate_note(white, ω),
    )


def two_head_slope(task: Task, gamma: float) -> float:
    """Derivative by γ of the loss of `two_head_optimum`: above 0 at every γ > 0.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> two_head_slope(task, 0.2) > 0
    True
    """
    white, γ = _pair(task, "two_head_slope(task, gamma)", gamma)
    λ, κ, v = white.input_variance, white.noise, _signal(white)
    s = white.dimension * (λ * γ) ** 2
    η = 1 / (1 + κ / v * _pair_overlap(white, γ))
    # The overlap is D sinh(s)/s, whose derivative by s is D (cosh s − sinh(s)/s)/s.
    by_s = white.dimension * _sinh_slope(s)
    return κ * η**2 * by_s * 2 * s / γ


def infimum(task: Task, heads: int) -> float:
    """The infimum of the approximate loss over all heads: L(0) − v/(1 + eκD/v) for one, e left out for H ≥ 2.

    One head attains it; more heads only in the limit ω → 0. ValueError for inputs that are not white.
    Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(infimum(task, 1), 6), round(infimum(task, 2), 6)
    (0.372073, 0.220879)
    """
    white = _white(task, "infimum(task, heads)", heads)
    factor = math.e if whole_number(heads, "heads") == 1 else 1.0
    return white.zero_loss - _signal(white) * _shrinkage(white, factor)


def same_sign_bound(task: Task) -> float:
    """What the approximate loss of heads whose μ have one sign cannot fall below: the best of one head.

    It holds for any number of heads and any signs of ω. ValueError for inputs that are not white.
    Source: derived here, by Jensen's inequality.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(same_sign_bound(task), 6)
    0.372073
    """
    white = _white(task, "same_sign_bound(task)")
    return white.zero_loss - _signal(white) * _shrinkage(white, math.e)


class LeadingOptimum(NamedTuple):
    """γ of the best two heads ±γ on the exact loss, and their gain over γ → 0, to leading order in 1/N.

    `relative_error` is what γ² and the gain are low by at most, and `note` warns where that is no order of magnitude.
    """

    gamma: float
    gain: float
    relative_error: float
    note: str = ""


def exact_slope_at_zero(task: Task) -> float:
    """dL/d(γ²) at γ → 0 of the exact loss of the best heads ±(γ, m): −4 (N−1)(D+2)/(N M²), M = N + D + Dσ².

    It is exact for all D, N and σ: two heads have a finite optimum. Without the query's token.
    ValueError for inputs that are not white and several context lengths. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(exact_slope_at_zero(task), 8)
    -0.01318681
    """
    white, N, σ2 = _single_length(task, "exact_slope_at_zero(task)")
    D, λ, v = white.dimension, white.input_variance, white.label_variance
    M = N + D * (1 + σ2 / v)
    return -4 * v * λ**2 * (N - 1) * (D + 2) / (N * M**2)


def leading_optimum(task: Task) -> LeadingOptimum:
    """γ*² = 12/(N(D+4)(D(1+σ²)+3)) and gain 24(D+2)/(N M²(D+4)(D(1+σ²)+3)) of the exact loss of two heads.

    Both are the leading order in 1/N at fixed D: low by 25 % at D = 5, N = 40, by 6 % at N = 160. `.relative_error` is
    an estimate from above, infinite for short contexts, where exact_optimum alone is of use.
    ValueError as `exact_slope_at_zero`. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> optimum = leading_optimum(task)
    >>> round(optimum.gamma, 4), round(optimum.gain, 7)
    (0.0626, 2.65e-05)
    """
    white, N, σ2 = _single_length(task, "leading_optimum(task)")
    λ, v = white.input_variance, white.label_variance
    γ2, gain = leading_orders(white.dimension, N, σ2 / v)
    error = _relative_error(N)
    note = ""
    if error > _NO_ESTIMATE:
        note = f"the leading order in 1/N is no estimate at N = {N}: use exact_optimum"
    return LeadingOptimum(math.sqrt(γ2) / λ, v * gain, error, note)


class LeadingOrders(NamedTuple):
    """(λγ*)² and the gain over γ → 0, relative to v, of two heads on the exact loss."""

    gamma_squared: float
    gain: float


def leading_orders(
    dimension: float, length: int, relative_noise: float
) -> LeadingOrders:
    """Both to leading order in 1/N, of white x and σ²/v; those of other x have an effective dimension."""
    D, N = dimension, length
    labels = D * (1 + relative_noise)
    M = N + labels
    curvature = N * (D + 4) * (labels + 3)
    return LeadingOrders(12 / curvature, 24 * (D + 2) / (M**2 * curvature))


# The next order, of the form a/(N − b): from above for D = 1 … 20, σ² = 0 … 10 and N ≥ 30, by 3 % to 7 % at D = 1 and
# σ² = 0, where it is nearest. There γ*² of shorter contexts grows faster than by any such form.
_NEXT_ORDER, _OFFSET, _SHORTEST = 12.0, 20, 30
# An estimate that is low by more than this share says little.
_NO_ESTIMATE = 0.6


def _relative_error(length: int) -> float:
    """What the leading orders are low by at most."""
    if length < _SHORTEST:
        return math.inf
    return _NEXT_ORDER / (length - _OFFSET)


def _approximate_note(white: WhiteTask, ω: FloatArray) -> str:
    """How far the approximate loss of heads ω (H,) is from the exact one."""
    if not is_reliable(white, ω):
        return large_scores_note(white, ω)
    return (
        f"of the approximate loss, whose error is O(1/D), up to about {approximation_error(white):.2g} relative; "
        "exact_optimum is without it"
    )


def _white(task: Task, call: str, model: object = None) -> WhiteTask:
    """The numbers of the task; ValueError where it has no context or no signal."""
    require_task_first(call, task, model)
    white = white_task(task, _WHAT)
    if _signal(white) == 0:
        raise ValueError(
            f"{_WHAT} needs labels that a context tells of: here the teachers or all context lengths are 0"
        )
    return white


def _signal(white: WhiteTask) -> float:
    """v, times the weight of prompts that have a context."""
    return white.share_with_context * white.label_variance


def _shrinkage(white: WhiteTask, factor: float) -> float:
    """1/(1 + factor·κD/v)."""
    return 1 / (1 + factor * white.noise * white.dimension / _signal(white))


def _pair(task: Task, call: str, gamma: float) -> tuple[WhiteTask, float]:
    """The numbers of the task, and γ > 0."""
    white = _white(task, call, gamma)
    γ = positive_number(gamma, "gamma")
    refuse_large_exponents(white, np.array([γ]))
    return white, γ


def _pair_overlap(white: WhiteTask, γ: float) -> float:
    """sinh(Dλ²γ²)/(λγ)², which is D at γ → 0."""
    D = white.dimension
    s = D * (white.input_variance * γ) ** 2
    return D * math.sinh(s) / s if s > 0 else float(D)


# Below this s the difference of cosh s and sinh(s)/s loses digits, and two terms of its series are exact.
_SMALL = 1e-3


def _sinh_slope(s: float) -> float:
    """(cosh s − sinh(s)/s)/s."""
    if s < _SMALL:
        return s / 3 + s**3 / 30
    return (math.cosh(s) - math.sinh(s) / s) / s


def _single_length(task: Task, call: str) -> tuple[WhiteTask, int, float]:
    """The numbers of the task, its one context length and σ² in context."""
    white = _white(task, call)
    if len(task.context_lengths) != 1:
        raise ValueError(
            f"the optimum of two heads is known for one context length, not for {task.context_length!r}"
        )
    N = task.context_lengths[0]
    if N < 2:
        raise ValueError(
            "two heads of opposite signs need a context of at least 2 tokens, not 1"
        )
    return white, N, task.noise_variance
