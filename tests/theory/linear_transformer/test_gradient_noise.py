"""Second moments of one prompt's gradient and Hessian, against sums over nodes and over sampled prompts."""

from itertools import product

import numpy as np
import pytest
from numpy.polynomial.hermite_e import hermegauss

from attndyn import Task
from attndyn.runtime.arrays import FloatArray
from attndyn.teachers import Gaussian, Pool
from attndyn.theory.linear_transformer import minimum, sgd_noise
from attndyn.theory.linear_transformer.gradient_noise import (
    hessian_moments,
    noise_at,
    noise_moments,
)
from attndyn.theory.linear_transformer.mode_points import amplitudes_of

MODES = Task([1.3, 0.4], teachers=Gaussian.shared_basis([1, 1]), context_length=2)
NOISY = Task(
    [1.5, 0.7],
    teachers=Gaussian.shared_basis([0.8, 1.7]),
    context_length=4,
    noise_variance=0.3,
    query_noise_variance=0.2,
)


def test_reference_values_at_the_minimum() -> None:
    least = minimum(MODES)
    p, q = amplitudes_of(least.modes, least.coefficients)
    noise = sgd_noise(MODES, p, q)
    by_p, by_q = np.diag(noise).reshape(2, -1).sum(axis=1)
    assert round(by_p, 6) == 15.840124
    assert round(by_q, 6) == 21.423715
    along = np.concatenate([np.diag(p).ravel(), -np.diag(q).ravel()])
    np.testing.assert_allclose(noise @ along, 0, atol=1e-12)


ONE = Task(
    [0.7],
    teachers=Gaussian.shared_basis([1.4]),
    context_length=2,
    noise_variance=0.3,
    query_noise_variance=0.2,
)


def test_one_mode_by_quadrature() -> None:
    p, q = 0.6, -0.8
    nodes, weights = hermegauss(5)
    z = np.array(list(product(nodes, repeat=7))).T  # (7, points)
    weight = np.prod(list(product(weights / np.sum(weights), repeat=7)), axis=1)
    λ, x_q, x = np.sqrt(1.4) * z[0], np.sqrt(0.7) * z[1], np.sqrt(0.7) * z[2:4]
    β = np.sum((λ * x + np.sqrt(0.3) * z[4:6]) * x, axis=0) / 2
    e = λ * x_q + np.sqrt(0.2) * z[6] - p * β * q * x_q
    g = np.array([-e * β * q * x_q, -e * p * β * x_q])
    expected = (weight * g) @ g.T
    np.testing.assert_allclose(sgd_noise(ONE, [p], [q]), expected, rtol=1e-11)


def prompts(count: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """β (count, 2, 2), x_q and y_q (count, 2) of prompts of NOISY."""
    draws = np.random.default_rng(3)
    s = NOISY.covariance.diagonal()
    λ = draws.standard_normal((count, 2)) * np.sqrt([0.8, 1.7])
    x = draws.standard_normal((count, 4, 2)) * np.sqrt(s)
    y = λ[:, None] * x + np.sqrt(0.3) * draws.standard_normal(x.shape)
    x_q = draws.standard_normal((count, 2)) * np.sqrt(s)
    y_q = λ * x_q + np.sqrt(0.2) * draws.standard_normal((count, 2))
    return np.einsum("nta,ntb->nab", y, x) / 4, x_q, y_q


def sampled(p: FloatArray, q: FloatArray, count: int) -> tuple[FloatArray, FloatArray]:
    """Gradients (count, 8) and Hessians (count, 8, 8) of prompts of NOISY, by hand."""
    β, x_q, y_q = prompts(count)
    v = np.einsum("nab,nb->na", β, x_q @ q.T)
    # dŷ (n, 2, 8) by the entries of p and q, and e = y − ŷ.
    by_p = np.einsum("ij,na->nija", np.eye(2), v).reshape(count, 2, 4)
    by_q = np.einsum("nia,nc->niac", p @ β, x_q).reshape(count, 2, 4)
    slopes = np.concatenate([by_p, by_q], axis=2)
    e = y_q - v @ p.T
    gradient = -np.einsum("ni,nik->nk", e, slopes)
    hessian = np.einsum("nik,nil->nkl", slopes, slopes)
    mixed = -np.einsum("ni,nac,nd->niacd", e, β, x_q).reshape(count, 4, 4)
    hessian[:, :4, 4:] += mixed
    hessian[:, 4:, :4] += mixed.transpose(0, 2, 1)
    return gradient, hessian


def test_two_noisy_modes_by_samples() -> None:
    modes = noise_moments(NOISY, None, "test")
    np.testing.assert_array_equal(modes.modes.inputs, [1.5, 0.7])
    p, q = np.diag([0.5, -0.3]), np.diag([0.4, 0.7])
    gradient, hessian = sampled(p, q, 60_000)

    squares = np.einsum("nk,nl->nkl", gradient, gradient)
    error = squares.std(axis=0) / np.sqrt(len(squares))
    gap = np.abs(squares.mean(axis=0) - noise_at(modes, p, q))
    assert np.all(gap < 5 * error)

    direction = np.array([0.3, -0.2, 0.5, 0.1, -0.4, 0.6, 0.2, 0.7])
    moved = hessian @ direction
    squares = np.einsum("nk,nl->nkl", moved, moved)
    error = squares.std(axis=0) / np.sqrt(len(squares))
    fourth = hessian_moments(modes, p, q)
    expected = np.einsum("knol,n,o->kl", fourth, direction, direction)
    assert np.all(np.abs(squares.mean(axis=0) - expected) < 5 * error)


def test_what_is_refused() -> None:
    of_list = Task([1, 1], teachers=Pool([np.eye(2), -np.eye(2)]), context_length=2)
    with pytest.raises(ValueError, match=r"sgd_noise .*"):
        sgd_noise(of_list, [1, 1], [1, 1])
    many = Task([1] * 4, teachers=Gaussian.shared_basis([1] * 4), context_length=2)
    with pytest.raises(ValueError, match="up to 3 modes, and here are 4"):
        sgd_noise(many, [1] * 4, [1] * 4)
    with pytest.raises(ValueError, match="p must have shape"):
        sgd_noise(MODES, [1], [1, 1])
