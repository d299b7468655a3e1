"""The forward pass and the gradients of attention on tokens, by hand; only the query's row is ever formed."""

from dataclasses import dataclass
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
    x_q = X[:, -1, :-1]
    y_q = tokens[:, context_length, -1]
    return Batch(X, x_q, y_q)


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
    context = _attend(model, batch, heads, length).context
    flat_context = context.reshape(len(context), -1)
    output: NDArray[Any] = flat_context @ heads[0].ravel()
    return output


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

    def sums_of(piece: tuple[int, int]) -> Sums:
        first, length = piece
        batch = prompts(tokens[first : first + SLICE], length)
        return _sums(model, batch, heads, length)

    # Added in the order of the pieces, whatever the number of threads.
    total = Sums.zero(heads)
    for sums in in_threads(sums_of, pieces):
        total.add(sums)
    count = len(tokens) * len(context_lengths)
    # The derivative of a square is twice the residual times the derivative of ŷ.
    gradients = (2 * total.slope_a / count, 2 * total.slope_B / count)
    return total.square / count, gradients


class Attended(NamedTuple):
    """What the query's token sees in every head."""

    context: NDArray[Any]
    """Σ_n w_n x_n / norm (P, H, D+1)."""
    weights: NDArray[Any]
    """w (P, H, n+1): the scores, or their exponentials with softmax."""
    norm: NDArray[Any]
    """What the weights are divided by, (P, H, 1) with softmax and (1, 1, 1) without."""
    outputs: NDArray[Any]
    """aᵀ times the attended token, (P, H)."""


def _attend(model: object, batch: Batch, heads: Heads, length: int) -> Attended:
    """The attended tokens of every head; (P, H, …) in one product of matrices a sequence."""
    a, B = heads
    count, size, dimension = B.shape
    B_query = batch.query @ B.reshape(-1, dimension).T
    B_query = B_query.reshape(-1, count, size) / score_divisor(model, dimension)
    w = np.matmul(B_query, batch.X.swapaxes(1, 2))
    divisor = output_divisor(model, length)
    norm = np.full((1, 1, 1), divisor)
    if is_softmax(model):
        norm = divisor * _exponentiate(w)
    context = np.matmul(w, batch.X) / norm
    outputs = np.einsum("phi,hi->ph", context, a)
    return Attended(context, w, norm, outputs)


def _exponentiate(scores: NDArray[Any]) -> NDArray[Any]:
    """exp of the scores in place, and its sums over the last axis; where exp could overflow, both are scaled."""
    largest = np.max(np.abs(scores), initial=0.0)
    if largest > SAFE_SCORE:
        # A softmax does not change when a number is taken from all of its scores.
        scores -= scores.real.max(axis=-1, keepdims=True)
    np.exp(scores, out=scores)
    ones = np.ones(scores.shape[-1])
    sums = scores.reshape(-1, len(ones)) @ ones  # faster than a sum over a short axis
    return np.asarray(sums).reshape(*scores.shape[:-1], 1)


@dataclass
class Sums:
    """Sums over prompts of r², r ∂ŷ/∂a (H, D+1) and r ∂ŷ/∂B (H, D+1, D), with the residual r = ŷ − y."""

    square: float
    slope_a: FloatArray
    slope_B: FloatArray

    @classmethod
    def zero(cls, heads: Heads) -> "Sums":
        """The sums over no prompt."""
        a, B = heads
        return cls(
            square=0.0,
            slope_a=np.zeros(a.shape),
            slope_B=np.zeros(B.shape),
        )

    def add(self, other: "Sums") -> None:
        """Add those over other prompts, in place."""
        self.square += other.square
        self.slope_a += other.slope_a
        self.slope_B += other.slope_B


def _sums(model: object, batch: Batch, heads: Heads, length: int) -> Sums:
    """The sums over a batch, forward and back by hand."""
    a, B = heads
    attended = _attend(model, batch, heads, length)
    residual = attended.outputs.sum(axis=1) - batch.label
    flat_context = attended.context.reshape(len(residual), -1)
    slope_a = (residual @ flat_context).reshape(a.shape)

    output_slope = _output_slope(model, batch, a, attended, length)
    output_slope *= residual[:, None, None]
    flat_slope = output_slope.reshape(len(residual), -1)
    slope_B = (flat_slope.T @ batch.query).reshape(B.shape)
    slope_B /= score_divisor(model, batch.query.shape[1])
    return Sums(float(residual @ residual), slope_a, slope_B)


def _output_slope(
    model: object, batch: Batch, a: NDArray[Any], attended: Attended, length: int
) -> FloatArray:
    """∂ŷ/∂(B x_q / score divisor) (P, H, D+1).

    Linear: Σ_n (aᵀ x_n) x_n / norm. With softmax the attended token moves with its weights p_n = w_n / norm:
    Σ_n p_n (aᵀ x_n − aᵀ Σ_m p_m x_m) x_n, divided by the divisor.
    """
    values = np.matmul(a, batch.X.swapaxes(1, 2))  # aᵀ x_n, (P, H, n+1)
    if not is_softmax(model):
        return np.asarray(np.matmul(values, batch.X) / attended.norm)
    values *= attended.weights
    slope = np.matmul(values, batch.X) / attended.norm
    mean_token = output_divisor(model, length) * attended.context
    slope -= attended.outputs[:, :, None] * mean_token
    return np.asarray(slope)
