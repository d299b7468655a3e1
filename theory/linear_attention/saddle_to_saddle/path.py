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
from .escape_flow import Ends, first_escape
from .escapes import SeparateHeads
from .path_segments import (
    EscapeMotion,
    EscapeSegment,
    Factors,
    FlowSegment,
    Part,
    Segment,
    packed,
    total_map,
)
from .stiff_drop_flow import MOST_NUMBERS, stiff_drop

# Of an explicit method; most drops take some hundred.
_MOST_STEPS = 20_000
# In units of the slowest rate: what grows from rounding has grown by then.
_PATIENCE = 300.0
# Rate of change of grown heads at a fixed point: about their distance from it. Judged by the motion and not by the
# loss, to which a head that is just below the threshold adds 1e-6.
_STILL = 1e-6
# Rounding: no motion is slower than that.
_LEAST_SPEED = 1e-13
# How far grown heads may move while others escape, unless they only decay to a greedy map.
_DRIFT = 1e-5
# Distance from a greedy map at which there is nothing left but to decay to it.
_NEAR_GREEDY = 1e-5
# Excess loss at the best map of the grown heads, in units of the whole.
_NEAR_BEST = 1e-4
# Small heads with less than this of the learned directions go on without them: errors up to 1e-5 in exit times.
_SEPARATE = 1e-2
# Gains closer than this, in units of the largest, leave open which map is learned.
_TIED = 1e-7
# Of a head in one escape: squares are then far from overflow.
_LARGEST_GROWTH = 1e100
# Of G, in units of the largest growth rate.
_ROUNDING = 1e-13
# Speed limit of heads that pass a fixed point: each time this part of the speed that they had there.
_SLOWER = 0.1

_ENDLESS_DROP = (
    "the staircase is not computed: between two plateaus the heads go on moving for too many times of their fastest "
    "rate, as where gains are nearly equal or weights are large; simulate the flow instead"
)
_NO_ESCAPE = (
    "the staircase is not computed: the escape of a small head could not be integrated"
)


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


class Plateau(NamedTuple):
    """Grown heads (H,) at a fixed point: how they came to it, how fast they still are, and how many pairs."""

    grown: BoolArray
    status: int
    speed: float
    pairs: int


class Directions(NamedTuple):
    """G = Σ_d g_d x_d y_dᵀ: `left` x_d as columns, `rates` g_d decreasing, and `right` y_d as columns."""

    left: FloatArray
    rates: FloatArray
    right: FloatArray


# Long because this is the one loop that goes from plateau to plateau, each line of it a step of the path.
def follow_path(problem: Problem, precision: Precision) -> list[Segment]:
    """The path of the heads of `problem` from flow time 0 until nothing moves any more.

    ArithmeticError if grown heads do not come to a fixed point.
    """
    target = problem.part.equations.target
    final_sizes = np.cbrt(np.linalg.svd(target, compute_uv=False))
    least = final_sizes[len(problem.gains) - 1]  # directions of no gain have none
    threshold = precision.grown * float(least)

    segments = list[Segment]()
    now = 0.0
    still = (
        np.inf
    )  # speed below which grown heads are at a fixed point, if `_STILL` allows more
    while True:
        flows, plateau = _through_drop(problem, now, threshold, still, precision)
        if flows:
            segments += flows
            now = flows[-1].start + flows[-1].duration
            problem = problem._replace(heads=flows[-1].final)
        if _is_over(problem, plateau):
            return segments

        remaining = _without_learned_directions(problem, plateau)
        if remaining is not None:
            problem, still = remaining, np.inf
            continue

        escape = _escape(problem, plateau, now, threshold)
        if escape is None:
            return segments
        slow_enough = max(_DRIFT / escape.duration, _LEAST_SPEED)
        if plateau.speed > slow_enough and not _is_greedy(problem, plateau):
            # The grown heads would drift while others escape: the fixed point is reached, or left, as slowly as that.
            still = max(slow_enough, _SLOWER * plateau.speed)
            continue
        segments.append(escape)
        now += escape.duration
        problem, still = problem._replace(heads=escape.final), np.inf


# -- Drops --------------------------------------------------------------------------------------------------------


