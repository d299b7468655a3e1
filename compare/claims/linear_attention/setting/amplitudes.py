"""Amplitudes: each one that theory gives is the one that the weights have, not only what their product makes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from .....models.attention import Merged, Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory, flow
from .....task import Task
from .....theory import TimeCourse, time_course
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ..common.controls import LONGER_CONTEXT, with_context
from ..common.fixtures import diagonals
from ..separate.path_measurements import (
    LATER,
    NEXT_HEAD,
    Path,
    observed_paths,
    small_weights,
    stated_paths,
    with_equal_heads,
)

TIMES = np.array([0.0, 0.05, 0.3, 0.8, 1.7, 3.0, 5.0, 9.0])
ORDER = np.array([5, 1, 0, 3, 1, 7, 2, 4, 6])
"""In which `time_course` is asked for the times, one of them twice: they need not be sorted."""

EXCHANGED = "s and u exchanged"
BACKWARDS = "from the smallest gain"
UNSIGNED = "absolute values"

ROTATION = np.array([[2.0, -1.0, 2.0], [2.0, 2.0, -1.0], [-1.0, 2.0, 2.0]]) / 3
"""Columns e_1, e_2, e_3 by decreasing gain, along no axis."""

λ, ω = np.array([0.6, 1.4, 0.5]), np.array([2.5, 0.8, 0.4])
"""Eigenvalues of Λ and Ω on these columns: gains fall as λω does, which is not the order of λ."""

ROTATED = Task(
    covariance=ROTATION * λ @ ROTATION.T,
    teacher_covariance=ROTATION * ω @ ROTATION.T,
    noise_variance=0.1,
    context_length=7,
)
ROTATED_TEACHERS = Task(
    [0.6, 0.5, 1.4], teacher_covariance=ROTATION * ω @ ROTATION.T, context_length=7
)
AXES = np.eye(3)[:, [2, 0, 1]]
"""Λ and Ω do not commute: what is read is read on the eigenvectors of Λ, by decreasing λ."""

WHITE_THREE = Task([0.7, 0.7, 0.7], context_length=5)
EQUAL_GROWTH = Task(
    [2.0, 1.0], teacher_covariance=np.diag([1.0, 4.0]), context_length=7
)
"""λ²ω is the same on both directions, what they saturate at is not: not to be taken for white."""

SHARES = np.array([0.6, -0.8])
"""Shares of two merged heads in s and in U, a unit vector."""

WHITE_STARTS = (
    (0.1, 0.4),
    (-0.5, 0.2),
    (0.6, -0.1),
    (0.0, 0.3),
    (0.3, 0.0),
    (0.2, -0.2),
)
"""s and u, of unequal size and of either sign."""

ALIGNED_STARTS = ((0.2, (0.6, -0.25, 0.1)), (-0.5, (0.1, 0.3, 0.2)))
"""s and u_d by decreasing gain."""

RANK_ONE_STARTS = ((0.3, 0.7, 0.5), (0.6, -0.4, 0.0), (0.2, 1.1, -0.3))
"""v_d by decreasing gain: below and above where each ends, of either sign, and zero."""

RANK_TWO_STARTS = ((0.3, 0.2, 0.5), (0.0, 0.6, 0.1))
"""κ_d by decreasing gain: the first head has the first two that are not zero, the second the others."""


@dataclass(frozen=True, eq=False)
class _Case:
    """A start as `time_course` takes it, the weights to train from, and the columns that amplitudes are read on."""

    task: Task
    model: Merged | Separate
    initial: object
    weights: Weights
    basis: FloatArray


# Starts of merged attention


def _merged_weights(s: float, U: FloatArray) -> Weights:
    """Two merged heads that share s and U (D, D) by `SHARES`."""
    shapes = Merged(heads=2).shapes(len(U))
    weights = {name: np.zeros(shape) for name, shape in shapes.items()}
    weights["value"][:, -1] = SHARES * s
    weights["key_query"][:, :-1, :-1] = np.multiply.outer(SHARES, U)
    return weights


def _merged_cases() -> list[_Case]:
    """White starts off the balance, general ones off the unstable mode, and the unstable mode, by weights too."""
    on_mode = _mode_case(ROTATED, ROTATION, 0.3, 0.3)
    return [
        *_white_cases(),
        *_aligned_cases(),
        _mode_case(ROTATED, ROTATION, 0.2, 0.5),
        on_mode,
        replace(on_mode, initial=on_mode.weights),
        _mode_case(EQUAL_GROWTH, np.eye(2)[:, ::-1], 0.2, 0.5),
        _non_commuting_case(),
    ]


def _white_cases() -> list[_Case]:
    """s and u, and s and unequal u_d, on white inputs."""
    model, axes = Merged(heads=2), np.eye(3)
    cases = []
    for s, u in WHITE_STARTS:
        weights = _merged_weights(s, u * axes / np.sqrt(3))
        cases.append(_Case(WHITE_THREE, model, (s, u), weights, axes))

    unequal = np.array([0.3, -0.2, 0.1])
    weights = _merged_weights(0.1, np.diag(unequal))
    cases.append(_Case(WHITE_THREE, model, (0.1, unequal), weights, axes))
    return cases


def _aligned_cases() -> list[_Case]:
    """s and u_d in a rotated basis."""
    cases = []
    for s, amplitudes in ALIGNED_STARTS:
        u = np.array(amplitudes)
        weights = _merged_weights(s, ROTATION * u @ ROTATION.T)
        cases.append(_Case(ROTATED, Merged(heads=2), (s, u), weights, ROTATION))
    return cases


def _unstable_mode(task: Task) -> FloatArray:
    """B/‖B‖, which grows fastest from small weights."""
    B = task.covariance @ task.teacher_covariance @ task.covariance
    mode: FloatArray = B / np.linalg.norm(B)
    return mode


def _mode_case(task: Task, basis: FloatArray, s: float, u: float) -> _Case:
    """A start along the unstable mode, by s and the size of u; the columns of the basis are e_d."""
    weights = _merged_weights(s, u * _unstable_mode(task))
    return _Case(task, Merged(heads=2), (s, u), weights, basis)


def _non_commuting_case() -> _Case:
    """The unstable mode where Λ and Ω do not commute."""
    weights = _merged_weights(0.2, 0.2 * _unstable_mode(ROTATED_TEACHERS))
    return _Case(ROTATED_TEACHERS, Merged(heads=2), weights, weights, AXES)


# Starts of separate attention


def _separate_cases() -> list[_Case]:
    cases = []
    for rank, starts in ((1, RANK_ONE_STARTS), (2, RANK_TWO_STARTS)):
        model = Separate(heads=3 if rank == 1 else 2, rank=rank)
        for start in starts:
            weights = _separate_weights(model, start)
            cases.append(_Case(ROTATED, model, np.array(start), weights, ROTATION))
    return cases


def _separate_weights(model: Separate, amplitudes: tuple[float, ...]) -> Weights:
    """Balanced heads along the columns of `ROTATION`, R of those with an amplitude to a head."""
    weights = {name: np.zeros(shape) for name, shape in model.shapes(3).items()}
    learned = np.flatnonzero(amplitudes)
    for h, first in enumerate(range(0, len(learned), model.rank)):
        directions = learned[first : first + model.rank]
        sizes = np.array(amplitudes)[directions]
        weights["value"][h, -1] = _balanced_value(sizes, model.rank)
        pairs = np.abs(sizes)[:, None] * ROTATION.T[directions]  # (≤ R, D)
        weights["key"][h, : len(pairs), :-1] = pairs
        weights["query"][h, : len(pairs), :-1] = pairs
    return weights


def _balanced_value(amplitudes: FloatArray, rank: int) -> float:
    """v with v² = Σ κ² of a head; the sign of a rank-one amplitude is that of its value."""
    return float(amplitudes[0] if rank == 1 else np.linalg.norm(amplitudes))


# Amplitudes along the flow


def _flows(cases: Sequence[_Case]) -> list[FloatArray]:
    """Amplitudes (T, ·) and coefficients (T, D) along the flow of all weights of each case."""
    curves = []
    for case in cases:
        source = population_statistics(case.task, case.model)
        run = flow(case.model, source, case.weights, TIMES)
        read = _of_merged if isinstance(case.model, Merged) else _of_separate
        amplitudes, coefficients = read(run, case.basis)
        curves += [amplitudes[ORDER], coefficients[ORDER]]
    return curves


def _merged_flows(context: RunContext) -> list[FloatArray]:
    return _flows(_merged_cases())


def _separate_flows(context: RunContext) -> list[FloatArray]:
    return _flows(_separate_cases())


def _of_merged(run: Trajectory, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """s and then u_d = e_dᵀ U e_d, and s u_d, of heads that share them by `SHARES`."""
    s = run.weights["value"][:, :, -1] @ SHARES  # (T,)
    matrices = run.weights["key_query"][:, :, :-1, :-1]  # (T, H, D, D)
    U = np.einsum("thij,h->tij", matrices, SHARES)
    u = diagonals(U, basis)  # (T, D)
    return np.column_stack((s, u)), s[:, None] * u


def _of_separate(run: Trajectory, basis: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The size of e_dᵀk in the head that has any, with the sign of its value; and Σ v (e_dᵀk)(e_dᵀq)."""
    value = run.weights["value"][:, :, -1]  # (T, H)
    key = run.weights["key"][..., :-1] @ basis  # (T, H, R, D)
    query = run.weights["query"][..., :-1] @ basis
    sizes = np.sqrt(np.sum(key**2, axis=2))  # (T, H, D)
    signed = np.einsum("th,thd->td", np.sign(value), sizes)
    return signed, np.einsum("th,thrd,thrd->td", value, key, query)


