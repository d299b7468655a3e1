"""Tables for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...compare.evidence.verdict import Verdict, controls_in_words
from ...compare.ledger.ledger import Ledger
from ...models.attention import Merged, Separate
from ...runtime.ascii_text import named, spelled
from ...task import Task
from ...theory import FixedPoint, fixed_points

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

MOST = 8
"""Numbers that a cell of a table shows; JSON and LaTeX have all of them."""

ROOMY = 120
"""Characters a line from where on observed and expected stand beside a verdict, and not below."""

WIDEST = 10_000
"""Characters a line that no table needs."""

FEW = 12
"""Most verdicts whose observed and expected are all told on narrow lines; of more, those that are unexpected."""


def print_ledger(ledger: Ledger, out: Path) -> None:
    """Print one table of verdicts, what was observed and expected, and where the rest is."""
    from rich.console import Console

    console = Console()
    _print_whole(_verdict_table(ledger.verdicts, console), console)
    if console.width < ROOMY:
        every = len(ledger.verdicts) <= FEW
        for verdict in ledger.verdicts:
            if every or not verdict.holds:
                _print_evidence(verdict, console)
    for name, assumed in ledger.failed_assumptions.items():
        print(f"{name} rests on {', '.join(assumed)}, not as expected")
    expected = sum(verdict.holds for verdict in ledger.verdicts)
    print(
        f"{expected} of {len(ledger.verdicts)} claims are as expected; the rest is in {named(out)}"
    )


def _verdict_table(verdicts: Sequence[Verdict], console: "Console") -> "Table":
    """Each verdict in a row: beside it what was observed and expected, where a line has room for that."""
    from rich.markup import escape

    roomy = console.width >= ROOMY
    table = _table({"claim": True, "verdict": True})
    for name in (*(("observed", "expected") if roomy else ()), "controls"):
        table.add_column(name, overflow="fold")
    table.add_column("s", justify="right", no_wrap=True)
    for verdict in verdicts:
        colour = "green" if verdict.holds else "red"
        evidence = (verdict.observed, verdict.expected) if roomy else ()
        cells = [
            escape(_told(cell, console))
            for cell in (*evidence, controls_in_words(verdict.variants))
        ]
        table.add_row(
            verdict.id,
            f"[{colour}]{verdict.level}[/{colour}]",
            *cells,
            f"{verdict.seconds:.1f}",
        )
    return table


def _print_evidence(verdict: Verdict, console: "Console") -> None:
    """Print below its name what a claim observed and what it expected."""
    from rich.padding import Padding

    console.print(verdict.id, style=None if verdict.holds else "red", highlight=False)
    for name in ("observed", "expected"):
        line = _told(f"{name} {getattr(verdict, name)}", console)
        console.print(
            Padding(line, (0, 0, 0, 2)), markup=False, highlight=False, overflow="fold"
        )


def print_fixed_points(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as a table."""
    from rich.console import Console

    console = Console()
    whole = {
        "S": False,
        "loss": True,
        "coefficients": False,
        "gains": False,
        "index": True,
        "kind": True,
    }
    table = _table(whole)
    points = fixed_points(task, model)
    shown = list(islice(points, limit))
    for point in shown:
        numbers = (_short(row) or "–" for row in _numbers(point))
        nature = (
            str(point.hessian_index),
            f"{point.kind}{'*' if point.continuum else ''}",
        )
        cells = (
            _short(_runs(point.subset)) or "∅",
            f"{point.loss:.8f}",
            *numbers,
            *nature,
        )
        table.add_row(*(_told(cell, console) for cell in cells))
    _print_whole(table, console)
    if points.count > limit:
        print(f"these are the {limit} smallest losses: --limit shows more")
    if any(point.continuum for point in shown):
        print("* a continuum of maps: equal gains leave the choice of directions free")


def _table(columns: Mapping[str, bool]) -> "Table":
    """An empty table of these columns, each whole on its line or, where lines are narrow, folded."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0)
    )
    for name, whole in columns.items():
        table.add_column(name, overflow="fold", no_wrap=whole)
    return table


def _print_whole(table: "Table", console: "Console") -> None:
    """Print a table on the console's width, or on the least one that cuts no number."""
    console.width = max(console.width, _least_width(table, console))
    console.print(table)


def _least_width(table: "Table", console: "Console") -> int:
    """Characters that a line needs for the columns that stay whole, and for the longest word of the others."""
    from rich.measure import Measurement

    unlimited = console.options.update(max_width=WIDEST)
    total = 0
    for column in table.columns:
        cells = [
            Measurement.get(console, unlimited, cell)
            for cell in (column.header, *column.cells)
        ]
        total += (
            max(cell.maximum if column.no_wrap else cell.minimum for cell in cells) + 1
        )  # and a space
    return total


def _told(text: str, console: "Console") -> str:
    """The text as the console will show it, so that columns have the width of what is in them."""
    return spelled(text, console.encoding)


def fixed_points_json(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as JSON."""
    print(
        json.dumps(
            [_plain(point) for point in islice(fixed_points(task, model), limit)]
        )
    )


def fixed_points_latex(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as a LaTeX table (booktabs)."""
    print(r"\begin{tabular}{llllrl}" + "\n" + r"\toprule")
    print(r"$S$ & $L(M_S)$ & $m_d$ & $g_d$ & index & kind \\ \midrule")
    for point in islice(fixed_points(task, model), limit):
        name = (
            r"$\emptyset$"
            if not point.subset
            else rf"$\{{{', '.join(map(str, point.subset))}\}}$"
        )
        numbers = (", ".join(row) or "–" for row in _numbers(point))
        cells = (name, f"{point.loss:.8f}", *numbers, *_nature(point))
        print(" & ".join(cells) + r" \\")
    print(r"\bottomrule" + "\n" + r"\end{tabular}")


def _plain(point: FixedPoint) -> dict[str, Any]:
    coefficients = (
        None if point.coefficients is None else [float(m) for m in point.coefficients]
    )
    return {
        "subset": list(point.subset),
        "loss": float(point.loss),
        "coefficients": coefficients,
        "gains": [float(gain) for gain in point.gains],
        "hessian_index": int(point.hessian_index),
        "kind": point.kind,
        "continuum": point.continuum,
    }


def _numbers(point: FixedPoint) -> list[list[str]]:
    """Coefficients and gains as text."""
    coefficients = () if point.coefficients is None else point.coefficients
    return [[f"{number:.4f}" for number in row] for row in (coefficients, point.gains)]


def _runs(subset: tuple[int, ...]) -> list[str]:
    """The directions one by one, or, where they are many, as runs such as 1–7, 9."""
    if len(subset) <= MOST:
        return [str(d) for d in subset]
    ends = [d for d in subset if d + 1 not in subset]
    starts = [d for d in subset if d - 1 not in subset]
    return [str(a) if a == b else f"{a}–{b}" for a, b in zip(starts, ends, strict=True)]


def _short(numbers: list[str]) -> str:
    return ", ".join(
        numbers if len(numbers) <= MOST else [*numbers[: MOST - 2], "…", numbers[-1]]
    )


def _nature(point: FixedPoint) -> tuple[str, str]:
    return str(point.hessian_index), point.kind + (
        " (continuum)" if point.continuum else ""
    )
