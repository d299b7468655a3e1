"""The exact risk against squared errors on sampled prompts, for every law of teachers, and published controls."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare.exact_statistics import population_statistics
from attndyn.simulate import exact_risk, ridge_fit, sample, sample_summaries
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere

Λ = np.array([[2.0, 0.3, 0.1], [0.3, 1.0, 0.2], [0.1, 0.2, 0.5]])
GENERATOR = np.random.default_rng(7)
MAPS = {rows: 0.4 * GENERATOR.normal(size=(rows, 3)) for rows in (3, 4)}


class Rademacher:
    """A law of teachers of the user's own: independent signs, with E w⁴ = 1."""

    dimension, outputs, symmetric = 3, 1, True
    second = np.eye(3)
    fourth = sum(
        np.einsum(letters, np.eye(3), np.eye(3))
        for letters in ("ab,cd->abcd", "ac,bd->abcd", "ad,bc->abcd")
    ) - 2 * np.einsum("ab,ac,ad->abcd", np.eye(3), np.eye(3), np.eye(3))

    def draw(self, generator, n):
        return generator.choice([-1.0, 1.0], size=(n, 1, 3))


POOL = Pool(GENERATOR.normal(size=(4, 3)), weights=[1, 2, 3, 0.5])
LAWS = {
    "normal": Gaussian([[1, 0.2, 0], [0.2, 2, 0], [0, 0, 0.5]]),
    "normal with a mean": Gaussian([1, 0, 0.5], mean=[0.5, -1, 0.2]),
    "sphere": Sphere(3, 1.3),
    "pool": POOL,
    "pool with signs": Pool(GENERATOR.normal(size=(2, 3)), signs=True),
    "mixture": Mixture(
        (0.3, POOL), (0.5, Gaussian([1, 2, 3], mean=[0, 1, 0])), (0.2, Sphere(3))
    ),
    "own": Rademacher(),
}


def task_of(law, lengths=4):
    """A task with noise of the query apart."""
    return Task(
        covariance=Λ,
        teachers=law,
        context_length=lengths,
        noise_variance=0.3,
        query_noise_variance=0.7,
    )


def squared_errors(task, M, P=20_000):
    """(y_q − ŷ)² (P,) on tokens, the mean over context lengths."""
    sequences = sample(task, P, seed=2).all_sequences()
    x, y = sequences.tokens[..., :-1], sequences.tokens[..., -1]
    total = np.zeros(P)
    for n, weight in zip(task.context_lengths, task.context_weights, strict=True):
        β = np.einsum("pn,pnd->pd", y[:, :n], x[:, :n]) / max(n, 1)
        s = np.sum(y[:, :n] ** 2, axis=1) / max(n, 1)
        h = np.column_stack([β, s])[:, : len(M)]
        prediction = np.einsum("pi,ij,pj->p", h, M, x[:, n])
        total += weight * (sequences.targets[:, n, 0] - prediction) ** 2
    return total


def z_score(samples, expected):
    """The deviation of a mean in standard errors."""
    return abs(samples.mean() - expected) / samples.std() * np.sqrt(len(samples))


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("name", LAWS)
def test_it_is_the_mean_over_prompts(name, rows):
    task, M = task_of(LAWS[name]), MAPS[rows]
    errors = squared_errors(task, M)
    assert z_score(errors, exact_risk(task, M)) < 4
    # Control: the risk of another context length.
    assert z_score(errors, exact_risk(task_of(LAWS[name], 1), M)) > 4


@pytest.mark.parametrize("rows", [3, 4])
@pytest.mark.parametrize("lengths", ["0..3", {2: 0.9, 5: 0.1}])
def test_it_is_the_mean_over_context_lengths(lengths, rows):
    task, M = task_of(POOL, lengths), MAPS[rows]
    assert z_score(squared_errors(task, M), exact_risk(task, M)) < 4


@pytest.mark.parametrize("singular", [False, True])
def test_without_the_row_it_is_the_population_loss(singular):
    Ω = np.diag([1.0, 0.0, 0.0]) if singular else np.diag([1.0, 2.0, 0.5])
    task = Task(
        covariance=Λ, teacher_covariance=Ω, context_length=6, noise_variance=0.2
    )
    population = population_statistics(task, Merged(heads=1))
    for seed in range(3):
        M = np.random.default_rng(seed).normal(size=(3, 3))
        loss, _ = population.loss_of_features(M.ravel())
        assert exact_risk(task, M) == pytest.approx(loss, rel=1e-12)


def test_pools_without_the_row_count_by_their_second_moment_alone():
    pool = Sphere(3).pool(2, seed=1)
    w = pool.teachers[:, 0]
    as_normal = Task(covariance=Λ, teacher_covariance=w.T @ w / 2, context_length=6)
    as_pool = Task(covariance=Λ, teachers=pool, context_length=6)
    M, with_row = MAPS[3], MAPS[4]
    assert exact_risk(as_pool, M) == pytest.approx(exact_risk(as_normal, M), rel=1e-12)
    gap = exact_risk(as_pool, with_row) / exact_risk(as_normal, with_row) - 1
    assert abs(gap) > 0.01


