"""The equations of whitened sequences are those of the data, and axes are those that the vectors have."""

import numpy as np
import pytest

from attndyn.simulate.ridge.readouts import ReadoutData
from attndyn.simulate.ridge.white_equations import WhiteEquations, principal_axes


def correlated(P, scales, seed=0):
    """P vectors whose directions have these lengths."""
    z = np.random.default_rng(seed).normal(size=(P, len(scales)))
    rotation, _ = np.linalg.qr(np.random.default_rng(9).normal(size=(len(scales),) * 2))
    return (z * scales) @ rotation.T


@pytest.mark.parametrize("scales", [[1, 2, 3], [1, 1e-6, 1e-11], [1e-200, 1e-200]])
def test_whitened_vectors_have_second_moments_one(scales):
    vectors = correlated(40, scales) / max(scales)
    axes = principal_axes(vectors)
    white = vectors @ axes.whitening
    np.testing.assert_allclose(white.T @ white / 40, np.eye(len(scales)), atol=1e-4)
    identity = axes.directions.T @ axes.directions
    np.testing.assert_allclose(identity, np.eye(len(scales)), atol=1e-12)


@pytest.mark.parametrize(("least", "rank"), [(1e-11, 3), (1e-17, 2), (0.0, 2)])
def test_directions_of_rounding_are_left_out(least, rank):
    assert principal_axes(correlated(40, [1, 0.5, least])).rank == rank


def test_vectors_of_zero_have_no_axes():
    assert principal_axes(np.zeros((5, 3))).rank == 0


@pytest.mark.parametrize("penalty", [0.0, 3.0, 1e300])
def test_equations_are_those_of_the_features(penalty):
    P = 50
    y = np.random.default_rng(5).normal(size=P)
    data = ReadoutData(correlated(P, [1, 2, 0.1]), correlated(P, [1, 0.3], seed=1), y)
    axes_h, axes_x = principal_axes(data.h), principal_axes(data.x)
    equations = WhiteEquations.of(data, axes_h, axes_x, penalty)
    A, B = axes_h.whitening, axes_x.whitening
    # M = A (t ∘ m) Bᵀ as a matrix from m to M.
    T = np.kron(A, B) * equations.t.ravel()
    F = data.feature_matrix()
    S = T.T @ (F.T @ F / P + penalty / P * np.eye(6)) @ T
    m = np.random.default_rng(6).normal(size=(3, 2))
    np.testing.assert_allclose(equations.matrix(np.float64), S, atol=1e-12)
    np.testing.assert_allclose(equations.product(m).ravel(), S @ m.ravel(), atol=1e-12)
    slope = T.T @ F.T @ y / P - S @ m.ravel()
    np.testing.assert_allclose(equations.slope(m).ravel(), slope, atol=1e-12)
    np.testing.assert_allclose(np.diag(S), 1, atol=0.9)
    single = equations.in_single_precision().product(m.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single.ravel(), S @ m.ravel(), atol=1e-5)


def test_a_part_has_sequences_from_everywhere():
    y = np.arange(10.0)
    data = ReadoutData(np.ones((10, 1)), np.ones((10, 1)), y)
    axes = principal_axes(data.h)
    part = WhiteEquations.of(data, axes, axes, 0.0).part(4)
    assert list(part.white.y) == [0, 4, 8]
