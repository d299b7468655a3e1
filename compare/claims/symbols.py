"""What the engine derives where no other claim looks: every moment, oblique tasks, points of rest, solutions."""

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...model import Merged, Separate
from ...task import Task
from ..claim import Claim, Lab
from ..variants import MOMENTS
from .formulas import LONGER, MIXED, NO_FIXED_TEACHER, changed_mixture, integrated_mixture, two_heads
from .judging import same
from .proving import SOURCE, Expr, Formulas, block_flow, problem, proof, stated_moments

if TYPE_CHECKING:
    from ...theory.symbolic.population import Moments

FloatArray = NDArray[np.float64]

SUM_OF_ROOTS = "the sum of cube roots for the root of the sum"
FEWER = "only positive amplitudes"
FINITE = "2^D for equal gains, too"
BALANCED = "s² = m from any start"
OBLIQUE = {"D = 2": (1, 4), "D = 3": (1, 2, 4), "two gains equal": (1, 1, 4)}
"""Eigenvalues of ΛΩ."""

RANK_TWO = ("v_1", "kappa_1_1", "kappa_1_2")


def _integrated(lab: Lab) -> list[FloatArray]:
    """b, S, c, the loss of two heads and its slopes, of each mixture, and b, S undivided: sums over its prompts."""
    found = []
    for task in MIXED:
        b, S, _, *numbers = integrated_mixture(task)
        found += [b, S, np.concatenate(numbers[:4])]
    count = MIXED[0].context_lengths[0] + 1  # what the features of one length are divided by
    return [*found, count * found[0], count**2 * found[1]]


def _derived(lab: Lab, control: str) -> list[FloatArray]:
    """The same from the derivation, at the numbers of each mixture as exact rationals."""
    from ...theory.symbolic import exact_task, moments

    found = []
    for task in MIXED:
        exact = exact_task(changed_mixture(task, control))
        known = moments(exact, "tokens")
        found += [*_numbers(known), np.array([float(known.c), *_derived_slopes(task, exact)])]
    return [*found, *_numbers(moments(exact_task(changed_mixture(MIXED[0], control)), "none"))]


def _numbers(known: "Moments") -> list[FloatArray]:
    return [np.array(known.b, dtype=float).ravel(), np.array(known.S, dtype=float)]


def _derived_slopes(task: Task, exact: Any) -> tuple[float, float, float]:
    """Loss of two merged heads, and its slopes along a direction of their a and of their B."""
    import sympy as sp

    from ...theory.symbolic import flow_equations, population_loss, weight_symbols

    model = Merged(heads=2, divisor="tokens")
    weights = weight_symbols(model, task.dimension)
    parts = (weights["value"].ravel(), weights["key_query"][..., :-1].ravel())
    at = {
        symbol: sp.Rational(float(number))
        for part, values in zip(parts, two_heads(task, 3), strict=True)
        for symbol, number in zip(part, values.ravel(), strict=True)
    }
    loss = population_loss(model, exact)
    rates = {weight: float(rate.xreplace(at)) for weight, rate in flow_equations(loss).items()}
    slopes = [
        -2 * sum(rates[symbol] * step for symbol, step in zip(part, along.ravel(), strict=True))
        for part, along in zip(parts, two_heads(task, 4), strict=True)
    ]
    return float(loss.expression.xreplace(at)), slopes[0], slopes[1]


