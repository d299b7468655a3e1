"""What the proofs of this wing share: tasks and losses in symbols, the stated loss, and the record of a claim."""

from collections.abc import Mapping
from functools import cache
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from ....models.attention import Merged
from ...evidence.claim import Claim
from ...evidence.identities import Expr, Formulas, identical

if TYPE_CHECKING:
    from ....theory.symbolic import Derivation, SymbolicTask

TRACE = "tr(QΛ) Λ/N left out"
FOURTH = "1 for 1 + 1/N"
LONGER = "N + 1 for N"
NOISE = "σ² tr Λ for (σ²/N)|p|² tr QΛ"
DECOUPLED = "T_p T_q/N left out, as mode by mode"
OTHER_SIGN = "+ for − in the square"
HALF = "the loss with the factor ½"
MOMENT_CONTROLS = (TRACE, FOURTH, LONGER, NOISE)


class Law(NamedTuple):
    """Teachers on a shared basis or of Γ ⊗ Ω, with D inputs and K outputs; variances and noise are symbols."""

    shared_basis: bool
    dimension: int
    outputs: int

    def __str__(self) -> str:
        kind = "shared basis" if self.shared_basis else "Kronecker"
        return f"{kind}, D = {self.dimension}, K = {self.outputs}"


ONE, MODES = Law(True, 1, 1), Law(True, 2, 2)
LAWS = (ONE, MODES, Law(False, 1, 2), Law(False, 2, 2))


@cache
def problem(law: Law) -> "SymbolicTask":
    """The task in symbols: λ_d, σ, and ω_d, or γ_k and ω_d."""
    from ....theory.symbolic import symbolic_task

    return symbolic_task(
        law.dimension,
        teachers="diagonal",
        noise=True,
        outputs=law.outputs,
        shared_basis=law.shared_basis,
    )


@cache  # several claims need the same loss
def derived(law: Law, block: Any = "restricted") -> "Derivation":
    """Loss and flow of the layer, from the definition."""
    from ....theory.symbolic import derive

    return derive(problem(law), Merged(heads=1, outputs=law.outputs), block)


class Layer(NamedTuple):
    """p (K, K) and q (D, D) of a derivation, as matrices of its symbols."""

    p: Expr
    q: Expr


def layer_of(derivation: "Derivation") -> Layer:
    """The blocks that move: of the value the rows on labels, of the key-query matrix those on x."""
    import sympy as sp

    D, K = derivation.task.dimension, derivation.task.outputs
    value = derivation.arrays["value"].reshape(K, D + K)
    q = derivation.arrays["key_query"][0, :D, :D]
    return Layer(sp.Matrix(value[:, D:]), sp.Matrix(q))


class Symbols(NamedTuple):
    """λ, ω and r (D,) of modes, σ and N."""

    λ: list[Expr]
    ω: list[Expr]
    r: list[Expr]
    σ: Expr
    N: Expr


def symbols(dimension: int = 2) -> Symbols:
    """The positive symbols of a task of modes, and r for √(ωλ + σ²)."""
    import sympy as sp

    from ....theory.symbolic import N

    def numbered(name: str) -> list[Expr]:
        return [sp.Symbol(f"{name}_{d + 1}", positive=True) for d in range(dimension)]

    σ = sp.Symbol("sigma", positive=True)
    return Symbols(numbered("lambda"), numbered("omega"), numbered("r"), σ, N)


def on_diagonal(expression: Expr, derivation: "Derivation") -> Expr:
    """An expression where p = diag(p_1, p_2) and q = diag(q_1, q_2)."""
    p, q = amplitudes()
    blocks = layer_of(derivation)
    values = {}
    for i, j in product(range(2), repeat=2):
        values[blocks.p[i, j]] = p[i] if i == j else 0
        values[blocks.q[i, j]] = q[i] if i == j else 0
    return expression.subs(values, simultaneous=True)


def amplitudes() -> tuple[list[Expr], list[Expr]]:
    """p_d and q_d of diagonal weights, D = 2."""
    import sympy as sp

    p = [sp.Symbol(f"p_{d}", real=True) for d in (1, 2)]
    q = [sp.Symbol(f"q_{d}", real=True) for d in (1, 2)]
    return p, q


