"""Distances of two curves, crossing times, plateau heights and observed orders of convergence.

All are pure functions of arrays. Where time enters, any unit will do, steps or flow time: results are in that unit.
Every function raises ValueError on shapes that do not fit and on nan or inf.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import real_array

IntArray = NDArray[np.int64]

EQUAL_LOGARITHMS = 1e-9
"""Largest difference of the logarithms of two parameters that count as one: 0.3 and 0.1 + 0.2 differ by 2e-16."""


def sup_gap(curve: ArrayLike, reference: ArrayLike) -> float:
    """Largest absolute difference of two curves on the same times, both (T, …), in the curves' unit.

    >>> sup_gap([1.0, 0.5, 0.0], [1.0, 0.75, 0.0])
    0.25
    """
    curve, reference = _same_shape(curve, reference)
    return float(np.max(np.abs(curve - reference)))


def l2_gap(time: ArrayLike, curve: ArrayLike, reference: ArrayLike) -> float:
    """Root mean square over time of the difference of two curves (T,), by the trapezoidal rule.

    The mean is over the span of `time`, whose unit therefore does not matter.

    >>> l2_gap([0, 1, 4], [2.0, 2.0, 2.0], [0.0, 0.0, 0.0])
    2.0
    """
    time, curve = values_on_time(time, curve, axes=1)
    curve, reference = _same_shape(curve, reference)
    gap = np.abs(curve - reference)

    # In the unit of the largest gap no square overflows or vanishes.
    unit = float(np.max(gap)) or 1.0
    squares = (gap / unit) ** 2
    mean_square = np.trapezoid(squares, time) / (time[-1] - time[0])
    return unit * float(np.sqrt(mean_square))


def resample(time: ArrayLike, values: ArrayLike, at: ArrayLike) -> FloatArray:
    """Values (T, …) at other times `at` (K,), by linear interpolation, (K, …); both times in one unit.

    At a time of `time` the result is its value, to the last bit. ValueError if a time of `at` lies outside the span
    of `time`: nothing is extrapolated.

    >>> resample([0, 1, 2], [4.0, 2.0, 0.0], [0.5, 2.0])
    array([3., 0.])
    """
    time, values = values_on_time(time, values)
    at = _finite("at", at)
    if at.ndim != 1 or (at.size and (at.min() < time[0] or at.max() > time[-1])):
        raise ValueError(
            f"at must be times (K,) between {time[0]:g} and {time[-1]:g}: cut it to that span"
        )
    before = np.searchsorted(time, at, side="right") - 1
    before = np.minimum(before, len(time) - 2)  # the end belongs to the last interval
    after = before + 1

    # Exactly 0 at the first time of an interval and 1 at its last: a quotient, and no product with 1/(t₁ − t₀).
    share = (at - time[before]) / (time[after] - time[before])
    share = share.reshape(-1, *(1,) * (values.ndim - 1))  # (K, 1, …)
    return np.asarray((1 - share) * values[before] + share * values[after])


def crossing_times(time: ArrayLike, loss: ArrayLike, levels: ArrayLike) -> FloatArray:
    """When the loss (T,) first comes down to each level (K,), (K,) in the unit of `time`; nan if it never does.

    Linear interpolation between the last loss above the level and the next one. A loss that starts at or below
    a level does not cross it, unless it rises above it first.

    >>> crossing_times([0, 10, 20], [1.0, 0.5, 0.1], [0.75, 0.0])
    array([ 5., nan])
    """
    time, loss = values_on_time(time, loss, axes=1)
    levels = _finite("levels", levels).ravel()
    return np.array([_crossing_time(time, loss, level) for level in levels])


def _crossing_time(time: FloatArray, loss: FloatArray, level: float) -> float:
    """When the loss (T,) first comes down to the level; nan if it never does."""
    (descents,) = np.nonzero((loss[:-1] > level) & (loss[1:] <= level))
    if not descents.size:
        return float("nan")

    before = descents[0]
    after = before + 1
    # The straight line between two losses meets the level in this part of the interval.
    share = (loss[before] - level) / (loss[before] - loss[after])
    return float(time[before] + share * (time[after] - time[before]))


def exit_times(time: ArrayLike, loss: ArrayLike, plateaus: ArrayLike) -> FloatArray:
    """When the loss leaves each plateau but the last, (K−1,) in the unit of `time`; nan if it never does.

    `plateaus` (K,) are the decreasing losses of the plateaus; a plateau is left when the loss (T,) first comes
    down to the mean of its loss and the next one's.

    >>> exit_times([0, 10, 20], [1.0, 0.5, 0.0], [1.0, 0.5, 0.0])
    array([ 5., 15.])
    """
    return crossing_times(time, loss, _mid_levels(plateaus))


class Plateaus(NamedTuple):
    """Plateaus that a run visits: `heights` (K,), nan where it skips one, and their `indices` (K,), −1 there."""

    heights: FloatArray
    indices: IntArray


def plateau_heights(
    loss: ArrayLike, gradient_norm: ArrayLike, plateaus: ArrayLike
) -> Plateaus:
    """Losses at which a run is flattest between its drops, and where: a run's own heights of expected plateaus.

    `plateaus` (K,) are the expected decreasing losses; the means of neighbours cut the run into segments, from
    where the loss (T,) is first at or below one to where it is first at or below the next, the first segment from
    the start and the last to the end. A plateau's height is the loss where `gradient_norm` (T,) is smallest in
    its segment. A segment without points, of a plateau that the run jumps over or never reaches, gives nan.

    >>> heights, indices = plateau_heights([1.01, 0.99, 0.8, 0.52, 0.5], [0.1, 0.2, 1.0, 0.2, 0.1], [1.0, 0.5])
    >>> heights, indices
    (array([1.01, 0.5 ]), array([0, 4]))
    """
    loss, norm = _same_shape(loss, gradient_norm)
    if loss.ndim != 1:
        raise ValueError(
            f"loss and gradient_norm must have shape (T,), not {loss.shape}"
        )
    # Segment k is from ends[k] to before ends[k + 1]; it is empty where the run skips plateau k.
    ends = _segment_ends(loss, _mid_levels(plateaus))
    indices = np.full(len(ends) - 1, -1)
    for k in range(len(indices)):
        segment = norm[ends[k] : ends[k + 1]]
        if segment.size:
            indices[k] = ends[k] + int(np.argmin(segment))
    heights = np.where(indices >= 0, loss[indices], np.nan)
    return Plateaus(heights, indices)


def plateau_intervals(loss: ArrayLike, plateaus: ArrayLike) -> list[tuple[int, int]]:
    """First row and the row after the last of the run (T,) at each expected plateau (K,), equal where it skips one.

    Parted by the means of neighbouring plateaus, as in `plateau_heights`; the only one of K = 1 has the whole run.

    >>> plateau_intervals([1.01, 0.99, 0.8, 0.52, 0.5], [1.0, 0.7, 0.5])
    [(0, 2), (2, 3), (3, 5)]
    """
    losses = _finite("loss", loss)
    levels = _finite("plateaus", plateaus)
    ends = [0, len(losses)]
    if len(levels) > 1:
        ends = _segment_ends(losses, _mid_levels(levels))
    return list(pairwise(ends))


def _segment_ends(loss: FloatArray, mid_levels: FloatArray) -> list[int]:
    """Indices between which a run (T,) is at one plateau after the other, from 0 to T: one more than plateaus."""
    ends = [0]
    for level in mid_levels:
        # The first loss at or below the mid-level ends the segment.
        (below,) = np.nonzero(loss <= level)
        ends.append(int(below[0]) if below.size else len(loss))
    ends.append(len(loss))
    return ends


def _mid_levels(plateaus: ArrayLike) -> FloatArray:
    """Means (K−1,) of neighbouring plateau losses (K,)."""
    losses = _finite("plateaus", plateaus)
    if losses.ndim != 1 or len(losses) < 2 or np.any(np.diff(losses) >= 0):
        raise ValueError(
            f"plateaus must be two or more decreasing losses (K,), not {losses.tolist()}"
        )
    return np.asarray((losses[:-1] + losses[1:]) / 2)


@dataclass(frozen=True)
class Order:
    """Observed order of convergence, error ≈ exp(`intercept`)·h^`slope`; made by `observed_order`.

    `interval` holds the slope with probability `level` if the logarithms of the errors scatter normally about a
    line (Student's t with `used` − 2 degrees of freedom). `local_slopes` are those between neighbouring values
    of h, the smallest h last. `extrapolated` continues the last two to h = 0, for errors without scatter.
    """

    slope: float
    interval: tuple[float, float]
    level: float
    intercept: float
    used: int
    local_slopes: tuple[float, ...]
    extrapolated: float


def observed_order(
    parameter: ArrayLike,
    error: ArrayLike,
    *,
    floor: float = 0.0,
    level: float = 0.95,
    scale: Callable[[FloatArray], FloatArray] | None = None,
) -> Order:
    """Order at which errors (K,) fall with a parameter (K,): the slope of log error against log h, least squares.

    h is the parameter, or `scale` of it: `lambda N: 1 / N`, or `lambda w: w**2 * np.log(1 / w)` whose order is
    then 1. Errors at or below `floor` (rounding, the tolerance of a reference) are left out; a parameter may
    recur, as over seeds. The extrapolation assumes error = C·h^p·(1 + O(h)): the slope between two values of h is
    then p plus a multiple of their logarithmic mean. ValueError if h is not positive, an error or the floor is
    negative, or fewer than three different h are left: two points have no interval.

    >>> order = observed_order([0.1, 0.01, 0.001], [3e-2, 3e-4, 3e-6])
    >>> round(order.slope, 12), order.used
    (2.0, 3)
    """
    h, errors = _same_shape(parameter, error)
    _refuse_floor_and_level(floor, level)
    if scale is not None:
        h = _finite("scale(parameter)", scale(h))
    _refuse_signs(h, errors)

    # A logarithm of rounding says nothing, and zero has none.
    above_floor = errors > floor
    log_h = _merge_equal(np.log(h[above_floor]))
    log_error = np.log(errors[above_floor])
    different = len(np.unique(log_h))
    if different < 3:
        raise ValueError(
            f"an order needs errors above {floor:g} at three or more parameters: {different} left"
        )

    line = _fitted_line(log_h, log_error, level)
    slopes = _local_slopes(log_h, log_error)
    return Order(
        slope=line.slope,
        interval=line.interval,
        level=level,
        intercept=line.intercept,
        used=len(log_h),
        local_slopes=slopes.local,
        extrapolated=slopes.extrapolated,
    )


def _refuse_floor_and_level(floor: float, level: float) -> None:
    """ValueError for a negative floor of the errors, or a confidence level that is no probability."""
    if not (floor >= 0 and 0 < level < 1):
        raise ValueError(
            f"floor must be zero or more and level between 0 and 1, not {floor} and {level}"
        )


def _refuse_signs(h: FloatArray, errors: FloatArray) -> None:
    """ValueError unless h (K,) is positive and errors (K,) are zero or more."""
    is_column = h.ndim == 1 and h.shape == errors.shape
    if not is_column or np.any(h <= 0) or np.any(errors < 0):
        raise ValueError(
            "parameter (or its scale) must be positive (K,), and error (K,) zero or more"
        )


def _merge_equal(log_h: FloatArray) -> FloatArray:
    """The logarithms (K,), with those that are equal up to rounding made equal."""
    order = np.argsort(log_h)
    ascending = log_h[order]
    begins_group = np.diff(ascending, prepend=-np.inf) > EQUAL_LOGARITHMS
    group = np.cumsum(begins_group) - 1  # (K,), the group of each entry

    merged = np.empty_like(log_h)
    merged[order] = ascending[begins_group][group]
    return merged


class _Line(NamedTuple):
    slope: float
    intercept: float
    interval: tuple[float, float]


def _fitted_line(x: FloatArray, y: FloatArray, level: float) -> _Line:
    """The least-squares line of y (K,) on x (K,), and Student's interval of its slope.

    `scipy.stats.linregress` takes the slope's error from 1 − r², which is rounding where the points lie on a line.
    """
    # Lazily: most sessions fit no line, and SciPy takes its time to import.
    from scipy.special import stdtrit

    # Centred, so that slope and mean are uncorrelated and large logarithms lose no digits.
    centred = x - x.mean()
    variation = float(centred @ centred)
    slope = float(centred @ y) / variation
    intercept = float(y.mean() - slope * x.mean())

    residuals = y - y.mean() - slope * centred
    freedom = len(x) - 2
    standard_error = np.sqrt(residuals @ residuals / freedom / variation)
    half_width = float(stdtrit(freedom, (1 + level) / 2) * standard_error)
    return _Line(slope, intercept, (slope - half_width, slope + half_width))


class _Slopes(NamedTuple):
    local: tuple[float, ...]
    extrapolated: float


def _local_slopes(log_h: FloatArray, log_error: FloatArray) -> _Slopes:
    """Slopes between neighbouring h, the largest h first, and the last two of them continued to h = 0."""
    descending = np.unique(log_h)[::-1]
    means = np.array([log_error[log_h == value].mean() for value in descending])
    slopes = np.diff(means) / np.diff(descending)

    # For error = C·h^p·(1 + c h), the slope between h₁ and h₂ is p + c·(h₂ − h₁)/(ln h₂ − ln h₁): p plus a
    # multiple of their logarithmic mean. The line through the last two slopes gives p at a mean of 0.
    log_means = np.diff(np.exp(descending)) / np.diff(descending)
    far, near = log_means[-2:]
    extrapolated = (far * slopes[-1] - near * slopes[-2]) / (far - near)
    return _Slopes(tuple(slopes.tolist()), float(extrapolated))


def standard_error_gap(
    observed: ArrayLike, expected: ArrayLike, standard_error: ArrayLike
) -> FloatArray:
    """(observed − expected) in standard errors, element by element; shapes must broadcast.

    ValueError if a standard error is not positive.

    >>> standard_error_gap([1.0, 2.0], 1.0, [0.1, 0.5])
    array([0., 2.])
    """
    error = _finite("standard_error", standard_error)
    if np.any(error <= 0):
        raise ValueError(
            f"standard_error must be positive, the smallest is {error.min():g}: use more seeds"
        )
    difference = _finite("observed", observed) - _finite("expected", expected)
    return np.asarray(difference / error)


def _finite(name: str, value: ArrayLike) -> FloatArray:
    """The value as an array of real numbers; ValueError if it is empty or holds nan or inf."""
    array = real_array(value, name)
    if array.size == 0:
        raise ValueError(f"{name} must be finite numbers: none given")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite numbers: it holds nan or inf")
    return array


def _same_shape(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    """Two finite curves; ValueError unless their shapes are the same."""
    first = _finite("the first curve", first)
    second = _finite("the second curve", second)
    if first.shape != second.shape:
        raise ValueError(
            f"two curves must have one shape, not {first.shape} and {second.shape}: resample one of them"
        )
    return first, second


def values_on_time(
    time: ArrayLike, values: ArrayLike, axes: int | None = None
) -> tuple[FloatArray, FloatArray]:
    """Increasing times (T,) and finite values (T, …) at them, with `axes` axes if given; ValueError otherwise."""
    t = _finite("time", time)
    v = _finite("values", values)
    if t.ndim != 1 or len(t) < 2:
        raise ValueError(
            f"time must be two or more increasing numbers (T,), not an array of shape {t.shape}"
        )
    (late,) = np.nonzero(np.diff(t) <= 0)
    if late.size:
        k = int(late[0])
        raise ValueError(
            f"time must be two or more increasing numbers (T,), but after {t[k]:g} comes {t[k + 1]:g}"
        )
    if v.shape[:1] != t.shape or (axes is not None and v.ndim != axes):
        raise ValueError(
            f"values must have one entry for each of {len(t)} times, not shape {v.shape}"
        )
    return t, v
