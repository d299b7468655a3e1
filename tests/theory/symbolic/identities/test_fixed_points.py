"""Identities of fixed points, proved from the derived flow: which maps there are, their gains and their losses."""

from itertools import chain, combinations

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    effective_map,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)

MODEL = Separate(1)


def zero(expression):
    """Whether a rational expression, or every entry of a matrix, vanishes identically: by normal forms."""
    if isinstance(expression, sp.MatrixBase):
        return all(map(zero, expression))
    numerator = sp.numer(sp.together(expression))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


def rests(form, M):
    """Whether G Mᵀ = GᵀM = 0: what a fixed point of separate heads is, as a test below proves."""
    G = form.residual_correlation(M)
    return zero(G * M.T) and zero(G.T * M)


def subsets(size):
    return list(
        chain.from_iterable(combinations(range(size), k) for k in range(size + 1))
    )


def closed_form(task):
    """b_d, a_d and λ_d where Λ and Ω are diagonal."""
    Λ, Ω = task.covariance, task.teacher_covariance
    c = (Ω * Λ).trace() + task.noise_variance
    λ, ω = list(Λ.diagonal()), list(Ω.diagonal())
    a = [x**2 * y * (1 + 1 / N) + c * x / N for x, y in zip(λ, ω, strict=True)]
    return [x**2 * y for x, y in zip(λ, ω, strict=True)], a, λ


@pytest.mark.parametrize("size", [1, 2, 3])
def test_gains_are_squared_singular_values(size):
    """TᵀT = Λ^{-1/2} BᵀA⁻¹B Λ^{-1/2} is similar to Λ⁻¹BᵀA⁻¹B, which has no roots in it."""
    task = symbolic_task(size)
    form, (_, a, λ) = effective_map(task, MODEL), closed_form(task)
    similar = form.Lambda.inv() * form.B.T * form.A.inv() * form.B
    pairs = list(zip(λ, a, strict=True))

    def holds(gains):
        return zero(similar - sp.diag(*gains))

    assert holds([x**3 / y for x, y in pairs])
    wrong = {
        "λ": [x / y for x, y in pairs],
        "λ²": [x**2 / y for x, y in pairs],
        "λ⁴": [x**4 / y for x, y in pairs],
        "N + 1 for N": [x**3 / y.subs(N, N + 1) for x, y in pairs],
        "trace dropped": [x / (1 + 1 / N) for x in λ],
    }
    assert [name for name, gains in wrong.items() if holds(gains)] == []


def positive(expression):
    """Whether a rational function of positive symbols is positive because every coefficient is."""
    parts = sp.fraction(sp.factor(expression))
    signs = {
        sp.sign(c)
        for part in parts
        for c in sp.Poly(part, *{N, *part.free_symbols}).coeffs()
    }
    return signs == {1}


@pytest.mark.parametrize("teachers", ["white", "diagonal"])
def test_larger_eigenvalues_have_larger_gains_for_white_teachers(teachers):
    task = symbolic_task(2, teachers=teachers, noise=True)
    b, a, λ = closed_form(task)
    gains = [y**2 / (z * x) for x, y, z in zip(λ, b, a, strict=True)]
    assert positive((gains[0] - gains[1]) / (λ[0] - λ[1])) == (teachers == "white")
    signal = [y / x for x, y in zip(λ, b, strict=True)]
    assert positive(
        (gains[0] - gains[1]) / (signal[0] - signal[1])
    )  # eigenvalues of ΩΛ order them all
    assert not positive((gains[1] - gains[0]) / (signal[0] - signal[1]))


def test_the_published_losses():
    """λ ∝ (4, 3, 2, 1) of trace 1 and N = 31, as exact rational numbers."""
    tenth, n = sp.Rational(1, 10), sp.Integer(31)
    task = SymbolicTask(sp.diag(4, 3, 2, 1) * tenth, sp.eye(4), sp.Integer(0), (n,))
    form, λ = effective_map(task, MODEL), [k * tenth for k in (4, 3, 2, 1)]
    published = [
        sp.Rational(d)
        for d in ("1", "0.64057971", "0.37737216", "0.20980460", "0.13599507")
    ]

    def holds(coefficient):
        losses = [
            form.loss(
                sp.diag(*(coefficient(x) if d < k else 0 for d, x in enumerate(λ)))
            )
            for k in range(5)
        ]
        return all(
            abs(ours - theirs) < sp.Rational(1, 2 * 10**8)
            for ours, theirs in zip(losses, published, strict=True)
        )

    assert holds(lambda x: 1 / (x + (x + 1) / n))
    wrong = {
        "trace dropped": lambda x: 1 / (x + x / n),
        "N + 1 for N": lambda x: 1 / (x + (x + 1) / (n + 1)),
        "trace 10": lambda x: 1 / (x + (x + 10) / n),
        "least squares": lambda x: 1 / x,
        "square root": lambda x: 1 / sp.sqrt(x + (x + 1) / n),
    }
    assert [name for name, coefficient in wrong.items() if holds(coefficient)] == []


