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
    pairs = length + 1  # those of the context and the query

    roots = _covariance_roots(task, length)
    if teacher is not None:
        roots.pop()  # the last one is the random teacher's
    points, weights = _nodes(roots, count)

    x = points[:, : pairs * D].reshape(-1, pairs, D)
    noise = points[:, pairs * D : pairs * D + length]
    w = (
        points[:, -D:]
        if teacher is None
        else np.broadcast_to(teacher, (len(points), D))
    )

    y = np.einsum("pnd,pd->pn", x, w)
    return WeightedPrompts(_tokens(x, y, noise), y[:, -1].copy(), weights)


def _tokens(x: FloatArray, y: FloatArray, noise: FloatArray) -> FloatArray:
    """Tokens (P, N + 1, D + 1) of x (P, N + 1, D) with noisy labels (P, N); the query's label is not shown."""
    labels = np.zeros_like(y)
    labels[:, :-1] = y[:, :-1] + noise
    return np.concatenate((x, labels[..., None]), axis=2)


def _covariance_roots(task: Task, length: int) -> list[NDArray[Any]]:
    """Roots R of the covariances R Rᵀ of x of each pair, of the noise of each label in the context, of the teacher."""
    x_root = np.linalg.cholesky(task.covariance)  # (D, D)
    noise_root = np.array([[np.sqrt(task.noise_variance)]])
    teacher_root = np.linalg.cholesky(task.teacher_covariance)  # (D, D)
    return [x_root] * (length + 1) + [noise_root] * length + [teacher_root]


def _nodes(roots: Sequence[NDArray[Any]], count: int) -> tuple[FloatArray, FloatArray]:
    """Points (P, n) and weights (P,) of Gauss and Hermite's rule for independent Gaussian vectors R z."""
    x, weights = np.polynomial.hermite_e.hermegauss(count)
    variables = sum(len(root) for root in roots)
    z = np.array(list(product(x, repeat=variables)))  # (P, n)
    shares = np.array(list(product(weights / np.sum(weights), repeat=variables)))

    vectors = []
    first = 0
    for root in roots:
        last = first + len(root)
        vectors.append(z[:, first:last] @ root.T)
        first = last
    return np.concatenate(vectors, axis=1), np.prod(shares, axis=1)
