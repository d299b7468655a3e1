"""In which order fixed points come: every subset of directions by its loss, and equal gains."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import chain, combinations

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....task import Task
from .....theory import fixed_points
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within

LARGEST_FIRST = "larger subsets first"
BACKWARDS = "numbered from the smallest gain"
APART = "equal gains make separate points"

EXACT: tuple[tuple[list[int], list[int], int], ...] = (
    ([5, 4, 3, 2, 1], [1, 1, 1, 1, 1], 5),
    ([5, 3, 3, 3, 1], [1, 1, 1, 1, 1], 3),
    ([4, 4, 2, 2, 1, 1], [1, 1, 1, 1, 1, 1], 4),
    ([8, 4, 2, 1, 1], [1, 2, 4, 8, 1], 2),
    ([10**20, 2, 1], [1, 1, 1], 3),
    ([1, 4, 2], [9, 1, 1], 3),
    ([10**16 + 2, 10**16], [1, 1], 2),
)
"""λ and ω in whole numbers by decreasing gain, then λ, and H: alone, in groups, lost beside the largest, in
another order than λ, and unequal by less than doubles tell."""


def _enumerated(context: RunContext) -> list[FloatArray]:
    """Every subset in order of its exact loss; of those that equal gains exchange, the one of lowest numbers."""
    found = []
    for λ, ω, heads in EXACT:
        μ = [Fraction(x * y) for x, y in zip(λ, ω, strict=True)]
        gains = [each**2 / (2 * each + sum(μ)) for each in μ]
        choices = list(
            chain.from_iterable(
                combinations(range(len(λ)), size) for size in range(heads + 1)
            )
        )
        lowest = {
            tuple(gains[d] for d in subset): subset for subset in reversed(choices)
        }
        order = sorted(
            lowest.values(), key=lambda subset: -sum(gains[d] for d in subset)
        )
        rest = [
            {gains[e] for e in range(len(λ)) if e not in subset} for subset in order
        ]
        members = [d for subset in order for d in subset]
        found += [
            np.array([_number(subset) for subset in order]),
            np.array(
                [
                    1.0 + any(gains[d] in left for d in subset)
                    for subset, left in zip(order, rest, strict=True)
                ]
            ),
            np.array(
                [float(sum(μ) - sum(gains[d] for d in subset)) for subset in order]
            ),
            np.array([float(gains[d]) for d in members]),
            np.array([float(gains[d] / (λ[d] * μ[d])) for d in members]),
            np.array([float(sum(μ) - sum(gains[:m])) for m in range(len(gains) + 1)]),
        ]
    return found


def _number(subset: Sequence[int]) -> float:
    """A number for each set of directions, from 0."""
    return float(1 + sum(1 << d for d in subset))


def _listed(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for λ, ω, heads in EXACT:
        task = Task(eigenvalues=λ, teacher_covariance=np.diag(ω), context_length=1)
        points = list(fixed_points(task, Separate(heads=heads)))
        if control == LARGEST_FIRST:
            points = sorted(points, key=lambda point: -len(point.subset))
        last = len(λ) if control == BACKWARDS else 0
        apart = control == APART
        found += [
            np.array(
                [
                    _number([last - d if last else d - 1 for d in point.subset])
                    for point in points
                ]
            ),
            np.array([1.0 + (point.continuum and not apart) for point in points]),
            np.array([point.loss for point in points]),
            np.concatenate([point.gains for point in points]),
            np.concatenate([np.asarray(point.coefficients) for point in points]),
            points[0].population.greedy_losses,
        ]
    return found


CLAIMS = (
    Claim(
        id="subsets.order",
        title="Fixed points come by increasing loss, each once, and one for all that equal gains exchange",
        source="Zhang et al. 2025, losses of the fixed points",
        statement=r"L(M_S) = c - \textstyle\sum_{d\in S} g_d,\quad |S| \le H",
        observable="all subsets sorted by loss in exact arithmetic; up to six directions, equal gains, few heads",
        limit="none: exact",
        measure=_enumerated,
        predict=_listed,
        judge=equal_within(
            1e-12,
            axes=(
                "fixed point",
                "subset, continuum, loss, gain, coefficient, greedy loss",
            ),
        ),
        controls=(LARGEST_FIRST, BACKWARDS, APART),
        tier="fast",
    ),
)
