"""Signals that ask a command to end: each ends it as Ctrl-C does, so that what it has done is kept."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from .exit_status import ExitStatus

_ENDS = {
    "SIGTERM": (
        ExitStatus.TERMINATED,
        "terminated",
    ),  # kill, timeout, batch systems, a shutdown
    "SIGHUP": (ExitStatus.HUNG_UP, "hung up"),  # a terminal that is closed
}
"""Exit status and message for each signal besides Ctrl-C."""


class Ending:
    """How a command was asked to end: by Ctrl-C, unless a signal has said something else."""

    def __init__(self) -> None:
        self.status, self.message = ExitStatus.INTERRUPTED, "interrupted"


@contextmanager
def ended_by_signals() -> Iterator[Ending]:
    """Inside, SIGTERM and SIGHUP raise KeyboardInterrupt, as Ctrl-C does; which one it was is in the result.

    A signal that this process was started to ignore stays ignored: Ctrl-C in the background of a script, and the
    end of the terminal under nohup. Handlers that are set already stay too, and so do those of a second thread,
    which cannot have any.
    """
    ending, before = Ending(), {}

    def end(number: int, frame: FrameType | None) -> None:
        ending.status, ending.message = _ENDS[signal.Signals(number).name]
        raise KeyboardInterrupt

    for name in _ENDS:
        number = getattr(signal, name, None)  # Windows has no SIGHUP
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            with suppress(ValueError):  # this is not the main thread
                before[number] = signal.signal(number, end)
    try:
        yield ending
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
