"""How precisely exit times are known, and whether they are determined by the weights or rest on what no run keeps.

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

_LARGEST_CHANGE = (
    1e-3  # relative, of an exit time: what moves further is not determined
)
_ACCURATE = 2e-5  # relative uncertainty of exit times that is good enough
_AT_REST = (
    5e-5  # relative, at most, as measured: what it costs to take slow heads as at rest
)
_MOVED = 1e-9  # relative
_COARSE = Precision(grown=0.03, tolerance=1e-9)
_REFINEMENT = 4.0
_FINEST = 5e-5  # least `grown`: the flow of all heads from there takes seconds already in few dimensions
_LOGARITHMIC = 5.0  # errors that fall as slowly as ln(grown) are so many times the change from 0.03 to 0.02
_SEED = 0


class Outcome(NamedTuple):
    """`exit_times` (n,) in units of the path, and how much of all that can be gained `remains` at the end."""

    exit_times: FloatArray
    remains: float


def precise(follow: Callable[[Precision], Outcome]) -> tuple[Precision, float]:
    """The precision at which exit times stand, and their relative uncertainty.

    While a head is small its map is neglected. What that costs falls as the square of the size from which it
    counts as grown, or hardly at all while small heads, by their maps, fill what others exactly lack.
    ArithmeticError where the finest precision still changes the times.
    """
    precision = Precision()
    outcome = follow(precision)
    uncertainty = _LOGARITHMIC * _change_from(_COARSE, outcome, follow)
    while uncertainty > _ACCURATE and precision.grown > _FINEST:
        precision = precision._replace(grown=precision.grown / _REFINEMENT)
        finer = follow(precision)
        uncertainty = _change(outcome, finer)
        outcome = finer
    if uncertainty > _LARGEST_CHANGE:
        raise ArithmeticError(
            "the staircase is not computed: with another precision an exit time changes by more than 0.1 %, so "
            "that these weights are too close to where the path divides; simulate the flow instead"
        )
    return precision, max(uncertainty, _AT_REST)


def _change_from(
    precision: Precision, outcome: Outcome, follow: Callable[[Precision], Outcome]
) -> float:
    """Relative change of exit times from another precision, infinite where they cannot be computed at that one."""
    try:
        return _change(follow(precision), outcome)
    except ArithmeticError:
        return np.inf


def verdict_on(
    outcome: Outcome, heads: SeparateHeads, follow: Callable[[SeparateHeads], Outcome]
) -> str:
    """What the exit times of `heads`, on the directions that they can learn, rest on."""
    generator = np.random.default_rng(_SEED)
    noise = [_MOVED * generator.standard_normal(part.shape) for part in heads]
    moved = SeparateHeads(
        *(part * (1 + change) for part, change in zip(heads, noise, strict=True))
    )
    if _differs(outcome, moved, follow):
        return EQUAL_HEADS
    if all(np.all(part != 0) for part in heads):
        return DETERMINED
    if _differs(outcome, _filled(heads, noise), follow) or not any(
        np.any(part) for part in heads
    ):
        return EXACT_ZEROS
    return DETERMINED


def _filled(heads: SeparateHeads, noise: Iterable[FloatArray]) -> SeparateHeads:
    """The heads with `noise`, in units of their size, in place of zeros; of the largest size where all is zero."""
    sizes = np.max(
        [np.max(np.abs(part.reshape(len(part), -1)), axis=1) for part in heads], axis=0
    )
    sizes = np.where(sizes > 0, sizes, np.max(sizes))
    return SeparateHeads(
        *(
            np.where(
                part == 0, change * sizes.reshape(-1, *(1,) * (part.ndim - 1)), part
            )
            for part, change in zip(heads, noise, strict=True)
        )
    )


def _differs(
    outcome: Outcome, heads: SeparateHeads, follow: Callable[[SeparateHeads], Outcome]
) -> bool:
    """Whether these heads come to something else than `outcome`, or to nothing that can be computed."""
    try:
        return _change(outcome, follow(heads)) > _LARGEST_CHANGE
    except ArithmeticError:
        return True


def _change(outcome: Outcome, other: Outcome) -> float:
    """Largest relative change of an exit time: infinite where an exit comes or goes, or the end is another."""
    made = np.isfinite(outcome.exit_times)
    if (
        np.any(made != np.isfinite(other.exit_times))
        or abs(outcome.remains - other.remains) > _LARGEST_CHANGE
    ):
        return np.inf
    before, after = outcome.exit_times[made], other.exit_times[made]
    return float(np.max(np.abs(after - before) / np.maximum(before, 1.0), initial=0.0))
