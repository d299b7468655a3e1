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
    STAGE_WEIGHTS,
    STAGES,
    STEP_WEIGHTS,
    THIRD_ORDER_SHARE,
    compile_function,
    step_factor,
)

# Relative, of a step: exit times are asked for to 1e-5, and errors of some hundred steps add up.
_TOLERANCE = 1e-12
# In units of 1/(size · smallest g): a head this slow balances on a ridge of its potential, or cannot move.
_LONGEST = 2e3
# Of the size that ends the phase: it need not be met exactly.
_OVERSHOOT = 1.1
# 2gτ up to which products of k and q are exact and sums k ± q are not, where one of the two is far the smaller.
_SMALL_EXPONENT = 0.5
# Exponents are cut off here, so that e^z and its products with what is at hand stay numbers.
_LARGEST_EXPONENT = 700.0
# In units of 1/(size · largest g): the error control takes over from there.
_FIRST_STEP = 0.02
# Some hundred are needed.
_MOST_STEPS = 100_000
# Of the largest v and dv/dt on the way: the weights are then within 1e-10 of those of a ridge.
_ON_RIDGE = 1e-5
# Of a sum of products: below it, a change of v is rounding.
_ROUNDING = 1e-15


class SmallHead(NamedTuple):
    """One head in units of its own: v, and for each direction (D,) sums over its pairs.

    `rates` g_d; `product` Σ kq; `square` Σ (k² + q²)/2; `difference` Σ (k² − q²); `log_sum` ln Σ (k + q)² and
    `log_difference` ln Σ (k − q)².
    """

    v: float
    rates: FloatArray
    product: FloatArray
    square: FloatArray
    difference: FloatArray
    log_sum: FloatArray
    log_difference: FloatArray


class Slopes(NamedTuple):
    """dτ/dt and dv/dt at the stages of a step, (13,) each; the first are those at its start."""

    τ: FloatArray
    v: FloatArray


class Path(NamedTuple):
    """What the integration of one head writes: slopes of a step, and τ and v at the times (T,); its error `floor`."""

    slopes: Slopes
    floor: float
    τ_at: FloatArray
    v_at: FloatArray


class FirstEscape(NamedTuple):
    """When the first head reaches its size and which one that is; −1 and inf if none does, nan if that is unknown."""

    time: float
    head: int


# -- The right-hand side ------------------------------------------------------------------------------------------


@compile_function
def exponentials(
    z: float, log_sum: float, log_difference: float
) -> tuple[float, float]:
    """Σ (k + q)² e^z and Σ (k − q)² e^{−z}, from the logarithms of the sums."""
    growing = np.exp(min(z + log_sum, _LARGEST_EXPONENT))
    decaying = np.exp(min(log_difference - z, _LARGEST_EXPONENT))
    return growing, decaying


@compile_function
def dv_dt(τ: float, head: SmallHead) -> float:
    """dv/dt = Σ_d g_d Σ_r k_rd q_rd at τ."""
    total = 0.0
    for d in range(len(head.rates)):
        z = 2 * head.rates[d] * τ
        if abs(z) < _SMALL_EXPONENT:
            total += head.rates[d] * (
                head.product[d] * np.cosh(z) + head.square[d] * np.sinh(z)
            )
        else:
            growing, decaying = exponentials(z, head.log_sum[d], head.log_difference[d])
            total += head.rates[d] * (growing - decaying) / 4
    return total


# Long because every trial step calls it: both sums are taken in one loop, which evaluates each exponential once.
@compile_function
def size_at(τ: float, v: float, head: SmallHead) -> float:
    """(|v||K||Q|)^{1/3}, with Frobenius norms over the directions."""
    key = query = 0.0  # |K|² and |Q|²
    for d in range(len(head.rates)):
        z = 2 * head.rates[d] * τ
        # Σ_r (k² + q²)/2
        if abs(z) < _SMALL_EXPONENT:
            mean = head.square[d] * np.cosh(z) + head.product[d] * np.sinh(z)
        else:
            growing, decaying = exponentials(z, head.log_sum[d], head.log_difference[d])
            mean = (growing + decaying) / 4
        # The flow conserves Σ_r (k² − q²) of each direction.
        key += mean + head.difference[d] / 2
        query += mean - head.difference[d] / 2
    # Rounding may leave a square below zero. The root of each factor: their product may underflow.
    key_root = max(key, 0.0) ** (1 / 6)
    query_root = max(query, 0.0) ** (1 / 6)
    return float(np.cbrt(abs(v)) * key_root * query_root)


# -- One step of the Runge-Kutta pair -----------------------------------------------------------------------------


