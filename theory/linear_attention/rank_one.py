"""A rank-one head on one direction: the exact solution of its scalar flow.

A balanced head aligned with one direction (v = |k| = |q|) obeys dv/dt = α v² − α γ v⁵ in flow time, α = b_d and
γ = 1/m_d; with Λ alone, α = λ_d² and γ = a_d/λ_d (Zhang et al. 2025, arXiv 2501.16265, on rank-one heads). In
w = 1/(γ^{1/3} v) the flow reads dw/dτ = (1 − w³)/w³ with τ = α γ^{-1/3} t, for every sign and on both sides of the
fixed point w = 1, so that τ = P(w) − P(w₀) with

    P(w) = −w − ⅓ ln|1−w| + ⅙ ln(1+w+w²) + (1/√3) (arctan((2w+1)/√3) − π/6) = w⁴/4 + w⁷/7 + …

P is inverted by Halley's method in w far below blow-up, in ln|1−w| near the fixed point and in w⁴ far above it: in
these variables P is close to linear, and the first guess is right to a few percent everywhere.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import BoolArray, FloatArray

_LARGEST_SQUARE = 1e305  # w + w² stays a number
_LARGEST = 1e75  # of v in units of the fixed point: fourth powers and their inverses are numbers
_LATEST = 1e305  # of τ: later ones would overflow, and every head has settled by then
_STEPS = 3  # reach rounding from the worst first guess of every branch
_BLOCK = (
    8192  # numbers inverted together: what lies between two steps stays in the cache
)
# lim P(w) + w as w → ∞: the reference of solutions that come from v = 0.
_ESCAPE = np.pi / (3 * np.sqrt(3))


class _Position(NamedTuple):
    """w = 1/(γ^{1/3} v) and w − 1, each accurate where the other is not."""

    inverse: FloatArray
    excess: FloatArray


def rank_one_amplitude(
    flow_time: ArrayLike, v0: ArrayLike, alpha: ArrayLike, gamma: ArrayLike
) -> FloatArray:
    """v at `flow_time` of the head with dv/dt = α v² − α γ v⁵ and v(0) = v₀.

    All arguments broadcast. Positive v₀ tends to the fixed point γ^{-1/3} from either side, negative v₀ decays to
    0 algebraically, and 0 stays. Negative times are allowed as long as the solution exists. Accurate to 1e-12, or
    to the conditioning of v in flow time where that is larger. ValueError where α or γ is not positive, an
    argument is not finite, or the solution has no value that far back. Source: Zhang et al. 2025, rank-one heads.

    >>> rank_one_amplitude([0.0, 500.0, 2000.0], v0=0.01, alpha=0.16, gamma=2.6)
    array([0.01     , 0.0499922, 0.7272363])
    """
    t, v, α, γ = _arguments(flow_time, v0, alpha, gamma)
    moves = (v != 0) & (t != 0)
    position = _evolved(t, v, α, γ)
    return np.where(moves, 1 / (np.cbrt(γ) * position.inverse), v)


def rank_one_gap(
    flow_time: ArrayLike, v0: ArrayLike, alpha: ArrayLike, gamma: ArrayLike
) -> FloatArray:
    """1 − γ^{1/3} v at `flow_time`: the distance to the fixed point, relative to it, without cancellation.

    Arguments and errors as in `rank_one_amplitude`; negative above the fixed point.

    >>> rank_one_gap([2000.0, 4000.0], v0=0.5, alpha=0.01, gamma=1.0)
    array([8.28342295e-26, 7.25338822e-52])
    """
    t, v, α, γ = _arguments(flow_time, v0, alpha, gamma)
    position = _evolved(t, v, α, γ)
    return np.where(v == 0, 1.0, position.excess / position.inverse)


def amplitude_from_blow_up(
    flow_time: ArrayLike, blow_up: ArrayLike, alpha: ArrayLike, gamma: ArrayLike
) -> FloatArray:
    """v at `flow_time` of the solution that comes from 0 as 1/(α (T − t)), T being the `blow_up` time.

    T is the flow time at which the head would diverge if nothing saturated it. All arguments broadcast; errors as
    in `rank_one_amplitude`.

    >>> amplitude_from_blow_up([0.0, 100.0, 200.0], blow_up=100.0, alpha=1.0, gamma=1.0)
    array([0.01      , 0.96842063, 1.        ])
    """
    t, T, α, γ = _arguments(flow_time, blow_up, alpha, gamma)
    target = _ESCAPE + α / np.cbrt(γ) * (t - T)
    return 1 / (np.cbrt(γ) * _from_below(target).inverse)


def rank_one_time(
    v: ArrayLike, v0: ArrayLike, alpha: ArrayLike, gamma: ArrayLike
) -> FloatArray:
    """Flow time from v₀ to v; ±inf if only the limit reaches v, nan if no solution joins the two.

    >>> float(rank_one_time(0.5, v0=0.01, alpha=0.16, gamma=2.6).round(6))
    614.865254
    """
    end, start, α, γ = _arguments(v, v0, alpha, gamma)
    with np.errstate(over="ignore"):  # infinity lies above the fixed point, too
        end_side = np.sign(γ * end**3 - 1)
        start_side = np.sign(γ * start**3 - 1)
    # No solution crosses 0 or the fixed point; what starts or ends there is joined by a limit.
    joined = (np.sign(end) == np.sign(start)) & (end_side != -start_side)
    with np.errstate(divide="ignore", invalid="ignore"):
        elapsed = _primitive(_position(end, γ)) - _primitive(_position(start, γ))
    times = np.where(joined, elapsed * np.cbrt(γ) / α, np.nan)
    return np.where(end == start, 0.0, times)


def blow_up_time(v0: ArrayLike, alpha: ArrayLike, gamma: ArrayLike) -> FloatArray:
    """T such that `amplitude_from_blow_up` passes through v₀ > 0, below the fixed point, at flow time 0.

    Close to 1/(α v₀) when v₀ is small.

    >>> float(blow_up_time(0.001, alpha=0.16, gamma=2.6).round(6))
    6249.999992
    """
    _, start, α, γ = _arguments(0.0, v0, alpha, gamma)
    with np.errstate(over="ignore"):
        is_above = γ * start**3 >= 1
    if np.any((start <= 0) | is_above):
        raise ValueError(
            "v0 must lie between 0 and the fixed point gamma**(-1/3): other heads do not blow up"
        )
    return np.asarray((_ESCAPE - _primitive(_position(start, γ))) * np.cbrt(γ) / α)


def _arguments(*values: ArrayLike) -> list[FloatArray]:
    """A time or amplitude, another, α and γ as arrays; ValueError unless they are finite, α and γ positive."""
    arrays = [np.asarray(value, dtype=np.float64) for value in values]
    if not all(np.all(np.isfinite(array)) for array in arrays):
        raise ValueError(
            "times, amplitudes, alpha and gamma must be finite: one of them holds nan or inf"
        )
    _, _, α, γ = arrays
    if np.any(α <= 0) or np.any(γ <= 0):
        raise ValueError(
            "alpha and gamma must be positive: a direction that is not rewarded is never learned"
        )
    return arrays


def _position(v: FloatArray, γ: FloatArray) -> _Position:
    y = np.cbrt(γ) * v
    is_too_large = np.abs(y) > _LARGEST
    is_too_small = (v != 0) & (np.abs(y) < 1 / np.finfo(float).max)  # 1/y overflows
    if np.any(is_too_large) or np.any(is_too_small):
        raise ValueError(
            f"amplitudes must lie within {_LARGEST:g} times the fixed point gamma**(-1/3), or be 0"
        )
    # w − 1 = (1 − y)/y = (1 − y³)/(y (1 + y + y²)).
    excess = _saturation(v, γ) / (y * (1 + y + y * y))
    return _Position(1 / y, excess)


def _saturation(v: FloatArray, γ: FloatArray) -> FloatArray:
    """1 − γ v³ with compensated products: near the fixed point the plain difference keeps no digit."""
    square, square_error = _exact_product(v, v)
    cube, cube_error = _exact_product(square, v)
    product, product_error = _exact_product(cube, γ)
    dropped = product_error + γ * (cube_error + square_error * v)
    return np.asarray((1 - product) - dropped)


def _exact_product(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """x·y rounded, and what rounding dropped (Dekker 1971)."""
    x_high = _leading_half(x)
    y_high = _leading_half(y)
    x_low = x - x_high
    y_low = y - y_high
    product = x * y
    # Each of these products and sums is exact, in this order.
    error = (x_high * y_high - product) + x_high * y_low
    error = error + x_low * y_high
    return product, error + x_low * y_low


def _leading_half(x: FloatArray) -> FloatArray:
    """The first 26 bits of a double (Veltkamp)."""
    shifted = 134217729.0 * x  # 2²⁷ + 1
    return np.asarray(shifted - (shifted - x))


def _evolved(t: FloatArray, v: FloatArray, α: FloatArray, γ: FloatArray) -> _Position:
    """Positions at times t: P(w) = P(w₀) + τ, inverted on the branch of w₀."""
    is_moving = v != 0
    # A head at 0 has no position: it gets one, which does not move and is not used.
    start = _position(np.where(is_moving, v, 1.0), γ)
    with np.errstate(divide="ignore", over="ignore"):
        τ = np.minimum(α / np.cbrt(γ) * np.where(is_moving, t, 0.0), _LATEST)
        target = _primitive(start) + τ
    inverse = np.broadcast_to(start.inverse, target.shape)
    excess = np.broadcast_to(start.excess, target.shape)

    # Above the fixed point and for negative v, P starts from 0, where |v| is infinite.
    is_bounded = excess < 0
    if np.any(is_bounded & (target < 0)):
        raise ValueError(
            "flow_time reaches back beyond the time at which this head came from infinity"
        )
    is_above = is_bounded & (inverse > 0)
    branches = (
        (excess > 0, _from_below),
        (is_above, _from_above),
        (is_bounded & ~is_above, _negative),
    )
    return _piecewise(target, branches)


def _primitive(position: _Position) -> FloatArray:
    """P(w)."""
    w, excess = position
    is_small = np.abs(w) < 0.5
    primitive = np.empty_like(w)
    primitive[is_small] = _series(w[is_small])
    log_distance = np.log(np.abs(excess[~is_small]))
    primitive[~is_small] = _closed(w[~is_small], log_distance)
    return primitive


def _closed(w: FloatArray, log_distance: FloatArray) -> FloatArray:
    """P in closed form, from w and ln|1−w|."""
    # Where w is large, w² may overflow, and what it adds to −w is below rounding.
    with np.errstate(over="ignore"):
        square = np.minimum(w * w, _LARGEST_SQUARE)
        angle = np.arctan((2 * w + 1) / np.sqrt(3)) - np.pi / 6
        logarithms = -w - log_distance / 3 + np.log1p(w + square) / 6
        return np.asarray(logarithms + angle / np.sqrt(3))


def _series(w: FloatArray) -> FloatArray:
    """P for |w| ≤ ½, where the closed form cancels."""
    cube = w * w * w
    total = np.zeros_like(w)
    for k in range(19, 0, -1):  # Horner; the next term is below 0.5⁶⁰
        total = total * cube + 1 / (3 * k + 1)
    return total * cube * w


def _from_below(target: FloatArray) -> _Position:
    """0 < v < fixed point: w > 1."""
    is_far = target < _AT_TWICE
    branches = ((is_far, _by_inverse), (~is_far, lambda P: _by_logarithm(P, 1.0)))
    return _piecewise(target, branches)


def _from_above(target: FloatArray) -> _Position:
    """v > fixed point: 0 < w < 1."""
    is_far = target < _AT_HALF
    branches = (
        (is_far, lambda P: _by_power(P, 1.0)),
        (~is_far, lambda P: _by_logarithm(P, -1.0)),
    )
    return _piecewise(target, branches)


def _negative(target: FloatArray) -> _Position:
    """v < 0: w < 0."""
    is_far = target < _AT_MINUS_HALF
    branches = ((is_far, lambda P: _by_power(P, -1.0)), (~is_far, _by_inverse))
    return _piecewise(target, branches)


def _by_inverse(target: FloatArray) -> _Position:
    """w < −½ or w > 2, by Halley's steps in w, whose P' = (1 − w³)⁻¹ w³."""
    # Two first guesses, each right in both of its limits.
    fourth = 4 * np.maximum(target, 0)
    below_zero = target + np.sqrt(np.sqrt(fourth / (1 + fourth / _FOURTH_ESCAPE)))
    above_two = np.maximum(2.0, _ESCAPE - target)
    w = np.where(target < 0, above_two, -below_zero)
    for _ in range(_STEPS):
        r = 1 / w
        error = _closed(w, np.log(np.abs(w - 1))) - target
        w = w - error * (r * r * r - 1) / (1 - 1.5 * error * r * r * r * r)
    return _Position(w, w - 1)


def _by_logarithm(target: FloatArray, side: float) -> _Position:
    """1 < w ≤ 2 for side 1, ½ ≤ w < 1 for side −1, by Halley's steps in ln|w−1|."""
    highest = 0.0 if side > 0 else -np.log(2.0)
    logarithm = np.minimum(_guessed_logarithm(target, side), highest)
    for _ in range(_STEPS):
        excess = side * np.exp(logarithm)
        w = 1 + excess
        quadratic = 1 + w + w * w
        step = (target - _closed(w, logarithm)) * quadratic / (w * w * w)
        curvature = excess * (quadratic + w + 2) / (2 * w * quadratic)
        logarithm = np.minimum(logarithm - step / (1 - step * curvature), highest)
    excess = side * np.exp(logarithm)
    return _Position(1 + excess, excess)


