"""Trajectories: saved and loaded bit for bit, whole or absent, and nothing else taken for one."""

import json
import os
import pickle
import re
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

from attndyn import Merged, Task
from attndyn.runtime.files import make_folder, replaceable, write_atomically, write_text
from attndyn.simulate import (
    Trajectory,
    flow,
    initial_weights,
    load,
    sample,
    statistics,
    train,
)

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Merged(heads=2)
START = initial_weights(MODEL, TASK, 0.5, scheme="gaussian")


def descent():
    return train(
        MODEL,
        statistics(sample(TASK, 40), MODEL),
        START,
        learning_rate=0.01,
        steps=20,
        record=3,
    )


def gradient_flow():
    return flow(MODEL, statistics(sample(TASK, 40), MODEL), START, [0, 1, 2])


def same(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        mine, theirs = getattr(run, name), getattr(other, name)
        assert mine.dtype == theirs.dtype
        assert mine.tobytes() == theirs.tobytes()
    assert list(run.weights) == list(other.weights)
    for name, value in run.weights.items():
        assert value.shape == other.weights[name].shape
        assert value.tobytes() == other.weights[name].tobytes()
    assert (run.learning_rate, run.settings) == (other.learning_rate, other.settings)


@pytest.mark.parametrize("make", [descent, gradient_flow])
def test_what_is_loaded_is_what_was_saved(tmp_path, make):
    run = make().with_settings({"note": "ε = ½", "list": [1, 2]})
    path = run.save(tmp_path / "new" / "run.npz")
    same(load(path), run)
    same(load(run.save(str(tmp_path / "any name"))), run)  # no suffix is added


@settings(max_examples=25, deadline=None)
@forall(
    st.lists(st.floats(width=64), min_size=1, max_size=5),
    st.one_of(st.none(), st.floats(1e-300, 1e300)),
)
def test_any_numbers_survive(numbers, rate):
    line, times = np.array(numbers), np.arange(float(len(numbers)))
    run = Trajectory(
        times, line, line, times, {"w": line[:, None, None]}, rate, {"rate": rate}
    )
    with tempfile.TemporaryDirectory() as folder:
        same(load(run.save(Path(folder) / "run.npz")), run)


def test_a_file_that_is_not_whole_is_refused_in_one_line(tmp_path):
    path = descent().save(tmp_path / "run.npz")
    whole = path.read_bytes()
    for length in [*range(0, len(whole), len(whole) // 60), len(whole) - 1]:
        path.write_bytes(whole[:length])
        refused(path)
    path.write_bytes(whole)
    load(path)  # control: the whole file is not


@settings(max_examples=25, deadline=None)
@forall(st.integers(0, 10**9), st.integers(1, 255))
def test_a_flipped_byte_gives_the_same_run_or_is_refused(
    tmp_path_factory, position, flip
):
    run = descent()
    path = run.save(tmp_path_factory.mktemp("files") / "run.npz")
    content = bytearray(path.read_bytes())
    content[position % len(content)] ^= flip
    path.write_bytes(bytes(content))
    loaded = None
    with suppress(ValueError):
        loaded = load(path)
    if loaded is not None:  # a byte that says nothing, such as one of a date
        same(loaded, run)


FOREIGN = {
    "other npz": lambda file: np.savez(file, tokens=np.ones(3)),
    "other head": lambda file: np.savez(
        file, head=np.array('{"format": "attndyn trajectory 0"}')
    ),
    "head of numbers": lambda file: np.savez(file, head=np.ones(3)),
    "head a list": lambda file: np.savez(file, head=np.array("[1, 2]")),
    "no lines": lambda file: np.savez(
        file,
        head=np.array(
            '{"format": "attndyn trajectory 1", "learning_rate": 1, "settings": {}}'
        ),
    ),
    "one array": lambda file: np.save(file, np.ones(3)),
    "text": lambda file: file.write(b"loss,step\n1,2\n"),
    "nothing": lambda file: file.write(b""),
    "pickle": lambda file: pickle.dump({"loss": [1]}, file),
    "object array": lambda file: np.savez(file, head=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, kind):
    path = write_atomically(tmp_path / "file.npz", FOREIGN[kind])
    refused(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    path = descent().save(tmp_path / "run.npz")
    arrays = dict(np.load(path))
    head = json.loads(str(arrays.pop("head")))
    for number, accepted in [(1, True), (2, True), (3, False)]:
        head["format"] = f"attndyn trajectory {number}"
        np.savez(path, head=np.array(json.dumps(head)), **arrays)
        if accepted:
            same(load(path), descent())
        else:
            refused(path)


@pytest.mark.parametrize("rate", [0.01, None])
def test_a_file_of_the_former_format_is_read(tmp_path, rate):
    head = {
        "format": "attndyn trajectory 1",
        "learning_rate": rate,
        "settings": {"seed": 1},
    }
    line, path = np.arange(3.0), tmp_path / "run.npz"
    arrays = dict.fromkeys(("time", "loss", "gradient_norm", "weight_time"), line)
    weights = {"weights/w": np.ones((3, 2))}
    np.savez(path, head=np.array(json.dumps(head)), **arrays, **weights)
    run = load(path)
    assert run.is_flow == (rate is None)
    assert (run.learning_rate, run.optimizer, run.state) == (rate, None, None)
    np.testing.assert_array_equal(run.flow_time, line * (2 * rate if rate else 1))
    assert run.weights_at(2)["w"].tolist() == [1, 1]


class Moments(NamedTuple):
    mean: dict
    count: int


def trained(steps=4, **fields):
    """A run of so many steps with one weight, of any optimizer."""
    t = np.arange(float(steps))
    stored = np.array([0.0, steps])
    weights = {"w": np.array([[1.0], [0.5]])}
    given = {"learning_rate": None, "unit": "steps", **fields}
    norm = given.pop("gradient_norm", 1 + t)
    return Trajectory(t, 1 / (1 + t), norm, stored, weights, **given)


def test_what_an_optimizer_needs_survives(tmp_path):
    state = Moments({"w": np.array([0.1 + 0.2])}, 7)
    run = trained(
        learning_rates=np.array([0.0, 0.1, 0.2, 0.1]),
        optimizer={"name": "lion"},
        state=(state, [None, np.float32(3.0)]),
        before_last={"weights": {"w": np.array([1.0])}, "state": True},
    )
    again = load(run.save(tmp_path / "run.npz"))
    same(again, run)
    moments, (nothing, number) = again.state
    assert type(moments).__name__ == "Moments"
    assert moments.mean["w"].tobytes() == state.mean["w"].tobytes()
    assert (moments.count, nothing, number) == (7, None, 3)
    assert number.dtype == np.float32
    assert again.before_last["state"] is True
    assert again.unit == "steps"
    np.testing.assert_array_equal(again.learning_rates, run.learning_rates)


def test_a_state_that_is_no_state_is_refused_when_it_is_written(tmp_path):
    for state in (object(), {1: np.ones(2)}, np.array([object()]), {"a": {1, 2}}):
        with pytest.raises(ValueError, match="state must"):
            trained(state=state).save(tmp_path / "run.npz")
    assert not list(tmp_path.iterdir())


def test_flow_time_adds_up_the_rates_that_were_taken():
    rates = np.array([0.0, 0.1, 0.2, 0.4])
    run = trained(learning_rates=rates)
    np.testing.assert_allclose(run.flow_time, [0, 0, 0.2, 0.6], rtol=1e-15)
    np.testing.assert_allclose(run.weight_flow_time, [0, 1.4], rtol=1e-15)
    assert run.learning_rate is None
    # A rate holds from its step up to the next that is known.
    sparse = Trajectory(
        np.array([0.0, 10, 30]),
        np.ones(3),
        None,
        np.array([5.0, 40]),
        {"w": np.ones((2, 1))},
        None,
        learning_rates=np.array([0.1, 0.2, 0.3]),
    )
    np.testing.assert_allclose(sparse.flow_time, [0, 2, 10])
    np.testing.assert_allclose(sparse.weight_flow_time, [1, 16])


def test_momentum_makes_flow_time_faster():
    optimizer = {"name": "gradient_descent", "momentum": 0.9}
    for rate in ({"learning_rate": 0.1}, {"learning_rates": np.full(4, 0.1)}):
        run = trained(optimizer=optimizer, **rate)
        np.testing.assert_allclose(run.flow_time, 2.0 * np.arange(4))
        np.testing.assert_allclose(run.learning_rates, 0.1)


NO_FLOW_TIME = {
    "Adam does not follow the gradient flow: plot x='steps', compare plateaus with match_plateaus": {
        "optimizer": {"name": "adam"},
        "learning_rate": 0.1,
    },
    "an optimizer of your own (lion) does not follow the gradient flow": {
        "optimizer": {"name": "own", "called": "lion"}
    },
    "the learning rate of this run is not known": {},
    "clipping has shortened the gradient of this run and not its weight decay": {
        "learning_rate": 0.1,
        "optimizer": {
            "name": "gradient_descent",
            "weight_decay": 0.1,
            "clip_norm": 2.0,
        },
    },
}


@pytest.mark.parametrize("message", NO_FLOW_TIME)
def test_flow_time_is_refused_where_it_means_nothing(message):
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    run = trained(**NO_FLOW_TIME[message])
    for name in ("flow_time", "weight_flow_time"):
        with pytest.raises(ValueError, match=re.escape(message)):
            getattr(run, name)
    with pytest.raises(ValueError, match=re.escape(message)):
        run.plot(x="flow_time")
    assert run.plot().get_xlabel() == "steps"
    assert "flow time" not in repr(run)
    plt.close("all")


def test_decay_beside_gradients_that_were_not_clipped_has_a_flow_time():
    settings = {"name": "gradient_descent", "weight_decay": 0.1, "clip_norm": 9.0}
    assert trained(learning_rate=0.1, optimizer=settings).flow_time[-1] > 0


def test_a_run_from_outside_may_hold_losses_only(tmp_path):
    times = np.array([0.0, 10, 20])
    outside = {"source": "external"}
    none = np.array([])
    run = Trajectory(times, np.ones(3), None, none, {}, 0.1, outside)
    run = load(run.save(tmp_path / "run.npz"))
    assert run.is_external
    assert not run.is_flow
    assert run.gradient_norm is None
    np.testing.assert_allclose(run.flow_time, 0.2 * times)
    assert "Run from outside" in repr(run)
    for ask in (
        lambda: run.initial,
        lambda: run.weights_at(0),
        lambda: run.effective_map(MODEL),
    ):
        with pytest.raises(ValueError, match="this run holds no weights"):
            ask()
    assert run.to_dict()["gradient_norm"] is None


@pytest.mark.parametrize(
    "fields",
    [
        {"learning_rates": np.ones(3)},
        {"learning_rates": np.array([0.1, -0.1, 0.1, 0.1])},
        {"learning_rates": np.array([0.1, np.nan, 0.1, 0.1])},
        {"unit": "epochs"},
    ],
)
def test_rates_and_units_that_are_none_are_refused(fields):
    with pytest.raises(ValueError, match="must be"):
        trained(**fields)


WRONG_PARTS = {
    "loss of text": {"loss": np.array("low")},
    "loss too short": {"loss": np.ones(1)},
    "loss a number": {"loss": np.array(1.0)},
    "loss complex": {"loss": np.ones(3) + 0j},
    "time of text": {"time": np.array(["0", "1", "2"])},
    "weights of other times": {"weights/value": np.ones((7, 2))},
    "weights of text": {"weights/value": np.array(["a", "b"])},
    "time backwards": {"time": np.array([2.0, 1.0, 0.0])},
    "time twice": {"time": np.array([0.0, 1.0, 1.0])},
    "time below zero": {"time": np.array([-1.0, 0.0, 1.0])},
    "time not finite": {"time": np.array([0.0, 1.0, np.nan])},
    "half a step": {"time": np.array([0.5, 1.0, 2.0])},
    "weights backwards": {"weight_time": np.array([3.0, 2.0, 1.0, 0.0])},
    "a rate of true": {"learning_rate": True},
    "another rate than in the settings": {"learning_rate": 0.5},
    "a rate of text": {"learning_rate": "0.1"},
    "a rate below zero": {"learning_rate": -0.1},
    "settings of text": {"settings": "none"},
    "another unit": {"unit": "epochs"},
    "an optimizer without a name": {"optimizer": {}},
    "an optimizer of text": {"optimizer": "adam"},
    "a momentum of one": {"optimizer": {"name": "gradient_descent", "momentum": 1}},
    "a state of arrays that are not there": {"state": ["array", 0]},
    "a state of another kind": {"state": ["set", []]},
}


@pytest.mark.parametrize("kind", WRONG_PARTS)
def test_parts_that_do_not_fit_are_refused(tmp_path, kind):
    path = descent().save(tmp_path / "run.npz")
    arrays = dict(np.load(path))
    head = json.loads(str(arrays.pop("head")))
    np.savez(path, head=np.array(json.dumps(head)), **arrays)
    same(load(path), descent())  # control
    for name, value in WRONG_PARTS[kind].items():
        if name in head:
            head[name] = value
        else:
            arrays[name] = value
    np.savez(path, head=np.array(json.dumps(head)), **arrays)
    refused(path)


def refused(path):
    with pytest.raises(
        ValueError, match=re.escape(f"{path} is not a whole trajectory file")
    ) as error:
        load(path)
    assert "\n" not in str(error.value)


def test_an_absent_file_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "nothing.npz")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = write_text(tmp_path / "note.txt", "old")

    def half(file):
        file.write(b"new, but only ha")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, half)
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["note.txt"]
    write_text(path, "new: ½")  # control: a write that does not fail
    assert path.read_text(encoding="utf-8") == "new: ½"


def test_settings_that_json_cannot_hold_leave_the_old_file(tmp_path):
    path = descent().save(tmp_path / "run.npz")
    before = path.read_bytes()
    with pytest.raises(TypeError):
        descent().with_settings({"bad": object()}).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["run.npz"]


def test_numbers_of_numpy_are_settings_too(tmp_path):
    numbers = {
        "one": np.float64(0.5),
        "many": np.arange(3),
        "yes": np.bool(True),
        "count": np.int64(2),
    }
    run = load(descent().with_settings(numbers).save(tmp_path / "run.npz"))
    expected = {"one": 0.5, "many": [0, 1, 2], "yes": True, "count": 2}
    assert {name: run.settings[name] for name in expected} == expected


def test_written_files_have_ordinary_permissions(tmp_path):
    path, plain = write_text(tmp_path / "a", "x"), tmp_path / "b"
    plain.write_text("x")
    assert path.stat().st_mode == plain.stat().st_mode


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError, match="file"):
        make_folder(tmp_path / "file" / "inside")
    with pytest.raises(OSError, match="file"):
        descent().save(tmp_path / "file" / "inside" / "run.npz")
    assert make_folder(tmp_path / "a" / "b").is_dir()


def test_a_folder_is_not_a_file_to_write(tmp_path):
    (tmp_path / "results").mkdir()
    for write in (descent().save, lambda path: write_text(path, "new"), replaceable):
        with pytest.raises(
            IsADirectoryError, match="this must name a file, but it is a folder"
        ) as error:
            write(tmp_path / "results")
        assert error.value.filename == str(tmp_path / "results")
    assert os.listdir(tmp_path) == ["results"]
    assert (
        replaceable(tmp_path / "results.npz") == tmp_path / "results.npz"
    )  # control: a path that is free
    file = write_text(tmp_path / "results.npz", "old")
    assert replaceable(file) == file  # control: a file


def test_a_flow_has_no_steps():
    run = gradient_flow()
    np.testing.assert_array_equal(run.flow_time, [0, 1, 2])
    for name in ("steps", "weight_steps"):
        with pytest.raises(
            ValueError, match="a gradient flow has no steps: use flow_time"
        ):
            getattr(run, name)


def test_plots_say_which_time_they_show():
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    axes = descent().plot(color="k")
    assert axes.get_xlabel() == "steps"
    assert gradient_flow().plot().get_xlabel() == "flow time"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), descent().loss)
    plt.close("all")


def test_a_run_loads_as_other_results_do(tmp_path):
    file = descent().save(tmp_path / "run.npz")
    same(Trajectory.load(file), load(file))
