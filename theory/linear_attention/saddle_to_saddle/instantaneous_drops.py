"""Exit times of rank-one heads in closed form, with every drop seen by small heads as an instantaneous step.

An approximation, kept for its orders in the initial scale s; `theory.staircase` follows the drops and needs none.
A head that escapes along direction d is followed as if alone and aligned. The others, still small, see the residual
correlation G_dd step from b_d to 0 at the time that keeps ∫ G_dd dt, which on the aligned drop s' = b s² (1 − s³/m) is

    ∫ (1 − s³/m) dt = (1/b) (1/s_0 − 1/m^{1/3}) :

the time at which the head, if nothing saturated it, would reach m^{1/3}. What this leaves out:

- Kicks. The escaping head is not pure: the share ε_j = |k_j, q_j| / |v| of another direction is O(s^{1−β}), with
  β = b_j/b_d. During the drop it makes G_dj = −a_d λ_j M_dj, G_jd = −a_j λ_d M_jd, and every small head gets

      δv = kᵀ J q        δk = v J q        δq = v Jᵀ k        J = ∫ (G − step) dt

  of relative size O(s^{2−β}). With `kicks` they are added, J being integrated along the flow of the escaping head.
- The width of the drop, of second order in the size of the small heads: O(s²).
- Two heads that escape at nearly the same time share the direction: no expansion in s holds.

Hence exits after the first have a relative error O(s^{2−β}), β the largest b_j/b_d of a drop, and O(s²) with kicks;
the first exit, which only the impurity of its own head disturbs, O(s^{1+2(1−β)}), and O(s³) with kicks. The
constants have no bound over the starts: the `indicator` tells where the approximation holds.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....models.attention import Separate
from ....models.protocol import Parametrization
from ....runtime.arrays import BoolArray, FloatArray, IndexArray
from ....runtime.display import Displayed, Summary, array_summary
from ....task import Task
from ...moments.population_loss import Population, invariant_population
from .escapes import separate_block
from .independent_heads import (
    LARGEST_EXPONENT,
    AlignedHeads,
    FirstEscape,
    GrowthRates,
    advanced,
    first_escape,
    integrated_drop,
    kicked,
    map_size,
    pure_drop,
    without_first_direction,
)

# Of the minimum of a convex function: 60 halvings reach rounding.
_BISECTIONS = 60


@dataclass(frozen=True, eq=False, repr=False)
class InstantaneousDrops(Displayed):
    """Exits of the staircase with drops as instantaneous steps; an approximation, good where `indicator` is small.

    For each exit (n,) that is made: `exit_times`, when the loss is midway between two greedy plateaus; `heads`, the
    head that escapes (index into the weights);
    `directions`, the one it learns, numbered from 1 by decreasing gain. `indicator` χ (n,) is the largest, over the
    drops so far, of the share ε_j of another direction in the escaping head, and of the size of that head at first
    and of a small one at the step, in units of m_d^{1/3}; times √S, where S is how much more than its size tells a
    kick matters to the head that escapes. Below 0.01 exit times are within 1e-3, as far as has been seen; above it
    they are often not, and may be wrong by any amount.
    """

    exit_times: FloatArray
    heads: tuple[int, ...]
    directions: tuple[int, ...]
    indicator: FloatArray
    kicks: bool
    moments: Population = field(repr=False)

    def summary(self) -> Summary:
        """Exit times, heads and the indicator."""
        rows = {
            "exit times": array_summary(self.exit_times),
            "directions": ", ".join(map(str, self.directions)),
            "heads": ", ".join(map(str, self.heads)),
            "indicator": array_summary(self.indicator),
        }
        kicks = "with kicks" if self.kicks else "without kicks"
        return Summary(f"InstantaneousDrops, {kicks}", rows)


def exits_of_instantaneous_drops(
    task: Task,
    model: Parametrization,
    start: Mapping[str, NDArray[Any]],
    *,
    kicks: bool = False,
) -> InstantaneousDrops:
    """The `InstantaneousDrops` of rank-one `Separate` heads from small weights `start`, full size, by name.

    An approximation: exit times are within 1e-3 where the indicator χ is below 0.01; elsewhere, and at
    any fixed initial scale for some weights, they are not, and `theory.staircase` is right. `kicks` adds what each
    drop does to the small heads in first order. Relative errors in the initial scale s, with β the largest ratio
    b_j/b_d of a direction left to the one that drops: first exit O(s^{1+2(1−β)}), later ones O(s^{2−β}), or O(s²)
    with kicks. ValueError for another model, softmax, other shapes, a head that is as large as those that have
    dropped, or where the growth rates b_d do not strictly decrease in the order of the gains, Λ and Ω that do not
    commute included. ArithmeticError for weights so small, 1e-14 or so, that doubles do not tell when a head escapes.

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
    v, k, q = separate_block(start, model, task.dimension)
    aligned = AlignedHeads(
        v, k[:, 0] @ moments.directions, q[:, 0] @ moments.directions
    )
    _refuse_grown(aligned, GrowthRates(moments.a, moments.b, moments.lam))
    return _all_drops(moments, aligned, kicks)


