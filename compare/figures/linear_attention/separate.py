"""Separate key and query of rank one: four drops of the loss between plateaus, and the head that makes each."""

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray, IndexArray
from ....simulate import Trajectory
from ....theory import TimeCourse, population, time_course
from ...claims.linear_attention.common.experiments import (
    FOUR,
    PUBLISHED_STEPS,
    SEPARATE,
    separate,
)
from ...evidence.claim import RunContext
from ...evidence.seeding import SEEDS
from ...metrics.curves import exit_times
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    COLUMN,
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


FIRST_STEP = 300
"""Where logarithmic axes of steps begin: nothing has moved before."""

STEPS = "steps (thousands)"

PALE_LINE: dict[str, Any] = {"color": "0.6", "linewidth": 0.8, "zorder": 1}


@paper_figure("separate_loss", paper="zhang2025")
def separate_loss(context: RunContext) -> "Figure":
    """Losses of every seed, on past the published steps until all four directions are learned."""
    figure, axes = panels(1, 1, (COLUMN, 2.3), subplot_kw={"xscale": "log"})
    ax = axes[0, 0]
    for experiment, colour in zip(separate(context.seed), COLOURS, strict=False):
        run = context.trajectory(experiment)
        simulated(ax, run.time, run.loss, color=colour)
    _draw_plateaus(ax)
    # The published runs end before the later drops.
    _mark_published_length(ax, PUBLISHED_STEPS, loss=0.67)
    corner = {"loc": "upper right", "bbox_to_anchor": (1.0, 0.9)}
    line_legend(ax, f"{SEEDS} seeds", "theory", **corner)
    ax.set(xlim=(FIRST_STEP, run.time[-1]), ylim=(0, 1.12))
    ax.set(xlabel="steps", ylabel="loss")
    return figure


@paper_figure("separate_staircase", paper="zhang2025")
def separate_staircase(context: RunContext) -> "Figure":
    """One seed: its loss and its value weights over the staircase from its own initial weights."""
    figure, axes = panels(2, 1, (COLUMN, 3.6), sharex=True)
    loss_ax, value_ax = axes[:, 0]
    run, curve = _first_run(context)
    times = run.time / 1000
    simulated(loss_ax, times, run.loss, color=COLOURS[0])
    predicted(loss_ax, times, curve.loss)
    _draw_plateaus(loss_ax, "right")
    _mark_published_length(loss_ax, PUBLISHED_STEPS / 1000, loss=0.87)
    corner = {"loc": "upper right", "bbox_to_anchor": (1.0, 0.9)}
    line_legend(loss_ax, "gradient descent", "staircase", **corner)
    loss_ax.set(ylim=(0, 1.13), ylabel="loss")

    _draw_value_weights(value_ax, run, curve)
    value_ax.set(xlim=(0, _end(run)), ylim=(0, None))
    value_ax.set(xlabel=STEPS, ylabel="value weight $|v_h|$")
    panel_titles([loss_ax, value_ax], ["loss", "value weight of every head"])
    return figure


def _draw_value_weights(ax: "Axes", run: Trajectory, curve: TimeCourse) -> None:
    """|v_h| of all heads over the amplitudes of the staircase."""
    ax.axvline(PUBLISHED_STEPS / 1000, **PALE_LINE)
    value = _value_weights(run)
    for head, colour in zip(_heads_by_activation(run), COLOURS, strict=False):
        simulated(ax, run.weight_time / 1000, value[:, head], color=colour)
    for amplitude in curve.amplitudes.T:
        predicted(ax, run.time / 1000, amplitude)


@paper_figure("separate_weights", paper="zhang2025")
def separate_weights(context: RunContext) -> "Figure":
    """One seed, head by head: value weight, and how far key and query lie along each eigenvector of Λ."""
    heads = SEPARATE.head_count
    figure, axes = panels(3, heads, (PAGE, 3.6), sharex=True, sharey="row")
    value_axes, key_axes, _ = axes
    run, curve = _first_run(context)
    for column, head in enumerate(_heads_by_activation(run)):
        _draw_head(axes[:, column], run, head, colour=COLOURS[column])
    # Amplitudes are numbered by decreasing gain, which is the order of the drops of this run.
    for ax, amplitude in zip(value_axes, curve.amplitudes.T, strict=False):
        predicted(ax, run.time / 1000, amplitude)

    _label_weights(axes[:, 0], _end(run))
    line_legend(value_axes[-1], "gradient descent", "staircase", loc="center")
    handles, labels = key_axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        loc="outside lower center",
        ncols=FOUR.dimension,
    )
    return figure


