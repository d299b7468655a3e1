"""Proofs by Gaussian moments: losses of gradient steps, and two exact heads ±(γ, m) expanded in small γ.

Nothing is approximated in D, N and σ². All outputs here are linear in the labels, and losses are quadratic in them. So
of a label y = w₁x₁ + z only E w₁² = 1/D and the variance of z, (D − 1)/D + σ², have a part in them, where direction 1
is any coordinate for the steps and that of the query for the heads: moments of a task with D = 1 decide all D.
"""

from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_records import proof

if TYPE_CHECKING:
    from ....theory.symbolic import SymbolicTask

PREDICTORS, SMALL_SCORES = "predictors", "debiased gradient step"

PLUS_ONE = "M + 1 for M, as in the plain step"
NO_PLUS_ONE = "M for M + 1, as in the debiased step"
NOT_CENTRED = "(N − 1)/N left out"
WITHOUT_NOISE = "σ² left out"
OPPOSITE = "the debiased step ahead"
D_FOR_D_PLUS_2 = "D for D + 2"
HALF_SLOPE = "half the slope"
D_FOR_D_PLUS_4 = "D for D + 4"
WHOLE_OVERLAP = "|s|² left out"
ONCE_THE_SCORE = "b left out"


def _symbols() -> tuple[Expr, Expr, Expr]:
    """D, N and σ² as positive symbols; N is that of the engine."""
    import sympy as sp

    from ....theory.symbolic import N

    D, σ2 = sp.symbols("D sigma2", positive=True)
    return D, N, σ2


def _variances() -> tuple[Expr, Expr]:
    """Ω and τ, the variances of w₁ and of z."""
    import sympy as sp

    Ω, τ = sp.symbols("Omega tau", positive=True)
    return Ω, τ


def _one_direction() -> "SymbolicTask":
    """The task with D = 1 that one direction sees: teachers of variance Ω, labels with noise of variance τ."""
    import sympy as sp

    from ....theory.symbolic import SymbolicTask

    _, N, _ = _symbols()
    Ω, τ = _variances()
    return SymbolicTask(
        covariance=sp.eye(1),
        teacher_covariance=sp.Matrix([[Ω]]),
        noise_variance=τ,
        context_lengths=(N,),
    )


def _mean(expression: Expr) -> Expr:
    """E over prompts of a polynomial in averages of powers of x₁ and y, and in w₁, for all D, N and σ²."""
    import sympy as sp

    from ....theory.symbolic import expectation

    D, _, σ2 = _symbols()
    mean = expectation(sp.expand(expression), _one_direction())
    Ω, τ = _variances()
    return mean.subs({Ω: 1 / D, τ: (D - 1) / D + σ2}, simultaneous=True)


class _Variables(NamedTuple):
    """x₁ and y of a token, and w₁."""

    x: Expr
    y: Expr
    w: Expr


def _variables() -> _Variables:
    from ....theory.symbolic import Prompt

    prompt = Prompt(1)
    return _Variables(prompt.x[0], prompt.y, prompt.teacher[0])


# Gradient steps


def _derived_steps(context: RunContext) -> Formulas:
    """Loss, best η and least loss of both steps from their definition, and how far the debiased one is behind."""
    import sympy as sp

    from ....theory.symbolic import average

    x, y, _ = _variables()
    steps = {
        "plain": average(x * y),
        "debiased": average(x * y) - average(x) * average(y),
    }
    formulas: dict[str, Expr] = {}
    least: dict[str, Expr] = {}
    η = sp.Symbol("eta", positive=True)
    for name, correlation in steps.items():
        loss = _loss_of_step(η, correlation)
        (best,) = sp.solve(sp.together(loss.diff(η)), η)
        least[name] = sp.together(loss.subs(η, best))
        formulas |= {f"{name}, loss": loss, f"{name}, best η": best}
        formulas[f"{name}, least loss"] = least[name]
    formulas["difference"] = least["debiased"] - least["plain"]
    return formulas


