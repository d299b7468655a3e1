"""Heads from given weights where Λ or Ω is singular, against descent, a direct integration and what is conserved."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import objective, train
from attndyn.theory import fixed_points, population, staircase, time_course
from attndyn.theory.linear_attention.saddle_to_saddle.instantaneous_drops import (
    exits_of_instantaneous_drops,
)
from attndyn.theory.linear_attention.saddle_to_saddle.staircases import Staircase

KINDS = ("diagonal", "commuting", "oblique")


def singular_task(generator, kind, rank=None):
    """A task whose Λ and Ω lack directions; of no common direction for rank 0."""
    D = int(generator.integers(2, 5))
    λ, ω = generator.uniform(0.3, 2, (2, D))
    x_is_constant = int(generator.integers(1, D))
    λ[:x_is_constant] = 0
    if rank == 0:
        ω[x_is_constant:] = 0
    else:
        ω[: -1 if x_is_constant == D - 1 else -2] *= generator.integers(0, 2)
        ω[-1] *= x_is_constant == D - 1
    U = np.linalg.qr(generator.standard_normal((D, D)))[0]
    V = np.linalg.qr(generator.standard_normal((D, D)))[0]
    U = np.eye(D) if kind == "diagonal" else U
    V = V if kind == "oblique" and rank != 0 else U
    return Task(
        covariance=(U * λ) @ U.T,
        teacher_covariance=(V * ω) @ V.T,
        noise_variance=float(generator.choice([0.0, 0.3])),
        context_length=int(generator.integers(3, 20)),
    )


def kernel(matrix):
    """Orthonormal columns that a positive semidefinite matrix maps to 0."""
    values, vectors = np.linalg.eigh(matrix)
    return vectors[:, values < 1e-10]


def start(generator, task, model, scale=0.1, without_gain=0.0):
    """Weights of the restricted block, with parts of this size where x or the teacher does not vary."""
    weights = {
        name: scale * generator.standard_normal(shape)
        for name, shape in model.shapes(task.dimension).items()
    }
    weights["value"][:, :-1] = 0
    for name in ("key", "query"):
        weights[name][..., -1] = 0
        for matrix in (task.covariance, task.teacher_covariance):
            null = kernel(matrix)
            shares = generator.standard_normal((*weights[name].shape[:2], len(null.T)))
            weights[name][..., :-1] += without_gain * shares @ null.T
    return weights


def losses_of_flow(task, model, weights, times, weight_decay=0.0):
    """The loss (T,) of the flow of all weights, integrated as it stands."""
    loss = population(task, model)
    blocks = (
        weights["value"][:, -1],
        weights["key"][..., :-1],
        weights["query"][..., :-1],
    )
    ends = np.cumsum([block.size for block in blocks])[:-1]

    def unpacked(x):
        rows = np.split(x, ends)
        return [
            row.reshape(block.shape) for row, block in zip(rows, blocks, strict=True)
        ]

    def slope(_, x):
        v, k, q = unpacked(x)
        G = loss.residual_correlation(np.einsum("h,hri,hrj->ij", v, k, q))
        parts = (
            np.einsum("hri,ij,hrj->h", k, G, q),
            np.einsum("h,ij,hrj->hri", v, G, q),
            np.einsum("h,ij,hri->hrj", v, G, k),
        )
        return np.concatenate([part.ravel() for part in parts]) - weight_decay / 2 * x

    path = solve_ivp(
        slope,
        (0, times[-1]),
        np.concatenate([block.ravel() for block in blocks]),
        method="LSODA",
        rtol=1e-10,
        atol=1e-13,
        t_eval=times,
    )
    maps = [np.einsum("h,hri,hrj->ij", *unpacked(x)) for x in path.y.T]
    return loss.loss(np.array(maps))


@pytest.mark.parametrize("seed", range(12))
def test_curves_are_those_of_the_flow_of_all_weights(seed):
    generator = np.random.default_rng(seed)
    task = singular_task(generator, KINDS[seed % 3])
    model = Separate(int(generator.integers(1, 4)), rank=1 + seed % 2)
    weights = start(generator, task, model, without_gain=0.7 * (seed % 4 > 1))
    steps = staircase(task, model, weights, verify=False)
    made = steps.exit_times[np.isfinite(steps.exit_times)]
    times = np.linspace(0, 1.5 * np.max(made, initial=20), 25)

    flow = losses_of_flow(task, model, weights, times)
    gains = np.sum(population(task, model).gains)
    np.testing.assert_allclose(steps.loss(times), flow, rtol=0, atol=3e-5 * gains)


def gaps(curve, runs):
    """Largest distance of the curve from each run."""
    return np.array(
        [np.max(np.abs(curve.loss(run.flow_time) - run.loss)) for run in runs]
    )


def descents(task, model, weights):
    """Descent on exact statistics to one flow time, at three learning rates."""
    stats = population_statistics(task, model)
    return [
        train(model, stats, weights, learning_rate=0.01 / n, steps=500 * n)
        for n in (1, 2, 4)
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_descent_comes_to_the_curve_in_first_order_of_the_learning_rate(kind):
    generator = np.random.default_rng(7)
    basis = np.eye(3)
    if kind != "diagonal":
        basis = np.linalg.qr(generator.standard_normal((3, 3)))[0]
    turned = basis
    if kind == "oblique":
        turned = basis @ np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1]])
    task = Task(
        covariance=(basis * [2, 1, 0]) @ basis.T,
        teacher_covariance=(turned * [1, 0, 1]) @ turned.T,
        context_length=6,
    )
    model = Separate(2)
    weights = start(generator, task, model, scale=0.2, without_gain=1.0)
    runs = descents(task, model, weights)
    curve = staircase(task, model, weights)
    distances = gaps(curve, runs)
    orders = np.log2(distances[:-1] / distances[1:])
    assert np.all(np.abs(orders - 1) < 0.1)
    assert distances[-1] < 0.01 * task.trace

    # Controls: parts where the teacher alone does not vary taken for parts that do not move, and left out; and the
    # task with a teacher that varies everywhere.
    λ_image = np.eye(3) - kernel(task.covariance) @ kernel(task.covariance).T
    null = λ_image @ kernel(task.teacher_covariance)
    null = null[:, np.linalg.norm(null, axis=0) > 1e-8]
    null = null / np.linalg.norm(null, axis=0)
    inert = {name: array.copy() for name, array in weights.items()}
    for name in ("key", "query"):
        inert[name][..., :-1] -= inert[name][..., :-1] @ null @ null.T
    regular = Task(covariance=task.covariance + 0.3 * np.eye(3), context_length=6)
    for wrong in (
        staircase(task, model, inert),
        staircase(regular, model, weights),
    ):
        assert gaps(wrong, runs)[-1] > 5 * distances[-1]


def test_parts_on_which_x_does_not_vary_change_nothing():
    generator = np.random.default_rng(2)
    task = Task([2, 1, 0, 0], context_length=8)
    smaller = Task([2, 1], context_length=8)
    model = Separate(3, rank=2)
    weights = start(generator, task, model, scale=0.05, without_gain=3.0)
    inner = {name: np.delete(array, [2, 3], axis=-1) for name, array in weights.items()}
    steps = staircase(task, model, weights)
    expected = staircase(smaller, model, inner)
    np.testing.assert_allclose(steps.exit_times, expected.exit_times, rtol=1e-12)
    times = np.linspace(0, 200, 40)
    np.testing.assert_allclose(steps.loss(times), expected.loss(times), rtol=1e-12)
    assert steps.coefficients(times).shape == (40, 2)
    assert time_course(task, model, times, weights).amplitudes.shape == (40, 2)


def test_keys_end_larger_than_the_value_by_the_part_that_has_decayed():
    task = Task([1.0, 1.0], teacher_covariance=np.diag([1.0, 0.0]), context_length=10)
    model = Separate(1)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(2).items()}
    weights["value"][0, -1] = 0.1
    weights["key"][0, 0, :2] = [0.1, 0.8]
    weights["query"][0, 0, :2] = [0.1, 0.0]
    steps = staircase(task, model, weights)
    curve = steps.curve
    v, k, q = (
        curve.units.weight * block[0] for block in curve.heads(np.array([np.inf]))
    )
    conserved = 0.1**2 - (0.1**2 + 0.8**2)
    assert v[0] ** 2 - np.sum(k**2) == pytest.approx(conserved, abs=1e-8)
    assert abs(k[0, 0, 1]) < 1e-4
    # At M_{1} the head holds v k q = m with |k|² − |q|² conserved, too.
    m = population(task, model).coefficients[0]
    assert v[0] * k[0, 0, 0] * q[0, 0, 0] == pytest.approx(m, rel=1e-6)
    # The balanced head that ignores the part would have v = m^{1/3}.
    assert v[0] < 0.9 * np.cbrt(m)


def test_without_any_gain_a_head_decays_or_stays():
    noisy = Task(
        [1, 0], teacher_covariance=np.diag([0, 1]), noise_variance=0.5, context_length=5
    )
    model = Separate(1)
    weights = {name: np.zeros(shape) for name, shape in model.shapes(2).items()}
    weights["value"][0, -1] = 0.6
    weights["key"][0, 0, :2] = [0.6, 0.3]
    weights["query"][0, 0, :2] = [0.6, 5.0]
    times = np.array([0.0, 1.0, 50.0, 1000.0])
    course = time_course(noisy, model, times, weights)
    # v = |k_1| = |q_1| obeys dv/dt = −aλ v⁵.
    loss = population(noisy, model)
    curvature = loss.A[0, 0] * loss.Lambda[0, 0]
    v = 0.6 * (1 + 4 * curvature * 0.6**4 * times) ** -0.25
    assert course.source == "all heads"
    np.testing.assert_allclose(course.loss, loss.c + curvature * v**6, rtol=1e-9)

    silent = Task([1, 0], teacher_covariance=np.diag([0, 1]), context_length=5)
    np.testing.assert_array_equal(
        time_course(silent, model, times, weights).loss, np.zeros(4)
    )
    for question in (staircase, lambda *_: fixed_points(noisy, model)):
        with pytest.raises(ValueError, match="no direction of this task has a gain"):
            question(noisy, model, weights)


@pytest.mark.parametrize("seed", range(9))
def test_courses_of_rank_zero_and_of_decay_are_those_of_the_flow(seed):
    generator = np.random.default_rng(seed)
    rank = 0 if seed % 3 == 2 else None
    task = singular_task(generator, KINDS[seed // 3], rank)
    model = Separate(2, rank=1 + seed % 2)
    weights = start(generator, task, model, scale=0.3, without_gain=0.5)
    decay = 0.0 if seed == 2 else 0.05
    times = np.linspace(0, 60, 12)
    course = time_course(task, model, times, weights, weight_decay=decay)
    flow = losses_of_flow(task, model, weights, times, decay)
    np.testing.assert_allclose(course.loss, flow, rtol=0, atol=1e-7)


def test_rounding_of_rotated_tasks_is_no_signal():
    generator = np.random.default_rng(0)
    for _ in range(300):
        task = singular_task(generator, "commuting", rank=0)
        assert population(task, Separate(1)).direction_count == 0


def test_input_that_gives_no_signal_off_one_line_moves_no_key_there():
    # x = (±1, ±1) and w ∝ (1, −1): β lies on that line, so A is singular though E x xᵀ is not.
    task = Task(
        [1, 1],
        teacher_covariance=[[1, -1], [-1, 1]],
        inputs="rademacher",
        context_length=4,
    )
    model = Separate(2)
    generator = np.random.default_rng(5)
    weights = start(generator, task, model, without_gain=1.0)
    steps = staircase(task, model, weights)
    times = np.linspace(0, 2 * steps.exit_times[0], 30)
    flow = losses_of_flow(task, model, weights, times)
    np.testing.assert_allclose(steps.loss(times), flow, atol=1e-5 * flow[0])


def test_directions_are_those_of_the_second_moments_where_x_has_a_mean():
    task = Task(
        [2, 1, 0.5],
        input_mean=[0.5, -1, 0.3],
        teacher_covariance=[[1, 0.3, 0], [0.3, 0.5, 0.1], [0, 0.1, 1]],
        context_length=10,
    )
    model = Separate(3)
    weights = start(np.random.default_rng(3), task, model)
    times = np.linspace(0, 300, 30)
    steps = staircase(task, model, weights)
    flow = losses_of_flow(task, model, weights, times)
    np.testing.assert_allclose(steps.loss(times), flow, atol=1e-5 * flow[0])
    decayed = time_course(task, model, [5.0], weights, weight_decay=1e-12)
    np.testing.assert_allclose(
        decayed.coefficients, steps.coefficients([5.0]), atol=1e-5
    )


def test_a_staircase_of_a_singular_task_is_read_back(tmp_path):
    task = Task([2, 1, 0], teacher_covariance=np.diag([1, 0, 1]), context_length=8)
    model = Separate(2)
    weights = start(np.random.default_rng(1), task, model, without_gain=0.4)
    steps = staircase(task, model, weights)
    again = Staircase.load(steps.save(tmp_path / "steps.npz"))
    np.testing.assert_array_equal(again.exit_times, steps.exit_times)
    assert len(steps.exit_times) == 1


def test_the_approximation_by_instantaneous_drops_names_the_staircase():
    task = Task([2, 1, 0], context_length=8)
    model = Separate(2)
    weights = start(np.random.default_rng(1), task, model, scale=1e-3)
    with pytest.raises(ValueError, match=r"only 2 of 3 .* so use staircase"):
        exits_of_instantaneous_drops(task, model, weights)


@pytest.mark.parametrize("model", [Merged(2), Separate(3)], ids=["merged", "separate"])
def test_descent_rests_at_fixed_points_of_singular_tasks_under_decay(model):
    generator = np.random.default_rng(11)
    for case in range(20):
        task = singular_task(generator, KINDS[case % 2])
        gradients_at = objective(model, population_statistics(task, model))
        for point in fixed_points(task, model, weight_decay=0.02):
            loss, gradients = gradients_at(point.weights)
            assert loss == pytest.approx(point.loss, abs=1e-12)
            for name, weights in point.weights.items():
                np.testing.assert_allclose(gradients[name], -0.02 * weights, atol=1e-12)
                if point.subset:
                    # Control: without the decay these weights would move.
                    assert np.max(np.abs(gradients[name])) > 1e-6
