"""Separate key and query of rank one: from saddle to saddle along scalar equations."""

import numpy as np

from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import (
    Experiment,
    Trajectory,
    flow,
    initial_weights,
    network_features,
)
from .....task import Task
from .....theory import fixed_point, population, staircase
from .....theory.linear_attention import rank_one_amplitude
from .....theory.linear_attention.saddle_to_saddle.escapes import escape, separate_block
from ....error_budget import TIGHT, solver_budget
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import (
    converges_at_order,
    curve,
    equal_within,
    student_quantile,
)
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times, plateau_heights
from ..common.controls import MOMENTS, wrong_moments
from ..common.experiments import FOUR, PUBLISHED_STEPS, SEPARATE, published, separate
from ..common.plateau_budget import height_budget
from .conservation_laws import conservation
from .plateaus import GREEDY, lasting

SCALES = (0.01, 0.003, 0.001, 0.0003)
STARTS = 40
ALIGNED_TIMES = np.linspace(0, 60, 121)
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
EXPONENT = "exponent 4 for 5"
ONE_NUMBER = "1/(λ² v₀) with the largest value weight as v₀"
DRIVE = "λ_d for λ_d² in the drive"


def _rotated(task: Task) -> Task:
    basis = np.linalg.qr(
        np.random.default_rng(1).standard_normal((task.dimension, task.dimension))
    )[0]
    return Task(
        covariance=basis @ task.covariance @ basis.T, context_length=task.context_length
    )


def _aligned_flows(rtol: float = TIGHT) -> list[FloatArray]:
    """Full flow from balanced heads: on every direction in the eigenbasis, on greedy ones in any basis."""
    greedy = np.where(np.arange(4) < 2, AMPLITUDES, 0.0)
    cases = ((FOUR, AMPLITUDES), (_rotated(FOUR), greedy))
    return [_aligned_flow(task, amplitudes, rtol) for task, amplitudes in cases]


def _aligned_flow(task: Task, amplitudes: FloatArray, rtol: float) -> FloatArray:
    start = initial_weights(SEPARATE, task, amplitudes, scheme="aligned")
    return flow(
        SEPARATE, population_statistics(task, SEPARATE), start, ALIGNED_TIMES, rtol=rtol
    ).loss


