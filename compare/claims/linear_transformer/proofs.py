"""Proofs by the symbolic engine: loss and flow from the definition, the least loss, conservation and the index.

Where roots r = √(ωλ + σ²) enter, r stands in place of ω = (r² − σ²)/λ, so that every formula is a rational function.
Weights of a coefficient a = pq at its least loss are p = λx, q = rx with x² = a/(λr).
"""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from ....models.attention import Merged
from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_setting import (
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
    in_roots,
    layer_of,
    problem,
    proof,
    stated_loss,
    stated_moments,
    symbols,
)

if TYPE_CHECKING:
    from ....theory.symbolic import Derivation

DECOUPLED = "T_p T_q/N left out, as mode by mode"
ALONE = "|p2|² − |q1|² without the other blocks"
OTHER_SIGN = "+ for − in the square"
SUBTRACTED = "entries of p off the diagonal subtract"
NO_COUNT = "Σ r²/(ωλ) left out of the coupling"
LARGE_N = "1/s∞, the limit of large N"
BY_MODE = "each p_d² − q_d² is conserved"
NO_SCALE = "no zero direction at the minimum"
ALL_OFF = "every mode that is off is unstable"
TIMES_K = "flow time × K"
TIME_ONE = "the same flow time"
ONE_LOSS = "the loss of one output"
NO_CROSS = "4 p1 p2 q1 q2 left out"
GAUSSIAN_FOURTH = "1 for the 2 of E l⁴ − 1"

Point = Mapping[Expr, Expr]


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


def _loss_of_blocks() -> Expr:
    """The loss of four diagonal blocks, D = 2, ω = 1, σ = 0, where attention does not read the query's own token."""
    import sympy as sp

    from ....theory.symbolic import derive, symbolic_task

    task = symbolic_task(2, shared_basis=True)
    whole = derive(task, Merged(heads=1, outputs=2, query_token=False))
    value, key_query = whole.arrays["value"][0], whole.arrays["key_query"][0]
    blocks = _block_symbols()
    on_diagonal: dict[Expr, Expr] = {}
    for d, (p1, p2, q1, q2) in enumerate(blocks):
        on_diagonal |= {value[d, d]: p1, value[d, d + 2]: p2}
        on_diagonal |= {key_query[d, d]: q1, key_query[d + 2, d]: q2}
    zero = sp.Integer(0)
    point = {weight: on_diagonal.get(weight, zero) for weight in whole.weights}
    return whole.loss.expression.subs(point, simultaneous=True)


def _block_symbols() -> list[list[Expr]]:
    """p1, p2, q1 and q2 of each mode."""
    import sympy as sp

    names = ("p1", "p2", "q1", "q2")
    return [[sp.Symbol(f"{name}_{d}", real=True) for name in names] for d in (1, 2)]


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


# The convex form


def _diagonal(expression: Expr, derivation: "Derivation") -> Expr:
    """An expression where p = diag(p_1, p_2) and q = diag(q_1, q_2)."""
    p, q = _amplitudes()
    blocks = layer_of(derivation)
    values = {}
    for i, j in product(range(2), repeat=2):
        values[blocks.p[i, j]] = p[i] if i == j else 0
        values[blocks.q[i, j]] = q[i] if i == j else 0
    return expression.subs(values, simultaneous=True)


def _amplitudes() -> tuple[list[Expr], list[Expr]]:
    import sympy as sp

    p = [sp.Symbol(f"p_{d}", real=True) for d in (1, 2)]
    q = [sp.Symbol(f"q_{d}", real=True) for d in (1, 2)]
    return p, q


def _derived_convex(context: RunContext) -> Formulas:
    """The loss of diagonal p and q, and what entries off the diagonal add to it."""
    derivation = derived(MODES)
    loss = derivation.loss.expression
    diagonal = _diagonal(loss, derivation)
    p, q = _amplitudes()
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
    p, q = _amplitudes()
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


def _derived_minimum(context: RunContext) -> Formulas:
    """L(a) − L(a*) for a ≥ 0, of the derived loss at p = λx and q = rx, where a* learns both modes or the first."""
    import sympy as sp

    λ, _, r, _, _ = symbols()
    p, q = _amplitudes()
    a = _coefficients()
    diagonal = in_roots(_diagonal(derived(MODES).loss.expression, derived(MODES)))
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


