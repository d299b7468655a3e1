"""Sweeps on processes, on Dask and over MPI, killed and interrupted in the middle: nothing finished is lost."""

import errno
import os
import shlex
import signal
import subprocess
import sys
from concurrent.futures import BrokenExecutor, Executor, Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from attndyn.runtime.executors import executor_named, local_pool
from attndyn.simulate import Sweep, run_sweep
from attndyn.simulate.sweep.runner import _make_run

SWEEP = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 15},
    {"model": "separate", "heads": 2},
    # Short runs: a gate says when they begin, so that none is over before it is disturbed.
    {"sequences": 100, "learning_rate": 0.05, "steps": 150, "engine": "tokens"},
    {"seed": [0, 1, 2, 3, 4], "scale": [0.3, 0.2]},
)
RUNS = 10


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Every file of a sweep that nothing has disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with local_pool(1) as pool:
        assert run_sweep(SWEEP, folder, pool) == (RUNS, RUNS, 0)
    return files(folder)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SWEEP.to_toml())
    return path


def files(folder):
    """Relative path → bytes: settings, seeds, versions and every number of every run."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def finished(folder):
    return sorted((folder / "runs").glob("[!.]*.npz"))


def alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def children(pid):
    """The worker processes that a process has started."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            parent = path.read_text().rpartition(")")[2].split()[1]
            command = (path.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(parent) == pid and b"spawn_main" in command:
            found.append(int(path.parent.name))
    return found


@pytest.fixture
def begun(gate, spec, wait_for):
    """Starts a process that sweeps, and waits until it has finished so many runs: no others begin."""

    @contextmanager
    def start(out, count, *options):
        gate.allow(count, out / "runs")
        command = [
            sys.executable,
            str(gate.script),
            "sweep",
            str(spec),
            "--out",
            str(out),
            *options,
        ]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, start_new_session=True, **pipes)
        try:
            wait_for(lambda: len(finished(out)) >= count or process.poll() is not None)
            assert process.poll() is None
            yield process
        finally:
            process.kill()
            process.communicate()

    return start


def command(spec, out, *options):
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


# Processes of this machine


def test_a_killed_worker_is_replaced_once(
    tmp_path, begun, gate, undisturbed, hang, without_progress
):
    out = tmp_path / "out"
    with begun(out, 2, "--workers", "2") as process:
        os.kill(children(process.pid)[0], signal.SIGKILL)
        gate.open()
        shown, errors = process.communicate(timeout=hang)
    assert (process.returncode, without_progress(errors)) == (0, "")
    assert shown == f"{out}: {RUNS} runs; {RUNS} simulated now\n"
    assert files(out) == undisturbed


def test_workers_killed_again_are_said_to_be_and_resuming_goes_on(
    tmp_path, spec, begun, gate, undisturbed, wait_for, hang, without_progress
):
    out = tmp_path / "out"
    with begun(out, 2, "--workers", "1") as process:
        kill_workers(process)
        gate.allow(4, out / "runs")
        wait_for(lambda: len(finished(out)) >= 4)
        kill_workers(process)
        errors = without_progress(process.communicate(timeout=hang)[1])
    kept = len(finished(out))
    assert 4 <= kept < RUNS
    assert process.returncode == 2
    assert errors.startswith("attndyn: a worker was killed, as when memory runs out: ")
    assert (
        f"{kept} of {RUNS} runs are finished and kept, resume to go on with fewer workers\n"
        in errors
    )
    assert errors.count("\n") == 1
    again = subprocess.run(
        command(spec, out, "--resume"), capture_output=True, text=True, timeout=hang
    )
    assert again.stdout == f"{out}: {RUNS} runs; {RUNS - kept} simulated now\n"
    assert files(out) == undisturbed


def kill_workers(process):
    workers = children(process.pid)
    assert workers
    for pid in workers:
        os.kill(pid, signal.SIGKILL)


def test_a_killed_driver_takes_its_workers_along_and_resuming_goes_on(
    tmp_path, begun, undisturbed, wait_for
):
    out = tmp_path / "out"
    with begun(out, 3, "--workers", "2") as process:
        workers = children(process.pid)
        process.kill()
        wait_for(lambda: not any(alive(pid) for pid in workers))
    assert len(workers) == 2
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns) for path in finished(out)
    }
    assert 3 <= len(before) < RUNS
    assert run_sweep(SWEEP, out, resume=True, workers=2) == (
        RUNS,
        RUNS - len(before),
        0,
    )
    assert all(
        (path.read_bytes(), path.stat().st_mtime_ns) == held
        for path, held in before.items()
    )
    assert files(out) == undisturbed


