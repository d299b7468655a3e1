"""Fast paths of the theory give what the plain ones do: inversions, crossings, idle phases and diagonal moments."""

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq
from scipy.special import expit

from attndyn import Merged, Separate, Task
from attndyn.theory.level_crossings import first_crossings
from attndyn.theory.linear_attention import rank_one as separate
from attndyn.theory.linear_attention.low_rank import low_rank_amplitudes
from attndyn.theory.linear_attention.merged import aligned_amplitudes, matrix_amplitudes
from attndyn.theory.linear_attention.rank_one import (
    amplitude_from_blow_up,
    rank_one_amplitude,
    rank_one_gap,
)
from attndyn.theory.linear_attention.saddle_to_saddle.escapes import (
    SeparateHeads,
    escape,
    escape_along,
)
from attndyn.theory.linear_attention.saddle_to_saddle.staircases import staircase
from attndyn.theory.linear_attention.time_courses import time_course
from attndyn.theory.moments.population_loss import population
from attndyn.theory.ode import integrate

BRANCHES = {  # values of w = 1/y, dense where the solvers meet, to both ends of each branch
    "_from_below": 1
    + np.concatenate(
        (
            np.geomspace(1e-12, 1e-2, 40),
            np.linspace(0.02, 3, 120),
            np.geomspace(3, 1e8, 60),
        )
    ),
    "_from_above": np.concatenate(
        (
            np.geomspace(1e-8, 0.3, 60),
            np.linspace(0.31, 0.99, 80),
            1 - np.geomspace(1e-12, 1e-2, 40),
        )
    ),
    "_negative": -np.concatenate(
        (
            np.geomspace(1e-8, 0.3, 60),
            np.linspace(0.31, 4, 150),
            np.geomspace(4, 1e8, 60),
        )
    ),
}


def exact_primitive(w, excess):
    """P(w) = ∫₀^w u³/(1−u³) du at the precision of mpmath, from w − 1."""
    root = mpmath.sqrt(3)
    angle = mpmath.atan((2 * w + 1) / root) - mpmath.pi / 6
    return (
        -w - mpmath.log(abs(excess)) / 3 + mpmath.log(1 + w + w * w) / 6 + angle / root
    )


def residuals(branch):
    """Largest relative error of w and of w − 1, in units of max(1e-12, conditioning), by the exact P and P'."""
    w = BRANCHES[branch]
    with mpmath.workdps(60):
        targets = np.array(
            [float(exact_primitive(mpmath.mpf(x), mpmath.mpf(x) - 1)) for x in w]
        )
        worst = np.zeros(2)
        for target, x, excess in zip(
            targets, *getattr(separate, branch)(targets), strict=True
        ):
            exact = 1 + mpmath.mpf(excess) if abs(excess) < 0.5 else mpmath.mpf(x)
            error = (
                (exact_primitive(exact, exact - 1) - mpmath.mpf(target))
                * (1 - exact**3)
                / exact**3
            )
            step = abs(
                mpmath.mpf(target) * 2**-52 * (1 - exact**3) / exact**3
            )  # one rounding of the target
            errors = [
                (error + x - exact) / exact,
                (error + excess - (exact - 1)) / (exact - 1),
            ]
            floors = [
                max(1e-12, float(4 * step / abs(size))) for size in (exact, exact - 1)
            ]
            worst = np.maximum(
                worst, [float(abs(e)) / f for e, f in zip(errors, floors, strict=True)]
            )
    return worst


@pytest.mark.parametrize("branch", BRANCHES)
def test_three_steps_invert_the_implicit_solution_everywhere(branch, monkeypatch):
    assert np.all(residuals(branch) < 1)
    monkeypatch.setattr(separate, "_STEPS", 1)  # control: one step is not enough
    assert np.max(residuals(branch)) > 10


