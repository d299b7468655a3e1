"""Staircases of random tasks and weights of every kind, compared with the flow of all heads."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import cycle
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray, IndexArray
from .....simulate.descent.rank_one_flow import Passages
from .....task import Task
from .....theory import population, staircase
from .....theory.linear_attention.saddle_to_saddle.instantaneous_drops import (
    exits_of_instantaneous_drops,
)
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ..common.controls import LONGER_CONTEXT, with_context
from .exit_time_measurements import observed_passages, whitened_shares

WITHIN = 5e-5
"""Relative error of an exit time: what the staircase neglects at the end of an escape, and what follows from it."""
MOST = 0.9
"""Least share of the tasks that are within this; the others are within what the staircase states as uncertain."""
PATIENCE = 30.0
"""Flow time, in units of 1/scale, for which each task is followed: exits that are later count as not made."""
SETTLED = 0.1
"""How far what is learned of each gain may be from a whole number on plateaus."""
EQUAL_GAINS = 0.02
"""Relative difference of gains below which it is not asked which of the directions is learned."""
TASKS, LONG_TASKS = 24, 96
IDENTIFIED = 0.5
"""Least share of the exits of which the direction and the head must be identified."""

STEPWISE = "drops as instantaneous steps"
LATER = "each exit one time constant later"
OTHER_HEAD = "another head takes it"
REVERSED = "directions in reverse"


@dataclass(frozen=True)
class Start:
    """A task with weights for it, `scale` being that of their entries."""

    task: Task
    model: Separate
    weights: Weights
    scale: float

    @property
    def until(self) -> float:
        """Flow time for which it is followed."""
        return PATIENCE / self.scale


class Change(NamedTuple):
    """What one exit learns and by which heads: several directions where gains are too close to tell them apart."""

    directions: frozenset[int]
    heads: frozenset[int]


@dataclass(frozen=True)
class Exits:
    """`times` (D,), inf where not made, the relative error `within` which they are stated, and what each changes.

    A change is None where the maps before and after are not those of greedy plateaus.
    """

    times: FloatArray
    changes: tuple[Change | None, ...]
    within: float = 0.0


Generator = np.random.Generator


# Random tasks and weights


def _generic(generator: Generator, weights: Weights) -> None:
    """Nothing is special about the weights."""


def _zero_head(generator: Generator, weights: Weights) -> None:
    for value in weights.values():
        value[0] = 0.0


def _value_alone(generator: Generator, weights: Weights) -> None:
    """A head of which only the value is not zero cannot grow."""
    _zero_head(generator, weights)
    weights["value"][0, -1] = 0.1


def _key_alone(generator: Generator, weights: Weights) -> None:
    _zero_head(generator, weights)
    key = weights["key"][0, 0, :-1]
    key[:] = 0.1 * generator.standard_normal(len(key))


def _mirror_pair(generator: Generator, weights: Weights) -> None:
    """(v, q) → (−v, −q) leaves a head's map alone."""
    weights["value"][1] = -weights["value"][0]
    weights["key"][1] = weights["key"][0]
    weights["query"][1] = -weights["query"][0]


def _without_a_direction(generator: Generator, weights: Weights) -> None:
    """The head with the largest value lacks the first axis."""
    weights["key"][0, 0, 0] = 0.0
    weights["query"][0, 0, 0] = 0.0
    weights["value"][0] *= 4


def _two_scales(generator: Generator, weights: Weights) -> None:
    """Heads of sizes that differ by up to a factor of ten."""
    sizes = 10 ** -generator.uniform(0, 1, len(weights["value"]))
    for value in weights.values():
        for head, size in enumerate(sizes):
            value[head] *= size


KINDS: dict[str, Callable[[Generator, Weights], None]] = {
    "generic": _generic,
    "near tie": _generic,
    "exact tie": _generic,
    "commuting teacher": _generic,
    "non-commuting teacher": _generic,
    "fewer heads": _generic,
    "zero head": _zero_head,
    "value alone": _value_alone,
    "key alone": _key_alone,
    "mirror pair": _mirror_pair,
    "lacks a direction": _without_a_direction,
    "two scales": _two_scales,
}
"""What changes the weights of each kind of start in place; the task of some kinds is special too."""


def random_start(kind: str, seed: int) -> Start:
    """A start of one of the KINDS: two to four directions, up to six heads, scale 1e-3 to 1e-2.

    >>> random_start("zero head", 0).weights["value"][0]
    array([0., 0., 0., 0.])
    """
    # One stream for each kind, so that adding a kind changes no other start.
    generator = np.random.default_rng([seed, list(KINDS).index(kind)])
    task = _random_task(kind, generator)
    D = task.dimension
    fewest, most = (1, D - 1) if kind == "fewer heads" else (max(D, 2), 6)
    model = Separate(heads=int(generator.integers(fewest, most + 1)))

    scale = float(10 ** generator.uniform(-3, -2))
    weights = {}
    for name, shape in model.shapes(D).items():
        weights[name] = scale * generator.standard_normal(shape)
    KINDS[kind](generator, weights)
    return Start(task, model, weights, scale)


