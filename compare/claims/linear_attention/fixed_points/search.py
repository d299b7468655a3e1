"""Searches for the weights of the restricted block at which the gradient of a simulated loss vanishes."""

from collections.abc import Iterator

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import BoolArray, FloatArray
from .....simulate import objective
from .....task import Task
from ....exact_statistics import population_statistics

Mask = dict[str, BoolArray]
"""Which entries of each weight may move."""


NO_GRADIENT = 1e-10
"""Largest entry of a gradient that counts as none; where a search gets stuck it is far above."""


def stationary_maps(
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

    evaluate = objective(model, population_statistics(task, model))
    mask = inside(model, task.dimension)
    count = sum(int(np.sum(entries)) for entries in mask.values())

    def gradient(values: FloatArray) -> FloatArray:
        _, gradients = evaluate(placed(values, mask))
        return flat(gradients, mask)

    # Tolerances at rounding: a search ends where the gradient vanishes, or is stuck.
    options = {"xtol": 1e-14, "ftol": 1e-14, "maxiter": longest}
    maps = []
    for start in _random_starts(seed, searches, count, smallest):
        end = root(gradient, start, method="lm", options=options)
        # The solver also ends where it makes no progress: only vanishing gradients count.
        if np.max(np.abs(end.fun)) < NO_GRADIENT:
            maps.append(effective_map(model, placed(end.x, mask)))
    return maps


def _random_starts(
    seed: int, searches: int, count: int, smallest: float
) -> Iterator[FloatArray]:
    """Normal entries (count,) times a size from 10^`smallest` to 10^½, for each search."""
    generator = np.random.default_rng(seed)
    for _ in range(searches):
        size = 10 ** generator.uniform(smallest, 0.5)
        yield size * generator.standard_normal(count)


def inside(model: Merged | Separate, dimension: int) -> Mask:
    """Which entries belong to the restricted block: values of labels, all else without its label entry."""
    mask = {}
    for name, shape in model.shapes(dimension).items():
        mask[name] = np.zeros(shape, dtype=bool)
        if name == "value":
            mask[name][:, -1] = True
        elif name == "key_query":
            # The last row of B meets labels; its columns meet x_q.
            mask[name][:, :-1, :-1] = True
        else:
            mask[name][..., :-1] = True
    return mask


def placed(values: FloatArray, mask: Mask) -> Weights:
    """Weights with `values` (n,) in the entries of the mask, one array after another, and zero elsewhere."""
    weights = {}
    first = 0
    for name, entries in mask.items():
        last = first + int(np.sum(entries))
        weights[name] = np.zeros(entries.shape)
        weights[name][entries] = values[first:last]
        first = last
    return weights


def flat(weights: Weights, mask: Mask) -> FloatArray:
    """The entries of the mask, (n,): `placed` puts them back."""
    return np.concatenate([weights[name][entries] for name, entries in mask.items()])
