"""A loss and its gradient as a function of the weights: what descent needs, from tokens or from statistics."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Separate
from ...models.protocol import Parametrization, Weights
from ..data.prompts import Data
from ..sufficient_statistics.quadratic_loss import Statistics, refuse_mismatch
from ..sufficient_statistics.restricted_block import refuse_outside, separate_on_block
from .forward import token_loss
from .gradients import pullback
from .heads import heads_of
from .model_check import refuse_unfit

Objective = Callable[[Weights], tuple[float, Weights]]

MOST_WORK = 2e9
"""Most numbers that one loss may read from tokens: ten to twenty seconds on one core."""


def objective(model: Parametrization, source: Data | Statistics) -> Objective:
    """weights → (loss, gradients) of a model on data (token by token) or on statistics of it.

    The two are the same function in exact arithmetic. ValueError if statistics are given for softmax, or were
    made with another divisor than the model's, or are restricted and the weights leave their block; and for a model
    of the user's own whose heads have wrong shapes or are not analytic, or one of whose weights is not used.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> data, start = sample(task, sequences=50), initial_weights(Merged(heads=2), task, scale=0.1)
    >>> on_tokens, on_statistics = objective(model, data), objective(model, statistics(data, model))
    >>> abs(on_tokens(start)[0] - on_statistics(start)[0]) < 1e-14
    True
    """
    refuse_unfit(model, source.dimension)
    if not isinstance(source, Statistics):
        return _on_tokens(model, source)
    refuse_mismatch(model, source)
    if source.block == "restricted" and isinstance(model, Separate):
        return separate_on_block(model, source)
    return _on_statistics(model, source)


def _on_tokens(model: Parametrization, data: Data) -> Objective:
    _refuse_work(data)
    tokens, pull = data.tokens, pullback(model)

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        loss, (grad_a, grad_B) = token_loss(
            model, heads_of(model, weights), tokens, data.context_lengths
        )
        return loss, pull(weights, grad_a, grad_B)

    return evaluate


def _refuse_work(data: Data) -> None:
    """ValueError if one loss on these tokens takes so long that no descent can wait for it."""
    read = sum(
        length + 1 for length in data.context_lengths
    )  # tokens of a sequence, over every context length
    work = float(data.sequences) * read * (data.dimension + 1)
    if work > MOST_WORK:
        raise ValueError(
            f"every loss would read {work:.1g} numbers, for {work / 1e8:.0f} seconds or so: pass "
            "statistics(data, model) if attention is linear, or take fewer sequences or context lengths"
        )


def _on_statistics(model: Parametrization, stats: Statistics) -> Objective:
    size, dimension, pull = stats.dimension + 1, stats.dimension, pullback(model)
    i, j = stats.pairs
    upper, lower = i * size + j, j * size + i
    once = np.repeat(
        np.where(i == j, 0.5, 1.0), dimension
    )  # a diagonal pair is counted twice below
    c, b, S, inside = stats.c, stats.b, stats.form, stats.block == "restricted"
    slope = np.zeros((size * size, dimension))

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        if inside:
            refuse_outside(model, weights)
        a, B = heads_of(model, weights)
        flat_B = B.reshape(len(B), -1)
        M = (a.T @ flat_B).reshape(size * size, dimension)
        m = (M[upper] + M[lower]).ravel() * once
        Sm = S @ m
        half = (Sm - b).reshape(-1, dimension)
        slope[upper] = half
        slope[lower] = half
        gradient = 2.0 * slope.reshape(size, size * dimension)
        grad_a, grad_B = flat_B @ gradient.T, (a @ gradient).reshape(B.shape)
        return c + float(m @ (Sm - 2.0 * b)), pull(weights, grad_a, grad_B)

    return evaluate
