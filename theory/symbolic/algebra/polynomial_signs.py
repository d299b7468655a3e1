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
from .polynomials import Powers

Kind = Literal["positive", "nonnegative", "real"]


class Sign(NamedTuple):
    """`side` 1: zero or more, −1: zero or less, 0: not known. `strict`: zero nowhere, as far as that is known."""

    side: int
    strict: bool


_UNKNOWN = Sign(0, False)

# Enough for quartic forms in three symbols, in a fraction of a second.
_MAX_SPLITS = 24

# Of what is split: every split makes a polynomial longer.
_MAX_TERMS = 60
_MAX_DEGREE = 16

# Random points that are tried before anything is split: where both signs occur, no
# split can succeed.
_SAMPLES = 40

# Relative to the sum of sizes: far above what doubles lose in sums of 60 terms.
_ROUNDING = 1e-9

# Points of no special kind at which a polynomial with a double root shows its sign.
_PRIMES = (1, 2, 3, 5, 7, 11, 13)


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
    region = _Region({symbol: kinds[symbol] for symbol in symbols}, dict(numbers))
    return region.sign(sp.Poly(polynomial, *symbols))


def constant_sign(number: Expr) -> Sign:
    """The sign of a real number in closed form, where an enclosure shows it."""
    if number.is_Rational:
        return Sign(1 if number >= 0 else -1, bool(number != 0))
    side = certain_sign(number)
    if side:
        return Sign(side, True)
    return _UNKNOWN


def integer_roots(polynomial: Expr, whole: set[Expr]) -> list[int] | None:
    """The roots of 0 or more of a polynomial in one symbol for whole numbers; None for any other polynomial.

    >>> n = sp.Symbol("n")
    >>> integer_roots(n**2 - 4, {n}), integer_roots(n**2 - 2, {n})
    ([2], [])
    """
    symbols = polynomial.free_symbols
    if len(symbols) != 1 or not symbols <= whole:
        return None
    poly = sp.Poly(polynomial, *symbols)
    if not has_rational_coefficients(poly):
        return None
    roots = poly.ground_roots()
    return sorted(int(root) for root in roots if root.is_Integer and root >= 0)


def has_rational_coefficients(poly: Expr) -> bool:
    """Whether a `Poly` has rational numbers as coefficients, without symbols or roots in them."""
    return bool(poly.domain.is_ZZ or poly.domain.is_QQ)


