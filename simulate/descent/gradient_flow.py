"""Gradient flow dθ/dt = −½ ∂L/∂θ to high accuracy, so that step-size error can be told from theory error."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray, IndexArray
from ...runtime.checks import positive_number, real_array, refuse_wrong_order
from ...runtime.machine import one_thread, refuse_too_large
from ...runtime.versions import versions
from ...task import Task
from ..attention.initialisation import checked_start, model_name, restricted
from ..attention.model_check import refuse_unfit_on_the_way
from ..attention.objectives import Objective, objective
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory
from .recorder import described_source
from .restricted_flow import block_field
from .stiffness import Tolerances, Velocity, integrate

# Relative error, from squares that are conserved, that a flow may have at most.
_LOST = 1e-5
# A fall to half adds little to the errors that a coarse tolerance has anyway.
_COARSE = 4.0
# By which weights outgrow their start before the tolerance is relative to what they are.
_ROOM = 10.0
# A tolerance is above 0, and that of weights of 1e-300 still relative to them.
_TINIEST = 1e-305
# Error of a loss to first order in those of the weights, which overestimates it by far.
_LOST_LOSS = 1e-3

LARGEST_TOLERANCE = 1e-2
"""A flow with larger relative errors is none."""

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
    and `rtol`, go to scipy's solve_ivp. The absolute tolerance of a row of weights is rtol times ten
    times its largest entry in `start`, or times the largest of all if that is less: small weights keep their digits
    beside large ones. Losses and weights are stored at every time.
    ValueError on bad input; ArithmeticError if the solver gives up, or rounding decides what is found.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> stats = statistics(sample(task, sequences=50), model)
    >>> run = flow(model, stats, initial_weights(model, task, scale=0.1), [0, 1, 2])
    >>> bool(run.loss[2] < run.loss[0])
    True
    """
    in_order = isinstance(model, Parametrization) and hasattr(source, "dimension")
    refuse_wrong_order("flow(model, source, start)", in_order, model, source)
    begin = checked_start(model, source, start)
    motion = _motion(model, source, begin)
    times = _checked_times(flow_time)
    rtol = _checked_tolerance(rtol)
    _refuse_many(times, begin)

    states = _states(motion, begin, times, rtol, method)
    weights = _named(states, begin)
    loss, norm = _losses(motion.evaluate, weights, len(times))
    later = times > 0
    largest = np.max(np.abs(states[later]), axis=1, initial=0.0)
    _refuse_lost(loss[later], norm[later], rtol * largest, _mean_square_label(source))
    refuse_unfit_on_the_way(model, weights, source.dimension)
    return Trajectory(
        time=times,
        loss=loss,
        gradient_norm=norm,
        weight_time=times,
        weights=weights,
        learning_rate=None,
        settings=_settings(model, source, rtol, method),
    )


def _settings(
    model: Parametrization, source: Data | Statistics, rtol: float, method: str
) -> dict[str, object]:
    """What the flow was integrated with, as its trajectory says."""
    return {
        "model": model_name(model),
        **described_source(source),
        "rtol": rtol,
        "method": method,
        "versions": versions(),
    }


# -- The states at the times --------------------------------------------------------------------------------------


class Motion(NamedTuple):
    """What moves: its `indices` in the flat weights, the loss, its velocity, and the Jacobian where that is known."""

    indices: IndexArray
    evaluate: Objective
    velocity: Velocity
    jacobian: Velocity | None


def _states(
    motion: Motion, begin: Weights, times: FloatArray, rtol: float, method: str
) -> FloatArray:
    """All weights in a row at each time, (T, all)."""
    states = np.tile(_flat(begin), (len(times), 1))
    if not np.any(times > 0):
        return states
    start = states[0, motion.indices]
    tolerances = Tolerances(rtol, rtol * _sizes(begin)[motion.indices])
    with one_thread(), np.errstate(over="ignore", invalid="ignore"):
        loss, _ = motion.evaluate(begin)
        _refuse_overflow(loss, motion.velocity(start))
        states[:, motion.indices] = _integrated(
            motion, start, times, tolerances, method
        )
    _refuse_fall(np.max(np.abs(states), axis=1), rtol)
    return states


