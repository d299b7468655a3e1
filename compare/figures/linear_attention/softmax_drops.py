"""Softmax attention: one drop of the loss with merged key and query, several with separate ones."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import Experiment
from ...claims.linear_attention.common.archived_runs import (
    archived_file,
    read_archived_run,
)
from ...claims.linear_attention.common.experiments import (
    softmax_full_size,
    softmax_merged,
    softmax_separate,
)
from ...evidence.claim import RunContext
from ...metrics.loss_drops import drops
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, plateau_lines, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FULL_SIZE_RUN = "softmax_separate"

FIRST_STEP = 300
"""Where logarithmic axes of steps begin: nothing has moved before."""

RUNS = 2
"""How many of the runs on 5,000 sequences are drawn: they are trained on the tokens, which takes a minute each."""


@paper_figure("softmax", paper="zhang2025", tier="long")
def softmax(context: RunContext) -> "Figure":
    """Losses of several seeds with a mark at every drop; of the run on 80,000 sequences the archived ones."""
    figure, axes = panels(1, 3, (PAGE, 2.3), sharey=True)
    merged_ax, separate_ax, full_size_ax = axes[0]
    _draw_seeds(merged_ax, softmax_merged(context.seed), context)
    _draw_seeds(separate_ax, softmax_separate(context.seed), context)
    # Training on 80,000 sequences takes too long for a figure: the losses are archived.
    archived = read_archived_run(archived_file(FULL_SIZE_RUN))
    _draw_loss(full_size_ax, archived.steps, archived.loss, COLOURS[0])

    for ax in axes[0]:
        plateau_lines(ax, [1.0], ["$L(0)$"], "left")
        ax.set(
            xlabel="steps",
            ylabel="loss",
            ylim=(0, 1.15),
        )
    # Separate key and query leave their saddles after ever longer times.
    for ax in (separate_ax, full_size_ax):
        ax.set_xscale("log")
        ax.set_xlim(FIRST_STEP, None)
    full_size = softmax_full_size(context.seed)
    titles = [
        "merged, $P = 5{,}000$",
        "separate, $P = 5{,}000$",
        f"separate, $P = {full_size.sequences:,}$",
    ]
    panel_titles(axes[0], titles)
    return figure


def _draw_seeds(
    ax: "Axes", experiments: Sequence[Experiment], context: RunContext
) -> None:
    for experiment, colour in zip(experiments[:RUNS], COLOURS, strict=False):
        run = context.trajectory(experiment)
        _draw_loss(ax, run.time, run.loss, colour)


def _draw_loss(ax: "Axes", time: FloatArray, loss: FloatArray, colour: str) -> None:
    """A loss with a mark where each drop is fastest."""
    simulated(ax, time, loss, color=colour)
    drop_times = drops(time, loss)
    heights = np.interp(drop_times, time, loss)
    # The mark is open, so that the curve stays visible.
    style: dict[str, Any] = {
        "color": colour,
        "markerfacecolor": "white",
        "zorder": 3,
    }
    ax.plot(drop_times, heights, "o", **style)
