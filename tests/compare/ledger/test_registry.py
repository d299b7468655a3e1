"""Claims of one's own: a decorator with defaults, files, and digests that fall with the code they depend on."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import attndyn
from attndyn.compare import Claim, Evidence, claim, equal_within, verify
from attndyn.compare.ledger.claim_names import claims_named
from attndyn.compare.ledger.registry import (
    claim_of_id,
    file_of_claim,
    is_portable,
    load_claims,
    loaded_file,
    registered,
)
from attndyn.compare.ledger.verdict_store import verdict_digest

ROOT = Path(attndyn.__file__).parent

SQUARE = '''
import numpy as np
from attndyn.compare import claim, equal_within


@claim("mine.square", measure=lambda context: [np.array([4.0])], judge=equal_within(1e-12), controls=("cube",))
def square(context, variant):
    """Two times two is two squared.

    More of it.
    """
    return [np.array([2.0]) ** (3 if variant == "cube" else 2)]
'''


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A registry for each test."""
    monkeypatch.setattr("attndyn.compare.ledger.registry._registered", {})
    monkeypatch.setattr("attndyn.compare.ledger.registry._loaded", set())


@pytest.fixture
def square(tmp_path):
    """A file with one claim."""
    path = tmp_path / "square.py"
    path.write_text(SQUARE)
    return path


def measured(context):
    """One, measured."""
    return [np.ones(3)]


def one(context, variant):
    """One is one."""
    return [np.full(3, 2.0 if variant else 1.0)]


def state(id, **fields):
    return claim(
        id,
        measure=measured,
        judge=equal_within(1e-9),
        **{"controls": ("two",)} | fields,
    )


# The decorator


def test_a_claim_needs_little_and_takes_everything():
    made = state("mine.one")(one)
    assert isinstance(made, Claim)
    assert (made.title, made.observable) == ("One is one", "One, measured")
    assert (made.source, made.statement, made.limit) == (
        "the user's own",
        r"\text{One is one}",
        "none stated",
    )
    assert (made.predict, made.measure) == (one, measured)
    bare = state("mine.bare", title="1 = 1", limit="P → ∞", tier="long", order=0.5)(
        lambda context, variant: one
    )
    assert (bare.title, bare.limit, bare.tier, bare.order) == (
        "1 = 1",
        "P → ∞",
        "long",
        0.5,
    )
    assert list(registered()) == ["mine.one", "mine.bare"]


def test_a_claim_that_cannot_fail_is_refused():
    with pytest.raises(ValueError, match=r"claim mine\.one has no control"):
        state("mine.one", controls=())(one)
    with pytest.raises(TypeError, match="sauce"):
        state("mine.one", sauce="a paper")(one)
    assert registered() == {}


def test_another_place_is_refused_and_the_same_replaces():
    for tier in ("fast", "long"):
        state_here = state("mine.one", tier=tier)
        kept = state_here(one)
    assert registered()["mine.one"].claim is kept
    with pytest.raises(
        ValueError,
        match=r"claim mine\.one is registered twice, at .*py:\d+ and at .*py:\d+",
    ):
        claim(
            "mine.one", measure=measured, judge=equal_within(1e-9), controls=("two",)
        )(one)
    assert registered()["mine.one"].claim is kept


def cell(text, number):
    """Run a cell as a notebook does: in __main__, from a file that is not there."""
    names = {"__name__": "__main__"}
    exec(compile(text, f"<ipython-input-{number}>", "exec"), names)
    return names["square"]


def test_a_cell_of_a_notebook_runs_again():
    cell(SQUARE, 1)
    changed = cell(SQUARE.replace("Two times two", "Twice two"), 2)
    assert registered()["mine.square"].claim is changed
    assert file_of_claim("mine.square") is None
    assert not is_portable("mine.square")


def test_a_claim_of_the_running_program_is_checked_here(tmp_path):
    cell(SQUARE, 1)
    ledger = verify(["mine.square", "fixed_points.count"], workers=2, out=tmp_path)
    assert [(verdict.id, verdict.holds) for verdict in ledger.verdicts] == [
        ("fixed_points.count", True),
        ("mine.square", True),
    ]
    assert [bool(verdict.digest) for verdict in ledger.verdicts] == [True, False]
    assert (
        len(list((tmp_path / "verdicts").iterdir())) == 1
    )  # what a notebook holds besides is not known
    assert [each.id for each in claims_named(["mine"], "fast")] == ["mine.square"]
    assert "mine.square" not in [each.id for each in claims_named([], "paper")]


def test_an_id_of_the_package_is_taken():
    state("merged.aligned")(one)
    with pytest.raises(
        ValueError,
        match=r"has a claim merged\.aligned already: choose another id at .*\.py:\d+",
    ):
        verify(["merged.aligned"])


