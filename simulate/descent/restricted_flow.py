"""Gradient flow of the built-in models on restricted statistics: its velocity and its Jacobian, without detours.

Only what moves is in the state: v (H,), and U (H, D²) of merged heads or k and q (H·R, D) of separate ones. With
G = b − S m, as a matrix (D, D), and m the effective map,

    merged      m = Σ v_h U_h          dv_h/dt = ⟨G, U_h⟩                dU_h/dt = v_h G
    separate    m = Σ v_h k_r q_rᵀ     dv_h/dt = Σ_r k_rᵀ G q_r          dk_r/dt = v_h G q_r, dq_r/dt = v_h Gᵀ k_r

G is the residual correlation, −½ ∂L/∂m. In einsum h and g stand for heads, p and s for pairs (all heads' in a row),
r for pairs of one head, i and a for entries of keys, j and b for entries of queries.
"""

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray
from ..sufficient_statistics.quadratic_loss import Kronecker, Statistics


class Field(Protocol):
    """A velocity dy/dt and its derivative, for states (n,)."""

    def velocity(self, y: FloatArray) -> FloatArray:
        """dy/dt (n,)."""

    def jacobian(self, y: FloatArray) -> FloatArray:
        """∂(dy/dt)/∂y (n, n), symmetric since the velocity is a gradient."""


# -- Merged heads -------------------------------------------------------------------------------------------------


