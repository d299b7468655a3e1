"""The staircase from weights of every kind, against the flow of all heads and what must hold exactly."""

from pathlib import Path

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from attndyn import Separate, Task
from attndyn.theory import SensitiveStaircaseWarning, population, staircase, time_course
from attndyn.theory.linear_attention.saddle_to_saddle.equal_heads import distinct_heads
from attndyn.theory.linear_attention.saddle_to_saddle.escapes import SeparateHeads

KEPT = Path(__file__).parents[3] / "data" / "staircases.npz"
ZEROS, EQUAL = "rests on exact zeros", "rests on exactly equal heads or on a ridge"


def read():
    """Tasks of twelve kinds, weights, and when a direct integration at 1e-12 passes the levels between plateaus."""
    with np.load(KEPT) as file:
        numbers = sorted({name.split("_", 1)[0] for name in file.files})
        return [
            {
                name.split("_", 1)[1]: file[name][()]
                for name in file.files
                if name.startswith(f"{number}_")
            }
            for number in numbers
        ]


CASES = read()


def weights(value, key, query):
    """Full-size weights by name of rank-one heads (H,), (H, D), (H, D), and their model."""
    value, key, query = (np.asarray(part, dtype=float) for part in (value, key, query))
    model = Separate(heads=len(value))
    full = {name: np.zeros(shape) for name, shape in model.shapes(key.shape[1]).items()}
    full["value"][:, -1], full["key"][:, 0, :-1], full["query"][:, 0, :-1] = (
        value,
        key,
        query,
    )
    return model, full


def problem(case):
    teacher = case["teacher"] if case["teacher"].ndim == 2 else np.diag(case["teacher"])
    task = Task(
        covariance=np.diag(case["eigenvalues"]),
        teacher_covariance=teacher,
        noise_variance=float(case["noise"]),
        context_length=int(case["n"]),
    )
    return task, *weights(case["value"], case["key"], case["query"])


def integrated(task, model, full, last):
    """Loss and maps of each head as functions of flow time, from the flow of all heads by LSODA."""
    moments = population(task, model)
    H, D = model.head_count, task.dimension
    v, k, q = full["value"][:, -1], full["key"][:, 0, :-1], full["query"][:, 0, :-1]

    def maps(x):
        return np.einsum("h,hi,hj->hij", x[:H], *x[H:].reshape(2, H, D))

    def rate(_, x):
        (key, query), value = x[H:].reshape(2, H, D), x[:H, None]
        G = moments.B - moments.A @ maps(x).sum(axis=0) @ moments.Lambda
        towards_key = query @ G.T
        slopes = (
            np.sum(key * towards_key, axis=1),
            value * towards_key,
            value * (key @ G),
        )
        return np.concatenate([slope.ravel() for slope in slopes])

    start = np.concatenate([v, k.ravel(), q.ravel()])
    path = solve_ivp(
        rate, (0, last), start, "LSODA", rtol=1e-11, atol=1e-15, dense_output=True
    )
    return lambda t: float(moments.loss(maps(path.sol(t)).sum(axis=0))), lambda t: maps(
        path.sol(t)
    )


@pytest.mark.parametrize("number", range(len(CASES)))
def test_exit_times_are_those_of_the_flow_for_every_kind_of_start(number):
    case = CASES[number]
    steps, made = staircase(*problem(case)), np.isfinite(case["times"])
    assert np.array_equal(np.isfinite(steps.exit_times), made)
    exits, right = steps.exit_times[made], case["times"][made]
    assert exits == pytest.approx(right, rel=1e-5)
    assert exits != pytest.approx(right * (1 + 2e-5), rel=1e-5)  # control
    assert steps.loss(exits) == pytest.approx(case["levels"][made], abs=1e-12)
    assert steps.loss([case["until"]])[0] == pytest.approx(
        float(case["final"]), abs=1e-9
    )
    assert (
        len(steps.directions)
        == len(steps.heads)
        == len(steps.kinds)
        == len(steps.drop_times)
    )
    assert np.all(np.diff(steps.plateaus) < 0)


@pytest.mark.parametrize("number", [0, 1, 4, 6, 11, 13, 22])
def test_loss_and_heads_between_exits_are_those_of_an_independent_integration(number):
    task, model, full = problem(CASES[number])
    steps = staircase(task, model, full)
    last = 1.02 * steps.drop_times[-1] + 50
    loss, maps = integrated(task, model, full, last)
    times = np.unique(
        np.concatenate(
            [
                np.linspace(0, last, 60),
                np.outer(steps.drop_times, 1 + 0.01 * np.arange(-4, 5)).ravel(),
            ]
        )
    )
    times = times[times <= last]
    assert steps.loss(times) == pytest.approx(
        np.array([loss(t) for t in times]), abs=2e-4
    )
    between = np.append(
        (steps.drop_times + np.append(0.0, steps.drop_times[:-1])) / 2, last
    )
    moved = np.diff([maps(t) for t in between], axis=0)
    assert np.argmax(np.linalg.norm(moved, axis=(2, 3)), axis=1).tolist() == list(
        steps.heads
    )


