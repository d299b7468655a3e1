"""Arithmetic on expressions that refuses to make what is too large, and notes where it is infinite or not real.

Roots are those of real numbers: the cube root of −8 is −2. What has no value for any values of its symbols is
refused; where the conditions of a formula are asked for (`domains.noted`), it is noted, and a number stands for it.
"""

from collections.abc import Sequence

import sympy as sp

from ..algebra.domains import Condition, note, of_power
from ..algebra.expression_size import Size, power_size, product_size, size
from ..algebra.odd_roots import odd_power
from ..task import Expr, average

MAX_POWER, MAX_ROOT = 64, 12
"""Bounds on the numerator and the denominator of an exponent."""

MAX_NUMBER = 300
"""The most digits of a number."""

_EXPONENTIALS = ("exp", "sinh", "cosh", "tanh")

_LABELS = (
    "its degree",
    "its terms",
    "the bits of its numbers",
    "the levels of roots and functions",
)

# What SymPy handles in seconds, as an expression.
_LARGEST = Size(degree=256, terms=100_000, bits=4096, levels=3)

# What may stand inside of roots and functions, where SymPy looks for signs.
_INSIDE = Size(degree=64, terms=10_000, bits=256, levels=2)

# What may stand in an exponent: SymPy takes exp(n x) for the power n of exp(x).
_EXPONENT = _INSIDE._replace(bits=16)

# What may be averaged: it is multiplied out at once.
_AVERAGED = Size(degree=24, terms=2000, bits=256, levels=2)


def added(terms: Sequence[Expr]) -> Expr:
    """The sum of the terms; ValueError if it is too large."""
    return _within(sp.Add(*terms))


def multiplied(factors: Sequence[Expr]) -> Expr:
    """The product of the factors; ValueError if it is too large."""
    # Before it is made: a product of whole powers may be huge.
    _require(product_size([size(factor) for factor in factors]), _LARGEST)
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
    # Noted before anything is simplified: 0·(1/x) forgets its x.
    is_noted = note(*of_power(base, exponent))
    if base == 0 and exponent < 0:
        return _stand_in("division by zero", is_noted)
    _require(power_size(size(base), exponent), _LARGEST)
    if not exponent.is_Integer:
        _require(size(base), _INSIDE)
    if exponent.q % 2:
        return _real(odd_power(base, exponent), is_noted)
    return _real(sp.Pow(base, exponent), is_noted)


def function(name: str, argument: Expr) -> Expr:
    """The function of this name of an expression; ValueError where it is not real, or too large."""
    match name:
        case "sqrt":
            return power(argument, sp.Rational(1, 2))
        case "cbrt":
            return power(argument, sp.Rational(1, 3))
        case "average" | "avg":
            _require(size(argument), _AVERAGED)
            return _within(average(argument))
        case "log" | "ln":
            _require_simple_argument(name, argument, _INSIDE)
            return _log(name, argument)
        case "arctan":
            _require_simple_argument(name, argument, _INSIDE)
            return _real(sp.atan(argument), is_noted=False)
    limit = _EXPONENT if name in _EXPONENTIALS else _INSIDE
    _require_simple_argument(name, argument, limit)
    return _real(getattr(sp, name)(argument), is_noted=False)


def _log(name: str, argument: Expr) -> Expr:
    is_noted = note(Condition("positive", argument, f"{name}({{}})"))
    # log 0 is infinite whatever the symbols are.
    if argument == 0:
        return _stand_in("the logarithm of zero is not finite", is_noted)
    return _real(sp.log(argument), is_noted)


def _require_simple_argument(name: str, argument: Expr, limit: Size) -> None:
    """ValueError for an argument that is too large, or whose function SymPy evaluates without end."""
    _require(size(argument), limit)
    if argument.is_number and argument.has(sp.Function):
        raise ValueError(
            f"{name} of a constant must be one of roots and rational numbers, not of {argument}"
        )
    if name in _EXPONENTIALS and argument.has(sp.log):
        raise ValueError(f"{name} of a logarithm must be written as a power")


def _within(expression: Expr) -> Expr:
    _require(size(expression), _LARGEST)
    return expression


def _require(actual: Size, allowed: Size) -> None:
    """ValueError that names the first bound which is exceeded."""
    for label, value, limit in zip(_LABELS, actual, allowed, strict=True):
        if value > limit:
            raise ValueError(
                f"too large an expression: {label} may be {limit} here, not {value}"
            )


def _real(expression: Expr, is_noted: bool) -> Expr:
    """The expression; where it is never real, its conditions say so if they are noted, and else ValueError."""
    # SymPy's own answer; None where it does not know.
    is_complex_number = expression.is_number and expression.is_real is False
    if is_complex_number or expression.has(sp.I, sp.nan, sp.zoo, sp.oo, -sp.oo):
        return _stand_in(f"{expression} is no real number", is_noted)
    return _within(expression)


def _stand_in(message: str, is_noted: bool) -> Expr:
    """A number for what has no value, so that reading goes on; ValueError if nobody would know."""
    if not is_noted:
        raise ValueError(message)
    return sp.Integer(1)
