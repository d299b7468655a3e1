"""Exact expectations against hand-known moments, expansion into independent variables, and Monte Carlo."""

from functools import cache
from itertools import product

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Task
from attndyn.theory.symbolic import (
    N,
    Prompt,
    SymbolicTask,
    average,
    expectation,
    rational_task,
    symbolic_task,
)

ONE, TWO = Prompt(1), Prompt(2)
λ, σ, p = (sp.Symbol(name, positive=True) for name in ("lambda_1", "sigma", "p"))


def same(expression, expected):
    return sp.cancel(expression - expected) == 0


@pytest.mark.parametrize("order", range(7))
def test_powers_of_one_average_are_moments_of_chi_square(order):
    ours = expectation(average(ONE.x[0] ** 2) ** order, symbolic_task(1))
    known = sp.prod([λ * (N + 2 * j) / N for j in range(order)])
    assert same(ours, known)
    assert order < 2 or not same(ours, λ**order)
    assert order < 2 or not same(ours, known.subs(N, N + 1))


def test_a_fourth_moment_of_the_label_and_of_the_teacher():
    task = symbolic_task(1, teachers="diagonal", noise=True, mixture=True)
    omega, w0, fraction = (
        next(s for s in task.parameters if s.name == name)
        for name in ("omega_1", "w0_1", "p")
    )
    assert same(
        expectation(ONE.teacher[0] ** 4, task),
        3 * fraction * omega**2 + (1 - fraction) * w0**4,
    )
    given_w = λ * ONE.teacher[0] ** 2 + σ**2
    ours = expectation(average(ONE.y**2) ** 2, task)
    assert same(ours, expectation(given_w**2, task) * (N + 2) / N)
    assert not same(ours, expectation(given_w, task) ** 2 * (N + 2) / N)


def test_two_averages_are_those_of_wishart_matrices():
    entries = [
        [sp.Symbol(f"L{min(i, j)}{max(i, j)}") for j in range(2)] for i in range(2)
    ]
    Λ = sp.Matrix(entries)
    task = SymbolicTask(Λ, sp.eye(2), sp.Integer(0), (N,))
    for i, j, k, m in product(range(2), repeat=4):
        ours = expectation(
            average(TWO.x[i] * TWO.x[j]) * average(TWO.x[k] * TWO.x[m]), task
        )
        paired = Λ[i, k] * Λ[j, m] + Λ[i, m] * Λ[j, k]
        assert same(ours, Λ[i, j] * Λ[k, m] + paired / N)
        assert not same(ours, Λ[i, j] * Λ[k, m] + paired)


def test_the_query_has_the_law_of_a_token_and_is_independent_of_the_context():
    task = symbolic_task(2, teachers="general", noise=True)
    once = task.context_lengths == (N,)
    (x1, x2), y = TWO.x, TWO.y
    (q1, q2), label = TWO.query, TWO.label
    assert once
    for token, query in (
        (x1 * y, q1 * label),
        (x1**2 * x2**2, q1**2 * q2**2),
        (y**4, label**4),
    ):
        assert same(expectation(average(token), task), expectation(query, task))
    Ω = task.teacher_covariance
    λs = task.covariance
    ours = expectation(average(x1 * y) * q2 * label, task)
    assert same(ours, λs[0, 0] * λs[1, 1] * Ω[0, 1])
    assert not same(
        ours, expectation(average(x1 * y), task) * expectation(q2 * label, task)
    )


def test_terms_that_cancel_where_every_average_is_one_keep_their_variables():
    w, x, y = TWO.teacher[0], TWO.x[0], TWO.y
    difference = w * average(x * y) - w * average(x) * average(y)
    task = symbolic_task(2)
    apart = expectation(w * average(x * y), task) - expectation(
        w * average(x) * average(y), task
    )
    assert sp.simplify(expectation(difference, task) - apart) == 0
    assert apart != 0


def test_is_linear_and_keeps_constants():
    a, b = sp.symbols("a b")
    task = symbolic_task(2)
    whole = expectation(
        a * average(TWO.y * TWO.x[0]) * TWO.teacher[0]
        + b**2 * TWO.query[1] ** 2
        + 3 / N,
        task,
    )
    λ1, λ2 = task.parameters
    assert same(whole, a * λ1 + b**2 * λ2 + 3 / N)
    assert expectation(sp.Integer(0), task) == 0
    assert expectation(TWO.query[0] * average(TWO.y), task) == 0
    assert average(2 * TWO.y + a) == 2 * average(TWO.y) + a


def even_moment(power):
    """E z^power of a standard normal number."""
    return 0 if power % 2 else sp.factorial2(power - 1)


ROOTS = sp.Matrix([[2, 0], [1, 1]]), sp.Matrix([[1, 0], [-1, 3]]), sp.Rational(1, 2)
NOT_COMMUTING = SymbolicTask(
    ROOTS[0] * ROOTS[0].T, ROOTS[1] * ROOTS[1].T, ROOTS[2] ** 2, (N,)
)


