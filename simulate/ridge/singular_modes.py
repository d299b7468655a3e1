"""Features of sampled data by their singular values, which have all digits where the squares have none."""

from collections.abc import Callable

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.machine import refuse_too_large
from .linear_solvers import EPSILON
from .readouts import ReadoutData


def map_by_singular_values(
    data: ReadoutData, gain: Callable[[FloatArray], FloatArray], way_out: str
) -> FloatArray:
    """M = V gain(s) Uᵀ y, (…, E, D), of F = U diag(s) Vᵀ, where singular values s of rounding count as absent.

    `gain` takes those that are present (r,) and gives (…, r). MemoryError, which says `way_out`, where they do not fit.
    """
    from scipy.linalg import svd

    P, count = len(data.y), data.features
    # F, its copy in columns, and both sets of singular vectors.
    size = 4 * 8.0 * P * count
    what = f"the singular values of {P:,} sequences of {count:,} features"
    refuse_too_large(what, size, way_out)
    U, s, Vt = svd(data.feature_matrix(), full_matrices=False, overwrite_a=True)
    present = s > max(P, count) * EPSILON * s[0]
    gains = gain(s[present])
    M = gains * (U[:, present].T @ data.y) @ Vt[present]
    shape = (*gains.shape[:-1], data.h.shape[1], data.x.shape[1])
    return np.asarray(M.reshape(shape))
