"""Separate key and query of rank R: long plateaus at multiples of R only."""

from typing import NamedTuple

import numpy as np

from .....models.attention import Separate
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....theory import population, staircase
from .....theory.linear_attention.low_rank import low_rank_amplitudes
from ....error_budget import TIGHT, solver_budget
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import curve, equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times, plateau_heights
from ..common.controls import (
    MOMENTS,
    NO_FOURTH_MOMENT,
    TRACE_DROPPED,
    changed_moments,
)
from ..common.experiments import EIGHT, FOUR, RANKS, low_rank, low_rank_model
from ..common.plateau_budget import height_budget
from .conservation_laws import conservation
from .rank_one import standard_errors

PAIRS = Separate(heads=2, rank=2, divisor="none")
ALIGNED_TIMES = np.linspace(0, 60, 121)
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
SMALL_RANKS = (4, 2, 1)
SCALES = (0.003, 0.0003)
RANK_TWO = RANKS.index(2)


# Aligned heads


def _aligned_flow(rtol: float = TIGHT) -> list[FloatArray]:
    """Loss of the full flow of two heads of rank two, each on two directions."""
    start = initial_weights(PAIRS, FOUR, AMPLITUDES, scheme="aligned")
    source = population_statistics(FOUR, PAIRS)
    return [flow(PAIRS, source, start, ALIGNED_TIMES, rtol=rtol).loss]


def _observed_aligned(context: RunContext) -> list[FloatArray]:
    return _aligned_flow()


def _aligned_solution(context: RunContext, control: str) -> list[FloatArray]:
    """κ̇_r = v κ_r (b_r − a_r λ_r v κ_r²) and v² = Σ κ_r², head by head."""
    moments = changed_moments(FOUR, PAIRS, control)
    saturation = moments.a * moments.lam
    # Each head takes the next two directions.
    heads = [[0, 1], [2, 3]]
    if control == "pairs apart":
        heads = [[0], [1], [2], [3]]

    coefficients = np.empty((len(ALIGNED_TIMES), 4))
    for d in heads:
        start = AMPLITUDES[d]
        v0 = float(np.linalg.norm(start))
        v, κ = low_rank_amplitudes(
            ALIGNED_TIMES, v0, start, moments.b[d], saturation[d]
        )
        coefficients[:, d] = v[:, None] * κ**2
    return [moments.aligned_loss(coefficients)]


# Which plateaus are long


def _long_plateaus(context: RunContext) -> list[tuple[int, ...]]:
    """For each rank the plateaus whose duration grows like a power of 1/scale, not like its logarithm."""
    seed = seeds(context.seed)[0]
    models = [Separate(heads=5, rank=rank, divisor="none") for rank in SMALL_RANKS]
    return [_long(model, seed) for model in models]


def _long(model: Separate, seed: int) -> tuple[int, ...]:
    """Plateaus that grow faster than scale^-1/2: half way between a power of −1 and a logarithm."""
    large, small = (np.diff(_exits(model, seed, s), prepend=0.0) for s in SCALES)
    # Durations ∝ scale^−p have exponent p; logarithms have nearly 0.
    exponent = np.log(small / large) / np.log(SCALES[0] / SCALES[1])
    return tuple(int(m) for m in np.flatnonzero(exponent > 0.5))


def _exits(model: Separate, seed: int, scale: float) -> FloatArray:
    """All four exit times of the gradient flow, on a grid that is fine where the staircase expects them."""
    start = initial_weights(model, FOUR, scale, seed, "restricted")
    expected = staircase(FOUR, model, start).exit_times
    around = 1 + 0.2 * np.linspace(-1, 1, 801) ** 3
    # Evenly spaced records beside those that are dense at each exit.
    coarse = np.linspace(0, 1.3 * expected[-1], 500)
    times = np.concatenate([coarse, *(time * around for time in expected)])

    source = population_statistics(FOUR, model)
    run = flow(model, source, start, np.unique(times), rtol=1e-9)
    return exit_times(run.flow_time, run.loss, population(FOUR, model).greedy_losses)


def _multiples(context: RunContext, control: str) -> list[tuple[int, ...]]:
    """Multiples of the rank below four."""
    ranks = SMALL_RANKS
    if control == "every plateau is long":
        ranks = (1, 1, 1)
    if control == "only the first is long":
        ranks = (4, 4, 4)
    return [tuple(range(0, 4, rank)) for rank in ranks]


def _equal_plateaus(
    predicted: list[tuple[int, ...]], observed: list[tuple[int, ...]]
) -> Evidence:
    return Evidence(
        agrees=predicted == observed,
        observed=_by_rank(observed),
        expected=_by_rank(predicted),
    )


def _by_rank(plateaus: list[tuple[int, ...]]) -> str:
    parts = []
    for rank, numbers in zip(SMALL_RANKS, plateaus, strict=True):
        parts.append(f"R = {rank}: {', '.join(map(str, numbers))}")
    return "; ".join(parts)


