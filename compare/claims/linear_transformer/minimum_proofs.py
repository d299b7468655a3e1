"""Proofs on the minimum: the convex form of the loss, the least loss, and the fixed points.

Where roots r = √(ωλ + σ²) enter, r stands in place of ω = (r² − σ²)/λ, so that every formula is a rational function.
Weights of a coefficient a = pq at its least loss are p = λx, q = rx with x² = a/(λr).
"""

from collections.abc import Sequence
from itertools import product

from ....models.attention import Merged
from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_setting import (
    DECOUPLED,
    LONGER,
    MODES,
    OTHER_SIGN,
    TRACE,
    amplitudes,
    derived,
    exact,
    in_roots,
    layer_of,
    on_diagonal,
    problem,
    proof,
    symbols,
)

SUBTRACTED = "entries of p off the diagonal subtract"
NO_COUNT = "Σ r²/(ωλ) left out of the coupling"
LARGE_N = "1/s∞, the limit of large N"


# The convex form


def _derived_convex(context: RunContext) -> Formulas:
    """The loss of diagonal p and q, and what entries off the diagonal add to it."""
    derivation = derived(MODES)
    loss = derivation.loss.expression
    diagonal = on_diagonal(loss, derivation)
    p, q = amplitudes()
    blocks = layer_of(derivation)
    back = {p[d]: blocks.p[d, d] for d in range(2)} | {
        q[d]: blocks.q[d, d] for d in range(2)
    }
    return {
        "diagonal": in_roots(diagonal),
        "added": loss - diagonal.subs(back, simultaneous=True),
    }


def _stated_convex(context: RunContext, control: str) -> Formulas:
    """L(pq) + (r_1λ_2 p_1q_2 − r_2λ_1 p_2q_1)²/N; off the diagonal a sum of squares p_ji² q_ae² of positive weight."""
    λ, _, r, _, N = symbols()
    p, q = amplitudes()
    a = [p[d] * q[d] for d in range(2)]
    sign = 1 if control == OTHER_SIGN else -1
    difference = r[0] * λ[1] * p[0] * q[1] + sign * r[1] * λ[0] * p[1] * q[0]
    rest = 0 if control == DECOUPLED else difference**2 / N
    return {
        "diagonal": _least_loss(a) + rest,
        "added": _added(control),
    }


def _least_loss(a: Sequence[Expr]) -> Expr:
    """L(a) = Σωλ + Kσ² − 2Σωλ²a + (1 + 1/N) Σωλ³a² + (Σ λ r a)²/N, in r, where all a have one sign."""
    λ, ω, r, σ, N = symbols()
    loss = 2 * σ**2
    for d in range(2):
        loss += (
            ω[d] * λ[d] * (1 - 2 * λ[d] * a[d] + (1 + 1 / N) * λ[d] ** 2 * a[d] ** 2)
        )
    coupling = sum(λ[d] * r[d] * a[d] for d in range(2))
    return in_roots(loss) + coupling**2 / N


# Long because the weight of each square is a formula of its own.
def _added(control: str) -> Expr:
    """Σ c_iae p_ji² q_ae² without the terms on the diagonal, c = ωλ(λ² δ_ia (1 + 1/N) + λλ/N)λ + σ²λλ/N > 0."""
    λ, ω, _, σ, N = symbols()
    p, q = layer_of(derived(MODES))
    added = 0
    for j, i, a, e in product(range(2), repeat=4):
        weight = ω[i] * λ[i] * λ[a] / N + σ**2 * λ[a] / N
        if control == TRACE:
            weight = 0
        if i == a:
            weight += (1 + 1 / N) * ω[i] * λ[i] ** 2
        if j != i or a != e:
            sign = -1 if control == SUBTRACTED and j != i else 1
            added += sign * weight * λ[e] * p[j, i] ** 2 * q[a, e] ** 2
    return added


# The minimum and the fixed points


# Long because the loss is first taken to the best scale, then compared at two points.
def _derived_minimum(context: RunContext) -> Formulas:
    """L(a) − L(a*) for a ≥ 0, of the derived loss at p = λx and q = rx, where a* learns both modes or the first."""
    import sympy as sp

    λ, _, r, _, _ = symbols()
    p, q = amplitudes()
    a = _coefficients()
    diagonal = in_roots(on_diagonal(derived(MODES).loss.expression, derived(MODES)))
    # x² = a/(λr): the loss is even in x.
    x = [sp.sqrt(a[d] / (λ[d] * r[d])) for d in range(2)]
    weights = {p[d]: λ[d] * x[d] for d in range(2)} | {
        q[d]: r[d] * x[d] for d in range(2)
    }
    loss = sp.expand(diagonal.subs(weights, simultaneous=True))
    gaps = {}
    for subset in ((1, 2), (1,)):
        least = _engine_coefficients(subset)
        at_minimum = loss.subs({a[d]: least[d] for d in range(2)}, simultaneous=True)
        gaps[str(subset)] = loss - at_minimum
    return gaps


