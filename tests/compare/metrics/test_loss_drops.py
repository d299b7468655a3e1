"""Drops are counted as they are, whatever their heights and waits, and creep is none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.compare.metrics.loss_drops import drops

TIMES = np.arange(20_001.0)


def stairs(middles, widths, heights=None):
    """A loss with a logistic drop at each of these times."""
    heights = np.ones(len(middles)) if heights is None else heights
    each = zip(middles, widths, heights, strict=True)
    return np.sum(
        [h / (1 + np.exp(np.clip((TIMES - m) / w, -500, 500))) for m, w, h in each],
        axis=0,
    )


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 5), st.floats(1.5, 3.0), st.floats(0.01, 0.05))
def test_every_separate_drop_is_counted_where_it_is(count, ratio, sharpness):
    middles = 200.0 * ratio ** np.arange(count)
    found = drops(TIMES, stairs(middles, sharpness * middles))
    assert len(found) == count
    assert np.allclose(found, middles, rtol=0.02)


def test_drops_that_overlap_are_one():
    assert len(drops(TIMES, stairs([1000, 1100], [200, 200]))) == 1
    assert (
        len(drops(TIMES, stairs([1000, 3000], [100, 100]))) == 2
    )  # the same with a pause between


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
    assert np.allclose(
        drops(TIMES, stairs([1000], [50]) + hump), drops(TIMES, stairs([1000], [50]))
    )
    assert (
        len(drops(TIMES, 2 - stairs([1000], [50]) - stairs([9000], [50], [2.0]))) == 0
    )  # it only rises


def test_a_smaller_unit_of_time_and_fewer_points_find_the_same():
    loss = stairs([500, 4000], [30, 200])
    chosen = np.unique(np.geomspace(1, 20_000, 700).astype(int))
    assert np.allclose(drops(TIMES * 0.04, loss) / 0.04, drops(TIMES, loss))
    assert np.allclose(
        drops(TIMES[chosen], loss[chosen]), drops(TIMES, loss), rtol=0.03
    )


def test_time_begins_at_zero_or_later():
    with pytest.raises(ValueError, match="begin at 0 or later, not at -1"):
        drops([-1.0, 0.0, 1.0], [1.0, 0.5, 0.0])


# What rounding alone does is no drop

CONSTANT = {
    "constant": lambda rng, count: np.ones(count),
    "rounded": lambda rng, count: 1 + 4e-16 * rng.standard_normal(count),
    "single precision": lambda rng, count: (
        1 + 1e-7 * rng.standard_normal(count)
    ).astype(np.float32),
    "creeping by roundings": lambda rng, count: (
        1 - 1e-16 * np.cumsum(rng.random(count)) / count
    ),
    "rising": lambda rng, count: 1 + np.cumsum(rng.random(count)),
}


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(sorted(CONSTANT)),
    st.integers(0, 10**6),
    st.integers(2, 2000),
    st.floats(-6, 6),
)
def test_a_loss_that_does_not_fall_has_no_drop_at_any_times(kind, seed, count, decades):
    rng = np.random.default_rng(seed)
    times = np.unique(10**decades * rng.random(count) ** rng.integers(1, 4))
    if len(times) < 2:
        return
    loss = CONSTANT[kind](rng, len(times))
    assert drops(times, loss).size == 0
    assert (
        drops(
            times, np.asarray(loss * 10.0 ** rng.integers(-30, 30), dtype=loss.dtype)
        ).size
        == 0
    )
    falling = loss - 0.5 * (times > times[len(times) // 2 - 1])  # control
    if kind != "rising":
        assert drops(times, np.asarray(falling, dtype=loss.dtype)).size == 1


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6),
    st.integers(1, 4),
    st.floats(1.6, 3.0),
    st.floats(0.005, 0.05),
    st.integers(0, 2),
)
def test_rounding_hides_no_drop_and_makes_none(seed, count, ratio, sharpness, kind):
    """Times at random, losses of any size: noise as of double and of single precision changes nothing."""
    rng = np.random.default_rng(seed)
    middles = 200.0 * ratio ** np.arange(count)
    times = np.unique(1.5 * middles[-1] * rng.random(rng.integers(1500, 8000)))
    each = zip(middles, rng.uniform(0.3, 1, count), strict=True)
    parts = [
        h / (1 + np.exp(np.clip((times - m) / (sharpness * m), -500, 500)))
        for m, h in each
    ]
    loss = 10 ** rng.uniform(-4, 4) * (np.sum(parts, axis=0) + rng.uniform(0, 2))
    if kind == 1:
        loss = loss * (1 + 2e-16 * rng.standard_normal(len(times)))
    if kind == 2:
        loss = (loss * (1 + 1e-7 * rng.standard_normal(len(times)))).astype(np.float32)
    found = drops(times, loss)
    assert len(found) == count
    assert np.allclose(found, middles, rtol=0.02)


def test_times_that_nearly_coincide_make_no_drop():
    loss = stairs([1000], [50])
    doubled = np.sort(np.concatenate([TIMES, TIMES[1:] * (1 + 1e-15)]))
    times, first = np.unique(doubled, return_index=True)
    noise = 1e-16 * np.random.default_rng(0).standard_normal(len(times))
    found = drops(times, np.interp(times, TIMES, loss) * (1 + noise))
    assert np.allclose(found, drops(TIMES, loss), rtol=1e-3)
    assert len(first) > len(TIMES)


def test_two_points_are_one_drop_or_none():
    assert drops([0.0, 1.0], [1.0, 0.0]).tolist() == [1.0]
    assert drops([0.5, 1.0], [0.0, 0.0]).size == 0
    assert drops([0.5, 1.0], [0.0, 1.0]).size == 0


def test_sizes_do_not_matter():
    loss = stairs([500, 4000], [30, 200])
    for factor in (1e-300, 1e-12, 1e300):
        assert np.allclose(drops(TIMES, factor * loss), drops(TIMES, loss))
        assert np.allclose(drops(factor * TIMES, loss) / factor, drops(TIMES, loss))
    assert np.allclose(drops(TIMES, loss - 5), drops(TIMES, loss), rtol=1e-3)


WRONG = {
    "not a number": ([0.0, 1.0, 2.0], [1.0, np.nan, 0.0], "finite"),
    "infinite time": ([0.0, 1.0, np.inf], [1.0, 0.5, 0.0], "finite"),
    "twice": (
        [0.0, 1.0, 1.0],
        [1.0, 0.5, 0.0],
        "increasing numbers .*, but after 1 comes 1$",
    ),
    "unsorted": (
        [0.0, 2.0, 1.0],
        [1.0, 0.5, 0.0],
        "increasing numbers .*, but after 2 comes 1$",
    ),
    "one point": ([1.0], [1.0], "two or more increasing"),
    "none": ([], [], "none given"),
    "lengths": ([0.0, 1.0], [1.0, 0.5, 0.0], "one entry for each of 2 times"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_no_curve_is_refused(name):
    time, loss, reason = WRONG[name]
    with pytest.raises(ValueError, match=reason):
        drops(time, loss)


def test_without_a_least_share_every_fall_counts():
    loss = stairs([1000, 4000], [30, 100], [1.0, 1e-3])
    assert len(drops(TIMES, loss)) == 1
    assert drops(TIMES, loss, share=0.0) == pytest.approx([1000, 4000], rel=0.01)
    assert drops(TIMES, np.ones_like(TIMES), share=0.0).size == 0


@pytest.mark.parametrize(
    "options", [{"pause": 0.5}, {"pause": np.nan}, {"share": -0.1}, {"share": 2.0}]
)
def test_a_pause_and_a_share_have_their_range(options):
    with pytest.raises(
        ValueError, match="pause must be at least 1 and share lie from 0 to 1"
    ):
        drops([0.0, 1.0], [1.0, 0.0], **options)
