"""The runs behind the claims and the figures, at the sizes that were published.

Published convention: attention without divisor, Λ of trace 1 with λ_d ∝ D + 1 − d, N = 31, teachers whitened and x
centred over the data set, weights of the "zhang2025" scheme. A rotation of the eigenbasis changes neither the
dynamics nor the distribution of the initial weights, so Λ is diagonal here. Source: Zhang et al. 2025, experiments.
"""

from dataclasses import replace
from typing import Any

from .....models.attention import Merged, Separate
from .....simulate import Experiment
from .....task import Task
from ....evidence.seeding import SEEDS, seeds

PUBLISHED_STEPS = 10_001
"""Length of the published separate runs; ours go on, and begin with the same steps."""

LOW_RANK_STEPS = 20_001
"""Length of the published low-rank runs; ours go on, and begin with the same steps."""

RANKS = (8, 4, 2, 1)
"""Ranks of the low-rank runs, D = 8."""

WHITE = Task(eigenvalues=[1, 1, 1, 1], trace=1.0, context_length=31)
FOUR = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
EIGHT = Task(eigenvalues=[8, 7, 6, 5, 4, 3, 2, 1], trace=1.0, context_length=31)

MERGED = Merged(heads=8, divisor="none")
SEPARATE = Separate(heads=5, rank=1, divisor="none")

EVERY_LENGTH = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length="1..31")
TOKENS = Separate(heads=5, rank=1, divisor="tokens")

_TOKENS: dict[str, Any] = {"whiten": True, "centre": True, "engine": "tokens"}


def _at_seeds(run: Experiment, base: int, count: int = SEEDS) -> tuple[Experiment, ...]:
    """The experiment at each of so many seeds; different base seeds share none."""
    return tuple(run.with_seed(seed) for seed in seeds(base, count))


def low_rank_model(rank: int) -> Separate:
    """The model of the low-rank runs: nine heads of the given rank."""
    return Separate(heads=9, rank=rank, divisor="none")


def merged(task: Task, seed: int, count: int = 12) -> tuple[Experiment, ...]:
    """Merged runs, one a seed, with a start and steps so small that neither shows (flow time 6)."""
    run = Experiment(
        task,
        MERGED,
        sequences=80_000,
        scale=1e-4,
        learning_rate=2e-4,
        steps=15_001,
        whiten=True,
        centre=True,
    )
    return _at_seeds(run, seed, count)


def merged_published(task: Task, seed: int) -> Experiment:
    """The merged run of the published settings: 5,000 sequences, scale 1e-6, rate 1e-3, 6,001 steps."""
    return Experiment(
        task,
        MERGED,
        sequences=5_000,
        scale=1e-6,
        learning_rate=1e-3,
        steps=6_001,
        seed=seeds(seed)[0],
        whiten=True,
        centre=True,
        record=10,
    )


def separate(seed: int) -> tuple[Experiment, ...]:
    """Separate rank-one runs, one a seed: the published steps and on until all four directions are learned."""
    run = Experiment(
        FOUR,
        SEPARATE,
        sequences=80_000,
        scale=0.01,
        learning_rate=0.02,
        steps=120_000,
        whiten=True,
        centre=True,
        record=40,
    )
    return _at_seeds(run, seed)


def published(seed: int) -> tuple[Experiment, ...]:
    """Separate rank-one runs of the published length, enough of them to tell how many drops they show."""
    # The same starts and steps as the longer runs, so that both begin alike.
    run = replace(separate(seed)[0], steps=PUBLISHED_STEPS)
    return _at_seeds(run, seed, 20)


def low_rank(seed: int, rank: int) -> Experiment:
    """The low-rank run of this rank: the published steps and on."""
    return Experiment(
        EIGHT,
        low_rank_model(rank),
        sequences=80_000,
        scale=0.005,
        learning_rate=0.02,
        steps=120_000,
        seed=seeds(seed)[0],
        whiten=True,
        centre=True,
    )


def softmax_merged(seed: int, sequences: int = 5_000) -> tuple[Experiment, ...]:
    """Softmax runs with merged key and query, one a seed. Rate and scale are ours: no published ones are known."""
    run = Experiment(
        FOUR,
        Merged(8, softmax=True),
        sequences,
        scale=0.01,
        learning_rate=0.05,
        steps=3_000,
        **_TOKENS,
    )
    return _at_seeds(run, seed, 4)


def softmax_separate(seed: int, sequences: int = 5_000) -> tuple[Experiment, ...]:
    """Softmax runs of rank one, one a seed, until three or four drops are past. Rate and scale are ours."""
    run = Experiment(
        FOUR,
        Separate(5, 1, softmax=True),
        sequences,
        scale=0.1,
        learning_rate=0.1,
        steps=10_000,
        **_TOKENS,
    )
    return _at_seeds(run, seed, 4)


def softmax_full_size(seed: int) -> Experiment:
    """The rank-one softmax run on 80,000 sequences, from a smaller start: half an hour on one core."""
    # A smaller start than that of the short runs, so that pauses are longer.
    run = softmax_separate(seed, 80_000)[0]
    return replace(run, scale=0.05, steps=20_000)


def lengths(seed: int, count: int = 12) -> tuple[Experiment, ...]:
    """Rank-one runs on every context length up to 31, divided by the number of tokens, one a seed."""
    run = Experiment(
        EVERY_LENGTH,
        TOKENS,
        sequences=5_000,
        scale=0.03,
        learning_rate=0.3,
        steps=90_000,
        whiten=True,
        centre=True,
    )
    return _at_seeds(run, seed, count)


def scattered(seed: int, count: int = 24) -> tuple[Experiment, ...]:
    """Rank-one runs from many starts, each long enough for several drops."""
    run = Experiment(
        FOUR,
        SEPARATE,
        sequences=20_000,
        scale=0.01,
        learning_rate=0.02,
        steps=80_000,
        whiten=True,
        centre=True,
        record=50,
    )
    return _at_seeds(run, seed, count)
