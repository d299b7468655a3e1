"""Proofs: the formulas themselves, derived in symbols from the definition."""

from itertools import chain, combinations
from typing import Any

from .....models.attention import Merged, Separate
from ....evidence.claim import UNMODIFIED, RunContext
from ....evidence.identities import Expr, Formulas
from ..common.controls import MOMENTS
from .identities import (
    block_flow,
    entries,
    implicit_solution,
    named,
    problem,
    proof,
    stated_directions,
    stated_moments,
)

# Moments of the restricted block


def _derived_moments(context: RunContext) -> Formulas:
    """c, B and A of the effective map, and c, b and S of the block's features, by expectations."""
    from .....theory.symbolic import effective_map, moments

    quadratic = effective_map(problem(), Separate(1))
    block = moments(problem(), block="restricted")
    return {
        "c": quadratic.c,
        "c of the block": block.c,
        **entries("B", quadratic.B),
        **entries("A", quadratic.A),
        **entries("b of the block", block.b),
        **entries("S of the block", block.S),
    }


def _stated_moments(context: RunContext, control: str) -> Formulas:
    """The same by the formulas for c, B, A; on features x_i β_j, b = vec B and S = A ⊗ Λ."""
    import sympy as sp

    c, B, A = stated_moments(problem(), control)
    S = sp.kronecker_product(A, problem().covariance)
    return {
        "c": c,
        "c of the block": c,
        **entries("B", B),
        **entries("A", A),
        **entries("b of the block", B.reshape(4, 1)),
        **entries("S of the block", S),
    }


# Gradient flow of both models


def _derived_merged_flow(context: RunContext) -> Formulas:
    return named(block_flow(Merged(2), problem("diagonal")).flow)


def _merged_flow(context: RunContext, control: str) -> Formulas:
    """v̇_h = ⟨G, U_h⟩ and U̇_h = v_h G."""
    _, v, heads = block_flow(Merged(2), problem("diagonal"))
    U = heads["key_query"]
    M = v[0] * U[0] + v[1] * U[1]
    G = _residual_correlation(M, control)

    rates: dict[Expr, Expr] = {}
    for h in range(2):
        rates[v[h]] = (G.T * U[h]).trace()
        rates |= dict(zip(U[h], v[h] * G, strict=True))
    return named(rates)


def _derived_separate_flow(context: RunContext) -> Formulas:
    return named(block_flow(Separate(2), problem("diagonal")).flow)


def _separate_flow(context: RunContext, control: str) -> Formulas:
    """v̇_h = k_hᵀ G q_h, k̇_h = v_h G q_h and q̇_h = v_h Gᵀ k_h, with keys and queries as rows."""
    _, values, heads = block_flow(Separate(2), problem("diagonal"))
    triples = list(zip(values, heads["key"], heads["query"], strict=True))
    first, second = (v * k.T * q for v, k, q in triples)
    M = first + second
    G = _residual_correlation(M, control)

    rates: dict[Expr, Expr] = {}
    for v, k, q in triples:
        rates[v] = (k * G * q.T)[0]
        rates |= dict(zip(k, v * q * G.T, strict=True))
        rates |= dict(zip(q, v * k * G, strict=True))
    return named(rates)


def _residual_correlation(M: Expr, control: str) -> Expr:
    """G = B − A M Λ = −½ ∂L/∂M."""
    _, B, A = stated_moments(problem("diagonal"), control)
    return B - A * M * problem("diagonal").covariance


# Conservation laws


def _drift(context: RunContext, control: str) -> Formulas:
    """Rates of change of the stated invariants of both models on the full block, which should be zero."""
    return {
        **_drift_of(Merged(2), "merged", control),
        **_drift_of(Separate(1), "separate", control),
    }


def _drift_of(model: Merged | Separate, name: str, control: str) -> dict[str, Expr]:
    from .....theory.symbolic import (
        flow_equations,
        lie_derivative,
        population_loss,
        symbolic_task,
        weight_symbols,
    )

    flow = flow_equations(population_loss(symbolic_task(1), model))
    weights = weight_symbols(model, 1)
    invariants = _separate_invariants(weights, control)
    if isinstance(model, Merged):
        invariants = _merged_invariants(weights, control)
    return {
        f"{name}, {law}": lie_derivative(quantity, flow)
        for law, quantity in invariants.items()
    }


def _merged_invariants(weights: Any, control: str) -> dict[str, Expr]:
    """a_h·a_g − ⟨B_h, B_g⟩ for each pair of two heads."""
    factor = 2 if control == "twice the keys" else 1
    invariants = {}
    for h, g in ((0, 0), (0, 1), (1, 1)):
        values = weights["value"][h] @ weights["value"][g]
        matrices = (weights["key_query"][h] * weights["key_query"][g]).sum()
        invariants[f"heads {h + 1}, {g + 1}"] = values - factor * matrices
    return invariants


