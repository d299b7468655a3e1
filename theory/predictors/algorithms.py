"""Algorithms that learn linear regression from one prompt, to set beside what attention computes.

Every function takes a batch of prompts: contexts x (P, N, D) and y (P, N), queries (P, D); it returns the
predicted labels of the queries (P,). N, D ≥ 1. ValueError where shapes disagree.
"""

import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...models.divisors import attention_divisor
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ...runtime.checks import check_finite, real_array, refuse_wrong_order
from ...runtime.covariances import smallest_eigenvalue, symmetric_root
from ...runtime.decimals import nonnegative, symmetric
from ...task import Task
from ...teachers import Pool
from ..moments.population_loss import direction_indices, invariant_population

Prompts = tuple[FloatArray, FloatArray, FloatArray]

# What rounding makes of a label, relative to its terms.
_ROUNDED_LABEL = 1e-10

_POOL_POSTERIOR = "pool_posterior(x, y, query, task)"
_LEARNED_PREDICTION = "learned_prediction(x, y, query, task, model, subset)"


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
    x, y, query = _checked_prompts(x, y, query)
    dimension = query.shape[1]
    Λ = _covariances(x, covariance)
    variances, vectors = np.linalg.eigh(Λ)  # increasing, (P, D) and (P, D, D)
    # What rounding makes of a variance of zero.
    floor = np.finfo(float).eps * dimension * np.sum(variances, axis=1, keepdims=True)

    chosen = [-1 - d for d in direction_indices(components, dimension)]
    vectors = vectors[:, :, chosen]  # (P, D, K)
    inverses = _inverses_above(floor, variances[:, chosen])  # (P, K)
    β_components = np.einsum("pd,pdk->pk", _β(x, y), vectors)
    query_components = np.einsum("pd,pdk->pk", query, vectors)
    return np.asarray(np.sum(inverses * β_components * query_components, axis=1))


def _covariances(x: FloatArray, covariance: ArrayLike | None) -> FloatArray:
    """`covariance` (1, D, D), or without it Λ̂ = mean_n x_n x_nᵀ of each context (P, D, D) of x (P, N, D)."""
    if covariance is None:
        return np.asarray(x.swapaxes(1, 2) @ x / x.shape[1])
    return symmetric("covariance", covariance, x.shape[2]).doubles[None]


def _inverses_above(floor: FloatArray, variances: FloatArray) -> FloatArray:
    """1/λ of the variances above a floor, and 0 of the others, which predict nothing."""
    inverses = np.zeros_like(variances)
    np.divide(1, variances, out=inverses, where=variances > floor)
    return inverses


def ridge(
    x: ArrayLike,
    y: ArrayLike,
    query: ArrayLike,
    noise_variance: float,
    teacher_covariance: ArrayLike | None = None,
) -> FloatArray:
    """The Bayes posterior mean w̄ᵀx_q for w ~ N(0, Ω): w̄ = (Λ̂ + (σ²/N) Ω⁻¹)⁻¹ β, Ω the identity if left out.

    Without noise it is ordinary least squares where N ≥ D, else the interpolation of least wᵀΩ⁻¹w. ValueError for
    a noise variance below zero or not finite, and unless Ω is symmetric and positive semidefinite; without noise it
    must be positive definite.

    >>> ridge([[[1.0], [2.0]]], [[3.0, 6.0]], [[5.0]], noise_variance=0.0)
    array([15.])
    """
    x, y, query = _checked_prompts(x, y, query)
    length, dimension = x.shape[1:]
    σ2 = float(nonnegative("noise_variance", noise_variance))
    Ω = np.eye(dimension)
    if teacher_covariance is not None:
        Ω = symmetric("teacher_covariance", teacher_covariance, dimension).doubles
    is_singular = _checked_singular(Ω, σ2)

    if length < dimension:
        return _ridge_of_short_contexts((x, y, query), σ2, Ω)
    if is_singular:
        # w = Ω^½ u with u ~ N(0, 1), which has the same labels from the inputs Ω^½ x.
        root = symmetric_root(Ω)
        return ridge(x @ root, y, query @ root, σ2)
    precision = x.swapaxes(1, 2) @ x + σ2 * np.linalg.inv(Ω)  # N (Λ̂ + (σ²/N) Ω⁻¹)
    sums = length * _β(x, y)[..., None]
    teachers = np.linalg.solve(precision, sums)[..., 0]  # (P, D)
    return np.asarray(np.sum(teachers * query, axis=1))


