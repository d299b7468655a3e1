"""Means of products of β by Wick's theorem."""

import numpy as np

from attndyn import Merged, Task
from attndyn.teachers import Gaussian
from attndyn.theory.linear_transformer.gradient_noise import moments_of_modes
from attndyn.theory.linear_transformer.layer_losses import layer_moments
from attndyn.theory.linear_transformer.mode_tasks import mode_task
from attndyn.theory.linear_transformer.wick_means import (
    length_powers,
    mean_of_products,
)

TASK = Task(
    [1.5, 0.7],
    teachers=Gaussian.shared_basis([0.8, 1.7]),
    context_length=4,
    noise_variance=0.3,
)
LAYER = Merged(heads=1, outputs=2)


def test_two_factors_are_the_moments_of_the_loss() -> None:
    modes = mode_task(TASK, None, "test")
    pairs = mean_of_products(modes, length_powers(TASK, LAYER, 2), "ai bj")
    # By a, i, b, j.
    np.testing.assert_allclose(pairs, layer_moments(TASK, None, "test").A, atol=1e-13)
    np.testing.assert_allclose(pairs, moments_of_modes(modes).A, atol=1e-13)


def test_equal_names_are_the_diagonal_of_different_ones() -> None:
    modes = mode_task(TASK, None, "test")
    lengths = length_powers(TASK, LAYER, 4)
    every = mean_of_products(modes, lengths, "ai bj ck dl")
    some = mean_of_products(modes, lengths, "ai aj bi bj")
    np.testing.assert_allclose(np.einsum("aiajbibj->aijb", every), some, rtol=1e-12)


def test_fourth_moment_of_one_mode() -> None:
    # β = λ z with z = Σ x²/N for N = 3 without noise: E β⁴ = 3 ω² s⁴ N (N+2) (N+4) (N+6)/N⁴.
    task = Task([0.5], teachers=Gaussian.shared_basis([2.0]), context_length=3)
    modes = mode_task(task, None, "test")
    lengths = length_powers(task, Merged(heads=1), 4)
    fourth = mean_of_products(modes, lengths, "aa aa aa aa")
    assert np.isclose(fourth[0], 3 * 4 * 0.5**4 * 3 * 5 * 7 * 9 / 3**4)


def test_an_odd_number_of_teachers_has_mean_zero() -> None:
    modes = mode_task(TASK, None, "test")
    assert not np.any(mean_of_products(modes, length_powers(TASK, LAYER, 1), "ai"))
