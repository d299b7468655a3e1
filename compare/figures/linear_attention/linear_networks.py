"""Merged attention and the two-layer linear network on cubic features, at the published size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import (
    Experiment,
    Trajectory,
    network_features,
    network_weights,
    train_network,
)
from ....task import Task
from ....theory import population
from ...claims.linear_attention.common.experiments import (
    FOUR,
    MERGED,
    WHITE,
    merged_published,
)
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
    PAGE,
    key,
    letter,
    levels,
    panels,
    predicted,
    shaded,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@paper_figure("network", paper="zhang2025")
def network(context: RunContext) -> "Figure":
    """Loss, value weights and the map M of attention with all weights trained, over those of the network."""
    figure, axes = panels(2, 3, (PAGE, 3.9), sharex=True)
    for row, task in zip(axes, (FOUR, WHITE), strict=True):
        _row(row, context, task)
        for ax, name in zip(
            row, ("loss", "value weights $v_h$", "entries of $M$"), strict=True
        ):
            ax.set_ylabel(name)
    for ax in axes[1]:
        ax.set_xlabel("steps")
    letter(axes[:, 0].tolist(), [r"$\lambda \propto (4, 3, 2, 1)$", "white"])
    key(axes[0, 0], "attention, all weights", "network", loc="center right")
    return figure


def _row(row: Sequence["Axes"], context: RunContext, task: Task) -> None:
    each, moments = merged_published(task, context.seed), population(task, MERGED)
    run, other = context.trajectory(each), _trained(each)
    simulated(row[0], run.time, run.loss, color=_pale(0), linewidth=2)
    predicted(row[0], other.time, other.loss)
    levels(row[0], [moments.c, moments.minimum_loss], ["$L(0)$", r"$L(M^\ast)$"])
    row[0].set(xlim=(0, each.steps), ylim=(0, 1.15))
    weights = network_weights(dict(run.weights))
    for ax, observed, expected in zip(
        row[1:], _shown(weights), _shown(other.weights), strict=True
    ):
        for index, (seen, said) in enumerate(zip(observed.T, expected.T, strict=True)):
            small = ax is row[2] and index >= task.dimension  # off the diagonal
            style = (
                {"color": "0.75", "linewidth": 0.9}
                if small
                else {"color": _pale(index), "linewidth": 2}
            )
            simulated(ax, run.weight_time, seen, **style)
            predicted(ax, other.weight_time, said, linewidth=0.4 if small else 0.9)


def _pale(index: int) -> tuple[float, float, float]:
    return shaded(COLOURS[index], 0.4)


def _trained(each: Experiment) -> Trajectory:
    """The network, on the features of the same prompts and from the same weights."""
    z, y = network_features(each.data, MERGED)
    start, rate = network_weights(each.start), each.learning_rate
    return train_network(
        z, y, start, learning_rate=rate, steps=each.steps, record=each.record
    )


def _shown(weights: Weights) -> tuple[FloatArray, FloatArray]:
    """Value weights (K, H), and the entries of M: the diagonal first, then the others, (K, D²)."""
    value, hidden = weights["output"], weights["hidden"]
    maps = np.einsum("kh,khe->ke", value, hidden)
    size = round(np.sqrt(maps.shape[1]))
    diagonal = np.arange(size) * (size + 1)
    return value, np.concatenate(
        [maps[:, diagonal], np.delete(maps, diagonal, axis=1)], axis=1
    )
