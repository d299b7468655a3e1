"""Tables for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...compare.evidence.verdict import (
    Verdict,
    controls_in_words,
    width_in_words,
)
from ...compare.ledger.ledger import Ledger
from ...runtime.ascii_text import named, spelled
from ...theory import AnyFixedPoint, FixedPoint, KroneckerFixedPoint

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MAX_NUMBERS = 8
"""Numbers in one cell of a table; JSON and LaTeX have all of them."""

WIDE = 120
"""Characters of a line that has room for observed and expected beside a verdict; on others they stand below it."""

UNLIMITED = 10_000
"""Characters of a line, more than any table needs."""

FEW_VERDICTS = 12
"""Up to so many verdicts all have observed and expected below them; of more, only the unexpected ones."""


def print_ledger(ledger: Ledger, out: Path) -> None:
    """Print one table of verdicts, what was observed and expected, and the folder that holds everything else."""
    from rich.console import Console

    console = Console()
    _print_whole(_verdict_table(ledger.verdicts, console), console)
    if console.width < WIDE:
        print_all = len(ledger.verdicts) <= FEW_VERDICTS
        for verdict in ledger.verdicts:
            if print_all or not verdict.holds:
                _print_evidence(verdict, console)
    for name, assumed in ledger.failed_assumptions.items():
        line = f"{name} rests on {', '.join(assumed)}, not as expected"
        console.print(line, style="red", markup=False, highlight=False)
    as_expected = sum(verdict.holds for verdict in ledger.verdicts)
    print(
        f"{as_expected} of {len(ledger.verdicts)} claims are as expected; the rest is in {named(out)}"
    )


def _verdict_table(verdicts: Sequence[Verdict], console: "Console") -> "Table":
    """Each verdict in a row, with what was observed and expected where a line has room for that."""
    from rich.markup import escape

    is_wide = console.width >= WIDE
    # Ids and levels are what a reader searches for: they are never broken.
    columns = {"claim": True, "verdict": True}
    if is_wide:
        columns |= {"observed": False, "expected": False}
    table = _table(columns | {"controls": False})
    table.add_column("s", justify="right", no_wrap=True)

    for verdict in verdicts:
        texts = [controls_in_words(verdict.variants)]
        if is_wide:
            texts = [verdict.observed, verdict.expected, *texts]
        cells = [escape(_as_printed(text, console)) for text in texts]
        colour = "green" if verdict.holds else "red"
        level = f"[{colour}]{verdict.level}[/{colour}]"
        width = width_in_words(verdict.evidence)
        if width:
            level = f"{level} (width {width})"
        table.add_row(verdict.id, level, *cells, f"{verdict.seconds:.1f}")
    return table


def _print_evidence(verdict: Verdict, console: "Console") -> None:
    """Print below its name what a claim observed and what it expected."""
    from rich.padding import Padding

    console.print(
        verdict.id,
        style=None if verdict.holds else "red",
        highlight=False,
    )
    for name in ("observed", "expected"):
        line = _as_printed(f"{name} {getattr(verdict, name)}", console)
        console.print(
            Padding(line, (0, 0, 0, 2)), markup=False, highlight=False, overflow="fold"
        )


def print_fixed_points(points: Iterable[AnyFixedPoint], limit: int) -> None:
    """Print the first fixed points by increasing loss as a table."""
    from rich.console import Console

    console = Console()
    columns = {
        "S": False,
        "loss": True,
        "coefficients": False,
        "gains": False,
        "index": True,
        "kind": True,
    }
    table = _table(columns)
    # One more than are shown: how many there are may be unknown.
    reached = list(islice(points, limit + 1))
    first_points = reached[:limit]
    for point in first_points:
        cells = _cells(point)
        table.add_row(*(_as_printed(cell, console) for cell in cells))
    _print_whole(table, console)
    if len(reached) > limit:
        print(f"these are the {limit} smallest losses: --limit shows more")
    if any(_is_continuum(point) for point in first_points):
        print("* a continuum of maps: equal gains leave the choice of directions free")


def print_rows(columns: Mapping[str, bool], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of cells under these columns; those with True never break a cell."""
    from rich.console import Console
    from rich.markup import escape

    console = Console()
    table = _table(columns)
    for row in rows:
        table.add_row(*(escape(_as_printed(cell, console)) for cell in row))
    _print_whole(table, console)


def _cells(point: AnyFixedPoint) -> tuple[str, ...]:
    """A row of the table: subset, loss, coefficients, gains, Hessian index and kind."""
    coefficients, gains = _numbers(point)
    return (
        in_short(_ranges(point.subset)) or "∅",
        f"{point.loss:.8f}",
        in_short(coefficients) or "–",
        in_short(gains) or "–",
        str(point.hessian_index),
        f"{point.kind}*" if _is_continuum(point) else point.kind,
    )


