"""Runs of merged attention against their time course: the judge of times and losses, and the budget beside it."""

import numpy as np
import pytest

from attndyn.compare.claims.linear_attention.common.experiments import (
    FOUR,
    MERGED,
    WHITE,
    merged,
)
from attndyn.compare.claims.linear_attention.merged.published_runs import (
    HALF_DROPPED,
    Drops,
    _agree_on_average,
    _course,
    _drops,
    size_claim,
)
from attndyn.compare.evidence.claim import UNMODIFIED, RunContext
from attndyn.compare.metrics.curves import sup_gap
from attndyn.theory import time_course

TIMES = np.linspace(0, 5, 40)
CURVE = np.exp(-TIMES)
PAIRS = np.tile([2.0, 0.14], (12, 1))
SCATTER = 1 + 0.01 * np.random.default_rng(0).standard_normal(PAIRS.shape)


def judged(factor):
    return _agree_on_average(
        Drops(PAIRS, TIMES, CURVE),
        Drops(PAIRS * SCATTER * factor, TIMES, CURVE + 0.02),
    )


def test_times_and_losses_agree_within_their_scatter():
    assert judged([1.0, 1.0]).agrees
    assert not judged([1.04, 1.0]).agrees
    assert not judged([1.0, 0.96]).agrees


def test_the_residual_is_that_of_the_curves():
    evidence = judged([1.0, 1.0])
    assert evidence.residual == pytest.approx(0.02)
    assert evidence.curves[0].x == tuple(TIMES.tolist())
    assert evidence.curves[0].predicted == tuple(CURVE.tolist())


@pytest.mark.parametrize("task", [FOUR, WHITE], ids=["general", "white"])
def test_the_course_is_that_of_the_theory_from_the_start_of_the_run(task):
    each = merged(task, 5)[0]
    expected = time_course(task, MERGED, TIMES, each.start).loss
    assert np.allclose(
        _course(task, each, UNMODIFIED, TIMES), expected, rtol=1e-9, atol=0
    )
    assert not np.allclose(
        _course(task, each, HALF_DROPPED, TIMES), expected, rtol=1e-2, atol=0
    )


def test_the_budget_covers_the_residual_that_the_verdict_shows(tmp_path):
    claim, first = size_claim("general", FOUR), merged(FOUR, 5)[0]
    # Only the first run is simulated: the drops of the others are not asked for.
    context = RunContext(tmp_path, 5, experiments=(first,))
    _, times, loss = _drops(FOUR, context)
    sizes = claim.budget(context)
    residual = sup_gap(_course(FOUR, first, UNMODIFIED, times), loss)
    assert residual <= sum(sizes.values()) < 3 * residual
    assert min(sizes.values()) == sizes["solver"] < 1e-7
