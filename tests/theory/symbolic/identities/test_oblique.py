"""Fixed points where Λ and Ω do not commute, or gains are equal: proved from the derived loss and flow."""

import pytest
import sympy as sp

from attndyn import Separate
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


def rests(form, M, zero=zero):
    """Whether G Mᵀ = GᵀM = 0, which is where separate heads rest."""
    G = form.residual_correlation(M)
    return zero(G * M.T) and zero(G.T * M)


def head_rests(task, key, query):
    """Whether one head of value 1 with this key and query rests, by the derived flow."""
    weights = weight_symbols(MODEL, task.dimension)
    there = {weights["value"][0, -1]: sp.Integer(1)}
    there |= dict(zip(weights["key"][0, 0, :-1], key, strict=True))
    there |= dict(zip(weights["query"][0, 0, :-1], query, strict=True))
    flow = flow_equations(population_loss(task, MODEL, "restricted"))
    return all(zero(rate.xreplace(there)) for rate in flow.values())


# A = ROOT² and √Λ are rational here, and so are the squares of the singular values of T.
ROOT, SCALE = sp.Matrix([[5, 1], [1, 3]]), sp.diag(3, 1)
TEACHERS = sp.Matrix(
    [[sp.Rational(7, 45), sp.Rational(7, 9)], [sp.Rational(7, 9), sp.Rational(343, 45)]]
)
OBLIQUE = SymbolicTask(SCALE**2, TEACHERS, sp.Integer(0), (sp.Integer(7),))


def singular_parts(T):
    """s̃², and s̃ u tᵀ = u uᵀ T, of every singular value of a matrix with rational squares."""
    parts = []
    for value, _, (u,) in (T * T.T).eigenvects():
        assert value.is_Rational
        parts.append((value, u * u.T * T / (u.T * u)[0]))
    return sorted(parts, key=lambda part: -part[0])


def test_maps_by_the_singular_vectors_of_T():
    form = effective_map(OBLIQUE, MODEL)
    assert zero(form.A - ROOT**2)
    assert not zero(OBLIQUE.covariance * TEACHERS - TEACHERS * OBLIQUE.covariance)
    parts = singular_parts(ROOT.inv() * form.B * SCALE.inv())
    assert [gain for gain, _ in parts] == [sp.Rational(162, 25), sp.Rational(392, 2025)]
    for gain, part in parts:
        M = ROOT.inv() * part * SCALE.inv()
        assert rests(form, M)
        assert form.loss(M) == form.c - gain
        assert head_rests(OBLIQUE, M * sp.Matrix([1, 0]), (M / M[0, 0])[0, :])
        wrong = {
            "roots exchanged": SCALE.inv() * part * ROOT.inv(),
            "no roots": part,
            "no gain": M / gain,
            "transposed": ROOT.inv() * part.T * SCALE.inv(),
            "axes of Λ": sp.diag(M[0, 0], 0),
        }
        assert [name for name, map_ in wrong.items() if rests(form, map_)] == []
        assert not head_rests(OBLIQUE, M * sp.Matrix([1, 0]), [1, 0])
    everything = ROOT.inv() * (parts[0][1] + parts[1][1]) * SCALE.inv()
    assert zero(form.residual_correlation(everything))
    assert form.loss(everything) == form.c - parts[0][0] - parts[1][0]
    assert zero(everything - ROOT.inv() ** 2 * form.B * SCALE.inv() ** 2)


