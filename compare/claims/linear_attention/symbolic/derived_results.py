"""What the engine derives where no other claim looks: every moment, non-commuting tasks, equilibria, solutions."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....task import Task
from ....evidence.claim import Claim, RunContext
from ....evidence.identities import Expr, Formulas
from ....evidence.judges import equal_within
from ..common.controls import MOMENTS
from ..setting.moment_integrals import (
    LONGER,
    MIXTURES,
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
    found_equilibria,
    found_index,
    stated_equilibria,
    stated_index,
)
from .identities import implicit_solution, proof

if TYPE_CHECKING:
    from .....theory.symbolic import Derivation, SymbolicTask
    from .....theory.symbolic.loss.effective_maps import Moments


FINITE = "2^D for equal gains, too"
GAIN_EIGENVALUES = {"D = 2": (1, 4), "D = 3": (1, 2, 4), "two gains equal": (1, 1, 4)}
"""Eigenvalues of ΛΩ, which order the gains, by what is special about them."""

WHITE_LISTED = "Λ = Ω = 1, one of the 2^D for each of a continuum"
WHITE_COMPLETE = "Λ = Ω = 1, no other"


# Moments, losses and slopes of mixtures


def _integrated(context: RunContext) -> list[FloatArray]:
    """b, S, c, the loss of two heads and its slopes, of each mixture, and b, S undivided: sums over its prompts."""
    integrals = [integrated_mixture(task) for task in MIXTURES]
    curves = []
    for mixture in integrals:
        numbers = (mixture.c, mixture.loss, mixture.slope_a, mixture.slope_B)
        curves += [mixture.b, mixture.S, np.array(numbers)]

    # Without the divisor N + 1 every feature is N + 1 times as large.
    tokens = MIXTURES[0].context_lengths[0] + 1
    undivided = [tokens * integrals[0].b, tokens**2 * integrals[0].S]
    return curves + undivided


def _derived(context: RunContext, control: str) -> list[FloatArray]:
    """The same from the derivation, at the numbers of each mixture as exact rationals."""
    from .....theory.symbolic import moments, rational_task

    curves = []
    for task in MIXTURES:
        exact = rational_task(changed_mixture(task, control))
        derived = moments(exact, "tokens")
        numbers = np.array([float(derived.c), *_derived_slopes(task, exact)])
        curves += [*_b_and_S(derived), numbers]

    exact = rational_task(changed_mixture(MIXTURES[0], control))
    return curves + _b_and_S(moments(exact, "none"))


def _b_and_S(derived: "Moments") -> list[FloatArray]:
    return [np.array(derived.b, dtype=float).ravel(), np.array(derived.S, dtype=float)]


class _Slopes(NamedTuple):
    """Loss of two heads and its derivative along a direction of their a and along one of their B."""

    loss: float
    along_a: float
    along_B: float


def _derived_slopes(task: Task, exact: Any) -> _Slopes:
    """By the derived flow θ̇ = −½ ∂L/∂θ, at the heads and along the directions of `two_heads`."""
    from .....theory.symbolic import flow_equations, population_loss, weight_symbols

    model = Merged(heads=2, divisor="tokens")
    weights = weight_symbols(model, task.dimension)
    symbols_a = weights["value"].ravel()
    symbols_B = weights["key_query"][..., :-1].ravel()  # of B only D columns meet x_q
    heads, along = two_heads(task, 3), two_heads(task, 4)
    point = _rationals(symbols_a, heads.a) | _rationals(symbols_B, heads.B)

    loss = population_loss(exact, model)
    rates = {w: float(r.xreplace(point)) for w, r in flow_equations(loss).items()}
    return _Slopes(
        loss=float(loss.expression.xreplace(point)),
        along_a=_slope([rates[symbol] for symbol in symbols_a], along.a),
        along_B=_slope([rates[symbol] for symbol in symbols_B], along.B),
    )


def _rationals(symbols: Iterable[Expr], values: FloatArray) -> dict[Expr, Expr]:
    """The value of each symbol as an exact rational."""
    import sympy as sp

    pairs = zip(symbols, values.ravel(), strict=True)
    return {symbol: sp.Rational(float(value)) for symbol, value in pairs}


def _slope(rates: list[float], direction: FloatArray) -> float:
    """⟨∂L/∂θ, direction⟩ with ∂L/∂θ = −2 θ̇, the rates being θ̇ of all entries of the direction."""
    return float(-2 * np.array(rates) @ direction.ravel())


# How many fixed points there are where Λ and Ω do not commute


def _counted_solutions(context: RunContext) -> Formulas:
    """One over the number of solutions, how many of them the enumeration lists, and whether there is no other."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask
    from .....theory.symbolic.dynamics.completeness_proofs import completeness

    counts: dict[str, Expr] = {}
    for name, eigenvalues in GAIN_EIGENVALUES.items():
        solutions = completeness(_task_with_products(eigenvalues))
        count = sp.oo if solutions.count is None else sp.Integer(solutions.count)
        counts[name] = 1 / count
        counts[f"{name}, listed"] = sp.Integer(solutions.listed)
        counts[f"{name}, no other"] = sp.Integer(solutions.complete)

    five = (sp.Integer(5),)
    white = completeness(SymbolicTask(sp.eye(2), sp.eye(2), sp.Integer(0), five))
    counts[WHITE_LISTED] = sp.Integer(white.listed)
    counts[WHITE_COMPLETE] = sp.Integer(white.complete)
    return counts


