"""Where the difference between a run and its time course comes from: what each approximation changes."""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike

from ..runtime.arrays import FloatArray
from ..simulate import Experiment, Trajectory, flow
from ..theory import population
from .exact_statistics import population_statistics
from .metrics.curves import plateau_heights, sup_gap
from .metrics.plateaus import effective_map

STEP, SAMPLE, SOLVER, START = (
    "steps of finite size",
    "finite sample",
    "solver",
    "finite initial scale",
)
MODES = "modes not learned yet"

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


def flow_budget(
    experiment: Experiment,
    observed: ArrayLike,
    seen: Callable[[Trajectory], FloatArray],
    rest: Callable[[Trajectory], Mapping[str, ArrayLike]],
    times: FloatArray,
    method: str = "DOP853",
) -> dict[str, float]:
    """Budget of numbers (K,) `observed` on the run of an experiment on statistics and `seen` on any trajectory.

    From descent to gradient flow on the same sample, to flow on unlimited data, to flow of a tighter tolerance, all
    recorded at the flow times (T,), and on to whatever `rest` makes of the last flow: name → numbers, the
    prediction at its end. `method` is that of `simulate.flow`. ValueError for softmax or a mixture, or where
    a flow does not show what the run does.
    """
    model, exact = (
        experiment.model,
        population_statistics(experiment.task, experiment.model),
    )
    cases = {
        STEP: (experiment.source, LOOSE),
        SAMPLE: (exact, LOOSE),
        SOLVER: (exact, TIGHT),
    }
    flows = {
        name: flow(model, source, experiment.start, times, rtol=rtol, method=method)
        for name, (source, rtol) in cases.items()
    }
    return budget(
        observed,
        {name: seen(each) for name, each in flows.items()} | dict(rest(flows[SOLVER])),
    )


def solver_budget(flows: Callable[[float], Sequence[FloatArray]]) -> dict[str, float]:
    """Budget of curves that theory has exactly: what a looser tolerance changes, relative to the largest value.

    >>> solver_budget(lambda rtol: [np.array([2.0, 1.0 + rtol])])["solver"] < LOOSE
    True
    """
    pairs = zip(flows(LOOSE), flows(TIGHT), strict=True)
    return {
        SOLVER: max(
            sup_gap(loose, tight) / float(np.max(np.abs(tight)))
            for loose, tight in pairs
        )
    }


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
    at = np.searchsorted(run.flow_time, times).clip(0, len(run.flow_time) - 1)
    if not np.allclose(run.flow_time[at], times, rtol=1e-12, atol=0):
        raise ValueError(
            "times must be flow times of the run: take some of run.flow_time"
        )
    return flow_budget(
        experiment,
        run.loss[at],
        lambda each: each.loss,
        lambda _: {START: predicted(times)},
        times,
    )


def height_budget(
    experiment: Experiment,
    run: Trajectory,
    plateaus: Sequence[int],
    times: FloatArray,
    method: str = "DOP853",
) -> dict[str, float]:
    """`flow_budget` of the heights of the greedy plateaus m of a separate run, in the unit of the loss.

    On the last flow the directions that a plateau has not learned are taken out of the map first, and what is left
    is how far the learned ones are from rest: both vanish with the initial scale. ValueError as in `flow_budget`.
    """
    moments, chosen = population(experiment.task, experiment.model), list(plateaus)

    def seen(each: Trajectory) -> FloatArray:
        return plateau_heights(
            each.loss, each.gradient_norm, moments.greedy_losses
        ).heights[chosen]

    def learned_alone(each: Trajectory) -> FloatArray:
        at = plateau_heights(
            each.loss, each.gradient_norm, moments.greedy_losses
        ).indices
        maps = [
            effective_map(
                experiment.model, {name: w[at[m]] for name, w in each.weights.items()}
            )
            for m in chosen
        ]
        kept = [moments.directions[:, :m] @ moments.directions[:, :m].T for m in chosen]
        return np.array(
            [
                moments.loss(inside @ M @ inside)
                for inside, M in zip(kept, maps, strict=True)
            ]
        )

    def rest(last: Trajectory) -> dict[str, ArrayLike]:
        return {MODES: learned_alone(last), START: moments.greedy_losses[chosen]}

    return flow_budget(experiment, seen(run), seen, rest, times, method)