def _random_task(kind: str, generator: Generator) -> Task:
    """Λ diagonal of trace 1, Ω the identity but for two kinds."""
    D = int(generator.integers(2, 5))
    eigenvalues = np.sort(generator.uniform(0.3, 1, D))[::-1]
    if kind == "near tie":
        eigenvalues[1] = eigenvalues[0] * (1 - 10 ** -generator.uniform(1, 4))
    if kind == "exact tie":
        eigenvalues[1] = eigenvalues[0]
    return Task(
        eigenvalues / np.sum(eigenvalues),
        teacher_covariance=_random_teachers(kind, D, generator),
        noise_variance=float(generator.choice([0.0, 0.1])),
        context_length=int(generator.integers(5, 30)),
    )


def _random_teachers(kind: str, dimension: int, generator: Generator) -> FloatArray:
    """Ω (D, D)."""
    if kind == "commuting teacher":
        return np.diag(generator.uniform(0.4, 2.5, dimension))
    if kind == "non-commuting teacher":
        basis = np.linalg.qr(generator.standard_normal((dimension, dimension)))[0]
        Ω = basis * generator.uniform(0.5, 2, dimension) @ basis.T
        symmetric: FloatArray = (Ω + Ω.T) / 2
        return symmetric
    return np.eye(dimension)


def _starts(context: RunContext, count: int) -> list[Start]:
    """All kinds in turn, each with a seed of its own."""
    # Every kind comes as often as any other.
    kinds = cycle(KINDS)
    return [random_start(next(kinds), seed) for seed in context.seeds(count)]


# Exits of the flow of all heads


def _observed(context: RunContext, count: int) -> list[Exits]:
    return [_flow_exits(start) for start in _starts(context, count)]


def _flow_exits(start: Start) -> Exits:
    """The exits of the flow of all heads."""
    run = observed_passages(start.task, start.model, start.weights, start.until)
    changes: list[Change | None] = []
    for i, time in enumerate(run.times):
        changes.append(_change_at(start, run, i) if np.isfinite(time) else None)
    return Exits(run.times, tuple(changes))


def _change_at(start: Start, run: Passages, i: int) -> Change | None:
    """The directions of the gain that is learned at exit i, and the heads that change by half as much as any."""
    maps = (
        run.maps()
    )  # (D + 1, H, D, D), one where the heads are quietest on each plateau
    learned, first = whitened_shares(start.task, maps.sum(axis=1), EQUAL_GAINS)

    end = np.append(first[1:], start.task.dimension + 1)
    before, after = (_greedily_learned(m, first, end) for m in (i, i + 1))
    distances = np.abs(learned[i : i + 2] - np.array([before, after]))
    if np.max(distances) > SETTLED:
        return None

    group = int(np.argmax(after - before))
    directions = range(int(first[group]), int(end[group]))
    return Change(frozenset(directions), _changing_heads(maps[i], maps[i + 1]))


def _changing_heads(before: FloatArray, after: FloatArray) -> frozenset[int]:
    """Heads whose maps (H, D, D) change by more than half of the largest change."""
    changes = np.linalg.norm(after - before, axis=(1, 2))  # (H,)
    heads = np.flatnonzero(changes > np.max(changes) / 2)
    return frozenset(heads.tolist())


def _greedily_learned(m: int, first: IndexArray, end: IndexArray) -> IndexArray:
    """How many directions of each group of gains, d = first … end − 1, are learned on greedy plateau m."""
    count: IndexArray = np.clip(m - (first - 1), 0, end - first)
    return count


# Exits of the staircase


def _predicted(context: RunContext, count: int, control: str) -> list[Exits]:
    return [_changed(start, control) for start in _starts(context, count)]


def _changed(start: Start, control: str) -> Exits:
    """The staircase's exits, or a wrong variant of them."""
    if control == LONGER_CONTEXT:
        (N,) = start.task.context_lengths
        return _stated(replace(start, task=with_context(start.task, N + 1)))

    exits = _stated(start)
    if control == STEPWISE:
        return replace(exits, times=_stepwise_times(start, exits.times))
    if control == LATER:
        fastest_rate = np.linalg.norm(population(start.task, start.model).B, 2)
        return replace(exits, times=exits.times + 1 / fastest_rate)

    changes = tuple(
        change and _wrong_change(change, start, control) for change in exits.changes
    )
    return replace(exits, changes=changes)


def _wrong_change(change: Change, start: Start, control: str) -> Change:
    """The change by the next head, or of the directions numbered in reverse."""
    if control == OTHER_HEAD:
        count = start.model.head_count
        heads = frozenset((head + 1) % count for head in change.heads)
        return change._replace(heads=heads)
    if control == REVERSED:
        last = start.task.dimension + 1
        directions = frozenset(last - d for d in change.directions)
        return change._replace(directions=directions)
    return change


