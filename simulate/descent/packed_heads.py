"""The trained numbers of a model's weights in the contiguous arrays that the compiled kernels read."""

from typing import NamedTuple

import numpy as np

from ...models.protocol import Weights
from ...runtime.aligned_memory import cache_lines
from ...runtime.arrays import FloatArray


class Heads(NamedTuple):
    """Trained value entries `a` (H, V), rows `B` (H, J·D), and `key` (H, R, J) and `query` (H, R, D).

    Head h adds a_h ⊗ B_h to M, with B_h = Σ_r key_r ⊗ query_r, or with B itself as the weight where R = 0. V is the
    number of trained rows of the value, J that of a key's entries; axes before H may lead.
    """

    a: FloatArray
    B: FloatArray
    key: FloatArray
    query: FloatArray


def pack(weights: Weights, restricted: bool) -> Heads:
    """The heads of weights, copied: of the restricted block, or of all that is trained."""
    value = weights["value"]
    size = value.shape[-1]  # D + 1
    D = size - 1
    J = D if restricted else size
    leading = value.shape[:-1]  # (..., H)
    a = (value[..., -1:] if restricted else value).copy()
    B = cache_lines(*leading, J * D)
    if "key" not in weights:
        B.reshape(*leading, J, D)[...] = weights["key_query"][..., :J, :D]
    return Heads(a, B, *_pairs(weights, J, D))


def _pairs(weights: Weights, J: int, D: int) -> tuple[FloatArray, FloatArray]:
    """Keys (..., R, J) and queries (..., R, D), copied; R = 0 for merged heads, which have none."""
    if "key" in weights:
        return weights["key"][..., :J].copy(), weights["query"][..., :D].copy()
    leading = weights["value"].shape[:-1]
    return np.zeros((*leading, 0, J)), np.zeros((*leading, 0, D))


def unpack(heads: Heads, weights: Weights, into: Weights | None = None) -> Weights:
    """The weights with their trained entries replaced by those of the heads, which may have leading axes.

    They are written `into` arrays that are there, or into new ones.
    """
    leading = heads.a.shape[: heads.a.ndim - weights["value"].ndim]
    new = into if into is not None else {}
    for name, value in weights.items():
        if into is None:
            new[name] = np.empty((*leading, *value.shape))
        new[name][...] = value
    _write_trained(heads, new)
    return new


def _write_trained(heads: Heads, weights: Weights) -> None:
    """Writes the trained entries into weights."""
    J, D = heads.key.shape[-1], heads.query.shape[-1]
    weights["value"][..., -heads.a.shape[-1] :] = heads.a
    if "key" in weights:
        weights["key"][..., :J] = heads.key
        weights["query"][..., :D] = heads.query
    else:
        B = heads.B.reshape(*heads.B.shape[:-1], J, D)
        weights["key_query"][..., :J, :D] = B


def heads_in_row(row: FloatArray, like: Heads) -> Heads:
    """Views of the last axis of `row` as heads of the shapes of `like`."""
    ends = np.cumsum([array.size for array in like])[:-1]
    pieces = np.split(row, ends, axis=-1)
    leading = row.shape[:-1]
    views = zip(pieces, like, strict=True)
    return Heads(*(piece.reshape(*leading, *array.shape) for piece, array in views))


def starts_last(heads: Heads) -> Heads:
    """Heads of many starts with their axis as the last, and aligned."""
    moved = Heads(*(cache_lines(*array.shape[1:], len(array)) for array in heads))
    for new, array in zip(moved, heads, strict=True):
        new[...] = np.moveaxis(array, 0, -1)
    return moved


def starts_first(heads: Heads) -> Heads:
    """The same heads with that axis as the first again."""
    return Heads(*(np.moveaxis(array, -1, 0) for array in heads))
