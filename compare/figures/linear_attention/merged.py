"""Merged key and query: the drop of the loss over its time course."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ....task import Task
from ....theory import population, time_course
from ...claims.linear_attention.common.experiments import FOUR, MERGED, WHITE, merged
from ...evidence.claim import RunContext
from ...metrics.curves import crossing_times
from ...overlays import Overlay, overlay
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    COLUMN,
    line_legend,
    panels,
    plateau_lines,
    predicted,
    shaded,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
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
    ax = axes[0, 0]
    # The drops of all runs overlap at full scale: the inset shows their middle.
    inset = ax.inset_axes((0.62, 0.46, 0.36, 0.42))
    overlays = _overlays(context, task)
    _draw_overlays(ax, overlays)
    _draw_overlays(inset, overlays)

    loss = population(task, MERGED)
    plateaus = (loss.c, loss.minimum_loss)
    plateau_lines(ax, plateaus, ["$L(0)$", r"$L(M^\ast)$"])
    window = _middle_of_drops(overlays, *plateaus)
    _magnify(ax, inset, window)

    above = {
        "loc": "lower center",
        "bbox_to_anchor": (0.5, 0.97),
        "ncols": 2,
    }
    line_legend(ax, f"{RUNS} runs", theory, **above)
    ax.set(xlim=(0, 5), ylim=(0, 1.12))
    for panel in (ax, inset):
        panel.set(xlabel="flow time", ylabel="loss")
    return figure


def _draw_overlays(ax: "Axes", overlays: list[Overlay]) -> None:
    """Every run in a pale colour, and its time course in a dark shade of the same."""
    for both, colour in zip(overlays, COLOURS, strict=False):
        # The two lines of a run share its hue.
        pale, dark = shaded(colour, 0.4), shaded(colour, -0.4)
        simulated(
            ax,
            both.flow_time,
            both.observed,
            color=pale,
            linewidth=1.8,
        )
        predicted(ax, both.flow_time, both.predicted, color=dark)


def _overlays(context: RunContext, task: Task) -> list[Overlay]:
    """One for every run of the task."""
    return [_overlay(context, task, number) for number in range(RUNS)]


def _overlay(context: RunContext, task: Task, number: int) -> Overlay:
    run = context.trajectory(merged(task, context.seed)[number])
    return overlay(time_course(task, MERGED, run.flow_time, run.initial), run)


class _Window(NamedTuple):
    """Ranges of flow times and losses."""

    times: tuple[float, float]
    losses: tuple[float, float]


def _magnify(ax: "Axes", inset: "Axes", window: _Window) -> None:
    """The inset shows the window, which a frame marks on the axes."""
    inset.set(xlim=window.times, ylim=window.losses)
    ax.indicate_inset_zoom(inset, edgecolor="0.4")


def _middle_of_drops(overlays: list[Overlay], first: float, last: float) -> _Window:
    """The window around the middle of the predicted drops from the first to the last loss."""
    # The inset shows a fifth of the drop, around its middle.
    high = 0.6 * first + 0.4 * last
    low = 0.4 * first + 0.6 * last
    times = [
        crossing_times(both.flow_time, both.predicted, [high, low]) for both in overlays
    ]
    return _Window((float(np.min(times)), float(np.max(times))), (low, high))
