"""Substitution proofs, and with them the closed-form time courses of merged attention for Λ = λ1.

Every course has wrong variants that the same check refutes. D is a symbol, or a number where the equations are
derived from the definition. Source: Zhang et al. 2025 (arXiv 2501.16265).
"""

from functools import cache

import pytest
import sympy as sp

from attndyn import Merged
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    flow_equations,
    population_loss,
    weight_symbols,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero
from attndyn.theory.symbolic.dynamics.solution_check import (
    implicit_solution_residual,
    initial_residuals,
    ode_residuals,
)

t, λ, w0, x0, δ = sp.symbols("t lambda w_0 x_0 delta", positive=True)
α, κ, C = sp.symbols("alpha kappa C", positive=True)
u, v, x, θ = sp.symbols("u v x theta", positive=True)

MERGED = {u: v * (α - κ * u * v), v: u * (α - κ * u * v)}


def solves(equations, course, start):
    """Whether a course solves the equations and starts where it should, for all times and parameters."""
    return not any(
        [
            *ode_residuals(equations, course, t).values(),
            *initial_residuals(course, t, start).values(),
        ]
    )


def names_of_true(variants, check):
    """The variants that pass a check."""
    return [name for name, variant in variants.items() if check(variant)]


def test_mistakes_are_named():
    with pytest.raises(ValueError, match="same amplitudes"):
        ode_residuals({u: v}, {v: t}, t)
    with pytest.raises(ValueError, match="same amplitudes"):
        initial_residuals({u: t}, t, {u: 0, v: 0})
    with pytest.raises(ValueError, match="must be explicit in t"):
        ode_residuals({u: v, v: u}, {u: v, v: t}, t)
    with pytest.raises(ValueError, match="atan"):
        ode_residuals({u: sp.atan(u) + sp.atan(1 / u) + 1 - sp.pi / 2}, {u: t}, t)
    with pytest.raises(ValueError, match="sin"):
        implicit_solution_residual(sp.sin(v) ** 2 + sp.cos(v) ** 2, v, v)


def test_a_rate_may_hold_the_time():
    assert ode_residuals(
        {u: u / t - v, v: sp.Integer(0)}, {u: t * (2 - sp.log(t)), v: sp.Integer(1)}, t
    ) == {
        u: 0,
        v: 0,
    }
    assert ode_residuals({u: u * t}, {u: w0 * sp.exp(t**2 / 2)}, t) == {u: 0}
    assert (
        ode_residuals({u: 0}, {u: 2}, t)
        == initial_residuals({u: 2}, t, {u: 2})
        == {u: 0}
    )
    assert ode_residuals({u: u * t}, {u: w0 * sp.exp(t**2)}, t) != {u: 0}


# Merged attention, Λ = λ1, u = v = w0 at the start


def balanced(rate=2 * α, saturation=κ, start=w0, shift=1):
    """p(t) = u v."""
    growth = sp.exp(rate * t)
    return α * growth / (saturation * (growth - shift) + α / start**2)


WRONG_BALANCED = {
    "growth at α, not 2α": balanced(rate=α),
    "growth at 4α": balanced(rate=4 * α),
    "twice the saturation": balanced(saturation=2 * κ),
    "w0 for w0²": balanced(start=sp.sqrt(w0)),
    "no 1 taken off the exponential": balanced(shift=0),
    "1 added": balanced(shift=-1),
}


def test_balanced_course():
    def is_right(p):
        course = {u: sp.sqrt(p), v: sp.sqrt(p)}
        return solves(MERGED, course, {u: w0, v: w0})

    def is_right_product(p):
        return solves({x: 2 * x * (α - κ * x)}, {x: p}, {x: w0**2})

    for check in (is_right, is_right_product):
        assert check(balanced())
        assert names_of_true(WRONG_BALANCED, check) == []


