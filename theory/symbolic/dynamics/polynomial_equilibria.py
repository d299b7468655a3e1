"""Equilibria of equations of motion: all real solutions, exact, with the parameters as symbols."""

from collections.abc import Iterator, Mapping, Sequence
from math import gcd

import sympy as sp

from ..algebra.polynomial_signs import has_rational_coefficients
from ..algebra.rational_arithmetic import freed_roots
from ..algebra.sign_analysis import is_positive
from ..algebra.zero_test import is_zero, normal_form
from ..task import Expr, symbols_in

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
    roots = freed_roots([*equations.values(), *where])
    if roots:
        return _equilibria_with_roots(equations, where, roots)
    symbols = list(equations)
    numerators = [_numerator(rate, symbols) for rate in [*equations.values(), *where]]
    polynomials = [numerator for numerator in numerators if numerator != 0]
    points: list[Point] = []
    for solution in _solutions(polynomials, symbols):
        # Branches of factors may meet in one point.
        if not any(_same(solution, point) for point in points):
            points.append({symbol: solution[symbol] for symbol in symbols})
    return tuple(points)


def _equilibria_with_roots(
    equations: Mapping[Expr, Expr], where: Sequence[Expr], roots: Mapping[Expr, Expr]
) -> tuple[Point, ...]:
    """The same with symbols in the place of roots such as √2, which are then put in again."""
    symbol_of = dict(roots)
    root_of = {symbol: root for root, symbol in roots.items()}
    freed = {symbol: rate.xreplace(symbol_of) for symbol, rate in equations.items()}
    freed_where = [sp.sympify(part).xreplace(symbol_of) for part in where]
    return tuple(
        {symbol: value.xreplace(root_of) for symbol, value in point.items()}
        for point in equilibria(freed, freed_where)
    )


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
    for index, polynomial in enumerate(polynomials):
        # Where a product vanishes, a factor does: branches are smaller systems.
        factors = _factors(polynomial, symbols)
        if not factors:
            return  # a constant that is not zero
        if factors != [polynomial]:
            others = polynomials[:index] + polynomials[index + 1 :]
            for factor in factors:
                remainders = [_remainder(other, factor, symbols) for other in others]
                branch = [remainder for remainder in remainders if remainder != 0]
                yield from _solutions([factor, *branch], symbols)
            return
    yield from _triangular(polynomials, symbols)


def _factors(polynomial: Expr, symbols: list[Expr]) -> list[Expr]:
    """The factors of a polynomial that hold symbols."""
    return [
        factor for factor, _ in sp.factor_list(polynomial)[1] if factor.has(*symbols)
    ]


def _remainder(polynomial: Expr, factor: Expr, symbols: list[Expr]) -> Expr:
    """The polynomial with a symbol replaced where the factor is that symbol, else as it is."""
    if factor in symbols:
        return polynomial.xreplace({factor: sp.Integer(0)})
    return polynomial


def _triangular(polynomials: list[Expr], symbols: list[Expr]) -> Iterator[Point]:
    """Solutions of a system by its lexicographic Gröbner basis, the last symbol first."""
    if not polynomials:
        raise _continuum()
    used = symbols_in(polynomials)
    parameters = sorted(used - {*symbols}, key=str)
    domain = sp.QQ.frac_field(*parameters) if parameters else sp.QQ
    # Lexicographic: the last symbol stands alone in one polynomial, which is solved first.
    basis = sp.groebner(polynomials, *symbols, order="lex", domain=domain)
    if basis.exprs == [1]:
        return
    if not basis.is_zero_dimensional:
        raise _continuum()
    yield from _extended({}, list(basis.exprs), list(reversed(symbols)))


def _continuum() -> ValueError:
    return ValueError(
        "the equilibria are a continuum: add conserved quantities that vanish by where=, or pass the "
        "equations of an ansatz with fewer amplitudes"
    )


def _extended(point: Point, basis: list[Expr], unknowns: list[Expr]) -> Iterator[Point]:
    """Solutions that continue a point of the last symbols: one element of a basis decides (Kalkbrener 1987)."""
    if not unknowns:
        yield point
        return
    symbol, *others = unknowns
    members = [
        sp.Poly(member, symbol)
        for member in basis
        if member.has(symbol) and not member.has(*others)
    ]
    # The lowest degree whose leading coefficient does not vanish at the point has all solutions.
    for member in sorted(members, key=lambda poly: poly.degree()):
        coefficients = [
            normal_form(part.xreplace(point)) for part in member.all_coeffs()
        ]
        if coefficients[0] == 0:
            continue
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
    """The real roots of an irreducible polynomial in one symbol x, solved in the power x^step that it is made of."""
    (symbol,) = factor.gens
    # x^6 + x^3 is a polynomial of degree 2 in x³.
    step = gcd(*(powers[0] for powers in factor.monoms()))
    terms = {}
    for (power,), coefficient in factor.terms():
        terms[(power // step,)] = coefficient
    for value in _values_of_power(sp.Poly(terms, symbol)):
        simplified = sp.factor(value) if value.free_symbols else value
        yield from _powers_equal_to(simplified, step)


def _values_of_power(poly: Expr) -> list[Expr]:
    """The real roots of a polynomial of degree 1 or 2, or with rational coefficients; ValueError for others."""
    if poly.degree() == 1:
        lead, constant = poly.all_coeffs()
        return [-constant / lead]
    if poly.degree() == 2:
        return _quadratic(*poly.all_coeffs())
    if has_rational_coefficients(poly):
        return list(poly.real_roots())
    raise ValueError(
        f"the roots of {poly.as_expr()} have no closed form: give its parameters numbers"
    )


def _quadratic(a: Expr, b: Expr, c: Expr) -> list[Expr]:
    """The real roots of an irreducible a x² + b x + c."""
    # Zero is excluded: the polynomial is irreducible.
    discriminant = sp.factor(b**2 - 4 * a * c)
    if not _is_above(discriminant):
        return []
    root = sp.sqrt(discriminant)
    return [(root - b) / (2 * a), (-root - b) / (2 * a)]


def _powers_equal_to(base: Expr, power: int) -> list[Expr]:
    """Every real x with x^power = base."""
    if power == 1 or base == 0:
        return [base]
    is_above = _is_above(base)
    if power % 2:
        return [sp.root(base, power) if is_above else -sp.root(-base, power)]
    if is_above:
        return [sp.root(base, power), -sp.root(base, power)]
    return []


def _is_above(value: Expr) -> bool:
    """Whether a value is above zero for all parameters, or below for all; ValueError if that is not known."""
    if is_positive(value) or is_positive(-value):
        return is_positive(value)
    raise ValueError(
        f"the sign of {value} depends on the parameters or is not known: give them numbers, or fix an order in the "
        f"task, such as lambda_1 = lambda_2 + delta"
    )


def _same(first: Point, second: Point) -> bool:
    """Whether two points are equal, by an exact test."""
    differing = [
        (value, second[symbol])
        for symbol, value in first.items()
        if value != second[symbol]
    ]
    for value, other in differing:
        if value.has(sp.CRootOf) or other.has(sp.CRootOf):
            return False  # numbered roots of irreducible polynomials are equal only where they look so
    return all(is_zero(value - other) for value, other in differing)
