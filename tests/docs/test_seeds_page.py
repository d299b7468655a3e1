"""The page of base seeds: what it counts, and that a verdict that changes with the seed would show."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attndyn.compare import Evidence, Ledger, Verdict
from attndyn.compare.evidence.verdict import ClaimRecord, VariantOutcomes

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture(scope="module")
def script():
    """The script that writes the page."""
    sys.path.insert(0, str(DOCS))
    try:
        import make_seeds
    finally:
        sys.path.remove(str(DOCS))
    return make_seeds


def verdict(seed, level="numerical"):
    return Verdict(
        claim=ClaimRecord("merged.one_drop", "title", "source"),
        level=level,
        evidence=Evidence(True, f"gap of seed {seed}", "expected"),
        variants=VariantOutcomes(rejected=("a", "b")),
        seconds=1.0,
        seed=seed,
    )


def ledgers(*levels):
    return [
        Ledger((verdict(seed, level),), seed, {"numpy": "2"})
        for seed, level in enumerate(levels)
    ]


def test_the_page_says_that_no_verdict_depends_on_the_seed(script):
    page = script.page(ledgers("numerical", "numerical"))
    assert "All 2 verdicts are as expected" in page
    assert (
        "| `merged.one_drop` | 2 numerical | 2/2 | gap of seed 0; gap of seed 1 |"
        in page
    )


def test_a_verdict_that_depends_on_the_seed_is_named(script):
    page = script.page(ledgers("numerical", "inconclusive", "numerical", "numerical"))
    assert (
        "1 of 4 verdicts are not as expected: seed 1: `merged.one_drop` (inconclusive)"
        in page
    )
    assert "3 numerical, 1 inconclusive" in page
    assert "; 1 more |" in page


def test_a_control_that_is_accepted_from_some_seed_shows(script):
    first, second = ledgers("numerical", "numerical")
    weaker = replace(
        second.verdicts[0], variants=VariantOutcomes(rejected=("a",), accepted=("b",))
    )
    page = script.page([first, Ledger((weaker,), 1, {"numpy": "2"})])
    assert "| 1/2, 2/2 |" in page


def test_rows_of_other_claims_stay_as_they_are(script):
    older = script.page(ledgers("numerical", "numerical"))
    (row,) = [line for line in older.splitlines() if "`merged.one_drop`" in line]
    other = Verdict(
        claim=ClaimRecord("softmax.pair", "title", "source"),
        level="numerical",
        evidence=Evidence(True, "gap of a pair", "expected"),
        variants=VariantOutcomes(rejected=("a",)),
        seconds=1.0,
        seed=0,
    )
    newer = script.page([Ledger((other,), 0, {"numpy": "2"})], older)
    assert row in newer.splitlines()
    assert "| `softmax.pair` | 1 numerical | 1/1 | gap of a pair |" in newer
    assert "All 3 verdicts are as expected" in newer
    # A new verdict takes the place of the old row.
    again = script.page(ledgers("numerical"), newer)
    assert "| `merged.one_drop` | 1 numerical | 2/2 | gap of seed 0 |" in again
    assert "All 2 verdicts are as expected" in again
    assert again.index("merged.one_drop") < again.index("softmax.pair")
