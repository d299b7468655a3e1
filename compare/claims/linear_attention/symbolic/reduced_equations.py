"""Identities: reduced equations, the minimum and the ways down from points of rest, derived in symbols."""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Any

from .....models.attention import Merged, Separate
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ..common.controls import MOMENTS
from .identities import (
    Expr,
    Formulas,
    aligned_equations,
    block_flow,
    entries,
    named,
    problem,
    proof,
    stated_moments,
)

TWO_HEADS = "two heads, R = 2, D = 3"

PACKINGS: tuple[tuple[tuple[int, ...], ...], ...] = ((), ((1,),), ((2,),), ((1,), (2,)))
"""Directions that each head holds, by decreasing gain; heads left out are zero."""


def _reduced(model: Merged | Separate, dimension: int) -> Formulas:
    return named(aligned_equations(model, problem("white", dimension)))


def _of_dimension(each: Mapping[int, Formulas]) -> Formulas:
    return {
        f"D = {D}, {name}": value
        for D, formulas in each.items()
        for name, value in formulas.items()
    }


def _derived_merged(context: RunContext) -> Formulas:
    return {
        **_of_dimension({D: _reduced(Merged(2), D) for D in (2, 3)}),
        **_derived_sum(),
    }


def _derived_sum() -> Formulas:
    """Rates of p = (s + u)/2 and m = (s − u)/2 of one head, D = 1: amplitudes that both stand in both weights."""
    import sympy as sp

    from .....theory.symbolic import reduce

    flow, (value,), heads = block_flow(Merged(1), problem("white", 1))
    p, m = sp.symbols("p m", real=True)
    return named(
        reduce(flow, {value: p + m, heads["key_query"][0][0, 0]: p - m}).equations
    )


def _merged_equations(context: RunContext, control: str) -> Formulas:
    return {
        **_of_dimension({D: _stated_merged(D, control) for D in (2, 3)}),
        **_stated_sum(control),
    }


def _stated_sum(control: str) -> Formulas:
    import sympy as sp

    task = problem("white", 1)
    _, B, A = stated_moments(task, control)
    p, m = sp.symbols("p m", real=True)
    rate = B[0, 0] - A[0, 0] * task.covariance[0, 0] * (p**2 - m**2)
    return named({p: rate * p, m: -rate * m})


def _stated_merged(dimension: int, control: str) -> Formulas:
    import sympy as sp

    task = problem("white", dimension)
    _, B, A = stated_moments(task, control)
    s, *u = sp.symbols(f"s u_1:{dimension + 1}", real=True)
    forces = [
        B[d, d] - A[d, d] * task.covariance[d, d] * s * u[d] for d in range(dimension)
    ]
    factor = s if control == "s for u_d in the sum" else 1
    rates = {
        s: sum(factor * each * force for each, force in zip(u, forces, strict=True))
    }
    share = 1 if control == "no factor s" else s
    rates |= {each: share * force for each, force in zip(u, forces, strict=True)}
    return named(rates | {sp.Symbol("tau_2", real=True): sp.Integer(0)})


def _derived_heads(context: RunContext) -> Formulas:
    cases = {
        "R = D = 2": (Separate(1, rank=2), 2),
        "R = D = 3": (Separate(1, rank=3), 3),
        TWO_HEADS: (Separate(2, 2), 3),
    }
    return {
        f"{name}, {rate}": found
        for name, case in cases.items()
        for rate, found in _reduced(*case).items()
    }


def _head_equations(context: RunContext, control: str) -> Formulas:
    cases = {"R = D = 2": (2, 2), "R = D = 3": (3, 3), TWO_HEADS: (2, 3)}
    stated = {name: _stated_heads(*case, control) for name, case in cases.items()}
    return {
        f"{name}, {rate}": right
        for name, rates in stated.items()
        for rate, right in rates.items()
    }


