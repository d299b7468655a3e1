"""Small line charts as SVG for notebooks: they need no library and take the text colour of the page around them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from .arrays import BoolArray, FloatArray, IndexArray

Style = Literal["solid", "dashed", "dotted", "points"]
"""Runs are solid and theory is dashed, as in every figure; what is measured at few places is drawn as points."""

WIDTH, HEIGHT = 420, 130
LEFT, RIGHT, TOP, BOTTOM = 62, 10, 20, 20
"""Pixels of the margins, which hold the ends of the axes, their names and the legend."""

SECTIONS = 100
"""Equal parts of the horizontal axis: a line keeps the least and the largest value of each, so that no peak is lost."""

LOG_RATIO = 1000.0
"""Largest over least value from which on values stand on a logarithmic axis: a linear one would show one decade."""

CROWDED = 0.05
"""Times that were spaced by their logarithm: half of them lie in this first part of a linear axis."""

MAX_LINES = 12
"""Lines of one chart: more of them cannot be told apart."""

MAX_NAMED = 3
"""Lines that a legend names: it has one row above the chart."""

LETTER = 6
"""Pixels that a letter takes on average, rounded up."""

_DASHES = {"dashed": ' stroke-dasharray="6 3"', "dotted": ' stroke-dasharray="1.5 3"'}

_NO_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML has no way to write."""


@dataclass(frozen=True, eq=False)
class Line:
    """Values `y` (T,) over `x` (T,), which need not be sorted; `label` names the line where there are several."""

    x: ArrayLike
    y: ArrayLike
    label: str = ""
    style: Style = "solid"


@dataclass(frozen=True, eq=False)
class LineChart:
    """Lines over one horizontal axis; `x` and `y` name the axes, `caption` says in words what one sees.

    >>> chart = LineChart((Line([0, 1, 2], [3.0, 1.0, 0.5]),), x="flow time", y="loss")
    >>> chart.as_svg()[:34]
    '<svg xmlns="http://www.w3.org/2000'
    """

    lines: Sequence[Line]
    x: str
    y: str
    caption: str = ""

    def as_svg(self) -> str:
        """The chart as one <svg> element, which is valid XML: text of any kind is escaped, and nothing is loaded.

        An axis is logarithmic where its values ask for it. What is not finite is left out, and the chart says so.
        ValueError for a line whose x and y differ in length.
        """
        courses = [_course(line) for line in self.lines[:MAX_LINES]]
        points = [points for _, points in courses if points.x.size]
        axes = _axes(points) if points else None
        notes = [*self._notes(), *([axes.note(self.x)] if axes else [])]
        parts = [_FRAME, *self._names([*filter(None, notes)])]
        if axes is None:
            parts.append(_text(_MIDDLE, HEIGHT / 2, "no finite value", "middle"))
        else:
            parts += axes.ends()
            for line, course in courses:
                parts += _drawn(axes.placed(course), line.style, self._has_theory)
        label = _escaped(f"{self.y} against {self.x}. {self.caption}".strip())
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{label}" '
            f'width="{WIDTH}" height="{HEIGHT}" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'style="max-width:100%;height:auto" font-family="sans-serif" font-size="11" fill="currentColor">'
            f"{''.join(parts)}</svg>"
        )

    @property
    def _has_theory(self) -> bool:
        return any(line.style == "dashed" for line in self.lines)

    def _notes(self) -> Iterator[str]:
        """What of the lines is not drawn."""
        if len(self.lines) > MAX_LINES:
            yield f"{MAX_LINES} of {len(self.lines)} lines"
        sizes = [np.size(line.y) for line in self.lines]
        finite = [_finite(line.x, line.y).sum() for line in self.lines]
        missing = sum(sizes) - int(sum(finite))
        if missing:
            yield f"{missing:,} of {sum(sizes):,} values not finite"

    def _names(self, notes: list[str]) -> Iterator[str]:
        """The names of the axes, what is not drawn, and the legend."""
        yield _text(LEFT, 12, self.y)
        yield _text(
            _MIDDLE, HEIGHT - 5, "; ".join([_cut(self.x, 40), *notes]), "middle"
        )
        named = [line for line in self.lines if line.label]
        if len(named) > MAX_NAMED:
            return
        right = float(WIDTH - RIGHT)
        for line in reversed(named):
            label = _cut(line.label, 24)
            yield _text(right, 12, label, "end")
            right -= LETTER * len(label) + 6
            yield from _sample(right - 22, line.style, self._has_theory)
            right -= 34


