"""Certified closed forms: half-loss times, amplitudes and sums of drops, to thirty digits."""

from collections.abc import Callable
from fractions import Fraction
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....task import Task
from .....theory import population
from .....theory.certified import (
    Enclosure,
    aligned_exit_time,
    aligned_loss,
    head_amplitude,
    head_half_loss_time,
    merged_half_loss_time,
    middle_of_drop,
)
from .....theory.linear_attention.rank_one import rank_one_amplitude
from ....evidence.claim import Claim, RunContext
from ....evidence.enclosed import enclosed_in
from ..common.controls import LONGER_CONTEXT
from ..common.experiments import FOUR
from .stated_intervals import TENTH_DIGIT, stated, with_longer_context

HEADS, MERGED = Separate(heads=4), Merged(heads=8)
WHITE = Task(eigenvalues=[1, 1, 1, 1], context_length=31)
SMALL_HEAD, SMALL_MERGED = Fraction(1, 1000), Fraction(1, 100)
TIMES = (6200, 6255)
"""Flow times of a head before its drop and after it."""

STARTS = tuple(Fraction(1, 50 + 10 * d) for d in range(4))
DROPS = (((), (1,)), ((1,), (1, 2)), ((1, 2), (1, 2, 3)))
TIMES_OF_LOSSES = (100, 500, 900)
"""Flow times between the drops of these starts, at 420, 810 and 1590."""

EXPONENT = "exponent 4 for 5"
"""dv/dt = b v² − aλ v⁴, of which nothing but the end of a drop would tell."""

QUADRATURE_DIGITS = 45
THIRTY_DIGITS = "1e-30"
"""What a quadrature with 45 digits leaves, as a share."""

NEWTON_STEPS = 2
"""From 13 digits of a double to 26, and to all."""

DOUBLES = "2e-11"
"""What rounding, and the search for a root of a steep curve, leave of times and losses in doubles."""


def certified_values(context: RunContext) -> dict[str, Enclosure]:
    """Half-loss times of a head and of merged attention, and amplitudes of the head on the way."""
    enclosures = {
        "head": head_half_loss_time(FOUR, HEADS, SMALL_HEAD),
        "second head": head_half_loss_time(FOUR, HEADS, SMALL_HEAD, 2),
        "merged": merged_half_loss_time(WHITE, MERGED, SMALL_MERGED),
    }
    for time in TIMES:
        enclosures[f"v({time})"] = head_amplitude(FOUR, HEADS, time, SMALL_HEAD)
    return enclosures


def quadratures(context: RunContext, control: str) -> dict[str, Enclosure]:
    """The same from the differential equations, by quadrature of dt = dx/f(x) with 45 digits."""
    longer = control == LONGER_CONTEXT
    power = 4 if control == EXPONENT else 5
    return stated(_quadratures(int(longer), power), THIRTY_DIGITS, control)


@cache
def _quadratures(more_pairs: int, power: int) -> dict[str, str]:
    """Every number in decimals, of a context that is longer by `more_pairs` and of dv/dt = b v² − aλ v^power."""
    import mpmath

    with mpmath.workdps(QUADRATURE_DIGITS):
        numbers = {
            "head": _half_loss_time(_rates(FOUR, 1, more_pairs), power),
            "second head": _half_loss_time(_rates(FOUR, 2, more_pairs), power),
            "merged": _merged_half_loss_time(_rates(WHITE, 1, more_pairs)),
        }
        for time in TIMES:
            numbers[f"v({time})"] = _amplitude(_rates(FOUR, 1, more_pairs), power, time)
        return {name: str(number) for name, number in numbers.items()}


class _Rates(NamedTuple):
    """b and aλ of a direction, as numbers of mpmath."""

    b: Any
    curvature: Any

    def of_head(self, v: Any, power: int) -> Any:
        """dv/dt of a head, with power 5."""
        return self.b * v**2 - self.curvature * v**power


def _rates(task: Task, direction: int, more_pairs: int) -> _Rates:
    """b = λ² and aλ = λ [λ² (1 + 1/N) + λ tr Λ/N], of a task without noise."""
    variances = sorted(task.exact_variances, reverse=True)
    λ = _mpf(variances[direction - 1])
    trace = _mpf(sum(variances))
    N = max(task.context_lengths) + more_pairs
    return _Rates(λ * λ, λ * (λ * λ * (N + 1) + λ * trace) / N)


def _mpf(number: Fraction) -> Any:
    import mpmath

    return mpmath.mpf(number.numerator) / number.denominator


def _half_loss_share() -> Any:
    import mpmath

    return 1 - mpmath.sqrt(mpmath.mpf(1) / 2)


def _half_loss_time(rates: _Rates, power: int) -> Any:
    import mpmath

    end = mpmath.cbrt(rates.b / rates.curvature * _half_loss_share())
    return _time(lambda v: rates.of_head(v, power), _mpf(SMALL_HEAD), end)


