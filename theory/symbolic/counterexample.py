"""Small rational points at which two expressions differ."""

from collections.abc import Iterable, Iterator
from itertools import count, islice
from math import gcd

import sympy as sp

from .exact import is_zero
from .problem import Expr
from .signs import roots_in

Point = dict[Expr, Expr]
Domains = dict[Expr, list[Expr]]

TRIED = 160
"""Numbers that are tried for one symbol: more than any degree that occurs."""

POINTS = 1000
"""Points that are tried at most."""

FEW = 8
"""Points that are tried before any other thing: most mistakes show there."""


def differing_point(derived: Expr, claimed: Expr, fraction: Expr | None = None) -> Point | None:
    """The smallest nice point at which two expressions that are not identical differ, by an exact test.

    Positive symbols get positive numbers, whole ones whole numbers, `fraction` one from 0 to 1. Where there are
    roots, their radicands are made perfect powers if a small point does that. None if nothing was found.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> differing_point(a * b, a + b - 1)
    {a: 2, b: 2}
    """
    domains = _domains(derived.free_symbols | claimed.free_symbols, fraction)
    for start in (*islice(_rational_points((derived, claimed), domains), 1), {}):
        pair = derived.xreplace(start), claimed.xreplace(start)
        rest = {symbol: numbers for symbol, numbers in domains.items() if symbol not in start}
        point = _first(*pair, rest) or _completed(*pair, rest, iter(range(POINTS)))
        if point is not None:
            return {symbol: (start | point)[symbol] for symbol in domains}
    return None


def differ_at_small_points(derived: Expr, claimed: Expr, fraction: Expr | None = None) -> bool:
    """Whether two expressions differ at one of the first few points: a proof that they are not identical."""
    return _first(derived, claimed, _domains(derived.free_symbols | claimed.free_symbols, fraction)) is not None


def point_below(expression: Expr, fraction: Expr | None = None) -> Point | None:
    """A small point at which an expression is below zero, or None within the points that are tried."""
    points = islice(_graded(_domains(expression.free_symbols, fraction)), POINTS)
    return next((point for point in points if expression.xreplace(point).is_negative), None)


def _domains(symbols: Iterable[Expr], fraction: Expr | None) -> Domains:
    return {symbol: list(islice(_numbers(symbol, fraction), TRIED)) for symbol in sorted(symbols, key=str)}


def _first(derived: Expr, claimed: Expr, domains: Domains) -> Point | None:
    """The first of few small points at which the two differ."""
    points = islice(_graded(domains), FEW)
    return next((point for point in points if _differ(derived.xreplace(point), claimed.xreplace(point))), None)


def _completed(derived: Expr, claimed: Expr, rest: Domains, tries: Iterator[int]) -> Point | None:
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


def _rational_points(pair: tuple[Expr, Expr], domains: Domains) -> Iterator[Point]:
    """Points of the symbols under roots at which no root is left."""
    roots = [root for expression in pair for root in roots_in(expression)]
    symbols = set().union(*(root.free_symbols for root in roots))
    rooted = {symbol: numbers for symbol, numbers in domains.items() if symbol in symbols}
    for point in islice(_graded(rooted), POINTS if roots else 0):
        if not any(roots_in(expression.xreplace(point)) for expression in pair):
            yield point


def _graded(domains: Domains) -> Iterator[Point]:
    """Points by how far their numbers stand down the lists, all together."""
    for total in range(TRIED):
        for places in _compositions(total, len(domains)):
            if all(place < len(numbers) for place, numbers in zip(places, domains.values(), strict=True)):
                yield {symbol: domains[symbol][place] for symbol, place in zip(domains, places, strict=True)}


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
