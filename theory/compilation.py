"""Functions compiled by numba, and the Runge-Kutta pair that they integrate with."""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numpy as np
from numba import njit
from scipy.integrate import DOP853

from ..runtime.arrays import FloatArray

Function = TypeVar("Function", bound=Callable[..., object])

STAGES = 12
"""Stages of the pair of order 8 (Hairer, Nørsett, Wanner, Solving Ordinary Differential Equations I, II.5)."""
STAGE_WEIGHTS: FloatArray = np.ascontiguousarray(DOP853.A[:STAGES, :STAGES])
"""a_ij: what derivative j adds to the state at stage i."""
STEP_WEIGHTS: FloatArray = np.ascontiguousarray(DOP853.B)
"""b_j: what derivative j adds to the state after the step."""
ERROR_3: FloatArray = np.ascontiguousarray(DOP853.E3)
"""Weights (13,) of the error estimate of order 3; the last one belongs to the state after the step."""
ERROR_5: FloatArray = np.ascontiguousarray(DOP853.E5)
"""Weights (13,) of the error estimate of order 5."""
THIRD_ORDER_SHARE = 0.01
"""Share of the third-order estimate in the error of the pair, as its authors chose it."""

# The usual constants of step-size control (Hairer, Nørsett, Wanner, II.4).
SAFETY = 0.9
"""How much of the step that the error allows is taken, so that few steps are refused."""
LEAST_FACTOR = 0.2
LARGEST_FACTOR = 5.0
"""By how much one step may differ from the one before: the estimate holds for similar steps only."""


def compile_function(function: Function) -> Function:
    """The function in machine code, kept beside the source or in the user's cache if either can be written.

    Sums may be reordered, so that loops use vector instructions, but products and sums are not fused: heads that
    are mirror images of one another then stay so to the last bit.

    >>> compile_function(lambda x: x + 1)(1)
    2
    """
    try:
        return _machine_code(function, cache=True)
    except RuntimeError:  # numba found no folder to write to
        return _machine_code(function, cache=False)


def _machine_code(function: Function, cache: bool) -> Function:
    compiler: Any = njit(
        cache=cache, nogil=True, error_model="numpy", fastmath={"reassoc"}
    )
    return cast(Function, compiler(function))


@compile_function
def step_factor(error: float) -> float:
    """Size of the next step in units of this one, for the `error` of this one in units of what is allowed."""
    if error == 0.0:
        return LARGEST_FACTOR
    if not np.isfinite(error):
        return LEAST_FACTOR
    # An error of order h⁸ allows a step that is error^(−1/8) times as long.
    factor = SAFETY * error ** (-1 / 8)
    return float(min(LARGEST_FACTOR, max(LEAST_FACTOR, factor)))
