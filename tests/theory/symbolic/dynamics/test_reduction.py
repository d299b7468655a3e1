"""Reduced equations: the published ones follow from the derived flow, and wrong ones and wrong manifolds do not."""

from functools import cache

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    flow_equations,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.dynamics.reduction import reduce

s, t, u, v = sp.symbols("s t u v", real=True)
us = sp.symbols("u_1:4", real=True)
vs = sp.symbols("v_1:4", real=True)
κ = sp.symbols("kappa_1:4", real=True)
x, y, z, a, b = sp.symbols("x y z a b")


@cache
def derived(model, dimension, block="restricted", **options):
    return flow_equations(
        population_loss(symbolic_task(dimension, **options), model, block)
    )


def spectrum(dimension, n=N, trace=1):
    """λ_d and a_d = λ_d² (1 + 1/N) + λ_d tr Λ/N; `trace` 0 drops the trace, `n` may be wrong."""
    λ = symbolic_task(dimension).parameters
    return λ, [each**2 * (1 + 1 / n) + trace * each * sum(λ) / n for each in λ]


def wrong_spectra(dimension):
    return {
        "trace dropped": spectrum(dimension, trace=0),
        "N + 1 for N": spectrum(dimension, n=N + 1),
    }


def same(equations, expected):
    """Whether two flows are equal identically."""
    return set(equations) == set(expected) and not any(
        sp.cancel(equations[k] - expected[k]) for k in expected
    )


def separate(model, dimension, directions, amplitudes):
    """Head h takes its directions: value v_h, and key and query the same amplitude on each direction."""
    w, ansatz = weight_symbols(model, dimension), {}
    for h, (ds, (value, *pairs)) in enumerate(zip(directions, amplitudes, strict=True)):
        ansatz[w["value"][h, -1]] = value
        for r, (d, pair) in enumerate(zip(ds, pairs, strict=True)):
            ansatz[w["key"][h, r, d]] = ansatz[w["query"][h, r, d]] = pair
    return ansatz


def scalar(symbols, λ, a, power=5):
    """dv/dt = λ_d² v² − λ_d a_d v⁵, the published equation of a head on direction d."""
    return {
        vd: λd**2 * vd**2 - λd * ad * vd**power
        for vd, λd, ad in zip(symbols, λ, a, strict=False)
    }


@pytest.mark.parametrize(
    ("heads", "dimension", "block"),
    [(1, 2, "full"), (2, 2, "full"), (2, 3, "restricted"), (3, 3, "restricted")],
)
def test_rank_one_heads_follow_independent_scalar_equations(heads, dimension, block):
    model = Separate(heads)
    ansatz = separate(
        model,
        dimension,
        [[h] for h in range(heads)],
        [(each, each) for each in vs[:heads]],
    )
    reduction = reduce(derived(model, dimension, block), ansatz)
    λ, a = spectrum(dimension)
    assert reduction.invariant
    assert reduction.residual == {}
    assert same(reduction.equations, scalar(vs[:heads], λ, a))
    assert not same(reduction.equations, scalar(vs[:heads], λ, a, power=4))
    for name, wrong in wrong_spectra(dimension).items():
        assert not same(reduction.equations, scalar(vs[:heads], *wrong)), name


def test_a_head_of_rank_r_follows_one_plus_r_equations():
    for dimension in (2, 3):
        model = Separate(1, rank=2)
        ansatz = separate(model, dimension, [[0, 1]], [(v, *κ[:2])])
        reduction = reduce(derived(model, dimension), ansatz)
        assert reduction.invariant
        assert same(reduction.equations, low_rank(*spectrum(dimension)))
        assert not same(reduction.equations, low_rank(*spectrum(dimension), power=3))
        for wrong in wrong_spectra(dimension).values():
            assert not same(reduction.equations, low_rank(*wrong))


def low_rank(λ, a, power=4):
    triples = [*zip(κ[:2], λ, a, strict=False)]
    value = sum(k**2 * l**2 - l * each * v * k**power for k, l, each in triples)
    return {v: value} | {
        k: v * k * (l**2 - l * each * v * k**2) for k, l, each in triples
    }


def test_other_directions_of_a_rank_are_free_to_choose():
    model = Separate(1, rank=2)
    reduction = reduce(derived(model, 3), separate(model, 3, [[2, 0]], [(v, *κ[:2])]))
    λ, a = spectrum(3)
    assert same(reduction.equations, low_rank((λ[2], λ[0]), (a[2], a[0])))
    assert not same(reduction.equations, low_rank(λ, a))


