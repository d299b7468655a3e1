"""Four models of a user's own, all the way: derived, proved, solved, compiled and laid over their simulation."""

import numpy as np
import pytest
import sympy as sp
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp

from attndyn import Separate, Task
from attndyn.compare import overlay
from attndyn.compare.user.derived_time_courses import derived_time_course
from attndyn.simulate import flow, sample, statistics, train
from attndyn.theory.symbolic import (
    N,
    effective_map,
    output_loss,
    population_loss,
    rational_task,
    symbolic_task,
)
from attndyn.theory.symbolic.derivation import derive, derive_output
from attndyn.theory.symbolic.dynamics.polynomial_equilibria import equilibria
from attndyn.theory.symbolic.formulas.latex_printer import latex_equations
from attndyn.theory.symbolic.formulas.reading import read_equations
from attndyn.theory.symbolic.numerics import packed, parameter_values, to_numpy
from attndyn.theory.symbolic.statements.checking import check_statement
from attndyn.theory.symbolic.statements.statements import (
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedRate,
)

TASK = Task(eigenvalues=[1, 0.5], context_length=3)
LONGER = Task(eigenvalues=[1, 0.5], context_length=4)  # the control: N + 1 for N
SYMBOLIC = symbolic_task(2)
LAMBDAS = SYMBOLIC.parameters
TIMES = np.linspace(0, 10, 21)
SEEDS = range(8)


