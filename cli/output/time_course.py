"""A predicted time course: a table for the terminal, and files for other programs and for papers."""

from pathlib import Path
from typing import TYPE_CHECKING

from ...theory import TimeCourse
from ...theory.time_courses import MODES
from .curve_files import csv_text, write_curve
from .tables import in_short, print_rows

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_WIDTH = 5.0
_HEIGHT = 4.8
"""Inches of the figure: one column and a half, two panels."""

_FEW = 8
"""Up to so many curves a legend names each."""


def print_course(course: TimeCourse) -> None:
    """Print what the curve is, and one row a time."""
    print(f"theory ({course.source}), flow time = 2 * learning rate * steps")
    columns = {
        "flow time": True,
        "loss": True,
        "coefficients": False,
        "amplitudes": False,
    }
    rows = []
    for time, loss, coefficients, amplitudes in zip(
        course.flow_time,
        course.loss,
        course.coefficients,
        course.amplitudes,
        strict=True,
    ):
        row = [f"{time:g}", f"{loss:.8f}"]
        for values in (coefficients, amplitudes):
            row.append(in_short([f"{value:.4g}" for value in values]))
        rows.append(row)
    print_rows(columns, rows)


def write_course(course: TimeCourse, path: Path) -> None:
    """Write the course in the format that the name asks for; OSError if it cannot be written."""
    write_curve(course, path, lambda: _course_csv(course), lambda: _figure(course))


def _course_csv(course: TimeCourse) -> str:
    """One row a time: flow_time, loss, coefficient_1 to coefficient_D, and the amplitudes, in all digits."""
    dimension = course.coefficients.shape[1]
    names = [f"coefficient_{d}" for d in range(1, dimension + 1)]
    return csv_text(
        ["flow_time", "loss", *names, *_amplitude_names(course)],
        course.flow_time,
        course.loss,
        course.coefficients,
        course.amplitudes,
    )


def _amplitude_names(course: TimeCourse) -> list[str]:
    """amplitude_1 to amplitude_D of separate heads, and s and u_1 to u_D of merged ones, which are one more.

    Of the modes of several outputs they are p_1 to p_D and q_1 to q_D.
    """
    dimension = course.coefficients.shape[1]
    count = course.amplitudes.shape[1]
    if course.source == MODES:
        return [f"{name}_{d}" for name in "pq" for d in range(1, dimension + 1)]
    if count == dimension + 1:
        return ["s", *(f"u_{d}" for d in range(1, dimension + 1))]
    return [f"amplitude_{d}" for d in range(1, count + 1)]


def _figure(course: TimeCourse) -> "Figure":
    """The loss above the amplitudes, against flow time."""
    from matplotlib.figure import Figure

    figure = Figure((_WIDTH, _HEIGHT), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    course.plot(above)
    order = course.flow_time.argsort(kind="stable")
    for name, values in zip(_amplitude_names(course), course.amplitudes.T, strict=True):
        below.plot(course.flow_time[order], values[order], label=name)
    below.set_xlabel(above.get_xlabel())
    above.set_xlabel("")
    below.set_ylabel("amplitudes")
    if course.amplitudes.shape[1] <= _FEW:
        below.legend(frameon=False)
    return figure
