"""A user's statement against the derivation: proved, or refuted at a point with exact numbers."""

from dataclasses import dataclass

from .counterexample import Point, differ_at_small_points, differing_point, point_below
from .derivation import Derivation
from .exact import is_zero
from .problem import Expr
from .signs import is_nonnegative
from .statements import Identity, Statement, identities


@dataclass(frozen=True, eq=False)
class Counterexample:
    """A point {symbol: rational number} at which an `identity` fails, and the values of its two sides there."""

    identity: Identity
    point: Point
    derived: Expr
    claimed: Expr

    def __str__(self) -> str:
        """The point and both values on one line."""
        where = ", ".join(f"{symbol} = {value}" for symbol, value in self.point.items())
        least = "at least " * self.identity.at_least
        return f"{self.identity.what} is {self.derived}, not {least}{self.claimed}" + f", at {where}" * bool(where)


@dataclass(frozen=True, eq=False)
class Finding:
    """What became of a statement: its `identities`, those that are `failing`, and where the first of them fails.

    Where a value is not real, only that is reported.
    """

    identities: tuple[Identity, ...]
    failing: tuple[Identity, ...]
    counterexample: Counterexample | None

    @property
    def holds(self) -> bool:
        """Whether every identity is proved."""
        return not self.failing

    @property
    def level(self) -> str:
        """Proved or refuted: there is nothing between."""
        return "proved" if self.holds else "refuted"

    def __str__(self) -> str:
        """The finding on one line."""
        total = len(self.identities)
        if self.holds:
            named = self.identities[0].what if total == 1 else f"{total} identities"
            return f"proved: {named}, for all values of the symbols"
        share = f" ({len(self.failing)} of {total} identities fail)" if total > 1 else ""
        return f"refuted: {self.counterexample}{share}"


def check(statement: Statement, derivation: Derivation) -> Finding:
    """Prove a statement identically in weights, parameters and N, or refute it with the smallest nice point.

    Every identity of the statement is decided by one exact normal form, in which roots such as cbrt(m) may stand.
    ValueError names unknown symbols, inexact numbers, and what cannot be decided.

    >>> import sympy as sp
    >>> from attndyn.theory.symbolic import Prompt, average, symbolic_task
    >>> from attndyn.theory.symbolic.derivation import derive_output
    >>> from attndyn.theory.symbolic.statements import StatedInvariant
    >>> prompt, (u, v) = Prompt(1), sp.symbols("u v", real=True)
    >>> output = u * v * average(prompt.x[0] * prompt.y) * prompt.query[0]
    >>> derivation = derive_output(output, symbolic_task(1), [u, v])
    >>> print(check(StatedInvariant(u**2 - v**2), derivation))
    proved: d(u**2 - v**2)/dt, for all values of the symbols
    >>> print(check(StatedInvariant(u**2 + v**2), derivation))
    refuted: d(u**2 + v**2)/dt is -8, not 0, at N = 1, lambda_1 = 1, u = 1, v = 1
    """
    stated = identities(statement, derivation)
    fraction = derivation.task.in_context_fraction
    failing = tuple(part for part in stated if part.at_least and not _is_at_least(part, fraction))
    if not failing:  # an identity between values that are not real would be none
        failing = tuple(part for part in stated if not part.at_least and not _is_identical(part, fraction))
    return Finding(stated, failing, _counterexample(failing[0], fraction) if failing else None)


def _is_identical(part: Identity, fraction: Expr) -> bool:
    """Whether both sides are the same: points refute quickly, and only the normal form proves."""
    if differ_at_small_points(part.derived, part.claimed, fraction):
        return False
    return is_zero(part.derived - part.claimed)


def _is_at_least(part: Identity, fraction: Expr) -> bool:
    """Whether the claim is never exceeded; ValueError if this is neither proved nor refuted at a small point."""
    if is_nonnegative(part.derived - part.claimed):
        return True
    if _point(part, fraction) is None:
        raise ValueError(f"{part.what} must be {part.claimed} or more, and {part.derived} is not known to be")
    return False


def _counterexample(part: Identity, fraction: Expr) -> Counterexample:
    point = _point(part, fraction)
    if point is None:
        raise ValueError(f"{part.what} is not as claimed, but both sides are real at no small point that was tried")
    return Counterexample(part, point, part.derived.xreplace(point), part.claimed.xreplace(point))


def _point(part: Identity, fraction: Expr) -> Point | None:
    if part.at_least:
        return point_below(part.derived - part.claimed, fraction)
    return differing_point(part.derived, part.claimed, fraction)
