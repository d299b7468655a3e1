"""The effective maps on the plateaus of runs beside those of the fixed points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ....models.effective_map import effective_map
from ....theory import fixed_point, population
from ...claims.linear_attention.common.experiments import FOUR, SEPARATE, separate
from ...evidence.claim import RunContext
from ...evidence.seeding import SEEDS
from ...metrics.plateaus import PlateauMatch, match_plateaus
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure


@paper_figure("fixed_points", paper="zhang2025")
def fixed_points(context: RunContext) -> "Figure":
    """Maps of one run at its plateaus over the predicted ones, and every entry of every seed against prediction."""
    from matplotlib.figure import Figure

    figure = Figure((PAGE, 2.1), layout="constrained")
    parts = figure.subfigures(1, 2, width_ratios=(1.9, 1), squeeze=False)
    maps, scatter = parts[0]
    landed = _landed(context)
    _heat_maps(maps, [landing for landing in landed[0] if landing.point.subset])
    _residuals(scatter.add_subplot(), [landing for each in landed for landing in each])
    return figure


def _landed(context: RunContext) -> list[tuple[PlateauMatch, ...]]:
    """The plateaus of every seed."""
    points = [
        fixed_point(FOUR, SEPARATE, range(1, m + 1)) for m in range(FOUR.dimension + 1)
    ]
    size = float(np.linalg.norm(population(FOUR, SEPARATE).minimum))
    return [
        match_plateaus(context.trajectory(each), SEPARATE, points, size)
        for each in separate(context.seed)
    ]


def _heat_maps(figure: "SubFigure", landed: Sequence[PlateauMatch]) -> None:
    axes = figure.subplots(2, len(landed), sharex=True, sharey=True, squeeze=False)
    limit, numbers = (
        float(np.max(population(FOUR, SEPARATE).coefficients)),
        range(1, FOUR.dimension + 1),
    )
    for column, landing in zip(axes.T, landed, strict=True):
        observed, expected = effective_map(SEPARATE, landing.weights), landing.point.M
        for ax, entries in zip(column, (observed, expected), strict=True):
            picture = ax.pcolormesh(
                numbers, numbers, entries, cmap="PuOr_r", vmin=-limit, vmax=limit
            )
            ax.set_aspect("equal")
        column[0].set_title(f"$m = {len(landing.point.subset)}$")
        column[1].set(xlabel="direction of $x_q$", xticks=numbers, yticks=numbers)
    axes[0, 0].invert_yaxis()
    for ax, name in zip(axes[:, 0], ("observed", "predicted"), strict=True):
        ax.set_ylabel(f"{name}\n" r"direction of $\beta$")
    bar = figure.colorbar(picture, ax=axes, label="entry of $M$", aspect=30)
    assert bar.solids is not None
    bar.solids.set(rasterized=False, edgecolor="face")


def _residuals(ax: "Axes", landed: Sequence[PlateauMatch]) -> None:
    """How far every entry of every map is from the predicted one; plateaus are set apart sideways."""
    width = 0.02 * float(np.max(population(FOUR, SEPARATE).coefficients))
    style: dict[str, Any] = {
        "marker": "o",
        "linestyle": "none",
        "markersize": 2,
        "markeredgewidth": 0,
    }
    for m, colour in enumerate(COLOURS[: FOUR.dimension], start=1):
        reached = [landing for landing in landed if len(landing.point.subset) == m]
        expected = np.array([landing.point.M.ravel() for landing in reached]).ravel()
        observed = np.array(
            [effective_map(SEPARATE, landing.weights).ravel() for landing in reached]
        ).ravel()
        ax.plot(
            expected + (m - 2.5) * width,
            1000 * (observed - expected),
            color=colour,
            label=f"$m = {m}$",
            **style,
        )
    ax.axhline(0, color="black", linestyle=DASHES, linewidth=0.7, zorder=1)
    ax.set(
        xlabel="predicted entry of $M_m$",
        ylabel="observed − predicted ($10^{-3}$)",
        title=f"{SEEDS} seeds",
    )
    ax.legend(loc=(0.2, 0.0), ncols=2, handletextpad=0, columnspacing=0.5)
