"""Recorded trajectories of an independent implementation: ours follow them to the rounding of its float32."""

import hashlib
import json
import re

import numpy as np
import pytest

from attndyn.compare import reference_files, replay
from attndyn.compare.replays.recordings import read_recording
from attndyn.compare.replays.replaying import TOLERANCE
from attndyn.simulate import network_features, statistics, train, train_network

DIGESTS = {
    "merged_h8": "9ae5e5143d3d263f",
    "merged_icl06": "960d36fdcfaa14b4",
    "merged_softmax": "e75b9acbe5dea0d6",
    "merged_white": "fbb317202dbc4de4",
    "mlp_cubic": "8055201c9f751a41",
    "separate_rank1": "abaac0f0282818e4",
    "separate_rank2": "66faff21f510898b",
    "separate_softmax": "1565a3b3123082fe",
    "separate_varylen": "c8940ccfb4fab0fd",
}
"""Beginning of the SHA-256 of each file: a recording that changes is no evidence."""

FILES = {path.stem: path for path in reference_files("linear_attention")}
SOFTMAX = ("merged_softmax", "separate_softmax")
LINEAR = [name for name in DIGESTS if name not in SOFTMAX]


def test_the_nine_recordings_are_the_recorded_ones():
    found = {
        name: hashlib.sha256(path.read_bytes()).hexdigest()[:16]
        for name, path in FILES.items()
    }
    assert found == DIGESTS
    assert len(found) == 9


@pytest.mark.parametrize("name", DIGESTS)
def test_tokens_follow_the_recording(name):
    result = replay(FILES[name])
    assert result.max_relative_deviation < TOLERANCE == 2e-6
    assert 0 < result.median_relative_deviation < 2e-7
    assert result.steps == len(np.load(FILES[name])["loss"])
    assert (result.engine, result.file) == ("tokens", str(FILES[name]))
    assert json.loads(json.dumps(result.to_dict())) == result.to_dict()


@pytest.mark.parametrize("name", LINEAR)
def test_statistics_follow_the_recording(name):
    result = replay(FILES[name], engine="statistics")
    assert result.max_relative_deviation < TOLERANCE
    assert result.engine == "statistics"


@pytest.mark.parametrize("name", SOFTMAX)
def test_softmax_has_no_statistics_to_replay(name):
    with pytest.raises(ValueError, match="softmax attention has no finite statistics"):
        replay(FILES[name], engine="statistics")


@pytest.mark.parametrize("name", LINEAR)
def test_final_weights_are_the_recorded_ones(name):
    recording, stored = read_recording(FILES[name]), np.load(FILES[name])
    rule = {
        "learning_rate": recording.learning_rate,
        "steps": len(recording.loss),
        "record": 10**6,
    }
    if recording.model is None:
        final = train_network(
            recording.features, recording.labels[:, -1], recording.start, **rule
        ).final
    else:
        final = train(
            recording.model,
            statistics(recording.data, recording.model),
            recording.start,
            **rule,
        ).final
    for key, value in final.items():
        recorded, start = stored[f"final_{key}"], recording.start[key]
        size = np.max(np.abs(recorded))
        assert np.max(np.abs(value - recorded)) < 1e-5 * size
        assert (
            np.max(np.abs(start - recorded)) > 1e-2 * size
        )  # control: the weights did move


# Wrong conventions, each of which the same tolerance must reject


def altered(tmp_path, name, meta=None, **arrays):
    """A recording with another meta entry or other arrays."""
    content = dict(np.load(FILES[name]))
    content["meta"] = np.array(
        json.dumps(json.loads(str(content["meta"])) | (meta or {}))
    )
    np.savez(tmp_path / f"{name}.npz", **(content | arrays))
    return tmp_path / f"{name}.npz"


def entries(name):
    return dict(np.load(FILES[name]))


@pytest.mark.parametrize("name", LINEAR)
def test_half_a_squared_error_is_told_apart(tmp_path, name):
    loss = entries(name)["loss"]
    halved = altered(
        tmp_path,
        name,
        {"learning_rate": read_recording(FILES[name]).learning_rate / 2},
        loss=loss,
    )
    assert (
        replay(halved, "statistics").max_relative_deviation > 1e-2
    )  # ½ in the gradient
    assert (
        replay(
            altered(tmp_path, name, loss=loss / 2), "statistics"
        ).max_relative_deviation
        > 0.9
    )  # in the loss


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "mlp_cubic"])
def test_another_divisor_is_told_apart(tmp_path, name):
    other = (
        "none" if name == "separate_varylen" else "tokens in the prompt, query included"
    )
    rate = (
        {"learning_rate": 1e-3} if name == "separate_varylen" else {}
    )  # without a divisor its own rate diverges
    result = replay(
        altered(tmp_path, name, {"attention_divisor": other, **rate}), "statistics"
    )
    assert result.max_relative_deviation > 1e-2


@pytest.mark.parametrize("name", [name for name in LINEAR if name != "mlp_cubic"])
def test_a_dropped_token_is_told_apart(tmp_path, name):
    tokens, labels = entries(name)["tokens"].copy(), entries(name)["labels"].copy()
    tokens[0, 3], labels[0, 3] = 0.0, 0.0  # one token of one sequence of hundreds
    assert (
        replay(
            altered(tmp_path, name, tokens=tokens, labels=labels), "statistics"
        ).max_relative_deviation
        > 1e-5
    )


