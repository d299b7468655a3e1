"""In-context algorithms against least squares, Bayes' rule by sampling, and each other in their limits."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.models.divisors import attention_divisor
from attndyn.teachers import Pool
from attndyn.theory import (
    learned_prediction,
    population,
    preconditioned_step,
    principal_component_regression,
    ridge,
)
from attndyn.theory.predictors import pool_posterior

λ = np.array([2.0, 1.0, 0.5])
Ω = np.array([[1.0, 0.4, 0.0], [0.4, 2.0, -0.3], [0.0, -0.3, 0.7]])


def prompts(seed, length, count=5, noise=0.0, dimension=3):
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(count, dimension))
    x = rng.normal(size=(count, length, dimension)) * np.sqrt(λ[:dimension])
    query = rng.normal(size=(count, dimension)) * np.sqrt(λ[:dimension])
    y = np.einsum("pnd,pd->pn", x, w) + np.sqrt(noise) * rng.normal(
        size=(count, length)
    )
    return x, y, query, w


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.integers(3, 8))
def test_all_components_without_noise_recover_the_teacher(seed, length):
    x, y, query, w = prompts(seed, length)
    exact, tolerance = (
        np.sum(w * query, axis=1),
        1e-6 * np.max(np.abs(y)) * np.max(np.abs(query)),
    )
    predictions = principal_component_regression(x, y, query, components=[1, 2, 3])
    assert np.allclose(predictions, exact, atol=tolerance)
    assert np.allclose(ridge(x, y, query, noise_variance=0.0), exact, atol=tolerance)
    population_basis = principal_component_regression(
        x, y, query, [1, 2, 3], covariance=np.diag(λ)
    )
    assert not np.allclose(population_basis, exact, atol=tolerance)


@pytest.mark.parametrize("components", [(1,), (2,), (1, 3), (3, 2, 1)])
def test_in_sample_components_against_least_squares_on_scores(components):
    x, y, query, _ = prompts(1, 7, noise=0.3)
    found = principal_component_regression(x, y, query, components)
    for p in range(len(x)):
        axes = np.linalg.svd(x[p])[
            2
        ].T  # singular vectors of the data, not eigenvectors of its covariance
        chosen = axes[:, [d - 1 for d in components]]
        slopes = np.linalg.lstsq(x[p] @ chosen, y[p], rcond=None)[0]
        assert np.isclose(found[p], query[p] @ chosen @ slopes, rtol=1e-10)
    others = tuple(4 - d for d in components)  # numbered from the smallest variance
    wrong = principal_component_regression(x, y, query, others)
    assert np.allclose(found, wrong, rtol=1e-6) == (set(others) == set(components))


def test_population_components_are_the_given_covariance():
    x, y, query, _ = prompts(2, 6, noise=0.1)
    Q = np.linalg.qr(np.random.default_rng(3).normal(size=(3, 3)))[0]
    β = np.mean(y[..., None] * x, axis=1)
    expected = (β @ Q[:, 0]) * (query @ Q[:, 0]) / 2 + (β @ Q[:, 2]) * (
        query @ Q[:, 2]
    ) / 0.5
    found = principal_component_regression(x, y, query, (1, 3), covariance=Q * λ @ Q.T)
    assert np.allclose(found, expected, rtol=1e-10)
    assert not np.allclose(
        principal_component_regression(x, y, query, (1, 3)), expected, rtol=1e-2
    )


@pytest.mark.parametrize("length", [1, 2])
def test_short_contexts_interpolate_with_least_norm(length):
    x, y, query, _ = prompts(4, length)
    least = np.array([np.linalg.pinv(x[p]) @ y[p] @ query[p] for p in range(len(x))])
    assert np.allclose(
        principal_component_regression(x, y, query, [1, 2, 3]), least, rtol=1e-9
    )
    assert np.allclose(ridge(x, y, query, 0.0), least, rtol=1e-9)
    assert not np.allclose(ridge(x, y, query, 0.0, Ω), least, rtol=1e-3)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 8), st.floats(0.01, 3))
def test_ridge_against_the_formula(seed, length, noise):
    x, y, query, _ = prompts(seed, length, noise=noise)
    found = ridge(x, y, query, noise, Ω)

    def formula(p, scale=1.0, prior=None):
        prior = np.linalg.inv(Ω) if prior is None else prior
        covariance, β = x[p].T @ x[p] / length, y[p] @ x[p] / length
        return query[p] @ np.linalg.solve(
            covariance + scale * noise / length * prior, β
        )

    expected = [formula(p) for p in range(len(x))]
    assert np.allclose(found, expected, rtol=1e-8, atol=1e-10)
    for wrong in ({"prior": Ω}, {"scale": 2}, {"prior": np.eye(3)}):
        assert not np.allclose(
            found, [formula(p, **wrong) for p in range(len(x))], rtol=1e-6, atol=1e-10
        )


def test_ridge_is_the_posterior_mean():
    """Importance sampling of teachers from the prior, weighted by the likelihood of the context."""
    x, y, query, _ = prompts(5, 2, count=1, noise=1.0)
    w = np.random.default_rng(6).normal(size=(400_000, 3)) @ np.linalg.cholesky(Ω).T
    weight = np.exp(-0.5 * np.sum((y[0] - w @ x[0].T) ** 2, axis=1))
    weight /= weight.sum()
    outcome = w @ query[0]
    mean = weight @ outcome
    standard = np.sqrt(np.sum(weight**2 * (outcome - mean) ** 2))
    assert abs(ridge(x, y, query, 1.0, Ω)[0] - mean) < 4 * standard
    assert abs(ridge(x, y, query, 4.0, Ω)[0] - mean) > 8 * standard
    assert abs(ridge(x, y, query, 1.0)[0] - mean) > 8 * standard


@pytest.mark.parametrize("divisor", ["context", "tokens", "none"])
@pytest.mark.parametrize("length", [5, 9])
def test_learned_prediction_is_the_forward_pass(divisor, length):
    task = Task(λ, teacher_covariance=Ω, noise_variance=0.2, context_length=5)
    model = Separate(heads=3, divisor=divisor)
    x, y, query, _ = prompts(7, length)
    M = population(task, model).learned((1, 3))
    tokens = [
        np.vstack([np.column_stack([x[p].T, query[p]]), np.append(y[p], 0.0)])
        for p in range(len(x))
    ]  # last row y, zero at the query
    forward = [
        (X @ X.T)[-1, :-1] @ M @ X[:-1, -1] / attention_divisor(model, length)
        for X in tokens
    ]
    found = learned_prediction(x, y, query, task, model, (1, 3))
    assert np.allclose(found, forward, rtol=1e-10)
    undivided = preconditioned_step(x, y, query, M)
    assert np.allclose(undivided, forward, rtol=1e-3) == (divisor == "context")


def test_everything_learned_is_one_preconditioned_step():
    task, model = Task(λ, context_length=6), Separate(heads=3)
    x, y, query, _ = prompts(8, 6)
    for factor, right in ((7 / 6, True), (1, False)):
        Γ = np.diag(1 / (factor * λ + np.sum(λ) / 6))
        teachers = [
            np.mean(y[p] * x[p].T, axis=1) for p in range(len(x))
        ]  # from w = 0 the gradient is −2 β
        by_hand = [teachers[p] @ Γ @ query[p] for p in range(len(x))]
        assert np.allclose(preconditioned_step(x, y, query, Γ), by_hand, rtol=1e-12)
        assert (
            np.allclose(
                learned_prediction(x, y, query, task, model, (1, 2, 3)),
                by_hand,
                rtol=1e-9,
            )
            == right
        )


def root_mean_square(values):
    return float(np.sqrt(np.mean(np.square(values))))


def gaps(length):
    """Distances of the model at M_{1,2} from regression on the population's and on the context's two components."""
    x, y, query, _ = prompts(length, length, count=max(40, 40_000 // length))
    model = learned_prediction(
        x, y, query, Task(λ, context_length=length), Separate(heads=3), (1, 2)
    )
    in_population = principal_component_regression(
        x, y, query, (1, 2), covariance=np.diag(λ)
    )
    in_sample = principal_component_regression(x, y, query, (1, 2))
    other = principal_component_regression(x, y, query, (1, 3), covariance=np.diag(λ))
    return [
        root_mean_square(model - rule) for rule in (in_population, in_sample, other)
    ]


def test_long_contexts_give_principal_component_regression():
    lengths = np.array([100, 400, 1600, 6400])
    orders = np.polyfit(np.log(lengths), np.log([gaps(n) for n in lengths]), 1)[0]
    assert orders[0] == pytest.approx(-1, abs=0.15)
    assert orders[1] == pytest.approx(-0.5, abs=0.15)
    assert orders[2] == pytest.approx(0, abs=0.15)


@pytest.mark.parametrize("broken", [0, 1, 2])
def test_refuses_shapes_that_disagree(broken):
    arrays = list(prompts(9, 4)[:3])
    arrays[broken] = arrays[broken][:, 1:]
    with pytest.raises(ValueError, match="prompts are x"):
        ridge(*arrays, noise_variance=0.1)


def test_refuses_components_that_do_not_exist():
    x, y, query, _ = prompts(9, 4)
    with pytest.raises(ValueError, match="distinct directions from 1 to 3"):
        principal_component_regression(x, y, query, (0, 1))


@pytest.mark.parametrize("noise", [-1.0, np.nan, np.inf, "much"])
def test_ridge_refuses_what_is_no_variance(noise):
    with pytest.raises(
        ValueError, match="noise_variance must be zero or more and finite"
    ):
        ridge(np.ones((1, 2, 1)), np.ones((1, 2)), np.ones((1, 1)), noise)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1.0, 2.0], [2.0, 1.0]], "positive semidefinite"),
        ([[1.0, 0.5], [0.0, 1.0]], "symmetric"),
        (np.eye(3), "shape"),
    ],
)
def test_ridge_refuses_what_is_no_covariance(matrix, message):
    for length in (1, 3):
        with pytest.raises(ValueError, match=message):
            ridge(
                np.ones((1, length, 2)),
                np.ones((1, length)),
                np.ones((1, 2)),
                0.1,
                matrix,
            )


def test_components_of_an_asymmetric_matrix_are_refused():
    with pytest.raises(ValueError, match="covariance must be symmetric"):
        principal_component_regression(
            np.ones((1, 2, 2)),
            np.ones((1, 2)),
            np.ones((1, 2)),
            [1],
            [[1, 0.5], [0, 1]],
        )


def test_the_posterior_of_a_pool_is_bayes_rule():
    rng = np.random.default_rng(5)
    pool = Pool(rng.normal(size=(4, 2, 3)), weights=[1, 2, 3, 0])
    task = Task([1, 2, 3], teachers=pool, noise_variance=0.4, context_length=2)
    x, y = rng.normal(size=(5, 2, 3)), rng.normal(size=(5, 2, 2))
    query = rng.normal(size=(5, 3))
    found = pool_posterior(x, y, query, task)
    for p in range(5):
        likelihood = [
            weight * np.exp(-np.sum((y[p] - x[p] @ W.T) ** 2) / 0.8)
            for W, weight in zip(pool.teachers, pool.weights, strict=True)
        ]
        mean = np.tensordot(likelihood / np.sum(likelihood), pool.teachers, 1)
        np.testing.assert_allclose(found[p], mean @ query[p], rtol=1e-12)
    # Control: equal weights give another mean.
    equal = Task(
        [1, 2, 3], teachers=Pool(pool.teachers), noise_variance=0.4, context_length=2
    )
    assert np.max(np.abs(pool_posterior(x, y, query, equal) - found)) > 1e-3


def test_the_posterior_of_a_pool_without_noise():
    task = Task([1, 1], teachers=Pool([[1, 0], [0, 1]], signs=True), context_length=1)
    # Far likelihoods neither overflow nor vanish.
    noisy = Task([1, 1], teachers=task.teachers, noise_variance=1e-12, context_length=1)
    prompt = [[[1.0, 2.0]]], [[-2.0]], [[3.0, 4.0]]
    assert pool_posterior(*prompt, task).tolist() == [-4.0]
    assert pool_posterior(*prompt, noisy).tolist() == [-4.0]
    with pytest.raises(ValueError, match="no teacher of the pool fits the context"):
        pool_posterior([[[1.0, 2.0]]], [[0.3]], [[3.0, 4.0]], task)
    with pytest.raises(ValueError, match="teachers=Pool"):
        pool_posterior(*prompt, Task([1, 1], context_length=1))


@pytest.mark.parametrize("length", [2, 7])
def test_ridge_of_teachers_that_do_not_vary_everywhere(length):
    """It is the limit of ridge with a little variance there."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(5, length, 3)), rng.normal(size=(5, length))
    query = rng.normal(size=(5, 3))
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    for basis in (np.eye(3), rotation):
        singular = basis @ np.diag([2.0, 0.5, 0.0]) @ basis.T
        nearly = singular + 1e-9 * np.eye(3)
        expected = ridge(x, y, query, 0.3, nearly)
        np.testing.assert_allclose(ridge(x, y, query, 0.3, singular), expected, 1e-6)

    with pytest.raises(ValueError, match="positive definite where there is no noise"):
        ridge(x, y, query, 0.0, np.diag([2.0, 0.5, 0.0]))


def test_labels_that_cancel_still_fit_their_teacher():
    """Without noise: 0.1 · 3 − 0.3 · 1 is 0 up to rounding, which differs from one sum to another."""
    task = Task([1, 1], teachers=Pool([[0.1, 0.3], [1, 1]]), context_length=1)
    x = [[[3.0, -1.0]]]
    for label in (0.0, 6e-17, -6e-17):
        assert pool_posterior(x, [[label]], [[1, 1]], task) == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no teacher of the pool fits"):
        pool_posterior(x, [[1e-6]], [[1, 1]], task)


def test_a_posterior_of_labels_far_away_or_not_finite_is_refused():
    task = Task([1], teachers=Pool([[1], [2]]), noise_variance=0.1, context_length=1)
    with pytest.raises(ValueError, match="fits the context of prompt 0"):
        pool_posterior([[[1.0]]], [[1e200]], [[1.0]], task)
    with pytest.raises(ValueError, match="y must be finite"):
        pool_posterior([[[1.0]]], [[np.nan]], [[1.0]], task)
    assert pool_posterior([[[1.0]]], [[50.0]], [[1.0]], task) == pytest.approx(2.0)
