"""Moments by complete enumeration: every sign of Rademacher inputs, every teacher of a pool, every node of the noise.

Nothing is sampled and nothing is shared with the package beyond the statement of a task: D = N = 2 at most, Rademacher
z, a pool. Noise has three nodes, whose moments are those of a Gaussian up to the fifth order; no more than the fourth
occurs in the moments of attention.
"""

import itertools
from typing import NamedTuple

import numpy as np

NODES = np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)])
NODE_WEIGHTS = np.array([1 / 6, 2 / 3, 1 / 6])


class Enumerated(NamedTuple):
    """Every prompt of one context length with its probability: tokens (P, n+1, D+K), labels of the query (P, K)."""

    tokens: np.ndarray
    labels: np.ndarray
    probability: np.ndarray


def square_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def prompts(task, n):
    """All prompts of n context tokens. The query's label has no noise here: it enters c by its variance alone."""
    inputs = _all_inputs(task, n)
    noises = _all_noises(task, n)
    tokens, labels, probability = [], [], []
    members = zip(task.teachers.members, task.teachers.member_weights, strict=True)
    for (W, weight), x, (noise, noise_weight) in itertools.product(
        members, inputs, noises
    ):
        y = x @ W.T
        shown = np.concatenate([y[:n] + noise, np.zeros((1, task.outputs))])
        tokens.append(np.concatenate([x, shown], axis=1))
        labels.append(y[n])
        probability.append(weight * noise_weight / len(inputs))
    return Enumerated(np.array(tokens), np.array(labels), np.array(probability))


def _all_inputs(task, n):
    """x (n+1, D) of all signs of z."""
    root = square_root(task.covariance)
    inputs = []
    for sign in itertools.product([-1.0, 1.0], repeat=(n + 1) * task.dimension):
        z = np.reshape(sign, (n + 1, task.dimension))
        inputs.append(np.array([task.input_mean + root @ row for row in z]))
    return inputs


def _all_noises(task, n):
    """Noise (n, K) of the context labels with its weight; 0 alone where there is none."""
    if not task.noise_variance:
        return [(np.zeros((n, task.outputs)), 1.0)]
    noises = []
    for chosen in itertools.product(range(3), repeat=n * task.outputs):
        nodes = np.array([NODES[index] for index in chosen])
        noise = np.sqrt(task.noise_variance) * nodes.reshape(n, task.outputs)
        noises.append((noise, np.prod([NODE_WEIGHTS[index] for index in chosen])))
    return noises


def divisor(model, n, D, K):
    """What X Xᵀ is divided by, as ground rules of the models say it."""
    tokens = n + 1 if model.query_token else n
    name = model.divisor
    by_name = {"context": max(n, 1), "tokens": max(tokens, 1), "none": 1}
    output = by_name[name] if name in by_name else float(name)
    by_root = model.score_divisor == "sqrt_key"
    scores = np.sqrt(D + K) if by_root else float(model.score_divisor)
    return output * scores


class Moments(NamedTuple):
    c: float
    A: np.ndarray
    B: np.ndarray
    b: np.ndarray
    S: np.ndarray


def moments(task, model):
    """c, A (KD, KD), B (K, K, D, D), b (K, F) and S (F, F) of all lengths, weighted.

    Features are F = (X Xᵀ)_ij x_qd / divisor for i ≤ j, in the order of i, then j, then d.
    """
    lengths = zip(task.context_lengths, task.context_weights, strict=True)
    sums = [0.0] * len(Moments._fields)
    for n, weight in lengths:
        terms = _moments_of_length(task, model, n)
        sums = [total + weight * term for total, term in zip(sums, terms, strict=True)]
    return Moments(*sums)


def _moments_of_length(task, model, n):
    D, K = task.dimension, task.outputs
    tokens, labels, p = prompts(task, n)
    read = tokens if model.query_token else tokens[:, :n]
    gram = np.einsum("pni,pnj->pij", read, read) / divisor(model, n, D, K)
    query = tokens[:, n, :D]
    beta = np.einsum("pnj,pna->pja", tokens[:, :n, D:], tokens[:, :n, :D])
    beta = beta / divisor(model, n, D, K)  # (P, K, D)
    flat = beta.reshape(len(beta), -1)
    features = np.array(
        [
            gram[:, i, j] * query[:, d]
            for i in range(D + K)
            for j in range(i, D + K)
            for d in range(D)
        ]
    )
    square = np.sum(labels**2, axis=1)
    return Moments(
        c=p @ square + K * task.query_noise_variance,
        A=np.einsum("p,pa,pb->ab", p, flat, flat),
        B=np.einsum("p,pi,pja,pb->ijab", p, labels, beta, query),
        b=np.einsum("p,pi,fp->if", p, labels, features),
        S=np.einsum("p,fp,gp->fg", p, features, features),
    )
