"""Population moments against Monte Carlo written here, calculus, an optimiser, and limits."""

import re
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from attndyn import Merged, Separate, Task
from attndyn.models.divisors import attention_divisor
from attndyn.runtime.decimals import exact_fraction
from attndyn.teachers import Gaussian, Pool, Sphere
from attndyn.theory import Population, feature_moments, population
from attndyn.theory.symbolic import fixed_points as exact_fixed_points
from attndyn.theory.symbolic import rational_task

D = 3
Λ = np.array([[1.0, 0.3, 0.1], [0.3, 0.7, -0.2], [0.1, -0.2, 0.4]])
Ω = np.array([[1.6, -0.6, 0.4], [-0.6, 3.0, 0.8], [0.4, 0.8, 2.2]])
NOISY = {"covariance": Λ, "teacher_covariance": Ω, "noise_variance": 0.5}


def rotation(seed, dimension):
    return np.linalg.qr(
        np.random.default_rng(seed).normal(size=(dimension, dimension))
    )[0]


def random_task(seed, dimension=D, **changes):
    rng = np.random.default_rng(seed)
    roots = rng.normal(size=(2, dimension, dimension))
    Λ, Ω = (root @ root.T / dimension + 0.2 * np.eye(dimension) for root in roots)
    fields = {
        "covariance": Λ,
        "teacher_covariance": Ω,
        "noise_variance": rng.uniform(0, 1),
        "context_length": 3,
    }
    return Task(**fields | changes)


def sampled(task, model, sequences, seed):
    """β (P, D), x_q (P, D) and y_q (P,) drawn from the definition, an equal share for each context length."""
    rng = np.random.default_rng(seed)
    root, teacher_root = (
        np.linalg.cholesky(task.covariance),
        np.linalg.cholesky(task.teacher_covariance),
    )
    parts = []
    for n in task.context_lengths:
        count = sequences // len(task.context_lengths)
        w = rng.normal(size=(count, D)) @ teacher_root.T
        x = rng.normal(size=(count, n, D)) @ root.T
        query = rng.normal(size=(count, D)) @ root.T
        y = np.einsum("pnd,pd->pn", x, w) + np.sqrt(task.noise_variance) * rng.normal(
            size=(count, n)
        )
        target = np.sum(query * w, axis=1) + np.sqrt(task.noise_variance) * rng.normal(
            size=count
        )
        parts.append(
            (np.einsum("pn,pnd->pd", y, x) / attention_divisor(model, n), query, target)
        )
    return tuple(np.concatenate(arrays) for arrays in zip(*parts, strict=True))


@dataclass(frozen=True)
class Evidence:
    """Largest distance of a Population from the sample, in standard errors, over losses and forces."""

    β: np.ndarray
    query: np.ndarray
    target: np.ndarray
    maps: np.ndarray

    def distance(self, moments):
        worst = 0.0
        for M in self.maps:
            error = self.target - np.einsum(
                "pi,ij,pj->p", self.β, M, self.query, optimize=True
            )
            force = error[:, None, None] * self.β[:, :, None] * self.query[:, None, :]
            for values, claimed in (
                (error**2, moments.loss(M)),
                (force, moments.residual_correlation(M)),
            ):
                standard = np.std(values, axis=0) / np.sqrt(len(values))
                worst = max(
                    worst,
                    float(np.max(np.abs(values.mean(axis=0) - claimed) / standard)),
                )
        return worst


def evidence(task, model, sequences=200_000):
    M = population(task, model).minimum
    return Evidence(
        *sampled(task, model, sequences, seed=5),
        np.stack([0 * M, M, 0.5 * M.T, 1.5 * M]),
    )


CASES = [
    (Task(context_length=2, **NOISY), "context"),
    (Task(context_length=2, **NOISY), "tokens"),
    (Task(context_length=2, **NOISY), "none"),
    (Task(context_length="1..3", **NOISY), "context"),
    (Task(context_length="1..3", **NOISY), "tokens"),
    (Task(context_length="1..3", **NOISY), "none"),
    (Task(eigenvalues=[1.0, 0.5, 0.2], context_length=3), "context"),
]


@pytest.mark.parametrize(
    ("task", "divisor"),
    CASES,
    ids=lambda value: str(getattr(value, "context_length", value)),
)
def test_agrees_with_monte_carlo(task, divisor):
    model = Separate(heads=2, divisor=divisor)
    assert evidence(task, model).distance(population(task, model)) < 4


