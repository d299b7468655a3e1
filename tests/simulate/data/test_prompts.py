"""Prompts: the distribution that is sampled, its streams of random numbers, and what is refused."""

import re
import tracemalloc

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Task
from attndyn.simulate import initial_weights, prompts_from_tokens, sample
from attndyn.simulate.data.prompts import CHUNK

Λ = np.array([[0.7, 0.2], [0.2, 0.3]])
Ω = np.array([[1.5, -0.4], [-0.4, 0.8]])
TASK = Task(covariance=Λ, teacher_covariance=Ω, noise_variance=0.25, context_length=5)
MIXTURE = Task(
    [2, 1], context_length=4, fixed_teacher=[1.0, -2.0], in_context_fraction=0.6
)


def teachers(tokens):
    """The teacher of every noiseless sequence, by least squares on all of its tokens, (P, D)."""
    x, y = tokens[..., :-1], tokens[..., -1:]
    return np.linalg.solve(x.swapaxes(1, 2) @ x, x.swapaxes(1, 2) @ y)[..., 0]


def z_score(values, expected):
    """How many standard errors the mean of values over axis 0 is from the expected one, at worst."""
    error = values.std(axis=0, ddof=1) / np.sqrt(len(values))
    return np.max(np.abs(values.mean(axis=0) - expected) / error)


# Means over sequences of products whose expectation the definition gives; each mean is of independent numbers.
MOMENTS = {
    "x": lambda x, y: (x[:, 2], np.zeros(2)),
    "xx": lambda x, y: (x[:, 2, :, None] * x[:, 2, None, :], Λ),
    "xx of two tokens": lambda x, y: (
        x[:, 1, :, None] * x[:, 3, None, :],
        np.zeros((2, 2)),
    ),
    "y": lambda x, y: (y[:, 2], 0.0),
    "yy": lambda x, y: (y[:, 2] ** 2, np.trace(Λ @ Ω) + 0.25),
    "xy": lambda x, y: (x[:, 2] * y[:, [2]], np.zeros(2)),
    "xyxy of two tokens": lambda x, y: (
        x[:, 1, :, None] * x[:, 5, None, :] * (y[:, 1] * y[:, 5])[:, None, None],
        Λ @ Ω @ Λ,
    ),
    "yyxx of one token": lambda x, y: (
        (y[:, 0] ** 2)[:, None, None] * x[:, 0, :, None] * x[:, 0, None, :],
        (np.trace(Λ @ Ω) + 0.25) * Λ + 2 * Λ @ Ω @ Λ,
    ),
}


@pytest.fixture(scope="module")
def many():
    tokens = sample(TASK, 60_000, seed=3).tokens
    return tokens[..., :-1], tokens[..., -1]


@pytest.mark.parametrize("name", MOMENTS)
def test_moments_are_those_of_the_task(many, name):
    values, expected = MOMENTS[name](*many)
    assert z_score(values, expected) < 4.5


def test_moments_of_another_task_are_told_apart(many):
    x, y = many
    assert (
        z_score(x[:, 2, :, None] * x[:, 2, None, :], np.diag(np.diag(Λ))) > 9
    )  # control: off-diagonal lost
    assert z_score(y[:, 2] ** 2, np.trace(Λ @ Ω)) > 9  # control: noise lost
    assert z_score(y[:, 2] ** 2, np.trace(Λ) + 0.25) > 9  # control: Ω lost
    products = x[:, 1, :, None] * x[:, 5, None, :] * (y[:, 1] * y[:, 5])[:, None, None]
    assert z_score(products, Λ @ Λ) > 9


def test_noise_is_independent_in_every_token():
    tokens = sample(TASK, 20_000, seed=1).tokens
    noiseless = sample(
        Task(covariance=Λ, teacher_covariance=Ω, context_length=5), 20_000, seed=1
    ).tokens
    noise = (tokens - noiseless)[..., -1]
    assert np.array_equal(
        tokens[..., :-1], noiseless[..., :-1]
    )  # the streams are apart: same x, same teachers
    assert z_score(noise[:, :, None] * noise[:, None, :], 0.25 * np.eye(6)) < 4.5
    assert (
        z_score(noise[:, :, None] * noise[:, None, :], 0.25 * np.ones((6, 6))) > 20
    )  # control: one a sequence


