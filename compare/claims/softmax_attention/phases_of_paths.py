"""Phases as the theory measures them, on paths that are written down, so that each phase's time has a formula.

Heads stand at ω_h = ±√(s_h/D)/λ and μ_h = ±1.7, with a chosen s, and with a chosen share of what drives growth left of
each ∂L/∂ω_h. No loss has these paths: only how phases are read off a path is held here.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention.approximate_losses import white_task
from ....theory.softmax_attention.head_paths import HeadPath
from ....theory.softmax_attention.head_phases import measured_phases
from ....theory.softmax_attention.phases import GrowthRates
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from .measured_phases import INPUT, METRIC, NOISE, SIGNAL, TASK, ZERO_LOSS, D

COMMON_RATE = 1.3
"""Of the growth of the common mode, which tells what a long time is."""
RATES = GrowthRates(math.sqrt(METRIC) * INPUT * SIGNAL, COMMON_RATE)

BOUND = 2e-3
"""Largest relative gap: times of the path grow by 0.1 %, to which some phases are known."""
RATIO = 1.001

VALUE = 1.7

HALF = ZERO_LOSS - SIGNAL / (1 + NOISE * D / SIGNAL) / 2
"""The loss at the drop."""

ALL_ACTIVE = "heads that take no part count, too"
FIFTH = "s is at its end when it is off by a fifth"
TWICE_OFF = "an exponent of a tail may be off by a fifth"

Series = Callable[[FloatArray], FloatArray]


def _constant(value: float) -> Series:
    return lambda t: np.full_like(t, value)


def _below_half(t: FloatArray) -> FloatArray:
    return np.full_like(t, HALF - 0.1)


@dataclass(frozen=True)
class Path:
    """Signs of ω of H heads, the mean s and the sizes of the heads in it, shares of slopes, all of the time t."""

    signs: tuple[int, ...]
    s: Series
    end: float
    sizes: tuple[Series, ...] = ()
    slopes: tuple[Series, ...] = ()
    loss: Series = _below_half
    idle: tuple[tuple[float, float], ...] = ()
    """ω and μ of further heads, over those of the first one."""
    flipped: tuple[float, ...] = ()
    """When each head takes the sign of ω that it ends with; from the start if left out."""
    ratio: float = RATIO
    """By which times of the path grow."""
    against: bool = False
    """Whether every μ has the sign that ω has not."""


def _phases(path: Path) -> dict[str, Any]:
    """The theory's phases of a path."""
    count = int(math.log(path.end / 1e-2) / math.log(path.ratio)) + 2
    t = np.concatenate([[0.0], np.geomspace(1e-2, path.end, count)])
    white = white_task(TASK, "phases of a path")
    phases = measured_phases(white, _heads(path, t), METRIC, RATES, NOISE)
    return phases.to_dict() | {"has_growth": phases.growth is not None}


def _heads(path: Path, t: FloatArray) -> HeadPath:
    """The path at times (T,), idle heads behind the others."""
    ω = _scores(path, t)
    μ = np.broadcast_to(_values(path), ω.shape)
    by_ω = 2 * INPUT * SIGNAL * μ * _shares(path, t)
    return HeadPath(t, ω, μ, path.loss(t), by_ω)


def _scores(path: Path, t: FloatArray) -> FloatArray:
    """ω (T, H)."""
    sizes = _of_heads(path, path.sizes, 1.0, t)
    of_mean = sizes**2 / np.mean(sizes**2, axis=1, keepdims=True)
    s = path.s(t)[:, None] * of_mean
    flips = np.array(path.flipped or (0.0,) * len(path.signs))
    signs = np.where(t[:, None] < flips, -1, 1) * np.array(path.signs)
    ω = signs * np.sqrt(s / D) / INPUT
    idle = [of_ω * ω[:, 0] for of_ω, _ in path.idle]
    return np.column_stack([ω, *idle])


def _values(path: Path) -> FloatArray:
    """μ (H,)."""
    signs = np.array(path.signs)
    μ = -VALUE * signs if path.against else VALUE * signs
    idle = [of_μ * μ[0] for _, of_μ in path.idle]
    return np.array([*μ, *idle])


