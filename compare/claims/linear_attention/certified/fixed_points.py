"""Certified fixed points: losses, gains, maps and Hessian indices of whole tasks."""

from itertools import combinations
from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....task import Task
from .....theory import certified, fixed_point
from .....theory.certified import CertifiedPoint, Enclosure
from .....theory.linear_attention.enumeration import FixedPoint
from ....evidence.claim import Claim, RunContext
from ....evidence.enclosed import enclosed_in
from ..common.controls import LONGER_CONTEXT
from ..common.experiments import FOUR
from .stated_intervals import TENTH_DIGIT, stated, with_longer_context

INDEX_TURNED = "index counts smaller gains"
NOISE_DROPPED = "noise of the labels left out"


class Case(NamedTuple):
    """A task, and the separate heads that learn it."""

    task: Task
    model: Separate


CASES = {
    "two directions": Case(
        Task(eigenvalues=["3/5", "2/5"], context_length={1: 1, 20: 3}),
        Separate(heads=3),
    ),
    "Λ and Ω that do not commute": Case(
        Task(
            covariance=[
                ["9/4", "-3/8", "3/4"],
                ["-3/8", "5/4", "1/2"],
                ["3/4", "1/2", 1],
            ],
            teacher_covariance=[
                [1, "1/4", 0],
                ["1/4", 2, "-1/2"],
                [0, "-1/2", "3/2"],
            ],
            noise_variance="1/10",
            context_length=12,
        ),
        Separate(heads=3, divisor="tokens"),
    ),
    "the published task": Case(FOUR, Separate(heads=4, divisor="none")),
    "two context lengths, fewer heads than directions": Case(
        Task(
            eigenvalues=[5, 4, 3, 2, 1],
            noise_variance="1/4",
            trace=1,
            context_length={8: 1, 40: 3},
        ),
        Separate(heads=3, divisor="5/2"),
    ),
}

ALONE = "two context lengths, fewer heads than directions"
"""Of this list one point is certified once more, alone."""

ALONE_SUBSET = (1, 5)

TOLERANCE = "1e-11"
"""What rounding of doubles leaves of the theory's numbers, as a share of them."""


def certified_points(context: RunContext) -> dict[str, Enclosure]:
    """Loss, gains, index and map of every fixed point of every task."""
    enclosures: dict[str, Enclosure] = {}
    for name, (task, model) in CASES.items():
        for point in certified.fixed_points(task, model):
            enclosures |= _of_point(f"{name}, {point.subset}", point)
    alone = certified.fixed_point(*CASES[ALONE], ALONE_SUBSET)
    return enclosures | _of_point("alone", alone)


def _of_point(place: str, point: CertifiedPoint) -> dict[str, Enclosure]:
    enclosures = {
        f"{place}: loss": point.loss,
        f"{place}: index": Enclosure.around(point.hessian_index),
    }
    for d, gain in zip(point.subset, point.gains, strict=True):
        enclosures[f"{place}: gain {d}"] = gain
    for i, row in enumerate(point.M):
        for j, entry in enumerate(row):
            enclosures[f"{place}: M{i}{j}"] = entry
    return enclosures


def stated_points(context: RunContext, control: str) -> dict[str, Enclosure]:
    """Intervals around the numbers of the theory in doubles, or of a wrong formula."""
    intervals: dict[str, Enclosure] = {}
    for name, (task, model) in CASES.items():
        variant = Case(_variant(task, control), model)
        directions = range(1, task.dimension + 1)
        for size in range(min(model.head_count, task.dimension) + 1):
            for subset in combinations(directions, size):
                place = f"{name}, {subset}"
                intervals |= _stated_point(place, variant, subset, control)
    alone = Case(_variant(CASES[ALONE].task, control), CASES[ALONE].model)
    return intervals | _stated_point("alone", alone, ALONE_SUBSET, control)


def _stated_point(
    place: str, case: Case, subset: tuple[int, ...], control: str
) -> dict[str, Enclosure]:
    point = fixed_point(case.task, case.model, subset)
    assert isinstance(point, FixedPoint)
    numbers = {f"{place}: loss": point.loss}
    for d, gain in zip(subset, point.gains, strict=True):
        numbers[f"{place}: gain {d}"] = gain
    index = _index(point, case.task.dimension, control)
    return (
        stated(numbers, TOLERANCE, control)
        | _stated_map(place, point)
        | {f"{place}: index": Enclosure.around(index)}
    )


def _index(point: FixedPoint, dimension: int, control: str) -> int:
    """The number of pairs of a learned direction and one of larger gain that is not, or of smaller gain."""
    if control != INDEX_TURNED:
        return int(point.hessian_index)
    unlearned = set(range(1, dimension + 1)) - set(point.subset)
    return sum(j > d for d in point.subset for j in unlearned)


def _stated_map(place: str, point: FixedPoint) -> dict[str, Enclosure]:
    """Intervals around the entries of M, which rounding moves by a share of the largest."""
    tolerance = float(TOLERANCE) * float(np.max(np.abs(point.M)))
    return {
        f"{place}: M{i}{j}": Enclosure.around(entry, tolerance)
        for (i, j), entry in np.ndenumerate(point.M)
    }


def _variant(task: Task, control: str) -> Task:
    if control == LONGER_CONTEXT:
        return with_longer_context(task)
    if control == NOISE_DROPPED:
        return Task(
            covariance=task.exact_covariance.tolist(),
            teacher_covariance=task.exact_teacher_covariance.tolist(),
            query_noise_variance=task.exact_query_noise_variance,
            context_length=task.context_length,
        )
    return task


CLAIMS = (
    Claim(
        id="certified.fixed_points",
        title="Losses, gains, maps and indices of all fixed points of four tasks lie in certain enclosures",
        paper="zhang2025",
        equation="the fixed points of separate attention",
        beyond_paper=True,
        statement=r"L(M_S) = c - \sum_{d \in S} g_d, \quad "
        r"\mathrm{index}(M_S) = \#\{(d, j) : d \in S, j \notin S, g_j > g_d\}",
        hypotheses=("heads of rank one", "gains that differ"),
        observable="enclosures of all fixed points of tasks of 2 to 5 dimensions with four divisors, of one with fewer "
        "heads than directions, in ball arithmetic of 192 bits",
        limit="none: the enclosures are of the stated equations themselves",
        measure=certified_points,
        predict=stated_points,
        judge=enclosed_in,
        controls=(TENTH_DIGIT, LONGER_CONTEXT, INDEX_TURNED, NOISE_DROPPED),
        expected_level="certified",
        evidence_level="certified",
    ),
)
