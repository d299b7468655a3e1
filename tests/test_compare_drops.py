"""Drops are counted as they are, whatever their heights and waits, and creep is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.compare.drops import drops

TIMES = np.arange(20_001.0)


def stairs(middles, widths, heights=None):
    """A loss with a logistic drop at each of these times."""
    heights = np.ones(len(middles)) if heights is None else heights
    each = zip(middles, widths, heights, strict=True)
    return np.sum([h / (1 + np.exp(np.clip((TIMES - m) / w, -500, 500))) for m, w, h in each], axis=0)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.floats(1.5, 3.0), st.floats(0.01, 0.05))
def test_every_separate_drop_is_counted_where_it_is(count, ratio, sharpness):
    middles = 200.0 * ratio ** np.arange(count)
    found = drops(TIMES, stairs(middles, sharpness * middles))
    assert len(found) == count
    assert np.allclose(found, middles, rtol=0.02)


def test_drops_that_overlap_are_one():
    assert len(drops(TIMES, stairs([1000, 1100], [200, 200]))) == 1
    assert len(drops(TIMES, stairs([1000, 3000], [100, 100]))) == 2  # the same with a pause between


def test_the_pause_that_is_asked_for_decides():
    shallow = stairs([1000, 1700], [130, 130])
    assert len(drops(TIMES, shallow, pause=1.2)) == 2
    assert len(drops(TIMES, shallow, pause=50.0)) == 1


def test_creep_and_a_rise_are_no_drops():
    creep = stairs([1000], [50]) + 0.003 * np.exp(-TIMES / 9000)
    assert len(drops(TIMES, creep)) == 1
    assert len(drops(TIMES, creep + stairs([8000], [300], [0.001]))) == 1
    assert len(drops(TIMES, creep + stairs([8000], [300], [0.5]))) == 2
    assert drops(TIMES, -stairs([1000], [50])).size == 0
    assert drops(TIMES, np.ones_like(TIMES)).size == 0


def test_coming_back_from_a_rise_is_no_drop():
    hump = 0.3 * np.exp(-(((TIMES - 9000) / 200) ** 2))
    assert np.allclose(drops(TIMES, stairs([1000], [50]) + hump), drops(TIMES, stairs([1000], [50])))
    assert len(drops(TIMES, 2 - stairs([1000], [50]) - stairs([9000], [50], [2.0]))) == 0  # it only rises


def test_a_smaller_unit_of_time_and_fewer_points_find_the_same():
    loss = stairs([500, 4000], [30, 200])
    chosen = np.unique(np.geomspace(1, 20_000, 700).astype(int))
    assert np.allclose(drops(TIMES * 0.04, loss) / 0.04, drops(TIMES, loss))
    assert np.allclose(drops(TIMES[chosen], loss[chosen]), drops(TIMES, loss), rtol=0.03)


def test_time_begins_at_zero_or_later():
    with pytest.raises(ValueError, match="begin at 0 or later, not at -1"):
        drops([-1.0, 0.0, 1.0], [1.0, 0.5, 0.0])
