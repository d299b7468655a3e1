"""Outputs, the query's token, divisors and weighted context lengths, against loops over tokens that share no code."""

import itertools

import numpy as np
import pytest

from attndyn import Factorised, Merged, Separate, Task
from attndyn.simulate import (
    evaluate,
    flow,
    initial_weights,
    objective,
    predict,
    sample,
    statistics,
    train,
)
from attndyn.simulate.attention.objectives import batch_objective
from attndyn.simulate.data.batches import FreshPrompts
from attndyn.teachers import Gaussian

D = 2
KEY_SIZE = {Merged: lambda K: D + K, Separate: lambda K: 2, Factorised: lambda K: 3}
MODELS = {
    "merged": lambda **options: Merged(2, **options),
    "separate": lambda **options: Separate(2, 2, **options),
    "factorised": lambda **options: Factorised(2, 3, 4, **options),
}
CONVENTIONS = [
    {"divisor": "context"},
    {"divisor": "tokens", "query_token": False},
    {"divisor": 1.7, "score_divisor": "sqrt_key"},
    {"softmax": True, "query_token": False, "score_divisor": "sqrt_key"},
    {"softmax": True, "divisor": "tokens"},
    {"softmax": True, "divisor": "1/3", "query_token": False},
]


def whole_matrices(model, weights, K):
    """Value rows (H, K, D+K) and key-query matrices (H, D+K, D+K) as the layer has them."""
    if isinstance(model, Merged):
        return weights["value"].reshape(2, K, D + K), weights["key_query"]
    key_query = np.einsum("hri,hrj->hij", weights["key"], weights["query"])
    if isinstance(model, Factorised):
        return np.einsum("hke,hei->hki", weights["output"], weights["value"]), key_query
    return weights["value"].reshape(2, K, D + K), key_query


def output_of_prompt(model, weights, rows, K, n):
    """ŷ (K,) of one prompt, token by token, as the docstring of models/protocol.py states it."""
    value, key_query = whole_matrices(model, weights, K)
    query = np.concatenate([rows[n][:D], np.zeros(K)])
    tokens = [rows[m] for m in range(n)] + ([query] if model.query_token else [])
    if not tokens:
        return np.zeros(K)
    name = model.divisor
    if name is None:
        name = "none" if model.softmax else "context"
    divisor = {"context": max(n, 1), "tokens": len(tokens), "none": 1}.get(name)
    if divisor is None:
        divisor = 1 / 3 if name == "1/3" else float(name)
    root = np.sqrt(KEY_SIZE[type(model)](K)) if model.score_divisor != 1 else 1.0
    total = np.zeros(K)
    for head in range(2):
        scores = [token @ key_query[head] @ query / root for token in tokens]
        if model.softmax:
            exponentials = np.exp(scores)
            scores = exponentials / exponentials.sum()
        for token, score in zip(tokens, scores, strict=True):
            total += value[head] @ token * score / divisor
    return total


def loss_by_loops(model, weights, data, K):
    total = 0.0
    for n, weight in zip(data.context_lengths, data.context_weights, strict=True):
        for rows, targets in zip(data.tokens, data.targets, strict=True):
            error = output_of_prompt(model, weights, rows, K, n) - targets[n]
            total += weight * np.sum(error**2) / data.sequences
    return total


def case(kind, K, options, seed=0):
    teachers = Gaussian(np.eye(D * K).reshape(K, D, K, D)) if K > 1 else None
    task = Task(
        [2, 1],
        context_length={0: 1, 2: 3, 4: 2},
        teachers=teachers,
        noise_variance=0.3,
        query_noise_variance=0.1,
    )
    model = MODELS[kind](outputs=K, **options)
    weights = initial_weights(model, task, 0.7, seed, scheme="gaussian")
    return model, sample(task, 5, seed), weights


CASES = list(itertools.product(MODELS, (1, 3), range(len(CONVENTIONS))))


