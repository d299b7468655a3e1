"""Statements about a model, read from the tables of a file: formulas in text or LaTeX, and equations."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, get_args

import sympy as sp

from ...runtime.serialisation import refuse_unknown
from ...theory.symbolic import (
    TIME,
    Condition,
    Derivation,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedRate,
    StatedReduction,
    StatedSolution,
    Statement,
    read_equation,
    read_equations,
    read_formula,
    read_latex,
    read_text,
)
from ...theory.symbolic.algebra.domains import noted
from ...theory.symbolic.statements.checking import Level
from ...theory.symbolic.statements.statements import Identity
from ...theory.symbolic.task import Expr
from .symbol_names import numbers_of, real_symbols, symbols_of

_LEVELS = get_args(Level)
_TABLES = ("ansatz", "equations", "values", "course", "start")
"""Fields that hold a formula for each of several symbols."""

_RATE = re.compile(r"\\dot|\\[dt]?frac|/ *dt|'")
"""What the left side of an equation contains if it is a rate: \\dot v, \\frac{dv}{dt}, dv/dt or v'."""

_NEW_NAMES = ("amplitudes", "constants", "positive")
"""Lists of names that a statement brings along: what moves, what does not, and what does not and is positive."""


def _stated_solution(
    course: Mapping[Expr, Expr],
    ansatz: Mapping[Expr, Expr] | None = None,
    start: Mapping[Expr, Expr] | None = None,
) -> StatedSolution:
    """A solution, which statement files call a course."""
    return StatedSolution(course, ansatz, start)


class _Kind(NamedTuple):
    make: Callable[..., Statement]
    needs: tuple[str, ...]
    may_have: tuple[str, ...] = ()


_KINDS = {
    "loss": _Kind(StatedLoss, ("value",), ("ansatz",)),
    "motion": _Kind(StatedRate, ("weight", "rate")),
    "invariant": _Kind(StatedInvariant, ("quantity",)),
    "reduction": _Kind(StatedReduction, ("ansatz", "equations")),
    "fixed point": _Kind(StatedFixedPoint, ("values",), ("loss",)),
    "course": _Kind(_stated_solution, ("course",), ("ansatz", "start")),
}


class Entry(NamedTuple):
    """A statement of a file under its name, and the level at which its author expects it.

    `conditions` are those of its formulas as they are written; `repeated` says of what is stated twice that both
    are the same.
    """

    name: str
    statement: Statement
    expected: str
    conditions: tuple[Condition, ...] = ()
    repeated: tuple[Identity, ...] = ()


class _Rate(NamedTuple):
    """The left side of an equation: the symbol that moves, and the constant before its rate."""

    symbol: Expr
    constant: Expr


class _Names(NamedTuple):
    """The names that a formula may use: symbols, and numbers and definitions by name."""

    symbols: list[Expr]
    meanings: dict[str, Expr]


def _kind_of(table: dict[str, Any]) -> _Kind:
    """The kind of a statement; ValueError for an unknown one, and for fields that are missing or do not belong."""
    name = table.get("kind")
    if not isinstance(name, str) or name not in _KINDS:
        raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {name!r}")
    kind = _KINDS[name]
    allowed = ("name", "kind", "expected", *_NEW_NAMES, *kind.needs, *kind.may_have)
    refuse_unknown(table, allowed=allowed, owner=f"a statement of kind {name}")
    for field in kind.needs:
        if field not in table:
            raise ValueError(f"a statement of kind {name} needs {field}")
    return kind


