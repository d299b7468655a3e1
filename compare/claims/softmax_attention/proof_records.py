"""What the proofs of this wing share: their symbols, the approximate loss in symbols, and the record of a claim."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from ...evidence.claim import Claim
from ...evidence.identities import Expr, identical


class Symbols(NamedTuple):
    """D, κ and σ², each a positive symbol, so that what is proved holds for all their values."""

    D: Expr
    κ: Expr
    σ2: Expr


def symbols() -> Symbols:
    """The symbols of a task."""
    import sympy as sp

    return Symbols(*sp.symbols("D kappa sigma2", positive=True))


def approximate_loss(omega: Sequence[Expr], mu: Sequence[Expr]) -> Expr:
    """L̃ = 1 + σ² − 2 μᵀω + (μᵀω)² + κ μᵀE μ with E_hk = exp(D ω_h ω_k): the definition, for any number of heads."""
    import sympy as sp

    D, κ, σ2 = symbols()
    heads = list(zip(omega, mu, strict=True))
    η = sum(μ * ω for ω, μ in heads)
    noise = 0
    for ω_h, μ_h in heads:
        for ω_k, μ_k in heads:
            noise += μ_h * μ_k * sp.exp(D * ω_h * ω_k)
    return 1 + σ2 - 2 * η + η**2 + κ * noise


def proof(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim of level "proved" on He et al. 2025; `fields` are further ones or replace those set here."""
    common: dict[str, Any] = {
        "paper": "he2025",
        "judge": identical,
        "evidence_level": "proved",
        "expected_level": "proved",
        "limit": "none: an identity",
        "tier": "fast",
    }
    return Claim(
        id=name,
        title=title,
        statement=statement,
        observable=observable,
        **common | fields,
    )
