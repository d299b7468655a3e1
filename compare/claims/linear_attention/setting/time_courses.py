"""Time courses of every kind: what theory gives for a start is what gradient flow does from it."""

from typing import Any, NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import time_course
from .....theory.linear_attention.low_rank import low_rank_amplitudes
from .....theory.linear_attention.merged import matrix_amplitudes
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import LONGER_CONTEXT, MOMENTS, with_context, wrong_moments
from ..common.fixtures import (
    DIAGONAL,
    NON_COMMUTING,
    diagonals,
    eigenvectors,
    merged_head,
    separate_head,
)

HALF_TIME = "t = η · step"

WHITE_PAIR = Task([0.7, 0.7], context_length=5)
TIMES = np.array([0.0, 0.05, 0.3, 0.8, 1.7, 3.0, 5.0, 9.0, 20.0])

HUNDRED_DIRECTIONS = Task(np.linspace(1.0, 0.5, 100), context_length=7)
EARLY_TIMES = np.array([0.0, 0.03, 0.1])
"""The flow of a head in a hundred dimensions is slow: these times take a second and pass the steepest fall."""

Model = Merged | Separate


class _Start(NamedTuple):
    """A start as `time_course` takes it, and as the weights that are to be trained from."""

    task: Task
    model: Model
    initial: Any
    weights: Weights


def _exact_starts() -> list[_Start]:
    """Every form of `initial`, away from the limit in which heads are small: their time courses are exact."""
    return [*_separate_starts(), *_merged_starts()]


def _separate_starts() -> list[_Start]:
    """Three amplitudes, one amplitude for all heads, and three amplitudes on heads of rank two."""
    amplitudes = np.array([0.3, 0.2, 0.4])

    three_heads = Separate(heads=3)
    aligned = initial_weights(three_heads, DIAGONAL, amplitudes, scheme="aligned")

    two_heads = Separate(heads=2)
    on_two = initial_weights(two_heads, DIAGONAL, [0.3, 0.3, 0.0], scheme="aligned")

    # The first head takes the first two directions: v² = Σ κ² balances it.
    first = separate_head(float(np.hypot(0.3, 0.2)), np.diag(amplitudes)[:2])
    second = separate_head(0.4, np.array([[0.0, 0.0, 0.4], [0.0, 0.0, 0.0]]))
    rank_two = {name: np.concatenate([first[name], second[name]]) for name in first}

    return [
        _Start(DIAGONAL, three_heads, amplitudes, aligned),
        _Start(DIAGONAL, two_heads, 0.3, on_two),
        _Start(DIAGONAL, Separate(heads=2, rank=2), amplitudes, rank_two),
    ]


def _merged_starts() -> list[_Start]:
    """Aligned and not balanced, white, and along the unstable mode where Λ and Ω do not commute."""
    model = Merged(heads=1)
    u = np.array([0.6, 0.25, 0.1])
    white = 0.4 * np.eye(2) / np.sqrt(2)  # of size u = 0.4

    Λ, Ω = NON_COMMUTING.covariance, NON_COMMUTING.teacher_covariance
    B = Λ @ Ω @ Λ
    unstable = merged_head(0.05, 0.05 * B / np.linalg.norm(B))

    return [
        _Start(DIAGONAL, model, (-0.2, u), merged_head(-0.2, np.diag(u))),
        _Start(WHITE_PAIR, model, (0.1, 0.4), merged_head(0.1, white)),
        _Start(NON_COMMUTING, model, unstable, unstable),
    ]


def _flows(context: RunContext) -> list[FloatArray]:
    """Loss (T,) and diagonal of M (T, D) on the eigenvectors of Λ, by decreasing λ, of each start's flow."""
    curves = []
    for start in _exact_starts():
        source = population_statistics(start.task, start.model)
        run = flow(start.model, source, start.weights, TIMES)
        # Diagonal entries only: off them M stays zero, or is no coefficient.
        maps = effective_map(start.model, run.weights)
        curves += [run.loss, diagonals(maps, eigenvectors(start.task))]
    return curves


def _courses(context: RunContext, control: str) -> list[FloatArray]:
    """The same curves by the theory."""
    times = TIMES / 2 if control == HALF_TIME else TIMES
    curves = []
    for start in _exact_starts():
        task = with_context(start.task, 8) if control == LONGER_CONTEXT else start.task
        course = time_course(task, start.model, times, start.initial)
        curves += [course.loss, course.coefficients]
    return curves


def _hundred_start() -> tuple[float, FloatArray]:
    """s and U (100, 100) of the merged head."""
    return 0.1, np.diag(np.linspace(0.04, 0.06, HUNDRED_DIRECTIONS.dimension))


