"""Reduced equations of motion integrated to near rounding."""

from collections.abc import Callable
from contextlib import nullcontext

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..runtime.checks import real_array
from ..runtime.machine import one_thread

Field = Callable[[FloatArray], FloatArray]

_RELATIVE_TOLERANCE = 3e-13  # per step, next to the least that the solver accepts
_MOST_STEPS = 10**6  # between two times

# In units of the fastest rate: shorter and longer times defeat the solvers.
_SHORTEST_TIME = 1e-60
_LONGEST_TIME = 1e15
_LATEST = 1e300  # of flow times in any units: it stays a number
# Speed of a solution that has settled, in units of its size and of the fastest rate.
_SETTLED = 1e-9

_THREADED = (
    30  # unknowns from which a Jacobian's factors go to threads, which is slower
)
_DENSE = 100  # unknowns up to which factors of a full Jacobian cost less than the small steps they save

_NOT_INTEGRATED = (
    "the reduced equations could not be integrated: the initial amplitudes are too large or too small beside those "
    "that are learned, or gains too far apart; start nearer to what is learned"
)


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
    array = real_array(values, "flow_time", "()", "(T,)")
    times = np.atleast_1d(array)
    if not np.all(np.isfinite(times)) or np.any(times < 0):
        raise ValueError(
            "flow_time must be finite and zero or more: it is counted from the initial weights"
        )
    return times


def in_units(times: FloatArray, rate: float) -> FloatArray:
    """Flow times (T,) in units of 1/`rate`; what would overflow is as good as infinite."""
    with np.errstate(over="ignore"):
        return np.minimum(times * rate, _LATEST)


def integrate(
    rate: Field,
    start: FloatArray,
    flow_time: FloatArray,
    jacobian: Field | None = None,
    least: float = np.inf,
    *,
    settled: float = 0.0,
    most_dense: int = _DENSE,
) -> FloatArray:
    """The solution of dx/dt = rate(x) from `start` (n,) at each flow time (T,): (T, n).

    `jacobian` is ∂rate/∂x (n, n), for slow directions that go on after fast ones have settled: without it
    such a time costs ever more steps. It is used for up to `most_dense` unknowns. Accurate to about 1e-11 relative,
    for entries far above 1e-14 of the smallest nonzero entry of `start`, or of `least`, the size that entries shrink
    to. ArithmeticError if the solver gives up. The unit of time is to be about 1/(fastest rate): what is next to
    nothing in it counts as none, and after what is next to infinity the solution has settled; ArithmeticError if it
    has not. Rates below `settled` count as none.
    """
    latest = _longest_time(start)
    clipped = _clipped(flow_time, latest)
    # The solvers want times that increase, and the first one is that of the start.
    times, places = np.unique(np.append(0.0, clipped), return_inverse=True)
    if len(times) == 1 or not np.any(start):
        return np.tile(start, (len(flow_time), 1))

    floor = _absolute_tolerance(start, least)
    if jacobian is None or len(start) > most_dense:
        values = _explicit(rate, start, times, floor)
    else:
        values = _implicit(rate, jacobian, start, times, floor)
    if not np.all(np.isfinite(values)):
        raise ArithmeticError(_NOT_INTEGRATED)
    if np.any(flow_time > latest):
        _refuse_unless_settled(rate, values[-1], settled)
    return values[places[1:]]


def _clipped(flow_time: FloatArray, latest: float) -> FloatArray:
    """Flow times (T,), with 0 for those next to nothing, and `latest` for those after it."""
    return np.where(flow_time < _SHORTEST_TIME, 0.0, np.minimum(flow_time, latest))


def _absolute_tolerance(start: FloatArray, least: float) -> float:
    """1e-14 of the smallest nonzero entry of `start` (n,), or of `least` where that is smaller."""
    smallest = float(np.min(np.abs(start[start != 0])))
    return 1e-14 * min(least, smallest)


def _longest_time(start: FloatArray) -> float:
    """The longest time that the solvers follow: small weights grow at a rate that is as small."""
    size = float(np.max(np.abs(start), initial=0.0)) or 1.0
    return _LONGEST_TIME / min(1.0, size)


def _refuse_unless_settled(rate: Field, x: FloatArray, settled: float) -> None:
    largest = float(np.max(np.abs(x)))
    # Rates are cubic in the weights where these are large, and linear where they are small.
    scale = largest * max(1.0, largest**2) * min(1.0, largest)
    if float(np.max(np.abs(rate(x)))) > max(_SETTLED * scale, settled):
        raise ArithmeticError(
            "the reduced equations could not be integrated: after 10¹⁵ times of their fastest rate the solution "
            "still moves, and a flow time lies beyond that: ask for shorter ones"
        )


def _explicit(
    rate: Field, start: FloatArray, times: FloatArray, floor: float
) -> FloatArray:
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
        raise ArithmeticError(_NOT_INTEGRATED)
    return np.asarray(solution.y.T)


def _implicit(
    rate: Field, jacobian: Field, start: FloatArray, times: FloatArray, floor: float
) -> FloatArray:
    """Adams' methods, and Gear's with the Jacobian once the equations are stiff, in one compiled loop."""
    import warnings

    from scipy.integrate import ODEintWarning, odeint

    alone = one_thread() if len(start) > _THREADED else nullcontext()
    with warnings.catch_warnings(), alone:
        warnings.simplefilter("error", ODEintWarning)
        try:
            solution = odeint(
                lambda _, x: rate(x),
                start,
                times,
                Dfun=lambda _, x: jacobian(x),
                tfirst=True,
                rtol=_RELATIVE_TOLERANCE,
                atol=floor,
                mxstep=_MOST_STEPS,
            )
        except ODEintWarning:
            raise ArithmeticError(_NOT_INTEGRATED) from None
    return np.asarray(solution)


def conserving(
    values: FloatArray, start: FloatArray, power: int
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and x (T, n) of the solutions `values` (T, 1 + n), moved back to the s² − |x|² of `start` (1 + n,).

    They move along s → cᵖ s, x → x/c with p = `power`, which leaves the map that they make as it is: the one
    direction in which neither this nor the flow itself would undo errors.
    """
    s = values[:, 0]
    x = values[:, 1:]
    x_square = np.sum(x**2, axis=1)
    conserved = start[0] ** 2 - np.sum(start[1:] ** 2)
    drift = s**2 - x_square - conserved
    # d(s² − |x|²)/dc along that line, at c = 1.
    slope = 2 * (power * s**2 + x_square)
    stretch = np.divide(drift, slope, out=np.zeros_like(s), where=slope > 0)
    return s * (1 - power * stretch), x * (1 + stretch)[:, None]