def _stated_heads(rank: int, dimension: int, control: str) -> Formulas:
    """Rates of v_h and κ_hr, each head on the next R directions."""
    import sympy as sp

    task = problem("white", dimension)
    _, B, A = stated_moments(task, control)
    power = 1 if control == "exponent 3 for 4" else 2
    rates: dict[Expr, Expr] = {}
    for d in range(dimension):
        h, r = divmod(d, rank)
        v, pair = sp.symbols(f"v_{h + 1} kappa_{h + 1}_{r + 1}", real=True)
        slope = task.covariance[d, d] * A[d, d] * v
        rates[v] = rates.get(v, 0) + pair**2 * (B[d, d] - slope * pair**power)
        rates[pair] = (
            (1 if control == "no factor v" else v) * pair * (B[d, d] - slope * pair**2)
        )
    return named(rates)


def _derived_minimum(context: RunContext) -> Formulas:
    """L(M) and G(M) for any M, and the learned map with its loss, D = 1, 2."""
    from .....theory.symbolic import effective_map, fixed_points

    found: dict[str, Expr] = {}
    for D in (1, 2):
        task, model = problem("white", D), Merged(1)
        learned = next(fixed_points(task, model))
        form = effective_map(model, task)
        found |= {
            f"D = {D}, L(M)": form.loss(_any_map(D)),
            f"D = {D}, L*": learned.loss,
        }
        found |= entries(f"D = {D}, G(M)", form.force(_any_map(D)))
        found |= entries(f"D = {D}, M*", learned.M)
    return found


def _any_map(dimension: int) -> Expr:
    import sympy as sp

    return sp.Matrix(
        dimension, dimension, lambda i, j: sp.Symbol(f"m_{i + 1}{j + 1}", real=True)
    )


def _stated_minimum(context: RunContext, control: str) -> Formulas:
    """L* and a square that is positive but at M*, so that no other map reaches L*."""
    import sympy as sp

    stated: dict[str, Expr] = {}
    for D in (1, 2):
        task = problem("white", D)
        Λ, (c, B, A) = task.covariance, stated_moments(task, control)
        minimum = Λ.inv() if control == "M* = Λ⁻¹" else A.inv() * B * Λ.inv()
        away = _any_map(D) - minimum
        loss = c - sp.Add(*(B[d, d] ** 2 / (A[d, d] * Λ[d, d]) for d in range(D)))
        stated |= {
            f"D = {D}, L(M)": loss + (Λ * away.T * A * away).trace(),
            f"D = {D}, L*": loss,
        }
        stated |= entries(f"D = {D}, G(M)", -A * away * Λ) | entries(
            f"D = {D}, M*", minimum
        )
    return stated


