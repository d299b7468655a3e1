"""Fixed points in symbols: the published form, the weights that rest there, and the numerical theory."""

from itertools import chain, combinations

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.theory import fixed_points as numeric_fixed_points
from attndyn.theory import population
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    effective_map,
    fixed_points,
    flow_equations,
    is_zero,
    population_loss,
    rational_task,
    symbolic_task,
    weight_symbols,
)


def same(expression, expected):
    return sp.cancel(expression - expected) == 0


@pytest.mark.parametrize("dimension", [1, 2, 4])
def test_white_teachers_give_the_published_coefficients(dimension):
    task = symbolic_task(dimension)
    λ, trace = task.parameters, sum(task.parameters)
    first = fixed_points(task, Separate(dimension))[0]
    assert first.subset == tuple(range(1, dimension + 1))
    for λ_d, m, g in zip(λ, first.coefficients, first.gains, strict=True):
        a = λ_d**2 * (1 + 1 / N) + λ_d * trace / N
        assert same(m, λ_d / a)
        assert same(g, λ_d**3 / a)
        assert not same(m, 1 / λ_d)
        assert not same(m, (λ_d / a).subs(N, N + 1))
        assert not same(g, λ_d**2 / a)


@pytest.mark.parametrize("divisor", ["context", "tokens", "none"])
def test_teachers_noise_and_divisors(divisor):
    task = symbolic_task(3, teachers="diagonal", noise=True)
    λ, ω, σ = task.parameters[:3], task.parameters[3:6], task.parameters[6]
    s = {"context": 1, "tokens": N / (N + 1), "none": N}[divisor]
    c = sum(a * b for a, b in zip(λ, ω, strict=True)) + σ**2
    everything = fixed_points(task, Separate(3, divisor=divisor))[0]
    assert same(everything.untrained_loss, c)
    for λ_d, ω_d, m, g in zip(
        λ, ω, everything.coefficients, everything.gains, strict=True
    ):
        shared = (1 + 1 / N) * λ_d * ω_d + c / N
        assert same(m, ω_d / shared / s)
        assert same(g, (λ_d * ω_d) ** 2 / shared)
        assert not same(g, (λ_d * ω_d) ** 2 / (shared - σ**2 / N))
        assert divisor == "context" or not same(m, ω_d / shared)


def subsets(dimension, most):
    return list(
        chain.from_iterable(
            combinations(range(1, dimension + 1), k) for k in range(most, -1, -1)
        )
    )


@pytest.mark.parametrize(
    ("heads", "rank", "most"), [(1, 1, 1), (2, 1, 2), (1, 2, 2), (2, 2, 3), (5, 1, 3)]
)
def test_separate_heads_hold_as_many_directions_as_their_rank(heads, rank, most):
    points = list(fixed_points(symbolic_task(3), Separate(heads, rank)))
    assert [point.subset for point in points] == subsets(3, most)
    assert {
        len(point.coefficients) == len(point.gains) == len(point.subset)
        for point in points
    } == {True}


def test_merged_heads_learn_everything_or_nothing():
    task = symbolic_task(3, noise=True)
    minimum, start = fixed_points(task, Merged(2))
    form = effective_map(task, Merged(1))
    assert (minimum.subset, start.subset) == ((1, 2, 3), ())
    assert form.residual_correlation(minimum.M).applyfunc(sp.cancel) == sp.zeros(3)
    assert sp.zeros(3) == start.M
    assert start.loss == task.covariance.trace() + task.noise_variance


def test_losses_are_those_of_the_maps():
    task, model = (
        symbolic_task(3, teachers="diagonal", noise=True),
        Separate(3, divisor="tokens"),
    )
    form = effective_map(task, model)
    values = dict(
        zip(
            task.parameters,
            sp.sympify(["3", "2", "1", "1/2", "5", "1/3", "1/7"]),
            strict=True,
        )
    ) | {N: 4}
    points = list(fixed_points(task, model))
    for point in points:
        assert same(form.loss(point.M).subs(values), point.loss.subs(values))
        G = form.residual_correlation(point.M)
        assert (
            (G * point.M.T).subs(values) == (G.T * point.M).subs(values) == sp.zeros(3)
        )
        doubled = form.residual_correlation(2 * point.M) * point.M.T
        assert point.subset == () or doubled.subs(values) != sp.zeros(3)
    assert len({point.loss.subs(values) for point in points}) == len(points) == 8


