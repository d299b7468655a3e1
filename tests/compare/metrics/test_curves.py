"""Measures of curves against curves whose gaps, crossings, plateaus and orders are known."""

import re

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from attndyn.compare.metrics.curves import (
    crossing_times,
    exit_times,
    l2_gap,
    observed_order,
    plateau_heights,
    resample,
    standard_error_gap,
    sup_gap,
)

quick = settings(max_examples=25, deadline=None)
seeds = st.integers(0, 2**32 - 1)
TIME = np.linspace(0.0, 100.0, 4001)
PLATEAUS = np.array([1.0, 0.6, 0.35, 0.1])
DROPS = np.array([20.0, 50.0, 80.0])


def staircase(time, width=1.0):
    """Loss that leaves PLATEAUS at DROPS through logistic drops, and the slope of it."""
    sigmoid = 1 / (1 + np.exp(-(time[:, None] - DROPS) / width))
    loss = PLATEAUS[0] + sigmoid @ np.diff(PLATEAUS)
    return loss, np.abs((sigmoid * (1 - sigmoid) / width) @ np.diff(PLATEAUS))


# gaps


@quick
@given(seeds, st.integers(2, 30))
def test_gaps_are_distances(seed, count):
    rng = np.random.default_rng(seed)
    time, a, b, c = np.sort(rng.permutation(100)[:count]), *rng.normal(size=(3, count))
    for gap in (sup_gap, lambda x, y: l2_gap(time, x, y)):
        assert gap(a, a) == 0
        assert gap(a, b) == gap(b, a) > 0
        assert gap(a, c) <= gap(a, b) + gap(b, c) + 1e-12
        assert gap(3 * a, 3 * b) == pytest.approx(3 * gap(a, b))
    assert l2_gap(time, a, b) <= sup_gap(a, b) + 1e-12
    assert l2_gap(7 * time + 2, a, b) == pytest.approx(l2_gap(time, a, b))


def test_the_l2_gap_is_a_mean_over_time_and_not_over_points():
    time = np.concatenate([np.linspace(0, 1, 2001)[:-1], np.linspace(1, 10, 21)])
    curve = np.exp(-time)
    exact = np.sqrt((1 - np.exp(-20)) / 2 / 10)
    assert l2_gap(time, curve, np.zeros_like(time)) == pytest.approx(exact, rel=1e-2)
    assert np.sqrt(np.mean(curve**2)) > 2 * exact  # control: the mean over points
    fine = np.linspace(0, 10, 20001)
    assert l2_gap(fine, np.exp(-fine), 0 * fine) == pytest.approx(exact, rel=1e-6)
    assert l2_gap(fine, np.exp(-fine), 0 * fine) != pytest.approx(
        exact * np.sqrt(10), rel=1e-2
    )  # control: no mean


def test_the_sup_gap_sees_one_point():
    curve = np.zeros((50, 3))
    curve[17, 1] = -0.25
    assert sup_gap(curve, np.zeros((50, 3))) == 0.25


# resampling


@quick
@given(seeds, st.integers(2, 20))
@example(seed=573810, count=2)  # a share of (t₁ − t₀)·1/(t₁ − t₀) there is not 1
def test_resampling_is_exact_for_lines_and_at_the_points(seed, count):
    rng = np.random.default_rng(seed)
    time = np.sort(rng.permutation(100)[:count]).astype(float)
    at = np.sort(rng.uniform(time[0], time[-1], 10))
    slope, offset = rng.normal(size=(2, 3))
    np.testing.assert_allclose(
        resample(time, time[:, None] * slope + offset, at),
        at[:, None] * slope + offset,
        atol=1e-11,
    )
    values = rng.normal(size=count)
    np.testing.assert_array_equal(resample(time, values, time), values)
    np.testing.assert_allclose(
        resample(time, values, at), np.interp(at, time, values), atol=1e-12
    )


def test_resampling_converges_at_second_order():
    at = np.linspace(0.3, 5.9, 101)
    counts = np.array([40, 80, 160, 320])
    error = [
        sup_gap(resample(t, np.sin(t), at), np.sin(at))
        for t in (np.linspace(0, 6, n) for n in counts)
    ]
    order = observed_order(counts, error, scale=lambda n: 1 / (n - 1))
    assert order.slope == pytest.approx(2, abs=0.1)
    assert order.slope != pytest.approx(1, abs=0.5)


