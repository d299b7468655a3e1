"""Files of a predicted curve, of whatever wing: CSV, JSON, npz or a figure, by the ending of the name."""

import csv
import io
import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from .files import FIGURES, format_named

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Curve(Protocol):
    """What a curve writes itself."""

    def save(self, path: Path) -> Path:
        """Write an npz file."""

    def to_dict(self) -> dict[str, Any]:
        """The curve as plain numbers and lists."""


def curve_format(path: Path) -> str:
    """The format that the name of a file asks for; ValueError for one that there is not.

    >>> curve_format(Path("course.csv"))
    'csv'
    """
    return format_named(path, ("csv", "json", "npz", *FIGURES))


def write_curve(
    curve: Curve, path: Path, table: Callable[[], str], figure: Callable[[], "Figure"]
) -> None:
    """Write a curve in the format that the name asks for; OSError if it cannot be written.

    `table` makes the text of a CSV file and `figure` the figure, where one is asked for.
    """
    from ...runtime.files import write_atomically, write_text

    ending = curve_format(path)
    if ending == "npz":
        curve.save(path)
    elif ending == "json":
        write_text(path, json.dumps(curve.to_dict()))
    elif ending == "csv":
        write_text(path, table())
    else:
        drawn = figure()
        write_atomically(path, lambda file: drawn.savefig(file, format=ending, dpi=150))


def csv_text(names: Sequence[str], *columns: Iterable[Any]) -> str:
    """A row of names, and one of numbers for each time, in all digits; a column is (T,), or several at once (T, K).

    >>> csv_text(["flow_time", "s", "u"], [0.0, 0.5], [[1, 2], [3, 4]])
    'flow_time,s,u\\n0.0,1.0,2.0\\n0.5,3.0,4.0\\n'
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for parts in zip(*columns, strict=True):
        row: list[float] = []
        for part in parts:
            row.extend(part if isinstance(part, Iterable) else [part])
        writer.writerow([repr(float(value)) for value in row])
    return text.getvalue()
