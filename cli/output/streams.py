"""Standard output and error that end no command for what they are: no UTF-8, a closed pipe, a full disk."""

import errno
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TypeGuard

from ...runtime.ascii_text import IN_ASCII


@contextmanager
def spelled_output() -> Iterator[None]:
    """Inside, standard output and error are there and spell the characters that their encoding does not know."""
    _open_what_is_closed()
    streams = [
        stream
        for stream in (sys.stdout, sys.stderr)
        if isinstance(stream, TextIOWrapper)
    ]
    before = [stream.errors for stream in streams]
    for stream in streams:
        stream.reconfigure(errors=IN_ASCII)
    try:
        yield
    finally:
        for stream, errors in zip(streams, before, strict=True):
            with suppress(ValueError, OSError):  # closed by now
                stream.reconfigure(errors=errors)


def _open_what_is_closed() -> None:
    """Let an output that the shell has closed lead nowhere: no file that is opened later takes its place."""
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(
                sys,
                name,
                os.fdopen(nowhere, "r" if name == "stdin" else "w", encoding="utf-8"),
            )


@contextmanager
def warnings_in_one_line() -> Iterator[None]:
    """Inside, a warning for the user becomes a line on standard error when everything is done."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.filterwarnings("always", category=UserWarning)
        yield
    for warning in caught:
        text = " ".join(str(warning.message).split())
        print(f"attndyn: warning: {text}", file=sys.stderr)


def flush() -> None:
    """Write what standard output still holds; OSError says that it cannot be written."""
    sys.stdout.flush()


def abandon() -> None:
    """Send what standard output still holds nowhere: where it went is closed or full."""
    with suppress(
        OSError, ValueError, AttributeError
    ):  # an output that is no file has no number
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
    with suppress(OSError, ValueError, AttributeError):
        sys.stdout.flush()


def is_closed_pipe(error: BaseException | None) -> TypeGuard[OSError]:
    """Whether this is what writing gives when nobody reads any longer, as after `| head`."""
    return isinstance(error, OSError) and error.errno == errno.EPIPE
