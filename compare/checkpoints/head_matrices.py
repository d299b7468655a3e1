"""The matrices of heads, from tensors as programs store them."""

from dataclasses import dataclass

import numpy as np

from ...runtime.arrays import FloatArray
from ...runtime.checks import whole_number

PRODUCTS = ("query_key", "output_value")
"""Roles whose tensors are products of factors already."""


@dataclass(frozen=True)
class HeadLayout:
    """How the heads of a layer lie in its tensors.

    A matrix acts from the left, as `torch.nn.Linear` has it (outputs, inputs), or with `inputs_first` from the right
    (inputs, outputs), as in TransformerLens and in GPT-2. `heads` are in one matrix, queries, keys and values one
    after another along its outputs, those of the output matrix along its inputs. There are `key_value_heads`, if
    fewer, each of which serves as many neighbouring queries. In a fused matrix queries, keys and values follow one
    another; with `interleaved` those of each head do.
    """

    heads: int | None = None
    key_value_heads: int | None = None
    inputs_first: bool = False
    interleaved: bool = False

    def __post_init__(self) -> None:
        """ValueError for numbers of heads that do not fit."""
        for name in ("heads", "key_value_heads"):
            if getattr(self, name) is not None:
                whole_number(getattr(self, name), name)
        if self.key_value_heads is None:
            return
        if self.heads is None or self.heads % self.key_value_heads:
            raise ValueError(
                f"{self.key_value_heads} heads of keys and values need a multiple of them as heads, not {self.heads}"
            )

    def heads_of(self, role: str) -> int | None:
        """The number of heads in a matrix of this role."""
        if role in ("key", "value") and self.key_value_heads is not None:
            return self.key_value_heads
        return self.heads


def matrices_of_heads(
    tensor: FloatArray, role: str, layout: HeadLayout, name: str
) -> FloatArray:
    """The matrices (T, …, rows, columns) of the heads in a tensor at T checkpoints, each of which acts from the left.

    "query", "key" and "value" become (T, …, r, D), "output" (T, …, D, r). ValueError, naming the tensor, for a shape
    that cannot be divided into these heads.

    >>> matrices_of_heads(np.zeros((3, 8, 6)), "query", HeadLayout(heads=2), "W_Q").shape
    (3, 2, 4, 6)
    """
    if tensor.ndim < 3:
        raise ValueError(
            f"{name} must be a matrix at each checkpoint, not of shape {tensor.shape[1:]}"
        )
    matrices = tensor
    # QK is a bilinear form, in which no side acts on the other.
    if layout.inputs_first and role != "query_key":
        matrices = np.swapaxes(tensor, -1, -2)
    if role in PRODUCTS:
        return matrices
    heads = layout.heads_of(role)
    if tensor.ndim == 3:
        if heads is None:
            raise ValueError(
                f"{name} is one matrix of shape {tensor.shape[1:]}: "
                "say with --heads how many heads are in it (in Python, HeadLayout(heads=…))"
            )
        matrices = _divided(matrices, heads, role, name)
    elif heads is not None:
        raise ValueError(
            f"{name} has an axis of heads already, in shape {tensor.shape[1:]}: leave --heads out"
        )
    return _shared(matrices, role, layout)


def fused_part(
    tensor: FloatArray, role: str, layout: HeadLayout, name: str
) -> FloatArray:
    """The matrices (T, H, r, D) of "query", "key" or "value" in a tensor (T, rows, D) that holds all three.

    ValueError, naming the tensor, for a shape that cannot be divided into these heads.

    >>> fused_part(np.zeros((3, 24, 6)), "value", HeadLayout(heads=2), "W_QKV").shape
    (3, 2, 4, 6)
    """
    if tensor.ndim != 3 or layout.heads is None:
        raise ValueError(
            f"{name} must be one matrix at each checkpoint, whose number of heads --heads says, not of shape "
            f"{tensor.shape[1:]}"
        )
    matrices = np.swapaxes(tensor, -1, -2) if layout.inputs_first else tensor
    others = layout.key_value_heads or layout.heads
    parts = layout.heads + 2 * others
    rows = matrices.shape[1]
    if rows % parts:
        raise ValueError(
            f"{name} has {rows} outputs, which are not those of {layout.heads} heads of queries and {others} of keys "
            "and values"
        )
    divided = matrices.reshape(len(matrices), parts, rows // parts, -1)
    return _shared(divided[:, _places(role, layout, others)], role, layout)


def _places(role: str, layout: HeadLayout, others: int) -> slice:
    """Where the heads of a role stand among all of a fused matrix."""
    if layout.interleaved:
        if others != layout.heads:
            raise ValueError(
                "an interleaved matrix has as many heads of keys and values as of queries: leave the number of the "
                "others out"
            )
        return slice(("query", "key", "value").index(role), None, 3)
    assert layout.heads is not None
    first = {"query": 0, "key": layout.heads, "value": layout.heads + others}[role]
    return slice(first, first + (layout.heads if role == "query" else others))


def _divided(matrices: FloatArray, heads: int, role: str, name: str) -> FloatArray:
    """(T, H, r, D) of (T, H·r, D), or (T, H, D, r) of an output matrix (T, D, H·r)."""
    axis = 2 if role == "output" else 1
    size = matrices.shape[axis]
    if size % heads:
        raise ValueError(
            f"{name} has {size} {'inputs' if role == 'output' else 'outputs'}, which {heads} heads do not divide"
        )
    count, rows, columns = matrices.shape
    if role == "output":
        return matrices.reshape(count, rows, heads, -1).swapaxes(1, 2)
    return matrices.reshape(count, heads, -1, columns)


def _shared(matrices: FloatArray, role: str, layout: HeadLayout) -> FloatArray:
    """The matrices with those of fewer keys and values repeated for the queries that they serve."""
    if role in ("key", "value") and layout.key_value_heads is not None:
        assert layout.heads is not None
        return np.repeat(matrices, layout.heads // layout.key_value_heads, axis=-3)
    return matrices
