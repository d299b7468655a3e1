"""Time courses of every kind of start, against the flow of all weights."""

import matplotlib
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.theory.linear_attention.merged import half_loss_time
from attndyn.theory.linear_attention.time_courses import time_course
from attndyn.theory.moments.population_loss import population

matplotlib.use("Agg")

TASK = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
WEIGHTED = Task(
    eigenvalues=[1.0, 0.6, 0.3],
    teacher_covariance=np.diag([0.2, 1.0, 2.0]),
    context_length=8,
)
WHITE = Task(eigenvalues=[0.5, 0.5, 0.5], context_length=10)
UNALIGNED = Task(
    eigenvalues=[2.0, 1.0],
    teacher_covariance=[[1.0, 0.5], [0.5, 0.7]],
    context_length=10,
)


def separate_losses(task, model, v, k, q, times):
    """Loss (T,) of the gradient flow of every separate head, v (H,), k and q (H, R, D)."""
    moments, heads = population(task, model), len(v)

    def unpack(x):
        return x[:heads], *x[heads:].reshape(2, *k.shape)

    def rate(_, x):
        v, k, q = unpack(x)
        force = moments.residual_correlation(np.einsum("h,hri,hrj->ij", v, k, q))
        value = np.einsum("hri,ij,hrj->h", k, force, q)
        drive = v[:, None, None] * (q @ force.T), v[:, None, None] * (k @ force)
        return np.concatenate((value, *(part.ravel() for part in drive)))

    start = np.concatenate((v, k.ravel(), q.ravel()))
    flow = solve_ivp(
        rate, (0, times[-1]), start, "DOP853", times, rtol=1e-11, atol=1e-14
    )
    return np.array(
        [moments.loss(np.einsum("h,hri,hrj->ij", *unpack(x))) for x in flow.y.T]
    )


def aligned_heads(task, model, amplitudes):
    """v, k, q of heads that hold R of the nonzero amplitudes each, in order."""
    directions = population(task, model).directions
    v, pairs = (
        np.zeros(model.head_count),
        np.zeros((model.head_count, model.rank, task.dimension)),
    )
    for place, d in enumerate(np.flatnonzero(amplitudes)):
        head, pair = divmod(place, model.rank)
        pairs[head, pair] = amplitudes[d] * directions[:, d]
        v[head] = np.linalg.norm(pairs[head])
    return v, pairs, pairs


@pytest.mark.parametrize("task", [TASK, WEIGHTED])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_aligned_separate_heads_follow_the_full_flow_at_any_size(task, rank):
    model, times = (
        Separate(heads=4, rank=rank, divisor="tokens"),
        np.linspace(0, 400, 80),
    )
    amplitudes = np.array([0.3, 0.05, 0.6, 0.2])[: task.dimension]
    curve = time_course(task, model, times, amplitudes)
    full = separate_losses(task, model, *aligned_heads(task, model, amplitudes), times)
    assert curve.loss == pytest.approx(full, abs=1e-9)
    assert curve.source == ("closed form" if rank == 1 else "reduced ODE")
    shuffled = time_course(task, model, times, amplitudes[::-1])
    assert np.max(np.abs(shuffled.loss - full)) > 1e-2


def test_coefficients_and_amplitudes_describe_the_same_map():
    moments = population(WEIGHTED, Separate(heads=3))
    curve = time_course(WEIGHTED, Separate(heads=3), [0, 10, 1e5], 0.3)
    assert curve.amplitudes**3 == pytest.approx(curve.coefficients)
    assert curve.coefficients[-1] == pytest.approx(moments.coefficients, rel=1e-12)
    for loss, coefficients in zip(curve.loss, curve.coefficients, strict=True):
        M = moments.directions * coefficients @ moments.directions.T
        assert loss == pytest.approx(float(moments.loss(M)), rel=1e-12)
    merged = time_course(WEIGHTED, Merged(heads=3), [0, 10, 100], 0.3)
    assert merged.amplitudes[:, :1] * merged.amplitudes[:, 1:] == pytest.approx(
        merged.coefficients
    )


def test_a_number_starts_as_many_directions_as_the_heads_hold():
    curve = time_course(TASK, Separate(heads=2), [0, 1e6], 0.1)
    assert np.array_equal(curve.amplitudes[0], [0.1, 0.1, 0, 0])
    assert curve.loss[-1] == pytest.approx(0.37737216, abs=1e-8)
    with pytest.raises(ValueError, match="hold 2 directions"):
        time_course(TASK, Separate(heads=2), [0, 1], [0.1, 0.1, 0.1, 0])


