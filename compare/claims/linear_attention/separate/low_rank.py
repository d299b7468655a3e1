"""Separate key and query of rank R: long plateaus at multiples of R only."""

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import flow, initial_weights
from .....task import Task
from .....theory import staircase
from .....theory.linear_attention.low_rank import low_rank_amplitudes
from ....error_budget import TIGHT, solver_budget
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import curve, equal_within
from ....evidence.seeding import seeds
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times, plateau_heights
from ..common.controls import MOMENTS, NO_FOURTH_MOMENT, TRACE_DROPPED, wrong_moments
from ..common.experiments import EIGHT, FOUR, RANKS, low_rank, low_rank_model
from ..common.plateau_budget import height_budget
from .conservation_laws import conservation
from .rank_one import standard_errors

PAIRS = Separate(heads=2, rank=2, divisor="none")
ALIGNED_TIMES = np.linspace(0, 60, 121)
AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
SMALL_RANKS = (4, 2, 1)
SCALES = (0.003, 0.0003)
TWO = RANKS.index(2)


def _aligned_flow(rtol: float = TIGHT) -> list[FloatArray]:
    start = initial_weights(PAIRS, FOUR, AMPLITUDES, scheme="aligned")
    return [
        flow(
            PAIRS, population_statistics(FOUR, PAIRS), start, ALIGNED_TIMES, rtol=rtol
        ).loss
    ]


def _aligned_ode(context: RunContext, control: str) -> list[FloatArray]:
    moments = wrong_moments(FOUR, PAIRS, control if control in MOMENTS else UNMODIFIED)
    coefficients = np.empty((len(ALIGNED_TIMES), 4))
    heads = [[d] for d in range(4)] if control == "pairs apart" else [[0, 1], [2, 3]]
    for d in heads:
        κ0, b, rate = AMPLITUDES[d], moments.b[d], (moments.a * moments.lam)[d]
        v, κ = low_rank_amplitudes(
            ALIGNED_TIMES, float(np.linalg.norm(κ0)), κ0, b, rate
        )
        coefficients[:, d] = v[:, None] * κ**2
    return [moments.aligned_loss(coefficients)]


def _long_plateaus(context: RunContext) -> list[tuple[int, ...]]:
    """For each rank the plateaus whose duration grows like a power of 1/scale, not like its logarithm."""
    return [
        _long(Separate(heads=5, rank=rank, divisor="none"), seeds(context.seed)[0])
        for rank in SMALL_RANKS
    ]


def _long(model: Separate, seed: int) -> tuple[int, ...]:
    durations = np.array(
        [np.diff(_exits(model, seed, scale), prepend=0.0) for scale in SCALES]
    )
    exponent = np.log(durations[1] / durations[0]) / np.log(SCALES[0] / SCALES[1])
    return tuple(int(m) for m in np.flatnonzero(exponent > 0.5))


def _exits(model: Separate, seed: int, scale: float) -> FloatArray:
    """All four exit times of the gradient flow, on a grid that is fine where the staircase expects them."""
    start = initial_weights(model, FOUR, scale, seed, "restricted")
    expected = staircase(FOUR, model, start).exit_times
    times = [
        np.linspace(0, 1.3 * expected[-1], 500),
        *(t * (1 + 0.2 * np.linspace(-1, 1, 801) ** 3) for t in expected),
    ]
    run = flow(
        model,
        population_statistics(FOUR, model),
        start,
        np.unique(np.concatenate(times)),
        rtol=1e-9,
    )
    return exit_times(run.flow_time, run.loss, _losses(FOUR, model, UNMODIFIED))


def _losses(task: Task, model: Merged | Separate, control: str) -> FloatArray:
    return wrong_moments(task, model, control).greedy_losses


def _multiples(context: RunContext, control: str) -> list[tuple[int, ...]]:
    steps = {
        UNMODIFIED: SMALL_RANKS,
        "every plateau is long": (1, 1, 1),
        "only the first is long": (4, 4, 4),
    }[control]
    return [tuple(range(0, 4, step)) for step in steps]


