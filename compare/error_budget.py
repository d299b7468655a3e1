"""Error budgets: how much each approximation changes a curve on the way from a run to its time course."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..simulate import Experiment, Trajectory, flow
from .exact_statistics import population_statistics
from .metrics.curves import sup_gap

# Names of the approximations, in the order in which they are removed.
STEP = "steps of finite size"
SAMPLE = "finite sample"
SOLVER = "solver"
START = "finite initial scale"

LOOSE, TIGHT = 1e-9, 1e-12
"""Relative tolerances of the flows: their difference is the error of the looser one, and a bound on the tighter's."""


def budget(observed: ArrayLike, removed: Mapping[str, ArrayLike]) -> dict[str, float]:
    """Largest change of a curve as approximations are removed one after another: name → size, in the curve's unit.

    `observed` (T, …) is the run's; `removed` holds, under the name of each approximation, the curve at the same
    points once it and those before it are removed: the last is the prediction. By the triangle inequality the sizes
    add up to the sup gap of run and prediction or more, so that no source of error is left without a name.
    ValueError if shapes differ.

    >>> budget([1.0, 0.5], {"sample": [1.0, 0.75], "solver": [1.0, 0.75]})
    {'sample': 0.25, 'solver': 0.0}
    """
    sizes = {}
    before = observed
    for name, after in removed.items():
        sizes[name] = sup_gap(before, after)
        before = after
    return sizes


def flow_budget(
    experiment: Experiment,
    observed: ArrayLike,
    quantity: Callable[[Trajectory], FloatArray],
    predictions: Callable[[Trajectory], Mapping[str, ArrayLike]],
    times: FloatArray,
    *,
    method: str = "DOP853",
) -> dict[str, float]:
    """Budget of numbers (K,) `observed` on the run of an experiment; `quantity` gives them for any trajectory.

    The approximations go from descent to gradient flow on the same sample, to flow on unlimited data, to flow of a
    tighter tolerance, all recorded at the flow times (T,), and on to what `predictions` makes of the last flow:
    name → numbers, the prediction at its end. `method` is that of `simulate.flow`. ValueError for softmax or a
    mixture, or where a flow has not the quantity that the run has.
    """
    model, start = experiment.model, experiment.start
    exact = population_statistics(experiment.task, model)

    # One approximation less in each flow than in the flow before.
    sources = {
        STEP: (experiment.source, LOOSE),
        SAMPLE: (exact, LOOSE),
        SOLVER: (exact, TIGHT),
    }
    flows = {
        name: flow(model, source, start, times, rtol=rtol, method=method)
        for name, (source, rtol) in sources.items()
    }
    curves = {name: quantity(run) for name, run in flows.items()}
    return budget(observed, {**curves, **predictions(flows[SOLVER])})


def solver_budget(flows: Callable[[float], Sequence[FloatArray]]) -> dict[str, float]:
    """Budget of curves that theory has exactly: what a looser tolerance changes, relative to the largest value.

    >>> solver_budget(lambda rtol: [np.array([2.0, 1.0 + rtol])])["solver"] < LOOSE
    True
    """
    # Relative, since the curves may have different units.
    changes = [
        sup_gap(loose, tight) / float(np.max(np.abs(tight)))
        for loose, tight in zip(flows(LOOSE), flows(TIGHT), strict=True)
    ]
    return {SOLVER: max(changes)}


def course_budget(
    experiment: Experiment,
    run: Trajectory,
    predicted: Callable[[FloatArray], FloatArray],
    times: FloatArray,
) -> dict[str, float]:
    """`flow_budget` of the loss that a theory predicts at flow times (T,), all of them times of the run.

    All are compared at the same time, so that near a drop a shift in time shows as a large change. ValueError for
    times that the run has not, softmax, or a mixture.
    """
    indices = np.searchsorted(run.flow_time, times).clip(0, len(run.flow_time) - 1)
    # Flow times are 2η·step, of which a caller may have rounded the last digits.
    if not np.allclose(run.flow_time[indices], times, rtol=1e-12, atol=0):
        raise ValueError(
            "times must be flow times of the run: take some of run.flow_time"
        )
    return flow_budget(
        experiment,
        observed=run.loss[indices],
        quantity=lambda trajectory: trajectory.loss,
        predictions=lambda _: {START: predicted(times)},
        times=times,
    )
