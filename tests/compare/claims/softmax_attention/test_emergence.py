"""What heads lack of the patterns, by hand; and which runs must have them."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention import emergence
from attndyn.compare.claims.softmax_attention.emergence import Missing, Run

SIZE = emergence.SHORT
D = SIZE.task.dimension


def family(ω, μ):
    """Factorised weights with B_h = ω_h (1; 0) in units of the score, and a_h = (0, μ_h)."""
    weights = {name: np.zeros(shape) for name, shape in SIZE.model.shapes(D).items()}
    for h in range(2):
        weights["key"][h, :D, :D] = np.eye(D)
        weights["query"][h, :D, :D] = ω[h] * np.sqrt(D + 1) * np.eye(D)
        weights["value"][h, D, D] = μ[h]
        weights["output"][h, 0, D] = 1.0
    return weights


def test_heads_of_the_family_lack_nothing_but_what_differs_between_them():
    assert max(emergence.missing(SIZE, family([0.2, -0.2], [2, -2]))) < 1e-12
    lacking = emergence.missing(SIZE, family([0.1, -0.3], [1, -1]))
    # Loads are 1 to 3: the mean of |ω| is 0.25, and its standard deviation 0.0866.
    assert lacking == pytest.approx((0, 0, 0.0866 / 0.25, 0), abs=1e-3)
    assert emergence.missing(SIZE, family([0.2, 0.2], [1, 2])).zero_sum == 1


def test_entries_off_the_patterns_are_seen():
    weights = family([0.2, -0.2], [1, -1])
    # Row 0 of B has twice the diagonal entry beside it; a has its last entry in one place more.
    weights["key"][:, 1, 0] = 2.0
    weights["value"][:, D, 0] = [1, -1]
    lacking = emergence.missing(SIZE, weights)
    assert lacking.diagonal == pytest.approx(4 / (D + 4))
    assert lacking.last_entry == pytest.approx(1 / 2)


def test_starts_have_the_signs_that_are_asked_for():
    for seed in range(5):
        start = emergence.mixed_start(SIZE, seed)
        plain = emergence.random_start(SIZE, seed)
        for name, value in start.items():
            np.testing.assert_array_equal(np.abs(value), np.abs(plain[name]))
        a, B = SIZE.model.heads(start)
        ω = np.einsum("hdd->h", B[:, :D]) / D / np.sqrt(D + 1)
        growing = a[:, -1] + np.sqrt(D) * ω
        assert growing[0] > 0 > growing[1]
        a, B = SIZE.model.heads(emergence.positive_start(SIZE, seed))
        assert np.all(a[:, -1] > 0)


def run(at_end, has_both_signs):
    """A run with so much missing at its end, and all at its start."""
    return Run(Missing(0.9, 0.5, 0.3, 0.5), Missing(*at_end), has_both_signs)


GOOD, TRAPPED = run((0.01, 0.01, 0.02, 0.03), True), run((0.05, 0.02, 0.03, 1), False)


@pytest.mark.parametrize(
    ("runs", "agrees"),
    [
        ([GOOD, TRAPPED], True),
        # One run that lacks one pattern, or one of one sign that lacks none, is enough to disagree.
        ([GOOD, run((0.2, 0, 0, 0), True), TRAPPED], False),
        ([GOOD, run((0, 0, 0, 0.05), False)], False),
        # Without runs of either kind the statement is not tried.
        ([GOOD], False),
        ([TRAPPED], False),
    ],
)
def test_the_patterns_must_be_there_in_exactly_the_runs_of_both_signs(runs, agrees):
    claim = next(c for c in emergence.CLAIMS if c.id == "softmax.patterns_emerge")
    assert claim.judge("", runs).agrees is agrees
    for control in claim.controls:
        assert not claim.judge(control, [GOOD, TRAPPED]).agrees
