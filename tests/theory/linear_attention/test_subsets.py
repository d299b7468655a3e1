"""Lazy enumeration of subsets against brute force."""

import math
import time
import tracemalloc
from itertools import combinations, islice

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.linear_attention.subsets import (
    subsets_by_loss,
    subsets_from_the_last,
)

TOTAL = 100.0


def brute_force(gains, limit):
    """Loss by subset, one subset for each choice of gain values: the first in lexicographic order."""
    found = {}
    for size in range(limit + 1):
        for subset in combinations(range(len(gains)), size):
            chosen = tuple(gains[d] for d in subset)
            found.setdefault(chosen, tuple(d + 1 for d in subset))
    return {
        subset: math.fsum([TOTAL, *(-gain for gain in chosen)])
        for chosen, subset in found.items()
    }


def agrees(choices, gains, limit):
    """Whether the choices are all subsets, each once, with their losses, in order."""
    expected, losses = brute_force(gains, limit), [choice.loss for choice in choices]
    once = len({choice.subset for choice in choices}) == len(choices)
    return (
        once
        and losses == sorted(losses)
        and {c.subset: c.loss for c in choices} == expected
    )


@st.composite
def problems(draw):
    values = draw(st.sampled_from([2, 4, 1000]))
    integers = draw(st.lists(st.integers(1, values), min_size=1, max_size=8))
    gains = sorted((value / 8 for value in integers), reverse=True)
    return gains, draw(st.integers(0, len(gains)))


@settings(max_examples=25, deadline=None)
@given(problems())
def test_every_subset_once_in_order(problem):
    gains, limit = problem
    assert agrees(list(subsets_by_loss(TOTAL, gains, limit)), gains, limit)


@settings(max_examples=100, deadline=None)
@given(problems(), st.sampled_from([TOTAL, 0.1, 1e17]))
def test_the_opposite_order_is_the_same_one_from_its_end(problem, total):
    """Losses that are equal to rounding included: 1e17 swallows every gain."""
    gains, limit = problem
    forwards = list(subsets_by_loss(total, gains, limit))
    assert list(subsets_from_the_last(total, gains, limit)) == forwards[::-1]


def test_every_shape_of_small_problem():
    for mask in range(2**5):  # every pattern of equal neighbours among six gains
        drops = [0.0, *((mask >> bit & 1) * (bit + 4) / 8 for bit in range(5))]
        gains = (8 - np.cumsum(drops)).tolist()
        for limit in range(7):
            assert agrees(list(subsets_by_loss(TOTAL, gains, limit)), gains, limit), (
                gains,
                limit,
            )


def test_the_check_rejects_wrong_enumerations():
    gains, limit = [3.0, 2.0, 2.0, 1.0], 3
    right = list(subsets_by_loss(TOTAL, gains, limit))
    one_too_many = list(subsets_by_loss(TOTAL, gains, limit + 1))
    untied = list(subsets_by_loss(TOTAL, [3.0, 2.0, 1.99, 1.0], limit))
    wrong = [right[:-1], [*right, right[-1]], right[::-1], one_too_many, untied]
    assert agrees(right, gains, limit)
    assert not any(agrees(choices, gains, limit) for choices in wrong)


@settings(max_examples=25, deadline=None)
@given(problems())
def test_continuum_where_equal_gains_are_split(problem):
    gains, limit = problem
    for choice in subsets_by_loss(TOTAL, gains, limit):
        inside = {gains[d - 1] for d in choice.subset}
        outside = {gain for d, gain in enumerate(gains, 1) if d not in choice.subset}
        assert choice.continuum == bool(inside & outside)


@pytest.mark.parametrize("limit", [200, 120, 3])
@pytest.mark.parametrize("distinct", [None, 12])
def test_a_thousand_of_two_hundred_directions_at_once(limit, distinct):
    rng = np.random.default_rng(limit)
    gains = np.sort(
        rng.uniform(size=200)
        if distinct is None
        else rng.integers(1, distinct, 200) / 8
    )[::-1]
    tracemalloc.start()
    started = time.process_time()
    best = list(islice(subsets_by_loss(TOTAL, gains, limit), 1000))
    seconds, peak = time.process_time() - started, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len({choice.subset for choice in best}) == len(best)
    assert len(best) == 1000 or distinct
    assert [choice.loss for choice in best] == sorted(choice.loss for choice in best)
    assert (
        seconds < 5
    )  # 0.1 s on an idle machine, and never for anything that visits the other subsets
    assert peak < 40e6


def test_best_of_many_against_an_exhaustive_search():
    gains = np.sort(np.random.default_rng(0).uniform(size=16))[::-1]
    expected = sorted(brute_force(gains.tolist(), 5).values())[:500]
    assert [
        choice.loss for choice in islice(subsets_by_loss(TOTAL, gains, 5), 500)
    ] == expected


def test_white_spectrum_has_one_subset_of_each_size():
    choices = list(subsets_by_loss(TOTAL, np.full(200, 0.25), 200))
    assert [choice.subset for choice in choices] == [
        tuple(range(1, size + 1)) for size in range(200, -1, -1)
    ]
    assert [choice.continuum for choice in choices] == [False] + [True] * 199 + [False]


def test_gains_too_small_for_the_loss_keep_the_larger_subset_first():
    assert [c.subset for c in subsets_by_loss(1.0, [0.5, 1e-30], 2)] == [
        (1, 2),
        (1,),
        (2,),
        (),
    ]
