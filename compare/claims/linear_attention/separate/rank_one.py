"""Separate key and query of rank one: from saddle to saddle along scalar equations."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

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
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Curve, Evidence
from ....evidence.judges import (
    converges_at_order,
    curve,
    equal_within,
    student_quantile,
)
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times, plateau_heights
from ..common.controls import MOMENTS, changed_moments, wrong_moments
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
EIGENVALUE_RATE = "λ_d for λ_d² in the growth rate"

ON_GREEDY = np.arange(4) < 2
"""The first two directions, which two heads learn in any basis."""


# Aligned heads


def _rotated(task: Task) -> Task:
    """The task in another basis."""
    D = task.dimension
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((D, D)))[0]
    return Task(
        covariance=basis @ task.covariance @ basis.T,
        context_length=task.context_length,
    )


def _aligned_flows(rtol: float = TIGHT) -> list[FloatArray]:
    """Full flow from balanced heads: on every direction in the eigenbasis, on greedy ones in any basis."""
    on_greedy = np.where(ON_GREEDY, AMPLITUDES, 0.0)
    cases = ((FOUR, AMPLITUDES), (_rotated(FOUR), on_greedy))
    losses = []
    for task, amplitudes in cases:
        source = population_statistics(task, SEPARATE)
        start = initial_weights(SEPARATE, task, amplitudes, scheme="aligned")
        run = flow(SEPARATE, source, start, ALIGNED_TIMES, rtol=rtol)
        losses.append(run.loss)
    return losses


def _observed_aligned(context: RunContext) -> list[FloatArray]:
    return _aligned_flows()


def _aligned_solutions(context: RunContext, control: str) -> list[FloatArray]:
    """Losses by v̇ = α v² − αγ v⁵ with α = b_d and γ = 1/m_d, direction by direction."""
    moments = changed_moments(FOUR, SEPARATE, control)
    if control == EXPONENT:
        # With exponent 4 there is another closed form: integrate it plainly.
        v = _with_exponent_four()
    else:
        times = ALIGNED_TIMES[:, None]
        v = rank_one_amplitude(times, AMPLITUDES, moments.b, 1 / moments.coefficients)
    on_greedy = np.where(ON_GREEDY, v, 0.0)
    return [moments.aligned_loss(v**3), moments.aligned_loss(on_greedy**3)]


def _with_exponent_four() -> FloatArray:
    """v (T, D) of v̇ = b v² − a λ v⁴."""
    from scipy.integrate import solve_ivp

    moments = population(FOUR, SEPARATE)
    saturation = moments.a * moments.lam
    path = solve_ivp(
        lambda _, v: moments.b * v**2 - saturation * v**4,
        (0, ALIGNED_TIMES[-1]),
        AMPLITUDES,
        t_eval=ALIGNED_TIMES,
        rtol=1e-9,
        atol=1e-12,
    )
    v: FloatArray = path.y.T
    return v


# Heights of plateaus


class Heights(NamedTuple):
    """Heights of plateaus, nan where a run has none that lasts, and their standard errors, (seeds, 5) each."""

    heights: FloatArray
    errors: FloatArray


def _observed_plateaus(context: RunContext) -> Heights:
    moments = population(FOUR, SEPARATE)
    heights, errors = [], []
    for experiment, run in zip(context.experiments, context.trajectories, strict=True):
        plateaus = plateau_heights(run.loss, run.gradient_norm, moments.greedy_losses)
        lasts = lasting(run, moments)
        heights.append(np.where(lasts, plateaus.heights, np.nan))
        errors.append(standard_errors(experiment, GREEDY))
    return Heights(np.array(heights), np.array(errors))


def standard_errors(
    experiment: Experiment, subsets: tuple[tuple[int, ...], ...]
) -> FloatArray:
    """Standard error over the sequences of an experiment of the loss at each M_S, (len(subsets),)."""
    task, model = experiment.task, experiment.model
    z, y = network_features(experiment.data, model)  # (P, D²), (P,)
    # ŷ = ⟨M_S, z⟩ on features z = vec(β x_qᵀ).
    maps = np.array([fixed_point(task, model, S).M.ravel() for S in subsets])
    squared = (z @ maps.T - y[:, None]) ** 2
    errors: FloatArray = squared.std(axis=0) / np.sqrt(len(y))
    return errors


def _greedy_losses(context: RunContext, control: str) -> FloatArray:
    return wrong_moments(FOUR, SEPARATE, control).greedy_losses


class _HeightComparison(NamedTuple):
    """How heights of all runs compare with the levels of the theory."""

    worst: float
    """Largest distance of one height in its standard errors."""
    mean: FloatArray
    """Relative distance of the mean over the data sets, (5,)."""
    mean_in_errors: FloatArray
    """Distance of the mean in its standard errors, (5,)."""
    measured: int
    """Heights that were measured."""


def _compare_heights(levels: FloatArray, observed: Heights) -> _HeightComparison:
    heights, errors = observed
    mean = np.nanmean(heights, axis=0) / levels - 1
    error_of_mean = np.sqrt(np.mean(errors**2, axis=0) / len(errors))
    return _HeightComparison(
        worst=float(np.nanmax(np.abs(heights - levels) / errors)),
        mean=mean,
        mean_in_errors=np.abs(mean) * levels / error_of_mean,
        measured=int(np.sum(np.isfinite(heights))),
    )


def _plateaus_agree(predicted: FloatArray, observed: Heights) -> Evidence:
    """Each height within 4 standard errors, the means over the data sets within 4.5 of theirs and 2 %."""
    comparison = _compare_heights(predicted, observed)
    largest_mean = float(np.max(np.abs(comparison.mean)))
    # Small in two units: in errors of the mean, and relative, for what the scale leaves.
    means_agree = largest_mean <= 0.02 and np.all(comparison.mean_in_errors <= 4.5)
    enough = comparison.measured >= 0.8 * observed.heights.size

    first = observed.heights[0]
    levels = ", ".join(f"{level:.4f}" for level in predicted)
    return Evidence(
        agrees=bool(comparison.worst <= 4 and means_agree and enough),
        observed=f"{comparison.measured} of {observed.heights.size} plateaus, "
        f"worst {comparison.worst:.1f} standard errors, "
        f"means within {100 * largest_mean:.1f} %",
        expected=f"{levels} within 4 errors, 2 %",
        residual=float(np.nanmax(np.abs(first - predicted))),
        curves=(_heights_of_first(predicted, first),),
        axes=("directions learned", "loss"),
    )


def _heights_of_first(levels: FloatArray, heights: FloatArray) -> Curve:
    """The plateaus of one run that last, against the number of directions learned."""
    lasts = np.isfinite(heights)
    learned = np.flatnonzero(lasts).astype(float)
    return curve("plateaus of the first run", levels[lasts], heights[lasts], learned)


def _height_budget(context: RunContext) -> dict[str, float]:
    """Of the plateaus of the first run that last."""
    experiment, run = context.experiments[0], context.trajectories[0]
    lasts = np.flatnonzero(lasting(run, population(FOUR, SEPARATE)))
    times = np.linspace(0, run.flow_time[-1], 1000)
    return height_budget(experiment, run, lasts.tolist(), times, method="LSODA")


# Exit times


def _restricted_start(context: RunContext, scale: float, k: int) -> Weights:
    return initial_weights(SEPARATE, FOUR, scale, seeds(context.seed)[k], "restricted")


def _times_by_scale(
    context: RunContext, time: Callable[[Weights], FloatArray | float]
) -> list[FloatArray]:
    """Times × scale of six random starts for each scale, a list of (6, …)."""
    curves = []
    for scale in SCALES:
        starts = [_restricted_start(context, scale, k) for k in range(6)]
        curves.append(np.array([time(start) * scale for start in starts]))
    return curves


def _scaled_exits(context: RunContext) -> list[FloatArray]:
    """First two exit times × scale of the flow, for each scale."""
    return _times_by_scale(context, _flow_exits)


def _first_exits(context: RunContext) -> list[FloatArray]:
    return [exits[:, 0] for exits in _scaled_exits(context)]


def _flow_exits(start: Weights) -> FloatArray:
    """First two exit times of the flow, on a grid that is fine where the staircase expects them."""
    expected = staircase(FOUR, SEPARATE, start).exit_times[:2]
    around = 1 + 0.15 * np.linspace(-1, 1, 1501) ** 3
    coarse = np.linspace(0, 1.25 * expected[-1], 500)
    times = np.concatenate([coarse, *(time * around for time in expected)])

    source = population_statistics(FOUR, SEPARATE)
    run = flow(SEPARATE, source, start, np.unique(times), rtol=1e-10)
    levels = population(FOUR, SEPARATE).greedy_losses[:3]
    return exit_times(run.flow_time, run.loss, levels)


def _predicted_exits(context: RunContext, control: str) -> list[FloatArray]:
    return _times_by_scale(context, partial(_stated_exits, control=control))


def _stated_exits(start: Weights, control: str) -> FloatArray:
    """First two exit times of the staircase, or a wrong variant."""
    moments = population(FOUR, SEPARATE)
    if control == ONE_NUMBER:
        largest = np.max(np.abs(start["value"]))
        inverse_rates: FloatArray = 1 / (moments.b[:2] * largest)
        return inverse_rates
    times = staircase(FOUR, SEPARATE, start).exit_times[:2]
    if control == EIGENVALUE_RATE:
        times = times * moments.lam[:2]
    return times


def _blow_ups(context: RunContext, control: str) -> list[FloatArray]:
    """Time × scale at which the first small head would diverge, for the first exits of `_scaled_exits`."""
    return _times_by_scale(context, partial(_stated_blow_up, control=control))


def _stated_blow_up(start: Weights, control: str) -> float:
    moments = population(FOUR, SEPARATE)
    if control == ONE_NUMBER:
        return float(1 / (moments.b[0] * np.max(np.abs(start["value"]))))
    heads = separate_block(start, SEPARATE, FOUR.dimension)
    time = escape(heads, moments.B).duration
    if control == EIGENVALUE_RATE:
        time *= float(moments.lam[0])
    return time


# Drops within the published number of steps


def _drop_counts(context: RunContext) -> FloatArray:
    """Drops within the published steps, (seeds,)."""
    return np.array([_drops(run) for run in context.trajectories], dtype=float)


def _drops(run: Trajectory) -> int:
    published_part = slice(PUBLISHED_STEPS)
    levels = population(FOUR, SEPARATE).greedy_losses
    # A drop counts once the loss is past the middle between two plateaus.
    exits = exit_times(run.time[published_part], run.loss[published_part], levels)
    return int(np.sum(np.isfinite(exits)))


def _predicted_counts(context: RunContext, control: str) -> FloatArray:
    """Drops within the published steps that the staircase expects from other random starts."""
    end = 2 * context.experiments[0].learning_rate * PUBLISHED_STEPS
    first_seed = seeds(context.seed)[0] + 500  # none of the runs has these starts
    counts = []
    for seed in range(first_seed, first_seed + STARTS):
        start = initial_weights(SEPARATE, FOUR, 0.01, seed, "zhang2025")
        exits = staircase(FOUR, SEPARATE, start).exit_times
        counts.append(float(np.sum(exits < end)))

    expected: FloatArray = np.array(counts)
    if control == "all four":
        expected += 4 - expected.mean()
    if control == "none":
        expected -= expected.mean()
    return expected


def _counts_agree(predicted: FloatArray, observed: FloatArray) -> Evidence:
    """Means no further apart than Student's t allows for the scatter of the prediction."""
    scatter = max(float(predicted.std(ddof=1)), 0.1)
    # Both sides are means over finitely many starts.
    error = scatter * np.sqrt(1 / len(observed) + 1 / len(predicted))
    allowed = student_quantile(len(predicted) - 1) * error
    counts = ", ".join(str(int(count)) for count in observed)
    return Evidence(
        agrees=bool(abs(observed.mean() - predicted.mean()) <= allowed),
        observed=f"{counts} drops",
        expected=f"{predicted.mean():.2f} ± {predicted.std():.2f} on average",
    )


