"""A progress bar for whatever takes more than two seconds, in a terminal only."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 2.0
"""Seconds of silence before a bar appears."""

REFRESH = 0.2
"""Seconds between two updates of the bar."""


def tracked(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The items, with a bar on standard error once they have taken two seconds; silent off a terminal.

    >>> list(tracked(range(3), 3, "counting"))
    [0, 1, 2]
    """
    if not sys.stderr.isatty():
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    bar = Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True)
    task, begin, shown = bar.add_task(title, total=total), time.monotonic(), False
    try:
        for done, item in enumerate(items):
            now = time.monotonic()
            if now - begin > PATIENCE:
                if not shown:
                    bar.start()
                shown, begin = True, now - PATIENCE + REFRESH
                bar.update(task, completed=done)
            yield item
    finally:
        if shown:
            bar.stop()
