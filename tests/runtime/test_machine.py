"""What does not fit in memory is refused before it is asked for, and says what to do instead."""

import os
import platform
import subprocess
import sys
import time

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.compare.ledger import verification as ledger
from attndyn.runtime import machine
from attndyn.runtime.executors import local_pool
from attndyn.runtime.machine import GIB, available_memory, refuse_too_large
from attndyn.simulate import flow, initial_weights, objective, sample, statistics, train
from attndyn.simulate.sufficient_statistics.accumulation import largest_memory
from attndyn.simulate.sufficient_statistics.quadratic_loss import feature_count
from attndyn.theory import feature_moments, fixed_points, population, time_course

MODEL = Merged(heads=2)
FORTY = Task(1 / np.arange(1, 41), context_length=80)
SMALL = Task([2, 1], context_length=5)


def test_memory_is_what_linux_says(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 100 kB\nMemAvailable: 24 kB\n")
    monkeypatch.setattr(machine, "_MEMINFO", meminfo)
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path / "none")
    assert available_memory() == 24 * 1024


def test_a_container_may_have_less(tmp_path, monkeypatch):
    for name, text in {
        "max": "5000",
        "current": "4000",
        "stat": "anon 100\ninactive_file 300\n",
    }.items():
        (tmp_path / f"memory.{name}").write_text(text)
    monkeypatch.setattr(machine, "_CONTROL_GROUP", tmp_path)
    assert available_memory() == 1300
    (tmp_path / "memory.max").write_text("max\n")
    assert available_memory() > 1300


def test_a_system_that_says_nothing_is_asked_for_its_pages(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "_MEMINFO", tmp_path / "none")
    assert available_memory() > 1e8


def test_the_smaller_of_limit_and_machine_counts(monkeypatch):
    monkeypatch.setattr(machine, "available_memory", lambda: 2.0 * GIB)
    refuse_too_large("a table", 1.9 * GIB, "wait", limit=4.0 * GIB)
    with pytest.raises(
        MemoryError,
        match="a table needs 3 GiB, more than the 2 GiB that this machine has left: wait",
    ):
        refuse_too_large("a table", 3.0 * GIB, "wait", limit=4.0 * GIB)
    with pytest.raises(MemoryError, match="more than the limit of 1 GiB"):
        refuse_too_large("a table", 1.5 * GIB, "wait", limit=1.0 * GIB)


def test_statistics_of_forty_dimensions_are_refused_with_a_way_out():
    with pytest.raises(
        MemoryError,
        match=r'D = 40, 34440 features, .* limit of 4 GiB: pass block="restricted"',
    ):
        statistics(sample(FORTY, 20_000), MODEL)


def test_the_restricted_block_of_forty_dimensions_takes_twenty_megabytes():
    assert statistics(
        sample(FORTY, 300), MODEL, block="restricted"
    ).S.nbytes / 1e6 == pytest.approx(20, abs=0.6)


@pytest.mark.parametrize(
    ("dimension", "block"), [(1, "full"), (4, "full"), (7, "full"), (3, "restricted")]
)
def test_features_are_counted_as_they_are(dimension, block):
    task = Task(np.ones(dimension), context_length=2)
    assert statistics(sample(task, 3), MODEL, block).b.size == feature_count(
        dimension, block
    )


def test_the_estimate_bounds_what_is_really_used():
    import tracemalloc

    task = Task(np.ones(12), context_length=3)
    data = sample(task, 5000)
    tracemalloc.start()
    try:
        statistics(data, MODEL)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    estimate = largest_memory(data, feature_count(12, "full"))
    assert 0.5 * estimate < peak < estimate


def test_workers_are_counted():
    from concurrent.futures import ThreadPoolExecutor

    data = sample(Task(np.ones(12), context_length=3), 200)
    limit = 1.5 * largest_memory(data, feature_count(12, "full")) / GIB
    assert statistics(data, MODEL, limit_gib=limit).sequences == 200
    with (
        ThreadPoolExecutor(2) as pool,
        pytest.raises(MemoryError, match=r"in 2 process\(es\)"),
    ):
        statistics(data, MODEL, executor=pool, limit_gib=limit)


