"""Separate heads that are still small: an exactly solvable flow that ends at a finite time.

While a head is small the force G on it is that of the others, constant on a plateau, and in flow time

    dv/dt = Σ_r k_rᵀ G q_r        dk_r/dt = v G q_r        dq_r/dt = v Gᵀ k_r

With G = Σ_d g_d x_d y_dᵀ (its singular value decomposition), τ = ∫ v dt, k_rd = x_dᵀk_r and q_rd = y_dᵀq_r, sums
and differences k_rd ± q_rd grow as exp(±g_d τ), and v² − Σ|k_r|² is conserved: what is left is the motion of τ
alone, d²τ/dt² = Σ_rd g_d k_rd q_rd, in a potential without a minimum. It reaches infinity at a finite time, where
the head is dominated by the largest g_d. Scaling a head by ε scales its time by 1/ε. Source: Zhang et al. 2025
(arXiv 2501.16265) treat the balanced, aligned head; this is the same phase from any weights.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....models.attention import Separate
from ....runtime.arrays import FloatArray
from ...ode import Stop

_LONGEST = 1000.0  # in units of 1/(size·g): a head this slow balances on a ridge of the potential, or is zero
_DIVERGED = 1e10  # in units of the largest head: the time left is then 1e-10


class SeparateHeads(NamedTuple):
    """The blocks of separate weights that move on unlimited data: v (H,), k and q (H, R, D)."""

    v: FloatArray
    k: FloatArray
    q: FloatArray

    def maps(self) -> FloatArray:
        """v_h Σ_r k_hr q_hrᵀ of each head, (H, D, D); axes in front, such as time, are kept."""
        return np.asarray(self.v[..., None, None] * (self.k.swapaxes(-1, -2) @ self.q))

    def chosen(self, mask: Any) -> "SeparateHeads":
        """The heads of a mask or list of indices."""
        return SeparateHeads(self.v[mask], self.k[mask], self.q[mask])


class Escape(NamedTuple):
    """How an idle phase ends: `duration` in flow time, the first `head`, and all `heads` as they are at the end.

    `onset` is the time at which the first head would diverge if its dominant direction did not saturate.
    """

    duration: float
    onset: float
    head: int
    heads: SeparateHeads


def separate_block(
    weights: Mapping[str, NDArray[Any]], model: Separate, dimension: int
) -> SeparateHeads:
    """The moving blocks of full-size weights value, key and query; ValueError on a missing or misshapen one."""
    arrays = {}
    for name, shape in model.shapes(dimension).items():
        if name not in weights:
            raise ValueError(
                f"separate weights are value, key and query: {name} is missing"
            )
        arrays[name] = np.asarray(weights[name], dtype=np.float64)
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} must have shape {shape}, not {arrays[name].shape}"
            )
        if not np.all(np.isfinite(arrays[name])):
            raise ValueError(f"{name} must be finite: it holds nan or inf")
    return SeparateHeads(
        arrays["value"][:, -1], arrays["key"][..., :-1], arrays["query"][..., :-1]
    )


class _Motion:
    """The phase on the directions of the force, in units where the largest head and the largest g are 1."""

    def __init__(self, heads: SeparateHeads, gains: FloatArray) -> None:
        self.size, self.rate = (
            float(max(np.max(np.abs(part)) for part in heads)),
            float(gains[0]),
        )
        self.gains = gains / self.rate
        k, q, self.v = heads.k / self.size, heads.q / self.size, heads.v / self.size
        self.plus, self.minus = k + q, k - q
        self.rising, self.falling = (
            np.sum(part**2, axis=1) * self.gains / 4 for part in (self.plus, self.minus)
        )

    def speed(self, x: FloatArray) -> FloatArray:
        """d(τ, v, t)/dσ with dσ = √(1 + max v²) dt, in which a divergence is exponential growth."""
        count = len(self.v)
        v, rate = x[count:-1], np.empty_like(x)
        growth = self.growth(x) ** 2
        rate[:count], rate[-1] = v, 1.0
        rate[count:-1] = (self.rising * growth - self.falling / growth).sum(axis=1)
        return np.asarray(rate / np.sqrt(1 + (v * v).max()))

    def values(self, x: FloatArray) -> FloatArray:
        """v of each head."""
        return np.asarray(x[len(self.v) : -1])

    def growth(self, x: FloatArray) -> FloatArray:
        """exp(g τ) (H, D), bounded for heads that drift for ever because nothing in them grows."""
        exponent = np.multiply.outer(x[: len(self.v)], self.gains)
        return np.exp(np.minimum(np.maximum(exponent, -300.0), 300.0))

    def heads(self, x: FloatArray) -> SeparateHeads:
        """The heads at (τ, v, t)."""
        growth = self.growth(x)[:, None, :]
        plus, minus = self.plus * growth, self.minus / growth
        k, q = (plus + minus) / 2, (plus - minus) / 2
        return SeparateHeads(self.values(x) * self.size, k * self.size, q * self.size)


def escape(heads: SeparateHeads, force: FloatArray, ceiling: float = np.inf) -> Escape:
    """The first of `heads` to escape under a constant `force` (D, D), and all heads when its |v| reaches `ceiling`.

    Without a ceiling they are taken at the divergence, where the escaping head itself is large but finite. Accurate
    to about 1e-10. The times are inf and `head` is −1 if no head escapes.
    """
    left, gains, right = np.linalg.svd(force)
    inside = SeparateHeads(heads.v, heads.k @ left, heads.q @ right.T)
    end = escape_along(inside, gains, ceiling)
    if end.head < 0:
        return end._replace(heads=heads)
    v, k, q = end.heads
    return end._replace(heads=SeparateHeads(v, k @ left.T, q @ right))


def escape_along(
    heads: SeparateHeads, gains: FloatArray, ceiling: float = np.inf
) -> Escape:
    """`escape` under a diagonal force: `gains` (D,) decrease, and heads are given and returned in its basis."""
    from scipy.integrate import solve_ivp

    if not any(np.any(part) for part in heads) or not gains[0] > 0:
        return Escape(np.inf, np.inf, -1, heads)
    motion = _Motion(heads, gains)
    last = min(ceiling / motion.size, _DIVERGED)
    reached = Stop(lambda x: float(np.max(np.abs(motion.values(x)))) - last)
    x, span = np.concatenate((0 * motion.v, motion.v, [0.0])), (0.0, _LONGEST)
    if reached(0.0, x) < 0:
        path = solve_ivp(
            lambda _, y: motion.speed(y),
            span,
            x,
            "DOP853",
            rtol=1e-12,
            atol=1e-13,
            events=reached,
        )
        if path.status != 1:
            return Escape(np.inf, np.inf, -1, heads)
        x = path.y_events[0][0]
    v, unit = np.abs(motion.values(x)), motion.size * motion.rate
    return Escape(
        x[-1] / unit, (x[-1] + 1 / np.max(v)) / unit, int(np.argmax(v)), motion.heads(x)
    )
