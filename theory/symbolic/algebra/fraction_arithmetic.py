"""Arithmetic on fractions of polynomials with whole numbers, with as few greatest common divisors as possible."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from functools import cache

import sympy as sp

from ..task import Expr
from .polynomials import Element, Powers

# Of a polynomial that is factored: more terms take minutes.
_MAX_TERMS = 300

# In all symbols together, of a polynomial in several of them that is factored.
_MAX_DEGREE = 48

# Beyond, a whole number of 256 bits takes minutes: it is not factored further.
_TRIAL_DIVISORS = 2**15


class Undecided(ValueError):
    """Neither proved nor refuted: what it takes is not known here."""


def fraction_sum(values: Iterable[Element], field: Element) -> Element:
    """The sum of fractions, those of one denominator first: every sum of two costs a greatest common divisor."""
    # denominator → sum of numerators
    numerators: dict[Element, Element] = defaultdict(lambda: field.ring.zero)
    for value in values:
        numerators[value.denom] += value.numer
    total = field.zero
    for denominator, numerator in numerators.items():
        total += field(numerator) / field(denominator)
    return total


def fraction_product(values: Iterable[Element], field: Element) -> Element:
    """The product of fractions with one greatest common divisor."""
    numerator = field.ring.one
    denominator = field.ring.one
    for value in values:
        numerator *= value.numer
        denominator *= value.denom
    return field(numerator) / field(denominator)


def folded(polynomial: Element, index: int, order: int, radicand: Element) -> Element:
    """A polynomial with root^order replaced by the radicand, where generator `index` is the root: a fraction."""
    # root^(k·order + r) = radicand^k · root^r: terms are grouped by k.
    parts: dict[int, dict[Powers, int]] = defaultdict(dict)
    for powers, coefficient in polynomial.terms():
        k, remaining = divmod(powers[index], order)
        parts[k][(*powers[:index], remaining, *powers[index + 1 :])] = coefficient

    field = radicand.field
    total = field.zero
    for k, part in parts.items():
        total += field(polynomial.ring.from_dict(part)) * radicand**k
    return total


def irreducible_factors(value: Element) -> Iterator[tuple[Expr, int]]:
    """The irreducible factors of a fraction, primes and −1 among them, with their multiplicities.

    `Undecided` where factoring takes too long.
    """
    for polynomial, sign in ((value.numer, 1), (value.denom, -1)):
        _require_factorable(polynomial)
        content, factors = polynomial.LC, []
        if not polynomial.is_ground:
            content, factors = polynomial.factor_list()
        for number, multiplicity in _number_factors(int(content)):
            yield sp.Integer(number), sign * multiplicity
        for factor, multiplicity in factors:
            yield factor.as_expr(), sign * int(multiplicity)


def _require_factorable(polynomial: Element) -> None:
    """`Undecided` for a polynomial whose factors take minutes to find: many terms, or a high degree in several."""
    where = "what stands under a root or a logarithm has"
    if len(polynomial) > _MAX_TERMS:
        raise Undecided(f"{where} {len(polynomial)} terms: it is not factored")
    if len(polynomial) == 1:
        return
    degrees = [degree for degree in polynomial.degrees() if degree > 0]
    if len(degrees) > 1 and sum(degrees) > _MAX_DEGREE:
        raise Undecided(f"{where} too high a degree to be factored")


@cache
def _number_factors(number: int) -> tuple[tuple[int, int], ...]:
    """Small primes, −1 and what remains of a whole number, which is no power, with their multiplicities."""
    divisors = sp.factorint(number, limit=_TRIAL_DIVISORS, use_pm1=False, use_rho=False)
    factors = []
    for divisor, multiplicity in divisors.items():
        # What trial division leaves may be a power of a large prime: 2^4 is (2, 4).
        base, exponent = sp.perfect_power(divisor, factor=False) or (divisor, 1)
        factors.append((int(base), int(multiplicity * exponent)))
    return tuple(factors)
