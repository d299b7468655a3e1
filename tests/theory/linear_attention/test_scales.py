"""Initial weights and tasks of extreme size: right to the last digits that mean something, or refused."""

import mpmath
import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import flow, initial_weights
from attndyn.theory import feature_moments, fixed_points, population, time_course
from attndyn.theory.linear_attention import (
    drop_time,
    half_loss_time,
    rank_one_amplitude,
    unstable_mode_amplitude,
)
from attndyn.theory.linear_attention.low_rank import low_rank_amplitudes
from attndyn.theory.linear_attention.merged import matrix_amplitudes
from attndyn.theory.linear_attention.rank_one import (
    blow_up_time,
    rank_one_gap,
    rank_one_time,
)
from attndyn.theory.two_layer import two_layer_amplitudes

SMALL = [1e-5, 1e-40, 1e-59, 1e-61, 1e-100, 1e-154, 1e-160, 1e-200, 1e-300]
TASK = Task([2, 1], context_length=9)
OBLIQUE = Task(
    covariance=[[2, 0.5], [0.5, 1]],
    teacher_covariance=[[1, 0], [0, 3]],
    context_length=9,
)


@pytest.mark.parametrize("w0", SMALL)
def test_two_layer_amplitudes_are_those_of_many_digits(w0):
    α, κ = 2.0, 1.25
    times = np.array([0.0, 1.0, np.log(1 / w0) / α, np.log(1 / w0) / α + 3.0])
    with mpmath.workdps(400):
        grown = [mpmath.exp(2 * α * mpmath.mpf(t)) for t in times]
        exact = [
            float(mpmath.sqrt(α * g / (κ * (g - 1) + α / mpmath.mpf(w0) ** 2)))
            for g in grown
        ]
    s, u = two_layer_amplitudes(times, w0, w0, α, κ)
    np.testing.assert_allclose(s, exact, rtol=3e-12)  # the conditioning of e^{αt}
    np.testing.assert_allclose(u, exact, rtol=3e-12)


@pytest.mark.parametrize("w0", SMALL)
def test_unbalanced_two_layer_amplitudes_keep_their_difference_of_squares(w0):
    s, u = two_layer_amplitudes([0.0, 0.5], 3 * w0, -w0, 2.0, 1.25)
    np.testing.assert_allclose([s[0], u[0]], [3 * w0, -w0], rtol=1e-12)
    plus, minus = (
        2 * w0 * np.exp(1.0),
        4 * w0 * np.exp(-1.0),
    )  # nothing saturates: s ± u grow and decay
    if w0 < 1e-8:
        np.testing.assert_allclose(
            [s[1], u[1]], [(plus + minus) / 2, (plus - minus) / 2], rtol=1e-12
        )


