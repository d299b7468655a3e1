"""Behaviour across seeds: what every run shares, and what scatters as its initial weights say."""

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

REVERSED = "latest for earliest"
VALUE_ALONE = "value rows alone make w₀"
NO_SCATTER = "one time for every seed"
LARGEST = "1/(λ² v₀) with the largest value weight as v₀"
AT_MINIMUM = "the minimum, already at the end of the runs"


def _drop_counts(context: RunContext) -> list[int]:
    return [len(drops(run.time, run.loss)) for run in context.trajectories]


def _final_losses(context: RunContext) -> tuple[FloatArray, float]:
    """Final loss of every run, and the standard error over sequences of the loss at the minimum."""
    z, y = network_features(
        sample(FOUR, 20_000, seeds(context.seed)[0], split="test"), MERGED
    )
    squared = (z @ population(FOUR, MERGED).minimum.ravel() - y) ** 2
    error = float(squared.std(ddof=1) / np.sqrt(context.experiments[0].sequences))
    return np.array([run.loss[-1] for run in context.trajectories]), error


def _predicted_finals(context: RunContext, control: str) -> FloatArray:
    """Loss at the end of every run by the aligned equations from its own growing mode."""
    if control == AT_MINIMUM:
        return np.full(len(context.experiments), population(FOUR, MERGED).minimum_loss)
    moments = wrong_moments(FOUR, MERGED, control)
    mode = moments.b / np.linalg.norm(moments.b)
    found = []
    for each in context.experiments:
        w0, end = (
            unstable_mode_amplitude(moments, each.start),
            2 * each.learning_rate * (each.steps - 1),
        )
        s, u = aligned_amplitudes(moments, np.array([0.0, end]), w0, w0 * mode)
        found.append(moments.aligned_loss(s[:, None] * u)[-1])
    return np.array(found)


def _merged_times(context: RunContext) -> FloatArray:
    """Flow time at the middle of the drop, (seeds,)."""
    moments = population(FOUR, MERGED)
    middle = [(moments.c + moments.minimum_loss) / 2]
    return np.array(
        [
            crossing_times(run.flow_time, run.loss, middle)[0]
            for run in context.trajectories
        ]
    )


def _growing_times(context: RunContext, control: str) -> FloatArray:
    moments, starts = (
        population(FOUR, MERGED),
        [each.start for each in context.experiments],
    )
    if control == VALUE_ALONE:
        modes = [float(np.linalg.norm(start["value"])) for start in starts]
    else:
        modes = [unstable_mode_amplitude(moments, start) for start in starts]
    typical = float(
        np.exp(np.mean(np.log(modes)))
    )  # the constant beside ln(1/w₀) does not depend on w₀
    rest = half_loss_time(moments, typical) - drop_time(moments, typical)
    return _variant(
        np.array([drop_time(moments, mode) + rest for mode in modes]), control
    )


def _variant(times: FloatArray, control: str) -> FloatArray:
    """The times of the runs' own starts, or mirrored about their logarithmic mean, or without scatter."""
    mean = np.exp(np.mean(np.log(times), axis=0))
    if control == REVERSED:
        return np.asarray(mean**2 / times)
    return np.broadcast_to(mean, times.shape) if control == NO_SCATTER else times


def _exits(context: RunContext) -> FloatArray:
    """Flow time of every exit, (seeds, 4), nan where a run has not made it."""
    levels = population(FOUR, SEPARATE).greedy_losses
    return np.array(
        [exit_times(run.flow_time, run.loss, levels) for run in context.trajectories]
    )


def _stairs(context: RunContext, control: str) -> FloatArray:
    """Exit times by the staircase from every start, (seeds, 4)."""
    return _variant(
        np.array([_stair(each, control) for each in context.experiments]), control
    )


def _stair(experiment: Experiment, control: str) -> FloatArray:
    if control == LARGEST:
        values = np.sort(np.abs(experiment.start["value"][:, -1]))[:0:-1]
        return np.asarray(1 / (population(FOUR, SEPARATE).b * values))
    return _own_stair(experiment)


@cache
def _own_stair(experiment: Experiment) -> FloatArray:
    return staircase(FOUR, SEPARATE, experiment.start).exit_times


def _visited(context: RunContext) -> list[tuple[Subset, Subset]]:
    """For every plateau on which a run rests: the greedy subset of that place, and the one of nearest map."""
    maps = {point.subset: point.M for point in fixed_points(FOUR, SEPARATE)}
    found = []
    for run in context.trajectories:
        for landing in lasting_plateaus(run):
            reached = effective_map(SEPARATE, landing.weights)
            nearest = min(
                maps, key=lambda subset: float(np.linalg.norm(reached - maps[subset]))
            )
            found.append((tuple(landing.point.subset), tuple(nearest)))
    return found


