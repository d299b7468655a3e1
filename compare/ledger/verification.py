"""Checks many claims in parallel processes and collects the verdicts, each stored as soon as it is there."""

import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from ...runtime.code_digest import source_digest, sources
from ...runtime.executors import local_pool
from ...runtime.files import AnyPath, as_path, make_folder
from ...runtime.machine import available_cores, one_thread
from ...simulate import Diverged, Experiment
from ...simulate.runs.store import load_or_run
from ..evidence.checking import check_claim
from ..evidence.claim import Claim, RunContext
from ..evidence.verdict import Verdict
from .claim_names import claims_named
from .ledger import Ledger
from .progress_view import ProgressView, shown_progress
from .registry import claim_of_id, file_of_claim, is_portable, loaded_file
from .scheduler import Job, run_jobs
from .verdict_store import load_verdict, save_verdict, verdict_digest

Name = AnyPath

CHECKING = Path(__file__).parents[1] / "evidence" / "checking.py"
"""How a claim is checked: no claim imports it, and every verdict depends on it."""


def verify(
    claims: Name | Sequence[Name] = (),
    *,
    tier: str = "standard",
    out: AnyPath | None = None,
    seed: int = 0,
    workers: int | None = None,
    resume: bool = False,
) -> Ledger:
    """Check claims against simulations: those named, or all of the package up to a tier.

    A name is an id, the part of an id before a dot, or a Python file: the claims that it registers.
    Finished runs are stored in `out`/runs and read again next time; each verdict is in `out`/verdicts as soon as it
    is there, under the digest of all that it depends on, and `resume` reads those instead of checking again.
    Without `out` nothing is stored. `seed` is the base of every random number; `workers` processes share the work,
    as many as there are cores if left out; claims of a notebook are checked in this one. ValueError names a claim
    or a tier that does not exist, or a claim whose own code fails; OSError if `out` cannot be written;
    MemoryError if a worker process was killed.

    >>> from attndyn.compare import verify
    >>> verify(["fixed_points.count"], workers=1).holds
    True
    """
    names = [claims] if isinstance(claims, str | bytes | os.PathLike) else claims
    written = [os.fsdecode(name) for name in names]
    chosen = claims_named(written, tier)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    # Runs need a folder in any case: processes hand them to each other through it.
    opened = tempfile.TemporaryDirectory() if out is None else nullcontext(out)
    with opened as folder:
        context = RunContext(make_folder(as_path(folder) / "runs"), seed)
        verdict_folder = make_folder(as_path(folder) / "verdicts")
        checks = _checks(chosen, context, verdict_folder)
        verdicts = _verdicts(checks, workers, resume, is_stored=out is not None)
    return Ledger(verdicts, seed)


class _Check(NamedTuple):
    """A claim to check, and where its verdict is stored, in plain values, which processes exchange.

    Claims hold functions, which they do not: every process finds them by id, in `file` if somebody has loaded one.
    """

    name: str
    file: Path | None
    portable: bool
    context: RunContext
    digest: str
    verdict_folder: Path


def _checks(
    claims: list[Claim], context: RunContext, verdict_folder: Path
) -> list[_Check]:
    files = {claim.id: file_of_claim(claim.id) for claim in claims}
    # Once a file: many claims stand in one, and to follow its imports takes longer than to check some of them.
    code_digests = {
        file: source_digest({*sources(file), CHECKING}) if file else ""
        for file in set(files.values())
    }
    return [
        _Check(
            name=claim.id,
            file=loaded_file(claim.id),
            portable=is_portable(claim.id),
            context=claim.context_of(context),
            digest=verdict_digest(
                claim.id, context.seed, code_digests[files[claim.id]]
            ),
            verdict_folder=verdict_folder,
        )
        for claim in claims
    ]


