"""Conserved polynomials of a flow, found by linear algebra over the rational functions of its parameters."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations_with_replacement, count
from math import comb
from random import Random
from typing import Any

import sympy as sp
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import grlex
from sympy.polys.rings import PolyRing

from ..algebra.polynomials import Element, Powers
from ..algebra.rational_arithmetic import (
    Flow,
    collected_by,
    derivative,
    expression,
    flow_parameters,
    freed_roots,
    rational,
    rational_functions,
    roots_in,
)
from ..task import Expr

MAX_WORK = 300_000
"""The most terms that the derivatives of all monomials may have: they are made and solved for in seconds."""

Rows = dict[Powers, dict[int, Element]]
"""Equations: monomial of a derivative → column → coefficient."""


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
    roots = freed_roots(flow.values())
    if roots:
        return _conserved_with_roots(flow, degree, roots)
    # Long rates make long derivatives of every monomial.
    terms = sum(len(sp.Add.make_args(rate)) for rate in flow.values())
    _require_few_monomials(len(flow), degree, terms)

    members = sorted(_proved_members(_polynomials(flow), degree), key=_written_order)
    field = rational_functions({*flow, *flow_parameters(flow)})
    return tuple(
        collected_by(rational(member.as_expr(), field), [*flow]) for member in members
    )


def _proved_members(rates: Sequence[Element], degree: int) -> list[Element]:
    """The basis, from the first point of parameters at which there are no more invariants than for all.

    A generic rank can only drop at a point, so a kernel there has at least as many members as the generic one: as
    many proved members with different leading monomials are all. A point may have too many; then the next is taken.
    """
    monomials = _monomials(len(rates), degree)
    parameter_count = rates[0].ring.domain.ngens
    for values, prime in _points(parameter_count):
        members = _members(rates, monomials, values, prime)
        if members is not None:
            return members
    raise AssertionError("there are points without end")


def _conserved_with_roots(
    flow: Flow, degree: int, roots: Mapping[Expr, Expr]
) -> tuple[Expr, ...]:
    """The same with symbols in the place of roots such as √2, which are then put in again."""
    freed = {
        weight: expression(rate).xreplace(dict(roots)) for weight, rate in flow.items()
    }
    root_of = {symbol: root for root, symbol in roots.items()}
    return tuple(
        quantity.xreplace(root_of) for quantity in conserved_quantities(freed, degree)
    )


def _written_order(member: Element) -> tuple[int, list[int]]:
    """By degree, and then by the weights in the order of the flow."""
    leading = member.LM
    return sum(leading), [-power for power in leading]


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

    # dI/dt = Σ ∂I/∂θ dθ/dt over the weights that stand in I.
    total = field.zero
    for weight, rate in flow.items():
        if weight in symbols:
            total += derivative(element, weight) * rational(rate, field)
    return collected_by(total, [*flow])


def _polynomials(flow: Flow) -> list[Element]:
    """The rates times a common denominator, over polynomials in the parameters: it conserves what the flow does."""
    field = rational_functions(flow_parameters(flow)).to_domain()
    ring = PolyRing([*flow], field, grlex)
    rates = [rational(rate, ring) for rate in flow.values()]

    # A common factor of all rates changes the speed and no orbit: it conserves the same.
    ground = field.get_ring()
    common = ground.one
    for rate in rates:
        for coefficient in rate.values():
            common = ground.lcm(common, field.denom(coefficient))
    target = ring.clone(domain=ground)
    return [(rate * field(common)).set_ring(target) for rate in rates]


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
    monomials = []
    for d in range(1, degree + 1):
        for factors in combinations_with_replacement(range(size), d):
            monomials.append(tuple(factors.count(i) for i in range(size)))
    return sorted(monomials, key=grlex)


def _points(size: int) -> Iterator[tuple[list[int], int]]:
    """Values of the parameters and primes to compute by, always the same ones."""
    for seed in count():
        random = Random(seed)
        # 61 bits: a polynomial of moderate degree vanishes at such a point with probability about 1e-17.
        values = [random.getrandbits(61) for _ in range(size)]
        prime = int(sp.nextprime(random.getrandbits(61)))
        yield values, prime


def _members(
    rates: Sequence[Element],
    monomials: Sequence[Powers],
    values: Sequence[int],
    prime: int,
) -> list[Element] | None:
    """Proved invariants, as many as there are at a point of parameters modulo a prime; None where some fail."""
    field = sp.GF(prime, symmetric=False)
    ring = rates[0].ring.clone(domain=field)
    at_point = []
    for rate in rates:
        numbers = {powers: field(int(c(*values))) for powers, c in rate.terms()}
        at_point.append(ring.from_dict(numbers))

    # Σ_j c_j dm_j/dt = 0, linear in the coefficients c of the monomials m.
    kernel = _kernel(_matrix(_system(monomials, at_point), len(monomials), field))
    members = []
    for vector in kernel:
        support = [monomials[j] for j in sorted(vector)]
        member = _lifted(support, rates, at_point)
        if member is None:
            return None
        members.append(member)
    return members


def _lifted(
    support: Sequence[Powers], rates: Sequence[Element], at_point: Sequence[Element]
) -> Element | None:
    """The invariant with these monomials, if it is one for all parameters and not only for the rates `at_point`.

    As many equations as determine it are solved, the shortest that are independent at the point; all are proved.
    """
    exact = _system(support, rates)
    rows = {monomial: exact[monomial] for monomial in _independent(support, at_point)}
    ground = rates[0].ring.domain
    (solution,) = _kernel(_matrix(rows, len(support), ground).to_field())

    # In the ring of polynomials in the parameters, without a common factor.
    # The kernel is found over fractions of the parameters, the law is a polynomial in them.
    over_field = rates[0].ring.clone(domain=ground.get_field())
    member = over_field.from_dict({support[j]: c for j, c in solution.items()})
    _, without_denominators = member.clear_denoms()
    _, member = without_denominators.set_ring(rates[0].ring).primitive()
    if _derivative(member, rates):
        return None
    if ground.is_negative(member.LC):
        return -member
    return member


def _independent(
    support: Sequence[Powers], at_point: Sequence[Element]
) -> list[Powers]:
    """The equations, by their monomials, that determine an invariant at a point: short ones first."""
    equations = _system(support, at_point)
    by_length = sorted(equations, key=lambda monomial: len(equations[monomial]))
    rows = {monomial: equations[monomial] for monomial in by_length}
    matrix = _matrix(rows, len(support), at_point[0].ring.domain)
    _, pivots = matrix.transpose().rref(method="GJ")
    return [by_length[i] for i in pivots]


def _system(monomials: Sequence[Powers], rates: Sequence[Element]) -> Rows:
    """An equation for each monomial of a derivative, in the coefficients of a sum of monomials."""
    ring = rates[0].ring
    rows: Rows = defaultdict(dict)
    for j, powers in enumerate(monomials):
        monomial = ring.from_dict({powers: ring.domain.one})
        for image, coefficient in _derivative(monomial, rates).terms():
            rows[image][j] = coefficient
    return rows


def _derivative(polynomial: Element, rates: Sequence[Element]) -> Element:
    """The derivative along the flow, Σ_i ∂p/∂θ_i dθ_i/dt."""
    total = polynomial.ring.zero
    for gen, rate in zip(polynomial.ring.gens, rates, strict=True):
        total += polynomial.diff(gen) * rate
    return total


def _matrix(rows: Rows, width: int, domain: Any) -> Any:
    return DomainMatrix(dict(enumerate(rows.values())), (len(rows), width), domain)


def _kernel(matrix: Any) -> list[dict[int, Element]]:
    """A basis of the kernel over a field: each member has 1 in its last column, where the others have 0."""
    echelon, pivots = matrix.rref(method="GJ")
    return [*echelon.nullspace_from_rref(pivots).to_sparse().rep.values()]
