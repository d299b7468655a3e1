"""Orders of convergence: errors against the parameter of a limit, the expected order dashed."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

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
from ..style import (
    COLOURS,
    COLUMN,
    panel_titles,
    panels,
    reference_slope,
    shaded,
    simulated,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Model = Merged | Separate

SCALES = np.array([3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4])
RATES = np.array([0.008, 0.004, 0.002, 0.001, 0.0005])


class SmallSteps(NamedTuple):
    """The limit of small steps of a model: its name, the scale of its initial weights, the flow time of its runs."""

    name: str
    scale: float
    span: float


SMALL_STEPS: dict[Model, SmallSteps] = {
    MERGED: SmallSteps("merged", scale=0.05, span=4.0),
    SEPARATE: SmallSteps("separate", scale=0.2, span=16.0),
}

COMPARED = 50
"""Times, besides 0, at which runs are compared: they divide the steps of every run."""

SEQUENCES = 2_000
"""Sequences of a data set so small that its weights leave the restricted block."""


@paper_figure("conservation", paper="zhang2025")
def conservation(context: RunContext) -> "Figure":
    """Drift of the conserved quantities along gradient descent on sampled data, and along gradient flow."""
    figure, axes = panels(2, 1, (COLUMN, 4.2))
    in_time, over_rates = axes[:, 0]
    in_time.set(yscale="log", xlabel="flow time", ylabel="drift")
    for model, colour in zip(SMALL_STEPS, COLOURS, strict=False):
        runs = _runs_on_few_sequences(model, context)
        drifts = [_drift(model, run) for run in runs.descents]
        if model is MERGED:
            _draw_drifts(in_time, runs.descents, drifts)
            _draw_flow_drift(in_time, _drift(model, runs.flow), runs.flow)
        largest = [float(np.max(drift)) for drift in drifts]
        _draw_errors(over_rates, RATES, largest, SMALL_STEPS[model].name, colour=colour)
    _label_drifts(in_time, over_rates)
    return figure


def _runs_on_few_sequences(model: Model, context: RunContext) -> "Runs":
    """Runs at all learning rates on the same few sequences for both models: weights leave the restricted block."""
    data = sample(FOUR, SEQUENCES, seeds(context.seed)[0])
    return _runs(model, statistics(data, model), context, "gaussian")


def _label_drifts(in_time: "Axes", over_rates: "Axes") -> None:
    """Legend of the drifts in time, names of the axis over the learning rates, and titles of both panels."""
    _label_rates(over_rates)
    over_rates.set_ylabel("largest drift")
    in_time.legend(loc="center right", ncols=2)
    panel_titles(
        [in_time, over_rates], ["merged, in time", "at several learning rates"]
    )


def _draw_drifts(ax: "Axes", runs: list[Trajectory], drifts: list[FloatArray]) -> None:
    """Drift against flow time, the larger the rate the darker."""
    shares = np.linspace(-0.3, 0.7, len(runs)).tolist()
    for run, drift, share in zip(runs, drifts, shares, strict=True):
        style = {
            "color": shaded(COLOURS[1], share),
            "label": rf"$\eta = {run.learning_rate:g}$",
        }
        # Without the start, whose drift is zero, and the weights after the last step, which are not compared.
        simulated(ax, run.weight_flow_time[1:-1], drift[1:], **style)


def _draw_flow_drift(ax: "Axes", drift: FloatArray, run: Trajectory) -> None:
    """The drift (T,) along gradient flow, which is the error of its integration."""
    # A drift of zero at the start has no place on a logarithmic axis.
    times = run.flow_time[1:]
    simulated(ax, times, drift[1:], color="black", label="gradient flow")


@paper_figure("gradient_flow", paper="zhang2025")
def gradient_flow(context: RunContext) -> "Figure":
    """Largest difference of the losses of gradient descent and gradient flow against the learning rate."""
    figure, axes = panels(1, 1, (COLUMN, 2.3))
    ax = axes[0, 0]
    for model, colour in zip(SMALL_STEPS, COLOURS, strict=False):
        exact = population_statistics(FOUR, model)
        runs = _runs(model, exact, context, "restricted")
        gaps = [
            sup_gap(run.loss[run.weight_steps[:-1]], runs.flow.loss)
            for run in runs.descents
        ]
        _draw_errors(ax, RATES, gaps, SMALL_STEPS[model].name, colour=colour)
    _label_rates(ax)
    ax.set_ylabel("largest gap of the loss")
    return figure


@paper_figure("growing_mode_order", paper="zhang2025")
def growing_mode_order(context: RunContext) -> "Figure":
    """Largest difference between gradient flow and the growing mode against the scale of the initial weights."""
    figure, axes = panels(1, 1, (COLUMN, 2.3))
    ax = axes[0, 0]
    seed = seeds(context.seed)[0]

    # The first correction is of order w where gains differ; equal gains leave that of order w² ln(1/w).
    general_gaps = [_growing_mode_gap(FOUR, scale, seed) for scale in SCALES.tolist()]
    _draw_errors(
        ax, SCALES, general_gaps, "general Λ", colour=COLOURS[0], unit=Unit("$w$")
    )
    white_gaps = [_growing_mode_gap(WHITE, scale, seed) for scale in SCALES.tolist()]
    w_squared = Unit(r"$w^2 \ln(1/w)$", lambda w: w**2 * np.log(1 / w))
    _draw_errors(
        ax,
        SCALES,
        white_gaps,
        "white Λ",
        colour=COLOURS[1],
        unit=w_squared,
    )
    ax.set(xlabel="initial scale $w$", ylabel="largest gap of the loss")
    return figure


def _growing_mode_gap(task: Task, scale: float, seed: int) -> float:
    """Largest gap of the losses over twice the time of the drop, on unlimited data."""
    start = initial_weights(MERGED, task, scale, seed, "restricted")
    # Half of the times lie before the drop, half after it.
    times = np.linspace(0, 2 * drop_time(population(task, MERGED), scale), 400)
    curve = time_course(task, MERGED, times, start)
    run = flow(MERGED, population_statistics(task, MERGED), start, times)
    return sup_gap(curve.loss, run.loss)


class Runs(NamedTuple):
    """Gradient descent at every rate, and gradient flow at the times at which they are compared."""

    descents: list[Trajectory]
    flow: Trajectory


def _runs(model: Model, stats: Statistics, context: RunContext, scheme: str) -> Runs:
    limit = SMALL_STEPS[model]
    start = initial_weights(model, FOUR, limit.scale, seeds(context.seed)[0], scheme)
    descents = [
        _descent(
            model,
            stats,
            start,
            rate=rate,
            span=limit.span,
        )
        for rate in RATES.tolist()
    ]
    # Without the weights after the last step.
    times = descents[0].weight_flow_time[:-1]
    return Runs(descents, flow(model, stats, start, times))


def _descent(
    model: Model, stats: Statistics, start: Weights, *, rate: float, span: float
) -> Trajectory:
    """A run that stores its weights at the compared times, and once more after its last step."""
    # Flow time is 2η·step.
    steps = round(span / (2 * rate))
    compared = range(0, steps + 1, steps // COMPARED)
    return train(
        model, stats, start, learning_rate=rate, steps=steps + 1, record=compared
    )


def _drift(model: Model, run: Trajectory) -> FloatArray:
    """Largest change (T,) of any conserved quantity since the start, at the compared times."""
    largest = np.zeros(COMPARED + 1)
    for quantity in conserved_quantities(model, run.weights).values():
        # One row for each compared time; a quantity may be a matrix for each head.
        values = quantity[: COMPARED + 1].reshape(COMPARED + 1, -1)
        change = np.abs(values - values[0])
        largest = np.maximum(largest, change.max(axis=1))
    return largest


class Unit(NamedTuple):
    """The quantity in which an order is counted: its formula, and its value at a parameter."""

    formula: str
    value: Callable[[FloatArray], FloatArray] = lambda parameter: parameter


RATE_UNIT = Unit(r"$\eta$")


def _draw_errors(
    ax: "Axes",
    parameter: FloatArray,
    errors: list[float],
    name: str,
    *,
    colour: str,
    unit: Unit = RATE_UNIT,
) -> None:
    """Errors on logarithmic axes, their order in the legend, and a dashed line of order one in the unit."""
    fit = observed_order(parameter, errors, scale=unit.value)
    label = f"{name}: order {fit.extrapolated:.2f} in {unit.formula}"
    # An order is a slope on logarithmic axes.
    ax.set(xscale="log", yscale="log")
    ax.plot(
        parameter,
        errors,
        marker="o",
        linestyle="-",
        color=colour,
        label=label,
    )

    values = unit.value(parameter)
    reference_slope(ax, parameter, errors[-1] * values / values[-1])
    ax.legend(loc="upper left", handletextpad=0.5, borderaxespad=0.3)


def _label_rates(ax: "Axes") -> None:
    ax.set_xticks(RATES, [f"{rate:g}" for rate in RATES])
    ax.set_xticks([], minor=True)
    ax.set_xlabel(r"learning rate $\eta$")
