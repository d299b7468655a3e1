"""Real numbers in closed form, enclosed in intervals that are certain to hold them."""

from collections.abc import Callable, Iterable
from typing import Any

import mpmath
import sympy as sp
from mpmath import iv

from ..task import Expr
from .odd_roots import OddRoot

Interval = Any
"""An interval of mpmath, which announces no types."""

DIGITS = (20, 80, 320)
"""Precisions that are tried in turn: what is not zero shows at the first nearly always."""

_MAX_EXPONENT = 20_000  # e^20000 has 29,000 bits: larger numbers have no use and no end


class Unbounded(ValueError):
    """No enclosure exists at this precision: a division, a root or a logarithm reaches beyond its domain."""


def enclosure(number: Expr, digits: int = 20) -> Interval:
    """An interval around a real number that is made of rational numbers, π, e, roots, exp, log, tanh, atan and |·|.

    `Unbounded` where an argument is not certain to be in the domain of its function: more digits may help.
    ValueError for anything else.

    >>> interval = enclosure(sp.sqrt(2) + sp.log(3) - sp.pi)
    >>> bool(interval.b < -0.62), bool(interval.delta < 1e-15)
    (True, True)
    """
    precision = iv.dps
    iv.dps = digits
    try:
        return _enclosed(sp.sympify(number, strict=True), {})
    finally:
        iv.dps = precision


def certain_sign(number: Expr) -> int | None:
    """1 or −1 where an enclosure is certain of it; None near zero, at zero, and where there is no enclosure.

    >>> certain_sign(sp.sqrt(2) - 1), certain_sign(sp.sqrt(2) ** 2 - 2), certain_sign(sp.log(2) ** 2 - sp.log(2))
    (1, None, -1)
    """
    # More digits only where fewer do not decide: they cost time.
    for digits in DIGITS:
        try:
            interval = enclosure(number, digits)
        except Unbounded:
            continue
        except (ValueError, OverflowError):
            return None
        if interval.a > 0:
            return 1
        if interval.b < 0:
            return -1
    return None


def _enclosed(node: Expr, cache: dict[Expr, Interval]) -> Interval:
    """The interval of a node, each computed once."""
    if node not in cache:
        if node.args:
            cache[node] = _enclosed_operation(node, cache)
        else:
            cache[node] = _enclosed_constant(node)
    return cache[node]


def _enclosed_constant(node: Expr) -> Interval:
    if node.is_Rational:
        return _exact_ratio(node)
    if node is sp.pi:
        # The sign + rounds π to the present precision.
        return +iv.pi
    if node is sp.E:
        return iv.exp(iv.mpf(1))
    raise _not_closed(node)


def _enclosed_operation(node: Expr, cache: dict[Expr, Interval]) -> Interval:
    """The interval of a sum, a product, a power or a function, from those of its parts."""
    if isinstance(node, sp.CRootOf):
        # Numbered roots of polynomials, which SymPy isolates to any precision.
        return _near(node.eval_rational(n=iv.dps), iv.mpf(10) ** -iv.dps)
    if isinstance(node, OddRoot):
        radicand, order = node.args
        return _odd_root(_enclosed(radicand, cache), int(order))
    if node.is_Add or node.is_Mul:
        parts = [_enclosed(part, cache) for part in node.args]
        return _sum(parts) if node.is_Add else _product(parts)
    if node.is_Pow and node.exp.is_Rational:
        return _power(_enclosed(node.base, cache), node.exp)
    function = _FUNCTIONS.get(node.func)
    if function is None or len(node.args) > 1:
        raise _not_closed(node)
    return function(_enclosed(node.args[0], cache))


def _sum(terms: Iterable[Interval]) -> Interval:
    total = iv.mpf(0)
    for term in terms:
        total += term
    return total


def _product(factors: Iterable[Interval]) -> Interval:
    total = iv.mpf(1)
    for factor in factors:
        total *= factor
    return total


def _not_closed(node: Expr) -> ValueError:
    return ValueError(f"{node} is no real number in closed form")


def _exact_ratio(number: Expr) -> Interval:
    return iv.mpf(int(number.p)) / int(number.q)


def _near(number: Expr, error: Interval) -> Interval:
    return _exact_ratio(number) + iv.mpf([-1, 1]) * error


def _power(base: Interval, exponent: Expr) -> Interval:
    p, q = int(exponent.p), int(exponent.q)
    if p < 0 and base.a <= 0 <= base.b:
        raise Unbounded("a division by what may be zero")
    if q == 1:
        return base**p
    if base.b < 0:
        raise ValueError("a root of a negative number is not real")
    if base.a < 0:
        raise Unbounded("a root of what may be negative")
    if base.a == 0:
        return _power_from_zero(base, p, q)
    # sqrt is tighter than exp of a logarithm.
    if q == 2:
        return iv.sqrt(base) ** p
    return iv.exp(iv.log(base) * p / q)


def _power_from_zero(base: Interval, p: int, q: int) -> Interval:
    """The power of an interval that begins at zero, for p > 0: from zero to that of its end, by monotony."""
    if base.b == 0:
        return iv.mpf(0)
    highest = iv.exp(iv.log(iv.mpf(base.b)) * p / q)
    return iv.mpf([0, 1]) * highest


def _odd_root(base: Interval, order: int) -> Interval:
    if base.a > 0:
        return iv.exp(iv.log(base) / order)
    if base.b < 0:
        return -iv.exp(iv.log(-base) / order)
    raise Unbounded("an odd root near zero")


def _exp(argument: Interval) -> Interval:
    if abs(argument).b > _MAX_EXPONENT:
        raise ValueError("an exponential that is too large to be computed")
    return iv.exp(argument)


def _log(argument: Interval) -> Interval:
    if argument.b <= 0:
        raise ValueError("the logarithm of a number that is not positive is not real")
    if argument.a <= 0:
        raise Unbounded("the logarithm of what may not be positive")
    return iv.log(argument)


def _sinh(argument: Interval) -> Interval:
    return (_exp(argument) - _exp(-argument)) / 2


def _cosh(argument: Interval) -> Interval:
    return (_exp(argument) + _exp(-argument)) / 2


def _tanh(argument: Interval) -> Interval:
    return 1 - 2 / (_exp(2 * argument) + 1)


def _atan(argument: Interval) -> Interval:
    """Increasing, so that the ends decide; each is computed to more digits than are kept."""
    with mpmath.workdps(iv.dps + 10):
        low = mpmath.atan(mpmath.mpf(argument.a))
        high = mpmath.atan(mpmath.mpf(argument.b))
    # |atan| < 2, so that an error of one unit in the last of `dps` digits is below this.
    rounding = iv.mpf(10) ** -(iv.dps - 1)
    return iv.mpf([low, high]) + iv.mpf([-1, 1]) * rounding


def _sign(argument: Interval) -> Interval:
    # The sign jumps at zero: no interval around it has one.
    if argument.a <= 0 <= argument.b:
        raise Unbounded("the sign of what may be zero")
    return iv.mpf(1 if argument.a > 0 else -1)


_FUNCTIONS: dict[Any, Callable[[Interval], Interval]] = {
    sp.exp: _exp,
    sp.log: _log,
    sp.sinh: _sinh,
    sp.cosh: _cosh,
    sp.tanh: _tanh,
    sp.atan: _atan,
    sp.Abs: abs,
    sp.sign: _sign,
}
