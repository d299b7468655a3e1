"""Which subsets of modes are fixed points, how many there are, and which comes next by its loss.

A subset A with its weakest mode m, of least κ, is a fixed point where the bracket of m is positive:

    k Σ_A r_α (1 − κ_m/κ_α) < g κ_m

so what a fixed point learns can be left out one by one, and more that is learned lowers the loss. They are counted as
sums below a bound and listed by a search that takes up the node of the least bound first. Derived here.
"""

import heapq
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from ...runtime.arrays import BoolArray, FloatArray, IndexArray
from .minima import TIE, coupling, loss_of_subset
from .mode_tasks import ModeTask

# By how much the bound of a node is lowered, in units of the loss of nothing, so that rounding cannot delay a leaf.
_SLACK = 1e-12
# Sums of one half of the modes that are kept at once: 2^16 of them take a second.
_MOST_SUMS = 2**16
# Weights that differ by less, in units of the limit of their sum, are equal up to rounding.
_EQUAL = 1e-14


class ModeSubset(NamedTuple):
    """Modes that a fixed point learns, numbered from 1, and its loss."""

    loss: float
    subset: tuple[int, ...]


def is_fixed_point(modes: ModeTask, subset: tuple[int, ...]) -> bool:
    """Whether the modes of `subset`, numbered from 1 in increasing order, are those that some fixed point learns."""
    if not subset:
        return True
    learned = np.array(subset) - 1
    weakest = int(learned[-1])
    sum_of_weights = float(np.sum(_weights(modes, weakest)[learned[:-1]]))
    return modes.thresholds[weakest] > 0 and sum_of_weights < _limit(modes, weakest)


def escaping(modes: ModeTask, subset: tuple[int, ...]) -> IndexArray:
    """The modes, from 0, that a fixed point does not learn and that grow near it: those with ℓκ > kZ."""
    learned = mask_of(modes, subset)
    Z = coupling(modes, learned)
    grows = modes.linear * modes.thresholds * (1 - TIE) > modes.single * Z
    return np.flatnonzero(grows & ~learned)


def mask_of(modes: ModeTask, subset: tuple[int, ...]) -> BoolArray:
    """The modes of a subset, numbered from 1, as a mask (D,)."""
    learned = np.zeros(modes.dimension, dtype=bool)
    learned[np.array(subset, dtype=np.intp) - 1] = True
    return learned


def _weights(modes: ModeTask, weakest: int) -> FloatArray:
    """r (1 − κ_m/κ) (m,) of the modes before mode m: what each takes of the room that m needs."""
    κ = modes.thresholds
    r = np.sqrt(modes.labels[:weakest])
    return np.asarray(r * (1 - κ[weakest] / κ[:weakest])) if κ[weakest] > 0 else r


def _limit(modes: ModeTask, weakest: int) -> float:
    """g κ_m/k, below which the sum of the weights has to stay, less what counts as zero."""
    bound = modes.pairs * modes.thresholds[weakest] / modes.single
    return float(bound) * (1 - TIE)


# -- How many -----------------------------------------------------------------------------------------------------


def count_fixed_points(modes: ModeTask) -> int:
    """How many subsets are fixed points, exactly; OverflowError where counting them would take too long.

    The subsets with the weakest mode m are those of the modes before it whose weights add up to less than a limit.
    Sums over two halves of the modes, one of them sorted, count these without making them.
    """
    count = 1  # of the one that learns nothing
    for weakest in range(modes.dimension):
        limit = _limit(modes, weakest)
        if limit <= 0:
            break
        count += _count_sums_below(_weights(modes, weakest), limit)
    return count


def _count_sums_below(weights: FloatArray, limit: float) -> int:
    """How many subsets of these weights (n,), zero or more, have a sum below a positive limit."""
    small = weights <= _EQUAL * limit
    large = weights >= limit
    others = np.sort(weights[~small & ~large])
    free = 1 << int(np.sum(small))
    if float(np.sum(others)) < limit:
        return free << len(others)
    first, second = _halves(others, _EQUAL * limit)
    order = np.argsort(second.sums, kind="stable")
    # Each sum of one half goes with all those of the other half below what it leaves.
    places = np.searchsorted(second.sums[order], limit - first.sums, side="left")
    up_to = np.concatenate([[0], np.cumsum(second.counts[order])])
    return free * int(np.sum(first.counts * up_to[places]))


class _Sums(NamedTuple):
    """Sums of weights (n,), and how many subsets have each of them (n,)."""

    sums: FloatArray
    counts: np.ndarray  # of whole numbers of any size


