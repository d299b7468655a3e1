"""Answers as JSON: seven digits, and null for what is no number."""

import json
import math

import numpy as np

from attndyn.explore.answers import encoded, plain


def test_numbers_keep_seven_digits():
    rng = np.random.default_rng(0)
    values = rng.standard_normal(1000) * 10.0 ** rng.integers(-200, 200, 1000)
    rounded = np.array(plain(values))
    assert np.max(np.abs(rounded / values - 1)) < 5.1e-7
    # Powers of ten are exact up to 10²².
    usual = rounded[(np.abs(values) > 1e-15) & (np.abs(values) < 1e15)]
    assert max(len(repr(value)) for value in usual.tolist()) < 20


def test_small_and_large_numbers_do_not_become_others():
    values = [0.0, 5e-324, 1e-310, 1.7976931348623157e308, -1.0]
    assert np.allclose(plain(np.array(values)), values, rtol=1e-6, atol=1e-290)


def test_infinities_are_null_at_any_depth():
    answer = {
        "a": np.array([[1.0, np.nan]]),
        "b": [math.inf, 2],
        "c": np.float64("nan"),
    }
    assert json.loads(encoded(plain(answer))) == {
        "a": [[1.0, None]],
        "b": [None, 2],
        "c": None,
    }


def test_other_values_stay():
    assert plain({"a": (1, "x", None, True), "b": np.array([1, 2])}) == {
        "a": [1, "x", None, True],
        "b": [1, 2],
    }
