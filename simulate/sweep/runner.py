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

from ...runtime.executors import cores, local_pool, lost_worker
from ...runtime.files import AnyPath
from ...runtime.progress import counted
from ..descent.gradient_descent import Diverged
from ..runs.experiment import Experiment
from ..runs.store import (
    DIVERGED,
    code_digest,
    data_digest,
    load_or_run,
    load_run,
    shared_statistics,
)
from .folder import DATA, MANIFEST, RUNS, claimed, remove_leftovers
from .spec import Sweep

AHEAD = 10_000
"""Most runs that an executor holds at a time: a million waiting ones would burden its scheduler."""

CHANCES = 2
"""How often a pool of our own is begun: a worker that is killed once may have met bad luck."""

Runs = dict[str, Experiment]
Outcome = tuple[str, bool]


class Swept(NamedTuple):
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
) -> Swept:
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
    ...     print(run_sweep(sweep, folder, workers=1), run_sweep(sweep, folder, resume=True))
    Swept(runs=2, simulated=2, diverged=0) Swept(runs=2, simulated=0, diverged=0)
    """
    runs = {each.digest: each for each in sweep.experiments()}
    with claimed(folder, sweep, resume) as home:
        return _swept(runs, home, executor, resume, workers)


def _swept(
    runs: Runs, home: Path, executor: Executor | None, resume: bool, workers: int | None
) -> Swept:
    """Make the runs in a folder that is ours; raises as `run_sweep`."""
    found = dict(_found(runs, home)) if resume else {}
    missing = {digest: each for digest, each in runs.items() if digest not in found}
    made: dict[str, bool] = {}
    lost: tuple[type[Exception], ...] = (*lost_worker(), CancelledError, OSError)
    try:
        with closing(_outcomes(missing, home, executor, workers)) as outcomes:
            made.update(counted(outcomes, len(runs), len(found), "sweep", "runs"))
    except lost as error:
        if (
            executor is None
        ):  # our own workers are gone: the failure of one may have ended others in a write
            remove_leftovers(home)
        finished = len(found) + len(dict(_found(missing, home)))
        kept = f"{finished} of {len(runs)} runs are finished and kept, resume to go on"
        raise _explained(error, kept, home) from None
    return Swept(len(runs), len(missing), sum([*found.values(), *made.values()]))


def _found(runs: Runs, home: Path) -> Iterator[Outcome]:
    """Digest of every run that is there, and whether it diverged."""
    for digest, each in runs.items():
        run = load_run(each, home / RUNS)
        if run is not None:
            yield digest, DIVERGED in run.settings


def _outcomes(
    missing: Runs, home: Path, executor: Executor | None, workers: int | None
) -> Generator[Outcome]:
    """Digest of each run as soon as it is finished, and whether it diverged."""
    if executor is not None:
        yield from _made(executor, missing, home, cancels=True)
        return
    waiting = dict(missing)
    for chance in reversed(range(CHANCES if missing else 0)):
        try:
            with local_pool(workers if workers is not None else cores()) as pool:
                for digest, diverged in _made(pool, waiting, home, cancels=False):
                    del waiting[digest]
                    yield digest, diverged
            return
        except BrokenExecutor:
            if not chance:
                raise
            for digest, diverged in dict(_found(waiting, home)).items():
                del waiting[digest]
                yield digest, diverged


def _made(
    pool: Executor, missing: Runs, home: Path, *, cancels: bool
) -> Iterator[Outcome]:
    """The missing runs in a pool; the statistics that several of them need come first, each once."""
    data = {
        each.digest: data_digest(each)
        for each in missing.values()
        if each.engine == "statistics"
    }
    users = Counter(data.values())
    first = {
        data[digest]: each
        for digest, each in missing.items()
        if users[data.get(digest, "")] > 1
    }
    sharing = ((each, home, code_digest()) for each in first.values())
    for _ in _each(pool, _share, sharing, cancels=cancels):
        pass
    shares = {digest: users[data.get(digest, "")] > 1 for digest in missing}
    jobs = (
        (each, home, code_digest(), shares[digest]) for digest, each in missing.items()
    )
    yield from _each(pool, _make, jobs, cancels=cancels)


def _each(
    pool: Executor,
    work: Callable[..., Any],
    jobs: Iterable[tuple[Any, ...]],
    *,
    cancels: bool,
) -> Iterator[Any]:
    """Results of the jobs as they come; the first failure ends the rest, which an executor of others is told.

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

    try:
        submit(AHEAD)
        while waiting:
            future = done.get()
            waiting.remove(future)
            yield future.result()
            submit(1)
    finally:
        for future in waiting if cancels else ():
            future.cancel()


def _make(experiment: Experiment, home: Path, code: str, shares: bool) -> Outcome:
    """In a worker: make a run and write it."""
    _check_worker(home, code)
    try:
        load_or_run(experiment, home / RUNS, home / DATA if shares else None)
    except Diverged:
        return experiment.digest, True
    return experiment.digest, False


def _share(experiment: Experiment, home: Path, code: str) -> None:
    """In a worker: make the statistics of an experiment and write them."""
    _check_worker(home, code)
    shared_statistics(experiment, home / DATA)


def _check_worker(home: Path, code: str) -> None:
    """ValueError or OSError if this process would make other runs, or write them where nobody looks."""
    if code != code_digest():
        raise ValueError(
            "a worker has other code than the process that sends it runs: install one version everywhere"
        )
    if not (home / MANIFEST).exists():
        raise FileNotFoundError(
            errno.ENOENT,
            "a worker does not see this folder, which all must share",
            str(home),
        )


def _explained(error: Exception, kept: str, home: Path) -> Exception:
    """What went wrong and how much is there, in one line."""
    if isinstance(error, lost_worker()):
        return MemoryError(
            f"a worker was killed, as when memory runs out: {kept} with fewer workers"
        )
    if isinstance(error, CancelledError):
        return ConnectionError(f"the scheduler is gone: {kept}")
    if isinstance(error, OSError) and error.errno:
        return OSError(
            error.errno, f"{error.strerror}; {kept}", error.filename or str(home)
        )
    return ConnectionError(f"{error}; {kept}")
