"""What a recording may say: every field is honoured, named as not used, or refused in one sentence."""

import json
import os
import re
import threading
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.cli import main
from attndyn.cli.exit_status import ExitStatus
from attndyn.compare import reference_files, replay
from attndyn.compare.replays.recording_fields import (
    DESCRIPTIVE,
    HONOURED,
    META,
    REFUSED,
    is_descriptive,
    tells_of_training,
)
from attndyn.compare.replays.recordings import read_recording
from attndyn.compare.replays.replaying import TOLERANCE
from attndyn.runtime import files
from attndyn.simulate import initial_weights, objective, sample, statistics, train

TASK = Task([2, 1], trace=1.0, context_length=4)
STEPS = 12
CASES = Path(__file__).parents[2] / "data" / "recordings"
SOFTMAX = CASES / "softmax_varylen_separate_h2_d2_n5.npz"
TESTED = CASES / "separate_varylen_test_d2_n5.npz"


def masked(data):
    """Tokens and labels of sampled prompts as a recording has them."""
    tokens = data.tokens
    labels = tokens[..., -1].copy()
    tokens[:, -1, -1] = 0.0
    return tokens, labels


def recorded(**changes):
    """A recording of our own run: settings, then arrays."""
    model, data = Separate(2, 1, divisor="none"), sample(TASK, 30)
    start = initial_weights(model, TASK, 0.3, scheme="gaussian")
    run = train(model, data, start, learning_rate=0.05, steps=STEPS, record=1)
    tokens, labels = masked(data)
    meta = {
        "model": "separate",
        "softmax": False,
        "learning_rate": 0.05,
        "attention_divisor": "none",
    }
    meta |= {"context_lengths": "N"}
    arrays = {"tokens": tokens, "labels": labels, "loss": run.loss}
    arrays |= {f"initial_{name}": value for name, value in start.items()}
    test = sample(TASK, 20, split="test")
    tokens, labels = masked(test)
    evaluate = objective(model, statistics(test, model))
    losses = [
        evaluate({name: value[k] for name, value in run.weights.items()})[0]
        for k in range(STEPS)
    ]
    arrays |= {
        "test_new_tokens": tokens,
        "test_new_labels": labels,
        "test_new_loss": np.array(losses),
    }
    return meta | changes.pop("meta", {}), arrays | changes


def written(folder, meta, arrays):
    """The file, without the fields and arrays that are None."""
    text = json.dumps({name: value for name, value in meta.items() if value is not ...})
    kept = {name: value for name, value in arrays.items() if value is not None}
    np.savez(folder / "run.npz", meta=np.array(text), **kept)
    return folder / "run.npz"


def file_with(folder, **changes):
    return written(folder, *recorded(**changes))


def refusal(path):
    """The one sentence with which the command line refuses a file, in no time."""
    begin = time.process_time()
    with pytest.raises((ValueError, OSError, ArithmeticError)) as error:
        replay(path)
    assert time.process_time() - begin < 10  # it takes a hundredth of a second
    assert "\n" not in str(error.value)
    return str(error.value)


# The published code


def test_softmax_over_every_length_is_divided_by_the_tokens():
    recording = read_recording(SOFTMAX)
    assert recording.model == Separate(2, 1, softmax=True, divisor="tokens")
    assert replay(SOFTMAX).max_relative_deviation < TOLERANCE
    assert recording.data.context_lengths == (1, 2, 3, 4, 5)


@pytest.mark.parametrize("divisor", ["none", "N"])
def test_another_divisor_of_softmax_is_told_apart(tmp_path, divisor):
    arrays = dict(np.load(SOFTMAX))
    meta = json.loads(str(arrays.pop("meta"))) | {"attention_divisor": divisor}
    assert replay(written(tmp_path, meta, arrays)).max_relative_deviation > 1e-2


