"""Proofs on the slow end of the flow of L̃: its valley, where ω is at rest for the moment, and the tail it ends in."""

from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_records import approximate_loss, proof, symbols

FLOW = "training dynamics of the reduced model"

QUARTER = "exponent −1/4 for −1/3"
TWO_THIRDS = "2/3 for 4/3"
HALF_OF_ALL = "n_eff = H/2"
SINH = "sinh s for cosh s"


def _s() -> Expr:
    """s = Dγ²."""
    import sympy as sp

    return sp.Symbol("s", positive=True)


def _pair_rates() -> tuple[Expr, Expr]:
    """−½ ∂L̃/∂ω₁ and −½ ∂L̃/∂μ₁ of two heads at ω = ±γ, μ = ±m with s = Dγ² and η = 2γm, from the definition."""
    import sympy as sp

    D = symbols().D
    ω, μ = sp.symbols("omega_1:3", real=True), sp.symbols("mu_1:3", real=True)
    η = sp.Symbol("eta", positive=True)
    loss = approximate_loss(ω, μ)
    γ = sp.sqrt(_s() / D)
    m = η / (2 * γ)
    at = {ω[0]: γ, ω[1]: -γ, μ[0]: m, μ[1]: -m}
    by_ω = -loss.diff(ω[0]).subs(at) / 2
    by_μ = -loss.diff(μ[0]).subs(at) / 2
    return by_ω, by_μ


def _derived_valley(context: RunContext) -> Formulas:
    """η at which ω is at rest, the rate of m there, and what follows for s, up to its leading order."""
    import sympy as sp

    D, κ, _ = symbols()
    s, η = _s(), sp.Symbol("eta", positive=True)
    by_ω, by_μ = _pair_rates()
    (η_at_rest,) = sp.solve(by_ω, η)
    m_rate = by_μ.subs(η, η_at_rest)
    m = η_at_rest / (2 * sp.sqrt(s / D))
    s_rate = m_rate / m.diff(s)
    time, count = sp.symbols("t n", positive=True)
    tail = (4 * κ * count * time) ** sp.Rational(-1, 3)
    return {
        "η": η_at_rest,
        "rate of m": m_rate,
        "rate of s over s⁴": sp.limit(s_rate / s**4, s, 0),
        "rate of the tail": tail.diff(time),
        "tail": tail,
    }


def _stated_valley(context: RunContext, control: str) -> Formulas:
    """η(1 + κD cosh s) = 1, m' = γηκD(cosh s − sinh s/s), s' ≃ −(4/3) n κ s⁴ and s = (4κ n t)^{−1/3}."""
    import sympy as sp

    D, κ, _ = symbols()
    s = _s()
    time, count = sp.symbols("t n", positive=True)
    width = sp.sinh(s) if control == SINH else sp.cosh(s)
    η = 1 / (1 + κ * D * width)
    third = sp.Rational(2 if control == TWO_THIRDS else 4, 3)
    power = 4 if control == QUARTER else 3
    tail = (4 * κ * count * time) ** sp.Rational(-1, power)
    return {
        "η": η,
        "rate of m": sp.sqrt(s / D) * η * κ * D * (width - sp.sinh(s) / s),
        "rate of s over s⁴": -third * κ,
        "rate of the tail": -third * count * κ * tail**4,
        "tail": tail,
    }


def _derived_numbers(context: RunContext) -> Formulas:
    """Rate of Δ = (P − Q)/2 with P = Σ μ of n₊ heads at γ and Q of n₋ heads at −γ, once P + Q is at rest."""
    import sympy as sp

    half_difference, total = sp.symbols("Delta S", real=True)
    plus, minus = sp.symbols("n_plus n_minus", positive=True)
    P, Q = sp.symbols("P Q", real=True)
    loss = _loss_of_groups(P, Q)
    at = {P: total / 2 + half_difference, Q: total / 2 - half_difference}
    # Every head of a group moves by −½ of the derivative by the group's sum.
    P_rate = (-plus * loss.diff(P) / 2).subs(at)
    Q_rate = (-minus * loss.diff(Q) / 2).subs(at)
    (total_at_rest,) = sp.solve(sp.expand(P_rate + Q_rate), total)
    return {
        "rate of Δ": ((P_rate - Q_rate) / 2).subs(total, total_at_rest),
        "groups": _loss_of_groups(P, Q),
    }


def _loss_of_groups(P: Expr, Q: Expr) -> Expr:
    """L̃ of heads at γ whose values add up to P, and at −γ whose values add up to Q."""
    import sympy as sp

    D, κ, σ2 = symbols()
    γ = sp.Symbol("gamma", positive=True)
    s = D * γ**2
    η = γ * (P - Q)
    noise = sp.exp(s) * (P**2 + Q**2) + 2 * sp.exp(-s) * P * Q
    return 1 + σ2 - 2 * η + η**2 + κ * noise


def _stated_numbers(context: RunContext, control: str) -> Formulas:
    """n_eff (γ(1 − η) − 2κΔ sinh s) with n_eff = 2n₊n₋/(n₊ + n₋) and η = 2γΔ; one pair has n_eff = 1."""
    import sympy as sp

    D, κ, _ = symbols()
    γ = sp.Symbol("gamma", positive=True)
    Δ = sp.Symbol("Delta", real=True)
    P, Q = sp.symbols("P Q", real=True)
    plus, minus = sp.symbols("n_plus n_minus", positive=True)
    number = 2 * plus * minus / (plus + minus)
    if control == HALF_OF_ALL:
        number = (plus + minus) / 2
    pair_rate = γ * (1 - 2 * γ * Δ) - 2 * κ * Δ * sp.sinh(D * γ**2)
    first, second = P / 3, 2 * P / 3
    return {
        "rate of Δ": number * pair_rate,
        # The definition, with two unequal heads at γ and one at −γ.
        "groups": approximate_loss([γ, γ, -γ], [first, second, Q]),
    }


CLAIMS = (
    proof(
        "softmax.valley_proof",
        "In the valley of the approximate loss s = Dγ² falls as (4κ n_eff t)^(−1/3), in any metric",
        r"\eta\,(1 + \kappa D\cosh s) = 1,\quad \dot m = \gamma\eta\kappa D\,(\cosh s - \sinh s/s),\quad "
        r"\dot s \simeq -\tfrac43 n_{\mathrm{eff}}\,\kappa s^4",
        "the point of rest of ω solved from the gradient of L̃, the rate of m there, and the leading order of s",
        equation=FLOW,
        beyond_paper=True,
        limit="flow time → ∞: s → 0",
        hypotheses=("ω follows μ at rest: it moves faster in the valley",),
        measure=_derived_valley,
        predict=_stated_valley,
        controls=(QUARTER, TWO_THIRDS, SINH),
    ),
    proof(
        "softmax.numbers_proof",
        "Unequal numbers of heads of each sign move along the valley as n_eff = 2n₊n₋/(n₊ + n₋) pairs",
        r"n_{\mathrm{eff}} = \frac{2 n_+ n_-}{n_+ + n_-}",
        "rate of the difference of both groups with their sum at rest; n₊, n₋, γ and all parameters symbols",
        equation=FLOW,
        beyond_paper=True,
        limit="flow time → ∞",
        hypotheses=(
            "all heads have one |ω|",
            "Σ μ follows at rest: it decays at rate Hκ",
        ),
        measure=_derived_numbers,
        predict=_stated_numbers,
        controls=(HALF_OF_ALL,),
    ),
)