class Points(NamedTuple):
    """Finite points of a line by increasing x, and `goes_on`, whether it runs from each to the next; all (T,)."""

    x: FloatArray
    y: FloatArray
    goes_on: BoolArray

    def at(self, index: IndexArray) -> "Points":
        """Some of the points, in order; the line runs between two of them if it does all the way."""
        breaks = np.append(0, np.cumsum(~self.goes_on[:-1]))[index]
        goes_on = np.append(np.diff(breaks) == 0, False)[: len(index)]
        return Points(self.x[index], self.y[index], goes_on)


class Axis(NamedTuple):
    """From `low` to `high`, of values or, if `is_log`, of positive ones by their logarithm."""

    low: float
    high: float
    is_log: bool

    def place(self, values: FloatArray) -> FloatArray:
        """Where values lie on the axis, from 0 to 1; in the middle where all are equal."""
        ends = np.array([self.low, self.high])
        if self.is_log:
            values, ends = np.log(values), np.log(ends)
        # Halves first: the difference of two large doubles is beyond the largest.
        span = ends[1] / 2 - ends[0] / 2
        if span == 0:
            return np.full(values.shape, 0.5)
        return np.asarray((values / 2 - ends[0] / 2) / span)

    def names_of_ends(self) -> tuple[str, str]:
        """Both ends in as few digits as tell them apart."""
        for digits in (3, 4, 5, 6, 9):
            low, high = (_number(end, digits) for end in (self.low, self.high))
            if low != high:
                break
        return low, high


class Axes(NamedTuple):
    """Both axes; `is_cut`: values at and below 0 are left of a logarithmic one."""

    x: Axis
    y: Axis
    is_cut: bool

    def note(self, name: str) -> str:
        """What the horizontal axis leaves out."""
        return f"log axis, without {_cut(name, 20)} 0" if self.is_cut else ""

    def placed(self, course: Points) -> Points:
        """Points in pixels, as few as show the line."""
        if self.x.is_log:
            course = course.at(np.flatnonzero(course.x > 0))
        across, up = self.x.place(course.x), self.y.place(course.y)
        x = LEFT + across * (WIDTH - LEFT - RIGHT)
        y = HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)
        return Points(x, y, course.goes_on).at(_kept(across, up))

    def ends(self) -> Iterator[str]:
        """The numbers at both ends of both axes."""
        left, right = self.x.names_of_ends()
        yield _text(LEFT, HEIGHT - 5, left)
        yield _text(WIDTH - RIGHT, HEIGHT - 5, right, "end")
        low, high = self.y.names_of_ends()
        if self.y.low == self.y.high:
            yield _text(LEFT - 6, (TOP + HEIGHT - BOTTOM) / 2 + 4, low, "end")
            return
        yield _text(LEFT - 6, HEIGHT - BOTTOM + 1, low, "end")
        yield _text(LEFT - 6, TOP + 8, high, "end")
        if self.y.is_log:
            yield _text(LEFT - 6, (TOP + HEIGHT - BOTTOM) / 2 + 4, "log", "end")


_MIDDLE = (LEFT + WIDTH - RIGHT) / 2

_FRAME = (
    f'<path d="M{LEFT} {TOP}V{HEIGHT - BOTTOM}H{WIDTH - RIGHT}" '
    'fill="none" stroke="currentColor" stroke-opacity="0.5"/>'
)


def _finite(x: ArrayLike, y: ArrayLike) -> BoolArray:
    are_finite = [np.isfinite(np.asarray(values, dtype=float)) for values in (x, y)]
    return np.asarray(np.logical_and(*are_finite))


def _course(line: Line) -> tuple[Line, Points]:
    """The finite points of a line in order, broken where a value between them is not finite."""
    x, y = (np.asarray(values, dtype=float).ravel() for values in (line.x, line.y))
    if x.shape != y.shape:
        raise ValueError(
            f"a line needs as many x as y, not {len(x)} and {len(y)}: give one value for each"
        )
    order = np.argsort(x, kind="stable")
    x, y = x[order], y[order]
    finite = _finite(x, y)
    goes_on = np.append(finite[1:], False)[: len(x)][finite]
    return line, Points(x[finite], y[finite], goes_on)