def test_test_sets_are_evaluated_at_full_length(tmp_path):
    recording = read_recording(TESTED)
    assert [(test.name, test.data.context_lengths) for test in recording.tests] == [
        ("test_iwl", (5,)),
        ("test_icl", (5,)),
    ]
    assert recording.data.context_lengths == (1, 2, 3, 4, 5)
    for engine in ("tokens", "statistics"):
        assert replay(TESTED, engine).max_relative_deviation < TOLERANCE
    arrays = dict(np.load(TESTED))
    meta = json.loads(str(arrays.pop("meta"))) | {
        "test_context_lengths": "1..N averaged"
    }
    assert (
        replay(written(tmp_path, meta, arrays)).max_relative_deviation > 0.1
    )  # control: every length


def test_test_sets_of_softmax_are_evaluated_on_tokens(tmp_path):
    arrays = dict(np.load(SOFTMAX))
    meta = json.loads(str(arrays.pop("meta")))
    recording = read_recording(SOFTMAX)
    rule = {"learning_rate": recording.learning_rate, "steps": 300, "record": 1}
    run = train(recording.model, recording.data, recording.start, **rule)
    evaluate = objective(recording.model, recording.data)
    losses = [
        evaluate({name: value[k] for name, value in run.weights.items()})[0]
        for k in range(300)
    ]
    test = {
        "test_a_tokens": arrays["tokens"],
        "test_a_labels": arrays["labels"],
        "test_a_loss": np.array(losses),
    }
    same = written(
        tmp_path, meta | {"test_context_lengths": "1..N averaged"}, arrays | test
    )
    assert replay(same).max_relative_deviation < TOLERANCE
    assert replay(written(tmp_path, meta, arrays | test)).max_relative_deviation > 1e-3


# What is honoured


def test_a_recording_of_our_own_is_repeated(tmp_path):
    result = replay(file_with(tmp_path))
    assert result.max_relative_deviation < 1e-12
    assert result.not_used == ()


SIZES = {
    "dimension": 2,
    "context_length": 4,
    "heads": 2,
    "rank": 1,
    "sequences": 30,
    "steps": STEPS,
    "outputs": 1,
}
SIZES |= {"batch_size": 30}


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_arrays(tmp_path, name):
    right = replay(file_with(tmp_path, meta={name: SIZES[name]}))
    assert (right.not_used, right.max_relative_deviation < 1e-12) == ((), True)
    for wrong in (SIZES[name] - 1, str(SIZES[name]), True, [SIZES[name]]):
        assert f"its meta has {name} = {wrong!r}, but its arrays have" in refusal(
            file_with(tmp_path, meta={name: wrong})
        )


def test_the_losses_may_be_the_first_ones_of_a_longer_run(tmp_path):
    meta, arrays = recorded(meta={"steps": 100})
    assert replay(written(tmp_path, meta, arrays)).steps == STEPS
    assert "steps = 11, but its arrays have 12" in refusal(
        file_with(tmp_path, meta={"steps": 11})
    )


def test_every_field_has_a_use_and_is_used_so(tmp_path):
    """A descriptive field is named and changes nothing; a refused one has a value that passes."""
    names = [name for name, field in META.items() if field.use == DESCRIPTIVE]
    odd = {
        name: [None, {"x": 1}, "text", 3, [[0, 1]]][k % 5]
        for k, name in enumerate(names)
    }
    result = replay(file_with(tmp_path, meta=odd))
    assert result.max_relative_deviation < 1e-12
    assert set(result.not_used) == set(names)
    for name, field in META.items():
        assert field.use in (HONOURED, DESCRIPTIVE, REFUSED)
        if field.use == REFUSED:
            assert (
                replay(file_with(tmp_path, meta={name: field.values[0]})).not_used == ()
            )
            assert f"its meta has {name} = 'another'" in refusal(
                file_with(tmp_path, meta={name: "another"})
            )


