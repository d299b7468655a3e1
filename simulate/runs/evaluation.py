"""The loss of weights, or of every stored weight of a run, on data or statistics."""

from collections.abc import Mapping
from typing import overload

import numpy as np

from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray, plain_array
from ...runtime.checks import finite_array, refuse_wrong_order
from ...task import Task
from ..attention.objectives import objective
from ..attention.weight_shapes import way_out
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics
from ..trajectory import Trajectory


@overload
def evaluate(
    model: Parametrization, source: Data | Statistics, weights: Weights
) -> float:
    """One number for weights."""


@overload
def evaluate(
    model: Parametrization, source: Data | Statistics, weights: Trajectory
) -> FloatArray:
    """The loss (stored,) at all stored weights of a run."""


def evaluate(
    model: Parametrization, source: Data | Statistics, weights: Weights | Trajectory
) -> float | FloatArray:
    """The mean loss of a model on data or on statistics: one number for weights, (stored,) for all those of a run.

    `weights` may be tensors. A run's losses belong to its `weight_time`. TypeError for a task, which has no end of
    prompts; ValueError for weights that are not the model's in names or shapes, and as `objective`.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import initial_weights, sample, train
    >>> task, model = Task([2, 1], context_length=5), Merged(2)
    >>> run = train(model, sample(task, 50), initial_weights(model, task, 0.1), learning_rate=0.01, steps=30, record=10)
    >>> losses = evaluate(model, sample(task, 50), run)
    >>> losses.shape, bool(losses[0] == run.loss[0])
    ((4,), True)
    """
    in_order = isinstance(model, Parametrization) and hasattr(source, "dimension")
    refuse_wrong_order("evaluate(model, source, weights)", in_order, model, source)
    if isinstance(source, Task):
        raise TypeError(
            "evaluate needs data or statistics: a task has no end of prompts, so pass sample(task, P, split='test')"
        )
    loss_of = objective(model, source)
    if not isinstance(weights, Trajectory):
        return loss_of(_checked(model, source.dimension, weights))[0]
    _ = weights.initial  # or it says that there are none
    stored = (weights.stored_weights(k) for k in range(len(weights.weight_time)))
    losses = [loss_of(_checked(model, source.dimension, each))[0] for each in stored]
    return np.array(losses)


def _checked(model: Parametrization, dimension: int, weights: object) -> Weights:
    """The weights as arrays; ValueError if names or shapes are not those of the model."""
    shapes = model.shapes(dimension)
    if not isinstance(weights, Mapping):
        raise TypeError(
            f"evaluate(model, source, weights): weights are {{name: array}} or a run, not {type(weights).__name__}"
        )
    if set(weights) != set(shapes):
        raise ValueError(
            f"the model has weights {sorted(shapes)}, not {sorted(weights)}"
        )
    arrays = {}
    for name, shape in shapes.items():
        label = f"weights[{name!r}]"
        array = finite_array(plain_array(weights[name], label), label)
        if array.shape != shape:
            raise ValueError(
                f"{label} must have shape {shape}, not {array.shape}"
                f"{way_out(model, name, array.shape, shape)}"
            )
        arrays[name] = array
    return arrays
