"""Identities in symbols as evidence: both sides need every formula, and each must be the same for all values."""

import sympy as sp

from attndyn.compare.evidence.identities import identical

x, y = sp.symbols("x y", positive=True)
DERIVED = {"square": x**2 + 2 * x * y + y**2, "growth": sp.exp(x) * sp.exp(y)}
STATED = {"square": (x + y) ** 2, "growth": sp.exp(x + y)}


def test_the_same_formulas_agree_however_they_are_written():
    evidence = identical(STATED, DERIVED)
    assert evidence.agrees
    assert evidence.observed == "2 of 2 identities hold"


def test_the_first_formula_that_fails_is_named():
    evidence = identical(STATED | {"square": (x - y) ** 2}, DERIVED)
    assert not evidence.agrees
    assert evidence.observed == "1 of 2 identities hold, not square"


def test_a_formula_that_one_side_lacks_does_not_agree():
    assert not identical({"square": (x + y) ** 2}, DERIVED).agrees
    assert not identical(STATED | {"more": x}, DERIVED).agrees
