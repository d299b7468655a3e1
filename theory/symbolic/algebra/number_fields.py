"""Fields of numbers that hold given roots of rational numbers, such as √2."""

from collections.abc import Sequence

import sympy as sp

from ..task import Expr
from .polynomials import Element

# Arithmetic in a field of degree 8, that of three independent square roots, takes
# seconds; the degree doubles with each further root.
_MAX_FIELD_DEGREE = 8


def number_field(roots: Sequence[Expr]) -> Element:
    """The smallest field of numbers that holds these roots; ValueError where they are too many to compute with."""
    degree = sp.prod([root.exp.q for root in roots])
    if degree > _MAX_FIELD_DEGREE:
        examples = ", ".join(map(str, roots[:4]))
        raise ValueError(
            f"the roots {examples} make a field of numbers of degree up to {degree}: "
            f"use {_MAX_FIELD_DEGREE} at most"
        )
    return sp.QQ.algebraic_field(*roots)


def roots_of(expression: Expr) -> set[Expr]:
    """The roots of rational numbers that stand in an expression, such as √2."""
    return {
        power
        for power in expression.atoms(sp.Pow)
        if power.base.is_Rational and power.exp.is_Rational
    }
