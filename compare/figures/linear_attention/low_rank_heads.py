"""Heads of rank R: long plateaus at multiples of R, short ones between."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....theory import population, staircase
from ...claims.linear_attention.common.experiments import (
    EIGHT,
    LOW_RANK_STEPS,
    RANKS,
    low_rank_model,
)
from ...claims.linear_attention.common.experiments import low_rank as experiment
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, key, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 4000
"""Points of a staircase, enough for drops that take a hundredth of the run."""

ROOM = 0.04
"""Difference in loss that a name needs."""


@paper_figure("low_rank", paper="zhang2025")
def low_rank(context: RunContext) -> "Figure":
    """One run of each rank, the staircase from its own start, and the greedy losses, multiples of R in colour."""
    figure, axes = panels(1, len(RANKS), (PAGE, 2.2), sharex=True, sharey=True)
    for ax, rank in zip(axes[0], RANKS, strict=True):
        run = context.trajectory(experiment(context.seed, rank))
        _levels(ax, rank)
        simulated(ax, run.time / 1000, run.loss, color=COLOURS[0], linewidth=1.4)
        start = {name: weights[0] for name, weights in run.weights.items()}
        stairs = staircase(EIGHT, low_rank_model(rank), start)
        shown = run.time[:: max(1, len(run.time) // POINTS)]
        predicted(
            ax, shown / 1000, stairs.loss(shown * (run.flow_time[1] / run.time[1]))
        )
        ax.axvline(LOW_RANK_STEPS / 1000, color="0.6", linewidth=0.8, zorder=1)
        ax.set(
            title=f"rank {rank}",
            xlabel="steps (thousands)",
            xlim=(0, run.time[-1] / 1000),
        )
    axes[0, 0].set(ylabel="loss", ylim=(0.2, 1.05))
    beside: dict[str, Any] = {
        "rotation": 90,
        "ha": "right",
        "va": "center",
        "fontsize": 6,
    }
    beside["bbox"] = {"facecolor": "white", "edgecolor": "none", "pad": 0.5}
    axes[0, -1].annotate(
        "published length",
        (LOW_RANK_STEPS / 1000, 0.45),
        (-1.5, 0),
        textcoords="offset points",
        **beside,
    )
    key(
        axes[0, 0],
        "gradient descent",
        "staircase",
        loc="upper right",
        bbox_to_anchor=(1.0, 0.92),
        fontsize=6,
    )
    return figure


def _levels(ax: "Axes", rank: int) -> None:
    """Lines at L(M_m), the long plateaus in colour and named at the right where there is room."""
    moments, lowest = population(EIGHT, low_rank_model(rank)), -np.inf
    for m in range(moments.dimension, -1, -1):
        loss, long = moments.c - float(np.sum(moments.gains[:m])), m % rank == 0
        style: dict[str, Any] = (
            {"color": COLOURS[1], "linewidth": 0.9}
            if long
            else {"color": "0.6", "linewidth": 0.5}
        )
        ax.axhline(loss, linestyle=DASHES, zorder=1, **style)
        if long and loss - lowest > ROOM:
            lowest = loss
            place: dict[str, Any] = {
                "xycoords": ("axes fraction", "data"),
                "textcoords": "offset points",
            }
            ax.annotate(
                f"$M_{m}$",
                (1, loss),
                (2, 0),
                va="center",
                fontsize=6,
                color=COLOURS[1],
                **place,
            )