def test_nothing_is_extrapolated():
    for at in ([-0.1, 1.0], [1.0, 2.1], [[1.0]]):
        with pytest.raises(
            ValueError, match=re.escape("at must be times (K,) between 0 and 2")
        ):
            resample([0, 1, 2], [1, 2, 3], at)


# crossings


def test_crossings_of_a_decay_converge_to_those_of_the_formula():
    levels = np.array([0.8, 0.5, 0.1])
    counts = np.array([50, 100, 200, 400, 800])
    error = []
    for count in counts:
        time = np.linspace(0, 5, count)
        error.append(
            sup_gap(crossing_times(time, np.exp(-time), levels), -np.log(levels))
        )
    assert error[-1] < 1e-5
    assert (
        observed_order(counts, error, scale=lambda n: 1 / n).slope > 1.5
    )  # a grid time alone would give 1


def test_crossings_go_down_and_come_first():
    time, loss = np.arange(7), np.array([0.2, 1.0, 0.4, 0.9, 0.1, 0.5, 0.0])
    assert crossing_times(time, loss, [0.7]) == pytest.approx([1.5])
    assert crossing_times(time, loss, [0.7])[0] not in (
        0.625,
        3.25,
    )  # controls: the rise, and the second descent
    np.testing.assert_array_equal(
        crossing_times(time, loss, [1.0, -0.1]), [np.nan, np.nan]
    )


def test_a_level_that_is_met_is_crossed_when_it_is_reached():
    assert crossing_times([0, 1, 2, 3], [2.0, 1.0, 1.0, 0.0], [1.0]).tolist() == [1.0]


@quick
@given(seeds)
def test_crossings_scale_with_time_and_ignore_a_change_of_unit_of_the_loss(seed):
    rng = np.random.default_rng(seed)
    time, loss = np.cumsum(rng.uniform(0.1, 1, 20)), np.cumsum(-rng.uniform(0.1, 1, 20))
    levels = rng.uniform(loss[-1], loss[0], 3)
    crossings = crossing_times(time, loss, levels)
    np.testing.assert_allclose(np.interp(crossings, time, loss), levels, atol=1e-9)
    np.testing.assert_allclose(
        crossing_times(2 * 0.02 * time, 5 * loss, 5 * levels),
        2 * 0.02 * crossings,
        rtol=1e-9,
    )


# plateaus


def test_exits_of_a_staircase_are_its_drops():
    loss, _ = staircase(TIME)
    exits = exit_times(TIME, loss, PLATEAUS)
    np.testing.assert_allclose(exits, DROPS, atol=1e-3)
    reached = crossing_times(
        TIME, loss, PLATEAUS[1:] + 1e-3
    )  # control: the times of arrival are not exits
    assert np.all(reached - DROPS > 1)
    assert np.isnan(exit_times(TIME[:2000], loss[:2000], PLATEAUS)).tolist() == [
        False,
        True,
        True,
    ]


def test_heights_of_a_staircase_converge_with_the_width_of_its_drops():
    """At the flattest point the tails of the two drops cancel to first order; at the ends is one drop only."""
    time, widths = np.linspace(0, 100, 100_001), np.array([4.0, 3.5, 3.0, 2.5])
    ends, between, middle = [], [], []
    for width in widths:
        loss, slope = staircase(time, width)
        heights, indices = plateau_heights(loss, slope, PLATEAUS)
        assert time[indices][[0, -1]].tolist() == [0, 100]
        gap = np.abs(heights - PLATEAUS)
        ends.append(max(gap[0], gap[-1]))
        between.append(gap[1])
        middle.append(abs(loss[np.argmin(abs(time - 35))] - PLATEAUS[1]))
    half_spacing = {"scale": lambda width: np.exp(-15 / width)}
    assert observed_order(
        widths, ends, scale=lambda width: np.exp(-20 / width)
    ).slope == pytest.approx(1, abs=0.05)
    assert observed_order(widths, between, **half_spacing).slope == pytest.approx(
        2, abs=0.1
    )
    assert observed_order(widths, middle, **half_spacing).slope == pytest.approx(
        1, abs=0.1
    )  # control: half way


