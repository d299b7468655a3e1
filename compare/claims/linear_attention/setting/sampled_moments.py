"""The setting: sufficient statistics give the trajectory of tokens, and sampled ones converge to exact moments."""

import numpy as np

from .....models.attention import Merged, Separate
from .....runtime.arrays import FloatArray
from .....simulate import (
    Statistics,
    initial_weights,
    prompts_from_tokens,
    sample,
    statistics,
    train,
)
from .....simulate.data.prompts import Data
from .....task import Task
from ....evidence.claim import Claim, RunContext
from ....evidence.judges import converges_on_average, equal_within
from ....evidence.seeding import seeds
from ..common.controls import MOMENTS, wrong_moments
from ..common.experiments import FOUR, MERGED, SEPARATE

SEQUENCES = (2_000, 8_000, 32_000, 128_000)
REPEATS = 24
THREE_TOKENS = Task(eigenvalues=[2, 1], trace=1.0, context_length=3)
"""A context so short that terms of order 1/N are large."""

ONE_LEFT_OUT = "one sequence left out"


# Statistics in the place of tokens


def _tokens_run(context: RunContext) -> list[FloatArray]:
    """Losses (T,) of merged and of separate attention on the tokens themselves."""
    losses = []
    for model in (MERGED, SEPARATE):
        losses.append(_short_run(context, model, _prompts(context)))
    return losses


def _statistics_run(context: RunContext, control: str) -> list[FloatArray]:
    """The same on sufficient statistics."""
    data = _prompts(context)
    if control == ONE_LEFT_OUT:
        # Statistics of other data are those of another trajectory.
        data = prompts_from_tokens(data.tokens[1:])
    losses = []
    for model in (MERGED, SEPARATE):
        losses.append(_short_run(context, model, statistics(data, model)))
    return losses


def _prompts(context: RunContext) -> Data:
    return sample(FOUR, 300, seed=seeds(context.seed)[0])


def _short_run(
    context: RunContext, model: Merged | Separate, source: Data | Statistics
) -> FloatArray:
    """500 steps from weights outside the restricted block."""
    # Three factors need larger weights than two to move as much.
    scale = 0.3 if model is SEPARATE else 0.05
    seed = seeds(context.seed)[0]
    start = initial_weights(model, FOUR, scale, seed, scheme="gaussian")
    return train(model, source, start, learning_rate=0.002, steps=500).loss


# Sampled moments


def _sampled_moments(context: RunContext) -> FloatArray:
    """c, b and S of the restricted block for each number of sequences and seed, (P, seeds, n)."""
    every_seed = context.seeds(REPEATS)
    return np.array(
        [[_moments_of(count, seed) for seed in every_seed] for count in SEQUENCES]
    )


def _moments_of(count: int, seed: int) -> FloatArray:
    data = sample(THREE_TOKENS, count, seed)
    moments = statistics(data, Merged(1), block="restricted")
    return np.concatenate([[moments.c], moments.b, moments.S.ravel()])


def _exact_moments(context: RunContext, control: str) -> FloatArray:
    """c, b = vec B and S = A ⊗ Λ, the same for each number of sequences and seed."""
    moments = wrong_moments(THREE_TOKENS, Merged(1), control)
    S = np.kron(moments.A, moments.Lambda)
    numbers = np.concatenate([[moments.c], moments.B.ravel(), S.ravel()])
    count = REPEATS * context.repeat_factor
    return np.broadcast_to(numbers, (len(SEQUENCES), count, len(numbers)))


CLAIMS = (
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
        controls=(ONE_LEFT_OUT,),
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