def test_fixed_point_is_approached_to_the_last_gap():
    """ln(1 − y) falls by 3 α γ^{-1/3} t exactly once it is small: down to 1e-300, where y itself is 1."""
    gaps = rank_one_gap([2e3, 4e3, 2.3e4], 0.5, 0.01, 1.0)
    assert np.diff(np.log(gaps)) == pytest.approx([-60, -570], rel=1e-12)
    assert gaps[2] > 0
    assert rank_one_amplitude(2.3e4, 0.5, 0.01, 1.0) == 1


def test_a_million_in_blocks_equal_each_alone():
    """More numbers than a block, of every branch, in any order."""
    rng = np.random.default_rng(0)
    v0, t = rng.choice([-0.3, 0.01, 0.4, 3.0], 40_000), rng.uniform(0, 300, 40_000)
    assert len(v0) > 4 * separate._BLOCK
    together = rank_one_amplitude(t, v0, 0.3, 1.7)
    some = rng.integers(0, len(t), 200)
    assert np.array_equal(
        together[some], [rank_one_amplitude(t[i], v0[i], 0.3, 1.7) for i in some]
    )
    onsets = amplitude_from_blow_up(t, 150.0, 0.3, 1.7)
    assert np.array_equal(
        onsets[some], [amplitude_from_blow_up(t[i], 150.0, 0.3, 1.7) for i in some]
    )


def stairs(t, times, widths):
    return np.sum(expit((times - np.asarray(t)[:, None]) / widths), axis=-1)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.floats(5.0, 1e4), min_size=1, max_size=6, unique=True),
    st.floats(0.01, 1.0),
)
def test_levels_are_crossed_where_brentq_says(times, width):
    """Steps of a staircase joined by flat plateaus, on which a secant goes nowhere."""
    times = np.sort(times)
    levels = np.arange(len(times)) + 0.5

    def value(t):
        return stairs(t, times, width)

    crossings = first_crossings(value, levels, 2e4)
    expected = [
        brentq(lambda t, level=level: value([t])[0] - level, 0, 2e4, xtol=1e-12)
        for level in levels
    ]
    assert crossings == pytest.approx(expected, rel=1e-9)


def test_crossings_are_exact_where_the_inverse_is_known():
    levels = np.array([0.9, 0.5, 1e-3, 1.0, 2.0])
    times = first_crossings(lambda t: np.exp(-t), levels, 50.0)
    assert times[:3] == pytest.approx(-np.log(levels[:3]), rel=1e-14)
    assert np.array_equal(times[3:], [0, 0])
    secant = 50.0 * (1 - levels[:3]) / (1 - np.exp(-50.0))  # control: one secant
    assert np.min(np.abs(secant / times[:3] - 1)) > 1


def test_a_diagonal_force_is_the_general_one_in_its_basis():
    rng = np.random.default_rng(0)
    heads = SeparateHeads(
        *(0.01 * rng.standard_normal(shape) for shape in ((4,), (4, 2, 3), (4, 2, 3)))
    )
    gains = np.array([0.5, 0.3, 0.1])
    along, general = escape_along(heads, gains, 0.5), escape(heads, np.diag(gains), 0.5)
    assert along.head == general.head
    assert along.blow_up_time == pytest.approx(general.blow_up_time, rel=1e-12)
    for part, other in zip(along.heads, general.heads, strict=True):
        assert part == pytest.approx(other, rel=1e-9, abs=1e-12)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    turned = SeparateHeads(heads.v, heads.k @ left.T, heads.q @ right.T)
    rotated = escape(turned, left @ np.diag(gains) @ right.T, 0.5)
    assert rotated.blow_up_time == pytest.approx(along.blow_up_time, rel=1e-10)
    assert rotated.heads.maps() == pytest.approx(
        left @ along.heads.maps() @ right.T, rel=1e-7, abs=1e-10
    )
    wrong = escape(
        turned, right @ np.diag(gains) @ left.T, 0.5
    )  # control: sides exchanged
    assert abs(wrong.blow_up_time / along.blow_up_time - 1) > 1e-3


def rotated_task(dimension, seed=0):
    """The task of `flat_task` in another basis, where nothing is diagonal."""
    basis = np.linalg.qr(
        np.random.default_rng(seed).standard_normal((dimension, dimension))
    )[0]
    spectrum = np.arange(dimension, 0.0, -1)
    return Task(covariance=basis * spectrum @ basis.T, trace=1.0, context_length=31)


