"""Prompts: the distribution that is sampled, its streams of random numbers, and what is refused."""

import hashlib
import multiprocessing
import re
import tracemalloc
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Task
from attndyn.inputs import Inputs
from attndyn.simulate import (
    initial_weights,
    prompts_from_tokens,
    sample,
    statistics,
)
from attndyn.simulate.data.prompts import CHUNK
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere


def signs(generator, shape):
    """A law of z of one's own."""
    return generator.choice([-1.0, 1.0], shape)


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


# Settings, then the digests of the prompts and of their tokens to nine places, as they were when a task had no other
# laws: stored runs and statistics name the first, and are of the second.
STORED = {
    "plain": (
        {"eigenvalues": [4, 3, 2, 1], "trace": 1.0, "context_length": 31},
        {},
        ("713d0eacc40f500e", "3042350dd4ea3198"),
    ),
    "noise": (
        {"eigenvalues": [2, 1], "context_length": 5, "noise_variance": 0.25},
        {"seed": 3},
        ("90c69a76781f455d", "a7b2a88c428eff5c"),
    ),
    "covariances": (
        {
            "covariance": Λ.tolist(),
            "teacher_covariance": Ω.tolist(),
            "context_length": "1..4",
        },
        {"seed": 1, "split": "test"},
        ("9cb9a50b205b1c87", "6210002446389b41"),
    ),
    "whitened": (
        {"eigenvalues": [2, 1], "context_length": 4},
        {"whiten": True, "centre": True},
        ("0f32a2a9091d8293", "5e3c6df4bab25c61"),
    ),
    "fixed": (
        {
            "eigenvalues": [1, 1],
            "context_length": 5,
            "fixed_teacher": [1, -1],
            "in_context_fraction": 0.9,
        },
        {"seed": 2},
        ("18606bd0bcad0ecb", "1c528a7c893cef92"),
    ),
    "labels": (
        {
            "eigenvalues": [1, 1],
            "context_length": 5,
            "fixed_teacher": [1, -1],
            "in_context_fraction": 0.4,
            "noise_variance": "1/3",
        },
        {"random_labels": True},
        ("6c342b3c66357ad7", "e3ce28cfb20ddc1e"),
    ),
}


