"""Searches for the best heads on the exact loss: the least loss of heads that merge, and where searches end.

At given ω the least loss is that of a quadratic form in μ, whose coefficients are g(ω) and F(ω, ω′) of the exact loss.
Heads that merge have derivatives of these by ω, which are taken here from the polynomial through a few ω nearby.
"""

from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.polynomial import chebyshev

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import exact_loss, exact_optimum
from ....theory.softmax_attention.exact_losses import value_averages
from ....theory.softmax_attention.exact_tables import ExactTable, table_within
from ....theory.softmax_attention.losses_of_heads import HeadOptimum, MergedHeads
from ....theory.softmax_attention.spans_of_heads import (
    best_span,
    groups_at,
    omega_of,
    z_of,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_at_order, equal_within
from .setting import EXACT_LOSSES, white_task

SEVERAL_HEADS = "several heads and one head"

FEW = white_task(2, 5)
FEW_NODES = 12
"""Of the quadrature over the query, in the form and in the table alike."""

REACH, GRID_ERROR, LEAST_SQUARE = 1.0, 1e-11, 1e-13
"""The largest ω of the table, its error, and the squares that count as rounding."""

NEARBY, RADIUS = 11, 0.12
"""ω through which a polynomial is laid, and how far they are from its centre: singularities are at 0.3 and beyond."""

ONE_EACH = "merged heads as one head"
NO_FACTORIAL = "Taylor coefficients for derivatives"
SLOPE_SIGN = "the slope with the other sign"
WITHOUT_QUERY = "the best pair without the query's token"


class Groups(NamedTuple):
    """Heads at some ω, so many at each, and whether the query's own token is among the keys."""

    omega: tuple[float, ...]
    sizes: tuple[int, ...]
    query_token: bool


GROUPS = (
    Groups((0.0, 0.6), (2, 1), False),
    Groups((0.3,), (4,), True),
    Groups((-0.4, 0.1, 0.5), (1, 1, 1), True),
)


def _merged_by_derivatives(context: RunContext) -> list[FloatArray]:
    """Best values, and the loss (H + 1,) of each of GROUPS, and z, ω and slopes by z (3H,) of the heads apart."""
    rows = []
    for groups in GROUPS:
        form = _form(groups)
        μ = np.linalg.solve(form.products, form.signal)
        rows += [μ, np.array([form.zero_loss - float(form.signal @ μ)])]
    return rows + _slopes(GROUPS[-1])


class _Form(NamedTuple):
    """L(0) − 2 signalᵀμ + μᵀ products μ."""

    zero_loss: float
    signal: FloatArray
    products: FloatArray


@cache
def _form(groups: Groups) -> _Form:
    """The form in the values of f and its derivatives by ω at each place."""
    spread = chebyshev.chebpts1(NEARBY)
    ω = np.concatenate([at + RADIUS * spread for at in groups.omega])
    averages = value_averages(
        FEW, ω, query_token=groups.query_token, nodes=FEW_NODES, error=GRID_ERROR
    )
    # Derivatives at the centre of the polynomial through the values at the spread: (k, NEARBY).
    inverse = np.linalg.inv(np.vander(RADIUS * spread, increasing=True))
    factorials = np.array([1.0, 1.0, 2.0, 6.0])
    derivatives = factorials[:, None] * inverse[:4]
    rows = []
    for place, size in enumerate(groups.sizes):
        block = np.zeros((size, len(ω)))
        block[:, place * NEARBY : (place + 1) * NEARBY] = derivatives[:size]
        rows.append(block)
    change = np.concatenate(rows)
    return _Form(
        1 + FEW.noise_variance,
        change @ averages.signal,
        change @ averages.products @ change.T,
    )


@cache
def _slopes(groups: Groups) -> list[FloatArray]:
    """z = arsinh(ω/δ)/arsinh(R/δ) of heads apart, their ω, and the slopes of the least loss by z, each (H,)."""
    ω = np.array(groups.omega)
    form = value_averages(
        FEW, ω, query_token=groups.query_token, nodes=FEW_NODES, gradient=True
    )
    δ = _table(groups.query_token).scale
    a = np.arcsinh(REACH / δ)
    return [np.arcsinh(ω / δ) / a, ω, form.by_ω(form.best_μ()) * a * np.hypot(ω, δ)]


@cache
def _table(query_token: bool) -> ExactTable:
    return table_within(
        FEW, REACH, GRID_ERROR, nodes=FEW_NODES, query_token=query_token
    )


def _merged_by_the_theory(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's values and losses of merged heads, and its coordinate and slopes of heads apart."""
    rows = []
    for groups in GROUPS:
        table = _table(groups.query_token)
        ω = np.array(groups.omega)
        merged = groups_at(table, ω, list(groups.sizes), LEAST_SQUARE)
        values = [group.values for group in merged]
        if control == NO_FACTORIAL:
            values = [each * [1.0, 1.0, 0.5, 1 / 6][: len(each)] for each in values]
        sizes = [1] * len(ω) if control == ONE_EACH else groups.sizes
        z = np.repeat(z_of(table, ω), sizes)
        loss = best_span(table, z, LEAST_SQUARE).loss
        rows += [np.concatenate(values), np.array([loss])]
    slopes = best_span(table, z, LEAST_SQUARE).by_z
    slopes = -slopes if control == SLOPE_SIGN else slopes
    return [*rows, z, omega_of(table, z), slopes]


# Heads that are set up near a limit

NEAR_SIZES = (2, 3, 4)
"""Heads that merge in each case."""
DISTANCES = (0.2, 0.1, 0.05)
MERGED_AT, APART_AT = 0.3, -0.7
DERIVATIVE_VALUES = np.array([0.4, -0.9, 0.25, 0.1])
RATE = 0.8
"""Of f(ω) = e^{ω(0.8 + i)}, of whose derivatives each is 0.8 + i times the one before."""
WEIGHTS_OF_ORDERS = "Taylor coefficients for derivatives"
NOT_CENTRED = "heads on one side of the limit"


def _predictions_in_the_limit(context: RunContext) -> list[FloatArray]:
    """Real and imaginary part (6,) of 0.5 f(ω_1) + Σ_j v_j f^{(j)}(ω), for two to four heads, the same for each."""
    rate = RATE + 1j
    sums = [
        0.5 * np.exp(rate * APART_AT)
        + np.sum(DERIVATIVE_VALUES[:k] * rate ** np.arange(k))
        * np.exp(rate * MERGED_AT)
        for k in NEAR_SIZES
    ]
    return [np.concatenate([np.real(sums), np.imag(sums)])] * len(DISTANCES)


def _predictions_of_heads_near(context: RunContext, control: str) -> list[FloatArray]:
    """The same sums over the theory's heads at each distance: Σ_h μ_h f(ω_h)."""
    rows = []
    for distance in DISTANCES:
        sums = []
        for k in NEAR_SIZES:
            values = DERIVATIVE_VALUES[:k]
            if control == WEIGHTS_OF_ORDERS:
                values = values * [1.0, 1.0, 0.5, 1 / 6][:k]
            group = MergedHeads(k, MERGED_AT, values)
            limit = HeadOptimum(
                np.array([APART_AT]), np.array([0.5]), loss=0.0, merged=(group,)
            )
            heads = limit.heads_near(distance)
            ω = heads.omega + (distance if control == NOT_CENTRED else 0.0)
            sums.append(np.sum(heads.mu * np.exp((RATE + 1j) * ω)))
        rows.append(np.concatenate([np.real(sums), np.imag(sums)]))
    return rows


# Searches


def _least_pair(context: RunContext) -> list[FloatArray]:
    """ω and μ, and the loss (5,) of two heads with the query's token, where a descent on the exact loss ends."""
    from scipy.optimize import minimize

    def loss(heads: FloatArray) -> tuple[float, FloatArray]:
        result = exact_loss(
            FEW,
            heads[:2],
            heads[2:],
            query_token=True,
            nodes=NODES_OF_SEARCH,
            gradient=True,
        )
        assert result.gradient is not None
        return float(result), np.concatenate(result.gradient)

    options = {"gtol": 1e-8}
    found = minimize(loss, _START, jac=True, method="BFGS", options=options)
    return [found.x, np.array([found.fun])]


_START = np.array([0.25, -0.65, 1.25, -1.0])
"""Near the best of all heads: with ω of one sign, or far apart, other descents end above it."""
NODES_OF_SEARCH = 16


def _searched_pair(context: RunContext, control: str) -> list[FloatArray]:
    """The theory's two heads, or those of other keys."""
    best = _found(control != WITHOUT_QUERY)
    return [np.concatenate([best.omega, best.mu]), np.array([best.loss])]


@cache
def _found(query_token: bool) -> HeadOptimum:
    return exact_optimum(FEW, 2, query_token=query_token)


CLAIMS = (
    Claim(
        id="softmax.merged_heads",
        title="Heads that merge lose what heads with derivatives of the softmax average lose",
        paper="he2025",
        equation=SEVERAL_HEADS,
        beyond_paper=True,
        origin="derived here, by divided differences",
        statement=r"\lim_{\omega_k \to \omega} \mathrm{span}\{f(\omega_1), \dots, f(\omega_k)\} = "
        r"\mathrm{span}\{f, f', \dots, f^{(k-1)}\}(\omega)",
        observable="values, losses and slopes from forms in f and derivatives of polynomials through eleven ω "
        "nearby; up to four heads that merge, D = 2, N = 5",
        limit="distances of heads → 0",
        measure=_merged_by_derivatives,
        predict=_merged_by_the_theory,
        judge=equal_within(1e-5),
        controls=(ONE_EACH, NO_FACTORIAL, SLOPE_SIGN),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
    Claim(
        id="softmax.heads_near",
        title="Heads a small distance apart predict what heads that merge do",
        paper="he2025",
        equation=SEVERAL_HEADS,
        beyond_paper=True,
        origin="derived here, by divided differences",
        statement=r"\textstyle\sum_h \mu_h f(\omega_h) = \sum_j v_j f^{(j)}(\omega) + O(\epsilon^2)",
        observable="sums over two to four heads that merge and one that does not, of f = e^{ω(0.8 + i)}, whose "
        "derivatives are known; distances 0.2, 0.1, 0.05",
        limit="distances of heads → 0, error O(ε²)",
        order=2.0,
        measure=_predictions_in_the_limit,
        predict=_predictions_of_heads_near,
        judge=converges_at_order(DISTANCES, 2, name="ε"),
        controls=(WEIGHTS_OF_ORDERS, NOT_CENTRED),
        tier="fast",
    ),
    Claim(
        id="softmax.searched_pair",
        title="With the query's token among the keys the best two heads are of unequal size",
        paper="he2025",
        equation=SEVERAL_HEADS,
        beyond_paper=True,
        statement=r"\partial L/\partial\omega_h = \partial L/\partial\mu_h = 0,\quad \omega_1 \ne -\omega_2",
        observable="end of a descent on the exact loss over ω and μ of two heads, D = 2, N = 5",
        limit="nodes of the quadrature → ∞",
        measure=_least_pair,
        predict=_searched_pair,
        judge=equal_within(1e-5),
        controls=(WITHOUT_QUERY,),
        assumes=EXACT_LOSSES,
        tier="fast",
    ),
)
