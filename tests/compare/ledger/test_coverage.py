"""Coverage: every claim holds a result, every result names claims and figures that exist, gaps are shown."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.papers import Paper, Result, all_papers
from attndyn.compare.figures import all_figures
from attndyn.compare.ledger import coverage
from attndyn.compare.ledger.coverage import claims_of_result, results_without_claims

DOCS = Path(__file__).parents[3] / "docs"
ALL = [result for paper in all_papers() for result in paper.results]


def test_every_claim_holds_a_result_and_every_figure_shows_one():
    assert {name for result in ALL for name in result.claims} == {
        claim.id for claim in all_claims()
    }
    assert {name for result in ALL for name in result.figures} == set(all_figures())


def test_a_claim_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"no claim is called merged\.nothing"):
        claims_of_result(Result("made up", ("merged.one_drop", "merged.nothing")))


def test_a_result_without_claims_is_a_gap(monkeypatch):
    assert list(results_without_claims()) == []
    parts = {"made up": (Result("nobody checked this", ()),)}
    paper = Paper("made_up", "Made up", ("Nobody",), 2000, parts=parts)
    monkeypatch.setattr(coverage, "all_papers", lambda: (*all_papers(), paper))
    assert list(results_without_claims()) == ["nobody checked this"]


def test_the_page_of_coverage_is_what_its_script_writes():
    shown = subprocess.run(
        [
            sys.executable,
            "-c",
            "import make_coverage; print(make_coverage.page(), end='')",
        ],
        cwd=DOCS,
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "utf-8", "PYTHONDONTWRITEBYTECODE": "1"},
        check=True,
    )
    assert shown.stdout.decode() == (DOCS / "coverage.md").read_text("utf-8"), (
        "run python docs/make_coverage.py"
    )
