"""Fewer pairs than dimensions: the judge of maps, and searches that end where the gradient vanishes."""

import numpy as np
import pytest

from attndyn import Separate
from attndyn.compare.claims.linear_attention.fixed_points import capacity
from attndyn.compare.claims.linear_attention.fixed_points.capacity import (
    ALL,
    LARGEST,
    PAIRS,
    _one_for_one,
    _search,
    _stated_maps,
    _task,
)
from attndyn.compare.evidence.claim import UNMODIFIED, RunContext
from attndyn.theory import population

LAB = RunContext("nowhere", 2)
KNOWN = [[np.zeros((3, 3)), np.eye(3)]]


@pytest.mark.parametrize(
    ("found", "agrees"),
    [
        (KNOWN[0], True),
        (KNOWN[0][::-1], True),
        (KNOWN[0][:1], False),
        ([*KNOWN[0], 2 * np.eye(3)], False),
        ([KNOWN[0][0], 1.001 * np.eye(3)], False),
    ],
)
def test_maps_are_compared_one_for_one(found, agrees):
    assert _one_for_one(KNOWN, [found]).agrees is agrees


def test_variants_count_their_subsets():
    def counts(control):
        return [len(known) for known in _stated_maps(LAB, control)]

    assert counts(UNMODIFIED) == [4, 7, 7]
    assert counts(ALL) == [8] * len(PAIRS)
    assert counts(LARGEST) == [3, 3, 3]


def test_a_search_ends_at_maps_without_force_on_their_heads(monkeypatch):
    # Enough searches for one head; the claim makes a hundred, for two heads and rank two as well.
    monkeypatch.setattr(capacity, "SEARCHES", 40)
    moments = population(_task(5), Separate(1))
    found = _search(Separate(1), 5)
    assert len(found) == 4
    for M in found:
        force = moments.residual_correlation(M)
        assert np.allclose(force @ M.T, 0, atol=1e-8)
        assert np.allclose(M.T @ force, 0, atol=1e-8)
