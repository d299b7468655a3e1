"""In which order fixed points are listed: every subset of directions by its loss, and equal gains."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain, combinations

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....task import Task
from .....theory.linear_attention.enumeration import FixedPoint, fixed_points
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within

LARGEST_FIRST = "larger subsets first"
BACKWARDS = "numbered from the smallest gain"
APART = "equal gains make separate points"


@dataclass(frozen=True)
class Case:
    """Eigenvalues of Λ and Ω in whole numbers, by decreasing gain and then λ, and the number of heads.

    With one context token and no noise, gains are exact fractions: g_d = μ_d²/(2μ_d + Σ μ) with μ = λω.
    """

    eigenvalues: list[int]
    teachers: list[int]
    heads: int

    @property
    def products(self) -> list[Fraction]:
        """μ_d = λ_d ω_d."""
        pairs = zip(self.eigenvalues, self.teachers, strict=True)
        return [Fraction(λ * ω) for λ, ω in pairs]

    @property
    def gains(self) -> list[Fraction]:
        """Exact gains of the directions."""
        total = sum(self.products)
        return [μ**2 / (2 * μ + total) for μ in self.products]

    @property
    def coefficients(self) -> list[Fraction]:
        """m_d = g_d / (λ_d μ_d)."""
        triples = zip(self.gains, self.eigenvalues, self.products, strict=True)
        return [gain / (λ * μ) for gain, λ, μ in triples]

    def loss(self, subset: Iterable[int]) -> Fraction:
        """c − Σ g_d over the subset, directions from 0, with c = Σ μ."""
        gains = self.gains
        gained = sum((gains[d] for d in subset), Fraction(0))
        return sum(self.products, Fraction(0)) - gained


CASES = (
    # All gains distinct; then equal ones in one group, and in several.
    Case([5, 4, 3, 2, 1], [1, 1, 1, 1, 1], heads=5),
    Case([5, 3, 3, 3, 1], [1, 1, 1, 1, 1], heads=3),
    Case([4, 4, 2, 2, 1, 1], [1, 1, 1, 1, 1, 1], heads=4),
    Case([8, 4, 2, 1, 1], [1, 2, 4, 8, 1], heads=2),
    # Gains that are lost beside the largest, in another order than λ, and unequal by less than doubles tell.
    Case([10**20, 2, 1], [1, 1, 1], heads=3),
    Case([1, 4, 2], [9, 1, 1], heads=3),
    Case([10**16 + 2, 10**16], [1, 1], heads=2),
)


def _enumerated(context: RunContext) -> list[FloatArray]:
    """Every subset in order of its exact loss; of those that equal gains exchange, the one of lowest numbers."""
    return list(chain.from_iterable(_exact_list(case) for case in CASES))


def _exact_list(case: Case) -> list[FloatArray]:
    """Number, continuum and loss of each fixed point; gains and coefficients of its members; greedy losses."""
    gains = case.gains
    points = _exact_points(case)
    members = [d for S in points for d in S]
    greedy = [range(m) for m in range(len(gains) + 1)]
    return [
        np.array([_bitmask(S) for S in points]),
        np.array([1.0 + _is_in_continuum(case, S) for S in points]),
        _floats(case.loss(S) for S in points),
        _floats(gains[d] for d in members),
        _floats(case.coefficients[d] for d in members),
        _floats(case.loss(S) for S in greedy),
    ]


def _exact_points(case: Case) -> list[tuple[int, ...]]:
    """Subsets in order of their loss; of those with the same gains, which are one continuum, the lowest numbers."""
    gains = case.gains
    directions = range(len(gains))
    sizes = range(case.heads + 1)
    subsets = list(chain.from_iterable(combinations(directions, m) for m in sizes))

    # Reversed, so that the lowest numbers overwrite the others.
    by_gains = {tuple(gains[d] for d in S): S for S in reversed(subsets)}
    return sorted(by_gains.values(), key=case.loss)


def _is_in_continuum(case: Case, subset: tuple[int, ...]) -> bool:
    """Whether a learned gain is equal to one that is left out."""
    gains = case.gains
    left_out = {gain for d, gain in enumerate(gains) if d not in subset}
    return any(gains[d] in left_out for d in subset)


def _floats(fractions: Iterable[Fraction]) -> FloatArray:
    return np.array([float(fraction) for fraction in fractions])


def _bitmask(subset: Sequence[int]) -> float:
    """A number, from 1, for each set of directions, from 0."""
    return float(1 + sum(1 << d for d in subset))


def _listed(context: RunContext, control: str) -> list[FloatArray]:
    """The same lists by the theory, or a wrong variant."""
    return list(chain.from_iterable(_stated_list(case, control) for case in CASES))


def _stated_list(case: Case, control: str) -> list[FloatArray]:
    points = _listed_points(case, control)
    subsets = [[d - 1 for d in point.subset] for point in points]
    if control == BACKWARDS:
        last = len(case.eigenvalues) - 1
        subsets = [[last - d for d in S] for S in subsets]
    continuum = [1.0 + point.continuum for point in points]
    if control == APART:
        continuum = [1.0 for _ in points]

    return [
        np.array([_bitmask(S) for S in subsets]),
        np.array(continuum),
        np.array([point.loss for point in points]),
        np.concatenate([point.gains for point in points]),
        np.concatenate([point.coefficients for point in points]),
        points[0].population.greedy_losses,
    ]


def _listed_points(case: Case, control: str) -> list[FixedPoint]:
    """All fixed points of a case as the theory lists them, the best first, or larger subsets first."""
    task = Task(
        eigenvalues=case.eigenvalues,
        teacher_covariance=np.diag(case.teachers),
        context_length=1,
    )
    points = list(fixed_points(task, Separate(heads=case.heads)))
    if control == LARGEST_FIRST:
        points = sorted(points, key=lambda point: -len(point.subset))
    return points


CLAIMS = (
    Claim(
        id="subsets.order",
        title="Fixed points are listed once each by increasing loss, and one for all that equal gains exchange",
        paper="zhang2025",
        equation="losses of the fixed points",
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