def _halves(weights: FloatArray, tie: float) -> tuple[_Sums, _Sums]:
    """All sums of two halves of increasing weights, equal ones together; OverflowError where they are too many."""
    begins = np.append(True, np.diff(weights) > tie)
    starts = np.flatnonzero(begins)
    sizes = np.diff(np.append(starts, len(weights)))
    nothing = _Sums(np.zeros(1), np.array([1], dtype=object))
    halves = [nothing, nothing]
    for start, size in zip(starts, sizes, strict=True):
        smaller = int(len(halves[0].sums) > len(halves[1].sums))
        halves[smaller] = _with_equal(halves[smaller], weights[start], int(size))
        if len(halves[smaller].sums) > _MOST_SUMS:
            raise OverflowError(
                f"{len(weights)} modes of different strength compete for the coupling, too many to count their fixed "
                "points: take the first ones by islice(points, n), or ask whether a subset is in them"
            )
    return halves[0], halves[1]


def _with_equal(half: _Sums, weight: float, size: int) -> _Sums:
    """All sums with up to `size` equal weights more."""
    taken = range(size + 1)
    sums = [half.sums + number * weight for number in taken]
    counts = [half.counts * math.comb(size, number) for number in taken]
    return _Sums(np.concatenate(sums), np.concatenate(counts))


# -- In which order -----------------------------------------------------------------------------------------------


def subsets_by_increasing_loss(modes: ModeTask) -> Iterator[ModeSubset]:
    """The subsets of all fixed points, from the minimum to nothing learned, made one by one; equal losses to rounding.

    Modes are decided from the weakest to the strongest. A bound of what is still undecided is the least loss over all
    a ≥ 0 on it whose coupling Z leaves the weakest mode that is learned its bracket: that is a convex problem, solved
    by a soft threshold. Mostly the bound is reached by a fixed point; the others then differ from it in one mode first.
    """
    search = _Search(modes)
    heap = [search.node(search.count, 0, 0.0)]
    while heap:
        node = heapq.heappop(heap)
        if node.subset is not None:
            yield ModeSubset(node.loss, node.subset)
        for child in search.children(node):
            heapq.heappush(heap, child)


def subsets_by_decreasing_loss(modes: ModeTask) -> Iterator[ModeSubset]:
    """The same from nothing learned to the minimum: each fixed point brings in those with one weaker mode more."""
    nothing = mask_of(modes, ())
    heap: list[tuple[float, tuple[int, ...]]] = [(-_loss(modes, nothing), ())]
    while heap:
        minus_loss, subset = heapq.heappop(heap)
        yield ModeSubset(-minus_loss, subset)
        last = subset[-1] if subset else 0
        for mode in range(last + 1, modes.dimension + 1):
            larger = (*subset, mode)
            if is_fixed_point(modes, larger):
                loss = _loss(modes, mask_of(modes, larger))
                heapq.heappush(heap, (-loss, larger))


def _loss(modes: ModeTask, learned: BoolArray) -> float:
    return loss_of_subset(modes, learned, coupling(modes, learned))


class _Node(NamedTuple):
    """The subsets with the modes `chosen`, a number whose bits they are, and any of the `undecided` strongest ones.

    `loss` is the least of theirs where `subset` has it, else a bound. `threshold` is the κ above which the bound
    learns a mode, `taken` the sum of the weights of what is chosen.
    """

    loss: float
    undecided: int
    subset: tuple[int, ...] | None
    chosen: int
    threshold: float
    taken: float


