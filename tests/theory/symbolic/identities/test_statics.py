"""Identities of the population loss, proved from the definition: its form, its moments, its minimum."""

from dataclasses import replace

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.theory.symbolic import (
    EffectiveMap,
    N,
    Prompt,
    SymbolicTask,
    average,
    effective_map,
    expectation,
    flow_equations,
    model_output,
    output_loss,
    population_loss,
    symbolic_task,
)

MODEL = Separate(1)


def zero(expression):
    """Whether a rational expression, or every entry of a matrix, vanishes identically: by normal forms."""
    if isinstance(expression, sp.MatrixBase):
        return all(map(zero, expression))
    numerator = sp.numer(sp.together(expression))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


def symmetric(name, size):
    return sp.Matrix(
        size, size, lambda i, j: sp.Symbol(f"{name}{min(i, j)}{max(i, j)}", real=True)
    )


def square(name, size):
    return sp.Matrix(size, size, sp.symbols(f"{name}:{size**2}", real=True))


def general_task(size):
    """Any Λ and any Ω, in no special basis, and noise."""
    return SymbolicTask(
        symmetric("L", size), symmetric("Omega", size), sp.Symbol("sigma") ** 2, (N,)
    )


def parts(task):
    """Λ, Ω, σ², tr ΩΛ and ΛΩΛ."""
    Λ, Ω = task.covariance, task.teacher_covariance
    return Λ, Ω, task.noise_variance, (Ω * Λ).trace(), Λ * Ω * Λ


@pytest.mark.parametrize("size", [1, 2])
def test_moments_of_any_covariances(size):
    task = general_task(size)
    form, (Λ, Ω, σ2, trace, outer) = effective_map(task, MODEL), parts(task)

    def holds(c, B, A):
        return zero(form.c - c) and zero(form.B - B) and zero(form.A - A)

    c, A = trace + σ2, (1 + 1 / N) * outer + (trace + σ2) * Λ / N
    assert holds(c, outer, A)
    wrong = {
        "trace dropped from A": (c, outer, A - trace * Λ / N),
        "noise dropped from A": (c, outer, A - σ2 * Λ / N),
        "noise dropped from c": (trace, outer, A),
        "trace of Λ alone": (Λ.trace() + σ2, outer, A),
        "1/N dropped": (c, outer, A - outer / N),
        "2/N for 1/N": (c, outer, A + outer / N),
        "N + 1 for N": (c, outer, A.subs(N, N + 1)),
        "ΩΛΩ": (c, Ω * Λ * Ω, A),
        "σ⁴ for σ²": (trace + σ2**2, outer, A),
    }
    assert [name for name, claim in wrong.items() if holds(*claim)] == []


@pytest.mark.parametrize("size", [1, 2, 3])
def test_eigenvalues_for_white_teachers(size):
    task = symbolic_task(size)
    λ, trace, A = task.parameters, sum(task.parameters), effective_map(task, MODEL).A

    def holds(eigenvalue):
        return zero(A - sp.diag(*map(eigenvalue, λ)))

    assert holds(lambda x: x**2 * (1 + 1 / N) + x * trace / N)
    assert holds(lambda x: x**2 * (1 + (1 + trace / x) / N))
    wrong = {
        "trace dropped": lambda x: x**2 * (1 + 1 / N),
        "trace times λ²": lambda x: x**2 * (1 + (1 + trace) / N),
        "N + 1 for N": lambda x: x**2 * (1 + (1 + trace / x) / (N + 1)),
        "λ³": lambda x: x**3 * (1 + (1 + trace / x) / N),
        "two for one": lambda x: x**2 * (1 + (2 + trace / x) / N),
    }
    assert [name for name, eigenvalue in wrong.items() if holds(eigenvalue)] == []


def output(M):
    """βᵀ M x_q with β = mean_n y_n x_n."""
    prompt = Prompt(M.rows)
    β = sp.Matrix([average(prompt.y * x) for x in prompt.x])
    return (β.T * M * sp.Matrix(prompt.query))[0]


def test_the_loss_of_a_map_and_its_force():
    task, M = general_task(2), square("m", 2)
    loss = output_loss(task, output(M), list(M))
    flow = M.applyfunc(flow_equations(loss).get)
    Λ, _, σ2, trace, B = parts(task)
    c, A = trace + σ2, (1 + 1 / N) * B + (trace + σ2) * Λ / N
    assert zero(loss.expression - c + 2 * (B.T * M).trace() - (Λ * M.T * A * M).trace())
    assert zero(flow - (B - A * M * Λ))
    assert not zero(
        loss.expression - c + 2 * (B.T * M).trace() - (A * M.T * Λ * M).trace()
    )
    assert not zero(loss.expression - c + (B.T * M).trace() - (Λ * M.T * A * M).trace())
    for wrong in (B - Λ * M * A, 2 * (B - A * M * Λ), B - A * M.T * Λ, A * M * Λ - B):
        assert not zero(flow - wrong)


