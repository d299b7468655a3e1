"""The best heads that claims measure: against losses and values that other quadratures found."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention.heads_at_optimum import (
    best_heads,
    best_scale,
)
from attndyn.compare.claims.softmax_attention.setting import PUBLISHED
from attndyn.theory.softmax_attention import exact_loss


@pytest.mark.parametrize(
    ("gamma", "value", "loss"),
    [
        (0.05, 8.795, 0.2428325),
        (0.13, 3.391, 0.2429878),
        (0.2, 2.213, 0.2440708),
        (0.3, 1.487, 0.2483032),
    ],
)
def test_best_values_of_a_pair_are_the_known_ones(gamma, value, loss):
    best = best_heads(PUBLISHED, [gamma, -gamma], [[1.0, -1.0]])
    np.testing.assert_allclose(best.mu, [value, -value], rtol=2e-4)
    assert best.loss == pytest.approx(loss, abs=6e-8)


def test_other_values_have_a_larger_loss():
    best = best_heads(PUBLISHED, [0.3, -0.1], np.eye(2))
    for change in ([0.01, 0.0], [0.0, 0.01], [-0.01, 0.01]):
        assert float(exact_loss(PUBLISHED, [0.3, -0.1], best.mu + change)) > best.loss


def test_the_best_single_head_is_the_known_one():
    ω, best = best_scale(PUBLISHED, (1.0,), (0.4, 0.7), digits=1e-4)
    assert ω == pytest.approx(0.5179, abs=1e-4)
    assert best.mu[0] == pytest.approx(1.4971, abs=2e-4)
    assert best.loss == pytest.approx(0.403963, abs=1e-6)


def test_a_bracket_without_a_zero_is_refused():
    with pytest.raises(ValueError, match="different signs"):
        best_scale(PUBLISHED, (1.0,), (0.05, 0.1))
