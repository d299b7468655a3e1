"""In-context against in-weight learning: mixtures of random teachers and a fixed one, and their two test losses.

Published convention: |w₀|² = D; at fraction 0, and in the in-weight test set, context labels are drawn from N(0, 1)
independently of x and only the query's label uses w₀; at fractions between, all labels are consistent. Source:
Zhang et al. 2025, in-context and in-weight learning, and the published training code (rate, steps, scale).
"""

from collections.abc import Mapping
from functools import cache

import numpy as np
from numpy.typing import NDArray

from .....models.attention import Merged
from .....models.protocol import Weights
from .....runtime.arrays import FloatArray
from .....simulate import (
    Statistics,
    Trajectory,
    initial_weights,
    sample,
    statistics,
    train,
)
from .....task import Task
from .....theory import FeatureMoments, feature_moments
from .....theory.linear_attention.feature_flow import maps_along_flow
from ....exact_statistics import population_statistics

FRACTIONS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
"""Shares of the training sequences with a random teacher."""

MODEL = Merged(heads=8, divisor="none")

SEQUENCES, RATE, STEPS, SCALE = 5_000, 5e-4, 4_001, 1e-6
"""Published size, learning rate, length and initial scale of a run."""


def mixture(fraction: float, length: float = 2.0) -> Task:
    """White Λ of trace 1, D = 4, N = 31; a fixed teacher w₀ of this length, √D if left out.

    >>> mixture(0.4).fixed_teacher
    array([1., 1., 1., 1.])
    """
    # |w₀| = length on four equal entries.
    teacher = np.full(4, length / 2)
    return Task(
        [1] * 4,
        trace=1.0,
        context_length=31,
        fixed_teacher=teacher,
        in_context_fraction=fraction,
    )


def sampled(fraction: float, sequences: int, seed: int) -> Statistics:
    """Statistics of a training set as published."""
    data = sample(
        mixture(fraction), sequences, seed, centre=True, random_labels=fraction == 0
    )
    return statistics(data, MODEL)


def sampled_tests(sequences: int, seed: int) -> tuple[Statistics, Statistics]:
    """Statistics of an in-context and of an in-weight test set."""
    in_context = sample(mixture(1.0), sequences, seed, split="test")
    in_weight = sample(mixture(0.0), sequences, seed, split="test", random_labels=True)
    return statistics(in_context, MODEL), statistics(in_weight, MODEL)


@cache
def exact(
    fraction: float, length: float = 2.0, random_labels: bool | None = None
) -> FeatureMoments:
    """Exact moments of all features; labels as published, or as told."""
    # At fraction 0 the published code draws context labels at random.
    labels = fraction == 0 if random_labels is None else random_labels
    return feature_moments(mixture(fraction, length), MODEL, random_labels=labels)


def exact_source(fraction: float) -> Statistics:
    """The exact moments as what a simulation trains on."""
    return population_statistics(mixture(fraction), MODEL, random_labels=fraction == 0)


def losses(fraction: float, M: FloatArray, length: float = 2.0) -> FloatArray:
    """Training loss, in-context and in-weight test loss of effective maps M (..., K), (3, ...), all exact.

    >>> losses(0.2, exact(0.2).minimum).round(4)
    array([0.0624, 0.2075, 1.0225])
    """
    # Test sets have random teachers, or the fixed one with random context labels.
    training = exact(fraction, length)
    in_context = exact(1.0)
    in_weight = exact(0.0, length)
    return np.array([training.loss(M), in_context.loss(M), in_weight.loss(M)])


def learned_map(weights: Mapping[str, NDArray[np.float64]]) -> FloatArray:
    """Effective map M (K,) of weights."""
    return exact(1.0).effective_map(*MODEL.heads(weights))


def flow_of_all_weights(
    fraction: float, start: Weights, flow_time: FloatArray
) -> FloatArray:
    """Effective maps M (T, K) of gradient flow on the exact loss, from the weights `start`; `flow_time` (T,)."""
    return maps_along_flow(MODEL, exact(fraction), start, flow_time)


def start_at(fraction: float, scale: float, seed: int) -> Weights:
    """Weights of the published scheme at this scale."""
    return initial_weights(MODEL, mixture(fraction), scale, seed, "zhang2025")


def trained_weights(
    source: Statistics, start: Weights, rate: float, steps: int
) -> Trajectory:
    """A run that records its first and its last weights only."""
    return train(
        MODEL,
        source,
        start,
        learning_rate=rate,
        steps=steps,
        record=steps,
    )
