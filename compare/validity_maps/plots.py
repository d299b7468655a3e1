"""Heat maps and curves of the predictions for a sweep and of what its runs show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ..figures.style import COLOURS, DASHES
from .predictions import QUANTITIES, validity

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes
    from matplotlib.colors import Normalize

_AXIS_LABELS = {
    "context_length": "context length $N$",
    "scale": "scale of the initial weights",
    "trace": r"tr $\Lambda$",
    "eigenvalues": r"eigenvalues of $\Lambda$",
    "rank": "rank $R$",
    "heads": "heads $H$",
    "learning_rate": r"learning rate $\eta$",
    "sequences": "sequences $P$",
    "noise_variance": r"label noise $\sigma^2$",
}


def validity_map(
    dataset: "xarray.Dataset",
    quantity: str,
    against: Sequence[str] = ("scale", "context_length"),
    number: int = 1,
    ax: "Axes | None" = None,
) -> "Axes":
    """Heat map of the relative error |observed / predicted − 1| of a quantity over two dimensions of a sweep.

    `against` are the dimensions down and along, `number` the plateau or the exit, as in `validity`; the median over
    all other dimensions is shown, in percent; a cell that no run has reached is empty. Returns the axes.
    ValueError for dimensions or numbers that the sweep does not have.
    """
    error = abs(_of_number(validity(dataset, quantity), number)["error"])
    down, along = _dimensions(dataset, against, count=2)
    # Seeds and whatever else the sweep varies.
    averaged = [str(name) for name in error.dims if name not in against]
    medians = error.median(averaged).transpose(down, along)

    ax = _axes(ax)
    _draw_cells(ax, medians.values)
    title = f"{_quantity_label(quantity, number)}: relative error"
    ax.set_title(f"{title}{_median_note(averaged)}", loc="left")
    _label_cells(ax, dataset, down=down, along=along)
    return ax


def _label_cells(
    ax: "Axes", dataset: "xarray.Dataset", *, down: str, along: str
) -> None:
    """The names of the two dimensions, and the values of the sweep at the cells."""
    ax.set_xlabel(_AXIS_LABELS.get(along, along))
    ax.set_ylabel(_AXIS_LABELS.get(down, down))
    for axis, name in ((ax.xaxis, along), (ax.yaxis, down)):
        values = dataset[name].values.tolist()
        axis.set_ticks(range(len(values)), [_value_label(value) for value in values])


def _draw_cells(ax: "Axes", errors: FloatArray) -> None:
    """Colours from the smallest to the largest error (rows, columns), and every error in percent."""
    from matplotlib.ticker import FuncFormatter

    # A logarithmic colour scale has no place for an exact zero, nor for nan.
    positive = np.where(errors > 0, errors, np.nan)
    norm = _log_norm(positive)
    picture = ax.imshow(
        positive, origin="lower", aspect="auto", cmap="viridis_r", norm=norm
    )
    for (row, column), error in np.ndenumerate(errors):
        text = f"{100 * error:.2g} %" if np.isfinite(error) else "–"
        # The upper half of the colours is dark.
        is_dark = norm is not None and np.isfinite(error) and float(norm(error)) > 0.5
        colour = "white" if is_dark else "black"
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color=colour,
        )

    percent = FuncFormatter(lambda error, _: f"{100 * error:.2g} %")
    bar = ax.figure.colorbar(picture, ax=ax, label="|observed / predicted − 1|")
    bar.ax.yaxis.set(major_formatter=percent, minor_formatter=percent)


def _log_norm(values: FloatArray) -> "Normalize | None":
    """Logarithmic colours over the range of the values; None where all of them are nan."""
    from matplotlib.colors import LogNorm

    if not np.any(np.isfinite(values)):
        return None
    return LogNorm(np.nanmin(values), np.nanmax(values))


def validity_curves(
    dataset: "xarray.Dataset",
    quantity: str,
    x: str = "scale",
    ax: "Axes | None" = None,
) -> "Axes":
    """A quantity against one dimension `x` of a sweep: observed solid with its spread, predicted dashed over it.

    One colour a plateau or an exit; lines are medians over all other dimensions, bars reach from the smallest run
    to the largest. Only runs that show the quantity count, on both sides. Returns the axes. ValueError for a
    dimension that the sweep does not have.
    """
    (along,) = _dimensions(dataset, [x], count=1)
    comparison = _where_observed(validity(dataset, quantity))
    averaged = [
        str(name) for name in comparison["error"].dims if name not in (along, "number")
    ]

    ax = _axes(ax)
    positions = _positions(dataset[along].values)
    numbers = comparison["number"].values.tolist()
    for number, colour in zip(numbers, COLOURS, strict=False):
        curve = comparison.sel(number=number)
        label = _quantity_label(quantity, number)
        _draw_curve(
            ax, positions.x, curve, averaged, style={"color": colour, "label": label}
        )

    ax.set_xlabel(_AXIS_LABELS.get(along, along))
    ax.set_ylabel(QUANTITIES[quantity].axis_label)
    _mark_settings(ax, positions)
    ax.legend(frameon=False)
    return ax


def _where_observed(comparison: "xarray.Dataset") -> "xarray.Dataset":
    """Observed and predicted numbers, both nan where the run does not show what is predicted."""
    return comparison.where(np.isfinite(comparison["observed"]))


def _mark_settings(ax: "Axes", positions: "_Positions") -> None:
    """Scales of the axes, with one tick at each setting of the sweep."""
    ax.set(xscale=positions.scale, yscale="log")
    ax.set_xticks(positions.x, positions.labels)
    # The settings of the sweep are the only ticks.
    ax.set_xticks([], minor=True)


def _draw_curve(
    ax: "Axes",
    x: NDArray[Any],
    comparison: "xarray.Dataset",
    averaged: Sequence[str],
    *,
    style: dict[str, Any],
) -> None:
    """Medians of the observed numbers with bars from the smallest to the largest, and of the predicted ones."""
    observed = comparison["observed"]
    median = observed.median(averaged).values
    # Distances from the median, as error bars take them.
    below = median - observed.min(averaged).values
    above = observed.max(averaged).values - median
    ax.errorbar(x, median, np.array([below, above]), marker="o", capsize=2, **style)

    predicted = comparison["predicted"].median(averaged).values
    # Above the observed curves, which are drawn at 2.
    ax.plot(x, predicted, color="black", linestyle=DASHES, zorder=3)


def _of_number(comparison: "xarray.Dataset", number: int) -> "xarray.Dataset":
    numbers = comparison["number"].values.tolist()
    if number not in numbers:
        raise ValueError(
            f"number must be one of {', '.join(map(str, numbers))}, not {number!r}"
        )
    return comparison.sel(number=number)


def _dimensions(
    dataset: "xarray.Dataset", against: Sequence[str], count: int
) -> list[str]:
    """The names in `against`; ValueError unless they are `count` different dimensions of the sweep."""
    names = [str(name) for name in dataset["digest"].dims]
    different = set(against)
    if len(against) != count or len(different) != count or not different <= set(names):
        raise ValueError(
            f"against must name {count} of the dimensions {', '.join(names)}, not {list(against)}"
        )
    return list(against)


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


class _Positions(NamedTuple):
    """Where values stand on an axis, their labels, and the scale of the axis."""

    x: NDArray[Any]
    labels: list[str]
    scale: str


def _positions(values: NDArray[Any]) -> _Positions:
    """Positive numbers stand on a logarithmic axis, other values at equal distances."""
    labels = [_value_label(value) for value in values.tolist()]
    if values.dtype.kind in "iuf" and values.min() > 0:
        return _Positions(values, labels, "log")
    return _Positions(np.arange(len(values)), labels, "linear")


def _value_label(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _quantity_label(quantity: str, number: int) -> str:
    label = QUANTITIES[quantity].axis_label
    return label if quantity == "drop_time" else f"{label} {number}"


def _median_note(averaged: Sequence[str]) -> str:
    return f", median over {', '.join(averaged)}" if averaged else ""