@pytest.mark.parametrize("name", ["merged_h8", "separate_varylen", "separate_softmax"])
def test_other_conventions_are_told_apart_on_tokens(tmp_path, name):
    short = 40
    stored = entries(name)
    loss, tokens, labels = stored["loss"][:short], stored["tokens"], stored["labels"]
    assert replay(altered(tmp_path, name, loss=loss)).max_relative_deviation < TOLERANCE
    fewer = {"tokens": tokens[:, 1:], "labels": labels[:, 1:]}
    length = {"context_length": tokens.shape[1] - 2}
    assert (
        replay(
            altered(tmp_path, name, length, loss=loss, **fewer)
        ).max_relative_deviation
        > 1e-4
    )
    shifted = replay(
        altered(tmp_path, name, loss=stored["loss"][1 : short + 1])
    )  # recorded after each step
    assert shifted.max_relative_deviation > 1e-4
    if name == "separate_softmax":
        linear = altered(tmp_path, name, {"softmax": False}, loss=loss[:5])
        assert replay(linear).max_relative_deviation > 1e-2
    else:
        other = {"separate_varylen": "N", "merged_h8": "1..N averaged"}[name]
        lengths = altered(tmp_path, name, {"context_lengths": other}, loss=loss)
        assert replay(lengths).max_relative_deviation > 1e-3


@pytest.mark.parametrize("key", ["test_in_context", "test_in_weight"])
def test_test_sets_count(tmp_path, key):
    name = "merged_icl06"
    stored = entries(name)
    assert [test.name for test in read_recording(FILES[name]).tests] == [
        "test_in_context",
        "test_in_weight",
    ]
    wrong = stored[f"{key}_loss"].copy()
    wrong[-1] *= 1.0001
    result = replay(altered(tmp_path, name, **{f"{key}_loss": wrong}), "statistics")
    assert result.max_relative_deviation == pytest.approx(1e-4, rel=0.1)


def test_cubic_features_are_those_of_attention(tmp_path):
    """Features of a recorded data set, made here, are what the network file says features are."""
    recording = read_recording(FILES["merged_h8"])
    z, labels = network_features(recording.data, recording.model)
    tokens = recording.data.tokens
    expected = np.einsum(
        "pn,pni,pj->pij", tokens[:, :-1, -1], tokens[:, :-1, :-1], tokens[:, -1, :-1]
    )
    np.testing.assert_allclose(z, expected.reshape(len(z), -1), rtol=1e-10, atol=1e-12)
    assert np.array_equal(labels, recording.labels[:, -1])
    features = entries("mlp_cubic")["features"]
    assert features.shape == z.shape
    transposed = (
        features.reshape(-1, 4, 4).swapaxes(1, 2).reshape(features.shape)
    )  # control: x_q first
    assert (
        replay(
            altered(tmp_path, "mlp_cubic", features=transposed)
        ).max_relative_deviation
        > 1e-3
    )


# Files that are no recordings


def test_a_truncated_file_is_refused_in_one_line(tmp_path):
    whole = FILES["separate_varylen"].read_bytes()
    for length in [0, 1, 100, len(whole) // 2, len(whole) - 1]:
        path = tmp_path / "file.npz"
        path.write_bytes(whole[:length])
        refused(path)


FOREIGN = {
    "other npz": lambda file: np.savez(file, x=np.ones(3)),
    "meta of numbers": lambda file: np.savez(file, meta=np.ones(3)),
    "meta a list": lambda file: np.savez(file, meta=np.array("[1]")),
    "meta of another kind": lambda file: np.savez(
        file, meta=np.array('{"model": "merged"}')
    ),
    "one array": lambda file: np.save(file, np.ones(3)),
    "text": lambda file: file.write(b"loss\n1\n"),
    "object array": lambda file: np.savez(file, meta=np.array([{}], dtype=object)),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_foreign_file_is_refused_in_one_line(tmp_path, kind):
    path = tmp_path / "file.npz"
    with path.open("wb") as file:
        FOREIGN[kind](file)
    refused(path)


def refused(path):
    with pytest.raises(ValueError, match=re.escape(f"{path} is no recording")) as error:
        replay(path)
    assert "\n" not in str(error.value)


def test_an_absent_file_and_an_unknown_engine(tmp_path):
    with pytest.raises(FileNotFoundError):
        replay(tmp_path / "nothing.npz")
    with pytest.raises(
        ValueError, match="engine must be one of tokens, statistics, not 'gpu'"
    ):
        replay(FILES["merged_h8"], engine="gpu")


def test_a_replay_and_its_recording_show_themselves_on_one_screen():
    result = replay(FILES["separate_rank1"], "statistics")
    assert f"{result.max_relative_deviation:.2e}" in repr(result)
    recording = read_recording(FILES["separate_rank1"])
    for shown in (result, recording, *recording.tests):
        lines = repr(shown).splitlines()
        assert len(lines) <= 24
        assert max(map(len, lines)) <= 100
        assert "<table>" in shown._repr_html_()
