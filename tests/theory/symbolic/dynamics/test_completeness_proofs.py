"""No map of rest beside the enumerated ones: by Gröbner bases in symbols and in rational numbers."""

import sys
from functools import cache
from itertools import chain, combinations

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.polys.orderings import grevlex

from attndyn import Separate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    SymbolicTask,
    effective_map,
    fixed_points,
    flow_equations,
    output_loss,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.algebra.groebner import groebner_basis, solution_count
from attndyn.theory.symbolic.dynamics.completeness_proofs import completeness
from attndyn.theory.symbolic.loss.population_losses import token_products


def entries(D):
    return sp.Matrix(D, D, lambda i, j: sp.Symbol(f"m_{i + 1}_{j + 1}", real=True))


def white_inputs(D):
    """Λ = 1, Ω = diag(ω), noise: what every task is in coordinates of its own."""
    ω = symbolic_task(D, teachers="diagonal").teacher_covariance
    return SymbolicTask(sp.eye(D), ω, sp.Symbol("sigma", positive=True) ** 2, (N,))


def solves(basis, M):
    """Whether a map is a root of every polynomial of a basis."""
    values = dict(zip(entries(M.rows), M, strict=True))
    return all(sp.cancel(each.subs(values)) == 0 for each in basis)


SYMBOLIC = {
    "one direction": symbolic_task(1, teachers="diagonal", noise=True),
    "white teachers, D = 2": symbolic_task(2),
    "diagonal teachers and noise, D = 2": symbolic_task(
        2, teachers="diagonal", noise=True
    ),
    "white teachers, D = 3": symbolic_task(3),
    "any task, D = 2": white_inputs(2),
    "any task, D = 3": white_inputs(3),
}


@pytest.mark.parametrize("name", SYMBOLIC)
def test_in_symbols_unless_gains_are_equal(name):
    task = SYMBOLIC[name]
    D = task.dimension
    found = completeness(task)
    assert found.complete
    assert found.count == found.listed == 2**D
    strength = [task.covariance[d, d] * task.teacher_covariance[d, d] for d in range(D)]
    assert set(found.unless) == {
        strength[i] - strength[j] for i, j in combinations(range(D), 2)
    }


def test_the_system_is_that_of_the_loss_of_a_free_map():
    task, D = symbolic_task(2, teachers="diagonal", noise=True), 2
    m, products = entries(D), token_products(N, D)
    β, query = sp.Matrix(products[-1, :-1]), sp.Matrix(Prompt(D).query)
    loss = output_loss(task, (β.T * m * query)[0], list(m)).expression
    G = m.applyfunc(lambda entry: -loss.diff(entry) / 2)
    field = sp.QQ.frac_field(N, *task.parameters)
    system = sp.groebner([*(G * m.T), *(G.T * m)], *m, domain=field, order=grevlex)
    assert {sp.factor(each) for each in system.exprs} == {
        sp.factor(each) for each in completeness(task).basis
    }


def test_wrong_maps_are_no_solutions():
    task = symbolic_task(2)
    basis = completeness(task).basis
    points = [point.M for point in fixed_points(task, Separate(2))]
    assert all(solves(basis, M) for M in points)
    assert [solves(basis, 2 * M) for M in points] == [False, False, False, True]
    assert [solves(basis, M.subs(N, N + 1)) for M in points] == [
        False,
        False,
        False,
        True,
    ]
    swapped = sp.Matrix([[0, 1], [1, 0]])
    assert not solves(basis, swapped * points[1] * swapped)


@pytest.mark.parametrize(
    "model", [Separate(2), Separate(1, rank=2)], ids=["rank 1", "rank 2"]
)
def test_maps_of_weights_at_rest_solve_it(model):
    task = symbolic_task(2, teachers="general", noise=True)
    loss = population_loss(task, model, "restricted")
    flow, form, symbols = (
        flow_equations(loss),
        effective_map(task, model),
        weight_symbols(model, 2),
    )
    G = form.residual_correlation(form.M)
    for name, product in (("key", G * form.M.T), ("query", G.T * form.M)):
        rows = [sp.Matrix(row) for head in symbols[name] for row in head[:, :-1]]
        moved = sum((row.applyfunc(flow.get) * row.T for row in rows), sp.zeros(2))
        assert not any(map(loss.polynomial.ring.from_expr, moved - product))
        assert any(map(loss.polynomial.ring.from_expr, moved - product.T))


whole = st.integers(-4, 4)
positive = st.builds(sp.Rational, st.integers(1, 12), st.integers(1, 12))


@st.composite
def bases(draw, D):
    """An invertible matrix of rational numbers."""
    return sp.Matrix(
        D,
        D,
        draw(
            st.lists(whole, min_size=D * D, max_size=D * D).filter(lambda e: det(D, e))
        ),
    )


def det(D, numbers):
    return sp.Matrix(D, D, numbers).det() != 0


@settings(max_examples=6, deadline=None)
@given(
    st.lists(positive, min_size=2, max_size=4, unique=True),
    positive,
    st.integers(1, 40),
)
def test_in_rational_numbers(λ, noise, length):
    task = SymbolicTask(sp.diag(*λ), sp.eye(len(λ)), noise, (length,))
    found = completeness(task, divisor="tokens")
    assert found.complete
    assert found.count == 2 ** len(λ)


def test_six_dimensions_in_rational_numbers():
    λ = [
        sp.Rational(*each)
        for each in ((17, 5), (29, 11), (3, 2), (13, 14), (5, 8), (2, 9))
    ]
    ω = [
        sp.Rational(*each) for each in ((2, 3), (7, 4), (1, 1), (9, 5), (3, 7), (8, 3))
    ]
    found = completeness(
        SymbolicTask(sp.diag(*λ), sp.diag(*ω), sp.Rational(5, 7), (23,))
    )
    assert (found.complete, found.count, found.listed, len(found.basis)) == (
        True,
        64,
        64,
        36,
    )