@pytest.mark.parametrize(
    ("task", "start", "source"),
    [
        (WHITE, 0.01, "closed form"),
        (WHITE, (0.3, 0.1), "closed form"),
        (WHITE, (0.3, [0.1, 0.2, 0.3]), "reduced ODE"),
        (TASK, 0.01, "reduced ODE"),
        (TASK, (0.2, [0.1, 0.0, 0.3, 0.2]), "reduced ODE"),
    ],
)
def test_merged_starts_follow_the_flow_of_one_head(task, start, source):
    moments, model, times = (
        population(task, Merged(heads=2)),
        Merged(heads=2),
        np.linspace(0, 150, 40),
    )
    s0, u0 = start if isinstance(start, tuple) else (start, start)
    mode = moments.b / np.linalg.norm(moments.b)
    state = np.concatenate(
        ([s0], np.ravel(np.diag(u0 * mode if np.ndim(u0) == 0 else u0)))
    )

    def rate(_, x):
        force = moments.residual_correlation(x[0] * x[1:].reshape(moments.B.shape))
        return np.concatenate(([force.ravel() @ x[1:]], x[0] * force.ravel()))

    flow = solve_ivp(
        rate, (0, times[-1]), state, "DOP853", times, rtol=1e-11, atol=1e-15
    ).y
    full = moments.loss((flow[0] * flow[1:]).T.reshape(-1, *moments.B.shape))
    curve = time_course(task, model, times, start)
    assert curve.source == source
    assert curve.loss == pytest.approx(full, abs=1e-9)


def full_size(model, dimension, scale, seed=0):
    """Random weights of every shape, zero off the blocks that move."""
    generator = np.random.default_rng(seed)
    weights = {
        name: scale * generator.standard_normal(shape)
        for name, shape in model.shapes(dimension).items()
    }
    weights["value"][:, :-1] = 0
    for name in set(weights) - {"value"}:
        weights[name][..., -1] = 0
    return weights


@pytest.mark.parametrize("task", [TASK, WHITE, UNALIGNED])
def test_merged_weights_follow_the_growing_mode(task):
    model = Merged(heads=3)
    curve = time_course(
        task, model, np.linspace(0, 600, 50), full_size(model, task.dimension, 1e-3)
    )
    assert curve.source == "unstable mode"
    assert curve.amplitudes.shape == (50, 1 + task.dimension)
    assert curve.coefficients.shape == (50, task.dimension)
    moments = population(task, model)
    assert curve.loss[0] == pytest.approx(moments.c, abs=1e-4)
    assert curve.loss[-1] == pytest.approx(moments.minimum_loss, abs=1e-3)
    basis = task.eigenvectors
    assert curve.coefficients[-1] == pytest.approx(
        np.diag(basis.T @ moments.minimum @ basis), abs=0.05
    )


def test_times_may_come_in_any_order():
    times = np.array([300.0, 0.0, 120.0])
    for model, start in (
        (Separate(heads=4), 0.1),
        (Separate(heads=2, rank=2), 0.1),
        (Merged(heads=2), 0.01),
    ):
        shuffled = time_course(TASK, model, times, start)
        ordered = time_course(TASK, model, np.sort(times), start)
        assert shuffled.loss[[1, 2, 0]] == pytest.approx(ordered.loss, rel=1e-12)


def test_plot_labels_its_axes():
    ax = time_course(TASK, Separate(heads=4), [100, 0, 50], 0.1).plot()
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("flow time", "loss")
    (line,) = ax.get_lines()
    assert np.array_equal(line.get_xdata(), [0, 50, 100])
    assert line.get_linestyle() == "--"
    assert time_course(TASK, Separate(heads=4), [0, 1], 0.1).plot(ax) is ax
    matplotlib.pyplot.close(ax.figure)


@pytest.mark.parametrize(
    ("model", "start", "message"),
    [
        (Separate(heads=4), [0.1, 0.1], "shape"),
        (Separate(heads=4), "small", "numbers"),
        (Separate(heads=4), np.nan, "finite"),
        (Separate(heads=4, rank=2), -0.1, "sign"),
        (Separate(heads=4, softmax=True), 0.1, "softmax"),
        (Merged(heads=4), [0.1, 0.1, 0.1], "pair"),
        (Merged(heads=4), ([0.1], 0.1), "pair"),
        (object(), 0.1, "Merged and Separate"),
    ],
)
def test_senseless_starts_are_refused(model, start, message):
    with pytest.raises(ValueError, match=message):
        time_course(TASK, model, [0, 1], start)


def test_amplitudes_need_directions():
    for model in (Separate(heads=2), Merged(heads=2)):
        with pytest.raises(ValueError, match="commute"):
            time_course(UNALIGNED, model, [0, 1], 0.1)


LAMBDAS = np.array([1.3, 0.9, 0.4])
SCALED_TIMES = np.array([0.0, 0.5, 3.0, 1.0, 8.0, 100.0])


