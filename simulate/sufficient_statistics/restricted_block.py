"""The restricted block, value rows off x and keys off y: who is inside it, and descent there in O(D³)."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Separate
from ...models.protocol import Parametrization, Weights
from ..attention.heads import heads_of
from .quadratic_loss import Statistics


def refuse_outside(model: Parametrization, weights: Weights) -> None:
    """ValueError if the heads of these weights leave the block that restricted statistics know."""
    if _is_outside(model, weights):
        raise ValueError(
            "restricted statistics need value rows off x and keys off y: "
            'zero them (scheme "restricted"), or make statistics of the full block'
        )


def _is_outside(model: Parametrization, weights: Weights) -> bool:
    """Whether a value row reads x, or the last row of a B, that of y, is not zero."""
    if isinstance(model, Separate):
        # B would be large, and only its last row Σ_r k_ry q_r is needed.
        value = np.asarray(weights["value"])
        key_y = np.asarray(weights["key"])[..., -1]  # (H, R)
        query = np.asarray(weights["query"])[..., :-1]  # (H, R, D)
        last_rows = key_y[:, None, :] @ query
        return bool(value[:, :-1].any() or last_rows.any())
    a, B = heads_of(model, weights)
    return bool(a[:, :-1].any() or B[:, -1].any())


def separate_on_block(
    model: Separate, stats: Statistics
) -> Callable[[Weights], tuple[float, Weights]]:
    """The objective of separate key and query on restricted statistics, with no B of D² numbers a head."""
    D, b = stats.dimension, stats.b

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        refuse_outside(model, weights)
        heads, rank = weights["key"].shape[:2]

        # What moves on the block: the label entry of the values, keys and queries without theirs. Pairs p = (h, r)
        # stand in one axis, so that a product of matrices does each contraction; a head's v belongs to all of its.
        v = np.repeat(weights["value"][:, -1], rank)[:, None]  # (p, 1)
        k = weights["key"][..., :-1].reshape(-1, D)  # (p, D)
        q = weights["query"][..., :-1].reshape(-1, D)  # (p, D)

        # Effective map M = Σ_p v_p k_p q_pᵀ, and L(M) = c − 2⟨b, M⟩ + ⟨M, S M⟩ (Zhang et al. 2025, Section 2.2).
        M = ((v * k).T @ q).ravel()
        SM = stats.form @ M
        loss = stats.c + float(M @ (SM - 2.0 * b))
        dL_dM = 2.0 * (SM - b).reshape(D, D)

        k_dL_dM = k @ dL_dM  # (p, D)
        dL_dv = (k_dL_dM * q).reshape(heads, -1).sum(axis=1)
        gradients = {name: np.zeros(value.shape) for name, value in weights.items()}
        gradients["value"][:, -1] = dL_dv
        gradients["key"][..., :-1] = (v * (q @ dL_dM.T)).reshape(heads, rank, D)
        gradients["query"][..., :-1] = (v * k_dL_dM).reshape(heads, rank, D)
        return loss, gradients

    return evaluate