def _separate_invariants(weights: Any, control: str) -> dict[str, Expr]:
    """|a|² − |k|² and |k|² − |q|² of one head."""
    if "key" not in weights:
        return {}
    factor = 2 if control == "twice the keys" else 1
    sign = 1 if control == "sum for difference" else -1
    value = weights["value"][0]
    key, query = weights["key"].ravel(), weights["query"].ravel()
    return {
        "value, key": value @ value - factor * key @ key,
        "key, query": key @ key + sign * query @ query,
    }


def _no_drift(context: RunContext) -> Formulas:
    import sympy as sp

    return dict.fromkeys(_drift(context, UNMODIFIED), sp.Integer(0))


# Fixed points


def _derived_losses(context: RunContext) -> Formulas:
    """Losses of the fixed points that the engine finds, D = 2, diagonal teachers, noise."""
    from .....theory.symbolic import fixed_points

    models: dict[str, Merged | Separate] = {
        "rank one": Separate(2),
        "rank two": Separate(1, rank=2),
        "one head": Separate(1),
        "merged": Merged(1),
    }
    losses = {}
    for name, model in models.items():
        # Rank one and two learn all subsets, fewer pairs fewer of them.
        for point in fixed_points(problem("diagonal"), model):
            losses[f"{name}, {point.subset}"] = point.loss
    return losses


def _stated_losses(context: RunContext, control: str) -> Formulas:
    """c − Σ_{d ∈ S} g_d over the subsets that each model can learn."""
    task = problem("diagonal")
    c, b, saturation = stated_directions(task, control)
    gains = [b[d] ** 2 / saturation[d] for d in range(2)]

    every = list(chain.from_iterable(combinations((1, 2), m) for m in range(3)))
    subsets = {
        "rank one": every,
        "rank two": every,
        "one head": [S for S in every if len(S) <= 1],
        "merged": [(), (1, 2)],
    }
    losses = {}
    for name, learnable in subsets.items():
        for S in learnable:
            losses[f"{name}, {S}"] = c - sum(gains[d - 1] for d in S)
    return losses


def _counted_solutions(context: RunContext) -> Formulas:
    """Solutions of G Mᵀ = 0, Gᵀ M = 0, counted by a Gröbner basis over the complex numbers, D = 1, 2, 3."""
    import sympy as sp

    from .....theory.symbolic.dynamics.completeness_proofs import completeness

    counts = {}
    for D in (1, 2, 3):
        # Complex solutions count too: then no real one is missed.
        solutions = completeness(problem("diagonal", D))
        counts[f"D = {D}"] = sp.Integer(solutions.count)
    return counts


