"""Which matrices are diagonal, and which are positive semidefinite."""

import numpy as np
import pytest

from attndyn.runtime.covariances import is_diagonal, smallest_eigenvalue


def test_is_diagonal():
    assert is_diagonal(np.diag([1.0, 2.0]))
    assert not is_diagonal(np.array([[1.0, 1e-300], [0.0, 1.0]]))


def test_the_smallest_eigenvalue_is_zero_up_to_rounding_and_never_less():
    rotation = np.linalg.qr(np.random.default_rng(0).normal(size=(4, 4)))[0]
    for smallest, expected in ((0.5, 0.5), (1e-9, 1e-9), (0.0, 0.0)):
        matrix = rotation @ np.diag([3.0, 2.0, 1.0, smallest]) @ rotation.T
        found = smallest_eigenvalue("covariance", (matrix + matrix.T) / 2)
        assert found == pytest.approx(expected, rel=1e-5)
    assert smallest_eigenvalue("covariance", np.diag([1.0, 1e-300])) == 1e-300
    with pytest.raises(ValueError, match="covariance must be positive semidefinite"):
        smallest_eigenvalue("covariance", np.diag([1.0, -1e-300]))
