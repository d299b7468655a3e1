"""Checks many claims in parallel processes and collects the verdicts, each kept as soon as it is there."""

import json
import os
import tempfile
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

from ...runtime.code_digest import source_digest, sources
from ...runtime.executors import local_pool
from ...runtime.files import AnyPath, as_path, make_folder
from ...runtime.machine import available_cores, one_thread
from ...runtime.versions import versions
from ...simulate import Diverged, Experiment
from ...simulate.runs.store import load_or_run
from ..claims import all_claims
from ..evidence.claim import TIERS, Claim, RunContext, check_claim, with_experiments
from ..evidence.verdict import Verdict
from .progress_view import View, viewed
from .registry import find, home, is_portable, load_claims, loaded_from, registered
from .scheduler import Job, done
from .verdict_store import keep, kept, verdict_digest

_SUGGESTED = 3
"""Most names that are suggested for a misspelt one."""

_ALIKE = 0.7
"""Share of letters in common from where on a name is suggested: a letter or two are wrong, not the word."""

Name = AnyPath


@dataclass(frozen=True)
class Ledger:
    """The verdicts on the claims that were checked, in the order of the claims, and the versions that they had."""

    verdicts: tuple[Verdict, ...]
    seed: int
    versions: Mapping[str, str] = field(default_factory=versions)

    @property
    def holds(self) -> bool:
        """Whether every verdict is the expected one."""
        return all(verdict.holds for verdict in self.verdicts)

    def to_json(self) -> str:
        """The ledger as strict JSON: holds, verdicts, versions, seed; null for a number that is not finite."""
        verdicts = [verdict.to_dict() for verdict in self.verdicts]
        plain = {
            "holds": self.holds,
            "verdicts": verdicts,
            "versions": dict(self.versions),
            "seed": self.seed,
        }
        return json.dumps(plain, indent=2, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> "Ledger":
        """The ledger that `to_json` wrote; ValueError for anything else.

        >>> Ledger.from_json(Ledger((), seed=3).to_json()) == Ledger((), seed=3)
        True
        """
        try:
            plain = json.loads(text)
            verdicts = tuple(Verdict.from_dict(each) for each in plain["verdicts"])
            return cls(verdicts, plain["seed"], plain["versions"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"this is no ledger as verify writes it: {type(error).__name__}: {error}"
            ) from None


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
    Finished runs are kept in `out`/runs and read again next time; each verdict is in `out`/verdicts as soon as it
    is there, under the digest of all that it depends on, and `resume` reads those instead of checking again.
    Without `out` nothing is kept. `seed` is the base of every random number; `workers` processes share the work,
    as many as there are cores if left out; claims of a notebook are checked in this one. ValueError names a claim
    or a tier that does not exist, or a claim whose own code fails; OSError if `out` cannot be written;
    MemoryError if a worker process was killed.

    >>> from attndyn.compare import verify
    >>> verify(["fixed_points.count"], workers=1).holds
    True
    """
    names = [claims] if isinstance(claims, str | bytes | os.PathLike) else claims
    chosen = choose([os.fsdecode(name) for name in names], tier)
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    with tempfile.TemporaryDirectory() if out is None else nullcontext(out) as folder:
        runs, verdicts = (as_path(folder) / name for name in ("runs", "verdicts"))
        context = RunContext(make_folder(runs), seed)
        tasks = _tasks(chosen, context, make_folder(verdicts))
        return Ledger(
            _verdicts(tasks, workers, resume, keeps=out is not None), context.seed
        )


def choose(names: Sequence[str], tier: str) -> list[Claim]:
    """The claims of these names (ids, what precedes a dot, or files), or all of the package up to the tier."""
    if tier not in TIERS:
        raise ValueError(f"tier must be one of {', '.join(TIERS)}, not {tier!r}")
    if not names:
        return [
            claim
            for claim in all_claims()
            if TIERS.index(claim.tier) <= TIERS.index(tier)
        ]
    wanted = [
        each
        for name in names
        for each in (load_claims(name) if name.endswith(".py") else [name])
    ]
    known = _known()
    chosen = [
        claim for claim in known if any(_is_named(claim, name) for name in wanted)
    ]
    unknown = [
        name for name in wanted if not any(_is_named(claim, name) for claim in chosen)
    ]
    if unknown:
        raise ValueError(
            f"no claim is called {', '.join(unknown)}: {_suggestion(unknown, known)}"
        )
    return chosen


def _suggestion(unknown: Sequence[str], known: Sequence[Claim]) -> str:
    """The ids, or first parts of ids, that are nearest to what somebody has written; the first parts if none is."""
    sections = list(dict.fromkeys(claim.id.split(".")[0] for claim in known))
    names = [*sections, *(claim.id for claim in known)]
    near = list(
        dict.fromkeys(name for each in unknown for name in _nearest(each, names))
    )
    if near:
        return f"did you mean {', '.join(near)}?"
    return f"the names begin with {', '.join(sections)}, and docs/claims.md lists them"


def _nearest(written: str, names: Sequence[str]) -> list[str]:
    """The names that resemble the written one, or whose second part does."""
    near = get_close_matches(written, names, n=_SUGGESTED, cutoff=_ALIKE)
    if near:
        return near
    seconds = {name.partition(".")[2] for name in names} - {""}
    alike = get_close_matches(written, seconds, n=_SUGGESTED, cutoff=_ALIKE)
    return [name for name in names if name.partition(".")[2] in alike][:_SUGGESTED]


def _known() -> list[Claim]:
    """Every claim of the package and every registered one; ValueError if two have one id."""
    ours, theirs = all_claims(), registered()
    taken = [claim.id for claim in ours if claim.id in theirs]
    if taken:
        raise ValueError(
            f"the package has a claim {taken[0]} already: choose another id at {theirs[taken[0]].at}"
        )
    return [*ours, *(stated.claim for stated in theirs.values())]


def _is_named(claim: Claim, name: str) -> bool:
    return claim.id == name or claim.id.startswith(f"{name}.")


class _Task(NamedTuple):
    """A claim to check, and where its verdict is kept, in plain values, which processes exchange.

    Claims hold functions, which they do not: every process finds them by id, in the file `load` if there is one.
    """

    name: str
    load: Path | None
    portable: bool
    context: RunContext
    digest: str
    verdicts: Path


def _tasks(claims: list[Claim], context: RunContext, verdicts: Path) -> list[_Task]:
    homes = {claim.id: home(claim.id) for claim in claims}
    code = {
        file: source_digest(sources(file)) if file else ""
        for file in set(homes.values())
    }
    return [
        _Task(
            name=claim.id,
            load=loaded_from(claim.id),
            portable=is_portable(claim.id),
            context=with_experiments(claim, context),
            digest=verdict_digest(claim.id, context.seed, code[homes[claim.id]]),
            verdicts=verdicts,
        )
        for claim in claims
    ]


def _verdicts(
    tasks: list[_Task], workers: int | None, resume: bool, keeps: bool
) -> tuple[Verdict, ...]:
    there = {task.name: kept(task.digest, task.verdicts) for task in tasks if resume}
    found = {name: verdict for name, verdict in there.items() if verdict is not None}
    missing = [task for task in tasks if task.name not in found]
    try:
        with (
            viewed(len(tasks), len(found)) as view,
            closing(_checked(missing, workers, view)) as made,
        ):
            found.update((verdict.id, verdict) for verdict in made)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(
            _how_to_go_on(tasks) if keeps else "nothing is kept without a folder"
        ) from None
    except BrokenExecutor:
        reason = (
            "a worker process was killed, as when memory runs out: choose fewer workers"
        )
        raise MemoryError(
            f"{reason}; {_how_to_go_on(tasks)}" if keeps else reason
        ) from None
    return tuple(found[task.name] for task in tasks)


def _how_to_go_on(tasks: list[_Task]) -> str:
    count = sum(kept(task.digest, task.verdicts) is not None for task in tasks)
    return f"{count} of {len(tasks)} verdicts are kept: go on with --resume, or resume=True in Python"


def _checked(tasks: list[_Task], workers: int | None, view: View) -> Generator[Verdict]:
    """Verdicts as they come: in processes where that is possible and worth it, the others here."""
    runs = _simulations(tasks)
    jobs = [*runs.values(), *_checks(tasks, runs)]
    count = min(workers or available_cores(), len(jobs))
    if count > 1:
        with local_pool(count) as pool:
            yield from (
                result for job, result in done(jobs, pool, count, view) if job.counts
            )
    for task in tasks:
        if count <= 1 or not task.portable:
            view.begin(task.name)
            with one_thread():  # as in a worker
                verdict = _examined(task)
            yield verdict
            view.end(task.name)


def _simulations(tasks: list[_Task]) -> dict[str, Job]:
    """Every run once by digest, the longest first: claims wait for those that they read."""
    needed = {
        each.digest: (each, task) for task in tasks for each in task.context.experiments
    }
    longest_first = sorted(
        needed.items(), key=lambda item: _cost(item[1][0]), reverse=True
    )
    return {
        digest: Job(
            f"run {digest[:16]} of {task.name}",
            _make,
            (each, task.context.folder),
            counts=False,
        )
        for digest, (each, task) in longest_first
    }


def _checks(tasks: list[_Task], runs: Mapping[str, Job]) -> list[Job]:
    needs = [
        frozenset(runs[each.digest].name for each in task.context.experiments)
        for task in tasks
    ]
    return [
        Job(task.name, _examined, (task,), need)
        for task, need in zip(tasks, needs, strict=True)
        if task.portable
    ]


def _cost(experiment: Experiment) -> int:
    return experiment.steps * experiment.task.dimension**4


def _make(experiment: Experiment, runs: Path) -> None:
    """One run; one that diverges is kept too, and it is for the claim to say what that means."""
    with suppress(Diverged):
        load_or_run(experiment, runs)


def _examined(task: _Task) -> Verdict:
    """The verdict, which is kept at once; ValueError says which claim has failed."""
    try:
        verdict = replace(
            check_claim(find(task.name, task.load), task.context), digest=task.digest
        )
    except (OSError, MemoryError):
        raise
    except Exception as error:
        raise ValueError(
            f"claim {task.name} cannot be checked: {type(error).__name__}: {error}"
        ) from error
    keep(verdict, task.verdicts)
    return verdict
