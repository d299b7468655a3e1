"""The forward pass and the gradients of attention on tokens, by hand; only the query's row is ever formed."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...models.divisors import output_divisor, score_divisor
from ...models.protocol import (
    Heads,
    Parametrization,
    is_softmax,
    outputs_of,
    reads_query_token,
    refuse_other_outputs,
)
from ...runtime.arrays import FloatArray
from ...runtime.checks import is_whole_number, refuse_wrong_order
from ...runtime.threads import in_threads
from ..data.prompts import Data, Sequences, without_single_output
from .heads import checked_heads, heads_of
from .weight_shapes import way_out

SLICE = 256
"""Sequences that are worked on together, so that the scores stay in the processor's cache."""

SAFE_SCORE = 500.0
"""Scores up to this size have exponentials, and sums of them, that are neither 0 nor infinite."""


class Batch(NamedTuple):
    """Prompts of one context length n: X (P, n+1, D+K) with the query's y masked, x_q (P, D), y_q (P, K).

    X is (P, n, D+K) for a model that does not read the query's own token.
    """

    X: FloatArray
    query: FloatArray
    label: FloatArray


def prompts(
    sequences: Sequences, context_length: int, *, query_token: bool = True
) -> Batch:
    """The first n tokens as context and the next one as query, its y masked.

    >>> batch = prompts(Sequences(np.ones((2, 4, 3)), np.ones((2, 4, 1))), 3)
    >>> batch.X[0, -1], batch.label[:, 0]
    (array([1., 1., 0.]), array([1., 1.]))
    """
    tokens, targets = sequences
    dimension = tokens.shape[2] - targets.shape[2]
    x_q = tokens[:, context_length, :dimension]
    y_q = targets[:, context_length]
    if not query_token:
        return Batch(tokens[:, :context_length], x_q, y_q)
    X = tokens[:, : context_length + 1].copy()
    X[:, -1, dimension:] = 0.0
    return Batch(X, x_q, y_q)


def _checked_length(context_length: object, longest: int) -> int:
    """The context length, the longest if None; ValueError unless the tokens have so long a context."""
    length = longest if context_length is None else context_length
    if not is_whole_number(length, 0) or length > longest:
        raise ValueError(
            f"context_length must lie in 0 … {longest} for these tokens, not {length!r}"
        )
    return length


def predict(
    model: Parametrization,
    weights: Mapping[str, NDArray[Any]] | Heads,
    data: Data | ArrayLike,
    context_length: int | None = None,
) -> NDArray[Any]:
    """The query's output ŷ_q (P,), or (P, K) of K > 1 outputs, whose query is the row after the context.

    `weights` go by name, or are the heads (a, B) that `model.heads(weights)` gives, which may be complex; `data` are
    prompts or tokens (P, N+1, D+K). The y of the query is never read. `context_length` is N if left out; ValueError
    if it does not lie in 0 … N, or the shapes do not fit.
    Source: Zhang et al. 2025, Section 2.2.

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[0, 1.0]]), "key_query": np.array([[[1.0, 0], [0, 0]]])}
    >>> predict(Merged(heads=1), weights, np.array([[[2, 3.0], [5, 0]]]))
    array([30.])
    """
    given = getattr(data, "tokens", data)
    _refuse_wrong_order(model, weights, data)
    K = outputs_of(model)
    refuse_other_outputs(getattr(data, "outputs", K), model, "the data have")
    tokens = np.asarray(given, dtype=np.float64)
    if tokens.ndim != 3 or tokens.shape[2] <= K:
        size = "D+1" if K == 1 else f"D+{K}"
        raise ValueError(f"tokens must have shape (P, N+1, {size}), not {tokens.shape}")
    dimension = tokens.shape[2] - K
    heads = checked_heads(_heads_given(model, weights, dimension), dimension, K)
    length = _checked_length(context_length, longest=tokens.shape[1] - 1)
    unread = tokens[..., dimension:]
    batch = prompts(
        Sequences(tokens, unread), length, query_token=reads_query_token(model)
    )
    attended = _attend(model, batch, heads, length)
    return without_single_output(_outputs(attended, heads[0]))


