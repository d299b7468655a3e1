"""The transition from remembering training tasks to learning in context, over the number of tasks."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....theory.asymptotics import errors
from ...claims.asymptotics.equivalents_of_settings import equivalent_of
from ...claims.asymptotics.published_runs import (
    GAP_NOISE,
    GAP_RIDGE,
    GAP_SETS,
    GAPS,
)
from ...claims.asymptotics.readout_runs import Ratios, Setting, fitted_errors
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SETS, POOLS = 10, 50
"""Data sets of a point, and pools of tasks over which the equivalent is averaged."""
SETS_OF_RATIOS = 4
ALPHAS = (6.0, 10.0, 20.0)
SEQUENCES_PER_TOKEN = 0.2
"""τ / α of the second panel, as published."""
DIMENSION = 32
KAPPAS = np.geomspace(0.15, 8, 11)
LINE = np.geomspace(0.1, 40, 200)
LENGTHS = (10.0, 100.0, 1e3, 1e4)
"""α of the last panel."""


@paper_figure("diversity_transition", paper="lu2025")
def diversity_transition(context: RunContext) -> "Figure":
    """The gap e_ICL − e_IDG between new and training tasks against κ = k/D, with ρ = 0.01 as published.

    (a) α = τ = 10, λ = 1e-6: drawn data sets at D = 10 and 32 (points, means with standard errors over ten), the means
    that were published (open, drawn to their right), the equivalent at these sizes (dotted) and the limit D → ∞
    (dashed). At few tasks the gap at D = 10 is much larger than in the limit, from which it differs by O(1/D). (b)
    α = 6, 10, 20 with τ = 0.2 α: four data sets at D = 32, equivalent and limit. (c) The limit for τ = ∞ and longer
    and longer contexts tends to 1 − κ (dotted), and to 0 from κ = 1 on.
    """
    figure, axes = panels(1, 3, (PAGE, 2.5))
    gap_ax, ratio_ax, length_ax = axes[0]
    _draw_published_gaps(gap_ax, context)
    _draw_ratios(ratio_ax, context)
    _draw_lengths(length_ax)
    titles = ["α = τ = 10", "τ = 0.2 α, D = 32", "τ = ∞, D → ∞"]
    panel_titles(axes[0], titles)
    return figure


def _draw_published_gaps(ax: "Axes", context: RunContext) -> None:
    """Gaps at two dimensions, ours and those that were published, and the limit."""
    for (d, published), colour in zip(GAPS.items(), COLOURS, strict=False):
        settings = []
        for run in published:
            setting = Setting(
                dimension=d,
                context_length=10 * d,
                tasks=run.tasks,
                sequences=run.sequences,
                noise=GAP_NOISE,
                ridge=GAP_RIDGE,
            )
            settings.append(setting)
            _point(ax, setting, colour, context.seeds(SETS))
            error = run.deviation / np.sqrt(GAP_SETS - 1)
            kappa = 1.06 * run.tasks / d  # beside ours
            ax.errorbar(
                kappa, run.mean, error, fmt="D", color=colour, mfc="white", ms=2.5
            )
        _draw_equivalents(ax, settings, colour)
        ax.plot([], [], "o", color=colour, label=f"D = {d}")
    limit = errors(tau=10, alpha=10, kappa=LINE, noise=GAP_NOISE, ridge=GAP_RIDGE)
    predicted(ax, LINE, limit.gap, label="D → ∞")
    _axes(ax, r"gap $e_\mathrm{ICL} - e_\mathrm{IDG}$")


def _point(ax: "Axes", setting: Setting, colour: str, seeds: Sequence[int]) -> None:
    """The mean gap of data sets, one a seed, with its standard error."""
    gaps = fitted_errors(setting, seeds).gap
    error = gaps.std(ddof=1) / np.sqrt(len(gaps))
    ax.errorbar(setting.ratios.kappa, gaps.mean(), error, fmt="o", color=colour)


def _draw_equivalents(ax: "Axes", settings: list[Setting], colour: str) -> None:
    """The gap from the equivalent at finite size."""
    kappas = np.array([setting.ratios.kappa for setting in settings])
    gaps = np.array([equivalent_of(setting, POOLS).gap for setting in settings])
    predicted(ax, kappas, gaps, color=colour, linestyle=":")


def _draw_ratios(ax: "Axes", context: RunContext) -> None:
    """Gaps at the published ratios of τ to α."""
    for alpha, colour in zip(ALPHAS, COLOURS[2:], strict=False):
        tau = SEQUENCES_PER_TOKEN * alpha
        wanted = [Ratios(tau, alpha, float(kappa), GAP_NOISE) for kappa in KAPPAS]
        settings = [Setting.of_ratios(DIMENSION, each, GAP_RIDGE) for each in wanted]
        # Equally many sequences a task would change τ by as much as a tenth.
        sequences = round(tau * DIMENSION * (DIMENSION + 1))
        settings = [each._replace(sequences=sequences) for each in settings]
        for setting in settings:
            _point(ax, setting, colour, context.seeds(SETS_OF_RATIOS))
        _draw_equivalents(ax, settings, colour)
        limit = errors(
            tau=tau, alpha=alpha, kappa=LINE, noise=GAP_NOISE, ridge=GAP_RIDGE
        )
        predicted(ax, LINE, limit.gap, color=colour)
        ax.plot([], [], "o", color=colour, label=f"α = {alpha:g}")
    _axes(ax, "")


def _draw_lengths(ax: "Axes") -> None:
    """The limit of unlimited sequences, and that of long contexts."""
    for alpha, colour in zip(LENGTHS, COLOURS, strict=False):
        limit = errors(tau=np.inf, alpha=alpha, kappa=LINE, noise=GAP_NOISE)
        label = f"α = {alpha:,.0f}"
        predicted(ax, LINE, limit.gap, color=colour, label=label)
    few = LINE[LINE < 1]
    predicted(ax, few, 1 - few, linestyle=":", label="1 − κ")
    _axes(ax, "")


def _axes(ax: "Axes", ylabel: str) -> None:
    """Logarithmic axes with their names."""
    ax.set(xscale="log", yscale="log", xlabel="κ", ylabel=ylabel or "gap")
    ax.legend(loc="lower left")
