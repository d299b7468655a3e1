"""The effective rank of what one layer learns, and its distance from what it ends with, while modes are learned."""

from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....simulate import flow
from ....theory.linear_transformer import mode_flow
from ...claims.linear_transformer.setting import head_weights, mode_task, one_head
from ...evidence.claim import RunContext
from ...exact_statistics import population_statistics
from ...metrics.spectra import distances_along, effective_rank, spectrum
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INPUTS = 2.0 ** -np.arange(6)
LENGTH = 10**9
SIZE = 1e-3
"""Of p q at the start, which is balanced."""

FIRST_TIME, LAST_TIME = 0.5, 15_000.0
RANKS = (1, 2, 3)
"""Of the subspaces."""


@paper_figure("mode_ranks", paper="mainali2025", tier="fast")
def mode_ranks(context: RunContext) -> "Figure":
    """The effective rank dips while modes are learned one by one, and leading subspaces are found one after another.

    Solid: gradient flow of all weights on unlimited prompts, six modes that halve, N so large that they do not couple;
    dashed: theory. (a) The effective rank of p q, from six equal values to 1.10 when the first mode alone is learned,
    and up, by a step for each later mode, to that of 1/s. (b) The distance of the k leading directions from those at
    the end: the slowest modes, of which most is learned, come last, and it falls only when they outgrow the others.
    """
    figure, axes = panels(1, 2, (PAGE, 2.4))
    rank_ax, distance_ax = axes[0]
    for ax in axes[0]:
        ax.set(xlabel="flow time", xscale="log", xlim=(FIRST_TIME, LAST_TIME))
    times = np.append(0.0, np.geomspace(FIRST_TIME, LAST_TIME, 400))
    run, theory = _run(times), _theory(times)
    spectra = [spectrum(products) for products in (run, theory)]
    simulated(rank_ax, times, effective_rank(spectra[0].values), color=COLOURS[0])
    predicted(rank_ax, times, effective_rank(spectra[1].values))
    rank_ax.set(ylabel="effective rank", ylim=(0.8, 6.2))
    for number, k in enumerate(RANKS):
        colour = COLOURS[number]
        measured, stated = (distances_along(each, k) for each in spectra)
        simulated(distance_ax, times, measured, color=colour, label=f"$k = {k}$")
        predicted(distance_ax, times, stated)
    distance_ax.set(ylabel="distance of the subspace", ylim=(-0.03, 1.25))
    distance_ax.legend(ncols=3, loc="upper left", columnspacing=1.0)
    panel_titles(axes[0], ["effective rank of $p\\,q$", "leading subspaces"])
    return figure


def _start() -> FloatArray:
    return np.full(len(INPUTS), np.sqrt(SIZE))


def _run(times: FloatArray) -> FloatArray:
    """p q (T, D, D) along gradient flow on the exact moments."""
    task = mode_task(INPUTS, LENGTH)
    model, D = one_head(task), task.dimension
    start = head_weights(task, _start(), _start())
    run = flow(model, population_statistics(task, model), start, times)
    p = run.weights["value"][:, 0, :, D:]
    return p @ run.weights["key_query"][:, 0, :D, :D]


def _theory(times: FloatArray) -> FloatArray:
    """diag(a) (T, D, D) by the exact flow of the modes."""
    task = mode_task(INPUTS, LENGTH)
    a = mode_flow(task, _start(), _start(), times).coefficients
    return a[:, :, None] * np.eye(len(INPUTS))
