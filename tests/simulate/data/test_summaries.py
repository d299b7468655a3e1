"""Summaries drawn from their law have the law of those of tokens: exact moments, and distributions."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import ks_2samp

from attndyn import Task
from attndyn.simulate import (
    ContextSummaries,
    context_summaries,
    prompts_from_arrays,
    sample,
    sample_summaries,
)
from attndyn.teachers import Gaussian, Pool, Sphere

Λ = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
W = np.array([0.8, -1.1, 0.4])


def one_teacher(N, noise=0.3, D=3, query_noise=None):
    """A task of one teacher, so that only x and noise are random."""
    return Task(
        covariance=Λ[:D, :D],
        teachers=Pool(W[None, :D]),
        context_length=N,
        noise_variance=noise,
        query_noise_variance=query_noise,
    )


def z_scores(samples, expected):
    """Deviations of means over samples (P, …) from what is expected, in standard errors."""
    error = samples.std(axis=0) / np.sqrt(len(samples))
    return np.abs(samples.mean(axis=0) - expected) / error


@pytest.mark.parametrize("D", [1, 3])
@pytest.mark.parametrize("N", [1, 2, 40])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_moments_given_the_teacher_are_exact(D, N, noise):
    task = one_teacher(N, noise, D)
    drawn = sample_summaries(task, 40_000, seed=5)
    β, s = drawn.beta, drawn.mean_squares
    L, w = task.covariance, W[:D]
    b, v = L @ w, w @ L @ w + noise
    ββ = np.einsum("pi,pj->pij", β, β)
    assert np.max(z_scores(β, b)) < 4.5
    assert np.max(z_scores(s, v)) < 4.5
    assert np.max(z_scores(ββ, (v * L + (N + 1) * np.outer(b, b)) / N)) < 4.5
    assert np.max(z_scores(s[:, None] * β, (1 + 2 / N) * v * b)) < 4.5
    assert np.max(z_scores(s**2, (1 + 2 / N) * v**2)) < 4.5
    # The query is a fresh x, whatever the context was.
    x = drawn.query
    assert np.max(z_scores(np.einsum("pi,pj->pij", x, x), L)) < 4.5
    assert np.max(z_scores(np.einsum("pi,pj->pij", β - b, x), np.zeros((D, D)))) < 4.5
    assert np.max(z_scores(drawn.labels[:, None] * x, b)) < 4.5
    # Control: moments of a context that is one token longer.
    if noise and N == 2:
        wrong = (v * L + (N + 2) * np.outer(b, b)) / (N + 1)
        assert np.max(z_scores(ββ, wrong)) > 10


def numbers(summaries):
    """Numbers (P, …) of summaries whose laws are compared: entries, along the teacher and across it, and joint ones."""
    β, s = summaries.beta, summaries.mean_squares
    D = β.shape[1]
    b = Λ[:D, :D] @ W[:D]
    columns = [s, β @ W[:D], β @ np.arange(1.0, D + 1), np.sum(β**2, axis=1)]
    # Joint laws: β against s, and against the query.
    columns += [β @ W[:D] / s, (β @ b) * s, np.sum(β * summaries.query, axis=1)]
    columns += [summaries.labels, summaries.labels * s, summaries.labels * β[:, 0]]
    # What is a constant in one dimension without noise differs by rounding, which has no law.
    return np.round(np.column_stack(columns), 9)


def least_p_value(one, other):
    """The least p-value of Kolmogorov and Smirnov over all numbers, times how many there are."""
    columns = zip(numbers(one).T, numbers(other).T, strict=True)
    p_values = [ks_2samp(mine, theirs).pvalue for mine, theirs in columns]
    return min(p_values) * len(p_values)


@pytest.mark.parametrize(
    ("D", "N", "noise"),
    [(1, 1, 0.0), (1, 5, 0.6), (3, 1, 0.6), (3, 2, 0.0), (3, 9, 0.6)],
)
def test_laws_are_those_of_tokens(D, N, noise):
    task = one_teacher(N, noise, D)
    from_tokens = context_summaries(sample(task, 8000, seed=1))
    assert least_p_value(sample_summaries(task, 8000, seed=1), from_tokens) > 1e-3


@pytest.mark.parametrize("wrong", [one_teacher(7), one_teacher(5, noise=0.45)])
def test_laws_of_other_tasks_are_told_apart(wrong):
    from_tokens = context_summaries(sample(one_teacher(5), 8000, seed=1))
    assert least_p_value(sample_summaries(wrong, 8000, seed=1), from_tokens) < 1e-3


def test_right_laws_of_each_number_do_not_make_a_right_joint_law():
    from_tokens = context_summaries(sample(one_teacher(5), 8000, seed=1))
    drawn = sample_summaries(one_teacher(5), 8000, seed=1)
    independent = replace(drawn, mean_squares=np.roll(drawn.mean_squares, 1))
    assert least_p_value(drawn, from_tokens) > 1e-3
    assert least_p_value(independent, from_tokens) < 1e-3


def test_laws_with_random_teachers_are_those_of_tokens():
    task = Task(covariance=Λ, teachers=Sphere(3), context_length=4, noise_variance=0.2)
    from_tokens = context_summaries(sample(task, 8000, seed=2))
    assert least_p_value(sample_summaries(task, 8000, seed=3), from_tokens) > 1e-3


def test_without_noise_in_one_dimension_both_numbers_say_the_same():
    drawn = sample_summaries(one_teacher(3, noise=0.0, D=1), 50)
    np.testing.assert_allclose(drawn.mean_squares, W[0] * drawn.beta[:, 0], rtol=1e-12)


def test_one_token_is_one_product():
    # With N = 1 and no noise β = y x and s = y²: β is along x, and βᵀw = s.
    drawn = sample_summaries(one_teacher(1, noise=0.0), 50)
    np.testing.assert_allclose(drawn.beta @ W, drawn.mean_squares, rtol=1e-10)


def test_a_teacher_of_zero_leaves_noise_alone():
    task = Task([1, 2], teachers=Pool([[0.0, 0.0]]), context_length=3)
    silent = sample_summaries(task, 10)
    assert not np.any(silent.beta)
    assert not np.any(silent.mean_squares)
    assert not np.any(silent.labels)
    noisy = Task(
        [1, 2], teachers=Pool([[0.0, 0.0]]), context_length=3, noise_variance=2
    )
    drawn = sample_summaries(noisy, 40_000)
    assert np.max(z_scores(drawn.beta**2, [2 / 3, 4 / 3])) < 4.5
    assert z_scores(drawn.mean_squares, 2.0) < 4.5


def test_labels_have_the_noise_of_the_query():
    drawn = sample_summaries(one_teacher(3, noise=0.1, query_noise=0.9), 40_000)
    residual = drawn.labels - drawn.query @ W
    assert z_scores(residual**2, 0.9) < 4.5
    exact = sample_summaries(one_teacher(3, noise=0.1, query_noise=0), 10)
    np.testing.assert_allclose(exact.labels, exact.query @ W, rtol=1e-12)


def members_seen(summaries, pool):
    """Which member of a pool each context of very many tokens of white x is of."""
    distances = np.linalg.norm(summaries.beta[:, None] - pool.members[:, 0], axis=2)
    return np.argmin(distances, axis=1)


def test_pools_are_drawn_from_in_turn_or_at_random():
    pool = Sphere(4).pool(5, seed=1)
    task = Task([1] * 4, teachers=pool, context_length=10**6)
    balanced = members_seen(sample_summaries(task, 5000, balanced=True), pool)
    assert list(np.bincount(balanced)) == [1000] * 5
    at_random = np.bincount(members_seen(sample_summaries(task, 5000), pool))
    assert list(at_random) != [1000] * 5
    assert np.sum((at_random - 1000) ** 2 / 1000) < 25


def test_teachers_are_those_of_the_sample_and_all_else_is_independent():
    task = Task([1] * 4, context_length=10**6)
    summaries, prompts = (
        sample_summaries(task, 5000, seed=3),
        sample(task, 5000, seed=3),
    )
    w = np.concatenate([prompts.teachers(index)[:, 0] for index in prompts.indices])
    assert w.shape == (5000, 4)
    assert np.max(np.abs(summaries.beta - w)) < 0.02
    short = Task([1] * 4, context_length=1)
    tokens = sample(short, 5000, seed=3)
    both = np.corrcoef(
        sample_summaries(short, 5000, seed=3).query.T, tokens.tokens[:, -1, :4].T
    )
    assert np.max(np.abs(both - np.eye(8))) < 4.5 / np.sqrt(5000)


def test_the_seed_and_the_split_decide():
    task = one_teacher(5)
    first = sample_summaries(task, 10, seed=1)
    assert np.array_equal(first.beta, sample_summaries(task, 10, seed=1).beta)
    assert not np.array_equal(first.beta, sample_summaries(task, 10, seed=2).beta)
    other = sample_summaries(task, 10, seed=1, split="test")
    assert not np.array_equal(first.beta, other.beta)


def test_summaries_of_tokens_are_their_means():
    generator = np.random.default_rng(0)
    x, y = generator.normal(size=(5000, 4, 2)), generator.normal(size=(5000, 4))
    summaries = context_summaries(prompts_from_arrays(x, y))  # more than one chunk
    assert summaries.sequences == 5000
    for p in (0, 4999):
        β = sum(y[p, n] * x[p, n] for n in range(3)) / 3
        np.testing.assert_allclose(summaries.beta[p], β, rtol=1e-12)
        s = sum(y[p, n] ** 2 for n in range(3)) / 3
        np.testing.assert_allclose(summaries.mean_squares[p], s, rtol=1e-12)
    np.testing.assert_array_equal(summaries.query, x[:, 3])
    np.testing.assert_array_equal(summaries.labels, y[:, 3])


def test_summaries_show_themselves():
    summaries = sample_summaries(one_teacher(3), 7)
    assert "context length  3" in repr(summaries)
    stored = summaries.to_dict()
    assert np.array_equal(stored["beta"], summaries.beta)
    assert stored["context_length"] == 3
    assert isinstance(summaries, ContextSummaries)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: sample_summaries(one_teacher(3), 0), ValueError, "sequences must be"),
        (
            lambda: sample_summaries(Task([1], context_length="1..3"), 5),
            ValueError,
            "one context length, and there are 3",
        ),
        (
            lambda: sample_summaries(Task([1], context_length=3, inputs="uniform"), 5),
            ValueError,
            "Gaussian inputs of mean 0: draw tokens",
        ),
        (
            lambda: sample_summaries(Task([1], context_length=3, input_mean=[1]), 5),
            ValueError,
            "Gaussian inputs of mean 0: draw tokens",
        ),
        (
            lambda: sample_summaries(
                Task([1, 1], context_length=3, teachers=Gaussian.shared_basis([1, 1])),
                5,
            ),
            ValueError,
            "one label of x, and there are 2",
        ),
        (
            lambda: sample_summaries(one_teacher(3), 10**12),
            MemoryError,
            "choose fewer sequences",
        ),
        (
            lambda: sample_summaries(Task([1], context_length=3), 5, balanced=True),
            ValueError,
            "balanced takes the teachers of a pool",
        ),
        (
            lambda: sample_summaries(
                Task([1], context_length=3, teachers=Pool([[1], [2], [3]])),
                2,
                balanced=True,
            ),
            ValueError,
            "3 teachers, and 2 sequences",
        ),
        (
            lambda: sample_summaries(5, one_teacher(3)),
            TypeError,
            r"call sample_summaries\(task, sequences\): got int, then Task",
        ),
        (
            lambda: context_summaries(sample(Task([1], context_length=[2, 3]), 5)),
            ValueError,
            "one context length, and there are 2",
        ),
    ],
)
def test_what_has_no_summaries_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