HONOURED_FIELDS = {
    "softmax": ["false", 0, 1, None, [True]],
    "learning_rate": [
        "0.05",
        True,
        0,
        -0.1,
        float("nan"),
        float("inf"),
        10**400,
        None,
        [0.05],
    ],
    "attention_divisor": ["n", None, 0, True, -1, float("nan"), ["none"], {}, "tokens"],
    "context_lengths": [
        "1..N",
        4,
        None,
        "all",
        [],
        [1.0],
        [True],
        [-1],
        [2, 2],
        {},
        {"1": 0},
        {"1": True},
        {"01": 1},
        {"1.0": 1},
        "5..3 averaged",
    ],
    "test_context_lengths": ["full", 4, [1, 1]],
    "query_token": ["no", 0, 1, [False]],
    "fresh_batches": ["no", 0, 1, [False]],
    "loss": ["cross entropy", 1, None, "half of the mean squared error"],
    "model": ["mamba", "Merged", None, ["merged"], {}],
}
MAY_BE_LEFT_OUT = ("test_context_lengths", "query_token", "fresh_batches", "loss")


@pytest.mark.parametrize("name", HONOURED_FIELDS)
def test_a_field_that_decides_the_training_says_what_is_known_or_is_refused(
    tmp_path, name
):
    for value in HONOURED_FIELDS[name]:
        assert f"its meta has {name} = " in refusal(
            file_with(tmp_path, meta={name: value})
        )
    if name not in MAY_BE_LEFT_OUT:
        assert f"it lacks '{name}'" in refusal(file_with(tmp_path, meta={name: ...}))


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("attention_divisor", "N"),
        ("attention_divisor", 1.5),
        ("context_lengths", "1..N averaged"),
        ("context_lengths", [1, 3]),
        ("context_lengths", {"4": 1, "0": 0.5}),
        ("query_token", False),
    ],
)
@pytest.mark.parametrize("softmax", [False, True])
def test_a_field_that_decides_the_training_changes_it(tmp_path, name, other, softmax):
    """None of them is dropped, whatever the others say."""
    meta, arrays = recorded(meta={"softmax": softmax})
    first, second = (
        read_recording(written(tmp_path, meta | change, arrays))
        for change in ({}, {name: other})
    )
    losses = [
        train(each.model, each.data, each.start, learning_rate=0.05, steps=3).loss
        for each in (first, second)
    ]
    assert np.max(np.abs(losses[0] / losses[1] - 1)) > 1e-3


RUNS = {
    "no query token": {"query_token": False},
    "every length": {"context_lengths": "0..N averaged"},
    "some lengths": {"context_lengths": [1, 4]},
    "weighted lengths": {"context_lengths": {"2": 1, "4": 3}},
    "a range": {"context_lengths": "2..3 averaged"},
    "a number": {"attention_divisor": 2.5},
    "softmax over the context": {
        "softmax": True,
        "query_token": False,
        "attention_divisor": "N",
    },
    "softmax over every length": {
        "softmax": True,
        "attention_divisor": "tokens in the prompt, query included",
        "context_lengths": "1..N averaged",
    },
}
LENGTHS = {
    "N": ((4,), (1,)),
    "0..N averaged": ((0, 1, 2, 3, 4), (0.2,) * 5),
    "1..N averaged": ((1, 2, 3, 4), (0.25,) * 4),
    "2..3 averaged": ((2, 3), (0.5, 0.5)),
    "[1, 4]": ((1, 4), (0.5, 0.5)),
    "{'2': 1, '4': 3}": ((2, 4), (0.25, 0.75)),
}


def plain_loss(meta, arrays):
    """The loss before the first step, from the formula, one prompt after another."""
    lengths, weights = LENGTHS[str(meta["context_lengths"])]
    tokens, labels = arrays["tokens"], arrays["labels"]
    a = arrays["initial_value"]
    B = np.einsum(
        "hri,hrj->hij", arrays["initial_key"], arrays["initial_query"][..., :-1]
    )
    loss = 0.0
    for n, weight in zip(lengths, weights, strict=True):
        for p in range(len(tokens)):
            query = np.append(tokens[p, n, :-1], 0.0)
            rows = [*tokens[p, :n]]
            if meta.get("query_token", True):
                rows.append(query)
            divisor = {
                "none": 1,
                "N": max(n, 1),
                "tokens in the prompt, query included": n + 1,
            }.get(meta["attention_divisor"], meta["attention_divisor"])
            output = 0.0
            for head in range(len(a)):
                scores = np.array([row @ B[head] @ query[:-1] for row in rows])
                if meta["softmax"]:
                    scores = np.exp(scores) / np.sum(np.exp(scores))
                values = np.array([row @ a[head] for row in rows])
                output += float(scores @ values) / divisor
            loss += weight * (output - labels[p, n]) ** 2 / len(tokens)
    return loss


