"""Counts the drops of a loss, with no theory of where they should be."""

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from .curves import _on_time

PAUSE = 5.0
"""How many times slower than either drop a loss must fall between two of them."""

SHARE = 0.02
"""Part of the fastest fall that a drop must reach: slower ones are the creep of a loss at rest."""

RESOLUTION = 1e-4
"""Relative distance of two times below which they count as one: published runs have some ten thousand steps."""

ROUNDINGS = 16
"""How many times the rounding of its largest value a loss may be off: a mean over prompts is off by a few."""


def drops(
    time: ArrayLike, loss: ArrayLike, pause: float = PAUSE, share: float = SHARE
) -> FloatArray:
    """Times (n,) at which the drops of a loss (T,) are fastest, in the unit of `time` (T,).

    The fall is measured per logarithm of time, −dL/d ln t, since saddles are left after ever longer waits. Two
    maxima of it are two drops if it is `pause` times smaller than both somewhere between them; a maximum below
    `share` of the largest is none. What the rounding of the loss alone may do counts for no fall and for no pause.
    Times within a part of 1e-4 of each other count as one: drops are told apart, and placed, no finer than that.
    ValueError if `time` does not increase or begins below 0, if `pause` is below 1 or `share` not from 0 to 1.

    >>> t = np.linspace(0, 100, 2001)
    >>> one, two = (1 / (1 + np.exp(t - middle)) for middle in (10, 60))
    >>> drops(t, one).round(), drops(t, one + two).round()
    (array([10.]), array([10., 60.]))
    """
    rounding = _rounding(loss)
    time, loss = _on_time(time, loss, axes=1)
    if time[0] < 0:
        raise ValueError(f"time must begin at 0 or later, not at {time[0]:g}")
    if not (pause >= 1 and 0 <= share <= 1):
        raise ValueError(
            f"pause must be at least 1 and share lie from 0 to 1, not {pause} and {share}"
        )
    largest = np.max(np.abs(loss))
    if largest == 0:
        return np.array([])
    chosen = _apart(
        time, max(RESOLUTION, np.sqrt(rounding))
    )  # a finer one would measure the rounding
    lowest = np.minimum.accumulate(
        loss / largest
    )  # coming back from a rise, as of a step too large, is no drop
    least, most = _falls(time[chosen] / time[-1], lowest[chosen], rounding)
    peaks = _peaks(least, most, pause)
    enough = share * np.max(least)
    return np.asarray(
        time[chosen][[k for k in peaks if least[k] > 0 and least[k] >= enough]]
    )


def _rounding(loss: ArrayLike) -> float:
    """How far a loss may be off, in parts of its largest value: that of float32 if all of it is in float32."""
    given = np.asarray(loss, dtype=np.float64)
    with np.errstate(over="ignore"):  # a loss that float32 cannot hold is none of it
        single = np.array_equal(given, given.astype(np.float32))
    return ROUNDINGS * float(np.finfo(np.float32 if single else np.float64).eps)


def _apart(time: FloatArray, resolution: float) -> list[int]:
    """Indices of times that are more than `resolution` of the later one apart, with the first and the last."""
    chosen, last = [0], len(time) - 1
    for k, now in enumerate(time.tolist()):
        if now - time[chosen[-1]] > resolution * now:
            chosen.append(k)
    if chosen[-1] != last and len(chosen) > 1:
        chosen.pop()
    return [*chosen, last] if chosen[-1] != last else chosen


def _falls(
    time: FloatArray, loss: FloatArray, rounding: float
) -> tuple[FloatArray, FloatArray]:
    """The least and the most that −dL/d ln t may be at each time (T,), for a loss that is off by `rounding`."""
    span = np.diff(time)
    fall = -_at_points(np.diff(loss) / span, span) * time
    error = _at_points(2 * rounding / span, span) * time
    return fall - error, fall + error


def _at_points(slope: FloatArray, span: FloatArray) -> FloatArray:
    """Slopes at points (T,) from those between them (T−1,): exact to second order, and of one sign if these are."""
    before, after = span[:-1], span[1:]
    inner = (after * slope[:-1] + before * slope[1:]) / (before + after)
    return np.concatenate([slope[:1], inner, slope[-1:]])


def _peaks(least: FloatArray, most: FloatArray, pause: float) -> list[int]:
    """Maxima of a curve between `least` and `most` (T,), with a value `pause` times smaller between any two."""
    peaks: list[int] = []
    top, bottom, rising = 0, 0, True
    for k in range(len(least)):
        if rising:
            top = k if least[k] > least[top] else top
            if most[k] < least[top] / pause:
                peaks.append(top)
                bottom, rising = k, False
        else:
            bottom = k if most[k] < most[bottom] else bottom
            if least[k] > most[bottom] * pause:
                top, rising = k, True
    return [*peaks, top] if rising else peaks
