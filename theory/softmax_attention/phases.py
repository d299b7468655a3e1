"""Phases of softmax heads that learn: growth, drop, overshoot, valley, tail and its end, as laws and as measured.

For white inputs of dimension D and labels of variance 1 without noise, κ = (1 + σ²)/N, ρ of the metric,
η = μᵀω and s = D ω² of the heads, which come to have one |ω|:

    growth      H − 1 modes of zero sum at the rate √ρ, and a common one at (−κH + √(κ²H² + 4ρ))/2
    drop        half done at about √D ln(1/α) for ρ = 1/D, where α is the size of (μ_h + ω_h/√ρ)/2 at the start
    valley      η (1 + κD cosh s) = 1
    tail        s = (4κ n_eff t)^{−1/3}, n_eff = 2 n₊n₋/(n₊ + n₋) with n± heads of each sign of ω
    its end     at s*, the finite optimum of the exact loss, at t ≈ 1/(4κ s*³)

Other variances λ of x and v of labels go in as λω for ω, ρλ² for ρ, v for 1. Source: derived here; He et al. 2025
(arXiv 2503.12734) observe that heads come in pairs of opposite sign.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import BoolArray, FloatArray
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
from .head_paths import HeadPath
from .metrics import LOSSES, checked_metric

# Below this η the terms of third order are as small beside the linear ones, and growth is measured.
_LINEAR_UP_TO = 1e-3
# e-foldings that a mode must have grown by for its rate to be measured.
_LEAST_GROWTH = 0.5
# Heads of less than this share of the largest |ω| or of the largest |μω| are not active.
_INACTIVE = 1e-3
# The valley's law is off by so much at most where the valley begins.
_IN_VALLEY = 1e-2
# Where ω changes by less than this in the last tenth of the time, the flow has ended.
_SETTLED = 1e-4


class GrowthRates(NamedTuple):
    """Rates of growth from 0: of the modes in which Σ_h μ_h = 0 (nan for one head), and of the common mode."""

    zero_sum: float
    common: float


@dataclass(frozen=True)
class HeadPhases:
    """Phases as they are measured on a flow; None for what did not happen until its last time, or cannot be measured.

    `growth`: rates while η < 0.001. `drop_time`: the loss is halfway from that of no prediction to the least
    approximate one. `overshoot_time` and `overshoot` s = Dω² where the largest |ω| has its maximum. `valley_time`: from
    there on η (1 + κD cosh s) = 1 to 1 %; `valley_error` at the last time. `positive`, `negative`: active heads of each
    sign of ω at the last time. `tail_ratio`: s there, over the law of the tail. `end_time` and `end`: s has come down
    to 2^{1/3} times the value that it ends on, at which the law of the tail would be halfway in time, and that value.
    """

    growth: GrowthRates | None
    drop_time: float | None
    overshoot_time: float | None
    overshoot: float | None
    valley_time: float | None
    valley_error: float | None
    positive: int
    negative: int
    tail_ratio: float | None
    end_time: float | None
    end: float | None

    def to_dict(self) -> dict[str, Any]:
        """Numbers by name; the rates of growth as a dictionary of two."""
        values = asdict(self)
        if self.growth is not None:
            # JSON has no nan.
            rates = self.growth._asdict().items()
            values["growth"] = {k: None if math.isnan(v) else v for k, v in rates}
        return values

    def in_words(self) -> str:
        """The phases that have been reached, in one line."""
        parts = []
        if self.drop_time is not None:
            parts.append(f"drop at {self.drop_time:.4g}")
        if self.overshoot_time is not None:
            parts.append(
                f"overshoot s = {self.overshoot:.4g} at {self.overshoot_time:.4g}"
            )
        if self.valley_time is not None:
            parts.append(f"valley from {self.valley_time:.4g}")
        if self.end_time is not None:
            parts.append(f"end at {self.end_time:.4g}")
        return ", ".join(parts) or "growth"


def phases_of(values: dict[str, Any]) -> HeadPhases:
    """The phases that `HeadPhases.to_dict` wrote; ValueError for anything else."""
    try:
        growth = values["growth"]
        rates = None
        if growth is not None:
            rates = GrowthRates(
                *(
                    math.nan if growth[k] is None else float(growth[k])
                    for k in GrowthRates._fields
                )
            )
        return HeadPhases(**(values | {"growth": rates}))
    except (TypeError, KeyError, ValueError):
        raise ValueError("the phases are not those of a reduced flow") from None


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

    Where x has variance λ and y has v, √D is √D/(λv). Source: derived here, to leading order in ln(1/α).

    >>> task = Task([1] * 20, teacher_covariance=np.eye(20) / 20, context_length=160)
    >>> round(drop_time(task, 1e-3), 1)
    30.9
    """
    require_task_first("drop_time(task, size)", task, size)
    white = white_task(task, "the drop of softmax heads")
    α = positive_number(size, "size")
    if α >= 1:
        raise ValueError(f"size must be below 1, as heads start small, not {α:g}")
    rate = growth_rates(task, 2, loss="approximate").zero_sum
    return math.log(1 / α) / rate if white.share_with_context > 0 else math.inf


