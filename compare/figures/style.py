"""The style of figures: sizes of a paper's columns, colours for every eye, theory dashed over simulation solid."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


COLUMN, PAGE = 3.25, 6.75
"""Width in inches of a column and of a page of two."""

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
    "#7F7F7F",
    "#8C510A",
    "#332288",
)
"""Colours that every eye distinguishes. Source: Okabe and Ito 2008; the last three are added."""

POINTS = 3000
"""Most points of a line: more than a page can show."""

DASHES = (0, (4, 2))
"""Lengths of dash and gap of every line of the theory."""

_PAPER: dict[str, Any] = {
    "font.family": "STIXGeneral",
    "mathtext.fontset": "stix",
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "legend.handlelength": 1.7,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "lines.linewidth": 1.2,
    "lines.markersize": 3.5,
    "savefig.dpi": 300,
    "pdf.fonttype": 42,
}


@contextmanager
def paper_style() -> Iterator[None]:
    """Matplotlib's defaults with this style over them, whatever the user has set, until the block ends."""
    import matplotlib as mpl

    with mpl.rc_context():
        # A style file of the user must not change a figure.
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _PAPER))
        yield


def panels(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple["Figure", NDArray[Any]]:
    """A figure of this size in inches, and its axes (rows, columns); `options` are those of `Figure.subplots`."""
    from matplotlib.figure import Figure

    # No pyplot: a figure of its own belongs to no window and needs no closing.
    figure = Figure(size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def write(figure: "Figure", file: BinaryIO, kind: str) -> None:
    """Write the figure as "pdf" or "png"; the same figure always gives the same bytes."""
    # The date and the version of the library would change the bytes.
    metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    figure.savefig(file, format=kind, metadata=metadata)


def simulated(ax: "Axes", x: FloatArray, y: FloatArray, **style: Any) -> None:
    """A solid line."""
    ax.plot(
        *thinned(ax, x, y),
        zorder=2,
        **style,
    )


def predicted(ax: "Axes", x: FloatArray, y: FloatArray, **style: Any) -> None:
    """A dashed line over the solid ones."""
    defaults: dict[str, Any] = {
        "linestyle": DASHES,
        "color": "black",
        "linewidth": 0.9,
        "zorder": 3,
    }
    ax.plot(*thinned(ax, x, y), **defaults | style)


def thinned(ax: "Axes", x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    """At most `POINTS` points of a long curve, evenly over the width of the axes; on a log axis without x = 0.

    >>> from matplotlib.figure import Figure
    >>> ax = Figure().add_subplot(xscale="log")
    >>> thinned(ax, np.arange(10.0), np.arange(10.0))[0][0]
    np.float64(1.0)
    """
    is_logarithmic = ax.get_xscale() == "log"
    if is_logarithmic:
        positive = x > 0
        x, y = x[positive], y[positive]
    if len(x) <= POINTS:
        return x, y

    spread = np.geomspace if is_logarithmic else np.linspace
    # Points are dense where the axis shows them: evenly in log x on a logarithmic axis.
    places = spread(x[0], x[-1], POINTS)
    indices = np.searchsorted(x, places).clip(0, len(x) - 1)
    chosen = np.unique(indices)
    return x[chosen], y[chosen]


def plateau_lines(
    ax: "Axes",
    losses: Sequence[float] | FloatArray,
    names: Sequence[str],
    side: str = "left",
) -> None:
    """A dashed line at each predicted plateau, named above the line at one end, the lowest below it."""
    # The end of the line in parts of the axes, and the shift of the name from it in points.
    x, shift = {"left": (0, 2), "right": (1, -2)}[side]
    place: dict[str, Any] = {
        "xycoords": ("axes fraction", "data"),
        "textcoords": "offset points",
        "ha": side,
        "fontsize": 7,
    }
    # The name of the lowest line stands below it, where no curve passes.
    for loss, name in zip(map(float, losses), names, strict=True):
        ax.axhline(
            loss,
            color="0.4",
            linestyle=DASHES,
            linewidth=0.6,
            zorder=1,
        )
        if name == names[-1]:
            ax.annotate(
                name,
                (x, loss),
                (shift, -2),
                va="top",
                **place,
            )
        else:
            ax.annotate(
                name,
                (x, loss),
                (shift, 1),
                va="bottom",
                **place,
            )


def reference_slope(ax: "Axes", x: FloatArray, y: FloatArray) -> None:
    """A dashed curve `y` (K,): the order at which the errors should fall with x (K,)."""
    ax.plot(
        x,
        y,
        color="black",
        linestyle=DASHES,
        linewidth=0.9,
        zorder=3,
    )


def panel_titles(axes: Sequence["Axes"], titles: Sequence[str]) -> None:
    """Titles of axes, numbered (a), (b), …"""
    for ax, letter, title in zip(axes, ascii_lowercase, titles, strict=False):
        ax.set_title(f"({letter}) {title}", loc="left")


def line_legend(ax: "Axes", observed: str, expected: str, **place: Any) -> None:
    """A legend of two entries: what the solid lines are, and what the dashed ones are."""
    from matplotlib.lines import Line2D

    solid = Line2D([], [], color="0.5")
    dashed = Line2D(
        [],
        [],
        color="black",
        linestyle=DASHES,
        linewidth=0.9,
    )
    ax.legend([solid, dashed], [observed, expected], **place)


def shaded(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with a share of white, or of black if the share is negative.

    >>> shaded("#0000FF", 0.5), shaded("#0000FF", -0.5)
    ((0.5, 0.5, 1.0), (0.0, 0.0, 0.5))
    """
    from matplotlib.colors import to_rgb

    white_or_black = 1.0 if share > 0 else 0.0
    weight = abs(share)
    red, green, blue = (
        (1 - weight) * channel + weight * white_or_black for channel in to_rgb(colour)
    )
    return red, green, blue
