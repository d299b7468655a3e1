"""Recordings of one merged head with several outputs: losses and weights to rounding, and files that do not fit."""

import hashlib

import numpy as np
import pytest

from attndyn import Merged
from attndyn.cli import main
from attndyn.compare import reference_files, replay
from attndyn.compare.replays.recordings import read_recording
from attndyn.compare.replays.vector_recordings import ARRAYS, FLAGS, NUMBERS
from attndyn.simulate import BatchesInOrder, train

DIGESTS = {
    "vector_full_batch": "acb5b1b9f04b7781",
    "vector_online": "a9962e8a3e35c4e1",
}
"""Beginning of the SHA-256 of each file: a recording that changes is no evidence."""

FILES = {path.stem: path for path in reference_files("linear_transformer")}
STEPS = 20


def first_steps(**changes):
    """The arrays of the first steps of the online recording; those changed to None are left out."""
    content = dict(np.load(FILES["vector_online"]))
    for name in ("tokens", "targets", "loss"):
        content[name] = content[name][:STEPS]
    for name in ("value", "key_query", "steps"):
        content[name] = content[name][:3]  # at steps 0, 10 and 20
    arrays = content | changes
    return {name: array for name, array in arrays.items() if array is not None}


def first_steps_of_full_batch(**changes):
    """The same of the recording on full batches."""
    content = dict(np.load(FILES["vector_full_batch"]))
    content["loss"] = content["loss"][:STEPS]
    for name in ("value", "key_query", "steps"):
        content[name] = content[name][:2]  # at steps 0 and 20
    return content | changes


def written(folder, arrays):
    """The path of a file with these arrays."""
    np.savez(folder / "run.npz", **arrays)
    return folder / "run.npz"


def replayed(folder, **changes):
    """The replay of the first steps online, with changes."""
    return replay(written(folder, first_steps(**changes)))


# The recorded runs


def test_the_recordings_are_the_recorded_ones():
    found = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for name, path in FILES.items()
    }
    assert found == DIGESTS


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("vector_full_batch", "tokens"),
        ("vector_full_batch", "statistics"),
        ("vector_online", "tokens"),
    ],
)
def test_loss_and_weights_follow_the_recording(name, engine):
    result = replay(FILES[name], engine)
    # Hand-written gradients elsewhere were off by 1e-15, statistics by 4e-15.
    assert result.max_relative_deviation < 1e-14
    assert result.tolerance == 1e-10
    assert result.steps == len(np.load(FILES[name])["loss"])
    assert result.not_used == ("eigenvalues", "eigenvectors", "noise_std", "tasks")


def test_what_is_read_is_what_the_file_says():
    full, online = (read_recording(path) for path in FILES.values())
    assert full.model == online.model == Merged(heads=1, outputs=3)
    assert (full.data.sequences, online.data.sequences) == (1500, 400 * 16)
    assert (full.batch, online.batch) == (None, 16)
    assert full.weights.steps == tuple(range(0, 1201, 20))
    assert full.data.tokens.dtype == np.float64
    assert not full.frozen
    assert np.count_nonzero(online.frozen["value"]) == 9  # p1
    assert online.frozen["key_query"][0, 3:].all()  # q2
    assert not online.frozen["key_query"][0, :3].any()


# Weights count, and so does every setting


def test_weights_that_are_off_are_told_apart(tmp_path):
    assert replayed(tmp_path).max_relative_deviation < 1e-14
    key_query = first_steps()["key_query"]
    key_query[1, 0, 2] += 1e-6
    deviation = replayed(tmp_path, key_query=key_query).max_relative_deviation
    assert deviation == pytest.approx(1e-6 / np.max(np.abs(key_query)), rel=1e-4)


def test_weights_are_recorded_where_the_run_does_not_end(tmp_path):
    arrays = first_steps()
    for name in ("value", "key_query", "steps"):
        arrays[name] = arrays[name][:2]
    assert replay(written(tmp_path, arrays)).max_relative_deviation < 1e-14


def slopes(value, key_query, tokens, targets):
    """Half of the mean squared error of plain prompts, and its gradients by hand."""
    loss, of_value, of_key_query = 0.0, 0.0, 0.0
    for rows, target in zip(tokens, targets, strict=True):
        G, query = rows.T @ rows / 4, rows[-1, :2]
        error = value @ G @ key_query @ query - target
        loss += 0.5 * error @ error / 6
        of_value += np.outer(error, G @ key_query @ query) / 6
        of_key_query += np.outer(G @ value.T @ error, query) / 6
    return loss, of_value, of_key_query


