"""Proofs on the approximate loss: optima of one and two heads, its infimum, and heads whose values have one sign.

L̃ is defined for any D > 0, κ > 0 and σ² > 0. Every bound is proved in steps that algebra decides: a sum of squares, a
convex function above its tangent, and minima of functions of one variable by the sign of their derivative.
"""

from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_records import approximate_loss, proof, symbols

REDUCED_MODEL = "reduced model"

COSH = "cosh for sinh"
ONE_EXPONENTIAL = "eˣ for sinh x"
DECREASING = "decreasing in γ"
HALF_D = "½ D for D"
WITHOUT_SUM = "(Σμ)² left out"
WITH_E = "e κD for κD"
WITHOUT_E = "e missing"
HALF_OMEGA = "ω = 1/(2√D)"
NOT_NORMALISED = "exponent D η² for D η²/m²"

# The degrees of the sum of squares that are expanded head by head; the exponential is summed over all of them.
_DEGREES = (0, 1, 2, 3, 4, 5)


# Two heads ±(γ, m)


def _derived_pair(context: RunContext) -> Formulas:
    """The best m of two heads ±(γ, m), the loss there, and how it changes with γ, from the definition of L̃."""
    import sympy as sp

    γ, m, x = sp.symbols("gamma m x", positive=True)
    pair = approximate_loss([γ, -γ], [m, -m])
    (best,) = sp.solve(sp.expand(pair.diff(m)), m)
    least = pair.subs(m, best)
    bracket = x * sp.cosh(x) - sp.sinh(x)
    small = sp.Symbol("s", positive=True)  # γ², which goes to zero
    return {
        "m": best,
        "loss": least,
        **_slopes_in_values(γ, best),
        "slope in γ": least.diff(γ),
        "bracket at 0": bracket.subs(x, 0),
        "slope of the bracket": bracket.diff(x),
        "loss as γ → 0": sp.limit(least.subs(γ, sp.sqrt(small)), small, 0),
        "η as γ → 0": sp.limit((2 * γ * best).subs(γ, sp.sqrt(small)), small, 0),
    }


def _slopes_in_values(γ: Expr, best: Expr) -> Formulas:
    """∂L̃/∂μ₁ and ∂L̃/∂μ₂ at μ = ±m: a convex function of both is least where they vanish."""
    import sympy as sp

    first, second = sp.symbols("mu_1 mu_2", real=True)
    free = approximate_loss([γ, -γ], [first, second])
    at_best = {first: best, second: -best}
    return {
        "first value": free.diff(first).subs(at_best),
        "second value": free.diff(second).subs(at_best),
    }


def _stated_pair(context: RunContext, control: str) -> Formulas:
    """m = γ/(2(γ² + κ sinh Dγ²)) and L̃ = 1 + σ² − 1/(1 + κ sinh(Dγ²)/γ²), which increases in γ > 0.

    Its slope has the sign of the bracket x cosh x − sinh x at x = Dγ², which is 0 at 0 and has the slope x sinh x > 0.
    """
    import sympy as sp

    D, κ, σ2 = symbols()
    γ, x = sp.symbols("gamma x", positive=True)
    function = {COSH: sp.cosh, ONE_EXPONENTIAL: sp.exp}.get(control, sp.sinh)
    noise = κ * function(D * γ**2) / γ**2
    bracket = D * γ**2 * sp.cosh(D * γ**2) - sp.sinh(D * γ**2)
    sign = -1 if control == DECREASING else 1
    return {
        "m": 1 / (2 * γ * (1 + noise)),
        "loss": 1 + σ2 - 1 / (1 + noise),
        "first value": sp.Integer(0),
        "second value": sp.Integer(0),
        "slope in γ": sign * 2 * κ * bracket / γ**3 / (1 + noise) ** 2,
        "bracket at 0": sp.Integer(0),
        "slope of the bracket": x * sp.sinh(x),
        "loss as γ → 0": 1 + σ2 - 1 / (1 + κ * D),
        "η as γ → 0": 1 / (1 + κ * D),
    }


# The infimum


