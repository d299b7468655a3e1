"""Mean and covariance of online SGD in closed form of second order."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer import mode_descent, sgd_means

TASK = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
START = [0.4, 0.4]


def test_reference_values() -> None:
    means = sgd_means(TASK, START, START, [0, 300], learning_rate=0.01, batch=64)
    assert means.coefficients[-1, 0].round(5) == 0.36897
    assert (means.loss[-1] / 2).round(5) == 0.50702
    descent = mode_descent(TASK, START, START, [0, 300], learning_rate=0.01)
    assert descent.coefficients[-1, 0].round(5) == 0.37086
    assert (descent.loss[-1] / 2).round(5) == 0.50383
    assert np.all(means.covariance[0] == 0)
    assert "mean loss" in repr(means)
    assert means.to_dict()["steps"] == [0, 300]


def test_large_batches_are_descent_without_noise() -> None:
    means = sgd_means(TASK, START, START, [50], learning_rate=0.01, batch=10**15)
    descent = mode_descent(TASK, START, START, [50], learning_rate=0.01)
    np.testing.assert_allclose(means.p, descent.p, rtol=1e-10)
    np.testing.assert_allclose(means.loss, descent.loss, rtol=1e-10)


def test_what_is_refused() -> None:
    with pytest.raises(ArithmeticError, match="moments diverge"):
        sgd_means(TASK, START, START, [400], learning_rate=1.0, batch=1)
    for steps, message in (
        ([0.5], "steps must be whole numbers"),
        ([-1], "steps must be whole numbers"),
        ([3, 2], "steps must increase"),
        ([10**8], "100,000 at most, not 100,000,000: sgd_floor"),
    ):
        with pytest.raises(ValueError, match=message):
            sgd_means(TASK, START, START, steps, learning_rate=0.01, batch=1)


def test_the_start_is_known_at_any_rate() -> None:
    means = sgd_means(TASK, START, START, [0], learning_rate=1e200, batch=1)
    assert means.p.tolist() == [START]
