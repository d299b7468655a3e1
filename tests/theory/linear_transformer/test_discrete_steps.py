"""Descent on modes and its modified flow, against the exact map of a pair and by their orders in the step."""

import numpy as np
import pytest

from attndyn.theory.linear_transformer import (
    largest_step,
    minimum,
    mode_descent,
    mode_fixed_points,
    mode_flow,
    modified_flow,
)
from attndyn.theory.linear_transformer.layer_losses import (
    half_hessian_of_layer,
    layer_moments,
)
from attndyn.theory.linear_transformer.mode_flows import decoupled_rates
from attndyn.theory.linear_transformer.mode_points import amplitudes_of, on_basis
from attndyn.theory.linear_transformer.mode_tasks import mode_task

from .laws import hostile_task, modes


def test_the_map_of_a_decoupled_pair_is_exact():
    task = modes([1.3, 0.4], 4)
    α, κ = decoupled_rates(mode_task(task, None, "this test"))
    p, q = np.random.default_rng(0).normal(size=(2, 5, 2))
    h = 0.1
    course = mode_descent(task, p, q, [0, 1], learning_rate=h / 2, law="decoupled")
    f = h * (α - κ * p * q)
    assert course.flow_time.tolist() == [0, h]
    difference = course.p[1] ** 2 - course.q[1] ** 2
    assert difference == pytest.approx((p**2 - q**2) * (1 - f**2), rel=1e-12)
    expected = p * q * (1 + f**2) + f * (p**2 + q**2)
    assert course.coefficients[1] == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("law", ["exact", "decoupled"])
def test_descent_is_off_the_flow_by_h_and_off_the_modified_one_by_its_square(law):
    task = modes([1.3, 0.4], 2)
    start = [0.1, 0.1]
    errors = []
    for h in (0.05, 0.025):
        steps = np.arange(0, round(5 / h) + 1, round(1 / h))
        rate = h / 2
        descent = mode_descent(task, start, start, steps, learning_rate=rate, law=law)
        flow = mode_flow(task, start, start, descent.flow_time, law=law)
        modified = modified_flow(
            task, start, start, descent.flow_time, learning_rate=rate, law=law
        )
        gaps = [descent.loss - flow.loss, descent.loss - modified.loss]
        errors.append([np.max(np.abs(gap)) for gap in gaps])
    orders = np.log2(np.array(errors)[:-1] / np.array(errors)[1:])
    assert orders[:, 0] == pytest.approx(1, abs=0.1)
    assert orders[:, 1] == pytest.approx(2, abs=0.15)


def test_descent_follows_the_loss_of_any_task():
    task, model = hostile_task(np.random.default_rng(0))
    p, q = 0.1 * np.random.default_rng(1).normal(size=(2, task.dimension))
    course = mode_descent(task, p, q, [1], learning_rate=1e-6, model=model)
    flow = mode_flow(task, p, q, course.flow_time, model)
    moved = flow.p[0] - p
    assert course.p[0] - p == pytest.approx(moved, abs=1e-4 * np.max(np.abs(moved)))


def test_what_is_conserved_drifts_by_h_at_a_fixed_time():
    task = modes([1.3, 0.4], 4)
    p, q = [0.5, 0.1], [0.1, 0.3]
    drifts = []
    for h in (0.05, 0.025):
        course = mode_descent(task, p, q, [0, round(8 / h)], learning_rate=h / 2)
        drifts.append(np.sum(course.p**2 - course.q**2, axis=-1) @ [-1, 1])
    assert drifts[0] / drifts[1] == pytest.approx(2, rel=0.15)


@pytest.mark.parametrize(
    ("scale", "law", "step"),
    [
        (1.0, "exact", 0.248591),
        ("balanced", "exact", 0.199454),
        ("balanced", "decoupled", 0.25),
    ],
)
def test_the_edge_is_the_known_one(scale, law, step):
    found = largest_step(modes([2, 1, 0.5, 0.25], 20), scale, law=law)
    assert found == pytest.approx(step, abs=6e-7)


