"""Proofs on the loss: loss and flow follow from the definition of the layer, with all of its blocks."""

from itertools import product

from ....models.attention import Merged
from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_setting import (
    DECOUPLED,
    FOURTH,
    HALF,
    LAWS,
    LONGER,
    MODES,
    MOMENT_CONTROLS,
    NOISE,
    ONE,
    TRACE,
    Law,
    derived,
    exact,
    layer_of,
    proof,
    stated_loss,
    stated_moments,
    symbols,
)

NO_CROSS = "4 p1 p2 q1 q2 left out"
GAUSSIAN_FOURTH = "1 for the 2 of E l⁴ − 1"


# Loss and flow from the definition


def _derived_losses(context: RunContext) -> Formulas:
    """The loss of each law, from the definition."""
    return {str(law): derived(law).loss.expression for law in LAWS}


def _stated_losses(context: RunContext, control: str) -> Formulas:
    """The same as stated."""
    return {str(law): stated_loss(law, layer_of(derived(law)), control) for law in LAWS}


def _derived_flow(context: RunContext) -> Formulas:
    """ṗ and q̇ of all entries on a shared basis, D = 1 and 2."""
    rates = {}
    for law in (ONE, MODES):
        for weight, rate in derived(law).flow.items():
            rates[f"{law}, {weight}"] = rate
    return rates


# Long because every entry of p and q is one equation.
def _stated_flow(context: RunContext, control: str) -> Formulas:
    """Off the diagonal ṗ_ij = −p_ij (…) and q̇_ij = −q_ij (…) with positive brackets; on it ωλ²q and ωλ²p more."""
    rates: dict[str, Expr] = {}
    for law in (ONE, MODES):
        λ, ω, _, _, _ = symbols(law.dimension)
        p, q = layer_of(derived(law))
        of_p, of_q = _contractions(law, control)
        for i, j in product(range(law.dimension), repeat=2):
            signal = ω[i] * λ[i] ** 2 if i == j else 0
            rates[f"{law}, {p[i, j]}"] = signal * q[i, i] - p[i, j] * of_p[j]
            rates[f"{law}, {q[i, j]}"] = signal * p[i, i] - q[i, j] * λ[j] * of_q[i]
    return rates


# Long because every control changes one number of the same formula.
def _contractions(law: Law, control: str) -> tuple[list[Expr], list[Expr]]:
    """ω(E_Q)_dd + σ² tr(QΛ)/N (D,), and (1 + 1/N) c λ² + λ (Σ cλ + σ²|p|²)/N (D,) with c = ω (pᵀp)_dd."""
    λ, ω, _, σ, length = symbols(law.dimension)
    layer = layer_of(derived(law))
    moments = stated_moments(law, layer, control)
    length += 1 if control == LONGER else 0
    fourth = 1 if control == FOURTH else 1 + 1 / length
    noise = 0 if control == NOISE else 1
    directions = range(law.dimension)
    c = [ω[d] * (layer.p.T * layer.p)[d, d] for d in directions]
    pressure = noise * σ**2 * sum(entry**2 for entry in layer.p)
    if control != TRACE:
        pressure += sum(c[d] * λ[d] for d in directions)
    of_p = [ω[d] * moments.average[d, d] + noise * moments.noise for d in directions]
    of_q = [fourth * c[d] * λ[d] ** 2 + λ[d] * pressure / length for d in directions]
    return of_p, of_q


# All four blocks


def _derived_blocks(context: RunContext) -> Formulas:
    """Rates of the null blocks where they are zero, and the loss of diagonal blocks without the query's own token."""
    import sympy as sp

    formulas: dict[str, Expr] = {}
    for law in (ONE, MODES):
        whole = derived(law, "full")
        moving = set(derived(law).weights)
        null = {
            weight: sp.Integer(0) for weight in whole.weights if weight not in moving
        }
        for weight in null:
            formulas[f"{law}, rate of {weight}"] = whole.flow[weight].subs(null)
    formulas["diagonal blocks"] = _loss_of_blocks()
    return formulas


# Long because the loss is taken at every entry of four blocks.
def _loss_of_blocks() -> Expr:
    """The loss of four diagonal blocks, D = 2, ω = 1, σ = 0, where attention does not read the query's own token."""
    import sympy as sp

    from ....theory.symbolic import derive, symbolic_task

    task = symbolic_task(2, shared_basis=True)
    whole = derive(task, Merged(heads=1, outputs=2, query_token=False))
    value, key_query = whole.arrays["value"][0], whole.arrays["key_query"][0]
    blocks = _block_symbols()
    values: dict[Expr, Expr] = {}
    for d, (p1, p2, q1, q2) in enumerate(blocks):
        values |= {value[d, d]: p1, value[d, d + 2]: p2}
        values |= {key_query[d, d]: q1, key_query[d + 2, d]: q2}
    zero = sp.Integer(0)
    point = {weight: values.get(weight, zero) for weight in whole.weights}
    return whole.loss.expression.subs(point, simultaneous=True)


