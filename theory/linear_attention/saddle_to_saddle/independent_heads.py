"""Rank-one heads on common eigenvectors of Λ, A and B, each alone: waiting under constant drives, and dropping.

A head that waits is moved by G = diag(b) and moves nothing itself. With τ = ∫ v dt, (k ± q)_d ∝ exp(±b_d τ), so
that dτ/dt = v, dv/dt = Σ_d b_d k_d q_d is all that is integrated. A head that drops is moved by G = diag(b) − A M Λ
with its own M = v k qᵀ.
"""

from typing import Any, NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ...ode import Stop
from ..rank_one import blow_up_time

_RELATIVE_TOLERANCE = 1e-12  # of each integration: what is left is far below the error of the approximation
_NEVER = 2000.0  # in units of 1/(size · drive) of the slowest head: one that waits longer has nothing that grows
LARGEST_EXPONENT = 300.0
"""Largest exponent of a head that drifts for ever: its growth stays representable."""
_DECAYED = 30.0  # time constants after which what the escaped head holds of other directions is e^{−30} of it
_LONGEST_DROP = 300.0  # in units of 1/(b_d m_d^{1/3}): gains closer than this rotate slowly, and then χ is large
_HALF_WAY = 1 - np.sqrt(
    0.5
)  # M_dd/m_d where the loss, (1 − M_dd/m_d)² of the gain, is half way down


class AlignedHeads(NamedTuple):
    """Idle heads on the directions not learned yet, by decreasing drive: v (H,), k and q (H, D)."""

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


class Drives(NamedTuple):
    """a_d, b_d, λ_d of the directions not learned yet, (D,) each, the one that drops next first."""

    a: FloatArray
    b: FloatArray
    lam: FloatArray

    @property
    def limit(self) -> float:
        """m^{1/3} of the direction that drops next, where |v| of a pure head ends."""
        return float(np.cbrt(self.b[0] / self.a[0] / self.lam[0]))


class Drop(NamedTuple):
    """Times since the last step, and what it leaves: `kick` is J (D, D), `share` the largest ε_j."""

    exit_time: float
    step_time: float
    share: float
    kick: FloatArray


def first_escape(
    heads: AlignedHeads, drives: Drives
) -> tuple[int, AlignedHeads, float]:
    """The head that is first of size m^{1/3} under constant drives, as it is then, and when; −1 if none is."""
    sizes = heads.size()
    if not np.any(sizes > 0):
        return -1, heads, np.inf
    longest = _NEVER / (np.min(sizes[sizes > 0]) * drives.b[-1])
    time, end = _idle_flow(heads, drives.b, longest, drives.limit)
    mover = int(np.argmax(map_size(end)))
    if time == longest:
        return -1, heads, np.inf
    return mover, end.chosen(mover), time


def advanced(heads: AlignedHeads, drives: Drives, duration: float) -> AlignedHeads:
    """Idle heads after a `duration` under constant drives, or when the first is as large as the head that drops."""
    return _idle_flow(heads, drives.b, max(duration, 0.0), drives.limit)[1]


def _idle_flow(
    heads: AlignedHeads, b: FloatArray, duration: float, largest: float
) -> tuple[float, AlignedHeads]:
    """When a head reaches the size `largest` under constant drives b (D,), at most `duration`; the heads then.

    With τ = ∫ v dt, (k ± q)_d ∝ exp(±b_d τ), and dτ/dt = v, dv/dt = Σ_d b_d k_d q_d is all that is integrated.
    """
    from scipy.integrate import solve_ivp

    count = len(heads.v)
    if count == 0 or duration == 0 or not np.any(heads.size()):
        return duration, heads

    def heads_at(x: FloatArray) -> AlignedHeads:
        exponent = np.clip(np.outer(x[:count], b), -LARGEST_EXPONENT, LARGEST_EXPONENT)
        growing = (heads.k + heads.q) / 2 * np.exp(exponent)
        decaying = (heads.k - heads.q) / 2 * np.exp(-exponent)
        return AlignedHeads(x[count:], growing + decaying, growing - decaying)

    def rate(_: float, x: FloatArray) -> FloatArray:
        now = heads_at(x)
        return np.concatenate((now.v, (now.k * now.q) @ b))

    grown = Stop(lambda x: float(np.max(map_size(heads_at(x)))) - largest)
    start = np.concatenate((np.zeros(count), heads.v))
    if grown.value(start) >= 0:
        return 0.0, heads
    sizes = np.where(heads.size() > 0, heads.size(), 1.0)
    floor = 0.1 * _RELATIVE_TOLERANCE * np.concatenate((np.ones(count), sizes))
    path = solve_ivp(
        rate,
        (0.0, duration),
        start,
        "DOP853",
        rtol=_RELATIVE_TOLERANCE,
        atol=floor,
        events=grown,
    )
    if not path.success:
        raise ArithmeticError(f"the idle heads could not be followed: {path.message}")
    if path.status == 1:
        return float(path.t_events[0][0]), heads_at(path.y_events[0][0])
    return duration, heads_at(path.y[:, -1])


