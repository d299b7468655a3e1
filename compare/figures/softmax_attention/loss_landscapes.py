"""The loss of two opposite heads ±(ω, μ) as a map: approximate against exact."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    HeadLoss,
    approximate_loss,
    exact_loss,
    exact_optimum,
)
from ...claims.softmax_attention.setting import PUBLISHED
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import DASHES, PAGE, panel_titles, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.contour import QuadContourSet
    from matplotlib.figure import Figure

OMEGA = np.linspace(0.0, 0.2, 41)
"""ω of the published map, which is of the approximate loss."""

MU = np.linspace(0.0, 7.0, 71)
"""The published map ends at μ = 6, and the optimum of the exact loss lies just above."""

PUBLISHED_HEADS = (0.13, 3.45)
"""ω and μ of the two heads that the published code compares with the predictors."""

LEVELS = (0.22, 0.25, 0.27, 0.3, 0.4, 0.6, 1.0, 1.5, 5.0)
"""Bounds of the shades of the loss: narrow in the valley, wide on its flanks."""

DIFFERENCES = (-10, -8, -6, -4, -2, 0, 2, 6)
"""Bounds of the shades of the relative difference, in per cent."""


class Parabolas(NamedTuple):
    """The loss as a function of μ at every ω of the map: zero − 2μ a + μ² b with a, b (ω,)."""

    zero: float
    a: FloatArray
    b: FloatArray

    def map(self) -> FloatArray:
        """The loss (μ, ω)."""
        μ = MU[:, None]
        return np.asarray(self.zero - 2 * μ * self.a + μ**2 * self.b)

    def valley(self) -> FloatArray:
        """The best μ at each ω above 0, where all μ are equally good."""
        return np.asarray(self.a[1:] / self.b[1:])


@paper_figure("softmax_landscape", paper="he2025")
def softmax_landscape(context: RunContext) -> "Figure":
    """Approximate and exact loss of two heads (ω, μ), (−ω, −μ), and how far the first is from the second.

    Dashed: the valley, the best μ at each ω. Star: the least exact loss; the approximate loss falls along its
    valley to ω = 0 without end. Circle: the heads that the published code compares with other predictors.
    """
    figure, axes = panels(1, 3, (PAGE, 2.5), sharex=True, sharey=True)
    approximate_ax, exact_ax, difference_ax = axes[0]
    approximate, exact = parabolas(approximate_loss), parabolas(exact_loss)
    difference = 100 * (approximate.map() / exact.map() - 1)

    _draw_shades(approximate_ax, approximate.map(), LEVELS)
    shades = _draw_shades(exact_ax, exact.map(), LEVELS)
    bar = figure.colorbar(shades, ax=axes[0, :2], ticks=LEVELS, label="loss")
    bar.ax.set_yticklabels([f"{level:g}" for level in LEVELS])
    shades = _draw_shades(difference_ax, difference, DIFFERENCES)
    figure.colorbar(shades, ax=difference_ax, label="difference (%)")

    valleys = (approximate.valley(), exact.valley(), exact.valley())
    for ax, valley in zip(axes[0], valleys, strict=True):
        ax.plot(OMEGA[1:], valley, color="black", linestyle=DASHES)
        ax.plot(*PUBLISHED_HEADS, "o", color="white", markeredgecolor="black")
        ax.set(xlim=(0, OMEGA[-1]), ylim=(0, MU[-1]), xlabel=r"score weight $\omega$")
    best = exact_optimum(PUBLISHED, 2)
    for ax in (exact_ax, difference_ax):
        star = ax.plot(best.omega[:1], best.mu[:1], "*", color="white", markersize=8)
        star[0].set_markeredgecolor("black")
    approximate_ax.set_ylabel(r"value weight $\mu$")
    titles = ["approximate loss", "exact loss", "approximate against exact"]
    panel_titles(axes[0], titles)
    return figure


def parabolas(loss: Callable[..., HeadLoss]) -> Parabolas:
    """The loss of heads (ω, μ), (−ω, −μ), from its values at μ = 1 and μ = 2."""
    ω = _pairs(OMEGA)
    at_one, at_two = (
        np.asarray(loss(PUBLISHED, ω, _pairs(np.full(len(OMEGA), μ)))) for μ in (1, 2)
    )
    zero = float(approximate_loss(PUBLISHED, [0.0, 0.0], [0.0, 0.0]))
    b = (at_two - zero) / 2 - (at_one - zero)
    a = (b - (at_one - zero)) / 2
    return Parabolas(zero, a, b)


def _pairs(values: FloatArray) -> FloatArray:
    """Two heads of opposite signs (points, 2) for values (points,) of the first."""
    return np.stack([values, -values], axis=1)


def _draw_shades(
    ax: "Axes", values: FloatArray, levels: tuple[float, ...]
) -> "QuadContourSet":
    """Values (μ, ω) in steps of shade that differ in grey too, with lines between them."""
    from matplotlib.colors import BoundaryNorm

    style: dict[str, Any] = {"levels": levels, "norm": BoundaryNorm(levels, 256)}
    lines = ax.contour(OMEGA, MU, values, colors="black", linewidths=0.3, **style)
    # Contours below zero are dashed by default, and dashes are for the valley.
    lines.set_linestyle("solid")
    return ax.contourf(OMEGA, MU, values, cmap="viridis_r", **style)
