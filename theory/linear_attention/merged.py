"""Merged attention: the equations of its aligned solutions, and the mode that is unstable at the origin.

Whatever the small initial weights, every head's U_h becomes proportional to one shared matrix: M = s U with

    ds/dt = ⟨G, U⟩        dU/dt = s G        G = B − A M Λ        s² − |U|² conserved

On an aligned task U stays diagonal, D + 1 scalar equations. A weight decay wd takes (wd/2) s and (wd/2) U off the
right-hand sides, and s² − |U|² then shrinks as e^{−wd t}. Source: Zhang et al. 2025 (arXiv 2501.16265), on
merged attention. Times are flow times.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_shape, nonnegative_number
from ..moments.population_loss import Population
from ..ode import conserving, flow_times, in_units, integrate

# In units of the size at which heads saturate: below it saturation changes nothing, and growth is exponential.
_SMALLEST = 1e-60
# Of what grows: smaller parts are made by the residual correlation, not by what they were.
_NEGLIGIBLE = 1e-30
# Of the size at which heads saturate: beyond, rounding of s² − |U|², which is conserved, decides what heads fall to.
_LARGEST = 1e3
# Rates below this share of the start are those of heads that have died.
_DEAD = 1e-9
_LEAST_TIME = 1e-300  # roots are found to a relative precision


def aligned_amplitudes(
    population: Population,
    flow_time: ArrayLike,
    s0: float,
    u0: ArrayLike,
    *,
    weight_decay: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and u (T, D), by decreasing gain, on an aligned task: du_d/dt = s (b_d − a_d λ_d s u_d), likewise s.

    `u0` is (D,), and `weight_decay` adds −(wd/2) u_d and −(wd/2) s. Accurate to about 1e-11. ValueError if the task is
    not aligned, u0 has another shape, or a time is negative. Source: Zhang et al. 2025, on merged attention.
    """
    start = np.asarray(u0, dtype=np.float64)
    check_shape(start, "u0", "(D,)", D=population.direction_count)

    growth_rates = population.b  # (D,)
    curvatures = population.a * population.lam  # (D,)
    flow = _SharedFlow(
        lambda coefficients: growth_rates - curvatures * coefficients,
        np.diag(curvatures),
        start.shape,
        nonnegative_number(weight_decay, "weight_decay") / 2,
    )
    return _integrated(flow, flow_time, s0, start)


