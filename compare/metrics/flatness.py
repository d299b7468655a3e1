"""Where a run is flat: stretches between drops of its loss, found without any theory."""

import math
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray
from ...simulate import Trajectory

PROMINENCE = 3.0
"""A stretch is flat if the loss falls this many times faster on both of its sides, somewhere before the next one."""

SMALLEST_DROP = 1e-3
"""Two flat stretches are one if their losses differ by less than this part of the whole fall of the loss."""

WINDOW = 9
"""The fewest losses that are averaged where a log scatters by some percent."""

_WANTED_SCATTER = 0.02
"""Scatter of the log of an averaged loss at which drops, whose logs are some tenths, stand out."""

_FEWEST_WINDOWS = 25
"""Averages that a noisy log is divided into at least."""

_SHORT_WINDOW = 3
_LITTLE_SCATTER = 2e-3
"""Of a scatter less than this, fewer losses need to be averaged: short plateaus of a sparse log stay visible."""

_WINDOWS = 250
"""Averages that a long noisy log is divided into: enough for a plateau to have several of them."""

_NOISE = 1e-7
"""Scatter of the log of the loss below which it counts as smooth: a log written with seven digits is."""


class FlatStretch(NamedTuple):
    """Rows `first` to `last` of a run, the flattest of them, and the loss there."""

    first: int
    last: int
    flattest: int
    loss: float


class Steepness(NamedTuple):
    """How fast the loss falls at each row (T,), in any unit; below `floor` (T,) nothing can be told of it."""

    values: FloatArray
    floor: FloatArray
    half_window: int = 0
    """Losses averaged on both sides of each row, 0 where they do not scatter."""

    @property
    def visible(self) -> FloatArray:
        """The values that can be told from none, (T,)."""
        return np.maximum(self.values, self.floor)


def flat_stretches(run: Trajectory) -> list[FlatStretch]:
    """The stretches between drops of a run's loss, in order: where it falls slowly between falling fast.

    Flat is where the gradient is small, if its norm is known and is that of the loss which falls; else where the log of
    the loss changes slowly, after averaging over nine losses or more if they scatter.
    """
    steepness = steepness_of(run)
    visible = steepness.visible
    minima = _minima(visible)
    stretches: list[FlatStretch] = []
    first = 0
    for k, minimum in enumerate(minima):
        last = len(visible) - 1
        if k + 1 < len(minima):
            # The steepest place between two stretches parts them.
            last = minimum + int(np.argmax(visible[minimum : minima[k + 1]]))
        stretches.append(flattest_in(run, steepness, first, last))
        first = last + 1
    return _without_small_drops(stretches, visible, run.loss)


def _leading(flags: BoolArray) -> int:
    """How many of the first flags are True, up to one that is not."""
    return len(flags) if np.all(flags) else int(np.argmin(flags))


def flattest_in(
    run: Trajectory, steepness: Steepness, first: int, last: int
) -> FlatStretch:
    """The stretch of rows `first` to `last`; of a noisy run, its loss is the mean over the rows without a slope."""
    index = first + int(np.argmin(steepness.values[first : last + 1]))
    half = steepness.half_window
    if not half:
        return FlatStretch(first, last, index, float(run.loss[index]))
    flat = steepness.values <= steepness.floor
    before = flat[first:index][::-1]
    begin = index - _leading(before)
    end = index + _leading(flat[index + 1 : last + 1])
    middle = (begin + end) // 2
    begin = max(first, min(begin, middle - half))
    end = min(last, max(end, middle + half))
    mean = float(np.mean(run.loss[begin : end + 1]))
    return FlatStretch(first, last, middle, mean)


def steepness_of(run: Trajectory) -> Steepness:
    """How fast the loss of a run falls: the gradient's norm, or the slope of the log of the loss.

    ValueError for fewer than two losses.
    """
    if len(run.loss) < 2:
        raise ValueError("plateaus need a run of two losses or more")
    if _has_gradient_of_loss(run):
        norm = np.asarray(run.gradient_norm, dtype=np.float64)
        # Below this, a norm is rounding.
        floor = np.full(len(norm), float(norm.max()) * 1e-9)
        return Steepness(norm, floor)
    return _slope_of_log_loss(run.time, run.loss)


def averaged_loss(run: Trajectory) -> FloatArray:
    """The losses of a run (T,), averaged over neighbouring rows where they scatter.

    >>> from attndyn.simulate import external_run
    >>> averaged_loss(external_run([1.0, 0.5, 0.25]))
    array([1.  , 0.5 , 0.25])
    """
    half = _slope_of_log_loss(run.time, run.loss).half_window
    return _moving_average(run.loss, half) if half else run.loss