def test_heights_come_from_the_flattest_point_and_not_from_the_middle():
    time = np.linspace(0, 30, 301)
    sinking = (
        1 - 0.01 * time - 0.5 / (1 + np.exp(-(time - 20) * 3))
    )  # steep at first: flattest just before the drop
    norm = np.where(time < 15, 1.0, 0.01) + 1.0 * np.exp(-((time - 20) ** 2))
    heights, indices = plateau_heights(sinking, norm, [1.0, 0.4])
    segment = time < time[np.argmax(sinking < 0.7)]
    assert time[indices[0]] >= 15
    assert (
        heights[0]
        == sinking[indices[0]]
        != pytest.approx(np.median(sinking[segment]), abs=1e-3)
    )


def test_plateaus_that_are_not_visited_have_no_height():
    loss, slope = staircase(TIME)
    heights, indices = plateau_heights(loss[:2500], slope[:2500], PLATEAUS)
    assert np.isnan(heights).tolist() == [False, False, False, True]
    assert indices[-1] == -1
    heights, indices = plateau_heights(
        [1.0, 1.0, 0.1, 0.1], [0.1, 0.2, 0.2, 0.1], [1.0, 0.6, 0.1]
    )  # a jump over 0.6
    assert indices.tolist() == [0, -1, 3]
    heights, indices = plateau_heights(
        [0.6, 0.6, 0.1], [0.1, 0.2, 0.0], [1.0, 0.6, 0.1]
    )  # a start below 1.0
    assert indices.tolist() == [-1, 0, 2]
    heights, indices = plateau_heights(
        [1.0, 0.75, 0.5], [0.2, 0.1, 0.3], [1.0, 0.5]
    )  # half way down is down
    assert indices.tolist() == [0, 1]


@quick
@given(seeds)
def test_heights_are_losses_of_the_run_in_order(seed):
    rng = np.random.default_rng(seed)
    loss, norm = np.sort(rng.uniform(size=40))[::-1], rng.uniform(size=40)
    heights, indices = plateau_heights(loss, norm, [0.9, 0.5, 0.2])
    visited = indices >= 0
    np.testing.assert_array_equal(heights[visited], loss[indices[visited]])
    assert np.all(np.diff(indices[visited]) > 0)
    for height, low, high in zip(heights, [0.7, 0.35, -1], [2, 0.7, 0.35], strict=True):
        assert np.isnan(height) or low < height <= high


# orders


@quick
@given(st.floats(0.25, 5), st.floats(1e-3, 1e3), st.integers(3, 8))
def test_the_order_of_a_pure_power_is_found(power, factor, count):
    h = np.geomspace(1, 1e-3, count)
    order = observed_order(h, factor * h**power)
    assert order.slope == pytest.approx(power, abs=1e-9)
    assert order.extrapolated == pytest.approx(power, abs=1e-8)
    assert order.intercept == pytest.approx(np.log(factor), abs=1e-8)
    np.testing.assert_allclose(order.local_slopes, power, atol=1e-8)
    assert (order.used, len(order.local_slopes)) == (count, count - 1)
    assert order.slope != pytest.approx(power + 0.1, abs=0.05)


def test_the_extrapolated_order_is_one_order_better_than_the_last_local_slope():
    largest = np.array([0.1, 0.05, 0.025, 0.0125])
    orders = []
    for h in largest[:, None] / [
        1,
        2,
        5,
    ]:  # not geometric: the logarithmic means matter
        orders.append(observed_order(h, h**2 * np.exp(h) / (1 + h**2)))
    local = observed_order(
        largest, [abs(order.local_slopes[-1] - 2) for order in orders]
    )
    extrapolated = observed_order(
        largest, [abs(order.extrapolated - 2) for order in orders]
    )
    assert local.slope == pytest.approx(1, abs=0.1)
    assert extrapolated.slope == pytest.approx(2, abs=0.1)


