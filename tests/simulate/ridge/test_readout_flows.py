"""The flow of the read-out against an integration of its equation, descent, and its end."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Task
from attndyn.simulate import readout_flow, ridge_fit, sample_summaries
from attndyn.simulate.ridge import readout_flows, readouts
from attndyn.teachers import Sphere

TASK = Task([1.5, 1, 0.5], context_length=5, noise_variance=0.1)


def features(data, row, weight):
    """F (P, E·D), the label row divided by the root of its weight."""
    h = data.beta
    if row:
        h = np.column_stack([h, data.mean_squares / np.sqrt(weight)])
    return (h[:, :, None] * data.query[:, None, :]).reshape(len(h), -1)


@pytest.mark.parametrize("row", [False, True])
@pytest.mark.parametrize("P", [7, 60])
def test_it_solves_the_equation_of_the_flow(P, row):
    data, weight = sample_summaries(TASK, P), 5.0 if row else 1.0
    F = features(data, row, weight)
    integrated = solve_ivp(
        lambda t, m: F.T @ (data.labels - F @ m) / P,
        (0, 2),
        np.zeros(F.shape[1]),
        t_eval=[0, 0.3, 2],
        rtol=1e-10,
        atol=1e-12,
    ).y.T.reshape(3, -1, 3)
    if row:
        integrated[:, -1] /= np.sqrt(weight)
    M = readout_flow(data, [0, 0.3, 2], label_row=row, label_weight=weight)
    np.testing.assert_allclose(M, integrated, atol=1e-9)
    assert not np.any(M[0])


@pytest.mark.parametrize("row", [False, True])
@pytest.mark.parametrize("P", [7, 60])
def test_its_end_is_the_solution_of_least_norm(P, row):
    data, weight = sample_summaries(TASK, P), 3.0 if row else 1.0
    end = readout_flow(data, 1e8, label_row=row, label_weight=weight)
    expected = ridge_fit(data, label_row=row, label_weight=weight)
    assert end.shape == (3 + row, 3)
    np.testing.assert_allclose(end, expected, atol=1e-10 * np.max(np.abs(expected)))


def test_small_steps_of_descent_follow_it():
    data = sample_summaries(TASK, 60)
    F, P = features(data, False, 1.0), 60
    errors = []
    for η in (4e-3, 2e-3):
        m = np.zeros(9)
        for _ in range(round(1 / (2 * η))):
            m -= η * -2 * F.T @ (data.labels - F @ m) / P
        errors.append(np.max(np.abs(m.reshape(3, 3) - readout_flow(data, 1.0))))
    # The error of steps is O(η).
    assert errors[0] / errors[1] == pytest.approx(2, rel=0.05)


def published_flow(data, θ):
    """Γ(θ) = (1 − exp(−θG′)) G′⁻¹ b′ as published, with G′ = (d/n) Σ H Hᵀ and H = x_q hᵀ."""
    d, n = data.dimension, data.sequences
    h = np.column_stack([d * data.beta, data.mean_squares])
    H = np.einsum("pi,pj->pij", data.query, h).reshape(n, -1)
    values, V = np.linalg.eigh(d / n * H.T @ H)
    growth = -np.expm1(-θ * values) / values
    return (V @ (growth * (V.T @ (d / n * H.T @ data.labels)))).reshape(d, d + 1)


def test_units_of_the_paper():
    d, θ = 4, 2.5
    data = sample_summaries(
        Task([1 / d] * d, context_length=8, noise_variance=0.1), 100
    )
    Γ = published_flow(data, θ)
    # θ is the time of Γ over d, and that of M is D² times the time of Γ.
    M = readout_flow(data, θ * d**3, label_row=True, label_weight=d**2)
    np.testing.assert_allclose(M[:-1], d * Γ[:, :-1].T, rtol=1e-9)
    np.testing.assert_allclose(M[-1], Γ[:, -1], rtol=1e-9, atol=1e-12)


def test_what_the_data_do_not_have_does_not_grow():
    singular = Task([1, 0, 0.5], context_length=5, noise_variance=0.1)
    for P in (6, 60):
        M = readout_flow(sample_summaries(singular, P), [1.0, 1e12])
        assert np.max(np.abs(M[:, 1])) < 1e-13
        assert np.max(np.abs(M[:, :, 1])) < 1e-13


@pytest.mark.parametrize(
    ("time", "message"),
    [
        (-1, "flow_time must be zero or more, and its least entry is -1"),
        ([0, np.inf], "must be finite"),
        ([[1.0]], "must be a number or have shape"),
    ],
)
def test_what_is_no_time_is_refused(time, message):
    with pytest.raises(ValueError, match=message):
        readout_flow(sample_summaries(TASK, 5), time)


@pytest.mark.parametrize("weight", [1e-6, 1.0, 1e6])
def test_features_of_other_scales_end_at_their_ridge_solution(weight):
    """Their squares differ by more than doubles hold; the flow has to resolve the least of them after a long time."""
    task = Task([1, 1e-4], teachers=Sphere(2), context_length=4, noise_variance=0.1)
    data = sample_summaries(task, 60, seed=3)
    row = {"label_row": True, "label_weight": weight}
    end = readout_flow(data, [1.0, 1e22], **row)[-1]
    known = ridge_fit(data, **row)
    assert end == pytest.approx(known, rel=1e-6)
    few = sample_summaries(task, 4, seed=3)
    assert readout_flow(few, [1e22], **row)[0] == pytest.approx(
        ridge_fit(few, **row), rel=1e-5, abs=1e-12
    )


def test_both_ways_meet_where_both_have_all_digits():
    task = Task([1, 0.5], context_length=5, noise_variance=0.2)
    data = sample_summaries(task, 40)
    times = np.array([0.0, 0.3, 5.0])
    numbers = readouts.readout_of(data, False, 1.0, "call").data
    exact = readout_flows._by_singular_values(numbers, times)
    assert exact == pytest.approx(readout_flow(data, times), abs=1e-12)