def _derived_squares(context: RunContext) -> Formulas:
    """e^{D a b} of two heads, powers of it summed over three heads, and L̃ above its bound."""
    import sympy as sp

    D, κ, σ2 = symbols()
    a, b = sp.symbols("a b", real=True)
    formulas = {"entry": sp.exp(D * a * b)}
    heads = _three_heads()
    for degree in _DEGREES:
        products = [
            μ_h * μ_k * (ω_h * ω_k) ** degree
            for ω_h, μ_h in heads
            for ω_k, μ_k in heads
        ]
        formulas[f"degree {degree}"] = sp.Add(*products)

    # With μᵀE μ = S² + D η² + R, where S = Σ_h μ_h and R is the sum over degrees from 2 on.
    η, total, rest = _parts()
    formulas["loss"] = 1 + σ2 - 2 * η + η**2 + κ * (total**2 + D * η**2 + rest)
    return formulas


def _three_heads() -> list[tuple[Expr, Expr]]:
    """ω and μ of three heads, any real numbers."""
    import sympy as sp

    ω = sp.symbols("omega_1:4", real=True)
    μ = sp.symbols("mu_1:4", real=True)
    return list(zip(ω, μ, strict=True))


def _parts() -> tuple[Expr, Expr, Expr]:
    """η = μᵀω, S = Σ_h μ_h and R, the degrees from 2 on."""
    import sympy as sp

    η, total, rest = sp.symbols("eta S R", real=True)
    return η, total, rest


def _stated_squares(context: RunContext, control: str) -> Formulas:
    """e^{D a b} = Σ_k (D^k/k!) a^k b^k, each degree a square (Σ_h μ_h ω_h^k)², and what is left above the bound.

    L̃ = 1 + σ² − 1/(1 + κD) + (1 + κD)(η − η*)² + κ(S² + R), with squares only after the infimum.
    """
    import sympy as sp

    D, κ, σ2 = symbols()
    scale = D / 2 if control == HALF_D else D
    formulas = {"entry": _power_series(scale)}
    for k in _DEGREES:
        moments = [μ_h * ω_h**k for ω_h, μ_h in _three_heads()]
        formulas[f"degree {k}"] = sp.Add(*moments) ** 2

    η, total, rest = _parts()
    noise = κ * scale * (sp.E if control == WITH_E else 1)
    squares = rest if control == WITHOUT_SUM else rest + total**2
    best = 1 / (1 + noise)
    formulas["loss"] = 1 + σ2 - best + (1 + noise) * (η - best) ** 2 + κ * squares
    return formulas


def _power_series(scale: Expr) -> Expr:
    """Σ_k (scale^k/k!) a^k b^k, summed."""
    import sympy as sp

    a, b = sp.symbols("a b", real=True)
    degree = sp.Symbol("k", integer=True, nonnegative=True)
    terms = (scale * a * b) ** degree / sp.factorial(degree)
    return sp.summation(terms, (degree, 0, sp.oo))


# One head, and heads of one sign


def _derived_single(context: RunContext) -> Formulas:
    """The best head: μ solves ∂L̃/∂μ = 0, and x = Dω² makes e^x/x, by which the loss increases, least."""
    import sympy as sp

    D, κ, σ2 = symbols()
    ω, μ, x, shape = sp.symbols("omega mu x q", positive=True)
    loss = approximate_loss([ω], [μ])
    (best,) = sp.solve(loss.diff(μ), μ)
    least = loss.subs(μ, best)
    (least_x,) = sp.solve(sp.diff(sp.exp(x) / x, x), x)
    at = {ω: sp.sqrt(least_x / D)}
    increasing = sp.diff(1 + σ2 - 1 / (1 + κ * D * shape), shape)
    return {
        "loss in x": least.subs(ω, sp.sqrt(x / D)),
        "slope in e^x/x": increasing,
        "slope of e^x/x": sp.diff(sp.exp(x) / x, x),
        "ω": at[ω],
        "μ": best.subs(at),
        "loss": least.subs(at),
    }


def _stated_single(context: RunContext, control: str) -> Formulas:
    """ω = 1/√D, μ = √D/(1 + eκD) and L̃ = 1 + σ² − 1/(1 + eκD); e^x/x falls up to x = 1 and rises beyond."""
    import sympy as sp

    D, κ, σ2 = symbols()
    x, shape = sp.symbols("x q", positive=True)
    e = 1 if control == WITHOUT_E else sp.E
    half = 2 if control == HALF_OMEGA else 1
    return {
        "loss in x": 1 + σ2 - 1 / (1 + κ * D * sp.exp(x) / x),
        "slope in e^x/x": κ * D / (1 + κ * D * shape) ** 2,
        "slope of e^x/x": sp.exp(x) * (x - 1) / x**2,
        "ω": 1 / (half * sp.sqrt(D)),
        "μ": sp.sqrt(D) / (1 + e * κ * D),
        "loss": 1 + σ2 - 1 / (1 + e * κ * D),
    }


