"""The exact solution of a rank-one head, against 50-digit arithmetic and against scipy."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from attndyn.theory.linear_attention.rank_one import (
    amplitude_from_blow_up,
    blow_up_time,
    rank_one_amplitude,
    rank_one_gap,
    rank_one_time,
)

PAIRS = [(1.0, 1.0), (0.16, 2.6), (0.01, 11.7), (37.0, 0.04)]  # (α, γ)
BELOW = [1e-8, 1e-4, 0.01, 0.3, 0.7, 0.95, 0.999]  # γ^{1/3} v₀
ABOVE = [1.001, 1.3, 2.5, 40.0, 1e4]
NEGATIVE = [-1e-6, -0.02, -0.4, -1.7, -300.0]


def primitive(y, gap):
    """The published implicit solution Φ at γ = 1, from y and 1 − y, in the precision that mpmath is set to."""
    root = mpmath.sqrt(3)
    logarithms = -mpmath.log(abs(gap)) / 3 + mpmath.log(1 + y + y * y) / 6
    return -1 / y + logarithms - mpmath.atan((2 * y + 1) / root) / root


def reference(y0, gap, alpha, gamma):
    """A double t near the time from y₀ to 1 − gap, and the exact (v, 1 − y) at that very t."""
    cube_root, start = mpmath.cbrt(gamma), primitive(y0, 1 - y0)
    t = float((primitive(1 - gap, gap) - start) * cube_root / alpha)
    target = start + mpmath.mpf(t) * alpha / cube_root
    for _ in range(5):  # Newton from 16 right digits, in the gap's logarithm
        y = 1 - gap
        slope = -1 / (y * y * (1 + y + y * y))
        gap = gap * mpmath.exp(-(primitive(y, gap) - target) / slope)
    assert abs(primitive(1 - gap, gap) - target) < mpmath.mpf(10) ** -35 * (
        1 + abs(target)
    )
    return t, (1 - gap) / cube_root, gap


def gaps_after(y0):
    """Values of 1 − y that the solution from y₀ passes, from its start to far beyond."""
    if y0 < 0:
        return [1 - y0 * factor for factor in (0.999999, 0.7, 0.01, 1e-6)]
    to_half = (
        [1 - y0 * (1 + 1e-9), *(1 - y for y in (1e-7, 1e-3, 0.1, 0.4) if y > y0)]
        if y0 < 0.5
        else []
    )
    return to_half + [(1 - y0) * f for f in (0.9999, 0.4, 1e-3, 1e-12, 1e-40, 1e-200)]


def worst_errors(y0, alpha, gamma, amplitude=rank_one_amplitude):
    """Largest relative error of v and of the gap, each in units of max(1e-12, conditioning)."""
    v0 = float(y0 / np.cbrt(gamma))
    worst = np.zeros(2)
    with mpmath.workdps(60):
        exact_gamma, exact_alpha = mpmath.mpf(gamma), mpmath.mpf(alpha)
        start = mpmath.cbrt(exact_gamma) * mpmath.mpf(v0)
        for gap in gaps_after(start):
            t, v, gap = reference(start, gap, exact_alpha, exact_gamma)
            y = 1 - gap
            rate = exact_alpha * v * v * gap * (1 + y + y * y)
            unit_v = max(1e-12, float(abs(rate * t / v)) * 2.0**-50)
            unit_gap = max(
                1e-12, float(abs(mpmath.cbrt(exact_gamma) * rate * t / gap)) * 2.0**-50
            )
            error_v = float(abs(amplitude(t, v0, alpha, gamma) / v - 1))
            error_gap = float(
                abs(mpmath.mpf(float(rank_one_gap(t, v0, alpha, gamma))) / gap - 1)
            )
            worst = np.maximum(worst, [error_v / unit_v, error_gap / unit_gap])
    return worst


@pytest.mark.parametrize(("alpha", "gamma"), PAIRS)
@pytest.mark.parametrize("y0", BELOW + ABOVE + NEGATIVE)
def test_amplitude_and_gap_agree_with_fifty_digits(y0, alpha, gamma):
    assert np.all(worst_errors(y0, alpha, gamma) < 1)


def with_exponent(exponent):
    """Amplitude of dv/dt = α (v² − v^p / v∞^{p−2}), the saturation term having the wrong power."""

    def amplitude(t, v0, alpha, gamma):
        limit = gamma ** (-1 / 3)

        def rate(_, v):
            return alpha * (v**2 - v**exponent / limit ** (exponent - 2))

        return solve_ivp(rate, (0, t), [v0], rtol=1e-10, atol=1e-12).y[0, -1]

    return amplitude


@pytest.mark.parametrize("exponent", [4, 6])
def test_a_wrong_exponent_is_rejected(exponent):
    assert worst_errors(0.3, 0.16, 2.6, with_exponent(exponent))[0] > 1e6


def test_the_right_exponent_agrees_with_scipy():
    assert (
        worst_errors(0.3, 0.16, 2.6, with_exponent(5))[0] < 1e4
    )  # scipy's own error, 1e-8


def test_gamma_needs_its_trace_term():
    lam, trace, length = 0.4, 1.0, 31
    with_trace, without = (1 + (1 + term) / length for term in (trace / lam, 0.0))
    exact = rank_one_amplitude(1e4, 0.01, lam**2, lam * with_trace)
    assert exact == pytest.approx((lam * with_trace) ** (-1 / 3), rel=1e-14)
    assert abs(rank_one_amplitude(1e4, 0.01, lam**2, lam * without) / exact - 1) > 0.01


def test_start_zero_and_fixed_point_are_exact():
    v0 = np.array([-0.3, 0.0, 1e-8, 0.2, 0.5, 3.0])
    assert np.array_equal(rank_one_amplitude(0.0, v0, 0.7, 8.0), v0)
    assert rank_one_amplitude(12.0, 0.0, 0.7, 8.0) == 0
    assert np.array_equal(rank_one_amplitude([1.0, 1e6], 0.5, 0.7, 8.0), [0.5, 0.5])
    assert np.array_equal(rank_one_gap([0.0, 1e6], 0.5, 0.7, 8.0), [0.0, 0.0])
    assert rank_one_gap(0.0, 0.0, 0.7, 8.0) == 1


@settings(max_examples=25, deadline=None)
@given(
    y0=st.sampled_from(BELOW + ABOVE + NEGATIVE),
    fractions=st.tuples(st.floats(0.01, 0.99), st.floats(0.1, 4.0)),
    pair=st.sampled_from(PAIRS),
)
def test_restarting_in_the_middle_changes_nothing(y0, fractions, pair):
    v0 = y0 / np.cbrt(pair[1])
    total = fractions[1] / abs(pair[0] * v0)
    middle = fractions[0] * total
    whole = rank_one_amplitude(total, v0, *pair)
    halves = rank_one_amplitude(
        total - middle, rank_one_amplitude(middle, v0, *pair), *pair
    )
    speed = abs(pair[0] * whole * (1 - pair[1] * whole**3) * total)
    # a rounding error of the middle value grows like v'(end)/v'(middle): in w = 1/v it is a shift of time
    assert halves == pytest.approx(whole, rel=1e-12 + 2.0**-48 * speed)


def test_amplitudes_and_rates_scale_together():
    t, v0 = np.geomspace(1, 1e4, 9), 0.02
    base = rank_one_amplitude(t, v0, 0.3, 1.7)
    assert rank_one_amplitude(t / 8, 8 * v0 / 8, 8 * 0.3, 1.7) == pytest.approx(
        base, rel=1e-11
    )
    assert rank_one_amplitude(2 * t, v0 / 2, 0.3, 8 * 1.7) * 2 == pytest.approx(
        base, rel=1e-11
    )
    assert (
        np.max(np.abs(rank_one_amplitude(2 * t, v0 / 2, 0.3, 4 * 1.7) * 2 / base - 1))
        > 0.1
    )


def test_arrays_broadcast_and_equal_the_loop():
    t, v0, alpha, gamma = (
        np.geomspace(0.1, 1e5, 7)[:, None, None],
        np.array([[-0.1], [0.01], [2.0]]),
        0.3,
        [1.0, 9.0],
    )
    together = rank_one_amplitude(t, v0, alpha, gamma)
    alone = [
        [[rank_one_amplitude(a, b, alpha, c) for c in gamma] for b in v0[:, 0]]
        for a in t[:, 0, 0]
    ]
    assert together.shape == (7, 3, 2)
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("y0", BELOW[1:] + ABOVE[:3] + NEGATIVE[1:4])
def test_amplitude_solves_its_equation(y0):
    alpha, gamma = 0.16, 2.6
    v0 = y0 / np.cbrt(gamma)
    t = np.linspace(0, 1.5 / (alpha * abs(v0)), 40)
    flow = solve_ivp(
        lambda _, v: alpha * v**2 * (1 - gamma * v**3),
        (0, t[-1]),
        [v0],
        "DOP853",
        t,
        rtol=1e-12,
        atol=1e-14,
    )
    speed = np.max(np.abs(alpha * flow.y[0] * (1 - gamma * flow.y[0] ** 3) * t))
    assert rank_one_amplitude(t, v0, alpha, gamma) == pytest.approx(
        flow.y[0], rel=1e-9 * (1 + speed)
    )


@pytest.mark.parametrize("gamma", [0.1, 8.0])
def test_a_head_at_rest_was_always_there(gamma):
    times = np.array([-1e3, 0.0, 1e3])
    assert rank_one_amplitude(times, 0.0, 1.0, gamma).tolist() == [0.0, 0.0, 0.0]
    assert rank_one_gap(times, 0.0, 1.0, gamma).tolist() == [1.0, 1.0, 1.0]


def test_blow_up_form_is_the_solution_that_diverges_like_one_over_the_time_left():
    alpha, gamma, blow_up = 0.16, 2.6, 2000.0
    left = np.array([1e5, 1e7, 1e9])
    error = (
        amplitude_from_blow_up(blow_up - left, blow_up, alpha, gamma) * alpha * left - 1
    )
    assert np.all(np.abs(error) < np.array([1e-8, 1e-13, 1e-13]))
    v0 = amplitude_from_blow_up(0.0, blow_up, alpha, gamma)
    assert blow_up_time(v0, alpha, gamma) == pytest.approx(blow_up, rel=1e-14)
    t = np.linspace(0, 4000, 50)
    assert amplitude_from_blow_up(t, blow_up, alpha, gamma) == pytest.approx(
        rank_one_amplitude(t, v0, alpha, gamma), rel=1e-11
    )


def test_blow_up_form_agrees_with_the_published_reference():
    """Φ(v) + γ^{1/3} π/(6√3) = α (t − T), and Φ's hypergeometric form −₂F₁(−1/3, 1; 2/3; y³)/v."""
    for y in (0.01, 0.3, 0.9):
        time_left = float(-(primitive(y, 1 - y) + np.pi / (6 * np.sqrt(3))))
        assert float(mpmath.hyp2f1(-1 / 3, 1, 2 / 3, y**3)) / y == pytest.approx(
            time_left, rel=1e-12
        )
        assert amplitude_from_blow_up(-time_left, 0.0, 1.0, 1.0) == pytest.approx(
            y, rel=1e-12
        )
        assert abs(amplitude_from_blow_up(-1 / y, 0.0, 1.0, 1.0) / y - 1) > 1e-7


