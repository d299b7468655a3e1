"""Training on every context length: losses over the staircase of the averaged moments."""

from typing import TYPE_CHECKING

import numpy as np

from ....theory import population, time_course
from ...claims.linear_attention.common.controls import with_context
from ...claims.linear_attention.common.experiments import EVERY_LENGTH, TOKENS, lengths
from ...evidence.claim import RunContext
from ...metrics.curves import exit_times
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, key, letter, levels, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RUNS = 6
"""How many of the runs are drawn."""

FIRST_STEP = 300
"""Where the logarithmic axis begins: nothing has moved before."""


@paper_figure("lengths", paper="zhang2025")
def varying_lengths(context: RunContext) -> "Figure":
    """Losses of several seeds, one of them over its staircase, and the levels of each length by itself."""
    figure, axes = panels(1, 3, (PAGE, 2.4), width_ratios=(1.2, 1.2, 1))
    several, one, single = axes[0]
    runs = [context.trajectory(each) for each in lengths(context.seed)[:RUNS]]
    for run, colour in zip(runs, COLOURS, strict=False):
        several.set_xscale("log")
        simulated(several, run.time, run.loss, color=colour)
    several.set(
        xlim=(FIRST_STEP, runs[0].time[-1]),
        ylim=(0.2, 1.12),
        xlabel="steps",
        ylabel="loss",
    )
    run = runs[0]
    start = {name: weights[0] for name, weights in run.weights.items()}
    simulated(one, run.time / 1000, run.loss, color=COLOURS[0])
    predicted(
        one,
        run.time / 1000,
        time_course(EVERY_LENGTH, TOKENS, run.flow_time, start).loss,
    )
    losses = population(EVERY_LENGTH, TOKENS).greedy_losses
    last = np.nan_to_num(exit_times(run.time, run.loss, losses), nan=run.time[-1])[-1]
    end = min(1.33 * last, run.time[-1]) / 1000
    one.set(xlim=(0, end), ylim=(0.2, 1.12), xlabel="steps (thousands)", ylabel="loss")
    for ax in (several, one):
        levels(
            ax,
            losses,
            [f"$L_{m}$" for m in range(len(losses))],
            "left" if ax is several else "right",
        )
    key(
        one,
        "gradient descent",
        "staircase",
        loc="upper right",
        bbox_to_anchor=(1.0, 0.84),
    )
    _each_length(single)
    letter(axes[0], [f"{RUNS} seeds", "one seed", "levels of each length"])
    return figure


def _each_length(ax: "Axes") -> None:
    """Plateaus if only one length were trained on, and those of all lengths together, dashed."""
    every = EVERY_LENGTH.context_lengths
    alone = np.array(
        [population(with_context(EVERY_LENGTH, n), TOKENS).greedy_losses for n in every]
    )
    together = population(EVERY_LENGTH, TOKENS).greedy_losses
    for m, colour in zip(range(1, alone.shape[1]), COLOURS, strict=False):
        ax.plot(every, alone[:, m], color=colour, label=f"$m = {m}$")
        predicted(ax, np.array([1.0, every[-1]]), np.full(2, together[m]), color=colour)
    ax.set(xlabel="context length $N$", ylabel="loss of plateau $m$", ylim=(0, 1))
    ax.legend(loc="lower left", ncols=2, columnspacing=0.8, borderaxespad=0.2)
