"""Where equations of motion rest: all real solutions, exact, with the parameters as symbols."""

from collections.abc import Iterator, Mapping, Sequence
from math import gcd

import sympy as sp

from ..algebra.rational_arithmetic import freed_roots
from ..algebra.sign_analysis import is_positive
from ..algebra.zero_test import is_zero, normal_form
from ..task import Expr

Point = dict[Expr, Expr]


def equilibria(
    equations: Mapping[Expr, Expr], where: Sequence[Expr] = ()
) -> tuple[Point, ...]:
    """Every real point {amplitude: value} at which all rates {amplitude: rate} vanish, for general parameters.

    `where` lists expressions that vanish besides, such as the conserved quantities of balanced weights: without
    them the weights that make one output are a continuum. Rates are polynomial in the amplitudes and rational in
    all else; roots such as √2 count as parameters. ValueError where the points, complex ones too, are a continuum,
    and where roots have no closed form or are real for some parameters only. By lexicographic Gröbner bases: meant
    for few amplitudes.

    >>> a, g = sp.symbols("a g", positive=True)
    >>> v = sp.Symbol("v", real=True)
    >>> equilibria({v: a * v**2 - g * v**5})
    ({v: 0}, {v: a**(1/3)/g**(1/3)})
    """
    if roots := freed_roots([*equations.values(), *where]):
        named = {symbol: root for root, symbol in roots.items()}
        free = {symbol: rate.xreplace(roots) for symbol, rate in equations.items()}
        points = equilibria(free, [sp.sympify(each).xreplace(roots) for each in where])
        return tuple(
            {symbol: value.xreplace(named) for symbol, value in point.items()}
            for point in points
        )
    symbols = list(equations)
    polynomials = [_numerator(rate, symbols) for rate in [*equations.values(), *where]]
    found: list[Point] = []
    for point in _solutions([each for each in polynomials if each != 0], symbols):
        if not any(_same(point, other) for other in found):
            found.append({symbol: point[symbol] for symbol in symbols})
    return tuple(found)


def _numerator(rate: Expr, symbols: list[Expr]) -> Expr:
    numerator, denominator = sp.fraction(sp.together(sp.sympify(rate, strict=True)))
    free = numerator.free_symbols | denominator.free_symbols
    if denominator.has(*symbols) or not numerator.is_polynomial(*free):
        raise ValueError(
            f"rates must be polynomial in {', '.join(map(str, symbols))}, not {rate}"
        )
    return sp.expand(numerator)


def _solutions(polynomials: list[Expr], symbols: list[Expr]) -> Iterator[Point]:
    """Solutions on every branch: one factor of each polynomial vanishes."""
    for place, polynomial in enumerate(polynomials):
        factors = _factors(polynomial, symbols)
        if not factors:
            return  # a constant that is not zero
        if factors != [polynomial]:
            others = polynomials[:place] + polynomials[place + 1 :]
            for factor in factors:
                reduced = [_remainder(other, factor, symbols) for other in others]
                yield from _solutions(
                    [factor, *(each for each in reduced if each != 0)], symbols
                )
            return
    yield from _triangular(polynomials, symbols)


def _factors(polynomial: Expr, symbols: list[Expr]) -> list[Expr]:
    """The factors of a polynomial that hold symbols."""
    return [
        factor for factor, _ in sp.factor_list(polynomial)[1] if factor.has(*symbols)
    ]


def _remainder(polynomial: Expr, factor: Expr, symbols: list[Expr]) -> Expr:
    """The polynomial with a symbol replaced where the factor is that symbol, else as it is."""
    return (
        polynomial.xreplace({factor: sp.Integer(0)})
        if factor in symbols
        else polynomial
    )