def effective_heads(positive: int, negative: int) -> float:
    """n_eff = 2 n₊n₋/(n₊ + n₋).

    >>> effective_heads(1, 3)
    1.5
    """
    whole_number(positive, "positive")
    whole_number(negative, "negative")
    return 2 * positive * negative / (positive + negative)


def tail_law(
    task: Task, flow_time: ArrayLike, *, positive: int = 1, negative: int = 1
) -> FloatArray:
    """s = (4κ n_eff t)^{−1/3} at flow times (T,) or (): what s = D(λω)² falls to on the approximate loss as t → ∞.

    The error is O(t^{−2/3}); for any metric. `positive` and `negative` count the heads of each sign of ω. On the exact
    loss the tail ends at its finite optimum. Source: derived here.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> float(tail_law(task, 1e6).round(6))
    0.020871
    """
    require_task_first("tail_law(task, flow_time)", task, flow_time)
    white = white_task(task, "the tail of softmax heads")
    t = finite_array(flow_time, "flow_time", "()", "(T,)")
    if np.any(t <= 0):
        raise ValueError("flow_time must be above 0: the law is that of late times")
    return tail_of(white, t, effective_heads(positive, negative))


def tail_of(white: WhiteTask, t: FloatArray, n_eff: float) -> FloatArray:
    """(4κ n_eff t)^{−1/3}, infinite at time 0."""
    with np.errstate(divide="ignore"):
        return np.asarray((4 * white.noise * n_eff * np.asarray(t)) ** (-1 / 3))


def tail_end_time(task: Task, end: float) -> float:
    """1/(4κ s*³): about when the tail of two heads reaches `end` s*, D(λγ*)² of the exact loss's finite optimum ±γ*.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> round(tail_end_time(task, 5 * 0.0713**2), -4)
    550000.0
    """
    require_task_first("tail_end_time(task, end)", task, end)
    white = white_task(task, "the tail of softmax heads")
    return 1 / (4 * white.noise * positive_number(end, "end") ** 3)


def valley_step(task: Task, s: ArrayLike) -> FloatArray:
    """η = 1/(1 + κD cosh s) that heads ±γ of s = D(λγ)² follow in the valley, at `s` (…); κ in units of v.

    >>> task = Task([1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40)
    >>> valley_step(task, [0.0, 1.0]).round(4)
    array([0.8791, 0.825 ])
    """
    require_task_first("valley_step(task, s)", task, s)
    white = white_task(task, "the valley of softmax heads")
    at = finite_array(s, "s", "()", "(T,)")
    return _valley_step(white, at)


def _valley_step(white: WhiteTask, s: FloatArray) -> FloatArray:
    v = white.share_with_context * white.label_variance
    return np.asarray(1 / (1 + white.noise / v * white.dimension * np.cosh(s)))


# ---- measured ----


def measured_phases(
    white: WhiteTask, path: HeadPath, ρ: float, rates: GrowthRates
) -> HeadPhases:
    """The phases of a path; `rates` tell its modes apart."""
    ω = white.input_variance * path.omega
    s = white.dimension * ω**2  # (T, H)
    # (H,)
    is_active = _active_heads(ω[-1], path.mu[-1])
    positive = int(np.sum(is_active & (ω[-1] > 0)))
    negative = int(np.sum(is_active & (ω[-1] < 0)))
    common_s = np.mean(s[:, is_active if np.any(is_active) else slice(None)], axis=1)

    drop = _drop(white, path)
    overshoot = _Maximum(None, None)
    if drop is not None:
        overshoot = _maximum(path.flow_time, np.max(s, axis=1))
    valley = _Valley(None, None)
    if positive > 0 and negative > 0 and drop is not None:
        valley = _valley(white, path, common_s)
    tail, end_time, end = None, None, None
    if valley.time is not None:
        law = tail_of(white, path.flow_time[-1], effective_heads(positive, negative))
        tail = float(common_s[-1] / law)
        if _has_settled(path):
            end_time = _end_time(path.flow_time, common_s)
            end = float(common_s[-1])
    return HeadPhases(
        growth=_growth(white, path, ρ, rates),
        drop_time=drop,
        overshoot_time=overshoot.time,
        overshoot=overshoot.value,
        valley_time=valley.time,
        valley_error=valley.error,
        positive=positive,
        negative=negative,
        tail_ratio=tail,
        end_time=end_time,
        end=end,
    )


def _active_heads(ω: FloatArray, μ: FloatArray) -> BoolArray:
    """Heads (H,) that take part in the prediction."""
    share = np.abs(μ * ω)
    has_ω = np.abs(ω) > _INACTIVE * np.max(np.abs(ω), initial=1e-300)
    return np.asarray(has_ω & (share > _INACTIVE * np.max(share, initial=1e-300)))


