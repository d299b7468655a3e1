"""Recordings of attention with query, key, value and output matrices, of several labels, and on fresh batches."""

import hashlib
import json

import numpy as np
import pytest

from attndyn import Factorised
from attndyn.compare import reference_files, replay
from attndyn.compare.replays.recording_fields import (
    MEAN_OVER_OUTPUTS,
    SUM_OVER_OUTPUTS,
)
from attndyn.compare.replays.recordings import read_recording
from attndyn.compare.replays.replaying import TOLERANCE
from attndyn.simulate import BatchesInOrder, train
from attndyn.theory.softmax_attention import head_scalars

DIGESTS = {
    "chen_decomposable": "86c7035e0eeea7f1",
    "he_reduced_flow": "b016b286b4a976ce",
    "he_two_heads": "f15370afb9da4db8",
    "he_two_tasks": "bae027076553d61e",
}
"""Beginning of the SHA-256 of each file: a recording that changes is no evidence."""

FILES = {path.stem: path for path in reference_files("softmax_attention")}
TASKS = FILES["he_two_tasks"]
STEPS = 5


def refusal(path, engine="tokens"):
    """The one sentence with which a file is refused."""
    with pytest.raises((ValueError, ArithmeticError)) as error:
        replay(path, engine)
    assert "\n" not in str(error.value)
    return str(error.value)


def written(folder, meta, arrays):
    """The file, without the fields and arrays that are None; a field of null is `...`."""
    fields = {name: value for name, value in meta.items() if value is not None}
    text = json.dumps({k: None if v is ... else v for k, v in fields.items()})
    kept = {name: value for name, value in arrays.items() if value is not None}
    np.savez(folder / "run.npz", meta=np.array(text), **kept)
    return folder / "run.npz"


def changed(folder, path, meta=None, **arrays):
    """A recording with other fields or arrays."""
    content = dict(np.load(path))
    stated = json.loads(str(content.pop("meta")))
    return written(folder, stated | (meta or {}), content | arrays)


# The recorded runs


def test_the_recordings_are_the_recorded_ones():
    found = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for name, path in FILES.items()
    }
    assert found == DIGESTS
    with pytest.raises(
        ValueError,
        match="wing must be one of linear_attention, linear_transformer, soft",
    ):
        reference_files("softmax")


@pytest.mark.parametrize("name", ["chen_decomposable", "he_two_heads", "he_two_tasks"])
def test_tokens_follow_the_recording(name):
    result = replay(FILES[name])
    assert result.max_relative_deviation < TOLERANCE == result.tolerance
    # Another implementation in double precision was off by 6.5e-7, 5.1e-7 and 4.9e-7.
    assert 4e-7 < result.max_relative_deviation < 7e-7
    assert {"label_of_query", "final_output"} <= set(result.not_used)


def test_the_two_heads_end_with_opposite_signs_and_share_what_is_off_the_family():
    """On a fixed sample both B have the same part off the diagonal, which zero-sum values cancel."""
    stored, recording = (
        np.load(FILES["he_two_heads"]),
        read_recording(FILES["he_two_heads"]),
    )
    final = {name: stored[f"final_{name}"] for name in recording.start}
    with pytest.raises(ValueError, match=r"distance from these is 0\.54 of their size"):
        head_scalars(recording.model, final)
    ω, μ = head_scalars(recording.model, final, tolerance=np.inf)
    np.testing.assert_allclose(ω, [-0.208, 0.168], atol=5e-4)
    np.testing.assert_allclose(μ, [-2.35, 2.45], atol=5e-3)
    _, B = recording.model.heads(final)
    off = B[:, :5] / np.sqrt(6) - np.multiply.outer(ω, np.eye(5))
    assert np.linalg.norm(off[0] - off[1]) < 0.6 * np.linalg.norm(off[0])


def test_final_weights_are_the_recorded_ones():
    recording, stored = read_recording(TASKS), np.load(TASKS)
    assert recording.model == Factorised(
        3, 8, 8, outputs=2, softmax=True, query_token=False, score_divisor="sqrt_key"
    )
    final = train(
        recording.model,
        recording.data,
        recording.start,
        learning_rate=recording.learning_rate / 2,
        steps=len(recording.loss),
        record=10**6,
    ).final
    for name, value in final.items():
        recorded, size = (
            stored[f"final_{name}"],
            np.max(np.abs(stored[f"final_{name}"])),
        )
        assert np.max(np.abs(value - recorded)) < 3e-6 * size
        moved = np.max(np.abs(recording.start[name] - recorded))
        assert moved > 1e-2 * size  # control: the weights did move


