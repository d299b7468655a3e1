"""The folder of a sweep: what it holds, what it refuses, what resuming makes, and what is read from it."""

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import attndyn
from attndyn.compare import effective_map, validity
from attndyn.simulate import Adam, Experiment, Sweep, load_sweep, run_sweep, statistics
from attndyn.simulate.runs.engine_code import code_digest
from attndyn.simulate.runs.store import run_path
from attndyn.simulate.sweep.folder import read_manifest

RUN = {"sequences": 40, "learning_rate": 0.05, "steps": 12, "scale": 0.3}
SMALL = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 5},
    {"model": "merged", "heads": 2},
    RUN,
    {"seed": [0, 1, 2]},
)
SWEEP = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0},
    {"model": "separate"},
    {name: value for name, value in RUN.items() if name != "scale"},
    {"context_length": [5, 7], "scale": [0.3, 0.1]},
    [{"heads": [2, 3, 4], "rank": [1, 2, 1]}],
)


def make(sweep, folder, **options):
    with ThreadPoolExecutor(1) as pool:
        return run_sweep(sweep, folder, pool, **options)


def changed(**sections):
    return Sweep.from_dict(SMALL.to_dict() | sections)


# The folder


def test_the_folder_holds_a_manifest_and_one_file_a_run(tmp_path):
    assert make(SMALL, tmp_path / "out") == (3, 3, 0)
    manifest = read_manifest(tmp_path / "out")
    assert (manifest["digest"], manifest["code"]) == (
        SMALL.digest,
        [code_digest(SMALL.experiments()[0])],
    )
    assert Sweep.from_dict(manifest["sweep"]) == SMALL
    assert manifest["versions"]["attndyn"] == attndyn.__version__
    names = {path.name for path in (tmp_path / "out" / "runs").iterdir()}
    assert names == {run_path(each, "").name for each in SMALL.experiments()}
    assert (
        list((tmp_path / "out" / "data").iterdir()) == []
    )  # every seed has data of its own


def test_resuming_makes_only_what_is_missing(tmp_path, monkeypatch):
    make(SMALL, tmp_path)
    first, second, third = (
        run_path(each, tmp_path / "runs") for each in SMALL.experiments()
    )
    before = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (first, second, third)
    }
    second.unlink()
    third.write_bytes(before[third][0][:-10])  # half a file is as good as none
    (tmp_path / "runs" / f".{first.name}.abc").write_bytes(b"left behind")
    assert make(SMALL, tmp_path, resume=True) == (3, 2, 0)
    after = {
        path: (path.read_bytes(), path.stat().st_mtime_ns)
        for path in (tmp_path / "runs").iterdir()
    }
    assert {path: held[0] for path, held in after.items()} == {
        path: held[0] for path, held in before.items()
    }
    assert after[first] == before[first]
    monkeypatch.setattr(Experiment, "run", None)
    assert make(SMALL, tmp_path, resume=True) == (3, 0, 0)


def test_resume_begins_a_sweep_too(tmp_path):
    assert make(SMALL, tmp_path / "new", resume=True) == (3, 3, 0)


def everything(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_folder_that_holds_anything_else_is_refused(tmp_path, monkeypatch):
    make(SMALL, tmp_path / "out")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("no folder")
    before = everything(tmp_path)
    other = changed(grid={"seed": [0, 1]})
    for folder, sweep, resume, reason in (
        ("out", SMALL, False, "holds this sweep already: resume it"),
        ("out", other, False, "holds another sweep: choose another folder"),
        ("out", other, True, "holds another sweep"),
        (
            "notes",
            SMALL,
            False,
            "is not empty and holds no sweep: choose another folder",
        ),
        ("notes", SMALL, True, "is not empty and holds no sweep"),
    ):
        with pytest.raises(ValueError, match=reason):
            make(sweep, tmp_path / folder, resume=resume)
    with pytest.raises(NotADirectoryError):
        make(SMALL, tmp_path / "file")
    monkeypatch.setattr(
        "attndyn.simulate.sweep.folder.code_digest", lambda experiment: "0" * 64
    )
    with pytest.raises(
        ValueError,
        match=f"begun with other code .attndyn {attndyn.__version__}.: finish it there",
    ):
        make(SMALL, tmp_path / "out", resume=True)
    assert everything(tmp_path) == before


def test_a_second_process_is_told_that_the_folder_is_taken(tmp_path):
    """While the first one works, whether it resumes and whichever sweep it brings; then the folder is free."""
    begin = "import sys; from attndyn.simulate import Sweep\n"
    begin += "from attndyn.simulate.sweep.folder import open_sweep_folder\n"
    begin += "sweep = Sweep.from_toml(sys.argv[2])\n"
    hold = "with open_sweep_folder(sys.argv[1], sweep, True): print('taken', flush=True); input()"
    command = [sys.executable, "-c", begin + hold, str(tmp_path), SMALL.to_toml()]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as first:
        assert first.stdout.readline() == "taken\n"
        before = everything(tmp_path)
        for sweep, resume in (
            (SMALL, False),
            (SMALL, True),
            (changed(grid={"seed": [0, 1]}), False),
        ):
            with pytest.raises(
                ValueError,
                match=r"another process sweeps into .* now: wait until it has ended",
            ):
                make(sweep, tmp_path, resume=resume)
        assert everything(tmp_path) == before
        first.communicate("\n", timeout=60)
    assert make(SMALL, tmp_path, resume=True) == (3, 3, 0)
    assert not (tmp_path / ".sweep.lock").exists()


def test_a_process_that_is_killed_leaves_no_lock(tmp_path):
    (tmp_path / ".sweep.lock").touch()
    assert make(SMALL, tmp_path, resume=True) == (3, 3, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "data",
        "runs",
        "sweep.json",
    ]


def test_of_many_processes_that_begin_at_once_one_sweeps(tmp_path):
    """The others say why; nothing is made twice, and nothing is lost."""
    call = "import sys; from attndyn.simulate import Sweep, run_sweep\n"
    call += "print(run_sweep(Sweep.from_toml(sys.argv[2]), sys.argv[1], workers=1).simulated)"
    command = [sys.executable, "-c", call, str(tmp_path / "out"), SMALL.to_toml()]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(4)]
    said = [process.communicate(timeout=120) for process in processes]
    assert [out for out, _ in said if out] == ["3\n"]
    reasons = [error.strip().splitlines()[-1] for out, error in said if not out]
    known = ("another process sweeps into", "holds this sweep already")
    assert [
        reason for reason in reasons if not any(words in reason for words in known)
    ] == []
    assert len(list((tmp_path / "out" / "runs").iterdir())) == 3


