"""The flow of all separate heads under weight decay, from any weights and on any task, singular ones included.

    dv_h/dt = Σ_r k_hrᵀ G q_hr − δ v_h        dk_hr/dt = v_h G q_hr − δ k_hr        dq_hr/dt = v_h Gᵀ k_hr − δ q_hr

in flow time, with G = B − A M Λ, M = Σ_h v_h Σ_r k_hr q_hrᵀ and δ = wd/2. Decay bounds how long anything small can
wait, since it dies meanwhile: plain integration follows it, where the flow without decay takes a staircase. Where no
direction has a gain (B = 0) nothing waits for anything either, and δ may be 0: heads decay, as 1/t^{1/4}. Source:
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
# Flow time, in units of the fastest rate, from which small steps cost more than a Jacobian of all weights: what has
# died or come to rest would still hold the steps of an explicit method to a few units.
_LONG = 1000.0
_LONGER = 30.0
_MOST_WEIGHTS = 1000
# What is left to move, of weights of order 1, where the flow counts as at rest; and what rounding makes of no rate, and
# of no eigenvalue. Weaker decay than the last of these is followed to the end.
_AT_REST = 1e-11
_NO_RATE = 1e-14
_NO_GROWTH = 1e-13
_WEAKEST_DECAY = 1e-12
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
    start = np.concatenate([block.ravel() for block in heads])
    largest = float(np.max(np.abs(start), initial=0.0))
    size = float(np.cbrt(np.max(np.abs(population.minimum)))) or largest or 1.0
    _refuse_far(start, size)

    # The fastest of growth and decay sets the unit of time, the learned weights that of weights.
    rate = float(np.linalg.norm(population.B)) * size
    if population.direction_count == 0:
        A, Λ = population.A, population.Lambda
        rate = float(np.linalg.norm(A) * np.linalg.norm(Λ)) * size**4
    unit = max(rate, δ) or 1.0  # any, where nothing moves
    flow = _Flow(population, heads, size, unit, δ)
    times = in_units(flow_time, unit)
    weights = np.abs(start[start != 0]) / size
    settled = _DEAD * float(np.min(weights, initial=1.0))
    values = _followed(flow, start / size, times, settled)
    return DecayedHeads(*flow.blocks(size * values))


def _refuse_far(start: FloatArray, size: float) -> None:
    """ValueError for weights far above the size of those that the flow tends to."""
    largest = float(np.max(np.abs(start), initial=0.0))
    if largest > _LARGEST * size:
        raise ValueError(
            f"initial weights of {largest:.3g} are too large: choose some below {_LARGEST * size:.3g}"
        )


def _followed(
    flow: "_Flow", start: FloatArray, times: FloatArray, settled: float
) -> FloatArray:
    """The weights x (T, n) at all times, of which those after the flow has come to rest are not integrated."""
    last = int(np.argmax(times))
    horizon = _LONG
    while True:
        values = integrate(
            flow.rate,
            start,
            np.minimum(times, horizon),
            jacobian=flow.jacobian if horizon > _LONG else None,
            settled=settled,
            most_dense=_MOST_WEIGHTS,
        )
        left = times[last] - horizon
        if left <= 0 or flow.is_at_rest(values[last], left):
            return values
        horizon *= _LONGER


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
        G = self._force(v, k, q)
        Gq = q @ G.T  # (H, R, D)
        Gk = k @ G  # Gᵀk
        dv = np.sum(k * Gq, axis=(1, 2))
        grown = np.concatenate((dv, (values * Gq).ravel(), (values * Gk).ravel()))
        return np.asarray(grown - self.decay * x)

    def _force(self, v: FloatArray, k: FloatArray, q: FloatArray) -> FloatArray:
        """G = B − A M Λ (D, D)."""
        M = np.tensordot(v[:, None, None] * k, q, axes=((0, 1), (0, 1)))
        return np.asarray(self.B - self.A @ M @ self.Lambda)

    def is_at_rest(self, x: FloatArray, time: float) -> bool:
        """Whether no weight moves any more in the time that is left, by the linear flow around x (n,)."""
        if self.decay < _WEAKEST_DECAY or len(x) > _MOST_WEIGHTS:
            return False
        # The Jacobian is symmetric: it is that of the slope of a loss.
        eigenvalues, modes = np.linalg.eigh(self.jacobian(x))
        if eigenvalues[-1] > _NO_GROWTH:
            return False
        rates = np.abs(modes.T @ self.rate(x))
        rates[rates < _NO_RATE] = 0.0
        shrinking = np.maximum(-eigenvalues, 1 / time)
        return bool(np.all(rates <= _AT_REST * shrinking))

    def jacobian(self, x: FloatArray) -> FloatArray:
        """∂(dx/dt)/∂x (n, n).

        The rates are Jᵀ vec G less the decay, with J = ∂(vec M)/∂x: the slope of that is Jᵀ (∂ vec G/∂x), where
        ∂G = −A ∂M Λ, and Σ G_ij ∂²M_ij/∂x².
        """
        v, k, q = self.blocks(x)
        H, D = len(v), k.shape[2]
        identity = np.eye(D)
        # ∂M by each weight, in the rows of Jᵀ.
        slopes = (
            np.einsum("hri,hrj->hij", k, q).reshape(H, D * D),
            np.einsum("h,ia,hrj->hraij", v, identity, q).reshape(-1, D * D),
            np.einsum("h,hri,ja->hraij", v, k, identity).reshape(-1, D * D),
        )
        J = np.concatenate(slopes)  # (n, D²)
        AJΛ = (self.A @ J.reshape(-1, D, D) @ self.Lambda).reshape(J.shape)
        second = self._second_slopes(v, k, q)
        return np.asarray(second + second.T - J @ AJΛ.T - self.decay * np.eye(len(x)))

    def _second_slopes(self, v: FloatArray, k: FloatArray, q: FloatArray) -> FloatArray:
        """Σ G_ij ∂²M_ij/∂x_m ∂x_n (n, n) with each pair of weights once."""
        H, R, D = k.shape
        G = self._force(v, k, q)
        keys = H + np.arange(H * R * D).reshape(H, R, D)  # places of the weights in x
        queries = keys + H * R * D
        second = np.zeros((H + 2 * H * R * D, H + 2 * H * R * D))
        for h, r in np.ndindex(H, R):
            second[h, keys[h, r]] = G @ q[h, r]
            second[h, queries[h, r]] = G.T @ k[h, r]
            second[np.ix_(keys[h, r], queries[h, r])] = v[h] * G
        return second
