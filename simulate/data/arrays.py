"""Prompts that a user brings: recorded tokens, or arrays of x and y, as they are."""

import hashlib
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray, plain_array
from ...runtime.checks import (
    check_finite,
    is_whole_number,
    positive_number,
    real_array,
    whole_number,
)
from ...runtime.display import Displayed, Summary, array_summary
from .prompts import CHUNK, Context, Sequences, context_of, without_single_output

ContextLengths = Iterable[int] | str | Mapping[int, float] | None


def _refuse_other_shape(shape: tuple[int, ...], K: int) -> None:
    """ValueError unless this is the shape of tokens (P, N+1, D+K)."""
    is_whole = len(shape) == 3 and shape[0] >= 1 and shape[1] >= 2
    if not is_whole or shape[2] <= K:
        size = "D+1" if K == 1 else f"D+{K}"
        raise ValueError(
            f"tokens must have shape (P, N+1, {size}) with P, N, D ≥ 1, not {shape}"
        )


def prompts_from_tokens(
    tokens: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    outputs: int = 1,
    context_lengths: ContextLengths = None,
) -> "RecordedPrompts":
    """Prompts from recorded tokens (P, N+1, D+K) with the true y in every row, the query's included.

    Where the query's y is masked, by 0 or nan, `labels` (P,) are the true ones, or (P, K) of K `outputs`. Tensors are
    taken as they are. `context_lengths` are the lengths the loss averages over: several numbers, "0..N", or
    {n: weight}; (N,) if left out. ValueError on other shapes, numbers that are not finite, lengths that are not whole
    numbers from 0 to N, labels that contradict the tokens, or a y that is masked in every query and has no labels: a
    model would be trained on zeros.

    >>> prompts_from_tokens(np.ones((3, 6, 3))).context_lengths
    (5,)
    >>> prompts_from_tokens([[[2.0, 3.0], [5.0, 0.0]]], labels=[7.0]).tokens[0, -1]
    array([5., 7.])
    """
    K = whole_number(outputs, "outputs")
    array = real_array(plain_array(tokens, "tokens"), "tokens")
    _refuse_other_shape(array.shape, K)
    if labels is not None:
        _put_labels(
            array[:, -1, -K:], real_array(plain_array(labels, "labels"), "labels")
        )
    elif not np.any(array[:, -1, -K:]):
        shape = "(P,)" if K == 1 else f"(P, {K})"
        raise ValueError(
            f"the y of every query is 0, as where it is masked: pass labels=, the true ones {shape}"
        )
    return _recorded(array, K, context_lengths)


def prompts_from_arrays(
    x: ArrayLike,
    y: ArrayLike,
    *,
    context_lengths: ContextLengths = None,
) -> "RecordedPrompts":
    """Prompts from x (P, N+1, D) and the true y (P, N+1), or (P, N+1, K) of K outputs, the query in the last row.

    Tensors are taken as they are; `context_lengths` as in `prompts_from_tokens`. ValueError on other shapes, numbers
    that are not finite, lengths that are not whole numbers from 0 to N, or a y that is 0 in every query.

    >>> data = prompts_from_arrays(np.ones((4, 21, 3)), np.ones((4, 21, 2)), context_lengths=(10, 20))
    >>> data.outputs, data.context_lengths, data.tokens.shape
    (2, (10, 20), (4, 21, 5))
    """
    inputs = real_array(plain_array(x, "x"), "x", "(P, N+1, D)")
    sequences, rows, _ = inputs.shape
    shapes = ("(P, M)", "(P, M, K)")
    targets = real_array(plain_array(y, "y"), "y", *shapes, P=sequences, M=rows)
    targets = targets.reshape(sequences, rows, -1)  # (P, N+1, K)
    tokens = np.concatenate([inputs, targets], axis=2)
    if not np.any(targets[:, -1]):
        raise ValueError(
            "the y of every query is 0, as where it is masked: y must hold the true ones, in its last row too"
        )
    return _recorded(tokens, targets.shape[2], context_lengths)


def _recorded(
    tokens: FloatArray, outputs: int, context_lengths: ContextLengths
) -> "RecordedPrompts":
    """The prompts of tokens (P, N+1, D+K) that hold every label; ValueError for numbers that are not finite."""
    check_finite(tokens, "tokens")
    longest = tokens.shape[1] - 1
    lengths, weights = _checked_lengths(context_lengths, longest)
    tokens.flags.writeable = False
    return RecordedPrompts(tokens, lengths, outputs, weights)


class _Lengths(NamedTuple):
    lengths: tuple[int, ...]
    weights: tuple[float, ...] | None


def _checked_lengths(context_lengths: ContextLengths, longest: int) -> _Lengths:
    """The context lengths and their weights, if they have any; the longest alone if None. ValueError as stated."""
    if context_lengths is None:
        return _Lengths((longest,), None)
    if isinstance(context_lengths, str):
        context_lengths = _range_of(context_lengths, longest)
    if not isinstance(context_lengths, Iterable):
        raise ValueError(
            f'context_lengths must be several, such as ({longest},) or "1..{longest}", not {context_lengths!r}'
        )
    if isinstance(context_lengths, Mapping):
        context_lengths = dict(sorted(context_lengths.items()))
    lengths = tuple(context_lengths)
    whole = all(is_whole_number(length, 0) and length <= longest for length in lengths)
    if not whole or not any(lengths):
        raise ValueError(
            f"context_lengths must be whole numbers from 0 to {longest}, one of them above 0, not {lengths}"
        )
    counts = tuple(int(length) for length in lengths)
    if not isinstance(context_lengths, Mapping):
        return _Lengths(counts, None)
    return _Lengths(counts, _normalised_weights(context_lengths))


