"""Recorded runs of the published training code, reproduced step by step."""

from dataclasses import replace
from functools import partial

import numpy as np

from .....runtime.arrays import FloatArray
from .....simulate import prompts_from_tokens
from ....evidence.claim import Claim, RunContext
from ....evidence.evidence import Evidence
from ....replays.recordings import Recording, read_recording, reference_files
from ....replays.replaying import TOLERANCE, replay_recording

HALF = "a ½ in the loss"
SHORTER = "first token dropped"


def _recording(name: str) -> Recording:
    (path,) = (
        path for path in reference_files("linear_attention") if path.stem == name
    )
    return read_recording(path)


def _tolerance(context: RunContext) -> FloatArray:
    """The largest deviation that single precision may make."""
    return np.array(TOLERANCE)


def _deviation(name: str, context: RunContext, control: str) -> FloatArray:
    """Largest relative deviation of the losses of a run; on tokens, as the recorded run."""
    recording = _with_convention(_recording(name), control)
    # On tokens and not on statistics: rounding is then that of the recorded algorithm.
    replayed = replay_recording(recording, "tokens")
    return np.array(replayed.max_relative_deviation)


def _with_convention(recording: Recording, control: str) -> Recording:
    """The recording, or what a wrong convention would train on."""
    if control == HALF:
        return replace(recording, learning_rate=recording.learning_rate / 2)
    if control == SHORTER and recording.data is not None:
        # Every prompt loses one token, and those of length 1 would have none left.
        lengths = tuple(n - 1 for n in recording.data.context_lengths if n > 1)
        tokens = recording.data.tokens[:, 1:]
        data = prompts_from_tokens(tokens, context_lengths=lengths)
        return replace(recording, data=data)
    return recording


def _small_deviation(predicted: FloatArray, observed: FloatArray) -> Evidence:
    deviation, tolerance = float(predicted), float(observed)
    return Evidence(
        agrees=deviation <= tolerance,
        observed=f"largest relative deviation {deviation:.1e}",
        expected=f"at most {TOLERANCE:.0e} (float32)",
    )


def _replay_claim(name: str) -> Claim:
    """The claim on one recording; that of the network on cubic features has no tokens to drop."""
    return Claim(
        id=f"replay.{name}",
        title=f"The recorded run {name} is reproduced at every step",
        paper="zhang2025",
        equation="published training code",
        statement=r"L_{\mathrm{ours}}(\mathrm{step}) = L_{\mathrm{recorded}}(\mathrm{step})",
        observable="largest relative deviation of the loss over all recorded steps",
        limit="none: both run the same algorithm, the recording in float32",
        measure=_tolerance,
        predict=partial(_deviation, name),
        judge=_small_deviation,
        controls=(HALF,) if name == "mlp_cubic" else (HALF, SHORTER),
        tier="fast",
    )


CLAIMS = tuple(_replay_claim(path.stem) for path in reference_files("linear_attention"))
