"""Whole processes: `attndyn simulate` at the published size, with and without compiled code in the cache."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .timing import Times, alternating

PUBLISHED = (
    "simulate --eigenvalues 4,3,2,1 --trace 1 --context-length 31 --model separate --heads 5 --divisor none "
    "--sequences 80000 --whiten --centre --scale 0.01 --learning-rate 0.02 --steps"
)


def simulate(steps: int, cache: str | None = None) -> tuple[float, float]:
    """Seconds and peak resident MiB of `attndyn simulate`; `cache` is the folder of compiled code."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "attndyn",
            *PUBLISHED.split(),
            str(steps),
            "--out",
            f"{folder}/run.npz",
        ]
        environment = os.environ | ({"NUMBA_CACHE_DIR": cache} if cache else {})
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    if process.returncode:
        raise RuntimeError(f"attndyn simulate failed with status {process.returncode}")
    return seconds, usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def whole() -> Times:
    """Seconds of 10,001 steps, which run plainly, and of 120,000, which are compiled; peak memory of the first."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "cache").mkdir()
        times = alternating(
            {
                "10,001 steps": (1, lambda: simulate(10_001)),
                "120,000 steps": (1, lambda: simulate(120_000, f"{folder}/cache")),
            }
        )
    return times | {"MiB": {"cold": 0.0, "seconds": [simulate(10_001)[1]]}}


GROUPS: dict[str, Callable[[], Times]] = {"process": whole}
