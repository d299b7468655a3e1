"""A file of statements about a model: its derivation, and what is claimed of it in text or LaTeX (TOML)."""

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, get_args

import sympy as sp

from ...models.attention import MODELS, model_from_dict
from ...runtime.decimals import exact_fraction
from ...runtime.files import AnyPath, as_path, read_utf8
from ...runtime.serialisation import refuse_unknown
from ...task import Task
from ...theory.symbolic import (
    TIME,
    CheckResult,
    Condition,
    Derivation,
    Prompt,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedRate,
    StatedReduction,
    StatedSolution,
    Statement,
    SymbolicTask,
    check_statement,
    derive,
    derive_output,
    rational_task,
    read_equation,
    read_equations,
    read_formula,
    read_latex,
    read_text,
    symbolic_task,
)
from ...theory.symbolic.algebra.domains import noted
from ...theory.symbolic.statements.checking import Level
from ...theory.symbolic.statements.statements import Identity
from ...theory.symbolic.task import Expr
from .modules import load_model
from .symbol_names import free_length, numbers_of, real_symbols, symbols_of

_SYNTAXES = ("text", "latex")
_LEVELS = get_args(Level)
_TABLES = ("ansatz", "equations", "values", "course", "start")
"""What has a formula for each of several symbols."""

_RATE = re.compile(r"\\dot|\\[dt]?frac|/ *dt|'")
"""What a left side has that is a rate."""

_NEW_NAMES = ("amplitudes", "constants", "positive")
"""Lists of names that a statement brings along: what moves, what does not, and what does not and is positive."""


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
    "course": _Kind(StatedSolution, ("course",), ("ansatz", "start")),
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


class Answer(NamedTuple):
    """What became of an entry."""

    entry: Entry
    finding: CheckResult

    @property
    def holds(self) -> bool:
        """Whether the finding is the expected one."""
        return self.finding.level == self.entry.expected


@dataclass(frozen=True, eq=False)
class StatementFile:
    """The derivation of the file's model on its task, and its statements."""

    derivation: Derivation
    entries: tuple[Entry, ...]

    def answers(self) -> Iterator[Answer]:
        """What becomes of each statement, in the order of the file, as soon as it is known."""
        for entry in self.entries:
            finding = check_statement(
                entry.statement, self.derivation, entry.conditions, entry.repeated
            )
            yield Answer(entry, finding)


def load_statements(path: AnyPath) -> StatementFile:
    """Read a TOML file with the tables task and model, definitions if need be, and a list of statements.

    ValueError, naming the file, the statement and the culprit, for anything that cannot be read. A model's own
    Python file is looked for beside this one.
    """
    path = as_path(path)
    try:
        return statements_of(
            tomllib.loads(read_utf8(path), parse_float=Decimal), path.parent
        )
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def statements_of(tables: dict[str, Any], folder: Path = Path()) -> StatementFile:
    """The same from the tables themselves; Python files are relative to `folder`.

    >>> rest = {"name": "rest", "kind": "fixed point", "values": {"value_1_2": "0"}}
    >>> tables = {"task": {"dimension": 1}, "model": {"model": "merged", "heads": 1}, "statement": [rest]}
    >>> [(answer.entry.name, answer.finding.level) for answer in statements_of(tables).answers()]
    [('rest', 'proved')]
    """
    _require_tables(tables)
    syntax = tables.get("syntax", "text")
    if syntax not in _SYNTAXES:
        raise ValueError(
            f"syntax must be one of {', '.join(_SYNTAXES)}, not {syntax!r}"
        )
    with noted() as conditions:
        derivation = derivation_of(tables["task"], tables["model"], folder)
    book = _Book(syntax, derivation, tables.get("definitions", {}), tuple(conditions))
    names = [
        str(table.get("name", f"statement {n}"))
        for n, table in enumerate(tables["statement"], start=1)
    ]
    if len(set(names)) < len(names):
        raise ValueError(
            f"two statements have the name {max(names, key=names.count)!r}"
        )
    return StatementFile(derivation, tuple(map(book.entry, names, tables["statement"])))


