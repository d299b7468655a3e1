"""Merged attention: the aligned equations, the closed form for white inputs, and the mode that grows.

Whatever the small initial weights, every head's U_h becomes proportional to one shared matrix: M = s U with

    ds/dt = ⟨G, U⟩        dU/dt = s G        G = B − A M Λ        s² − |U|² conserved

On an aligned task U stays diagonal, D + 1 scalar equations. Source: Zhang et al. 2025 (arXiv 2501.16265), on
merged attention. Times are flow times.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ..moments.population_loss import Population
from ..ode import conserving, flow_times, in_units, integrate

_SMALL_SQUARE = 1e-100  # a sum of amplitudes whose square is still far from underflow
_UNBALANCED = 1e6  # s² − u² over the product at rest, which loses as many digits
_LARGEST_CLOSED = 1e100  # amplitudes whose squares, and products of these, are still far from overflow
# In units of the size at which heads saturate: below it saturation changes nothing, and growth is exponential.
_SMALLEST = 1e-60
_NEGLIGIBLE = 1e-30  # of what grows: parts this small are made by the drive, not by what they were
_LEAST_TIME = 1e-300  # roots are found to a relative precision
_LARGEST = 1e3  # of that size: beyond, rounding of s² − |U|², which is conserved, decides what heads fall to


def white_amplitudes(
    flow_time: ArrayLike, s0: float, u0: float, alpha: float, kappa: float
) -> tuple[FloatArray, FloatArray]:
    """s and u (T,) in closed form when all directions are equal: ds/dt = u (α − κ s u), du/dt = s (α − κ s u).

    U = u I/√D, α = b √D and κ = a λ, for any s₀ and u₀, balanced or not. s ± u grow and shrink by the factors
    E^{±1/2} of E = exp 2∫(α − κ s u) dt, which obeys a Riccati equation with constant coefficients. Balanced,
    s = u = w₀, this is s u = α e^{2αt} / (κ (e^{2αt} − 1) + α/w₀²). No time overflows. ValueError if a time is
    negative, or α or κ not positive. Source: Zhang et al. 2025, on white covariance.

    >>> s, u = white_amplitudes([0.0, 2.0, 50.0], 0.1, 0.1, alpha=2.0, kappa=1.25)
    >>> s * u
    array([0.01      , 1.51897981, 1.6       ])
    """
    if alpha <= 0 or kappa <= 0:
        raise ValueError(f"alpha and kappa must be positive, not {alpha} and {kappa}")
    t, total, difference = (
        flow_times(flow_time),
        float(s0) + float(u0),
        float(s0) - float(u0),
    )
    if max(abs(s0), abs(u0)) > _LARGEST_CLOSED * min(
        1.0, float(np.sqrt(alpha / kappa))
    ):
        raise ValueError(
            f"initial amplitudes of {s0:.3g} and {u0:.3g} are too large: what moves would overflow"
        )
    if abs(total * difference) > _UNBALANCED * alpha / kappa:
        raise ValueError(
            f"s0 = {s0:.3g} and u0 = {u0:.3g} are too far from balanced: s² − u² hides their product"
        )
    up, down = kappa * total**2 / 2, kappa * difference**2 / 2
    root = float(np.hypot(alpha, np.sqrt(up * down)))
    excess = up * down / (root + alpha)  # root − α without cancellation
    decay, rise = np.exp(-2 * root * t), -np.expm1(-2 * root * t)
    numerator = 2 * root * decay + (root + alpha + down) * rise
    denominator = excess + (root + alpha) * decay + up * rise
    with np.errstate(divide="ignore", over="ignore"):
        growth = np.sqrt(numerator / denominator)
    plus = total * growth if total else np.zeros_like(t)
    minus = difference / growth
    if 0 < abs(total) < _SMALL_SQUARE:  # whose square would vanish: by logarithms
        ending = kappa / 2 * (down / (root + alpha) + rise)
        with np.errstate(divide="ignore", over="ignore"):
            waiting = np.log(root + alpha) - 2 * root * t - 2 * np.log(abs(total))
            logarithm = (np.log(numerator) - np.logaddexp(waiting, np.log(ending))) / 2
        plus = np.sign(total) * np.exp(logarithm)
        minus = difference * np.exp(np.log(abs(total)) - logarithm)
    return (plus + minus) / 2, (plus - minus) / 2


def aligned_amplitudes(
    population: Population, flow_time: ArrayLike, s0: float, u0: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and u (T, D), by decreasing gain, on an aligned task: du_d/dt = s (b_d − a_d λ_d s u_d), likewise s.

    `u0` is (D,). Accurate to about 1e-11. ValueError if the task is not aligned, u0 has another shape, or a time is
    negative. Source: Zhang et al. 2025, on merged attention.
    """
    start = np.asarray(u0, dtype=np.float64)
    if start.shape != (population.dimension,):
        raise ValueError(
            f"u0 must have shape ({population.dimension},), not {start.shape}"
        )
    gain, limit = population.b, population.a * population.lam
    return _in_units(
        lambda map_: gain - limit * map_, np.diag(limit), flow_time, s0, start
    )