@cache
def white_equations(dimension):
    """The derived flow of one merged head with value v and U = u 1/√D, for Λ = λ1."""
    task = SymbolicTask(λ * sp.eye(dimension), sp.eye(dimension), sp.Integer(0), (N,))
    weights = weight_symbols(Merged(1), dimension)
    value, U = weights["value"][0, -1], sp.Matrix(weights["key_query"][0, :-1, :-1])
    flow = flow_equations(population_loss(task, Merged(1), "restricted"))
    here = {value: v} | dict(
        zip(U, u / sp.sqrt(dimension) * sp.eye(dimension), strict=True)
    )
    U_rates = U.applyfunc(lambda entry: flow[entry].subs(here, simultaneous=True))
    assert all(map(is_zero, U_rates - U_rates[0] * sp.eye(dimension)))
    return {
        v: flow[value].subs(here, simultaneous=True),
        u: sp.sqrt(dimension) * U_rates[0],
    }


def white_parameters(root, trace=1):
    """α and κ for D = root²."""
    return {α: λ**2 * root, κ: λ**3 * (1 + (1 + trace * root**2) / N)}


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_balanced_course_from_the_definition(dimension):
    equations, root = white_equations(dimension), sp.sqrt(dimension)

    def is_right(p, parameters):
        amplitude = sp.sqrt(p.subs(parameters))
        return solves(equations, {u: amplitude, v: amplitude}, {u: w0, v: w0})

    assert is_right(balanced(), white_parameters(root))
    assert (
        names_of_true(WRONG_BALANCED, lambda p: is_right(p, white_parameters(root)))
        == []
    )
    assert not is_right(balanced(), white_parameters(root, trace=0))
    assert not is_right(balanced(), white_parameters(root) | {α: λ * root})


def learned(root, inside, scale=1):
    """σ_M(t) for λ = 1 and D = root², with the start's √D `inside`."""
    growth = sp.exp(2 * root * scale * t)
    return growth / ((1 + (1 + root**2) / N) * (growth - 1) + inside / w0**2)


@pytest.mark.parametrize(
    "root",
    [sp.Integer(1), sp.sqrt(2), sp.sqrt(3), δ],
    ids=["D=1", "D=2", "D=3", "any D"],
)
def test_learned_coefficient_for_unit_eigenvalues(root):
    values = {key: value.subs(λ, 1) for key, value in white_parameters(root).items()}
    here = balanced().subs(values) / root
    assert is_zero(learned(root, root) - here)
    assert not is_zero(learned(root, root**2 + 1) - here)
    assert not is_zero(learned(root, root, scale=2) - here)
    σ = sp.Symbol("sigma", positive=True)
    motion = {σ: 2 * σ * (values[α] - values[κ] * root * σ)}
    assert solves(motion, {σ: learned(root, root)}, {σ: w0**2 / root})
    assert not solves(motion, {σ: learned(root, root)}, {σ: w0 / root})


def test_half_way_to_the_plateau():
    """e^{2αt} = α/(κ w0²) − 1: t is the drop time ln(1/w0)/α, plus ln(α/κ − w0²)/(2α), which is bounded."""
    E = sp.Symbol("E", positive=True)
    at = lambda growth: balanced().subs(sp.exp(2 * α * t), E).subs(E, growth)
    assert is_zero(at(α / (κ * w0**2) - 1) - α / (2 * κ))
    assert not is_zero(at(α / (κ * w0**2)) - α / (2 * κ))
    time = sp.log(1 / w0) / α + sp.log(α / κ - w0**2) / (2 * α)
    assert is_zero(
        sp.expand_log(sp.exp(sp.expand(2 * α * time))) - (α / (κ * w0**2) - 1)
    )


# Merged attention, Λ = λ1, C = v² − u² ≠ 0


def unbalanced(sign=1, root=None, rate=2):
    """x(t) = e^θ, where 2uv = |C| sinh θ and b = κ|C|/2."""
    b = κ * C / 2
    r = sp.sqrt(α**2 + b**2) if root is None else root
    high, low = (α + r) / b, (α - r) / b
    K = (x0 - high) / (x0 - low)
    decay = K * sp.exp(-rate * r * t)
    return (high - sign * low * decay) / (1 - decay)


