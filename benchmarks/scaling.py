"""Measures what sweeps cost and what a million runs would: `python benchmarks/scaling.py [--write]` prints a page.

With --write the page also replaces docs/scaling.md. Needs the extras sweep and dask, and two cores.
"""

import os
import pickle
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from attndyn import __version__
from attndyn.runtime.executors import dask_pool, local_pool
from attndyn.simulate import Sweep, run_sweep, statistics
from attndyn.simulate.runs.engine_code import code_digest
from attndyn.simulate.runs.store import load_run, run_path

PAGE = Path(__file__).parent.parent / "docs" / "scaling.md"
REPEATS, TASKS, RUNS, CORES = 5, 2_000, 10**6, 1_000
SETTINGS = {
    "task": {"eigenvalues": [4, 3, 2, 1], "trace": 1.0, "context_length": 31},
    "model": {"model": "separate", "heads": 5, "divisor": "none"},
    "run": {
        "sequences": 80_000,
        "learning_rate": 0.02,
        "steps": 10_001,
        "whiten": True,
        "centre": True,
    },
}
OWN = Sweep(**SETTINGS, grid={"seed": list(range(16)), "scale": [0.01]})
SHARED = Sweep(
    **SETTINGS, grid={"seed": [0, 1], "scale": [0.01 * (k + 1) for k in range(64)]}
)

PAGE_TEXT = """\
# Scaling

This page is for readers who plan a large [sweep](sweeps.md). It says what one run costs, and what a million
runs would need. Only one and two workers are measured. The numbers for more of them are computed.

The page is written by `OPENBLAS_NUM_THREADS=1 python benchmarks/scaling.py --write` on a shared machine, whose
other work disturbs the times:
{machine}.

## What a run costs

The run is separate attention at the published size: P = 80,000, N = 31, D = 4, H = 5, 10,001 steps. Times are
medians of {repeats}.

| | time | how it grows |
|---|---|---|
| statistics of its data | {data:.0f} ms | P (N (D+1)² + K²) operations, K = D (D+1)(D+2)/2 = 60 |
| all its steps | {steps:.1f} ms | steps × (2K² + O(H R D²)) operations, whatever P and N are |
| writing its file | {file:.1f} ms | {size:.0f} kB: 24 bytes a step, and the recorded weights |
| checking it beforehand | {check:.2f} ms | in the driver, once |
| finding it when a sweep is resumed | {find:.1f} ms | in the driver, once |
| messages | {message:.0f} bytes | two: settings to a worker, a digest back |

Workers write results into files that all can read, and do not send them as messages. Statistics take
{ratio:.0f} times as long as the steps. For this reason they are made once for all runs that share a data set.

## One and two workers

The table shows runs per second, without the start of the processes. They are medians of {repeats} alternating repeats.

| sweep | 1 worker | 2 workers | speedup |
|---|---|---|---|
| {own} runs, each with data of its own | {own1:.1f} | {own2:.1f} | {own_gain:.2f} |
| {shared} runs on two data sets | {shared1:.0f} | {shared2:.0f} | {shared_gain:.2f} |

One driver can hand out only so many jobs. Jobs that do nothing pass at {local_rate:,.0f} a second through local
processes. Through a Dask scheduler they pass at {dask_rate:,.0f} a second, where scheduler, driver and two
workers share two cores.

## A million runs on a thousand cores

This section is a calculation. With t the time of a run, 10⁶ runs take about max(10⁶ t / 1000, 10⁶ / rate)
after the driver has checked them all.
The rate is that of Dask in the section above, from a scheduler without a core of its own. The rate of
MPI is not measured.

| | data of its own | 1,000 runs a data set |
|---|---|---|
| a run | {own_run:.0f} ms | {shared_run:.0f} ms |
| computing, on 1,000 cores | {own_work} | {shared_work} |
| handing out through Dask | {hand_out} | {hand_out} |
| checking, in the driver | {checking} | {checking} |
| files | {bytes:.1f} TB | {bytes:.1f} TB |
| writing rate while computing | {own_write:.1f} GB/s | {shared_write:.1f} GB/s |
| **longest** | {own_neck} | {shared_neck} |

One folder would have 10⁶ files, and `load_sweep` would hold {held:.0f} GB of losses and gradient norms. Three
measures help:

- A larger `record` makes the files smaller.
- `load_sweep(folder, every=…)` thins what is read.
- Several sweeps, each with a folder and a driver of its own, divide both the files and what one driver hands out.
"""


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def typical(work: Callable[[], object]) -> float:
    """Median wall time, after a call that warms up."""
    work()
    return median(seconds(work) for _ in range(REPEATS))


