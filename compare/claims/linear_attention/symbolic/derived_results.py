"""What the engine derives where no other claim looks: every moment, oblique tasks, points of rest, solutions."""

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....task import Task
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import equal_within
from ..common.controls import MOMENTS
from ..setting.moment_integrals import (
    LONGER,
    MIXED,
    NO_FIXED_TEACHER,
    changed_mixture,
    integrated_mixture,
    two_heads,
)
from .context_averages import derived_powers, stated_powers
from .equilibria import (
    BALANCED,
    FEWER,
    SUM_OF_ROOTS,
    found_index,
    found_rests,
    stated_index,
    stated_rests,
)
from .identities import SOURCE, Expr, Formulas, proof

if TYPE_CHECKING:
    from .....theory.symbolic import Derivation
    from .....theory.symbolic.loss.effective_maps import Moments


FINITE = "2^D for equal gains, too"
OBLIQUE = {"D = 2": (1, 4), "D = 3": (1, 2, 4), "two gains equal": (1, 1, 4)}
"""Eigenvalues of ΛΩ."""


def _integrated(context: RunContext) -> list[FloatArray]:
    """b, S, c, the loss of two heads and its slopes, of each mixture, and b, S undivided: sums over its prompts."""
    found = []
    for task in MIXED:
        b, S, _, *numbers = integrated_mixture(task)
        found += [b, S, np.concatenate(numbers[:4])]
    count = (
        MIXED[0].context_lengths[0] + 1
    )  # what the features of one length are divided by
    return [*found, count * found[0], count**2 * found[1]]


def _derived(context: RunContext, control: str) -> list[FloatArray]:
    """The same from the derivation, at the numbers of each mixture as exact rationals."""
    from .....theory.symbolic import moments, rational_task

    found = []
    for task in MIXED:
        exact = rational_task(changed_mixture(task, control))
        known = moments(exact, "tokens")
        found += [
            *_numbers(known),
            np.array([float(known.c), *_derived_slopes(task, exact)]),
        ]
    return [
        *found,
        *_numbers(moments(rational_task(changed_mixture(MIXED[0], control)), "none")),
    ]


def _numbers(known: "Moments") -> list[FloatArray]:
    return [np.array(known.b, dtype=float).ravel(), np.array(known.S, dtype=float)]


def _derived_slopes(task: Task, exact: Any) -> tuple[float, float, float]:
    """Loss of two merged heads, and its slopes along a direction of their a and of their B."""
    import sympy as sp

    from .....theory.symbolic import flow_equations, population_loss, weight_symbols

    model = Merged(heads=2, divisor="tokens")
    weights = weight_symbols(model, task.dimension)
    parts = (weights["value"].ravel(), weights["key_query"][..., :-1].ravel())
    at = {
        symbol: sp.Rational(float(number))
        for part, values in zip(parts, two_heads(task, 3), strict=True)
        for symbol, number in zip(part, values.ravel(), strict=True)
    }
    loss = population_loss(model, exact)
    rates = {
        weight: float(rate.xreplace(at))
        for weight, rate in flow_equations(loss).items()
    }
    slopes = [
        -2
        * sum(
            rates[symbol] * step
            for symbol, step in zip(part, along.ravel(), strict=True)
        )
        for part, along in zip(parts, two_heads(task, 4), strict=True)
    ]
    return float(loss.expression.xreplace(at)), slopes[0], slopes[1]


