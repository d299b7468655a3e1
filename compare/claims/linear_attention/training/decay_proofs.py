"""Proofs on L2 weight decay: the scalar equation of a head, how far decay may go, stability, and balance."""

from typing import Any

from .....models.attention import Merged, Separate
from ....evidence.claim import UNMODIFIED, RunContext
from ....evidence.identities import Expr, Formulas
from ..common.controls import MOMENTS
from ..symbolic.identities import (
    DirectionMoments,
    block_flow,
    problem,
    proof,
    stated_directions,
)

TWICE = "wd for wd/2"
NO_DECAY = "no decay"
QUARTER_DROPPED = "b/(aλ) for b/(4aλ)"
FULL_RATE = "e^(−2wd·t) for e^(−wd·t)"


def _wd() -> Expr:
    import sympy as sp

    return sp.Symbol("wd", positive=True)


def _amplitude() -> Expr:
    """v of a balanced head."""
    import sympy as sp

    return sp.Symbol("v", positive=True)


def _with_decay(flow: dict[Expr, Expr]) -> dict[Expr, Expr]:
    """The flow of L + (wd/2)|θ|², since dθ/dt = −½ ∂/∂θ of it."""
    return {weight: rate - _wd() / 2 * weight for weight, rate in flow.items()}


class _Head:
    """One head on two directions: its loss with decay, and its weights v, (k₁, k₂), (q₁, q₂)."""

    def __init__(self) -> None:
        from .....theory.symbolic import population_loss

        block = block_flow(Separate(1), problem("diagonal"))
        self.flow = _with_decay(block.flow)
        self.value = block.values[0]
        self.key = list(block.heads["key"][0])
        self.query = list(block.heads["query"][0])
        weights = [self.value, *self.key, *self.query]
        squares = sum(weight**2 for weight in weights)
        loss = population_loss(problem("diagonal"), Separate(1), "restricted")
        self.loss = loss.expression + _wd() / 2 * squares

    def curvature(self, first: Expr, second: Expr) -> Expr:
        """The second derivative of the loss where the head lies balanced on direction 1."""
        import sympy as sp

        balanced = dict.fromkeys((self.value, self.key[0], self.query[0]), _amplitude())
        elsewhere = dict.fromkeys((self.key[1], self.query[1]), 0)
        return sp.diff(self.loss, first, second).subs(balanced | elsewhere)


# The equation of a head, and where it can rest


def _derived_head(context: RunContext) -> Formulas:
    """The rate of a balanced head, and the discriminant in v of what must vanish for it to rest."""
    import sympy as sp

    from .....theory.symbolic import reduce

    v = _amplitude()
    head = _Head()
    ansatz = {head.value: v, head.key[0]: v, head.query[0]: v}
    rate = reduce(head.flow, ansatz).equations[v]
    polynomial = sp.cancel(rate / v)
    return {"dv/dt": rate, "discriminant": sp.discriminant(polynomial, v)}


def _stated_head(context: RunContext, control: str) -> Formulas:
    """b v² − aλ v⁵ − (wd/2) v, and a discriminant that vanishes just at wd³ = (27/8) b³ · b/(4aλ)."""
    v, wd = _amplitude(), _wd()
    _, b, saturation = stated_directions(problem("diagonal"), control)
    decay = {TWICE: 1, NO_DECAY: 0}.get(control, 1 / _two()) * wd
    quarter = 1 if control == QUARTER_DROPPED else 4
    cube_of_bound = 27 * b[0] ** 4 / (8 * quarter * saturation[0])
    return {
        "dv/dt": b[0] * v**2 - saturation[0] * v**5 - decay * v,
        "discriminant": 32 * saturation[0] ** 3 * (wd**3 - cube_of_bound),
    }


def _two() -> Expr:
    import sympy as sp

    return sp.Integer(2)


# Stability


def _derived_curvatures(context: RunContext) -> Formulas:
    """Curvatures of the loss at a balanced head on direction 1, where wd/2 = b v − aλ v⁴."""
    head = _Head()
    v, k, q = head.value, head.key, head.query
    along = sum(head.curvature(v, weight) for weight in (v, k[0], q[0]))
    curvatures = {
        "along the head": along,
        "off balance": head.curvature(v, v) - head.curvature(v, k[0]),
        "key turns": head.curvature(k[1], k[1]),
        "query turns": head.curvature(q[1], q[1]),
        "both turn": head.curvature(k[1], q[1]),
    }
    moments = stated_directions(problem("diagonal"), UNMODIFIED)
    rest = {_wd(): _decay_at_rest(moments)}
    return {name: form.subs(rest) for name, form in curvatures.items()}


def _decay_at_rest(moments: DirectionMoments) -> Expr:
    """The wd with which the amplitude v is one of rest on direction 1."""
    v = _amplitude()
    return 2 * (moments.b[0] * v - moments.saturation[0] * v**4)


