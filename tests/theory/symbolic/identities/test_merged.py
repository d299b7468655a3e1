"""Reduced equations of merged attention and its growing mode, proved from the definition.

Each has wrong variants that the same check refutes. Source: Zhang et al. 2025 (arXiv 2501.16265).
"""

from functools import cache

import pytest
import sympy as sp

from attndyn import Merged
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

s, τ, ε = sp.symbols("s tau epsilon", real=True)
λ, δ, w0 = sp.symbols("lambda delta w_0", positive=True)


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
    """The task, the flow on the restricted block, v_h and U_h."""
    task, weights = symbolic_task(dimension, **kind), weight_symbols(model, dimension)
    flow = flow_equations(population_loss(task, model, "restricted"))
    return (
        task,
        flow,
        list(weights["value"][:, -1]),
        [sp.Matrix(each[:-1, :-1]) for each in weights["key_query"]],
    )


def same(equations, claimed):
    """Whether derived reduced equations are the claimed ones."""
    return set(equations) == set(claimed) and all(
        is_zero(equations[z] - claimed[z]) for z in claimed
    )


def unit_vector(heads):
    """v̂ of one or two heads, any of them."""
    return (
        [sp.Integer(1)] if heads == 1 else [(1 - τ**2) / (1 + τ**2), 2 * τ / (1 + τ**2)]
    )


@pytest.mark.parametrize(("dimension", "heads"), [(1, 1), (2, 1), (3, 1), (2, 2)])
def test_aligned_merged_equations(dimension, heads):
    task, flow, values, U = derived(Merged(heads), dimension)
    u = sp.symbols(f"u_1:{dimension + 1}", real=True)
    ansatz = {}
    for unit, value, matrix in zip(unit_vector(heads), values, U, strict=True):
        ansatz |= {value: unit * s} | {
            matrix[d, d]: unit * u[d] for d in range(dimension)
        }
    reduction = reduce(flow, ansatz)

    def claimed(power=1, **change):
        forces = [
            b**2 - a * b**power * s * each
            for b, a, each in zip(*eigenvalues(task, **change), u, strict=True)
        ]
        rates = {each: s * force for each, force in zip(u, forces, strict=True)}
        return (
            rates
            | {s: sp.Add(*map(sp.Mul, u, forces))}
            | ({τ: sp.Integer(0)} if heads > 1 else {})
        )

    assert reduction.invariant
    assert same(reduction.equations, claimed())
    wrong = {name: claimed(**change) for name, change in WRONG_EIGENVALUES.items()} | {
        "a λ²": claimed(power=2)
    }
    assert [
        name for name, each in wrong.items() if same(reduction.equations, each)
    ] == []
    squares = sp.Add(*(each**2 for each in u))
    assert lie_derivative(s**2 - squares, reduction.equations) == 0
    assert lie_derivative(s**2 + squares, reduction.equations) != 0
    assert lie_derivative(s**2 - 2 * squares, reduction.equations) != 0
    if dimension > 1:
        assert lie_derivative(s**2 - sp.Add(*u) ** 2, reduction.equations) != 0


def test_merged_heads_keep_one_shared_matrix_of_any_kind():
    """ds/dt = ⟨G, U⟩ and dU/dt = s G for any Ω, with M = s U; heads with matrices of their own do not reduce."""
    task, flow, values, U = derived(Merged(2), 2, teachers="general", noise=True)
    shared = sp.Matrix(2, 2, sp.symbols("u_11 u_12 u_21 u_22", real=True))
    G = effective_map(task, Merged(2)).residual_correlation(s * shared)
    claimed = dict(zip(shared, s * G, strict=True)) | {
        s: (G.T * shared).trace(),
        τ: sp.Integer(0),
    }

    def reduced(second):
        v1, v2 = unit_vector(2)
        return reduce(
            flow,
            {values[0]: v1 * s, values[1]: v2 * s}
            | dict(zip([*U[0], *U[1]], [*(v1 * shared), *second], strict=True)),
        )

    right = reduced(unit_vector(2)[1] * shared)
    assert right.invariant
    assert same(right.equations, claimed)
    assert not same(right.equations, claimed | {s: (G * shared).trace()})
    assert not reduced(unit_vector(2)[1] * shared.T).invariant
    assert not reduced(-unit_vector(2)[1] * shared).invariant