def _refuse_wrong_order(model: object, weights: object, data: object) -> None:
    """TypeError, with the right call, unless these are a model, weights or heads, and prompts or tokens."""
    are_weights = isinstance(weights, Mapping | tuple | list)
    has_no_tokens = isinstance(data, Mapping) or (
        hasattr(data, "dimension") and not hasattr(data, "tokens")
    )
    in_order = isinstance(model, Parametrization) and are_weights and not has_no_tokens
    call = "predict(model, weights, data), with run.weights_at(step) of a run and prompts of a task"
    refuse_wrong_order(call, in_order, model, weights, data)


def _heads_given(
    model: Parametrization, weights: Mapping[str, NDArray[Any]] | Heads, dimension: int
) -> Heads:
    """Heads as they are, or those of weights by name; ValueError for weights of other names or shapes."""
    if not isinstance(weights, Mapping):
        return weights
    shapes = model.shapes(dimension)
    given = {name: np.shape(value) for name, value in weights.items()}
    if given != shapes:
        ways_out = [
            way_out(model, name, given[name], shapes[name])
            for name in shapes
            if name in given
        ]
        raise ValueError(
            f"weights of {type(model).__name__} for x of dimension {dimension} must have the shapes {shapes}, "
            f"not {given}{next(filter(None, ways_out), '')}"
        )
    return heads_of(model, weights)


def token_loss(
    model: Parametrization,
    heads: Heads,
    sequences: Sequences | FloatArray,
    context_lengths: tuple[int, ...],
    context_weights: FloatArray | None = None,
) -> tuple[float, Heads]:
    """Mean over prompts of the squared error of all outputs, averaged over context lengths, and its gradient.

    `sequences` are tokens (P, N+1, D+K) with the true y in every row, with their targets where these differ. The
    gradients are with respect to a and B, in their shapes. The loss has no ½. `context_weights` (L,) sum to 1, equal
    if left out. As many threads as `OMP_NUM_THREADS` says, or as there are cores, share the work and do not change
    the result. ValueError if the shapes do not fit.
    """
    K = outputs_of(model)
    if not isinstance(sequences, Sequences):
        sequences = Sequences(sequences, sequences[..., -K:])
    tokens, targets = sequences
    heads = checked_heads(heads, tokens.shape[2] - K, K)
    query_token = reads_query_token(model)
    relative_weights = _relative_weights(len(context_lengths), context_weights)
    pieces = [
        (first, length, weight)
        for first in range(0, len(tokens), SLICE)
        for length, weight in zip(context_lengths, relative_weights, strict=True)
    ]

    def sums_of(piece: tuple[int, int, float]) -> Sums:
        first, length, weight = piece
        part = slice(first, first + SLICE)
        batch = prompts(
            Sequences(tokens[part], targets[part]), length, query_token=query_token
        )
        sums = _sums(model, batch, heads, length)
        if weight != 1:
            sums.scale(weight)
        return sums

    # Added in the order of the pieces, whatever the number of threads.
    total = Sums.zero(heads)
    for sums in in_threads(sums_of, pieces):
        total.add(sums)
    count = len(tokens) * len(context_lengths)
    # The derivative of a square is twice the residual times the derivative of ŷ.
    gradients = (2 * total.slope_a / count, 2 * total.slope_B / count)
    return total.square / count, gradients


def _relative_weights(count: int, weights: FloatArray | None) -> list[float]:
    """The weights of context lengths over their mean: exactly 1 where they are equal."""
    if weights is None or np.all(weights == weights[0]):
        return [1.0] * count
    return [float(weight) * count for weight in weights]


class Attended(NamedTuple):
    """What the query's token reads in every head."""

    context: NDArray[Any]
    """Σ_n w_n x_n / norm (P, H, D+K)."""
    weights: NDArray[Any]
    """w (P, H, n+1): the scores, or their exponentials with softmax; (P, H, n) without the query's token."""
    norm: NDArray[Any]
    """What the weights are divided by, (P, H, 1) with softmax and (1, 1, 1) without."""


def _attend(
    model: Parametrization, batch: Batch, heads: Heads, length: int
) -> Attended:
    """The attended tokens of every head; (P, H, …) in one product of matrices a sequence."""
    B = heads[1]
    count, size, dimension = B.shape
    B_query = batch.query @ B.reshape(-1, dimension).T
    B_query = B_query.reshape(-1, count, size) / score_divisor(model, dimension)
    w = np.matmul(B_query, batch.X.swapaxes(1, 2))
    divisor = output_divisor(model, length)
    norm = np.full((1, 1, 1), divisor)
    # An empty context has no weights to be normalised: its sum is 0.
    if is_softmax(model) and batch.X.shape[1]:
        norm = divisor * _exponentiate(w)
    context = np.matmul(w, batch.X) / norm
    return Attended(context, w, norm)


