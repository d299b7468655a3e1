"""Quantities that gradient flow keeps, whatever the data."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...models.attention import Merged, Separate
from ...models.protocol import Parametrization
from ...runtime.arrays import FloatArray


def conserved_quantities(
    model: Parametrization, weights: Mapping[str, NDArray[np.float64]]
) -> dict[str, FloatArray]:
    """What gradient flow conserves, from weights of the model's shapes with any leading axes (…), such as records.

    With a_h the value's last row and B_h, K_h, Q_h the entries that matter (all but the query's that meets y = 0):
    Merged has "value_key_query" (…, H, H), a_h·a_g − ⟨B_h, B_g⟩. Separate has "key_query" (…, H, R, R),
    K_h K_hᵀ − Q_h Q_hᵀ, and "value_key" (…, H), |a_h|² − |K_h|². They follow from scalings and mixings of the
    weights that leave M = Σ a_h ⊗ B_h alone, so they hold on any data, for all weights and for the restricted ones;
    gradient descent breaks them at first order in the learning rate. ValueError for softmax, another model, or
    weights that are missing, misshapen or not finite.

    Source: Saxe et al. 2014 (arXiv 1312.6120) for linear networks, Zhang et al. 2025 (arXiv 2501.16265).

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[0.0, 2.0]]), "key_query": np.array([[[1.0, 9.0], [0.0, 9.0]]])}
    >>> conserved_quantities(Merged(heads=1), weights)
    {'value_key_query': array([[3.]])}
    """
    if not isinstance(model, (Merged, Separate)) or model.softmax:
        raise ValueError(
            f"conserved quantities are known for linear Merged and Separate models, not for {model!r}"
        )
    value, *others = _numbers(model, weights)
    if isinstance(model, Merged):
        columns = others[0][..., :-1]
        columns = columns.reshape(*columns.shape[:-2], -1)
        return {"value_key_query": _products(value) - _products(columns)}
    key, query = others[0], others[1][..., :-1]
    squared_norms = np.sum(value**2, axis=-1) - np.sum(key**2, axis=(-2, -1))
    return {"key_query": _products(key) - _products(query), "value_key": squared_norms}


def _numbers(
    model: Merged | Separate, weights: Mapping[str, NDArray[np.float64]]
) -> list[FloatArray]:
    """The weights in doubles, but symbols as they are; ValueError unless finite, complete and of one shape."""
    names = list(model.shapes(1))
    missing = [name for name in names if name not in weights]
    if missing:
        raise ValueError(
            f"weights of this model are {', '.join(names)}: {', '.join(missing)} is missing"
        )
    given = [np.asarray(weights[name]) for name in names]
    arrays = [array.astype(np.result_type(array, np.float64)) for array in given]
    *leading, _, size = (0, 0, *arrays[0].shape)[-max(2, arrays[0].ndim) :]
    rows = (*leading, model.head_count)
    pairs = (
        arrays[1].shape[-2:-1] if isinstance(model, Separate) else (size,)
    )  # a pair alone is conserved, too
    shapes = [(*rows, size)] + [(*rows, *pairs, size)] * (len(arrays) - 1)
    for name, array, shape in zip(names, arrays, shapes, strict=True):
        if array.shape != shape:
            raise ValueError(f"{name} must have shape {shape}, not {array.shape}")
        if array.dtype != object and not np.all(np.isfinite(array)):
            raise ValueError(f"{name} must be finite: it holds nan or inf")
    return arrays


def _products(rows: FloatArray) -> FloatArray:
    """Inner products of the rows of (…, n, m), shape (…, n, n)."""
    return np.asarray(rows @ rows.swapaxes(-1, -2))
