"""Runs that go on: bit for bit as if they had never ended, whatever the optimizer and the batches, or not at all."""

import re
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Trajectory,
    flow,
    initial_weights,
    load,
    sample,
    statistics,
    train,
)
from attndyn.simulate.descent import gradient_descent as descent_module
from attndyn.simulate.descent.optimizers import Adam, GradientDescent
from attndyn.simulate.descent.schedules import Schedule
from attndyn.simulate.descent.steppers import OptimizerSteps

TASK = Task([2, 1], trace=1.0, context_length=5)
MODEL = Separate(heads=2)
START = initial_weights(MODEL, TASK, 0.5, seed=1, scheme="gaussian")
DATA = sample(TASK, 40)
STATISTICS = statistics(DATA, MODEL)


class Moments(NamedTuple):
    count: int
    inner: tuple


class LikeOptax:
    """Momentum in optax's shape, which writes into its state."""

    def __init__(self, rate=0.003):
        self.rate = rate

    def init(self, params):
        zeros = {name: np.zeros_like(value) for name, value in params.items()}
        return (Moments(0, (zeros, None)), {})

    def update(self, gradients, state, params):
        moments, rest = state
        velocity, _ = moments.inner
        updates = {}
        for name, value in velocity.items():
            value *= 0.9
            value += gradients[name]
            updates[name] = -self.rate * value
        return updates, (Moments(moments.count + 1, (velocity, None)), rest)


def signs(gradients, weights, step):
    return {
        name: -0.01 / (step + 1) * np.sign(value) for name, value in gradients.items()
    }


OPTIMIZERS = {
    "descent": GradientDescent(0.02),
    "schedule": GradientDescent(Schedule({0: 0.0, 20: 0.05, 60: 0.0}, "cosine")),
    "function": GradientDescent(lambda step: 0.02 / (1 + step)),
    "momentum": GradientDescent(0.003, momentum=0.9),
    "nesterov": GradientDescent(0.003, momentum=0.9, nesterov=True, weight_decay=0.1),
    "clipped": GradientDescent(0.05, clip_norm=0.5),
    "adam": Adam(0.01),
    "adamw": Adam(Schedule({0: 0.01, 60: 0.0}), weight_decay=0.1, clip_norm=0.3),
    "optax": LikeOptax(),
    "own function": signs,
}

SOURCES = {
    "statistics": (STATISTICS, {}),
    "data": (DATA, {}),
    "minibatch": (DATA, {"batch": 7, "seed": 3}),
    "fresh": (TASK, {"batch": 8}),
}


def same_run(run, other):
    for name in ("time", "loss", "gradient_norm", "weight_time"):
        assert np.array_equal(getattr(run, name), getattr(other, name)), name
    assert run.weights.keys() == other.weights.keys()
    for name in run.weights:
        assert np.array_equal(run.weights[name], other.weights[name]), name
    assert run.learning_rate == other.learning_rate
    if run.learning_rates is not None:
        assert np.array_equal(run.learning_rates, other.learning_rates)
    assert run.settings == other.settings
    assert run.optimizer == other.optimizer
    assert repr(run.state) == repr(other.state)


def again(name):
    """What must be passed again: what a run cannot hold."""
    own = name in ("optax", "own function", "function")
    return {"optimizer": OPTIMIZERS[name]} if own else {}


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_run_goes_on_bit_for_bit(tmp_path, name, kind):
    source, options = SOURCES[kind]
    rule = {"optimizer": OPTIMIZERS[name], "record": 1, **options}
    whole = train(MODEL, source, START, steps=40, **rule)
    part = train(MODEL, source, START, steps=17, **rule)
    # In memory, from a file, and as the checkpoint of fewer steps.
    same_run(train(MODEL, source, part, steps=40, record=1, **again(name)), whole)
    stored = load(part.save(tmp_path / "part.npz"))
    same_run(train(MODEL, source, stored, steps=40, record=1, **again(name)), whole)
    path = tmp_path / "run.ckpt"
    for steps in (5, 17, 17, 40):
        last = train(MODEL, source, START, steps=steps, checkpoint=path, **rule)
    same_run(last, whole)


@pytest.mark.parametrize("kind", SOURCES)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_interrupted_run_goes_on_bit_for_bit(monkeypatch, tmp_path, name, kind):
    source, options = SOURCES[kind]
    rule = {"optimizer": OPTIMIZERS[name], "compiled": False, **options}
    whole = train(MODEL, source, START, steps=20, **rule)
    path = tmp_path / "run.npz"
    with monkeypatch.context() as patch:
        interrupt_at(patch, 11)
        with pytest.raises(KeyboardInterrupt):
            train(MODEL, source, START, steps=20, checkpoint=path, **rule)
    assert len(load(path).loss) == 11
    same_run(train(MODEL, source, START, steps=20, checkpoint=path, **rule), whole)


