"""The judge of enclosures, and claims of the level "certified"."""

import sys

import pytest

from attndyn.compare import verify
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import Claim, RunContext
from attndyn.compare.evidence.enclosed import enclosed_in
from attndyn.compare.evidence.verdict import Verdict
from attndyn.theory.certified import Enclosure

CERTIFIED = {
    claim.id: claim for claim in all_claims() if claim.evidence_level == "certified"
}


def interval(midpoint, radius):
    return {"time": Enclosure.around(midpoint, radius)}


def claim(stated, certain, control=("9", "1/10")):
    """A claim that an enclosure lies in a stated interval."""
    measured = []

    def measure(context):
        measured.append(context)
        return interval(*certain)

    made = Claim(
        id="made.up",
        title="One is one",
        origin="this test",
        statement="1 = 1",
        observable="1",
        limit="none",
        measure=measure,
        predict=lambda context, variant: interval(*(control if variant else stated)),
        judge=enclosed_in,
        controls=("another number",),
        expected_level="certified",
        evidence_level="certified",
    )
    return made, measured


@pytest.mark.parametrize(
    ("stated", "certain", "control", "level"),
    [
        (("1", "1/10"), ("1", "1/100"), ("9", "1/10"), "certified"),
        (("1", "1/10"), ("2", "1/100"), ("9", "1/10"), "refuted"),
        (("1", "1/10"), ("1", "1"), ("9", "1/10"), "inconclusive"),
        (("1", "1/10"), ("11/10", "1/100"), ("9", "1/10"), "inconclusive"),
        # A control that the enclosure does not exclude is not rejected.
        (("1", "1/10"), ("1", "1/100"), ("1", "1/200"), "inconclusive"),
        (("1", "1/10"), ("1", "1/100"), ("1.01", "1/200"), "inconclusive"),
    ],
)
def test_a_level_follows_from_where_the_enclosure_lies(
    stated, certain, control, level, tmp_path
):
    made, measured = claim(stated, certain, control)
    verdict = check_claim(made, RunContext(tmp_path))
    assert verdict.level == level
    # More seeds narrow nothing.
    assert len(measured) == 1


def test_the_width_is_stored_and_shown(tmp_path):
    made, _ = claim(("1", "1/10"), ("1", "1/100"))
    verdict = check_claim(made, RunContext(tmp_path))
    assert verdict.evidence.width == 0.02
    assert "width     2.0e-02" in repr(verdict)
    assert Verdict.from_dict(verdict.to_dict()) == verdict


def test_two_sides_about_different_quantities_are_an_error():
    with pytest.raises(ValueError, match="same quantities"):
        enclosed_in(interval(1, 1), {})
    with pytest.raises(ValueError, match="same quantities"):
        enclosed_in({}, interval(1, 1))


@pytest.mark.parametrize("name", ["certified.low_orders", "certified.loss_tube"])
def test_a_certified_claim_holds(name, tmp_path):
    verdict = check_claim(CERTIFIED[name], RunContext(tmp_path, seed=7))
    assert verdict.holds, verdict
    assert verdict.rejected == CERTIFIED[name].controls


def test_without_the_library_claims_are_inconclusive_and_checked_again_with_it(
    monkeypatch, tmp_path
):
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "flint", None)
        ledger = verify(["certified.low_orders"], out=tmp_path, workers=1)
    (verdict,) = ledger.verdicts
    assert verdict.level == "inconclusive"
    assert not ledger.holds
    assert "pip install 'attndyn[certified]'" in verdict.observed
    assert verify(["certified.low_orders"], out=tmp_path, workers=1, resume=True).holds
