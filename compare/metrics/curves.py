"""How far a curve is from another: gaps, crossing times, plateau heights, observed orders of convergence.

Pure functions of arrays. Where time enters, any unit will do, steps or flow time: results are in the unit given.
Every function raises ValueError on shapes that do not fit and on nan or inf.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...simulate.data.prompts import real_array

IntArray = NDArray[np.int64]

_SAME = 1e-9  # difference of two logarithms of parameters that are one up to rounding


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
    time, curve = _on_time(time, curve, axes=1)
    gap = np.abs(np.subtract(*_same_shape(curve, reference)))
    largest = (
        float(np.max(gap)) or 1.0
    )  # the unit, in which no square leaves the range of numbers
    return largest * float(
        np.sqrt(np.trapezoid((gap / largest) ** 2, time) / (time[-1] - time[0]))
    )


def resample(time: ArrayLike, values: ArrayLike, at: ArrayLike) -> FloatArray:
    """Values (T, …) at other times `at` (K,), by linear interpolation, (K, …); both times in one unit.

    ValueError if a time of `at` lies outside the span of `time`: nothing is extrapolated.

    >>> resample([0, 1, 2], [4.0, 2.0, 0.0], [0.5, 2.0])
    array([3., 0.])
    """
    time, values = _on_time(time, values)
    at = _finite("at", at)
    if at.ndim != 1 or (at.size and (at.min() < time[0] or at.max() > time[-1])):
        raise ValueError(
            f"at must be times (K,) between {time[0]:g} and {time[-1]:g}: cut it to that span"
        )
    left = np.clip(np.searchsorted(time, at, side="right") - 1, 0, len(time) - 2)
    share = (at - time[left]) / (time[left + 1] - time[left])
    share = share.reshape(-1, *[1] * (values.ndim - 1))
    return np.asarray((1 - share) * values[left] + share * values[left + 1])


def crossing_times(time: ArrayLike, loss: ArrayLike, levels: ArrayLike) -> FloatArray:
    """When the loss (T,) first comes down to each level (K,), (K,) in the unit of `time`; nan if it never does.

    Linear interpolation between the last loss above the level and the next one. A loss that starts at or below
    a level does not cross it, unless it rises above it first.

    >>> crossing_times([0, 10, 20], [1.0, 0.5, 0.1], [0.75, 0.0])
    array([ 5., nan])
    """
    time, loss = _on_time(time, loss, axes=1)
    return np.array(
        [
            _crossing_time(time, loss, level)
            for level in _finite("levels", levels).ravel()
        ]
    )


def _crossing_time(time: FloatArray, loss: FloatArray, level: float) -> float:
    (down,) = np.nonzero((loss[:-1] > level) & (loss[1:] <= level))
    if not down.size:
        return float("nan")
    first = down[0]
    share = (loss[first] - level) / (loss[first] - loss[first + 1])
    return float(time[first] + share * (time[first + 1] - time[first]))


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
    below = [np.flatnonzero(loss <= level) for level in _mid_levels(plateaus)]
    cuts = [
        0,
        *(int(found[0]) if found.size else len(loss) for found in below),
        len(loss),
    ]
    flattest = [
        int(np.argmin(norm[start:stop])) + start if start < stop else -1
        for start, stop in pairwise(cuts)
    ]
    indices = np.array(flattest)
    return Plateaus(np.where(indices >= 0, loss[indices], np.nan), indices)


def _mid_levels(plateaus: ArrayLike) -> FloatArray:
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
    h, e = _same_shape(parameter, error)
    if not (floor >= 0 and 0 < level < 1):
        raise ValueError(
            f"floor must be zero or more and level between 0 and 1, not {floor} and {level}"
        )
    h = h if scale is None else _finite("scale(parameter)", scale(h))
    if h.ndim != 1 or h.shape != e.shape or np.any(h <= 0) or np.any(e < 0):
        raise ValueError(
            "parameter (or its scale) must be positive (K,), and error (K,) zero or more"
        )
    kept = e > floor
    x, y = _recurring(np.log(h[kept])), np.log(e[kept])
    different = len(np.unique(x))
    if different < 3:
        raise ValueError(
            f"an order needs errors above {floor:g} at three or more parameters: {different} left"
        )
    slope, intercept, interval = _line(x, y, level)
    local, extrapolated = _local_slopes(x, y)
    return Order(slope, interval, level, intercept, len(x), local, extrapolated)


def _recurring(x: FloatArray) -> FloatArray:
    """The logarithms (K,), those that are equal up to rounding made equal: 0.3 and 0.1 + 0.2 are one parameter."""
    order = np.argsort(x)
    begins = np.diff(x[order], prepend=-np.inf) > _SAME
    merged = np.empty_like(x)
    merged[order] = x[order][begins][np.cumsum(begins) - 1]
    return merged


def _line(
    x: FloatArray, y: FloatArray, level: float
) -> tuple[float, float, tuple[float, float]]:
    from scipy.special import stdtrit

    centred = x - x.mean()
    spread = float(centred @ centred)
    slope = float(centred @ y) / spread
    residual = y - y.mean() - slope * centred
    freedom = len(x) - 2
    half = float(
        stdtrit(freedom, (1 + level) / 2)
        * np.sqrt(residual @ residual / freedom / spread)
    )
    return slope, float(y.mean() - slope * x.mean()), (slope - half, slope + half)


def _local_slopes(x: FloatArray, y: FloatArray) -> tuple[tuple[float, ...], float]:
    """Slopes between neighbours, largest h first, and the last two continued to h = 0."""
    descending = np.unique(x)[::-1]
    mean = np.array([y[x == value].mean() for value in descending])
    slopes = np.diff(mean) / np.diff(descending)
    centre = np.diff(np.exp(descending)) / np.diff(
        descending
    )  # the logarithmic mean of neighbouring h
    near, far = centre[-1], centre[-2]
    return tuple(slopes.tolist()), float(
        (far * slopes[-1] - near * slopes[-2]) / (far - near)
    )


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
    return np.asarray(
        (_finite("observed", observed) - _finite("expected", expected)) / error
    )


def _finite(name: str, value: ArrayLike) -> FloatArray:
    array = real_array(name, value)
    if array.size == 0 or not np.all(np.isfinite(array)):
        raise ValueError(
            f"{name} must be finite numbers: {'none given' if array.size == 0 else 'it holds nan or inf'}"
        )
    return array


def _same_shape(first: ArrayLike, second: ArrayLike) -> tuple[FloatArray, FloatArray]:
    one, two = _finite("the first curve", first), _finite("the second curve", second)
    if one.shape != two.shape:
        raise ValueError(
            f"two curves must have one shape, not {one.shape} and {two.shape}: resample one of them"
        )
    return one, two


def _on_time(
    time: ArrayLike, values: ArrayLike, axes: int | None = None
) -> tuple[FloatArray, FloatArray]:
    t, v = _finite("time", time), _finite("values", values)
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
