"""Attention on tokens against its definition, written out in full; gradients by hand against two other ways."""

import re

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    initial_weights,
    objective,
    predict,
    prompts_from_tokens,
    sample,
    statistics,
    token_loss,
    train,
)
from attndyn.simulate.attention.forward import SLICE
from attndyn.simulate.attention.gradients import by_complex_step, pullback

N, D = 5, 3
TASK = Task([3, 2, 1], context_length=N, noise_variance=0.1)
MODELS = {
    "merged": Merged(heads=2),
    "merged, N+1": Merged(heads=1, divisor="tokens"),
    "merged, no divisor": Merged(heads=3, divisor="none"),
    "merged, softmax": Merged(heads=2, softmax=True),
    "rank one": Separate(heads=3),
    "rank two, N+1": Separate(heads=2, rank=2, divisor="tokens"),
    "rank above D": Separate(heads=2, rank=5, divisor="none"),
    "rank two, softmax": Separate(heads=2, rank=2, softmax=True),
}
each_model = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def key_query_matrices(weights):
    """W^KQ (H, D+1, D+1) of every head."""
    if "key_query" in weights:
        return weights["key_query"]
    return np.array(
        [
            key.T @ query
            for key, query in zip(weights["key"], weights["query"], strict=True)
        ]
    )


def full_attention(model, weights, sequence, n, variant=""):
    """ŷ_q by the definition: all rows and columns of Σ_h W^V X attention(Xᵀ W^KQ X), one sequence (N+1, D+1)."""
    X = sequence[: n + 1].T.copy()  # (D+1, n+1)
    if variant != "query's y unmasked":
        X[-1, -1] = 0.0
    output = np.zeros_like(X, dtype=np.result_type(X, *weights.values()))
    rng = np.random.default_rng(0)
    for last_row, W_KQ in zip(
        weights["value"], key_query_matrices(weights), strict=True
    ):
        W_V = np.vstack(
            [rng.normal(size=(len(X) - 1, len(X))), last_row]
        )  # the other rows never reach ŷ
        scores = X.T @ (W_KQ.T if variant == "keys and queries exchanged" else W_KQ) @ X
        if model.softmax:
            weight = np.exp(scores)
            axis = 1 if variant == "softmax over the queries" else 0
            attention = weight / weight.sum(axis=axis, keepdims=True)
        else:
            divisors = {"context": n, "tokens": n + 1, "none": 1}
            attention = (
                scores
                / divisors[{"other divisor": "tokens"}.get(variant, model.divisor)]
            )
        if variant == "query left out of the keys":
            attention = attention[:-1]
            output += W_V @ X[:, :-1] @ attention
        else:
            output += W_V @ X @ attention
    return output[-1, -1]


def definition_loss(model, weights, tokens, lengths, variant=""):
    """Mean over sequences and lengths of the squared error."""
    errors = [
        (full_attention(model, weights, sequence, n, variant) - sequence[n, -1]) ** 2
        for n in lengths
        for sequence in tokens
    ]
    if variant == "half the square":
        return 0.5 * np.mean(errors)
    return np.mean(errors)


@each_model
def test_predictions_are_the_definition_at_every_length(model):
    tokens, weights = (
        sample(TASK, 4).tokens,
        initial_weights(model, TASK, scale=0.7, seed=2, scheme="gaussian"),
    )
    for n in range(1, N + 1):
        expected = [full_attention(model, weights, sequence, n) for sequence in tokens]
        np.testing.assert_allclose(
            predict(model, model.heads(weights), tokens, n), expected, rtol=1e-12
        )
    np.testing.assert_array_equal(
        predict(model, model.heads(weights), tokens),
        predict(model, model.heads(weights), tokens, N),
    )


def wrong_definitions():
    """Every model with the wrong variants that mean something else for it."""
    for name, model in MODELS.items():
        own = ["softmax over the queries"] if model.softmax else ["other divisor"]
        for variant in [
            "query's y unmasked",
            "keys and queries exchanged",
            "query left out of the keys",
            *own,
        ]:
            if variant != "other divisor" or model.divisor != "tokens":
                yield pytest.param(model, variant, id=f"{name}: {variant}")