@cache
def independent_variables(length):
    """Tokens, query and teacher of `NOT_COMMUTING` in independent standard normal numbers, for a given length."""
    w = ROOTS[1] * sp.Matrix(sp.symbols("u1 u2"))
    tokens = []
    for n in range(length + 1):
        x = ROOTS[0] * sp.Matrix(sp.symbols(f"z{n}_1 z{n}_2"))
        tokens.append((*x, (w.T * x)[0] + ROOTS[2] * sp.Symbol(f"e{n}")))
    return tokens[:-1], tokens[-1], tuple(w)


def brute_force(averages, query, teacher, length):
    """The same expectation by expanding everything, at one length."""
    tokens, last, w = independent_variables(length)
    whole = sp.Mul(
        *(value**k for value, k in zip((*last, *w), (*query, *teacher), strict=True))
    )
    for powers in averages:
        terms = (
            sp.Mul(*(value**k for value, k in zip(token, powers, strict=True)))
            for token in tokens
        )
        whole *= sp.Add(*terms) / length
    expanded = (
        sp.Poly(whole, *sorted(whole.free_symbols, key=str))
        if whole.free_symbols
        else None
    )
    if expanded is None:
        return whole
    return sum(
        c * sp.prod(even_moment(k) for k in powers) for powers, c in expanded.terms()
    )


low = st.tuples(*[st.integers(0, 2)] * 3).filter(lambda powers: 1 <= sum(powers) <= 2)
monomials = st.tuples(
    st.lists(low, max_size=2),
    st.tuples(*[st.integers(0, 1)] * 3),
    st.tuples(*[st.integers(0, 1)] * 2),
)


def ours(averages, query, teacher):
    factors = [
        average(sp.Mul(*map(sp.Pow, (*TWO.x, TWO.y), powers))) for powers in averages
    ]
    rest = map(sp.Pow, (*TWO.query, TWO.label, *TWO.teacher), (*query, *teacher))
    return expectation(sp.Mul(*factors, *rest), NOT_COMMUTING)


@settings(max_examples=25, deadline=None)
@given(monomials, st.integers(1, 2))
def test_agrees_with_expansion_into_independent_variables(monomial, length):
    assert ours(*monomial).subs(N, length) == brute_force(*monomial, length)


@pytest.mark.parametrize("length", [1, 2, 3])
def test_expansion_at_the_orders_of_the_loss_and_above(length):
    xy, yy, xxyy = (1, 0, 1), (0, 0, 2), (1, 1, 2)
    for monomial in (
        ([xy, xy], (2, 0, 0), (0, 0)),
        ([yy, yy], (0, 0, 0), (0, 0)),
        ([xy, yy], (0, 1, 1), (0, 0)),
        ([xxyy, (2, 0, 0)], (0, 0, 0), (0, 2)),
        ([xy, (0, 1, 1), (1, 1, 0)], (0, 0, 0), (0, 0)),
    ):
        exact = ours(*monomial)
        assert exact.subs(N, length) == brute_force(*monomial, length) != 0
        assert exact.subs(N, length + 1) != brute_force(*monomial, length)


SAMPLED = Task(
    covariance=[[1.0, 0.25], [0.25, 0.5]],
    teacher_covariance=[[1.5, -0.5], [-0.5, 1.0]],
    fixed_teacher=[1.0, 0.5],
    in_context_fraction=0.75,
    noise_variance=0.25,
    context_length=3,
)
PRODUCTS = [
    average(TWO.x[0] * TWO.y) * average(TWO.x[1] * TWO.y),
    average(TWO.y**2),
    average(TWO.y**2) * TWO.query[1] * TWO.label,
    average(TWO.y**2) * average(TWO.x[0] * TWO.y) * TWO.teacher[1],
    average(TWO.x[0] ** 2 * TWO.y) ** 2 * TWO.query[0] ** 2,
    average(TWO.x[0] * TWO.x[1]) * average(TWO.x[1] * TWO.y) * TWO.label * TWO.query[0],
]


@cache
def sample(sequences=400_000):
    """Values of every product over a sample drawn from the definition."""
    rng, D = np.random.default_rng(7), 2
    root, teacher_root = (
        np.linalg.cholesky(C) for C in (SAMPLED.covariance, SAMPLED.teacher_covariance)
    )
    w = rng.normal(size=(sequences, D)) @ teacher_root.T
    w[rng.uniform(size=sequences) > SAMPLED.in_context_fraction] = SAMPLED.fixed_teacher
    x = rng.normal(size=(sequences, 4, D)) @ root.T
    y = np.einsum("pnd,pd->pn", x, w) + np.sqrt(SAMPLED.noise_variance) * rng.normal(
        size=(sequences, 4)
    )
    names = {**dict(zip(TWO.query, x[:, 3].T, strict=True)), TWO.label: y[:, 3]}
    names |= dict(zip(TWO.teacher, w.T, strict=True))
    token = {TWO.x[0]: x[:, :3, 0], TWO.x[1]: x[:, :3, 1], TWO.y: y[:, :3]}
    values = []
    for whole in PRODUCTS:
        value = np.ones(sequences)
        for factor, power in whole.as_powers_dict().items():
            if factor.is_Symbol:
                value = value * names[factor] ** int(power)
            else:
                inside = factor.args[0].as_powers_dict().items()
                value = value * np.prod(
                    [token[s] ** int(k) for s, k in inside], axis=0
                ).mean(axis=1) ** int(power)
        values.append(value)
    return np.array(values)


