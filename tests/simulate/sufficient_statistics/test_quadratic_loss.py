"""Statistics: the same trajectory as the tokens, merging, the restricted block, and what is refused."""

import re
import tracemalloc
from dataclasses import replace
from functools import reduce
from operator import add

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    from_moments,
    initial_weights,
    objective,
    prompts_from_tokens,
    sample,
    statistics,
    train,
)
from attndyn.simulate.attention.initialisation import restricted
from attndyn.simulate.data.prompts import CHUNK

PLAIN = Task([3, 2, 1], trace=1.0, context_length=6)
NOISY = Task([3, 2, 1], trace=1.0, context_length=6, noise_variance=0.3)
MIXTURE = Task(
    [2, 1],
    trace=1.0,
    context_length=6,
    fixed_teacher=[1.0, -1.0],
    in_context_fraction=0.6,
)
EVERY = Task([2, 1], trace=1.0, context_length="1..6")

RUNS = {
    "merged": (PLAIN, Merged(heads=2), 0.4, 0.02),
    "merged, N+1, noise": (NOISY, Merged(heads=2, divisor="tokens"), 0.4, 0.02),
    "merged, mixture": (MIXTURE, Merged(heads=2), 0.4, 0.02),
    "merged, no divisor": (PLAIN, Merged(heads=3, divisor="none"), 0.1, 0.002),
    "rank one": (PLAIN, Separate(heads=3), 0.6, 0.02),
    "rank one, no divisor, noise": (
        NOISY,
        Separate(heads=2, divisor="none"),
        0.3,
        0.002,
    ),
    "rank two": (PLAIN, Separate(heads=2, rank=2), 0.5, 0.02),
    "rank two, N+1, mixture": (
        MIXTURE,
        Separate(heads=2, rank=2, divisor="tokens"),
        0.5,
        0.02,
    ),
    "rank one, every length": (EVERY, Separate(heads=2, divisor="tokens"), 0.6, 0.02),
    "merged, every length": (EVERY, Merged(heads=2), 0.4, 0.02),
}


@pytest.mark.parametrize(
    ("task", "model", "scale", "rate"), RUNS.values(), ids=RUNS.keys()
)
def test_statistics_give_the_trajectory_of_the_tokens(task, model, scale, rate):
    data = sample(task, 120, seed=1)
    start = initial_weights(
        model, task, scale, seed=2, scheme="gaussian"
    )  # outside the restricted block
    rule = {"learning_rate": rate, "steps": 500, "record": 50}
    tokens, stats = (
        train(model, data, start, **rule),
        train(model, statistics(data, model), start, **rule),
    )
    np.testing.assert_allclose(stats.loss, tokens.loss, rtol=1e-9)
    np.testing.assert_allclose(stats.gradient_norm, tokens.gradient_norm, rtol=1e-8)
    for name in start:
        np.testing.assert_allclose(
            stats.weights[name], tokens.weights[name], rtol=1e-8, atol=1e-10
        )
    assert (
        tokens.loss[-1] < 0.9 * tokens.loss[0]
    )  # control: there is something to follow
    wrong = train(model, statistics(sample(task, 120, seed=3), model), start, **rule)
    assert np.max(np.abs(wrong.loss / tokens.loss - 1)) > 1e-2  # control: other data


@settings(max_examples=15, deadline=None)
@forall(
    st.lists(st.integers(1, 29), min_size=1, max_size=4, unique=True),
    st.sampled_from(["full", "restricted"]),
)
def test_merged_statistics_are_those_of_the_whole(cuts, block):
    tokens, model = sample(NOISY, 30, seed=4).tokens, Merged(heads=1)
    whole = statistics(prompts_from_tokens(tokens), model, block)
    parts = [
        statistics(prompts_from_tokens(part), model, block)
        for part in np.split(tokens, sorted(cuts))
    ]
    same(reduce(add, parts), whole)
    same(
        reduce(lambda right, left: left + right, reversed(parts)), whole
    )  # associative
    same(reduce(add, reversed(parts)), whole)  # commutative
    unweighted = np.mean([part.c for part in parts])
    sizes = {part.sequences for part in parts}
    assert len(sizes) == 1 or unweighted != pytest.approx(
        whole.c, rel=1e-9
    )  # control: plain mean


