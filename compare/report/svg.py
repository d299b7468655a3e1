"""The figure of a claim, drawn from its evidence: predicted over observed, and errors against the limit."""

import re
from collections.abc import Callable
from html import escape
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ..evidence.evidence import Curve, Fit
from ..evidence.verdict import Verdict
from ..figures.style import (
    COLOURS,
    line_legend,
    paper_style,
    predicted,
    reference_slope,
    simulated,
)
from ..ledger.formatting import anchor, number

if TYPE_CHECKING:
    from matplotlib.axes import Axes


SIZE = (3.25, 2.3)
"""Inches of one panel on paper; a page on a screen shows it larger."""

MARGINS = (0.19, 0.18, 0.79, 0.78)
"""Left, bottom, width and height of the axes, in shares of the panel: matplotlib would draw twice to find them."""

MAX_POINTS = 400
"""Most points of a curve: a panel is hardly wider in dots."""

MAX_MARKERS = 16
"""A curve of no more points shows each of them."""

MAX_NAMES = 6
"""A legend names no more curves than these, an axis no more values: more would hide the curves, or overlap."""

LOG_DECADES = 3
"""An axis is logarithmic if what it shows is positive and spans more than this."""


def drawings(verdict: Verdict) -> tuple[str, ...]:
    """The panels of the figure as <svg> elements; none if the evidence holds neither curves nor errors to draw.

    The same verdict gives the same text; its ids begin with that of the claim, so that many stand on one page.
    """
    evidence = verdict.evidence
    fit = evidence.fit
    panels = []
    if evidence.curves:
        panels.append(
            _panel(
                verdict,
                "curves",
                lambda ax: _draw_curves(ax, evidence.curves, evidence.axes),
            )
        )
    if fit is not None and np.any(_drawable(fit)):
        panels.append(_panel(verdict, "errors", lambda ax: _draw_errors(ax, fit)))
    return tuple(panels)


