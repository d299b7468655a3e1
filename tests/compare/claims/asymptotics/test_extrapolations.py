"""Extrapolated means: a parabola is found where there is one, and a line where there is none is refused."""

import numpy as np

from attndyn.compare.claims.asymptotics.extrapolations import (
    SETS,
    Extrapolated,
    Means,
    extrapolation_agrees,
)

JUDGE = extrapolation_agrees(list(SETS))
LIMIT = np.array([1.3, 0.6])


def samples(curvature, seed=0):
    """Means over data sets at each D that go to the limits, with a scatter as 1/D."""
    generator = np.random.default_rng(seed)
    found = []
    for D, count in SETS.items():
        mean = LIMIT * (1 + 2 / D + curvature / D**2)
        found.append(mean + 1.5 / D * generator.normal(size=(count, 2)))
    return Means.of(found)


def test_a_parabola_ends_on_the_limit():
    for seed in range(20):
        observed = samples(30.0, seed)
        assert JUDGE(Extrapolated(LIMIT, 2), observed).agrees
        # Controls: a line through a parabola, and another limit.
        assert not JUDGE(Extrapolated(LIMIT, 1), observed).agrees
        assert not JUDGE(Extrapolated(LIMIT + 0.3, 2), observed).agrees


def test_the_evidence_states_ends_and_limits():
    evidence = JUDGE(Extrapolated(LIMIT, 1), samples(0.0))
    assert evidence.agrees
    assert evidence.expected.startswith("1.3000, 0.6000, within 5.")
    assert "±" in evidence.observed
