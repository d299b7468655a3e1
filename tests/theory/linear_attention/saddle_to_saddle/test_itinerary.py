"""Which plateaus a path visits, told from shares of directions, and which head each drop is owed to."""

import numpy as np
import pytest

from attndyn.theory.linear_attention.saddle_to_saddle.itinerary import (
    learning_heads,
    plateaus_reached,
    pooled_shares,
    visited_subsets,
)

GAINS = np.array([3.0, 2.0, 1.0])


def test_directions_that_are_learned_one_after_another():
    shares = np.array([[0, 0, 0], [0.6, 0, 0], [1, 0, 0], [1, 0.9, 0], [1, 1, 1.0]])
    assert visited_subsets(shares, GAINS) == [(), (1,), (1, 2), (1, 2, 3)]


@pytest.mark.parametrize(("distance", "visited"), [(0.24, True), (0.26, False)])
def test_a_plateau_of_a_smaller_gain_is_one_where_shares_come_near(distance, visited):
    """Only a rotation takes a direction away: what it passes counts where it comes nearer than a quarter."""
    shares = np.array([[0, 0, 0], [0, 1 - distance, 0], [1, 0, 0]])
    between = [(2,)] if visited else []
    assert visited_subsets(shares, GAINS) == [(), *between, (1,)]


@pytest.mark.parametrize(("share", "learned"), [(0.49, False), (0.51, True)])
def test_a_direction_counts_as_learned_from_one_half(share, learned):
    shares = np.array([[0, 0, 0], [share, 0, 0]])
    assert visited_subsets(shares, GAINS) == ([(), (1,)] if learned else [()])


def test_directions_that_are_gained_at_once_come_in_the_order_of_their_times():
    shares = np.array([[0, 0, 0], [0, 0.6, 0], [0.6, 0.6, 0], [1, 1, 0]])
    assert visited_subsets(shares, GAINS) == [(), (2,), (1, 2)]


def test_a_plateau_below_which_the_path_later_is_not_is_no_plateau():
    """No loss rises: a subset of a larger gain cannot come before one of a smaller gain."""
    shares = np.array([[0, 0, 0], [0.8, 0.8, 0], [1, 0, 0]])
    assert visited_subsets(shares, GAINS) == [(), (1,)]


def test_at_a_tie_the_first_direction_is_learned_first():
    pooled = pooled_shares(np.array([[0.2, 0.7, 0], [0.9, 0.9, 0.5]]), np.ones(3))
    assert pooled == pytest.approx(np.array([[0.9, 0, 0], [1, 1, 0.3]]))
    passed = pooled_shares(np.array([[1.6, 0, 0]]), GAINS)  # far more than all of it
    assert passed.tolist() == [[0, 0, 0]]


def test_the_head_that_changes_most_learns_the_direction():
    nothing = np.zeros((2, 3))
    first = np.array([[0.1, 0, 0], [0.9, 0, 0]])
    second = np.array([[0.1, 0.95, 0], [0.9, 0, 0]])
    heads = learning_heads(
        np.array([nothing, first, second]), (1, 2), [True, True, True], pairs=1
    )
    assert heads == [1, 0]


def test_heads_of_one_pair_share_directions_that_drop_together():
    """Head 0 moves most at both drops; in the end head 1 has learned the first direction."""
    nothing = np.zeros((2, 2))
    between = np.array([[0.6, 0.0], [0.4, 0.0]])
    last = np.array([[0.1, 0.9], [0.9, 0.1]])
    shares = np.array([nothing, between, last])
    assert learning_heads(shares, (1, 2), [True, False, True], pairs=1) == [1, 0]
    assert learning_heads(shares, (1, 2), [True, False, True], pairs=2) == [0, 0]


def test_a_plateau_lies_where_shares_are_near_or_a_head_rotates():
    subsets = [(), (2,), (1,)]
    far = np.array([[0, 0, 0], [0, 0.6, 0], [1, 0, 0]])
    assert plateaus_reached(far, subsets, GAINS) == [True, True, True]  # it rotates
    grows = [(), (1,), (1, 2)]
    far = np.array([[0, 0, 0], [0.6, 0, 0], [1, 1, 0]])
    near = np.array([[0, 0, 0], [0.9, 0, 0], [1, 1, 0]])
    assert plateaus_reached(far, grows, GAINS) == [True, False, True]
    assert plateaus_reached(near, grows, GAINS) == [True, True, True]
