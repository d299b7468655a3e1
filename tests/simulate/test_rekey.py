"""Stored runs of an older format are renamed where the present code reproduces them, and stay as they are elsewhere."""

import json
from dataclasses import replace

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.simulate import (
    Adam,
    Diverged,
    Experiment,
    Sweep,
    load,
    load_or_run,
    load_sweep,
    run_sweep,
)
from attndyn.simulate.rekey import main, rekey_runs, rekey_sweep
from attndyn.simulate.runs.store import load_run, run_path

TASK = Task([2, 1], trace=1.0, context_length=5)
RUN = {"sequences": 40, "learning_rate": 0.05, "steps": 60, "scale": 0.3}
SMALL = Experiment(TASK, Merged(2), record=25, **RUN)
SWEEP = Sweep(
    {"eigenvalues": [2, 1], "trace": 1.0, "context_length": 5},
    {"model": "merged", "heads": 2},
    RUN,
    {"scheme": ["zhang2025", "gaussian"], "seed": [0, 1]},
)


def make_old(folder, experiment, **changes):
    """Store a run as an older version did: other digests, the scheme by its former name, and changes besides."""
    try:
        run = load_or_run(experiment, folder)
    except Diverged as error:
        run = error.trajectory
    if run.settings["scheme"] == "zhang2025":
        run = run.with_settings({"scheme": "published"})
    path = folder / f"{experiment.seed:016x}-{len(changes):08x}.npz"
    replace(run, **changes).save(path)
    run_path(experiment, folder).unlink()
    return path


@pytest.mark.parametrize(
    "experiment",
    [
        SMALL,
        replace(SMALL, engine="tokens", scheme="gaussian"),
        replace(SMALL, learning_rate=9.0, scale=50.0),
    ],
    ids=["statistics", "tokens", "diverged"],
)
def test_a_run_that_is_reproduced_is_renamed_and_found(
    tmp_path, monkeypatch, experiment
):
    old = make_old(tmp_path, experiment)
    losses = load(old).loss
    (outcome,) = rekey_runs(tmp_path)
    assert (outcome.refusal, outcome.now) == ("", run_path(experiment, tmp_path).name)
    assert [path.name for path in tmp_path.iterdir()] == [outcome.now]
    monkeypatch.setattr(Experiment, "run", None)  # it is read, not made again
    run = load_run(experiment, tmp_path)
    assert np.array_equal(run.loss, losses)
    assert run.settings["scheme"] == experiment.scheme
    assert rekey_runs(tmp_path) == [(outcome.now, outcome.now, "")]


REFUSED = {
    "other losses": lambda run: {"loss": run.loss * (1 + 1e-5)},
    "a start of its own": lambda run: {
        "weights": {name: value + 1e-9 for name, value in run.weights.items()}
    },
    "another rate": lambda run: {
        "settings": run.settings | {"learning_rate": 0.04},
        "learning_rate": 0.04,
    },
    "another sample": lambda run: {"settings": run.settings | {"sequences": 41}},
    "more steps": lambda run: {"settings": run.settings | {"steps": 61}},
    "an unknown engine": lambda run: {"settings": run.settings | {"engine": "flow"}},
    "no experiment": lambda run: {"settings": {}},
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_run_that_is_not_reproduced_stays_as_it_is(tmp_path, capsys, name):
    run = SMALL.run()
    old = make_old(tmp_path, SMALL, **REFUSED[name](run))
    before = old.read_bytes()
    assert main([str(tmp_path)]) == 1
    assert f"{old.name} stays as it is: " in capsys.readouterr().out
    assert (list(tmp_path.iterdir()), old.read_bytes()) == ([old], before)


def test_a_run_that_is_there_twice_stays_as_it_is(tmp_path):
    old = make_old(tmp_path, SMALL)
    load_or_run(SMALL, tmp_path)
    assert [outcome.refusal[-16:] for outcome in rekey_runs(tmp_path)] == [
        "is there already",
        "",
    ]
    assert old.exists()


def older_sweep(folder):
    """A finished sweep as an older version left it."""
    run_sweep(SWEEP, folder, workers=1)
    for experiment in SWEEP.experiments():
        path = run_path(experiment, folder / "runs")
        run = load(path)
        if experiment.scheme == "zhang2025":
            run = run.with_settings({"scheme": "published"})
        path.unlink()
        run.save(path.with_name(f"{path.name[:16]}-{0:08x}.npz"))
    manifest = json.loads((folder / "sweep.json").read_text())
    manifest |= {"format": "attndyn sweep 1", "digest": "0" * 64, "code": "0" * 64}
    manifest["sweep"]["grid"]["scheme"] = ["published", "gaussian"]
    (folder / "sweep.json").write_text(json.dumps(manifest))


def test_a_sweep_is_brought_up_to_date_and_made_no_more(tmp_path, capsys):
    older_sweep(tmp_path)
    for use in (load_sweep, lambda folder: run_sweep(SWEEP, folder, resume=True)):
        with pytest.raises(ValueError, match="of an older format: python -m attndyn"):
            use(tmp_path)
    assert main([str(tmp_path)]) == 0
    assert "4 runs, 4 of them up to date" in capsys.readouterr().out
    assert run_sweep(SWEEP, tmp_path, resume=True, workers=1) == (4, 0, 0)
    assert set(load_sweep(tmp_path).status.values.ravel()) == {"finished"}


def test_a_sweep_with_a_run_of_other_code_keeps_its_manifest(tmp_path):
    older_sweep(tmp_path)
    path = sorted((tmp_path / "runs").iterdir())[0]
    run = load(path)
    replace(run, loss=run.loss * 1.01).save(path)
    assert [outcome.name for outcome in rekey_sweep(tmp_path) if outcome.refusal] == [
        path.name
    ]
    assert "attndyn sweep 1" in (tmp_path / "sweep.json").read_text()


@pytest.mark.parametrize(
    "changes",
    [
        {"optimizer": Adam(0.01), "learning_rate": None},
        {"batch": 10, "engine": "tokens"},
    ],
    ids=["optimizer", "batch"],
)
def test_a_run_whose_middle_cannot_be_repeated_stays(tmp_path, changes):
    old = make_old(tmp_path, replace(SMALL, **changes))
    (outcome,) = rekey_runs(tmp_path)
    assert "no step in the middle of it can be repeated" in outcome.refusal
    assert old.exists()