# Files


def test_a_file_stands_for_its_claims(square, tmp_path):
    names = [str(square), "fixed_points.count"]
    ledger = verify(names, workers=2, out=tmp_path / "out")
    assert [verdict.id for verdict in ledger.verdicts] == [
        "fixed_points.count",
        "mine.square",
    ]
    assert ledger.holds
    assert ledger.verdicts[1].claim.code_location == "square.py:6"
    assert loaded_file("mine.square") == square
    assert claim_of_id("mine.square").title == "Two times two is two squared"
    assert claim_of_id("fixed_points.count").id == "fixed_points.count"


def test_a_changed_file_is_read_anew(square):
    assert load_claims(square) == ["mine.square"]
    square.write_text("\n\n" + SQUARE.replace("mine.square", "mine.other"))
    assert load_claims(square) == ["mine.other"]
    assert list(registered()) == ["mine.other"]


MISTAKES = {
    "no claims": (
        "x = 1",
        "registers no claim: decorate its prediction with attndyn.compare.claim",
    ),
    "failure": ("1 / 0", "cannot be run: ZeroDivisionError: division by zero"),
    "exit": ("raise SystemExit(3)", "cannot be run: SystemExit: 3"),
    "syntax": ("def", "cannot be run: SyntaxError"),
    "twice": (
        SQUARE + SQUARE,
        "cannot be run: ValueError: claim mine.square is registered twice",
    ),
    "no control": (
        SQUARE.replace('("cube",)', "()"),
        "claim mine.square has no control",
    ),
    "own mistake": (
        SQUARE.replace("[np.array([4.0])]", "None.x"),
        "claim mine.square cannot be checked: Attribute",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_a_file_is_one_line(tmp_path, name):
    text, reason = MISTAKES[name]
    path = tmp_path / "mistake.py"
    path.write_text(text)
    with pytest.raises(ValueError, match=reason) as error:
        verify([str(path)], workers=1)
    assert "mine.square" in str(error.value) or str(path) in str(error.value)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.py"):
        verify([str(tmp_path / "nothing.py")])


def test_a_script_finds_what_lies_beside_it(square, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "beside_square.py").write_text("FOUR = 4.0")
    square.write_text(
        "from beside_square import FOUR\n" + SQUARE.replace("4.0", "FOUR")
    )
    first = verify(square, workers=1)
    assert first.holds
    (tmp_path / "beside_square.py").write_text("FOUR = 2.0 + 2.0")
    assert (
        verify([str(square)], workers=1).verdicts[0].digest != first.verdicts[0].digest
    )


# Digests


CLAIMS = (
    "merged.aligned",
    "separate.aligned",
    "fixed_points.count",
    "replay.merged_h8",
)
SCRIPT = f"""
import json
from pathlib import Path
from attndyn.compare.ledger.verdict_store import verdict_digest
from attndyn.compare.ledger.registry import file_of_claim
from attndyn.runtime.code_digest import source_digest, sources
import attndyn
assert attndyn.__file__.startswith(str(Path.cwd())), attndyn.__file__
files = {{name: file_of_claim(name) for name in {CLAIMS}}} | {{"mine": Path("mine.py").resolve()}}
print(json.dumps({{name: verdict_digest(name, 0, source_digest(sources(file))) for name, file in files.items()}}))
"""


def digests(folder):
    environment = os.environ | {
        "PYTHONPATH": str(folder),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def changed(folder, name, before):
    """Which digests differ from those before if a line of this file changes, and no other."""
    path = folder / "attndyn" / name
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n")
    after = digests(folder)
    path.write_bytes(whole)
    return {each for each in before if before[each] != after[each]}


def test_a_changed_formula_changes_what_depends_on_it_and_nothing_else(tmp_path):
    # Compiled modules come along, and hold: a copy keeps the times of its files.
    leave_out = shutil.ignore_patterns(
        ".*", "build", "tests", "docs", "results", "out", "*.pdf"
    )
    shutil.copytree(ROOT, tmp_path / "attndyn", ignore=leave_out)
    (tmp_path / "mine.py").write_text(
        "from attndyn.theory.linear_attention import unstable_mode_amplitude"
    )
    before = digests(tmp_path)
    assert changed(tmp_path, "theory/linear_attention/merged.py", before) == {
        "merged.aligned",
        "mine",
    }
    on_moments = {*CLAIMS, "mine"} - {"replay.merged_h8"}
    assert changed(tmp_path, "theory/moments/population_loss.py", before) == on_moments
    recording = "compare/replays/reference/linear_attention/merged_h8.npz"
    assert changed(tmp_path, recording, before) == {"replay.merged_h8"}


def test_a_digest_is_that_of_claim_seed_and_code():
    digests = [
        verdict_digest(name, seed, code)
        for name in "ab"
        for seed in (0, 1)
        for code in "cd"
    ]
    assert len(set(digests)) == 8
    assert digests[0] == verdict_digest("a", 0, "c")


# Claims that show nothing


def stated(**fields):
    """A claim that one is one, with these fields."""
    defaults = {"measure": measured, "judge": equal_within(1e-9), "controls": ("two",)}
    return claim("mine.one", **defaults | fields)(fields.pop("predict", one))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"controls": ("",)}, "a variant must have a name that is not empty, not ''"),
        (
            {"controls": (None,)},
            "a variant must have a name that is not empty, not None",
        ),
        ({"controls": ("two", "two")}, "the variant 'two' is named twice"),
        (
            {"controls": ("two",), "corrected": ("two",)},
            "the variant 'two' is named twice",
        ),
        (
            {"expected_level": "refuted", "corrected": ("",)},
            "a variant must have a name that is not empty",
        ),
        ({"controls": "two"}, "controls must be a tuple of names, not 'two'"),
    ],
)
def test_variants_that_are_none_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        stated(**fields)


