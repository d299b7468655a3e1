"""Drops in which fast and slow motions lie far apart: the same flow by an implicit method.

Where weights are large, or gains nearly equal, the fast rates of a drop limit the steps of an explicit method
although nothing moves at that pace. Here LSODA (Petzold 1983, SIAM J. Sci. Stat. Comput. 4) takes over.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ....runtime.arrays import FloatArray
from ...level_crossings import first_crossings
from .drop_flow import (
    SETTLED,
    STUCK,
    UNFINISHED,
    Ending,
    Equations,
    error_floor,
    head_sizes,
    squared_rate,
    velocity,
    workspace,
)
from .escapes import SeparateHeads
from .path_segments import FlowSegment, Part, excess_of, total_map, unpacked

MOST_NUMBERS = 400
"""Unknowns up to which an implicit step, whose cost is their cube, is worth while."""
_FIRST_SPAN, _LAST_SPAN = 1e2, 1e15  # in units of the fastest rate
_MOST_EVALUATIONS = 300_000
_TOLERANCE = (
    1e-11  # errors of looser steps, times the fastest rate, would pass for motion
)


@dataclass(frozen=True, eq=False)
class StiffSegment(FlowSegment):
    """A `FlowSegment` whose states between the recorded ones are those of the solver: `at` (T,) → (n, T)."""

    at: Callable[[FloatArray], FloatArray]

    def heads(self, times: FloatArray) -> SeparateHeads:
        """Heads at times since the start (T,)."""
        return unpacked(self.at(times).T, self.part.equations)

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        return excess_of(
            total_map(self.heads(times), self.part.equations.copies),
            self.part.equations,
        )

    def crossings(self, levels: FloatArray) -> FloatArray:
        """Times since the start (n,) at which the loss above the minimum passes each of `levels` (n,)."""
        return first_crossings(self.excess, levels, self.duration)


def stiff_drops(
    now: float, part: Part, state: FloatArray, ending: Ending
) -> tuple[int, list[FlowSegment], FloatArray, float]:
    """The flow from `state` at `now` until the grown heads are at a fixed point.

    Returns how it ends, what it goes through, the last state (n,) and the speed of the grown heads then.
    """
    segments, span, slow_before = list[FlowSegment](), _FIRST_SPAN, False
    while span < _LAST_SPAN:
        segment = _stiff_segment(now, part, state, span)
        if segment is None:
            break
        segments.append(segment)
        now, state = now + segment.duration, segment.states[-1]
        slow, best, speed = _standing(
            part.equations, state, float(segment.losses[-1]), ending
        )
        if slow and (best or (slow_before and span >= ending.patience)):
            return SETTLED if best else STUCK, segments, state, speed
        slow_before, span = slow, 2 * span
    return UNFINISHED, segments, state, np.inf


def _standing(
    equations: Equations, state: FloatArray, loss: float, ending: Ending
) -> tuple[bool, bool, float]:
    """Whether the grown heads are slow, whether they make the best map of their number, and their rate of
    change."""
    grown = head_sizes(state, equations) >= ending.grown
    learned = min(int(np.count_nonzero(grown)) * equations.pairs, len(ending.best) - 1)
    slope = np.zeros(len(state))
    velocity(state, equations, workspace(len(equations.lam), len(state)), slope)
    square = squared_rate(state, slope, grown, equations)
    best = learned > 0 and loss - ending.best[learned] <= ending.near[learned]
    return bool(square <= ending.still), bool(best), float(np.sqrt(square))


def _stiff_segment(
    now: float, part: Part, state: FloatArray, span: float
) -> StiffSegment | None:
    """The flow from `state` for `span`; None where it takes too long."""
    from scipy.integrate import solve_ivp

    equations, space = part.equations, workspace(len(part.equations.lam), len(state))
    left = _MOST_EVALUATIONS

    def slope(_: float, x: FloatArray) -> FloatArray:
        nonlocal left
        left -= 1
        if left < 0:
            raise TimeoutError
        rate = np.zeros(len(x))
        velocity(np.ascontiguousarray(x), equations, space, rate)
        return rate

    floor = error_floor(state, equations, _TOLERANCE)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="lsoda:"
        )  # that it failed: asked for below
        try:
            path = solve_ivp(
                slope,
                (0.0, span),
                state,
                method="LSODA",
                rtol=_TOLERANCE,
                atol=floor,
                dense_output=True,
            )
        except TimeoutError:
            return None
    if not path.success:
        return None
    states = np.ascontiguousarray(path.y.T)
    losses = excess_of(
        total_map(unpacked(states, equations), equations.copies), equations
    )
    return StiffSegment(now, part, path.t, states, losses, path.sol)
