"""Work on several cores of this machine: NumPy lets other threads run while it computes."""

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache
from typing import TypeVar

from .machine import available_cores

Item = TypeVar("Item")
Result = TypeVar("Result")


def in_threads(
    work: Callable[[Item], Result], items: Sequence[Item]
) -> Iterable[Result]:
    """Results in the order of the items, from as many threads as `OMP_NUM_THREADS` says, or as there are cores.

    >>> list(in_threads(abs, [-1, 2]))
    [1, 2]
    """
    count = thread_count()
    if min(count, len(items)) < 2:
        return map(work, items)
    context = copy_context()  # np.errstate of the caller holds in the threads too
    return _pool(os.getpid(), count).map(
        lambda item: context.copy().run(work, item), items
    )


def thread_count() -> int:
    """The number of threads to use, at least 1.

    >>> thread_count() >= 1
    True
    """
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdecimal() and int(wanted):
        return int(wanted)
    return available_cores()


@cache
def _pool(process: int, count: int) -> ThreadPoolExecutor:
    """Kept by process, since the threads of a parent are not in its fork."""
    return ThreadPoolExecutor(count, f"attndyn of process {process}")
