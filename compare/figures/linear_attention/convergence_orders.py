"""How fast statements become exact: errors against the parameter of their limit, the expected order dashed."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from ....models.attention import Merged, Separate
from ....models.protocol import Weights
from ....runtime.arrays import FloatArray
from ....simulate import (
    Statistics,
    Trajectory,
    flow,
    initial_weights,
    sample,
    statistics,
    train,
)
from ....task import Task
from ....theory import population, time_course
from ....theory.linear_attention import conserved_quantities, drop_time
from ...claims.linear_attention.common.experiments import FOUR, MERGED, SEPARATE, WHITE
from ...evidence.claim import RunContext
from ...evidence.seeding import seeds
from ...exact_statistics import population_statistics
from ...metrics.curves import observed_order, sup_gap
from ..catalogue import paper_figure
from ..style import COLOURS, COLUMN, letter, order, panels, shaded, simulated

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Model = Merged | Separate

SCALES = np.array([3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
RATES = np.array([0.008, 0.004, 0.002, 0.001, 0.0005])

SMALL_STEPS: dict[Model, tuple[str, float, float]] = {
    MERGED: ("merged", 0.05, 4.0),
    SEPARATE: ("separate", 0.2, 16.0),
}
"""Name of a model in the limit of small steps, scale of its initial weights and flow time of its runs."""

COMPARED = 50
"""Times, besides 0, at which runs are compared: they divide the steps of every run."""

SEQUENCES = 2_000
"""Sequences of a data set so small that its weights leave the restricted block."""


@paper_figure("conservation", paper="zhang2025")
def conservation(context: RunContext) -> "Figure":
    """Drift of the conserved quantities along gradient descent on sampled data, and along gradient flow."""
    figure, axes = panels(2, 1, (COLUMN, 4.2))
    time, rate = axes[:, 0]
    time.set(yscale="log", xlabel="flow time", ylabel="drift")
    for model, colour in zip(SMALL_STEPS, COLOURS, strict=False):
        stats = statistics(sample(FOUR, SEQUENCES, seeds(context.seed)[0]), model)
        runs, exact = _runs(model, stats, context, "gaussian")
        drifts = [_drift(model, run) for run in runs]
        if model is MERGED:
            _drifts(time, runs, drifts)
            simulated(
                time,
                exact.flow_time[1:],
                _drift(model, exact)[1:],
                color="black",
                label="gradient flow",
            )
        _errors(
            rate,
            RATES,
            [float(np.max(drift)) for drift in drifts],
            SMALL_STEPS[model][0],
            colour,
        )
    _rates_below(rate)
    rate.set_ylabel("largest drift")
    time.legend(loc="center right", ncols=2)
    letter([time, rate], ["merged, in time", "at several learning rates"])
    return figure


def _drifts(ax: "Axes", runs: list[Trajectory], drifts: list[FloatArray]) -> None:
    """Drift against flow time, the larger the rate the darker."""
    for run, drift, share in zip(
        runs, drifts, np.linspace(-0.3, 0.7, len(runs)), strict=True
    ):
        colour = shaded(COLOURS[1], float(share))
        label = rf"$\eta = {run.learning_rate:g}$"
        simulated(ax, run.weight_flow_time[1:-1], drift[1:], color=colour, label=label)


@paper_figure("gradient_flow", paper="zhang2025")
def gradient_flow(context: RunContext) -> "Figure":
    """Largest difference of the losses of gradient descent and gradient flow against the learning rate."""
    figure, axes = panels(1, 1, (COLUMN, 2.3))
    ax = axes[0, 0]
    for model, colour in zip(SMALL_STEPS, COLOURS, strict=False):
        runs, exact = _runs(
            model, population_statistics(FOUR, model), context, "restricted"
        )
        gaps = [sup_gap(run.loss[run.weight_steps[:-1]], exact.loss) for run in runs]
        _errors(ax, RATES, gaps, SMALL_STEPS[model][0], colour)
    _rates_below(ax)
    ax.set_ylabel("largest gap of the loss")
    return figure


@paper_figure("growing_mode_order", paper="zhang2025")
def growing_mode_order(context: RunContext) -> "Figure":
    """Largest difference between gradient flow and the growing mode against the scale of the initial weights."""
    figure, axes = panels(1, 1, (COLUMN, 2.3))
    ax = axes[0, 0]
    limits: list[tuple[str, Task, str, Callable[[FloatArray], FloatArray]]] = [
        ("general Λ", FOUR, "$w$", lambda w: w),
        ("white Λ", WHITE, r"$w^2 \ln(1/w)$", lambda w: w**2 * np.log(1 / w)),
    ]
    for (name, task, order_name, scale), colour in zip(limits, COLOURS, strict=False):
        gaps = [
            _growing_mode_gap(task, float(w), seeds(context.seed)[0]) for w in SCALES
        ]
        _errors(ax, SCALES, gaps, name, colour, order_name, scale)
    ax.set(xlabel="initial scale $w$", ylabel="largest gap of the loss")
    return figure


def _growing_mode_gap(task: Task, scale: float, seed: int) -> float:
    """Over twice the time of the drop, on unlimited data."""
    start = initial_weights(MERGED, task, scale, seed, "restricted")
    times = np.linspace(0, 2 * drop_time(population(task, MERGED), scale), 400)
    return sup_gap(
        time_course(task, MERGED, times, start).loss,
        flow(MERGED, population_statistics(task, MERGED), start, times).loss,
    )


def _runs(
    model: Model, stats: Statistics, context: RunContext, scheme: str
) -> tuple[list[Trajectory], Trajectory]:
    """Gradient descent at every rate, and gradient flow at the times at which they are compared."""
    _, scale, span = SMALL_STEPS[model]
    start = initial_weights(model, FOUR, scale, seeds(context.seed)[0], scheme)
    runs = [_descent(model, stats, start, float(rate), span) for rate in RATES]
    return runs, flow(model, stats, start, runs[0].weight_flow_time[:-1])


def _descent(
    model: Model, stats: Statistics, start: Weights, rate: float, span: float
) -> Trajectory:
    """A run that stores its weights at the compared times, and once more after its last step."""
    steps = round(span / (2 * rate))
    compared = range(0, steps + 1, steps // COMPARED)
    return train(
        model, stats, start, learning_rate=rate, steps=steps + 1, record=compared
    )


def _drift(model: Model, run: Trajectory) -> FloatArray:
    """Largest change (T,) of any conserved quantity since the start, at the compared times."""
    kept = [
        value[: COMPARED + 1]
        for value in conserved_quantities(model, run.weights).values()
    ]
    changes = [
        np.abs(value - value[0]).reshape(len(value), -1).max(axis=1) for value in kept
    ]
    return np.asarray(np.max(changes, axis=0))


def _errors(
    ax: "Axes",
    parameter: FloatArray,
    errors: list[float],
    name: str,
    colour: str,
    unit: str = r"$\eta$",
    scale: Callable[[FloatArray], FloatArray] = lambda h: h,
) -> None:
    """Errors on logarithmic axes, their order in the legend, and a dashed line of order one in `scale`."""
    fit = observed_order(parameter, errors, scale=scale)
    label = f"{name}: order {fit.extrapolated:.2f} in {unit}"
    ax.set(xscale="log", yscale="log")
    ax.plot(parameter, errors, marker="o", linestyle="-", color=colour, label=label)
    order(ax, parameter, errors[-1] * scale(parameter) / scale(parameter)[-1])
    ax.legend(loc="upper left", handletextpad=0.5, borderaxespad=0.3)


def _rates_below(ax: "Axes") -> None:
    ax.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    ax.set_xticks([], minor=True)
    ax.set_xlabel(r"learning rate $\eta$")