def _hundred_flow(context: RunContext) -> list[FloatArray]:
    """Loss and diagonal of M by the flow of one merged head in a hundred dimensions."""
    model = Merged(heads=1)
    source = population_statistics(HUNDRED_DIRECTIONS, model)
    run = flow(model, source, merged_head(*_hundred_start()), EARLY_TIMES)
    axes = np.eye(HUNDRED_DIRECTIONS.dimension)
    return [run.loss, diagonals(effective_map(model, run.weights), axes)]


def _hundred_course(context: RunContext, control: str) -> list[FloatArray]:
    """The same curves by the theory."""
    task = HUNDRED_DIRECTIONS
    if control == LONGER_CONTEXT:
        task = with_context(task, 8)
    times = EARLY_TIMES / 2 if control == HALF_TIME else EARLY_TIMES
    s, U = _hundred_start()
    course = time_course(task, Merged(heads=1), times, (s, np.diag(U)))
    return [course.loss, course.coefficients]


MATRIX_START = (-0.4, np.array([[0.3, 0.1], [-0.2, 0.5]]))
"""s and U of a merged head: not balanced, of opposite sign, and U not symmetric."""

PAIR_START = (0.6, np.array([0.3, -0.1]))
"""v and κ (2,) of a head of rank two: v² is not Σ κ²."""


def _unbalanced_flows(context: RunContext) -> list[FloatArray]:
    """s and U of one merged head, v and both amplitudes of one of rank two, from starts of unequal size."""
    merged = Merged(heads=1)
    source = population_statistics(NON_COMMUTING, merged)
    matrix_run = flow(merged, source, merged_head(*MATRIX_START), TIMES)

    separate = Separate(heads=1, rank=2)
    source = population_statistics(DIAGONAL, separate)
    v, κ = PAIR_START
    pairs = np.diag([*κ, 0.0])[:2]  # row r is κ_r e_r
    pair_run = flow(separate, source, separate_head(v, pairs), TIMES)
    keys = pair_run.weights["key"][:, 0, :, :2]  # (T, R, R): κ_r on the diagonal

    return [
        matrix_run.weights["value"][:, 0, -1],
        matrix_run.weights["key_query"][:, 0, :-1, :-1],
        pair_run.weights["value"][:, 0, -1],
        np.diagonal(keys, axis1=1, axis2=2),
    ]


def _unbalanced_courses(context: RunContext, control: str) -> list[FloatArray]:
    """The same weights by the reduced equations: ṡ = ⟨G, U⟩, U̇ = s G; v̇ = Σ κ_r² g_r, κ̇_r = v κ_r g_r."""
    merged = wrong_moments(NON_COMMUTING, Merged(heads=1), control)
    s, U = matrix_amplitudes(merged, TIMES, *MATRIX_START)

    separate = wrong_moments(DIAGONAL, Separate(heads=1, rank=2), control)
    saturation = separate.a * separate.lam
    v, κ = low_rank_amplitudes(TIMES, *PAIR_START, separate.b[:2], saturation[:2])
    return [s, U, v, κ]


CLAIMS = (
    Claim(
        id="courses.exact",
        title="Time courses of exact starts equal gradient flow: rank one and two, merged, white, non-commuting",
        paper="zhang2025",
        equation="both parametrizations",
        statement=r"L(t),\ e_d^\top M(t) e_d",
        observable="loss and diagonal of M by the flow of all weights from each kind of start",
        limit="none: exact",
        measure=_flows,
        assumes=POPULATION_MOMENTS,
        predict=_courses,
        judge=equal_within(1e-9, axes=("time", "loss or diagonal")),
        controls=(LONGER_CONTEXT, HALF_TIME),
        tier="fast",
    ),
    Claim(
        id="courses.many_dimensions",
        title="Time courses are exact for D = 100 (merged)",
        paper="zhang2025",
        equation="merged parametrization",
        statement=r"L(t),\ e_d^\top M(t) e_d",
        observable="loss and diagonal of M by the flow of all weights of one merged head, D = 100",
        limit="none: exact",
        measure=_hundred_flow,
        assumes=POPULATION_MOMENTS,
        predict=_hundred_course,
        judge=equal_within(1e-9, EARLY_TIMES, ("flow time", "loss or diagonal")),
        controls=(LONGER_CONTEXT, HALF_TIME),
    ),
    Claim(
        id="courses.unbalanced",
        title="Reduced equations hold from starts of any size, sign and imbalance, for any Λ and Ω",
        paper="zhang2025",
        equation="reduced equations",
        origin="here on any task",
        statement=r"\dot s = \langle G, U\rangle,\ \dot U = s G; \quad "
        r"\dot v = \textstyle\sum_r \kappa_r^2 g_r,\ \dot\kappa_r = v\kappa_r g_r",
        observable="weights by the flow of all of them: one merged head, one of rank two",
        limit="none: exact",
        measure=_unbalanced_flows,
        assumes=POPULATION_MOMENTS,
        predict=_unbalanced_courses,
        judge=equal_within(1e-9, axes=("time", "weight")),
        controls=MOMENTS,
        tier="fast",
    ),
)