def _shares(path: Path, t: FloatArray) -> FloatArray:
    """What is left (T, H) of the slopes that drive growth, all of it of idle heads."""
    shares = _of_heads(path, path.slopes, 0.0, t)
    idle = [-np.ones_like(t)] * len(path.idle)
    return np.column_stack([shares, *idle])


def _of_heads(
    path: Path, series: tuple[Series, ...], constant: float, t: FloatArray
) -> FloatArray:
    """The series (T, H) of the heads that are not idle, or the constant where there are none."""
    of_heads = series or (_constant(constant),) * len(path.signs)
    return np.array([f(t) for f in of_heads]).T


# Growth


@dataclass(frozen=True)
class Growth:
    """Three small heads: two modes that grow, and two that growth is not read off.

    `zero_sum` a of a_h e^{g(t)} with a_h = (2, −1, −1)a along (√ρ, 1), `common` c of c e^{q(t)} along (1, 1), `other` d
    of the common mode of no overlap with the growing one, at the rate ½, and b of the zero-sum mode along (−√ρ, 1).
    """

    zero_sum: float
    common: float
    other: float

    def heads(self, t: FloatArray) -> tuple[FloatArray, FloatArray]:
        """ω and μ (T, 3) at times (T,)."""
        each = np.array([2.0, -1.0, -1.0])
        growing = self.zero_sum * np.exp(_exponent(t))[:, None] * each
        decaying = self.zero_sum * np.exp(-t)[:, None] * each[::-1]
        common = self.common * np.exp(_common_exponent(t))[:, None]
        # Its overlap is v λω + r μ, v = r_0/(√ρ λ).
        other = self.other * np.exp(t / 2)[:, None]
        ω = math.sqrt(METRIC) * (growing - decaying) + common
        μ = growing + decaying + common
        return ω + other * COMMON_RATE / INPUT, μ - other * SIGNAL

    def size(self, t: float) -> float:
        """The larger of Σ|μω| and s, λω for ω."""
        ω, μ = self.heads(np.array([t]))
        s = D * float(np.max((INPUT * ω) ** 2))
        return max(s, float(np.sum(np.abs(INPUT * ω * μ))))


def _exponent(t: FloatArray) -> FloatArray:
    """g, whose mean rate tells up to when it is taken."""
    return 0.8 * t + 0.02 * t**2


def _common_exponent(t: FloatArray) -> FloatArray:
    """q, as g."""
    return 0.5 * t + 0.03 * t**2


GROWTHS = (Growth(1e-4, 1e-5, 1e-6), Growth(1e-6, 1e-6, 1e-3))
"""The first one ends with s, the second one with Σ|μω|."""


def _found_rates() -> dict[str, float]:
    """Mean rates of both modes up to the time at which heads are no longer small."""
    from scipy.optimize import brentq

    rates = {}
    for place, growth in enumerate(GROWTHS):
        last = np.array(brentq(lambda t, of=growth: of.size(t) - 1e-3, 0, 20))
        rates[f"zero_sum of {place}"] = float(_exponent(last) / last)
        rates[f"common of {place}"] = float(_common_exponent(last) / last)
        rates[f"small to the end of {place}"] = 0.8 + 0.02
    return rates


def _stated_rates() -> dict[str, float]:
    """The theory's rates of the same paths, and of those that end before, at time 1."""
    rates = {}
    for place, growth in enumerate(GROWTHS):
        measured = _growth_until(growth, 20.0)
        rates[f"zero_sum of {place}"] = measured.zero_sum
        rates[f"common of {place}"] = measured.common
        short = _growth_until(growth, 1.0)
        rates[f"small to the end of {place}"] = short.zero_sum
    return rates


def _growth_until(growth: Growth, end: float) -> GrowthRates:
    t = np.linspace(0, end, 4001)
    ω, μ = growth.heads(t)
    path = HeadPath(t, ω, μ, np.full_like(t, ZERO_LOSS), np.zeros_like(ω))
    white = white_task(TASK, "growth of a path")
    measured = measured_phases(white, path, METRIC, RATES, NOISE).growth
    return measured or GrowthRates(math.nan, math.nan)


# Paths of which each shows one phase

PAIR = (1, -1)
THREE = (1, 1, -1)


def _falling(t: FloatArray) -> FloatArray:
    """s = 0.1 (1 + 3 e^{−t/10}), off its end by a tenth at 10 ln 27."""
    return 0.1 * (1 + 3 * np.exp(-t / 10))


