"""What claims, evidence, verdicts, ledgers and papers show of themselves: one screen, and formulas in a notebook."""

import pytest

from attndyn.compare import Ledger, verify
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.evidence import Curve, Evidence, Fit
from attndyn.compare.evidence.papers import all_papers

LINES, CHARACTERS = 24, 100
LONG = tuple(range(200))
CURVE = Curve("loss", LONG, LONG, LONG)
FIT = Fit("η", (0.1, 0.01, 0.001), (2e-1, 2.1e-2, 1.9e-3), 1.01, 1.0, (0.98, 1.03))
EVIDENCE = Evidence(
    True, "1.0", "1", FIT, (("solver", 1e-9),), 1e-6, (CURVE,) * 20, ("step", "loss")
)


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return verify(["fixed_points.count", "merged.balanced"], workers=1)


def fits_one_screen(value: object) -> bool:
    lines = repr(value).splitlines()
    return len(lines) <= LINES and all(len(line) <= CHARACTERS for line in lines)


def test_every_claim_and_paper_shows_itself_on_one_screen():
    assert all(fits_one_screen(claim) for claim in all_claims())
    assert all(fits_one_screen(paper) for paper in all_papers())


@pytest.mark.parametrize(
    "value", [CURVE, FIT, EVIDENCE], ids=lambda v: type(v).__name__
)
def test_evidence_shows_itself_on_one_screen(value):
    assert fits_one_screen(value)
    assert "<table>" in value._repr_html_()


def test_evidence_says_whether_it_agrees_and_what_it_leaves():
    text = repr(EVIDENCE)
    assert text.startswith("agreement")
    for part in ("1.010, expected 1", "residual", "budget: solver", "1e-09"):
        assert part in text
    assert repr(Evidence(False, "1", "2")).startswith("disagreement")
    assert repr(Evidence(False, "1", "2", undecided=True)).startswith("undecided")


def test_a_verdict_and_a_ledger_show_themselves(ledger):
    count, balanced = sorted(ledger.verdicts, key=lambda verdict: verdict.id)
    assert fits_one_screen(ledger)
    assert repr(ledger).startswith("2 of 2 claims are as expected")
    assert all(verdict.id in repr(ledger) for verdict in ledger.verdicts)
    many = Ledger(ledger.verdicts * 10, seed=0)
    assert not any(verdict.id in repr(many) for verdict in ledger.verdicts)
    for verdict in (count, balanced):
        assert fits_one_screen(verdict)
        assert repr(verdict).startswith(f"{verdict.id}: {verdict.level}")
        assert "<math" in verdict._repr_html_()
        assert verdict.id in ledger._repr_html_()
