"""Proofs on the flow of one layer: what it conserves, where it is stable, and how outputs that vary alike learn."""

from itertools import product
from typing import NamedTuple

from ....models.attention import Merged
from ...evidence.claim import RunContext
from ...evidence.identities import Expr, Formulas
from .proof_setting import (
    MODES,
    OTHER_SIGN,
    Law,
    amplitudes,
    derived,
    exact,
    layer_of,
    on_diagonal,
    proof,
    symbols,
)

ALONE = "|p2|² − |q1|² without the other blocks"
BY_MODE = "each p_d² − q_d² is conserved"
NO_SCALE = "no zero direction at the minimum"
ALL_OFF = "every mode that is off is unstable"
TIMES_K = "flow time × K"
TIME_ONE = "the same flow time"
ONE_LOSS = "the loss of one output"


# What is conserved


def _derived_conservation(context: RunContext) -> Formulas:
    """Rates of |[p1 p2]|² − |[q1; q2]|² on one prompt of any numbers, and of each p_d² − q_d² on unlimited data."""
    derivation = derived(MODES)
    blocks = layer_of(derivation)
    formulas = {"any prompt": _rate_on_any_prompt()}
    for d in range(2):
        p, q = blocks.p[d, d], blocks.q[d, d]
        rate = 2 * p * derivation.flow[p] - 2 * q * derivation.flow[q]
        formulas[f"mode {d + 1}"] = on_diagonal(rate, derivation)
    invariants = derivation.conserved(degree=2)
    formulas |= {"quadratic invariants": len(invariants)}
    formulas["invariant"] = invariants[0]
    return exact(formulas)


# Long because every entry of one prompt is a symbol.
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
    p, q = amplitudes()
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


# Long because task, fixed point and weights of one case are made together.
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

_SEVERAL, _SINGLE = Law(False, 2, _OUTPUTS), Law(False, 2, 1)
"""K outputs and one, D = 2: the entries of q off the diagonal are among the weights."""


# Long because weights of K outputs are put in terms of those of one.
def _derived_relation(context: RunContext) -> Formulas:
    """L, ṗ and q̇ of K = 4 outputs with Γ = 1 at p = K^{−1/4} v 1 and q = K^{1/4} U, from the definition."""
    import sympy as sp

    derivation = derived(_SEVERAL)
    v, U = _one_output_weights()
    root = sp.sqrt(2)  # K^{1/4}
    blocks = layer_of(derivation)
    white = {
        symbol: sp.Integer(1)
        for symbol in derivation.parameters
        if "gamma" in str(symbol)
    }
    point = {}
    for a, d in product(range(2), repeat=2):
        point[blocks.q[a, d]] = root * U[a, d]
    for i, j in product(range(_OUTPUTS), repeat=2):
        point[blocks.p[i, j]] = v / root if i == j else sp.Integer(0)

    def at_point(expression: Expr) -> Expr:
        # All at once, since v and U stand on both sides.
        return expression.xreplace({**white, **point})

    formulas = {"loss": at_point(derivation.loss.expression)}
    for i, j in product(range(_OUTPUTS), repeat=2):
        formulas[f"p_{i}{j}"] = at_point(derivation.flow[blocks.p[i, j]]) * root
    for a, d in product(range(2), repeat=2):
        formulas[f"q_{a}{d}"] = at_point(derivation.flow[blocks.q[a, d]]) / root
    return formulas


def _one_output_weights() -> tuple[Expr, Expr]:
    """v and U (2, 2) of one output."""
    blocks = layer_of(derived(_SINGLE))
    return blocks.p[0, 0], blocks.q


def _stated_relation(context: RunContext, control: str) -> Formulas:
    """K L_Z, √K v̇_Z on the diagonal of p and 0 off it, √K U̇_Z."""
    import sympy as sp

    v, U = _one_output_weights()
    one = derived(_SINGLE)
    times = {TIMES_K: _OUTPUTS, TIME_ONE: 1}.get(control, sp.sqrt(_OUTPUTS))
    factor = 1 if control == ONE_LOSS else _OUTPUTS
    formulas = {"loss": factor * one.loss.expression}
    for a, d in product(range(2), repeat=2):
        formulas[f"q_{a}{d}"] = times * one.flow[U[a, d]]
    for i, j in product(range(_OUTPUTS), repeat=2):
        formulas[f"p_{i}{j}"] = times * one.flow[v] if i == j else sp.Integer(0)
    return formulas


CLAIMS = (
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
        f"loss and flow of K = {_OUTPUTS} outputs and of one, both from the definition, D = 2 with noise",
        equation="staged learning",
        measure=_derived_relation,
        predict=_stated_relation,
        controls=(TIMES_K, TIME_ONE, ONE_LOSS),
    ),
)
