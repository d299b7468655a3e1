"""Rank-one heads on common eigenvectors of Λ, A and B, each alone: escaping at constant growth rates, and dropping.

A small head is moved by G = diag(b) and moves nothing itself. With τ = ∫ v dt, (k ± q)_d ∝ exp(±b_d τ), so that
dτ/dt = v, dv/dt = Σ_d b_d k_d q_d is all that is integrated. A head that drops is moved by G = diag(b) − A M Λ with
its own M = v k qᵀ.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ...ode import Stop
from ..rank_one import blow_up_time

# Of each integration: what is left is far below the error of the approximation.
_RELATIVE_TOLERANCE = 1e-12
# In units of 1/(size · growth rate) of the slowest head: one that takes longer has nothing that grows.
_NEVER = 2000.0
LARGEST_EXPONENT = 300.0
"""Largest exponent of a head that drifts for ever: its growth stays representable."""
# Time constants after which what the escaped head has of other directions is e^{−30} of it.
_DECAYED = 30.0
# In units of 1/(b_d m_d^{1/3}): gains closer than this rotate slowly, and then χ is large.
_LONGEST_DROP = 300.0
# M_dd/m_d where the loss, (1 − M_dd/m_d)² of the gain, is half way down.
_HALF_WAY = 1 - np.sqrt(0.5)


class AlignedHeads(NamedTuple):
    """Small heads on the directions not learned yet, by decreasing growth rate: v (H,), k and q (H, D)."""

    v: FloatArray
    k: FloatArray
    q: FloatArray

    def chosen(self, index: Any) -> "AlignedHeads":
        """Some of the heads, or one of them without its axis."""
        return AlignedHeads(self.v[index], self.k[index], self.q[index])

    def size(self) -> FloatArray:
        """Largest entry of each head, (H,)."""
        entries = np.concatenate((self.v[..., None], self.k, self.q), axis=-1)
        return np.asarray(np.max(np.abs(entries), axis=-1))


class GrowthRates(NamedTuple):
    """a_d, b_d, λ_d of the directions not learned yet, (D,) each, the one that drops next first."""

    a: FloatArray
    b: FloatArray
    lam: FloatArray

    @property
    def final_size(self) -> float:
        """m^{1/3} of the direction that drops next, where |v| of a pure head ends."""
        return float(np.cbrt(self.b[0] / self.a[0] / self.lam[0]))


class FirstEscape(NamedTuple):
    """The `head` that is first of the size m^{1/3}, as it is then, and the `time`; −1 and inf if none ever is."""

    head: int
    escaped: AlignedHeads
    time: float


class Drop(NamedTuple):
    """Times since the last step, and what it leaves: `kick` is J (D, D), `share` the largest ε_j."""

    exit_time: float
    step_time: float
    share: float
    kick: FloatArray


class _GrownHeads(NamedTuple):
    """Heads when the first has reached a size, or the time is over."""

    time: float
    heads: AlignedHeads


def map_size(heads: AlignedHeads) -> FloatArray:
    """(|v| |k| |q|)^{1/3} of each head (H,), which is |v| for a balanced one: 0 for heads that add nothing to M."""
    norms = np.linalg.norm(heads.k, axis=-1) * np.linalg.norm(heads.q, axis=-1)
    return np.asarray(np.cbrt(np.abs(heads.v) * norms))


def without_first_direction(heads: AlignedHeads) -> AlignedHeads:
    """The heads on the other directions: the one that is learned moves them no more."""
    return AlignedHeads(heads.v, heads.k[:, 1:], heads.q[:, 1:])


# -- Escapes at constant growth rates -----------------------------------------------------------------------------


def first_escape(heads: AlignedHeads, rates: GrowthRates) -> FirstEscape:
    """The head that is first of size m^{1/3} at constant growth rates."""
    sizes = heads.size()
    if not np.any(sizes > 0):
        return FirstEscape(-1, heads, np.inf)
    smallest = np.min(sizes[sizes > 0])
    longest = _NEVER / (smallest * rates.b[-1])
    end = _constant_growth(heads, rates.b, longest, rates.final_size)
    if end.time == longest:
        return FirstEscape(-1, heads, np.inf)
    head = int(np.argmax(map_size(end.heads)))
    return FirstEscape(head, end.heads.chosen(head), end.time)


def advanced(heads: AlignedHeads, rates: GrowthRates, duration: float) -> AlignedHeads:
    """Small heads after a `duration`, or when the first is as large as the head that drops."""
    end = _constant_growth(heads, rates.b, max(duration, 0.0), rates.final_size)
    return end.heads


def _constant_growth(
    heads: AlignedHeads, b: FloatArray, duration: float, largest: float
) -> _GrownHeads:
    """The heads after `duration` at growth rates b (D,), or when the first reaches the size `largest`."""
    count = len(heads.v)
    if count == 0 or duration == 0 or not np.any(heads.size()):
        return _GrownHeads(duration, heads)
    growth = _ConstantGrowth(heads, b)
    start = np.concatenate((np.zeros(count), heads.v))
    has_grown = Stop(lambda x: float(np.max(map_size(growth.heads_at(x)))) - largest)
    if has_grown.value(start) >= 0:
        return _GrownHeads(0.0, heads)

    floor = _growth_floor(heads)
    path = _integrated(growth.slope, duration, start, floor, has_grown)
    if path.status == 1:
        return _first_growth(path, growth)
    return _GrownHeads(duration, growth.heads_at(path.y[:, -1]))


def _first_growth(path: Any, growth: "_ConstantGrowth") -> _GrownHeads:
    """The heads at the first event of a path, when one has grown."""
    end = growth.heads_at(path.y_events[0][0])
    return _GrownHeads(float(path.t_events[0][0]), end)


def _growth_floor(heads: AlignedHeads) -> FloatArray:
    """Absolute tolerance of τ and v of all heads (2H,): relative to 1, and to the size of the head."""
    sizes = np.where(heads.size() > 0, heads.size(), 1.0)
    ones = np.ones(len(heads.v))
    return np.asarray(0.1 * _RELATIVE_TOLERANCE * np.concatenate((ones, sizes)))


class _ConstantGrowth(NamedTuple):
    """Heads at growth rates b (D,): states are τ = ∫ v dt (H,), with (k ± q)_d ∝ exp(±b_d τ), and v (H,)."""

    start: AlignedHeads
    b: FloatArray

    def slope(self, _: float, x: FloatArray) -> FloatArray:
        """dτ/dt = v and dv/dt = Σ_d b_d k_d q_d."""
        now = self.heads_at(x)
        return np.concatenate((now.v, (now.k * now.q) @ self.b))

    def heads_at(self, x: FloatArray) -> AlignedHeads:
        """The heads in a state (2H,)."""
        τ, v = np.split(x, 2)
        k, q = self.start.k, self.start.q
        bound = LARGEST_EXPONENT
        exponent = np.clip(np.outer(τ, self.b), -bound, bound)
        growing = (k + q) / 2 * np.exp(exponent)
        decaying = (k - q) / 2 * np.exp(-exponent)
        return AlignedHeads(v, growing + decaying, growing - decaying)


def _integrated(
    slope: Callable[[float, FloatArray], FloatArray],
    duration: float,
    start: FloatArray,
    floor: FloatArray,
    event: Callable[[float, FloatArray], float],
) -> Any:
    """Scipy's solution from `start` (n,) for `duration`; ArithmeticError if there is none."""
    from scipy.integrate import solve_ivp

    path = solve_ivp(
        slope,
        (0.0, duration),
        start,
        method="DOP853",
        rtol=_RELATIVE_TOLERANCE,
        atol=floor,
        events=event,
    )
    if not path.success:
        raise ArithmeticError(f"the heads could not be followed: {path.message}")
    return path


