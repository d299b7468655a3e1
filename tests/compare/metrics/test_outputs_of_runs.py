"""A run of several outputs is not compared with what is of one."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare import match_plateaus, overlay
from attndyn.simulate import external_run, initial_weights, sample, train
from attndyn.teachers import Gaussian
from attndyn.theory import fixed_points, time_course

TASK = Task([2, 1], context_length=5)
PAIR = Task([2, 1], context_length=5, teachers=Gaussian.kronecker(np.eye(2), np.eye(2)))


def test_plateaus_and_overlays_refuse_two_outputs():
    model = Merged(2, outputs=2)
    start = initial_weights(model, PAIR, scale=0.1)
    run = train(model, sample(PAIR, 20), start, learning_rate=0.01, steps=5)
    with pytest.raises(
        ValueError, match="fixed points has outputs = 1 and the run outputs = 2"
    ):
        match_plateaus(fixed_points(TASK, Merged(2)), run)
    curve = time_course(TASK, Merged(2), run.flow_time, 0.1)
    with pytest.raises(ValueError, match="of 2 outputs, and the curve is of 1 output"):
        overlay(curve, run)
    with pytest.raises(ValueError, match="one head of several outputs"):
        fixed_points(PAIR, model)


def test_runs_of_one_output_and_whole_value_matrices_are_compared():
    start = initial_weights(Merged(2), TASK, scale=0.1)
    run = train(
        Merged(2), sample(TASK, 20), start, learning_rate=1e-4, steps=5, record=1
    )
    curve = time_course(TASK, Merged(2), run.flow_time, 0.1)
    assert len(overlay(curve, run).observed) == 5
    assert match_plateaus(fixed_points(TASK, Merged(2)), run) is not None

    whole = external_run(
        [3.0, 2.9], learning_rate=1e-4, weights={0: {"value": np.ones((2, 3, 3))}}
    )
    assert len(overlay(curve, whole).observed) == 2


def test_points_of_another_divisor_are_refused():
    start = initial_weights(Merged(2), TASK, scale=0.1)
    run = train(Merged(2), sample(TASK, 20), start, learning_rate=1e-4, steps=5)
    other = fixed_points(TASK, Merged(2, divisor="tokens"))
    with pytest.raises(ValueError, match="divisor = tokens and the run divisor"):
        match_plateaus(other, run)