def _equal_plateaus(
    predicted: list[tuple[int, ...]], observed: list[tuple[int, ...]]
) -> Evidence:
    def said(plateaus: list[tuple[int, ...]]) -> str:
        return "; ".join(
            f"R = {rank}: {', '.join(map(str, m))}"
            for rank, m in zip(SMALL_RANKS, plateaus, strict=True)
        )

    return Evidence(predicted == observed, said(observed), said(predicted))


def _heights(context: RunContext) -> tuple[FloatArray, FloatArray]:
    """Heights of the plateaus m = 0, R (at rank 8 the end) of each run, and their standard errors."""
    heights, errors = [], []
    runs = zip(RANKS, context.experiments, context.trajectories, strict=True)
    for rank, each, run in runs:
        all_heights = plateau_heights(
            run.loss, run.gradient_norm, _losses(EIGHT, each.model, UNMODIFIED)
        ).heights
        heights.append(all_heights[[0, rank]])
        errors.append(standard_errors(each, ((), tuple(range(1, rank + 1)))))
    return np.array(heights), np.array(errors)


def _expected_heights(context: RunContext, control: str) -> FloatArray:
    shift = 1 if control == "one direction more" else 0
    moments = control if control in MOMENTS else UNMODIFIED
    return np.array(
        [
            _losses(EIGHT, low_rank_model(rank), moments)[[0, min(rank + shift, 8)]]
            for rank in RANKS
        ]
    )


def _within_errors(
    predicted: FloatArray, observed: tuple[FloatArray, FloatArray]
) -> Evidence:
    heights, errors = observed
    worst = float(np.max(np.abs(heights - predicted) / errors))
    levels = ", ".join(
        f"R = {rank}: {level:.4f}"
        for rank, level in zip(RANKS, predicted[:, 1], strict=True)
    )
    return Evidence(
        worst <= 4.5,
        f"8 plateaus, worst {worst:.1f} standard errors",
        levels,
        residual=float(np.max(np.abs(heights[TWO] - predicted[TWO]))),
        curves=tuple(
            curve(
                f"m = {m}", predicted[:, k], heights[:, k], np.array(RANKS, dtype=float)
            )
            for k, m in enumerate(("0", "R"))
        ),
        axes=("rank", "loss"),
    )


def _height_budget(context: RunContext) -> dict[str, float]:
    """Of the run of rank two, until its first head is full."""
    each, run = context.experiments[TWO], context.trajectories[TWO]
    full = exit_times(run.flow_time, run.loss, _losses(EIGHT, each.model, UNMODIFIED))[
        1
    ]
    return height_budget(each, run, (0, 2), np.linspace(0, 1.2 * full, 300))


CLAIMS = (
    Claim(
        id="low_rank.aligned",
        title="An aligned head of rank R obeys 1 + R scalar equations exactly",
        paper="zhang2025",
        equation="reduced dynamics of rank R",
        statement=r"\dot\kappa_r = v\kappa_r\lambda_r(\lambda_r - a_r v\kappa_r^2),\quad v^2 = \sum_r \kappa_r^2",
        observable="loss of the full gradient flow, two heads of rank two",
        limit="none: exact",
        measure=lambda context: _aligned_flow(),
        assumes=POPULATION_MOMENTS,
        predict=_aligned_ode,
        judge=equal_within(1e-9, ALIGNED_TIMES, ("flow time", "loss")),
        controls=(*MOMENTS, "pairs apart"),
        tier="fast",
        budget=lambda context: solver_budget(_aligned_flow),
    ),
    Claim(
        id="low_rank.long_plateaus",
        title="Long plateaus stand at m = 0, R, 2R, … only",
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
        title="At D = 8, H = 9 and R = 8, 4, 2, 1 the loss rests at c and then at L(M_R)",
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
