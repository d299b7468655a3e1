"""Directions that a run from small weights learns, their order and their heads: read off the flow of all heads."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import BoolArray, FloatArray, IndexArray
from .....runtime.covariances import symmetric_root
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import Population, population, staircase
from ....evidence.claim import RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import population_statistics
from ....metrics.curves import exit_times
from ..common.fixtures import (
    DIAGONAL,
    NON_COMMUTING,
    STEEP_TEACHERS,
    head_maps,
)

SCALE = 5e-3
"""Entries of the initial weights: so small that no two exits overlap in the cases below."""

SETTLED = 0.1
"""A direction counts as learned, or as not begun, within this share of what the minimum has along it."""

LATENESS = 1e-3
"""Largest relative difference of an exit time at this scale."""

OTHER_HEAD = "another head takes it"
ALL_LONG = "every plateau is long"
REVERSED = "directions in another order"


@dataclass(frozen=True)
class Case:
    """A task and a model, the flow time until which the flow is followed, and the seed of its weights."""

    task: Task
    model: Separate
    until: float
    seed: int = 1

    @property
    def start(self) -> Weights:
        """Small initial weights on the restricted block."""
        return initial_weights(self.model, self.task, SCALE, self.seed, "restricted")


CASES = (
    # A head of rank two takes two directions.
    Case(DIAGONAL, Separate(heads=2, rank=2), 1300.0),
    # Λ and Ω do not commute.
    Case(NON_COMMUTING, Separate(heads=3), 500.0),
    # The first plateau is not that of the largest gain.
    Case(STEEP_TEACHERS, Separate(heads=3), 400.0),
    # Two gains are equal.
    Case(Task([1.0, 1.0, 0.6], context_length=20), Separate(heads=3), 1300.0, seed=9),
    # Rank one and distinct gains.
    Case(Task([2.0, 1.0], context_length=20), Separate(heads=3), 300.0),
)


@dataclass(frozen=True)
class Itinerary:
    """Plateaus in turn: `subsets` learned; `directions`, `heads`, `kinds` and `exits` (n,) between them."""

    subsets: tuple[tuple[int, ...], ...]
    directions: tuple[int, ...]
    heads: tuple[int, ...]
    kinds: tuple[str, ...]
    exits: FloatArray

    def order(self) -> tuple[tuple[object, ...], ...]:
        """All but the times."""
        return self.subsets, self.directions, self.heads, self.kinds


def observed(context: RunContext) -> list[Itinerary]:
    """The itinerary of the flow of all heads, case by case."""
    return [_observed_itinerary(case) for case in CASES]


def _observed_itinerary(case: Case) -> Itinerary:
    """What the flow of all heads does, from its maps and its loss alone."""
    source = population_statistics(case.task, case.model)
    times = np.linspace(0, case.until, 4001)
    run = flow(case.model, source, case.start, times, rtol=1e-8)

    maps = head_maps(run)  # (T, H, D, D)
    shares = direction_shares(population(case.task, case.model), maps.sum(axis=1))
    plateaus = [quietest_time(shares, times) for times in plateau_intervals(shares)]
    subsets = tuple(learned_subset(shares[t]) for t in plateaus)

    directions = [newly_learned(before, after) for before, after in pairwise(subsets)]
    heads, kinds = _learning_heads(maps[plateaus])
    return Itinerary(
        subsets=subsets,
        directions=tuple(directions),
        heads=heads,
        kinds=kinds,
        exits=exit_times(run.flow_time, run.loss, run.loss[plateaus]),
    )


def _learning_heads(maps: FloatArray) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """The head of each exit and the kind of the exit, from the maps (n + 1, H, D, D) on plateaus.

    Between two plateaus the head whose map changes most has learned the new direction.
    """
    changes = np.linalg.norm(np.diff(maps, axis=0), axis=(2, 3))  # (n, H)
    sizes = np.linalg.norm(maps[:-1], axis=(2, 3))  # (n, H), before each exit
    heads = np.argmax(changes, axis=1)
    return tuple(heads.tolist()), exit_kinds(sizes, changes, heads)


def exit_kinds(
    sizes: FloatArray, changes: FloatArray, heads: IndexArray
) -> tuple[str, ...]:
    """Kind of each exit: "long" where the head that learns was small before it and had to escape, else "short".

    Sizes and changes (n, H) of all heads at n exits, and the heads (n,) that learn.

    >>> exit_kinds(np.array([[0.01], [1.0]]), np.array([[1.0], [0.8]]), np.array([0, 0]))
    ('long', 'short')
    """
    kinds = []
    for size, change, head in zip(sizes, changes, heads, strict=True):
        kinds.append("long" if size[head] < SETTLED * change[head] else "short")
    return tuple(kinds)


def direction_shares(moments: Population, maps: FloatArray) -> FloatArray:
    """Share (T, D) of each direction of the minimum that maps (T, D, D) have, between 0 and 1 on plateaus.

    In whitened coordinates A^{1/2} M Λ^{1/2} the minimum is Σ_d σ_d u_d t_dᵀ, and the share of d is u_dᵀ M̃ t_d/σ_d.
    Directions of equal σ are filled one after another, since any rotation among them is as good.
    """
    left = symmetric_root(moments.A)
    right = symmetric_root(moments.Lambda)
    u, σ, t = np.linalg.svd(left @ moments.minimum @ right)
    shares: FloatArray = np.einsum("id,tij,dj->td", u, left @ maps @ right, t) / σ

    for d in range(len(σ)):
        equal = np.flatnonzero(np.isclose(σ, σ[d]))
        if equal[0] == d:  # once for each group
            total = np.sum(shares[:, equal], axis=1, keepdims=True)
            shares[:, equal] = np.clip(total - np.arange(len(equal)), 0, 1)
    return shares


def plateau_intervals(shares: FloatArray) -> list[IndexArray]:
    """Indices of the times on each plateau: every share near 0 or 1, and all of them near the same as before.

    >>> shares = np.array([[0.0], [0.02], [0.5], [0.97], [1.0]])
    >>> [interval.tolist() for interval in plateau_intervals(shares)]
    [[0, 1], [3, 4]]
    """
    nearest = np.rint(shares)
    distance = np.max(np.abs(shares - nearest), axis=1)
    settled = np.flatnonzero(distance < SETTLED)
    changed: BoolArray = np.any(np.diff(nearest[settled], axis=0), axis=1)
    return np.split(settled, 1 + np.flatnonzero(changed))


def quietest_time(shares: FloatArray, interval: IndexArray) -> int:
    """The index in the interval at which the shares are nearest to 0 and 1."""
    distance = np.max(np.abs(shares - np.rint(shares))[interval], axis=1)
    return int(interval[np.argmin(distance)])


def learned_subset(shares: FloatArray) -> tuple[int, ...]:
    """Directions, from 1, of which the shares (D,) are near 1.

    >>> learned_subset(np.array([0.98, 0.01, 1.0]))
    (1, 3)
    """
    return tuple(int(d) for d in 1 + np.flatnonzero(np.rint(shares)))


def newly_learned(before: tuple[int, ...], after: tuple[int, ...]) -> int:
    """The first direction that the later subset has and the earlier has not."""
    return min(set(after) - set(before))


def predicted(context: RunContext, control: str) -> list[Itinerary]:
    """The itineraries of the staircases, or of a wrong variant."""
    return [_changed(case, control) for case in CASES]


def _changed(case: Case, control: str) -> Itinerary:
    stated = _stated_itinerary(CASES.index(case))
    if control == OTHER_HEAD:
        count = case.model.head_count
        heads = tuple((head + 1) % count for head in stated.heads)
        return replace(stated, heads=heads)
    if control == ALL_LONG:
        return replace(stated, kinds=("long",) * len(stated.kinds))
    if control == REVERSED:
        return replace(stated, directions=stated.directions[::-1])
    return stated


@cache
def _stated_itinerary(index: int) -> Itinerary:
    case = CASES[index]
    steps = staircase(case.task, case.model, case.start)
    return Itinerary(
        subsets=steps.subsets,
        directions=steps.directions,
        heads=steps.heads,
        kinds=steps.kinds,
        exits=steps.drop_times,
    )


def judge(predicted: list[Itinerary], observed: list[Itinerary]) -> Evidence:
    """Subsets, directions, heads and kinds are the same; exits are at most LATENESS apart, relative."""
    pairs = list(zip(predicted, observed, strict=True))
    alike = [stated.order() == measured.order() for stated, measured in pairs]
    gap = max(_relative_gap(stated.exits, measured.exits) for stated, measured in pairs)
    return Evidence(
        agrees=all(alike) and gap <= LATENESS,
        observed=f"{sum(alike)} of {len(pairs)} alike, exit times {gap:.1e} apart",
        expected=f"all alike, exit times at most {LATENESS:g}",
        residual=gap,
    )


def _relative_gap(predicted: FloatArray, observed: FloatArray) -> float:
    """Largest relative distance, infinite where another number of exits is made."""
    if predicted.shape != observed.shape or not np.all(np.isfinite(observed)):
        return np.inf
    return float(np.max(np.abs(observed / predicted - 1)))