@pytest.mark.parametrize("limit", [0, -1.0, float("nan"), True, "4"])
def test_a_limit_is_a_positive_number(limit):
    with pytest.raises(ValueError, match="limit_gib must be a positive number of GiB"):
        statistics(sample(SMALL, 3), MODEL, limit_gib=limit)


def test_a_limit_can_be_lifted():
    assert statistics(sample(SMALL, 3), MODEL, limit_gib=np.inf).sequences == 3


def _threads():
    """Threads of each library of linear algebra that is loaded here."""
    from threadpoolctl import threadpool_info

    np.linalg.inv(np.eye(3))
    return [library["num_threads"] for library in threadpool_info()], os.environ.get(
        "OPENBLAS_NUM_THREADS"
    )


def test_workers_use_one_thread_each_whatever_starts_them(monkeypatch):
    for name in machine.THREADS:
        monkeypatch.delenv(name, raising=False)
    with local_pool(2) as pool:
        found = [pool.submit(_threads).result() for _ in range(2)]
    assert all(counts and set(counts) == {1} for counts, _ in found)
    assert "OPENBLAS_NUM_THREADS" not in os.environ


def test_workers_use_as_many_threads_as_the_user_says(monkeypatch):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "2")
    with local_pool(1) as pool:
        assert pool.submit(_threads).result()[1] == "2"


def test_linear_algebra_can_be_held_to_one_thread():
    from threadpoolctl import threadpool_info, threadpool_limits

    with threadpool_limits(2):
        before = [library["num_threads"] for library in threadpool_info()]
        assert 2 in before  # control
        with machine.one_thread():
            assert {library["num_threads"] for library in threadpool_info()} == {1}
        assert [library["num_threads"] for library in threadpool_info()][
            : len(before)
        ] == before


def test_libraries_that_are_loaded_later_are_held_too():
    code = (
        "from attndyn.runtime.machine import one_thread\n"
        "with one_thread():\n"
        "    import scipy.integrate, threadpoolctl\n"
        "    print(sorted(library['num_threads'] for library in threadpoolctl.threadpool_info()))"
    )
    free = {
        name: value for name, value in os.environ.items() if name not in machine.THREADS
    }
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=free,
        capture_output=True,
        text=True,
        check=True,
    )
    assert set(done.stdout.strip("[] \n").split(", ")) == {"1"}


def test_a_claim_that_is_checked_here_uses_one_thread(monkeypatch):
    from threadpoolctl import threadpool_info, threadpool_limits

    seen, verdict_of = [], ledger._verdict

    def watched(task):
        seen.extend(library["num_threads"] for library in threadpool_info())
        return verdict_of(task)

    monkeypatch.setattr(ledger, "_verdict", watched)
    with threadpool_limits(2):
        assert ledger.verify(["fixed_points.count"], workers=1).holds
    assert seen
    assert set(seen) == {1}


def _many_heads():
    return Merged(heads=10**6)


def _weights(model, task=SMALL):
    return initial_weights(model, task, 0.1, scheme="gaussian")


TOO_LARGE = {
    "dimension": (
        lambda: Task(np.ones(10**6), context_length=3),
        "a task of dimension 1000000",
    ),
    "moments": (
        lambda: feature_moments(FORTY, MODEL),
        "S of all 34440 features of dimension 40",
    ),
    "weights": (
        lambda: _weights(_many_heads(), Task(np.ones(500), context_length=3)),
        "weights of a model",
    ),
    "tokens": (lambda: sample(SMALL, 10**10).tokens, "drawing sequences of 6 tokens"),
    "a chunk": (
        lambda: statistics(sample(Task([1], context_length=10**9), 9), MODEL),
        "a shorter context",
    ),
    "records": (
        lambda: train(
            MODEL,
            statistics(sample(SMALL, 9), MODEL),
            _weights(MODEL),
            learning_rate=0.1,
            steps=10**11,
            record=10**10,
        ),
        "a run of 100000000000 steps that stores its weights 11 times",
    ),
    "flow times": (
        lambda: flow(
            Merged(10**5),
            statistics(sample(SMALL, 9), MODEL),
            _weights(Merged(10**5)),
            np.arange(10**5),
        ),
        "the weights at 100000 flow times",
    ),
}


