"""Paths as bytes, as some systems hand them out, name the same files as text does."""

import os
from pathlib import Path

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare import reference_files, verify
from attndyn.compare.replays.recordings import read_recording
from attndyn.compare.user.modules import load_module
from attndyn.compare.user.statement_file import load_statements
from attndyn.runtime.files import (
    as_path,
    make_folder,
    read_arrays,
    write_atomically,
    write_text,
)
from attndyn.simulate import (
    Experiment,
    Sweep,
    initial_weights,
    load,
    load_or_run,
    load_sweep,
    run_sweep,
    sample,
    statistics,
    train,
)

TASK, MODEL = Task([2, 1], context_length=5), Merged(heads=1)
RUN = {"sequences": 20, "scale": 0.1, "learning_rate": 0.01, "steps": 3}


def in_bytes(path):
    return os.fsencode(path)


def test_runs_and_checkpoints(tmp_path):
    source, start = (
        statistics(sample(TASK, 20), MODEL),
        initial_weights(MODEL, TASK, 0.1, scheme="gaussian"),
    )
    checkpoint = in_bytes(tmp_path / "run.checkpoint")
    run = train(
        MODEL, source, start, learning_rate=0.01, steps=5, checkpoint=checkpoint
    )
    path = in_bytes(tmp_path / "run.npz")
    assert run.save(path) == tmp_path / "run.npz"
    np.testing.assert_array_equal(load(path).loss, run.loss)


def test_a_checkpoint_is_gone_on_from(tmp_path):
    source, start = (
        statistics(sample(TASK, 20), MODEL),
        initial_weights(MODEL, TASK, 0.1, scheme="gaussian"),
    )
    train(MODEL, source, start, learning_rate=0.01, steps=5).save(tmp_path / "other")
    with pytest.raises(ValueError, match=r"other is a checkpoint of another run"):
        train(
            MODEL,
            source,
            start,
            learning_rate=0.02,
            steps=5,
            checkpoint=in_bytes(tmp_path / "other"),
        )


def test_stores_and_sweeps(tmp_path):
    experiment = Experiment(TASK, MODEL, **RUN)
    first, again = (
        load_or_run(experiment, in_bytes(tmp_path / "runs")),
        load_or_run(experiment, tmp_path / "runs"),
    )
    np.testing.assert_array_equal(first.loss, again.loss)
    sweep = Sweep(
        {"eigenvalues": [2, 1], "context_length": 5},
        {"model": "merged", "heads": 1},
        RUN,
        {"seed": [0, 1]},
    )
    folder = in_bytes(tmp_path / "sweep")
    assert run_sweep(sweep, folder, workers=1).runs == 2
    assert load_sweep(folder).sizes["seed"] == 2


def test_files(tmp_path):
    written = write_atomically(
        in_bytes(tmp_path / "a.npz"), lambda file: np.savez(file, x=[1])
    )
    assert read_arrays(in_bytes(written))["x"].tolist() == [1]
    assert write_text(in_bytes(tmp_path / "b"), "text") == tmp_path / "b"
    assert make_folder(in_bytes(tmp_path / "c")) == tmp_path / "c"
    (tmp_path / "d.npz").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"d\.npz is not a whole npz file") as error:
        read_arrays(in_bytes(tmp_path / "d.npz"))
    assert "b'" not in str(error.value)


def test_results_and_code_of_the_user(tmp_path):
    assert verify(
        ["fixed_points.count"], out=in_bytes(tmp_path / "results"), workers=1
    ).holds
    assert verify(b"fixed_points.count", workers=1).holds
    assert (tmp_path / "results" / "verdicts").is_dir()
    (tmp_path / "mine.py").write_text("ANSWER = 42\n")
    assert load_module(in_bytes(tmp_path / "mine.py")).ANSWER == 42
    (tmp_path / "s.toml").write_text("statement = 1")
    with pytest.raises(ValueError, match=r"s\.toml: ") as error:
        load_statements(in_bytes(tmp_path / "s.toml"))
    assert "b'" not in str(error.value)


def test_recordings():
    file = reference_files()[0]
    assert read_recording(in_bytes(file)).model == read_recording(file).model
    with pytest.raises(FileNotFoundError):
        read_recording(b"absent.npz")


@pytest.mark.parametrize("path", [3, None, 1.5, ["a"]])
def test_what_names_no_file_is_refused(path):
    with pytest.raises(TypeError):
        as_path(path)
    assert as_path(b"a/b") == as_path("a/b") == as_path(Path("a/b"))
