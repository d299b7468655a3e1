"""Claims across seeds: what every run shares, and what varies with its initial weights as predicted."""

from dataclasses import replace
from functools import cache

import numpy as np

from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import Experiment, network_features, sample
from .....theory import fixed_points, population, staircase
from .....theory.linear_attention import (
    drop_time,
    half_loss_time,
    unstable_mode_amplitude,
)
from .....theory.linear_attention.merged import aligned_amplitudes
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.seed_judges import (
    Subset,
    drop_counts_agree,
    exit_ranks_agree,
    final_losses_agree,
    first_exits_explained,
    greedy_plateaus_agree,
    sign_counts_agree,
    variance_explained,
)
from ....evidence.seeding import seeds
from ....metrics.curves import crossing_times, exit_times
from ....metrics.loss_drops import drops
from ..common.controls import LONGER_CONTEXT, TRACE_DROPPED, wrong_moments
from ..common.experiments import FOUR, MERGED, SEPARATE, merged, scattered
from ..separate.plateaus import GREEDY, lasting_plateaus

REVERSED = "the latest run first"
VALUE_ALONE = "w₀ is made by the value rows alone"
NO_SCATTER = "one time for every seed"
LARGEST = "1/(λ² v₀) with the largest value weight as v₀"
AT_MINIMUM = "the runs have reached the minimum"
SMALLEST_FIRST = "the smallest gains first"
ONE_MORE = "one direction more"


def _drop_counts(context: RunContext) -> list[int]:
    """Number of loss drops of every run."""
    return [len(drops(run.time, run.loss)) for run in context.trajectories]


def _final_losses(context: RunContext) -> tuple[FloatArray, float]:
    """Final loss of every run, and the standard error over sequences of the loss at the minimum."""
    # The spread of (ŷ − y)² at the minimum, on sequences of their own, is that of the training loss over data sets.
    test_set = sample(FOUR, 20_000, seeds(context.seed)[0], split="test")
    features, labels = network_features(test_set, MERGED)
    minimum = population(FOUR, MERGED).minimum
    squared_errors = (features @ minimum.ravel() - labels) ** 2

    sequences = context.experiments[0].sequences
    standard_error = float(squared_errors.std(ddof=1) / np.sqrt(sequences))
    return np.array([run.loss[-1] for run in context.trajectories]), standard_error


def _predicted_final_losses(context: RunContext, control: str) -> FloatArray:
    """Loss at the end of every run by the aligned equations, from its own unstable mode, (seeds,)."""
    if control == AT_MINIMUM:
        minimum_loss = population(FOUR, MERGED).minimum_loss
        return np.full(len(context.experiments), minimum_loss)

    loss = wrong_moments(FOUR, MERGED, control)
    # The unstable mode at M = 0 is B/‖B‖, whose coefficients on the eigenvectors of Λ are b/|b|.
    mode = loss.b / np.linalg.norm(loss.b)
    final_losses = []
    for experiment in context.experiments:
        w0 = unstable_mode_amplitude(loss, experiment.start)
        end = 2 * experiment.learning_rate * (experiment.steps - 1)
        times = np.array([0.0, end])
        s, u = aligned_amplitudes(loss, times, w0, w0 * mode)
        final_losses.append(loss.aligned_loss(s[:, None] * u)[-1])
    return np.array(final_losses)


def _merged_drop_times(context: RunContext) -> FloatArray:
    """Flow time at the middle of the drop, (seeds,)."""
    loss = population(FOUR, MERGED)
    middle = [(loss.c + loss.minimum_loss) / 2]
    times = [
        crossing_times(run.flow_time, run.loss, middle)[0]
        for run in context.trajectories
    ]
    return np.array(times)


def _predicted_drop_times(context: RunContext, control: str) -> FloatArray:
    """t_½ = ln(1/w₀)/‖B‖ + const from the unstable mode w₀ of every start, (seeds,)."""
    loss = population(FOUR, MERGED)
    starts = [experiment.start for experiment in context.experiments]
    if control == VALUE_ALONE:
        modes = [float(np.linalg.norm(start["value"])) for start in starts]
    else:
        modes = [unstable_mode_amplitude(loss, start) for start in starts]

    # The constant beside ln(1/w₀) does not depend on w₀: it is read off at the geometric mean.
    typical_mode = float(np.exp(np.mean(np.log(modes))))
    constant = half_loss_time(loss, typical_mode) - drop_time(loss, typical_mode)
    times = np.array([drop_time(loss, mode) + constant for mode in modes])
    return _wrong_times(times, control)


