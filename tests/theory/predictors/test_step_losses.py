"""Losses of plain and debiased steps against the population loss, drawn prompts, and numbers of another derivation."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn import Merged, Task
from attndyn.inputs import Inputs
from attndyn.teachers import Gaussian, Pool
from attndyn.theory import population
from attndyn.theory.predictors import (
    best_debiased_step,
    best_plain_step,
    debiased_step_loss,
    plain_step_loss,
)
from tests.oracles.white_tasks import white


def hostile_tasks():
    rng = np.random.default_rng(3)
    root = rng.normal(size=(3, 3))
    covariance = root @ root.T / 3
    pool = Pool([[1.0, 0.0, 2.0], [0.5, -1.0, 0.0]], weights=[0.3, 0.7])
    inputs = Inputs(
        lambda generator, shape: generator.exponential(size=shape) ** 0.5
        * generator.choice([-1.0, 1.0], shape),
        moments={4: 2.0},
    )  # fmt: skip
    return {
        "general": Task(
            covariance=covariance,
            teacher_covariance=np.diag([1.0, 0.2, 0.0]),
            noise_variance=0.3,
            query_noise_variance=0.05,
            context_length=4,
        ),
        "shifted": Task(
            covariance=covariance,
            input_mean=[1.0, -0.5, 0.3],
            teachers=pool,
            noise_variance=0.2,
            context_length=3,
        ),
        "uniform": Task([2, 1, 0.5], inputs="uniform", context_length=5),
        "own": Task([2, 1, 1], inputs=inputs, input_mean=[0, 0, 1], context_length=6),
        "one token": white(3, 1),
        "lengths": white(3, {0: 0.25, 2: 0.25, 5: 0.5}),
    }


def drawn_losses(task, step, preconditioner, debiased, prompts=60_000):
    """Losses of one step on drawn prompts (P,), by the definition."""
    rng = np.random.default_rng(11)
    D = task.dimension
    total = []
    root = np.linalg.cholesky(task.covariance)
    for N, weight in zip(task.context_lengths, task.context_weights, strict=True):
        count = round(prompts * weight)
        x = task.input_mean + task.inputs.draw(rng, (count, N + 1, D)) @ root.T
        w = task.teachers.draw(rng, count)[:, 0]  # (P, D)
        y = np.einsum("pnd,pd->pn", x, w)
        y[:, :N] += rng.normal(size=(count, N)) * task.noise_variance**0.5
        y[:, N] += rng.normal(size=count) * task.query_noise_variance**0.5
        context = x[:, :N]
        if debiased and N:
            context = context - context.mean(axis=1, keepdims=True)
        β = np.einsum("pn,pnd->pd", y[:, :N], context) / max(N, 1)
        prediction = step * np.einsum("pd,de,pe->p", β, preconditioner, x[:, N])
        total.append((prediction - y[:, N]) ** 2)
    return np.concatenate(total)


@pytest.mark.parametrize("name", hostile_tasks())
@pytest.mark.parametrize("debiased", [False, True])
def test_losses_are_those_of_drawn_prompts(name, debiased):
    task = hostile_tasks()[name]
    preconditioner = np.array([[1.0, 0.3, 0], [0, 0.5, 0.1], [0.2, 0, 0.8]])
    formula = debiased_step_loss if debiased else plain_step_loss
    losses = drawn_losses(task, 0.4, preconditioner, debiased)
    error = losses.std() / len(losses) ** 0.5
    expected = float(formula(task, 0.4, preconditioner=preconditioner))
    assert abs(losses.mean() - expected) < 4 * error
    # The other kind of step is told apart where tokens differ.
    if name == "shifted":
        other = plain_step_loss if debiased else debiased_step_loss
        wrong = float(other(task, 0.4, preconditioner=preconditioner))
        assert abs(losses.mean() - wrong) > 8 * error


@pytest.mark.parametrize("name", hostile_tasks())
def test_plain_steps_have_the_population_loss_of_their_map(name):
    task = hostile_tasks()[name]
    preconditioner = np.array([[1.0, 0.3, 0], [0, 0.5, 0.1], [0.2, 0, 0.8]])
    loss = population(task, Merged(heads=1, divisor="context"))
    assert_allclose(
        plain_step_loss(task, 0.7, preconditioner=preconditioner),
        loss.loss(0.7 * preconditioner),
        rtol=1e-12,
    )


def test_white_inputs_have_the_closed_forms():
    D, N, σ2, η = 5, 40, 0.1, 0.6
    task = white(D, N)
    plain = 1 + σ2 - 2 * η + η**2 * (N + D + 1 + σ2 * D) / N
    debiased = 1 + σ2 - 2 * η * (N - 1) / N + η**2 * (N - 1) * (N + D + σ2 * D) / N**2
    assert_allclose(plain_step_loss(task, η), plain, rtol=1e-13)
    assert_allclose(debiased_step_loss(task, η), debiased, rtol=1e-13)
    M = N + D + σ2 * D
    assert_allclose(best_plain_step(task).step, N / (M + 1))
    assert_allclose(best_plain_step(task).loss, 1 + σ2 - N / (M + 1))
    assert_allclose(best_debiased_step(task).step, N / M)
    assert_allclose(best_debiased_step(task).loss, 1 + σ2 - (N - 1) / M)
    gap = best_debiased_step(task).loss - best_plain_step(task).loss
    assert_allclose(gap, (D * (1 + σ2) + 1) / (M * (M + 1)), rtol=1e-11)
    assert abs(best_plain_step(task).loss - 0.239785) < 5e-7
    assert abs(best_debiased_step(task).loss - 0.242857) < 5e-7


def test_debiasing_pays_for_shifted_inputs():
    shifted = white(5, 40, input_mean=[1] * 5)
    # Sampled by another implementation, with standard errors of .019 and .0017.
    assert abs(float(plain_step_loss(shifted, 0.5)) - 5.508) < 2 * 0.019
    assert abs(float(debiased_step_loss(shifted, 0.5)) - 0.7038) < 2 * 0.0017


def test_best_steps_are_minima():
    for task in hostile_tasks().values():
        for best, loss in (
            (best_plain_step, plain_step_loss),
            (best_debiased_step, debiased_step_loss),
        ):
            step, lowest = best(task)
            assert_allclose(float(loss(task, step)), lowest, rtol=1e-12)
            assert np.all(loss(task, [step - 0.1, step + 0.1]) >= lowest)


def test_one_token_has_no_debiased_step():
    assert best_debiased_step(white(3, 1)) == (0.0, 1.1)


def test_losses_of_outputs_are_added():
    parts = [np.diag([0.5, 0.5, 0, 0]), np.diag([0, 0, 0.5, 0.5])]
    both = Task(
        [1] * 4,
        teachers=Gaussian.on_supports(4, [[0, 1], [2, 3]]),
        noise_variance=0.1,
        context_length=8,
    )
    each = [
        Task([1] * 4, teacher_covariance=Ω, noise_variance=0.1, context_length=8)
        for Ω in parts
    ]
    for loss in (plain_step_loss, debiased_step_loss):
        assert_allclose(loss(both, 0.4), sum(loss(task, 0.4) for task in each))


def test_refusals():
    task = white(3, 5)
    with pytest.raises(ValueError, match="step must be finite"):
        plain_step_loss(task, np.nan)
    with pytest.raises(
        ValueError, match=re.escape("preconditioner must have shape (3, 3)")
    ):
        debiased_step_loss(task, 0.1, preconditioner=np.eye(2))
    with pytest.raises(TypeError, match=re.escape("call plain_step_loss(task, step)")):
        plain_step_loss(0.1, task)
    unknown = Task(
        [1, 1],
        inputs=Inputs(lambda generator, shape: generator.choice([-1.0, 1.0], shape)),
        context_length=5,
    )
    with pytest.raises(ValueError, match="the theory needs"):
        debiased_step_loss(unknown, 0.1)
