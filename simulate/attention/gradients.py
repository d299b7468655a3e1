"""From gradients with respect to the heads (a, B) to gradients with respect to a model's weights."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from .heads import heads_of
from .model_check import STEP

Pullback = Callable[[Weights, FloatArray, FloatArray], Weights]


def pullback(model: Parametrization) -> Pullback:
    """The function (weights, ∂L/∂a, ∂L/∂B) → ∂L/∂weights of a model.

    By hand for `Merged` and `Separate`; by complex step through `heads` for a model of the user's own, which
    therefore must be analytic in its weights: `model_check.refuse_unfit` says whether it is.
    """
    if isinstance(model, Merged):
        return _merged
    if isinstance(model, Separate):
        return _separate
    return lambda weights, grad_a, grad_B: by_complex_step(
        model, weights, grad_a, grad_B
    )


def _merged(weights: Weights, grad_a: FloatArray, grad_B: FloatArray) -> Weights:
    key_query = np.zeros_like(weights["key_query"])
    key_query[..., :-1] = grad_B
    return {"value": grad_a, "key_query": key_query}


def _separate(weights: Weights, grad_a: FloatArray, grad_B: FloatArray) -> Weights:
    key, query = weights["key"], weights["query"]
    grad_query = np.zeros_like(query)
    grad_query[..., :-1] = key @ grad_B
    return {
        "value": grad_a,
        "key": query[..., :-1] @ grad_B.swapaxes(-1, -2),
        "query": grad_query,
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
            gradients[name][index] = (
                np.vdot(grad_a, a.imag) + np.vdot(grad_B, B.imag)
            ) / STEP
            value[index] = weights[name][
                index
            ]  # only now: a and B may be views of the shifted weights
    return gradients