def _block_symbols() -> list[list[Expr]]:
    """p1, p2, q1 and q2 of each mode."""
    import sympy as sp

    names = ("p1", "p2", "q1", "q2")
    return [[sp.Symbol(f"{name}_{d}", real=True) for name in names] for d in (1, 2)]


# Long because the formula has four terms, and every control leaves one out.
def _stated_blocks(context: RunContext, control: str) -> Formulas:
    """No rate; L = Σλ − 2Σλ²(p1q2 + p2q1) + (1+1/N)Σλ³PQ + (ΣλP)(Σλ²Q)/N + (1+2/N)Σλ³(2p2²q2² + 4p1p2q1q2)."""
    λ, _, _, _, N = symbols()
    cross = 0 if control == NO_CROSS else 4
    fourth = 1 if control == GAUSSIAN_FOURTH else 2
    coupling = 0 if control == DECOUPLED else 1 / N
    loss, of_p, of_q = sum(λ), 0, 0
    for d, (p1, p2, q1, q2) in enumerate(_block_symbols()):
        P, Q = p1**2 + p2**2, q1**2 + q2**2
        of_p += λ[d] * P
        of_q += λ[d] ** 2 * Q
        loss += -2 * λ[d] ** 2 * (p1 * q2 + p2 * q1) + (1 + 1 / N) * λ[d] ** 3 * P * Q
        mixed = fourth * p2**2 * q2**2 + cross * p1 * p2 * q1 * q2
        loss += (1 + 2 / N) * λ[d] ** 3 * mixed
    formulas = dict.fromkeys(_derived_names(), 0)
    return exact(formulas | {"diagonal blocks": loss + coupling * of_p * of_q})


def _derived_names() -> list[str]:
    """The names of the rates of null blocks."""
    names = []
    for law in (ONE, MODES):
        moving = set(derived(law).weights)
        weights = derived(law, "full").weights
        names += [f"{law}, rate of {w}" for w in weights if w not in moving]
    return names


CLAIMS = (
    proof(
        "modes_proof.loss",
        "The loss of any p and q follows from the definition of the layer, on a shared basis and on Γ ⊗ Ω",
        r"L = \sum \omega\lambda + K\sigma^2 - 2\sum \omega\lambda^2 p_{ii} q_{ii} + \sum (p^\top p)_{ii}\,\omega_i "
        r"(E_Q)_{ii} + \tfrac{\sigma^2}{N} \|p\|^2 \mathrm{tr}\,Q\Lambda",
        "Gaussian moments of the definition, D = K ≤ 2 and K = 2, D = 1; all variances, σ and N symbols; L without ½",
        equation="loss of one layer",
        measure=_derived_losses,
        predict=_stated_losses,
        controls=(*MOMENT_CONTROLS, HALF),
    ),
    proof(
        "modes_proof.flow",
        "Diagonal weights stay diagonal on unlimited data, and entries off the diagonal only contract",
        r"\dot p_{ij} = \delta_{ij}\,\omega\lambda^2 q - p_{ij}\,(\omega_j (E_Q)_{jj} + \tfrac{\sigma^2}{N} "
        r"\mathrm{tr}\,Q\Lambda)",
        "−½ ∂L/∂θ of the derived loss for every entry of p and q, D = 1 and 2",
        equation="mode-wise dynamics",
        measure=_derived_flow,
        predict=_stated_flow,
        controls=MOMENT_CONTROLS,
    ),
    proof(
        "modes_proof.blocks",
        "Null blocks that are zero do not move, and the loss of four diagonal blocks has mixed terms",
        r"L = \ldots + (1 + \tfrac{2}{N}) \sum \lambda^3 (2 p_2^2 q_2^2 + 4 p_1 p_2 q_1 q_2)",
        "rates of p1 and q2 at zero, D = 1 and 2; the loss of diagonal blocks without the query's token, D = 2",
        equation="loss of one layer",
        measure=_derived_blocks,
        predict=_stated_blocks,
        controls=(NO_CROSS, GAUSSIAN_FOURTH, DECOUPLED),
    ),
)