@pytest.mark.parametrize("name", RUNS)
def test_what_a_recording_says_is_what_is_trained(tmp_path, name):
    meta, arrays = recorded(meta=RUNS[name])
    recording = read_recording(written(tmp_path, meta, arrays))
    first = plain_loss(meta, arrays)
    run = train(
        recording.model, recording.data, recording.start, learning_rate=0.01, steps=4
    )
    assert run.loss[0] == pytest.approx(first, rel=1e-12)
    if not meta["softmax"]:
        stats = statistics(recording.data, recording.model)
        on_statistics = objective(recording.model, stats)(recording.start)
        assert on_statistics[0] == pytest.approx(first, rel=1e-12)


def test_a_divisor_that_counts_a_token_that_is_not_read_is_refused(tmp_path):
    said = {
        "query_token": False,
        "attention_divisor": "tokens in the prompt, query included",
    }
    assert "beside query_token = False" in refusal(file_with(tmp_path, meta=said))


@pytest.mark.parametrize("stated", [[9], {"5": 1}, "0..5 averaged", [0]])
def test_lengths_that_the_tokens_do_not_have_are_refused(tmp_path, stated):
    path = file_with(tmp_path, meta={"context_lengths": stated})
    assert "its context lengths must be from 0 to N = 4" in refusal(path)


SCORES = {1: None, 2: 4, "sqrt(3)": 3, "sqrt_key": 2}


@pytest.mark.parametrize("divisor", SCORES)
@pytest.mark.parametrize("softmax", [False, True])
def test_scores_are_divided_as_the_recording_says(tmp_path, divisor, softmax):
    """By a root of the rank, too, and before a softmax whose output is divided; 1 is what there is without it."""
    said = {
        "model": "separate",
        "softmax": softmax,
        "attention_divisor": "N",
        "score_divisor": divisor,
    }
    start = {
        "value": np.ones((1, 3)),
        "key": 1 + np.arange(6.0).reshape(1, 2, 3),
        "query": np.ones((1, 2, 3)),
    }
    arrays = {f"initial_{name}": value for name, value in start.items()}
    recording = read_recording(file_with(tmp_path, meta=said, **arrays))
    tokens = recording.data.tokens.copy()
    tokens[:, -1, -1] = 0
    scores = np.einsum(
        "pni,ri,rj,pj->pn", tokens, start["key"][0], start["query"][0], tokens[:, -1]
    )
    scores = scores / np.sqrt(SCORES[divisor] or 1)
    weights = np.exp(scores - scores.max(axis=1, keepdims=True)) if softmax else scores
    weights = weights / weights.sum(axis=1, keepdims=True) if softmax else weights
    output = np.einsum("pni,pn->p", tokens, weights) / 4
    expected = np.mean((output - recording.labels[:, -1]) ** 2)
    loss = train(
        recording.model, recording.data, recording.start, learning_rate=1e-3, steps=1
    ).loss[0]
    assert loss == pytest.approx(expected, rel=1e-12)


def test_statistics_know_the_score_divisor_of_a_recording(tmp_path):
    path = file_with(tmp_path, meta={"score_divisor": "sqrt(2)"}, test_new_loss=None)
    on_tokens, on_statistics = (
        replay(path, engine) for engine in ("tokens", "statistics")
    )
    assert on_statistics.max_relative_deviation > 1e-3  # it is not that of the run
    assert on_statistics.max_relative_deviation == pytest.approx(
        on_tokens.max_relative_deviation, rel=1e-9
    )


@pytest.mark.parametrize("wrong", [0, -1, "many", True, [1], {}, 10**400, float("nan")])
def test_a_score_divisor_that_is_none_is_refused(tmp_path, wrong):
    assert "score" in refusal(file_with(tmp_path, meta={"score_divisor": wrong}))


# What is refused because it would change the training