def _loss_of_step(η: Expr, correlation: Expr) -> Expr:
    """E(y_q − η Σ_d c_d x_qd)² = σ² + D E(w₁ − η c₁)², since x_q ~ N(0, 1) and its coordinates are alike."""
    D, _, σ2 = _symbols()
    return σ2 + D * _mean((_variables().w - η * correlation) ** 2)


def _stated_steps(context: RunContext, control: str) -> Formulas:
    """1 + σ² − 2η + η²(M + 1)/N and 1 + σ² − 2η(N − 1)/N + η²(N − 1)M/N² with M = N + D + Dσ².

    With the best η the debiased step is behind by (D(1 + σ²) + 1)/(M(M + 1)).
    """
    import sympy as sp

    D, N, σ2 = _symbols()
    η = sp.Symbol("eta", positive=True)
    M = N + D + (0 if control == WITHOUT_NOISE else D * σ2)
    plain = M if control == NO_PLUS_ONE else M + 1
    debiased = M + 1 if control == PLUS_ONE else M
    share = 1 if control == NOT_CENTRED else (N - 1) / N
    behind = (D * (1 + σ2) + 1) / (M * (M + 1))
    return {
        "plain, loss": 1 + σ2 - 2 * η + η**2 * plain / N,
        "plain, best η": N / plain,
        "plain, least loss": 1 + σ2 - N / plain,
        "debiased, loss": 1 + σ2 - 2 * η * share + η**2 * share * debiased / N,
        "debiased, best η": N / debiased,
        "debiased, least loss": 1 + σ2 - share * N / debiased,
        "difference": -behind if control == OPPOSITE else behind,
    }


# Two exact heads in small γ


class _Expansion(NamedTuple):
    """min_m L(γ, m) = 1 + σ² − (a₀ + a₁g + a₂g²)²/(B₀ + B₁g + B₂g²) + O(g³) in g = γ²: `signal` a and `power` B.

    With η = 2γm the output of the two heads is η Σ_k γ^{2k} c_{2k+1}, where c_k is the coefficient of γ^k in
    Σ_n softmax_n(γ x_nᵀx_q) y_n: a are the means of y_q times it, B those of its square.
    """

    signal: tuple[Expr, Expr, Expr]
    power: tuple[Expr, Expr, Expr]

    def least_loss(self, g: Expr) -> Expr:
        """The loss at the best m, up to order g²."""
        σ2 = _symbols()[2]
        signal = sum(a * g**k for k, a in enumerate(self.signal))
        power = sum(B * g**k for k, B in enumerate(self.power))
        return 1 + σ2 - signal**2 / power

    def coefficients(self) -> tuple[Expr, Expr, Expr]:
        """Those of 1, g and g² in the least loss."""
        import sympy as sp

        g = sp.Symbol("g")
        loss = self.least_loss(g)
        # Factored, so that later limits are those of short fractions.
        first, second, third = (
            sp.factor(loss.diff(g, k).subs(g, 0) / sp.factorial(k)) for k in range(3)
        )
        return first, second, third


@cache  # the claim on the slope and that on the optimum need the same moments
def _expansion() -> _Expansion:
    """By the moments of r = |x_q|², E r^k = D (D + 2) …, and of u_n = x_nᵀx_q/√r ~ N(0, 1), independent of r."""
    D, _, _ = _symbols()
    r1, r2, r3 = D, D * (D + 2), D * (D + 2) * (D + 4)
    w = _variables().w  # along the query: its label without noise is √r w
    c = _softmax_coefficients(5)
    signal = (r1 * _mean(w * c[1]), r2 * _mean(w * c[3]), r3 * _mean(w * c[5]))
    power = (
        r1 * _mean(c[1] ** 2),
        2 * r2 * _mean(c[1] * c[3]),
        r3 * (2 * _mean(c[1] * c[5]) + _mean(c[3] ** 2)),
    )
    return _Expansion(signal, power)


