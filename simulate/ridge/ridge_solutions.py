"""The ridge solution of the linear read-out on sampled data.

Three ways lead to the same map, and each says whether its result can be relied on:

- **Normal equations** of whitened h and x (at least as many sequences as features), by conjugate gradients or by a
  factor in single precision, and by one in double precision where these do not do. The solution is refined with
  residuals of the data in double precision, so that it does not depend on how the equations were solved.
- **The kernel** F Fᵀ of sequences (fewer sequences than features), whose entries are products of two inner products.
- **Singular values** of F where neither matrix is safely regular. Only here is a rank of the features decided.
"""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import nonnegative_number
from ...runtime.machine import one_thread, refuse_too_large
from ..data.prompts import Data
from ..data.summaries import ContextSummaries
from .linear_solvers import factored, refined
from .readouts import ReadoutData, readout_of
from .singular_modes import map_by_singular_values
from .white_equations import WhiteEquations, principal_axes


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
    axes_h, axes_x = principal_axes(data.h), principal_axes(data.x)
    M = None
    if len(data.y) < axes_h.rank * axes_x.rank:
        M = _by_kernel(data, penalty)
    else:
        equations = WhiteEquations.of(data, axes_h, axes_x, penalty)
        m = equations.solution()
        if m is not None:
            M = axes_h.whitening @ (equations.t * m) @ axes_x.whitening.T
    return _by_singular_values(data, penalty) if M is None else M


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

    solve = factored(kernel)
    if solve is None:
        return None
    a = refined(slope, solve, (P,))
    return None if a is None else np.asarray(data.weighted_features(t * a), float)


def _by_singular_values(data: ReadoutData, penalty: float) -> FloatArray:
    """M = V diag(s / (s² + penalty)) Uᵀ y of F = U diag(s) Vᵀ."""

    def gain(s: FloatArray) -> FloatArray:
        return np.asarray(s / (s**2 + penalty))

    return map_by_singular_values(
        data, gain, "choose fewer sequences, or a larger ridge"
    )