@pytest.mark.parametrize("task", [TASK, OBLIQUE], ids=["aligned", "oblique"])
def test_a_smaller_growing_mode_is_the_same_later(task):
    moments = population(task, Merged(2))
    unit, rate = moments.B / np.linalg.norm(moments.B), np.linalg.norm(moments.B)
    after = np.array([0.5, 1.0, 3.0]) + np.log(1e40) / rate
    s, U = matrix_amplitudes(moments, after, 1e-40, 1e-40 * unit)
    halved, dropped = half_loss_time(moments, 1e-40), drop_time(moments, 1e-40)
    for w0 in SMALL[3:]:
        later = after + (np.log(1e-40) - np.log(w0)) / rate
        times = np.concatenate([[0.0], later])
        s_later, U_later = matrix_amplitudes(moments, times, w0, w0 * unit)
        np.testing.assert_allclose(s_later[1:], s, rtol=1e-10)
        np.testing.assert_allclose(U_later[1:], U, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(s_later[0], w0, rtol=1e-12)
        np.testing.assert_allclose(U_later[0], w0 * unit, rtol=1e-12)
        gap = half_loss_time(moments, w0) - halved
        assert gap == pytest.approx(drop_time(moments, w0) - dropped, rel=1e-9)


@pytest.mark.parametrize("scale", [1e-100, 1e-160, 1e-300])
def test_the_course_from_small_weights_is_that_of_the_gradient_flow(scale):
    model = Merged(1)
    start = initial_weights(model, TASK, [scale, scale / 2], scheme="aligned")
    assert start["value"][0, -1] == pytest.approx(scale * np.sqrt(1.25), rel=1e-14)
    times = [
        0.0,
        1.0,
        -np.log(scale) / np.hypot(4, 1),
        -np.log(scale) / np.hypot(4, 1) + 1.0,
    ]
    run = flow(model, population_statistics(TASK, model), start, times)
    curve = time_course(TASK, model, times, (start["value"][0, -1], [scale, scale / 2]))
    np.testing.assert_allclose(curve.loss, run.loss, rtol=1e-8)
    assert 0.3 < run.loss[2] / run.loss[0] < 0.6  # on the way down


def test_the_growing_mode_of_small_weights_is_not_lost():
    moments = population(TASK, Merged(2))
    weights = initial_weights(Merged(2), TASK, 1.0, scheme="restricted")
    one = unstable_mode_amplitude(moments, weights)
    for scale in (1e-160, 1e-200, 1e-300):
        small = {name: scale * value for name, value in weights.items()}
        assert unstable_mode_amplitude(moments, small) == pytest.approx(
            scale * one, rel=1e-13
        )


@pytest.mark.parametrize("v0", [1e-5, 1e-100, 1e-154, 1e-160, 1e-200, 1e-300])
@pytest.mark.parametrize("sign", [1, -1])
def test_small_rank_one_heads_follow_their_exact_solution(v0, sign):
    α, γ = 0.16, 2.6
    times = np.array([0.0, 1.0, 3.0]) / v0
    exact = (
        sign * v0 / (1 - sign * α * np.array([0.0, 1.0, 3.0]))
    )  # γ v³ is below rounding
    np.testing.assert_allclose(
        rank_one_amplitude(times, sign * v0, α, γ), exact, rtol=1e-12
    )
    assert rank_one_gap(times, sign * v0, α, γ)[0] == pytest.approx(1.0, abs=2e-5)
    if sign > 0:
        assert blow_up_time(v0, α, γ) == pytest.approx(
            1 / (α * v0), rel=2e-5 if v0 == 1e-5 else 1e-12
        )
        assert rank_one_time(0.5, v0, α, γ) == pytest.approx(
            1 / (α * v0), rel=2e-5 if v0 == 1e-5 else 1e-12
        )


@pytest.mark.parametrize("size", [1e-20, 1e-60, 1e-99])
def test_small_low_rank_heads_scale(size):
    times, kappa, b, limit = (
        np.array([0.0, 0.3, 0.7]),
        np.array([1.0, 0.5]),
        [0.5, 0.3],
        [0.6, 0.5],
    )
    v, κ = low_rank_amplitudes(times / size, size, size * kappa, b, limit)
    v_one, κ_one = low_rank_amplitudes(times / 1e-15, 1e-15, 1e-15 * kappa, b, limit)
    np.testing.assert_allclose(v / size, v_one / 1e-15, rtol=1e-10)
    np.testing.assert_allclose(κ / size, κ_one / 1e-15, rtol=1e-10)


def test_large_heads_fall_without_a_rise():
    for curve in (
        time_course(TASK, Merged(2), np.linspace(0, 20, 50), 1e2),
        time_course(TASK, Separate(2), np.linspace(0, 20, 50), 1e6),
        time_course(TASK, Separate(1, rank=2), np.linspace(0, 20, 50), 1e2),
    ):
        assert np.all(np.diff(curve.loss) <= 1e-9 * curve.loss[:-1])


TINY = Task([2e-120, 1e-120], context_length=3)
MOMENTS = population(TASK, Merged(2))
REFUSED = {
    "merged, large": (lambda: time_course(TASK, Merged(2), [1.0], 1e6), "too large"),
    "merged, huge": (
        lambda: time_course(TASK, Merged(2), [1.0], 1e150),
        "at most 1e[+]45",
    ),
    "white, huge": (
        lambda: two_layer_amplitudes([1.0], 1e150, 1e150, 1.0, 1.0),
        "too large",
    ),
    "white, unbalanced": (
        lambda: two_layer_amplitudes([1.0], 1e5, 2e5, 1.0, 1.0),
        "too far from balanced",
    ),
    "separate, huge": (
        lambda: rank_one_amplitude([1.0], 1e80, 1.0, 1.0),
        "within 1e[+]75 times the fixed point",
    ),
    "separate, a course": (
        lambda: time_course(TASK, Separate(2), [1.0], 1e50),
        "at most 1e[+]45",
    ),
    "separate, an inverse that is no number": (
        lambda: blow_up_time(5e-324, 1.0, 1.0),
        "or be 0",
    ),
    "low rank, large": (
        lambda: time_course(TASK, Separate(1, rank=2), [1.0], 1e5),
        "amplitudes must be 0 or lie",
    ),
    "low rank, small": (
        lambda: time_course(TASK, Separate(1, rank=2), [1.0], 1e-160),
        "amplitudes must be 0 or lie",
    ),
    "drop time": (lambda: drop_time(MOMENTS, 1e5), "w0 must be small"),
    "half loss time": (lambda: half_loss_time(MOMENTS, 1e2), "w0 must be small"),
    "small inputs": (
        lambda: population(Task([1e-160], context_length=3), Merged(1)),
        "underflow",
    ),
    "small inputs, merged": (
        lambda: time_course(TINY, Merged(2), [1.0], 1.0),
        "a λ of this task underflows|positive",
    ),
    "small inputs, rank 2": (
        lambda: time_course(TINY, Separate(1, rank=2), [1.0], 1.0),
        "curvature must be",
    ),
    "large inputs": (
        lambda: population(Task([1e150], context_length=3), Merged(1)),
        "overflow",
    ),
    "features, small": (
        lambda: feature_moments(Task([1e-150], context_length=3), Merged(1)),
        "vanish as numbers",
    ),
    "features, large": (
        lambda: feature_moments(Task([1e150], context_length=3), Merged(1)),
        "overflow",
    ),
}


@pytest.mark.parametrize(("attempt", "message"), REFUSED.values(), ids=REFUSED)
def test_what_leaves_the_range_of_numbers_is_refused(attempt, message):
    with pytest.raises(ValueError, match=message):
        attempt()


@pytest.mark.parametrize("scale", [1e-60, 1e-30, 1e30, 1e60])
@pytest.mark.parametrize(
    "model", [Merged(2), Separate(2), Separate(1, rank=2)], ids=str
)
def test_everything_scales_with_the_inputs(scale, model):
    """x → √λ x: losses grow as λ, M falls as 1/λ, flow time as λ⁻² and, for rank one, as λ^{1/3} besides."""
    one, other = (
        Task([1, 0.5], context_length=9),
        Task([scale, scale / 2], context_length=9),
    )
    for here, there in zip(
        fixed_points(one, model), fixed_points(other, model), strict=True
    ):
        assert there.loss / scale == pytest.approx(here.loss, rel=1e-13)
        assert (there.subset, there.hessian_index, there.kind) == (
            here.subset,
            here.hessian_index,
            here.kind,
        )
        np.testing.assert_allclose(there.M * scale, here.M, rtol=1e-13)
    power = 1 / 3 if isinstance(model, Separate) else 1 / 2
    pace = scale**-2 * (scale ** (1 / 3) if isinstance(model, Separate) else 1.0)
    times = np.array([0.0, 1.0, 5.0, 20.0])
    here, there = (
        time_course(one, model, times, 0.1),
        time_course(other, model, pace * times, 0.1 / scale**power),
    )
    np.testing.assert_allclose(there.loss / scale, here.loss, rtol=1e-10)
    full = [feature_moments(task, model).minimum_loss for task in (one, other)]
    assert full[1] / scale == pytest.approx(full[0], rel=1e-12)


def test_a_flow_from_huge_weights_is_refused():
    model = Merged(1)
    source = population_statistics(TASK, model)
    for scale, error, message in (
        (1e5, ArithmeticError, "weights fell from"),
        (1e150, ValueError, "no finite number at the start"),
    ):
        start = initial_weights(model, TASK, scale, scheme="aligned")
        with pytest.raises(error, match=message):
            flow(model, source, start, [0.0, 5.0])
    start = initial_weights(model, TASK, 10.0, scheme="aligned")
    assert flow(model, source, start, [0.0, 5.0]).loss[1] < 3  # control
