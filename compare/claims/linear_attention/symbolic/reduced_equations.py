"""Identities: reduced equations, the minimum and the index at fixed points, derived in symbols."""

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import chain
from typing import TYPE_CHECKING, Any

from .....models.attention import Merged, Separate
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.identities import Expr, Formulas
from ..common.controls import MOMENTS
from .identities import (
    aligned_equations,
    block_flow,
    entries,
    named,
    problem,
    proof,
    stated_directions,
    stated_moments,
)

if TYPE_CHECKING:
    from .....theory.symbolic import SymbolicTask

TWO_HEADS = "two heads, R = 2, D = 3"

Assignment = tuple[tuple[int, ...], ...]
"""Directions of each head, by decreasing gain; heads left out are zero."""

ASSIGNMENTS: tuple[Assignment, ...] = ((), ((1,),), ((2,),), ((1,), (2,)))


def _reduced(model: Merged | Separate, dimension: int) -> Formulas:
    return named(aligned_equations(model, problem("white", dimension)))


def _prefixed(cases: Mapping[str, Formulas]) -> dict[str, Expr]:
    """The formulas of all cases, each under the name of its case and its own."""
    formulas: dict[str, Expr] = {}
    for case, of_case in cases.items():
        formulas |= {f"{case}, {name}": formula for name, formula in of_case.items()}
    return formulas


# Merged attention


def _derived_merged(context: RunContext) -> Formulas:
    cases = {f"D = {D}": _reduced(Merged(2), D) for D in (2, 3)}
    return {**_prefixed(cases), **_derived_half_sums()}


def _derived_half_sums() -> Formulas:
    """Rates of p = (s + u)/2 and m = (s − u)/2 of one head, D = 1: amplitudes that both stand in both weights."""
    import sympy as sp

    from .....theory.symbolic import reduce

    flow, (value,), heads = block_flow(Merged(1), problem("white", 1))
    matrix = heads["key_query"][0][0, 0]
    p, m = sp.symbols("p m", real=True)
    return named(reduce(flow, {value: p + m, matrix: p - m}).equations)


def _merged_equations(context: RunContext, control: str) -> Formulas:
    cases = {f"D = {D}": _stated_merged(D, control) for D in (2, 3)}
    return {**_prefixed(cases), **_stated_half_sums(control)}


def _stated_half_sums(control: str) -> Formulas:
    """ṗ = g p and ṁ = −g m with g = B − A λ s u and s u = p² − m²."""
    import sympy as sp

    task = problem("white", 1)
    _, B, A = stated_moments(task, control)
    p, m = sp.symbols("p m", real=True)
    rate = B[0, 0] - A[0, 0] * task.covariance[0, 0] * (p**2 - m**2)
    return named({p: rate * p, m: -rate * m})


def _stated_merged(dimension: int, control: str) -> Formulas:
    """u̇_d = s g_d and ṡ = Σ_d u_d g_d, with g_d = λ_d² − a_d λ_d s u_d."""
    import sympy as sp

    s, *u = sp.symbols(f"s u_1:{dimension + 1}", real=True)
    g = _stated_residuals([s * u_d for u_d in u], control)

    rates: dict[Expr, Expr] = {}
    in_sum = s if control == "s for u_d in the sum" else 1
    rates[s] = sum(in_sum * u_d * g_d for u_d, g_d in zip(u, g, strict=True))
    factor = 1 if control == "no factor s" else s
    for u_d, g_d in zip(u, g, strict=True):
        rates[u_d] = factor * g_d

    # The second head has a constant share of the first one.
    rates[sp.Symbol("tau_2", real=True)] = sp.Integer(0)
    return named(rates)


def _stated_residuals(learned: Sequence[Expr], control: str) -> list[Expr]:
    """g_d = λ_d² − a_d λ_d M_dd of a white task, from the entry M_dd that is learned along each direction."""
    _, b, saturation = stated_directions(problem("white", len(learned)), control)
    directions = zip(b, saturation, learned, strict=True)
    return [b_d - a_d * M_dd for b_d, a_d, M_dd in directions]


# Heads of rank R