def _task_with_products(eigenvalues: tuple[int, ...]) -> "SymbolicTask":
    """Λ = L Lᵀ and Ω = L⁻ᵀ diag L⁻¹: their product has these eigenvalues and eigenvectors of its own."""
    import sympy as sp

    from .....theory.symbolic import SymbolicTask

    D = len(eigenvalues)
    L = sp.Matrix([[1, 0, 0], [1, 1, 0], [0, 1, 1]])[:D, :D]
    Ω = L.inv().T * sp.diag(*eigenvalues) * L.inv()
    return SymbolicTask(L * L.T, Ω, sp.Rational(1, 2), (sp.Integer(5),))


def _stated_solutions(context: RunContext, control: str) -> Formulas:
    """One over the number of solutions, 0 for a continuum; how many are listed; and whether those are all."""
    import sympy as sp

    counts: dict[str, Expr] = {}
    for name, eigenvalues in GAIN_EIGENVALUES.items():
        D = len(eigenvalues)
        distinct = len(set(eigenvalues)) == D or control == FINITE
        count, listed = _stated_count(D, control)
        counts[name] = sp.Rational(1, count) if distinct else sp.Integer(0)
        counts[f"{name}, listed"] = sp.Integer(listed if distinct else 0)
        complete = distinct and count == listed == 2**D
        counts[f"{name}, no other"] = sp.Integer(complete)

    counts[WHITE_LISTED] = sp.Integer(4)
    counts[WHITE_COMPLETE] = sp.Integer(control == FINITE)
    return counts


def _stated_count(dimension: int, control: str) -> tuple[int, int]:
    """The number of solutions where gains are distinct, 2^D, and how many of them are listed."""
    subsets = 2**dimension
    if control == "D + 1":
        return dimension + 1, dimension + 1
    if control == "one that is not listed":
        return subsets + 1, subsets
    return subsets, subsets


# Solutions of the reduced equations


def _residuals(context: RunContext, control: str) -> Formulas:
    """What stated solutions leave over in their equations and starts."""
    return {
        "clock": _implicit_residual(control),
        **_white_residuals(control),
        **_early_residuals(control),
    }


def _implicit_residual(control: str) -> Expr:
    """Φ'(v) f(v) − 1 of v̇ = f(v) = v² − g³v⁵."""
    import sympy as sp

    from .....theory.symbolic.dynamics.solution_check import implicit_solution_residual

    v, g = sp.symbols("v g", positive=True)
    Φ = implicit_solution(v, g, control)
    return implicit_solution_residual(v**2 - g**3 * v**5, Φ, v)


def _white_residuals(control: str) -> dict[str, Expr]:
    """Of p = α e^{2αt}/(κ (e^{2αt} − 1) + α/w₀²) in ṗ = 2p(α − κp), p(0) = w₀²."""
    import sympy as sp

    from .....theory.symbolic.dynamics.solution_check import (
        initial_residuals,
        ode_residuals,
    )

    α, κ, w0, p, t = sp.symbols("alpha kappa w_0 p t", positive=True)
    growth = sp.exp((1 if control == "e^{αt}" else 2) * α * t)
    start = w0 if control == "w₀ for w₀²" else w0**2
    # With growth = e^{2αt}.
    solution = {p: α * growth / (κ * (growth - 1) + α / start)}
    return {
        "rate": ode_residuals({p: 2 * p * (α - κ * p)}, solution, t)[p],
        "start": initial_residuals(solution, t, {p: w0**2})[p],
    }


