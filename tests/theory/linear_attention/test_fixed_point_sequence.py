"""The fixed points of a model as a lazy sequence: indices, slices, number and membership against the whole list."""

import pickle
from itertools import islice
from math import comb

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.theory import fixed_point, fixed_points
from attndyn.theory.linear_attention.subsets import count_subsets, subsets_by_loss

TASK = Task(eigenvalues=[4, 3, 2, 2], trace=1.0, context_length=31)
MODELS = [Merged(heads=3), Separate(heads=2), Separate(heads=4), Separate(2, rank=3)]


def subsets(points):
    return [point.subset for point in points]


@pytest.mark.parametrize("model", MODELS)
def test_indices_and_slices_are_those_of_the_list(model):
    points = fixed_points(TASK, model)
    whole = subsets(points)
    assert len(points) == points.count == len(whole)
    for index in (0, 1, -1, -len(whole)):
        assert points[index].subset == whole[index]
    for part in (slice(2), slice(1, None, 2), slice(None, None, -1), slice(-3, None)):
        assert subsets(points[part]) == whole[part]
    assert points[5:2] == ()
    assert subsets(points[1:][:2]) == whole[1:3]
    for index in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError, match=f"{len(whole)} fixed points"):
            points[index]


def test_it_can_be_read_more_than_once():
    points = fixed_points(TASK, Separate(heads=4))
    assert subsets(points) == subsets(points)
    assert [next(points).subset, next(points).subset] == subsets(points[:2])


@pytest.mark.parametrize("seed", range(5))
def test_their_number_is_that_of_the_choices(seed):
    rng = np.random.default_rng(seed)
    gains = np.sort(rng.integers(1, 4, size=7) / 8)[::-1]
    for limit in range(8):
        choices = list(subsets_by_loss(1.0, gains, limit))
        assert count_subsets(gains, limit) == len(choices)


def test_astronomically_many_are_counted_exactly_and_reached_from_the_front():
    task = Task(np.linspace(1, 2, 100), context_length=20)
    points = fixed_points(task, Separate(heads=70))
    assert points.count == sum(comb(100, k) for k in range(71))
    with pytest.raises(OverflowError, match="more than len can say: use count"):
        len(points)
    assert points[3].subset == next(islice(iter(points), 3, None)).subset
    assert [point.subset for point in points[-3:]] == [(99,), (100,), ()]
    assert points[points.count - 1].loss == points[-1].loss == points.population.c
    assert subsets(points[:: points.count - 1]) == [tuple(range(1, 71)), ()]
    with pytest.raises(OverflowError, match="between this one and the nearer end"):
        points[points.count // 2]
    assert bool(points)
    assert len(repr(points).splitlines()) < 24


def test_membership_is_that_of_directions():
    points = fixed_points(TASK, Separate(heads=2))
    assert (1, 3) in points
    assert (2, 4) in points  # of equal gains one stands for all
    assert points[2] in points
    assert fixed_point(TASK, Separate(heads=3), (1,)) not in points
    for stranger in ((1, 2, 3), (1, 9), 3, "text", None):
        assert stranger not in points


@pytest.mark.parametrize("model", MODELS)
def test_a_point_is_named_by_its_directions(model):
    points = fixed_points(TASK, model)
    for point in points:
        named = points.of(*point.subset)
        assert named.to_dict() == point.to_dict()
    backwards = points.of(*points[0].subset[::-1])
    assert backwards.subset == points[0].subset
    assert points.of().loss == points.population.c


def test_points_that_do_not_exist_are_refused():
    points = fixed_points(TASK, Separate(heads=2))
    with pytest.raises(ValueError, match=r"no fixed point with exactly .*\[1, 2, 3\]"):
        points.of(1, 2, 3)
    with pytest.raises(ValueError, match="no fixed point with exactly"):
        fixed_points(TASK, Merged(heads=1)).of(1, 3)
    for senseless in ((0,), (5,), (1, 1), ((1, 3),), ("1",), (1.0,)):
        with pytest.raises(ValueError, match="distinct directions from 1 to 4"):
            points.of(*senseless)
    decayed = fixed_points(TASK, Separate(heads=2), weight_decay=0.2)
    with pytest.raises(ValueError, match="leaves"):
        decayed.of(4)


@pytest.mark.parametrize("weight_decay", [0.0, 0.01, 0.1])
@pytest.mark.parametrize("model", [Merged(heads=3), Separate(heads=2), Separate(4)])
def test_both_ends_meet(model, weight_decay):
    points = fixed_points(TASK, model, weight_decay=weight_decay)
    whole = subsets(points)
    indices = range(len(whole))
    assert [points[index].subset for index in indices] == whole
    assert [points[-1 - index].subset for index in indices] == whole[::-1]


def test_a_slice_is_a_table():
    points = fixed_points(TASK, Separate(heads=4))
    title, *rows = repr(points[:3]).splitlines()
    assert title.startswith("3 fixed points of Separate(heads=4")
    assert rows[1].startswith("  2: {1, 2, 3}")
    assert "<table>" in points[:3]._repr_html_()
    many = fixed_points(Task(np.arange(1, 7), context_length=9), Separate(heads=6))
    assert "52 more" in repr(many[:])
    assert repr(points[5:2]) == "0 fixed points"


def test_an_interrupted_enumeration_starts_anew(monkeypatch):
    points = fixed_points(TASK, Separate(heads=4))
    whole = subsets(points)
    points[1]

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("heapq.heappop", interrupted)
        with pytest.raises(KeyboardInterrupt):
            points[3]
    assert points[3].subset == whole[3]


def test_a_copy_has_the_same_points():
    points = fixed_points(TASK, Separate(heads=4), weight_decay=0.01)
    points[2]
    copied = pickle.loads(pickle.dumps(points))
    assert subsets(copied) == subsets(points)
    assert copied.weight_decay == points.weight_decay


def test_levels_are_drawn_over_their_index():
    points = fixed_points(TASK, Separate(heads=4))
    ax = points.plot(limit=5, color="black")
    (segments,) = [line.get_segments() for line in ax.collections]
    drawn = [(segment[:, 0].mean(), segment[0, 1]) for segment in segments]
    expected = [(point.hessian_index, point.loss) for point in points[:5]]
    assert np.allclose(drawn, expected)
    assert ax.get_ylabel() == "loss"


def test_points_are_plain_numbers_in_a_dictionary():
    settings = fixed_points(TASK, Separate(heads=4)).to_dict(limit=2)
    assert settings["count"] == 12
    assert [point["subset"] for point in settings["points"]] == [
        [1, 2, 3, 4],
        [1, 2, 3],
    ]
    assert settings["points"][0]["kind"] == "minimum"
