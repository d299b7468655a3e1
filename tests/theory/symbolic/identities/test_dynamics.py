"""Identities of gradient flow and gradient descent, proved from the definition: motion, conservation, conventions.

Each has wrong variants that the same check refutes. Source: Zhang et al. 2025 (arXiv 2501.16265).
"""

import itertools
from functools import cache

import numpy as np
import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero

η = sp.Symbol("eta", positive=True)
SEPARATE = [Separate(1), Separate(2), Separate(1, rank=2), Separate(2, rank=2)]
ids = lambda model: repr(model).split(", divisor")[0]


def vanish(expressions):
    """Whether every expression is identically zero."""
    return all(map(is_zero, expressions))


def moves(quantity, loss):
    """Whether gradient flow changes a polynomial in the weights, decided in the ring of the loss."""
    ring = loss.polynomial.ring
    slopes = map(ring.from_expr(quantity).diff, ring.gens)
    return bool(
        sum(
            (
                s * r
                for s, r in zip(
                    slopes, map(loss.polynomial.diff, ring.gens), strict=True
                )
            ),
            ring.zero,
        )
    )


@cache
def restricted(model, task):
    """The derived loss and flow, and the symbols v_h, and U_h or (K_h, Q_h) of shape (R, D), of its block."""
    loss = population_loss(task, model, "restricted")
    weights = weight_symbols(model, task.dimension)
    values = [row[-1] for row in weights["value"]]
    matrices = [
        [sp.Matrix(each[..., :-1]) for each in array]
        for name, array in weights.items()
        if name != "value"
    ]
    if isinstance(model, Merged):
        matrices = [[each[:-1, :] for each in matrices[0]]]
    return loss, flow_equations(loss), values, matrices


def force(M, task, trace=1, length=N):
    """G = B − A M Λ by the closed form of B and A, or a wrong variant of it."""
    Λ, Ω = task.covariance, task.teacher_covariance
    outer, c = Λ * Ω * Λ, (Ω * Λ).trace() + task.noise_variance
    return outer - ((1 + 1 / length) * outer + trace * c * Λ / length) * M * Λ


WRONG_FORCES = {
    "no trace": lambda M, task: force(M, task, trace=0),
    "N + 1 for N": lambda M, task: force(M, task, length=N + 1),
    "transposed": lambda M, task: force(M, task).T,
    "of the transposed map": lambda M, task: force(M.T, task),
    "of L, not half of it": lambda M, task: 2 * force(M, task),
    "uphill": lambda M, task: -force(M, task),
}


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("dimension", [2, 3])
def test_merged_motion(heads, dimension):
    task = symbolic_task(
        dimension, teachers="general" if dimension == 2 else "diagonal", noise=True
    )
    _, flow, v, (U,) = restricted(Merged(heads), task)

    def holds(map_force):
        G = map_force(sum((v[h] * U[h] for h in range(1, heads)), v[0] * U[0]), task)
        return all(
            is_zero(flow[v[h]] - (G.T * U[h]).trace())
            and vanish(U[h].applyfunc(flow.get) - v[h] * G)
            for h in range(heads)
        )

    assert holds(force)
    assert [name for name, wrong in WRONG_FORCES.items() if holds(wrong)] == []


@pytest.mark.parametrize("model", [*SEPARATE, Separate(1, rank=3)], ids=ids)
def test_separate_motion(model):
    task = symbolic_task(2, teachers="general", noise=model.rank == 1)
    _, flow, v, (K, Q) = restricted(model, task)
    heads = range(model.head_count)

    def holds(map_force, swapped=False):
        G = map_force(sum((v[h] * K[h].T * Q[h] for h in heads), sp.zeros(2)), task)
        for_query = G.T if swapped else G
        return all(
            is_zero(flow[v[h]] - (K[h] * G * Q[h].T).trace())
            and vanish(K[h].applyfunc(flow.get) - v[h] * Q[h] * G.T)
            and vanish(Q[h].applyfunc(flow.get) - v[h] * K[h] * for_query)
            for h in heads
        )

    assert holds(force)
    assert not holds(force, swapped=True)
    assert [name for name, wrong in WRONG_FORCES.items() if holds(wrong)] == []


@pytest.mark.parametrize(
    "model", [Merged(1), Separate(1), Separate(1, rank=2)], ids=ids
)
def test_other_entries_stay_at_zero(model):
    task = symbolic_task(2, teachers="general", noise=True)
    inside = set(restricted(model, task)[1])
    flow = flow_equations(population_loss(task, model))
    off = dict.fromkeys(set(flow) - inside, 0)
    assert off
    assert vanish(flow[weight].subs(off) for weight in off)
    one = next(weight for weight in flow if weight in inside)
    larger = off | {one: 0}
    assert not vanish(
        flow[weight].subs(larger) for weight in larger
    )  # zero is no rest for what is inside


def merged_invariant(v, U, h, g, sign=-1):
    return v[h] * v[g] + sign * (U[h].T * U[g]).trace()


def test_merged_conservation():
    loss, _, v, (U,) = restricted(
        Merged(3), symbolic_task(2, teachers="general", noise=True)
    )
    pairs = list(itertools.combinations_with_replacement(range(3), 2))
    assert not any(moves(merged_invariant(v, U, *pair), loss) for pair in pairs)
    for pair in pairs:
        assert moves(merged_invariant(v, U, *pair, sign=1), loss)
        assert moves(merged_invariant(v, U, *pair, sign=sp.Rational(-1, 2)), loss)
    assert moves((U[0].T * U[1]).trace(), loss)
    assert moves(v[0] ** 2 - (U[0] ** 2).trace(), loss)


