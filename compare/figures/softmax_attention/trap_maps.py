"""The trap of one sign: which starts of two heads end where one head does, and how often random starts do."""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.softmax_attention import (
    is_trapped,
    reduced_flow,
    trap_probability,
)
from ...claims.softmax_attention.setting import PUBLISHED
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, panel_titles, panels, predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZES_OF_LARGER = np.linspace(0.002, 0.01, 5)
"""ω of the larger of two heads at the start; μ is √D times as large."""

HALVINGS = 7
"""Of the interval in which the ratio of the smaller ω to the larger one parts the outcomes: off by 0.4 % at most."""

SETTLED = 300.0
"""Flow time at which the loss tells where a start ends."""

SIZES = (1e-1, 1e-2, 1e-4, 1e-8)
"""Sizes of random starts."""

RANDOM_STARTS = 400
"""Random starts of each size and number of heads: the standard error of a share is 0.025 at most."""


@paper_figure("softmax_trap", paper="he2025")
def softmax_trap(context: RunContext) -> "Figure":
    """Where heads end on the approximate loss by their signs at the start, and how often all end with one sign.

    (a) Two heads that start at ω_h, μ_h = √D ω_h: whether they end with both signs (light) or stop at the loss of one
    head (dark), as five sizes of the larger head show. Dashed: the quadrants; starts of one sign whose sizes differ
    enough end with both signs. (b) Share of
    random starts of H heads that end in the trap, full marks with ρ = 1 and open ones with ρ = 1/D; dashed:
    2^(1 − H), the share that starts with one sign.
    """
    figure, axes = panels(1, 2, (PAGE, 2.7))
    map_ax, share_ax = axes[0]
    _draw_map(map_ax)
    _draw_shares(share_ax, context)
    panel_titles(axes[0], ["two heads", "random starts"])
    return figure


def _draw_map(ax: "Axes") -> None:
    """The starts that end in the trap, dark; the other sign and the other order of the heads end alike."""
    largest = SIZES_OF_LARGER[-1]
    smaller = SIZES_OF_LARGER * [_parting_ratio(size) for size in SIZES_OF_LARGER]
    side = np.column_stack([SIZES_OF_LARGER, smaller])
    # From 0 along one side to the corner, and back along the other, with the heads exchanged.
    corner = [[largest, largest]]
    outline = np.concatenate([[[0, 0]], side, corner, side[::-1, ::-1]])
    dark, light = "#1b69af", "#e9f1fa"
    ax.set_facecolor(light)
    for sign in (1, -1):
        ax.fill(*(sign * outline).T, color=dark, linewidth=0)
    for line in (ax.axhline, ax.axvline):
        line(0, color="black", linestyle=DASHES, linewidth=0.7)
    names = {(0.65, 0.65): ("trapped", "white"), (-0.5, 0.5): ("both signs", "black")}
    for (x, y), (name, colour) in names.items():
        for sign in (1, -1):
            place = (sign * x * largest, sign * y * largest)
            ax.text(*place, name, ha="center", va="center", color=colour)
    ticks = [-largest, 0, largest]
    ax.set(xticks=ticks, yticks=ticks, aspect="equal")
    ax.set(xlim=(-largest, largest), ylim=(-largest, largest))
    ax.set(xlabel=r"$\omega_1$ at the start", ylabel=r"$\omega_2$ at the start")


def _parting_ratio(larger: float) -> float:
    """ω₂/ω₁ above which two heads of one sign end in the trap: equal heads do, and one that starts at 0 crosses."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        if _ends_trapped(np.array([larger, middle * larger])):
            high = middle
        else:
            low = middle
    return (low + high) / 2


def _ends_trapped(omega: FloatArray) -> bool:
    """Whether two heads come to the loss of one."""
    mu = math.sqrt(PUBLISHED.dimension) * omega
    flow = reduced_flow(PUBLISHED, omega, mu, [SETTLED], loss="approximate")
    return is_trapped(PUBLISHED, float(flow.loss[-1]))


def _draw_shares(ax: "Axes", context: RunContext) -> None:
    """Shares of random starts that end in the trap against their size, in both metrics."""
    sizes = np.array(SIZES)
    for heads, colour, mark in zip((2, 3, 4), COLOURS, "os^", strict=False):
        for metric, filled in (("euclidean", "full"), ("matrix", "none")):
            found = [
                trap_probability(
                    PUBLISHED,
                    heads,
                    size,
                    metric=metric,
                    starts=RANDOM_STARTS,
                    seed=seeds(context.seed)[0],
                )
                for size in SIZES
            ]
            style: dict[str, Any] = {"color": colour, "fillstyle": filled}
            shares = [each.probability for each in found]
            label = f"$H = {heads}$" if filled == "full" else None
            ax.plot(sizes, shares, mark, label=label, **style)
        limit = np.full(len(SIZES), 2.0 ** (1 - heads))
        predicted(ax, sizes, limit, color=colour)
    ax.set(xscale="log", xlabel="size of the start", ylabel="share in the trap")
    ax.set(ylim=(-0.02, 0.62), xlim=(3e-9, 0.3))
    for metric, filled in ((r"$\rho = 1$", "full"), (r"$\rho = 1/D$", "none")):
        ax.plot([], [], "o", color="0.4", fillstyle=filled, label=metric)
    ax.legend(loc="upper center", ncols=5, columnspacing=0.8, handletextpad=0.1)
