"""Figures of theory over simulation, for a paper: every one as vector PDF and as PNG."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ...runtime.files import AnyPath, make_folder, write_atomically
from ...runtime.progress import tracked
from ..evidence.claim import RunContext
from .linear_attention.context_lengths import varying_lengths
from .linear_attention.convergence_orders import (
    conservation,
    gradient_flow,
    growing_mode_order,
)
from .linear_attention.effective_maps import fixed_points
from .linear_attention.in_context import regression
from .linear_attention.in_weight_learning import in_weight
from .linear_attention.linear_networks import network
from .linear_attention.low_rank_heads import low_rank
from .linear_attention.merged import merged_general, merged_white
from .linear_attention.regression_along_training import predictor
from .linear_attention.replays import replay
from .linear_attention.separate import (
    separate_loss,
    separate_staircase,
    separate_weights,
)
from .linear_attention.softmax_drops import softmax
from .style import paper_style, write

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FIGURES: dict[str, Callable[[RunContext], "Figure"]] = {
    "conservation": conservation,
    "fixed_points": fixed_points,
    "gradient_flow": gradient_flow,
    "growing_mode_order": growing_mode_order,
    "in_weight": in_weight,
    "lengths": varying_lengths,
    "low_rank": low_rank,
    "merged_general": merged_general,
    "merged_white": merged_white,
    "network": network,
    "predictor": predictor,
    "regression": regression,
    "replay": replay,
    "separate_loss": separate_loss,
    "separate_staircase": separate_staircase,
    "separate_weights": separate_weights,
    "softmax": softmax,
}
"""Name → function of a `RunContext` that draws the figure."""

LONG = ("softmax",)
"""Figures whose runs take minutes: those of claims of the tier long."""

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
    chosen = _chosen(names)
    folder, context, files = make_folder(out), RunContext(make_folder(runs), seed), []
    with paper_style():
        for name in tracked(chosen, len(chosen), "drawing"):
            figure = FIGURES[name](context)
            for kind in FORMATS:
                files.append(
                    write_atomically(
                        folder / f"{name}.{kind}", partial(write, figure, kind=kind)
                    )
                )
    return files


def up_to(tier: str) -> list[str]:
    """Names of the figures whose runs the claims up to a tier make, or nearly.

    >>> "softmax" in up_to("standard"), "softmax" in up_to("long")
    (False, True)
    """
    if tier == "fast":
        return []
    return [name for name in FIGURES if tier != "standard" or name not in LONG]


def _chosen(names: Sequence[str]) -> list[str]:
    unknown = [name for name in names if name not in FIGURES]
    if unknown:
        raise ValueError(
            f"no figure is called {', '.join(unknown)}: there are {', '.join(FIGURES)}"
        )
    return list(names or FIGURES)
