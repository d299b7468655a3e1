"""The weights that theory gives to a fixed point, on any task: at rest, balanced, with the index that it states."""

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
from .....theory import FixedPoint, fixed_point, fixed_points
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curvature import hessian_index
from ..common.fixtures import DIAGONAL, NON_COMMUTING

Model = Merged | Separate

THREE = Task(
    covariance=[[1.0, 0.3, 0.1], [0.3, 0.8, -0.2], [0.1, -0.2, 0.5]],
    teacher_covariance=[[0.7, 0.1, 0.0], [0.1, 1.4, 0.5], [0.0, 0.5, 1.1]],
    noise_variance=0.1,
    context_length=8,
)
CASES: tuple[tuple[Task, Model], ...] = (
    (NON_COMMUTING, Separate(heads=3)),
    (NON_COMMUTING, Merged(heads=2)),
    (THREE, Separate(heads=2)),
    (THREE, Separate(heads=2, rank=2)),
    (DIAGONAL, Separate(heads=2, rank=3)),
)
APART = ((1,), (2, 3))
"""A packing of three directions that is not the default one."""

TWO, SAME = Task([1.0, 0.6], context_length=5), Task([0.8, 0.8], context_length=5)
KINDS: tuple[tuple[Task, Model], ...] = (
    (TWO, Separate(heads=1)),
    (TWO, Separate(heads=2)),
    (TWO, Separate(heads=1, rank=2)),
    (TWO, Merged(heads=2)),
    (SAME, Separate(heads=1)),
    (DIAGONAL, Separate(heads=1, rank=2)),
)
NUDGE, LATE, FALL = 0.1, 500.0, 1e-3
"""Size of a step off a fixed point, flow time after it, and how far the loss then is below at a saddle."""

NOT_LEFT = "index 0 makes a minimum"
ALL_LEARNED = "a minimum learns every direction"
GREEDY_LOSS = "the loss of the largest gains"

UNBALANCED = "v twice as large, K half"
NO_TEACHERS = "Ω left out"
MINIMA = "no way down from anywhere"


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
    """All fixed points of each case by increasing loss, and one in another packing."""
    found = []
    for task, model in CASES:
        if control == NO_TEACHERS:
            task = Task(
                covariance=task.covariance,
                noise_variance=task.noise_variance,
                context_length=task.context_length,
            )
        stated = list(fixed_points(task, model))
        if isinstance(model, Separate) and model.rank == 2:
            stated.append(fixed_point(task, model, (1, 2, 3), APART))
        points = [
            _Point(each.weights, each.M, each.loss, each.hessian_index)
            for each in stated
        ]
        found.append([_varied(point, model, control) for point in points])
    return found


def _varied(point: _Point, model: Model, control: str) -> _Point:
    if control == MINIMA:
        return replace(point, index=0)
    if control == UNBALANCED:
        name = "key_query" if isinstance(model, Merged) else "key"
        changed = {"value": 2 * point.weights["value"], name: point.weights[name] / 2}
        return replace(point, weights=point.weights | changed)
    return point


def _at_rest(predicted: list[list[_Point]], observed: list[Objective]) -> Evidence:
    """Gradient, loss, map and balance to rounding; every index as it is counted; as many points as subsets."""
    gaps, wrong = [0.0], 0
    for (task, model), evaluate, points in zip(CASES, observed, predicted, strict=True):
        wrong += abs(len(points) - _count(task, model))
        for point in points:
            gaps.append(_largest_gap(model, evaluate, point))
            free = restricted(
                {name: np.ones_like(value) for name, value in point.weights.items()}
            )
            wrong += hessian_index(evaluate, point.weights, free) != point.index
    count = sum(len(points) for points in predicted)
    shown = f"{count} points, largest gap {max(gaps):.1e}, {wrong} counted otherwise"
    agrees = max(gaps) <= 1e-10 and wrong == 0
    return Evidence(agrees, shown, "at most 1e-10, none", residual=max(gaps))


def _largest_gap(model: Model, evaluate: Objective, point: _Point) -> float:
    """Of the gradient on the restricted block, of loss and map to what is stated, and of values to their heads."""
    loss, gradients = evaluate(point.weights)
    force = max(float(np.max(np.abs(each))) for each in restricted(gradients).values())
    map_gap = float(np.max(np.abs(effective_map(model, point.weights) - point.M)))
    return max(force, abs(loss - point.loss), map_gap, _imbalance(point.weights))


