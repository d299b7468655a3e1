"""Small heads under a constant G: the exact escape phase from any weights, in machine code.

With G = Σ_d g_d x_d y_dᵀ (singular value decomposition), k_d = x_dᵀk and q_d = y_dᵀq of each pair and τ = ∫ v dt,

    k_d ± q_d = (k_d ± q_d)(0) e^{± g_d τ}        dτ/dt = v        dv/dt = Σ_d g_d Σ_r k_rd q_rd

so a head is two equations in (τ, v), whatever its rank, with Σ_r |k_rd ± q_rd|² and their like as numbers. Every
head is integrated in units of its own: its largest number and the largest g_d are 1. A head that cannot move costs
nothing.
"""

from typing import NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ...compilation import (
    ERROR_3,
    ERROR_5,
    NODES,
    STAGES,
    WEIGHTS,
    compile_function,
    step_factor,
)

_TOLERANCE = 1e-12
_LONGEST = 2e3  # in units of 1/(size·smallest g): a head this slow balances on a ridge, or cannot move
_OVERSHOOT = 1.1  # of the size that ends the phase: it need not be met exactly
_DIRECT = 0.5  # 2gτ up to which products of k and q are exact and sums k ± q are not, where one is far the smaller
_OVERFLOW = 700.0
_FIRST_STEP = 0.02
_MOST_STEPS = 100_000  # some hundred are needed
_ON_RIDGE = 1e-5  # of the largest v and dv/dt on the way: the weights are then within 1e-10 of those of a ridge
_ROUNDING = 1e-15  # of a sum of products: below it, a change of v is rounding


class SmallHead(NamedTuple):
    """One head in units of its own: v, and for each direction (D,) sums over its pairs.

    `rates` g_d; `product` Σ kq; `square` Σ (k² + q²)/2; `difference` Σ (k² − q²); `rising` ln Σ (k + q)² and
    `falling` ln Σ (k − q)².
    """

    v: float
    rates: FloatArray
    product: FloatArray
    square: FloatArray
    difference: FloatArray
    rising: FloatArray
    falling: FloatArray


@compile_function
def exponentials(z: float, rising: float, falling: float) -> tuple[float, float]:
    """Σ (k + q)² e^z and Σ (k − q)² e^{−z}, from the logarithms of the sums."""
    return np.exp(min(z + rising, _OVERFLOW)), np.exp(min(falling - z, _OVERFLOW))


@compile_function
def pull(τ: float, head: SmallHead) -> float:
    """dv/dt = Σ_d g_d Σ_r k_rd q_rd at τ."""
    total = 0.0
    for d in range(len(head.rates)):
        z = 2 * head.rates[d] * τ
        if abs(z) < _DIRECT:
            total += head.rates[d] * (
                head.product[d] * np.cosh(z) + head.square[d] * np.sinh(z)
            )
        else:
            up, down = exponentials(z, head.rising[d], head.falling[d])
            total += head.rates[d] * (up - down) / 4
    return total


@compile_function
def size_at(τ: float, v: float, head: SmallHead) -> float:
    """(|v||K||Q|)^{1/3}, with Frobenius norms over the directions."""
    key = query = 0.0
    for d in range(len(head.rates)):
        z = 2 * head.rates[d] * τ
        if abs(z) < _DIRECT:
            even = head.square[d] * np.cosh(z) + head.product[d] * np.sinh(z)
        else:
            up, down = exponentials(z, head.rising[d], head.falling[d])
            even = (up + down) / 4
        key += even + head.difference[d] / 2
        query += even - head.difference[d] / 2
    return float(
        np.cbrt(abs(v)) * max(key, 0.0) ** (1 / 6) * max(query, 0.0) ** (1 / 6)
    )