def interrupt_at(patch, at):
    """The evaluation of this number is interrupted, whatever evaluates."""
    calls = iter(range(10**6))

    def interrupting(make):
        def made(*arguments):
            evaluate = make(*arguments)

            def wrapped(*point):
                if next(calls) == at:
                    raise KeyboardInterrupt
                return evaluate(*point)

            return wrapped

        return made

    for name in ("objective", "batch_objective"):
        patch.setattr(descent_module, name, interrupting(getattr(descent_module, name)))


def test_an_interruption_within_an_update_leaves_the_state_whole(monkeypatch, tmp_path):
    """An optimizer that writes into its state has written half of it."""
    optimizer, path = LikeOptax(), tmp_path / "run.npz"
    whole = train(MODEL, STATISTICS, START, optimizer=optimizer, steps=20)
    update = LikeOptax.update

    def interrupted(self, gradients, state, params):
        if state[0].count == 9:
            state[0].inner[0]["value"][:] = 7.0
            raise KeyboardInterrupt
        return update(self, gradients, state, params)

    monkeypatch.setattr(LikeOptax, "update", interrupted)
    rule = {"optimizer": optimizer, "steps": 20, "checkpoint": path}
    with pytest.raises(KeyboardInterrupt):
        train(MODEL, STATISTICS, START, **rule)
    monkeypatch.setattr(LikeOptax, "update", update)
    same_run(train(MODEL, STATISTICS, START, **rule), whole)


@pytest.mark.parametrize("frozen", [("value",), {"value": np.eye(2, 3) > 0}])
def test_frozen_weights_are_those_of_the_run(tmp_path, frozen):
    rule = {"optimizer": Adam(0.01), "frozen": frozen}
    whole = train(MODEL, STATISTICS, START, steps=30, **rule)
    part = load(
        train(MODEL, STATISTICS, START, steps=10, **rule).save(tmp_path / "a.npz")
    )
    same_run(train(MODEL, STATISTICS, part, steps=30), whole)
    same_run(train(MODEL, STATISTICS, part, steps=30, frozen=frozen), whole)
    with pytest.raises(ValueError, match="its set of frozen weights is another one"):
        train(MODEL, STATISTICS, part, steps=30, frozen=("key",))


def test_a_compiled_run_goes_on():
    whole = train(MODEL, STATISTICS, START, learning_rate=0.02, steps=40)
    part = train(MODEL, STATISTICS, START, learning_rate=0.02, steps=25)
    same_run(train(MODEL, STATISTICS, part, steps=40), whole)
    same_run(train(MODEL, STATISTICS, part, steps=40, learning_rate=0.02), whole)
    same_run(
        train(MODEL, STATISTICS, part, steps=40, optimizer=GradientDescent(0.02)), whole
    )


# What is stored


def test_weights_are_stored_as_in_one_run_where_that_can_be():
    rule = {"optimizer": Adam(0.01)}
    part = train(MODEL, STATISTICS, START, steps=12, record=3, **rule)
    for record in (3, 6, [], [0, 6, 25], None):
        more = train(MODEL, STATISTICS, part, steps=30, record=record)
        whole = train(MODEL, STATISTICS, START, steps=30, record=record, **rule)
        if record is None:  # every step, of which the part has a third
            assert more.weight_steps.tolist() == [0, 3, 6, 9, *range(12, 31)]
            assert np.array_equal(more.weights_at(9)["key"], whole.weights_at(9)["key"])
        else:
            same_run(more, whole)
    odd = train(MODEL, STATISTICS, part, steps=30, record=5)
    assert odd.weight_steps.tolist() == [0, 3, 6, 9, 12, 15, 20, 25, 30]


def test_the_longer_of_run_and_checkpoint_goes_on(monkeypatch, tmp_path):
    path = tmp_path / "run.npz"
    rule = {"optimizer": Adam(0.01)}
    whole = train(MODEL, STATISTICS, START, steps=30, **rule)
    first = train(MODEL, STATISTICS, START, steps=10, checkpoint=path, **rule)
    longer = train(MODEL, STATISTICS, START, steps=20, **rule)
    taken = []
    advance = OptimizerSteps.advance
    monkeypatch.setattr(
        OptimizerSteps,
        "advance",
        lambda *point: taken.append(1) or advance(*point),
    )
    same_run(train(MODEL, STATISTICS, longer, steps=30, checkpoint=path), whole)
    assert len(taken) == 10
    same_run(train(MODEL, STATISTICS, first, steps=30, checkpoint=path), whole)
    assert len(taken) == 10  # the checkpoint had them all


# What cannot go on

PART = train(MODEL, STATISTICS, START, optimizer=Adam(0.01), steps=10)
BATCHED = train(MODEL, DATA, START, optimizer=Adam(0.01), batch=5, seed=2, steps=10)


