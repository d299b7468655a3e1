"""Runs as data: named by their settings, equal to what one would do by hand, and kept whole in a folder."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given as forall
from hypothesis import settings
from hypothesis import strategies as st

import attndyn
from attndyn import Merged, Separate, Task
from attndyn.simulate import (
    Adam,
    Diverged,
    Experiment,
    GradientDescent,
    Schedule,
    Statistics,
    initial_weights,
    load,
    load_or_run,
    sample,
    statistics,
    train,
)
from attndyn.simulate.runs.store import is_run_of

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
    "optimizer": Adam(0.05),
    "batch": 10,
    "frozen": ("value",),
    "initial": SMALL.start,
}
BESIDE = {
    "optimizer": {"learning_rate": None},
    "batch": {"engine": "tokens"},
    "initial": {"scale": None},
}
"""What must change with a field."""


# The name


def test_every_field_is_part_of_the_name():
    digests = {
        name: replace(SMALL, **{name: value}, **BESIDE.get(name, {})).digest
        for name, value in OTHERS.items()
    }
    assert set(digests) == set(SMALL.__dataclass_fields__)
    assert len({SMALL.digest, *digests.values()}) == len(OTHERS) + 1
    assert replace(SMALL, model=Separate(2)).digest != SMALL.digest


def test_numbers_of_other_kinds_give_the_same_name():
    same = Experiment(
        TASK,
        Merged(np.int64(2)),
        sequences=np.int32(50),
        scale=np.float64(0.3),
        learning_rate=np.float64(0.05),
        steps=np.int64(12),
        seed=np.uint8(0),
        whiten=np.bool(False),
        centre=np.False_,
        record=np.int16(5),
    )
    assert (same.digest, same.to_dict()) == (SMALL.digest, SMALL.to_dict())
    assert same == SMALL
    assert replace(SMALL, scale=1).digest == replace(SMALL, scale=1.0).digest


def test_the_name_is_the_same_in_another_process():
    code = (
        "from attndyn import Merged, Task; from attndyn.simulate import Experiment;"
        "task = Task([2, 1], trace=1.0, context_length=5);"
        "print(Experiment(task, Merged(2), 50, 0.3, 0.05, 12, record=5).digest)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == SMALL.digest


@settings(max_examples=20, deadline=None)
@forall(
    scale=st.floats(1e-6, 1e3),
    rate=st.floats(1e-6, 1.0),
    seed=st.integers(0, 2**40),
    heads=st.integers(1, 9),
    rank=st.integers(1, 4),
    flags=st.tuples(st.booleans(), st.booleans()),
)
def test_the_settings_go_through_json(scale, rate, seed, heads, rank, flags):
    whiten, centre = flags
    model = Separate(heads, rank, divisor="none")
    each = Experiment(
        TASK, model, 50, scale, rate, 10, seed, whiten=whiten, centre=centre
    )
    assert json.loads(json.dumps(each.to_dict())) == each.to_dict()
    assert each.to_dict()["model"] == {
        "model": "separate",
        "heads": heads,
        "rank": rank,
        "divisor": "none",
    }
    assert hash(each) == hash(replace(each))


def test_another_seed_is_another_run_of_the_same_kind():
    other = SMALL.with_seed(3)
    assert other.to_dict() == SMALL.to_dict() | {"seed": 3}
    assert not np.array_equal(other.run().loss, SMALL.run().loss)


# The run


@pytest.mark.parametrize("engine", ["statistics", "tokens"])
@pytest.mark.parametrize(
    "model", [Merged(2, divisor="none"), Separate(2, 2)], ids=["merged", "separate"]
)
def test_a_run_is_what_one_would_do_by_hand(engine, model):
    options = {"whiten": True, "centre": True}
    each = Experiment(
        TASK,
        model,
        50,
        0.1,
        0.02,
        12,
        seed=7,
        scheme="restricted",
        engine=engine,
        **options,
    )
    data = sample(TASK, 50, 7, **options)
    source = data if engine == "tokens" else statistics(data, model)
    start = initial_weights(model, TASK, 0.1, 7, "restricted")
    run, expected = (
        each.run(compiled=True),
        train(model, source, start, learning_rate=0.02, steps=12),
    )
    assert np.array_equal(run.loss, expected.loss)
    assert all(
        np.array_equal(run.weights[name], value)
        for name, value in expected.weights.items()
    )
    wrong = train(
        model,
        source,
        initial_weights(model, TASK, 0.1, 8, "restricted"),
        learning_rate=0.02,
        steps=12,
    )
    assert not np.array_equal(
        run.loss, wrong.loss
    )  # control: another seed of the weights
    plain = statistics(sample(TASK, 50, 7), model)
    assert (
        abs(
            train(model, plain, start, learning_rate=0.02, steps=12).loss - run.loss
        ).max()
        > 1e-6
    )


def test_short_runs_are_not_compiled_unless_asked():
    plain = train(
        SMALL.model,
        SMALL.source,
        SMALL.start,
        learning_rate=0.05,
        steps=12,
        compiled=False,
    )
    assert np.array_equal(SMALL.run().loss, plain.loss)
    np.testing.assert_allclose(SMALL.run(compiled=True).loss, plain.loss, rtol=1e-12)


def test_the_two_engines_are_one_run():
    tokens = replace(SMALL, engine="tokens").run()
    np.testing.assert_allclose(tokens.loss, SMALL.run().loss, rtol=1e-12)
    assert isinstance(SMALL.source, Statistics)
    assert replace(SMALL, engine="tokens").source.digest == SMALL.data.digest


def test_softmax_runs_on_tokens():
    run = replace(SMALL, model=Merged(2, softmax=True), engine="tokens").run()
    assert run.loss.shape == (12,)
    assert abs(run.loss - SMALL.run().loss).max() > 1e-6


def test_the_run_tells_what_it_is():
    run = SMALL.run()
    assert {name: run.settings[name] for name in SMALL.to_dict()} == SMALL.to_dict()
    assert run.settings["versions"]["attndyn"] == attndyn.__version__
    assert run.weight_steps.tolist() == [0, 5, 10, 12]


def test_a_diverging_run_tells_what_it_is_too(tmp_path):
    wild = replace(SMALL, scale=50.0, learning_rate=9.0)
    with pytest.raises(Diverged, match="learning rate smaller than 9") as error:
        wild.run()
    assert (
        load(error.value.trajectory.save(tmp_path / "run.npz")).settings["scale"]
        == 50.0
    )


def test_a_checkpoint_is_passed_on(tmp_path, monkeypatch):
    monkeypatch.setattr("attndyn.simulate.descent.recorder.CHECKPOINT_SECONDS", 0.0)
    assert np.array_equal(SMALL.run(tmp_path / "checkpoint.npz").loss, SMALL.run().loss)
    assert len(load(tmp_path / "checkpoint.npz").loss) == 12


IMPOSSIBLE = {
    "engine": (
        {"engine": "gpu"},
        "engine must be one of tokens, statistics, not 'gpu'",
    ),
    "scheme": (
        {"scheme": "zero"},
        "scheme must be one of gaussian, restricted, zhang2025, aligned, not 'zero'",
    ),
    "softmax": ({"model": Merged(2, softmax=True)}, 'choose engine "tokens"'),
    "steps": ({"steps": 0}, "steps must be a whole number of at least 1"),
    "half a step": ({"steps": 1.5}, "steps must be a whole number, not 1.5"),
    "flag for a number": (
        {"sequences": True},
        "sequences must be a whole number, not True",
    ),
    "number for a flag": ({"whiten": 1}, "whiten must be True or False, not 1"),
    "rates": (
        {"learning_rate": [0.1]},
        r"learning_rate must be one number, not \[0.1\]",
    ),
    "rate": (
        {"learning_rate": float("nan")},
        "learning_rate must be positive and finite",
    ),
    "scale": ({"scale": -1.0}, "scale must be positive and finite"),
    "seed": ({"seed": -1}, "seed must be a whole number of at least 0"),
    "record": ({"record": 0}, "record must be a number of steps of at least 1"),
    "batch beyond the data": (
        {"batch": 51, "engine": "tokens"},
        "batch must be at most 50, the number of sequences, not 51",
    ),
    "batch of half a prompt": (
        {"batch": 2.5, "engine": "tokens"},
        "batch must be a whole number, not 2.5",
    ),
    "outputs": (
        {"model": Merged(2, outputs=2)},
        r"the task has 1 output and the model 2: Merged\(…, outputs=1\)",
    ),
    "no prompts": ({"sequences": None}, "say how many sequences there are, or batch="),
    "batches of statistics": (
        {"batch": 10},
        'statistics hold all prompts at once, and batch needs them one by one: choose engine "tokens"',
    ),
    "whitened fresh prompts": (
        {"sequences": None, "batch": 10, "engine": "tokens", "whiten": True},
        "whiten and centre are of stored sequences",
    ),
    "no rule": ({"learning_rate": None}, "say how to descend: learning_rate=, or"),
    "two rules": ({"optimizer": Adam()}, "learning_rate and optimizer are both given"),
    "a function as rate": (
        {"learning_rate": lambda step: 0.1},
        "a sweep stores its settings, and a function has none: use GradientDescent",
    ),
    "a schedule as rate": (
        {"learning_rate": Schedule({0: 0.1})},
        r"say optimizer=GradientDescent\(schedule\)",
    ),
    "a function in an optimizer": (
        {"optimizer": Adam(lambda step: 0.1), "learning_rate": None},
        "a sweep stores its settings, and a function has none",
    ),
    "an optimizer that is a function": (
        {"optimizer": lambda gradients, weights, step: gradients},
        "a sweep stores its settings, and a function has none",
    ),
    "an optimizer that is text": ({"optimizer": "adam"}, "must be a table"),
    "an optimizer without a name": ({"optimizer": {"name": "lion"}}, "with one of the"),
    "whitening": (
        {"sequences": 2, "whiten": True},
        "whiten needs more than D = 2 sequences",
    ),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_the_impossible_is_refused_at_once(name):
    changes, reason = IMPOSSIBLE[name]
    with pytest.raises(ValueError, match=reason):
        replace(SMALL, **changes)


# Optimizers and batches

COSINE = Schedule({0: 0.0, 4: 0.02, 12: 0.0}, "cosine")
TRAINED = {
    "adam": {"optimizer": Adam(0.01, weight_decay=0.1)},
    "schedule": {"optimizer": GradientDescent(COSINE, momentum=0.5, clip_norm=1.0)},
    "minibatches": {"learning_rate": 0.01, "batch": 10},
    "fresh": {"optimizer": Adam(0.01), "batch": 8, "sequences": None},
}


def of_kind(name, **changes):
    given = {"sequences": 50, "scale": 0.3, "steps": 12, "seed": 3}
    return Experiment(TASK, Merged(2), **{**given, **TRAINED[name], **changes})


@pytest.mark.parametrize("name", TRAINED)
def test_it_trains_with_its_optimizer_and_batches(name, tmp_path):
    experiment, options = of_kind(name), dict(TRAINED[name])
    sequences = options.pop("sequences", 50)
    data = TASK if sequences is None else sample(TASK, sequences, 3)
    source = data
    if "batch" in options:
        options["seed"] = 3
    else:
        source = statistics(data, Merged(2))
    start = initial_weights(Merged(2), TASK, 0.3, 3)
    by_hand = train(Merged(2), source, start, steps=12, compiled=False, **options)
    run = experiment.run()
    assert np.array_equal(run.loss, by_hand.loss)
    assert experiment.engine == ("tokens" if "batch" in options else "statistics")

    stored = load(run.save(tmp_path / "run.npz"))
    assert is_run_of(experiment, stored)
    assert not is_run_of(of_kind(name, seed=4), stored)
    assert Experiment.from_dict(experiment.to_dict()) == experiment
    again = Experiment.from_dict(json.loads(json.dumps(experiment.to_dict())))
    assert again == experiment
    assert again.digest == experiment.digest


def test_optimizer_and_batch_are_left_out_where_there_are_none():
    assert not {"optimizer", "batch"} & SMALL.to_dict().keys()
    # The name that this experiment had before there were optimizers.
    assert SMALL.digest.startswith("736d49816b98289bb4ac82c099474ab2")


def test_settings_of_an_optimizer_stand_for_it():
    table = {"name": "adam", "learning_rate": 0.01, "weight_decay": 0.1}
    assert of_kind("adam", optimizer=table) == of_kind("adam")
    assert of_kind("adam").to_dict()["optimizer"] == table


def test_a_checkpoint_of_fewer_steps_goes_on(tmp_path):
    for name in TRAINED:
        path = tmp_path / f"{name}.npz"
        of_kind(name, steps=7).run(path)
        more = of_kind(name).run(path)
        assert np.array_equal(more.loss, of_kind(name).run().loss)
        assert more.settings["steps"] == 12


def test_a_stored_run_is_read_back(tmp_path):
    for name in TRAINED:
        first = load_or_run(of_kind(name), tmp_path)
        assert np.array_equal(load_or_run(of_kind(name), tmp_path).loss, first.loss)
    assert len(list(tmp_path.iterdir())) == len(TRAINED)


# Frozen weights


@pytest.mark.parametrize("batch", [None, 10])
def test_frozen_weights_stay_as_they_are(batch):
    experiment = replace(SMALL, frozen=["value"], batch=batch, engine="")
    run = experiment.run()
    assert experiment.frozen == ("value",)
    assert np.array_equal(run.final["value"], run.initial["value"])
    assert not np.array_equal(run.final["key_query"], run.initial["key_query"])
    assert run.settings["frozen"] == ["value"]
    assert Experiment.from_dict(experiment.to_dict()) == experiment
    assert replace(SMALL, frozen=()).digest == SMALL.digest


def test_a_run_with_frozen_weights_goes_on(tmp_path):
    whole = replace(SMALL, frozen=("value",))
    part = replace(whole, steps=5, record=5).run()
    more = train(whole.model, whole.source, part, steps=12)
    assert np.array_equal(more.loss, whole.run().loss)
    with pytest.raises(ValueError, match="its set of frozen weights is another one"):
        train(whole.model, whole.source, part, steps=12, frozen=("key_query",))
    other = replace(whole, seed=1)
    with pytest.raises(ValueError, match="its data is another one"):
        train(other.model, other.source, part, steps=12)


@pytest.mark.parametrize(
    ("frozen", "message"),
    [
        ({"value": [True]}, "must be names of weights: call train for masks"),
        (("key",), "frozen names 'key': the weights are value, key_query"),
        ("value", "write"),
        (("value", "key_query"), "leaves no weight to train"),
    ],
)
def test_frozen_weights_of_an_experiment_are_names(frozen, message):
    with pytest.raises(ValueError, match=message):
        replace(SMALL, frozen=frozen)