# Every signal raises what Ctrl-C raises, so that not each is sent both ways.
@pytest.mark.parametrize(
    ("ending", "group"),
    [
        pytest.param("interrupted", True, id="Ctrl-C to the group"),
        pytest.param("interrupted", False, id="Ctrl-C to the driver alone"),
        pytest.param("terminated", False, id="SIGTERM to the driver alone"),
        pytest.param("hung up", True, id="SIGHUP to the group"),
    ],
    indirect=["ending"],
)
def test_an_interruption_ends_at_once_with_one_line(
    tmp_path, begun, undisturbed, hang, ending, group, without_progress
):
    """A terminal sends Ctrl-C to the group."""
    out = tmp_path / "out"
    with begun(out, 2, "--workers", "2") as process:
        workers = children(process.pid)
        (os.killpg if group else os.kill)(process.pid, ending.number)
        shown, errors = process.communicate(timeout=hang)
    assert (process.returncode, shown, without_progress(errors)) == (
        ending.status,
        "",
        f"attndyn: {ending.message}\n",
    )
    assert not any(alive(pid) for pid in workers)
    kept = len(finished(out))
    assert 2 <= kept < RUNS
    here = Failing(at=0, error=None)  # no other process has to start
    assert run_sweep(SWEEP, out, here, resume=True) == (RUNS, RUNS - kept, 0)
    assert files(out) == undisturbed


@pytest.mark.usefixtures("signals_by_default")
def test_an_interruption_while_workers_start_is_one_line_too(
    tmp_path, spec, wait_for, hang
):
    out = tmp_path / "out"
    process = subprocess.Popen(
        command(spec, out), stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    wait_for(lambda: children(process.pid))
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=hang)[1] == "attndyn: interrupted\n"


