"""Equal gains: which fixed points they leave, the index of each, and which directions are flat."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import combinations, product
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .....models.attention import Separate
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....runtime.covariances import inverse_root
from .....simulate import from_moments, objective
from .....simulate.attention.initialisation import restricted
from .....simulate.attention.objectives import Objective
from .....task import Task
from .....theory.linear_attention.enumeration import FixedPoint, fixed_point
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.identities import Formulas
from ....metrics.curvature import hessian_index
from ..common.fixtures import every_entry
from ..common.quadrature import weighted_prompts
from ..setting.amplitudes import ROTATION
from ..symbolic.identities import proof

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
DIRECTIONS = (1, 2, 3)
SUBSETS = [S for size in range(4) for S in combinations(DIRECTIONS, size)]


def _tasks() -> dict[str, Task]:
    """Where gains are equal, by what makes them so; every gain falls as the eigenvalues of ΛΩ do."""
    tasks = {
        "all three": Task([0.8, 0.8, 0.8], context_length=1),
        "the larger two": Task([0.8, 0.8, 0.5], context_length=1),
        "the smaller two": Task([0.8, 0.5, 0.5], context_length=1),
        "with different λ": Task(
            [0.75, 0.5, 0.25],
            teacher_covariance=np.diag([1.0, 1.5, 4.0]),
            context_length=1,
        ),
    }
    inverse = np.linalg.inv(ROOT)
    for μ in ([0.9, 0.9, 0.4], [0.9, 0.4, 0.4]):
        tasks[f"eigenvalues {μ} of ΛΩ, rotated"] = Task(
            covariance=ROTATION * μ @ ROTATION.T,
            context_length=1,
        )
        # Λ = R Rᵀ and Ω = R⁻ᵀ diag(μ) R⁻¹: their product has the eigenvalues μ.
        tasks[f"eigenvalues {μ} of ΛΩ, not commuting"] = Task(
            covariance=ROOT @ ROOT.T,
            teacher_covariance=inverse.T * μ @ inverse,
            context_length=1,
        )
    return tasks


class _Moments(NamedTuple):
    """c, A, B and Λ."""

    c: float
    A: FloatArray
    B: FloatArray
    Lambda: FloatArray


@cache
def _integrated(name: str) -> _Moments:
    """The moments of a task, integrated over all prompts of one token."""
    tokens, target, weights = weighted_prompts(_tasks()[name], 1, 3)
    x, label = tokens[:, 0, :-1], tokens[:, 0, -1]
    query = tokens[:, 1, :-1]
    β = label[:, None] * x  # (P, D); the divisor is N = 1
    return _Moments(
        c=float(weights @ target**2),
        A=(weights * β.T) @ β,
        B=(weights * target * β.T) @ query,
        Lambda=(weights * query.T) @ query,
    )


def _integrated_loss(name: str, model: Separate) -> Objective:
    """The loss on unlimited data by its integrated moments."""
    return objective(model, from_moments(*_integrated(name), model, (1,)))


def _points(model: Separate, task: Task) -> list[FixedPoint]:
    """The fixed point of every subset, not only of those that stand for others, and one head for each direction."""
    points = [fixed_point(task, model, S) for S in SUBSETS]
    if model.rank > 1:
        for S in SUBSETS:
            if len(S) > 1:
                one_each = [(d,) for d in S]
                points.append(fixed_point(task, model, S, one_each))
    return points


def _left_out(point: FixedPoint) -> list[int]:
    """Indices, from 0, of the directions that are not learned."""
    return [d - 1 for d in DIRECTIONS if d not in point.subset]


# The index


def _counted(context: RunContext) -> list[int]:
    """Negative eigenvalues of the Hessian at the canonical weights of every point of every task."""
    indices = []
    for rank in RANKS:
        model = Separate(HEADS, rank)
        for name, task in _tasks().items():
            evaluate = _integrated_loss(name, model)
            for point in _points(model, task):
                inside = restricted(every_entry(point.weights))
                indices.append(hessian_index(evaluate, point.weights, inside))
    return indices


def _stated(context: RunContext, control: str) -> list[int]:
    indices = []
    for rank in RANKS:
        model = Separate(HEADS, rank)
        for task in _tasks().values():
            for point in _points(model, task):
                indices.append(_stated_index(point, model, control))
    return indices


def _stated_index(point: FixedPoint, model: Separate, control: str) -> int:
    """The index of a point, or what a control counts in its place."""
    if control == UNMODIFIED:
        return point.hessian_index
    gains = point.population.gains
    left_out = _left_out(point)
    gaps = [gains[j] - gains[d - 1] for d in point.subset for j in left_out]

    # A pair of an active head that is zero can grow along every direction left out.
    zero_pairs = sum(model.rank - len(head) for head in point.assignment)
    from_pairs = zero_pairs * len(left_out)
    if control == EQUAL_COUNT:
        return from_pairs + sum(bool(gap >= 0) for gap in gaps)
    if control == ONLY_SMALLER:
        return from_pairs + sum(bool(gap < 0) for gap in gaps)
    return from_pairs + len(gaps)


def _equal_lists(predicted: Sequence[int], observed: Sequence[int]) -> Evidence:
    agree = sum(p == o for p, o in zip(predicted, observed, strict=True))
    return Evidence(
        agrees=agree == len(observed),
        observed=f"{agree} of {len(observed)} points as predicted",
        expected="all of them",
    )


# Continua of fixed points


def _stationary_rotations(context: RunContext) -> list[bool]:
    """Whether some head can turn halfway to a direction that is left out and have no gradient there, too."""
    model = Separate(HEADS)
    continua = []
    for name, task in _tasks().items():
        evaluate = _integrated_loss(name, model)
        for point in _points(model, task):
            stationary = False
            for head in range(len(point.subset)):
                for j in _left_out(point):
                    _, gradients = evaluate(_rotated(point, head, j))
                    largest = max(np.max(np.abs(g)) for g in gradients.values())
                    stationary |= bool(largest < 1e-10)
            continua.append(stationary)
    return continua


def _rotated(point: FixedPoint, head: int, other: int) -> Weights:
    """The weights with one head on A^{-1/2} σ u tᵀ Λ^{-1/2}, u and t halfway between its direction and another."""
    moments = point.population
    own = point.subset[head] - 1
    u, t = moments.left.T, moments.right.T  # (D, D), a direction a row
    halfway_u = _halfway(u[own], u[other])
    halfway_t = _halfway(t[own], t[other])

    weights = {name: value.copy() for name, value in point.weights.items()}
    weights["value"][head, -1] = np.sqrt(moments.gains[own])
    weights["key"][head, 0, :-1] = inverse_root(moments.A) @ halfway_u
    weights["query"][head, 0, :-1] = inverse_root(moments.Lambda) @ halfway_t
    return weights


def _halfway(first: FloatArray, second: FloatArray) -> FloatArray:
    """The unit vector (D,) halfway between two that are orthonormal."""
    halfway: FloatArray = (first + second) / np.sqrt(2)
    return halfway


def _stated_continua(context: RunContext, control: str) -> list[bool]:
    continua = []
    for task in _tasks().values():
        for point in _points(Separate(HEADS), task):
            different = len(set(point.population.gains))
            continuum = point.continuum
            if control == NO_CONTINUUM:
                continuum = False
            if control == ANY_TIE:
                continuum = different < len(DIRECTIONS)
            if control == ALL_TIED:
                continuum = point.continuum and different == 1
            continua.append(continuum)
    return continua


# Signatures in symbols


def _symbolic_tasks() -> "Mapping[str, tuple[SymbolicTask, tuple[int, ...]]]":
    """Tasks with equal gains, and the rank of each gain: in symbols, by Ω, and in numbers at D = 3."""
    import sympy as sp

    from .....theory.symbolic import N, SymbolicTask

    a, b = sp.symbols("a b", positive=True)
    no_noise, four = sp.Integer(0), (sp.Integer(4),)
    one = sp.eye(3)
    white = SymbolicTask(sp.diag(b, b), sp.eye(2), no_noise, (N,))
    products = SymbolicTask(sp.diag(a, b), sp.diag(b, a), no_noise, four)
    larger_two = SymbolicTask(sp.diag(2, 2, 1), one, no_noise, four)
    smaller_two = SymbolicTask(sp.diag(2, 1, 1), one, no_noise, four)
    return {
        "Λ = b": (white, (1, 1)),
        "ΛΩ = ab": (products, (1, 1)),
        "Λ = diag(2, 2, 1)": (larger_two, (1, 1, 2)),
        "Λ = diag(2, 1, 1)": (smaller_two, (1, 2, 2)),
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

    signatures = {}
    for name, (task, _) in _symbolic_tasks().items():
        model = Separate(task.dimension)
        loss = population_loss(task, model, "restricted")
        maps = {point.subset: point.M for point in fixed_points(task, model)}
        for S in maps:
            weights = representative_weights(model, [[maps[d,]] for d in S])
            index = hessian_index(loss, weights)
            flat = inertia(hessian(loss, weights)).zero
            signatures[f"{name}, {S}, index"] = sp.Integer(index)
            signatures[f"{name}, {S}, flat"] = sp.Integer(flat)
    return signatures


def _stated_signatures(context: RunContext, control: str) -> Formulas:
    """n₋ = #{g_j > g_d} and n₀ = (H − |S|)(1 + 2D) + |S|(|S| + 1) + #{g_j = g_d}, d learned and j left out, H = D."""
    import sympy as sp

    signatures = {}
    for name, (_, ranks) in _symbolic_tasks().items():
        directions = range(1, len(ranks) + 1)
        sizes = range(len(ranks) + 1)
        subsets = [S for size in sizes for S in combinations(directions, size)]
        for S in subsets:
            index, flat = _signature(S, ranks, control)
            signatures[f"{name}, {S}, index"] = sp.Integer(index)
            signatures[f"{name}, {S}, flat"] = sp.Integer(flat)
    return signatures