def _derived_one_sign(context: RunContext) -> Formulas:
    """Jensen's inequality for the shares p_h = μ_h/m of values of one sign, and the least of the bound it gives."""
    import sympy as sp

    D, κ, σ2 = symbols()
    z = sp.Symbol("z", real=True)
    above_tangent = sp.exp(z) - 1 - z
    η, ratio, x = sp.symbols("eta rho x", positive=True)  # ρ = η/m
    m = η / ratio
    bound = 1 + σ2 - 2 * η + η**2 + κ * m**2 * sp.exp(D * η**2 / m**2)
    (best,) = sp.solve(bound.diff(η), η)
    in_x = bound.subs(η, best).subs(ratio, sp.sqrt(x / D))
    (least_x,) = sp.solve(sp.diff(sp.exp(x) / x, x), x)
    return {
        **_mean_exponents(),
        "tangent at 0": above_tangent.subs(z, 0),
        "slope at 0": above_tangent.diff(z).subs(z, 0),
        "convex": above_tangent.diff(z, 2),
        "bound in x": in_x,
        "least bound": in_x.subs(x, least_x),
    }


def _mean_exponents() -> dict[str, Expr]:
    """Σ_hk p_h p_k D ω_h ω_k of two, three and four heads with Σ p = 1."""
    import sympy as sp

    D = symbols().D
    means = {}
    for heads in (2, 3, 4):
        ω, p = _shares(heads)
        products = [
            p[h] * p[k] * ω[h] * ω[k] for h in range(heads) for k in range(heads)
        ]
        means[f"mean exponent of {heads} heads"] = D * sp.Add(*products)
    return means


def _shares(heads: int) -> tuple[list[Expr], list[Expr]]:
    """ω_h, and shares p_h that add up to 1."""
    import sympy as sp

    ω = sp.symbols(f"omega_1:{heads + 1}", real=True)
    others = sp.symbols(f"p_1:{heads}", positive=True)
    return list(ω), [*others, 1 - sp.Add(*others)]


def _stated_one_sign(context: RunContext, control: str) -> Formulas:
    """The mean exponent is D(Σ p ω)² = D η²/m², e^z ≥ 1 + z, and the bound is least at 1 + σ² − 1/(1 + eκD)."""
    import sympy as sp

    D, κ, σ2 = symbols()
    z = sp.Symbol("z", real=True)
    x = sp.Symbol("x", positive=True)
    means = {}
    for heads in (2, 3, 4):
        ω, p = _shares(heads)
        mean = sp.Add(*(share * one for share, one in zip(p, ω, strict=True)))
        size = 2 if control == NOT_NORMALISED else 1
        means[f"mean exponent of {heads} heads"] = D * (size * mean) ** 2
    e = 1 if control == WITHOUT_E else sp.E
    return {
        **means,
        "tangent at 0": sp.Integer(0),
        "slope at 0": sp.Integer(0),
        "convex": sp.exp(z),
        "bound in x": 1 + σ2 - 1 / (1 + κ * D * sp.exp(x) / x),
        "least bound": 1 + σ2 - 1 / (1 + e * κ * D),
    }


# One sign against both, and one head against one for each task


def _derived_factor(context: RunContext) -> Formulas:
    """Excess losses of the best heads of one sign and of both, and of one head for T tasks of p coordinates each."""
    import sympy as sp

    D, κ, σ2 = symbols()
    ω, μ = sp.symbols("omega mu", positive=True)
    both = 1 - 1 / (1 + κ * D)
    one_sign = 1 - 1 / (1 + sp.E * κ * D)
    ratio = sp.factor(one_sign / both)
    tasks = sp.Symbol("T", positive=True)

    # One head on all coordinates: every task is that of a single head in D = Tp dimensions, here with p for D.
    loss = 1 + σ2 - 2 * μ * ω + (μ * ω) ** 2 + κ * μ**2 * sp.exp(tasks * D * ω**2)
    (best,) = sp.solve(loss.diff(μ), μ)
    shared = sp.simplify(loss.subs(μ, best).subs(ω, 1 / sp.sqrt(tasks * D)))
    at_rest = loss.subs(μ, best).diff(ω).subs(ω, 1 / sp.sqrt(tasks * D))
    return {
        "ratio": ratio,
        "ratio as κ → 0": sp.limit(ratio, κ, 0),
        "slope in κ": ratio.diff(κ),
        "one head for all": shared,
        "its slope": at_rest,
        "behind one head per task": shared - (σ2 + one_sign),
    }


