"""Sweeps on a Dask cluster and over MPI: the same files as in one process, whoever is killed."""

import logging
import os
import re
import socket
import subprocess
import sys
import sysconfig
from contextlib import contextmanager
from pathlib import Path

import pytest

from attndyn.runtime.executors import CONNECT_SECONDS, dask_pool
from attndyn.simulate import Sweep, run_sweep

SWEEP = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 15},
    {"model": "separate", "heads": 2},
    {"sequences": 1_000, "learning_rate": 0.05, "steps": 150, "engine": "tokens"},
    {"seed": [0, 1, 2, 3, 4], "scale": [0.3, 0.2]},
)
RUNS = 10
SCRIPTS = Path(sysconfig.get_path("scripts"))


def files(folder):
    """Relative path → bytes: settings, seeds, versions and every number of every run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def finished(folder):
    return len(list((folder / "runs").glob("[!.]*.npz")))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Every file of a sweep that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    assert run_sweep(SWEEP, folder, workers=1) == (RUNS, RUNS, 0)
    return files(folder)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP.to_toml())
    return path


def sweep(spec, out, *options):
    return [
        sys.executable,
        "-m",
        "attndyn",
        "sweep",
        str(spec),
        "--out",
        str(out),
        *options,
    ]


@contextmanager
def started(*command, log=subprocess.PIPE):
    """A process that is killed in the end."""
    process = subprocess.Popen(command, stdout=log, stderr=log, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def answers(port):
    with socket.socket() as asked:
        return asked.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def cluster(folder, gate, wait_for):
    """A scheduler and its workers at the gate, every one a process of its own: (address, scheduler, workers)."""
    port = free_port()
    address, dask = f"tcp://127.0.0.1:{port}", str(SCRIPTS / "dask")
    listening = (
        dask,
        "scheduler",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
        "--no-dashboard",
    )
    single = (
        "--nthreads",
        "1",
        "--no-nanny",
        "--no-dashboard",
        "--local-directory",
        str(folder),
    )
    worker = (dask, "worker", address, *single, "--preload", str(gate.script))
    with (folder / "log").open("w") as log, started(*listening, log=log) as scheduler:
        wait_for(lambda: answers(port))
        with started(*worker, log=log) as one, started(*worker, log=log) as two:
            yield address, scheduler, [one, two]


# Dask


def test_a_local_cluster_of_processes_makes_the_same_files(tmp_path, undisturbed):
    from distributed import LocalCluster

    local = LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0"
    )
    with local, dask_pool(local.scheduler_address) as pool:
        assert run_sweep(SWEEP, tmp_path / "out", pool) == (RUNS, RUNS, 0)
    assert files(tmp_path / "out") == undisturbed


def test_killed_workers_and_a_killed_scheduler_lose_nothing_finished(
    tmp_path, spec, gate, undisturbed, wait_for, hang, without_progress
):
    out = tmp_path / "out"
    gate.allow(2, out / "runs")
    with (
        cluster(tmp_path, gate, wait_for) as (address, scheduler, workers),
        driven(spec, out, address) as driver,
    ):
        wait_for(lambda: finished(out) >= 2)
        workers[0].kill()  # the other one takes its runs over
        gate.allow(5, out / "runs")
        wait_for(lambda: finished(out) >= 5)
        assert driver.poll() is None
        scheduler.kill()
        _, errors = driver.communicate(timeout=hang)
    assert driver.returncode == 2
    line = rf"attndyn: the scheduler is gone: (\d+) of {RUNS} runs are finished and kept, resume to go on\n"
    counted = int(re.fullmatch(line, without_progress(errors))[1])
    kept = finished(out)
    assert (
        5 <= counted <= kept < RUNS
    )  # two may have begun a run each when the fifth was finished
    assert run_sweep(SWEEP, out, resume=True, workers=2) == (RUNS, RUNS - kept, 0)
    assert files(out) == undisturbed


def driven(spec, out, address):
    return started(*sweep(spec, out, "--executor", "dask", "--scheduler", address))


def test_a_scheduler_that_does_not_answer_is_one_line(tmp_path, spec, hang):
    address = f"tcp://127.0.0.1:{free_port()}"
    command = sweep(
        spec, tmp_path / "out", "--executor", "dask", "--scheduler", address
    )
    run = subprocess.run(command, capture_output=True, text=True, timeout=hang)
    assert run.returncode == 2
    line = f"attndyn: no Dask scheduler answers at {address}: Timed out trying to connect to {address} after"
    assert run.stderr == f"{line} {CONNECT_SECONDS} s\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "nonsense://x:1", "tcp://127.0.0.1:port"]
)
def test_an_address_that_is_none_is_refused(monkeypatch, address):
    monkeypatch.setattr("attndyn.runtime.executors.CONNECT_SECONDS", 0.2)
    with (
        pytest.raises(ConnectionError, match=f"no Dask scheduler answers at {address}"),
        dask_pool(address),
    ):
        pass
    assert logging.getLogger("distributed.client").level != logging.CRITICAL


# MPI


def test_mpi_makes_the_same_files(tmp_path, spec, undisturbed, hang, without_progress):
    out = tmp_path / "out"
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    allowed["PRTE_MCA_rmaps_default_mapping_policy"] = ":oversubscribe"
    command = [
        str(SCRIPTS / "mpiexec"),
        "-n",
        "3",
        *sweep(spec, out, "--executor", "mpi"),
    ]
    run = subprocess.run(
        command, capture_output=True, text=True, timeout=hang, env=os.environ | allowed
    )
    assert (run.returncode, without_progress(run.stderr)) == (0, "")
    assert run.stdout == f"{out}: {RUNS} runs; {RUNS} simulated now\n"
    assert files(out) == undisturbed


def test_one_process_of_mpi_has_nobody_to_send_runs_to(tmp_path, spec, hang):
    run = subprocess.run(
        sweep(spec, tmp_path / "out", "--executor", "mpi"),
        capture_output=True,
        text=True,
        timeout=hang,
    )
    assert (
        run.stderr
        == "attndyn: MPI gives one process: start several, as in mpiexec -n 9 attndyn sweep …\n"
    )
    assert run.returncode == 2
