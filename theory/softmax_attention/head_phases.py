"""Phases of softmax heads as they are measured on a path of ω and μ, and what each of them is.

    growth      while Σ|μω| and s = Dω² are below 0.001: the rates of ln of the growing modes
    drop        the loss passes halfway from that of no prediction to the least approximate one
    overshoot   the largest s has a maximum, from which it falls
    valley      every active ω is at rest for the μ of that time: |∂L/∂ω_h| is below 1 % of what drives growth
    tail        s falls as t^{−1/3}: by 2^{−1/3} while the time doubles, to 10 % of the exponent, and is near its law
    end         s has come to rest, at more than twice the s that the law of the tail has for that time
    trap        all heads have one sign of ω and of μ, and are at rest

What drives growth is ∂L/∂ω_h = −2λg μ_h, with g of `linear_rates`: v (1 − 1/N) on the exact loss. For active heads of
one |ω| whose μ add up to 0 the share of it that is left is 1 − η (1 + κD cosh s) on the approximate loss, whose law of
the valley is a special case. Source: derived here.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray
from .approximate_losses import WhiteTask
from .head_paths import HeadPath
from .phases import GrowthRates, approximate_valley_step
from .tails import LARGEST_IN_TAIL, REACHED, effective_heads, tail_of
from .trap import has_one_sign

# Below this η and s terms of third order are as small beside the linear ones, and growth is measured.
_LINEAR_UP_TO = 1e-3
# e-foldings that a mode must have grown by for its rate to be measured.
_LEAST_GROWTH = 0.5
# Heads of less than this share of the largest |ω| or of the largest |μω| are not active.
_INACTIVE = 1e-3
# A maximum is one if s falls from it by this share; the path itself is accurate to 1e-9.
_LEAST_FALL = 1e-3
# The share of its driving slope that is left for an ω at rest.
_AT_REST = 1e-2
# The share of 1/3 that the exponent of a tail is off.
_OFF_EXPONENT = 0.1
# Active heads of one sign whose ω differ by less are one head, and the mean s is what tail and end speak of.
_ONE_SIZE = 0.1
# Where weights change by less than this in the last tenth of the time, and that is long beside growth, all is at rest.
_SETTLED, _LONG = 1e-4, 10.0
# By the law of the tail, s′ = −(4 n_eff κ/3) s³ (s − s*), s that falls as t^{−1/3} is at least 0.96 of
# (4κ n_eff t)^{−1/3}. On the exact loss κ is known to leading order in 1/N, with which s was seen to be twice as large
# at D = 1, N = 12.
_LEAST_OF_LAW, _MOST_OF_LAW = 0.8, 3.0
# An end has more than this times the s of the law at that time, where s falls by (8/3)(1 − s*/s) of itself while the
# time grows by as much: s that changes by less than 2e-4 in a tenth of it is within 0.1 % of s*. On its way to s* = 0,
# or up from s ≪ s*, s is never so large.
_END_OVER_LAW = 2.0


@dataclass(frozen=True)
class HeadPhases:
    """Phases as they are measured on a flow; None for what did not happen until its last time, or cannot be measured.

    `growth`: rates while Σ|μω| and Dω² are below 0.001; None for a start above, to which the law of growth does not
    apply. `drop_time`: the loss is halfway from that of no prediction to the least approximate one; None for a start
    that is below. `overshoot_time`, `overshoot`: the maximum of the largest s = Dω². `valley_time`: from there on
    |∂L/∂ω| of each active head is at most 1 % of what drives growth, on the loss of this flow, and heads have the signs
    that they end with. `valley_error`: the largest share at the last time, η (1 + κD cosh s) − 1 of a pair on the
    approximate loss. `positive`, `negative`: active heads of each sign of ω at the last time. `trapped`: they are at
    rest in the same-sign minimum, which has no valley and no tail. `tail_time`: the last time at which s falls as
    t^{−1/3} near its law, and `tail_ratio` s there over (4κ n_eff t)^{−1/3} with the κ of this loss. `end`: the s on
    which heads of both signs come to rest, above twice the tail's law for the last time, and `end_time`: it is last
    off by a tenth of itself.
    """

    growth: GrowthRates | None
    drop_time: float | None
    overshoot_time: float | None
    overshoot: float | None
    valley_time: float | None
    valley_error: float | None
    positive: int
    negative: int
    trapped: bool
    tail_time: float | None
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
        return ", ".join(f"{k} {v}" for k, v in self.rows().items()) or "none yet"

    def rows(self) -> dict[str, str]:
        """The phases that have been reached, with what was measured."""
        rows = {
            "growth": self._growth_in_words(),
            "drop": _at("", self.drop_time),
            "overshoot": _at(f"s = {self.overshoot or 0:.4g} ", self.overshoot_time),
            "valley": ""
            if self.valley_time is None
            else f"from {self.valley_time:.4g}",
            "tail": _at(f"s = {self.tail_ratio or 0:.4g} of its law ", self.tail_time),
            "end": _at(f"s = {self.end or 0:.4g} ", self.end_time),
            "trapped": "in the same-sign minimum" if self.trapped else "",
        }
        return {name: words for name, words in rows.items() if words}

    def _growth_in_words(self) -> str:
        if self.growth is None:
            return ""
        rates = [f"{rate:.4g}" for rate in self.growth if not math.isnan(rate)]
        return f"at rate {' and '.join(rates)}" if rates else ""


def _at(what: str, time: float | None) -> str:
    """What happened, and when; nothing if it did not."""
    return "" if time is None else f"{what}at {time:.4g}"


_NUMBERS = (
    "drop_time",
    "overshoot_time",
    "overshoot",
    "valley_time",
    "valley_error",
    "tail_time",
    "tail_ratio",
    "end_time",
    "end",
)


def phases_of(text: str) -> HeadPhases:
    """The phases of a JSON text that `HeadPhases.to_dict` gave; ValueError for anything else."""
    try:
        values = json.loads(text)
        growth = values.pop("growth")
        if growth is not None:
            growth = GrowthRates(
                *(_number(growth[k], math.nan) for k in GrowthRates._fields)
            )
        numbers = {name: _number(values.pop(name), None) for name in _NUMBERS}
        counts = {name: int(values.pop(name)) for name in ("positive", "negative")}
        trapped = bool(values.pop("trapped"))
        return HeadPhases(growth=growth, trapped=trapped, **counts, **numbers, **values)
    except (TypeError, KeyError, ValueError, AttributeError):
        raise ValueError("the phases are not those of a reduced flow") from None


def _number(value: Any, absent: Any) -> Any:
    return absent if value is None else float(value)


# Long because every phase is one argument of the result, in the order in which they come.
def measured_phases(
    white: WhiteTask, path: HeadPath, ρ: float, rates: GrowthRates, noise: float
) -> HeadPhases:
    """The phases of a path; `rates` of growth tell its modes apart, and `noise` is κ of its loss's tail."""
    ω = white.input_variance * path.omega  # (T, H)
    s = white.dimension * ω**2
    slopes = _slopes_left(path, rates.zero_sum / math.sqrt(ρ))
    is_active = _active_heads(ω[-1], path.mu[-1])  # (H,)
    positive = int(np.sum(is_active & (ω[-1] > 0)))
    negative = int(np.sum(is_active & (ω[-1] < 0)))
    has_settled = _has_settled(path, rates.common)

    maximum = _overshoot(white, path, np.max(s, axis=1))
    valley, tail, end = _Valley(None, None), _Tail(None, None), _End(None, None)
    alike = None
    if positive > 0 and negative > 0:
        valley = _valley(path.flow_time, ω[:, is_active], slopes[:, is_active])
        alike = _alike_from(path.flow_time, ω[:, is_active])
    if valley.time is not None and alike is not None:
        law = tail_of(noise, path.flow_time, effective_heads(positive, negative))
        common = _CommonSize(path.flow_time, np.mean(s[:, is_active], axis=1), law)
        tail = _tail(common, max(valley.time, alike))
        end = _end(common) if has_settled else end
    return HeadPhases(
        growth=_growth(white, path, ρ, rates),
        drop_time=_drop_time(white, path),
        overshoot_time=maximum.time,
        overshoot=maximum.value,
        valley_time=valley.time,
        valley_error=valley.error,
        positive=positive,
        negative=negative,
        trapped=has_settled and _is_trapped(path, slopes[-1]),
        tail_time=tail.time,
        tail_ratio=tail.ratio,
        end_time=end.time,
        end=end.size,
    )


