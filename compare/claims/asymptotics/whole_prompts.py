"""Means over whole prompts of D = 2 by Gauss–Hermite rules, exact for the polynomials that losses are."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.polynomial.hermite_e import hermegauss

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Gaussian, Mixture, Pool, Sphere, TeacherLaw

POINTS = 5
"""Of each random number of a prompt: rules of 5 points are exact for squared losses, of degree 8, and for r² βᵀPβ."""

TASK_POINTS = 3
"""Of each number of a Gaussian task: losses are of degree 4 in it."""

DIRECTIONS = 8
"""Tasks on a circle: as many equal angles are exact up to degree 7."""


class Tasks(NamedTuple):
    """Tasks w (n, D) and their weights (n,)."""

    w: FloatArray
    weights: FloatArray


class Prompts(NamedTuple):
    """Contexts and queries of one task w and one length, with their weights."""

    share: float
    """Weight of the task and of the length."""
    w: FloatArray
    h: FloatArray
    """β and Σ y²/N of each context, (contexts, D+1)."""
    context_weights: FloatArray
    query: FloatArray
    query_weights: FloatArray

    def mean(self, values: FloatArray) -> float:
        """The mean of values (contexts, queries), with the share of these prompts."""
        return float(self.share * (self.context_weights @ values @ self.query_weights))

    def residuals(self, M: FloatArray) -> FloatArray:
        """w·x_q − ŷ (contexts, queries) of the map (D, D) or (D+1, D)."""
        predictions = self.h[:, : len(M)] @ M @ self.query.T
        return np.asarray(self.query @ self.w - predictions)


def normal_rule(numbers: int, points: int = POINTS) -> tuple[FloatArray, FloatArray]:
    """Points (n, numbers) and weights (n,) of a Gauss–Hermite rule for independent N(0, 1)."""
    z, weight = hermegauss(points)
    weight = weight / weight.sum()
    grid = np.stack(np.meshgrid(*[z] * numbers, indexing="ij"), axis=-1)
    weights = np.stack(np.meshgrid(*[weight] * numbers, indexing="ij"))
    return grid.reshape(-1, numbers), np.prod(weights, axis=0).ravel()


def tasks_of(law: TeacherLaw) -> Tasks:
    """Tasks of dimension 2 with the law's means up to degree 5: its own, of a rule, or at equal angles."""
    if isinstance(law, Pool):
        return Tasks(law.members[:, 0], law.member_weights)
    if isinstance(law, Gaussian):
        z, weights = normal_rule(2, TASK_POINTS)
        root = np.linalg.cholesky(law.covariance.reshape(2, 2))
        return Tasks(law.mean.reshape(2) + z @ root.T, weights)
    if isinstance(law, Sphere):
        angle = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
        circle = np.column_stack([np.cos(angle), np.sin(angle)])
        return Tasks(law.radius * circle, np.full(DIRECTIONS, 1 / DIRECTIONS))
    assert isinstance(law, Mixture)
    parts = [tasks_of(part) for part in law.laws]
    shares = zip(law.shares, parts, strict=True)
    return Tasks(
        np.concatenate([part.w for part in parts]),
        np.concatenate([share * part.weights for share, part in shares]),
    )


def prompts_of(task: Task) -> Iterator[Prompts]:
    """The prompts of every task of the law and every context length; an empty context is h = 0."""
    root = np.linalg.cholesky(task.covariance)
    query, query_weights = normal_rule(2)
    for N, of_length in zip(task.context_lengths, task.context_weights, strict=True):
        z, weights = normal_rule(3 * N) if N else (np.zeros((1, 0)), np.ones(1))
        x = z[:, : 2 * N].reshape(len(z), N, 2) @ root.T
        noise = np.sqrt(task.noise_variance) * z[:, 2 * N :]
        for w, of_task in zip(*tasks_of(task.teachers), strict=True):
            y = x @ w + noise
            β = np.einsum("gn,gnd->gd", y, x) / max(N, 1)
            squares = np.sum(y**2, axis=1) / max(N, 1)
            yield Prompts(
                share=float(of_length * of_task),
                w=w,
                h=np.column_stack([β, squares]),
                context_weights=weights,
                query=query @ root.T,
                query_weights=query_weights,
            )
