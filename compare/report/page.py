"""The ledger as one HTML page: no script or style from elsewhere, no request, the same bytes every time."""

import base64
import hashlib
import struct
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...runtime.files import AnyPath, as_path, write_text
from ...runtime.typesetting import mathml
from ..evidence.claim import LEVELS, TIERS
from ..evidence.verdict import Verdict
from ..ledger.verification import Ledger
from .formatting import anchor, number
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
    files = (as_path(each) for each in drawn)
    figures = {path.stem: path.read_bytes() for path in files if path.suffix == ".png"}
    return write_text(as_path(folder) / "report.html", report(ledger, figures))


def report(ledger: Ledger, figures: Mapping[str, bytes] | None = None) -> str:
    """The page as text; `figures` are PNG files by the name that a claim may give as its `figure`.

    >>> report(Ledger((), seed=3)).startswith("<!doctype html>")
    True
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    engine = Environment(
        loader=FileSystemLoader(HOME),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    engine.filters["number"] = number
    engine.filters["anchor"] = anchor
    style, script = (_source(f"page.{kind}") for kind in ("css", "js"))
    named = {verdict.figure for verdict in ledger.verdicts}
    papers = coverage(ledger)
    results = [result for paper in papers for result in paper.results]
    return engine.get_template("page.html").render(
        entries=[_entry(verdict) for verdict in ledger.verdicts],
        figures={
            name: _picture(png)
            for name, png in (figures or {}).items()
            if name in named
        },
        papers=papers,
        coverage=summary(results),
        policy=_policy(script),
        style=style,
        script=script,
        **_summary(ledger),
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


@dataclass(frozen=True)
class Entry:
    """What the page shows of a verdict besides its fields."""

    verdict: Verdict
    section: str
    order: str
    formula: str
    problem: str
    drawings: tuple[str, ...]
    caption: str
    controls: tuple[tuple[str, bool, str], ...]
    budget: tuple[tuple[str, float, float], ...]

    @property
    def words(self) -> str:
        """What the text filter looks through."""
        v = self.verdict
        variants = (
            *(name for name, *_ in self.controls),
            *(name for name, _ in v.corrected),
        )
        return " ".join((v.id, v.title, v.source, v.observable, v.limit, *variants))


def _entry(verdict: Verdict) -> Entry:
    formula, problem = "", ""
    if verdict.statement:
        try:
            formula = mathml(verdict.statement)
        except (
            ValueError
        ) as error:  # somebody's own claim: the others are still to be read
            problem = str(error)
    return Entry(
        verdict=verdict,
        section=verdict.id.split(".")[0],
        order=_order(verdict),
        formula=formula,
        problem=problem,
        drawings=drawings(verdict),
        caption=described(verdict),
        controls=_controls(verdict),
        budget=_budget(verdict),
    )


def _order(verdict: Verdict) -> str:
    """The measured order over the expected one, or what there is of the two."""
    if verdict.fit is not None:
        return f"{number(verdict.fit.slope, '.2f')} for {number(verdict.fit.expected)}"
    return "" if verdict.order is None else number(verdict.order)


def _controls(verdict: Verdict) -> tuple[tuple[str, bool, str], ...]:
    """Every variant, whether the judge took it rightly, and how, the wrongly taken ones first."""
    wrongly = [
        (name, False, "accepted, and is wrong")
        for name in verdict.accepted
        if name in verdict.broken
    ]
    wrongly += [
        (name, False, "rejected, and is right")
        for name in verdict.broken
        if name not in verdict.accepted
    ]
    untried = [
        (name, False, "not tried")
        for name in verdict.accepted
        if name not in verdict.broken
    ]
    return (
        *wrongly,
        *untried,
        *((name, True, "rejected") for name in verdict.rejected),
    )


def _budget(verdict: Verdict) -> tuple[tuple[str, float, float], ...]:
    """Source, size and percent of the whole budget, the largest first."""
    whole = sum(abs(size) for _, size in verdict.budget) or 1.0
    largest_first = sorted(verdict.budget, key=lambda pair: -abs(pair[1]))
    return tuple((name, size, 100 * abs(size) / whole) for name, size in largest_first)


def _summary(ledger: Ledger) -> dict[str, Any]:
    """What the head of the page says of all verdicts together, and what there is to filter by."""
    verdicts = ledger.verdicts
    counts = Counter(verdict.level for verdict in verdicts)
    present = {verdict.tier for verdict in verdicts}
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


def _source(name: str) -> str:
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
