"""Training on every context length: averaged moments stand for one length."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Separate
from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory, flow, initial_weights
from .....theory import Population, population, time_course
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.judges import equal_within
from ....evidence.seed_judges import means_within_scatter
from ....exact_statistics import POPULATION_MOMENTS, population_statistics
from ....metrics.curves import exit_times, plateau_heights
from ..common.controls import with_context
from ..common.experiments import EVERY_LENGTH, TOKENS, lengths

LONGEST = "the longest length alone"
CONTEXT = "divisor n for n + 1"
EACH = "mean over the lengths of what each alone gives"
PATIENCE = 10.0
"""Drop times that a plateau must last to be measured."""

AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
TIMES = np.linspace(0, 150, 151)


def _moments(control: str) -> Population:
    """Averaged moments, or those of a wrong variant."""
    if control == LONGEST:
        return population(with_context(EVERY_LENGTH, 31), TOKENS)
    if control == CONTEXT:
        return population(EVERY_LENGTH, Separate(TOKENS.head_count, 1))
    return population(EVERY_LENGTH, TOKENS)


def _singly() -> list[Population]:
    return [
        population(with_context(EVERY_LENGTH, n), TOKENS)
        for n in EVERY_LENGTH.context_lengths
    ]


def _levels(context: RunContext, control: str) -> FloatArray:
    if control == EACH:
        return np.asarray(
            np.mean([moments.greedy_losses for moments in _singly()], axis=0)
        )
    return _moments(control).greedy_losses


def _coefficients(context: RunContext, control: str) -> FloatArray:
    """What each direction of Λ learns, (4,)."""
    if control == EACH:
        return np.asarray(
            np.mean([moments.coefficients for moments in _singly()], axis=0)
        )
    return _moments(control).coefficients


def _rests(run: Trajectory) -> NDArray[np.bool_]:
    """Whether a run rests on each plateau: for ten times what the drop at its end takes."""
    moments = _moments(UNMODIFIED)
    exits = exit_times(run.flow_time, run.loss, moments.greedy_losses)
    waits = np.diff(np.concatenate([[0.0], exits, [run.flow_time[-1]]]))
    widths = 1 / (moments.b * np.cbrt(moments.coefficients))
    return np.asarray(waits > PATIENCE * np.append(widths, widths[-1]))


def _heights(context: RunContext) -> FloatArray:
    """Loss at each plateau, (seeds, 5), nan where a run does not rest."""
    runs = list(context.trajectories)
    found = [
        plateau_heights(
            run.loss, run.gradient_norm, _levels(context, UNMODIFIED)
        ).heights
        for run in runs
    ]
    return np.where([_rests(run) for run in runs], found, np.nan)


def _learned(context: RunContext) -> FloatArray:
    """Diagonal of M at the end of the runs that have learned every direction, (runs, 4)."""
    return np.array(
        [
            np.diag(effective_map(TOKENS, run.final))
            for run in context.trajectories
            if _rests(run)[-1]
        ]
    )


def _aligned_flow(context: RunContext) -> list[FloatArray]:
    start = initial_weights(TOKENS, EVERY_LENGTH, AMPLITUDES, scheme="aligned")
    return [
        flow(TOKENS, population_statistics(EVERY_LENGTH, TOKENS), start, TIMES).loss
    ]


def _aligned_course(context: RunContext, control: str) -> list[FloatArray]:
    if control == EACH:
        each = [with_context(EVERY_LENGTH, n) for n in EVERY_LENGTH.context_lengths]
        return [
            np.mean(
                [time_course(task, TOKENS, TIMES, AMPLITUDES).loss for task in each],
                axis=0,
            )
        ]
    task = with_context(EVERY_LENGTH, 31) if control == LONGEST else EVERY_LENGTH
    model = Separate(TOKENS.head_count, 1) if control == CONTEXT else TOKENS
    return [time_course(task, model, TIMES, AMPLITUDES).loss]


BASE = Claim(
    id="lengths.plateaus",
    title="Trained on every context length, the loss rests at the levels of the averaged moments",
    paper="zhang2025",
    equation="training on varying context lengths",
    origin="the averaged moments go beyond",
    statement=r"L_m = c - \sum_{d \le m} \bar b_d^2 / (\bar a_d\lambda_d),\quad \bar b, \bar a \text{ over } n",
    observable="loss at the plateaus on which twelve runs or more rest; all weights, 5,000 sequences, n = 1 … 31",
    limit="P → ∞, initial scale → 0: within the scatter over the runs",
    hypotheses=(
        "D = 4, λ ∝ (4, 3, 2, 1), trace 1, H = 5, rank one",
        "attention divided by n + 1",
        "x Gaussian",
    ),
    measure=_heights,
    predict=_levels,
    judge=means_within_scatter,
    controls=(LONGEST, CONTEXT, EACH),
    experiments=lambda context: lengths(context.seed, 12 * context.repeat_factor),
    figure="lengths",
)

CLAIMS = (
    BASE,
    replace(
        BASE,
        id="lengths.map",
        title="Trained on every context length, the map learned is that of the averaged moments",
        statement=r"m_d = \bar b_d / (\bar a_d\lambda_d)",
        observable="diagonal of M at the end of the runs that learn all four directions, twelve runs or more",
        measure=_learned,
        predict=_coefficients,
    ),
    replace(
        BASE,
        id="lengths.course",
        title="Aligned heads obey the scalar equation with averaged moments",
        statement=r"\dot v = \bar b_d v^2 - \bar a_d\lambda_d v^5",
        observable="loss of the full gradient flow of four aligned heads",
        limit="none: exact",
        measure=_aligned_flow,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_course,
        judge=equal_within(1e-9, TIMES, ("flow time", "loss")),
        experiments=lambda context: (),
        tier="fast",
    ),
)
