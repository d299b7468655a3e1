"""The run of the tab: gradient descent until the last drop, and what becomes of a rate that is too large."""

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from ....compare.metrics.curves import crossing_times
from ....models.effective_map import effective_map
from ....runtime.arrays import FloatArray
from ....simulate import Diverged, Trajectory, train
from .problems import Problem

BUDGETS = (2_500, 10_000, 40_000)
"""Steps that are tried in turn, until a run reaches its last drop."""

POINTS = 400
"""Points of a curve, at least, about one for two pixels."""

MAPS = 100
"""Maps of an answer: as many as a hand that moves over half a screen can tell apart."""

AFTER_THE_LAST_DROP = 1.2
"""The time that is shown, in units of that of the last drop."""

MERGED_END = 0.03
"""Merged heads approach the minimum for ever: their last drop ends where this part of the loss is left to learn."""

FEWEST_STEPS = 50
"""Of a run that begins beyond its last drop."""

UNSTABLE = 10.0
"""A run whose loss exceeds its first one so many times is unstable: descent that is stable never climbs that far."""

RATES = (
    *(0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0),
    100.0,
)
"""Learning rates of the slider."""


class Descent(NamedTuple):
    """A run. `steps` are those that are shown, before it becomes unstable, if it does.

    `flow_time` and `loss` (T,) and `maps` (T, D, D) are of some of these steps. `end`: the flow time that is shown.
    `stable_rate`, of a run that is unstable: the largest rate below its own, of the slider's, that is stable, or None.
    """

    run: Trajectory
    steps: int
    flow_time: FloatArray
    loss: FloatArray
    maps: FloatArray
    end: float
    is_stable: bool
    stable_rate: float | None

    @property
    def spacing(self) -> int:
        """Every so many points have a map in the answer."""
        return max(1, len(self.flow_time) // MAPS)


# The parts of one answer, and settings that are gone back to, ask for the same run.
@lru_cache(maxsize=32)
def descent(problem: Problem) -> Descent:
    """Gradient descent on the problem until shortly after its last drop, or 40,000 steps."""
    attempt = _attempt(problem)
    if attempt.is_stable:
        return _descent(problem, attempt, attempt.end, None)
    for rate in reversed(RATES):
        if rate < problem.learning_rate:
            calmer = _attempt(problem.at_rate(rate))
            if calmer.is_stable:
                return _descent(problem, attempt, calmer.end, rate)
    return _descent(problem, attempt, attempt.end, None)


class _Attempt(NamedTuple):
    """A run, how many of its steps are shown, and whether it is stable."""

    run: Trajectory
    steps: int
    is_stable: bool

    @property
    def end(self) -> float:
        """The flow time of the last step that is shown."""
        return float(self.run.flow_time[self.steps - 1])


def _attempt(problem: Problem) -> _Attempt:
    """The shortest run of the budgets that reaches its last drop, or becomes unstable, or else the longest."""
    for budget in BUDGETS:
        run = _trained(problem, budget)
        calm_steps = _steps_before_instability(run.loss)
        if calm_steps < budget:
            return _Attempt(run, max(calm_steps, 2), is_stable=False)
        steps = _steps_to_the_end(problem, run.loss)
        if steps <= budget:
            break
    return _Attempt(run, min(steps, budget), is_stable=True)


def _trained(problem: Problem, steps: int) -> Trajectory:
    """A run of so many steps, or fewer if it diverges."""
    try:
        return train(
            problem.model,
            problem.data,
            problem.start,
            learning_rate=problem.learning_rate,
            steps=steps,
            record=max(1, steps // (4 * POINTS)),
        )
    except Diverged as error:
        return error.trajectory


def _steps_before_instability(loss: FloatArray) -> int:
    """How many losses (T,) there are before the first that is far above the start, or no number."""
    # A comparison with nan is false.
    is_calm = loss <= UNSTABLE * loss[0]
    return len(loss) if np.all(is_calm) else int(np.argmin(is_calm))


def _steps_to_the_end(problem: Problem, loss: FloatArray) -> int:
    """Steps to a while after the last drop of these losses (T,), or more than there are if it is not among them."""
    level = _last_level(problem)
    # Few prompts have other losses than unlimited data, from the first one on, mostly by one factor.
    level *= loss[0] / problem.moments.loss(np.zeros_like(problem.moments.B))
    (step,) = crossing_times(np.arange(len(loss)), loss, [level])
    if not np.isfinite(step):
        return len(loss) + 1
    return max(FEWEST_STEPS, int(AFTER_THE_LAST_DROP * step))


def _last_level(problem: Problem) -> float:
    """The loss on unlimited data at which the last drop is as good as over."""
    moments = problem.moments
    if problem.kind == "merged":
        return moments.minimum_loss + MERGED_END * float(np.sum(moments.gains))
    # Midway through the drop of the last direction that the heads have room for.
    last = problem.capacity - 1
    unlearned = moments.gains[last] / 2 + np.sum(moments.gains[last + 1 :])
    return moments.minimum_loss + float(unlearned)


def _descent(
    problem: Problem, attempt: _Attempt, end: float, stable_rate: float | None
) -> Descent:
    """What is shown of an attempt."""
    run = attempt.run
    # Weights after these steps may be too large for their map to be a number.
    count = int(np.sum(run.weight_steps < attempt.steps))
    is_shown = slice(0, count, max(1, count // POINTS))
    steps = run.weight_steps[is_shown]
    weights = {name: value[is_shown] for name, value in run.weights.items()}
    return Descent(
        run=run,
        steps=attempt.steps,
        flow_time=run.weight_flow_time[is_shown],
        loss=run.loss[steps],
        maps=np.asarray(effective_map(problem.model, weights)),
        end=end,
        is_stable=attempt.is_stable,
        stable_rate=stable_rate,
    )
