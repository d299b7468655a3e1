"""Times of cases that take turns, so that a slow moment of the machine meets all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

ROUNDS = 5

PROCESSOR = time.process_time
"""Seconds that the processor works for this process: what is on one core takes as long on an idle machine."""

Case = Callable[[], object]
Clock = Callable[[], float]
Times = dict[str, dict[str, Any]]


def seconds(work: Case, clock: Clock = time.perf_counter) -> float:
    """Time of one call, by default on the wall."""
    begin = clock()
    work()
    return clock() - begin


def alternating(
    cases: Mapping[str, tuple[int, Case]],
    rounds: int = ROUNDS,
    cold: Mapping[str, float] | None = None,
    clock: Clock = time.perf_counter,
) -> Times:
    """Name → seconds of one unit in every round, and of the first call, which compiles and fills caches.

    A case is how many units (steps, runs, products) one call does, and the call. `cold` are the seconds of first
    calls that were made before.
    """
    first = {name: seconds(work, clock) for name, (_, work) in cases.items()} | dict(
        cold or {}
    )
    measured: Times = {name: {"cold": first[name], "seconds": []} for name in cases}
    for _ in range(rounds):
        for name, (units, work) in cases.items():
            measured[name]["seconds"].append(seconds(work, clock) / units)
    return measured


def typical(times: Times, name: str) -> float:
    """Median seconds of one unit."""
    return median(times[name]["seconds"])


def fastest(times: Times, name: str) -> float:
    """Least seconds of one unit: of many short rounds, one that nothing else disturbed."""
    return float(min(times[name]["seconds"]))


def ratio(times: Times, slow: str, fast: str) -> float:
    """How many times as long the first takes: the ratio of the medians."""
    return typical(times, slow) / typical(times, fast)


def least(times: Times, slow: str, fast: str) -> float:
    """The same ratio in the worst case: the fastest round of the first over the slowest of the second."""
    return float(min(times[slow]["seconds"]) / max(times[fast]["seconds"]))


def exponent(sizes: list[float], costs: list[float]) -> float:
    """Slope of log cost against log size, least squares."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])
