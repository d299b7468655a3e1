"""Times of the drops of a loss, with no theory of where they should be."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray, IndexArray
from .curves import values_on_time

PAUSE = 5.0
"""How many times slower than either drop a loss must fall between two of them."""

SHARE = 0.02
"""Part of the fastest fall that a drop must reach: slower ones are the creep of a loss on its plateau."""

RESOLUTION = 1e-4
"""Relative distance of two times below which they count as one: published runs have some ten thousand steps."""

ROUNDINGS = 16
"""How many times the rounding of its largest value a loss may be off: a mean over prompts is off by a few."""


def drops(
    time: ArrayLike, loss: ArrayLike, pause: float = PAUSE, share: float = SHARE
) -> FloatArray:
    """Times (n,) at which the drops of a loss (T,) are fastest, in the unit of `time` (T,).

    The fall is measured per logarithm of time, −dL/d ln t, since plateaus last longer and longer. Two
    maxima of it are two drops if it is `pause` times smaller than both somewhere between them; a maximum below
    `share` of the largest is none. What the rounding of the loss alone may do counts for no fall and for no pause.
    Times within a part of 1e-4 of each other count as one: drops are resolved, and placed, no finer than that.
    ValueError if `time` does not increase or begins below 0, if `pause` is below 1 or `share` not from 0 to 1.

    >>> t = np.linspace(0, 100, 2001)
    >>> early, late = (1 / (1 + np.exp(t - middle)) for middle in (10, 60))
    >>> drops(t, early).round(), drops(t, early + late).round()
    (array([10.]), array([10., 60.]))
    """
    _refuse_thresholds(pause, share)
    rounding = _relative_rounding(loss)
    time, loss = values_on_time(time, loss, axes=1)
    if time[0] < 0:
        raise ValueError(f"time must begin at 0 or later, not at {time[0]:g}")
    largest = np.max(np.abs(loss))
    if largest == 0:
        return np.array([])

    # Between times that are closer than √rounding a difference of losses measures the rounding.
    resolved = _resolved_times(time, max(RESOLUTION, np.sqrt(rounding)))

    # Coming back from a rise, as of a step too large, is no drop: only new lowest losses count.
    lowest = np.minimum.accumulate(loss / largest)
    fall = _fall_bounds(time[resolved] / time[-1], lowest[resolved], rounding)

    peaks = _fast_peaks(fall, pause, share)
    return np.asarray(time[resolved][peaks])


def _fast_peaks(fall: "_FallBounds", pause: float, share: float) -> list[int]:
    """Indices of the maxima of a fall (T,) that are separate drops and reach `share` of the fastest."""
    threshold = share * np.max(fall.least)
    return [
        k
        for k in _peaks(fall, pause)
        if fall.least[k] > 0 and fall.least[k] >= threshold
    ]


def _refuse_thresholds(pause: float, share: float) -> None:
    """ValueError for a pause or a share outside its range."""
    if not (pause >= 1 and 0 <= share <= 1):
        raise ValueError(
            f"pause must be at least 1 and share lie from 0 to 1, not {pause} and {share}"
        )


def _relative_rounding(loss: ArrayLike) -> float:
    """How far a loss may be off, in parts of its largest value: that of float32 if all of it is in float32."""
    double = np.asarray(loss, dtype=np.float64)
    # A loss that float32 cannot represent overflows there, and was not stored in it.
    with np.errstate(over="ignore"):
        is_single = np.array_equal(double, double.astype(np.float32))
    precision = np.finfo(np.float32 if is_single else np.float64)
    return ROUNDINGS * float(precision.eps)


def _resolved_times(time: FloatArray, resolution: float) -> IndexArray:
    """Indices of times that are more than `resolution` of the later one apart, with the first and the last."""
    last = len(time) - 1
    resolved = [0]
    for k, now in enumerate(time.tolist()):
        if now - time[resolved[-1]] > resolution * now:
            resolved.append(k)

    # The last time replaces the one before it, which is too close to it.
    if resolved[-1] != last:
        if len(resolved) > 1:
            resolved.pop()
        resolved.append(last)
    return np.array(resolved)


class _FallBounds(NamedTuple):
    """The least and the most that −dL/d ln t may be at each time, (T,) each, in view of the loss's rounding."""

    least: FloatArray
    most: FloatArray


def _fall_bounds(time: FloatArray, loss: FloatArray, rounding: float) -> _FallBounds:
    spacing = np.diff(time)
    slope = _at_points(np.diff(loss) / spacing, spacing)
    slope_error = _at_points(2 * rounding / spacing, spacing)

    fall = -slope * time  # −dL/d ln t = −t dL/dt
    error = slope_error * time
    return _FallBounds(fall - error, fall + error)


def _at_points(slope: FloatArray, spacing: FloatArray) -> FloatArray:
    """Slopes at points (T,) from those between them (T−1,): exact to second order, and of one sign if these are."""
    before, after = spacing[:-1], spacing[1:]
    inner = (after * slope[:-1] + before * slope[1:]) / (before + after)
    return np.concatenate([slope[:1], inner, slope[-1:]])


def _peaks(fall: _FallBounds, pause: float) -> list[int]:
    """Maxima of a curve between its bounds (T,), with a value `pause` times smaller between any two.

    The prominences of `scipy.signal.find_peaks` are those of one curve. Here a pause must be certain within the
    rounding, so that it compares the most that the curve may be in the pause with the least that it is at a peak.
    """
    least, most = fall
    peaks: list[int] = []
    top = bottom = 0
    rising = True
    for k in range(len(least)):
        if rising:
            if least[k] > least[top]:
                top = k
            if most[k] < least[top] / pause:
                peaks.append(top)
                bottom = k
                rising = False
        else:
            if most[k] < most[bottom]:
                bottom = k
            if least[k] > most[bottom] * pause:
                top = k
                rising = True
    if rising:
        peaks.append(top)
    return peaks