def test_the_angle_makes_one_equation():
    def rate(p_of_θ, squares, θ_rate):
        return is_zero(p_of_θ.diff(θ) * θ_rate - squares * (α - κ * p_of_θ))

    p, squares = C * sp.sinh(θ) / 2, C * sp.cosh(θ)
    right = 2 * (α - κ * C / 2 * sp.sinh(θ))
    assert is_zero(squares**2 - C**2 - 4 * p**2)
    assert rate(p, squares, right)
    wrong = {
        "κ|C| for κ|C|/2": 2 * (α - κ * C * sp.sinh(θ)),
        "cosh for sinh": 2 * (α - κ * C / 2 * sp.cosh(θ)),
        "half the rate": right / 2,
    }
    assert names_of_true(wrong, lambda θ_rate: rate(p, squares, θ_rate)) == []
    exponential = {x: x * right.subs(θ, sp.log(x)).rewrite(sp.exp)}
    assert is_zero(exponential[x] - (2 * α * x - κ * C / 2 * (x**2 - 1)))


WRONG_UNBALANCED = {
    "x₊ + x₋ K …": unbalanced(sign=-1),
    "decay at r": unbalanced(rate=1),
    "decay at 4r": unbalanced(rate=4),
    "α for r": unbalanced(root=α),
    "α + b for r": unbalanced(root=α + κ * C / 2),
    "b without its half": unbalanced(root=sp.sqrt(α**2 + κ**2 * C**2)),
}


def test_unbalanced_course():
    equation = {x: 2 * α * x - κ * C / 2 * (x**2 - 1)}
    assert solves(equation, {x: unbalanced()}, {x: x0})
    assert (
        names_of_true(
            WRONG_UNBALANCED, lambda course: solves(equation, {x: course}, {x: x0})
        )
        == []
    )


@pytest.mark.parametrize("larger", [u, v], ids=["u larger", "v larger"])
def test_unbalanced_course_solves_the_two_equations(larger):
    """|C| cosh²(θ/2) and |C| sinh²(θ/2) are the squares of the larger amplitude and of the other one."""
    y, smaller = sp.Symbol("y", positive=True), u if larger == v else v

    def is_right(flow, sign=-1):
        halves = {
            larger: sp.sqrt(C) * (y + 1 / y) / 2,
            smaller: sp.sqrt(C) * (y + sign / y) / 2,
        }  # y² = x
        y_rate = (2 * α * y**2 - κ * C / 2 * (y**4 - 1)) / (2 * y)
        return all(
            is_zero(halves[w].diff(y) * y_rate - flow[w].subs(halves)) for w in (u, v)
        )

    assert is_right(MERGED)
    assert not is_right(MERGED, sign=1)
    assert not is_right({u: MERGED[v], v: MERGED[u]})


def test_unbalanced_course_of_both_amplitudes():
    """The same with roots of x(t), from a start u0 < v0 of numbers."""
    numbers = {
        α: 3,
        κ: sp.Rational(8, 3),
        C: 3,
        x0: 3,
    }  # r = 5; 2 u0 v0 = 3 sinh ln 3 = 4, v0² − u0² = 3
    flow = {key: rate.subs(numbers) for key, rate in MERGED.items()}

    def is_right(x_course):
        y = sp.sqrt(x_course.subs(numbers))
        course = {v: sp.sqrt(3) * (y + 1 / y) / 2, u: sp.sqrt(3) * (y - 1 / y) / 2}
        return solves(flow, course, {v: sp.Integer(2), u: sp.Integer(1)})

    assert is_right(unbalanced())
    assert names_of_true(WRONG_UNBALANCED, is_right) == []


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_merged_equations_from_the_definition(dimension):
    derived = white_equations(dimension)
    claimed = {
        key: rate.subs(white_parameters(sp.sqrt(dimension)))
        for key, rate in MERGED.items()
    }
    assert all(is_zero(derived[key] - claimed[key]) for key in (u, v))
    product = u * derived[v] + v * derived[u]
    growth = (α - κ * u * v).subs(white_parameters(sp.sqrt(dimension)))
    assert is_zero(product - (u**2 + v**2) * growth)
    assert not is_zero(product - (u + v) ** 2 * growth)
    untraced = (α - κ * u * v).subs(white_parameters(sp.sqrt(dimension), trace=0))
    assert not is_zero(product - (u**2 + v**2) * untraced)
