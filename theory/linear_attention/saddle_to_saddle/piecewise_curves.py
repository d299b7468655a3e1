"""The curve of separate heads: loss, maps and amplitudes at any flow time, from the segments of a path."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ...moments.population_loss import Population
from .drop_flow import Equations
from .equal_heads import distinct_heads
from .escapes import SeparateHeads
from .exit_time_uncertainty import Outcome
from .path import Precision, Problem, follow
from .path_segments import Part, Segment, excess_of, packed, total_map, unpacked

_ROUNDING = 1e-15  # of a sum of D products, for each of them


class Units(NamedTuple):
    """Units in which B and M* have a largest singular value of 1: of a weight, of flow time, and of the loss."""

    weight: float
    time: float
    loss: float


@dataclass(frozen=True, eq=False)
class PathCurve:
    """Maps and loss as functions of flow time: the `segments` in order, after which nothing moves.

    `basis` (D, D): the directions e_d as columns, eigenvectors of Λ. `problem`: what the path starts from, in
    `units`; it holds one of the heads that are equal, and `first` (H',) says which.
    """

    moments: Population
    basis: FloatArray
    units: Units
    problem: Problem
    first: NDArray[np.intp]
    segments: tuple[Segment, ...]

    @property
    def end(self) -> float:
        """Flow time after the last drop, 0 if nothing moves."""
        if not self.segments:
            return 0.0
        return (self.segments[-1].start + self.segments[-1].duration) * self.units.time

    def crossings(self, losses: FloatArray) -> FloatArray:
        """When the loss above the minimum passes each of `losses` (n,): 0 if it starts below, inf if never."""
        levels = losses / self.units.loss
        times = np.where(self._initial_excess < levels, 0.0, np.inf)
        for segment in self.segments:
            passed = np.isinf(times) & (segment.losses[-1] < levels)
            if np.any(passed):
                times[passed] = segment.start + segment.crossings(levels[passed])
        return times * self.units.time

    def outcome(self, losses: FloatArray) -> Outcome:
        """When the loss above the minimum passes each of `losses` (n,), and what remains of it at the end."""
        last = self.segments[-1].losses[-1] if self.segments else self._initial_excess
        return Outcome(
            self.crossings(losses) / self.units.time,
            float(last / np.sum(self.problem.gains)),
        )

    @cached_property
    def _initial_excess(self) -> FloatArray:
        return np.asarray(excess_of(self.problem.map, self.problem.part.equations))

    def loss(self, times: FloatArray) -> FloatArray:
        """L (T,), in units of y²."""
        excess = self._collected(
            times, lambda segment, since: segment.excess(since), self._initial_excess
        )
        return np.asarray(self.moments.minimum_loss + self.units.loss * excess)

    def maps(self, times: FloatArray) -> FloatArray:
        """M (T, D, D) in units of the path, on the directions of the basis."""
        initial = self.problem.map
        return self._collected(
            times,
            lambda segment, since: self._map(segment, segment.heads(since)),
            initial,
        )

    def coefficients(self, times: FloatArray) -> FloatArray:
        """e_dᵀ M e_d (T, D)."""
        return np.asarray(
            np.diagonal(self.maps(times), axis1=-2, axis2=-1) * self.units.weight**3
        )

    def amplitudes(self, times: FloatArray) -> FloatArray:
        """κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over heads and their pairs (T, D)."""
        _, k, q = self.heads(times)
        copies = self.problem.part.equations.copies
        squares = np.einsum("h,thrd->td", copies, np.abs(k * q))
        return np.asarray(self.units.weight * np.sqrt(squares))

    def heads(self, times: FloatArray) -> SeparateHeads:
        """v (T, H'), k and q (T, H', R, D) in units of the path, on the directions of the basis."""
        states = self._collected(
            times,
            lambda segment, since: packed(self._all_heads(segment, since)),
            packed(self.problem.heads),
        )
        return unpacked(states, self.problem.part.equations)

    def node_shares(self) -> FloatArray:
        """How much of each direction is learned at the states that the flow went through: (T, D)."""
        found = [self.shares(self.problem.map[None])]
        found += [
            self.shares(self._map(segment, segment.nodes()))
            for segment in self.segments
        ]
        return np.concatenate(found)

    def shares(self, maps: FloatArray) -> FloatArray:
        """How much of each direction M (..., D, D) holds: 1 for d in S at M_S, 0 for the others; (..., D)."""
        equations, (keys, queries) = (
            self.problem.part.equations,
            self.problem.part.factors,
        )
        weighted_keys, weighted_queries = (
            equations.A @ keys,
            equations.lam[:, None] * queries,
        )
        learned = np.sum(
            (weighted_keys.T @ maps) * weighted_queries.T, axis=-1
        )  # p_dᵀ A M Λ r_d
        return np.asarray(learned / self.problem.gains)

    def head_shares(self, times: FloatArray) -> FloatArray:
        """How much of each direction each head holds (T, H', D)."""
        heads = self.heads(times)
        return self.shares(
            heads.maps() * self.problem.part.equations.copies[:, None, None]
        )

    def _map(self, segment: Segment, heads: SeparateHeads) -> FloatArray:
        """M (T, D, D) of what a segment holds and of what was learned before."""
        offset = segment.part.offset
        inner = total_map(heads, segment.part.equations.copies)
        keys, queries = self.problem.part.factors
        if offset == 0:
            return inner
        whole = np.tile(keys[:, :offset] @ queries[:, :offset].T, (len(inner), 1, 1))
        whole[:, offset:, offset:] += inner
        return whole

    def _all_heads(self, segment: Segment, since: FloatArray) -> SeparateHeads:
        """All heads at times since the start of the segment, also those that it leaves out, (T, ...)."""
        before = self._ends[self.segments.index(segment)]
        return _with(before, segment, segment.heads(since))

    @cached_property
    def _ends(self) -> list[SeparateHeads]:
        """All heads at the start, and at the end of each segment."""
        ends = [self.problem.heads]
        for segment in self.segments:
            last = SeparateHeads(*(array[None] for array in segment.final))
            ends.append(
                SeparateHeads(*(array[0] for array in _with(ends[-1], segment, last)))
            )
        return ends

    def _collected(
        self,
        times: FloatArray,
        value: Callable[[Segment, FloatArray], FloatArray],
        initial: FloatArray,
    ) -> FloatArray:
        """`value` (T, ...) of each segment at the flow times that fall into it; `initial` where there are none."""
        if not self.segments:
            return np.tile(initial, (len(times),) + (1,) * np.ndim(initial))
        scaled = times / self.units.time
        starts = np.array([segment.start for segment in self.segments])
        place = np.maximum(np.searchsorted(starts, scaled, side="right") - 1, 0)
        found = np.zeros((len(times), *np.shape(initial)))
        for index in np.unique(place):
            segment, inside = self.segments[index], place == index
            found[inside] = value(
                segment, np.clip(scaled[inside] - segment.start, 0.0, segment.duration)
            )
        return found


def _with(
    heads: SeparateHeads, segment: Segment, changed: SeparateHeads
) -> SeparateHeads:
    """The heads with those of the segment as they are at each time, (T, ...)."""
    members, offset = segment.part.members, segment.part.offset
    v, k, q = (np.repeat(array[None], len(changed.v), axis=0) for array in heads)
    v[:, members] = changed.v
    k[:, members, :, offset:] = changed.k
    q[:, members, :, offset:] = changed.q
    return SeparateHeads(v, k, q)


def path_curve(
    moments: Population, basis: FloatArray, heads: SeparateHeads, precision: Precision
) -> PathCurve:
    """The curve of `heads` (H, R, D), given on the columns of `basis` (D, D), from flow time 0."""
    distinct, first, copies = distinct_heads(heads)
    units = _units(moments)
    equations = _equations(moments, basis, units, copies, heads.k.shape[1])
    part = Part(equations, _factors(moments, basis, units), np.arange(len(first)), 0)
    scaled = SeparateHeads(*(array / units.weight for array in distinct))
    problem = Problem(part, moments.gains / units.loss, scaled)
    return PathCurve(
        moments, basis, units, problem, first, tuple(follow(problem, precision))
    )


def on_directions(heads: SeparateHeads, basis: FloatArray) -> SeparateHeads:
    """The heads with keys and queries on the columns of `basis` (D, D), without what rounding leaves of zeros.

    Row by row in one and the same order of sums, so that equal heads stay equal.
    """
    key, query = (np.einsum("hrd,de->hre", part, basis) for part in (heads.k, heads.q))
    if np.count_nonzero(basis) > len(basis):
        least = _ROUNDING * len(basis)
        key, query = (
            np.where(
                np.abs(part) > least * np.max(np.abs(part), axis=-1, keepdims=True),
                part,
                0.0,
            )
            for part in (key, query)
        )
    return SeparateHeads(heads.v, key, query)


def _units(moments: Population) -> Units:
    """Units in which the largest singular values of B and M* are 1."""
    force = float(np.linalg.norm(moments.B, 2))
    volume = float(np.linalg.norm(moments.minimum, 2))
    return Units(
        float(np.cbrt(volume)), 1 / (force * float(np.cbrt(volume))), force * volume
    )


def _equations(
    moments: Population, basis: FloatArray, units: Units, copies: FloatArray, pairs: int
) -> Equations:
    volume = units.weight**3
    if moments.is_aligned:
        A, target, lam = np.diag(moments.a), np.diag(moments.coefficients), moments.lam
    else:
        A, target, covariance = (
            basis.T @ each @ basis
            for each in (moments.A, moments.minimum, moments.Lambda)
        )
        lam = np.diag(covariance)
    largest = np.max(lam)
    scale = largest * volume / np.linalg.norm(moments.B, 2)
    return Equations(
        np.ascontiguousarray(A * scale),
        np.ascontiguousarray(target / volume),
        lam / largest,
        moments.is_aligned,
        copies,
        pairs,
    )


def _factors(
    moments: Population, basis: FloatArray, units: Units
) -> tuple[FloatArray, FloatArray]:
    volume = units.weight**3
    if moments.is_aligned:
        return np.diag(moments.coefficients / volume), np.eye(moments.dimension)
    keys, queries = moments.factors
    return basis.T @ keys / volume, basis.T @ queries
