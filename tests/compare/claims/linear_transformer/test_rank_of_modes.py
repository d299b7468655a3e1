"""The effective rank of the theory's coefficients, at the numbers of an independent calculation."""

import numpy as np
import pytest

from attndyn.compare.claims.linear_transformer.rank_of_modes import (
    BY_INPUT,
    rank_in_the_limit,
)
from attndyn.compare.claims.linear_transformer.setting import mode_task
from attndyn.compare.metrics.spectra import effective_rank
from attndyn.theory.linear_transformer import minimum, mode_flow

INPUTS = 0.5 ** np.arange(6)
START = 1e-3
TIMES = np.linspace(0.0, 10.0, 1001)


def test_the_limit_dips_to_one_mode_and_ends_with_six():
    """6 → 1.1038 at t = 4.32 → 3.686; the first mode is half learned at 3.453."""
    ranks = rank_in_the_limit(INPUTS, START, TIMES)
    assert ranks[0] == pytest.approx(6, abs=1e-12)
    assert ranks.min() == pytest.approx(1.1038, abs=5e-5)
    assert TIMES[ranks.argmin()] == pytest.approx(4.32, abs=0.006)
    assert rank_in_the_limit(INPUTS, START, np.array([1e5]))[0] == pytest.approx(
        3.686, abs=5e-4
    )
    half = np.log(1 / START - 1) / 2
    assert half == pytest.approx(3.453, abs=5e-4)
    wrong = rank_in_the_limit(INPUTS, START, TIMES, BY_INPUT)
    assert abs(wrong.min() - 1.1038) > 0.1


def test_long_contexts_have_the_same_dip_and_another_end():
    """At N = 2,000: 1.1038 → 3.692, the effective rank of the minimum, which the flow nears from above."""
    task = mode_task(INPUTS, 2000)
    root = np.full(6, np.sqrt(START))
    ranks = effective_rank(mode_flow(task, root, root, TIMES[400:500]).coefficients)
    assert ranks.min() == pytest.approx(1.1038, abs=5e-5)
    assert effective_rank(minimum(task).coefficients) == pytest.approx(3.692, abs=5e-4)
