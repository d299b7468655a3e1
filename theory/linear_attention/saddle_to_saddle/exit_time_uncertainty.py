"""How precisely exit times are known, and whether the weights determine them or they rest on what no run preserves.

The path is followed at finer and finer precision until its exit times stand. Then it is followed with every
nonzero weight moved by a relative 1e-9, and with 1e-9 of their head's size in place of exact zeros. Exact
arithmetic keeps equal heads equal, zeros zero and a head on a ridge of its potential there, for ever; rounding, or
a finite step, does not.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from .escapes import SeparateHeads
from .exit_time_verdicts import DETERMINED, EQUAL_HEADS, EXACT_ZEROS
from .path import Precision

# Relative, of an exit time: what moves further is not determined.
_LARGEST_CHANGE = 1e-3
# Relative uncertainty of exit times that is good enough.
_ACCURATE = 2e-5
# Relative, at most, as measured: what it costs to take slow heads as at rest.
_AT_REST = 5e-5
# Relative change of a weight: far above rounding, far below what a run would resolve.
_MOVED = 1e-9
_COARSE = Precision(grown=0.03, tolerance=1e-9)
_REFINEMENT = 4.0
# Least `grown`: the flow of all heads from there takes seconds already in few dimensions.
_FINEST = 5e-5
# Errors that fall as slowly as ln(grown) are so many times the change from 0.03 to 0.02.
_LOGARITHMIC = 5.0
_SEED = 0

_NOT_DETERMINED = (
    "the staircase is not computed: with another precision an exit time changes by more than 0.1 %, so that these "
    "weights are too close to where the path divides; simulate the flow instead"
)


class Outcome(NamedTuple):
    """`exit_times` (n,) in units of the path, and how much of all that can be gained `remains` at the end."""

    exit_times: FloatArray
    remains: float


class PreciseOutcome(NamedTuple):
    """The precision at which exit times stand, and their relative uncertainty."""

    precision: Precision
    uncertainty: float


def precise_outcome(outcome_at: Callable[[Precision], Outcome]) -> PreciseOutcome:
    """The precision at which the exit times of `outcome_at` stand, and their relative uncertainty.

    While a head is small its map is neglected. What that costs falls as the square of the size from which it
    counts as grown, or hardly at all while small heads, by their maps, fill what others exactly lack.
    ArithmeticError where the finest precision still changes the times.
    """
    precision = Precision()
    outcome = outcome_at(precision)
    uncertainty = _LOGARITHMIC * _change_from_coarse(outcome, outcome_at)
    while uncertainty > _ACCURATE and precision.grown > _FINEST:
        precision = precision._replace(grown=precision.grown / _REFINEMENT)
        finer = outcome_at(precision)
        uncertainty = _change(outcome, finer)
        outcome = finer
    if uncertainty > _LARGEST_CHANGE:
        raise ArithmeticError(_NOT_DETERMINED)
    return PreciseOutcome(precision, max(uncertainty, _AT_REST))


def _change_from_coarse(
    outcome: Outcome, outcome_at: Callable[[Precision], Outcome]
) -> float:
    """Relative change of exit times from a coarser precision, infinite where they cannot be computed at that one."""
    try:
        return _change(outcome_at(_COARSE), outcome)
    except ArithmeticError:
        return np.inf


def verdict_on(
    outcome: Outcome,
    heads: SeparateHeads,
    outcome_of: Callable[[SeparateHeads], Outcome],
) -> str:
    """What the exit times of `heads`, on the directions that they can learn, rest on."""
    generator = np.random.default_rng(_SEED)
    noise = [_MOVED * generator.standard_normal(block.shape) for block in heads]
    blocks = zip(heads, noise, strict=True)
    moved = SeparateHeads(*(block * (1 + change) for block, change in blocks))
    if _differs(outcome, moved, outcome_of):
        return EQUAL_HEADS
    if all(np.all(block != 0) for block in heads):
        return DETERMINED
    nothing_moves = not any(np.any(block) for block in heads)
    if nothing_moves or _differs(outcome, _filled(heads, noise), outcome_of):
        return EXACT_ZEROS
    return DETERMINED


def _filled(heads: SeparateHeads, noise: Iterable[FloatArray]) -> SeparateHeads:
    """The heads with `noise`, in units of their size, in place of zeros; of the largest size where all is zero."""
    largest = [np.max(np.abs(block.reshape(len(block), -1)), axis=1) for block in heads]
    sizes = np.max(largest, axis=0)  # (H,)
    sizes = np.where(sizes > 0, sizes, np.max(sizes))
    blocks = []
    for block, change in zip(heads, noise, strict=True):
        size = sizes.reshape(-1, *(1,) * (block.ndim - 1))
        blocks.append(np.where(block == 0, change * size, block))
    return SeparateHeads(*blocks)


def _differs(
    outcome: Outcome,
    heads: SeparateHeads,
    outcome_of: Callable[[SeparateHeads], Outcome],
) -> bool:
    """Whether these heads come to something else than `outcome`, or to nothing that can be computed."""
    try:
        return _change(outcome, outcome_of(heads)) > _LARGEST_CHANGE
    except ArithmeticError:
        return True


def _change(outcome: Outcome, other: Outcome) -> float:
    """Largest relative change of an exit time: infinite where an exit comes or goes, or the end is another."""
    made = np.isfinite(outcome.exit_times)
    if np.any(made != np.isfinite(other.exit_times)):
        return np.inf
    if abs(outcome.remains - other.remains) > _LARGEST_CHANGE:
        return np.inf
    before = outcome.exit_times[made]
    after = other.exit_times[made]
    # Times below 1 are those of a drop that is under way at the start: absolute, in units of the fastest rate.
    changes = np.abs(after - before) / np.maximum(before, 1.0)
    return float(np.max(changes, initial=0.0))
