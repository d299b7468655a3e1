"""Separate heads that are still small: an exactly solvable flow that ends at a finite time.

While a head is small the residual correlation G is that of the others, constant on a plateau, and in flow time

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

# In units of 1/(size·g): a head this slow balances on a ridge of the potential, or is zero.
_LONGEST = 1000.0
# In units of the largest head: the time left is then 1e-10.
_DIVERGED = 1e10
# Exponents of heads that drift for ever, because nothing in them grows, end here: their squares are numbers.
_LARGEST_EXPONENT = 300.0


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
    """How an escape ends: `duration` in flow time, the first `head`, and all `heads` as they are at the end.

    `blow_up_time` is when the first head would diverge if its dominant direction did not saturate.
    """

    duration: float
    blow_up_time: float
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
    """Heads on the directions of G, in units where the largest head and the largest g are 1."""

    def __init__(self, heads: SeparateHeads, rates: FloatArray) -> None:
        self.size = float(max(np.max(np.abs(block)) for block in heads))
        self.rate = float(rates[0])
        self.rates = rates / self.rate  # g_d (D,)
        self.v = heads.v / self.size
        k = heads.k / self.size
        q = heads.q / self.size
        self.plus = k + q  # (H, R, D), grows as e^{gτ}
        self.minus = k - q  # decays as e^{−gτ}
        # Σ_r g_d k_rd q_rd = rising e^{2gτ} − falling e^{−2gτ}, (H, D) each.
        self.rising = np.sum(self.plus**2, axis=1) * self.rates / 4
        self.falling = np.sum(self.minus**2, axis=1) * self.rates / 4

    def speed(self, x: FloatArray) -> FloatArray:
        """d(τ, v, t)/dσ with dσ = √(1 + max v²) dt, in which a divergence is exponential growth."""
        count = len(self.v)
        v = self.values(x)
        growth = self.growth(x) ** 2
        slope = np.empty_like(x)
        slope[:count] = v
        slope[count:-1] = (self.rising * growth - self.falling / growth).sum(axis=1)
        slope[-1] = 1.0
        return np.asarray(slope / np.sqrt(1 + (v * v).max()))

    def values(self, x: FloatArray) -> FloatArray:
        """v of each head."""
        return np.asarray(x[len(self.v) : -1])

    def growth(self, x: FloatArray) -> FloatArray:
        """exp(g τ) (H, D), bounded for heads that drift for ever because nothing in them grows."""
        exponent = np.multiply.outer(x[: len(self.v)], self.rates)
        bounded = np.minimum(
            np.maximum(exponent, -_LARGEST_EXPONENT), _LARGEST_EXPONENT
        )
        return np.exp(bounded)

    def heads(self, x: FloatArray) -> SeparateHeads:
        """The heads at (τ, v, t)."""
        growth = self.growth(x)[:, None, :]
        plus = self.plus * growth
        minus = self.minus / growth
        k = (plus + minus) / 2
        q = (plus - minus) / 2
        return SeparateHeads(self.values(x) * self.size, k * self.size, q * self.size)


def escape(
    heads: SeparateHeads, residual_correlation: FloatArray, ceiling: float = np.inf
) -> Escape:
    """The first of `heads` to escape under a constant G (D, D), and all heads when its |v| reaches `ceiling`.

    Without a ceiling they are taken at the divergence, where the escaping head itself is large but finite. Accurate
    to about 1e-10. The times are inf and `head` is −1 if no head escapes.
    """
    left, rates, right = np.linalg.svd(residual_correlation)
    inside = SeparateHeads(heads.v, heads.k @ left, heads.q @ right.T)
    end = escape_along(inside, rates, ceiling)
    if end.head < 0:
        return end._replace(heads=heads)
    v, k, q = end.heads
    return end._replace(heads=SeparateHeads(v, k @ left.T, q @ right))


def escape_along(
    heads: SeparateHeads, rates: FloatArray, ceiling: float = np.inf
) -> Escape:
    """`escape` under G = diag(rates): `rates` (D,) decrease, and heads are given and returned in its basis."""
    no_escape = Escape(np.inf, np.inf, -1, heads)
    if not any(np.any(block) for block in heads) or not rates[0] > 0:
        return no_escape
    motion = _Motion(heads, rates)
    last = min(ceiling / motion.size, _DIVERGED)
    reached = Stop(lambda x: float(np.max(np.abs(motion.values(x)))) - last)
    x = np.concatenate((np.zeros_like(motion.v), motion.v, [0.0]))  # τ, v and t
    if reached(0.0, x) < 0:
        end = _end(motion, x, reached)
        if end is None:
            return no_escape
        x = end

    return _escape_at(motion, x)


def _escape_at(motion: _Motion, x: FloatArray) -> Escape:
    """The escape that ends at (τ, v, t)."""
    v = np.abs(motion.values(x))
    unit = motion.size * motion.rate  # of 1/time
    blow_up_time = x[-1] + 1 / np.max(v)  # a head grows as 1/(g (T − t))
    first = int(np.argmax(v))
    return Escape(x[-1] / unit, blow_up_time / unit, first, motion.heads(x))


def _end(motion: _Motion, x: FloatArray, reached: Stop) -> FloatArray | None:
    """(τ, v, t) where the motion from x comes to what is to be `reached`; None if it never does."""
    from scipy.integrate import solve_ivp

    path = solve_ivp(
        lambda _, y: motion.speed(y),
        (0.0, _LONGEST),
        x,
        method="DOP853",
        rtol=1e-12,
        atol=1e-13,
        events=reached,
    )
    return np.asarray(path.y_events[0][0]) if path.status == 1 else None
