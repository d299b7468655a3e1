"""Recorded runs of the published code of He et al. and Chen et al., reproduced step by step."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ....models.factorised import Factorised
from ....runtime.arrays import FloatArray
from ....task import Task
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...recorded_files import FLOW_TOLERANCE, deviations
from ...replays.recordings import (
    Recording,
    read_any_recording,
    read_recording,
    reference_files,
)
from ...replays.reduced_flow_recordings import Case, ReducedFlowRecording
from ...replays.replaying import TOLERANCE, replay_recording
from .setting import white_task

UNDIVIDED = "scores not divided"
QUERY_TOKEN = "the query's own token among the keys"
FASTER = "learning rate 0.1 % too large"
SUMMED = "loss summed over the labels"

FIRST_PART, FIRST_RECORDS = 3, 20
"""Wrong conventions are followed for a third of a training, and for so many records of a reduced flow."""

REDUCED_FLOW = "he_reduced_flow"
OTHER_METRIC = "ρ = 1/D for ρ = 1"
NO_NOISE = "κ = 1/N, without the noise of the labels"
WHOLE_LOSS = "the whole loss for its half"


class Run(NamedTuple):
    """A recorded training: the paper whose code made it, and what it is of."""

    paper: str
    subject: str
    outputs: int


RUNS = {
    "he_two_heads": Run("he2025", "two heads on one task", 1),
    "he_two_tasks": Run("he2025", "three heads on two tasks that share inputs", 2),
    "chen_decomposable": Run("chen2024", "three heads on three disjoint tasks", 3),
}


def _recorded_file(name: str) -> str:
    """The file of a recording."""
    (path,) = (
        path for path in reference_files("softmax_attention") if path.stem == name
    )
    return str(path)


def _tolerance(context: RunContext) -> FloatArray:
    """The largest deviation that single precision may make."""
    return np.array(TOLERANCE)


def _deviation(name: str, context: RunContext, control: str) -> FloatArray:
    """Largest relative deviation of the losses of a run."""
    recording = read_recording(_recorded_file(name))
    if control != UNMODIFIED:
        # What is rejected at the first steps is rejected.
        steps = len(recording.loss) // FIRST_PART
        recording = replace(recording, loss=recording.loss[:steps])
        recording = _with_convention(recording, control)
    return np.array(replay_recording(recording, "tokens").max_relative_deviation)


def _with_convention(recording: Recording, control: str) -> Recording:
    """The recording, or what a wrong convention would train."""
    if control == FASTER:
        return replace(recording, learning_rate=1.001 * recording.learning_rate)
    if control == SUMMED:
        # The gradients of a sum over labels are so many times as large as those of their mean.
        rate = recording.learning_rate * recording.loss_divisor
        return replace(recording, learning_rate=rate, loss_divisor=1)
    assert isinstance(recording.model, Factorised)
    settings = recording.model.to_dict()
    wrong: dict[str, dict[str, Any]] = {
        UNDIVIDED: {"score_divisor": 1.0},
        QUERY_TOKEN: {"query_token": True},
    }
    return replace(recording, model=Factorised(**settings | wrong[control]))


def _small_deviation(predicted: FloatArray, observed: FloatArray) -> Evidence:
    deviation, tolerance = float(predicted), float(observed)
    return Evidence(
        agrees=deviation <= tolerance,
        observed=f"largest relative deviation {deviation:.1e}",
        expected=f"at most {tolerance:.0e}",
    )


def _flow_tolerance(context: RunContext) -> FloatArray:
    """The largest deviation that rounding may make in double precision."""
    return np.array(FLOW_TOLERANCE)


def _flow_deviation(context: RunContext, control: str) -> FloatArray:
    """Largest deviation of ω, μ and half of the loss, over the largest of each array."""
    recording = read_any_recording(_recorded_file(REDUCED_FLOW))
    assert isinstance(recording, ReducedFlowRecording)
    if control != UNMODIFIED:
        recording = _first_steps(recording)
    if control == OTHER_METRIC:
        recording = replace(recording, metric=1 / recording.task.dimension)
    if control == WHOLE_LOSS:
        recording = replace(recording, step=2 * recording.step)
    if control == NO_NOISE:
        recording = replace(recording, task=_noiseless(recording.task))
    return np.array(deviations(recording).max())


def _first_steps(recording: ReducedFlowRecording) -> ReducedFlowRecording:
    """The first records of a reduced flow."""
    cases = [
        Case(*(series[: FIRST_RECORDS + 1] for series in case))
        for case in recording.cases
    ]
    steps = FIRST_RECORDS * recording.every
    return replace(recording, steps=steps, cases=tuple(cases))


def _noiseless(task: Task) -> Task:
    """The task without noise in its labels."""
    return white_task(task.dimension, max(task.context_lengths), 0.0)


def _replay_claim(name: str) -> Claim:
    """The claim on one recorded training."""
    run = RUNS[name]
    controls = (UNDIVIDED, QUERY_TOKEN, FASTER)
    return Claim(
        id=f"softmax_replay.{name}",
        title=f"The recorded run {name} of {run.subject} is reproduced at every step",
        paper=run.paper,
        equation="published training code",
        statement=r"L_{\mathrm{ours}}(\mathrm{step}) = L_{\mathrm{recorded}}(\mathrm{step})",
        observable="largest relative deviation of the loss over all recorded steps",
        limit="none: both run the same algorithm, the recording in float32",
        hypotheses=("query, key, value and output matrices, all trained",),
        measure=_tolerance,
        predict=partial(_deviation, name),
        judge=_small_deviation,
        controls=controls if run.outputs == 1 else (*controls, SUMMED),
        tier="fast",
    )


CLAIMS = (
    *(_replay_claim(name) for name in RUNS),
    Claim(
        id=f"softmax_replay.{REDUCED_FLOW}",
        title="The recorded reduced flow of 1, 2 and 4 heads is reproduced to rounding over 20,000 steps",
        paper="he2025",
        equation="published code of the reduced flow",
        statement=r"(\omega, \mu)_{k+1} = (\omega, \mu)_k - h\,\nabla\tilde L/2",
        observable="largest deviation of ω, μ and half of the approximate loss, every 100 steps",
        limit="none: both run Euler's method in double precision",
        measure=_flow_tolerance,
        predict=_flow_deviation,
        judge=_small_deviation,
        controls=(OTHER_METRIC, NO_NOISE, WHOLE_LOSS),
        tier="fast",
    ),
)
