"""The scale of an aligned start that makes the first drop of the theory's curve that of a run: a fit."""

import numpy as np

from ..models.protocol import Parametrization
from ..simulate import Trajectory
from ..task import Task
from ..theory import population, time_course
from .metrics.curves import crossing_times
from .metrics.flatness import averaged_loss

_SMALLEST = 1e-40
"""Scales below this are not tried: merged heads leave them later than any run lasts."""

_LARGE = (0.1, 0.3, 1.0, 3.0)
"""Scales that are tried for a drop as early as the run's: the smallest that is early enough bounds the fit."""


def fitted_scale(
    task: Task,
    model: Parametrization,
    run: Trajectory,
    *,
    weight_decay: float = 0.0,
) -> float:
    """The aligned start from which `time_course` passes the middle of its first drop when the run does.

    It is fitted to the run, so that the first drop of the curve is no prediction; later drops are. The middle is that
    of the drop without decay; `weight_decay` is as in `time_course`. ValueError where
    the run does not cross that level: it never drops, begins below, or has another loss than the mean square; also
    where the run has no flow time, and where `time_course` refuses an aligned start.

    >>> from attndyn import Separate
    >>> from attndyn.simulate import external_run
    >>> task, model, steps = Task([2, 1], context_length=31), Separate(2), np.arange(0, 2_000, 10)
    >>> curve = time_course(task, model, 0.04 * steps, 0.05)
    >>> run = external_run(curve.loss, step=steps, learning_rate=0.02)
    >>> round(fitted_scale(task, model, run), 2)
    0.05
    """
    first_level, second_level = _first_levels(task, model)
    middle = (first_level + second_level) / 2
    drop_time = _drop_time(run, middle, first_level)

    def excess(log_scale: float) -> float:
        start = float(np.exp(log_scale))
        curve = time_course(task, model, [drop_time], start, weight_decay=weight_decay)
        return float(curve.loss[0]) - middle

    # Lazily: SciPy's solvers take longer to import than this package.
    from scipy.optimize import brentq

    # From a larger start the drop comes earlier, so that the excess falls with the scale.
    late = np.log(_SMALLEST)
    if excess(late) <= 0:
        raise ValueError(
            f"the run drops later than from any start, at flow time {drop_time:g}: pass the scale, and check learning "
            "rate, task and model"
        )
    early = next((s for s in np.log(_LARGE) if excess(s) <= 0), None)
    if early is None:
        raise ValueError(
            f"from no start does the theory drop as early as the run, at flow time {drop_time:g}: pass the scale, and "
            "check learning rate, task and model"
        )
    return float(np.exp(brentq(excess, late, early, xtol=1e-12)))


def _first_levels(task: Task, model: Parametrization) -> tuple[float, float]:
    """The losses before and after the first drop: nothing learned, and one direction, or all of a merged model."""
    loss = population(task, model)
    learns_one = hasattr(model, "rank")
    after = float(loss.greedy_losses[1]) if learns_one else loss.minimum_loss
    return loss.c, after


def _drop_time(run: Trajectory, middle: float, first_level: float) -> float:
    """The flow time at which the run first comes down to the middle of the first drop."""
    flow_time = run.flow_time
    if len(flow_time) < 2:
        raise ValueError("a fit of the scale needs a run of two losses or more")
    observed = averaged_loss(run)
    times = (
        f"its first loss is {observed[0] / first_level:.3g} times that of zero weights"
    )
    conventions = f"{times}; if it is not the mean of |y − ŷ|², say so with loss_scale"
    if observed[0] <= middle:
        raise ValueError(
            f"the run begins at loss {observed[0]:.4g}, below the middle of the first drop, {middle:.4g}: there is "
            f"nothing to fit the scale to ({conventions})"
        )
    (drop_time,) = crossing_times(flow_time, observed, [middle])
    if np.isnan(drop_time):
        raise ValueError(
            f"the run never drops to {middle:.4g}, the middle of the first drop from {first_level:.4g}: there is "
            f"nothing to fit the scale to ({conventions})"
        )
    return float(drop_time)
