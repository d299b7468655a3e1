"""Prompts that a user brings: recorded tokens, as they are."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import FloatArray
from ...runtime.checks import check_finite, real_array
from ...runtime.display import Displayed, Summary, array_summary
from .prompts import CHUNK, Context, Sequences, context_of, without_single_output


def prompts_from_tokens(
    tokens: ArrayLike,
    labels: ArrayLike | None = None,
    *,
    context_lengths: tuple[int, ...] | None = None,
) -> "RecordedPrompts":
    """Prompts from recorded tokens (P, N+1, D+1) with the true y in every row, the query's included.

    Where the query's y is masked, by 0 or nan, `labels` (P,) are the true ones. `context_lengths` are the lengths
    the loss averages over, (N,) if left out. ValueError on other shapes, numbers that are not finite, lengths that
    are not whole numbers from 1 to N, labels that contradict the tokens, or a y that is masked in every query and
    has no labels: a model would be trained on zeros.

    >>> prompts_from_tokens(np.ones((3, 6, 3))).context_lengths
    (5,)
    >>> prompts_from_tokens([[[2.0, 3.0], [5.0, 0.0]]], labels=[7.0]).tokens[0, -1]
    array([5., 7.])
    """
    array = real_array(tokens, "tokens")
    if array.ndim != 3 or not len(array) or min(array.shape[1:]) < 2:
        raise ValueError(
            f"tokens must have shape (P, N+1, D+1) with P, N, D ≥ 1, not {array.shape}"
        )
    if labels is None:
        _refuse_masked(array)
    else:
        _put_labels(array, real_array(labels, "labels"))
    check_finite(array, "tokens")
    longest = array.shape[1] - 1
    lengths = _checked_lengths(context_lengths, longest)
    array.flags.writeable = False
    return RecordedPrompts(array, lengths)


def _checked_lengths(
    context_lengths: tuple[int, ...] | None, longest: int
) -> tuple[int, ...]:
    """The context lengths, the longest alone if None; ValueError unless all lie in 1 … N."""
    if context_lengths is None:
        return (longest,)
    if not isinstance(context_lengths, Iterable):
        raise ValueError(
            f"context_lengths must be several, such as ({longest},), not {context_lengths!r}"
        )
    lengths = tuple(context_lengths)
    refusal = (
        f"context_lengths must be whole numbers from 1 to {longest}, not {lengths}"
    )
    if not lengths:
        raise ValueError(refusal)
    for length in lengths:
        whole = isinstance(length, (int, np.integer)) and not isinstance(length, bool)
        if not whole or not 1 <= length <= longest:
            raise ValueError(refusal)
    return tuple(int(length) for length in lengths)


def _refuse_masked(tokens: FloatArray) -> None:
    """ValueError if every query's y is zero, as where it is masked."""
    if not np.any(tokens[:, -1, -1]):
        raise ValueError(
            "the y of every query is 0, as where it is masked: pass labels=, the true ones (P,)"
        )


def _put_labels(tokens: FloatArray, labels: FloatArray) -> None:
    """Put the true labels (P,) into the queries; ValueError if they contradict a y that is not masked."""
    present = tokens[:, -1, -1]
    if labels.shape != present.shape or not np.all(np.isfinite(labels)):
        raise ValueError(
            f"labels must be {len(present)} finite numbers, one a sequence, not of shape {labels.shape}"
        )
    masked = (present == 0) | np.isnan(present)
    if not np.array_equal(present[~masked], labels[~masked]):
        raise ValueError(
            "labels contradict the tokens, whose queries have another y: pass one of the two"
        )
    tokens[:, -1, -1] = labels


@dataclass(frozen=True, eq=False, repr=False)
class RecordedPrompts(Displayed):
    """Recorded sequences; made by `prompts_from_tokens`."""

    tokens: FloatArray
    context_lengths: tuple[int, ...]

    @property
    def sequences(self) -> int:
        """P, the number of sequences."""
        return len(self.tokens)

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        size = int(self.tokens.shape[2])  # of a token (x, y)
        return size - 1

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        return 1

    @property
    def context_weights(self) -> FloatArray:
        """The weight of each of the context lengths, summing to 1, (L,)."""
        count = len(self.context_lengths)
        return np.full(count, 1 / count)

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
        """SHA-256 of the tokens and the context lengths."""
        shape = repr((self.tokens.shape, self.context_lengths))
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
        rows = {
            "sequences": f"{self.sequences:,}",
            "dimension": self.dimension,
            "context lengths": array_summary(self.context_lengths),
            "tokens": array_summary(self.tokens),
        }
        return Summary("Recorded prompts", rows)

    def to_dict(self) -> dict[str, Any]:
        """The tokens and context lengths as lists."""
        return {
            "tokens": self.tokens.tolist(),
            "context_lengths": list(self.context_lengths),
        }
