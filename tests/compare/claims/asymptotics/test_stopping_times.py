"""The least error before the end: found, missed where the place is wrong, and undecided where data sets scatter."""

import numpy as np

from attndyn.compare.claims.asymptotics.stopping_times import least_before_the_end

TIMES = np.array([0.5, 1, 2, 4, 8, 1e9])
ERRORS = np.array([1.0, 0.7, 0.5, 0.6, 0.9, 1.2])
JUDGE = least_before_the_end(TIMES)


def samples(scatter, sets=24, shared=0.0):
    """Errors (sets, T), which scatter at every time and by what all times of a data set share."""
    generator = np.random.default_rng(0)
    own = scatter * generator.normal(size=(sets, TIMES.size))
    return ERRORS + own + shared * generator.normal(size=(sets, 1))


def test_the_least_error_is_found_and_other_places_are_not():
    observed = [samples(0.01), samples(0.01)]
    assert JUDGE([2, 2], observed).agrees
    # Times next to the predicted one are not compared: the error is flat there.
    assert JUDGE([2, 3], observed).agrees
    for place in (0, 1, 4, 5):
        evidence = JUDGE([2, place], observed)
        assert not evidence.agrees
        assert not evidence.undecided


def test_errors_that_scatter_together_are_told_apart_by_pairs():
    assert JUDGE([2], [samples(0.01, shared=1.0)]).agrees


def test_what_scatter_might_have_ordered_is_undecided():
    evidence = JUDGE([2], [samples(0.3)])
    assert not evidence.agrees
    assert evidence.undecided


def test_the_evidence_states_what_the_end_costs():
    evidence = JUDGE([2], [samples(1e-6)])
    assert "the end by 58 to 58 % of its error" in evidence.observed
    assert evidence.curves[0].x == (0.5, 1, 2, 4, 8)