class _Search:
    """The sums that bounds are made of, over the modes that can be learned, by decreasing κ."""

    def __init__(self, modes: ModeTask) -> None:
        self.modes = modes
        self.count = int(np.sum(modes.thresholds > 0))
        self.r = np.sqrt(modes.labels[: self.count])
        self.κ = modes.thresholds[: self.count]
        self.signal = (modes.teachers * modes.inputs)[: self.count]

    def children(self, node: _Node) -> Iterator[_Node]:
        """Nodes that share out the subsets of this one, but for its own, as far as fixed points may be in them."""
        chosen, taken = node.chosen, node.taken
        for mode in reversed(range(node.undecided)):
            with_mode = chosen | (1 << mode)
            taken_with = taken + self._weight(mode, with_mode)
            is_learned = bool(self.κ[mode] > node.threshold)
            exists = taken_with < _limit(self.modes, with_mode.bit_length() - 1)
            if is_learned or node.subset is None:
                yield self.node(mode, chosen, taken)
            if exists and not (is_learned and node.subset is not None):
                yield self.node(mode, with_mode, taken_with)
            if node.subset is None:
                return
            # The subset of the node itself goes on to the next mode.
            if is_learned:
                chosen, taken = with_mode, taken_with

    def _weight(self, mode: int, chosen: int) -> float:
        """What this mode takes of the room of the weakest one that is chosen."""
        weakest = chosen.bit_length() - 1
        return float(self.r[mode] * (1 - self.κ[weakest] / self.κ[mode]))

    def node(self, undecided: int, chosen: int, taken: float) -> _Node:
        """The node with its bound, or with its best subset where this is known."""
        indices = self._indices(chosen)
        bound = self._bound(undecided, indices)
        threshold = bound.threshold
        is_reached = bound.is_free and bool(np.all(self.κ[indices] > threshold))
        if undecided > 0 and not is_reached:
            slack = _SLACK * self.modes.zero_loss
            return _Node(bound.loss - slack, undecided, None, chosen, threshold, taken)
        strongest = np.flatnonzero(self.κ[:undecided] > threshold)
        subset = tuple(np.concatenate([strongest, indices]).tolist())
        subset = tuple(mode + 1 for mode in subset)
        loss = _loss(self.modes, mask_of(self.modes, subset))
        return _Node(loss, undecided, subset, chosen, threshold, taken)

    def _indices(self, chosen: int) -> IndexArray:
        """The modes of a number whose bits they are, the strongest first."""
        size = (chosen.bit_length() + 7) // 8
        bits = np.frombuffer(chosen.to_bytes(size, "little"), dtype=np.uint8)
        return np.flatnonzero(np.unpackbits(bits, bitorder="little"))

    def _bound(self, undecided: int, chosen: IndexArray) -> "_Bound":
        """The least loss over a ≥ 0 on what is undecided or chosen, with Z ≤ ℓκ_m/k."""
        allowed = np.concatenate([np.arange(undecided), chosen])
        if not len(allowed):
            return _Bound(self.modes.zero_loss, 0.0, is_free=True)
        sums = self._prefix_sums(allowed)
        least = sums.with_free_coupling(self.modes)
        largest = self._largest_coupling(chosen)
        is_free = largest > least.Z
        if not is_free:
            least = sums.with_coupling(self.modes, largest)
        loss = self.modes.zero_loss - least.drop
        return _Bound(loss, least.θ / self.modes.linear, is_free)

    def _prefix_sums(self, allowed: IndexArray) -> "_PrefixSums":
        κ, r = self.κ[allowed], self.r[allowed]
        signal = np.cumsum(self.signal[allowed])
        return _PrefixSums(κ, signal, np.cumsum(r), np.cumsum(r / κ))

    def _largest_coupling(self, chosen: IndexArray) -> float:
        """ℓκ_m/k, the Z up to which the weakest mode m that is chosen has a bracket of zero or more."""
        if not len(chosen):
            return math.inf
        return float(self.modes.linear * self.κ[chosen[-1]] / self.modes.single)


class _PrefixSums(NamedTuple):
    """Of the modes that may be learned, κ (n,) in decreasing order, and sums over the first ones, (n,) each.

    With θ = kZ + μ, μ the multiplier of a condition on Z, the least loss has a = (ℓ − θ r/(ωs))/(g s) where ℓκ > θ.
    There Z = (ℓR − θV)/g. `signal` is Σ ωs, `R` Σ r and `V` Σ r²/(ωs) = Σ r/κ.
    """

    κ: FloatArray
    signal: FloatArray
    R: FloatArray
    V: FloatArray

    def with_free_coupling(self, modes: ModeTask) -> "_Least":
        """Where Z is not limited, so that θ = kZ: Z = ℓR/(g + kV), and ℓκ > kZ on what is learned."""
        ℓ, g, k = modes.linear, modes.pairs, modes.single
        last = int(np.sum(self.κ * (g + k * self.V) > k * self.R)) - 1
        Z = float(ℓ * self.R[last] / (g + k * self.V[last]))
        return self._least(modes, last, Z, k * Z)

    def with_coupling(self, modes: ModeTask, Z: float) -> "_Least":
        """Where Z is held at a limit: θ = (ℓR − gZ)/V, and ℓκ > θ on what is learned."""
        ℓ, g = modes.linear, modes.pairs
        last = int(np.sum(ℓ * self.κ * self.V > ℓ * self.R - g * Z)) - 1
        θ = float((ℓ * self.R[last] - g * Z) / self.V[last])
        return self._least(modes, last, Z, θ)

    def _least(self, modes: ModeTask, last: int, Z: float, θ: float) -> "_Least":
        """By how much the loss is below that of nothing: 2ℓ Σ ωs²a − g Σ ωs³a² − kZ²."""
        ℓ, g, k = modes.linear, modes.pairs, modes.single
        squares = ℓ**2 * self.signal[last] - θ**2 * self.V[last]
        return _Least(float(squares / g - k * Z**2), Z, θ)


class _Least(NamedTuple):
    """The least loss: how far below that of nothing it is, its coupling Z, and θ, above which ℓκ is learned."""

    drop: float
    Z: float
    θ: float


class _Bound(NamedTuple):
    """The least loss, the κ above which it learns a mode, and whether the weakest mode leaves the coupling free."""

    loss: float
    threshold: float
    is_free: bool
