"""The command that sweeps: what it prints, and every mistake as one line with nothing overwritten."""

import subprocess
import sys
from pathlib import Path

import pytest

from attndyn.cli import main
from attndyn.simulate import Sweep, load_sweep

SPEC = """
[task]
eigenvalues = [2, 1]
trace = 1.0
context_length = 5

[model]
model = "merged"
heads = 2

[run]
sequences = 40
learning_rate = 0.05
steps = 12
engine = "tokens"

[grid]
scale = [0.3, 50]
"""


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "sweep.toml"
    path.write_text(SPEC)
    return path


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_sweep_from_a_file(tmp_path, spec, capfd):
    out = tmp_path / "out"
    assert main(["sweep", str(spec), "--out", str(out), "--workers", "1"]) == 0
    shown = capfd.readouterr()
    assert shown.out == f"{out}: 2 runs, 1 of them diverged; 2 simulated now\n"
    assert shown.err == ""
    assert load_sweep(out).status.values.tolist() == ["finished", "diverged"]
    before = everything(tmp_path)
    assert main(["sweep", str(spec), "--out", str(out)]) == 2
    assert capfd.readouterr().err == (
        f"attndyn: {out} holds this sweep already: resume it (--resume) to make what is missing\n"
    )
    assert main(["sweep", str(spec), "--out", str(out), "--resume"]) == 0
    assert (
        capfd.readouterr().out
        == f"{out}: 2 runs, 1 of them diverged; 0 simulated now\n"
    )
    spec.write_text(SPEC.replace("steps = 12", "steps = 13"))
    assert main(["sweep", str(spec), "--out", str(out), "--resume"]) == 2
    assert (
        capfd.readouterr().err
        == f"attndyn: {out} holds another sweep: choose another folder\n"
    )
    spec.write_text(SPEC)
    assert everything(tmp_path) == before


MISTAKES = {
    "unknown field": (
        "scale = [0.3, 50]",
        "scales = [0.3, 50]",
        "a sweep has no field scales: allowed are ",
    ),
    "unknown field of the task": (
        "trace = 1.0",
        "trase = 1.0",
        "[task] of a sweep has no field trase: allowed are ",
    ),
    "unknown table": (
        "[grid]",
        "[grids]",
        "Sweep has no field grids: allowed are grid, model, run, task, together",
    ),
    "missing table": (
        '[model]\nmodel = "merged"\nheads = 2',
        "",
        "Sweep needs the field model",
    ),
    "empty grid": (
        "scale = [0.3, 50]",
        "scale = []",
        "scale must be a list of at least one value to vary it, an empty",
    ),
    "no grid": (
        "[grid]\nscale = [0.3, 50]",
        "",
        "a sweep must vary something: give [grid] at least one field",
    ),
    "out of range": (
        "50]",
        "0.1, -1]",
        "scale = -1: scale must be positive and finite, not -1",
    ),
    "no TOML": (
        "[grid]",
        "[grid",
        "Expected ']' at the end of a table declaration (at line 17, column 6)",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_in_the_file_is_one_line(tmp_path, spec, capfd, name):
    old, new, reason = MISTAKES[name]
    assert old in SPEC
    spec.write_text(SPEC.replace(old, new))
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out")]) == 2
    errors = capfd.readouterr().err
    assert errors.startswith(f"attndyn: {spec}: {reason}")
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


OPTIONS = {
    "executor": (
        ["--executor", "slurm"],
        "executor must be one of local, dask, mpi, not 'slurm'",
    ),
    "no scheduler": (
        ["--executor", "dask"],
        "needs the address of its scheduler: tcp://HOST:PORT",
    ),
    "scheduler of nothing": (
        ["--scheduler", "tcp://x:1"],
        "needs the address of its scheduler",
    ),
    "workers of dask": (
        ["--executor", "dask", "--scheduler", "tcp://x:1", "--workers", "2"],
        "dask brings its own",
    ),
    "workers of mpi": (["--executor", "mpi", "--workers", "2"], "mpi brings its own"),
}


@pytest.mark.parametrize("name", OPTIONS)
def test_options_that_do_not_fit_are_one_line(tmp_path, spec, capfd, name):
    options, reason = OPTIONS[name]
    assert main(["sweep", str(spec), "--out", str(tmp_path / "out"), *options]) == 2
    errors = capfd.readouterr().err
    assert reason in errors
    assert errors.count("\n") == 1


def test_files_that_are_not_there_are_named(tmp_path, spec, capfd):
    assert (
        main(["sweep", str(tmp_path / "no.toml"), "--out", str(tmp_path / "out")]) == 2
    )
    assert (
        capfd.readouterr().err
        == f"attndyn: cannot read or write {tmp_path / 'no.toml'}: No such file or directory\n"
    )
    assert main(["sweep", str(spec), "--out", str(spec)]) == 2
    assert (
        capfd.readouterr().err
        == f"attndyn: cannot read or write {spec}: Not a directory\n"
    )
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    assert main(["sweep", str(spec), "--out", str(tmp_path / "mine")]) == 2
    assert (
        "is not empty and holds no sweep: choose another folder"
        in capfd.readouterr().err
    )
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_the_first_process_of_mpi_reports_and_the_others_serve(
    tmp_path, spec, capsys, monkeypatch
):
    from contextlib import nullcontext

    monkeypatch.setattr("attndyn.runtime.executors.mpi_pool", lambda: nullcontext(None))
    assert (
        main(["sweep", str(spec), "--out", str(tmp_path / "out"), "--executor", "mpi"])
        == 0
    )
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "out").exists()


def test_the_example_is_a_sweep():
    path = Path(__file__).parents[2] / "examples" / "sweep.toml"
    sweep = Sweep.from_toml(path.read_text(encoding="utf-8"))
    assert len(sweep.experiments()) > 1


def test_a_sweep_needs_no_xarray(tmp_path, spec, without_progress):
    code = (
        "import sys; sys.modules['xarray'] = sys.modules['distributed'] = sys.modules['mpi4py'] = None;"
        "from attndyn.cli import main;"
        f"sys.exit(main(['sweep', {str(spec)!r}, '--out', {str(tmp_path / 'out')!r}, '--workers', '1']))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (run.returncode, without_progress(run.stderr)) == (0, "")
