"""The balanced flow of Chen et al. 2024: warm-up, emergence and convergence of one head for each task."""

from typing import TYPE_CHECKING

import numpy as np

from ....theory.softmax_attention import (
    BalancedFlow,
    balanced_flow,
    balanced_limit,
    off_task_decay,
    warm_up,
)
from ...claims.softmax_attention.setting import white_task
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import (
    COLOURS,
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

TASK = white_task(10, 80)
"""One of three disjoint tasks of ten coordinates each, which share a context."""

TASKS = 3

MU = 0.01
"""μ of a head for its own task at the start, far from the end."""

OFF_TASK = 0.4
"""What the weights of a head for other tasks are at the start, in parts of those for its own."""

LAST_TIME = 4_000.0

AFTER = 1.2
"""Where the laws of the decay begin, in parts of the time of emergence: heads have settled by then."""


@paper_figure("balanced_phases", paper="chen2024")
def balanced_phases(context: RunContext) -> "Figure":
    """Balanced flow of three heads on three tasks: slow warm-up, sudden emergence, convergence to one head a task.

    Solid: the flow, p = 10 coordinates a task, N = 80; dashed: laws. (a) Loss, and the limit of one head a task.
    (b) μ of a head for its own task: it stays near μ = 1/(1/μ₀ − 2t/p) in the warm-up, emerges where that becomes
    infinite and converges to √p/(1 + eκp). (c) Its weights for another task: μ decays exponentially, ω as 1/t.
    """
    figure, axes = panels(1, 3, (PAGE, 2.4))
    loss_ax, own_ax, other_ax = axes[0]
    flow = _flow()
    _draw_loss(loss_ax, flow)
    _draw_own(own_ax, flow)
    _draw_other(other_ax, flow)
    for ax in axes[0]:
        ax.set(xlabel="flow time")
    panel_titles(axes[0], ["loss", "a head's own task", "another task"])
    return figure


def emergence_time() -> float:
    """p/(2μ₀), at which the warm-up becomes infinite."""
    return TASK.dimension / (2 * MU)


def _flow() -> BalancedFlow:
    """The flow from the line of the warm-up, one head a task."""
    line = warm_up(TASK, MU, [0.0])
    share = np.full((TASKS, TASKS), OFF_TASK) + (1 - OFF_TASK) * np.eye(TASKS)
    times = np.union1d(
        np.linspace(0, LAST_TIME, 801), emergence_time() + np.linspace(-60, 60, 241)
    )
    return balanced_flow(TASK, line.omega[0] * share, line.mu[0] * share, times)


def _draw_loss(ax: "Axes", flow: BalancedFlow) -> None:
    """The loss, from that of no prediction to that of one head a task."""
    simulated(ax, flow.flow_time, flow.loss, color=COLOURS[0])
    plateau_lines(ax, [balanced_limit(TASK).loss], ["one head a task"], "right")
    ax.set(ylabel="loss", ylim=(0, 1.2), xlim=(0, 2 * emergence_time()))


def _draw_own(ax: "Axes", flow: BalancedFlow) -> None:
    """μ of the first head for the first task over the warm-up, and its limit."""
    simulated(ax, flow.flow_time, flow.mu[:, 0, 0], color=COLOURS[1])
    times = np.linspace(0, 0.98 * emergence_time(), 200)
    predicted(ax, times, warm_up(TASK, MU, times).mu)
    plateau_lines(ax, [balanced_limit(TASK).mu], [r"$\sqrt{p}/(1 + e\kappa p)$"])
    ax.set(yscale="log", ylabel=r"$\mu$", xlim=(0, 2 * emergence_time()))


def _draw_other(ax: "Axes", flow: BalancedFlow) -> None:
    """ω and μ of the first head for the second task over the laws of their decay."""
    decay = off_task_decay(TASK)
    late = flow.flow_time > AFTER * emergence_time()
    t, ω, μ = flow.flow_time[late], flow.omega[late, 0, 1], flow.mu[late, 0, 1]
    simulated(
        ax, flow.flow_time, flow.omega[:, 0, 1], color=COLOURS[2], label=r"$\omega$"
    )
    simulated(ax, flow.flow_time, flow.mu[:, 0, 1], color=COLOURS[1], label=r"$\mu$")
    # 1/ω grows at its rate from where it is.
    predicted(ax, t, 1 / (1 / ω[0] + decay.growth * (t - t[0])))
    predicted(ax, t, μ[0] * np.exp(-decay.rate * (t - t[0])))
    ax.set(yscale="log", ylabel=r"$\omega$, $\mu$", ylim=(1e-7, 1))
    ax.set(xscale="log", xlim=(400, LAST_TIME))
    ax.set_xticks([500, 1000, 2000, 4000], labels=["500", "1000", "2000", "4000"])
    ax.minorticks_off()
    ax.legend()
