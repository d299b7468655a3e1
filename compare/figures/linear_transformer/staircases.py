"""Modes of one layer with several outputs: the staircase of the loss, the soft threshold and the fixed points."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import flow
from ....theory.linear_transformer import minimum, mode_fixed_points, mode_flow
from ...claims.linear_transformer.setting import (
    STAIRCASE,
    head_weights,
    mode_task,
    one_head,
)
from ...evidence.claim import RunContext
from ...exact_statistics import population_statistics
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    DASHES,
    PAGE,
    panel_titles,
    panels,
    plateau_lines,
    predicted,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMALL = 1e-3
"""Of the balanced weights at the start."""

LENGTHS = (20, 100, 1_000, 100_000)
"""N of the staircases."""

FIRST_TIME, LAST_TIME = 0.5, 400.0

THRESHOLD = (1.0, 0.5, 0.2, 0.05)
"""Variances of x of the task whose weakest mode is off in short contexts."""

CONTEXTS = np.unique(np.geomspace(1, 1000, 60).round().astype(int))


@paper_figure("mode_staircases", paper="mainali2025", tier="fast")
def mode_staircases(context: RunContext) -> "Figure":
    """Modes are learned one after another; the decoupled law of each mode alone holds in long contexts.

    Solid: gradient flow of all weights on unlimited prompts, s = (2, 1, 1/2, 1/4); dashed: theory. (a) The loss at
    N = 20 and the exact flow of modes, with the losses of the fixed points that it passes. (b) What is learned of
    each mode beside the logistic curve of the mode alone, whose end is off most in the slowest. (c) The gap between
    the loss and that of the logistic curves falls as 1/N.
    """
    figure, axes = panels(1, 3, (PAGE, 2.4))
    loss_ax, mode_ax, gap_ax = axes[0]
    # Logarithmic before the curves are drawn, which are thinned for the axis.
    for ax in axes[0]:
        ax.set(xlabel="flow time", xscale="log", xlim=(FIRST_TIME, LAST_TIME))
    times = np.append(0.0, np.geomspace(FIRST_TIME, LAST_TIME, 800))
    _draw_loss(loss_ax, times)
    _draw_modes(mode_ax, times)
    _draw_gaps(gap_ax, times)
    panel_titles(
        axes[0], ["loss, N = 20", "modes, N = 20", "loss, gap of the decoupled law"]
    )
    return figure


def _start() -> FloatArray:
    return np.full(len(STAIRCASE), SMALL)


def _run(context_length: int, times: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Loss (T,) and p q of the modes (T, D) along gradient flow on the exact moments."""
    task = mode_task(STAIRCASE, context_length)
    model = one_head(task)
    start = head_weights(task, _start(), _start())
    run = flow(model, population_statistics(task, model), start, times)
    D = task.dimension
    p = np.einsum("tdd->td", run.weights["value"][:, 0, :, D:])
    q = np.einsum("tdd->td", run.weights["key_query"][:, 0, :D, :D])
    return run.loss, p * q


def _draw_loss(ax: "Axes", times: FloatArray) -> None:
    """The loss of the run over the exact flow, through the fixed points of the first modes."""
    task = mode_task(STAIRCASE, LENGTHS[0])
    loss, _ = _run(LENGTHS[0], times)
    simulated(ax, times, loss, color=COLOURS[0])
    predicted(ax, times, mode_flow(task, _start(), _start(), times).loss)
    points = mode_fixed_points(task)
    subsets = [tuple(range(1, m + 1)) for m in range(len(STAIRCASE) + 1)]
    names = ["none", "1", "1, 2", "1, 2, 3", "all four"]
    levels = [points.of(*subset).loss for subset in subsets]
    plateau_lines(ax, levels, names, "right")
    ax.set(ylabel="loss", ylim=(0, 4.1))