OTHERS = {
    "its optimizer is another one": {"optimizer": GradientDescent(0.01)},
    "its learning rate is another one": {"optimizer": Adam(0.02)},
    "its optimizer is another one: pass": {"optimizer": Adam(0.01, b1=0.8)},
    "its data is another one": {"source": statistics(sample(TASK, 41), MODEL)},
    "its model is another one": {"model": Separate(heads=2, divisor="tokens")},
    "has 10 steps already, more than 9: steps counts from the beginning": {"steps": 9},
    "its batch is another one": {"run": BATCHED, "source": DATA, "batch": 6},
    "its seed is another one": {"run": BATCHED, "source": DATA, "seed": 3},
    "its batch is another": {"source": DATA, "batch": 5},
    "statistics hold all prompts at once": {"run": BATCHED},
    "its learning rate is another": {
        "optimizer": Adam(Schedule({0: 0.01, 9: 0.01, 10: 0.0}, "linear")),
        "run": train(
            MODEL, STATISTICS, START, optimizer=Adam(0.01, clip_norm=1), steps=11
        ),
    },
}


@pytest.mark.parametrize("message", OTHERS)
def test_another_run_does_not_go_on(message):
    changes = {
        "run": PART,
        "source": STATISTICS,
        "model": MODEL,
        "steps": 20,
        **OTHERS[message],
    }
    run, source, model = (changes.pop(name) for name in ("run", "source", "model"))
    if "clip_norm" in (run.optimizer or {}):
        changes["optimizer"] = replace(changes["optimizer"], clip_norm=1)
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        train(model, source, run, **changes)
    assert "\n" not in str(error.value)
    if "statistics" not in message and "steps already" not in message:
        assert "pass run.final to start anew" in str(error.value)


def test_schedules_are_compared_at_the_steps_taken():
    """Their futures may differ: a longer cosine is another schedule, a later end of a plateau is not."""
    early = GradientDescent(Schedule({0: 0.01, 20: 0.01, 30: 0.0}))
    late = GradientDescent(Schedule({0: 0.01, 50: 0.01, 60: 0.0}))
    part = train(MODEL, STATISTICS, START, optimizer=early, steps=15)
    more = train(MODEL, STATISTICS, part, optimizer=late, steps=60)
    same_run(more, train(MODEL, STATISTICS, START, optimizer=late, steps=60))
    part = train(MODEL, STATISTICS, START, optimizer=early, steps=25)
    with pytest.raises(ValueError, match="its learning rate is another one"):
        train(MODEL, STATISTICS, part, optimizer=late, steps=60)


def test_an_optimizer_of_ones_own_must_be_given_and_be_the_same():
    for name, optimizer in (("LikeOptax", LikeOptax()), ("signs", signs)):
        part = train(MODEL, STATISTICS, START, optimizer=optimizer, steps=10)
        with pytest.raises(ValueError, match=rf"of your own \({name}\), which a run"):
            train(MODEL, STATISTICS, part, steps=20)
        for other in (LikeOptax(0.02), lambda *point: signs(*point[:2], 0)):
            with pytest.raises(ValueError, match="does not repeat step 9 of the run"):
                train(MODEL, STATISTICS, part, optimizer=other, steps=20)
        with pytest.raises(ValueError, match="its optimizer is another one"):
            train(MODEL, STATISTICS, part, optimizer=Adam(), steps=20)
    part = train(MODEL, STATISTICS, START, learning_rate=lambda step: 0.1, steps=10)
    with pytest.raises(ValueError, match="a function as learning rate, which a run"):
        train(MODEL, STATISTICS, part, steps=20)


def test_an_optimizer_that_remembers_besides_its_state_does_not_go_on():
    count = []

    def remembers(gradients, weights, step):
        count.append(step)
        return {name: -0.001 * len(count) * g for name, g in gradients.items()}

    part = train(MODEL, STATISTICS, START, optimizer=remembers, steps=10)
    with pytest.raises(ValueError, match="keeps something besides its state"):
        train(MODEL, STATISTICS, part, optimizer=remembers, steps=20)


def test_runs_that_are_not_ours_do_not_go_on():
    times = np.arange(3.0)
    weights = {name: np.stack([value] * 3) for name, value in START.items()}
    outside = Trajectory(
        times, times, None, times, weights, 0.1, {"source": "external"}
    )
    for run, message in (
        (outside, "brought from outside cannot go on"),
        (flow(MODEL, STATISTICS, START, [0, 1]), "a gradient flow has no steps"),
        (replace(outside, settings={}), "only a run that train returned"),
    ):
        with pytest.raises(ValueError, match=message) as error:
            train(MODEL, STATISTICS, run, learning_rate=0.1, steps=10)
        assert "pass run.final to start anew" in str(error.value)
    anew = train(MODEL, STATISTICS, outside.final, learning_rate=0.1, steps=10)
    assert len(anew.loss) == 10