def _wrong_times(times: FloatArray, control: str) -> FloatArray:
    """The times of the runs' own starts, mirrored about their geometric mean, or that mean for every run."""
    mean = np.exp(np.mean(np.log(times), axis=0))
    if control == REVERSED:
        return np.asarray(mean**2 / times)
    if control == NO_SCATTER:
        return np.broadcast_to(mean, times.shape)
    return times


def _exit_times(context: RunContext) -> FloatArray:
    """Flow time of every exit, (seeds, 4), nan where a run has not made it."""
    levels = population(FOUR, SEPARATE).greedy_losses
    times = [
        exit_times(run.flow_time, run.loss, levels) for run in context.trajectories
    ]
    return np.array(times)


def _predicted_exit_times(context: RunContext, control: str) -> FloatArray:
    """Exit times by the staircase from every start, (seeds, 4)."""
    if control == LARGEST:
        times = [
            _times_of_largest_values(experiment) for experiment in context.experiments
        ]
    else:
        times = [_staircase_times(experiment) for experiment in context.experiments]
    return _wrong_times(np.array(times), control)


def _times_of_largest_values(experiment: Experiment) -> FloatArray:
    """1/(b_d |v_h|), the largest value weight with the largest gain: it leaves out keys and queries."""
    sizes = np.sort(np.abs(experiment.start["value"][:, -1]))
    four_largest = sizes[:0:-1]
    return np.asarray(1 / (population(FOUR, SEPARATE).b * four_largest))


@cache  # every variant of the prediction needs the same staircases
def _staircase_times(experiment: Experiment) -> FloatArray:
    return staircase(FOUR, SEPARATE, experiment.start).exit_times


def _visited_subsets(context: RunContext) -> list[tuple[Subset, Subset]]:
    """For every lasting plateau of a run: the greedy subset of that loss, and the subset of the nearest map."""
    maps = {point.subset: point.M for point in fixed_points(FOUR, SEPARATE)}
    subsets = []
    for run in context.trajectories:
        for plateau in lasting_plateaus(run):
            M = effective_map(SEPARATE, plateau.weights)
            distances = {
                subset: float(np.linalg.norm(M - fixed_map))
                for subset, fixed_map in maps.items()
            }
            nearest = min(distances, key=distances.__getitem__)
            subsets.append((tuple(plateau.point.subset), tuple(nearest)))
    return subsets


def _predicted_subsets(context: RunContext, control: str) -> dict[Subset, Subset]:
    """Greedy subset of the m-th plateau → subset that has been learned there, m = 0 … 4."""
    if control == SMALLEST_FIRST:
        return {GREEDY[m]: tuple(range(5 - m, 5)) for m in range(5)}
    extra = 1 if control == ONE_MORE else 0
    return {GREEDY[m]: GREEDY[min(m + extra, 4)] for m in range(5)}


def _signs(context: RunContext) -> FloatArray:
    """Signs of the value weights of every head that has learned a direction by the end."""
    values = np.concatenate([run.final["value"][:, -1] for run in context.trajectories])
    # A balanced head has v³ = coefficient of its direction: half the smallest such v tells learned from small heads.
    smallest_learned = float(np.cbrt(population(FOUR, SEPARATE).coefficients.min()))
    learned = np.abs(values) > 0.5 * smallest_learned
    return np.asarray(np.sign(values[learned]))


def _probability_of_positive(context: RunContext, control: str) -> float:
    probabilities = {
        UNMODIFIED: 0.5,
        "always positive": 1.0,
        "one in ten negative": 0.9,
    }
    return probabilities[control]


MERGED_RUNS = "twelve runs on 80,000 sequences, all weights"
MORE = "more of them until the answer is clear"
SEPARATE_RUNS = "24 runs on 20,000 sequences, all weights"

