"""A loss and its gradient as a function of the weights: what descent needs, from tokens or from statistics."""

from collections.abc import Callable

import numpy as np

from ...models.attention import Separate
from ...models.protocol import (
    Heads,
    Parametrization,
    Weights,
    refuse_other_outputs,
)
from ...runtime.arrays import FloatArray
from ...runtime.checks import refuse_wrong_order
from ...runtime.machine import keep_freed_memory
from ...task import Task
from ..data.batches import Batches, BatchesInOrder
from ..data.prompts import Data, all_sequences
from ..sufficient_statistics.quadratic_loss import Statistics, refuse_mismatch
from ..sufficient_statistics.restricted_block import refuse_outside, separate_on_block
from .forward import token_loss
from .gradients import pullback
from .heads import heads_of
from .model_check import refuse_unfit

Objective = Callable[[Weights], tuple[float, Weights]]

StepObjective = Callable[[Weights, int], tuple[float, Weights]]
"""(weights, step) → (loss, gradients), on the prompts of that step."""

MOST_WORK = 2e9
"""Most numbers that one loss may read from tokens: ten to twenty seconds on one core."""


def objective(model: Parametrization, source: Data | Statistics) -> Objective:
    """weights → (loss, gradients) of a model on data (token by token) or on statistics of it.

    The two are the same function in exact arithmetic. ValueError if statistics are given for softmax, or were
    made with another divisor than the model's, or are restricted and the weights leave their block; and for a model
    of the user's own whose heads have wrong shapes or are not analytic, or one of whose weights is not used.
    TypeError for arguments in another order, for a task, which has no end of prompts, and for batches.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import sample, statistics, initial_weights
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> data, start = sample(task, sequences=50), initial_weights(Merged(heads=2), task, scale=0.1)
    >>> on_tokens, on_statistics = objective(model, data), objective(model, statistics(data, model))
    >>> abs(on_tokens(start)[0] - on_statistics(start)[0]) < 1e-14
    True
    """
    in_order = isinstance(model, Parametrization) and hasattr(source, "dimension")
    refuse_wrong_order("objective(model, source)", in_order, model, source)
    if isinstance(source, Task):
        raise TypeError(
            "a task has no end of prompts: pass sample(task, P), or statistics of it"
        )
    if isinstance(source, BatchesInOrder):
        raise TypeError(
            "batches are other prompts in every step: pass the data that they are of"
        )
    refuse_unfit(model, source.dimension)
    refuse_other_outputs(source.outputs, model)
    if not isinstance(source, Statistics):
        return _on_tokens(model, source)
    refuse_mismatch(model, source)
    if source.block == "restricted" and source.outputs > 1:
        return _on_block(model, source)
    if source.block == "restricted" and isinstance(model, Separate):
        return separate_on_block(model, source)
    return _on_statistics(model, source)


def batch_objective(model: Parametrization, batches: Batches) -> StepObjective:
    """(weights, step) → (loss, gradients) of a model on the batch of a step; ValueError as `objective`.

    >>> from attndyn import Merged, Task
    >>> from attndyn.simulate import initial_weights
    >>> from attndyn.simulate.data.batches import FreshPrompts
    >>> model, task = Merged(heads=2), Task(eigenvalues=[2, 1], context_length=5)
    >>> evaluate = batch_objective(model, FreshPrompts(task, batch=8, seed=0))
    >>> start = initial_weights(model, task, scale=0.1)
    >>> evaluate(start, 0)[0] == evaluate(start, 0)[0] != evaluate(start, 1)[0]
    True
    """
    refuse_unfit(model, batches.dimension)
    refuse_other_outputs(batches.outputs, model)
    to_weights = pullback(model)
    keep_freed_memory()
    lengths, length_weights = batches.context_lengths, batches.context_weights

    def evaluate(weights: Weights, step: int) -> tuple[float, Weights]:
        heads = heads_of(model, weights)
        prompts = batches.at(step)
        loss, (grad_a, grad_B) = token_loss(
            model, heads, prompts, lengths, length_weights
        )
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def _on_tokens(model: Parametrization, data: Data) -> Objective:
    """The objective that reads every token."""
    _refuse_work(data)
    sequences = all_sequences(data)
    lengths, length_weights = data.context_lengths, data.context_weights
    to_weights = pullback(model)

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        heads = heads_of(model, weights)
        loss, (grad_a, grad_B) = token_loss(
            model, heads, sequences, lengths, length_weights
        )
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def _refuse_work(data: Data) -> None:
    """ValueError if one loss on these tokens takes so long that no descent can wait for it."""
    # Tokens of a sequence that are read, over every context length, the query's included.
    tokens = sum(length + 1 for length in data.context_lengths)
    work = float(data.sequences) * tokens * (data.dimension + data.outputs)
    if work > MOST_WORK:
        seconds = work / 1e8
        raise ValueError(
            f"every loss would read {work:.1g} numbers, for {seconds:.0f} seconds or so: pass "
            "statistics(data, model) if attention is linear, or take fewer sequences or context lengths"
        )


