"""Amplitudes: each one that theory gives is the one that the weights have, not only what their product makes."""

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

TURNED = Task(
    covariance=ROTATION * λ @ ROTATION.T,
    teacher_covariance=ROTATION * ω @ ROTATION.T,
    noise_variance=0.1,
    context_length=7,
)
OBLIQUE = Task(
    [0.6, 0.5, 1.4], teacher_covariance=ROTATION * ω @ ROTATION.T, context_length=7
)
AXES = np.eye(3)[:, [2, 0, 1]]
"""Λ and Ω do not commute: what is read is read on the eigenvectors of Λ, by decreasing λ."""

WHITE = Task([0.7, 0.7, 0.7], context_length=5)
EQUAL_DRIVES = Task(
    [2.0, 1.0], teacher_covariance=np.diag([1.0, 4.0]), context_length=7
)
"""λ²ω is the same on both directions, what they saturate at is not: not to be taken for white."""

HEADS = np.array([0.6, -0.8])
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
"""κ_d by decreasing gain: the first head holds the first two that are not zero, the second the rest."""


@dataclass(frozen=True, eq=False)
class _Case:
    """A start as `time_course` takes it, the weights to train from, and the columns that amplitudes are read on."""

    task: Task
    model: Merged | Separate
    initial: object
    weights: Weights
    basis: FloatArray


def _merged_weights(s: float, U: FloatArray) -> Weights:
    """Two merged heads that share s and U (D, D) by `HEADS`."""
    weights = {
        name: np.zeros(shape) for name, shape in Merged(heads=2).shapes(len(U)).items()
    }
    weights["value"][:, -1] = HEADS * s
    weights["key_query"][:, :-1, :-1] = np.multiply.outer(HEADS, U)
    return weights


def _separate_weights(rank: int, amplitudes: tuple[float, ...]) -> Weights:
    """Balanced heads along the columns of `ROTATION`, R of those with an amplitude to a head."""
    learned = np.flatnonzero(amplitudes)
    heads = [learned[first : first + rank] for first in range(0, len(learned), rank)]
    weights = {
        name: np.zeros(shape)
        for name, shape in Separate(_heads(rank), rank).shapes(3).items()
    }
    for h, directions in enumerate(heads):
        sizes = np.array(amplitudes)[directions]
        weights["value"][h, -1] = sizes[0] if rank == 1 else np.linalg.norm(sizes)
        for name in ("key", "query"):
            weights[name][h, : len(sizes), :-1] = (
                np.abs(sizes)[:, None] * ROTATION.T[directions]
            )
    return weights


def _heads(rank: int) -> int:
    return 3 if rank == 1 else 2


def _merged_cases() -> list[_Case]:
    """White starts off the balance, general ones off the unstable mode, and the unstable mode, by weights too."""
    model, D = Merged(heads=2), 3
    cases = [
        _Case(
            WHITE,
            model,
            start,
            _merged_weights(start[0], start[1] * np.eye(D) / np.sqrt(D)),
            np.eye(D),
        )
        for start in WHITE_STARTS
    ]
    cases += [
        _Case(
            TURNED,
            model,
            (s, np.array(u)),
            _merged_weights(s, ROTATION * u @ ROTATION.T),
            ROTATION,
        )
        for s, u in ALIGNED_STARTS
    ]
    unequal = np.array([0.3, -0.2, 0.1])
    cases.append(
        _Case(
            WHITE,
            model,
            (0.1, unequal),
            _merged_weights(0.1, np.diag(unequal)),
            np.eye(D),
        )
    )
    cases += [
        _mode_case(TURNED, ROTATION, 0.2, 0.5),
        _mode_case(TURNED, ROTATION, 0.3, 0.3),
    ]
    cases.append(_mode_case(EQUAL_DRIVES, np.eye(2)[:, ::-1], 0.2, 0.5))
    grown = _mode_case(TURNED, ROTATION, 0.3, 0.3)
    return [*cases, replace(grown, initial=grown.weights), _oblique_case()]


def _mode_case(task: Task, basis: FloatArray, s: float, u: float) -> _Case:
    """A start along the unstable mode B/‖B‖, by s and the size of u; the columns of the basis are e_d."""
    B = task.covariance @ task.teacher_covariance @ task.covariance
    return _Case(
        task,
        Merged(heads=2),
        (s, u),
        _merged_weights(s, u * B / np.linalg.norm(B)),
        basis,
    )


def _oblique_case() -> _Case:
    """The unstable mode where Λ and Ω do not commute."""
    grown = OBLIQUE.covariance @ OBLIQUE.teacher_covariance @ OBLIQUE.covariance
    weights = _merged_weights(0.2, 0.2 * grown / np.linalg.norm(grown))
    return _Case(OBLIQUE, Merged(heads=2), weights, weights, AXES)