def _active_heads(ω: FloatArray, μ: FloatArray) -> BoolArray:
    """Heads (H,) that take part in the prediction."""
    share = np.abs(μ * ω)
    has_ω = np.abs(ω) > _INACTIVE * np.max(np.abs(ω), initial=1e-300)
    return np.asarray(has_ω & (share > _INACTIVE * np.max(share, initial=1e-300)))


def _slopes_left(path: HeadPath, signal: float) -> FloatArray:
    """∂L/∂ω_h (T, H) over what drives growth, 2 λg |μ_h|, `signal` λg: −1 for small heads, 0 at rest."""
    driving = 2 * signal * path.mu
    is_driven = driving != 0
    share = np.divide(
        path.by_omega, driving, out=np.zeros_like(driving), where=is_driven
    )
    # A head without value is not moved by its own slope, and is not at rest beside one that will be given a value.
    return np.where(is_driven, share, -1.0)


def _alike_from(times: FloatArray, ω: FloatArray) -> float | None:
    """From when on the ω (T, H) of each sign of the end are alike, which the query's token moves apart; None if not."""
    is_positive = ω[-1] > 0
    alike = np.ones(len(times), dtype=bool)
    for group in (np.abs(ω[:, is_positive]), np.abs(ω[:, ~is_positive])):
        alike &= np.max(group, axis=1) <= (1 + _ONE_SIZE) * np.min(group, axis=1)
    unlike = np.flatnonzero(~alike)
    first = unlike[-1] + 1 if len(unlike) else 0
    return None if first == len(times) else float(times[first])


