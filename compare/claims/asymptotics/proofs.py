"""Proofs on the closed form as D → ∞: the effective ridge, the gap without cancellation, and its limits in κ."""

from typing import Any, NamedTuple

from ...evidence.claim import Claim, RunContext
from ...evidence.identities import Expr, Formulas, identical

SWAPPED = "κτ in place of κ/τ"
FORGOTTEN = "(1 − τ)/M for (1 − τ)/(τM)"
NO_VARIANCE = "the second term left out"
SIGN = "1 − s for 1 + s"
ONE_ROOT = "√x for ½ √x"
SQUARES = "κ² over (κ − 1)² for the cubes"
ONE_MINUS = "1 − κ² for 1 − κ"


class _Limit(NamedTuple):
    """Symbols of the limit D → ∞, all positive: x = (1 + ρ)/α, and s in (0, 1) with κ (1 − s)(ν + s) = s."""

    τ: Expr
    κ: Expr
    ρ: Expr
    ξ: Expr
    s: Expr


def _symbols() -> _Limit:
    """The symbols."""
    import sympy as sp

    return _Limit(*sp.symbols("tau kappa rho xi s", positive=True))


def _quadratic(M: Expr, z: Expr, κ: Expr) -> Expr:
    """(z/κ) M² + (z + 1 − 1/κ) M − 1, which vanishes at M(z) = (1/D) tr (R + z)⁻¹."""
    return z / κ * M**2 + (z + 1 - 1 / κ) * M - 1


# -- The effective ridge ------------------------------------------------------------------------------------------


def _derived_ridge(context: RunContext) -> Formulas:
    """What ξ = (ξ/τ)(1 − ξM(x + ξ)) leaves of the equation of M at ξ = (1 − τ)/(τm)."""
    import sympy as sp

    τ, κ, *_ = _symbols()
    x, m = sp.symbols("x m", positive=True)
    ξ = (1 - τ) / (τ * m)
    # The equation without ridge, for ξ > 0, is ξM = 1 − τ.
    return {
        "M": (1 - τ) / ξ,
        "equation": sp.expand(_quadratic((1 - τ) / ξ, x + ξ, κ)),
    }


def _stated_ridge(context: RunContext, control: str) -> Formulas:
    """m = M_{κ/τ}(x): M(x + ξ) is τm, and the equation of m is left, times τ."""
    import sympy as sp

    τ, κ, *_ = _symbols()
    x, m = sp.symbols("x m", positive=True)
    ratio = κ * τ if control == SWAPPED else κ / τ
    M = m if control == FORGOTTEN else τ * m
    return {"M": M, "equation": sp.expand(τ * _quadratic(m, x, ratio))}


# -- The gap ------------------------------------------------------------------------------------------------------


class _Curve(NamedTuple):
    """ν, x and M on the curve κ (1 − s)(ν + s) = s, on which s in (0, 1) parametrises all ν > 0."""

    ν: Expr
    x: Expr
    M: Expr


def _curve() -> _Curve:
    """The curve in the symbols."""
    _, κ, _, ξ, s = _symbols()
    ν = s / (κ * (1 - s)) - s
    return _Curve(ν, ν - ξ, 1 / (ν + s))


def _training_error(slope: Expr, T2: Expr) -> Expr:
    """e_IDG = [ρ + ν − ν²M − ξT2]/(1 − γ), γ = (1 − 2ξM − ξ²M′)/τ, for M′ = `slope`."""
    τ, _, ρ, ξ, _ = _symbols()
    ν, _, M = _curve()
    γ = (1 - 2 * ξ * M - ξ**2 * slope) / τ
    return (ρ + ν - ν**2 * M - ξ * T2) / (1 - γ)


def _derived_gap(context: RunContext) -> Formulas:
    """e_ICL − e_IDG by the paper's formulas, with M′ by the chain rule."""
    import sympy as sp

    τ, κ, ρ, ξ, s = _symbols()
    ν, x, M = _curve()
    slope = M.diff(s) / ν.diff(s)
    T1 = 1 - ν * M
    T2 = 1 - 2 * ν * M - ν**2 * slope
    idg = _training_error(slope, T2)
    icl = 1 + ρ - 2 * T1 + (1 + x) * (T2 + idg * (M + ξ * slope) / τ)
    return {
        "equation of M": sp.cancel(_quadratic(M, ν, κ)),
        "gap": sp.cancel(sp.together(icl - idg)),
    }


def _stated_gap(context: RunContext, control: str) -> Formulas:
    """g = (1 − s)/d {(νM)² (1 + s) + (e_IDG/τ) M (T1 s + xM − sξM)}, d = νM + T1 s, and M′ = −M²/d."""
    import sympy as sp

    τ, _, _, ξ, s = _symbols()
    ν, x, M = _curve()
    T1 = s * M
    d = ν * M + T1 * s
    T2 = T1 * (T1 * s + ν * M * (1 - s)) / d
    idg = _training_error(-(M**2) / d, T2)
    variance = idg / τ * M * (T1 * s + x * M - s * ξ * M)
    if control == NO_VARIANCE:
        variance = 0
    sign = -1 if control == SIGN else 1
    gap = (1 - s) / d * ((ν * M) ** 2 * (1 + sign * s) + variance)
    return {"equation of M": sp.Integer(0), "gap": sp.cancel(sp.together(gap))}


