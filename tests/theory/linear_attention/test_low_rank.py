"""A head of rank R: its reduced equations against the flow of all its weights."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Separate, Task
from attndyn.theory.linear_attention.low_rank import low_rank_amplitudes
from attndyn.theory.linear_attention.rank_one import rank_one_amplitude
from attndyn.theory.moments.population_loss import population

TASK = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
MOMENTS = population(TASK, Separate(heads=2, rank=2))
LIMIT = MOMENTS.a * MOMENTS.lam
TIMES = np.linspace(0, 900, 60)


def full_coefficients(v0, kappa0, directions, times=TIMES):
    """M_dd (T, D) of the flow of one head: dv = Σ kᵀGq, dk_r = v G q_r, dq_r = v Gᵀ k_r; k_r = q_r at the start."""
    pairs = np.zeros((len(kappa0), 4))
    pairs[np.arange(len(kappa0)), directions] = kappa0

    def rate(_, x):
        v, k, q = x[0], *x[1:].reshape(2, -1, 4)
        force = MOMENTS.residual_correlation(v * k.T @ q)
        drive = v * q @ force.T, v * k @ force
        return np.concatenate(
            ([np.sum(k @ force * q)], *(part.ravel() for part in drive))
        )

    start = np.concatenate(([v0], pairs.ravel(), pairs.ravel()))
    flow = solve_ivp(
        rate, (0, times[-1]), start, "DOP853", times, rtol=3e-14, atol=1e-16
    )
    k, q = flow.y[1:].reshape(2, -1, 4, len(times))
    return (flow.y[0] * np.sum(k * q, axis=0)).T


@pytest.mark.parametrize(
    ("v0", "kappa0", "directions"),
    [
        (0.1, [0.08, 0.06], [0, 1]),
        (0.5, [0.02, 0.3], [3, 1]),
        (-0.1, [0.2, 0.1], [0, 2]),
        (0.0, [0.2, 0.2], [1, 2]),
    ],
)
def test_reduced_equations_equal_the_full_flow(v0, kappa0, directions):
    v, kappa = low_rank_amplitudes(
        TIMES, v0, kappa0, MOMENTS.b[directions], LIMIT[directions]
    )
    full = full_coefficients(v0, kappa0, directions)
    assert v[:, None] * kappa**2 == pytest.approx(full[:, directions], abs=1e-10)
    assert np.max(np.abs(np.delete(full, directions, axis=1))) == 0
    wrong, other = low_rank_amplitudes(
        TIMES, v0, kappa0, MOMENTS.b[directions], MOMENTS.a[directions]
    )
    assert np.max(np.abs(wrong[:, None] * other**2 - full[:, directions])) > 1e-2


@pytest.mark.parametrize(
    ("v0", "kappa0"), [(0.1, [0.08, 0.06]), (0.5, [0.02, 0.3]), (0.0, [0.2, 0.2])]
)
def test_the_difference_of_squares_is_conserved_and_not_assumed_zero(v0, kappa0):
    v, kappa = low_rank_amplitudes(TIMES, v0, kappa0, MOMENTS.b[:2], LIMIT[:2])
    start = v0**2 - np.sum(np.square(kappa0))
    assert v**2 - np.sum(kappa**2, axis=1) == pytest.approx(
        np.full(len(TIMES), start), abs=1e-11
    )


def test_rank_one_is_the_closed_form():
    v, kappa = low_rank_amplitudes(TIMES, 0.05, [0.05], MOMENTS.b[:1], LIMIT[:1])
    exact = rank_one_amplitude(TIMES, 0.05, MOMENTS.b[0], LIMIT[0] / MOMENTS.b[0])
    assert v == pytest.approx(exact, rel=1e-9)
    assert kappa[:, 0] == pytest.approx(exact, rel=1e-9)


def test_both_directions_are_learned_and_the_second_follows_exponentially():
    """Once v is of order one a pair at κ grows at rate v b, not as κ²: halving κ delays it by ln 2 / (v b)."""
    times = np.linspace(0, 3000, 30001)
    first = MOMENTS.coefficients[0] ** (1 / 3)
    halves = []
    for small in (1e-3, 0.5e-3, 0.25e-3):
        v, kappa = low_rank_amplitudes(
            times, first, [first, small], MOMENTS.b[:2], LIMIT[:2]
        )
        learned = v * kappa[:, 1] ** 2 / MOMENTS.coefficients[1]
        assert learned[-1] == pytest.approx(1, abs=1e-6)
        halves.append(times[np.argmax(learned > 0.5)])
    assert np.diff(halves) == pytest.approx(
        np.log(2) / (first * MOMENTS.b[1]), rel=0.01
    )


def test_unequal_shapes_are_refused():
    with pytest.raises(ValueError, match="must have shape"):
        low_rank_amplitudes(1.0, 0.1, [0.1, 0.1], [1.0], [1.0])
    with pytest.raises(ValueError, match="zero or more"):
        low_rank_amplitudes([0.0, -1.0], 0.1, [0.1], [1.0], [1.0])
