"""What a model must offer: the weights that exist, and how they make attention heads.

The query's output of a head needs two things only: a_h (D+1,), the last row of the value matrix, and B_h (D+1, D),
the columns of the merged key-query matrix that meet x_q. With tokens X (D+1, N+1) the output is

    linear    ŷ = Σ_h a_hᵀ X Xᵀ B_h x_q / (score divisor · divisor)
    softmax   ŷ = Σ_h a_hᵀ X softmax(Xᵀ B_h x_q / score divisor) / divisor
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..runtime.checks import true_or_false

Weights = dict[str, NDArray[Any]]
"""Name → array of every weight."""

Heads = tuple[NDArray[Any], NDArray[Any]]
"""a (H, D+1) and B (H, D+1, D) of every head."""


@runtime_checkable
class Parametrization(Protocol):
    """What a model must offer; a user's own class needs no base class.

    `shapes(D)` gives each weight's name and shape; `heads(weights)` gives a (H, D+1) and B (H, D+1, D), written
    with operations that work on NumPy arrays of numbers and of SymPy expressions. Optional attributes: `softmax`
    (False if absent), `divisor` ("context" if absent, "none" with softmax, whose output is then divided), and
    `score_divisor` (1 if absent, as in `Merged`): a root in `heads` would be a float, which no proof can use.

    >>> class Tied:  # key = query, one head
    ...     def shapes(self, dimension):
    ...         return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}
    ...     def heads(self, weights):
    ...         key = weights["key"]
    ...         return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]
    >>> isinstance(Tied(), Parametrization)
    True
    """

    def shapes(self, dimension: int) -> dict[str, tuple[int, ...]]:
        """Name → shape of every weight for x of this dimension."""

    def heads(self, weights: Mapping[str, NDArray[Any]]) -> Heads:
        """a (H, D+1) and B (H, D+1, D) of every head."""


def is_softmax(model: object) -> bool:
    """Whether the scores of this model go through a softmax."""
    return true_or_false(getattr(model, "softmax", False), "softmax")
