"""How identities in symbols are decided: what claims of the level "proved" are judged by."""

from collections.abc import Mapping
from typing import Any

from .evidence import Evidence

Expr = Any
Formulas = Mapping[str, Expr]
"""What a formula is for → the expression, or a count."""


def identical(predicted: Formulas, observed: Formulas) -> Evidence:
    """Every formula is the derived one for all values of the symbols, decided by an exact normal form.

    >>> import sympy as sp
    >>> x = sp.Symbol("x", real=True)
    >>> identical({"square": (x + 1) ** 2}, {"square": x**2 + 2 * x + 1}).observed
    '1 of 1 identities hold'
    """
    names = sorted(observed.keys() | predicted.keys())
    failing = [name for name in names if not _same(name, predicted, observed)]
    count = f"{len(names) - len(failing)} of {len(names)} identities hold"
    exception = f", not {failing[0]}" if failing else ""
    return Evidence(
        agrees=not failing,
        observed=count + exception,
        expected="all, for all values of the symbols",
    )


def _same(name: str, predicted: Formulas, observed: Formulas) -> bool:
    """Whether both sides have this formula, and it is the same: a point refutes quickly, a normal form proves."""
    import sympy as sp

    from ...theory.symbolic.algebra.zero_test import is_zero
    from ...theory.symbolic.statements.counterexamples import differ_at_small_points

    if name not in predicted or name not in observed:
        return False
    derived, stated = observed[name], predicted[name]
    if differ_at_small_points(derived, stated, sp.S.One):
        return False
    return bool(is_zero(derived - stated))