def wrong_moments(task, divisor):
    """Populations with one named mistake each."""
    n, τ = (
        task.context_length,
        float(np.trace(task.covariance @ task.teacher_covariance)),
    )
    s = n / attention_divisor(Merged(1, divisor=divisor), n)
    right = population(task, Merged(1, divisor=divisor))
    outer, noisy = Λ @ Ω @ Λ, (τ + task.noise_variance) * Λ / n
    return {
        "trace term dropped": replace(right, A=s * s * (1 + 1 / n) * outer),
        "one plus 1/N dropped": replace(right, A=s * s * (outer + noisy)),
        "N + 1 for N": replace(
            right, A=s * s * ((1 + 1 / (n + 1)) * outer + noisy * n / (n + 1))
        ),
        "noise left out of A": replace(
            right, A=right.A - s * s * task.noise_variance * Λ / n
        ),
        "noise left out of c": replace(right, c=right.c - task.noise_variance),
        "trace of Λ alone": replace(
            right, A=right.A + s * s * (np.trace(Λ) - τ) * Λ / n
        ),
        "divisor once in A": replace(right, A=right.A / s),
        "teachers taken as white": replace(right, B=s * Λ @ Λ),
        "order of Λ and Ω": replace(right, B=s * (Λ @ Λ @ Ω + Ω @ Λ @ Λ) / 2),
    }


def test_monte_carlo_rejects_wrong_moments():
    task = CASES[1][0]
    sample = evidence(task, Merged(1, divisor="tokens"))
    wrong = wrong_moments(task, "tokens")
    assert {
        name: sample.distance(moments) > 5 for name, moments in wrong.items()
    } == dict.fromkeys(wrong, True)


def test_monte_carlo_rejects_wrong_averages_over_lengths():
    task, model = CASES[4][0], Merged(1, divisor="tokens")
    sample, right = evidence(task, model), population(task, model)
    longest = population(Task(context_length=3, **NOISY), model)
    mean_length = population(Task(context_length=2, **NOISY), model)
    squared_mean = replace(
        right,
        A=population(task, Merged(1)).A * (right.B[0, 0] / (Λ @ Ω @ Λ)[0, 0]) ** 2,
    )
    assert sample.distance(right) < 4
    assert min(map(sample.distance, (longest, mean_length, squared_mean))) > 5


def differences(function, M, step=1e-4):
    """Central differences of a quadratic: exact but for rounding."""
    unit = np.eye(M.size).reshape(-1, *M.shape) * step
    return np.array(
        [(function(M + e) - function(M - e)) / (2 * step) for e in unit]
    ).reshape(M.shape)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10**6))
def test_gradient_is_that_of_the_loss(seed):
    moments = population(random_task(seed), Merged(1))
    M = np.random.default_rng(seed + 1).normal(size=(D, D))
    numeric, scale = differences(moments.loss, M), np.max(np.abs(moments.gradient(M)))
    assert np.allclose(moments.gradient(M), numeric, atol=1e-8 * scale, rtol=0)
    assert np.array_equal(moments.residual_correlation(M), -moments.gradient(M) / 2)
    transposed = -2 * (moments.B - moments.Lambda @ M @ moments.A)
    assert not np.allclose(transposed, numeric, atol=1e-5 * scale, rtol=0)


def test_loss_and_gradient_over_leading_axes():
    moments = population(random_task(1), Merged(1))
    maps = np.random.default_rng(2).normal(size=(4, 5, D, D))
    assert moments.loss(maps).shape == (4, 5)
    assert np.isclose(moments.loss(maps)[2, 3], moments.loss(maps[2, 3]), rtol=1e-13)
    assert np.allclose(
        moments.gradient(maps)[1, 4], moments.gradient(maps[1, 4]), rtol=1e-13
    )


@settings(max_examples=15, deadline=None)
@given(
    st.integers(0, 10**6), st.sampled_from(["context", "tokens", "none"]), st.booleans()
)
def test_minimum_has_no_gradient_and_the_loss_named(seed, divisor, aligned):
    ours = (
        Task(eigenvalues=[3, 2, 1], context_length="1..4")
        if aligned
        else random_task(seed)
    )
    moments = population(ours, Merged(1, divisor=divisor))
    everything = range(1, D + 1)
    assert moments.is_aligned == aligned
    assert np.max(
        np.abs(moments.residual_correlation(moments.minimum))
    ) < 1e-12 * np.max(np.abs(moments.B))
    assert np.allclose(
        moments.learned(everything), moments.minimum, rtol=1e-9, atol=1e-12
    )
    assert np.isclose(moments.loss(moments.minimum), moments.minimum_loss, rtol=1e-10)