def _coefficients() -> list[Expr]:
    import sympy as sp

    return [sp.Symbol(f"a_{d}", positive=True) for d in (1, 2)]


def _engine_coefficients(subset: tuple[int, ...]) -> list[Expr]:
    """a (2,) of a fixed point of the engine, in r."""
    import sympy as sp

    from ....theory.symbolic import fixed_points

    points = fixed_points(problem(MODES), Merged(heads=1, outputs=2))
    (point,) = [each for each in points if each.subset == subset]
    a = [sp.Integer(0)] * 2
    for d, coefficient in zip(subset, point.coefficients, strict=True):
        a[d - 1] = in_roots(coefficient)
    return a


# Long because the identity has three kinds of terms.
def _stated_minimum(context: RunContext, control: str) -> Formulas:
    """(1 + 1/N) Σωλ³(a − a*)² + (Σ λr(a − a*))²/N + 2 Σ_off ωλ² (r Z/(Nωλ) − 1) a: nothing but terms ≥ 0."""
    λ, ω, r, _, N = symbols()
    a = _coefficients()
    gaps = {}
    for subset in ((1, 2), (1,)):
        least = _stated_coefficients(subset, control)
        gap = sum(λ[d] * r[d] * (a[d] - least[d]) for d in range(2)) ** 2 / N
        for d in range(2):
            square = ω[d] * λ[d] ** 3 * (a[d] - least[d]) ** 2
            gap += in_roots((1 + 1 / N) * square)
            if d + 1 not in subset:
                Z = _stated_coupling(subset, control)
                gap += 2 * (λ[d] * r[d] * Z / N - in_roots(ω[d] * λ[d] ** 2)) * a[d]
        gaps[str(subset)] = gap
    return gaps


def _stated_coupling(subset: Sequence[int], control: str) -> Expr:
    """Z = N Σ_A r/(N + 1 + Σ_A r²/(ωλ))."""
    λ, ω, r, _, N = symbols()
    shares = [in_roots(r[d - 1] ** 2 / (ω[d - 1] * λ[d - 1])) for d in subset]
    count = 0 if control == NO_COUNT else sum(shares)
    length = N + 1 if control == LONGER else N
    return N * sum(r[d - 1] for d in subset) / (length + 1 + count)


def _stated_coefficients(subset: Sequence[int], control: str) -> list[Expr]:
    """a = N/((N+1)λ) [1 − r Z/(Nωλ)] on the subset, or 1/s∞."""
    import sympy as sp

    λ, ω, r, _, N = symbols()
    Z = _stated_coupling(subset, control)
    a = [sp.Integer(0)] * 2
    for d in (number - 1 for number in subset):
        bracket = 1 - in_roots(r[d] / (ω[d] * λ[d])) * Z / N
        a[d] = N / ((N + 1) * λ[d]) * bracket
        if control == LARGE_N:
            a[d] = N / ((N + 1) * λ[d] + sum(λ))
    return a


# Long because all that is stated of a fixed point is read off together.
def _derived_points(context: RunContext) -> Formulas:
    """Coefficients and losses of every subset by the engine, its conditions, and the derived rates at its weights."""
    from ....theory.symbolic import fixed_points

    formulas: dict[str, Expr] = {}
    for point in fixed_points(problem(MODES), Merged(heads=1, outputs=2)):
        subset = point.subset
        formulas[f"{subset}, loss"] = in_roots(point.loss)
        coefficients = _engine_coefficients(subset)
        formulas |= {f"{subset}, a_{d}": coefficients[d - 1] for d in subset}
        for number, rate in enumerate(_rates_at(subset, coefficients)):
            formulas[f"{subset}, rate {number}"] = rate
    everything = fixed_points(problem(MODES), Merged(heads=1, outputs=2))[0]
    for number, condition in enumerate(getattr(everything, "conditions", ()), start=1):
        formulas[f"condition {number}"] = in_roots(condition.gts - condition.lts)
    return formulas