def _rising(t: FloatArray) -> FloatArray:
    """s = 0.1 (1 − e^{−t/10}/2), off its end by a tenth at 10 ln 5.5."""
    return 0.1 * (1 - np.exp(-t / 10) / 2)


def _bump(height: float) -> Series:
    """s = 0.3 + height t/τ e^{1−t/τ}, with the maximum 0.3 + height at τ = 5."""
    return lambda t: 0.3 + height * t / 5 * np.exp(1 - t / 5)


def _parabola_and_ramp(t: FloatArray) -> FloatArray:
    """s = 0.5 − (t − 5)²/50 up to 9, and linear from there to 0.155 at 22: it ends between few times of the ramp."""
    parabola = 0.5 - (np.clip(t, 1, 9) - 5) ** 2 / 50
    return np.asarray(parabola - 0.025 * (np.clip(t, 9, 22) - 9) / 13)


def _tail(size: float, left: float = 0.01) -> Series:
    """s = a (t^{−1/3} + a share that is left), whose exponent is off by a tenth at the time of `_end_of_tail`."""
    return lambda t: size * (np.maximum(t, 1e-3) ** (-1 / 3) + left)


def _end_of_tail(left: float = 0.01, off: float = 0.1) -> float:
    """When s(t/2) = 2^{(1 − off)/3} s(t)."""
    power = 2 ** ((1 - off) / 3)
    return float(((2 ** (1 / 3) - power) / (power - 1) / left) ** 3)


def _law(t: float, effective: float = 1.0) -> float:
    """(4κ n_eff t)^{−1/3}."""
    return float((4 * NOISE * effective * t) ** (-1 / 3))


def _decaying(time: float, left: float = 0.0) -> Series:
    """e^{−t/time} and what is left of it at the end."""
    return lambda t: left + np.exp(-t / time)


def _dropping(t: FloatArray) -> FloatArray:
    """A loss that passes half of the way at t = 4."""
    return HALF + 0.1 * (1 - t / 4)


TAIL_TIME = _end_of_tail()
EARLY, EARLY_TIME = 0.04, _end_of_tail(0.04)
"""The same where more is left, so that s is large when its tail ends."""


def _ending_at(over_law: float, left: float = 0.01) -> Series:
    """The s of a tail of a pair that ends at this many times its law."""
    t = _end_of_tail(left)
    return _tail(over_law * _law(t) / (t ** (-1 / 3) + left), left)


def _time_of_law(s: float) -> float:
    """When the law of a pair has this s."""
    return 1 / (4 * NOISE * s**3)


def _one_apart(time: float) -> tuple[Series, ...]:
    """Sizes of `THREE` of which the first is a tenth larger at the time."""
    τ = time / math.log(5)
    return (lambda t: 1 + np.exp(-t / τ) / 2, _constant(1.0), _constant(1.0))


def _slow_pair(time: float) -> tuple[Series, ...]:
    """Shares of `PAIR` of which the second is 1 % at the time."""
    return (_constant(0.0), _decaying(time / math.log(100)))


