"""The canonical weights of a fixed point, on any task: stationary, balanced, with the index that the theory states."""

from dataclasses import dataclass, replace
from itertools import combinations
from math import comb

import numpy as np

from .....models.attention import Merged, Separate
from .....models.effective_map import effective_map
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights, objective
from .....simulate.attention.initialisation import restricted
from .....simulate.attention.objectives import Objective
from .....task import Task
from .....theory.linear_attention.enumeration import (
    FixedPoint,
    fixed_point,
    fixed_points,
)
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curvature import hessian_index
from ..common.fixtures import DIAGONAL, NON_COMMUTING, every_entry

Model = Merged | Separate

NON_COMMUTING_THREE = Task(
    covariance=[[1.0, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 0.5]],
    teacher_covariance=[[0.7, 0.1, 0.0], [0.1, 1.4, 0.5], [0.0, 0.5, 1.1]],
    noise_variance=0.1,
    context_length=8,
)
CASES: tuple[tuple[Task, Model], ...] = (
    (NON_COMMUTING, Separate(heads=3)),
    (NON_COMMUTING, Merged(heads=2)),
    (NON_COMMUTING_THREE, Separate(heads=2)),
    (NON_COMMUTING_THREE, Separate(heads=2, rank=2)),
    (DIAGONAL, Separate(heads=2, rank=3)),
)
OTHER_ASSIGNMENT = ((1,), (2, 3))
"""Directions of two heads of rank two that are not assigned in order."""

TWO_GAINS = Task([1.0, 0.6], context_length=5)
EQUAL_GAINS = Task([0.8, 0.8], context_length=5)
KIND_CASES: tuple[tuple[Task, Model], ...] = (
    (TWO_GAINS, Separate(heads=1)),
    (TWO_GAINS, Separate(heads=2)),
    (TWO_GAINS, Separate(heads=1, rank=2)),
    (TWO_GAINS, Merged(heads=2)),
    (EQUAL_GAINS, Separate(heads=1)),
    (DIAGONAL, Separate(heads=1, rank=2)),
)

NUDGE = 0.1
"""Size of a step off a fixed point: large, so that the slow escape from a degenerate saddle is over by `LATE`."""

LATE = 500.0
"""Flow time after the step."""

FALL = 1e-3
"""How far the loss then is below, at least, where the point is a saddle."""

NOT_LEFT = "index 0 makes a minimum"
ALL_LEARNED = "a minimum learns every direction"
GREEDY_LOSS = "the loss of the largest gains"

UNBALANCED = "v twice as large, K half"
NO_TEACHERS = "Ω left out"
MINIMA = "no unstable direction anywhere"


# Canonical weights


@dataclass(frozen=True, eq=False)
class _Point:
    """What theory says of a fixed point."""

    weights: Weights
    M: FloatArray
    loss: float
    index: int


def _objectives(context: RunContext) -> list[Objective]:
    return [
        objective(model, population_statistics(task, model)) for task, model in CASES
    ]


def _points(context: RunContext, control: str) -> list[list[_Point]]:
    """All fixed points of each case by increasing loss, and one with another assignment to heads."""
    of_cases = []
    for true_task, model in CASES:
        task = _without_teachers(true_task) if control == NO_TEACHERS else true_task
        stated = list(fixed_points(task, model))
        if isinstance(model, Separate) and model.rank == 2:
            stated.append(fixed_point(task, model, (1, 2, 3), OTHER_ASSIGNMENT))
        of_cases.append([_changed(point, model, control) for point in stated])
    return of_cases


def _without_teachers(task: Task) -> Task:
    """The task with Ω = 1."""
    return Task(
        covariance=task.covariance,
        noise_variance=task.noise_variance,
        context_length=task.context_length,
    )


def _changed(stated: FixedPoint, model: Model, control: str) -> _Point:
    """The fixed point as stated, or a wrong variant of it."""
    point = _Point(stated.weights, stated.M, stated.loss, stated.hessian_index)
    if control == MINIMA:
        return replace(point, index=0)
    if control == UNBALANCED:
        # The map stays: its factors change in inverse proportion.
        name = "key_query" if isinstance(model, Merged) else "key"
        value = 2 * point.weights["value"]
        matrix = point.weights[name] / 2
        weights = point.weights | {"value": value, name: matrix}
        return replace(point, weights=weights)
    return point


def _stationary(predicted: list[list[_Point]], observed: list[Objective]) -> Evidence:
    """Gradient, loss, map and balance to rounding; every index as it is counted; as many points as subsets."""
    gap, wrong = 0.0, 0
    for (task, model), evaluate, points in zip(CASES, observed, predicted, strict=True):
        # A point that is missing counts as a wrong one.
        wrong += abs(len(points) - _count(task, model))
        for point in points:
            gap = max(gap, _largest_gap(model, evaluate, point))
            wrong += _index(evaluate, point.weights) != point.index

    count = sum(len(points) for points in predicted)
    return Evidence(
        agrees=gap <= 1e-10 and wrong == 0,
        observed=f"{count} points, largest gap {gap:.1e}, {wrong} counted otherwise",
        expected="at most 1e-10, none",
        residual=gap,
    )


def _index(evaluate: Objective, weights: Weights) -> int:
    """Negative eigenvalues of the Hessian on the restricted block."""
    return hessian_index(evaluate, weights, restricted(every_entry(weights)))


def _largest_gap(model: Model, evaluate: Objective, point: _Point) -> float:
    """Of the gradient on the restricted block, of loss and map to what is stated, and of values to their heads."""
    # All gaps have the unit of the loss or of a weight, both of order one here.
    loss, gradients = evaluate(point.weights)
    on_block = restricted(gradients).values()
    gradient = max(float(np.max(np.abs(entries))) for entries in on_block)
    map_gap = float(np.max(np.abs(effective_map(model, point.weights) - point.M)))
    return max(gradient, abs(loss - point.loss), map_gap, _imbalance(point.weights))


