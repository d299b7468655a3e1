"""Batches of a descent: fresh prompts by seed and step, and minibatches of data that are reshuffled every epoch."""

import re

import numpy as np
import pytest

from attndyn import Task
from attndyn.inputs import Inputs
from attndyn.simulate import prompts_from_tokens, sample
from attndyn.simulate.data.batches import FreshPrompts, Minibatches
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere

Λ = np.array([[0.7, 0.2], [0.2, 0.3]])
TASK = Task(covariance=Λ, teacher_covariance=[[2, 1], [1, 2]], context_length=5)


def standard_errors(values, expected):
    """How many standard errors the mean over axis 0 is off, at worst; numbers that never vary must be equal."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values)) + 1e-12
    return np.max(np.abs(values.mean(axis=0) - expected) / error)


def test_a_step_has_its_own_prompts_whatever_was_read_before():
    batches = FreshPrompts(TASK, 16, 3)
    first, second = batches.at(7).tokens, batches.at(8).tokens
    assert first.shape == (16, 6, 3)
    assert not np.any(np.isin(first, second))
    again = FreshPrompts(TASK, 16, 3)
    np.testing.assert_array_equal(again.at(8).tokens, second)
    np.testing.assert_array_equal(again.at(np.int64(7)).tokens, first)
    assert not np.any(np.isin(FreshPrompts(TASK, 16, 4).at(7).tokens, first))


def test_what_a_step_gives_stays():
    batches = FreshPrompts(TASK, 4, 0)
    kept = batches.at(0)
    copied = kept.tokens.copy()
    batches.at(1)
    np.testing.assert_array_equal(kept.tokens, copied)


def test_fresh_prompts_are_none_of_a_sample():
    plain = Task([1, 1], context_length=3)
    drawn = np.round(sample(plain, 400, seed=0).x, 9)
    tested = np.round(sample(plain, 400, seed=0, split="test").x, 9)
    fresh = [FreshPrompts(plain, 40, 0).at(step).tokens for step in range(10)]
    numbers = np.round(np.stack(fresh)[..., :2], 9)
    assert not np.any(np.isin(numbers, drawn))
    assert not np.any(np.isin(numbers, tested))


def test_digests_name_the_batches():
    same, others = (
        {FreshPrompts(TASK, 16, 3).digest for _ in range(2)},
        {
            FreshPrompts(TASK, 17, 3).digest,
            FreshPrompts(TASK, 16, 4).digest,
            FreshPrompts(Task([1], context_length=5), 16, 3).digest,
            Minibatches(sample(TASK, 20), 16, 3).digest,
            Minibatches(sample(TASK, 21), 16, 3).digest,
            Minibatches(sample(TASK, 20), 17, 3).digest,
            Minibatches(sample(TASK, 20), 16, 4).digest,
        },
    )
    assert len(same) == 1
    assert len(others | same) == 8


def test_a_batch_says_what_its_task_does():
    task = Task(
        [1, 1],
        teachers=Gaussian(np.eye(6).reshape(3, 2, 3, 2)),
        context_length={0: 1, 4: 3},
    )
    for batches in (
        FreshPrompts(task, 5, 0),
        Minibatches(sample(task, 9), 5, 0),
    ):
        assert (batches.dimension, batches.outputs) == (2, 3)
        assert batches.context_lengths == (0, 4)
        assert batches.context_weights.tolist() == [0.25, 0.75]
        assert batches.at(0).tokens.shape == (5, 5, 5)
        assert batches.at(0).targets.shape == (5, 5, 3)


# (Λ, mean, second moments of W as a (KD, KD) matrix, task), each worked out by hand.
SETTINGS = {
    "gaussian": (Λ, [0, 0], [[2, 1], [1, 2]], TASK),
    "uniform with a mean": (
        Λ,
        [1, -2],
        np.eye(2) * 0.5,
        Task(
            covariance=Λ,
            inputs="uniform",
            input_mean=[1, -2],
            teachers=Sphere(2, 1),
            context_length=3,
        ),
    ),
    "singular": (
        np.diag([1, 0]),
        [0, 0],
        np.ones((2, 2)),
        Task([1, 0], teachers=Gaussian(np.ones((2, 2))), context_length=3),
    ),
    "several outputs": (
        np.eye(2),
        [0, 0],
        np.diag([1, 0, 0, 1]),
        Task([1, 1], teachers=Gaussian.on_supports(2, [[0], [1]]), context_length=3),
    ),
    "mixture": (
        np.eye(2),
        [0, 0],
        0.75 * np.eye(2) + 0.25 * np.outer([1, 2], [1, 2]),
        Task(
            [1, 1],
            teachers=Mixture((0.75, Sphere(2)), (0.25, Pool([[1, 2]]))),
            context_length=3,
        ),
    ),
    "fixed teacher": (
        np.eye(2),
        [0, 0],
        0.9 * np.eye(2) + 0.1 * np.outer([1, -1], [1, -1]),
        Task([1, 1], fixed_teacher=[1, -1], in_context_fraction=0.9, context_length=3),
    ),
}


def fresh_and_sampled(task, count=30_000):
    """The tokens of one fresh batch and of a sample."""
    yield FreshPrompts(task, count, 1).at(2).tokens
    yield sample(task, count, seed=1).tokens


@pytest.mark.parametrize("name", SETTINGS)
def test_moments_of_fresh_and_of_sampled_prompts(name):
    covariance, mean, second, task = SETTINGS[name]
    # E x_1 y_1 (x_2 y_2)ᵀ = M E[W Wᵀ] M with M = E x xᵀ, for each pair of outputs.
    M = covariance + np.outer(mean, mean)
    K = task.outputs
    expected = np.einsum("ab,kblc,cd->akdl", M, np.reshape(second, (K, 2, K, 2)), M)
    for tokens in fresh_and_sampled(task):
        x = tokens[..., :2]
        assert standard_errors(x[:, 1], np.array(mean)) < 4.5
        centred = x[:, 1] - mean
        products = centred[:, :, None] * centred[:, None, :]
        assert standard_errors(products, covariance) < 4.5
        assert standard_errors(products, covariance * 1.2) > 4.5  # control

        xy = x[..., None] * tokens[..., None, 2:]  # (P, N+1, D, K)
        sampled = xy[:, 1, :, :, None, None] * xy[:, 2, None, None]
        assert standard_errors(sampled, expected) < 5
        assert standard_errors(sampled, 1.3 * expected + 0.05) > 5  # control


def test_a_rare_part_of_a_mixture_is_in_some_batches():
    # The exact share of .004 in batches of 64 would be none, always.
    law = Mixture((0.996, Sphere(2)), (0.004, Pool([[7, 7]])))
    batches = FreshPrompts(Task([1, 1], teachers=law, context_length=1), 64, 0)
    count = 0
    for step in range(1000):
        x, y = batches.at(step).tokens[..., :2], batches.at(step).tokens[..., 2]
        is_fixed = np.all(np.abs(x @ [7, 7] - y) < 1e-9, axis=1)
        count += int(np.sum(is_fixed))
    expected = 0.004 * 64_000
    assert abs(count - expected) < 5 * np.sqrt(expected)


def test_noise_of_the_context_and_of_the_query():
    plain = {"eigenvalues": [1, 1], "context_length": "0..3"}
    clean = FreshPrompts(Task(**plain), 20_000, 0).at(0)
    assert np.array_equal(clean.targets, clean.tokens[..., 2:])
    for context, query in ((0.25, 0.0), (0.0, 0.25), (0.25, 4.0), (0.25, 0.25)):
        task = Task(**plain, noise_variance=context, query_noise_variance=query)
        for drawn, true in (
            (FreshPrompts(task, 20_000, 0).at(0), clean),
            (sample(task, 20_000).all_sequences(), sample(Task(**plain), 20_000)),
        ):
            of_context = (drawn.tokens - true.tokens)[:, :-1, 2]
            of_query = (drawn.targets - true.targets)[..., 0]
            assert standard_errors(of_context**2, context) < 4.5
            assert standard_errors(of_query**2, query) < 4.5
            # A query's noise is apart from that of its context, the rows before it.
            products = of_query[:, 2:3] * of_context[:, :2]
            assert standard_errors(products, 0.0) < 4.5
            np.testing.assert_array_equal(drawn.tokens[:, -1, 2:], drawn.targets[:, -1])


def test_an_epoch_holds_every_prompt_once_but_the_remainder():
    data = sample(TASK, 23, seed=1)
    batches = Minibatches(data, 5, 0)
    assert batches.steps_per_epoch == 4
    index = {row.tobytes(): number for number, row in enumerate(data.tokens)}
    orders = []
    for epoch in range(3):
        order = []
        for step in range(4 * epoch, 4 * epoch + 4):
            tokens = batches.at(step).tokens
            order += [index[row.tobytes()] for row in np.ascontiguousarray(tokens)]
        assert len(set(order)) == 20
        orders.append(order)
    assert orders[0] != orders[1] != orders[2]
    dropped = [set(range(23)) - set(order) for order in orders]
    assert dropped[0] != dropped[1]
    again = Minibatches(data, 5, 0)
    np.testing.assert_array_equal(again.at(9).tokens, batches.at(9).tokens)
    other = Minibatches(data, 5, 1).at(9).tokens
    assert not np.array_equal(other, batches.at(9).tokens)


def test_targets_of_minibatches_go_with_their_tokens():
    task = Task([1, 1], context_length="0..3", noise_variance=1, query_noise_variance=0)
    data = sample(task, 5000, seed=2)
    batch = Minibatches(data, 4999, 0).at(0)
    whole = np.concatenate([data.tokens, data.targets], axis=-1)
    pieces = np.concatenate([batch.tokens, batch.targets], axis=-1)
    rows = {row.tobytes() for row in whole}
    assert {row.tobytes() for row in pieces} < rows


def test_minibatches_of_recorded_prompts():
    data = prompts_from_tokens(np.arange(40.0).reshape(5, 4, 2))
    assert Minibatches(data, 5, 0).at(3).tokens.shape == (5, 4, 2)


def test_a_sample_is_drawn_once_for_all_minibatches(monkeypatch):
    data = sample(TASK, 30)
    drawn = []
    chunk = type(data).chunk
    monkeypatch.setattr(
        type(data),
        "chunk",
        lambda self, index: drawn.append(index) or chunk(self, index),
    )
    batches = Minibatches(data, 7, 0)
    for step in range(9):
        batches.at(step)
    assert drawn == [0]


def test_inputs_of_ones_own():
    task = Task(
        [1, 1],
        inputs=Inputs(lambda generator, shape: generator.choice([-1.0, 1.0], shape)),
        context_length=3,
    )
    assert set(FreshPrompts(task, 9, 0).at(0).tokens[..., :2].ravel()) == {-1.0, 1.0}


REFUSED = {
    "batch must be a whole number of at least 1, not 0": lambda: FreshPrompts(
        TASK, 0, 0
    ),
    "seed must be a whole number of at least 0, not -1": lambda: FreshPrompts(
        TASK, 1, -1
    ),
    "batch must be a whole number of at least 1, not 2.0": lambda: Minibatches(
        sample(TASK, 3), 2.0, 0
    ),
    "batch must be at most 3, the number of sequences, not 4": lambda: Minibatches(
        sample(TASK, 3), 4, 0
    ),
    "seed must be a whole number of at least 0, not None": lambda: Minibatches(
        sample(TASK, 3), 2, None
    ),
    "step must be a whole number of at least 0, not -1": lambda: Minibatches(
        sample(TASK, 3), 2, 0
    ).at(-1),
    "step must be a whole number of at least 0, not 1.5": lambda: FreshPrompts(
        TASK, 2, 0
    ).at(1.5),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        REFUSED[message]()


def test_a_batch_that_does_not_fit_into_memory_is_refused():
    with pytest.raises(MemoryError, match="GiB, more than"):
        FreshPrompts(TASK, 10**12, 0).at(0)