def test_what_runs_in_the_background_is_not_ended_by_ctrl_c_but_by_sigterm(
    tmp_path, begun, monkeypatch, hang, without_progress
):
    """A script starts its background with Ctrl-C ignored, so that it goes on when Ctrl-C ends the script."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with begun(tmp_path / "out", 2, "--workers", "2") as process:
            os.killpg(process.pid, signal.SIGINT)
            workers = children(process.pid)
            assert len(workers) == 2
            assert all(map(alive, [process.pid, *workers]))
            os.kill(process.pid, signal.SIGTERM)
            _, errors = process.communicate(timeout=hang)
    finally:
        signal.signal(signal.SIGINT, before)
    assert (process.returncode, without_progress(errors)) == (
        143,
        "attndyn: terminated\n",
    )
    assert len(finished(tmp_path / "out")) >= 2


def test_a_full_disk_is_one_line_and_leaves_nothing_half_written(
    tmp_path, spec, undisturbed, hang
):
    out = tmp_path / "out"
    limited = f"ulimit -f 16; exec {shlex.join(command(spec, out, '--workers', '2'))}"
    full = subprocess.run(
        ["bash", "-c", limited], capture_output=True, text=True, timeout=hang
    )
    assert full.returncode == 2
    assert full.stderr.startswith(f"attndyn: cannot read or write {out}")
    assert full.stderr.endswith(
        f"File too large; 0 of {RUNS} runs are finished and kept, resume to go on\n"
    )
    assert full.stderr.count("\n") == 1
    assert set(files(out)) < set(undisturbed)  # and no temporary file
    assert run_sweep(SWEEP, out, Failing(at=0, error=None), resume=True).runs == RUNS
    assert files(out) == undisturbed


def test_a_script_without_a_main_guard_is_told_so(tmp_path, hang):
    script = tmp_path / "script.py"
    script.write_text(
        "from attndyn.simulate import Sweep, run_sweep\n"
        f"sweep = Sweep.from_json({SWEEP.to_json()!r})\n"
        f"run_sweep(sweep, {str(tmp_path / 'out')!r}, workers=1)\n"
    )
    run = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=hang
    )
    assert (
        "ValueError: no worker can start: a script calls this under if __name__ =="
        in run.stderr
    )


def test_workers_are_counted(tmp_path):
    with pytest.raises(ValueError, match="workers must be at least 1, not 0"):
        run_sweep(SWEEP, tmp_path, workers=0)


# Any executor


class Failing(Executor):
    """Runs each job at once, and fails at the given one."""

    def __init__(self, at, error):
        self.at, self.error, self.count = at, error, 0

    def submit(self, work, *arguments):
        self.count += 1
        future = Future()
        if self.count == self.at:
            future.set_exception(self.error)
        else:
            future.set_result(work(*arguments))
        return future


FAILURES = {
    "killed": (
        BrokenExecutor(),
        MemoryError,
        "a worker was killed, as when memory runs out: 3 of 10 runs are finished",
    ),
    "full": (
        OSError(errno.ENOSPC, "No space left on device", "run.npz"),
        OSError,
        "No space left on device; 3 of 10 runs are finished and kept, resume to go on: 'run.npz'",
    ),
    "lost": (
        ConnectionError("no route"),
        ConnectionError,
        "no route; 3 of 10 runs are finished and kept",
    ),
    "mistaken": (ValueError("as it is"), ValueError, "^as it is$"),
}
QUICK = Sweep(
    SWEEP.task,
    SWEEP.model,
    SWEEP.run | {"sequences": 40, "engine": "statistics"},
    SWEEP.grid,
)


@pytest.mark.parametrize("name", FAILURES)
def test_what_fails_says_how_much_is_kept(tmp_path, monkeypatch, name):
    error, kind, message = FAILURES[name]
    monkeypatch.setattr("attndyn.simulate.sweep.runner.AHEAD", 1)
    with pytest.raises(kind, match=message):
        run_sweep(
            QUICK, tmp_path, Failing(9, error)
        )  # five data sets and three runs came before
    assert len(finished(tmp_path)) == 3
    assert run_sweep(QUICK, tmp_path, Failing(0, None), resume=True) == (RUNS, 7, 0)


class Waiting(Executor):
    """Fails at the first job and keeps the others waiting."""

    def __init__(self):
        self.futures = []

    def submit(self, work, *arguments):
        self.futures.append(Future())
        if len(self.futures) == 1:
            self.futures[0].set_exception(ZeroDivisionError())
        return self.futures[-1]


def test_what_is_left_is_cancelled_after_a_failure(tmp_path):
    pool = Waiting()
    with pytest.raises(ZeroDivisionError):
        run_sweep(QUICK, tmp_path, pool)
    assert [future.cancelled() for future in pool.futures] == [
        False,
        True,
        True,
        True,
        True,
    ]


def test_an_executor_holds_only_so_many_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("attndyn.simulate.sweep.runner.AHEAD", 3)
    pool = Waiting()
    with pytest.raises(ZeroDivisionError):
        run_sweep(QUICK, tmp_path, pool)
    assert len(pool.futures) == 3


def test_a_cancelled_run_means_that_the_scheduler_is_gone(tmp_path):
    class Gone(Executor):
        def submit(self, work, *arguments):
            future = Future()
            future.cancel()
            future.set_running_or_notify_cancel()
            return future

    with pytest.raises(
        ConnectionError,
        match="the scheduler is gone: 0 of 10 runs are finished and kept, resume",
    ):
        run_sweep(QUICK, tmp_path, Gone())


def test_workers_of_other_code_or_another_disk_are_refused(tmp_path, monkeypatch):
    class Elsewhere(Failing):
        def submit(self, work, *arguments):
            (tmp_path / "there" / "sweep.json").unlink(missing_ok=True)
            return super().submit(work, *arguments)

    with pytest.raises(
        FileNotFoundError,
        match="a worker does not see this folder, which all must share",
    ):
        run_sweep(QUICK, tmp_path / "there", Elsewhere(0, None))
    monkeypatch.setattr("attndyn.simulate.sweep.runner._make_run", older)
    with pytest.raises(
        ValueError, match="a worker has other code than the process that sends it runs"
    ):
        run_sweep(QUICK, tmp_path / "here", Failing(0, None))


def older(experiment, home, code, shares):
    return _make_run(experiment, home, "0" * 64, shares)


OPTIONS = {
    "name": (
        ("slurm", None, None),
        "executor must be one of local, dask, mpi, not 'slurm'",
    ),
    "no address": (
        ("dask", None, None),
        "needs the address of its scheduler: tcp://HOST:PORT",
    ),
    "address of nothing": (
        ("local", "tcp://127.0.0.1:1", None),
        "needs the address of its scheduler",
    ),
    "workers of dask": (
        ("dask", "tcp://127.0.0.1:1", 2),
        "the number of workers is for local processes",
    ),
    "workers of mpi": (
        ("mpi", None, 2),
        "the number of workers is for local processes: mpi brings its own",
    ),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_fit_are_refused(name):
    options, reason = OPTIONS[name]
    with pytest.raises(ValueError, match=reason), executor_named(*options):
        pass


@pytest.mark.parametrize(
    ("name", "extra"), [("distributed", "dask"), ("mpi4py.MPI", "mpi")]
)
def test_a_missing_package_is_named_with_its_extra(monkeypatch, name, extra):
    monkeypatch.setitem(sys.modules, name, None)
    with (
        pytest.raises(
            ValueError,
            match=rf"{name} cannot be used .* pip install 'attndyn\[{extra}\]'",
        ),
        executor_named(extra, "tcp://127.0.0.1:1" if extra == "dask" else None),
    ):
        pass
