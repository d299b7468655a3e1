"""Merged runs at the published size: when and to where they drop, and what each approximation does to the loss."""

from functools import partial
from typing import NamedTuple

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import Experiment
from .....task import Task
from .....theory import population
from .....theory.linear_attention import unstable_mode_amplitude
from .....theory.linear_attention.merged import aligned_amplitudes
from ....error_budget import course_budget
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import CONFIDENCE, curve, student_quantile
from ....metrics.curves import crossing_times, sup_gap
from ..common.controls import LONGER_CONTEXT, TRACE_DROPPED, changed_moments
from ..common.experiments import MERGED, merged


class Drops(NamedTuple):
    """Flow time of the drop's middle and final loss of every run, (seeds, 2); flow times and losses of the first."""

    numbers: FloatArray
    times: FloatArray
    loss: FloatArray


SHOWN = 30
"""The overlay shows one step in so many."""

HALF_DROPPED = "½ of the unstable mode dropped"


def size_claim(name: str, task: Task) -> Claim:
    """The claim for one task of the published size; `name` is part of its id and of its figure's."""
    return Claim(
        id=f"merged.size_{name}",
        title=f"The time course predicts drop time and final loss of runs of the published size ({name} Λ)",
        paper="zhang2025",
        equation="simulations of merged attention",
        statement=r"L(t) = c - 2\,b\cdot(s u) + \sum_d a_d\lambda_d\,(s u_d)^2",
        observable="time of the drop's middle and final loss, twelve data sets of 80,000 sequences, all weights",
        limit="P → ∞, initial scale → 0, step → 0: within the scatter over the data sets",
        measure=partial(_drops, task),
        predict=partial(_predicted_drops, task),
        judge=_agree_on_average,
        controls=(TRACE_DROPPED, LONGER_CONTEXT, HALF_DROPPED),
        experiments=lambda context: merged(task, context.seed),
        hypotheses=(
            "all weights are trained",
            "published convention, but for scale 1e-4, rate 2e-4 and P = 80,000",
        ),
        budget=partial(_budget, task),
        figure=f"merged_{name}",
    )


def _drops(task: Task, context: RunContext) -> Drops:
    """The simulated runs."""
    numbers = []
    for run in context.trajectories:
        # The same reading of the drop's middle on both sides.
        half = _half_time(task, run.flow_time, run.loss)
        numbers.append((half, float(run.loss[-1])))
    first = context.trajectories[0]
    return Drops(np.array(numbers), first.flow_time[::SHOWN], first.loss[::SHOWN])


def _half_time(task: Task, time: FloatArray, loss: FloatArray) -> float:
    """Flow time at which half of the drop is done."""
    moments = population(task, MERGED)
    middle = (moments.c + moments.minimum_loss) / 2
    (crossing,) = crossing_times(time, loss, [middle])
    return float(crossing)


def _predicted_drops(task: Task, context: RunContext, control: str) -> Drops:
    """The time course from each run's own start."""
    numbers = []
    for experiment in context.experiments:
        # Flow time t = 2η·step at the end of the run.
        end = 2 * experiment.learning_rate * experiment.steps
        times = np.linspace(0, end, 4000)
        loss = _course(task, experiment, control, times)
        numbers.append((_half_time(task, times, loss), float(loss[-1])))

    first = context.experiments[0]
    steps = np.arange(0, first.steps, SHOWN, dtype=float)
    times = 2 * first.learning_rate * steps
    return Drops(np.array(numbers), times, _course(task, first, control, times))


def _course(
    task: Task, experiment: Experiment, control: str, times: FloatArray
) -> FloatArray:
    """The loss at flow times (T,) from the unstable mode of the run's own start."""
    moments = changed_moments(task, MERGED, control)
    w0 = unstable_mode_amplitude(moments, experiment.start)
    if control == HALF_DROPPED:
        w0 *= 2
    # On the eigenvectors of Λ the unstable mode B/‖B‖ is b/|b|.
    mode = moments.b / np.linalg.norm(moments.b)
    s, u = aligned_amplitudes(moments, times, w0, w0 * mode)
    return moments.aligned_loss(s[:, None] * u)


def _budget(task: Task, context: RunContext) -> dict[str, float]:
    first, run = context.experiments[0], context.trajectories[0]

    def course(times: FloatArray) -> FloatArray:
        return _course(task, first, UNMODIFIED, times)

    return course_budget(first, run, course, run.flow_time[::SHOWN])


def _agree_on_average(predicted: Drops, observed: Drops) -> Evidence:
    """Mean relative difference over the seeds no further from 0 than Student's t allows, for both numbers."""
    # Relative differences have the same scatter at every size of time and loss.
    relative = observed.numbers / predicted.numbers - 1  # (seeds, 2)
    mean = relative.mean(axis=0)
    error = relative.std(axis=0, ddof=1) / np.sqrt(len(relative))
    allowed = student_quantile(len(relative) - 1) * error

    of_time, of_loss = map(_percent, mean, error)
    time, final = predicted.numbers.mean(axis=0)
    drawn = curve(
        "loss of the first run", predicted.loss, observed.loss, predicted.times
    )
    return Evidence(
        agrees=bool(np.all(np.abs(mean) <= allowed)),
        observed=f"time of drop {of_time}, final loss {of_loss}",
        expected=f"{time:.3f}, {final:.5f} within Student's t at {CONFIDENCE}",
        residual=sup_gap(predicted.loss, observed.loss),
        curves=(drawn,),
        axes=("flow time", "loss"),
    )


def _percent(mean: float, error: float) -> str:
    return f"{100 * mean:+.2f} ± {100 * error:.2f} %"
