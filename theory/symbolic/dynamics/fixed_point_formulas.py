"""Fixed points of gradient flow in symbols: solved from the derived loss where Λ and Ω share their eigenvectors."""

from collections.abc import Container, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations, islice
from math import comb
from typing import overload

import sympy as sp

from ....models.attention import Merged, Separate
from ....models.protocol import Parametrization
from ....runtime.display import Summary
from ..algebra.polynomials import Element
from ..formulas.typeset_results import (
    MAX_FORMULAS,
    TypesetResult,
    short_text,
    typeset,
)
from ..loss.population_losses import output_loss, token_products
from ..task import Expr, Prompt, SymbolicTask, require_symbolic_task


@dataclass(frozen=True, eq=False)
class Direction:
    """What learning one eigenvector of Λ means: `coefficient` m_d of M, `gain` g_d that is taken off the loss."""

    coefficient: Expr
    gain: Expr


@dataclass(frozen=True, eq=False, repr=False)
class SymbolicFixedPoint(TypesetResult):
    """A map M_S at which the population gradient of the weights vanishes, with exact numbers.

    `subset` S numbers directions from 1 as the task numbers its λ_d: symbols have no order. `directions` are all
    D of them, `untrained_loss` is L(0) in units of y².
    """

    subset: tuple[int, ...]
    directions: tuple[Direction, ...]
    untrained_loss: Expr

    @property
    def learned(self) -> tuple[Direction, ...]:
        """The directions of the subset."""
        return tuple(self.directions[d - 1] for d in self.subset)

    @property
    def coefficients(self) -> tuple[Expr, ...]:
        """m_d of the learned directions, (|S|,)."""
        return tuple(direction.coefficient for direction in self.learned)

    @property
    def gains(self) -> tuple[Expr, ...]:
        """g_d of the learned directions, (|S|,)."""
        return tuple(direction.gain for direction in self.learned)

    @property
    def loss(self) -> Expr:
        """L(M_S) = L(0) − Σ g_d over the subset, in units of y²."""
        return self.untrained_loss - sp.Add(*self.gains)

    @cached_property
    def M(self) -> Expr:
        """M_S, (D, D): the model predicts βᵀ M_S x_q, or p β q x_q with diagonal p q = M_S."""
        entries = [
            direction.coefficient if d in self.subset else 0
            for d, direction in enumerate(self.directions, start=1)
        ]
        return sp.diag(*entries)

    @property
    def name(self) -> str:
        """The subset as text, such as {1, 3}."""
        return f"{{{', '.join(map(str, self.subset))}}}"

    def summary(self) -> Summary:
        """The loss, and coefficient and gain of each learned direction."""
        rows = {label: short_text(value) for label, value in self._values().items()}
        return Summary(f"Fixed point S = {self.name}", rows)

    def formulas(self) -> dict[str, str]:
        """The same in LaTeX."""
        return typeset(self._values())

    def to_dict(self) -> dict[str, object]:
        """The subset, and loss, coefficients and gains as text."""
        return {
            "subset": list(self.subset),
            "loss": str(self.loss),
            "coefficients": [str(m) for m in self.coefficients],
            "gains": [str(gain) for gain in self.gains],
        }

    def _values(self) -> dict[str, Expr]:
        values = {"loss": self.loss}
        for d, direction in zip(self.subset, self.learned, strict=True):
            values[f"m_{d}"] = direction.coefficient
            values[f"g_{d}"] = direction.gain
        return values


class SymbolicFixedPoints(TypesetResult, Sequence[SymbolicFixedPoint]):
    """The fixed points of `fixed_points`, each made when it is asked for: there may be 2^D.

    `directions` has m_d and g_d of all D directions, `untrained_loss` is L(0), and `subset_sizes` says how many
    directions are learned, in this order.
    """

    def __init__(
        self,
        directions: tuple[Direction, ...],
        untrained_loss: Expr,
        subset_sizes: Sequence[int],
    ) -> None:
        self.directions = directions
        self.untrained_loss = untrained_loss
        self.subset_sizes = tuple(subset_sizes)

    def __len__(self) -> int:
        return sum(comb(len(self.directions), size) for size in self.subset_sizes)

    def __iter__(self) -> Iterator[SymbolicFixedPoint]:
        return map(self._point, self._subsets())

    def _subsets(self) -> Iterator[tuple[int, ...]]:
        numbers = range(1, len(self.directions) + 1)
        for size in self.subset_sizes:
            yield from combinations(numbers, size)

    def _point(self, subset: tuple[int, ...]) -> SymbolicFixedPoint:
        return SymbolicFixedPoint(subset, self.directions, self.untrained_loss)

    @overload
    def __getitem__(self, index: int) -> SymbolicFixedPoint: ...

    @overload
    def __getitem__(self, index: slice) -> list[SymbolicFixedPoint]: ...

    def __getitem__(
        self, index: int | slice
    ) -> SymbolicFixedPoint | list[SymbolicFixedPoint]:
        # Python's own rules for negative indices and slices.
        positions = range(len(self))[index]  # IndexError beyond the end
        if isinstance(positions, int):
            return self._point(next(islice(self._subsets(), positions, None)))
        if not positions:
            return []
        first = min(positions)
        subsets = list(islice(self._subsets(), first, max(positions) + 1))
        return [self._point(subsets[position - first]) for position in positions]

    def summary(self) -> Summary:
        """The loss and the directions in formulas, then the first fixed points."""
        rows = {label: short_text(value) for label, value in self._values().items()}
        for point in islice(self, MAX_FORMULAS):
            gains = [f"g_{d}" for d in point.subset]
            rows[f"S = {point.name}"] = " - ".join(["L = L(0)", *gains])
        return Summary(f"{len(self)} fixed points", rows)

    def formulas(self) -> dict[str, str]:
        """L(0), coefficients and gains in LaTeX."""
        return typeset(self._values())

    def to_dict(self) -> dict[str, object]:
        """L(0), m_d and g_d as text, and all fixed points."""
        return {
            "untrained_loss": str(self.untrained_loss),
            "coefficients": [
                str(direction.coefficient) for direction in self.directions
            ],
            "gains": [str(direction.gain) for direction in self.directions],
            "fixed_points": [point.to_dict() for point in self],
        }

    def _values(self) -> dict[str, Expr]:
        values = {"L(0)": self.untrained_loss}
        for d, direction in enumerate(self.directions, start=1):
            values[f"m_{d}"] = direction.coefficient
            values[f"g_{d}"] = direction.gain
        return values


