"""Tables for the terminal, for other programs (JSON) and for papers (LaTeX)."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..model import Merged, Separate
from ..task import Task
from ..theory import FixedPoint, fixed_points
from .ledger import Ledger

if TYPE_CHECKING:
    from rich.console import Console

WIDE = 200
"""Characters a line off the terminal."""

MOST = 8
"""Numbers that a cell of a table shows; JSON and LaTeX have all of them."""


def print_ledger(ledger: Ledger, out: Path) -> None:
    """Print one table of verdicts, and where the rest is."""
    from rich import box
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("claim", "verdict", "observed", "expected", "controls", "s"):
        whole = name in ("claim", "verdict", "s")
        table.add_column(name, justify="right" if name == "s" else "left", overflow="fold", no_wrap=whole)
    for verdict in ledger.verdicts:
        colour = "green" if verdict.holds else "red"
        total = len(verdict.rejected) + len(verdict.accepted)
        missed = f", accepts {', '.join(verdict.accepted)}" if verdict.accepted else ""
        right = sum(accepted for _, accepted in verdict.corrected)
        mended = f", accepts {right}/{len(verdict.corrected)} corrected" if verdict.corrected else ""
        cells = (verdict.observed, verdict.expected, f"rejects {len(verdict.rejected)}/{total}{missed}{mended}")
        level = f"[{colour}]{verdict.level}[/{colour}]"
        table.add_row(verdict.id, level, *map(escape, cells), f"{verdict.seconds:.1f}")
    console = _console()
    console.print(table)
    held = sum(verdict.holds for verdict in ledger.verdicts)
    console.print(f"{held} of {len(ledger.verdicts)} claims are as expected; the rest is in {out}", highlight=False)


def print_fixed_points(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as a table."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("S", "loss", "coefficients", "gains", "index", "kind"):
        table.add_column(name)
    points = fixed_points(task, model)
    shown = list(islice(points, limit))
    for point in shown:
        numbers = (_short(row) or "–" for row in _numbers(point))
        table.add_row(_short(_runs(point.subset)) or "∅", f"{point.loss:.8f}", *numbers, *_nature(point))
    console = _console()
    console.print(table)
    if next(points, None) is not None:
        console.print(f"these are the {limit} smallest losses: --limit shows more", highlight=False)
    if any(point.continuum for point in shown):
        console.print("a continuum of maps stands behind one row: equal gains leave the choice of directions free")


def fixed_points_json(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as JSON."""
    print(json.dumps([_plain(point) for point in islice(fixed_points(task, model), limit)]))


def fixed_points_latex(task: Task, model: Merged | Separate, limit: int) -> None:
    """Print the first fixed points by increasing loss as a LaTeX table (booktabs)."""
    print(r"\begin{tabular}{llllrl}" + "\n" + r"\toprule")
    print(r"$S$ & $L(M_S)$ & $m_d$ & $g_d$ & index & kind \\ \midrule")
    for point in islice(fixed_points(task, model), limit):
        name = r"$\emptyset$" if not point.subset else rf"$\{{{', '.join(map(str, point.subset))}\}}$"
        numbers = (", ".join(row) or "–" for row in _numbers(point))
        cells = (name, f"{point.loss:.8f}", *numbers, *_nature(point))
        print(" & ".join(cells) + r" \\")
    print(r"\bottomrule" + "\n" + r"\end{tabular}")


def _console() -> "Console":
    """The terminal; a file or a pipe gets lines as long as the table needs."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=WIDE)


def _plain(point: FixedPoint) -> dict[str, Any]:
    coefficients = None if point.coefficients is None else [float(m) for m in point.coefficients]
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
    return ", ".join(numbers if len(numbers) <= MOST else [*numbers[: MOST - 2], "…", numbers[-1]])


def _nature(point: FixedPoint) -> tuple[str, str]:
    return str(point.hessian_index), point.kind + (" (continuum)" if point.continuum else "")
