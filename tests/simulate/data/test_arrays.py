"""Prompts from arrays of the user's own: what they hold, and what is refused."""

import re

import numpy as np
import pytest

from attndyn import Task
from attndyn.simulate import prompts_from_tokens, sample

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
    "whole numbers from 1 to 2, not (3,)": lambda: prompts_from_tokens(
        np.ones((3, 3, 3)), context_lengths=(3,)
    ),
    "whole numbers from 1 to 2, not (1.5,)": lambda: prompts_from_tokens(
        np.ones((3, 3, 3)), context_lengths=(1.5,)
    ),
    "whole numbers from 1 to 2, not ()": lambda: prompts_from_tokens(
        np.ones((3, 3, 3)), context_lengths=()
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
