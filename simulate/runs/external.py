"""Runs of other programs: losses from their logs and weights from their checkpoints, as one trajectory."""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.protocol import Weights
from ...runtime.arrays import FloatArray, plain_array
from ...runtime.checks import check_finite, finite_array, positive_number
from ...runtime.files import AnyPath, read_arrays
from ...runtime.machine import refuse_too_large
from ..descent.schedules import checked_rate, scheduled_rates
from ..trajectory import EXTERNAL, Trajectory
from .logs import LoggedLosses, logged_losses

_BYTES_OF_A_RATE = 40.0
"""A number of Python in a list, which then becomes an array."""

_STEP_ARRAYS = ("step", "steps")
"""Names of the array of steps, where an npz file holds each weight at all steps together."""


def external_run(
    log: Any = None,
    *,
    step: str | ArrayLike | None = None,
    loss: str | ArrayLike | None = None,
    weights: AnyPath | Mapping[Any, Any] | None = None,
    learning_rate: float | Callable[[int], float] | None = None,
    loss_scale: float = 1.0,
) -> Trajectory:
    """The `Trajectory` of a run that was made outside this package, by PyTorch for instance.

    `log` holds losses, each before the step that it is logged at: the path of a CSV, JSON or JSONL file (exports of
    TensorBoard and W&B, the Trainer's state), an array (T,) of losses at steps 0, 1, 2 …, rows (step, loss) (T, 2), a
    table by columns, a list of rows, or a data frame. Columns are found by name; `step` and `loss` name them where
    that leaves a choice. `step` may also be the steps (T,) of the rows, `loss` the losses (T,) where there is no log.
    `weights` are {step: {name: array or tensor}}, names and shapes as the model has them, or an npz file with arrays
    "STEP/NAME", or with "steps" (K,) and each name (K, …). Tensors may require gradients, be on any device and of any
    precision.

    `learning_rate` is that of gradient descent, a number or a function of the step (with momentum, the rate divided by
    1 − momentum); without it the run has steps and no flow time. `loss_scale` f says that the logged loss, which the
    run descends, is f times the mean of |y − ŷ|² (½ for a loss with ½, 256 for a sum over 256 prompts): the loss is
    divided by f, and `learning_rate` multiplied, so that it is a run on the mean square, of flow time 2·f·η·step.

    ValueError, which says what to do, for a log that cannot be read as intended, and for weights that are no numbers or
    whose names or shapes change.

    >>> run = external_run([1.0, 0.6, 0.5], learning_rate=0.1, loss_scale=0.5)
    >>> run.loss, run.flow_time
    (array([2. , 1.2, 1. ]), array([0. , 0.1, 0.2]))
    """
    scale = positive_number(loss_scale, "loss_scale")
    if log is None and loss is None:
        if weights is None:
            raise ValueError("a run needs a log, or weights, or both")
        losses = LoggedLosses(np.zeros(0), np.zeros(0), 0)
    else:
        losses = logged_losses(log, step, loss)
    weight_steps, stored = _stacked(weights)

    rate, rates = _rates(learning_rate, losses.steps, scale)
    with np.errstate(over="ignore"):
        loss_of_squares = losses.loss / scale
    check_finite(loss_of_squares, f"the losses over loss_scale={scale:g}")
    return Trajectory(
        time=losses.steps,
        loss=loss_of_squares,
        gradient_norm=None,
        weight_time=weight_steps,
        weights=stored,
        learning_rate=rate,
        learning_rates=rates,
        settings=_settings(log, losses, scale),
        unit="steps",
    )


def _settings(log: object, losses: LoggedLosses, scale: float) -> dict[str, Any]:
    """Where the run comes from, and what was done to its losses."""
    settings: dict[str, Any] = {"source": EXTERNAL}
    if scale != 1:
        settings["loss_scale"] = scale
    if isinstance(log, (str, bytes, os.PathLike)):
        settings["log"] = os.fsdecode(log)
    if losses.rows_without_loss:
        settings["rows_without_loss"] = losses.rows_without_loss
    return settings


def _rates(
    learning_rate: float | Callable[[int], float] | None,
    steps: FloatArray,
    scale: float,
) -> tuple[float | None, FloatArray | None]:
    """The rate on the mean square itself: one number, or its mean from each logged step up to the next (T,)."""
    if learning_rate is None:
        return None, None
    if not callable(learning_rate):
        rate = positive_number(learning_rate, "learning_rate")
        return positive_number(rate * scale, "learning_rate times loss_scale"), None
    if not len(steps) or steps[0] != 0:
        raise ValueError(
            "a learning rate that varies needs a log from step 0 on: pass one number, or leave it out"
        )
    count = int(steps[-1]) + 1
    refuse_too_large(
        f"a learning rate for each of {count} steps",
        _BYTES_OF_A_RATE * float(count),
        "pass one number, or a log of fewer steps",
    )
    every = scheduled_rates(checked_rate(learning_rate), count)
    starts = steps.astype(np.int64)
    lengths = np.diff(starts, append=starts[-1] + 1)
    means = np.add.reduceat(every, starts) / lengths
    return None, means * scale