def _stated(start: Start) -> Exits:
    """The staircase: its exits, and the drops among which they are; within any distance if it is refused."""
    try:
        steps = staircase(start.task, start.model, start.weights)
    except ArithmeticError:  # refused: too close to where the path divides
        D = start.task.dimension
        return Exits(np.full(D, np.inf), (None,) * D, np.inf)

    drops: dict[float, Change] = {}
    for time, d, head in zip(
        steps.drop_times, steps.directions, steps.heads, strict=True
    ):
        drops[float(time)] = Change(frozenset({d}), frozenset({head}))

    times = np.where(steps.exit_times < start.until, steps.exit_times, np.inf)
    changes = tuple(_change_near(float(time), drops) for time in times)
    return Exits(times, changes, max(WITHIN, steps.uncertainty))


def _change_near(time: float, drops: dict[float, Change]) -> Change | None:
    """The drop at this exit, None if there is none because it is one of another plateau."""
    if time == np.inf:
        return None
    for drop_time, change in drops.items():
        if abs(drop_time - time) <= 1e-9 * time:
            return change
    return None


def _stepwise_times(start: Start, times: FloatArray) -> FloatArray:
    """The approximation by instantaneous steps where there is one."""
    try:
        drops = exits_of_instantaneous_drops(start.task, start.model, start.weights)
    except ValueError:
        # Growth rates in another order than gains, or Λ and Ω that do not commute.
        return times
    exits = np.full(len(times), np.inf)
    exits[: len(drops.exit_times)] = drops.exit_times
    return np.where(exits < start.until, exits, np.inf)


# The comparison


@dataclass
class _Comparison:
    """How the predicted exits of all tasks compare with the observed ones."""

    tasks: int = 0
    certain: int = 0
    """Tasks of which the staircase states no larger uncertainty."""
    within: bool = True
    """Whether all exit times are as near as stated."""
    gap: float = 0.0
    exits: int = 0
    identified: int = 0
    """Exits of which both sides tell the directions and heads."""
    alike: int = 0

    def add(self, stated: Exits, measured: Exits) -> None:
        """Count one task."""
        self.tasks += 1
        self.certain += stated.within == WITHIN
        self.exits += int(np.sum(np.isfinite(measured.times)))
        if stated.within < np.inf:
            gap = _relative_gap(stated.times, measured.times)
            self.within &= gap <= stated.within
            self.gap = max(self.gap, gap)

        for change, group in zip(stated.changes, measured.changes, strict=True):
            if change is None or group is None:
                continue
            same_directions = change.directions <= group.directions
            self.identified += 1
            self.alike += same_directions and change.heads <= group.heads


def _agree(predicted: list[Exits], observed: list[Exits]) -> Evidence:
    """The same exits at the same times, and the same heads along the same directions where that is identified."""
    comparison = _Comparison()
    for stated, measured in zip(predicted, observed, strict=True):
        comparison.add(stated, measured)

    uncertain = comparison.tasks - comparison.certain
    identified, alike = comparison.identified, comparison.alike
    certain_enough = comparison.certain >= MOST * comparison.tasks
    same_changes = alike == identified >= IDENTIFIED * comparison.exits
    return Evidence(
        agrees=comparison.within and certain_enough and same_changes,
        observed=f"{comparison.exits} exits, times {comparison.gap:.1e} apart, "
        f"{alike} of {identified} directions and heads alike",
        expected=f"at most {WITHIN:g} apart, on {uncertain} tasks what it states, all alike",
        residual=comparison.gap,
    )


def _relative_gap(predicted: FloatArray, observed: FloatArray) -> float:
    """Largest relative distance, infinite where only one of the two makes an exit."""
    never = np.isinf(predicted) & np.isinf(observed)
    stated, measured = predicted[~never], observed[~never]
    gaps = np.abs(stated / measured - 1)
    gaps = np.where(np.isfinite(stated), gaps, np.inf)
    return float(np.max(gaps, initial=0.0))


def _claim(name: str, title: str, count: int, tier: str) -> Claim:
    """The claim on so many random tasks."""
    return Claim(
        id=f"random_staircases.{name}",
        title=title,
        paper="zhang2025",
        equation="saddle to saddle from any small weights",
        beyond_paper=True,
        statement=r"t_m, \quad d_m, \quad h_m",
        observable=f"exits of the flow of all heads on {count} random tasks, with moments that are "
        f"derived independently",
        limit="none: scale 1e-3 to 1e-2, exit times within 5e-5, or the uncertainty that is stated",
        measure=lambda context: _observed(context, count),
        predict=lambda context, control: _predicted(context, count, control),
        judge=_agree,
        controls=(STEPWISE, LATER, LONGER_CONTEXT, OTHER_HEAD, REVERSED),
        tier=tier,
    )


CLAIMS = (
    _claim(
        "kinds",
        "The staircase predicts the flow of all heads on random tasks and weights of twelve kinds",
        TASKS,
        "standard",
    ),
    _claim(
        "more",
        "The staircase predicts the flow of all heads on 96 random tasks of twelve kinds",
        LONG_TASKS,
        "long",
    ),
)
