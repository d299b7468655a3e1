"""Staircases of random tasks and weights of every kind, held against the flow of all heads."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
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
"""Relative error of an exit time: what the staircase neglects at the end of a wait, and what follows from it."""
MOST = 0.9
"""Least share of the tasks that are within this; the others are within what the staircase states as uncertain."""
PATIENCE = 30.0
"""Flow time, in units of 1/scale, for which each task is followed: exits that are later count as not made."""
SETTLED = 0.1
"""How far what is learned of each gain may be from a whole number where the heads are at rest."""
EQUAL_GAINS = 0.02
"""Relative difference of gains below which it is not asked which of the directions is learned."""
TASKS, LONG_TASKS = 24, 96
SEEN = 0.5
"""Least share of the exits of which the direction and the head must be seen."""

STEPS = "drops as instantaneous steps"
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


Mover = tuple[frozenset[int], frozenset[int]]
"""Directions and heads."""


@dataclass(frozen=True)
class Exits:
    """`times` (D,), inf where not made, what they are said to be `within`; for each the direction and the head.

    Several directions where gains are too close to tell, several heads where they move together; None where the
    heads are not at rest on the greedy plateaus before and after.
    """

    times: FloatArray
    movers: tuple[Mover | None, ...]
    within: float = 0.0


Generator = np.random.Generator
Change = Callable[[Generator, Weights], None]
"""Changes weights in place."""


def _nothing(generator: Generator, weights: Weights) -> None:
    """Generic weights."""


def _zero_head(generator: Generator, weights: Weights) -> None:
    for value in weights.values():
        value[0] = 0.0


def _stuck_value(generator: Generator, weights: Weights) -> None:
    _zero_head(generator, weights)
    weights["value"][0, -1] = 0.1


def _stuck_key(generator: Generator, weights: Weights) -> None:
    _zero_head(generator, weights)
    key = weights["key"][0, 0, :-1]
    key[:] = 0.1 * generator.standard_normal(len(key))


def _mirror_pair(generator: Generator, weights: Weights) -> None:
    for name, sign in (("value", -1), ("key", 1), ("query", -1)):
        weights[name][1] = sign * weights[name][0]


def _without_a_direction(generator: Generator, weights: Weights) -> None:
    weights["key"][0, 0, 0] = weights["query"][0, 0, 0] = 0.0
    weights["value"][0] *= 4


def _two_scales(generator: Generator, weights: Weights) -> None:
    sizes = 10 ** -generator.uniform(0, 1, len(weights["value"]))
    for value in weights.values():
        value *= sizes.reshape(-1, *[1] * (value.ndim - 1))


KINDS: dict[str, Change] = {
    "generic": _nothing,
    "near tie": _nothing,
    "exact tie": _nothing,
    "commuting teacher": _nothing,
    "oblique teacher": _nothing,
    "fewer heads": _nothing,
    "zero head": _zero_head,
    "stuck value": _stuck_value,
    "stuck key": _stuck_key,
    "mirror pair": _mirror_pair,
    "lacks a direction": _without_a_direction,
    "two scales": _two_scales,
}
"""What is special about the weights of each kind of start; the task of some kinds is special too."""


def random_start(kind: str, seed: int) -> Start:
    """A start of one of the KINDS: two to four directions, up to six heads, scale 1e-3 to 1e-2.

    >>> random_start("zero head", 0).weights["value"][0]
    array([0., 0., 0., 0.])
    """
    generator = np.random.default_rng([seed, list(KINDS).index(kind)])
    task = _random_task(kind, generator)
    D = task.dimension
    heads = (
        int(generator.integers(1, D))
        if kind == "fewer heads"
        else int(generator.integers(max(D, 2), 7))
    )
    model, scale = Separate(heads=heads), float(10 ** generator.uniform(-3, -2))
    weights = {
        name: scale * generator.standard_normal(shape)
        for name, shape in model.shapes(D).items()
    }
    KINDS[kind](generator, weights)
    return Start(task, model, weights, scale)


def _random_task(kind: str, generator: Generator) -> Task:
    D = int(generator.integers(2, 5))
    eigenvalues = np.sort(generator.uniform(0.3, 1, D))[::-1]
    if kind == "near tie":
        eigenvalues[1] = eigenvalues[0] * (1 - 10 ** -generator.uniform(1, 4))
    if kind == "exact tie":
        eigenvalues[1] = eigenvalues[0]
    teacher = np.eye(D)
    if kind == "commuting teacher":
        teacher = np.diag(generator.uniform(0.4, 2.5, D))
    if kind == "oblique teacher":
        basis = np.linalg.qr(generator.standard_normal((D, D)))[0]
        teacher = basis * generator.uniform(0.5, 2, D) @ basis.T
        teacher = (teacher + teacher.T) / 2
    return Task(
        eigenvalues / np.sum(eigenvalues),
        teacher_covariance=teacher,
        noise_variance=float(generator.choice([0.0, 0.1])),
        context_length=int(generator.integers(5, 30)),
    )


def _starts(context: RunContext, count: int) -> list[Start]:
    """All kinds in turn, each with a seed of its own."""
    kinds = list(KINDS)
    return [
        random_start(kinds[i % len(kinds)], seed)
        for i, seed in enumerate(context.seeds(count))
    ]


def _observed(context: RunContext, count: int) -> list[Exits]:
    return [_seen(start) for start in _starts(context, count)]


def _seen(start: Start) -> Exits:
    """The exits of the flow of all heads."""
    run = observed_passages(
        start.task, start.model, start.weights, PATIENCE / start.scale
    )
    movers = [
        _mover(start, run, i) if np.isfinite(time) else None
        for i, time in enumerate(run.times)
    ]
    return Exits(run.times, tuple(movers))


def _mover(start: Start, run: Passages, i: int) -> Mover | None:
    """The directions of the gain that is learned at exit i, and the heads that change by half as much as any."""
    maps = run.maps()
    shares, first = whitened_shares(start.task, maps.sum(axis=1), EQUAL_GAINS)
    ends = np.append(first[1:], start.task.dimension + 1)
    greedy = np.clip(np.array([[i], [i + 1]]) - (first - 1), 0, ends - first)
    if np.max(np.abs(shares[i : i + 2] - greedy)) > SETTLED:
        return None
    group = int(np.argmax(greedy[1] - greedy[0]))
    moved = np.linalg.norm(maps[i + 1] - maps[i], axis=(1, 2))
    heads = np.flatnonzero(moved > np.max(moved) / 2)
    return frozenset(range(int(first[group]), int(ends[group]))), frozenset(
        heads.tolist()
    )


def _predicted(context: RunContext, count: int, control: str) -> list[Exits]:
    return [_varied(start, control) for start in _starts(context, count)]


def _varied(start: Start, control: str) -> Exits:
    if control == LONGER_CONTEXT:
        (N,) = start.task.context_lengths
        return _stated(replace(start, task=with_context(start.task, N + 1)))
    exits, heads = _stated(start), start.model.head_count
    if control == STEPS:
        return replace(exits, times=_by_steps(start, exits.times))
    if control == LATER:
        return replace(
            exits,
            times=exits.times
            + 1 / np.linalg.norm(population(start.task, start.model).B, 2),
        )
    movers = exits.movers
    if control == OTHER_HEAD:
        movers = tuple(
            each and (each[0], frozenset((head + 1) % heads for head in each[1]))
            for each in movers
        )
    if control == REVERSED:
        last = start.task.dimension + 1
        movers = tuple(
            each and (frozenset(last - d for d in each[0]), each[1]) for each in movers
        )
    return replace(exits, movers=movers)


def _stated(start: Start) -> Exits:
    """The staircase: its exits, and the drops among which they are; within any distance if it is refused."""
    try:
        steps = staircase(start.task, start.model, start.weights)
    except ArithmeticError:  # refused: too close to where the path divides
        return Exits(
            np.full(start.task.dimension, np.inf),
            (None,) * start.task.dimension,
            np.inf,
        )
    drops = zip(steps.drop_times, steps.directions, steps.heads, strict=True)
    movers = {
        float(time): (frozenset({direction}), frozenset({head}))
        for time, direction, head in drops
    }
    times = np.where(
        steps.exit_times < PATIENCE / start.scale, steps.exit_times, np.inf
    )
    return Exits(
        times,
        tuple(_near(float(time), movers) for time in times),
        max(WITHIN, steps.uncertainty),
    )


def _near(time: float, movers: dict[float, Mover]) -> Mover | None:
    """The drop at this exit, None if there is none because it is one of another plateau."""
    if time == np.inf:
        return None
    return next(
        (mover for drop, mover in movers.items() if abs(drop - time) <= 1e-9 * time),
        None,
    )


def _by_steps(start: Start, times: FloatArray) -> FloatArray:
    """The approximation by instantaneous steps where there is one."""
    try:
        drops = exits_of_instantaneous_drops(start.task, start.model, start.weights)
    except (
        ValueError
    ):  # drives in another order than gains, or Λ and Ω that do not commute
        return times
    found = np.full(len(times), np.inf)
    found[: len(drops.exit_times)] = drops.exit_times
    return np.where(found < PATIENCE / start.scale, found, np.inf)


def _agree(predicted: list[Exits], observed: list[Exits]) -> Evidence:
    """The same exits at the same times, and the same heads along the same directions where that is seen."""
    pairs = list(zip(predicted, observed, strict=True))
    computed = [(p, o) for p, o in pairs if p.within < np.inf]
    gaps = [_gap(p.times, o.times) for p, o in computed]
    within = [gap <= p.within for gap, (p, _) in zip(gaps, computed, strict=True)]
    movers = [both for p, o in pairs for both in zip(p.movers, o.movers, strict=True)]
    made = sum(int(np.sum(np.isfinite(o.times))) for _, o in pairs)
    seen = [(p, o) for p, o in movers if p is not None and o is not None]
    alike = sum(p[0] <= o[0] and p[1] <= o[1] for p, o in seen)
    shown = f"{made} exits, times {max(gaps):.1e} apart, {alike} of {len(seen)} directions and heads alike"
    sure = sum(p.within == WITHIN for p, _ in pairs)
    agrees = (
        all(within) and sure >= MOST * len(pairs) and alike == len(seen) >= SEEN * made
    )
    expected = f"at most {WITHIN:g} apart, on {len(pairs) - sure} tasks what it states, all alike"
    return Evidence(agrees, shown, expected, residual=max(gaps))


def _gap(predicted: FloatArray, observed: FloatArray) -> float:
    """Largest relative distance, infinite where only one of the two gets there."""
    never = np.isinf(predicted) & np.isinf(observed)
    gaps = np.abs(predicted[~never] / observed[~never] - 1)
    return float(
        np.max(np.where(np.isfinite(predicted[~never]), gaps, np.inf), initial=0.0)
    )


def _claim(name: str, title: str, count: int, tier: str) -> Claim:
    return Claim(
        id=f"random_staircases.{name}",
        title=title,
        paper="zhang2025",
        equation="saddle to saddle from any small weights",
        beyond_paper=True,
        statement=r"t_m, \quad d_m, \quad h_m",
        observable=f"exits of the flow of all heads on {count} random tasks of twelve kinds, moments derived anew",
        limit="none: scale 1e-3 to 1e-2, exit times within 5e-5, or the uncertainty that is stated",
        measure=lambda context: _observed(context, count),
        predict=lambda context, control: _predicted(context, count, control),
        judge=_agree,
        controls=(STEPS, LATER, LONGER_CONTEXT, OTHER_HEAD, REVERSED),
        tier=tier,
    )


CLAIMS = (
    _claim(
        "kinds",
        "The staircase of random weights of every kind is that of the flow of all heads",
        TASKS,
        "standard",
    ),
    _claim("more", "So it is on many more random tasks", LONG_TASKS, "long"),
)