def test_an_optimiser_finds_the_same_minimum():
    moments = population(random_task(3), Merged(1))
    start = np.zeros(D * D)
    flat = minimize(
        lambda m: moments.loss(m.reshape(D, D)),
        start,
        jac=lambda m: moments.gradient(m.reshape(D, D)).ravel(),
        tol=1e-10,
    )
    assert np.allclose(flat.x.reshape(D, D), moments.minimum, atol=1e-8)
    assert np.isclose(flat.fun, moments.minimum_loss, rtol=1e-12)
    uncoloured = np.linalg.inv(moments.A) @ moments.B
    assert not np.allclose(flat.x.reshape(D, D), uncoloured, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.booleans())
def test_rotating_the_problem_rotates_the_answer(seed, commuting):
    task, Q = random_task(seed), rotation(seed + 1, D)
    Λ, Ω = (
        (np.diag([2.0, 2.0, 1.0]), np.diag([1.0, 3.0, 2.0]))
        if commuting
        else (
            task.covariance,
            task.teacher_covariance,
        )
    )
    still = population(random_task(seed, covariance=Λ, teacher_covariance=Ω), Merged(1))
    turned = population(
        random_task(seed, covariance=Q @ Λ @ Q.T, teacher_covariance=Q @ Ω @ Q.T),
        Merged(1),
    )
    assert np.allclose(turned.gains, still.gains, rtol=1e-9)
    assert np.allclose(turned.minimum, Q @ still.minimum @ Q.T, atol=1e-9)
    assert np.allclose(
        turned.learned((1, 3)), Q @ still.learned((1, 3)) @ Q.T, atol=1e-8
    )
    assert turned.is_aligned == still.is_aligned == commuting


def rotated_spectra(dimension, seed):
    rng, Q = np.random.default_rng(seed), rotation(seed, dimension)
    white, degenerate = np.ones(dimension), rng.integers(1, 4, dimension).astype(float)
    spread = rng.uniform(0.5, 3, dimension)
    pairs = [
        (white, spread),
        (degenerate, spread),
        (degenerate, degenerate[::-1]),
        (degenerate, white),
        (white, white),
    ]
    return Q, [*pairs, (1 / spread, spread)]


@pytest.mark.parametrize(
    ("case", "dimension"), [*((case, 4) for case in range(6)), (1, 200), (2, 200)]
)
def test_directions_are_found_however_degenerate(case, dimension):
    Q, pairs = rotated_spectra(dimension, seed=case)
    λ, ω = pairs[case]
    written = (
        [1 / exact_fraction(each) for each in ω] if case == 5 else λ
    )  # where λω = 1, exactly
    plain = Task(eigenvalues=written, teacher_covariance=np.diag(ω), context_length=5)
    turned = Task(
        covariance=Q * λ @ Q.T, teacher_covariance=Q * ω @ Q.T, context_length=5
    )
    here, there = population(plain, Merged(1)), population(turned, Merged(1))
    assert there.is_aligned
    assert np.allclose(there.gains, here.gains, rtol=1e-11)
    assert (
        len(set(there.gains))
        == len(set(here.gains))
        == len(set(np.round(here.gains, 10)))
    )
    assert np.allclose(there.lam, here.lam, rtol=1e-10)
    assert np.allclose(there.coefficients, here.coefficients, rtol=1e-10)
    for matrix, values in (
        (there.Lambda, there.lam),
        (there.A, there.a),
        (there.B, there.b),
    ):
        assert np.allclose(
            matrix @ there.directions,
            there.directions * values,
            atol=1e-10 * values.max(),
        )


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6))
def test_gains_where_nothing_commutes(seed):
    """With x the eigenvalues of ΩΛ the gains are x² / ((1 + 1/N) x + (tr ΩΛ + σ²)/N), by congruence with Λ = 1."""
    task = random_task(seed)
    moments, n = population(task, Merged(1)), task.context_length
    x = np.sort(np.linalg.eigvals(task.teacher_covariance @ task.covariance).real)[::-1]
    shared = (np.sum(x) + task.noise_variance) / n
    assert np.allclose(moments.gains, x**2 / ((1 + 1 / n) * x + shared), rtol=1e-9)
    assert not np.allclose(moments.gains, x**2 / (x + shared), rtol=1e-3)
    ridge = (1 + 1 / n) * task.covariance + shared * np.linalg.inv(
        task.teacher_covariance
    )
    assert np.allclose(moments.minimum, np.linalg.inv(ridge), rtol=1e-8)