def _subsets(context: RunContext, control: str) -> dict[Subset, Subset]:
    """What is learned at the m-th plateau."""
    if control == "smallest gains first":
        return {GREEDY[m]: tuple(range(5 - m, 5)) for m in range(5)}
    more = 0 if control == UNMODIFIED else 1
    return {GREEDY[m]: GREEDY[min(m + more, 4)] for m in range(5)}


def _signs(context: RunContext) -> FloatArray:
    """Signs of the value weights of every head that holds a direction at the end."""
    values = np.concatenate([run.final["value"][:, -1] for run in context.trajectories])
    least = 0.5 * float(np.cbrt(population(FOUR, SEPARATE).coefficients.min()))
    return np.asarray(np.sign(values[np.abs(values) > least]))


def _probability(context: RunContext, control: str) -> float:
    return {UNMODIFIED: 0.5, "always positive": 1.0, "one in ten negative": 0.9}[
        control
    ]


MERGED_RUNS = "twelve runs on 80,000 sequences, all weights"
MORE = "more of them until it is clear"
SEPARATE_RUNS = "24 runs on 20,000 sequences, all weights"

COUNT = Claim(
    id="across_seeds.merged_drops",
    title="Merged attention drops once from every seed",
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
    title="The first exit of rank-one attention scatters over the seeds as the staircase from each start says",
    paper="zhang2025",
    equation="exit from random weights",
    beyond_paper=True,
    statement=r"t_1(\theta_0) = \int d\tau/|v| + O(\text{scale})",
    observable=f"time of the first exit; {SEPARATE_RUNS}, {MORE}",
    measure=_exits,
    predict=_stairs,
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
        title="Merged attention ends at the loss of its time course from every seed, up to sampling",
        statement=r"L(t_{\mathrm{end}}) = L_{w_0}(t_{\mathrm{end}}) \pm O(P^{-1/2})",
        observable=f"final loss against its standard error over sequences; {MERGED_RUNS}",
        limit="P → ∞",
        measure=_final_losses,
        predict=_predicted_finals,
        judge=final_losses_agree,
        controls=(TRACE_DROPPED, LONGER_CONTEXT, AT_MINIMUM),
    ),
    replace(
        COUNT,
        id="across_seeds.merged_times",
        title="The drop of merged attention scatters over the seeds as ln(1/w₀) says",
        paper="zhang2025",
        equation="the growing mode of random weights",
        beyond_paper=True,
        statement=r"t_{1/2} = \|B\|_F^{-1}\ln(1/w_0) + \text{const}",
        observable=f"time of the middle of the drop; {MERGED_RUNS}, {MORE}",
        measure=_merged_times,
        predict=_growing_times,
        judge=variance_explained,
        controls=(REVERSED, NO_SCATTER, VALUE_ALONE),
    ),
    replace(
        EXIT,
        id="across_seeds.separate_plateaus",
        title="Rank-one attention rests on the same plateaus from nearly every seed",
        paper="zhang2025",
        equation="saddle-to-saddle dynamics",
        beyond_paper=False,
        statement=r"L(M_{\{1, \dots, m\}}),\ m = 0 \dots 4",
        observable=f"which of all 16 maps M_S is nearest where a run rests; {SEPARATE_RUNS}",
        limit="initial scale → 0; at scale 0.01 a run in a hundred first rests on a strict saddle such as M_{2}",
        measure=_visited,
        predict=_subsets,
        judge=greedy_plateaus_agree,
        controls=("smallest gains first", "one direction more"),
    ),
    EXIT,
    replace(
        EXIT,
        id="across_seeds.separate_later_exits",
        title="Later exits of rank-one attention keep the order over the seeds that the staircase gives them",
        statement=r"\mathrm{rank}\, t_m(\theta_0),\ m = 2, 3, 4",
        observable=f"rank correlation over the seeds of exits 2, 3, 4; {SEPARATE_RUNS}",
        limit="initial scale → 0; at scale 0.01 single times are off by a few tens of percent",
        judge=exit_ranks_agree,
    ),
    replace(
        EXIT,
        id="across_seeds.separate_signs",
        title="Value weights of the heads that learn are positive as often as negative",
        paper="zhang2025",
        equation="heads and signs are symmetric",
        beyond_paper=False,
        statement=r"\Pr[v_h \gt 0] = \tfrac12",
        observable=f"signs at the end of heads that hold a direction; {SEPARATE_RUNS}",
        limit="none: a symmetry of the distribution of starts",
        measure=_signs,
        predict=_probability,
        judge=sign_counts_agree,
        controls=("always positive", "one in ten negative"),
    ),
)