def _derived_heads(context: RunContext) -> Formulas:
    cases = {
        "R = D = 2": _reduced(Separate(1, rank=2), 2),
        "R = D = 3": _reduced(Separate(1, rank=3), 3),
        TWO_HEADS: _reduced(Separate(2, rank=2), 3),
    }
    return _prefixed(cases)


def _head_equations(context: RunContext, control: str) -> Formulas:
    cases = {
        "R = D = 2": _stated_heads(2, 2, control),
        "R = D = 3": _stated_heads(3, 3, control),
        TWO_HEADS: _stated_heads(2, 3, control),
    }
    return _prefixed(cases)


def _stated_heads(rank: int, dimension: int, control: str) -> Formulas:
    """v̇ = Σ_r κ_r² g_r and κ̇_r = v κ_r g_r with g_r = λ_r² − a_r λ_r v κ_r², each head on the next R directions."""
    task = problem("white", dimension)
    _, b, saturation = stated_directions(task, control)
    power = 1 if control == "exponent 3 for 4" else 2

    rates: dict[Expr, Expr] = {}
    for d in range(dimension):
        v, κ = _amplitudes_along(d, rank)
        in_value = κ**2 * (b[d] - saturation[d] * v * κ**power)
        rates[v] = rates.get(v, 0) + in_value
        factor = 1 if control == "no factor v" else v
        rates[κ] = factor * κ * (b[d] - saturation[d] * v * κ**2)
    return named(rates)


def _amplitudes_along(direction: int, rank: int) -> tuple[Expr, Expr]:
    """v_h of the head that holds a direction, numbered from 0, and κ_hr of its pair there."""
    import sympy as sp

    head, pair = divmod(direction, rank)
    v = sp.Symbol(f"v_{head + 1}", real=True)
    κ = sp.Symbol(f"kappa_{head + 1}_{pair + 1}", real=True)
    return v, κ


# The minimum


def _derived_minimum(context: RunContext) -> Formulas:
    """L(M) and G(M) for any M, and the learned map with its loss, D = 1, 2."""
    from .....theory.symbolic import effective_map, fixed_points

    formulas: dict[str, Expr] = {}
    for D in (1, 2):
        task, model = problem("white", D), Merged(1)
        quadratic = effective_map(task, model)
        learned = fixed_points(task, model)[0]  # of least loss
        M = _symbolic_map(D)
        formulas |= {
            f"D = {D}, L(M)": quadratic.loss(M),
            f"D = {D}, L*": learned.loss,
            **entries(f"D = {D}, G(M)", quadratic.residual_correlation(M)),
            **entries(f"D = {D}, M*", learned.M),
        }
    return formulas


def _symbolic_map(dimension: int) -> Expr:
    """Any M (D, D), each entry a symbol."""
    import sympy as sp

    def entry(i: int, j: int) -> Expr:
        return sp.Symbol(f"m_{i + 1}{j + 1}", real=True)

    return sp.Matrix(dimension, dimension, entry)


def _stated_minimum(context: RunContext, control: str) -> Formulas:
    """L(M) = L* + tr Λ (M − M*)ᵀ A (M − M*): a square, so that no other map reaches L*."""
    formulas: dict[str, Expr] = {}
    for D in (1, 2):
        task = problem("white", D)
        Λ = task.covariance
        _, B, A = stated_moments(task, control)
        minimum = A.inv() * B * Λ.inv()
        if control == "M* = Λ⁻¹":
            minimum = Λ.inv()

        distance = _symbolic_map(D) - minimum
        least = _stated_least_loss(task, control)
        formulas |= {
            f"D = {D}, L(M)": least + (Λ * distance.T * A * distance).trace(),
            f"D = {D}, L*": least,
            **entries(f"D = {D}, G(M)", -A * distance * Λ),
            **entries(f"D = {D}, M*", minimum),
        }
    return formulas


def _stated_least_loss(task: "SymbolicTask", control: str) -> Expr:
    """L* = c − Σ_d b_d² / (a_d λ_d)."""
    import sympy as sp

    c, b, saturation = stated_directions(task, control)
    gains = [b_d**2 / a_d for b_d, a_d in zip(b, saturation, strict=True)]
    return c - sp.Add(*gains)


# The index


