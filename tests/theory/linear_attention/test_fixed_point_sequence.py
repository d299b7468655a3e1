"""The fixed points of a model as a lazy sequence: indices, slices, number and membership against the whole list."""

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