def matrix_amplitudes(
    population: Population,
    flow_time: ArrayLike,
    s0: float,
    U0: ArrayLike,
    *,
    weight_decay: float = 0.0,
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and U (T, D, D) of M = s U on any task, whether or not Λ and Ω commute, from s₀ and `U0` (D, D).

    `weight_decay` adds −(wd/2) s and −(wd/2) U. Integrated to about 1e-11 relative. ValueError if U0 has another shape
    or a time is negative.
    """
    start = np.asarray(U0, dtype=np.float64)
    check_shape(start, "U0", "(D, D)", D=population.dimension)

    # vec(A M Λ) = (A ⊗ Λ) vec M, with rows of M one after another.
    curvature = np.asarray(np.kron(population.A, population.Lambda), dtype=np.float64)
    decay = nonnegative_number(weight_decay, "weight_decay") / 2
    flow = _SharedFlow(population.residual_correlation, curvature, start.shape, decay)
    return _integrated(flow, flow_time, s0, start)


def unstable_mode_amplitude(
    population: Population, weights: Mapping[str, NDArray[Any]]
) -> float:
    """w₀ of the unstable mode at small weights: w₀² = Σ_h ((v_h + ⟨U_h, B⟩/‖B‖) / 2)².

    `weights` are value (H, D+1) and key_query (H, D+1, D+1). What the flow of M forgets is the other half of each
    head, which decays while this half grows like exp(‖B‖ t); from s = w₀, U = w₀ B/‖B‖ the flow of M is followed
    with an error of first order in the initial scale. ValueError if a weight is missing or has another shape.
    """
    v, U = merged_block(weights, population.dimension)
    overlaps = np.einsum("hij,ij->h", U, population.B) / length(population.B)  # (H,)
    return length(v + overlaps) / 2


def merged_block(
    weights: Mapping[str, NDArray[Any]], dimension: int
) -> tuple[FloatArray, FloatArray]:
    """v (H,) and U (H, D, D) of full-size merged weights: the blocks that move on unlimited data; ValueError."""
    if not {"value", "key_query"} <= set(weights):
        raise ValueError(
            f"merged weights are value and key_query, not {', '.join(sorted(weights)) or 'none'}"
        )
    value = np.asarray(weights["value"], dtype=np.float64)
    key_query = np.asarray(weights["key_query"], dtype=np.float64)
    check_shape(value, "value", "(H, D+1)", D=dimension)
    check_shape(key_query, "key_query", "(H, D+1, D+1)", D=dimension, H=len(value))
    return value[:, -1], key_query[:, :-1, :-1]


def drop_time(population: Population, w0: float) -> float:
    """Flow time ln(1/w₀)/‖B‖ at which the unstable mode saturates, to leading order in small w₀."""
    _check_amplitude(w0)
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

    _check_amplitude(w0)
    rate = length(population.B)
    direction = population.B / rate  # of the unstable mode
    half_drop = float(np.sum(population.gains)) / 2

    def excess_over_middle(t: float) -> float:
        """Loss above the middle in units of half the drop, at time t in units of 1/‖B‖."""
        s, U = matrix_amplitudes(population, t / rate, w0, w0 * direction)
        return float(population.excess(s[0] * U[0])) / half_drop - 1

    _check_start_of_drop(w0, excess_over_middle(0.0))

    # About where the mode saturates: doubled until it lies beyond.
    last = max(-np.log(w0), 0.0) + 1.0
    while excess_over_middle(last) > 0:
        last *= 2
    root = brentq(excess_over_middle, 0.0, last, xtol=_LEAST_TIME, rtol=1e-12)
    return float(root) / rate


def _check_start_of_drop(w0: float, excess_over_middle: float) -> None:
    """ValueError unless the loss starts in the first half of its drop, with an excess from above 0 to 1 there."""
    if excess_over_middle <= 0:
        raise ValueError(
            f"w0 must be small: at {w0} the loss starts below the middle of its drop"
        )
    if excess_over_middle > 1:
        raise ValueError(
            f"w0 must be small: at {w0} the loss starts above that of no weights at all"
        )


def _check_amplitude(w0: float) -> None:
    if not 0 < w0 < np.inf:
        raise ValueError(f"w0 must be positive: {w0} stays at the saddle for ever")


def length(values: FloatArray) -> float:
    """Their Euclidean length, also where squares would leave the range of numbers."""
    largest = float(np.max(np.abs(values), initial=0.0))
    return largest * float(np.linalg.norm(values / largest)) if largest else 0.0


@dataclass(frozen=True, eq=False)
class _SharedFlow:
    """The equations of x = (s, U), all entries of U behind s: ds/dt = ⟨G, U⟩, dU/dt = s G, with G at M = s U.

    `residual_correlation` is G as a function of M, both of `shape`; `curvature` (n, n) is −∂G/∂M of their n entries.
    `decay` δ = wd/2 takes δ x off dx/dt.
    """

    residual_correlation: Callable[[FloatArray], FloatArray]
    curvature: FloatArray
    shape: tuple[int, ...]
    decay: float = 0.0

    @property
    def initial_correlation(self) -> FloatArray:
        """G at M = 0, which is B: entries (n,)."""
        return self.residual_correlation(np.zeros(self.shape)).ravel()

    def rate(self, x: FloatArray) -> FloatArray:
        """dx/dt (1+n,)."""
        s = x[0]
        U = x[1:].reshape(self.shape)
        G = self.residual_correlation(s * U)
        velocity = np.empty_like(x)
        velocity[0] = np.vdot(U, G)
        velocity[1:] = (s * G).ravel()
        return velocity - self.decay * x if self.decay else velocity

    def jacobian(self, x: FloatArray) -> FloatArray:
        """∂(dx/dt)/∂x (1+n, 1+n), symmetric since the flow is a gradient."""
        s = x[0]
        U = x[1:]
        curvature_U = self.curvature @ U  # −∂G/∂s
        G = self.residual_correlation(s * U.reshape(self.shape)).ravel()
        corner = np.array([[-U @ curvature_U]])
        edge = G - s * curvature_U
        entries = np.block(
            [[corner, edge[None]], [edge[:, None], -s * s * self.curvature]]
        )
        return entries - self.decay * np.eye(len(x)) if self.decay else entries

    def in_units(self, size: float, rate: float) -> "_SharedFlow":
        """The same where weights are counted in `size` and the residual correlation in `rate`."""
        square = size * size
        return _SharedFlow(
            lambda M: self.residual_correlation(square * M) / rate,
            self.curvature * (square / rate),
            self.shape,
            self.decay / rate,
        )


def _integrated(
    flow: _SharedFlow, flow_time: ArrayLike, s0: float, start: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """s (T,) and U (T, …), in units of ‖B‖ and of the weights at which heads saturate, whatever these are.

    ValueError for weights much larger than that, and where a curvature is no number.
    """
    if not np.all(np.diag(flow.curvature) > 0):
        raise ValueError(
            "a λ of this task underflows: rescale Λ, for instance by trace=1"
        )
    # The fastest of growth and decay sets the unit of time.
    rate = max(length(flow.initial_correlation), flow.decay)
    size = _saturated_size(flow)
    largest = float(max(abs(s0), np.max(np.abs(start))))
    if largest > _LARGEST * size:
        raise ValueError(
            f"initial weights of {largest:.3g} are too large: choose some below {_LARGEST * size:.3g}"
        )
    times = in_units(flow_times(flow_time), rate)
    begin = np.concatenate(([s0 / size], start.ravel() / size))
    values = _solution(flow.in_units(size, rate), times, begin)
    return size * values[:, 0], size * values[:, 1:].reshape(-1, *start.shape)


def _saturated_size(flow: _SharedFlow) -> float:
    """The weights at which heads saturate, (‖B‖ / largest curvature)^{1/2}, to the nearest power of two."""
    rate = length(flow.initial_correlation)
    saturated_square = rate / float(np.max(np.abs(flow.curvature)))
    # A power of two, so that the weights at flow time 0 come back to the last bit.
    return float(np.exp2(np.round(np.log2(saturated_square) / 2)))


def _solution(flow: _SharedFlow, times: FloatArray, begin: FloatArray) -> FloatArray:
    """x (T, 1+n) from `begin` (1+n,), for rates and a curvature of about 1: first while nothing saturates."""
    # Where s U stays and s is large, U shrinks by as much.
    least = 1 / max(1.0, float(np.max(np.abs(begin))))

    def saturating(start: FloatArray, elapsed: FloatArray) -> FloatArray:
        # What decay has killed leaves only rounding.
        settled = _DEAD * float(np.max(np.abs(start))) if flow.decay else 0.0
        values = integrate(
            flow.rate, start, elapsed, flow.jacobian, least, settled=settled
        )
        if flow.decay > 0:
            # Nothing is conserved, and decay undoes the errors that would stay.
            return values
        return np.column_stack(conserving(values, start, power=1))

    B = flow.initial_correlation
    δ = flow.decay
    linear_until = _time_to_reach(_SMALLEST, begin, B, δ)
    if linear_until == 0:
        return saturating(begin, times)

    values = _linear_solution(begin, B, times, δ)
    is_late = times > linear_until
    if np.any(is_late):
        grown = _grown_linearly(begin, B, linear_until, δ)
        values[is_late] = saturating(grown, times[is_late] - linear_until)
    return values


def _grown_linearly(
    begin: FloatArray, B: FloatArray, time: float, δ: float
) -> FloatArray:
    """x (1+n,) at the end of linear growth from `begin`, without the entries that are negligible by then."""
    grown: FloatArray = _linear_solution(begin, B, np.array([time]), δ)[0]
    grown[np.abs(grown) < _NEGLIGIBLE * np.max(np.abs(grown))] = 0.0
    return grown


def _time_to_reach(size: float, begin: FloatArray, B: FloatArray, δ: float) -> float:
    """How long (s, U) stay below a size at which nothing saturates, as B (n,) makes them grow; inf if for ever."""
    if np.max(np.abs(begin)) >= size:
        return 0.0
    rate = length(B)
    unstable = abs(begin[0] + begin[1:] @ (B / rate)) / 2
    if unstable == 0 or rate <= δ:
        return np.inf
    return float((np.log(size) - np.log(unstable)) / (rate - δ))


def _linear_solution(
    begin: FloatArray, B: FloatArray, times: FloatArray, δ: float
) -> FloatArray:
    """(s, U) (T, 1+n) while nothing saturates: of s ± ⟨U, B⟩/‖B‖ one half grows and the other decays.

    Their rates are ‖B‖ − δ and ‖B‖ + δ, and everything else decays at δ. Written with exponents, since weights may be
    smaller than e^{−‖B‖ t}; what has grown too large is left out.
    """
    rate = length(B)
    direction = B / rate
    overlap = float(begin[1:] @ direction)
    unstable = (begin[0] + overlap) / 2
    stable = (begin[0] - overlap) / 2

    with np.errstate(divide="ignore", over="ignore"):
        exponent = np.minimum((rate - δ) * times + np.log(abs(unstable)), 0.0)
    growing = np.sign(unstable) * np.exp(exponent)  # (T,)
    decaying = stable * np.exp(-(rate + δ) * times)  # (T,)

    s = growing + decaying
    off_direction = begin[1:] - overlap * direction  # is moved by decay alone
    remaining = np.exp(-δ * times)
    U = np.outer(growing - decaying, direction) + np.outer(remaining, off_direction)
    return np.column_stack((s, U))
