"""What proofs begin with: the problem, its moments and its flow in symbols."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from .....models.attention import Merged, Separate
from ....evidence.claim import Claim
from ....evidence.identities import Expr, Formulas, identical
from ..common.controls import LONGER_CONTEXT, NO_FOURTH_MOMENT, TRACE_DROPPED

if TYPE_CHECKING:
    from .....theory.symbolic import SymbolicTask

Teachers = Literal["white", "diagonal", "general"]


@cache
def problem(kind: Teachers = "general", dimension: int = 2) -> "SymbolicTask":
    """The task in symbols; with noise where teachers are not white."""
    from .....theory.symbolic import symbolic_task

    return symbolic_task(dimension, teachers=kind, noise=kind != "white")


def stated_moments(task: "SymbolicTask", control: str) -> tuple[Expr, Expr, Expr]:
    """c, B and A as the theory states them, or a wrong variant."""
    from .....theory.symbolic import N

    Λ, Ω = task.covariance, task.teacher_covariance
    length = N + 1 if control == LONGER_CONTEXT else N
    c = (Ω * Λ).trace() + task.noise_variance
    B = Λ * Ω * Λ

    # A = (1 + 1/N) ΛΩΛ + (tr ΩΛ + σ²) Λ/N
    fourth = 1 if control == NO_FOURTH_MOMENT else 1 + 1 / length
    trace = 0 if control == TRACE_DROPPED else c
    A = fourth * B + trace * Λ / length
    return c, B, A


class DirectionMoments(NamedTuple):
    """c, and for each direction of a diagonal task b_d = B_dd and the saturation a_d λ_d, with a_d = A_dd."""

    c: Expr
    b: list[Expr]
    saturation: list[Expr]


def stated_directions(task: "SymbolicTask", control: str) -> DirectionMoments:
    """The moments along each direction as the theory states them, or a wrong variant."""
    c, B, A = stated_moments(task, control)
    b, saturation = [], []
    # Matrices are diagonal here: one number a direction.
    for d in range(task.dimension):
        b.append(B[d, d])
        saturation.append(A[d, d] * task.covariance[d, d])
    return DirectionMoments(c, b, saturation)


def implicit_solution(v: Expr, g: Expr, control: str) -> Expr:
    """Φ = −1/v + g (−⅓ ln(1 − y) + ⅙ ln(1 + y + y²) − atan((2y + 1)/√3)/√3) with y = g v, or a wrong variant.

    It solves v̇ = α(v² − g³v⁵) by t = (Φ(v) − Φ(v₀))/α.
    """
    import sympy as sp

    y = g * v
    third = sp.Rational(1, 3)
    if control == "½ for ⅓ before the logarithm":
        third = sp.Rational(1, 2)
    logarithms = -third * sp.log(1 - y) + sp.log(1 + y + y**2) / 6
    angle = sp.atan((2 * y + 1) / sp.sqrt(3)) / sp.sqrt(3)
    if control == "arctangent dropped":
        angle = 0
    return -1 / v + g * (logarithms - angle)


def entries(name: str, matrix: Expr) -> dict[str, Expr]:
    """Entries of a matrix, each by its place."""
    places = [(i, j) for i in range(matrix.rows) for j in range(matrix.cols)]
    return {f"{name}[{i}, {j}]": matrix[i, j] for i, j in places}


class BlockFlow(NamedTuple):
    """Flow equations on the restricted block, its values v_h, and matrices of each head by name, (R, D) or (D, D)."""

    flow: dict[Expr, Expr]
    values: list[Expr]
    heads: dict[str, list[Expr]]


def block_flow(model: Merged | Separate, task: "SymbolicTask") -> BlockFlow:
    """The flow of the restricted block in symbols."""
    import sympy as sp

    from .....theory.symbolic import flow_equations, population_loss, weight_symbols

    flow = flow_equations(population_loss(task, model, "restricted"))
    weights = weight_symbols(model, task.dimension)

    # The last row of a key-query block and the last entry of a key or query meet labels: outside the block.
    heads: dict[str, list[Expr]] = {}
    if "key_query" in weights:
        heads["key_query"] = [sp.Matrix(B[:-1, :-1]) for B in weights["key_query"]]
    else:
        heads["key"] = [sp.Matrix(K[:, :-1]) for K in weights["key"]]
        heads["query"] = [sp.Matrix(Q[:, :-1]) for Q in weights["query"]]
    values = [row[-1] for row in weights["value"]]
    return BlockFlow(flow, values, heads)


def aligned_equations(
    model: Merged | Separate, task: "SymbolicTask"
) -> dict[Expr, Expr]:
    """Equations of aligned weights, reduced from the flow of the restricted block; none if they leave."""
    from .....theory.symbolic import aligned_ansatz, reduce

    flow = block_flow(model, task).flow
    ansatz = aligned_ansatz(model, task.dimension)
    return reduce(flow, ansatz).equations


def named(flow: Mapping[Expr, Expr]) -> Formulas:
    """Each rate by the name of what moves."""
    return {f"d{weight}/dt": right for weight, right in flow.items()}


def proof(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim of level "proved"; `name` is its id, `fields` are further ones or replace those set here."""
    common: dict[str, Any] = {
        "paper": "zhang2025",
        "judge": identical,
        "evidence_level": "proved",
        "expected_level": "proved",
        "limit": "none: an identity",
        "tier": "fast",
    }
    return Claim(
        id=name,
        title=title,
        statement=statement,
        observable=observable,
        **common | fields,
    )