def test_diagonal_moments_are_those_of_every_basis():
    model = Separate(heads=3)
    flat = population(
        Task(eigenvalues=np.arange(6, 0.0, -1), trace=1.0, context_length=31), model
    )
    turned = population(rotated_task(6), model)
    for name in ("gains", "coefficients", "a", "b", "lam", "minimum_loss"):
        assert getattr(flat, name) == pytest.approx(getattr(turned, name), rel=1e-11), (
            name
        )
    back = turned.directions.T @ turned.B @ turned.directions
    np.testing.assert_allclose(back, flat.B, atol=1e-14)
    assert np.max(np.abs(flat.B - turned.B)) > 1e-3  # control: the basis does matter


@pytest.mark.parametrize(
    "task", [Task(eigenvalues=[4, 3, 1], context_length=9), rotated_task(3)]
)
def test_loss_on_directions_is_the_loss_of_the_map(task):
    moments = population(task, Separate(heads=1))
    x = np.random.default_rng(1).standard_normal((5, 3))
    basis = moments.directions
    maps = (basis * x[:, None, :]) @ basis.T
    assert moments.aligned_loss(x) == pytest.approx(moments.loss(maps), rel=1e-12)
    assert (
        np.max(np.abs(moments.aligned_loss(x[:, ::-1]) - moments.loss(maps))) > 1e-2
    )  # control: another order


def test_a_thousand_directions_drop_by_decreasing_eigenvalue():
    """Aligned heads at D = 1000: every direction is learned at its own onset, and the loss is additive."""
    task, model = (
        Task(eigenvalues=np.arange(1000, 0.0, -1), trace=1.0, context_length=31),
        Separate(heads=1000),
    )
    moments = population(task, model)
    start = 1e-2
    times = np.linspace(0, 1.5 / (moments.b[400] * start), 40)
    curve = time_course(task, model, times, start)
    assert np.all(np.diff(curve.loss) <= 0)
    assert np.all(
        np.diff(curve.amplitudes / np.cbrt(moments.coefficients), axis=1) <= 1e-12
    )
    excess = np.sum(
        moments.a * moments.lam * (curve.coefficients - moments.coefficients) ** 2,
        axis=1,
    )
    assert curve.loss == pytest.approx(moments.minimum_loss + excess, rel=1e-12)
    for d in (0, 399, 999):
        alone = rank_one_amplitude(
            times, start, moments.b[d], 1 / moments.coefficients[d]
        )
        assert np.array_equal(curve.amplitudes[:, d], alone)
        neighbour = rank_one_amplitude(
            times, start, moments.b[d - 1], 1 / moments.coefficients[d - 1]
        )
        assert (
            np.max(np.abs(neighbour / alone - 1)) > 1e-8
        )  # control: another direction


def test_exit_times_lie_midway_between_plateaus():
    task, model = (
        Task(eigenvalues=np.arange(12, 0.0, -1), trace=1.0, context_length=31),
        Separate(heads=14),
    )
    rng = np.random.default_rng(0)
    weights = {
        name: 1e-3 * rng.standard_normal(shape)
        for name, shape in model.shapes(12).items()
    }
    steps = staircase(task, model, weights)
    middles = (steps.plateaus[1:] + steps.plateaus[:-1]) / 2
    assert len(steps.exit_times) == 12
    assert steps.loss(steps.exit_times) == pytest.approx(middles, rel=1e-9)
    assert (
        np.max(np.abs(steps.loss(steps.exit_times * 1.01) - middles)) > 1e-3
    )  # control: a percent late
    assert steps.coefficients(steps.exit_times).shape == (12, 12)


WIDE = Task(
    eigenvalues=np.arange(32, 0.0, -1), trace=1.0, context_length=31
)  # rates from 1 to 30000
LONG = np.array([1e3, 1e5, 1e7])


