"""Merged attention: closed form, reduced equations and the unstable mode, against the flow of all weights."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from attndyn import Merged, Task
from attndyn.theory.linear_attention.merged import (
    aligned_amplitudes,
    drop_time,
    half_loss_time,
    matrix_amplitudes,
    unstable_mode_amplitude,
)
from attndyn.theory.moments.population_loss import population
from attndyn.theory.two_layer import two_layer_amplitudes

MODEL = Merged(heads=3)
WHITE = Task(eigenvalues=[0.5, 0.5, 0.5], context_length=10)
GENERAL = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
ROTATED = Task(
    covariance=[[1.0, 0.4, 0.0], [0.4, 0.7, 0.1], [0.0, 0.1, 0.5]],
    teacher_covariance=[[1.2, -0.3, 0.2], [-0.3, 0.6, 0.0], [0.2, 0.0, 0.9]],
    noise_variance=0.1,
    context_length=12,
)


def full_flow(moments, v0, U0, times):
    """M (T, D, D) of the gradient flow of every head: dv_h/dt = ⟨G, U_h⟩, dU_h/dt = v_h G."""

    def rate(_, x):
        v, U = x[: len(v0)], x[len(v0) :].reshape(U0.shape)
        force = moments.residual_correlation(np.einsum("h,hij->ij", v, U))
        return np.concatenate(
            (np.einsum("ij,hij->h", force, U), np.multiply.outer(v, force).ravel())
        )

    start = np.concatenate((v0, U0.ravel()))
    flow = solve_ivp(
        rate,
        (0, times[-1]),
        start,
        "DOP853",
        times,
        rtol=1e-11,
        atol=1e-11 * np.abs(start).min(),
    )
    v, U = flow.y[: len(v0)], flow.y[len(v0) :].reshape(*U0.shape, -1)
    return np.einsum("ht,hijt->tij", v, U)


def small_weights(dimension, scale, seed=0):
    """Full-size weights with zeros off the blocks that move, entries of size `scale`."""
    generator = np.random.default_rng(seed)
    value, key_query = (
        np.zeros((3, dimension + 1)),
        np.zeros((3, dimension + 1, dimension + 1)),
    )
    value[:, -1] = scale * generator.standard_normal(3)
    key_query[:, :-1, :-1] = scale * generator.standard_normal(
        (3, dimension, dimension)
    )
    return {"value": value, "key_query": key_query}


def white_constants(task):
    moments = population(task, MODEL)
    return (
        moments,
        float(np.linalg.norm(moments.b)),
        float(moments.a[0] * moments.lam[0]),
    )


def published_balanced(t, w0, dimension, length):
    """σ_M of the balanced solution at λ = 1."""
    grown = np.exp(2 * np.sqrt(dimension) * t)
    return grown / (
        (1 + (1 + dimension) / length) * (grown - 1) + np.sqrt(dimension) / w0**2
    )


def published_unbalanced(t, s0, u0, alpha, kappa):
    """s u from 2 s u = |s² − u²| sinh θ, whose θ is elementary."""
    size = abs(s0**2 - u0**2)
    b = kappa * size / 2
    root = np.hypot(alpha, b)
    high, low = (alpha + root) / b, (alpha - root) / b
    x0 = np.exp(np.arcsinh(2 * s0 * u0 / size))
    ratio = (x0 - high) / (x0 - low) * np.exp(-2 * root * t)
    return size / 2 * np.sinh(np.log((high - low * ratio) / (1 - ratio)))


@pytest.mark.parametrize("w0", [1e-6, 0.01, 0.5, 2.0])
def test_balanced_closed_form_is_the_published_one(w0):
    dimension, length, t = 4, 31, np.linspace(0, 20, 30)
    kappa = 1 + (1 + dimension) / length
    s, u = two_layer_amplitudes(t, w0, w0, np.sqrt(dimension), kappa)
    assert s == pytest.approx(u, rel=1e-15)
    assert s * u / np.sqrt(dimension) == pytest.approx(
        published_balanced(t, w0, dimension, length), rel=1e-12
    )
    wrong = published_balanced(t, w0, dimension, length + 1)
    assert np.max(np.abs(s * u / np.sqrt(dimension) / wrong - 1)) > 1e-3


@pytest.mark.parametrize(
    ("s0", "u0"), [(0.1, 0.05), (0.02, 1.0), (0.3, -0.2), (-0.3, 0.4), (2.0, 0.1)]
)
def test_unbalanced_closed_form_is_the_published_one(s0, u0):
    t, alpha, kappa = np.linspace(0, 4, 30), 1.3, 0.8
    s, u = two_layer_amplitudes(t, s0, u0, alpha, kappa)
    assert s * u == pytest.approx(
        published_unbalanced(t, s0, u0, alpha, kappa), rel=1e-11, abs=1e-13
    )
    assert (
        np.max(np.abs(s * u - published_unbalanced(t, s0, u0, alpha, 2 * kappa))) > 1e-2
    )


@settings(max_examples=25, deadline=None)
@given(
    s0=st.floats(-2, 2),
    u0=st.floats(-2, 2),
    alpha=st.floats(0.2, 3),
    kappa=st.floats(0.2, 3),
    ratio=st.floats(0, 1),
)
def test_closed_form_conserves_restarts_and_solves_the_equation(
    s0, u0, alpha, kappa, ratio
):
    t = 1.7
    s, u = two_layer_amplitudes([t, ratio * t], s0, u0, alpha, kappa)
    assert s[0] ** 2 - u[0] ** 2 == pytest.approx(
        s0**2 - u0**2, abs=1e-12 * (1 + s[0] ** 2)
    )
    again, other = two_layer_amplitudes((1 - ratio) * t, s[1], u[1], alpha, kappa)
    assert (again[0], other[0]) == pytest.approx(
        (s[0], u[0]), rel=1e-9, abs=1e-9 * (abs(s0) + abs(u0))
    )
    step = 1e-5
    (s_low, s_high), _ = two_layer_amplitudes(
        [t - step, t + step], s0, u0, alpha, kappa
    )
    assert (s_high - s_low) / (2 * step) == pytest.approx(
        u[0] * (alpha - kappa * s[0] * u[0]), abs=1e-7
    )


def test_closed_form_survives_all_times_and_all_starts():
    times = np.array([0.0, 1.0, 1e4, 1e300])
    for start in (
        (1e-100, 1e-100),
        (0.3, -0.3),
        (0.3, 0.0),
        (0.0, 0.0),
        (5.0, 5.0),
        (-0.2, -0.1),
    ):
        s, u = two_layer_amplitudes(times, *start, 2.0, 1.25)
        assert np.all(np.isfinite([s, u]))
        stays = start[0] == -start[1]
        assert (s * u)[-1] == pytest.approx(
            0.0 if stays else 2.0 / 1.25, rel=1e-14, abs=1e-300
        )


@pytest.mark.parametrize("scale", [1e-102, 1e-110])
def test_closed_form_of_amplitudes_whose_squares_vanish_is_that_of_larger_ones(scale):
    # s, u and 1/√κ in other units: squares of the amplitudes are below all numbers, κ is large.
    times = np.linspace(0, 3, 13)
    for s0, u0 in ((0.3, 0.1), (0.02, -0.1), (-0.4, -0.3)):
        expected = two_layer_amplitudes(times, s0, u0, 2.0, 1.25)
        found = two_layer_amplitudes(
            times, scale * s0, scale * u0, 2.0, 1.25 / scale / scale
        )
        assert np.array(found) / scale == pytest.approx(np.array(expected), rel=1e-12)


def test_closed_form_equals_the_reduced_equations_and_the_full_flow():
    moments, alpha, kappa = white_constants(WHITE)
    times, s0, u0 = np.linspace(0, 40, 25), 0.3, 0.1
    s, u = two_layer_amplitudes(times, s0, u0, alpha, kappa)
    reduced, shared = aligned_amplitudes(
        moments, times, s0, np.full(3, u0 / np.sqrt(3))
    )
    assert reduced == pytest.approx(s, rel=1e-10)
    assert shared == pytest.approx(np.outer(u, np.full(3, 1 / np.sqrt(3))), rel=1e-10)
    share = np.array([0.6, -0.8])
    full = full_flow(
        moments,
        s0 * share,
        np.multiply.outer(share, u0 / np.sqrt(3) * np.eye(3)) + 1e-300,
        times,
    )
    assert np.trace(full, axis1=1, axis2=2) / np.sqrt(3) == pytest.approx(
        s * u, rel=1e-8
    )


def test_reduced_equations_conserve_and_equal_the_matrix_equations():
    moments, times = population(GENERAL, MODEL), np.linspace(0, 300, 40)
    u0 = np.array([0.02, 0.01, -0.01, 0.03])
    s, u = aligned_amplitudes(moments, times, 0.05, u0)
    assert s**2 - np.sum(u**2, axis=1) == pytest.approx(
        np.full(40, 0.05**2 - u0 @ u0), abs=1e-11
    )
    basis = moments.directions
    same, matrices = matrix_amplitudes(moments, times, 0.05, basis * u0 @ basis.T)
    assert same == pytest.approx(s, rel=1e-9)
    assert basis.T @ matrices[-1] @ basis == pytest.approx(np.diag(u[-1]), abs=1e-9)


def growing_mode_error(task, scale, mode_factor=1.0):
    """Largest loss gap between the full flow from random weights and the unstable mode."""
    moments = population(task, MODEL)
    weights = small_weights(task.dimension, scale)
    w0 = unstable_mode_amplitude(moments, weights) * mode_factor
    times = np.linspace(0, half_loss_time(moments, w0) * 1.6, 400)
    full = full_flow(
        moments, weights["value"][:, -1], weights["key_query"][:, :-1, :-1], times
    )
    if task is WHITE:
        _, alpha, kappa = white_constants(task)
        s, u = two_layer_amplitudes(times, w0, w0, alpha, kappa)
        predicted = np.multiply.outer(s * u, np.eye(3) / np.sqrt(3))
    else:
        s, U = matrix_amplitudes(
            moments, times, w0, w0 * moments.B / np.linalg.norm(moments.B)
        )
        predicted = s[:, None, None] * U
    return np.max(np.abs(moments.loss(full) - moments.loss(predicted)))


@pytest.mark.parametrize(
    ("task", "order"), [(WHITE, 2.0), (GENERAL, 1.0), (ROTATED, 1.0)]
)
def test_growing_mode_is_exact_in_the_limit_of_small_weights(task, order):
    """First order in the scale; second, up to a logarithm, where all directions are equal."""
    scales = np.array([3e-3, 1e-3, 3e-4])
    errors = [growing_mode_error(task, scale) for scale in scales]
    observed = np.polyfit(np.log(scales), np.log(errors), 1)[0]
    assert abs(observed - order) < 0.25
    assert errors[-1] < 2 * scales[-1] ** order * np.log(1 / scales[-1])


def test_growing_mode_without_its_half_is_rejected():
    errors = [
        growing_mode_error(GENERAL, scale, mode_factor=2.0) for scale in (3e-3, 3e-4)
    ]
    assert min(errors) > 0.1


def test_drop_time_leads_and_half_loss_time_refines_it():
    moments = population(GENERAL, MODEL)
    modes = [1e-2, 1e-4, 1e-6]
    leading, refined = (
        np.array([time(moments, w0) for w0 in modes])
        for time in (drop_time, half_loss_time)
    )
    assert np.abs(np.diff(refined - leading))[-1] < 1e-3
    assert np.all(np.diff(leading / refined) > 0)
    assert leading[-1] == pytest.approx(-np.log(1e-6) / np.linalg.norm(moments.B))
    s, u = aligned_amplitudes(
        moments, refined[1], 1e-4, 1e-4 * moments.b / np.linalg.norm(moments.b)
    )
    loss = moments.loss(moments.directions * (s * u) @ moments.directions.T)
    assert loss == pytest.approx((moments.c + moments.minimum_loss) / 2, rel=1e-9)


def test_senseless_arguments_are_refused():
    moments = population(GENERAL, MODEL)
    with pytest.raises(ValueError, match="shape"):
        aligned_amplitudes(moments, 1.0, 0.1, [0.1, 0.1])
    with pytest.raises(ValueError, match="shape"):
        matrix_amplitudes(moments, 1.0, 0.1, np.eye(3))
    with pytest.raises(ValueError, match="commute"):
        aligned_amplitudes(population(ROTATED, MODEL), 1.0, 0.1, [0.1, 0.1, 0.1])
    with pytest.raises(ValueError, match="zero or more"):
        two_layer_amplitudes(-1.0, 0.1, 0.1, 1.0, 1.0)
    with pytest.raises(ValueError, match="positive"):
        two_layer_amplitudes(1.0, 0.1, 0.1, 1.0, 0.0)
    with pytest.raises(ValueError, match="for ever"):
        drop_time(moments, 0.0)
    with pytest.raises(ValueError, match="below the middle"):
        half_loss_time(moments, 2.0)
    with pytest.raises(ValueError, match="key_query"):
        unstable_mode_amplitude(moments, {"value": np.zeros((3, 5))})
    with pytest.raises(ValueError, match="must have shape"):
        unstable_mode_amplitude(moments, small_weights(3, 0.1))


def test_half_loss_time_keeps_its_digits_beside_much_noise():
    moments = population(Task([1.3, 0.9, 0.4], context_length=7), Merged(heads=1))
    assert half_loss_time(replace(moments, c=1e15), 1e-3) == pytest.approx(
        half_loss_time(moments, 1e-3), rel=1e-11
    )
