"""Normal equations of the read-out in coordinates in which h and x are white.

With second moments I of h and x, what is left in the condition of the equations is the number of sequences per feature.
With M = A (t ∘ m) Bᵀ, A and B the whitenings, m minimises mean (y − ŷ)² + Σ shrinkage m², where t² is
1 / (1 + penalty of a direction) and shrinkage = 1 − t²: all diagonal entries of the matrix S of m are about 1.
"""

from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.machine import refuse_too_large
from .linear_solvers import (
    EPSILON,
    Solve,
    conjugate_gradients,
    factored,
    in_precision,
    refined,
)
from .readouts import ReadoutData, RealArray, product_sums

_CLEAR = float(np.sqrt(EPSILON))
"""Ratio of eigenvalues of second moments from which on rounding does not decide whether a direction is there."""

_PART = 1.5
"""Sequences per feature of the part that shows S to be regular: few, and enough for a least eigenvalue of 0.03."""


class Axes(NamedTuple):
    """The directions along which vectors vary, orthonormal in columns (size, rank), and their roots of mean squares."""

    directions: FloatArray
    lengths: FloatArray

    @property
    def rank(self) -> int:
        """How many directions there are."""
        return len(self.lengths)

    @property
    def whitening(self) -> FloatArray:
        """(size, rank): vectors times this have second moments I."""
        return self.directions / self.lengths


def principal_axes(vectors: RealArray) -> Axes:
    """The axes of vectors (P, size), without the directions that they do not have.

    >>> principal_axes(np.array([[2.0, 0.0], [-2.0, 0.0]])).lengths
    array([2.])
    """
    values, directions = np.linalg.eigh(vectors.T @ vectors / len(vectors))
    if values[0] > _CLEAR * values[-1]:
        return Axes(directions, np.sqrt(values))
    # The singular values of R are those of the vectors, not squared as in the second moments.
    triangle = np.linalg.qr(vectors, mode="r")
    _, lengths, directions = np.linalg.svd(triangle, full_matrices=False)
    cutoff = max(vectors.shape) * EPSILON * lengths[0]
    present = lengths > cutoff
    root_P = np.sqrt(len(vectors))
    return Axes(directions[present].T, lengths[present] / root_P)


class WhiteEquations(NamedTuple):
    """S m = b of whitened sequences, in single or double precision."""

    white: ReadoutData
    t: RealArray
    """(rank of h, rank of x)."""
    shrinkage: RealArray

    @classmethod
    def of(
        cls, data: ReadoutData, axes_h: Axes, axes_x: Axes, penalty: float
    ) -> "WhiteEquations":
        """The equations of Σ (y − ŷ)² + penalty ‖M‖²."""
        white = ReadoutData(
            data.h @ axes_h.whitening, data.x @ axes_x.whitening, data.y
        )
        squares = np.outer(axes_h.lengths**2, axes_x.lengths**2)
        penalties = penalty / len(data.y) / squares  # (rank, rank)
        # Both stand as they are for penalties of 0 and of infinity as well.
        t = 1 / np.sqrt(1 + penalties)
        with np.errstate(divide="ignore"):
            shrinkage = 1 / (1 + 1 / penalties)
        return cls(white, t, shrinkage)

    def in_single_precision(self) -> "WhiteEquations":
        """The same with numbers of half the size."""
        arrays = [array.astype(np.float32) for array in self.white]
        white = ReadoutData(*arrays)
        t, shrinkage = self.t.astype(np.float32), self.shrinkage.astype(np.float32)
        return WhiteEquations(white, t, shrinkage)

    def part(self, step: int) -> "WhiteEquations":
        """Those of every so manieth sequence."""
        white = ReadoutData(*(array[::step] for array in self.white))
        return self._replace(white=white)

    def slope(self, m: FloatArray) -> FloatArray:
        """b − S m, from residuals of the data."""
        residual = self.white.y - self.white.predictions(self.t * m)
        data_slope = self.t * self.white.weighted_features(residual)
        return np.asarray(data_slope / len(residual) - self.shrinkage * m)

    def product(self, m: RealArray) -> RealArray:
        """S m, without S."""
        predictions = self.white.predictions(self.t * m)
        sums = self.t * self.white.weighted_features(predictions)
        return np.asarray(sums / len(predictions) + self.shrinkage * m)

    def matrix(self, dtype: type[np.floating[Any]]) -> RealArray:
        """S (n, n) with n = rank · rank features."""
        matrix = product_sums(self.white, dtype)
        t = self.t.ravel().astype(dtype)
        matrix *= (t / dtype(len(self.white.y)))[:, None]
        matrix *= t
        matrix[np.diag_indices(len(matrix))] += self.shrinkage.ravel().astype(dtype)
        return matrix

    def solution(self) -> FloatArray | None:
        """m (rank, rank), or None where S is not safely regular."""
        for way in (_by_iteration, _by_single_factor, _by_double_factor):
            solve = way(self)
            if solve is None:
                continue
            m = refined(self.slope, solve, self.t.shape)
            if m is not None:
                return m
        return None


def _by_iteration(equations: WhiteEquations) -> Solve | None:
    """Conjugate gradients in single precision, where there are many sequences and some of them show S to be regular.

    Conjugate gradients alone would not show it: of a singular S they never see the directions that it lacks.
    """
    step = int(len(equations.white.y) / (_PART * max(equations.t.size, 1)))
    if step < 2:
        return None
    single = equations.in_single_precision()
    # S is no less than its share of the part.
    if _by_single_factor(single.part(step)) is None:
        return None

    def solve(right: RealArray) -> RealArray:
        return conjugate_gradients(single.product, right)

    return in_precision(solve, np.dtype(np.float32))


def _by_single_factor(equations: WhiteEquations) -> Solve | None:
    """The factor of S in single precision."""
    _refuse_large(equations.t.size)
    return factored(equations.matrix(np.float32))


def _by_double_factor(equations: WhiteEquations) -> Solve | None:
    """The factor of S in double precision."""
    return factored(equations.matrix(np.float64))


def _refuse_large(features: int) -> None:
    """MemoryError if the sums of products of so many features do not fit beside what they are made of."""
    size = 3 * 8.0 * features**2
    what = f"the normal equations of {features:,} features"
    refuse_too_large(what, size, "choose a smaller dimension")
