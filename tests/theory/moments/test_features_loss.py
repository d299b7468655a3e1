"""What follows from the moments of all features: losses, gradients, the minimum, what the simulation descends."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Merged, Separate, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import initial_weights, objective
from attndyn.theory import feature_moments, population

DIVISORS = ("context", "tokens", "none")


def random_task(seed, dimension, fraction=1.0, context_length=3):
    """Λ and Ω do not commute, there is noise, and below fraction 1 a fixed teacher."""
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, dimension, dimension))
    Λ, Ω = (root @ root.T / dimension + 0.2 * np.eye(dimension) for root in roots)
    teacher = rng.choice([-1, 1], dimension) * rng.uniform(0.5, 1.5, dimension)
    mixture = (
        {"fixed_teacher": teacher, "in_context_fraction": fraction}
        if fraction < 1
        else {}
    )
    fields = {
        "covariance": Λ,
        "teacher_covariance": Ω,
        "noise_variance": rng.uniform(0.1, 1),
    }
    return Task(**fields, context_length=context_length, **mixture)


def changed(task, **fields):
    return Task(**task.to_dict() | fields)


def random_heads(seed, dimension, heads=2):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(heads, dimension + 1)), rng.normal(
        size=(heads, dimension + 1, dimension)
    )


def complex_step(f, x, step=1e-100):
    """∂f/∂x of an analytic f, to rounding."""
    gradient, shifted = np.zeros(x.shape), x.astype(complex)
    for index in np.ndindex(x.shape):
        shifted[index] += 1j * step
        gradient[index] = f(shifted).imag / step
        shifted[index] = x[index]
    return gradient


@pytest.mark.parametrize("divisor", DIVISORS)
def test_gradients_are_those_of_the_loss(divisor):
    ours = feature_moments(random_task(8, 3, 0.5), Merged(2, divisor=divisor))
    a, B = random_heads(0, 3)
    M = ours.effective_map(a, B)
    by_a = complex_step(lambda a: ours.loss(ours.effective_map(a, B)), a)
    by_B = complex_step(lambda B: ours.loss(ours.effective_map(a, B)), B)
    grad_a, grad_B = ours.head_gradients(a, B)
    assert np.allclose(grad_a, by_a, rtol=1e-11, atol=1e-11)
    assert np.allclose(grad_B, by_B, rtol=1e-11, atol=1e-11)
    assert np.allclose(
        ours.gradient(M), complex_step(ours.loss, M), rtol=1e-11, atol=1e-11
    )
    lopsided = replace(ours, S=np.triu(ours.S))  # control: S that is not symmetric
    assert not np.allclose(
        lopsided.gradient(M), complex_step(lopsided.loss, M), rtol=1e-3
    )


def test_losses_of_many_maps_at_once():
    ours = feature_moments(random_task(9, 2, 0.5), Merged(1))
    maps = np.random.default_rng(0).normal(size=(4, 3, len(ours.b)))
    each = [[ours.c - 2 * ours.b @ M + M @ ours.S @ M for M in row] for row in maps]
    assert np.allclose(ours.loss(maps), each, rtol=1e-12)
    assert ours.gradient(maps).shape == maps.shape


class Tied:
    """One head whose key is its query: a model of a user's own."""

    divisor = "tokens"

    def shapes(self, dimension):
        return {"value": (1, dimension + 1), "key": (1, 1, dimension + 1)}

    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key.swapaxes(1, 2) @ key[..., :-1]


MODELS = [Merged(2), Separate(2, rank=2, divisor="none"), Tied()]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
def test_the_simulation_descends_this_loss(model):
    """Loss and gradients of weights outside the restricted block, by the simulation's own route."""
    task = random_task(10, 3, 0.5)
    weights = initial_weights(model, task, 0.7, scheme="gaussian")
    loss, gradients = objective(model, population_statistics(task, model))(weights)

    def slopes(moments, name):
        def own(value):
            return moments.loss(
                moments.effective_map(*model.heads(weights | {name: value}))
            )

        return complex_step(own, weights[name])

    ours = feature_moments(task, model)
    other = feature_moments(
        changed(task, fixed_teacher=-task.fixed_teacher), model
    )  # control
    assert loss == pytest.approx(
        ours.loss(ours.effective_map(*model.heads(weights))), rel=1e-13
    )
    for name, gradient in gradients.items():
        assert np.allclose(gradient, slopes(ours, name), rtol=1e-11, atol=1e-11)
        assert not np.allclose(gradient, slopes(other, name), rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 4), st.sampled_from([1.0, 0.5, 0.0]))
def test_nothing_betters_the_minimum(seed, dimension, fraction):
    ours = feature_moments(random_task(seed, dimension, fraction), Merged(1))
    sizes = np.sqrt(np.diag(ours.S))
    near = ours.minimum + np.random.default_rng(seed).normal(size=(50, len(ours.b))) / (
        100 * sizes
    )
    assert np.max(np.abs(ours.gradient(ours.minimum)) / sizes) < 1e-9 * np.sqrt(ours.c)
    assert np.all(ours.loss(near) > ours.minimum_loss)
    assert np.max(np.abs(ours.gradient(near[0])) / sizes) > 1e-4 * np.sqrt(
        ours.c
    )  # control: another map
    assert 0 < ours.minimum_loss < ours.c


@pytest.mark.parametrize(("teacher", "rank"), [([1.0, -0.5], 9), ([0.0, 0.0], 6)])
def test_one_teacher_without_noise_repeats_features(teacher, rank):
    """G_yy is w₀ᵀ G_xy, and G_xx w₀ − G_xy = x_q (w₀ᵀx_q) is symmetric with x_q; if w₀ = 0 only G_xx is left."""
    task = Task(
        [2, 1], context_length=3, fixed_teacher=teacher, in_context_fraction=0.0
    )
    ours = feature_moments(task, Merged(1))
    assert np.linalg.matrix_rank(ours.S, tol=1e-9) == rank
    assert (
        np.linalg.matrix_rank(
            feature_moments(changed(task, noise_variance=0.1), Merged(1)).S, tol=1e-9
        )
        == 12
    )
    assert np.allclose(ours.gradient(ours.minimum), 0, atol=1e-11)
    assert np.max(np.abs(ours.minimum)) < 10
    assert ours.minimum_loss < ours.c or not any(teacher)


def test_ill_scaled_eigenvalues_keep_their_digits():
    task = Task([1, 1e-5], context_length=4)
    ours, block = feature_moments(task, Merged(1)), population(task, Merged(1))
    assert ours.minimum_loss == pytest.approx(block.minimum_loss, rel=1e-10)
    small = ours.indices.tolist().index([1, 2, 1])
    assert ours.minimum[small] == pytest.approx(block.minimum[1, 1], rel=1e-6)
