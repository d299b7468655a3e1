"""Proofs: the formulas themselves, derived in symbols from the definition."""

from itertools import chain, combinations
from typing import Any

from .....models.attention import Merged, Separate
from ....evidence.claim import UNMODIFIED, RunContext
from ..common.controls import MOMENTS
from .identities import (
    Expr,
    Formulas,
    block_flow,
    entries,
    named,
    problem,
    proof,
    stated_moments,
)


def _derived_moments(context: RunContext) -> Formulas:
    from .....theory.symbolic import effective_map, moments

    form, block = (
        effective_map(Separate(1), problem()),
        moments(problem(), block="restricted"),
    )
    derived = (
        {"c": form.c, "c of the block": block.c}
        | entries("B", form.B)
        | entries("A", form.A)
    )
    return (
        derived
        | entries("b of the block", block.b)
        | entries("S of the block", block.S)
    )


def _stated_moments(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    c, B, A = stated_moments(problem(), control)
    stated = {"c": c, "c of the block": c} | entries("B", B) | entries("A", A)
    S = sp.kronecker_product(A, problem().covariance)
    return (
        stated
        | entries("b of the block", B.reshape(4, 1))
        | entries("S of the block", S)
    )


def _merged_flow(context: RunContext, control: str) -> Formulas:
    _, v, heads = block_flow(Merged(2), problem("diagonal"))
    U = heads["key_query"]
    G = _force(v[0] * U[0] + v[1] * U[1], control)
    stated = {v[h]: (G.T * U[h]).trace() for h in range(2)}
    for h in range(2):
        stated |= dict(zip(U[h], v[h] * G, strict=True))
    return named(stated)


def _separate_flow(context: RunContext, control: str) -> Formulas:
    _, v, heads = block_flow(Separate(2), problem("diagonal"))
    k, q = heads["key"], heads["query"]
    G = _force(v[0] * k[0].T * q[0] + v[1] * k[1].T * q[1], control)
    stated: dict[Expr, Expr] = {}
    for h in range(2):
        stated |= {v[h]: (k[h] * G * q[h].T)[0]}
        stated |= dict(zip(k[h], v[h] * q[h] * G.T, strict=True)) | dict(
            zip(q[h], v[h] * k[h] * G, strict=True)
        )
    return named(stated)


def _force(M: Expr, control: str) -> Expr:
    _, B, A = stated_moments(problem("diagonal"), control)
    return B - A * M * problem("diagonal").covariance


def _conserved(context: RunContext, control: str) -> Formulas:
    """Stated invariants of both models on the full block: their rates of change, which should be zero."""
    from .....theory.symbolic import (
        flow_equations,
        population_loss,
        symbolic_task,
        weight_symbols,
    )

    factor, rates = (2 if control == "twice the keys" else 1), {}
    for name, model in (("merged", Merged(2)), ("separate", Separate(1))):
        flow = flow_equations(population_loss(model, symbolic_task(1)))
        w = weight_symbols(model, 1)
        if name == "merged":
            pairs = [(0, 0), (0, 1), (1, 1)]
            laws = {
                f"heads {h + 1}, {g + 1}": w["value"][h] @ w["value"][g]
                - factor * (w["key_query"][h] * w["key_query"][g]).sum()
                for h, g in pairs
            }
        else:
            key, query = w["key"].ravel(), w["query"].ravel()
            sign = 1 if control == "sum for difference" else -1
            laws = {"value, key": w["value"][0] @ w["value"][0] - factor * key @ key}
            laws |= {"key, query": key @ key + sign * query @ query}
        for law, quantity in laws.items():
            rates[f"{name}, {law}"] = sum(
                quantity.diff(each) * right for each, right in flow.items()
            )
    return rates


def _no_change(context: RunContext) -> Formulas:
    import sympy as sp

    return dict.fromkeys(_conserved(context, UNMODIFIED), sp.Integer(0))


def _derived_losses(context: RunContext) -> Formulas:
    """Losses of the fixed points that the engine finds, D = 2, diagonal teachers, noise."""
    from .....theory.symbolic import fixed_points

    models: dict[str, Merged | Separate] = {
        "rank one": Separate(2),
        "rank two": Separate(1, rank=2),
        "one head": Separate(1),
        "merged": Merged(1),
    }
    found = {
        name: fixed_points(problem("diagonal"), model) for name, model in models.items()
    }
    return {
        f"{name}, {point.subset}": point.loss
        for name, points in found.items()
        for point in points
    }


def _stated_losses(context: RunContext, control: str) -> Formulas:
    task = problem("diagonal")
    c, B, A = stated_moments(task, control)
    gains = [B[d, d] ** 2 / (A[d, d] * task.covariance[d, d]) for d in range(2)]
    subsets = chain.from_iterable(combinations(range(2), size) for size in range(3))
    losses = {tuple(d + 1 for d in S): c - sum(gains[d] for d in S) for S in subsets}
    separate = {
        f"rank {rank}, {S}": loss
        for rank in ("one", "two")
        for S, loss in losses.items()
    }
    fewer = {f"one head, {S}": losses[S] for S in ((), (1,), (2,))}
    return separate | fewer | {f"merged, {S}": losses[S] for S in ((), (1, 2))}


def _solutions(context: RunContext) -> Formulas:
    """Solutions of G Mᵀ = 0, Gᵀ M = 0, counted by a Gröbner basis over the complex numbers, D = 1, 2, 3."""
    import sympy as sp

    from .....theory.symbolic.dynamics.completeness_proofs import completeness

    return {
        f"D = {D}": sp.Integer(completeness(problem("diagonal", D)).count)
        for D in (1, 2, 3)
    }


def _powers(context: RunContext, control: str) -> Formulas:
    import sympy as sp

    counts = {UNMODIFIED: (2, 4, 8), "D + 1": (2, 3, 4), "3^D": (3, 9, 27)}[control]
    return {
        f"D = {D}": sp.Integer(count)
        for D, count in zip((1, 2, 3), counts, strict=True)
    }


def _aligned_heads(context: RunContext) -> Formulas:
    """Equations of two heads, each balanced on a direction of its own, reduced from the flow of all weights."""
    from .....theory.symbolic.dynamics.reduction import reduce

    flow, v, heads = block_flow(Separate(2), problem("white"))
    z = _amplitudes(2)
    ansatz = dict(zip(v, z, strict=True))
    ansatz |= {
        heads[name][h][0, h]: z[h] for name in ("key", "query") for h in range(2)
    }
    return named(reduce(flow, ansatz).equations)


def _amplitudes(count: int) -> Any:
    import sympy as sp

    return sp.symbols(f"v_1:{count + 1}", real=True)


def _scalar_equations(context: RunContext, control: str) -> Formulas:
    task = problem("white")
    _, B, A = stated_moments(task, control if control in MOMENTS else UNMODIFIED)
    power = 4 if control == "exponent 4 for 5" else 5
    each = enumerate(_amplitudes(2))
    return named(
        {
            z: B[d, d] * z**2 - task.covariance[d, d] * A[d, d] * z**power
            for d, z in each
        }
    )


def _implicit_slope(context: RunContext, control: str) -> Formulas:
    """dΦ/dt along v̇ = α(v² − γ v⁵), divided by α: one, if t = (Φ(v) − Φ(v₀))/α."""
    import sympy as sp

    v, g = sp.symbols("v g", positive=True)  # g³ = γ
    y, third = (
        g * v,
        sp.Rational(1, 2 if control == "½ for ⅓ before the logarithm" else 3),
    )
    logs = -third * sp.log(1 - y) + sp.log(1 + y + y**2) / 6
    angle = sp.atan((2 * y + 1) / sp.sqrt(3)) / sp.sqrt(3)
    primitive = -1 / v + g * (logs - (0 if control == "arctangent dropped" else angle))
    return {"dΦ/dt": sp.cancel(sp.together(primitive.diff(v))) * (v**2 - g**3 * v**5)}


def _one(context: RunContext) -> Formulas:
    import sympy as sp

    return {"dΦ/dt": sp.Integer(1)}


def _white_course(context: RunContext, control: str) -> Formulas:
    """dp/dt − 2p(α − κp) and p(0) − w₀² of the stated time course p(t), with x = e^{2αt}."""
    import sympy as sp

    α, κ, w0, x = sp.symbols("alpha kappa w_0 x", positive=True)
    start = w0 if control == "w₀ for w₀²" else w0**2
    p = α * x / (κ * (x - 1) + α / start)
    clock = 1 if control == "e^{αt}" else 2
    slope = p.diff(x) * clock * α * x
    return {
        "rate": sp.cancel(slope - 2 * p * (α - κ * p)),
        "start": sp.cancel(p.subs(x, 1) - w0**2),
    }


def _zeros(context: RunContext) -> Formulas:
    import sympy as sp

    return {"rate": sp.Integer(0), "start": sp.Integer(0)}


CLAIMS = (
    proof(
        "proofs.moments",
        "The moments of the restricted block are c, B and A",
        r"A = (1 + 1/N)\,\Lambda\Omega\Lambda + (\mathrm{tr}\,\Omega\Lambda + \sigma^2)\,\Lambda/N",
        "expectations of the definition, D = 2, any Ω, noise, N a symbol",
        measure=_derived_moments,
        predict=_stated_moments,
        controls=MOMENTS,
    ),
    proof(
        "proofs.merged_flow",
        "Merged attention flows by v' = ⟨G, U⟩, U' = v G",
        r"\dot v_h = \langle G, U_h\rangle,\quad \dot U_h = v_h G,\quad G = B - A M \Lambda",
        "gradient of the derived loss on the restricted block, two heads, D = 2",
        measure=lambda context: named(block_flow(Merged(2), problem("diagonal"))[0]),
        predict=_merged_flow,
        controls=MOMENTS,
    ),
    proof(
        "proofs.separate_flow",
        "Separate attention flows by v' = kᵀGq, k' = vGq, q' = vGᵀk",
        r"\dot v_h = k_h^\top G q_h,\quad \dot k_h = v_h G q_h,\quad \dot q_h = v_h G^\top k_h",
        "gradient of the derived loss on the restricted block, two heads, D = 2",
        measure=lambda context: named(block_flow(Separate(2), problem("diagonal"))[0]),
        predict=_separate_flow,
        controls=MOMENTS,
    ),
    proof(
        "proofs.conservation",
        "Both models keep their quadratic invariants, on all weights",
        r"a_h\cdot a_g - \langle B_h, B_g\rangle,\quad |a_h|^2 - |k_h|^2,\quad |k_h|^2 - |q_h|^2",
        "rate of change of each invariant under the derived flow of all weights, D = 1",
        measure=_no_change,
        predict=_conserved,
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
        "There are 2^D fixed points and no other, over the complex numbers",
        r"\#\{M : G M^\top = 0,\ G^\top M = 0\} = 2^D",
        "dimension of the quotient ring by a Gröbner basis, D = 1, 2, 3, all else symbols",
        measure=_solutions,
        predict=_powers,
        controls=("D + 1", "3^D"),
        hypotheses=("the gains are distinct",),
    ),
    proof(
        "proofs.scalar_equations",
        "Balanced heads on directions of their own obey scalar equations and do not interact",
        r"\dot v_d = \lambda_d^2 v_d^2 - \lambda_d a_d v_d^5",
        "reduction of the derived flow of all weights, two heads, D = 2",
        measure=_aligned_heads,
        predict=_scalar_equations,
        controls=(*MOMENTS, "exponent 4 for 5"),
    ),
    proof(
        "proofs.implicit_solution",
        "The scalar equation has the implicit solution Φ",
        r"t = (\Phi(v) - \Phi(v_0))/\alpha,\quad \dot v = \alpha(v^2 - \gamma v^5)",
        "the rate one, at which Φ/α must grow",
        measure=_one,
        predict=_implicit_slope,
        controls=("½ for ⅓ before the logarithm", "arctangent dropped"),
    ),
    proof(
        "proofs.white_course",
        "The white time course from a balanced start solves its equation",
        r"p(t) = \alpha e^{2\alpha t} / (\kappa (e^{2\alpha t} - 1) + \alpha/w_0^2)",
        "what the equation and the start leave over: zero",
        measure=_zeros,
        predict=_white_course,
        controls=("w₀ for w₀²", "e^{αt}"),
    ),
)
