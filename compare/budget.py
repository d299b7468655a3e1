"""Where the difference between a run and its time course comes from: what each approximation changes."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..simulate import Experiment, Trajectory, flow
from .metrics import sup_gap
from .variants import unlimited

FloatArray = NDArray[np.float64]

STEP, SAMPLE, SOLVER, START = "steps of finite size", "finite sample", "solver", "finite initial scale"

LOOSE, TIGHT = 1e-9, 1e-12
"""Tolerances of the flows: the error of the first is told by the second."""


def budget(observed: ArrayLike, removed: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Largest change of a curve as approximations are removed one after another: name → size, in the curve's unit.

    `observed` (T, …) is the run's; `removed` holds, under the name of each approximation, the curve at the same
    points once it and those before it are removed: the last is the prediction. By the triangle inequality the sizes
    add up to the sup gap of run and prediction or more, so that no source of error is left without a name.
    ValueError if shapes differ.

    >>> budget([1.0, 0.5], {"sample": [1.0, 0.75], "solver": [1.0, 0.75]})
    {'sample': 0.25, 'solver': 0.0}
    """
    sizes, before = {}, observed
    for name, after in removed.items():
        sizes[name], before = sup_gap(before, after), after
    return sizes


def course_budget(
    experiment: Experiment, run: Trajectory, predicted: Callable[[FloatArray], FloatArray], times: FloatArray
) -> dict[str, float]:
    """Budget of the loss that a theory predicts over the run of an experiment on statistics.

    From descent to gradient flow on the same sample, to flow on unlimited data, to flow of a tighter tolerance, to
    the loss `predicted` at flow times (T,). `times` (T,) are flow times of the run. All are compared at the same
    time, so that near a drop a shift in time shows as a large change. ValueError for times that the run has not,
    softmax, or a mixture.
    """
    at = np.searchsorted(run.flow_time, times).clip(0, len(run.flow_time) - 1)
    if not np.allclose(run.flow_time[at], times, rtol=1e-12, atol=0):
        raise ValueError("times must be flow times of the run: take some of run.flow_time")
    model, exact = experiment.model, unlimited(experiment.task, experiment.model)
    flows = [(experiment.source, LOOSE), (exact, LOOSE), (exact, TIGHT)]
    curves = [flow(model, source, experiment.start, times, rtol=rtol).loss for source, rtol in flows]
    names = (STEP, SAMPLE, SOLVER, START)
    return budget(run.loss[at], dict(zip(names, [*curves, predicted(times)], strict=True)))