def _stated_factor(context: RunContext, control: str) -> Formulas:
    """e(1 + κp)/(1 + eκp), which falls from e as κ grows; one head for all loses eκp(T − 1) more in its odds."""
    import sympy as sp

    D, κ, σ2 = symbols()
    tasks = sp.Symbol("T", positive=True)
    e = sp.E**2 if control == "e² for e" else sp.E
    single, shared = 1 + e * κ * D, 1 + e * κ * D * tasks
    is_enough = control == "one head is enough"
    behind = e * κ * D * (tasks - 1) / (single * shared)
    return {
        "ratio": e * (1 + κ * D) / single,
        "ratio as κ → 0": sp.Integer(1) if control == "no factor" else e,
        "slope in κ": -e * (e - 1) * D / single**2,
        "one head for all": 1 + σ2 - 1 / shared,
        "its slope": sp.Integer(0),
        "behind one head per task": sp.Integer(0) if is_enough else behind,
    }


CLAIMS = (
    proof(
        "softmax.pair_proof",
        "Two heads ±(γ, m) have no optimum on the approximate loss: it falls down to its infimum as γ → 0",
        r"\tilde L = 1 + \sigma^2 - \frac{1}{1 + \kappa\sinh(D\gamma^2)/\gamma^2},\quad "
        r"m = \frac{\gamma}{2(\gamma^2 + \kappa\sinh D\gamma^2)}",
        "the best m solved from the definition, the loss there, its slope in γ and its limit; D, κ, σ² symbols",
        equation=REDUCED_MODEL,
        measure=_derived_pair,
        predict=_stated_pair,
        controls=(COSH, ONE_EXPONENTIAL, DECREASING),
    ),
    proof(
        "softmax.infimum_proof",
        "No number of heads brings the approximate loss below 1 + σ² − 1/(1 + κD)",
        r"\tilde L \ge 1 + \sigma^2 - \frac{1}{1 + \kappa D},\quad "
        r"\mu^\top E\mu = \sum_k \tfrac{D^k}{k!}\big(\textstyle\sum_h \mu_h\omega_h^k\big)^2",
        "the entries of E as power series, squares at degrees 0 to 5 of three heads, and L̃ as a sum of squares",
        equation=REDUCED_MODEL,
        beyond_paper=True,
        measure=_derived_squares,
        predict=_stated_squares,
        controls=(HALF_D, WITHOUT_SUM, WITH_E),
    ),
    proof(
        "softmax.one_head_proof",
        "One head is best at ω = 1/√D and μ = √D/(1 + eκD) on the approximate loss",
        r"\min \tilde L = 1 + \sigma^2 - \frac{1}{1 + e\kappa D}",
        "μ and x = Dω² solved from the definition, the loss there, and the sign of its slope on both sides",
        equation=REDUCED_MODEL,
        measure=_derived_single,
        predict=_stated_single,
        controls=(WITHOUT_E, HALF_OMEGA),
    ),
    proof(
        "softmax.one_sign_proof",
        "Heads whose values have one sign are no better than one head on the approximate loss, however many",
        r"\mu \ge 0:\quad \tilde L \ge 1 + \sigma^2 - \frac{1}{1 + e\kappa D}",
        "Jensen's inequality in its steps, shares of two to four heads, and the least of the bound that it gives",
        equation=REDUCED_MODEL,
        beyond_paper=True,
        measure=_derived_one_sign,
        predict=_stated_one_sign,
        controls=(WITHOUT_E, NOT_NORMALISED),
    ),
    proof(
        "softmax.factor_proof",
        "One head per task is optimal up to a factor e, and one head for all tasks strictly worse",
        r"1 < \frac{1 - 1/(1 + e\kappa p)}{1 - 1/(1 + \kappa p)} < e,\quad "
        r"\tilde L_{\mathrm{one}} - \tilde L_{\mathrm{each}} = "
        r"\frac{e\kappa p(T - 1)}{(1 + e\kappa p)(1 + e\kappa pT)}",
        "ratio of the excess losses of one sign and of both, and the best single head on T disjoint tasks; all symbols",
        paper="chen2024",
        equation="optimality",
        measure=_derived_factor,
        predict=_stated_factor,
        controls=("e² for e", "no factor", "one head is enough"),
    ),
)
