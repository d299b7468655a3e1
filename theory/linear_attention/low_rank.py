"""A head of rank R that holds several directions: 1 + R scalar equations.

A head with value v and balanced pairs k_r = q_r = κ_r e_{d_r} on distinct directions obeys, in flow time,

    dκ_r/dt = v κ_r (b_r − a_r λ_r v κ_r²)        dv/dt = Σ_r κ_r² (b_r − a_r λ_r v κ_r²)

and conserves v² − Σ κ_r², which need not be zero. Its pairs off these directions stay at zero, and heads on
other directions do not interact with it. Source: Zhang et al. 2025 (arXiv 2501.16265), on heads of rank R.
"""

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ..ode import conserving, flow_times, in_units, integrate

_SMALLEST, _LARGEST = 1e-100, 1e3
"""Amplitudes, in units of those at rest, that can be followed to the last digit."""


def low_rank_amplitudes(
    flow_time: ArrayLike,
    v0: float,
    kappa0: ArrayLike,
    b: ArrayLike,
    saturation: ArrayLike,
) -> tuple[FloatArray, FloatArray]:
    """v (T,) and κ (T, R) of one head from v(0) = `v0` and κ(0) = `kappa0` (R,).

    `b` (R,) are the b_r and `saturation` (R,) the a_r λ_r of its directions. Accurate to about 1e-11. With R = 1
    and v0 = κ0 this is the rank-one head. ValueError if the shapes differ or a time is negative.

    >>> v, kappa = low_rank_amplitudes([0, 50], 0.5, [0.4, 0.3], b=[0.5, 0.25], saturation=[0.6, 0.5])
    >>> bool(abs(v[1] ** 2 - (kappa[1] ** 2).sum()) < 1e-12)  # as at the start
    True
    """
    start, gain, limit = (
        np.atleast_1d(np.asarray(values, dtype=np.float64))
        for values in (kappa0, b, saturation)
    )
    if start.ndim != 1 or not start.shape == gain.shape == limit.shape:
        raise ValueError(
            f"kappa0, b and saturation must have one shape (R,), not {start.shape}, {gain.shape} and {limit.shape}"
        )
    begin = np.concatenate(([float(v0)], start))
    least, weight = _least(begin, gain, limit)
    strength, begin = float(np.max(gain)), begin / weight
    gain, limit = gain / strength, limit * (weight**3 / strength)
    times = in_units(flow_times(flow_time), strength * weight)

    def rate(x: FloatArray) -> FloatArray:
        v, κ = x[0], x[1:]
        force = gain - limit * v * κ**2
        return np.concatenate(([np.sum(κ**2 * force)], v * κ * force))

    def jacobian(x: FloatArray) -> FloatArray:
        v, κ = x[0], x[1:]
        saturation = limit * v * κ**2
        entries = np.diag(np.append(-np.sum(limit * κ**4), v * (gain - 3 * saturation)))
        entries[0, 1:] = 2 * κ * (gain - 2 * saturation)
        entries[1:, 0] = κ * (gain - 2 * saturation)
        return entries

    v, kappa = conserving(
        integrate(rate, begin, times, jacobian, least), begin, power=2
    )
    return weight * v, weight * kappa


def _least(
    begin: FloatArray, gain: FloatArray, limit: FloatArray
) -> tuple[float, float]:
    """The least (b/(aλ))^{1/3}, and in units of it the size that amplitudes shrink to.

    Where others are large, v κ² stays what it is.

    ValueError for amplitudes so large or so small that their powers leave the range of numbers.
    """
    if not np.all(limit > 0):
        raise ValueError(
            "saturation must be positive: where a λ of a task underflows, rescale its Λ"
        )
    natural = float(np.min(np.cbrt(gain / limit)))
    sizes = np.abs(begin[begin != 0])
    smallest, largest = (
        float(bound(sizes, initial=natural)) for bound in (np.min, np.max)
    )
    if largest > _LARGEST * natural or smallest < _SMALLEST * natural:
        raise ValueError(
            f"amplitudes must be 0 or lie between {_SMALLEST * natural:.3g} and {_LARGEST * natural:.3g}, "
            f"not {smallest:.3g} to {largest:.3g}"
        )
    return min(1.0, natural / largest) ** 2, natural