class _Region:
    """The values of some symbols, and how often it may still be split."""

    def __init__(self, kinds: dict[Expr, Kind], numbers: dict[Expr, Expr]) -> None:
        self.kinds = kinds
        self.numbers = numbers
        self.splits = 0

    def sign(self, poly: Expr) -> Sign:
        """The sign of a polynomial over this region."""
        by_terms = self._by_terms(poly)
        # The cheapest proof first: all terms of one sign.
        if by_terms.side:
            return by_terms
        if len(poly.gens) == 1 and has_rational_coefficients(poly):
            return self._by_sturm(poly)
        if self._is_hopeless(poly):
            return _UNKNOWN

        for symbol in poly.gens:
            if self.kinds[symbol] == "real":
                return self._split_at_zero(poly, symbol)
        if not poly.is_homogeneous:
            # A positive symbol in the place of 1, with which the others are compared.
            unit = sp.Dummy("one")
            self.kinds[unit] = "positive"
            poly = poly.homogenize(unit)
        return self._split_where_equal(poly)

    def _is_hopeless(self, poly: Expr) -> bool:
        """Whether splitting takes too long, or both signs are seen, before the first split."""
        is_large = len(poly.terms()) > _MAX_TERMS or poly.total_degree() > _MAX_DEGREE
        return is_large or (self.splits == 0 and self._changes(poly))

    def _by_terms(self, poly: Expr) -> Sign:
        """The sign that all terms share; strict where some term vanishes nowhere."""
        sides = set()
        strict = False
        for powers, coefficient in poly.terms():
            term = self._term_sign(poly.gens, powers, coefficient)
            if not term.side:
                return _UNKNOWN
            sides.add(term.side)
            strict = strict or term.strict
        if len(sides) == 1:
            return Sign(sides.pop(), strict)
        return _UNKNOWN

    def _term_sign(
        self, gens: tuple[Expr, ...], powers: Powers, coefficient: Expr
    ) -> Sign:
        """The sign of a coefficient times powers: odd powers of what may have either sign are not known."""
        kinds_in_term = {
            self.kinds[gen] for gen, power in zip(gens, powers, strict=True) if power
        }
        odd_kinds = {
            self.kinds[gen]
            for gen, power in zip(gens, powers, strict=True)
            if power % 2
        }
        # An odd power of a symbol that may have either sign.
        if "real" in odd_kinds:
            return _UNKNOWN
        number = constant_sign(coefficient.xreplace(self.numbers))
        if not number.side:
            return _UNKNOWN
        return Sign(number.side, number.strict and kinds_in_term <= {"positive"})

    def _by_sturm(self, poly: Expr) -> Sign:
        """Roots of odd multiplicity are where the sign changes; Sturm's theorem counts them in the region."""
        (gen,) = poly.gens
        kind = self.kinds[gen]
        lowest = None if kind == "real" else sp.Integer(0)
        touches = False
        for factor, multiplicity in poly.factor_list()[1]:
            roots = _roots_above(factor, lowest)
            if roots and multiplicity % 2:
                return _UNKNOWN
            touches = touches or roots > 0
        if touches:
            return _sign_at_primes(poly)
        is_zero_at_border = kind == "nonnegative" and poly.eval(0) == 0
        side = int(sp.sign(poly.eval(1)))
        return Sign(side, not is_zero_at_border)

    def _split_at_zero(self, poly: Expr, symbol: Expr) -> Sign:
        """The sign where a real symbol is h and where it is −h, h ≥ 0."""
        if not self._may_split():
            return _UNKNOWN
        half = sp.Dummy("h")
        self.kinds[half] = "nonnegative"
        gens = tuple(half if gen == symbol else gen for gen in poly.gens)
        return _common(
            self.sign(_substituted(poly, symbol, side * half, gens)) for side in (1, -1)
        )

    def _split_where_equal(self, poly: Expr) -> Sign:
        """The sign on both sides of where two symbols are equal, for the first two that decide it."""
        for x, y in self._pairs(poly):
            if not self._may_split():
                return _UNKNOWN
            # Every point lies on one of the two sides, or on both borders.
            orders = ((x, y), (y, x))
            sign = _common(
                self.sign(self._beyond(poly, above, below)) for above, below in orders
            )
            if sign.side:
                return sign
        return _UNKNOWN

    def _beyond(self, poly: Expr, above: Expr, below: Expr) -> Expr:
        """The polynomial where one symbol is another plus something of zero or more."""
        difference = sp.Dummy("d")
        self.kinds[difference] = "nonnegative"
        gens = tuple(difference if gen == above else gen for gen in poly.gens)
        return _substituted(poly, above, below + difference, gens)

    def _pairs(self, poly: Expr) -> list[tuple[Expr, Expr]]:
        """The symbols of the largest term whose sign few others have: pairs of them, and with other symbols."""
        terms = self._float_terms(poly)
        positive = sum(coefficient > 0 for _, coefficient in terms)
        extreme = min if positive * 2 >= len(terms) else max
        powers, _ = extreme(terms, key=lambda term: term[1])

        inside = [gen for gen, power in zip(poly.gens, powers, strict=True) if power]
        outside = [gen for gen in poly.gens if gen not in inside]
        pairs = list(combinations(inside, 2))
        pairs += [(x, y) for x in inside for y in outside]
        return pairs

    def _changes(self, poly: Expr) -> bool:
        """Whether the polynomial has both signs at some points, as far as rounding shows."""
        terms = self._float_terms(poly)
        # Always the same points, so that a verdict does not depend on the run.
        random = Random(0)
        sides = set()
        for _ in range(_SAMPLES):
            point = [self._sample(gen, random) for gen in poly.gens]
            values = [
                coefficient * prod(map(pow, point, powers))
                for powers, coefficient in terms
            ]
            # What is within rounding of zero counts as zero: neither sign is claimed.
            total = sum(values)
            error = _ROUNDING * sum(map(abs, values))
            sides.add((total > error) - (total < -error))
        return {1, -1} <= sides

    def _float_terms(self, poly: Expr) -> list[tuple[Powers, float]]:
        """Powers and coefficient of every term, as doubles."""
        return [
            (powers, _as_float(coefficient.xreplace(self.numbers)))
            for powers, coefficient in poly.terms()
        ]

    def _sample(self, symbol: Expr, random: Random) -> float:
        """A value from 1/64 to 64: ratios of symbols then span some orders of magnitude."""
        size = random.randint(1, 64) / random.choice((1, 8, 64))
        is_negative = self.kinds[symbol] == "real" and random.random() < 0.5
        if is_negative:
            return -size
        return size

    def _may_split(self) -> bool:
        self.splits += 1
        return self.splits <= _MAX_SPLITS


def _roots_above(factor: Expr, lowest: Expr | None) -> int:
    """How many real roots a polynomial has above a number, or all: the border is no place where a sign changes."""
    roots = int(factor.count_roots(lowest, None))
    if lowest is not None and factor.eval(lowest) == 0:
        return roots - 1
    return roots


def _sign_at_primes(poly: Expr) -> Sign:
    """The sign of a polynomial with a double root: strict is not known, and any one point might be that root."""
    values = [poly.eval(number) for number in _PRIMES]
    sides = {int(sp.sign(value)) for value in values if value != 0}
    if len(sides) == 1:
        return Sign(sides.pop(), False)
    return _UNKNOWN


def _substituted(poly: Expr, symbol: Expr, value: Expr, gens: tuple[Expr, ...]) -> Expr:
    return sp.Poly(poly.as_expr().xreplace({symbol: value}), *gens)


def _common(signs: Iterable[Sign]) -> Sign:
    """The sign that all parts of a region share."""
    sides = set()
    strict = True
    for sign in signs:
        if not sign.side:
            return _UNKNOWN
        sides.add(sign.side)
        strict = strict and sign.strict
    if len(sides) == 1:
        return Sign(sides.pop(), strict)
    return _UNKNOWN


def _as_float(number: Expr) -> float:
    """Infinite where it is too large."""
    try:
        return float(number)
    except OverflowError:
        return inf