def test_order_in_any_order_of_the_parameters():
    h = np.array([0.1, 0.4, 0.2, 0.05])
    order = observed_order(h, h * (1 + h))
    assert (
        order.local_slopes
        == observed_order(np.sort(h), np.sort(h) * (1 + np.sort(h))).local_slopes
    )
    assert order.local_slopes[0] > order.local_slopes[-1] > order.extrapolated > 0.99


def test_a_scale_with_a_logarithm():
    w = np.array([1e-1, 1e-2, 1e-3, 1e-4])
    error = 3 * w**2 * np.log(1 / w)
    assert observed_order(
        w, error, scale=lambda w: w**2 * np.log(1 / w)
    ).slope == pytest.approx(1, abs=1e-12)
    assert (
        abs(observed_order(w, error).slope - 2) > 0.1
    )  # control: the logarithm left out
    assert observed_order(
        [10, 100, 1000], [0.3, 0.03, 0.003], scale=lambda N: 1 / N
    ).slope == pytest.approx(1)


def test_errors_at_the_floor_are_left_out():
    h = 10.0 ** -np.arange(1, 7)
    error = np.maximum(h**2, 1e-9)
    order = observed_order(h, error, floor=1e-9)
    assert (order.used, order.slope) == (4, pytest.approx(2))
    assert observed_order(h, error).slope < 1.9  # control: with the floor in the fit
    assert (
        observed_order(h, np.where(h < 1e-4, 0.0, h)).used == 4
    )  # an exact zero is always left out


def test_the_interval_holds_the_order_as_often_as_it_says():
    rng = np.random.default_rng(0)
    h = np.repeat(np.geomspace(1, 1e-2, 4), 2)
    trials = 2000
    inside = {0.8: 0, 0.95: 0}
    for _ in range(trials):
        error = h**1.5 * np.exp(0.3 * rng.normal(size=h.size))
        for level in inside:
            low, high = observed_order(h, error, level=level).interval
            inside[level] += low <= 1.5 <= high
    for level, count in inside.items():
        spread = np.sqrt(level * (1 - level) / trials)
        assert abs(count / trials - level) < 4 * spread
        assert (
            abs(count / trials - (1 - (1 - level) / 2)) > 4 * spread
        )  # control: the level taken for one side


def test_the_interval_is_students():
    h, error = np.exp([0.0, 1.0, 2.0]), np.exp([0.0, 1.0, 5.0])
    order = observed_order(h, error)
    half = 12.706204736 * np.sqrt(
        1.5 / 1 / 2
    )  # t with one degree of freedom; residuals ½, −1, ½
    assert order.slope == pytest.approx(2.5)
    assert order.interval == pytest.approx((2.5 - half, 2.5 + half), rel=1e-8)


def test_an_order_is_frozen_and_plain():
    order = observed_order([1, 2, 4], [1, 2, 4])
    with pytest.raises(AttributeError):
        order.slope = 3.0
    assert isinstance(hash(order), int)
    assert [
        type(value) for value in (order.slope, *order.interval, *order.local_slopes)
    ] == [float] * 5


# standard errors


def test_gaps_in_standard_errors_have_the_spread_that_they_claim():
    rng = np.random.default_rng(1)
    samples = rng.normal(3.0, 2.0, size=(4000, 100))
    gaps = standard_error_gap(samples.mean(1), 3.0, samples.std(1, ddof=1) / 10)
    assert np.std(gaps) == pytest.approx(1, abs=0.06)
    wrong = standard_error_gap(
        samples.mean(1), 3.0, samples.std(1, ddof=1)
    )  # control: deviations, not errors
    assert np.std(wrong) != pytest.approx(1, abs=0.5)
    assert standard_error_gap(1.0, 3.0, 0.5) == -4.0


# misuse

