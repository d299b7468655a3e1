"""Reduced equations of separate heads and what idle heads see, proved from the definition.

Each has wrong variants that the same check refutes. Source: Zhang et al. 2025 (arXiv 2501.16265).
"""

from functools import cache

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.theory.symbolic import (
    N,
    effective_map,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero
from attndyn.theory.symbolic.dynamics.conservation_laws import lie_derivative
from attndyn.theory.symbolic.dynamics.reduction import reduce

ε = sp.Symbol("epsilon", real=True)
THIRD = sp.Rational(1, 3)


def eigenvalues(task, length=N, trace=1):
    """λ_d and a_d of white teachers, or wrong variants of the latter."""
    λs = task.parameters
    return λs, [
        each**2 * (1 + 1 / length) + trace * each * sum(λs) / length for each in λs
    ]


WRONG_EIGENVALUES = {
    "no trace": {"trace": 0},
    "N + 1 for N": {"length": N + 1},
    "trace twice": {"trace": 2},
}


@cache
def derived(model, dimension, **kind):
    """The task, the flow on the restricted block, v_h, and K_h and Q_h of shape (R, D)."""
    task, weights = symbolic_task(dimension, **kind), weight_symbols(model, dimension)
    flow = flow_equations(population_loss(task, model, "restricted"))
    K, Q = (
        [sp.Matrix(each[:, :-1]) for each in weights[name]] for name in ("key", "query")
    )
    return task, flow, list(weights["value"][:, -1]), K, Q


def same(equations, claimed):
    """Whether derived reduced equations are the claimed ones."""
    return set(equations) == set(claimed) and all(
        is_zero(equations[z] - claimed[z]) for z in claimed
    )


def placed(values, K, Q, amplitudes, pairs=None, signs=(1, 1, 1)):
    """Heads that hold the next R directions each with v_h, and key and query κ (v_h itself where R = 1)."""
    rank, ansatz = K[0].rows, {}
    for d in range(len(amplitudes if pairs is None else pairs)):
        h, r = divmod(d, rank)
        each = amplitudes[h] if pairs is None else pairs[d]
        ansatz |= {
            values[h]: signs[0] * amplitudes[h],
            K[h][r, d]: signs[1] * each,
            Q[h][r, d]: signs[2] * each,
        }
    return ansatz


@pytest.mark.parametrize(
    ("dimension", "heads"), [(1, 1), (2, 1), (2, 2), (3, 2), (3, 3)]
)
@pytest.mark.parametrize("signs", [(1, 1, 1), (1, -1, -1), (-1, 1, -1)], ids=str)
def test_rank_one_heads_on_distinct_directions_do_not_interact(dimension, heads, signs):
    task, flow, values, K, Q = derived(Separate(heads), dimension)
    z = sp.symbols(f"v_1:{heads + 1}", real=True)
    reduction = reduce(flow, placed(values, K, Q, z, signs=signs))

    def claimed(power=5, exponent=1, sign=1, **change):
        each = zip(z, *eigenvalues(task, **change), strict=False)
        return {x: sign * b**2 * x**2 - b**exponent * a * x**power for x, b, a in each}

    assert reduction.invariant
    assert same(reduction.equations, claimed())
    wrong = {name: claimed(**change) for name, change in WRONG_EIGENVALUES.items()}
    wrong |= {
        "v⁴": claimed(power=4),
        "a λ²": claimed(exponent=2),
        "other sign": claimed(sign=-1),
    }
    assert [
        name for name, each in wrong.items() if same(reduction.equations, each)
    ] == []
    flipped = reduce(flow, placed(values, K, Q, z, signs=(-signs[0], *signs[1:])))
    assert same(flipped.equations, claimed(sign=-1))


def test_heads_on_one_direction_do_interact():
    task, flow, values, K, Q = derived(Separate(2), 2)
    z = sp.symbols("v_1:3", real=True)
    reduction = reduce(
        flow,
        {block[0, 0]: x for h, x in enumerate(z) for block in (K[h], Q[h])}
        | dict(zip(values, z, strict=True)),
    )
    (b, _), (a, _) = eigenvalues(task)
    assert same(
        reduction.equations,
        {x: x**2 * (b**2 - a * b * (z[0] ** 3 + z[1] ** 3)) for x in z},
    )
    assert not same(reduction.equations, {x: b**2 * x**2 - a * b * x**5 for x in z})


@pytest.mark.parametrize("dimension", [1, 2, 3])
def test_rank_one_loss_and_rest(dimension):
    """L = c − 2 Σ λ_d² M_dd + Σ a_d λ_d M_dd² with M_dd = v_d³, at rest where v_d³ = λ_d/a_d."""
    task, flow, values, K, Q = derived(Separate(dimension), dimension)
    z = sp.symbols(f"v_1:{dimension + 1}", positive=True)
    weights = dict.fromkeys(flow, 0) | placed(values, K, Q, z)
    loss = population_loss(task, Separate(dimension), "restricted").expression.subs(
        weights, simultaneous=True
    )

    def claimed(gain=2, power=3, exponent=1, **change):
        each = list(zip(z, *eigenvalues(task, **change), strict=True))
        return sp.Add(
            *(
                b - gain * b**2 * x**power + a * b**exponent * x ** (2 * power)
                for x, b, a in each
            )
        )

    assert is_zero(loss - claimed())
    wrong = {name: claimed(**change) for name, change in WRONG_EIGENVALUES.items()}
    wrong |= {
        "Σ for 2 Σ": claimed(gain=1),
        "v² for v³": claimed(power=2),
        "a λ²": claimed(exponent=2),
    }
    assert [name for name, each in wrong.items() if is_zero(loss - each)] == []
    for x, b, a in zip(z, *eigenvalues(task), strict=True):
        assert is_zero((b**2 * x**2 - a * b * x**5).subs(x, (b / a) ** THIRD))
        assert not is_zero((b**2 * x**2 - a * b * x**5).subs(x, sp.sqrt(b / a)))
        assert is_zero(loss.diff(x).subs(x, (b / a) ** THIRD))


@pytest.mark.parametrize(
    ("dimension", "learned"), [(1, ()), (2, ()), (2, (0,)), (2, (0, 1)), (3, (1,))]
)
def test_an_idle_head_sees_what_is_not_yet_learned(dimension, learned):
    """At M_S, to second order in the head: v' = kᵀGq, k' = vGq, q' = vGk, where G_dd = λ_d² ω_d off S, 0 on S."""
    task = symbolic_task(dimension, teachers="diagonal", noise=True)
    form = effective_map(task, Separate(1))
    rest = [form.B[d, d] / (form.A[d, d] * form.Lambda[d, d]) for d in range(dimension)]
    _, flow, values, K, Q = derived(
        Separate(len(learned) + 1), dimension, teachers="diagonal", noise=True
    )
    place = dict.fromkeys(flow, 0)
    for h, d in enumerate(learned):
        place |= {
            values[h]: sp.Integer(1),
            K[h][0, d]: rest[d],
            Q[h][0, d]: sp.Integer(1),
        }
    idle = [values[-1], *K[-1], *Q[-1]]
    place |= {weight: ε * weight for weight in idle}
    second = {
        weight: flow[weight].subs(place, simultaneous=True).diff(ε, 2).subs(ε, 0) / 2
        for weight in flow
    }
    b = [
        task.covariance[d, d] ** 2 * task.teacher_covariance[d, d]
        for d in range(dimension)
    ]

    def sees(entries):
        G, k, q = sp.diag(*entries), K[-1].T, Q[-1].T
        claimed = [(k.T * G * q)[0], *(values[-1] * G * q), *(values[-1] * G * k)]
        return all(
            is_zero(second[weight] - each)
            for weight, each in zip(idle, claimed, strict=True)
        )

    assert sees([0 if d in learned else b[d] for d in range(dimension)])
    assert sees(b) == (not learned)
    if len(learned) < dimension:
        assert not sees([0 if d in learned else 2 * b[d] for d in range(dimension)])
        assert not sees(
            [
                0 if d in learned else task.covariance[d, d] ** 2
                for d in range(dimension)
            ]
        )
    assert all(
        is_zero(flow[weight].subs(place | dict.fromkeys(idle, 0))) for weight in flow
    )


@pytest.mark.parametrize(
    ("dimension", "rank", "heads"),
    [(1, 1, 1), (2, 2, 1), (3, 2, 1), (3, 3, 1), (3, 2, 2), (4, 2, 2)],
)
def test_equations_of_heads_of_any_rank(dimension, rank, heads):
    task, flow, values, K, Q = derived(Separate(heads, rank), dimension)
    places = min(dimension, heads * rank)
    x, κ = (
        sp.symbols(f"{name}_1:{size + 1}", real=True)
        for name, size in (("x", heads), ("kappa", places))
    )
    reduction = reduce(flow, placed(values, K, Q, x, κ))

    def claimed(power=2, exponent=1, **change):
        rates, forces = (
            dict.fromkeys(x, sp.Integer(0)),
            zip(κ, *eigenvalues(task, **change), strict=False),
        )
        for d, (each, b, a) in enumerate(forces):
            head = x[d // rank]
            force = b**2 - a * b**exponent * head * each**power
            rates |= {each: head * each * force, head: rates[head] + each**2 * force}
        return rates

    assert reduction.invariant
    assert same(reduction.equations, claimed())
    wrong = {name: claimed(**change) for name, change in WRONG_EIGENVALUES.items()}
    wrong |= {"κ for κ²": claimed(power=1), "a λ²": claimed(exponent=2)}
    assert [
        name for name, each in wrong.items() if same(reduction.equations, each)
    ] == []
    for h, head in enumerate(x):
        held = κ[h * rank : (h + 1) * rank]
        squares = sp.Add(*(each**2 for each in held))
        assert lie_derivative(head**2 - squares, reduction.equations) == 0
        assert lie_derivative(head**2 + squares, reduction.equations) != 0
        assert lie_derivative(head**2 - 2 * squares, reduction.equations) != 0
    for each, b in zip(
        κ, task.parameters, strict=False
    ):  # a pair that is small grows at v λ²
        growth = reduction.equations[each].diff(each).subs(each, 0)
        head = x[κ.index(each) // rank]
        assert is_zero(growth - head * b**2)
        assert not is_zero(growth - head**2 * b**2)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_rest_of_a_head_of_any_rank(rank):
    """v³ = Σ m_r and κ_r² = m_r/v, where the head is balanced: v² = Σ κ_r²."""
    task, flow, values, K, Q = derived(Separate(1, rank), rank)
    m = [b / a for b, a in zip(*eigenvalues(task), strict=True)]
    x, κ = (
        sp.Symbol("x", positive=True),
        sp.symbols(f"kappa_1:{rank + 1}", positive=True),
    )
    equations = reduce(flow, placed(values, K, Q, [x], κ)).equations

    def rests(v_cubed, square):
        here = {x: v_cubed**THIRD} | {
            each: sp.sqrt(square(m_r, v_cubed**THIRD))
            for each, m_r in zip(κ, m, strict=True)
        }
        balance = x**2 - sp.Add(*(each**2 for each in κ))
        return all(is_zero(each.subs(here)) for each in (balance, *equations.values()))

    total = sp.Add(*m)
    assert rests(total, lambda each, value: each / value)
    assert not rests(total, lambda each, value: each * value)
    assert not rests(2 * total, lambda each, value: each / value)
    assert rests(total, lambda each, value: value**2 / rank) == (rank == 1)
