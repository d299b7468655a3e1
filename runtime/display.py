"""Results that show themselves: one screen of text in a terminal, a chart or a table with formulas in a notebook."""

from abc import abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from html import escape
from textwrap import fill

import numpy as np
from numpy.typing import ArrayLike

from .line_charts import LineChart

LINE_LENGTH = 100
"""Characters of one line in a terminal: longer ones are cut."""

MAX_ROWS = 22
"""Rows of a summary in a terminal: a screen holds 24 lines, and the title takes one."""

SHORT_TABLE = 6
"""Rows of a table that stands open below a chart: a longer one would push what follows off the screen."""


@dataclass(frozen=True)
class Summary:
    """What a result says of itself: a title, rows of label and text, formulas (label → LaTeX), and notes.

    A note is a sentence that a reader must not miss: it is shown whole, on as many lines as it needs.
    """

    title: str
    rows: Mapping[str, object] = field(default_factory=dict)
    formulas: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def as_text(self) -> str:
        """The summary for a terminal: at most one screen, and the notes below it.

        >>> print(Summary("Run", {"steps": 100, "loss": "2.0 → 0.3"}).as_text())
        Run
          steps  100
          loss   2.0 → 0.3
        """
        rows = {label: str(value) for label, value in self.rows.items()}
        width = max((len(label) for label in rows), default=0)
        lines = [
            f"  {label:{width}}  {' '.join(text.split())}"
            for label, text in rows.items()
        ]
        if len(lines) > MAX_ROWS:
            hidden = len(lines) - (MAX_ROWS - 1)
            lines = [*lines[: MAX_ROWS - 1], f"  … and {hidden} more"]
        table = [_cut(line) for line in [self.title, *lines]]
        return "\n".join([*table, *(_wrapped(note) for note in self.notes)])

    def as_html(self, chart: LineChart | None = None) -> str:
        """The summary for a notebook: a table, with formulas typeset in MathML; below a chart a long one is folded."""
        # Lazily: the library that typesets is slow to import, and most sessions have no notebook.
        from .typesetting import mathml

        cells = {label: escape(str(value)) for label, value in self.rows.items()}
        cells |= {label: mathml(latex) for label, latex in self.formulas.items()}
        rows = "".join(
            f"<tr><th style='text-align:left'>{escape(label)}</th>"
            f"<td style='text-align:left'>{cell}</td></tr>"
            for label, cell in cells.items()
        )
        notes = "".join(f"<p>Note: {escape(note)}</p>" for note in self.notes)
        title = escape(self.title)
        if chart is None:
            return f"<table><caption>{title}</caption>{rows}</table>{notes}"
        caption = f": {escape(chart.caption)}" if chart.caption else ""
        is_open = " open" if len(cells) <= SHORT_TABLE else ""
        table = f"<table>{rows}</table>"
        table = f"<details{is_open}><summary>Numbers</summary>{table}</details>"
        return f"<div>{title}{caption}</div>{chart.as_svg()}{notes}{table}"


class Displayed:
    """Base of results: `repr` and the view of a notebook follow from `summary`.

    A dataclass that inherits from it must be declared with `repr=False`.
    """

    @abstractmethod
    def summary(self) -> Summary:
        """What the result says of itself on one screen."""

    def chart(self) -> LineChart | None:
        """What a notebook draws of the result, None where it shows a table alone."""
        return None

    def __repr__(self) -> str:
        return self.summary().as_text()

    def _repr_html_(self) -> str | None:
        return self.summary().as_html(self.chart())


def array_summary(values: ArrayLike) -> str:
    """The shape of an array and, where it has numbers, its range; short arrays are written out.

    >>> array_summary([1.0, 0.25])
    '1, 0.25'
    >>> array_summary(np.linspace(0.0, 3.0, 50))
    '(50,) from 0 to 3'
    """
    array = np.asarray(values)
    if array.ndim <= 1 and array.size <= 8:
        return ", ".join(_number(value) for value in np.atleast_1d(array))
    if array.dtype.kind not in "fiu" or not array.size:
        return f"{array.shape} of {array.dtype}"
    finite = array[np.isfinite(array)]
    if not finite.size:
        return f"{array.shape} without a finite number"
    return f"{array.shape} from {_number(finite.min())} to {_number(finite.max())}"


def change(values: ArrayLike, name: str = "loss") -> str:
    """The first and the last of values in words; the times may be few, and the values not finite.

    >>> change([1.0, 0.5, 0.25]), change([]), change([2.0], "error")
    ('loss 1 → 0.25', '', 'error 2')
    """
    if not np.size(values):
        return ""
    ends = np.asarray(values, dtype=float).ravel()[[0, -1]]
    return f"{name} " + " → ".join(dict.fromkeys(f"{end:.4g}" for end in ends))


def _number(value: object) -> str:
    if isinstance(value, int | float | np.number):
        return f"{value:.5g}"
    return str(value)


def _cut(line: str) -> str:
    if len(line) <= LINE_LENGTH:
        return line
    return line[: LINE_LENGTH - 1] + "…"


def _wrapped(note: str) -> str:
    """A note on lines that fit."""
    return fill(
        " ".join(note.split()),
        width=LINE_LENGTH,
        initial_indent="  note: ",
        subsequent_indent="        ",
    )
