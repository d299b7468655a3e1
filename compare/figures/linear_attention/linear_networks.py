"""Merged attention over the two-layer linear network on cubic features, at the published size."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

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
    line_legend,
    panel_titles,
    panels,
    plateau_lines,
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
        _draw_task(row, context, task)
    for ax in axes[1]:
        ax.set_xlabel("steps")
    panel_titles(axes[:, 0].tolist(), [r"$\lambda \propto (4, 3, 2, 1)$", "white"])
    line_legend(axes[0, 0], "attention, all weights", "network", loc="center right")
    return figure


def _draw_task(axes: Sequence["Axes"], context: RunContext, task: Task) -> None:
    """Loss, value weights and entries of M of one task, attention and network over it."""
    loss_ax, value_ax, map_ax = axes
    # The published size, with all weights trained.
    experiment = merged_published(task, context.seed)
    attention_run = context.trajectory(experiment)
    network_run = _network_run(experiment)

    style: dict[str, Any] = {"color": _pale(0), "linewidth": 2}
    simulated(loss_ax, attention_run.time, attention_run.loss, **style)
    predicted(loss_ax, network_run.time, network_run.loss)
    _draw_plateaus(loss_ax, task)
    loss_ax.set(
        xlim=(0, experiment.steps),
        ylim=(0, 1.15),
        ylabel="loss",
    )

    observed = _network_view(
        attention_run.weight_time, network_weights(dict(attention_run.weights))
    )
    expected = _network_view(network_run.weight_time, network_run.weights)
    _draw_value_weights(value_ax, observed, expected)
    _draw_map(map_ax, observed, expected, dimension=task.dimension)


def _draw_plateaus(ax: "Axes", task: Task) -> None:
    loss = population(task, MERGED)
    plateau_lines(ax, [loss.c, loss.minimum_loss], ["$L(0)$", r"$L(M^\ast)$"])


def _draw_value_weights(
    ax: "Axes", observed: "_NetworkView", expected: "_NetworkView"
) -> None:
    for h in range(observed.value.shape[1]):
        style: dict[str, Any] = {"color": _pale(h), "linewidth": 2}
        simulated(ax, observed.time, observed.value[:, h], **style)
        predicted(ax, expected.time, expected.value[:, h])
    ax.set_ylabel("value weights $v_h$")


def _draw_map(
    ax: "Axes", observed: "_NetworkView", expected: "_NetworkView", *, dimension: int
) -> None:
    """Entries of M; those off the diagonal, which remain small, are pale and thin."""
    for index in range(observed.entries.shape[1]):
        style: dict[str, Any] = {"color": "0.75", "linewidth": 0.9}
        # Thin lines: there are D² − D of them.
        width = 0.4
        if index < dimension:
            style = {"color": _pale(index), "linewidth": 2}
            width = 0.9
        simulated(ax, observed.time, observed.entries[:, index], **style)
        predicted(ax, expected.time, expected.entries[:, index], linewidth=width)
    ax.set_ylabel("entries of $M$")


def _pale(index: int) -> tuple[float, float, float]:
    return shaded(COLOURS[index], 0.4)


def _network_run(experiment: Experiment) -> Trajectory:
    """The network, on the features of the same prompts and from the same weights."""
    features, labels = network_features(experiment.data, MERGED)
    return train_network(
        features,
        labels,
        network_weights(experiment.start),
        learning_rate=experiment.learning_rate,
        steps=experiment.steps,
        record=experiment.record,
    )


class _NetworkView(NamedTuple):
    """Times (T,), value weights (T, H), and the entries of M (T, D²), those of the diagonal first."""

    time: FloatArray
    value: FloatArray
    entries: FloatArray


def _network_view(time: FloatArray, weights: Weights) -> _NetworkView:
    value = weights["output"]  # (T, H)
    hidden = weights["hidden"]  # (T, H, D²)
    M = np.einsum("th,the->te", value, hidden)
    dimension = round(np.sqrt(M.shape[1]))
    # Entry (d, d) of a row-major matrix stands at d D + d.
    diagonal = np.arange(dimension) * (dimension + 1)
    others = np.delete(M, diagonal, axis=1)
    entries = np.concatenate([M[:, diagonal], others], axis=1)
    return _NetworkView(time, value, entries)