def _imbalance(weights: Weights) -> float:
    """Largest |v² − |K|²| and |K Kᵀ − Q Qᵀ| of a head, or |v² − |U|²|."""
    v2 = np.sum(weights["value"] ** 2, axis=1)  # (H,)
    if "key_query" in weights:
        U2 = np.sum(weights["key_query"] ** 2, axis=(1, 2))
        return float(np.max(np.abs(v2 - U2)))
    K, Q = weights["key"], weights["query"]  # (H, R, D + 1)
    balance = K @ K.swapaxes(1, 2) - Q @ Q.swapaxes(1, 2)
    K2 = np.sum(K**2, axis=(1, 2))
    return float(max(np.max(np.abs(v2 - K2)), np.max(np.abs(balance))))


def _count(task: Task, model: Model) -> int:
    """Subsets of at most H·R directions, and the one that is assigned to heads twice."""
    if isinstance(model, Merged):
        return 2
    most = min(task.dimension, model.head_count * model.rank)
    subsets = sum(comb(task.dimension, m) for m in range(most + 1))
    return subsets + (model.rank == 2)


# Kinds of fixed points

Kinds = list[tuple[str, float]]
"""Kind and loss of each fixed point."""


def _every_point() -> list[tuple[Task, Model, FixedPoint]]:
    """Every subset that each model can learn, not only the best of its size."""
    points: list[tuple[Task, Model, FixedPoint]] = []
    for task, model in KIND_CASES:
        D = task.dimension
        sizes = range(D + 1)
        if isinstance(model, Separate):
            sizes = range(min(D, model.head_count * model.rank) + 1)
        if isinstance(model, Merged):
            sizes = range(0, D + 1, D)  # nothing or all
        for size in sizes:
            for subset in combinations(range(1, D + 1), size):
                points.append((task, model, fixed_point(task, model, subset)))
    return points


def _observed_kinds(context: RunContext) -> Kinds:
    """By the index, and where it is 0 by whether the loss falls further after a step off the point."""
    kinds = []
    for task, model, point in _every_point():
        evaluate = objective(model, population_statistics(task, model))
        loss, _ = evaluate(point.weights)
        kind = "strict saddle"
        if _index(evaluate, point.weights) == 0:
            end = _loss_after_step(task, model, point.weights, context.seed)
            kind = "degenerate saddle" if end < loss - FALL else "minimum"
        kinds.append((kind, float(loss)))
    return kinds


def _loss_after_step(task: Task, model: Model, weights: Weights, seed: int) -> float:
    """The loss that the flow falls to after a random step off these weights."""
    step = initial_weights(model, task, NUDGE, seed, "restricted")
    start = {name: weights[name] + step[name] for name in weights}
    source = population_statistics(task, model)
    return float(flow(model, source, start, [0.0, LATE], rtol=1e-6).loss[-1])


def _stated_kinds(context: RunContext, control: str) -> Kinds:
    kinds: Kinds = []
    for task, _, point in _every_point():
        size = len(point.subset)
        kind: str = point.kind
        if control == NOT_LEFT and kind == "degenerate saddle":
            kind = "minimum"
        if control == ALL_LEARNED and kind == "minimum" and size < task.dimension:
            kind = "degenerate saddle"

        loss = point.loss
        if control == GREEDY_LOSS:
            loss = float(point.population.greedy_losses[size])
        kinds.append((kind, loss))
    return kinds


def _same_kinds(predicted: Kinds, observed: Kinds) -> Evidence:
    agree = 0
    gap = 0.0
    for stated, measured in zip(predicted, observed, strict=True):
        agree += stated[0] == measured[0]
        gap = max(gap, abs(stated[1] - measured[1]))
    return Evidence(
        agrees=agree == len(observed) and gap <= 1e-12,
        observed=f"{agree} of {len(observed)} kinds as stated, losses within {gap:.1e}",
        expected="all of them, within 1e-12",
        residual=gap,
    )


CLAIMS = (
    Claim(
        id="canonical.weights",
        title="Canonical weights of every fixed point are stationary and balanced and have the stated index",
        paper="zhang2025",
        equation="fixed points",
        origin="weights, index, Λ and Ω that do not commute go beyond it",
        statement=r"\nabla L = 0,\quad v^2 = |K|^2,\quad K K^\top = Q Q^\top",
        observable="loss, gradient and Hessian at the weights; non-commuting and diagonal tasks, "
        "rank one to three, merged",
        limit="none: exact",
        measure=_objectives,
        assumes=POPULATION_MOMENTS,
        predict=_points,
        judge=_stationary,
        controls=(UNBALANCED, NO_TEACHERS, MINIMA),
        tier="fast",
    ),
    Claim(
        id="canonical.kinds",
        title="The flow stays at minima and leaves degenerate saddles, which both have index 0",
        paper="zhang2025",
        equation="fixed points",
        origin="their kinds go beyond it",
        statement=r"\text{minimum} \iff \text{index} = 0,\ |S| = \min(D, HR);\ L = c - \textstyle\sum_S g_d",
        observable="Hessian, and the loss that the flow reaches after a step off the fixed point, for every subset",
        limit="none: exact",
        measure=_observed_kinds,
        assumes=POPULATION_MOMENTS,
        predict=_stated_kinds,
        judge=_same_kinds,
        controls=(NOT_LEFT, ALL_LEARNED, GREEDY_LOSS),
        hypotheses=(
            "rank one and two, fewer pairs than directions, equal gains, merged",
        ),
        tier="fast",
    ),
)