def _panel(verdict: Verdict, name: str, draw: Callable[["Axes"], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    prefix = f"{anchor(verdict.id)}-{name}"
    # The salt makes the ids that matplotlib invents depend on the claim alone, and not on chance.
    options: Any = {
        "svg.hashsalt": prefix,
        "font.family": ["STIXGeneral", "DejaVu Sans"],
    }
    no_metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with paper_style(), mpl.rc_context(options):
        figure = Figure(SIZE)
        draw(figure.add_axes(MARGINS))
        file = StringIO()
        figure.savefig(file, format="svg", transparent=True, metadata=no_metadata)
    label = f"{verdict.id}: {name}, as the caption says"
    return _inline(file.getvalue(), prefix, label)


def described(verdict: Verdict) -> str:
    """What the figure shows, in words: its caption."""
    sentences = []
    curves = verdict.evidence.curves
    if curves:
        names = [curve.name for curve in curves[:MAX_NAMES] if curve.name]
        hidden = len(curves) - MAX_NAMES
        more = f" and {hidden} more" if hidden > 0 else ""
        sentences.append(
            f"Observed (solid) and predicted (dashed): {', '.join(names) or 'curves'}{more}."
        )
    fit = verdict.evidence.fit
    if fit is not None and np.any(_drawable(fit)):
        slopes = f"slope {number(fit.slope, '.3f')}; the dashed line has slope {number(fit.expected)}"
        sentences.append(f"Errors against {fit.parameter}: {slopes}.")
    return " ".join(sentences)


def _draw_curves(ax: "Axes", curves: tuple[Curve, ...], names: tuple[str, str]) -> None:
    """Predicted over observed, on axes of these names."""
    all_x = np.concatenate([curve.x for curve in curves])
    sides = [values for curve in curves for values in (curve.predicted, curve.observed)]
    if _spans_decades(all_x):
        ax.set_xscale("log")
    if _spans_decades(np.concatenate(sides)):
        ax.set_yscale("log")
    for index, curve in enumerate(curves):
        _draw_curve(ax, curve, COLOURS[index % len(COLOURS)])
    ax.set(xlabel=_plain(names[0]), ylabel=_plain(names[1]))

    have_names = all(curve.name for curve in curves)
    if 1 < len(curves) <= MAX_NAMES and have_names:
        ax.legend()
    else:
        line_legend(ax, "observed", "predicted")


def _draw_curve(ax: "Axes", curve: Curve, colour: str) -> None:
    count = min(len(curve.x), MAX_POINTS)
    chosen = np.unique(np.linspace(0, len(curve.x) - 1, count).round().astype(int))
    x, prediction, observation = (
        np.asarray(values, dtype=float)[chosen]
        for values in (curve.x, curve.predicted, curve.observed)
    )
    marker = "o" if len(x) <= MAX_MARKERS else ""
    simulated(
        ax,
        x,
        observation,
        label=_plain(curve.name),
        color=colour,
        marker=marker,
        linewidth=2,
    )
    predicted(ax, x, prediction)


def _draw_errors(ax: "Axes", fit: Fit) -> None:
    """Errors against the parameter of the limit, and a line of the expected slope through their middle."""
    drawable = _drawable(fit)
    x = np.array(fit.values)[drawable]
    errors = np.array(fit.errors)[drawable]
    ax.set(xscale="log", yscale="log", xlabel=_plain(fit.parameter), ylabel="error")
    places = np.unique(x)
    # The names that matplotlib gives to a few values within one decade overlap.
    if len(places) <= MAX_NAMES:
        ax.set_xticks(places, [number(value) for value in places])
        ax.set_xticks([], minor=True)
    label = f"observed, slope {number(fit.slope, '.3f')}"
    ax.plot(x, errors, "o", color=COLOURS[0], label=label)
    _draw_expected_slope(ax, fit.expected, x, errors)
    ax.legend()


def _draw_expected_slope(
    ax: "Axes", slope: float, x: FloatArray, errors: FloatArray
) -> None:
    """A line of this slope through the middle of the errors (K,), on logarithmic axes."""
    ends = np.array([x.min(), x.max()])
    middle_x = np.exp(np.mean(np.log(x)))
    middle_error = np.exp(np.mean(np.log(errors)))
    reference_slope(ax, ends, middle_error * (ends / middle_x) ** slope)
    ax.lines[-1].set_label(f"slope {number(slope)}")


def _drawable(fit: Fit) -> NDArray[np.bool_]:
    """Which errors a logarithmic axis can show."""
    pairs = np.array([fit.values, fit.errors])
    return np.asarray(np.all(np.isfinite(pairs) & (pairs > 0), axis=0))


def _spans_decades(values: FloatArray) -> bool:
    """Whether the finite values are positive and span enough decades for a logarithmic axis."""
    finite = values[np.isfinite(values)]
    if not len(finite) or finite.min() <= 0:
        return False
    return bool(finite.max() > 10**LOG_DECADES * finite.min())


def _plain(text: str) -> str:
    """Text in which matplotlib finds no formula: what a claim says is never trusted as markup."""
    return text.replace("$", r"\$")


def _inline(svg: str, prefix: str, label: str) -> str:
    """The element alone: ids of its own or none, black as the colour of the text around it, named for readers."""
    svg = svg[svg.index("<svg") :]
    clutter = r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<style.*?</style>\s*"
    svg = re.sub(clutter, "", svg, flags=re.DOTALL)

    # Paths to hundredths of a point: finer than any screen, and the page is half as long.
    svg = re.sub(r' d="[^"]*"', lambda path: _hundredths(path[0]), svg)

    # Only ids that something refers to are needed, and they must differ from those of other figures.
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(
        r' id="([^"]+)"',
        lambda match: f' id="{prefix}-{match[1]}"' if match[1] in used else "",
        svg,
    )
    svg = re.sub(r'(href="|url\()#', lambda match: f"{match[1]}#{prefix}-", svg)
    svg = svg.replace("#000000", "currentColor").replace("xlink:href", "href")
    opening = f'<svg role="img" aria-label="{escape(label)}"'
    return svg.replace("<svg", opening, 1).strip()


def _hundredths(path: str) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", path)
