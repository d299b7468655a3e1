"""The restricted block, value rows off x and keys off y: who is inside it, and descent there in O(D³)."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Separate
from ...models.protocol import Parametrization, Weights
from ..attention.heads import heads_of
from .quadratic_loss import Statistics


def refuse_outside(model: Parametrization, weights: Weights) -> None:
    """ValueError if the heads of these weights leave the block that restricted statistics know."""
    if isinstance(model, Separate):  # B would be large, and only its last row is needed
        value, key, query = (
            np.asarray(weights[name]) for name in ("value", "key", "query")
        )
        outside = value[:, :-1].any() or (key[:, None, :, -1] @ query[..., :-1]).any()
    else:
        a, B = heads_of(model, weights)
        outside = a[:, :-1].any() or B[:, -1].any()
    if outside:
        raise ValueError(
            "restricted statistics need value rows off x and keys off y: "
            'zero them (scheme "restricted"), or make statistics of the full block'
        )


def separate_on_block(
    model: Separate, stats: Statistics
) -> Callable[[Weights], tuple[float, Weights]]:
    """The objective of separate key and query on restricted statistics, with no B of D² numbers a head."""
    D, b = stats.dimension, stats.b

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        refuse_outside(model, weights)
        key, query = (
            weights[name][..., :-1].reshape(-1, D) for name in ("key", "query")
        )  # (H·R, D)
        v = np.repeat(weights["value"][:, -1], weights["key"].shape[1])[:, None]
        m = ((v * key).T @ query).ravel()
        Sm = stats.form @ m
        slope = 2.0 * (Sm - b).reshape(D, D)
        pulled = key @ slope
        gradients = {name: np.zeros(value.shape) for name, value in weights.items()}
        gradients["value"][:, -1] = (
            (pulled * query).reshape(len(gradients["value"]), -1).sum(axis=1)
        )
        gradients["key"][..., :-1] = (v * (query @ slope.T)).reshape(
            *weights["key"].shape[:2], D
        )
        gradients["query"][..., :-1] = (v * pulled).reshape(
            *weights["query"].shape[:2], D
        )
        return stats.c + float(m @ (Sm - 2.0 * b)), gradients

    return evaluate
