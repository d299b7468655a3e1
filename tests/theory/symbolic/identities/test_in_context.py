"""What is learned in context, proved from the definition: predictions, long contexts, and known estimators."""

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    average,
    effective_map,
    fixed_points,
    model_output,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.task import average_of


def zero(expression):
    """Whether a rational expression, or every entry of a matrix, vanishes identically: by normal forms."""
    if isinstance(expression, sp.MatrixBase):
        return all(map(zero, expression))
    means = {each: sp.Dummy(str(each)) for each in expression.atoms(average_of)}
    numerator = sp.numer(sp.together(expression.xreplace(means)))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


def regression(size):
    """β = mean_n y_n x_n."""
    prompt = Prompt(size)
    return sp.Matrix([average(prompt.y * x) for x in prompt.x])


def at_rest(model, point):
    """Weights of the model at a fixed point: v = α, k = κ e_d, q = m_d e_d / (α κ) in the head that holds d."""
    arrays = weight_symbols(model, len(point.directions))
    there = {
        weight: sp.Integer(0) for array in arrays.values() for weight in array.flat
    }
    α, κ = sp.symbols("alpha kappa")
    for h, (d, m) in enumerate(zip(point.subset, point.coefficients, strict=True)):
        there[arrays["value"][h, -1]] = α
        there[arrays["key"][h, 0, d - 1]] = κ
        there[arrays["query"][h, 0, d - 1]] = m / (α * κ)
    return there


POINTS = list(fixed_points(symbolic_task(2), Separate(2)))


@pytest.mark.parametrize("point", POINTS, ids=lambda point: str(point.subset))
def test_predictions_at_a_fixed_point(point):
    """Σ m_d (e_dᵀβ)(e_dᵀx_q), on any prompt; for long contexts, principal component regression."""
    model, task = Separate(2), symbolic_task(2)
    λ, β, query = task.parameters, regression(2), Prompt(2).query
    output = model_output(model, 2).xreplace(at_rest(model, point))

    def predicted(coefficient):
        return sp.Add(
            *(coefficient(λ[d - 1]) * β[d - 1] * query[d - 1] for d in point.subset)
        )

    assert zero(output - predicted(lambda x: 1 / (x + (x + sum(λ)) / N)))
    wrong = {
        "N + 1 for N": lambda x: 1 / (x + (x + sum(λ)) / (N + 1)),
        "trace dropped": lambda x: 1 / (x + x / N),
        "the limit": lambda x: 1 / x,
        "λ_d kept": lambda x: x / (x + (x + sum(λ)) / N),
    }
    assert [
        name
        for name, claim in wrong.items()
        if point.subset and zero(output - predicted(claim))
    ] == []
    far = inverse_length(output)[0]
    assert zero(far - predicted(lambda x: 1 / x))
    assert not point.subset or not zero(far - predicted(lambda x: 1 / x**2))


def inverse_length(expression, orders=2):
    """The first terms of an expression in powers of 1/N, from the constant on."""
    n = sp.Symbol("n")
    there = sp.together(expression.subs(N, 1 / n))
    return [
        sp.cancel(there.diff(n, k)).subs(n, 0) / sp.factorial(k) for k in range(orders)
    ]


def ratio(λ_d, task):
    """r_d with m_d = 1 / (λ_d (1 + r_d/N)) for white teachers: 1 + (tr Λ + σ²) / λ_d."""
    return 1 + (task.covariance.trace() + task.noise_variance) / λ_d


@pytest.mark.parametrize(
    ("size", "noise"), [(1, False), (2, False), (3, False), (2, True)]
)
def test_coefficients_approach_those_of_regression_at_first_order(size, noise):
    """1/λ_d − m_d = r_d / (λ_d (N + r_d)), positive, and the series of m_d in r_d/N is geometric."""
    task = symbolic_task(size, noise=noise)
    point = fixed_points(task, Separate(size))[0]
    for λ_d, m in zip(task.parameters, point.coefficients, strict=False):
        r = ratio(λ_d, task)
        gap = 1 / λ_d - m
        assert zero(gap - r / (λ_d * (N + r)))
        assert all(
            not zero(gap - wrong)
            for wrong in (r / (λ_d * N), r / (λ_d**2 * (N + r)), 1 / (λ_d * (N + 1)))
        )
        for order in range(2, 5):
            partial = sp.Add(*((-r / N) ** j for j in range(order))) / λ_d
            assert zero(m - partial - m * (-r / N) ** order)
            assert not zero(m - partial - m * (r / N) ** (order + 1))
            assert not zero(m - partial.subs(N, N + 1) - m * (-r / N) ** order)


