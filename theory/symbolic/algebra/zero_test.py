"""Exact zero tests for expressions with roots, exponentials and logarithms.

An expression becomes a fraction in the generators of a `Tower`. If it is zero there, it vanishes. If it is not, and
the generators in it are independent, it does not. Else it is enclosed in an interval at some point: where that is
certain not to hold zero, the expression does not vanish. And else a polynomial P(X) decides of which it is a root,
made by eliminating roots that may depend on others: roots of P but zero are not near zero, by Cauchy's bound.
What is zero so at one point is zero near it, and as an analytic function on all of a connected region.
"""

from collections.abc import Iterator
from itertools import islice
from math import prod

import sympy as sp

from ..task import Expr
from .enclosures import DIGITS, Interval, certain_sign, enclosure
from .extension_tower import Tower
from .fraction_arithmetic import Undecided
from .polynomials import Element
from .sign_analysis import is_positive

__all__ = ["Undecided", "is_zero", "normal_form", "number_sign"]

# Of P(X): beyond, its coefficients fill pages.
_MAX_DEGREE = 64

# Of the numerator, times that degree: P(X) is made by determinants of that size.
_MAX_SIZE = 1000

# Points that are tried. An analytic function that does not vanish does so at few of them.
_WITNESSES = 4

_PRIMES = (7, 3, 11, 5, 13, 2, 17, 19, 23, 29, 31, 37)


def is_zero(expression: Expr) -> bool:
    """Whether an expression vanishes identically; exact both ways, and `Undecided` where it cannot tell.

    Decides sums, products, quotients, rational powers, nested or not, exponentials and logarithms of rational
    numbers, π and symbols. Symbols stand for real numbers, and radicands for positive ones, so that roots are real.
    √(ab) is split into √a √b where a or b is known to be positive: declare symbols positive that are. `Undecided`,
    a ValueError: a complex number, a float, a division by zero, what is true on one branch of a root only, such as
    √(x²) = x where x may be negative, and what vanishes by laws of functions that are not known here, if it does.

    >>> a, b, t = sp.symbols("a b t", positive=True)
    >>> is_zero(sp.sqrt(a**2 * b + a * b**2) - sp.sqrt(a) * sp.sqrt(b) * sp.sqrt(a + b))
    True
    >>> is_zero(sp.cosh(a * t) ** 2 - sp.sinh(a * t) ** 2), is_zero(sp.exp(a * t) ** 2 - sp.exp(2 * a * t))
    (False, True)
    >>> is_zero(sp.sqrt(3 + 2 * sp.sqrt(2)) - 1 - sp.sqrt(2)), is_zero(sp.log(4) - 2 * sp.log(2))
    (True, True)
    """
    tower = Tower(sp.sympify(expression, strict=True))
    return _vanishes(tower, tower.value())


def normal_form(expression: Expr) -> Expr:
    """The expression as one fraction in independent roots and exponentials: 0 just where it vanishes identically.

    Equal expressions may still have different fractions: compare by `is_zero` of their difference, whose domain and
    errors are those of this function.

    >>> x = sp.Symbol("x", positive=True)
    >>> normal_form(1 / (sp.sqrt(x) - 1) - (sp.sqrt(x) + 1) / (x - 1))
    0
    >>> normal_form(sp.sqrt(12) * sp.sqrt(x**3) + sp.sqrt(3 * x))
    sqrt(3)*sqrt(x)*(2*x + 1)
    """
    tower = Tower(sp.sympify(expression, strict=True))
    value = tower.value()
    if _vanishes(tower, value):
        return sp.Integer(0)
    return sp.factor_terms(tower.spelled(value.as_expr()))


def number_sign(number: Expr) -> int:
    """1, 0 or −1, the sign of a real number in closed form; `Undecided` where it may be zero and may not.

    >>> number_sign(sp.sqrt(6) - sp.sqrt(2) * sp.sqrt(3)), number_sign(sp.log(2) - 1)
    (0, -1)
    """
    if number.is_Rational:
        return int(sp.sign(number))
    side = certain_sign(number)
    if side is None:
        if is_zero(number):
            return 0
        raise Undecided(f"the sign of {number} is not known")
    return side


