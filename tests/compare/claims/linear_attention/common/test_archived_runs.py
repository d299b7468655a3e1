"""A run that is made once goes on where it was ended, and what is kept of it says what it is."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from attndyn import Separate, Task
from attndyn.compare.claims.linear_attention.common import archived_runs as full_size
from attndyn.compare.claims.linear_attention.common.archived_runs import (
    archive_run,
    archived_file,
    losses_of,
    read_archived_run,
    run_to_completion,
)
from attndyn.compare.claims.linear_attention.common.experiments import softmax_full_size
from attndyn.simulate import Experiment
from attndyn.simulate.runs.store import load_run, run_path

SMALL = Experiment(
    Task([2, 1], context_length=4),
    Separate(2, 1, softmax=True),
    sequences=60,
    scale=0.5,
    learning_rate=0.1,
    steps=400,
    engine="tokens",
)


@pytest.fixture
def ended(tmp_path, monkeypatch):
    """A folder with the checkpoint of a run that was interrupted after 150 evaluations."""
    path = run_path(SMALL, tmp_path).with_suffix(".part")
    objective = import_module(
        "attndyn.simulate.attention.objectives"
    )  # a function of the same name hides it
    evaluate, count = objective.token_loss, 0

    def interrupted(*arguments):
        nonlocal count
        count += 1
        if count > 150:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(objective, "token_loss", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run_to_completion(SMALL, tmp_path)
    assert path.exists()
    assert load_run(SMALL, tmp_path) is None
    return tmp_path


def test_an_interrupted_run_goes_on_and_is_the_same(ended, tmp_path_factory):
    whole = run_to_completion(SMALL, tmp_path_factory.mktemp("other"))
    resumed = run_to_completion(SMALL, ended)
    assert np.array_equal(resumed.loss, whole.loss)
    assert [path.suffix for path in ended.iterdir()] == [
        ".npz"
    ]  # no checkpoint is left


def test_a_finished_run_is_read(tmp_path, monkeypatch):
    first = run_to_completion(SMALL, tmp_path)
    monkeypatch.setattr(Experiment, "run", None)
    assert np.array_equal(run_to_completion(SMALL, tmp_path).loss, first.loss)


def test_what_is_kept_says_what_it_is(tmp_path):
    run = run_to_completion(SMALL, tmp_path)
    kept = read_archived_run(archive_run(run, tmp_path / "kept.npz"))
    assert kept.experiment == SMALL.to_dict()
    assert np.array_equal(kept.loss, run.loss[kept.steps.astype(int)])
    assert (kept.steps[0], kept.steps[-1]) == (0, SMALL.steps - 1)


def test_only_the_run_of_the_experiment_itself_is_taken(tmp_path, monkeypatch):
    path = archive_run(run_to_completion(SMALL, tmp_path), tmp_path / "kept.npz")
    monkeypatch.setattr(full_size, "archived_file", lambda name: path)
    steps, _ = losses_of(SMALL, "kept", tmp_path / "nowhere")
    assert len(steps) < SMALL.steps
    longer = replace(SMALL, steps=410)
    assert len(losses_of(longer, "kept", tmp_path)[0]) == 410


def test_something_else_is_no_kept_run(tmp_path):
    (tmp_path / "kept.npz").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="not a whole npz file"):
        read_archived_run(tmp_path / "kept.npz")


def test_the_package_keeps_the_softmax_run_of_seed_zero():
    kept = read_archived_run(archived_file("softmax_separate"))
    assert kept.experiment == softmax_full_size(0).to_dict()
    assert kept.steps[-1] == softmax_full_size(0).steps - 1
