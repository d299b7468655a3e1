"""Segments of a saddle-to-saddle path: the flow of all heads through a drop, and escapes under a constant G.

Heads, maps and times are in the units and on the directions of the path: `piecewise_curves` turns them into the
task's.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray, IndexArray
from ...level_crossings import first_crossings
from .drop_flow import Equations, crossing_time, states_at
from .escape_flow import SmallHeads, grown_entries, paths, small_heads
from .escapes import SeparateHeads


class Factors(NamedTuple):
    """Columns p_d and r_d, (D, r) each, whose products p_d r_dᵀ are the maps that are learned one by one."""

    keys: FloatArray
    queries: FloatArray

    def first(self, count: int) -> FloatArray:
        """Σ_{d ≤ count} p_d r_dᵀ (D, D): the greedy map of so many directions."""
        return np.asarray(self.keys[:, :count] @ self.queries[:, :count].T)


class Part(NamedTuple):
    """What is left of a problem: directions `offset` + 1 … D, the others being learned, and the heads `members`."""

    equations: Equations
    factors: Factors
    members: IndexArray
    offset: int


def packed(heads: SeparateHeads) -> FloatArray:
    """Heads as states (..., n): v (..., H), k and q (..., H, R, D) one after another."""
    leading = heads.v.shape[:-1]
    return np.concatenate([block.reshape(*leading, -1) for block in heads], axis=-1)


def unpacked(states: FloatArray, equations: Equations) -> SeparateHeads:
    """Heads from states (..., n): v (..., H), k and q (..., H, R, D)."""
    H = len(equations.copies)
    shape = (*states.shape[:-1], H, equations.pairs, len(equations.lam))
    v = states[..., :H]
    keys, queries = np.split(states[..., H:], 2, axis=-1)
    return SeparateHeads(v, keys.reshape(shape), queries.reshape(shape))


def total_map(heads: SeparateHeads, copies: FloatArray) -> FloatArray:
    """M = Σ_h n_h v_h Σ_r k_hr q_hrᵀ (..., D, D) of heads with any leading axes."""
    D = heads.k.shape[-1]
    weighted = (copies * heads.v)[..., None, None] * heads.k  # n_h v_h k_hr
    rows = weighted.reshape(*weighted.shape[:-3], -1, D)  # (..., H·R, D)
    return np.asarray(rows.swapaxes(-1, -2) @ heads.q.reshape(rows.shape))


def excess_of(maps: FloatArray, equations: Equations) -> FloatArray:
    """tr[(M* − M)ᵀ A (M* − M) Λ], the loss above its minimum, for M (..., D, D)."""
    gap = equations.target - maps
    return np.asarray(np.sum(gap * (equations.A @ gap * equations.lam), axis=(-2, -1)))


@dataclass(frozen=True, eq=False)
class FlowSegment:
    """The flow of all heads from `start`: `states` (T, n) and excess `losses` (T,) at `times` (T,) since then."""

    start: float
    part: Part
    times: FloatArray
    states: FloatArray
    losses: FloatArray

    @property
    def duration(self) -> float:
        """How long it lasts."""
        return float(self.times[-1])

    @property
    def final(self) -> SeparateHeads:
        """Heads at the end."""
        return unpacked(self.states[-1], self.part.equations)

    def heads(self, times: FloatArray) -> SeparateHeads:
        """Heads at times since the start (T,)."""
        equations = self.part.equations
        states, _ = states_at(times, self.times, self.states, equations)
        return unpacked(states, equations)

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        _, losses = states_at(times, self.times, self.states, self.part.equations)
        return losses

    def crossings(self, levels: FloatArray) -> FloatArray:
        """Times since the start (n,) at which the loss above the minimum first passes each of `levels` (n,).

        All must lie above the last loss; 0 where the first is below.
        """
        crossings = np.zeros(len(levels))
        for number, level in enumerate(levels):
            after = int(np.argmax(self.losses < level))
            if after > 0:
                crossings[number] = crossing_time(
                    level, after, self.times, self.states, self.part.equations
                )
        return crossings

    def nodes(self) -> SeparateHeads:
        """Heads at `times`."""
        return unpacked(self.states, self.part.equations)


class EscapeMotion(NamedTuple):
    """Small `heads` under G = Σ_d g_d x_d y_dᵀ: `left` x_d and `right` y_d as columns (D, L), `rates` g_d (L,)."""

    heads: SeparateHeads
    left: FloatArray
    rates: FloatArray
    right: FloatArray

    def numbers(self) -> SmallHeads:
        """What the compiled functions read."""
        keys = self.heads.k @ self.left
        queries = self.heads.q @ self.right
        return small_heads(self.heads.v, keys, queries, self.rates)

    def heads_at(self, τ: FloatArray, v: FloatArray) -> SeparateHeads:
        """Heads at τ, in units of 1/g_1, and v, both (..., H)."""
        _, k, q = self.heads
        key = k @ self.left  # (H, R, L)
        query = q @ self.right
        exponents = np.multiply.outer(τ, self.rates / self.rates[0])  # (..., H, L)
        new_key, new_query = grown_entries(key, query, exponents)
        # What lies outside the directions of G stays as it is.
        new_k = k + (new_key - key) @ self.left.T
        new_q = q + (new_query - query) @ self.right.T
        return SeparateHeads(v, new_k, new_q)


@dataclass(frozen=True, eq=False)
class EscapeSegment:
    """Small heads under a constant G, from `start` for `duration`, while the others stay put.

    `initial` and `final`: all heads at the start and the end; `small` (H,): those that move, as `motion` says.
    """

    start: float
    part: Part
    duration: float
    initial: SeparateHeads
    final: SeparateHeads
    small: BoolArray
    motion: EscapeMotion

    @property
    def times(self) -> FloatArray:
        """Both ends."""
        return np.array([0.0, self.duration])

    @cached_property
    def losses(self) -> FloatArray:
        """Loss above the minimum at both ends."""
        equations = self.part.equations
        return excess_of(total_map(self.nodes(), equations.copies), equations)

    def heads(self, times: FloatArray) -> SeparateHeads:
        """Heads at times since the start (T,)."""
        numbers = self.motion.numbers()
        count = len(numbers.v)
        τ = np.zeros((count, len(times)))
        v = np.zeros((count, len(times)))
        order = np.argsort(times, kind="stable")  # paths goes through increasing times
        paths(numbers, np.ascontiguousarray(times[order]), τ, v)
        back = np.argsort(order, kind="stable")
        moved = self.motion.heads_at(τ.T[back], v.T[back] * numbers.largest)

        heads = [np.repeat(block[None], len(times), axis=0) for block in self.initial]
        for block, moved_block in zip(heads, moved, strict=True):
            block[:, self.small] = moved_block
        return SeparateHeads(*heads)

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        equations = self.part.equations
        return excess_of(total_map(self.heads(times), equations.copies), equations)

    def crossings(self, levels: FloatArray) -> FloatArray:
        """As of a `FlowSegment`: rare, as the loss hardly moves."""
        return first_crossings(self.excess, levels, self.duration)

    def nodes(self) -> SeparateHeads:
        """Heads at `times`."""
        ends = zip(self.initial, self.final, strict=True)
        return SeparateHeads(*(np.stack(both) for both in ends))


Segment = FlowSegment | EscapeSegment