def _rates_at(subset: Sequence[int], a: Sequence[Expr]) -> list[Expr]:
    """ṗ/x and q̇/x of the modes of a subset, where p = λx and q = rx with x² = a/(λr)."""
    import sympy as sp

    λ, _, r, _, _ = symbols()
    derivation = derived(MODES)
    p, q = _amplitudes()
    x = [sp.Symbol(f"x_{d}", positive=True) for d in (1, 2)]
    learned = [1 if d in subset else 0 for d in (1, 2)]
    weights = {p[d]: learned[d] * λ[d] * x[d] for d in range(2)} | {
        q[d]: learned[d] * r[d] * x[d] for d in range(2)
    }
    rates = []
    blocks = layer_of(derivation)
    for d in (number - 1 for number in subset):
        for weight in (blocks.p[d, d], blocks.q[d, d]):
            rate = in_roots(_diagonal(derivation.flow[weight], derivation))
            even = sp.expand(rate.subs(weights, simultaneous=True) / x[d])
            squares = {x[e] ** 2: a[e] / (λ[e] * r[e]) for e in range(2)}
            rates.append(even.subs(squares))
    return rates


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


# What is conserved


def _derived_conservation(context: RunContext) -> Formulas:
    """Rates of |[p1 p2]|² − |[q1; q2]|² on one prompt of any numbers, and of each p_d² − q_d² on unlimited data."""
    derivation = derived(MODES)
    blocks = layer_of(derivation)
    formulas = {"any prompt": _rate_on_any_prompt()}
    for d in range(2):
        p, q = blocks.p[d, d], blocks.q[d, d]
        rate = 2 * p * derivation.flow[p] - 2 * q * derivation.flow[q]
        formulas[f"mode {d + 1}"] = _diagonal(rate, derivation)
    invariants = derivation.conserved(degree=2)
    formulas |= {"quadratic invariants": len(invariants)}
    formulas["invariant"] = invariants[0]
    return exact(formulas)


def _rate_on_any_prompt(first: int = 0) -> Expr:
    """−½ (Σ a ∂L/∂a − Σ B ∂L/∂B) of L = |y − a G B x|², D = K = 2, with symbols for all entries of G, x and y.

    With `first` = 2 the sums leave out p1 and q2, the null blocks.
    """
    import sympy as sp

    a = sp.Matrix(2, 4, sp.symbols("a:8"))
    B = sp.Matrix(4, 2, sp.symbols("b:8"))
    G = sp.Matrix(4, 4, lambda i, j: sp.Symbol(f"G_{min(i, j)}{max(i, j)}"))
    x, y = sp.Matrix(sp.symbols("x_1:3")), sp.Matrix(sp.symbols("y_1:3"))
    features, columns = G * B * x, a * G  # (4, 1), (2, 4)
    error = y - a * features
    # −½ ∂L/∂a = e (G B x)ᵀ and −½ ∂L/∂B = (a G)ᵀ e xᵀ.
    of_a, of_B = error * features.T, columns.T * error * x.T
    moving_a = sum(a[k, i] * of_a[k, i] for k in range(2) for i in range(first, 4))
    moving_B = sum(B[i, d] * of_B[i, d] for i in range(4 - first) for d in range(2))
    return sp.expand(moving_a - moving_B)


def _stated_conservation(context: RunContext, control: str) -> Formulas:
    """0 for the total, and −(2/N)(r²p² T_q − λ²q² T_p) for a mode; the total is the only quadratic invariant."""
    formulas: dict[str, Expr] = {"any prompt": 0, "quadratic invariants": 1}
    if control == ALONE:
        formulas["any prompt"] = _rate_on_any_prompt(first=2)
    for d in range(2):
        formulas[f"mode {d + 1}"] = 0 if control == BY_MODE else _rate_of_mode(d)
    blocks = layer_of(derived(MODES))
    sign = 1 if control == OTHER_SIGN else -1
    total = sum(v**2 for v in blocks.p) + sign * sum(v**2 for v in blocks.q)
    return exact(formulas | {"invariant": total})


