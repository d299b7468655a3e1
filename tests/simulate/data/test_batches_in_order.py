"""Batches that a run recorded: the prompts of a data set in the order in which they stand."""

import re

import numpy as np
import pytest

from attndyn import Merged
from attndyn.simulate import (
    Adam,
    BatchesInOrder,
    flow,
    objective,
    prompts_from_tokens,
    statistics,
    train,
)

DRAWS = np.random.default_rng(0)
DATA = prompts_from_tokens(DRAWS.normal(size=(60, 5, 4)), outputs=2)
MODEL = Merged(2, outputs=2, softmax=True, query_token=False)
START = {
    name: 0.3 * DRAWS.normal(size=shape) for name, shape in MODEL.shapes(2).items()
}
BATCHES = BatchesInOrder(DATA, 6)


def test_a_step_has_the_next_prompts():
    assert (BATCHES.steps, BATCHES.dimension, BATCHES.outputs) == (10, 2, 2)
    assert BATCHES.context_lengths == (4,)
    for step in range(10):
        tokens, targets = BATCHES.at(step)
        assert np.array_equal(tokens, DATA.tokens[6 * step : 6 * step + 6])
        assert np.array_equal(targets, tokens[..., 2:])


def test_every_loss_is_that_of_its_batch():
    run = train(MODEL, BATCHES, START, learning_rate=0.02, steps=10, record=1)
    for step in range(10):
        batch = prompts_from_tokens(BATCHES.at(step).tokens, outputs=2)
        loss, _ = objective(MODEL, batch)(run.weights_at(step))
        assert run.loss[step] == pytest.approx(loss, rel=1e-14)


@pytest.mark.parametrize(
    "rule", [{"learning_rate": 0.02}, {"optimizer": Adam(0.01)}], ids=["rate", "adam"]
)
def test_a_run_on_them_goes_on(rule):
    whole = train(MODEL, BATCHES, START, steps=10, **rule)
    first = train(MODEL, BATCHES, START, steps=4, **rule)
    assert np.array_equal(train(MODEL, BATCHES, first, steps=10).loss, whole.loss)
    for other in (BatchesInOrder(DATA, 10), DATA):
        with pytest.raises(ValueError, match="its data is another one"):
            train(MODEL, other, first, steps=6)


def test_they_are_whole_and_enough():
    with pytest.raises(ValueError, match="batch must divide the number of sequences"):
        BatchesInOrder(DATA, 7)
    with pytest.raises(ValueError, match="batch must be a whole number"):
        BatchesInOrder(DATA, 0)
    with pytest.raises(TypeError, match=r"call BatchesInOrder\(data, batch\): got int"):
        BatchesInOrder(6, DATA)
    assert BATCHES.digest != BatchesInOrder(DATA, 12).digest
    with pytest.raises(ValueError, match=re.escape("and none for step 10")):
        BATCHES.at(10)
    with pytest.raises(ValueError, match="steps must be at most that, not 11"):
        train(MODEL, BATCHES, START, learning_rate=0.1, steps=11)
    for extra in ({"batch": 6}, {"seed": 1}):
        with pytest.raises(ValueError, match="leave batch and seed out"):
            train(MODEL, BATCHES, START, learning_rate=0.1, steps=3, **extra)


def test_nothing_but_a_descent_reads_them():
    with pytest.raises(TypeError, match="batches are other prompts in every step"):
        objective(MODEL, BATCHES)
    with pytest.raises(TypeError, match="batches are other prompts in every step"):
        flow(MODEL, BATCHES, START, [1.0])
    with pytest.raises(TypeError, match="got BatchesInOrder, then Merged"):
        statistics(BATCHES, Merged(2, outputs=2))