def _checked_singular(Ω: FloatArray, σ2: float) -> bool:
    """Whether Ω (D, D) is singular; ValueError if it is not positive semidefinite, or singular without noise."""
    smallest = smallest_eigenvalue("teacher_covariance", Ω)
    if smallest == 0 and σ2 == 0:
        raise ValueError(
            f"teacher_covariance must be positive definite where there is no noise: its smallest eigenvalue is "
            f"{smallest:.3g}"
        )
    return smallest == 0


def _ridge_of_short_contexts(prompts: Prompts, σ2: float, Ω: FloatArray) -> FloatArray:
    """The same mean from the smaller system, w̄ = Ω Xᵀ (X Ω Xᵀ + σ²)⁻¹ y."""
    x, y, query = prompts
    XΩ = x @ Ω  # (P, N, D)
    label_covariance = XΩ @ x.swapaxes(1, 2) + σ2 * np.eye(x.shape[1])
    weights = np.linalg.solve(label_covariance, y[..., None])[..., 0]  # (P, N)
    return np.asarray(np.einsum("pnd,pn,pd->p", XΩ, weights, query))


def pool_posterior(
    x: ArrayLike, y: ArrayLike, query: ArrayLike, task: Task
) -> FloatArray:
    """The Bayes posterior mean of the query's label where the teacher is one of a pool: Σ_i p_i W_i x_q.

    p_i is proportional to the teacher's weight times exp(−Σ_n |y_n − W_i x_n|²/(2σ²)), with the pool and the noise of
    the `task`. Without noise only teachers that fit the context, to rounding, count. With K > 1 outputs y is
    (P, N, K) and the result (P, K).
    ValueError unless the teachers of the task are a `Pool`, where no teacher fits a context without noise, and where
    all likelihoods vanish as numbers.
    Source: Raventós et al. 2023 (arXiv 2306.15063), the discrete minimum mean squared error estimator.

    >>> from attndyn.teachers import Pool
    >>> task = Task([1, 1], teachers=Pool([[1, 0], [0, 1]]), noise_variance=0.25, context_length=2)
    >>> pool_posterior([[[1.0, -1.0], [1.0, -1.0]]], [[1.0, 1.0]], [[2.0, 3.0]], task).round(4)
    array([2.])
    """
    in_order = isinstance(task, Task)
    refuse_wrong_order(_POOL_POSTERIOR, in_order, x, y, query, task)
    pool = task.teachers
    if not isinstance(pool, Pool):
        raise ValueError(
            f"pool_posterior is for a task with teachers=Pool(…), not with {type(pool).__name__}: ridge is the "
            "posterior mean of Gaussian teachers"
        )
    x, labels, query = _checked_prompts_of(task, x, y, query)
    fit = _log_likelihoods(x, labels, pool, math.sqrt(task.noise_variance))
    posterior = _pool_weights(fit, pool.member_weights)
    W = pool.members  # (k, K, D)
    prediction = np.einsum("pk,kia,pa->pi", posterior, W, query, optimize=True)
    return np.asarray(prediction[:, 0] if task.outputs == 1 else prediction)


def _checked_prompts_of(
    task: Task, x: ArrayLike, y: ArrayLike, query: ArrayLike
) -> Prompts:
    """x (P, N, D), labels (P, N, K) and query (P, D) of D and K of the task; ValueError for others."""
    K = task.outputs
    labels = real_array(y, "y")
    if K == 1:
        labels = labels[..., None]  # (P, N, K)
    x, _, query = _checked_prompts(x, labels[..., 0], query)
    for name, array in (("x", x), ("y", labels), ("query", query)):
        check_finite(array, name)
    if labels.shape != (*x.shape[:2], K) or x.shape[2] != task.dimension:
        raise ValueError(
            f"x must be (P, N, {task.dimension}) and y (P, N{'' if K == 1 else f', {K}'}) for this task, not "
            f"{x.shape} and {np.shape(y)}"
        )
    return x, labels, query


def _log_likelihoods(
    x: FloatArray, labels: FloatArray, pool: Pool, σ: float
) -> FloatArray:
    """Logarithm of the likelihood of each teacher of the pool given each context, (P, k), up to a constant."""
    W = pool.members  # (k, K, D)
    logarithms = np.empty((len(x), len(W)))
    for i, teacher in enumerate(W):
        terms = _Labels(labels, x @ teacher.T, np.abs(x) @ np.abs(teacher.T))
        logarithms[:, i] = terms.log_likelihood(σ) if σ > 0 else terms.log_consistency()
    return logarithms