PATHS: Mapping[str, tuple[Path, dict[str, float]]] = {
    "end, from above": (
        Path(PAIR, _falling, 1e5),
        {"end": 0.1, "end_time": 10 * math.log(27), "trapped": 0, "valley_time": 0},
    ),
    "end, from below": (
        Path(PAIR, _rising, 1e5),
        {"end": 0.1, "end_time": 10 * math.log(5.5), "overshoot": math.nan},
    ),
    "end from the start": (
        Path(PAIR, _constant(2.0), 10.5 / COMMON_RATE),
        {"end": 2.0, "end_time": 0, "overshoot": math.nan, "has_growth": 0},
    ),
    "small heads": (
        Path(PAIR, _constant(1e-9), 0.6 / COMMON_RATE),
        {"positive": 1, "negative": 1, "valley_time": 0, "has_growth": 1},
    ),
    "too short for growth": (
        Path(PAIR, _constant(1e-9), 0.4 / COMMON_RATE),
        {"has_growth": 0},
    ),
    "too short to be at rest": (
        Path(PAIR, _constant(2.0), 9.5 / COMMON_RATE),
        {"end": math.nan, "end_time": math.nan, "valley_time": 0},
    ),
    "at rest above twice the law": (
        Path(PAIR, _constant(0.1), 1.1 * _time_of_law(0.05)),
        {"end": 0.1, "end_time": 0},
    ),
    "at rest below twice the law": (
        Path(PAIR, _constant(0.1), 0.9 * _time_of_law(0.05)),
        {"end": math.nan, "end_time": math.nan, "valley_time": 0},
    ),
    "not at rest": (Path(PAIR, _falling, 60.0), {"end": math.nan, "valley_time": 0}),
    "overshoot": (
        Path(PAIR, _bump(0.2), 1e3, loss=_dropping),
        {"overshoot": 0.5, "overshoot_time": 5, "drop_time": 4, "end": 0.3},
    ),
    "few times": (
        Path(PAIR, _parabola_and_ramp, 1e4, loss=_dropping, ratio=1.46),
        {
            "overshoot": 0.5,
            "overshoot_time": 5,
            "drop_time": 4,
            "end_time": 9 + 13 * (0.18 - 0.155 / 0.9) / 0.025,
        },
    ),
    "overshoot of 0.15 %": (Path(PAIR, _bump(4.5e-4), 1e3), {"overshoot_time": 5}),
    "overshoot of 0.05 %": (Path(PAIR, _bump(1.5e-4), 1e3), {"overshoot": math.nan}),
    "no drop": (
        Path(PAIR, _bump(0.2), 1e3, loss=_constant(HALF + 0.1)),
        {"overshoot": math.nan, "drop_time": math.nan},
    ),
    "valley": (
        Path(
            THREE,
            _constant(0.1),
            1e3,
            slopes=(_decaying(5, 0.005), _decaying(5, -0.003), _decaying(3)),
            idle=((5e-4, 100.0), (1.0, 5e-4)),
        ),
        {
            "valley_time": 5 * math.log(200),
            "valley_error": 0.005,
            "positive": 2,
            "negative": 1,
        },
    ),
    "valley after a change of sign": (
        Path(PAIR, _constant(0.1), 1e3, flipped=(0.0, 7.0)),
        {"valley_time": 7, "positive": 1, "negative": 1},
    ),
    "no valley": (
        Path(PAIR, _constant(0.1), 1e3, slopes=(_constant(0.0), _constant(0.02))),
        {"valley_time": math.nan, "valley_error": math.nan, "end": math.nan},
    ),
    "tail": (
        Path(THREE, _tail(1.2), 1e6, idle=((5e-4, 100.0), (1.0, 5e-4))),
        {
            "tail_time": TAIL_TIME,
            "tail_ratio": 1.2 * (TAIL_TIME ** (-1 / 3) + 0.01) / _law(TAIL_TIME, 4 / 3),
        },
    ),
    "tail below s = 1/2": (
        Path(PAIR, _ending_at(0.49 / _law(EARLY_TIME), EARLY), 1e6),
        {"tail_time": EARLY_TIME, "tail_ratio": 0.49 / _law(EARLY_TIME)},
    ),
    "no tail above s = 1/2": (
        Path(PAIR, _ending_at(0.51 / _law(EARLY_TIME), EARLY), 1e6),
        {"tail_time": math.nan, "valley_time": 0},
    ),
    "tail below its law": (
        Path(PAIR, _ending_at(0.82), 1e6),
        {"tail_time": TAIL_TIME, "tail_ratio": 0.82},
    ),
    "no tail far below its law": (
        Path(PAIR, _ending_at(0.78), 1e6),
        {"tail_time": math.nan, "valley_time": 0},
    ),
    "tail above its law": (
        Path(PAIR, _ending_at(2.9), 1e6),
        {"tail_time": TAIL_TIME, "tail_ratio": 2.9},
    ),
    "no tail far above its law": (
        Path(PAIR, _ending_at(3.5), 1e6),
        {"tail_time": math.nan, "valley_time": 0},
    ),
    "tail of heads that become alike": (
        Path(THREE, _ending_at(1.0), 1e6, sizes=_one_apart(0.49 * TAIL_TIME)),
        {"tail_time": TAIL_TIME, "tail_ratio": (4 / 3) ** (1 / 3)},
    ),
    "heads alike after the tail": (
        Path(THREE, _ending_at(1.0), 1e6, sizes=_one_apart(0.51 * TAIL_TIME)),
        {"tail_time": math.nan, "tail_ratio": math.nan},
    ),
    "tail after the valley": (
        Path(PAIR, _ending_at(1.0), 1e6, slopes=_slow_pair(0.49 * TAIL_TIME)),
        {"tail_time": TAIL_TIME, "tail_ratio": 1.0},
    ),
    "valley after the tail": (
        Path(PAIR, _ending_at(1.0), 1e6, slopes=_slow_pair(0.51 * TAIL_TIME)),
        {"tail_time": math.nan, "valley_time": 0.51 * TAIL_TIME},
    ),
    "trapped": (
        Path((1, 1), _falling, 1e3, slopes=(_constant(0.005), _constant(0.0))),
        {"trapped": 1, "positive": 2, "negative": 0, "valley_time": math.nan},
    ),
    "trapped, not at rest": (Path((1, 1), _falling, 60.0), {"trapped": 0}),
    "one head": (Path((1,), _falling, 1e3), {"trapped": 0, "end": math.nan}),
    "on its way across": (Path((1, 1), _falling, 1e3, against=True), {"trapped": 0}),
    "with a slope": (
        Path((1, 1), _falling, 1e3, slopes=(_constant(0.02), _constant(0.0))),
        {"trapped": 0},
    ),
}
"""Paths, and phases that follow from what they are: nan for one that they do not have."""