# Long because it states five formulas, and their wrong variants.
def _stated_curvatures(context: RunContext, control: str) -> Formulas:
    """2 (4aλ v⁴ − b v), 2wd, 2 (a_j λ_d v⁴ + wd/2), 2 (a_d λ_j v⁴ + wd/2) and −2 b_j v for d = 1, j = 2."""
    v = _amplitude()
    moments = stated_directions(problem("diagonal"), control)
    b, saturation = moments.b, moments.saturation
    Λ = problem("diagonal").covariance
    λ = [Λ[d, d] for d in range(2)]
    a = [saturation[d] / λ[d] for d in range(2)]
    wd = _decay_at_rest(moments)
    if control == TWICE:
        wd *= 2
    turned = (a[0], a[1]) if control == "a_d and a_j exchanged" else (a[1], a[0])
    four = 3 if control == "3aλ v⁴ for 4aλ v⁴" else 4
    return {
        "along the head": 2 * (four * saturation[0] * v**4 - b[0] * v),
        "off balance": 2 * wd,
        "key turns": 2 * turned[0] * λ[0] * v**4 + wd,
        "query turns": 2 * turned[1] * λ[1] * v**4 + wd,
        "both turn": -2 * b[1] * v,
    }


# What the flow conserves without decay


def _rates_of_balances(context: RunContext) -> Formulas:
    """dQ/dt under decay of every quantity that the flow of all weights conserves without it, D = 1."""
    from .....theory.symbolic import lie_derivative

    return {
        name: lie_derivative(quantity, flow)
        for name, (quantity, flow) in _balances().items()
    }


def _balances() -> dict[str, tuple[Expr, dict[Expr, Expr]]]:
    """Each quantity with the flow that decays it."""
    from .....theory.symbolic import flow_equations, population_loss, symbolic_task

    balances = {}
    for model in (Merged(2), Separate(1)):
        flow = flow_equations(population_loss(symbolic_task(1), model))
        for name, quantity in _quantities(model).items():
            balances[name] = (quantity, _with_decay(flow))
    return balances


def _quantities(model: Merged | Separate) -> dict[str, Expr]:
    """a_h·a_g − ⟨B_h, B_g⟩ of merged heads, |a|² − |k|² and |k|² − |q|² of a separate one."""
    from .....theory.symbolic import weight_symbols

    weights: dict[str, Any] = weight_symbols(model, 1)
    a = weights["value"]
    if isinstance(model, Merged):
        B = weights["key_query"][:, :, :-1].reshape(2, -1)
        quantities = {}
        for h, g in ((0, 0), (0, 1), (1, 1)):
            quantities[f"merged, heads {h + 1}, {g + 1}"] = a[h] @ a[g] - B[h] @ B[g]
        return quantities
    k, q = weights["key"].ravel(), weights["query"][..., :-1].ravel()
    return {
        "separate, value and key": a[0] @ a[0] - k @ k,
        "separate, key and query": k @ k - q @ q,
    }


def _stated_rates(context: RunContext, control: str) -> Formulas:
    """−wd Q."""
    rate = {UNMODIFIED: 1, FULL_RATE: 2, NO_DECAY: 0}[control] * _wd()
    return {name: -rate * quantity for name, (quantity, _) in _balances().items()}


CLAIMS = (
    proof(
        "decay_proofs.head",
        "A head under weight decay obeys v̇ = b v² − aλ v⁵ − (wd/2) v and can rest up to wd = (3/2) b (b/(4aλ))^(1/3)",
        r"\mathrm{wd} < \tfrac32\, b_d \left(\frac{b_d}{4 a_d \lambda_d}\right)^{1/3}",
        "rate of a balanced head, and the discriminant of b v − aλ v⁴ − wd/2",
        equation="descent with weight decay",
        beyond_paper=True,
        measure=_derived_head,
        predict=_stated_head,
        controls=(*MOMENTS, TWICE, NO_DECAY, QUARTER_DROPPED),
    ),
    proof(
        "decay_proofs.stability",
        "Under weight decay only the larger root is stable along its head, which turns where b_j outweighs curvature",
        r"(a_j \lambda_d v_d^4 + \tfrac{\mathrm{wd}}{2})(a_d \lambda_j v_d^4 + \tfrac{\mathrm{wd}}{2}) < b_j^2 v_d^2",
        "second derivatives of L + (wd/2)|θ|² at a head of rest, along it and towards another direction",
        equation="descent with weight decay",
        beyond_paper=True,
        measure=_derived_curvatures,
        predict=_stated_curvatures,
        controls=(*MOMENTS, TWICE, "a_d and a_j exchanged", "3aλ v⁴ for 4aλ v⁴"),
    ),
    proof(
        "decay_proofs.balance",
        "Under weight decay every quadratic quantity that the flow conserves shrinks as e^(−wd·t)",
        r"\dot Q = -\mathrm{wd}\, Q",
        "rates of the conserved quantities of both models, all weights, D = 1",
        equation="descent with weight decay",
        beyond_paper=True,
        measure=_rates_of_balances,
        predict=_stated_rates,
        controls=(FULL_RATE, NO_DECAY),
    ),
)
