"""What teachers of several outputs share with the inputs, from their second moments alone."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory.moments.laws_of_outputs import kronecker_factors, shared_modes

RNG = np.random.default_rng(7)


def rotation(D):
    return np.linalg.qr(RNG.normal(size=(D, D)))[0]


@pytest.mark.parametrize("D", [1, 2, 3, 5])
def test_modes_are_found_in_any_basis(D):
    U = rotation(D)
    s, ω = RNG.uniform(0.2, 2, D), RNG.uniform(0.2, 2, D)
    task = Task(
        covariance=U * s @ U.T,
        teachers=Gaussian.shared_basis(ω, U),
        context_length=5,
    )
    found = shared_modes(task)
    order = np.argsort(s)
    own = np.argsort(found.inputs)
    np.testing.assert_allclose(found.inputs[own], s[order], rtol=1e-12)
    np.testing.assert_allclose(found.teachers[own], ω[order], rtol=1e-12)
    cosines = np.sum(found.basis[:, own] * U[:, order], axis=0)
    np.testing.assert_allclose(np.abs(cosines), 1, rtol=1e-10)


def test_modes_of_equal_variances_are_those_of_the_teachers():
    U = rotation(3)
    task = Task(
        eigenvalues=[1, 1, 1],
        teachers=Gaussian.shared_basis([3, 2, 1], U),
        context_length=5,
    )
    found = shared_modes(task)
    np.testing.assert_allclose(found.inputs, 1, rtol=1e-12)
    np.testing.assert_allclose(np.sort(found.teachers), [1, 2, 3], rtol=1e-12)


@pytest.mark.parametrize(
    "teachers",
    [
        Gaussian.kronecker(np.eye(2), np.eye(2)),
        Gaussian.shared_basis([1, 2], rotation(2)),
        Gaussian.kronecker(np.eye(3), np.eye(2)),
        Pool([[[1.0, 0.5], [0.5, 2.0]]], signs=True),
    ],
)
def test_other_teachers_share_no_modes(teachers):
    assert (
        shared_modes(Task(eigenvalues=[2, 1], teachers=teachers, context_length=5))
        is None
    )


def test_diagonal_modes_stay_exact():
    """No solver touches what is diagonal, so that a variance of 0 stays 0."""
    task = Task([2, 0], teachers=Gaussian.shared_basis([0, 1]), context_length=5)
    found = shared_modes(task)
    assert np.array_equal(found.basis, np.eye(2))
    assert sorted(found.inputs) == [0, 2]
    assert sorted(found.teachers) == [0, 1]


@pytest.mark.parametrize(("K", "D"), [(1, 3), (2, 3), (3, 2)])
def test_kronecker_factors_are_found(K, D):
    Γ, Ω = (np.cov(RNG.normal(size=(n, 9))).reshape(n, n) for n in (K, D))
    task = Task(
        eigenvalues=np.arange(1, D + 1),
        teachers=Gaussian.kronecker(Γ, Ω),
        context_length=5,
    )
    found = kronecker_factors(task)
    assert np.trace(found.outputs) == pytest.approx(K)
    np.testing.assert_allclose(
        np.multiply.outer(found.outputs, found.inputs),
        np.multiply.outer(Γ, Ω),
        rtol=1e-10,
        atol=1e-12,
    )
    other = Task(
        eigenvalues=[2, 1], teachers=Gaussian.shared_basis([1, 1]), context_length=5
    )
    assert kronecker_factors(other) is None
