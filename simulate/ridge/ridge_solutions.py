"""The ridge solution of the linear read-out on sampled data.

Three ways lead to the same map, and each says whether its result can be relied on:

- **Normal equations** (at least as many sequences as features). h and x are whitened first, so that what is left in the
  condition of S is the number of sequences per feature. S is factored in single precision, and if that does not do in
  double; the solution is refined with residuals of the data in double precision, so that it does not depend on the
  precision of the factor.
- **The kernel** F Fᵀ of sequences (fewer sequences than features), whose entries are products of two inner products.
- **Singular values** of F where neither matrix is safely regular. Only here is a rank decided.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import nonnegative_number
from ...runtime.machine import one_thread, refuse_too_large
from ..data.prompts import Data
from ..data.summaries import ContextSummaries
from .readouts import ReadoutData, product_sums, readout_of

_EPSILON = float(np.finfo(np.float64).eps)

_SAFE = 10.0
"""An eigenvalue is safely above rounding if it is so many times eps · size: entries of unit size err by eps each."""

_MOST_REFINEMENTS = 50

_CONVERGED = 4 * _EPSILON
"""Relative change of a refinement at which only rounding is left."""

_ACCURATE = 1e-11
"""Relative change at which a refinement may stall: that of rounding in residuals at a condition of 1e4."""


def ridge_fit(
    data: Data | ContextSummaries,
    *,
    ridge: float = 0.0,
    label_row: bool = False,
    label_weight: float = 1.0,
) -> FloatArray:
    """The M (D, D) that minimises the mean of (y_q − βᵀ M x_q)² plus ridge · ‖M‖², with β = Σ y x / N of each context.

    With `label_row`, M is (D+1, D), and its last row m meets s = Σ y² / N: ŷ = βᵀ M x_q + s m·x_q; the norm is then
    ‖M‖² + `label_weight` |m|². At ridge 0 it is the solution of least norm, the limit of a small ridge, whether there
    are more sequences P or more features. Directions of h or x, and of the features where these are not safely
    independent, count as absent if their singular value is below max(P, features) · eps times the largest.

    Lu et al. write Γ = (M / D; m)ᵀ and the penalty (λ P / D) ‖Γ‖² beside the sum of squares: ridge = λ / D³ and
    label_weight = D². `data` are prompts or summaries of one context length and one output.
    ValueError for a ridge that is negative or not finite, data of several context lengths or outputs, and data that
    hold nan; MemoryError where the solution needs more memory than there is; OverflowError where M is not finite.
    Source: Lu et al. 2024 (arXiv 2405.11751); the ways to the solution are derived here.

    >>> from attndyn import Task
    >>> from attndyn.simulate import sample_summaries
    >>> data = sample_summaries(Task([1, 1], context_length=1000), sequences=1000)
    >>> np.allclose(ridge_fit(data), np.eye(2), atol=0.05)
    True
    """
    λ = nonnegative_number(ridge, "ridge")
    readout = readout_of(data, label_row, label_weight, "ridge_fit(data)")
    units = _Units.of(readout.data)
    # One thread, since the products of blocks are small; fits of several data sets run side by side.
    with one_thread(), np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        # The smallest doubles underflow to 0, and what overflows is refused below.
        penalty = np.float64(len(readout.data.y) * λ) / units.feature / units.feature
        if np.isinf(penalty):
            raise OverflowError(
                f"ridge {ridge!r} is beyond doubles in units of the squares of these data: give x and y in other units"
            )
        M = _solution(units.divided(readout.data), penalty)
        M = readout.map_of(M * (units.label / units.feature))
    if not np.all(np.isfinite(M)):
        raise OverflowError(
            "the numbers of the ridge solution are too large for doubles: give x and y in other units"
        )
    return M


class _Units(NamedTuple):
    """The largest h, x and y, in whose units nothing overflows."""

    h: float
    x: float
    label: float

    @classmethod
    def of(cls, data: ReadoutData) -> "_Units":
        """The units of a data set; 1 for what is 0 everywhere."""
        return cls(*(float(np.max(np.abs(array))) or 1.0 for array in data))

    @property
    def feature(self) -> float:
        """The unit of a feature."""
        return self.h * self.x

    def divided(self, data: ReadoutData) -> ReadoutData:
        """The data in these units."""
        return ReadoutData(data.h / self.h, data.x / self.x, data.y / self.label)


def _solution(data: ReadoutData, penalty: float) -> FloatArray:
    """The least M of Σ (y − ŷ)² + penalty ‖M‖²."""
    axes_h, axes_x = _principal_axes(data.h), _principal_axes(data.x)
    M = None
    if len(data.y) >= axes_h.rank * axes_x.rank:
        M = _by_normal_equations(data, axes_h, axes_x, penalty)
    else:
        M = _by_kernel(data, penalty)
    return _by_singular_values(data, penalty) if M is None else M


class _Axes(NamedTuple):
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


def _principal_axes(vectors: FloatArray) -> _Axes:
    """The axes of vectors (P, size), without the directions that they do not have."""
    # The singular values of R are those of the vectors, not squared as in the second moments.
    triangle = np.linalg.qr(vectors, mode="r")
    _, lengths, directions = np.linalg.svd(triangle, full_matrices=False)
    cutoff = max(vectors.shape) * _EPSILON * lengths[0]
    present = lengths > cutoff
    root_P = np.sqrt(len(vectors))
    return _Axes(directions[present].T, lengths[present] / root_P)


# Long because each step of the change of variables is named.
def _by_normal_equations(
    data: ReadoutData, axes_h: _Axes, axes_x: _Axes, penalty: float
) -> FloatArray | None:
    """M from the normal equations of whitened features, or None where they are not safely regular.

    With M = A (t ∘ m) Bᵀ, A and B the whitenings, the function is mean (y − ŷ)² + Σ shrinkage m², where t² is
    1 / (1 + penalty of a direction) and shrinkage = 1 − t²: all diagonal entries of its matrix are about 1.
    """
    P = len(data.y)
    A, B = axes_h.whitening, axes_x.whitening
    white = ReadoutData(data.h @ A, data.x @ B, data.y)
    squares = np.outer(axes_h.lengths**2, axes_x.lengths**2)
    penalties = penalty / P / squares  # (rank, rank)
    t = 1 / np.sqrt(1 + penalties)
    # As it stands for penalties of 0 and of infinity as well.
    shrinkage = 1 / (1 + 1 / penalties)
    _refuse_normal_equations(t.size)

    def slope(m: FloatArray) -> FloatArray:
        residual = data.y - white.predictions(t * m)
        return t * white.weighted_features(residual) / P - shrinkage * m

    flat_t = t.ravel()
    for dtype in (np.float32, np.float64):
        matrix = product_sums(white, dtype)
        matrix *= (flat_t / P).astype(dtype)[:, None]
        matrix *= flat_t.astype(dtype)
        matrix[np.diag_indices(len(matrix))] += shrinkage.ravel().astype(dtype)
        solve = _factored(matrix)
        if solve is None:
            continue
        m = _refined(slope, solve, t.shape)
        if m is not None:
            return np.asarray(A @ (t * m) @ B.T)
    return None


def _by_kernel(data: ReadoutData, penalty: float) -> FloatArray | None:
    """M = Σ α h xᵀ with (F Fᵀ + penalty) α = y, or None where this matrix is not safely regular.

    With α = t a, t the inverse root of each diagonal entry, the matrix of a has a diagonal of ones, of which the
    penalty's share is the shrinkage.
    """
    P = len(data.y)
    size = 3 * 8.0 * P**2  # the kernel, a factor of it, and its factor of Cholesky
    refuse_too_large(f"the kernel of {P:,} sequences", size, "choose fewer sequences")
    kernel = data.kernel()
    squares = np.diag(kernel).copy()
    # A sequence without features takes no part.
    takes_part = squares + penalty > 0
    t = np.where(takes_part, 1 / np.sqrt(squares + penalty), 0.0)
    shrinkage = np.where(takes_part, 1 / (1 + squares / penalty), 1.0)
    kernel *= t[:, None]
    kernel *= t
    kernel[np.diag_indices(P)] = 1.0

    def slope(a: FloatArray) -> FloatArray:
        M = data.weighted_features(t * a)
        return t * (data.y - data.predictions(M)) - shrinkage * a

    solve = _factored(kernel)
    if solve is None:
        return None
    a = _refined(slope, solve, (P,))
    return None if a is None else data.weighted_features(t * a)


def _by_singular_values(data: ReadoutData, penalty: float) -> FloatArray:
    """M = V diag(s / (s² + penalty)) Uᵀ y of F = U diag(s) Vᵀ, where singular values s of rounding count as absent."""
    from scipy.linalg import svd

    P, count = len(data.y), data.features
    size = (
        4 * 8.0 * P * count
    )  # F, its copy in columns, and both sets of singular vectors
    what = f"the singular values of {P:,} sequences of {count:,} features"
    refuse_too_large(what, size, "choose fewer sequences, or a larger ridge")
    U, s, Vt = svd(data.feature_matrix(), full_matrices=False, overwrite_a=True)
    present = s > max(P, count) * _EPSILON * s[0]
    s = s[present]
    coefficients = s / (s**2 + penalty) * (U[:, present].T @ data.y)
    M = coefficients @ Vt[present]
    return np.asarray(M.reshape(data.h.shape[1], data.x.shape[1]))


def _refuse_normal_equations(features: int) -> None:
    """MemoryError if the sums of products of so many features do not fit beside what they are made of."""
    size = 3 * 8.0 * features**2
    what = f"the normal equations of {features:,} features"
    refuse_too_large(what, size, "choose a smaller dimension")


Solve = Callable[[FloatArray], FloatArray]


def _factored(matrix: NDArray[Any]) -> Solve | None:
    """What solves with a symmetric matrix (n, n) of entries about 1 or less, or None if it is not safely regular."""
    from scipy.linalg import get_lapack_funcs

    if not len(matrix):
        return lambda right: right
    potrf, pocon, potrs = get_lapack_funcs(("potrf", "pocon", "potrs"), (matrix,))
    norm = np.max(np.sum(np.abs(matrix), axis=0))
    # Symmetric: its rows are the columns that LAPACK expects, so that nothing is copied.
    factor, failed = potrf(matrix.T, lower=False, overwrite_a=True, clean=False)
    if failed:
        return None
    inverse_condition, _ = pocon(factor, norm, uplo="U")
    # 1 / ‖S⁻¹‖₁ ≤ the smallest eigenvalue.
    smallest = inverse_condition * norm
    rounding = float(np.finfo(matrix.dtype).eps) * len(matrix)
    if not smallest > _SAFE * rounding:
        return None

    def solve(right: FloatArray) -> FloatArray:
        # In units of its own: single precision has no numbers below 1e-45.
        unit = float(np.max(np.abs(right))) or 1.0
        scaled = (right.ravel() / unit).astype(matrix.dtype)
        solution, _ = potrs(factor, scaled, lower=False)
        return np.asarray(unit * solution.reshape(right.shape).astype(np.float64))

    return solve


def _refined(slope: Solve, solve: Solve, shape: tuple[int, ...]) -> FloatArray | None:
    """Where the slope vanishes, by steps solve(slope), or None if they do not converge."""
    solution = np.zeros(shape)
    former_change = np.inf
    for _ in range(_MOST_REFINEMENTS):
        step = solve(slope(solution))
        solution += step
        size = float(np.linalg.norm(solution))
        change = float(np.linalg.norm(step)) / size if size else 0.0
        if change <= _CONVERGED:
            return solution
        if not change <= former_change / 2:
            # Steps shrink no more: rounding of the slope decides them.
            return solution if change <= _ACCURATE else None
        former_change = change
    return None
