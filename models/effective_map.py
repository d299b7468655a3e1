"""The effective map M of a model: its prediction is ŷ = βᵀ M x_q on the restricted block."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ..runtime.arrays import numbers_as_doubles
from ..runtime.checks import refuse_wrong_order
from .attention import Merged, Separate
from .factorised import Factorised
from .protocol import Heads, Parametrization, outputs_of


@runtime_checkable
class StoredWeights(Protocol):
    """A run: it knows the map of each of its stored weights."""

    def effective_map(self, model: Parametrization) -> NDArray[Any]:
        """M of all stored weights, (stored, D, D) or (stored, K, K, D, D)."""


def effective_map(
    model: Parametrization, weights: Mapping[str, NDArray[Any]] | StoredWeights
) -> NDArray[Any]:
    """M (…, D, D), which joins β = Σ_n y_n x_n / divisor to x_q, of weights with any leading axes, such as records.

    With K > 1 outputs it is (…, K, K, D, D): M_ij joins β_j = Σ_n y_nj x_n / divisor to output i. Of a run it is
    the map of each of its stored weights. TypeError, with the right call, for a model that is none.

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[0, 2.0]]), "key_query": np.array([[[3.0, 0], [0, 0]]])}
    >>> effective_map(Merged(heads=1), weights)
    array([[6.]])
    """
    is_model = isinstance(model, Parametrization)
    is_run = isinstance(weights, StoredWeights)
    in_order = is_model and (is_run or isinstance(weights, Mapping))
    refuse_wrong_order("effective_map(model, weights)", in_order, model, weights)
    if not isinstance(weights, Mapping):
        return weights.effective_map(model)
    M = map_of_heads(heads_with_leading_axes(model, weights), outputs_of(model))
    return numbers_as_doubles(M)


def map_of_heads(heads: Heads, outputs: int = 1) -> NDArray[Any]:
    """M of heads a and B, with x and y the blocks of a token:

    M = Σ_h a_hy B_hx + a_hx B_hyᵀ, since X Xᵀ holds β twice, in the row and in the column of y. Shapes: (…, D, D) of
    a (…, H, D+1) and B (…, H, D+1, D); (…, K, K, D, D) of a (…, H, K, D+K) and B (…, H, D+K, D).
    """
    a, B = heads
    # "a" is the coordinate that meets β, "b" the one that meets x_q.
    if outputs == 1:
        value_of_y = np.einsum("...h,...hab->...ab", a[..., -1], B[..., :-1, :])
        value_of_x = np.einsum("...ha,...hb->...ab", a[..., :-1], B[..., -1, :])
        return np.asarray(value_of_y + value_of_x)

    # "i" is the output, "j" the label of the context.
    x, y = slice(None, -outputs), slice(-outputs, None)
    value_of_y = np.einsum("...hij,...hab->...ijab", a[..., y], B[..., x, :])
    value_of_x = np.einsum("...hia,...hjb->...ijab", a[..., x], B[..., y, :])
    return np.asarray(value_of_y + value_of_x)


def heads_with_leading_axes(
    model: Parametrization, weights: Mapping[str, NDArray[Any]]
) -> Heads:
    """a (…, H, D+1) and B (…, H, D+1, D) of weights with any leading axes (…), of one shape for all weights.

    >>> from attndyn import Merged
    >>> records = {"value": np.ones((5, 2, 4)), "key_query": np.ones((5, 2, 4, 4))}
    >>> [array.shape for array in heads_with_leading_axes(Merged(heads=2), records)]
    [(5, 2, 4), (5, 2, 4, 3)]
    """
    if isinstance(model, (Merged, Separate, Factorised)):
        return model.heads(weights)

    # A user's `heads` is written for one set of weights.
    leading = _leading_axes(model, weights)
    values = []
    columns = []
    for index in np.ndindex(leading):
        a, B = model.heads({name: value[index] for name, value in weights.items()})
        values.append(a)
        columns.append(B)
    a = np.array(values)
    B = np.array(columns)
    return a.reshape(*leading, *a.shape[1:]), B.reshape(*leading, *B.shape[1:])


def _leading_axes(
    model: Parametrization, weights: Mapping[str, NDArray[Any]]
) -> tuple[int, ...]:
    """The axes before those of the model, whose number does not depend on D."""
    name, shape = next(iter(model.shapes(1).items()))
    array_shape = np.shape(weights[name])
    return array_shape[: len(array_shape) - len(shape)]