def _signature(
    subset: tuple[int, ...], ranks: tuple[int, ...], control: str
) -> tuple[int, int]:
    """Numbers of negative and of zero eigenvalues where D heads have learned a subset; rank 1 is the largest gain."""
    learned = [ranks[d - 1] for d in subset]
    left_out = [rank for d, rank in enumerate(ranks, 1) if d not in subset]
    differences = [other - own for own, other in product(learned, left_out)]
    larger = sum(difference < 0 for difference in differences)
    equal = differences.count(0)

    index = larger
    if control == EQUAL_COUNT:
        index = larger + equal
    if control == ONLY_SMALLER:
        index = len(differences) - larger - equal

    # The rotation between equal gains is flat, too.
    flat = _flat_directions(len(ranks), len(subset))
    if control != NO_FLAT:
        flat += equal
    return index, flat


def _flat_directions(dimension: int, size: int) -> int:
    """(D − n)(1 + 2D) + n(n + 1) zero eigenvalues where n of D heads are active and gains are distinct.

    Heads that are zero are flat; an active one along two scalings; so is half of each pair of learned directions.
    """
    return (dimension - size) * (1 + 2 * dimension) + size * (size + 1)


CLAIMS = (
    Claim(
        id="ties.index",
        title="A direction left out whose gain is equal to a learned one is not unstable",
        paper="zhang2025",
        equation="stability of the fixed points",
        beyond_paper=True,
        statement=r"\#\{(d,j): d\in S, j\notin S, g_j > g_d\} + (\text{zero pairs})\,(D - |S|)",
        observable="negative eigenvalues of the Hessian of a loss by quadrature; every subset, rank one and two",
        limit="none: exact",
        measure=_counted,
        predict=_stated,
        judge=_equal_lists,
        controls=(EQUAL_COUNT, ONLY_SMALLER, EVERY),
        hypotheses=(
            "gains that are equal by Λ, by Ω, in any basis, and where Λ and Ω do not commute",
        ),
        tier="fast",
    ),
    Claim(
        id="ties.continuum",
        title="A fixed point lies in a continuum exactly where it learns some but not all of several equal gains",
        paper="zhang2025",
        equation="where gains differ",
        beyond_paper=True,
        statement=r"\exists\, d \in S,\ j \notin S : g_j = g_d",
        observable="whether the gradient vanishes at a head rotated halfway to a direction left "
        "out; every subset, rank one",
        limit="none: exact",
        measure=_stationary_rotations,
        predict=_stated_continua,
        judge=_equal_lists,
        controls=(NO_CONTINUUM, ANY_TIE, ALL_TIED),
        hypotheses=(
            "gains that are equal by Λ, by Ω, in any basis, and where Λ and Ω do not commute",
        ),
        tier="fast",
    ),
    proof(
        "ties.signature",
        "The loss is flat to second order between two equal gains of which one is learned",
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
            "one head has each learned direction, all others are zero",
        ),
    ),
)
