"""Claims on training with every context length: averaged moments take the place of those of one length."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Separate
from .....models.effective_map import effective_map
from .....runtime.arrays import FloatArray
from .....simulate import Trajectory, flow, initial_weights
from .....task import Task
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
MEAN_OF_RESULTS = "mean over the lengths of what each length alone gives"
LEAST_DURATION = 10.0
"""Widths of a drop that a plateau must last to be measured: before, the loss has not settled on it."""

AMPLITUDES = np.array([0.12, 0.1, 0.15, 0.2])
TIMES = np.linspace(0, 150, 151)


def _population(control: str) -> Population:
    """The loss with moments averaged over the lengths, or with those of a wrong variant."""
    if control == LONGEST:
        return population(with_context(EVERY_LENGTH, 31), TOKENS)
    if control == CONTEXT:
        return population(EVERY_LENGTH, Separate(TOKENS.head_count, 1))
    return population(EVERY_LENGTH, TOKENS)


def _tasks_of_one_length() -> list[Task]:
    """The task with every context length by itself."""
    return [with_context(EVERY_LENGTH, n) for n in EVERY_LENGTH.context_lengths]


def _plateau_losses(context: RunContext, control: str) -> FloatArray:
    """Loss of each plateau, (5,)."""
    if control == MEAN_OF_RESULTS:
        losses = [
            population(task, TOKENS).greedy_losses for task in _tasks_of_one_length()
        ]
        return np.asarray(np.mean(losses, axis=0))
    return _population(control).greedy_losses


def _coefficients(context: RunContext, control: str) -> FloatArray:
    """Coefficient of each direction of Λ in the minimum, (4,)."""
    if control == MEAN_OF_RESULTS:
        coefficients = [
            population(task, TOKENS).coefficients for task in _tasks_of_one_length()
        ]
        return np.asarray(np.mean(coefficients, axis=0))
    return _population(control).coefficients


def _lasts(run: Trajectory) -> NDArray[np.bool_]:
    """Whether each plateau of a run lasts ten times as long as the drop at its end, (5,)."""
    loss = _population(UNMODIFIED)
    exits = exit_times(run.flow_time, run.loss, loss.greedy_losses)
    edges = np.concatenate([[0.0], exits, [run.flow_time[-1]]])
    durations = np.diff(edges)

    # A head of size v grows by v̇ = b v², v³ being the coefficient it ends at: a drop takes about 1/(b v).
    widths = 1 / (loss.b * np.cbrt(loss.coefficients))
    # No drop ends the last plateau: it is held to the width of the drop before.
    widths = np.append(widths, widths[-1])
    return np.asarray(durations > LEAST_DURATION * widths)


def _measured_losses(context: RunContext) -> FloatArray:
    """Loss at each plateau, (seeds, 5), nan where the plateau is too short."""
    levels = _plateau_losses(context, UNMODIFIED)
    losses = [
        plateau_heights(run.loss, run.gradient_norm, levels).heights
        for run in context.trajectories
    ]
    lasting = [_lasts(run) for run in context.trajectories]
    return np.where(lasting, losses, np.nan)


def _learned_coefficients(context: RunContext) -> FloatArray:
    """Diagonal of M at the end of the runs that have learned every direction, (runs, 4)."""
    complete = [run for run in context.trajectories if _lasts(run)[-1]]
    return np.array([np.diag(effective_map(TOKENS, run.final)) for run in complete])


def _aligned_flow(context: RunContext) -> list[FloatArray]:
    """Loss of the flow of all weights from aligned heads."""
    start = initial_weights(TOKENS, EVERY_LENGTH, AMPLITUDES, scheme="aligned")
    statistics = population_statistics(EVERY_LENGTH, TOKENS)
    return [flow(TOKENS, statistics, start, TIMES).loss]


def _aligned_time_course(context: RunContext, control: str) -> list[FloatArray]:
    """Loss of the aligned heads by their scalar equations."""
    if control == MEAN_OF_RESULTS:
        losses = [
            time_course(task, TOKENS, TIMES, AMPLITUDES).loss
            for task in _tasks_of_one_length()
        ]
        return [np.mean(losses, axis=0)]
    task = with_context(EVERY_LENGTH, 31) if control == LONGEST else EVERY_LENGTH
    model = Separate(TOKENS.head_count, 1) if control == CONTEXT else TOKENS
    return [time_course(task, model, TIMES, AMPLITUDES).loss]


BASE = Claim(
    id="lengths.plateaus",
    title="With every context length in training, the plateaus have the losses of the averaged moments",
    paper="zhang2025",
    equation="training on varying context lengths",
    origin="the averaged moments go beyond",
    statement=r"L_m = c - \sum_{d \le m} \bar b_d^2 / (\bar a_d\lambda_d),\quad \bar b, \bar a \text{ over } n",
    observable="loss at the plateaus of twelve runs or more; all weights, 5,000 sequences, n = 1 … 31",
    limit="P → ∞, initial scale → 0: within the variability over the runs",
    hypotheses=(
        "D = 4, λ ∝ (4, 3, 2, 1), trace 1, H = 5, rank one",
        "attention divided by n + 1",
        "x Gaussian",
    ),
    measure=_measured_losses,
    predict=_plateau_losses,
    judge=means_within_scatter,
    controls=(LONGEST, CONTEXT, MEAN_OF_RESULTS),
    experiments=lambda context: lengths(context.seed, 12 * context.repeat_factor),
    figure="lengths",
)

CLAIMS = (
    BASE,
    replace(
        BASE,
        id="lengths.map",
        title="With every context length in training, attention learns the map of the averaged moments",
        statement=r"m_d = \bar b_d / (\bar a_d\lambda_d)",
        observable="diagonal of M at the end of the runs that learn all four directions, twelve runs or more",
        measure=_learned_coefficients,
        predict=_coefficients,
    ),
    replace(
        BASE,
        id="lengths.course",
        title="With every context length in training, aligned heads obey the scalar equation with averaged moments",
        statement=r"\dot v = \bar b_d v^2 - \bar a_d\lambda_d v^5",
        observable="loss of the full gradient flow of four aligned heads",
        limit="none: exact",
        measure=_aligned_flow,
        assumes=POPULATION_MOMENTS,
        predict=_aligned_time_course,
        judge=equal_within(1e-9, TIMES, ("flow time", "loss")),
        experiments=lambda context: (),
        tier="fast",
    ),
)
