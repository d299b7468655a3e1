"""The mean resolvent of Wishart matrices against closed integrals, drawn matrices and limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.stats import chi2

from attndyn.theory.predictors.wishart_matrices import mean_resolvent_trace


@pytest.mark.parametrize("shift", [1e-6, 0.1, 30.0])
@pytest.mark.parametrize("length", [1, 2, 7, 400])
def test_one_dimension_is_a_mean_over_chi_square(length, shift):
    # With t = √χ² the density has no pole at 0.
    scale = max(shift**0.5, 1e-6)
    expected = quad(
        lambda t: 2 * t * chi2.pdf(t**2, length) / (t**2 + shift), 0,
        length**0.5 + 12, points=[scale, 10 * scale, max(length - 1, 0) ** 0.5],
        limit=1000, epsabs=0, epsrel=1e-11,
    )[0]  # fmt: skip
    found = mean_resolvent_trace(1, length, shift)
    assert_allclose(found.value, expected, rtol=1e-9)
    assert found.error < 1e-8 * found.value


@pytest.mark.parametrize(
    ("dimension", "length", "shift"),
    [(2, 2, 0.3), (3, 9, 1.0), (7, 4, 0.5), (12, 30, 2.0)],
)
def test_traces_are_those_of_drawn_matrices(dimension, length, shift):
    Z = np.random.default_rng(5).normal(size=(40_000, length, dimension))
    W = Z.swapaxes(1, 2) @ Z
    traces = np.sum(1 / (np.maximum(np.linalg.eigvalsh(W), 0) + shift), axis=1)
    error = traces.std() / len(traces) ** 0.5
    assert (
        abs(mean_resolvent_trace(dimension, length, shift).value - traces.mean())
        < 4 * error
    )


def test_inverse_wishart_is_the_limit_of_no_shift():
    """E tr W⁻¹ = D/(N − D − 1)."""
    for D, N in ((3, 9), (4, 12), (30, 80)):
        found = mean_resolvent_trace(D, N, 1e-9).value
        assert_allclose(found, D / (N - D - 1), rtol=1e-7)


def test_transposed_matrices_have_the_same_positive_eigenvalues():
    one, other = mean_resolvent_trace(5, 9, 0.4), mean_resolvent_trace(9, 5, 0.4)
    assert_allclose(other.value, one.value + 4 / 0.4, rtol=1e-12)


def test_large_shifts_have_their_series():
    """tr (W + s)⁻¹ = D/s − tr W/s² + tr W²/s³ − …"""
    D, N, s = 6, 11, 1e6
    series = D / s - D * N / s**2 + (N * D * (N + D + 1)) / s**3
    assert_allclose(mean_resolvent_trace(D, N, s).value, series, rtol=1e-12)


@pytest.mark.parametrize(("dimension", "length"), [(200, 230), (3, 10**6), (150, 150)])
def test_large_matrices_are_resolved(dimension, length):
    found = mean_resolvent_trace(dimension, length, 0.1 * dimension)
    assert found.error < 1e-9 * found.value


def test_refusals():
    with pytest.raises(ValueError, match="shift must be positive"):
        mean_resolvent_trace(3, 4, 0)
    with pytest.raises(ValueError, match="length must be a whole number"):
        mean_resolvent_trace(3, 0, 1.0)
    with pytest.raises(ValueError, match="up to 2000 positive eigenvalues"):
        mean_resolvent_trace(3000, 4000, 1.0)
