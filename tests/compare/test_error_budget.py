"""Budgets: the sizes cover the gap that they explain, and each belongs to the approximation that it names."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Task
from attndyn.compare.error_budget import (
    SAMPLE,
    SOLVER,
    START,
    STEP,
    budget,
    course_budget,
)
from attndyn.compare.metrics.curves import sup_gap
from attndyn.simulate import Experiment
from attndyn.theory import time_course

TASK, MODEL = Task(eigenvalues=[2, 1], trace=1.0, context_length=10), Merged(heads=3)
RUN = Experiment(
    TASK,
    MODEL,
    4_000,
    scale=1e-2,
    learning_rate=0.02,
    steps=1_500,
    whiten=True,
    centre=True,
)
CURVES = st.lists(
    st.lists(st.floats(-1, 1), min_size=3, max_size=3), min_size=2, max_size=5
)


def predicted(experiment):
    return lambda times: time_course(TASK, MODEL, times, experiment.start).loss


def examined(**changes):
    """Budget and sup gap of a run with some settings changed."""
    experiment = replace(RUN, **changes)
    run = experiment.run()
    times = run.flow_time[:: len(run.loss) // 100]
    gap = sup_gap(run.loss[:: len(run.loss) // 100], predicted(experiment)(times))
    return course_budget(experiment, run, predicted(experiment), times), gap


@given(CURVES)
@settings(max_examples=25, deadline=None)
def test_sizes_add_up_to_the_gap_or_more(curves):
    sizes = budget(curves[0], dict(enumerate(curves[1:])))
    assert sum(sizes.values()) >= sup_gap(curves[0], curves[-1]) - 1e-12


def test_one_approximation_is_the_whole_gap():
    assert budget([1.0, 0.0], {"all": [0.5, 0.0]}) == {"all": 0.5}
    assert budget([1.0], {}) == {}
    with pytest.raises(ValueError, match="one shape"):
        budget([1.0, 2.0], {"shorter": [1.0]})


def test_a_budget_covers_the_overlay_that_it_explains():
    sizes, gap = examined()
    assert list(sizes) == [STEP, SAMPLE, SOLVER, START]
    assert gap <= sum(sizes.values()) <= 3 * gap
    assert sizes[SOLVER] < 1e-6


def test_each_size_falls_with_its_own_limit_alone():
    before, _ = examined()
    half, _ = examined(learning_rate=RUN.learning_rate / 2, steps=2 * RUN.steps)
    assert half[STEP] == pytest.approx(before[STEP] / 2, rel=0.05)
    assert half[SAMPLE] == pytest.approx(before[SAMPLE], rel=0.05)
    more, _ = examined(sequences=400 * RUN.sequences)
    assert more[SAMPLE] < before[SAMPLE] / 5
    assert more[START] == pytest.approx(before[START], rel=1e-6)
    smaller, _ = examined(scale=RUN.scale / 10, steps=2 * RUN.steps)
    assert smaller[START] < before[START] / 5


def test_times_that_the_run_has_not_are_refused():
    with pytest.raises(ValueError, match="flow times of the run"):
        course_budget(
            RUN, replace(RUN, steps=20).run(), predicted(RUN), np.array([0.0, 0.011])
        )
