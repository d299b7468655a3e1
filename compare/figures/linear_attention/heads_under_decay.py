"""Weight decay: what is learned against the decay, and which heads die."""

from typing import TYPE_CHECKING

import numpy as np

from ....models.attention import Merged, Separate
from ....models.effective_map import effective_map
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import GradientDescent, initial_weights, train
from ....theory import population
from ....theory.linear_attention import head_roots, largest_decay, merged_map
from ...claims.linear_attention.common.experiments import FOUR
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ...exact_statistics import population_statistics
from ..catalogue import paper_figure
from ..style import COLOURS, DASHES, PAGE, panel_titles, panels

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HEADS = Separate(heads=4)
SHARED = Merged(heads=3)
DEADLY = 0.017
"""The decay of the panel on heads that die: below what every direction bears."""

RATE = 0.4
STEPS = 1_500
SIMULATED = 8
"""Decays, and amplitudes at the start, at which descent is run."""


@paper_figure("weight_decay", paper="zhang2025", tier="fast")
def weight_decay(context: RunContext) -> "Figure":
    """Coefficients at rest against the decay, separate and merged, and which heads die of it."""
    figure, axes = panels(1, 3, (PAGE, 2.2))
    separate, merged, ends = axes[0]
    _draw_separate(separate)
    _draw_merged(merged, context)
    _draw_ends(ends)
    panel_titles(axes[0], ("separate", "merged", f"heads at $wd = {DEADLY}$"))
    return figure


def _draw_separate(ax: "Axes") -> None:
    """m_d of heads that start above their threshold, for decays beyond what the first direction bears."""
    moments = population(FOUR, HEADS)
    γ = 1 / moments.coefficients
    bounds = largest_decay(moments.b, γ)  # (4,)
    decays = np.linspace(0, 1.1 * bounds[0], 400)
    roots = head_roots(moments.b, γ, decays[:, None])
    start = initial_weights(HEADS, FOUR, np.full(4, 1.4), scheme="aligned")
    stated = np.nan_to_num(roots.stable) ** 3  # (decays, 4)
    _draw_coefficients(ax, decays, stated, (HEADS, start))
    ax.legend()


def _draw_merged(ax: "Axes", context: RunContext) -> None:
    """m_d of merged heads up to a decay at which nothing is left."""
    moments = population(FOUR, SHARED)
    largest = 2 * float(np.linalg.norm(moments.B))
    decays = np.linspace(0, 1.1 * largest, 200)
    e = moments.directions
    maps = np.array([merged_map(moments, decay) for decay in decays])
    stated = np.einsum("id,tij,jd->td", e, maps, e)
    start = initial_weights(
        SHARED, FOUR, 0.3, seeds(context.seed)[0], scheme="restricted"
    )
    _draw_coefficients(ax, decays, stated, (SHARED, start))


def _draw_coefficients(
    ax: "Axes",
    decays: FloatArray,
    stated: FloatArray,
    trained: tuple[Merged | Separate, Weights],
) -> None:
    """Stated coefficients (decays, 4) as lines, and what descent learns from the same start as circles."""
    model, start = trained
    simulated = np.linspace(0, decays[-1], SIMULATED)
    learned = np.array([_learned(model, start, decay) for decay in simulated])
    for d, colour in zip(range(4), COLOURS, strict=False):
        ax.plot(decays, stated[:, d], color=colour, linestyle=DASHES)
        label = f"$d = {d + 1}$"
        ax.plot(simulated, learned[:, d], "o", color=colour, label=label)
    ax.set(xlabel="weight decay $wd$", ylabel="coefficient $m_d$ at rest")


def _draw_ends(ax: "Axes") -> None:
    """The amplitude at rest against that at the start: 0 below the threshold of each direction."""
    moments = population(FOUR, HEADS)
    roots = head_roots(moments.b, 1 / moments.coefficients, DEADLY)
    sizes = np.geomspace(0.03, 1.6, SIMULATED)
    ends = np.array([_end(float(size)) for size in sizes])  # (sizes, 4)
    for d, colour in zip(range(4), COLOURS, strict=False):
        threshold, stable = roots.threshold[d], roots.stable[d]
        ax.plot(
            [0.03, threshold, threshold, 1.6],
            [0, 0, stable, stable],
            color=colour,
            linestyle=DASHES,
        )
        ax.plot(sizes, ends[:, d], "o", color=colour)
    ax.set(xscale="log", xlabel="amplitude $v_0$ at the start")
    ax.set_ylabel("amplitude $v$ at rest")


def _learned(model: Merged | Separate, start: Weights, decay: float) -> FloatArray:
    """e_dᵀ M e_d (4,) after long descent on unlimited data."""
    e = population(FOUR, model).directions
    M = effective_map(model, _descended(model, start, decay))
    return np.diag(e.T @ M @ e)


def _end(size: float) -> FloatArray:
    """Amplitudes (4,) of aligned heads of this size after long descent."""
    start = initial_weights(HEADS, FOUR, np.full(4, size), scheme="aligned")
    return np.asarray(_descended(HEADS, start, DEADLY)["value"][:, -1])


def _descended(model: Merged | Separate, start: Weights, decay: float) -> Weights:
    source = population_statistics(FOUR, model)
    optimizer = GradientDescent(RATE, weight_decay=decay)
    run = train(model, source, start, optimizer=optimizer, steps=STEPS, record=STEPS)
    return run.final
