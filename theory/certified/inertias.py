"""How many eigenvalues of a symmetric matrix of balls are negative: a proof from below on both sides.

Balls cannot show that an eigenvalue is zero. Where the dimension of the null space is known from elsewhere to be at
least `null`, a negative definite subspace and a positive definite one that fill the rest settle the inertia (by
Sylvester's law of inertia).
"""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from .balls import Ball, BallMatrix, NoCertificate, flint, total

RESOLVED = 1e-7
"""Share of the largest eigenvalue above which floats tell the sign: rounding leaves 1e-14 of entries of its size."""


class Inertia(NamedTuple):
    """Numbers of negative, zero and positive eigenvalues."""

    negative: int
    zero: int
    positive: int


class _Split(NamedTuple):
    """A congruent matrix, and which of its directions have large eigenvalues, negative ones or positive ones."""

    matrix: BallMatrix
    negative: list[int]
    positive: list[int]
    small: list[int]


def certified_inertia(matrix: BallMatrix, null: int) -> Inertia:
    """The inertia of a symmetric matrix (n, n) with at least `null` zero eigenvalues; NoCertificate otherwise.

    Eigenvectors in floating point, which may be any vectors, split the matrix. Directions of large eigenvalues are
    proved definite by Gershgorin's circles and eliminated; the Schur complement, whose inertia adds up with theirs,
    is split again in units of its own size.
    """
    negative = positive = 0
    curved = int(matrix.nrows()) - null
    while negative + positive < curved:
        split = _split(matrix)
        _prove_definite(split.matrix, split.negative, -1)
        _prove_definite(split.matrix, split.positive, 1)
        negative += len(split.negative)
        positive += len(split.positive)
        if negative + positive < curved:
            matrix = _schur_complement(split)
    if negative + positive > curved:
        raise NoCertificate(
            "more directions are curved than the symmetries leave: more bits are needed"
        )
    return Inertia(negative, null, positive)


def _split(matrix: BallMatrix) -> _Split:
    """The matrix in the eigenvectors of its midpoints, in units of its largest entry."""
    size = int(matrix.nrows())
    unit = max(abs(entry) for entry in matrix.entries()).mid()
    if not unit > 0:
        raise NoCertificate(
            "curvatures cannot be told from zero at this precision: more bits are needed"
        )
    scaled = matrix * (1 / unit)
    midpoints = np.array([float(entry.mid()) for entry in scaled.entries()])
    if not np.all(np.isfinite(midpoints)):
        raise NoCertificate(
            "the balls grew beyond every bound at this precision: more bits are needed"
        )
    symmetric = midpoints.reshape(size, size)  # (n, n)
    eigenvalues, eigenvectors = np.linalg.eigh(symmetric)
    V = _balls(eigenvectors)
    least = RESOLVED * float(np.max(np.abs(eigenvalues)))
    return _Split(
        matrix=V.transpose() * scaled * V,
        negative=[i for i in range(size) if eigenvalues[i] < -least],
        positive=[i for i in range(size) if eigenvalues[i] > least],
        small=[i for i in range(size) if abs(eigenvalues[i]) <= least],
    )


def _prove_definite(matrix: BallMatrix, directions: list[int], sign: int) -> None:
    """NoCertificate unless the block of these directions has this sign, by Gershgorin's circles."""
    for i in directions:
        others = [abs(matrix[i, j]) for j in directions if j != i]
        reach = total([flint().arb(0), *others])
        if not sign * matrix[i, i] - reach > 0:
            raise NoCertificate(
                "the sign of a curvature is not certain at this precision: more bits are needed"
            )


def _schur_complement(split: _Split) -> BallMatrix:
    """What is left of the small directions once the large ones are eliminated: S = W_ss − W_sl W_ll⁻¹ W_ls."""
    large = [*split.negative, *split.positive]
    inner = _block(split.matrix, large, large)
    coupling = _block(split.matrix, large, split.small)
    try:
        eliminated = coupling.transpose() * inner.solve(coupling)
    except ZeroDivisionError:
        raise NoCertificate(
            "large curvatures cannot be told from zero at this precision: more bits are needed"
        ) from None
    return _block(split.matrix, split.small, split.small) - eliminated


def _block(matrix: BallMatrix, rows: list[int], columns: list[int]) -> BallMatrix:
    entries: list[Ball] = [matrix[i, j] for i in rows for j in columns]
    return flint().arb_mat(len(rows), len(columns), entries)


def _balls(array: FloatArray) -> BallMatrix:
    """Doubles as balls without a radius."""
    entries = [flint().arb(float(entry)) for entry in array.ravel()]
    return flint().arb_mat(*array.shape, entries)
