"""Solvers of symmetric equations: what they solve, what they refuse, and how many steps they take."""

import numpy as np
import pytest

from attndyn.simulate.ridge.linear_solvers import (
    conjugate_gradients,
    factored,
    in_precision,
    refined,
)


def symmetric(eigenvalues, seed=0):
    """A matrix with these eigenvalues, its eigenvectors at random."""
    size = len(eigenvalues)
    vectors, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    return (vectors * eigenvalues) @ vectors.T


@pytest.mark.parametrize(
    ("dtype", "accuracy"), [(np.float32, 1e-4), (np.float64, 1e-13)]
)
def test_a_factor_solves(dtype, accuracy):
    S = symmetric(np.linspace(0.1, 2, 30))
    right = np.random.default_rng(1).normal(size=(5, 6))
    solve = factored(S.astype(dtype))
    exact = np.linalg.solve(S, right.ravel()).reshape(5, 6)
    np.testing.assert_allclose(solve(right), exact, atol=accuracy * np.abs(exact).max())
    # Numbers that single precision does not have.
    tiny = solve(1e-80 * right)
    np.testing.assert_allclose(1e80 * tiny, solve(right), rtol=1e-6)
    assert not np.any(solve(np.zeros((5, 6))))


@pytest.mark.parametrize(
    ("dtype", "least", "is_safe"),
    [
        (np.float64, 1e-3, True),
        (np.float64, 1e-11, True),
        (np.float64, 1e-15, False),
        (np.float64, 0.0, False),
        (np.float64, -1e-3, False),
        (np.float32, 1e-3, True),
        (np.float32, 1e-6, False),
    ],
)
def test_what_rounding_makes_singular_has_no_factor(dtype, least, is_safe):
    S = symmetric([least, *np.linspace(0.5, 1.5, 29)]).astype(dtype)
    assert (factored(S) is not None) == is_safe


def test_no_equations_have_a_solution():
    assert factored(np.empty((0, 0)))(np.empty(0)).shape == (0,)


def test_conjugate_gradients_solve_in_few_products():
    S = symmetric(np.linspace(0.2, 2, 50)).astype(np.float32)
    right = np.random.default_rng(2).normal(size=50).astype(np.float32)
    products = []

    def product(m):
        products.append(m)
        return S @ m

    solution = conjugate_gradients(product, right)
    np.testing.assert_allclose(S @ solution, right, atol=3e-5)
    # (√10 − 1) / (√10 + 1) = 0.52 a step.
    assert 10 < len(products) < 30
    assert not np.any(conjugate_gradients(product, np.zeros(50, dtype=np.float32)))


def test_refinement_makes_a_solution_accurate():
    S = symmetric(np.linspace(0.1, 2, 30))
    right = np.random.default_rng(3).normal(size=30)
    exact = np.linalg.solve(S, right)
    single = factored(S.astype(np.float32))
    steps = []

    def solve(residual):
        steps.append(residual)
        return single(residual)

    solution = refined(lambda m: right - S @ m, solve, (30,))
    np.testing.assert_allclose(solution, exact, rtol=1e-12)
    assert len(steps) < 6
    assert np.max(np.abs(single(right) / exact - 1)) > 1e-8


@pytest.mark.parametrize("factor", [1.9, 2.5, -1.0])
def test_refinement_that_does_not_shrink_is_refused(factor):
    S = symmetric(np.linspace(0.1, 2, 10))
    solve = factored(S.copy())
    right = np.ones(10)
    assert refined(lambda m: right - S @ m, lambda r: factor * solve(r), (10,)) is None


def test_solutions_in_another_precision_are_doubles():
    halved = in_precision(lambda right: right / 2, np.dtype(np.float32))
    assert halved(np.array([2.0, 0.0])).dtype == np.float64
    assert list(halved(np.array([2e-300, 0.0]))) == [1e-300, 0.0]
