"""Files of losses as they come out of other programs: CSV in any dialect, JSON, and one JSON object a line."""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.files import AnyPath, as_path

Row = Mapping[str, Any]
"""The cells of one row by column; a column that a row lacks is blank in it."""

_SEPARATORS = ("\t", ";", ",", "|")

_LOOKED_AT = 4096
"""Bytes in which a file shows whether it is text."""

_MAGIC = {
    b"PK": "is an npz file or another archive: pass a saved run through attndyn.simulate.load, weights as weights=",
    b"\x93NUMPY": "is an npy file: pass numpy.load of it",
    b"\x1f\x8b": "is compressed: unpack it first",
    b"SQLite": "is a database: export the losses as CSV",
}
"""First bytes of files that are no logs, and what to do instead."""

_EXPORT = "export the losses as CSV, from TensorBoard or W&B, and pass that"


class LogTable(NamedTuple):
    """Rows of a log under the names of its columns; `rows` reads them anew each time, so that no log is too large."""

    names: tuple[str, ...]
    rows: Callable[[], Iterable[Row]]
    comma_is_decimal: bool = False
    """Whether 0,5 may be one half, as where columns are separated by semicolons."""


def read_log(path: AnyPath) -> "LogTable | list[Any] | dict[str, Any]":
    """The rows of a log file, or what its JSON holds; ValueError, which says what to do, for any other file."""
    file = as_path(path)
    encoding = _encoding(file)
    with open(file, encoding=encoding) as text:
        beginning = text.read(_LOOKED_AT).lstrip()
    if not beginning:
        raise ValueError("it is empty")
    if beginning[0] in "[{":
        return _read_json(file, encoding)
    return _read_csv(file, encoding)


def _encoding(path: Path) -> str:
    """The encoding of a text file; ValueError if it is none."""
    if path.is_dir():
        raise ValueError(f"it is a folder: {_EXPORT}")
    with open(path, "rb") as file:
        beginning = file.read(_LOOKED_AT)
    if path.name.startswith("events.out.tfevents"):
        raise ValueError(f"it is an event file: {_EXPORT}")
    for magic, reason in _MAGIC.items():
        if beginning.startswith(magic):
            raise ValueError(f"it {reason}")
    # As Windows PowerShell writes what is redirected into a file.
    if beginning.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16"
    if b"\0" in beginning:
        raise ValueError(f"it is no text: {_EXPORT}")
    return "utf-8-sig"


def _is_json(text: str) -> bool:
    """Whether a text is one whole value of JSON."""
    try:
        json.loads(text)
    except (json.JSONDecodeError, RecursionError):
        return False
    return True


def _read_json(path: Path, encoding: str) -> "LogTable | list[Any] | dict[str, Any]":
    """Whole JSON, or rows with one JSON value a line."""
    with open(path, encoding=encoding) as file:
        first_lines = list(islice((line for line in file if line.strip()), 2))
    if len(first_lines) < 2 or not _is_json(first_lines[0]):
        try:
            whole: list[Any] | dict[str, Any] = json.loads(
                path.read_text(encoding=encoding), object_pairs_hook=_distinct
            )
        except (json.JSONDecodeError, RecursionError) as error:
            raise ValueError(
                f"it is no JSON, of one value or of one value a line: {error}"
            ) from None
        return whole
    if not first_lines[0].lstrip().startswith("{"):
        return list(_json_lines(path, encoding))

    names: dict[str, None] = {}
    for row in _json_rows(path, encoding):
        names.update(dict.fromkeys(row))
    return LogTable(tuple(names), lambda: _json_rows(path, encoding))