@pytest.mark.parametrize("model", SEPARATE, ids=ids)
def test_separate_conservation(model):
    loss, _, v, (K, Q) = restricted(model, symbolic_task(2, teachers="general"))
    for h in range(model.head_count):
        kept = K[h] * K[h].T - Q[h] * Q[h].T
        assert not any(moves(entry, loss) for entry in kept)
        assert not moves(v[h] ** 2 - (K[h] * K[h].T).trace(), loss)
        assert not moves(v[h] ** 2 - (Q[h] * Q[h].T).trace(), loss)
        wrong = {
            "KKᵀ + QQᵀ": (K[h] * K[h].T + Q[h] * Q[h].T)[0],
            "KᵀK − QᵀQ": (K[h].T * K[h] - Q[h].T * Q[h])[0],
            "KQᵀ − QKᵀ + KKᵀ": (K[h] * Q[h].T - Q[h] * K[h].T + K[h] * K[h].T)[0],
            "plus sign": v[h] ** 2 + (K[h] * K[h].T).trace(),
            "half of it": 2 * v[h] ** 2 - (K[h] * K[h].T).trace(),
            "keys and queries": v[h] ** 2
            - (K[h] * K[h].T).trace()
            - (Q[h] * Q[h].T).trace(),
        }
        if model.rank > 1:
            wrong["one pair"] = v[h] ** 2 - (K[h] * K[h].T)[0]
        if model.head_count > 1:
            wrong["the other head's keys"] = v[h] ** 2 - (K[1 - h] * K[1 - h].T).trace()
        assert [
            name for name, quantity in wrong.items() if not moves(quantity, loss)
        ] == []


@pytest.mark.parametrize("model", [Merged(2), Separate(1, rank=2)], ids=ids)
def test_descent_breaks_conservation_at_second_order_of_a_step(model):
    """A step of rate η moves weights by 2η times the flow, and invariants by (2η)² times themselves at the flow."""
    loss, flow, v, matrices = restricted(model, symbolic_task(2))
    step = {weight: weight - η * loss.expression.diff(weight) for weight in flow}
    assert vanish(step[weight] - weight - 2 * η * flow[weight] for weight in flow)
    assert not vanish(step[weight] - weight - η * flow[weight] for weight in flow)
    if isinstance(model, Merged):
        kept = merged_invariant(v, matrices[0], 0, 1)
    else:
        kept = v[0] ** 2 - (matrices[0][0] * matrices[0][0].T).trace()
    change = kept.subs(step, simultaneous=True) - kept
    assert is_zero(change - 4 * η**2 * kept.subs(flow, simultaneous=True))
    assert not is_zero(change)
    other = v[0] ** 2
    assert not is_zero(
        other.subs(step, simultaneous=True)
        - other
        - 4 * η**2 * other.subs(flow, simultaneous=True)
    )


# A run without divisor is one with divisor N, of other weights and at another rate


@pytest.mark.parametrize(
    ("make", "power"),
    [
        (lambda **to: Merged(2, **to), sp.Rational(1, 2)),
        (lambda **to: Separate(1, 2, **to), sp.Rational(1, 3)),
    ],
    ids=["merged", "separate"],
)
@pytest.mark.parametrize("block", ["restricted", "full"])
def test_runs_with_and_without_divisor(make, power, block):
    task = symbolic_task(1 if block == "full" else 2)
    without, within = (
        population_loss(task, make(divisor=name), block) for name in ("none", "context")
    )

    def same_descent(scale, rate_factor):
        """scale · (one step without divisor) = one step with divisor N from scale · weights at rate_factor · η."""
        there = {weight: scale * weight for weight in without.weights}
        steps = (
            scale * (weight - η * without.expression.diff(weight))
            - (
                there[weight]
                - η
                * rate_factor
                * within.expression.diff(weight).subs(there, simultaneous=True)
            )
            for weight in without.weights
        )
        return vanish(steps)

    assert same_descent(N**power, N ** (2 * power))
    wrong = {
        "the rate of the other model": (N**power, N ** (sp.Rational(5, 3) - 2 * power)),
        "the weights of the other model": (
            N ** (sp.Rational(5, 6) - power),
            N ** (2 * power),
        ),
        "the rate unchanged": (N**power, sp.Integer(1)),
        "the rate as the weights": (N**power, N**power),
        "divided weights": (N**-power, N ** (2 * power)),
        "divided rate": (N**power, N ** (-2 * power)),
        "N + 1 for N": ((N + 1) ** power, (N + 1) ** (2 * power)),
    }
    assert [name for name, claim in wrong.items() if same_descent(*claim)] == []
    there = {weight: N**power * weight for weight in without.weights}
    assert is_zero(
        without.expression - within.expression.subs(there, simultaneous=True)
    )
    flows = flow_equations(without), flow_equations(within)
    assert vanish(
        flows[0][weight] - N**power * flows[1][weight].subs(there, simultaneous=True)
        for weight in without.weights
    )


def test_the_shapes_that_the_proofs_read_are_those_of_the_models():
    for model in (Merged(2), Separate(2, rank=2)):
        _, flow, v, matrices = restricted(model, symbolic_task(2))
        assert set(flow) == {
            *v,
            *itertools.chain(*(each for array in matrices for each in array)),
        }
        assert np.shape(v) == (2,)
