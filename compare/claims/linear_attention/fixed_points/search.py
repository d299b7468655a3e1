"""Searches for the weights of the restricted block at which the gradient of a simulated loss vanishes."""

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import objective
from .....task import Task
from ....exact_statistics import population_statistics

Mask = dict[str, NDArray[np.bool_]]

REST = 1e-10
"""Largest entry of a gradient that counts as none; where a search gets stuck it is far above."""


def maps_at_rest(
    task: Task,
    model: Merged | Separate,
    seed: int,
    searches: int,
    smallest: float,
    longest: int = 0,
) -> list[FloatArray]:
    """Maps (D, D) where searches end by the method of Levenberg and Marquardt; those that get stuck are left out.

    They look for small gradients and not for small losses, so that they end at saddles as readily as at minima.
    Starts have sizes from 10^`smallest` to 10^½. After `longest` gradients a search is stuck; by the solver's own
    count if 0.
    """
    from scipy.optimize import root

    evaluate, mask = (
        objective(model, population_statistics(task, model)),
        inside(model, task.dimension),
    )
    rng, found = np.random.default_rng(seed), []
    count = sum(int(np.sum(each)) for each in mask.values())

    def gradient(values: FloatArray) -> FloatArray:
        return flat(evaluate(placed(values, mask))[1], mask)

    for _ in range(searches):
        begin = 10 ** rng.uniform(smallest, 0.5) * rng.standard_normal(count)
        end = root(
            gradient,
            begin,
            method="lm",
            options={"xtol": 1e-14, "ftol": 1e-14, "maxiter": longest},
        )
        if np.max(np.abs(end.fun)) < REST:
            found.append(effective_map(model, placed(end.x, mask)))
    return found


def inside(model: Merged | Separate, dimension: int) -> Mask:
    """Which entries belong to the restricted block."""
    mask = {
        name: np.zeros(shape, dtype=bool)
        for name, shape in model.shapes(dimension).items()
    }
    for name, each in mask.items():
        block = {"value": np.s_[:, -1], "key_query": np.s_[:, :-1, :-1]}.get(
            name, np.s_[..., :-1]
        )
        each[block] = True
    return mask


def placed(values: FloatArray, mask: Mask) -> Weights:
    """Weights with `values` (n,) in the entries of the mask, one array after another, and zero elsewhere."""
    ends = np.cumsum([np.sum(each) for each in mask.values()])[:-1]
    weights = {name: np.zeros(each.shape) for name, each in mask.items()}
    for (name, each), part in zip(mask.items(), np.split(values, ends), strict=True):
        weights[name][each] = part
    return weights


def flat(weights: Weights, mask: Mask) -> FloatArray:
    """The entries of the mask, (n,): `placed` puts them back."""
    return np.concatenate([weights[name][each] for name, each in mask.items()])
