"""Attention's conventions in symbols: the query's token, divisors, context lengths from 0, weights of lengths.

The full block is held to the definition, summed over the nodes of Gauss and Hermite for every random number of a
prompt: exact for the polynomials that occur. The restricted block is held to the moments of `theory.population`.
"""

import itertools
from typing import NamedTuple

import numpy as np
import pytest
import sympy as sp
from numpy.polynomial.hermite_e import hermegauss

from attndyn import Factorised, Merged, Separate, Task
from attndyn.models.effective_map import effective_map
from attndyn.theory import fixed_points as numeric_fixed_points
from attndyn.theory import population
from attndyn.theory.symbolic import (
    N,
    Prompt,
    average,
    expectation,
    fixed_points,
    moments,
    output_loss,
    rational_task,
)
from attndyn.theory.symbolic.derivation import derive
from attndyn.theory.symbolic.task import length_shares

DIVISORS = {"context": None, "tokens": None, "none": 1, "2/3": 2 / 3, 2.5: 2.5}
"""Each with the number that it is, if it is one."""

LENGTHS = {0: 3, 1: 1}


class Tied:
    """Two heads of rank one whose query is their key, with scores over √2, the root of the size of a key."""

    score_divisor = "sqrt_key"

    def __init__(self, query_token, divisor):
        self.query_token, self.divisor = query_token, divisor

    def shapes(self, dimension):
        return {"value": (2, dimension + 1), "key": (2, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]


def models(query_token, divisor):
    """Models at D = 1, each with the number that its scores are divided by."""
    conventions = {"query_token": query_token, "divisor": divisor}
    return {
        Merged(1, score_divisor="sqrt(3)", **conventions): 3**0.5,
        Factorised(1, score_divisor="sqrt_key", **conventions): 2**0.5,
        Tied(**conventions): 2**0.5,
    }


class Grid(NamedTuple):
    """All combinations of nodes of a prompt with n tokens: X (P, 2, n), teacher, query and probability (P,)."""

    X: np.ndarray
    w: np.ndarray
    query: np.ndarray
    p: np.ndarray


def grid_of(task, n):
    """The 2n + 2 normal numbers of a prompt at D = 1, with seven nodes for each."""
    nodes, node_weights = hermegauss(7)
    chosen = np.array(list(itertools.product(range(7), repeat=2 * n + 2)))
    z = nodes[chosen]
    w = z[:, 0] * task.teacher_covariance[0, 0] ** 0.5
    x = z[:, 1 : 2 + n] * task.covariance[0, 0] ** 0.5  # the query's first
    y = w[:, None] * x[:, 1:] + z[:, 2 + n :] * task.noise_variance**0.5
    p = (node_weights / node_weights.sum())[chosen].prod(axis=1)
    return Grid(np.stack([x[:, 1:], y], axis=1), w, x[:, 0], p)


def by_definition(task, model, weights, query_token):
    """The loss for D = 1, score divisor apart, as the definition says."""
    a, B = model.heads(weights)
    loss = 0.0
    for n, share in zip(task.context_lengths, task.context_weights, strict=True):
        X, w, query, p = grid_of(task, n)
        if query_token:
            own = np.stack([query, 0 * query], axis=1)[:, :, None]
            X = np.concatenate([X, own], axis=2)
        named = {"context": max(n, 1), "tokens": max(n + query_token, 1)}
        divisor = named.get(model.divisor, DIVISORS[model.divisor])
        output = np.einsum("hi,pik,pjk,hjd,p->p", a, X, X, B, query) / divisor
        loss += share * (p @ (w * query - output) ** 2 + task.noise_variance)
    return loss


def at(derivation, weights):
    """The derived loss at weights in numbers."""
    values = {
        symbol: float(weights[name][index])
        for name, symbols in derivation.arrays.items()
        for index, symbol in np.ndenumerate(symbols)
    }
    return float(derivation.loss.expression.subs(values))


def random_weights(model, dimension):
    rng = np.random.default_rng(0)
    shapes = model.shapes(dimension)
    return {name: rng.normal(size=shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("query_token", [True, False])
@pytest.mark.parametrize("divisor", DIVISORS)
def test_the_loss_of_all_weights_is_that_of_the_definition(divisor, query_token):
    task = Task(
        ["1/2"],
        teacher_covariance=[[2]],
        noise_variance=0.3,
        context_length=LENGTHS,
    )
    for model, scores in models(query_token, divisor).items():
        weights = random_weights(model, 1)
        exact = at(derive(task, model), weights)
        divided = weights | {"value": weights["value"] / scores}
        theirs = by_definition(task, model, divided, query_token)
        assert exact == pytest.approx(theirs, rel=1e-12)
        # Control: the other convention is another loss.
        other = by_definition(task, model, divided, not query_token)
        assert abs(exact / other - 1) > 1e-6


@pytest.mark.parametrize("length", [4, "0..3", {0: 1, 2: 3}, [2, 5]])
@pytest.mark.parametrize("query_token", [True, False])
def test_the_restricted_loss_is_that_of_the_moments(length, query_token):
    task = Task(
        [2, 0.5],
        teacher_covariance=[[1, 0.2], [0.2, 2]],
        noise_variance=0.3,
        context_length=length,
    )
    for divisor in DIVISORS:
        model = Merged(1, query_token=query_token, divisor=divisor)
        weights = random_weights(model, 2)
        weights["value"][:, :-1] = weights["key_query"][:, -1] = 0
        exact = at(derive(task, model, "restricted"), weights)
        M = effective_map(model, weights)
        assert exact == pytest.approx(float(population(task, model).loss(M)), rel=1e-12)
        # Control: other shares of the lengths.
        if isinstance(length, dict):
            equal = Task(task.eigenvalues, context_length=list(length))
            assert abs(float(population(equal, model).loss(M)) / exact - 1) > 1e-3


@pytest.mark.parametrize("length", [3, "0..3", {1: 1, 4: 2}])
def test_fixed_points_without_the_query_token_are_those_in_numbers(length):
    task = Task([2, 0.5], context_length=length, noise_variance=0.3)
    for conventions in ({"divisor": "tokens"}, {"divisor": 1.5}):
        model = Separate(2, query_token=False, **conventions)
        exact = sorted(
            float(point.loss) for point in fixed_points(rational_task(task), model)
        )
        theirs = [point.loss for point in numeric_fixed_points(task, model)]
        np.testing.assert_allclose(exact, theirs, rtol=1e-12)


def test_moments_without_context_hold_the_query_alone():
    λ = sp.Rational(1, 2)
    # Half of the prompts have no context: of G_xx x_q there is x_q³ left, over 1.
    (c, b, S), (_, b_one, S_one) = (
        (exact.c, exact.b, exact.S)
        for exact in (
            moments(rational_task(Task(["1/2"], context_length=length)))
            for length in ("0..1", 1)
        )
    )
    assert c == λ
    assert b == b_one / 2
    assert S[0, 0] - S_one[0, 0] / 2 == 15 * λ**3 / 2
    assert S[1:, 1:] == S_one[1:, 1:] / 2


def test_an_output_of_ones_own_says_what_it_is_without_context():
    task = rational_task(Task([1], context_length="0..1"))
    prompt, m = Prompt(1), sp.Symbol("m")
    output = m * average(prompt.y * prompt.x[0]) * prompt.query[0]
    with pytest.raises(ValueError, match="no value without context"):
        output_loss(task, output, [m])
    with pytest.raises(ValueError, match="no value without context"):
        expectation(average(prompt.y), task)
    for wrong in (output, m * N, m * 0.12345678901234567):
        with pytest.raises(ValueError, match=r"without context there is|rounds"):
            output_loss(task, output, [m], without_context=wrong)
    loss = output_loss(task, output, [m], without_context=2 * m * prompt.query[0])
    # N = 1: 1 − 2m + E x⁴ m² E w²; N = 0: 1 + 4 m².
    assert sp.expand(loss.expression) == sp.expand(1 - m + (3 + 4) * m**2 / 2)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Merged(1, outputs=2), "the task has 1 output and the model 2"),
        (Merged(1, softmax=True), "softmax attention is not polynomial"),
        (Tied(True, 1 / 3), "rounds a number that exact work cannot know"),
        (Tied(True, -1), "a positive number, not -1"),
        (Tied(True, "rows"), "divisor must be one of"),
        (Tied(1, "none"), "query_token must be True or False"),
    ],
)
def test_models_without_exact_symbols_are_refused(model, message):
    with pytest.raises(ValueError, match=message):
        derive(Task([1], context_length=3), model)


def test_weights_of_lengths_that_nobody_knows_are_refused():
    with pytest.raises(ValueError, match="write the weights as whole numbers"):
        derive(Task([1], context_length={1: 1 / 3, 2: 1}), Merged(1))


def test_weights_of_lengths_that_are_written_as_quotients_are_exact():
    task = Task([1], context_length={1: "1/3", 2: 1})
    assert length_shares(task) == (sp.Rational(1, 4), sp.Rational(3, 4))
    assert derive(task, Merged(1))
