"""Weights that a run keeps as they are: whole ones by name, or entries by mask."""

import reprlib
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from ...models.protocol import Weights
from ...runtime.arrays import BoolArray

Frozen = Collection[str] | Mapping[str, ArrayLike]
"""Names of weights, or name → mask that is True where a weight stays as it is."""


def _refuse_other_names(frozen: object, weights: Weights) -> None:
    """ValueError unless these are names of weights."""
    wanted = "frozen must be names, as in ('value',), or {'value': boolean mask}"
    if isinstance(frozen, str):
        raise ValueError(f"{wanted}, not the text {frozen!r}: write ({frozen!r},)")
    if not isinstance(frozen, Collection):
        raise ValueError(f"{wanted}, not {frozen!r}")
    unknown = [name for name in frozen if name not in tuple(weights)]
    if unknown:
        raise ValueError(
            f"frozen names {', '.join(map(repr, unknown))}: the weights are {', '.join(weights)}"
        )


def frozen_masks(frozen: Frozen, weights: Weights) -> dict[str, BoolArray]:
    """The masks of the weights that have frozen entries; ValueError for what is no name or mask of these weights.

    >>> weights = {"value": np.zeros(2), "key": np.zeros(1)}
    >>> frozen_masks(("value",), weights)
    {'value': array([ True,  True])}
    >>> frozen_masks({"value": [True, False], "key": [False]}, weights)
    {'value': array([ True, False])}
    """
    _refuse_other_names(frozen, weights)
    masks = {}
    for name in frozen:
        if isinstance(frozen, Mapping):
            masks[name] = _checked_mask(frozen[name], name, weights[name].shape)
        else:
            masks[name] = np.ones(weights[name].shape, dtype=bool)
    if all(np.all(masks.get(name, False)) for name in weights):
        raise ValueError("frozen leaves no weight to train: leave one of them out")
    return {name: mask for name, mask in masks.items() if np.any(mask)}


def _checked_mask(mask: ArrayLike, name: str, shape: tuple[int, ...]) -> BoolArray:
    """A mask of one weight; ValueError for other types than boolean and other shapes than the weight's."""
    refusal = ValueError(
        f"frozen[{name!r}] must be a boolean mask, True where the weight stays, not {reprlib.repr(mask)}"
    )
    try:
        array = np.asarray(mask)
    # Rows of different lengths.
    except ValueError:
        raise refusal from None
    if array.dtype.kind != "b":
        raise refusal
    if array.shape != shape:
        raise ValueError(
            f"frozen[{name!r}] must have the weight's shape {shape}, not {array.shape}"
        )
    return array.copy()


def frozen_settings(masks: Mapping[str, BoolArray]) -> dict[str, Any] | None:
    """The masks as a run stores them, nested lists; None where nothing is frozen.

    >>> frozen_settings({"value": np.array([True, False])})
    {'value': [True, False]}
    """
    if not masks:
        return None
    return {name: masks[name].tolist() for name in sorted(masks)}
