"""Durations: what the judges take for a law, and stays that the flow of one head makes by itself."""

import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare.claims.linear_attention.separate import dwell_times as laws
from attndyn.compare.claims.linear_attention.separate.dwell_time_runs import (
    RANK_ONE,
    REVERSED_GAINS,
    crossings,
    dwell_times,
    rotated,
)
from attndyn.compare.claims.linear_attention.separate.dwell_times import (
    COARSE_SCALES,
    SCALES,
    WIDE_SCALES,
    _grows,
    _phases_agree,
    _settles,
)
from attndyn.compare.evidence.claim import UNMODIFIED, RunContext
from attndyn.simulate import initial_weights
from attndyn.theory import population
from attndyn.theory.linear_attention import rank_one_amplitude

STEP = np.log(10)
LAB = RunContext("nowhere", 3)


def grown(slope, starts=3):
    """Stays of this slope per ln(1/scale), (K, starts, 1), each start with a constant of its own."""
    return -slope * np.log(SCALES)[:, None, None] + np.arange(starts)[None, :, None]


@pytest.mark.parametrize(
    ("factor", "agrees"), [(1.0, True), (1.002, False), (0.998, False)]
)
def test_a_slope_is_told_to_a_thousandth(factor, agrees):
    evidence = _grows(("one",))(
        np.full((len(SCALES) - 1, 1), 2 * STEP), grown(2 * factor)
    )
    assert evidence.agrees is agrees
    assert evidence.residual == pytest.approx(abs(factor - 1), abs=1e-9)


def test_the_line_that_is_drawn_has_the_predicted_slope():
    (line,) = _grows(("one",))(
        np.full((len(SCALES) - 1, 1), 2 * STEP), grown(3.0)
    ).curves
    assert np.diff(line.predicted) / np.diff(line.x) == pytest.approx(2.0)
    assert line.predicted[-1] == pytest.approx(line.observed[-1])
    assert np.diff(line.observed) / np.diff(line.x) == pytest.approx(3.0)


@pytest.mark.parametrize(
    ("power", "agrees"), [(0.6, True), (0.7, False), (0.5, False), (0.0, False)]
)
def test_a_stay_settles_at_the_predicted_order(power, agrees):
    observed = 6 + 0.5 * np.array(WIDE_SCALES)[:, None] ** power * np.array(
        [1.0, -2.0, 3.0]
    )
    assert _settles((np.full(len(WIDE_SCALES), 6.0), 0.6), observed).agrees is agrees


def test_waits_must_be_those_of_the_idle_phase_and_scale_as_they():
    phases = np.multiply.outer(1 / np.array(COARSE_SCALES), np.ones((3, 2)))
    correction = (
        1 + 3 * (np.array(COARSE_SCALES) * -np.log(COARSE_SCALES))[:, None, None]
    )
    assert _phases_agree(phases, phases * correction).agrees
    assert not _phases_agree(phases, 1.1 * phases * correction).agrees
    assert not _phases_agree(
        phases, phases * np.sqrt(np.array(COARSE_SCALES))[:, None, None]
    ).agrees


def test_crossings_are_those_of_the_closed_form_between_the_points():
    task, model = Task([1.0], context_length=10), Separate(1)
    moments = population(task, model)
    start = initial_weights(model, task, 0.1, scheme="aligned")
    levels = moments.greedy_losses
    (found,) = crossings(task, model, start, np.arange(0.25, 40.0, 0.25), levels)
    v = rank_one_amplitude(found, 0.1, moments.b[0], 1 / moments.coefficients[0])
    assert moments.aligned_loss(np.array([v**3])) == pytest.approx(
        levels.mean(), abs=1e-4
    )


def test_where_the_bases_commute_a_visit_grows_and_where_they_do_not_it_does_not():
    def lengths(task):
        levels = laws._passed_levels(population(task, RANK_ONE))
        return dwell_times(task, RANK_ONE, levels, LAB, (1e-3, 1e-5))[:, :, 0]

    slope = laws._rotation_growth(LAB, UNMODIFIED)[0, 0] / STEP
    assert np.diff(lengths(REVERSED_GAINS), axis=0) / np.log(100) == pytest.approx(
        slope, rel=1e-2
    )
    assert np.max(np.abs(np.diff(lengths(rotated(0.3)), axis=0))) < 0.05


def test_rotating_the_teachers_keeps_their_spectrum():
    spectrum = np.linalg.eigvalsh(rotated(0.4).teacher_covariance)
    assert spectrum == pytest.approx(
        np.linalg.eigvalsh(REVERSED_GAINS.teacher_covariance)
    )