def _table(columns: Mapping[str, bool]) -> "Table":
    """An empty table of these columns; those with True never break a cell, the others fold on narrow lines."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name, is_whole in columns.items():
        table.add_column(name, overflow="fold", no_wrap=is_whole)
    return table


def _print_whole(table: "Table", console: "Console") -> None:
    """Print a table on the console's width, or on the least one that cuts no number."""
    console.width = max(console.width, _least_width(table, console))
    console.print(table)


def _least_width(table: "Table", console: "Console") -> int:
    """Characters that a line needs for the columns that stay whole, and for the longest word of the others."""
    from rich.measure import Measurement

    options = console.options.update(max_width=UNLIMITED)
    total = 0
    for column in table.columns:
        widths = []
        for cell in (column.header, *column.cells):
            measured = Measurement.get(console, options, cell)
            widths.append(measured.maximum if column.no_wrap else measured.minimum)
        # A space stands after each column.
        total += max(widths) + 1
    return total


def _as_printed(text: str, console: "Console") -> str:
    """The text as the console will print it, so that columns have the width of their cells."""
    return spelled(text, console.encoding)


def fixed_points_json(points: Iterable[AnyFixedPoint], limit: int) -> None:
    """Print the first fixed points by increasing loss as JSON."""
    print(json.dumps([_json_fields(point) for point in islice(points, limit)]))


def fixed_points_latex(points: Iterable[AnyFixedPoint], limit: int) -> None:
    """Print the first fixed points by increasing loss as a LaTeX table (booktabs)."""
    print(r"\begin{tabular}{llllrl}" + "\n" + r"\toprule")
    print(r"$S$ & $L(M_S)$ & $m_d$ & $g_d$ & index & kind \\ \midrule")
    for point in islice(points, limit):
        subset = r"$\emptyset$"
        if point.subset:
            subset = rf"$\{{{', '.join(map(str, point.subset))}\}}$"
        coefficients, gains = _numbers(point)
        cells = (
            subset,
            f"{point.loss:.8f}",
            ", ".join(coefficients) or "–",
            ", ".join(gains) or "–",
            str(point.hessian_index),
            f"{point.kind} (continuum)" if _is_continuum(point) else point.kind,
        )
        print(" & ".join(cells) + r" \\")
    print(r"\bottomrule" + "\n" + r"\end{tabular}")


def _json_fields(point: AnyFixedPoint) -> dict[str, Any]:
    if not isinstance(point, FixedPoint):
        return point.to_dict()
    # Where Λ and Ω do not commute, no coefficients along common directions exist.
    coefficients = None
    if point.coefficients is not None:
        coefficients = [float(m) for m in point.coefficients]
    return {
        "subset": list(point.subset),
        "loss": float(point.loss),
        "coefficients": coefficients,
        "gains": [float(gain) for gain in point.gains],
        "hessian_index": int(point.hessian_index),
        "kind": point.kind,
        "continuum": point.continuum,
    }


def _is_continuum(point: AnyFixedPoint) -> bool:
    """Whether equal gains make it one of many; of modes a subset makes one point."""
    return isinstance(point, FixedPoint) and point.continuum


def _numbers(point: AnyFixedPoint) -> list[list[str]]:
    """Coefficients of what is learned, and gains, as text; modes of several outputs have no gains of their own."""
    if isinstance(point, FixedPoint):
        learned = () if point.coefficients is None else point.coefficients
        rows = [list(learned), list(point.gains)]
    elif isinstance(point, KroneckerFixedPoint):
        rows = [list(point.coefficients), []]
    else:
        rows = [[point.coefficients[d - 1] for d in point.subset], []]
    return [[f"{number:.4f}" for number in row] for row in rows]


def _ranges(subset: tuple[int, ...]) -> list[str]:
    """The directions one by one, or, where they are many, as ranges such as 1–7, 9."""
    if len(subset) <= MAX_NUMBERS:
        return [str(d) for d in subset]
    starts = [d for d in subset if d - 1 not in subset]
    ends = [d for d in subset if d + 1 not in subset]
    # A range is from a start to the end that follows it.
    ranges = []
    for start, end in zip(starts, ends, strict=True):
        ranges.append(str(start) if start == end else f"{start}–{end}")
    return ranges


def in_short(numbers: list[str]) -> str:
    """The numbers of one cell, of many only the first ones and the last."""
    if len(numbers) > MAX_NUMBERS:
        numbers = [*numbers[: MAX_NUMBERS - 2], "…", numbers[-1]]
    return ", ".join(numbers)
