"""Drops in which fast and slow motions lie far apart: the same flow by an implicit method.

Where weights are large, or gains nearly equal, the fast rates of a drop limit the steps of an explicit method
although nothing moves at that pace. Here LSODA (Petzold 1983, SIAM J. Sci. Stat. Comput. 4) takes over.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

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

# In units of the fastest rate: each segment is twice as long as the one before.
_FIRST_SPAN = 1e2
_LAST_SPAN = 1e15
# Some seconds; LSODA needs a few thousand where it gets on.
_MOST_EVALUATIONS = 300_000
# Errors of looser steps, times the fastest rate, would pass for motion.
_TOLERANCE = 1e-11


@dataclass(frozen=True, eq=False)
class StiffSegment(FlowSegment):
    """A `FlowSegment` whose states between the recorded ones are those of the solver: `at` (T,) → (n, T)."""

    at: Callable[[FloatArray], FloatArray]

    def heads(self, times: FloatArray) -> SeparateHeads:
        """Heads at times since the start (T,)."""
        return unpacked(self.at(times).T, self.part.equations)

    def excess(self, times: FloatArray) -> FloatArray:
        """Loss above the minimum at times since the start (T,)."""
        equations = self.part.equations
        return excess_of(total_map(self.heads(times), equations.copies), equations)

    def crossings(self, levels: FloatArray) -> FloatArray:
        """Times since the start (n,) at which the loss above the minimum passes each of `levels` (n,)."""
        return first_crossings(self.excess, levels, self.duration)


class StiffDrop(NamedTuple):
    """How a drop ends, the segments that it goes through, and the last rate of change of the grown heads."""

    status: int
    segments: list[FlowSegment]
    speed: float


class Motion(NamedTuple):
    """Whether the grown heads are slow, whether they make the best map of their number, and their rate of change."""

    slow: bool
    best: bool
    speed: float


def stiff_drop(
    start: float, part: Part, state: FloatArray, ending: Ending
) -> StiffDrop:
    """The flow from `state` (n,) at flow time `start` until the grown heads are at a fixed point."""
    segments = list[FlowSegment]()
    now = start
    slow_before = False
    span = _FIRST_SPAN
    while span < _LAST_SPAN:
        segment = _stiff_segment(now, part, state, span)
        if segment is None:
            break
        segments.append(segment)
        now += segment.duration
        state = segment.states[-1]

        motion = _motion(part.equations, state, float(segment.losses[-1]), ending)
        if motion.slow and motion.best:
            return StiffDrop(SETTLED, segments, motion.speed)
        if motion.slow and slow_before and span >= ending.patience:
            return StiffDrop(STUCK, segments, motion.speed)
        slow_before = motion.slow
        span *= 2
    return StiffDrop(UNFINISHED, segments, np.inf)


def _motion(
    equations: Equations, state: FloatArray, loss: float, ending: Ending
) -> Motion:
    """How the grown heads move in a state (n,) with this excess loss."""
    grown = head_sizes(state, equations) >= ending.grown
    pairs = int(np.count_nonzero(grown)) * equations.pairs
    learned = min(pairs, len(ending.best) - 1)
    slope = np.zeros(len(state))
    velocity(state, equations, workspace(len(equations.lam), len(state)), slope)
    rate = squared_rate(state, slope, grown, equations)
    is_best = learned > 0 and loss - ending.best[learned] <= ending.near[learned]
    return Motion(bool(rate <= ending.still), bool(is_best), float(np.sqrt(rate)))


def _stiff_segment(
    start: float, part: Part, state: FloatArray, span: float
) -> StiffSegment | None:
    """The flow from `state` for `span`; None where it takes too long."""
    equations = part.equations
    space = workspace(len(equations.lam), len(state))
    evaluations = 0

    def slope(_: float, x: FloatArray) -> FloatArray:
        nonlocal evaluations
        evaluations += 1
        if evaluations > _MOST_EVALUATIONS:
            raise TimeoutError
        dx_dt = np.zeros(len(x))
        velocity(np.ascontiguousarray(x), equations, space, dx_dt)
        return dx_dt

    try:
        path = _lsoda(slope, span, state, error_floor(state, equations, _TOLERANCE))
    except TimeoutError:
        return None
    if not path.success:
        return None
    states = np.ascontiguousarray(path.y.T)
    maps = total_map(unpacked(states, equations), equations.copies)
    losses = excess_of(maps, equations)
    return StiffSegment(start, part, path.t, states, losses, path.sol)


def _lsoda(
    slope: Callable[[float, FloatArray], FloatArray],
    span: float,
    state: FloatArray,
    floor: FloatArray,
) -> Any:
    """Scipy's solution from `state` (n,) for `span`."""
    from scipy.integrate import solve_ivp

    with warnings.catch_warnings():
        # LSODA warns where it fails, which `success` tells as well.
        warnings.filterwarnings("ignore", message="lsoda:")
        return solve_ivp(
            slope,
            (0.0, span),
            state,
            method="LSODA",
            rtol=_TOLERANCE,
            atol=floor,
            dense_output=True,
        )
