"""Times of cases that take turns, so that a slow moment of the machine meets all of them."""

import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

ROUNDS = 5

Case = Callable[[], object]
Times = dict[str, dict[str, Any]]


def seconds(work: Case) -> float:
    """Wall time of one call."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def alternating(
    cases: Mapping[str, tuple[int, Case]],
    rounds: int = ROUNDS,
    cold: Mapping[str, float] | None = None,
) -> Times:
    """Name → seconds of one unit in every round, and of the first call, which compiles and fills caches.

    A case is how many units (steps, runs, products) one call does, and the call. `cold` are the seconds of first
    calls that were made before.
    """
    first = {name: seconds(work) for name, (_, work) in cases.items()} | dict(
        cold or {}
    )
    measured: Times = {name: {"cold": first[name], "seconds": []} for name in cases}
    for _ in range(rounds):
        for name, (units, work) in cases.items():
            measured[name]["seconds"].append(seconds(work) / units)
    return measured


def typical(times: Times, name: str) -> float:
    """Median seconds of one unit."""
    return median(times[name]["seconds"])


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