def _through_drop(
    problem: Problem, now: float, threshold: float, still: float, precision: Precision
) -> tuple[list[FlowSegment], Plateau]:
    """The flow from `now` until grown heads move slower than `still`, and how they are then."""
    equations = problem.part.equations
    state = packed(problem.heads)
    grown = head_sizes(state, equations) >= threshold
    if not np.any(grown):
        return [], Plateau(grown, SETTLED, 0.0, 0)

    ending = _ending(problem, threshold, still, precision)
    status, flows, speed = _flow_to_rest(now, problem.part, state, ending)
    if status == UNFINISHED:
        raise ArithmeticError(_ENDLESS_DROP)
    grown = head_sizes(flows[-1].states[-1], equations) >= threshold
    pairs = min(int(np.sum(grown)) * equations.pairs, len(problem.gains))
    return flows, Plateau(grown, status, speed, pairs)


def _flow_to_rest(
    now: float, part: Part, state: FloatArray, ending: Ending
) -> tuple[int, list[FlowSegment], float]:
    """The flow from `state`, explicit and then, if need be, implicit: how it ends, and the speed of grown heads."""
    explicit = drop(state, _MOST_STEPS, part.equations, ending)
    flow = FlowSegment(now, part, explicit.times, explicit.states, explicit.losses)
    if explicit.status != UNFINISHED or len(state) > MOST_NUMBERS:
        return explicit.status, [flow], explicit.speed
    implicit = stiff_drop(now + flow.duration, part, flow.states[-1], ending)
    return implicit.status, [flow, *implicit.segments], implicit.speed


def _ending(
    problem: Problem, threshold: float, still: float, precision: Precision
) -> Ending:
    """When a drop of this problem is over."""
    gains = problem.gains
    rates = _growth_rates(problem)
    slow = max(_STILL * np.sqrt(rates[-1] * np.sum(gains)), _LEAST_SPEED)
    speed = min(still, slow)

    best = np.append(np.cumsum(gains[::-1])[::-1], 0.0)  # excess loss of 0 … D pairs
    return Ending(
        grown=threshold,
        still=speed**2,
        patience=_PATIENCE / rates[-1],
        best=best,
        near=_widths_of_minima(gains, _NEAR_BEST * best[0]),
        tolerance=precision.tolerance,
    )


def _widths_of_minima(gains: FloatArray, near_best: float) -> FloatArray:
    """How far above the least excess loss of 0 … D pairs a loss is still near it (D+1,): `near_best` at most."""
    # The next best map of so many pairs exchanges two gains, so that it is a gap away.
    gaps = gains - np.append(gains[1:], 0.0)
    apart = gaps > _TIED * gains[0]
    near = np.where(apart, np.minimum(near_best, 0.1 * gaps), near_best)
    return np.append(near_best, near)


def _growth_rates(problem: Problem) -> FloatArray:
    """Singular values of B = A M* Λ, decreasing, one for each gain."""
    equations = problem.part.equations
    B = equations.A @ equations.target * equations.lam
    return np.asarray(np.linalg.svd(B, compute_uv=False)[: len(problem.gains)])


# -- Plateaus -----------------------------------------------------------------------------------------------------


def _is_over(problem: Problem, plateau: Plateau) -> bool:
    """Whether no head is left that is small, or nothing to learn."""
    all_learned = plateau.status == SETTLED and plateau.pairs == len(problem.gains)
    return bool(np.all(plateau.grown)) or all_learned


def _is_greedy(problem: Problem, plateau: Plateau) -> bool:
    """Whether all heads together make the map of the largest gains, up to what has still to decay."""
    if plateau.status != SETTLED:
        return False
    pairs = plateau.pairs
    gains = np.append(problem.gains, 0.0)
    if pairs > 0 and gains[pairs - 1] - gains[pairs] <= _TIED * gains[0]:
        return False  # at a tie there are many greedy maps
    greedy = problem.part.factors.first(pairs)
    return bool(np.max(np.abs(problem.map - greedy)) <= _NEAR_GREEDY)