def _verdicts(
    checks: list[_Check], workers: int | None, resume: bool, is_stored: bool
) -> tuple[Verdict, ...]:
    """The verdicts in the order of the checks: those that are stored, if they are to be read, and the others now."""
    verdicts = _stored_verdicts(checks) if resume else {}
    missing = [check for check in checks if check.name not in verdicts]
    try:
        # Closed before an exception goes on, so that no worker outlives it.
        with (
            shown_progress(len(checks), len(verdicts)) as view,
            closing(_new_verdicts(missing, workers, view)) as new_verdicts,
        ):
            verdicts.update((verdict.id, verdict) for verdict in new_verdicts)
    except KeyboardInterrupt:
        advice = _how_to_go_on(checks)
        raise KeyboardInterrupt(
            advice if is_stored else "nothing is kept without a folder"
        ) from None
    except BrokenExecutor:
        reason = (
            "a worker process was killed, as when memory runs out: choose fewer workers"
        )
        if is_stored:
            reason = f"{reason}; {_how_to_go_on(checks)}"
        raise MemoryError(reason) from None
    return tuple(verdicts[check.name] for check in checks)


def _stored_verdicts(checks: list[_Check]) -> dict[str, Verdict]:
    """Id → verdict, of the checks that an earlier run has made and stored.

    A check that failed then, as where a package was missing, is no verdict to keep: it may not fail now.
    """
    stored = {
        check.name: load_verdict(check.digest, check.verdict_folder) for check in checks
    }
    return {
        name: verdict
        for name, verdict in stored.items()
        if verdict is not None and verdict.level != "inconclusive"
    }


def _how_to_go_on(checks: list[_Check]) -> str:
    count = len(_stored_verdicts(checks))
    return f"{count} of {len(checks)} verdicts are kept: go on with --resume, or resume=True in Python"


def _new_verdicts(
    checks: list[_Check], workers: int | None, view: ProgressView
) -> Generator[Verdict]:
    """Verdicts as they come: in processes where that is possible and worth it, the others here."""
    simulations = _simulation_jobs(checks)
    jobs = [*simulations.values(), *_check_jobs(checks, simulations)]
    process_count = min(workers or available_cores(), len(jobs))
    in_processes = process_count > 1
    if in_processes:
        with local_pool(process_count) as pool:
            for job, result in run_jobs(jobs, pool, process_count, view):
                if job.counts:
                    yield result
    for check in checks:
        if in_processes and check.portable:
            continue
        view.begin(check.name)
        # As in a worker: results must not depend on where they were made.
        with one_thread():
            verdict = _verdict(check)
        yield verdict
        view.end(check.name)


def _simulation_jobs(checks: list[_Check]) -> dict[str, Job]:
    """Every run once, by its digest, the longest first: claims wait for those that they read."""
    experiments: dict[str, Experiment] = {}
    asking: dict[str, _Check] = {}
    for check in checks:
        for experiment in check.context.experiments:
            experiments[experiment.digest] = experiment
            asking[experiment.digest] = check

    longest_first = sorted(
        experiments, key=lambda digest: _cost(experiments[digest]), reverse=True
    )
    return {
        digest: Job(
            name=f"run {digest[:16]} of {asking[digest].name}",
            work=_simulate,
            arguments=(experiments[digest], asking[digest].context.folder),
            counts=False,
        )
        for digest in longest_first
    }


def _check_jobs(checks: list[_Check], simulations: Mapping[str, Job]) -> list[Job]:
    jobs = []
    for check in checks:
        digests = [experiment.digest for experiment in check.context.experiments]
        prerequisites = frozenset(simulations[digest].name for digest in digests)
        if check.portable:
            jobs.append(Job(check.name, _verdict, (check,), prerequisites))
    return jobs


def _cost(experiment: Experiment) -> int:
    """How long a run takes, up to a factor: a step multiplies a matrix of D² × D² with the map."""
    return experiment.steps * experiment.task.dimension**4


def _simulate(experiment: Experiment, folder: Path) -> None:
    """One run; one that diverges is stored too, and it is for the claim to say what that means."""
    with suppress(Diverged):
        load_or_run(experiment, folder)


def _verdict(check: _Check) -> Verdict:
    """The verdict, which is stored at once; ValueError says which claim has failed."""
    try:
        verdict = check_claim(claim_of_id(check.name, check.file), check.context)
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"claim {check.name} cannot be checked: {type(error).__name__}: {error}"
        ) from error
    verdict = replace(verdict, digest=check.digest)
    save_verdict(verdict, check.verdict_folder)
    return verdict
