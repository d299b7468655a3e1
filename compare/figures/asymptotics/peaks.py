"""Double descent of the ridge read-out over the number of sequences."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ....runtime.arrays import FloatArray
from ....theory.asymptotics import errors
from ...claims.asymptotics.equivalents_of_settings import equivalent_of
from ...claims.asymptotics.published_runs import (
    THRESHOLD,
    THRESHOLD_DIMENSION,
    THRESHOLD_NOISE,
    THRESHOLD_SETS,
)
from ...claims.asymptotics.readout_runs import Ratios, Setting, fitted_errors
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DIMENSION = 32
SETS = 10
TAUS = (0.2, 0.35, 0.5, 0.7, 0.85, 0.95, 1.05, 1.15, 1.3, 1.5, 2.0)
ALPHAS = (1.0, 10.0, 100.0)
KAPPA, NOISE, RIDGE = 0.5, 0.01, 1e-5
"""As published, where D is 100."""
RIDGES = {1e-5: r"$10^{-5}$", 0.1: "0.1", 1.0: "1"}
"""Of the last panel, where every sequence has a new task and α = 10."""

LINE = np.linspace(0.15, 2.1, 391)
"""τ of lines; none of them is 1, where the error is largest."""
LINE_AT_SIZE = np.append(np.linspace(0.15, 0.975, 23), np.linspace(1.025, 2.1, 23))
"""τ of lines at the size of the data sets, on both sides of the peak."""
POOLS = 20
"""Pools of tasks over which the equivalent is averaged: its scatter is a tenth of that of data sets."""


@paper_figure("double_descent", paper="lu2025")
def double_descent(context: RunContext) -> "Figure":
    """Errors of the ridge read-out against τ = P/(D(D+1)) at κ = 1/2, ρ = 0.01, λ = 1e-5, as published.

    (a)–(c) Contexts of αD tokens: e_ICL on new tasks and e_IDG on the training tasks, as D → ∞ (dashed), from the
    equivalent at D = 32 (dotted), of drawn data sets at D = 32 (points, with standard deviations over ten), and as
    published at D = 100 (open, at two α). At finite D both errors are larger than in the limit, most near the peak,
    and the equivalent has a part of that. (d) Three ridges at α = 10 with a new task in every sequence: a ridge takes
    the peak away.
    """
    figure, axes = panels(2, 2, (PAGE, 4.6), sharex=True)
    flat = list(axes.flat)
    for ax, alpha in zip(flat, ALPHAS, strict=False):
        _draw_errors(ax, alpha, context)
    _draw_ridges(flat[-1], context)
    flat[0].legend(loc="upper right")
    titles = [f"α = {alpha:g}, κ = {KAPPA:g}" for alpha in ALPHAS]
    panel_titles(flat, [*titles, r"α = 10, κ = ∞, $e_\mathrm{ICL}$"])
    for ax in axes[-1]:
        ax.set_xlabel("τ")
    return figure


def _draw_errors(ax: "Axes", alpha: float, context: RunContext) -> None:
    """Both errors at one α: the limit, data sets, and what was published."""
    limit = errors(tau=LINE, alpha=alpha, kappa=KAPPA, noise=NOISE, ridge=RIDGE)
    predicted(ax, LINE, limit.icl, color=COLOURS[0])
    predicted(ax, LINE, limit.idg, color=COLOURS[1])
    _draw_equivalents(ax, alpha)
    settings = [
        Setting.of_ratios(DIMENSION, Ratios(tau, alpha, KAPPA, NOISE), RIDGE)
        for tau in TAUS
    ]
    drawn = [fitted_errors(setting, context.seeds(SETS)) for setting in settings]
    used = [setting.ratios.tau for setting in settings]
    for name, label, colour in (
        ("icl", r"$e_\mathrm{ICL}$, new tasks", COLOURS[0]),
        ("idg", r"$e_\mathrm{IDG}$, training tasks", COLOURS[1]),
    ):
        _points(ax, used, [getattr(each, name) for each in drawn], colour, label)
    _draw_published(ax, alpha)
    ax.set(yscale="log", ylabel="error")


def _draw_equivalents(ax: "Axes", alpha: float) -> None:
    """Both errors from the equivalent at the size of the data sets, on each side of the peak."""
    settings = [
        Setting.of_ratios(DIMENSION, Ratios(float(tau), alpha, KAPPA, NOISE), RIDGE)
        for tau in LINE_AT_SIZE
    ]
    taus = np.array([setting.ratios.tau for setting in settings])
    equivalents = [equivalent_of(setting, POOLS) for setting in settings]
    for name, colour in (("test_loss", COLOURS[0]), ("train_loss", COLOURS[1])):
        values = np.array([getattr(each, name) for each in equivalents])
        for side in (taus < 1, taus > 1):
            predicted(ax, taus[side], values[side], color=colour, linestyle=":")


def _points(
    ax: "Axes",
    taus: Sequence[float],
    values: Sequence[FloatArray],
    colour: str,
    label: str,
) -> None:
    """Means over data sets, with standard deviations."""
    means = [value.mean() for value in values]
    deviations = [value.std(ddof=1) for value in values]
    ax.errorbar(
        taus,
        means,
        deviations,
        fmt="o",
        ms=2.5,
        color=colour,
        label=label,
        elinewidth=0.7,
    )


def _draw_published(ax: "Axes", alpha: float) -> None:
    """Errors that were published, with the standard error of their means: there are none at some α."""
    d = THRESHOLD_DIMENSION
    assert THRESHOLD_NOISE == NOISE, "another noise"
    for run in THRESHOLD:
        if run.context_length != alpha * d:
            continue
        tau = run.sequences / (d * (d + 1))
        for value, deviation, colour in (
            (run.icl, run.icl_deviation, COLOURS[0]),
            (run.idg, run.idg_deviation, COLOURS[1]),
        ):
            error = deviation / np.sqrt(THRESHOLD_SETS - 1)
            ax.errorbar(tau, value, error, fmt="D", color=colour, mfc="white", zorder=4)


def _draw_ridges(ax: "Axes", context: RunContext) -> None:
    """e_ICL at three ridges, with a new task in every sequence."""
    for (ridge, name), colour in zip(RIDGES.items(), COLOURS[2:], strict=False):
        limit = errors(tau=LINE, alpha=10, kappa=np.inf, noise=NOISE, ridge=ridge)
        predicted(ax, LINE, limit.icl, color=colour)
        settings = [
            Setting.of_ratios(DIMENSION, Ratios(tau, 10.0, np.inf, NOISE), ridge)
            for tau in TAUS
        ]
        drawn = [fitted_errors(setting, context.seeds(SETS)) for setting in settings]
        used = [setting.ratios.tau for setting in settings]
        _points(ax, used, [each.icl for each in drawn], colour, f"λ = {name}")
    ax.set(yscale="log", ylabel="error")
    ax.legend(loc="upper right")
