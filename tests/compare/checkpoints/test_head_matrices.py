"""Heads in tensors as PyTorch, TransformerLens and others store them."""

import re

import numpy as np
import pytest

from attndyn.compare.checkpoints.head_matrices import (
    HeadLayout,
    fused_part,
    matrices_of_heads,
)

RNG = np.random.default_rng(3)
T, H, R, D = 2, 4, 3, 6
HEADS = {
    role: RNG.normal(size=(T, H, *((D, R) if role == "output" else (R, D))))
    for role in ("query", "key", "value", "output")
}


def as_linear(role):
    """One matrix of all heads, (outputs, inputs), head after head."""
    axis = 2 if role == "output" else 1
    return np.concatenate([HEADS[role][:, h] for h in range(H)], axis=axis)


@pytest.mark.parametrize("role", HEADS)
def test_heads_come_out_of_every_layout(role):
    layouts = {
        "one a head": (HEADS[role], HeadLayout()),
        "TransformerLens": (
            np.swapaxes(HEADS[role], 2, 3),
            HeadLayout(inputs_first=True),
        ),
        "Linear": (as_linear(role), HeadLayout(heads=H)),
        "Conv1D": (
            np.swapaxes(as_linear(role), 1, 2),
            HeadLayout(H, inputs_first=True),
        ),
    }
    for name, (tensor, layout) in layouts.items():
        found = matrices_of_heads(tensor, role, layout, "W")
        assert np.array_equal(found, HEADS[role]), name


def fused(interleaved):
    parts = [HEADS[role] for role in ("query", "key", "value")]
    order = np.stack(parts, axis=2 if interleaved else 1)  # (T, 3, H, …), (T, H, 3, …)
    return order.reshape(T, 3 * H * R, D)


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("inputs_first", [False, True])
@pytest.mark.parametrize("role", ["query", "key", "value"])
def test_fused_matrices_are_parted(role, inputs_first, interleaved):
    tensor = fused(interleaved)
    if inputs_first:
        tensor = np.swapaxes(tensor, 1, 2)
    layout = HeadLayout(H, inputs_first=inputs_first, interleaved=interleaved)
    assert np.array_equal(fused_part(tensor, role, layout, "W"), HEADS[role])
    other = HeadLayout(H, inputs_first=inputs_first, interleaved=not interleaved)
    assert not np.array_equal(fused_part(tensor, role, other, "W"), HEADS[role])


def test_fewer_keys_and_values_serve_neighbouring_queries():
    layout = HeadLayout(heads=H, key_value_heads=2)
    keys = HEADS["key"][:, :2]
    found = matrices_of_heads(keys.reshape(T, 2 * R, D), "key", layout, "W_K")
    assert np.array_equal(found, keys[:, [0, 0, 1, 1]])
    queries = as_linear("query")
    assert np.array_equal(
        matrices_of_heads(queries, "query", layout, "W_Q"), HEADS["query"]
    )
    values = HEADS["value"][:, :2]
    parts = (queries, keys.reshape(T, -1, D), values.reshape(T, -1, D))
    tensor = np.concatenate(parts, axis=1)
    assert np.array_equal(fused_part(tensor, "query", layout, "W"), HEADS["query"])
    assert np.array_equal(
        fused_part(tensor, "value", layout, "W"), values[:, [0, 0, 1, 1]]
    )


def test_products_are_matrices_of_heads_already():
    tensor = RNG.normal(size=(T, H, D, D))
    layout = HeadLayout(inputs_first=True)
    assert np.array_equal(matrices_of_heads(tensor, "query_key", layout, "W"), tensor)
    turned = np.swapaxes(tensor, 2, 3)
    assert np.array_equal(
        matrices_of_heads(tensor, "output_value", layout, "W"), turned
    )


REFUSED = {
    "no number of heads": (HeadLayout(), as_linear("query"), "--heads how many"),
    "no divisor": (
        HeadLayout(heads=5),
        as_linear("query"),
        "W has 12 outputs, which 5",
    ),
    "an axis of heads": (HeadLayout(heads=2), HEADS["query"], "leave --heads out"),
    "a vector": (HeadLayout(heads=2), np.ones((T, D)), "must be a matrix at each"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_other_shapes_are_refused(case):
    layout, tensor, words = REFUSED[case]
    with pytest.raises(ValueError, match=re.escape(words)):
        matrices_of_heads(tensor, "query", layout, "W")


def test_other_shapes_of_outputs_and_fused_matrices_are_refused():
    with pytest.raises(ValueError, match="12 inputs, which 5 heads do not divide"):
        matrices_of_heads(as_linear("output"), "output", HeadLayout(heads=5), "W")
    with pytest.raises(ValueError, match="has 36 outputs, which are not those of 5"):
        fused_part(fused(False), "key", HeadLayout(heads=5), "W")
    with pytest.raises(ValueError, match="whose number of heads --heads says"):
        fused_part(fused(False), "key", HeadLayout(), "W")
    layout = HeadLayout(heads=4, key_value_heads=1, interleaved=True)
    with pytest.raises(ValueError, match="an interleaved matrix has as many heads"):
        fused_part(fused(False), "key", layout, "W")
    with pytest.raises(ValueError, match="3 heads of keys and values need a multiple"):
        HeadLayout(heads=4, key_value_heads=3)
    with pytest.raises(ValueError, match="heads must be a whole number"):
        HeadLayout(heads=0)
