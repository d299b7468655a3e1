"""Features of the linear read-out ŷ = Σ_ij M_ij h_i x_j of context summaries, and sums of their products.

h is β (D,), or (β, s) (D+1,) with the label row. A feature is a product h_i x_j, so that sums over sequences of
products of two features have four indices, and are the same when i and k, or j and l, are exchanged:

    S_(ij)(kl) = Σ h_i h_k x_j x_l.

A product of matrices over the pairs i ≤ k and j ≤ l therefore forms a quarter of the numbers of Fᵀ F.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import (
    check_finite,
    positive_number,
    refuse_wrong_order,
    true_or_false,
)
from ..data.prompts import Data
from ..data.summaries import ContextSummaries, context_summaries

RealArray = NDArray[np.floating[Any]]
"""Real numbers in single or double precision."""

BLOCK = 1024
"""Sequences of one product of matrices: their pairs stay in the cache of a processor."""


class ReadoutData(NamedTuple):
    """h (P, E), x (P, D) and y (P,), in one precision: E is D, or D + 1 with the label row."""

    h: RealArray
    x: RealArray
    y: RealArray

    @property
    def features(self) -> int:
        """E · D, the number of features."""
        return int(self.h.shape[1] * self.x.shape[1])

    def predictions(self, M: RealArray) -> RealArray:
        """ŷ (P,) of a map M (E, D)."""
        return np.asarray(np.einsum("pj,pj->p", self.h @ M, self.x))

    def weighted_features(self, weights: RealArray) -> RealArray:
        """Σ weight · h xᵀ over the sequences, (E, D), of weights (P,)."""
        sums: RealArray = self.h.T @ (weights[:, None] * self.x)
        return sums

    def feature_matrix(self) -> FloatArray:
        """F (P, E·D), the entries of h xᵀ in rows."""
        products = np.einsum("pi,pj->pij", self.h, self.x)
        return np.asarray(products.reshape(len(self.y), -1))

    def kernel(self) -> FloatArray:
        """F Fᵀ (P, P): the inner product of h xᵀ and h′ x′ᵀ is that of h and h′ times that of x and x′."""
        inner = self.h @ self.h.T
        inner *= self.x @ self.x.T
        return np.asarray(inner)


class Readout(NamedTuple):
    """The read-out of a data set: its numbers, and how heavy the label row weighs in the norm of M."""

    data: ReadoutData
    row_scale: float | None
    """What s is divided by so that the norm weighs the label row, None without the row."""

    def map_of(self, M: FloatArray) -> FloatArray:
        """The map of h itself, from that of the scaled h."""
        if self.row_scale is None:
            return M
        scaled = M.copy()
        scaled[..., -1, :] /= self.row_scale
        return scaled


def readout_of(
    data: Data | ContextSummaries, label_row: bool, label_weight: float, call: str
) -> Readout:
    """The read-out of tokens or summaries; ValueError for numbers that are not finite, TypeError for other objects."""
    is_summaries = isinstance(data, ContextSummaries)
    refuse_wrong_order(call, is_summaries or hasattr(data, "chunks"), data)
    has_row = true_or_false(label_row, "label_row")
    weight = positive_number(label_weight, "label_weight")
    if weight != 1 and not has_row:
        raise ValueError(
            f"label_weight {label_weight!r} weighs the label row: pass label_row=True, or leave it out"
        )
    summaries = data if isinstance(data, ContextSummaries) else context_summaries(data)
    if not has_row:
        numbers = ReadoutData(summaries.beta, summaries.query, summaries.labels)
        _check(numbers)
        return Readout(numbers, None)
    # ‖M‖² + weight |m|² is the norm of (M, √weight m), whose feature is s / √weight.
    scale = float(np.sqrt(weight))
    s = summaries.mean_squares / scale
    h = np.column_stack([summaries.beta, s])
    numbers = ReadoutData(h, summaries.query, summaries.labels)
    _check(numbers)
    return Readout(numbers, scale)


def _check(numbers: ReadoutData) -> None:
    """ValueError without sequences, and for numbers that are not finite."""
    if not len(numbers.y):
        raise ValueError(
            "a read-out needs at least one sequence, and these data have 0"
        )
    for array in numbers:
        check_finite(array, "summaries of the data")


def product_sums(
    data: ReadoutData, dtype: type[np.floating[Any]] = np.float64
) -> RealArray:
    """S (E·D, E·D), the sums of products of two features, with products in this precision and sums in doubles."""
    E, D = data.h.shape[1], data.x.shape[1]
    sums = np.zeros((pair_count(E), pair_count(D)))
    for first in range(0, len(data.y), BLOCK):
        block = slice(first, first + BLOCK)
        of_h = _pair_products(data.h[block].astype(dtype))
        of_x = _pair_products(data.x[block].astype(dtype))
        sums += of_h @ of_x.T
    by_pairs = sums.astype(dtype, copy=False)
    # "i", "k" of h and "j", "l" of x.
    ikjl = by_pairs[_pair_positions(E)][:, :, _pair_positions(D)]
    return ikjl.transpose(0, 2, 1, 3).reshape(E * D, E * D)


def pair_count(size: int) -> int:
    """How many pairs i ≤ k there are of indices below `size`.

    >>> pair_count(3)
    6
    """
    return size * (size + 1) // 2


def _pair_products(vectors: RealArray) -> RealArray:
    """v_i v_k (pairs, P) of vectors (P, size), in the order i ≤ k of the pairs."""
    # Sequences along the last axis, so that each product runs along memory.
    v = vectors.T.copy()
    products = np.empty((pair_count(len(v)), v.shape[1]), dtype=v.dtype)
    first = 0
    for i in range(len(v)):
        count = len(v) - i
        np.multiply(v[i], v[i:], out=products[first : first + count])
        first += count
    return products


def _pair_positions(size: int) -> IndexArray:
    """Which of the pairs each (i, k) is, in either order, (size, size)."""
    first, second = np.triu_indices(size)
    position = np.empty((size, size), dtype=np.intp)
    position[first, second] = np.arange(len(first))
    position[second, first] = position[first, second]
    return position
