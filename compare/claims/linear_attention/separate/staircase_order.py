"""What a run from small weights learns, in which order, and which head takes it: read off the flow of all heads."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import Population, population, staircase
from ....evidence.claim import RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import population_statistics
from ....metrics.curves import exit_times
from ..setting.time_courses import DIAGONAL, OBLIQUE, maps_of

SCALE, SETTLED, LATENESS = 5e-3, 0.1, 1e-3
STEEP = Task([1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=20)
CLIMBS = (
    (DIAGONAL, Separate(heads=2, rank=2), 1300.0, 1),
    (OBLIQUE, Separate(heads=3), 500.0, 1),
    (STEEP, Separate(heads=3), 400.0, 1),
    (Task([1.0, 1.0, 0.6], context_length=20), Separate(heads=3), 1300.0, 9),
    (Task([2.0, 1.0], context_length=20), Separate(heads=3), 300.0, 1),
)
"""A head that takes two directions, Λ and Ω that do not commute, a visit that is not greedy, equal gains, rank one.

Each with the flow time until which it is followed and the seed of its weights.
"""

OTHER_HEAD = "another head takes it"
ALL_LONG = "every wait is long"
REVERSED = "directions in another order"


@dataclass(frozen=True)
class Climb:
    """Plateaus one by one: `subsets` learned; `directions`, `heads`, `kinds` and `exits` (n,) between them."""

    subsets: tuple[tuple[int, ...], ...]
    directions: tuple[int, ...]
    heads: tuple[int, ...]
    kinds: tuple[str, ...]
    exits: FloatArray

    def order(self) -> tuple[tuple[object, ...], ...]:
        """All but the times."""
        return self.subsets, self.directions, self.heads, self.kinds


def _start(case: int) -> Weights:
    task, model, _, seed = CLIMBS[case]
    return initial_weights(model, task, SCALE, seed, "restricted")


def observed(context: RunContext) -> list[Climb]:
    """The flow of all heads, case by case."""
    return [_seen(case) for case in range(len(CLIMBS))]


def _seen(case: int) -> Climb:
    task, model, late, _ = CLIMBS[case]
    run = flow(
        model,
        population_statistics(task, model),
        _start(case),
        np.linspace(0, late, 4001),
        rtol=1e-8,
    )
    value, key, query = (
        np.asarray(run.weights[name]) for name in ("value", "key", "query")
    )
    heads = np.einsum(
        "th,thri,thrj->thij", value[..., -1], key[..., :-1], query[..., :-1]
    )
    shares = _shares(population(task, model), maps_of(model, run))
    whole = np.rint(shares)
    rests = np.flatnonzero(np.max(np.abs(shares - whole), axis=1) < SETTLED)
    spans = np.split(
        rests, 1 + np.flatnonzero(np.any(np.diff(whole[rests], axis=0), axis=1))
    )
    at = [
        span[np.argmin(np.max(np.abs(shares - whole)[span], axis=1))] for span in spans
    ]
    levels = np.asarray(run.loss)[at]
    subsets = tuple(tuple(int(d) for d in 1 + np.flatnonzero(whole[i])) for i in at)
    gains = np.linalg.norm(np.diff(heads[at], axis=0), axis=(2, 3))
    movers = np.argmax(gains, axis=1)
    idle = [
        np.linalg.norm(heads[i, head]) < SETTLED * gain[head]
        for i, head, gain in zip(at[:-1], movers, gains, strict=True)
    ]
    return Climb(
        subsets,
        tuple(min(set(after) - set(before)) for before, after in pairwise(subsets)),
        tuple(int(head) for head in movers),
        tuple("long" if each else "short" for each in idle),
        exit_times(run.flow_time, run.loss, levels),
    )


def _shares(moments: Population, maps: FloatArray) -> FloatArray:
    """How much of each direction the maps hold (T, D), on the whitened minimum; equal ones in turn."""
    left, right = (_root(matrix) for matrix in (moments.A, moments.Lambda))
    keys, sizes, queries = np.linalg.svd(left @ moments.minimum @ right)
    shares = np.einsum("id,tij,dj->td", keys, left @ maps @ right, queries) / sizes
    for d in range(len(sizes)):
        level = np.flatnonzero(np.isclose(sizes, sizes[d]))
        if level[0] == d:
            total = np.sum(shares[:, level], axis=1)
            shares[:, level] = np.clip(total[:, None] - np.arange(len(level)), 0, 1)
    return np.asarray(shares)


def _root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors * np.sqrt(values) @ vectors.T)


def predicted(context: RunContext, control: str) -> list[Climb]:
    """The staircases, or one of their rivals."""
    return [_varied(case, control) for case in range(len(CLIMBS))]


def _varied(case: int, control: str) -> Climb:
    climb, count = _told(case), CLIMBS[case][1].head_count
    if control == OTHER_HEAD:
        return replace(climb, heads=tuple((head + 1) % count for head in climb.heads))
    if control == ALL_LONG:
        return replace(climb, kinds=("long",) * len(climb.kinds))
    if control == REVERSED:
        return replace(climb, directions=climb.directions[::-1])
    return climb


@cache
def _told(case: int) -> Climb:
    task, model, _, _ = CLIMBS[case]
    steps = staircase(task, model, _start(case))
    return Climb(
        steps.subsets, steps.directions, steps.heads, steps.kinds, steps.drop_times
    )


def judge(predicted: list[Climb], observed: list[Climb]) -> Evidence:
    """Subsets, directions, heads and kinds are the same; exits are at most LATENESS apart, relative."""
    pairs = list(zip(predicted, observed, strict=True))
    alike = [p.order() == o.order() for p, o in pairs]
    gaps = [_gap(p.exits, o.exits) for p, o in pairs]
    shown = f"{sum(alike)} of {len(pairs)} alike, exit times {max(gaps):.1e} apart"
    agrees = all(alike) and max(gaps) <= LATENESS
    return Evidence(
        agrees, shown, f"all alike, exit times at most {LATENESS:g}", residual=max(gaps)
    )


def _gap(predicted: FloatArray, observed: FloatArray) -> float:
    if predicted.shape != observed.shape or not np.all(np.isfinite(observed)):
        return np.inf
    return float(np.max(np.abs(observed / predicted - 1)))