@pytest.mark.parametrize("decades", [2, 6, 10])
def test_small_eigenvalues_keep_their_digits(decades):
    λ, root = (
        np.logspace(0, -decades, 5),
        np.random.default_rng(decades).normal(size=(5, 5)),
    )
    task = Task(λ, teacher_covariance=root @ root.T + 0.5 * np.eye(5), context_length=4)
    moments, everything = population(task, Merged(1)), range(1, 6)
    x = np.linalg.eigvalsh(np.sqrt(λ)[:, None] * task.teacher_covariance * np.sqrt(λ))[
        ::-1
    ]
    assert not moments.is_aligned
    assert np.allclose(moments.gains, x**2 / (1.25 * x + np.sum(x) / 4), rtol=1e-9)
    assert np.allclose(
        moments.learned(everything), moments.minimum, rtol=1e-9, atol=1e-12 / λ[-1]
    )
    assert np.isclose(moments.loss(moments.minimum), moments.minimum_loss, rtol=1e-12)


def test_singular_vectors_where_nothing_commutes():
    moments = population(Task(context_length=2, **NOISY), Merged(1))
    for vectors in (moments.left, moments.right):
        assert np.allclose(vectors.T @ vectors, np.eye(D), atol=1e-12)
    A, Λ = (
        vectors * np.sqrt(values) @ vectors.T
        for values, vectors in map(np.linalg.eigh, (moments.A, moments.Lambda))
    )
    T = np.linalg.solve(A, moments.B) @ np.linalg.inv(Λ)
    assert np.allclose(
        moments.left * np.sqrt(moments.gains) @ moments.right.T, T, rtol=1e-10
    )
    for d in range(
        D
    ):  # A^{1/2} T Λ^{1/2} = B, one singular direction at a time: B r_d = A p_d, Bᵀ p_d = g_d Λ r_d
        p, r = (columns[:, d] for columns in moments.factors)
        assert np.allclose(moments.B @ r, moments.A @ p, rtol=1e-10)
        assert np.allclose(
            moments.B.T @ p, moments.gains[d] * moments.Lambda @ r, rtol=1e-10
        )
    for name in ("directions", "lam", "a", "b", "coefficients"):
        with pytest.raises(ValueError, match="do not commute"):
            getattr(moments, name)


def test_diagonal_problems_are_exact_and_ordered():
    task = Task(
        eigenvalues=[1, 4, 2, 4],
        teacher_covariance=np.diag([1.0, 1, 3, 1]),
        context_length=8,
    )
    moments = population(task, Merged(1))
    assert np.array_equal(moments.directions, np.eye(4)[:, [2, 1, 3, 0]])
    assert np.array_equal(moments.lam, [2, 4, 4, 1])
    assert moments.gains[0] > moments.gains[1] == moments.gains[2] > moments.gains[3]
    λ, ω = moments.lam, np.array([3, 1, 1, 1])
    a = λ**2 * ω * (1 + 1 / 8) + 15 * λ / 8
    assert np.allclose(moments.a, a, rtol=1e-15)
    assert np.allclose(moments.gains, (λ**2 * ω) ** 2 / (a * λ), rtol=1e-15)
    assert np.count_nonzero(moments.minimum) == 4


def test_equal_gains_keep_the_order_of_eigenvalues():
    λ = [0.1, 0.7, 0.3]
    Ω = [["10", 0, 0], [0, "10/7", 0], [0, 0, "10/3"]]
    moments = population(Task(λ, teacher_covariance=Ω, context_length=10), Merged(1))
    assert moments.lam.tolist() == [0.7, 0.3, 0.1]
    assert len(set(moments.gains)) == 1


