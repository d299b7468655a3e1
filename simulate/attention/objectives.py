"""A loss and its gradient as a function of the weights: what descent needs, from tokens or from statistics."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Separate
from ...models.protocol import Parametrization, Weights
from ...runtime.arrays import FloatArray
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
    """The objective that reads every token."""
    _refuse_work(data)
    tokens = data.tokens
    to_weights = pullback(model)

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        heads = heads_of(model, weights)
        loss, (grad_a, grad_B) = token_loss(model, heads, tokens, data.context_lengths)
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def _refuse_work(data: Data) -> None:
    """ValueError if one loss on these tokens takes so long that no descent can wait for it."""
    # Tokens of a sequence that are read, over every context length, the query's included.
    tokens = sum(length + 1 for length in data.context_lengths)
    work = float(data.sequences) * tokens * (data.dimension + 1)
    if work > MOST_WORK:
        seconds = work / 1e8
        raise ValueError(
            f"every loss would read {work:.1g} numbers, for {seconds:.0f} seconds or so: pass "
            "statistics(data, model) if attention is linear, or take fewer sequences or context lengths"
        )


class PairSums:
    """From M_ijd to the features' coefficients m and back: G is symmetric, so one pair i ≤ j stands for two.

    m_(ij)d = M_ijd + M_jid where i < j, and M_iid on the diagonal.
    """

    def __init__(self, stats: Statistics) -> None:
        i, j = stats.pairs
        size = stats.dimension + 1
        self.dimension = stats.dimension
        # Rows of M (size², D) that hold the two orders of each pair.
        self.upper = i * size + j
        self.lower = j * size + i
        # A diagonal pair is its own transpose, and would be counted twice.
        self.once = np.repeat(np.where(i == j, 0.5, 1.0), stats.dimension)
        self.rows = np.zeros((size * size, stats.dimension))  # zero outside the block

    def coefficients(self, M: FloatArray) -> FloatArray:
        """m (K,) of M (size², D)."""
        by_pair = M[self.upper] + M[self.lower]
        m: FloatArray = by_pair.ravel() * self.once
        return m

    def transposed(self, slope: FloatArray) -> FloatArray:
        """∂L/∂M (size², D) from a slope (K,) that is ∂L/∂M on every pair, in memory that the next call uses."""
        by_pair = slope.reshape(-1, self.dimension)
        self.rows[self.upper] = by_pair
        self.rows[self.lower] = by_pair
        return self.rows


def _on_statistics(model: Parametrization, stats: Statistics) -> Objective:
    """The objective L(M) = c − 2⟨b, m⟩ + ⟨m, S m⟩ with M = Σ_h a_h ⊗ B_h (Zhang et al. 2025, Section 2.2)."""
    D = stats.dimension
    size = D + 1
    pairs = PairSums(stats)
    to_weights = pullback(model)
    c, b, S = stats.c, stats.b, stats.form
    restricted = stats.block == "restricted"

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        if restricted:
            refuse_outside(model, weights)
        a, B = heads_of(model, weights)  # (H, size) and (H, size, D)
        flat_B = B.reshape(len(B), -1)
        m = pairs.coefficients((a.T @ flat_B).reshape(size * size, D))
        Sm = S @ m
        loss = c + float(m @ (Sm - 2.0 * b))

        # ∂L/∂m = 2 (S m − b), and ∂L/∂a_h = ⟨∂L/∂M, B_h⟩, ∂L/∂B_h = ⟨a_h, ∂L/∂M⟩.
        dL_dM = 2.0 * pairs.transposed(Sm - b).reshape(size, size * D)
        grad_a = flat_B @ dL_dM.T
        grad_B = (a @ dL_dM).reshape(B.shape)
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate
