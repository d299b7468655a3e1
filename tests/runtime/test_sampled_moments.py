"""Tests of the comparison of stated moments with draws."""

import numpy as np
import pytest

from attndyn.runtime.sampled_moments import (
    along,
    directions,
    excess,
    excess_of_products,
    has_heavy_tails,
    is_symmetric,
)


@pytest.fixture
def draws():
    return np.random.default_rng(3).standard_normal((5_000, 3))


def test_a_tensor_along_directions_is_the_moment_of_projections(draws):
    vectors = directions(3)
    tensor = np.einsum("na,nb,nc->abc", draws, draws, draws) / len(draws)
    np.testing.assert_allclose(
        along(tensor, vectors), np.mean((draws @ vectors.T) ** 3, axis=0), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1)


def test_an_exchange_of_axes_is_found():
    tensor = np.zeros((2, 2, 2))
    tensor[0, 0, 1] = tensor[0, 1, 0] = 1.0
    assert not is_symmetric(tensor)
    tensor[1, 0, 0] = 1.0
    assert is_symmetric(tensor)


def test_what_chance_explains_is_no_excess(draws):
    assert excess(np.zeros(3), draws) == 0.0
    assert excess_of_products(np.eye(3), draws, draws) == 0.0
    # 0.12 is 8 standard errors of a mean, and 0.15 is 7 to 10 of a product.
    assert excess(np.full(3, 0.12), draws) > 0.1
    assert excess_of_products(np.eye(3) + 0.15, draws, draws) > 0.1


def test_heavy_tails_are_found(draws):
    assert not has_heavy_tails(draws**4)
    assert has_heavy_tails(draws**20)
