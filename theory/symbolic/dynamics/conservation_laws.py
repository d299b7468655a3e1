"""Conserved polynomials of a flow, found by linear algebra over the rational functions of its parameters."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import reduce
from itertools import combinations_with_replacement, count
from math import comb
from random import Random
from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import grlex
from sympy.polys.rings import PolyRing

from ..algebra.rational_arithmetic import (
    Flow,
    derivative,
    expression,
    flow_parameters,
    freed_roots,
    rational,
    rational_functions,
    roots_in,
    written,
)
from ..loss.expectations import Element
from ..loss.gaussian_expectations import Powers
from ..task import Expr

MAX_WORK = 300_000
"""The most terms that the derivatives of all monomials may have: they are made and solved for in seconds."""

Rows = dict[Powers, dict[int, Element]]


def conserved_quantities(flow: Flow, degree: int) -> tuple[Expr, ...]:
    """A basis of all polynomials in the weights, of degree 1 … `degree`, that the flow conserves.

    The basis is that of the linear space, in reduced echelon form: sums and products of invariants are invariants
    and count where their degree allows. Coefficients are polynomials in the flow's other symbols without a common
    factor. Every member is proved, for all values of those, by its derivative, which vanishes identically; that
    there are no others is proved for generic values, roots such as √2 in the rates being any numbers. ValueError
    if `degree` is no whole number of at least 1, for an empty flow, and where a rate is not polynomial in the
    weights.

    >>> x, y, a, b = sp.symbols("x y a b")
    >>> conserved_quantities({x: a * y, y: -b * x}, degree=2)
    (a*y**2 + b*x**2,)
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 1:
        raise ValueError(f"degree must be a whole number of at least 1, not {degree!r}")
    if roots := freed_roots(flow.values()):
        freed = {
            weight: expression(each).xreplace(roots) for weight, each in flow.items()
        }
        named = {symbol: root for root, symbol in roots.items()}
        return tuple(
            found.xreplace(named) for found in conserved_quantities(freed, degree)
        )
    _require_few_monomials(
        len(flow), degree, sum(len(sp.Add.make_args(rate)) for rate in flow.values())
    )
    rates = _polynomials(flow)
    monomials = _monomials(len(rates), degree)
    # A generic rank can only drop at a point, so a kernel there has at least as many members as the generic one:
    # as many proved members with different leading monomials are all. A point may have too many; then the next.
    attempts = (
        _members(rates, monomials, values, prime)
        for values, prime in _points(rates[0].ring.domain.ngens)
    )
    members = next(found for found in attempts if found is not None)
    order = sorted(
        members, key=lambda member: (sum(member.LM), [-power for power in member.LM])
    )
    everything = rational_functions({*flow, *flow_parameters(flow)})
    return tuple(
        written(rational(member.as_expr(), everything), [*flow]) for member in order
    )


def lie_derivative(quantity: Expr, flow: Flow) -> Expr:
    """The derivative of a quantity along the flow, per unit of flow time: 0 just where it is conserved.

    `quantity` is rational in the weights, the flow's keys; other symbols are constants. By powers of the weights,
    coefficients factored. ValueError names what is not rational.

    >>> x, y, a = sp.symbols("x y a")
    >>> lie_derivative(x**2 - y**2, {x: y, y: x}), lie_derivative(x**2 - a * y, {x: y, y: x})
    (0, -a*x + 2*x*y)
    """
    symbols = expression(quantity).free_symbols
    roots = roots_in([quantity, *flow.values()])
    field = rational_functions(symbols.union(flow, flow_parameters(flow)), roots)
    element = rational(quantity, field)
    moved = [weight for weight in flow if weight in symbols]
    slopes = (
        derivative(element, weight) * rational(flow[weight], field) for weight in moved
    )
    return written(sum(slopes, field.zero), [*flow])


def _polynomials(flow: Flow) -> list[Element]:
    """The rates times a common denominator, over polynomials in the parameters: it conserves what the flow does."""
    field = rational_functions(flow_parameters(flow)).to_domain()
    ring = PolyRing([*flow], field, grlex)
    rates = [rational(each, ring) for each in flow.values()]
    ground = field.get_ring()
    common = reduce(
        ground.lcm,
        (field.denom(c) for each in rates for c in each.values()),
        ground.one,
    )
    return [
        (each * field(common)).set_ring(ring.clone(domain=ground)) for each in rates
    ]