@pytest.mark.parametrize(
    "dimension", [1, 2, 3, None], ids=["D=1", "D=2", "D=3", "any D"]
)
def test_white_loss_in_the_amplitude(dimension):
    """L = c − 2√D λ² p + κ p² with M = p/√D 1, derived for numbers D and by the trace formulas for D = δ²."""
    p = sp.Symbol("p", real=True)
    root = δ if dimension is None else sp.sqrt(dimension)
    if dimension is None:
        a = λ**2 * (1 + 1 / N) + λ * δ**2 * λ / N
        loss = δ**2 * (λ - 2 * λ**2 * p / δ + λ * a * (p / δ) ** 2)
    else:
        task = symbolic_task(dimension)
        form = effective_map(task, Merged(1))
        loss = form.loss(p / root * sp.eye(dimension)).subs(
            dict.fromkeys(task.parameters, λ)
        )

    def claimed(gain=2, trace=1):
        return (
            λ * root**2
            - gain * root * λ**2 * p
            + λ**3 * (1 + (1 + trace * root**2) / N) * p**2
        )

    assert is_zero(loss - claimed())
    assert not is_zero(loss - claimed(gain=1))
    assert not is_zero(loss - claimed(trace=0))
    assert not is_zero(loss - claimed(gain=2 * λ))


def test_white_merged_equations_for_any_dimension():
    """du_d/dt and ds/dt for D = δ² equal λ_d, u_d = u/√D: du/dt = s(α − κ s u), ds/dt = u(α − κ s u)."""
    u = sp.Symbol("u", real=True)

    def force(trace):
        return λ**2 - (λ**2 * (1 + 1 / N) + trace * λ * δ**2 * λ / N) * λ * s * u / δ

    def holds(α, κ, trace=1):
        growth = α - κ * s * u
        return is_zero(δ * s * force(trace) - s * growth) and is_zero(
            δ**2 * u / δ * force(trace) - u * growth
        )

    κ = λ**3 * (1 + (1 + δ**2) / N)
    assert holds(λ**2 * δ, κ)
    assert [
        wrong
        for wrong in [(λ**2, κ), (λ**2 * δ**2, κ), (λ**2 * δ, κ * δ)]
        if holds(*wrong)
    ] == []
    assert not holds(λ**2 * δ, κ, trace=0)


@pytest.mark.parametrize("heads", [1, 2])
def test_growing_mode(heads):
    """Near 0 (v_h + ⟨U_h, B⟩/|B|)/2 grows at |B|, the difference decays at |B|, and what is orthogonal rests."""
    task, flow, values, U = derived(Merged(heads), 2, teachers="general", noise=True)
    B = effective_map(task, Merged(1)).B
    scaled = {weight: ε * weight for weight in flow}
    linear = {
        weight: right.subs(scaled, simultaneous=True).diff(ε).subs(ε, 0)
        for weight, right in flow.items()
    }
    assert all(is_zero(right.subs(dict.fromkeys(flow, 0))) for right in flow.values())
    norm = sp.sqrt(sp.Add(*(entry**2 for entry in B)))

    def grows(mode, growth):
        return is_zero(
            sp.Add(*(mode.diff(weight) * linear[weight] for weight in linear))
            - growth * mode
        )

    for value, matrix in zip(values, U, strict=True):
        overlap = (matrix.T * B).trace() / norm
        growing, orthogonal = (
            (value + overlap) / 2,
            matrix[0, 1] * B[0, 0] - matrix[0, 0] * B[0, 1],
        )
        assert grows(growing, norm)
        assert grows((value - overlap) / 2, -norm)
        assert grows(orthogonal, 0)
        wrong = {
            "at 2|B|": (growing, 2 * norm),
            "at |B|²": (growing, norm**2),
            "at tr B": (growing, B.trace()),
            "⟨U, B⟩ not divided": ((value + overlap * norm) / 2, norm),
            "v alone": (value, norm),
            "Λ for B": (
                (value + (matrix.T * task.covariance).trace() / norm) / 2,
                norm,
            ),
        }
        assert [name for name, claim in wrong.items() if grows(*claim)] == []
    start = {values[0]: w0} | dict(
        zip(U[0], w0 * B / norm, strict=True)
    )  # the aligned start s = w0, U = w0 B/|B|
    here = {
        weight: right.subs(dict.fromkeys(flow, 0) | start)
        for weight, right in linear.items()
    }
    assert all(is_zero(here[weight] - norm * place) for weight, place in start.items())
    off = start | {values[0]: 2 * w0}
    assert not is_zero(
        linear[values[0]].subs(dict.fromkeys(flow, 0) | off) - norm * 2 * w0
    )
