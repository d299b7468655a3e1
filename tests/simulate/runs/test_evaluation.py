"""Losses of weights and of runs on data that they were not trained on."""

import re

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    evaluate,
    external_run,
    initial_weights,
    predict,
    sample,
    statistics,
    train,
)

TASK = Task([2, 1], context_length=5)
MODEL = Separate(heads=2)
DATA = sample(TASK, 60)
TEST = sample(TASK, 60, split="test")
RUN = train(
    MODEL,
    DATA,
    initial_weights(MODEL, TASK, 0.3),
    learning_rate=0.05,
    steps=40,
    record=10,
)


def test_a_run_has_a_loss_at_all_of_its_weights():
    losses = evaluate(MODEL, TEST, RUN)
    assert losses.shape == RUN.weight_time.shape
    for k, loss in enumerate(losses):
        assert loss == evaluate(MODEL, TEST, RUN.stored_weights(k))
    # Against the definition.
    output = predict(MODEL, MODEL.heads(RUN.final), TEST.tokens)
    assert losses[-1] == pytest.approx(np.mean((output - TEST.tokens[:, -1, -1]) ** 2))
    own = evaluate(MODEL, DATA, RUN)
    np.testing.assert_allclose(own[:-1], RUN.loss[::10], rtol=1e-13)
    assert not np.allclose(own, losses, rtol=0.01)  # control: other prompts


def test_statistics_give_the_same_losses():
    on_statistics = evaluate(MODEL, statistics(TEST, MODEL), RUN)
    np.testing.assert_allclose(on_statistics, evaluate(MODEL, TEST, RUN), rtol=1e-11)


def test_softmax_is_evaluated_on_data():
    model = Merged(2, softmax=True)
    weights = initial_weights(model, TASK, 0.3)
    assert evaluate(model, TEST, weights) > 0
    with pytest.raises(ValueError, match="softmax"):
        evaluate(model, statistics(TEST, Merged(2)), weights)


class Tensor:
    """A parameter of PyTorch."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return self

    def cpu(self):
        return self

    def is_complex(self):
        return False

    def double(self):
        return self

    def numpy(self):
        return self.values


def test_weights_may_be_tensors():
    tensors = {name: Tensor(value) for name, value in RUN.final.items()}
    assert evaluate(MODEL, TEST, tensors) == evaluate(MODEL, TEST, RUN.final)


def without(name):
    return {key: value for key, value in RUN.final.items() if key != name}


WRONG = {
    "the model has weights ['key', 'query', 'value'], not": (
        ValueError,
        without("value"),
    ),
    "weights['value'] must have shape (2, 3), not (2, 3, 3)": (
        ValueError,
        {**RUN.final, "value": np.ones((2, 3, 3))},
    ),
    "weights['value'] must be finite": (
        ValueError,
        {**RUN.final, "value": np.full((2, 3), np.nan)},
    ),
    "this run holds no weights": (ValueError, external_run([1.0, 0.5])),
    "weights are {name: array} or a run, not list": (TypeError, [1.0]),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_weights_are_refused(message):
    error, weights = WRONG[message]
    with pytest.raises(error, match=re.escape(message)):
        evaluate(MODEL, TEST, weights)


def test_a_task_has_no_loss_to_average():
    with pytest.raises(TypeError, match="a task has no end of prompts"):
        evaluate(MODEL, TASK, RUN.final)