CLAIMS = (
    Claim(
        id="separate.aligned",
        title="A balanced head on an eigenvector obeys v̇ = λ²v² − λav⁵ exactly",
        paper="zhang2025",
        equation="scalar dynamics of separate attention",
        statement=r"\dot v = \lambda_d^2 v^2 - \lambda_d a_d v^5",
        observable="loss of the full gradient flow: four heads in the eigenbasis, two greedy ones in another",
        limit="none: exact",
        measure=_observed_aligned,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_solutions,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=(*MOMENTS, EXPONENT),
        tier="fast",
        budget=lambda context: solver_budget(_aligned_flows),
        figure="separate_weights",
    ),
    Claim(
        id="separate.plateaus",
        title="From small random weights the loss has plateaus at L(M_m), m = 0 … 4, in this order",
        paper="zhang2025",
        equation="saddle-to-saddle dynamics",
        statement=r"L(M_m) = c - \sum_{d \le m} \lambda_d^3 / a_d",
        observable="loss where the gradient is smallest between mid-levels; six data sets, published convention",
        limit="P → ∞ and initial scale → 0: within 4 standard errors over sequences, means within 2 %",
        measure=_observed_plateaus,
        predict=_greedy_losses,
        judge=_plateaus_agree,
        controls=MOMENTS,
        experiments=lambda context: separate(context.seed),
        budget=_height_budget,
        figure="separate_loss",
    ),
    Claim(
        id="separate.published_steps",
        title="The published 10,001 steps show as many drops as the staircase expects",
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
        title="The loss first drops when the first small head would diverge",
        paper="zhang2025",
        equation="exit from random weights",
        beyond_paper=True,
        statement=r"t_1 = \int d\tau / |v|,\quad (k \pm q)_d \propto e^{\pm\lambda_d^2\tau}",
        observable="first exit time × initial scale of the flow of all heads, six random starts",
        limit="initial scale → 0, error O(scale)",
        measure=_first_exits,
        assumes=POPULATION_MOMENTS,
        predict=_blow_ups,
        judge=converges_at_order(SCALES, 1, name="scale"),
        controls=(ONE_NUMBER, EIGENVALUE_RATE),
    ),
    Claim(
        id="separate.exit_times",
        title="The staircase predicts exit times from random weights",
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
        controls=(ONE_NUMBER, EIGENVALUE_RATE),
    ),
    conservation("separate.conservation", SEPARATE),
)
