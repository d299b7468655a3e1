"""Several tasks on softmax heads: which head carries which task, and the loss against the number of heads."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....task import Task
from ....teachers import Gaussian
from ....theory.softmax_attention import (
    head_loads,
    least_several_tasks_loss,
    several_tasks_infimum,
)
from ...claims.softmax_attention.setting import NOISE
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, plateau_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUPPORTS = ((0, 1, 2, 3), (2, 3, 4, 5))
"""The published tasks: they share two of their four coordinates."""

HEADS = (1, 2, 3, 4)
RESTARTS = 1
"""Random starts of a search: every one of them finds the same loss."""


@paper_figure("softmax_superposition", paper="he2025")
def softmax_superposition(context: RunContext) -> "Figure":
    """Loads of the heads of least approximate loss on two tasks of six inputs, and that loss for each number of heads.

    (a) to (d) The share of each task that each head carries; rows add up to the step that is taken for the task. A head
    with loads in both rows serves both. (e) The loss; dashed: its infimum over any number of heads, which three reach.
    """
    figure, axes = panels(1, 5, (PAGE, 1.7), width_ratios=(1, 2, 3, 4, 4))
    optima = [
        least_several_tasks_loss(
            task(), heads, restarts=RESTARTS, seed=seeds(context.seed)[0]
        )
        for heads in HEADS
    ]
    for ax, optimum in zip(axes[0], optima, strict=False):
        _draw_loads(ax, head_loads(task(), optimum.omega, optimum.mu))

    loss_ax = axes[0, -1]
    losses = [optimum.loss for optimum in optima]
    loss_ax.plot(HEADS, losses, "o", color=COLOURS[0])
    plateau_lines(loss_ax, [several_tasks_infimum(task())], ["infimum"])
    loss_ax.set(xlabel="heads", ylabel="loss", xticks=HEADS, ylim=(0.1, 0.4))
    titles = [f"$H = {heads}$" for heads in HEADS]
    panel_titles(axes[0], [*titles, "loss"])
    return figure


def task() -> Task:
    """The published sizes: six inputs, 48 tokens."""
    teachers = Gaussian.on_supports(6, SUPPORTS)
    return Task([1] * 6, teachers=teachers, noise_variance=NOISE, context_length=48)


def _draw_loads(ax: "Axes", loads: FloatArray) -> None:
    """Loads (tasks, heads) as shades of their size, and as numbers."""
    tasks, heads = (np.arange(1, count + 1) for count in loads.shape)
    edges_x, edges_y = np.append(heads, heads[-1] + 1), np.append(tasks, tasks[-1] + 1)
    ax.pcolormesh(
        edges_x - 0.5, edges_y - 0.5, np.abs(loads), cmap="Blues", vmin=0, vmax=1
    )
    for (t, h), load in np.ndenumerate(loads):
        style: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 6}
        colour = "white" if abs(load) > 0.6 else "black"
        ax.text(h + 1, t + 1, f"{load:.2f}", color=colour, **style)
    ax.invert_yaxis()
    ax.set(xlabel="head", ylabel="task", xticks=heads, yticks=tasks)
