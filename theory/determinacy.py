"""Whether exit times are determined by the weights, or rest on what no simulation keeps.

The path is followed again with another precision, with every nonzero weight moved by a relative 10⁻⁹, and with
10⁻⁹ of their head's size in place of exact zeros. Exact arithmetic keeps equal heads equal, zeros zero and a head
on a ridge of its potential there, for ever; rounding, or a finite step, does not.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .idle import SeparateHeads
from .phases import Precision
from .verdicts import DETERMINED, EQUAL_HEADS, EXACT_ZEROS

FloatArray = NDArray[np.float64]

_LARGEST_CHANGE = 1e-3  # relative, of an exit time: what moves further is not determined
_MOVED = 1e-9  # relative
_OTHER_PRECISION = Precision(grown=0.03, tolerance=1e-9)
_SEED = 0


class Outcome(NamedTuple):
    """`exit_times` (n,) in units of the path, and how much of all that can be gained `remains` at the end."""

    exit_times: FloatArray
    remains: float


Follow = Callable[[SeparateHeads, Precision], Outcome]
"""What heads come to at a precision."""


@dataclass(frozen=True)
class Determinacy:
    """`verdict` on exit times, and their `uncertainty`: relative, as another precision changes them."""

    verdict: str
    uncertainty: float


def determinacy(outcome: Outcome, heads: SeparateHeads, follow: Follow) -> Determinacy:
    """The `Determinacy` of what `heads`, on the directions that they can learn, come to.

    ArithmeticError where another precision gives other times.
    """
    uncertainty = _change(outcome, follow(heads, _OTHER_PRECISION))
    if uncertainty > _LARGEST_CHANGE:
        raise ArithmeticError(
            "the staircase is not computed: with another precision an exit time changes by more than 0.1 %, so "
            "that these weights are too close to where the path divides; simulate the flow instead"
        )
    generator = np.random.default_rng(_SEED)
    noise = [_MOVED * generator.standard_normal(part.shape) for part in heads]
    moved = SeparateHeads(*(part * (1 + change) for part, change in zip(heads, noise, strict=True)))
    if _differs(outcome, moved, follow):
        return Determinacy(EQUAL_HEADS, uncertainty)
    if all(np.all(part != 0) for part in heads):
        return Determinacy(DETERMINED, uncertainty)
    if _differs(outcome, _filled(heads, noise), follow) or not any(np.any(part) for part in heads):
        return Determinacy(EXACT_ZEROS, uncertainty)
    return Determinacy(DETERMINED, uncertainty)


def _filled(heads: SeparateHeads, noise: Iterable[FloatArray]) -> SeparateHeads:
    """The heads with `noise`, in units of their size, in place of zeros; of the largest size where all is zero."""
    sizes = np.max([np.max(np.abs(part.reshape(len(part), -1)), axis=1) for part in heads], axis=0)
    sizes = np.where(sizes > 0, sizes, np.max(sizes))
    return SeparateHeads(
        *(
            np.where(part == 0, change * sizes.reshape(-1, *(1,) * (part.ndim - 1)), part)
            for part, change in zip(heads, noise, strict=True)
        )
    )


def _differs(outcome: Outcome, heads: SeparateHeads, follow: Follow) -> bool:
    try:
        return _change(outcome, follow(heads, Precision())) > _LARGEST_CHANGE
    except ArithmeticError:
        return True


def _change(outcome: Outcome, other: Outcome) -> float:
    """Largest relative change of an exit time: infinite where an exit comes or goes, or the end is another."""
    made = np.isfinite(outcome.exit_times)
    if np.any(made != np.isfinite(other.exit_times)) or abs(outcome.remains - other.remains) > _LARGEST_CHANGE:
        return np.inf
    before, after = outcome.exit_times[made], other.exit_times[made]
    return float(np.max(np.abs(after - before) / np.maximum(before, 1.0), initial=0.0))
