"""Heads of rank R: long plateaus at multiples of R, short ones between."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ...theory import population
from ..claim import Lab
from ..experiments import EIGHT, low_rank_model
from ..experiments import low_rank as experiment
from .style import COLOURS, DASHES, PAGE, panels, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

RANKS = (8, 4, 2, 1)

ROOM = 0.04
"""Difference in loss that a name needs."""


def low_rank(lab: Lab) -> "Figure":
    """Losses of one run of each rank over the losses of the greedy fixed points, multiples of R in colour."""
    figure, axes = panels(1, len(RANKS), (PAGE, 2.2), sharex=True, sharey=True)
    for ax, rank in zip(axes[0], RANKS, strict=True):
        run = lab.run(experiment(lab.seed, rank))
        _levels(ax, rank)
        simulated(ax, run.time / 1000, run.loss, color=COLOURS[0], linewidth=1.4)
        ax.set(title=f"rank {rank}", xlabel="steps (thousands)", xlim=(0, run.time[-1] / 1000))
    axes[0, 0].set(ylabel="loss", ylim=(0.2, 1.05))
    return figure


def _levels(ax: "Axes", rank: int) -> None:
    """Lines at L(M_m), the long plateaus in colour and named at the right where there is room."""
    moments, lowest = population(EIGHT, low_rank_model(rank)), -np.inf
    for m in range(moments.dimension, -1, -1):
        loss, long = moments.c - float(np.sum(moments.gains[:m])), m % rank == 0
        style: dict[str, Any] = (
            {"color": COLOURS[1], "linewidth": 0.9} if long else {"color": "0.6", "linewidth": 0.5}
        )
        ax.axhline(loss, linestyle=DASHES, zorder=1, **style)
        if long and loss - lowest > ROOM:
            lowest = loss
            place: dict[str, Any] = {"xycoords": ("axes fraction", "data"), "textcoords": "offset points"}
            ax.annotate(f"$M_{m}$", (1, loss), (2, 0), va="center", fontsize=6, color=COLOURS[1], **place)