# -- Drops --------------------------------------------------------------------------------------------------------


def pure_drop(escaped: AlignedHeads, escape_time: float, rates: GrowthRates) -> Drop:
    """The drop of a head that is aligned and balanced from its escape on, where it grows as 1/(b (T − t))."""
    b = rates.b[0]
    final_size = rates.final_size
    size = abs(float(escaped.v))
    divergence = escape_time + 1 / (b * size)

    # The loss is half way down where v³ = _HALF_WAY m; and the step keeps ∫ G_dd dt, as the head would then be
    # of size m^{1/3} if nothing saturated it.
    half_way = final_size * np.cbrt(_HALF_WAY)
    exit_time = divergence - float(blow_up_time(half_way, b, final_size**-3))
    step_time = divergence - 1 / (b * final_size)

    others = np.concatenate((escaped.k[1:], escaped.q[1:]))
    share = float(np.max(np.abs(others), initial=0.0)) / size
    no_kick = np.zeros((len(rates.b), len(rates.b)))
    return Drop(max(exit_time, 0.0), step_time, share, no_kick)


class _DropEquations(NamedTuple):
    """The flow of one head (v, k, q) under G = diag(b) − A M Λ, M = v k qᵀ, and ∫ (G − diag b) dt: (1 + 2D + D²,)."""

    rates: GrowthRates

    def slope(self, _: float, x: FloatArray) -> FloatArray:
        """dx/dt."""
        a, b, lam = self.rates
        v, k, q = self.head(x)
        saturation = -(a * v * k)[:, None] * (lam * q)  # −A M Λ
        G = np.diag(b) + saturation
        return np.concatenate(
            ([k @ G @ q], v * (G @ q), v * (k @ G), saturation.ravel())
        )

    def above_half(self, _: float, x: FloatArray) -> float:
        """How far the loss is above the middle between the plateaus."""
        a, b, lam = self.rates
        v, k, q = self.head(x)
        gained = 2 * v * (b @ (k * q)) - v**2 * (a @ k**2) * (lam @ q**2)
        gain = b[0] ** 2 / a[0] / lam[0]
        return float(gain / 2 - gained)

    def head(self, x: FloatArray) -> tuple[float, FloatArray, FloatArray]:
        """v, k (D,) and q (D,)."""
        D = len(self.rates.b)
        return x[0], x[1 : 1 + D], x[1 + D : 1 + 2 * D]