def _label_weights(axes: NDArray[Any], end: float) -> None:
    """Ranges and names of the value weight, and of the cosines of key and query, on the first column (3,)."""
    value_ax, key_ax, query_ax = axes
    value_ax.set(
        xlim=(0, end),
        ylim=(0, None),
        ylabel="$|v_h|$",
    )
    for ax, symbol in ((key_ax, "k"), (query_ax, "q")):
        ax.set(ylim=(0, 1.05), ylabel=rf"$|e_d^\top {symbol}_h| / |{symbol}_h|$")


def _draw_head(axes: NDArray[Any], run: Trajectory, head: int, *, colour: str) -> None:
    """Value weight, key and query of one head, from top to bottom."""
    value_ax, key_ax, query_ax = axes
    times = run.weight_time / 1000
    simulated(value_ax, times, _value_weights(run)[:, head], color=colour)
    value_ax.set_title(f"head {head + 1}")
    # Heads have one key and one query each: rank one.
    _draw_cosines(key_ax, times, run.weights["key"][:, head, 0])
    _draw_cosines(query_ax, times, run.weights["query"][:, head, 0])
    query_ax.set_xlabel(STEPS)


class _RunWithTheory(NamedTuple):
    run: Trajectory
    curve: TimeCourse


def _first_run(context: RunContext) -> _RunWithTheory:
    """The run of the first seed, and the staircase from its initial weights."""
    run = context.trajectory(separate(context.seed)[0])
    # The theory starts from the weights of the run, which it does not choose.
    curve = time_course(FOUR, SEPARATE, run.flow_time, run.initial)
    return _RunWithTheory(run, curve)


def _draw_plateaus(ax: "Axes", side: str = "left") -> None:
    losses = population(FOUR, SEPARATE).greedy_losses
    names = [f"$L(M_{m})$" for m in range(len(losses))]
    plateau_lines(ax, losses, names, side)


def _mark_published_length(ax: "Axes", time: float, loss: float) -> None:
    """A pale line at the number of steps that was published, named at this loss."""
    ax.axvline(time, **PALE_LINE)
    ax.annotate("published length", (time, loss), (3, 0), textcoords="offset points")


def _end(run: Trajectory) -> float:
    """Thousands of steps to draw: the last drop and a third more, if the run has them."""
    exits = exit_times(run.time, run.loss, population(FOUR, SEPARATE).greedy_losses)
    # A run may end before its last drop: then all of it is drawn.
    last_exit = np.nan_to_num(exits, nan=np.inf)[-1]
    return float(min(1.33 * last_exit, run.time[-1])) / 1000


def _value_weights(run: Trajectory) -> FloatArray:
    """|v_h| (T, H) at the recorded steps."""
    return np.asarray(np.abs(run.weights["value"][:, :, -1]))


def _heads_by_activation(run: Trajectory) -> IndexArray:
    """Heads in the order in which their value weights reach half of the largest; those that never do come last."""
    value = _value_weights(run)
    half = value.max() / 2
    first_record = np.argmax(value > half, axis=0)
    is_small_at_the_end = value[-1] < half
    # A head that ends small comes after all that do not.
    return np.argsort(first_record + len(value) * is_small_at_the_end)


def _draw_cosines(ax: "Axes", times: FloatArray, vectors: FloatArray) -> None:
    """|cosine| of the x-part of vectors (T, D+1) with each eigenvector of Λ."""
    # The last entry of a key or query is that of y.
    along_eigenvectors = vectors[:, :-1] @ FOUR.eigenvectors
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = np.abs(along_eigenvectors) / norms
    for d, cosine in enumerate(cosines.T):
        simulated(
            ax,
            times,
            cosine,
            color=COLOURS[d],
            label=f"$d = {d + 1}$",
        )
