"""The flow of full p and q, against the flow of modes, of merged attention, and what it conserves."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory import time_course
from attndyn.theory.linear_transformer import layer_flow, layer_loss, mode_flow
from attndyn.theory.linear_transformer.mode_points import on_basis

from .laws import hostile_task


def test_diagonal_starts_follow_the_modes():
    task, model = hostile_task(np.random.default_rng(2))
    p, q = 0.3 * np.random.default_rng(1).normal(size=(2, task.dimension))
    times = [0.0, 1.0, 30.0]
    expected = mode_flow(task, p, q, times, model)
    modes = expected.modes
    flow = layer_flow(task, on_basis(modes, p), on_basis(modes, q), times, model)
    assert flow.loss == pytest.approx(expected.loss, rel=1e-10)
    for place in range(3):
        assert flow.p[place] == pytest.approx(
            on_basis(modes, expected.p[place]), abs=1e-9
        )


def test_entries_off_the_modes_only_shrink_and_the_total_is_conserved():
    task = Task([1, 0.5], teachers=Gaussian.shared_basis([1, 1]), context_length=4)
    p, q = 0.5 * np.random.default_rng(0).normal(size=(2, 2, 2))
    flow = layer_flow(task, p, q, np.linspace(0, 40, 21))
    off = np.abs(flow.p[:, [0, 1], [1, 0]])
    assert np.all(np.diff(off, axis=0) <= 1e-13)
    conserved = np.sum(flow.p**2, axis=(1, 2)) - np.sum(flow.q**2, axis=(1, 2))
    assert conserved == pytest.approx(conserved[0], abs=1e-10)


def test_a_list_of_teachers_keeps_the_diagonal_but_pairs_off_it_grow():
    teachers = Pool([np.diag([1.0, 1.2]), np.diag([0.8, 1.0])], signs=True)
    task = Task([1, 0.8], teachers=teachers, context_length=50)
    start = 1e-3 * np.eye(2)
    flow = layer_flow(task, start, start, [0.0, 20.0])
    assert flow.p[-1, 0, 1] == flow.q[-1, 1, 0] == 0
    # Λ̂₁₂ s₁ s₂ is the rate at which (p₁₂, q₂₁) leaves 0.
    nudge = start + 1e-9 * np.array([[0, 1], [1, 0]])
    early = layer_flow(task, nudge, nudge, [0.0, 2.0])
    rate = np.log(early.p[1, 0, 1] / 1e-9) / 2
    assert rate == pytest.approx((1 * 0.8 + 1.2 * 1.0) / 2 * 0.8, rel=0.01)


def test_teachers_that_move_the_other_blocks_are_refused():
    task = Task([1, 2], teachers=Pool([np.eye(2)]), context_length=5)
    assert layer_loss(task, np.eye(2), np.eye(2)) > 0
    with pytest.raises(ValueError, match="−W has the law of W"):
        layer_flow(task, np.eye(2), np.eye(2), [1.0])


def test_a_time_course_says_that_it_is_without_decay():
    task = Task([1, 0.5], teachers=Gaussian.shared_basis([1, 1]), context_length=4)
    model = Merged(heads=1, outputs=2)
    weights = {name: np.ones(shape) for name, shape in model.shapes(2).items()}
    for start in (0.1, weights):
        course = time_course(task, model, [0.0], start)
        assert course.settings["weight_decay"] == 0.0
