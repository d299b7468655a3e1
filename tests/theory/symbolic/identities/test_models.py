"""Identities of every model, proved from the definition: what the output is linear in, statistics, descent."""

import numpy as np
import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    flow_equations,
    model_output,
    moments,
    population_loss,
    symbolic_task,
    weight_symbols,
)
from attndyn.theory.symbolic.loss.population_losses import token_products
from attndyn.theory.symbolic.task import average_of

MODELS = {"merged": Merged(2), "separate": Separate(2), "rank two": Separate(1, rank=2)}
EVERY_MODEL = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def zero(expression):
    """Whether a rational expression vanishes identically, by the normal form of its numerator."""
    means = {each: sp.Dummy(str(each)) for each in expression.atoms(average_of)}
    numerator = sp.numer(sp.together(expression.xreplace(means)))
    symbols = sorted(numerator.free_symbols, key=str)
    return sp.Poly(numerator, *symbols).is_zero if symbols else numerator == 0


def tokens(dimension, length, name=""):
    """X (D+1, N+1) of symbols: context tokens (x, y) and the query (x_q, 0)."""
    X = sp.Matrix(
        [sp.symbols(f"X{name}{n}_1:{dimension + 2}") for n in range(length + 1)]
    ).T
    X[-1, -1] = 0
    return X


def written_out(expression, X):
    """An expression at the tokens X: the query is the last column, and averages are over the others."""
    prompt, length = Prompt(X.rows - 1), X.cols - 1
    names = (*prompt.x, prompt.y)

    def mean(monomial):
        each = (
            monomial.xreplace(dict(zip(names, X[:, n], strict=True)))
            for n in range(length)
        )
        return sp.Add(*each) / length

    query = dict(zip(prompt.query, X[:-1, -1], strict=True))
    return expression.replace(average_of, mean).xreplace(
        query | {N: sp.Integer(length)}
    )


def whole_matrices(model, dimension):
    """W^V and W^KQ (D+1, D+1) of every head. Rows of W^V above the last are extra symbols."""
    weights, size = weight_symbols(model, dimension), dimension + 1
    rows = np.array(sp.symbols(f"upper:{dimension * size}"), dtype=object).reshape(
        dimension, size
    )
    values = [sp.Matrix(np.vstack([rows, last])) for last in weights["value"]]
    if "key_query" in weights:
        return values, [sp.Matrix(matrix) for matrix in weights["key_query"]]
    pairs = zip(weights["key"], weights["query"], strict=True)
    return values, [sp.Matrix(key).T * sp.Matrix(query) for key, query in pairs]


def attention(X, values, key_queries, divisor, keys=None):
    """Last row, query column of Σ_h W^V_h X Xᵀ W^KQ_h X / divisor: Section 2.2 of arXiv 2501.16265."""
    keys = X if keys is None else keys
    heads = zip(values, key_queries, strict=True)
    return sp.Add(*((V * keys * keys.T * W * X)[-1, -1] for V, W in heads)) / divisor


@EVERY_MODEL
def test_the_output_is_the_attention_of_all_matrices(model):
    X = tokens(2, 2)
    values, key_queries = whole_matrices(model, 2)
    ours = written_out(model_output(model, 2), X)
    labelled = X.copy()
    labelled[-1, -1] = sp.Symbol("label")
    assert zero(attention(X, values, key_queries, 2) - ours)
    wrong = {
        "the query with its label": attention(labelled, values, key_queries, 2),
        "no attention to the query": attention(
            X, values, key_queries, 2, keys=X[:, :-1]
        ),
        "key-query transposed": attention(X, values, [W.T for W in key_queries], 2),
        "divided by N + 1": attention(X, values, key_queries, 3),
        "first row for the last": attention(
            X, [V[::-1, :] for V in values], key_queries, 2
        ),
    }
    assert [name for name, output in wrong.items() if zero(output - ours)] == []


def effective_tensor(model, dimension):
    """M = Σ_h a_h ⊗ B_h, (D+1, D+1, D)."""
    a, B = model.heads(weight_symbols(model, dimension))
    return np.einsum("hi,hjd->ijd", a, B)