def _softmax_coefficients(order: int) -> list[Expr]:
    """Coefficients of b⁰ … b^order in Σ_n softmax_n(b u) y_n = (Σ_n e^{b u_n} y_n)/Σ_n e^{b u_n}, in averages."""
    import sympy as sp

    from ....theory.symbolic import average

    u, y, _ = _variables()
    numerator = [average(u**k * y) / sp.factorial(k) for k in range(order + 1)]
    denominator = [average(u**k) / sp.factorial(k) for k in range(order + 1)]
    quotient: list[Expr] = []
    for k in range(order + 1):
        # numerator = denominator · quotient, at degree k; the denominator begins with 1.
        known = sum(denominator[j] * quotient[k - j] for j in range(1, k + 1))
        quotient.append(sp.expand(numerator[k] - known))
    return quotient


def _derived_slope(context: RunContext) -> Formulas:
    """The loss of two heads at the best m, and its slope in γ², at γ = 0."""
    loss, slope, _ = _expansion().coefficients()
    return {"loss": loss, "slope": slope}


def _stated_slope(context: RunContext, control: str) -> Formulas:
    """1 + σ² − (N − 1)/M, that of the debiased step, and −4(N − 1)(D + 2)/(N M²), with M = N + D + Dσ²."""
    D, N, σ2 = _symbols()
    M = N + D + (0 if control == WITHOUT_NOISE else D * σ2)
    M += 1 if control == PLUS_ONE else 0
    moment = D if control == D_FOR_D_PLUS_2 else D + 2
    factor = 2 if control == HALF_SLOPE else 4
    return {
        "loss": 1 + σ2 - (N - 1) / M,
        "slope": -factor * (N - 1) * moment / (N * M**2),
    }


def _derived_optimum(context: RunContext) -> Formulas:
    """N γ*² and N³ times the gain over γ → 0 as N → ∞, from the expansion up to γ⁴."""
    import sympy as sp

    N = _symbols()[1]
    _, slope, curvature = _expansion().coefficients()
    best = -slope / (2 * curvature)  # γ*²
    gain = slope**2 / (4 * curvature)
    return {
        "N γ*²": sp.limit(sp.factor(N * best), N, sp.oo),
        "N³ gain": sp.limit(sp.factor(N**3 * gain), N, sp.oo),
    }


def _stated_optimum(context: RunContext, control: str) -> Formulas:
    """12/((D + 4)(D(1 + σ²) + 3)) and 24(D + 2)/((D + 4)(D(1 + σ²) + 3))."""
    D, _, σ2 = _symbols()
    fourth = D if control == D_FOR_D_PLUS_4 else D + 4
    variance = 1 if control == WITHOUT_NOISE else 1 + σ2
    width = fourth * (D * variance + 3)
    moment = D if control == D_FOR_D_PLUS_2 else D + 2
    return {"N γ*²": 12 / width, "N³ gain": 24 * moment / width}


# The identity of first moments and overlaps


def _derived_stein(context: RunContext) -> Formulas:
    """E[u s] = E[∂s/∂u] for a softmax weight s of one token: by parts, and by its derivative."""
    import sympy as sp

    u, b = sp.symbols("u b", real=True)
    others = sp.Symbol("R", positive=True)  # the exponentials of all other keys
    s = sp.exp(b * u) / (sp.exp(b * u) + others)
    density = sp.exp(-(u**2) / 2)
    return {
        "total derivative": (s * density).diff(u) / density,
        "derivative of the weight": s.diff(u),
        "sum over two": _summed(2),
        "sum over three": _summed(3),
    }


def _summed(tokens: int) -> Expr:
    """Σ_n ∂s_n/∂u_n of this many tokens."""
    weights, u, _ = _weights(tokens)
    return sum(s.diff(one) for s, one in zip(weights, u, strict=True))


def _weights(tokens: int) -> tuple[list[Expr], list[Expr], Expr]:
    """Softmax weights, the u_n that make them, and their factor b."""
    import sympy as sp

    u = list(sp.symbols(f"u_1:{tokens + 1}", real=True))
    b = sp.Symbol("b", real=True)
    exponentials = [sp.exp(b * one) for one in u]
    return [each / sp.Add(*exponentials) for each in exponentials], u, b


