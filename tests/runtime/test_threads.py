"""Threads: the same numbers however many there are, the caller's settings in each, and errors that come back."""

import warnings

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.runtime.threads import in_threads, thread_count
from attndyn.simulate import Diverged, initial_weights, sample, train
from attndyn.simulate.attention.forward import SLICE, token_loss

TASK = Task([2, 1], context_length=4)


@pytest.mark.parametrize("softmax", [False, True])
def test_the_number_of_threads_changes_no_bit(monkeypatch, softmax):
    model = Merged(heads=2, softmax=softmax)
    tokens, weights = (
        sample(TASK, 5 * SLICE + 3).tokens,
        initial_weights(model, TASK, 0.5, scheme="gaussian"),
    )

    def numbers(tokens):
        loss, (grad_a, grad_B) = token_loss(model, model.heads(weights), tokens, (2, 4))
        return np.concatenate([[loss], grad_a.ravel(), grad_B.ravel()])

    found = []
    for count in ("1", "2", "5"):
        monkeypatch.setenv("OMP_NUM_THREADS", count)
        found.append(numbers(tokens))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    np.testing.assert_allclose(numbers(tokens[::-1]), found[0], rtol=1e-10)
    assert not np.array_equal(
        numbers(tokens[::-1]), found[0]
    )  # control: another order has other bits


def test_results_come_in_the_order_of_the_items(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert list(in_threads(lambda item: item**2, range(20))) == [
        item**2 for item in range(20)
    ]
    assert list(in_threads(abs, [])) == []


def test_a_run_diverges_in_silence_in_threads_too(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    model = Merged(heads=1)
    data, start = (
        sample(TASK, 2 * SLICE),
        initial_weights(model, TASK, 1.0, scheme="gaussian"),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(Diverged):
            train(model, data, start, learning_rate=100.0, steps=50)


def test_errors_come_back(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda item: 1 / item, [1, 0, 2]))


@pytest.mark.parametrize(("wanted", "count"), [("1", 1), ("7", 7)])
def test_the_number_of_threads_is_that_of_other_libraries(monkeypatch, wanted, count):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    assert thread_count() == count


@pytest.mark.parametrize("wanted", ["", "0", "2,2", "many"])
def test_anything_else_means_all_cores(monkeypatch, wanted):
    monkeypatch.setenv("OMP_NUM_THREADS", wanted)
    every = thread_count()
    monkeypatch.delenv("OMP_NUM_THREADS")
    assert every == thread_count() >= 1
