"""Numbers of steps that are followed one by one, and of prompts of a step, and how many there may be."""

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import real_array, whole_number


def whole_steps(steps: ArrayLike, most: int, further: str) -> FloatArray:
    """Steps (T,) as numbers; ValueError unless they are whole, zero or more, and up to `most`.

    `further` says in the refusal what knows the weights after more of them.

    >>> whole_steps([0, 20], most=1_000, further="use the flow")
    array([ 0., 20.])
    """
    counts = real_array(steps, "steps", "()", "(T,)").reshape(-1)
    whole = np.isfinite(counts) & (counts == np.round(counts))
    if not np.all(whole & (counts >= 0)):
        raise ValueError("steps must be whole numbers of zero or more")
    if np.any(counts > most):
        raise ValueError(
            f"steps are followed one by one and may be {most:,} at most, not {np.max(counts):,.0f}: {further}"
        )
    return counts


_LARGEST_BATCH = 10**15


def prompts_of_a_step(batch: object) -> int:
    """The number of prompts of a step; ValueError unless it is a whole number of 1 to 10¹⁵.

    >>> prompts_of_a_step(32)
    32
    """
    count = whole_number(batch, "batch")
    if count > _LARGEST_BATCH:
        raise ValueError(
            "batch may be 10¹⁵ at most: with more prompts a step mode_descent says all"
        )
    return count
