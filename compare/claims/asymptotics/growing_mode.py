"""Merged attention that starts on its growing mode and is trained on few tasks, as claims about its errors need it."""

from typing import NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.effective_map import effective_map
from ....runtime.arrays import FloatArray
from ....simulate import Prompts, exact_risk, flow, statistics
from ....task import Task
from ....teachers import Pool, Sphere

MODEL = Merged(heads=1)
NOISE = 0.1
RTOL = 1e-8
"""Far below what sampling makes of errors: with few sequences the flow is stiff."""


class Errors(NamedTuple):
    """Errors on new tasks and on the training tasks along training, (T,)."""

    icl: FloatArray
    idg: FloatArray


def task_of(dimension: int, tasks: int | None = None, seed: int = 0) -> Task:
    """White inputs and N = 2D; k tasks of the sphere with their negatives, or the sphere."""
    sphere = Sphere(dimension)
    return Task(
        [1 / dimension] * dimension,
        teachers=sphere if tasks is None else sphere.pool(tasks, seed, signs=True),
        context_length=2 * dimension,
        noise_variance=NOISE,
    )


def gain_of(task: Task) -> FloatArray:
    """B = ΛΩΛ (D, D), whose norm is the rate at which the mode grows."""
    assert isinstance(task.teachers, Pool)
    w = task.teachers.members[:, 0]
    Λ = task.covariance
    return np.asarray(Λ @ (w.T @ w / len(w)) @ Λ)


def drop_time(task: Task, start: float) -> float:
    """ln(1/w₀)/|B|, about which the loss drops."""
    return float(np.log(1 / start) / np.linalg.norm(gain_of(task)))


def trained_errors(
    own: Task, new: Task, data: Prompts, start: float, flow_time: FloatArray
) -> Errors:
    """Errors along gradient flow on drawn prompts from s = w₀, U = w₀ B/|B|."""
    D = own.dimension
    gain = gain_of(own)
    key_query = np.zeros((1, D + 1, D + 1))
    key_query[0, :D, :D] = start * gain / np.linalg.norm(gain)
    value = np.zeros((1, D + 1))
    value[0, D] = start
    weights = {"value": value, "key_query": key_query}
    source = statistics(data, MODEL, "restricted")
    run = flow(MODEL, source, weights, flow_time, rtol=RTOL)
    maps = effective_map(MODEL, run)
    return Errors(np.asarray(exact_risk(new, maps)), np.asarray(exact_risk(own, maps)))
