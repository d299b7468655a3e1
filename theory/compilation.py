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
NODES: FloatArray = np.ascontiguousarray(DOP853.A[:STAGES, :STAGES])
WEIGHTS: FloatArray = np.ascontiguousarray(DOP853.B)
ERROR_3: FloatArray = np.ascontiguousarray(DOP853.E3)
ERROR_5: FloatArray = np.ascontiguousarray(DOP853.E5)
SAFETY, LEAST_FACTOR, LARGEST_FACTOR = 0.9, 0.2, 5.0
"""How much of the step that the error allows is taken, and by how much one step may differ from the one before."""


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
    faster: Any = njit(
        cache=cache, nogil=True, error_model="numpy", fastmath={"reassoc"}
    )(function)
    return cast(Function, faster)


@compile_function
def step_factor(error: float) -> float:
    """Size of the next step in units of this one, for the `error` of this one in units of what is allowed."""
    if error == 0.0:
        return LARGEST_FACTOR
    if not np.isfinite(error):
        return LEAST_FACTOR
    return float(min(LARGEST_FACTOR, max(LEAST_FACTOR, SAFETY * error ** (-1 / 8))))