def merged(model, dimension, shares, s, us):
    """v_h = c_h s and U_h = c_h diag(u)."""
    w = weight_symbols(model, dimension)
    ansatz = {}
    for h, share in enumerate(shares):
        ansatz[w["value"][h, -1]] = share * s
        ansatz |= {w["key_query"][h, d, d]: share * us[d] for d in range(dimension)}
    return ansatz


UNIT = ((1 - t**2) / (1 + t**2), 2 * t / (1 + t**2))


def aligned(λ, a, us):
    drives = [(d, l**2 - l * each * s * d) for d, l, each in zip(us, λ, a, strict=True)]
    return {s: sum(d * drive for d, drive in drives)} | {
        d: s * drive for d, drive in drives
    }


@pytest.mark.parametrize(("dimension", "block"), [(2, "full"), (3, "restricted")])
def test_aligned_merged_heads_follow_d_plus_one_equations(dimension, block):
    model, used = Merged(2), us[:dimension]
    flow, ansatz = (
        derived(model, dimension, block),
        merged(model, dimension, UNIT, s, used),
    )
    given = reduce(flow, ansatz, amplitudes=[s, *used])
    assert given.invariant
    assert list(given.equations) == [s, *used]
    assert same(given.equations, aligned(*spectrum(dimension), used))
    for wrong in wrong_spectra(dimension).values():
        assert not same(given.equations, aligned(*wrong, used))
    found = reduce(flow, ansatz)
    assert same(found.equations, {**given.equations, t: sp.Integer(0)})


def test_white_merged_heads_follow_two_equations():
    λ = sp.Symbol("lambda", positive=True)
    for D in (2, 3):
        model, c = Merged(2), (sp.Rational(3, 5), sp.Rational(4, 5))
        flow = flow_equations(
            population_loss(
                SymbolicTask(λ * sp.eye(D), sp.eye(D), 0, (N,)), model, "restricted"
            )
        )
        reduction = reduce(flow, merged(model, D, c, s, [u] * D))
        rate = λ**2 - λ**3 * (1 + sp.Integer(1 + D) / N) * s * u
        assert same(reduction.equations, {u: s * rate, s: D * u * rate})
        assert not same(reduction.equations, {u: s * rate, s: u * rate})
        assert not same(
            reduction.equations,
            {u: s * rate.subs(N, N + 1), s: D * u * rate.subs(N, N + 1)},
        )
        assert not same(
            reduction.equations, {u: s * (rate + λ**3 * s * u * D / N), s: D * u * rate}
        )


def test_a_key_and_a_query_on_different_directions_turn():
    flow = derived(Separate(1), 2)
    value, k1, k2, q1, q2 = flow
    reduction = reduce(flow, {value: v, k1: v, q2: v})
    λ = spectrum(2)[0]
    assert not reduction.invariant
    assert reduction.equations == {}
    assert same(reduction.residual, {k2: λ[1] ** 2 * v**2, q1: λ[0] ** 2 * v**2})


def test_unbalanced_keys_and_queries_need_their_own_amplitudes():
    flow = derived(Separate(1), 2)
    value, k1, _, q1, _ = flow
    λ, a = spectrum(2)
    wrong = reduce(flow, {value: v, k1: v, q1: 2 * v})
    assert same(wrong.residual, {q1: -3 * (λ[0] ** 2 * v**2 - 2 * λ[0] * a[0] * v**5)})
    three = reduce(flow, {value: v, k1: s, q1: u})
    force = λ[0] ** 2 - λ[0] * a[0] * v * s * u
    assert same(three.equations, {v: s * u * force, s: v * u * force, u: v * s * force})


def test_merged_heads_that_are_not_proportional_leave():
    flow, w = derived(Merged(2), 2), weight_symbols(Merged(2), 2)
    ansatz = merged(Merged(2), 2, UNIT, s, us[:2])
    last, off = w["key_query"][1, 1, 1], w["key_query"][0, 0, 1]
    assert reduce(flow, ansatz).invariant
    assert last in reduce(flow, {**ansatz, last: 2 * ansatz[last]}).residual
    assert not reduce(flow, {**ansatz, off: ansatz[last]}).invariant
    assert reduce(flow, merged(Merged(2), 2, (1, 1), s, us[:2])).invariant


