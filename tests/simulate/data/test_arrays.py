"""Prompts from arrays of the user's own: what they hold, and what is refused."""

import re

import numpy as np
import pytest

from attndyn import Task
from attndyn.simulate import prompts_from_arrays, prompts_from_tokens, sample

Λ = np.array([[0.7, 0.2], [0.2, 0.3]])
Ω = np.array([[1.5, -0.4], [-0.4, 0.8]])
TASK = Task(covariance=Λ, teacher_covariance=Ω, noise_variance=0.25, context_length=5)


def test_given_keeps_a_locked_copy():
    tokens = np.ones((3, 6, 3))
    data = prompts_from_tokens(tokens)
    tokens[0] = 5.0
    assert (data.sequences, data.dimension, data.context_lengths) == (3, 2, (5,))
    assert np.all(data.tokens == 1)
    with pytest.raises(ValueError, match="read-only"):
        data.tokens[0] = 2.0
    assert prompts_from_tokens(
        tokens, context_lengths=(np.int64(2), 3)
    ).context_lengths == (2, 3)


def test_masked_queries_need_their_labels():
    tokens = sample(TASK, 4).tokens
    true = tokens[:, -1, -1].copy()
    for mask in (0.0, np.nan):
        masked = tokens.copy()
        masked[:, -1, -1] = mask
        assert (
            prompts_from_tokens(masked, labels=true).digest
            == prompts_from_tokens(tokens).digest
        )
        with pytest.raises(
            ValueError, match=r"y of every query is 0, .* labels=|must be finite"
        ):
            prompts_from_tokens(masked)
    assert (
        prompts_from_tokens(masked, labels=np.zeros(4)).tokens[:, -1, -1].tolist()
        == [0.0] * 4
    )  # said aloud, zeros are labels
    part = tokens.copy()
    part[1, -1, -1] = 0.0
    assert (
        prompts_from_tokens(part, labels=true).digest
        == prompts_from_tokens(tokens).digest
    )
    assert prompts_from_tokens(part).tokens[1, -1, -1] == 0  # one label may be 0


WRONG_LABELS = {
    "contradict the tokens": lambda true: true + 1e-9,
    "must be 4 finite numbers, one a sequence, not of shape": lambda true: true[:3],
    r"not of shape \(4, 1\)": lambda true: true[:, None],
    "must be 4 finite": lambda true: true * np.nan,
    "labels must be an array of real numbers": lambda true: true + 1j,
}


@pytest.mark.parametrize(("message", "change"), WRONG_LABELS.items(), ids=WRONG_LABELS)
def test_wrong_labels_are_refused(message, change):
    tokens = sample(TASK, 4).tokens
    with pytest.raises(ValueError, match=message):
        prompts_from_tokens(tokens, labels=change(tokens[:, -1, -1]))


