"""Steps of online SGD of one layer on prompts made of random numbers, in machine code.

A prompt is a teacher W (K, D), N tokens x with labels y, of which β = Σ y xᵀ/divisor, and a query. The gradient of
L of one prompt at ŷ = p β q x_q is −2 e (β u)ᵀ by p and −2 βᵀpᵀe x_qᵀ by q, with u = q x_q and e = y_q − ŷ. The last
axis is that of the B prompts of a step, along which loops use vector instructions.
"""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from .kernels import jit


class PromptLaw(NamedTuple):
    """Roots of the covariances of x (D, D) and of W (K·D, R), standard deviations of the noise, N and the divisor.

    A prompt needs R random numbers for W and then, for each of the N + 1 tokens, D for x and K for its noise.
    """

    input_root: FloatArray
    teacher_root: FloatArray
    noise: float
    query_noise: float
    length: int
    divisor: float

    @property
    def is_noisy(self) -> bool:
        """Whether labels have noise: without it tokens need no random numbers for it."""
        return self.noise > 0 or self.query_noise > 0

    @property
    def numbers(self) -> int:
        """How many random numbers a prompt needs."""
        D = len(self.input_root)
        K = len(self.teacher_root) // D
        of_token = D + K if self.is_noisy else D
        return int(self.teacher_root.shape[1]) + (self.length + 1) * of_token


class Prompts(NamedTuple):
    """W and β (K, D, B) of the prompts of a step, and a token x (D, B) with its labels y (K, B), at last the query."""

    W: FloatArray
    β: FloatArray
    x: FloatArray
    y: FloatArray


@jit
def sgd_steps(
    law: PromptLaw,
    rate: float,
    numbers: FloatArray,
    weights: tuple[FloatArray, FloatArray],
    path: tuple[FloatArray, FloatArray],
) -> None:
    """A step of this rate on L for each of the `numbers` (S, …, B) of B prompts.

    p (K, K) and q (D, D) are changed in place; `path` (S, K, K) and (S, D, D) holds them before each step.
    """
    p, q = weights
    K, D, B = len(p), len(q), numbers.shape[2]
    prompts = Prompts(
        np.empty((K, D, B)), np.empty((K, D, B)), np.empty((D, B)), np.empty((K, B))
    )
    by_p, by_q = np.empty((K, K)), np.empty((D, D))
    for step in range(len(numbers)):
        path[0][step] = p
        path[1][step] = q
        make_prompts(law, numbers[step], prompts)
        write_gradient(p, q, prompts, by_p, by_q)
        p -= rate * by_p
        q -= rate * by_q


@jit
def make_prompts(law: PromptLaw, numbers: FloatArray, prompts: Prompts) -> None:
    """The prompts of random numbers (…, B): W, then the tokens of the context for β, then the query as x and y."""
    K, D, B = prompts.W.shape
    rank = law.teacher_root.shape[1]
    multiply(law.teacher_root, numbers[:rank], prompts.W.reshape((K * D, B)))
    prompts.β[:] = 0.0
    width = (len(numbers) - rank) // (law.length + 1)
    for token in range(law.length + 1):
        first = rank + token * width
        is_query = token == law.length
        noise = law.query_noise if is_query else law.noise
        multiply(law.input_root, numbers[first : first + D], prompts.x)
        multiply_each(prompts.W, prompts.x, prompts.y)
        if noise > 0.0:
            prompts.y[:] += noise * numbers[first + D : first + width]
        if not is_query:
            add_outer_of_each(1.0 / law.divisor, prompts.y, prompts.x, prompts.β)


@jit
def write_gradient(
    p: FloatArray, q: FloatArray, prompts: Prompts, by_p: FloatArray, by_q: FloatArray
) -> None:
    """The mean over prompts of the gradient of L by p (K, K) and q (D, D); β and the query x and y are read."""
    K, D, B = prompts.β.shape
    u, βᵀpᵀe = np.empty((D, B)), np.empty((D, B))
    v, e, pᵀe = np.empty((K, B)), np.empty((K, B)), np.empty((K, B))
    multiply(q, prompts.x, u)
    multiply_each(prompts.β, u, v)
    multiply(p, v, e)
    e[:] = prompts.y - e
    multiply(p.T, e, pᵀe)
    multiply_each_transposed(prompts.β, pᵀe, βᵀpᵀe)
    write_sum_of_outer(-2.0 / B, e, v, by_p)
    write_sum_of_outer(-2.0 / B, βᵀpᵀe, prompts.x, by_q)


@jit
def multiply(matrix: FloatArray, vectors: FloatArray, products: FloatArray) -> None:
    """One matrix (I, J) times vectors (J, B), into `products` (I, B)."""
    products[:] = 0.0
    for i in range(matrix.shape[0]):
        for j in range(matrix.shape[1]):
            entry = matrix[i, j]
            for b in range(vectors.shape[1]):
                products[i, b] += entry * vectors[j, b]


@jit
def multiply_each(
    matrices: FloatArray, vectors: FloatArray, products: FloatArray
) -> None:
    """Matrices (I, J, B) times vectors (J, B), into `products` (I, B)."""
    products[:] = 0.0
    for i in range(matrices.shape[0]):
        for j in range(matrices.shape[1]):
            for b in range(vectors.shape[1]):
                products[i, b] += matrices[i, j, b] * vectors[j, b]


@jit
def multiply_each_transposed(
    matrices: FloatArray, vectors: FloatArray, products: FloatArray
) -> None:
    """Transposes of matrices (I, J, B) times vectors (I, B), into `products` (J, B)."""
    products[:] = 0.0
    for i in range(matrices.shape[0]):
        for j in range(matrices.shape[1]):
            for b in range(vectors.shape[1]):
                products[j, b] += matrices[i, j, b] * vectors[i, b]


@jit
def add_outer_of_each(
    factor: float, rows: FloatArray, columns: FloatArray, total: FloatArray
) -> None:
    """Adds `factor` times rows (I, B) times columns (J, B) to `total` (I, J, B)."""
    for i in range(len(rows)):
        for j in range(len(columns)):
            for b in range(rows.shape[1]):
                total[i, j, b] += factor * rows[i, b] * columns[j, b]


@jit
def write_sum_of_outer(
    factor: float, rows: FloatArray, columns: FloatArray, total: FloatArray
) -> None:
    """`factor` times the sum over prompts of rows (I, B) times columns (J, B), into `total` (I, J)."""
    for i in range(len(rows)):
        for j in range(len(columns)):
            entry = 0.0
            for b in range(rows.shape[1]):
                entry += rows[i, b] * columns[j, b]
            total[i, j] = factor * entry
