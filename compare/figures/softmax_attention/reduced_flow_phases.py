"""The reduced flow of softmax heads in logarithmic time: growth, overshoot, valley, tail, and where the tail ends."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    ReducedFlow,
    exact_optimum,
    growth_rates,
    reduced_flow,
    tail_law,
    valley_step,
)
from ...claims.softmax_attention.setting import PUBLISHED
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, panel_titles, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

START = 1e-3 * np.array([1.0, -0.8])
"""ω of two heads at the start: of both signs, and not of equal size."""

MANY = 1e-3 * np.array([1.0, -0.8, -0.9, -1.1])
"""One head of one sign and three of the other: n_eff = 1.5, where two heads have 1."""

GROWTH = np.linspace(0.0, 12.0, 61)
"""Flow times before the drop."""

DROP = np.linspace(0.0, 50.0, 201)
"""Flow times around the drop and the overshoot."""

LATE = np.geomspace(10.0, 1e8, 281)
"""Flow times of valley and tail."""

TAIL = LATE[LATE >= 100]
"""Those of the tail, which begins at 2/κ = 73 with s = ½."""


@paper_figure("softmax_phases", paper="he2025", tier="long")
def softmax_phases(context: RunContext) -> "Figure":
    """Flow of small softmax heads at D = 5, N = 40: its phases, each over its law.

    Solid: the flow; dashed: laws. (a) Growth of two heads on the exact loss: their half difference, which grows by
    √ρ (1 − 1/N), and their mean. (b) s = Dω² of the first head passes a maximum, which is higher with ρ = 1 than in
    the metric of the weights, ρ = 1/D; the horizontal line is the s of the best single head on the approximate loss.
    (c) In the valley the step η = μᵀω of two heads is 1/(1 + κD cosh s).
    (d) The tail s = (4κ n t)^(−1/3), n = 2n₊n₋/(n₊ + n₋) for n₊ and n₋ heads of either sign, has no end on the
    approximate loss; on the exact loss it ends at the best two heads, the horizontal line.
    """
    figure, axes = panels(2, 2, (PAGE, 4.6))
    (growth_ax, overshoot_ax), (valley_ax, tail_ax) = axes
    _draw_growth(growth_ax)
    _draw_overshoot(overshoot_ax)
    late = _flow(START, LATE, "approximate")
    _draw_valley(valley_ax, late)
    _draw_tail(tail_ax, late)
    for ax in axes.flat:
        ax.set_xlabel("flow time")
    panel_titles(list(axes.flat), ["growth", "drop and overshoot", "valley", "tail"])
    return figure


def _flow(
    omega: FloatArray, times: FloatArray, loss: str, metric: str = "matrix"
) -> ReducedFlow:
    """The flow from small heads with μ = ω/√ρ, the direction in which heads grow."""
    ρ = 1 / PUBLISHED.dimension if metric == "matrix" else 1.0
    return reduced_flow(
        PUBLISHED, omega, omega / np.sqrt(ρ), times, loss=loss, metric=metric
    )


def _size(flow: ReducedFlow) -> FloatArray:
    """s = Dω² (T,), of the mean |ω| over the heads."""
    return np.asarray(PUBLISHED.dimension * np.mean(np.abs(flow.omega), axis=1) ** 2)


def _draw_growth(ax: "Axes") -> None:
    """Half difference and mean of two heads' ω over exponentials."""
    flow = _flow(START, GROWTH, "exact")
    rates = growth_rates(PUBLISHED, 2)
    first, second = flow.omega.T
    modes = (
        ("half difference", np.abs(first - second) / 2, rates.zero_sum),
        ("mean", np.abs(first + second) / 2, rates.common),
    )
    for (name, values, rate), colour in zip(modes, COLOURS, strict=False):
        simulated(ax, GROWTH, values, color=colour, label=name)
        predicted(ax, GROWTH, values[0] * np.exp(rate * GROWTH))
    ax.set(yscale="log", ylabel=r"$\omega$ of a mode")
    ax.legend()


def _draw_overshoot(ax: "Axes") -> None:
    """s of the first head in both metrics, and on the exact loss."""
    cases = (
        (r"approximate loss, $\rho = 1$", "approximate", "euclidean"),
        (r"approximate loss, $\rho = 1/D$", "approximate", "matrix"),
        (r"exact loss, $\rho = 1/D$", "exact", "matrix"),
    )
    for (name, loss, metric), colour in zip(cases, COLOURS, strict=False):
        flow = _flow(START, DROP, loss, metric)
        s = PUBLISHED.dimension * flow.omega[:, 0] ** 2
        simulated(ax, DROP, s, color=colour, label=name)
    ax.axhline(1, color="0.4", linestyle=DASHES, linewidth=0.6, zorder=1)
    ax.set(ylabel=r"$s = D\omega^2$", ylim=(0, 2.6))
    ax.legend()


def _draw_valley(ax: "Axes", flow: ReducedFlow) -> None:
    """The step η over what the valley makes of it for the s of each time."""
    η = np.sum(flow.mu * flow.omega, axis=1)
    simulated(ax, LATE, η, color=COLOURS[1])
    predicted(ax, LATE, valley_step(PUBLISHED, _size(flow), loss="approximate"))
    ax.set(xscale="log", ylabel=r"step $\eta = \mu^\top\omega$", ylim=(0.7, 0.9))


def _draw_tail(ax: "Axes", flow: ReducedFlow) -> None:
    """s over its law, for one head of either sign, for one and three, and on the exact loss."""
    ax.set(xscale="log", yscale="log", ylabel=r"$s = D\omega^2$")
    flows = (
        ("1 + 1 heads, approximate loss", flow),
        ("1 + 3 heads, approximate loss", _flow(MANY, LATE, "approximate")),
        ("1 + 1 heads, exact loss", _flow(START, LATE, "exact")),
    )
    colours = (COLOURS[1], COLOURS[4], COLOURS[2])
    for (name, each), colour in zip(flows, colours, strict=True):
        simulated(ax, LATE, _size(each), color=colour, label=name)
    for negative in (1, 3):
        law = tail_law(
            PUBLISHED, TAIL, positive=1, negative=negative, loss="approximate"
        )
        predicted(ax, TAIL, law)
    end = PUBLISHED.dimension * exact_optimum(PUBLISHED, 2).omega[0] ** 2
    ax.axhline(end, color="0.4", linestyle=DASHES, linewidth=0.6, zorder=1)
    ax.legend(loc="lower left")
    ax.set_ylim(1e-3, 2)
