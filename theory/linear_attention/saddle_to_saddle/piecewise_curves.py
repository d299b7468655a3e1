"""The curve of separate heads: loss, maps and amplitudes at any flow time, from the segments of a path."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray, IndexArray
from ...moments.population_loss import Population
from .drop_flow import Equations
from .equal_heads import distinct_heads
from .escapes import SeparateHeads
from .exit_time_uncertainty import Outcome
from .path import Precision, Problem, follow_path
from .path_segments import (
    Factors,
    Part,
    Segment,
    excess_of,
    packed,
    total_map,
    unpacked,
)
from .singular_directions import MovingDirections


class Units(NamedTuple):
    """Units in which B and M* have a largest singular value of 1: of a weight, of flow time, and of the loss."""

    weight: float
    time: float
    loss: float


@dataclass(frozen=True, eq=False)
class PathCurve:
    """Maps and loss as functions of flow time: the `segments` in order, after which nothing moves.

    `basis` (D, D'): the directions e_d on which heads move as columns, D of them where Λ and Ω are regular. `problem`:
    what the path starts from, in `units`, with one of the heads that are equal; `first` (H',) says which. `precision`:
    at which it was followed.
    """

    moments: Population
    basis: FloatArray
    units: Units
    problem: Problem
    first: IndexArray
    segments: tuple[Segment, ...]
    precision: Precision

    @property
    def end(self) -> float:
        """Flow time after the last drop, 0 if nothing moves."""
        if not self.segments:
            return 0.0
        return (self.segments[-1].start + self.segments[-1].duration) * self.units.time

    def node_times(self) -> FloatArray:
        """Increasing flow times between which the curve is smooth: the steps of its integration, (T,)."""
        nodes = [segment.start + segment.times for segment in self.segments]
        return np.concatenate([np.zeros(1), *nodes]) * self.units.time

    # -- Levels of the loss ---------------------------------------------------------------------------------------

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
        exit_times = self.crossings(losses) / self.units.time
        return Outcome(exit_times, float(last / np.sum(self.problem.gains)))

    # -- At flow times --------------------------------------------------------------------------------------------

    def loss(self, times: FloatArray) -> FloatArray:
        """L (T,), in units of y²."""
        excess = self._collected(
            times, lambda segment, since: segment.excess(since), self._initial_excess
        )
        return np.asarray(self.moments.minimum_loss + self.units.loss * excess)

    def maps(self, times: FloatArray) -> FloatArray:
        """M (T, D, D) in units of the path, on the directions of the basis."""
        return self._collected(
            times,
            lambda segment, since: self._map(segment, segment.heads(since)),
            self.problem.map,
        )

    def coefficients(self, times: FloatArray) -> FloatArray:
        """e_dᵀ M e_d (T, r) of directions with a gain, or (T, D') where Λ and Ω do not commute."""
        diagonal = np.diagonal(self.maps(times), axis1=-2, axis2=-1)
        return np.asarray(self._shown(diagonal) * self.units.weight**3)

    def amplitudes(self, times: FloatArray) -> FloatArray:
        """κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over heads and their pairs, of the same directions."""
        _, k, q = self.heads(times)
        copies = self.problem.part.equations.copies
        squares = np.einsum("h,thrd->td", copies, np.abs(k * q))
        return np.asarray(self.units.weight * np.sqrt(self._shown(squares)))

    def _shown(self, numbers: FloatArray) -> FloatArray:
        """Numbers of the moving directions (..., D') without those of no gain, which come last on an aligned task."""
        return (
            numbers[..., : len(self.problem.gains)]
            if self.moments.is_aligned
            else numbers
        )

    def heads(self, times: FloatArray) -> SeparateHeads:
        """v (T, H'), k and q (T, H', R, D) in units of the path, on the directions of the basis."""
        states = self._collected(
            times,
            lambda segment, since: packed(self._all_heads(segment, since)),
            packed(self.problem.heads),
        )
        return unpacked(states, self.problem.part.equations)

    # -- Shares of directions -------------------------------------------------------------------------------------

    def node_shares(self) -> FloatArray:
        """How much of each direction is learned at the states that the flow went through: (T, D)."""
        nodes = [self._map(segment, segment.nodes()) for segment in self.segments]
        maps = np.concatenate([self.problem.map[None], *nodes])
        return self.shares(maps)

    def shares(self, maps: FloatArray) -> FloatArray:
        """How much of each direction M (..., D, D) has learned: 1 for d in S at M_S, 0 for the others; (..., D)."""
        equations = self.problem.part.equations
        factors = self.problem.part.factors
        Ap = equations.A @ factors.keys  # A p_d as columns
        Λr = equations.lam[:, None] * factors.queries
        learned = np.sum((Ap.T @ maps) * Λr.T, axis=-1)  # p_dᵀ A M Λ r_d
        return np.asarray(learned / self.problem.gains)

    def head_shares(self, times: FloatArray) -> FloatArray:
        """How much of each direction each head has learned (T, H', D)."""
        copies = self.problem.part.equations.copies
        return self.shares(self.heads(times).maps() * copies[:, None, None])

    # -- Segments -------------------------------------------------------------------------------------------------

    @cached_property
    def _initial_excess(self) -> FloatArray:
        """Loss above the minimum at flow time 0, in units of the path."""
        return np.asarray(excess_of(self.problem.map, self.problem.part.equations))

    def _map(self, segment: Segment, heads: SeparateHeads) -> FloatArray:
        """M (T, D, D) of the heads of a segment and of what was learned before."""
        offset = segment.part.offset
        inner = total_map(heads, segment.part.equations.copies)
        if offset == 0:
            return inner
        learned = self.problem.part.factors.first(offset)
        whole = np.tile(learned, (len(inner), 1, 1))
        whole[:, offset:, offset:] += inner
        return whole

    def _all_heads(self, segment: Segment, since: FloatArray) -> SeparateHeads:
        """All heads at times since the start of the segment, also those that it leaves out, (T, ...)."""
        before = self._ends[self.segments.index(segment)]
        return _with_segment(before, segment, segment.heads(since))

    @cached_property
    def _ends(self) -> list[SeparateHeads]:
        """All heads at the start, and at the end of each segment."""
        ends = [self.problem.heads]
        for segment in self.segments:
            final = SeparateHeads(*(block[None] for block in segment.final))
            heads = _with_segment(ends[-1], segment, final)
            ends.append(SeparateHeads(*(block[0] for block in heads)))
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
        # The last segment that has begun; the end of the last one stands for all later times.
        indices = np.maximum(np.searchsorted(starts, scaled, side="right") - 1, 0)
        values = np.zeros((len(times), *np.shape(initial)))
        for index in np.unique(indices):
            segment = self.segments[index]
            inside = indices == index
            since = np.clip(scaled[inside] - segment.start, 0.0, segment.duration)
            values[inside] = value(segment, since)
        return values


def _with_segment(
    heads: SeparateHeads, segment: Segment, changed: SeparateHeads
) -> SeparateHeads:
    """The heads with those of the segment as they are at each time, (T, ...)."""
    members = segment.part.members
    offset = segment.part.offset
    v, k, q = (np.repeat(block[None], len(changed.v), axis=0) for block in heads)
    v[:, members] = changed.v
    k[:, members, :, offset:] = changed.k
    q[:, members, :, offset:] = changed.q
    return SeparateHeads(v, k, q)


# -- From the task to the path ------------------------------------------------------------------------------------


def path_curve(
    moments: Population,
    directions: MovingDirections,
    heads: SeparateHeads,
    precision: Precision,
) -> PathCurve:
    """The curve of `heads` (H, R, D'), given on the moving `directions`, from flow time 0."""
    distinct = distinct_heads(heads)
    units = _units(moments)
    pairs = heads.k.shape[1]
    part = Part(
        equations=_equations(moments, directions, units, distinct.copies, pairs),
        factors=_factors(moments, directions, units),
        members=np.arange(len(distinct.first)),
        offset=0,
    )
    scaled = SeparateHeads(*(block / units.weight for block in distinct.heads))
    problem = Problem(part, moments.gains / units.loss, scaled)
    return PathCurve(
        moments=moments,
        basis=directions.basis,
        units=units,
        problem=problem,
        first=distinct.first,
        segments=tuple(follow_path(problem, precision)),
        precision=precision,
    )


def _units(moments: Population) -> Units:
    """Units in which the largest singular values of B and M* are 1."""
    growth_rate = float(np.linalg.norm(moments.B, 2))
    volume = float(
        np.linalg.norm(moments.minimum, 2)
    )  # a weight cubed, as M = Σ v k qᵀ
    weight = float(np.cbrt(volume))
    return Units(weight, time=1 / (growth_rate * weight), loss=growth_rate * volume)


def _equations(
    moments: Population,
    directions: MovingDirections,
    units: Units,
    copies: FloatArray,
    pairs: int,
) -> Equations:
    """A, M* and Λ on the moving directions, in these units."""
    volume = units.weight**3
    basis, lam = directions.basis, directions.lam
    if moments.is_aligned:
        # Directions of no gain come last, and nothing is learned on them.
        target = np.zeros((len(lam), len(lam)))
        np.fill_diagonal(target[: moments.direction_count], moments.coefficients)
    else:
        target = basis.T @ moments.minimum @ basis
    largest = np.max(lam)
    # So that B = A M* Λ is of norm 1.
    scale = largest * volume / np.linalg.norm(moments.B, 2)
    return Equations(
        A=np.ascontiguousarray(directions.A * scale),
        target=np.ascontiguousarray(target / volume),
        lam=lam / largest,
        diagonal=moments.is_aligned,
        copies=copies,
        pairs=pairs,
    )


def _factors(
    moments: Population, directions: MovingDirections, units: Units
) -> Factors:
    """The factors of M* on the moving directions, (D', r) each, in these units."""
    volume = units.weight**3
    if moments.is_aligned:
        of_gains = np.eye(len(directions.lam), moments.direction_count)
        return Factors(of_gains * (moments.coefficients / volume), of_gains)
    keys, queries = moments.factors
    basis = directions.basis
    return Factors(basis.T @ keys / volume, basis.T @ queries)