def same(stats, other):
    assert stats.sequences == other.sequences
    assert stats.c == pytest.approx(other.c, rel=1e-12)
    np.testing.assert_allclose(stats.b, other.b, rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(stats.S, other.S, rtol=1e-11, atol=1e-14)


def test_statistics_by_the_definition():
    """S against F ⊗ F with every feature F = G ⊗ x_q written out, at two lengths."""
    tokens, model = sample(NOISY, 7).tokens, Separate(heads=1, divisor="tokens")
    stats = statistics(prompts_from_tokens(tokens, context_lengths=(2, 6)), model)
    i, j = stats.pairs
    assert [*zip(i, j, strict=True)] == [(i, j) for i in range(4) for j in range(i, 4)]
    features, labels = [], []
    for n in (2, 6):
        for sequence in tokens:
            X = sequence[: n + 1].T.copy()
            X[-1, -1] = 0
            F = np.multiply.outer(X @ X.T / (n + 1), X[:-1, -1])
            features.append(F[i, j].ravel())
            labels.append(sequence[n, -1])
    F, y = np.array(features), np.array(labels)
    np.testing.assert_allclose(stats.S, F.T @ F / len(y), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(stats.b, F.T @ y / len(y), rtol=1e-12, atol=1e-15)
    assert stats.c == pytest.approx(np.mean(y**2), rel=1e-14)
    other = statistics(
        prompts_from_tokens(tokens, context_lengths=(2, 6)), Separate(heads=1)
    )
    assert not np.allclose(stats.S, other.S, rtol=1e-2)  # control: another divisor


@pytest.mark.parametrize(
    "model", [Merged(heads=2), Separate(heads=3, rank=2, divisor="none")]
)
def test_the_restricted_block_is_the_full_one_inside(model):
    data = sample(PLAIN, 200)
    weights = initial_weights(model, PLAIN, 0.5, scheme="restricted")
    inside = objective(model, statistics(data, model, "restricted"))
    loss, gradients = objective(model, statistics(data, model))(weights)
    block_loss, block_gradients = inside(weights)
    assert block_loss == pytest.approx(loss, rel=1e-12)
    mask = restricted({name: np.ones_like(value) for name, value in weights.items()})
    for name in weights:
        np.testing.assert_allclose(
            block_gradients[name] * mask[name],
            gradients[name] * mask[name],
            rtol=1e-10,
            atol=1e-13,
        )
        assert not np.any(block_gradients[name] * (1 - mask[name]))
    outside = max(
        np.max(np.abs(gradients[name] * (1 - mask[name]))) for name in weights
    )
    assert (
        outside > 1e-4
    )  # control: on finite data the full gradient does leave the block


@pytest.mark.parametrize("model", [Merged(heads=2), Separate(heads=3)])
def test_symmetric_data_never_leave_the_block(model):
    """Teachers of both signs on the same x: the gradient outside the block vanishes, and training agrees."""
    half = sample(PLAIN, 100).tokens
    mirrored = half.copy()
    mirrored[..., -1] *= -1
    data = prompts_from_tokens(np.concatenate([half, mirrored]))
    start = initial_weights(model, PLAIN, 0.5, scheme="restricted")
    rule = {"learning_rate": 0.05, "steps": 300, "record": 300}
    full = train(model, statistics(data, model), start, **rule)
    block = train(model, statistics(data, model, "restricted"), start, **rule)
    np.testing.assert_allclose(block.loss, full.loss, rtol=1e-10)
    lopsided = train(model, statistics(prompts_from_tokens(half), model), start, **rule)
    lopsided_block = train(
        model, statistics(prompts_from_tokens(half), model, "restricted"), start, **rule
    )
    assert (
        np.max(np.abs(lopsided_block.loss / lopsided.loss - 1)) > 1e-5
    )  # control: one sign only


def test_moments_are_restricted_statistics():
    """In one dimension, N = 1: the context and the query are two standard normals, moments by hand."""
    model = Merged(heads=1)
    stats = from_moments(
        1.0, [[3.0]], [[1.0]], [[1.0]], model, (1,)
    )  # c = E w²x², A = E (w x²)², B = E w² x² x_q²
    assert (stats.sequences, stats.block, stats.divisor, stats.dimension) == (
        np.inf,
        "restricted",
        "context",
        1,
    )
    weights = {
        "value": np.array([[0.0, 0.5]]),
        "key_query": np.array([[[0.4, 0.0], [0.0, 0.0]]]),
    }
    loss, gradients = objective(model, stats)(weights)
    assert loss == pytest.approx(1 - 2 * 0.2 + 3 * 0.2**2, rel=1e-14)
    assert gradients["value"][0, 1] == pytest.approx(2 * (3 * 0.2 - 1) * 0.4, rel=1e-14)
    assert gradients["key_query"][0, 0, 0] == pytest.approx(
        2 * (3 * 0.2 - 1) * 0.5, rel=1e-14
    )


def test_moments_of_matrices_that_do_not_commute():
    """L(M) = c − 2 tr(BᵀM) + tr(Λ Mᵀ A M) for M, A, B and Λ without any symmetry between them."""
    rng = np.random.default_rng(0)
    A, Λ = (factor @ factor.T for factor in rng.normal(size=(2, 3, 3)))
    B, v, U = rng.normal(size=(3, 3)), rng.normal(size=2), rng.normal(size=(2, 3, 3))
    model = Merged(heads=2)
    weights = {"value": np.zeros((2, 4)), "key_query": np.zeros((2, 4, 4))}
    weights["value"][:, -1], weights["key_query"][:, :-1, :-1] = v, U
    loss, gradients = objective(model, from_moments(7.0, A, B, Λ, model, (5,)))(weights)
    M = np.einsum("h,hij->ij", v, U)
    assert loss == pytest.approx(
        7 - 2 * np.trace(B.T @ M) + np.trace(Λ @ M.T @ A @ M), rel=1e-12
    )
    slope = 2 * (A @ M @ Λ - B)
    np.testing.assert_allclose(
        gradients["key_query"][:, :-1, :-1], v[:, None, None] * slope, rtol=1e-11
    )
    np.testing.assert_allclose(
        gradients["value"][:, -1], np.einsum("ij,hij->h", slope, U), rtol=1e-11
    )
    exchanged = 7 - 2 * np.trace(B @ M) + np.trace(A @ M.T @ Λ @ M)  # control
    assert loss != pytest.approx(exchanged, rel=0.01)


def test_sampled_statistics_converge_to_the_moments():
    """O(P^-1/2): the error times √P stays, over a factor 64 in P; with A of infinite N it does not."""
    Λ, N = np.diag([2.0, 1.0]), 4
    task, model = Task(covariance=Λ, context_length=N), Merged(heads=1)
    A = (1 + 1 / N) * Λ @ Λ + np.trace(Λ) * Λ / N
    exact = from_moments(np.trace(Λ), A, Λ @ Λ, Λ, model, (N,))
    wrong = from_moments(np.trace(Λ), Λ @ Λ, Λ @ Λ, Λ, model, (N,))

    def error(sequences, moments):
        stats = [
            statistics(sample(task, sequences, seed=s), model, "restricted")
            for s in range(12)
        ]
        return np.sqrt(np.mean([np.sum((each.S - moments.S) ** 2) for each in stats]))

    assert error(200, exact) / error(12_800, exact) == pytest.approx(8, rel=0.35)
    assert (
        error(200, wrong) / error(12_800, wrong) < 4
    )  # control: the trace term dropped


def test_memory_does_not_grow_with_the_number_of_sequences():
    def peak(sequences):
        tracemalloc.start()
        try:
            assert (
                statistics(sample(PLAIN, sequences), Merged(heads=1)).sequences
                == sequences
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(CHUNK)
    assert peak(8 * CHUNK) < 1.1 * peak(2 * CHUNK)
    assert 4 * peak(CHUNK // 8) < peak(2 * CHUNK)  # control: the measure sees a chunk


def test_digests_name_the_numbers():
    data = sample(PLAIN, 20)
    stats = statistics(data, Merged(heads=1))
    others = [
        statistics(sample(PLAIN, 20, seed=1), Merged(heads=1)),
        statistics(data, Merged(heads=1, divisor="none")),
        statistics(data, Merged(heads=1), "restricted"),
        replace(stats, divisor="tokens"),
        replace(stats, sequences=21),
    ]
    assert len({stats.digest, *(other.digest for other in others)}) == 6
    assert (
        statistics(data, Separate(heads=4)).digest == stats.digest
    )  # the divisor is all that matters


def merge(**changes):
    stats = statistics(sample(PLAIN, 20), Merged(heads=1))
    return stats + replace(stats, **changes)


def start_outside(entry):
    model = Separate(heads=1)
    start = initial_weights(model, PLAIN, 0.5, scheme="restricted")
    start[entry][..., {"value": 0, "key": -1}[entry]] = 0.1
    return train(
        model,
        statistics(sample(PLAIN, 20), model, "restricted"),
        start,
        learning_rate=0.1,
        steps=2,
    )


def descend_outside():
    model = Merged(heads=1)
    evaluate = objective(model, statistics(sample(PLAIN, 20), model, "restricted"))
    return evaluate(initial_weights(model, PLAIN, 0.5, scheme="gaussian"))


def other_divisor():
    stats = statistics(sample(PLAIN, 20), Merged(heads=1))
    return objective(Merged(heads=1, divisor="none"), stats)


SOFTMAX = Merged(heads=1, softmax=True)
BAD = {
    "softmax attention has no finite statistics: pass": lambda: statistics(
        sample(PLAIN, 20), SOFTMAX
    ),
    "softmax attention has no finite statistics": lambda: objective(
        SOFTMAX, statistics(sample(PLAIN, 20), Merged(heads=1))
    ),
    "softmax attention has no": lambda: from_moments(
        1.0, [[1.0]], [[1.0]], [[1.0]], SOFTMAX, (5,)
    ),
    "made with divisor 'context', the model has 'none'": other_divisor,
    "block must be one of full, restricted, not 'half'": lambda: statistics(
        sample(PLAIN, 5), Merged(heads=1), "half"
    ),
    "different kinds": lambda: merge(divisor="none"),
    "statistics of different kinds cannot be merged": lambda: merge(
        context_lengths=(5,)
    ),
    "exact statistics cannot be merged": lambda: merge(sequences=np.inf),
    "restricted statistics need value rows off x": lambda: start_outside("value"),
    "keys off y": lambda: start_outside("key"),
    'zero them (scheme "restricted")': descend_outside,
    "(D, D) each, not (1, 1), (2, 2) and (2, 2)": lambda: from_moments(
        1.0, [[1.0]], np.eye(2), np.eye(2), Merged(heads=1), (5,)
    ),
    "must be symmetric": lambda: from_moments(
        1.0, [[1.0, 1.0], [0.0, 1.0]], np.eye(2), np.eye(2), Merged(heads=1), (5,)
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BAD[message]()
    assert "\n" not in str(error.value)


def test_statistics_add_to_statistics_only():
    stats = statistics(sample(PLAIN, 20), Merged(heads=1))
    with pytest.raises(TypeError, match="unsupported operand"):
        stats + 1


@pytest.mark.parametrize("place", ["c", "A", "B", "Lambda"])
@pytest.mark.parametrize("value", [np.nan, np.inf, 1j])
def test_moments_are_finite_real_numbers(place, value):
    moments = {"c": 1.0, "A": [[1.0]], "B": [[1.0]], "Lambda": [[1.0]]}
    from_moments(**moments, model=Merged(1), context_lengths=(5,))
    moments[place] = value if place == "c" else [[value]]
    with pytest.raises(ValueError, match=r"finite|real numbers"):
        from_moments(**moments, model=Merged(1), context_lengths=(5,))


@pytest.mark.parametrize("place", ["c", "A", "Lambda"])
def test_means_of_squares_are_not_negative(place):
    moments = {"c": 1.0, "A": [[1.0]], "B": [[1.0]], "Lambda": [[1.0]]}
    moments[place] = -1.0 if place == "c" else [[-1.0]]
    with pytest.raises(ValueError, match="means of squares"):
        from_moments(**moments, model=Merged(1), context_lengths=(5,))
