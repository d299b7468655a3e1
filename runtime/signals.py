"""SIGTERM, with which batch systems end a job: inside, it ends work as Ctrl-C does, so that what is done is kept."""

import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

TERMINATED = 128 + signal.SIGTERM
"""The exit status of what SIGTERM has ended, as shells count."""


class Terminated(KeyboardInterrupt):
    """SIGTERM has come."""


@contextmanager
def ended_by_sigterm(message: Callable[[], str]) -> Iterator[None]:
    """Inside, SIGTERM raises `Terminated`; on the way out it becomes SystemExit with status 143 and one line.

    The line, on standard error, is what `message` then gives. Only where SIGTERM would have ended the process without
    a word: handlers of the user's program stay as they are, and so does a second thread, which cannot have any. The
    handler is afterwards what it was before.

    >>> with ended_by_sigterm(lambda: "ended"):
    ...     signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    False
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    before = signal.getsignal(signal.SIGTERM)
    if not in_main_thread or before is not signal.SIG_DFL:
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, end)
    try:
        yield
    except Terminated:
        print(message(), file=sys.stderr, flush=True)
        raise SystemExit(TERMINATED) from None
    finally:
        signal.signal(signal.SIGTERM, before)
