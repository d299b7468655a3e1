"""Two numbers for each softmax head, as they are given: ω_h of its scores and μ_h of its value."""

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array

_LARGEST_VALUE = 1e100
"""The square is far below the largest number, also times everything that a loss multiplies it with."""


# In units of the ω that spread scores by 1. Products of two heads differ by the square of their distance, of which
# rounding leaves six digits here.
_RESOLVED = 1e-5


def refuse_nearly_equal(ω: FloatArray, width: float) -> None:
    """ValueError where two ω (H,) differ, but by less than a share of `width`, the ω that spreads scores by 1.

    The best values of such heads are differences of large numbers, which rounding decides. Equal heads are one head.
    """
    differences = np.abs(np.subtract.outer(ω, ω))
    smallest = _RESOLVED * width
    is_lost = (differences > 0) & (differences < smallest)
    if np.any(is_lost):
        raise ValueError(
            f"omega holds values that differ by {np.max(differences[is_lost]):.3g}, and best values are known for "
            f"equal ones and for those that differ by {smallest:.3g} or more: closer heads make a debiased step"
        )


def checked_head_scalars(
    omega: ArrayLike, mu: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """ω and μ of H ≥ 1 heads, both (H,) or both (points, H); ValueError otherwise."""
    ω = finite_array(omega, "omega", "(H,)", "(points, H)")
    μ = finite_array(mu, "mu", "(H,)", "(points, H)")
    if ω.shape != μ.shape:
        raise ValueError(
            f"omega and mu must have one shape, (H,) or (points, H): omega has shape {ω.shape} and mu {μ.shape}"
        )
    largest = float(np.max(np.abs(μ), initial=0.0))
    if largest > _LARGEST_VALUE:
        raise ValueError(
            f"mu = {largest:.3g} gives losses beyond the largest number: |mu| may be at most {_LARGEST_VALUE:g}"
        )
    return ω, μ
