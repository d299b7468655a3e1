"""The tail of softmax heads of both signs, s = D(λω)² → 0, and where it ends on the exact loss.

In the valley ω is at rest and only the step η = μᵀω of n₊ and n₋ heads at ±γ moves. The least loss at given s and η
is L(s, η) = L₀(η) + L₁(η) s + L₂(η) s²/2 + … for small s, and gradient flow makes of it

    s′ = −(4 n_eff κ/3) s³ (s − s*),    n_eff = 2 n₊n₋/(n₊ + n₋),    s* = −L₁/L₂

in any metric. On the approximate loss L₁ = 0, so that s = (4κ n_eff t)^{−1/3} for ever. On the exact loss s* is the
finite optimum ±γ*, κ is κ (D+2)(D+4)(D(1+σ²)+3)/(D³(1+σ²)) to leading order in 1/N, and

    Γ t = f(s/s*),    f(x) = −ln(1 − 1/x) − 1/x − 1/(2x²) ≃ 1/(3x³),    Γ = (4κ/3) s*³

for two heads. Γ is the rate at which s comes to rest. More heads follow the law until they move apart near the end:
heads of unequal |ω| lose less there. Source: derived here.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import (
    check_choice,
    finite_array,
    true_or_false,
    whole_number,
)
from ...task import Task
from ..call_order import require_task_first
from .approximate_losses import WhiteTask, white_task
from .exact_losses import ValueAverages, value_averages
from .exact_optima import exact_optimum, refuse_gain_of_rounding
from .metrics import LOSSES
from .optima import leading_optimum

_WHAT = "the tail of softmax heads"
# Where the laws hold: at s = 1/2 the next terms are a few percent, at 4 s* those of 1/N are at D = 5, N = 40.
LARGEST_IN_TAIL = 0.5
_LARGEST_OVER_END = 4.0
# The end is reached where s is off s* by a tenth of itself, after a time of 1/Γ: f(1/0.9) = 0.998.
REACHED = 0.9
# Of second derivatives at the optimum, and of the quadrature there.
_STEP = 1e-3
_NODES, _GRID_ERROR = 28, 1e-12
# Gain of the optimum, relative to the label's variance, from which rates are off by 1 % at most: measured, D = 1 … 20.
_LEAST_GAIN = 5e-11
_BISECTIONS = 100


class TailEnd(NamedTuple):
    """Where the tail ends: s* = D(λω)², the rate Γ at which s comes to rest there, and the flow time of s* = 0.9 s."""

    size: float
    rate: float
    time: float

    @classmethod
    def of(cls, size: float, rate: float) -> "TailEnd":
        """The end with its time, f(1/0.9)/Γ."""
        return cls(size, rate, float(_scaled_time(np.log(1 / REACHED - 1))) / rate)


def effective_heads(positive: int, negative: int) -> float:
    """n_eff = 2 n₊n₋/(n₊ + n₋).

    >>> effective_heads(1, 3)
    1.5
    """
    whole_number(positive, "positive")
    whole_number(negative, "negative")
    return 2 * positive * negative / (positive + negative)


def tail_law(
    task: Task,
    flow_time: ArrayLike,
    *,
    positive: int = 1,
    negative: int = 1,
    loss: str = "exact",
    query_token: bool = False,
) -> FloatArray:
    """s = D(λω)² at flow times (T,) or () in the tail of `positive` and `negative` heads, counted by the sign of ω.

    On the approximate loss (4κ n_eff t)^{−1/3} up to a relative O(t^{−2/3}); on the exact loss, of two heads, the s
    that comes to rest at `tail_end`, up to O(1/N), and the mean of s where the query's token moves them apart. For any
    metric. ValueError before the tail, where the law gives more than s = 1/2 or four times its end, for heads of one
    sign, which have no tail, and as `tail_end`. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> float(tail_law(task, 1e6, loss="approximate").round(6)), float(tail_law(task, 1e6).round(6))
    (0.020871, 0.02657)
    """
    require_task_first("tail_law(task, flow_time)", task, flow_time)
    white = white_task(task, _WHAT)
    times = finite_array(flow_time, "flow_time", "()", "(T,)")
    check_choice(loss, "loss", LOSSES)
    reads_query = true_or_false(query_token, "query_token")
    n_eff = effective_heads(positive, negative)
    if loss == "exact":
        return _exact_tail_law(task, times, positive + negative, reads_query)
    if reads_query:
        raise ValueError(
            "the approximate loss holds without the query's token: leave query_token out, or use loss='exact'"
        )
    begins = 1 / (4 * white.noise * n_eff * LARGEST_IN_TAIL**3)
    _refuse_before_tail(times, begins, LARGEST_IN_TAIL)
    return tail_of(white.noise, times, n_eff)


def _exact_tail_law(
    task: Task, times: FloatArray, heads: int, query_token: bool
) -> FloatArray:
    """s (T,) of two heads; ValueError for more, and before the tail."""
    if heads > 2:
        raise ValueError(
            f"on the exact loss the tail is known for one head of each sign, not for {heads} heads, which move apart "
            "near its end: pass loss='approximate', or follow reduced_flow"
        )
    end = tail_end(task, query_token=query_token)
    largest = min(LARGEST_IN_TAIL, _LARGEST_OVER_END * end.size)
    begins = float(_scaled_time(np.log(largest / end.size - 1))) / end.rate
    _refuse_before_tail(times, begins, largest)
    return end.size * _sizes_over_end(end.rate * times)


def tail_of(noise: float, t: FloatArray, n_eff: float) -> FloatArray:
    """(4κ n_eff t)^{−1/3}, of κ = `noise`, infinite at time 0."""
    with np.errstate(divide="ignore"):
        return np.asarray((4 * noise * n_eff * np.asarray(t)) ** (-1 / 3))


def tail_noise(task: Task, white: WhiteTask, loss: str) -> float:
    """κ of the tail's law; on the exact loss to leading order in 1/N, where s has moments of |x_q|² in it.

    Scores ω_h x·x_q have the variance (λω_h)²|x_q|², and E|x_q|⁶ = D(D+2)(D+4) stands for D³. The label of a token
    with a large score is the larger one, which makes D(1 + σ²) + 3 of D(1 + σ²).
    """
    if loss == "approximate":
        return white.noise
    D = white.dimension
    labels = D * (white.label_variance + task.noise_variance)
    of_scores = (D + 2) * (D + 4) / D**2
    return white.noise * of_scores * (labels + 3 * white.label_variance) / labels


def tail_end(task: Task, *, query_token: bool = False) -> TailEnd:
    """Where the tail of two heads ends on the exact loss: at the optimum of two heads, and when.

    The rate is the slowest one of the flow linearised there, for ρ → ∞; the time follows from the law of the tail, up
    to O(1/N). More heads have no such end: near it those of one sign move apart, as they then lose less.
    ValueError and ArithmeticError as `exact_optimum`, which refuses longer contexts alone, and ValueError where the
    end is above s = 1/2: the valley then has no tail. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> end = tail_end(task)
    >>> round(end.size, 4), round(1 / end.rate, -3), round(end.time, -3)
    (0.0254, 590000.0, 589000.0)
    """
    require_task_first("tail_end(task)", task, None)
    white = white_task(task, _WHAT)
    refuse_gain_of_rounding(task, None, _LEAST_GAIN)
    optimum = exact_optimum(task, 2, query_token=query_token)
    ω = white.input_variance * optimum.omega
    size = float(white.dimension * np.mean(ω**2))
    if size >= LARGEST_IN_TAIL:
        raise ValueError(
            f"two heads come to rest at s = D ω² = {size:.3g} on this exact loss, which is no tail: it needs longer "
            "contexts, for which s is small"
        )
    return TailEnd.of(size, _slowest_rate(task, optimum.omega, query_token, size))


def leading_tail_end(task: Task) -> TailEnd:
    """`tail_end` of two heads to leading order in 1/N at fixed D: s* = 12D/(N(D+4)(D(1+σ²)+3)), Γ = (4κ/3) s*³.

    κ is (1+σ²)/N · (D+2)(D+4)(D(1+σ²)+3)/(D³(1+σ²)). Without the query's token. ValueError as `leading_optimum`.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> end = leading_tail_end(task)
    >>> round(end.size, 4), round(end.time, -3)
    (0.0196, 927000.0)
    """
    require_task_first("leading_tail_end(task)", task, None)
    γ = leading_optimum(task).gamma
    white = white_task(task, _WHAT)
    size = white.dimension * (white.input_variance * γ) ** 2
    rate = 4 / 3 * tail_noise(task, white, "exact") * size**3
    return TailEnd.of(size, rate)


def _refuse_before_tail(times: FloatArray, begins: float, largest: float) -> None:
    """ValueError for times at which the law gives more than `largest`."""
    first = float(np.min(times, initial=math.inf))
    if first < begins:
        raise ValueError(
            f"the law of the tail holds from flow time {begins:.4g} on, where s is {largest:.3g}: flow_time "
            f"{first:g} is before it, follow reduced_flow there"
        )


def _scaled_time(logarithm: ArrayLike) -> FloatArray:
    """f(x) at x = 1 + e^y for y = `logarithm`, which keeps its digits near x = 1."""
    y = np.asarray(logarithm, dtype=float)
    x = 1 + np.exp(y)
    return np.asarray(np.log(x) - y - 1 / x - 1 / (2 * x**2))


def _sizes_over_end(scaled_times: FloatArray) -> FloatArray:
    """x = s/s* at f(x) = the scaled times, by bisection: f falls as x grows."""
    # f(1 + e^y) > −y − 3/2
    low = -np.asarray(scaled_times) - 1.5
    high = np.full_like(low, math.log(_LARGEST_OVER_END))
    for _ in range(_BISECTIONS):
        middle = (low + high) / 2
        is_early = _scaled_time(middle) < scaled_times
        high = np.where(is_early, middle, high)
        low = np.where(is_early, low, middle)
    return 1 + np.exp((low + high) / 2)


# Long because W and J are differences between the same two points, and the block of the inverse is one formula.
def _slowest_rate(task: Task, ω: FloatArray, query_token: bool, size: float) -> float:
    """The slowest rate of flow at the minimum at ω (H,), where ω follows at once (ρ → ∞).

    Of dω/dt = −(ρ/2) ∂L/∂ω, dμ/dt = −½ ∂L/∂μ it is ½ over the largest eigenvalue of the block of μ of the inverse
    Hessian, C⁻¹ + J W⁻¹ Jᵀ with C = ∂²L/∂μ² = 2F, best values μ*(ω), J = dμ*/dω and W the Hessian of L(ω, μ*(ω)).
    Each of these keeps its digits, where the Hessian itself has eigenvalues of 10² beside 10⁻⁶.
    """
    error = _GRID_ERROR * size / task.dimension

    def form(at: FloatArray) -> ValueAverages:
        return value_averages(
            task, at, query_token=query_token, nodes=_NODES, error=error, gradient=True
        )

    H = len(ω)
    W, J = np.empty((H, H)), np.empty((H, H))
    for h, step in enumerate(_STEP * np.abs(ω)):
        beside = [ω + step * unit * np.eye(H)[h] for unit in (1, -1)]
        after, before = (form(at) for at in beside)
        μ_after, μ_before = after.best_μ(), before.best_μ()
        W[:, h] = (after.by_ω(μ_after) - before.by_ω(μ_before)) / (2 * step)
        J[:, h] = (μ_after - μ_before) / (2 * step)
    C = 2 * form(ω).products
    inverse = np.linalg.inv(C) + J @ np.linalg.inv(W) @ J.T
    return float(0.5 / np.max(np.linalg.eigvals(inverse).real))
