"""Losses at other lengths than those of training, against numbers of another implementation and limits."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Task
from attndyn.theory.predictors import plain_step_loss
from attndyn.theory.softmax_attention import (
    exact_loss,
    linear_losses_at_lengths,
    losses_at_lengths,
)

LENGTHS = (10, 20, 40, 80, 160, 640, 2560)
TASK = Task(
    [1] * 5, teacher_covariance=np.eye(5) / 5, noise_variance=0.1, context_length=40
)


def test_softmax_heads_have_the_losses_of_another_implementation():
    pair = losses_at_lengths(TASK, [0.13, -0.13], [3.391, -3.391], [*LENGTHS, np.inf])
    expected = [
        0.587843,
        0.364768,
        0.242988,
        0.179417,
        0.146943,
        0.122283,
        0.116077,
        0.114004,
    ]
    assert_allclose(pair, expected, atol=6e-7)
    # N → ∞: σ² + (1 − η)², reached as 1/N.
    assert_allclose(pair[-1], 0.1 + (1 - 2 * 0.13 * 3.391) ** 2, rtol=1e-12)
    gaps = (
        losses_at_lengths(TASK, [0.13, -0.13], [3.391, -3.391], [10_000, 20_000])
        - pair[-1]
    )
    assert gaps[0] / gaps[1] == pytest.approx(2, rel=1e-3)

    single = losses_at_lengths(TASK, [0.5179], [1.4971], LENGTHS)
    assert_allclose(
        single, [0.8464, 0.5737, 0.4040, 0.2998, 0.2369, 0.1779, 0.1587], atol=6e-5
    )


def test_linear_attention_depends_on_its_divisor():
    η = 40 / 45.5
    without = linear_losses_at_lengths(TASK, η, [*LENGTHS, np.inf], divisor="none")
    expected = np.array([0.7401, 0.4769, 0.2402, 0.9261, 6.935, 172.8, 3062])
    assert_allclose(without[:-1], expected, rtol=3e-4)
    assert without[-1] == np.inf
    assert np.argmin(without) == 2

    divided = linear_losses_at_lengths(TASK, η, [*LENGTHS, np.inf], divisor="context")
    assert np.all(np.diff(divided) < 0)
    assert_allclose(divided[-1], 0.1 + (1 - η) ** 2, rtol=1e-12)
    assert_allclose(divided[2], without[2], rtol=1e-13)
    # From the length of training on it is as good as two softmax heads.
    heads = losses_at_lengths(TASK, [0.05, -0.05], [10 * η, -10 * η], LENGTHS)
    assert_allclose(divided[:-1], heads, rtol=0.05)


def test_general_tasks():
    Λ = np.array([[2.0, 0.5], [0.5, 1.0]])
    task = Task(covariance=Λ, teacher_covariance=[[0.5, 0.1], [0.1, 0.2]], noise_variance=0.3,
                query_noise_variance=0.05, context_length=6)  # fmt: skip
    A = np.array([[0.5, 0.1], [0.0, 0.4]])
    ω, μ = [0.3, -0.2], [1.0, -1.2]
    found = losses_at_lengths(task, ω, μ, [6, 200_000, np.inf], matrix=A)
    assert_allclose(found[0], float(exact_loss(task, ω, μ, matrix=A)), rtol=1e-12)
    assert_allclose(found[1], found[2], rtol=1e-4)
    linear = linear_losses_at_lengths(
        task, 0.4, [6, 10**7, np.inf], divisor="context", preconditioner=A
    )
    assert_allclose(linear[0], plain_step_loss(task, 0.4, preconditioner=A))
    assert_allclose(linear[1], linear[2], rtol=1e-5)
    shifted = Task([1, 2], input_mean=[1, -1], context_length=5)
    linear = linear_losses_at_lengths(shifted, 0.1, [10**8, np.inf], divisor="context")
    assert_allclose(linear[0], linear[1], rtol=1e-6)


def test_the_limit_knows_no_query_token():
    token = [
        losses_at_lengths(TASK, [0.2], [2.0], [10**6, np.inf], query_token=reads)
        for reads in (False, True)
    ]
    assert token[0][1] == token[1][1]
    assert_allclose(token[1][0], token[1][1], rtol=1e-2)


@pytest.mark.parametrize("lengths", [[0], [2.5], [-1], [np.nan], [True], ["3"]])
def test_other_lengths_are_refused(lengths):
    with pytest.raises(ValueError, match="lengths must be whole numbers of at least 1"):
        losses_at_lengths(TASK, [0.1], [1.0], lengths)


def test_refusals():
    with pytest.raises(ValueError, match="divisor must be one of context, none"):
        linear_losses_at_lengths(TASK, 0.5, [10], divisor="tokens")
    several = Task([1], context_length="2..4")
    with pytest.raises(ValueError, match="that of one context length"):
        linear_losses_at_lengths(several, 0.5, [10], divisor="none")
    with pytest.raises(ValueError, match="omega must have shape"):
        losses_at_lengths(TASK, [[0.1]], [[1.0]], [10])
    with pytest.raises(ValueError, match="x of mean zero"):
        losses_at_lengths(
            Task([1], input_mean=[1], context_length=2), [0.1], [1.0], [np.inf]
        )