def test_chunks_are_the_tokens():
    data = sample(TASK, 2 * CHUNK + 5, seed=2)
    chunks = [chunk.tokens for chunk in data.chunks()]
    assert [len(chunk) for chunk in chunks] == [CHUNK, CHUNK, 5]
    assert np.array_equal(np.concatenate(chunks), data.tokens)
    assert not np.array_equal(
        chunks[0], chunks[1]
    )  # control: every chunk has random numbers of its own
    recorded = prompts_from_tokens(data.tokens)
    again = [chunk.tokens for chunk in recorded.chunks()]
    assert np.array_equal(np.concatenate(again), recorded.tokens)


@settings(max_examples=15, deadline=None)
@forall(st.integers(1, 40), st.integers(1, 40), st.integers(0, 10))
def test_more_sequences_begin_with_the_same_ones(few, more, seed):
    tokens = sample(TASK, few + more, seed=seed).tokens
    np.testing.assert_allclose(
        sample(TASK, few, seed=seed).tokens, tokens[:few], rtol=0, atol=1e-13
    )
    assert not np.allclose(sample(TASK, few, seed=seed + 1).tokens, tokens[:few])


def test_sampling_is_deterministic():
    first = sample(TASK, 100, seed=7)
    tokens = first.tokens
    sample(TASK, 10, seed=8).tokens.sum()  # another reading in between changes nothing
    assert np.array_equal(sample(TASK, 100, seed=7).tokens, tokens)
    assert np.array_equal(first.tokens, tokens)


def test_seeds_splits_and_weights_are_independent():
    def draws(**options):
        return sample(TASK, 4000, **options).tokens[:, :, 0].ravel() / np.sqrt(Λ[0, 0])

    streams = [
        draws(seed=0),
        draws(seed=1),
        draws(seed=0, split="test"),
        draws(seed=1, split="test"),
    ]
    correlation = np.corrcoef(streams) - np.eye(4)
    assert np.max(np.abs(correlation)) * np.sqrt(len(streams[0])) < 4.5
    assert (
        abs(np.corrcoef(streams[0], draws(seed=0))[0, 1] - 1) < 1e-12
    )  # control: the same stream
    weights = initial_weights(
        Merged(heads=40), TASK, scale=1.0, seed=0, scheme="gaussian"
    )["key_query"].ravel()
    inputs = (
        sample(Task([1, 1], context_length=5), 100, seed=0).tokens[..., :-1].ravel()
    )
    assert not set(np.round(weights, 12)) & set(np.round(inputs, 12))


def test_inputs_teachers_noise_and_labels_share_no_random_numbers():
    plain = {"eigenvalues": [1, 1], "context_length": 3}
    mixture = Task(**plain, fixed_teacher=[0.0, 0.0], in_context_fraction=0.0)
    clean, noisy = (
        sample(Task(**plain), 500).tokens,
        sample(Task(**plain, noise_variance=1.0), 500).tokens,
    )
    labels = sample(mixture, 500, random_labels=True).tokens[:, :-1, -1]
    streams = [clean[..., :-1], teachers(clean), (noisy - clean)[..., -1], labels]
    numbers = [set(np.round(stream.ravel(), 9)) for stream in streams]
    assert all(len(each) > 900 for each in numbers)
    assert len(set.union(*numbers)) == sum(map(len, numbers))


