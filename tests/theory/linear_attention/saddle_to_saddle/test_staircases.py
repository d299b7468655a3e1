"""The idle phase and the staircase, against the flow of all weights as the initial scale shrinks."""

import json

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.optimize import brentq

from attndyn import Merged, Separate, Task
from attndyn.models.effective_map import effective_map
from attndyn.simulate import restricted
from attndyn.theory.linear_attention.saddle_to_saddle.escapes import (
    SeparateHeads,
    escape,
    separate_block,
)
from attndyn.theory.linear_attention.saddle_to_saddle.staircases import (
    Staircase,
    staircase,
)
from attndyn.theory.linear_attention.time_courses import time_course
from attndyn.theory.moments.population_loss import population

TASK = Task(eigenvalues=[4, 3, 2], trace=1.0, context_length=31)
PAIR = Task(eigenvalues=[2, 1], context_length=20)
UNALIGNED = Task(
    covariance=[[1.0, 0.4], [0.4, 0.7]],
    teacher_covariance=[[1.2, -0.3], [-0.3, 0.6]],
    noise_variance=0.1,
    context_length=12,
)
# B = diag(1, 0.405) and gains (0.997, 1.346): the larger drive has the smaller gain
CROSSED = Task(
    eigenvalues=[0.86029854, 0.26441659],
    teacher_covariance=np.diag([1.35114398, 5.79265463]),
    context_length=20,
)


def random_weights(model, dimension, scale, seed):
    generator = np.random.default_rng(seed)
    return {
        name: scale * generator.standard_normal(shape)
        for name, shape in model.shapes(dimension).items()
    }


def packed(heads):
    return np.concatenate([part.ravel() for part in heads])


def velocity(heads, force):
    """dv = Σ kᵀGq, dk = v G q, dq = v Gᵀ k for each head."""
    v, k, q = heads
    speed = v[:, None, None]
    return np.concatenate(
        (
            np.einsum("hri,ij,hrj->h", k, force, q),
            *(x.ravel() for x in (speed * (q @ force.T), speed * (k @ force))),
        )
    )


def heads_of(x, shape):
    k, q = x[shape[0] :].reshape(2, *shape)
    return SeparateHeads(x[: shape[0]], k, q)


def full_loss(moments, heads, last):
    """Loss as a function of flow time, from the flow of every weight on the restricted block."""
    shape = heads.k.shape

    def total(x):
        return np.einsum("h,hri,hrj->ij", *heads_of(x, shape))

    def rate(_, x):
        return velocity(heads_of(x, shape), moments.residual_correlation(total(x)))

    flow = solve_ivp(
        rate,
        (0, last),
        packed(heads),
        "DOP853",
        rtol=1e-10,
        atol=1e-13,
        dense_output=True,
    ).sol
    return lambda t: float(moments.loss(total(flow(t))))


def simulated_exits(moments, weights, model, levels, last):
    """When the full flow passes the middle between plateaus."""
    loss = full_loss(moments, separate_block(weights, model, moments.dimension), last)
    middles = (levels[:-1] + levels[1:]) / 2
    return np.array([brentq(lambda t, m=m: loss(t) - m, 0, last) for m in middles])


def exit_errors(task, model, seed, scales):
    """Relative error of each exit time, (scales, exits), and the staircase at the smallest scale."""
    errors = []
    for scale in scales:
        weights = random_weights(model, task.dimension, scale, seed)
        steps = staircase(task, model, weights)
        last = steps.drop_times[-1] * 1.05 + 60
        exact = simulated_exits(steps.moments, weights, model, steps.plateaus, last)
        errors.append(steps.drop_times / exact - 1)
    return np.abs(errors), steps


def order(scales, errors):
    return np.polyfit(np.log(scales), np.log(errors), 1)[0]


FORCES = [
    np.diag([0.16, 0.09, 0.04]),
    np.array([[0.5, -0.2, 0.3], [0.1, 0.9, 0.0], [0.4, 0.2, -0.6]]),
]


