"""The read-out of drawn data sets: where its errors peak, what a ridge and early stopping do, and the gap of few tasks.

Data sets are drawn from the law of their summaries, and errors are exact for each fitted map; the theory is that of the
same size, with the tasks at hand or averaged over pools, since the limit D → ∞ is off by O(1/D).
"""

from collections.abc import Sequence

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import (
    deterministic_equivalent,
    errors,
    learning_curve_of_tasks,
)
from ...evidence.claim import Claim, RunContext
from ...evidence.evidence import Evidence
from ...evidence.judges import equal_within
from ...evidence.seed_judges import within_standard_errors
from .equivalents_of_settings import equivalent_of
from .readout_runs import Ratios, Setting, fitted_errors, flow_errors

LIMIT = "D → ∞"
UNLIMITED = "unlimited sequences"
MANY = 1e9
"""Times as many sequences as there are: γ is then below what a data set shows."""

# -- The peak -----------------------------------------------------------------------------------------------------

PEAK_DIMENSION, PEAK_TASKS, PEAK_SETS = 12, 6, 12
PEAK_SEQUENCES = (78, 120, 132, 144, 150, 156, 162, 168, 180, 240)
FEATURES_WITHOUT_ROW = "P = D²"
HALF_OF_THE_FEATURES = "P = D (D + 1) / 2"


def _measured_peaks(context: RunContext) -> list[FloatArray]:
    """P at which the median error over data sets is largest, on new and on training tasks, (1,) each."""
    medians = []
    for sequences in PEAK_SEQUENCES:
        setting = Setting(PEAK_DIMENSION, 12, PEAK_TASKS, sequences, 0.01)
        # Means do not exist at the pole: their tails are too heavy.
        drawn = fitted_errors(setting, context.seeds(PEAK_SETS))
        medians.append([np.median(drawn.icl), np.median(drawn.idg)])
    largest = np.argmax(medians, axis=0)
    return [np.array([float(PEAK_SEQUENCES[index])]) for index in largest]


def _stated_peaks(context: RunContext, control: str) -> list[FloatArray]:
    """The number of features, or a wrong one."""
    D = PEAK_DIMENSION
    counts = {FEATURES_WITHOUT_ROW: D**2, HALF_OF_THE_FEATURES: D * (D + 1) / 2}
    count = float(counts.get(control, D * (D + 1)))
    return [np.array([count]), np.array([count])]


# -- A ridge ------------------------------------------------------------------------------------------------------

RIDGE_SETS, RIDGE_POOLS = 24, 40
RIDGE_SETTINGS = tuple(
    Setting.of_ratios(24, Ratios(tau, 4.0, 2.0, 0.1), 0.1)
    for tau in (0.8, 1.0, 1.25, 2.0)
)
WITHOUT_RIDGE = "without a ridge"
OTHER_RIDGE = "λ/D in units of M"


def _measured_with_ridge(context: RunContext) -> list[FloatArray]:
    """Errors on new and on training tasks of every data set, (sets, 2) for each number of sequences."""
    drawn = [fitted_errors(each, context.seeds(RIDGE_SETS)) for each in RIDGE_SETTINGS]
    return [np.column_stack([each.icl, each.idg]) for each in drawn]


def _stated_with_ridge(context: RunContext, control: str) -> list[FloatArray]:
    """The equivalent, or that of another ridge."""
    ridge = RIDGE_SETTINGS[0].ridge
    if control == WITHOUT_RIDGE:
        ridge = 1e-9
    if control == OTHER_RIDGE:
        ridge *= RIDGE_SETTINGS[0].dimension ** 2
    stated = []
    for setting in RIDGE_SETTINGS:
        equivalent = equivalent_of(setting._replace(ridge=ridge), RIDGE_POOLS)
        stated.append(np.array([equivalent.test_loss, equivalent.train_loss]))
    return stated


# -- The gap of few tasks -----------------------------------------------------------------------------------------

GAP_SETS = 48
GAP_SETTINGS = tuple(
    Setting.of_ratios(16, Ratios(10.0, 10.0, kappa, 0.01), 1e-6)
    for kappa in (0.25, 0.5, 1.0, 2.0, 4.0)
)


def _measured_gaps(context: RunContext) -> list[FloatArray]:
    """e_ICL − e_IDG of every data set, (sets,) for each number of tasks."""
    seeds = context.seeds(GAP_SETS)
    return [fitted_errors(setting, seeds).gap for setting in GAP_SETTINGS]


def _stated_gaps(context: RunContext, control: str) -> list[FloatArray]:
    """The gap of the equivalent with the tasks of each data set, or a wrong one, (sets,)."""
    seeds = context.seeds(GAP_SETS)
    if control == LIMIT:
        limits = [
            errors(**setting.ratios._asdict(), ridge=setting.ridge).gap
            for setting in GAP_SETTINGS
        ]
        return [np.full(len(seeds), limit) for limit in limits]
    factor = MANY if control == UNLIMITED else 1.0
    return [
        np.array([_gap_of_tasks(setting, seed, factor) for seed in seeds])
        for setting in GAP_SETTINGS
    ]