@pytest.mark.parametrize(("attempt", "message"), TOO_LARGE.values(), ids=TOO_LARGE)
def test_what_does_not_fit_is_refused_at_once(attempt, message):
    begin = time.process_time()
    with pytest.raises(MemoryError, match=message):
        attempt()
    assert time.process_time() - begin < 5


def test_losses_that_nobody_can_wait_for_are_refused():
    data = sample(Task([2, 1], context_length="1..100000"), 5)
    with pytest.raises(ValueError, match=r"every loss would read .* pass statistics"):
        objective(Merged(heads=2, softmax=True), data)
    assert objective(MODEL, sample(SMALL, 5)) is not None


def test_many_lengths_and_many_heads_are_answered():
    task, heads = Task([2, 1], context_length="1..100000"), 10**6
    lengths = np.arange(1, 100_001)
    moments = population(task, MODEL)
    expected = (
        np.mean((lengths + 1) / lengths) * 4 + np.mean(1 / lengths) * 3 * 2
    )  # λ = 2: (1 + 1/n) λ² + tr Λ λ/n
    assert moments.a[0] == pytest.approx(expected, rel=1e-12)
    best = next(iter(fixed_points(task, Separate(heads=heads))))
    assert best.subset == (1, 2)
    assert time_course(task, Separate(heads=heads), [1e4], 0.1).loss[
        0
    ] == pytest.approx(best.loss, rel=1e-9)
    assert statistics(sample(task, 2), MODEL).sequences == 2


@pytest.mark.parametrize(
    ("length", "message"),
    [
        ("1..1000001", "averages over more than 1000000 lengths"),
        ("1.." + "9" * 3000, "averages over more than 1000000 lengths"),
        (10**400, "at most 9007199254740992"),
        (str(2**53 + 1), "at most 9007199254740992"),
    ],
)
def test_lengths_beyond_reason_are_refused(length, message):
    with pytest.raises(ValueError, match=message):
        Task([1], context_length=length)
    assert Task([1], context_length=2**53).context_length == 2**53


def test_sums_of_statistics_begin_with_nothing():
    first, second = (statistics(sample(SMALL, 40, seed=seed), MODEL) for seed in (0, 1))
    assert sum([first, second]).digest == (first + second).digest
    assert sum([first]) is first
    for other in (1, 0.5, "0", None):
        with pytest.raises(TypeError):
            other + first


FAULTS = """
import resource
import numpy as np
from attndyn.runtime.machine import keep_freed_memory

def pages():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        arrays = [np.ones(60_000) for _ in range(4)]
        del arrays
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages(), pages(), *[keep_freed_memory(), pages(), pages()][1:])
"""


def _pages_of_rounds(environment):
    """Pages fetched by 20 rounds of arrays, before and after memory is kept, each once the process has warmed up."""
    done = subprocess.run(
        [sys.executable, "-c", FAULTS],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    _, without, _, kept = map(int, done.stdout.split())
    return without, kept


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="elsewhere nothing changes"
)
def test_freed_memory_is_kept_for_what_is_asked_for_next():
    # Dask leaves limits of its own in the environment of a process that has started a cluster, as tests do.
    environment = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("MALLOC_")
    }
    without, kept = _pages_of_rounds(environment)
    assert kept < 20  # less than a page for each round of 469
    assert without > 20 * 100  # control: they come back from the system


@pytest.mark.skipif(
    platform.libc_ver()[0] != "glibc", reason="elsewhere nothing changes"
)
def test_limits_of_the_environment_are_left_as_they_are():
    limits = {"MALLOC_TRIM_THRESHOLD_": "65536"}
    without, kept = _pages_of_rounds(os.environ | limits)
    assert kept == without > 20 * 100
