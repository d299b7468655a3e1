"""Figures of theory over simulation, for a paper: every one as vector PDF and as PNG."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from ...runtime.files import AnyPath, make_folder, write_atomically
from ...runtime.progress import with_progress
from ..evidence.claim import TIERS, RunContext
from .catalogue import PaperFigure, all_figures, paper_figure
from .style import COLUMN, PAGE, paper_style, write

__all__ = [
    "COLUMN",
    "PAGE",
    "PaperFigure",
    "all_figures",
    "draw",
    "figures_up_to",
    "paper_figure",
    "paper_style",
]

FORMATS = ("pdf", "png")


def draw(
    names: Sequence[str] = (), *, out: AnyPath, runs: AnyPath, seed: int = 0
) -> list[Path]:
    """Draw figures by name, all in alphabetical order if none is named, into the folder `out`; returns the files.

    Runs are read from the folder `runs`, or simulated and written there; `seed` is the base of their seeds. The
    same runs give the same bytes. ValueError lists the names that exist; OSError if a folder cannot be written.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in draw(["growing_mode_order"], out=folder, runs=folder)]
    ['growing_mode_order.pdf', 'growing_mode_order.png']
    """
    chosen = _figures_named(names)
    folder, context, files = make_folder(out), RunContext(make_folder(runs), seed), []
    with paper_style():
        for figure in with_progress(chosen, len(chosen), "drawing"):
            drawn = figure(context)
            for kind in FORMATS:
                path = folder / f"{figure.name}.{kind}"
                files.append(write_atomically(path, partial(write, drawn, kind=kind)))
    return files


def figures_up_to(tier: str) -> list[str]:
    """Names of the figures whose runs the claims up to a tier make, or nearly.

    >>> "softmax" in figures_up_to("standard"), "softmax" in figures_up_to("long")
    (False, True)
    """
    return [
        name
        for name, figure in all_figures().items()
        if TIERS.index(figure.tier) <= TIERS.index(tier)
    ]


def _figures_named(names: Sequence[str]) -> list[PaperFigure]:
    figures = all_figures()
    unknown = [name for name in names if name not in figures]
    if unknown:
        raise ValueError(
            f"no figure is called {', '.join(unknown)}: there are {', '.join(figures)}"
        )
    return [figures[name] for name in names or figures]
