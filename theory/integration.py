"""Reduced equations of motion integrated to near rounding."""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]

_RELATIVE_TOLERANCE = 3e-14  # per step, next to the least that scipy accepts: interpolation loses two digits


class Stop:
    """An event that ends scipy's integration where `value(x)` crosses zero."""

    terminal = True

    def __init__(self, value: Callable[[FloatArray], float]) -> None:
        self.value = value

    def __call__(self, _: float, x: FloatArray) -> float:
        """The value at state x, whatever the time."""
        return self.value(x)


def flow_times(values: ArrayLike) -> FloatArray:
    """Flow times as an array (T,); ValueError unless they are finite, zero or more, and one-dimensional."""
    times = np.atleast_1d(np.asarray(values, dtype=np.float64))
    if times.ndim != 1 or times.size == 0:
        raise ValueError(f"flow_time must be a number or have shape (T,), not {times.shape}")
    if not np.all(np.isfinite(times)) or np.any(times < 0):
        raise ValueError("flow_time must be finite and zero or more: it is counted from the initial weights")
    return times


def integrate(rate: Callable[[FloatArray], FloatArray], start: FloatArray, flow_time: FloatArray) -> FloatArray:
    """The solution of dx/dt = rate(x) from `start` (n,) at each flow time (T,): (T, n).

    Accurate to about 1e-11 relative, for entries far above 1e-14 of the smallest nonzero entry of `start`.
    """
    from scipy.integrate import solve_ivp

    last = float(np.max(flow_time))
    if last == 0 or not np.any(start):
        return np.tile(start, (len(flow_time), 1))
    floor = 1e-14 * float(np.min(np.abs(start[start != 0])))
    solution = solve_ivp(
        lambda _, x: rate(x),
        (0.0, last),
        start,
        method="DOP853",
        rtol=_RELATIVE_TOLERANCE,
        atol=floor,
        dense_output=True,
    )
    if not solution.success:
        raise ArithmeticError(f"the reduced equations could not be integrated: {solution.message}")
    values: FloatArray = solution.sol(flow_time).T
    return values
