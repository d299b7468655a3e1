"""The style of the gallery's figures: colours for every eye, and lines that can be seen in a thumbnail."""

from typing import Any

COLOURS = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#CC79A7",
    "#E69F00",
    "#56B4E9",
)
"""Okabe and Ito 2008, in an order in which neighbours differ in lightness too."""

STYLE: dict[str, Any] = {
    # As wide to high as a thumbnail, which then needs no margins.
    "figure.figsize": (6.4, 4.0),
    "figure.constrained_layout.use": True,
    "font.size": 13,
    "axes.titlesize": 13,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "lines.linewidth": 3.0,
    "lines.markersize": 7,
    # The theory is drawn dashed over a run: the dashes must be short enough for a steep drop.
    "lines.dashed_pattern": (2.6, 1.6),
    "savefig.dpi": 100,
    "svg.hashsalt": "attndyn",
}


def reset(gallery: object = None, script: object = None) -> None:
    """Set matplotlib to its defaults with the style of the gallery; sphinx-gallery calls it before every script."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.rcdefaults()
    mpl.use("agg")
    mpl.rcParams.update(STYLE)
    mpl.rcParams["axes.prop_cycle"] = cycler(color=COLOURS)