def _without_learned_directions(problem: Problem, plateau: Plateau) -> Problem | None:
    """What is left once small heads have next to nothing of the learned directions; None where they have.

    Where Λ and Ω commute the learned directions and the heads that learned them then go on by themselves.
    """
    part = problem.part
    learned = plateau.pairs
    commuting = part.equations.diagonal
    if not commuting or learned == 0 or not _is_greedy(problem, plateau):
        return None
    small = ~plateau.grown
    v, k, q = problem.heads.chosen(small)
    shared = max(np.max(np.abs(k[..., :learned])), np.max(np.abs(q[..., :learned])))
    if shared > _SEPARATE:
        return None

    heads = SeparateHeads(v, k[..., learned:].copy(), q[..., learned:].copy())
    remaining = _part_without(part, learned, small)
    return Problem(remaining, problem.gains[learned:], heads)


def _part_without(part: Part, learned: int, heads: BoolArray) -> Part:
    """The part without its first directions, of some heads (H,)."""
    unlearned = slice(learned, None)
    return Part(
        equations=_restricted_equations(part.equations, unlearned, heads),
        factors=Factors(
            part.factors.keys[unlearned, unlearned],
            part.factors.queries[unlearned, unlearned],
        ),
        members=part.members[heads],
        offset=part.offset + learned,
    )


def _restricted_equations(
    equations: Equations, directions: slice, heads: BoolArray
) -> Equations:
    """The equations of some directions and heads (H,), where A and M* are diagonal."""
    return Equations(
        A=np.ascontiguousarray(equations.A[directions, directions]),
        target=np.ascontiguousarray(equations.target[directions, directions]),
        lam=equations.lam[directions].copy(),
        diagonal=True,
        copies=equations.copies[heads],
        pairs=equations.pairs,
    )


# -- Escapes ------------------------------------------------------------------------------------------------------


def _escape(
    problem: Problem, plateau: Plateau, now: float, threshold: float
) -> EscapeSegment | None:
    """The escape of small heads from `now` until the first has grown; None if none ever does."""
    small = ~plateau.grown
    growing = _growing_directions(problem, plateau)
    if not len(growing.rates):
        return None
    motion = EscapeMotion(problem.heads.chosen(small), *growing)
    numbers = motion.numbers()
    ends = Ends(*np.zeros((2, len(numbers.v))))
    sizes = np.minimum(threshold / numbers.largest, _LARGEST_GROWTH)
    first = first_escape(numbers, sizes, ends)
    if first.head < 0:
        return None
    if np.isnan(first.time):
        raise ArithmeticError(_NO_ESCAPE)

    moved = motion.heads_at(ends.τ, ends.v * numbers.largest)
    return EscapeSegment(
        start=now,
        part=problem.part,
        duration=first.time,
        initial=problem.heads,
        final=_with_heads(problem.heads, small, moved),
        small=small,
        motion=motion,
    )


def _with_heads(
    heads: SeparateHeads, mask: BoolArray, changed: SeparateHeads
) -> SeparateHeads:
    """The heads (H,) with those of the mask changed."""
    copies = [block.copy() for block in heads]
    for block, changed_block in zip(copies, changed, strict=True):
        block[mask] = changed_block
    return SeparateHeads(*copies)


def _growing_directions(problem: Problem, plateau: Plateau) -> Directions:
    """Directions of G along which small heads grow, without those that are rounding, or motion of the grown heads."""
    equations = problem.part.equations
    greedy = _is_greedy(problem, plateau)
    # On a greedy plateau G is exactly zero on what is learned: what is left of it has only to decay.
    M = problem.part.factors.first(plateau.pairs) if greedy else problem.map
    G = equations.A @ (equations.target - M) * equations.lam
    left, rates, right = _singular_directions(G)

    least = _ROUNDING * _growth_rates(problem)[0]
    if not greedy:
        least += 10 * plateau.speed  # G of heads that still move is of the order of it
    growing = rates > least
    return Directions(left[:, growing], rates[growing].copy(), right[:, growing])


def _singular_directions(G: FloatArray) -> Directions:
    """The singular directions of G (D, D); those of the basis itself where G is diagonal."""
    diagonal = np.diag(G)
    if np.count_nonzero(G - np.diag(diagonal)):
        left, rates, right = np.linalg.svd(G)
        return Directions(left, rates, right.T)
    # Exact zeros stay zero only where nothing is rotated.
    order = np.argsort(-np.abs(diagonal), kind="stable")
    basis = np.eye(len(G))[:, order]
    signs = np.where(diagonal[order] < 0, -1.0, 1.0)
    return Directions(basis * signs, np.abs(diagonal[order]), basis)
