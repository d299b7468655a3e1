"""Stretches of a saddle-to-saddle path: the flow of all heads through a drop, and escapes under a constant G.

Heads, maps and times are in the units and on the directions of the path: `curves.py` turns them into the task's.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
from ...level_crossings import first_crossings
from .drop_flow import Equations, crossing_time, states_at
from .escape_flow import SmallHeads, grown, paths, small_heads
from .escapes import SeparateHeads


class Part(NamedTuple):
    """What is left of a problem: directions `offset` + 1 … D, the others being learned, and the heads `members`.

    `factors`: columns p_d and r_d, (D', D') each, whose products p_d r_dᵀ are learned one by one.
    """

    equations: Equations
    factors: tuple[FloatArray, FloatArray]
    members: NDArray[np.intp]
    offset: int


def packed(heads: SeparateHeads) -> FloatArray:
    """Heads as states (..., n): v (..., H), k and q (..., H, R, D) one after another."""
    leading = heads.v.shape[:-1]
    return np.concatenate([part.reshape(*leading, -1) for part in heads], axis=-1)


def unpacked(states: FloatArray, equations: Equations) -> SeparateHeads:
    """Heads from states (..., n): v (..., H), k and q (..., H, R, D)."""
    count, shape = (
        len(equations.copies),
        (len(equations.copies), equations.pairs, len(equations.lam)),
    )
    v, both = states[..., :count], states[..., count:]
    key, query = np.split(both, 2, axis=-1)
    leading = states.shape[:-1]
    return SeparateHeads(
        v, key.reshape(*leading, *shape), query.reshape(*leading, *shape)
    )


def total_map(heads: SeparateHeads, copies: FloatArray) -> FloatArray:
    """M = Σ_h n_h v_h Σ_r k_hr q_hrᵀ (..., D, D) of heads with any leading axes."""
    D = heads.k.shape[-1]
    weighted = (copies * heads.v)[..., None, None] * heads.k
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
        return unpacked(
            states_at(times, self.times, self.states, self.part.equations)[0],
            self.part.equations,
        )

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        return states_at(times, self.times, self.states, self.part.equations)[1]

    def crossings(self, levels: FloatArray) -> FloatArray:
        """Times since the start (n,) at which the loss above the minimum first passes each of `levels` (n,).

        All must lie above the last loss; 0 where the first is below.
        """
        found = np.zeros(len(levels))
        for number, level in enumerate(levels):
            after = int(np.argmax(self.losses < level))
            if after > 0:
                found[number] = crossing_time(
                    level, after, self.times, self.states, self.part.equations
                )
        return found

    def nodes(self) -> SeparateHeads:
        """Heads at `times`."""
        return unpacked(self.states, self.part.equations)


class Motion(NamedTuple):
    """Small `heads` under the constant Σ_d g_d x_d y_dᵀ: `left` x_d and `right` y_d as columns, `rates` g_d."""

    heads: SeparateHeads
    left: FloatArray
    rates: FloatArray
    right: FloatArray

    def numbers(self) -> SmallHeads:
        """What the compiled functions read."""
        return small_heads(
            self.heads.v,
            self.heads.k @ self.left,
            self.heads.q @ self.right,
            self.rates,
        )

    def at(self, τ: FloatArray, v: FloatArray) -> SeparateHeads:
        """Heads at τ, in units of 1/g_1, and v, both (..., H)."""
        _, k, q = self.heads
        key, query = k @ self.left, q @ self.right
        new_key, new_query = grown(
            key, query, np.multiply.outer(τ, self.rates / self.rates[0])
        )
        return SeparateHeads(
            v, k + (new_key - key) @ self.left.T, q + (new_query - query) @ self.right.T
        )


@dataclass(frozen=True, eq=False)
class EscapeSegment:
    """Small heads under the constant Σ_d g_d x_d y_dᵀ, from `start` for `duration`, while the others stay put.

    `initial` and `final`: all heads at the start and the end; `small` (H,): those that move; `left` x_d and `right`
    y_d as columns (D, L) and `rates` g_d (L,).
    """

    start: float
    part: Part
    duration: float
    initial: SeparateHeads
    final: SeparateHeads
    small: NDArray[np.bool_]
    left: FloatArray
    rates: FloatArray
    right: FloatArray

    @property
    def times(self) -> FloatArray:
        """Both ends."""
        return np.array([0.0, self.duration])

    @cached_property
    def losses(self) -> FloatArray:
        """Loss above the minimum at both ends."""
        return excess_of(
            total_map(self.nodes(), self.part.equations.copies), self.part.equations
        )

    def heads(self, times: FloatArray) -> SeparateHeads:
        """Heads at times since the start (T,)."""
        order = np.argsort(times, kind="stable")
        τ, values = np.zeros((2, np.count_nonzero(self.small), len(times)))
        motion = Motion(
            self.initial.chosen(self.small), self.left, self.rates, self.right
        )
        numbers = motion.numbers()
        paths(numbers, np.ascontiguousarray(times[order]), τ, values)
        back = np.argsort(order, kind="stable")
        moved = motion.at(τ.T[back], values.T[back] * numbers.largest)
        heads = SeparateHeads(
            *(np.repeat(array[None], len(times), axis=0) for array in self.initial)
        )
        for array, new in zip(heads, moved, strict=True):
            array[:, self.small] = new
        return heads

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        equations = self.part.equations
        return excess_of(total_map(self.heads(times), equations.copies), equations)

    def crossings(self, levels: FloatArray) -> FloatArray:
        """As of a `FlowSegment`: rare, as the loss hardly moves."""
        return first_crossings(self.excess, levels, self.duration)

    def nodes(self) -> SeparateHeads:
        """Heads at `times`."""
        return SeparateHeads(
            *(np.stack(ends) for ends in zip(self.initial, self.final, strict=True))
        )


Segment = FlowSegment | EscapeSegment
