"""Where gradient flow can rest, in symbols: solved from the derived loss where Λ and Ω share their eigenvectors."""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations

import sympy as sp

from ....models.attention import Merged, Separate
from ....models.protocol import Parametrization
from ..loss.expectations import Element
from ..loss.population_losses import divisor_of, output_loss, token_products
from ..task import Expr, Prompt, SymbolicTask


@dataclass(frozen=True, eq=False)
class Direction:
    """What learning one eigenvector of Λ means: `coefficient` m_d of M, `gain` g_d that is taken off the loss."""

    coefficient: Expr
    gain: Expr


@dataclass(frozen=True, eq=False)
class SymbolicFixedPoint:
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
        """M_S, (D, D): the model predicts βᵀ M_S x_q."""
        sizes = range(1, len(self.directions) + 1)
        return sp.diag(
            *(
                self.directions[d - 1].coefficient if d in self.subset else 0
                for d in sizes
            )
        )


def fixed_points(
    task: SymbolicTask, model: Parametrization
) -> Iterator[SymbolicFixedPoint]:
    """The fixed points of gradient flow on the restricted weights by how many directions are learned, most first.

    Separate: one for every subset of at most H·R directions. Merged: everything or nothing. The loss is derived
    from the definition, and its stationarity solved on diagonal maps. ValueError for other models, for softmax, for
    a fixed teacher, and where the gradient leads off the diagonal (Λ or Ω not diagonal) or vanishes on it.

    >>> from attndyn import Separate
    >>> from attndyn.theory.symbolic import fixed_points, symbolic_task
    >>> points = fixed_points(symbolic_task(2), Separate(heads=2))
    >>> [(point.subset, point.coefficients) for point in points][1]
    ((1,), (N/(N*lambda_1 + 2*lambda_1 + lambda_2),))
    """
    if not isinstance(model, (Merged, Separate)):
        raise ValueError(
            f"fixed points are known for Merged and Separate models, not for {type(model).__name__}"
        )
    if task.in_context_fraction != 1:
        raise ValueError(
            "a fixed teacher moves weights off the restricted block: its fixed points are not known"
        )
    directions, untrained = _solved(task, divisor_of(model, task.dimension))
    everything = range(1, task.dimension + 1)
    if isinstance(model, Merged):
        sizes = [task.dimension, 0]
    else:
        sizes = list(range(min(task.dimension, model.head_count * model.rank), -1, -1))
    return (
        SymbolicFixedPoint(subset, directions, untrained)
        for size in sizes
        for subset in combinations(everything, size)
    )


def _solved(task: SymbolicTask, divisor: Expr) -> tuple[tuple[Direction, ...], Expr]:
    """Every direction, and L(0), from the loss L(M) derived for M of D² free entries.

    The flow of a head's value is v dv/dt = −½ tr(M_hᵀ ∂L/∂M). On diagonal maps, one direction to a head, it rests
    where m_d ∂L/∂m_d = 0, and so do keys and queries.
    """
    D = task.dimension
    m = sp.Matrix(D, D, lambda i, j: sp.Symbol(f"m_{i + 1}_{j + 1}", real=True))
    β, query = (
        sp.Matrix(token_products(divisor, D)[-1, :-1]),
        sp.Matrix(Prompt(D).query),
    )
    loss = output_loss(task, (β.T * m * query)[0], list(m)).polynomial
    diagonal = range(0, D * D, D + 1)
    slopes = [_on(loss.diff(gen), diagonal) for gen in loss.ring.gens]
    if any(
        slope != _on(slope, {i} & {*diagonal}) for i, slope in enumerate(slopes)
    ) or any(slope for i, slope in enumerate(slopes) if i not in diagonal):
        raise ValueError(
            "the gradient at a diagonal M is not diagonal: Λ and Ω must share their eigenvectors"
        )
    untrained = loss.coeff(1)
    directions = (
        _direction(m[i], slopes[i].as_expr(), _on(loss, {i}) - untrained)
        for i in diagonal
    )
    return tuple(directions), loss.ring.domain.to_sympy(untrained)


def _on(polynomial: Element, kept: Container[int]) -> Element:
    """The polynomial where every generator is zero but those at the indices kept."""
    terms = polynomial.terms()
    rest = {
        powers: part
        for powers, part in terms
        if not any(p for i, p in enumerate(powers) if i not in kept)
    }
    return polynomial.ring.from_dict(rest)


def _direction(m: Expr, slope: Expr, change: Element) -> Direction:
    """The root of m · slope = 0 besides m = 0, and minus the change of loss there."""
    roots = [sp.factor(root) for root in sp.solve(m * slope, m) if root != 0]
    if not roots:
        raise ValueError(
            "Λ or Ω vanishes on a direction, so that nothing is learned there: leave it out of the task"
        )
    return Direction(roots[0], sp.factor(-change.as_expr().subs(m, roots[0])))