def in_roots(expression: Expr) -> Expr:
    """An expression in r in place of ω = (r² − σ²)/λ, so that it is rational."""
    import sympy as sp

    λ, ω, r, σ, _ = symbols()
    values = {ω[d]: (r[d] ** 2 - σ**2) / λ[d] for d in range(2)}
    return sp.sympify(expression).subs(values, simultaneous=True)


class Moments(NamedTuple):
    """E_Q = E[Σ̂QΣ̂] (D, D), tr(QΛ), and the factor of the noise |p|² σ²; each as stated, or in a wrong variant."""

    average: Expr
    trace: Expr
    noise: Expr


def stated_moments(law: Law, layer: Layer, control: str) -> Moments:
    """(1 + 1/N) ΛQΛ + tr(QΛ) Λ/N with Q = q Λ qᵀ, and σ² tr(QΛ)/N."""
    _, _, _, σ, N = symbols(law.dimension)
    Λ = problem(law).covariance
    Q = layer.q * Λ * layer.q.T
    length = N + 1 if control == LONGER else N
    fourth = 1 if control == FOURTH else 1 + 1 / length
    trace = (Q * Λ).trace()
    coupling = 0 if control == TRACE else trace / length
    noise = σ**2 * trace / length
    return Moments(fourth * Λ * Q * Λ + coupling * Λ, trace, noise)


def stated_loss(law: Law, layer: Layer, control: str) -> Expr:
    """L of any p and q on a shared basis, or on Γ ⊗ Ω, as stated, or a wrong variant."""
    λ, _, _, σ, _ = symbols(law.dimension)
    moments = stated_moments(law, layer, control)
    noise = moments.noise * sum(entry**2 for entry in layer.p)
    if control == NOISE:
        noise = σ**2 * sum(λ)
    terms = _on_modes if law.shared_basis else _on_products
    loss = terms(law, layer, moments) + law.outputs * σ**2 + noise
    return loss / 2 if control == HALF else loss


def _on_modes(law: Law, layer: Layer, moments: Moments) -> Expr:
    """Σωλ − 2 Σωλ² p_ii q_ii + Σ (pᵀp)_ii ω_i (E_Q)_ii."""
    λ, ω, _, _, _ = symbols(law.dimension)
    p, q = layer
    squares = p.T * p
    loss = 0
    for d in range(law.dimension):
        signal = ω[d] * λ[d] ** 2 * p[d, d] * q[d, d]
        loss += ω[d] * λ[d] - 2 * signal
        loss += squares[d, d] * ω[d] * moments.average[d, d]
    return loss


def _on_products(law: Law, layer: Layer, moments: Moments) -> Expr:
    """tr Γ tr ΩΛ − 2 tr(pΓ) tr(ΩΛqᵀΛ) + tr(pΓpᵀ) tr(Ω E_Q)."""
    Γ, Ω = kronecker_factors(law)
    Λ = problem(law).covariance
    p, q = layer
    signal = (p * Γ).trace() * (Ω * Λ * q.T * Λ).trace()
    power = (p * Γ * p.T).trace() * (Ω * moments.average).trace()
    return Γ.trace() * (Ω * Λ).trace() - 2 * signal + power


def exact(formulas: Mapping[str, object]) -> Formulas:
    """Formulas of which some are plain numbers."""
    import sympy as sp

    return {name: sp.sympify(value) for name, value in formulas.items()}


def kronecker_factors(law: Law) -> tuple[Expr, Expr]:
    """Γ = diag(γ_k) and Ω = diag(ω_d)."""
    import sympy as sp

    ω = symbols(law.dimension).ω
    γ = [sp.Symbol(f"gamma_{k + 1}", positive=True) for k in range(law.outputs)]
    return sp.diag(*γ), sp.diag(*ω)


def proof(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim of level "proved" on Mainali and Teixeira 2025; `fields` are further ones or replace these."""
    common: dict[str, Any] = {
        "paper": "mainali2025",
        "judge": identical,
        "evidence_level": "proved",
        "expected_level": "proved",
        "limit": "none: an identity",
        "beyond_paper": True,
        "tier": "fast",
    }
    return Claim(
        id=name,
        title=title,
        statement=statement,
        observable=observable,
        **common | fields,
    )