def _normalised_weights(weight_of: Mapping[Any, Any]) -> tuple[float, ...]:
    """The weights of context lengths, summing to 1; ValueError unless they are positive."""
    weights = [
        positive_number(weight, f"the weight of context length {length}")
        for length, weight in weight_of.items()
    ]
    total = math.fsum(weights)
    return tuple(weight / total for weight in weights)


def _range_of(text: str, longest: int) -> range:
    """The lengths of "n0..N"; ValueError for another text."""
    ends = re.fullmatch(r"(\d+)\.\.(\d+)", text.strip())
    if ends is None or not int(ends[1]) <= int(ends[2]) <= longest:
        raise ValueError(
            f'context_lengths must be numbers, {{n: weight}} or "n0..N" up to "0..{longest}", not {text!r}'
        )
    return range(int(ends[1]), int(ends[2]) + 1)


def _put_labels(queries: FloatArray, labels: FloatArray) -> None:
    """Put the true labels (P,) or (P, K) into the queries' y (P, K); ValueError if they contradict one of these."""
    sequences, outputs = queries.shape
    allowed = [(sequences, outputs)] if outputs > 1 else [(sequences,)]
    if labels.shape not in allowed or not np.all(np.isfinite(labels)):
        each = "one a sequence" if outputs == 1 else f"{outputs} a sequence"
        raise ValueError(
            f"labels must be {sequences} finite numbers, {each}, not of shape {labels.shape}"
        )
    true = labels.reshape(queries.shape)
    is_masked = (queries == 0) | np.isnan(queries)
    if not np.array_equal(queries[~is_masked], true[~is_masked]):
        raise ValueError(
            "labels contradict the tokens, whose queries have another y: pass one of the two"
        )
    queries[:] = true


@dataclass(frozen=True, eq=False, repr=False)
class RecordedPrompts(Displayed):
    """Recorded sequences; made by `prompts_from_tokens` and `prompts_from_arrays`."""

    tokens: FloatArray
    context_lengths: tuple[int, ...]
    outputs: int = 1
    """K, the number of labels of one x."""
    stated_weights: tuple[float, ...] | None = None
    """The weights of the context lengths, None where all are equal."""

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""
        return len(self.tokens)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        size = int(self.tokens.shape[2])  # of a token (x, y)
        return size - self.outputs

    @property
    def context_weights(self) -> FloatArray:
        """The weight of each of the context lengths, summing to 1, (L,)."""
        count = len(self.context_lengths)
        if self.stated_weights is None:
            return np.full(count, 1 / count)
        return np.array(self.stated_weights)

    @property
    def targets(self) -> FloatArray:
        """The labels of all rows as queries, (P, N+1, K)."""
        return self.tokens[..., self.dimension :]

    @property
    def x(self) -> FloatArray:
        """The inputs of all tokens, the query last, (P, N+1, D)."""
        return self.tokens[..., : self.dimension]

    @property
    def y(self) -> FloatArray:
        """The labels of all tokens, the query's last, (P, N+1), or (P, N+1, K) of K > 1 outputs."""
        return without_single_output(self.targets)

    @property
    def labels(self) -> FloatArray:
        """The labels of the queries of the longest prompts, (P,), or (P, K) of K > 1 outputs."""
        return without_single_output(self.targets[:, -1])

    @property
    def context(self) -> Context:
        """x and y of the longest context and the query's x, as the predictors of the theory take them."""
        return context_of(self.tokens, self.dimension)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of the tokens, the context lengths with their weights, and the number of outputs."""
        parts: tuple[object, ...] = (self.tokens.shape, self.context_lengths)
        if self.outputs > 1 or self.stated_weights is not None:
            parts = (*parts, self.outputs, self.stated_weights)
        shape = repr(parts)
        digest = hashlib.sha256(self.tokens.tobytes())
        digest.update(shape.encode())
        return digest.hexdigest()

    def chunks(self) -> Iterator[Sequences]:
        """The sequences in pieces of at most CHUNK."""
        for first in range(0, self.sequences, CHUNK):
            piece = slice(first, first + CHUNK)
            yield Sequences(self.tokens[piece], self.targets[piece])

    def summary(self) -> Summary:
        """How many tokens there are, and the range of their numbers."""
        rows: dict[str, object] = {
            "sequences": f"{self.sequences:,}",
            "dimension": self.dimension,
        }
        if self.outputs > 1:
            rows["outputs"] = self.outputs
        rows["context lengths"] = array_summary(self.context_lengths)
        if self.stated_weights is not None:
            rows["their weights"] = array_summary(self.stated_weights)
        rows["tokens"] = array_summary(self.tokens)
        return Summary("Recorded prompts", rows)

    def to_dict(self) -> dict[str, Any]:
        """The tokens and context lengths as lists, and the number of outputs."""
        weights = self.stated_weights
        return {
            "tokens": self.tokens.tolist(),
            "context_lengths": list(self.context_lengths),
            "context_weights": None if weights is None else list(weights),
            "outputs": self.outputs,
        }
