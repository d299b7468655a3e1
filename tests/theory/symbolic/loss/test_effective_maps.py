"""The derived loss against the numerical theory, exactly, and against Monte Carlo."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.theory import population
from attndyn.theory.symbolic import (
    N,
    SymbolicTask,
    effective_map,
    moments,
    population_loss,
    rational_task,
    symbolic_task,
    weight_symbols,
)

DIVISORS = {"context": N, "tokens": N + 1, "none": sp.Integer(1)}


class Tied:
    """One head whose key is its query: a model of a user's own."""

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]


def zero(matrix):
    return all(sp.cancel(entry) == 0 for entry in sp.Matrix([matrix]))


def closed_form(task, divisor):
    """c, B and A in the closed form of the literature, for any Λ, Ω, σ²."""
    Λ, Ω, s = task.covariance, task.teacher_covariance, N / DIVISORS[divisor]
    c, outer = (Ω * Λ).trace() + task.noise_variance, Λ * Ω * Λ
    return c, s * outer, s**2 * ((1 + 1 / N) * outer + c * Λ / N)


def wrong_forms(task, divisor):
    Λ, s = task.covariance, N / DIVISORS[divisor]
    c, B, A = closed_form(task, divisor)
    return {
        "trace term dropped": (c, B, A - s**2 * (c - task.noise_variance) * Λ / N),
        "noise left out of A": (c, B, A - s**2 * task.noise_variance * Λ / N),
        "noise left out of c": (c - task.noise_variance, B, A),
        "one plus 1/N dropped": (c, B, A - s**2 * Λ * task.teacher_covariance * Λ / N),
        "N + 1 for N": (c, B, A.subs(N, N + 1)),
        "teachers taken as white": (c, s * Λ * Λ, A),
        "Ω beside Λ": (c, s * Λ * Λ * task.teacher_covariance, A),
        "divisor twice": (c, B / s, A / s)
        if divisor != "context"
        else (c, B / 2, A / 4),
    }


@pytest.mark.parametrize("divisor", DIVISORS)
@pytest.mark.parametrize("dimension", [2, 3])
def test_the_closed_form_is_the_definition(divisor, dimension):
    task = symbolic_task(dimension, teachers="general", noise=True)
    form = effective_map(task, Separate(heads=1, divisor=divisor))
    derived = form.c, form.B, form.A

    def holds(claimed):
        return all(
            zero(ours - theirs) for ours, theirs in zip(derived, claimed, strict=True)
        )

    assert holds(closed_form(task, divisor))
    assert zero(form.Lambda - task.covariance)
    assert [
        name for name, wrong in wrong_forms(task, divisor).items() if holds(wrong)
    ] == []


@pytest.mark.parametrize(
    "model",
    [
        Merged(2),
        Separate(2),
        Separate(2, rank=2),
        Separate(1, divisor="tokens"),
        Tied(),
    ],
    ids=lambda model: type(model).__name__,
)
@pytest.mark.parametrize("mixture", [False, True])
def test_every_model_has_its_map(model, mixture):
    task = symbolic_task(2, teachers="general", noise=True, mixture=mixture)
    form, loss = effective_map(task, model), population_loss(task, model, "restricted")
    assert form.describes(loss)
    assert not form.describes(population_loss(task, model))
    for name, wrong in (
        ("M", 2 * form.M),
        ("c", form.c + 1),
        ("A", form.A.subs(N, N + 1)),
        ("B", form.B / N),
    ):
        assert not replace(form, **{name: wrong}).describes(loss)
    a, B = model.heads(weight_symbols(model, 2))
    assert zero(
        form.M
        - sum((sp.Matrix(a[h, -1] * B[h, :-1]) for h in range(len(a))), sp.zeros(2))
    )


def dyadic_task(seed, dimension, divisor):
    """A task whose numbers, and all that follows from them by products, floating point holds exactly."""
    rng = np.random.default_rng(seed)
    lower = np.tril(
        rng.integers(-2, 3, size=(2, dimension, dimension)), -1
    ) + 2 * np.eye(dimension)
    lengths = {
        "context": [1, 2, 4, 8, "1..2"],
        "tokens": [1, 3, 7, 15],
        "none": [1, 2, 3, 5, "1..2", "1..4"],
    }
    return Task(
        covariance=lower[0] @ lower[0].T / 4,
        teacher_covariance=lower[1] @ lower[1].T / 2,
        noise_variance=rng.integers(0, 8) / 8,
        context_length=lengths[divisor][rng.integers(len(lengths[divisor]))],
    )