def _merged_half_loss_time(rates: _Rates) -> Any:
    """From p = w₀² to the p of half the loss, of dp/dt = 2p (α − κp)."""
    import mpmath

    α = rates.b * mpmath.sqrt(WHITE.dimension)
    κ = rates.curvature
    end = α / κ * _half_loss_share()
    return _time(lambda p: 2 * p * (α - κ * p), _mpf(SMALL_MERGED) ** 2, end)


def _time(rate: Callable[[Any], Any], begin: Any, end: Any) -> Any:
    """∫ dx/f(x), over ln x, in which small x take no more points than others."""
    import mpmath

    cuts = mpmath.linspace(mpmath.log(begin), mpmath.log(end), 5)
    return mpmath.quad(lambda u: mpmath.exp(u) / rate(mpmath.exp(u)), cuts)


def _amplitude(rates: _Rates, power: int, time: int) -> Any:
    """v at a time, by Newton's method on the quadrature from the value in doubles."""
    import mpmath

    γ = float(rates.curvature / rates.b)
    v = mpmath.mpf(
        float(rank_one_amplitude(time, float(SMALL_HEAD), float(rates.b), γ))
    )
    for _ in range(NEWTON_STEPS):
        passed = _time(lambda x: rates.of_head(x, power), _mpf(SMALL_HEAD), v)
        v = v - (passed - time) * rates.of_head(v, power)
    return v


def certified_drops(context: RunContext) -> dict[str, Enclosure]:
    """Times and losses of four heads that start on directions of their own, and of one drop."""
    enclosures = {
        f"loss at {time}": aligned_loss(FOUR, HEADS, time, STARTS)
        for time in TIMES_OF_LOSSES
    }
    for before, after in DROPS:
        level = middle_of_drop(FOUR, HEADS, before, after)
        enclosures[f"exit {len(after)}"] = aligned_exit_time(
            FOUR, HEADS, level, STARTS, until=5000, bits=96
        )
    return enclosures


def drops_in_doubles(context: RunContext, control: str) -> dict[str, Enclosure]:
    """The same from the numerical theory."""
    from scipy.optimize import brentq

    task = with_longer_context(FOUR) if control == LONGER_CONTEXT else FOUR
    moments = population(task, HEADS)
    starts = np.array([float(start) for start in STARTS])  # (D,)
    γ = moments.a * moments.lam / moments.b  # (D,)

    def loss(time: float) -> float:
        v = rank_one_amplitude(time, starts, moments.b, γ)  # (D,)
        return float(moments.aligned_loss(v**3))

    numbers = {f"loss at {time}": loss(time) for time in TIMES_OF_LOSSES}
    for before, after in DROPS:
        plateaus = [moments.c - moments.gains[: len(s)].sum() for s in (before, after)]
        middle = sum(plateaus) / 2
        numbers[f"exit {len(after)}"] = brentq(
            lambda time, level=middle: loss(time) - level, 0, 5000, xtol=1e-12
        )
    return stated(numbers, DOUBLES, control)


CLAIMS = (
    Claim(
        id="certified.closed_forms",
        title="Closed forms of drops hold to thirty digits",
        paper="zhang2025",
        equation="rank-one heads, and white merged attention",
        beyond_paper=True,
        statement=r"\alpha t = \Phi(v) - \Phi(v_0), \quad "
        r"2 \alpha t = \ln \frac{(\alpha/w_0^2 - \kappa) p}{\alpha - \kappa p}",
        hypotheses=("aligned heads", "a white task for merged attention"),
        observable="enclosures of half-loss times and amplitudes, in ball arithmetic of 128 bits",
        limit="none: the enclosures are of the stated equations themselves",
        measure=certified_values,
        predict=quadratures,
        judge=enclosed_in,
        controls=(TENTH_DIGIT, EXPONENT, LONGER_CONTEXT),
        expected_level="certified",
        evidence_level="certified",
    ),
    Claim(
        id="certified.aligned_drops",
        title="Sums of aligned drops in doubles lie where enclosures of them are, to ten digits",
        paper="zhang2025",
        equation="rank-one heads",
        beyond_paper=True,
        statement=r"L(t) = c - \sum_d g_d \left[1 - \left(1 - \frac{v_d(t)^3}{m_d}\right)^2\right]",
        hypotheses=("each head starts on a direction of its own",),
        observable="enclosures of losses, and of the times at which the loss is between two plateaus",
        limit="none: the enclosures are of the stated equations themselves",
        measure=certified_drops,
        predict=drops_in_doubles,
        judge=enclosed_in,
        controls=(TENTH_DIGIT, LONGER_CONTEXT),
        expected_level="certified",
        evidence_level="certified",
    ),
)
