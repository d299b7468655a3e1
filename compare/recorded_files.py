"""Replays of recorded files: trainings on prompts, and reduced flows of softmax heads, which have none."""

import os
import time

import numpy as np

from ..runtime.arrays import BoolArray, FloatArray
from ..runtime.files import AnyPath
from ..theory.softmax_attention import approximate_loss
from ..theory.softmax_attention.approximate_losses import (
    WhiteTask,
    approximate_gradient,
    white_task,
)
from .replays.recordings import read_any_recording
from .replays.reduced_flow_recordings import Case, ReducedFlowRecording
from .replays.replaying import Replay, refuse_other_engines, replay_recording

FLOW_TOLERANCE = 1e-12
"""Largest deviation from a reduced flow in double precision: 20,000 steps that round differently make 1e-14."""

REDUCED_FLOW_ENGINE = "reduced flow"
"""What a replay says of its engine where there are neither tokens nor statistics."""


def replay(path: AnyPath, engine: str = "tokens") -> Replay:
    """Train from a recorded file and compare every loss, in float64.

    `engine` is "tokens" (the full data at every step) or "statistics" (of the same data, full block; ValueError for
    softmax, which has none). A reduced flow of softmax heads is followed step by step, without either. ValueError if
    the file is no recording that can be replayed, OSError if it is absent or no regular file, ArithmeticError if our
    run diverges where the recorded one did not.

    >>> from attndyn.compare import reference_files
    >>> replay(reference_files()[0], engine="statistics").max_relative_deviation < 2e-6
    True
    """
    refuse_other_engines(engine)
    recording = read_any_recording(path)
    file = os.fsdecode(path)
    if isinstance(recording, ReducedFlowRecording):
        return replay_reduced_flow(recording, engine, file)
    return replay_recording(recording, engine, file)


def replay_reduced_flow(
    recording: ReducedFlowRecording, engine: str = "tokens", file: str = ""
) -> Replay:
    """`replay` of a reduced flow that is already read: it has neither prompts nor statistics of them."""
    refuse_other_engines(engine)
    if engine == "statistics":
        raise ValueError(
            "a reduced flow has no prompts, and no statistics of them: leave the engine out"
        )
    begin = time.perf_counter()
    found = deviations(recording)
    seconds = time.perf_counter() - begin
    return Replay(
        file=file,
        engine=REDUCED_FLOW_ENGINE,
        steps=recording.steps,
        max_relative_deviation=float(found.max()),
        median_relative_deviation=float(np.median(found)),
        seconds=round(seconds, 3),
        not_used=recording.not_used,
        tolerance=FLOW_TOLERANCE,
    )


# Long because cases of different numbers of heads are put into one array and taken out again.
def followed(recording: ReducedFlowRecording) -> tuple[Case, ...]:
    """Our Euler steps from the recorded starts.

    All starts take their steps together: a start of fewer heads than others has heads that stay at ω = μ = 0.
    """
    white = white_task(recording.task, "the reduced flow")
    heads = [case.mu.shape[1] for case in recording.cases]
    is_head = np.arange(max(heads)) < np.array(heads)[:, None]  # (cases, H)
    ω, μ = np.zeros(is_head.shape), np.zeros(is_head.shape)
    ω[is_head] = np.concatenate([case.omega[0] for case in recording.cases])
    μ[is_head] = np.concatenate([case.mu[0] for case in recording.cases])
    states = _euler_steps(recording, white, is_head, (ω, μ))
    cases = []
    for index, count in enumerate(heads):
        ω, μ = states[:, 0, index, :count], states[:, 1, index, :count]
        half_loss = approximate_loss(recording.task, ω, μ).loss / 2
        cases.append(Case(ω, μ, half_loss))
    return tuple(cases)


# Long because the loop keeps what it needs beside it: rates, states and the check of each record.
def _euler_steps(
    recording: ReducedFlowRecording,
    white: WhiteTask,
    is_head: BoolArray,
    start: tuple[FloatArray, FloatArray],
) -> FloatArray:
    """ω and μ of every start at the recorded steps, (K, 2, cases, H); ArithmeticError where one is no number."""
    ω, μ = start
    # ∂(L̃/2) has the ½ of half the loss.
    rate_of_ω = recording.step * recording.metric / 2
    rate_of_μ = recording.step / 2 * is_head
    states = [np.stack([ω, μ])]
    with np.errstate(over="ignore", invalid="ignore"):
        for step in range(1, recording.steps + 1):
            by_ω, by_μ = approximate_gradient(white, ω, μ)
            ω = ω - rate_of_ω * by_ω
            μ = μ - rate_of_μ * by_μ
            if step % recording.every == 0:
                states.append(np.stack([ω, μ]))
                if not np.all(np.isfinite(states[-1])):
                    raise ArithmeticError(
                        f"the replay diverges before step {step}, where the recorded flow does not: a setting differs"
                    )
    return np.array(states)


def deviations(recording: ReducedFlowRecording) -> FloatArray:
    """|ours − recorded| of every number of ω, μ and half of the loss, over the largest of its array."""
    parts = []
    for ours, recorded in zip(followed(recording), recording.cases, strict=True):
        for own, array in zip(ours, recorded, strict=True):
            # Heads that start at 0 stay there.
            size = float(np.max(np.abs(array))) or 1.0
            parts.append(np.abs(own - array).ravel() / size)
    return np.concatenate(parts)
