"""The paper's formulas as they stand there, which the claims break, are those of the theory where they are whole."""

import mpmath
import pytest

from attndyn.compare.claims.asymptotics.textbook_form import (
    MISTAKES,
    published_values,
    textbook_errors,
)
from attndyn.theory.asymptotics import errors

POINTS = [(0.5, 4, 0.5, 0.1, 0), (2, 2, 0.5, 0.1, 0), (1.5, 4, 2, 0.1, 0.1)]


@pytest.mark.parametrize("point", POINTS)
def test_whole_formulas_are_those_of_the_theory(point):
    names = ("tau", "alpha", "kappa", "noise", "ridge")
    known = errors(**dict(zip(names, point, strict=True)))
    with mpmath.workdps(30):
        found = textbook_errors(point)
    assert float(found.icl) == pytest.approx(known.icl, rel=1e-14)
    assert float(found.idg) == pytest.approx(known.idg, rel=1e-14)


@pytest.mark.parametrize("mistake", MISTAKES)
def test_every_mistake_matters_below_the_threshold(mistake):
    point = POINTS[0]
    wrong, right = textbook_errors(point, mistake), textbook_errors(point)
    assert abs(wrong.icl / right.icl - 1) > 0.01


def test_published_values_are_eighty():
    rows = published_values()
    assert len(rows) == 80
    assert sum(rows["ridge"] > 0) == 20
