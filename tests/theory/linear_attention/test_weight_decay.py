"""Fixed points and flows under weight decay, against brute force written here: roots, Hessians, long descents."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from attndyn import Merged, Separate, Task
from attndyn.theory import fixed_point, fixed_points, population, staircase, time_course
from attndyn.theory.linear_attention import (
    head_roots,
    largest_decay,
    low_rank_amplitudes,
    merged_map,
)
from attndyn.theory.linear_attention.decayed_flow import _Flow
from attndyn.theory.linear_attention.saddle_to_saddle.escapes import SeparateHeads
from attndyn.theory.linear_attention.weight_decay import (
    DecayedRankOne,
    checked_decay,
    refuse_several_outputs,
)

FOUR = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
OBLIQUE = Task(
    eigenvalues=[2.0, 1.0],
    teacher_covariance=[[1.0, 0.5], [0.5, 0.7]],
    context_length=10,
)
SEEDS = st.integers(0, 10**6)


def random_task(seed, dimension):
    rng = np.random.default_rng(seed)
    return Task(
        rng.uniform(0.2, 2, dimension),
        teacher_covariance=np.diag(rng.uniform(0.3, 2, dimension)),
        noise_variance=rng.uniform(0, 1),
        context_length=int(rng.integers(1, 20)),
    )


def random_decay(seed, task, model):
    """Between hardly any and the bound of the direction that bears most."""
    loss = population(task, model)
    bounds = largest_decay(loss.b, 1 / loss.coefficients)
    return np.random.default_rng(seed + 1).uniform(0.01, 1) * bounds.max()


class Flow:
    """The flow of L + (wd/2)|θ|² on the restricted block, all weights in one row; analytic in the weights."""

    def __init__(self, task, model, decay):
        self.loss = population(task, model)
        self.model, self.decay = model, decay
        D, H = task.dimension, model.head_count
        if isinstance(model, Merged):
            self.shapes = [(H,), (H, D, D)]
        else:
            self.shapes = [(H,), (H, model.rank, D), (H, model.rank, D)]

    def blocks(self, x):
        ends = np.cumsum([np.prod(shape) for shape in self.shapes])[:-1]
        parts = np.split(x, ends)
        return [
            part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)
        ]

    def row(self, weights):
        names = list(weights)
        parts = [weights["value"][:, -1]]
        for name in names[1:]:
            block = weights[name][..., :-1]
            parts.append(block[:, :-1] if name == "key_query" else block)
        return np.concatenate([part.ravel() for part in parts])

    def map(self, x):
        v, *matrices = self.blocks(x)
        if len(matrices) == 1:
            return np.einsum("h,hij->ij", v, matrices[0])
        return np.einsum("h,hri,hrj->ij", v, *matrices)

    def velocity(self, x):
        v, *matrices = self.blocks(x)
        G = self.loss.B - self.loss.A @ self.map(x) @ self.loss.Lambda
        if len(matrices) == 1:
            (U,) = matrices
            parts = [np.einsum("ij,hij->h", G, U), np.einsum("h,ij->hij", v, G)]
        else:
            k, q = matrices
            parts = [
                np.einsum("hri,ij,hrj->h", k, G, q),
                np.einsum("h,ij,hrj->hri", v, G, q),
                np.einsum("h,ij,hri->hrj", v, G, k),
            ]
        return np.concatenate([part.ravel() for part in parts]) - self.decay / 2 * x

    def hessian(self, x):
        """Of L + (wd/2)|θ|², −2 times the derivative of the velocity, by complex steps."""
        steps = [self.velocity(x + 1e-30j * unit).imag for unit in np.eye(len(x))]
        return -2 * np.array(steps) / 1e-30

    def at(self, start, times, **options):
        options = {"rtol": 1e-10, "atol": 1e-13} | options
        path = solve_ivp(
            lambda _, x: self.velocity(x),
            (0, times[-1]),
            start,
            "LSODA",
            times,
            **options,
        )
        return path.y.T


def negative_eigenvalues(matrix):
    values = np.linalg.eigvalsh(matrix)
    return int(np.sum(values < -1e-9 * np.max(np.abs(values))))


# Roots of one head


@pytest.mark.parametrize("share", [1e-9, 1e-3, 0.1, 0.5, 0.9, 1 - 1e-6])
def test_roots_are_those_of_the_polynomial(share):
    α, γ = 0.37, 2.9
    decay = share * largest_decay(α, γ)
    roots = np.roots([-α * γ, 0, 0, α, -decay / 2])
    real = np.sort(roots[np.abs(roots.imag) < 1e-6].real)
    found = head_roots(α, γ, decay)
    assert np.allclose(
        [found.threshold, found.stable], real[-2:], rtol=1e-7, atol=1e-15
    )


def test_beyond_the_bound_there_is_no_root_and_without_decay_the_known_one():
    bound = largest_decay(0.4, 1.7)
    assert np.isfinite(head_roots(0.4, 1.7, bound * (1 - 1e-12)).stable)
    assert np.isnan(head_roots(0.4, 1.7, bound * (1 + 1e-12)))[0]
    assert head_roots(0.4, 1.7, 0.0).stable == 1 / np.cbrt(1.7)
    assert head_roots(0.4, 1.7, 0.0).threshold == 0


def test_the_bound_is_the_largest_value_of_the_polynomial():
    α, γ = 0.37, 2.9
    v = np.linspace(0, 1, 1_000_001)
    assert np.isclose(largest_decay(α, γ), 2 * np.max(α * v - α * γ * v**4), rtol=1e-9)


@pytest.mark.parametrize(
    "arguments", [(0, 1, 0.1), (1, -1, 0.1), (1, 1, -0.1), (1, 1, np.nan)]
)
def test_roots_of_impossible_heads_are_refused(arguments):
    with pytest.raises(ValueError, match="finite"):
        head_roots(*arguments)


# Fixed points


@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_separate_points_are_stationary_with_their_index(seed, dimension, heads):
    task, model = random_task(seed, dimension), Separate(heads)
    decay = random_decay(seed, task, model)
    flow = Flow(task, model, decay)
    points = fixed_points(task, model, weight_decay=decay)
    assert len(points) == len(list(points))
    assert [p.loss for p in points] == sorted(p.loss for p in points)
    for point in points:
        x = flow.row(point.weights)
        assert np.max(np.abs(flow.velocity(x))) < 1e-12
        assert np.allclose(flow.map(x), point.M, atol=1e-13)
        assert np.isclose(point.loss, flow.loss.loss(point.M), rtol=1e-12)
        assert np.isclose(flow.loss.c - point.gains.sum(), point.loss, rtol=1e-12)
        assert point.hessian_index == negative_eigenvalues(flow.hessian(x))
        is_saddle = point.hessian_index > 0
        assert point.kind == ("strict saddle" if is_saddle else "local minimum")
        assert point in points
        assert point.subset in points


@given(SEEDS, st.integers(1, 4), st.booleans())
@settings(max_examples=30, deadline=None)
def test_merged_points_are_stationary_with_their_index(seed, dimension, oblique):
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(dimension, dimension))
    task = random_task(seed, dimension)
    if oblique:
        task = Task(
            covariance=root @ root.T + 0.2 * np.eye(dimension),
            teacher_covariance=np.diag(rng.uniform(0.3, 2, dimension)),
            context_length=5,
        )
    model = Merged(3)
    largest = 2 * np.linalg.norm(population(task, model).B)
    decay = rng.uniform(1e-3, 1.2) * largest
    flow = Flow(task, model, decay)
    points = fixed_points(task, model, weight_decay=decay)
    assert points.count == len(list(points)) == (2 if decay < largest else 1)
    for point in points:
        x = flow.row(point.weights)
        assert np.max(np.abs(flow.velocity(x))) < 1e-11 * largest
        assert np.allclose(flow.map(x), point.M, atol=1e-13)
        assert np.isclose(point.loss, flow.loss.loss(point.M), rtol=1e-10)
        assert point.hessian_index == negative_eigenvalues(flow.hessian(x))
    assert points[0].kind == "minimum"


@pytest.mark.parametrize("seed", range(6))
def test_long_descents_end_at_a_listed_point_of_index_zero(seed):
    rng = np.random.default_rng(seed)
    task = random_task(seed, 2)
    model = Separate(int(rng.integers(1, 4)))
    decay = 0.6 * random_decay(seed, task, model)
    flow = Flow(task, model, decay)
    start = rng.normal(size=sum(int(np.prod(shape)) for shape in flow.shapes))
    end = flow.at(start, [0, 3000 / decay])[-1]
    reached = [
        point
        for point in fixed_points(task, model, weight_decay=decay)
        if np.allclose(point.M, flow.map(end), atol=1e-4)
    ]
    assert [point.hessian_index for point in reached] == [0]


def test_the_smaller_root_and_shared_directions_are_saddles():
    task, model, decay = FOUR, Separate(2), 0.02
    flow, loss = Flow(task, model, decay), population(FOUR, model)
    threshold = head_roots(loss.b[0], 1 / loss.coefficients[0], decay).threshold
    # Two heads on a direction: b v − 2aλ v⁴ = wd/2 for each of them.
    shared = head_roots(loss.b[0], 2 / loss.coefficients[0], decay).stable
    for amplitudes in ([threshold, 0.0], [shared, shared]):
        x = np.zeros(2 + 2 * 2 * 4)
        x[:2] = amplitudes
        x[[2, 6]] = x[[10, 14]] = (
            amplitudes  # k and q of both heads along the first direction
        )
        assert np.max(np.abs(flow.velocity(x))) < 1e-14
        assert negative_eigenvalues(flow.hessian(x)) > 0


def test_without_decay_the_points_are_todays_to_the_last_bit():
    for model in (Separate(3), Separate(2, 2), Merged(2)):
        for point, same in itertools.zip_longest(
            fixed_points(FOUR, model), fixed_points(FOUR, model, weight_decay=0)
        ):
            assert point.to_dict() == same.to_dict()
            assert np.array_equal(point.M, same.M)
    course = time_course(FOUR, Merged(2), [0, 5, 50], (0.2, 0.1))
    same = time_course(FOUR, Merged(2), [0, 5, 50], (0.2, 0.1), weight_decay=0.0)
    assert np.array_equal(course.loss, same.loss)


def test_points_approach_those_without_decay_at_first_order():
    for model in (Separate(4), Merged(2)):
        plain = fixed_points(FOUR, model)[0].M
        gaps = [
            np.linalg.norm(fixed_points(FOUR, model, weight_decay=wd)[0].M - plain)
            for wd in (1e-4, 1e-5)
        ]
        assert 9.5 < gaps[0] / gaps[1] < 10.5


def test_equal_directions_are_one_point_that_says_so():
    for basis in (
        np.eye(3),
        np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0],
    ):
        task = Task(
            covariance=basis @ np.diag([1.0, 1.0, 0.4]) @ basis.T, context_length=7
        )
        points = fixed_points(task, Separate(2), weight_decay=0.1)
        assert [(p.subset, p.continuum) for p in points] == [
            ((1, 2), False),
            ((1, 3), True),
            ((1,), True),
            ((3,), False),
            ((), False),
        ]
        flow = Flow(task, Separate(2), 0.1)
        for point in points:
            index = negative_eigenvalues(flow.hessian(flow.row(point.weights)))
            assert point.hessian_index == index


def test_equal_gains_of_different_directions_are_not_a_continuum_under_decay():
    # λω is 1 twice, so gains are equal, but saturations are not.
    task = Task([2.0, 1.0], teacher_covariance=np.diag([0.5, 1.0]), context_length=6)
    assert fixed_points(task, Separate(1)).count == 2
    points = fixed_points(task, Separate(1), weight_decay=0.2)
    assert points.count == 3
    assert not any(point.continuum for point in points)


def test_a_lost_direction_is_refused_with_the_decay_that_it_bears():
    model = Separate(4)
    loss = population(FOUR, model)
    bounds = DecayedRankOne(loss, 0.03).bounds
    assert np.allclose(bounds, 1.5 * loss.b * np.cbrt(loss.coefficients / 4))
    with pytest.raises(ValueError, match=rf"directions \[4\].*below {bounds[3]:.4g}"):
        fixed_point(FOUR, model, (1, 4), weight_decay=0.03)
    assert (1, 4) not in fixed_points(FOUR, model, weight_decay=0.03)
    with pytest.raises(ValueError, match=r"below 2\|B\|"):
        fixed_point(FOUR, Merged(2), (1, 2, 3, 4), weight_decay=3.0)


@pytest.mark.parametrize(
    ("model", "task", "text"),
    [
        (Separate(2, 2), FOUR, "rank 1, not 2"),
        (Separate(2), OBLIQUE, "do not commute"),
    ],
)
def test_what_is_not_known_is_refused(model, task, text):
    with pytest.raises(ValueError, match=text):
        fixed_points(task, model, weight_decay=0.01)


def test_several_outputs_are_refused_under_decay():
    model = Merged(2, outputs=2)
    with pytest.raises(ValueError, match="one output, not 2"):
        refuse_several_outputs(model)


@pytest.mark.parametrize(
    "task",
    [
        Task([2.0, 1.0, 0.0], context_length=5),
        Task(
            [2.0, 1.0, 0.5], teacher_covariance=np.diag([1, 0, 2.0]), context_length=5
        ),
    ],
)
def test_directions_without_a_gain_are_left_out(task):
    for model in (Separate(3), Merged(2)):
        flow = Flow(task, model, 0.05)
        points = fixed_points(task, model, weight_decay=0.05)
        assert points[0].subset == (1, 2)
        for point in points:
            x = flow.row(point.weights)
            assert np.max(np.abs(flow.velocity(x))) < 1e-13
            assert np.isclose(point.loss, flow.loss.loss(point.M), rtol=1e-12)
            assert point.hessian_index == negative_eigenvalues(flow.hessian(x))


def test_singular_covariances_that_do_not_commute_are_refused():
    root = np.array([[1.0, 0.2], [0.3, 1.0], [-0.5, 0.4]])
    task = Task([2.0, 1.0, 0.5], teacher_covariance=root @ root.T, context_length=5)
    for model in (Separate(2), Merged(2)):
        with pytest.raises(ValueError, match="do not commute"):
            fixed_points(task, model, weight_decay=0.05)


class AdamW:
    weight_decay = 0.01

    def init(self, weights): ...
    def update(self, gradients, state, weights): ...


class GradientDescent(AdamW):
    pass


@pytest.mark.parametrize(
    ("decay", "text"),
    [
        ("adam", "no statement about adam"),
        (AdamW(), "no statement about AdamW"),
        (AdamW, "no statement about AdamW"),
        (GradientDescent(), "of an optimiser pass its weight_decay"),
        ("0.01", "must be a number"),
        (-0.1, "zero or more"),
        (np.nan, "zero or more"),
        (np.inf, "finite"),
        (True, "zero or more"),
        (None, "zero or more"),
        ([0.1], "zero or more"),
    ],
)
def test_a_decay_that_is_none_is_refused(decay, text):
    with pytest.raises(ValueError, match=text):
        checked_decay(decay)
    with pytest.raises(ValueError, match=text):
        fixed_points(FOUR, Merged(1), weight_decay=decay)
    with pytest.raises(ValueError, match=text):
        time_course(FOUR, Merged(1), [1.0], 0.1, weight_decay=decay)


def test_displays_name_the_decay():
    points = fixed_points(FOUR, Separate(2), weight_decay=0.03)
    assert "under weight decay 0.03" in repr(points)
    assert "weight decay" in repr(points[0])
    assert points[0].to_dict()["weight_decay"] == 0.03
    assert "weight_decay" not in fixed_points(FOUR, Separate(2))[0].to_dict()


def test_merged_map_without_decay_is_the_minimum():
    loss = population(OBLIQUE, Merged(1))
    assert np.array_equal(merged_map(loss, 0.0), loss.minimum)


# Flows


TIMES = np.array([0.0, 3.0, 20.0, 90.0, 400.0])


@pytest.mark.parametrize("decay", [1e-4, 0.02, 0.3])
@pytest.mark.parametrize("amplitudes", [[0.3, 0.25, 0.0, 0.2], [-0.2, 0.4, 0.1, 0.05]])
def test_separate_amplitudes_follow_the_flow(decay, amplitudes):
    model = Separate(4)
    flow = Flow(FOUR, model, decay)
    v = np.array(amplitudes)
    k = np.diag(np.abs(v))
    start = np.concatenate((v, k.ravel(), k.ravel()))
    losses = [flow.loss.loss(flow.map(x)) for x in flow.at(start, TIMES)]
    course = time_course(FOUR, model, TIMES, v, weight_decay=decay)
    assert np.allclose(course.loss, losses, rtol=1e-7)


@pytest.mark.parametrize("task", [FOUR, OBLIQUE])
def test_separate_weights_follow_the_flow(task):
    model, decay = Separate(3, 2), 0.01
    flow = Flow(task, model, decay)
    rng = np.random.default_rng(0)
    weights = {
        name: 0.4 * rng.normal(size=shape)
        for name, shape in model.shapes(task.dimension).items()
    }
    path = flow.at(flow.row(weights), TIMES)
    M = np.array([flow.map(x) for x in path])
    course = time_course(task, model, TIMES, weights, weight_decay=decay)
    assert course.source == "all heads"
    assert np.allclose(course.loss, flow.loss.loss(M), rtol=1e-6)
    e = flow.loss.directions if flow.loss.is_aligned else task.eigenvectors
    diagonals = np.einsum("id,tij,jd->td", e, M, e)
    assert np.allclose(course.coefficients, diagonals, atol=1e-6)


def test_rank_two_amplitudes_follow_the_flow():
    model, decay = Separate(2, 2), 0.02
    flow = Flow(FOUR, model, decay)
    κ = np.array([0.3, 0.2, 0.25, 0.1])
    v = [np.hypot(0.3, 0.2), np.hypot(0.25, 0.1)]
    k = np.diag(κ).reshape(2, 2, 4)
    start = np.concatenate((v, k.ravel(), k.ravel()))
    losses = [flow.loss.loss(flow.map(x)) for x in flow.at(start, TIMES)]
    course = time_course(FOUR, model, TIMES, κ, weight_decay=decay)
    assert np.allclose(course.loss, losses, rtol=1e-7)


@pytest.mark.parametrize("task", [FOUR, OBLIQUE])
@pytest.mark.parametrize("decay", [0.01, 0.5, 20.0])
def test_merged_amplitudes_follow_the_flow(task, decay):
    model = Merged(1)
    flow = Flow(task, model, decay)
    w0 = 0.1
    B = flow.loss.B
    start = w0 * np.concatenate(([1.0], (B / np.linalg.norm(B)).ravel()))
    losses = [flow.loss.loss(flow.map(x)) for x in flow.at(start, TIMES)]
    weights = {"value": np.zeros((1, task.dimension + 1))}
    size = task.dimension + 1
    weights["key_query"] = np.zeros((1, size, size))
    weights["value"][0, -1] = w0
    weights["key_query"][0, :-1, :-1] = w0 * B / np.linalg.norm(B)
    course = time_course(task, model, TIMES, weights, weight_decay=decay)
    assert np.allclose(course.loss, losses, rtol=1e-7)
    if task is FOUR:
        same = time_course(task, model, TIMES, w0, weight_decay=decay)
        assert np.allclose(same.loss, losses, rtol=1e-7)


@pytest.mark.parametrize("decay", [0.02, 2.0, 1e9])
@pytest.mark.parametrize("start", [1e-90, 1e-3, 0.4])
def test_courses_end_at_a_fixed_point_or_at_zero(decay, start):
    separate = time_course(FOUR, Separate(4), [1e6, 1e30], start, weight_decay=decay)
    roots = head_roots(
        population(FOUR, Separate(4)).b,
        1 / population(FOUR, Separate(4)).coefficients,
        decay,
    )
    survives = start > roots.threshold  # nan: no
    expected = np.where(survives, roots.stable, 0.0)
    assert np.allclose(separate.amplitudes, expected, atol=1e-8)

    merged = time_course(FOUR, Merged(2), [1e6, 1e30], start, weight_decay=decay)
    point = fixed_points(FOUR, Merged(2), weight_decay=decay)[0]
    assert np.allclose(merged.loss, point.loss, rtol=1e-8)


def test_unbalanced_heads_become_balanced_at_the_rate_of_the_decay():
    decay = 0.05
    v, κ = low_rank_amplitudes(TIMES, 0.5, [0.3], [0.2], [0.3], weight_decay=decay)
    unbalanced = v**2 - κ[:, 0] ** 2
    expected = unbalanced[0] * np.exp(-decay * TIMES)
    assert np.allclose(unbalanced, expected, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("decay", [0.05, 1e5])
def test_times_long_after_the_flow_has_come_to_rest_cost_no_steps(decay):
    """An explicit method takes a step for every few units of the fastest rate, for ever."""
    model = Separate(2)
    task = Task([2.0, 1.0], context_length=10)
    rng = np.random.default_rng(1)
    weights = {n: 0.4 * rng.normal(size=s) for n, s in model.shapes(2).items()}
    times = [0.0, 300.0, 1e4, 1e12, 1e18]
    course = time_course(task, model, times, weights, weight_decay=decay)
    levels = [point.loss for point in fixed_points(task, model, weight_decay=decay)]
    assert np.min(np.abs(course.loss[-1] - levels)) < 1e-8
    assert course.loss[-2] == course.loss[-1]
    first = time_course(task, model, times[:2], weights, weight_decay=decay)
    assert np.allclose(first.loss, course.loss[:2], rtol=1e-7)


def test_the_jacobian_of_the_decayed_flow_is_its_slope():
    task, rng = OBLIQUE, np.random.default_rng(0)
    shapes = (3,), (3, 2, 2), (3, 2, 2)
    heads = SeparateHeads(*[rng.normal(size=shape) for shape in shapes])
    flow = _Flow(population(task, Separate(3, 2)), heads, size=0.7, unit=1.3, δ=0.2)
    x = rng.normal(size=27)
    slopes = [flow.rate(x + 1e-6 * e) - flow.rate(x - 1e-6 * e) for e in np.eye(27)]
    jacobian = flow.jacobian(x)
    assert np.allclose(jacobian, np.transpose(slopes) / 2e-6, rtol=1e-6, atol=1e-7)
    assert np.allclose(jacobian, jacobian.T, rtol=1e-13, atol=1e-13)


def test_weights_that_are_too_large_to_follow_are_refused():
    model = Separate(1)
    weights = {name: np.full(shape, 1e5) for name, shape in model.shapes(4).items()}
    with pytest.raises(ValueError, match="too large"):
        time_course(FOUR, model, [1.0], weights, weight_decay=0.1)


def test_the_merged_map_is_found_next_to_the_decay_that_leaves_none():
    """In one dimension |M| = (b − wd/2)/(aλ) exactly, so that the bounds of the search are its root."""
    loss = population(Task([0.7], context_length=3), Merged(1))
    b, curvature = float(loss.b[0]), float((loss.a * loss.lam)[0])
    for share in (1e-12, 1e-3, 0.5, 1 - 1e-6, 1 - 1e-9):
        M = merged_map(loss, 2 * b * share)
        assert np.isclose(M[0, 0], (b - b * share) / curvature, rtol=1e-6)


def test_there_is_no_staircase_under_decay():
    model = Separate(2)
    weights = {name: np.full(shape, 0.01) for name, shape in model.shapes(4).items()}
    with pytest.raises(ValueError, match="no staircase under weight decay"):
        staircase(FOUR, model, weights, weight_decay=0.01)
    with pytest.raises(ValueError, match="no statement about adam"):
        staircase(FOUR, model, weights, weight_decay="adam")