def test_runs_that_share_data_share_its_statistics(tmp_path, monkeypatch):
    run = {name: value for name, value in RUN.items() if name != "scale"}
    sweep = changed(run=run, grid={"scale": [0.1, 0.2, 0.3], "seed": [0, 1]})
    made = []
    monkeypatch.setattr("attndyn.simulate.runs.experiment.statistics", counting(made))
    make(sweep, tmp_path)
    assert len(made) == len(list((tmp_path / "data").iterdir())) == 2
    for each in sweep.experiments():
        assert np.array_equal(
            each.run(compiled=True).loss,
            np.load(run_path(each, tmp_path / "runs"))["loss"],
        )


def counting(made):
    def make_statistics(*arguments):
        made.append(arguments)
        return statistics(*arguments)

    return make_statistics


# What is read


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    make(SWEEP, folder)
    return load_sweep(folder)


def test_the_labels_are_those_of_the_sweep(found):
    assert found.loss.dims == ("context_length", "scale", "heads", "step")
    assert found.final_loss.dims == ("context_length", "scale", "heads")
    assert found.coefficients.dims == (
        "context_length",
        "scale",
        "heads",
        "weight_step",
        "direction",
    )
    assert found.context_length.values.tolist() == [5, 7]
    assert found["rank"].dims == ("heads",)
    assert found["rank"].values.tolist() == [1, 2, 1]
    assert found.direction.values.tolist() == [1, 2]
    np.testing.assert_allclose(found.flow_time, 0.1 * np.arange(12))
    assert Sweep.from_json(found.attrs["sweep"]) == SWEEP
    assert (found.attrs["digest"], found.attrs["code"]) == (
        SWEEP.digest,
        code_digest(SWEEP.experiments()[0]),
    )
    assert [each["attndyn"] for each in json.loads(found.attrs["versions"])] == [
        attndyn.__version__
    ]


def test_every_number_is_where_its_labels_say(found):
    for each in SWEEP.experiments():
        at = {
            "context_length": each.task.context_length,
            "scale": each.scale,
            "heads": each.model.head_count,
        }
        here, run = found.sel(at), each.run(compiled=True)
        assert np.array_equal(here.loss, run.loss)
        assert np.array_equal(here.gradient_norm, run.gradient_norm)
        assert float(here.final_loss) == run.loss[-1]
        assert (str(here.status.values), str(here.digest.values)) == (
            "finished",
            each.digest,
        )
        assert int(here["rank"]) == each.model.rank
        maps = [effective_map(each.model, run.stored_weights(k)) for k in range(13)]
        M = np.array(maps)
        np.testing.assert_allclose(here.coefficients, M[:, [0, 1], [0, 1]], atol=1e-15)


def test_coefficients_stand_on_the_eigenvectors_by_decreasing_eigenvalue(tmp_path):
    basis = np.linalg.qr(np.random.default_rng(0).standard_normal((2, 2)))[0]
    Λ = basis @ np.diag([1.0, 3.0]) @ basis.T
    run = RUN | {"scheme": "aligned", "scale": 0.5}
    sweep = changed(task={"covariance": (Λ + Λ.T) / 2, "context_length": 5}, run=run)
    make(sweep, tmp_path)
    start = load_sweep(tmp_path).coefficients.sel(seed=0, weight_step=0)
    np.testing.assert_allclose(start, 0.5 * np.sqrt(2) * 0.5 * np.ones(2))


