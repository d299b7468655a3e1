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

# Odd roots are real as well, and stand apart: `OddRoot` is no function of SymPy.
_REAL_EVERYWHERE = (sp.exp, sp.sinh, sp.cosh, sp.tanh, sp.atan, sp.sin, sp.cos, sp.Abs)
"""Functions that are real and finite for every real argument: they set no condition."""

_MAX_PART_LENGTH = 80  # characters of a part in a message, so that it fits on a line

_MESSAGES = {
    "nonzero": "divides by zero",
    "nonnegative": "is a root of a negative number",
    "positive": "is the logarithm of a number that is not positive",
    "function": "is not known to be real",
}


# A dataclass and no tuple: SymPy would take a tuple's text for formulas when it compares.
@dataclass(frozen=True)
class Condition:
    """What an `expression` must be, so that a part of a formula has a value; "function" is never known to hold.

    `form` writes that part, with the expression in place of {}.
    """

    kind: Kind
    expression: Expr
    form: str = "{}"

    def __str__(self) -> str:
        """What is wrong with the part where the condition does not hold."""
        message = _MESSAGES[self.kind]
        if self.form == "{}**0":
            message = "is zero to the power zero"
        part = self._part()
        if len(part) > _MAX_PART_LENGTH:
            part = part[:_MAX_PART_LENGTH] + "…"
        return f"{part} {message}"

    def _part(self) -> str:
        """The part of the formula, with brackets around the expression where it needs them."""
        inside = str(self.expression)
        is_name_or_number = inside.isidentifier() or inside.isdigit()
        has_brackets = self.form in ("{}", "log({})", "ln({})")
        if has_brackets or is_name_or_number:
            return self.form.format(inside)
        return self.form.format(f"({inside})")


@dataclass(frozen=True)
class Formula:
    """An expression, and the conditions under which the formula that it was read from has a value."""

    expression: Expr
    conditions: tuple[Condition, ...] = ()


# A context variable, so that threads and nested readings do not mix their notes.
_notes: ContextVar[list[Condition] | None] = ContextVar(
    "conditions of the formula that is read", default=None
)


@contextmanager
def noted() -> Iterator[list[Condition]]:
    """A list that gets the conditions of all formulas that are read inside of this block.

    Inside, what is undefined for all values is noted as well, and is no error.
    """
    conditions: list[Condition] = []
    token = _notes.set(conditions)
    try:
        yield conditions
    finally:
        _notes.reset(token)


def note(*conditions: Condition) -> bool:
    """Note the conditions if somebody asks for them; whether somebody does."""
    notes = _notes.get()
    if notes is None:
        return False
    notes += conditions
    return True


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
    form = _power_form(exponent)
    conditions = []
    if exponent <= 0:  # x⁰ as well: 0⁰ has no value
        conditions.append(Condition("nonzero", base, form))
    if exponent.q % 2 == 0:
        conditions.append(Condition("nonnegative", base, form))
    return conditions


def _power_form(exponent: Expr) -> str:
    """How a power is written, with the base in place of {}."""
    size = abs(exponent)
    if size == 1:
        form = "{}"
    elif size.is_Integer:
        form = f"{{}}**{size}"
    else:
        form = f"{{}}**({size})"
    if exponent >= 0:
        return form
    return f"1/{form}"


def conditions_of(expression: Expr) -> tuple[Condition, ...]:
    """The conditions under which an expression is real and finite, in the real numbers that its symbols stand for.

    Powers are those of SymPy here: an odd root of something that may be negative is complex, and `OddRoot` is not.

    >>> x = sp.Symbol("x", real=True)
    >>> [str(condition) for condition in conditions_of(sp.log(x) + 1 / (x - 1))]
    ['1/(x - 1) divides by zero', 'log(x) is the logarithm of a number that is not positive']
    """
    nodes = expression.atoms(sp.Pow, sp.Function, sp.I)
    conditions: list[Condition] = []
    # Sorted, so that the first condition that fails is the same in every run.
    for node in sorted(nodes, key=sp.default_sort_key):
        if node.is_Pow:
            conditions += _of_sympy_power(node)
        else:
            conditions += _of_function(node)
    return tuple(dict.fromkeys(conditions))


def _of_sympy_power(power: Expr) -> list[Condition]:
    """The conditions of a power as SymPy has it."""
    base, exponent = power.args
    if isinstance(base, OddRoot) and exponent.is_Integer:
        radicand, order = base.args
        # (x^(1/q))^p is the power p/q of the radicand, real for odd q.
        return of_power(radicand, exponent / order)
    if not exponent.is_Rational:
        return _of_function(power)  # e to a power is real everywhere
    conditions = of_power(base, exponent)
    is_odd_root = exponent.q > 1 and exponent.q % 2 == 1
    if is_odd_root:  # SymPy's own power is complex where the base is negative
        conditions.append(Condition("nonnegative", base, f"{{}}**({exponent})"))
    return conditions


def _of_function(node: Expr) -> list[Condition]:
    """The conditions of a function of something, and of the imaginary unit."""
    if node is sp.I:
        return [Condition("nonnegative", sp.Integer(-1), "{}**(1/2)")]
    if isinstance(node, sp.log):
        return [Condition("positive", node.args[0], "log({})")]
    if isinstance(node, sp.sign):  # stands for the slope of an absolute value
        return [Condition("nonzero", node.args[0], "the slope of |{}|")]
    if isinstance(node, (*_REAL_EVERYWHERE, OddRoot)):
        return []
    return [Condition("function", node)]


def unique(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """One condition of each kind for an expression, but those that numbers fulfil."""
    first: dict[tuple[str, Expr], Condition] = {}
    for condition in conditions:
        first.setdefault((condition.kind, condition.expression), condition)
    return tuple(
        condition for condition in first.values() if not _is_fulfilled(condition)
    )


def _is_fulfilled(condition: Condition) -> bool:
    """Whether the expression is a rational number that fulfils its condition; zero is left to a closer look."""
    number = condition.expression
    if not number.is_Rational:
        return False
    return bool(number > 0 or (number < 0 and condition.kind == "nonzero"))
