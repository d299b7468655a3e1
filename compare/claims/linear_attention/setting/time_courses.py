"""Time courses of every kind: what theory gives for a start is what gradient flow does from it."""

from typing import Any, NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory, flow, initial_weights
from .....task import Task
from .....theory import time_course
from .....theory.linear_attention.low_rank import low_rank_amplitudes
from .....theory.linear_attention.merged import matrix_amplitudes
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ....exact_statistics import population_statistics
from ..common.controls import LONGER_CONTEXT, MOMENTS, with_context, wrong_moments

SOURCE = "Zhang et al. 2025"
DIAGONAL = Task(eigenvalues=[3, 2, 1], trace=2.0, noise_variance=0.1, context_length=7)
WHITE = Task([0.7, 0.7], context_length=5)
OBLIQUE = Task(
    covariance=[[1.0, 0.4], [0.4, 0.7]],
    teacher_covariance=[[0.6, -0.3], [-0.3, 1.2]],
    context_length=6,
)
TIMES = np.array([0.0, 0.05, 0.3, 0.8, 1.7, 3.0, 5.0, 9.0, 20.0])
MANY = Task(np.linspace(1.0, 0.5, 100), context_length=7)
EARLY = np.array([0.0, 0.03, 0.1])
HALF = "t = η · step"

Model = Merged | Separate


class _Start(NamedTuple):
    """A start as `time_course` takes it, and as the weights that are to be trained from."""

    task: Task
    model: Model
    initial: Any
    weights: Weights


def merged_weights(s: float, U: FloatArray) -> Weights:
    """One merged head of value s and key-query block U (D, D), all other weights zero."""
    weights = {
        name: np.zeros(shape) for name, shape in Merged(heads=1).shapes(len(U)).items()
    }
    weights["value"][0, -1], weights["key_query"][0, :-1, :-1] = s, U
    return weights


def head_weights(v: float, pairs: FloatArray, rank: int) -> Weights:
    """One head of value v whose keys and queries are the rows `pairs` (R, D)."""
    weights = {
        name: np.zeros(shape)
        for name, shape in Separate(1, rank).shapes(pairs.shape[1]).items()
    }
    weights["value"][0, -1] = v
    weights["key"][0, :, :-1] = weights["query"][0, :, :-1] = pairs
    return weights


def _starts() -> list[_Start]:
    """Every form of `initial`, away from the limit in which heads are small: all these courses are exact."""
    merged, one, three = Merged(heads=1), Separate(heads=3), np.array([0.3, 0.2, 0.4])
    few, mode = Separate(heads=2), np.diag([0.6, 0.25, 0.1])
    grown = OBLIQUE.covariance @ OBLIQUE.teacher_covariance @ OBLIQUE.covariance
    grown *= 0.05 / np.linalg.norm(grown)
    rank_two = _joined(
        head_weights(float(np.hypot(0.3, 0.2)), np.diag(three)[:2], 2),
        head_weights(0.4, np.array([[0.0, 0.0, 0.4], [0.0, 0.0, 0.0]]), 2),
    )
    return [
        _Start(
            DIAGONAL,
            one,
            three,
            initial_weights(one, DIAGONAL, three, scheme="aligned"),
        ),
        _Start(
            DIAGONAL,
            few,
            0.3,
            initial_weights(few, DIAGONAL, [0.3, 0.3, 0.0], scheme="aligned"),
        ),
        _Start(DIAGONAL, Separate(heads=2, rank=2), three, rank_two),
        _Start(DIAGONAL, merged, (-0.2, np.diag(mode)), merged_weights(-0.2, mode)),
        _Start(
            WHITE, merged, (0.1, 0.4), merged_weights(0.1, 0.4 * np.eye(2) / np.sqrt(2))
        ),
        _Start(OBLIQUE, merged, weights := merged_weights(0.05, grown), weights),
    ]


def _joined(*heads: Weights) -> Weights:
    return {name: np.concatenate([head[name] for head in heads]) for name in heads[0]}


def _flows(context: RunContext) -> list[FloatArray]:
    """Loss and diagonal of M on the eigenvectors of Λ, by decreasing λ, of each start's flow."""
    found = []
    for start in _starts():
        run = flow(
            start.model,
            population_statistics(start.task, start.model),
            start.weights,
            TIMES,
        )
        found += [
            run.loss,
            diagonals(maps_of(start.model, run), eigenvectors(start.task)),
        ]
    return found


def maps_of(model: Model, run: Trajectory) -> FloatArray:
    """M (T, D, D) of the heads as they were trained."""
    value = np.asarray(run.weights["value"])[..., -1]
    if isinstance(model, Merged):
        return np.asarray(
            np.einsum(
                "th,thij->tij",
                value,
                np.asarray(run.weights["key_query"])[..., :-1, :-1],
            )
        )
    key, query = (np.asarray(run.weights[name])[..., :-1] for name in ("key", "query"))
    return np.asarray(np.einsum("th,thri,thrj->tij", value, key, query))


def eigenvectors(task: Task) -> FloatArray:
    """Of Λ by decreasing λ, the columns of (D, D)."""
    return np.asarray(np.linalg.eigh(task.covariance)[1][:, ::-1])


