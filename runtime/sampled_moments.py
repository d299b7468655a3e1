"""Moments that a law states, against draws of it: off by more than chance or not."""

import numpy as np
from numpy.typing import NDArray

from .arrays import FloatArray

_DEVIATIONS = 6.0
"""Standard errors up to which sampled moments may be off: once in 10⁸ for each entry."""

_LARGEST_PART = 0.02
"""Most of a sampled moment that may be one draw's where the moment is trusted: a normal law has 0.003 at order 4."""

_ROUNDING = 1e-9
"""Relative, or of numbers of order 1."""


def has_heavy_tails(powers: FloatArray) -> bool:
    """Whether one draw makes up so much of a mean over rows that the mean says little."""
    largest = np.max(powers, axis=0)
    return bool(np.any(largest > _LARGEST_PART * np.sum(powers, axis=0)))


def excess_of_products(wanted: FloatArray, u: FloatArray, v: FloatArray) -> float:
    """By how much a mean over rows of u_i v_j is off where that is more than chance, at worst; 0 if none is."""
    count = len(u)
    mean = u.T @ v / count
    # Of products, without an array (P, D, D) of them.
    variance = np.maximum((u**2).T @ (v**2) / count - mean**2, 0.0)
    gap = np.abs(mean - wanted)
    allowed = _DEVIATIONS * np.sqrt(variance / count) + _ROUNDING * (1 + np.abs(wanted))
    return float(np.max(np.where(gap > allowed, gap, 0.0)))


def excess(wanted: FloatArray, values: FloatArray) -> float:
    """The same of the mean over the rows of values (P, n), which ought to be `wanted` (n,)."""
    return excess_of_products(wanted[:, None], values, np.ones((len(values), 1)))


def directions(size: int, count: int = 8) -> FloatArray:
    """Unit vectors (count, size) along which tensors of moments are compared, the same at every call."""
    vectors = np.random.default_rng(0).standard_normal((count, size))
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def along(moment: NDArray[np.float64], vectors: FloatArray) -> FloatArray:
    """A tensor of moments (D,) * order contracted with each of these vectors (n, D) along every axis, (n,).

    >>> along(np.eye(2), np.array([[3.0, 4.0]]))
    array([25.])
    """
    contracted = vectors @ moment.reshape(len(moment), -1)
    for _ in range(moment.ndim - 1):
        # The first axis counts vectors, the second is contracted with them.
        contracted = contracted.reshape(len(vectors), vectors.shape[1], -1)
        contracted = np.einsum("nd,ndk->nk", vectors, contracted)
    return contracted[:, 0]


def is_symmetric(moment: NDArray[np.float64]) -> bool:
    """Whether a tensor of moments does not change when two neighbouring axes are exchanged, to rounding."""
    largest = float(np.max(np.abs(moment), initial=0.0))
    for axis in range(moment.ndim - 1):
        exchanged = moment.swapaxes(axis, axis + 1)
        if np.max(np.abs(moment - exchanged)) > _ROUNDING * largest:
            return False
    return True