def test_a_judge_that_changes_what_it_is_given_spares_the_next_variant():
    def subtracting(predicted, observed):
        observed[0] -= predicted[0]
        return Evidence(bool(np.all(observed[0] == 0)), "", "")

    made = stated(judge=subtracting)
    assert verify([made.id]).verdicts[0].level == "numerical"
    idle = claim(
        "mine.idle", measure=measured, judge=subtracting, controls=("as the theory",)
    )(lambda context, variant: [np.ones(3)])
    assert verify([idle.id]).verdicts[0].variants.misjudged == ("as the theory",)


def test_a_control_of_nan_shows_nothing():
    def within(predicted, observed):
        return Evidence(bool(np.max(np.abs(predicted[0] - observed[0])) < 1e-9), "", "")

    made = claim("mine.nan", measure=measured, judge=within, controls=("nan",))(
        lambda context, variant: [np.full(3, np.nan if variant else 1.0)]
    )
    verdict = verify([made.id]).verdicts[0]
    assert verdict.level == "inconclusive"
    assert "the prediction of 'nan' is nan" in verdict.observed


@pytest.mark.parametrize("agrees", [np.nan, "no", None, 1, np.array([True, True])])
def test_agreement_is_true_or_false(agrees):
    made = stated(judge=lambda predicted, observed: Evidence(agrees, "", ""))
    with pytest.raises(ValueError, match="agrees of an Evidence must be True or False"):
        verify([made.id])


def test_a_judge_returns_evidence():
    made = stated(judge=lambda predicted, observed: True)
    with pytest.raises(ValueError, match="a judge must return an Evidence, not bool"):
        verify([made.id])


def test_a_measurement_is_read_more_than_once():
    made = stated(measure=lambda context: (values for values in [np.ones(3)]))
    with pytest.raises(
        ValueError, match="not an iterator, which can be read once only"
    ):
        verify([made.id])


def test_nobody_expects_to_learn_nothing():
    with pytest.raises(
        ValueError,
        match="expected_level must be one of proved, certified, numerical, refuted, not",
    ):
        stated(expected_level="inconclusive")


def test_numbers_of_numpy_are_numbers_of_a_ledger():
    def judge(predicted, observed):
        gap = np.float32(np.max(np.abs(predicted[0] - observed[0])))
        return Evidence(
            gap < 1e-6, "", "", residual=gap, budget=(("steps", np.float32(0.5)),)
        )

    ledger = verify([stated(judge=judge).id])
    assert ledger.verdicts[0].level == "numerical"
    assert json.loads(ledger.to_json())["verdicts"][0]["residual"] == 0.0


@pytest.mark.parametrize(
    ("predicted", "observed", "message"),
    [
        ([], [], "0 predictions cannot be held against 0 observations"),
        (
            [np.zeros(3)],
            [np.zeros(3)],
            "a prediction that is 0 everywhere has no relative gap",
        ),
        ([np.ones(3)], [np.ones(3) + 1j], "must be an array of real numbers"),
    ],
)
def test_what_cannot_be_compared_is_inconclusive(predicted, observed, message):
    made = claim(
        "mine.none",
        measure=lambda context: observed,
        judge=equal_within(1.0),
        controls=("x",),
    )(lambda context, variant: predicted)
    verdict = verify([made.id]).verdicts[0]
    assert verdict.level == "inconclusive"
    assert message in verdict.observed