def oblique(P, c):
    """Λ = P Pᵀ and Ω = P⁻ᵀ diag(c) P⁻¹, which seldom commute: white inputs z with teachers diag(c), x = P z."""
    inverse = P.inv()
    return SymbolicTask(
        P * P.T, inverse.T * sp.diag(*c) * inverse, sp.Rational(1, 3), (5,)
    )


@settings(max_examples=8, deadline=None)
@given(st.data(), st.integers(2, 3), positive, st.integers(1, 40))
def test_where_covariances_do_not_commute(data, D, noise, length):
    F, H = data.draw(bases(D)), data.draw(bases(D))
    task = SymbolicTask(F * F.T, H * H.T, noise, (length,))
    strengths = (task.covariance * task.teacher_covariance).charpoly()
    found = completeness(task)
    if strengths.is_sqf:
        assert (found.complete, found.count, found.listed) == (True, 2**D, 2**D)
    else:
        assert (found.complete, found.count) == (False, None)


@cache
def slanted():
    return sp.Matrix([[1, 2, 0], [0, 1, -1], [1, 0, 1]]), (
        sp.Integer(3),
        sp.Rational(3, 2),
        sp.Rational(1, 4),
    )


def subsets(D):
    return chain.from_iterable(combinations(range(D), size) for size in range(D + 1))


def test_solutions_without_commuting_are_those_of_white_inputs():
    P, c = slanted()
    task = oblique(P, c)
    Λ, Ω = task.covariance, task.teacher_covariance
    assert Λ * Ω != Ω * Λ
    found = completeness(task)
    assert found.complete
    plain = completeness(
        SymbolicTask(sp.eye(3), sp.diag(*c), task.noise_variance, task.context_lengths)
    )
    white = SymbolicTask(sp.eye(3), sp.diag(*c), sp.Rational(1, 3), (5,))
    straight = fixed_points(white, Separate(3))[0].M
    for S in subsets(3):
        kept = sp.diag(*(straight[d, d] if d in S else 0 for d in range(3)))
        assert solves(plain.basis, kept)
        assert solves(found.basis, P.inv().T * kept * P.inv())
        assert solves(found.basis, P * kept * P.inv()) == (not S)


def test_impostors_are_not_listed(monkeypatch):
    counting, task = sys.modules[completeness.__module__], oblique(*slanted())
    learned = counting._learned_map
    doubled = {
        "each": lambda *at: 2 * learned(*at),
        "two": lambda *at: learned(*at[:3], at[3].ring.gens[0]),
    }
    for wrong in doubled.values():
        monkeypatch.setattr(counting, "_learned_map", wrong)
        found = completeness(task)
        assert (found.count, found.listed, found.complete) == (8, 0, False)


@settings(max_examples=5, deadline=None)
@given(bases(2), st.lists(positive, min_size=2, max_size=2))
def test_new_coordinates_take_the_loss_of_a_map_to_that_of_another(P, c):
    task, model, M = oblique(P, c), Separate(1), entries(2)
    form = effective_map(task, model)
    plain = effective_map(
        SymbolicTask(sp.eye(2), sp.diag(*c), task.noise_variance, task.context_lengths),
        model,
    )
    assert sp.expand(form.loss(M) - plain.loss(P.T * M * P)) == 0
    assert sp.expand(form.loss(M) - plain.loss(2 * P.T * M * P)) != 0
    assert (
        (
            form.residual_correlation(M)
            - P * plain.residual_correlation(P.T * M * P) * P.T
        )
        .expand()
        .is_zero_matrix
    )


def equal_gains():
    λ, ω = symbolic_task(3).parameters, sp.Symbol("omega", positive=True)
    return {
        "two equal eigenvalues": SymbolicTask(sp.diag(λ[0], λ[0]), sp.eye(2), 0, (N,)),
        "two of three": SymbolicTask(sp.diag(λ[0], λ[1], λ[1]), sp.eye(3), 0, (N,)),
        "by the teachers": SymbolicTask(
            sp.diag(λ[0], 2 * λ[0]), sp.diag(2 * ω, ω), λ[0], (N,)
        ),
        "in numbers": SymbolicTask(sp.diag(3, 2, 3, 1), sp.eye(4), 0, (7,)),
        "without commuting": oblique(slanted()[0], (3, 3, 1)),
    }


@pytest.mark.parametrize("name", equal_gains())
def test_equal_gains_make_a_continuum(name):
    found = completeness(equal_gains()[name])
    assert found.count is None
    assert not found.complete


def test_both_halves_of_the_system_are_needed():
    form, M = effective_map(symbolic_task(2), Separate(1)), entries(2)
    home = sp.ring(list(M), sp.QQ.frac_field(N, *symbolic_task(2).parameters), grevlex)[
        0
    ]
    G = form.residual_correlation(M)
    halves = [
        [home.from_expr(sp.expand(each)) for each in half]
        for half in (G * M.T, G.T * M)
    ]
    counts = [
        solution_count(groebner_basis(half)[0])
        for half in (*halves, halves[0] + halves[1])
    ]
    assert counts == [None, None, 4]


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (symbolic_task(2, mixture=True), "fixed teacher"),
        (symbolic_task(2, teachers="general"), "share their eigenvectors"),
        (SymbolicTask(sp.diag(1, 0), sp.eye(2), 1, (3,)), "must be invertible"),
        (SymbolicTask(sp.eye(2), sp.diag(1, 0), 1, (N,)), "must be invertible"),
    ],
)
def test_names_what_it_cannot_count(task, message):
    with pytest.raises(ValueError, match=message):
        completeness(task)