def _has_settled(path: HeadPath, growth: float) -> bool:
    """Whether no weight changes in the last tenth of the time; a tail changes ω by (10/9)^{1/6} = 1.8 %."""
    if path.flow_time[-1] * growth < _LONG:
        return False
    before = np.searchsorted(path.flow_time, 0.9 * path.flow_time[-1])
    changes = [
        np.max(np.abs(weights[before] - weights[-1])) / np.max(np.abs(weights[-1]))
        for weights in (path.omega, path.mu)
        if np.any(weights[-1])
    ]
    return bool(np.all(np.array(changes) < _SETTLED))


def _is_trapped(path: HeadPath, slopes: FloatArray) -> bool:
    """Whether several heads stand in the same-sign minimum at the last time: one sign, none on its way across."""
    if path.omega.shape[1] == 1:
        return False
    one_sign = has_one_sign(path.omega[-1:], path.mu[-1:])[0]
    return bool(one_sign and np.all(np.abs(slopes) <= _AT_REST))


# ---- growth and drop ----


# Long because both left eigenvectors stand beside the equations that they belong to.
def _growth(
    white: WhiteTask, path: HeadPath, ρ: float, rates: GrowthRates
) -> GrowthRates | None:
    """Rates of ln of the growing modes' amplitudes, from the start to the last time at which all is linear."""
    ω = white.input_variance * path.omega
    last = _last_linear(white, ω, path.mu)
    if last is None:
        return None
    elapsed = float(path.flow_time[last])
    if elapsed * rates.common < _LEAST_GROWTH:
        return None
    # Left eigenvectors: of ω' = ρv μ, μ' = v ω without the damping, and with it for the common mode.
    speed = math.sqrt(ρ) * white.input_variance
    relative = path.mu + ω / speed
    zero_sum = relative - np.mean(relative, axis=1, keepdims=True)
    v = rates.zero_sum / speed
    common = np.abs(v * np.sum(ω, axis=1) + rates.common * np.sum(path.mu, axis=1))
    sizes = np.linalg.norm(zero_sum, axis=1)
    return GrowthRates(
        _rate(sizes, last, elapsed) if ω.shape[1] > 1 else math.nan,
        _rate(common, last, elapsed),
    )


def _last_linear(white: WhiteTask, ω: FloatArray, μ: FloatArray) -> int | None:
    """The last time before which heads are small, Σ|μω| and s; None for a start that is not."""
    η = np.sum(np.abs(ω * μ), axis=1)
    s = white.dimension * np.max(ω**2, axis=1)
    not_linear = np.flatnonzero(np.maximum(η, s) > _LINEAR_UP_TO)
    if len(not_linear) == 0:
        return len(η) - 1
    return int(not_linear[0]) - 1 if not_linear[0] > 0 else None


def _rate(sizes: FloatArray, last: int, elapsed: float) -> float:
    """The mean rate of ln of sizes (T,) over their first times; nan where the mode is absent."""
    if sizes[0] <= np.finfo(float).eps * np.max(sizes):
        return math.nan
    return float(np.log(sizes[last] / sizes[0]) / elapsed)


def _half_of_loss(white: WhiteTask) -> float:
    """Halfway between the loss of no prediction and the approximate loss's infimum, v/(1 + κD/v) below it."""
    v = white.share_with_context * white.label_variance
    gain = v * float(approximate_valley_step(white, np.zeros(())))
    return white.zero_loss - gain / 2