@pytest.mark.parametrize("teachers", ["diagonal", "general"])
def test_long_contexts_learn_the_inverse_covariance_whatever_the_teachers(teachers):
    """The force at M = Λ⁻¹ is −(ΛΩΛ + c Λ)/N exactly: M* is Λ⁻¹ up to the first order in 1/N."""
    task = symbolic_task(2, teachers=teachers, noise=True)
    form, Λ = effective_map(task, Separate(1)), task.covariance
    Ω, c = (
        task.teacher_covariance,
        (task.teacher_covariance * Λ).trace() + task.noise_variance,
    )
    G = form.residual_correlation(Λ.inv())
    assert zero(G + (Λ * Ω * Λ + c * Λ) / N)
    assert not zero(G + (Λ * Ω * Λ) / N)
    minimum = (
        Λ.inv() * (Λ - (Λ * Ω * Λ + c * Λ) * (Λ * Ω * Λ).inv() * Λ / N) * Λ.inv()
    )  # to first order
    assert all(
        zero(part)
        for entry in form.residual_correlation(minimum)
        for part in inverse_length(entry)
    )
    assert not all(
        zero(part)
        for entry in form.residual_correlation(Λ.inv())
        for part in inverse_length(entry)
    )
    assert not all(
        zero(part)
        for entry in form.residual_correlation(2 * Λ.inv())
        for part in inverse_length(entry, 1)
    )


@pytest.mark.parametrize("size", [1, 2])
def test_the_minimum_is_one_preconditioned_gradient_step(size):
    """From w = 0, w − Γ ∇ with ∇ of half the mean squared error of the context predicts (Γ β)ᵀ x_q."""
    prompt, w = Prompt(size), sp.symbols(f"u_1:{size + 1}")
    error = prompt.y - sum(a * x for a, x in zip(w, prompt.x, strict=True))
    slope = [
        average(error**2 / 2).diff(a).xreplace(dict.fromkeys(w, sp.Integer(0)))
        for a in w
    ]
    minimum = fixed_points(symbolic_task(size), Separate(size))[0].M
    query = sp.Matrix(prompt.query)
    prediction = (regression(size).T * minimum * query)[0]

    def step(preconditioner, rate=1):
        return (-rate * sp.Matrix(slope).T * preconditioner.T * query)[0]

    assert zero(prediction - step(minimum))
    assert not zero(prediction - step(minimum, rate=2))
    assert not zero(prediction - step(sp.eye(size)))
    assert not zero(prediction + step(minimum))


@pytest.mark.parametrize("size", [1, 2])
def test_ridge_regression_is_the_posterior_mean(size):
    """The posterior of w is Gaussian, so its mean is where its log density is stationary: (Λ̂ + (σ²/N) Ω⁻¹)⁻¹ β."""
    prompt, task = Prompt(size), symbolic_task(size, teachers="general", noise=True)
    w, σ2, Ω = (
        sp.symbols(f"u_1:{size + 1}"),
        task.noise_variance,
        task.teacher_covariance,
    )
    error = prompt.y - sum(a * x for a, x in zip(w, prompt.x, strict=True))
    prior = (sp.Matrix(w).T * Ω.inv() * sp.Matrix(w))[0]
    log_density = -N * average(error**2) / (2 * σ2) - prior / 2
    sample = sp.Matrix(size, size, lambda i, j: average(prompt.x[i] * prompt.x[j]))

    def holds(penalty):
        teacher = (
            (sample + penalty).adjugate() * regression(size) / (sample + penalty).det()
        )
        return all(
            zero(log_density.diff(a).xreplace(dict(zip(w, teacher, strict=True))))
            for a in w
        )

    assert holds(σ2 / N * Ω.inv())
    wrong = {
        "not divided by N": σ2 * Ω.inv(),
        "N + 1 for N": σ2 / (N + 1) * Ω.inv(),
        "Ω for its inverse": σ2 / N * Ω,
        "least squares": sp.zeros(size),
        "half": σ2 / (2 * N) * Ω.inv(),
    }
    assert [name for name, penalty in wrong.items() if holds(penalty)] == []
