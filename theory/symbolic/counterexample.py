"""Small rational points at which two expressions differ."""

from collections.abc import Iterator
from itertools import count, islice
from math import gcd

import sympy as sp

from .exact import is_zero
from .problem import Expr
from .signs import roots_in

Point = dict[Expr, Expr]

TRIED = 160
"""Numbers that are tried for one symbol: more than any degree that occurs."""

POINTS = 1000
"""Points that are tried at most."""


def differing_point(derived: Expr, claimed: Expr, fraction: Expr | None = None) -> Point | None:
    """The smallest nice point at which two expressions that are not identical differ, by an exact test.

    Positive symbols get positive numbers, whole ones whole numbers, `fraction` one from 0 to 1. Where there are
    roots, their radicands are made perfect powers if a small point does that. None if nothing was found.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> differing_point(a * b, a + b - 1)
    {a: 2, b: 2}
    """
    symbols = sorted(derived.free_symbols | claimed.free_symbols, key=str)
    domains = {symbol: list(islice(_numbers(symbol, fraction), TRIED)) for symbol in symbols}
    starts = [*islice(_rational_points((derived, claimed), domains), 5), {}]
    for start in starts:
        pair = derived.xreplace(start), claimed.xreplace(start)
        rest = {symbol: domains[symbol] for symbol in symbols if symbol not in start}
        point = _completed(*pair, rest, iter(range(POINTS)))
        if point is not None:
            return {symbol: (start | point)[symbol] for symbol in symbols}
    return None


def point_below(expression: Expr, fraction: Expr | None = None) -> Point | None:
    """A small point at which an expression is below zero, or None within the points that are tried."""
    symbols = sorted(expression.free_symbols, key=str)
    domains = {symbol: list(islice(_numbers(symbol, fraction), TRIED)) for symbol in symbols}
    points = islice(_graded(symbols, domains), POINTS)
    return next((point for point in points if expression.xreplace(point).is_negative), None)


def _completed(derived: Expr, claimed: Expr, rest: dict[Expr, list[Expr]], tries: Iterator[int]) -> Point | None:
    """The first numbers for the remaining symbols that leave the two different, one symbol after the other."""
    if next(tries, None) is None or not _differ(derived, claimed):
        return None
    if not rest:
        return {}
    symbol, *others = rest
    for number in rest[symbol]:
        value = {symbol: number}
        pair = derived.xreplace(value), claimed.xreplace(value)
        found = _completed(*pair, {other: rest[other] for other in others}, tries)
        if found is not None:
            return value | found
    return None


def _differ(derived: Expr, claimed: Expr) -> bool:
    """Whether both are defined and real, and not identical."""
    if derived.has(sp.zoo, sp.nan) or claimed.has(sp.zoo, sp.nan):
        return False
    try:
        return not is_zero(derived - claimed)
    except ValueError:
        return False


def _rational_points(pair: tuple[Expr, Expr], domains: dict[Expr, list[Expr]]) -> Iterator[Point]:
    """Points of the symbols under roots at which no root is left."""
    roots = [root for expression in pair for root in roots_in(expression)]
    symbols = sorted(set().union(*(root.free_symbols for root in roots)), key=str)
    for point in islice(_graded(symbols, domains), POINTS if roots else 0):
        if not any(roots_in(expression.xreplace(point)) for expression in pair):
            yield point


def _graded(symbols: list[Expr], domains: dict[Expr, list[Expr]]) -> Iterator[Point]:
    """Points by how far their numbers stand down the list, all together."""
    for total in range(TRIED):
        for places in _compositions(total, len(symbols)):
            if all(place < len(domains[symbol]) for symbol, place in zip(symbols, places, strict=True)):
                yield {symbol: domains[symbol][place] for symbol, place in zip(symbols, places, strict=True)}


def _compositions(total: int, parts: int) -> Iterator[tuple[int, ...]]:
    if parts <= 1:
        yield from [(total,)] if parts else [()] if total == 0 else []
        return
    for first in range(total + 1):
        yield from ((first, *rest) for rest in _compositions(total - first, parts - 1))


def _numbers(symbol: Expr, fraction: Expr | None) -> Iterator[Expr]:
    """1, 2, 1/2, 3, 3/2, 1/3, 2/3, −1, … as far as the symbol may be that."""
    for size in count(1):
        near = [sp.Integer(size)] if symbol.is_integer else _of_height(size)
        if symbol == fraction:
            near = [number for number in near if number < 1]
        elif not symbol.is_positive:
            near = [*near, *(-number for number in _of_height(size - 2))]
        yield from near


def _of_height(size: int) -> list[Expr]:
    """Positive rationals whose larger part is this number."""
    others = [other for other in range(size, 0, -1) if gcd(size, other) == 1]
    above = [sp.Rational(size, other) for other in reversed(others)]
    return above + [1 / number for number in reversed(above) if number != 1]