COUNT = Claim(
    id="across_seeds.merged_drops",
    title="The loss of merged attention drops once from every seed",
    paper="zhang2025",
    equation="simulations from several seeds",
    statement=r"\#\{\text{drops}\} = 1",
    observable=f"maxima of the fall per logarithm of time; {MERGED_RUNS}",
    limit="initial scale → 0",
    hypotheses=("D = 4, N = 31, λ ∝ (4, 3, 2, 1)", "published convention"),
    measure=_drop_counts,
    predict=lambda context, control: 1 if control == UNMODIFIED else 2,
    judge=drop_counts_agree,
    controls=("two drops",),
    experiments=lambda context: merged(FOUR, context.seed, 12 * context.repeat_factor),
    figure="merged_general",
)

EXIT = replace(
    COUNT,
    id="across_seeds.separate_first_exit",
    title="The first exit times of rank-one attention vary over the seeds as the staircase predicts from each start",
    paper="zhang2025",
    equation="exit from random weights",
    beyond_paper=True,
    statement=r"t_1(\theta_0) = \int d\tau/|v| + O(\text{scale})",
    observable=f"time of the first exit; {SEPARATE_RUNS}, {MORE}",
    measure=_exit_times,
    predict=_predicted_exit_times,
    judge=first_exits_explained,
    controls=(REVERSED, NO_SCATTER, LARGEST),
    experiments=lambda context: scattered(context.seed, 24 * context.repeat_factor),
    figure="separate_loss",
)

CLAIMS = (
    COUNT,
    replace(
        COUNT,
        id="across_seeds.merged_final_loss",
        title="Merged attention ends at the loss that its time course predicts for every seed, up to sampling error",
        statement=r"L(t_{\mathrm{end}}) = L_{w_0}(t_{\mathrm{end}}) \pm O(P^{-1/2})",
        observable=f"final loss in units of its standard error over sequences; {MERGED_RUNS}",
        limit="P → ∞",
        measure=_final_losses,
        predict=_predicted_final_losses,
        judge=final_losses_agree,
        controls=(TRACE_DROPPED, LONGER_CONTEXT, AT_MINIMUM),
    ),
    replace(
        COUNT,
        id="across_seeds.merged_times",
        title="The drop time of merged attention varies over the seeds as ln(1/w₀)/‖B‖",
        paper="zhang2025",
        equation="the unstable mode of random weights",
        beyond_paper=True,
        statement=r"t_{1/2} = \|B\|_F^{-1}\ln(1/w_0) + \text{const}",
        observable=f"time of the middle of the drop; {MERGED_RUNS}, {MORE}",
        measure=_merged_drop_times,
        predict=_predicted_drop_times,
        judge=variance_explained,
        controls=(REVERSED, NO_SCATTER, VALUE_ALONE),
    ),
    replace(
        EXIT,
        id="across_seeds.separate_plateaus",
        title="Rank-one attention visits the same plateaus from nearly every seed",
        paper="zhang2025",
        equation="saddle-to-saddle dynamics",
        beyond_paper=False,
        statement=r"L(M_{\{1, \dots, m\}}),\ m = 0 \dots 4",
        observable=f"which of all 16 maps M_S is nearest on each plateau of a run; {SEPARATE_RUNS}",
        limit="initial scale → 0; at scale 0.01 one run in a hundred first visits a strict saddle such as M_{2}",
        measure=_visited_subsets,
        predict=_predicted_subsets,
        judge=greedy_plateaus_agree,
        controls=(SMALLEST_FIRST, ONE_MORE),
    ),
    EXIT,
    replace(
        EXIT,
        id="across_seeds.separate_later_exits",
        title="Later exit times of rank-one attention are ordered over the seeds as the staircase predicts",
        statement=r"\mathrm{rank}\, t_m(\theta_0),\ m = 2, 3, 4",
        observable=f"rank correlation over the seeds of exits 2, 3, 4; {SEPARATE_RUNS}",
        limit="initial scale → 0; at scale 0.01 single times are off by a few tens of percent",
        judge=exit_ranks_agree,
    ),
    replace(
        EXIT,
        id="across_seeds.separate_signs",
        title="The value weights of heads that learn a direction are positive as often as negative",
        paper="zhang2025",
        equation="heads and signs are symmetric",
        beyond_paper=False,
        statement=r"\Pr[v_h \gt 0] = \tfrac12",
        observable=f"final signs of the value weights of heads that have learned a direction; {SEPARATE_RUNS}",
        limit="none: a symmetry of the distribution of starts",
        measure=_signs,
        predict=_probability_of_positive,
        judge=sign_counts_agree,
        controls=("always positive", "one in ten negative"),
    ),
)