@compile_function
def step(
    τ: float, v: float, size: float, head: SmallHead, slopes: Slopes
) -> tuple[float, float]:
    """τ and v a time `size` later; `slopes` begins with those at the start and is filled."""
    slopes_τ, slopes_v = slopes
    new_τ, new_v = τ, v
    for stage in range(1, STAGES + 1):
        sum_τ = sum_v = 0.0
        for earlier in range(stage):
            is_last = stage == STAGES
            weight = STEP_WEIGHTS[earlier] if is_last else STAGE_WEIGHTS[stage, earlier]
            sum_τ += weight * slopes_τ[earlier]
            sum_v += weight * slopes_v[earlier]
        new_τ = τ + size * sum_τ
        new_v = v + size * sum_v
        slopes_τ[stage] = new_v
        slopes_v[stage] = dv_dt(new_τ, head)
    return new_τ, new_v


@compile_function
def step_error(slopes: FloatArray, size: float, allowed: float) -> float:
    """Error of a step of one number with these `slopes` (13,), in units of what is allowed."""
    fifth = third = 0.0
    for stage in range(STAGES + 1):
        fifth += ERROR_5[stage] * slopes[stage]
        third += ERROR_3[stage] * slopes[stage]
    if fifth == 0.0:
        return 0.0
    both = np.sqrt(fifth * fifth + THIRD_ORDER_SHARE * third * third)
    return float(size * fifth * fifth / both / allowed)


# -- The path of one head -----------------------------------------------------------------------------------------


class Trial(NamedTuple):
    """τ and v after a step, and its error in units of what is allowed."""

    τ: float
    v: float
    error: float


@compile_function
def try_step(τ: float, v: float, size: float, head: SmallHead, path: Path) -> Trial:
    """A step from τ and v, relative to which `path` says what error is allowed."""
    slopes, floor = path.slopes, path.floor
    new_τ, new_v = step(τ, v, size, head, slopes)
    # τ is an exponent, of which e^τ is used: above 1 its absolute error counts.
    allowed_τ = floor + _TOLERANCE * min(1.0, max(abs(τ), abs(new_τ)))
    allowed_v = floor + _TOLERANCE * max(abs(v), abs(new_v))
    error_τ = step_error(slopes.τ, size, allowed_τ)
    error_v = step_error(slopes.v, size, allowed_v)
    return Trial(new_τ, new_v, max(error_τ, error_v))


@compile_function
def error_floor(head: SmallHead, fastest: float) -> float:
    """Absolute error that is allowed of τ and v, with |v| and |dv/dt| at most `fastest` at first."""
    rounding = _ROUNDING * np.sum(np.abs(head.product))
    return float(max(_TOLERANCE * min(1.0, fastest), rounding))


@compile_function
def write_from(path: Path, number: int, τ: float, v: float) -> None:
    """Writes τ and v at all times from this number on."""
    path.τ_at[number:] = τ
    path.v_at[number:] = v


# Long because this is the loop of an adaptive integrator, whose parts stand above.
@compile_function
def escape_path(
    head: SmallHead, times: FloatArray, size: float, τ_at: FloatArray, v_at: FloatArray
) -> float:
    """Writes τ and v of a head at increasing `times` (T,) into `τ_at` and `v_at` (T,), until it reaches `size`.

    Returns when it does, and writes what it then is from there on; inf if it does not, nan if the integration
    fails. A head that comes to the top of a ridge of its potential, where v and dv/dt vanish, stays there.
    """
    slopes = Slopes(np.zeros(STAGES + 1), np.zeros(STAGES + 1))
    τ, v, t = 0.0, head.v, 0.0
    slopes.τ[0] = v
    slopes.v[0] = dv_dt(τ, head)
    largest_v = abs(v)
    largest_dv = abs(slopes.v[0])
    fastest = max(largest_v, largest_dv)
    path = Path(slopes, error_floor(head, fastest), τ_at, v_at)
    if fastest == 0.0:  # a fixed point
        write_from(path, 0, τ, v)
        return np.inf

    next_step = _FIRST_STEP
    number = 0  # of times that are passed
    for _ in range(_MOST_STEPS + len(times)):
        while number < len(times) and times[number] <= t:
            τ_at[number] = τ
            v_at[number] = v
            number += 1
        if number == len(times):
            return np.inf

        time_left = times[number] - t
        taken = min(next_step, time_left)
        trial = try_step(τ, v, taken, head, path)
        if not trial.error < 1.0:  # too large, or not a number
            next_step = taken * min(0.9, step_factor(trial.error))
            continue
        reached = size_at(trial.τ, trial.v, head)
        if reached > _OVERSHOOT * size:
            next_step = 0.5 * taken
            continue
        if reached > size:
            write_from(path, number, trial.τ, trial.v)
            return float(t + taken)

        t = times[number] if taken == time_left else t + taken
        τ, v = trial.τ, trial.v
        slopes.τ[0] = slopes.τ[STAGES]
        slopes.v[0] = slopes.v[STAGES]
        dv = abs(slopes.v[0])
        largest_v = max(largest_v, abs(v))
        largest_dv = max(largest_dv, dv)
        if abs(v) < _ON_RIDGE * largest_v and dv < _ON_RIDGE * largest_dv:
            write_from(path, number, τ, 0.0)
            return np.inf
        if taken == next_step:  # not cut short by a time that is asked for
            next_step *= step_factor(trial.error)
    return np.nan