@pytest.mark.parametrize(("model", "variant"), [*wrong_definitions()])
def test_wrong_definitions_are_told_apart(model, variant):
    tokens, weights = (
        sample(TASK, 4).tokens,
        initial_weights(model, TASK, scale=0.7, seed=2, scheme="gaussian"),
    )
    wrong = [
        full_attention(model, weights, sequence, N, variant) for sequence in tokens
    ]
    assert not np.allclose(
        predict(model, model.heads(weights), tokens), wrong, rtol=1e-3
    )


@each_model
def test_the_query_y_is_never_read(model):
    tokens, weights = (
        sample(TASK, 4).tokens,
        initial_weights(model, TASK, scale=0.7, scheme="gaussian"),
    )
    other = tokens.copy()
    other[:, -1, -1] += 100.0
    heads = model.heads(weights)
    assert np.array_equal(predict(model, heads, tokens), predict(model, heads, other))
    other = tokens.copy()
    other[:, 1, -1] += 100.0  # control: the context's y is
    assert not np.allclose(predict(model, heads, tokens), predict(model, heads, other))


@each_model
@pytest.mark.parametrize("lengths", [(N,), (1, 2, 3, 4, N), (2,)])
def test_loss_and_its_gradient_are_those_of_the_definition(model, lengths):
    tokens, weights = (
        sample(TASK, 3).tokens,
        initial_weights(model, TASK, scale=0.6, seed=1, scheme="gaussian"),
    )
    loss, gradients = objective(
        model, prompts_from_tokens(tokens, context_lengths=lengths)
    )(weights)
    assert loss == pytest.approx(
        definition_loss(model, weights, tokens, lengths), rel=1e-12
    )
    for variant in ("half the square", "query's y unmasked"):
        assert loss != pytest.approx(
            definition_loss(model, weights, tokens, lengths, variant), rel=1e-3
        )
    for name, index in chosen(weights):
        stepped = {key: value.astype(complex) for key, value in weights.items()}
        stepped[name][index] += 1e-30j
        slope = definition_loss(model, stepped, tokens, lengths).imag / 1e-30
        assert gradients[name][index] == pytest.approx(slope, rel=1e-10, abs=1e-13)


def chosen(weights, per_array=6):
    """Some entries of every array of weights, the last one among them."""
    rng = np.random.default_rng(1)
    for name, value in weights.items():
        for flat in {*rng.integers(0, value.size, per_array).tolist(), value.size - 1}:
            yield name, np.unravel_index(flat, value.shape)


@each_model
def test_gradients_agree_with_finite_differences(model):
    data, weights = (
        sample(TASK, 50),
        initial_weights(model, TASK, scale=0.5, seed=3, scheme="gaussian"),
    )
    evaluate = objective(model, data)
    _, gradients = evaluate(weights)
    rng = np.random.default_rng(0)
    direction = {name: rng.normal(size=value.shape) for name, value in weights.items()}
    slope = sum(np.vdot(gradients[name], direction[name]) for name in weights)

    def along(step):
        return evaluate(
            {name: weights[name] + step * direction[name] for name in weights}
        )[0]

    errors = [abs((along(h) - along(-h)) / (2 * h) - slope) for h in (1e-2, 1e-3)]
    assert errors[0] / errors[1] == pytest.approx(
        100, rel=0.1
    )  # the error is that of the difference: order 2
    assert (
        abs((along(1e-3) - along(-1e-3)) / 2e-3 - 0.5 * slope) > 100 * errors[1]
    )  # control: ½ in the loss


@each_model
def test_complex_steps_pull_back_as_by_hand(model):
    rng = np.random.default_rng(0)
    weights = initial_weights(model, TASK, scale=1.0, scheme="gaussian")
    grad_a, grad_B = (rng.normal(size=array.shape) for array in model.heads(weights))
    by_hand = pullback(model)(weights, grad_a, grad_B)
    stepped = by_complex_step(model, weights, grad_a, grad_B)
    before = {name: value.copy() for name, value in weights.items()}
    for name in model.shapes(D):
        np.testing.assert_allclose(stepped[name], by_hand[name], rtol=1e-12, atol=1e-14)
        assert np.array_equal(weights[name], before[name])
        assert np.any(by_hand[name])


