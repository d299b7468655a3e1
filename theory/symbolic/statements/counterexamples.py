"""Small rational points at which two expressions differ."""

from collections.abc import Iterable, Iterator
from itertools import islice
from operator import lt

import sympy as sp

from ..algebra.domains import Condition
from ..algebra.sign_analysis import fractional_powers
from ..algebra.zero_test import number_sign
from ..task import Expr, symbols_in
from .admitted_values import Admitted, Point

Domains = dict[Expr, list[Expr]]

TRIED = 160
"""Numbers that are tried for one symbol: more than any degree that occurs, so that some are no roots."""

POINTS = 1000
"""Points that are tried at most."""

FEW = 8
"""Points that are tried before any proof: most mistakes show there."""


class Difference:
    """Two expressions, and where they may be compared: points that are `admitted` and fulfil the `conditions`.

    Positive symbols get positive numbers, whole ones whole numbers, the fraction of a task one from 0 to 1.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> Difference(a * b, a + b - 1).smallest()
    {a: 2, b: 2}
    """

    def __init__(
        self,
        derived: Expr,
        claimed: Expr,
        conditions: Iterable[Condition] = (),
        admitted: Admitted | None = None,
    ) -> None:
        self.derived = derived
        self.claimed = claimed
        self.conditions = tuple(conditions)
        self.admitted = admitted or Admitted()
        expressions = [derived, claimed]
        expressions += [condition.expression for condition in self.conditions]
        symbols = symbols_in(expressions)
        self.domains = numbers_of(symbols, self.admitted)

    def smallest(self) -> Point | None:
        """The smallest rational point at which they differ, by an exact test; None if nothing was found.

        Where there are roots, their radicands are made perfect powers if a small point does that.
        """
        # From a point without roots, if there is one, and from nowhere.
        for start in (*islice(self._rational_points(), 1), {}):
            domains = {
                symbol: numbers
                for symbol, numbers in self.domains.items()
                if symbol not in start
            }
            point = self._first(start, domains)
            if point is None:
                point = self._completed(start, domains, iter(range(POINTS)))
            if point is not None:
                return {symbol: point[symbol] for symbol in self.domains}
        return None

    def shows_soon(self) -> bool:
        """Whether they differ at one of the first few points: a proof that they are not identical."""
        return self._first({}, self.domains) is not None

    def at(self, point: Point) -> bool:
        """Whether both are defined and real at a point that has every symbol, and differ there."""
        if not self.admitted.admits(point):
            return False
        if not all(fulfils(condition, point) for condition in self.conditions):
            return False
        return self._differ(point)

    def _differ(self, point: Point) -> bool:
        """Whether they differ at a point, as numbers or identically in the symbols that remain."""
        derived = self.derived.xreplace(point)
        claimed = self.claimed.xreplace(point)
        if derived.has(sp.zoo, sp.nan) or claimed.has(sp.zoo, sp.nan):
            return False
        try:
            return number_sign(derived - claimed) != 0
        except ValueError:
            return False

    def _first(self, start: Point, domains: Domains) -> Point | None:
        """The first of few small points at which the two differ."""
        points = (start | point for point in islice(graded(domains), POINTS))
        admitted = (point for point in points if self.admitted.admits(point))
        for point in islice(admitted, FEW):
            if self.at(point):
                return point
        return None

    def _completed(
        self, point: Point, domains: Domains, tries: Iterator[int]
    ) -> Point | None:
        """The first numbers for the remaining symbols that make the two differ, one symbol after the other."""
        # The search is exponential in the number of symbols, so that all branches share one budget.
        if next(tries, None) is None:
            return None
        if not domains:
            if self.at(point):
                return point
            return None
        if not self._may_differ(point):
            return None
        symbol, *others = domains
        remaining = {other: domains[other] for other in others}
        for number in domains[symbol]:
            completed = self._completed(point | {symbol: number}, remaining, tries)
            if completed is not None:
                return completed
        return None

    def _may_differ(self, point: Point) -> bool:
        """Whether the difference is not identically zero in the symbols that have no number yet."""
        difference = self.derived.xreplace(point) - self.claimed.xreplace(point)
        return bool(difference != 0) and not difference.has(sp.zoo, sp.nan)

    def _rational_points(self) -> Iterator[Point]:
        """Points of the symbols under roots at which no root is left."""
        pair = (self.derived, self.claimed)
        roots = fractional_powers(self.derived) + fractional_powers(self.claimed)
        if not roots:
            return
        # Only what stands under a root decides whether it is rational.
        symbols = symbols_in(roots)
        domains = {
            symbol: numbers
            for symbol, numbers in self.domains.items()
            if symbol in symbols
        }
        for point in islice(graded(domains), POINTS):
            at_point = [expression.xreplace(point) for expression in pair]
            if not any(map(fractional_powers, at_point)):
                yield point


def differing_point(
    derived: Expr, claimed: Expr, fraction: Expr | None = None
) -> Point | None:
    """The smallest rational point at which two expressions that are not identical differ, by an exact test.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> differing_point(a * b, a + b - 1)
    {a: 2, b: 2}
    """
    return Difference(derived, claimed, admitted=Admitted(fraction)).smallest()


def differ_at_small_points(
    derived: Expr, claimed: Expr, fraction: Expr | None = None
) -> bool:
    """Whether two expressions differ at one of the first few points: a proof that they are not identical."""
    return Difference(derived, claimed, admitted=Admitted(fraction)).shows_soon()


def fulfils(condition: Condition, point: Point) -> bool:
    """Whether a condition is certain to hold at a point that has every symbol of it."""
    try:
        side = number_sign(condition.expression.xreplace(point))
    except ValueError:
        return False
    match condition.kind:
        case "nonzero":
            return side != 0
        case "nonnegative":
            return side >= 0
        case "positive":
            return side > 0
    return False


def numbers_of(
    symbols: Iterable[Expr], admitted: Admitted, borders: bool = False
) -> Domains:
    """The numbers that are tried for each symbol, simplest first; with `borders` also 0 and 1 where they are."""
    domains = {}
    for symbol in sorted(symbols, key=str):
        at_borders = admitted.borders(symbol) if borders else []
        domains[symbol] = [*at_borders, *islice(admitted.numbers(symbol), TRIED)]
    return domains


def graded(domains: Domains) -> Iterator[Point]:
    """Points by the sum of the positions of their numbers in the lists: simple ones first."""
    sizes = [len(numbers) for numbers in domains.values()]
    # All points whose positions have this sum, then the next sum.
    for total in range(TRIED):
        for positions in _compositions(total, len(domains)):
            if all(map(lt, positions, sizes)):
                yield {
                    symbol: domains[symbol][position]
                    for symbol, position in zip(domains, positions, strict=True)
                }


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    """Every tuple of so many numbers of 0 or more with this sum."""
    if parts == 0:
        if total == 0:
            yield ()
        return
    if parts == 1:
        yield (total,)
        return
    for first in range(total + 1):
        for others in _compositions(total - first, parts - 1):
            yield (first, *others)
