"""Gradient flow of the map of the linear read-out on sampled data, at all times from one eigendecomposition."""

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array
from ...runtime.machine import one_thread, refuse_too_large
from ..data.prompts import Data
from ..data.summaries import ContextSummaries
from .readouts import ReadoutData, product_sums, readout_of
from .singular_modes import map_by_singular_values

_SAME_DECAY = 1e-8
"""Modes that have decayed by a share that is off by so much are the same."""


def readout_flow(
    data: Data | ContextSummaries,
    flow_time: ArrayLike,
    *,
    label_row: bool = False,
    label_weight: float = 1.0,
) -> FloatArray:
    """M (D, D) on the gradient flow from 0 of the mean L of (y_q − βᵀ M x_q)², or (T, D, D) at T flow times.

    Flow time is that of the package, dM/dt = −½ ∂L/∂M, so that gradient descent is at t = 2 · learning rate · steps;
    its end is `ridge_fit(data)`. With `label_row`, M is (D+1, D) as there, and the flow is that of
    (M; √label_weight m). The flow of Γ of Lu et al. on half of L is at the time t / D² here, with label_weight = D².
    ValueError for times that are negative or not finite, and as `ridge_fit`; MemoryError where the products of
    features, or the kernel of sequences, do not fit; OverflowError where M has no finite numbers.
    Source: derived here; M(t) = (1 − exp(−S t)) S⁻¹ b with S and b the means of F Fᵀ and F y over the features F.

    >>> from attndyn.simulate import prompts_from_tokens
    >>> data = prompts_from_tokens([[[1, 2.0], [1, 1.0]]])
    >>> readout_flow(data, [0, 0.5, 50]).ravel()
    array([0.        , 0.43233236, 0.5       ])
    """
    times = finite_array(flow_time, "flow_time", "()", "(T,)")
    if np.any(times < 0):
        raise ValueError(
            f"flow_time must be zero or more, and its least entry is {times.min():g}"
        )
    readout = readout_of(data, label_row, label_weight, "readout_flow(data, flow_time)")
    numbers = readout.data
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):  # refused below
        is_wide = len(numbers.y) < numbers.features
        M = _by_kernel(numbers, times) if is_wide else _by_features(numbers, times)
        M = readout.map_of(M)
    if not np.all(np.isfinite(M)):
        raise OverflowError(
            "the numbers of the flow are too large for doubles: give x and y in other units"
        )
    return M


def _by_features(data: ReadoutData, times: FloatArray) -> FloatArray:
    """V φ(σ, t) Vᵀ b, (…, E, D), of S = V diag(σ) Vᵀ."""
    size = 4 * 8.0 * data.features**2  # S, its eigenvectors, and the work of LAPACK
    what = f"the eigenvectors of {data.features:,} features"
    refuse_too_large(what, size, "choose a smaller dimension")
    P = len(data.y)
    b = data.weighted_features(data.y).ravel() / P
    σ, V = _eigensystem(product_sums(data) / P)
    if not _are_resolved(σ, times):
        return _by_singular_values(data, times)
    modes = _growth(σ, times) * (V.T @ b)  # (…, E·D)
    M = modes @ V.T
    return np.asarray(M.reshape(*times.shape, data.h.shape[1], data.x.shape[1]))


def _by_kernel(data: ReadoutData, times: FloatArray) -> FloatArray:
    """Σ α h xᵀ with α = V φ(σ, t) Vᵀ y / P, (…, E, D), of F Fᵀ / P = V diag(σ) Vᵀ, whose σ are those of S."""
    P = len(data.y)
    size = 4 * 8.0 * P**2
    what = f"the eigenvectors of the kernel of {P:,} sequences"
    refuse_too_large(what, size, "choose fewer sequences")
    σ, V = _eigensystem(data.kernel() / P)
    if not _are_resolved(σ, times):
        return _by_singular_values(data, times)
    modes = _growth(σ, times) * (V.T @ data.y) / P
    α = modes @ V.T  # (…, P)
    # "p" sequences, "i" entries of h, "j" of x.
    M = np.einsum("...p,pi,pj->...ij", α, data.h, data.x, optimize=True)
    return np.asarray(M)


def _by_singular_values(data: ReadoutData, times: FloatArray) -> FloatArray:
    """V φ(s²/P, t) s Uᵀ y / P, (…, E, D), of F = U diag(s) Vᵀ."""
    P = len(data.y)

    def gain(s: FloatArray) -> FloatArray:
        return np.asarray(-np.expm1(-(s**2) / P * times[..., None]) / s)

    return map_by_singular_values(
        data, gain, "choose fewer sequences, or shorter times"
    )


def _are_resolved(σ: FloatArray, times: FloatArray) -> bool:
    """Whether rounding of the eigenvalues, n·eps of the largest, changes no exp(−σ t) at these times."""
    rounding = len(σ) * float(np.finfo(float).eps * np.max(np.abs(σ), initial=0.0))
    return bool(rounding * np.max(times, initial=0.0) <= _SAME_DECAY)


def _eigensystem(matrix: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Eigenvalues (n,) and eigenvectors of a matrix of second moments; OverflowError if its numbers are infinite."""
    if not np.all(np.isfinite(matrix)):
        raise OverflowError(
            "products of the features are too large for doubles: give x and y in other units"
        )
    values, vectors = np.linalg.eigh(matrix)
    return values, vectors


def _growth(σ: FloatArray, times: FloatArray) -> FloatArray:
    """φ = (1 − exp(−σ t)) / σ, (…, n), and 0 where σ is rounding: nothing grows along what the data do not have."""
    rounding = len(σ) * float(np.finfo(float).eps * np.max(np.abs(σ)))
    present = σ > rounding
    divisor = np.where(present, σ, 1.0)
    decayed = -np.expm1(-divisor * times[..., None])
    return np.asarray(np.where(present, decayed / divisor, 0.0))
