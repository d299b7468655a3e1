"""The restricted block, value rows off x and keys off y: who is inside it, and descent there in O(D³)."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...models.attention import Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
from ..attention.heads import heads_of
from .quadratic_loss import Statistics


def refuse_outside(model: Parametrization, weights: Weights, dimension: int) -> None:
    """ValueError if the heads of these weights leave the block that restricted statistics know, for x of D entries."""
    if _is_outside(model, weights, dimension):
        raise ValueError(
            "restricted statistics need value rows off x and keys off y: "
            'zero them (scheme "restricted"), or make statistics of the full block'
        )


def _is_outside(model: Parametrization, weights: Weights, D: int) -> bool:
    """Whether a value row reads x, or one of the last rows of a B, those of y, is not zero."""
    if isinstance(model, Separate):
        # B would be large, and only its last rows Σ_r k_ry q_r are needed.
        a = np.asarray(weights["value"])
        key = np.asarray(weights["key"])
        query = np.asarray(weights["query"])
        key_y = key[..., D:]  # (H, R, K)
        last_rows = key_y.swapaxes(1, 2) @ query[..., :D]
    else:
        a, B = heads_of(model, weights)
        last_rows = B[:, D:]
    reads_x = a[..., :D].any()
    return bool(reads_x or last_rows.any())


class BlockHeads(NamedTuple):
    """What moves on the block: the label entry of the values, keys and queries without theirs.

    Pairs p = (h, r) stand in one axis, so that one product of matrices does each contraction; v of a head belongs to
    each of its pairs.
    """

    v: FloatArray
    """(p, 1)."""
    k: FloatArray
    """(p, D)."""
    q: FloatArray
    """(p, D)."""

    @classmethod
    def of(cls, weights: Weights) -> "BlockHeads":
        """The heads of separate attention with these weights."""
        rank, size = weights["key"].shape[1:]
        D = size - 1
        v = weights["value"][:, -1]  # (H,)
        k = weights["key"][..., :-1]  # (H, R, D)
        q = weights["query"][..., :-1]  # (H, R, D)
        return cls(
            v=np.repeat(v, rank)[:, None],
            k=k.reshape(-1, D),
            q=q.reshape(-1, D),
        )

    def effective_map(self) -> FloatArray:
        """M = Σ_p v_p k_p q_pᵀ (D, D)."""
        weighted_keys = self.v * self.k
        M: FloatArray = weighted_keys.T @ self.q
        return M

    def gradients(self, dL_dM: FloatArray, weights: Weights) -> Weights:
        """∂L/∂weights from ∂L/∂M (D, D), zero outside the block."""
        k_dL_dM = self.k @ dL_dM  # (p, D)
        dL_dk = self.v * (self.q @ dL_dM.T)  # (p, D)
        dL_dq = self.v * k_dL_dM  # (p, D)
        dL_dv = k_dL_dM * self.q  # to be summed over the pairs of a head and over D

        gradients = {name: np.zeros(value.shape) for name, value in weights.items()}
        heads = len(gradients["value"])
        gradients["value"][:, -1] = dL_dv.reshape(heads, -1).sum(axis=1)
        inside = (..., slice(None, -1))  # keys and queries without the entry of y
        block = gradients["key"][inside].shape
        gradients["key"][inside] = dL_dk.reshape(block)
        gradients["query"][inside] = dL_dq.reshape(block)
        return gradients


def separate_on_block(
    model: Separate, stats: Statistics
) -> Callable[[Weights], tuple[float, Weights]]:
    """The objective of separate key and query on restricted statistics, with no B of D² numbers a head.

    L(M) = c − 2⟨b, M⟩ + ⟨M, S M⟩ with M = Σ_hr v_h k_hr q_hrᵀ, for one output (Zhang et al. 2025, Section 2.2).
    """

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        refuse_outside(model, weights, stats.dimension)
        heads = BlockHeads.of(weights)
        M = heads.effective_map()
        loss, half_slope = stats.loss_of_features(M.ravel())
        dL_dM = 2.0 * half_slope.reshape(M.shape)
        return loss, heads.gradients(dL_dM, weights)

    return evaluate
