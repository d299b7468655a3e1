"""Errors on new and on training tasks while merged attention is trained on few tasks."""

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....models.effective_map import effective_map
from ....runtime.arrays import FloatArray
from ....simulate import (
    Statistics,
    exact_risk,
    flow,
    sample,
    statistics,
)
from ....task import Task
from ....teachers import Sphere
from ....theory.asymptotics import deterministic_equivalent, errors
from ...evidence.claim import RunContext
from ...exact_statistics import population_statistics
from ...training_errors import errors_along_training
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MODEL = Merged(heads=1)
NOISE = 0.1
START = 1e-3
"""Amplitude of the growing mode that training starts on."""

RTOL = 1e-8
"""Finer than a figure shows: with few sequences the flow is stiff."""

D, N = 16, 64
KAPPAS = (0.25, 0.5, 1.0, 2.0, 8.0)
TIMES = np.geomspace(30, 3e4, 120)

SMALLER_D, SMALLER_N = 12, 24
KAPPA = 0.5
TAUS = (1.25, 4.0)
SETS = 8
FITTING_TIMES = np.geomspace(30, 3e5, 150)


class Curves(NamedTuple):
    """Errors on new tasks and on the training tasks along training, (T,) or (sets, T)."""

    icl: FloatArray
    idg: FloatArray


@paper_figure("training_on_few_tasks", paper="lu2025")
def training_on_few_tasks(context: RunContext) -> "Figure":
    """Errors on new and on training tasks along gradient flow of merged attention on k tasks, white inputs, σ² = 0.1.

    (a), (b) Unlimited sequences, D = 16, N = 64: gradient flow (solid) under its closed form (dashed) for a pool of k
    tasks with their negatives; marks at the right are the limit D → ∞ for τ = ∞. Both errors fall to the end, except
    that on new tasks at k = 4, which rises after its minimum, by 0.004 or less: the gap is the price of few tasks, not
    of long training. (c), (d) On P = τ D(D+1) sequences of D/2 tasks, D = 12, N = 24: means over eight data sets with
    two standard errors. Errors are least (points) just after the drop, and at the end they are near the ridgeless
    equivalent (dotted).
    """
    figure, axes = panels(2, 2, (PAGE, 4.4))
    new_tasks, own_tasks, few, many = axes.flat
    _draw_unlimited(new_tasks, own_tasks, context)
    for ax, tau in zip((few, many), TAUS, strict=True):
        _draw_limited(ax, tau, context)
    new_tasks.set_ylabel(r"$e_\mathrm{ICL}$")
    own_tasks.set_ylabel(r"$e_\mathrm{IDG}$")
    own_tasks.legend(loc="upper right")
    few.legend(loc="lower right")
    titles = ["new tasks, P = ∞", "training tasks, P = ∞"]
    titles += [f"κ = {KAPPA:g}, τ = {tau:g}" for tau in TAUS]
    panel_titles(list(axes.flat), titles)
    return figure


def _task(dimension: int, length: int, tasks: int | None = None, seed: int = 0) -> Task:
    """White inputs, and k tasks of the sphere with their negatives, or the sphere."""
    sphere = Sphere(dimension)
    return Task(
        [1 / dimension] * dimension,
        teachers=sphere if tasks is None else sphere.pool(tasks, seed, signs=True),
        context_length=length,
        noise_variance=NOISE,
    )


def _trained(
    own: Task, new: Task, first_map: FloatArray, source: Statistics, times: FloatArray
) -> Curves:
    """Errors along gradient flow on a source from the growing mode, whose map at time 0 is given."""
    D = own.dimension
    key_query = np.zeros((1, D + 1, D + 1))
    key_query[0, :D, :D] = first_map / START
    value = np.zeros((1, D + 1))
    value[0, D] = START
    start = {"value": value, "key_query": key_query}
    run = flow(MODEL, source, start, times, rtol=RTOL)
    maps = effective_map(MODEL, run)
    return Curves(np.asarray(exact_risk(new, maps)), np.asarray(exact_risk(own, maps)))


def _draw_unlimited(new_tasks: "Axes", own_tasks: "Axes", context: RunContext) -> None:
    """Both errors with unlimited sequences of several numbers of tasks."""
    for ax in (new_tasks, own_tasks):
        ax.set(xscale="log", xlabel="flow time")
    new = _task(D, N)
    times = np.append(0, TIMES)
    seed = context.seeds(1)[0]
    for kappa, colour in zip(KAPPAS, COLOURS, strict=False):
        own = _task(D, N, round(kappa * D), seed)
        known = errors_along_training(own, new, times, START)
        source = population_statistics(own, MODEL)
        found = _trained(own, new, known.maps[0], source, times)
        limit = errors(tau=np.inf, alpha=N / D, kappa=kappa, noise=NOISE)
        label = f"k = {round(kappa * D)}"
        for ax, name in ((new_tasks, "icl"), (own_tasks, "idg")):
            simulated(ax, times, getattr(found, name), color=colour, label=label)
            predicted(ax, times, getattr(known, name))
            ax.plot(times[-1] * 1.3, getattr(limit, name), "<", color=colour)


class _LimitedRuns(NamedTuple):
    """Errors (sets, T) of data sets along training, and what the equivalents of their tasks end on, (sets,)."""

    times: FloatArray
    curves: Curves
    ends: Curves


def _limited_runs(tau: float, context: RunContext) -> _LimitedRuns:
    """Training on drawn data sets, one a seed."""
    dimension, tasks = SMALLER_D, round(KAPPA * SMALLER_D)
    P = round(tau * dimension * (dimension + 1))
    new = _task(dimension, SMALLER_N)
    times = np.append(0, FITTING_TIMES)
    runs, ends = [], []
    for seed in context.seeds(SETS):
        own = _task(dimension, SMALLER_N, tasks, seed)
        known = errors_along_training(own, new, [0.0], START)
        data = sample(own, P, seed=seed)
        source = statistics(data, MODEL, "restricted")
        runs.append(_trained(own, new, known.maps[0], source, times))
        end = deterministic_equivalent(own, new, P)
        ends.append([end.test_loss, end.train_loss])
    curves = Curves(*np.swapaxes(np.array(runs), 0, 1))
    return _LimitedRuns(times, curves, Curves(*np.array(ends).T))


def _draw_limited(ax: "Axes", tau: float, context: RunContext) -> None:
    """Both errors on drawn data sets, when they are least, and the ridgeless equivalent."""
    times, curves, ends = _limited_runs(tau, context)
    ax.set(xscale="log", xlabel="flow time", ylabel="error")
    for name, label, colour in (
        ("icl", "new tasks", COLOURS[0]),
        ("idg", "training tasks", COLOURS[1]),
    ):
        values = getattr(curves, name)
        mean = values.mean(axis=0)
        error = 2 * values.std(axis=0, ddof=1) / np.sqrt(len(values))
        ax.fill_between(
            times, mean - error, mean + error, color=colour, alpha=0.25, linewidth=0
        )
        simulated(ax, times, mean, color=colour, label=label)
        least = int(np.argmin(mean))
        ax.plot(times[least], mean[least], "o", color=colour)
        ax.axhline(
            getattr(ends, name).mean(), color=colour, linestyle=":", linewidth=0.7
        )
