"""The sign of a polynomial where every symbol is positive, or zero or more, or real: proved, or not known.

Where coefficients differ in sign, the region is split where two symbols are equal: x = y + d or y = x + d, d ≥ 0
(successive difference substitution, L. Yang, J. Guangzhou Univ. 2006), real symbols at zero, and a polynomial
in one symbol is decided by Sturm's theorem.
"""

from collections.abc import Iterable, Mapping
from itertools import combinations
from math import inf, prod
from random import Random
from typing import Literal, NamedTuple

import sympy as sp

from ..task import Expr
from .enclosures import certain_sign

Kind = Literal["positive", "nonnegative", "real"]


class Sign(NamedTuple):
    """`side` 1: zero or more, −1: zero or less, 0: not known. `strict`: zero nowhere, as far as that is known."""

    side: int
    strict: bool


_UNKNOWN = Sign(0, False)
_MOST_SPLITS = (
    24  # enough for quartic forms in three symbols, in a fraction of a second
)
_MOST_TERMS, _HIGHEST_DEGREE = 60, 16  # of what is split: every split makes it longer
_SAMPLES = 40  # points that are tried before anything is split
_ROUNDING = 1e-9  # of the sum of sizes: far above what doubles lose


def polynomial_sign(
    polynomial: Expr, kinds: Mapping[Expr, Kind], numbers: Mapping[Expr, Expr]
) -> Sign:
    """The sign of a polynomial in symbols of these kinds, whose coefficients hold symbols for real `numbers`.

    >>> x, y = sp.symbols("x y")
    >>> polynomial_sign(x**2 - x * y + y**2, {x: "positive", y: "positive"}, {})
    Sign(side=1, strict=True)
    """
    symbols = sorted(polynomial.free_symbols & kinds.keys(), key=str)
    if not symbols:
        return constant_sign(polynomial.xreplace(dict(numbers)))
    poly = sp.Poly(polynomial, *symbols)
    return _Region({symbol: kinds[symbol] for symbol in symbols}, dict(numbers)).sign(
        poly
    )


def integer_roots(polynomial: Expr, whole: set[Expr]) -> list[int] | None:
    """The roots of 0 or more of a polynomial in one symbol for whole numbers; None for any other polynomial.

    >>> n = sp.Symbol("n")
    >>> integer_roots(n**2 - 4, {n}), integer_roots(n**2 - 2, {n})
    ([2], [])
    """
    if len(polynomial.free_symbols) != 1 or not polynomial.free_symbols <= whole:
        return None
    poly = sp.Poly(polynomial, *polynomial.free_symbols)
    if not poly.domain.is_ZZ and not poly.domain.is_QQ:
        return None
    return sorted(
        int(root) for root in poly.ground_roots() if root.is_Integer and root >= 0
    )


