"""The flow of all separate heads under weight decay, from any weights and on any task.

    dv_h/dt = Σ_r k_hrᵀ G q_hr − δ v_h        dk_hr/dt = v_h G q_hr − δ k_hr        dq_hr/dt = v_h Gᵀ k_hr − δ q_hr

in flow time, with G = B − A M Λ, M = Σ_h v_h Σ_r k_hr q_hrᵀ and δ = wd/2. Decay bounds how long anything small can
wait, since it dies meanwhile: plain integration follows it, where the flow without decay takes a staircase. Source:
Zhang et al. 2025 (arXiv 2501.16265) for the flow, with decay added here.
"""

from typing import NamedTuple

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import nonnegative_number
from ..moments.population_loss import Population
from ..ode import in_units, integrate
from .saddle_to_saddle.escapes import SeparateHeads

# Of weights, in units of those at the fixed point: beyond, they fall too fast to be followed.
_LARGEST = 1e3
# Rates below this share of the smallest weight at the start are settled: what has died leaves only rounding.
_DEAD = 1e-9


class DecayedHeads(NamedTuple):
    """Weights at each time: v (T, H), k and q (T, H, R, D)."""

    v: FloatArray
    k: FloatArray
    q: FloatArray

    @property
    def maps(self) -> FloatArray:
        """M (T, D, D)."""
        pairs = np.einsum("thri,thrj->thij", self.k, self.q)
        return np.asarray(np.einsum("th,thij->tij", self.v, pairs))

    def amplitudes(self, basis: FloatArray) -> FloatArray:
        """κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over heads and their pairs, (T, D), for the columns e_d of the basis."""
        products = np.abs((self.k @ basis) * (self.q @ basis))  # (T, H, R, D)
        return np.asarray(np.sqrt(np.sum(products, axis=(1, 2))))


def decayed_heads(
    population: Population,
    flow_time: FloatArray,
    heads: SeparateHeads,
    weight_decay: float,
) -> DecayedHeads:
    """The weights at each `flow_time` (T,) of the flow of `heads` under a weight decay. Accurate to about 1e-8.

    ValueError for weights far above those that the flow tends to, ArithmeticError where the solver gives up.
    """
    δ = nonnegative_number(weight_decay, "weight_decay") / 2
    size = float(np.cbrt(np.max(np.abs(population.minimum))))
    start = np.concatenate([block.ravel() for block in heads])
    _refuse_far(start, size)

    # The fastest of growth and decay sets the unit of time, the learned weights that of weights.
    unit = max(float(np.linalg.norm(population.B)) * size, δ)
    flow = _Flow(population, heads, size, unit, δ)
    times = in_units(flow_time, unit)
    weights = np.abs(start[start != 0]) / size
    settled = _DEAD * float(np.min(weights, initial=1.0))
    values = integrate(flow.rate, start / size, times, settled=settled)
    return DecayedHeads(*flow.blocks(size * values))


def _refuse_far(start: FloatArray, size: float) -> None:
    """ValueError for weights far above the size of those that the flow tends to."""
    largest = float(np.max(np.abs(start), initial=0.0))
    if largest > _LARGEST * size:
        raise ValueError(
            f"initial weights of {largest:.3g} are too large: choose some below {_LARGEST * size:.3g}"
        )


class _Flow:
    """The equations of all weights in one row x, in units of `size`, and of `unit` for rates."""

    def __init__(
        self,
        population: Population,
        heads: SeparateHeads,
        size: float,
        unit: float,
        δ: float,
    ) -> None:
        self.shapes = [block.shape for block in heads]
        self.ends = np.cumsum([block.size for block in heads])[:-1]
        self.B = population.B * (size / unit)
        self.A = population.A * (size**4 / unit)
        self.Lambda = population.Lambda
        self.decay = δ / unit

    def blocks(self, x: FloatArray) -> list[FloatArray]:
        """v (…, H), k and q (…, H, R, D) of rows x (…, n)."""
        rows = np.split(x, self.ends, axis=-1)
        return [
            row.reshape(*x.shape[:-1], *shape)
            for row, shape in zip(rows, self.shapes, strict=True)
        ]

    def rate(self, x: FloatArray) -> FloatArray:
        """dx/dt (n,)."""
        v, k, q = self.blocks(x)
        values = v[:, None, None]  # (H, 1, 1)
        M = np.tensordot(values * k, q, axes=((0, 1), (0, 1)))  # (D, D)
        G = self.B - self.A @ M @ self.Lambda

        Gq = q @ G.T  # (H, R, D)
        Gk = k @ G  # Gᵀk
        dv = np.sum(k * Gq, axis=(1, 2))
        grown = np.concatenate((dv, (values * Gq).ravel(), (values * Gk).ravel()))
        return np.asarray(grown - self.decay * x)
