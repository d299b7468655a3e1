"""Gröbner bases that keep what was divided by, against SymPy's and against systems of known solutions."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.polys.groebnertools import groebner
from sympy.polys.orderings import grevlex, lex

from attndyn.theory.symbolic.algebra.groebner import groebner_basis, solution_count


def ring(order=grevlex, domain=sp.QQ):
    return sp.ring("x y z", domain, order)


powers = st.tuples(*[st.integers(0, 2)] * 3).filter(lambda each: sum(each) <= 3)
polynomials = st.dictionaries(powers, st.integers(-3, 3), min_size=1, max_size=3)


@settings(max_examples=25, deadline=None)
@given(st.lists(polynomials, min_size=1, max_size=3), st.sampled_from([lex, grevlex]))
def test_the_reduced_basis_is_unique(system, order):
    home = ring(order)[0]
    generators = [
        home.from_dict({key: sp.QQ(value) for key, value in each.items() if value})
        for each in system
    ]
    ours, _ = groebner_basis(generators)
    assert set(ours) == set(groebner([each for each in generators if each], home))
    assert all(not each or not each.rem(ours) for each in generators)


def test_counts_solutions_by_their_multiplicity():
    _, x, y, z = ring()
    known = {
        (x**2 - 1, y**3, z): 6,
        (x - 1, x - 2): 0,
        (x * y, z): None,
        (x**2 + y**2 + z**2, x * y - z, x - z): 4,
        (x, y, z): 1,
    }
    assert {
        system: solution_count(groebner_basis(system)[0]) for system in known
    } == known


def test_a_count_holds_unless_a_divisor_vanishes():
    a = sp.Symbol("a")
    field = sp.QQ.frac_field(a)
    x, y, z = ring(domain=field)[1:]
    α = field.gens[0]
    system = [α * x**2 - x, (α - 2) * y + x, z - 1]
    basis, divisors = groebner_basis(system)
    assert solution_count(basis) == 2
    parts = (part for each in divisors for part in (each.numer, each.denom))
    assert {
        factor.as_expr() for part in parts for factor, _ in part.factor_list()[1]
    } == {a, a - 2}
    plain = ring()[0]
    for value, count in {0: 1, 1: 2, 2: None, 3: 2}.items():
        there = [plain.from_expr(each.as_expr().subs(a, value)) for each in system]
        assert solution_count(groebner_basis(there)[0]) == count


@pytest.mark.parametrize("order", [lex, grevlex])
def test_nothing_is_a_basis_of_nothing(order):
    home = ring(order)[0]
    assert groebner_basis([home.zero]) == ([], [])
