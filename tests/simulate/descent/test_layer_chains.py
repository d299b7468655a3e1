"""Runs of online SGD of one layer on prompts that are made in machine code."""

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.runtime.arrays import FloatArray
from attndyn.simulate import objective, prompts_from_tokens, sgd_chains, train
from attndyn.simulate.descent.chain_kernels import (
    PromptLaw,
    Prompts,
    make_prompts,
    write_gradient,
)
from attndyn.teachers import Gaussian, Pool

TASK = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
NOISY = Task(
    covariance=[[1.5, 0.3], [0.3, 0.7]],
    teachers=Gaussian.kronecker([[1, 0.2], [0.2, 2]], [[1, 0], [0, 0.5]]),
    context_length=4,
    noise_variance=0.3,
    query_noise_variance=0.2,
)
HALF = 0.5 * np.eye(2)
LAYER = Merged(heads=1, outputs=2)
NULL_BLOCKS = {
    "value": [[[True, True, False, False]] * 2],
    "key_query": [[[False, False, True, True]] * 2 + [[True] * 4] * 2],
}


def weights_of(p: FloatArray, q: FloatArray) -> dict[str, FloatArray]:
    """The head with these blocks, the others zero."""
    zero = np.zeros((2, 2))
    return {
        "value": np.hstack([zero, p])[None],
        "key_query": np.block([[q, zero], [zero, zero]])[None],
    }


def test_gradient_is_that_of_the_tokens() -> None:
    draws = np.random.default_rng(0)
    tokens = draws.standard_normal((5, 4, 4))  # (B, N + 1, D + K)
    tokens[:, -1, 2:] = 0
    targets = draws.standard_normal((5, 2))
    p, q = draws.standard_normal((2, 2, 2))
    prompts = prompts_from_tokens(tokens, targets, outputs=2)
    _, slopes = objective(LAYER, prompts)(weights_of(p, q))

    β = np.einsum("bnk,bnd->kdb", tokens[:, :3, 2:], tokens[:, :3, :2]) / 3
    x, y = np.ascontiguousarray(tokens[:, -1, :2].T), np.ascontiguousarray(targets.T)
    by_p, by_q = np.empty((2, 2)), np.empty((2, 2))
    batch = Prompts(np.empty((2, 2, 5)), np.ascontiguousarray(β), x, y)
    write_gradient(p, q, batch, by_p, by_q)
    np.testing.assert_allclose(by_p, slopes["value"][0, :, 2:], rtol=1e-13)
    np.testing.assert_allclose(by_q, slopes["key_query"][0, :2, :2], rtol=1e-13)


def test_prompts_are_what_the_numbers_say() -> None:
    law = PromptLaw(
        np.array([[2.0, 0.0], [1.0, 3.0]]),
        np.arange(8.0).reshape(4, 2),
        0.5,
        0.25,
        2,
        4.0,
    )
    assert law.numbers == 2 + 3 * (2 + 2)
    numbers = np.random.default_rng(1).standard_normal((law.numbers, 3))
    prompts = Prompts(
        np.empty((2, 2, 3)), np.empty((2, 2, 3)), np.empty((2, 3)), np.empty((2, 3))
    )
    make_prompts(law, numbers, prompts)
    for b, z in enumerate(numbers.T):
        W = (law.teacher_root @ z[:2]).reshape(2, 2)
        tokens = z[2:].reshape(3, 4)
        x = tokens[:, :2] @ law.input_root.T
        y = x @ W.T + np.array([[0.5], [0.5], [0.25]]) * tokens[:, 2:]
        np.testing.assert_allclose(prompts.W[..., b], W)
        np.testing.assert_allclose(prompts.β[..., b], y[:2].T @ x[:2] / 4)
        np.testing.assert_allclose(prompts.x[:, b], x[2])
        np.testing.assert_allclose(prompts.y[:, b], y[2])


def test_runs_have_the_law_of_training_on_fresh_prompts() -> None:
    settings = {"learning_rate": 0.02, "batch": 8}
    ours = sgd_chains(NOISY, HALF, HALF, [10], chains=400, **settings)
    theirs = [
        train(
            LAYER,
            NOISY,
            weights_of(HALF, HALF),
            steps=10,
            seed=seed,
            record=10,
            frozen=NULL_BLOCKS,
            **settings,
        ).final["value"][0, :, 2:]
        for seed in range(24)
    ]
    mine, other = ours.p[:, 0].reshape(400, 4), np.reshape(theirs, (24, 4))
    error = np.sqrt(mine.var(axis=0) / 400 + other.var(axis=0, ddof=1) / 24)
    assert np.all(np.abs(mine.mean(axis=0) - other.mean(axis=0)) < 4.5 * error)


def test_runs_depend_on_their_seed_and_number_alone() -> None:
    settings = {"learning_rate": 0.02, "batch": 32}
    runs = sgd_chains(TASK, HALF, HALF, [0, 3, 300], chains=2, seed=5, **settings)
    more = sgd_chains(TASK, HALF, HALF, [3, 250, 300], chains=3, seed=5, **settings)
    np.testing.assert_array_equal(runs.p[:, 1:], more.p[:2, [0, 2]])
    assert not np.array_equal(more.p[0], more.p[2])
    np.testing.assert_array_equal(runs.p[:, 0], [HALF, HALF])
    starts = np.array([HALF, 2 * HALF])
    own = sgd_chains(TASK, starts, HALF, [0], chains=2, **settings)
    np.testing.assert_array_equal(own.p[:, 0], starts)
    np.testing.assert_allclose(own.difference[:, 0], [0, 1.5])
    assert "2, 0 of them diverged" in repr(runs)
    assert runs.to_dict()["batch"] == 32


def test_diverged_runs_have_no_weights() -> None:
    runs = sgd_chains(TASK, HALF, HALF, [0, 200], learning_rate=5.0, batch=1)
    assert runs.diverged.all()
    assert np.all(np.isfinite(runs.p[:, 0]))
    assert np.all(np.isnan(runs.q[:, 1]))


def test_what_is_refused() -> None:
    settings = {"learning_rate": 0.02, "batch": 4}
    of_list = Task([1, 1], teachers=Pool([HALF, -HALF]), context_length=2)
    lengths = Task(
        [1, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=[1, 2]
    )
    for task, model, message in (
        (of_list, None, "draws Gaussian teachers"),
        (lengths, None, "draws one context length, not 2"),
        (TASK, Merged(heads=2, outputs=2), "one merged head"),
        (Task([1, 1], context_length=2), Separate(heads=1, rank=1), "one merged head"),
        (TASK, Merged(heads=1), "2 outputs"),
    ):
        with pytest.raises(ValueError, match=message):
            sgd_chains(task, HALF, HALF, [1], model, **settings)
    with pytest.raises(ValueError, match="starts of 3 runs, and chains = 1"):
        sgd_chains(TASK, np.zeros((3, 2, 2)), HALF, [1], **settings)
    with pytest.raises(ValueError, match="steps must be whole numbers"):
        sgd_chains(TASK, HALF, HALF, [1.5], **settings)
