"""Closed optima of the approximate loss against minimisation, limits and bounds."""

import math

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import minimize

from attndyn import Task
from attndyn.teachers import Pool
from attndyn.theory.predictors import best_debiased_step
from attndyn.theory.softmax_attention import (
    approximate_loss,
    best_exact_values,
    best_values,
    exact_loss,
    exact_optimum,
    exact_slope_at_zero,
    infimum,
    leading_optimum,
    same_sign_bound,
    single_head_optimum,
    two_head_optimum,
    two_head_slope,
)
from tests.oracles.white_tasks import white


def hostile_task():
    """Inputs of variance 2.5, labels of variance .9 · 2.5, no noise in the query's label, and three lengths."""
    return Task(
        [2.5] * 3,
        teacher_covariance=np.diag([0.6, 0.3, 0.0]),
        noise_variance=0.4,
        query_noise_variance=0.0,
        context_length={0: 0.2, 4: 0.3, 9: 0.5},
    )


def minimised(task, heads, seeds=3):
    """The least approximate loss that BFGS finds from some starts."""

    def loss_and_gradient(point):
        ω, μ = point[:heads], point[heads:]
        loss = approximate_loss(task, ω, μ, gradient=True)
        return float(loss), np.concatenate(loss.gradient)

    scale = 1 / task.covariance[0, 0]
    rng = np.random.default_rng(0)
    starts = rng.normal(size=(seeds, 2 * heads)) * 0.4 * scale
    # e^(D ω²) of a line search must stay a number.
    bounds = [(-2 * scale, 2 * scale)] * heads + [(None, None)] * heads
    found = [
        minimize(
            loss_and_gradient, start, jac=True, method="L-BFGS-B", bounds=bounds,
            options={"maxiter": 100},
        ).fun
        for start in starts
    ]  # fmt: skip
    return min(found)


@pytest.mark.parametrize("task", [white(), hostile_task()], ids=["white", "hostile"])
def test_single_heads_are_minima(task):
    optimum = single_head_optimum(task)
    assert_allclose(
        float(approximate_loss(task, optimum.omega, optimum.mu)), optimum.loss
    )
    assert_allclose(minimised(task, 1), optimum.loss, rtol=1e-6)
    assert_allclose(infimum(task, 1), optimum.loss)
    assert_allclose(best_values(task, optimum.omega).mu, optimum.mu)
    # Without e in it the loss is another one.
    assert infimum(task, 2) < optimum.loss - 0.01


def test_values_of_another_derivation():
    optimum = single_head_optimum(white())
    assert_allclose(optimum.omega, 0.447214, atol=5e-7)
    # It printed 1.627692, where √5/(1 + 5.5e/40) is 1.6276947.
    assert_allclose(optimum.mu, 1.627692, atol=3e-6)
    assert_allclose(optimum.loss, 0.372073, atol=5e-7)
    assert_allclose(infimum(white(), 2), 0.220879, atol=5e-7)


@pytest.mark.parametrize("task", [white(), hostile_task()], ids=["white", "hostile"])
def test_pairs_have_their_closed_form(task):
    for γ in (0.05, 0.3, 0.6):
        optimum = two_head_optimum(task, γ)
        direct = best_values(task, [γ, -γ])
        assert_allclose(direct.mu, optimum.mu, rtol=1e-10)
        assert_allclose(direct.loss, optimum.loss, rtol=1e-12)
        step = 1e-5
        difference = (
            two_head_optimum(task, γ + step).loss
            - two_head_optimum(task, γ - step).loss
        ) / (2 * step)
        assert_allclose(two_head_slope(task, γ), difference, rtol=1e-5)
        assert difference > 0


def test_pairs_reach_the_infimum_at_zero_alone():
    task = white()
    losses = [two_head_optimum(task, γ).loss for γ in (1e-150, 1e-4, 1e-2, 0.1, 0.4)]
    assert losses[0] == pytest.approx(infimum(task, 2), abs=1e-15)
    assert np.all(np.diff(losses) >= 0)
    excess = (
        np.array([two_head_optimum(task, γ).loss for γ in (0.02, 0.04)]) - losses[0]
    )
    # Excess κDη*²s²/6 with s = Dγ², so of order four in γ.
    assert math.log2(excess[1] / excess[0]) == pytest.approx(4, abs=0.01)
    s, κ, η = 5 * 0.02**2, 1.1 / 40, 1 / (1 + 5 * 1.1 / 40)
    assert excess[0] == pytest.approx(κ * 5 * η**2 * s**2 / 6, rel=1e-3)
    small = two_head_slope(task, 1e-4)
    assert small == pytest.approx(4 * κ * 5 * η**2 * 25 * 1e-12 / 6, rel=1e-6)


