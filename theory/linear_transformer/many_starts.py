"""Gradient flow from many starts at once: a Runge-Kutta pair of order 8, and a solver for stiffness.

A state is (S, B, n): S starts, B amplitudes of each of n modes, such as p and q. The error of a step is taken relative
to the size of each mode of each start, so that small modes grow as accurately as large ones.
"""

from typing import NamedTuple, Protocol

import numpy as np

from ...runtime.arrays import FloatArray
from ..ode import in_units, integrate

_TOLERANCE = 1e-12
# As many starts cost less together than one by one.
_FEW_STARTS = 8
# Sizes below this do not count as such: squares of smaller ones vanish as numbers.
_SMALLEST = 1e-150
# The size of the first step in units of the fastest rate.
_FIRST_STEP = 1e-2
# Times, in units of the fastest rate, at which it is asked whether all that is left is a linear relaxation.
_FIRST_STOP, _STOP_RATIO = 1e3, 10.0
# Rates below this, in the same units, count as none where all else is at rest: that of the scale line is rounding.
_AT_REST = 1e-12
# The accuracy of the solver, in units of the smallest entry of the start.
_NOISE = 1e-14
# Moves whose squares, relative to the size of what moves, are below rounding.
_LINEAR = 1e-9
_THIRD_ORDER_SHARE = 0.01
_SAFETY, _LEAST_FACTOR, _LARGEST_FACTOR = 0.9, 0.2, 5.0

_NOT_INTEGRATED = (
    "the flow could not be integrated: some initial amplitudes are too large beside those that are learned; start "
    "nearer to these"
)


class Flow(Protocol):
    """Equations of motion of amplitudes of modes."""

    def velocity(self, x: FloatArray) -> FloatArray:
        """dx/dt (S, B, n) at x (S, B, n)."""

    def jacobian(self, x: FloatArray) -> FloatArray:
        """Derivatives (B n, B n) of the velocity of one start at x (B, n)."""

    def fastest_rate(self, x: FloatArray) -> float:
        """About the largest rate at which anything moves at x (S, B, n) or at what is learned."""


def solve_starts(flow: Flow, start: FloatArray, times: FloatArray) -> FloatArray:
    """The solution from `start` (S, B, n) at flow times (T,) in any order, (T, S, B, n).

    It is accurate to about 1e-11 of the largest value, for few starts to 1e-10.
    ArithmeticError where it cannot be integrated.
    """
    rate = flow.fastest_rate(start)
    if rate == 0 or not np.any(start):
        return np.broadcast_to(start, (len(times), *start.shape)).copy()
    ordered, places = np.unique(times, return_inverse=True)
    with np.errstate(over="ignore", invalid="ignore"):
        values = _integrated(flow, start, ordered, rate)
    return values[places]


def _integrated(
    flow: Flow, start: FloatArray, times: FloatArray, rate: float
) -> FloatArray:
    """The solution at increasing times (T,), by the implicit solver for few starts and where steps become too many."""
    values = np.empty((len(times), *start.shape))
    stepper = _Stepper(flow, start, _FIRST_STEP / rate)
    if len(start) < _FEW_STARTS:
        return _implicit(flow, stepper, times, rate)
    for place, time in enumerate(times):
        if not stepper.reach(float(time)):
            values[place:] = _implicit(flow, stepper, times[place:], rate)
            break
        values[place] = stepper.x
    if not np.all(np.isfinite(values)):
        raise ArithmeticError(_NOT_INTEGRATED)
    return values


class _Stepper:
    """All starts at one time: `x` (S, B, n), `t`, and the step that the error allows."""

    def __init__(self, flow: Flow, start: FloatArray, step: float) -> None:
        # SciPy is slow to load, and has the coefficients of the pair of Hairer, Nørsett and Wanner.
        from scipy.integrate import DOP853

        self.pair = DOP853
        self.flow = flow
        self.t = 0.0
        self.x = start
        self.velocity = flow.velocity(start)
        self.step = step
        self.steps = 0
        self.most_steps = _most_steps(len(start))

    def reach(self, time: float) -> bool:
        """Go on to a time; False where too many steps have been taken."""
        while self.t < time:
            if self.steps >= self.most_steps:
                return False
            left = time - self.t
            # The last step ends there to the bit, and tells nothing about longer ones.
            is_last = self.step >= left
            self._try(left if is_last else self.step, time if is_last else None)
        return True

    def _try(self, step: float, end: float | None) -> None:
        """One step, taken where its error is small enough."""
        stages = np.empty((self.pair.n_stages + 1, *self.x.shape))
        stages[0] = self.velocity
        for stage in range(1, self.pair.n_stages):
            weights = self.pair.A[stage, :stage]
            moved = np.tensordot(weights, stages[:stage], (0, 0))
            stages[stage] = self.flow.velocity(self.x + step * moved)
        moved = np.tensordot(self.pair.B, stages[:-1], (0, 0))
        x = self.x + step * moved
        stages[-1] = self.flow.velocity(x)
        self.steps += 1
        error = self._error(stages, x, step)
        if error <= 1:
            self.t = self.t + step if end is None else end
            self.x, self.velocity = x, stages[-1]
        if end is None or not error <= 1:
            self.step = step * _step_factor(error)
        if not self.t + self.step > self.t:
            raise ArithmeticError(_NOT_INTEGRATED)

    def _error(self, stages: FloatArray, x: FloatArray, step: float) -> float:
        """The largest error of a step in units of what is allowed, at each mode of each start."""
        fifth = np.abs(np.tensordot(self.pair.E5, stages, (0, 0)))
        third = np.abs(np.tensordot(self.pair.E3, stages, (0, 0)))
        size = np.sqrt(fifth**2 + _THIRD_ORDER_SHARE * third**2)
        error = np.divide(fifth**2, size, out=np.zeros_like(size), where=size > 0)
        largest = np.maximum(np.abs(self.x), np.abs(x))
        scale = np.max(largest, axis=1, keepdims=True) + _SMALLEST
        return float(np.max(step * error / (_TOLERANCE * scale)))


