"""A loss and its gradient as a function of the weights: what descent needs, from tokens or from statistics."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..model import Parametrization, Weights, is_softmax
from .attention import token_loss
from .gradients import pullback
from .prompts import Data
from .statistics import Statistics, refuse_outside

FloatArray = NDArray[np.float64]
Objective = Callable[[Weights], tuple[float, Weights]]


def objective(model: Parametrization, source: Data | Statistics) -> Objective:
    """weights → (loss, gradients) of a model on data (token by token) or on statistics of it.

    The two are the same function in exact arithmetic. ValueError if statistics are given for softmax, or were
    made with another divisor than the model's, or are restricted and the weights leave their block.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> data, start = sample(task, sequences=50), initial_weights(Merged(heads=2), task, scale=0.1)
    >>> on_tokens, on_statistics = objective(model, data), objective(model, statistics(data, model))
    >>> abs(on_tokens(start)[0] - on_statistics(start)[0]) < 1e-14
    True
    """
    if isinstance(source, Statistics):
        return _on_statistics(model, source)
    return _on_tokens(model, source)


def _on_tokens(model: Parametrization, data: Data) -> Objective:
    tokens, pull = data.tokens, pullback(model)

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        loss, (grad_a, grad_B) = token_loss(model, model.heads(weights), tokens, data.context_lengths)
        return loss, pull(weights, grad_a, grad_B)

    return evaluate


def _on_statistics(model: Parametrization, stats: Statistics) -> Objective:
    _refuse_mismatch(model, stats)
    size, dimension, pull = stats.dimension + 1, stats.dimension, pullback(model)
    i, j = stats.pairs
    upper, lower = i * size + j, j * size + i
    once = np.repeat(np.where(i == j, 0.5, 1.0), dimension)  # a diagonal pair is counted twice below
    c, b, S, inside = stats.c, stats.b, stats.S, stats.block == "restricted"
    slope = np.zeros((size * size, dimension))

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        a, B = model.heads(weights)
        if inside:
            refuse_outside(a, B)
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


def _refuse_mismatch(model: Parametrization, stats: Statistics) -> None:
    if is_softmax(model):
        raise ValueError("softmax attention has no finite statistics: pass the data itself to train")
    divisor = str(getattr(model, "divisor", "context"))
    if divisor != stats.divisor:
        raise ValueError(
            f"these statistics were made with divisor {stats.divisor!r}, the model has {divisor!r}: "
            "make them with statistics(data, model)"
        )
