"""Weights of another shape are answered with what they are."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    evaluate,
    initial_weights,
    predict,
    sample,
    statistics,
    train,
)
from attndyn.simulate.attention.weight_shapes import way_out

TASK = Task([2, 1], context_length=5)
MODEL = Separate(2)
DATA = sample(TASK, 20)
START = initial_weights(MODEL, TASK, scale=0.1)
QUESTIONS = {
    "predict": lambda weights: predict(MODEL, weights, DATA),
    "train": lambda weights: train(MODEL, DATA, weights, learning_rate=0.1, steps=1),
    "evaluate": lambda weights: evaluate(MODEL, DATA, weights),
}


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS)
def test_whole_value_matrices_and_layers_are_named(question):
    matrices = np.zeros((2, 3, 3))
    matrices[:, -1] = START["value"]
    with pytest.raises(ValueError, match=r"pass W_V\[:, -1\]$"):
        question({**START, "value": matrices})
    layers = {name: array[None] for name, array in START.items()}
    with pytest.raises(ValueError, match=r"axis of layers .* \(external_run\)$"):
        question(layers)
    with pytest.raises(ValueError, match=r"[0-9)}]$"):
        question({**START, "value": np.zeros((3, 2))})
    # The way out is the right one: the last row of W_V is what the model holds.
    question({**START, "value": matrices[:, -1]})


def test_heads_with_an_axis_of_layers_are_told_apart():
    a, B = MODEL.heads(START)
    with pytest.raises(ValueError, match=r"axis of layers .* \(external_run\)"):
        predict(MODEL, (a[None], B[None]), DATA)
    with pytest.raises(ValueError, match="one row a head"):
        predict(MODEL, (a[0], B), DATA)


def test_as_many_heads_as_tokens_have_rows_are_still_value_matrices():
    assert "W_V" in way_out(Merged(3), "value", (3, 3, 3), (3, 3))
    assert "layers" in way_out(Merged(3), "key_query", (1, 3, 3, 3), (3, 3, 3))


@pytest.mark.parametrize("source", [DATA, statistics(DATA, MODEL)])
def test_data_serve_in_place_of_the_task_but_for_aligned_weights(source):
    for name, array in initial_weights(MODEL, source, scale=0.1).items():
        np.testing.assert_array_equal(array, START[name])
    with pytest.raises(ValueError, match="needs the eigenvectors of Λ: pass the task"):
        initial_weights(MODEL, source, scale=0.1, scheme="aligned")