def _early_residuals(control: str) -> dict[str, Expr]:
    """Of s ± u = (s₀ ± u₀) e^{±αt} in ṡ = αu, u̇ = αs, which holds while both are small."""
    import sympy as sp

    from .....theory.symbolic.dynamics.solution_check import (
        initial_residuals,
        ode_residuals,
    )

    α, t = sp.symbols("alpha t", positive=True)
    s, u, s0, u0 = sp.symbols("s u s_0 u_0", real=True)
    # s + u grows and s − u decays, at the rate α.
    growing = (s0 + u0) * sp.exp(α * t) / 2
    decaying = (s0 - u0) * sp.exp(-α * t) / 2
    solution = {s: growing + decaying, u: growing - decaying}
    if control == "u as s":
        solution[u] = solution[s]

    rates = ode_residuals({s: α * u, u: α * s}, solution, t)
    starts = initial_residuals(solution, t, {s: s0, u: u0})
    return _prefixed("early,", rates) | _prefixed("from", starts)


def _prefixed(prefix: str, residuals: Mapping[Expr, Expr]) -> dict[str, Expr]:
    """The residual of each amplitude, under the prefix and its name."""
    return {
        f"{prefix} {amplitude}": residual for amplitude, residual in residuals.items()
    }


def _no_residuals(context: RunContext) -> Formulas:
    import sympy as sp

    names = ("clock", "rate", "start", "early, s", "early, u", "from s", "from u")
    return dict.fromkeys(names, sp.Integer(0))


# Conservation laws


def _found_laws(context: RunContext) -> Formulas:
    """All laws up to degree 1 of two maps that add up, and up to degree 3 of one head of rank one, D = 1."""
    import sympy as sp

    from .....theory.symbolic import Prompt, average, derive_output, symbolic_task

    prompt = Prompt(1)
    maps = sp.symbols("m n", real=True)
    β = average(prompt.y * prompt.x[0])
    output = sum(maps) * β * prompt.query[0]
    laws_of_maps = derive_output(symbolic_task(1), output, maps).conserved(1)
    laws_of_head = _head_derivation().conserved(3)
    return _numbered("maps", laws_of_maps) | _numbered("head", laws_of_head)


