"""Laws of the phases of softmax heads that learn: growth, drop and valley; those of the tail stand in `tails`.

For white inputs of dimension D and labels of variance 1 without noise, κ = (1 + σ²)/N, ρ of the metric,
η = μᵀω and s = D ω² of the heads, which come to have one |ω|:

    growth      H − 1 modes of zero sum at the rate √ρ, and a common one at (−κH + √(κ²H² + 4ρ))/2
    drop        half done at about √D ln(1/α) for ρ = 1/D, where α is the size of (μ_h + ω_h/√ρ)/2 at the start
    valley      ∂L/∂ω = 0 for the μ of that time, on the approximate loss η (1 + κD cosh s) = 1
    tail        s = (4κ n_eff t)^{−1/3}, n_eff = 2 n₊n₋/(n₊ + n₋) with n± heads of each sign of ω
    its end     at s*, the finite optimum of the exact loss, at t ≈ 1/Γ, Γ = (4κ/3) s*³ with the exact loss's κ

Other variances λ of x and v of labels go in as λω for ω, ρλ² for ρ, v for 1. Source: derived here; He et al. 2025
(arXiv 2503.12734) observe that heads come in pairs of opposite sign.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_choice,
    finite_array,
    positive_number,
    true_or_false,
    whole_number,
)
from ...task import Task
from ..call_order import require_task_first
from .approximate_losses import WhiteTask, white_task
from .exact_losses import exact_loss
from .metrics import LOSSES, checked_metric


class GrowthRates(NamedTuple):
    """Rates of growth from 0: of the modes in which Σ_h μ_h = 0 (nan for one head), and of the common mode."""

    zero_sum: float
    common: float


def growth_rates(
    task: Task,
    heads: int,
    metric: str | float = "matrix",
    *,
    loss: str = "exact",
    query_token: bool = False,
) -> GrowthRates:
    """Rates at which small softmax heads grow: √ρ (1 − 1/N) of zero-sum modes and that of the common one.

    On the approximate loss the factor 1 − 1/N is missing; with the query's token it is N²/(N+1)², which multiplies κ,
    too. Exact as weights vanish. ValueError for tasks without such a loss. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> rates = growth_rates(task, 2, "euclidean", loss="approximate")
    >>> round(rates.zero_sum, 5), round(rates.common, 5)
    (1.0, 0.97288)
    """
    require_task_first("growth_rates(task, heads, metric)", task, heads)
    whole_number(heads, "heads")
    check_choice(loss, "loss", LOSSES)
    reads_query = true_or_false(query_token, "query_token")
    ρ = checked_metric(metric, task.dimension)
    if loss == "approximate" and reads_query:
        raise ValueError(
            "the approximate loss holds without the query's token: leave query_token out, or use loss='exact'"
        )
    rates = linear_rates(
        task, heads, ρ, query_token=reads_query if loss == "exact" else None
    )
    return rates if heads > 1 else GrowthRates(math.nan, rates.common)


def linear_rates(
    task: Task, heads: int, ρ: float, *, query_token: bool | None
) -> GrowthRates:
    """As `growth_rates`, on the approximate loss where `query_token` is None; one head has the rate √ρ, too."""
    white = white_task(task, "the growth of softmax heads")
    signal, noise = white.share_with_context * white.label_variance, white.noise
    if query_token is not None:
        signal, noise = _at_small_scores(task, white, query_token)
    # ω' = ρλv μ, μ' = λv ω − κ Σμ
    speed = math.sqrt(ρ) * white.input_variance * signal
    damping = noise * heads
    common = (-damping + math.hypot(damping, 2 * speed)) / 2
    return GrowthRates(speed, common)


def _at_small_scores(
    task: Task, white: WhiteTask, query_token: bool
) -> tuple[float, float]:
    """E[α g]/(λω) and the entries of E[ρS + …C] as ω → 0, averaged over context lengths."""
    signal, noise = 0.0, 0.0
    label_variance = white.label_variance
    for N, weight in zip(task.context_lengths, task.context_weights, strict=True):
        if N == 0:
            continue
        factor = N**2 / (N + 1) ** 2
        signal_factor = factor if query_token else 1 - 1 / N
        signal += float(weight) * label_variance * signal_factor
        noise_factor = factor if query_token else 1.0
        noise += (
            float(weight) * (label_variance + task.noise_variance) / N * noise_factor
        )
    return signal, noise


def drop_time(task: Task, size: float) -> float:
    """√D ln(1/α) for ρ = 1/D: about when half of the loss is gone, for (μ_h + ω_h/√ρ)/2 of `size` α at the start.

    Where x has variance λ and y has v, √D is √D/(λv), where v counts only the share of prompts that have a context.
    ValueError for a size that is not between 0 and 1, and as `growth_rates`. Source: derived here, to leading order in
    ln(1/α).

    >>> task = Task([1] * 20, teacher_covariance=np.eye(20) / 20, context_length=160)
    >>> round(drop_time(task, 1e-3), 1)
    30.9
    """
    require_task_first("drop_time(task, size)", task, size)
    α = positive_number(size, "size")
    if α >= 1:
        raise ValueError(f"size must be below 1, as heads start small, not {α:g}")
    rate = linear_rates(task, 1, 1 / task.dimension, query_token=None).zero_sum
    # 1/α is no number for the smallest α.
    return -math.log(α) / rate


def valley_step(task: Task, s: ArrayLike, *, loss: str = "exact") -> FloatArray:
    """η = 2λγm at which heads ±(γ, m) of s = D(λγ)² have ω at rest, ∂L/∂ω = 0: the valley, at `s` (S,) or ().

    On the approximate loss 1/(1 + κD cosh s), κ in units of v; `s` may be 0 there. Without the query's token, which
    moves the two ω apart. ValueError for s that is not positive, and as `exact_loss`. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> valley_step(task, [0.5, 1.0], loss="approximate").round(4), valley_step(task, [0.5, 1.0]).round(4)
    (array([0.8658, 0.825 ]), array([0.8828, 0.8881]))
    """
    require_task_first("valley_step(task, s)", task, s)
    white = white_task(task, "the valley of softmax heads")
    at = finite_array(s, "s", "()", "(S,)")
    check_choice(loss, "loss", LOSSES)
    least = np.min(at, initial=math.inf)
    if least < 0 or (least == 0 and loss == "exact"):
        raise ValueError(
            f"s = D ω² of the valley must be above 0, not {least:g}: on the exact loss two heads of ω = 0 are one step"
        )
    if loss == "approximate":
        return approximate_valley_step(white, at)
    return _exact_valley_step(task, white, at)


def approximate_valley_step(white: WhiteTask, s: FloatArray) -> FloatArray:
    """1/(1 + κD cosh s) with κ in units of v."""
    v = white.share_with_context * white.label_variance
    return np.asarray(1 / (1 + white.noise / v * white.dimension * np.cosh(s)))


# Long because two gradients give both coefficients of one quadratic form, which are read together.
def _exact_valley_step(task: Task, white: WhiteTask, s: FloatArray) -> FloatArray:
    """The same on the exact loss, of which ∂L/∂ω_1 = 2m (m K(γ) − g′(γ)) for heads ±(γ, m)."""
    γ = np.sqrt(np.atleast_1d(s) / white.dimension) / white.input_variance  # (S,)
    ω = γ[:, None] * [1.0, -1.0]

    def slope(m: float) -> FloatArray:
        μ = np.broadcast_to([m, -m], ω.shape)
        gradient = exact_loss(task, ω, μ, gradient=True).gradient
        assert gradient is not None
        return gradient.omega[:, 0]

    at_1, at_2 = slope(1.0), slope(2.0)
    K = at_2 / 4 - at_1 / 2
    signal_slope = K - at_1 / 2
    η = 2 * white.input_variance * γ * signal_slope / K
    return np.asarray(η.reshape(s.shape))