def _vanishes(tower: Tower, value: Element) -> bool:
    """Whether a reduced fraction is zero."""
    if value == 0:
        return True
    symbols = (value.numer * value.denom).as_expr().free_symbols
    # Independent generators: a nonzero polynomial in them does not vanish.
    if symbols.isdisjoint(tower.opaque) and symbols.isdisjoint(tower.unsure):
        return False  # its generators are independent

    numerator = tower.spelled(value.numer.as_expr())
    points = list(islice(_points(numerator), _WITNESSES))
    # An interval that excludes zero at one point is a proof that it does not vanish.
    for point in points:
        if certain_sign(numerator.xreplace(point)):
            return False
    # Zero near one point is zero on a connected region, for an analytic function.
    if _is_analytic(tower):
        for point in points:
            if _is_root_at_zero(tower, value, point):
                return True
    raise Undecided(
        f"it cannot be decided whether {numerator} vanishes: declare those symbols positive that are"
    )


def _points(expression: Expr) -> Iterator[dict[Expr, Expr]]:
    """Points of no special kind that the symbols admit: ratios of neighbours in a list of primes."""
    symbols = sorted(expression.free_symbols, key=str)
    if not symbols:
        yield {}
        return
    for shift in range(len(_PRIMES)):
        yield {
            symbol: _value(symbol, index + shift)
            for index, symbol in enumerate(symbols)
        }


def _value(symbol: Expr, index: int) -> Expr:
    """A number that the symbol may be; every third is negative where that is admitted."""
    numerator = _PRIMES[index % len(_PRIMES)]
    denominator = _PRIMES[(index + 1) % len(_PRIMES)]
    if symbol.is_integer:
        return sp.Integer(numerator)
    is_negative = index % 3 == 0 and not symbol.is_nonnegative
    return sp.Rational(-numerator if is_negative else numerator, denominator)


def _is_analytic(tower: Tower) -> bool:
    """Whether every unsure root is of what is above zero throughout, so that it has one branch only."""
    radicands = (tower.root_of[root].radicand for root in tower.unsure)
    return all(
        is_positive(tower.spelled(radicand), inside=True) for radicand in radicands
    )


def _is_root_at_zero(tower: Tower, value: Element, point: dict[Expr, Expr]) -> bool:
    """Whether P(X), of which the numerator is a root, shows that it is zero near the point."""
    degree = prod(tower.root_of[root].order for root in tower.unsure)
    if degree > _MAX_DEGREE or len(value.numer) * degree > _MAX_SIZE:
        return False

    # Coefficients by increasing powers of X; those that vanish before the first that does not make X = 0 a root.
    P = _annihilator(tower, value)
    nonzero = [part for part in reversed(P.all_coeffs()) if part != 0]
    coefficients = [tower.spelled(part).xreplace(point) for part in nonzero]
    number = tower.spelled(value.numer.as_expr()).xreplace(point)
    return any(_below_other_roots(number, coefficients, digits) for digits in DIGITS)


def _annihilator(tower: Tower, value: Element) -> Expr:
    """P(X): X − numerator with the unsure roots eliminated by resultants, the latest first."""
    X = sp.Dummy("X")
    P = X - value.numer.as_expr()
    for root in reversed(tower.unsure):
        if P.has(root):
            resultant = sp.resultant(P, tower.relation(root), root)
            P = tower.element(resultant).numer.as_expr()
    return sp.Poly(P, X)


def _below_other_roots(number: Expr, coefficients: list[Expr], digits: int) -> bool:
    """Whether a root is nearer to zero than all roots but zero: |z| ≥ |c₀| / (|c₀| + max |c_i|), Cauchy's bound.

    c₀ must not vanish at the point: else a root that is zero only there would pass for one that always is.
    """
    try:
        interval: Interval = enclosure(number, digits)
        lowest, *others = (abs(enclosure(part, digits)) for part in coefficients)
    except (ValueError, OverflowError):
        return False
    if not others or lowest.a <= 0:
        return False
    bound = lowest / (lowest + max(other.b for other in others))
    return bool(abs(interval).b < bound.a)