def rational(array):
    return sp.Matrix(
        [[sp.Rational(float(entry)) for entry in row] for row in np.atleast_2d(array)]
    )


def differing(moments, form, M):
    """Which of the numbers differ, in exact arithmetic, at a map M of floating-point numbers."""
    exact = rational(M)
    pairs = {
        "c": (rational(moments.c)[0], form.c),
        "A": (rational(moments.A), form.A),
        "B": (rational(moments.B), form.B),
        "loss": (rational(moments.loss(M))[0], form.loss(exact)),
        "gradient": (
            rational(moments.gradient(M)),
            -2 * form.residual_correlation(exact),
        ),
    }
    return {name for name, (theirs, ours) in pairs.items() if theirs != ours}


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 3), st.sampled_from(sorted(DIVISORS)))
def test_the_numerical_population_is_exact(seed, dimension, divisor):
    task, model = (
        dyadic_task(seed, dimension, divisor),
        Separate(heads=1, divisor=divisor),
    )
    M = (
        np.random.default_rng(seed).integers(-4, 5, size=(dimension, dimension)) / 4
        + np.eye(dimension) / 8
    )
    theirs, ours = population(task, model), effective_map(rational_task(task), model)
    assert differing(theirs, ours, M) == set()
    one = task.covariance / 1024
    assert differing(replace(theirs, A=theirs.A + one), ours, M) == {
        "A",
        "loss",
        "gradient",
    }
    assert differing(replace(theirs, B=theirs.B + one), ours, M) >= {"B", "gradient"}
    other = population(Task(**{**task.to_dict(), "context_length": 9}), model)
    assert "A" in differing(other, ours, M)


def test_the_tasks_that_are_compared_do_not_commute():
    tasks = [dyadic_task(seed, 3, "context") for seed in range(20)]
    assert sum(not population(task, Merged(1)).is_aligned for task in tasks) >= 15
    assert {task.noise_variance > 0 for task in tasks} == {True, False}


MIXED = Task(
    covariance=[[1.0, 0.25], [0.25, 0.5]],
    teacher_covariance=[[1.5, -0.5], [-0.5, 1.0]],
    fixed_teacher=[1.0, -0.5],
    in_context_fraction=0.5,
    noise_variance=0.25,
    context_length=2,
)


@dataclass(frozen=True)
class Sample:
    """X Xᵀ without divisor (P, 3, 3), x_q (P, 2) and y_q (P,), drawn from the definition of the task."""

    products: np.ndarray
    query: np.ndarray
    label: np.ndarray


@pytest.fixture(scope="module")
def drawn(sequences=300_000):
    rng = np.random.default_rng(11)
    root, teacher_root = (
        np.linalg.cholesky(C) for C in (MIXED.covariance, MIXED.teacher_covariance)
    )
    w = rng.normal(size=(sequences, 2)) @ teacher_root.T
    w[rng.uniform(size=sequences) > MIXED.in_context_fraction] = MIXED.fixed_teacher
    x = rng.normal(size=(sequences, 3, 2)) @ root.T
    y = np.einsum("pnd,pd->pn", x, w) + np.sqrt(MIXED.noise_variance) * rng.normal(
        size=(sequences, 3)
    )
    tokens = np.concatenate([x, y[..., None]], axis=2)
    tokens[:, -1, -1] = 0
    return Sample(np.einsum("pni,pnj->pij", tokens, tokens), x[:, -1], y[:, -1])


def distance(values, claimed):
    """Largest distance in standard errors between means over the first axis and claimed numbers."""
    standard = values.std(axis=0) / np.sqrt(len(values))
    return float(np.max(np.abs(values.mean(axis=0) - claimed) / standard))


def numbers(expression):
    return np.array(sp.Matrix([expression]).tolist(), dtype=float)


def test_full_moments_of_a_mixture_agree_with_monte_carlo(drawn):
    exact = moments(rational_task(MIXED), divisor="tokens")
    i, j, d = np.array(exact.indices).T
    features = drawn.products[:, i, j] * drawn.query[:, d] / 3
    pairs = np.triu_indices(len(i))
    seconds = features[:, pairs[0]] * features[:, pairs[1]]
    firsts = drawn.label[:, None] * features
    assert exact.S.shape == (12, 12)
    assert distance(firsts, numbers(exact.b)[:, 0]) < 4
    assert distance(seconds, numbers(exact.S)[pairs]) < 4
    assert distance(drawn.label[:, None] ** 2, float(exact.c)) < 4
    right = rational_task(MIXED)
    for wrong in (
        moments(right, divisor="context"),
        moments(
            replace(right, fixed_teacher=-right.fixed_teacher, context_lengths=(3,)),
            divisor="tokens",
        ),
        moments(replace(right, in_context_fraction=sp.Integer(1)), divisor="tokens"),
    ):
        assert distance(seconds, numbers(wrong.S)[pairs]) > 6


