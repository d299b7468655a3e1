"""The runs behind the claims and the figures, at the sizes that were published.

Published convention: attention without divisor, Λ of trace 1 with λ_d ∝ D + 1 − d, N = 31, teachers whitened and x
centred over the data set, weights of the "published" scheme. A rotation of the eigenbasis changes neither the
dynamics nor the distribution of the initial weights, so Λ is diagonal here. Source: Zhang et al. 2025, experiments.
"""

from ..model import Merged, Separate
from ..simulate import Experiment
from ..task import Task

SEEDS = 6
"""Data sets and initial weights that a claim about published sizes is averaged over."""

PUBLISHED_STEPS = 10_001
"""Length of the published separate runs; ours go on, and begin with the same steps."""

RANKS = (8, 4, 2, 1)
"""Ranks of the low-rank runs, D = 8."""

WHITE = Task(eigenvalues=[1, 1, 1, 1], trace=1.0, context_length=31)
FOUR = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
EIGHT = Task(eigenvalues=[8, 7, 6, 5, 4, 3, 2, 1], trace=1.0, context_length=31)

MERGED = Merged(heads=8, divisor="none")
SEPARATE = Separate(heads=5, rank=1, divisor="none")


def low_rank_model(rank: int) -> Separate:
    """The model of the low-rank runs: nine heads of the given rank."""
    return Separate(heads=9, rank=rank, divisor="none")


def seeds(base: int, count: int = SEEDS) -> list[int]:
    """Seeds of repeated runs: different bases share none of them."""
    return [1000 * base + k for k in range(count)]


def merged(task: Task, seed: int, sequences: int = 80_000) -> tuple[Experiment, ...]:
    """Merged runs, one a seed, with a start and steps so small that neither shows (flow time 6)."""
    run = Experiment(
        task, MERGED, sequences, scale=1e-4, learning_rate=2e-4, steps=15_001, whiten=True, centre=True
    )
    return tuple(run.with_seed(each) for each in seeds(seed, 12))


def separate(seed: int) -> tuple[Experiment, ...]:
    """Separate rank-one runs, one a seed: the published steps and on until all four directions are learned."""
    run = Experiment(
        FOUR, SEPARATE, 80_000, 0.01, learning_rate=0.02, steps=120_000, whiten=True, centre=True, record=40
    )
    return tuple(run.with_seed(each) for each in seeds(seed))


def low_rank(seed: int, rank: int) -> Experiment:
    """The low-rank run of this rank: the published 20,001 steps and on."""
    model, first = low_rank_model(rank), seeds(seed)[0]
    return Experiment(
        EIGHT, model, 80_000, 0.005, learning_rate=0.02, steps=120_000, seed=first, whiten=True, centre=True
    )
