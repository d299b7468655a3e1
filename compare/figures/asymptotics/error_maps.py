"""Maps of the error on new tasks over the numbers of sequences and of tasks."""

import math
from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import errors
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import PAGE, panel_titles, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.colorbar import Colorbar
    from matplotlib.contour import ContourSet
    from matplotlib.figure import Figure

ALPHA, NOISE, RIDGE = 10.0, 0.01, 1e-5
"""As published."""
TAUS = np.geomspace(0.1, 20, 81)
KAPPAS = np.geomspace(0.1, 20, 81)
RIDGES = np.geomspace(1e-5, 100, 57)
"""Eight a factor of ten: the error is flat around the best one."""
LEAST, LARGEST = 0.1, 3.0
"""Range of the shades; the peak is higher."""
LEVELS = (0.12, 0.2, 0.4, 0.8)
TICKS = (0.1, 0.2, 0.5, 1, 2)
RIDGE_TICKS = (1e-5, 1e-3, 1e-1, 1e1)
SHADES = 48
"""So many that their steps are not seen."""


@paper_figure("error_map", paper="lu2025", tier="fast")
def error_map(context: RunContext) -> "Figure":
    """e_ICL as D → ∞ over τ = P/(D(D+1)) and κ = k/D, at α = 10 and ρ = 0.01.

    (a) With the ridge λ = 1e-5: the peak stands at τ = 1 for any number of tasks (dashed). (b) With the best ridge at
    each point there is none, and neither many sequences nor many tasks are enough alone. (c) That ridge: it is large
    where sequences or tasks are few, and below 1e-5 where both are many. Lines are the same levels of the error.
    """
    figure, axes = panels(1, 3, (PAGE, 2.5), sharey=True)
    fixed = errors(
        tau=TAUS, kappa=KAPPAS[:, None], alpha=ALPHA, noise=NOISE, ridge=RIDGE
    ).icl  # (κ, τ)
    over_ridges = errors(
        tau=TAUS,
        kappa=KAPPAS[:, None],
        alpha=ALPHA,
        noise=NOISE,
        ridge=RIDGES[:, None, None],
    ).icl  # (λ, κ, τ)
    best_ridge = _best_ridge(over_ridges)

    first, second, third = axes[0]
    error_range = (LEAST, LARGEST)
    _draw(first, fixed, error_range)
    _draw_levels(first, fixed)
    first.axvline(1, color="white", linestyle="--", linewidth=0.8)
    first.text(1.1, 0.12, "τ = 1", color="white", fontsize=7)
    least = over_ridges.min(axis=0)
    shades = _draw(second, least, error_range)
    lines = _draw_levels(second, least)
    second.clabel(lines, fontsize=6, fmt="%g")
    bar = figure.colorbar(
        shades, ax=axes[0, :2].tolist(), extend="max", ticks=TICKS, format="%g"
    )
    bar.set_label(r"$e_\mathrm{ICL}$", labelpad=1)
    bar.ax.minorticks_off()
    _as_vectors(bar)
    shades = _draw(third, best_ridge, (RIDGES[0], RIDGES[-1]), "cividis")
    bar = figure.colorbar(shades, ax=third, ticks=RIDGE_TICKS)
    bar.ax.set_yticklabels(
        [f"$10^{{{math.log10(ridge):.0f}}}$" for ridge in RIDGE_TICKS]
    )
    bar.ax.minorticks_off()
    bar.set_label("λ", labelpad=1)
    _as_vectors(bar)
    first.set_ylabel("κ")
    panel_titles(axes[0], [r"$\lambda = 10^{-5}$", "best ridge", "the best ridge"])
    return figure


def _best_ridge(over_ridges: FloatArray) -> FloatArray:
    """The ridge of the least error (κ, τ), between the grid's by a parabola in log λ; its ends where it lies there."""
    best = np.clip(np.argmin(over_ridges, axis=0), 1, len(RIDGES) - 2)
    below, at, above = (
        np.take_along_axis(over_ridges, best[None] + k, axis=0)[0] for k in (-1, 0, 1)
    )
    step = np.log(RIDGES[1] / RIDGES[0])
    shift = (below - above) / (2 * (below - 2 * at + above))
    return np.asarray(RIDGES[best] * np.exp(step * np.clip(shift, -1, 1)))


def _draw(
    ax: "Axes",
    values: FloatArray,
    limits: tuple[float, float],
    colours: str = "viridis",
) -> "ScalarMappable":
    """Values (κ, τ) as shades on a logarithmic scale."""
    from matplotlib.colors import LogNorm

    ax.set(xscale="log", yscale="log", xlabel="τ")
    shades = ax.contourf(
        TAUS,
        KAPPAS,
        np.clip(values, *limits),
        np.geomspace(*limits, SHADES + 1),
        norm=LogNorm(*limits),
        cmap=colours,
    )
    # Without it thin lines of the background show between areas.
    shades.set_edgecolor("face")
    return shades


def _draw_levels(ax: "Axes", values: FloatArray) -> "ContourSet":
    """Lines along which the error (κ, τ) is the same."""
    return ax.contour(TAUS, KAPPAS, values, LEVELS, colors="white", linewidths=0.5)


def _as_vectors(bar: "Colorbar") -> None:
    """Let a bar be drawn as lines and areas, as its panel is: of many colours it would be an image."""
    assert bar.solids is not None, "a bar without shades"
    bar.solids.set_rasterized(False)