def _stated_counts(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    counts = {}
    for D in (1, 2, 3):
        count = {"D + 1": D + 1, "3^D": 3**D}.get(control, 2**D)
        counts[f"D = {D}"] = sp.Integer(count)
    return counts


# Scalar equations and their solutions


def _aligned_heads(context: RunContext) -> Formulas:
    """Equations of two heads, each balanced on a direction of its own, reduced from the flow of all weights."""
    from .....theory.symbolic.dynamics.reduction import reduce

    flow, v, heads = block_flow(Separate(2), problem("white"))
    amplitudes = _amplitudes(2)
    ansatz = dict(zip(v, amplitudes, strict=True))
    for h in range(2):
        # Head h has key and query along e_h, both of the size of its value.
        ansatz[heads["key"][h][0, h]] = amplitudes[h]
        ansatz[heads["query"][h][0, h]] = amplitudes[h]
    return named(reduce(flow, ansatz).equations)


def _amplitudes(count: int) -> Any:
    import sympy as sp

    return sp.symbols(f"v_1:{count + 1}", real=True)


def _scalar_equations(context: RunContext, control: str) -> Formulas:
    """v̇_d = λ_d² v_d² − λ_d a_d v_d⁵."""
    task = problem("white")
    _, b, saturation = stated_directions(task, control)
    power = 4 if control == "exponent 4 for 5" else 5
    rates = {}
    for d, v in enumerate(_amplitudes(2)):
        rates[v] = b[d] * v**2 - saturation[d] * v**power
    return named(rates)


def _implicit_slope(context: RunContext, control: str) -> Formulas:
    """dΦ/dt along v̇ = α(v² − γ v⁵), divided by α: one, if t = (Φ(v) − Φ(v₀))/α."""
    import sympy as sp

    v, g = sp.symbols("v g", positive=True)  # g³ = γ
    Φ = implicit_solution(v, g, control)
    slope = sp.cancel(sp.together(Φ.diff(v)))
    return {"dΦ/dt": slope * (v**2 - g**3 * v**5)}


def _unit_slope(context: RunContext) -> Formulas:
    import sympy as sp

    return {"dΦ/dt": sp.Integer(1)}


def _white_residuals(context: RunContext, control: str) -> Formulas:
    """dp/dt − 2p(α − κp) and p(0) − w₀² of the stated time course p(t), with x = e^{2αt}."""
    import sympy as sp

    α, κ, w0, x = sp.symbols("alpha kappa w_0 x", positive=True)
    start = w0 if control == "w₀ for w₀²" else w0**2
    p = α * x / (κ * (x - 1) + α / start)

    exponent = 1 if control == "e^{αt}" else 2
    dp_dt = p.diff(x) * exponent * α * x  # ẋ = 2αx
    return {
        "rate": sp.cancel(dp_dt - 2 * p * (α - κ * p)),
        "start": sp.cancel(p.subs(x, 1) - w0**2),
    }


def _no_residuals(context: RunContext) -> Formulas:
    import sympy as sp

    return {"rate": sp.Integer(0), "start": sp.Integer(0)}


CLAIMS = (
    proof(
        "proofs.moments",
        "The loss on the restricted block has the moments c, B = ΛΩΛ and A in closed form",
        r"A = (1 + 1/N)\,\Lambda\Omega\Lambda + (\mathrm{tr}\,\Omega\Lambda + \sigma^2)\,\Lambda/N",
        "expectations of the definition, D = 2, any Ω, noise, N a symbol",
        measure=_derived_moments,
        predict=_stated_moments,
        controls=MOMENTS,
    ),
    proof(
        "proofs.merged_flow",
        "The gradient flow of merged attention is v̇ = ⟨G, U⟩, U̇ = v G",
        r"\dot v_h = \langle G, U_h\rangle,\quad \dot U_h = v_h G,\quad G = B - A M \Lambda",
        "gradient of the derived loss on the restricted block, two heads, D = 2",
        measure=_derived_merged_flow,
        predict=_merged_flow,
        controls=MOMENTS,
    ),
    proof(
        "proofs.separate_flow",
        "The gradient flow of separate attention is v̇ = kᵀGq, k̇ = v G q, q̇ = v Gᵀk",
        r"\dot v_h = k_h^\top G q_h,\quad \dot k_h = v_h G q_h,\quad \dot q_h = v_h G^\top k_h",
        "gradient of the derived loss on the restricted block, two heads, D = 2",
        measure=_derived_separate_flow,
        predict=_separate_flow,
        controls=MOMENTS,
    ),
    proof(
        "proofs.conservation",
        "Gradient flow of all weights conserves the quadratic invariants of both models",
        r"a_h\cdot a_g - \langle B_h, B_g\rangle,\quad |a_h|^2 - |k_h|^2,\quad |k_h|^2 - |q_h|^2",
        "rate of change of each invariant under the derived flow of all weights, D = 1",
        measure=_no_drift,
        predict=_drift,
        controls=("twice the keys", "sum for difference"),
    ),
    proof(
        "proofs.losses",
        "The loss at M_S is c minus the gains of S",
        r"L(M_S) = c - \sum_{d \in S} B_{dd}^2 / (A_{dd} \lambda_d)",
        "losses of the four fixed points that the engine finds, two merged; D = 2, any eigenvalues of Ω, noise",
        measure=_derived_losses,
        predict=_stated_losses,
        controls=MOMENTS,
    ),
    proof(
        "proofs.count",
        "The fixed-point equations of M have exactly 2^D solutions, over the complex numbers too",
        r"\#\{M : G M^\top = 0,\ G^\top M = 0\} = 2^D",
        "dimension of the quotient ring by a Gröbner basis, D = 1, 2, 3, all else symbols",
        measure=_counted_solutions,
        predict=_stated_counts,
        controls=("D + 1", "3^D"),
        hypotheses=("the gains are distinct",),
    ),
    proof(
        "proofs.scalar_equations",
        "Balanced heads on different directions obey scalar equations and do not interact",
        r"\dot v_d = \lambda_d^2 v_d^2 - \lambda_d a_d v_d^5",
        "reduction of the derived flow of all weights, two heads, D = 2",
        measure=_aligned_heads,
        predict=_scalar_equations,
        controls=(*MOMENTS, "exponent 4 for 5"),
    ),
    proof(
        "proofs.implicit_solution",
        "Φ solves the scalar equation implicitly: t = (Φ(v) − Φ(v₀))/α",
        r"t = (\Phi(v) - \Phi(v_0))/\alpha,\quad \dot v = \alpha(v^2 - \gamma v^5)",
        "rate of growth of Φ/α along the flow, which must be one",
        measure=_unit_slope,
        predict=_implicit_slope,
        controls=("½ for ⅓ before the logarithm", "arctangent dropped"),
    ),
    proof(
        "proofs.white_course",
        "The closed form for white inputs and a balanced start solves its equation",
        r"p(t) = \alpha e^{2\alpha t} / (\kappa (e^{2\alpha t} - 1) + \alpha/w_0^2)",
        "residuals of the equation and of the initial value, which must be zero",
        measure=_no_residuals,
        predict=_white_residuals,
        controls=("w₀ for w₀²", "e^{αt}"),
    ),
)
