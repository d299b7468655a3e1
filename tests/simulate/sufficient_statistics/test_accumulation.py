"""Sums over prompts: the plain formula, the same bits whoever sums, constant memory, little to send."""

import tracemalloc
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from functools import reduce
from multiprocessing import get_context

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from attndyn import Merged, Separate, Task
from attndyn.simulate import prompts_from_tokens, sample, statistics
from attndyn.simulate.data.prompts import CHUNK, Sequences
from attndyn.simulate.sufficient_statistics.accumulation import (
    FEW,
    SPAN,
    largest_memory,
    tree_sum,
)
from attndyn.simulate.sufficient_statistics.accumulation import (
    WIDE as MANY_FEATURES_FROM,
)
from attndyn.teachers import Gaussian

SMALL = Task([2, 1], trace=1.0, context_length=2)  # a span of it takes milliseconds
MANY = (
    2 * SPAN * CHUNK + 3 * CHUNK + 17
)  # two spans, and a third that ends in part of a chunk
MODEL = Merged(heads=1)


def plain(data, model, block, masked=True):
    """Means of y², y F and F ⊗ F with every prompt's G written out."""
    tokens, D = data.tokens, data.dimension
    i, j = np.triu_indices(D + 1) if block == "full" else (np.arange(D), np.full(D, D))
    rows, labels = [], []
    for n in data.context_lengths:
        X = tokens[:, : n + 1].copy()
        X[:, -1, -1] *= 1 - masked
        G = (
            np.einsum("pni,pnj->pij", X, X)
            / {"context": n, "tokens": n + 1, "none": 1}[model.divisor]
        )
        rows.append(
            np.einsum("pf,pd->pfd", G[:, i, j], X[:, -1, :-1]).reshape(len(X), -1)
        )
        labels.append(tokens[:, n, -1])
    F, y = np.concatenate(rows), np.concatenate(labels)
    return np.mean(y**2), F.T @ y / len(y), F.T @ F / len(y)


WIDE = Task([3, 2, 1], trace=1.0, context_length=7, noise_variance=0.2)
KINDS = {
    "one length": (sample(WIDE, CHUNK + 50, seed=1), MODEL),
    "no divisor": (sample(WIDE, 900), Separate(heads=2, divisor="none")),
    "every length": (
        sample(Task([3, 1], context_length="1..6"), 700),
        Merged(heads=1, divisor="tokens"),
    ),
    "lengths with gaps": (
        prompts_from_tokens(sample(WIDE, 300).tokens, context_lengths=(6, 2, 3)),
        MODEL,
    ),
    "a length twice": (
        prompts_from_tokens(sample(WIDE, 300).tokens, context_lengths=(2, 5, 5)),
        MODEL,
    ),
    "mixture": (
        sample(
            Task(
                [2, 1], context_length=4, fixed_teacher=[1, -1], in_context_fraction=0.4
            ),
            500,
        ),
        MODEL,
    ),
    "as published": (sample(WIDE, 2 * CHUNK, whiten=True, centre=True), MODEL),
}


@pytest.mark.parametrize("block", ["full", "restricted"])
@pytest.mark.parametrize("kind", KINDS)
def test_sums_are_those_of_the_plain_formula(kind, block):
    data, model = KINDS[kind]
    stats, (c, b, S) = statistics(data, model, block), plain(data, model, block)
    size = np.max(np.abs(S))
    assert stats.c == pytest.approx(c, rel=1e-13)
    np.testing.assert_allclose(stats.b, b, rtol=1e-13, atol=1e-13 * np.max(np.abs(b)))
    np.testing.assert_allclose(stats.S, S, rtol=1e-13, atol=1e-13 * size)
    assert np.array_equal(stats.S, stats.S.T)
    assert stats.S.flags.c_contiguous
    if block == "full":
        unmasked = plain(data, model, block, masked=False)[
            2
        ]  # control: the y of the query is never seen
        assert np.max(np.abs(stats.S - unmasked)) > 1e-3 * size


class Backwards(Executor):
    """Runs what it is given in the opposite order, as a late worker would."""

    def submit(self, function, /, *arguments, **keywords):
        raise AssertionError("only map is used")

    def map(self, function, *iterables, timeout=None, chunksize=1):
        return reversed(
            [
                function(*arguments)
                for arguments in reversed(list(zip(*iterables, strict=True)))
            ]
        )


def bits(stats):
    return stats.c, stats.b.tobytes(), stats.S.tobytes()