def _stated_laws(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    m, n = sp.symbols("m n", real=True)
    arrays = _head_derivation().arrays
    v = arrays["value"].ravel()[1]  # the entry that meets labels
    k = arrays["key"].ravel()[0]
    q = arrays["query"].ravel()[0]

    sign = 1 if control == "sum for difference" else -1
    laws = [v**2 + sign * q**2, k**2 + sign * q**2]
    if control == "also the product v k q":
        laws.append(v * k * q)
    return _numbered("maps", [m + sign * n]) | _numbered("head", laws)


def _head_derivation() -> "Derivation":
    from .....theory.symbolic import derive, symbolic_task

    return derive(symbolic_task(1), Separate(1), "restricted")


def _numbered(name: str, laws: Iterable[Expr]) -> dict[str, Expr]:
    return {f"{name}, law {place}": law for place, law in enumerate(laws, 1)}


# An output that knows the teacher


def _derived_teacher_loss(context: RunContext) -> Formulas:
    """Loss of m wᵀx_q, an output that knows the teacher, D = 2, any Ω, without noise and with it."""
    import sympy as sp

    from .....theory.symbolic import Prompt, output_loss, symbolic_task

    prompt, m = Prompt(2), sp.Symbol("m", real=True)
    output = m * sum(w * x for w, x in zip(prompt.teacher, prompt.query, strict=True))

    losses = {}
    for noise in (False, True):
        task = symbolic_task(2, teachers="general", noise=noise)
        losses[f"noise: {noise}"] = output_loss(task, output, [m]).expression
    return losses


def _stated_teacher_loss(context: RunContext, control: str) -> Formulas:
    """(1 − m)² tr ΛΩ + σ²."""
    import sympy as sp

    m = sp.Symbol("m", real=True)
    λ1, λ2, σ = sp.symbols("lambda_1 lambda_2 sigma", positive=True)
    ω1, ω2 = sp.symbols("Omega_11 Omega_22", real=True)
    factor = 1 - m**2 if control == "1 − m² for (1 − m)²" else (1 - m) ** 2
    trace = λ1 + λ2 if control == "Ω left out" else ω1 * λ1 + ω2 * λ2
    return {
        "noise: False": factor * trace,
        "noise: True": factor * trace + σ**2,
    }


CLAIMS = (
    Claim(
        id="symbols.moments",
        title="Derived moments, losses and flow of all weights equal integrals over all prompts",
        paper="zhang2025",
        origin="mixtures with a fixed teacher and ranges of lengths go beyond it",
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
        "There are exactly 2^D fixed points also where Λ and Ω do not commute, unless gains are equal",
        r"M_S = \sum_{d \in S} A^{-1} B \Lambda^{-1} \Pi_d,\quad \#\{M\} = 2^D",
        "dimension of the quotient ring, and how many of the M_S solve; D = 2, 3, rational Λ, Ω, σ², N",
        measure=_counted_solutions,
        predict=_stated_solutions,
        controls=("D + 1", "one that is not listed", FINITE),
        paper="zhang2025",
        beyond_paper=True,
    ),
    proof(
        "symbols.rest",
        "The only real equilibria of balanced amplitudes are v³ = Σ m_d over the learned directions",
        r"v^3 = \sum_{d \in S} m_d,\quad v \kappa_d^2 = m_d,\quad s u_d = m_d",
        "all real equilibria of the reduced equations: merged, two heads of rank one, one of rank two, D = 2",
        measure=found_equilibria,
        predict=stated_equilibria,
        controls=(*MOMENTS, SUM_OF_ROOTS, FEWER, BALANCED),
        hypotheses=("all conserved quantities are zero, but in one case s² − u² = 1",),
    ),
    proof(
        "symbols.invariants",
        "A rank-one head conserves only v² − q² and k² − q² up to degree 3; a sum of two maps their difference",
        r"v^2 - q^2,\quad k^2 - q^2;\qquad m - n",
        "every polynomial that the derived flow conserves: degree 3 for the head, degree 1 for the maps, D = 1",
        measure=_found_laws,
        predict=_stated_laws,
        controls=("sum for difference", "also the product v k q"),
    ),
    proof(
        "symbols.index",
        "The index counts the larger gains left out, for Λ of numbers, real or integer symbols",
        r"\#\{(d, j) : d \in S,\ j \notin S,\ g_j > g_d\}",
        "signature of the derived Hessian at each M_S; Λ = diag(3, 2, 1), diag(b² + 2, b² + 1), diag(2n, 2n − 1)",
        measure=found_index,
        predict=stated_index,
        controls=("smaller gains counted", "minima"),
        paper="zhang2025",
        beyond_paper=True,
        hypotheses=("one head has each learned direction, all others are zero",),
    ),
    proof(
        "symbols.known_teacher",
        "The loss of ŷ = m wᵀx_q is (1 − m)² tr ΛΩ + σ²",
        r"E(y_q - m\, w^\top x_q)^2 = (1 - m)^2\, \mathrm{tr}\,\Lambda\Omega + \sigma^2",
        "the derived loss of an output that contains the teacher, D = 2, any Ω",
        measure=_derived_teacher_loss,
        predict=_stated_teacher_loss,
        controls=("1 − m² for (1 − m)²", "Ω left out"),
    ),
    proof(
        "symbols.averages",
        "Averages of x² over the context have the moments of a chi-squared variable",
        r"E\,\hat\lambda^k = \lambda^k \prod_{j < k} (1 + 2j/N),\quad \hat\lambda = \tfrac1N \sum_n x_n^2",
        "derived expectations of up to four averages of x², x y and y², D = 1, noise, N a symbol",
        measure=derived_powers,
        predict=stated_powers,
        controls=("1 + j/N for 1 + 2j/N", "averages independent", "noise left out"),
    ),
    proof(
        "symbols.solutions",
        "The engine's own check confirms the implicit solution and the time courses for white inputs",
        r"\Phi'(v)\, f(v) = 1,\quad \dot p = 2p(\alpha - \kappa p),\ p(0) = w_0^2,\quad "
        r"\dot s = \alpha u,\ \dot u = \alpha s",
        "residuals of the equations and of the initial values, which must be zero",
        measure=_no_residuals,
        predict=_residuals,
        controls=("½ for ⅓ before the logarithm", "e^{αt}", "w₀ for w₀²", "u as s"),
    ),
)