def distance(task):
    """Standard errors between the exact expectations and the sample, for every product."""
    exact = np.array([float(expectation(whole, task)) for whole in PRODUCTS])
    return np.abs(sample().mean(axis=1) - exact) / (
        sample().std(axis=1) / np.sqrt(sample().shape[1])
    )


def wrong_tasks():
    right = rational_task(SAMPLED)
    parts = (right.covariance, right.teacher_covariance, right.noise_variance)
    mixture = (right.fixed_teacher, right.in_context_fraction)
    return {
        "N + 1 for N": SymbolicTask(*parts, (4,), *mixture),
        "noise left out": SymbolicTask(*parts[:2], sp.Integer(0), (3,), *mixture),
        "teachers taken as white": SymbolicTask(
            parts[0], sp.eye(2), parts[2], (3,), *mixture
        ),
        "fixed teacher forgotten": SymbolicTask(*parts, (3,)),
        "fractions exchanged": SymbolicTask(*parts, (3,), mixture[0], 1 - mixture[1]),
        "covariance taken as diagonal": SymbolicTask(
            sp.diag(1, sp.Rational(1, 2)), *parts[1:], (3,), *mixture
        ),
    }


def test_agrees_with_monte_carlo_and_wrong_tasks_do_not():
    assert np.max(distance(rational_task(SAMPLED))) < 4
    assert {
        name: np.max(distance(task)) > 6 for name, task in wrong_tasks().items()
    } == dict.fromkeys(wrong_tasks(), True)


def test_a_range_of_lengths_is_the_mean_over_them():
    square = average(ONE.x[0] * ONE.y) ** 2 / (N + 1)
    task = rational_task(Task([2.0], context_length="1..3"))
    each = [expectation(square, symbolic_task(1)).subs({N: n, λ: 2}) for n in (1, 2, 3)]
    assert (
        expectation(square, task)
        == sum(each) / 3
        != expectation(square, symbolic_task(1)).subs({N: 2, λ: 2})
    )


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        (sp.exp(TWO.query[0]), "exp\\(x_q1\\) is none"),
        (
            sp.sqrt(average(TWO.y**2)) * TWO.query[0],
            "sqrt\\(average\\(y\\*\\*2\\)\\) is none",
        ),
        (1 / sp.Symbol("k") + TWO.label, "1/k is none"),
        (TWO.x[0], "x_1 stands outside every average"),
        (Prompt(3).query[2], "x_q3 is beyond dimension 2"),
        (average(Prompt(3).x[2] ** 2), "x_3.* no monomial"),
    ],
)
def test_names_what_has_no_expectation(expression, message):
    with pytest.raises(ValueError, match=message):
        expectation(expression, symbolic_task(2))


def test_names_what_cannot_be_averaged():
    with pytest.raises(ValueError, match="x_q1 is no variable of a token"):
        average(TWO.query[0] * TWO.y)
    with pytest.raises(ValueError, match="only a polynomial in x_d and y"):
        average(sp.exp(TWO.y))
    with pytest.raises(ValueError, match="only a polynomial in x_d and y"):
        average(average(TWO.y) * TWO.y)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (sp.Matrix([[1, 2], [3, 4]]), sp.eye(2), 0, (N,)),
            "covariance must be a symmetric",
        ),
        (
            (sp.eye(2), sp.eye(3), 0, (N,)),
            "teacher_covariance must be a symmetric 2 × 2",
        ),
        ((sp.eye(2), sp.eye(2), 0, (0,)), "not all of them 0"),
        ((sp.eye(2), sp.eye(2), 0, (-1, 2)), "whole numbers from 0"),
        (
            (sp.eye(2), sp.eye(2), 0, (1, 2), None, 1, (sp.Rational(1, 2),)),
            "a positive number for each",
        ),
        (
            (sp.eye(2), sp.eye(2), 0, (1, 2), None, 1, (1, 1)),
            "add up to 1",
        ),
        ((sp.eye(2), sp.eye(2), 0, (N,), sp.eye(2)), "2 × 1"),
    ],
)
def test_refuses_tasks_that_do_not_fit(arguments, message):
    with pytest.raises(ValueError, match=message):
        SymbolicTask(*arguments)


def test_refuses_tasks_that_are_not_polynomial_or_unknown():
    root = SymbolicTask(sp.eye(1), sp.Matrix([[1 / λ]]), 0, (N,))
    with pytest.raises(
        ValueError, match="polynomials with rational coefficients, not 1/lambda_1"
    ):
        expectation(ONE.teacher[0] ** 2, root)
    with pytest.raises(ValueError, match="white, diagonal or general"):
        symbolic_task(2, teachers="other")
    with pytest.raises(ValueError, match="from 1 to 100 in symbols, not 0"):
        symbolic_task(0)


def test_text_is_never_evaluated():
    with pytest.raises(ValueError, match="__import__"):
        expectation("__import__('os').getcwd()", symbolic_task(1))