def _has_gradient_of_loss(run: Trajectory) -> bool:
    """Whether the norm of the gradient is known, and small where the loss does not change."""
    if run.gradient_norm is None or not np.any(run.gradient_norm):
        return False
    decay = (run.optimizer or {}).get("weight_decay", 0.0)
    norm = np.asarray(run.gradient_norm)
    scatter = _scatter(np.log(np.maximum(norm, norm.max() * 1e-9)))
    # With decay the loss has a slope at fixed points; that of a batch scatters.
    return not decay and scatter < 0.1


def _increments(values: FloatArray, reach: int) -> FloatArray:
    """What values (T,) grow by from `reach` rows before each row to as many after it, fewer at both ends."""
    rows = np.arange(len(values))
    before = np.maximum(rows - reach, 0)
    after = np.minimum(rows + reach, len(values) - 1)
    return values[after] - values[before]


def _gap_of_averages(scatter: float, half: int) -> float:
    """What two averages over windows of w = 2·half + 1 rows rarely differ by: three times √(2/w) of the scatter."""
    return 3 * scatter * math.sqrt(2 / (2 * half + 1))


def _slope_of_log_loss(time: FloatArray, loss: FloatArray) -> Steepness:
    """|Δ log L / Δt| over neighbouring rows, or over averages where they scatter, at least what scatter makes of it."""
    largest = float(loss.max())
    if largest == 0:
        nothing = np.ones(len(loss))
        return Steepness(nothing, nothing)
    log_loss = np.log(np.maximum(loss, 1e-300 * largest))
    scatter = _scatter(log_loss)
    is_noisy = scatter > _NOISE
    half = _window(scatter, len(loss)) // 2 if is_noisy else 0
    means = _moving_average(log_loss, half)

    # From a window before a row to the next window after it, less at both ends.
    reach = max(half, 1)
    span = _increments(time, reach)
    slope = np.abs(_increments(means, reach)) / span
    floor = np.full(len(loss), float(slope.max()) * 1e-12 + 1e-300)
    if is_noisy:
        floor += _gap_of_averages(scatter, half) / span
    return Steepness(slope, floor, half)


def _window(scatter: float, count: int) -> int:
    """How many losses to average: more where they scatter more, as those of single batches, and in a long log."""
    least = _SHORT_WINDOW if scatter < _LITTLE_SCATTER else WINDOW
    needed = math.ceil((scatter / _WANTED_SCATTER) ** 2)
    # Averages over more than this part of the run would hide its plateaus.
    return max(least, count // _WINDOWS, min(needed, count // _FEWEST_WINDOWS))


def _scatter(values: FloatArray) -> float:
    """Standard deviation of noise on a smooth series (T,), 0 where it is smooth: from its second differences."""
    if len(values) < 3 * WINDOW:
        return 0.0
    second = np.diff(values, 2)
    turns = np.mean(second[1:] * second[:-1] < 0)
    # Second differences of independent numbers change sign three times of four, of a smooth series hardly ever.
    if turns < 0.5:
        return 0.0
    # Of numbers of variance 1 they have variance 6; 0.6745 is the median of a normal number's size.
    return float(np.median(np.abs(second))) / (0.6745 * math.sqrt(6))


def _moving_average(values: FloatArray, half: int) -> FloatArray:
    """Means (T,) over `half` values on both sides, fewer, and as many on either side, at the ends."""
    count = len(values)
    rows = np.arange(count)
    reach = np.minimum(np.minimum(rows, count - 1 - rows), half)
    sums = np.concatenate([[0.0], np.cumsum(values - values.mean())])
    totals = sums[rows + reach + 1] - sums[rows - reach]
    return np.asarray(totals / (2 * reach + 1) + values.mean())


def _minima(steepness: FloatArray) -> list[int]:
    """Rows of the minima, ends included, between which the steepness rises and falls by PROMINENCE or more."""
    minima = []
    lowest = highest = 0
    is_in_valley = True  # a run may begin flat
    for row, value in enumerate(steepness.tolist()):
        if is_in_valley:
            if value < steepness[lowest]:
                lowest = row
            elif value > PROMINENCE * steepness[lowest]:
                minima.append(lowest)
                highest = row
                is_in_valley = False
        elif value > steepness[highest]:
            highest = row
        elif value < steepness[highest] / PROMINENCE:
            lowest = row
            is_in_valley = True
    if is_in_valley:
        minima.append(lowest)
    return minima


def _without_small_drops(
    stretches: list[FlatStretch], steepness: FloatArray, loss: FloatArray
) -> list[FlatStretch]:
    """The stretches with those joined between which the loss hardly changes."""
    least = SMALLEST_DROP * float(loss.max() - loss.min())
    joined: list[FlatStretch] = []
    for stretch in stretches:
        if joined and abs(joined[-1].loss - stretch.loss) <= least:
            before = joined.pop()
            flattest = min(before, stretch, key=lambda s: steepness[s.flattest])
            stretch = flattest._replace(first=before.first, last=stretch.last)
        joined.append(stretch)
    return joined