def test_noise_on_the_label_of_the_query_only_adds_its_variance():
    task, prompt = symbolic_task(2, teachers="general", noise=True), Prompt(2)
    loss = population_loss(task, MODEL)
    clean = sp.Add(*(w * x for w, x in zip(prompt.teacher, prompt.query, strict=True)))
    without = expectation((clean - model_output(MODEL, 2)) ** 2, task)
    σ2 = task.noise_variance
    assert zero(loss.expression - without - σ2)
    assert not zero(loss.expression - without)
    assert not zero(loss.expression - without - σ2 * (1 + 1 / N))
    silent = population_loss(
        replace(task, noise_variance=sp.Integer(0)), MODEL
    )  # on no label at all
    assert not zero(loss.expression - silent.expression - σ2)


@pytest.mark.parametrize(("divisor", "s"), [("tokens", N / (N + 1)), ("none", N)])
def test_other_divisors_rescale_the_map(divisor, s):
    """Force and loss at M/s: so every fixed point moves from M to M/s, and no loss changes, nor any gain."""
    task, M = general_task(2), square("m", 2)
    base, other = (
        effective_map(task, MODEL),
        effective_map(task, Separate(1, divisor=divisor)),
    )

    def moments_rescale(first, second):
        return zero(other.B - first * base.B) and zero(other.A - second * base.A)

    def map_rescales(factor):
        return zero(other.loss(M / factor) - base.loss(M)) and zero(
            other.residual_correlation(M / factor)
            - factor * base.residual_correlation(M)
        )

    assert moments_rescale(s, s**2)
    assert map_rescales(s)
    assert [
        pair
        for pair in ((s, s), (s**2, s**2), (1 / s, 1 / s**2), (1, 1))
        if moments_rescale(*pair)
    ] == []
    assert [factor for factor in (1 / s, s**2, 1) if map_rescales(factor)] == []


LENGTHS = [sp.Integer(n) for n in (1, 2, 3, 4)]


def mean(term):
    return sum((term(n) for n in LENGTHS[1:]), term(LENGTHS[0])) / len(LENGTHS)


def test_varying_lengths_average_the_moments():
    one = symbolic_task(2, teachers="general", noise=True)
    task = replace(one, context_lengths=tuple(LENGTHS))
    form, (Λ, _, σ2, trace, outer) = (
        effective_map(task, Separate(1, divisor="tokens")),
        parts(task),
    )

    def A(n):
        return (1 + 1 / n) * outer + (trace + σ2) * Λ / n

    def holds(B, quadratic):
        return (
            zero(form.c - trace - σ2) and zero(form.B - B) and zero(form.A - quadratic)
        )

    right = (
        mean(lambda n: n / (n + 1)) * outer,
        mean(lambda n: (n / (n + 1)) ** 2 * A(n)),
    )
    assert holds(*right)
    typical = mean(lambda n: n)
    wrong = {
        "the mean length": (
            (typical / (typical + 1)) * outer,
            (typical / (typical + 1)) ** 2 * A(typical),
        ),
        "the longest": (
            sp.Rational(4, 5) * outer,
            sp.Rational(16, 25) * A(LENGTHS[-1]),
        ),
        "divisor n": (outer, mean(A)),
        "not squared": (right[0], mean(lambda n: n / (n + 1) * A(n))),
        "square of the mean": (right[0], mean(lambda n: n / (n + 1)) ** 2 * mean(A)),
        "from n = 0": (right[0] * 4 / 5, right[1] * 4 / 5),
    }
    assert [name for name, claim in wrong.items() if holds(*claim)] == []


FOURTH, THIRD = sp.symbols("fourth_1 fourth_2"), sp.symbols("third_1 third_2")