# -- Its limits ---------------------------------------------------------------------------------------------------


def _gap_of_many_sequences(x: Expr, κ: Expr) -> Expr:
    """g = x² [−(1 + x) M′(x) − M(x)] at τ = ∞, with the positive root of the quadratic written out."""
    import sympy as sp

    z = sp.Symbol("z", positive=True)
    b = z + 1 - 1 / κ
    M = (-b + sp.sqrt(b**2 + 4 * z / κ)) / (2 * z / κ)
    return (x**2 * (-(1 + x) * M.diff(z) - M)).subs(z, x)


def _share() -> Expr:
    """p > 0, by which κ = 1/(1 + p) are all κ < 1, and κ = 1 + p all κ > 1."""
    import sympy as sp

    return sp.Symbol("p", positive=True)


def _derived_limits(context: RunContext) -> Formulas:
    """The leading orders of g as x → 0 by series, for every κ below, at and above 1."""
    import sympy as sp

    x, p = sp.Symbol("x", positive=True), _share()
    few = _gap_of_many_sequences(x, 1 / (1 + p))
    equal = _gap_of_many_sequences(x, sp.Integer(1))
    many = _gap_of_many_sequences(x, 1 + p)
    return {
        "κ < 1": sp.limit(few, x, 0),
        "κ = 1": sp.limit(equal / sp.sqrt(x), x, 0),
        "κ > 1": sp.limit(sp.simplify(many / x**2), x, 0),
    }


def _stated_limits(context: RunContext, control: str) -> Formulas:
    """1 − κ, ½ √x and x² [κ³/(κ − 1)³ − κ/(κ − 1)]."""
    import sympy as sp

    p = _share()
    few, many = 1 / (1 + p), 1 + p
    power = 2 if control == SQUARES else 3
    return {
        "κ < 1": 1 - few ** (2 if control == ONE_MINUS else 1),
        "κ = 1": sp.Rational(1, 1 if control == ONE_ROOT else 2),
        "κ > 1": many**power / (many - 1) ** power - many / (many - 1),
    }


def _proof(
    name: str, title: str, statement: str, observable: str, **fields: Any
) -> Claim:
    """A fast claim of level "proved" on Lu et al. 2025."""
    common: dict[str, Any] = {
        "paper": "lu2025",
        "judge": identical,
        "evidence_level": "proved",
        "expected_level": "proved",
        "tier": "fast",
    }
    return Claim(
        id=name,
        title=title,
        statement=statement,
        observable=observable,
        **common | fields,
    )


CLAIMS = (
    _proof(
        "asymptotics.ridge_proof",
        "Without ridge and with fewer sequences than coefficients the effective ridge is (1 − τ)/(τ M_{κ/τ}(x))",
        r"\xi = \tfrac{\xi}{\tau}\,(1 - \xi M_\kappa(x + \xi)) \Rightarrow "
        r"\xi = \frac{1 - \tau}{\tau M_{\kappa/\tau}(x)}",
        "M eliminated from the equations of ξ and of M(x + ξ); τ, κ, x symbols",
        equation="fixed-point equations",
        limit="none: an identity",
        hypotheses=("D → ∞ has been taken",),
        measure=_derived_ridge,
        predict=_stated_ridge,
        controls=(SWAPPED, FORGOTTEN),
    ),
    _proof(
        "asymptotics.gap_proof",
        "The gap between new and training tasks is a sum of positive terms",
        r"g = \frac{1 - s}{\nu M + T_1 s}\left\{(\nu M)^2 (1 + s) "
        r"+ \frac{e_{IDG}}{\tau} M (T_1 s + xM - s\xi M)\right\}",
        "e_ICL − e_IDG by the published formulas at M = 1/(ν + s), κ(1 − s)(ν + s) = s; τ, κ, ρ, ξ, s symbols",
        equation="errors",
        beyond_paper=True,
        limit="none: an identity",
        hypotheses=("D → ∞ has been taken",),
        measure=_derived_gap,
        predict=_stated_gap,
        controls=(NO_VARIANCE, SIGN),
    ),
    _proof(
        "asymptotics.transition_proof",
        "With long contexts the gap vanishes once there are as many tasks as dimensions: 1 − κ, then ½ √x, then x²",
        r"g \to 1 - \kappa,\quad g \simeq \tfrac12\sqrt{x},\quad "
        r"g \simeq x^2\left[\tfrac{\kappa^3}{(\kappa - 1)^3} - \tfrac{\kappa}{\kappa - 1}\right]",
        "leading orders by series of the gap at τ = ∞; κ = 1/(1 + p), 1 and 1 + p for every p > 0",
        equation="task diversity",
        limit="x = (1 + ρ)/α → 0",
        hypotheses=("D → ∞ and τ = ∞ have been taken",),
        measure=_derived_limits,
        predict=_stated_limits,
        controls=(ONE_MINUS, ONE_ROOT, SQUARES),
    ),
)