@compile_function
def escape_path(
    head: SmallHead, times: FloatArray, size: float, τ_at: FloatArray, v_at: FloatArray
) -> float:
    """Writes τ and v of a head at increasing `times` (T,) into `τ_at` and `v_at` (T,), until it reaches `size`.

    Returns when it does, and writes what it then is from there on; inf if it does not, nan if the integration
    fails. A head that comes to the top of a ridge of its potential, where v and dv/dt vanish, stays there.
    """
    τ, v, t, number = 0.0, head.v, 0.0, 0
    start = max(abs(v), abs(pull(τ, head)))
    if start == 0.0:
        τ_at[:], v_at[:] = τ, v
        return np.inf
    floor = max(_TOLERANCE * min(1.0, start), _ROUNDING * np.sum(np.abs(head.product)))
    slopes_τ, slopes_v = np.zeros(STAGES + 1), np.zeros(STAGES + 1)
    slopes_τ[0], slopes_v[0] = v, pull(τ, head)
    fastest, strongest = abs(v), abs(slopes_v[0])
    step = _FIRST_STEP
    for _ in range(_MOST_STEPS + len(times)):
        while number < len(times) and times[number] <= t:
            τ_at[number], v_at[number] = τ, v
            number += 1
        if number == len(times):
            return np.inf
        size_of_step = min(step, times[number] - t)
        new_τ, new_v = τ, v
        for stage in range(1, STAGES + 1):
            sum_τ = sum_v = 0.0
            for earlier in range(stage):
                weight = WEIGHTS[earlier] if stage == STAGES else NODES[stage, earlier]
                sum_τ += weight * slopes_τ[earlier]
                sum_v += weight * slopes_v[earlier]
            new_τ, new_v = τ + size_of_step * sum_τ, v + size_of_step * sum_v
            slopes_τ[stage], slopes_v[stage] = new_v, pull(new_τ, head)
        error_τ = _error(
            slopes_τ,
            size_of_step,
            floor + _TOLERANCE * min(1.0, max(abs(τ), abs(new_τ))),
        )
        error_v = _error(
            slopes_v, size_of_step, floor + _TOLERANCE * max(abs(v), abs(new_v))
        )
        error = max(error_τ, error_v)
        if not error < 1.0:
            step = size_of_step * min(0.9, step_factor(error))
            continue
        reached = size_at(new_τ, new_v, head)
        if reached > size:
            if reached > _OVERSHOOT * size:
                step = 0.5 * size_of_step
                continue
            τ_at[number:], v_at[number:] = new_τ, new_v
            return float(t + size_of_step)
        t = times[number] if size_of_step == times[number] - t else t + size_of_step
        τ, v = new_τ, new_v
        slopes_τ[0], slopes_v[0] = slopes_τ[STAGES], slopes_v[STAGES]
        fastest, strongest = max(fastest, abs(v)), max(strongest, abs(slopes_v[0]))
        if abs(v) < _ON_RIDGE * fastest and abs(slopes_v[0]) < _ON_RIDGE * strongest:
            τ_at[number:], v_at[number:] = τ, 0.0
            return np.inf
        if size_of_step == step:
            step *= step_factor(error)
    return np.nan


@compile_function
def _error(slopes: FloatArray, size: float, allowed: float) -> float:
    """Error of a step of one number in units of what is allowed."""
    fifth = third = 0.0
    for stage in range(STAGES + 1):
        fifth += ERROR_5[stage] * slopes[stage]
        third += ERROR_3[stage] * slopes[stage]
    if fifth == 0.0:
        return 0.0
    return float(
        size * fifth * fifth / np.sqrt(fifth * fifth + 0.01 * third * third) / allowed
    )


class SmallHeads(NamedTuple):
    """The numbers of `SmallHead` for several heads, with an axis (H,) in front.

    The unit of a head is its `largest` number (H,), and times are in units of 1/`pace` (H,), pace = largest·g_1.
    """

    v: FloatArray
    rates: FloatArray
    product: FloatArray
    square: FloatArray
    difference: FloatArray
    rising: FloatArray
    falling: FloatArray
    largest: FloatArray
    pace: FloatArray


