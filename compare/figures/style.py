"""How figures look: sizes of a paper's columns, colours for every eye, theory dashed over simulation solid."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
"""Told apart by every eye. Source: Okabe and Ito 2008; the last three are added."""

POINTS = 3000
"""Most points of a line: more than a page can show."""

DASHES = (0, (4, 2))
"""Lengths of dash and gap of whatever the theory says."""

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
        mpl.rcdefaults()
        mpl.rcParams.update(cast(Any, _PAPER))
        yield


def panels(
    rows: int, columns: int, size: tuple[float, float], **options: Any
) -> tuple["Figure", NDArray[Any]]:
    """A figure of this size in inches, and its axes (rows, columns); `options` are those of `Figure.subplots`."""
    from matplotlib.figure import Figure

    figure = Figure(size, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def write(figure: "Figure", file: BinaryIO, kind: str) -> None:
    """Write the figure as "pdf" or "png"; the same figure always gives the same bytes."""
    metadata = {"pdf": {"CreationDate": None}, "png": {"Software": None}}[kind]
    figure.savefig(file, format=kind, metadata=metadata)


def simulated(ax: "Axes", x: FloatArray, y: FloatArray, **style: Any) -> None:
    """A solid line."""
    ax.plot(*thinned(ax, x, y), zorder=2, **style)


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
    logarithmic = ax.get_xscale() == "log"
    x, y = (x[x > 0], y[x > 0]) if logarithmic else (x, y)
    if len(x) <= POINTS:
        return x, y
    spread = np.geomspace if logarithmic else np.linspace
    chosen = np.unique(
        np.searchsorted(x, spread(x[0], x[-1], POINTS)).clip(0, len(x) - 1)
    )
    return x[chosen], y[chosen]


def levels(
    ax: "Axes",
    losses: Sequence[float] | FloatArray,
    names: Sequence[str],
    side: str = "left",
) -> None:
    """A dashed line at each predicted plateau, named above the line at one end, the lowest below it."""
    x, shift = {"left": (0, 2), "right": (1, -2)}[side]
    for loss, name in zip(losses, names, strict=True):
        ax.axhline(float(loss), color="0.4", linestyle=DASHES, linewidth=0.6, zorder=1)
        up = name != names[-1]
        place: dict[str, Any] = {
            "xycoords": ("axes fraction", "data"),
            "textcoords": "offset points",
            "ha": side,
            "fontsize": 7,
        }
        ax.annotate(
            name,
            (x, float(loss)),
            (shift, 1 if up else -2),
            va="bottom" if up else "top",
            **place,
        )


def order(ax: "Axes", x: FloatArray, y: FloatArray) -> None:
    """A dashed curve `y` (K,) that shows at which order the errors should fall with x (K,)."""
    ax.plot(x, y, color="black", linestyle=DASHES, linewidth=0.9, zorder=3)


def letter(axes: Sequence["Axes"], titles: Sequence[str]) -> None:
    """Title the axes (a), (b), … and what they show."""
    for index, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        ax.set_title(f"({chr(ord('a') + index)}) {title}", loc="left")


def key(ax: "Axes", observed: str, expected: str, **place: Any) -> None:
    """A legend that says only what solid and dashed lines are."""
    from matplotlib.lines import Line2D

    lines = [
        Line2D([], [], color="0.5"),
        Line2D([], [], color="black", linestyle=DASHES, linewidth=0.9),
    ]
    ax.legend(lines, [observed, expected], **place)


def shaded(colour: str, share: float) -> tuple[float, float, float]:
    """The colour mixed with a share of white, or of black if the share is negative.

    >>> shaded("#0000FF", 0.5), shaded("#0000FF", -0.5)
    ((0.5, 0.5, 1.0), (0.0, 0.0, 0.5))
    """
    from matplotlib.colors import to_rgb

    end = 1.0 if share > 0 else 0.0
    red, green, blue = (
        (1 - abs(share)) * part + abs(share) * end for part in to_rgb(colour)
    )
    return red, green, blue
