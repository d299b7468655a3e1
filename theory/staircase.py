"""The staircase of separate attention: which plateaus a run from small weights visits, and when it leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..model import Parametrization, Separate
from ..task import Task
from .cascade import cascade
from .crossings import falling_through
from .curves import Curve, FlowCurve, OnsetCurve
from .idle import SeparateHeads, escape_along, separate_block
from .integration import flow_times
from .population import Population, population

FloatArray = NDArray[np.float64]

_TIE = 1e-6  # relative: drives b_d closer than this do not single out a direction


@dataclass(frozen=True, eq=False)
class Staircase:
    """Plateaus of the population loss and the flow times at which they are left, in the limit of small weights.

    `plateaus` (n+1,): losses, the last one included. `subsets` (n+1,): the directions learned on each, numbered
    from 1 by decreasing gain. `exit_times` (n,): when the loss is midway between two plateaus. For each exit,
    `directions`: the direction learned, `heads`: the head that takes it (index into the weights), and `kinds`:
    "long" if the head was idle, so that the wait is ∝ 1/scale, "short" if it was active: ∝ ln(1/scale) at most.
    """

    exit_times: FloatArray
    plateaus: FloatArray
    subsets: tuple[tuple[int, ...], ...]
    directions: tuple[int, ...]
    heads: tuple[int, ...]
    kinds: tuple[str, ...]
    curve: Curve = field(repr=False)
    moments: Population = field(repr=False)

    def loss(self, flow_time: ArrayLike) -> FloatArray:
        """Loss of the composite curve at `flow_time` (T,): drops one by one, joined by plateaus."""
        return self.curve.loss(flow_times(flow_time))

    def amplitudes(self, flow_time: ArrayLike) -> FloatArray:
        """Amplitude of each direction, (T, D): v_d where drops are solved in closed form, else κ_d."""
        return self.curve.amplitudes(flow_times(flow_time))

    def coefficients(self, flow_time: ArrayLike) -> FloatArray:
        """e_dᵀ M e_d (T, D), on the eigenvectors of Λ where Λ and Ω do not commute."""
        return self.curve.coefficients(flow_times(flow_time))


def staircase(task: Task, model: Parametrization, initial: Mapping[str, NDArray[Any]]) -> Staircase:
    """The `Staircase` of a `Separate` model from small random weights `initial`, full size, by name.

    Exit times × initial scale and plateaus become exact as the scale shrinks: idle heads are solved exactly on each
    plateau, and drops in closed form (rank one, largest drive b_d first = largest gain first) or by integrating the
    flow. Only the blocks that move on unlimited data are read; a head that is exactly zero stays so.
    ValueError for another model, softmax, or weights of other shapes.

    Source: Zhang et al. 2025 (arXiv 2501.16265), saddle to saddle; the idle phase from any weights goes beyond it.

    >>> import numpy as np
    >>> from attndyn import Separate, Task
    >>> task, model = Task(eigenvalues=[2, 1], context_length=20), Separate(heads=3)
    >>> generator = np.random.default_rng(0)
    >>> weights = {name: 1e-3 * generator.standard_normal(shape) for name, shape in model.shapes(2).items()}
    >>> steps = staircase(task, model, weights)
    >>> steps.directions, steps.kinds, steps.plateaus.round(4)
    ((1, 2), ('long', 'long'), array([3.    , 1.2222, 0.3889]))
    """
    if not isinstance(model, Separate):
        raise ValueError(f"a staircase is that of a Separate model, not {type(model).__name__}: see time_course")
    moments = population(task, model)
    heads = separate_block(initial, model, task.dimension)
    if model.rank == 1 and _drives_by_gain(moments):
        return _onset_staircase(moments, heads)
    basis = moments.directions if moments.is_aligned else task.eigenvectors
    return _flow_staircase(moments, cascade(moments, heads, basis))


def _drives_by_gain(moments: Population) -> bool:
    """Whether every force G(M_S), S greedy, singles out the direction of the largest gain not yet learned."""
    return moments.is_aligned and bool(np.all(np.diff(moments.b) < -_TIE * moments.b[1:]))


def _onset_staircase(moments: Population, heads: SeparateHeads) -> Staircase:
    """Idle heads see the drop of another as a step: when that head, unsaturated, would reach its limit m^{1/3}."""
    limits, inside = (
        np.cbrt(moments.coefficients),
        SeparateHeads(heads.v, *(x @ moments.directions for x in heads[1:])),
    )
    idle, now, onsets, order = np.arange(len(heads.v)), 0.0, [], []
    for d in range(min(moments.dimension, len(idle))):
        end = escape_along(inside, moments.b[d:], float(limits[d]))
        if end.head < 0:
            break
        onsets.append(now + end.onset)
        order.append(int(idle[end.head]))
        now, idle = now + end.duration, np.delete(idle, end.head)
        v, k, q = end.heads.chosen(np.arange(len(end.heads.v)) != end.head)
        inside = SeparateHeads(v, k[..., 1:], q[..., 1:])
    subsets = [tuple(range(1, m + 1)) for m in range(len(onsets) + 1)]
    return _assembled(moments, OnsetCurve(moments, np.array(onsets)), subsets, order)


def _flow_staircase(moments: Population, curve: FlowCurve) -> Staircase:
    subsets = _visited(_learned_shares(moments, curve.maps(curve.nodes)), moments.gains)
    exits = _exit_times(moments, curve, subsets)
    between = (np.append(exits, curve.end) + np.append(0.0, exits)) / 2
    held = _learned_shares(moments, curve.heads(between).maps())
    movers = np.argmax(np.linalg.norm(np.diff(held, axis=0), axis=-1), axis=1)
    return _assembled(moments, curve, subsets, movers.tolist())


def _assembled(moments: Population, curve: Curve, subsets: list[tuple[int, ...]], holders: list[int]) -> Staircase:
    directions = tuple(_gained(before, after) for before, after in pairwise(subsets))
    kinds = tuple("short" if head in holders[:i] else "long" for i, head in enumerate(holders))
    exits, levels = _exit_times(moments, curve, subsets), _levels(moments, subsets)
    return Staircase(exits, levels, tuple(subsets), directions, tuple(holders), kinds, curve, moments)


def _learned_shares(moments: Population, maps: FloatArray) -> FloatArray:
    """How much of each direction M (..., D, D) holds: 1 for d in S at M_S, 0 for the others; (..., D)."""
    keys, queries = moments.factors
    inside = np.einsum("id,...ij,jd->...d", moments.A @ keys, maps, moments.Lambda @ queries, optimize=True)
    return np.asarray(inside / moments.gains)


def _visited(shares: FloatArray, gains: FloatArray) -> list[tuple[int, ...]]:
    """Subsets of directions more than half learned, in order of time, without those passed in a rotation."""
    shares = _pooled(shares, gains)
    learned = shares > 0.5
    changes = np.flatnonzero(np.any(learned[1:] != learned[:-1], axis=1)) + 1
    spans = np.split(np.arange(len(shares)), changes)
    subsets = [tuple(int(d) + 1 for d in np.flatnonzero(learned[span[0]])) for span in spans]
    near = [np.min(np.max(np.abs(shares[span] - learned[span[0]]), axis=1)) < 0.25 for span in spans]
    kept = [subsets[0]]
    for i in range(1, len(subsets)):
        grows = set(kept[-1]) < set(subsets[i]) and (i + 1 == len(subsets) or set(subsets[i]) < set(subsets[i + 1]))
        if (near[i] or grows) and subsets[i] != kept[-1]:
            kept.append(subsets[i])
    return kept


def _pooled(shares: FloatArray, gains: FloatArray) -> FloatArray:
    """Directions of one gain share what they hold: the first of them counts as learned first."""
    pooled = np.empty_like(shares)
    for gain in np.unique(gains):
        level = np.flatnonzero(gains == gain)
        total = np.sum(shares[:, level], axis=1)
        pooled[:, level] = np.clip(total[:, None] - np.arange(len(level)), 0, 1)
    return pooled


def _gained(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    return min(set(after) - set(before))


def _levels(moments: Population, subsets: list[tuple[int, ...]]) -> FloatArray:
    return np.array([moments.c - np.sum(moments.gains[np.array(subset, dtype=int) - 1]) for subset in subsets])


def _exit_times(moments: Population, curve: Curve, subsets: list[tuple[int, ...]]) -> FloatArray:
    """When the loss, which never rises, passes the middle between plateaus; 0 if it starts below."""
    levels = _levels(moments, subsets)
    return falling_through(curve.loss, (levels[:-1] + levels[1:]) / 2, curve.end)
