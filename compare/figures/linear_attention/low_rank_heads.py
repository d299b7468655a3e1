"""Heads of rank R: long plateaus at multiples of R, short ones between."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....simulate import Trajectory
from ....theory import population, staircase
from ...claims.linear_attention.common.experiments import (
    EIGHT,
    LOW_RANK_STEPS,
    RANKS,
    low_rank_model,
)
from ...claims.linear_attention.common.experiments import (
    low_rank as low_rank_experiment,
)
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, line_legend, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

POINTS = 4000
"""Points of a staircase, enough for drops that take a hundredth of the run."""

NAME_HEIGHT = 0.04
"""Difference in loss that a name needs."""

# Rotated beside its line, on white, as a plateau passes behind it.
BESIDE_LINE: dict[str, Any] = {
    "textcoords": "offset points",
    "rotation": 90,
    "ha": "right",
    "va": "center",
    "fontsize": 6,
    "bbox": {
        "facecolor": "white",
        "edgecolor": "none",
        "pad": 0.5,
    },
}


@paper_figure("low_rank", paper="zhang2025")
def low_rank(context: RunContext) -> "Figure":
    """One run of each rank, the staircase from its own start, and the greedy losses, multiples of R in colour."""
    figure, axes = panels(
        1,
        len(RANKS),
        (PAGE, 2.2),
        sharex=True,
        sharey=True,
    )
    first, last = axes[0, 0], axes[0, -1]
    for ax, rank in zip(axes[0], RANKS, strict=True):
        run = context.trajectory(low_rank_experiment(context.seed, rank))
        _draw_plateaus(ax, rank)
        _draw_run(ax, run, rank)
    first.set(ylabel="loss", ylim=(0.2, 1.05))

    place = (LOW_RANK_STEPS / 1000, 0.45)
    last.annotate("published length", place, (-1.5, 0), **BESIDE_LINE)
    corner = {
        "loc": "upper right",
        "bbox_to_anchor": (1.0, 0.92),
        "fontsize": 6,
    }
    line_legend(first, "gradient descent", "staircase", **corner)
    return figure


def _draw_run(ax: "Axes", run: Trajectory, rank: int) -> None:
    """The loss of a run over the staircase from its own start, and the published number of steps."""
    simulated(
        ax,
        run.time / 1000,
        run.loss,
        color=COLOURS[0],
        linewidth=1.4,
    )
    steps = staircase(EIGHT, low_rank_model(rank), run.initial)
    # The staircase is evaluated at fewer times than the run has.
    stride = max(1, len(run.time) // POINTS)
    predicted(ax, run.time[::stride] / 1000, steps.loss(run.flow_time[::stride]))
    ax.axvline(
        LOW_RANK_STEPS / 1000,
        color="0.6",
        linewidth=0.8,
        zorder=1,
    )
    ax.set(title=f"rank {rank}", xlabel="steps (thousands)")
    ax.set_xlim(0, run.time[-1] / 1000)


def _draw_plateaus(ax: "Axes", rank: int) -> None:
    """Lines at L(M_m), the long plateaus in colour and named at the right where there is room."""
    loss = population(EIGHT, low_rank_model(rank))
    lowest_named = -np.inf
    name_style: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "va": "center",
        "fontsize": 6,
        "color": COLOURS[1],
    }
    # From the lowest plateau up, so that the names of the last ones are kept.
    for m in range(loss.dimension, -1, -1):
        level = loss.c - float(np.sum(loss.gains[:m]))
        is_long = m % rank == 0
        colour, width = (COLOURS[1], 0.9) if is_long else ("0.6", 0.5)
        ax.axhline(
            level,
            linestyle=DASHES,
            zorder=1,
            color=colour,
            linewidth=width,
        )
        if is_long and level - lowest_named > NAME_HEIGHT:
            lowest_named = level
            ax.annotate(f"$M_{m}$", (1, level), (2, 0), **name_style)
