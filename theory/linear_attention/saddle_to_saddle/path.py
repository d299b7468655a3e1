"""The saddle-to-saddle path of separate heads: exact escapes, and the flow of all heads between them.

A head is *grown* once the others can feel its map, and *small* before. While no other head grows, those that have
stay at a fixed point, and the small ones escape it under a constant G, each for itself. From the time that one of
them has grown all heads follow gradient flow, until the grown ones are at a fixed point again. Ties, heads that
share a direction, rotations and non-greedy fixed points on the way need no case of their own.
"""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import BoolArray, FloatArray
from .drop_flow import SETTLED, UNFINISHED, Ending, Equations, drop, head_sizes
from .escape_flow import first_to_reach
from .escapes import SeparateHeads
from .path_segments import (
    EscapeSegment,
    FlowSegment,
    Motion,
    Part,
    Segment,
    packed,
    total_map,
)
from .stiff_drop_flow import MOST_NUMBERS, stiff_drops

_MOST_STEPS = 20_000  # of an explicit method; most drops take some hundred
_PATIENCE = (
    300.0  # in units of the slowest rate: what grows from rounding has grown by then
)
_STILL = (
    1e-6  # rate of change of grown heads at a fixed point: about their distance from it
)
_LEAST_SPEED = 1e-13  # rounding
_DRIFT = 1e-5  # how far grown heads may move while others escape, unless they only decay to a greedy map
_NEAR_GREEDY = (
    1e-5  # distance from a greedy map at which there is nothing left but to decay to it
)
_NEAR_BEST = (
    1e-4  # excess loss at the best map of the grown heads, in units of the whole
)
_SEPARATE = (
    1e-2  # small heads with less than this of the learned directions go on without them
)
_TIED = 1e-7  # gains closer than this, in units of the largest, leave open which map is learned
_LARGEST_GROWTH = 1e100  # of a head in one escape: squares are then far from overflow
_ROUNDED = 1e-13  # of G, in units of the largest growth rate


class Precision(NamedTuple):
    """`grown`: size from which a head counts as grown, in units of the least final one; `tolerance` of a step."""

    grown: float = 0.02
    tolerance: float = 1e-10


class Problem(NamedTuple):
    """What is left to learn: a part of the directions and heads, its `gains` (D',) and the heads as they are."""

    part: Part
    gains: FloatArray
    heads: SeparateHeads

    @property
    def map(self) -> FloatArray:
        """M (D', D') of all its heads."""
        return total_map(self.heads, self.part.equations.copies)


class Rest(NamedTuple):
    """Grown heads (H,) at a fixed point: how they came to it, how fast they still are, and how many pairs."""

    grown: BoolArray
    status: int
    speed: float
    pairs: int


def follow(problem: Problem, precision: Precision) -> list[Segment]:
    """The path of the heads of `problem` from flow time 0 until nothing moves any more.

    ArithmeticError if grown heads do not come to a fixed point.
    """
    final_sizes = np.cbrt(
        np.linalg.svd(problem.part.equations.target, compute_uv=False)
    )
    threshold, now, segments = (
        precision.grown * float(final_sizes[-1]),
        0.0,
        list[Segment](),
    )
    still = np.inf
    while True:
        flows, rest = _through_drop(problem, now, threshold, still, precision)
        if flows:
            segments += flows
            now, problem = (
                flows[-1].start + flows[-1].duration,
                problem._replace(heads=flows[-1].final),
            )
        if _is_over(problem, rest):
            return segments
        reduced = _without_learned(problem, rest)
        if reduced is not None:
            problem, still = reduced, np.inf
            continue
        escape = _escape(problem, rest, now, threshold)
        if escape is None:
            return segments
        slow_enough = max(_DRIFT / escape.duration, _LEAST_SPEED)
        if rest.speed > slow_enough and not _is_greedy(problem, rest):
            still = max(
                slow_enough, 0.1 * rest.speed
            )  # a fixed point that is reached, or left, as slowly as that
            continue
        segments.append(escape)
        now, problem, still = (
            now + escape.duration,
            problem._replace(heads=escape.final),
            np.inf,
        )


def _through_drop(
    problem: Problem, now: float, threshold: float, still: float, precision: Precision
) -> tuple[list[FlowSegment], Rest]:
    """The flow from `now` until grown heads move slower than `still`, and how they are then."""
    state, equations = packed(problem.heads), problem.part.equations
    large = head_sizes(state, equations) >= threshold
    if not np.any(large):
        return [], Rest(large, SETTLED, 0.0, 0)
    ending = _ending(problem, threshold, still, precision)
    status, times, states, losses, speed = drop(state, _MOST_STEPS, equations, ending)
    flows, last = [FlowSegment(now, problem.part, times, states, losses)], states[-1]
    if status == UNFINISHED and len(state) <= MOST_NUMBERS:
        status, more, last, speed = stiff_drops(
            now + flows[0].duration, problem.part, last, ending
        )
        flows += more
    if status == UNFINISHED:
        raise ArithmeticError(
            "the staircase is not computed: between two plateaus the heads go on moving for too many times of "
            "their fastest rate, as where gains are nearly equal or weights are large; simulate the flow instead"
        )
    large = head_sizes(last, equations) >= threshold
    pairs = min(int(np.sum(large)) * equations.pairs, len(problem.gains))
    return flows, Rest(large, status, speed, pairs)


