"""Runs from outside: losses, weights and times of one convention, and what is refused."""

import re

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    external_run,
    initial_weights,
    load,
    objective,
    sample,
    train,
)

TASK = Task([2, 1], context_length=5)
MODEL = Separate(heads=2)
DATA = sample(TASK, 50)
START = initial_weights(MODEL, TASK, scale=0.3)


class Parameter:
    """A weight of PyTorch that requires its gradient."""

    def __init__(self, values):
        self.values = values

    def detach(self):
        return Detached(self.values)


class Detached(Parameter):
    """The same without its gradient."""

    def cpu(self):
        return self

    def is_complex(self):
        return False

    def double(self):
        return self

    def numpy(self):
        return np.asarray(self.values, dtype=np.float64)


def outside(scale, steps=30, learning_rate=0.1):
    """A loop that someone else wrote: descent on `scale` times the mean square, with its losses and weights."""
    evaluate, weights = objective(MODEL, DATA), START
    losses, checkpoints = [], {}
    for step in range(steps):
        loss, gradients = evaluate(weights)
        losses.append(scale * loss)
        checkpoints[step] = weights
        weights = {
            name: value - learning_rate * scale * gradients[name]
            for name, value in weights.items()
        }
    return losses, checkpoints


@pytest.mark.parametrize("scale", [1.0, 0.5, 7.0])
def test_a_loss_of_another_convention_is_a_run_on_the_mean_square(scale):
    rate = 0.02 / scale**0.5
    losses, checkpoints = outside(scale, learning_rate=rate)
    run = external_run(
        losses, weights=checkpoints, learning_rate=rate, loss_scale=scale
    )
    again = train(
        MODEL, DATA, run.initial, learning_rate=run.learning_rate, steps=len(losses)
    )
    np.testing.assert_allclose(run.loss, again.loss, rtol=1e-12)
    np.testing.assert_allclose(run.flow_time, again.flow_time, rtol=1e-15)
    np.testing.assert_allclose(run.flow_time, 2 * scale * rate * run.steps, rtol=1e-15)
    if scale != 1:  # control: without the scale it is another run
        wrong = external_run(losses, weights=checkpoints, learning_rate=rate)
        assert np.max(np.abs(wrong.loss / again.loss - 1)) > 0.3


def test_what_a_run_from_outside_knows(tmp_path):
    run = external_run([(0, 1.0), (50, 0.5)], learning_rate=0.1)
    assert run.is_external
    assert run.gradient_norm is None
    assert run.flow_time.tolist() == [0.0, 10.0]
    assert "Run from outside" in repr(run)
    with pytest.raises(ValueError, match="this run holds no weights"):
        run.initial  # noqa: B018
    again = load(run.save(tmp_path / "run.npz"))
    assert again.loss.tolist() == run.loss.tolist()
    assert again.is_external


def test_without_a_rate_there_are_steps_and_no_flow_time():
    run = external_run({0: 1.0, 10: 0.5})
    assert run.steps.tolist() == [0, 10]
    with pytest.raises(ValueError, match="the learning rate of this run is not known"):
        run.flow_time  # noqa: B018
    run.plot(x="steps")
    with pytest.raises(ValueError, match="flow time needs it: give it"):
        run.plot(x="flow_time")


def test_a_rate_that_varies_is_added_up_over_all_steps():
    rate = lambda step: 0.1 / (1 + step)
    run = external_run(
        [(0, 1.0), (3, 0.8), (10, 0.5)], learning_rate=rate, loss_scale=0.5
    )
    expected = [sum(rate(s) for s in range(end)) for end in (0, 3, 10)]
    np.testing.assert_allclose(run.flow_time, expected, rtol=1e-14)
    with pytest.raises(ValueError, match="needs a log from step 0 on"):
        external_run([(3, 0.8), (10, 0.5)], learning_rate=rate)
    with pytest.raises(
        ValueError,
        match="learning rate of step 0 must be zero or more and finite, not -1",
    ):
        external_run([1.0, 0.5], learning_rate=lambda step: -1.0)


BAD_RATES = {
    "must be zero or more and finite, not array": lambda step: np.array([0.1, 0.2]),
    "must be zero or more and finite, not None": lambda step: None,
    "must be zero or more and finite, not True": lambda step: True,
    "must be zero or more and finite, not 'a'": lambda step: "a",
    "does not take one argument": lambda: 0.1,
}


@pytest.mark.parametrize("message", BAD_RATES)
def test_a_function_that_gives_no_rate_is_refused(message):
    with pytest.raises(ValueError, match=message):
        external_run([1.0, 0.5], learning_rate=BAD_RATES[message])


def test_a_rate_for_each_of_too_many_steps_is_refused():
    with pytest.raises(MemoryError, match="a learning rate for each of 10000000000000"):
        external_run([(0, 1.0), (10**15, 0.5)], learning_rate=lambda step: 0.1)