def wrong_states(state):
    """States that are none of the run's after its steps."""
    mean = state["mean"]
    yield {"step": state["step"]}
    yield {**state, "step": state["step"] + 1}
    yield {**state, "mean": list(mean.values())}
    yield {**state, "mean": {name: value[:1] for name, value in mean.items()}}
    yield {**state, "mean": {name: np.nan * value for name, value in mean.items()}}


def test_a_state_of_another_form_or_step_does_not_go_on():
    run = train(MODEL, DATA, START, optimizer=Adam(0.01), steps=4)
    for state in wrong_states(run.state):
        with pytest.raises(ValueError, match="its optimizer's state is another one"):
            train(MODEL, DATA, replace(run, state=state), steps=6)


def test_a_run_that_was_cut_does_not_go_on_with_a_later_state():
    optimizer = GradientDescent(0.01, momentum=0.9)
    run = train(MODEL, DATA, START, optimizer=optimizer, steps=5, record=1)
    cut = replace(
        run,
        time=run.time[:3],
        loss=run.loss[:3],
        gradient_norm=run.gradient_norm[:3],
        weight_time=run.weight_time[:4],
        weights={name: value[:4] for name, value in run.weights.items()},
    )
    with pytest.raises(ValueError, match="its optimizer's state is another one"):
        train(MODEL, DATA, cut, steps=8)


def test_frozen_that_is_no_collection_is_refused_where_a_run_goes_on():
    run = train(MODEL, DATA, START, optimizer=Adam(0.01), steps=2)
    for frozen in (None, 5, iter(["value"])):
        with pytest.raises(ValueError, match="frozen must be names"):
            train(MODEL, DATA, run, steps=4, frozen=frozen)


def test_a_run_that_diverged_does_not_go_on():
    with pytest.raises(descent_module.Diverged) as error:
        train(
            MODEL,
            STATISTICS,
            START,
            optimizer=GradientDescent(60, momentum=0.5),
            steps=500,
            record=100,
        )
    with pytest.raises(ValueError, match="does not hold the weights after its last"):
        train(MODEL, STATISTICS, error.value.trajectory, steps=1000)


# Sources and batches


def test_each_source_has_its_batches():
    with pytest.raises(ValueError, match=re.escape("say batch=, or sample(task, P)")):
        train(MODEL, TASK, START, optimizer=Adam(), steps=5)
    with pytest.raises(ValueError, match="pass the data for minibatches"):
        train(MODEL, STATISTICS, START, optimizer=Adam(), steps=5, batch=10)
    with pytest.raises(ValueError, match="seed draws the batches of a run"):
        train(MODEL, DATA, START, optimizer=Adam(), steps=5, seed=1)
    for batch in (0, 2.0, True, "all"):
        with pytest.raises(ValueError, match="batch must be a whole number"):
            train(MODEL, DATA, START, optimizer=Adam(), steps=5, batch=batch)
    with pytest.raises(ValueError, match="batch"):
        train(MODEL, DATA, START, optimizer=Adam(), steps=5, batch=41)
    for seed in (-1, 0.5):
        with pytest.raises(ValueError, match="seed must be a whole number"):
            train(MODEL, DATA, START, optimizer=Adam(), steps=5, batch=4, seed=seed)


@pytest.mark.parametrize("batch", [10**10, 10**400])
def test_a_batch_that_does_not_fit_is_refused(batch):
    with pytest.raises(MemoryError, match=r"a batch of 1000.* prompts needs"):
        train(MODEL, TASK, START, optimizer=Adam(), steps=5, batch=batch)


def test_a_step_sees_its_batch():
    whole = train(MODEL, DATA, START, learning_rate=1e-9, steps=1)
    epoch = train(MODEL, DATA, START, learning_rate=1e-9, steps=8, batch=5)
    assert np.mean(epoch.loss) == pytest.approx(whole.loss[0], rel=1e-6)
    assert np.std(epoch.loss) > 0.01
    other = train(MODEL, DATA, START, learning_rate=1e-9, steps=8, batch=5, seed=1)
    assert not np.array_equal(other.loss, epoch.loss)
    fresh = train(MODEL, TASK, START, learning_rate=1e-9, steps=8, batch=5)
    assert len(set(fresh.loss.tolist())) == 8
    assert fresh.settings["batch"] == 5
    assert fresh.settings["seed"] == 0


def test_a_swapped_model_and_source_are_told():
    with pytest.raises(TypeError, match=r"call train\(model, source, start\): got Pr"):
        train(DATA, MODEL, START, learning_rate=0.1, steps=1)
    with pytest.raises(TypeError, match="got Task, then Merged"):
        train(TASK, Merged(heads=2), START, learning_rate=0.1, steps=1, batch=3)
