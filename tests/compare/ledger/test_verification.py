"""The ledger: claims are chosen by name, checked in any number of processes, and their runs are kept."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import attndyn
from attndyn import Merged, Task
from attndyn.compare import Ledger, verify
from attndyn.compare.claims import all_claims
from attndyn.compare.evidence.claim import TIERS, Claim
from attndyn.compare.evidence.evidence import Evidence
from attndyn.compare.ledger.claim_names import claims_named
from attndyn.compare.ledger.progress_view import ProgressView
from attndyn.compare.ledger.scheduler import Job, run_jobs
from attndyn.simulate import Experiment

CHEAP = ["fixed_points.count", "merged.aligned"]
SMALL = Experiment(
    Task([2, 1], context_length=5), Merged(2), 50, 0.1, learning_rate=0.01, steps=10
)


def simulated(context):
    return (SMALL.with_seed(context.seed), SMALL.with_seed(context.seed + 1))


INVENTED = Claim(
    id="invented.loss",
    title="The loss falls",
    origin="this test",
    statement="L",
    observable="last loss",
    limit="none",
    measure=lambda context: [run.loss[-1] for run in context.trajectories],
    predict=lambda context, control: 10.0 if not control else 0.0,
    judge=lambda predicted, observed: Evidence(
        max(observed) < predicted, f"{max(observed)}", f"< {predicted}"
    ),
    controls=("no loss at all",),
    experiments=simulated,
    tier="fast",
)


@pytest.fixture
def invented(monkeypatch):
    """An invented section that stands for all of them."""
    monkeypatch.setattr(
        "attndyn.compare.claims.linear_attention.merged.time_courses.CLAIMS",
        (INVENTED,),
    )


def ids(names=(), tier="standard"):
    return [claim.id for claim in claims_named(names, tier)]


# Which claims


def test_a_tier_holds_those_below_it():
    known = all_claims()
    for tier in TIERS:
        expected = [
            claim.id for claim in known if TIERS.index(claim.tier) <= TIERS.index(tier)
        ]
        assert ids(tier=tier) == expected
    assert (
        0
        < len(ids(tier="fast"))
        < len(ids(tier="standard"))
        <= len(ids(tier="paper"))
        == len(known)
    )


def test_a_name_is_an_id_or_what_precedes_a_dot():
    assert ids(["merged.aligned"]) == ["merged.aligned"]
    section = ids(["merged"])
    assert section == [
        claim.id for claim in all_claims() if claim.id.startswith("merged.")
    ]
    assert len(section) > 3
    assert ids(["merged", "merged.aligned", "fixed_points.count"]) == [
        "fixed_points.count",
        *section,
    ]
    assert (
        ids(["merged"], tier="fast") == section
    )  # a name asks for the claim whatever its tier


UNKNOWN = {
    "merge": "did you mean merged",
    "merged.": "did you mean merged",
    "aligned": "did you mean ",
    "": "the names begin with ",
    "merged.aligned.x": "did you mean merged.aligned",
    "Merged": "did you mean merged",
    "nothing like it": "the names begin with ",
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_name_is_refused_with_the_nearest(name):
    with pytest.raises(
        ValueError, match=f"no claim is called {name}: {UNKNOWN[name]}"
    ) as error:
        verify(["merged.aligned", name])
    assert sum(claim.id in str(error.value) for claim in all_claims()) <= 3


def test_other_mistakes_are_refused():
    with pytest.raises(
        ValueError, match="tier must be one of fast, standard, long, paper, not 'slow'"
    ):
        verify(tier="slow")
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        verify(CHEAP, workers=0)
    with pytest.raises(
        ValueError, match="seed must be a whole number of at least 0, not -1"
    ):
        verify(CHEAP, seed=-1)


# What comes out


def test_the_json_is_what_other_programs_rely_on():
    ledger = verify("fixed_points.count", seed=5)  # one name needs no list
    content = json.loads(ledger.to_json())
    assert list(content) == ["holds", "verdicts", "versions", "seed"]
    assert (content["holds"], content["seed"]) == (True, 5)
    assert content["versions"]["attndyn"] == attndyn.__version__
    (verdict,) = content["verdicts"]
    keys = [
        "id",
        "title",
        "source",
        "level",
        "expected_level",
        "holds",
        "observed",
        "expected",
        "controls",
    ]
    assert list(verdict)[: len(keys) + 1] == [*keys, "seconds"]
    assert verdict["controls"] == {
        "rejected": 2,
        "total": 2,
        "accepted": [],
        "names": ["one per number of directions", "merged as separate"],
    }
    assert (verdict["level"], verdict["expected_level"], verdict["holds"]) == (
        "numerical",
        "numerical",
        True,
    )
    assert all(
        isinstance(verdict[name], str) and verdict[name]
        for name in ("title", "source", "observed")
    )
    assert verdict["seconds"] >= 0


def test_the_ledger_holds_only_if_every_verdict_does():
    ledger = verify(CHEAP, workers=1)
    assert ledger.holds
    first, second = ledger.verdicts
    for level in ("refuted", "inconclusive"):
        wrong = replace(ledger, verdicts=(first, replace(second, level=level)))
        assert not wrong.holds
        assert json.loads(wrong.to_json())["holds"] is False
    to_be_refuted = replace(second.claim, expected_level="refuted")
    known_wrong = replace(second, level="refuted", claim=to_be_refuted)
    assert replace(ledger, verdicts=(first, known_wrong)).holds
    true_after_all = replace(second, claim=to_be_refuted)
    assert not replace(ledger, verdicts=(true_after_all,)).holds


def timeless(ledger):
    return [replace(verdict, seconds=0.0) for verdict in ledger.verdicts]


MINE = """
import numpy as np
from attndyn.compare import claim, equal_within

