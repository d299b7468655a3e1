"""Reduced equations of motion integrated to near rounding."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..machine import one_thread

FloatArray = NDArray[np.float64]
Field = Callable[[FloatArray], FloatArray]

_RELATIVE_TOLERANCE = 3e-13  # per step, next to the least that the solver accepts
_MOST_STEPS = 10**6  # between two times
_THREADED = 30  # unknowns from which the factors of a Jacobian are shared by threads, which is not worth it
_DENSE = 100  # unknowns up to which the factors of a full Jacobian cost less than the small steps they save


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


def integrate(
    rate: Field, start: FloatArray, flow_time: FloatArray, jacobian: Field | None = None, least: float = np.inf
) -> FloatArray:
    """The solution of dx/dt = rate(x) from `start` (n,) at each flow time (T,): (T, n).

    `jacobian` is ∂rate/∂x (n, n), for slow directions that go on after fast ones have come to rest: without it
    such a time costs ever more steps. Accurate to about 1e-11 relative, for entries far above 1e-14 of the
    smallest nonzero entry of `start`, or of `least`, the size that entries shrink to. ArithmeticError if the solver
    gives up.
    """
    times, place = np.unique(np.append(0.0, flow_time), return_inverse=True)
    if len(times) == 1 or not np.any(start):
        return np.tile(start, (len(flow_time), 1))
    floor = 1e-14 * min(least, float(np.min(np.abs(start[start != 0]))))
    if jacobian is None or len(start) > _DENSE:
        values = _explicit(rate, start, times, floor)
    else:
        values = _implicit(rate, jacobian, start, times, floor)
    if not np.all(np.isfinite(values)):
        raise ArithmeticError(
            "the reduced equations could not be integrated: rescale the task, or its initial weights"
        )
    return values[place[1:]]


def _explicit(rate: Field, start: FloatArray, times: FloatArray, floor: float) -> FloatArray:
    from scipy.integrate import solve_ivp

    solution = solve_ivp(
        lambda _, x: rate(x),
        (0.0, times[-1]),
        start,
        method="DOP853",
        rtol=_RELATIVE_TOLERANCE,
        atol=floor,
        t_eval=times,
    )
    if not solution.success:
        raise ArithmeticError(f"the reduced equations could not be integrated: {solution.message}")
    return np.asarray(solution.y.T)


def _implicit(rate: Field, jacobian: Field, start: FloatArray, times: FloatArray, floor: float) -> FloatArray:
    """Adams' methods, and Gear's with the Jacobian once the equations are stiff, in one compiled loop."""
    import warnings

    from scipy.integrate import ODEintWarning, odeint

    rules = {"rtol": _RELATIVE_TOLERANCE, "atol": floor, "mxstep": _MOST_STEPS, "tfirst": True}
    alone = one_thread() if len(start) > _THREADED else nullcontext()
    with warnings.catch_warnings(), alone:
        warnings.simplefilter("error", ODEintWarning)
        try:
            solution = odeint(lambda _, x: rate(x), start, times, Dfun=lambda _, x: jacobian(x), **rules)
        except ODEintWarning as problem:
            raise ArithmeticError(f"the reduced equations could not be integrated: {problem}") from None
    return np.asarray(solution)


def conserving(values: FloatArray, start: FloatArray, power: int) -> tuple[FloatArray, FloatArray]:
    """s (T,) and x (T, n) of the solutions `values` (T, 1 + n), moved back to the s² − |x|² of `start` (1 + n,).

    They move along s → cᵖ s, x → x/c with p = `power`, which leaves the map that they make as it is: the one
    direction in which neither this nor the flow itself would undo errors.
    """
    s, x = values[:, 0], values[:, 1:]
    drift = s**2 - np.sum(x**2, axis=1) - (start[0] ** 2 - np.sum(start[1:] ** 2))
    total = 2 * (power * s**2 + np.sum(x**2, axis=1))
    stretch = np.divide(drift, total, out=np.zeros_like(s), where=total > 0)
    return s * (1 - power * stretch), x * (1 + stretch)[:, None]