def parts() -> dict[str, float]:
    """Milliseconds and bytes of the parts of one run."""
    experiment = OWN.experiments()[0]
    source = statistics(experiment.data, experiment.model)
    run = experiment.run(source=source, compiled=True)
    with tempfile.TemporaryDirectory() as folder:
        path = run_path(experiment, folder)
        written = typical(lambda: run.save(path))
        seconds_to_load, size = (
            typical(lambda: load_run(experiment, folder)),
            path.stat().st_size,
        )
        job = (experiment, Path(folder), code_digest(experiment), True)
        message = len(pickle.dumps(job)) + len(pickle.dumps((experiment.digest, False)))
    many = Sweep(**SETTINGS, grid={"scale": [0.01 + k for k in range(1000)]})
    check = typical(
        lambda: [e.digest for e in Sweep.from_dict(many.to_dict()).experiments()]
    )
    times = {
        "data": 1e3 * typical(lambda: statistics(experiment.data, experiment.model)),
        "steps": 1e3 * typical(lambda: experiment.run(source=source, compiled=True)),
        "file": 1e3 * written,
        "find": 1e3 * seconds_to_load,
    }
    return times | {"check": check, "size": size / 1e3, "message": message}


def throughput() -> dict[str, float]:
    """Runs a second of both sweeps on one and two workers that have started."""
    rates_by_sweep: dict[str, list[float]] = {
        name: [] for name in ("own1", "own2", "shared1", "shared2")
    }
    for _ in range(REPEATS):
        for count in (1, 2):
            with started(count) as pool:
                for name, sweep in (("own", OWN), ("shared", SHARED)):
                    with tempfile.TemporaryDirectory() as folder:
                        taken = seconds(
                            lambda sweep=sweep, folder=folder: run_sweep(
                                sweep, folder, pool
                            )
                        )
                    rates_by_sweep[f"{name}{count}"].append(
                        len(sweep.experiments()) / taken
                    )
    return {name: median(rates) for name, rates in rates_by_sweep.items()}


@contextmanager
def started(count: int) -> Iterator[Executor]:
    """Local processes that have loaded and compiled what they need."""
    small = Sweep(
        **SETTINGS | {"run": SETTINGS["run"] | {"sequences": 100}},
        grid={"scale": [0.1 * (k + 1) for k in range(8)]},
    )
    with local_pool(count) as pool, tempfile.TemporaryDirectory() as folder:
        run_sweep(small, folder, pool)
        yield pool


def hand_out(pool: Executor) -> float:
    """Jobs a second that do nothing."""

    def all_of_them() -> None:
        for future in [pool.submit(abs, -k) for k in range(TASKS)]:
            future.result()

    return TASKS / typical(all_of_them)


def rates() -> dict[str, float]:
    """What one driver hands out."""
    from distributed import LocalCluster

    with local_pool(2) as pool:
        local = hand_out(pool)
    cluster = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with cluster, dask_pool(cluster.scheduler_address) as pool:
        return {"local_rate": local, "dask_rate": hand_out(pool)}


def million(cost: dict[str, float]) -> dict[str, object]:
    """What a million runs would take, and which part longest."""
    own = cost["data"] + cost["steps"] + cost["file"]
    shared = cost["steps"] + cost["file"] + cost["data"] / 1_000
    size = RUNS * cost["size"] / 1e9
    result: dict[str, object] = {"own_run": own, "shared_run": shared, "bytes": size}
    fixed = {
        "handing out": RUNS / cost["dask_rate"],
        "checking": RUNS * cost["check"] / 1e3,
    }
    for name, run in (("own", own), ("shared", shared)):
        all_parts = {"computing": RUNS * run / 1e3 / CORES} | fixed
        result[f"{name}_work"] = minutes(all_parts["computing"])
        result[f"{name}_write"] = (
            1e3 * size / max(all_parts["computing"], all_parts["handing out"])
        )
        result[f"{name}_neck"] = max(all_parts, key=lambda part: all_parts[part])
    return result | {
        "hand_out": minutes(fixed["handing out"]),
        "checking": minutes(fixed["checking"]),
    }


def minutes(time: float) -> str:
    """A time in words."""
    return f"{time:.0f} s" if time < 120 else f"{time / 60:.0f} min"


def report() -> str:
    """The page."""
    cost = (
        parts() | throughput() | rates()
    )  # Dask comes last: it leaves settings of malloc behind
    gains = {
        f"{name}_gain": cost[f"{name}2"] / cost[f"{name}1"]
        for name in ("own", "shared")
    }
    sizes = {
        "own": len(OWN.experiments()),
        "shared": len(SHARED.experiments()),
        "repeats": REPEATS,
    }
    memory = {
        "held": RUNS * 2 * 8 * SETTINGS["run"]["steps"] / 1e9,
        "ratio": cost["data"] / cost["steps"],
    }
    return PAGE_TEXT.format(
        machine=machine(), **cost, **gains, **sizes, **memory, **million(cost)
    )


def machine() -> str:
    """The machine in general words."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    python = f"Python {platform.python_version()}, attndyn {__version__}"
    return f"{os.cpu_count()} cores ({platform.machine()}), BLAS threads: {threads}, {python}"


if __name__ == "__main__":
    page = report()
    print(page)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