class Tied:
    """One head whose query is its key."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


class Diagonal:
    """Two merged heads whose key-query matrices are diagonal."""

    def shapes(self, dimension):
        return {"value": (2,), "u": (2, dimension)}

    def heads(self, weights):
        value, u = weights["value"], weights["u"]
        D = u.shape[1]
        return value[:, None] * np.eye(D + 1, dtype=int)[D], u[:, None, :] * np.eye(
            D + 1, D, dtype=int
        )


class Shared:
    """Two heads of rank one with keys and queries of their own, and one value."""

    def shapes(self, dimension):
        return {
            "value": (1, dimension + 1),
            "key": (2, dimension + 1),
            "query": (2, dimension),
        }

    def heads(self, weights):
        return weights["value"].repeat(2, axis=0), weights["key"][:, :, None] * weights[
            "query"
        ][:, None, :]


class Cubic:
    """One head a direction, which has its one weight as value, key and query."""

    def shapes(self, dimension):
        return {"cube": (dimension,)}

    def heads(self, weights):
        cube = weights["cube"]
        D = len(cube)
        B = np.einsum(
            "h,hi,hj->hij", cube**2, np.eye(D, D + 1, dtype=int), np.eye(D, dtype=int)
        )
        return cube[:, None] * np.eye(D + 1, dtype=int)[D], B


def of_tied(w):
    v, k = w["value"][0, -1], sp.Matrix(w["key"][0, :-1])
    return v * k * k.T, (2 * v**2 - k.dot(k),)


def of_diagonal(w):
    v, u = w["value"], [sp.diag(*row) for row in w["u"]]
    pairs = [(0, 0), (0, 1), (1, 1)]
    return v[0] * u[0] + v[1] * u[1], tuple(
        v[g] * v[h] - (u[g] * u[h]).trace() for g, h in pairs
    )


def of_shared(w):
    v, K, Q = w["value"][0, -1], sp.Matrix(w["key"][:, :-1]), sp.Matrix(w["query"])
    balance = K * K.T - Q * Q.T
    return v * K.T * Q, (
        v**2 - (K * K.T).trace(),
        balance[0, 0],
        balance[0, 1],
        balance[1, 1],
    )


def of_cubic(w):
    return sp.diag(*(c**3 for c in w["cube"])), ()


KINDS = {"tied": (Tied(), of_tied), "diagonal": (Diagonal(), of_diagonal)}
KINDS |= {"shared": (Shared(), of_shared), "cubic": (Cubic(), of_cubic)}
DERIVED = {
    name: derive(SYMBOLIC, model, "restricted") for name, (model, _) in KINDS.items()
}


def by_hand(name):
    """M and the conserved quantities of a model."""
    return KINDS[name][1](DERIVED[name].arrays)


def moments(length=N):
    """A and B of Zhang et al. 2025, in symbols."""
    Λ = SYMBOLIC.covariance
    return (Λ**2 * (length + 1) + Λ * Λ.trace()) / length, Λ**2


def stated_loss(M, length=N):
    A, B = moments(length)
    Λ = SYMBOLIC.covariance
    return Λ.trace() - 2 * (B * M).trace() + (Λ * M.T * A * M).trace()


# Proofs


@pytest.mark.parametrize("name", KINDS)
def test_loss_and_motion_are_those_of_the_map(name):
    derivation, (M, _) = DERIVED[name], by_hand(name)
    assert check_statement(StatedLoss(stated_loss(M)), derivation).holds
    wrong = check_statement(StatedLoss(stated_loss(M, N + 1)), derivation)
    assert wrong.counterexample.derived != wrong.counterexample.claimed
    A, B = moments()
    G = B - A * M * SYMBOLIC.covariance
    for weight in derivation.weights:
        rate = (M.diff(weight).T * G).trace()
        assert check_statement(StatedRate(weight, rate), derivation).holds
        assert (
            check_statement(StatedRate(weight, 2 * rate), derivation).level == "refuted"
        )


@pytest.mark.parametrize("name", KINDS)
def test_the_quadratic_invariants_are_those_known_and_no_others(name):
    derivation, (_, known) = DERIVED[name], by_hand(name)
    assert len(derivation.conserved(2)) == len(known)
    for quantity in (*known, *derivation.conserved(2)):
        assert check_statement(StatedInvariant(quantity), derivation).holds
    weight = derivation.weights[0]
    assert not check_statement(
        StatedInvariant(weight**2 + sum(known)), derivation
    ).holds


@pytest.mark.parametrize("name", ["tied", "diagonal", "cubic"])
def test_the_flow_in_latex_is_read_back_and_proved(name):
    derivation = DERIVED[name]
    symbols = [*derivation.weights, *derivation.parameters, N]
    written = latex_equations(derivation.flow, symbols)
    stated = read_equations(written, symbols, latex=True, rate=True)
    assert list(stated) == list(derivation.weights)
    assert all(
        check_statement(StatedRate(weight, rate), derivation).holds
        for weight, rate in stated.items()
    )
    wrong = read_equations(
        written.replace(r"\lambda_1^{2}", r"\lambda_2^{2}"),
        symbols,
        latex=True,
        rate=True,
    )
    assert not all(
        check_statement(StatedRate(weight, rate), derivation).holds
        for weight, rate in wrong.items()
    )


def test_a_shared_value_is_a_head_of_rank_two():
    separate = population_loss(SYMBOLIC, Separate(1, rank=2), "restricted").expression
    symbols = {str(symbol): symbol for symbol in DERIVED["shared"].weights}
    names = {
        weight: str(weight) for weight in separate.free_symbols if "_1_" in str(weight)
    }
    renamed = {
        w: symbols[n if n[0] == "v" else n.replace("_1_", "_", 1)]
        for w, n in names.items()
    }
    assert check_statement(
        StatedLoss(separate.xreplace(renamed)), DERIVED["shared"]
    ).holds
    swapped = {
        **renamed,
        **{w: renamed[w].subs(symbols["key_1_1"], symbols["key_1_2"]) for w in renamed},
    }
    assert not check_statement(
        StatedLoss(separate.xreplace(swapped)), DERIVED["shared"]
    ).holds


# Points of rest


def coefficient(d):
    """m_d of Zhang et al. 2025."""
    return N / (LAMBDAS[d] * (N + 1) + sum(LAMBDAS))


def test_one_diagonal_head_learns_everything_or_nothing():
    derivation = DERIVED["diagonal"]
    v, u = derivation.arrays["value"][0], derivation.arrays["u"][0]
    reduced = derivation.reduce({v: v, **{each: each for each in u}})
    assert reduced.invariant
    points = equilibria(reduced.equations, where=[v**2 - u[0] ** 2 - u[1] ** 2])
    assert len(points) == 3
    for point in points[1:]:
        assert all(
            sp.simplify(point[v] * point[u[d]] - coefficient(d)) == 0 for d in (0, 1)
        )
    assert all(
        check_statement(StatedFixedPoint(point), derivation).holds for point in points
    )


def test_a_shared_value_holds_two_directions():
    derivation, (v, k, q) = (
        DERIVED["shared"],
        sp.symbols("v kappa_1 kappa_2", real=True),
    )
    w = derivation.arrays
    ansatz = {w["value"][0, 2]: v}
    ansatz |= {
        w[name][d, d]: each
        for name in ("key", "query")
        for d, each in enumerate((k, q))
    }
    reduced = derivation.reduce(ansatz)
    assert reduced.invariant
    points = equilibria(reduced.equations, where=[v**2 - k**2 - q**2])
    assert sorted((point[k] != 0) + (point[q] != 0) for point in points) == [0] + 4 * [
        1
    ] + 4 * [2]
    both = next(point for point in points if 0 not in point.values())
    at = {weight: form.xreplace(both) for weight, form in ansatz.items()}
    assert check_statement(StatedFixedPoint(at), derivation).holds
    assert not check_statement(
        StatedFixedPoint({weight: -value for weight, value in at.items()}), derivation
    ).holds
    tilted = derivation.reduce(ansatz | {w["key"][1, 0]: q})
    assert not tilted.invariant


def test_cubic_weights_rest_at_every_subset():
    derivation = DERIVED["cubic"]
    points = derivation.equilibria()
    assert [
        {d for d in (0, 1) if point[derivation.weights[d]] != 0} for point in points
    ] == [
        set(),
        {1},
        {0},
        {0, 1},
    ]
    roots = [sp.cbrt(coefficient(d)) for d in (0, 1)]
    claim = dict(zip(derivation.weights, roots, strict=True))
    assert check_statement(StatedFixedPoint(claim), derivation).holds
    assert all(
        sp.simplify(points[3][weight] / value) == 1 for weight, value in claim.items()
    )
    wrong = {weight: value.subs(N, N + 1) for weight, value in claim.items()}
    assert len(check_statement(StatedFixedPoint(wrong), derivation).failing) == 2


# Numbers


def start_of(model):
    random = np.random.default_rng(5)
    arrays = {
        name: 0.4 + 0.2 * random.normal(size=shape)
        for name, shape in model.shapes(2).items()
    }
    if isinstance(model, (Tied, Shared)):
        arrays["value"][..., :-1] = 0
        arrays["key"][..., -1] = 0
    return arrays


@pytest.mark.parametrize("name", KINDS)
def test_the_compiled_flow_conserves_and_goes_through_solve_ivp(name):
    derivation, (M, known), start = (
        DERIVED[name],
        by_hand(name),
        start_of(KINDS[name][0]),
    )
    values = parameter_values(SYMBOLIC, TASK)
    y = packed(derivation, start)
    solution = solve_ivp(
        to_numpy(derivation, values), (0, 10), y, t_eval=TIMES, rtol=1e-9, atol=1e-12
    )
    course = derived_time_course(derivation, TASK, start, TIMES)
    np.testing.assert_allclose(course.amplitudes, solution.y.T, rtol=1e-6, atol=1e-8)
    ends = [
        dict(zip(derivation.weights, row, strict=True))
        for row in course.amplitudes[[0, -1]]
    ]
    for quantity in known:
        before, after = (float(quantity.subs(end)) for end in ends)
        assert after == pytest.approx(before, rel=1e-9, abs=1e-10)
    changed = [
        float(sum(weight**2 for weight in derivation.weights).subs(end)) for end in ends
    ]
    assert abs(changed[1] - changed[0]) > 0.1
    np.testing.assert_allclose(
        course.coefficients[-1],
        [float(M.subs(ends[1])[d, d]) for d in (0, 1)],
        rtol=1e-9,
    )


@pytest.mark.parametrize("name", KINDS)
def test_theory_lies_over_training_on_tokens(name):
    """Steps of half the size are half as far from flow on the statistics of the same prompts."""
    model, derivation = KINDS[name][0], DERIVED[name]
    start, data = start_of(model), sample(TASK, 2000, seed=1)
    stats = statistics(data, model)
    coarse, fine = (
        train(model, data, start, learning_rate=η, steps=round(1 / η))
        for η in (0.02, 0.01)
    )
    again = train(model, stats, start, learning_rate=0.01, steps=100)
    np.testing.assert_allclose(fine.loss, again.loss, rtol=1e-9)
    smooth = flow(model, stats, start, fine.flow_time[1:], rtol=1e-8).loss
    errors = (
        np.max(np.abs(coarse.loss[1:] - smooth[1::2][: len(coarse.loss) - 1])),
        np.max(np.abs(fine.loss[1:] - smooth)),
    )
    assert 1.7 < errors[0] / errors[1] < 2.4
    right, wrong = (
        derived_time_course(derivation, task, start, fine.flow_time)
        for task in (TASK, LONGER)
    )
    assert overlay(right, fine).l2_gap < 0.6 * overlay(wrong, fine).l2_gap
    drawn = overlay(right, fine).plot(Figure().add_subplot()).lines[1]
    assert np.array_equal(drawn.get_ydata(), right.loss)


@pytest.mark.parametrize("name", KINDS)
def test_the_gap_falls_with_the_root_of_the_number_of_prompts(name):
    """And that of N + 1 for N does not. Statistics stand for the tokens: the test above holds them equal."""
    model, derivation = KINDS[name][0], DERIVED[name]
    start = start_of(model)
    courses = [
        derived_time_course(derivation, task, start, TIMES) for task in (TASK, LONGER)
    ]
    gaps = np.array(
        [
            [gap_of(model, start, courses, P, seed) for seed in SEEDS]
            for P in (2000, 32_000)
        ]
    )
    (few, _), (many, wrong) = np.sqrt(np.mean(gaps**2, axis=1))
    assert 0.3 < np.log(few / many) / np.log(16) < 0.7
    assert wrong > 3 * many


def gap_of(model, start, courses, sequences, seed):
    """How far flow on a sample is from right and wrong courses."""
    stats = statistics(sample(TASK, sequences, seed=seed), model)
    run = flow(model, stats, start, TIMES, rtol=1e-7, method="RK45")
    return [overlay(course, run).l2_gap for course in courses]


@pytest.mark.parametrize(
    ("call", "right"),
    [
        (
            lambda: derive(Separate(1), SYMBOLIC),
            r"derive\(task, model, block\): got Separate",
        ),
        (
            lambda: population_loss(Separate(1), SYMBOLIC),
            r"population_loss\(task, model",
        ),
        (lambda: effective_map(Separate(1), SYMBOLIC), r"effective_map\(task, model\)"),
        (lambda: derive_output(sp.Symbol("m"), SYMBOLIC, []), r"derive_output\(task, "),
        (lambda: output_loss(sp.Symbol("m"), SYMBOLIC, []), r"output_loss\(task, "),
    ],
)
def test_says_the_order_of_arguments_where_they_are_exchanged(call, right):
    with pytest.raises(TypeError, match=right):
        call()


def test_a_task_in_numbers_is_taken_exactly():
    task = Task(eigenvalues=[0.4, "1/3"], context_length=3)
    exact = derive(rational_task(task), Separate(1), "restricted")
    assert derive(task, Separate(1), "restricted").flow == exact.flow