def _triangular(polynomials: list[Expr], symbols: list[Expr]) -> Iterator[Point]:
    """Solutions of a system by its lexicographic Gröbner basis, the last symbol first."""
    constants = set().union(*(each.free_symbols for each in polynomials)) - {*symbols}
    domain = sp.QQ.frac_field(*sorted(constants, key=str)) if constants else sp.QQ
    basis = (
        sp.groebner(polynomials, *symbols, order="lex", domain=domain)
        if polynomials
        else None
    )
    if basis is not None and basis.exprs == [1]:
        return
    if basis is None or not basis.is_zero_dimensional:
        raise ValueError(
            "the points of rest are a continuum: add conserved quantities that vanish by where=, or pass the "
            "equations of an ansatz with fewer amplitudes"
        )
    yield from _extended({}, list(basis.exprs), list(reversed(symbols)))


def _extended(point: Point, basis: list[Expr], rest: list[Expr]) -> Iterator[Point]:
    """Solutions that continue a point of the last symbols: one element of a basis decides (Kalkbrener 1987)."""
    if not rest:
        yield point
        return
    symbol, *others = rest
    here = [each for each in basis if each.has(symbol) and not each.has(*others)]
    for polynomial in sorted(
        (sp.Poly(each, symbol) for each in here), key=lambda each: each.degree()
    ):
        coefficients = [
            normal_form(part.xreplace(point)) for part in polynomial.all_coeffs()
        ]
        if coefficients[0] != 0:
            for root in _real_roots(sp.Poly(coefficients, symbol)):
                yield from _extended({**point, symbol: root}, basis, others)
            return


def _real_roots(polynomial: Expr) -> Iterator[Expr]:
    """The real roots of a polynomial in one symbol whose coefficients are expressions in parameters."""
    (symbol,) = polynomial.gens
    expression = sp.numer(sp.together(polynomial.as_expr()))
    for factor in _factors(expression, [symbol]):
        yield from _roots_of_factor(sp.Poly(factor, symbol))


def _roots_of_factor(factor: Expr) -> Iterator[Expr]:
    (symbol,) = factor.gens
    step = gcd(*(powers[0] for powers in factor.monoms()))
    powers = sp.Poly(
        {(power[0] // step,): part for power, part in factor.terms()}, symbol
    )
    if powers.degree() == 1:
        lead, constant = powers.all_coeffs()
        bases = [-constant / lead]
    elif powers.degree() == 2:
        bases = _quadratic(*powers.all_coeffs())
    elif not factor.free_symbols_in_domain and factor.domain in (sp.ZZ, sp.QQ):
        bases = powers.real_roots()
    else:
        raise ValueError(
            f"the roots of {factor.as_expr()} have no closed form: give its parameters numbers"
        )
    for base in bases:
        yield from _powers_equal_to(
            sp.factor(base) if base.free_symbols else base, step
        )


def _quadratic(a: Expr, b: Expr, c: Expr) -> list[Expr]:
    """The real roots of an irreducible a x² + b x + c."""
    roots = [sp.sqrt(part) for part in [sp.factor(b**2 - 4 * a * c)] if _is_above(part)]
    return [(sign * root - b) / (2 * a) for root in roots for sign in (1, -1)]


def _powers_equal_to(base: Expr, power: int) -> list[Expr]:
    """Every real x with x^power = base."""
    if power == 1 or base == 0:
        return [base]
    above = _is_above(base)
    if power % 2:
        return [sp.root(base, power) if above else -sp.root(-base, power)]
    return [sp.root(base, power), -sp.root(base, power)] if above else []


def _is_above(value: Expr) -> bool:
    """Whether a value is above zero for all parameters, or below for all; ValueError if that is not known."""
    if is_positive(value) or is_positive(-value):
        return is_positive(value)
    raise ValueError(
        f"the sign of {value} depends on the parameters or is not known: give them numbers, or fix an order in the "
        f"task, such as lambda_1 = lambda_2 + delta"
    )


def _same(point: Point, other: Point) -> bool:
    pairs = [
        (value, other[symbol])
        for symbol, value in point.items()
        if value != other[symbol]
    ]
    if any(one.has(sp.CRootOf) or two.has(sp.CRootOf) for one, two in pairs):
        return False  # numbered roots of irreducible polynomials are equal where they look so
    return all(is_zero(one - two) for one, two in pairs)
