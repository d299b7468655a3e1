"""The forward pass and the gradients of attention on tokens, by hand; only the query's row is ever formed."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..model import Heads, attention_divisor, is_softmax

FloatArray = NDArray[np.float64]

SLICE = 256
"""Sequences that are worked on together, so that the scores stay in the processor's cache."""


class Batch(NamedTuple):
    """Prompts of one context length n: X (P, n+1, D+1) with the query's y masked, x_q (P, D), y_q (P,)."""

    X: FloatArray
    query: FloatArray
    label: FloatArray


def prompts(tokens: FloatArray, context_length: int) -> Batch:
    """The first n tokens as context and the next one as query, its y masked.

    >>> batch = prompts(np.ones((2, 4, 3)), 3)
    >>> batch.X[0, -1], batch.label
    (array([1., 1., 0.]), array([1., 1.]))
    """
    X = tokens[:, : context_length + 1].copy()
    X[:, -1, -1] = 0.0
    return Batch(X, X[:, -1, :-1], tokens[:, context_length, -1])


def predict(model: object, heads: Heads, tokens: NDArray[Any], context_length: int | None = None) -> NDArray[Any]:
    """The query's output ŷ_q (P,) for tokens (P, N+1, D+1), whose query is the row after the context.

    `heads` are a (H, D+1) and B (H, D+1, D), as `model.heads(weights)` gives them; they may be complex. The y of
    the query is never read. `context_length` is N if left out; ValueError if it does not lie in 1 … N.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged
    >>> predict(Merged(heads=1), (np.array([[0, 1.0]]), np.array([[[1.0], [0]]])), np.array([[[2, 3.0], [5, 0]]]))
    array([30.])
    """
    longest = tokens.shape[1] - 1
    length = longest if context_length is None else context_length
    if not 1 <= length <= longest:
        raise ValueError(f"context_length must lie in 1 … {longest} for these tokens, not {length}")
    batch = prompts(np.asarray(tokens, dtype=np.float64), length)
    scores, values = _scores(batch, heads)
    if is_softmax(model):
        return np.asarray(np.einsum("pnh,pnh->p", _softmax(scores), values))
    return np.asarray(np.einsum("pnh,pnh->p", scores, values) / attention_divisor(model, length))


def token_loss(
    model: object, heads: Heads, tokens: FloatArray, context_lengths: tuple[int, ...]
) -> tuple[float, Heads]:
    """Mean squared error over prompts and context lengths, and its gradient with respect to a and B.

    Shapes: tokens (P, N+1, D+1) with the true y in every row; gradients as `heads`. The loss has no ½.
    """
    loss, grad_a, grad_B = 0.0, np.zeros(heads[0].shape), np.zeros(heads[1].shape)
    backward = _softmax_slopes if is_softmax(model) else _linear_slopes
    for length, batch in _batches(tokens, context_lengths):
        scale = 1.0 if is_softmax(model) else attention_divisor(model, length)
        residual, slope_scores, slope_values = backward(batch, heads, scale)
        loss += float(residual @ residual)
        grad_a += slope_values.reshape(-1, len(grad_a)).T @ batch.X.reshape(-1, batch.X.shape[2])
        keys = np.matmul(slope_scores.swapaxes(1, 2), batch.X)  # (P, H, D+1)
        grad_B += np.tensordot(keys, batch.query, axes=(0, 0))
    count = len(tokens) * len(context_lengths)
    return loss / count, (2 * grad_a / count, 2 * grad_B / count)


def _batches(tokens: FloatArray, context_lengths: tuple[int, ...]) -> Iterator[tuple[int, Batch]]:
    for first in range(0, len(tokens), SLICE):
        for length in context_lengths:
            yield length, prompts(tokens[first : first + SLICE], length)


def _scores(batch: Batch, heads: Heads) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores and values of every token and head, (P, n+1, H) each."""
    a, B = heads
    count, size, dimension = B.shape
    lifted = (batch.query @ B.reshape(-1, dimension).T).reshape(-1, count, size)
    return np.matmul(batch.X, lifted.swapaxes(1, 2)), batch.X @ a.T


def _linear_slopes(batch: Batch, heads: Heads, scale: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Residuals (P,), and residual × ∂ŷ/∂score and ∂ŷ/∂value, (P, n+1, H)."""
    scores, values = _scores(batch, heads)
    residual = np.einsum("pnh,pnh->p", scores, values) / scale - batch.label
    weight = (residual / scale)[:, None, None]
    values *= weight
    scores *= weight
    return residual, values, scores


def _softmax_slopes(batch: Batch, heads: Heads, scale: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    scores, values = _scores(batch, heads)
    attention = _softmax(scores)
    outputs = np.einsum("pnh,pnh->ph", attention, values)
    residual = outputs.sum(axis=1) - batch.label
    values -= outputs[:, None, :]
    attention *= residual[:, None, None]
    values *= attention
    return residual, values, attention


def _softmax(scores: NDArray[Any]) -> NDArray[Any]:
    """Softmax over the tokens, axis 1; shifted by the largest real part, as complex steps need."""
    weights = np.exp(scores - scores.real.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))
