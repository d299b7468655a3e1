"""Progress of whatever takes more than two seconds: a bar in a terminal, lines of a long sweep elsewhere."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import TypeVar

Item = TypeVar("Item")

PATIENCE = 2.0
"""Seconds of silence before a bar appears."""

REFRESH = 0.2
"""Seconds between two updates of the bar."""

PLAIN = 10.0
"""Seconds between two lines where there is no terminal to draw a bar on."""

outermost = threading.Lock()
"""Held by whatever shows its progress: what runs inside it is silent."""


def tracked(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The items, with a bar on standard error once they have taken two seconds.

    Silent off a terminal, in worker processes and inside another bar, which tells more.

    >>> list(tracked(range(3), 3, "counting"))
    [0, 1, 2]
    """
    if (
        not sys.stderr.isatty()
        or parent_process() is not None
        or not outermost.acquire(blocking=False)
    ):
        yield from items
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
    )
    bar = Progress(
        *columns, TimeRemainingColumn(), console=Console(stderr=True), transient=True
    )
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
        outermost.release()


def counted(
    items: Iterable[Item], total: int, done: int, title: str, unit: str
) -> Iterator[Item]:
    """The items, `total` less `done` of them, with their count, their rate and the time left on standard error.

    A bar in a terminal after two seconds, a line every ten seconds elsewhere; silent in worker processes.

    >>> list(counted("ab", 5, 3, "letters", "letters"))
    ['a', 'b']
    """
    if parent_process() is not None or not outermost.acquire(blocking=False):
        yield from items
        return
    try:
        show = (
            _bar(total, done, title, unit)
            if sys.stderr.isatty()
            else _lines(total, title, unit)
        )
        with show as update:
            begin = time.monotonic()
            for count, item in enumerate(items, start=1):
                update(done + count, count / max(time.monotonic() - begin, 1e-9))
                yield item
    finally:
        outermost.release()


@contextmanager
def _bar(
    total: int, done: int, title: str, unit: str
) -> Iterator[Callable[[int, float], None]]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    counts = TextColumn(
        f"{{task.completed:.0f}}/{total} {unit}, {{task.fields[rate]:.3g}} a second, left:"
    )
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        counts,
        TimeRemainingColumn(),
    )
    bar = Progress(*columns, console=Console(stderr=True), transient=True)
    task = bar.add_task(title, total=total, completed=done, rate=0.0)
    start = threading.Timer(PATIENCE, bar.start)
    start.start()
    try:
        yield lambda count, rate: bar.update(task, completed=count, rate=rate)
    finally:
        start.cancel()
        start.join()
        bar.stop()


@contextmanager
def _lines(total: int, title: str, unit: str) -> Iterator[Callable[[int, float], None]]:
    shown = time.monotonic()

    def update(count: int, rate: float) -> None:
        nonlocal shown
        if time.monotonic() - shown > PLAIN:
            shown, left = time.monotonic(), (total - count) / rate
            text = f"{title}: {count}/{total} {unit}, {rate:.3g} a second, {left:.0f} s left"
            print(text, file=sys.stderr, flush=True)

    yield update