@pytest.mark.parametrize("force", FORCES)
@pytest.mark.parametrize("seed", range(6))
def test_idle_phase_equals_the_equations_it_solves(force, seed):
    model = Separate(heads=4, rank=1 + seed % 2)
    heads = separate_block(random_weights(model, 3, 0.01, seed), model, 3)
    end = escape(heads, force, ceiling=0.5)
    shape, span = heads.k.shape, (0, end.duration)
    flow = solve_ivp(
        lambda _, x: velocity(heads_of(x, shape), force),
        span,
        packed(heads),
        "DOP853",
        rtol=3e-14,
        atol=1e-17,
    )
    assert packed(end.heads) == pytest.approx(flow.y[:, -1], rel=1e-8, abs=1e-11)
    assert abs(end.heads.v[end.head]) == pytest.approx(0.5, rel=1e-9)
    gain = np.linalg.norm(force, 2)
    assert end.blow_up_time - end.duration == pytest.approx(2 / gain)


def test_a_value_that_changes_sign_turns_back_and_escapes():
    one = np.ones((1, 1, 1))
    heads = SeparateHeads(np.array([-0.5]), one, 0.9 * one)
    end = escape(heads, np.eye(1))
    assert end.heads.v[0] > 0
    shape = (1, 1, 1)
    reached = lambda _, x: x[0] - 1e4
    reached.terminal = True
    flow = solve_ivp(
        lambda _, x: velocity(heads_of(x, shape), np.eye(1)),
        (0, 99),
        packed(heads),
        "DOP853",
        rtol=1e-13,
        atol=1e-13,
        events=reached,
    )
    assert end.duration == pytest.approx(flow.t[-1] + 1e-4, rel=1e-8)


def test_scaling_a_head_scales_its_time_and_the_divergence_is_where_onset_says():
    model = Separate(heads=3)
    small, large = (
        separate_block(random_weights(model, 3, scale, 5), model, 3)
        for scale in (1e-6, 1.0)
    )
    times = [escape(heads, FORCES[1]).blow_up_time for heads in (small, large)]
    assert times[0] == pytest.approx(1e6 * times[1], rel=1e-9)
    end = escape(large, FORCES[1])
    assert end.duration == pytest.approx(end.blow_up_time, rel=1e-8)