def _rate_of_mode(mode: int) -> Expr:
    """d(p² − q²)/dt = −(2/N)(r²p² T_q − λ²q² T_p) of one mode, numbered from 0."""
    λ, ω, _, σ, N = symbols()
    p, q = _amplitudes()
    of_p = [(ω[d] * λ[d] + σ**2) * p[d] ** 2 for d in range(2)]
    of_q = [λ[d] ** 2 * q[d] ** 2 for d in range(2)]
    return -2 * (of_p[mode] * sum(of_q) - of_q[mode] * sum(of_p)) / N


# The index at D = 2

_LENGTHS = (1, 5)
"""N where the index is found: signs of polynomials in N and two λ are not all decided."""


def _derived_index(context: RunContext) -> Formulas:
    """Signs of the exact Hessian over all p and q, without noise and with ω = 1, λ = t², in each region of t."""
    import sympy as sp

    signs: dict[str, Expr] = {}
    for length in _LENGTHS:
        for case in _cases(length):
            for sign, count in _inertia(length, case).items():
                signs[f"N = {length}, {case.name}, {sign}"] = sp.Integer(count)
    return signs


class _Case(NamedTuple):
    """√λ of both modes as functions of positive symbols, what is learned, and p_2/p_1 where both are."""

    name: str
    roots: tuple[Expr, Expr]
    subset: tuple[int, ...]
    ratio: Expr


def _cases(length: int) -> list[_Case]:
    """Every fixed point, on each side of t_1 = (N + 2) t_2, where the second mode turns off beside the first.

    Both are learned where ρ² = ((N+2) t_2 − t_1)/((N+2) t_1 − t_2) is positive, and then p_2/p_1 = ρ t_1/t_2.
    """
    import sympy as sp

    x, d, ρ = sp.symbols("x d rho", positive=True)
    n = length + 2
    one_on, one_off = (n * x, x + d), (n * x + d, x)
    both = (n + ρ**2, 1 + n * ρ**2)
    one = sp.Integer(1)
    return [
        _Case("nothing", one_on, (), one),
        _Case("first, second could be on", one_on, (1,), one),
        _Case("first, second is off", one_off, (1,), one),
        _Case("second", one_off, (2,), one),
        _Case("both", both, (1, 2), ρ * both[0] / both[1]),
    ]


def _inertia(length: int, case: _Case) -> dict[str, int]:
    """How many eigenvalues are negative, zero and positive; on the line of scales where p_1 = 1, or p_2 alone."""
    import sympy as sp

    from ....theory.symbolic import SymbolicTask, derive, fixed_points, hessian, inertia

    T = sp.zeros(4, 4)
    T[0, 0] = T[3, 3] = 1
    task = SymbolicTask(
        sp.diag(*(sp.expand(t**2) for t in case.roots)),
        T,
        sp.Integer(0),
        (sp.Integer(length),),
        outputs=2,
    )
    model = Merged(heads=1, outputs=2)
    derivation = derive(task, model, "restricted")
    blocks = layer_of(derivation)
    (point,) = [
        each for each in fixed_points(task, model) if each.subset == case.subset
    ]
    weights: dict[Expr, Expr] = {}
    for mode, a in zip(case.subset, point.coefficients, strict=True):
        p = case.ratio if mode == 2 else sp.Integer(1)
        weights[blocks.p[mode - 1, mode - 1]] = p
        weights[blocks.q[mode - 1, mode - 1]] = sp.cancel(sp.simplify(a) / p)
    signature = inertia(hessian(derivation.loss, weights))
    return signature._asdict()


def _stated_index(context: RunContext, control: str) -> Formulas:
    """The index counts modes with κ > Z/N that are off; at the minimum the scale line is the only zero direction."""
    import sympy as sp

    off = 1 if control == ALL_OFF else 0
    zero = 0 if control == NO_SCALE else 1
    signatures = {
        "nothing": (2, 4, 2),
        "first, second could be on": (1, 1, 6),
        "first, second is off": (off, zero, 7 - off),
        "second": (1, 1, 6),
        "both": (0, zero, 8 - zero),
    }
    numbers = {}
    for length, (name, counts) in product(_LENGTHS, signatures.items()):
        for sign, count in zip(("negative", "zero", "positive"), counts, strict=True):
            numbers[f"N = {length}, {name}, {sign}"] = sp.Integer(count)
    return numbers


