"""Merged attention on its restricted block is a two-layer linear network on cubic features, step by step."""

import re

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Task
from attndyn.simulate import (
    initial_weights,
    network_features,
    network_weights,
    predict,
    prompts_from_tokens,
    sample,
    statistics,
    train,
    train_convolutional,
    train_network,
)

TASK = Task([3, 2, 1], trace=1.0, context_length=6, noise_variance=0.1)


@pytest.mark.parametrize("divisor", ["context", "tokens", "none"])
def test_the_two_train_alike(divisor):
    model, data = Merged(heads=4, divisor=divisor), sample(TASK, 300)
    start = initial_weights(model, TASK, 0.2, scheme="restricted")
    rule = {
        "learning_rate": 0.002 if divisor == "none" else 0.05,
        "steps": 400,
        "record": 1,
    }
    attention = train(model, statistics(data, model, "restricted"), start, **rule)
    network = train_network(
        *network_features(data, model), network_weights(start), **rule
    )
    np.testing.assert_allclose(network.loss, attention.loss, rtol=1e-12)
    np.testing.assert_allclose(
        network.gradient_norm, attention.gradient_norm, rtol=1e-9
    )
    as_network = network_weights(attention.weights)
    for name in ("hidden", "output"):
        np.testing.assert_allclose(
            network.weights[name], as_network[name], rtol=1e-10, atol=1e-12
        )
    assert attention.loss[-1] < 0.9 * attention.loss[0]
    full = train(model, statistics(data, model), start, **rule)  # control: all weights
    assert np.max(np.abs(full.loss / network.loss - 1)) > 1e-4


def test_the_two_are_one_function():
    model, tokens = Merged(heads=2), sample(TASK, 20).tokens
    weights = initial_weights(model, TASK, 1.0, scheme="restricted")
    network, (z, labels) = (
        network_weights(weights),
        network_features(prompts_from_tokens(tokens), model),
    )
    np.testing.assert_allclose(
        z @ network["hidden"].T @ network["output"],
        predict(model, model.heads(weights), tokens),
        rtol=1e-12,
    )
    assert np.array_equal(labels, tokens[:, -1, -1])
    outside = initial_weights(
        model, TASK, 1.0, scheme="gaussian"
    )  # control: weights outside the block
    wrong = (
        z @ network_weights(outside)["hidden"].T @ network_weights(outside)["output"]
    )
    assert not np.allclose(
        wrong, predict(model, model.heads(outside), tokens), rtol=0.1
    )


@settings(max_examples=15, deadline=None)
@forall(st.integers(1, 4), st.integers(1, 7), st.integers(0, 99))
def test_features_by_the_definition(dimension, length, seed):
    tokens = np.random.default_rng(seed).normal(size=(3, length + 1, dimension + 1))
    z, labels = network_features(prompts_from_tokens(tokens), Merged(heads=1))
    for sequence, feature in zip(tokens, z, strict=True):
        x, y = sequence[:, :-1], sequence[:, -1]
        total = sum(np.outer(y[n] * x[n], x[-1]) for n in range(length))
        np.testing.assert_allclose(
            feature, total.ravel() / length, rtol=1e-11, atol=1e-13
        )
    assert np.array_equal(labels, tokens[:, -1, -1])


def test_a_shorter_context_takes_the_first_tokens():
    tokens = sample(TASK, 5).tokens
    z, labels = network_features(
        prompts_from_tokens(tokens, context_lengths=(3,)), Merged(heads=1)
    )
    expected, _ = network_features(prompts_from_tokens(tokens[:, :4]), Merged(heads=1))
    np.testing.assert_allclose(z, expected, rtol=1e-14)
    assert np.array_equal(labels, tokens[:, 3, -1])


def test_gradients_agree_with_finite_differences():
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(30, 4)), rng.normal(size=30)
    start = {"hidden": rng.normal(size=(2, 4)), "output": rng.normal(size=2)}

    def loss(hidden, output):
        return np.mean((z @ hidden.T @ output - y) ** 2)

    rate = 1e-3
    run = train_network(z, y, start, learning_rate=rate, steps=1)
    assert run.loss[0] == pytest.approx(loss(**start), rel=1e-13)
    for name, value in start.items():
        for index in np.ndindex(value.shape):
            up, down = (
                {key: array.copy() for key, array in start.items()} for _ in range(2)
            )
            up[name][index] += 1e-5
            down[name][index] -= 1e-5
            slope = (loss(**up) - loss(**down)) / 2e-5
            assert (value[index] - run.final[name][index]) / rate == pytest.approx(
                slope, rel=1e-6, abs=1e-8
            )
            assert (value[index] - run.final[name][index]) / rate != pytest.approx(
                slope / 2, rel=1e-2
            )  # control


