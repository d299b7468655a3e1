"""Staircases beyond rank one and commuting Λ, Ω: the flow of small heads visits what theory says, when it says."""

from functools import cache
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import Staircase, population, staircase, time_course
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence, Fit
from ....evidence.judges import equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import population_statistics
from ....metrics.curves import exit_times
from ..setting.time_courses import (
    DIAGONAL,
    OBLIQUE,
    SOURCE,
    diagonals,
    eigenvectors,
    maps_of,
)
from . import staircase_order as climbs

SCALES = (4e-3, 2e-3, 1e-3)
LADDERS = (
    (OBLIQUE, Separate(heads=3), eigenvectors(OBLIQUE)),
    (
        Task([1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=20),
        Separate(heads=3),
        np.eye(2)[:, ::-1],
    ),
    (DIAGONAL, Separate(heads=2, rank=2), np.eye(3)),
)
"""Λ and Ω that do not commute, a largest drive that is not the largest gain, heads of rank two: with directions."""

CONSTANT, SETTLED = 3e-3, 5e-4
LATER = "each exit one time constant later"
OTHER = "directions in another order"
EVERY_HEAD = "every head escapes"


class _Climb(NamedTuple):
    """`exits` (n,), and half way between them loss (n,), diagonals of M, amplitudes of what is learned (n, D)."""

    exits: FloatArray
    loss: FloatArray
    diagonals: FloatArray
    amplitudes: FloatArray


def _start(case: int, scale: float, context: RunContext) -> Weights:
    task, model, _ = LADDERS[case]
    return initial_weights(model, task, scale, seeds(context.seed)[0], "restricted")


def _flows(context: RunContext) -> list[list[_Climb]]:
    """The flow of all heads for each scale and case."""
    return [
        [_flow(case, scale, context) for case in range(len(LADDERS))]
        for scale in SCALES
    ]


def _flow(case: int, scale: float, context: RunContext) -> _Climb:
    (task, model, basis), start = LADDERS[case], _start(case, scale, context)
    expected = staircase(task, model, start)
    between = _between(expected.drop_times)
    near = np.outer(expected.drop_times, 1 + 1e-3 * np.linspace(-1, 1, 201)).ravel()
    run = flow(
        model,
        population_statistics(task, model),
        start,
        np.unique([0.0, *between, *near]),
        rtol=1e-10,
    )
    at = np.searchsorted(run.flow_time, between)
    key, query = (
        np.asarray(run.weights[name])[at][..., :-1] @ basis for name in ("key", "query")
    )
    amplitudes = np.sqrt(np.sum(np.abs(key * query), axis=(1, 2))) * _learned(expected)
    return _Climb(
        exit_times(run.flow_time, run.loss, expected.plateaus),
        run.loss[at],
        diagonals(maps_of(model, run)[at], basis),
        amplitudes,
    )


def _learned(steps: Staircase) -> FloatArray:
    """1 for the directions that are learned after each exit, else 0 (n, D)."""
    directions = 1 + np.arange(steps.moments.dimension)
    return np.array(
        [np.isin(directions, subset) for subset in steps.subsets[1:]], dtype=np.float64
    )


def _between(exits: FloatArray) -> FloatArray:
    """Flow times in the middle of each plateau but the first, and after the last exit."""
    return np.asarray((exits + np.append(exits[1:], 1.5 * exits[-1])) / 2)


def _predicted(context: RunContext, control: str) -> list[list[_Climb]]:
    return [
        [_varied(case, scale, context, control) for case in range(len(LADDERS))]
        for scale in SCALES
    ]


def _varied(case: int, scale: float, context: RunContext, control: str) -> _Climb:
    climb, (task, model, _) = _climb(case, scale, context), LADDERS[case]
    if control == OTHER:
        return climb._replace(
            diagonals=climb.diagonals[:, ::-1], amplitudes=climb.amplitudes[:, ::-1]
        )
    later = (
        1 / np.linalg.norm(population(task, model).B, 2) if control == LATER else 0.0
    )
    return climb._replace(exits=climb.exits + later)


@cache
def _climb(case: int, scale: float, context: RunContext) -> _Climb:
    task, model, _ = LADDERS[case]
    start = _start(case, scale, context)
    steps = staircase(task, model, start)
    course = time_course(task, model, _between(steps.drop_times), start)
    return _Climb(
        steps.drop_times,
        course.loss,
        course.coefficients,
        course.amplitudes * _learned(steps),
    )


def _agree(predicted: list[list[_Climb]], observed: list[list[_Climb]]) -> Evidence:
    """Relative errors of exit times stay below a constant times the scale; all else is settled."""
    pairs = [
        list(zip(p, o, strict=True)) for p, o in zip(predicted, observed, strict=True)
    ]
    exits = [
        np.concatenate([_error(p.exits, o.exits) for p, o in each]) for each in pairs
    ]
    constant = max(
        float(np.max(each)) / scale for each, scale in zip(exits, SCALES, strict=True)
    )
    rests = max(
        _worst(name, each)
        for each in pairs
        for name in ("loss", "diagonals", "amplitudes")
    )
    typical = tuple(float(np.exp(np.mean(np.log(each + 1e-300)))) for each in exits)
    slope = float(np.polyfit(np.log(SCALES), np.log(typical), 1)[0])
    shown = f"exit times {constant:.1e} × scale apart, what is at rest {rests:.1e}"
    bounds = f"at most {CONSTANT:g} × scale, {SETTLED:g}"
    agrees = constant <= CONSTANT and rests <= SETTLED
    return Evidence(
        agrees,
        shown,
        bounds,
        Fit("scale", SCALES, typical, slope, 1.0),
        residual=typical[-1],
    )


def _error(predicted: FloatArray, observed: FloatArray) -> FloatArray:
    """Relative distance, infinite where a run does not get there."""
    gap = np.abs(observed / predicted - 1)
    return np.where(np.isfinite(gap), gap, np.inf)


def _worst(name: str, pairs: list[tuple[_Climb, _Climb]]) -> float:
    """Largest distance in units of the largest value."""
    both = [(getattr(p, name), getattr(o, name)) for p, o in pairs]
    return max(float(np.max(np.abs(p - o)) / np.max(np.abs(o))) for p, o in both)


IDLE = ((OBLIQUE, Separate(heads=2)), (DIAGONAL, Separate(heads=3)))
"""Tasks on which one head is exactly zero, and of three heads a second one has a value only."""


def _idle_start(case: int, context: RunContext) -> Weights:
    task, model = IDLE[case]
    start = initial_weights(model, task, 1e-2, seeds(context.seed)[0], "restricted")
    kept = {"value": model.head_count - 1, "key": 1, "query": 1}
    for name, count in kept.items():
        start[name][count:] = 0.0
    return start


def _idle_ends(context: RunContext) -> list[FloatArray]:
    """Rank of the map and loss, long after the one head that can has grown."""
    found = []
    for case, (task, model) in enumerate(IDLE):
        start = _idle_start(case, context)
        late = 10 * staircase(task, model, start).drop_times[-1]
        run = flow(
            model, population_statistics(task, model), start, [0.0, late], rtol=1e-9
        )
        sizes = np.linalg.svd(maps_of(model, run)[-1], compute_uv=False)
        found.append(np.array([np.sum(sizes > 1e-3 * sizes[0]), run.loss[-1]]))
    return found


def _idle_plateaus(context: RunContext, control: str) -> list[FloatArray]:
    """Exits and the last plateau, or as if no head stayed idle."""
    found = []
    for case, (task, model) in enumerate(IDLE):
        steps = staircase(task, model, _idle_start(case, context))
        exits, level = len(steps.drop_times), steps.plateaus[-1]
        if control == EVERY_HEAD:
            exits, level = (
                model.head_count,
                steps.moments.greedy_losses[model.head_count],
            )
        found.append(np.array([exits, level]))
    return found


CLAIMS = (
    Claim(
        id="ladders.visits",
        title="Small heads of any rank, on any task, visit the plateaus of the staircase at its times",
        source=f"{SOURCE}, low rank; Λ and Ω that do not commute go beyond it",
        statement=r"t_m \cdot \text{scale}, \quad e_d^\top M e_d,\ \kappa_d \text{ between exits}",
        observable="exit times, loss, diagonal of M, amplitudes of all heads' flow; oblique, non-greedy, rank two",
        limit="initial scale → 0, relative error of exit times O(scale)",
        order=1,
        measure=_flows,
        predict=_predicted,
        judge=_agree,
        controls=(LATER, OTHER),
    ),
    Claim(
        id="ladders.order",
        title="Which direction each exit learns, which head takes it, and whether that head was idle",
        source=f"{SOURCE}, low rank; Λ and Ω that do not commute and equal gains go beyond it",
        statement=r"S_m, \quad d_m, \quad h_m, \quad \text{long or short}, \quad t_m",
        observable="maps and loss of each head of the flow of all heads, at rest on each plateau, and its exits",
        limit="initial scale → 0, exit times at 5e-3 within 1e-3",
        measure=climbs.observed,
        predict=climbs.predicted,
        judge=climbs.judge,
        controls=(climbs.OTHER_HEAD, climbs.ALL_LONG, climbs.REVERSED),
    ),
    Claim(
        id="ladders.idle_heads",
        title="A head that is zero, or has a value only, stays idle: the staircase ends before the minimum",
        source=f"{SOURCE}, separate attention",
        statement=r"k_h = q_h = 0 \Rightarrow \dot v_h = \dot k_h = \dot q_h = 0",
        observable="rank of the map and loss of the flow of all heads, ten times as long as the one exit takes",
        limit="initial scale → 0, within 1e-4",
        measure=_idle_ends,
        predict=_idle_plateaus,
        judge=equal_within(1e-4, axes=("rank, loss", "value")),
        controls=(EVERY_HEAD,),
        tier="fast",
    ),
)
