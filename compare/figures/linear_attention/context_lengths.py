"""Training on every context length: losses over the staircase of the averaged moments."""

from typing import TYPE_CHECKING

import numpy as np

from ....simulate import Trajectory
from ....theory import population, time_course
from ...claims.linear_attention.common.controls import with_context
from ...claims.linear_attention.common.experiments import EVERY_LENGTH, TOKENS, lengths
from ...evidence.claim import RunContext
from ...metrics.curves import exit_times
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    PAGE,
    line_legend,
    panel_titles,
    panels,
    plateau_lines,
    predicted,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RUNS = 6
"""How many of the runs are drawn."""

FIRST_STEP = 300
"""Where the logarithmic axis begins: nothing has moved before."""

LOSSES = (0.2, 1.12)
"""Range of the losses: from below the minimum to the names above L(0)."""


@paper_figure("lengths", paper="zhang2025")
def varying_lengths(context: RunContext) -> "Figure":
    """Losses of several seeds, one of them over its staircase, and the plateaus of each length by itself."""
    figure, axes = panels(1, 3, (PAGE, 2.4), width_ratios=(1.2, 1.2, 1))
    all_seeds, first_seed, single_lengths = axes[0]
    runs = [
        context.trajectory(experiment) for experiment in lengths(context.seed)[:RUNS]
    ]
    _seeds(all_seeds, runs)
    _one_seed(first_seed, runs[0])
    _single_lengths(single_lengths)
    panel_titles(axes[0], [f"{RUNS} seeds", "one seed", "levels of each length"])
    return figure


def _seeds(ax: "Axes", runs: list[Trajectory]) -> None:
    """The loss of every run on a logarithmic axis of steps."""
    # Before the curves are drawn: they are thinned by the scale of the axis.
    ax.set_xscale("log")
    for run, colour in zip(runs, COLOURS, strict=False):
        simulated(ax, run.time, run.loss, color=colour)
    ax.set(xlim=(FIRST_STEP, runs[0].time[-1]), ylim=LOSSES)
    ax.set(xlabel="steps", ylabel="loss")
    _plateaus(ax, side="left")


def _one_seed(ax: "Axes", run: Trajectory) -> None:
    """The loss of a run over the staircase from its own start, to a third past its last drop."""
    curve = time_course(EVERY_LENGTH, TOKENS, run.flow_time, run.initial)
    simulated(ax, run.time / 1000, run.loss, color=COLOURS[0])
    predicted(ax, run.time / 1000, curve.loss)

    losses = population(EVERY_LENGTH, TOKENS).greedy_losses
    exits = exit_times(run.time, run.loss, losses)
    # A run may end before its last drop: then all of it is drawn.
    last_exit = np.nan_to_num(exits, nan=run.time[-1])[-1]
    end = min(1.33 * last_exit, run.time[-1]) / 1000
    ax.set(xlim=(0, end), ylim=LOSSES)
    ax.set(xlabel="steps (thousands)", ylabel="loss")
    _plateaus(ax, side="right")
    place = {"loc": "upper right", "bbox_to_anchor": (1.0, 0.84)}
    line_legend(ax, "gradient descent", "staircase", **place)


def _plateaus(ax: "Axes", side: str) -> None:
    losses = population(EVERY_LENGTH, TOKENS).greedy_losses
    names = [f"$L_{m}$" for m in range(len(losses))]
    plateau_lines(ax, losses, names, side)


def _single_lengths(ax: "Axes") -> None:
    """Plateaus if only one length were trained on, and those of all lengths together, dashed."""
    all_lengths = EVERY_LENGTH.context_lengths
    # Losses (lengths, D + 1) of a task of each length alone.
    losses_alone = np.array(
        [
            population(with_context(EVERY_LENGTH, length), TOKENS).greedy_losses
            for length in all_lengths
        ]
    )
    losses_together = population(EVERY_LENGTH, TOKENS).greedy_losses
    # The plateaus of all lengths together are lines across the axes.
    ends = np.array([1.0, all_lengths[-1]])
    plateaus = range(1, len(losses_together))
    for m, colour in zip(plateaus, COLOURS, strict=False):
        ax.plot(
            all_lengths,
            losses_alone[:, m],
            color=colour,
            label=f"$m = {m}$",
        )
        predicted(ax, ends, np.full(2, losses_together[m]), color=colour)
    ax.set(
        xlabel="context length $N$",
        ylabel="loss of plateau $m$",
        ylim=(0, 1),
    )
    ax.legend(
        loc="lower left",
        ncols=2,
        columnspacing=0.8,
        borderaxespad=0.2,
    )
