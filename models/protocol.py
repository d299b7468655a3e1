"""What a model must offer: the weights that exist, and how they make attention heads.

The query's output of a head needs two things only: a_h (D+1,), the last row of the value matrix, and B_h (D+1, D),
the columns of the merged key-query matrix that meet x_q. With tokens X (D+1, N+1) the output is

    linear    ŷ = Σ_h a_hᵀ X Xᵀ B_h x_q / (score divisor · divisor)
    softmax   ŷ = Σ_h a_hᵀ X softmax(Xᵀ B_h x_q / score divisor) / divisor

With K outputs a token is (x, y) of D + K entries, a_h is (K, D+K), one row an output, and B_h (D+K, D). X holds the
query's own token (x_q, 0) as its last column unless the model says that it does not.
"""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ..runtime.checks import true_or_false, whole_number

Weights = dict[str, NDArray[Any]]
"""Name → array of every weight."""

Heads = tuple[NDArray[Any], NDArray[Any]]
"""a (H, D+1) and B (H, D+1, D) of every head; with K > 1 outputs a (H, K, D+K) and B (H, D+K, D)."""


@runtime_checkable
class Parametrization(Protocol):
    """What a model must offer; a user's own class needs no base class.

    `shapes(D)` gives each weight's name and shape; `heads(weights)` gives a (H, D+1) and B (H, D+1, D), written
    with operations that work on NumPy arrays of numbers and of SymPy expressions; with K > 1 outputs a (H, K, D+K)
    and B (H, D+K, D). Optional attributes: `outputs` K (1 if absent), `softmax` (False if absent), `divisor`
    ("context" if absent, "none" with softmax, whose output is then divided), `query_token`, whether attention reads
    the query's own token (True if absent), and `score_divisor` (1 if absent, as in `Merged`): a root in `heads`
    would be a float, which no proof can use. An optional method `pullback(weights, grad_a, grad_B)` gives the
    gradients with respect to the weights, in place of complex steps through `heads`.

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


def outputs_of(model: object) -> int:
    """K, the number of labels that a model predicts for one query; ValueError for one that is no whole number."""
    return whole_number(getattr(model, "outputs", 1), "outputs")


def reads_query_token(model: object) -> bool:
    """Whether the query's own token (x_q, 0) is among those that attention reads.

    >>> from attndyn import Merged
    >>> reads_query_token(Merged(heads=1)), reads_query_token(Merged(heads=1, query_token=False))
    (True, False)
    """
    return true_or_false(getattr(model, "query_token", True), "query_token")


def refuse_other_outputs(
    labels: int, model: object, owner: str = "the task has"
) -> None:
    """ValueError unless the model predicts so many labels of one x as their `owner` has.

    >>> from attndyn import Merged
    >>> refuse_other_outputs(3, Merged(heads=2))
    Traceback (most recent call last):
    ValueError: the task has 3 outputs and the model 1: Merged(…, outputs=3)
    """
    outputs = outputs_of(model)
    if labels != outputs:
        count = "1 output" if labels == 1 else f"{labels} outputs"
        raise ValueError(
            f"{owner} {count} and the model {outputs}: {type(model).__name__}(…, outputs={labels})"
        )