for name in ("first", "second", "third"):
    def measure(context, name=name):
        return [np.random.default_rng([context.seed, len(name)]).normal(1, 1e-3, size=50)]

    @claim(f"mine.{name}", measure=measure, judge=equal_within(0.1), controls=("twice",))
    def predict(context, variant):
        return [np.full(50, 2.0 if variant else 1.0)]
"""


def test_processes_change_nothing(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    names = [str(path), *CHEAP]
    one, two = (verify(names, workers=workers, seed=2) for workers in (1, 2))
    assert timeless(one) == timeless(two)
    assert [verdict.id for verdict in one.verdicts] == [
        *CHEAP,
        "mine.first",
        "mine.second",
        "mine.third",
    ]
    assert timeless(one) != timeless(
        verify(names, workers=1, seed=3)
    )  # control: the seed does


def test_a_ledger_is_read_back_as_it_was_written():
    ledger = replace(
        verify(CHEAP, workers=1, seed=4), versions={"attndyn": "an old one"}
    )
    assert Ledger.from_json(ledger.to_json()) == ledger
    for text in (
        "[]",
        "{",
        '{"verdicts": [], "seed": 0}',
        '{"verdicts": [{}], "seed": 0, "versions": {}}',
    ):
        with pytest.raises(ValueError, match="this is no ledger as verify writes it"):
            Ledger.from_json(text)


# Runs


def test_runs_are_made_once(tmp_path, monkeypatch, invented):
    first = verify(["invented"], out=tmp_path, workers=1)
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()}
    assert first.holds
    assert len(stored) == 2
    monkeypatch.setattr(Experiment, "run", None)
    again = verify(["invented"], out=tmp_path, workers=1)
    assert timeless(again) == timeless(first)
    assert {
        path: path.stat().st_mtime_ns for path in (tmp_path / "runs").iterdir()
    } == stored
    with pytest.raises(
        ValueError, match=r"claim invented\.loss cannot be checked: TypeError"
    ):  # control: no such run
        verify(["invented"], out=tmp_path, workers=1, seed=1)


def test_without_a_folder_nothing_is_kept(tmp_path, monkeypatch, invented):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    assert verify(["invented"], workers=1).holds
    assert list(tmp_path.iterdir()) == []


def test_runs_of_a_claim_are_shared_out_before_it_is_checked(tmp_path, monkeypatch):
    """In processes every run is a job of its own, made once, the longest first, and the claims wait for theirs."""
    begun = []

    def record(jobs, pool, workers, view):
        begun.extend(jobs)
        yield from ((job, job.work(*job.arguments)) for job in jobs)

    longer = replace(SMALL, steps=20)
    claims = [
        replace(
            INVENTED, id=f"invented.{k}", experiments=lambda context: (SMALL, longer)
        )
        for k in (1, 2)
    ]
    monkeypatch.setattr(
        "attndyn.compare.claims.linear_attention.merged.time_courses.CLAIMS",
        tuple(claims),
    )
    monkeypatch.setattr("attndyn.compare.ledger.verification.run_jobs", record)
    assert verify(["invented"], out=tmp_path, workers=2).holds
    assert [job.arguments[0] for job in begun[:2]] == [longer, SMALL]
    assert [(job.name, job.prerequisites) for job in begun[2:]] == [
        (name, {begun[0].name, begun[1].name}) for name in ("invented.1", "invented.2")
    ]
    assert [job.counts for job in begun] == [False, False, True, True]


WILD = """
from attndyn import Merged, Task
from attndyn.compare import claim, equal_within
from attndyn.simulate import Experiment