# Heights of the long plateaus


class Heights(NamedTuple):
    """Heights of the plateaus m = 0, R (at rank 8 the end) of each run, and their standard errors, (ranks, 2) each."""

    heights: FloatArray
    errors: FloatArray


def _heights(context: RunContext) -> Heights:
    heights, errors = [], []
    runs = zip(RANKS, context.experiments, context.trajectories, strict=True)
    for rank, experiment, run in runs:
        levels = population(EIGHT, experiment.model).greedy_losses
        # Of all plateaus only m = 0 and m = R are long enough to have a height.
        plateaus = plateau_heights(run.loss, run.gradient_norm, levels)
        learned = tuple(range(1, rank + 1))
        heights.append(plateaus.heights[[0, rank]])
        errors.append(standard_errors(experiment, ((), learned)))
    return Heights(np.array(heights), np.array(errors))


def _expected_heights(context: RunContext, control: str) -> FloatArray:
    """L(M_0) and L(M_R) for each rank, (ranks, 2)."""
    more = 1 if control == "one direction more" else 0
    levels = []
    for rank in RANKS:
        moments = changed_moments(EIGHT, low_rank_model(rank), control)
        levels.append(moments.greedy_losses[[0, min(rank + more, 8)]])
    return np.array(levels)


def _within_errors(predicted: FloatArray, observed: Heights) -> Evidence:
    """Eight heights within 4.5 standard errors."""
    heights, errors = observed
    worst = float(np.max(np.abs(heights - predicted) / errors))
    levels = [f"R = {R}: {L:.4f}" for R, L in zip(RANKS, predicted[:, 1], strict=True)]
    ranks = np.array(RANKS, dtype=float)
    return Evidence(
        agrees=worst <= 4.5,
        observed=f"8 plateaus, worst {worst:.1f} standard errors",
        expected=", ".join(levels),
        residual=float(np.max(np.abs(heights[RANK_TWO] - predicted[RANK_TWO]))),
        curves=(
            curve("m = 0", predicted[:, 0], heights[:, 0], ranks),
            curve("m = R", predicted[:, 1], heights[:, 1], ranks),
        ),
        axes=("rank", "loss"),
    )


def _height_budget(context: RunContext) -> dict[str, float]:
    """Of the run of rank two, until its first head is full."""
    experiment, run = context.experiments[RANK_TWO], context.trajectories[RANK_TWO]
    levels = population(EIGHT, experiment.model).greedy_losses
    full = exit_times(run.flow_time, run.loss, levels)[1]
    times = np.linspace(0, 1.2 * full, 300)
    return height_budget(experiment, run, (0, 2), times)


CLAIMS = (
    Claim(
        id="low_rank.aligned",
        title="An aligned head of rank R obeys 1 + R scalar equations exactly",
        paper="zhang2025",
        equation="reduced dynamics of rank R",
        statement=r"\dot\kappa_r = v\kappa_r\lambda_r(\lambda_r - a_r v\kappa_r^2),\quad v^2 = \sum_r \kappa_r^2",
        observable="loss of the full gradient flow, two heads of rank two",
        limit="none: exact",
        measure=_observed_aligned,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_solution,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=(*MOMENTS, "pairs apart"),
        tier="fast",
        budget=lambda context: solver_budget(_aligned_flow),
    ),
    Claim(
        id="low_rank.long_plateaus",
        title="Only the plateaus m = 0, R, 2R, … of heads of rank R last ∝ 1/scale",
        paper="zhang2025",
        equation="low-rank separate attention",
        statement=r"t_{m+1} - t_m \propto 1/\mathrm{scale} \iff R \mid m",
        observable="plateaus whose duration grows faster than scale^-1/2 when the scale falls tenfold",
        limit="initial scale → 0",
        measure=_long_plateaus,
        assumes=POPULATION_MOMENTS,
        predict=_multiples,
        judge=_equal_plateaus,
        controls=("every plateau is long", "only the first is long"),
    ),
    Claim(
        id="low_rank.plateaus",
        title="Runs of rank R = 8, 4, 2, 1 at D = 8 have plateaus at c and at L(M_R)",
        paper="zhang2025",
        equation="simulations of low-rank separate attention",
        statement=r"L(M_R) = c - \sum_{d \le R} \lambda_d^3 / a_d",
        observable="loss where the gradient is smallest between mid-levels; 80,000 sequences; budget of rank 2",
        limit="P → ∞ and initial scale → 0: within 4.5 standard errors over sequences",
        measure=_heights,
        predict=_expected_heights,
        judge=_within_errors,
        controls=(TRACE_DROPPED, NO_FOURTH_MOMENT, "one direction more"),
        experiments=lambda context: tuple(
            low_rank(context.seed, rank) for rank in RANKS
        ),
        budget=_height_budget,
        figure="low_rank",
    ),
    conservation("low_rank.conservation", Separate(heads=3, rank=3, divisor="none")),
)