def _ending(
    problem: Problem, threshold: float, still: float, precision: Precision
) -> Ending:
    rates, gains = _growth_rates(problem.part.equations), problem.gains
    speed = min(still, max(_STILL * np.sqrt(rates[-1] * np.sum(gains)), _LEAST_SPEED))
    best = np.append(np.cumsum(gains[::-1])[::-1], 0.0)
    gaps = gains - np.append(gains[1:], 0.0)
    whole = _NEAR_BEST * best[0]
    near = np.where(gaps > _TIED * gains[0], np.minimum(whole, 0.1 * gaps), whole)
    return Ending(
        threshold,
        speed**2,
        _PATIENCE / rates[-1],
        best,
        np.append(whole, near),
        precision.tolerance,
    )


def _growth_rates(equations: Equations) -> FloatArray:
    """Singular values of B = A M* Λ, decreasing."""
    return np.asarray(
        np.linalg.svd(equations.A @ equations.target * equations.lam, compute_uv=False)
    )


def _is_over(problem: Problem, rest: Rest) -> bool:
    """Whether no head is left that is small, or nothing to learn."""
    return bool(np.all(rest.grown)) or (
        rest.status == SETTLED and rest.pairs == len(problem.gains)
    )


def _greedy_map(problem: Problem, rest: Rest) -> FloatArray:
    keys, queries = problem.part.factors
    return np.asarray(keys[:, : rest.pairs] @ queries[:, : rest.pairs].T)


def _is_greedy(problem: Problem, rest: Rest) -> bool:
    """Whether all heads together make the map of the largest gains, up to what has still to decay."""
    gains, pairs = np.append(problem.gains, 0.0), rest.pairs
    if rest.status != SETTLED or (
        pairs > 0 and gains[pairs - 1] - gains[pairs] <= _TIED * gains[0]
    ):
        return False
    distance = np.max(np.abs(problem.map - _greedy_map(problem, rest)))
    return bool(distance <= _NEAR_GREEDY)


def _without_learned(problem: Problem, rest: Rest) -> Problem | None:
    """What is left once small heads have next to nothing of the learned directions; None where they have.

    Where Λ and Ω commute the learned directions and the heads that hold them then go on by themselves.
    """
    part, heads = problem.part, problem.heads
    equations, learned = part.equations, rest.pairs
    if not equations.diagonal or learned == 0 or not _is_greedy(problem, rest):
        return None
    small = ~rest.grown
    shared = max(
        np.max(np.abs(array[small][..., :learned])) for array in (heads.k, heads.q)
    )
    if shared > _SEPARATE:
        return None
    left = slice(learned, None)
    rest_equations = Equations(
        np.ascontiguousarray(equations.A[left, left]),
        np.ascontiguousarray(equations.target[left, left]),
        equations.lam[left].copy(),
        True,
        equations.copies[small],
        equations.pairs,
    )
    keys, queries = part.factors
    factors = keys[left, left], queries[left, left]
    new = Part(rest_equations, factors, part.members[small], part.offset + learned)
    v, k, q = heads.chosen(small)
    return Problem(
        new,
        problem.gains[left],
        SeparateHeads(v, k[..., left].copy(), q[..., left].copy()),
    )


def _escape(
    problem: Problem, rest: Rest, now: float, threshold: float
) -> EscapeSegment | None:
    """The escape of small heads from `now` until the first has grown; None if none ever does."""
    equations, small = problem.part.equations, ~rest.grown
    greedy = _is_greedy(problem, rest)
    resting = _greedy_map(problem, rest) if greedy else problem.map
    left, rates, right = _singular_directions(
        equations.A @ (equations.target - resting) * equations.lam
    )
    least = _ROUNDED * _growth_rates(equations)[0] + (
        0.0 if greedy else 10 * rest.speed
    )
    kept = rates > least
    if not np.any(kept):
        return None
    motion = Motion(
        problem.heads.chosen(small), left[:, kept], rates[kept].copy(), right[:, kept]
    )
    numbers = motion.numbers()
    τ, values = np.zeros((2, len(numbers.v)))
    sizes = np.minimum(threshold / numbers.largest, _LARGEST_GROWTH)
    duration, first = first_to_reach(numbers, sizes, τ, values)
    if first < 0:
        return None
    if np.isnan(duration):
        raise ArithmeticError(
            "the staircase is not computed: the escape of a small head could not be integrated"
        )
    final = SeparateHeads(*(array.copy() for array in problem.heads))
    for array, moved in zip(final, motion.at(τ, values * numbers.largest), strict=True):
        array[small] = moved
    return EscapeSegment(
        now, problem.part, duration, problem.heads, final, small, *motion[1:]
    )


def _singular_directions(G: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """x_d as columns, g_d and y_d as columns; those of the basis itself where G is diagonal."""
    diagonal = np.diag(G)
    if np.count_nonzero(G - np.diag(diagonal)):
        left, rates, right = np.linalg.svd(G)
        return left, rates, right.T
    order = np.argsort(-np.abs(diagonal), kind="stable")
    basis = np.eye(len(G))[:, order]
    return (
        basis * np.where(diagonal[order] < 0, -1.0, 1.0),
        np.abs(diagonal[order]),
        basis,
    )
