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
"""Left, bottom, width and height of the axes, in shares of the panel."""

POINTS = 400
"""Most points of a curve: a panel is hardly wider in dots."""

FEW = 16
"""A curve of no more points shows each of them."""

NAMED = 6
"""A legend names no more curves than these, an axis no more values."""

DECADES = 3
"""An axis is logarithmic if what it shows is positive and spans more than this."""


def drawings(verdict: Verdict) -> tuple[str, ...]:
    """The panels of the figure as <svg> elements; none if the evidence holds neither curves nor errors to draw.

    The same verdict gives the same text; its ids begin with that of the claim, so that many stand on one page.
    """
    fit, found = verdict.evidence.fit, []
    if verdict.evidence.curves:
        found.append(
            _panel(
                verdict,
                "curves",
                lambda ax: _curves(ax, verdict.evidence.curves, verdict.evidence.axes),
            )
        )
    if fit is not None and np.any(_drawable(fit)):
        found.append(_panel(verdict, "errors", lambda ax: _errors(ax, fit)))
    return tuple(found)


def _panel(verdict: Verdict, name: str, draw: Callable[["Axes"], None]) -> str:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    prefix = f"{anchor(verdict.id)}-{name}"
    options: Any = {
        "svg.hashsalt": prefix,
        "font.family": ["STIXGeneral", "DejaVu Sans"],
    }
    with paper_style(), mpl.rc_context(options):
        figure = Figure(
            SIZE
        )  # with margins that fit: to find them, matplotlib would draw twice
        draw(figure.add_axes(MARGINS))
        file = StringIO()
        nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    return _inline(
        file.getvalue(), prefix, f"{verdict.id}: {name}, as the caption says"
    )


def described(verdict: Verdict) -> str:
    """What the figure shows, in words: its caption."""
    words = []
    if verdict.evidence.curves:
        names = ", ".join(
            curve.name for curve in verdict.evidence.curves[:NAMED] if curve.name
        )
        more = (
            f" and {len(verdict.evidence.curves) - NAMED} more"
            if len(verdict.evidence.curves) > NAMED
            else ""
        )
        words.append(
            f"Observed (solid) and predicted (dashed): {names or 'curves'}{more}."
        )
    if verdict.evidence.fit is not None and np.any(_drawable(verdict.evidence.fit)):
        fit = verdict.evidence.fit
        slopes = f"slope {number(fit.slope, '.3f')}; the dashed line has slope {number(fit.expected)}"
        words.append(f"Errors against {fit.parameter}: {slopes}.")
    return " ".join(words)


def _curves(ax: "Axes", curves: tuple[Curve, ...], names: tuple[str, str]) -> None:
    if _is_wide(np.concatenate([curve.x for curve in curves])):
        ax.set_xscale("log")
    if _is_wide(
        np.concatenate([(*curve.predicted, *curve.observed) for curve in curves])
    ):
        ax.set_yscale("log")
    for index, curve in enumerate(curves):
        x, said, seen = _thinned(curve)
        style = {
            "color": COLOURS[index % len(COLOURS)],
            "marker": "o" if len(x) <= FEW else "",
            "linewidth": 2,
        }
        simulated(ax, x, seen, label=_plain(curve.name), **style)
        predicted(ax, x, said)
    ax.set(xlabel=_plain(names[0]), ylabel=_plain(names[1]))
    if 1 < len(curves) <= NAMED and all(curve.name for curve in curves):
        ax.legend()
    else:
        line_legend(ax, "observed", "predicted")


def _errors(ax: "Axes", fit: Fit) -> None:
    there = _drawable(fit)
    x, errors = np.array(fit.values)[there], np.array(fit.errors)[there]
    ax.set(xscale="log", yscale="log", xlabel=_plain(fit.parameter), ylabel="error")
    if len(np.unique(x)) <= NAMED:  # which matplotlib would name so that they overlap
        ax.set_xticks(np.unique(x), [number(value) for value in np.unique(x)])
        ax.set_xticks([], minor=True)
    ax.plot(
        x,
        errors,
        "o",
        color=COLOURS[0],
        label=f"observed, slope {number(fit.slope, '.3f')}",
    )
    ends = np.array([x.min(), x.max()])
    middle = np.exp(np.mean(np.log(x)))
    reference_slope(
        ax, ends, np.exp(np.mean(np.log(errors))) * (ends / middle) ** fit.expected
    )
    ax.lines[-1].set_label(f"slope {number(fit.expected)}")
    ax.legend()


def _drawable(fit: Fit) -> NDArray[np.bool_]:
    """Which errors a logarithmic axis can show."""
    pairs = np.array([fit.values, fit.errors])
    return np.asarray(np.all(np.isfinite(pairs) & (pairs > 0), axis=0))


def _is_wide(values: FloatArray) -> bool:
    finite = values[np.isfinite(values)]
    return (
        len(finite) > 0
        and finite.min() > 0
        and bool(finite.max() > 10**DECADES * finite.min())
    )


def _thinned(curve: Curve) -> list[FloatArray]:
    """x, predicted and observed at no more than POINTS places."""
    chosen = np.unique(
        np.linspace(0, len(curve.x) - 1, min(len(curve.x), POINTS)).round().astype(int)
    )
    return [
        np.asarray(values, dtype=float)[chosen]
        for values in (curve.x, curve.predicted, curve.observed)
    ]


def _plain(text: str) -> str:
    return text.replace("$", r"\$")


def _inline(svg: str, prefix: str, label: str) -> str:
    """The element alone: ids of its own or none, black as the colour of the text around it, named for readers."""
    clutter = r"<!--.*?-->\s*|<metadata>.*?</metadata>\s*|<style.*?</style>\s*"
    svg = re.sub(clutter, "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(
        r' d="[^"]*"', lambda path: re.sub(r"(\.\d\d)\d+", r"\1", path[0]), svg
    )  # hundredths of a point
    used = set(re.findall(r'(?:href="|url\()#([^")]+)', svg))
    svg = re.sub(
        r' id="([^"]+)"',
        lambda m: f' id="{prefix}-{m[1]}"' if m[1] in used else "",
        svg,
    )
    svg = re.sub(r'(href="|url\()#', lambda m: f"{m[1]}#{prefix}-", svg)
    svg = svg.replace("#000000", "currentColor").replace("xlink:href", "href")
    return svg.replace(
        "<svg", f'<svg role="img" aria-label="{escape(label)}"', 1
    ).strip()