def scaled_courses(eigenvalues, size, teachers, divisor):
    """Losses over their scale of each kind of course, at times and weights in units of the task."""
    task = Task(
        size * eigenvalues,
        teacher_covariance=teachers * np.eye(3),
        noise_variance=0.3 * size * teachers,
        context_length=7,
    )
    rate, map_ = size**2 * teachers / divisor, divisor / size
    root, cube = np.sqrt(map_), np.cbrt(map_)
    amplitudes, late = (
        [0.05 * cube, 0.3 * cube, 0.1 * cube],
        10 * SCALED_TIMES / rate / cube,
    )
    merged = Merged(heads=2, score_divisor=divisor)
    pair = (0.05 * root, [0.01 * root, -0.02 * root, 0.7 * root])
    courses = [
        time_course(task, merged, SCALED_TIMES / rate, 0.05 * root),
        time_course(task, merged, SCALED_TIMES / rate, pair),
        time_course(task, Separate(heads=3, score_divisor=divisor), late, amplitudes),
        time_course(
            task, Separate(heads=3, rank=2, score_divisor=divisor), late, amplitudes
        ),
    ]
    half = half_loss_time(population(task, merged), 0.05 * root) * rate
    return np.array(
        [*np.concatenate([course.loss for course in courses]) / (size * teachers), half]
    )


@pytest.mark.parametrize(
    "eigenvalues", [LAMBDAS, np.full(3, 0.7)], ids=["general", "white"]
)
@pytest.mark.parametrize(
    "scales",
    [
        (1e20, 1, 1),
        (1e75, 1, 1),
        (1e100, 1, 1),
        (1e-75, 1, 1),
        (1, 1e150, 1),
        (1, 1e300, 1),
        (1, 1e-250, 1),
        (1, 1, 1e-50),
    ],
)
def test_units_of_the_task_do_not_matter(eigenvalues, scales):
    usual = scaled_courses(eigenvalues, 1, 1, 1)
    np.testing.assert_allclose(scaled_courses(eigenvalues, *scales), usual, rtol=1e-9)


@pytest.mark.parametrize(
    "eigenvalues", [LAMBDAS, np.full(3, 0.7)], ids=["general", "white"]
)
def test_tiny_weights_delay_the_merged_drop_by_the_logarithm(eigenvalues):
    task, model = Task(eigenvalues, context_length=7), Merged(heads=1)
    moments = population(task, model)
    rate = float(np.linalg.norm(moments.b))
    since = np.array([-3.0, -1.0, 0.0, 0.5, 3.0, 40.0]) / rate
    usual = time_course(task, model, np.log(1e12) / rate + since, 1e-12)
    for w0 in (1e-20, 1e-40, 1e-150, 1e-300):
        curve = time_course(task, model, np.log(1 / w0) / rate + since, w0)
        np.testing.assert_allclose(curve.loss, usual.loss, rtol=1e-9)
        later = half_loss_time(moments, w0) - half_loss_time(moments, 1e-12)
        assert later == pytest.approx(np.log(1e-12 / w0) / rate, rel=1e-10)
        before = time_course(task, model, [0.0, 5 / rate], w0)
        growth = w0 * np.exp([0.0, 5.0])  # s in the linear phase
        np.testing.assert_allclose(before.amplitudes[:, 0], growth, rtol=1e-9)


@pytest.mark.parametrize("time", [5e-324, 1e-300, 1e-200, 1e-70])
def test_next_to_no_time_changes_nothing(time):
    task, amplitudes = Task(LAMBDAS, context_length=7), [0.05, 0.3, 0.1]
    for model, start in (
        (Merged(heads=2), 0.05),
        (Merged(heads=2), (0.05, amplitudes)),
        (Separate(heads=3), amplitudes),
        (Separate(heads=2, rank=2), amplitudes),
    ):
        loss = time_course(task, model, [time, 0.0, 1.0], start).loss
        assert loss[0] == pytest.approx(loss[1], rel=1e-15)
        assert loss[2] < loss[1]


@pytest.mark.parametrize("time", [1e15, 1e100, 1e308])
def test_next_to_infinite_time_reaches_the_minimum(time):
    task, amplitudes = Task(LAMBDAS, context_length=7), [0.05, 0.3, 0.1]
    for model, start in (
        (Merged(heads=2), 0.05),
        (Merged(heads=2), (0.05, amplitudes)),
        (Separate(heads=3), amplitudes),
        (Separate(heads=2, rank=2), amplitudes),
    ):
        loss = time_course(task, model, [time], start).loss
        assert loss[0] == pytest.approx(population(task, model).minimum_loss, rel=1e-12)