def _checked_moments(task: Task, model: Separate) -> Population:
    """The moments; ValueError unless drops are those of single directions in the order of the gains."""
    moments = invariant_population(task, model)
    if moments.direction_count < moments.dimension:
        raise ValueError(
            f"only {moments.direction_count} of {moments.dimension} directions have a gain, since Λ or Ω is singular: "
            "instantaneous drops are known where all have one, so use staircase"
        )
    if not moments.is_aligned:
        raise ValueError(
            "Λ and Ω do not commute, so drops are not those of single directions: use staircase"
        )
    if np.any(np.diff(moments.b) >= 0):
        raise ValueError(
            f"growth rates must strictly decrease in the order of the gains, not {moments.b.tolist()}: use staircase"
        )
    return moments


def _refuse_grown(heads: AlignedHeads, rates: GrowthRates) -> None:
    """ValueError if a head is as large as those that have dropped, so that it never was small."""
    largest = float(np.max(map_size(heads), initial=0.0))
    if largest >= rates.final_size:
        raise ValueError(
            f"a head of size (|v| |k| |q|)^(1/3) = {largest:.3g} is not small, as heads end at {rates.final_size:.3g} "
            "on the first direction: use staircase, or start from smaller weights"
        )


class _Exit(NamedTuple):
    """One exit: when, by which head, and the indicator so far."""

    time: float
    head: int
    indicator: float


class _SmallHeads(NamedTuple):
    """Heads after a step: their `indices` into the weights (H,), and what the indicator has to know of them.

    `sensitivity` (H,): how much more than its size tells a kick mattered to each; `indicator`: χ so far.
    """

    heads: AlignedHeads
    indices: IndexArray
    sensitivity: FloatArray
    step_time: float
    indicator: float


def _all_drops(
    moments: Population, heads: AlignedHeads, kicks: bool
) -> InstantaneousDrops:
    """The exits of all drops, as arrays."""
    exits = _exits(moments, heads, kicks)
    return InstantaneousDrops(
        exit_times=np.array([drop_exit.time for drop_exit in exits]),
        heads=tuple(drop_exit.head for drop_exit in exits),
        directions=tuple(range(1, len(exits) + 1)),
        indicator=np.maximum.accumulate([drop_exit.indicator for drop_exit in exits]),
        kicks=kicks,
        moments=moments,
    )


def _exits(moments: Population, heads: AlignedHeads, kicks: bool) -> list[_Exit]:
    """Escape, drop and step, until no head or no direction is left."""
    count = len(heads.v)
    small = _SmallHeads(heads, np.arange(count), np.ones(count), 0.0, 0.0)
    exits = list[_Exit]()
    for d in range(min(moments.direction_count, count)):
        rates = GrowthRates(moments.a[d:], moments.b[d:], moments.lam[d:])
        escape = first_escape(small.heads, rates)
        if escape.head < 0:
            break
        next_exit, small = _after_drop(small, escape, rates, kicks)
        exits.append(next_exit)
    return exits


