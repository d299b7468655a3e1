"""Descent: the known iterates, what is recorded, divergence, checkpoints, progress."""

import io
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.simulate import Diverged, from_moments, initial_weights, load, sample, statistics, train
from attndyn.simulate import descent as descent_module
from attndyn.simulate.descent import descend
from attndyn.simulate.log import Descent
from attndyn.simulate.progress import tracked

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1)


def source(seed=0):
    return statistics(sample(TASK, 40, seed=seed), MODEL)


def bowl(curvatures):
    """The objective Σ k θ², whose descent is θ_t = θ_0 (1 − 2ηk)^t."""
    k = np.asarray(curvatures)
    return lambda weights: (float(k @ weights["θ"] ** 2), {"θ": 2 * k * weights["θ"]})


def same_run(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        assert np.array_equal(getattr(run, name), getattr(other, name)), name
    assert run.weights.keys() == other.weights.keys()
    for name in run.weights:
        assert np.array_equal(run.weights[name], other.weights[name]), name
    assert run.learning_rate == other.learning_rate


# Known descents


def test_descent_in_a_bowl_is_geometric():
    k, θ, η, steps = np.array([1.0, 0.3]), np.array([2.0, -1.0]), 0.1, 60
    run = descend(bowl(k), {"θ": θ}, Descent(η, steps, record=1), {})
    t = np.arange(steps + 1)[:, None]
    iterates = θ * (1 - 2 * η * k) ** t
    np.testing.assert_allclose(run.weights["θ"], iterates, rtol=1e-12)
    np.testing.assert_allclose(run.loss, (k * iterates[:-1] ** 2).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(run.gradient_norm, np.linalg.norm(2 * k * iterates[:-1], axis=1), rtol=1e-12)
    flow_convention = θ * (1 - η * k) ** t  # control: the rate of the ½∂L convention
    assert not np.allclose(run.weights["θ"], flow_convention, rtol=1e-2)


def test_one_dimension_follows_the_scalar_recursion():
    c, A, B, Λ, η, u, v = 1.3, 2.0, 0.8, 1.5, 0.05, 0.2, 0.3
    model = Merged(heads=1)
    start = {"value": [[0.0, v]], "key_query": [[[u, 0.0], [0.0, 0.0]]]}
    run = train(
        model, from_moments(c, [[A]], [[B]], [[Λ]], model, (5,)), start, learning_rate=η, steps=300, record=1
    )
    for step in range(300):
        assert run.loss[step] == pytest.approx(c - 2 * B * u * v + A * Λ * (u * v) ** 2, rel=1e-12)
        assert run.weights["value"][step, 0, 1] == pytest.approx(v, rel=1e-12)
        pull = 2 * η * (B - A * Λ * u * v)
        u, v = u + pull * v, v + pull * u
    assert run.final["key_query"][0, 0, 0] == pytest.approx(u, rel=1e-12)
    assert u * v == pytest.approx(B / (A * Λ), rel=1e-4)  # it has arrived


def test_the_start_is_left_alone():
    before = {name: value.copy() for name, value in START.items()}
    train(MODEL, source(), START, learning_rate=0.1, steps=5)
    assert all(np.array_equal(START[name], before[name]) for name in START)


# What is recorded


@settings(max_examples=25, deadline=None)
@forall(st.integers(1, 40), st.one_of(st.none(), st.integers(1, 50), st.lists(st.integers(0, 40), max_size=5)))
def test_records_are_the_iterates(steps, record):
    if isinstance(record, list):
        record = [step for step in record if step <= steps]
    every = descend(bowl([1.0, 2.0]), {"θ": np.array([1.0, 1.0])}, Descent(0.1, steps, 1), {})
    run = descend(bowl([1.0, 2.0]), {"θ": np.array([1.0, 1.0])}, Descent(0.1, steps, record), {})
    assert np.array_equal(run.loss, every.loss)
    assert np.array_equal(run.steps, np.arange(steps))
    stored = run.weight_steps
    if isinstance(record, list):
        assert stored.tolist() == sorted({0, *record, steps})
    else:
        assert stored.tolist() == sorted({*range(0, steps, record or 1), steps})
    assert np.array_equal(run.weights["θ"], every.weights["θ"][stored])
    assert np.array_equal(run.final["θ"], every.weights["θ"][-1])


def test_about_five_hundred_weights_are_stored_unless_asked():
    for steps in (10, 999, 1000, 20_001):
        count = len(Descent(0.1, steps).recorded)
        assert min(steps, 500) <= count <= 1001
    assert Descent(0.1, 20_001).recorded[-1] == 20_001


def test_flow_time_is_twice_the_rate_times_the_step():
    run = train(MODEL, source(), START, learning_rate=0.01, steps=10, record=3)
    np.testing.assert_allclose(run.flow_time, 0.02 * np.arange(10), rtol=1e-15)
    np.testing.assert_allclose(run.weight_flow_time, 0.02 * np.array([0, 3, 6, 9, 10]), rtol=1e-15)
    assert not np.allclose(run.flow_time, 0.01 * run.steps)  # control: without the 2


def test_settings_tell_what_produced_the_run():
    run = train(MODEL, source(), START, learning_rate=0.01, steps=np.int64(4))
    assert run.settings["model"] == repr(MODEL)
    assert run.settings["source"] == source().digest
    assert (run.settings["steps"], run.settings["learning_rate"]) == (4, 0.01)
    assert {"attndyn", "numpy", "python"} <= run.settings["versions"].keys()


# Divergence


def test_divergence_is_raised_with_the_run_so_far():
    with pytest.raises(Diverged, match=r"not finite at step \d+; choose a learning rate smaller than 30") as error:
        train(MODEL, source(), START, learning_rate=30.0, steps=1000, record=1)
    run, step = error.value.trajectory, error.value.step
    assert len(run.loss) == step > 2
    assert np.all(np.isfinite(run.loss))
    assert run.weight_steps.tolist() == list(range(step + 1))
    again = train(MODEL, source(), START, learning_rate=30.0, steps=2, record=1)
    assert np.array_equal(again.loss, run.loss[:2])
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("η", "diverges"), [(0.99, False), (1.01, True)])
def test_a_bowl_diverges_exactly_past_its_critical_rate(η, diverges):
    def run():
        return descend(bowl([1.0]), {"θ": np.array([1.0])}, Descent(η, 40_000, 40_000), {})

    if diverges:
        with pytest.raises(Diverged) as error:
            run()
        assert error.value.step == pytest.approx(np.log(sys.float_info.max) / 2 / np.log(1.02), rel=1e-3)
    else:
        assert run().loss[-1] == pytest.approx(0, abs=1e-300)


def test_divergence_on_restricted_statistics_is_divergence():
    model, start = Merged(heads=2), initial_weights(Merged(heads=2), TASK, 0.5, scheme="restricted")
    stats = statistics(sample(TASK, 40), model, "restricted")
    with pytest.raises(Diverged):
        train(model, stats, start, learning_rate=1e3, steps=1000)


def test_divergence_travels_between_processes():
    with pytest.raises(Diverged) as error:
        train(MODEL, source(), START, learning_rate=30.0, steps=1000)
    again = pickle.loads(pickle.dumps(error.value))
    assert (str(again), again.step) == (str(error.value), error.value.step)
    same_run(again.trajectory, error.value.trajectory)


# Checkpoints

STEPS = 30
RULE = {"learning_rate": 0.05, "steps": STEPS, "record": 7}


def interrupted(monkeypatch, path, at, error=KeyboardInterrupt, **changes):
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
            train(MODEL, source(), START, checkpoint=path, **{**RULE, **changes})


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
                interrupted(patch, path, piece)
                done += piece
                assert len(load(path).loss) == done
    same_run(train(MODEL, source(), START, checkpoint=path, **RULE), train(MODEL, source(), START, **RULE))


def test_a_killed_run_goes_on_from_its_last_checkpoint(monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    monkeypatch.setattr("attndyn.simulate.log.CHECKPOINT_SECONDS", -1.0)  # after every step
    interrupted(monkeypatch, path, 12, error=MemoryError)  # nothing is written on the way out
    assert len(load(path).loss) == 12
    calls = []
    make = descent_module.objective
    monkeypatch.setattr(
        descent_module, "objective", lambda *pair: lambda weights: calls.append(1) or make(*pair)(weights)
    )
    same_run(train(MODEL, source(), START, checkpoint=path, **RULE), train(MODEL, source(), START, **RULE))
    assert len(calls) == STEPS - 12 + STEPS  # it did go on, and did not start again


def test_no_file_is_written_without_need(monkeypatch, tmp_path):
    train(MODEL, source(), START, checkpoint=tmp_path / "run.npz", **RULE)
    interrupted(monkeypatch, None, 5)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes",
    [{"learning_rate": 0.04}, {"steps": STEPS + 1}, {"record": 5}, {"source": 1}, {"start": 2}, {"model": 2}],
)
def test_a_checkpoint_of_another_run_is_refused(monkeypatch, tmp_path, changes):
    path = tmp_path / "run.npz"
    interrupted(monkeypatch, path, 5)
    before = path.read_bytes()
    rule = {**RULE, **{name: value for name, value in changes.items() if name in RULE}}
    model = Separate(heads=changes.get("model", 2), divisor="tokens" if "model" in changes else None)
    data = statistics(sample(TASK, 40, seed=changes.get("source", 0)), model)
    start = initial_weights(model, TASK, 0.5, seed=changes.get("start", 1))
    message = re.escape(f"{path} is a checkpoint of another run: choose another file or delete it")
    with pytest.raises(ValueError, match=message):
        train(model, data, start, checkpoint=path, **rule)
    assert path.read_bytes() == before


def test_a_broken_checkpoint_is_refused(tmp_path):
    path = tmp_path / "run.npz"
    path.write_bytes(b"half a file")
    with pytest.raises(ValueError, match="not a whole trajectory file"):
        train(MODEL, source(), START, checkpoint=path, **RULE)


RESUME = """
import sys
from attndyn import Task
from attndyn.simulate import sample, train
import attndyn.simulate.descent as descent

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
        arguments = [sys.executable, "-W", "error", "-c", RESUME, str(tmp_path / name), mode]
        return subprocess.run(arguments, capture_output=True, text=True, check=True).stdout

    assert python("interrupt") == "interrupted\n"
    assert python("resume") == python("whole", "other.npz")


# Bad input

BAD = {
    "learning_rate must be positive and finite, not 0": {"learning_rate": 0},
    "learning_rate must be positive and finite, not -0.1": {"learning_rate": -0.1},
    "learning_rate must be positive and finite, not nan": {"learning_rate": float("nan")},
    "learning_rate must be positive and finite, not inf": {"learning_rate": float("inf")},
    "learning_rate must be positive and finite, not '0.1'": {"learning_rate": "0.1"},
    "steps must be a whole number of at least 1, not 0": {"steps": 0},
    "steps must be a whole number of at least 1, not 5.0": {"steps": 5.0},
    "steps must be a whole number of at least 1, not True": {"steps": True},
    "record must be a number of steps of at least 1, or a list of steps, not 0": {"record": 0},
    "record must be a number of steps of at least 1, or a list of steps, not [1.5]": {"record": [1.5]},
    "record must be a number of steps of at least 1, or a list of steps, not 'all'": {"record": "all"},
    "record must name steps from 0 to 30, not 0 … 31": {"record": [31]},
    "record must name steps from 0 to 30, not -1 … 30": {"record": [-1]},
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(MODEL, source(), START, **{**RULE, **BAD[message]})


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"value": np.ones((2, 3))}, "start must hold the weights value, key, query, not value"),
        ({}, "start must hold the weights value, key, query, not none"),
        ({**START, "key": np.ones((2, 3))}, "start['key'] must have shape (2, 1, 3), not (2, 3)"),
        ({**START, "key": np.full((2, 1, 3), np.nan)}, "start['key'] must be finite"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(start, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        train(MODEL, source(), start, **RULE)


# Progress


class Terminal(io.StringIO):
    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def show(monkeypatch, terminal=True):
    """Standard error that is read here and says it is a terminal; a bar appears at once."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("attndyn.simulate.progress.PATIENCE", -1.0)
    screen = Terminal(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


def test_a_bar_appears_in_a_terminal_and_goes_away(monkeypatch):
    screen = show(monkeypatch)
    train(MODEL, source(), START, **RULE)
    shown = screen.getvalue()
    assert "gradient descent" in shown
    assert "%" in shown
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1  # the cursor comes back


@pytest.mark.parametrize("error", [Diverged, KeyboardInterrupt])
def test_the_bar_goes_away_when_the_run_fails(monkeypatch, tmp_path, error):
    screen = show(monkeypatch)
    if error is Diverged:
        with pytest.raises(Diverged):
            train(MODEL, source(), START, learning_rate=30.0, steps=1000)
    else:
        interrupted(monkeypatch, tmp_path / "run.npz", 5)
    shown = screen.getvalue()
    assert shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == 1


def test_a_quick_run_shows_no_bar_even_in_a_terminal(monkeypatch):
    screen = show(monkeypatch)
    monkeypatch.setattr("attndyn.simulate.progress.PATIENCE", 60.0)
    train(MODEL, source(), START, **RULE)
    assert screen.getvalue() == ""


def test_off_a_terminal_there_is_silence(monkeypatch):
    screen = show(monkeypatch, terminal=False)
    assert list(tracked(iter("abc"), 3, "letters")) == ["a", "b", "c"]
    assert screen.getvalue() == ""
