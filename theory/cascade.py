"""Separate heads from small weights to their last plateau: exact idle phases joined by the flow through drops.

On a plateau the heads that are still small obey the exactly solvable idle phase; when one of them has grown, the
flow of all heads is followed until the active ones rest at the best map their pairs can make. Between two plateaus
that are left algebraically the flow may visit others for a time ∝ ln(1/scale): heads of rank R fill up, and a head
that escaped along the largest singular value of the force rotates to the larger gain.
"""

import numpy as np
from numpy.typing import NDArray

from .curves import FlowCurve, Leg
from .idle import SeparateHeads, escape
from .integration import Stop
from .population import Population

FloatArray = NDArray[np.float64]

_SMALL = 0.02  # |v| at which a head counts as active, in units of its final size: saturation is then y³ = 1e-5
_SETTLED = 1e-9  # excess loss of a plateau that counts as reached, in units of the whole drop
_PATIENCE = 2e4  # longest drop in units of the fastest rate: gains that are closer than this count as equal


def cascade(moments: Population, heads: SeparateHeads, basis: FloatArray) -> FlowCurve:
    """The curve of `heads` from flow time 0; `basis` (D, D) holds the directions that amplitudes refer to."""
    legs, now, ceiling = [], 0.0, _ceiling(moments)
    while True:
        active = _active(heads, ceiling)
        if _excess(moments, heads, ceiling) > 0:
            leg, now, heads = _drop(moments, heads, now, ceiling)
            legs.append(leg)
            active = _active(heads, ceiling)
        legs.append(_rest(now, heads))
        if np.all(active) or heads.k.shape[1] * np.sum(active) >= moments.dimension:
            return FlowCurve(moments, tuple(legs), now, basis)
        end = escape(heads.chosen(~active), _resting_force(moments, heads, active), ceiling)
        if end.head < 0:
            return FlowCurve(moments, tuple(legs), now, basis)
        now, heads = now + end.duration, _joined(heads, ~active, end.heads)


def _ceiling(moments: Population) -> float:
    return float(_SMALL * np.linalg.svd(moments.minimum, compute_uv=False)[-1] ** (1 / 3))


def _active(heads: SeparateHeads, ceiling: float) -> NDArray[np.bool_]:
    return np.abs(heads.v) >= 0.99 * ceiling


def _excess(moments: Population, heads: SeparateHeads, ceiling: float) -> float:
    """How far, in loss, the active heads are above the best map of their rank and its tolerance; 0 without any."""
    active = _active(heads, ceiling)
    if not np.any(active):
        return 0.0
    best = moments.c - np.sum(moments.gains[: heads.k.shape[1] * np.sum(active)])
    above = moments.loss(np.sum(heads.maps()[active], axis=0)) - best
    return float(above - _SETTLED * np.sum(moments.gains))


def _resting_force(moments: Population, heads: SeparateHeads, active: NDArray[np.bool_]) -> FloatArray:
    """G at the greedy fixed point where the active heads rest, or at their own map if equal gains leave it open."""
    count = heads.k.shape[1] * int(np.sum(active))
    if count == 0 or moments.gains[count - 1] - moments.gains[count] > _SETTLED * moments.gains[0]:
        return moments.force(moments.learned(range(1, count + 1)))
    return moments.force(np.sum(heads.maps()[active], axis=0))


def _drop(
    moments: Population, heads: SeparateHeads, now: float, ceiling: float
) -> tuple[Leg, float, SeparateHeads]:
    """The flow of all heads until the active ones rest: the leg, when it ends, and the heads then."""
    from scipy.integrate import solve_ivp

    shape = heads.k.shape
    last = _PATIENCE / _fastest(moments)
    sizes = np.max(np.abs(np.concatenate((heads.v[:, None], heads.k.reshape(len(heads.v), -1)), axis=1)), axis=1)
    path = solve_ivp(
        lambda _, x: _velocity(moments, _unpacked(x, shape)),
        (0.0, last),
        _packed(heads),
        method="DOP853",
        rtol=1e-10,
        atol=1e-10 * float(np.min(sizes[sizes > 0])),
        dense_output=True,
        events=Stop(lambda x: _excess(moments, _unpacked(x, shape), ceiling)),
    )
    flow, steps = path.sol, np.arange(len(path.t))
    nodes = now + np.interp(np.arange(0, steps[-1], 0.25), steps, path.t)
    leg = Leg(nodes, lambda times: _unpacked(flow(times - now), shape))
    return leg, now + float(path.t[-1]), _unpacked(path.y[:, -1], shape)


def _fastest(moments: Population) -> float:
    """Rate at which the largest drive grows through a learned head."""
    return float(np.linalg.norm(moments.B, 2) * np.linalg.norm(moments.minimum, 2) ** (1 / 3))


def _velocity(moments: Population, heads: SeparateHeads) -> FloatArray:
    v, k, q = heads
    force = moments.force(np.sum(heads.maps(), axis=0))
    towards_key, towards_query = q @ force.T, k @ force
    weight = v[:, None, None]
    return _packed(
        SeparateHeads(np.sum(k * towards_key, axis=(1, 2)), weight * towards_key, weight * towards_query)
    )


def _packed(heads: SeparateHeads) -> FloatArray:
    return np.concatenate([part.ravel() for part in heads])


def _unpacked(x: FloatArray, shape: tuple[int, ...]) -> SeparateHeads:
    """Heads from a state (n,), or with a leading time axis from states (n, T)."""
    count, times = shape[0], x.shape[1:][::-1]
    rows = x.T
    k, q = (half.reshape(*times, *shape) for half in np.split(rows[..., count:], 2, axis=-1))
    return SeparateHeads(rows[..., :count], k, q)


def _rest(now: float, heads: SeparateHeads) -> Leg:
    return Leg(np.array([now]), lambda times: SeparateHeads(*(np.stack([part] * len(times)) for part in heads)))


def _joined(heads: SeparateHeads, mask: NDArray[np.bool_], changed: SeparateHeads) -> SeparateHeads:
    parts = [part.copy() for part in heads]
    for part, new in zip(parts, changed, strict=True):
        part[mask] = new
    return SeparateHeads(*parts)
