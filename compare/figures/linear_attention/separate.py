"""Separate key and query of rank one: four drops between plateaus, head by head."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ....runtime.arrays import FloatArray
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
    key,
    letter,
    levels,
    panels,
    predicted,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


FIRST_STEP = 300
"""Where logarithmic axes of steps begin: nothing has moved before."""

STEPS = "steps (thousands)"


@paper_figure("separate_loss", paper="zhang2025")
def separate_loss(context: RunContext) -> "Figure":
    """Losses of every seed, on past the published steps until all four directions are learned."""
    figure, axes = panels(1, 1, (COLUMN, 2.3), subplot_kw={"xscale": "log"})
    ax = axes[0, 0]
    for experiment, colour in zip(separate(context.seed), COLOURS, strict=False):
        run = context.trajectory(experiment)
        simulated(ax, run.time, run.loss, color=colour)
    _plateau_levels(ax)
    ax.axvline(PUBLISHED_STEPS, color="0.6", linewidth=0.8, zorder=1)
    ax.annotate(
        "published length", (PUBLISHED_STEPS, 0.67), (3, 0), textcoords="offset points"
    )
    key(ax, f"{SEEDS} seeds", "theory", loc="upper right", bbox_to_anchor=(1.0, 0.9))
    ax.set(
        xlim=(FIRST_STEP, run.time[-1]), ylim=(0, 1.12), xlabel="steps", ylabel="loss"
    )
    return figure


@paper_figure("separate_staircase", paper="zhang2025")
def separate_staircase(context: RunContext) -> "Figure":
    """One seed: its loss and its value weights over the staircase from its own initial weights."""
    figure, axes = panels(2, 1, (COLUMN, 3.6), sharex=True)
    loss, value = axes[:, 0]
    run, curve = _first_run(context)
    simulated(loss, run.time / 1000, run.loss, color=COLOURS[0])
    predicted(loss, run.time / 1000, curve.loss)
    _plateau_levels(loss, "right")
    key(
        loss,
        "gradient descent",
        "staircase",
        loc="upper right",
        bbox_to_anchor=(1.0, 0.9),
    )
    for ax in (loss, value):
        ax.axvline(PUBLISHED_STEPS / 1000, color="0.6", linewidth=0.8, zorder=1)
    loss.annotate(
        "published length",
        (PUBLISHED_STEPS / 1000, 0.87),
        (3, 0),
        textcoords="offset points",
    )
    for head, colour in zip(_by_activation(run), COLOURS, strict=False):
        simulated(value, run.weight_time / 1000, _value(run)[:, head], color=colour)
    for amplitude in curve.amplitudes.T:
        predicted(value, run.time / 1000, amplitude)
    loss.set(ylim=(0, 1.13), ylabel="loss")
    value.set(
        xlim=(0, _end(run)), ylim=(0, None), xlabel=STEPS, ylabel="value weight $|v_h|$"
    )
    letter([loss, value], ["loss", "value weight of every head"])
    return figure


@paper_figure("separate_weights", paper="zhang2025")
def separate_weights(context: RunContext) -> "Figure":
    """One seed, head by head: value weight, and how far key and query lie along each eigenvector of Λ."""
    heads = SEPARATE.head_count
    figure, axes = panels(3, heads, (PAGE, 3.6), sharex=True, sharey="row")
    run, curve = _first_run(context)
    for column, head, colour in zip(
        axes.T, _by_activation(run), COLOURS[:heads], strict=True
    ):
        simulated(column[0], run.weight_time / 1000, _value(run)[:, head], color=colour)
        for ax, name in zip(column[1:], ("key", "query"), strict=True):
            for d, cosine in enumerate(_cosines(run.weights[name][:, head, 0]).T):
                simulated(
                    ax,
                    run.weight_time / 1000,
                    cosine,
                    color=COLOURS[d],
                    label=f"$d = {d + 1}$",
                )
        column[0].set_title(f"head {head + 1}")
        column[2].set_xlabel(STEPS)
    for ax, amplitude in zip(axes[0], curve.amplitudes.T, strict=False):
        predicted(ax, run.time / 1000, amplitude)
    key(axes[0, -1], "gradient descent", "staircase", loc="center")
    axes[0, 0].set(xlim=(0, _end(run)), ylim=(0, None), ylabel="$|v_h|$")
    for ax, symbol in zip(axes[1:, 0], "kq", strict=True):
        ax.set(ylim=(0, 1.05), ylabel=rf"$|e_d^\top {symbol}_h| / |{symbol}_h|$")
    figure.legend(
        *axes[1, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=FOUR.dimension,
    )
    return figure


def _first_run(context: RunContext) -> tuple[Trajectory, TimeCourse]:
    """The run of the first seed and its staircase."""
    run = context.trajectory(separate(context.seed)[0])
    start = {name: weights[0] for name, weights in run.weights.items()}
    return run, time_course(FOUR, SEPARATE, run.flow_time, start)


def _plateau_levels(ax: "Axes", side: str = "left") -> None:
    losses = population(FOUR, SEPARATE).greedy_losses
    levels(ax, losses, [f"$L(M_{m})$" for m in range(len(losses))], side)


def _end(run: Trajectory) -> float:
    """Thousands of steps to show: the last drop and a third more, if the run has them."""
    last = np.nan_to_num(
        exit_times(run.time, run.loss, population(FOUR, SEPARATE).greedy_losses),
        nan=np.inf,
    )[-1]
    return float(min(1.33 * last, run.time[-1])) / 1000


def _value(run: Trajectory) -> FloatArray:
    """|v_h| (T, H) at the recorded steps."""
    return np.asarray(np.abs(run.weights["value"][:, :, -1]))


def _by_activation(run: Trajectory) -> NDArray[np.intp]:
    """Heads in the order in which their value weights reach half of the largest; those that never do come last."""
    value = _value(run)
    return np.argsort(
        np.argmax(value > value.max() / 2, axis=0)
        + len(value) * (value[-1] < value.max() / 2)
    )


def _cosines(vectors: FloatArray) -> FloatArray:
    """|cosine| (T, D) of the x-part of vectors (T, D+1) with each eigenvector of Λ."""
    inside = vectors[:, :-1] @ FOUR.eigenvectors
    return np.asarray(np.abs(inside) / np.linalg.norm(vectors, axis=1, keepdims=True))
