"""Exit times of rank-one heads in closed form, with every drop seen by idle heads as an instantaneous step.

An approximation, kept for its orders in the initial scale s; `theory.staircase` follows the drops and needs none.
A head that escapes along direction d is followed as if alone and aligned. The others, still idle, see its force
G_dd step from b_d to 0 at the time that keeps ∫ G_dd dt, which on the aligned drop s' = b s² (1 − s³/m) is

    ∫ (1 − s³/m) dt = (1/b) (1/s_0 − 1/m^{1/3}) :

the time at which the head, if nothing saturated it, would reach m^{1/3}. What this leaves out:

- Kicks. The escaping head is not pure: the share ε_j = |k_j, q_j| / |v| of another direction is O(s^{1−β}), with
  β = b_j/b_d. During the drop it makes G_dj = −a_d λ_j M_dj, G_jd = −a_j λ_d M_jd, and every idle head gets

      δv = kᵀ J q        δk = v J q        δq = v Jᵀ k        J = ∫ (G − step) dt

  of relative size O(s^{2−β}). With `kicks` they are added, J being integrated along the flow of the escaping head.
- The width of the drop, of second order in the size of the idle heads: O(s²).
- Two heads that escape at nearly the same time share the direction: no expansion in s holds.

Hence exits after the first have a relative error O(s^{2−β}), β the largest b_j/b_d of a drop, and O(s²) with kicks;
the first exit, which only the impurity of its own head disturbs, O(s^{1+2(1−β)}), and O(s³) with kicks. The
constants have no bound over the starts: the `indicator` tells where the approximation holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ....models.attention import Separate
from ....models.protocol import Parametrization
from ....runtime.arrays import FloatArray
from ....task import Task
from ...moments.population_loss import Population, population
from .escapes import separate_block
from .independent_heads import (
    LARGEST_EXPONENT,
    AlignedHeads,
    Drives,
    advanced,
    first_escape,
    integrated_drop,
    kicked,
    map_size,
    pure_drop,
    without_first_direction,
)


@dataclass(frozen=True, eq=False)
class InstantaneousDrops:
    """Exits of the staircase with drops as instantaneous steps; an approximation, good where `indicator` is small.

    For each exit (n,) that is made: `exit_times`, when the loss is midway between two greedy plateaus; `heads`, the
    head that escapes (index into the weights);
    `directions`, the one it learns, numbered from 1 by decreasing gain. `indicator` χ (n,) is the largest, over the
    drops so far, of the share ε_j of another direction in the escaping head, and of the size of that head at first
    and of an idle one at the step, in units of m_d^{1/3}; times √S, where S is how much more than its size tells a
    kick matters to the head that escapes. Below 0.01 exit times are within 1e-3, as far as has been seen; above it
    they are often not, and may be wrong by any amount.
    """

    exit_times: FloatArray
    heads: tuple[int, ...]
    directions: tuple[int, ...]
    indicator: FloatArray
    kicks: bool
    moments: Population = field(repr=False)


def exits_of_instantaneous_drops(
    task: Task,
    model: Parametrization,
    initial: Mapping[str, NDArray[Any]],
    *,
    kicks: bool = False,
) -> InstantaneousDrops:
    """The `InstantaneousDrops` of rank-one `Separate` heads from small weights `initial`, full size, by name.

    An approximation: exit times are within 1e-3 where the indicator χ is below 0.01; elsewhere, and at
    any fixed initial scale for some weights, they are not, and `theory.staircase` is right. `kicks` adds what each
    drop does to the idle heads in first order. Relative errors in the initial scale s, with β the largest ratio
    b_j/b_d of a direction left to the one that drops: first exit O(s^{1+2(1−β)}), later ones O(s^{2−β}), or O(s²)
    with kicks. ValueError for another model, softmax, other shapes, a head that is as large as those that have
    dropped, or where the drives b_d do not strictly decrease in the order of the gains, Λ and Ω that do not commute
    included. ArithmeticError for weights so small, 1e-14 or so, that doubles do not tell when a head escapes.

    Source: goes beyond Zhang et al. 2025 (arXiv 2501.16265), saddle to saddle.

    >>> import numpy as np
    >>> from attndyn import Separate, Task
    >>> task, model = Task(eigenvalues=[2, 1], context_length=20), Separate(heads=3)
    >>> generator = np.random.default_rng(0)
    >>> weights = {name: 1e-3 * generator.standard_normal(shape) for name, shape in model.shapes(2).items()}
    >>> drops = exits_of_instantaneous_drops(task, model, weights)
    >>> drops.directions, drops.exit_times.round(2), drops.indicator.round(4)
    ((1, 2), array([ 251.6 , 1009.66]), array([0.0048, 0.0118]))
    """
    if not isinstance(model, Separate) or model.rank != 1:
        raise ValueError(
            f"instantaneous drops are those of Separate heads of rank one, not {model!r}: see time_course"
        )
    moments = _checked_moments(task, model)
    v, k, q = separate_block(initial, model, task.dimension)
    aligned = AlignedHeads(
        v, k[:, 0] @ moments.directions, q[:, 0] @ moments.directions
    )
    _refuse_grown(aligned, Drives(moments.a, moments.b, moments.lam))
    return _all_drops(moments, aligned, kicks)


def _checked_moments(task: Task, model: Separate) -> Population:
    """The moments; ValueError unless drops are those of single directions in the order of the gains."""
    moments = population(task, model)
    if not moments.is_aligned:
        raise ValueError(
            "Λ and Ω do not commute, so drops are not those of single directions: use staircase"
        )
    if np.any(np.diff(moments.b) >= 0):
        raise ValueError(
            f"drives must strictly decrease in the order of the gains, not {moments.b.tolist()}: use staircase"
        )
    return moments


def _refuse_grown(heads: AlignedHeads, drives: Drives) -> None:
    """ValueError if a head is as large as those that have dropped, so that it never was idle."""
    largest = float(np.max(map_size(heads), initial=0.0))
    if largest >= drives.limit:
        raise ValueError(
            f"a head of size (|v| |k| |q|)^(1/3) = {largest:.3g} is not idle, as heads end at {drives.limit:.3g} "
            "on the first direction: use staircase, or start from smaller weights"
        )


def _all_drops(
    moments: Population, heads: AlignedHeads, kicks: bool
) -> InstantaneousDrops:
    """Wait, drop, step, until no head or no direction is left."""
    names, sensitivity = np.arange(len(heads.v)), np.ones(len(heads.v))
    now, indicator = 0.0, 0.0
    exits, movers, indicators = [], [], []
    for d in range(min(moments.dimension, len(names))):
        drives = Drives(moments.a[d:], moments.b[d:], moments.lam[d:])
        mover, escaped, escape_time = first_escape(heads, drives)
        if mover < 0:
            break
        drop = pure_drop(escaped, escape_time, drives)
        if kicks:
            drop = integrated_drop(heads.chosen(mover), drop, drives)
        others = np.arange(len(names)) != mover
        idle = advanced(heads.chosen(others), drives, drop.step_time)
        largest = (
            max(float(heads.size()[mover]), float(np.max(idle.size(), initial=0.0)))
            / drives.limit
        )
        indicator = max(indicator, largest, drop.share)
        exits.append(now + drop.exit_time)
        movers.append(int(names[mover]))
        indicators.append(indicator * float(np.sqrt(sensitivity[mover])))
        names, sensitivity = (
            names[others],
            np.maximum(sensitivity[others], _sensitivity(idle, drives.b[1:])),
        )
        heads = without_first_direction(kicked(idle, drop.kick))
        now += drop.step_time
    return InstantaneousDrops(
        exit_times=np.array(exits),
        heads=tuple(movers),
        directions=tuple(range(1, len(exits) + 1)),
        indicator=np.maximum.accumulate(indicators),
        kicks=kicks,
        moments=moments,
    )


def _sensitivity(heads: AlignedHeads, b: FloatArray) -> FloatArray:
    """How large, relative to what moves each head after the step, a kick is that is 1 relative to its size; (H,).

    It counts for more in two cases. The head consists mostly of the first direction, which has just been learned:
    the ratio of that entry to those left. Or the head comes to a near standstill on its way: v² = E(τ), which is
    convex, comes close to zero at its minimum, which separates heads that turn back from heads that do not.
    """
    k, q = np.abs(heads.k), np.abs(heads.q)
    learned = np.maximum(k[:, 0], q[:, 0])
    left = np.max(np.maximum(k[:, 1:], q[:, 1:]), axis=1, initial=0.0)
    ratio = np.divide(
        learned, left, out=np.where(learned > 0, np.inf, 1.0), where=left > 0
    )
    near = _nearness_of_standstill(without_first_direction(heads), b)
    return np.asarray(np.maximum(1.0, np.maximum(ratio, near)))


def _nearness_of_standstill(heads: AlignedHeads, b: FloatArray) -> FloatArray:
    """size²/|E| at the minimum of E(τ) = v² + Σ_d ((k+q)_d² (e^{2b_dτ} − 1) + (k−q)_d² (e^{−2b_dτ} − 1))/4 ahead.

    0 for heads that move away from it.
    """
    v, k, q = heads
    slowing = v * ((k * q) @ b) < 0
    if not np.any(slowing):
        return np.zeros(len(v))
    forwards = np.sign(v)[:, None]
    ahead, behind = (k + forwards * q) ** 2 / 4, (k - forwards * q) ** 2 / 4
    low, high = np.zeros(len(v)), np.full(len(v), LARGEST_EXPONENT / (2 * b[0]))
    for _ in range(60):  # bisection of dE/dτ, which increases
        middle = (low + high) / 2
        growth = np.exp(2 * np.outer(middle, b))
        falls = (ahead * growth - behind / growth) @ b < 0
        low, high = np.where(falls, middle, low), np.where(falls, high, middle)
    growth = np.exp(2 * np.outer(low, b))
    least = np.abs(
        v**2 + np.sum(ahead * (growth - 1) + behind * (1 / growth - 1), axis=1)
    )
    near = np.divide(
        heads.size() ** 2, least, out=np.full(len(v), np.inf), where=least > 0
    )
    return np.where(slowing, near, 0.0)
