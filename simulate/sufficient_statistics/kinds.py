"""What tells statistics apart besides their numbers: which features they hold, and of which loss they are."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from ...runtime.arrays import IndexArray
from ...runtime.checks import check_choice

BLOCKS = ("full", "restricted")


class Kind(NamedTuple):
    """The kind of statistics: only those of one kind can be merged, and a model reads only those of its own.

    `context_weights` are the weights of the context lengths in the loss, None if all weigh the same.
    """

    dimension: int
    context_lengths: tuple[int, ...]
    divisor: str
    block: str
    outputs: int = 1
    query_token: bool = True
    context_weights: tuple[float, ...] | None = None

    @property
    def text(self) -> str:
        """The kind as digests have it: what one output, a query's token and equal weights need not say is left out."""
        always = self[:4]
        since_several_outputs = self[4:]
        if since_several_outputs == (1, True, None):
            return repr(always)
        return repr(tuple(self))

    def differences(self, other: "Kind") -> str:
        """What is not the same in the other one, by name.

        >>> Kind(2, (5,), "context", "full").differences(Kind(2, (5,), "none", "full", outputs=3))
        "divisor 'context' and 'none', outputs 1 and 3"
        """
        differences = []
        for name, mine, theirs in zip(self._fields, self, other, strict=True):
            if mine != theirs:
                words = name.replace("_", " ")
                differences.append(f"{words} {mine!r} and {theirs!r}")
        return ", ".join(differences)


def feature_pairs(
    dimension: int, block: str, outputs: int = 1
) -> tuple[IndexArray, IndexArray]:
    """The index pairs i ≤ j of G that a block has, in the order of the features.

    The restricted block has the pairs (x_i, y_k), those of each output k in a row.
    """
    if block == "full":
        return np.triu_indices(dimension + outputs)
    # The labels are the last entries of a token.
    labels = dimension + np.arange(outputs)
    return np.tile(np.arange(dimension), outputs), np.repeat(labels, dimension)


def feature_count(dimension: int, block: str, outputs: int = 1) -> int:
    """F, the number of features of a block, without listing them; ValueError names the blocks that exist.

    >>> feature_count(40, "full"), feature_count(40, "restricted"), feature_count(8, "full", outputs=8)
    (34440, 1600, 1088)
    """
    check_choice(block, "block", BLOCKS)
    if block == "full":
        size = dimension + outputs  # of a token
        return dimension * size * (size + 1) // 2
    return outputs * dimension**2


def unequal_weights(context_weights: ArrayLike | None) -> tuple[float, ...] | None:
    """The weights of context lengths as a kind has them: None if there are none, or all are the same.

    >>> unequal_weights([0.5, 0.5]), unequal_weights([0.25, 0.75])
    (None, (0.25, 0.75))
    """
    if context_weights is None:
        return None
    weights = np.asarray(context_weights, dtype=np.float64)
    if np.all(weights == weights[0]):
        return None
    return tuple(weights.tolist())
