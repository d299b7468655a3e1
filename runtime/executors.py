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

from .machine import available_cores, single_threaded_children

EXECUTORS = ("local", "dask", "mpi")

CONNECT_SECONDS = 5
"""How long a scheduler has to answer."""


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
    context = get_context("spawn")
    count = workers or available_cores()
    worker_end, own_end = context.Pipe(duplex=False)
    with worker_end, own_end:
        # Python starts a process of its own here, which cleans up after the others.
        with _interrupts_delayed():
            pool = ProcessPoolExecutor(count, context, _serve, (worker_end,))
        first_jobs: list[Future[int]] = []
        try:
            with _interrupts_delayed(), single_threaded_children():
                for _ in range(count):
                    first_jobs.append(pool.submit(os.getpid))
            yield pool
        except BrokenExecutor:
            if all(job.exception() for job in first_jobs):
                raise ValueError(
                    'no worker can start: a script calls this under if __name__ == "__main__":'
                ) from None
            raise
        except BaseException:
            own_end.close()  # the workers leave at once
            raise
        finally:
            pool.shutdown(cancel_futures=True)


def _serve(worker_end: Connection) -> None:
    """In a worker: leave when the pipe closes."""
    # Ctrl-C reaches every process, and the first one decides what it means.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_leave_with, args=(worker_end,), daemon=True).start()


def _leave_with(worker_end: Connection) -> None:
    """Wait until the other end of the pipe closes, and end this process."""
    worker_end.poll(None)
    os._exit(1)


@contextmanager
def _interrupts_delayed() -> Iterator[None]:
    """Ctrl-C and the end of the terminal wait: processes started here never see them, not even at their beginning.

    Both reach every process of a terminal, and the first process decides what they mean: after the start, since a
    process that is not told what to do complains. Another thread of it may be the one that gets them meanwhile.
    """
    arrived: list[int] = []
    with _signals_blocked(), _signals_collected(arrived):
        yield
    for number in arrived:
        signal.raise_signal(number)


@contextmanager
def _signals_blocked() -> Iterator[None]:
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
def _signals_collected(arrived: list[int]) -> Iterator[None]:
    """Signals that Python would handle are put on a list instead."""
    # Only the main thread may set handlers, as it runs them.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    names = ("SIGINT", "SIGTERM", "SIGHUP")
    numbers = [getattr(signal, name) for name in names if hasattr(signal, name)]
    before = {number: signal.getsignal(number) for number in numbers}
    handled = [number for number in numbers if callable(before[number])]
    for number in handled:
        signal.signal(number, lambda number, frame: arrived.append(number))
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, before[number])


@contextmanager
def dask_pool(scheduler: str) -> Iterator[Executor]:
    """The workers of the Dask cluster whose scheduler listens at this address, such as "tcp://10.0.0.1:8786".

    ConnectionError if none answers there within some seconds, ValueError if `distributed` is not installed.
    """
    distributed = require_extra("distributed", "dask")
    try:
        client = distributed.Client(
            scheduler, timeout=CONNECT_SECONDS, set_as_default=False
        )
    except (OSError, ValueError) as error:
        reason = str(error).split("\n")[0]
        raise ConnectionError(
            f"no Dask scheduler answers at {scheduler}: {reason}"
        ) from None
    loggers = _silent("distributed.client", "distributed.utils", "tornado.application")
    with loggers, client, client.get_executor() as pool:
        yield pool


@contextmanager
def _silent(*names: str) -> Iterator[None]:
    """Loggers that have nothing to say: a lost scheduler becomes an exception, which says enough."""
    levels = {name: getLogger(name).level for name in names}
    for name in names:
        getLogger(name).setLevel(CRITICAL)
    try:
        yield
    finally:
        for name, level in levels.items():
            getLogger(name).setLevel(level)


def worker_failures() -> tuple[type[Exception], ...]:
    """What an executor raises when a worker was killed; Dask does after three of them.

    >>> BrokenExecutor in worker_failures()
    True
    """
    dask = sys.modules.get("distributed")  # slow to import, and not there in vain
    if dask is None:
        return (BrokenExecutor,)
    return (BrokenExecutor, dask.scheduler.KilledWorker)


@contextmanager
def mpi_pool() -> Iterator[Executor | None]:
    """The processes that mpiexec started: the first one gets the executor, the others serve it and then get None.

    ValueError if `mpi4py` or its MPI library is missing, or there is no second process to do the work.
    """
    MPI = require_extra("mpi4py.MPI", "mpi")
    futures = require_extra("mpi4py.futures", "mpi")
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


def require_extra(name: str, extra: str) -> Any:
    """A module of an optional dependency; ValueError says how to install it."""
    try:
        return import_module(name)
    # An MPI library that is missing is a RuntimeError.
    except (ImportError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(
            f"{name} cannot be used ({reason}): pip install 'attndyn[{extra}]'"
        ) from None