@pytest.mark.parametrize("teachers", ["diagonal", "general"])
def test_a_direction_of_general_teachers_is_not_kept(teachers):
    model = Separate(1)
    task = symbolic_task(2, teachers=teachers, noise=True)
    flow = derived(model, 2, teachers=teachers, noise=True)
    reduction = reduce(flow, separate(model, 2, [[0]], [(v, v)]))
    if teachers == "diagonal":
        λ1, λ2, ω1, ω2, σ = task.parameters
        c = λ1 * ω1 + λ2 * ω2 + σ**2
        a1 = (1 + 1 / N) * λ1**2 * ω1 + c * λ1 / N
        assert same(reduction.equations, {v: λ1**2 * ω1 * v**2 - λ1 * a1 * v**5})
        assert not same(
            reduction.equations,
            {v: λ1**2 * ω1 * v**2 - λ1 * (a1 - σ**2 * λ1 / N) * v**5},
        )
    else:
        assert {weight.name for weight in reduction.residual} == {
            "key_1_1_2",
            "query_1_1_2",
        }
        off = task.teacher_covariance[0, 1]
        assert all(rate.subs(off, 0) == 0 for rate in reduction.residual.values())


def test_an_amplitude_may_be_a_weight():
    flow = derived(Separate(1), 1)
    value, key, query = flow
    reduction = reduce(flow, {value: value, key: query, query: query})
    λ, a = spectrum(1)
    force = λ[0] ** 2 - λ[0] * a[0] * value * query**2
    assert same(
        reduction.equations, {value: query**2 * force, query: value * query * force}
    )
    assert not reduce(flow, {value: value, key: 2 * query, query: query}).invariant


def test_a_point_is_kept_where_the_flow_rests():
    flow = derived(Separate(1), 2)
    nothing = reduce(flow, {})
    assert nothing.invariant
    assert nothing.equations == {}
    assert set(nothing.ansatz) == set(flow)
    point = reduce({x: a - x, y: x * y}, {x: a, y: b}, amplitudes=[])
    assert point.residual == {y: a * b}
    assert reduce({x: a - x, y: x * y}, {x: a}).invariant


def test_nonlinear_manifolds_and_rational_flows():
    circle = {x: (1 - z**2) / (1 + z**2), y: 2 * z / (1 + z**2)}
    turning = {x: -a * y, y: a * x}
    assert same(reduce(turning, circle).equations, {z: a * (1 + z**2) / 2})
    shrinking = reduce({x: -a * y - x, y: a * x - y}, circle)
    assert not shrinking.invariant
    assert same(
        reduce({x: y / (x + y), y: x / (x + y)}, {x: z, y: z}).equations,
        {z: sp.Rational(1, 2)},
    )
    two = reduce({x: x**2, y: y**2}, {x: u + v, y: u - v}).equations
    assert same(two, {u: u**2 + v**2, v: 2 * u * v})


@settings(max_examples=20, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=4, max_size=4), st.integers(-2, 2))
def test_graphs_of_solutions_are_invariant_and_others_not(numbers, wrong):
    """y = p(x) is kept by dy/dt = p′(x) dx/dt, and not by any other rate."""
    p = sp.Poly(numbers, x).as_expr()
    rate = x**2 - 3
    kept = reduce({x: rate, y: p.diff(x) * rate}, {x: z, y: p.subs(x, z)})
    assert same(kept.equations, {z: z**2 - 3})
    lost = reduce({x: rate, y: p.diff(x) * rate + wrong}, {x: z, y: p.subs(x, z)})
    assert lost.residual == ({y: wrong} if wrong else {})


@pytest.mark.parametrize(
    ("ansatz", "amplitudes", "message"),
    [
        ({sp.Symbol("w"): z}, None, r"no weight w: .* x, y"),
        ({sp.Symbol("x", real=True): z}, None, "no weight x"),
        ({x: sp.sqrt(z)}, None, r"sqrt\(z\) is none"),
        ({x: sp.pi * z}, None, r"pi is none"),
        ({x: 0.5 * z}, None, "0.5.* is none"),
        ({x: "z"}, None, "not 'z'"),
        ({x: z * u, y: z * u}, None, "moving z adds nothing"),
        ({x: z, y: u}, [z, u, v], "moving v adds nothing"),
        ({x: z}, [z, z], "moving z adds nothing"),
        (
            {
                x: z,
                y: y + z,
            },
            [z],
            "the weight y stands in the ansatz and moves",
        ),
        ({x: y}, None, "the weight y is left out, hence zero, and an amplitude"),
        ({x: a * z}, [a, z], "a is a parameter of the flow"),
        ({x: 2 * z}, [2 * z], r"amplitudes are symbols, not 2\*z"),
        (
            {x: z + sp.Symbol("a", positive=True)},
            None,
            "two different symbols are named a",
        ),
        ({x: 1 / (z * (b + 1) - z * b - z)}, None, "is none"),
    ],
)
def test_names_what_is_wrong(ansatz, amplitudes, message):
    with pytest.raises(ValueError, match=message):
        reduce({x: a * y, y: a * x}, ansatz, amplitudes)