def test_digests_name_the_data():
    base = {"seed": 1, "split": "data", "whiten": False, "centre": False}
    names = {sample(TASK, 50, **base).digest}
    for change in ({"seed": 2}, {"split": "test"}, {"whiten": True}, {"centre": True}):
        names.add(sample(TASK, 50, **{**base, **change}).digest)
    names |= {sample(TASK, 51, **base).digest, sample(MIXTURE, 50, **base).digest}
    names.add(sample(MIXTURE, 50, **base, random_labels=True).digest)
    assert len(names) == 8
    assert sample(TASK, 50, **base).digest in names
    same_bytes = {
        prompts_from_tokens(np.ones(shape), context_lengths=(2,)).digest
        for shape in [(2, 3, 4), (2, 4, 3), (4, 3, 2)]
    }
    assert len(same_bytes) == 3
    assert (
        prompts_from_tokens(np.ones((2, 4, 3)), context_lengths=(1, 2)).digest
        != prompts_from_tokens(np.ones((2, 4, 3)), context_lengths=(2,)).digest
    )


@pytest.mark.parametrize("sequences", [9, CHUNK + 700])
def test_whitening_is_exact(sequences):
    noiseless = Task(covariance=Λ, teacher_covariance=Ω, context_length=5)
    w = teachers(sample(noiseless, sequences, seed=4, whiten=True).tokens)
    assert np.max(np.abs(w.mean(axis=0))) < 1e-12
    assert np.max(np.abs(w.T @ w / sequences - Ω)) < 1e-12
    raw = teachers(sample(noiseless, sequences, seed=4).tokens)
    assert np.max(np.abs(raw.mean(axis=0))) > 1e-4  # control: unwhitened
    assert np.max(np.abs(raw.T @ raw / sequences - Ω)) > 1e-3


@pytest.mark.parametrize("sequences", [9, CHUNK + 700])
def test_centring_is_exact_and_labels_follow(sequences):
    noiseless = Task(covariance=Λ, teacher_covariance=Ω, context_length=5)
    plain, data = (
        sample(noiseless, sequences, seed=4),
        sample(noiseless, sequences, seed=4, centre=True),
    )
    x = data.tokens[..., :-1]
    assert np.max(np.abs(x.mean(axis=0))) < 1e-12
    assert (
        np.max(np.abs(plain.tokens[..., :-1].mean(axis=0))) > 1e-4
    )  # control: uncentred
    w = teachers(plain.tokens)  # y = wᵀx must hold of the centred x
    np.testing.assert_allclose(
        np.einsum("pni,pi->pn", x, w), data.tokens[..., -1], atol=1e-9
    )
    assert np.max(np.abs(data.tokens[..., -1] - plain.tokens[..., -1])) > 1e-3


@settings(max_examples=25, deadline=None)
@forall(st.floats(0, 1), st.integers(3, 60))
def test_a_mixture_has_its_share_of_random_teachers(fraction, sequences):
    task = Task(
        [2, 1],
        context_length=4,
        fixed_teacher=[1.0, -2.0],
        in_context_fraction=fraction,
    )
    data = sample(task, sequences, seed=5)
    fixed = np.all(np.abs(teachers(data.tokens) - [1.0, -2.0]) < 1e-9, axis=1)
    count = int(np.sum(~fixed))
    assert count == data.in_context_sequences
    assert abs(count - fraction * sequences) <= 0.5 + 1e-9
    assert np.array_equal(
        fixed, np.arange(sequences) >= count
    )  # the random ones come first


def test_a_mixture_counts_across_chunks():
    data = sample(MIXTURE, 2 * CHUNK, seed=5)
    fixed = np.all(np.abs(teachers(data.tokens) - [1.0, -2.0]) < 1e-8, axis=1)
    assert np.sum(~fixed) == data.in_context_sequences == round(0.6 * 2 * CHUNK)
    everything = Task(
        [2, 1], context_length=4, fixed_teacher=[1.0, -2.0], in_context_fraction=1.0
    )
    assert np.array_equal(
        sample(everything, 9).tokens, sample(Task([2, 1], context_length=4), 9).tokens
    )


