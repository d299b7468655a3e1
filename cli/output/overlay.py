"""Theory over a logged run: a table of plateaus, the same as JSON, and a figure."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ...compare import Overlay, PlateauMatch, PlateauMatches
from ...compare.softmax_predictions import OFF_FAMILY
from ...runtime.arrays import FloatArray
from ...simulate import Trajectory
from .files import FIGURES, format_named
from .tables import print_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 5.0
_HEIGHT = 3.2
"""Inches of the figure: one column and a half."""


class LaidOver(NamedTuple):
    """A curve over a run, where the curve is from, and the plateaus of the run that were matched.

    `both` is None where the run has no flow time: its plateaus alone are matched then. `scale` is the aligned start
    of the curve, None where it has another. `distances` (K,) are those of the stored weights of softmax heads from the
    symmetric family, which the curve is of.
    """

    run: Trajectory
    both: Overlay | None
    origin: str = ""
    matches: PlateauMatches | None = None
    scale: float | None = None
    is_fitted: bool = False
    distances: FloatArray | None = None


def print_overlay(laid: LaidOver) -> None:
    """Print what was compared, how far the losses are apart, and one row a plateau."""
    run = laid.run
    span = f"loss {run.loss[0]:.5g} → {run.loss[-1]:.5g}"
    if laid.both is None:
        print(f"{len(run.loss)} losses, step {run.steps[0]} to {run.steps[-1]}, {span}")
        print("no learning rate, so no flow time and no curve: plateaus alone")
    else:
        _print_curve(laid.both, laid.origin, span)
    if laid.distances is not None:
        # Rounding alone is no distance.
        first, last = np.round(laid.distances[[0, -1]], 9)
        print(
            f"off the symmetric family, and not in the theory: {first:.2g} → {last:.2g} of 1"
        )
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


def _print_curve(both: Overlay, origin: str, span: str) -> None:
    """The lines on the curve: where it starts, how far it is from the run, and what it leaves out."""
    times = f"flow time {both.flow_time[0]:g} to {both.flow_time[-1]:g}"
    print(f"{len(both.run.loss)} losses, {times}, {span}")
    print(f"theory ({both.curve.source}) {origin}")
    print(f"largest gap {both.sup_gap:.3g}, root mean square {both.l2_gap:.3g}")
    if both.off_block > 0:
        share = f"{both.off_block:.0%} of the squares of the first weights"
        print(f"off the restricted block, and not in the theory: {share}")
    for note in both.notes:
        print(f"note: {note}")


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
    """Plateaus, the scale and whether it was fitted, and the curve's source and gaps, as JSON; null without a curve."""
    matches, both, distances = laid.matches, laid.both, laid.distances
    contents = {
        "plateaus": [] if matches is None else [match.to_dict() for match in matches],
        "scale": None if laid.scale is None else float(laid.scale),
        "fitted": laid.is_fitted,
        "theory": both and both.curve.source,
        "sup_gap": both and both.sup_gap,
        "l2_gap": both and both.l2_gap,
        "off_block": both and both.off_block,
        "note": "" if matches is None else matches.note,
        "notes": [] if both is None else list(both.notes),
        "family_distance": None if distances is None else distances[[0, -1]].tolist(),
    }
    return json.dumps(contents)


def figure_format(path: Path) -> str:
    """The format that the name of a figure asks for; ValueError for another than PDF, PNG and SVG.

    >>> figure_format(Path("over.pdf"))
    'pdf'
    """
    return format_named(path, FIGURES)


def write_overlay(laid: LaidOver, path: Path, x: str) -> None:
    """Draw both losses into a file, and below them how far heads are that begin off the symmetric family.

    OSError if it cannot be written; nothing where there is no curve.
    """
    from matplotlib.figure import Figure

    from ...runtime.files import make_folder, replaceable, write_atomically

    both, distances = laid.both, laid.distances
    if both is None:
        return
    if distances is None or distances[0] <= OFF_FAMILY:
        figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
        both.plot(figure.subplots(), x=x)
    else:
        figure = Figure((_WIDTH, 2 * _HEIGHT), layout="constrained")
        _draw_with_distances(figure, both, distances, x)
    ending = figure_format(path)
    make_folder(replaceable(path).parent)
    write_atomically(path, lambda file: figure.savefig(file, format=ending, dpi=150))


def _draw_with_distances(
    figure: "Figure", both: Overlay, distances: FloatArray, x: str
) -> None:
    """Both losses, and below them how far the stored weights (K,) are from the symmetric family."""
    above, below = figure.subplots(2, 1, sharex=True)
    both.plot(above, x=x)
    run = both.run
    times = run.weight_flow_time if x == "flow_time" else run.weight_steps
    below.plot(times, distances, marker=".")
    below.set_ylim(0, 1.05)  # a share
    below.set_ylabel("distance from the family")
    below.set_xlabel(above.get_xlabel())
    above.set_xlabel("")