@cache
def _directions() -> tuple[Any, Any]:
    """The loss of two heads with Λ = diag(a + b, b), a and b positive, and the map of each direction."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask, fixed_points, population_loss
    from .....theory.symbolic.task import N

    a, b = sp.symbols("a b", positive=True)
    task = SymbolicTask(sp.diag(a + b, b), sp.eye(2), sp.Integer(0), (N,))
    maps = {
        point.subset: point.M
        for point in fixed_points(task, Separate(2))
        if len(point.subset) == 1
    }
    return population_loss(Separate(2), task, "restricted"), {
        d: maps[d,] for d in (1, 2)
    }


def _derived_index(context: RunContext) -> Formulas:
    import sympy as sp

    from .....theory.symbolic import hessian_index, representative_weights

    loss, maps = _directions()
    model = Separate(2)
    points = {
        S: representative_weights(model, [[maps[d] for d in head] for head in S])
        for S in PACKINGS
    }
    return {
        _learned(S): sp.Integer(hessian_index(loss, point))
        for S, point in points.items()
    }


def _learned(packing: tuple[tuple[int, ...], ...]) -> str:
    return f"S = {{{', '.join(str(d) for d in chain(*packing))}}}"


def _stated_index(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    index = {}
    for S in PACKINGS:
        learned = set(chain(*S))
        index[_learned(S)] = sp.Integer(
            sum(_counts(d, j, control) for d in learned for j in {1, 2} - learned)
        )
    return index


def _counts(d: int, j: int, control: str) -> bool:
    return {"smaller gains counted": j > d, "every direction counted": True}.get(
        control, j < d
    )


def _rank_laws(context: RunContext, control: str) -> Formulas:
    """Rates of change of K Kᵀ − Q Qᵀ and v² − tr K Kᵀ along the flow of a head of rank two."""
    from .....theory.symbolic import lie_derivative

    flow, v, heads = block_flow(Separate(1, rank=2), problem("white"))
    K, Q = heads["key"][0], heads["query"][0]
    sign = 1 if control == "sum for difference" else -1
    balance = (
        K.T * K - Q.T * Q if control == "Kᵀ K for K Kᵀ" else K * K.T + sign * Q * Q.T
    )
    first = K[0, :] if control == "one key for all" else K
    laws = entries("K Kᵀ − Q Qᵀ", balance) | {
        "v² − |K|²": v[0] ** 2 - (first * first.T).trace()
    }
    return {name: lie_derivative(law, flow) for name, law in laws.items()}


def _at_rest(context: RunContext) -> Formulas:
    import sympy as sp

    return dict.fromkeys(_rank_laws(context, UNMODIFIED), sp.Integer(0))


CLAIMS: tuple[Claim, ...] = (
    proof(
        "identities.merged",
        "Aligned heads of merged attention obey D + 1 scalar equations, at any covariance",
        r"\dot u_d = s(\lambda_d^2 - a_d \lambda_d s u_d),\quad "
        r"\dot s = \sum_d u_d (\lambda_d^2 - a_d \lambda_d s u_d)",
        "reduction of the derived flow of two heads in any proportion, D = 2, 3, and of s ± u of one, D = 1",
        measure=_derived_merged,
        predict=_merged_equations,
        controls=(*MOMENTS, "no factor s", "s for u_d in the sum"),
    ),
    proof(
        "identities.low_rank",
        "A balanced head of rank R obeys 1 + R scalar equations",
        r"\dot v = \sum_r \kappa_r^2 (\lambda_r^2 - a_r \lambda_r v \kappa_r^2),\quad "
        r"\dot\kappa_r = v \kappa_r (\lambda_r^2 - a_r \lambda_r v \kappa_r^2)",
        "reduction of the derived flow of one head, R = D = 2, 3, and of two heads, R = 2, D = 3",
        measure=_derived_heads,
        predict=_head_equations,
        controls=(*MOMENTS, "exponent 3 for 4", "no factor v"),
    ),
    proof(
        "identities.minimum",
        "The loss has one global minimum, M*, and exceeds it by a square",
        r"L(M) = L^* + \mathrm{tr}\,\Lambda (M - M^*)^\top A (M - M^*),\quad M^* = (\Lambda + (\Lambda + "
        r"\mathrm{tr}\,\Lambda)/N)^{-1},\quad L^* = \mathrm{tr}\,\Lambda - \sum_d \lambda_d^3/a_d",
        "the derived loss at any M, and the map and the loss that the engine solves for, D = 1, 2",
        measure=_derived_minimum,
        predict=_stated_minimum,
        controls=(*MOMENTS, "M* = Λ⁻¹"),
        hypotheses=("A and Λ are positive definite",),
    ),
    proof(
        "identities.index",
        "The Hessian at M_S has a negative eigenvalue for each learned direction and larger gain not learned",
        r"\#\{(d, j) : d \in S,\ j \notin S,\ g_j > g_d\}",
        "signature of the derived Hessian at each of the four M_S, D = 2, two heads, Λ and N symbols",
        measure=_derived_index,
        predict=_stated_index,
        controls=("smaller gains counted", "every direction counted"),
        source="goes beyond Zhang et al. 2025",
        hypotheses=("one head holds each learned direction, all others are zero",),
    ),
    proof(
        "identities.low_rank_conservation",
        "A head of rank R keeps K Kᵀ − Q Qᵀ and v² − |K|²",
        r"\frac{d}{dt}(K_h K_h^\top - Q_h Q_h^\top) = 0,\quad \frac{d}{dt}(v_h^2 - |K_h|^2) = 0",
        "rate of change of each entry under the derived flow of a head, R = D = 2",
        measure=_at_rest,
        predict=_rank_laws,
        controls=("sum for difference", "Kᵀ K for K Kᵀ", "one key for all"),
    ),
)
