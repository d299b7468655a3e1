"""What a search for heads refuses and says of its ends, on a small table: claims hold the heads that it finds."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.theory.softmax_attention.exact_tables import ExactTable, table_within
from attndyn.theory.softmax_attention.many_heads import (
    _FINE,
    _End,
    _is_at_edge,
    _minimised,
    _mirrored,
    _refuse_no_minimum,
    _Search,
)


@pytest.fixture(scope="module")
def table():
    task = Task([1] * 2, teacher_covariance=np.eye(2) / 2, context_length=14)
    return table_within(task, 0.6, 1e-9, nodes=11)


def test_ends_that_are_no_minimum_are_refused(table):
    best = _minimised(table, np.array([-0.3, 0.4]), _FINE).z
    assert 0.1 < best[1] < 0.98
    _refuse_no_minimum(table, best, 1.0)
    with pytest.raises(ArithmeticError, match=r"2 heads ended where the loss .* slope"):
        _refuse_no_minimum(table, 0.8 * best, 1.0)
    # Heads that merge at zero have no slope, by symmetry, and a lower loss on both sides.
    with pytest.raises(ArithmeticError, match=r"is lower by .* nearby"):
        _refuse_no_minimum(table, np.zeros(2), 1.0)
    # In units in which labels are far larger both count as none.
    _refuse_no_minimum(table, 0.8 * best, 1e8)
    _refuse_no_minimum(table, np.zeros(2), 1e8)


def test_slopes_at_the_edge_may_fall_outwards(table):
    """There a minimum of the search need be none of the loss."""
    outside = _minimised(table, np.array([0.4]), _FINE).z
    assert outside[0] == 1
    _refuse_no_minimum(table, outside, 1.0)
    assert _is_at_edge(outside)
    assert not _is_at_edge(0.99 * outside)
    # Where it falls inwards it is none of the search.
    with pytest.raises(ArithmeticError, match="2 heads"):
        _refuse_no_minimum(table, np.array([-1.0, 1.0]), 1.0)


def test_heads_become_symmetric_where_that_costs_nothing(table):
    best = _minimised(table, np.array([-0.3, 0.4]), _FINE).z
    nearly = best + 1e-6
    symmetric = _mirrored(table, nearly)
    assert symmetric[0] == -symmetric[1]
    assert abs(symmetric[1] - best[1]) < 1e-5
    # One head is not symmetric unless it is none.
    alone = np.array([0.5])
    assert _mirrored(table, alone) is alone


def test_a_note_counts_the_ends_that_agree(table):
    """Losses within 1e-7 of the label's variance are one; scores have the deviation of ω times that of τ."""
    search = _Search(None, False, None, table, score_scale=5.0, label_variance=4.0)
    losses = (0.5, 0.5 + 3e-7, 0.5 + 5e-7, 0.6)
    ends = [_End(loss, np.array([0.2, 0.3])) for loss in losses]
    note = search.note(ends)
    assert "the best of 4 starts, of which 2 agree" in note
    assert "standard deviations up to 3;" in note
    assert "edge" not in note
    ends[0] = _End(0.5, np.array([0.2, 1.0]))
    assert "at this edge" in search.note(ends)


def test_a_table_is_a_number_at_its_bound():
    signal, products = np.array([0.0, 1.0]), np.eye(2)
    for bound in np.linspace(1, 30, 400):
        # Some of these have arsinh(R/δ)/a above one, by a rounding.
        table = ExactTable((bound, 1.0), signal, products, 1.0)
        loss = table.loss(np.array([bound, -2 * bound]), np.array([0.1, 0.2]))
        # With g = z and F = 1 + z z′ at z = 1 and z′ = −1.
        assert loss == pytest.approx(1 - 2 * (0.1 - 0.2) + 2 * (0.01 + 0.04))
