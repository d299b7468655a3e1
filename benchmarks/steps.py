"""Measures what a step costs, on tokens and on statistics: `python benchmarks/steps.py [--write]` prints a table.

Medians over repeats that alternate between the cases, so that a slow moment of the machine meets all of them.
With --write the table also replaces docs/benchmarks.md. Needs a system with os.wait4 (Linux, macOS).
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from attndyn import Merged, Task
from attndyn.simulate import given, initial_weights, sample, statistics, train

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
REPEATS, WHOLE_REPEATS = 15, 3
PUBLISHED = (
    "simulate --eigenvalues 4,3,2,1 --trace 1 --context-length 31 --model separate --heads 5 --divisor none "
    "--sequences 80000 --whiten --centre --scale 0.01 --learning-rate 0.02 --steps 10001 --out"
)

TASK = Task(eigenvalues=[4, 3, 2, 1], trace=1.0, context_length=31)
MODEL = Merged(heads=8)
SEQUENCES = 5000
SIZES = {"repeats": REPEATS, "whole_repeats": WHOLE_REPEATS, "sequences": SEQUENCES}

PAGE_TEXT = """\
# Benchmarks

Written by `OPENBLAS_NUM_THREADS=1 python benchmarks/steps.py --write` on a shared machine: {machine}.
Trust the ratios more than the times.

## One step of gradient descent

Merged attention, P = {sequences}, N = 31, D = 4, H = 8, float64, all of `train` included; medians over {repeats}
alternating repeats. S is the 60 × 60 matrix of the sufficient statistics; its product with a vector is the least
that a step needs.

| | time | relative |
|---|---|---|
{steps}

A step on statistics is {ratio:.0f} times as fast as one on tokens, and its cost knows neither P nor N.

## A whole run

`attndyn simulate` of separate attention at the published size (80,000 sequences, N = 31, D = 4, H = 5, 10,001
steps): start-up, drawing whitened data, statistics, training and writing the file.

| | median of {whole_repeats} |
|---|---|
| seconds | {seconds:.1f} |
| peak memory | {memory:.0f} MiB |
"""


def whole_process() -> tuple[float, float]:
    """Seconds and peak resident MiB of `attndyn simulate` at the published size, data and start-up included."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "attndyn", *PUBLISHED.split(), f"{folder}/run.npz"]
        begin = time.perf_counter()
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        _, process.returncode, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - begin
    if process.returncode:
        raise RuntimeError(f"attndyn simulate failed with status {process.returncode}")
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return seconds, usage.ru_maxrss / unit


def step_cases() -> dict[str, tuple[int, Callable[[int], object]]]:
    """Name → (steps that are timed together, a function that makes that many)."""
    data = given(sample(TASK, SEQUENCES).tokens)  # in memory: drawing them is not timed
    stats, start = statistics(data, MODEL), initial_weights(MODEL, TASK, scale=0.01)
    m = np.random.default_rng(0).standard_normal(len(stats.b))

    def products(count: int) -> None:
        for _ in range(count):
            _ = stats.S @ m

    return {
        "step on tokens": (5, lambda count: train(MODEL, data, start, learning_rate=1e-3, steps=count)),
        "step on statistics": (1000, lambda count: train(MODEL, stats, start, learning_rate=1e-3, steps=count)),
        "product S·m alone": (20_000, products),
    }


def seconds_a_step() -> dict[str, float]:
    """Median over alternating repeats of the seconds that one step of each case takes."""
    cases = step_cases()
    found: dict[str, list[float]] = {name: [] for name in cases}
    for _ in range(REPEATS):
        for name, (count, run) in cases.items():
            begin = time.perf_counter()
            run(count)
            found[name].append((time.perf_counter() - begin) / count)
    return {name: median(values) for name, values in found.items()}


def report() -> str:
    """The page: one table of steps, one of the whole process."""
    whole = [whole_process() for _ in range(WHOLE_REPEATS)]  # first, while this process is small
    steps = seconds_a_step()
    least = min(steps.values())
    rows = [f"| {name} | {1e6 * value:,.1f} µs | {value / least:,.1f} |" for name, value in steps.items()]
    seconds, memory = (median(column) for column in zip(*whole, strict=True))
    tokens, stats = steps["step on tokens"], steps["step on statistics"]
    return PAGE_TEXT.format(
        steps="\n".join(rows), ratio=tokens / stats, seconds=seconds, memory=memory, machine=machine(), **SIZES
    )


def machine() -> str:
    """The machine in general words."""
    threads = os.environ.get("OPENBLAS_NUM_THREADS", "all")
    python, numpy = platform.python_version(), np.__version__
    return f"{os.cpu_count()} cores ({platform.machine()}), BLAS threads: {threads}, Python {python}, NumPy {numpy}"


if __name__ == "__main__":
    page = report()
    print(page)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(page, encoding="utf-8")