def small_heads(
    v: FloatArray, k: FloatArray, q: FloatArray, rates: FloatArray
) -> SmallHeads:
    """The numbers of heads v (H,), k and q (H, R, D) along directions with the decreasing `rates` g_d (D,)."""
    largest = np.maximum(
        np.abs(v), np.max(np.maximum(np.abs(k), np.abs(q)), axis=(1, 2))
    )
    unit = np.where(largest > 0, largest, 1.0)
    v, k, q = v / unit, k / unit[:, None, None], q / unit[:, None, None]
    return SmallHeads(
        v,
        rates / rates[0],
        np.sum(k * q, axis=1),
        np.sum(k * k + q * q, axis=1) / 2,
        np.sum((k - q) * (k + q), axis=1),
        _log_square(k + q),
        _log_square(k - q),
        unit,
        unit * rates[0],
    )


def _log_square(x: FloatArray) -> FloatArray:
    """ln Σ_r x_rd² (H, D), without underflow; −inf where all are zero."""
    largest = np.max(np.abs(x), axis=1)
    scaled = x / np.where(largest > 0, largest, 1.0)[:, None, :]
    with np.errstate(divide="ignore"):
        return np.asarray(2 * np.log(largest) + np.log(np.sum(scaled**2, axis=1)))


@compile_function
def head_of(heads: SmallHeads, h: int) -> SmallHead:
    """The numbers of head h."""
    return SmallHead(
        heads.v[h],
        heads.rates,
        heads.product[h],
        heads.square[h],
        heads.difference[h],
        heads.rising[h],
        heads.falling[h],
    )


@compile_function
def first_to_reach(
    heads: SmallHeads, sizes: FloatArray, τ: FloatArray, v: FloatArray
) -> tuple[float, int]:
    """When the first of the heads reaches its size of `sizes` (H,), in units of its own, and which one: −1 if none.

    Writes τ and v of all heads at that time into `τ` and `v` (H,), τ in units of 1/g_1 and v in units of the head.
    The time is nan if an integration fails.
    """
    count, longest = len(heads.v), _LONGEST / heads.rates[-1]
    end, first, until = np.inf, -1, np.zeros(1)
    for h in range(count):
        until[0] = min(end * heads.pace[h], longest)
        t = escape_path(head_of(heads, h), until, sizes[h], τ[h : h + 1], v[h : h + 1])
        if np.isnan(t):
            return t, h
        if t < np.inf:
            end, first = t / heads.pace[h], h
    if first < 0:
        return end, first
    for h in range(count):
        if h != first:
            until[0] = end * heads.pace[h]
            t = escape_path(
                head_of(heads, h), until, np.inf, τ[h : h + 1], v[h : h + 1]
            )
            if np.isnan(t):
                return t, h
    return end, first


@compile_function
def paths(heads: SmallHeads, times: FloatArray, τ: FloatArray, v: FloatArray) -> None:
    """Writes τ and v of the heads at increasing `times` (T,) into `τ` and `v` (H, T)."""
    for h in range(len(heads.v)):
        escape_path(head_of(heads, h), times * heads.pace[h], np.inf, τ[h], v[h])


def grown(
    k: FloatArray, q: FloatArray, exponents: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """k and q (..., R, D) at the `exponents` g_d τ (..., D): half the sum and difference of (k ± q) e^{± gτ}."""
    z = np.clip(exponents, -_OVERFLOW, _OVERFLOW)[..., None, :]
    up, down = (k + q) * np.exp(z), (k - q) * np.exp(-z)
    direct = np.abs(2 * z) < _DIRECT
    even, odd = np.cosh(np.where(direct, z, 0.0)), np.sinh(np.where(direct, z, 0.0))
    return (
        np.where(direct, k * even + q * odd, (up + down) / 2),
        np.where(direct, q * even + k * odd, (up - down) / 2),
    )
