"""Spectral measures of weights along training: effective ranks, leading subspaces, and the Fourier share of embeddings.

All are batched: the last two axes of an array are a matrix, and what stands before them are checkpoints, layers, heads.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import finite_array, whole_number
from ...runtime.machine import one_thread

_THREADED = 512
"""Columns from which on several threads are worth their waiting for one another: at 48 they take ten times as long."""

_ROUNDING = float(np.finfo(np.float64).eps)


class Spectrum(NamedTuple):
    """Singular values (…, R) by decreasing size, and the right singular vectors (…, columns, R) of matrices."""

    values: FloatArray
    vectors: FloatArray
    """Columns; those of singular values 0 are arbitrary."""


def spectrum(matrices: ArrayLike) -> Spectrum:
    """The singular values and right singular vectors of matrices (…, rows, columns).

    ValueError for what is no array of finite matrices.

    >>> spectrum([[0.0, 2.0], [1.0, 0.0]]).values
    array([2., 1.])
    """
    array = _matrices(matrices, "matrices")
    with _threads_for(array):
        _, values, transposed = np.linalg.svd(array, full_matrices=False)
    return Spectrum(values, np.swapaxes(transposed, -1, -2))


def spectrum_of_product(left: ArrayLike, right: ArrayLike) -> Spectrum:
    """The spectrum of left·right from the factors (…, rows, r) and (…, r, columns), which for few r is faster.

    Its singular values are min(r, rows, columns): the others are 0. ValueError for factors that do not fit.

    >>> spectrum_of_product([[3.0], [4.0]], [[0.0, 2.0]]).values
    array([10.])
    """
    first, second = _matrices(left, "left"), _matrices(right, "right")
    if first.shape[-1] != second.shape[-2]:
        raise ValueError(
            f"factors of a product must share their inner axis, not have shapes {first.shape} and {second.shape}"
        )
    inner = first.shape[-1]
    with _threads_for(second):
        if inner >= min(first.shape[-2], second.shape[-1]):
            return spectrum(first @ second)
        # left = Q₁R₁ and rightᵀ = Q₂R₂, so left·right = Q₁ (R₁R₂ᵀ) Q₂ᵀ has the singular values of R₁R₂ᵀ.
        upper = np.linalg.qr(first, mode="r")  # (…, r, r)
        basis, upper_of_second = np.linalg.qr(np.swapaxes(second, -1, -2))
        core = spectrum(upper @ np.swapaxes(upper_of_second, -1, -2))
        return Spectrum(core.values, basis @ core.vectors)


def matrix_rank(values: ArrayLike) -> IndexArray:
    """The number (…,) of singular values (…, R) that are above rounding, R·2⁻⁵² of the largest.

    ValueError as for `effective_rank`.

    >>> matrix_rank([[2.0, 1.0, 1e-17], [0.0, 0.0, 0.0]])
    array([2, 0])
    """
    array = _singular_values(values)
    rounding = array.shape[-1] * _ROUNDING * np.max(array, axis=-1, keepdims=True)
    return np.asarray(np.count_nonzero(array > rounding, axis=-1))


def effective_rank(values: ArrayLike, without: int = 0) -> FloatArray:
    """exp(−Σ p ln p) of shares p = σ/Σσ of singular values (…, R); `without` so many of the largest.

    From 1 for a single value to R for equal ones; nan where all that is left are 0. Source: Roy and Vetterli 2007; the
    marginalised one, without the leading values, Mainali and Teixeira 2025. ValueError for values that are negative or
    not finite, and if none is left.

    >>> effective_rank([1.0, 1.0, 0.0]).round(12), effective_rank([100.0, 1.0, 1.0], without=1).round(12)
    (np.float64(2.0), np.float64(2.0))
    """
    array = np.sort(_singular_values(values), axis=-1)  # increasing
    count = array.shape[-1]
    whole_number(without, "without", least=0)
    if without >= count:
        raise ValueError(
            f"{count} singular values without the {without} largest are none: leave out {count - 1} at most"
        )
    kept = array[..., : count - without]
    total = kept.sum(axis=-1, keepdims=True)
    is_zero = total == 0
    shares = kept / np.where(is_zero, 1.0, total)
    # p ln p → 0 where p → 0.
    logarithms = np.log(np.where(shares > 0, shares, 1.0))
    entropy = -np.sum(shares * logarithms, axis=-1)
    rank = np.where(is_zero[..., 0], np.nan, np.exp(entropy))
    return np.asarray(rank)[()]


def subspace_distance(
    matrices: "Spectrum | ArrayLike", final: "Spectrum | ArrayLike", rank: int
) -> FloatArray:
    """‖M∞,k (I − V_kV_kᵀ)‖_F / ‖M∞,k‖_F of rank k: how much of the final matrix lies outside the leading subspace.

    M∞,k is the best approximation of rank k to the final matrices (…, rows, columns), V_k are the k leading right
    singular vectors of the others: 0 for the same subspace, 1 for orthogonal ones. With all singular vectors in place
    of k it is 0 whatever the matrix, so k should be at most the effective rank of the final one. Source: Mainali and
    Teixeira 2025, in the form of rank k. ValueError for a k above the rank of any of the matrices.

    >>> subspace_distance(np.diag([3.0, 1.0]), np.diag([1.0, 2.0]), rank=1)
    np.float64(1.0)
    """
    now, last = _spectrum(matrices), _spectrum(final)
    refuse_rank(now.values, rank)
    refuse_rank(last.values, rank)
    return _distance(now, last, rank)


def subspace_overlap(
    matrices: "Spectrum | ArrayLike", others: "Spectrum | ArrayLike", rank: int
) -> FloatArray:
    """‖V_kᵀ V_k'‖²_F / k of the k leading right singular vectors of two matrices: 1 for one subspace, 0 if orthogonal.

    ValueError for a k above the rank of any of the matrices.

    >>> subspace_overlap(np.diag([3.0, 1.0, 0.5]), np.diag([1.0, 0.2, 3.0]), rank=2)
    np.float64(0.5)
    """
    first, second = _spectrum(matrices), _spectrum(others)
    refuse_rank(first.values, rank)
    refuse_rank(second.values, rank)
    return _overlap(first, second, rank)


def refuse_rank(values: FloatArray, rank: int, name: str = "the matrix") -> None:
    """ValueError unless all matrices with these singular values (…, R) have a subspace of so many dimensions."""
    whole_number(rank, "rank")
    smallest = int(np.min(matrix_rank(values)))
    if rank > smallest:
        raise ValueError(
            f"the leading subspace of rank {rank} needs matrices of at least that rank, and {name} has rank "
            f"{smallest}: choose a smaller one"
        )


def distances_along(spectra: Spectrum, rank: int) -> FloatArray:
    """`subspace_distance` (T, …) of checkpoints (T, …) to the last one, nan where a matrix is 0."""
    has_subspace = matrix_rank(spectra.values) >= rank  # (T, …)
    last = Spectrum(spectra.values[-1:], spectra.vectors[-1:])
    distances = _distance(spectra, last, rank)
    return np.where(has_subspace & has_subspace[-1:], distances, np.nan)


def overlaps_along(spectra: Spectrum, rank: int) -> FloatArray:
    """`subspace_overlap` (T − 1, …) of checkpoints (T, …) with the next ones, nan where a matrix is 0."""
    has_subspace = matrix_rank(spectra.values) >= rank  # (T, …)
    before = Spectrum(spectra.values[:-1], spectra.vectors[:-1])
    after = Spectrum(spectra.values[1:], spectra.vectors[1:])
    overlaps = _overlap(before, after, rank)
    return np.where(has_subspace[:-1] & has_subspace[1:], overlaps, np.nan)


def fourier_power(embedding: ArrayLike) -> FloatArray:
    """Shares (…, n // 2) of an embedding's power at frequencies 1, …, n // 2 over its n rows, from (…, n, columns).

    Frequency 0, the mean over the rows, is left out; nan where nothing else is there. A frequency and its negative are
    one. ValueError for fewer than three rows.

    >>> angles = 2 * np.pi * np.arange(5) / 5
    >>> fourier_power(np.stack([np.cos(2 * angles), np.sin(2 * angles)], axis=1)).round(12)
    array([0., 1.])
    """
    array = _matrices(embedding, "embedding")
    rows = array.shape[-2]
    if rows < 3:
        raise ValueError(
            f"an embedding of {rows} rows has no frequencies to compare: it needs 3 at least"
        )
    # Only shares are asked for: in parts of the largest entry no square overflows.
    largest = np.max(np.abs(array), axis=(-2, -1), keepdims=True)
    scaled = array / np.where(largest == 0, 1.0, largest)
    centred = scaled - scaled.mean(axis=-2, keepdims=True)
    # Rows that are all alike leave the rounding of their mean, which is no power.
    centred = np.where(np.abs(centred) <= rows * _ROUNDING, 0.0, centred)
    amplitudes = np.fft.rfft(centred, axis=-2)[..., 1:, :]  # (…, n // 2, columns)
    power = np.sum(np.abs(amplitudes) ** 2, axis=-1)
    if rows % 2 == 0:
        # Every other frequency f stands for −f too.
        power[..., -1] /= 2
    total = power.sum(axis=-1, keepdims=True)
    return np.where(total == 0, np.nan, power / np.where(total == 0, 1.0, total))


def fourier_share(embedding: ArrayLike, strongest: int = 5) -> FloatArray:
    """The share (…,) of an embedding's power (…, n, columns) in its strongest frequencies over the n rows.

    Frequency 0 is left out. Near 1 where the rows lie on few circles, as those of a network that adds modulo n;
    `strongest` over n // 2 where all frequencies are alike. ValueError as `fourier_power`, and for more frequencies
    than there are.

    >>> angles = 2 * np.pi * np.arange(31)[:, None] / 31
    >>> fourier_share(np.hstack([np.cos(angles), 2 + np.cos(7 * angles)]), strongest=1).round(12)
    np.float64(0.5)
    """
    power = fourier_power(embedding)
    count = power.shape[-1]
    whole_number(strongest, "strongest")
    if strongest > count:
        raise ValueError(
            f"{strongest} strongest frequencies are more than the {count} of the embedding: choose fewer"
        )
    ordered = np.sort(power, axis=-1)
    return np.asarray(ordered[..., count - strongest :].sum(axis=-1))[()]


def _distance(now: Spectrum, final: Spectrum, rank: int) -> FloatArray:
    """The distance of rank k, whatever the ranks."""
    basis = now.vectors[..., :rank]  # (…, columns, k)
    # Only ratios of singular values matter, and squares of large ones would overflow.
    largest = final.values[..., :1]
    shares = final.values[..., :rank] / np.where(largest == 0, 1.0, largest)
    # ‖M∞,k X‖_F = ‖Σ_k V∞ᵀ X‖_F, since left singular vectors are orthonormal.
    weighted = final.vectors[..., :rank] * shares[..., None, :]
    outside = weighted - basis @ (np.swapaxes(basis, -1, -2) @ weighted)
    size = np.linalg.norm(shares, axis=-1)
    distance = np.linalg.norm(outside, axis=(-2, -1))
    return np.asarray(distance / np.where(size == 0, 1.0, size))[()]


def _overlap(first: Spectrum, second: Spectrum, rank: int) -> FloatArray:
    """The overlap of rank k, whatever the ranks."""
    cosines = (
        np.swapaxes(first.vectors[..., :rank], -1, -2) @ second.vectors[..., :rank]
    )
    return np.asarray(np.sum(cosines**2, axis=(-2, -1)) / rank)[()]


def _threads_for(matrices: FloatArray) -> AbstractContextManager[object]:
    """One thread for the factors of small matrices, as many as there are for those of large ones."""
    return one_thread() if max(matrices.shape[-2:]) < _THREADED else nullcontext()


def _spectrum(value: "Spectrum | ArrayLike") -> Spectrum:
    """A spectrum, or that of matrices."""
    return value if isinstance(value, Spectrum) else spectrum(value)


def _matrices(value: ArrayLike, name: str) -> FloatArray:
    """Finite matrices (…, rows, columns) in doubles; ValueError for anything else."""
    array = finite_array(value, name)
    if array.ndim < 2 or 0 in array.shape:
        raise ValueError(
            f"{name} must have shape (…, rows, columns) without an empty axis, not {array.shape}"
        )
    return array


def _singular_values(value: ArrayLike) -> FloatArray:
    """Finite singular values (…, R) in doubles; ValueError for anything else."""
    array = finite_array(value, "singular values")
    if array.ndim < 1 or 0 in array.shape:
        raise ValueError(
            f"singular values must have shape (…, R) with R of at least 1, not {array.shape}"
        )
    if np.any(array < 0):
        raise ValueError("singular values must not be negative")
    return array
