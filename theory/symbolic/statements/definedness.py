"""Whether a condition holds for all values that its symbols admit: proved, or broken at a point."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from typing import NamedTuple

import sympy as sp

from ..algebra.domains import Condition
from ..algebra.enclosures import certain_sign
from ..algebra.polynomial_signs import has_rational_coefficients
from ..algebra.sign_analysis import is_nonnegative, is_nonzero, is_positive
from ..algebra.zero_test import number_sign
from ..task import Expr
from .admitted_values import Admitted, Point
from .counterexamples import graded, numbers_of

# Points that are tried as they come.
_POINTS = 150

# Points from which the expression is solved for each symbol in turn.
_LINES = 24

# Of a polynomial whose real roots are isolated: more takes seconds.
_MAX_DEGREE = 40

_SPREAD = tuple(
    sp.Rational(number, 100)
    for number in (1, 10, 33, 50, 75, 100, 150, 200, 300, 500, 1000, 3000, 10000)
)
"""Numbers between which a sign may change."""

# From an interval of the length 7000 to 10⁻⁸.
_HALVINGS = 40

_FAR = tuple(sp.Integer(sign * 10**power) for power in (1, 3) for sign in (1, -1))
"""Numbers that are far from those that are tried as they come."""


_PROOFS = {
    "nonzero": is_nonzero,
    "positive": is_positive,
    "nonnegative": is_nonnegative,
}


def is_met(condition: Condition, admitted: Admitted) -> bool:
    """Whether a condition is proved for all admitted values.

    >>> x = sp.Symbol("x", positive=True)
    >>> [is_met(Condition("nonzero", expression), Admitted()) for expression in (x + 1, x - 1)]
    [True, False]
    """
    proof = _PROOFS.get(condition.kind)
    if proof is None or _is_infinite(condition.expression):
        return False
    if not proof(admitted.in_positive_symbols(condition.expression)):
        return False

    # p = u/(1 + u) leaves out p = 1, which is looked at by itself.
    fraction = admitted.fraction
    if fraction is None or not condition.expression.has(fraction):
        return True
    at_one = condition.expression.xreplace({fraction: sp.Integer(1)})
    return is_met(replace(condition, expression=at_one), admitted)


def _is_infinite(expression: Expr) -> bool:
    """Whether the expression is infinite or complex for all values of its symbols."""
    return bool(expression.has(sp.zoo, sp.nan, sp.oo, -sp.oo, sp.I))


def broken_at(condition: Condition, admitted: Admitted) -> Point | None:
    """A point that is admitted and where the condition does not hold; None if none was found.

    Small points first; then points on lines through them where the expression is zero or changes its sign.

    >>> x, y = sp.symbols("x y", positive=True)
    >>> broken_at(Condition("nonzero", x**2 - 2), Admitted())
    {x: sqrt(2)}
    >>> broken_at(Condition("nonnegative", x - 100 * y), Admitted())
    {x: 1, y: 1}
    """
    expression = condition.expression
    if condition.kind == "function" or _is_infinite(expression):
        return None
    domains = numbers_of(expression.free_symbols, admitted, borders=True)
    points = (point for point in graded(domains) if admitted.admits(point))
    tried = list(islice(points, _POINTS))
    for point in tried:
        if _breaks(condition, point):
            return point

    # Zeros that no small number hits: the expression is solved along one symbol.
    for candidate in _on_lines(expression, tried[:_LINES]):
        point = candidate.point
        if not (admitted.admits(point) and _in_range(point)):
            continue
        breaks_at_zero = candidate.is_zero and condition.kind != "nonnegative"
        if breaks_at_zero or _breaks(condition, point):
            return point
    if condition.kind == "nonzero":
        return _sign_change(expression, tried[:_LINES], admitted)
    return None


def _breaks(condition: Condition, point: Point) -> bool:
    """Whether a condition is certain not to hold at a point that has every symbol of it."""
    value = condition.expression.xreplace(point)
    if value.has(sp.zoo, sp.nan):
        return False
    try:
        side = number_sign(value)
    except ValueError:
        return False
    match condition.kind:
        case "nonzero":
            return side == 0
        case "nonnegative":
            return side < 0
    return side <= 0


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


class _Candidate(NamedTuple):
    """A point on a line, and whether the expression vanishes there."""

    point: Point
    is_zero: bool


def _on_lines(expression: Expr, starts: list[Point]) -> Iterator[_Candidate]:
    """Points where the expression vanishes along one symbol, and points between those and far away."""
    for start in starts:
        for symbol in start:
            line = _line(expression, start, symbol)
            zeros, between = _special_numbers(line, symbol)
            for number in zeros:
                yield _Candidate(start | {symbol: number}, is_zero=True)
            for number in (*between, *_FAR):
                yield _Candidate(start | {symbol: number}, is_zero=False)


def _line(expression: Expr, point: Point, symbol: Expr) -> Expr:
    """The expression as a function of one symbol, with the numbers of a point for the others."""
    return expression.xreplace(
        {other: number for other, number in point.items() if other != symbol}
    )


def _sign_change(
    expression: Expr, starts: list[Point], admitted: Admitted
) -> Point | None:
    """A point near which the expression changes its sign along one symbol, with that number in decimals.

    Either it is zero there or a part of it is infinite.
    """
    for start in starts:
        for symbol in start:
            if symbol.is_integer:
                continue
            line = _line(expression, start, symbol)
            for low, high in _sign_changes(line, symbol):
                ends = _bisected(line, symbol, low, high)
                if all(admitted.admits(start | {symbol: end}) for end in ends):
                    return start | {symbol: sp.Float(ends[0], 6)}
    return None


def _sign_changes(line: Expr, symbol: Expr) -> Iterator[tuple[Expr, Expr]]:
    """Neighbours among the numbers of `_SPREAD` between which the sign changes for certain."""
    numbers = sorted(_SPREAD)
    if not symbol.is_nonnegative:
        numbers = [*(-number for number in reversed(numbers)), *numbers]
    sides = [certain_sign(line.xreplace({symbol: number})) for number in numbers]
    for (low, side), (high, next_side) in pairwise(zip(numbers, sides, strict=True)):
        if side and next_side and side != next_side:
            yield low, high


def _bisected(line: Expr, symbol: Expr, low: Expr, high: Expr) -> tuple[Expr, Expr]:
    """Two near numbers between which the sign changes.

    What is admitted along one symbol is an interval: where both are admitted, so is what lies between.
    """
    # The sign at the lower end, which stays the sign there.
    side = certain_sign(line.xreplace({symbol: low}))
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if certain_sign(line.xreplace({symbol: middle})) == side:
            low = middle
        else:
            high = middle
    return low, high


def _special_numbers(expression: Expr, symbol: Expr) -> tuple[list[Expr], list[Expr]]:
    """Zeros of a function of one symbol in closed form, and rational numbers between them."""
    if not expression.has(symbol):
        return [], []
    # A polynomial in the symbol x, or one in E = e^(c x).
    unknown = symbol
    rate = _common_rate(expression, symbol)
    if rate is not None:
        unknown = sp.Dummy("E", positive=True)
        expression = _in_exponential(expression, rate, symbol, unknown)
    polynomial = _numerator(expression, unknown)
    if polynomial is None:
        return [], []

    zeros = sorted(set(polynomial.real_roots()))
    between = [
        sp.nsimplify((low + high).evalf(15) / 2, rational=True)
        for low, high in pairwise(zeros)
    ]
    if rate is None:
        return zeros, between
    return _logarithms(zeros, rate), _logarithms(between, rate)


def _logarithms(numbers: list[Expr], rate: Expr) -> list[Expr]:
    """The x with e^(c x) = E for the positive ones among some E."""
    return [sp.log(number) / rate for number in numbers if number > 0]


def _numerator(expression: Expr, symbol: Expr) -> Expr | None:
    """The numerator as a polynomial with rational coefficients of moderate degree, or None."""
    # A quotient vanishes where its numerator does; poles are conditions of their own.
    top, _ = sp.fraction(sp.together(expression))
    if not top.is_polynomial(symbol):
        return None
    polynomial = sp.Poly(top, symbol)
    if not has_rational_coefficients(polynomial):
        return None
    if 0 < polynomial.degree() <= _MAX_DEGREE:
        return polynomial
    return None


def _common_rate(expression: Expr, symbol: Expr) -> Expr | None:
    """The c of which all exponents of the expression are whole multiples, as c x + …; None if there is none."""
    exponentials = [node for node in expression.atoms(sp.exp) if node.has(symbol)]
    rates = []
    for node in exponentials:
        (argument,) = node.args
        rate = argument.coeff(symbol)
        if sp.expand(argument - rate * symbol).has(symbol):
            return None  # not linear
        rates.append(rate)
    if not rates:
        return None
    # Exponents that are rational multiples of one another are powers of one exponential.
    ratios = [rate / rates[0] for rate in rates]
    if not all(ratio.is_Rational and ratio != 0 for ratio in ratios):
        return None
    return rates[0] / sp.ilcm(1, *(ratio.q for ratio in ratios))


def _in_exponential(
    expression: Expr, rate: Expr, symbol: Expr, exponential: Expr
) -> Expr:
    """The expression with E for e^(c x): e^(r x + s) is E^(r/c) e^s."""

    def replaced(node: Expr) -> Expr:
        (argument,) = node.args
        own_rate = argument.coeff(symbol)
        return exponential ** (own_rate / rate) * sp.exp(argument - own_rate * symbol)

    return expression.replace(
        lambda node: isinstance(node, sp.exp) and node.has(symbol), replaced
    )