def _imbalance(weights: Weights) -> float:
    """Largest |v² − |K|²| and |K Kᵀ − Q Qᵀ| of a head, or |v² − |U|²|."""
    squares = np.sum(weights["value"] ** 2, axis=1)
    if "key_query" in weights:
        return float(
            np.max(np.abs(squares - np.sum(weights["key_query"] ** 2, axis=(1, 2))))
        )
    key, query = weights["key"], weights["query"]
    products = key @ key.swapaxes(1, 2) - query @ query.swapaxes(1, 2)
    return float(
        max(
            np.max(np.abs(squares - np.sum(key**2, axis=(1, 2)))),
            np.max(np.abs(products)),
        )
    )


def _count(task: Task, model: Model) -> int:
    """Subsets of at most H·R directions, and the one that is packed twice."""
    if isinstance(model, Merged):
        return 2
    most = min(task.dimension, model.head_count * model.rank)
    return sum(comb(task.dimension, m) for m in range(most + 1)) + (model.rank == 2)


Kinds = list[tuple[str, float]]
"""Kind and loss of each fixed point."""


def _every_point() -> list[tuple[Task, Model, FixedPoint]]:
    """Every subset that each model can learn, not only the best of its size."""
    found: list[tuple[Task, Model, FixedPoint]] = []
    for task, model in KINDS:
        most = min(
            task.dimension, model.head_count * getattr(model, "rank", task.dimension)
        )
        sizes = (0, task.dimension) if isinstance(model, Merged) else range(most + 1)
        subsets = [
            S
            for size in sizes
            for S in combinations(range(1, task.dimension + 1), size)
        ]
        found += [(task, model, fixed_point(task, model, S)) for S in subsets]
    return found


def _found_kinds(context: RunContext) -> Kinds:
    """By the index, and where it is 0 by whether the loss falls further after a step off the point."""
    found = []
    for task, model, point in _every_point():
        source = population_statistics(task, model)
        evaluate = objective(model, source)
        loss, weights = float(evaluate(point.weights)[0]), point.weights
        free = restricted(
            {name: np.ones_like(value) for name, value in weights.items()}
        )
        kind = "strict saddle"
        if hessian_index(evaluate, weights, free) == 0:
            step = initial_weights(model, task, NUDGE, context.seed, "restricted")
            start = {name: weights[name] + step[name] for name in weights}
            end = flow(model, source, start, [0.0, LATE], rtol=1e-6).loss[-1]
            kind = "degenerate saddle" if end < loss - FALL else "minimum"
        found.append((kind, loss))
    return found


def _stated_kinds(context: RunContext, control: str) -> Kinds:
    found: Kinds = []
    for task, _, point in _every_point():
        kind: str = point.kind
        if control == NOT_LEFT and kind == "degenerate saddle":
            kind = "minimum"
        if (
            control == ALL_LEARNED
            and kind == "minimum"
            and len(point.subset) < task.dimension
        ):
            kind = "degenerate saddle"
        greedy = float(point.population.greedy_losses[len(point.subset)])
        found.append((kind, greedy if control == GREEDY_LOSS else point.loss))
    return found


def _same_kinds(predicted: Kinds, observed: Kinds) -> Evidence:
    pairs = list(zip(predicted, observed, strict=True))
    agree = sum(stated == found for (stated, _), (found, _) in pairs)
    gap = max(abs(stated - found) for (_, stated), (_, found) in pairs)
    shown = f"{agree} of {len(pairs)} kinds as stated, losses within {gap:.1e}"
    return Evidence(
        agree == len(pairs) and gap <= 1e-12,
        shown,
        "all of them, within 1e-12",
        residual=gap,
    )


CLAIMS = (
    Claim(
        id="canonical.weights",
        title="On any task the canonical weights of every fixed point are at rest, balanced, and have its index",
        paper="zhang2025",
        equation="fixed points",
        origin="weights, index, Λ and Ω that do not commute go beyond it",
        statement=r"\nabla L = 0,\quad v^2 = |K|^2,\quad K K^\top = Q Q^\top",
        observable="loss, gradient and Hessian at the weights; oblique and aligned, rank one to three, merged",
        limit="none: exact",
        measure=_objectives,
        assumes=POPULATION_MOMENTS,
        predict=_points,
        judge=_at_rest,
        controls=(UNBALANCED, NO_TEACHERS, MINIMA),
        tier="fast",
    ),
    Claim(
        id="canonical.kinds",
        title="The flow stays at minima and leaves degenerate saddles; both have index 0, strict saddles more",
        paper="zhang2025",
        equation="fixed points",
        origin="their kinds go beyond it",
        statement=r"\text{minimum} \iff \text{index} = 0,\ |S| = \min(D, HR);\ L = c - \textstyle\sum_S g_d",
        observable="Hessian, and the loss that the flow falls to after a step off the point: every subset",
        limit="none: exact",
        measure=_found_kinds,
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
