"""The ledger as one HTML page: no script or style from elsewhere, no request, the same bytes every time."""

import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.files import AnyPath, as_path, write_text
from ...runtime.typesetting import mathml
from ..evidence.claim import LEVELS, TIERS
from ..evidence.verdict import Verdict
from ..ledger.ledger import Ledger
from ..ledger.verdict_rows import JudgedControl, VerdictRow, template_engine
from .results_table import coverage, summary
from .svg import described, drawings

HOME = Path(__file__).parent


def write_report(
    ledger: Ledger, folder: AnyPath, drawn: Iterable[AnyPath] = ()
) -> Path:
    """Write `report.html` into the folder and return its path; OSError if it cannot be written.

    `drawn` are the files that `attndyn.compare.figures.draw` wrote: the page holds those that a claim names.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(Ledger((), 0), folder).name
    'report.html'
    """
    files = [as_path(file) for file in drawn]
    # Browsers show no PDF inside a page.
    pictures = [path for path in files if path.suffix == ".png"]
    figures = {path.stem: path.read_bytes() for path in pictures}
    return write_text(as_path(folder) / "report.html", report(ledger, figures))


def report(ledger: Ledger, figures: Mapping[str, bytes] | None = None) -> str:
    """The page as text; `figures` are PNG files by the name that a claim may give as its `figure`.

    >>> report(Ledger((), seed=3)).startswith("<!doctype html>")
    True
    """
    style, script = (_file_text(f"page.{kind}") for kind in ("css", "js"))
    # Only figures that a claim of this ledger names, each once, however many claims name it.
    named = {verdict.claim.figure for verdict in ledger.verdicts}
    pictures = {
        name: _picture(png) for name, png in (figures or {}).items() if name in named
    }
    papers = coverage(ledger)
    results = [result for paper in papers for result in paper.results]
    return (
        template_engine(HOME)
        .get_template("page.html")
        .render(
            rows=[VerdictRow(verdict) for verdict in ledger.verdicts],
            entries=[_entry(verdict) for verdict in ledger.verdicts],
            failed_assumptions=ledger.failed_assumptions,
            figures=pictures,
            papers=papers,
            coverage=summary(results),
            policy=_policy(script),
            style=style,
            script=script,
            **_overview(ledger),
        )
    )


@dataclass(frozen=True)
class Picture:
    """A figure as a data URI; width and height in pixels."""

    uri: str
    width: int
    height: int

    @property
    def shown(self) -> int:
        """Width on a screen: half as large again as on paper, where an inch has 300 of its pixels, not 96."""
        return round(1.5 * 96 / 300 * self.width)


class BudgetShare(NamedTuple):
    """A source of error: its size, and percent of the whole budget."""

    source: str
    size: float
    percent: float


@dataclass(frozen=True)
class Entry:
    """What the article on a verdict shows besides its fields.

    `formula` is the statement as MathML, empty where it cannot be typeset; `problem` then says why.
    """

    verdict: Verdict
    formula: str
    problem: str
    drawings: tuple[str, ...]
    caption: str
    controls: tuple[JudgedControl, ...]
    budget: tuple[BudgetShare, ...]


def _entry(verdict: Verdict) -> Entry:
    formula, problem = "", ""
    if verdict.claim.statement:
        # The statement of a user's claim may be no LaTeX: the other claims are still to be read.
        try:
            formula = mathml(verdict.claim.statement)
        except ValueError as error:
            problem = str(error)
    return Entry(
        verdict=verdict,
        formula=formula,
        problem=problem,
        drawings=drawings(verdict),
        caption=described(verdict),
        controls=VerdictRow(verdict).controls,
        budget=_budget_shares(verdict),
    )


def _budget_shares(verdict: Verdict) -> tuple[BudgetShare, ...]:
    """The sources of error, the largest first."""
    budget = verdict.evidence.budget
    whole = sum(abs(size) for _, size in budget)
    shares = []
    for source, size in budget:
        # Sources that are all 0 have no shares.
        percent = 100 * abs(size) / whole if whole else 0.0
        shares.append(BudgetShare(source, size, percent))
    return tuple(sorted(shares, key=lambda share: -share.percent))


def _overview(ledger: Ledger) -> dict[str, Any]:
    """What the head of the page says of all verdicts together, and what there is to filter by."""
    verdicts = ledger.verdicts
    counts = Counter(verdict.level for verdict in verdicts)
    present = {verdict.claim.tier for verdict in verdicts}
    return {
        "holds": ledger.holds,
        "unexpected": [verdict for verdict in verdicts if not verdict.holds],
        "counts": {level: counts[level] for level in LEVELS if counts[level]},
        "tiers": [tier for tier in TIERS if tier in present],
        "sections": list(
            dict.fromkeys(verdict.id.split(".")[0] for verdict in verdicts)
        ),
        "seconds": sum(verdict.seconds for verdict in verdicts),
        "seed": ledger.seed,
        "versions": dict(ledger.versions),
    }


def _file_text(name: str) -> str:
    return (HOME / name).read_text(encoding="utf-8").strip()


def _policy(script: str) -> str:
    """The Content-Security-Policy: this one script, and nothing from anywhere."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    kinds = f"script-src 'sha256-{digest}'; style-src 'unsafe-inline'; img-src data:"
    return f"default-src 'none'; {kinds}; base-uri 'none'; form-action 'none'"


def _picture(png: bytes) -> Picture:
    """A PNG file inside the page; its size lies in its first chunk."""
    width, height = struct.unpack(">II", png[16:24])
    return Picture(
        f"data:image/png;base64,{base64.b64encode(png).decode()}", width, height
    )