def _stated_stein(context: RunContext, control: str) -> Formulas:
    """(sφ)'/φ = s' − u s, whose integral vanishes; s' = b s(1 − s); Σ_n s_n' = b(1 − |s|²)."""
    import sympy as sp

    u, b = sp.symbols("u b", real=True)
    others = sp.Symbol("R", positive=True)
    s = sp.exp(b * u) / (sp.exp(b * u) + others)
    factor = 1 if control == ONCE_THE_SCORE else b
    rate = factor * s * (1 - s)
    sums = {}
    for tokens, name in ((2, "two"), (3, "three")):
        weights, _, _ = _weights(tokens)
        overlap = sum(weight**2 for weight in weights)
        lost = 0 if control == WHOLE_OVERLAP else overlap
        sums[f"sum over {name}"] = factor * (1 - lost)
    return {
        "total derivative": rate - u * s,
        "derivative of the weight": rate,
        **sums,
    }


CLAIMS = (
    proof(
        "softmax.steps_proof",
        "For centred x a plain gradient step is ahead of a debiased one, by (D(1 + σ²) + 1)/(M(M + 1))",
        r"L_{\mathrm{plain}} = 1 + \sigma^2 - \tfrac{N}{M + 1},\quad "
        r"L_{\mathrm{debiased}} = 1 + \sigma^2 - \tfrac{N - 1}{M},\quad M = N + D + D\sigma^2",
        "expectations of the definition of both steps at any η, then the best η; D, N, σ² symbols",
        equation=PREDICTORS,
        beyond_paper=True,
        measure=_derived_steps,
        predict=_stated_steps,
        controls=(PLUS_ONE, NO_PLUS_ONE, NOT_CENTRED, WITHOUT_NOISE, OPPOSITE),
    ),
    proof(
        "softmax.slope_proof",
        "Two softmax heads start from the debiased step as γ → 0, and the exact loss falls as γ grows",
        r"\frac{dL}{d(\gamma^2)}\Big|_{\gamma = 0} = -\frac{4(N - 1)(D + 2)}{N M^2},\quad M = N + D + D\sigma^2",
        "softmax weights expanded in γ to order 3 and averaged over prompts, m the best one; D, N, σ² symbols",
        equation=SMALL_SCORES,
        beyond_paper=True,
        limit="γ → 0",
        measure=_derived_slope,
        predict=_stated_slope,
        controls=(D_FOR_D_PLUS_2, PLUS_ONE, HALF_SLOPE, WITHOUT_NOISE),
    ),
    proof(
        "softmax.optimum_proof",
        "To leading order in 1/N two exact heads are best at γ*² = 12/(N(D + 4)(D(1 + σ²) + 3))",
        r"\gamma_*^2 \simeq \frac{12}{N(D + 4)(D(1 + \sigma^2) + 3)},\quad "
        r"\mathrm{gain} \simeq \frac{24(D + 2)}{N^3(D + 4)(D(1 + \sigma^2) + 3)}",
        "the least loss expanded to γ⁴ with softmax weights to order 5, and its minimum; D, N, σ² symbols",
        equation=SMALL_SCORES,
        beyond_paper=True,
        limit="N → ∞ at fixed D",
        hypotheses=("the loss is expanded up to γ⁴",),
        measure=_derived_optimum,
        predict=_stated_optimum,
        controls=(D_FOR_D_PLUS_2, D_FOR_D_PLUS_4, WITHOUT_NOISE),
    ),
    proof(
        "softmax.stein_proof",
        "Signal and overlap of a softmax head obey E[s·u] = b E[1 − |s|²], by parts over its Gaussian scores",
        r"\textstyle\sum_n \partial s_n/\partial u_n = b\,(1 - |s|^2),\quad E[u s] = E[\partial s/\partial u]",
        "derivatives of a softmax weight beside any other keys, and of all weights of two and three tokens",
        origin="Stein 1981, integration by parts for Gaussian variables",
        paper="",
        measure=_derived_stein,
        predict=_stated_stein,
        controls=(WHOLE_OVERLAP, ONCE_THE_SCORE),
    ),
)
