"""Makes the runs of a sweep on any executor, each once, and loses none that is finished."""

import errno
import queue
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import closing
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from ...runtime.executors import local_pool, worker_failures
from ...runtime.files import AnyPath
from ...runtime.machine import available_cores
from ...runtime.progress import with_progress_and_rate
from ..descent.gradient_descent import Diverged
from ..runs.engine_code import code_digest
from ..runs.experiment import Experiment
from ..runs.store import (
    DIVERGED,
    data_digest,
    load_or_run,
    load_run,
    shared_statistics,
)
from .folder import DATA, MANIFEST, RUNS, open_sweep_folder, remove_leftovers
from .spec import Sweep

AHEAD = 10_000
"""Most runs that an executor holds at a time: a million waiting ones would burden its scheduler."""

CHANCES = 2
"""How often a pool of our own is begun: a worker that is killed once may have met bad luck."""

Runs = dict[str, Experiment]
"""Experiments by their digest."""


class Outcome(NamedTuple):
    """A run that is finished: the digest of its experiment, and whether it diverged."""

    digest: str
    diverged: bool


class SweepSummary(NamedTuple):
    """What `run_sweep` did: all `runs` of the sweep, those `simulated` now, and those that `diverged`."""

    runs: int
    simulated: int
    diverged: int


def run_sweep(
    sweep: Sweep,
    folder: AnyPath,
    executor: Executor | None = None,
    *,
    resume: bool = False,
    workers: int | None = None,
) -> SweepSummary:
    """Make every run of a sweep in `folder`, which `load_sweep` reads; with `resume`, only what is missing there.

    `executor` is any `concurrent.futures.Executor` whose workers see the folder and have this version of the
    package; if left out, processes of this machine, `workers` of them or one a core. Every experiment is checked
    before the first begins. However it ends, what is finished stays: one whole file a run. A run that diverges is
    a result too. ValueError if the folder holds another sweep, or this one without `resume`, and while another
    process sweeps into it; OSError if a worker cannot write; MemoryError if one was killed, of our own for the
    second time; ConnectionError if the executor gave up.

    >>> import tempfile
    >>> sweep = Sweep({"eigenvalues": [2, 1], "context_length": 5}, {"model": "merged", "heads": 2},
    ...               {"sequences": 50, "scale": 0.1, "learning_rate": 0.01, "steps": 10}, {"seed": [0, 1]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for resume in (False, True):
    ...         print(run_sweep(sweep, folder, workers=1, resume=resume))
    SweepSummary(runs=2, simulated=2, diverged=0)
    SweepSummary(runs=2, simulated=0, diverged=0)
    """
    runs = {experiment.digest: experiment for experiment in sweep.experiments()}
    with open_sweep_folder(folder, sweep, resume) as home:
        return _run_missing(runs, home, executor, resume, workers)


def _run_missing(
    runs: Runs, home: Path, executor: Executor | None, resume: bool, workers: int | None
) -> SweepSummary:
    """Make the runs that a folder which is ours lacks; raises as `run_sweep`."""
    # A folder that is new has no runs: nothing is read.
    stored = list(_stored_outcomes(runs, home)) if resume else []
    missing = dict(runs)
    for outcome in stored:
        del missing[outcome.digest]

    simulated: list[Outcome] = []
    interruptions: tuple[type[Exception], ...]
    interruptions = (*worker_failures(), CancelledError, OSError)
    try:
        with closing(_simulate(missing, home, executor, workers)) as outcomes:
            simulated += with_progress_and_rate(
                outcomes, len(runs), len(stored), "sweep", "runs"
            )
    except interruptions as error:
        if executor is None:
            # Our own workers are gone: the failure of one may have ended others in a write.
            remove_leftovers(home)
        raise _explained(error, _progress(runs, missing, home), home) from None
    diverged = sum(outcome.diverged for outcome in [*stored, *simulated])
    return SweepSummary(len(runs), len(missing), diverged)


def _progress(runs: Runs, missing: Runs, home: Path) -> str:
    """How many runs are in the folder now, in words, when those that are missing could not all be made."""
    made = len(list(_stored_outcomes(missing, home)))
    finished = len(runs) - len(missing) + made
    return f"{finished} of {len(runs)} runs are finished and kept, resume to go on"


def _stored_outcomes(runs: Runs, home: Path) -> Iterator[Outcome]:
    """The runs that the folder has."""
    for digest, experiment in runs.items():
        run = load_run(experiment, home / RUNS)
        if run is not None:
            yield Outcome(digest, DIVERGED in run.settings)


