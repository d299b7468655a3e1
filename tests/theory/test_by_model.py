"""Time courses and fixed points of several outputs come from their wing, in the places of those of one output."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare import match_plateaus, overlay
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import sample, statistics, train
from attndyn.teachers import Gaussian
from attndyn.theory import TimeCourse, fixed_point, fixed_points, time_course

MODES = Task(
    [2, 1, 0.5, 0.25], teachers=Gaussian.shared_basis([1] * 4), context_length=20
)
LAYER = Merged(heads=1, outputs=4)
KRONECKER = Task(
    [2, 1, 0.5],
    teachers=Gaussian.kronecker(np.diag([1, 0.5]), np.eye(3)),
    context_length=10,
    noise_variance=0.1,
)


def weights(model, dimension, p, q):
    start = {name: np.zeros(shape) for name, shape in model.shapes(dimension).items()}
    start["value"][0, :, dimension:] = p
    start["key_query"][0, :dimension, :dimension] = q
    return start


def descent(task, model, start, *, learning_rate, steps, record=None):
    return train(
        model,
        population_statistics(task, model),
        start,
        learning_rate=learning_rate,
        steps=steps,
        record=record,
    )


@pytest.fixture(scope="module")
def staircase():
    """Descent on the exact moments from balanced small modes."""
    start = weights(LAYER, 4, 1e-3 * np.eye(4), 1e-3 * np.eye(4))
    return descent(MODES, LAYER, start, learning_rate=0.05, steps=2500, record=1)


def test_plateaus_of_a_run_are_matched_to_subsets_of_modes(staircase):
    subsets = [(), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)]
    matches = match_plateaus(fixed_points(MODES, LAYER), staircase)
    assert [match.subset for match in matches] == subsets
    expected = [fixed_point(MODES, LAYER, subset) for subset in subsets]
    again = match_plateaus(expected, staircase)
    assert [match.subset for match in again] == subsets


def last_blocks(run):
    """p2 and q1 at the end."""
    last = {name: value[-1] for name, value in run.weights.items()}
    return last["value"][0, :, 4:], last["key_query"][0, :4, :4]


@pytest.mark.parametrize("pair", ["p2 and q1", "p1 and q2", "mixed"])
def test_signs_and_pairs_of_blocks_do_not_matter(staircase, pair):
    """A mode is held by p2 and q1 or by p1 and q2, and by both of either sign: the fixed point is the same."""
    p, q = (np.diag(block) for block in last_blocks(staircase))
    for flipped in ([1, 1, 1, -1], [-1, 1, -1, 1], [-1, -1, -1, -1]):
        start = weights(LAYER, 4, np.diag(p * flipped), np.diag(q * flipped))
        held = {"p2 and q1": [], "p1 and q2": [0, 1, 2, 3], "mixed": [1, 3]}[pair]
        value, key_query = start["value"][0], start["key_query"][0]
        for mode in held:
            value[mode, [mode, mode + 4]] = value[mode, [mode + 4, mode]]
            key_query[[mode, mode + 4], mode] = key_query[[mode + 4, mode], mode]
        data = statistics(sample(MODES, 50), LAYER)
        run = train(LAYER, data, start, learning_rate=1e-12, steps=20, record=1)
        (match,) = match_plateaus([fixed_point(MODES, LAYER, (1, 2, 3, 4))], run)
        assert match.is_near
        assert match.map_gap < 0.01


def test_maps_off_the_modes_are_far_from_every_point(staircase):
    last = {name: value[-1] for name, value in staircase.weights.items()}
    p, q = last["value"][0, :, 4:], last["key_query"][0, :4, :4]
    points = [fixed_point(MODES, LAYER, (1, 2, 3, 4))]
    gaps = []
    # The outputs of two modes exchanged leave no entry where the points have theirs.
    for rows in ([0, 1, 2, 3], [1, 0, 2, 3]):
        start = weights(LAYER, 4, p[rows], q)
        run = descent(MODES, LAYER, start, learning_rate=1e-9, steps=20, record=1)
        gaps.append(match_plateaus(points, run)[0].map_gap)
    assert gaps[0] < 0.01
    assert gaps[1] > 0.3


def test_the_gap_of_a_course_to_descent_is_of_first_order_in_the_rate():
    start = weights(LAYER, 4, 0.1 * np.eye(4), 0.1 * np.eye(4))
    gaps = []
    for rate in (0.01, 0.005):
        run = descent(MODES, LAYER, start, learning_rate=rate, steps=int(4 / rate))
        gaps.append(overlay(time_course(MODES, LAYER, run.flow_time, 0.1), run).sup_gap)
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(1.0, abs=0.1)


def test_weights_and_amplitudes_start_one_course():
    p, q = np.array([0.1, -0.2, 0.3, 0.1]), np.array([0.2, 0.1, 0.1, 0.3])
    times = [0.0, 1.0, 10.0]
    by_modes = time_course(MODES, LAYER, times, (p, q))
    start = weights(LAYER, 4, np.diag(p), np.diag(q))
    by_weights = time_course(MODES, LAYER, times, start)
    assert by_weights.loss == pytest.approx(by_modes.loss, rel=1e-9)
    assert by_weights.coefficients == pytest.approx(by_modes.coefficients, abs=1e-8)
    assert (by_modes.source, by_weights.source) == ("modes", "whole layer")


def test_a_course_of_kronecker_teachers_follows_descent_from_any_weights():
    model = Merged(heads=1, outputs=2)
    generator = np.random.default_rng(0)
    p, q = 0.3 * generator.normal(size=(2, 2)), 0.3 * generator.normal(size=(3, 3))
    start = weights(model, 3, p, q)
    gaps = []
    for rate in (0.01, 0.005):
        run = descent(KRONECKER, model, start, learning_rate=rate, steps=int(6 / rate))
        course = time_course(KRONECKER, model, run.flow_time, start)
        gaps.append(overlay(course, run).sup_gap)
    assert np.log2(gaps[0] / gaps[1]) == pytest.approx(1.0, abs=0.1)


def test_kronecker_teachers_are_learned_in_one_drop():
    model = Merged(heads=1, outputs=2)
    points = fixed_points(KRONECKER, model)
    assert [point.kind for point in points] == ["minimum", "strict saddle"]
    assert fixed_point(KRONECKER, model, (1, 2, 3)).subset == (1, 2, 3)
    times = np.linspace(0, 60, 200)
    course = time_course(KRONECKER, model, times, 1e-3)
    assert course.loss[[0, -1]] == pytest.approx(
        [points[1].loss, points[0].loss], rel=1e-4
    )
    start = weights(model, 3, *small_mode())
    run = descent(KRONECKER, model, start, learning_rate=0.01, steps=3000, record=1)
    assert [match.subset for match in match_plateaus(points, run)] == [(), (1, 2, 3)]


@pytest.mark.parametrize("wrong", [1, [1], ["1"], [(1.5,)], [(True,)]])
def test_an_assignment_is_a_sequence_of_sequences(wrong):
    task = Task([2, 1], context_length=5)
    with pytest.raises(
        ValueError, match=r"an assignment is a sequence of .* \[\(1,\), \(2"
    ):
        fixed_point(task, Separate(2), (1,), assignment=wrong)
    assert fixed_point(task, Separate(2), (), assignment=[]).subset == ()
    points = fixed_points(KRONECKER, Merged(heads=1, outputs=2))
    with pytest.raises(ValueError, match="all 3 are learned at once"):
        points.of(1, "a")


def test_a_number_is_no_subset():
    for task, model in (
        (MODES, LAYER),
        (KRONECKER, Merged(heads=1, outputs=2)),
        (Task([2, 1], context_length=5), Separate(2)),
    ):
        for wrong in (1, "12", None):
            with pytest.raises(
                ValueError, match=r"a subset is a sequence .* such as \(1,\)"
            ):
                fixed_point(task, model, wrong)


def small_mode():
    """p and q along the unstable mode of the Kronecker task."""
    Γ, Λ = np.diag([1, 0.5]), np.diag([2, 1, 0.5])
    return 1e-3 * Γ / np.linalg.norm(Γ), 1e-3 * Λ @ Λ / np.linalg.norm(Λ @ Λ)


def test_the_unstable_mode_is_that_of_the_gradient_near_zero():
    model = Merged(heads=1, outputs=2)
    start = weights(model, 3, *small_mode())
    by_weights = time_course(KRONECKER, model, [0.0, 3.0], start)
    by_number = time_course(KRONECKER, model, [0.0, 3.0], 1e-3)
    assert by_number.loss == pytest.approx(by_weights.loss, rel=1e-12)


@pytest.mark.parametrize("seed", range(12))
def test_one_filter_is_stationary_on_random_kronecker_teachers(seed):
    generator = np.random.default_rng(seed)
    K, D = generator.integers(2, 6, size=2)
    spread = np.exp(3 * generator.normal(size=K)), np.exp(3 * generator.normal(size=D))
    task = Task(
        np.exp(2 * generator.normal(size=D)),
        teachers=Gaussian.kronecker(np.diag(spread[0]), np.diag(spread[1])),
        context_length=int(generator.integers(1, 30)),
        noise_variance=float(np.exp(3 * generator.normal())),
    )
    assert len(fixed_points(task, Merged(heads=1, outputs=int(K)))) == 2


def test_a_course_of_several_outputs_is_written_and_read(tmp_path):
    course = time_course(MODES, LAYER, [0.0, 5.0], 0.1)
    again = TimeCourse.load(course.save(tmp_path / "course.npz"))
    assert again.to_dict() == course.to_dict()
    assert again.settings == course.settings


REFUSED = {
    "no basis": (lambda: fixed_points(MODES, Merged(1)), "the task has 4 outputs"),
    "heads": (lambda: time_course(MODES, Merged(2, outputs=4), [1], 0.1), "one head"),
    "separate": (lambda: fixed_points(MODES, Separate(2)), "merged"),
    "decay": (lambda: fixed_points(MODES, LAYER, weight_decay=0.1), "weight decay"),
    "amplitudes": (lambda: time_course(MODES, LAYER, [1], [1, 2, 3]), "a pair"),
    "sizes": (lambda: time_course(MODES, LAYER, [1], (0.1, [1, 2])), "start"),
    "names": (lambda: time_course(MODES, LAYER, [1], {"value": 1}), "has weights"),
    "pair": (
        lambda: time_course(KRONECKER, Merged(1, outputs=2), [1], (0.1, 0.1)),
        "one number",
    ),
    "subset": (
        lambda: fixed_point(KRONECKER, Merged(1, outputs=2), (1,)),
        "all 3 are learned at once",
    ),
    "assignment": (
        lambda: fixed_point(MODES, LAYER, (1,), [(1,)]),
        "no assignment",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_it_cannot_honour_is_refused(case):
    call, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        call()
