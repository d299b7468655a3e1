"""Fixed points by subset, against all 2^D subsets, full Hessians and weights at rest."""

import copy
import itertools
import pickle
from itertools import islice

import numpy as np
import pytest

from attndyn import Merged
from attndyn.models.effective_map import effective_map
from attndyn.theory import population
from attndyn.theory.linear_transformer import (
    minimum,
    mode_fixed_point,
    mode_fixed_points,
)
from attndyn.theory.linear_transformer.layer_losses import (
    gradient_of_layer,
    half_hessian_of_layer,
    layer_moments,
)
from attndyn.theory.linear_transformer.minima import (
    brackets,
    coupling,
    loss_of_subset,
)
from attndyn.theory.linear_transformer.mode_points import ModeFixedPoints, on_basis
from attndyn.theory.linear_transformer.mode_tasks import ModeTask, mode_task

from .laws import hostile_task, modes


@pytest.mark.parametrize(
    ("task", "count"),
    [
        (modes([1, 0.5, 0.2, 0.05], 5), 15),
        (modes([1, 0.01], 1), 3),
        (modes([1, 0.3, 0.02, 0.01], 3), 8),
        (modes([2, 1, 0.5, 0.25], 20), 16),
    ],
)
def test_their_number_is_the_known_one_and_not_2_to_the_D(task, count):
    points = mode_fixed_points(task)
    assert len(points) == points.count == len(list(points)) == count


def subsets_with_positive_brackets(modes):
    """Loss and subset of every fixed point, out of all subsets of modes that vary."""
    varying = np.flatnonzero(modes.thresholds)
    found = []
    for size in range(len(varying) + 1):
        for subset in itertools.combinations(varying, size):
            mask = np.isin(np.arange(modes.dimension), subset)
            Z = coupling(modes, mask)
            if np.all(brackets(modes, mask, Z) > 1e-9):
                loss = loss_of_subset(modes, mask, Z)
                found.append((loss, tuple(int(mode) + 1 for mode in subset)))
    return sorted(found)


@pytest.mark.parametrize("seed", range(24))
def test_they_are_the_subsets_whose_brackets_are_positive_by_loss(seed):
    generator = np.random.default_rng(seed)
    if seed % 2:
        task, model = hostile_task(generator)
    else:
        D = int(generator.integers(3, 8))
        s, ω = np.exp(2 * generator.normal(size=(2, D)))
        task, model = modes(s, int(generator.integers(1, 9)), ω, 0.4 * (seed % 3)), None
    expected = subsets_with_positive_brackets(mode_task(task, model, "this test"))
    points = mode_fixed_points(task, model)
    found = list(points)
    assert len(points) == len(expected)
    assert {point.subset for point in found} == {subset for _, subset in expected}
    losses = [point.loss for point in found]
    assert losses == pytest.approx([loss for loss, _ in expected], rel=1e-12)
    backwards = [points[place].subset for place in range(-1, -len(found) - 1, -1)]
    assert set(backwards) == {subset for _, subset in expected}
    assert backwards[0] == ()
    assert [point.kind for point in found].count("minimum") == 1
    assert found[0].coefficients == pytest.approx(minimum(task, model).coefficients)


@pytest.mark.parametrize("seed", range(6))
def test_index_and_rest_are_those_of_all_of_p_and_q(seed):
    generator = np.random.default_rng(100 + seed)
    task, model = hostile_task(generator)
    moments = layer_moments(task, model, "this test")
    points = mode_fixed_points(task, model)
    for point in points:
        p, q = (on_basis(points.modes, x) for x in point.amplitudes(balanced=seed > 2))
        found = gradient_of_layer(moments, p, q)
        assert found.loss == pytest.approx(point.loss, rel=1e-11)
        assert found.by_p == pytest.approx(0, abs=1e-11)
        assert found.by_q == pytest.approx(0, abs=1e-11)
        curvatures = np.linalg.eigvalsh(half_hessian_of_layer(moments, p, q))
        negative = np.sum(curvatures < -1e-10 * np.max(np.abs(curvatures)))
        assert negative == point.hessian_index


def test_weights_realise_the_map_and_its_loss():
    task = modes([2, 1, 0.5], 6, [1, 0.5, 2], 0.1)
    model = Merged(heads=1, outputs=3)
    point = mode_fixed_point(task, (1, 3), model)
    for balanced in (False, True):
        weights = point.weights(balanced=balanced)
        M = effective_map(model, weights)
        assert population(task, model).loss(M) == pytest.approx(point.loss, rel=1e-12)
        assert pytest.approx(point.M) == M
    norms = [np.linalg.norm(weights[name]) for name in ("value", "key_query")]
    assert norms[0] == pytest.approx(norms[1], rel=1e-12)
    p, q = point.amplitudes()
    assert point.modes.labels * p**2 == pytest.approx(point.modes.inputs**2 * q**2)


def test_at_a_tie_the_weaker_mode_is_off():
    # The bracket of mode 2 is exactly zero: g κ₂ = k (κ₁ − κ₂) for N = 1.
    points = mode_fixed_points(modes([9, 1], 1))
    assert [point.subset for point in points] == [(1,), (2,), ()]
    assert points[0].kind == "minimum"


def large(inputs, N):
    """Modes of a task whose teachers would not fit into memory."""
    s = np.sort(inputs)[::-1]
    ones = np.ones(len(s))
    spectrum = ModeTask(s, ones, 0.0, float(s.sum()), 1.0, 1 + 1 / N, 1 / N, np.eye(1))
    return ModeFixedPoints(spectrum, Merged(heads=1, outputs=len(s)))


def test_a_thousand_modes_are_not_enumerated():
    points = large(1 / np.arange(1, 1001), 20)
    losses = [point.loss for point in islice(points, 20)]
    assert np.all(np.diff(losses) >= 0)
    assert points[-1].subset == ()
    with pytest.raises(OverflowError, match="compete for the coupling"):
        len(points)
    assert "a number too large to count" in repr(points)


def test_equal_modes_are_counted_however_many_they_are():
    assert large(np.ones(1000), 20).count == 2**1000
    with pytest.raises(OverflowError, match="more than len can say"):
        len(large(np.ones(1000), 20))


def test_a_sequence_can_be_sliced_sent_and_asked():
    points = mode_fixed_points(modes([1, 0.5, 0.2, 0.05], 5))
    again = pickle.loads(pickle.dumps(points))
    assert [point.subset for point in again[2:4]] == [p.subset for p in points][2:4]
    assert points[-2:][1].subset == ()
    assert copy.copy(points).of(1, 2).loss == points.of(2, 1).loss
    assert points.of(1, 2) in points
    assert points[3] in points
    assert (1, 2) in points
    assert (5,) not in points
    assert points.to_dict(2)["points"][0]["subset"] == [1, 2, 3]
    with pytest.raises(IndexError, match="15 fixed points"):
        points[15]
    with pytest.raises(ValueError, match="no fixed point learns exactly"):
        points.of(1, 2, 3, 4)
    assert "strict saddle" in repr(points)
    assert "minimum" in repr(points[0])