@pytest.mark.parametrize(
    ("kind", "verdict"),
    [
        ("stuck value", ZEROS),
        ("stuck key", ZEROS),
        ("mirror heads", EQUAL),
        ("generic", "determined"),
    ],
)
def test_what_exit_times_rest_on(kind, verdict):
    for case in CASES:
        if case["kind"] == kind:
            steps = staircase(*problem(case))
            assert steps.verdict == verdict
            assert (
                f"{steps.uncertainty:.0e}" if verdict == "determined" else verdict
            ) in repr(steps)
            assert steps.uncertainty <= 5e-5


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["kind"])
def test_the_uncertainty_covers_the_error(case):
    steps = staircase(*problem(case))
    made = np.isfinite(case["times"])
    assert (
        np.max(np.abs(steps.exit_times[made] / case["times"][made] - 1), initial=0.0)
        <= steps.uncertainty
    )


PAIR = Task(eigenvalues=[0.6, 0.4], context_length=20)


def test_the_same_heads_give_the_same_curve_as_weights_and_as_amplitudes():
    model, full = weights([0.05, 0.03], np.diag([0.05, 0.03]), np.diag([0.05, 0.03]))
    times = np.linspace(0, 400, 101)
    named = time_course(PAIR, model, times, full)
    closed = time_course(PAIR, model, times, np.array([0.05, 0.03]))
    assert named.loss == pytest.approx(closed.loss, abs=3e-4)
    assert named.amplitudes[-1] == pytest.approx(closed.amplitudes[-1], rel=1e-5)


def test_a_time_course_warns_where_it_holds_for_exactly_these_weights_only():
    generator = np.random.default_rng(5)
    k, q = generator.normal(size=(2, 1, 2))
    with pytest.warns(SensitiveStaircaseWarning, match="equal heads"):
        time_course(
            PAIR,
            *_with_times(
                weights(
                    [1e-2, -1e-2],
                    1e-2 * np.tile(k, (2, 1)),
                    1e-2 * np.array([q[0], -q[0]]),
                )
            ),
        )
    with pytest.warns(SensitiveStaircaseWarning, match="exact zeros") as caught:
        time_course(PAIR, *_with_times(weights([1e-2], [[0, 1e-2]], [[0, 1e-2]])))
    assert caught[0].filename == __file__


def _with_times(problem):
    model, full = problem
    return model, [0.0, 10.0], full


def test_a_direction_that_no_head_has_is_never_learned():
    model, full = weights([1e-3, 0], [[0, 1e-3], [0, 0]], [[0, 1e-3], [0, 0]])
    steps = staircase(PAIR, model, full)
    assert (np.isfinite(steps.exit_times).tolist(), steps.subsets) == (
        [True, False],
        ((), (2,)),
    )
    assert steps.loss([1e9])[0] == pytest.approx(
        steps.moments.c - steps.moments.gains[1], abs=1e-9
    )
    assert steps.verdict == ZEROS


def test_a_large_head_that_cannot_move_hides_nothing():
    small = 1e-5 * np.random.default_rng(0).normal(size=5)
    model, full = weights([0.1, small[0]], [[0, 0], small[1:3]], [[0, 0], small[3:]])
    alone, its = weights([small[0]], [small[1:3]], [small[3:]])
    steps, other = staircase(PAIR, model, full), staircase(PAIR, alone, its)
    assert steps.exit_times[0] == pytest.approx(other.exit_times[0], rel=1e-9)
    assert (steps.verdict, other.verdict, steps.heads) == (ZEROS, "determined", (1,))


def test_a_head_on_a_ridge_never_leaves_and_says_so():
    one = Task(eigenvalues=[1.0], context_length=20)
    steps = staircase(one, *weights([-1e-3], [[2e-3]], [[1e-3]]))
    assert (steps.exit_times.tolist(), steps.verdict) == ([np.inf], EQUAL)
    beside = staircase(one, *weights([-1e-3], [[2e-3]], [[1.001e-3]]))
    assert (np.isfinite(beside.exit_times[0]), beside.verdict) == (True, "determined")


def test_nothing_moves_where_all_weights_are_zero():
    steps = staircase(PAIR, *weights(np.zeros(2), np.zeros((2, 2)), np.zeros((2, 2))))
    assert (steps.exit_times.tolist(), steps.verdict, steps.subsets) == (
        [np.inf] * 2,
        ZEROS,
        ((),),
    )
    assert steps.loss([0.0, 1e6]) == pytest.approx(np.full(2, steps.moments.c))


FOUR = Task(eigenvalues=[0.4, 0.3, 0.2, 0.1], context_length=31)


def random_heads(scale=1.0, seed=3):
    generator = np.random.default_rng(seed)
    return [scale * generator.normal(size=shape) for shape in ((5,), (5, 4), (5, 4))]