@pytest.mark.parametrize("trace", [None, 0.7, "1/3"])
@pytest.mark.parametrize("model", [Merged(2), Separate(2, divisor="tokens")])
def test_gains_tie_where_the_numbers_do_as_they_are_written(model, trace):
    def distinct(λ, ω):
        task = Task(
            λ,
            teacher_covariance=np.diag(np.array(ω, dtype=object)),
            context_length=9,
            trace=trace,
        )
        numeric = len(set(population(task, model).gains))
        symbolic = exact_fixed_points(rational_task(task), Separate(len(λ)))
        assert numeric == len(set(symbolic[0].gains))
        return numeric

    assert (
        distinct([0.1 + 0.2, 0.3], [1, 1]) == 2
    )  # 0.30000000000000004 is another number
    assert distinct([0.3, "3/10", 0.1], [1, 1, 3]) == 1
    assert distinct([0.1, 0.2, 0.3], [6, 3, 2]) == 1
    assert distinct([0.1, 0.7, 0.3], ["10", "10/7", "10/3"]) == 1
    assert (
        distinct([0.1, 0.7, 0.3], [10, 1 / 0.7, 1 / 0.3]) == 3
    )  # 1/0.7 as Python prints it
    assert distinct(["1/3", "1/3", "1/6"], [1, 1, 2]) == 1
    assert distinct([1.1, 1.1000000000000001, "1.1"], [1, 1, 1]) == 1
    assert distinct([1e-17, 2e-17, 1e-17], [2, 1, 1]) == 2


def test_a_difference_below_a_double_keeps_the_order():
    moments = population(Task([0.3, 0.1 + 0.2, 0.7], context_length=9), Merged(1))
    assert moments.lam.tolist() == [0.7, 0.1 + 0.2, 0.3]
    assert np.all(np.diff(moments.gains) < 0)
    assert moments.gains[1] == pytest.approx(moments.gains[2], rel=1e-14)


def test_orders_by_gain_and_not_by_eigenvalue():
    task = Task(
        eigenvalues=[3, 2, 1], teacher_covariance=np.diag([0.1, 1, 9]), context_length=4
    )
    moments = population(task, Merged(1))
    assert moments.lam.tolist() == [1, 2, 3]
    assert np.all(np.diff(moments.gains) < 0)


def test_gains_and_losses_do_not_depend_on_the_divisor():
    task = random_task(4)
    one, other = (
        population(task, Merged(1, divisor=name)) for name in ("context", "none")
    )
    assert np.allclose(one.gains, other.gains, rtol=1e-11)
    assert np.allclose(one.minimum, 3 * other.minimum, rtol=1e-11)
    assert not np.allclose(one.minimum, other.minimum, rtol=0.1)


def measured_order(sizes, errors):
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


def test_long_contexts_approach_regression_at_first_order():
    lengths = 10 ** np.arange(3, 7)
    λ = np.array([4.0, 3.0, 2.0, 1.0])
    many = [
        population(Task(λ, context_length=int(n), noise_variance=0.3), Merged(1))
        for n in lengths
    ]
    assert measured_order(
        lengths, [abs(m.minimum_loss - 0.3) for m in many]
    ) == pytest.approx(-1, abs=0.01)
    assert measured_order(
        lengths, [np.max(np.abs(m.coefficients - 1 / λ)) for m in many]
    ) == pytest.approx(-1, abs=0.01)
    wrong = measured_order(
        lengths, [np.max(np.abs(m.coefficients - 1 / λ**2)) for m in many]
    )
    assert abs(wrong) < 0.01


def test_published_coefficients_and_losses():
    moments = population(Task([4, 3, 2, 1], trace=1.0, context_length=31), Merged(8))
    assert np.allclose(
        moments.greedy_losses,
        [1, 0.64057971, 0.37737216, 0.20980460, 0.13599507],
        atol=5e-9,
    )
    λ = moments.lam
    assert np.allclose(np.diag(moments.minimum), 1 / (λ + (λ + 1) / 31), rtol=1e-14)


@pytest.mark.parametrize("seed", range(4))
def test_greedy_losses_are_those_of_the_largest_gains(seed):
    moments = population(random_task(seed), Merged(1))
    subsets = [range(1, m + 1) for m in range(D + 1)]
    right = [moments.loss(moments.learned(subset)) for subset in subsets]
    wrong = [
        moments.loss(moments.learned(D + 1 - d for d in subset)) for subset in subsets
    ]  # smallest gains first
    assert np.allclose(moments.greedy_losses, right, rtol=1e-12)
    assert not np.allclose(moments.greedy_losses, wrong, rtol=1e-3)
    assert (moments.greedy_losses[0], moments.greedy_losses[-1]) == (
        moments.c,
        moments.minimum_loss,
    )


