"""Runs under weight decay beside the theory: plateaus at its fixed points, and its time course."""

import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare import match_plateaus, overlay
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import GradientDescent, initial_weights, train
from attndyn.theory import fixed_points, time_course

TASK = Task([1.0, 0.4], context_length=20)
MODEL = Separate(3)
DECAY = 0.05


def run_under_decay():
    start = initial_weights(MODEL, TASK, 0.3, seed=0, scheme="restricted")
    source = population_statistics(TASK, MODEL)
    optimizer = GradientDescent(0.0125, weight_decay=DECAY)
    return start, train(MODEL, source, start, optimizer=optimizer, steps=24_000)


def test_plateaus_and_the_course_are_those_under_decay_alone():
    start, run = run_under_decay()
    points = fixed_points(TASK, MODEL, weight_decay=DECAY)
    matches = match_plateaus(points, run)
    last = matches[-1]
    assert last.is_near
    assert last.point.hessian_index == 0
    assert last.map_gap < 1e-3
    assert abs(last.loss / last.point.loss - 1) < 1e-3
    # Control: the fixed points without decay are somewhere else.
    plain = match_plateaus(fixed_points(TASK, MODEL), run)[-1]
    assert abs(plain.loss / plain.point.loss - 1) > 1e-2

    course = time_course(TASK, MODEL, run.flow_time, start, weight_decay=DECAY)
    assert overlay(course, run).sup_gap < 0.05
    assert np.isclose(course.loss[-1], run.loss[-1], rtol=1e-3)
    other = time_course(TASK, MODEL, run.flow_time, start, weight_decay=2 * DECAY)
    assert np.max(np.abs(other.loss - run.loss)) > 0.1
    with pytest.raises(ValueError, match="weight_decay"):
        overlay(other, run)
