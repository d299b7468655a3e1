"""Drops as instantaneous steps: values by hand, limits, signs, what is refused, and where the indicator speaks."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.compare.claims.linear_attention.separate.exit_time_measurements import (
    exact_source,
    middles,
    observed_passages,
    uneven_start,
)
from attndyn.theory import population
from attndyn.theory.linear_attention.rank_one import rank_one_time
from attndyn.theory.linear_attention.saddle_to_saddle.independent_heads import (
    AlignedHeads,
    GrowthRates,
    first_escape,
    integrated_drop,
    kicked,
    pure_drop,
)
from attndyn.theory.linear_attention.saddle_to_saddle.instantaneous_drops import (
    exits_of_instantaneous_drops,
)

ONE = Task([1.0], context_length=8)
PAIR = Task([2.0, 1.0], context_length=20)
OBLIQUE = Task(
    covariance=[[1.0, 0.4], [0.4, 0.7]],
    teacher_covariance=[[1.2, -0.3], [-0.3, 0.6]],
    noise_variance=0.1,
    context_length=9,
)
HALF_WAY = np.cbrt(1 - np.sqrt(0.5))


def random_weights(model, dimension, scale, seed):
    generator = np.random.default_rng(seed)
    return {
        name: scale * generator.standard_normal(shape)
        for name, shape in model.shapes(dimension).items()
    }


def aligned_weights(model, dimension, amplitudes):
    """Head h on direction h, balanced."""
    weights = {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    for head, amplitude in enumerate(amplitudes):
        weights["value"][head, -1] = amplitude
        weights["key"][head, 0, head] = weights["query"][head, 0, head] = amplitude
    return weights


def drives(task, model):
    moments = population(task, model)
    return GrowthRates(moments.a, moments.b, moments.lam)


def test_one_aligned_head_escapes_at_one_over_its_drive_and_size():
    model = Separate(heads=1)
    drop = exits_of_instantaneous_drops(ONE, model, aligned_weights(model, 1, [1e-4]))
    moments = population(ONE, model)  # b = 1, a = 1 + 2/8, m = 0.8
    assert moments.coefficients[0] == pytest.approx(0.8)
    limit = 0.8 ** (1 / 3)
    exact = rank_one_time(limit * HALF_WAY, 1e-4, 1.0, 1 / 0.8)
    assert drop.exit_times == pytest.approx([float(exact)], rel=1e-9)
    assert (drop.heads, drop.directions, drop.kicks) == ((0,), (1,), False)


def test_heads_on_distinct_directions_do_not_see_each_other():
    model = Separate(heads=2)
    drop = exits_of_instantaneous_drops(
        PAIR, model, aligned_weights(model, 2, [1e-5, 3e-5])
    )
    moments = population(PAIR, model)
    limits = np.cbrt(moments.coefficients)
    alone = rank_one_time(
        limits * HALF_WAY, [1e-5, 3e-5], moments.b, 1 / moments.coefficients
    )
    assert drop.exit_times == pytest.approx(alone, rel=1e-8)


def test_a_stuck_head_is_no_head():
    """v = 0.1 and k = q = 0 for ever: only the indicator, which speaks of sizes, sees it."""
    model, three = Separate(heads=2), Separate(heads=3)
    weights = random_weights(model, 2, 1e-3, 4)
    stuck = {
        name: np.concatenate((value, np.zeros_like(value[:1])))
        for name, value in weights.items()
    }
    stuck["value"][2, -1] = 0.1
    free, same = (
        exits_of_instantaneous_drops(PAIR, *each)
        for each in ((model, weights), (three, stuck))
    )
    assert same.exit_times == pytest.approx(free.exit_times, rel=1e-8)
    assert same.heads == free.heads
    assert np.all(same.indicator > 0.05)


def test_nothing_escapes_from_zero_and_a_head_without_key_and_query():
    model = Separate(heads=2)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(2).items()}
    assert exits_of_instantaneous_drops(PAIR, model, weights).exit_times.size == 0
    weights["value"][0, -1] = 0.3
    assert exits_of_instantaneous_drops(PAIR, model, weights).heads == ()


@pytest.mark.parametrize("kicks", [False, True])
def test_signs_and_the_order_of_heads_do_not_matter(kicks):
    model, weights = Separate(heads=3), random_weights(Separate(heads=3), 2, 1e-3, 3)
    first = exits_of_instantaneous_drops(PAIR, model, weights, kicks=kicks)
    turned = {name: value[::-1].copy() for name, value in weights.items()}
    turned["value"] *= -1
    turned["query"] *= -1  # (v, k, q) → (−v, k, −q) leaves v k qᵀ as it is
    turned["key"][..., 0] *= -1
    turned["query"][..., 0] *= -1  # e_1 → −e_1
    second = exits_of_instantaneous_drops(PAIR, model, turned, kicks=kicks)
    assert second.exit_times == pytest.approx(first.exit_times, rel=1e-9)
    assert second.heads == tuple(2 - head for head in first.heads)
    assert second.indicator == pytest.approx(first.indicator, rel=1e-6)


def test_smaller_weights_wait_in_proportion():
    model = Separate(heads=3)
    scaled = [
        scale
        * exits_of_instantaneous_drops(
            PAIR, model, random_weights(model, 2, scale, 1)
        ).exit_times
        for scale in (1e-6, 1e-9)
    ]
    assert scaled[0] == pytest.approx(scaled[1], rel=1e-5)


def test_a_rotated_task_has_the_same_exits():
    turn = np.array([[0.6, -0.8], [0.8, 0.6]])
    model, weights = Separate(heads=3), random_weights(Separate(heads=3), 2, 1e-3, 5)
    rotated = Task(covariance=turn @ np.diag([2.0, 1.0]) @ turn.T, context_length=20)
    moved = {name: value.copy() for name, value in weights.items()}
    for name in ("key", "query"):
        moved[name][..., :-1] = weights[name][..., :-1] @ turn.T
    for kicks in (False, True):
        plain = exits_of_instantaneous_drops(PAIR, model, weights, kicks=kicks)
        turned = exits_of_instantaneous_drops(rotated, model, moved, kicks=kicks)
        assert turned.exit_times == pytest.approx(plain.exit_times, rel=1e-9)
        assert turned.heads == plain.heads


def test_the_step_keeps_the_integral_of_the_drive():
    """∫ (b − G_dd) dt = b (T − t) over the whole drop of a pure head, and no kick."""
    each = drives(PAIR, Separate(heads=1))
    head = AlignedHeads(
        np.array([1e-3]), np.array([[1e-3, 0.0]]), np.array([[1e-3, 0.0]])
    )
    mover, escaped, time = first_escape(head, each)
    pure = pure_drop(escaped, time, each)
    whole = integrated_drop(head.chosen(mover), pure, each)
    assert whole.step_time == pytest.approx(pure.step_time, rel=1e-9)
    assert whole.exit_time == pytest.approx(pure.exit_time, rel=3e-9)
    assert np.max(np.abs(whole.kick)) == 0
    assert pure.step_time == pytest.approx(
        (1e3 - 1 / each.final_size) / each.b[0], rel=1e-9
    )


def test_a_kick_is_an_impulse_of_the_force():
    generator = np.random.default_rng(2)
    heads = AlignedHeads(
        *(generator.standard_normal(shape) for shape in ((3,), (3, 2), (3, 2)))
    )
    J = 1e-7 * generator.standard_normal((2, 2))
    after = kicked(heads, J)
    for h in range(3):
        v, k, q = heads.chosen(h)
        assert after.v[h] - v == pytest.approx(k @ J @ q, rel=1e-6)
        assert after.k[h] - k == pytest.approx(v * J @ q, rel=1e-6)
        assert after.q[h] - q == pytest.approx(v * J.T @ k, rel=1e-6)


def test_the_kick_of_an_impure_head_is_that_of_its_whole_flow():
    """J by an integration of another kind: of the force along the flow, by the trapezoidal rule."""
    task, model = Task([1.0, 0.7], context_length=10), Separate(heads=1)
    each, moments = drives(task, model), population(task, model)
    head = AlignedHeads(
        np.array([0.05]), np.array([[0.05, 0.02]]), np.array([[0.04, -0.01]])
    )
    mover, escaped, time = first_escape(head, each)
    whole = integrated_drop(head.chosen(mover), pure_drop(escaped, time, each), each)

    def rate(_, x):
        v, k, q = x[0], x[1:3], x[3:]
        G = moments.residual_correlation(v * np.outer(k, q))
        return np.concatenate(([k @ G @ q], v * G @ q, v * G.T @ k))

    times = np.linspace(0, whole.exit_time + 150, 40_001)
    path = solve_ivp(
        rate,
        (0, times[-1]),
        [0.05, 0.05, 0.02, 0.04, -0.01],
        "LSODA",
        times,
        rtol=1e-10,
        atol=1e-13,
    ).y
    maps = np.einsum("t,it,jt->tij", path[0], path[1:3], path[3:])
    J = np.trapezoid(
        moments.residual_correlation(maps) - np.diag(moments.b), times, axis=0
    )
    assert whole.kick[0, 1] == pytest.approx(J[0, 1], rel=1e-4)
    assert whole.kick[1, 0] == pytest.approx(J[1, 0], rel=1e-4)
    assert whole.kick[1, 1] == pytest.approx(J[1, 1], rel=1e-3, abs=1e-5)
    assert whole.step_time == pytest.approx(
        times[-1] + J[0, 0] / moments.b[0], rel=1e-5
    )
    assert abs(whole.kick[0, 1]) > 1e-2
    level = middles(task, model)[0]
    crossing = np.interp(-level, -moments.loss(maps), times)
    assert whole.exit_time == pytest.approx(crossing, rel=1e-5)


def test_kicks_bring_later_exits_closer_and_the_approximation_fails_where_the_indicator_says_so():
    model = Separate(heads=2)
    start = uneven_start(model, 2, 1e-3, 0)
    exact = observed_passages(PAIR, model, start, 1e6).times
    plain, with_kicks = (
        exits_of_instantaneous_drops(PAIR, model, start, kicks=kicks)
        for kicks in (False, True)
    )
    errors = [np.abs(each.exit_times / exact - 1) for each in (plain, with_kicks)]
    assert np.all(errors[1] < [0.2 * errors[0][0], 0.01 * errors[0][1]])
    near = Task([1.0, 0.98, 0.2], context_length=20)
    five = Separate(heads=5)
    wrong = exits_of_instantaneous_drops(
        near, five, weights := random_weights(five, 3, 1e-3, 0)
    )
    right = observed_passages(near, five, weights, 1e6).times
    assert np.max(np.abs(wrong.exit_times / right[: len(wrong.exit_times)] - 1)) > 1e-2
    assert wrong.indicator[-1] > 0.1


def test_a_head_near_a_standstill_or_left_with_little_raises_the_indicator():
    """After the first head has dropped, the second nearly stops: it may turn back, or not."""
    model = Separate(heads=2)
    weights = aligned_weights(model, 2, [1e-3, 0.0])
    weights["value"][1, -1] = 1e-5
    weights["key"][1, 0, 1], weights["query"][1, 0, 1] = 1e-5, -1e-5 * (1 - 1e-3)
    stopping = exits_of_instantaneous_drops(PAIR, model, weights)
    weights["query"][1, 0, 1] = 1e-5
    going = exits_of_instantaneous_drops(PAIR, model, weights)
    assert (
        going.indicator[-1] < 0.01 < 10 * going.indicator[-1] < stopping.indicator[-1]
    )
    weights["key"][1, 0, 0] = weights["query"][1, 0, 0] = 1e-4
    weights["key"][1, 0, 1] = weights["query"][1, 0, 1] = 1e-7
    little = exits_of_instantaneous_drops(PAIR, model, weights)
    assert little.indicator[-1] > 10 * going.indicator[-1]


def test_what_is_not_of_this_kind_is_refused():
    weights = random_weights(Separate(heads=2), 2, 1e-3, 0)
    with pytest.raises(ValueError, match="rank one"):
        exits_of_instantaneous_drops(PAIR, Merged(heads=2), weights)
    with pytest.raises(ValueError, match="rank one"):
        exits_of_instantaneous_drops(PAIR, Separate(heads=2, rank=2), weights)
    with pytest.raises(ValueError, match="softmax"):
        exits_of_instantaneous_drops(PAIR, Separate(heads=2, softmax=True), weights)
    with pytest.raises(ValueError, match="strictly decrease"):
        exits_of_instantaneous_drops(
            Task([1.0, 1.0], context_length=5), Separate(heads=2), weights
        )
    crossed = Task(
        [1.0, 0.3], teacher_covariance=np.diag([1.0, 4.5]), context_length=20
    )
    with pytest.raises(ValueError, match="strictly decrease"):
        exits_of_instantaneous_drops(crossed, Separate(heads=2), weights)
    oblique = Task(
        covariance=[[1.0, 0.4], [0.4, 0.7]],
        teacher_covariance=[[1.2, -0.3], [-0.3, 0.6]],
        context_length=9,
    )
    with pytest.raises(ValueError, match="commute"):
        exits_of_instantaneous_drops(oblique, Separate(heads=2), weights)
    with pytest.raises(
        ValueError, match=r"is not small, as heads end at 0\.\d+ on the first direction"
    ):
        exits_of_instantaneous_drops(
            PAIR, Separate(heads=2), random_weights(Separate(heads=2), 2, 10.0, 0)
        )
    with pytest.raises(ValueError, match="query is missing"):
        exits_of_instantaneous_drops(
            PAIR, Separate(heads=2), {name: weights[name] for name in ("value", "key")}
        )


def test_the_moments_of_the_observed_side_are_those_of_the_theory():
    """Written down twice, from different steps of the derivation."""
    for task in (OBLIQUE, PAIR, ONE):
        model = Separate(heads=1)
        source, moments = exact_source(task, model), population(task, model)
        assert source.c == pytest.approx(moments.c)
        assert source.b == pytest.approx(moments.B.ravel())
        assert np.allclose(source.S, np.kron(moments.A, moments.Lambda), rtol=1e-13)
        losses = moments.greedy_losses
        assert middles(task, model) == pytest.approx((losses[1:] + losses[:-1]) / 2)
