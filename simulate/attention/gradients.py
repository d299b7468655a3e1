"""From gradients with respect to the heads (a, B) to gradients with respect to a model's weights."""

from collections.abc import Callable
from functools import partial

import numpy as np

from ...models.attention import Merged, Separate
from ...models.factorised import Factorised
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from .heads import heads_of
from .model_check import STEP

Pullback = Callable[[Weights, FloatArray, FloatArray], Weights]


def pullback(model: Parametrization) -> Pullback:
    """The function (weights, ∂L/∂a, ∂L/∂B) → ∂L/∂weights of a model.

    By hand for the built-in models, and for one of the user's own that has a `pullback`; else by complex step through
    its `heads`, which must be analytic in the weights: `model_check.refuse_unfit` says whether both are right.
    """
    if isinstance(model, Merged):
        return _merged
    if isinstance(model, Separate):
        return _separate
    if isinstance(model, Factorised):
        return _factorised
    own: Pullback | None = getattr(model, "pullback", None)
    return partial(by_complex_step, model) if own is None else own


def _merged(weights: Weights, grad_a: FloatArray, grad_B: FloatArray) -> Weights:
    """a is the value and B the key-query matrix without the columns that meet the query's masked y."""
    D = grad_B.shape[-1]
    key_query = np.zeros_like(weights["key_query"])
    key_query[..., :D] = grad_B
    return {"value": grad_a, "key_query": key_query}


def _separate(weights: Weights, grad_a: FloatArray, grad_B: FloatArray) -> Weights:
    """B = Σ_r k_r q_rᵀ without the query's last entries, which meet the masked y."""
    D = grad_B.shape[-1]
    key = weights["key"]
    query = weights["query"]
    grad_query = np.zeros_like(query)
    grad_query[..., :D] = key @ grad_B
    grad_key = query[..., :D] @ grad_B.swapaxes(-1, -2)
    return {"value": grad_a, "key": grad_key, "query": grad_query}


def _factorised(weights: Weights, grad_a: FloatArray, grad_B: FloatArray) -> Weights:
    """a = output value, and B = keyᵀ query as in separate attention."""
    key_gradients = _separate(weights, grad_a, grad_B)
    grad_rows = grad_a[:, None, :] if grad_a.ndim == 2 else grad_a  # (H, K, D+K)
    return {
        "output": grad_rows @ weights["value"].swapaxes(-1, -2),
        "value": weights["output"].swapaxes(-1, -2) @ grad_rows,
        "key": key_gradients["key"],
        "query": key_gradients["query"],
    }


def by_complex_step(
    model: Parametrization, weights: Weights, grad_a: FloatArray, grad_B: FloatArray
) -> Weights:
    """∂L/∂weights of any analytic parametrization: one evaluation of `heads` a weight, exact to rounding."""
    gradients = {name: np.zeros(np.shape(value)) for name, value in weights.items()}
    shifted = {
        name: np.array(value, dtype=np.complex128) for name, value in weights.items()
    }
    for name, value in shifted.items():
        for index in np.ndindex(value.shape):
            value[index] += 1j * STEP
            a, B = heads_of(model, shifted)
            slope = np.vdot(grad_a, a.imag) + np.vdot(grad_B, B.imag)
            gradients[name][index] = slope / STEP
            # Only now: a and B may be views of the shifted weights.
            value[index] = weights[name][index]
    return gradients