def _stacked(source: AnyPath | Mapping[Any, Any] | None) -> tuple[FloatArray, Weights]:
    """The steps (K,) of the weights and each weight at all of them, (K, …), by increasing step."""
    if source is None:
        return np.zeros(0), {}
    if isinstance(source, (str, bytes, os.PathLike)):
        source = read_arrays(source)
    if not isinstance(source, Mapping) or not source:
        raise ValueError(
            "weights must be {step: {name: array}} with a step or more, or an npz file of them"
        )
    checkpoints = _by_step(source)
    steps = sorted(checkpoints)
    first = checkpoints[steps[0]]
    for step in steps:
        _refuse_change(first, checkpoints[step], step)
    stacked = {
        name: np.stack([checkpoints[step][name] for step in steps]) for name in first
    }
    return np.array(steps, dtype=np.float64), stacked


def _grouped_by_step(source: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """{step: {name: array}} of arrays named "STEP/NAME"."""
    grouped: dict[str, dict[str, Any]] = {}
    for key, value in source.items():
        step, _, name = key.partition("/")
        grouped.setdefault(step, {})[name] = value
    return grouped


def _by_step(source: Mapping[Any, Any]) -> dict[int, Weights]:
    """The weights of each step, from any of the forms that `external_run` takes."""
    for name in _STEP_ARRAYS:
        if name in source:
            return _split_by_step(source, name)
    if all(isinstance(key, str) and "/" in key for key in source):
        source = _grouped_by_step(source)

    checkpoints: dict[int, Weights] = {}
    for key, weights in source.items():
        step = _step_of(key)
        if hasattr(weights, "state_dict"):
            weights = weights.state_dict()
        if step in checkpoints:
            raise ValueError(f"weights hold step {step} twice")
        if not isinstance(weights, Mapping) or not weights:
            raise ValueError(
                f"weights of step {step} must be {{name: array}}, with a name or more"
            )
        checkpoints[step] = {
            str(name): _weight(value, str(name), step)
            for name, value in weights.items()
        }
    return checkpoints


def _of_steps(value: object, name: object, steps: int) -> NDArray[Any]:
    """The weights of one name at so many steps, (K, …)."""
    array = np.asarray(plain_array(value, str(name)))
    if array.shape[:1] != (steps,):
        raise ValueError(
            f"weights[{name!r}] must begin with an axis of {steps} steps, not have shape {array.shape}"
        )
    return array


def _split_by_step(source: Mapping[Any, Any], step_name: str) -> dict[int, Weights]:
    """The weights of each step from arrays (K, …) that hold all of them."""
    keys = np.ravel(plain_array(source[step_name], step_name)).tolist()
    steps = [_step_of(key) for key in keys]
    names = [name for name in source if name != step_name]
    arrays = {str(name): _of_steps(source[name], name, len(steps)) for name in names}
    if not arrays or not steps or len(set(steps)) < len(steps):
        raise ValueError(
            f"weights need different {step_name} (K,), and a weight (K, …) or more"
        )
    return {
        step: {name: _weight(value[k], name, step) for name, value in arrays.items()}
        for k, step in enumerate(steps)
    }


def _step_of(key: Any) -> int:
    """The step that a key names; ValueError unless it is a whole number of zero or more."""
    try:
        number = float(key)
        if isinstance(key, (bool, np.bool)) or number < 0 or number != int(number):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(
            f"weights must be {{step: {{name: array}}}}, and {key!r} is no step: a whole number of zero or more"
        ) from None
    return int(number)


def _weight(value: Any, name: str, step: int) -> FloatArray:
    """One weight in doubles; ValueError for one that is no real number, or not finite."""
    label = f"weights[{step}][{name!r}]"
    return finite_array(plain_array(value, label), label)


def _refuse_change(first: Weights, weights: Weights, step: int) -> None:
    """ValueError if names or shapes are not those of the first step."""
    if weights.keys() != first.keys():
        raise ValueError(
            f"weights of step {step} are called {sorted(weights)}, those of the first step {sorted(first)}"
        )
    for name, value in weights.items():
        if value.shape != first[name].shape:
            raise ValueError(
                f"weights[{step}][{name!r}] has shape {value.shape}, and {first[name].shape} at the first step"
            )
