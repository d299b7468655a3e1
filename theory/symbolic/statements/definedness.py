"""Whether a condition holds for all values that its symbols admit: proved, or broken at a point."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise

import sympy as sp

from ..algebra.domains import Condition
from ..algebra.enclosures import certain_sign
from ..algebra.sign_analysis import is_nonnegative, is_nonzero, is_positive
from ..algebra.zero_test import number_sign
from ..task import Expr
from .admitted_values import Admitted, Point
from .counterexamples import graded, numbers_of

_POINTS = 150  # that are tried as they come
_LINES = 24  # points from which one symbol after the other is solved for
_HIGHEST_DEGREE = 40  # of a polynomial whose real roots are isolated
_SPREAD = tuple(
    sp.Rational(number, 100)
    for number in (1, 10, 33, 50, 75, 100, 150, 200, 300, 500, 1000, 3000, 10000)
)
"""Numbers between which a sign may change."""

_HALVINGS = 40  # from an interval of 70 to ten digits

_FAR = tuple(sp.Integer(sign * 10**power) for power in (1, 3) for sign in (1, -1))
"""Numbers that are far from those that are tried as they come."""


def is_met(condition: Condition, admitted: Admitted) -> bool:
    """Whether a condition is proved for all admitted values.

    >>> x = sp.Symbol("x", positive=True)
    >>> [is_met(Condition("nonzero", expression), Admitted()) for expression in (x + 1, x - 1)]
    [True, False]
    """
    proof = {
        "nonzero": is_nonzero,
        "positive": is_positive,
        "nonnegative": is_nonnegative,
    }.get(condition.kind)
    if proof is None or condition.expression.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
        return False
    known = admitted.in_positive_symbols(condition.expression)
    if not proof(known):
        return False
    fraction = admitted.fraction
    if fraction is None or not condition.expression.has(fraction):
        return True
    return is_met(
        replace(
            condition,
            expression=condition.expression.xreplace({fraction: sp.Integer(1)}),
        ),
        admitted,
    )


def broken_at(condition: Condition, admitted: Admitted) -> Point | None:
    """A point that is admitted and where the condition does not hold; None if none was found.

    Small points first; then points on lines through them where the expression is zero or changes its sign.

    >>> x, y = sp.symbols("x y", positive=True)
    >>> broken_at(Condition("nonzero", x**2 - 2), Admitted())
    {x: sqrt(2)}
    >>> broken_at(Condition("nonnegative", x - 100 * y), Admitted())
    {x: 1, y: 1}
    """
    if condition.kind == "function":
        return None
    if condition.expression.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I):
        return None
    domains = numbers_of(condition.expression.free_symbols, admitted, borders=True)
    points = (point for point in graded(domains) if admitted.admits(point))
    tried = list(islice(points, _POINTS))
    for point in tried:
        if _breaks(condition, point):
            return point
    for point, is_zero in _on_lines(condition.expression, tried[:_LINES]):
        broken = is_zero and condition.kind != "nonnegative"
        if (
            admitted.admits(point)
            and _in_range(point)
            and (broken or _breaks(condition, point))
        ):
            return point
    return (
        _sign_change(condition.expression, tried[:_LINES], admitted)
        if condition.kind == "nonzero"
        else None
    )


def _breaks(condition: Condition, point: Point) -> bool:
    value = condition.expression.xreplace(point)
    if value.has(sp.zoo, sp.nan):
        return False
    try:
        side = number_sign(value)
    except ValueError:
        return False
    return {"nonzero": side == 0, "nonnegative": side < 0, "positive": side <= 0}[
        condition.kind
    ]


def _in_range(point: Point) -> bool:
    """Whether each symbol may have its number."""
    for symbol, number in point.items():
        try:
            side = number_sign(number)
        except ValueError:
            return False
        if symbol.is_integer and not number.is_Integer:
            return False
        if (symbol.is_positive and side <= 0) or (symbol.is_nonnegative and side < 0):
            return False
    return True


def _on_lines(expression: Expr, starts: list[Point]) -> Iterator[tuple[Point, bool]]:
    """Points where the expression vanishes along one symbol, with True, and between those, with False."""
    for start in starts:
        for symbol in start:
            others = {
                other: number for other, number in start.items() if other != symbol
            }
            zeros, between = _special_numbers(expression.xreplace(others), symbol)
            yield from ((start | {symbol: number}, True) for number in zeros)
            yield from (
                (start | {symbol: number}, False) for number in (*between, *_FAR)
            )


def _sign_change(
    expression: Expr, starts: list[Point], admitted: Admitted
) -> Point | None:
    """A point near which the expression changes its sign along one symbol, with that number in decimals.

    Either it is zero there or a part of it is infinite.
    """
    for start in starts:
        for symbol in (each for each in start if not each.is_integer):
            line = expression.xreplace(
                {other: number for other, number in start.items() if other != symbol}
            )
            numbers = sorted(
                _SPREAD
                if symbol.is_nonnegative
                else (*_SPREAD, *(-number for number in _SPREAD))
            )
            sides = [
                certain_sign(line.xreplace({symbol: number})) for number in numbers
            ]
            for (low, one), (high, other) in pairwise(zip(numbers, sides, strict=True)):
                if one and other and one != other:
                    ends = _bisected(line, symbol, low, high)
                    if all(admitted.admits(start | {symbol: end}) for end in ends):
                        return start | {symbol: sp.Float(ends[0], 6)}
    return None


def _bisected(line: Expr, symbol: Expr, low: Expr, high: Expr) -> tuple[Expr, Expr]:
    """Two near numbers between which the sign changes.

    What is admitted along one symbol is an interval: where both are admitted, so is what lies between.
    """
    side = certain_sign(line.xreplace({symbol: low}))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (
            (middle, high)
            if certain_sign(line.xreplace({symbol: middle})) == side
            else (low, middle)
        )
    return low, high


def _special_numbers(expression: Expr, symbol: Expr) -> tuple[list[Expr], list[Expr]]:
    """Zeros of a function of one symbol in closed form, and rational numbers between them."""
    if not expression.has(symbol):
        return [], []
    exponential, rate = _by_exponential(expression, symbol)
    unknown = symbol if rate is None else exponential
    in_unknown = (
        expression
        if rate is None
        else _in_exponential(expression, rate, symbol, unknown)
    )
    polynomial = _numerator(in_unknown, unknown)
    if polynomial is None:
        return [], []
    zeros = sorted(set(polynomial.real_roots()))
    between = [
        sp.nsimplify((one + other).evalf(15) / 2, rational=True)
        for one, other in pairwise(zeros)
    ]
    if rate is None:
        return zeros, between
    return [sp.log(zero) / rate for zero in zeros if zero > 0], [
        sp.log(each) / rate for each in between if each > 0
    ]


def _numerator(expression: Expr, symbol: Expr) -> Expr | None:
    """The numerator as a polynomial with rational coefficients of moderate degree, or None."""
    top, _ = sp.fraction(sp.together(expression))
    if not top.is_polynomial(symbol):
        return None
    polynomial = sp.Poly(top, symbol)
    if (
        not (polynomial.domain.is_ZZ or polynomial.domain.is_QQ)
        or not 0 < polynomial.degree() <= _HIGHEST_DEGREE
    ):
        return None
    return polynomial


def _by_exponential(expression: Expr, symbol: Expr) -> tuple[Expr, Expr | None]:
    """A symbol for e^(c x), and the c of which all exponents are whole multiples, or None."""
    exponential = sp.Dummy("E", positive=True)
    arguments = [node.args[0] for node in expression.atoms(sp.exp) if node.has(symbol)]
    rates = [argument.coeff(symbol) for argument in arguments]
    if not rates or any(
        sp.expand(a - r * symbol).has(symbol)
        for a, r in zip(arguments, rates, strict=True)
    ):
        return exponential, None
    ratios = [rate / rates[0] for rate in rates]
    if not all(ratio.is_Rational and ratio != 0 for ratio in ratios):
        return exponential, None
    scale = sp.ilcm(1, *(ratio.q for ratio in ratios))
    return exponential, rates[0] / scale


def _in_exponential(
    expression: Expr, rate: Expr, symbol: Expr, exponential: Expr
) -> Expr:
    """The expression with E for e^(c x)."""
    return expression.replace(
        lambda node: isinstance(node, sp.exp) and node.has(symbol),
        lambda node: (
            exponential ** (node.args[0].coeff(symbol) / rate)
            * sp.exp(node.args[0] - node.args[0].coeff(symbol) * symbol)
        ),
    )
