"""What the claims of this wing share: tasks of modes, weights of one head, and prompts at the nodes of a quadrature."""

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ....models.attention import Merged
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import predict
from ....task import Task
from ....teachers import Gaussian

LOSS = ("modes.loss",)
"""The claim that holds the exact loss against the layer itself: what descends on moments assumes it."""

STAIRCASE = (2.0, 1.0, 0.5, 0.25)
"""Variances of x whose modes are learned one after another."""


def mode_task(
    inputs: ArrayLike,
    context_length: int,
    teachers: ArrayLike | None = None,
    noise: float = 0.0,
) -> Task:
    """x of these variances and W = diag(l) with l_α ~ N(0, ω_α), 1 if left out."""
    s = np.asarray(inputs, dtype=float)
    ω = np.ones_like(s) if teachers is None else np.asarray(teachers, dtype=float)
    return Task(
        s.tolist(),
        teachers=Gaussian.shared_basis(ω.tolist()),
        context_length=context_length,
        noise_variance=noise,
    )


def one_head(task: Task) -> Merged:
    """One merged head with the outputs of this task."""
    return Merged(heads=1, outputs=task.outputs)


def head_weights(task: Task, p: ArrayLike, q: ArrayLike) -> Weights:
    """Weights of one head with p (K, K) and q (D, D), or their diagonals, and zero null blocks."""
    D = task.dimension
    shapes = one_head(task).shapes(D)
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["value"][0, :, D:] = _matrix(p)
    weights["key_query"][0, :D, :D] = _matrix(q)
    return weights


def _matrix(values: ArrayLike) -> FloatArray:
    array = np.asarray(values, dtype=float)
    return np.diag(array) if array.ndim == 1 else array


class WeightedPrompts(NamedTuple):
    """Tokens (P, N+1, D+K) with the labels (P, K) of their queries, and weights (P,) that add up to 1."""

    tokens: FloatArray
    labels: FloatArray
    weights: FloatArray

    def loss(self, task: Task, weights: Weights) -> float:
        """E |y_q − ŷ|² of the layer on these prompts."""
        outputs = predict(one_head(task), weights, self.tokens)
        squares = np.sum((self.labels - outputs) ** 2, axis=1)
        return float(self.weights @ squares)


def gaussian_prompts(
    task: Task, teacher_root: FloatArray, nodes: int
) -> WeightedPrompts:
    """Prompts at the nodes of Gauss–Hermite rules in every variable, in place of draws: exact for polynomials.

    The loss is one of degree 2 in the teachers, 6 in each token and 2 in the query, so that it is exact from 4 nodes
    on. `teacher_root` (KD, R) makes the teachers of R independent standard normal numbers. Noise of the context has
    two nodes a number, the query has none.
    """
    numbers = _numbers(task, teacher_root.shape[1], nodes)
    W = (numbers.of_teacher @ teacher_root.T).reshape(-1, task.outputs, task.dimension)
    scale = np.sqrt(np.diag(task.covariance))
    x, x_q = numbers.of_context * scale, numbers.of_query * scale
    noise = np.sqrt(task.noise_variance) * numbers.of_noise
    y = np.einsum("pkd,pnd->pnk", W, x) + noise
    labels = np.einsum("pkd,pd->pk", W, x_q)
    return WeightedPrompts(_tokens(x, y, x_q), labels, numbers.weights)


class _Numbers(NamedTuple):
    """Normal numbers: of teachers (P, R), context (P, N, D), query (P, D) and noise (P, N, K), with weights (P,)."""

    of_teacher: FloatArray
    of_context: FloatArray
    of_query: FloatArray
    of_noise: FloatArray
    weights: FloatArray


def _numbers(task: Task, teacher_count: int, nodes: int) -> _Numbers:
    """The nodes of a product rule; without noise its numbers are 0."""
    N, D, K = max(task.context_lengths), task.dimension, task.outputs
    noise_count = N * K if task.noise_variance > 0 else 0
    counts = [2] * teacher_count + [nodes] * (N * D) + [2] * (D + noise_count)
    z, weights = product_rule(counts)  # (P, variables)
    places = np.cumsum([teacher_count, N * D, D])
    of_teacher, of_context, of_query, of_noise = np.split(z, places, axis=1)
    if noise_count == 0:
        of_noise = np.zeros((len(z), N * K))
    return _Numbers(
        of_teacher,
        of_context.reshape(-1, N, D),
        of_query,
        of_noise.reshape(-1, N, K),
        weights,
    )


def _tokens(x: FloatArray, y: FloatArray, x_q: FloatArray) -> FloatArray:
    """Tokens (P, N+1, D+K) of a context x (P, N, D), y (P, N, K) and a query x_q (P, D), whose labels are 0."""
    context = np.concatenate([x, y], axis=2)
    query = np.concatenate([x_q, np.zeros((len(x), y.shape[2]))], axis=1)
    return np.concatenate([context, query[:, None]], axis=1)


def product_rule(
    counts: Sequence[int], halved: Collection[int] = ()
) -> tuple[FloatArray, FloatArray]:
    """Nodes (P, V) and weights (P,) of the product of rules with so many nodes for a standard normal number.

    The numbers at the places `halved` have the nodes of zero and more alone, each for itself and its negative.
    """
    from scipy.special import roots_hermitenorm

    rules = []
    for place, count in enumerate(counts):
        nodes, weights = roots_hermitenorm(count)
        weights = weights / np.sqrt(2 * np.pi)
        if place in halved:
            kept = nodes > -1e-9
            nodes, weights = nodes[kept], weights[kept]
            weights = np.where(nodes > 1e-9, 2 * weights, weights)
        rules.append((nodes, weights))
    grids = np.meshgrid(*(nodes for nodes, _ in rules), indexing="ij")
    products = np.meshgrid(*(weights for _, weights in rules), indexing="ij")
    z = np.stack([grid.ravel() for grid in grids], axis=1)
    return z, np.prod([each.ravel() for each in products], axis=0)