def _motion(
    model: Parametrization, source: Data | Statistics, begin: Weights
) -> Motion:
    """What moves from the weights `begin`."""
    if isinstance(source, Task):
        raise ValueError(
            "a gradient flow needs all prompts at once, and a task has no end of them: pass sample(task, P), or "
            "statistics"
        )
    evaluate = objective(model, source)
    indices = _moving(model, source, begin)
    if (
        isinstance(model, Merged | Separate)
        and isinstance(source, Statistics)
        and source.block == "restricted"
        and source.outputs == 1
    ):
        field = block_field(model, source)
        return Motion(indices, evaluate, field.velocity, field.jacobian)
    velocity = _velocity(evaluate, begin, indices)
    return Motion(indices, evaluate, velocity, jacobian=None)


def _moving(
    model: Parametrization, source: Data | Statistics, begin: Weights
) -> IndexArray:
    """Indices into the flat weights of all that a gradient may reach: fewer unknowns, and none outside a block."""
    mask = {name: np.ones_like(value) for name, value in begin.items()}
    if isinstance(model, (Merged, Separate)):
        # The last entries of a query meet the masked labels of the query token.
        mask["query" if "query" in mask else "key_query"][..., source.dimension :] = 0.0
        if isinstance(source, Statistics) and source.block == "restricted":
            mask = restricted(mask, source.outputs)
    return np.flatnonzero(_flat(mask))


def _velocity(evaluate: Objective, begin: Weights, moving: IndexArray) -> Velocity:
    """dy/dt = −½ ∂L/∂y of what moves."""
    state = _flat(begin)
    # Views of the state, which each call overwrites.
    weights = {name: value[0] for name, value in _named(state[None], begin).items()}

    def velocity(y: FloatArray) -> FloatArray:
        state[moving] = y
        _, gradients = evaluate(weights)
        return -0.5 * _flat(gradients)[moving]

    return velocity


def _integrated(
    motion: Motion,
    start: FloatArray,
    times: FloatArray,
    tolerances: Tolerances,
    method: str,
) -> FloatArray:
    """What moves at the times, (T, n)."""
    if method == AUTOMATIC:
        return integrate(motion.velocity, start, times, tolerances, motion.jacobian)
    from scipy.integrate import solve_ivp

    result = solve_ivp(
        lambda _, x: motion.velocity(x),
        (0.0, times[-1]),
        start,
        method=method,
        t_eval=times,
        rtol=tolerances.relative,
        atol=tolerances.absolute,
    )
    if not result.success:
        raise ArithmeticError(
            f"the gradient flow could not be integrated: {result.message}"
        )
    return np.asarray(result.y.T)


def _sizes(begin: Weights) -> FloatArray:
    """What the absolute tolerance of each of the flat weights is relative to: the size of its row, with room.

    A row of zeros counts as the smallest other row, since it grows by products with it.
    """
    rows = [np.max(np.abs(value), axis=-1, keepdims=True) for value in begin.values()]
    row_sizes = np.concatenate([row.ravel() for row in rows])
    largest = float(np.max(row_sizes)) or 1.0
    smallest = float(np.min(row_sizes[row_sizes > 0], initial=largest))
    sizes = []
    for row, value in zip(rows, begin.values(), strict=True):
        with_room = _ROOM * np.where(row > 0, row, smallest)
        size = np.minimum(with_room, largest)
        sizes.append(np.broadcast_to(size, value.shape).ravel())
    return np.asarray(np.maximum(np.concatenate(sizes), _TINIEST))


# -- What a flow must not do --------------------------------------------------------------------------------------


def _refuse_many(times: FloatArray, begin: Weights) -> None:
    """MemoryError if the weights at all times, and what is computed from them, do not fit."""
    weights = sum(value.size for value in begin.values())
    what = f"the weights at {len(times)} flow times"
    refuse_too_large(what, 16.0 * len(times) * weights, "pass fewer times")


