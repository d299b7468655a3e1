"""Where the theory holds: what it predicts of every run of a sweep, over what the runs show."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...models.attention import Merged, Separate
from ...runtime.arrays import FloatArray
from ...simulate import Experiment, Sweep
from ...theory import growing_mode, half_loss_time, population, staircase
from ..figures.style import COLOURS, DASHES
from ..metrics.curves import exit_times, plateau_heights

if TYPE_CHECKING:
    import xarray
    from matplotlib.axes import Axes

Pair = tuple[FloatArray, FloatArray]

QUANTITIES: dict[str, tuple[type, str]] = {
    "plateau_height": (object, "loss at plateau"),
    "exit_time": (Separate, "flow time of exit"),
    "drop_time": (Merged, "flow time of the drop"),
}
"""What is compared, the models that have it, and how an axis calls it."""

_NAMES = {
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


def validity(dataset: "xarray.Dataset", quantity: str) -> "xarray.Dataset":
    """What the theory predicts and what is observed of every run of a sweep that `load_sweep` read, or of a part.

    Quantities, numbered along the dimension "number": "plateau_height", where a run is flattest, by the count of
    directions learned (merged: 0 and 1); "exit_time", the flow time at which a run of separate attention leaves
    each plateau, from 1; "drop_time", that of merged attention's one drop. Predictions are those of the limit of
    small weights, from the initial weights of the run and unlimited data: `staircase` and `half_loss_time`. Returns
    an `xarray.Dataset` of `predicted`, `observed` and `error`, observed / predicted − 1; nan where a run ends too
    early, skips a plateau or is missing, or a start is too large for any prediction. ValueError for another
    quantity, and for models that do not have it, as softmax.
    """
    if quantity not in QUANTITIES:
        raise ValueError(
            f"quantity must be one of {', '.join(QUANTITIES)}, not {quantity!r}"
        )
    dims = dataset["digest"].dims
    found = dataset[["loss", "gradient_norm"]].transpose(*dims, "step")
    known = {
        each.digest: each
        for each in Sweep.from_json(dataset.attrs["sweep"]).experiments()
    }
    losses, norms = (
        found[name].values.reshape(-1, found.sizes["step"])
        for name in ("loss", "gradient_norm")
    )
    pairs = [
        _pair(known[str(digest)], dataset["step"].values, loss, norm, quantity)
        for digest, loss, norm in zip(
            dataset["digest"].values.ravel(), losses, norms, strict=True
        )
    ]
    return _assembled(
        dataset["digest"], pairs, first=0 if quantity == "plateau_height" else 1
    )


def _assembled(
    labels: "xarray.DataArray", pairs: Sequence[Pair], first: int
) -> "xarray.Dataset":
    import xarray

    count = max(len(predicted) for predicted, _ in pairs)
    both = np.full((2, len(pairs), count), np.nan)
    for row, pair in enumerate(pairs):
        for side, values in enumerate(pair):
            both[side, row, : len(values)] = values
    predicted, observed = both.reshape(2, *labels.shape, count)
    variables = {
        "predicted": predicted,
        "observed": observed,
        "error": observed / predicted - 1,
    }
    named = {
        name: ((*labels.dims, "number"), values) for name, values in variables.items()
    }
    coords = {name: labels.coords[name] for name in labels.coords}
    return xarray.Dataset(named, coords | {"number": np.arange(first, first + count)})


def _pair(
    experiment: Experiment, step: Any, loss: FloatArray, norm: FloatArray, quantity: str
) -> Pair:
    """What is predicted of one run, and what it shows."""
    if not isinstance(experiment.model, QUANTITIES[quantity][0]):
        others = " or ".join(name for name in QUANTITIES if name != quantity)
        raise ValueError(
            f"{type(experiment.model).__name__} has no {quantity}: ask for {others}"
        )
    plateaus, exits = _predicted(experiment)
    kept = np.isfinite(loss)
    time, loss, norm = 2 * experiment.learning_rate * step[kept], loss[kept], norm[kept]
    predicted = plateaus if quantity == "plateau_height" else exits
    if len(loss) < 2 or len(plateaus) < 2:
        return predicted, np.full(len(predicted), np.nan)
    if quantity == "plateau_height":
        return predicted, plateau_heights(loss, norm, plateaus).heights
    return predicted, exit_times(time, loss, plateaus)


def _predicted(experiment: Experiment) -> Pair:
    """Losses of the plateaus and flow times at which they are left, in the limit of small weights."""
    task, model, start = experiment.task, experiment.model, experiment.start
    if isinstance(model, Separate):
        steps = staircase(task, model, start)
        return steps.plateaus, np.where(
            steps.drop_times > 0, steps.drop_times, np.nan
        )  # 0: it starts below
    moments = population(task, model)
    try:
        drop = half_loss_time(moments, growing_mode(moments, start))
    except ValueError:  # the loss starts below the middle of its drop
        drop = np.nan
    return np.array([moments.c, moments.minimum_loss]), np.array([drop])


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
    error = abs(_numbered(validity(dataset, quantity), number)["error"])
    down, along = _dimensions(dataset, against, 2)
    others = [str(name) for name in error.dims if name not in against]
    ax = _axes(ax)
    _cells(ax, error.median(others).transpose(down, along).values)
    ax.set_title(
        f"{_called(quantity, number)}: relative error{_over(others)}", loc="left"
    )
    ax.set(xlabel=_NAMES.get(along, along), ylabel=_NAMES.get(down, down))
    for axis, name in ((ax.xaxis, along), (ax.yaxis, down)):
        labels = dataset[name].values.tolist()
        axis.set_ticks(range(len(labels)), [_text(label) for label in labels])
    return ax


def _cells(ax: "Axes", errors: FloatArray) -> None:
    """Colours from the smallest to the largest error, and every error in percent."""
    from matplotlib.colors import LogNorm
    from matplotlib.ticker import FuncFormatter

    shown = np.where(errors > 0, errors, np.nan)
    known = np.any(np.isfinite(shown))
    norm = LogNorm(np.nanmin(shown), np.nanmax(shown)) if known else None
    picture = ax.imshow(
        shown, origin="lower", aspect="auto", cmap="viridis_r", norm=norm
    )
    for (row, column), error in np.ndenumerate(errors):
        dark = (
            known
            and norm is not None
            and np.isfinite(error)
            and float(norm(error)) > 0.5
        )
        text = f"{100 * error:.2g} %" if np.isfinite(error) else "–"
        ax.text(
            column,
            row,
            text,
            ha="center",
            va="center",
            color="white" if dark else "black",
        )
    percent = FuncFormatter(lambda error, _: f"{100 * error:.2g} %")
    bar = ax.figure.colorbar(picture, ax=ax, label="|observed / predicted − 1|")
    bar.ax.yaxis.set(major_formatter=percent, minor_formatter=percent)


def validity_curves(
    dataset: "xarray.Dataset",
    quantity: str,
    against: str = "scale",
    ax: "Axes | None" = None,
) -> "Axes":
    """A quantity against one dimension of a sweep: observed solid with its spread, predicted dashed over it.

    One colour a plateau or an exit; lines are medians over all other dimensions, bars reach from the smallest run
    to the largest. Only runs that show the quantity count, on both sides. Returns the axes. ValueError for a
    dimension that the sweep does not have.
    """
    (along,) = _dimensions(dataset, [against], 1)
    found = validity(dataset, quantity)
    found = found.where(np.isfinite(found["observed"]))
    others = [
        str(name) for name in found["error"].dims if name not in (along, "number")
    ]
    ax = _axes(ax)
    x, labels, xscale = _positions(dataset[along].values)
    for number, colour in zip(found["number"].values.tolist(), COLOURS, strict=False):
        here = found.sel(number=number)
        middle, low, high = (
            getattr(here["observed"], each)(others).values
            for each in ("median", "min", "max")
        )
        bars = np.array([middle - low, high - middle])
        ax.errorbar(
            x,
            middle,
            bars,
            color=colour,
            marker="o",
            capsize=2,
            label=_called(quantity, number),
        )
        ax.plot(
            x,
            here["predicted"].median(others).values,
            color="black",
            linestyle=DASHES,
            zorder=3,
        )
    ax.set(
        xlabel=_NAMES.get(along, along),
        ylabel=QUANTITIES[quantity][1],
        yscale="log",
        xscale=xscale,
    )
    ax.set_xticks(x, labels)
    ax.set_xticks([], minor=True)
    ax.legend(frameon=False)
    return ax


def _numbered(found: "xarray.Dataset", number: int) -> "xarray.Dataset":
    known = found["number"].values.tolist()
    if number not in known:
        raise ValueError(
            f"number must be one of {', '.join(map(str, known))}, not {number!r}"
        )
    return found.sel(number=number)


def _dimensions(
    dataset: "xarray.Dataset", against: Sequence[str], count: int
) -> list[str]:
    known = [str(name) for name in dataset["digest"].dims]
    if (
        len(set(against)) != count
        or len(against) != count
        or not set(against) <= set(known)
    ):
        raise ValueError(
            f"against must name {count} of the dimensions {', '.join(known)}, not {list(against)}"
        )
    return list(against)


def _axes(ax: "Axes | None") -> "Axes":
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(layout="constrained")[1]


def _positions(values: NDArray[Any]) -> tuple[NDArray[Any], list[str], str]:
    """Where values stand on an axis, their names and its scale: positive numbers at logarithms, others in a row."""
    labels = [_text(value) for value in values.tolist()]
    if values.dtype.kind in "iuf" and values.min() > 0:
        return values, labels, "log"
    return np.arange(len(values)), labels, "linear"


def _text(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _called(quantity: str, number: int) -> str:
    name = QUANTITIES[quantity][1]
    return name if quantity == "drop_time" else f"{name} {number}"


def _over(others: Sequence[str]) -> str:
    return f", median over {', '.join(others)}" if others else ""