def integrated_drop(head: AlignedHeads, pure: Drop, rates: GrowthRates) -> Drop:
    """The same drop with the flow of the whole head, impure as it is, from the last step until it is at rest.

    The step keeps ∫ G_dd dt; the kick is J = ∫ (G − diag b) dt without that entry.
    """
    D = len(rates.b)
    equations = _DropEquations(rates)
    end = _end_of_drop(pure, rates)
    path = _drop_path(head, equations, end)

    J = path.y[1 + 2 * D :, -1].reshape(D, D)
    # G_dd as a step from b_d to 0 at T: its integral from 0 to `end` is b_d T = b_d end + J_dd.
    step_time = end + float(J[0, 0]) / float(rates.b[0])
    J[0, 0] = 0.0
    crossings = path.t_events[0]
    exit_time = float(crossings[0]) if len(crossings) else pure.exit_time
    return Drop(exit_time, step_time, pure.share, J)


def _drop_path(head: AlignedHeads, equations: _DropEquations, end: float) -> Any:
    """v, k, q and ∫ (G − diag b) dt (1 + 2D + D²,) from the last step until `end`, as SciPy gives its solutions."""
    D = len(head.k)
    start = np.concatenate(([head.v], head.k, head.q, np.zeros(D * D)))
    floor = np.full(len(start), 0.1 * _RELATIVE_TOLERANCE * float(head.size()))
    return _integrated(equations.slope, end, start, floor, equations.above_half)


def _end_of_drop(pure: Drop, rates: GrowthRates) -> float:
    """When an escaped head is at rest, as well as that can be waited for."""
    decay_time = _DECAYED / _slowest_decay(rates)
    longest = _LONGEST_DROP / (rates.b[0] * rates.final_size)
    return float(max(pure.exit_time, 0.0) + min(decay_time, longest))


def _slowest_decay(rates: GrowthRates) -> float:
    """Slowest rate at which an escaped head comes to rest on the first direction; 0 or less where gains are equal.

    Its own saturation has the rate 3 b_d μ, μ = m_d^{1/3}, and shares (k_j, q_j) of other directions the matrix
    ((−a_j λ_d μ⁴, b_j μ), (b_j μ, −a_d λ_j μ⁴)).
    """
    a, b, lam = rates
    μ = rates.final_size
    key_rate = a[1:] * lam[0] * μ**4
    query_rate = a[0] * lam[1:] * μ**4
    # The slower eigenvalue of a symmetric matrix of two rows.
    mean = (key_rate + query_rate) / 2
    half_gap = (key_rate - query_rate) / 2
    slower = mean - np.hypot(half_gap, b[1:] * μ)
    return float(np.min(slower, initial=3 * b[0] * μ))


def kicked(heads: AlignedHeads, J: FloatArray) -> AlignedHeads:
    """Small heads after an impulse J = ∫ G dt (D, D): δv = kᵀ J q, δk = v J q, δq = v Jᵀ k."""
    v, k, q = heads
    Jq = q @ J.T  # (H, D)
    kJ = k @ J
    return AlignedHeads(
        v + np.sum(k * Jq, axis=1), k + v[:, None] * Jq, q + v[:, None] * kJ
    )
