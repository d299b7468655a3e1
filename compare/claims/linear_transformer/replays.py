"""Recorded runs of an independent implementation of the layer, reproduced in losses and weights."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ....models.attention import Merged
from ....runtime.arrays import FloatArray
from ...evidence.claim import UNMODIFIED, Claim, RunContext
from ...evidence.evidence import Evidence
from ...replays.recordings import Recording, read_recording, reference_files
from ...replays.replaying import replay_recording
from ...replays.vector_recordings import TOLERANCE

NO_HALF = "a loss without ½"
TWICE = "twice the learning rate"
NO_QUERY = "the query's token dropped"
DIVIDED = "divisor N + 1"
NOT_FROZEN = "null blocks that move"

FIRST_STEPS = 60
"""Wrong conventions are followed for so many steps: what is rejected there is rejected."""


class Run(NamedTuple):
    """A file, the engine that repeats it, and what a title says of it."""

    file: str
    engine: str
    words: str
    controls: tuple[str, ...] = (NO_HALF, TWICE, DIVIDED, NO_QUERY)


RUNS = {
    "full_batch": Run(
        "vector_full_batch",
        "tokens",
        "of all four blocks on full batches is reproduced on tokens",
    ),
    "statistics": Run(
        "vector_full_batch",
        "statistics",
        "of all four blocks on full batches is reproduced on sufficient statistics",
    ),
    "online": Run(
        "vector_online",
        "tokens",
        "on fresh batches with frozen null blocks is reproduced",
        # With p1 = q2 = 0 the query's token drops out exactly: to leave it out is no control.
        (NO_HALF, TWICE, DIVIDED, NOT_FROZEN),
    ),
}


def _recording(name: str) -> Recording:
    """The recording in a file of this wing."""
    (path,) = (
        path for path in reference_files("linear_transformer") if path.stem == name
    )
    return read_recording(path)


def _tolerance(context: RunContext) -> FloatArray:
    """The largest deviation that rounding may make in double precision."""
    return np.array(TOLERANCE)


def _deviation(run: Run, context: RunContext, control: str) -> FloatArray:
    """Largest relative deviation of losses and weights."""
    recording = _recording(run.file)
    if control != UNMODIFIED:
        recording = _with_convention(_beginning(recording), control)
    return np.array(replay_recording(recording, run.engine).max_relative_deviation)


def _beginning(recording: Recording) -> Recording:
    """The first steps, with the losses alone."""
    return replace(recording, loss=recording.loss[:FIRST_STEPS], weights=None)


def _with_convention(recording: Recording, control: str) -> Recording:
    """The recording, or what a wrong convention would train."""
    if control == NO_HALF:
        return replace(recording, loss_divisor=1)
    if control == TWICE:
        return replace(recording, learning_rate=2 * recording.learning_rate)
    if control == NOT_FROZEN:
        return replace(recording, frozen={})
    assert isinstance(recording.model, Merged)
    changes: dict[str, dict[str, Any]] = {
        NO_QUERY: {"query_token": False},
        DIVIDED: {"divisor": "tokens"},
    }
    settings = recording.model.to_dict() | changes[control]
    return replace(recording, model=Merged.from_dict(settings))


def _small_deviation(predicted: FloatArray, observed: FloatArray) -> Evidence:
    deviation, tolerance = float(predicted), float(observed)
    return Evidence(
        agrees=deviation <= tolerance,
        observed=f"largest relative deviation {deviation:.1e}",
        expected=f"at most {tolerance:.0e}",
    )


def _replay_claim(name: str, run: Run) -> Claim:
    """The claim on one recorded training with one engine."""
    return Claim(
        id=f"modes_replay.{name}",
        title=f"A recorded run {run.words}, losses and weights",
        paper="mainali2025",
        equation="independent implementation of the layer",
        statement=r"(L, p_1, p_2, q_1, q_2)_{\mathrm{ours}} = (L, p_1, p_2, q_1, q_2)_{\mathrm{recorded}}",
        observable="largest relative deviation of the loss at every step and of the recorded weights",
        limit="none: both run the same algorithm in double precision",
        hypotheses=("D = K = 3, N = 8", "tasks that share a rotated eigenbasis")
        if run.file == "vector_full_batch"
        else ("D = K = 3, N = 8", "batches of 16"),
        measure=_tolerance,
        predict=partial(_deviation, run),
        judge=_small_deviation,
        controls=run.controls,
        tier="fast",
    )


CLAIMS = tuple(_replay_claim(name, run) for name, run in RUNS.items())