class LossOfMap:
    """L(M) = c − 2⟨b, m⟩ + ⟨m, S m⟩ of a map M (D+1, D+1, D), by statistics (Zhang et al. 2025, Section 2.2).

    G is symmetric, so that one feature stands for both orders of a pair i ≤ j, and m_(ij)d = M_ijd + M_jid where
    i < j, M_iid on the diagonal. With K outputs each has a map M_k (D+K, D+K, D), and the loss is the sum over k.
    """

    def __init__(self, stats: Statistics) -> None:
        i, j = stats.pairs
        size = stats.dimension + stats.outputs
        self.stats = stats
        # Rows of M (size², D) that hold the two orders of each pair.
        self.upper = i * size + j
        self.lower = j * size + i
        # A diagonal pair is its own transpose, and would be counted twice.
        self.once = np.repeat(np.where(i == j, 0.5, 1.0), stats.dimension)
        # Memory for S m − b on both orders of each pair: zero outside the block.
        maps = () if stats.outputs == 1 else (stats.outputs,)
        self.rows = np.zeros((*maps, size * size, stats.dimension))

    def __call__(self, M: FloatArray) -> tuple[float, FloatArray]:
        """Loss and ∂L/∂M (size², D) at M (size², D); (K, size², D) with several outputs."""
        b = self.stats.b
        by_pair = M[..., self.upper, :] + M[..., self.lower, :]
        m = by_pair.reshape(b.shape) * self.once
        loss, half_slope = self.stats.loss_of_features(m)

        # ∂L/∂m = 2 (S m − b) for either order of a pair.
        half = half_slope.reshape(by_pair.shape)
        self.rows[..., self.upper, :] = half
        self.rows[..., self.lower, :] = half
        return loss, 2.0 * self.rows


def _on_statistics(model: Parametrization, stats: Statistics) -> Objective:
    """The objective of the map M = Σ_h a_h ⊗ B_h, a map for each output if there are several."""
    D, K = stats.dimension, stats.outputs
    size = D + K
    loss_of_map = LossOfMap(stats)
    to_weights = pullback(model)
    restricted = stats.block == "restricted"

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        if restricted:
            refuse_outside(model, weights, D)
        a, B = heads_of(model, weights)  # (H, [K,] size) and (H, size, D)
        flat_a = a.reshape(len(a), -1)  # (H, K·size)
        flat_B = B.reshape(len(B), -1)  # (H, size·D)
        M = (flat_a.T @ flat_B).reshape(loss_of_map.rows.shape)
        loss, slope = loss_of_map(M)

        # ∂L/∂a_h = ⟨∂L/∂M, B_h⟩ and ∂L/∂B_h = ⟨a_h, ∂L/∂M⟩.
        dL_dM = slope.reshape(K * size, size * D)
        grad_a = (flat_B @ dL_dM.T).reshape(a.shape)
        grad_B = (flat_a @ dL_dM).reshape(B.shape)
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def _on_block(model: Parametrization, stats: Statistics) -> Objective:
    """The objective of several outputs on the restricted block, with maps of K²D² numbers.

    There a_h is V_h (K, K), which reads y, and B_h is U_h (D, D), which joins x to x_q: M = Σ_h V_h ⊗ U_h.
    """
    D, K = stats.dimension, stats.outputs
    to_weights = pullback(model)

    def evaluate(weights: Weights) -> tuple[float, Weights]:
        refuse_outside(model, weights, D)
        a, B = heads_of(model, weights)  # (H, K, D+K) and (H, D+K, D)
        V = a[:, :, D:].reshape(len(a), -1)  # (H, K·K)
        U = B[:, :D].reshape(len(B), -1)  # (H, D·D)
        M = V.T @ U
        loss, half_slope = stats.loss_of_features(M.reshape(stats.b.shape))

        dL_dM = 2.0 * half_slope.reshape(M.shape)
        grad_a, grad_B = _embedded(U @ dL_dM.T, V @ dL_dM, K, D)
        return loss, to_weights(weights, grad_a, grad_B)

    return evaluate


def _embedded(grad_V: FloatArray, grad_U: FloatArray, K: int, D: int) -> Heads:
    """The gradients of a (H, K, D+K) and B (H, D+K, D), which are 0 outside of V (H, K·K) and U (H, D·D)."""
    heads = len(grad_V)
    grad_a = np.zeros((heads, K, D + K))
    grad_B = np.zeros((heads, D + K, D))
    grad_a[:, :, D:] = grad_V.reshape(-1, K, K)
    grad_B[:, :D] = grad_U.reshape(-1, D, D)
    return grad_a, grad_B
