"""Where a formula is defined: what must not vanish, or not be negative, so that its value is a finite real number.

SymPy simplifies while it reads: 0·(1/x), x/x and x⁰ forget that x may be zero. So the conditions of a formula are
noted while it is read (`noted`), and those of an expression are found in it (`conditions_of`).
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Literal

import sympy as sp

from ..task import Expr
from .odd_roots import OddRoot

Kind = Literal["nonzero", "nonnegative", "positive", "function"]

_REAL_EVERYWHERE = (sp.exp, sp.sinh, sp.cosh, sp.tanh, sp.atan, sp.sin, sp.cos, sp.Abs)
_LONGEST = 80  # characters of a part in a message
_WORDS = {
    "nonzero": "divides by zero",
    "nonnegative": "is a root of a negative number",
    "positive": "is the logarithm of a number that is not positive",
    "function": "is not known to be real",
}


@dataclass(
    frozen=True
)  # no tuple: SymPy would take its text for formulas when it compares
class Condition:
    """What an `expression` must be, so that a part of a formula has a value; "function" is never known to hold.

    `form` writes that part, with the expression in place of {}.
    """

    kind: Kind
    expression: Expr
    form: str = "{}"

    def __str__(self) -> str:
        """What is wrong with the part where the condition does not hold."""
        inside = str(self.expression)
        plain = (
            self.form in ("log({})", "ln({})")
            or inside.isidentifier()
            or inside.isdigit()
        )
        part = self.form.format(inside if plain or self.form == "{}" else f"({inside})")
        shown = part if len(part) <= _LONGEST else part[:_LONGEST] + "…"
        words = (
            "is zero to the power zero" if self.form == "{}**0" else _WORDS[self.kind]
        )
        return f"{shown} {words}"


@dataclass(frozen=True)
class Formula:
    """An expression, and the conditions under which the formula that it was read from has a value."""

    expression: Expr
    conditions: tuple[Condition, ...] = ()


_notes: ContextVar[list[Condition] | None] = ContextVar(
    "conditions of the formula that is read", default=None
)


@contextmanager
def noted() -> Iterator[list[Condition]]:
    """A list that gets the conditions of all formulas that are read inside of this block.

    Inside, what is undefined for all values is noted as well, and is no error.
    """
    found: list[Condition] = []
    token = _notes.set(found)
    try:
        yield found
    finally:
        _notes.reset(token)


def note(*conditions: Condition) -> bool:
    """Note the conditions if somebody asks for them; whether somebody does."""
    found = _notes.get()
    if found is not None:
        found += conditions
    return found is not None


def meaning(value: Any) -> Expr:
    """The expression that a name stands for; a formula's conditions come along with it."""
    if isinstance(value, Formula):
        note(*value.conditions)
        return value.expression
    return value


def of_power(base: Expr, exponent: Expr) -> list[Condition]:
    """The conditions of base^(p/q), where a root of odd order q is real for every base.

    >>> print(*of_power(sp.Symbol("x"), sp.Rational(-1, 2)), sep="; ")
    1/x**(1/2) divides by zero; 1/x**(1/2) is a root of a negative number
    """
    size = abs(exponent)
    form = (
        "{}" if size == 1 else f"{{}}**{size}" if size.is_Integer else f"{{}}**({size})"
    )
    form = form if exponent >= 0 else f"1/{form}"
    found = []
    if exponent <= 0:
        found.append(Condition("nonzero", base, form))
    if exponent.q % 2 == 0:
        found.append(Condition("nonnegative", base, form))
    return found


def conditions_of(expression: Expr) -> tuple[Condition, ...]:
    """The conditions under which an expression is real and finite, in the real numbers that its symbols stand for.

    Powers are those of SymPy here: an odd root of something that may be negative is complex, and `OddRoot` is not.

    >>> x = sp.Symbol("x", real=True)
    >>> [str(condition) for condition in conditions_of(sp.log(x) + 1 / (x - 1))]
    ['1/(x - 1) divides by zero', 'log(x) is the logarithm of a number that is not positive']
    """
    found: list[Condition] = []
    for node in sorted(
        expression.atoms(sp.Pow, sp.Function, sp.I), key=sp.default_sort_key
    ):
        found += _of_node(node)
    return tuple(dict.fromkeys(found))


def _of_node(node: Expr) -> list[Condition]:
    if node is sp.I:
        return [Condition("nonnegative", sp.Integer(-1), "{}**(1/2)")]
    if node.is_Pow and isinstance(node.base, OddRoot) and node.exp.is_Integer:
        radicand, order = node.base.args
        return of_power(radicand, node.exp / order)
    if node.is_Pow and node.exp.is_Rational:
        found = of_power(node.base, node.exp)
        if (
            node.exp.q > 1 and node.exp.q % 2
        ):  # SymPy's own power is complex where the base is negative
            found.append(Condition("nonnegative", node.base, f"{{}}**({node.exp})"))
        return found
    if isinstance(node, sp.log):
        return [Condition("positive", node.args[0], "log({})")]
    if isinstance(node, sp.sign):  # stands for the slope of an absolute value
        return [Condition("nonzero", node.args[0], "the slope of |{}|")]
    if isinstance(node, (*_REAL_EVERYWHERE, OddRoot)):
        return []
    return [Condition("function", node)]


def unique(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """One condition of each kind for an expression, but those that numbers fulfil."""
    found: dict[tuple[str, Expr], Condition] = {}
    for condition in conditions:
        found.setdefault((condition.kind, condition.expression), condition)
    return tuple(condition for condition in found.values() if not _is_plain(condition))


def _is_plain(condition: Condition) -> bool:
    number = condition.expression
    return bool(
        number.is_Rational
        and (number > 0 or (number < 0 and condition.kind == "nonzero"))
    )
