"""A user's statement against the derivation: proved, refuted at a point, undefined at a point, or not decided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from ....runtime.display import Displayed, Summary
from ..algebra.domains import Condition, conditions_of, unique
from ..algebra.zero_test import Undecided, is_zero
from ..derivation import Derivation
from ..formulas.typeset_results import as_text
from ..task import Expr, symbols_in
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
        difference = f"{self.identity.what} is {self.derived}, not {self.claimed}"
        if self.point:
            return f"{difference}, at {_text(self.point)}"
        return difference

    def to_dict(self) -> dict[str, object]:
        """The identity, the point and both values as text."""
        return {
            "identity": self.identity.what,
            "point": as_text(self.point),
            "derived": str(self.derived),
            "claimed": str(self.claimed),
        }


@dataclass(frozen=True, eq=False)
class Undefined:
    """A point {symbol: number} that is admitted, where a part of the statement has no finite real value.

    A number in decimals is near such a point: something changes its sign there.
    """

    condition: Condition
    point: Point

    def __str__(self) -> str:
        """The point and what happens there, on one line."""
        if not self.point:
            return f": {self.condition}"
        is_near = any(number.is_Float for number in self.point.values())
        return f"{'near' if is_near else 'at'} {_text(self.point)}: {self.condition}"

    def to_dict(self) -> dict[str, object]:
        """The point, and what happens there, as text."""
        return {"point": as_text(self.point), "condition": str(self.condition)}


@dataclass(frozen=True, eq=False, repr=False)
class CheckResult(Displayed):
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
        if self.undecided:
            return "undecided"
        return "proved"

    def __str__(self) -> str:
        """The result on one line."""
        total = len(self.identities)
        if self.counterexample is not None:
            failing = f" ({len(self.failing)} of {total} identities fail)"
            return f"refuted: {self.counterexample}{failing if total > 1 else ''}"
        if self.undefined is not None:
            space = " " if self.undefined.point else ""
            return f"undefined{space}{self.undefined}"
        if self.undecided:
            return f"undecided: {self.undecided}"
        subject = self.identities[0].what if total == 1 else f"{total} identities"
        return f"proved: {subject}, for all values of the symbols"

    def summary(self) -> Summary:
        """The level, what fails and where."""
        rows = {
            "identities": len(self.identities),
            "failing": ", ".join(identity.what for identity in self.failing) or "none",
        }
        if self.counterexample is not None:
            rows["at"] = _text(self.counterexample.point) or "every point"
            rows["derived"] = self.counterexample.derived
            rows["claimed"] = self.counterexample.claimed
        elif self.undefined is not None:
            rows["undefined"] = self.undefined
        elif self.undecided:
            rows["undecided"] = self.undecided
        return Summary(f"Statement: {self.level}", rows)

    def to_dict(self) -> dict[str, object]:
        """The level, the identities and what shows it, as text."""
        example, undefined = self.counterexample, self.undefined
        return {
            "level": self.level,
            "identities": [identity.what for identity in self.identities],
            "failing": [identity.what for identity in self.failing],
            "counterexample": None if example is None else example.to_dict(),
            "undefined": None if undefined is None else undefined.to_dict(),
            "undecided": self.undecided,
        }


def check_statement(
    statement: Statement,
    derivation: Derivation,
    conditions: Iterable[Condition] = (),
    repeated: Iterable[Identity] = (),
) -> CheckResult:
    """Prove a statement identically in weights, parameters and N, or refute it with a point of small rational numbers.

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
    expressions = formulas(statement)
    require_kinds(symbols_in(expressions))
    admitted = admitted_by(derivation.task)
    unproved = _unproved_conditions(statement, stated, conditions, admitted)
    # One search for each identity, all within what is admitted and defined.
    differences = {
        identity: Difference(identity.derived, identity.claimed, unproved, admitted)
        for identity in stated
    }
    # What is neither proved nor refuted has a reason.
    failing, reasons = _failing(differences)

    # A counterexample outranks an undefined point: the statement is wrong where all of it has a value.
    example = _counterexample(failing, differences)
    if example is not None:
        return CheckResult(stated, failing, example)
    undefined = _undefined(unproved, admitted)
    if undefined is not None:
        return CheckResult(stated, failing, undefined=undefined)
    question = _open_question(failing, reasons, unproved)
    return CheckResult(stated, failing, undecided=question)


def _counterexample(
    failing: Iterable[Identity], differences: Mapping[Identity, Difference]
) -> Counterexample | None:
    """A point at which the first possible of the failing identities has two different sides."""
    for identity in failing:
        point = differences[identity].smallest()
        if point is not None:
            derived = identity.derived.xreplace(point)
            claimed = identity.claimed.xreplace(point)
            return Counterexample(identity, point, derived, claimed)
    return None


def _undefined(conditions: Iterable[Condition], admitted: Admitted) -> Undefined | None:
    """A point at which the first possible of the conditions does not hold."""
    for condition in conditions:
        point = broken_at(condition, admitted)
        if point is not None:
            return Undefined(condition, point)
    return None


def _unproved_conditions(
    statement: Statement,
    stated: Iterable[Identity],
    noted: Iterable[Condition],
    admitted: Admitted,
) -> tuple[Condition, ...]:
    """What must hold for the statement to have a value, as far as it is not proved."""
    expressions = [*formulas(statement)]
    for identity in stated:
        expressions += [identity.derived, identity.claimed]
    conditions = list(noted)
    for expression in expressions:
        conditions += conditions_of(expression)
    return tuple(
        condition for condition in unique(conditions) if not is_met(condition, admitted)
    )


def _failing(
    differences: dict[Identity, Difference],
) -> tuple[tuple[Identity, ...], dict[Identity, str]]:
    """The identities that do not hold, and why nothing is known of others."""
    failing: list[Identity] = []
    reasons: dict[Identity, str] = {}
    for identity, difference in differences.items():
        try:
            # A few small points first: they refute most mistakes sooner than algebra does.
            if difference.shows_soon() or not is_zero(
                identity.derived - identity.claimed
            ):
                failing.append(identity)
        except Undecided as reason:
            reasons[identity] = str(reason)
    return tuple(failing), reasons


def _open_question(
    failing: tuple[Identity, ...],
    reasons: dict[Identity, str],
    unproved: tuple[Condition, ...],
) -> str:
    """What is not decided, or nothing."""
    # The most telling first: algebra that cannot decide, then domains, then points.
    for identity, reason in reasons.items():
        return f"{identity.what}: {reason}"
    for condition in unproved:
        return f"it is not known whether {condition} for some values of its symbols"
    for identity in failing:
        return f"{identity.what} is not as claimed, but both sides are real at no small point that was tried"
    return ""


def _text(point: Point) -> str:
    return ", ".join(f"{symbol} = {value}" for symbol, value in point.items())
