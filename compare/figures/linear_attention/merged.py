"""Merged key and query: the one drop of the loss over its time course."""

from typing import TYPE_CHECKING

import numpy as np

from ....task import Task
from ....theory import population, time_course
from ...claims.linear_attention.common.experiments import FOUR, MERGED, WHITE, merged
from ...evidence.claim import RunContext
from ...metrics.curves import crossing_times
from ...overlays import Overlay, overlay
from ..catalogue import paper_figure
from ..style import COLOURS, COLUMN, key, levels, panels, predicted, shaded, simulated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

RUNS = 6
"""How many of the merged runs are drawn."""


@paper_figure("merged_white", paper="zhang2025")
def merged_white(context: RunContext) -> "Figure":
    """Losses on white inputs over the closed form of the growing mode, each from the run's own initial weights."""
    return _drops(context, WHITE, "closed form")


@paper_figure("merged_general", paper="zhang2025")
def merged_general(context: RunContext) -> "Figure":
    """Losses on λ ∝ (4, 3, 2, 1) over the aligned equations, each from the run's own initial weights."""
    return _drops(context, FOUR, "aligned ODE")


def _drops(context: RunContext, task: Task, theory: str) -> "Figure":
    figure, axes = panels(1, 1, (COLUMN, 2.2))
    ax, moments = axes[0, 0], population(task, MERGED)
    inset = ax.inset_axes((0.62, 0.46, 0.36, 0.42))
    overlays = [_overlay(context, task, number) for number in range(RUNS)]
    for each in (ax, inset):
        for laid, colour in zip(overlays, COLOURS, strict=False):
            simulated(
                each,
                laid.flow_time,
                laid.observed,
                color=shaded(colour, 0.4),
                linewidth=1.8,
            )
            predicted(each, laid.flow_time, laid.predicted, color=shaded(colour, -0.4))
    losses = [moments.c, moments.minimum_loss]
    levels(ax, losses, ["$L(0)$", r"$L(M^\ast)$"])
    times, heights = _middle(overlays, losses)
    inset.set(xlim=times, ylim=heights, xlabel="flow time", ylabel="loss")
    ax.indicate_inset_zoom(inset, edgecolor="0.4")
    key(
        ax,
        f"{RUNS} runs",
        theory,
        loc="lower center",
        bbox_to_anchor=(0.5, 0.97),
        ncols=2,
    )
    ax.set(xlim=(0, 5), ylim=(0, 1.12), xlabel="flow time", ylabel="loss")
    return figure


def _overlay(context: RunContext, task: Task, number: int) -> Overlay:
    run = context.trajectory(merged(task, context.seed)[number])
    start = {name: value[0] for name, value in run.weights.items()}
    return overlay(time_course(task, MERGED, run.flow_time, start), run)


def _middle(
    overlays: list[Overlay], losses: list[float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Flow times and losses around the middle of the predicted drops."""
    high, low = 0.6 * losses[0] + 0.4 * losses[1], 0.4 * losses[0] + 0.6 * losses[1]
    times = [
        crossing_times(laid.flow_time, laid.predicted, [high, low]) for laid in overlays
    ]
    return (float(np.min(times)), float(np.max(times))), (low, high)