UNKNOWN = {
    "gradient_clipping": 1.0,
    "minibatch": 32,
    "batchSize": 32,
    "dropout_rate": 0.1,
    "lr_schedule": "cosine",
    "Adam": {"beta": 0.9},
    "attention_mask": "causal",
    "n_layers": 2,
    "l2_penalty": 1e-3,
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_an_unknown_field_that_tells_of_training_is_refused(tmp_path, name):
    shown = refusal(file_with(tmp_path, meta={name: UNKNOWN[name]}))
    assert f"its meta has {name} = " in shown
    assert shown.endswith("which a replay does not know how to follow")
    assert (
        replay(file_with(tmp_path, meta={name: None})).not_used == ()
    )  # it says that there was none


@pytest.mark.parametrize(
    "name", ["mask", "learning_rates_schedule", "softmax", "batches", "targets"]
)
def test_an_array_that_tells_of_training_is_refused(tmp_path, name):
    assert f"its array {name} " in refusal(file_with(tmp_path, **{name: np.ones(3)}))


def test_an_unknown_field_or_array_that_does_not_is_named(tmp_path):
    others = {
        "gradient_norm": np.ones(STEPS),
        "final_value": np.ones((2, 3)),
        "validation_loss": np.array("text"),
    }
    result = replay(
        file_with(tmp_path, meta={"colour": "red", "laboratory": [1]}, **others)
    )
    assert result.not_used == ("colour", "laboratory", *others)
    assert result.max_relative_deviation < 1e-12


def test_names_that_do_not_print_stay_on_their_line(tmp_path):
    names = ["two\nlines", "\x1b[31mred", "long" * 1000, ""]
    result = replay(
        file_with(tmp_path, meta=dict.fromkeys(names, 1), **{"odd\nname": np.ones(1)})
    )
    assert len(result.not_used) == 5
    assert all(each.isprintable() and 0 < len(each) < 80 for each in result.not_used)
    assert refusal(
        file_with(tmp_path, meta={"dropout\nrate": "\n" * 100})
    ).isprintable()
    assert refusal(file_with(tmp_path, **{"initial_\n": np.ones(1)})).isprintable()


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30))
def test_every_name_is_descriptive_or_tells_of_training(name):
    known = META.get(name)
    assert is_descriptive(name) == (
        known.use == DESCRIPTIVE if known else not tells_of_training(name)
    )


def test_weights_that_the_model_does_not_have_are_refused(tmp_path):
    assert "initial_output is no weight" in refusal(
        file_with(tmp_path, initial_output=np.ones((2, 1)))
    )
    assert "must have shape (2, 1, 3), not (2, 2, 3)" in refusal(
        file_with(tmp_path, initial_query=np.ones((2, 2, 3)))
    )
    assert "must have shape (H, D+1), not (2, 3, 3)" in refusal(
        file_with(tmp_path, initial_value=np.ones((2, 3, 3)))
    )


def test_a_field_that_is_stated_twice_is_refused(tmp_path):
    meta, arrays = recorded()
    text = json.dumps(meta)[:-1] + ', "softmax": true}'
    np.savez(tmp_path / "run.npz", meta=np.array(text), **arrays)
    assert "its meta states 'softmax' twice" in refusal(tmp_path / "run.npz")


def test_losses_of_some_steps_only_are_refused(tmp_path):
    assert replay(file_with(tmp_path, steps=np.arange(STEPS))).not_used == ()
    assert "its array steps must be 0 … 11" in refusal(
        file_with(tmp_path, steps=np.arange(0, 120, 10))
    )


@pytest.mark.parametrize(
    "name",
    [
        "softmax",
        "attention_divisor",
        "context_lengths",
        "score_divisor",
        "query_token",
    ],
)
def test_cubic_features_know_nothing_of_attention(tmp_path, name):
    arrays = dict(
        np.load(next(path for path in reference_files() if path.stem == "mlp_cubic"))
    )
    meta = json.loads(str(arrays.pop("meta")))
    assert (
        replay(written(tmp_path, meta | {name: ...}, arrays)).max_relative_deviation
        < TOLERANCE
    )
    other = {
        "softmax": True,
        "attention_divisor": "N",
        "context_lengths": "1..N averaged",
        "score_divisor": 2,
        "query_token": False,
    }[name]
    assert f"its meta has {name} = {other!r}: cubic features know only" in refusal(
        written(tmp_path, meta | {name: other}, arrays)
    )


