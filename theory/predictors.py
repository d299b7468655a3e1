"""Algorithms that learn linear regression from one prompt, to set beside what attention computes.

Every function takes a batch of prompts: contexts x (P, N, D) and y (P, N), queries (P, D); it returns the
predicted labels of the queries (P,). N, D ≥ 1. ValueError where shapes disagree.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import ArrayLike

from ..models.divisors import attention_divisor
from ..models.protocol import Parametrization
from ..runtime.arrays import FloatArray
from ..runtime.decimals import nonnegative, symmetric
from ..task import Task, positive_definite
from .moments.population_loss import direction_indices, population

Prompts = tuple[FloatArray, FloatArray, FloatArray]


def principal_component_regression(
    x: ArrayLike,
    y: ArrayLike,
    query: ArrayLike,
    components: Iterable[int],
    covariance: ArrayLike | None = None,
) -> FloatArray:
    """Regression on principal components, numbered from 1 by decreasing variance: Σ_d (e_dᵀβ)(e_dᵀx_q)/λ_d.

    β = mean_n y_n x_n. λ_d and e_d are those of `covariance` (D, D), or without it of each context's own
    Λ̂ = mean_n x_n x_nᵀ, where components of no variance predict nothing. Source: Jolliffe 1982.

    >>> x, y = np.array([[[2.0, 0.0], [0.0, 1.0]]]), np.array([[2.0, 3.0]])
    >>> principal_component_regression(x, y, [[1.0, 1.0]], components=[1])
    array([1.])
    """
    x, y, query = _checked(x, y, query)
    Λ = (
        x.swapaxes(1, 2) @ x / x.shape[1]
        if covariance is None
        else symmetric("covariance", covariance, query.shape[1]).doubles[None]
    )
    variances, vectors = np.linalg.eigh(Λ)
    chosen = [-1 - d for d in direction_indices(components, query.shape[1])]
    floor = (
        np.finfo(float).eps * np.sum(variances, axis=1, keepdims=True) * query.shape[1]
    )
    variances, vectors = variances[:, chosen], vectors[:, :, chosen]
    inverse = np.divide(
        1, variances, out=np.zeros_like(variances), where=variances > floor
    )
    moment, asked = (side[:, None] @ vectors for side in (_moment(x, y), query))
    return np.asarray(np.sum(inverse[:, None] * moment * asked, axis=(1, 2)))


def ridge(
    x: ArrayLike,
    y: ArrayLike,
    query: ArrayLike,
    noise_variance: float,
    teacher_covariance: ArrayLike | None = None,
) -> FloatArray:
    """The Bayes posterior mean w̄ᵀx_q for w ~ N(0, Ω): w̄ = (Λ̂ + (σ²/N) Ω⁻¹)⁻¹ β, Ω the identity if left out.

    Without noise it is ordinary least squares where N ≥ D, else the interpolation of least wᵀΩ⁻¹w. ValueError for
    a noise variance below zero or not finite, and unless Ω is symmetric and positive definite.

    >>> ridge([[[1.0], [2.0]]], [[3.0, 6.0]], [[5.0]], noise_variance=0.0)
    array([15.])
    """
    x, y, query = _checked(x, y, query)
    length, dimension = x.shape[1:]
    noise_variance = float(nonnegative("noise_variance", noise_variance))
    Ω = np.eye(dimension)
    if teacher_covariance is not None:
        Ω = positive_definite(
            "teacher_covariance", teacher_covariance, dimension
        ).doubles
    if length < dimension:  # the same mean from the smaller system
        prior = x @ Ω
        dual = np.linalg.solve(
            prior @ x.swapaxes(1, 2) + noise_variance * np.eye(length), y[..., None]
        )
        return np.asarray(np.einsum("pnd,pn,pd->p", prior, dual[..., 0], query))
    penalised = x.swapaxes(1, 2) @ x + noise_variance * np.linalg.inv(Ω)
    teachers = np.linalg.solve(penalised, length * _moment(x, y)[..., None])[..., 0]
    return np.asarray(np.sum(teachers * query, axis=1))


def preconditioned_step(
    x: ArrayLike, y: ArrayLike, query: ArrayLike, preconditioner: ArrayLike
) -> FloatArray:
    """One step from w = 0 down the squared loss of the context, βᵀ Γ x_q with Γ the `preconditioner` (D, D).

    Source: Ahn et al. 2023 (arXiv 2306.00297), von Oswald et al. 2023 (arXiv 2212.07677).

    >>> preconditioned_step([[[1.0], [2.0]]], [[3.0, 6.0]], [[5.0]], [[0.4]])
    array([15.])
    """
    x, y, query = _checked(x, y, query)
    return np.asarray(
        np.sum(_moment(x, y) @ np.asarray(preconditioner, dtype=float) * query, axis=1)
    )


def learned_prediction(
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
    x: ArrayLike,
    y: ArrayLike,
    query: ArrayLike,
) -> FloatArray:
    """What the model computes at M_S, with the directions of `subset` learned, numbered from 1 by decreasing gain.

    It is one preconditioned step whose preconditioner is M_S, rescaled by N over the model's divisor. The prompts
    may be of any length. ValueError for softmax, a mixture with a fixed teacher, or no such direction.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[1], context_length=4)
    >>> learned_prediction(task, Separate(heads=1), (1,), [[[1.0], [2.0]]], [[3.0, 6.0]], [[3.0]])
    array([15.])
    """
    length = np.shape(y)[-1]
    rescaled = (
        population(task, model).learned(subset)
        * length
        / attention_divisor(model, length, task.dimension)
    )
    return preconditioned_step(x, y, query, rescaled)


def _moment(x: FloatArray, y: FloatArray) -> FloatArray:
    """β = mean_n y_n x_n, (P, D)."""
    return np.asarray(np.einsum("pn,pnd->pd", y, x) / x.shape[1])


def _checked(x: ArrayLike, y: ArrayLike, query: ArrayLike) -> Prompts:
    x, y, query = (np.asarray(array, dtype=float) for array in (x, y, query))
    if x.ndim != 3 or y.shape != x.shape[:2] or query.shape != x.shape[::2]:
        shapes = f"{x.shape}, {y.shape} and {query.shape}"
        raise ValueError(
            f"prompts are x (P, N, D), y (P, N) and query (P, D), not {shapes}"
        )
    return x, y, query
