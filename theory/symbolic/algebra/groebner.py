"""Polynomial systems by Gröbner bases that keep the divisors: how many solutions, and for which parameters."""

from collections.abc import Iterable, Sequence
from itertools import product
from operator import le
from typing import Any

from sympy.polys.groebnertools import spoly

from ..loss.expectations import Element


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
    >>> basis, [int(each) for each in divisors]
    ([x**2 - 2*y, x*y - x, y**2 - y], [1, 1, -2])
    """
    todo, divisors = [each for each in polynomials if each], []
    basis: list[Element] = []
    while todo:
        todo.sort(key=_rank, reverse=True)
        new = todo.pop().rem(basis)
        if new:
            divisors.append(new.LC)
            new = new.monic()
            todo += [
                spoly(new, old, new.ring)
                for old in basis
                if not _coprime(new.LM, old.LM)
            ]
            basis = [old for old in basis if not _divides(new.LM, old.LM)] + [new]
    basis.sort(key=_rank, reverse=True)
    return [
        each.rem([other for other in basis if other is not each]) for each in basis
    ], divisors


def solution_count(basis: Sequence[Element]) -> int | None:
    """How many solutions the system of a Gröbner basis has over the complex numbers, each by its multiplicity.

    That is the dimension of the quotient ring: how many monomials no leading one divides. None for infinitely many.
    """
    if not basis:
        return None
    leading = [each.LM for each in basis]
    powers: list[int | None] = [None] * len(basis[0].ring.gens)
    for monomial in leading:
        held = [i for i, power in enumerate(monomial) if power]
        if not held:
            return 0
        if len(held) == 1:
            powers[held[0]] = monomial[held[0]]
    if None in powers:
        return None
    box = product(*(range(power or 0) for power in powers))
    return sum(not any(_divides(low, monomial) for low in leading) for monomial in box)


def _rank(polynomial: Element) -> Any:
    return polynomial.ring.order(polynomial.LM)


def _divides(low: Sequence[int], high: Sequence[int]) -> bool:
    return all(map(le, low, high))


def _coprime(one: Sequence[int], other: Sequence[int]) -> bool:
    """Whether monomials share no variable: then their S-polynomial reduces to zero."""
    return not any(a and b for a, b in zip(one, other, strict=True))
