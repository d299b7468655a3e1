"""Threads that compute one answer after another, so that a page which asks twice never computes twice at once."""

from collections.abc import Callable
from concurrent.futures import Future
from itertools import count
from queue import PriorityQueue
from threading import Thread

Job = Callable[[], bytes]


class Worker:
    """A thread that takes one job after another. It ends with the process, in the middle of a job if need be.

    >>> Worker("example").submit(lambda: b"done").result()
    b'done'
    """

    def __init__(self, name: str) -> None:
        self._jobs: PriorityQueue[tuple[bool, int, Job, Future[bytes]]] = (
            PriorityQueue()
        )
        self._numbers = count()
        # A daemon: Ctrl-C does not wait for a long computation.
        Thread(target=self._work, name=name, daemon=True).start()

    def submit(self, job: Job, *, can_wait: bool = False) -> "Future[bytes]":
        """What the job gives or raises, when its turn has come: after all that came before, or that cannot wait."""
        future: Future[bytes] = Future()
        self._jobs.put((can_wait, next(self._numbers), job, future))
        return future

    def _work(self) -> None:
        while True:
            *_, job, future = self._jobs.get()
            # Nobody waits for a job that was cancelled, as by a page that has been closed.
            if not future.set_running_or_notify_cancel():
                continue
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
