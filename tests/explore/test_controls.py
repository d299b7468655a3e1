"""Controls: defaults, bounds, and what a request may not ask for."""

import math
import re

import pytest

from attndyn.explore import Choice, Option, Slider, SliderList
from attndyn.explore.controls import checked_settings

CONTROLS = (
    Choice(
        "model",
        "model",
        (
            Option("separate", "separate"),
            Option("merged", "merged", sets={"rate": 0.1}),
        ),
    ),
    SliderList("eigenvalues", "eigenvalues", "λ", (0.5, 1.0, 8.0), (2.0, 1.0), 1, 3),
    Slider("rate", "learning rate", (0.1, 0.5, 1.0), 0.5),
    Slider("sequences", "sequences", (500, 1000, math.inf), 1000),
)


def test_defaults_are_those_of_the_controls():
    assert checked_settings(CONTROLS, {}) == {
        "model": "separate",
        "eigenvalues": [2.0, 1.0],
        "rate": 0.5,
        "sequences": 1000,
    }


def test_an_option_sets_what_is_not_given():
    assert checked_settings(CONTROLS, {"model": "merged"})["rate"] == 0.1
    given = {"model": "merged", "rate": 0.7}
    assert checked_settings(CONTROLS, given)["rate"] == 0.7


def test_a_value_between_those_of_the_slider_is_allowed():
    assert checked_settings(CONTROLS, {"sequences": 700})["sequences"] == 700
    assert checked_settings(CONTROLS, {"sequences": 700.0})["sequences"] == 700
    assert checked_settings(CONTROLS, {"sequences": "inf"})["sequences"] == math.inf


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"speed": 1}, "there is no setting 'speed': there are model, "),
        ({"model": "other"}, "model must be separate or merged, not 'other'"),
        ({"model": ["merged"]}, "model must be separate or merged, not"),
        ({"rate": 2}, "learning rate must be a number from 0.1 to 1.0, not 2"),
        ({"rate": 0}, "learning rate must be a number from 0.1 to 1.0, not 0"),
        ({"rate": math.nan}, "learning rate must be a number from 0.1 to 1.0, not nan"),
        ({"rate": math.inf}, "learning rate must be a number from 0.1 to 1.0, not inf"),
        ({"rate": True}, "learning rate must be a number from 0.1 to 1.0, not True"),
        ({"rate": "0.5"}, "learning rate must be a number from 0.1 to 1.0, not '0.5'"),
        ({"rate": None}, "learning rate must be a number from 0.1 to 1.0, not None"),
        ({"rate": 10**400}, "learning rate must be a number from 0.1 to 1.0"),
        (
            {"sequences": 700.5},
            "sequences must be a whole number from 500 to 1,000, or inf, not 700.5",
        ),
        ({"sequences": -math.inf}, "sequences must be a whole number from 500"),
        ({"eigenvalues": []}, "eigenvalues must be a list of 1 to 3 numbers, not of 0"),
        ({"eigenvalues": [1] * 4}, "eigenvalues must be a list of 1 to 3 numbers"),
        ({"eigenvalues": 1}, "eigenvalues must be a list of 1 to 3 numbers, not 1"),
        ({"eigenvalues": "1"}, "eigenvalues must be a list of 1 to 3 numbers, not '1'"),
        ({"eigenvalues": [0.1]}, "λ of eigenvalues must be a number from 0.5 to 8.0"),
    ],
)
def test_a_value_out_of_bounds_is_refused_in_a_sentence(given, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}"):
        checked_settings(CONTROLS, given)
