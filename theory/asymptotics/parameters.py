"""Checks of the parameters of the limit D → ∞, and their broadcasting."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import BoolArray, FloatArray
from ...runtime.checks import positive_number, real_array


def broadcast(arguments: dict[str, FloatArray]) -> list[FloatArray]:
    """Arrays of one shape; ValueError, with the shapes, where they do not broadcast."""
    try:
        return list(np.broadcast_arrays(*arguments.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {a.shape}" for name, a in arguments.items())
        raise ValueError(
            f"arguments must broadcast to one shape, not {shapes}"
        ) from None


def positive(value: ArrayLike, name: str) -> FloatArray:
    """Numbers above zero, of which some may be infinite."""
    return _accepted(value, name, "positive numbers or inf", lambda array: array > 0)


def positive_or_infinite(value: object, name: str) -> float:
    """One number above zero, or inf."""
    if isinstance(value, float) and value == math.inf:
        return math.inf
    return positive_number(value, name)


def zero_or_more(value: ArrayLike, name: str) -> FloatArray:
    """Finite numbers of zero or more."""

    def is_accepted(array: FloatArray) -> BoolArray:
        return np.asarray((array >= 0) & np.isfinite(array))

    return _accepted(value, name, "zero or more and finite", is_accepted)


def _accepted(
    value: ArrayLike,
    name: str,
    allowed: str,
    accepts: Callable[[FloatArray], BoolArray],
) -> FloatArray:
    """Real numbers; ValueError with the first that is not accepted."""
    array = real_array(value, name)
    refused = array[~accepts(array)]
    if refused.size:
        raise ValueError(f"{name} must be {allowed}, not {refused.flat[0]:g}")
    return array