# Unstructured tasks are merged attention with one output

_OUTPUTS = 4
"""K of the proof: its fourth root is √2."""


def _derived_relation(context: RunContext) -> Formulas:
    """L, ṗ and q̇ of K = 4 outputs with Γ = 1 at p = K^{−1/4} v 1 and q = K^{1/4} U, from the definition."""
    import sympy as sp

    law = Law(False, 1, _OUTPUTS)
    derivation = derived(law)
    v, U = _one_output_weights()
    root = sp.sqrt(2)  # K^{1/4}
    blocks = layer_of(derivation)
    white = {symbol: 1 for symbol in derivation.parameters if "gamma" in str(symbol)}
    point = {blocks.q[0, 0]: root * U}
    for i, j in product(range(_OUTPUTS), repeat=2):
        point[blocks.p[i, j]] = v / root if i == j else sp.Integer(0)

    def at_point(expression: Expr) -> Expr:
        return expression.subs(white).subs(point, simultaneous=True)

    formulas = {"loss": at_point(derivation.loss.expression)}
    for i, j in product(range(_OUTPUTS), repeat=2):
        formulas[f"p_{i}{j}"] = at_point(derivation.flow[blocks.p[i, j]]) * root
    formulas["q"] = at_point(derivation.flow[blocks.q[0, 0]]) / root
    return formulas


def _one_output_weights() -> tuple[Expr, Expr]:
    """v and U of one output at D = 1."""
    arrays = derived(ONE).arrays
    return arrays["value"][0, -1], arrays["key_query"][0, 0, 0]


def _stated_relation(context: RunContext, control: str) -> Formulas:
    """K L_Z, √K v̇_Z on the diagonal of p and 0 off it, √K U̇_Z."""
    import sympy as sp

    v, U = _one_output_weights()
    one = derived(ONE)
    times = {TIMES_K: _OUTPUTS, TIME_ONE: 1}.get(control, sp.sqrt(_OUTPUTS))
    factor = 1 if control == ONE_LOSS else _OUTPUTS
    formulas = {"loss": factor * one.loss.expression, "q": times * one.flow[U]}
    for i, j in product(range(_OUTPUTS), repeat=2):
        formulas[f"p_{i}{j}"] = times * one.flow[v] if i == j else sp.Integer(0)
    return formulas


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
    proof(
        "modes_proof.conservation",
        "|p|² − |q|² over all blocks is conserved on any data, and nothing else that is quadratic; no single mode is",
        r"\|[p_1\; p_2]\|^2 - \|[q_1; q_2]\|^2 = \mathrm{const}",
        "rates on one prompt of symbols with all blocks, and of each mode on unlimited data, D = K = 2",
        equation="conserved quantity",
        measure=_derived_conservation,
        predict=_stated_conservation,
        controls=(BY_MODE, OTHER_SIGN, ALONE),
    ),
    proof(
        "modes_proof.index",
        "Two modes: the index counts modes that are off and above the coupling, and the minimum has one flat line",
        r"\mathrm{index}(A) = \#\{\alpha \notin A : \kappa_\alpha > Z_A/N\}",
        "signs of the exact Hessian over all p and q at every fixed point, D = 2, N = 1 and 5, λ symbols",
        equation="stability of the fixed points",
        measure=_derived_index,
        predict=_stated_index,
        controls=(ALL_OFF, NO_SCALE),
    ),
    proof(
        "modes_proof.relation",
        "With unstructured tasks K outputs have K times the loss of one, √K times as fast",
        r"L = K L_Z,\quad \dot v = \sqrt{K}\, \dot v_Z,\quad p = K^{-1/4} v\, 1,\quad q = K^{1/4} U",
        f"loss and flow of K = {_OUTPUTS} outputs and of one, both from the definition, D = 1 with noise",
        equation="staged learning",
        measure=_derived_relation,
        predict=_stated_relation,
        controls=(TIMES_K, TIME_ONE, ONE_LOSS),
    ),
)