def test_heads_without_a_drive_never_escape():
    zero = np.zeros((2, 1, 3))
    for heads, force in (
        (SeparateHeads(np.zeros(2), zero, zero), FORCES[0]),
        (SeparateHeads(np.array([0.1, -0.2]), zero, zero), FORCES[0]),
        (SeparateHeads(np.ones(2), zero + 1, zero + 1), np.zeros((3, 3))),
    ):
        end = escape(heads, force)
        assert (end.duration, end.head) == (np.inf, -1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_exit_times_converge_to_the_full_flow_with_identity_teachers(seed):
    scales = np.array([0.03, 0.01, 0.003])
    errors, steps = exit_errors(PAIR, Separate(heads=3), seed, scales)
    assert steps.directions == (1, 2)
    assert steps.kinds == ("long", "long")
    assert np.all(errors < 3e-3 * scales[:, None])


def test_the_one_number_estimate_does_not_converge():
    model, errors = Separate(heads=3), []
    for scale in (1e-2, 1e-4, 1e-6):
        weights = random_weights(model, 2, scale, 0)
        v0 = np.max(np.abs(weights["value"][:, -1]))
        first = staircase(PAIR, model, weights).exit_times[0]
        errors.append(abs(1 / (4 * v0) / first - 1))
    assert min(errors) > 0.1


@pytest.mark.parametrize(
    ("task", "seed"), [(UNALIGNED, 0), (UNALIGNED, 2), (CROSSED, 0), (CROSSED, 1)]
)
def test_exit_times_converge_to_the_full_flow_with_any_teachers(task, seed):
    scales = np.array([0.01, 0.003, 0.001])
    errors, steps = exit_errors(task, Separate(heads=3), seed, scales)
    assert np.all(errors < 3e-3 * scales[:, None])
    assert steps.plateaus[-1] == pytest.approx(steps.moments.minimum_loss)


def test_the_first_plateau_is_not_that_of_the_largest_gain():
    weights = random_weights(Separate(heads=3), 2, 1e-3, 0)
    steps = staircase(CROSSED, Separate(heads=3), weights)
    halfway = np.mean(steps.drop_times[:2])
    loss = full_loss(
        steps.moments, separate_block(weights, Separate(heads=3), 2), halfway
    )(halfway)
    assert loss == pytest.approx(steps.moments.c - steps.moments.gains[1], abs=1e-2)
    assert abs(loss - (steps.moments.c - steps.moments.gains[0])) > 0.3


def test_larger_drive_with_smaller_gain_is_visited_briefly():
    """At M = 0 the flow follows the drive b, not the gain; the head then rotates, after a time ∝ ln(1/scale)."""
    stays = []
    for scale in (1e-3, 1e-5, 1e-7):
        steps = staircase(
            CROSSED, Separate(heads=3), random_weights(Separate(heads=3), 2, scale, 0)
        )
        assert steps.subsets == ((), (2,), (1,), (1, 2))
        assert steps.kinds == ("long", "short", "long")
        assert steps.heads[0] == steps.heads[1] != steps.heads[2]
        stays.append(steps.drop_times[1] - steps.drop_times[0])
        waits = steps.drop_times * scale
    assert np.diff(stays)[0] == pytest.approx(
        np.diff(stays)[1], rel=0.02
    )  # equal steps of ln(scale)
    assert waits[2] - waits[1] > 0.1  # the last wait is of order 1/scale


@pytest.mark.parametrize("seed", [0, 1])
def test_long_plateaus_sit_at_multiples_of_the_rank(seed):
    task, scales = (
        Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31),
        np.array([0.03, 0.01, 0.003]),
    )
    errors, steps = exit_errors(task, Separate(heads=3, rank=2), seed, scales)
    assert steps.directions == (1, 2, 3, 4)
    assert steps.kinds == ("long", "short", "long", "short")
    assert steps.heads[0] == steps.heads[1] != steps.heads[2] == steps.heads[3]
    assert np.all(errors < 1e-4)


def test_short_plateaus_grow_like_the_logarithm_and_long_ones_like_the_scale():
    task, model = (
        Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31),
        Separate(heads=3, rank=2),
    )
    waits = []
    for scale in (1e-4, 1e-5, 1e-6):
        exits = staircase(task, model, random_weights(model, 4, scale, 0)).exit_times
        waits.append(np.diff(exits, prepend=0.0))
    ratio = np.array(waits)[1:] / np.array(waits)[:-1]
    assert ratio[:, [0, 2]] == pytest.approx(10, rel=0.01)
    assert np.all(ratio[:, [1, 3]] < 1.4)


def composite_gap(steps, weights, model):
    last = steps.exit_times[-1] + 100
    loss = full_loss(
        steps.moments, separate_block(weights, model, steps.moments.dimension), last
    )
    times = np.linspace(0, last, 400)
    return np.max(np.abs(steps.loss(times) - [loss(t) for t in times]))


def test_composite_curve_approaches_the_full_flow():
    for model, task in (
        (Separate(heads=3, rank=2), TASK),
        (Separate(heads=3), UNALIGNED),
    ):
        weights = random_weights(model, task.dimension, 1e-2, 1)
        steps = staircase(task, model, weights)
        assert composite_gap(steps, weights, model) < 1e-3
    model = Separate(heads=2)
    steps = staircase(PAIR, model, weights := random_weights(model, 2, 1e-3, 1))
    shuffled = staircase(
        PAIR, model, {name: array[::-1].copy() for name, array in weights.items()}
    )
    assert shuffled.exit_times == pytest.approx(steps.exit_times, rel=1e-12)
    assert shuffled.heads == tuple(1 - head for head in steps.heads)


def test_equal_directions_are_learned_one_head_after_another():
    task, model = Task(eigenvalues=[1, 1, 1], context_length=10), Separate(heads=4)
    scales = np.array([0.01, 0.003, 0.001])
    errors, steps = exit_errors(task, model, 0, scales)
    assert np.all(errors < 1e-4)
    assert steps.kinds == ("long",) * 3
    assert len(set(steps.heads)) == 3


