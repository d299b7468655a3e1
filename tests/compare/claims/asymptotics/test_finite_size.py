"""The judge of stored runs takes errors of the stated size, and neither larger nor smaller ones."""

import numpy as np
import pytest

from attndyn.compare.claims.asymptotics.finite_size import Gaps, scores_near_one


@pytest.mark.parametrize(
    ("size", "agrees"), [(1.0, True), (0.6, True), (0.4, False), (1.6, False)]
)
def test_the_size_of_the_scores_decides(size, agrees):
    signs = np.array([1.0, -1.0, 1.0, -1.0])
    observed = Gaps(np.full(4, 2.0), np.full(4, 0.3))
    # Both errors count: √(0.3² + 0.4²) = 0.5.
    predicted = Gaps(2.0 + 0.5 * size * signs, np.full(4, 0.4))
    evidence = scores_near_one(predicted, observed)
    assert evidence.agrees == agrees
    assert f"{size:.2f}" in evidence.observed
