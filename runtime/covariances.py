"""Positive semidefinite matrices: which are diagonal, which are none, and their roots."""

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray
from .decimals import Numbers, Written, symmetric


def is_diagonal(matrix: FloatArray) -> bool:
    """Whether every entry off the diagonal is exactly zero."""
    return bool(np.count_nonzero(matrix) == np.count_nonzero(np.diag(matrix)))


def eigenvalue_rounding(values: NDArray[np.float64]) -> float:
    """What an eigensolver may make of an eigenvalue 0, given numbers (D,) of the size of all eigenvalues."""
    return len(values) * float(np.finfo(float).eps * np.max(np.abs(values)))


def smallest_eigenvalue(name: str, matrix: FloatArray) -> float:
    """The smallest eigenvalue of a positive semidefinite matrix (D, D), 0 where it is so up to rounding.

    ValueError, with this name, for a matrix that has a negative one.

    >>> smallest_eigenvalue("covariance", np.ones((2, 2)))
    0.0
    """
    if is_diagonal(matrix):
        values = np.asarray(np.diag(matrix))
        rounding = 0.0
    else:
        values = np.asarray(np.linalg.eigvalsh(matrix))
        rounding = eigenvalue_rounding(values)
    smallest = float(np.min(values))
    if smallest < -rounding:
        raise ValueError(
            f"{name} must be positive semidefinite: its smallest eigenvalue is {smallest:.3g}"
        )
    return smallest if smallest > rounding else 0.0


def positive_semidefinite(name: str, value: Numbers, dimension: int | None) -> Written:
    """A covariance (D, D) as it is written; ValueError names it unless it is symmetric, semidefinite and not 0."""
    written = symmetric(name, value, dimension)
    matrix = written.doubles
    smallest_eigenvalue(name, matrix)
    if not np.any(matrix):
        raise ValueError(f"{name} is 0 everywhere: pass variances that are not all 0")
    return written


def covariance_root(covariance: FloatArray) -> FloatArray:
    """R with R Rᵀ a positive semidefinite matrix: that of Cholesky, or the symmetric one where it is singular."""
    variances = np.diag(covariance)
    if np.all(variances > 0):
        try:
            root = np.asarray(np.linalg.cholesky(covariance))
        except np.linalg.LinAlgError:
            return symmetric_root(covariance)
        # A pivot of rounding would let draws leave the range by its root, 1e-8.
        if np.min(np.diag(root)) ** 2 > eigenvalue_rounding(variances):
            return root
    return symmetric_root(covariance)


def symmetric_root(matrix: FloatArray) -> FloatArray:
    """The symmetric root of a positive semidefinite matrix, rounding below zero taken for zero.

    >>> symmetric_root(np.diag([4.0, 0.0]))
    array([[2., 0.],
           [0., 0.]])
    """
    if is_diagonal(matrix):
        return np.diag(np.sqrt(np.maximum(np.diag(matrix), 0.0)))
    values, vectors = np.linalg.eigh(matrix)
    roots = np.sqrt(np.where(values > eigenvalue_rounding(values), values, 0.0))
    return np.asarray((vectors * roots) @ vectors.T)


def inverse_root(matrix: FloatArray) -> FloatArray:
    """The inverse of the symmetric root of a positive definite matrix.

    >>> inverse_root(np.diag([4.0, 0.25]))
    array([[0.5, 0. ],
           [0. , 2. ]])
    """
    values, vectors = np.linalg.eigh(matrix)
    scaled = vectors / np.sqrt(values)
    return np.asarray(scaled @ vectors.T)
