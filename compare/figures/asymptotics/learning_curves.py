"""Errors along gradient flow of the read-out, and early stopping."""

from typing import TYPE_CHECKING

import numpy as np

from ....theory.asymptotics import early_stopping, learning_curve
from ...claims.asymptotics.readout_runs import Ratios, Setting, flow_errors
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIMENSION = 32
SETS = 8
TAUS = (0.6, 1.25, 4.0)
ALPHA, KAPPA, NOISE = 4.0, 0.5, 0.05
THETA = np.geomspace(0.05, 300, 60)


@paper_figure("readout_learning_curves", paper="lu2025")
def readout_learning_curves(context: RunContext) -> "Figure":
    """Errors on new and on training tasks along gradient flow of the read-out from zero, α = 4, κ = 1/2, ρ = 0.05.

    Data sets at D = 32 (solid, the mean of eight with two standard errors), the limit D → ∞ (dashed) and its end at
    θ → ∞ (dotted). A vertical line is where the limit is least: training longer fits the noise of a finite number of
    sequences, the more the closer P is to the number D(D+1) of features.
    """
    figure, axes = panels(1, 3, (PAGE, 2.4))
    for ax, tau in zip(axes[0], TAUS, strict=True):
        _draw_curves(ax, tau, context)
    axes[0, -1].legend(loc="center right")
    panel_titles(axes[0], [f"τ = {tau:g}" for tau in TAUS])
    return figure


def _draw_curves(ax: "Axes", tau: float, context: RunContext) -> None:
    """Both errors at one τ: data sets and the limit."""
    setting = Setting.of_ratios(DIMENSION, Ratios(tau, ALPHA, KAPPA, NOISE))
    drawn = flow_errors(setting, THETA, context.seeds(SETS))
    ratios = setting.ratios._asdict()
    limit = learning_curve(THETA, **ratios)
    ax.set(xscale="log", xlabel="θ = t/D³", ylabel="error")
    for name, label, colour in (
        ("icl", "new tasks", COLOURS[0]),
        ("idg", "training tasks", COLOURS[1]),
    ):
        curves = getattr(drawn, name)
        mean = curves.mean(axis=0)
        error = 2 * curves.std(axis=0, ddof=1) / np.sqrt(len(curves))
        ax.fill_between(
            THETA, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0
        )
        simulated(ax, THETA, mean, color=colour, label=label)
        predicted(ax, THETA, getattr(limit, name))
        best = early_stopping(**ratios, on=label)
        ax.axhline(best.end, color=colour, linestyle=":", linewidth=0.7)
        ax.axvline(best.theta, color=colour, linestyle=":", linewidth=0.5)