BAD = {
    "tokens must have shape (P, N+1, D+1) with P, N, D ≥ 1, not (3, 3)": lambda: (
        prompts_from_tokens(np.ones((3, 3)))
    ),
    "tokens must have shape (P, N+1, D+1) with P, N, D ≥ 1, not (3, 1, 3)": lambda: (
        prompts_from_tokens(np.ones((3, 1, 3)))
    ),
    "tokens must be an array of real numbers": lambda: prompts_from_tokens(
        np.ones((3, 3, 3)) * 1j
    ),
    "tokens must be finite": lambda: prompts_from_tokens(np.full((3, 3, 3), np.nan)),
    "whole numbers from 0 to 2, one of them above 0, not (3,)": lambda: (
        prompts_from_tokens(np.ones((3, 3, 3)), context_lengths=(3,))
    ),
    "whole numbers from 0 to 2, one of them above 0, not (1.5,)": lambda: (
        prompts_from_tokens(np.ones((3, 3, 3)), context_lengths=(1.5,))
    ),
    "whole numbers from 0 to 2, one of them above 0, not ()": lambda: (
        prompts_from_tokens(np.ones((3, 3, 3)), context_lengths=())
    ),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_refused_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        BAD[message]()
    assert "\n" not in str(error.value)


def test_masked_arrays_are_refused():
    with pytest.raises(
        ValueError,
        match="must be a plain array: the mask of a masked one would be lost",
    ):
        prompts_from_tokens(np.ma.masked_array(np.ones((2, 3, 2))))


def test_dates_are_no_numbers():
    with pytest.raises(ValueError, match="tokens must be an array of real numbers"):
        prompts_from_tokens(np.ones((2, 3, 2), dtype="datetime64[s]"))


@pytest.mark.parametrize("lengths", [2, (True,), (2.0,), ()])
def test_context_lengths_are_whole_numbers(lengths):
    with pytest.raises(ValueError, match="context_lengths must be"):
        prompts_from_tokens(np.ones((2, 3, 2)), context_lengths=lengths)


@pytest.mark.parametrize(
    "lengths", ["2", "3..2", "1..5", "a..b", (0,), {1: 0.0, 2: 1.0}]
)
def test_lengths_in_other_words_are_refused(lengths):
    with pytest.raises(ValueError, match=r"context_lengths? |context length 1"):
        prompts_from_tokens(np.ones((2, 3, 2)), context_lengths=lengths)


def test_context_lengths_as_a_task_writes_them():
    tokens = sample(TASK, 4).tokens
    every = prompts_from_tokens(tokens, context_lengths="0..5")
    assert every.context_lengths == (0, 1, 2, 3, 4, 5)
    assert every.context_weights.tolist() == [1 / 6] * 6
    weighted = prompts_from_tokens(tokens, context_lengths={5: 3, 2: 1})
    assert weighted.context_lengths == (2, 5)
    assert weighted.context_weights.tolist() == [0.25, 0.75]
    assert "weights" in repr(weighted)
    plain = prompts_from_tokens(tokens, context_lengths=(2, 5))
    assert plain.digest != weighted.digest
    assert plain.context_weights.tolist() == [0.5, 0.5]


# Several outputs


def several(sequences=4, outputs=3):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((sequences, 6, 2))
    return x, rng.standard_normal((sequences, 6, outputs))


def test_arrays_are_tokens_beside_each_other():
    x, y = several()
    data = prompts_from_arrays(x, y, context_lengths=(2, 5))
    assert (data.sequences, data.dimension, data.outputs) == (4, 2, 3)
    np.testing.assert_array_equal(data.tokens, np.concatenate([x, y], axis=2))
    np.testing.assert_array_equal(data.x, x)
    np.testing.assert_array_equal(data.y, y)
    np.testing.assert_array_equal(data.labels, y[:, -1])
    assert data.context.y.shape == (4, 5, 3)
    same = prompts_from_tokens(data.tokens, outputs=3, context_lengths=(2, 5))
    assert same.digest == data.digest
    other = prompts_from_tokens(data.tokens, outputs=1, context_lengths=(2, 5))
    assert other.digest != data.digest
    (chunk,) = data.chunks()
    np.testing.assert_array_equal(chunk.targets, y)
    assert data.to_dict()["outputs"] == 3
    assert "outputs" in repr(data)


def test_one_output_may_have_an_axis_or_none():
    x, y = several(outputs=1)
    data = prompts_from_arrays(x, y[..., 0])
    assert data.digest == prompts_from_arrays(x, y).digest
    assert data.digest == prompts_from_tokens(data.tokens).digest
    assert (data.outputs, data.y.shape, data.labels.shape) == (1, (4, 6), (4,))


def test_masked_queries_of_several_outputs():
    x, y = several()
    tokens = np.concatenate([x, y], axis=2)
    true = y[:, -1].copy()
    tokens[:, -1, 2:] = 0.0
    with pytest.raises(ValueError, match=r"pass labels=, the true ones \(P, 3\)"):
        prompts_from_tokens(tokens, outputs=3)
    data = prompts_from_tokens(tokens, true, outputs=3)
    assert data.digest == prompts_from_arrays(x, y).digest
    with pytest.raises(ValueError, match=r"3 a sequence, not of shape \(4,\)"):
        prompts_from_tokens(tokens, true[:, 0], outputs=3)
    with pytest.raises(ValueError, match="labels contradict the tokens"):
        prompts_from_tokens(data.tokens, true + 1, outputs=3)


class Tensor:
    """What a tensor of PyTorch offers; it refuses to be an array before it is detached."""

    def __init__(self, values, is_detached=False):
        self.values, self.is_detached = values, is_detached

    def detach(self):
        return Tensor(self.values, is_detached=True)

    def cpu(self):
        return self

    def is_complex(self):
        return False

    def double(self):
        return self

    def numpy(self):
        assert self.is_detached
        return np.asarray(self.values, np.float32)


def test_tensors_are_taken_as_they_are():
    x, y = (array.astype(np.float32) for array in several())
    assert (
        prompts_from_arrays(Tensor(x), Tensor(y)).digest
        == prompts_from_arrays(x, y).digest
    )
    tokens = sample(TASK, 4).tokens.astype(np.float32)
    labels = tokens[:, -1, -1].copy()
    tokens[:, -1, -1] = 0
    data = prompts_from_tokens(Tensor(tokens), Tensor(labels))
    np.testing.assert_array_equal(data.labels, labels)


WRONG_ARRAYS = {
    "x must have shape (P, N+1, D), not (4, 6)": lambda x, y: (x[..., 0], y),
    "y must have shape (4, 6) or (4, 6, K), not (4, 5, 3)": lambda x, y: (x, y[:, 1:]),
    "y must have shape (4, 6) or (4, 6, K), not (6, 4)": lambda x, y: (x, y[..., 0].T),
    "tokens must be finite": lambda x, y: (x * np.inf, y),
    "the y of every query is 0": lambda x, y: (x, y * (np.arange(6) < 5)[:, None]),
    "x must be an array of real numbers": lambda x, y: (x * 1j, y),
}


@pytest.mark.parametrize("message", WRONG_ARRAYS)
def test_wrong_arrays_are_refused(message):
    with pytest.raises(ValueError, match=re.escape(message)):
        prompts_from_arrays(*WRONG_ARRAYS[message](*several()))


def test_more_outputs_than_a_token_holds_are_refused():
    with pytest.raises(ValueError, match=r"shape \(P, N\+1, D\+3\)"):
        prompts_from_tokens(np.ones((2, 3, 3)), outputs=3)
    with pytest.raises(ValueError, match="outputs must be a whole number"):
        prompts_from_tokens(np.ones((2, 3, 3)), outputs=0)
