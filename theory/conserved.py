"""Quantities that gradient flow keeps, whatever the data."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..model import Merged, Parametrization, Separate
from ..task import FloatArray


def conserved_quantities(
    model: Parametrization, weights: Mapping[str, NDArray[np.float64]]
) -> dict[str, FloatArray]:
    """What gradient flow conserves, from weights of the model's shapes with any leading axes (…), such as records.

    With a_h the value's last row and B_h, K_h, Q_h the entries that matter (all but the query's that meets y = 0):
    Merged has "value_key_query" (…, H, H), a_h·a_g − ⟨B_h, B_g⟩. Separate has "key_query" (…, H, R, R),
    K_h K_hᵀ − Q_h Q_hᵀ, and "value_key" (…, H), |a_h|² − |K_h|². They follow from scalings and mixings of the
    weights that leave M = Σ a_h ⊗ B_h alone, so they hold on any data, for all weights and for the restricted ones;
    gradient descent breaks them at first order in the learning rate. ValueError for softmax or another model.

    Source: Saxe et al. 2014 (arXiv 1312.6120) for linear networks, Zhang et al. 2025 (arXiv 2501.16265).

    >>> from attndyn import Merged
    >>> weights = {"value": np.array([[0.0, 2.0]]), "key_query": np.array([[[1.0, 9.0], [0.0, 9.0]]])}
    >>> conserved_quantities(Merged(heads=1), weights)
    {'value_key_query': array([[3.]])}
    """
    if not isinstance(model, (Merged, Separate)) or model.softmax:
        raise ValueError(f"conserved quantities are known for linear Merged and Separate models, not for {model!r}")
    value = np.asarray(weights["value"])
    if isinstance(model, Merged):
        columns = np.asarray(weights["key_query"])[..., :-1]
        columns = columns.reshape(*columns.shape[:-2], -1)
        return {"value_key_query": _products(value) - _products(columns)}
    key, query = np.asarray(weights["key"]), np.asarray(weights["query"])[..., :-1]
    squared_norms = np.sum(value**2, axis=-1) - np.sum(key**2, axis=(-2, -1))
    return {"key_query": _products(key) - _products(query), "value_key": squared_norms}


def _products(rows: FloatArray) -> FloatArray:
    """Inner products of the rows of (…, n, m), shape (…, n, n)."""
    return np.asarray(rows @ rows.swapaxes(-1, -2))
