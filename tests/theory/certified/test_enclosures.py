"""Intervals of exact ends: what they hold, and what they print."""

from fractions import Fraction

import flint
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.certified import Enclosure, NoCertificate

FRACTIONS = st.fractions(-(10**9), 10**9, max_denominator=10**30)
RADII = st.fractions(0, 10**9, max_denominator=10**40)


@settings(max_examples=100, deadline=None)
@given(FRACTIONS, RADII)
def test_the_interval_in_print_holds_the_interval(midpoint, radius):
    enclosure = Enclosure.around(midpoint, radius)
    shown_midpoint, _, shown_radius = str(enclosure).partition(" ± ")
    shown = Enclosure.around(shown_midpoint, shown_radius)
    if radius == 0:
        # Without a width sixty decimals are printed, and the radius says what they leave.
        assert shown.radius <= Fraction(1, 10**59)
    else:
        assert shown.radius <= radius * Fraction(17, 10)
    assert enclosure.is_inside(shown)


@settings(max_examples=100, deadline=None)
@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6), st.integers(10, 200))
def test_a_ball_is_enclosed_exactly(numerator, denominator, bits):
    with flint.ctx.workprec(bits):
        ball = flint.arb(flint.fmpq(numerator, denominator))
        enclosure = Enclosure.of_ball(ball)
    assert enclosure.contains(Fraction(numerator, denominator))
    assert enclosure.width <= 4 * abs(Fraction(numerator, denominator)) / 2**bits


def test_a_ball_that_bounds_nothing_is_refused():
    with pytest.raises(NoCertificate, match="more bits"):
        Enclosure.of_ball(flint.arb(0, float("inf")))
    with pytest.raises(NoCertificate, match="more bits"):
        Enclosure.of_ball(flint.arb("nan"))


def test_ends_count_as_inside_and_as_common_points():
    unit = Enclosure(Fraction(0), Fraction(1))
    assert unit.contains(0)
    assert unit.contains("1")
    assert not unit.contains("1.0000000001")
    assert unit.is_inside(unit)
    assert not unit.is_inside(Enclosure(Fraction(0), Fraction(1, 2)))
    assert not unit.is_disjoint(Enclosure(Fraction(1), Fraction(2)))
    assert unit.is_disjoint(Enclosure(Fraction(11, 10), Fraction(2)))
    assert Enclosure(Fraction(11, 10), Fraction(2)).is_disjoint(unit)


def test_a_float_is_the_decimal_that_it_prints_as():
    assert Enclosure.around(0.1).lower == Fraction(1, 10)


@pytest.mark.parametrize(
    ("midpoint", "radius", "message"),
    [(0, -1, "zero or more"), ("x", 0, "no number"), (float("nan"), 0, "finite")],
)
def test_what_is_no_interval_is_refused(midpoint, radius, message):
    with pytest.raises(ValueError, match=message):
        Enclosure.around(midpoint, radius)
    with pytest.raises(ValueError, match="from lower to upper"):
        Enclosure(Fraction(1), Fraction(0))


def test_plain_values_hold_the_exact_ends():
    plain = Enclosure.around("1/3", "1/7").to_dict()
    assert (plain["lower"], plain["upper"]) == ("4/21", "10/21")


def test_ends_are_the_decimals_that_they_are_written_as():
    interval = Enclosure(0.1, "3/10")
    assert (interval.lower, interval.upper) == (Fraction(1, 10), Fraction(3, 10))
    assert interval.contains(0.1)
    assert interval.contains("0.3")
    for end in (float("nan"), float("inf"), True, "one"):
        with pytest.raises(ValueError, match="number"):
            Enclosure(0, end)


@pytest.mark.parametrize("sign", [1, -1])
def test_numbers_of_any_length_are_printed(sign):
    third = sign * Fraction(1, 3)
    long = Enclosure.around(third, Fraction(1, 10**5000))
    huge = Enclosure.around(third * 10**5000, 1)
    for enclosure in (long, huge):
        midpoint = str(enclosure).partition(" ± ")[0]
        assert len(midpoint) >= 5000
        assert "Enclosure" in repr(enclosure)
        lower, _, _ = enclosure.to_dict()["lower"].partition("/")
        assert len(lower) >= 5000
    whole, _, decimals = str(long).partition(" ± ")[0].lstrip("-").partition(".")
    assert (whole, set(decimals)) == ("0", {"3"})
    with pytest.raises(ValueError, match="from lower to upper"):
        Enclosure(huge.upper, huge.lower)