def _draw_modes(ax: "Axes", times: FloatArray) -> None:
    """p q of each mode over the closed form of that mode alone."""
    task = mode_task(STAIRCASE, LENGTHS[0])
    _, coefficients = _run(LENGTHS[0], times)
    alone = mode_flow(task, _start(), _start(), times, law="decoupled").coefficients
    for mode, s in enumerate(STAIRCASE):
        colour = COLOURS[mode]
        simulated(ax, times, coefficients[:, mode], color=colour, label=f"$s = {s:g}$")
        predicted(ax, times, alone[:, mode], color=colour)
    ax.set(ylabel=r"$a = p\,q$", ylim=(0, 4.6))
    ax.legend(ncols=2, loc="upper left", columnspacing=1.0)


def _draw_gaps(ax: "Axes", times: FloatArray) -> None:
    """The gap between the loss of the run and that of the decoupled law, for each length."""
    for number, N in enumerate(LENGTHS):
        loss, _ = _run(N, times)
        task = mode_task(STAIRCASE, N)
        alone = mode_flow(task, _start(), _start(), times, law="decoupled").loss
        gap = np.abs(loss - alone)
        ax.plot(times, gap, color=COLOURS[number], label=f"$N$ = {N:,}")
    ax.set(yscale="log", ylabel="gap of the loss", ylim=(1e-9, 100))
    ax.legend(ncols=2, loc="upper left", columnspacing=1.0)


@paper_figure("mode_points", paper="mainali2025", tier="fast")
def mode_points(context: RunContext) -> "Figure":
    """Which modes are learned: the soft threshold over the context length, and the fixed points by their stability.

    s = (1, 1/2, 1/5, 1/20). (a) What the minimum learns of each mode, in parts of 1/s: solid, at finite N; dashed,
    the limit 1/s∞. The weakest mode is off in short contexts, which the limit does not know. (b) Loss and Hessian
    index of the 15 fixed points at N = 5; the minimum learns three modes, and all four together are no fixed point.
    """
    figure, axes = panels(1, 2, (PAGE, 2.4))
    threshold_ax, level_ax = axes[0]
    _draw_threshold(threshold_ax)
    _draw_levels(level_ax)
    panel_titles(axes[0], ["least loss over the context", "fixed points, N = 5"])
    return figure


def _draw_threshold(ax: "Axes") -> None:
    """a s of each mode at the minimum against N."""
    least = [
        minimum(mode_task(THRESHOLD, int(N))).coefficients * THRESHOLD for N in CONTEXTS
    ]
    s = np.array(THRESHOLD)
    limits = [N * s / ((N + 1) * s + np.sum(s)) for N in CONTEXTS]
    for mode, variance in enumerate(THRESHOLD):
        colour = COLOURS[mode]
        values = [float(each[mode]) for each in least]
        ax.plot(CONTEXTS, values, color=colour, label=f"$s = {variance:g}$")
        limit = [float(each[mode]) for each in limits]
        ax.plot(CONTEXTS, limit, color=colour, linestyle=DASHES, linewidth=0.9)
    ax.set(
        xscale="log", xlabel="context length $N$", ylabel=r"$s\,a$", ylim=(-0.03, 1.03)
    )
    ax.legend(loc="upper left")


def _draw_levels(ax: "Axes") -> None:
    """The loss of every fixed point over its index, with the modes that it learns."""
    for point in mode_fixed_points(mode_task(THRESHOLD, 5)):
        is_minimum = point.hessian_index == 0
        colour = COLOURS[1] if is_minimum else COLOURS[0]
        ax.plot(point.hessian_index, point.loss, marker="o", color=colour)
        name = "".join(map(str, point.subset)) or "none"
        ax.annotate(
            name,
            (point.hessian_index, point.loss),
            (4, -2),
            textcoords="offset points",
            fontsize=6,
        )
    ax.set(
        xlabel="negative eigenvalues of the Hessian", ylabel="loss", xlim=(-0.3, 4.6)
    )
    ax.set_xticks(range(5))
