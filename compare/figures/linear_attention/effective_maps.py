"""The effective maps on the plateaus of runs beside those of the fixed points."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ....models.effective_map import effective_map
from ....runtime.arrays import FloatArray
from ....theory import fixed_point, population
from ...claims.linear_attention.common.experiments import FOUR, SEPARATE, separate
from ...evidence.claim import RunContext
from ...evidence.seeding import SEEDS
from ...metrics.plateaus import PlateauMatch, PlateauMatches, match_plateaus
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.collections import QuadMesh
    from matplotlib.figure import Figure, SubFigure


@paper_figure("fixed_points", paper="zhang2025")
def fixed_points(context: RunContext) -> "Figure":
    """Maps of one run at its plateaus over the predicted ones, and every entry of every seed against prediction."""
    from matplotlib.figure import Figure

    figure = Figure((PAGE, 2.1), layout="constrained")
    subfigures = figure.subfigures(1, 2, width_ratios=(1.9, 1), squeeze=False)
    maps, residuals = subfigures[0]

    matches_of_seeds = _matches(context)
    first_seed = [match for match in matches_of_seeds[0] if match.point.subset]
    _draw_maps(maps, first_seed)
    all_matches = [match for matches in matches_of_seeds for match in matches]
    _draw_residuals(residuals.add_subplot(), all_matches)
    return figure


def _matches(context: RunContext) -> list[PlateauMatches]:
    """The plateaus of every seed."""
    counts = range(FOUR.dimension + 1)
    points = [fixed_point(FOUR, SEPARATE, range(1, m + 1)) for m in counts]
    return [
        match_plateaus(points, context.trajectory(experiment))
        for experiment in separate(context.seed)
    ]


def _draw_maps(figure: "SubFigure", matches: Sequence[PlateauMatch]) -> None:
    """One column a plateau: the map of the run above that of the fixed point."""
    axes = figure.subplots(
        2,
        len(matches),
        sharex=True,
        sharey=True,
        squeeze=False,
    )
    limit = float(np.max(population(FOUR, SEPARATE).coefficients))
    directions = range(1, FOUR.dimension + 1)
    for (above, below), match in zip(axes.T, matches, strict=True):
        _draw_map(above, effective_map(SEPARATE, match.weights), limit)
        picture = _draw_map(below, match.point.M, limit)
        above.set_title(f"$m = {len(match.point.subset)}$")
        below.set(
            xlabel="direction of $x_q$",
            xticks=directions,
            yticks=directions,
        )

    # Rows of a matrix count from the top; the axes are shared.
    axes[0, 0].invert_yaxis()
    axes[0, 0].set_ylabel("observed\n" r"direction of $\beta$")
    axes[1, 0].set_ylabel("predicted\n" r"direction of $\beta$")
    _draw_colour_bar(figure, axes, picture)


def _draw_map(ax: "Axes", M: FloatArray, limit: float) -> "QuadMesh":
    """The entries of a map M (D, D) as colours, for values from −`limit` to `limit`."""
    directions = range(1, len(M) + 1)
    # Symmetric about zero, the middle of the colour map.
    picture = ax.pcolormesh(
        directions,
        directions,
        M,
        cmap="PuOr_r",
        vmin=-limit,
        vmax=limit,
    )
    ax.set_aspect("equal")
    return picture


def _draw_colour_bar(
    figure: "SubFigure", axes: NDArray[Any], picture: "QuadMesh"
) -> None:
    bar = figure.colorbar(
        picture,
        ax=axes,
        label="entry of $M$",
        aspect=30,
    )
    # A PDF of cells, not of pixels; coloured edges close the gaps between them.
    assert bar.solids is not None
    bar.solids.set(rasterized=False, edgecolor="face")


def _draw_residuals(ax: "Axes", matches: Sequence[PlateauMatch]) -> None:
    """Differences of every entry of every map from the predicted one; plateaus are set apart sideways."""
    width = 0.02 * float(np.max(population(FOUR, SEPARATE).coefficients))
    for m, colour in enumerate(COLOURS[: FOUR.dimension], start=1):
        reached = [match for match in matches if len(match.point.subset) == m]
        # The middle of the plateaus 1 … 4 is 2.5.
        offset = (m - 2.5) * width
        _draw_entries(ax, reached, offset, color=colour, label=f"$m = {m}$")
    ax.axhline(
        0,
        color="black",
        linestyle=DASHES,
        linewidth=0.7,
        zorder=1,
    )
    ax.set(
        xlabel="predicted entry of $M_m$",
        ylabel="observed − predicted ($10^{-3}$)",
        title=f"{SEEDS} seeds",
    )
    ax.legend(
        loc=(0.2, 0.0),
        ncols=2,
        handletextpad=0,
        columnspacing=0.5,
    )


def _draw_entries(
    ax: "Axes", matches: Sequence[PlateauMatch], offset: float, **style: Any
) -> None:
    """Differences of all entries of the maps of one plateau, over the predicted entries moved by `offset`."""
    # All entries (matches · D²,) in one row.
    expected = np.array([match.point.M for match in matches]).ravel()
    observed = np.array(
        [effective_map(SEPARATE, match.weights) for match in matches]
    ).ravel()
    ax.plot(
        expected + offset,
        1000 * (observed - expected),
        marker="o",
        linestyle="none",
        markersize=2,
        markeredgewidth=0,
        **style,
    )
