"""Files of statements about a model (TOML): its derivation, and what is claimed of it in text or LaTeX."""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

from ...models.built_in import MODELS, model_from_dict
from ...runtime.decimals import exact_fraction
from ...runtime.display import Displayed, Summary
from ...runtime.files import AnyPath, as_path, read_utf8
from ...runtime.serialisation import refuse_unknown
from ...task import Task
from ...theory.symbolic import (
    CheckResult,
    Derivation,
    Prompt,
    SymbolicTask,
    check_statement,
    derive,
    derive_output,
    rational_task,
    read_text,
    symbolic_task,
)
from ...theory.symbolic.algebra.domains import noted
from .modules import load_model
from .statement_reader import Entry, StatementReader
from .symbol_names import free_length, numbers_of, real_symbols

_SYNTAXES = ("text", "latex")


class Answer(NamedTuple):
    """An entry of a file and the result of its check."""

    entry: Entry
    result: CheckResult

    @property
    def holds(self) -> bool:
        """Whether the statement reaches the level at which its author expects it."""
        return self.result.level == self.entry.expected


@dataclass(frozen=True, eq=False, repr=False)
class StatementFile(Displayed):
    """The derivation of the file's model on its task, and its statements."""

    derivation: Derivation
    entries: tuple[Entry, ...]

    def summary(self) -> Summary:
        """The names of the statements, and the levels at which they are expected."""
        rows = {entry.name: f"expected: {entry.expected}" for entry in self.entries}
        return Summary(f"{len(self.entries)} statements about a model", rows)

    def answers(self) -> Iterator[Answer]:
        """The result of each statement, in the order of the file, as soon as it is checked."""
        for entry in self.entries:
            result = check_statement(
                entry.statement, self.derivation, entry.conditions, entry.repeated
            )
            yield Answer(entry, result)


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
    """The statements of a file's tables; Python files are relative to `folder`.

    >>> origin = {"name": "origin", "kind": "fixed point", "values": {"value_1_2": "0"}}
    >>> tables = {"task": {"dimension": 1}, "model": {"model": "merged", "heads": 1}, "statement": [origin]}
    >>> [(answer.entry.name, answer.result.level) for answer in statements_of(tables).answers()]
    [('origin', 'proved')]
    """
    _require_tables(tables)
    syntax = tables.get("syntax", "text")
    if syntax not in _SYNTAXES:
        raise ValueError(
            f"syntax must be one of {', '.join(_SYNTAXES)}, not {syntax!r}"
        )
    # Conditions under which the output of the model is defined.
    with noted() as conditions:
        derivation = derivation_of(tables["task"], tables["model"], folder)
    reader = StatementReader(
        syntax, derivation, tables.get("definitions", {}), tuple(conditions)
    )
    names = [
        str(table.get("name", f"statement {n}"))
        for n, table in enumerate(tables["statement"], start=1)
    ]
    # A script finds a statement by its name.
    if len(set(names)) < len(names):
        raise ValueError(
            f"two statements have the name {max(names, key=names.count)!r}"
        )
    return StatementFile(
        derivation, tuple(map(reader.entry, names, tables["statement"]))
    )


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
    statements = tables.get("statement")
    if not isinstance(statements, list) or not statements:
        raise ValueError("there is no table [[statement]]")
    if not all(isinstance(table, dict) for table in statements):
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
    symbolic = _task(task)
    settings = _without_decimals(model)
    # The package's own models have as many outputs as the task, if they do not say otherwise.
    if symbolic.outputs > 1 and settings.get("model") in MODELS:
        settings.setdefault("outputs", symbolic.outputs)
    # An output in text has no heads: its weights are named in the table.
    if "output" in settings:
        refuse_unknown(
            settings, allowed=("output", "weights"), owner="a model with an output"
        )
        weights = settings.get("weights", [])
        return _from_output(str(settings["output"]), weights, symbolic)

    name = settings.pop("model", None)
    block = settings.pop("block", "full")
    if _is_place_in_file(name):
        parametrization = load_model(name, folder, **settings)
    else:
        parametrization = model_from_dict({"model": name, **settings})
    return derive(symbolic, parametrization, block)


def _is_place_in_file(name: Any) -> bool:
    """Whether a model is named as FILE.py:NAME, and not as one of the package."""
    if not isinstance(name, str) or name in MODELS:
        return False
    return ":" in name or name.endswith(".py")


def _as_double(name: str, value: Decimal) -> float:
    """The decimal as a float, which prints as that decimal; ValueError if a float has too few digits for it."""
    double = float(value)
    # A proof about the double would not be one about the decimal that was written.
    if value.is_finite() and exact_fraction(double) != exact_fraction(value):
        raise ValueError(
            f"{name} = {value} of the model has more digits than a float: write fewer, or it as text"
        )
    return double


def _task(table: dict[str, Any]) -> SymbolicTask:
    if "dimension" not in table:
        return rational_task(Task.from_dict(table))
    refuse_unknown(
        table,
        allowed=(
            "dimension",
            "teachers",
            "noise",
            "mixture",
            "outputs",
            "shared_basis",
        ),
        owner="task",
    )
    return symbolic_task(**_without_decimals(table))


def _without_decimals(table: Mapping[str, Any]) -> dict[str, Any]:
    """The fields with floats in place of decimals; ValueError as `_as_double`."""
    return {
        name: _as_double(name, value) if isinstance(value, Decimal) else value
        for name, value in table.items()
    }


def _from_output(output: str, names: list[str], task: SymbolicTask) -> Derivation:
    """The derivation of an output in text, whose weights have these names."""
    weights = real_symbols(names)
    if task.outputs > 1:
        raise ValueError(
            "an output of your own in text is for one label: derive_output takes several in Python"
        )
    prompt = Prompt(task.dimension)
    symbols = [
        *weights,
        *prompt.x,
        prompt.y,
        *prompt.query,
        *task.parameters,
        *free_length(task),
    ]
    formula = read_text(output, symbols, numbers_of(task))
    return derive_output(task, formula, weights)