def _guessed_logarithm(target: FloatArray, side: float) -> FloatArray:
    """ln|w−1| from P = _AT_ONE − ⅓ ln|w−1| near w = 1, with two more terms."""
    leading = 3 * (_AT_ONE - target)
    distance = side * np.exp(np.minimum(leading, _LEADING_AT_TWICE))
    excess = distance / (1 + 2 * distance)
    return np.asarray(leading - 2 * excess - excess**2 / 3)


def _by_power(target: FloatArray, sign: float) -> _Position:
    """0 < w < ½ or −½ < w < 0, by w⁴: so close to linear that Newton's steps do."""
    fourth = 4 * target
    for _ in range(_STEPS):
        w = sign * np.sqrt(np.sqrt(fourth))
        fourth = fourth - 4 * (_series(w) - target) * (1 - w * w * w)
    w = sign * np.sqrt(np.sqrt(fourth))
    return _Position(w, w - 1)


def _piecewise(
    target: FloatArray,
    branches: Iterable[tuple[BoolArray, Callable[[FloatArray], _Position]]],
) -> _Position:
    """Each solver on the targets of its mask, block by block; the fixed point where no mask holds."""
    inverse = np.ones_like(target)
    excess = np.zeros_like(target)
    for mask, solve in branches:
        targets = target[mask]
        starts = range(0, len(targets), _BLOCK)
        blocks = [solve(targets[start : start + _BLOCK]) for start in starts]
        if blocks:
            inverse[mask], excess[mask] = np.concatenate(blocks, axis=1)
    return _Position(inverse, excess)


def _at(w: float) -> float:
    """P of one w."""
    return float(_closed(np.asarray(w), np.log(abs(w - 1))))


_AT_ONE = -1 + np.log(3) / 6 + np.pi / (6 * np.sqrt(3))  # lim P(w) + ⅓ ln|1−w| as w → 1
_FOURTH_ESCAPE = (2 * _ESCAPE) ** 4
_AT_TWICE = _at(2.0)
_AT_HALF = _at(0.5)
_AT_MINUS_HALF = _at(-0.5)
_LEADING_AT_TWICE = 3 * (_AT_ONE - _AT_TWICE)