class _Region:
    """The values of some symbols, and how often it may still be split."""

    def __init__(self, kinds: dict[Expr, Kind], numbers: dict[Expr, Expr]) -> None:
        self.kinds, self.numbers = kinds, numbers
        self.splits = 0

    def sign(self, poly: Expr) -> Sign:
        """The sign of a polynomial over this region."""
        by_terms = self._by_terms(poly)
        if by_terms.side:
            return by_terms
        if len(poly.gens) == 1 and (poly.domain.is_ZZ or poly.domain.is_QQ):
            return self._by_sturm(poly)
        if (
            len(poly.terms()) > _MOST_TERMS
            or poly.total_degree() > _HIGHEST_DEGREE
            or (not self.splits and self._changes(poly))
        ):
            return _UNKNOWN
        for symbol in poly.gens:
            if self.kinds[symbol] == "real":
                return self._split_at_zero(poly, symbol)
        if not poly.is_homogeneous:  # a symbol for 1, with which others are compared
            one = sp.Dummy("one")
            self.kinds[one] = "positive"
            poly = poly.homogenize(one)
        return self._split_where_equal(poly)

    def _by_terms(self, poly: Expr) -> Sign:
        sides, certain = set(), False
        for powers, coefficient in poly.terms():
            held = [
                (self.kinds[gen], power)
                for gen, power in zip(poly.gens, powers, strict=True)
                if power
            ]
            if any(kind == "real" and power % 2 for kind, power in held):
                return _UNKNOWN
            number = constant_sign(coefficient.xreplace(self.numbers))
            if not number.side:
                return _UNKNOWN
            sides.add(number.side)
            certain |= number.strict and all(kind == "positive" for kind, _ in held)
        return Sign(sides.pop(), certain) if len(sides) == 1 else _UNKNOWN

    def _by_sturm(self, poly: Expr) -> Sign:
        """Roots of odd multiplicity are where the sign changes."""
        (gen,) = poly.gens
        low = None if self.kinds[gen] == "real" else sp.Integer(0)
        sample = 1 if low is None else low + 1
        for factor, multiplicity in poly.factor_list()[1]:
            at_border = int(low is not None and factor.eval(low) == 0)
            within = int(factor.count_roots(low, None)) - at_border
            if within and multiplicity % 2:
                return _UNKNOWN
            if within:
                sample = None
        if (
            sample is None
        ):  # a touching root: strict is not known, and the sample might be it
            values = {
                sp.sign(poly.eval(number)) for number in (1, 2, 3, 5, 7, 11, 13)
            } - {0}
            return Sign(int(values.pop()), False) if len(values) == 1 else _UNKNOWN
        border_counts = self.kinds[gen] == "nonnegative" and poly.eval(0) == 0
        return Sign(int(sp.sign(poly.eval(sample))), not border_counts)

    def _split_at_zero(self, poly: Expr, symbol: Expr) -> Sign:
        if not self._may_split():
            return _UNKNOWN
        half = sp.Dummy("h")
        self.kinds[half] = "nonnegative"
        gens = tuple(half if gen == symbol else gen for gen in poly.gens)
        return _both(
            self.sign(_substituted(poly, symbol, side * half, gens)) for side in (1, -1)
        )

    def _split_where_equal(self, poly: Expr) -> Sign:
        """The sign on both sides of where two symbols are equal, for the first two that decide it."""
        for x, y in self._pairs(poly):
            if not self._may_split():
                return _UNKNOWN
            found = _both(
                self.sign(self._beyond(poly, above, below))
                for above, below in ((x, y), (y, x))
            )
            if found.side:
                return found
        return _UNKNOWN

    def _beyond(self, poly: Expr, above: Expr, below: Expr) -> Expr:
        """The polynomial where one symbol is another plus something of zero or more."""
        more = sp.Dummy("d")
        self.kinds[more] = "nonnegative"
        gens = tuple(more if gen == above else gen for gen in poly.gens)
        return _substituted(poly, above, below + more, gens)

    def _pairs(self, poly: Expr) -> list[tuple[Expr, Expr]]:
        """The symbols of the largest term that stands against most others."""
        terms = [
            (powers, _as_float(coefficient.xreplace(self.numbers)))
            for powers, coefficient in poly.terms()
        ]
        against = min if sum(value > 0 for _, value in terms) * 2 >= len(terms) else max
        powers, _ = against(terms, key=lambda term: term[1])
        held = [gen for gen, power in zip(poly.gens, powers, strict=True) if power]
        others = [gen for gen in poly.gens if gen not in held]
        return [
            *combinations(held, 2),
            *((one, other) for one in held for other in others),
        ]

    def _changes(self, poly: Expr) -> bool:
        """Whether the polynomial has both signs at some points, as far as rounding shows."""
        terms = [
            (powers, _as_float(coefficient.xreplace(self.numbers)))
            for powers, coefficient in poly.terms()
        ]
        draw = Random(0)
        sides = set()
        for _ in range(_SAMPLES):
            point = [self._sample(gen, draw) for gen in poly.gens]
            values = [
                number * prod(map(pow, point, powers)) for powers, number in terms
            ]
            total, size = sum(values), sum(map(abs, values))
            sides.add((total > _ROUNDING * size) - (total < -_ROUNDING * size))
        return {1, -1} <= sides

    def _sample(self, symbol: Expr, draw: Random) -> float:
        size = draw.randint(1, 64) / draw.choice((1, 8, 64))
        return -size if self.kinds[symbol] == "real" and draw.random() < 0.5 else size

    def _may_split(self) -> bool:
        self.splits += 1
        return self.splits <= _MOST_SPLITS


def _substituted(poly: Expr, symbol: Expr, value: Expr, gens: tuple[Expr, ...]) -> Expr:
    return sp.Poly(poly.as_expr().xreplace({symbol: value}), *gens)


def _both(signs: Iterable[Sign]) -> Sign:
    """The sign that all parts of a region share."""
    sides, strict = set(), True
    for sign in signs:
        if not sign.side:
            return _UNKNOWN
        sides.add(sign.side)
        strict = strict and sign.strict
    return Sign(sides.pop(), strict) if len(sides) == 1 else _UNKNOWN


def _as_float(number: Expr) -> float:
    """Infinite where it is too large."""
    try:
        return float(number)
    except OverflowError:
        return inf


def constant_sign(number: Expr) -> Sign:
    """The sign of a real number in closed form, where an enclosure shows it."""
    if number.is_Rational:
        return Sign(1 if number >= 0 else -1, bool(number != 0))
    side = certain_sign(number)
    return Sign(side, True) if side else _UNKNOWN
