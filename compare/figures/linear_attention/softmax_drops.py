"""Softmax attention: one drop with merged key and query, several with separate ones."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
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
from ..style import COLOURS, PAGE, letter, levels, panels, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FULL = "softmax_separate"

RUNS = 2
"""How many of the runs on 5,000 sequences are drawn: they are trained on the tokens, which takes a minute each."""


@paper_figure("softmax", paper="zhang2025", tier="long")
def softmax(context: RunContext) -> "Figure":
    """Losses of several seeds with a mark at every drop; of the run on 80,000 sequences those that are kept."""
    figure, axes = panels(1, 3, (PAGE, 2.3), sharey=True)
    for ax, experiments in zip(
        axes[0],
        (softmax_merged(context.seed), softmax_separate(context.seed)),
        strict=False,
    ):
        for experiment, colour in zip(experiments[:RUNS], COLOURS, strict=False):
            run = context.trajectory(experiment)
            _loss(ax, run.time, run.loss, colour)
    kept = read_archived_run(archived_file(FULL))
    _loss(axes[0, 2], kept.steps, kept.loss, COLOURS[0])
    for ax in axes[0]:
        levels(ax, [1.0], ["$L(0)$"], "left")
        ax.set(xlabel="steps", ylabel="loss", ylim=(0, 1.15))
    for ax in axes[0, 1:]:
        ax.set_xscale("log")
        ax.set_xlim(300, None)
    full = softmax_full_size(context.seed)
    letter(
        axes[0],
        [
            "merged, $P = 5{,}000$",
            "separate, $P = 5{,}000$",
            f"separate, $P = {full.sequences:,}$",
        ],
    )
    return figure


def _loss(ax: "Axes", time: FloatArray, loss: FloatArray, colour: str) -> None:
    """A loss with a mark where each drop is fastest."""
    simulated(ax, time, loss, color=colour)
    places = drops(time, loss)
    ax.plot(
        places,
        np.interp(places, time, loss),
        "o",
        color=colour,
        markerfacecolor="white",
        zorder=3,
    )
