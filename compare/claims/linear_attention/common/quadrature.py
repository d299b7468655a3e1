"""Expectations over prompts without sampling: quadrature that is exact for the polynomials that moments are."""

from collections.abc import Sequence
from itertools import product
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from .....runtime.arrays import FloatArray
from .....task import Task


class WeightedPrompts(NamedTuple):
    """`tokens` (P, N+1, D+1) without the query's label, which is `target` (P,); `weights` (P,) sum to 1."""

    tokens: FloatArray
    target: FloatArray
    weights: FloatArray


def weighted_prompts(
    task: Task, length: int, count: int, teacher: FloatArray | None = None
) -> WeightedPrompts:
    """Prompts of `length` pairs whose weighted sums are expectations over x, w and the noise in the context.

    `count` nodes a variable: exact for polynomials of degree up to 2·count − 1 in each. The points are as many as
    count to the power of the variables, so D and N must be small. `teacher` (D,) replaces the random ones.

    >>> import numpy as np
    >>> _, target, weights = weighted_prompts(Task([2.0, 1.0], context_length=1), 1, 3)
    >>> float(np.round(weights @ target**2, 12))  # tr Λ
    3.0
    """
    D = task.dimension
    inputs = [np.linalg.cholesky(task.covariance)] * (length + 1)
    noise = [np.array([[np.sqrt(task.noise_variance)]])] * length
    drawn = [np.linalg.cholesky(task.teacher_covariance)] if teacher is None else []
    points, weights = _nodes([*inputs, *noise, *drawn], count)
    x = points[:, : (length + 1) * D].reshape(-1, length + 1, D)
    w = (
        points[:, -D:]
        if teacher is None
        else np.broadcast_to(teacher, (len(points), D))
    )
    y = np.einsum("pnd,pd->pn", x, w)
    target = y[:, -1].copy()
    y[:, :-1] += points[:, (length + 1) * D : (length + 1) * D + length]
    y[:, -1] = 0.0
    return WeightedPrompts(np.concatenate((x, y[..., None]), axis=2), target, weights)


def _nodes(roots: Sequence[NDArray[Any]], count: int) -> tuple[FloatArray, FloatArray]:
    """Points (P, n) and weights (P,) of Gauss and Hermite's rule for independent Gaussian vectors R z."""
    x, weights = np.polynomial.hermite_e.hermegauss(count)
    columns = sum(len(each) for each in roots)
    points = np.array(list(product(x, repeat=columns)))
    shares = np.array(list(product(weights / np.sum(weights), repeat=columns)))
    first, parts = 0, []
    for each in roots:
        parts.append(points[:, first : first + len(each)] @ each.T)
        first += len(each)
    return np.concatenate(parts, axis=1), np.prod(shares, axis=1)