def test_one_output_is_read_too(tmp_path):
    """D = 2, K = 1, N = 4 and six prompts, from a loop of its own."""
    draws = np.random.default_rng(1)
    tokens, targets = draws.normal(size=(6, 5, 3)), draws.normal(size=(6, 1))
    tokens[:, -1, -1] = 0.0
    value, key_query = draws.normal(size=(1, 3)), draws.normal(size=(3, 2))
    arrays = {"value": [value], "key_query": [key_query], "loss": []}
    for _ in range(4):
        loss, of_value, of_key_query = slopes(value, key_query, tokens, targets)
        value, key_query = value - 0.03 * of_value, key_query - 0.03 * of_key_query
        arrays["loss"].append(loss)
        arrays["value"].append(value)
        arrays["key_query"].append(key_query)
    settings = {"learning_rate": 0.03, "context_length": 4, "steps": np.arange(5)}
    flags = {"online": False, "null_blocks_frozen": False}
    arrays |= {"tokens": tokens, "targets": targets} | settings | flags
    path = written(tmp_path, arrays)
    assert read_recording(path).model == Merged(heads=1)
    assert replay(path).max_relative_deviation < 1e-13


def test_an_array_that_stays_zero_has_no_size(tmp_path):
    """From zero weights nothing moves: the deviation of the weights is 0, not nan."""
    arrays = first_steps()
    for name in ("value", "key_query"):
        arrays[name] = np.zeros_like(arrays[name])
    arrays["loss"] = 0.5 * np.mean(np.sum(arrays["targets"] ** 2.0, axis=2), axis=1)
    assert replay(written(tmp_path, arrays)).max_relative_deviation < 1e-6


HINTS = {
    "a loss without the factor 1/2 (halve the losses, double learning_rate)": (2, 0.5),
    "losses that are no halves (halve them)": (2, 1),
    "half of the learning_rate": (1, 2),
    "twice the learning_rate": (1, 0.5),
}


@pytest.mark.parametrize("hint", HINTS)
def test_the_convention_that_fits_is_named(tmp_path, hint):
    of_loss, of_rate = HINTS[hint]
    arrays = first_steps_of_full_batch()
    arrays["loss"] = of_loss * arrays["loss"]
    arrays["learning_rate"] = of_rate * arrays["learning_rate"]
    result = replay(written(tmp_path, arrays))
    assert result.max_relative_deviation > 1e-3
    assert result.hint == f"its first 3 losses fit with {hint}"


def test_blocks_that_are_not_frozen_are_named(tmp_path):
    """The loss of a run from null blocks at 0, which then move, with weights of the start alone."""
    own = read_recording(FILES["vector_online"])
    arrays = first_steps()
    for name in ("value", "key_query", "steps"):
        arrays[name] = arrays[name][:1]
    run = train(
        own.model,
        BatchesInOrder(own.data, own.batch),
        own.start,
        learning_rate=own.learning_rate / 2,
        steps=STEPS,
    )
    arrays["loss"] = run.loss / 2
    result = replay(written(tmp_path, arrays))
    assert result.max_relative_deviation > 1e-4
    assert "its first 3 losses fit with null_blocks_frozen = False" in result.hint


def test_the_command_takes_the_tolerance_of_the_file(tmp_path, capsys):
    path = written(tmp_path, first_steps())
    assert main(["replay", str(path)]) == 0
    arrays = first_steps()
    arrays["loss"] = arrays["loss"] * (1 + 1e-9)
    assert main(["replay", str(written(tmp_path, arrays))]) == 1
    assert "past the tolerance" in capsys.readouterr().out


# Files that do not fit


def refusal(path, engine="tokens"):
    """The one sentence with which a file is refused."""
    with pytest.raises((ValueError, ArithmeticError)) as error:
        replay(path, engine)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_fresh_batches_have_no_statistics():
    assert "every step of fresh batches has other statistics" in refusal(
        FILES["vector_online"], "statistics"
    )


@pytest.mark.parametrize("name", [*ARRAYS, *NUMBERS, *FLAGS])
def test_a_key_that_is_missing_is_named(tmp_path, name):
    path = written(tmp_path, first_steps(**{name: None}))
    assert f"it lacks '{name}'; docs/recordings.md lists" in refusal(path)


def with_nan(name):
    """An array of the recording with one nan."""
    array = first_steps()[name].copy()
    array.flat[-1] = np.nan
    return {name: array}


def with_query_label():
    """Tokens that show the label of a query."""
    tokens = first_steps()["tokens"].copy()
    tokens[3, 2, -1, 4] = 1.0
    return {"tokens": tokens}


