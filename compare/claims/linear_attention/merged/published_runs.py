"""Merged runs at the published size: when and to where they drop, and what each approximation does to the loss."""

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
from ..common.controls import LONGER_CONTEXT, MOMENTS, TRACE_DROPPED, wrong_moments
from ..common.experiments import MERGED, merged

Sized = tuple[FloatArray, FloatArray, FloatArray]
"""Flow time of the drop's middle and final loss of every run, (seeds, 2); flow times and losses of the first."""

SHOWN = 30
"""The overlay shows one step in so many."""

HALF_DROPPED = "½ of the growing mode dropped"


def size_claim(name: str, task: Task) -> Claim:
    """The claim for one task of the published size; `name` is part of its id and of its figure's."""
    return Claim(
        id=f"merged.size_{name}",
        title=f"Gradient descent at D = 4, N = 31, H = 8 drops when and to where it should ({name} Λ)",
        paper="zhang2025",
        equation="simulations of merged attention",
        statement=r"L(t) = c - 2\,b\cdot(s u) + \sum_d a_d\lambda_d\,(s u_d)^2",
        observable="time of the drop's middle and final loss, twelve data sets of 80,000 sequences, all weights",
        limit="P → ∞, initial scale → 0, step → 0: within the scatter over the data sets",
        measure=lambda context: _drops(task, context),
        predict=lambda context, control: _predicted_drops(task, context, control),
        judge=_agree_on_average,
        controls=(TRACE_DROPPED, LONGER_CONTEXT, HALF_DROPPED),
        experiments=lambda context: merged(task, context.seed),
        hypotheses=(
            "no weight held at zero",
            "published convention, but for scale 1e-4, rate 2e-4 and P = 80,000",
        ),
        budget=lambda context: _budget(task, context),
        figure=f"merged_{name}",
    )


def _drops(task: Task, context: RunContext) -> Sized:
    runs = list(context.trajectories)
    found = [
        (_half_time(task, run.flow_time, run.loss), float(run.loss[-1])) for run in runs
    ]
    return np.array(found), runs[0].flow_time[::SHOWN], runs[0].loss[::SHOWN]


def _half_time(task: Task, time: FloatArray, loss: FloatArray) -> float:
    moments = population(task, MERGED)
    return float(
        crossing_times(time, loss, [(moments.c + moments.minimum_loss) / 2])[0]
    )


def _predicted_drops(task: Task, context: RunContext, control: str) -> Sized:
    found = []
    for each in context.experiments:
        times = np.linspace(0, 2 * each.learning_rate * each.steps, 4000)
        loss = _course(task, each, control, times)
        found.append((_half_time(task, times, loss), float(loss[-1])))
    first = context.experiments[0]
    shown = np.asarray(
        2 * first.learning_rate * np.arange(0, first.steps, SHOWN), dtype=float
    )
    return np.array(found), shown, _course(task, first, control, shown)


def _course(
    task: Task, each: Experiment, control: str, times: FloatArray
) -> FloatArray:
    """The loss at flow times (T,) from the growing mode of the run's own start."""
    moments = wrong_moments(task, MERGED, control if control in MOMENTS else UNMODIFIED)
    w0 = unstable_mode_amplitude(moments, each.start) * (
        2 if control == HALF_DROPPED else 1
    )
    mode = moments.b / np.linalg.norm(moments.b)
    s, u = aligned_amplitudes(moments, times, w0, w0 * mode)
    return moments.aligned_loss(s[:, None] * u)


def _budget(task: Task, context: RunContext) -> dict[str, float]:
    first, run = context.experiments[0], context.trajectories[0]
    return course_budget(
        first,
        run,
        lambda t: _course(task, first, UNMODIFIED, t),
        run.flow_time[::SHOWN],
    )


def _agree_on_average(predicted: Sized, observed: Sized) -> Evidence:
    """Mean relative difference over the seeds no further from 0 than Student's t allows, for both numbers."""
    (expected, times, course), (found, _, loss) = predicted, observed
    relative = found / expected - 1
    mean, error = (
        relative.mean(axis=0),
        relative.std(axis=0, ddof=1) / np.sqrt(len(relative)),
    )
    agrees = bool(np.all(np.abs(mean) <= student_quantile(len(relative) - 1) * error))
    shown = [
        f"{100 * m:+.2f} ± {100 * e:.2f} %" for m, e in zip(mean, error, strict=True)
    ]
    time, final = expected.mean(axis=0)
    return Evidence(
        agrees,
        f"time of drop {shown[0]}, final loss {shown[1]}",
        f"{time:.3f}, {final:.5f} within Student's t at {CONFIDENCE}",
        residual=sup_gap(course, loss),
        curves=(curve("loss of the first run", course, loss, times),),
        axes=("flow time", "loss"),
    )