def _oblique_counts(lab: Lab) -> Formulas:
    """Solutions for Λ and Ω that do not commute, and how many of them the enumeration lists, by what is special."""
    import sympy as sp

    from ...theory.symbolic import SymbolicTask
    from ...theory.symbolic.completeness import completeness

    root = sp.Matrix([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    found: dict[str, Expr] = {}
    for name, gains in OBLIQUE.items():
        L = root[: len(gains), : len(gains)]
        Ω = L.inv().T * sp.diag(*gains) * L.inv()  # whose products with Λ have these eigenvalues
        counted = completeness(SymbolicTask(L * L.T, Ω, sp.Rational(1, 2), (sp.Integer(5),)))
        count = sp.oo if counted.count is None else sp.Integer(counted.count)
        found |= {name: 1 / count, f"{name}, listed": sp.Integer(counted.listed)}
        found |= {f"{name}, no other": sp.Integer(counted.complete)}
    return found


def _powers(lab: Lab, control: str) -> Formulas:
    """One over the number of solutions, 0 for a continuum; how many are listed; and whether those are all."""
    import sympy as sp

    found: dict[str, Expr] = {}
    for name, gains in OBLIQUE.items():
        D, distinct = len(gains), len(set(gains)) == len(gains) or control == FINITE
        counts = {"D + 1": (D + 1, D + 1), "one that is not listed": (2**D + 1, 2**D)}
        count, listed = counts.get(control, (2**D, 2**D))
        inverse = sp.Rational(1, count) if distinct else sp.Integer(0)
        found |= {name: inverse, f"{name}, listed": sp.Integer(listed if distinct else 0)}
        found |= {f"{name}, no other": sp.Integer(distinct and count == listed == 2**D)}
    return found


def _rests(lab: Lab) -> Formulas:
    """How often balanced amplitudes rest, and what makes the map there: merged, rank one and rank two, D = 2."""
    import sympy as sp

    from ...theory.symbolic import aligned, reduce, rest_points

    found: dict[str, Expr] = {}
    for name, model, D in (
        ("merged", Merged(1), 1),
        ("rank 1", Separate(2), 2),
        ("rank 2", Separate(1, rank=2), 2),
    ):
        flow, _, _ = block_flow(model, problem("white", D))
        equations = reduce(flow, aligned(model, D)).equations
        first, *rest = equations
        balance = [] if name == "rank 1" else [first**2 - sum(each**2 for each in rest)]
        points = rest_points(equations, balance)
        found[f"{name}, points"] = sp.Integer(len(points))
        for point in points:
            learned = [str(each) for each, value in point.items() if value != 0]
            found |= {f"{name}, {', '.join(learned)}, {each}": point[each] ** 6 for each in point}
    return found | _other_rests()


def _other_rests() -> dict[str, Expr]:
    """Where a merged amplitude with s² − u² = 1 rests, at m = ½, and a head with v = −k = −q."""
    import sympy as sp

    from ...theory.symbolic import SymbolicTask, aligned, reduce, rest_points

    task = SymbolicTask(sp.eye(1), sp.eye(1), sp.Integer(0), (sp.Integer(2),))
    equations = reduce(block_flow(Merged(1), task)[0], aligned(Merged(1), 1)).equations
    s, u = equations
    points = rest_points(equations, [s**2 - u**2 - 1])
    found = {"unbalanced": sp.Integer(len({sp.sign(point[s]) for point in points}))}
    for point in points:
        found |= {"unbalanced, s²": sp.expand(point[s] ** 2), "unbalanced, su": sp.expand(point[s] * point[u])}
    flow, v, heads = block_flow(Separate(1), problem("white", 1))
    z = sp.Symbol("z", real=True)
    negative = reduce(flow, {v[0]: -z, heads["key"][0][0, 0]: z, heads["query"][0][0, 0]: z}).equations
    (rest,) = (point[z] for point in rest_points(negative) if point[z] != 0)
    return found | {"negative pair, v³": (-rest) ** 3}


def _stated_rests(lab: Lab, control: str) -> Formulas:
    """Sixth powers of the amplitudes, which have no roots in them: signs are in the number of points."""
    import sympy as sp

    found: dict[str, Expr] = {}
    counts = (
        {"merged": 3, "rank 1": 4, "rank 2": 9} if control != FEWER else {"merged": 2, "rank 1": 4, "rank 2": 4}
    )
    found |= {f"{name}, points": sp.Integer(count) for name, count in counts.items()}
    m = {D: _learned(D, control) for D in (1, 2)}
    found |= _stated("merged", {(): (0, 0), (0, 1): (m[1][0] ** 3, m[1][0] ** 3)}, ("s", "u_1"))
    one, two = m[2]
    both = sum(sp.root(each, 3) for each in m[2]) ** 6 if control == SUM_OF_ROOTS else (one + two) ** 2
    heads = {(): (0, 0), (0,): (one**2, 0), (1,): (0, two**2), (0, 1): (one**2, two**2)}
    pairs = {(): (0, 0, 0), (0, 1): (one**2, one**2, 0), (0, 2): (two**2, 0, two**2)}
    pairs[0, 1, 2] = (both, one**3 / sp.sqrt(both), two**3 / sp.sqrt(both))
    half = sp.Rational(1, 2)
    found |= {"unbalanced": sp.Integer(2), "unbalanced, su": half, "negative pair, v³": m[1][0]}
    found["unbalanced, s²"] = half if control == BALANCED else (1 + sp.sqrt(2)) / 2
    return found | _stated("rank 1", heads, ("v_1", "v_2")) | _stated("rank 2", pairs, RANK_TWO)


def _stated(
    name: str, points: dict[tuple[int, ...], tuple[Expr, ...]], amplitudes: tuple[str, ...]
) -> dict[str, Expr]:
    import sympy as sp

    return {
        f"{name}, {', '.join(amplitudes[i] for i in learned)}, {each}": sp.sympify(value)
        for learned, values in points.items()
        for each, value in zip(amplitudes, values, strict=True)
    }


def _learned(dimension: int, control: str) -> list[Expr]:
    """m_d = B_d / (A_d λ_d), which M learns."""
    task = problem("white", dimension)
    _, B, A = stated_moments(task, control)
    return [B[d, d] / (A[d, d] * task.covariance[d, d]) for d in range(dimension)]


def _residuals(lab: Lab, control: str) -> Formulas:
    """What stated solutions leave over: of a rank-one amplitude's clock, of the white time course and its start."""
    import sympy as sp

    from ...theory.symbolic.time_courses import clock_residual, residuals, start_residuals

    v, g, p, t = sp.symbols("v g p t", positive=True)
    y, third = g * v, sp.Rational(1, 2 if control == "½ for ⅓ before the logarithm" else 3)
    logs = -third * sp.log(1 - y) + sp.log(1 + y + y**2) / 6
    clock = -1 / v + g * (logs - sp.atan((2 * y + 1) / sp.sqrt(3)) / sp.sqrt(3))
    α, κ, w0 = sp.symbols("alpha kappa w_0", positive=True)
    grown = sp.exp((1 if control == "e^{αt}" else 2) * α * t)
    course = {p: α * grown / (κ * (grown - 1) + α / (w0 if control == "w₀ for w₀²" else w0**2))}
    return {
        "clock": clock_residual(v**2 - g**3 * v**5, clock, v),
        "rate": residuals({p: 2 * p * (α - κ * p)}, course, t)[p],
        "start": start_residuals(course, t, {p: w0**2})[p],
    }


def _nothing(lab: Lab) -> Formulas:
    import sympy as sp

    return dict.fromkeys(("clock", "rate", "start"), sp.Integer(0))


CLAIMS = (
    Claim(
        id="symbols.moments",
        title="The derived moments, losses and flow of all weights are those of the definition",
        source=f"{SOURCE}; mixtures with a fixed teacher and ranges of lengths go beyond it",
        statement=r"L = c - 2\, b^\top M + M^\top S M,\quad \dot\theta = -\tfrac12\, \partial L/\partial\theta",
        observable="b, S, c, loss and slopes of two heads, by quadrature over all prompts; noise, two mixtures",
        limit="none: exact",
        measure=_integrated,
        predict=_derived,
        judge=same(1e-11),
        controls=(NO_FIXED_TEACHER, LONGER),
        hypotheses=("p = 0.6 and 0.4", "N = 1 and N = 1 … 3", "attention divided by N + 1"),
    ),
    proof(
        "symbols.oblique_count",
        "There are 2^D fixed points and no other where Λ and Ω do not commute, unless gains are equal",
        r"M_S = \sum_{d \in S} A^{-1} B \Lambda^{-1} \Pi_d,\quad \#\{M\} = 2^D",
        "dimension of the quotient ring, and how many of the M_S solve; D = 2, 3, rational Λ, Ω, σ², N",
        measure=_oblique_counts,
        predict=_powers,
        controls=("D + 1", "one that is not listed", FINITE),
        source=f"goes beyond {SOURCE}",
    ),
    proof(
        "symbols.rest",
        "Balanced amplitudes rest at cube roots of what is learned, and at no other real point",
        r"v^3 = \sum_{d \in S} m_d,\quad v \kappa_d^2 = m_d,\quad s u_d = m_d",
        "all real points of rest of the reduced equations: merged, two heads of rank one, one of rank two, D = 2",
        measure=_rests,
        predict=_stated_rests,
        controls=(*MOMENTS, SUM_OF_ROOTS, FEWER, BALANCED),
        hypotheses=("all conserved quantities are zero, but in one case s² − u² = 1",),
    ),
    proof(
        "symbols.solutions",
        "The implicit solution and the white time course solve their equations, by the engine's own check",
        r"\Phi'(v)\, f(v) = 1,\quad \dot p = 2p(\alpha - \kappa p),\ p(0) = w_0^2",
        "what the equations and the start leave over: zero",
        measure=_nothing,
        predict=_residuals,
        controls=("½ for ⅓ before the logarithm", "e^{αt}", "w₀ for w₀²"),
    ),
)
