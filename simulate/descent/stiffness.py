"""Integration of a gradient flow by the method that the problem calls for.

It begins with an explicit Runge-Kutta method of order 8. Where fast directions have come to rest and slow ones go
on, the largest step that is stable, not accuracy, decides how many steps are left. From there Gear's method goes on
(LSODA), which needs the Jacobian and hardly any steps.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from ...runtime.arrays import FloatArray

Velocity = Callable[[FloatArray], FloatArray]
Tolerances = tuple[float, FloatArray | float]
"""The relative one, and the absolute one: of all unknowns, or of each (n,)."""

FIRST_LOOK = 64
"""Steps after which the problem is looked at first; then after twice as many, and so on."""

STABLE = 6.0
"""Where the method of order 8 stops to be stable, in units of step times fastest rate."""

_LIMITED = 0.5 * STABLE  # a step this long is stability's: it swings around the limit
_POWERS = 12  # of the Jacobian on a random direction: its fastest rate to some percent
_SHIFT = 1e-7  # relative, for its product with a direction by differences
_STAGES = 12  # velocities of a step of the explicit method
_IMPLICIT_STEPS = 4000  # of Gear's method over a whole flow, at a relative tolerance of 1e-12, at most
_JACOBIANS = 200  # that it needs on the way
_MOST_UNKNOWNS = 2000  # factors of larger Jacobians cost more than the steps they save
_STRICTER = 0.1  # tolerance of Gear's method, whose errors add up over more steps, relative to the explicit one's
_STRICTEST = 3e-14  # what it can still reach
_MOST_STEPS = 5 * _IMPLICIT_STEPS  # between two times


def integrate(
    velocity: Velocity,
    y: FloatArray,
    times: FloatArray,
    tolerances: Tolerances,
    jacobian: Velocity | None = None,
) -> FloatArray:
    """The solution of dy/dt = velocity(y) from y (n,) at t = 0, at increasing `times` (T,), (T, n).

    `tolerances` are the relative and the absolute one; `jacobian` gives ∂velocity/∂y (n, n), where it is known.
    ArithmeticError if neither method gets on.

    >>> fast = np.array([-1e4, -1.0])
    >>> slow = integrate(lambda y: fast * y, np.ones(2), np.array([0.0, 1.0]), (1e-10, 1e-12))[:, 1]
    >>> slow.round(6)
    array([1.      , 0.367879])
    """
    from scipy.integrate import DOP853

    states = np.empty((len(times), len(y)))
    done = int(np.searchsorted(times, 0.0, side="right"))
    states[:done] = y
    if done == len(times):
        return states
    solver = DOP853(
        lambda _, x: velocity(x),
        0.0,
        y,
        times[-1],
        rtol=tolerances[0],
        atol=tolerances[1],
    )
    steps, look = 0, FIRST_LOOK
    while solver.status == "running":
        message = solver.step()
        if solver.status == "failed":
            raise ArithmeticError(
                f"the gradient flow could not be integrated: {message}"
            )
        steps += 1
        reached = int(np.searchsorted(times, solver.t, side="right"))
        if reached > done:
            states[done:reached] = solver.dense_output()(times[done:reached]).T
            done = reached
        if steps == look and done < len(times):
            look *= 2
            if _is_stiff(velocity, solver, times[-1], jacobian is not None):
                rest = np.append(solver.t, times[done:])
                states[done:] = _implicit(
                    velocity, solver.y, rest, tolerances, jacobian
                )
                return states
    return states


def _is_stiff(velocity: Velocity, solver: Any, end: float, known: bool) -> bool:
    """Whether stability limits the step, and what is left costs the explicit method more than the implicit one."""
    n = len(solver.y)
    left = (end - solver.t) / solver.step_size * _STAGES
    price = _IMPLICIT_STEPS if known else _IMPLICIT_STEPS + _JACOBIANS * n
    if n > _MOST_UNKNOWNS or left < price:
        return False
    return bool(solver.step_size * _fastest_rate(velocity, solver.y) > _LIMITED)


def _fastest_rate(velocity: Velocity, y: FloatArray) -> float:
    """The largest eigenvalue of the Jacobian, in size, by its powers on a random direction."""
    direction = np.random.default_rng(0).standard_normal(y.shape)
    shift, still, rate = _SHIFT * float(np.max(np.abs(y))), velocity(y), 0.0
    if shift == 0.0:
        return 0.0
    for _ in range(_POWERS):
        direction /= np.linalg.norm(direction)
        direction = (velocity(y + shift * direction) - still) / shift
        rate = float(np.linalg.norm(direction))
        if rate == 0.0:
            break
    return rate


def _implicit(
    velocity: Velocity,
    y: FloatArray,
    times: FloatArray,
    tolerances: Tolerances,
    jacobian: Velocity | None,
) -> FloatArray:
    """The solution at times[1:], from y at times[0]."""
    import warnings

    from scipy.integrate import ODEintWarning, odeint

    relative, absolute = _STRICTER * tolerances[0], _STRICTER * tolerances[1]
    rules: dict[str, Any] = {
        "rtol": max(relative, _STRICTEST),
        "atol": absolute,
        "mxstep": _MOST_STEPS,
    }
    if jacobian is not None:
        rules["Dfun"] = lambda _, x: jacobian(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ODEintWarning)
        try:
            solution = odeint(lambda _, x: velocity(x), y, times, tfirst=True, **rules)
        except ODEintWarning as problem:
            raise ArithmeticError(
                f"the gradient flow could not be integrated from t = {times[0]:.3g} to {times[-1]:.3g} (solver: "
                f"{str(problem).split('Run with')[0].strip()}): ask for earlier times if it rests long before, or "
                "start from smaller weights"
            ) from None
    return np.asarray(solution[1:])
