"""Checkpoints: an interrupted run goes on bit for bit, and another run is refused."""

import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.simulate import initial_weights, load, sample, statistics, train
from attndyn.simulate.descent import gradient_descent as descent_module

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1, scheme="gaussian")


def source(seed=0):
    return statistics(sample(TASK, 40, seed=seed), MODEL)


def same_run(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        assert np.array_equal(getattr(run, name), getattr(other, name)), name
    assert run.weights.keys() == other.weights.keys()
    for name in run.weights:
        assert np.array_equal(run.weights[name], other.weights[name]), name
    assert run.learning_rate == other.learning_rate


STEPS = 30
RULE = {
    "learning_rate": 0.05,
    "steps": STEPS,
    "record": 7,
    "compiled": False,
}  # one step at a time


def interrupted(monkeypatch, path, at, error=KeyboardInterrupt, run=None, **changes):
    """Train with a checkpoint until the objective is called the at-th time."""
    make, calls = descent_module.objective, iter(range(10**6))

    def interrupting(model, source):
        evaluate = make(model, source)

        def wrapped(weights):
            if next(calls) == at:
                raise error
            return evaluate(weights)

        return wrapped

    with monkeypatch.context() as patch:
        patch.setattr(descent_module, "objective", interrupting)
        with pytest.raises(error):
            train(
                *(run or (MODEL, source(), START)),
                checkpoint=path,
                **{**RULE, **changes},
            )


def witnesses(done):
    """How often a run of so many steps is evaluated to see that it is the same: at its first and last record."""
    return len({0, (done - 1) // RULE["record"]}) if done else 0


@pytest.mark.parametrize("at", [0, 1, 6, 7, 8, STEPS - 1])
def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch, tmp_path, at):
    path = tmp_path / "run.npz"
    interrupted(monkeypatch, path, at)
    assert len(load(path).loss) == at
    resumed = train(MODEL, source(), START, checkpoint=path, **RULE)
    uninterrupted = train(MODEL, source(), START, **RULE)
    same_run(resumed, uninterrupted)
    assert resumed.settings == uninterrupted.settings


@settings(max_examples=10, deadline=None)
@forall(st.lists(st.integers(0, 9), min_size=1, max_size=4))
def test_any_number_of_interruptions(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("runs") / "run.npz"
    with pytest.MonkeyPatch.context() as patch:
        done = 0
        for piece in pieces:
            if done + piece < STEPS:
                interrupted(patch, path, witnesses(done) + piece)
                done += piece
                assert len(load(path).loss) == done
    same_run(
        train(MODEL, source(), START, checkpoint=path, **RULE),
        train(MODEL, source(), START, **RULE),
    )


def test_a_killed_run_goes_on_from_its_last_checkpoint(monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    monkeypatch.setattr(
        "attndyn.simulate.descent.recorder.CHECKPOINT_SECONDS", -1.0
    )  # after every step
    interrupted(
        monkeypatch, path, 12, error=MemoryError
    )  # nothing is written on the way out
    assert len(load(path).loss) == 12
    calls = []
    make = descent_module.objective
    monkeypatch.setattr(
        descent_module,
        "objective",
        lambda *pair: lambda weights: calls.append(1) or make(*pair)(weights),
    )
    same_run(
        train(MODEL, source(), START, checkpoint=path, **RULE),
        train(MODEL, source(), START, **RULE),
    )
    assert (
        len(calls) == witnesses(12) + STEPS - 12 + STEPS
    )  # it did go on, and did not start again


def test_no_file_is_written_without_need(monkeypatch, tmp_path):
    interrupted(monkeypatch, None, 5)
    assert not list(tmp_path.iterdir())
    path = tmp_path / "run.npz"
    train(MODEL, source(), START, checkpoint=path, **RULE)
    written = path.stat().st_mtime_ns
    # The whole run is there: nothing is left to do, and to write.
    same_run(
        train(MODEL, source(), START, checkpoint=path, **RULE),
        train(MODEL, source(), START, **RULE),
    )
    assert path.stat().st_mtime_ns == written


@pytest.mark.parametrize(
    "changes",
    [
        {"learning_rate": 0.04},
        {"source": 1},
        {"start": 2},
        {"model": 2},
    ],
)
def test_a_checkpoint_of_another_run_is_refused(monkeypatch, tmp_path, changes):
    path = tmp_path / "run.npz"
    interrupted(monkeypatch, path, 5)
    before = path.read_bytes()
    rule = {**RULE, **{name: value for name, value in changes.items() if name in RULE}}
    model = Separate(
        heads=changes.get("model", 2), divisor="tokens" if "model" in changes else None
    )
    data = statistics(sample(TASK, 40, seed=changes.get("source", 0)), model)
    start = initial_weights(
        model, TASK, 0.5, seed=changes.get("start", 1), scheme="gaussian"
    )
    message = re.escape(
        f"{path} is a checkpoint of another run: choose another file or delete it"
    )
    with pytest.raises(ValueError, match=message):
        train(model, data, start, checkpoint=path, **rule)
    assert path.read_bytes() == before


class Divided:
    """One merged head whose name and heads do not tell what its context is divided by."""

    def __init__(self, divisor):
        self.divisor = divisor

    def __repr__(self):
        return "Divided()"

    def shapes(self, dimension):
        return {
            "value": (1, dimension + 1),
            "key_query": (1, dimension + 1, dimension + 1),
        }

    def heads(self, weights):
        return weights["value"], weights["key_query"][..., :-1]


@pytest.mark.parametrize("at", [2, 5])
def test_a_checkpoint_of_a_model_that_has_changed_is_refused(monkeypatch, tmp_path, at):
    path, data = tmp_path / "run.npz", sample(TASK, 40)
    start = {"value": [[0.1, 0.2, 0.3]], "key_query": [[[0.1, 0.2, 0.3]] * 3]}
    interrupted(monkeypatch, path, at, run=(Divided("context"), data, start))
    before = path.read_bytes()
    message = re.escape(
        f"{path} is a checkpoint of another run: its loss or gradient at step 0 is"
    )
    with pytest.raises(ValueError, match=message):
        train(Divided("tokens"), data, start, checkpoint=path, **RULE)
    assert path.read_bytes() == before
    resumed = train(Divided("context"), data, start, checkpoint=path, **RULE)
    same_run(resumed, train(Divided("context"), data, start, **RULE))


def test_a_broken_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match="not a whole trajectory file"):
        train(MODEL, source(), START, checkpoint=path, **RULE)


RESUME = """
import sys
from attndyn import Task
from attndyn.simulate import sample, train
import attndyn.simulate.descent.gradient_descent as descent

class Tied:
    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}
    def heads(self, weights):
        return weights["value"], weights["key"].swapaxes(1, 2) @ weights["key"][..., :-1]

if sys.argv[2] == "interrupt":
    make, calls = descent.objective, []
    def stop(evaluate, weights):
        calls.append(1)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return evaluate(weights)
    descent.objective = lambda *pair: (lambda evaluate: lambda weights: stop(evaluate, weights))(make(*pair))
data = sample(Task([2, 1], context_length=5), 20)
start = {"value": [[0.1, 0.2, 0.3]], "key": [[[0.3, 0.2, 0.1]]]}
try:
    print(train(Tied(), data, start, learning_rate=0.01, steps=9, checkpoint=sys.argv[1]).loss[-1])
except KeyboardInterrupt:
    print("interrupted")
"""


def test_a_model_without_a_repr_resumes_in_another_process(tmp_path):
    def python(mode, name="run.npz"):
        arguments = [
            sys.executable,
            "-W",
            "error",
            "-c",
            RESUME,
            str(tmp_path / name),
            mode,
        ]
        return subprocess.run(
            arguments, capture_output=True, text=True, check=True
        ).stdout

    assert python("interrupt") == "interrupted\n"
    assert python("resume") == python("whole", "other.npz")


def test_a_checkpoint_of_an_edited_model_is_refused(monkeypatch, tmp_path):
    class Mine:
        def shapes(self, dimension):
            return {"v": (1, dimension + 1), "k": (1, dimension + 1, dimension)}

        def heads(self, weights):
            return weights["v"], weights["k"]

    data, path = sample(TASK, 40), tmp_path / "run.npz"
    start = initial_weights(Mine(), TASK, 0.1, scheme="gaussian")
    calls = iter(range(10**6))
    make = descent_module.objective

    def interrupting(model, source):
        evaluate = make(model, source)

        def evaluate_until(weights):
            if next(calls) == 5:
                raise KeyboardInterrupt
            return evaluate(weights)

        return evaluate_until

    with monkeypatch.context() as patch:
        patch.setattr(descent_module, "objective", interrupting)
        with pytest.raises(KeyboardInterrupt):
            train(Mine(), data, start, checkpoint=path, **RULE)
    with monkeypatch.context() as patch:
        patch.setattr(
            Mine, "heads", lambda self, weights: (2 * weights["v"], weights["k"])
        )
        with pytest.raises(ValueError, match="is a checkpoint of another run"):
            train(Mine(), data, start, checkpoint=path, **RULE)
    same_run(
        train(Mine(), data, start, checkpoint=path, **RULE),
        train(Mine(), data, start, **RULE),
    )