@pytest.mark.parametrize(("kind", "K", "index"), CASES)
def test_loss_gradients_and_outputs_are_those_of_loops(kind, K, index):
    model, data, weights = case(kind, K, CONVENTIONS[index])
    loss, gradients = objective(model, data)(weights)
    assert loss == pytest.approx(loss_by_loops(model, weights, data, K), rel=1e-12)
    for n in (0, 2, 4):
        expected = [
            output_of_prompt(model, weights, rows, K, n) for rows in data.tokens
        ]
        found = predict(model, weights, data, n).reshape(-1, K)
        np.testing.assert_allclose(found, expected, atol=1e-12)
    rng = np.random.default_rng(1)
    for name, value in weights.items():
        direction = rng.normal(size=value.shape)
        sides = [
            loss_by_loops(model, weights | {name: value + h * direction}, data, K)
            for h in (1e-5, -1e-5)
        ]
        slope = (sides[0] - sides[1]) / 2e-5
        assert np.vdot(gradients[name], direction) == pytest.approx(
            slope, rel=1e-6, abs=1e-8
        )


@pytest.mark.parametrize("index", range(len(CONVENTIONS)))
def test_the_loops_tell_conventions_apart(index):
    """Control: the loss of each convention is not that of another."""
    model, data, weights = case("separate", 1, CONVENTIONS[index])
    expected = loss_by_loops(model, weights, data, 1)
    for other, options in enumerate(CONVENTIONS):
        if other != index:
            wrong = loss_by_loops(MODELS["separate"](**options), weights, data, 1)
            assert abs(wrong - expected) > 1e-6


def test_a_batch_is_evaluated_as_data_are():
    task = Task([2, 1], context_length="0..4", noise_variance=0.1)
    model = Factorised(2, softmax=True, query_token=False, score_divisor="sqrt_key")
    batches = FreshPrompts(task, batch=7, seed=3)
    weights = initial_weights(model, task, 0.5)
    tokens, targets = batches.at(5)
    total = 0.0
    for n in range(5):
        outputs = predict(model, weights, tokens, n)
        total += np.mean((outputs - targets[:, n, 0]) ** 2) / 5
    assert batch_objective(model, batches)(weights, 5)[0] == pytest.approx(total)


def test_another_number_of_outputs_is_refused():
    task = Task([2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=3)
    message = r"the task has 2 outputs and the model 1: Merged\(…, outputs=2\)"
    with pytest.raises(ValueError, match=message):
        initial_weights(Merged(2), task, 0.1)
    with pytest.raises(ValueError, match=message):
        objective(Merged(2), sample(task, 5))


TASK = Task([2, 1], context_length=4)
DATA, MODEL = sample(TASK, 5), Separate(2)
START = initial_weights(MODEL, TASK, 0.1)
STATS = statistics(DATA, MODEL)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: objective(DATA, MODEL), "objective.*: got Prompts, then Separate"),
        (lambda: objective(MODEL, START), "objective.*: got Separate, then dict"),
        (lambda: objective(MODEL, TASK), "a task has no end of prompts"),
        (lambda: evaluate(DATA, MODEL, START), "got Prompts, then Separate"),
        (lambda: evaluate(MODEL, START, DATA), "got Separate, then dict"),
        (lambda: predict(MODEL, DATA, START), "Separate, then Prompts, then dict"),
        (lambda: predict(START, MODEL, DATA), "dict, then Separate, then Prompts"),
        (lambda: predict(MODEL, START, TASK), "Separate, then dict, then Task"),
        (lambda: predict(MODEL, START, STATS), "Separate, then dict, then Stat"),
        (lambda: statistics(MODEL, DATA), "got Separate, then Prompts"),
        (lambda: statistics(TASK, MODEL), "got Task, then Separate"),
        (
            lambda: flow(DATA, MODEL, START, flow_time=[0, 1]),
            "got Prompts, then Separate",
        ),
        (lambda: initial_weights(TASK, MODEL, 0.1), "got Task, then Separate"),
        (
            lambda: train(DATA, MODEL, START, learning_rate=0.1, steps=1),
            r"train\(model, source, start\): got Prompts, then Separate",
        ),
    ],
)
def test_arguments_in_another_order_are_answered_with_the_call(call, message):
    with pytest.raises(TypeError, match=message):
        call()


def test_predictions_refuse_data_of_other_outputs_and_odd_lengths():
    weights = initial_weights(MODEL, Task([2, 1, 1], context_length=4), 0.1)
    data = sample(
        Task([1, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=4), 3
    )
    # Control: tokens of two labels have the width of one label and x of dimension 3.
    assert predict(MODEL, weights, data.tokens).shape == (3,)
    with pytest.raises(ValueError, match="the data have 2 outputs and the model 1"):
        predict(MODEL, weights, data)
    for length in (-1, 5, True, 2.0):
        with pytest.raises(ValueError, match=r"context_length must lie in 0 … 4"):
            predict(MODEL, START, DATA, length)
