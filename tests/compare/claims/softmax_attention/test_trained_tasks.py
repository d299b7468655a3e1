"""Heads that several tasks share: how they are counted, and the descent that finds them."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention import trained_tasks
from attndyn.compare.claims.softmax_attention.trained_tasks import TASK, shared_heads
from attndyn.theory.softmax_attention import (
    head_loads,
    several_tasks_infimum,
    several_tasks_loss,
)


def test_a_head_is_shared_if_it_carries_a_share_of_both_tasks():
    ω = np.array([[1.0] * 6, [1, 1, 1, 1, 0, 0], [0, 0, 1, 1, 1, 1]])
    alone = np.array([[0, 0], [1, 0], [0, 1]])
    assert shared_heads(ω, alone) == 0
    assert shared_heads(ω, alone + np.array([[0.5, 0.5], [0, 0], [0, 0]])) == 1
    # 4 % of the second task are not enough, 8 % are.
    assert shared_heads(ω, alone + np.array([[0, 0], [0, 0.08], [0, 0]])) == 0
    assert shared_heads(ω, alone + np.array([[0, 0], [0, 0.2], [0, 0]])) == 1


def test_descent_goes_down_the_loss_of_several_tasks(monkeypatch):
    monkeypatch.setattr(trained_tasks, "STARTS", 2)
    ω, μ = trained_tasks.descents(4, seed=1)
    losses = [several_tasks_loss(TASK, ω[i], μ[i]).loss for i in range(2)]
    # The valley leads down to the infimum, which no heads reach.
    infimum = several_tasks_infimum(TASK)
    assert np.all(np.array(losses) > infimum)
    assert losses == pytest.approx([infimum] * 2, rel=0.05)
    counted = [int(shared_heads(ω[i], μ[i])) for i in range(2)]
    loads = [np.abs(head_loads(TASK, ω[i], μ[i])) for i in range(2)]
    shares = [load / load.sum(axis=1, keepdims=True) for load in loads]
    assert counted == [int(np.sum(np.all(each >= 0.05, axis=0))) for each in shares]


def test_one_step_of_descent_is_the_gradient(monkeypatch):
    monkeypatch.setattr(trained_tasks, "STARTS", 1)
    monkeypatch.setattr(trained_tasks, "STEPS", 0)
    ω, μ = trained_tasks.descents(3, seed=0)
    monkeypatch.setattr(trained_tasks, "STEPS", 1)
    moved, _ = trained_tasks.descents(3, seed=0)
    shift = np.zeros_like(ω[0])
    shift[1, 2] = 1e-5
    above = several_tasks_loss(TASK, ω[0] + shift, μ[0]).loss
    below = several_tasks_loss(TASK, ω[0] - shift, μ[0]).loss
    # Half the gradient of the sum over both tasks, which is the gradient of their mean.
    slope = (above - below) / 2e-5
    step = trained_tasks.RATE * slope
    assert moved[0, 1, 2] == pytest.approx(ω[0, 1, 2] - step, rel=1e-6)


def test_the_trained_heads_are_read_in_units_of_the_score():
    model = trained_tasks.model(3)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(6).items()}
    weights["key"][:, :6, :6] = np.eye(6)
    weights["query"][:, :6, :6] = 0.3 * np.sqrt(8) * np.eye(6)
    weights["value"][:, 6:, 6:] = np.eye(2)
    weights["output"][:, :, 6:] = np.diag([2.0, -1.0])

    class Finished:
        """A run that has these weights."""

        final = weights

    ω, μ = trained_tasks.trained_heads(Finished())
    np.testing.assert_allclose(ω, np.full((3, 6), 0.3))
    np.testing.assert_allclose(μ, [[2, -1]] * 3)