@pytest.mark.parametrize("published", [False, True])
def test_workers_do_not_change_a_bit(published):
    def data():
        return sample(SMALL, MANY, seed=2, whiten=published, centre=published)

    alone = bits(statistics(data(), MODEL))
    for threads in (1, 3):
        with ThreadPoolExecutor(threads) as pool:
            assert bits(statistics(data(), MODEL, executor=pool)) == alone
    assert bits(statistics(data(), MODEL, executor=Backwards())) == alone
    tokens = data().tokens
    assert (
        bits(statistics(prompts_from_tokens(tokens), MODEL)) == alone
    )  # recorded or drawn
    span = SPAN * CHUNK
    parts = [
        statistics(prompts_from_tokens(tokens[first : first + span]), MODEL)
        for first in range(0, MANY, span)
    ]
    merged = reduce(lambda right, left: left + right, reversed(parts))
    np.testing.assert_allclose(merged.S, statistics(data(), MODEL).S, rtol=1e-12)
    assert (
        bits(merged) != alone
    )  # control: another order of the same sum is another sum


def test_processes_are_sent_what_to_draw_and_not_the_tokens():
    data = sample(SMALL, MANY, whiten=True, centre=True)
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        assert bits(statistics(data, MODEL, executor=pool)) == bits(
            statistics(data, MODEL)
        )
        recorded = prompts_from_tokens(sample(SMALL, SPAN * CHUNK + 100).tokens)
        assert bits(statistics(recorded, MODEL, "restricted", pool)) == bits(
            statistics(recorded, MODEL, "restricted")
        )


def test_spans_are_small_to_send_and_know_the_moments():
    import pickle

    data = sample(SMALL, MANY, whiten=True, centre=True)
    spans = list(data.spans(SPAN))
    assert [len(list(span.indices)) for span in spans] == [SPAN, SPAN, 4]
    with ThreadPoolExecutor(2) as pool:
        sent = [pickle.dumps(span) for span in data.spans(SPAN, pool)]
    assert max(map(len, sent)) < 10_000
    # No worker reads all the data for the moments again.
    assert pickle.loads(sent[0]).prompts.moments is not None
    together = np.concatenate(
        [chunk.tokens for span in sent for chunk in pickle.loads(span)]
    )
    assert np.array_equal(
        together, sample(SMALL, MANY, whiten=True, centre=True).tokens
    )
    assert not np.array_equal(
        together[:CHUNK], sample(SMALL, CHUNK, whiten=True, centre=True).tokens
    )  # control


@settings(max_examples=25, deadline=None)
@forall(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40))
def test_tree_sums_are_fixed_trees(values):
    def by_halves(parts):
        if len(parts) == 1:
            return parts[0]
        half = 1 << ((len(parts) - 1).bit_length() - 1)  # the left tree is full
        return by_halves(parts[:half]) + by_halves(parts[half:])

    assert tree_sum(np.array([value]) for value in values)[0] == by_halves(values)


def test_tree_sums_lose_less_than_running_ones():
    def parts():  # new ones, since a sum uses them up
        return (np.array([0.1]) for _ in range(2**14))

    assert tree_sum(parts())[0] == 2**14 * 0.1
    assert sum(parts())[0] != 2**14 * 0.1  # control


def test_parts_that_cannot_be_written_to_are_summed_too():
    def parts():  # what comes from another machine may lie in a buffer
        return (np.frombuffer(np.full(2, float(i)).tobytes()) for i in range(5))

    assert tree_sum(parts()).tolist() == [10, 10]


def test_memory_does_not_grow_with_the_number_of_spans():
    def peak(sequences, use):
        tracemalloc.start()
        try:
            use(sample(SMALL, sequences))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    def summed(data):
        assert statistics(data, MODEL).sequences == data.sequences

    peak(CHUNK, summed)
    assert peak(MANY, summed) < 1.1 * peak(2 * CHUNK, summed)
    assert peak(MANY, lambda data: data.tokens) > 5 * peak(
        MANY, summed
    )  # control: all tokens at once


class Doubled:
    """Prompts of the user's own: sampled ones, each twice as large."""

    dimension, outputs, context_lengths, digest = 2, 1, (2,), "doubled"
    context_weights = np.ones(1)

    def __init__(self, sequences):
        self.sequences, self.once = sequences, sample(SMALL, sequences)

    @property
    def tokens(self):
        return 2 * self.once.tokens

    @property
    def targets(self):
        return 2 * self.once.targets

    def chunks(self):
        for tokens, targets in self.once.chunks():
            yield Sequences(2 * tokens, 2 * targets)


def test_prompts_of_the_users_own_can_be_summed_by_workers():
    data = Doubled(SPAN * CHUNK + 10)
    with ThreadPoolExecutor(2) as pool:
        shared = statistics(data, MODEL, executor=pool)
    assert bits(shared) == bits(statistics(data, MODEL))
    once = statistics(data.once, MODEL)
    np.testing.assert_allclose(shared.S, 64 * once.S, rtol=1e-13)  # F is cubic
    assert not np.allclose(shared.S, 16 * once.S)  # control: quadratic


def test_what_fails_in_a_worker_is_told():
    class Broken(Doubled):
        def chunks(self):
            raise RuntimeError("the disk is gone")

    with (
        ThreadPoolExecutor(1) as pool,
        pytest.raises(RuntimeError, match="the disk is gone"),
    ):
        statistics(Broken(10), MODEL, executor=pool)