def _drop_time(white: WhiteTask, path: HeadPath) -> float | None:
    """When the loss first is halfway down; None for a start that is below, and if it never is."""
    half = _half_of_loss(white)
    below = np.flatnonzero(path.loss <= half)
    if len(below) == 0 or below[0] == 0:
        return None
    return _crossing(path.flow_time, path.loss, half, int(below[0]))


def _crossing(times: FloatArray, values: FloatArray, level: float, after: int) -> float:
    """When values (T,) cross a level between the time `after` and the one before, linearly."""
    (t, later), (value, next_value) = (
        series[after - 1 : after + 1] for series in (times, values)
    )
    share = (value - level) / (value - next_value)
    return float(t + share * (later - t))


class _Maximum(NamedTuple):
    """A largest value, and its time; None where there is none."""

    time: float | None
    value: float | None


def _overshoot(white: WhiteTask, path: HeadPath, s: FloatArray) -> _Maximum:
    """The maximum of s (T,) of a path whose loss drops, unless s only comes there and stays."""
    place = int(np.argmax(s))
    falls = s[-1] < (1 - _LEAST_FALL) * s[place]
    has_dropped = np.any(path.loss <= _half_of_loss(white))
    if not (0 < place < len(s) - 1 and falls and has_dropped):
        return _Maximum(None, None)
    return _vertex(path.flow_time[place - 1 : place + 2], s[place - 1 : place + 2])


def _vertex(times: FloatArray, values: FloatArray) -> _Maximum:
    """The maximum of the parabola through three points, of which the middle one is the largest."""
    unit = times[2] - times[0]
    a, b, c = np.polyfit((times - times[1]) / unit, values, 2)
    if a >= 0:
        return _Maximum(float(times[1]), float(values[1]))
    return _Maximum(float(times[1] - unit * b / (2 * a)), float(c - b**2 / (4 * a)))


# ---- valley, tail and end ----


class _Valley(NamedTuple):
    """When the valley begins, and what is left of the slopes at the end; None where it has not begun."""

    time: float | None
    error: float | None


def _valley(times: FloatArray, ω: FloatArray, slopes: FloatArray) -> _Valley:
    """The time from which all active ω (T, H) are at rest and have the signs of the end."""
    at_rest = np.all(np.abs(slopes) <= _AT_REST, axis=1)
    has_signs = np.all(np.sign(ω) == np.sign(ω[-1]), axis=1)
    outside = np.flatnonzero(~(at_rest & has_signs))
    first = outside[-1] + 1 if len(outside) else 0
    if first == len(times):
        return _Valley(None, None)
    largest = slopes[-1, np.argmax(np.abs(slopes[-1]))]
    return _Valley(float(times[first]), float(largest))


class _Tail(NamedTuple):
    """The last time at which s falls as in a tail, and s there over its law; None without a tail."""

    time: float | None
    ratio: float | None


class _CommonSize(NamedTuple):
    """The mean s (T,) of active heads of both signs at times (T,), and what the law of the tail has there."""

    times: FloatArray
    s: FloatArray
    law: FloatArray


def _tail(common: _CommonSize, begin: float) -> _Tail:
    """The end of the times at which s has fallen by 2^{−1/3}, nearly, since half of the time, in the valley."""
    times, s, law = common
    in_valley = np.flatnonzero((times / 2 >= begin) & (times > 0))
    half = np.interp(times[in_valley] / 2, times, s)
    exponent = np.log2(half / s[in_valley])
    falls_so = np.abs(3 * exponent - 1) <= _OFF_EXPONENT
    of_law = s[in_valley] / law[in_valley]
    is_near = (of_law >= _LEAST_OF_LAW) & (of_law <= _MOST_OF_LAW)
    places = in_valley[falls_so & is_near & (s[in_valley] <= LARGEST_IN_TAIL)]
    if len(places) == 0:
        return _Tail(None, None)
    last = places[-1]
    return _Tail(float(times[last]), float(s[last] / law[last]))


class _End(NamedTuple):
    """When s comes to rest, and where."""

    time: float | None
    size: float | None


def _end(common: _CommonSize) -> _End:
    """The last s of a path at rest, and when s is last off it by a tenth of itself; None where the tail goes on."""
    times, s, law = common
    end = float(s[-1])
    if end <= _END_OVER_LAW * law[-1]:
        return _End(None, None)
    off = np.flatnonzero(np.abs(s - end) > (1 - REACHED) * s)
    if len(off) == 0:
        return _End(float(times[0]), end)
    level = end / REACHED if s[off[-1]] > end else end / (2 - REACHED)
    return _End(_crossing(times, s, level, int(off[-1]) + 1), end)
