"""How an identity is decided, and what proofs begin with: the problem, its moments and its flow in symbols."""

from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from .....models.attention import Merged, Separate
from ....evidence.claim import Claim
from ....evidence.evidence import Evidence
from ..common.controls import LONGER_CONTEXT, NO_FOURTH_MOMENT, TRACE_DROPPED

if TYPE_CHECKING:
    from .....theory.symbolic import SymbolicTask

Expr = Any
Teachers = Literal["white", "diagonal", "general"]
Formulas = Mapping[str, Expr]
"""What a formula is for → the expression, or a count."""

SOURCE = "Zhang et al. 2025"


def identical(predicted: Formulas, observed: Formulas) -> Evidence:
    """Every formula is the derived one for all values of the symbols, decided by an exact normal form."""
    names = observed.keys() | predicted.keys()
    failing = [  # a point refutes quickly, and only the normal form proves
        name
        for name in sorted(names)
        if name not in observed
        or name not in predicted
        or _differ(observed[name], predicted[name])
    ]
    shown = f"{len(names) - len(failing)} of {len(names)} identities hold"
    shown += f", not {failing[0]}" if failing else ""
    return Evidence(not failing, shown, "all, for all values of the symbols")


def _differ(derived: Expr, stated: Expr) -> bool:
    import sympy as sp

    from .....theory.symbolic.algebra.zero_test import is_zero
    from .....theory.symbolic.statements.counterexamples import differ_at_small_points

    return bool(differ_at_small_points(derived, stated, sp.S.One)) or not is_zero(
        derived - stated
    )


@cache
def problem(kind: Teachers = "general", dimension: int = 2) -> "SymbolicTask":
    """The task in symbols; with noise where teachers are not white."""
    from .....theory.symbolic import symbolic_task

    return symbolic_task(dimension, teachers=kind, noise=kind != "white")


def stated_moments(task: "SymbolicTask", control: str) -> tuple[Expr, Expr, Expr]:
    """c, B and A as the theory states them, or a wrong variant."""
    from .....theory.symbolic import N

    length = N + 1 if control == LONGER_CONTEXT else N
    Λ, Ω = task.covariance, task.teacher_covariance
    B, c = Λ * Ω * Λ, (Ω * Λ).trace() + task.noise_variance
    fourth = 1 if control == NO_FOURTH_MOMENT else 1 + 1 / length
    return c, B, fourth * B + (0 if control == TRACE_DROPPED else c) * Λ / length


def entries(name: str, matrix: Expr) -> dict[str, Expr]:
    """Each entry of a matrix by its place."""
    return {
        f"{name}[{i}, {j}]": matrix[i, j]
        for i in range(matrix.rows)
        for j in range(matrix.cols)
    }


def block_flow(
    model: Merged | Separate, task: "SymbolicTask"
) -> tuple[dict[Expr, Expr], Any, Any]:
    """Flow equations on the restricted block, v_h, and the matrices of heads by name, each (R, D) or (D, D)."""
    import sympy as sp

    from .....theory.symbolic import flow_equations, population_loss, weight_symbols

    flow = flow_equations(population_loss(model, task, "restricted"))
    weights = weight_symbols(model, task.dimension)
    heads = {
        name: [
            sp.Matrix(each[..., :-1])
            if name != "key_query"
            else sp.Matrix(each[:-1, :-1])
            for each in array
        ]
        for name, array in weights.items()
        if name != "value"
    }
    return flow, [row[-1] for row in weights["value"]], heads


def aligned_equations(
    model: Merged | Separate, task: "SymbolicTask"
) -> dict[Expr, Expr]:
    """Equations of aligned weights, reduced from the flow of the restricted block; none if they leave."""
    from .....theory.symbolic import aligned_ansatz, reduce

    return reduce(
        block_flow(model, task)[0], aligned_ansatz(model, task.dimension)
    ).equations


def named(flow: Mapping[Expr, Expr]) -> Formulas:
    """Each rate by the name of what moves."""
    return {f"d{weight}/dt": right for weight, right in flow.items()}


def proof(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim of level "proved"; `name` is its id."""
    known: dict[str, Any] = {
        "source": SOURCE,
        "judge": identical,
        "reaches": "proved",
        "expected_level": "proved",
    }
    known |= {
        "title": title,
        "statement": statement,
        "observable": observable,
        "limit": "none: an identity",
    }
    return Claim(id=name, tier="fast", **known | fields)
