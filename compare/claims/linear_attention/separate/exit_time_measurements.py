"""Exits of the gradient flow of all rank-one heads, from moments and levels that are written down anew here.

Nothing of `theory` is used: what is observed with these functions shares with a prediction the task and the model.
"""

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray, IndexArray
from .....simulate import Statistics, from_moments
from .....simulate.descent.rank_one_flow import Passages, passages
from .....task import Task


def exact_source(task: Task, model: Separate) -> Statistics:
    """Statistics of infinitely many sequences, for the divisor "context" and one context length N.

    With x ~ N(0, Λ), y = wᵀx + noise, w ~ N(0, Ω) and β = Σ y x/N: E[y² x xᵀ] = c Λ + 2 ΛΩΛ by Wick's theorem, and
    A = E ββᵀ = (1 − 1/N) ΛΩΛ + E[y² x xᵀ]/N.

    >>> exact_source(Task([1.0], context_length=10), Separate(heads=1)).c
    1.0
    """
    c, A, B = _moments(task)
    return from_moments(c, A, B, task.covariance, model, task.context_lengths)


def _moments(task: Task) -> tuple[float, FloatArray, FloatArray]:
    """c, A and B."""
    (N,) = task.context_lengths
    Λ, Ω = task.covariance, task.teacher_covariance
    c = float(np.trace(Ω @ Λ)) + task.noise_variance
    B: FloatArray = Λ @ Ω @ Λ
    squares = c * Λ + 2 * B  # E[y² x xᵀ]
    A: FloatArray = (1 - 1 / N) * B + squares / N
    return c, A, B


def middles(task: Task, model: Separate) -> FloatArray:
    """Losses midway between greedy plateaus (D,): gains are the squared singular values of A^{-1/2} B Λ^{-1/2}.

    >>> middles(Task([1.0], context_length=8), Separate(heads=1))
    array([0.6])
    """
    gains = _whitened(task)[1] ** 2
    return np.asarray(exact_source(task, model).c - np.cumsum(gains) + gains / 2)


def whitened_shares(
    task: Task, maps: FloatArray, tie: float
) -> tuple[FloatArray, IndexArray]:
    """How many directions of each gain the maps (K, D, D) hold, (K, groups), and each group's first direction.

    Gains within a relative `tie` of the next larger one count as equal; directions are numbered from 1.

    >>> task = Task([1.0, 1.0], context_length=10)
    >>> whitened_shares(task, np.diag([1.0, 0.0])[None] / 1.3, 0.01)
    (array([[1.]]), array([1]))
    """
    _, A, _ = _moments(task)
    u, σ, t = _whitened(task)
    left_root = np.linalg.cholesky(A).T
    right_root = np.linalg.cholesky(task.covariance)
    whitened = left_root @ maps @ right_root
    shares = np.einsum("id,kij,dj->kd", u, whitened, t, optimize=True) / σ

    # A new group begins wherever the gain is clearly below the one before it.
    gains = σ**2
    begins = np.append(True, gains[1:] < (1 - tie) * gains[:-1])
    first = np.flatnonzero(begins)
    return np.add.reduceat(shares, first, axis=1), first + 1


def _whitened(task: Task) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Singular values and vectors of A^{-1/2} B Λ^{-1/2}, roots by Cholesky's factors."""
    _, A, B = _moments(task)
    left_root = np.linalg.cholesky(A)
    right_root = np.linalg.cholesky(task.covariance)
    right_solved = np.linalg.solve(right_root, B.T).T
    return np.linalg.svd(np.linalg.solve(left_root, right_solved))


def observed_passages(
    task: Task, model: Separate, start: Weights, until: float
) -> Passages:
    """The flow of all heads from `start` through the middles between plateaus, at most until flow time `until`."""
    return passages(
        model, exact_source(task, model), start, middles(task, model), until
    )


def uneven_start(model: Separate, dimension: int, scale: float, seed: int) -> Weights:
    """Positive heads of one size each, 0.7 of that before it, to 15 %; keys lean to e_1, queries away from it.

    Effects on an exit time then have one sign, and no two heads escape at nearly the same time: errors reach their
    order in the scale early.

    >>> uneven_start(Separate(heads=1), 1, 0.1, 0)["value"].round(3)
    array([[0.   , 0.104]])
    """
    generator = np.random.default_rng(seed)
    sizes = scale * 0.7 ** np.arange(model.head_count)  # (H,)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    factors = generator.uniform(0.85, 1.15, model.head_count)
    weights["value"][:, -1] = sizes * factors

    lean = np.linspace(1.3, 0.7, dimension)
    for name, along in (("key", lean), ("query", lean[::-1])):
        block = weights[name][..., :-1]  # (H, R, D)
        factors = generator.uniform(0.85, 1.15, block.shape)
        block[...] = along * sizes[:, None, None] * factors
    return weights
