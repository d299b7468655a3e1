"""The forward pass and the gradients of attention on tokens, by hand; only the query's row is ever formed."""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...models.divisors import output_divisor, score_divisor
from ...models.protocol import Heads, is_softmax
from ...runtime.arrays import FloatArray
from ...runtime.threads import in_threads
from .heads import checked_heads

SLICE = 256
"""Sequences that are worked on together, so that the scores stay in the processor's cache."""

SAFE_SCORE = 500.0
"""Scores up to this size have exponentials, and sums of them, that are neither 0 nor infinite."""


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


def predict(
    model: object, heads: Heads, tokens: NDArray[Any], context_length: int | None = None
) -> NDArray[Any]:
    """The query's output ŷ_q (P,) for tokens (P, N+1, D+1), whose query is the row after the context.

    `heads` are a (H, D+1) and B (H, D+1, D), as `model.heads(weights)` gives them; they may be complex. The y of
    the query is never read. `context_length` is N if left out; ValueError if it does not lie in 1 … N, or the
    shapes do not fit.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged
    >>> predict(Merged(heads=1), (np.array([[0, 1.0]]), np.array([[[1.0], [0]]])), np.array([[[2, 3.0], [5, 0]]]))
    array([30.])
    """
    if tokens.ndim != 3:
        raise ValueError(f"tokens must have shape (P, N+1, D+1), not {tokens.shape}")
    heads = checked_heads(heads, tokens.shape[2] - 1)
    longest = tokens.shape[1] - 1
    length = longest if context_length is None else context_length
    if not 1 <= length <= longest:
        raise ValueError(
            f"context_length must lie in 1 … {longest} for these tokens, not {length}"
        )
    batch = prompts(np.asarray(tokens, dtype=np.float64), length)
    context, _, _ = _contexts(model, batch, heads, length)
    return np.asarray(context.reshape(len(context), -1) @ heads[0].ravel())


def token_loss(
    model: object, heads: Heads, tokens: FloatArray, context_lengths: tuple[int, ...]
) -> tuple[float, Heads]:
    """Mean squared error over prompts and context lengths, and its gradient with respect to a and B.

    Shapes: tokens (P, N+1, D+1) with the true y in every row; gradients as `heads`. The loss has no ½. As many
    threads as `OMP_NUM_THREADS` says, or as there are cores, share the work and do not change the result.
    ValueError if the shapes do not fit.
    """
    heads = checked_heads(heads, tokens.shape[2] - 1)
    pieces = [
        (first, length)
        for first in range(0, len(tokens), SLICE)
        for length in context_lengths
    ]

    def work(piece: tuple[int, int]) -> tuple[float, FloatArray, FloatArray]:
        first, length = piece
        return _sums(
            model, prompts(tokens[first : first + SLICE], length), heads, length
        )

    loss, grad_a, grad_B = 0.0, np.zeros(heads[0].shape), np.zeros(heads[1].shape)
    for square, slope_a, slope_B in in_threads(work, pieces):
        loss += square
        grad_a += slope_a
        grad_B += slope_B
    count = len(tokens) * len(context_lengths)
    return loss / count, (2 * grad_a / count, 2 * grad_B / count)


def _contexts(
    model: object, batch: Batch, heads: Heads, length: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Attended tokens Σ_n w_n x_n / norm (P, H, D+1) of every head, w (P, H, n+1) and the norm (P, H, 1)."""
    B = heads[1]
    count, size, dimension = B.shape
    lifted = (batch.query @ B.reshape(-1, dimension).T).reshape(
        -1, count, size
    ) / score_divisor(model, dimension)
    w = np.matmul(lifted, batch.X.swapaxes(1, 2))
    divisor = output_divisor(model, length)
    norm = (
        divisor * _exponentiate(w) if is_softmax(model) else np.full((1, 1, 1), divisor)
    )
    return np.matmul(w, batch.X) / norm, w, norm


def _exponentiate(scores: NDArray[Any]) -> NDArray[Any]:
    """exp of the scores in place, and its sums over the last axis; where exp could overflow, both are scaled."""
    if np.max(np.abs(scores), initial=0.0) > SAFE_SCORE:
        scores -= scores.real.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    ones = np.ones(scores.shape[-1])
    return np.asarray(scores.reshape(-1, len(ones)) @ ones).reshape(
        *scores.shape[:-1], 1
    )


def _sums(
    model: object, batch: Batch, heads: Heads, length: int
) -> tuple[float, FloatArray, FloatArray]:
    """Sums over the prompts of r², r ∂ŷ/∂a and r ∂ŷ/∂B, with the residual r = ŷ − y."""
    a = heads[0]
    context, w, norm = _contexts(model, batch, heads, length)
    outputs = np.einsum("phi,hi->ph", context, a)
    residual = outputs.sum(axis=1) - batch.label
    slope_a = (residual @ context.reshape(len(residual), -1)).reshape(a.shape)
    values = np.matmul(a, batch.X.swapaxes(1, 2))
    if is_softmax(model):
        values *= w
    keys = np.matmul(values, batch.X) / norm  # ∂ŷ/∂(B x_q / score divisor)
    if is_softmax(model):
        mean_token = (
            output_divisor(model, length) * context
        )  # Σ_n p_n x_n, p the softmax of the scores
        keys -= outputs[:, :, None] * mean_token
    keys *= residual[:, None, None]
    slope_B = (keys.reshape(len(keys), -1).T @ batch.query).reshape(heads[1].shape)
    slope_B /= score_divisor(model, batch.query.shape[1])
    return float(residual @ residual), slope_a, slope_B