def test_maps_of_any_covariances_by_the_eigenvectors_of_their_product():
    """M = m P Λ⁻¹ with P the projector on an eigenvector of ΩΛ of value s and m = s / (s (1 + 1/N) + c/N).

    These are the singular vectors of T, as A is a combination of B and Λ: the maps are symmetric, and gains s m.
    """
    task, s = symbolic_task(2, teachers="general", noise=True), sp.Symbol("s")
    form, product = (
        effective_map(task, MODEL),
        task.teacher_covariance * task.covariance,
    )
    trace, relation = product.trace(), s**2 - s * product.trace() + product.det()

    def vanishes(expression):
        if isinstance(expression, sp.MatrixBase):
            return all(map(vanishes, expression))
        return zero(sp.rem(sp.numer(sp.together(expression)), relation, s))

    m = s / (s * (1 + 1 / N) + (trace + task.noise_variance) / N)
    M = (
        m
        * (product - (trace - s) * sp.eye(2))
        / (2 * s - trace)
        * task.covariance.inv()
    )
    assert vanishes(M - M.T)
    assert rests(form, M, vanishes)
    assert vanishes(form.loss(M) - form.c + s * m)
    assert not vanishes(form.loss(M) - form.c + m)
    wrong = {
        "trace dropped": M
        * (s * (1 + 1 / N) + (trace + task.noise_variance) / N)
        / (s * (1 + 1 / N)),
        "N + 1 for N": M.subs(N, N + 1),
        "Λ for its inverse": M * task.covariance**2,
        "ΛΩ for ΩΛ": m
        * (product.T - (trace - s) * sp.eye(2))
        / (2 * s - trace)
        * task.covariance.inv(),
    }
    assert [name for name, map_ in wrong.items() if rests(form, map_, vanishes)] == []


LAMBDA, KAPPA, TAU = (
    sp.symbols("lambda_1 lambda_2", positive=True),
    sp.Symbol("kappa"),
    sp.Symbol("tau"),
)
EQUAL = {
    "equal eigenvalues": SymbolicTask(
        LAMBDA[0] * sp.eye(2), sp.eye(2), sp.Integer(0), (N,)
    ),
    "equal eigenvalues of ΩΛ": SymbolicTask(
        sp.diag(*LAMBDA), KAPPA * sp.diag(*LAMBDA[::-1]), sp.Symbol("sigma") ** 2, (N,)
    ),
}


@pytest.mark.parametrize("task", EQUAL.values(), ids=EQUAL.keys())
def test_equal_gains_make_a_continuum(task):
    """One head may point anywhere in the plane: its map is n nᵀ B Λ⁻¹ / (nᵀ A n), of one and the same loss."""

    def turned(form):
        n = sp.Matrix([1, TAU])
        return n * n.T * form.B * form.Lambda.inv() / (n.T * form.A * n)[0]

    form = effective_map(task, MODEL)
    M = turned(form)
    gain = form.B[0, 0] ** 2 / (form.A[0, 0] * form.Lambda[0, 0])
    assert rests(form, M)
    assert not zero(M.diff(TAU))
    assert zero(form.loss(M) - form.c + gain)
    assert head_rests(task, M * sp.Matrix([1, 0]) / M[0, 0], M[0, :])
    assert not rests(form, 2 * M)
    assert not rests(form, M * (1 + TAU**2))
    different = effective_map(symbolic_task(2), MODEL)
    assert not rests(different, turned(different))
    assert rests(different, turned(different).xreplace({TAU: sp.Integer(0)}))


def test_a_turned_head_of_equal_eigenvalues_has_one_coefficient():
    """Rotations of m e eᵀ by any angle, with m = 1 / (λ (1 + 3/N))."""
    form, λ = effective_map(EQUAL["equal eigenvalues"], MODEL), LAMBDA[0]
    unit = sp.Matrix([1 - TAU**2, 2 * TAU]) / (1 + TAU**2)

    def holds(m):
        return rests(form, m * unit * unit.T)

    assert holds(1 / (λ * (1 + sp.Integer(3) / N)))
    assert not holds(1 / (λ * (1 + sp.Integer(2) / N)))
    assert not holds(1 / (λ * (1 + sp.Integer(3) / (N + 1))))
    assert not rests(form, sp.Matrix([1 - TAU**2, 2 * TAU]) * unit.T / λ)
