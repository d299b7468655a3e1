"""Rational functions with rational numbers, exactly: read from expressions, and written in a normal form."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress

import sympy as sp
from sympy.polys.fields import FracField
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..task import Expr
from .number_fields import number_field, roots_of
from .polynomials import Element, Powers

Flow = Mapping[Expr, Expr]
"""Equations of motion in flow time, symbol → its rate of change, for weights or for amplitudes."""


def expression(value: object) -> Expr:
    """A number or an expression as SymPy has it, never text; ValueError for anything else."""
    try:
        converted = sp.sympify(value, strict=True)
    except sp.SympifyError:
        converted = None
    if not isinstance(converted, sp.Expr):
        raise ValueError(
            f"an expression is built from SymPy symbols and numbers, it is not {value!r}"
        )
    return converted


def flow_parameters(flow: Flow) -> tuple[Expr, ...]:
    """The symbols that do not move: those of the rates that are no weights, by name.

    ValueError for an empty flow, for weights that are no symbols, and for different symbols of the same name.

    >>> x, a = sp.symbols("x a")
    >>> flow_parameters({x: a * x})
    (a,)
    """
    if not flow:
        raise ValueError(
            "the flow has no equations: give at least one weight with its rate"
        )
    symbols: set[Expr] = set(flow)
    for weight, rate in flow.items():
        if not isinstance(weight, sp.Symbol):
            raise ValueError(
                f"the keys of a flow are the symbols of its weights, not {weight!r}"
            )
        symbols |= expression(rate).free_symbols
    return tuple(symbol for symbol in _distinct_by_name(symbols) if symbol not in flow)


def rational_functions(symbols: Iterable[Expr], roots: Iterable[Expr] = ()) -> Element:
    """The field of rational functions of these symbols, in the order of their names, with rational numbers.

    `roots` of rational numbers, such as √2, belong to its numbers as well. ValueError where two different symbols
    share a name, which SymPy allows.
    """
    # Sorted, so that the same roots make the same field.
    numbers = sorted(roots, key=str)
    domain = number_field(numbers) if numbers else sp.ZZ
    # SymPy has no field without generators: constants get one that they do not use.
    generators = _distinct_by_name(symbols) or [sp.Dummy("none")]
    return FracField(generators, domain, lex)


def rational(value: object, domain: Element) -> Element:
    """An expression as an element of a domain, a field of rational functions or a ring of polynomials over one.

    ValueError names the smallest part that does not belong there.
    """
    exact = expression(value)
    if not exact.has(sp.Float):
        # SymPy says with different errors that it is not in the domain.
        with suppress(ValueError, CoercionFailed, ZeroDivisionError):
            return domain.from_expr(exact)
    is_ring = isinstance(domain, PolyRing)
    kind = "polynomials in the weights" if is_ring else "rational functions"
    culprit = _not_rational(exact, domain.symbols if is_ring else ())
    raise ValueError(
        f"only {kind} with rational numbers are exact here, and {culprit} is none"
    )


def collected_by(element: Element, moving: Collection[Expr]) -> Expr:
    """A rational function by powers of the moving symbols, coefficients factored: equal ones look equal.

    >>> x, a, b = sp.symbols("x a b")
    >>> collected_by(rational(x * (a * x + a * b + b**2), rational_functions([x, a, b])), [x])
    a*x**2 + b*x*(a + b)
    """
    ring = element.field.ring
    indices = [i for i, symbol in enumerate(ring.symbols) if symbol in moving]

    # A denominator without moving symbols divides each coefficient; any other one stands under the whole sum.
    is_constant = _is_free_of(element.denom, indices)
    divisor = element.denom if is_constant else ring.one
    terms = [
        _collected_term(element.field(coefficient) / divisor, powers, indices)
        for powers, coefficient in _coefficients(element.numer, indices)
    ]
    if is_constant:
        return sp.Add(*terms)
    return sp.Add(*terms) / sp.factor(element.denom.as_expr())


def _is_free_of(polynomial: Element, indices: Sequence[int]) -> bool:
    """Whether no generator at these indices stands in a polynomial."""
    return not any(powers[i] for powers in polynomial for i in indices)


def _coefficients(
    polynomial: Element, indices: Sequence[int]
) -> list[tuple[Powers, Element]]:
    """Powers of the generators at these indices → the coefficient, a polynomial in the others."""
    parts: dict[Powers, dict[Powers, Element]] = defaultdict(dict)
    for powers, number in polynomial.terms():
        moving_powers = tuple(powers[i] for i in indices)
        constant_powers = tuple(
            0 if i in indices else power for i, power in enumerate(powers)
        )
        parts[moving_powers][constant_powers] = number
    ring = polynomial.ring
    return [(powers, ring.from_dict(part)) for powers, part in parts.items()]


def _collected_term(
    coefficient: Element, powers: Powers, indices: Sequence[int]
) -> Expr:
    """A coefficient, factored where it is more than one term, times powers of the generators at these indices."""
    symbols = coefficient.field.symbols
    factors = [symbols[i] ** power for i, power in zip(indices, powers, strict=True)]
    term = sp.Mul(coefficient.as_expr(), *factors)
    is_single_term = len(coefficient.numer) + len(coefficient.denom) == 2
    if is_single_term:
        return term
    return sp.factor(term)


def derivative(element: Element, symbol: Expr) -> Element:
    """The derivative of a rational function p/q in a symbol of its field: (p' q − p q') / q²."""
    field = element.field
    p, q = element.numer, element.denom
    generator = field.ring.gens[field.ring.symbols.index(symbol)]
    numerator = p.diff(generator) * q - p * q.diff(generator)
    return field(numerator) / field(q**2)


def freed_roots(values: Iterable[object]) -> dict[Expr, Expr]:
    """A positive symbol for every root of a rational number in some expressions."""
    roots = sorted(roots_in(values), key=str)
    return {root: sp.Dummy(str(root), positive=True) for root in roots}


def roots_in(values: Iterable[object]) -> set[Expr]:
    """The roots of rational numbers in some expressions."""
    return set().union(*(roots_of(expression(value)) for value in values))


def _distinct_by_name(symbols: Iterable[Expr]) -> list[Expr]:
    by_name: dict[str, Expr] = {}
    for symbol in symbols:
        if by_name.setdefault(symbol.name, symbol) != symbol:
            raise ValueError(
                f"two different symbols are named {symbol}: take the one that stands in the flow"
            )
    return [symbol for _, symbol in sorted(by_name.items())]


def _not_rational(exact: Expr, polynomial_in: tuple[Expr, ...]) -> Expr:
    """The smallest part that keeps an expression from being rational, and polynomial in some symbols."""
    # Inner parts come first, so that the smallest culprit is named.
    for part in sp.postorder_traversal(exact):
        is_rational = (
            part.is_Rational if part.is_number else part.is_rational_function()
        )
        if not is_rational:
            return part
        if polynomial_in and not part.is_polynomial(*polynomial_in):
            return part
    return exact