# -- Several heads ------------------------------------------------------------------------------------------------


class Ends(NamedTuple):
    """τ and v of the heads at the end of an escape, (H,) each: τ in units of 1/g_1 and v in units of the head."""

    τ: FloatArray
    v: FloatArray


class SmallHeads(NamedTuple):
    """The numbers of `SmallHead` for several heads, with an axis (H,) in front.

    The unit of a head is its `largest` number (H,), and times are in units of 1/`pace` (H,), pace = largest·g_1.
    """

    v: FloatArray
    rates: FloatArray
    product: FloatArray
    square: FloatArray
    difference: FloatArray
    log_sum: FloatArray
    log_difference: FloatArray
    largest: FloatArray
    pace: FloatArray


def small_heads(
    v: FloatArray, k: FloatArray, q: FloatArray, rates: FloatArray
) -> SmallHeads:
    """The numbers of heads v (H,), k and q (H, R, D) along directions with the decreasing `rates` g_d (D,)."""
    unit = _units(v, k, q)
    k = k / unit[:, None, None]
    q = q / unit[:, None, None]
    return SmallHeads(
        v=v / unit,
        rates=rates / rates[0],
        product=np.sum(k * q, axis=1),
        square=np.sum(k * k + q * q, axis=1) / 2,
        difference=np.sum((k - q) * (k + q), axis=1),
        log_sum=_log_square(k + q),
        log_difference=_log_square(k - q),
        largest=unit,
        pace=unit * rates[0],
    )


def _units(v: FloatArray, k: FloatArray, q: FloatArray) -> FloatArray:
    """The largest number of each head (H,), 1 for one of zeros."""
    largest_entry = np.max(np.maximum(np.abs(k), np.abs(q)), axis=(1, 2))
    largest = np.maximum(np.abs(v), largest_entry)
    return np.where(largest > 0, largest, 1.0)


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
        heads.log_sum[h],
        heads.log_difference[h],
    )


@compile_function
def head_path(
    heads: SmallHeads, h: int, until: float, size: float, ends: Ends
) -> float:
    """When head h reaches `size`, both in its own units; writes its τ and v then, or at `until`, into `ends`."""
    times = np.full(1, until)
    own = slice(h, h + 1)
    return escape_path(head_of(heads, h), times, size, ends.τ[own], ends.v[own])


@compile_function
def advance_others(heads: SmallHeads, escape: FirstEscape, ends: Ends) -> FirstEscape:
    """Writes τ and v of all other heads at the time of an escape into `ends`; names the head of one that fails."""
    for h in range(len(heads.v)):
        if h != escape.head:
            until = escape.time * heads.pace[h]
            t = head_path(heads, h, until, np.inf, ends)
            if np.isnan(t):
                return FirstEscape(t, h)
    return escape


@compile_function
def first_escape(heads: SmallHeads, sizes: FloatArray, ends: Ends) -> FirstEscape:
    """The first of the heads to reach its size of `sizes` (H,), in units of its own.

    Writes τ and v of all heads at that time into `ends`. The time is nan if an integration fails, of the head that
    is named.
    """
    longest = _LONGEST / heads.rates[-1]
    end, first = np.inf, -1
    # Each head only up to the best time so far.
    for h in range(len(heads.v)):
        until = min(end * heads.pace[h], longest)
        t = head_path(heads, h, until, sizes[h], ends)
        if np.isnan(t):
            return FirstEscape(t, h)
        if t < np.inf:
            end, first = t / heads.pace[h], h
    if first < 0:
        return FirstEscape(end, first)
    return advance_others(heads, FirstEscape(end, first), ends)


@compile_function
def paths(heads: SmallHeads, times: FloatArray, τ: FloatArray, v: FloatArray) -> None:
    """Writes τ and v of the heads at increasing `times` (T,) into `τ` and `v` (H, T)."""
    for h in range(len(heads.v)):
        escape_path(head_of(heads, h), times * heads.pace[h], np.inf, τ[h], v[h])


def grown_entries(
    k: FloatArray, q: FloatArray, exponents: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """k and q (..., R, D) at the `exponents` g_d τ (..., D): half the sum and difference of (k ± q) e^{± gτ}."""
    z = np.clip(exponents, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)[..., None, :]
    growing = (k + q) * np.exp(z)
    decaying = (k - q) * np.exp(-z)
    # Where the exponent is small k and q keep their own digits, as one may be far the smaller.
    is_small = np.abs(2 * z) < _SMALL_EXPONENT
    cosh = np.cosh(np.where(is_small, z, 0.0))
    sinh = np.sinh(np.where(is_small, z, 0.0))
    new_k = np.where(is_small, k * cosh + q * sinh, (growing + decaying) / 2)
    new_q = np.where(is_small, q * cosh + k * sinh, (growing - decaying) / 2)
    return new_k, new_q