def test_the_staircase_stops_when_heads_or_directions_run_out():
    few = staircase(
        TASK, Separate(heads=2), random_weights(Separate(heads=2), 3, 1e-3, 0)
    )
    many = staircase(
        TASK, Separate(heads=6), random_weights(Separate(heads=6), 3, 1e-3, 0)
    )
    assert few.plateaus == pytest.approx(many.plateaus[:3])
    assert many.plateaus[-1] == pytest.approx(many.moments.minimum_loss)
    idle = random_weights(Separate(heads=2), 3, 1e-3, 0)
    for array in idle.values():
        array[1] = 0
    assert np.isfinite(
        staircase(TASK, Separate(heads=2), idle).exit_times
    ).tolist() == [True, False, False]
    nothing = staircase(
        TASK, Separate(heads=2), {name: 0 * array for name, array in idle.items()}
    )
    assert (nothing.drop_times.shape, nothing.exit_times.tolist()) == (
        (0,),
        [np.inf] * 3,
    )
    assert nothing.loss([0.0, 1e9]) == pytest.approx(np.full(2, nothing.moments.c))


@pytest.mark.parametrize(("task", "rank"), [(TASK, 1), (TASK, 2), (UNALIGNED, 1)])
def test_time_course_from_weights_is_the_composite_curve(task, rank):
    model = Separate(heads=3, rank=rank)
    weights = random_weights(model, task.dimension, 1e-3, 2)
    steps = staircase(task, model, weights)
    times = np.linspace(0, steps.exit_times[-1] * 1.2 + 200, 30)[::-1]
    curve = time_course(task, model, times, weights)
    assert curve.source == "staircase"
    assert np.array_equal(curve.loss, steps.loss(times))
    assert curve.amplitudes.shape == curve.coefficients.shape == (30, task.dimension)
    assert curve.loss[0] == pytest.approx(steps.plateaus[-1], abs=1e-6)
    if task is TASK:
        assert curve.coefficients[0] == pytest.approx(
            steps.moments.coefficients, rel=1e-3
        )
        assert rank == 2 or curve.amplitudes[0] ** 3 == pytest.approx(
            curve.coefficients[0], rel=1e-4
        )


def test_senseless_arguments_are_refused():
    weights = random_weights(Separate(heads=2), 3, 0.1, 0)
    with pytest.raises(ValueError, match="Separate"):
        staircase(TASK, Merged(heads=2), weights)
    with pytest.raises(ValueError, match="missing"):
        staircase(TASK, Separate(heads=2), {"value": weights["value"]})
    with pytest.raises(ValueError, match="shape"):
        staircase(TASK, Separate(heads=3), weights)
    with pytest.raises(ValueError, match="finite"):
        staircase(
            TASK, Separate(heads=2), weights | {"key": np.full((2, 1, 4), np.nan)}
        )
    with pytest.raises(ValueError, match="softmax"):
        staircase(TASK, Separate(heads=2, softmax=True), weights)


def test_population_of_the_crossed_example():
    moments = population(CROSSED, Separate(heads=1))
    assert np.diag(moments.B) == pytest.approx([1, 0.405], rel=1e-6)
    assert moments.gains == pytest.approx([1.346, 0.997], rel=1e-6)


# What a staircase says of itself


def small_staircase(**options):
    weights = random_weights(Separate(heads=3), 2, 1e-3, 0)
    return staircase(PAIR, Separate(heads=3), weights, **options)


def test_a_staircase_prints_its_drops_on_one_screen():
    steps = small_staircase()
    lines = repr(steps).splitlines()
    assert lines[0] == "Staircase of 2 drops, exit times determined to 5e-05"
    assert len(lines) == 4
    assert lines[2].startswith(f"  drop 1  at {steps.drop_times[0]:.6g} ± ")
    assert f"head {steps.heads[0]} learns direction 1 (long" in lines[2]
    assert f"loss {steps.plateaus[-1]:.6g}" in lines[3]
    assert steps._repr_html_().count("<tr>") == 3
    few = staircase(
        TASK, Separate(heads=1), random_weights(Separate(heads=1), 3, 1e-3, 0)
    )
    assert "2 of 3 greedy plateaus" in repr(few)
    D = 40
    many = Task(eigenvalues=np.arange(D, 0, -1.0), trace=1.0, context_length=31)
    model = Separate(heads=D)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    weights["value"][:, -1] = 1e-3
    for name in ("key", "query"):
        weights[name][:, 0, :-1] = 1e-3 * np.eye(D)
    assert len(repr(staircase(many, model, weights, verify=False)).splitlines()) <= 24


