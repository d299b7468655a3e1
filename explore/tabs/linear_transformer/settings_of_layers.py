"""What the settings of the tab stand for: a task of modes, weights at the start, and how long a run takes."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ....simulate import initial_weights
from ....task import Task
from ....teachers import Gaussian
from ....theory import linear_transformer
from ...controls import Settings

POINTS = 301
"""Flow times of the curves, evenly from 0 to the end of the run."""

_BEYOND = 2.0
"""A run goes to so many times the half-time of the slowest mode that is learned."""

_MOST_STEPS = {True: 3_000, False: 12_000}
"""Of a run while a slider moves, and at rest, where it takes half a second."""

_MOST_DRAWN = {True: 2e7, False: 2e8}
"""Numbers that online SGD draws while a slider moves, and at rest: 10 to 15 ns each."""

_FEWEST_STEPS = 20


class Weights(NamedTuple):
    """p (K, K) and q (D, D) of one head."""

    p: FloatArray
    q: FloatArray


@dataclass(frozen=True, eq=False)
class Layer:
    """The task, the model of one head, and its weights at the start, all of the same small size."""

    task: Task
    model: Merged
    start: dict[str, FloatArray]
    scale: float

    @classmethod
    def of(cls, settings: Settings) -> "Layer":
        """That of the settings of the tab."""
        inputs = settings["inputs"]
        task = Task(
            inputs,
            teachers=Gaussian.shared_basis([1] * len(inputs)),
            noise_variance=settings["noise"],
            context_length=settings["context"],
        )
        model = model_of(task)
        scale = settings["scale"]
        start = initial_weights(
            model, task, scale=scale, seed=settings["seed"], scheme="restricted"
        )
        return cls(task, model, start, scale)

    def blocks(self, weights: dict[str, FloatArray]) -> Weights:
        """p (…, K, K) and q (…, D, D) of weights with any leading axes."""
        D = self.task.dimension
        value = weights["value"]
        if self.task.outputs == 1:
            # With one output its axis is left out.
            value = value[..., None, :]
        return Weights(value[..., 0, :, D:], weights["key_query"][..., 0, :D, :D])


def model_of(task: Task) -> Merged:
    """One head with an output for each mode."""
    return Merged(heads=1, outputs=task.outputs)


class Horizon(NamedTuple):
    """Steps of a run, and whether they end before the slowest mode is learned."""

    steps: int
    is_short: bool


def horizon(layer: Layer, settings: Settings, *, moving: bool) -> Horizon:
    """So many steps that the slowest mode that is learned has its time, or as many as one can wait for."""
    learned = linear_transformer.minimum(layer.task, layer.model).active
    law = linear_transformer.half_times(layer.task, layer.scale, layer.model)
    slowest = float(np.max(law.mean[learned], initial=1.0))
    wanted = math.ceil(_BEYOND * slowest / (2 * settings["rate"]))
    most = _MOST_STEPS[moving]
    if settings["training"] == "sgd":
        drawn = settings["batch"] * settings["context"] * layer.task.dimension
        most = min(most, int(_MOST_DRAWN[moving] / drawn))
    steps = max(_FEWEST_STEPS, min(wanted, most))
    return Horizon(steps, steps < wanted)


def on_modes(basis: FloatArray, weights: Weights) -> FloatArray:
    """a (…, D) = p q of each mode, the diagonals of p and q in its basis (D, D)."""
    p = np.einsum("...ij,ia,ja->...a", weights.p, basis, basis)
    q = np.einsum("...ij,ia,ja->...a", weights.q, basis, basis)
    return np.asarray(p * q)
