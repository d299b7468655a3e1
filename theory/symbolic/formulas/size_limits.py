"""Arithmetic on expressions that refuses to make what is too large, and notes where it is infinite or not real.

Roots are those of real numbers: the cube root of −8 is −2. What has no value for any values of its symbols is
refused; where the conditions of a formula are asked for (`domain.noted`), it is noted, and a number stands for it.
"""

from collections.abc import Sequence
from math import ceil, comb, prod
from typing import NamedTuple

import sympy as sp

from ..algebra.domains import Condition, note, of_power
from ..algebra.odd_roots import odd_power
from ..task import Expr, average

MAX_POWER, MAX_ROOT = 64, 12
"""Bounds on the numerator and the denominator of an exponent."""


MAX_NUMBER = 300
"""The most digits of a number."""

_EXPONENTIALS = ("exp", "sinh", "cosh", "tanh")


class Size(NamedTuple):
    """Bounds: degree, terms when multiplied out, bits of a number, and how deep roots and functions are nested."""

    degree: int
    terms: int
    bits: int
    levels: int


_LABELS = (
    "its degree",
    "its terms",
    "the bits of its numbers",
    "the levels of roots and functions",
)
_LARGEST = Size(degree=256, terms=100_000, bits=4096, levels=3)
_INSIDE = Size(
    degree=64, terms=10_000, bits=256, levels=2
)  # of roots and functions, where SymPy looks for signs
_EXPONENT = _INSIDE._replace(bits=16)  # SymPy takes exp(n x) for the power n of exp(x)
_AVERAGED = Size(degree=24, terms=2000, bits=256, levels=2)  # multiplied out at once


def size(expression: Expr) -> Size:
    """The size of an expression, from its parts."""
    if expression.is_Rational:
        return Size(
            0, 1, max(abs(int(expression.p)), int(expression.q)).bit_length(), 0
        )
    parts = [size(part) for part in expression.args]
    bits = max((part.bits for part in parts), default=0)
    levels = max((part.levels for part in parts), default=0)
    if expression.is_Add:
        return Size(
            max(part.degree for part in parts),
            sum(part.terms for part in parts),
            bits,
            levels,
        )
    if expression.is_Mul:
        return _product(parts)
    if expression.is_Pow and expression.exp.is_Rational:
        return _power(parts[0], expression.exp)
    return Size(1, 1, bits, levels + len(parts[:1]))


def added(terms: Sequence[Expr]) -> Expr:
    """The sum of the terms; ValueError if it is too large."""
    return _within(sp.Add(*terms))


def multiplied(factors: Sequence[Expr]) -> Expr:
    """The product of the factors; ValueError if it is too large."""
    _require(_product([size(factor) for factor in factors]))
    return _within(sp.Mul(*factors))


def inverse(expression: Expr) -> Expr:
    """One over an expression; ValueError if that is zero."""
    return power(expression, sp.Integer(-1))


def power(base: Expr, exponent: Expr) -> Expr:
    """A rational power, or any real one of e; ValueError for others, 0 to negative powers and roots of −1."""
    if base == sp.E:
        return function("exp", exponent)
    if not exponent.is_Rational or abs(exponent.p) > MAX_POWER or exponent.q > MAX_ROOT:
        raise ValueError(
            f"an exponent must be a rational number p/q with |p| ≤ {MAX_POWER} and q ≤ {MAX_ROOT}, not {exponent}"
        )
    is_noted = note(*of_power(base, exponent))
    if base == 0 and exponent < 0:
        return _stand_in("division by zero", is_noted)
    _require(_power(size(base), exponent), _LARGEST)
    if not exponent.is_Integer:
        _require(size(base), _INSIDE)
    return _real(
        odd_power(base, exponent) if exponent.q % 2 else sp.Pow(base, exponent),
        is_noted,
    )


def function(name: str, argument: Expr) -> Expr:
    """The function of this name of an expression; ValueError where it is not real, or too large."""
    if name == "sqrt":
        return power(argument, sp.Rational(1, 2))
    if name == "cbrt":
        return power(argument, sp.Rational(1, 3))
    inside = size(argument)
    if name in ("average", "avg"):
        _require(inside, _AVERAGED)
        return _within(average(argument))
    _require(inside, _EXPONENT if name in _EXPONENTIALS else _INSIDE)
    if argument.is_number and argument.has(sp.Function):
        raise ValueError(
            f"{name} of a constant must be one of roots and rational numbers, not of {argument}"
        )
    if name in _EXPONENTIALS and argument.has(sp.log):
        raise ValueError(f"{name} of a logarithm must be written as a power")
    is_noted = False
    if name in ("log", "ln"):
        is_noted = note(Condition("positive", argument, f"{name}({{}})"))
        if argument == 0:
            return _stand_in("the logarithm of zero is not finite", is_noted)
    return _real(
        getattr(sp, {"ln": "log", "arctan": "atan"}.get(name, name))(argument), is_noted
    )


def _product(parts: Sequence[Size]) -> Size:
    degrees, terms, bits, levels = zip(*parts, strict=True)
    return Size(sum(degrees), prod(terms), sum(bits), max(levels))


def _power(base: Size, exponent: Expr) -> Size:
    times = max(ceil(abs(exponent)), 1)
    terms = comb(base.terms + times - 1, times)
    return Size(
        base.degree * times,
        terms,
        base.bits * times,
        base.levels + (not exponent.is_Integer),
    )


def _within(expression: Expr) -> Expr:
    _require(size(expression))
    return expression


def _require(found: Size, allowed: Size = _LARGEST) -> None:
    for name, value, limit in zip(_LABELS, found, allowed, strict=True):
        if value > limit:
            raise ValueError(
                f"too large an expression: {name} may be {limit} here, not {value}"
            )


def _real(expression: Expr, is_noted: bool) -> Expr:
    """The expression; where it is never real, its conditions say so if they are noted, and else ValueError."""
    complex_number = expression.is_number and expression.is_real is False
    if complex_number or expression.has(sp.I, sp.nan, sp.zoo, sp.oo, -sp.oo):
        return _stand_in(f"{expression} is no real number", is_noted)
    return _within(expression)


def _stand_in(mistake: str, is_noted: bool) -> Expr:
    """A number for what has no value, so that the rest of the formula is read; ValueError if nobody would know."""
    if not is_noted:
        raise ValueError(mistake)
    return sp.Integer(1)