def _require_few_monomials(size: int, degree: int, terms: int) -> None:
    """ValueError where linear algebra would take minutes: each monomial is derived along the terms of its rates."""
    monomials = comb(size + degree, degree) - 1
    work = monomials * degree * (terms // max(size, 1) + 1)
    if work > MAX_WORK:
        raise ValueError(
            f"{size} weights have {monomials} monomials up to degree {degree}, too many to look for conserved "
            f"ones in seconds: take a lower degree, fewer heads or a smaller dimension"
        )


def _monomials(size: int, degree: int) -> list[Powers]:
    """Powers of all monomials of degree 1 … `degree`, ascending, so that kernels have leading monomials."""
    chosen = (
        each
        for d in range(1, degree + 1)
        for each in combinations_with_replacement(range(size), d)
    )
    return sorted((tuple(map(each.count, range(size))) for each in chosen), key=grlex)


def _points(size: int) -> Iterator[tuple[list[int], int]]:
    """Values of the parameters and primes to compute by, always the same ones."""
    for seed in count():
        random = Random(seed)
        yield (
            [random.getrandbits(61) for _ in range(size)],
            int(sp.nextprime(random.getrandbits(61))),
        )


def _members(
    rates: Sequence[Element],
    monomials: Sequence[Powers],
    values: Sequence[int],
    prime: int,
) -> list[Element] | None:
    """Proved invariants, as many as there are at a point of parameters modulo a prime; None where some fail."""
    field = sp.GF(prime, symmetric=False)
    ring = rates[0].ring.clone(domain=field)
    here = [
        ring.from_dict({powers: field(int(c(*values))) for powers, c in each.terms()})
        for each in rates
    ]
    kernel = _kernel(_matrix(_system(monomials, here), len(monomials), field))
    members = [
        _lifted([monomials[j] for j in sorted(vector)], rates, here)
        for vector in kernel
    ]
    return None if any(member is None for member in members) else members


def _lifted(
    support: Sequence[Powers], rates: Sequence[Element], here: Sequence[Element]
) -> Element | None:
    """The invariant with these monomials, if it is one for all parameters and not only where there is one `here`.

    As many equations as determine it are solved, the shortest that are independent `here`; all of them are proved.
    """
    ground = rates[0].ring.domain
    at_point = sorted(_system(support, here).items(), key=lambda item: len(item[1]))
    _, chosen = (
        _matrix(dict(at_point), len(support), here[0].ring.domain)
        .transpose()
        .rref(method="GJ")
    )
    exact = _system(support, rates)
    rows = {at_point[i][0]: exact[at_point[i][0]] for i in chosen}
    (solution,) = _kernel(_matrix(rows, len(support), ground).to_field())
    member = (
        rates[0]
        .ring.clone(domain=ground.get_field())
        .from_dict({support[j]: c for j, c in solution.items()})
    )
    member = member.clear_denoms()[1].set_ring(rates[0].ring).primitive()[1]
    if _derivative(member, rates):
        return None
    return -member if ground.is_negative(member.LC) else member


def _system(monomials: Sequence[Powers], rates: Sequence[Element]) -> Rows:
    """An equation for each monomial of a derivative, in the coefficients of a sum of monomials."""
    ring = rates[0].ring
    rows: Rows = defaultdict(dict)
    for j, powers in enumerate(monomials):
        for image, coefficient in _derivative(
            ring.from_dict({powers: ring.domain.one}), rates
        ).terms():
            rows[image][j] = coefficient
    return rows


def _derivative(polynomial: Element, rates: Sequence[Element]) -> Element:
    """The derivative along the flow."""
    ring = polynomial.ring
    return sum(
        (
            polynomial.diff(gen) * each
            for gen, each in zip(ring.gens, rates, strict=True)
        ),
        ring.zero,
    )


def _matrix(rows: Rows, width: int, domain: Any) -> Any:
    return DomainMatrix(dict(enumerate(rows.values())), (len(rows), width), domain)


def _kernel(matrix: Any) -> list[dict[int, Element]]:
    """A basis of the kernel over a field: each member has 1 in its last column, where the others have 0."""
    echelon, pivots = matrix.rref(method="GJ")
    return [*echelon.nullspace_from_rref(pivots).to_sparse().rep.values()]
