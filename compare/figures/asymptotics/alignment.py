"""Errors of a read-out on other laws of tasks than the one that it was trained on."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from ....runtime.arrays import FloatArray
from ....simulate import exact_risk, ridge_fit, sample_summaries
from ....task import Task
from ....theory.asymptotics import deterministic_equivalent
from ...evidence.claim import RunContext
from ..catalogue import paper_figure
from ..style import COLOURS, PAGE, panel_titles, panels, predicted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

D, N, NOISE = 16, 32, 0.1
EXPONENT = 1.0
"""The tasks of training have variances ∝ i^−1."""
SEQUENCES_PER_FEATURE = (2, 4, 8)
SETS = 20
ANGLES = np.linspace(0, 90, 7)
EXPONENTS = np.linspace(-1, 2.5, 8)
FINER = 5
"""Points of the lines between two of the fits."""


@paper_figure("task_alignment", paper="lu2025", tier="fast")
def task_alignment(context: RunContext) -> "Figure":
    """Errors on test laws of tasks of a read-out that was trained on tasks with variances ∝ 1/i, white inputs, D = 16.

    The equivalent, repaired for heavy tails to first order (dashed), and the means of twenty least-squares fits on
    drawn data sets with two standard errors (points), at P = 2D², 4D² and 8D² sequences. (a) The test law is that of
    training, turned by an angle in the plane of each direction and its opposite in the order of variances: at 90° the
    order is reversed. (b) Test tasks have variances ∝ i^−q, with the same directions and the same trace: q = 1 is the
    training law (dotted). All have the error of the training law there, and tasks along directions that were rare in
    training are harder. At P = 2D² the first order of the repair is not enough.
    """
    figure, axes = panels(1, 2, (PAGE, 2.6), sharey=True)
    rotation, spectrum = axes[0]
    _draw(rotation, ANGLES, _turned, context)
    _draw(spectrum, EXPONENTS, _power_law, context)
    spectrum.axvline(EXPONENT, color="0.4", linestyle=":", linewidth=0.6)
    rotation.set(xlabel="angle (degrees)", ylabel="error", xticks=np.arange(0, 91, 15))
    spectrum.set(xlabel="exponent q of the test law")
    predicted(rotation, ANGLES[:0], ANGLES[:0], label="equivalent")
    rotation.legend(loc="upper left", ncols=2)
    panel_titles(axes[0], ["turned test law", "another spectrum"])
    return figure


def _task(covariance: FloatArray) -> Task:
    """White inputs and tasks with this covariance (D, D)."""
    return Task(
        [1 / D] * D,
        teacher_covariance=covariance,
        context_length=N,
        noise_variance=NOISE,
    )


def _power_law(exponent: float) -> Task:
    """Tasks with variances ∝ i^−exponent, of mean 1."""
    variances = np.arange(1, D + 1) ** -exponent
    return _task(np.diag(variances / variances.mean()))


def _turned(angle: float) -> Task:
    """The training law, turned in the planes of the directions i and D + 1 − i."""
    radians = np.deg2rad(angle)
    sign = np.where(np.arange(D) < D // 2, 1.0, -1.0)
    turn = np.cos(radians) * np.eye(D) + np.sin(radians) * np.diag(sign)[::-1]
    variances = np.arange(1, D + 1) ** -EXPONENT
    return _task(turn @ np.diag(variances / variances.mean()) @ turn.T)


def _draw(
    ax: "Axes",
    places: FloatArray,
    law: Callable[[float], Task],
    context: RunContext,
) -> None:
    """The equivalent over a family of test laws, and fits on some of them."""
    training = _power_law(EXPONENT)
    finer = np.linspace(places[0], places[-1], FINER * (len(places) - 1) + 1)
    for ratio, colour in zip(SEQUENCES_PER_FEATURE, COLOURS, strict=False):
        P = ratio * D**2
        losses = [
            deterministic_equivalent(training, law(place), P, repaired=True).test_loss
            for place in finer
        ]
        predicted(ax, finer, np.array(losses), color=colour)

        tests = [law(place) for place in places]
        fits = _fitted(training, tests, P, context.seeds(SETS))
        error = 2 * fits.std(axis=0, ddof=1) / np.sqrt(len(fits))
        label = f"P = {ratio} D²"
        ax.errorbar(
            places, fits.mean(axis=0), error, fmt="o", color=colour, label=label
        )


def _fitted(
    training: Task, tests: Sequence[Task], sequences: int, seeds: ArrayLike
) -> FloatArray:
    """Exact errors of least-squares fits on every test law, (data sets, laws)."""
    found = []
    for seed in np.asarray(seeds).tolist():
        M = ridge_fit(sample_summaries(training, sequences, seed))
        found.append([exact_risk(test, M) for test in tests])
    return np.array(found)
