"""Sums of products of features by pairs of indices are those of the features themselves."""

import numpy as np
import pytest

from attndyn.simulate.ridge.readouts import BLOCK, ReadoutData, product_sums


@pytest.mark.parametrize(("E", "D"), [(1, 1), (2, 1), (3, 3), (5, 4)])
@pytest.mark.parametrize("P", [1, BLOCK - 1, 2 * BLOCK + 3])
def test_products_and_kernel(E, D, P):
    generator = np.random.default_rng(P)
    h, x = generator.normal(size=(P, E)), generator.normal(size=(P, D))
    data = ReadoutData(h, x, generator.normal(size=P))
    F = (h[:, :, None] * x[:, None, :]).reshape(P, -1)
    np.testing.assert_array_equal(data.feature_matrix(), F)
    np.testing.assert_allclose(product_sums(data), F.T @ F, rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(data.kernel()[:50, :50], F[:50] @ F[:50].T, atol=1e-11)
    single = product_sums(data, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, F.T @ F, rtol=1e-4, atol=1e-4 * P)
    M = generator.normal(size=(E, D))
    np.testing.assert_allclose(data.predictions(M), F @ M.ravel(), atol=1e-12)
    np.testing.assert_allclose(
        data.weighted_features(data.y).ravel(), F.T @ data.y, atol=1e-10
    )
