"""What finite size makes of the closed form: orders in 1/D of the equivalent, and the label row where tasks are few."""

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import exact_risk, ridge_fit
from ....theory.asymptotics import errors
from ...evidence.claim import Claim, RunContext
from ...evidence.judges import converges_at_order
from ...evidence.seed_judges import within_standard_errors
from .drawn_data import HYPOTHESES
from .equivalents_of_settings import equivalent_of
from .extrapolations import (
    EXCHANGED,
    LINE,
    RATIOS,
    Means,
    extrapolation_agrees,
    stated_limit,
)
from .readout_runs import Ratios, Setting, fitted_errors

# -- With a ridge -------------------------------------------------------------------------------------------------

RIDGE = 0.1
DIMENSIONS = (8, 16, 32, 64)
FRESH = Ratios(tau=1.5, alpha=4.0, kappa=np.inf, noise=0.1)
"""A new task in every sequence: no pool is drawn, so that nothing scatters."""

RIDGE_IN_D = "λ_M = λ/D² for λ/D³"
MANY_TASKS = "κ = 2"


def _with_ridge(context: RunContext) -> list[FloatArray]:
    """The equivalent's error in parts of the closed form, (1,) for each D."""
    found = []
    for dimension in DIMENSIONS:
        setting = Setting.of_ratios(dimension, FRESH, RIDGE)
        limit = errors(**setting.ratios._asdict(), ridge=RIDGE)
        equivalent = equivalent_of(setting)
        found.append(np.array([equivalent.test_loss / limit.icl]))
    return found


def _limit_with_ridge(context: RunContext, control: str) -> list[FloatArray]:
    """One, or another closed form in the same parts, (1,) for each D."""
    found = []
    for dimension in DIMENSIONS:
        setting = Setting.of_ratios(dimension, FRESH, RIDGE)
        ratios = setting.ratios._asdict()
        limit = errors(**ratios, ridge=RIDGE)
        if control == MANY_TASKS:
            ratios["kappa"] = 2.0
        factor = dimension if control == RIDGE_IN_D else 1
        stated = errors(**ratios, ridge=RIDGE * factor)
        found.append(np.array([stated.icl / limit.icl]))
    return found


# -- Without a ridge ----------------------------------------------------------------------------------------------

POOLS = {8: 400, 12: 300, 16: 200, 24: 150, 32: 100}
"""D → pools of κD tasks. All D are even, so that κD is whole and the ratios are exact."""


def _without_ridge(context: RunContext) -> Means:
    """Both errors of the equivalent, means over pools."""
    values, deviations = [], []
    seed = context.seeds(1)[0]
    for dimension, count in POOLS.items():
        setting = Setting.of_ratios(dimension, RATIOS)
        known = equivalent_of(setting, count, seed)
        values.append([known.test_loss, known.train_loss])
        spread = np.array([known.test_spread, known.train_spread])
        deviations.append(spread / np.sqrt(count))
    return Means(np.array(values), np.array(deviations))


# -- The label row ------------------------------------------------------------------------------------------------

FEW_TASKS = Setting.of_ratios(10, Ratios(tau=10.0, alpha=10.0, kappa=0.2, noise=0.01))
SETS = 60
CLOSED_FORM = "the closed form with the label row too"
ROWS_EXCHANGED = "with and without the label row exchanged"


def _gaps(context: RunContext) -> list[FloatArray]:
    """e_ICL − e_IDG of every data set without and with the label row, (sets, 1) each."""
    seeds = context.seeds(SETS)
    without = []
    for seed in seeds:
        M = ridge_fit(FEW_TASKS.data(seed))
        own = FEW_TASKS.training(seed)
        without.append(exact_risk(FEW_TASKS.fresh, M) - exact_risk(own, M))
    with_row = fitted_errors(FEW_TASKS, seeds).gap
    return [np.array(without)[:, None], with_row[:, None]]


def _stated_gaps(context: RunContext, control: str) -> list[FloatArray]:
    """The closed form without the row and the equivalent with it, or wrong ones, (1,) each."""
    limit = np.array([errors(**FEW_TASKS.ratios._asdict()).gap])
    with_row = np.array([equivalent_of(FEW_TASKS).gap])
    if control == CLOSED_FORM:
        with_row = limit
    return [with_row, limit] if control == ROWS_EXCHANGED else [limit, with_row]


CLAIMS = (
    Claim(
        id="asymptotics.ridge_order",
        title="With a ridge the equivalent approaches the closed form as 1/D",
        paper="lu2025",
        beyond_paper=True,
        equation="errors as D → ∞",
        origin="the equivalent at finite size is derived here",
        statement=r"L_{test} = e_{ICL} + O(1/D),\quad \lambda_M = \lambda/D^3",
        observable="errors of the equivalent with the label row, a new task in every sequence, D = 8 … 64",
        limit="D → ∞",
        order=1,
        measure=_with_ridge,
        predict=_limit_with_ridge,
        judge=converges_at_order([1 / D for D in DIMENSIONS], 1, name="1/D"),
        controls=(RIDGE_IN_D, MANY_TASKS),
        hypotheses=("white inputs", "tasks uniform on the sphere"),
        tier="fast",
    ),
    Claim(
        id="asymptotics.ridgeless_order",
        title="Without a ridge the equivalent tends to the closed form along a parabola in 1/D, not a line",
        paper="lu2025",
        beyond_paper=True,
        equation="errors as D → ∞",
        origin="the equivalent at finite size is derived here",
        statement=r"L(D) = e_\infty + \frac{c_1}{D} + \frac{c_2}{D^2} + \dots",
        observable="errors of the equivalent over pools, extrapolated from D = 8 … 32, τ = α = 2, κ = 1/2",
        limit="D → ∞",
        measure=_without_ridge,
        predict=stated_limit,
        judge=extrapolation_agrees(list(POOLS)),
        controls=(LINE, EXCHANGED),
        hypotheses=("white inputs", "tasks uniform on the sphere"),
        tier="fast",
    ),
    Claim(
        id="asymptotics.label_row",
        title="At few tasks the closed form misses the label row alone: without it d = 10 has the gap of d → ∞",
        paper="lu2025",
        beyond_paper=True,
        equation="task diversity",
        origin="the equivalent at finite size is derived here",
        statement=r"g(d) = g_\infty\,(1 - 0.03/d)\ \text{without the row},\quad 1.78\,g_\infty\ \text{with it}",
        observable="gaps of data sets at d = 10 and κ = 0.2, fitted without and with the label row",
        limit="none: below the scatter of data sets",
        measure=_gaps,
        predict=_stated_gaps,
        judge=within_standard_errors,
        controls=(CLOSED_FORM, ROWS_EXCHANGED),
        hypotheses=HYPOTHESES,
    ),
)