def test_time_undoes_amplitude():
    v0, t = np.array([[0.01], [0.3], [2.0], [-0.4]]), np.geomspace(0.1, 3, 6)
    v = rank_one_amplitude(t, v0, 1.3, 1.1)
    assert rank_one_time(v, v0, 1.3, 1.1) == pytest.approx(
        np.tile(t, (4, 1)), rel=1e-10
    )
    assert rank_one_time(1.0, 0.5, 1.0, 1.0) == np.inf
    assert np.isnan(rank_one_time(1.5, 0.5, 1.0, 1.0))
    assert np.isnan(rank_one_time(-0.5, 0.5, 1.0, 1.0))
    assert rank_one_time(0.5, 0.5, 1.0, 1.0) == 0


def test_negative_times_run_back_as_far_as_the_solution_exists():
    back = rank_one_amplitude(-3.0, 0.4, 1.0, 1.0)
    assert rank_one_amplitude(3.0, back, 1.0, 1.0) == pytest.approx(0.4, rel=1e-13)
    for v0 in (1.5, -0.5):
        with pytest.raises(ValueError, match="came from infinity"):
            rank_one_amplitude(-100.0, v0, 1.0, 1.0)


@pytest.mark.parametrize(
    "arguments", [(1.0, 0.1, 0.0, 1.0), (1.0, 0.1, 1.0, -1.0), (np.inf, 0.1, 1.0, 1.0)]
)
def test_senseless_arguments_are_refused(arguments):
    with pytest.raises(ValueError, match="must be"):
        rank_one_amplitude(*arguments)


def test_only_heads_below_the_fixed_point_blow_up():
    for v0 in (0.0, -0.1, 1.0, 2.0):
        with pytest.raises(ValueError, match="do not blow up"):
            blow_up_time(v0, 1.0, 1.0)


def test_latest_times_are_at_rest():
    assert rank_one_amplitude(1e308, 1e-3, 10.0, 1e-3) == pytest.approx(10, rel=1e-15)
    assert -1e-280 < rank_one_amplitude(1e308, -1e-3, 10.0, 1e-3) <= 0