@dataclass(frozen=True)
class StatementReader:
    """Reader of statements in one syntax, for one derivation and the definitions of a file.

    `model_conditions` are the conditions of the model's output, which all statements have.
    """

    syntax: str
    derivation: Derivation
    definitions: Mapping[str, str]
    model_conditions: tuple[Condition, ...] = ()

    @property
    def is_latex(self) -> bool:
        """Whether formulas are LaTeX, and not text."""
        return self.syntax == "latex"

    def entry(self, name: str, table: dict[str, Any]) -> Entry:
        """The entry of one table [[statement]]; ValueError names the statement and the culprit."""
        repeated: list[Identity] = []
        try:
            expected = table.get("expected", "proved")
            if expected not in _LEVELS:
                raise ValueError(
                    f"expected must be one of {', '.join(_LEVELS)}, not {expected!r}"
                )
            # Conditions under which the formulas are defined, as they are read.
            with noted() as conditions:
                statement = self._statement(table, repeated)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return Entry(
            name,
            statement,
            expected,
            conditions=(*self.model_conditions, *conditions),
            repeated=tuple(repeated),
        )

    def _statement(self, table: dict[str, Any], repeated: list[Identity]) -> Statement:
        """The statement of a table; what it states twice goes to `repeated`."""
        make, needs, may_have = _kind_of(table)
        # Names that the statement brings along, such as the amplitudes of an ansatz.
        new_symbols: list[Expr] = []
        for name in _NEW_NAMES:
            new_symbols += real_symbols(table.get(name, []), name == "positive")

        stated = [name for name in (*needs, *may_have) if name in table]
        for name in stated:
            # A formula stands alone; a table has one for each symbol.
            if isinstance(table[name], dict) and name not in _TABLES:
                raise ValueError(f"{name} must be one formula, not a table")
        fields = {}
        for name in stated:
            if name in _TABLES:
                is_rate = name == "equations"
                fields[name] = self._formulas(
                    name, table[name], new_symbols, repeated, is_rate=is_rate
                )
            else:
                fields[name] = self._expression(table[name], new_symbols)
        return make(**fields)

    def _formulas(
        self,
        field: str,
        source: object,
        new_symbols: list[Expr],
        repeated: list[Identity],
        *,
        is_rate: bool,
    ) -> dict[Expr, Expr]:
        """The expressions of a field by symbol, from a table or from equations in one text."""
        if not isinstance(source, dict):
            return self._equations(field, str(source), new_symbols, is_rate=is_rate)

        formulas: dict[Expr, Expr] = {}
        constants: set[Expr] = set()
        for name, formula in source.items():
            if is_rate:
                symbol, constant = self._rate(name, new_symbols)
            else:
                symbol, constant = self._expression(name, new_symbols), sp.Integer(1)
            value = self._expression(formula, new_symbols) / constant
            # Two spellings of one name, such as v_1 and v_{1}, give the same symbol.
            if symbol in formulas:
                owner = f"{symbol}, which is stated twice,"
                repeated.append(Identity(owner, formulas[symbol], value))
            # The first spelling counts, and the second is to be proved equal.
            formulas.setdefault(symbol, value)
            constants |= constant.free_symbols
        _refuse_moving_constants(constants, formulas)
        return formulas

    def _equations(
        self, field: str, text: str, new_symbols: list[Expr], *, is_rate: bool
    ) -> dict[Expr, Expr]:
        """The right sides of equations in one text by symbol; ValueError if there is none."""
        if "=" not in text:
            raise ValueError(
                f"{field} must be a table of formulas, or equations in one text"
            )
        names = self._names(new_symbols)
        return read_equations(text, *names, latex=self.is_latex, rate=is_rate)

    def _rate(self, name: str, new_symbols: list[Expr]) -> _Rate:
        """The symbol whose rate stands on the left of an equation, and the constant before it: \\tau \\dot v."""
        if not _RATE.search(name):
            return _Rate(self._expression(name, new_symbols), sp.Integer(1))
        names = self._names(new_symbols)
        # The reader of equations divides the right side by the constant.
        symbol, inverse_constant = read_equation(
            f"{name} = 1", *names, latex=self.is_latex, rate=True
        )
        return _Rate(symbol, 1 / inverse_constant)

    def _expression(self, source: object, new_symbols: list[Expr]) -> Expr:
        names = self._names(new_symbols)
        read = read_latex if self.is_latex else read_text
        return read(str(source), *names)

    def _names(self, new_symbols: list[Expr]) -> _Names:
        """The names of a statement; definitions come with their conditions."""
        symbols = [*symbols_of(self.derivation), TIME, *new_symbols]
        meanings = numbers_of(self.derivation.task)
        for name, source in self.definitions.items():
            try:
                formula = read_formula(
                    str(source), symbols, meanings, latex=self.is_latex
                )
            except ValueError as error:
                raise ValueError(f"definition {name}: {error}") from None
            if name in meanings and meanings[name] != formula.expression:
                raise ValueError(
                    f"definition {name}: it is {meanings[name]} in the task, not {formula.expression}"
                )
            meanings[name] = formula
        return _Names(symbols, meanings)


def _refuse_moving_constants(
    constants: set[Expr], formulas: Mapping[Expr, Expr]
) -> None:
    """ValueError if a symbol before a rate has a rate of its own: τ v̇ = f gives v̇ = f/τ only where τ is constant."""
    if moving := constants & formulas.keys():
        raise ValueError(
            f"a rate may have a constant before it, and {min(moving, key=str)} moves"
        )
