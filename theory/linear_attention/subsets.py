"""Subsets of directions by increasing loss, lazily: the best of 2^D without the others."""

import heapq
import math
from collections.abc import Iterator
from itertools import accumulate, chain, groupby
from typing import NamedTuple

from ...runtime.arrays import FloatArray

Labels = tuple[int, ...]


class Choice(NamedTuple):
    """A set of learned directions, numbered from 1 by decreasing gain, and the loss that it leaves.

    `continuum`: it takes some but not all of several equal gains, so any rotation among those does as well.
    """

    loss: float
    subset: tuple[int, ...]
    continuum: bool


class _Groups(NamedTuple):
    """Equal gains: their value, how many they are, and the index of the first."""

    gains: tuple[float, ...]
    sizes: tuple[int, ...]
    starts: tuple[int, ...]


def subsets_by_loss(loss: float, gains: FloatArray, limit: int) -> Iterator[Choice]:
    """Every choice of at most `limit` directions by increasing loss, given the loss of none and decreasing gains.

    Of the subsets that differ only among equal gains, the one with the lowest numbers stands for all. Sizes share
    one heap: the best subset of each size enters when that of the next larger one leaves, and every other subset
    when its only parent does, so time and memory grow with the subsets taken.

    >>> [choice.subset for choice in subsets_by_loss(1.0, [0.4, 0.2, 0.1], limit=2)]
    [(1, 2), (1, 3), (1,), (2, 3), (2,), (3,), ()]
    """
    groups = _grouped(gains)
    heap = [_entry(loss, groups, _largest_labels(groups, limit))]
    while heap:
        entry = heapq.heappop(heap)
        labels = entry.labels
        yield _choice(entry.loss, labels, groups)

        # The best subset of each size brings in that of the size below.
        if entry.moving == len(labels) > 0:
            heapq.heappush(heap, _entry(loss, groups, labels[:-1]))
        for element in _movable(labels, entry.moving, groups):
            moved = (*labels[:element], labels[element] + 1, *labels[element + 1 :])
            heapq.heappush(heap, _entry(loss, groups, moved, element))


def subsets_from_the_last(
    loss: float, gains: FloatArray, limit: int
) -> Iterator[Choice]:
    """The choices of `subsets_by_loss` from the last to the first: by decreasing loss, none learned before all others.

    It is the same enumeration with the groups in the opposite order: the worst subset of each size brings in that of
    the size above.

    >>> [choice.subset for choice in subsets_from_the_last(1.0, [0.4, 0.2, 0.1], limit=2)]
    [(), (3,), (2,), (2, 3), (1,), (1, 3), (1, 2)]
    """
    groups = _grouped(gains)
    upside_down = _grouped(gains[::-1])
    smallest = _largest_labels(upside_down, limit)
    heap = [_last_entry(loss, upside_down, ())]
    while heap:
        entry = heapq.heappop(heap)
        labels = entry.descending[::-1]
        highest = len(groups.sizes) - 1
        downwards = tuple(highest - label for label in entry.descending)
        yield _choice(-entry.minus_loss, downwards, groups)

        if entry.moving == entry.size < len(smallest):
            larger = smallest[: entry.size + 1]
            heapq.heappush(heap, _last_entry(loss, upside_down, larger))
        for element in _movable(labels, entry.moving, upside_down):
            moved = (*labels[:element], labels[element] + 1, *labels[element + 1 :])
            heapq.heappush(heap, _last_entry(loss, upside_down, moved, element))


def count_subsets(gains: FloatArray, limit: int) -> int:
    """How many choices `subsets_by_loss` makes, without making any: an exact whole number, up to 2^D.

    >>> count_subsets([0.4, 0.2, 0.1], limit=2), count_subsets([0.4, 0.4, 0.1], limit=3)
    (7, 6)
    """
    # counts[k] is the number of choices of k directions among the groups so far.
    counts = [1] + [0] * limit
    for size in _grouped(gains).sizes:
        sums = [0, *accumulate(counts)]
        # From a group 0 to `size` directions are taken.
        counts = [sums[k + 1] - sums[max(0, k - size)] for k in range(limit + 1)]
    return sum(counts)


class _Entry(NamedTuple):
    """A subset on the heap, by loss: its group labels, and the element that is in motion (see `_movable`)."""

    loss: float
    minus_size: int  # of losses equal to rounding, the larger subset has the lower
    labels: Labels
    moving: int


def _entry(
    loss: float, groups: _Groups, labels: Labels, moving: int | None = None
) -> _Entry:
    """The entry of a subset, given the loss without it; nothing is in motion unless said."""
    learned = (-groups.gains[label] for label in labels)
    remaining = math.fsum(chain((loss,), learned))
    return _Entry(
        remaining, -len(labels), labels, len(labels) if moving is None else moving
    )


class _LastEntry(NamedTuple):
    """A subset on the heap, in the opposite order of `_Entry`, with labels of groups by increasing gain."""

    minus_loss: float
    size: int
    descending: Labels
    moving: int


def _last_entry(
    loss: float, groups: _Groups, labels: Labels, moving: int | None = None
) -> _LastEntry:
    """The entry of a subset, given the loss without it; nothing is in motion unless said."""
    entry = _entry(loss, groups, labels, moving)
    return _LastEntry(-entry.loss, len(labels), labels[::-1], entry.moving)


def _largest_labels(groups: _Groups, limit: int) -> Labels:
    """The groups of the `limit` largest gains, one label a direction."""
    every_label = [
        label for label, size in enumerate(groups.sizes) for _ in range(size)
    ]
    return tuple(every_label[:limit])


def _movable(labels: Labels, moving: int, groups: _Groups) -> Iterator[int]:
    """Elements whose label may rise by one so that every subset is reached once, from a single parent.

    From the largest gains of its size a subset is reached by raising its elements from the last to the first, each
    as far as it goes. `moving` is the one in motion. Those below it still fill the first groups, so only the last
    of them, or the last one in the group before if that leaves room, can set out.
    """
    if moving < len(labels) and _has_room(labels, moving, groups):
        yield moving
    if moving > 0:
        last = moving - 1
        if _has_room(labels, last, groups):
            yield last
        before = groups.starts[labels[last]] - 1
        if before >= 0 and _has_room(labels, before, groups):
            yield before


def _has_room(labels: Labels, element: int, groups: _Groups) -> bool:
    """Whether the label above is a group, not full, and not beyond the next element's."""
    target = labels[element] + 1
    above = element + 1
    if target >= len(groups.sizes):
        return False
    if above < len(labels) and labels[above] < target:
        return False
    # The element that would carry this label if the group were full.
    filled = above + groups.sizes[target] - 1
    return filled >= len(labels) or labels[filled] != target


def _choice(loss: float, labels: Labels, groups: _Groups) -> Choice:
    """The directions of a subset, the first ones of each group, and whether a group is taken in part."""
    subset: list[int] = []
    is_split = False
    for label, members in groupby(labels):
        count = len(list(members))
        first = groups.starts[label] + 1
        subset.extend(range(first, first + count))
        is_split = is_split or count < groups.sizes[label]
    return Choice(loss, tuple(subset), is_split)


def _grouped(gains: FloatArray) -> _Groups:
    values: list[float] = []
    sizes: list[int] = []
    for value, members in groupby(map(float, gains)):
        values.append(value)
        sizes.append(len(list(members)))
    starts = (0, *accumulate(sizes))[:-1]
    return _Groups(tuple(values), tuple(sizes), starts)