def _json_lines(path: Path, encoding: str) -> Iterator[Any]:
    """The value of each line; ValueError, with its number, for one that is no JSON."""
    with open(path, encoding=encoding) as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line, object_pairs_hook=_distinct)
            except (json.JSONDecodeError, RecursionError):
                raise ValueError(
                    f"line {number} is no JSON: {line.strip()[:40]!r}"
                ) from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError for two values under one name, of which Python keeps the last."""
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"an object of its JSON names {twice!r} twice: keep one")
    return row


def _json_rows(path: Path, encoding: str) -> Iterator[Row]:
    for number, value in enumerate(_json_lines(path, encoding), start=1):
        if not isinstance(value, dict):
            raise ValueError(f"row {number} is no JSON object, as the first one is")
        yield flat_row(value)


def flat_row(row: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """A row with the cells of nested tables under joined names.

    >>> flat_row({"step": 3, "train": {"loss": 0.5}})
    {'step': 3, 'train/loss': 0.5}
    """
    flat: dict[str, Any] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            flat |= flat_row(value, f"{prefix}{name}/")
        else:
            flat[f"{prefix}{name}"] = value
    return flat


class _Dialect(NamedTuple):
    """How a file separates cells (None: by white space), the names of its columns, and the lines before the rows."""

    separator: str | None
    names: tuple[str, ...]
    lines_above: int


def _read_csv(path: Path, encoding: str) -> LogTable:
    """A table of text in which any of the usual characters separates the cells."""
    try:
        with open(path, encoding=encoding, newline="") as file:
            dialect = _dialect(file)
    except csv.Error as error:
        raise ValueError(f"it is no CSV: {error}") from None

    def rows() -> Iterator[Row]:
        with open(path, encoding=encoding, newline="") as file:
            yield from _csv_rows(islice(file, dialect.lines_above, None), dialect)

    comma_is_decimal = dialect.separator != ","
    return LogTable(dialect.names, rows, comma_is_decimal)


class _Head(NamedTuple):
    """The last comment above the rows, the first two lines that are none, and the number of lines above them."""

    comment: str
    lines: list[str]
    lines_above: int


def _head_of(file: Iterable[str]) -> _Head:
    """The head of a table of text; empty lines are passed over."""
    comment = ""
    lines_above = 0
    head: list[str] = []
    for line in file:
        text = line.strip(" \r\n")
        if len(head) == 2:
            break
        if text.startswith("#") and not head:
            comment = text.removeprefix("#").strip()
        elif text:
            head.append(text)
        if not head:
            lines_above += 1
    return _Head(comment, head, lines_above)


def _dialect(file: Iterable[str]) -> _Dialect:
    """The separator that gives header and first row the same number of cells, the most, and the names of columns."""
    comment, head, lines_above = _head_of(file)
    separator = _separator(head or [comment])
    names = _names(head[0], separator) if head else ()
    if not head or (comment and not names):
        # numpy.savetxt puts the names into a comment above the rows.
        separator = _separator([comment, *head[:1]])
        return _Dialect(separator, _names(comment, separator), lines_above)
    if names:
        return _Dialect(separator, names, lines_above + 1)
    count = len(_cells(head[0], separator))
    nameless = {1: ("loss",), 2: ("step", "loss")}
    if count not in nameless:
        raise ValueError(
            f"its first line has {count} numbers and no names: write the names of the columns above them"
        )
    return _Dialect(separator, nameless[count], lines_above)


def _separator(lines: list[str]) -> str | None:
    """The separator by which these lines have the same number of cells, the most; None is white space."""
    best: str | None = ","
    most = 1
    for separator in (*_SEPARATORS, None):
        counts = {len(_cells(line, separator)) for line in lines}
        # Lines of different lengths are an error of the file, which its reader names.
        if len(counts) == 1 and max(counts) > most:
            best = separator
            most = max(counts)
    return best


def _names(line: str, separator: str | None) -> tuple[str, ...]:
    """The names that a line holds; none if it holds numbers."""
    cells = [cell.strip() for cell in _cells(line, separator)]
    return () if all(_is_numeral(cell) for cell in cells) else tuple(cells)


def _cells(line: str, separator: str | None) -> list[str]:
    if separator is None:
        return line.split()
    return next(csv.reader([line], delimiter=separator), [])


def _is_numeral(cell: str) -> bool:
    try:
        float(cell.replace(",", "."))
    except ValueError:
        return False
    return True


def _split_lines(file: Iterable[str], dialect: _Dialect) -> Iterator[list[str]]:
    """The cells of each line."""
    if dialect.separator is None:
        return (line.split() for line in file)
    return csv.reader(file, delimiter=dialect.separator)


def _csv_rows(file: Iterable[str], dialect: _Dialect) -> Iterator[Row]:
    """The rows of these lines; ValueError for one with more cells than columns, or one that is no CSV."""
    first = dialect.lines_above + 1
    try:
        for number, cells in enumerate(_split_lines(file, dialect), start=first):
            is_blank = not any(cell.strip() for cell in cells)
            if is_blank or cells[0].startswith("#"):
                continue
            # A last cell that is empty is a separator at the end of the line.
            extra = cells[len(dialect.names) :]
            if any(cell.strip() for cell in extra):
                raise ValueError(
                    f"line {number} has {len(cells)} cells under {len(dialect.names)} columns"
                )
            yield dict(zip(dialect.names, cells, strict=False))
    except csv.Error as error:
        raise ValueError(f"it is no CSV: {error}") from None