# Amplitudes by the theory


def _courses(cases: Sequence[_Case], control: str) -> list[FloatArray]:
    curves = []
    for case in cases:
        task = with_context(case.task, 8) if control == LONGER_CONTEXT else case.task
        course = time_course(task, case.model, TIMES[ORDER], case.initial)
        curves += [_changed(course, control), course.coefficients]
    return curves


def _changed(course: TimeCourse, control: str) -> FloatArray:
    """The amplitudes (T, ·), or a wrong variant of them."""
    if control == EXCHANGED:
        return _exchanged(course.amplitudes)
    if control == BACKWARDS:
        # s stands before the directions of merged attention.
        directions = course.coefficients.shape[1]
        before = course.amplitudes[:, :-directions]
        along = course.amplitudes[:, -directions:]
        return np.concatenate((before, along[:, ::-1]), axis=1)
    if control == UNSIGNED:
        return np.abs(course.amplitudes)
    return course.amplitudes


def _exchanged(amplitudes: FloatArray) -> FloatArray:
    """|u| in the place of s, and s along u in the place of u, where u is not zero."""
    s, u = amplitudes[:, 0], amplitudes[:, 1:]
    size = np.linalg.norm(u, axis=1)
    mode = np.zeros_like(u)
    np.divide(u, size[:, None], out=mode, where=size[:, None] > 0)
    return np.column_stack((size, s[:, None] * mode))