WRONG = {
    "scores not divided": ({"score_divisor": 1}, 0.57),
    "query token among the keys": ({"query_token": True}, 9.0e-2),
    "rate 0.1 % too large": ({"learning_rate": 0.05 * 1.001}, 1.4e-3),
    "gradient of the sum over labels": ({"learning_rate": 0.05 * 2}, 0.57),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_conventions_are_told_apart_as_far_as_elsewhere(tmp_path, name):
    """The deviations are those that another implementation of these wrong conventions had."""
    meta, expected = WRONG[name]
    result = replay(changed(tmp_path, TASKS, meta))
    assert result.max_relative_deviation > 100 * TOLERANCE
    assert result.max_relative_deviation == pytest.approx(expected, rel=0.05)


def test_a_loss_summed_over_labels_is_told_apart(tmp_path):
    loss = np.load(TASKS)["loss"][:5]
    result = replay(changed(tmp_path, TASKS, {"loss": SUM_OVER_OUTPUTS}, loss=loss))
    assert result.max_relative_deviation > 0.99  # twice the mean over two labels


# Recordings of a plain loop


def plain_loss(weights, tokens, labels, softmax=True):
    """The loss of the formula with all four matrices, of real or complex weights."""
    T = labels.shape[1]
    total = 0.0
    for rows, label in zip(tokens, labels, strict=True):
        context, query = rows[:-1], rows[-1]
        output = np.zeros(T, dtype=complex)
        for h in range(len(weights["key"])):
            keys = weights["key"][h] @ context.T
            scores = (weights["query"][h] @ query) @ keys
            scores = scores / np.sqrt(len(weights["key"][h]))
            if softmax:
                scores = np.exp(scores) / np.sum(np.exp(scores))
            values = weights["output"][h] @ weights["value"][h] @ context.T
            output = output + values @ scores
        total = total + np.sum((output - label) ** 2) / len(tokens)
    return total


def plain_gradients(weights, tokens, labels, softmax):
    """By complex steps of the formula."""
    gradients = {name: np.zeros(value.shape) for name, value in weights.items()}
    for name, value in weights.items():
        for index in np.ndindex(value.shape):
            shifted = value.astype(complex)
            shifted[index] += 1e-30j
            loss = plain_loss(weights | {name: shifted}, tokens, labels, softmax)
            gradients[name][index] = loss.imag / 1e-30
    return gradients


D, N, P, H, R, E = 2, 3, 4, 2, 3, 2
RATE = 0.05


def plain_start(draws, outputs):
    """Weights of H heads."""
    shapes = {
        "output": (H, outputs, E),
        "value": (H, E, D + outputs),
        "key": (H, R, D + outputs),
        "query": (H, R, D + outputs),
    }
    return {name: draws.normal(size=shape) / 2 for name, shape in shapes.items()}


def plain_losses(start, batches, over, softmax):
    """The loss before every step, over so many outputs."""
    weights, losses = start, []
    for tokens, labels in batches:
        losses.append(plain_loss(weights, tokens, labels, softmax).real / over)
        slopes = plain_gradients(weights, tokens, labels, softmax)
        weights = {k: weights[k] - RATE / over * slopes[k] for k in weights}
    return np.array(losses)


def plain_recording(outputs=1, fresh=False, softmax=True, mean=True):
    """Fields and arrays of a run by the formulas alone."""
    draws = np.random.default_rng(5)
    lead = (STEPS, P) if fresh else (P,)
    tokens = draws.normal(size=(*lead, N + 1, D + outputs))
    tokens[..., -1, D:] = 0.0
    labels = draws.normal(size=(*lead, outputs))
    start = plain_start(draws, outputs)
    batches = zip(tokens, labels, strict=True) if fresh else [(tokens, labels)] * STEPS
    losses = plain_losses(start, batches, outputs if mean else 1, softmax)
    meta = {
        "model": "factorised",
        "softmax": softmax,
        "learning_rate": RATE,
        "query_token": False,
        "score_divisor": "sqrt_key",
        "fresh_batches": fresh,
        "loss": MEAN_OVER_OUTPUTS if mean else SUM_OVER_OUTPUTS,
    }
    if not softmax:
        meta["attention_divisor"] = "none"
    arrays = {f"initial_{name}": value for name, value in start.items()}
    return meta, arrays | {"tokens": tokens, "labels": labels, "loss": losses}


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("softmax", [False, True])
def test_a_plain_loop_is_repeated(tmp_path, outputs, fresh, softmax):
    meta, arrays = plain_recording(outputs, fresh, softmax)
    path = written(tmp_path, meta, arrays)
    assert replay(path).max_relative_deviation < 1e-13
    losses = arrays["loss"]
    assert np.max(np.abs(losses / losses[0] - 1)) > 1e-2  # control: they change
    for change in (
        {"score_divisor": 1},
        {"query_token": True},
        {"learning_rate": 0.05 * 1.001},
    ):
        wrong = replay(written(tmp_path, meta | change, arrays))
        assert wrong.max_relative_deviation > 1e-5
    if outputs == 2:
        summed = replay(written(tmp_path, meta | {"loss": SUM_OVER_OUTPUTS}, arrays))
        assert summed.max_relative_deviation > 0.99


def test_a_sum_over_labels_is_repeated(tmp_path):
    meta, arrays = plain_recording(outputs=2, mean=False)
    assert replay(written(tmp_path, meta, arrays)).max_relative_deviation < 1e-13


def test_statistics_follow_linear_attention_of_four_matrices(tmp_path):
    path = written(tmp_path, *plain_recording(2, softmax=False))
    assert replay(path, "statistics").max_relative_deviation < 1e-11
    soft = written(tmp_path, *plain_recording(2))
    assert "softmax attention has no finite statistics" in refusal(soft, "statistics")
    fresh = written(tmp_path, *plain_recording(2, fresh=True, softmax=False))
    assert "every step of fresh batches has other statis" in refusal(
        fresh, "statistics"
    )


def test_every_step_of_fresh_batches_has_its_own(tmp_path):
    meta, arrays = plain_recording(2, fresh=True)
    tokens, labels = arrays["tokens"], arrays["labels"]
    recording = read_recording(written(tmp_path, meta, arrays))
    assert recording.batch == 4
    batches = BatchesInOrder(recording.data, recording.batch)
    for step in range(STEPS):
        batch = batches.at(step)
        assert np.array_equal(batch.tokens[:, :-1], tokens[step][:, :-1])
        assert np.array_equal(batch.targets[:, -1], labels[step])
    swapped = {"tokens": tokens[::-1], "labels": labels[::-1]}
    wrong = replay(written(tmp_path, meta, arrays | swapped))
    assert wrong.max_relative_deviation > 1e-2
    sizes = {"sequences": 4, "batch_size": 4, "steps": STEPS, "value_rank": 2}
    assert replay(written(tmp_path, meta | sizes, arrays)).not_used == ()
    together = {"sequences": 4 * STEPS}
    assert replay(written(tmp_path, meta | together, arrays)).not_used == ()
    assert "its meta has batch_size = 20, but its arrays have 4" in refusal(
        written(tmp_path, meta | {"batch_size": 20}, arrays)
    )
    assert "its meta has value_rank = 3, but its arrays have 2" in refusal(
        written(tmp_path, meta | {"value_rank": 3}, arrays)
    )


def test_fresh_batches_of_merged_heads_are_repeated(tmp_path):
    """They have the y of every token as labels, as their full batches do."""
    draws = np.random.default_rng(2)
    tokens = draws.normal(size=(3, 5, 4, 3))
    labels = tokens[..., -1].copy()
    tokens[..., -1, -1] = 0.0
    start = {"value": draws.normal(size=(2, 3)), "key_query": np.ones((2, 3, 3))}
    meta = {
        "model": "merged",
        "softmax": False,
        "learning_rate": 0.01,
        "attention_divisor": "N",
        "context_lengths": "N",
        "fresh_batches": True,
    }
    arrays = {f"initial_{name}": value for name, value in start.items()}
    arrays |= {"tokens": tokens, "labels": labels, "loss": np.ones(3)}
    recording = read_recording(written(tmp_path, meta, arrays))
    batches = BatchesInOrder(recording.data, recording.batch)
    own = train(recording.model, batches, start, learning_rate=0.01, steps=3)
    residuals = []
    for rows, label in zip(tokens[0], labels[0], strict=True):
        output = 0.0
        for a, B in zip(start["value"], start["key_query"], strict=True):
            output += a @ rows.T @ rows @ B[:, :2] @ rows[-1, :2] / 3
        residuals.append(output - label[-1])
    assert own.loss[0] == pytest.approx(np.mean(np.square(residuals)), rel=1e-12)
    path = written(tmp_path, meta, arrays | {"loss": own.loss})
    assert replay(path).max_relative_deviation == 0.0


def test_test_sets_of_several_labels_are_evaluated(tmp_path):
    meta, arrays = plain_recording(2)
    tested = {"test_new_tokens": arrays["tokens"], "test_new_labels": arrays["labels"]}
    tested["test_new_loss"] = arrays["loss"]
    path = written(tmp_path, meta, arrays | tested)
    assert len(read_recording(path).tests) == 1
    assert replay(path).max_relative_deviation < 1e-13
    for reason, change in {
        "labels must have shape (4, 2)": {"test_new_labels": np.ones((4, 4))},
        "tokens must have shape (P, N+1, 4)": {"test_new_tokens": np.ones((4, 4, 3))},
    }.items():
        (shown,) = replay(written(tmp_path, meta, arrays | tested | change)).not_used
        assert reason in shown


# What is refused

FIELDS = {
    "it lacks 'query_token'": {"query_token": None},
    "is no recording: it lacks 'query_token'": {"query_token": ...},
    "it lacks 'score_divisor'": {"score_divisor": None},
    "is no recording: it lacks 'score_divisor'": {"score_divisor": ...},
    "it lacks 'softmax'": {"softmax": None},
    "it lacks 'attention_divisor'": {"softmax": False},
    "its meta has loss = None, and of 2 outputs": {"loss": None},
    "and of 2 outputs a replay knows only 'mean": {"loss": "mean squared error"},
    "its meta has outputs = 1, but its arrays have 2": {"outputs": 1},
    "knows only 'N'": {"context_lengths": "1..N averaged"},
    'a merged model of a recording has one: "factorised" has several': {
        "model": "merged",
        "outputs": 2,
    },
    "its meta has value = 'value only', and a replay knows": {"value": "value only"},
    "beside full_batch = True, and one of them is wrong": {
        "fresh_batches": True,
        "full_batch": True,
    },
    "beside optimiser = 'full-batch SGD', and one": {
        "fresh_batches": True,
        "optimiser": "full-batch SGD",
    },
    "its array tokens must have shape (steps, P, N+1, D+T)": {"fresh_batches": True},
    "its meta has rank = 4, but its arrays have 3": {"rank": 4},
}


@pytest.mark.parametrize("reason", FIELDS)
def test_fields_that_do_not_fit_are_refused(tmp_path, reason):
    meta, arrays = plain_recording(2)
    assert reason in refusal(written(tmp_path, meta | FIELDS[reason], arrays))


def test_arrays_that_do_not_fit_are_refused(tmp_path):
    meta, arrays = plain_recording(2)
    wrong = {
        "its array labels must have shape (P, T)": {"labels": np.ones(4)},
        "its array labels must have shape (4, 2), not (3, 2)": {
            "labels": np.ones((3, 2))
        },
        "with N and D ≥ 1": {"labels": np.ones((4, 4))},
        "its array initial_output must have shape (2, 2, 2)": {
            "initial_output": np.ones((2, 1, 2))
        },
        "its array initial_value must have shape": {"initial_value": np.ones((2, 4))},
        "it lacks 'initial_output'": {"initial_output": None},
        "initial_key_query is no weight of this": {"initial_key_query": np.ones(3)},
        "must have y = 0 in the last row": {"tokens": np.ones((4, 4, 4))},
    }
    for reason, change in wrong.items():
        assert reason in refusal(written(tmp_path, meta, arrays | change))
    meta, arrays = plain_recording(2, fresh=True)
    few = {"tokens": arrays["tokens"][1:], "labels": arrays["labels"][1:]}
    reason = "its array tokens must hold a batch for each of its 5 losses, not 4"
    assert reason in refusal(written(tmp_path, meta, arrays | few))
    reason = "its array labels must have shape (5, 4, 2), not (5, 3, 2)"
    short = {"labels": arrays["labels"][:, 1:]}
    assert reason in refusal(written(tmp_path, meta, arrays | short))
