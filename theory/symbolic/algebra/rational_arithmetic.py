"""Rational functions with rational numbers, exactly: read from expressions, and written in a normal form."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress

import sympy as sp
from sympy.polys.fields import FracField
from sympy.polys.orderings import lex
from sympy.polys.polyerrors import CoercionFailed
from sympy.polys.rings import PolyRing

from ..loss.expectations import Element, number_field, roots_of
from ..loss.gaussian_expectations import Powers
from ..task import Expr

Flow = Mapping[Expr, Expr]
"""Equations of motion in flow time, symbol → its rate of change, for weights or for amplitudes."""


def expression(value: object) -> Expr:
    """A number or an expression as SymPy has it, never text; ValueError for anything else."""
    try:
        found = sp.sympify(value, strict=True)
    except sp.SympifyError:
        found = None
    if not isinstance(found, sp.Expr):
        raise ValueError(
            f"an expression is built from SymPy symbols and numbers, it is not {value!r}"
        )
    return found


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
    for weight in flow:
        if not isinstance(weight, sp.Symbol):
            raise ValueError(
                f"the keys of a flow are the symbols of its weights, not {weight!r}"
            )
    found = set(flow).union(*(expression(rate).free_symbols for rate in flow.values()))
    return tuple(symbol for symbol in _by_name(found) if symbol not in flow)


def rational_functions(symbols: Iterable[Expr], roots: Iterable[Expr] = ()) -> Element:
    """The field of rational functions of these symbols, in the order of their names, with rational numbers.

    `roots` of rational numbers, such as √2, belong to its numbers as well. ValueError where two different symbols
    share a name, which SymPy allows.
    """
    numbers = sorted(roots, key=str)
    domain = number_field(numbers) if numbers else sp.ZZ
    return FracField(_by_name(symbols) or [sp.Dummy("none")], domain, lex)


def rational(value: object, home: Element) -> Element:
    """An expression as an element of its home, a field of rational functions or a ring of polynomials over one.

    ValueError names the smallest part that does not belong there.
    """
    exact = expression(value)
    if not exact.has(sp.Float):
        with suppress(ValueError, CoercionFailed, ZeroDivisionError):
            return home.from_expr(exact)
    is_ring = isinstance(home, PolyRing)
    kind = "polynomials in the weights" if is_ring else "rational functions"
    culprit = _not_rational(exact, home.symbols if is_ring else ())
    raise ValueError(
        f"only {kind} with rational numbers are exact here, and {culprit} is none"
    )


def written(element: Element, moving: Collection[Expr]) -> Expr:
    """A rational function by powers of the moving symbols, coefficients factored: equal ones look equal.

    >>> x, a, b = sp.symbols("x a b")
    >>> written(rational(x * (a * x + a * b + b**2), rational_functions([x, a, b])), [x])
    a*x**2 + b*x*(a + b)
    """
    ring, denominator = element.field.ring, element.denom
    places = [i for i, symbol in enumerate(ring.symbols) if symbol in moving]
    constant = not any(powers[i] for powers in denominator for i in places)
    below = denominator if constant else ring.one
    parts: dict[Powers, dict[Powers, Element]] = defaultdict(dict)
    for powers, number in element.numer.terms():
        still = tuple(0 if i in places else power for i, power in enumerate(powers))
        parts[tuple(powers[i] for i in places)][still] = number
    terms = []
    for moved, part in parts.items():
        coefficient = element.field(ring.from_dict(part)) / below
        powers_of = (
            ring.symbols[i] ** power for i, power in zip(places, moved, strict=True)
        )
        term = sp.Mul(coefficient.as_expr(), *powers_of)
        terms.append(
            sp.factor(term)
            if len(coefficient.numer) + len(coefficient.denom) > 2
            else term
        )
    return (
        sp.Add(*terms)
        if constant
        else sp.Add(*terms) / sp.factor(denominator.as_expr())
    )


def derivative(element: Element, symbol: Expr) -> Element:
    """The derivative of a rational function in a symbol of its field."""
    ring, top, bottom = element.field.ring, element.numer, element.denom
    gen = ring.gens[ring.symbols.index(symbol)]
    return element.field(
        top.diff(gen) * bottom - top * bottom.diff(gen)
    ) / element.field(bottom**2)


def freed_roots(values: Iterable[object]) -> dict[Expr, Expr]:
    """A positive symbol for every root of a rational number in some expressions."""
    return {
        root: sp.Dummy(str(root), positive=True)
        for root in sorted(roots_in(values), key=str)
    }


def roots_in(values: Iterable[object]) -> set[Expr]:
    """The roots of rational numbers in some expressions."""
    return set().union(*(roots_of(expression(value)) for value in values))


def _by_name(symbols: Iterable[Expr]) -> list[Expr]:
    named: dict[str, Expr] = {}
    for symbol in symbols:
        if named.setdefault(symbol.name, symbol) != symbol:
            raise ValueError(
                f"two different symbols are named {symbol}: take the one that stands in the flow"
            )
    return [symbol for _, symbol in sorted(named.items())]


def _not_rational(exact: Expr, polynomial_in: tuple[Expr, ...]) -> Expr:
    """The smallest part that keeps an expression from being rational, and polynomial in some symbols."""
    for part in sp.postorder_traversal(exact):
        known = part.is_Rational if part.is_number else part.is_rational_function()
        if not known or (polynomial_in and not part.is_polynomial(*polynomial_in)):
            return part
    return exact
