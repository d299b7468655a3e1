"""Mixtures: the published convention, exact losses against samples, the flow of all weights against descent."""

import numpy as np
import pytest

from attndyn.compare.claims.linear_attention.in_context.mixtures import (
    FRACTIONS,
    MODEL,
    exact,
    exact_source,
    flow_of_all_weights,
    learned_map,
    losses,
    mixture,
    sampled,
    sampled_tests,
)
from attndyn.simulate import initial_weights, train


def test_the_fixed_teacher_has_the_published_length():
    assert np.sum(mixture(0.4).fixed_teacher ** 2) == 4
    assert np.sum(mixture(0.4, 1.0).fixed_teacher ** 2) == 1
    assert [mixture(p).in_context_fraction for p in FRACTIONS] == list(FRACTIONS)


def test_labels_are_random_at_fraction_zero_only():
    assert np.allclose(exact(0.0).S, exact(0.0, 2.0, True).S)
    assert not np.allclose(exact(0.0).S, exact(0.0, 2.0, False).S)
    assert np.allclose(exact(0.4).S, exact(0.4, 2.0, False).S)


@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_exact_losses_are_those_of_samples(fraction):
    M = exact(fraction).minimum
    sets = (sampled(fraction, 20_000, 3), *sampled_tests(20_000, 3))
    found = [float(each.c + (M @ each.S - 2 * each.b) @ M) for each in sets]
    assert np.allclose(found, losses(fraction, M), rtol=0.06)
    other = losses(fraction, M, 1.0)  # another teacher's length
    assert not np.allclose(found, other, rtol=0.06)


def test_the_published_setting_of_the_minimum():
    found = losses(0.2, exact(0.2).minimum)
    assert found.round(6).tolist() == [0.062352, 0.207537, 1.02251]


def test_descent_follows_the_flow_at_first_order():
    start = initial_weights(MODEL, mixture(0.4), 0.02, 1, "zhang2025")
    gaps = []
    for rate in (1e-4, 5e-5, 2.5e-5):
        run = train(
            MODEL,
            exact_source(0.4),
            start,
            learning_rate=rate,
            steps=round(0.04 / rate),
            record=10**6,
        )
        theory = flow_of_all_weights(0.4, start, np.array([0.0, 0.08]))[-1]
        gaps.append(np.linalg.norm(learned_map(run.final) - theory))
    orders = np.log2(np.array(gaps[:-1]) / gaps[1:])
    assert np.allclose(orders, 1.0, atol=0.15)