def _axes(courses: Sequence[Points]) -> Axes:
    """Axes that hold all points."""
    x = np.concatenate([course.x for course in courses])
    y = np.concatenate([course.y for course in courses])
    positive = x[x > 0]
    across = _is_spaced_by_logarithm(x)
    is_cut = across and positive.size < x.size
    shown = y[x > 0] if across else y
    up = bool(shown.min() > 0 and shown.max() / LOG_RATIO >= shown.min())
    ends = positive if across else x
    return Axes(
        Axis(float(ends.min()), float(ends.max()), across),
        Axis(float(shown.min()), float(shown.max()), up),
        is_cut,
    )


def _is_spaced_by_logarithm(x: FloatArray) -> bool:
    """Whether times are positive, but for a first one at 0, and crowd at the left end of a linear axis."""
    positive = x[x > 0]
    if x.min() < 0 or positive.size < 5:
        return False
    return bool(np.median(positive) < CROWDED * positive.max())


def _kept(across: FloatArray, up: FloatArray) -> IndexArray:
    """Indices of the points that show a line: all of few, else its ends and both extremes of each section."""
    count = len(across)
    if count <= 2 * SECTIONS:
        return np.arange(count)
    sections = np.minimum(np.floor(across * SECTIONS), SECTIONS - 1)
    begins = np.flatnonzero(np.diff(sections, prepend=-1))
    kept = {0, count - 1}
    for begin, end in zip(begins, [*begins[1:], count], strict=True):
        section = up[begin:end]
        kept |= {int(begin + np.argmin(section)), int(begin + np.argmax(section))}
    return np.array(sorted(kept))


def _drawn(course: Points, style: Style, has_theory: bool) -> Iterator[str]:
    """The line in SVG: a path, and a dot for each point that has no neighbour."""
    comes_from = np.insert(course.goes_on, 0, False)[: len(course.x)]
    is_alone = ~(course.goes_on | comes_from) | (style == "points")
    letters = np.where(comes_from, "L", "M")
    path = "".join(
        f"{letter}{x:.1f} {y:.1f}"
        for letter, x, y, alone in zip(
            letters, course.x, course.y, is_alone, strict=True
        )
        if not alone
    )
    if path:
        yield f'<path d="{path}" {_stroke(style, has_theory)}/>'
    for x, y in zip(course.x[is_alone], course.y[is_alone], strict=True):
        yield f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2.5"/>'


def _stroke(style: Style, has_theory: bool) -> str:
    """How a line is drawn: a run that theory lies on is broad and pale, so that both are seen where they agree."""
    stroke = 'fill="none" stroke="currentColor" stroke-linejoin="round"'
    if style == "solid" and has_theory:
        return f'{stroke} stroke-width="3.5" stroke-opacity="0.4"'
    return f'{stroke} stroke-width="1.5"{_DASHES.get(style, "")}'


def _sample(left: float, style: Style, has_theory: bool) -> Iterator[str]:
    """A piece of a line in the legend."""
    if style == "points":
        yield f'<circle cx="{left + 11:.1f}" cy="8.5" r="2.5"/>'
    else:
        yield f'<path d="M{left:.1f} 8.5h20" {_stroke(style, has_theory)}/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}">{_escaped(text)}</text>'


def _escaped(text: str) -> str:
    return escape(_NO_XML.sub("\ufffd", text))


def _cut(text: str, letters: int) -> str:
    return text if len(text) <= letters else f"{text[: letters - 1]}…"


def _number(value: float, digits: int) -> str:
    """A number in so many digits, as it is read: whole ones below a million are written out.

    >>> _number(1.5e-8, 3), _number(2e10, 3), _number(16000.0, 3), _number(0.1234, 3)
    ('1.5e-8', '2e10', '16,000', '0.123')
    """
    if value == round(value) and 1 <= abs(value) < 1e6:
        return f"{value:,.0f}"
    return re.sub(r"e\+?(-?)0*(\d)", r"e\1\2", f"{value:.{digits}g}")
