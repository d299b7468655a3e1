"""Several tasks on trained softmax heads: which head carries which task, and the loss against the number of heads."""

from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import Trajectory
from ....theory.softmax_attention import (
    head_loads,
    least_several_tasks_loss,
    several_tasks_infimum,
)
from ...claims.softmax_attention.trained_tasks import (
    SUPPORTS,
    TASK,
    experiments,
    trained_heads,
)
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, plateau_lines

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADS = (1, 2, 3, 4)
RESTARTS = 1
"""Random starts of a search: every one of them finds the same loss."""

LAST_STEPS = 500
"""Steps whose batches the loss of a trained run is averaged over: 128,000 prompts."""


@paper_figure("softmax_superposition", paper="he2025", tier="long")
def softmax_superposition(context: RunContext) -> "Figure":
    """Loads of trained heads on two tasks of six inputs, and the loss for each number of heads.

    The published model and tasks: D = 6, N = 48, supports of four inputs that share two, all four matrices trained
    from random weights by Adam on 256 fresh prompts a step. Here 2,000 steps at the rate 3e-3, in the publication some
    500,000 at 1e-3; and labels of the variance 1, with noise in the query's label too.
    (a) to (d) The share of each task that each head carries; rows add up to the step that is taken for the task. A head
    with loads in both rows serves both. (e) Circles: mean loss of the last batches. Dots: the least approximate loss;
    dashed: its infimum over any number of heads, which three reach. The loss itself is above it at this dimension.
    """
    figure, axes = panels(1, 5, (PAGE, 1.7), width_ratios=(1, 2, 3, 4, 4))
    runs = [
        context.trajectory(experiments(heads, 1, context.seed)[0]) for heads in HEADS
    ]
    for ax, run in zip(axes[0], runs, strict=False):
        _draw_loads(ax, head_loads(TASK, *trained_heads(run)))
    _draw_losses(axes[0, -1], runs, seeds(context.seed)[0])
    panel_titles(axes[0], [*(f"$H = {heads}$" for heads in HEADS), "loss"])
    return figure


def _draw_losses(ax: "Axes", runs: list[Trajectory], seed: int) -> None:
    """Losses of trained runs and the least approximate ones, over the number of heads."""
    # The loss of a run is the sum over the labels.
    trained = [float(np.mean(run.loss[-LAST_STEPS:])) / len(SUPPORTS) for run in runs]
    least = [
        least_several_tasks_loss(TASK, heads, restarts=RESTARTS, seed=seed).loss
        for heads in HEADS
    ]
    ax.plot(HEADS, trained, "o", color=COLOURS[0], fillstyle="none", label="trained")
    ax.plot(HEADS, least, ".", color="black", label="least")
    plateau_lines(ax, [several_tasks_infimum(TASK)], ["infimum"])
    ax.set(xlabel="heads", ylabel="loss per task", xticks=HEADS, ylim=(0.1, 0.5))
    ax.legend()


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
        # Rounded first: a load of −0.001 is 0.00.
        number = round(float(load), 2) + 0.0
        ax.text(h + 1, t + 1, f"{number:.2f}", color=colour, **style)
    ax.invert_yaxis()
    ax.set(xlabel="head", ylabel="task", xticks=heads, yticks=tasks)
