"""The setting: recorded runs are repeated, statistics stand for tokens, moments for statistics."""

from dataclasses import replace

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import (
    initial_weights,
    prompts_from_tokens,
    sample,
    statistics,
    train,
)
from .....simulate.data.prompts import Data
from .....task import Task
from ....evidence.claim import UNMODIFIED, Claim, RunContext
from ....evidence.evidence import Evidence
from ....evidence.judges import converges_on_average, equal_within
from ....evidence.seeding import seeds
from ....replays.recordings import Recording, read_recording, reference_files
from ....replays.replaying import TOLERANCE, replay_recording
from ..common.controls import MOMENTS, wrong_moments
from ..common.experiments import FOUR, MERGED, SEPARATE

HALF = "a ½ in the loss"
SHORTER = "first token dropped"
SEQUENCES = (2_000, 8_000, 32_000, 128_000)
REPEATS = 24
SHORT = Task(
    eigenvalues=[2, 1], trace=1.0, context_length=3
)  # where terms of order 1/N are large


def _recording(name: str) -> Recording:
    return next(read_recording(path) for path in reference_files() if path.stem == name)


def _wrong(recording: Recording, name: str) -> Recording:
    """What a wrong convention would train on."""
    if name == HALF:
        return replace(recording, learning_rate=recording.learning_rate / 2)
    if name == SHORTER and recording.data is not None:
        lengths = tuple(n - 1 for n in recording.data.context_lengths if n > 1)
        return replace(
            recording,
            data=prompts_from_tokens(
                recording.data.tokens[:, 1:], context_lengths=lengths
            ),
        )
    return recording


def _replayed(recording: Recording) -> FloatArray:
    """Largest relative deviation of the losses; on tokens, as the recorded run."""
    return np.array(replay_recording(recording, "tokens").max_relative_deviation)


def _small_deviation(predicted: FloatArray, observed: FloatArray) -> Evidence:
    shown = f"largest relative deviation {float(predicted):.1e}"
    return Evidence(
        float(predicted) <= float(observed), shown, f"at most {TOLERANCE:.0e} (float32)"
    )


def _replay_claim(name: str) -> Claim:
    return Claim(
        id=f"replay.{name}",
        title=f"The recorded run {name} is reproduced at every step",
        paper="zhang2025",
        equation="published training code",
        statement=r"L_{\mathrm{ours}}(\mathrm{step}) = L_{\mathrm{recorded}}(\mathrm{step})",
        observable="largest relative deviation of the loss over all recorded steps",
        limit="none: both run the same algorithm, the recording in float32",
        measure=lambda context: np.array(TOLERANCE),
        predict=lambda context, control: _replayed(_wrong(_recording(name), control)),
        judge=_small_deviation,
        controls=(HALF,) if name == "mlp_cubic" else (HALF, SHORTER),
        tier="fast",
    )


def _tokens_run(context: RunContext) -> list[FloatArray]:
    return [_short_run(context, model, tokens=True) for model in (MERGED, SEPARATE)]


def _statistics_run(context: RunContext, control: str) -> list[FloatArray]:
    return [
        _short_run(context, model, tokens=False, control=control)
        for model in (MERGED, SEPARATE)
    ]


def _short_run(
    context: RunContext,
    model: Merged | Separate,
    tokens: bool,
    control: str = UNMODIFIED,
) -> FloatArray:
    """500 steps on 300 sequences, from weights outside the restricted block."""
    data: Data = sample(FOUR, 300, seed=seeds(context.seed)[0])
    start = initial_weights(
        model,
        FOUR,
        0.3 if model is SEPARATE else 0.05,
        seeds(context.seed)[0],
        scheme="gaussian",
    )
    if control == "one sequence left out":
        data = prompts_from_tokens(data.tokens[1:])
    source = data if tokens else statistics(data, model)
    return train(model, source, start, learning_rate=0.002, steps=500).loss


def _sampled_moments(context: RunContext) -> FloatArray:
    """c, b and S of the restricted block for each number of sequences and seed."""
    return np.array(
        [
            [_moments_of(count, seed) for seed in context.seeds(REPEATS)]
            for count in SEQUENCES
        ]
    )


def _moments_of(count: int, seed: int) -> FloatArray:
    stats = statistics(sample(SHORT, count, seed), Merged(1), block="restricted")
    return np.concatenate([[stats.c], stats.b, stats.S.ravel()])


def _exact_moments(context: RunContext, control: str) -> FloatArray:
    moments = wrong_moments(SHORT, Merged(1), control)
    exact = np.concatenate(
        [[moments.c], moments.B.ravel(), np.kron(moments.A, moments.Lambda).ravel()]
    )
    return np.broadcast_to(
        exact, (len(SEQUENCES), REPEATS * context.repeat_factor, len(exact))
    )


CLAIMS = (
    *(_replay_claim(path.stem) for path in reference_files()),
    Claim(
        id="setting.statistics",
        title="Training on sufficient statistics gives the trajectory of training on tokens",
        paper="zhang2025",
        equation="the output is linear in the effective map",
        statement=r"L(M) = c - 2\langle b, M\rangle + \langle M, S M\rangle",
        observable="loss at each of 500 steps, merged and separate, from weights outside the restricted block",
        limit="none: exact up to rounding",
        measure=_tokens_run,
        predict=_statistics_run,
        judge=equal_within(1e-9, axes=("step", "loss")),
        controls=("one sequence left out",),
        tier="fast",
    ),
    Claim(
        id="setting.moments",
        title="Sampled statistics converge to the exact moments as P^(-1/2)",
        paper="zhang2025",
        equation="population loss of the restricted block",
        statement=r"A = (1 + 1/N)\,\Lambda\Omega\Lambda + (\mathrm{tr}\,\Omega\Lambda + \sigma^2)\,\Lambda/N",
        observable="distance of sampled c, b, S from their expectations",
        limit="P → ∞, error O(P^-1/2)",
        measure=_sampled_moments,
        predict=_exact_moments,
        judge=converges_on_average(SEQUENCES, -0.5, "P"),
        controls=MOMENTS,
    ),
)