def _oblique_counts(context: RunContext) -> Formulas:
    """Solutions for Λ and Ω that do not commute, and how many of them the enumeration lists, by what is special."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask
    from .....theory.symbolic.dynamics.completeness_proofs import completeness

    root = sp.Matrix([[1, 0, 0], [1, 1, 0], [0, 1, 1]])
    found: dict[str, Expr] = {}
    for name, gains in OBLIQUE.items():
        L = root[: len(gains), : len(gains)]
        Ω = (
            L.inv().T * sp.diag(*gains) * L.inv()
        )  # whose products with Λ have these eigenvalues
        counted = completeness(
            SymbolicTask(L * L.T, Ω, sp.Rational(1, 2), (sp.Integer(5),))
        )
        count = sp.oo if counted.count is None else sp.Integer(counted.count)
        found |= {name: 1 / count, f"{name}, listed": sp.Integer(counted.listed)}
        found |= {f"{name}, no other": sp.Integer(counted.complete)}
    same = completeness(
        SymbolicTask(sp.eye(2), sp.eye(2), sp.Integer(0), (sp.Integer(5),))
    )
    found["Λ = Ω = 1, one of the 2^D for each of a continuum"] = sp.Integer(same.listed)
    return found | {"Λ = Ω = 1, no other": sp.Integer(same.complete)}


def _powers(context: RunContext, control: str) -> Formulas:
    """One over the number of solutions, 0 for a continuum; how many are listed; and whether those are all."""
    import sympy as sp

    found: dict[str, Expr] = {}
    for name, gains in OBLIQUE.items():
        D, distinct = len(gains), len(set(gains)) == len(gains) or control == FINITE
        counts = {"D + 1": (D + 1, D + 1), "one that is not listed": (2**D + 1, 2**D)}
        count, listed = counts.get(control, (2**D, 2**D))
        inverse = sp.Rational(1, count) if distinct else sp.Integer(0)
        found |= {
            name: inverse,
            f"{name}, listed": sp.Integer(listed if distinct else 0),
        }
        found |= {f"{name}, no other": sp.Integer(distinct and count == listed == 2**D)}
    found["Λ = Ω = 1, one of the 2^D for each of a continuum"] = sp.Integer(4)
    return found | {"Λ = Ω = 1, no other": sp.Integer(control == FINITE)}


def _residuals(context: RunContext, control: str) -> Formulas:
    """What stated solutions leave over: of a rank-one amplitude's clock, of the white time course and its start."""
    import sympy as sp

    from .....theory.symbolic.dynamics.solution_check import (
        implicit_solution_residual,
        initial_residuals,
        ode_residuals,
    )

    v, g, p, t = sp.symbols("v g p t", positive=True)
    y, third = (
        g * v,
        sp.Rational(1, 2 if control == "½ for ⅓ before the logarithm" else 3),
    )
    logs = -third * sp.log(1 - y) + sp.log(1 + y + y**2) / 6
    clock = -1 / v + g * (logs - sp.atan((2 * y + 1) / sp.sqrt(3)) / sp.sqrt(3))
    α, κ, w0 = sp.symbols("alpha kappa w_0", positive=True)
    grown = sp.exp((1 if control == "e^{αt}" else 2) * α * t)
    course = {
        p: α
        * grown
        / (κ * (grown - 1) + α / (w0 if control == "w₀ for w₀²" else w0**2))
    }
    found = {
        "clock": implicit_solution_residual(v**2 - g**3 * v**5, clock, v),
        "rate": ode_residuals({p: 2 * p * (α - κ * p)}, course, t)[p],
        "start": initial_residuals(course, t, {p: w0**2})[p],
    }
    s, u, s0, u0 = sp.symbols("s u s_0 u_0", real=True)
    plus, minus = (s0 + u0) * sp.exp(α * t) / 2, (s0 - u0) * sp.exp(-α * t) / 2
    early = {s: plus + minus, u: plus + minus if control == "u as s" else plus - minus}
    rates = ode_residuals({s: α * u, u: α * s}, early, t)
    starts = initial_residuals(early, t, {s: s0, u: u0})
    return (
        found
        | {f"early, {each}": rates[each] for each in rates}
        | {f"from {each}": starts[each] for each in starts}
    )


def _nothing(context: RunContext) -> Formulas:
    import sympy as sp

    names = ("clock", "rate", "start", "early, s", "early, u", "from s", "from u")
    return dict.fromkeys(names, sp.Integer(0))


def _found_laws(context: RunContext) -> Formulas:
    """All laws up to degree 1 of two maps that add up, and up to degree 3 of one head of rank one, D = 1."""
    import sympy as sp

    from .....theory.symbolic import Prompt, average, derive_output, symbolic_task

    prompt, maps = Prompt(1), sp.symbols("m n", real=True)
    output = sum(maps) * average(prompt.y * prompt.x[0]) * prompt.query[0]
    of_maps = derive_output(output, symbolic_task(1), maps).conserved(1)
    return _numbered("maps", of_maps) | _numbered(
        "head", _head_derivation().conserved(3)
    )