# Numbers that contradict each other


def test_labels_are_the_y_of_the_tokens(tmp_path):
    _, arrays = recorded()
    tokens, labels = arrays["tokens"], arrays["labels"]
    one = labels.copy()
    one[3, 2] *= 1 + 1e-3
    for wrong in (labels + 1, -labels, one):
        assert "its labels contradict its tokens" in refusal(
            file_with(tmp_path, labels=wrong)
        )
    for wrong in (labels[:, :-1], labels[:-1], labels[:, 1:]):
        assert "its array labels must have shape (30, 5), not" in refusal(
            file_with(tmp_path, labels=wrong)
        )
    shown = tokens.copy()
    shown[..., -1] = labels
    assert "must have y = 0 in the last row" in refusal(
        file_with(tmp_path, tokens=shown)
    )
    rounded = replay(file_with(tmp_path, labels=labels.astype(np.float32)))
    assert (
        rounded.max_relative_deviation < TOLERANCE
    )  # of which the query's are trained on


def test_a_test_set_never_stops_a_replay(tmp_path):
    _, arrays = recorded()
    tokens, labels = arrays["test_new_tokens"], arrays["test_new_labels"]
    wrong = {
        "losses for 12 steps": {"test_new_loss": np.ones(30)},
        "must have shape (steps,)": {"test_new_loss": np.array("low")},
        "must hold real numbers": {"test_new_loss": np.array(["low"] * STEPS)},
        "it lacks 'test_new_tokens'": {"test_new_tokens": None},
        "it lacks 'test_new_labels'": {"test_new_labels": None},
        "must be finite": {"test_new_tokens": np.full_like(tokens, np.nan)},
        "labels contradict": {"test_new_labels": labels + 1},
        "must have shape (P, N+1, 3)": {"test_new_tokens": tokens[..., 1:]},
        "must be above 0": {"test_new_loss": np.zeros(STEPS)},
    }
    for reason, change in wrong.items():
        result = replay(file_with(tmp_path, **change))
        assert result.max_relative_deviation < 1e-12
        assert len(result.not_used) == 1
        assert result.not_used[0].startswith("test_new (")
        assert reason in result.not_used[0]
    others = replay(file_with(tmp_path, test_new_loss=1.001 * arrays["test_new_loss"]))
    assert others.max_relative_deviation > 5e-4  # control: a whole one counts


def test_a_test_set_may_have_another_length(tmp_path):
    shorter = {
        name: recorded()[1][f"test_new_{name}"][:, 1:] for name in ("tokens", "labels")
    }
    result = replay(
        file_with(
            tmp_path, **{f"test_new_{name}": value for name, value in shorter.items()}
        )
    )
    assert result.not_used == ()
    assert (
        result.max_relative_deviation > 1e-3
    )  # its losses are those of the longer one


# Files that are none

WRONG_LOSSES = {
    "text": np.array("a lot"),
    "texts": np.array(["1.0"] * STEPS),
    "scalar": np.array(1.0),
    "empty": np.ones(0),
    "matrix": np.ones((STEPS, 1)),
    "nan": np.full(STEPS, np.nan),
    "zero": np.zeros(STEPS),
    "complex": np.ones(STEPS) + 1j,
    "bool": np.ones(STEPS, dtype=bool),
    "dates": np.full(STEPS, "2020", dtype="M8[D]"),
    "records": np.zeros(STEPS, dtype=[("a", float)]),
    "objects": np.array([1.0] * STEPS, dtype=object),
    "too long": np.ones(1_000_001),
}


@pytest.mark.parametrize("kind", WRONG_LOSSES)
def test_losses_that_are_none(tmp_path, kind):
    shown = refusal(file_with(tmp_path, loss=WRONG_LOSSES[kind]))
    assert "loss" in shown
    assert "truncated" not in shown