# Long because weights, rates and their even parts follow from one another.
def _rates_at(subset: Sequence[int], a: Sequence[Expr]) -> list[Expr]:
    """ṗ/x and q̇/x of the modes of a subset, where p = λx and q = rx with x² = a/(λr)."""
    import sympy as sp

    λ, _, r, _, _ = symbols()
    derivation = derived(MODES)
    p, q = amplitudes()
    x = [sp.Symbol(f"x_{d}", positive=True) for d in (1, 2)]
    learned = [1 if d in subset else 0 for d in (1, 2)]
    weights = {p[d]: learned[d] * λ[d] * x[d] for d in range(2)} | {
        q[d]: learned[d] * r[d] * x[d] for d in range(2)
    }
    rates = []
    blocks = layer_of(derivation)
    for d in (number - 1 for number in subset):
        for weight in (blocks.p[d, d], blocks.q[d, d]):
            rate = in_roots(on_diagonal(derivation.flow[weight], derivation))
            even = sp.expand(rate.subs(weights, simultaneous=True) / x[d])
            squares = {x[e] ** 2: a[e] / (λ[e] * r[e]) for e in range(2)}
            rates.append(even.subs(squares))
    return rates


# Long because all that is stated of a fixed point is written together.
def _stated_points(context: RunContext, control: str) -> Formulas:
    """a as stated, L = L(0) − Σ_A ωλ²a, no rate, and ωλ/r (N + 1 + Σ r²/(ωλ)) > Σ r."""
    λ, ω, r, σ, N = symbols()
    formulas: dict[str, Expr] = {}
    untrained = sum(ω[d] * λ[d] for d in range(2)) + 2 * σ**2
    for subset in ((1, 2), (1,), (2,), ()):
        a = _stated_coefficients(subset, control)
        drop = sum(in_roots(ω[d] * λ[d] ** 2) * a[d] for d in range(2))
        formulas[f"{subset}, loss"] = in_roots(untrained) - drop
        formulas |= {f"{subset}, a_{d}": a[d - 1] for d in subset}
        formulas |= {f"{subset}, rate {k}": 0 for k in range(2 * len(subset))}
    Z = _stated_coupling((1, 2), control)
    for d in range(2):
        κ = in_roots(ω[d] * λ[d]) / r[d]
        # κ > Z/N, times N Σ r/Z.
        formulas[f"condition {d + 1}"] = (κ * N / Z - 1) * sum(r)
    return exact(formulas)


CLAIMS = (
    proof(
        "modes_proof.convex",
        "The loss of p and q exceeds a convex function of their products by squares, and entries off the diagonal add",
        r"L = L(pq) + \tfrac{1}{N} (r_1\lambda_2 p_1 q_2 - r_2\lambda_1 p_2 q_1)^2,\quad "
        r"r^2 = \omega\lambda + \sigma^2",
        "the derived loss of diagonal p and q, and its difference from that of all entries, D = 2",
        equation="loss of one layer",
        measure=_derived_convex,
        predict=_stated_convex,
        controls=(DECOUPLED, OTHER_SIGN, SUBTRACTED, TRACE),
    ),
    proof(
        "modes_proof.minimum",
        "The soft threshold is the least loss: what any other a ≥ 0 adds is a sum of terms that are not negative",
        r"L(a) - L(a^*) = (1 + \tfrac1N) \sum \omega\lambda^3 (a - a^*)^2 + \tfrac1N (\sum \lambda r (a - a^*))^2 + "
        r"2\sum_{\mathrm{off}} \omega\lambda^2 (\tfrac{rZ}{N\omega\lambda} - 1)\, a",
        "the derived loss at the best scale of p and q minus that at the engine's fixed point, D = 2",
        hypotheses=("r Z/(Nωλ) ≥ 1 for the modes that are off",),
        equation="fixed point of the modes",
        measure=_derived_minimum,
        predict=_stated_minimum,
        controls=(LARGE_N, NO_COUNT, LONGER),
    ),
    proof(
        "modes_proof.fixed_points",
        "Each subset of modes has one fixed point, where its weakest mode is above the coupling of all",
        r"a_\alpha = \frac{N}{(N+1)\lambda_\alpha} \Big[1 - \frac{r_\alpha Z}{N \omega_\alpha\lambda_\alpha}\Big],"
        r"\quad Z = \frac{N \sum r}{N + 1 + \sum r^2/(\omega\lambda)}",
        "coefficients, losses and conditions of the engine, and the derived rates of p and q there, D = 2",
        equation="fixed points of the modes",
        measure=_derived_points,
        predict=_stated_points,
        controls=(LARGE_N, NO_COUNT, LONGER),
    ),
)