def _stated_laws(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    m, n = sp.symbols("m n", real=True)
    arrays = _head_derivation().arrays
    v, k, q = (
        arrays[name].ravel()[place]
        for name, place in (("value", 1), ("key", 0), ("query", 0))
    )
    sign = 1 if control == "sum for difference" else -1
    laws = [v**2 + sign * q**2, k**2 + sign * q**2]
    products = [v * k * q] if control == "also the product v k q" else []
    return _numbered("maps", [m + sign * n]) | _numbered("head", [*laws, *products])


def _head_derivation() -> "Derivation":
    from .....theory.symbolic import derive, symbolic_task

    return derive(Separate(1), symbolic_task(1), "restricted")


def _numbered(name: str, laws: Iterable[Expr]) -> dict[str, Expr]:
    return {f"{name}, law {place}": law for place, law in enumerate(laws, 1)}


def _known_teacher(context: RunContext) -> Formulas:
    """Loss of m wᵀx_q, an output that knows the teacher, D = 2, any Ω, without noise and with it."""
    import sympy as sp

    from .....theory.symbolic import Prompt, output_loss, symbolic_task

    prompt, m = Prompt(2), sp.Symbol("m", real=True)
    output = m * sum(w * x for w, x in zip(prompt.teacher, prompt.query, strict=True))
    tasks = {
        noise: symbolic_task(2, teachers="general", noise=noise)
        for noise in (False, True)
    }
    return {
        f"noise: {noise}": output_loss(output, task, [m]).expression
        for noise, task in tasks.items()
    }


def _stated_teacher(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    m, (first, second) = (
        sp.Symbol("m", real=True),
        sp.symbols("lambda_1:3", positive=True),
    )
    one, two = sp.symbols("Omega_11 Omega_22", real=True)
    away = 1 - m**2 if control == "1 − m² for (1 − m)²" else (1 - m) ** 2
    trace = first + second if control == "Ω left out" else one * first + two * second
    return {
        "noise: False": away * trace,
        "noise: True": away * trace + sp.Symbol("sigma", positive=True) ** 2,
    }


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
        judge=equal_within(1e-11),
        controls=(NO_FIXED_TEACHER, LONGER),
        hypotheses=(
            "p = 0.6 and 0.4",
            "N = 1 and N = 1 … 3",
            "attention divided by N + 1",
        ),
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
        measure=found_rests,
        predict=stated_rests,
        controls=(*MOMENTS, SUM_OF_ROOTS, FEWER, BALANCED),
        hypotheses=("all conserved quantities are zero, but in one case s² − u² = 1",),
    ),
    proof(
        "symbols.invariants",
        "One head of rank one has two laws up to degree 3, and two maps that add up keep their difference",
        r"v^2 - q^2,\quad k^2 - q^2;\qquad m - n",
        "every polynomial that the derived flow conserves: degree 3 for the head, degree 1 for the maps, D = 1",
        measure=_found_laws,
        predict=_stated_laws,
        controls=("sum for difference", "also the product v k q"),
    ),
    proof(
        "symbols.index",
        "Whatever Λ is made of, each learned direction has a way down for every larger gain not learned",
        r"\#\{(d, j) : d \in S,\ j \notin S,\ g_j > g_d\}",
        "signature of the derived Hessian at each M_S; Λ = diag(3, 2, 1), diag(b² + 2, b² + 1), diag(2n, 2n − 1)",
        measure=found_index,
        predict=stated_index,
        controls=("smaller gains counted", "minima"),
        source=f"goes beyond {SOURCE}",
        hypotheses=("one head holds each learned direction, all others are zero",),
    ),
    proof(
        "symbols.known_teacher",
        "What knows the teacher loses only what it scales away, and the noise",
        r"E(y_q - m\, w^\top x_q)^2 = (1 - m)^2\, \mathrm{tr}\,\Lambda\Omega + \sigma^2",
        "the derived loss of an output that holds the teacher, D = 2, any Ω",
        measure=_known_teacher,
        predict=_stated_teacher,
        controls=("1 − m² for (1 − m)²", "Ω left out"),
    ),
    proof(
        "symbols.averages",
        "Products of averages over the context have the moments of chi squared",
        r"E\,\hat\lambda^k = \lambda^k \prod_{j < k} (1 + 2j/N),\quad \hat\lambda = \tfrac1N \sum_n x_n^2",
        "derived expectations of up to four averages of x², x y and y², D = 1, noise, N a symbol",
        measure=derived_powers,
        predict=stated_powers,
        controls=("1 + j/N for 1 + 2j/N", "averages independent", "noise left out"),
    ),
    proof(
        "symbols.solutions",
        "The implicit solution and the white time courses solve their equations, by the engine's own check",
        r"\Phi'(v)\, f(v) = 1,\quad \dot p = 2p(\alpha - \kappa p),\ p(0) = w_0^2,\quad "
        r"\dot s = \alpha u,\ \dot u = \alpha s",
        "what the equations and the start leave over: zero",
        measure=_nothing,
        predict=_residuals,
        controls=("½ for ⅓ before the logarithm", "e^{αt}", "w₀ for w₀²", "u as s"),
    ),
)