BAD = {
    "its online is False, but its tokens have the axes (steps, B, N+1, D+K)": {
        "online": np.array(False)
    },
    "its null_blocks_frozen is True, but value[:, :, :D] has numbers up to 0.5": {
        "value": np.full((3, 3, 6), 0.5)
    },
    "its null_blocks_frozen is True, but key_query[:, D:] has numbers up to 0.5": {
        "key_query": np.full((3, 6, 3), 0.5)
    },
    "its online must be one boolean, not int64 of shape ()": {"online": np.array(1)},
    "its null_blocks_frozen must be one boolean, not bool of shape (2,)": {
        "null_blocks_frozen": np.array([True, False])
    },
    "its array value must have shape (3, 3, 6), not (3, 6, 3)": {
        "value": np.zeros((3, 6, 3))
    },
    "its array key_query must have shape (3, 6, 3), not (2, 6, 3)": {
        "key_query": np.zeros((2, 6, 3))
    },
    "its array targets must have shape (20, 16, 3), not (20, 15, 3)": {
        "targets": np.ones((20, 15, 3))
    },
    "its tokens must hold a batch for each of its 20 losses, not 19": {
        "tokens": np.ones((19, 16, 9, 6))
    },
    "its array tokens must have shape (steps, B, N+1, D+K), not (9, 6)": {
        "tokens": np.ones((9, 6))
    },
    "with N and D ≥ 1, not of shape (20, 16, 1, 6)": {
        "tokens": np.ones((20, 16, 1, 6))
    },
    "its context_length is 9, but its tokens have 8 before the query": {
        "context_length": np.array(9)
    },
    "its learning_rate must be above 0, not -0.1": {"learning_rate": np.array(-0.1)},
    "its learning_rate must be one number, not an array of shape (2,)": {
        "learning_rate": np.ones(2)
    },
    "its array learning_rate must hold real numbers": {
        "learning_rate": np.array("0.1")
    },
    "its steps must be whole numbers that increase from 0": {"steps": [0, 20, 10]},
    "increase from 0, the start, to at most 20": {"steps": [0, 10, 30]},
    "whole numbers that increase from 0, the start": {"steps": [1, 10, 20]},
    "must be whole numbers that increase": {"steps": [0, 0.5, 20]},
    "its array loss must be above 0": {"loss": np.zeros(20)},
    "its array loss must be finite": with_nan("loss"),
    "its array tokens must be finite": with_nan("tokens"),
    "its array value must be finite": with_nan("value"),
    "its tokens must have y = 0 in the last row": with_query_label(),
    "its array momentum tells of a training": {"momentum": np.array(0.9)},
    "its array softmax tells of a training": {"softmax": np.array(True)},
    "its array gradient_clipping tells of a training": {
        "gradient_clipping": np.array(1.0)
    },
}


@pytest.mark.parametrize("reason", BAD)
def test_a_file_that_does_not_fit_is_refused_in_one_sentence(tmp_path, reason):
    path = written(tmp_path, first_steps(**BAD[reason]))
    message = refusal(path)
    assert message.startswith(f"{path} is no recording that can be replayed: ")
    assert reason in message


def test_full_batches_that_are_called_online_are_refused(tmp_path):
    arrays = first_steps_of_full_batch(online=np.array(True))
    assert "its online is True, but its tokens have the axes (P, N+1, D+K)" in refusal(
        written(tmp_path, arrays)
    )


def test_blocks_that_move_are_not_frozen(tmp_path):
    """And a run whose blocks are frozen is another than one that says they are not."""
    result = replayed(tmp_path, null_blocks_frozen=np.array(False))
    assert result.max_relative_deviation > 1e-3


def test_a_rate_at_which_the_run_diverges_is_refused(tmp_path):
    message = refusal(written(tmp_path, first_steps(learning_rate=np.array(1e6))))
    assert "the replay diverges at step" in message
    assert "a setting differs" in message


def test_a_file_of_neither_format_lacks_meta(tmp_path):
    arrays = {"tokens": np.ones((2, 3, 4)), "loss": np.ones(3)}
    assert "it lacks 'meta'" in refusal(written(tmp_path, arrays))


# What the recordings show


def test_modes_end_in_different_blocks():
    """At the end two modes are held by p1 and q2, one by p2 and q1; off-diagonal entries are small."""
    arrays = np.load(FILES["vector_full_batch"])
    basis = arrays["eigenvectors"]
    value, key_query = arrays["value"][-1], arrays["key_query"][-1]
    p1, p2 = (basis.T @ block @ basis for block in (value[:, :3], value[:, 3:]))
    q1, q2 = (basis.T @ block @ basis for block in (key_query[:3], key_query[3:]))
    np.testing.assert_allclose(np.diag(p2 * q1), [0, 0.867, 0], atol=0.01)
    np.testing.assert_allclose(np.diag(p1 * q2), [0.520, 0, 1.484], atol=0.01)


@pytest.mark.parametrize(
    ("name", "drift"), [("vector_full_batch", -0.0024), ("vector_online", -1.25)]
)
def test_the_difference_of_norms_drifts_with_the_noise_of_batches(name, drift):
    arrays = np.load(FILES[name])
    value, key_query = (
        np.sum(arrays[weight] ** 2, axis=(1, 2)) for weight in ("value", "key_query")
    )
    difference = value - key_query
    assert difference[-1] - difference[0] == pytest.approx(drift, rel=0.02)