def test_runs_of_different_lengths_end_in_nan(tmp_path):
    run = {name: value for name, value in RUN.items() if name != "steps"}
    tasks = [{"eigenvalues": [[2, 1], [3, 2, 1]], "record": [4, 5]}]
    sweep = changed(
        task={"trace": 1.0, "context_length": 5},
        run=run,
        grid={"steps": [6, 12]},
        together=tasks,
    )
    make(sweep, tmp_path)
    found = load_sweep(tmp_path)
    assert found.eigenvalues.values.tolist() == ["[2, 1]", "[3, 2, 1]"]
    short = found.sel(steps=6, eigenvalues="[2, 1]")
    assert np.isfinite(short.loss).values.tolist() == [True] * 6 + [False] * 6
    assert found.weight_step.values.tolist() == [0, 4, 5, 6, 8, 10, 12]
    assert np.isfinite(short.coefficients.sel(direction=2)).values.tolist() == [
        True,
        True,
        False,
        True,
        *[False] * 3,
    ]
    assert not np.isfinite(short.coefficients.sel(direction=3)).any()
    assert np.isfinite(found.final_loss).all()


def test_steps_may_be_thinned(found, tmp_path):
    make(SMALL, tmp_path)
    whole, some = load_sweep(tmp_path), load_sweep(tmp_path, every=5)
    assert some.step.values.tolist() == [0, 5, 10]
    assert np.array_equal(some.loss, whole.loss[..., ::5])
    assert np.array_equal(some.final_loss, whole.final_loss)
    for wrong in (0, 1.5, True):
        with pytest.raises(ValueError, match="every must be a whole number of steps"):
            load_sweep(tmp_path, wrong)


def test_each_learning_rate_has_its_flow_time(tmp_path):
    run = {name: value for name, value in RUN.items() if name != "learning_rate"}
    sweep = changed(run=run, grid={"seed": [0], "learning_rate": [0.01, 0.02]})
    make(sweep, tmp_path)
    flow_time = load_sweep(tmp_path).flow_time
    assert flow_time.dims == ("learning_rate", "step")
    np.testing.assert_allclose(flow_time.sel(learning_rate=0.02), 0.04 * np.arange(12))


def test_a_sweep_over_optimizers_has_no_flow_time(tmp_path):
    run = {"batch": 8, "scale": 0.3, "steps": 6}
    sweep = Sweep(
        {"eigenvalues": [2, 1], "context_length": 5},
        {"model": "merged", "heads": 2},
        run,
        {"optimizer": [Adam(0.01), Adam(0.02)], "seed": [0, 1]},
    )
    summary = run_sweep(sweep, tmp_path, workers=1)
    assert (summary.runs, summary.diverged) == (4, 0)
    found = load_sweep(tmp_path)
    assert "flow_time" not in found.coords
    assert found.loss.dims == ("optimizer", "seed", "step")
    label = json.dumps({"name": "adam", "learning_rate": 0.02})
    by_hand = sweep.experiments()[3].run().loss
    assert np.array_equal(found.loss.sel(optimizer=label, seed=1), by_hand)
    with pytest.raises(ValueError, match="this sweep names an optimizer"):
        validity(found, "exit_time")


def test_a_sweep_with_frozen_weights_has_no_map_of_validity(tmp_path):
    sweep = changed(run=RUN | {"frozen": ["value"]}, grid={"seed": [0, 1]})
    make(sweep, tmp_path)
    with pytest.raises(ValueError, match="this sweep has frozen ones"):
        validity(load_sweep(tmp_path), "exit_time")


def test_runs_that_diverged_or_are_missing_are_told_apart(tmp_path):
    run = {name: value for name, value in RUN.items() if name != "scale"}
    sweep = changed(run=run, grid={"scale": [0.1, 0.2, 50.0]})
    assert make(sweep, tmp_path) == (3, 3, 1)
    assert make(sweep, tmp_path, resume=True) == (3, 0, 1)
    run_path(sweep.experiments()[1], tmp_path / "runs").unlink()
    found = load_sweep(tmp_path)
    assert found.status.values.tolist() == ["finished", "missing", "diverged"]
    assert np.isfinite(found.final_loss).values.tolist() == [True, False, False]
    assert np.isfinite(found.loss).any("step").values.tolist() == [True, False, True]
    assert not np.isfinite(found.loss.sel(scale=50.0)).all()


def test_softmax_has_no_coefficients(tmp_path):
    make(changed(grid={"softmax": [False, True]}), tmp_path)
    found = load_sweep(tmp_path)
    assert np.isfinite(found.coefficients).all(
        ("weight_step", "direction")
    ).values.tolist() == [True, False]
    assert np.isfinite(found.loss).all()


@pytest.mark.parametrize(
    "content", [None, "", "{}", "[]", '{"format": "attndyn sweep 0"}']
)
def test_what_is_no_sweep_is_not_read(tmp_path, content):
    if content is not None:
        (tmp_path / "sweep.json").write_text(content)
    with pytest.raises(
        ValueError, match="holds no sweep: pass the folder that run_sweep wrote"
    ):
        load_sweep(tmp_path)


def test_without_xarray_the_reason_is_said(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(
        ValueError, match=r"xarray cannot be used .* pip install 'attndyn\[sweep\]'"
    ):
        load_sweep(tmp_path)