def _outputs(attended: Attended, a: NDArray[Any]) -> NDArray[Any]:
    """ŷ = Σ_h a_hᵀ context_h, (P, K)."""
    flat_context = attended.context.reshape(len(attended.context), -1)  # (P, H·(D+K))
    if a.ndim == 2:
        output: NDArray[Any] = flat_context @ a.ravel()
        return output[:, None]
    return np.asarray(flat_context @ _rows_of_outputs(a).T)


def _rows_of_outputs(a: NDArray[Any]) -> NDArray[Any]:
    """The value rows a (H, K, D+K) of all heads in one row for each output, (K, H·(D+K))."""
    by_output = a.swapaxes(0, 1)  # (K, H, D+K)
    return by_output.reshape(len(by_output), -1)


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
    """Sums over prompts of r², r ∂ŷ/∂a and r ∂ŷ/∂B, in the shapes of a and B, with the residual r = ŷ − y.

    With K > 1 outputs they are sums over the outputs, too.
    """

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

    def scale(self, factor: float) -> None:
        """Multiply them, in place."""
        self.square *= factor
        self.slope_a *= factor
        self.slope_B *= factor


def _sums(model: Parametrization, batch: Batch, heads: Heads, length: int) -> Sums:
    """The sums over a batch, forward and back by hand."""
    a, B = heads
    attended = _attend(model, batch, heads, length)
    residual = _outputs(attended, a) - batch.label  # (P, K)
    slope_a = _slope_of_values(residual, attended.context, a)

    # One output: the residual multiplies at the end, so that the value rows serve all prompts.
    one_output = a.ndim == 2
    value_slope = a[None] if one_output else _residual_values(residual, a)
    slope = _context_slope(model, batch, value_slope, attended, length)
    if one_output:
        slope *= residual[:, :, None]
    flat_slope = slope.reshape(len(residual), -1)
    slope_B = (flat_slope.T @ batch.query).reshape(B.shape)
    slope_B /= score_divisor(model, batch.query.shape[1])
    return Sums(float(np.vdot(residual, residual)), slope_a, slope_B)


def _slope_of_values(
    residual: FloatArray, context: NDArray[Any], a: NDArray[Any]
) -> FloatArray:
    """Σ_p r_k context_h, in the shape of a."""
    flat_context = context.reshape(len(residual), -1)  # (P, H·(D+K))
    if a.ndim == 2:
        return np.asarray((residual[:, 0] @ flat_context).reshape(a.shape))
    heads, outputs, size = a.shape
    by_output = (residual.T @ flat_context).reshape(outputs, heads, size)
    return np.ascontiguousarray(by_output.swapaxes(0, 1))


def _residual_values(residual: FloatArray, a: NDArray[Any]) -> FloatArray:
    """Σ_k r_k a_hk (P, H, D+K): what the attended token is multiplied by, all outputs together."""
    heads, _, size = a.shape
    return np.asarray((residual @ _rows_of_outputs(a)).reshape(-1, heads, size))


def _context_slope(
    model: Parametrization,
    batch: Batch,
    value_slope: NDArray[Any],
    attended: Attended,
    length: int,
) -> FloatArray:
    """∂(αᵀ context)/∂(B x_q / score divisor) (P, H, D+K) for α = `value_slope`, (P, H, D+K) or (1, H, D+K).

    Linear: Σ_n (αᵀ x_n) x_n / norm. With softmax the attended token moves with its weights p_n = w_n / norm:
    Σ_n p_n (αᵀ x_n − αᵀ Σ_m p_m x_m) x_n, divided by the divisor.
    """
    values = np.matmul(value_slope, batch.X.swapaxes(1, 2))  # αᵀ x_n, (P, H, n+1)
    if not is_softmax(model):
        return np.asarray(np.matmul(values, batch.X) / attended.norm)
    values *= attended.weights
    slope = np.matmul(values, batch.X) / attended.norm
    outputs = np.einsum(
        "phi,phi->ph",
        attended.context,
        np.broadcast_to(value_slope, attended.context.shape),
    )
    mean_token = output_divisor(model, length) * attended.context
    slope -= outputs[:, :, None] * mean_token
    return np.asarray(slope)