def test_a_network_learns_what_it_can():
    """With enough weights the loss goes to that of least squares."""
    rng = np.random.default_rng(0)
    z = rng.normal(size=(50, 3))
    y = z @ [1.0, -0.5, 0.2] + 0.1 * rng.normal(size=50)
    _, residual, *_ = np.linalg.lstsq(z, y)
    start = {
        "hidden": 0.1 * rng.normal(size=(2, 3)),
        "output": 0.1 * rng.normal(size=2),
    }
    run = train_network(z, y, start, learning_rate=0.05, steps=1000)
    assert run.loss[-1] == pytest.approx(float(residual[0]) / 50, rel=1e-9)
    assert run.loss[30] > 1.001 * run.loss[-1]  # control


START = {"hidden": np.ones((2, 3)), "output": np.ones(2)}
BAD = {
    "cubic features need one context length": lambda: network_features(
        sample(Task([2, 1], context_length="1..3"), 4), Merged(heads=1)
    ),
    "softmax attention has no divisor": lambda: network_features(
        sample(TASK, 4), Merged(heads=1, softmax=True)
    ),
    "features must be (P, K) and labels (P,), not (5, 3) and (4,)": lambda: fit(
        np.ones((5, 3)), np.ones(4)
    ),
    "features must be (P, K) and labels (P,), not (5,) and (5,)": lambda: fit(
        np.ones(5), np.ones(5)
    ),
    "start must hold hidden and output, not value": lambda: fit(
        np.ones((5, 3)), np.ones(5), {"value": [1]}
    ),
    "hidden must be (H, 4) and output (H,), not (2, 3) and (2,)": lambda: fit(
        np.ones((5, 4)), np.ones(5)
    ),
}


def fit(z, y, start=START):
    return train_network(z, y, start, learning_rate=0.1, steps=1)


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BAD[message]()
    assert "\n" not in str(error.value)


def test_the_slopes_of_the_convolutional_networks_are_those_of_their_loss():
    rng = np.random.default_rng(3)
    z, y = rng.standard_normal((20, 9)), rng.standard_normal(20)
    start = {
        "filter": rng.standard_normal((2, 3)),
        "columns": rng.standard_normal((2, 3)),
    }
    start["output"] = rng.standard_normal(2)
    rate, step = 1e-6, 1e-6

    def loss(weights):
        return train_convolutional(z, y, weights, learning_rate=1e-12, steps=1).loss[0]

    moved = train_convolutional(z, y, start, learning_rate=rate, steps=1).final
    for name, value in start.items():
        for place in np.ndindex(value.shape):
            sides = []
            for sign in (1, -1):
                shifted = {key: each.copy() for key, each in start.items()}
                shifted[name][place] += sign * step
                sides.append(loss(shifted))
            slope = (sides[0] - sides[1]) / (2 * step)
            assert (value[place] - moved[name][place]) / rate == pytest.approx(
                slope, rel=1e-5, abs=1e-6
            )


@pytest.mark.parametrize(
    ("features", "changes", "message"),
    [
        (np.ones((4, 3)), {}, r"features must be \(P, D²\)"),
        (
            np.ones((4, 4)),
            {"output": np.ones((2, 1))},
            "start must hold filter and columns",
        ),
        (
            np.ones((4, 4)),
            {"filter": np.ones((2, 3))},
            "start must hold filter and columns",
        ),
    ],
)
def test_mistakes_in_convolutional_networks_are_named(features, changes, message):
    start = {
        "filter": np.ones((2, 2)),
        "columns": np.ones((2, 2)),
        "output": np.ones(2),
    } | changes
    with pytest.raises(ValueError, match=message):
        train_convolutional(features, np.ones(4), start, learning_rate=0.1, steps=1)