def loss_of_independent_entries(M, task, length):
    """E (y_q − βᵀMx_q)² by expansion, where entries of x are independent, of zero mean and any higher moments."""
    w, size = sp.symbols("w_1 w_2"), range(length + 1)
    x = [sp.symbols(f"x{n}_1 x{n}_2") for n in size]
    e = sp.symbols(f"e:{length + 1}")
    y = [w[0] * x[n][0] + w[1] * x[n][1] + e[n] for n in size]
    β = sum((y[n] * sp.Matrix(x[n]) for n in range(length)), sp.zeros(2, 1)) / length
    error = (y[-1] - (β.T * M * sp.Matrix(x[-1]))[0]) ** 2
    Λ, Ω = task.covariance, task.teacher_covariance
    entries = [[1, 0, Λ[d, d], THIRD[d], FOURTH[d]] for d in range(2)]
    noise = [1, 0, task.noise_variance, 0, 3 * task.noise_variance**2]
    teachers = {(0, 0): 1, (2, 0): Ω[0, 0], (1, 1): Ω[0, 1], (0, 2): Ω[1, 1]}
    tables = [entries[d] for _ in size for d in range(2)] + [noise] * len(size)
    total = sp.Integer(0)
    for powers, part in sp.Poly(
        error, *w, *(each for pair in x for each in pair), *e
    ).terms():
        factors = (
            table[power] for table, power in zip(tables, powers[2:], strict=True)
        )
        total += part * teachers.get(powers[:2], 0) * sp.Mul(*factors)
    return total


@pytest.mark.parametrize("length", [1, 2, 3])
def test_inputs_that_are_not_gaussian_change_A_alone(length):
    task, M = symbolic_task(2, teachers="general", noise=True), square("m", 2)
    form = effective_map(replace(task, context_lengths=(sp.Integer(length),)), MODEL)
    exact = loss_of_independent_entries(M, task, length)
    Λ, Ω = task.covariance, task.teacher_covariance

    def holds(excess):
        A = form.A + sp.diag(*(Ω[d, d] * excess(Λ[d, d], FOURTH[d]) for d in range(2)))
        return zero(exact - replace(form, A=A).loss(M))

    assert holds(lambda λ, fourth: (fourth - 3 * λ**2) / length)
    wrong = {
        "nothing changes": lambda λ, fourth: 0,
        "uncentred": lambda λ, fourth: fourth / length,
        "N + 1 for N": lambda λ, fourth: (fourth - 3 * λ**2) / (length + 1),
        "one for three": lambda λ, fourth: (fourth - λ**2) / length,
    }
    assert [name for name, excess in wrong.items() if holds(excess)] == []


@pytest.mark.parametrize("size", [1, 2])
def test_the_loss_is_a_square_above_its_minimum(size):
    """For any A and Λ: L(M* + Δ) − L(M*) = tr(Λ Δᵀ A Δ), which is positive where they are positive definite."""
    A, Λ, minimum, Δ = (
        symmetric("A", size),
        symmetric("L", size),
        square("m", size),
        square("d", size),
    )
    form = EffectiveMap(Δ, sp.Symbol("c"), A * minimum * Λ, A, Λ)
    above = form.loss(minimum + Δ) - form.loss(minimum)
    assert zero(above - (Λ * Δ.T * A * Δ).trace())
    assert zero(form.residual_correlation(minimum))
    assert not zero(above - (Λ * Δ.T * A * Δ).trace() / 2)
    assert not zero(
        form.loss(2 * minimum + Δ) - form.loss(2 * minimum) - (Λ * Δ.T * A * Δ).trace()
    )


@pytest.mark.parametrize("size", [1, 2])
def test_the_minimum(size):
    task = symbolic_task(size, teachers="general", noise=True)
    form = effective_map(task, MODEL)
    A, B, Λ = (part.applyfunc(sp.factor) for part in (form.A, form.B, form.Lambda))
    inverse = A.adjugate() / A.det()
    assert zero(form.residual_correlation(inverse * B * Λ.inv()))
    assert zero(
        form.residual_correlation(Λ.inv() * B * inverse)
    )  # it is symmetric, as A is a combination of B and Λ
    wrong = {
        "Λ twice": inverse * B * Λ.inv() ** 2,
        "B left out": inverse * Λ.inv(),
        "Λ for its inverse": inverse * B * Λ,
        "N + 1 for N": (inverse * B * Λ.inv()).subs(N, N + 1),
    }
    if size > 1:
        wrong["B last"] = inverse * Λ.inv() * B
    assert [
        name for name, M in wrong.items() if zero(form.residual_correlation(M))
    ] == []


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_minimum_for_white_teachers(size):
    task = symbolic_task(size)
    form, Λ, one = effective_map(task, MODEL), task.covariance, sp.eye(size)
    assert zero(form.residual_correlation((Λ + (Λ + Λ.trace() * one) / N).inv()))
    wrong = {
        "trace dropped": Λ + Λ / N,
        "Λ dropped": Λ + Λ.trace() * one / N,
        "N + 1 for N": Λ + (Λ + Λ.trace() * one) / (N + 1),
        "trace times Λ": Λ + (Λ + Λ.trace() * Λ) / N,
        "least squares": Λ,
    }
    assert [
        name
        for name, matrix in wrong.items()
        if zero(form.residual_correlation(matrix.inv()))
    ] == []
