"""Real numbers in closed form, enclosed in intervals that are certain to hold them."""

from collections.abc import Callable
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

_MOST_BITS = 20_000  # of an exponent: e to 2^20000 has no use and no end


class Unbounded(ValueError):
    """No enclosure exists at this precision: a division, a root or a logarithm reaches beyond its domain."""


def enclosure(number: Expr, digits: int = 20) -> Interval:
    """An interval around a real number that is made of rational numbers, π, e, roots, exp, log, tanh, atan and |·|.

    `Unbounded` where an argument is not certain to be in the domain of its function: more digits may help.
    ValueError for anything else.

    >>> box = enclosure(sp.sqrt(2) + sp.log(3) - sp.pi)
    >>> bool(box.b < -0.62), bool(box.delta < 1e-15)
    (True, True)
    """
    before = iv.dps
    iv.dps = digits
    try:
        return _enclosed(sp.sympify(number, strict=True), {})
    finally:
        iv.dps = before


def certain_sign(number: Expr) -> int | None:
    """1 or −1 where an enclosure is certain of it; None near zero, at zero, and where there is no enclosure.

    >>> certain_sign(sp.sqrt(2) - 1), certain_sign(sp.sqrt(2) ** 2 - 2), certain_sign(sp.log(2) ** 2 - sp.log(2))
    (1, None, -1)
    """
    for digits in DIGITS:
        try:
            box = enclosure(number, digits)
        except Unbounded:
            continue
        except (ValueError, OverflowError):
            return None
        if box.a > 0:
            return 1
        if box.b < 0:
            return -1
    return None


def _enclosed(node: Expr, found: dict[Expr, Interval]) -> Interval:
    if node not in found:
        found[node] = _made(node, found)
    return found[node]


def _made(node: Expr, found: dict[Expr, Interval]) -> Interval:
    if node.is_Rational:
        return iv.mpf(int(node.p)) / int(node.q)
    if node is sp.pi:
        return +iv.pi
    if node is sp.E:
        return iv.exp(iv.mpf(1))
    if node.is_Add:
        return sum((_enclosed(part, found) for part in node.args), iv.mpf(0))
    if node.is_Mul:
        product = iv.mpf(1)
        for part in node.args:
            product *= _enclosed(part, found)
        return product
    if node.is_Pow and node.exp.is_Rational:
        return _power(_enclosed(node.base, found), node.exp)
    if isinstance(node, sp.CRootOf):
        return _near(node.eval_rational(n=iv.dps), iv.mpf(10) ** -iv.dps)
    if isinstance(node, OddRoot):
        return _odd_root(_enclosed(node.args[0], found), int(node.args[1]))
    if node.func in _FUNCTIONS and len(node.args) == 1:
        return _FUNCTIONS[node.func](_enclosed(node.args[0], found))
    raise ValueError(f"{node} is no real number in closed form")


def _near(number: Expr, error: Interval) -> Interval:
    return iv.mpf(int(number.p)) / int(number.q) + iv.mpf([-1, 1]) * error


def _power(base: Interval, exponent: Expr) -> Interval:
    p, q = int(exponent.p), int(exponent.q)
    if p < 0 and base.a <= 0 <= base.b:
        raise Unbounded("a division by what may be zero")
    if q == 1:
        return base**p
    if base.a < 0 and base.b >= 0:
        raise Unbounded("a root of what may be negative")
    if base.b < 0:
        raise ValueError("a root of a negative number is not real")
    if base.a == 0:
        return (
            iv.mpf([0, 1]) * iv.exp(iv.log(iv.mpf(base.b)) * p / q)
            if base.b > 0
            else iv.mpf(0)
        )
    return iv.sqrt(base) ** p if q == 2 else iv.exp(iv.log(base) * p / q)


def _odd_root(base: Interval, order: int) -> Interval:
    if base.a > 0:
        return iv.exp(iv.log(base) / order)
    if base.b < 0:
        return -iv.exp(iv.log(-base) / order)
    raise Unbounded("an odd root near zero")


def _exp(argument: Interval) -> Interval:
    if abs(argument).b > _MOST_BITS:
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
        low, high = (mpmath.atan(mpmath.mpf(end.a)) for end in (argument.a, argument.b))
    rounding = iv.mpf(10) ** -(iv.dps - 1)
    return iv.mpf([low, high]) + iv.mpf([-1, 1]) * rounding


def _sign(argument: Interval) -> Interval:
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