def _step_factor(error: float) -> float:
    """Size of the next step in units of this one, for the error of this one in units of what is allowed."""
    if error == 0.0:
        return _LARGEST_FACTOR
    if not np.isfinite(error):
        return _LEAST_FACTOR
    return float(min(_LARGEST_FACTOR, max(_LEAST_FACTOR, _SAFETY * error ** (-1 / 8))))


def _most_steps(starts: int) -> int:
    """Explicit steps of all starts together that cost about as much as the implicit solver of one after the other."""
    # Measured: a step takes 1 ms and 5 µs a start, the solver 0.2 s a start.
    return int(0.2 * starts / (1e-3 + 5e-6 * starts))


def _implicit(
    flow: Flow, stepper: _Stepper, times: FloatArray, rate: float
) -> FloatArray:
    """The solution (T, S, B, n) at the later times, start by start, in units of the fastest rate."""
    later = in_units(times - stepper.t, rate)
    values = [_OneStart(flow, x.shape, rate).solve(x, later) for x in stepper.x]
    return np.stack(values, axis=1)


class _OneStart(NamedTuple):
    """The flow of one start, in units of its fastest rate."""

    flow: Flow
    shape: tuple[int, ...]
    rate: float

    def velocity(self, flat: FloatArray) -> FloatArray:
        """dx/dt (B n,)."""
        return self.flow.velocity(flat.reshape(1, *self.shape)).ravel() / self.rate

    def jacobian(self, flat: FloatArray) -> FloatArray:
        """Its derivatives (B n, B n), which are symmetric."""
        return self.flow.jacobian(flat.reshape(self.shape)) / self.rate

    def solve(self, x: FloatArray, times: FloatArray) -> FloatArray:
        """The solution (T, B, n) at increasing times (T,), integrated until what is left is a linear relaxation."""
        flat = x.ravel()
        # What has shrunk to less than the solver's floor is noise.
        noise = _NOISE * float(np.min(np.abs(flat[flat != 0]), initial=1.0))
        values = np.empty((len(times), len(flat)))
        now, done, stop = 0.0, 0, _FIRST_STOP
        while done < len(times):
            relaxation = self.relaxation(flat, times[done:] - now) if now else None
            if relaxation is not None:
                values[done:] = relaxation
                break
            until = int(np.searchsorted(times, stop, side="right"))
            if until == len(times):
                ends = times[done:] - now
                values[done:] = integrate(self.velocity, flat, ends, self.jacobian)
                break
            ends = np.append(times[done:until], stop) - now
            solution = integrate(self.velocity, flat, ends, self.jacobian)
            values[done:until] = solution[:-1]
            flat = np.where(np.abs(solution[-1]) > noise, solution[-1], 0.0)
            now, done, stop = stop, until, _STOP_RATIO * stop
        return values.reshape(len(times), *self.shape)

    def relaxation(self, x: FloatArray, times: FloatArray) -> FloatArray | None:
        """The solution (T, B n) near a stable point of rest x, by the eigenvectors there; None elsewhere."""
        size = float(np.max(np.abs(x)))
        λ, U = np.linalg.eigh(self.jacobian(x))
        v = U.T @ self.velocity(x)
        still = (np.abs(λ) <= _AT_REST) & (np.abs(v) <= _AT_REST * size)
        λ, v = np.where(still, -1.0, λ), np.where(still, 0.0, v)
        if np.any(λ >= 0):
            return None
        moves = np.expm1(np.multiply.outer(times, λ)) / λ * v @ U.T
        return x + moves if np.max(np.abs(moves)) <= _LINEAR * size else None