REFUSED = {
    "two shapes": (
        lambda: sup_gap([1, 2], [1, 2, 3]),
        "must have one shape, not (2,) and (3,): resample",
    ),
    "nan": (lambda: sup_gap([1, np.nan], [1, 2]), "the first curve must be finite"),
    "inf": (lambda: sup_gap([1, 2], [1, np.inf]), "the second curve must be finite"),
    "nothing": (lambda: sup_gap([], []), "none given"),
    "time that stands": (
        lambda: l2_gap([0, 0, 1], [1, 2, 3], [1, 2, 3]),
        "time must be two or more increasing",
    ),
    "time that ends": (
        lambda: l2_gap([0], [1], [1]),
        "time must be two or more increasing",
    ),
    "time too short": (
        lambda: l2_gap([0, 1], [1, 2, 3], [1, 2, 3]),
        "one entry for each of 2 times, not shape (3,)",
    ),
    "loss of two axes": (
        lambda: crossing_times([0, 1], np.ones((2, 2)), [0.5]),
        "not shape (2, 2)",
    ),
    "nan level": (
        lambda: crossing_times([0, 1], [1, 0], [np.nan]),
        "levels must be finite",
    ),
    "rising plateaus": (
        lambda: exit_times([0, 1], [1, 0], [0.5, 1.0]),
        "decreasing losses (K,), not [0.5, 1.0]",
    ),
    "equal plateaus": (
        lambda: exit_times([0, 1], [1, 0], [1.0, 1.0]),
        "decreasing losses (K,), not [1.0, 1.0]",
    ),
    "one plateau": (
        lambda: plateau_heights([1, 0], [1, 0], [1.0]),
        "two or more decreasing losses",
    ),
    "losses of two axes": (
        lambda: plateau_heights(np.eye(2), np.eye(2), [1, 0]),
        "shape (T,), not (2, 2)",
    ),
    "two points": (
        lambda: observed_order([1, 2], [1, 2]),
        "three or more parameters: 2 left",
    ),
    "one parameter": (
        lambda: observed_order([1, 1, 1, 2], [1, 2, 3, 4]),
        "three or more parameters: 2 left",
    ),
    "all at the floor": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], floor=5),
        "above 5 at three or more",
    ),
    "zero parameter": (
        lambda: observed_order([0, 1, 2], [1, 2, 3]),
        "must be positive (K,)",
    ),
    "negative error": (
        lambda: observed_order([1, 2, 3], [-1, 2, 3]),
        "error (K,) zero or more",
    ),
    "scale below zero": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], scale=np.negative),
        "or its scale",
    ),
    "negative floor": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], floor=-1),
        "floor must be zero or more",
    ),
    "level of one": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], level=1.0),
        "level between 0 and 1",
    ),
    "level of zero": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], level=0.0),
        "level between 0 and 1",
    ),
    "two axes": (
        lambda: observed_order(np.ones((3, 2)), np.ones((3, 2))),
        "must be positive (K,)",
    ),
    "scale of one number": (
        lambda: observed_order([1, 2, 3], [1, 2, 3], scale=np.sum),
        "must be positive (K,)",
    ),
    "no spread": (
        lambda: standard_error_gap(1, 2, 0),
        "standard_error must be positive, the smallest is 0: use more",
    ),
}


def test_parameters_that_are_equal_up_to_rounding_are_one():
    order = observed_order([0.3, 0.1 + 0.2, 0.15, 0.075], [9.0, 9.0, 2.25, 0.5625])
    assert order.local_slopes == pytest.approx((2.0, 2.0))
    assert order.extrapolated == pytest.approx(2.0)
    with pytest.raises(ValueError, match="2 left"):
        observed_order([0.3, 0.1 + 0.2, 0.15], [9.0, 9.0, 2.25])


@pytest.mark.parametrize("unit", [1e-300, 1e-200, 1.0, 1e200, 1e307])
def test_the_l2_gap_is_in_the_unit_of_the_curves(unit):
    assert l2_gap([0, 1, 4], [unit, unit, unit], [0.0, 0.0, 0.0]) == pytest.approx(
        unit, rel=1e-14
    )


@pytest.mark.parametrize(
    "value", [np.ma.masked_array([1.0, 9.0], mask=[False, True]), [1 + 1j, 2.0]]
)
def test_masks_and_imaginary_parts_are_not_dropped(value):
    with pytest.raises(ValueError, match=r"mask|real numbers"):
        sup_gap(value, [1.0, 2.0])


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        call()
    assert "\n" not in str(caught.value)