def at_rest(flow, symbols, point, factor=1):
    """Whether the flow of all weights of the full model vanishes where head d holds direction d."""
    values = {}
    for array in symbols.values():
        values |= dict.fromkeys(array.flat, sp.Integer(0))
    for d in point.subset:
        values[symbols["value"][d - 1, -1]] = factor * point.M[d - 1, d - 1] / 2
        values[symbols["key"][d - 1, 0, d - 1]] = sp.Integer(2)
        values[symbols["query"][d - 1, 0, d - 1]] = sp.Integer(1)
    return all(is_zero(rhs.xreplace(values)) for rhs in flow.values())


def test_weights_rest_at_every_fixed_point():
    task, model = symbolic_task(2, teachers="diagonal", noise=True), Separate(2)
    points = list(fixed_points(task, model))
    flow = flow_equations(population_loss(task, model))
    symbols = weight_symbols(model, task.dimension)
    assert [at_rest(flow, symbols, point) for point in points] == [True] * 4
    doubled = [at_rest(flow, symbols, point, factor=2) for point in points]
    assert doubled == [False] * 3 + [True]


@settings(max_examples=10, deadline=None)
@given(
    st.integers(0, 10**6),
    st.sampled_from(["context", "tokens", "none"]),
    st.sampled_from([4, "1..3"]),
)
def test_the_numerical_fixed_points_are_these(seed, divisor, length):
    rng = np.random.default_rng(seed)
    λ, ω, noise = rng.uniform(0.2, 2, 3), rng.uniform(0.2, 2, 3), rng.uniform(0, 1)
    task = Task(
        λ, teacher_covariance=np.diag(ω), noise_variance=noise, context_length=length
    )
    model = Separate(2, divisor=divisor)
    theirs = {
        tuple(np.flatnonzero(np.diag(p.M))): p
        for p in numeric_fixed_points(task, model)
    }
    ours = {
        tuple(d - 1 for d in p.subset): p
        for p in fixed_points(rational_task(task), model)
    }
    assert set(ours) == set(theirs)
    for subset, point in ours.items():
        there = theirs[subset]
        assert float(point.loss) == pytest.approx(there.loss, rel=1e-12)
        assert np.allclose(
            np.array(point.M.tolist(), dtype=float), there.M, rtol=1e-12, atol=0
        )
        assert sorted(map(float, point.gains)) == pytest.approx(
            sorted(there.gains), rel=1e-12
        )
    wrong = population(
        Task(λ, teacher_covariance=np.diag(ω), context_length=length), model
    )
    assert (
        noise < 1e-3
        or min(abs(wrong.gains - sorted(map(float, ours[0, 1].gains))[-1])) > 1e-9
    )


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        (symbolic_task(2, teachers="general"), Separate(2), "share their eigenvectors"),
        (
            SymbolicTask(sp.Matrix([[2, 1], [1, 2]]), sp.eye(2), 0, (N,)),
            Separate(2),
            "share their eigenvectors",
        ),
        (
            SymbolicTask(sp.eye(2), sp.diag(1, 0), 0, (N,)),
            Separate(2),
            "vanishes on a direction",
        ),
        (symbolic_task(2, mixture=True), Separate(2), "fixed teacher"),
        (symbolic_task(1, mixture=True), Merged(1), "fixed teacher"),
        (symbolic_task(2), Separate(2, softmax=True), "softmax"),
        (symbolic_task(2), object(), "Merged and Separate models, not for object"),
    ],
)
def test_names_what_has_no_enumeration(task, model, message):
    with pytest.raises(ValueError, match=message):
        fixed_points(task, model)
