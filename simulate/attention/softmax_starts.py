"""Starts of softmax heads in the symmetric family, where two numbers a head are all that training moves."""

import numpy as np
from numpy.typing import ArrayLike

from ...models.attention import Merged, Separate
from ...models.divisors import score_divisor
from ...models.factorised import Factorised
from ...models.protocol import Parametrization, Weights, is_softmax, outputs_of
from ...runtime.arrays import FloatArray
from ...runtime.checks import finite_array, refuse_wrong_order
from ...task import Task
from ..data.prompts import Data


def symmetric_weights(
    model: Parametrization, task: Task | Data, omega: ArrayLike, mu: ArrayLike
) -> Weights:
    """The weights of softmax heads B_h = s (ω_h 1; 0), a_h = (0, μ_h) with `omega`, `mu` (H,) and score divisor s.

    Scores are then ω_h x_nᵀx_q. Separate keys and queries share |s ω_h| equally, as do the output and value of
    `Factorised`; the query has the sign of ω_h, and the value that of μ_h. ValueError for linear attention, several
    outputs, another number of heads, or a rank below D.
    Source: the symmetric family of He et al. 2025 (arXiv 2503.12734).

    >>> task = Task([1, 1], context_length=9)
    >>> symmetric_weights(Merged(1, softmax=True, score_divisor=2), task, [0.3], [0.1])["key_query"]
    array([[[0.6, 0. , 0. ],
            [0. , 0.6, 0. ],
            [0. , 0. , 0. ]]])
    """
    in_order = isinstance(model, Parametrization) and hasattr(task, "dimension")
    call = "symmetric_weights(model, task, omega, mu)"
    refuse_wrong_order(call, in_order, model, task)
    _refuse_other_models(model)
    assert isinstance(model, Merged | Separate | Factorised)
    D, H = task.dimension, model.head_count
    ω = finite_array(omega, "omega", "(H,)", H=H)
    μ = finite_array(mu, "mu", "(H,)", H=H)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    scores = score_divisor(model, D) * ω  # (H,), the diagonal of B_h
    if isinstance(model, Merged):
        weights["key_query"][:, :D, :D] = _multiples_of_identity(scores, D)
    else:
        _set_keys_and_queries(weights, scores, D)
    if isinstance(model, Factorised):
        root = np.sqrt(np.abs(μ))
        weights["output"][:, 0, 0] = root
        weights["value"][:, 0, -1] = np.sign(μ) * root
    else:
        weights["value"][:, -1] = μ
    return weights


def _set_keys_and_queries(weights: Weights, scores: FloatArray, dimension: int) -> None:
    """Keys and queries whose product is scores (H,) times the identity; ValueError where their rank is below D."""
    D = dimension
    _refuse_low_rank(weights["key"].shape[1], D)
    root = np.sqrt(np.abs(scores))
    weights["key"][:, :D, :D] = _multiples_of_identity(root, D)
    weights["query"][:, :D, :D] = _multiples_of_identity(np.sign(scores) * root, D)


def _multiples_of_identity(factors: FloatArray, dimension: int) -> FloatArray:
    """factors (H,) times the identity, (H, D, D)."""
    return np.multiply.outer(factors, np.eye(dimension))


def _refuse_other_models(model: Parametrization) -> None:
    """ValueError for a model that has no heads of the symmetric family."""
    is_built_in = isinstance(model, Merged | Separate | Factorised)
    if not is_built_in or not is_softmax(model):
        raise ValueError(
            "omega and mu are the two numbers of a softmax head of Merged, Separate or Factorised with softmax=True, "
            f"not of {model!r}: use initial_weights(model, task, scale)"
        )
    if outputs_of(model) != 1:
        raise ValueError(
            f"omega and mu are known for one output, not for {outputs_of(model)}: use initial_weights, or arrays"
        )


def _refuse_low_rank(rank: int, dimension: int) -> None:
    """ValueError for keys that cannot hold a multiple of the identity."""
    if rank < dimension:
        raise ValueError(
            f"heads omega x need keys of a rank of at least D = {dimension}, and this model has rank = {rank}: "
            f"use rank={dimension}, or Merged"
        )
