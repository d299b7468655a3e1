"""The sandwich against quadrature over all random numbers of a prompt, and against fits of many sequences."""

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from attndyn import Task
from attndyn.simulate import ridge_fit, sample_summaries
from attndyn.teachers import Gaussian, Pool, Sphere
from attndyn.theory.asymptotics import readout_loss, readout_moments, sandwich
from attndyn.theory.asymptotics.sandwiches import best_map, weighted_residual

ZHANG = Task([4, 3, 2, 1], trace=1, context_length=31)
"""The task of the published runs of linear attention."""


def normal_grid(numbers):
    """Points (n, numbers) and weights (n,) that integrate polynomials of degree 11 of independent N(0, 1)."""
    z, weight = hermegauss(6)
    points = np.stack(np.meshgrid(*[z] * numbers, indexing="ij"), axis=-1)
    weights = np.stack(np.meshgrid(*[weight / weight.sum()] * numbers, indexing="ij"))
    return points.reshape(-1, numbers), np.prod(weights, axis=0).ravel()


def by_quadrature(task, w, M, P, Q):
    """E[r² (βᵀPβ)(x_qᵀQx_q)] given one w, of a task with diagonal Λ: β has degree 2 in its random numbers."""
    D, N = task.dimension, task.context_length
    spread = np.sqrt(np.diag(task.covariance))
    z, weights = normal_grid(N * D + N)
    x = z[:, : N * D].reshape(-1, N, D) * spread
    y = x @ w + np.sqrt(task.noise_variance) * z[:, N * D :]
    β = np.einsum("gn,gnd->gd", y, x) / N
    query, query_weights = normal_grid(D)
    x_q = query * spread
    residual = x_q @ w - β @ M @ x_q.T
    of_β = weights * np.einsum("gi,ij,gj->g", β, P, β)
    of_x = query_weights * np.einsum("gi,ij,gj->g", x_q, Q, x_q)
    return of_β @ (residual**2 + task.query_noise_variance) @ of_x


@pytest.mark.parametrize(
    ("D", "N", "noise"),
    [(1, 1, 0.0), (1, 2, 0.5), (1, 3, 0.5), (2, 1, 0.5), (2, 2, 0.7)],
)
def test_the_weighted_residual_is_its_integral(D, N, noise):
    generator = np.random.default_rng(10 * D + N)
    teachers = generator.normal(size=(2, D))
    task = Task(
        np.arange(1, D + 1),
        teachers=Pool(teachers, weights=[1, 3]),
        context_length=N,
        noise_variance=noise,
        query_noise_variance=2 * noise,
    )
    M, P, Q = generator.normal(size=(3, D, D))
    P, Q = P + P.T, Q + Q.T
    first, second = (by_quadrature(task, w, M, P, Q) for w in teachers)
    known = (first + 3 * second) / 4
    assert weighted_residual(task, M, P, Q) == pytest.approx(known, rel=1e-11)


def test_a_normal_law_of_tasks_is_its_integral():
    task = Task([2], teachers=Gaussian([0.7], [0.3]), context_length=2)
    M, one = np.array([[0.4]]), np.ones((1, 1))
    w, weights = normal_grid(1)
    w = 0.3 + np.sqrt(0.7) * w
    known = sum(
        p * by_quadrature(task, one_w, M, one, one)
        for one_w, p in zip(w, weights, strict=True)
    )
    assert weighted_residual(task, M, one, one) == pytest.approx(known, rel=1e-12)


def test_several_lengths_are_averaged():
    parts = [Task([2, 1], context_length=n, noise_variance=0.2) for n in (1, 2)]
    task = Task([2, 1], context_length="0..2", noise_variance=0.2)
    M, P, Q = (np.diag(d) for d in ([0.4, 0.2], [1, 2], [3, 1]))
    # An empty context has no β.
    known = sum(weighted_residual(part, M, P, Q) for part in parts) / 3
    assert weighted_residual(task, M, P, Q) == pytest.approx(known, rel=1e-13)


def test_the_excess_of_the_published_task_is_the_known_one():
    known = sandwich(ZHANG)
    # The exact value; 4.985 is known from sampling, to about 0.03.
    assert known.excess == pytest.approx(5.0155974, abs=1e-7)
    assert known.excess == pytest.approx(4.985, abs=0.04)
    assert known.homoscedastic == pytest.approx(16 * 0.1359950716, abs=2e-9)
    assert known.to_dict()["ratio"] == known.ratio
    assert "ratio" in repr(known)


def test_fits_of_many_sequences_have_the_excess_and_not_the_homoscedastic_one():
    P = 4000
    moments = readout_moments(ZHANG)
    least = best_map(moments).loss
    fits = [ridge_fit(sample_summaries(ZHANG, P, seed)) for seed in range(200)]
    excess = P * (readout_loss(ZHANG, np.array(fits)) - least)
    standard_error = excess.std() / np.sqrt(len(excess))
    assert abs(excess.mean() - sandwich(ZHANG).excess) < 4 * standard_error
    assert abs(excess.mean() - sandwich(ZHANG).homoscedastic) > 10 * standard_error


@pytest.mark.parametrize(("D", "ratio"), [(8, 1.36), (16, 1.175), (28, 1.098)])
def test_the_ratio_falls_to_1_with_the_dimension(D, ratio):
    pools = [Gaussian(np.ones(D)).pool(2 * D, seed) for seed in range(10)]
    ratios = [
        sandwich(Task([1 / D] * D, teachers=pool, context_length=D)).ratio
        for pool in pools
    ]
    assert np.mean(ratios) == pytest.approx(ratio, rel=0.01)


@pytest.mark.parametrize(
    ("task", "message"),
    [
        (Task([1, 0], context_length=3), r"E\[β βᵀ\] is singular"),
        (Task([1, 1], context_length=3, inputs="uniform"), "Gaussian inputs of mean"),
        (Task([1, 1], context_length=3, input_mean=[1, 0]), "Gaussian inputs of mean"),
        (
            Task([1], context_length=3, teachers=Pool(np.ones((1, 2, 1)))),
            "the task has 2 outputs",
        ),
        (
            Task([1, 1], context_length=10**14, teachers=Sphere(2)),
            "leaves no loss",
        ),
    ],
)
def test_what_has_no_sandwich_is_refused(task, message):
    with pytest.raises(ValueError, match=message):
        sandwich(task)
