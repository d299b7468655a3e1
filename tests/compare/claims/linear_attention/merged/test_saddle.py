"""The search for points at rest: what its judge takes for all of them, and for too few or too many."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare.claims.linear_attention.fixed_points.search import (
    flat,
    inside,
    placed,
)
from attndyn.compare.claims.linear_attention.merged.saddle import (
    STARTS,
    SearchEnds,
    _one_for_one,
    _search,
    _task,
    crossing,
)
from attndyn.compare.exact_statistics import population_statistics
from attndyn.compare.metrics.curves import crossing_times
from attndyn.models.effective_map import effective_map
from attndyn.simulate import flow, initial_weights
from attndyn.theory import population

ZERO, MINIMUM, THIRD = np.zeros((2, 2)), np.eye(2), np.diag([1.0, 0.0])
THREE = Task(eigenvalues=[3, 2, 1], context_length=5)


def judged(found, stuck=0, known=(ZERO, MINIMUM)):
    return _one_for_one([list(known)], SearchEnds([list(found)], stuck)).agrees


def test_all_maps_and_no_other_must_be_found():
    assert judged([ZERO, MINIMUM, MINIMUM + 1e-9])
    assert not judged([ZERO, ZERO])
    assert not judged([ZERO, MINIMUM, THIRD])
    assert not judged([ZERO, MINIMUM + 1e-6])
    assert judged([ZERO, MINIMUM, THIRD], known=(ZERO, MINIMUM, THIRD))


def test_a_search_that_gets_stuck_often_shows_nothing():
    assert judged([ZERO, MINIMUM] * 9, stuck=2)
    assert not judged([ZERO, MINIMUM] * 9, stuck=3)


def test_weights_of_the_block_are_placed_and_read_back():
    model = Merged(heads=2)
    mask, values = inside(model, 3), np.arange(1.0, 21.0)
    weights = placed(values, mask)
    assert np.array_equal(flat(weights, mask), values)
    restricted = initial_weights(model, THREE, 1.0, 0, "restricted")
    assert all(
        np.all(restricted[name][..., :3][~each[..., :3]] == 0)
        for name, each in mask.items()
    )


@pytest.mark.parametrize("seed", [11, 12])
def test_searches_end_at_the_saddle_and_at_the_minimum(seed):
    task = _task(seed)
    found = _search(task, seed)
    sizes = np.array([np.max(np.abs(each)) for each in found])
    assert len(found) >= 0.9 * STARTS
    assert 0 < np.sum(sizes < 1e-9) < len(found)
    minimum = population(task, Merged(heads=3)).minimum
    assert all(
        np.allclose(each, minimum, atol=1e-9) for each in np.array(found)[sizes > 1e-9]
    )


def test_the_map_of_the_block_is_v_times_u():
    mask = inside(Merged(heads=1), 2)
    weights = placed(np.array([2.0, 1.0, 0.0, 0.0, 3.0]), mask)
    assert np.array_equal(effective_map(Merged(heads=1), weights), np.diag([2.0, 6.0]))


def test_a_crossing_is_found_as_on_a_dense_grid_and_not_beyond_the_end():
    model = Merged(heads=2)
    start = initial_weights(model, THREE, 1e-2, 4, "restricted")
    times = np.linspace(0, 4, 20_001)
    run = flow(model, population_statistics(THREE, model), start, times)
    level = (run.loss[0] + run.loss[-1]) / 2
    found = crossing(THREE, model, start, level, 4.0)
    assert found == pytest.approx(crossing_times(times, run.loss, [level])[0], rel=1e-6)
    assert np.isnan(crossing(THREE, model, start, level, found / 2))
    assert np.isnan(crossing(THREE, model, start, 0.0, 4.0))