def _simulate(
    missing: Runs, home: Path, executor: Executor | None, workers: int | None
) -> Generator[Outcome]:
    """Each of the missing runs as soon as it is finished, on this executor or on processes of our own."""
    if executor is not None:
        yield from _simulate_in(executor, missing, home, cancels=True)
        return

    unfinished = dict(missing)
    for chances_left in reversed(range(CHANCES if missing else 0)):
        try:
            count = workers if workers is not None else available_cores()
            with local_pool(count) as pool:
                for outcome in _simulate_in(pool, unfinished, home, cancels=False):
                    del unfinished[outcome.digest]
                    yield outcome
            return
        except BrokenExecutor:
            if not chances_left:
                raise
            # Runs that were written, and whose message was lost with the pool.
            for outcome in list(_stored_outcomes(unfinished, home)):
                del unfinished[outcome.digest]
                yield outcome


def _simulate_in(
    pool: Executor, missing: Runs, home: Path, *, cancels: bool
) -> Iterator[Outcome]:
    """The missing runs in a pool; the statistics that several of them need come first, each once."""
    data = {
        digest: data_digest(experiment)
        for digest, experiment in missing.items()
        if experiment.engine == "statistics"
    }
    uses = Counter(data.values())
    shared = {digest for digest, name in data.items() if uses[name] > 1}

    # Whichever run is the first to use them makes them.
    first_users = {
        data[digest]: missing[digest] for digest in missing if digest in shared
    }
    statistics_jobs = (
        (experiment, home, code_digest(experiment))
        for experiment in first_users.values()
    )
    for _ in _results(pool, _make_statistics, statistics_jobs, cancels=cancels):
        pass

    run_jobs = (
        (experiment, home, code_digest(experiment), digest in shared)
        for digest, experiment in missing.items()
    )
    yield from _results(pool, _make_run, run_jobs, cancels=cancels)


def _results(
    pool: Executor,
    work: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    *,
    cancels: bool,
) -> Iterator[Any]:
    """Results of the jobs as they come; the first failure ends them all, and an executor of the user's is told.

    A pool of our own ends with its workers, and its thread fails on a job that was cancelled before they are gone.
    """
    done: queue.SimpleQueue[Future[Any]] = queue.SimpleQueue()
    waiting: set[Future[Any]] = set()
    remaining = iter(jobs)

    def submit(count: int) -> None:
        for job in islice(remaining, count):
            future = pool.submit(work, *job)
            waiting.add(future)
            future.add_done_callback(done.put)

    # One job is submitted for each that is done, so that the executor always has work and never all of it.
    try:
        submit(AHEAD)
        while waiting:
            future = done.get()
            waiting.remove(future)
            yield future.result()
            submit(1)
    finally:
        if cancels:
            for future in waiting:
                future.cancel()


def _make_run(experiment: Experiment, home: Path, code: str, shares: bool) -> Outcome:
    """In a worker: make a run and write it."""
    _check_worker(experiment, home, code)
    try:
        load_or_run(experiment, home / RUNS, home / DATA if shares else None)
    except Diverged:
        return Outcome(experiment.digest, diverged=True)
    return Outcome(experiment.digest, diverged=False)


def _make_statistics(experiment: Experiment, home: Path, code: str) -> None:
    """In a worker: make the statistics of an experiment and write them."""
    _check_worker(experiment, home, code)
    shared_statistics(experiment, home / DATA)


def _check_worker(experiment: Experiment, home: Path, code: str) -> None:
    """ValueError or OSError if this process would make other runs, or write them where nobody looks."""
    if code != code_digest(experiment):
        raise ValueError(
            "a worker has other code than the process that sends it runs: install one version everywhere"
        )
    if not (home / MANIFEST).exists():
        raise FileNotFoundError(
            errno.ENOENT,
            "a worker does not see this folder, which all must share",
            str(home),
        )


def _explained(error: Exception, progress: str, home: Path) -> Exception:
    """What went wrong and how much is there, in one line."""
    if isinstance(error, worker_failures()):
        return MemoryError(
            f"a worker was killed, as when memory runs out: {progress} with fewer workers"
        )
    if isinstance(error, CancelledError):
        return ConnectionError(f"the scheduler is gone: {progress}")
    if isinstance(error, OSError) and error.errno:
        message = f"{error.strerror}; {progress}"
        return OSError(error.errno, message, error.filename or str(home))
    return ConnectionError(f"{error}; {progress}")