def fixed_points_of_one_output(
    task: SymbolicTask, model: Parametrization
) -> SymbolicFixedPoints:
    """`fixed_points` of a task with one label of each x, and its errors."""
    require_symbolic_task(task, model, "fixed_points(task, model)")
    if not isinstance(model, (Merged, Separate)):
        raise ValueError(
            f"fixed points are known for Merged and Separate models, not for {type(model).__name__}"
        )
    # E w is not zero then, so that odd moments enter the gradient.
    if task.in_context_fraction != 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    directions, untrained_loss = _solved(task, model)
    sizes = _subset_sizes(model, task.dimension)
    return SymbolicFixedPoints(directions, untrained_loss, sizes)


def _subset_sizes(model: Merged | Separate, dimension: int) -> list[int]:
    """How many directions the fixed points of a model learn, most first."""
    if isinstance(model, Merged):
        return [dimension, 0]
    most = min(dimension, model.head_count * model.rank)
    return list(range(most, -1, -1))


def _solved(
    task: SymbolicTask, model: Merged | Separate
) -> tuple[tuple[Direction, ...], Expr]:
    """Every direction, and L(0), from the loss L(M) derived for M of D² free entries.

    The flow of a head's value is v dv/dt = −½ tr(M_hᵀ ∂L/∂M). On diagonal maps, one direction to a head, it vanishes
    where m_d ∂L/∂m_d = 0, and so do the rates of keys and queries.
    """
    loss = _loss_of_map(task, model)

    # Entries of M are numbered row by row: those of the diagonal are D + 1 apart.
    diagonal = range(0, task.dimension**2, task.dimension + 1)
    slopes = [_restricted(loss.diff(gen), diagonal) for gen in loss.ring.gens]
    _require_diagonal(slopes, diagonal)

    untrained = loss.coeff(1)
    directions = []
    for i in diagonal:
        m = loss.ring.symbols[i]
        change = _restricted(loss, {i}) - untrained
        directions.append(_direction(m, slopes[i].as_expr(), change))
    return tuple(directions), loss.ring.domain.to_sympy(untrained)


def _loss_of_map(task: SymbolicTask, model: Merged | Separate) -> Element:
    """The loss of the output βᵀ M x_q as a polynomial in the D² entries of M, row by row."""
    D = task.dimension
    entries = [
        sp.Symbol(f"m_{i + 1}_{j + 1}", real=True) for i in range(D) for j in range(D)
    ]
    M = sp.Matrix(D, D, entries)
    β = sp.Matrix(token_products(model, D)[-1, :-1])  # (D, 1)
    query = sp.Matrix(Prompt(D).query)  # (D, 1)
    (output,) = β.T * M * query
    # Without context β is 0.
    return output_loss(task, output, entries, without_context=sp.Integer(0)).polynomial


def _require_diagonal(slopes: Sequence[Element], diagonal: range) -> None:
    """ValueError unless ∂L/∂m_d on diagonal maps holds m_d alone, and vanishes off the diagonal."""
    for i, slope in enumerate(slopes):
        own = {i} if i in diagonal else set()
        leads_off_diagonal = slope and i not in diagonal
        if leads_off_diagonal or slope != _restricted(slope, own):
            raise ValueError(
                "the gradient at a diagonal M is not diagonal: Λ and Ω must share their eigenvectors"
            )


def _restricted(polynomial: Element, indices: Container[int]) -> Element:
    """The polynomial where every generator is zero but those at these indices."""
    terms = {}
    for powers, coefficient in polynomial.terms():
        if all(power == 0 or i in indices for i, power in enumerate(powers)):
            terms[powers] = coefficient
    return polynomial.ring.from_dict(terms)


def _direction(m: Expr, slope: Expr, change: Element) -> Direction:
    """The root of m · slope = 0 besides m = 0, and minus the change of loss there."""
    # L is quadratic in M, so that ∂L/∂m_d is linear: there is one root besides zero.
    roots = [root for root in sp.solve(m * slope, m) if root != 0]
    if not roots:
        raise ValueError(
            "Λ or Ω vanishes on a direction, so that nothing is learned there: leave it out of the task"
        )
    coefficient = sp.factor(roots[0])
    gain = -change.as_expr().subs(m, coefficient)
    return Direction(coefficient, sp.factor(gain))
