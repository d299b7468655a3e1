"""Equal gains: which fixed points they leave, the index of each, and which directions are flat."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import from_moments, objective
from .....simulate.attention.initialisation import restricted
from .....simulate.attention.objectives import Objective
from .....task import Task
from .....theory import FixedPoint, fixed_point
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....metrics.curvature import hessian_index
from ..common.quadrature import weighted_prompts
from ..setting.amplitudes import ROTATION
from ..symbolic.identities import Formulas, proof

if TYPE_CHECKING:
    from .....theory.symbolic import SymbolicTask


EQUAL_COUNT = "equal gains count as larger"
ONLY_SMALLER = "smaller gains count"
EVERY = "every direction left out counts"
NO_FLAT = "nothing flat between equal gains"
NO_CONTINUUM = "every point is alone"
ANY_TIE = "wherever the task has equal gains"
ALL_TIED = "only where all gains are equal"

ROOT = np.array([[0.7, 0.0, 0.0], [0.3, 0.9, 0.0], [0.2, 0.4, 0.6]])
"""A root of Λ where Λ and Ω do not commute."""

RANKS = (1, 2)
HEADS = 3


def _tasks() -> dict[str, Task]:
    """Where gains are equal, by what makes them so; every gain falls as the eigenvalues of ΛΩ do."""
    known = {
        "all three": Task([0.8, 0.8, 0.8], context_length=1),
        "the larger two": Task([0.8, 0.8, 0.5], context_length=1),
        "the smaller two": Task([0.8, 0.5, 0.5], context_length=1),
        "with different λ": Task(
            [0.75, 0.5, 0.25],
            teacher_covariance=np.diag([1.0, 1.5, 4.0]),
            context_length=1,
        ),
    }
    for μ in ([0.9, 0.9, 0.4], [0.9, 0.4, 0.4]):
        known[f"eigenvalues {μ} of ΛΩ, turned"] = Task(
            covariance=ROTATION * μ @ ROTATION.T, context_length=1
        )
        known[f"eigenvalues {μ} of ΛΩ, not commuting"] = Task(
            covariance=ROOT @ ROOT.T,
            teacher_covariance=np.linalg.inv(ROOT).T * μ @ np.linalg.inv(ROOT),
            context_length=1,
        )
    return known


@cache
def _integrated(name: str) -> tuple[float, FloatArray, FloatArray, FloatArray]:
    """c, A, B and Λ of a task, integrated over all prompts of one token."""
    tokens, target, weights = weighted_prompts(_tasks()[name], 1, 3)
    x, label, query = tokens[:, 0, :-1], tokens[:, 0, -1], tokens[:, 1, :-1]
    β = label[:, None] * x  # the divisor is N = 1
    A, Λ = ((weights * each.T) @ each for each in (β, query))
    return float(weights @ target**2), A, (weights * target * β.T) @ query, Λ


def _integrated_loss(name: str, model: Separate) -> Objective:
    """The loss on unlimited data by its integrated moments."""
    return objective(model, from_moments(*_integrated(name), model, (1,)))


def _points(model: Separate, task: Task) -> list[FixedPoint]:
    """The fixed point of every subset, not only of those that stand for others, and one head for each direction."""
    subsets = [subset for size in range(4) for subset in combinations((1, 2, 3), size)]
    points = [fixed_point(task, model, subset) for subset in subsets]
    if model.rank > 1:
        points += [
            fixed_point(task, model, subset, [(d,) for d in subset])
            for subset in subsets
            if len(subset) > 1
        ]
    return points


def _counted(context: RunContext) -> list[int]:
    """Negative eigenvalues of the Hessian at the canonical weights of every point of every task."""
    found = []
    for rank in RANKS:
        model = Separate(HEADS, rank)
        for name, task in _tasks().items():
            evaluate = _integrated_loss(name, model)
            for point in _points(model, task):
                inside = restricted(
                    {name: np.ones_like(value) for name, value in point.weights.items()}
                )
                found.append(hessian_index(evaluate, point.weights, inside))
    return found


def _stated(context: RunContext, control: str) -> list[int]:
    found = []
    for rank in RANKS:
        model = Separate(HEADS, rank)
        for task in _tasks().values():
            found += [_index(point, model, control) for point in _points(model, task)]
    return found


def _index(point: FixedPoint, model: Separate, control: str) -> int:
    """The index of a point, or what a control counts in its place."""
    if control == UNMODIFIED:
        return point.hessian_index
    gains = point.population.gains
    learned = [d - 1 for d in point.subset]
    missing = [j for j in range(3) if j + 1 not in point.subset]
    idle = sum(model.rank - len(head) for head in point.packing) * len(missing)
    gaps = [float(gains[j] - gains[d]) for d in learned for j in missing]
    wrong = {
        EQUAL_COUNT: [gap >= 0 for gap in gaps],
        ONLY_SMALLER: [gap < 0 for gap in gaps],
        EVERY: [True for _ in gaps],
    }
    return idle + sum(wrong[control])


def _equal_lists(predicted: Sequence[int], observed: Sequence[int]) -> Evidence:
    agree = sum(p == o for p, o in zip(predicted, observed, strict=True))
    return Evidence(
        agree == len(observed),
        f"{agree} of {len(observed)} points as predicted",
        "all of them",
    )


def _rotations_at_rest(context: RunContext) -> list[bool]:
    """Whether some head can turn halfway to a direction that is left out and be at rest there, too."""
    found = []
    model = Separate(HEADS)
    for name, task in _tasks().items():
        evaluate = _integrated_loss(name, model)
        for point in _points(model, task):
            missing = [j for j in range(3) if j + 1 not in point.subset]
            turned = [
                _turned(point, head, j)
                for head in range(len(point.subset))
                for j in missing
            ]
            gradients = [evaluate(weights)[1] for weights in turned]
            found.append(
                any(
                    max(np.max(np.abs(each)) for each in g.values()) < 1e-10
                    for g in gradients
                )
            )
    return found


def _turned(point: FixedPoint, head: int, other: int) -> Weights:
    """The weights with one head on A^{-1/2} σ u tᵀ Λ^{-1/2}, u and t halfway between its directions and others."""
    moments, own = point.population, point.subset[head] - 1
    u, t = (side[:, own] + side[:, other] for side in (moments.left, moments.right))
    weights = {name: value.copy() for name, value in point.weights.items()}
    weights["value"][head, -1] = np.sqrt(moments.gains[own]) / 2
    weights["key"][head, 0, :-1] = _inverse_root(moments.A) @ u
    weights["query"][head, 0, :-1] = _inverse_root(moments.Lambda) @ t
    return weights


def _inverse_root(matrix: FloatArray) -> FloatArray:
    values, vectors = np.linalg.eigh(matrix)
    return np.asarray(vectors / np.sqrt(values) @ vectors.T)


def _stated_continua(context: RunContext, control: str) -> list[bool]:
    found = []
    for task in _tasks().values():
        for point in _points(Separate(HEADS), task):
            gains = point.population.gains
            wrong = {
                NO_CONTINUUM: False,
                ANY_TIE: len(set(gains)) < len(gains),
                ALL_TIED: point.continuum and len(set(gains)) == 1,
            }
            found.append(wrong.get(control, point.continuum))
    return found


def _symbolic_tasks() -> "Mapping[str, tuple[SymbolicTask, tuple[int, ...]]]":
    """Tasks with equal gains, and the rank of each gain: in symbols, by Ω, and in numbers at D = 3."""
    import sympy as sp

    from .....theory.symbolic import N, SymbolicTask

    a, b = sp.symbols("a b", positive=True)
    zero, four = sp.Integer(0), (sp.Integer(4),)
    return {
        "Λ = b": (SymbolicTask(sp.diag(b, b), sp.eye(2), zero, (N,)), (1, 1)),
        "ΛΩ = ab": (SymbolicTask(sp.diag(a, b), sp.diag(b, a), zero, four), (1, 1)),
        "Λ = diag(2, 2, 1)": (
            SymbolicTask(sp.diag(2, 2, 1), sp.eye(3), zero, four),
            (1, 1, 2),
        ),
        "Λ = diag(2, 1, 1)": (
            SymbolicTask(sp.diag(2, 1, 1), sp.eye(3), zero, four),
            (1, 2, 2),
        ),
    }


def _derived_signatures(context: RunContext) -> Formulas:
    """How many eigenvalues of the derived Hessian are below and at zero, at every M_S of D heads of rank one."""
    import sympy as sp

    from .....theory.symbolic import (
        fixed_points,
        population_loss,
        representative_weights,
    )
    from .....theory.symbolic.dynamics.stability import hessian, hessian_index, inertia

    found = {}
    for name, (task, _) in _symbolic_tasks().items():
        model = Separate(task.dimension)
        loss = population_loss(task, model, "restricted")
        maps = {point.subset: point.M for point in fixed_points(task, model)}
        for S in maps:
            weights = representative_weights(model, [[maps[d,]] for d in S])
            found[f"{name}, {S}, index"] = sp.Integer(hessian_index(loss, weights))
            found[f"{name}, {S}, flat"] = sp.Integer(
                inertia(hessian(loss, weights)).zero
            )
    return found


def _stated_signatures(context: RunContext, control: str) -> Formulas:
    """Idle heads are flat; an active one along two scalings; so is half of each pair of learned directions."""
    import sympy as sp

    found = {}
    for name, (_, ranks) in _symbolic_tasks().items():
        D = len(ranks)
        for S in (S for size in range(D + 1) for S in combinations(range(D), size)):
            pairs = [(d, j) for d in S for j in range(D) if j not in S]
            larger = sum(ranks[j] < ranks[d] for d, j in pairs)
            equal = sum(ranks[j] == ranks[d] for d, j in pairs)
            size = len(S)
            flat = (D - size) * (1 + 2 * D) + 2 * size + size * (size - 1)
            index = larger + (equal if control == EQUAL_COUNT else 0)
            index = len(pairs) - larger - equal if control == ONLY_SMALLER else index
            shown = tuple(d + 1 for d in S)
            found[f"{name}, {shown}, index"] = sp.Integer(index)
            found[f"{name}, {shown}, flat"] = sp.Integer(
                flat + (0 if control == NO_FLAT else equal)
            )
    return found


CLAIMS = (
    Claim(
        id="ties.index",
        title="An equal gain that is left out adds no unstable direction",
        paper="zhang2025",
        equation="stability of the fixed points",
        beyond_paper=True,
        statement=r"\#\{(d,j): d\in S, j\notin S, g_j > g_d\} + (\text{idle pairs})\,(D - |S|)",
        observable="negative eigenvalues of the Hessian of a loss by quadrature; every subset, rank one and two",
        limit="none: exact",
        measure=_counted,
        predict=_stated,
        judge=_equal_lists,
        controls=(EQUAL_COUNT, ONLY_SMALLER, EVERY),
        hypotheses=(
            "gains equal among learned and left out, by Λ, Ω, in any basis, not commuting",
        ),
        tier="fast",
    ),
    Claim(
        id="ties.continuum",
        title="A fixed point is one of a continuum just where it learns some of several equal gains and not all",
        paper="zhang2025",
        equation="where gains differ",
        beyond_paper=True,
        statement=r"\exists\, d \in S,\ j \notin S : g_j = g_d",
        observable="whether a head turned halfway to a direction left out is at rest; every subset, rank one",
        limit="none: exact",
        measure=_rotations_at_rest,
        predict=_stated_continua,
        judge=_equal_lists,
        controls=(NO_CONTINUUM, ANY_TIE, ALL_TIED),
        hypotheses=("gains equal by Λ, Ω, in any basis, not commuting",),
        tier="fast",
    ),
    proof(
        "ties.signature",
        "Between equal gains, one learned and one left out, the loss is flat to second order",
        r"n_- = \#\{(d, j) : g_j > g_d\},\quad "
        r"n_0 = (H - |S|)(1 + 2D) + |S|(|S| + 1) + \#\{(d, j) : g_j = g_d\}",
        "signature of the derived Hessian at each M_S; D = 2 with Λ = b and ΛΩ = ab in symbols, D = 3 in numbers",
        measure=_derived_signatures,
        predict=_stated_signatures,
        controls=(EQUAL_COUNT, ONLY_SMALLER, NO_FLAT),
        paper="zhang2025",
        equation="stability of the fixed points",
        beyond_paper=True,
        hypotheses=(
            "d ∈ S, j ∉ S",
            "one head holds each learned direction, all others are zero",
        ),
    ),
)
