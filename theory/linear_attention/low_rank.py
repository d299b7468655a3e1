"""A head of rank R on several directions: 1 + R scalar equations.

A head with value v and balanced pairs k_r = q_r = κ_r e_{d_r} on distinct directions obeys, in flow time,

    dκ_r/dt = v κ_r (b_r − a_r λ_r v κ_r²)        dv/dt = Σ_r κ_r² (b_r − a_r λ_r v κ_r²)

and conserves v² − Σ κ_r², which need not be zero. Its pairs off these directions stay at zero, and heads on
other directions do not interact with it. A weight decay wd takes (wd/2) κ_r and (wd/2) v off the right-hand sides.
Source: Zhang et al. 2025 (arXiv 2501.16265), on heads of rank R.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_shape, nonnegative_number
from ..ode import conserving, flow_times, in_units, integrate

# Amplitudes, in units of those at the fixed point, that can be followed to the last digit.
_SMALLEST = 1e-100
_LARGEST = 1e3
# Rates below this share of the start are those of a head that has died.
_DEAD = 1e-9


def low_rank_amplitudes(
    flow_time: ArrayLike,
    v0: float,
    kappa0: ArrayLike,
    b: ArrayLike,
    curvature: ArrayLike,
    *,
    weight_decay: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """v (T,) and κ (T, R) of one head from v(0) = `v0` and κ(0) = `kappa0` (R,).

    `b` (R,) are the b_r and `curvature` (R,) the a_r λ_r of its directions. Accurate to about 1e-11. With R = 1
    and v0 = κ0 this is the rank-one head. ValueError if the shapes differ, a time is negative, or the decay is no
    number of zero or more.

    >>> v, kappa = low_rank_amplitudes([0, 50], 0.5, [0.4, 0.3], b=[0.5, 0.25], curvature=[0.6, 0.5])
    >>> bool(abs(v[1] ** 2 - (kappa[1] ** 2).sum()) < 1e-12)  # as at the start
    True
    """
    κ0 = np.atleast_1d(np.asarray(kappa0, dtype=np.float64))
    δ = nonnegative_number(weight_decay, "weight_decay") / 2
    head = _head(b, curvature, rank=κ0.size, decay=δ)
    check_shape(κ0, "kappa0", "(R,)")

    x0 = np.concatenate(([float(v0)], κ0))  # (1+R,)
    size = head.size_at_fixed_point
    _check_start(x0, size)
    least = _least_amplitude(x0, size)

    # The fastest of growth and decay sets the unit of time.
    rate = max(float(np.max(head.growth_rates)), δ / size)
    unit_head = head.in_units(size, rate)
    times = in_units(flow_times(flow_time), rate * size)
    # What decay has killed leaves only rounding.
    settled = _DEAD * float(np.max(np.abs(x0))) / size if δ > 0 else 0.0
    values = integrate(
        unit_head.rate, x0 / size, times, unit_head.jacobian, least, settled=settled
    )
    if δ > 0:
        # Nothing is conserved, and decay undoes the errors that would stay.
        return size * values[:, 0], size * values[:, 1:]
    v, κ = conserving(values, x0 / size, power=2)
    return size * v, size * κ


def _least_amplitude(x0: FloatArray, size: float) -> float:
    """What amplitudes x/size shrink to from x0 (1+R,), where `size` is that of the fixed point; 1 if they need not."""
    # Where an amplitude is large, v κ² stays what it is, and the others shrink by as much.
    return min(1.0, size / float(np.max(np.abs(x0), initial=size))) ** 2


@dataclass(frozen=True, eq=False)
class _Head:
    """The equations of x = (v, κ), (1+R,): `growth_rates` b_r and `curvatures` a_r λ_r, (R,) each, `decay` wd/2."""

    growth_rates: FloatArray
    curvatures: FloatArray
    decay: float = 0.0

    @property
    def size_at_fixed_point(self) -> float:
        """The least (b/(aλ))^{1/3}, the amplitude of a rank-one head at its fixed point."""
        return float(np.min(np.cbrt(self.growth_rates / self.curvatures)))

    def in_units(self, size: float, rate: float) -> "_Head":
        """The equations of x/size in the unit of time 1/(rate · size)."""
        return _Head(
            self.growth_rates / rate,
            self.curvatures * (size**3 / rate),
            self.decay / (rate * size),
        )

    def rate(self, x: FloatArray) -> FloatArray:
        """dx/dt (1+R,)."""
        v = x[0]
        κ = x[1:]
        correlation = self.growth_rates - self.curvatures * v * κ**2  # b − aλ v κ²
        dv = np.sum(κ**2 * correlation)
        grown = np.concatenate(([dv], v * κ * correlation))
        return grown - self.decay * x if self.decay else grown

    def jacobian(self, x: FloatArray) -> FloatArray:
        """∂(dx/dt)/∂x (1+R, 1+R)."""
        v = x[0]
        κ = x[1:]
        learned = self.curvatures * v * κ**2  # aλ v κ²
        dv_dv = -np.sum(self.curvatures * κ**4)
        dκ_dκ = v * (self.growth_rates - 3 * learned)
        entries = np.diag(np.append(dv_dv, dκ_dκ))
        entries[0, 1:] = 2 * κ * (self.growth_rates - 2 * learned)
        entries[1:, 0] = κ * (self.growth_rates - 2 * learned)
        if self.decay:
            entries -= self.decay * np.eye(len(x))
        return entries


def _head(b: ArrayLike, curvature: ArrayLike, rank: int, decay: float) -> _Head:
    """The head of these numbers, (R,) each; ValueError for other shapes, and unless every aλ is positive."""
    growth_rates = np.atleast_1d(np.asarray(b, dtype=np.float64))
    curvatures = np.atleast_1d(np.asarray(curvature, dtype=np.float64))
    check_shape(growth_rates, "b", "(R,)", R=rank)
    check_shape(curvatures, "curvature", "(R,)", R=rank)
    if not np.all(curvatures > 0):
        raise ValueError(
            "curvature must be positive: where a λ of a task underflows, rescale its Λ"
        )
    return _Head(growth_rates, curvatures, decay)


def _check_start(x0: FloatArray, size: float) -> None:
    """ValueError for amplitudes so large or so small that their powers leave the range of numbers."""
    sizes = np.abs(x0[x0 != 0])
    smallest = float(np.min(sizes, initial=size))
    largest = float(np.max(sizes, initial=size))
    if largest > _LARGEST * size or smallest < _SMALLEST * size:
        raise ValueError(
            f"amplitudes must be 0 or lie between {_SMALLEST * size:.3g} and {_LARGEST * size:.3g}, "
            f"not {smallest:.3g} to {largest:.3g}"
        )