def _require_tables(tables: dict[str, Any]) -> None:
    """ValueError unless everything that a file needs is there, as a table where it should be one."""
    refuse_unknown(
        tables,
        allowed=("syntax", "task", "model", "definitions", "statement"),
        owner="the file",
    )
    for name in ("task", "model"):
        if not isinstance(tables.get(name), dict) or not tables[name]:
            raise ValueError(f"there is no table [{name}]")
    listed = tables.get("statement")
    if (
        not isinstance(listed, list)
        or not listed
        or not all(isinstance(table, dict) for table in listed)
    ):
        raise ValueError("there is no table [[statement]]")
    if not isinstance(tables.get("definitions", {}), dict):
        raise ValueError(
            "definitions must be a table [definitions] of names and formulas"
        )


def derivation_of(
    task: dict[str, Any], model: dict[str, Any], folder: Path = Path()
) -> Derivation:
    """The derivation that two tables describe.

    `task`: the arguments of `symbolic_task`, or the fields of `Task`. `model`: merged or separate with its fields,
    FILE.py:NAME with those of that class, each with a `block`; or an `output` in text and its list of `weights`.
    """
    problem = _task(task)
    rest = _without_decimals(model)
    if "output" in rest:
        refuse_unknown(
            rest, allowed=("output", "weights"), owner="a model with an output"
        )
        return _from_output(str(rest["output"]), rest.get("weights", []), problem)
    name, block = rest.pop("model", None), rest.pop("block", "full")
    if (
        isinstance(name, str)
        and name not in MODELS
        and (":" in name or name.endswith(".py"))
    ):
        return derive(problem, load_model(name, folder, **rest), block)
    return derive(problem, model_from_dict({"model": name, **rest}), block)


def _as_double(name: str, value: Decimal) -> float:
    """The decimal as a float, which prints as that decimal; ValueError if a float has too few digits for it."""
    double = float(value)
    if value.is_finite() and exact_fraction(double) != exact_fraction(value):
        raise ValueError(
            f"{name} = {value} of the model has more digits than a float: write fewer, or it as text"
        )
    return double


def _task(table: dict[str, Any]) -> SymbolicTask:
    if "dimension" not in table:
        return rational_task(Task.from_dict(table))
    refuse_unknown(
        table, allowed=("dimension", "teachers", "noise", "mixture"), owner="task"
    )
    return symbolic_task(**_without_decimals(table))