def _growth(
    white: WhiteTask, path: HeadPath, ρ: float, rates: GrowthRates
) -> GrowthRates | None:
    """Rates of ln of the growing modes' amplitudes, from the start to the last time at which all is linear."""
    ω = white.input_variance * path.omega
    η = np.sum(np.abs(ω * path.mu), axis=1)
    if η[0] > _LINEAR_UP_TO:
        return None
    not_linear = np.flatnonzero(η > _LINEAR_UP_TO)
    last = not_linear[0] - 1 if len(not_linear) else len(η) - 1
    elapsed = float(path.flow_time[last])
    ρ = ρ * white.input_variance**2
    if elapsed * rates.common < _LEAST_GROWTH:
        return None
    # Left eigenvectors: of ω' = ρv μ, μ' = v ω without the damping, and with it for the common mode.
    relative = path.mu + ω / math.sqrt(ρ)
    zero_sum = relative - np.mean(relative, axis=1, keepdims=True)
    v = rates.zero_sum / math.sqrt(ρ)
    common = np.abs(v * np.sum(ω, axis=1) + rates.common * np.sum(path.mu, axis=1))
    sizes = np.linalg.norm(zero_sum, axis=1)
    return GrowthRates(
        _rate(sizes, last, elapsed) if ω.shape[1] > 1 else math.nan,
        _rate(common, last, elapsed),
    )


def _rate(sizes: FloatArray, last: int, elapsed: float) -> float:
    """The mean rate of ln of sizes (T,) over their first times; nan where the mode is absent."""
    if sizes[0] <= np.finfo(float).eps * np.max(sizes):
        return math.nan
    return float(np.log(sizes[last] / sizes[0]) / elapsed)


def _drop(white: WhiteTask, path: HeadPath) -> float | None:
    """When the loss first is halfway between that of no prediction and the approximate loss's infimum."""
    v = white.share_with_context * white.label_variance
    # v/(1 + κD/v)
    gain = v * float(_valley_step(white, np.zeros(())))
    below = np.flatnonzero(path.loss <= white.zero_loss - gain / 2)
    if len(below) == 0:
        return None
    after = int(below[0])
    if after == 0:
        return float(path.flow_time[0])
    times, losses = (
        path.flow_time[after - 1 : after + 1],
        path.loss[after - 1 : after + 1],
    )
    share = (losses[0] - (white.zero_loss - gain / 2)) / (losses[0] - losses[1])
    return float(times[0] + share * (times[1] - times[0]))


class _Maximum(NamedTuple):
    """A largest value, and its time; None where it is at the first or the last time."""

    time: float | None
    value: float | None


def _maximum(times: FloatArray, values: FloatArray) -> _Maximum:
    """The vertex of the parabola through the largest of the values (T,) and those beside it."""
    place = int(np.argmax(values))
    if not 0 < place < len(values) - 1:
        return _Maximum(None, None)
    beside = slice(place - 1, place + 2)
    unit = times[place + 1] - times[place - 1]
    a, b, c = np.polyfit((times[beside] - times[place]) / unit, values[beside], 2)
    if a >= 0:
        return _Maximum(float(times[place]), float(values[place]))
    return _Maximum(float(times[place] - unit * b / (2 * a)), float(c - b**2 / (4 * a)))


class _Valley(NamedTuple):
    """When the valley begins, and how far its law is off at the end; None where it has not begun."""

    time: float | None
    error: float | None


def _valley(white: WhiteTask, path: HeadPath, s: FloatArray) -> _Valley:
    """The time from which η follows the valley's law, and how far it is off at the end."""
    η = white.input_variance * np.sum(path.omega * path.mu, axis=1)
    with np.errstate(over="ignore"):
        error = η / _valley_step(white, s) - 1
    off = np.flatnonzero(np.abs(error) > _IN_VALLEY)
    first = off[-1] + 1 if len(off) else 0
    if first == len(error):
        return _Valley(None, None)
    return _Valley(float(path.flow_time[first]), float(error[-1]))


def _has_settled(path: HeadPath) -> bool:
    """Whether ω no longer changes in the last tenth of the time; a tail changes it by (10/9)^{1/6} = 1.8 %."""
    before = np.searchsorted(path.flow_time, 0.9 * path.flow_time[-1])
    last = path.omega[-1]
    change = np.max(np.abs(path.omega[before] - last))
    return bool(change < _SETTLED * np.max(np.abs(last)))


def _end_time(times: FloatArray, s: FloatArray) -> float:
    """When s last was above 2^{1/3} times its last value."""
    above = np.flatnonzero(s > 2 ** (1 / 3) * s[-1])
    return float(times[above[-1] + 1]) if len(above) else float(times[0])
