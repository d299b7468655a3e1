"""Refusals of arguments: what passes, what does not, and that each message names what is allowed and given."""

import re
from fractions import Fraction

import numpy as np
import pytest

from attndyn.runtime.checks import (
    check_choice,
    check_shape,
    finite_array,
    nonnegative_number,
    positive_number,
    real_array,
    true_or_false,
    whole_number,
)


@pytest.mark.parametrize(
    ("shape", "written"),
    [
        ((), "()"),
        ((3,), "(T,)"),
        ((3, 5, 2), "(P, N+1, D+1)"),
        ((4, 4), "(D, D)"),
        ((4, 4), "(..., D, D)"),
        ((7, 2, 4, 4), "(..., D, D)"),
        ((2, 5), "(2, D+1)"),
    ],
)
def test_shapes_that_fit(shape, written):
    check_shape(np.zeros(shape), "x", written)


@pytest.mark.parametrize(
    ("shape", "written"),
    [
        ((1,), "()"),
        ((), "(T,)"),
        ((0,), "(T,)"),
        ((3, 1, 2), "(P, N+1, D+1)"),
        ((4, 3), "(D, D)"),
        ((4,), "(..., D, D)"),
        ((3, 5), "(2, D+1)"),
        ((2, 1), "(2, D+1)"),
    ],
)
def test_shapes_that_do_not_fit(shape, written):
    with pytest.raises(ValueError, match="x must"):
        check_shape(np.zeros(shape), "x", written)


def test_a_known_size_is_written_as_a_number():
    check_shape(np.zeros((4, 5)), "x", "(D, D+1)", D=4)
    message = re.escape("x must have shape (4, 5) or (H, 4), not (4, 3)")
    with pytest.raises(ValueError, match=message):
        check_shape(np.zeros((4, 3)), "x", "(D, D+1)", "(H, 4)", D=4)


def test_a_misspelt_shape_is_the_programmers_error():
    with pytest.raises(TypeError, match="no axis"):
        check_shape(np.zeros(3), "x", "(N-1,)")


@pytest.mark.parametrize(
    "value", [1j, "abc", [[1], [1, 2]], None, np.ma.array([1.0], mask=[True])]
)
def test_arrays_of_other_things_are_refused(value):
    with pytest.raises(ValueError, match="x must be"):
        finite_array(value, "x")


def test_arrays_are_copies_in_doubles():
    given = np.ones(2)
    copy = real_array(given, "x")
    copy[0] = 2.0
    assert given[0] == 1.0
    assert finite_array([Fraction(1, 2), 1], "x").tolist() == [0.5, 1.0]


@pytest.mark.parametrize("value", [0, -1.0, np.nan, np.inf, True, "1", None, 10**400])
def test_numbers_that_are_not_positive(value):
    with pytest.raises(ValueError, match="x must be positive and finite, not"):
        positive_number(value, "x")


def test_numbers_come_back_as_doubles():
    assert positive_number(Fraction(1, 4), "x") == 0.25
    assert nonnegative_number(np.float32(0), "x") == 0.0
    assert type(positive_number(np.int64(3), "x")) is float


@pytest.mark.parametrize("value", [0, 2.0, True, "1", None])
def test_numbers_that_are_not_whole(value):
    with pytest.raises(ValueError, match="x must be a whole number of at least 1, not"):
        whole_number(value, "x")


def test_whole_numbers_may_begin_at_another():
    assert whole_number(np.int64(0), "seed", least=0) == 0


def test_truth_values_and_choices():
    assert true_or_false(np.True_, "whiten") is True
    with pytest.raises(ValueError, match="whiten must be True or False, not 1"):
        true_or_false(1, "whiten")
    check_choice("a", "x", ["a", "b"])
    with pytest.raises(ValueError, match=re.escape("one of a, b, not ['a']")):
        check_choice(["a"], "x", ["a", "b"])
