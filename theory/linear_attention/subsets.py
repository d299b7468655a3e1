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
    largest = [group for group, size in enumerate(groups.sizes) for _ in range(size)][
        :limit
    ]

    def entry(labels: Labels, moving: int) -> tuple[float, int, Labels, int]:
        left = math.fsum(chain((loss,), (-groups.gains[label] for label in labels)))
        return (
            left,
            -len(labels),
            labels,
            moving,
        )  # of losses equal to rounding, the larger subset has the lower

    heap = [entry(tuple(largest), len(largest))]
    while heap:
        left, _, labels, moving = heapq.heappop(heap)
        yield _choice(left, labels, groups)
        if moving == len(labels) > 0:
            heapq.heappush(heap, entry(labels[:-1], len(labels) - 1))
        for element in _movable(labels, moving, groups):
            moved = (*labels[:element], labels[element] + 1, *labels[element + 1 :])
            heapq.heappush(heap, entry(moved, element))


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
    target, above = labels[element] + 1, element + 1
    if target >= len(groups.sizes) or (above < len(labels) and labels[above] < target):
        return False
    filled = (
        above + groups.sizes[target] - 1
    )  # the element that would be there if the group were full
    return filled >= len(labels) or labels[filled] != target


def _choice(loss: float, labels: Labels, groups: _Groups) -> Choice:
    counts = [(label, len(list(members))) for label, members in groupby(labels)]
    numbers = (
        range(groups.starts[label] + 1, groups.starts[label] + 1 + count)
        for label, count in counts
    )
    return Choice(
        loss,
        tuple(chain(*numbers)),
        any(count < groups.sizes[label] for label, count in counts),
    )


def _grouped(gains: FloatArray) -> _Groups:
    pairs = [
        (value, len(list(members))) for value, members in groupby(map(float, gains))
    ]
    sizes = tuple(size for _, size in pairs)
    return _Groups(
        tuple(value for value, _ in pairs), sizes, (0, *accumulate(sizes))[:-1]
    )
