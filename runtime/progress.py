"""Progress of whatever takes more than two seconds: a bar in a terminal or notebook, else lines of long sweeps."""

import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html import escape
from multiprocessing import parent_process
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

Item = TypeVar("Item")

Update = Callable[[int, float], None]
"""Shows how many items are finished, and how many a second."""

PATIENCE = 2.0
"""Seconds of silence before a bar appears."""

REFRESH = 0.2
"""Seconds between two updates of the bar."""

PLAIN = 10.0
"""Seconds between two lines where there is no terminal to draw a bar on."""

outermost = threading.Lock()
"""Held by whatever shows its progress: what runs inside it is silent."""


def with_progress(items: Iterable[Item], total: int, title: str) -> Iterator[Item]:
    """The items, with a bar on standard error or in the cell of a notebook once they have taken two seconds.

    Silent off a terminal, in worker processes and inside another bar, which tells more.

    >>> list(with_progress(range(3), 3, "counting"))
    [0, 1, 2]
    """
    in_notebook = _in_notebook()
    if not (in_notebook or sys.stderr.isatty()) or not _is_first_to_show():
        yield from items
        return
    if in_notebook:
        # What the caller does with an item comes after it: those before it are finished.
        yield from _followed(items, -1, _cell(total, title))
        return
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    bar = _transient_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    task = bar.add_task(title, total=total)
    try:
        with _started_after_patience(bar):
            updated = time.monotonic()
            for count, item in enumerate(items):
                if time.monotonic() - updated > REFRESH:
                    bar.update(task, completed=count)
                    updated = time.monotonic()
                yield item
    finally:
        outermost.release()


def with_progress_and_rate(
    items: Iterable[Item], total: int, done: int, title: str, unit: str
) -> Iterator[Item]:
    """The items, `total` less `done` of them, with their count, their rate and the time left on standard error.

    A bar in a terminal or a notebook after two seconds, a line every ten seconds elsewhere; silent in worker processes.

    >>> list(with_progress_and_rate("ab", 5, 3, "letters", "letters"))
    ['a', 'b']
    """
    if not _is_first_to_show():
        yield from items
        return
    if _in_notebook():
        view = _cell(total, title, unit)
    elif sys.stderr.isatty():
        view = _bar(total, done, title, unit)
    else:
        view = _lines(total, title, unit)
    yield from _followed(items, done, view)


def _followed(
    items: Iterable[Item], done: int, view: AbstractContextManager[Update]
) -> Iterator[Item]:
    """The items, shown as they come, each counted when it comes and after `done` of them; releases `outermost`."""
    try:
        with view as update:
            begin = time.monotonic()
            for count, item in enumerate(items, start=1):
                seconds = max(time.monotonic() - begin, 1e-9)  # a clock may stand still
                update(done + count, count / seconds)
                yield item
    finally:
        outermost.release()


def _in_notebook() -> bool:
    """Whether a kernel of Jupyter shows what this process displays; IPython is not loaded to find that out."""
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return getattr(shell, "kernel", None) is not None


def _is_first_to_show() -> bool:
    """Whether this is not a worker and nobody else shows progress; if so, `outermost` is to be released."""
    return parent_process() is None and outermost.acquire(blocking=False)


@contextmanager
def _bar(total: int, done: int, title: str, unit: str) -> Iterator[Update]:
    """A bar with counts, the rate and the time left."""
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

    counts = f"{{task.completed:.0f}}/{total} {unit}, {{task.fields[rate]:.3g}} a second, left:"
    bar = _transient_bar(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn(counts),
        TimeRemainingColumn(),
    )
    task = bar.add_task(title, total=total, completed=done, rate=0.0)
    with _started_after_patience(bar):
        yield lambda count, rate: bar.update(task, completed=count, rate=rate)


def _transient_bar(*columns: object) -> "Progress":
    """A bar on standard error that vanishes when it is finished."""
    from rich.console import Console
    from rich.progress import Progress

    return Progress(*columns, console=Console(stderr=True), transient=True)  # type: ignore[arg-type]


@contextmanager
def _started_after_patience(bar: "Progress") -> Iterator[None]:
    """Start the bar in two seconds, in a thread of its own: the first item alone may take longer."""
    start = threading.Timer(PATIENCE, bar.start)
    start.start()
    try:
        yield
    finally:
        start.cancel()
        start.join()
        bar.stop()


@contextmanager
def _lines(total: int, title: str, unit: str) -> Iterator[Update]:
    """A line every ten seconds."""
    printed = time.monotonic()

    def update(count: int, rate: float) -> None:
        nonlocal printed
        if time.monotonic() - printed <= PLAIN:
            return
        printed = time.monotonic()
        seconds_left = (total - count) / rate
        line = f"{title}: {count}/{total} {unit}, {rate:.3g} a second, {seconds_left:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    yield update


@contextmanager
def _cell(total: int, title: str, unit: str = "") -> Iterator[Update]:
    """One display in a notebook, updated in place; when it ends it says how far it came and how long that took.

    It appears with the first item after two seconds, from the thread that computes: a kernel may put into the wrong
    cell what another thread displays.
    """
    begin = shown = time.monotonic()
    reached = 0
    handle: Any = None

    def show(text: str, bar: str = "") -> None:
        nonlocal handle
        text = f"{title}: {text}"
        bundle = {"text/plain": text, "text/html": f"<div>{escape(text)} {bar}</div>"}
        if handle is None:
            ipython: Any = sys.modules["IPython"]
            handle = ipython.display.display(bundle, raw=True, display_id=True)
        else:
            handle.update(bundle, raw=True)

    def update(count: int, rate: float) -> None:
        nonlocal reached, shown
        reached = count
        now = time.monotonic()
        if now - begin <= PATIENCE or (handle is not None and now - shown <= REFRESH):
            return
        shown = now
        left = f"{(total - count) / rate:.0f} s left"
        bar = f'<progress value="{count}" max="{total}"></progress>'
        show(f"{amount(count)}, {left}", bar)

    def amount(count: int) -> str:
        return f"{count}/{total} {unit}" if unit else f"{100 * count / total:.0f} %"

    def end(how: str) -> None:
        if handle is not None:
            show(f"{how} after {time.monotonic() - begin:.0f} s")

    try:
        yield update
    except BaseException:
        end(f"stopped at {amount(reached)}")
        raise
    end(f"finished, {amount(total)}" if unit else "finished")
