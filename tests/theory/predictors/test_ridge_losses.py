"""Losses of ridge regression against drawn contexts, the predictor itself, and numbers of another implementation."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.teachers import Gaussian
from attndyn.theory.predictors import (
    best_plain_step,
    excess_ratio,
    excess_ratio_bound,
    largest_total_ratio,
    proportional_excess_ratio,
    proportional_ridge_loss,
    ridge,
    ridge_loss,
)
from tests.oracles.white_tasks import white

# Averages over drawn contexts of another implementation, with their standard errors.
SAMPLED = [
    (5, 40, 0.11444, 1e-5),
    (20, 40, 0.18736, 7e-5),
    (40, 40, 0.37462, 1.6e-4),
    (3, 6, 0.20310, 2.6e-4),
]


@pytest.mark.parametrize(("dimension", "length", "sampled", "error"), SAMPLED)
def test_losses_are_those_of_another_implementation(dimension, length, sampled, error):
    loss = ridge_loss(white(dimension, length))
    # Four cases: 3 standard errors, and half a unit of the last digit.
    assert abs(loss.loss - sampled) < 3 * error + 5e-6
    assert loss.error < 1e-11
    assert loss.contexts == 0


def test_proportional_losses_are_those_of_another_implementation():
    for length, dimension, expected in (
        (40, 5, 0.11406),
        (40, 20, 0.18443),
        (40, 40, 0.37016),
    ):
        assert abs(proportional_ridge_loss(white(dimension, length)) - expected) < 5e-6


def test_proportional_limit_is_reached_as_one_over_dimension():
    gaps = []
    for D in (10, 20, 40, 80):
        task = white(D, 2 * D)
        gaps.append(ridge_loss(task).loss - proportional_ridge_loss(task))
    orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert_allclose(orders, 1, atol=0.06)


def test_integrals_are_averages_over_contexts():
    """Three tasks with an integral, and the average that other tasks have."""
    Λ = np.array([[2.0, 0.5, 0], [0.5, 1.0, 0.2], [0, 0.2, 0.7]])
    tasks = [
        Task(covariance=Λ, teacher_covariance=0.4 * np.linalg.inv(Λ), noise_variance=0.3, context_length=4),
        Task([1, 1, 1], teacher_covariance=np.diag([0.5, 0.5, 0]), noise_variance=0.2, context_length=2),
        white(3, {0: 0.25, 2: 0.25, 5: 0.5}),
    ]  # fmt: skip
    for task in tasks:
        exact = ridge_loss(task)
        assert exact.contexts == 0
        # A mean that is not zero, but too small to matter, leaves no integral.
        moved = Task(**task.arguments() | {"input_mean": [1e-9] * 3})
        averaged = ridge_loss(moved, contexts=20_000)
        assert averaged.contexts == 20_000
        assert abs(averaged.loss - exact.loss) < 4 * averaged.error


def test_averages_are_those_of_the_predictor():
    """The loss given X is that of `ridge` on drawn prompts."""
    Ω = np.array([[1.0, 0.3, 0], [0.3, 0.5, 0], [0, 0, 0.2]])
    task = Task(
        [2, 1, 0.5],
        input_mean=[0.5, 0, -1],
        teacher_covariance=Ω,
        noise_variance=0.3,
        query_noise_variance=0.1,
        context_length=4,
    )
    rng = np.random.default_rng(1)
    P = 100_000
    x = task.input_mean + rng.normal(size=(P, 5, 3)) * np.sqrt([2, 1, 0.5])
    w = rng.normal(size=(P, 3)) @ np.linalg.cholesky(Ω).T
    y = np.einsum("pnd,pd->pn", x, w) + rng.normal(size=(P, 5)) * 0.3**0.5
    label = np.sum(x[:, 4] * w, axis=1) + rng.normal(size=P) * 0.1**0.5
    squares = (ridge(x[:, :4], y[:, :4], x[:, 4], 0.3, Ω) - label) ** 2
    found = ridge_loss(task)
    error = np.hypot(squares.std() / P**0.5, found.error)
    assert abs(squares.mean() - found.loss) < 4 * error
    # No smaller loss is possible: the best step has a larger one.
    assert best_plain_step(task).loss > found.loss


def test_without_noise_the_teacher_is_known_on_the_span_of_the_context():
    assert_allclose(ridge_loss(white(4, 3, noise=0)).loss, 0.25, rtol=1e-12)
    assert ridge_loss(white(3, 4, noise=0)).loss == 0
    assert_allclose(ridge_loss(white(4, 3, noise=1e-7)).loss, 0.25, rtol=1e-3)
    general = Task([2, 1, 0.5], context_length=2)
    tiny = Task([2, 1, 0.5], noise_variance=1e-9, context_length=2)
    assert_allclose(ridge_loss(general).loss, ridge_loss(tiny).loss, rtol=1e-4)


def test_excess_ratio_is_below_its_bound_and_reaches_it():
    for D, N, σ2 in ((5, 40, 0.1), (1, 1, 2.0), (3, 500, 0.02), (20, 7, 0.5)):
        task = white(D, N, noise=σ2)
        assert 1 <= excess_ratio(task) < excess_ratio_bound(task)
    few = white(2, 100_000)
    assert_allclose(excess_ratio(few), excess_ratio_bound(few), rtol=1e-3)
    # Above (1 + σ²)/σ² = 11, which is the bound of D → ∞ alone.
    assert excess_ratio(few) > 11
    assert excess_ratio(white(3, 500, noise=0.02)) == pytest.approx(66.6, abs=0.1)
    assert excess_ratio_bound(white(100, 10)) == pytest.approx(11.1)
    assert abs(proportional_excess_ratio(0.1, 1e-5) - 10.9998) < 5e-5


def test_total_ratios_are_those_of_another_implementation():
    for σ2, expected in ((0.01, 17.95), (0.1, 2.532), (1, 1.079), (3, 1.013)):
        assert (
            abs(largest_total_ratio(σ2).ratio - expected)
            < 10 ** (-2 if expected > 10 else -3) / 2 * 1.1
        )
    assert abs(largest_total_ratio(0.1).aspect_ratio - 0.388) < 5e-4


def test_refusals():
    two = Task([1, 1], teachers=Gaussian.on_supports(2, [[0], [1]]), context_length=3)
    with pytest.raises(ValueError, match="known for one label, not for the 2 outputs"):
        ridge_loss(two)
    with pytest.raises(ValueError, match="a multiple of a projector"):
        proportional_ridge_loss(Task([2, 1], context_length=3))
    with pytest.raises(ValueError, match="one context length of at least 1"):
        proportional_ridge_loss(white(2, "1..4"))
    with pytest.raises(ValueError, match="noise_variance must be positive"):
        excess_ratio(white(2, 4, noise=0))
    with pytest.raises(TypeError, match="call ridge_loss"):
        ridge_loss([1, 2])