def diagonals(maps: FloatArray, basis: FloatArray) -> FloatArray:
    """e_dᵀ M e_d (T, D) of maps (T, D, D) on the columns of a basis."""
    return np.asarray(np.einsum("id,tij,jd->td", basis, maps, basis))


def _courses(context: RunContext, control: str) -> list[FloatArray]:
    found = []
    for start in _starts():
        task = with_context(start.task, 8) if control == LONGER_CONTEXT else start.task
        course = time_course(
            task, start.model, TIMES / 2 if control == HALF else TIMES, start.initial
        )
        found += [course.loss, course.coefficients]
    return found


def _many(context: RunContext) -> list[FloatArray]:
    """Loss and diagonal of M by the flow of one merged head in a hundred dimensions."""
    run = flow(
        Merged(heads=1),
        population_statistics(MANY, Merged(heads=1)),
        merged_weights(*_many_start()),
        EARLY,
    )
    return [run.loss, diagonals(maps_of(Merged(heads=1), run), np.eye(MANY.dimension))]


def _many_start() -> tuple[float, FloatArray]:
    return 0.1, np.diag(np.linspace(0.04, 0.06, MANY.dimension))


def _many_courses(context: RunContext, control: str) -> list[FloatArray]:
    task, (s, U) = (
        with_context(MANY, 8) if control == LONGER_CONTEXT else MANY,
        _many_start(),
    )
    course = time_course(
        task, Merged(heads=1), EARLY / 2 if control == HALF else EARLY, (s, np.diag(U))
    )
    return [course.loss, course.coefficients]


S0, U0 = -0.4, np.array([[0.3, 0.1], [-0.2, 0.5]])
V0, PAIRS0 = 0.6, np.array([0.3, -0.1])


def _unbalanced_flows(context: RunContext) -> list[FloatArray]:
    """s and U of one merged head, v and both amplitudes of one of rank two, from starts of unequal size."""
    merged, separate = Merged(heads=1), Separate(heads=1, rank=2)
    one = flow(
        merged, population_statistics(OBLIQUE, merged), merged_weights(S0, U0), TIMES
    ).weights
    pairs = np.diag([*PAIRS0, 0.0])[:2]
    two = flow(
        separate,
        population_statistics(DIAGONAL, separate),
        head_weights(V0, pairs, 2),
        TIMES,
    ).weights
    key = np.asarray(two["key"])[:, 0]
    return [
        np.asarray(one["value"])[:, 0, -1],
        np.asarray(one["key_query"])[:, 0, :-1, :-1],
        np.asarray(two["value"])[:, 0, -1],
        np.stack((key[:, 0, 0], key[:, 1, 1]), axis=1),
    ]


def _unbalanced_courses(context: RunContext, control: str) -> list[FloatArray]:
    s, U = matrix_amplitudes(
        wrong_moments(OBLIQUE, Merged(heads=1), control), TIMES, S0, U0
    )
    moments = wrong_moments(DIAGONAL, Separate(heads=1, rank=2), control)
    saturation = moments.a * moments.lam
    return [
        s,
        U,
        *low_rank_amplitudes(TIMES, V0, PAIRS0, moments.b[:2], saturation[:2]),
    ]


CLAIMS = (
    Claim(
        id="courses.exact",
        title="The time course of every kind of start is what gradient flow does from it",
        source=f"{SOURCE}, both parametrizations",
        statement=r"L(t),\ e_d^\top M(t) e_d",
        observable="loss and diagonal of M by the flow of all weights: rank one and two, merged, white, oblique",
        limit="none: exact",
        measure=_flows,
        predict=_courses,
        judge=equal_within(1e-9, axes=("time", "loss or diagonal")),
        controls=(LONGER_CONTEXT, HALF),
        tier="fast",
    ),
    Claim(
        id="courses.many_dimensions",
        title="So it is in a hundred dimensions",
        source=f"{SOURCE}, merged parametrization",
        statement=r"L(t),\ e_d^\top M(t) e_d",
        observable="loss and diagonal of M by the flow of all weights of one merged head, D = 100",
        limit="none: exact",
        measure=_many,
        predict=_many_courses,
        judge=equal_within(1e-9, EARLY, ("flow time", "loss or diagonal")),
        controls=(LONGER_CONTEXT, HALF),
    ),
    Claim(
        id="courses.unbalanced",
        title="Reduced equations hold from starts of any size, sign and imbalance, whether or not Λ and Ω commute",
        source=f"{SOURCE}, reduced equations; here on any task",
        statement=r"\dot s = \langle G, U\rangle,\ \dot U = s G; \quad "
        r"\dot v = \textstyle\sum_r \kappa_r^2 g_r,\ \dot\kappa_r = v\kappa_r g_r",
        observable="weights by the flow of all of them: one merged head, one of rank two",
        limit="none: exact",
        measure=_unbalanced_flows,
        predict=_unbalanced_courses,
        judge=equal_within(1e-9, axes=("time", "weight")),
        controls=MOMENTS,
        tier="fast",
    ),
)
