"""The folder of finished runs: read if whole, written at once, shared where experiments share their data."""

import errno
import os
from dataclasses import replace

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.simulate import Diverged, Experiment, Trajectory, load, load_or_run
from attndyn.simulate.runs.engine_code import code_digest
from attndyn.simulate.runs.store import (
    DIVERGED,
    data_digest,
    load_run,
    shared_statistics,
)

TASK = Task([2, 1], trace=1.0, context_length=5)
SMALL = Experiment(
    TASK, Merged(2), sequences=50, scale=0.3, learning_rate=0.05, steps=12, record=5
)
OTHERS = {
    "task": Task([2, 1], trace=1.0, context_length=6),
    "model": Merged(3),
    "sequences": 51,
    "scale": 0.31,
    "learning_rate": 0.04,
    "steps": 13,
    "seed": 1,
    "scheme": "restricted",
    "whiten": True,
    "centre": True,
    "engine": "tokens",
    "record": 4,
}


@pytest.fixture
def kept(tmp_path):
    """Folder with the run of SMALL, and its file."""
    load_or_run(SMALL, tmp_path / "runs")
    (path,) = (tmp_path / "runs").iterdir()
    return path


def forbid(monkeypatch):
    monkeypatch.setattr(Experiment, "run", None)


def test_a_finished_run_is_read(kept, monkeypatch):
    assert kept.name == f"{SMALL.digest[:16]}-{code_digest(SMALL)[:8]}.npz"
    expected = SMALL.run(compiled=True)
    forbid(monkeypatch)
    again = load_or_run(SMALL, str(kept.parent))
    assert np.array_equal(again.loss, expected.loss)
    assert all(
        np.array_equal(again.weights[name], value)
        for name, value in expected.weights.items()
    )
    with pytest.raises(TypeError):  # control: a run that is not there is simulated
        load_or_run(SMALL.with_seed(1), kept.parent)


@pytest.mark.parametrize("length", [0, 100, -1])
def test_a_damaged_file_is_replaced(kept, monkeypatch, length):
    whole = kept.read_bytes()
    kept.write_bytes(whole[:length])
    assert np.array_equal(
        load_or_run(SMALL, kept.parent).loss, SMALL.run(compiled=True).loss
    )
    forbid(monkeypatch)
    assert len(load_or_run(SMALL, kept.parent).loss) == 12


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_of_other_settings_is_replaced(kept, name):
    other = load(kept).with_settings({name: "another"})
    replace(other, loss=other.loss + 1).save(kept)
    assert np.array_equal(
        load_or_run(SMALL, kept.parent).loss, SMALL.run(compiled=True).loss
    )
    assert load(kept).settings[name] == SMALL.to_dict()[name]


def test_a_run_of_other_code_is_left_alone(kept, monkeypatch):
    monkeypatch.setattr(
        "attndyn.simulate.runs.store.code_digest", lambda experiment: "0" * 64
    )
    load_or_run(SMALL, kept.parent)
    assert len(list(kept.parent.iterdir())) == 2


def test_an_interrupted_write_leaves_nothing_half(tmp_path, monkeypatch):
    def fail(*arguments, **arrays):
        raise KeyboardInterrupt

    monkeypatch.setattr("numpy.savez", fail)
    with pytest.raises(KeyboardInterrupt):
        load_or_run(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_diverges_is_kept_and_raised_each_time(tmp_path, monkeypatch):
    wild = replace(SMALL, scale=50.0, learning_rate=9.0)
    with pytest.raises(Diverged) as first:
        load_or_run(wild, tmp_path)
    kept = load_run(wild, tmp_path)
    assert len(kept.loss) == first.value.step == kept.settings[DIVERGED] < 12
    assert isinstance(load_or_run(SMALL, tmp_path), Trajectory)
    forbid(monkeypatch)
    with pytest.raises(Diverged) as again:
        load_or_run(wild, tmp_path)
    assert str(again.value) == str(first.value)
    assert np.array_equal(again.value.trajectory.loss, first.value.trajectory.loss)


def test_what_cannot_be_stored_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr("numpy.savez", full)
    with pytest.raises(OSError, match="No space left"):
        load_or_run(SMALL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def full(file, **arrays):
    file.write(b"half of it")
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


# Statistics that several experiments share


def test_experiments_that_differ_in_training_alone_share_statistics(
    tmp_path, monkeypatch
):
    expected = [replace(SMALL, scale=scale).run(compiled=True) for scale in (0.3, 0.2)]
    load_or_run(SMALL, tmp_path / "runs", tmp_path / "data")
    (path,) = (tmp_path / "data").iterdir()
    monkeypatch.setattr(
        "attndyn.simulate.runs.experiment.statistics", None
    )  # nothing is made twice
    runs = [
        load_or_run(replace(SMALL, scale=scale), tmp_path / "runs", tmp_path / "data")
        for scale in (0.3, 0.2)
    ]
    for run, other in zip(runs, expected, strict=True):
        assert np.array_equal(run.loss, other.loss)
        assert run.settings == other.settings
    with pytest.raises(TypeError):  # control: other data are other statistics
        load_or_run(SMALL.with_seed(1), tmp_path / "runs", tmp_path / "data")
    assert list((tmp_path / "data").iterdir()) == [path]


def test_what_the_data_depend_on_names_them():
    same = {
        "model": Merged(3),
        "scale": 0.31,
        "learning_rate": 0.04,
        "steps": 13,
        "scheme": "restricted",
        "record": 4,
    }
    names = {
        name: data_digest(replace(SMALL, **{name: value}))
        for name, value in OTHERS.items()
    }
    assert {name for name, digest in names.items() if digest == data_digest(SMALL)} == {
        *same,
        "engine",
    }
    no_query_token = replace(SMALL, model=Merged(2, query_token=False))
    assert data_digest(no_query_token) != data_digest(SMALL)
    assert data_digest(replace(SMALL, model=Merged(2, divisor="none"))) != data_digest(
        SMALL
    )


@pytest.mark.parametrize("length", [0, 100, -1])
def test_damaged_statistics_are_replaced(tmp_path, length):
    whole = shared_statistics(SMALL, tmp_path)
    (path,) = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:length])
    assert shared_statistics(SMALL, tmp_path).digest == whole.digest
    assert (
        shared_statistics(SMALL, tmp_path).digest == whole.digest == SMALL.source.digest
    )


def test_statistics_without_the_querys_token_are_others(tmp_path):
    without = replace(SMALL, model=Merged(2, query_token=False))
    assert data_digest(without) != data_digest(SMALL)
    assert data_digest(replace(SMALL, model=Merged(3))) == data_digest(SMALL)
    runs = [load_or_run(each, tmp_path, tmp_path / "data") for each in (SMALL, without)]
    assert not np.array_equal(runs[0].loss, runs[1].loss)
    assert np.array_equal(runs[1].loss, without.run(compiled=True).loss)