def _merged_courses(context: RunContext, control: str) -> list[FloatArray]:
    return _courses(_merged_cases(), control)


def _separate_courses(context: RunContext, control: str) -> list[FloatArray]:
    return _courses(_separate_cases(), control)


# Amplitudes along staircases


def _paths() -> list[Path]:
    """Equal heads among others, Λ and Ω that do not commute, and rank two."""
    five, three = Separate(heads=5), Separate(heads=3)
    rank_two = Separate(heads=2, rank=2)
    with_equal = with_equal_heads(small_weights(five, ROTATED, 3e-3))
    non_commuting = small_weights(three, ROTATED_TEACHERS, 2e-3)
    pairs = small_weights(rank_two, ROTATED, 2e-3)
    return [
        Path(ROTATED, five, with_equal, ROTATION),
        Path(ROTATED_TEACHERS, three, non_commuting, AXES, numbered=False),
        Path(ROTATED, rank_two, pairs, ROTATION),
    ]


def _observed_paths(context: RunContext) -> list[FloatArray]:
    return observed_paths(_paths())


def _stated_paths(context: RunContext, control: str) -> list[FloatArray]:
    return stated_paths(_paths(), control)


CLAIMS = (
    Claim(
        id="amplitudes.merged",
        title="Amplitudes s and u_d of merged time courses equal those of the weights",
        paper="zhang2025",
        equation="merged parametrization: time course for white covariance, aligned equations",
        statement=r"s = \hat v \cdot v,\quad u_d = e_d^\top (\textstyle\sum_h \hat v_h U_h)\, e_d",
        observable="weights by the flow of all of them: white, unequal, aligned in a rotated basis, non-commuting",
        limit="none: exact",
        measure=_merged_flows,
        assumes=POPULATION_MOMENTS,
        predict=_merged_courses,
        judge=equal_within(
            1e-9, axes=("time and direction", "amplitude or coefficient")
        ),
        controls=(LONGER_CONTEXT, EXCHANGED, BACKWARDS, UNSIGNED),
        hypotheses=(
            "heads share one s and U",
            "non-commuting: on the unstable mode, by decreasing λ",
        ),
        tier="fast",
    ),
    Claim(
        id="amplitudes.separate",
        title="Amplitudes v_d and κ_d of separate time courses equal those of the heads, with their signs",
        paper="zhang2025",
        equation="separate parametrization: rank one and rank R",
        statement=r"v_d = \mathrm{sgn}(v)\,|e_d^\top k|,\quad \kappa_d = |e_d^\top k_r|",
        observable="keys, queries and values by the flow of all of them, in a rotated basis; rank one and two",
        limit="none: exact",
        measure=_separate_flows,
        assumes=POPULATION_MOMENTS,
        predict=_separate_courses,
        judge=equal_within(
            1e-9, axes=("time and direction", "amplitude or coefficient")
        ),
        controls=(LONGER_CONTEXT, BACKWARDS, UNSIGNED),
        hypotheses=("balanced heads, each along one to R directions",),
        tier="fast",
    ),
    Claim(
        id="amplitudes.staircase",
        title="The staircase gives loss, map, amplitudes and heads of the flow from small weights",
        paper="zhang2025",
        equation="from saddle to saddle",
        beyond_paper=True,
        statement=r"L,\ e_d^\top M e_d,\ \kappa_d^2 = \textstyle\sum_{h,r} |e_d^\top k_{hr}\, q_{hr}^\top e_d|",
        observable="weights by the flow of all of them: a rotated basis, equal heads, non-commuting "
        "Λ and Ω, rank two",
        limit="initial scale → 0, within 1e-4",
        measure=_observed_paths,
        assumes=POPULATION_MOMENTS,
        predict=_stated_paths,
        judge=equal_within(
            1e-4, axes=("time and direction", "loss, coefficient, amplitude or head")
        ),
        controls=(LONGER_CONTEXT, LATER, NEXT_HEAD),
        tier="fast",
    ),
)
