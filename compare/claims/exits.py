"""Exits of the gradient flow of all rank-one heads, from moments and levels that are written down anew here.

Nothing of `theory` is used: what is observed with these functions shares with a prediction the task and the model.
"""

import numpy as np
from numpy.typing import NDArray

from ...model import Separate, Weights
from ...simulate import Statistics, from_moments
from ...simulate.rank_one_flow import Passages, passages
from ...task import Task

FloatArray = NDArray[np.float64]


def exact_source(task: Task, model: Separate) -> Statistics:
    """Statistics of infinitely many sequences, for the divisor "context" and one context length N.

    With x ~ N(0, Λ), y = wᵀx + noise, w ~ N(0, Ω) and β = Σ y x/N: E[y² x xᵀ] = c Λ + 2 ΛΩΛ by Wick's theorem, and
    A = E ββᵀ = (1 − 1/N) ΛΩΛ + E[y² x xᵀ]/N.

    >>> exact_source(Task([1.0], context_length=10), Separate(heads=1)).c
    1.0
    """
    (N,) = task.context_lengths
    Λ, Ω = task.covariance, task.teacher_covariance
    c = float(np.trace(Ω @ Λ)) + task.noise_variance
    B = Λ @ Ω @ Λ
    squares = c * Λ + 2 * B
    A = (1 - 1 / N) * B + squares / N
    return from_moments(c, A, B, Λ, model, task.context_lengths)


def middles(task: Task, model: Separate) -> FloatArray:
    """Losses midway between greedy plateaus (D,): gains are the squared singular values of A^{-1/2} B Λ^{-1/2}.

    >>> middles(Task([1.0], context_length=8), Separate(heads=1))
    array([0.6])
    """
    source = exact_source(task, model)
    D = task.dimension
    A, Λ, B = source.S[::D, ::D] / task.covariance[0, 0], task.covariance, source.b.reshape(D, D)
    whitened = np.linalg.solve(np.linalg.cholesky(A), np.linalg.solve(np.linalg.cholesky(Λ), B.T).T)
    gains = np.linalg.svd(whitened, compute_uv=False) ** 2
    return np.asarray(source.c - np.cumsum(gains) + gains / 2)


def observed_passages(task: Task, model: Separate, start: Weights, until: float) -> Passages:
    """The flow of all heads from `start` through the middles between plateaus, at most until flow time `until`."""
    return passages(model, exact_source(task, model), start, middles(task, model), until)


def uneven_start(model: Separate, dimension: int, scale: float, seed: int) -> Weights:
    """Positive heads, all entries of one within 15 % of each other, and each head 0.7 of the one before it.

    Effects on an exit time then have one sign, and no two heads escape at nearly the same time: errors reach their
    order in the scale early.

    >>> uneven_start(Separate(heads=1), 1, 0.1, 0)["value"].round(3)
    array([[0.   , 0.104]])
    """
    generator = np.random.default_rng(seed)
    sizes = scale * 0.7 ** np.arange(model.head_count)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    weights["value"][:, -1] = sizes * generator.uniform(0.85, 1.15, model.head_count)
    for name in ("key", "query"):
        moving = weights[name][..., :-1]
        moving[...] = sizes[:, None, None] * generator.uniform(0.85, 1.15, moving.shape)
    return weights
