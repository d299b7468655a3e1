"""The two-layer scalar: the closed form of a product of two amplitudes under gradient flow, from any start.

Two amplitudes s and u whose product is fitted obey, in flow time,

    ds/dt = u (α − κ s u)        du/dt = s (α − κ s u)

with the growth rate α at the origin and the curvature κ: s u tends to α/κ. Balanced, s = u = w₀, the product is the
logistic curve s u = α e^{2αt} / (κ (e^{2αt} − 1) + α/w₀²). Source: Saxe et al. 2014 (arXiv 1312.6120).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from .ode import flow_times

_SMALL_SQUARE = 1e-100  # a sum of amplitudes whose square is still far from underflow
_UNBALANCED = 1e6  # s² − u² over the saturated product, which loses as many digits
_LARGEST = 1e100  # squares, and products of squares, are still far from overflow


@dataclass(frozen=True)
class _Riccati:
    """E(t) = exp 2∫(α − κ s u) dt, by which s + u grows like √E and s − u shrinks.

    s u = (Σ² E − Δ²/E)/4 with Σ = s₀ + u₀ and Δ = s₀ − u₀ turns dE/dt = 2E (α − κ s u) into

        dE/dt = 2αE − p E² + q        p = κΣ²/2        q = κΔ²/2

    whose solution from E(0) = 1 is, with r = √(α² + pq),

        E = [2r e^{−2rt} + (r + α + q)(1 − e^{−2rt})] / [r − α + (r + α) e^{−2rt} + p (1 − e^{−2rt})]
    """

    α: float
    κ: float
    total: float
    difference: float

    @property
    def p(self) -> float:
        """κΣ²/2, which ends the growth of s + u."""
        return self.κ * self.total**2 / 2

    @property
    def q(self) -> float:
        """κΔ²/2, by which s − u shrinks faster."""
        return self.κ * self.difference**2 / 2

    @property
    def r(self) -> float:
        """√(α² + pq), half the rate at which E settles."""
        return float(np.hypot(self.α, np.sqrt(self.p * self.q)))

    def numerator(self, t: FloatArray) -> FloatArray:
        """Of E at times (T,)."""
        decayed = np.exp(-2 * self.r * t)
        risen = -np.expm1(-2 * self.r * t)
        return np.asarray(2 * self.r * decayed + (self.r + self.α + self.q) * risen)

    def denominator(self, t: FloatArray) -> FloatArray:
        """Of E at times (T,)."""
        decayed = np.exp(-2 * self.r * t)
        risen = -np.expm1(-2 * self.r * t)
        r_minus_α = self.p * self.q / (self.r + self.α)  # without cancellation
        return np.asarray(r_minus_α + (self.r + self.α) * decayed + self.p * risen)

    def log_scaled_denominator(self, t: FloatArray) -> FloatArray:
        """ln(denominator/Σ²) at times (T,), where Σ² itself may be no number."""
        risen = -np.expm1(-2 * self.r * t)
        saturated = self.κ / 2 * (self.q / (self.r + self.α) + risen)
        waiting = np.log(self.r + self.α) - 2 * self.r * t
        waiting = waiting - 2 * np.log(abs(self.total))
        return np.asarray(np.logaddexp(waiting, np.log(saturated)))


def two_layer_amplitudes(
    flow_time: ArrayLike, s0: float, u0: float, alpha: float, kappa: float
) -> tuple[FloatArray, FloatArray]:
    """s and u (T,) of ds/dt = u (α − κ s u), du/dt = s (α − κ s u), for any s₀ and u₀, balanced or not.

    No time overflows. ValueError if a time is negative, α or κ not positive, or the start so large or so far from
    balanced that digits are lost.

    >>> s, u = two_layer_amplitudes([0.0, 2.0, 50.0], 0.1, 0.1, alpha=2.0, kappa=1.25)
    >>> s * u
    array([0.01      , 1.51897981, 1.6       ])
    """
    if alpha <= 0 or kappa <= 0:
        raise ValueError(f"alpha and kappa must be positive, not {alpha} and {kappa}")
    t = flow_times(flow_time)
    riccati = _Riccati(alpha, kappa, float(s0) + float(u0), float(s0) - float(u0))
    _check_start(s0, u0, riccati)

    if 0 < abs(riccati.total) < _SMALL_SQUARE:
        sums, differences = _by_logarithms(t, riccati)
    else:
        with np.errstate(divide="ignore", over="ignore"):
            growth = np.sqrt(riccati.numerator(t) / riccati.denominator(t))
        # Without a sum at the start, E may overflow, and there is nothing that grows.
        sums = riccati.total * growth if riccati.total else np.zeros_like(t)
        differences = riccati.difference / growth
    return (sums + differences) / 2, (sums - differences) / 2


def _check_start(s0: float, u0: float, riccati: _Riccati) -> None:
    """ValueError where squares of the amplitudes overflow, or where s² − u², which is conserved, hides s u."""
    saturated = riccati.α / riccati.κ  # the s u that is approached
    if max(abs(s0), abs(u0)) > _LARGEST * min(1.0, float(np.sqrt(saturated))):
        raise ValueError(
            f"initial amplitudes of {s0:.3g} and {u0:.3g} are too large: what moves would overflow"
        )
    if abs(riccati.total * riccati.difference) > _UNBALANCED * saturated:
        raise ValueError(
            f"s0 = {s0:.3g} and u0 = {u0:.3g} are too far from balanced: s² − u² hides their product"
        )


def _by_logarithms(t: FloatArray, riccati: _Riccati) -> tuple[FloatArray, FloatArray]:
    """s + u and s − u (T,) where the square of s₀ + u₀ vanishes as a number: Σ√E is the root of a ratio by Σ²."""
    with np.errstate(divide="ignore", over="ignore"):
        log_numerator = np.log(riccati.numerator(t))
        logarithm = (log_numerator - riccati.log_scaled_denominator(t)) / 2
    sums = np.sign(riccati.total) * np.exp(logarithm)
    shrinkage = np.exp(np.log(abs(riccati.total)) - logarithm)
    return sums, riccati.difference * shrinkage