# Long because the exit and the heads after it rest on the same drop, whose numbers the next lines all use.
def _after_drop(
    small: _SmallHeads, escape: FirstEscape, rates: GrowthRates, kicks: bool
) -> tuple[_Exit, _SmallHeads]:
    """The exit of a head that escapes, and the others after the step, on the directions that are left."""
    heads, mover = small.heads, escape.head
    drop = pure_drop(escape.escaped, escape.time, rates)
    if kicks:
        drop = integrated_drop(heads.chosen(mover), drop, rates)
    others = np.arange(len(heads.v)) != mover
    at_step = advanced(heads.chosen(others), rates, drop.step_time)

    # χ: the largest share of other directions, and the largest size of the head before and of others at the step.
    before = float(heads.size()[mover])
    largest = max(before, float(np.max(at_step.size(), initial=0.0)))
    indicator = max(small.indicator, largest / rates.final_size, drop.share)
    own_exit = _Exit(
        time=small.step_time + drop.exit_time,
        head=int(small.indices[mover]),
        indicator=indicator * float(np.sqrt(small.sensitivity[mover])),
    )
    sensitivity = _sensitivity(at_step, rates.b[1:])
    return own_exit, _SmallHeads(
        heads=without_first_direction(kicked(at_step, drop.kick)),
        indices=small.indices[others],
        sensitivity=np.maximum(small.sensitivity[others], sensitivity),
        step_time=small.step_time + drop.step_time,
        indicator=indicator,
    )


def _sensitivity(heads: AlignedHeads, b: FloatArray) -> FloatArray:
    """How large, relative to what moves each head after the step, a kick is that is 1 relative to its size; (H,).

    It counts for more in two cases. The head consists mostly of the first direction, which has just been learned:
    the ratio of that entry to the others. Or the head comes to a near standstill on its way: v² = E(τ), which is
    convex, comes close to zero at its minimum, which separates heads that turn back from heads that do not.
    """
    entries = np.maximum(np.abs(heads.k), np.abs(heads.q))  # (H, D)
    learned = entries[:, 0]
    unlearned = np.max(entries[:, 1:], axis=1, initial=0.0)
    without_others = np.where(learned > 0, np.inf, 1.0)
    ratio = np.divide(learned, unlearned, out=without_others, where=unlearned > 0)
    standstill = _nearness_of_standstill(without_first_direction(heads), b)
    return np.asarray(np.maximum(1.0, np.maximum(ratio, standstill)))


class _SquaredValue(NamedTuple):
    """v² = E(τ) of heads at constant growth rates b (D,), along the way that v goes at first.

    E = v² + Σ_d (p_d (e^{2b_dτ} − 1) + m_d (e^{−2b_dτ} − 1)), with p = (k ± q)²/4 and m = (k ∓ q)²/4 (H, D) for
    heads of the sign of v: a convex function of τ.
    """

    v: FloatArray
    growing: FloatArray
    decaying: FloatArray
    b: FloatArray

    def falls(self, τ: FloatArray) -> BoolArray:
        """Whether dE/dτ < 0 at τ (H,)."""
        growth = np.exp(2 * np.outer(τ, self.b))
        falls: BoolArray = (self.growing * growth - self.decaying / growth) @ self.b < 0
        return falls

    def at(self, τ: FloatArray) -> FloatArray:
        """E at τ (H,)."""
        growth = np.exp(2 * np.outer(τ, self.b))
        change = self.growing * (growth - 1) + self.decaying * (1 / growth - 1)
        return np.asarray(self.v**2 + np.sum(change, axis=1))

    def minimum(self) -> FloatArray:
        """E (H,) at its minimum for τ ≥ 0, by bisection of dE/dτ, which increases."""
        low = np.zeros(len(self.v))
        high = np.full(len(self.v), LARGEST_EXPONENT / (2 * self.b[0]))
        for _ in range(_BISECTIONS):
            middle = (low + high) / 2
            falls = self.falls(middle)
            low = np.where(falls, middle, low)
            high = np.where(falls, high, middle)
        return self.at(low)


def _nearness_of_standstill(heads: AlignedHeads, b: FloatArray) -> FloatArray:
    """size²/|E| at the minimum of E(τ) = v² ahead (H,); 0 for heads that move away from it."""
    v, k, q = heads
    slowing = v * ((k * q) @ b) < 0
    if not np.any(slowing):
        return np.zeros(len(v))
    sign = np.sign(v)[:, None]
    energy = _SquaredValue(v, (k + sign * q) ** 2 / 4, (k - sign * q) ** 2 / 4, b)

    least = np.abs(energy.minimum())
    never = np.full(len(v), np.inf)
    near = np.divide(heads.size() ** 2, least, out=never, where=least > 0)
    return np.where(slowing, near, 0.0)