@cache
def _loss_and_directions() -> tuple[Any, dict[int, Expr]]:
    """The loss of two heads with Λ = diag(a + b, b), a and b positive, and the map of each direction."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask, fixed_points, population_loss
    from .....theory.symbolic.task import N

    a, b = sp.symbols("a b", positive=True)
    task = SymbolicTask(sp.diag(a + b, b), sp.eye(2), sp.Integer(0), (N,))
    maps = {point.subset: point.M for point in fixed_points(task, Separate(2))}
    loss = population_loss(task, Separate(2), "restricted")
    return loss, {1: maps[1,], 2: maps[2,]}


def _derived_index(context: RunContext) -> Formulas:
    import sympy as sp

    from .....theory.symbolic import hessian_index, representative_weights

    loss, maps = _loss_and_directions()
    indices = {}
    for assignment in ASSIGNMENTS:
        maps_of_heads = [[maps[d] for d in head] for head in assignment]
        weights = representative_weights(Separate(2), maps_of_heads)
        indices[_learned(assignment)] = sp.Integer(hessian_index(loss, weights))
    return indices


def _learned(assignment: Assignment) -> str:
    return f"S = {{{', '.join(str(d) for d in chain(*assignment))}}}"


def _stated_index(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    indices = {}
    for assignment in ASSIGNMENTS:
        learned = set(chain(*assignment))
        left_out = {1, 2} - learned
        count = sum(_counts(d, j, control) for d in learned for j in left_out)
        indices[_learned(assignment)] = sp.Integer(count)
    return indices


def _counts(d: int, j: int, control: str) -> bool:
    """Whether a learned d and a j left out make an unstable direction: the gain of j is larger."""
    if control == "smaller gains counted":
        return j > d
    return control == "every direction counted" or j < d


# Conservation at any rank


def _drift(context: RunContext, control: str) -> Formulas:
    """Rates of change of K Kᵀ − Q Qᵀ and v² − |K|² along the flow of a head of rank two."""
    from .....theory.symbolic import lie_derivative

    flow, (v,), heads = block_flow(Separate(1, rank=2), problem("white"))
    K, Q = heads["key"][0], heads["query"][0]  # each (R, D), the pairs as rows

    sign = 1 if control == "sum for difference" else -1
    balance = K * K.T + sign * Q * Q.T
    if control == "Kᵀ K for K Kᵀ":
        balance = K.T * K - Q.T * Q
    counted = K[0, :] if control == "one key for all" else K

    laws = entries("K Kᵀ − Q Qᵀ", balance)
    laws["v² − |K|²"] = v**2 - (counted * counted.T).trace()
    return {name: lie_derivative(law, flow) for name, law in laws.items()}


def _no_drift(context: RunContext) -> Formulas:
    import sympy as sp

    return dict.fromkeys(_drift(context, UNMODIFIED), sp.Integer(0))


CLAIMS: tuple[Claim, ...] = (
    proof(
        "identities.merged",
        "Aligned heads of merged attention obey D + 1 scalar equations for every Λ",
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
        "The loss has one global minimum, L(M) = L* + tr Λ(M − M*)ᵀA(M − M*)",
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
        "The index at M_S is the number of pairs of a learned direction and a larger gain left out",
        r"\#\{(d, j) : d \in S,\ j \notin S,\ g_j > g_d\}",
        "signature of the derived Hessian at each of the four M_S, D = 2, two heads, Λ and N symbols",
        measure=_derived_index,
        predict=_stated_index,
        controls=("smaller gains counted", "every direction counted"),
        paper="zhang2025",
        beyond_paper=True,
        hypotheses=("one head has each learned direction, all others are zero",),
    ),
    proof(
        "identities.low_rank_conservation",
        "Gradient flow of a head of rank R conserves K Kᵀ − Q Qᵀ and v² − |K|²",
        r"\frac{d}{dt}(K_h K_h^\top - Q_h Q_h^\top) = 0,\quad \frac{d}{dt}(v_h^2 - |K_h|^2) = 0",
        "rate of change of each entry under the derived flow of a head, R = D = 2",
        measure=_no_drift,
        predict=_drift,
        controls=("sum for difference", "Kᵀ K for K Kᵀ", "one key for all"),
    ),
)