def test_a_large_pool_tends_to_its_law():
    M = MAPS[4]
    gaps = []
    for k in (100, 10_000):
        pools = [task_of(Sphere(3, 1.3).pool(k, seed=seed)) for seed in range(20)]
        differences = [
            exact_risk(task, M) - exact_risk(task_of(LAWS["sphere"]), M)
            for task in pools
        ]
        gaps.append(np.sqrt(np.mean(np.square(differences))))
    # O(1/√k): a tenth from 100 to 10,000, within the scatter of 20 pools.
    assert 5 < gaps[0] / gaps[1] < 20


def published_risk(Γ, ρ, l, v_squared):
    """e(Γ) on the sphere as published, in units of the paper: v̄ − (2/d) tr ΓA + (1/d) tr ΓBΓᵀ."""
    d = len(Γ)
    v = 1 + ρ
    A = np.vstack([np.eye(d), np.zeros(d)])
    B = np.zeros((d + 1, d + 1))
    B[:d, :d] = (d / l * v + 1 + 1 / l) * np.eye(d)
    B[d, d] = (1 + 2 / l) * v_squared
    return v - 2 / d * np.trace(Γ @ A) + np.trace(Γ @ B @ Γ.T) / d


def test_it_is_the_published_risk_and_not_that_of_a_wrong_square():
    d, ρ, N = 12, 0.3, 12
    pool = Sphere(d).pool(6, seed=0)
    settings = {"context_length": N, "noise_variance": ρ}
    train = Task([1 / d] * d, teachers=pool, **settings)
    data = sample_summaries(train, 2 * d**2, balanced=True)
    M = ridge_fit(data, label_row=True, label_weight=d**2)
    Γ = np.column_stack([M[:-1].T / d, M[-1]])
    risk = exact_risk(Task([1 / d] * d, teachers=Sphere(d), **settings), M)
    assert risk == pytest.approx(published_risk(Γ, ρ, N, (1 + ρ) ** 2), rel=1e-12)
    # In the place of (1 + ρ)² (1 + 2/l) one finds 1 + ρ².
    wrong = published_risk(Γ, ρ, N, (1 + ρ**2) / (1 + 2 / N))
    assert risk - wrong > 0.02


def test_maps_with_leading_axes_have_one_risk_each():
    maps = np.stack([MAPS[4], 2 * MAPS[4]])
    task = task_of(POOL)
    risks = exact_risk(task, maps)
    assert risks.shape == (2,)
    assert list(risks) == pytest.approx([exact_risk(task, M) for M in maps], rel=1e-13)
    assert exact_risk(task, maps[:, None]).shape == (2, 1)


class Lopsided(Rademacher):
    """A law of the user's own with odd moments."""

    symmetric = False

    def draw(self, generator, n):
        return generator.exponential(size=(n, 1, 3))


Lopsided.second, Lopsided.fourth = np.eye(3) + 1, None


def test_a_lopsided_law_has_a_risk_without_the_row_only():
    task, M = task_of(Lopsided()), MAPS[3]
    assert z_score(squared_errors(task, M), exact_risk(task, M)) < 4
    with pytest.raises(ValueError, match="use a Pool of draws"):
        exact_risk(task, MAPS[4])


class Silent(Rademacher):
    """A law that states no moment."""

    second = fourth = None


TWO = Task([1, 1], context_length=3)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: exact_risk(TWO, np.ones((3, 3))), ValueError, "M must have shape"),
        (lambda: exact_risk(TWO, np.ones(2)), ValueError, "M must have shape"),
        (
            lambda: exact_risk(TWO, np.full((2, 2), np.nan)),
            ValueError,
            "must be finite",
        ),
        (lambda: exact_risk(TWO, np.full((2, 2), 1e200)), OverflowError, "other units"),
        (
            lambda: exact_risk(np.ones((2, 2)), TWO),
            TypeError,
            r"call exact_risk\(task, M\): got ndarray, then Task",
        ),
        (
            lambda: exact_risk(
                Task([1, 1], context_length=3, inputs="uniform"), np.eye(2)
            ),
            ValueError,
            "Gaussian inputs of mean 0",
        ),
        (
            lambda: exact_risk(
                Task([1, 1], context_length=3, input_mean=[1, 0]), np.eye(2)
            ),
            ValueError,
            "Gaussian inputs of mean 0",
        ),
        (
            lambda: exact_risk(
                Task([1, 1], context_length=3, teachers=Gaussian.shared_basis([1, 1])),
                np.eye(2),
            ),
            ValueError,
            "has 2 outputs",
        ),
        (
            lambda: exact_risk(task_of(Silent()), MAPS[3]),
            ValueError,
            "needs `second` of",
        ),
    ],
)
def test_what_has_no_exact_risk_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()