@pytest.mark.parametrize(
    "model",
    [Merged(2), Separate(2, divisor="none"), Tied()],
    ids=lambda model: type(model).__name__,
)
def test_full_losses_of_a_mixture_agree_with_monte_carlo(drawn, model):
    symbols = weight_symbols(model, 2)
    rng = np.random.default_rng(5)
    values = {
        symbol: sp.Rational(int(rng.integers(-6, 7)), 8)
        for array in symbols.values()
        for symbol in array.flat
    }
    a, B = (
        np.array(part, dtype=float)
        for part in model.heads(
            {name: np.vectorize(values.get)(array) for name, array in symbols.items()}
        )
    )
    divisor = 1 if getattr(model, "divisor", "context") == "none" else 2

    def errors(products):
        output = np.einsum(
            "hi,pij,hjd,pd->p", a, products / divisor, B, drawn.query, optimize=True
        )
        return (drawn.label - output)[:, None] ** 2

    derived = float(
        population_loss(rational_task(MIXED), model).expression.subs(values)
    )
    restricted = float(
        population_loss(rational_task(MIXED), model, "restricted").expression.subs(
            values
        )
    )
    unqueried = drawn.products.copy()
    unqueried[:, :2, :2] -= np.einsum("pi,pj->pij", drawn.query, drawn.query)
    assert distance(errors(drawn.products), derived) < 4
    assert distance(errors(drawn.products), restricted) > 6
    assert distance(errors(unqueried), derived) > 6


def test_a_range_of_lengths_averages_the_loss():
    task = Task([1.0, 0.5], context_length="1..3", noise_variance=0.5)
    model = Separate(1, divisor="tokens")
    one = symbolic_task(2, noise=True)
    values = dict(
        zip(one.parameters, (1, sp.Rational(1, 2), 1 / sp.sqrt(2)), strict=True)
    )
    by_length = population_loss(one, model).expression.subs(values)
    ours = population_loss(rational_task(task), model).expression
    assert sp.expand(ours - sum(by_length.subs(N, n) for n in (1, 2, 3)) / 3) == 0
    assert sp.expand(ours - by_length.subs(N, 2)) != 0


class Softened(Tied):
    def heads(self, weights):
        value, B = super().heads(weights)
        return np.vectorize(sp.tanh)(value), B


class Flat(Tied):
    def heads(self, weights):
        return weights["value"][0], weights["key"]


class Named(Tied):
    def shapes(self, dimension):
        return {"w": (dimension,), **super().shapes(dimension)}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Merged(1, softmax=True), "softmax attention is not polynomial"),
        (Softened(), r"tanh\(value_1_[12]\) is none"),
        (Flat(), r"heads must give a \(H, D\+1\)"),
        (Named(), "makes the symbol w_1, which is taken"),
        (
            type("Halved", (Tied,), {"divisor": "half"})(),
            "divisor must be one of context, tokens, none",
        ),
    ],
)
def test_names_what_has_no_population_loss(model, message):
    with pytest.raises(ValueError, match=message):
        population_loss(symbolic_task(1), model)


def test_names_a_block_that_does_not_exist():
    with pytest.raises(ValueError, match="full or restricted, not 'half'"):
        population_loss(symbolic_task(1), Merged(1), "half")
    with pytest.raises(ValueError, match="full or restricted, not 'half'"):
        moments(symbolic_task(1), block="half")
    with pytest.raises(ValueError, match="divisor must be one of"):
        moments(symbolic_task(1), divisor="half")


def test_a_task_in_exact_numbers_is_the_task():
    ours = rational_task(MIXED)
    assert isinstance(ours, SymbolicTask)
    assert numbers(ours.covariance).tolist() == MIXED.covariance.tolist()
    assert (float(ours.noise_variance), float(ours.in_context_fraction)) == (0.25, 0.5)
    assert (
        rational_task(Task([0.1], context_length=2)).covariance[0]
        == sp.Rational(1, 10)
        != sp.Rational(0.1)
    )