@pytest.mark.parametrize("heads", [2, 4])
def test_no_heads_fall_below_the_infimum(heads):
    task = hostile_task()
    # Minimisers run away to ω → 0.
    assert infimum(task, heads) < minimised(task, heads) < infimum(task, heads) + 5e-3


def test_no_heads_of_one_sign_fall_below_the_barrier():
    rng = np.random.default_rng(4)
    for task in (white(), hostile_task()):
        bound = same_sign_bound(task)
        lowest = np.inf
        for heads in (1, 2, 3, 6):
            ω = rng.normal(size=(400, heads)) * rng.choice([0.1, 0.4, 0.8], (400, 1))
            μ = np.abs(rng.normal(size=(400, heads))) * rng.choice(
                [0.3, 1, 3], (400, 1)
            )
            losses = approximate_loss(task, ω, μ).loss
            lowest = min(lowest, losses.min())
            assert np.all(losses >= bound - 1e-12)
        assert lowest < bound * 1.2
        # Signs of both kinds do.
        pair = two_head_optimum(task, 0.1)
        assert pair.loss < bound


def test_equal_heads_share_their_value():
    """At equal ω the form is singular, and the shortest μ is equal, too."""
    one, two = best_values(white(), [0.4]), best_values(white(), [0.4, 0.4])
    assert_allclose(two.mu, one.mu[0] / 2, rtol=1e-10)
    assert_allclose(two.loss, one.loss)


def test_leading_orders_of_another_derivation():
    for D, N, gain in (
        (5, 40, 2.65e-5),
        (5, 160, 5.0e-7),
        (20, 160, 1.66e-7),
        (80, 640, 7.59e-10),
    ):
        assert_allclose(leading_optimum(white(D, N)).gain, gain, rtol=5e-3)
    assert_allclose(leading_optimum(white(5, 160)).gamma, 0.0313, atol=5e-5)


@pytest.mark.parametrize(
    ("dimension", "length", "noise"),
    [
        (1, 30, 0.0),
        (1, 40, 0.0),
        (1, 100, 0.0),
        (1, 40, 10.0),
        (2, 60, 0.1),
        (5, 40, 0.1),
        (20, 160, 3.0),
    ],
)
def test_leading_orders_know_their_error(dimension, length, noise):
    """They are low, by less than they say: nearest for one dimension without noise."""
    task = white(dimension, length, noise=noise)
    leading, exact = leading_optimum(task), exact_optimum(task, 2)
    gain = best_debiased_step(task).loss - exact.loss
    for ratio in (exact.omega[0] ** 2 / leading.gamma**2, gain / leading.gain):
        assert 1 < ratio < 1 + leading.relative_error
    assert (leading.note == "") == (length > 30)


def test_leading_orders_warn_of_short_contexts():
    for length in (2, 12, 29, 39):
        assert "use exact_optimum" in leading_optimum(white(length=length)).note
    assert leading_optimum(white(length=40)).note == ""
    # In one dimension without noise γ*² of N = 20 is nine times its leading order.
    for length in (12, 20, 29):
        assert leading_optimum(white(length=length)).relative_error == math.inf
    assert leading_optimum(white(length=10**4)).relative_error < 2e-3


def test_leading_order_follows_from_the_slope():
    """A parabola in γ² of this slope and this minimum has half of slope·γ*² as its gain."""
    for task in (white(), white(7, 12, noise=0.6)):
        optimum = leading_optimum(task)
        half = -exact_slope_at_zero(task) * optimum.gamma**2 / 2
        N = task.context_lengths[0]
        assert_allclose(optimum.gain, half * N / (N - 1), rtol=1e-12)


# ---- how far the approximate loss can be relied on ----