class MergedField(NamedTuple):
    """H merged heads."""

    heads: int
    stats: Statistics

    def velocity(self, y: FloatArray) -> FloatArray:
        """dy/dt (n,)."""
        v, U = self._heads(y)
        G = self.stats.b - self.stats.form @ (v @ U)
        return np.concatenate((U @ G, np.outer(v, G).ravel()))

    def jacobian(self, y: FloatArray) -> FloatArray:
        """∂(dy/dt)/∂y (n, n)."""
        v, U = self._heads(y)
        H, S = self.heads, self.stats.S
        G = self.stats.b - S @ (v @ U)
        SU = U @ S
        # ∂(dv_h/dt)/∂v_g = −U_hᵀ S U_g
        v_v = -SU @ U.T
        # ∂(dv_h/dt)/∂U_g = δ_hg G − v_g S U_h
        v_U = np.einsum("hg,m->hgm", np.eye(H), G) - np.einsum("g,hm->hgm", v, SU)
        v_U = v_U.reshape(H, -1)
        # ∂(dU_h/dt)/∂U_g = −v_h v_g S
        U_U = np.kron(np.outer(-v, v), S)
        return np.block([[v_v, v_U], [v_U.T, U_U]])

    def _heads(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        """v (H,) and U (H, D²)."""
        return y[: self.heads], y[self.heads :].reshape(self.heads, -1)


# -- Separate heads -----------------------------------------------------------------------------------------------


class Pairs(NamedTuple):
    """A state of separate heads by its pairs: their `v` (H·R,), equal in a head, `k` and `q` (H·R, D)."""

    v: FloatArray
    k: FloatArray
    q: FloatArray

    @property
    def vk(self) -> FloatArray:
        """v k of each pair (H·R, D): ∂m/∂q."""
        return self.v[:, None] * self.k

    @property
    def vq(self) -> FloatArray:
        """v q of each pair (H·R, D): ∂m/∂k."""
        return self.v[:, None] * self.q


class Blocks(NamedTuple):
    """The blocks of a symmetric matrix (n, n) of states of separate heads: of v, k and q with one another."""

    v_v: NDArray[Any]
    v_k: NDArray[Any]
    v_q: NDArray[Any]
    k_k: NDArray[Any]
    k_q: NDArray[Any]
    q_q: NDArray[Any]

    def matrix(self) -> FloatArray:
        """The whole matrix (n, n)."""
        return np.block(
            [
                [self.v_v, self.v_k, self.v_q],
                [self.v_k.T, self.k_k, self.k_q],
                [self.v_q.T, self.k_q.T, self.q_q],
            ]
        )


class SeparateField(NamedTuple):
    """H separate heads of rank R."""

    heads: int
    rank: int
    stats: Statistics

    def velocity(self, y: FloatArray) -> FloatArray:
        """dy/dt (n,)."""
        pairs = self._pairs(y)
        vk = pairs.vk
        G = self._residual_correlation(vk, pairs.q)
        Gq = pairs.q @ G.T
        kGq = np.sum((pairs.k * Gq).reshape(self.heads, -1), axis=1)  # (H,)
        dk = pairs.v[:, None] * Gq
        dq = vk @ G
        return np.concatenate((kGq, dk.ravel(), dq.ravel()))

    def jacobian(self, y: FloatArray) -> FloatArray:
        """∂(dy/dt)/∂y (n, n): −Pᵀ S P with P = ∂m/∂y, and G times the second derivatives of m."""
        pairs = self._pairs(y)
        G = self._residual_correlation(pairs.vk, pairs.q)
        PSP = self._projected_form(pairs)

        # ∂²m/∂v∂k = q and ∂²m/∂v∂q = k of the head's own pairs, ∂²m/∂k∂q = v of the same pair.
        of_head = np.repeat(np.eye(self.heads), self.rank, axis=1)  # (H, H·R)
        v_k = np.einsum("hp,pi->hpi", of_head, pairs.q @ G.T).reshape(self.heads, -1)
        v_q = np.einsum("hp,pj->hpj", of_head, pairs.k @ G).reshape(self.heads, -1)
        k_q = np.kron(np.diag(pairs.v), G)
        return PSP._replace(
            v_k=PSP.v_k + v_k, v_q=PSP.v_q + v_q, k_q=PSP.k_q + k_q
        ).matrix()

    def _projected_form(self, pairs: Pairs) -> Blocks:
        """−Pᵀ S P (n, n), by its blocks."""
        form = self.stats.form
        if isinstance(form, Kronecker):
            return self._kronecker(pairs, form)
        return self._dense(pairs, form)

    def _dense(self, pairs: Pairs, S: FloatArray) -> Blocks:
        """−Pᵀ S P of a form that is written out."""
        eye = np.eye(self.stats.dimension)
        size = pairs.k.size
        # Transposed derivatives of m, (·, D²) each.
        v = self._products(pairs)
        k = np.einsum("ai,pj->paij", eye, pairs.vq).reshape(size, -1)
        q = np.einsum("pi,bj->pbij", pairs.vk, eye).reshape(size, -1)
        kS, qS = k @ S, q @ S
        return Blocks(
            v_v=-v @ (v @ S).T,
            v_k=-v @ kS.T,
            v_q=-v @ qS.T,
            k_k=-k @ kS.T,
            k_q=-k @ qS.T,
            q_q=-q @ qS.T,
        )

    # Long because it writes out the six blocks of one matrix, each a product of the same small matrices.
    def _kronecker(self, pairs: Pairs, form: Kronecker) -> Blocks:
        """−Pᵀ (A ⊗ Λ) P, whose blocks are products of small matrices."""
        A, Λ = form.A, form.Lambda
        vk, vq = pairs.vk, pairs.vq
        H, D = self.heads, self.stats.dimension
        products = self._products(pairs)  # (H, D²)
        AmΛ = A @ products.reshape(-1, D, D) @ Λ  # (H, D, D)
        # −(A v_s k_s)_i (Λ v_p q_p)_j
        k_q = np.einsum("si,pj->pisj", -vk @ A, vq @ Λ)
        return Blocks(
            v_v=-products @ AmΛ.reshape(H, -1).T,
            v_k=-np.einsum("hij,pj->hpi", AmΛ, vq).reshape(H, -1),
            v_q=-np.einsum("hij,pi->hpj", AmΛ, vk).reshape(H, -1),
            k_k=np.kron(-vq @ Λ @ vq.T, A),
            k_q=k_q.reshape(pairs.k.size, -1),
            q_q=np.kron(-vk @ A @ vk.T, Λ),
        )

    def _products(self, pairs: Pairs) -> FloatArray:
        """Σ_r k_r q_rᵀ = ∂m/∂v of each head, (H, D²)."""
        shape = (self.heads, self.rank, -1)
        k, q = pairs.k.reshape(shape), pairs.q.reshape(shape)
        return np.asarray(np.einsum("hri,hrj->hij", k, q).reshape(self.heads, -1))

    def _residual_correlation(self, vk: FloatArray, q: FloatArray) -> FloatArray:
        """G = b − S m (D, D) with m = Σ v k qᵀ, vk and q (H·R, D)."""
        D = self.stats.dimension
        m = (vk.T @ q).ravel()
        return np.asarray(self.stats.b - self.stats.form @ m).reshape(D, D)

    def _pairs(self, y: FloatArray) -> Pairs:
        """The state y (n,) by its pairs."""
        shape = (self.heads * self.rank, self.stats.dimension)
        k, q = y[self.heads :].reshape(2, *shape)
        return Pairs(np.repeat(y[: self.heads], self.rank), k, q)


def block_field(model: Parametrization, stats: Statistics) -> Field:
    """The field of a built-in model on restricted statistics; TypeError for another model."""
    if isinstance(model, Merged):
        return MergedField(model.head_count, stats)
    if isinstance(model, Separate):
        return SeparateField(model.head_count, model.rank, stats)
    raise TypeError(
        f"{type(model).__name__} has no known velocity on the restricted block"
    )