@pytest.mark.parametrize(("task", "options", "names"), STORED.values(), ids=STORED)
def test_prompts_of_tasks_that_are_stored_stay(task, options, names):
    data = sample(Task(**task), 60, **options)
    rounded = np.round(data.tokens, 9) + 0.0  # -0.0 is 0.0
    digest = hashlib.sha256(rounded.tobytes()).hexdigest()
    assert (data.digest[:16], digest[:16]) == names
    assert sample(Task(**task), 60, **options | {"seed": 9}).digest[:16] != names[0]


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
    "it is for teachers N(0, Ω) with one output, not for Sphere": lambda: sample(
        Task([1, 1], teachers=Sphere(2), context_length=3), 9, whiten=True
    ),
    "random_labels are for the sequences of a fixed_teacher, which": lambda: sample(
        POOL, 5, random_labels=True
    ),
    "balanced takes the teachers of a pool in turn": lambda: sample(
        TASK, 5, balanced=True
    ),
    "it is for teachers=Pool(…) of equal weights, not for Pool": lambda: sample(
        Task([1], teachers=Pool([[1], [2]], [1, 2]), context_length=3), 5, balanced=True
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


POOL = Task(
    [2, 1], teachers=Pool([[1, 2], [3, 4], [5, 6]]), noise_variance=0, context_length=3
)


def members(tokens):
    """Which member of POOL each sequence has, by its teacher."""
    w = teachers(tokens)
    distances = np.abs(w[:, None] - POOL.teachers.members[:, 0]).sum(axis=2)
    assert np.max(np.min(distances, axis=1)) < 1e-6
    return np.argmin(distances, axis=1)


@pytest.mark.parametrize("sequences", [9, 10, CHUNK + 5])
def test_balanced_prompts_have_each_teacher_equally_often(sequences):
    counts = np.bincount(members(sample(POOL, sequences, balanced=True).tokens))
    assert np.ptp(counts) <= 1
    assert counts.sum() == sequences
    random = np.bincount(members(sample(POOL, sequences + 999).tokens), minlength=3)
    assert np.ptp(random) > 1  # control


def test_balanced_prompts_have_negatives_too():
    signed = Task([2, 1], teachers=Pool([[1, 2], [3, 4]], signs=True), context_length=3)
    w = teachers(sample(signed, 8, balanced=True).tokens)
    np.testing.assert_allclose(w.sum(axis=0), 0, atol=1e-9)


def test_balance_changes_teachers_alone_and_names_them():
    plain, balanced = sample(POOL, 50), sample(POOL, 50, balanced=True)
    assert np.array_equal(plain.x, balanced.x)
    assert plain.digest != balanced.digest
    assert balanced.to_dict()["balanced"] is True
    assert "balanced" not in plain.to_dict()


def test_a_mixture_has_its_shares_in_order_across_chunks():
    law = Mixture(
        (0.3, Pool([[1, 0]])), ("1/3", Pool([[2, 0]])), ("11/30", Pool([[3, 0]]))
    )
    data = sample(Task([1, 1], teachers=law, context_length=3), CHUNK + 904)
    w = np.round(teachers(data.tokens)[:, 0])
    assert np.all(np.diff(w) >= 0)
    assert np.unique(w, return_counts=True)[1].tolist() == law.counts(5000)
    assert law.counts(5000) == [1500, 1667, 1833]


def test_centring_keeps_the_mean_of_the_task():
    task = Task([2, 1], input_mean=[3, -1], inputs="uniform", context_length=2)
    x = sample(task, 700, centre=True).x
    np.testing.assert_allclose(x.mean(axis=0), [[3, -1]] * 3, atol=1e-12)
    away = np.abs(sample(task, 700).x.mean(axis=0) - [3, -1])  # control
    assert np.max(away) > 1e-3


def test_whitening_of_a_singular_covariance_is_exact():
    Ω = np.array([[1.0, 2.0], [2.0, 4.0]])
    task = Task([1, 1], teacher_covariance=Ω, context_length=3)
    w = teachers(sample(task, 40, whiten=True).tokens)
    np.testing.assert_allclose(w.T @ w / 40, Ω, atol=1e-12)


def test_views_of_prompts_of_one_and_of_several_outputs():
    one = sample(Task([1, 1], context_length="0..3"), 5)
    assert (one.x.shape, one.y.shape, one.labels.shape) == ((5, 4, 2), (5, 4), (5,))
    x, y, query = one.context
    assert (x.shape, y.shape, query.shape) == ((5, 3, 2), (5, 3), (5, 2))
    assert np.array_equal(one.labels, one.y[:, -1])
    noisy = Task(
        [1, 1],
        teachers=Gaussian.on_supports(2, [[0], [1], [0, 1]]),
        noise_variance=1,
        query_noise_variance=0,
        context_length=3,
    )
    data = sample(noisy, 5)
    assert (data.y.shape, data.labels.shape) == ((5, 4, 3), (5, 3))
    x, y, query = data.context
    assert (x.shape, y.shape, query.shape) == ((5, 3, 2), (5, 3, 3), (5, 2))
    assert np.array_equal(data.labels, data.targets[:, -1])
    assert not np.array_equal(data.targets[:, :-1], data.y[:, :-1])
    # Without noise y = W x exactly: two labels are of one coordinate each.
    ratios = data.targets[..., 0] / data.x[..., 0]
    np.testing.assert_allclose(ratios, ratios[:, :1] * np.ones(4), rtol=1e-9)


def test_other_processes_draw_the_same_prompts_of_every_law():
    law = Mixture((0.5, Sphere(2)), (0.5, Gaussian([1, 1], mean=[1, 0]).pool(3)))
    task = Task(
        [2, 1],
        teachers=law,
        inputs=Inputs(signs),
        input_mean=[1, 0],
        context_length=3,
    )
    data, model = sample(task, 2 * CHUNK, centre=True), Merged(heads=1)
    with ProcessPoolExecutor(2, multiprocessing.get_context("spawn")) as pool:
        there = statistics(data, model, executor=pool)
    np.testing.assert_array_equal(statistics(data, model).S, there.S)


def test_a_law_that_no_other_process_can_draw_is_refused():
    lambda_draw = Inputs(lambda generator, shape: signs(generator, shape))
    data = sample(Task([2, 1], inputs=lambda_draw, context_length=3), 2 * CHUNK)
    with (
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
        pytest.raises(ValueError, match="cannot be sent to another process"),
    ):
        statistics(data, Merged(heads=1), executor=pool)


@pytest.mark.parametrize("flag", ["whiten", "centre", "random_labels", "balanced"])
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


def test_a_number_before_the_task_is_answered_with_the_call():
    call = r"call sample\(task, sequences\): got int, then Task"
    with pytest.raises(TypeError, match=call):
        sample(50, Task([2, 1], context_length=5))