def test_a_scale_that_leaves_no_numbers_is_refused():
    with pytest.raises(ValueError, match="over loss_scale=1e-310 must be finite"):
        external_run([1.0, 0.5], loss_scale=1e-310)
    with pytest.raises(ValueError, match="learning_rate times loss_scale"):
        external_run([0.0], learning_rate=1e-200, loss_scale=1e-200)


def forms(tmp_path):
    """The same two checkpoints in every form."""
    first = {"value": np.ones((2, 3)), "key": np.zeros((2, 1, 3))}
    second = {name: value + 1 for name, value in first.items()}
    checkpoints = {30: second, 0: first}
    slashes = {
        f"{step}/{n}": v for step, w in checkpoints.items() for n, v in w.items()
    }
    stacked = {n: np.stack([first[n], second[n]]) for n in first}
    np.savez(tmp_path / "slashes.npz", **slashes)
    np.savez(tmp_path / "stacked.npz", steps=[0, 30], **stacked)
    return {
        "dictionary": checkpoints,
        "steps of NumPy": {np.int64(step): w for step, w in checkpoints.items()},
        "steps as text": {str(step): w for step, w in checkpoints.items()},
        "tensors": {
            step: {name: Parameter(value) for name, value in w.items()}
            for step, w in checkpoints.items()
        },
        "slashes": tmp_path / "slashes.npz",
        "stacked": str(tmp_path / "stacked.npz"),
        "opened": np.load(tmp_path / "slashes.npz"),
        "stacked in memory": {"step": [0, 30], **stacked},
    }


def test_every_form_of_weights_is_the_same_run(tmp_path):
    for name, weights in forms(tmp_path).items():
        run = external_run([1.0, 0.5], weights=weights)
        assert run.weight_steps.tolist() == [0, 30], name
        assert run.weights["value"].shape == (2, 2, 3)
        assert run.weights_at(30)["key"][0, 0, 0] == 1.0
        assert run.initial["value"][0, 0] == 1.0


def test_a_run_may_have_weights_alone():
    run = external_run(weights={0: START})
    assert len(run.loss) == 0
    assert run.effective_map(MODEL).shape == (1, 2, 2)


class Module:
    """A module of PyTorch, whose weights are in its state."""

    def state_dict(self):
        return {"value": np.ones((2, 3))}


def test_a_module_stands_for_its_weights():
    run = external_run([1.0, np.nan, 0.5], weights={0: Module()}, loss_scale=0.5)
    assert run.initial["value"].shape == (2, 3)
    assert "loss_scale" in repr(run)
    assert run.settings["rows_without_loss"] == 1


W = np.ones((2, 3))
WRONG = {
    "a run needs a log, or weights, or both": lambda: external_run(),
    "loss_scale must be positive": lambda: external_run([1.0], loss_scale=0),
    "learning_rate must be positive": lambda: external_run([1.0], learning_rate=-1),
    "weights must be {step: {name: array}} with a step": lambda: external_run(
        [1.0], weights={}
    ),
    "'value' is no step": lambda: external_run([1.0], weights={"value": W}),
    "0.5 is no step": lambda: external_run([1.0], weights={0.5: {"value": W}}),
    "weights of step 0 must be {name: array}": lambda: external_run(
        [1.0], weights={0: W}
    ),
    "weights[3]['value'] must be finite": lambda: external_run(
        [1.0], weights={3: {"value": W * np.nan}}
    ),
    "weights[3]['value'] must be an array of real numbers": lambda: external_run(
        [1.0], weights={3: {"value": W * 1j}}
    ),
    "weights[3]['value'] has shape (3, 2), and (2, 3) at the first": lambda: (
        external_run([1.0], weights={0: {"value": W}, 3: {"value": W.T}})
    ),
    "weights of step 3 are called ['v'], those of the first step ['value']": lambda: (
        external_run([1.0], weights={0: {"value": W}, 3: {"v": W}})
    ),
    "weights hold step 3 twice": lambda: external_run(
        [1.0], weights={3: {"value": W}, "3": {"value": W}}
    ),
    "must begin with an axis of 3 steps": lambda: external_run(
        [1.0], weights={"steps": [0, 1, 2], "value": W}
    ),
    "weights need different steps": lambda: external_run(
        [1.0], weights={"steps": [0, 0], "value": W}
    ),
}


@pytest.mark.parametrize("message", WRONG)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        WRONG[message]()
    assert "\n" not in str(error.value)


def test_merged_weights_have_their_map():
    weights = initial_weights(Merged(2), TASK, scale=0.3)
    run = external_run([1.0, 0.9], weights={0: weights, 5: weights})
    assert run.effective_map(Merged(2)).shape == (2, 2, 2)


def test_weights_of_another_model_have_no_map():
    run = external_run([1.0], weights={0: START})
    with pytest.raises(
        ValueError, match=r"has weights \['key_query', 'value'\], and the"
    ):
        run.effective_map(Merged(2))
    whole = external_run([1.0], weights={0: {**START, "value": np.ones((2, 3, 3))}})
    with pytest.raises(ValueError, match=r"have 2 axes, .* pass W_V\[:, -1\]"):
        whole.effective_map(MODEL)