def test_the_approximate_loss_knows_its_limit():
    """Random heads: where it is reliable it is off by no more than it says; beyond, by more."""
    rng = np.random.default_rng(5)
    for D, N, noise in ((4, 8, 0.0), (10, 80, 0.1), (20, 30, 1.0)):
        task = white(D, N, noise=noise)
        for _ in range(3):
            ω = rng.uniform(-1, 1, 3) / D**0.5
            μ = best_values(task, ω).mu * rng.uniform(0.6, 1.2)
            loss = approximate_loss(task, ω, μ)
            assert loss.reliable
            assert loss.note == ""
            error = abs(float(loss) / float(exact_loss(task, ω, μ, nodes=12)) - 1)
            assert error < loss.relative_error
    c = 2.0
    task = white(20, 160)
    ω = np.array([c, -c]) / 20**0.5
    best = best_values(task, ω)
    loss = approximate_loss(task, ω, best.mu)
    exact = exact_loss(task, ω, best.mu, nodes=12)
    # .2533 is more than the .1 that it would be within the limit.
    assert float(loss) / float(exact) - 1 > 2 * loss.relative_error
    assert not loss.reliable
    assert "deviation |omega| sqrt(D) of up to 2, and" in loss.note == best.note
    assert "use exact_loss" in repr(loss)
    assert loss.to_dict()["reliable"] is False


def test_points_of_the_approximate_loss_are_judged_one_by_one():
    loss = approximate_loss(white(4, 8), [[0.2, 0.5], [0.9, 0.1]], [[1, 1], [1, 1]])
    assert loss.reliable.tolist() == [True, False]
    assert np.asarray(loss).shape == (2,)
    assert "note" in repr(loss)


def test_optima_of_the_approximate_loss_say_so():
    assert "error is O(1/D), up to about 0.4" in single_head_optimum(white()).note
    assert "use exact_loss" in two_head_optimum(white(), 0.9).note
    # A closed form has no error of its own.
    assert (
        single_head_optimum(white()).error == two_head_optimum(white(), 0.9).error == 0
    )


def test_with_the_query_token_positive_heads_are_refused():
    task = white()
    with pytest.raises(ValueError, match=r"omega ≤ 0 alone, not for 0\.1"):
        approximate_loss(task, [0.1, -0.2], [1.0, 1.0], query_token=True)
    negative = approximate_loss(task, [-0.4], [-1.5], query_token=True)
    assert float(negative) == float(approximate_loss(task, [-0.4], [-1.5]))


def test_refusals():
    with pytest.raises(ValueError, match="known for white inputs"):
        single_head_optimum(Task([2, 1], context_length=5))
    with pytest.raises(ValueError, match="needs labels that a context tells of"):
        single_head_optimum(Task([1, 1], teachers=Pool([[0.0, 0.0]]), context_length=5))
    with pytest.raises(ValueError, match="gamma must be positive"):
        two_head_optimum(white(), 0.0)
    with pytest.raises(ValueError, match=r"e\^\(D ω²\)"):
        two_head_slope(white(), 20.0)
    with pytest.raises(ValueError, match="heads must be a whole number"):
        infimum(white(), 0)
    with pytest.raises(ValueError, match="one context length"):
        leading_optimum(white(length="2..5"))
    with pytest.raises(ValueError, match="at least 2 tokens"):
        exact_slope_at_zero(white(length=1))
    with pytest.raises(TypeError, match="call infimum"):
        infimum(2, white())


def test_best_values_of_nearly_equal_heads_are_refused():
    """At ±1e-7 rounding would decide: it gave a loss below the infimum."""
    for γ in (1e-7, 1e-6):
        with pytest.raises(ValueError, match="omega holds values that differ by"):
            best_values(white(), [γ, -γ])
        with pytest.raises(ValueError, match="omega holds values that differ by"):
            best_exact_values(white(), [0.3, 0.3 + γ])
    close = best_values(white(), [1e-5, -1e-5]).loss
    assert infimum(white(), 2) - 1e-6 < close < infimum(white(), 2) + 1e-6
    assert abs(best_exact_values(white(), [1e-5, -1e-5]).loss - 0.242857143) < 1e-6