@EVERY_MODEL
def test_the_output_is_linear_in_the_effective_tensor(model):
    G, query = token_products(N, 2), np.array(Prompt(2).query, dtype=object)
    F, M = np.multiply.outer(G, query), effective_tensor(model, 2)
    ours = model_output(model, 2)
    assert zero(ours - np.sum(M * F))
    assert zero(
        ours - np.sum(M.swapaxes(0, 1) * F)
    )  # F is symmetric in the indices of G
    wrong = {
        "x and query exchanged": np.concatenate(
            [M[:, :-1].swapaxes(1, 2), M[:, -1:]], axis=1
        ),
        "N + 1 for N": M * N / (N + 1),
        "value row off x": np.concatenate([0 * M[:-1], M[-1:]]),
        "key off y": np.concatenate([M[:, :-1], 0 * M[:, -1:]], axis=1),
    }
    assert [
        name for name, tensor in wrong.items() if zero(ours - np.sum(tensor * F))
    ] == []


def folded(M, indices):
    """M over the features with i ≤ j: a feature stands for both orders of its indices."""
    return sp.Matrix(
        [M[i, j, d] + (M[j, i, d] if i != j else 0) for i, j, d in indices]
    )


@pytest.mark.parametrize(
    ("model", "dimension"),
    [(Merged(2), 1), (Separate(2), 1), (Merged(1), 2), (Separate(1), 2)],
)
def test_the_loss_is_quadratic_in_the_effective_tensor(model, dimension):
    task = symbolic_task(dimension, noise=True, mixture=dimension == 1)
    exact, loss = moments(task), population_loss(task, model).polynomial
    tensor = effective_tensor(model, dimension)

    def holds(c, b, S, M):
        return loss == loss.ring.from_expr(c - 2 * (b.T * M)[0] + (M.T * S * M)[0])

    M = folded(tensor, exact.indices)
    assert holds(exact.c, exact.b, exact.S, M)
    wrong = {
        "b once": (exact.c, exact.b / 2, exact.S, M),
        "no off-diagonal S": (exact.c, exact.b, sp.diag(*exact.S.diagonal()), M),
        "N + 1 for N": (exact.c, exact.b, exact.S.subs(N, N + 1), M),
        "one order of the indices": (
            exact.c,
            exact.b,
            exact.S,
            sp.Matrix([tensor[i] for i in exact.indices]),
        ),
    }
    assert [name for name, claim in wrong.items() if holds(*claim)] == []
    assert len(exact.indices) == dimension * (dimension + 1) * (dimension + 2) // 2


def test_no_feature_can_be_spared():
    """S has full rank on the features i ≤ j, and not on all (D+1)² D."""
    exact = moments(symbolic_task(1, mixture=True))
    place = [
        exact.indices.index((min(i, j), max(i, j), 0))
        for i in range(2)
        for j in range(2)
    ]
    assert not zero(exact.S.det(method="berkowitz"))
    assert zero(exact.S.extract(place, place).det(method="berkowitz"))


@EVERY_MODEL
def test_a_finite_sample_has_sufficient_statistics(model):
    """Two sequences of two tokens, every number a symbol: the mean squared error is L(M) with sample means."""
    samples, labels = (
        [tokens(1, 2, name) for name in "ab"],
        sp.symbols("label_a label_b"),
    )
    outputs = [written_out(model_output(model, 1), X) for X in samples]
    indices = [(0, 0, 0), (0, 1, 0), (1, 1, 0)]
    F = [
        sp.Matrix([(X * X.T)[i, j] * X[d, -1] / 2 for i, j, d in indices])
        for X in samples
    ]
    error = mean((y - output) ** 2 for y, output in zip(labels, outputs, strict=True))
    c, b = (
        mean(y**2 for y in labels),
        mean(y * f for y, f in zip(labels, F, strict=True)),
    )
    S, M = mean(f * f.T for f in F), folded(effective_tensor(model, 1), indices)
    assert zero(error - c + 2 * (b.T * M)[0] - (M.T * S * M)[0])
    assert not zero(error - c + 2 * (b.T * M)[0] - (M.T * (mean(F) * mean(F).T) * M)[0])
    assert not zero(error - c + (b.T * M)[0] - (M.T * S * M)[0])


def mean(terms):
    first, second = terms
    return (first + second) / 2


def test_one_step_of_descent_takes_twice_its_rate_of_flow_time():
    loss, η = (
        population_loss(symbolic_task(2), Separate(1), "restricted"),
        sp.Symbol("eta"),
    )
    flow = flow_equations(loss)
    steps = {w: -η * loss.expression.diff(w) for w in loss.weights}
    assert all(zero(step - 2 * η * flow[w]) for w, step in steps.items())
    assert not any(zero(step - η * flow[w]) for w, step in steps.items())