def matrix_amplitudes(
    population: Population, flow_time: ArrayLike, s0: float, U0: ArrayLike
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and U (T, D, D) of M = s U on any task, whether or not Λ and Ω commute, from s₀ and `U0` (D, D).

    Integrated to about 1e-11 relative. ValueError if U0 has another shape or a time is negative.
    """
    start = np.asarray(U0, dtype=np.float64)
    if start.shape != population.B.shape:
        raise ValueError(f"U0 must have shape {population.B.shape}, not {start.shape}")
    saturation = np.asarray(np.kron(population.A, population.Lambda), dtype=np.float64)
    return _in_units(population.force, saturation, flow_time, s0, start)


def growing_mode(population: Population, weights: Mapping[str, NDArray[Any]]) -> float:
    """w₀ of the mode that grows from small weights: w₀² = Σ_h ((v_h + ⟨U_h, B⟩/‖B‖) / 2)².

    `weights` are value (H, D+1) and key_query (H, D+1, D+1). What the flow of M forgets is the other half of each
    head, which decays while this half grows like exp(‖B‖ t); from s = w₀, U = w₀ B/‖B‖ the flow of M is followed
    with an error of first order in the initial scale. ValueError if a weight is missing or has another shape.
    """
    value, key_query = merged_block(weights, population.dimension)
    overlap = np.einsum("hij,ij->h", key_query, population.B) / length(population.B)
    return length(value + overlap) / 2


def merged_block(
    weights: Mapping[str, NDArray[Any]], dimension: int
) -> tuple[FloatArray, FloatArray]:
    """v (H,) and U (H, D, D) of full-size merged weights: the blocks that move on unlimited data; ValueError."""
    size = dimension + 1
    if not {"value", "key_query"} <= set(weights):
        raise ValueError(
            f"merged weights are value and key_query, not {', '.join(sorted(weights)) or 'none'}"
        )
    value, key_query = (
        np.asarray(weights[name], dtype=np.float64) for name in ("value", "key_query")
    )
    if value.shape[1:] != (size,) or key_query.shape != (len(value), size, size):
        raise ValueError(
            f"value must be (H, {size}) and key_query (H, {size}, {size}), not {value.shape} and {key_query.shape}"
        )
    return value[:, -1], key_query[:, :-1, :-1]


def drop_time(population: Population, w0: float) -> float:
    """Flow time ln(1/w₀)/‖B‖ at which the growing mode saturates, to leading order in small w₀."""
    _positive_mode(w0)
    if w0 >= 1:
        raise ValueError(f"w0 must be small: ln(1/w0) is no time at {w0}")
    return float(-np.log(w0) / length(population.B))


def half_loss_time(population: Population, w0: float) -> float:
    """Flow time at which the predicted loss is midway between its value at M = 0 and its minimum.

    Differs from `drop_time` by a constant that does not depend on w₀, up to O(w₀). ValueError unless w₀ lies
    between 0 and the value at which the loss starts below its middle.

    >>> from attndyn import Merged, Task
    >>> from attndyn.theory.moments.population_loss import population
    >>> task = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
    >>> merged = population(task, Merged(heads=8))
    >>> times = [half_loss_time(merged, w0) for w0 in (1e-3, 1e-6)]
    >>> bool(abs(times[1] - times[0] - (drop_time(merged, 1e-6) - drop_time(merged, 1e-3))) < 1e-2)
    True
    """
    from scipy.optimize import brentq

    _positive_mode(w0)
    rate, half = length(population.B), float(np.sum(population.gains)) / 2
    unit = population.B / rate

    def above_middle(t: float) -> float:
        s, U = matrix_amplitudes(population, t / rate, w0, w0 * unit)
        return float(population.excess(s[0] * U[0])) / half - 1

    if above_middle(0.0) <= 0:
        raise ValueError(
            f"w0 must be small: at {w0} the loss starts below the middle of its drop"
        )
    if above_middle(0.0) > 1:
        raise ValueError(
            f"w0 must be small: at {w0} the loss starts above that of no weights at all"
        )
    last = max(-np.log(w0), 0.0) + 1.0
    while above_middle(last) > 0:
        last *= 2
    return float(brentq(above_middle, 0.0, last, xtol=_LEAST_TIME, rtol=1e-12)) / rate


def _positive_mode(w0: float) -> None:
    if not 0 < w0 < np.inf:
        raise ValueError(f"w0 must be positive: {w0} stays at the saddle for ever")


def _in_units(
    force: Callable[[FloatArray], FloatArray],
    saturation: FloatArray,
    flow_time: ArrayLike,
    s0: float,
    start: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """`_shared_flow` in units of the drive at M = 0 and of the weights at which it saturates, whatever these are.

    ValueError for weights much larger than that, and where what saturates is no number.
    """
    if not np.all(np.diag(saturation) > 0):
        raise ValueError(
            "a λ of this task underflows: rescale Λ, for instance by trace=1"
        )
    rate = length(force(np.zeros(start.shape)))
    # a power of two, so that the weights at flow time 0 come back to the last bit
    weight = float(
        np.exp2(np.round(np.log2(rate / float(np.max(np.abs(saturation)))) / 2))
    )
    volume = weight * weight
    largest = float(max(abs(s0), np.max(np.abs(start))))
    if largest > _LARGEST * weight:
        raise ValueError(
            f"initial weights of {largest:.3g} are too large: choose some below {_LARGEST * weight:.3g}"
        )
    times, slope = in_units(flow_times(flow_time), rate), saturation * (volume / rate)
    s, shared = _shared_flow(
        lambda map_: force(volume * map_) / rate,
        slope,
        times,
        s0 / weight,
        start / weight,
    )
    return weight * s, weight * shared


def _shared_flow(
    force: Callable[[FloatArray], FloatArray],
    saturation: FloatArray,
    times: FloatArray,
    s0: float,
    start: FloatArray,
) -> tuple[FloatArray, FloatArray]:
    """s and U where the force, of length 1, falls by `saturation` (n, n), of about 1, times the change of M."""

    def rate(x: FloatArray) -> FloatArray:
        s, shared = x[0], x[1:].reshape(start.shape)
        drive = force(s * shared)
        velocity = np.empty_like(x)
        velocity[0], velocity[1:] = np.vdot(shared, drive), (s * drive).ravel()
        return velocity

    def jacobian(x: FloatArray) -> FloatArray:
        s, shared = x[0], x[1:]
        falling = saturation @ shared
        edge = force(s * shared.reshape(start.shape)).ravel() - s * falling
        return np.block(
            [
                [np.array([[-shared @ falling]]), edge[None]],
                [edge[:, None], -s * s * saturation],
            ]
        )

    begin = np.concatenate(([s0], start.ravel()))
    drive = force(np.zeros(start.shape)).ravel()
    least = 1 / max(
        1.0, float(np.max(np.abs(begin)))
    )  # where s u stays and s is large, u is small
    wait = _waiting_time(begin, drive, _SMALLEST)
    if wait == 0:
        s, shared = conserving(
            integrate(rate, begin, times, jacobian, least), begin, power=1
        )
        return s, shared.reshape(-1, *start.shape)
    values, late = _linear(begin, drive, times), times > wait
    if np.any(late):
        small = _linear(begin, drive, np.array([wait]))[0]
        small[np.abs(small) < _NEGLIGIBLE * np.max(np.abs(small))] = 0.0
        grown = integrate(rate, small, times[late] - wait, jacobian, least)
        values[late] = np.column_stack(conserving(grown, small, power=1))
    return values[:, 0], values[:, 1:].reshape(-1, *start.shape)


def length(values: FloatArray) -> float:
    """Their Euclidean length, also where squares would leave the range of numbers."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if largest else 0.0


def _waiting_time(begin: FloatArray, drive: FloatArray, size: float) -> float:
    """How long (s, U) stay below a size, at which nothing saturates, as the drive makes them grow."""
    if np.max(np.abs(begin)) >= size:
        return 0.0
    strength = length(drive)
    rising = abs(begin[0] + begin[1:] @ (drive / strength)) / 2
    return float((np.log(size) - np.log(rising)) / strength) if rising else np.inf


def _linear(begin: FloatArray, drive: FloatArray, times: FloatArray) -> FloatArray:
    """(s, U) at the times (T,), while nothing saturates: one half of s ± ⟨U, B⟩/‖B‖ grows and the other decays.

    Written with exponents, since weights may be smaller than e^{−‖B‖ t}; what has grown too large is left out.
    """
    strength = length(drive)
    along = drive / strength
    overlap = float(begin[1:] @ along)
    rising, falling = (begin[0] + overlap) / 2, (begin[0] - overlap) / 2
    with np.errstate(divide="ignore", over="ignore"):
        up = np.sign(rising) * np.exp(
            np.minimum(strength * times + np.log(abs(rising)), 0.0)
        )
    down = falling * np.exp(-strength * times)
    across = begin[1:] - overlap * along
    return np.column_stack((up + down, np.outer(up - down, along) + across))