def test_random_labels_touch_the_context_of_fixed_sequences_only():
    plain, labelled = (
        sample(MIXTURE, 5000, seed=6),
        sample(MIXTURE, 5000, seed=6, random_labels=True),
    )
    before, after, count = plain.tokens, labelled.tokens, plain.in_context_sequences
    assert np.array_equal(before[..., :-1], after[..., :-1])
    assert np.array_equal(before[:count], after[:count])
    assert np.array_equal(before[:, -1], after[:, -1])  # the query keeps its true label
    x, y = after[count:, :-1, :-1], after[count:, :-1, -1]
    assert z_score(y[:, :, None] * y[:, None, :], np.eye(4)) < 4.5
    assert z_score(x * y[..., None], np.zeros((4, 2))) < 4.5
    true_y = before[count:, :-1, -1]
    assert (
        z_score(x * true_y[..., None], np.zeros((4, 2))) > 20
    )  # control: labels of the fixed teacher


def test_every_context_length():
    data = sample(Task([2, 1], context_length="1..4"), 3)
    assert data.context_lengths == (1, 2, 3, 4)
    assert np.array_equal(data.tokens, sample(Task([2, 1], context_length=4), 3).tokens)


def test_memory_does_not_grow_with_the_number_of_sequences():
    def peak(sequences):
        data = sample(TASK, sequences, whiten=True, centre=True)
        tracemalloc.start()
        try:
            assert sum(len(chunk.tokens) for chunk in data.chunks()) == sequences
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def peak_of_all(sequences):
        tracemalloc.start()
        try:
            assert sample(TASK, sequences).tokens.shape[0] == sequences
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(CHUNK)  # what is imported on first use does not count
    assert peak(8 * CHUNK) < 1.1 * peak(2 * CHUNK)
    assert peak_of_all(8 * CHUNK) > 2 * peak_of_all(
        2 * CHUNK
    )  # control: everything at once


BAD = {
    "sequences must be a whole number of at least 1, not 0": lambda: sample(TASK, 0),
    "sequences must be a whole number of at least 1, not 2.0": lambda: sample(
        TASK, 2.0
    ),
    "sequences must be a whole number of at least 1, not True": lambda: sample(
        TASK, True
    ),
    "seed must be a whole number of at least 0, not -1": lambda: sample(
        TASK, 5, seed=-1
    ),
    "seed must be a whole number of at least 0, not 'a'": lambda: sample(
        TASK, 5, seed="a"
    ),
    "split must be one of data, test, not 'weights'": lambda: sample(
        TASK, 5, split="weights"
    ),
    "whiten needs every sequence to have a random teacher": lambda: sample(
        MIXTURE, 50, whiten=True
    ),
    "whiten needs more than D = 2 sequences, not 2": lambda: sample(
        TASK, 2, whiten=True
    ),
    "random_labels are for the sequences of a fixed_teacher": lambda: sample(
        TASK, 5, random_labels=True
    ),
    "random_labels need one context_length": lambda: sample(
        Task(
            [2, 1],
            context_length="1..4",
            fixed_teacher=[1.0, -2.0],
            in_context_fraction=0.5,
        ),
        5,
        random_labels=True,
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BAD[message]()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("flag", ["whiten", "centre", "random_labels"])
@pytest.mark.parametrize("value", ["no", 1, 0.0, None])
def test_flags_are_true_or_false(flag, value):
    with pytest.raises(ValueError, match=f"{flag} must be True or False"):
        sample(Task([2, 1], context_length=3), 10, **{flag: value})


def test_a_flag_of_numpy_gives_the_same_data():
    task = Task([2, 1], context_length=3)
    assert (
        sample(task, 10, whiten=np.True_).digest == sample(task, 10, whiten=True).digest
    )


@pytest.mark.parametrize(
    "make",
    [
        lambda masked: Task(masked([1.0, 2.0]), context_length=3),
        lambda masked: Task(
            [1.0, 2.0], context_length=3, teacher_covariance=masked(np.eye(2))
        ),
    ],
)
def test_masked_arrays_are_refused(make):
    make(np.array)
    with pytest.raises(
        ValueError,
        match="must be a plain array: the mask of a masked one would be lost",
    ):
        make(np.ma.masked_array)
