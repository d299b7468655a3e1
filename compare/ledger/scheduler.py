"""Jobs for a pool of processes, some of which wait for others."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from typing import Any, NamedTuple

from .progress_view import ProgressView


class Job(NamedTuple):
    """A call for a worker, under the name that is shown; it begins after the jobs of the names in `prerequisites`.

    `counts`: it is one of those that are asked for; else it only prepares them.
    """

    name: str
    work: Callable[..., Any]
    arguments: tuple[Any, ...]
    prerequisites: frozenset[str] = frozenset()
    counts: bool = True


def run_jobs(
    jobs: Sequence[Job], pool: Executor, workers: int, view: ProgressView
) -> Iterator[tuple[Job, Any]]:
    """Each job with its result as soon as it is finished; the first failure ends all others.

    No more are begun than there are workers, so that a job that is shown as under way runs. `prerequisites` must
    name jobs.

    >>> from concurrent.futures import ThreadPoolExecutor
    >>> jobs = [Job("second", abs, (-2,), frozenset({"first"})), Job("first", abs, (-1,))]
    >>> with ThreadPoolExecutor(2) as pool:
    ...     [(job.name, result) for job, result in run_jobs(jobs, pool, 2, ProgressView(2, 0))]
    [('first', 1), ('second', 2)]
    """
    waiting = list(jobs)
    finished: set[str] = set()
    running: dict[Future[Any], Job] = {}
    while waiting or running:
        # No more than there are workers: a job that waits in a pool would be shown as under way.
        ready = [job for job in waiting if job.prerequisites <= finished]
        for job in ready[: workers - len(running)]:
            waiting.remove(job)
            running[pool.submit(job.work, *job.arguments)] = job
            view.begin(job.name)
        for future in wait(running, return_when=FIRST_COMPLETED).done:
            job = running.pop(future)
            finished.add(job.name)
            result = future.result()
            view.end(job.name, job.counts)
            yield job, result