def at_rest(coefficients, conserved):
    """s > 0 with s u_d = m_d and s² − |u|² as at the start."""
    return np.sqrt(
        (conserved + np.sqrt(conserved**2 + 4 * np.sum(coefficients**2))) / 2
    )


@pytest.mark.parametrize("s0", [1e-3, 0.4, -0.1])
def test_shared_flow_of_wide_spectra_is_exact_at_both_ends(s0):
    """Slow directions go on for 10⁴ times as long as fast ones: an explicit method would take 10⁶ evaluations."""
    moments = population(WIDE, Merged(heads=2))
    u0 = (
        0.01
        * moments.b
        / np.linalg.norm(moments.b)
        * np.sign(np.arange(32) - 1.5)
        * np.sign(s0)
    )
    s, u = aligned_amplitudes(moments, np.append(0.0, LONG), s0, u0)
    assert (s[0], *u[0]) == (s0, *u0)
    assert s**2 - np.sum(u**2, axis=1) == pytest.approx(
        np.full(4, s0**2 - u0 @ u0), abs=1e-12
    )
    rest = at_rest(moments.coefficients, s0**2 - u0 @ u0)
    assert abs(s[-1]) == pytest.approx(rest, rel=1e-12)
    assert s[-1] * u[-1] == pytest.approx(moments.coefficients, rel=1e-11)
    assert abs(s[-1]) != pytest.approx(
        at_rest(moments.coefficients, 0.1), rel=1e-6
    )  # control: another constant
    assert s[1] * u[1, -1] != pytest.approx(
        moments.coefficients[-1], rel=0.5
    )  # control: 10³ is not the end


def test_stiff_equations_take_few_evaluations():
    calls = []

    def rate(x):
        calls.append(None)
        return np.array([1.0, 1e5]) * (1 - x)

    slow, fast = integrate(
        rate,
        np.array([0.5, 0.5]),
        np.array([1.0, 20.0]),
        lambda x: -np.diag([1.0, 1e5]),
    ).T
    assert slow == pytest.approx(1 - 0.5 * np.exp([-1.0, -20.0]), rel=1e-11)
    assert fast == pytest.approx([1, 1], rel=1e-11)
    assert len(calls) < 3000  # an explicit method of any order needs 10⁵ and more
    calls.clear()
    integrate(rate, np.array([0.5, 0.5]), np.array([1.0]))
    assert len(calls) > 3000  # control: without the Jacobian


@pytest.mark.parametrize("power", [1, 2])
def test_times_of_one_integration_may_repeat_and_come_in_any_order(power):
    task = Task(eigenvalues=[3, 2, 1], context_length=9)
    moments, times = population(task, Merged(heads=1)), np.array([3.0, 0.0, 7.0, 3.0])
    if power == 1:
        first, rest = matrix_amplitudes(moments, times, 0.1, 0.1 * np.eye(3))
    else:
        first, rest = low_rank_amplitudes(
            times, 0.3, [0.2, 0.1, 0.3], moments.b, moments.a * moments.lam
        )
    assert first[0] == first[3]
    assert np.array_equal(rest[0], rest[3])
    assert first[1] == (0.1 if power == 1 else 0.3)
    assert first[2] > first[0] > first[1]


def test_heads_of_high_rank_come_to_rest_at_every_direction():
    moments = population(WIDE, Separate(heads=1, rank=32))
    start = np.full(32, 0.05)
    v, κ = low_rank_amplitudes(LONG, 0.2, start, moments.b, moments.a * moments.lam)
    conserved = 0.04 - start @ start
    assert v[-1] * κ[-1] ** 2 == pytest.approx(moments.coefficients, rel=1e-10)
    assert v**2 - np.sum(κ**2, axis=1) == pytest.approx(
        np.full(3, conserved), abs=1e-12
    )
    assert v[-1] ** 3 - v[-1] * conserved == pytest.approx(
        np.sum(moments.coefficients), rel=1e-11
    )
    assert v[0] ** 3 - v[0] * conserved != pytest.approx(
        np.sum(moments.coefficients), rel=1e-3
    )  # control: too early
