"""Quantities that gradient flow conserves, whatever the data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...models.attention import Merged
from ...models.built_in import BuiltIn
from ...models.factorised import Factorised
from ...models.protocol import Parametrization, outputs_of
from ...runtime.arrays import FloatArray
from ...runtime.checks import check_finite, refuse_wrong_order


def conserved_quantities(
    model: Parametrization, weights: Mapping[str, NDArray[np.float64]]
) -> dict[str, FloatArray]:
    """What gradient flow conserves, from weights of the model's shapes with any leading axes (…), such as records.

    With a_h the value's last row and B_h, K_h, Q_h the entries that matter (all but the query's that meets y = 0):
    Merged has "value_key_query" (…, H, H), a_h·a_g − ⟨B_h, B_g⟩. Separate has "key_query" (…, H, R, R),
    K_h K_hᵀ − Q_h Q_hᵀ, and "value_key" (…, H), |a_h|² − |K_h|². With K outputs a_h are the value's K rows.
    Factorised, a_h = O_h V_h, has "output_value" (…, H, E, E), O_hᵀ O_h − V_h V_hᵀ, "key_query", and "value_key" with
    |V_h|² for |a_h|².

    They follow from scalings and mixings of the weights that leave M = Σ a_h ⊗ B_h alone, so they hold on any data, for
    all weights and for the restricted ones. Gradient descent breaks them at first order in the learning rate, and a
    weight decay wd makes them shrink as e^(−wd·t) in flow time t = 2η·step. ValueError for softmax, another model, or
    weights that are missing, misshapen or not finite.

    Source: Saxe et al. 2014 (arXiv 1312.6120) for linear networks, Zhang et al. 2025 (arXiv 2501.16265).

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[0.0, 2.0]]), "key_query": np.array([[[1.0, 9.0], [0.0, 9.0]]])}
    >>> conserved_quantities(Merged(heads=1), weights)
    {'value_key_query': array([[3.]])}
    """
    in_order = not isinstance(model, Mapping)
    refuse_wrong_order("conserved_quantities(model, weights)", in_order, model, weights)
    if not isinstance(model, BuiltIn) or model.softmax:
        raise ValueError(
            f"conserved quantities are known for linear Merged, Separate and Factorised models, not for {model!r}: "
            "theory.symbolic.derive(task, model).conserved() looks for those of a linear model of your own"
        )
    K = outputs_of(model)
    arrays = _checked_weights(model, weights)
    value = arrays["value"]  # (…, H, D+1), or (…, H, K, D+K); factorised (…, H, E, D+K)
    if K > 1 or isinstance(model, Factorised):
        value = value.reshape(*value.shape[:-2], -1)
    if isinstance(model, Merged):
        columns = arrays["key_query"][..., :-K]  # (…, H, D+K, D)
        rows = columns.reshape(*columns.shape[:-2], -1)
        return {"value_key_query": _inner_products(value) - _inner_products(rows)}

    key = arrays["key"]  # (…, H, R, D+K)
    query = arrays["query"][..., :-K]
    squared_norms = np.sum(value**2, axis=-1) - np.sum(key**2, axis=(-2, -1))
    balances = {}
    if isinstance(model, Factorised):
        columns = arrays["output"].swapaxes(-1, -2)  # (…, H, E, K)
        outer = _inner_products(arrays["value"])  # (…, H, E, E)
        balances["output_value"] = _inner_products(columns) - outer
    balances["key_query"] = _inner_products(key) - _inner_products(query)
    balances["value_key"] = squared_norms
    return balances


def _checked_weights(
    model: BuiltIn, weights: Mapping[str, NDArray[np.float64]]
) -> dict[str, NDArray[Any]]:
    """The weights in doubles, but symbols as they are; ValueError unless finite, complete and of one shape."""
    names = list(model.shapes(1))
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(
            f"weights of this model are {', '.join(names)}: {', '.join(missing)} is missing"
        )
    arrays = {name: np.asarray(weights[name]) for name in names}
    shapes = _expected_shapes(model, arrays)
    for name, array in arrays.items():
        arrays[name] = array.astype(np.result_type(array, np.float64))
        if array.shape != shapes[name]:
            raise ValueError(
                f"{name} must have shape {shapes[name]}, not {array.shape}"
            )
        if array.dtype != object:
            check_finite(arrays[name], name)
    return arrays


def _expected_shapes(
    model: BuiltIn, arrays: Mapping[str, NDArray[Any]]
) -> dict[str, tuple[int, ...]]:
    """The shapes that the leading axes and the size D+K of the value weights ask for."""
    value = arrays["value"].shape
    middle = () if outputs_of(model) == 1 else (outputs_of(model),)
    if isinstance(model, Factorised):
        # The value's rank is that of the outputs, as the key's is that of the keys below.
        middle = arrays["output"].shape[-1:]
    axes = 2 + len(middle)
    # Too few axes are filled up, for the message that says what is expected.
    filled = (*[0] * axes, *value)[-max(axes, len(value)) :]
    size = filled[-1]
    rows = (*filled[:-axes], model.head_count)
    value_shape = (*rows, *middle, size)
    if isinstance(model, Merged):
        return {"value": value_shape, "key_query": (*rows, size, size)}
    # The rank is that of the keys: a part of a head's pairs is conserved, too.
    rank = arrays["key"].shape[-2:-1]
    pairs = (*rows, *rank, size)
    shapes = {"value": value_shape, "key": pairs, "query": pairs}
    if isinstance(model, Factorised):
        shapes["output"] = (*rows, outputs_of(model), *middle)
    return shapes


def _inner_products(rows: FloatArray) -> FloatArray:
    """Inner products of the rows of (…, n, m), shape (…, n, n)."""
    return np.asarray(rows @ rows.swapaxes(-1, -2))
