"""A progress bar for whatever takes more than two seconds, in a terminal only."""

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from multiprocessing import parent_process
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 2.0
"""Seconds of silence before a bar appears."""

REFRESH = 0.2
"""Seconds between two updates of the bar."""

_outermost = threading.Lock()


def tracked(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The items, with a bar on standard error once they have taken two seconds.

    Silent off a terminal, in worker processes and inside another bar, which tells more.

    >>> list(tracked(range(3), 3, "counting"))
    [0, 1, 2]
    """
    if not sys.stderr.isatty() or parent_process() is not None or not _outermost.acquire(blocking=False):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task, updated = bar.add_task(title, total=total), time.monotonic()
    start = threading.Timer(PATIENCE, bar.start)  # the first item alone may take longer
    start.start()
    try:
        for done, item in enumerate(items):
            if time.monotonic() - updated > REFRESH:
                bar.update(task, completed=done)
                updated = time.monotonic()
            yield item
    finally:
        start.cancel()
        start.join()
        bar.stop()
        _outermost.release()
