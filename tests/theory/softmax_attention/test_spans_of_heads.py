"""Best losses on a table against those of separate heads, and their limits where heads merge."""

from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.predictors import best_debiased_step
from attndyn.theory.softmax_attention import (
    HeadOptimum,
    MergedHeads,
    best_exact_values,
    exact_loss,
)
from attndyn.theory.softmax_attention.exact_tables import table_within
from attndyn.theory.softmax_attention.spans_of_heads import (
    best_span,
    groups_at,
    omega_of,
    z_of,
)

SMALLEST = 1e-12


def white():
    return Task(
        [1] * 3,
        teacher_covariance=np.eye(3) / 3,
        noise_variance=0.1,
        context_length=12,
    )


@cache
def table(query_token=False):
    return table_within(white(), 0.6, 1e-10, nodes=13, query_token=query_token)


@pytest.mark.parametrize("query_token", [False, True])
def test_separate_heads_have_the_loss_of_their_best_values(query_token):
    ω = np.array([0.5, -0.1, 0.25])
    best = best_exact_values(white(), ω, query_token=query_token)
    span = best_span(table(query_token), z_of(table(query_token), ω), SMALLEST)
    assert_allclose(span.loss, best.loss, rtol=1e-7)
    groups = groups_at(table(query_token), ω, [1, 1, 1], SMALLEST)
    assert_allclose([group.values[0] for group in groups], best.mu, rtol=1e-5)


@pytest.mark.parametrize("z", [[0.2, -0.5, 0.7], [0.3, 0.3, -0.6], [0.1, 0.1, 0.1]])
def test_slopes_are_those_of_differences(z):
    z, step = np.array(z), 1e-5
    slopes = [
        best_span(table(), z + step * e, SMALLEST).loss
        - best_span(table(), z - step * e, SMALLEST).loss
        for e in np.eye(3)
    ]
    by_z = best_span(table(), z, SMALLEST).by_z
    assert_allclose(by_z, np.array(slopes) / (2 * step), atol=1e-8)


def test_the_order_of_heads_does_not_matter():
    z = np.array([0.4, 0.1, 0.1, -0.3])
    losses = [
        best_span(table(), z[order], SMALLEST).loss
        for order in ([0, 1, 2, 3], [3, 1, 0, 2])
    ]
    assert_allclose(losses[0], losses[1], rtol=1e-12)


def test_two_merged_heads_at_zero_are_the_debiased_step():
    best = best_debiased_step(white())
    assert_allclose(
        best_span(table(), np.zeros(2), SMALLEST).loss, best.loss, rtol=1e-9
    )
    (group,) = groups_at(table(), np.zeros(1), [2], SMALLEST)
    # f′ = Σ (1/N)(x_n − x̄) y_n, whose factor is the step.
    assert_allclose(group.values, [0, best.step], atol=1e-7)


@pytest.mark.parametrize("sizes", [[2, 1], [1, 3]])
def test_merged_heads_are_the_limit_of_heads_nearby(sizes):
    ω = np.array([-0.1, 0.45])
    groups = groups_at(table(), ω, sizes, SMALLEST)
    limit = best_span(table(), z_of(table(), np.repeat(ω, sizes)), SMALLEST).loss
    apart = [group for group in groups if group.heads == 1]
    optimum = HeadOptimum(
        np.array([group.omega for group in apart]),
        np.array([group.values[0] for group in apart]),
        limit,
        merged=tuple(group for group in groups if group.heads > 1),
    )
    gaps = [
        float(exact_loss(white(), *optimum.heads_near(distance), nodes=13)) - limit
        for distance in (0.05, 0.025)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.1)
    assert abs(gaps[1]) < 1e-4


def test_coordinates_are_inverse():
    ω = np.array([-0.6, 0.0, 0.2])
    assert_allclose(omega_of(table(), z_of(table(), ω)), ω, atol=1e-15)


def test_merged_heads_say_so():
    merged = MergedHeads(2, 0.0, np.array([0.0, 0.8]))
    optimum = HeadOptimum(np.array([1.0]), np.array([0.1]), 0.3, merged=(merged,))
    assert not optimum.attained
    assert optimum.step == 0.8
    assert "2 heads at ω = 0" in repr(optimum)
    assert "infimum" in repr(optimum)
    assert optimum.to_dict()["merged"] == [
        {"heads": 2, "omega": 0.0, "values": [0.0, 0.8]}
    ]
    with pytest.raises(ValueError, match="distance must be positive"):
        optimum.heads_near(0)