WILD = Experiment(Task([2, 1], context_length=5), Merged(2), 50, scale=50.0, learning_rate=9.0, steps=12)


@claim(
    "wild.loss",
    measure=lambda context: [context.trajectories[0].loss],
    judge=equal_within(1e-9),
    controls=("two",),
    experiments=lambda context: (WILD,),
)
def predict(context, variant):
    return [2.0]
"""


def test_a_run_that_diverges_makes_its_claim_inconclusive_and_no_other(tmp_path):
    path = tmp_path / "wild.py"
    path.write_text(WILD)
    for workers in (1, 2):
        out = tmp_path / f"out{workers}"
        count, wild = verify(
            [str(path), "fixed_points.count"], out=out, workers=workers
        ).verdicts
        assert (count.holds, wild.level) == (True, "inconclusive")
        assert "diverged" in wild.observed


def test_an_unwritable_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OSError, match="file"):
        verify(CHEAP, out=tmp_path / "file")


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 5)), min_size=1, max_size=8), st.integers(1, 3))
def test_no_job_begins_before_those_that_it_needs(needs, workers):
    """Needs of a job are among those of smaller number; the jobs come in reverse, so that most must wait."""
    order, most = [], []
    jobs = [
        Job(
            str(k),
            order.append,
            (str(k),),
            frozenset(str(each) for each in need if each < k),
            counts=k % 2 == 0,
        )
        for k, need in enumerate(needs)
    ]
    view = ProgressView(len(jobs), 0)
    with ThreadPoolExecutor(workers) as pool:
        for _ in run_jobs(jobs[::-1], pool, workers, view):
            most.append(len(view.running))
    assert sorted(order) == sorted(job.name for job in jobs)
    assert all(
        order.index(need) < order.index(job.name)
        for job in jobs
        for need in job.prerequisites
    )
    assert max(most) < workers
    assert view.done == len(jobs[::2])


def test_the_first_failure_ends_the_rest():
    jobs = [
        Job("fails", divmod, (1, 0)),
        *[Job(str(k), divmod, (1, 1)) for k in range(5)],
    ]
    begun = ProgressView(6, 0)
    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        list(run_jobs(jobs, pool, 1, begun))
    assert begun.done == 0


def test_claims_that_cannot_be_sent_are_found_on_the_other_side(tmp_path):
    """Two real processes: the claims of the package hold functions that no process could send."""
    with pytest.raises(Exception, match="pickle"):
        get_context("spawn").reducer.ForkingPickler.dumps(all_claims()[0])
    ledger = verify(CHEAP, workers=2, out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"runs", "verdicts"}
    kept = {path.stem for path in (tmp_path / "verdicts").iterdir()}
    assert kept == {verdict.digest for verdict in ledger.verdicts}


def test_a_verdict_depends_on_how_claims_are_checked(tmp_path, monkeypatch):
    def digest():
        ledger = verify(["fixed_points.count"], workers=1)
        return ledger.verdicts[0].digest

    before = digest()
    other_way = tmp_path / "checking.py"
    other_way.write_text("# another way to check")
    monkeypatch.setattr("attndyn.compare.ledger.verification.CHECKING", other_way)
    assert digest() != before