@pytest.mark.parametrize("size", [1, 2, 3])
def test_maps_and_losses_of_every_subset(size):
    task = symbolic_task(
        size, teachers="white" if size > 2 else "diagonal", noise=size < 3
    )
    form, (b, a, λ) = effective_map(task, MODEL), closed_form(task)
    m = [y / (z * x) for x, y, z in zip(λ, b, a, strict=True)]
    gains = [x * y for x, y in zip(b, m, strict=True)]
    for subset in subsets(size):
        M = sp.diag(*(m[d] if d in subset else 0 for d in range(size)))
        assert rests(form, M)
        assert zero(form.loss(M) - form.c + sum(gains[d] for d in subset))
        assert not subset or not rests(form, 2 * M)
        assert not subset or not rests(form, M.subs(N, N + 1))
        assert not subset or not zero(form.loss(M) - form.c + sum(m[d] for d in subset))


@pytest.mark.parametrize("size", [2, 3])
def test_there_are_no_other_maps_where_gains_differ(size):
    """From G Mᵀ = GᵀM = 0: (g_i − g_j) M_ij = 0, and m_d (b_d − a_d λ_d m_d) = 0 on the diagonal: 2^D maps."""
    task = symbolic_task(size, teachers="diagonal")
    form, (b, a, λ) = effective_map(task, MODEL), closed_form(task)
    M = sp.Matrix(size, size, sp.symbols(f"m:{size**2}"))
    G = form.residual_correlation(M)
    first, second = form.A.inv() * G * M.T, form.Lambda.inv() * G.T * M
    skew = [part - part.T for part in (first, second)]
    gains = [b[d] ** 2 / (a[d] * λ[d]) for d in range(size)]

    def certified(i, j, sign=1):
        combined = b[j] / λ[j] * skew[0][i, j] + sign * b[i] / a[i] * skew[1][i, j]
        return zero(combined - (gains[i] - gains[j]) * M[i, j])

    off = [(i, j) for i in range(size) for j in range(size) if i != j]
    assert all(certified(i, j) for i, j in off)
    assert not any(certified(i, j, sign=-1) for i, j in off)
    diagonal = dict.fromkeys((M[i, j] for i, j in off), 0)
    for d in range(size):
        assert zero(
            (G * M.T)[d, d].xreplace(diagonal)
            - M[d, d] * (b[d] - a[d] * λ[d] * M[d, d])
        )


@pytest.mark.parametrize(
    "model",
    [Separate(2), Separate(1, rank=2), Separate(3)],
    ids=["two", "rank two", "three"],
)
def test_the_flow_of_separate_heads_rests_only_where_the_map_does(model):
    """Σ dk/dt kᵀ = G Mᵀ and Σ dq/dt qᵀ = GᵀM: no flow, no products."""
    task = symbolic_task(2, teachers="general", noise=True)
    form, weights = effective_map(task, model), weight_symbols(model, 2)
    flow = flow_equations(population_loss(task, model, "restricted"))
    keys, queries = (
        sp.Matrix(weights[name][..., :-1].reshape(-1, 2)) for name in ("key", "query")
    )
    G, rates = (
        form.residual_correlation(form.M),
        [part.applyfunc(flow.get) for part in (keys, queries)],
    )
    assert zero(rates[0].T * keys - G * form.M.T)
    assert zero(rates[1].T * queries - G.T * form.M)
    assert not zero(rates[0].T * queries - G * form.M.T)
    assert not zero(rates[1].T * queries - G * form.M.T)


def test_merged_heads_rest_at_two_maps_only():
    """Σ_h v_h dU_h/dt = |v|² G, so at rest v = 0, where M = 0, or G = 0, which M* alone solves."""
    model, task = Merged(2), symbolic_task(2, teachers="general", noise=True)
    form, weights = effective_map(task, model), weight_symbols(model, 2)
    flow = flow_equations(population_loss(task, model, "restricted"))
    v, U = (
        list(weights["value"][:, -1]),
        [sp.Matrix(each) for each in weights["key_query"][:, :-1, :-1]],
    )
    G, rates = (
        form.residual_correlation(form.M),
        [matrix.applyfunc(flow.get) for matrix in U],
    )
    summed = v[0] * rates[0] + v[1] * rates[1]
    assert zero(summed - (v[0] ** 2 + v[1] ** 2) * G)
    assert not zero(summed - (v[0] + v[1]) ** 2 * G)
    assert zero(form.M.xreplace(dict.fromkeys(v, 0)))
    entries = sp.Matrix(form.M.shape[0], form.M.shape[1], sp.symbols("m:4"))
    slopes = sp.Matrix(list(form.A * entries * form.Lambda)).jacobian(list(entries))
    assert zero(
        slopes.det(method="berkowitz") - form.A.det() ** 2 * form.Lambda.det() ** 2
    )  # so M* is the only root

    def at_rest(values, matrices):
        symbols = [*v, *U[0], *U[1]]
        there = dict(
            zip(
                symbols,
                [*map(sp.sympify, values), *matrices[0], *matrices[1]],
                strict=True,
            )
        )
        return all(zero(rate.xreplace(there)) for rate in flow.values())

    α, τ, none = *sp.symbols("alpha tau"), sp.zeros(2)
    minimum = form.A.adjugate() * form.B * form.Lambda.inv() / form.A.det()
    orthogonal = sp.Matrix([[-form.B[1, 1], 0], [0, form.B[0, 0]]])  # ⟨B, U⟩ = 0
    assert at_rest((α, 0), (minimum / α, none))
    assert at_rest((α, 1), (τ * minimum / α, (1 - τ) * minimum))
    assert at_rest((0, 0), (τ * orthogonal, none))
    assert not at_rest((0, 0), (τ * sp.eye(2), none))
    assert not at_rest((α, 0), (none, none))
    assert not at_rest((α, 0), (sp.diag(minimum[0, 0], 0) / α, none))