def map_size(heads: AlignedHeads) -> FloatArray:
    """(|v| |k| |q|)^{1/3} of each head (H,), which is |v| for a balanced one: 0 for heads that add nothing to M."""
    norms = np.linalg.norm(heads.k, axis=-1) * np.linalg.norm(heads.q, axis=-1)
    return np.asarray(np.cbrt(np.abs(heads.v) * norms))


def pure_drop(escaped: AlignedHeads, escape_time: float, drives: Drives) -> Drop:
    """The drop of a head that is aligned and balanced from its escape on, where it grows as 1/(b (T − t))."""
    b, limit, size = drives.b[0], drives.limit, abs(float(escaped.v))
    divergence = escape_time + 1 / (b * size)
    half = limit * np.cbrt(_HALF_WAY)
    exit_time = divergence - float(blow_up_time(half, b, limit**-3))
    others = np.concatenate((escaped.k[1:], escaped.q[1:]))
    share = float(np.max(np.abs(others), initial=0.0)) / size
    return Drop(
        max(exit_time, 0.0),
        divergence - 1 / (b * limit),
        share,
        np.zeros((len(drives.b),) * 2),
    )


def integrated_drop(head: AlignedHeads, pure: Drop, drives: Drives) -> Drop:
    """The same drop with the flow of the whole head, impure as it is, from the last step until it rests.

    The step keeps ∫ G_dd dt; the kick is J = ∫ (G − diag b) dt without that entry.
    """
    from scipy.integrate import solve_ivp

    a, b, lam = drives
    count = len(b)

    def rate(_: float, x: FloatArray) -> FloatArray:
        v, k, q = x[0], x[1 : 1 + count], x[1 + count : 1 + 2 * count]
        change = -(a * v * k)[:, None] * (lam * q)
        force = np.diag(b) + change
        return np.concatenate(
            ([k @ force @ q], v * (force @ q), v * (k @ force), change.ravel())
        )

    def above_half(_: float, x: FloatArray) -> float:
        v, k, q = x[0], x[1 : 1 + count], x[1 + count : 1 + 2 * count]
        gained = 2 * v * (b @ (k * q)) - v**2 * (a @ k**2) * (lam @ q**2)
        return float(b[0] ** 2 / a[0] / lam[0] / 2 - gained)

    end = max(pure.exit_time, 0.0) + min(
        _DECAYED / _slowest_decay(drives), _LONGEST_DROP / (b[0] * drives.limit)
    )
    start = np.concatenate(([head.v], head.k, head.q, np.zeros(count * count)))
    floor = np.full(len(start), 0.1 * _RELATIVE_TOLERANCE * float(head.size()))
    path = solve_ivp(
        rate,
        (0.0, end),
        start,
        "DOP853",
        rtol=_RELATIVE_TOLERANCE,
        atol=floor,
        events=above_half,
    )
    if not path.success:
        raise ArithmeticError(
            f"the escaping head could not be followed: {path.message}"
        )
    J = path.y[1 + 2 * count :, -1].reshape(count, count)
    step_time = end + float(J[0, 0]) / float(b[0])
    J[0, 0] = 0.0
    crossings = path.t_events[0]
    exit_time = float(crossings[0]) if len(crossings) else pure.exit_time
    return Drop(exit_time, step_time, pure.share, J)


def _slowest_decay(drives: Drives) -> float:
    """Slowest rate at which an escaped head comes to rest on the first direction; 0 or less where gains are equal.

    Its own saturation has the rate 3 b_d μ, μ = m_d^{1/3}, and shares (k_j, q_j) of other directions the matrix
    ((−a_j λ_d μ⁴, b_j μ), (b_j μ, −a_d λ_j μ⁴)).
    """
    (a, b, lam), μ = drives, drives.limit
    key_rate, query_rate = a[1:] * lam[0] * μ**4, a[0] * lam[1:] * μ**4
    mean, half_gap = (key_rate + query_rate) / 2, (key_rate - query_rate) / 2
    slower = mean - np.hypot(half_gap, b[1:] * μ)
    return float(np.min(slower, initial=3 * b[0] * μ))


def kicked(heads: AlignedHeads, J: FloatArray) -> AlignedHeads:
    """Idle heads after an impulse J (D, D) of the force: δv = kᵀ J q, δk = v J q, δq = v Jᵀ k."""
    v, k, q = heads
    towards_key, towards_query = q @ J.T, k @ J
    weight = v[:, None]
    return AlignedHeads(
        v + np.sum(k * towards_key, axis=1),
        k + weight * towards_key,
        q + weight * towards_query,
    )


def without_first_direction(heads: AlignedHeads) -> AlignedHeads:
    """The direction that is learned exerts no force any more."""
    return AlignedHeads(heads.v, heads.k[:, 1:], heads.q[:, 1:])