def _formulas(context: RunContext) -> list[dict[str, float]]:
    """The phases of every path by its formula."""
    return [*(phases for _, phases in PATHS.values()), _found_rates()]


@cache
def _stated_phases() -> tuple[dict[str, Any], ...]:
    return (*(_phases(path) for path, _ in PATHS.values()), _stated_rates())


def _stated(context: RunContext, control: str) -> list[dict[str, Any]]:
    """The theory's phases of every path, or with other conventions."""
    stated = [dict(phases) for phases in _stated_phases()]
    names = list(PATHS)
    if control == ALL_ACTIVE:
        stated[names.index("valley")]["positive"] += len(THREE) - 1
    if control == FIFTH:
        stated[names.index("end, from above")]["end_time"] = 10 * math.log(12)
    if control == TWICE_OFF:
        stated[names.index("tail")]["tail_time"] = _end_of_tail(off=0.2)
    return stated


def _same_phases(
    predicted: list[dict[str, Any]], observed: list[dict[str, float]]
) -> Evidence:
    """Every phase that has a formula is there, up to the bound, and every one that is absent is not."""
    gaps = {
        f"{name}: {phase}": _gap(stated[phase], value)
        for name, stated, found in zip(
            (*PATHS, "growth"), predicted, observed, strict=True
        )
        for phase, value in found.items()
    }
    largest = max(gaps, key=lambda name: gaps[name])
    return Evidence(
        agrees=gaps[largest] <= BOUND,
        observed=f"{len(gaps)} phases, {largest} off by {gaps[largest]:.0e}",
        expected=f"at most {BOUND:.0e}",
        residual=gaps[largest],
    )


def _gap(stated: Any, value: float) -> float:
    """The relative gap; infinite where one of both is absent."""
    if stated is None or math.isnan(value):
        return 0.0 if stated is None and math.isnan(value) else math.inf
    gap = abs(float(stated) - value) / (abs(value) or 1.0)
    return math.inf if math.isnan(gap) else gap


CLAIMS = (
    Claim(
        id="softmax.phases_of_paths",
        title="Drop, overshoot, valley, tail, end and trap are read off a path where its formula has them",
        paper="he2025",
        beyond_paper=True,
        equation="training dynamics of the reduced model",
        origin="phases are defined here",
        statement=r"s(t/2) = 2^{0.3} s(t),\quad |s - s_*| = s/10,\quad "
        r"|\partial L/\partial\omega_h| = 2\lambda g|\mu_h|/100,\quad s_* > 2(4\kappa n_{\mathrm{eff}}t)^{-1/3}",
        observable=f"phases of {len(PATHS)} paths that are written down, with one to three heads and idle ones",
        limit="none: times of a path grow by 0.1 % each",
        measure=_formulas,
        predict=_stated,
        judge=_same_phases,
        controls=(ALL_ACTIVE, FIFTH, TWICE_OFF),
        tier="fast",
    ),
)