def test_the_number_of_threads_of_linear_algebra_changes_no_bit():
    wide = Task(np.arange(8, 0, -1), trace=1.0, context_length=3)
    data = sample(wide, 2 * CHUNK)
    with threadpool_limits(1):
        alone = statistics(data, MODEL)
    with threadpool_limits(2):
        assert statistics(data, MODEL).digest == alone.digest


# -- Many features ------------------------------------------------------------------------------------------------

MANY_FEATURES = Task(
    np.linspace(2, 1, 39), trace=1.0, context_length=3, noise_variance=0.1
)


@pytest.mark.parametrize("lengths", ["one", "weighted"])
def test_sums_of_many_features_are_those_of_the_plain_formula(lengths):
    """They are updated in place, a few prompts at a time."""
    task = MANY_FEATURES
    if lengths == "weighted":
        task = Task(np.linspace(2, 1, 39), trace=1.0, context_length={1: 0.25, 3: 0.75})
    data = sample(task, 2 * FEW + 9)
    stats = statistics(data, MODEL, "restricted")
    assert stats.features >= MANY_FEATURES_FROM
    parts = []
    for length in task.context_lengths:
        at_length = prompts_from_tokens(data.tokens[:, : length + 1])
        parts.append(plain(at_length, MODEL, "restricted"))
    weights = task.context_weights
    c, b, S = (np.tensordot(weights, terms, 1) for terms in zip(*parts, strict=True))
    assert stats.c == pytest.approx(c, rel=1e-13)
    np.testing.assert_allclose(stats.b, b, rtol=1e-12, atol=1e-13 * np.max(np.abs(b)))
    np.testing.assert_allclose(stats.S, S, rtol=1e-12, atol=1e-13 * np.max(np.abs(S)))
    assert np.array_equal(stats.S, stats.S.T)
    assert stats.S.flags.c_contiguous
    even = plain(
        prompts_from_tokens(data.tokens, context_lengths=task.context_lengths),
        MODEL,
        "restricted",
    )
    if lengths == "weighted":  # control: weights matter
        assert np.max(np.abs(even[2] - S)) > 1e-3 * np.max(np.abs(S))


def test_workers_do_not_change_a_bit_of_many_features():
    data = sample(MANY_FEATURES, CHUNK + FEW + 3)
    alone = bits(statistics(data, MODEL, "restricted"))
    with ThreadPoolExecutor(2) as pool:
        shared = statistics(data, MODEL, "restricted", pool)
    assert bits(shared) == alone
    recorded = prompts_from_tokens(data.tokens)
    assert bits(statistics(recorded, MODEL, "restricted")) == alone


DRAWN = {
    "gaussian": {"noise_variance": 0.1},
    "noise of the query": {"noise_variance": 0.1, "query_noise_variance": 0.4},
    "uniform": {"inputs": "uniform", "input_mean": [1.0, 0.0]},
    "rademacher": {"inputs": "rademacher"},
    "sphere": {"inputs": "sphere"},
    "two outputs": {"teachers": Gaussian(np.eye(4).reshape(2, 2, 2, 2))},
    "fixed teacher": {"fixed_teacher": [1, -1], "in_context_fraction": 0.4},
}


@pytest.mark.parametrize("law", DRAWN)
def test_pieces_of_a_chunk_are_the_chunk(law):
    """A chunk that is drawn a few prompts at a time holds the same numbers."""
    task = Task([2, 1], context_length=3, **DRAWN[law])
    options = {"random_labels": True} if law == "fixed teacher" else {"centre": True}
    data = sample(task, 2 * FEW + 5, **options)
    pieces = list(data.pieces(0, FEW))
    assert [len(piece.tokens) for piece in pieces] == [FEW, FEW, 5]
    for whole, parts in zip(data.chunk(0), zip(*pieces, strict=True), strict=True):
        assert np.array_equal(np.concatenate(parts), whole)


MEMORY = {
    "as published": (Task([4, 3, 2, 1], context_length=31), "full"),
    "many features": (Task(np.ones(40), context_length=80), "restricted"),
    "several outputs": (
        Task(
            np.ones(4),
            context_length=10,
            teachers=Gaussian(np.eye(12).reshape(3, 4, 3, 4)),
        ),
        "full",
    ),
    "every length": (Task([1, 1], context_length="0..40"), "full"),
}


@pytest.mark.parametrize("name", MEMORY)
def test_no_more_memory_is_taken_than_was_estimated(name):
    task, block = MEMORY[name]
    data = sample(task, CHUNK + 100)
    model = Merged(heads=1, outputs=task.outputs)
    statistics(sample(task, 5), model, block)  # what is loaded once
    tracemalloc.start()
    try:
        features = statistics(data, model, block).features
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    estimate = largest_memory(data, features)
    assert peak < estimate < 4 * peak
    if name == "many features":
        assert peak < 50e6
