"""Conserved quantities: found from the derived flow of each model, complete, and lost by flows that are broken."""

from functools import cache
from itertools import combinations_with_replacement, product

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sympy.polys.matrices import DomainMatrix
from sympy.polys.orderings import lex
from sympy.polys.rings import PolyRing

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.dynamics import conservation_laws as invariants
from attndyn.theory.symbolic.dynamics.conservation_laws import (
    conserved_quantities,
    lie_derivative,
)

x, y, z, a, b = sp.symbols("x y z a b")


class Tied:
    """One head whose query is its key."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}

    def heads(self, weights):
        return weights["value"], weights["key"].swapaxes(1, 2) @ weights["key"][
            ..., :-1
        ]


@cache
def derived(model, dimension, block, **options):
    return flow_equations(
        population_loss(symbolic_task(dimension, **options), model, block)
    )


@cache
def quadratic(model, dimension, block):
    return conserved_quantities(derived(model, dimension, block), 2)


def acting(model, dimension, block):
    """value (H, …), and the other weights as arrays, each with the entries that act in the block."""
    w = weight_symbols(model, dimension)
    full = block == "full"
    cut = {
        "value": slice(None) if full else slice(-1, None),
        "key": slice(None) if full else slice(-1),
    }
    value = w["value"][:, cut["value"]]
    if "key_query" in w:
        return value, w["key_query"][:, cut["key"], :-1].reshape(len(value), -1)
    return value, w["key"][..., cut["key"]], w["query"][..., :-1]


def expected(model, dimension, block):
    """The published laws, over every weight that acts in the block."""
    if isinstance(model, Merged):
        v, U = acting(model, dimension, block)
        pairs = combinations_with_replacement(range(len(v)), 2)
        return [v[h] @ v[g] - U[h] @ U[g] for h, g in pairs]
    v, K, Q = acting(model, dimension, block)
    laws = []
    for h in range(len(v)):
        laws.append(v[h] @ v[h] - np.sum(K[h] ** 2))
        balance = K[h] @ K[h].T - Q[h] @ Q[h].T
        laws += [
            balance[i, j]
            for i, j in combinations_with_replacement(range(len(balance)), 2)
        ]
    return laws


def rank(polynomials, symbols):
    rows = [PolyRing(symbols, sp.QQ, lex).from_expr(each) for each in polynomials]
    monomials = sorted({powers for row in rows for powers in row})
    entries = [[row.get(powers, sp.QQ(0)) for powers in monomials] for row in rows]
    return DomainMatrix(entries, (len(rows), len(monomials)), sp.QQ).rank()


def same_span(found, laws, symbols):
    return (
        rank(found, symbols)
        == rank(laws, symbols)
        == rank([*found, *laws], symbols)
        == len(found)
        == len(laws)
    )


CASES = [
    (Separate(2), 2, "full"),
    (Separate(2), 3, "restricted"),
    (Separate(1, rank=2), 2, "full"),
    (Separate(2, rank=2, divisor="none"), 2, "restricted"),
    (Merged(2), 2, "full"),
    (Merged(3), 2, "restricted"),
]


@pytest.mark.parametrize(("model", "dimension", "block"), CASES, ids=str)
def test_the_published_laws_are_all_quadratic_ones(model, dimension, block):
    flow = derived(model, dimension, block)
    found, laws = quadratic(model, dimension, block), expected(model, dimension, block)
    assert same_span(found, laws, [*flow])
    assert {lie_derivative(each, flow) for each in laws} == {0}


@pytest.mark.parametrize(("model", "dimension", "block"), CASES, ids=str)
def test_wrong_laws_have_a_rate(model, dimension, block):
    flow, found = derived(model, dimension, block), quadratic(model, dimension, block)
    v, U, *_ = acting(model, dimension, block)
    norm, value = np.sum(U[0] ** 2), v[0] @ v[0]
    for wrong in (value + norm, value - 2 * norm, value - norm + U[0].flat[0] ** 2):
        assert lie_derivative(wrong, flow) != 0
        assert not same_span(
            found, [*expected(model, dimension, block)[1:], wrong], [*flow]
        )


def test_a_broken_flow_loses_its_laws():
    flow = derived(Separate(1), 2, "restricted")
    v, k1, k2, q1, q2 = flow
    assert same_span(
        conserved_quantities(flow, 2),
        [v**2 - k1**2 - k2**2, v**2 - q1**2 - q2**2],
        [*flow],
    )
    pushed = {**flow, q1: flow[q1] + v}
    assert same_span(conserved_quantities(pushed, 2), [v**2 - k1**2 - k2**2], [*flow])
    assert conserved_quantities({**flow, v: flow[v] + v, q1: flow[q1] + v}, 2) == ()
    slower = {**flow, q1: flow[q1] / 2}
    assert same_span(
        conserved_quantities(slower, 2),
        [v**2 - k1**2 - k2**2, v**2 - 2 * q1**2 - q2**2],
        [*flow],
    )


@pytest.mark.parametrize("block", ["full", "restricted"])
def test_a_tied_key_weighs_twice(block):
    flow = derived(Tied(), 2, block)
    norms = {
        name: sum(w**2 for w in flow if w.name.startswith(name))
        for name in ("value", "key")
    }
    assert conserved_quantities(flow, 2) == (2 * norms["value"] - norms["key"],)
    assert lie_derivative(norms["value"] - norms["key"], flow) != 0


def test_two_weights_a_head_have_a_law_more():
    flow = derived(Merged(2), 1, "restricted")
    v1, v2, u1, u2 = flow
    found = conserved_quantities(flow, 2)
    assert same_span(
        found, [*expected(Merged(2), 1, "restricted"), v1 * u2 - v2 * u1], [*flow]
    )
    assert lie_derivative(v1 * u2 - v2 * u1, derived(Merged(2), 2, "restricted")) != 0


def test_the_task_does_not_matter_but_the_teacher_may_be_general():
    flow = derived(Separate(2), 2, "restricted", teachers="general", noise=True)
    assert same_span(
        conserved_quantities(flow, 2), expected(Separate(2), 2, "restricted"), [*flow]
    )
    mixed = derived(Separate(1), 2, "full", mixture=True)
    assert same_span(
        conserved_quantities(mixed, 2), expected(Separate(1), 2, "full"), [*mixed]
    )


@pytest.mark.parametrize(
    ("model", "block"),
    [(Separate(1), "full"), (Separate(2), "restricted"), (Merged(2), "restricted")],
    ids=str,
)
def test_of_degree_four_there_are_only_products(model, block):
    flow = derived(model, 2, block)
    laws = quadratic(model, 2, block)
    assert conserved_quantities(flow, 3) == laws
    products = [sp.expand(p * q) for p, q in combinations_with_replacement(laws, 2)]
    assert same_span(conserved_quantities(flow, 4), [*laws, *products], [*flow])


def test_coefficients_may_be_parameters():
    assert conserved_quantities({x: a * y, y: -b * x}, 2) == (b * x**2 + a * y**2,)
    found = conserved_quantities({x: a * y / N, y: -(b + 1 / N) * x / 3}, 2)
    assert found == (3 * a * y**2 + (N * b + 1) * x**2,)
    assert conserved_quantities({x: y / (a - b), y: x / (a + b)}, 2) == (
        (a - b) * x**2 - (a + b) * y**2,
    )
    assert (
        lie_derivative(b * x**2 - a * y**2, {x: a * y, y: -b * x}) == 4 * a * b * x * y
    )


def test_a_law_at_special_parameters_is_none(monkeypatch):
    flow = {x: a * x, y: -b * y, z: sp.Integer(0)}
    assert lie_derivative(x * y, {x: a * x, y: -a * y}) == 0
    honest = conserved_quantities(flow, 2)
    points = [([1, 1], 101), ([0, 5], 101), ([3, 8], 5)]
    fresh = invariants._points
    used = []

    def unlucky(size):
        for point in points:
            used.append(point)
            yield point
        yield from fresh(size)

    monkeypatch.setattr(invariants, "_points", unlucky)
    assert conserved_quantities(flow, 2) == honest == (z, z**2)
    assert used == points


def test_weights_that_rest_are_conserved():
    assert conserved_quantities({x: sp.Integer(0), y: x + a}, 2) == (x, x**2)
    assert conserved_quantities({x: sp.Integer(0), y: sp.Integer(0)}, 1) == (x, y)
    assert conserved_quantities({x: a, y: b}, 1) == (b * x - a * y,)


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=9, max_size=9))
def test_hamiltonian_flows_conserve_their_energy(numbers):
    powers = [p for p in product(range(4), repeat=2) if 0 < sum(p) <= 3]
    energy = sp.Add(
        *(c * x**i * y**j for c, (i, j) in zip(numbers, powers, strict=True))
    )
    flow = {x: energy.diff(y), y: -energy.diff(x)}
    found = conserved_quantities(flow, 3)
    assert lie_derivative(energy, flow) == 0
    assert all(lie_derivative(each, flow) == 0 for each in found)
    if energy != 0:
        assert rank([*found, energy], [x, y]) == len(found)
        assert (
            lie_derivative(energy + x, flow)
            == lie_derivative(x, flow)
            == sp.expand(flow[x])
        )


def test_rates_are_in_normal_form():
    flow = {x: y, y: x}
    assert (
        lie_derivative(x**2 - y**2, flow)
        == lie_derivative(sp.Integer(7), flow)
        == lie_derivative(a, flow)
        == 0
    )
    assert lie_derivative(a * x * y, flow) == a * x**2 + a * y**2
    assert lie_derivative(x / y, flow) == (y**2 - x**2) / y**2
    assert lie_derivative((x + y) ** 2 / (x + y), flow) == x + y


@pytest.mark.parametrize(
    ("flow", "degree", "message"),
    [
        ({x: y, y: x}, 0, "degree must be a whole number of at least 1, not 0"),
        ({x: y, y: x}, True, "degree must be a whole number"),
        ({x: y, y: x}, 2.0, "degree must be a whole number"),
        ({}, 2, "no equations"),
        ({"x": y}, 2, "keys of a flow are the symbols"),
        ({x: sp.exp(y), y: x}, 2, r"polynomials in the weights .* exp\(y\) is none"),
        ({x: 1 / y, y: x}, 2, "1/y is none"),
        ({x: sp.sqrt(a) * y, y: x}, 2, r"sqrt\(a\) is none"),
        ({x: sp.Float(0.5) * y, y: x}, 2, "0.5.* is none"),
        ({x: y / (a * (b + 1) - a * b - a), y: x}, 2, "is none"),
        ({x: "y", y: x}, 2, "not 'y'"),
        (
            {x: sp.Symbol("y", real=True) * y, y: x},
            2,
            "two different symbols are named y",
        ),
    ],
)
def test_names_what_is_wrong(flow, degree, message):
    with pytest.raises(ValueError, match=message):
        conserved_quantities(flow, degree)


@pytest.mark.parametrize(
    ("quantity", "message"),
    [
        (sp.log(x), r"log\(x\) is none"),
        (x ** sp.Rational(1, 2), r"sqrt\(x\) is none"),
        ("x", "not 'x'"),
    ],
)
def test_names_what_has_no_exact_rate(quantity, message):
    with pytest.raises(ValueError, match=message):
        lie_derivative(quantity, {x: y, y: x})
