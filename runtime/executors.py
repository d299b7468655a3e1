"""Where the runs of a sweep can go: processes of this machine, a Dask cluster, MPI."""

import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Executor, Future, ProcessPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from importlib import import_module
from logging import CRITICAL, getLogger
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any

from .machine import single_threaded_children

EXECUTORS = ("local", "dask", "mpi")

CONNECT_SECONDS = 5
"""How long a scheduler has to answer."""


def cores() -> int:
    """Cores that this process may use, where the system tells.

    >>> cores() >= 1
    True
    """
    return (
        len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count() or 1
    )


@contextmanager
def local_pool(workers: int | None = None) -> Iterator[Executor]:
    """Processes of this machine, one a core if `workers` is left out; they end with this one, however it ends.

    They hold one end of a pipe: when the other end closes, by a failure here or by the death of this process,
    they leave at once. ValueError if workers < 1, or none can start.

    >>> with local_pool(1) as pool:
    ...     pool.submit(abs, -3).result()
    3
    """
    if workers is not None and workers < 1:
        raise ValueError(f"workers must be at least 1, not {workers}")
    context, count = get_context("spawn"), workers or cores()
    listening, held = context.Pipe(duplex=False)
    with listening, held:
        with (
            _interrupts_held()
        ):  # Python starts a process of its own here, which cleans up after the others
            pool = ProcessPoolExecutor(count, context, _serve, (listening,))
        started: list[Future[int]] = []
        try:
            with _interrupts_held(), single_threaded_children():
                started += [pool.submit(os.getpid) for _ in range(count)]
            yield pool
        except BrokenExecutor:
            if all(future.exception() for future in started):
                raise ValueError(
                    'no worker can start: a script calls this under if __name__ == "__main__":'
                ) from None
            raise
        except BaseException:
            held.close()
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _serve(listening: Connection) -> None:
    """In a worker: leave when the pipe closes."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches every process, and the first one decides
    threading.Thread(target=_leave_with, args=(listening,), daemon=True).start()


def _leave_with(listening: Connection) -> None:
    listening.poll(None)
    os._exit(1)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C and the end of the terminal wait: processes started here never see them, not even at their beginning.

    Both reach every process of a terminal, and the first process decides what they mean: after the start, since a
    process that is not told what to do complains. Another thread of it may be the one that gets them meanwhile.
    """
    came: list[int] = []
    with _masked(), _noted(came):
        yield
    for number in came:
        signal.raise_signal(number)


@contextmanager
def _masked() -> Iterator[None]:
    """Ctrl-C and the end of the terminal are blocked in this thread and in processes that it starts."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT, signal.SIGHUP])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _noted(came: list[int]) -> Iterator[None]:
    """Signals that Python would handle are put on a list; only the main thread may say so, as it handles them."""
    names = (
        ("SIGINT", "SIGTERM", "SIGHUP")
        if threading.current_thread() is threading.main_thread()
        else ()
    )
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {
        number: signal.getsignal(number)
        for number in numbers
        if callable(signal.getsignal(number))
    }
    for number in before:
        signal.signal(number, lambda number, frame: came.append(number))
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def dask_pool(scheduler: str) -> Iterator[Executor]:
    """The workers of the Dask cluster whose scheduler listens at this address, such as "tcp://10.0.0.1:8786".

    ConnectionError if none answers there within some seconds, ValueError if `distributed` is not installed.
    """
    distributed = needed("distributed", "dask")
    try:
        client = distributed.Client(
            scheduler, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler}: {reason}"
        ) from None
    quiet = _silent("distributed.client", "distributed.utils", "tornado.application")
    with quiet, client, client.get_executor() as pool:
        yield pool


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Loggers that have nothing to say: a lost scheduler becomes an exception, which says enough."""
    logs = [getLogger(name) for name in names]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(CRITICAL)
    try:
        yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def lost_worker() -> tuple[type[Exception], ...]:
    """What an executor raises when a worker was killed; Dask does after three of them.

    >>> BrokenExecutor in lost_worker()
    True
    """
    dask = sys.modules.get("distributed")
    return (
        (BrokenExecutor,)
        if dask is None
        else (BrokenExecutor, dask.scheduler.KilledWorker)
    )


@contextmanager
def mpi_pool() -> Iterator[Executor | None]:
    """The processes that mpiexec started: the first one gets the executor, the others serve it and then get None.

    ValueError if `mpi4py` or its MPI library is missing, or there is no second process to do the work.
    """
    MPI, futures = (needed(name, "mpi") for name in ("mpi4py.MPI", "mpi4py.futures"))
    if MPI.COMM_WORLD.Get_size() < 2:
        raise ValueError(
            "MPI gives one process: start several, as in mpiexec -n 9 attndyn sweep …"
        )
    with futures.MPICommExecutor(MPI.COMM_WORLD, root=0) as pool:
        yield pool


@contextmanager
def executor_named(
    name: str, scheduler: str | None = None, workers: int | None = None
) -> Iterator[Executor | None]:
    """The executor called "dask" (at `scheduler`) or "mpi"; None for "local", which `run_sweep` begins itself.

    ValueError for another name, or an option that belongs to another executor.

    >>> with executor_named("local", workers=2) as pool:
    ...     print(pool)
    None
    """
    if name not in EXECUTORS:
        raise ValueError(
            f"executor must be one of {', '.join(EXECUTORS)}, not {name!r}"
        )
    if (scheduler is not None) != (name == "dask"):
        raise ValueError(
            "a Dask cluster, and nothing else, needs the address of its scheduler: tcp://HOST:PORT"
        )
    if workers is not None and name != "local":
        raise ValueError(
            f"the number of workers is for local processes: {name} brings its own"
        )
    pools: dict[str, Callable[[], AbstractContextManager[Executor | None]]]
    pools = {
        "local": nullcontext,
        "dask": lambda: dask_pool(str(scheduler)),
        "mpi": mpi_pool,
    }
    with pools[name]() as pool:
        yield pool


def needed(name: str, extra: str) -> Any:
    """A module of an optional dependency; ValueError says how to install it."""
    try:
        return import_module(name)
    except (
        ImportError,
        RuntimeError,
    ) as error:  # an MPI library that is missing is a RuntimeError
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{name} cannot be used ({reason}): pip install 'attndyn[{extra}]'"
        ) from None
