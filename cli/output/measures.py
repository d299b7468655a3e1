"""Measures of checkpoints: tables for the terminal, and files for other programs and for papers."""

import csv
import io
import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ...compare.metrics.measures import (
    QUANTITIES,
    MatrixMeasures,
    Measures,
)
from ...runtime.arrays import FloatArray
from .files import FIGURES, format_named
from .tables import print_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_FEW = 4
"""Up to so many heads a cell has the value of each, of more the median and the range."""

_MOST_NAMED = 8
"""Up to so many curves a legend names each."""

_WIDTH = 6.75
_PANEL_HEIGHT = 2.2
"""Inches of a figure, and of each row of its panels."""


def measures_format(path: Path) -> str:
    """The format that the name of a file asks for; ValueError for one that there is not.

    >>> measures_format(Path("spectra.csv"))
    'csv'
    """
    return format_named(path, ("csv", "json", "npz", *FIGURES))


def print_measures(measures: Measures) -> None:
    """Print one table a kind of matrix, one row a checkpoint, and the notes.

    Distances are to the last checkpoint, overlaps with the next one.
    """
    for kind, matrices in measures.kinds.items():
        heads = "" if matrices.names == (kind,) else f": {_heads_in_words(matrices)}"
        print(f"{kind}{heads}; subspaces of rank {_spread(matrices.rank, 0)}")
        columns = {"step": True, "rank": False, "marginalised": False}
        columns |= {"distance": False, "overlap": False}
        share = measures.fourier_share if kind == "embedding" else None
        if share is not None:
            columns["Fourier share"] = False
        rows = []
        for t, step in enumerate(measures.steps):
            row = [f"{step:g}"]
            for quantity in tuple(QUANTITIES)[:4]:
                values = getattr(matrices, quantity)
                row.append(_spread(values[t]) if t < len(values) else "")
            if share is not None:
                row.append(_rounded(share[t], 3))
            rows.append(row)
        print_rows(columns, rows)
    for note in measures.notes:
        print(f"note: {note}")


def write_measures(measures: Measures, path: Path) -> None:
    """Write the measures in the format that the name asks for; OSError if it cannot be written."""
    from ...runtime.files import write_atomically, write_text

    ending = measures_format(path)
    if ending == "npz":
        measures.save(path)
    elif ending == "json":
        write_text(path, json.dumps(measures.to_dict()))
    elif ending == "csv":
        write_text(path, measures_csv(measures))
    else:
        figure = measures_figure(measures)
        write_atomically(
            path, lambda file: figure.savefig(file, format=ending, dpi=150)
        )


def measures_csv(measures: Measures) -> str:
    """One row a checkpoint, one column a quantity and matrix, in all digits; blank where nothing is defined."""
    columns: dict[str, FloatArray] = {"step": measures.steps}
    for quantity in QUANTITIES:
        for name, values in measures.curves(quantity).items():
            columns[f"{quantity} {name}"] = values
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    for t in range(len(measures.steps)):
        cells = [
            values[t] if t < len(values) else np.nan for values in columns.values()
        ]
        writer.writerow(["" if np.isnan(cell) else repr(float(cell)) for cell in cells])
    return text.getvalue()


def measures_figure(measures: Measures) -> "Figure":
    """One panel a quantity, over the steps."""
    from matplotlib.figure import Figure

    quantities = [name for name in QUANTITIES if measures.curves(name)]
    rows = -(-len(quantities) // 2)
    figure = Figure((_WIDTH, _PANEL_HEIGHT * rows), layout="constrained")
    axes = figure.subplots(rows, 2, squeeze=False).ravel()
    for ax, quantity in zip(axes, quantities, strict=False):
        measures.plot(ax, quantity=quantity, linewidth=1.2)
        ax.set_ylim(bottom=0)
    if 1 < len(axes[0].lines) <= _MOST_NAMED:
        figure.legend(
            handles=axes[0].lines, loc="outside upper center", ncols=4, frameon=False
        )
    for ax in axes[len(quantities) :]:
        ax.remove()
    return figure


def _heads_in_words(matrices: MatrixMeasures) -> str:
    """The names of the heads; of many, the first and the last."""
    names = matrices.names
    if len(names) <= _FEW:
        return ", ".join(names)
    return f"{len(names)} heads, {names[0]} to {names[-1]}"


def _spread(values: ArrayLike, digits: int = 3) -> str:
    """The values of a few heads, or median and range of many."""
    numbers = np.asarray(values, dtype=float)
    if len(numbers) <= _FEW:
        return ", ".join(_rounded(value, digits) for value in numbers)
    finite = numbers[np.isfinite(numbers)]
    if not finite.size:
        return "–"
    low, middle, high = np.quantile(finite, [0, 0.5, 1])
    fewer = min(digits, 2)  # so that three numbers have room in a cell
    shown = [_rounded(value, fewer) for value in (middle, low, high)]
    return f"{shown[0]} ({shown[1]}–{shown[2]})"


def _rounded(value: float, digits: int) -> str:
    return "–" if np.isnan(value) else f"{value:.{digits}f}"