@pytest.mark.parametrize(
    "name",
    ["tokens", "labels", "initial_value", "initial_key", "initial_query", "loss"],
)
def test_numbers_that_are_none_are_named(tmp_path, name):
    value = recorded()[1][name]
    spoiled = value.copy()
    spoiled.flat[0] = np.inf
    assert f"its array {name} must be finite: it holds nan or inf" in refusal(
        file_with(tmp_path, **{name: spoiled})
    )
    assert f"its array {name} must hold real numbers, not " in refusal(
        file_with(tmp_path, **{name: value + 0j})
    )
    assert f"its array {name} must have shape" in refusal(
        file_with(tmp_path, **{name: value[None]})
    )
    assert f"it lacks '{name}'" in refusal(file_with(tmp_path, **{name: None}))


META_TEXTS = {
    "numbers": np.ones(2),
    "list": np.array("[1]"),
    "no JSON": np.array('{"model": '),
    "nested": np.array("[" * 100_000),
    "no text": np.array(b"\xff\xfe\x00"),
    "endless": np.array(" " * 2_000_000),
    "empty": np.array(""),
}


@pytest.mark.parametrize("kind", META_TEXTS)
def test_settings_that_are_none(tmp_path, kind):
    np.savez(tmp_path / "run.npz", **recorded()[1] | {"meta": META_TEXTS[kind]})
    assert "its meta " in refusal(tmp_path / "run.npz")


def test_numbers_that_overflow_are_a_run_that_diverges(tmp_path):
    _, arrays = recorded()
    huge = {name: 1e200 * arrays[name] for name in ("tokens", "labels")}
    assert "the replay diverges at step 0, where the recorded run does not" in refusal(
        file_with(tmp_path, **huge)
    )


@pytest.mark.parametrize("engine", ["tokens", "statistics"])
def test_a_test_set_that_overflows_is_a_setting_that_differs(tmp_path, capsys, engine):
    """And no NaN, which JSON does not have."""
    _, arrays = recorded()
    huge = {
        name: 1e200 * arrays[name] for name in ("test_new_tokens", "test_new_labels")
    }
    path = file_with(tmp_path, **huge)
    with pytest.raises(
        ArithmeticError, match="the loss on test_new is not finite at step 0"
    ):
        replay(path, engine)
    assert (
        main(["replay", str(path), "--engine", engine, "--json"])
        == ExitStatus.OTHER_THAN_EXPECTED
    )
    assert capsys.readouterr().out == ""


def test_a_deviation_beyond_all_numbers_is_null_in_json(tmp_path, capsys):
    _, arrays = recorded()
    path = file_with(
        tmp_path, loss=np.where(np.arange(STEPS) == 3, 5e-324, arrays["loss"])
    )
    assert main(["replay", str(path), "--json"]) == ExitStatus.OTHER_THAN_EXPECTED
    assert (
        json.loads(capsys.readouterr().out, parse_constant=pytest.fail)[
            "max_relative_deviation"
        ]
        is None
    )


def test_a_pipe_a_folder_and_a_device_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    done = threading.Event()

    def read():
        refusal(tmp_path / "pipe")
        done.set()

    threading.Thread(target=read, daemon=True).start()
    assert done.wait(10)
    for path in (tmp_path / "pipe", Path("/dev/zero"), Path("/dev/null")):
        assert "not a regular file, which alone can be read" in refusal(path)
    assert "Is a directory" in refusal(tmp_path)


def archive(path, members):
    with zipfile.ZipFile(path, "w") as file:
        for name, content in members:
            file.writestr(name, content)
    return path


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_an_archive_that_is_no_npz_file(tmp_path):
    path = tmp_path / "run.npz"
    assert "it lacks 'meta'" in refusal(archive(path, [("a.txt", "hello")]))
    assert "it lacks 'meta'" in refusal(archive(path, []))
    assert "truncated or something else" in refusal(
        archive(path, [("meta.npy", "hello")])
    )
    assert "it holds an array twice" in refusal(
        archive(path, [("loss.npy", "x"), ("loss.npy", "y")])
    )


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    path = file_with(tmp_path, loss=np.array([print] * STEPS, dtype=object))
    assert "its array loss must hold real numbers, not object" in refusal(path)
    assert replay(file_with(tmp_path, notes=np.array([{}], dtype=object))).not_used == (
        "notes",
    )


