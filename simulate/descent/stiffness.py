"""Integration of a gradient flow by the method that the problem calls for.

It begins with an explicit Runge-Kutta method of order 8. Where fast directions have come to rest and slow ones go
on, the largest step that is stable, not accuracy, decides how many steps are left. From there Gear's method goes on
(LSODA), which needs the Jacobian and hardly any steps.
"""

import itertools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray

Velocity = Callable[[FloatArray], FloatArray]


class Tolerances(NamedTuple):
    """The relative one, and the absolute one: of all unknowns, or of each (n,)."""

    relative: float
    absolute: FloatArray | float


FIRST_LOOK = 64
"""Steps after which the problem is looked at first; then after twice as many, and so on."""

STABLE = 6.0
"""Where the method of order 8 stops to be stable, in units of step times fastest rate."""

# A step this long is stability's: it swings around the limit.
_LIMITED = 0.5 * STABLE
# Of the Jacobian on a random direction: its fastest rate to some percent.
_POWERS = 12
# Relative, for the product of the Jacobian with a direction by differences: the root of rounding.
_SHIFT = 1e-7
# Velocities of a step of the explicit method.
_STAGES = 12
# Of Gear's method over a whole flow, at a relative tolerance of 1e-12, at most.
_IMPLICIT_STEPS = 4000
# That Gear's method needs on the way.
_JACOBIANS = 200
# Factors of larger Jacobians cost more than the steps they save.
_MOST_UNKNOWNS = 2000
# Tolerance of Gear's method, whose errors add up over more steps, relative to the explicit one's.
_STRICTER = 0.1
# What Gear's method can still reach.
_STRICTEST = 3e-14
# Between two times.
_MOST_STEPS = 5 * _IMPLICIT_STEPS


# Long because it is the loop of one integration: each of its lines changes where the integration stands.
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
    >>> tolerances = Tolerances(relative=1e-10, absolute=1e-12)
    >>> states = integrate(lambda y: fast * y, np.ones(2), np.array([0.0, 1.0]), tolerances)
    >>> states[:, 1].round(6)
    array([1.      , 0.367879])
    """
    states = np.empty((len(times), len(y)))
    done = int(np.searchsorted(times, 0.0, side="right"))  # of the times
    states[:done] = y
    if done == len(times):
        return states

    solver = _explicit_solver(velocity, y, times[-1], tolerances)
    look = FIRST_LOOK
    for steps in itertools.count(1):
        _take_step(solver)
        reached = int(np.searchsorted(times, solver.t, side="right"))
        if reached > done:
            states[done:reached] = solver.dense_output()(times[done:reached]).T
            done = reached
        if done == len(times):
            break
        if steps == look:
            look *= 2
            if _is_stiff(velocity, solver, times[-1], jacobian is not None):
                remaining = np.append(solver.t, times[done:])
                states[done:] = _implicit(
                    velocity, solver.y, remaining, tolerances, jacobian
                )
                break
    return states


def _explicit_solver(
    velocity: Velocity, y: FloatArray, end: float, tolerances: Tolerances
) -> Any:
    """Scipy's Runge-Kutta method of order 8, at t = 0."""
    from scipy.integrate import DOP853

    return DOP853(
        lambda _, x: velocity(x),
        0.0,
        y,
        end,
        rtol=tolerances.relative,
        atol=tolerances.absolute,
    )


def _take_step(solver: Any) -> None:
    """One step; ArithmeticError where the solver gives up."""
    message = solver.step()
    if solver.status == "failed":
        raise ArithmeticError(f"the gradient flow could not be integrated: {message}")


def _is_stiff(velocity: Velocity, solver: Any, end: float, has_jacobian: bool) -> bool:
    """Whether stability limits the step, and the rest costs the explicit method more than the implicit one."""
    n = len(solver.y)
    if n > _MOST_UNKNOWNS:
        return False
    # Both prices are counted in velocities; a Jacobian by differences costs n of them.
    explicit_price = (end - solver.t) / solver.step_size * _STAGES
    implicit_price = _IMPLICIT_STEPS
    if not has_jacobian:
        implicit_price += _JACOBIANS * n
    if explicit_price < implicit_price:
        return False
    return bool(solver.step_size * _fastest_rate(velocity, solver.y) > _LIMITED)


def _fastest_rate(velocity: Velocity, y: FloatArray) -> float:
    """The largest eigenvalue of the Jacobian, in size, by its powers on a random direction."""
    shift = _SHIFT * float(np.max(np.abs(y)))
    if shift == 0.0:
        return 0.0
    direction = np.random.default_rng(0).standard_normal(y.shape)
    at_y = velocity(y)
    rate = 0.0
    for _ in range(_POWERS):
        direction /= np.linalg.norm(direction)
        direction = (velocity(y + shift * direction) - at_y) / shift
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

    options: dict[str, Any] = {
        "rtol": max(_STRICTER * tolerances.relative, _STRICTEST),
        "atol": _STRICTER * tolerances.absolute,
        "mxstep": _MOST_STEPS,
        "tfirst": True,
    }
    if jacobian is not None:
        options["Dfun"] = lambda _, x: jacobian(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error", ODEintWarning)
        try:
            solution = odeint(lambda _, x: velocity(x), y, times, **options)
        except ODEintWarning as problem:
            reason = str(problem).split("Run with")[0].strip()
            raise ArithmeticError(
                f"the gradient flow could not be integrated from t = {times[0]:.3g} to {times[-1]:.3g} (solver: "
                f"{reason}): ask for earlier times if it rests long before, or start from smaller weights"
            ) from None
    return np.asarray(solution[1:])