def _gap_of_tasks(setting: Setting, seed: int, factor: float) -> float:
    """The gap of the equivalent with the tasks that a seed draws and so many times the sequences."""
    D = setting.dimension
    equivalent = deterministic_equivalent(
        setting.training(seed),
        setting.fresh,
        factor * setting.sequences,
        ridge=setting.ridge / D**3,
        label_row=True,
        label_weight=float(D**2),
    )
    return equivalent.gap


def paired_within_scatter(
    predicted: Sequence[FloatArray], observed: Sequence[FloatArray]
) -> Evidence:
    """Differences of pairs (sets,) or (sets, n) have the mean 0: pairs share tasks, so that these scatter less."""
    differences = [
        (observation - prediction).reshape(len(observation), -1)
        for prediction, observation in zip(predicted, observed, strict=True)
    ]
    zeros = [np.zeros(difference.shape[1]) for difference in differences]
    return within_standard_errors(zeros, differences)


# -- Gradient flow ------------------------------------------------------------------------------------------------

FLOW = Setting.of_ratios(28, Ratios(1.25, 4.0, 0.5, 0.05))
FLOW_SETS, FLOW_POOLS = 12, 12
THETA = np.array([0.1, 1.0, 5.0, 20.0, 100.0])
TWICE = "twice the time"
CONVERGED = "the end of the flow"


def _measured_flow(context: RunContext) -> list[FloatArray]:
    """Errors along the flow of every data set, (sets, T) on new and on training tasks."""
    drawn = flow_errors(FLOW, THETA, context.seeds(FLOW_SETS))
    return [drawn.icl, drawn.idg]


def _stated_flow(context: RunContext, control: str) -> list[FloatArray]:
    """The same at finite size by two ridges on a contour, or at wrong times, (T,)."""
    D = FLOW.dimension
    times = THETA * D**3
    if control == TWICE:
        times = 2 * times
    if control == CONVERGED:
        # One time for all, computed once.
        times = np.array([1e4 * D**3])
    curve = learning_curve_of_tasks(
        FLOW.fresh,
        FLOW.fresh,
        FLOW.sequences,
        times,
        label_row=True,
        label_weight=float(D**2),
        tasks=FLOW.tasks,
        pools=FLOW_POOLS,
    )
    losses = (curve.test_loss, curve.train_loss)
    return [np.broadcast_to(loss, THETA.shape) for loss in losses]


HYPOTHESES = ("x ~ N(0, I/D)", "tasks uniform on the sphere, equally often")

CLAIMS = (
    Claim(
        id="asymptotics.peak",
        title="Without a ridge the errors peak at as many sequences as features, P = D(D + 1)",
        paper="lu2025",
        statement=r"e(D(D + 1)) = \max_P e(P)",
        observable="P of the largest median error over data sets at D = 12",
        limit="finite D, exact",
        measure=_measured_peaks,
        predict=_stated_peaks,
        judge=equal_within(1e-12),
        controls=(FEATURES_WITHOUT_ROW, HALF_OF_THE_FEATURES),
        hypotheses=HYPOTHESES,
        figure="double_descent",
    ),
    Claim(
        id="asymptotics.peak_removed",
        title="A ridge removes the peak: errors are those of the equivalent, at its place too",
        paper="lu2025",
        statement=r"e_{IDG} = \frac{L(\bar M)}{1-\gamma}, \quad \xi = \lambda_M + \frac{\xi}{P} \sum \frac{e}{e + \xi}",
        observable="errors of ridge solutions on data sets, D = 24, α = 4, κ = 2, λ = 0.1, τ = 0.8 … 2",
        limit="D → ∞ at O(1/D), below the scatter of data sets here",
        measure=_measured_with_ridge,
        predict=_stated_with_ridge,
        judge=within_standard_errors,
        controls=(WITHOUT_RIDGE, OTHER_RIDGE),
        hypotheses=HYPOTHESES,
        figure="double_descent",
    ),
    Claim(
        id="asymptotics.task_gap",
        title="The gap between new and training tasks is that of the tasks at hand, and closes beyond D tasks",
        paper="lu2025",
        statement=r"g = e_{ICL} - e_{IDG} \text{ of the equivalent with } \Omega_k = \frac1k \sum w w^\top",
        observable="gap of each data set minus that of the equivalent on the same tasks, D = 16, α = τ = 10",
        limit="D → ∞ at O(1/D), below the scatter of data sets here",
        measure=_measured_gaps,
        predict=_stated_gaps,
        judge=paired_within_scatter,
        controls=(LIMIT, UNLIMITED),
        hypotheses=HYPOTHESES,
        figure="diversity_transition",
    ),
    Claim(
        id="asymptotics.flow_of_data",
        title="Errors along gradient flow fall, and rise again as the flow fits the noise of the data",
        paper="lu2025",
        beyond_paper=True,
        statement=r"\Gamma(\theta) = (1 - e^{-\theta G'}) G'^{-1} b'",
        observable="errors of the flow on data sets, D = 28, τ = 1.25, α = 4, κ = 1/2, θ = 0.1 … 100",
        limit="D → ∞ at O(1/D), below the scatter of data sets here",
        measure=_measured_flow,
        predict=_stated_flow,
        judge=within_standard_errors,
        controls=(TWICE, CONVERGED),
        hypotheses=HYPOTHESES,
        figure="readout_learning_curves",
    ),
)
