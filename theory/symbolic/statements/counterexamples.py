"""Small rational points at which two expressions differ."""

from collections.abc import Iterable, Iterator
from itertools import islice

import sympy as sp

from ..algebra.domains import Condition
from ..algebra.sign_analysis import roots_in
from ..algebra.zero_test import number_sign
from ..task import Expr
from .admitted_values import Admitted, Point

Domains = dict[Expr, list[Expr]]

TRIED = 160
"""Numbers that are tried for one symbol: more than any degree that occurs."""

POINTS = 1000
"""Points that are tried at most."""

FEW = 8
"""Points that are tried before any other thing: most mistakes show there."""


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
        self.derived, self.claimed = derived, claimed
        self.conditions = tuple(conditions)
        self.admitted = admitted or Admitted()
        symbols = derived.free_symbols | claimed.free_symbols
        symbols = symbols.union(
            *(condition.expression.free_symbols for condition in self.conditions)
        )
        self.domains = numbers_of(symbols, self.admitted)

    def smallest(self) -> Point | None:
        """The smallest nice point at which they differ, by an exact test; None if nothing was found.

        Where there are roots, their radicands are made perfect powers if a small point does that.
        """
        for start in (*islice(self._rational_points(), 1), {}):
            rest = {
                symbol: numbers
                for symbol, numbers in self.domains.items()
                if symbol not in start
            }
            point = self._first(start, rest) or self._completed(
                start, rest, iter(range(POINTS))
            )
            if point is not None:
                return {symbol: point[symbol] for symbol in self.domains}
        return None

    def shows_soon(self) -> bool:
        """Whether they differ at one of the first few points: a proof that they are not identical."""
        return self._first({}, self.domains) is not None

    def at(self, point: Point) -> bool:
        """Whether both are defined and real at a point that has every symbol, and differ there."""
        return (
            self.admitted.admits(point)
            and all(fulfils(each, point) for each in self.conditions)
            and self._differ(point)
        )

    def _differ(self, point: Point) -> bool:
        """Whether they differ at a point, as numbers or identically in the symbols that are left."""
        derived, claimed = self.derived.xreplace(point), self.claimed.xreplace(point)
        if derived.has(sp.zoo, sp.nan) or claimed.has(sp.zoo, sp.nan):
            return False
        try:
            return number_sign(derived - claimed) != 0
        except ValueError:
            return False

    def _first(self, start: Point, rest: Domains) -> Point | None:
        """The first of few small points at which the two differ."""
        points = (start | point for point in islice(graded(rest), POINTS))
        few = islice((point for point in points if self.admitted.admits(point)), FEW)
        return next((point for point in few if self.at(point)), None)

    def _completed(
        self, point: Point, rest: Domains, tries: Iterator[int]
    ) -> Point | None:
        """The first numbers for the remaining symbols that leave the two different, one symbol after the other."""
        if next(tries, None) is None:
            return None
        if not rest:
            return point if self.at(point) else None
        if not self._may_differ(point):
            return None
        symbol, *others = rest
        for number in rest[symbol]:
            found = self._completed(
                point | {symbol: number},
                {other: rest[other] for other in others},
                tries,
            )
            if found is not None:
                return found
        return None

    def _may_differ(self, point: Point) -> bool:
        """Whether anything is left of the difference in the symbols that have no number yet."""
        left = self.derived.xreplace(point) - self.claimed.xreplace(point)
        return bool(left != 0) and not left.has(sp.zoo, sp.nan)

    def _rational_points(self) -> Iterator[Point]:
        """Points of the symbols under roots at which no root is left."""
        pair = (self.derived, self.claimed)
        roots = [root for expression in pair for root in roots_in(expression)]
        symbols = set().union(*(root.free_symbols for root in roots))
        rooted = {
            symbol: numbers
            for symbol, numbers in self.domains.items()
            if symbol in symbols
        }
        for point in islice(graded(rooted), POINTS if roots else 0):
            if not any(roots_in(expression.xreplace(point)) for expression in pair):
                yield point


def differing_point(
    derived: Expr, claimed: Expr, fraction: Expr | None = None
) -> Point | None:
    """The smallest nice point at which two expressions that are not identical differ, by an exact test.

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
    return {
        "nonzero": side != 0,
        "nonnegative": side >= 0,
        "positive": side > 0,
        "function": False,
    }[condition.kind]


def numbers_of(
    symbols: Iterable[Expr], admitted: Admitted, borders: bool = False
) -> Domains:
    """The numbers that are tried for each symbol, simplest first; with `borders` also 0 and 1 where they are."""
    return {
        symbol: [
            *(admitted.borders(symbol) if borders else ()),
            *islice(admitted.numbers(symbol), TRIED),
        ]
        for symbol in sorted(symbols, key=str)
    }


def graded(domains: Domains) -> Iterator[Point]:
    """Points by how far their numbers stand down the lists, all together."""
    for total in range(TRIED):
        for places in _compositions(total, len(domains)):
            if all(
                place < len(numbers)
                for place, numbers in zip(places, domains.values(), strict=True)
            ):
                yield {
                    symbol: domains[symbol][place]
                    for symbol, place in zip(domains, places, strict=True)
                }


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts <= 1:
        yield from [(total,)] if parts else [()] if total == 0 else []
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in _compositions(total - first, parts - 1))
