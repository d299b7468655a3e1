"""The claims: well formed, true at seeds that they were not made with, and checked by checks that can fail."""

import dataclasses
import functools
import inspect
import json
import re

import pytest

from attndyn.compare.claims import all_claims, section_files, sections
from attndyn.compare.evidence.checking import check_claim
from attndyn.compare.evidence.claim import (
    TIERS,
    UNMODIFIED,
    Claim,
    RunContext,
)
from attndyn.compare.evidence.evidence import Curve, Evidence, Fit
from attndyn.compare.evidence.verdict import Verdict
from attndyn.simulate import Experiment

CLAIMS = {claim.id: claim for claim in all_claims()}
FAST = [name for name, claim in CLAIMS.items() if claim.tier == "fast"]
LEVELS = ("proved", "certified", "numerical", "refuted")
SEED = 7


@pytest.fixture(scope="module")
def context(tmp_path_factory):
    return RunContext(tmp_path_factory.mktemp("runs"), SEED)


# Every claim says what it says, and from where


def test_ids_are_unique_and_every_section_states_claims():
    assert len(CLAIMS) == len(all_claims()) > 25
    assert len(set(section_files().values())) == len(sections())
    assert all(re.fullmatch(r"[a-z_]+\.[a-z0-9_]+", name) for name in CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_a_claim_is_well_formed(claim):
    for name in ("title", "source", "statement", "observable", "limit"):
        assert getattr(claim, name).strip() == getattr(claim, name) != ""
    assert claim.tier in TIERS
    assert claim.expected_level in LEVELS
    variants = claim.controls + claim.corrected
    assert len(set(variants)) == len(variants) > 0
    assert UNMODIFIED not in variants
    assert not claim.title.endswith(".")
    assert claim.statement.count("{") == claim.statement.count("}")
    assert re.search(
        r"\b(19|20)\d\d\b|goes beyond|convention", claim.source
    )  # a paper, or plainly ours


@pytest.mark.parametrize("claim", CLAIMS.values(), ids=CLAIMS)
def test_the_runs_of_a_claim_can_be_named_before_it_is_checked(claim, context):
    other = dataclasses.replace(context, seed=SEED + 1)
    runs = claim.experiments(context)
    assert all(isinstance(run, Experiment) for run in runs)
    assert [run.digest for run in runs] == [
        run.digest for run in claim.experiments(context)
    ]
    assert len({run.digest for run in runs}) == len(runs)
    assert not {run.digest for run in runs} & {
        run.digest for run in claim.experiments(other)
    }


@pytest.mark.parametrize(
    "name", [name for name, claim in CLAIMS.items() if claim.tier == "fast"]
)
def test_fast_claims_read_no_long_runs(name, context):
    assert CLAIMS[name].experiments(context) == ()


def names_in(code) -> set[str]:
    """The names in the code of a function, and in that of the functions inside it, such as those it returns."""
    inner = [each for each in code.co_consts if inspect.iscode(each)]
    return {*code.co_names}.union(*(names_in(each) for each in inner))


def names_used(function, found: set) -> set[str]:
    """The names that a function of a claim uses, and those that the functions of claims use which it calls."""
    while isinstance(function, functools.partial):
        function = function.func
    code = getattr(function, "__code__", None)
    is_new = code is not None and code not in found
    if not is_new or not function.__module__.startswith("attndyn.compare"):
        return set()
    found.add(code)
    cells = [cell.cell_contents for cell in function.__closure__ or ()]
    names = names_in(code)
    called = [function.__globals__.get(name) for name in names]
    return names.union(*(names_used(each, found) for each in [*called, *cells]))


def reads_the_seed(claim: Claim) -> bool:
    """Whether anything that measures or predicts for a claim reads the base seed."""
    found: set = set()
    used = [names_used(each, found) for each in (claim.measure, claim.predict)]
    return not {"seed", "seeds"}.isdisjoint(set().union(*used))


def test_proofs_read_no_seed_and_samples_do():
    assert not reads_the_seed(CLAIMS["proofs.moments"])
    assert reads_the_seed(CLAIMS["setting.statistics"])
    assert reads_the_seed(
        CLAIMS["softmax.exact_loss"]
    )  # in a function that it is part of
    assert reads_the_seed(CLAIMS["modes.edge_slide"])  # in a function inside another


# The others say at every seed what `make verify` and `make test-lowest` check at the first one.
@pytest.mark.parametrize(
    "name", [name for name in FAST if reads_the_seed(CLAIMS[name])]
)
def test_a_fast_claim_holds_at_a_new_seed(name, context):
    verdict = check_claim(CLAIMS[name], context)
    assert verdict.holds, verdict
    assert verdict.rejected == CLAIMS[name].controls
    assert verdict.accepted == ()
    assert verdict.observed != ""
    assert verdict.expected != ""


# What a check concludes, on claims made up for it


def claim(truth=1.0, tolerance=0.1, controls=("twice", "half"), **changes):
    """The claim that a measured 1 is `truth`, within a tolerance."""
    wrong = {UNMODIFIED: 1.0, "twice": 2.0, "half": 0.5, "one percent more": 1.01}

    def judge(predicted, observed):
        return Evidence(
            abs(predicted - observed) <= tolerance,
            f"{observed}",
            f"{predicted} ± {tolerance}",
        )

    fields = {
        "id": "made.up",
        "title": "One is one",
        "origin": "this test",
        "statement": "1 = 1",
        "observable": "1",
        "limit": "none",
        "measure": lambda context: 1.0,
        "predict": lambda context, variant: truth * wrong[variant],
        "judge": judge,
        "controls": controls,
    }
    return Claim(**fields | changes)


def test_a_true_claim_is_numerical(context):
    verdict = check_claim(claim(), context)
    assert (verdict.level, verdict.holds) == ("numerical", True)
    assert (verdict.rejected, verdict.accepted) == (("twice", "half"), ())
    assert (verdict.observed, verdict.expected) == ("1.0", "1.0 ± 0.1")
    assert (verdict.id, verdict.title, verdict.source) == (
        "made.up",
        "One is one",
        "this test",
    )


def test_a_false_claim_is_refuted(context):
    verdict = check_claim(claim(truth=3.0), context)
    assert (verdict.level, verdict.holds) == ("refuted", False)
    assert verdict.expected == "3.0 ± 0.1"


def test_a_false_claim_whose_control_is_right_is_refuted_all_the_same(context):
    verdict = check_claim(claim(truth=2.0), context)  # half of it is what was measured
    assert (verdict.level, verdict.accepted, verdict.rejected) == (
        "refuted",
        ("half",),
        ("twice",),
    )


def test_a_claim_that_accepts_a_control_is_inconclusive(context):
    verdict = check_claim(claim(controls=("twice", "one percent more")), context)
    assert (verdict.level, verdict.holds) == ("inconclusive", False)
    assert (verdict.rejected, verdict.accepted) == (("twice",), ("one percent more",))
    assert verdict.to_dict()["controls"] == {
        "rejected": 1,
        "total": 2,
        "accepted": ("one percent more",),
        "names": ("twice",),
    }
    assert check_claim(
        claim(tolerance=0.001, controls=("one percent more",)), context
    ).holds  # a sharper check concludes


def test_a_claim_that_accepts_everything_shows_nothing(context):
    assert check_claim(claim(tolerance=10.0), context).level == "inconclusive"


def test_a_statement_known_to_be_wrong_is_expected_to_be_refuted(context):
    known = {"controls": (), "expected_level": "refuted"}
    assert check_claim(claim(truth=2.0, corrected=("half",), **known), context).holds
    assert not check_claim(
        claim(corrected=("one percent more",), **known), context
    ).holds  # it is true after all
    missed = check_claim(
        claim(truth=3.0, corrected=("half",), **known), context
    )  # a judge that rejects everything
    assert (missed.level, missed.variants.misjudged) == ("inconclusive", ("half",))
    with pytest.raises(ValueError, match="name a corrected variant"):
        claim(truth=2.0, **known)


def test_a_claim_without_controls_is_not_checked(context):
    with pytest.raises(ValueError, match=r"claim made\.up has no control"):
        claim(controls=())


@pytest.mark.parametrize(
    "changes",
    [{"tier": "slow"}, {"expected_level": "sure"}, {"evidence_level": "refuted"}],
)
def test_tiers_and_levels_exist(changes):
    with pytest.raises(ValueError, match="must be one of"):
        claim(**changes)


def test_agreement_reaches_the_level_of_its_method(context):
    assert check_claim(
        claim(evidence_level="proved", expected_level="proved"), context
    ).holds
    assert (
        check_claim(
            claim(truth=3.0, evidence_level="proved", expected_level="proved"), context
        ).level
        == "refuted"
    )


def test_more_seeds_are_asked_for_until_it_is_clear(context):
    asked = []

    def judge(predicted, observed):
        return Evidence(
            observed > 3 and predicted == 1,
            f"{observed}",
            "clear",
            undecided=observed <= 3,
        )

    verdict = check_claim(
        claim(
            measure=lambda context: (
                asked.append(context.repeat_factor) or len(context.seeds(1))
            ),
            judge=judge,
        ),
        context,
    )
    assert verdict.holds
    assert asked == [1, 2, 4]
    never = check_claim(
        claim(
            judge=lambda predicted, observed: Evidence(False, "", "", undecided=True)
        ),
        context,
    )
    assert (never.level, never.accepted) == ("inconclusive", ("twice", "half"))


def test_a_verdict_is_read_back_as_it_was_written(context):
    curve = Curve("loss", (0.0, 1.0), (1.0, 0.5), (1.0, 0.6))
    fit = Fit("η", (0.1, 0.01), (1e-2, 1e-3), 1.0, 1.0, (0.9, 1.1))

    def judge(predicted, observed):
        agrees = predicted == observed
        return Evidence(
            agrees,
            "one",
            "one",
            fit,
            (("rounding", 1e-16),),
            0.0,
            (curve,),
            ("step", "loss"),
        )

    verdict = check_claim(claim(judge=judge, hypotheses=("none",)), context)
    assert verdict.evidence.fit == fit
    assert Verdict.from_dict(json.loads(json.dumps(verdict.to_dict()))) == verdict


def test_the_measurement_is_made_once_and_knows_no_variant(context):
    calls, seen = [], []
    verdict = check_claim(
        claim(
            measure=lambda where: calls.append(where) or 1.0,
            predict=lambda where, variant: (
                seen.append(variant) or {"": 1.0}.get(variant, 5.0)
            ),
        ),
        context,
    )
    assert verdict.holds
    assert calls == [context]
    assert seen == [UNMODIFIED, "twice", "half"]


def test_a_verdict_is_plain_values(context):
    verdict = check_claim(claim(), context)
    assert isinstance(verdict, Verdict)
    assert verdict.to_dict()["holds"] is True
    assert verdict.to_dict()["seconds"] == verdict.seconds >= 0


def test_a_context_has_a_seed_of_zero_or_more(tmp_path):
    assert RunContext(tmp_path).seed == 0
    with pytest.raises(
        ValueError, match="seed must be a whole number of at least 0, not -1"
    ):
        RunContext(tmp_path, -1)


def test_a_claim_whose_measurement_fails_is_inconclusive(context):
    verdict = check_claim(
        dataclasses.replace(claim(), measure=lambda context: 1 / 0), context
    )
    assert (verdict.level, verdict.holds, verdict.rejected) == (
        "inconclusive",
        False,
        (),
    )
    assert verdict.observed == "failed: division by zero"