def _aligned_odes(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(
        FOUR, SEPARATE, control if control in MOMENTS else UNMODIFIED
    )
    # dv/dt = α v² − αγ v⁵ with exponent 4 is the closed form of another equation: integrate it plainly.
    v = (
        _wrong_exponent()
        if control == EXPONENT
        else _amplitudes(moments.b, 1 / moments.coefficients)
    )
    greedy = np.where(np.arange(4) < 2, v, 0.0)
    return [moments.aligned_loss(v**3), moments.aligned_loss(greedy**3)]


def _amplitudes(alpha: FloatArray, gamma: FloatArray) -> FloatArray:
    return rank_one_amplitude(ALIGNED_TIMES[:, None], AMPLITUDES, alpha, gamma)


def _wrong_exponent() -> FloatArray:
    from scipy.integrate import solve_ivp

    moments = wrong_moments(FOUR, SEPARATE, UNMODIFIED)
    rate = moments.a * moments.lam
    found = solve_ivp(
        lambda _, v: moments.b * v**2 - rate * v**4,
        (0, ALIGNED_TIMES[-1]),
        AMPLITUDES,
        t_eval=ALIGNED_TIMES,
        rtol=1e-9,
        atol=1e-12,
    )
    return np.asarray(found.y.T)


def _observed_plateaus(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Heights of the five plateaus, nan where a run does not rest, and their standard errors, (seeds, 5) each."""
    runs = list(context.trajectories)
    heights = [
        plateau_heights(run.loss, run.gradient_norm, _greedy_losses(UNMODIFIED)).heights
        for run in runs
    ]
    rested = np.array([lasting(run, population(FOUR, SEPARATE)) for run in runs])
    return np.where(rested, heights, np.nan), np.array(
        [standard_errors(each, GREEDY) for each in context.experiments]
    )


def standard_errors(
    experiment: Experiment, subsets: tuple[tuple[int, ...], ...]
) -> FloatArray:
    """Standard error over the sequences of an experiment of the loss at each M_S, (len(subsets),)."""
    z, y = network_features(experiment.data, experiment.model)
    maps = [
        fixed_point(experiment.task, experiment.model, subset).M.ravel()
        for subset in subsets
    ]
    squared = (z @ np.array(maps).T - y[:, None]) ** 2
    return np.asarray(squared.std(axis=0) / np.sqrt(len(y)))


def _greedy_losses(control: str) -> FloatArray:
    return wrong_moments(FOUR, SEPARATE, control).greedy_losses


def _plateaus_agree(
    predicted: FloatArray, observed: tuple[FloatArray, FloatArray]
) -> Evidence:
    """Each height within 4 standard errors, the means over the data sets within 4.5 of theirs and 2 %."""
    heights, errors = observed
    worst = float(np.nanmax(np.abs(heights - predicted) / errors))
    mean = np.nanmean(heights, axis=0) / predicted - 1
    pooled = (
        np.abs(mean) * predicted / (np.sqrt(np.mean(errors**2, axis=0) / len(errors)))
    )
    visited = int(np.sum(np.isfinite(heights)))
    shown = f"{visited} of {heights.size} plateaus, worst {worst:.1f} standard errors, means within "
    agrees = (
        worst <= 4
        and bool(np.all((np.abs(mean) <= 0.02) & (pooled <= 4.5)))
        and visited >= 0.8 * heights.size
    )
    levels, first = (
        ", ".join(f"{level:.4f}" for level in predicted),
        np.isfinite(heights[0]),
    )
    return Evidence(
        agrees,
        shown + f"{100 * np.max(np.abs(mean)):.1f} %",
        f"{levels} within 4 errors, 2 %",
        residual=float(np.nanmax(np.abs(heights[0] - predicted))),
        curves=(
            curve(
                "plateaus of the first run",
                predicted[first],
                heights[0][first],
                np.flatnonzero(first).astype(float),
            ),
        ),
        axes=("directions learned", "loss"),
    )


def _height_budget(context: RunContext) -> dict[str, float]:
    first, run = context.experiments[0], context.trajectories[0]
    times = np.linspace(0, run.flow_time[-1], 1000)
    return height_budget(
        first,
        run,
        np.flatnonzero(lasting(run, population(FOUR, SEPARATE))).tolist(),
        times,
        method="LSODA",
    )


def _restricted_start(context: RunContext, scale: float, k: int) -> Weights:
    return initial_weights(SEPARATE, FOUR, scale, seeds(context.seed)[k], "restricted")


def _scaled_exits(context: RunContext) -> list[FloatArray]:
    """First two exit times × scale of the flow from six random starts, for each scale."""
    return [
        np.array([_flow_exits(_restricted_start(context, w, k)) * w for k in range(6)])
        for w in SCALES
    ]


def _flow_exits(start: Weights) -> FloatArray:
    """First two exit times of the flow, on a grid that is fine where the staircase expects them."""
    expected = staircase(FOUR, SEPARATE, start).exit_times[:2]
    width = 0.15 * np.linspace(-1, 1, 1501) ** 3
    times = [
        np.linspace(0, 1.25 * expected[-1], 500),
        *(time * (1 + width) for time in expected),
    ]
    run = flow(
        SEPARATE,
        population_statistics(FOUR, SEPARATE),
        start,
        np.unique(np.concatenate(times)),
        rtol=1e-10,
    )
    return exit_times(run.flow_time, run.loss, _greedy_losses(UNMODIFIED)[:3])


def _predicted_exits(context: RunContext, control: str) -> list[FloatArray]:
    return [
        np.array(
            [_exits(_restricted_start(context, w, k), control) * w for k in range(6)]
        )
        for w in SCALES
    ]


def _exits(start: Weights, control: str) -> FloatArray:
    moments = wrong_moments(FOUR, SEPARATE, UNMODIFIED)
    if control == ONE_NUMBER:
        return np.asarray(1 / (moments.b[:2] * np.max(np.abs(start["value"]))))
    times = staircase(FOUR, SEPARATE, start).exit_times[:2]
    return np.asarray(times * moments.lam[:2] if control == DRIVE else times)


def _divergences(context: RunContext, control: str) -> list[FloatArray]:
    """Time × scale at which the first idle head would diverge, for the first exits of `_scaled_exits`."""
    return [
        np.array(
            [
                _divergence(_restricted_start(context, w, k), control) * w
                for k in range(6)
            ]
        )
        for w in SCALES
    ]


def _divergence(start: Weights, control: str) -> float:
    moments = wrong_moments(FOUR, SEPARATE, UNMODIFIED)
    if control == ONE_NUMBER:
        return float(1 / (moments.b[0] * np.max(np.abs(start["value"]))))
    time = escape(separate_block(start, SEPARATE, FOUR.dimension), moments.B).duration
    return time * float(moments.lam[0]) if control == DRIVE else time


def _drop_counts(context: RunContext) -> FloatArray:
    """Drops within the published steps, (seeds,)."""
    return np.array(
        [_drops(run) for run in context.trajectories],
        dtype=float,
    )


def _drops(run: Trajectory) -> int:
    published = slice(PUBLISHED_STEPS)
    return int(
        np.sum(
            np.isfinite(
                exit_times(
                    run.time[published], run.loss[published], _greedy_losses(UNMODIFIED)
                )
            )
        )
    )


def _predicted_counts(context: RunContext, control: str) -> FloatArray:
    """Drops within the published steps that the staircase expects from other random starts."""
    end = 2 * context.experiments[0].learning_rate * PUBLISHED_STEPS
    starts = [
        initial_weights(
            SEPARATE, FOUR, 0.01, seeds(context.seed)[0] + 500 + k, "zhang2025"
        )
        for k in range(STARTS)
    ]
    counts = np.array(
        [np.sum(staircase(FOUR, SEPARATE, start).exit_times < end) for start in starts],
        dtype=float,
    )
    shift = {UNMODIFIED: 0.0, "all four": 4 - counts.mean(), "none": -counts.mean()}[
        control
    ]
    return np.asarray(counts + shift)


def _counts_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Means no further apart than Student's t allows for the scatter of the prediction."""
    error = max(float(predicted.std(ddof=1)), 0.1) * np.sqrt(
        1 / len(observed) + 1 / len(predicted)
    )
    agrees = (
        abs(observed.mean() - predicted.mean())
        <= student_quantile(len(predicted) - 1) * error
    )
    counts = ", ".join(str(int(count)) for count in observed)
    return Evidence(
        bool(agrees),
        f"{counts} drops",
        f"{predicted.mean():.2f} ± {predicted.std():.2f} on average",
    )


CLAIMS = (
    Claim(
        id="separate.aligned",
        title="A balanced head on an eigenvector obeys the scalar equation exactly",
        paper="zhang2025",
        equation="scalar dynamics of separate attention",
        statement=r"\dot v = \lambda_d^2 v^2 - \lambda_d a_d v^5",
        observable="loss of the full gradient flow: four heads in the eigenbasis, two greedy ones in another",
        limit="none: exact",
        measure=lambda context: _aligned_flows(),
        assumes=POPULATION_MOMENTS,
        predict=_aligned_odes,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=(*MOMENTS, EXPONENT),
        tier="fast",
        budget=lambda context: solver_budget(_aligned_flows),
        figure="separate_weights",
    ),
    Claim(
        id="separate.plateaus",
        title="From small random weights the loss rests at L(M_m), m = 0 … 4, in turn",
        paper="zhang2025",
        equation="saddle-to-saddle dynamics",
        statement=r"L(M_m) = c - \sum_{d \le m} \lambda_d^3 / a_d",
        observable="loss where the gradient is smallest between mid-levels; six data sets, published convention",
        limit="P → ∞ and initial scale → 0: within 4 standard errors over sequences, means within 2 %",
        measure=_observed_plateaus,
        predict=lambda context, control: _greedy_losses(control),
        judge=_plateaus_agree,
        controls=MOMENTS,
        experiments=lambda context: separate(context.seed),
        budget=_height_budget,
        figure="separate_loss",
    ),
    Claim(
        id="separate.published_steps",
        title="The published 10,001 steps show as many drops as the idle heads' escape allows",
        paper="zhang2025",
        equation="simulations of separate attention",
        origin="the count goes beyond",
        statement=r"\#\{d : t_d < 2\eta \cdot 10001\}",
        observable="drops past the mid-levels in 20 runs, against 40 other initialisations",
        limit="none: a distribution over initialisations",
        measure=_drop_counts,
        predict=_predicted_counts,
        judge=_counts_agree,
        controls=("all four", "none"),
        experiments=lambda context: published(context.seed),
    ),
    Claim(
        id="separate.first_escape",
        title="The first idle head diverges when the loss first drops",
        paper="zhang2025",
        equation="exit from random weights",
        beyond_paper=True,
        statement=r"t_1 = \int d\tau / |v|,\quad (k \pm q)_d \propto e^{\pm\lambda_d^2\tau}",
        observable="first exit time × initial scale of the flow of all heads, six random starts",
        limit="initial scale → 0, error O(scale)",
        measure=lambda context: [exits[:, 0] for exits in _scaled_exits(context)],
        assumes=POPULATION_MOMENTS,
        predict=_divergences,
        judge=converges_at_order(SCALES, 1, name="scale"),
        controls=(ONE_NUMBER, DRIVE),
    ),
    Claim(
        id="separate.exit_times",
        title="The staircase gives the exit times from random weights",
        paper="zhang2025",
        equation="exit from random weights",
        beyond_paper=True,
        statement=r"\Phi(v) = \lambda_d^2 (t - t_d)",
        observable="first two exit times × initial scale of the flow of all heads, six random starts",
        limit="none: at every scale within 5e-5",
        measure=_scaled_exits,
        assumes=POPULATION_MOMENTS,
        predict=_predicted_exits,
        judge=equal_within(5e-5, axes=("start", "exit time × scale")),
        controls=(ONE_NUMBER, DRIVE),
    ),
    conservation("separate.conservation", SEPARATE),
)
