"""What this machine can hold and do: sizes are estimated before memory is asked for, and threads are limited."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from importlib import import_module
from pathlib import Path

import numpy as np

GIB = 2**30
"""Bytes of a GiB."""

_LARGEST_KEPT = 31 * 2**20
"""Bytes of a block below the 32 MiB from which on the allocator learns nothing from one."""

_MEMINFO = Path("/proc/meminfo")  # where Linux tells
_CONTROL_GROUP = Path("/sys/fs/cgroup")  # where a container's own limit stands


def available_memory() -> float:
    """Bytes that this process may still take; inf where the system does not tell.

    >>> available_memory() > 0
    True
    """
    return max(0.0, min(_free_of_the_system(), _free_of_the_container()))


def refuse_too_large(
    what: str, size: float, way_out: str, limit: float = float("inf")
) -> None:
    """MemoryError if `size` bytes are more than `limit` bytes or than the memory that is available.

    `what` says what would need them, and `way_out` what to do instead.

    >>> refuse_too_large("a table", 5 * GIB, "pass a smaller one", limit=4 * GIB)
    Traceback (most recent call last):
    MemoryError: a table needs 5 GiB, more than the limit of 4 GiB: pass a smaller one
    """
    available = available_memory()
    if size <= min(limit, available):
        return
    if limit <= available:
        bound = f"the limit of {limit / GIB:.3g} GiB"
    else:
        bound = f"the {available / GIB:.3g} GiB that this machine has left"
    raise MemoryError(
        f"{what} needs {size / GIB:.3g} GiB, more than {bound}: {way_out}"
    )


def keep_freed_memory() -> None:
    """Make the allocator keep what is freed for what is asked for next, where it is that of Linux (glibc).

    A descent frees its batch at every step and asks for another one. Memory that goes back to the system in between
    comes back page by page, each set to zero: that took as long as a third of a step. The most that stays unused is
    twice the block, as mallopt(3) says under M_MMAP_THRESHOLD. Elsewhere nothing changes, nor where the environment
    sets a limit of the allocator, as Dask does for its workers.
    """
    # The allocator learns from the largest block that is freed, which is never written to here and so costs nothing.
    np.empty(_LARGEST_KEPT, dtype=np.uint8)


def available_cores() -> int:
    """Cores that this process may use, where the system tells, else those of the machine.

    >>> available_cores() >= 1
    True
    """
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
"""What the libraries of linear algebra read, once, when a process loads them."""


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes that are started here use one thread each, unless the user's environment says otherwise.

    >>> with single_threaded_children():
    ...     os.environ["OMP_NUM_THREADS"] != ""
    True
    """
    missing = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(missing, "1"))
    try:
        yield
    finally:
        for name in missing:
            os.environ.pop(name, None)


@contextmanager
def one_thread() -> Iterator[None]:
    """Linear algebra of this process on one thread: for many small products, which others only wait for.

    On a machine that does other work as well, threads that wait for each other cost twenty times the arithmetic.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError:
        # An installation from before this library was needed: slower, and as right.
        limited = nullcontext()
    else:
        # A library that is loaded later would not be limited.
        import_module("scipy.linalg")
        limited = threadpool_limits(1)
    with limited:
        yield


def _free_of_the_system() -> float:
    """MemAvailable of Linux, else the pages of the machine."""
    try:
        for line in _MEMINFO.read_text(encoding="ascii").splitlines():
            if line.startswith("MemAvailable:"):
                kilobytes = int(line.split()[1])
                return 1024.0 * kilobytes
    except (OSError, ValueError):
        pass
    try:
        return float(os.sysconf("SC_PHYS_PAGES")) * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return float("inf")


def _free_of_the_container() -> float:
    """What the control group may still take; inf outside one."""
    try:
        # "max", where there is no limit, is no whole number.
        limit = int((_CONTROL_GROUP / "memory.max").read_text(encoding="ascii"))
        used = int((_CONTROL_GROUP / "memory.current").read_text(encoding="ascii"))
        lines = (_CONTROL_GROUP / "memory.stat").read_text(encoding="ascii")
    except (OSError, ValueError):
        return float("inf")
    counts = dict(line.split() for line in lines.splitlines())
    # Copies of files, which the system gives up when asked.
    files = int(counts.get("inactive_file", 0))
    return float(limit - used + files)
