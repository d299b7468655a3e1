"""Which values the symbols of a task admit, and points of them: N is 1, 2, …, Λ and Ω are positive definite."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import count
from math import gcd

import sympy as sp

from ..task import Expr, SymbolicTask, symbols_in

Point = dict[Expr, Expr]

_KINDS: tuple[dict[str, bool], ...] = (
    {},
    {"real": True},
    {"positive": True},
    {"nonnegative": True},
    {"integer": True},
    {"integer": True, "positive": True},
    {"integer": True, "nonnegative": True},
)
"""What SymPy may know of a symbol, so that the points tried here are all that it may be; without any it is real."""

# For a variance that a point leaves open: it dominates the covariances of small points.
_LARGE_VARIANCE = sp.Integer(10) ** 6


@dataclass(frozen=True, eq=False)
class Admitted:
    """What symbols may be, beyond what SymPy knows of them.

    `fraction` is the share of sequences with a teacher of their own, from 0 to 1, or None; `matrices` are positive
    definite.
    """

    fraction: Expr | None = None
    matrices: tuple[Expr, ...] = ()

    def admits(self, point: Mapping[Expr, Expr]) -> bool:
        """Whether there is a task with these numbers; symbols that the point leaves open may be anything."""
        if self.fraction in point and not 0 <= point[self.fraction] <= 1:
            return False
        return all(_is_positive_definite(matrix, point) for matrix in self.matrices)

    def in_positive_symbols(self, expression: Expr) -> Expr:
        """The expression in symbols that know more: variances are positive, and p = u/(1 + u) is below 1."""
        replaced = {}
        for matrix in self.matrices:
            for entry in matrix.diagonal():
                if entry.is_Symbol and not entry.is_positive:
                    replaced[entry] = sp.Dummy(entry.name, positive=True)
        if self.fraction is not None:
            # p in [0, 1) exactly where the odds u = p/(1 − p) are in [0, ∞).
            odds = sp.Dummy("u", nonnegative=True)
            replaced[self.fraction] = odds / (1 + odds)
        return expression.xreplace(replaced)

    def numbers(self, symbol: Expr) -> Iterator[Expr]:
        """1, 2, 1/2, 3, 3/2, 1/3, 2/3, −1, … as far as the symbol may be that, without end; never 0."""
        # By height, so that simple numbers come first and every one comes once.
        for height in count(1):
            numbers = [sp.Integer(height)] if symbol.is_integer else _of_height(height)
            if symbol == self.fraction:
                numbers = [number for number in numbers if number < 1]
            elif not symbol.is_nonnegative:
                # Negative ones come two heights later: most mistakes show at positive numbers.
                earlier = _of_height(height - 2)
                numbers += [
                    -number
                    for number in earlier
                    if number.is_Integer or not symbol.is_integer
                ]
            yield from numbers

    def borders(self, symbol: Expr) -> list[Expr]:
        """0 and 1, where the symbol may be that: what `numbers` leaves out."""
        if symbol == self.fraction:
            return [sp.Integer(0), sp.Integer(1)]
        if symbol.is_positive:
            return []
        return [sp.Integer(0)]


def require_kinds(symbols: Iterable[Expr]) -> None:
    """ValueError for a symbol of which SymPy knows more than is known here: negative, nonzero, imaginary, even …

    >>> require_kinds([sp.Symbol("z", negative=True)])
    Traceback (most recent call last):
    ValueError: the symbol z must be real, positive or nonnegative, whole or not, and nothing else: declare it so
    """
    # What SymPy derives from each of the assumptions, so that sets can be compared.
    allowed = [sp.Symbol("z", **kind).assumptions0 for kind in _KINDS]
    for symbol in sorted(symbols, key=str):
        if symbol.assumptions0 not in allowed:
            raise ValueError(
                f"the symbol {symbol} must be real, positive or nonnegative, whole or not, and nothing else: "
                "declare it so"
            )


def admitted_by(task: SymbolicTask) -> Admitted:
    """The values that a task's symbols admit."""
    fraction = sp.sympify(task.in_context_fraction, strict=True)
    matrices = (task.covariance, task.teacher_covariance)
    # A matrix of positive symbols alone is diagonal, and positive definite by itself.
    restricting = tuple(
        matrix
        for matrix in matrices
        if not all(symbol.is_positive for symbol in matrix.free_symbols)
    )
    return Admitted(fraction if fraction.is_Symbol else None, restricting)


def _is_positive_definite(matrix: Expr, point: Mapping[Expr, Expr]) -> bool:
    """Whether the matrix is so at a point, with large variances and no covariances where the point is silent."""
    if matrix.free_symbols.isdisjoint(point):
        return True
    variances = symbols_in(matrix.diagonal())
    completed = dict(point)
    # Where a completion is positive definite, the point is admitted.
    for symbol in matrix.free_symbols - point.keys():
        completed[symbol] = _LARGE_VARIANCE if symbol in variances else sp.Integer(0)
    numbers = matrix.xreplace(completed)
    # Sylvester's criterion: all leading minors are positive.
    return all(numbers[:size, :size].det() > 0 for size in range(1, numbers.rows + 1))


def _of_height(height: int) -> list[Expr]:
    """Positive rationals whose larger part is this number: 3, 3/2, 1/3, 2/3."""
    coprime = [other for other in range(1, height + 1) if gcd(height, other) == 1]
    from_one = [sp.Rational(height, other) for other in coprime]
    below_one = [1 / number for number in reversed(from_one) if number != 1]
    return from_one + below_one
