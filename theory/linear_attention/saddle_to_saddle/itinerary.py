"""The itinerary of a path: which plateaus it visits, in which order, and which head each drop is owed to.

A path goes from saddle to saddle, but its states are not exactly those of the saddles: a plateau is told from the
shares of each direction, (e_dᵀ A M Λ e_d)/gain_d, which are 1 where a direction is learned and 0 where it is not.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray, IndexArray

# Share from which a direction counts as learned: between two plateaus every state then belongs to one of them.
_LEARNED = 0.5
# How far shares may be from 0 or 1 on a plateau: half way to where a direction changes sides.
_NEAR = 0.25

Subset = tuple[int, ...]
"""Directions that are learned on a plateau, numbered from 1 by decreasing gain."""


def visited_subsets(shares: FloatArray, gains: FloatArray) -> list[Subset]:
    """Subsets of directions more than half learned, in order of time, without those passed in a rotation.

    `shares` (T, D): how much of each direction is learned, at the states that a path goes through.
    """
    shares = pooled_shares(shares, gains)
    learned = shares > _LEARNED
    intervals = _constant_intervals(learned)
    subsets = [_subset(learned[interval[0]]) for interval in intervals]
    visited = [subsets[0]]
    for i in range(1, len(subsets)):
        subset, interval = subsets[i], intervals[i]
        if subset == visited[-1]:
            continue
        near = _comes_near(shares[interval], learned[interval[0]])
        if not near and not _only_grows(visited[-1], subset, subsets[i + 1 :]):
            continue
        until = learned[: interval[0] + 1]
        visited = _with_next(visited, subset, gains, until)
    return visited


def _with_next(
    visited: list[Subset], subset: Subset, gains: FloatArray, learned: BoolArray
) -> list[Subset]:
    """Those of the visited subsets that stay, then the way to `subset`; `learned` (T, D) until it is reached."""
    visited = _with_higher_loss(visited, subset, gains)
    if not visited:
        return [subset]
    return visited + _one_by_one(visited[-1], subset, learned)


def _comes_near(shares: FloatArray, learned: BoolArray) -> bool:
    """Whether one of the states with these shares (T, D) is near the plateau of what is learned (D,)."""
    distances = np.max(np.abs(shares - learned), axis=1)
    return bool(np.min(distances) < _NEAR)


def _only_grows(before: Subset, subset: Subset, later: Sequence[Subset]) -> bool:
    """Whether a subset adds to the one before, and the next to it: then it is on the way even where drops overlap."""
    is_kept = not later or set(subset) < set(later[0])
    return set(before) < set(subset) and is_kept


def _constant_intervals(learned: BoolArray) -> list[IndexArray]:
    """Indices (T_i,) of the states between which no row of `learned` (T, D) changes."""
    changes = np.flatnonzero(np.any(learned[1:] != learned[:-1], axis=1)) + 1
    return np.split(np.arange(len(learned)), changes)


def _subset(learned: BoolArray) -> Subset:
    """The directions that are learned (D,), numbered from 1."""
    return tuple(int(d) + 1 for d in np.flatnonzero(learned))


def learned_gain(subset: Subset, gains: FloatArray) -> float:
    """The sum of the gains (D,) of a subset: how far its plateau lies below the loss of M = 0."""
    return float(np.sum(gains[np.array(subset, dtype=int) - 1]))


def _with_higher_loss(
    visited: list[Subset], subset: Subset, gains: FloatArray
) -> list[Subset]:
    """Those of the visited subsets whose loss is above that of a later `subset`, as no loss rises on the way."""
    gain = learned_gain(subset, gains)
    return [earlier for earlier in visited if learned_gain(earlier, gains) < gain]


def _one_by_one(before: Subset, after: Subset, learned: BoolArray) -> list[Subset]:
    """Subsets from `before` (excluded) to `after`: where several directions are gained, in the order of time.

    `learned` (T, D): what is more than half learned, until `after` is.
    """
    gained = set(after) - set(before)
    if len(gained) < 2:
        return [after]
    # How many states ago each of them was last not learned.
    since = {d: len(learned) - np.argmin(learned[::-1, d - 1]) for d in gained}
    order = sorted(gained, key=lambda d: (since[d], d))
    common = set(before) & set(after)
    return [tuple(sorted(common | set(order[: n + 1]))) for n in range(len(order))]


def pooled_shares(shares: FloatArray, gains: FloatArray) -> FloatArray:
    """Directions of one gain share what is learned of them, the first learned first; (T, D).

    At a tie only the sum has a meaning. Far more than all of it, as passed in a rotation, counts as not learned.
    """
    pooled = np.empty_like(shares)
    for gain in np.unique(gains):
        tied = np.flatnonzero(gains == gain)
        total = np.sum(shares[:, tied], axis=1)
        total = np.where(total > len(tied) + _LEARNED, 0.0, total)
        pooled[:, tied] = np.clip(total[:, None] - np.arange(len(tied)), 0, 1)
    return pooled


# -- Heads --------------------------------------------------------------------------------------------------------


def plateaus_reached(
    shares: FloatArray, subsets: Sequence[Subset], gains: FloatArray
) -> list[bool]:
    """Whether a plateau lies before each drop, and after the last one: (n+1,).

    `shares` (n+1, D): how much of each direction all heads have learned midway between drops. Where a drop
    takes a direction away there always is one: that head rotates.
    """
    directions = range(1, len(gains) + 1)
    learned = np.array([[d in subset for d in directions] for subset in subsets])
    distances = np.max(np.abs(pooled_shares(shares, gains) - learned), axis=1)
    grows = [set(before) < set(after) for before, after in pairwise(subsets)]

    reached = [True] * len(subsets)
    for i in range(1, len(subsets) - 1):
        rotates = not (grows[i - 1] and grows[i])
        reached[i] = bool(distances[i] < _NEAR) or rotates
    return reached


def learning_heads(
    shares: FloatArray, directions: Sequence[int], reached: Sequence[bool], pairs: int
) -> list[int]:
    """The head that learns each direction, given how much each has learned between drops (n+1, H, D).

    It is the one that changes most. Where no plateau lies between drops, as at near ties, this may name a head more
    often than it has `pairs`: heads and directions then go together such that what is gained in the end is largest.
    """
    heads: list[int] = []
    plateaus = np.flatnonzero(reached).tolist()
    for start, end in pairwise(plateaus):
        changes = np.diff(shares[start : end + 1], axis=0)  # (drops, H, D)
        sizes = np.linalg.norm(changes, axis=-1)
        movers = np.argmax(sizes, axis=1).tolist()
        gained = shares[end] - shares[start]  # (H, D)
        too_often = max(map(movers.count, movers)) > pairs
        enough_heads = len(gained) * pairs >= len(movers)
        if too_often and enough_heads:
            dropped = np.array(directions[start:end]) - 1
            movers = _assigned_heads(gained[:, dropped], pairs)
        heads += movers
    return heads


def _assigned_heads(gained: FloatArray, pairs: int) -> list[int]:
    """The head of each direction, so that the sum of `gained` (H, m) is largest, with at most `pairs` a head."""
    from scipy.optimize import linear_sum_assignment

    head_of_pair = np.repeat(np.arange(len(gained)), pairs)  # (H·R,)
    pair, direction = linear_sum_assignment(gained[head_of_pair], maximize=True)
    heads = np.empty(gained.shape[1], dtype=np.intp)
    heads[direction] = head_of_pair[pair]
    return [int(head) for head in heads]