def _refuse_overflow(loss: float, velocity: FloatArray) -> None:
    """ValueError if there is no finite loss or velocity to begin with."""
    if not np.isfinite(loss) or not np.all(np.isfinite(velocity)):
        raise ValueError(
            "the loss or its gradient is no finite number at the start: choose smaller weights"
        )


def _refuse_fall(sizes: FloatArray, rtol: float) -> None:
    """ArithmeticError if the largest weight (T,) is no number, or fell so far that its errors decide what is left.

    The flow conserves differences of squares, whose error is that of the largest squares that there were.
    """
    if not np.all(np.isfinite(sizes)):
        raise ArithmeticError(
            "the gradient flow could not be integrated: its weights are no finite numbers"
        )
    ratio = float(sizes[0] / sizes[-1]) if sizes[-1] else 0.0
    if rtol * ratio**2 > max(_LOST, _COARSE * rtol):
        raise ArithmeticError(
            f"weights fell from {sizes[0]:.3g} to {sizes[-1]:.3g}, and rounding of the squares that the flow "
            "conserves decides what is left: start from smaller ones"
        )


def _losses(
    evaluate: Objective, weights: Weights, count: int
) -> tuple[FloatArray, FloatArray]:
    """Loss and gradient norm, (T,) each, at weights (T, …)."""
    loss = np.empty(count)
    norm = np.empty(count)
    for index in range(count):
        at_time = {name: value[index] for name, value in weights.items()}
        loss[index], gradients = evaluate(at_time)
        norm[index] = np.linalg.norm(_flat(gradients))
    return loss, norm


def _refuse_lost(
    loss: FloatArray, norm: FloatArray, errors: FloatArray, unknown: float
) -> None:
    """ArithmeticError if the errors (T,) of the largest weights may decide what a loss (T,) is.

    `unknown` is the loss of predicting nothing, to which a loss of almost 0 is held.
    """
    lost = norm * errors > _LOST_LOSS * np.maximum(loss, unknown)
    if np.any(lost):
        raise ArithmeticError(
            f"the tolerance lets the largest weights be {float(np.max(errors[lost])):.1g} off, and may decide what "
            "the loss is: start from smaller weights, or pass a smaller rtol"
        )


def _mean_square_label(source: Data | Statistics) -> float:
    """E y²: the loss of predicting nothing."""
    if isinstance(source, Statistics):
        return source.c
    lengths = list(source.context_lengths)
    squares = 0.0
    for chunk in source.chunks():
        of_lengths = np.sum(chunk.targets[:, lengths] ** 2, axis=(0, 2))  # (L,)
        squares += float(of_lengths @ source.context_weights)
    return squares / source.sequences


# -- Arguments and shapes -----------------------------------------------------------------------------------------


def _checked_tolerance(rtol: object) -> float:
    """The tolerance as a number; ValueError unless it is positive and small."""
    value = positive_number(rtol, "rtol")
    if value > LARGEST_TOLERANCE:
        raise ValueError(
            f"rtol must be at most {LARGEST_TOLERANCE:g}, not {rtol!r}: it is a relative error"
        )
    return value


def _checked_times(flow_time: ArrayLike) -> FloatArray:
    """Flow times (T,); ValueError unless they are finite, 0 or more, and increase."""
    times = real_array(flow_time, "flow_time")
    if times.ndim != 1 or not len(times) or not np.all(np.isfinite(times)):
        raise ValueError(f"flow_time must be a list of finite times, not {flow_time!r}")
    if times[0] < 0 or np.any(np.diff(times) <= 0):
        raise ValueError("flow_time must start at 0 or later and increase")
    return times


def _flat(weights: Weights) -> FloatArray:
    """All weights in a row, (all,)."""
    return np.concatenate([value.ravel() for value in weights.values()])


def _named(states: FloatArray, like: Weights) -> Weights:
    """States (T, all) under the names of the weights, (T, …) each, without a copy."""
    ends = np.cumsum([value.size for value in like.values()])[:-1]
    blocks = np.split(states, ends, axis=1)
    return {
        name: block.reshape(len(states), *value.shape)
        for (name, value), block in zip(like.items(), blocks, strict=True)
    }