def test_descent_stays_below_the_edge_and_slides_above_it():
    task = modes([1.3, 0.4], 2)
    scales = np.array([1.0, 2.0])
    edges = largest_step(task, scales)
    assert edges[1] < edges[0]
    p, q = mode_fixed_points(task)[0].amplitudes()
    nudged = 2 * p * (1 + 1e-6), q / 2
    for share, stays in ((0.95, True), (1.05, False)):
        rate = share * float(edges[1]) / 2
        course = mode_descent(task, *nudged, [0, 3000], learning_rate=rate)
        moved = np.max(np.abs(course.p[1] / course.p[0] - 1))
        assert (moved < 1e-3) == stays
        # Above the edge it slides to a flatter point of the same loss.
        assert course.loss[1] == pytest.approx(course.loss[0], rel=1e-3)


@pytest.mark.parametrize("seed", range(4))
def test_the_edge_is_that_of_the_hessian_of_all_of_p_and_q(seed):
    task, model = hostile_task(np.random.default_rng(seed))
    least = minimum(task, model)
    p, q = amplitudes_of(least.modes, least.coefficients)
    moments = layer_moments(task, model, "this test")
    for c in (1.0, 3.0, 0.1):
        blocks = on_basis(least.modes, c * p), on_basis(least.modes, q / c)
        largest = np.linalg.eigvalsh(half_hessian_of_layer(moments, *blocks))[-1]
        assert largest_step(task, c, model) == pytest.approx(2 / largest, rel=1e-9)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda task: mode_descent(task, [1, 1], [1, 1], [0.5], learning_rate=0.1),
            "whole numbers",
        ),
        (
            lambda task: mode_descent(
                task, [1, 1], [1, 1], [np.inf], learning_rate=0.1
            ),
            "whole numbers",
        ),
        (
            lambda task: mode_descent(task, [1, 1], [1, 1], [10**8], learning_rate=0.1),
            "1,000,000 at most, not 100,000,000: modified_flow",
        ),
        (
            lambda task: mode_descent(task, [1, 1], [1, 1], [1], learning_rate=0),
            "learning_rate must be positive",
        ),
        (
            lambda task: modified_flow(
                task, [1, 1], [[1, 1]], [1.0], learning_rate=0.1
            ),
            "one shape",
        ),
        (
            lambda task: modified_flow(task, [1, 1], [1, 1], [1.0], learning_rate=1),
            r"does not follow a flow from this start, whose fastest rate is",
        ),
        (
            lambda task: modified_flow(
                task, [1e200, 1], [1, 1], [1.0], learning_rate=1e-9
            ),
            r"does not follow a flow from this start, whose fastest rate is inf",
        ),
        (
            lambda task: largest_step(modes([1e-160, 1e-161], 5)),
            "that of x is 1e-160: take units in which it is between 1e-60 and 1e60",
        ),
        (lambda task: largest_step(task, "canonical"), "scale must be one of balanced"),
        (lambda task: largest_step(task, [1, 0]), "scale must be positive"),
        (lambda task: largest_step(task, [1, 1e200]), "scale must lie between"),
    ],
)
def test_what_cannot_be_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(modes([1, 0.5], 5))


def test_the_edge_in_strong_noise_is_that_of_the_one_mode_that_is_left():
    noise, s, N = 1e20, 1.0, 5
    a = N / (s * ((N + 1) + (s + noise) / s))
    # On the line (s + σ²) p² = s² q² of one mode, where ½L has the curvature κ (p² + q²) with κ = s²/a.
    r = np.sqrt(s + noise)
    edge = 2 / (s**2 / a * (a * s / r + a * r / s))
    assert largest_step(modes([s, 0.5], N, noise=noise)) == pytest.approx(edge)


def test_divergence_is_said():
    with pytest.raises(ArithmeticError, match="diverges"):
        mode_descent(modes([1], 5), [9.0], [9.0], [50], learning_rate=1.0)
