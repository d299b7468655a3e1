"""Gradient flow dθ/dt = −½ ∂L/∂θ to high accuracy, so that step-size error can be told from theory error."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..machine import one_thread, refuse_too_large
from ..model import Merged, Parametrization, Separate, Weights
from .block_flow import block_field
from .initial import checked_start, model_name, restricted
from .objective import Objective, objective
from .prompts import Data
from .statistics import Statistics
from .stiffness import Velocity, integrate
from .trajectory import Trajectory, versions

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.intp]


_LOST = 1e-5  # relative error, from squares that are conserved, that a flow may have at most

AUTOMATIC = "automatic"
"""The method that begins explicitly and goes on implicitly where the problem is stiff."""


def flow(
    model: Parametrization,
    source: Data | Statistics,
    start: Mapping[str, ArrayLike],
    flow_time: ArrayLike,
    *,
    rtol: float = 1e-12,
    method: str = AUTOMATIC,
) -> Trajectory:
    """Gradient flow from the weights `start` at t = 0, recorded at the increasing flow times `flow_time` (T,).

    `method` "automatic" is of order 8, and Gear's once stability limits the steps and that costs less: the Jacobian
    is known for the built-in models on restricted statistics, and costs a gradient a weight otherwise. Other names,
    and `rtol`, go to scipy's solve_ivp. The absolute tolerance is rtol times the largest entry of `start`, so that
    small weights keep their digits. Losses and weights are stored at every time.
    ValueError on bad input; ArithmeticError if the solver gives up.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> stats = statistics(sample(task, sequences=50), model)
    >>> run = flow(model, stats, initial_weights(model, task, scale=0.1), [0, 1, 2])
    >>> bool(run.loss[2] < run.loss[0])
    True
    """
    begin, evaluate = checked_start(model, source, start), objective(model, source)
    times = _checked_times(flow_time)
    size = 16.0 * len(times) * sum(value.size for value in begin.values())
    refuse_too_large(f"the weights at {len(times)} flow times", size, "pass fewer times")
    moving, field = _moving(model, source, begin), None
    if isinstance(model, Merged | Separate) and isinstance(source, Statistics) and source.block == "restricted":
        field = block_field(model, source)
    velocity = field.velocity if field is not None else _velocity(evaluate, begin, moving)
    jacobian = None if field is None else field.jacobian
    states = np.tile(_flat(begin), (len(times), 1))
    if np.any(times > 0):
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            _refuse_overflow(evaluate(begin)[0], velocity(states[0, moving]))
            states[:, moving] = _integrate(velocity, jacobian, states[0, moving], times, (rtol, method))
        _refuse_fall(np.max(np.abs(states), axis=1), rtol)
    weights = _named(states, begin)
    loss, norm = np.empty(len(times)), np.empty(len(times))
    for index in range(len(times)):
        loss[index], gradients = evaluate({name: value[index] for name, value in weights.items()})
        norm[index] = np.linalg.norm(_flat(gradients))
    settings = {"model": model_name(model), "source": source.digest, "rtol": rtol, "method": method}
    settings["versions"] = versions()
    return Trajectory(times, loss, norm, times, weights, None, settings)


def _refuse_overflow(loss: float, velocity: FloatArray) -> None:
    """ValueError if there is no finite loss or velocity to begin with."""
    if not np.isfinite(loss) or not np.all(np.isfinite(velocity)):
        raise ValueError("the loss or its gradient is no finite number at the start: choose smaller weights")


def _refuse_fall(sizes: FloatArray, rtol: float) -> None:
    """ArithmeticError if the largest weight (T,) is no number, or fell so far that its errors decide what is left.

    The flow conserves differences of squares, whose error is that of the largest squares that there were.
    """
    if not np.all(np.isfinite(sizes)):
        raise ArithmeticError("the gradient flow could not be integrated: its weights are no finite numbers")
    ratio = float(sizes[0] / sizes[-1]) if sizes[-1] else 0.0
    if rtol * ratio**2 > _LOST:
        raise ArithmeticError(
            f"weights fell from {sizes[0]:.3g} to {sizes[-1]:.3g}, and rounding of the squares that the flow "
            "conserves decides what is left: start from smaller ones"
        )


def _velocity(evaluate: Objective, begin: Weights, moving: IntArray) -> Velocity:
    """dy/dt = −½ ∂L/∂y of what moves."""
    state = _flat(begin)
    weights = {name: value[0] for name, value in _named(state[None], begin).items()}  # views of the state

    def velocity(y: FloatArray) -> FloatArray:
        state[moving] = y
        return -0.5 * _flat(evaluate(weights)[1])[moving]

    return velocity


def _integrate(
    velocity: Velocity, jacobian: Velocity | None, y: FloatArray, times: FloatArray, rule: tuple[float, str]
) -> FloatArray:
    """What moves at the times, (T, n)."""
    rtol, method = rule
    atol = rtol * float(np.max(np.abs(y), initial=0.0)) or rtol
    if method == AUTOMATIC:
        return integrate(velocity, y, times, (rtol, atol), jacobian)
    from scipy.integrate import solve_ivp

    result = solve_ivp(
        lambda _, x: velocity(x), (0.0, times[-1]), y, method=method, t_eval=times, rtol=rtol, atol=atol
    )
    if not result.success:
        raise ArithmeticError(f"the gradient flow could not be integrated: {result.message}")
    return np.asarray(result.y.T)


def _moving(model: Parametrization, source: Data | Statistics, begin: Weights) -> IntArray:
    """Places, in the flat weights, of all that a gradient may reach: fewer unknowns, and none outside a block."""
    mask = {name: np.ones_like(value) for name, value in begin.items()}
    if isinstance(model, (Merged, Separate)):
        mask["query" if "query" in mask else "key_query"][..., -1] = 0.0  # meets the masked y of the query
        if isinstance(source, Statistics) and source.block == "restricted":
            mask = restricted(mask)
    return np.flatnonzero(_flat(mask))


def _checked_times(flow_time: ArrayLike) -> FloatArray:
    times = np.asarray(flow_time, dtype=float)
    if times.ndim != 1 or not len(times) or not np.all(np.isfinite(times)):
        raise ValueError(f"flow_time must be a list of finite times, not {flow_time!r}")
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError("flow_time must start at 0 or later and increase")
    return times


def _flat(weights: Weights) -> FloatArray:
    return np.concatenate([value.ravel() for value in weights.values()])


def _named(states: FloatArray, like: Weights) -> Weights:
    """States (T, all) under the names of the weights, (T, …) each, without a copy."""
    ends = np.cumsum([value.size for value in like.values()])[:-1]
    parts = zip(like.items(), np.split(states, ends, axis=1), strict=True)
    return {name: part.reshape(len(states), *value.shape) for (name, value), part in parts}