def _separate_cases() -> list[_Case]:
    return [
        _Case(
            TURNED,
            Separate(_heads(rank), rank),
            np.array(start),
            _separate_weights(rank, start),
            ROTATION,
        )
        for rank, starts in ((1, RANK_ONE_STARTS), (2, RANK_TWO_STARTS))
        for start in starts
    ]


def _flows(cases: list[_Case]) -> list[FloatArray]:
    """Amplitudes (T, ·) and coefficients (T, D) along the flow of all weights of each case."""
    found = []
    for case in cases:
        run = flow(
            case.model,
            population_statistics(case.task, case.model),
            case.weights,
            TIMES,
        )
        read = _of_merged if isinstance(case.model, Merged) else _of_separate
        found += [each[ORDER] for each in read(run, case.basis)]
    return found


def _of_merged(run: Trajectory, basis: FloatArray) -> list[FloatArray]:
    """s and then u_d = e_dᵀ U e_d, and s u_d, of heads that share them by `HEADS`."""
    s = np.asarray(run.weights["value"])[:, :, -1] @ HEADS
    U = np.einsum(
        "thij,h->tij", np.asarray(run.weights["key_query"])[:, :, :-1, :-1], HEADS
    )
    u = np.einsum("id,tij,jd->td", basis, U, basis)
    return [np.column_stack((s, u)), s[:, None] * u]


def _of_separate(run: Trajectory, basis: FloatArray) -> list[FloatArray]:
    """The size of e_dᵀk in the head that has any, with the sign of its value; and Σ v (e_dᵀk)(e_dᵀq)."""
    value = np.asarray(run.weights["value"])[:, :, -1]
    key, query = (
        np.asarray(run.weights[name])[..., :-1] @ basis for name in ("key", "query")
    )
    sizes = np.sum(np.sign(value)[:, :, None] * np.sqrt(np.sum(key**2, axis=2)), axis=1)
    return [sizes, np.einsum("th,thrd,thrd->td", value, key, query)]


def _courses(cases: list[_Case], control: str) -> list[FloatArray]:
    found = []
    for case in cases:
        task = with_context(case.task, 8) if control == LONGER_CONTEXT else case.task
        course = time_course(task, case.model, TIMES[ORDER], case.initial)
        found += [_varied(course, control), course.coefficients]
    return found


def _varied(course: TimeCourse, control: str) -> FloatArray:
    """The amplitudes (T, ·), or a wrong variant of them."""
    amplitudes = course.amplitudes
    if control == EXCHANGED:
        s, u = amplitudes[:, 0], amplitudes[:, 1:]
        size = np.linalg.norm(u, axis=1)
        mode = np.divide(
            u, size[:, None], out=np.zeros_like(u), where=size[:, None] > 0
        )
        return np.column_stack((size, s[:, None] * mode))
    if control == BACKWARDS:
        first = (
            amplitudes.shape[1] - course.coefficients.shape[1]
        )  # s stands before the directions
        return np.concatenate(
            (amplitudes[:, :first], amplitudes[:, first:][:, ::-1]), axis=1
        )
    return np.abs(amplitudes) if control == UNSIGNED else amplitudes


def _merged_courses(context: RunContext, control: str) -> list[FloatArray]:
    return _courses(_merged_cases(), control)


def _separate_courses(context: RunContext, control: str) -> list[FloatArray]:
    return _courses(_separate_cases(), control)


def _paths() -> list[Path]:
    """Equal heads among others, Λ and Ω that do not commute, and rank two."""
    one, five, two = Separate(heads=3), Separate(heads=5), Separate(heads=2, rank=2)
    return [
        Path(
            TURNED, five, with_equal_heads(small_weights(five, TURNED, 3e-3)), ROTATION
        ),
        Path(OBLIQUE, one, small_weights(one, OBLIQUE, 2e-3), AXES, numbered=False),
        Path(TURNED, two, small_weights(two, TURNED, 2e-3), ROTATION),
    ]


CLAIMS = (
    Claim(
        id="amplitudes.merged",
        title="Amplitudes s and u_d of merged time courses equal those of the weights",
        paper="zhang2025",
        equation="merged parametrization: time course for white covariance, aligned equations",
        statement=r"s = \hat v \cdot v,\quad u_d = e_d^\top (\textstyle\sum_h \hat v_h U_h)\, e_d",
        observable="weights by the flow of all of them: white, unequal, aligned in a rotated basis, non-commuting",
        limit="none: exact",
        measure=lambda context: _flows(_merged_cases()),
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
        measure=lambda context: _flows(_separate_cases()),
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
        measure=lambda context: observed_paths(_paths()),
        assumes=POPULATION_MOMENTS,
        predict=lambda context, control: stated_paths(_paths(), control),
        judge=equal_within(
            1e-4, axes=("time and direction", "loss, coefficient, amplitude or head")
        ),
        controls=(LONGER_CONTEXT, LATER, NEXT_HEAD),
        tier="fast",
    ),
)
