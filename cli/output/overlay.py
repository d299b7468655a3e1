"""Theory over a logged run: a table of plateaus, the same as JSON, and a figure."""

import json
from pathlib import Path
from typing import NamedTuple

from ...compare import Overlay, PlateauMatch, PlateauMatches
from .files import FIGURES, format_named
from .tables import print_rows

_WIDTH = 5.0
_HEIGHT = 3.2
"""Inches of the figure: one column and a half."""


class LaidOver(NamedTuple):
    """A curve over a run, where the curve is from, and the plateaus of the run that were matched.

    `scale` is the aligned start of the curve, None where it has another.
    """

    both: Overlay
    origin: str
    matches: PlateauMatches | None = None
    scale: float | None = None
    is_fitted: bool = False


def print_overlay(laid: LaidOver) -> None:
    """Print what was compared, how far the losses are apart, and one row a plateau."""
    both, run = laid.both, laid.both.run
    print(
        f"{len(run.loss)} losses, flow time {both.flow_time[0]:g} to {both.flow_time[-1]:g}, "
        f"loss {run.loss[0]:.5g} → {run.loss[-1]:.5g}"
    )
    print(f"theory ({both.curve.source}) {laid.origin}")
    print(f"largest gap {both.sup_gap:.3g}, root mean square {both.l2_gap:.3g}")
    matches = laid.matches
    if matches is None:
        return
    columns = {
        "plateau": False,
        "loss": True,
        "predicted": True,
        "map gap": True,
        "step": True,
        "flow time": True,
    }
    print_rows(columns, [_cells(match) for match in matches])
    if any(match.is_near and match.is_ambiguous for match in matches):
        print("or: these fixed points are too near to each other to be told apart here")
    if matches.note:
        print(f"note: {matches.note}")


def _cells(match: PlateauMatch) -> tuple[str, ...]:
    """A row of the table; a dash for what the run does not hold."""
    return (
        match.label,
        f"{match.loss:.6g}",
        f"{match.point.loss:.6g}",
        f"{match.map_gap:.2g}" if match.weights else "–",
        "–" if match.step is None else str(match.step),
        "–" if match.flow_time is None else f"{match.flow_time:.6g}",
    )


def overlay_json(laid: LaidOver) -> str:
    """The plateaus, the scale and whether it was fitted, the curve's source and the gaps of the losses, as JSON."""
    matches = laid.matches
    contents = {
        "plateaus": [] if matches is None else [match.to_dict() for match in matches],
        "scale": None if laid.scale is None else float(laid.scale),
        "fitted": laid.is_fitted,
        "theory": laid.both.curve.source,
        "sup_gap": laid.both.sup_gap,
        "l2_gap": laid.both.l2_gap,
        "note": "" if matches is None else matches.note,
    }
    return json.dumps(contents)


def figure_format(path: Path) -> str:
    """The format that the name of a figure asks for; ValueError for another than PDF, PNG and SVG.

    >>> figure_format(Path("over.pdf"))
    'pdf'
    """
    return format_named(path, FIGURES)


def write_overlay(both: Overlay, path: Path, x: str) -> None:
    """Draw both losses into a file; OSError if it cannot be written."""
    from matplotlib.figure import Figure

    from ...runtime.files import make_folder, replaceable, write_atomically

    figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
    both.plot(figure.subplots(), x=x)
    ending = figure_format(path)
    make_folder(replaceable(path).parent)
    write_atomically(path, lambda file: figure.savefig(file, format=ending, dpi=150))
