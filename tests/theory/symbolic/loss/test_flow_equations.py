"""Gradient flow derived from the loss: what stays on the restricted block, and its equations there."""

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    Prompt,
    average,
    effective_map,
    expectation,
    flow_equations,
    output_loss,
    population_loss,
    symbolic_task,
    weight_symbols,
)


def zero(matrix, loss):
    """Whether expressions vanish identically, decided in the ring of the loss."""
    return not any(
        loss.polynomial.ring.from_expr(entry) for entry in sp.Matrix([matrix])
    )


def residuals(model, task, values):
    """What the flow of the full model makes of given weights."""
    return {
        weight: rhs.xreplace(values)
        for weight, rhs in flow_equations(population_loss(task, model)).items()
    }


@pytest.mark.parametrize(
    "model", [Merged(2), Separate(1, rank=2)], ids=lambda model: type(model).__name__
)
def test_the_restricted_block_is_invariant_unless_teachers_have_a_mean(model):
    symbols = weight_symbols(model, 2)
    off = [*symbols["value"][:, :-1].flat]
    if "key" in symbols:
        off += [*symbols["key"][..., -1].flat]
    else:
        off += [*symbols["key_query"][:, -1, :-1].flat]
    still = dict.fromkeys(off, sp.Integer(0))
    flow = residuals(model, symbolic_task(2, teachers="general", noise=True), still)
    assert all(sp.expand(flow[weight]) == 0 for weight in off)
    loss = population_loss(
        symbolic_task(2, teachers="general", noise=True), model, "restricted"
    )
    inside = flow_equations(loss)
    assert set(inside) == set(flow) - set(off)
    assert all(zero(flow[weight] - rhs, loss) for weight, rhs in inside.items())
    moved = residuals(model, symbolic_task(2, mixture=True), still)
    assert all(sp.expand(moved[weight]) != 0 for weight in off)


def test_merged_flow_is_that_of_a_two_layer_network():
    model, task = Merged(2), symbolic_task(2, teachers="general", noise=True)
    form, w = effective_map(task, model), weight_symbols(model, 2)
    loss = population_loss(task, model, "restricted")
    flow, G = flow_equations(loss), form.residual_correlation(form.M)
    for h in range(2):
        v, U = w["value"][h, -1], sp.Matrix(w["key_query"][h, :-1, :-1])
        assert zero(flow[v] - (G.T * U).trace(), loss)
        assert zero(U.applyfunc(flow.get) - v * G, loss)
        assert not zero(U.applyfunc(flow.get) - v * G.T, loss)
        assert not zero(flow[v] - 2 * (G.T * U).trace(), loss)


def test_separate_flow_is_that_of_three_layers():
    model, task = (
        Separate(2, rank=2, divisor="tokens"),
        symbolic_task(2, teachers="general"),
    )
    form, w = effective_map(task, model), weight_symbols(model, 2)
    loss = population_loss(task, model, "restricted")
    flow, G = flow_equations(loss), form.residual_correlation(form.M)
    for h in range(2):
        v, K, Q = (
            w["value"][h, -1],
            *(sp.Matrix(w[name][h, :, :-1]) for name in ("key", "query")),
        )
        assert zero(flow[v] - (K * G * Q.T).trace(), loss)
        assert zero(K.applyfunc(flow.get) - v * Q * G.T, loss)
        assert zero(Q.applyfunc(flow.get) - v * K * G, loss)
        assert not zero(Q.applyfunc(flow.get) - v * K * G.T, loss)


def test_an_output_of_the_users_own_has_its_loss():
    prompt, (u, v) = Prompt(2), sp.symbols("u v")
    task = symbolic_task(2)
    output = u * v * average(prompt.y * (prompt.x[0] + prompt.x[1])) * prompt.query[0]
    loss = output_loss(task, output, [u, v])
    assert loss.weights == (u, v)
    assert zero(loss.expression - expectation((prompt.label - output) ** 2, task), loss)
    assert not zero(
        loss.expression - expectation((prompt.label + output) ** 2, task), loss
    )
    flow = flow_equations(loss)
    assert zero(flow[u] + loss.expression.diff(u) / 2, loss)
    assert zero(u * flow[u] - v * flow[v], loss)
