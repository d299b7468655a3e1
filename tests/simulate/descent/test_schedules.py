"""Schedules: the rates at and between their points, and what is no schedule."""

import math
import re

import numpy as np
import pytest

from attndyn.simulate.descent.schedules import Schedule, scheduled_rates

POINTS = {0: 0.0, 10: 0.2, 30: 0.1}


def test_rates_at_the_points_and_beyond():
    for kind in ("linear", "cosine", "constant"):
        schedule = Schedule({5: 0.3, 10: 0.2, 30: 0.1}, kind)
        assert [schedule(step) for step in (0, 5, 10, 30, 31, 10**9)] == [
            0.3,
            0.3,
            0.2,
            0.1,
            0.1,
            0.1,
        ]


def test_rates_between_the_points():
    linear, cosine, constant = (
        Schedule(POINTS, kind) for kind in ("linear", "cosine", "constant")
    )
    for step in range(10, 30):
        part = (step - 10) / 20
        assert linear(step) == pytest.approx(0.2 - 0.1 * part, rel=1e-14)
        half_cosine = 0.1 + 0.1 * (1 + math.cos(math.pi * part)) / 2
        assert cosine(step) == pytest.approx(half_cosine, rel=1e-14)
        assert constant(step) == 0.2
    assert linear(5) == pytest.approx(0.1)
    assert cosine(2) < linear(2) < linear(8) < cosine(8)


def test_the_order_and_the_form_of_points_do_not_matter():
    schedule = Schedule(POINTS)
    assert schedule == Schedule({30: 0.1, 0: 0, np.int64(10): np.float64(0.2)})
    assert schedule == Schedule([(0, 0.0), (30, 0.1), (10, 0.2)])
    assert schedule == Schedule({"0": 0.0, "10": 0.2, "30": 0.1})  # as files have them
    assert schedule == Schedule(**schedule.to_dict())
    assert hash(schedule) == hash(Schedule(**schedule.to_dict()))
    assert schedule != Schedule(POINTS, "cosine")
    assert schedule != Schedule({**POINTS, 30: 0.11})


BAD = {
    "points of a schedule must be {step: rate}, at least one, not {}": {},
    "points of a schedule must be {step: rate}, at least one, not 0.1": 0.1,
    "points of a schedule must be {step: rate}, at least one, not [0.1, 0.2]": [
        0.1,
        0.2,
    ],
    "steps of a schedule must be whole numbers of at least 0, not -1": {-1: 0.1},
    "steps of a schedule must be whole numbers of at least 0, not 0.5": {0.5: 0.1},
    "steps of a schedule must be whole numbers of at least 0, not True": {True: 0.1},
    "steps of a schedule must be whole numbers of at least 0, not 'end'": {"end": 0.1},
    "a schedule names step 3 twice: keep one of them": [(3, 0.1), (3, 0.2)],
    "the rate of step 0 must be zero or more and finite, not -0.1": {0: -0.1},
    "the rate of step 0 must be zero or more and finite, not nan": {0: np.nan},
    "the rate of step 0 must be zero or more and finite, not inf": {0: np.inf},
    "the rate of step 0 must be zero or more and finite, not '0.1'": {0: "0.1"},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_schedule_is_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Schedule(BAD[message])


def test_another_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of linear, cosine, const"):
        Schedule(POINTS, "exponential")


def test_rates_of_the_first_steps():
    np.testing.assert_array_equal(scheduled_rates(0.1, 3), [0.1, 0.1, 0.1])
    np.testing.assert_array_equal(
        scheduled_rates(lambda step: step / 2, 3), [0, 0.5, 1]
    )


def test_a_schedule_answers_for_one_step():
    for step in (np.arange(3), [1, 2], math.nan):
        with pytest.raises(ValueError, match="the learning rate of one step, not of"):
            Schedule({0: 0.1, 5: 0.0})(step)