class _Labels(NamedTuple):
    """Labels of contexts, those of one teacher without noise, and the size of their terms, (P, N, K) each."""

    given: FloatArray
    clean: FloatArray
    size: FloatArray

    def log_likelihood(self, σ: float) -> FloatArray:
        """−Σ_n |y_n − W x_n|²/(2σ²), (P,)."""
        with np.errstate(over="ignore", invalid="ignore"):
            deviations = (self.given - self.clean) / σ
            return np.asarray(-0.5 * np.sum(deviations**2, axis=(1, 2)))

    def log_consistency(self) -> FloatArray:
        """0 where the labels are those of the teacher to rounding, else −∞, (P,)."""
        gaps = np.abs(self.given - self.clean)
        # Rounding is that of the terms Σ_a W_ka x_a, however small their sum is.
        fits = np.all(gaps <= _ROUNDED_LABEL * self.size, axis=(1, 2))
        return np.where(fits, 0.0, -np.inf)


def _pool_weights(fit: FloatArray, weights: FloatArray) -> FloatArray:
    """Posterior weights (P, k) of teachers with these prior ones (k,), from logarithms of likelihoods (P, k)."""
    with np.errstate(divide="ignore"):  # a teacher may have the weight 0
        logarithms = np.log(weights) + fit
    best = np.max(logarithms, axis=1, keepdims=True)
    if not np.all(np.isfinite(best)):
        prompt = int(np.argmin(np.isfinite(best)))
        raise ValueError(
            f"no teacher of the pool fits the context of prompt {prompt}: without noise one must be consistent with "
            "it, and with noise one likelihood above 0 as a number"
        )
    unnormalised = np.exp(logarithms - best)
    return np.asarray(unnormalised / np.sum(unnormalised, axis=1, keepdims=True))


def preconditioned_step(
    x: ArrayLike, y: ArrayLike, query: ArrayLike, preconditioner: ArrayLike
) -> FloatArray:
    """One step from w = 0 down the squared loss of the context, βᵀ Γ x_q with Γ the `preconditioner` (D, D).

    Source: Ahn et al. 2023 (arXiv 2306.00297), von Oswald et al. 2023 (arXiv 2212.07677).

    >>> preconditioned_step([[[1.0], [2.0]]], [[3.0, 6.0]], [[5.0]], [[0.4]])
    array([15.])
    """
    x, y, query = _checked_prompts(x, y, query)
    Γ = np.asarray(preconditioner, dtype=float)
    return np.asarray(np.sum(_β(x, y) @ Γ * query, axis=1))


def learned_prediction(
    x: ArrayLike,
    y: ArrayLike,
    query: ArrayLike,
    task: Task,
    model: Parametrization,
    subset: Iterable[int],
) -> FloatArray:
    """What the model computes at M_S, with the directions of `subset` learned, numbered from 1 by decreasing gain.

    It is one preconditioned step whose preconditioner is M_S, rescaled by N over the model's divisor. The prompts
    may be of any length. ValueError for softmax, a mixture with a fixed teacher, or no such direction. TypeError for
    a task or a model among the prompts.

    >>> from attndyn import Separate, Task
    >>> task = Task(eigenvalues=[1], context_length=4)
    >>> learned_prediction([[[1.0], [2.0]]], [[3.0, 6.0]], [[3.0]], task, Separate(heads=1), (1,))
    array([15.])
    """
    given = (x, y, query, task, model, subset)
    in_order = isinstance(task, Task) and not isinstance(model, Task)
    refuse_wrong_order(_LEARNED_PREDICTION, in_order, *given)
    M = invariant_population(task, model).learned(subset)
    length = np.shape(y)[-1]
    divisor = attention_divisor(model, length, task.dimension)
    return preconditioned_step(x, y, query, M * length / divisor)


def _β(x: FloatArray, y: FloatArray) -> FloatArray:
    """β = mean_n y_n x_n, (P, D)."""
    return np.asarray(np.einsum("pn,pnd->pd", y, x) / x.shape[1])


def _checked_prompts(x: ArrayLike, y: ArrayLike, query: ArrayLike) -> Prompts:
    x = np.asarray(x, dtype=float)
    y = np.asarray(y, dtype=float)
    query = np.asarray(query, dtype=float)
    if x.ndim != 3 or y.shape != x.shape[:2] or query.shape != x.shape[::2]:
        shapes = f"{x.shape}, {y.shape} and {query.shape}"
        raise ValueError(
            f"prompts are x (P, N, D), y (P, N) and query (P, D), not {shapes}"
        )
    return x, y, query
