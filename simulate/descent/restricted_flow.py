"""Gradient flow of the built-in models on restricted statistics: its velocity and its Jacobian, without detours.

Only what moves is in the state: v (H,), and U (H, D²) of merged heads or k and q (H·R, D) of separate ones. With
G = b − S m, as a matrix (D, D), and m the effective map,

    merged      m = Σ v_h U_h          dv_h/dt = ⟨G, U_h⟩                dU_h/dt = v_h G
    separate    m = Σ v_h k_r q_rᵀ     dv_h/dt = Σ_r k_rᵀ G q_r          dk_r/dt = v_h G q_r, dq_r/dt = v_h Gᵀ k_r
"""

from typing import NamedTuple, Protocol

import numpy as np

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


class MergedField(NamedTuple):
    """H merged heads."""

    heads: int
    stats: Statistics

    def velocity(self, y: FloatArray) -> FloatArray:
        """dy/dt (n,)."""
        v, U = self._parts(y)
        G = self.stats.b - self.stats.form @ (v @ U)
        return np.concatenate((U @ G, np.outer(v, G).ravel()))

    def jacobian(self, y: FloatArray) -> FloatArray:
        """∂(dy/dt)/∂y (n, n)."""
        v, U = self._parts(y)
        H, S = self.heads, self.stats.S
        G = self.stats.b - S @ (v @ U)
        SU = U @ S
        J = np.empty((y.size, y.size))
        J[:H, :H] = -SU @ U.T
        edge = np.einsum("hg,m->hgm", np.eye(H), G) - np.einsum("g,hm->hgm", v, SU)
        J[:H, H:] = edge.reshape(H, -1)
        J[H:, :H] = J[:H, H:].T
        J[H:, H:] = np.kron(np.outer(-v, v), S)
        return J

    def _parts(self, y: FloatArray) -> tuple[FloatArray, FloatArray]:
        return y[: self.heads], y[self.heads :].reshape(self.heads, -1)


class SeparateField(NamedTuple):
    """H separate heads of rank R."""

    heads: int
    rank: int
    stats: Statistics

    def velocity(self, y: FloatArray) -> FloatArray:
        """dy/dt (n,)."""
        v, k, q = self._parts(y)
        repeated = np.repeat(v, self.rank)[:, None]
        vk = repeated * k
        G = self._force((vk.T @ q).ravel())
        Gq = q @ G.T
        dv = np.sum((k * Gq).reshape(self.heads, -1), axis=1)
        return np.concatenate((dv, (repeated * Gq).ravel(), (vk @ G).ravel()))

    def jacobian(self, y: FloatArray) -> FloatArray:
        """∂(dy/dt)/∂y (n, n): −Pᵀ S P with P = ∂m/∂y, and G times the second derivatives of m."""
        v, k, q = self._parts(y)
        repeated = np.repeat(v, self.rank)
        vk = repeated[:, None] * k
        G = self._force((vk.T @ q).ravel())
        form, first, second = self.stats.form, self.heads, self.heads + k.size
        J = (
            self._on_moments(y, form)
            if isinstance(form, Kronecker)
            else self._on_form(y, form)
        )
        own = np.repeat(
            np.eye(self.heads), self.rank, axis=1
        )  # which pairs a head has, (H, H·R)
        J[:first, first:second] += np.einsum("hp,pi->hpi", own, q @ G.T).reshape(
            first, -1
        )
        J[:first, second:] += np.einsum("hp,pj->hpj", own, k @ G).reshape(first, -1)
        J[first:second, second:] += np.kron(np.diag(repeated), G)
        J[first:, :first] = J[:first, first:].T
        J[second:, first:second] = J[first:second, second:].T
        return J

    def _on_form(self, y: FloatArray, S: FloatArray) -> FloatArray:
        """−Pᵀ S P (n, n) of a form that is written out."""
        v, k, q = self._parts(y)
        repeated, eye = np.repeat(v, self.rank)[:, None], np.eye(self.stats.dimension)
        P = np.concatenate(
            (
                self._products(k, q),
                np.einsum("ai,pj->paij", eye, repeated * q).reshape(k.size, -1),
                np.einsum("pi,aj->paij", repeated * k, eye).reshape(q.size, -1),
            )
        )
        return np.asarray(-P @ (P @ S).T)

    def _on_moments(self, y: FloatArray, form: Kronecker) -> FloatArray:
        """−Pᵀ (A ⊗ Λ) P (n, n), whose blocks are products of small matrices."""
        v, k, q = self._parts(y)
        A, Λ, D = form.A, form.Lambda, self.stats.dimension
        repeated = np.repeat(v, self.rank)[:, None]
        vk, vq = repeated * k, repeated * q
        products = self._products(k, q)
        moved = (A @ products.reshape(-1, D, D) @ Λ).reshape(products.shape)
        first, second = self.heads, self.heads + k.size
        J = np.empty((y.size, y.size))
        J[:first, :first] = -products @ moved.T
        J[:first, first:second] = -np.einsum(
            "hij,pj->hpi", moved.reshape(-1, D, D), vq
        ).reshape(first, -1)
        J[:first, second:] = -np.einsum(
            "hij,pi->hpj", moved.reshape(-1, D, D), vk
        ).reshape(first, -1)
        J[first:second, first:second] = np.kron(-vq @ Λ @ vq.T, A)
        J[second:, second:] = np.kron(-vk @ A @ vk.T, Λ)
        across = np.einsum("ri,pj->pirj", -vk @ A, vq @ Λ)
        J[first:second, second:] = across.reshape(k.size, -1)
        return J

    def _products(self, k: FloatArray, q: FloatArray) -> FloatArray:
        """Σ_r k_r q_rᵀ = ∂m/∂v of each head, (H, D²)."""
        shape = (self.heads, self.rank, -1)
        together = np.einsum("hri,hrj->hij", k.reshape(shape), q.reshape(shape))
        return np.asarray(together.reshape(self.heads, -1))

    def _force(self, m: FloatArray) -> FloatArray:
        D = self.stats.dimension
        return np.asarray(self.stats.b - self.stats.form @ m).reshape(D, D)

    def _parts(self, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        D, pairs = self.stats.dimension, self.heads * self.rank
        k, q = y[self.heads :].reshape(2, pairs, D)
        return y[: self.heads], k, q


def block_field(model: Parametrization, stats: Statistics) -> Field:
    """The field of a built-in model on restricted statistics; TypeError for another model."""
    if isinstance(model, Merged):
        return MergedField(model.head_count, stats)
    if isinstance(model, Separate):
        return SeparateField(model.head_count, model.rank, stats)
    raise TypeError(
        f"{type(model).__name__} has no known velocity on the restricted block"
    )