def test_a_staircase_as_a_dictionary_is_plain():
    steps = small_staircase(verify=False)
    numbers = json.loads(json.dumps(steps.to_dict()))
    assert numbers["exit_times"] == steps.exit_times.tolist()
    assert numbers["subsets"] == [[], [1], [1, 2]]
    assert numbers["uncertainty"] is None  # it was not verified
    few = staircase(
        TASK,
        Separate(heads=1),
        random_weights(Separate(heads=1), 3, 1e-3, 0),
        verify=False,
    )
    assert few.to_dict()["exit_times"][1:] == [None, None]


def test_a_staircase_is_read_as_it_was_written(tmp_path):
    steps = small_staircase()
    path = steps.save(tmp_path / "steps.npz")
    again = Staircase.load(path)
    assert again.to_dict() == steps.to_dict()
    times = np.linspace(0, 1.1 * steps.drop_times[-1], 20)
    assert np.array_equal(again.loss(times), steps.loss(times))
    unverified = small_staircase(verify=False)
    assert np.isnan(Staircase.load(unverified.save(path)).uncertainty)


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "steps.npz"
    np.savez(path, head=np.array("{}"))
    with pytest.raises(ValueError, match="not a whole staircase file"):
        Staircase.load(path)
    with pytest.raises(OSError, match="none"):
        Staircase.load(tmp_path / "none.npz")
    steps = small_staircase(verify=False)
    with np.load(steps.save(path)) as file:
        arrays = dict(file)
    np.savez(path, **arrays | {"exit_times": 1.001 * steps.exit_times})
    with pytest.raises(ValueError, match="another version"):
        Staircase.load(path)


def test_the_plot_of_a_staircase_is_its_loss_with_exit_times_marked():
    import matplotlib

    matplotlib.use("Agg")
    steps = small_staircase(verify=False)
    ax = steps.plot(color="red", label="drops")
    line, marks = ax.get_lines()
    times, losses = line.get_data()
    assert np.all(np.diff(times) >= 0)
    assert times[-1] > steps.exit_times[-1]
    assert np.array_equal(losses, steps.loss(times))
    assert np.max(np.abs(np.diff(losses))) < 0.2 * steps.plateaus[0]  # drops are drawn
    assert (line.get_color(), line.get_linestyle(), line.get_label()) == (
        "red",
        "--",
        "drops",
    )
    assert np.array_equal(marks.get_xdata(), steps.exit_times)
    assert (marks.get_color(), ax.get_xlabel()) == ("red", "flow time")
    with pytest.raises(ValueError, match="no learning rate"):
        steps.plot(x="steps")
    nothing = staircase(
        PAIR,
        Separate(heads=1),
        {name: np.zeros(shape) for name, shape in Separate(heads=1).shapes(2).items()},
        verify=False,
    )
    assert np.all(nothing.plot().get_lines()[0].get_ydata() == nothing.plateaus[0])


@pytest.mark.parametrize("task", [TASK, UNALIGNED])
def test_the_effective_map_begins_with_that_of_the_weights_and_has_the_loss(task):
    model = Separate(heads=3, rank=2)
    weights = random_weights(model, task.dimension, 0.05, seed=2)
    steps = staircase(task, model, weights)
    times = np.append(0.0, 1.01 * steps.drop_times)
    maps = steps.effective_map(times)
    first = effective_map(model, restricted(weights))
    moments = population(task, model)
    assert np.allclose(maps[0], first, rtol=1e-12, atol=1e-15)
    assert np.allclose(moments.loss(maps), steps.loss(times), rtol=1e-10)
