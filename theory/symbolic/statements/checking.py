"""A user's statement against the derivation: proved, refuted at a point, undefined at a point, or not decided."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ..algebra.domains import Condition, conditions_of, unique
from ..algebra.zero_test import Undecided, is_zero
from ..derivation import Derivation
from ..task import Expr
from .admitted_values import Admitted, Point, admitted_by, require_kinds
from .counterexamples import Difference
from .definedness import broken_at, is_met
from .statements import Identity, Statement, formulas, identities

Level = Literal["proved", "refuted", "undefined", "undecided"]


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A point {symbol: rational number} at which an `identity` fails, and the values of its two sides there."""

    identity: Identity
    point: Point
    derived: Expr
    claimed: Expr

    def __str__(self) -> str:
        """The point and both values on one line."""
        return f"{self.identity.what} is {self.derived}, not {self.claimed}" + _at(
            self.point, ", at "
        )


@dataclass(frozen=True, eq=False)
class Undefined:
    """A point {symbol: number} that is admitted, where a part of the statement has no finite real value.

    A number in decimals is near such a point: something changes its sign there.
    """

    condition: Condition
    point: Point

    def __str__(self) -> str:
        """The point and what happens there, on one line."""
        where = (
            " near "
            if any(number.is_Float for number in self.point.values())
            else " at "
        )
        return f"{_at(self.point, where)}: {self.condition}".removeprefix(" ")


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What became of a statement: its `identities`, those that are `failing`, and a point that shows it.

    Where a statement is refuted, `counterexample` is a point at which all of it is defined. `undefined` is a point
    at which it is not. `undecided` says what could neither be proved nor refuted.
    """

    identities: tuple[Identity, ...]
    failing: tuple[Identity, ...] = ()
    counterexample: Counterexample | None = None
    undefined: Undefined | None = None
    undecided: str = ""

    @property
    def holds(self) -> bool:
        """Whether every identity is proved, and every value is defined."""
        return self.level == "proved"

    @property
    def level(self) -> Level:
        """Proved, refuted, undefined or undecided."""
        if self.counterexample is not None:
            return "refuted"
        if self.undefined is not None:
            return "undefined"
        return "undecided" if self.undecided else "proved"

    def __str__(self) -> str:
        """The finding on one line."""
        total = len(self.identities)
        if self.counterexample is not None:
            share = (
                f" ({len(self.failing)} of {total} identities fail)"
                if total > 1
                else ""
            )
            return f"refuted: {self.counterexample}{share}"
        if self.undefined is not None:
            return f"undefined{'' if not self.undefined.point else ' '}{self.undefined}"
        if self.undecided:
            return f"undecided: {self.undecided}"
        named = self.identities[0].what if total == 1 else f"{total} identities"
        return f"proved: {named}, for all values of the symbols"


def check_statement(
    statement: Statement,
    derivation: Derivation,
    conditions: Iterable[Condition] = (),
    repeated: Iterable[Identity] = (),
) -> CheckResult:
    """Prove a statement identically in weights, parameters and N, or refute it with the smallest nice point.

    It is proved only if it is real and finite for every value that its symbols admit, else "undefined", with the
    point. What SymPy has simplified away is not seen in an expression: text is read together with its `conditions`
    by `read_formula`. `repeated` are further identities, of what was stated twice. ValueError names unknown
    symbols, those that are negative, nonzero or anything but real, positive, nonnegative or whole, and inexact
    numbers.

    >>> import sympy as sp
    >>> from attndyn.theory.symbolic import N, Prompt, average, symbolic_task
    >>> from attndyn.theory.symbolic.derivation import derive_output
    >>> from attndyn.theory.symbolic.statements.statements import StatedInvariant
    >>> prompt, (u, v) = Prompt(1), sp.symbols("u v", real=True)
    >>> output = u * v * average(prompt.x[0] * prompt.y) * prompt.query[0]
    >>> derivation = derive_output(symbolic_task(1), output, [u, v])
    >>> print(check_statement(StatedInvariant(u**2 - v**2), derivation))
    proved: d(u**2 - v**2)/dt, for all values of the symbols
    >>> print(check_statement(StatedInvariant(u**2 + v**2), derivation))
    refuted: d(u**2 + v**2)/dt is -8, not 0, at N = 1, lambda_1 = 1, u = 1, v = 1
    >>> print(check_statement(StatedInvariant((u**2 - v**2) / (N - 1)), derivation))
    undefined at N = 1: 1/(N - 1) divides by zero
    """
    stated = (*repeated, *identities(statement, derivation))
    require_kinds(set().union(*(each.free_symbols for each in formulas(statement))))
    admitted = admitted_by(derivation.task)
    unproved = _unproved_conditions(statement, stated, conditions, admitted)
    differences = {
        part: Difference(part.derived, part.claimed, unproved, admitted)
        for part in stated
    }
    failing, doubtful = _failing(differences)
    for part in failing:
        point = differences[part].smallest()
        if point is not None:
            example = Counterexample(
                part, point, part.derived.xreplace(point), part.claimed.xreplace(point)
            )
            return CheckResult(stated, failing, example)
    for condition in unproved:
        broken = broken_at(condition, admitted)
        if broken is not None:
            return CheckResult(stated, failing, undefined=Undefined(condition, broken))
    return CheckResult(
        stated, failing, undecided=_open_question(failing, doubtful, unproved)
    )


def _unproved_conditions(
    statement: Statement,
    stated: Iterable[Identity],
    noted: Iterable[Condition],
    admitted: Admitted,
) -> tuple[Condition, ...]:
    """What must hold for the statement to have a value, as far as it is not proved."""
    expressions = [*formulas(statement)]
    for part in stated:
        expressions += [part.derived, part.claimed]
    found = unique(
        [
            *noted,
            *(each for expression in expressions for each in conditions_of(expression)),
        ]
    )
    return tuple(condition for condition in found if not is_met(condition, admitted))


def _failing(
    differences: dict[Identity, Difference],
) -> tuple[tuple[Identity, ...], dict[Identity, str]]:
    """The identities that do not hold, and why nothing is known of others."""
    failing: list[Identity] = []
    doubtful: dict[Identity, str] = {}
    for part, difference in differences.items():
        try:
            if difference.shows_soon() or not is_zero(part.derived - part.claimed):
                failing.append(part)
        except Undecided as reason:
            doubtful[part] = str(reason)
    return tuple(failing), doubtful


def _open_question(
    failing: tuple[Identity, ...],
    doubtful: dict[Identity, str],
    unproved: tuple[Condition, ...],
) -> str:
    """What is not decided, or nothing."""
    for part, reason in doubtful.items():
        return f"{part.what}: {reason}"
    for condition in unproved:
        return f"it is not known whether {condition} for some values of its symbols"
    for part in failing:
        return f"{part.what} is not as claimed, but both sides are real at no small point that was tried"
    return ""


def _at(point: Point, before: str) -> str:
    return before * bool(point) + ", ".join(
        f"{symbol} = {value}" for symbol, value in point.items()
    )