def test_exit_times_times_the_scale_converge_down_to_scales_whose_squares_underflow():
    limit = 1e-12 * staircase(FOUR, *weights(*random_heads(1e-12))).exit_times
    for scale in (1e-4, 1e-8, 1e-150, 1e-200):
        exits = (
            scale
            * staircase(FOUR, *weights(*random_heads(scale)), verify=False).exit_times
        )
        assert exits == pytest.approx(limit, rel=3 * scale + 1e-7)


def test_signs_and_order_of_heads_do_not_matter():
    v, k, q = random_heads(1e-3)
    generator = np.random.default_rng(0)
    (s, u), order = np.sign(generator.normal(size=(2, 5))), generator.permutation(5)
    steps = staircase(FOUR, *weights(v, k, q))
    other = staircase(
        FOUR,
        *weights((v * s * u)[order], (k * s[:, None])[order], (q * u[:, None])[order]),
    )
    assert other.exit_times == pytest.approx(steps.exit_times, rel=1e-12)
    assert [order[head] for head in other.heads] == list(steps.heads)


@pytest.mark.parametrize("unit", [1e-10, 1e5])
def test_units_of_the_covariance_do_not_matter(unit):
    """Λ → u Λ makes the same run of weights in units of u^{-1/3} and of times in units of u^{-5/3}."""
    heads = random_heads(1e-3)
    steps = staircase(FOUR, *weights(*heads))
    scaled = Task(eigenvalues=unit * np.array([0.4, 0.3, 0.2, 0.1]), context_length=31)
    other = staircase(scaled, *weights(*(part * unit ** (-1 / 3) for part in heads)))
    assert other.exit_times * unit ** (5 / 3) == pytest.approx(
        steps.exit_times, rel=1e-8
    )


def test_large_weights_are_followed_by_an_implicit_method():
    task, (model, full) = FOUR, weights(*random_heads(8.0))
    steps = staircase(task, model, full)
    last = 2 * steps.exit_times[-1]
    loss, _ = integrated(task, model, full, last)
    times = np.geomspace(0.01 * last, last, 40)
    assert steps.loss(times) == pytest.approx(
        np.array([loss(t) for t in times]), abs=1e-7
    )
    with pytest.raises(ArithmeticError, match="not computed"):
        staircase(task, *weights(*random_heads(300.0)))


@pytest.mark.parametrize("gap", [1e-3, 1e-6, 1e-10, 0.0])
def test_near_ties_are_turned_within_as_slowly_as_they_are(gap):
    """At scale 1e-2 the flow can be integrated as it stands."""
    v, k, q = (part[:, :3] if part.ndim == 2 else part for part in random_heads(1e-2))
    task = Task(eigenvalues=[0.4, 0.4 * (1 - gap), 0.1], context_length=31)
    model, full = weights(v, k, q)
    steps = staircase(task, model, full)
    loss, _ = integrated(task, model, full, 1.1 * steps.exit_times[-1])
    assert np.array([loss(t) for t in steps.exit_times]) == pytest.approx(
        steps.loss(steps.exit_times), abs=1e-3
    )
    assert steps.verdict == "determined"


def test_equal_heads_are_one_up_to_signs():
    generator = np.random.default_rng(0)
    v, k, q = (
        generator.normal(size=2),
        generator.normal(size=(2, 2, 3)),
        generator.normal(size=(2, 2, 3)),
    )
    pair_signs = np.array([-1.0, 1.0])[:, None]
    twins = SeparateHeads(
        np.array([v[0], -v[0], v[1], v[0]]),
        np.stack([k[0], k[0], k[1], k[0] * pair_signs]),
        np.stack([q[0], -q[0], q[1], q[0] * pair_signs]),
    )
    heads, first, copies = distinct_heads(twins)
    assert sorted(zip(first.tolist(), copies.tolist(), strict=True)) == [
        (0, 3.0),
        (2, 1.0),
    ]
    assert heads.maps() == pytest.approx(twins.maps()[first])
    without_value = SeparateHeads(
        np.zeros(2), np.stack([k[0], k[0]]), np.stack([q[0], q[0] * pair_signs])
    )
    assert (
        len(distinct_heads(without_value)[1]) == 2
    )  # control: one pair's sign is not free


def test_at_near_ties_no_head_takes_more_directions_than_it_can_hold():
    """Two heads drop together and turn: at both levels the same one moves most, and in the end each holds one."""
    task, draw = (
        Task(eigenvalues=[1.0, 1.0 - 2e-6], context_length=30),
        np.random.default_rng(323),
    )
    value, key, query = (
        0.02 * draw.standard_normal(shape) for shape in (3, (3, 2), (3, 2))
    )
    steps = staircase(task, *weights(value, key, query), verify=False)
    held = steps.curve.head_shares(np.array([np.inf]))[0][
        np.argsort(steps.curve.first)
    ]  # (H, D)
    first, second = steps.heads
    there = [direction - 1 for direction in steps.directions]
    assert (
        held[first, there[0]] + held[second, there[1]]
        > held[first, there[1]] + held[second, there[0]]
    )
    assert steps.kinds == ("long", "long")
