"""Staircases beyond rank one and commuting Λ, Ω: the flow of small heads has the plateaus and times of the theory."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import Staircase, population, staircase, time_course
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence, Fit
from ....evidence.judges import equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times
from ..common.fixtures import (
    DIAGONAL,
    NON_COMMUTING,
    STEEP_TEACHERS,
    diagonals,
    eigenvectors,
)
from . import staircase_order

SCALES = (4e-3, 2e-3, 1e-3)

EXIT_CONSTANT = 3e-3
"""Largest relative error of an exit time in units of the scale: errors are O(scale)."""

SETTLED = 5e-4
"""Largest distance between exits, on plateaus, in units of the largest value."""

LATER = "each exit one time constant later"
OTHER_ORDER = "directions in another order"
EVERY_HEAD = "every head escapes"


class _Case(NamedTuple):
    """A task, a model, and its directions by decreasing gain as the columns of `basis` (D, D)."""

    task: Task
    model: Separate
    basis: FloatArray


CASES = (
    # Λ and Ω do not commute.
    _Case(NON_COMMUTING, Separate(heads=3), eigenvectors(NON_COMMUTING)),
    # The direction that grows fastest is not that of the largest gain.
    _Case(STEEP_TEACHERS, Separate(heads=3), np.eye(2)[:, ::-1]),
    # Heads of rank two.
    _Case(DIAGONAL, Separate(heads=2, rank=2), np.eye(3)),
)


class _Path(NamedTuple):
    """`exits` (n,), and half way between them loss (n,), diagonals of M, amplitudes of what is learned (n, D)."""

    exits: FloatArray
    loss: FloatArray
    diagonals: FloatArray
    amplitudes: FloatArray


def _start(case: int, scale: float, context: RunContext) -> Weights:
    task, model, _ = CASES[case]
    return initial_weights(model, task, scale, seeds(context.seed)[0], "restricted")


def _flows(context: RunContext) -> list[list[_Path]]:
    """The flow of all heads for each scale and case."""
    return [
        [_flow(case, scale, context) for case in range(len(CASES))] for scale in SCALES
    ]


def _flow(case: int, scale: float, context: RunContext) -> _Path:
    """The flow of all heads, recorded where the staircase has its plateaus and densely around its exits."""
    task, model, basis = CASES[case]
    start = _start(case, scale, context)
    expected = staircase(task, model, start)
    middles = _plateau_middles(expected.drop_times)
    times = _recording_times(middles, expected.drop_times)
    run = flow(model, population_statistics(task, model), start, times, rtol=1e-10)

    at = np.searchsorted(run.flow_time, middles)
    weights = {name: w[at] for name, w in run.weights.items()}
    return _Path(
        exits=exit_times(run.flow_time, run.loss, expected.plateaus),
        loss=run.loss[at],
        diagonals=diagonals(effective_map(model, weights), basis),
        amplitudes=_amplitudes(weights, basis) * _learned(expected),
    )


def _recording_times(middles: FloatArray, exits: FloatArray) -> FloatArray:
    """Zero, the middles of plateaus, and 201 times within 0.1 % of each exit, in increasing order."""
    near_exits = np.outer(exits, 1 + 1e-3 * np.linspace(-1, 1, 201))
    return np.unique([0.0, *middles, *near_exits.ravel()])


def _amplitudes(weights: Weights, basis: FloatArray) -> FloatArray:
    """κ_d = (Σ |e_dᵀk e_dᵀq|)^{1/2} over all heads and pairs, (n, D), of weights at n times."""
    key = weights["key"][..., :-1] @ basis  # (n, H, R, D)
    query = weights["query"][..., :-1] @ basis
    amplitudes: FloatArray = np.sqrt(np.sum(np.abs(key * query), axis=(1, 2)))
    return amplitudes


def _learned(steps: Staircase) -> FloatArray:
    """1 for the directions that are learned after each exit, else 0 (n, D)."""
    directions = 1 + np.arange(steps.moments.dimension)
    learned = [np.isin(directions, subset) for subset in steps.subsets[1:]]
    return np.array(learned, dtype=np.float64)


def _plateau_middles(exits: FloatArray) -> FloatArray:
    """Flow times in the middle of each plateau but the first, and a while after the last exit."""
    following = np.append(exits[1:], 1.5 * exits[-1])
    middles: FloatArray = (exits + following) / 2
    return middles


def _predicted(context: RunContext, control: str) -> list[list[_Path]]:
    return [
        [_changed(case, scale, context, control) for case in range(len(CASES))]
        for scale in SCALES
    ]


def _changed(case: int, scale: float, context: RunContext, control: str) -> _Path:
    """The staircase and the time course between its exits, or a wrong variant."""
    path = _stated(case, scale, context)
    if control == OTHER_ORDER:
        return path._replace(
            diagonals=path.diagonals[:, ::-1],
            amplitudes=path.amplitudes[:, ::-1],
        )
    if control == LATER:
        task, model, _ = CASES[case]
        fastest_rate = np.linalg.norm(population(task, model).B, 2)
        return path._replace(exits=path.exits + 1 / fastest_rate)
    return path


@cache
def _stated(case: int, scale: float, context: RunContext) -> _Path:
    task, model, _ = CASES[case]
    start = _start(case, scale, context)
    steps = staircase(task, model, start)
    middles = _plateau_middles(steps.drop_times)
    course = time_course(task, model, middles, start)
    return _Path(
        exits=steps.drop_times,
        loss=course.loss,
        diagonals=course.coefficients,
        amplitudes=course.amplitudes * _learned(steps),
    )


def _agree(predicted: list[list[_Path]], observed: list[list[_Path]]) -> Evidence:
    """Relative errors of exit times stay below a constant times the scale; all else is settled."""
    # Largest error of an exit over the scale, and largest distance on plateaus.
    constant = plateau_gap = 0.0
    typical = []  # geometric mean of the errors of exits, at each scale
    for scale, stated, measured in zip(SCALES, predicted, observed, strict=True):
        errors, gap = _deviations(stated, measured)
        plateau_gap = max(plateau_gap, gap)
        constant = max(constant, max(errors) / scale)
        typical.append(_geometric_mean(errors))

    slope = float(np.polyfit(np.log(SCALES), np.log(typical), 1)[0])
    return Evidence(
        agrees=constant <= EXIT_CONSTANT and plateau_gap <= SETTLED,
        observed=f"exit times {constant:.1e} × scale apart, plateaus {plateau_gap:.1e}",
        expected=f"at most {EXIT_CONSTANT:g} × scale, {SETTLED:g}",
        fit=Fit("scale", SCALES, tuple(typical), slope, 1.0),
        residual=typical[-1],
    )


def _deviations(
    predicted: list[_Path], observed: list[_Path]
) -> tuple[list[float], float]:
    """Relative errors of all exits at one scale, and the largest distance on plateaus."""
    errors: list[float] = []
    plateau_gap = 0.0
    for path, flow_path in zip(predicted, observed, strict=True):
        errors += _exit_errors(path.exits, flow_path.exits).tolist()
        plateau_gap = max(plateau_gap, _plateau_gap(path, flow_path))
    return errors, plateau_gap


def _geometric_mean(errors: Sequence[float]) -> float:
    """The typical error; an error of 0 counts as next to nothing."""
    return float(np.exp(np.mean(np.log(np.array(errors) + 1e-300))))


def _exit_errors(predicted: FloatArray, observed: FloatArray) -> FloatArray:
    """Relative distance of exit times (n,), infinite where a run does not make the exit."""
    gap = np.abs(observed / predicted - 1)
    return np.where(np.isfinite(gap), gap, np.inf)


def _plateau_gap(predicted: _Path, observed: _Path) -> float:
    """Largest distance of loss, diagonals and amplitudes on the plateaus, in units of the largest value."""
    gaps = []
    for stated, measured in zip(predicted[1:], observed[1:], strict=True):
        gap = np.max(np.abs(stated - measured))
        gaps.append(float(gap / np.max(np.abs(measured))))
    return max(gaps)


STUCK_CASES = (
    (NON_COMMUTING, Separate(heads=2)),
    (DIAGONAL, Separate(heads=3)),
)
"""Tasks on which one head is exactly zero, and of three heads a second one has a value only."""


def _stuck_start(case: int, context: RunContext) -> Weights:
    """Small weights, of which the last head is zero and all heads but the first have no keys and queries."""
    task, model = STUCK_CASES[case]
    start = initial_weights(model, task, 1e-2, seeds(context.seed)[0], "restricted")
    start["value"][-1:] = 0.0
    start["key"][1:] = 0.0
    start["query"][1:] = 0.0
    return start


def _stuck_ends(context: RunContext) -> list[FloatArray]:
    """Rank of the map and loss, long after the one head that can has grown."""
    ends = []
    for case, (task, model) in enumerate(STUCK_CASES):
        start = _stuck_start(case, context)
        late = 10 * staircase(task, model, start).drop_times[-1]
        source = population_statistics(task, model)
        run = flow(model, source, start, [0.0, late], rtol=1e-9)

        last_map = effective_map(model, run.weights)[-1]
        sizes = np.linalg.svd(last_map, compute_uv=False)
        rank = np.sum(sizes > 1e-3 * sizes[0])  # what never grew is far below
        ends.append(np.array([rank, run.loss[-1]]))
    return ends


def _stuck_plateaus(context: RunContext, control: str) -> list[FloatArray]:
    """Number of exits and the last plateau, or as if every head escaped."""
    ends = []
    for case, (task, model) in enumerate(STUCK_CASES):
        steps = staircase(task, model, _stuck_start(case, context))
        exits, level = len(steps.drop_times), steps.plateaus[-1]
        if control == EVERY_HEAD:
            exits = model.head_count
            level = steps.moments.greedy_losses[exits]
        ends.append(np.array([exits, level]))
    return ends


CLAIMS = (
    Claim(
        id="ladders.visits",
        title="Exit times from small heads of any rank, on any task, are those of the staircase up to O(scale)",
        paper="zhang2025",
        equation="low rank",
        origin="Λ and Ω that do not commute go beyond it",
        statement=r"t_m \cdot \text{scale}, \quad e_d^\top M e_d,\ \kappa_d \text{ between exits}",
        observable="exit times, loss, diagonal of M and amplitudes of the flow; non-commuting, non-greedy, rank two",
        limit="initial scale → 0, relative error of exit times O(scale)",
        order=1,
        measure=_flows,
        assumes=POPULATION_MOMENTS,
        predict=_predicted,
        judge=_agree,
        controls=(LATER, OTHER_ORDER),
    ),
    Claim(
        id="ladders.order",
        title="The staircase predicts which direction each exit learns, by which head, and whether that was small",
        paper="zhang2025",
        equation="low rank",
        origin="Λ and Ω that do not commute and equal gains go beyond it",
        statement=r"S_m, \quad d_m, \quad h_m, \quad \text{long or short}, \quad t_m",
        observable="maps of each head of the flow of all heads on each plateau, and its exit times",
        limit="initial scale → 0, exit times at 5e-3 within 1e-3",
        measure=staircase_order.observed,
        assumes=POPULATION_MOMENTS,
        predict=staircase_order.predicted,
        judge=staircase_order.judge,
        controls=(
            staircase_order.OTHER_HEAD,
            staircase_order.ALL_LONG,
            staircase_order.REVERSED,
        ),
    ),
    Claim(
        id="ladders.idle_heads",
        title="A head whose key and query are zero never grows: the staircase then ends above the minimum",
        paper="zhang2025",
        equation="separate attention",
        statement=r"k_h = q_h = 0 \Rightarrow \dot v_h = \dot k_h = \dot q_h = 0",
        observable="rank of the map and loss of the flow of all heads, after ten times the exit time",
        limit="initial scale → 0, within 1e-4",
        measure=_stuck_ends,
        assumes=POPULATION_MOMENTS,
        predict=_stuck_plateaus,
        judge=equal_within(1e-4, axes=("rank, loss", "value")),
        controls=(EVERY_HEAD,),
        tier="fast",
    ),
)
