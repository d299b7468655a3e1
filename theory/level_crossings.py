"""When a falling curve passes given levels: all at once, since a call costs more than a time does."""

from collections.abc import Callable

import numpy as np

from ..runtime.arrays import FloatArray

# Roots are found to the last bits: no error of the value and no smallest time ends the search before.
_TOLERANCES = {
    "xatol": 0.0,
    "xrtol": 4 * float(np.finfo(np.float64).eps),
    "fatol": 0.0,
    "frtol": 0.0,
}


def first_crossings(
    value: Callable[[FloatArray], FloatArray], levels: FloatArray, end: float
) -> FloatArray:
    """When `value`, which falls over (0, `end`), passes each of `levels` (n,), to rounding; 0 if it starts below.

    `value` maps times (n,) to values (n,) and must be below every level at `end`. Chandrupatla's method, for all
    levels in step (Chandrupatla 1997, Advances in Engineering Software 28).

    >>> first_crossings(lambda t: np.exp(-t), np.array([0.5, 0.1, 2.0]), 10.0)
    array([0.69314718, 2.30258509, 0.        ])
    """
    from scipy.optimize.elementwise import find_root

    start = np.zeros(levels.shape)
    starts_above = value(start) > levels
    times = np.zeros(levels.shape)
    if not np.any(starts_above):
        return times

    below_start = levels[starts_above]  # (m,)
    bracket = (np.zeros(below_start.shape), np.full(below_start.shape, end))
    root = find_root(
        lambda time, level: value(time) - level,
        bracket,
        args=(below_start,),
        tolerances=_TOLERANCES,
    )
    times[starts_above] = root.x
    return times
