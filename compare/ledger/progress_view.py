"""What of a ledger is done and what is under way: a live view in a terminal, lines elsewhere."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import parent_process
from typing import TYPE_CHECKING

from ...runtime.progress import PATIENCE, PLAIN, outermost

if TYPE_CHECKING:
    from rich.table import Table


NAMED_JOBS = 2
"""Jobs under way that a line names, those that have taken longest: more would not fit on one line."""


class ProgressView:
    """What is done of a total, and since when what is under way: `begin` and `end` say so."""

    def __init__(self, total: int, done: int) -> None:
        self.total = total
        self.done = done
        self.began = time.monotonic()
        self.running: dict[str, float] = {}

    def begin(self, name: str) -> None:
        """This job is under way."""
        self.running[name] = time.monotonic()

    def end(self, name: str, counts: bool = True) -> None:
        """This job is done; preparations do not count."""
        del self.running[name]
        self.done += counts

    def line(self) -> str:
        """Everything in one line.

        >>> ProgressView(3, 1).line()
        'verify: 1/3 claims, 0 s'
        """
        seconds = time.monotonic() - self.began
        line = f"verify: {self.done}/{self.total} claims, {seconds:.0f} s"
        durations = self.durations()
        if not durations:
            return line
        names = [f"{name} {seconds:.0f} s" for name, seconds in durations[:NAMED_JOBS]]
        hidden = len(durations) - NAMED_JOBS
        more = f" and {hidden} more" if hidden > 0 else ""
        return f"{line}; now {', '.join(names)}{more}"

    def durations(self) -> list[tuple[str, float]]:
        """Name of each job under way and for how many seconds, the longest first."""
        now = time.monotonic()
        return [(name, now - start) for name, start in list(self.running.items())]


@contextmanager
def shown_progress(total: int, done: int) -> Iterator[ProgressView]:
    """A view on standard error: in a terminal a bar and the jobs under way, after two seconds; lines elsewhere.

    A line comes every ten seconds. Silent in worker processes and inside another bar.
    """
    view = ProgressView(total, done)
    over = threading.Event()
    if parent_process() is not None or not outermost.acquire(blocking=False):
        yield view
        return
    show = _live if sys.stderr.isatty() else _lines
    thread = threading.Thread(target=show, args=(view, over), daemon=True)
    thread.start()
    try:
        yield view
    finally:
        over.set()
        thread.join()
        outermost.release()


def _lines(view: ProgressView, over: threading.Event) -> None:
    while not over.wait(PLAIN):
        print(view.line(), file=sys.stderr, flush=True)


def _live(view: ProgressView, over: threading.Event) -> None:
    if over.wait(max(PATIENCE, 0)):
        return
    from rich.console import Console
    from rich.live import Live

    with Live(
        console=Console(stderr=True),
        get_renderable=lambda: _table(view),
        transient=True,
    ):
        over.wait()


def _table(view: ProgressView) -> "Table":
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    seconds = f"{time.monotonic() - view.began:.0f} s"
    table.add_row(
        f"{view.done}/{view.total} claims",
        seconds,
        ProgressBar(view.total, view.done, width=40),
    )
    for name, under_way in view.durations():
        table.add_row(f"  {name}", f"{under_way:.0f} s")
    return table