def add_zeros(path, name, shape):
    """An array of zeros in the file that is written, and would be read, in pieces only."""
    with (
        zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as file,
        file.open(f"{name}.npy", "w", force_zip64=True) as part,
    ):
        header = {"descr": "<f8", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(part, header)
        for _ in range(8 * int(np.prod(shape)) // 2**20):
            part.write(bytes(2**20))


def test_an_array_that_is_not_used_is_not_read(tmp_path, monkeypatch):
    path = file_with(tmp_path)
    add_zeros(path, "extra", (2**20,))
    read = []
    monkeypatch.setattr(
        "attndyn.runtime.files._array", lambda archive, info: noted(read, archive, info)
    )
    assert read_recording(path).not_used == ("extra",)
    assert {"tokens.npy", "labels.npy", "loss.npy", "meta.npy"} < set(read)
    assert "extra.npy" not in read


def noted(names, archive, info, original=files._array):
    names.append(info.filename)
    return original(archive, info)


def test_an_array_that_would_not_fit_is_refused_before_it_is_read(
    tmp_path, monkeypatch
):
    path = file_with(tmp_path)
    monkeypatch.setattr("attndyn.compare.replays.recording_arrays.LARGEST_BYTES", 1000)
    assert re.search(
        r"its arrays need \d\.\d GiB of memory, and a replay takes at most",
        refusal(path),
    )


def test_a_header_that_promises_more_than_there_is_is_refused(tmp_path):
    path = file_with(tmp_path, tokens=None)
    with zipfile.ZipFile(path, "a") as file, file.open("tokens.npy", "w") as part:
        header = {"descr": "<f8", "fortran_order": False, "shape": (10**9, 10**6, 3)}
        np.lib.format.write_array_header_1_0(part, header)
    assert "tokens.npy holds less or more than it says" in refusal(path)


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_damaged_file_is_refused_in_one_sentence_or_is_whole(tmp_path_factory, data):
    """Bytes that are changed at random never end in a traceback, nor in other numbers."""
    folder = tmp_path_factory.mktemp("damaged")
    whole = bytearray(WHOLE)
    for place in data.draw(
        st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)
    ):
        whole[place] ^= data.draw(st.integers(1, 255))
    path = folder / "run.npz"
    path.write_bytes(
        whole[
            : data.draw(st.sampled_from([len(whole), len(whole), 3 * len(whole) // 4]))
        ]
    )
    try:
        reading = None
        assert replay(path).max_relative_deviation < 1e-12
    except ValueError as error:
        reading = str(error)
    assert reading is None or reading.startswith(f"{path} is no recording")


def _whole():
    from tempfile import TemporaryDirectory

    with TemporaryDirectory() as folder:
        return file_with(Path(folder)).read_bytes()


WHOLE = _whole()


# What this package writes itself


def test_a_file_that_simulate_wrote_says_what_it_is(tmp_path, capsys):
    out = tmp_path / "run.npz"
    small = [
        "--eigenvalues",
        "2,1",
        "--context-length",
        "5",
        "--learning-rate",
        "0.01",
        "--steps",
        "5",
    ]
    assert main(["simulate", *small, "--sequences", "20", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["replay", str(out)]) == ExitStatus.NOT_DONE
    shown = capsys.readouterr().err
    assert (
        "it is a trajectory, as `attndyn simulate` and Trajectory.save write it"
        in shown
    )
    assert "read it with attndyn.simulate.load" in shown
    assert shown.count("\n") == 1


def test_the_command_line_names_what_is_not_used(tmp_path, capsys):
    path = file_with(
        tmp_path, meta={"source": "a thesis", "seed": 3}, test_other_loss=np.ones(3)
    )
    assert main(["replay", str(path), "--json"]) == 0
    shown = capsys.readouterr()
    assert (
        shown.err
        == "not used: source, seed, test_other (it lacks 'test_other_tokens')\n"
    )
    assert "not_used" not in json.loads(shown.out)