def test_the_data_may_be_longer_than_a_slice():
    model = Separate(heads=2)
    weights = initial_weights(model, TASK, scale=0.5, scheme="gaussian")
    tokens = sample(TASK, 2 * SLICE + 7).tokens
    parts = np.split(tokens, [SLICE - 3, 2 * SLICE])
    losses = [token_loss(model, model.heads(weights), part, (2, N)) for part in parts]
    share = [len(part) / len(tokens) for part in parts]
    loss, (grad_a, grad_B) = token_loss(model, model.heads(weights), tokens, (2, N))
    assert loss == pytest.approx(np.dot(share, [each[0] for each in losses]), rel=1e-12)
    mean_a, mean_B = (
        sum(s * each[1][k] for s, each in zip(share, losses, strict=True))
        for k in (0, 1)
    )
    np.testing.assert_allclose(grad_a, mean_a, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(grad_B, mean_B, rtol=1e-11, atol=1e-14)


@settings(max_examples=20, deadline=None)
@forall(
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.integers(1, 3),
    st.booleans(),
)
def test_any_sizes(dimension, length, heads, rank, softmax):
    task = Task(np.arange(dimension, 0, -1.0), context_length=length)
    model = Separate(heads=heads, rank=rank, softmax=softmax)
    weights, tokens = (
        initial_weights(model, task, scale=0.5, scheme="gaussian"),
        sample(task, 2).tokens,
    )
    expected = [full_attention(model, weights, sequence, length) for sequence in tokens]
    np.testing.assert_allclose(
        predict(model, model.heads(weights), tokens), expected, rtol=1e-11, atol=1e-13
    )


class Tied:
    """One key for key and query; without a base class, and with heads that are the weights themselves."""

    divisor = "none"

    def shapes(self, dimension):
        return {"value": (2, dimension + 1), "key": (2, 1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]


class Diagonal:
    """Heads that scale every coordinate by itself: M is diagonal on the restricted block."""

    def shapes(self, dimension):
        return {"v": (1,), "u": (1, dimension)}

    def heads(self, weights):
        v, u = weights["v"], weights["u"]
        dimension = u.shape[1]
        eye = np.eye(dimension + 1)
        return v[:, None] * eye[-1:], u[:, None, :] * eye[None, :, :-1]


class Curved:
    """Heads that are no polynomial in the weights."""

    divisor = "tokens"

    def shapes(self, dimension):
        return {"w": (2, dimension + 1), "key": (2, 1, dimension + 1)}

    def heads(self, weights):
        w, key = weights["w"], weights["key"]
        return np.exp(0.3 * w) - 1, np.sin(key.swapaxes(1, 2)) @ key[..., :-1] ** 3


OWN = pytest.mark.parametrize(
    "model", [Tied(), Diagonal(), Curved()], ids=["tied", "diagonal", "curved"]
)


@OWN
def test_a_parametrization_of_ones_own_trains_on_tokens_and_on_statistics(model):
    data = sample(TASK, 60)
    start = initial_weights(model, TASK, scale=0.3, seed=1, scheme="gaussian")
    rule = {"learning_rate": 0.002, "steps": 120, "record": 10}
    on_tokens = train(model, data, start, **rule)
    on_statistics = train(model, statistics(data, model), start, **rule)
    np.testing.assert_allclose(on_statistics.loss, on_tokens.loss, rtol=1e-9)
    for name in start:
        np.testing.assert_allclose(
            on_statistics.weights[name], on_tokens.weights[name], rtol=1e-8, atol=1e-11
        )
        assert np.all(on_tokens.final[name] != on_tokens.weights[name][0]), (
            "every weight must move"
        )
    assert on_tokens.loss[-1] < on_tokens.loss[0]


def test_complex_steps_are_exact_to_rounding():
    """Heads (w³, 0): the pull is 3w², which a step of any visible size would miss."""

    class Cubed:
        def shapes(self, dimension):
            return {"w": (1, dimension + 1)}

        def heads(self, weights):
            w = weights["w"]
            return w**3, np.zeros((1, w.shape[1], w.shape[1] - 1))

    w = np.array([[0.3, -2.0, 1.0]])
    pulled = by_complex_step(Cubed(), {"w": w}, np.ones((1, 3)), np.ones((1, 3, 2)))[
        "w"
    ]
    np.testing.assert_allclose(pulled, 3 * w**2, rtol=1e-15)
    differences = ((w + 1e-6) ** 3 - (w - 1e-6) ** 3) / 2e-6  # control
    assert np.max(np.abs(differences / (3 * w**2) - 1)) > 1e-12


@OWN
def test_gradients_of_ones_own_parametrization(model):
    data, weights = (
        sample(TASK, 20),
        initial_weights(model, TASK, scale=0.5, scheme="gaussian"),
    )
    evaluate = objective(model, data)
    _, gradients = evaluate(weights)
    for name, index in chosen(weights):
        shifted = [
            {key: value.copy() for key, value in weights.items()} for _ in range(2)
        ]
        shifted[0][name][index] += 1e-5
        shifted[1][name][index] -= 1e-5
        slope = (evaluate(shifted[0])[0] - evaluate(shifted[1])[0]) / 2e-5
        assert gradients[name][index] == pytest.approx(slope, rel=1e-5, abs=1e-8)


def test_integers_are_numbers_too():
    model, tokens = Merged(heads=1), sample(TASK, 3).tokens
    heads = np.ones((1, D + 1), int), np.ones((1, D + 1, D), int)
    floats = tuple(array.astype(float) for array in heads)
    assert (
        token_loss(model, heads, tokens, (N,))[0]
        == token_loss(model, floats, tokens, (N,))[0]
    )


@pytest.mark.parametrize("length", [N + 1, -1])
def test_a_length_outside_the_data_is_refused(length):
    model, tokens = Merged(heads=1), sample(TASK, 3).tokens
    heads = model.heads(initial_weights(model, TASK, scale=1.0, scheme="gaussian"))
    with pytest.raises(
        ValueError,
        match=re.escape(f"must lie in 0 … {N} for these tokens, not {length}"),
    ):
        predict(model, heads, tokens, length)


# Softmax whose output is divided once more


class DividedSoftmax:
    """Merged attention with softmax and the divisor that it is given."""

    softmax = True

    def __init__(self, divisor):
        self.divisor = divisor
        self.shapes, self.heads = Merged(2).shapes, Merged(2).heads


@pytest.mark.parametrize("divisor", ["context", "tokens", "none"])
def test_softmax_is_divided_by_what_a_model_names(divisor):
    model, rng = DividedSoftmax(divisor), np.random.default_rng(1)
    tokens = rng.normal(size=(7, 5, 3))
    weights = {name: rng.normal(size=shape) for name, shape in model.shapes(2).items()}
    for n in (2, 4):
        X = tokens[:, : n + 1].copy()
        X[:, -1, -1] = 0
        scores = np.einsum("pni,hij,pj->phn", X, weights["key_query"], X[:, -1])
        p = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
        divided_by = {"context": n, "tokens": n + 1, "none": 1}[divisor]
        expected = np.einsum("hi,pni,phn->p", weights["value"], X, p) / divided_by
        np.testing.assert_allclose(
            predict(model, model.heads(weights), tokens, n), expected, rtol=1e-12
        )


@pytest.mark.parametrize("divisor", ["context", "tokens"])
def test_gradients_of_divided_softmax_are_finite_differences(divisor):
    model, rng = DividedSoftmax(divisor), np.random.default_rng(2)
    data = prompts_from_tokens(rng.normal(size=(6, 5, 3)), context_lengths=(2, 4))
    weights = {name: rng.normal(size=shape) for name, shape in model.shapes(2).items()}
    evaluate, h = objective(model, data), 1e-6
    _, gradients = evaluate(weights)
    for name, value in weights.items():
        for index in np.ndindex(value.shape):
            ends = []
            for sign in (1, -1):
                moved = value.copy()
                moved[index] += sign * h
                ends.append(evaluate(weights | {name: moved})[0])
            assert gradients[name][index] == pytest.approx(
                (ends[0] - ends[1]) / (2 * h), abs=1e-8
            )


def test_another_divisor_of_softmax_is_refused():
    with pytest.raises(
        ValueError, match="divisor must be one of context, tokens, none, or a positive"
    ):
        predict(
            DividedSoftmax("N"),
            (np.ones((2, 2)), np.ones((2, 2, 1))),
            np.ones((3, 4, 2)),
        )
