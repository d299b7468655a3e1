"""Polynomial systems by Gröbner bases that keep the divisors: how many solutions, and for which parameters."""

from collections.abc import Iterable, Sequence
from itertools import product
from operator import le
from typing import Any

from sympy.polys.groebnertools import spoly

from .polynomials import Element, Powers


def groebner_basis(
    polynomials: Iterable[Element],
) -> tuple[list[Element], list[Element]]:
    """The reduced Gröbner basis of elements of one SymPy ring over a field, and every coefficient divided by.

    Buchberger's algorithm (Cox, Little, O'Shea, Ideals, Varieties, and Algorithms, chapter 2), smallest leading
    monomial first. Where coefficients hold parameters, the basis is that of the system at every value of them at
    which no divisor vanishes or has a pole, nor a coefficient a pole: nothing else was divided by.

    >>> import sympy as sp
    >>> ring, x, y = sp.ring("x y", sp.QQ, sp.grevlex)
    >>> basis, divisors = groebner_basis([x**2 - 2 * y, x * y - x])
    >>> basis, [int(divisor) for divisor in divisors]
    ([x**2 - 2*y, x*y - x, y**2 - y], [1, 1, -2])
    """
    queue = [polynomial for polynomial in polynomials if polynomial]
    basis: list[Element] = []
    divisors: list[Element] = []
    while queue:
        queue.sort(key=_rank, reverse=True)
        remainder = queue.pop().rem(basis)
        if not remainder:
            continue
        divisors.append(remainder.LC)
        new = remainder.monic()

        # Buchberger's first criterion: pairs whose leading monomials are coprime need no S-polynomial.
        partners = [old for old in basis if not _coprime(new.LM, old.LM)]
        queue += [spoly(new, old, new.ring) for old in partners]

        # What the new leading monomial divides is superfluous: its S-polynomial with the new one replaces it.
        basis = [old for old in basis if not _divides(new.LM, old.LM)]
        basis.append(new)

    basis.sort(key=_rank, reverse=True)
    return [_reduced(member, basis) for member in basis], divisors


def solution_count(basis: Sequence[Element]) -> int | None:
    """How many solutions the system of a Gröbner basis has over the complex numbers, each by its multiplicity.

    That is the dimension of the quotient ring: how many monomials no leading one divides. None for infinitely many.
    """
    if not basis:
        return None
    leading = [member.LM for member in basis]
    if any(sum(monomial) == 0 for monomial in leading):
        return 0  # the basis is {1}: there is no solution

    # Finitely many exactly where a power of every variable alone is a leading monomial.
    bounds: list[int | None] = [None] * len(basis[0].ring.gens)
    for monomial in leading:
        variables = [i for i, power in enumerate(monomial) if power]
        if len(variables) == 1:
            bounds[variables[0]] = monomial[variables[0]]
    if None in bounds:
        return None
    candidates = product(*(range(bound or 0) for bound in bounds))
    return sum(
        not any(_divides(low, monomial) for low in leading) for monomial in candidates
    )


def _reduced(member: Element, basis: Sequence[Element]) -> Element:
    """A member of a basis less what the others divide."""
    return member.rem([other for other in basis if other is not member])


def _rank(polynomial: Element) -> Any:
    return polynomial.ring.order(polynomial.LM)


def _divides(low: Powers, high: Powers) -> bool:
    return all(map(le, low, high))


def _coprime(first: Powers, second: Powers) -> bool:
    """Whether monomials share no variable: then their S-polynomial reduces to zero."""
    return not any(a and b for a, b in zip(first, second, strict=True))