def _without_decimals(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with floats in place of decimals; ValueError as `_as_double`."""
    return {
        name: _as_double(name, value) if isinstance(value, Decimal) else value
        for name, value in table.items()
    }


def _from_output(output: str, names: list[str], task: SymbolicTask) -> Derivation:
    weights, prompt = real_symbols(names), Prompt(task.dimension)
    symbols = [
        *weights,
        *prompt.x,
        prompt.y,
        *prompt.query,
        *task.parameters,
        *free_length(task),
    ]
    return derive_output(task, read_text(output, symbols, numbers_of(task)), weights)


@dataclass(frozen=True)
class _Book:
    """Reads what statements say, in one syntax, for one derivation and the file's definitions."""

    syntax: str
    derivation: Derivation
    definitions: Mapping[str, str]
    of_model: tuple[Condition, ...] = ()
    """Conditions of the model's output, which all statements have."""

    def entry(self, name: str, table: dict[str, Any]) -> Entry:
        """One table [[statement]]; ValueError names the statement and the culprit."""
        repeated: list[Identity] = []
        try:
            expected = table.get("expected", "proved")
            if expected not in _LEVELS:
                raise ValueError(
                    f"expected must be one of {', '.join(_LEVELS)}, not {expected!r}"
                )
            with noted() as conditions:
                statement = self._statement(table, repeated)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        return Entry(
            name, statement, expected, (*self.of_model, *conditions), tuple(repeated)
        )

    def _statement(self, table: dict[str, Any], repeated: list[Identity]) -> Statement:
        kind = table.get("kind")
        if not isinstance(kind, str) or kind not in _KINDS:
            raise ValueError(f"kind must be one of {', '.join(_KINDS)}, not {kind!r}")
        make, needs, may_have = _KINDS[kind]
        allowed = ("name", "kind", "expected", *_NEW_NAMES, *needs, *may_have)
        refuse_unknown(table, allowed=allowed, owner=f"a statement of kind {kind}")
        for part in needs:
            if part not in table:
                raise ValueError(f"a statement of kind {kind} needs {part}")
        own = [
            symbol
            for kind in _NEW_NAMES
            for symbol in real_symbols(table.get(kind, []), kind == "positive")
        ]
        given = [part for part in (*needs, *may_have) if part in table]
        for part in given:
            if isinstance(table[part], dict) and part not in _TABLES:
                raise ValueError(f"{part} must be one formula, not a table")
        return make(
            **{part: self._read(part, table[part], own, repeated) for part in given}
        )

    def _read(
        self, part: str, source: object, own: list[Expr], repeated: list[Identity]
    ) -> Any:
        """What a part of a statement says: an expression, or expressions by symbol from a table or a block."""
        if part not in _TABLES:
            return self._expression(source, own)
        rates = part == "equations"
        if not isinstance(source, dict):
            if "=" not in str(source):
                raise ValueError(
                    f"{part} must be a table of formulas, or equations in one text"
                )
            symbols, known = self._known(own)
            return read_equations(
                str(source), symbols, known, latex=self.syntax == "latex", rate=rates
            )
        found: dict[Expr, Expr] = {}
        constants: set[Expr] = set()
        for name, formula in source.items():
            symbol, constant = (
                self._left(name, own)
                if rates
                else (self._expression(name, own), sp.Integer(1))
            )
            value = self._expression(formula, own) / constant
            if symbol in found:  # under two spellings of its name
                repeated.append(
                    Identity(f"{symbol}, which is stated twice,", found[symbol], value)
                )
            found.setdefault(symbol, value)
            constants |= constant.free_symbols
        if moving := constants & found.keys():
            raise ValueError(
                f"a rate may have a constant before it, and {min(moving, key=str)} moves"
            )
        return found

    def _left(self, name: str, own: list[Expr]) -> tuple[Expr, Expr]:
        """The symbol whose rate stands on the left of an equation, and the constant before it: \\tau \\dot v."""
        if not _RATE.search(name):
            return self._expression(name, own), sp.Integer(1)
        symbols, known = self._known(own)
        equation = read_equation(
            f"{name} = 1", symbols, known, latex=self.syntax == "latex", rate=True
        )
        return equation[0], 1 / equation[1]

    def _expression(self, source: object, own: list[Expr]) -> Expr:
        symbols, known = self._known(own)
        return (read_latex if self.syntax == "latex" else read_text)(
            str(source), symbols, known
        )

    def _known(self, own: list[Expr]) -> tuple[list[Expr], dict[str, Expr]]:
        """The symbols of a statement, and the numbers and definitions by name; these with their conditions."""
        symbols = [*symbols_of(self.derivation), TIME, *own]
        known = numbers_of(self.derivation.task)
        for name, meaning in self.definitions.items():
            try:
                formula = read_formula(
                    str(meaning), symbols, known, latex=self.syntax == "latex"
                )
            except ValueError as error:
                raise ValueError(f"definition {name}: {error}") from None
            if name in known and known[name] != formula.expression:
                raise ValueError(
                    f"definition {name}: it is {known[name]} in the task, not {formula.expression}"
                )
            known[name] = formula
        return symbols, known