@pytest.mark.parametrize("subset", [(0,), (1, 1), (4,), (1.5,), ("a",), (True,)])
def test_refuses_directions_that_do_not_exist(subset):
    with pytest.raises(ValueError, match=f"distinct directions from 1 to {D}"):
        population(random_task(0), Merged(1)).learned(subset)


def test_refuses_what_has_no_population_loss():
    mixture = Task(
        [2, 1], context_length=3, fixed_teacher=[1, 1], in_context_fraction=0.5
    )
    with pytest.raises(
        ValueError, match=re.escape("use feature_moments, or simulate on statistics")
    ):
        population(mixture, Merged(1))
    with pytest.raises(ValueError, match="softmax"):
        population(random_task(0), Merged(1, softmax=True))
    unused = Task([2, 1], context_length=3, fixed_teacher=[1, 1], in_context_fraction=1)
    assert isinstance(population(unused, Merged(1)), Population)


def test_moments_that_lose_digits_are_refused():
    with pytest.raises(ValueError, match="the moments of this task underflow"):
        population(Task([2e-160, 1e-160], context_length=3), Merged(1))
    tiny, one = (
        population(Task([2 * unit, unit], context_length=3), Merged(1)).gains
        for unit in (1e-140, 1.0)
    )
    np.testing.assert_allclose(tiny / 1e-140, one, rtol=1e-14)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_outputs_whose_signal_nearly_cancels_have_their_least_loss(scale):
    # x varies along (0.8, -0.6) only, and output 0 hardly along it.
    direction = np.array([0.8, -0.6])
    weak = np.array([0.6, 0.8]) + 1e-3 * direction
    W = scale * np.array([weak, 0.4 * direction, 0.01 * direction])  # (K, D)
    task = Task(
        covariance=np.outer(direction, direction),
        teachers=Gaussian(np.multiply.outer(W, W)),
        context_length=2,
    )
    loss = population(task, Merged(heads=1, outputs=3))
    # The labels are multiples of one, z · x with z normal: b²/(aλ) = 1/(1 + 2/N) of it is learned.
    signal = np.sum((W @ direction) ** 2)
    np.testing.assert_allclose(loss.c, signal, rtol=1e-9)
    np.testing.assert_allclose(loss.minimum_loss / signal, 1 - 1 / 2, rtol=1e-6)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_the_least_loss_is_never_negative(outputs):
    for seed in range(60):
        rng = np.random.default_rng(seed)
        task = Task(
            covariance=np.diag(rng.uniform(0.1, 2, 2)),
            inputs="rademacher",
            teachers=Pool(rng.normal(size=(1, outputs, 2))),
            context_length=int(rng.integers(1, 9)),
        )
        model = Merged(heads=1, outputs=outputs)
        loss = population(task, model)
        assert 0 <= loss.minimum_loss <= loss.c
        assert 0 <= feature_moments(task, model).minimum_loss <= loss.c
        if outputs == 1:
            assert np.all(loss.greedy_losses >= loss.minimum_loss)


def test_a_negative_loss_beyond_rounding_is_no_loss():
    loss = population(Task([2, 1], context_length=5), Merged(heads=1))
    contradictory = replace(loss, c=0.5 * loss.c)
    with pytest.raises(ArithmeticError, match="below 0 by more than rounding"):
        _ = contradictory.minimum_loss


@pytest.mark.parametrize("scale", [1e150, 1e200])
@pytest.mark.parametrize(
    "law",
    [
        lambda scale: Sphere(2, radius=scale),
        lambda scale: Pool(scale * np.ones((1, 2, 2))),
        lambda scale: Gaussian(scale * np.eye(2)),
    ],
    ids=["sphere", "pool of outputs", "gaussian"],
)
def test_what_overflows_is_refused_by_name(law, scale):
    teachers = law(scale)
    task = Task([scale] * 2, teachers=teachers, inputs="uniform", context_length=3)
    for moments in (population, feature_moments):
        with pytest.raises(ValueError, match="the moments of this task overflow"):
            moments(task, Merged(heads=1, outputs=teachers.outputs))


def test_products_of_small_variances_keep_their_gain():
    small = population(
        Task([1e-200], teacher_covariance=[[1e200]], context_length=3), Merged(1)
    )
    plain = population(Task([1], context_length=3), Merged(1))
    np.testing.assert_allclose(small.gains, plain.gains, rtol=1e-14)
