"""Time courses of separate heads, each proved by exact substitution and each with wrong variants that are refuted.

Rank-one heads are aligned and balanced; idle heads run in τ = ∫ v dt. Source: Zhang et al. 2025 (arXiv 2501.16265).
"""

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.theory.symbolic import (
    N,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero
from attndyn.theory.symbolic.dynamics.solution_check import (
    implicit_solution_residual,
    initial_residuals,
    ode_residuals,
)

t, v, v0, α, γ = sp.symbols("t v v_0 alpha gamma", positive=True)
HALF, THIRD, SIXTH = sp.Rational(1, 2), sp.Rational(1, 3), sp.Rational(1, 6)


def clock(above=False, third=THIRD, sixth=SIXTH, arctan=1, pole=-1, power=THIRD):
    """Φ(v), below or above the fixed point, or a wrong variant of it."""
    y = γ**power * v
    logs = -third * sp.log(y - 1 if above else 1 - y) + sixth * sp.log(1 + y + y**2)
    return pole / v + γ**power * (
        logs - arctan * sp.atan((2 * y + 1) / sp.sqrt(3)) / sp.sqrt(3)
    )


WRONG_CLOCKS = {
    "plus 1/v": {"pole": 1},
    "½ for ⅓": {"third": HALF},
    "⅓ for ⅙": {"sixth": THIRD},
    "minus ⅙": {"sixth": -SIXTH},
    "plus arctan": {"arctan": -1},
    "arctan not divided by √3": {"arctan": sp.sqrt(3)},
    "γ for its cube root": {"power": 1},
    "√γ for the cube root": {"power": HALF},
}


@pytest.mark.parametrize("above", [False, True], ids=["below", "above"])
def test_rank_one_clock(above):
    rate = α * v**2 - α * γ * v**5
    assert implicit_solution_residual(rate, clock(above) / α, v) == 0
    assert implicit_solution_residual(rate, clock(above), v) != 0
    assert implicit_solution_residual(α * v**2 - α * γ * v**4, clock(above) / α, v) != 0
    wrong = {name: clock(above, **change) for name, change in WRONG_CLOCKS.items()}
    assert [
        name
        for name, Φ in wrong.items()
        if implicit_solution_residual(rate, Φ / α, v) == 0
    ] == []


def bracket(y):
    """γ^{-1/3} (Φ + 1/v) in y = γ^{1/3} v."""
    return clock().subs({γ: 1, v: y}) + 1 / y


def test_hypergeometric_form():
    """Φ = −₂F₁(−⅓, 1; ⅔; y³)/v − γ^{1/3} π/(6√3), coefficient by coefficient, and its constant."""
    y, n = sp.Symbol("y", positive=True), sp.Symbol("n", positive=True)
    assert is_zero(
        bracket(y).diff(y) - y / (1 - y**3)
    )  # Σ y^{3n−2} from n = 1, so c_n = −1/(3n − 1)
    assert is_zero(
        (n - THIRD) / (n + 2 * THIRD) * (-1 / (3 * n - 1)) - -1 / (3 * n + 2)
    )  # c_{n+1} = (…) c_n, every n
    coefficient = lambda k, c: sp.rf(-THIRD, k) / sp.rf(c, k)  # (1)_k / k! = 1
    order = 13
    series = sp.series(y / (1 - y**3), y, 0, order).removeO().integrate(y)

    def agrees(c):
        terms = sp.Add(*(coefficient(k, c) * y ** (3 * k) for k in range(1, 6)))
        return is_zero(sp.series(-terms / y, y, 0, order + 1).removeO() - series)

    assert agrees(2 * THIRD)
    assert not agrees(sp.Rational(5, 3))
    assert (
        bracket(y).subs(y, 0) == -sp.pi / (6 * sp.sqrt(3)) != -sp.pi / (3 * sp.sqrt(3))
    )


def test_blow_up_time_of_a_small_head():
    """α v0 t(v) = v0 Φ(v) − v0 Φ(v0) → 1 as v0 → 0, for every v."""
    regular = sp.expand(-v0 * clock().subs(v, v0))
    assert regular.subs(v0, 0) == 1
    assert is_zero(v0 * (clock() - clock().subs(v, v0)) - v0 * clock() - regular)
    for name, scale in {
        "v0² for v0": v0,
        "√v0 for v0": 1 / sp.sqrt(v0),
        "half of it": HALF,
    }.items():
        assert sp.expand(scale * regular).subs(v0, 0) != 1, name


def test_rank_one_equation_from_the_definition_comes_to_rest_at_the_clock_s_end():
    weights = weight_symbols(Separate(1), 2)
    flow = flow_equations(population_loss(symbolic_task(2), Separate(1), "restricted"))
    values = {
        weights["value"][0, -1]: v,
        weights["key"][0, 0, 0]: v,
        weights["query"][0, 0, 0]: v,
    }
    start = (
        dict.fromkeys([*weights["key"][0, 0, :-1], *weights["query"][0, 0, :-1]], 0)
        | values
    )
    rates = {
        weight: rate.subs(start, simultaneous=True) for weight, rate in flow.items()
    }
    λ1, λ2 = symbolic_task(2).parameters
    a1 = λ1**2 * (1 + 1 / N) + λ1 * (λ1 + λ2) / N
    here = {α: λ1**2, γ: a1 / λ1}
    for weight, rate in rates.items():
        if weight in values:
            assert implicit_solution_residual(rate, (clock() / α).subs(here), v) == 0
            assert (
                implicit_solution_residual(
                    rate, (clock() / α).subs({α: λ1**2, γ: a1 / λ1**2}), v
                )
                != 0
            )
            assert is_zero(rate.subs(v, (λ1 / a1) ** THIRD))
            assert not is_zero(rate.subs(v, sp.sqrt(λ1 / a1)))
        else:
            assert rate == 0


def idle_course(dimension, minus=-1, squares=1):
    """k, q and v at τ, from (k ± q)(τ) = (k ± q)(0) e^{±bτ}, and their start."""
    numbers = range(1, dimension + 1)
    k, q, k0, q0 = (
        sp.symbols([f"{name}_{d}" for d in numbers], real=True)
        for name in ("k", "q", "k0", "q0")
    )
    b = sp.symbols([f"b_{d}" for d in numbers], positive=True)
    plus = [(i + j) * sp.exp(rate * t) for i, j, rate in zip(k0, q0, b, strict=True)]
    less = [
        (i - j) * sp.exp(minus * rate * t) for i, j, rate in zip(k0, q0, b, strict=True)
    ]
    course = {each: (p + m) / 2 for each, p, m in zip(k, plus, less, strict=True)}
    course |= {each: (p - m) / 2 for each, p, m in zip(q, plus, less, strict=True)}
    course[v] = sp.sqrt(
        v0**2
        + squares
        * sp.Add(
            *(course[each] ** 2 - each0**2 for each, each0 in zip(k, k0, strict=True))
        )
    )
    rates = {v: sp.Add(*(i * j * rate for i, j, rate in zip(k, q, b, strict=True)))}
    rates |= {each: v * rate * other for each, other, rate in zip(k, q, b, strict=True)}
    rates |= {other: v * rate * each for each, other, rate in zip(k, q, b, strict=True)}
    start = dict(zip(k, k0, strict=True)) | dict(zip(q, q0, strict=True)) | {v: v0}
    return {each: rate / v for each, rate in rates.items()}, course, start  # dτ = v dt


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_idle_heads(dimension):
    def solves(equations, course, start):
        return not any(
            [
                *ode_residuals(equations, course, t).values(),
                *initial_residuals(course, t, start).values(),
            ]
        )

    assert solves(*idle_course(dimension))
    assert not solves(*idle_course(dimension, minus=1))
    assert not solves(*idle_course(dimension, squares=2))
    assert not solves(*idle_course(dimension, squares=-1))
