"""The ridge solution against dense least squares, on regular, degenerate and hostile data."""

from dataclasses import replace

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.simulate import (
    ContextSummaries,
    context_summaries,
    ridge_fit,
    sample,
    sample_summaries,
    statistics,
)
from attndyn.simulate.ridge import white_equations
from attndyn.simulate.ridge.readouts import ReadoutData
from attndyn.teachers import Gaussian, Pool, Sphere


def drawn(P, D=4, seed=1, eigenvalues=None, **settings):
    """P summaries of D dimensions and five tokens."""
    settings = {"noise_variance": 0.1, "context_length": 5} | settings
    task = Task([1] * D if eigenvalues is None else eigenvalues, **settings)
    return sample_summaries(task, P, seed=seed)


def with_repetitions(P=60, different=6):
    """More sequences than features, of which few differ, with labels that no map gives."""
    few = drawn(different)
    times = P // different
    return ContextSummaries(
        beta=np.repeat(few.beta, times, axis=0),
        mean_squares=np.repeat(few.mean_squares, times),
        query=np.repeat(few.query, times, axis=0),
        labels=np.random.default_rng(0).normal(size=P),
        context_length=5,
    )


def dense_solution(data, ridge, row, weight=1.0):
    """M of least norm from the singular values of the features, in plain NumPy."""
    h = data.beta
    if row:
        h = np.column_stack([h, data.mean_squares / np.sqrt(weight)])
    P = len(h)
    F = (h[:, :, None] * data.query[:, None, :]).reshape(P, -1)
    U, s, Vt = np.linalg.svd(F, full_matrices=False)
    present = s > max(F.shape) * np.finfo(float).eps * s[0]
    filtered = np.zeros_like(s)
    filtered[present] = s[present] / (s[present] ** 2 + P * ridge)
    M = (Vt.T @ (filtered * (U.T @ data.labels))).reshape(h.shape[1], -1)
    if row:
        M[-1] /= np.sqrt(weight)
    return M


def without_features(data, index):
    """The same summaries, one context of which says nothing."""
    β, s = data.beta.copy(), data.mean_squares.copy()
    β[index], s[index] = 0, 0
    return replace(data, beta=β, mean_squares=s)


CASES = {
    "regular": drawn(60),
    "fewer sequences than features": drawn(10),
    "as many": drawn(16),
    "as many, with the row": drawn(20),
    "one more": drawn(17),
    "one": drawn(1),
    "one dimension": drawn(5, D=1),
    "repetitions": with_repetitions(),
    "singular covariance": drawn(60, eigenvalues=[1, 1, 0, 0.5]),
    "singular covariance, few": drawn(10, eigenvalues=[1, 1, 0, 0.5]),
    "one task without noise": drawn(
        60, teachers=Pool([[1, 0, 0, 0]]), noise_variance=0
    ),
    "variances from 1 to 1e-8": drawn(60, eigenvalues=[1, 1e-4, 1e-8, 1e-3]),
    "a context that is 0": without_features(drawn(12), 3),
    "no labels": replace(drawn(30), labels=np.zeros(30)),
    "tokens of an even law": context_summaries(
        sample(Task([1, 2], context_length=3, inputs="uniform"), 30)
    ),
}


@pytest.mark.parametrize("ridge", [0.0, 1e-30, 1e-12, 0.02, 1e6])
@pytest.mark.parametrize("row", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_it_is_the_solution_of_dense_least_squares(name, row, ridge):
    data, weight = CASES[name], 7.0 if row else 1.0
    M = ridge_fit(data, ridge=ridge, label_row=row, label_weight=weight)
    expected = dense_solution(data, ridge, row, weight)
    assert M.shape == expected.shape
    scale = np.max(np.abs(expected))
    np.testing.assert_allclose(M, expected, rtol=0, atol=1e-11 * scale)


def test_data_without_features_have_the_solution_zero():
    silent = replace(drawn(20), beta=np.zeros((20, 4)), mean_squares=np.zeros(20))
    for ridge in (0.0, 0.5):
        assert not np.any(ridge_fit(silent, ridge=ridge, label_row=True))


WAYS = ("_by_iteration", "_by_single_factor", "_by_double_factor")


def without(monkeypatch, *names):
    """Take ways to solve normal equations away; the list holds the names of those that were asked."""
    asked = []

    def replaced(name):
        def no_way(equations):
            asked.append(name)

        return no_way

    for name in names:
        monkeypatch.setattr(white_equations, name, replaced(name))
    return asked


@pytest.mark.parametrize("ridge", [0.0, 0.01])
@pytest.mark.parametrize("row", [False, True])
@pytest.mark.parametrize("number", range(4))
def test_all_ways_lead_to_the_same_map(monkeypatch, number, row, ridge):
    data = drawn(120)
    expected = dense_solution(data, ridge, row)
    asked = without(monkeypatch, *WAYS[:number])
    used = []
    if number < 3:
        way = getattr(white_equations, WAYS[number])
        monkeypatch.setattr(
            white_equations,
            WAYS[number],
            lambda equations: used.append(way(equations)) or used[-1],
        )
    M = ridge_fit(data, ridge=ridge, label_row=row)
    np.testing.assert_allclose(M, expected, rtol=0, atol=1e-12)
    # The one way that is left was the one that was taken, but with none: singular values.
    if number < 3:
        assert any(solve is not None for solve in used)
    assert set(asked) >= set(WAYS[:number]) - {"_by_single_factor"} or number == 3


def test_ways_are_not_asked_in_vain(monkeypatch):
    asked = without(monkeypatch, *WAYS)
    ridge_fit(drawn(12))
    assert asked == []  # the kernel needs none of them
    ridge_fit(drawn(60))
    assert asked == list(WAYS)


@pytest.mark.parametrize("P", [240, 239])
def test_many_sequences_that_repeat_few_have_the_least_norm(P):
    # Conjugate gradients alone would find a solution, and not that of least norm.
    data = first_of(with_repetitions(240), P)
    white = white_equations.WhiteEquations.of(
        ReadoutData(data.beta, data.query, data.labels),
        white_equations.principal_axes(data.beta),
        white_equations.principal_axes(data.query),
        0.0,
    )
    assert white.solution() is None
    expected = dense_solution(data, 0.0, False)
    np.testing.assert_allclose(ridge_fit(data), expected, atol=1e-12)


@pytest.mark.parametrize(("factor", "converges"), [(1.3, True), (2.5, False)])
def test_an_approximate_way_is_refined_or_left(monkeypatch, factor, converges):
    data = drawn(60)
    regular = white_equations._by_double_factor
    solutions = []

    def scaled(equations):
        solve = regular(equations)
        solutions.append(equations)
        return lambda right: factor * solve(right)

    without(monkeypatch, "_by_iteration", "_by_double_factor")
    monkeypatch.setattr(white_equations, "_by_single_factor", scaled)
    M = ridge_fit(data)
    assert len(solutions) == 1
    # Steps that grow lead to singular values instead.
    np.testing.assert_allclose(M, dense_solution(data, 0.0, False), rtol=1e-11)
    assert (solutions[0].solution() is not None) == converges


def test_it_is_the_least_loss_of_statistics():
    task = Task([1.5, 1, 0.5], context_length=4, noise_variance=0.2)
    data = sample(task, 200, seed=3)
    stats = statistics(data, Merged(heads=1), block="restricted")
    for ridge in (0.0, 0.3):
        matrix = stats.S + ridge * np.eye(9)
        expected = np.linalg.solve(matrix, stats.b).reshape(3, 3)
        np.testing.assert_allclose(ridge_fit(data, ridge=ridge), expected, rtol=1e-10)


def published_solution(data, tasks, λ):
    """Γ (d, d+1) that minimises Σ (y − ŷ)² + (nλ/d) ‖Γ‖² with h = ((d/l) Σ y x, (1/l) Σ y²), as published."""
    d, n = data.dimension, data.sequences
    h = np.column_stack([d * data.beta, data.mean_squares])
    H = np.einsum("pi,pj->pij", data.query, h).reshape(n, -1)
    matrix = H.T @ H + n * λ / d * np.eye(d * (d + 1))
    return np.linalg.solve(matrix, H.T @ data.labels).reshape(d, d + 1)


def test_units_of_the_paper():
    d, λ = 5, 0.1
    pool = Sphere(d).pool(3, seed=2)
    task = Task([1 / d] * d, teachers=pool, context_length=10, noise_variance=0.1)
    data = sample_summaries(task, 60, balanced=True)
    Γ = published_solution(data, 3, λ)
    M = ridge_fit(data, ridge=λ / d**3, label_row=True, label_weight=d**2)
    np.testing.assert_allclose(M[:-1], d * Γ[:, :-1].T, rtol=1e-10)
    np.testing.assert_allclose(M[-1], Γ[:, -1], rtol=1e-10)
    # Controls: another power of d, and a label row that weighs as much as the others.
    for ridge, weight in ((λ / d, d**2), (λ / d**3, 1.0)):
        wrong = ridge_fit(data, ridge=ridge, label_row=True, label_weight=weight)
        assert np.max(np.abs(wrong[:-1] - d * Γ[:, :-1].T)) > 0.01


@pytest.mark.parametrize("unit", [1e-150, 1e-60, 1e60, 1e150])
@pytest.mark.parametrize("P", [10, 60])
def test_units_of_the_data_do_not_matter(P, unit):
    data = drawn(P)
    scaled = replace(data, beta=unit * data.beta, labels=data.labels / unit)
    expected = ridge_fit(data)
    np.testing.assert_allclose(unit**2 * ridge_fit(scaled), expected, rtol=1e-9)
    if abs(np.log10(unit)) < 100:
        ridge = 0.01 * unit**2
        expected = ridge_fit(data, ridge=0.01)
        fitted = ridge_fit(scaled, ridge=ridge)
        np.testing.assert_allclose(unit**2 * fitted, expected, rtol=1e-9)


def test_prompts_and_their_summaries_have_the_same_solution():
    data = sample(Task([1, 2], context_length=3, noise_variance=0.1), 30)
    np.testing.assert_array_equal(ridge_fit(data), ridge_fit(context_summaries(data)))


def test_many_blocks_of_sequences_are_summed():
    data = drawn(20_000, D=10)
    M = ridge_fit(data, ridge=0.1)
    S = np.zeros((100, 100))
    b = np.zeros(100)
    for first in range(0, 20_000, 5000):
        piece = slice(first, first + 5000)
        F = (data.beta[piece, :, None] * data.query[piece, None, :]).reshape(-1, 100)
        S += F.T @ F
        b += F.T @ data.labels[piece]
    expected = np.linalg.solve(S / 20_000 + 0.1 * np.eye(100), b / 20_000)
    np.testing.assert_allclose(M, expected.reshape(10, 10), rtol=1e-9, atol=1e-12)


def spoilt(name, value):
    """Summaries with one number that is none."""
    data = drawn(20)
    array = getattr(data, name).copy()
    array.flat[3] = value
    return replace(data, **{name: array})


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: ridge_fit(drawn(9), ridge=-1),
            ValueError,
            "ridge must be zero or more",
        ),
        (lambda: ridge_fit(drawn(9), ridge=np.nan), ValueError, "ridge must be zero"),
        (lambda: ridge_fit(drawn(9), ridge="1"), ValueError, "ridge must be zero"),
        (
            lambda: ridge_fit(drawn(9), label_row=1),
            ValueError,
            "label_row must be True",
        ),
        (
            lambda: ridge_fit(drawn(9), label_weight=2),
            ValueError,
            "pass label_row=True",
        ),
        (
            lambda: ridge_fit(drawn(9), label_row=True, label_weight=0),
            ValueError,
            "label_weight must be positive",
        ),
        (lambda: ridge_fit(spoilt("beta", np.nan)), ValueError, "must be finite"),
        (lambda: ridge_fit(spoilt("labels", np.inf)), ValueError, "must be finite"),
        (lambda: ridge_fit(spoilt("query", np.nan)), ValueError, "must be finite"),
        (
            lambda: ridge_fit(spoilt("mean_squares", np.nan), label_row=True),
            ValueError,
            "must be finite",
        ),
        (lambda: ridge_fit(first_of(drawn(9), 0)), ValueError, "at least one sequence"),
        (
            lambda: ridge_fit(Task([1], context_length=2)),
            TypeError,
            r"call ridge_fit\(data\): got Task",
        ),
        (lambda: ridge_fit(np.ones((3, 2))), TypeError, "got ndarray"),
        (
            lambda: ridge_fit(sample(Task([1], context_length="1..3"), 5)),
            ValueError,
            "one context length, and there are 3",
        ),
        (
            lambda: ridge_fit(
                sample(
                    Task(
                        [1, 1], context_length=3, teachers=Gaussian.shared_basis([1, 1])
                    ),
                    5,
                )
            ),
            ValueError,
            "one label of x, and there are 2",
        ),
        (
            lambda: ridge_fit(drawn(9), ridge=1e308),
            OverflowError,
            "give x and y in other",
        ),
        (
            lambda: ridge_fit(
                replace(
                    drawn(9),
                    query=1e-200 * drawn(9).query,
                    labels=1e200 * drawn(9).labels,
                )
            ),
            OverflowError,
            "too large for doubles",
        ),
    ],
)
def test_what_has_no_solution_is_refused(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_what_does_not_fit_is_refused(monkeypatch):
    many, few = drawn(60), first_of(drawn(60), 12)
    monkeypatch.setattr("attndyn.runtime.machine.available_memory", lambda: 1e3)
    with pytest.raises(MemoryError, match="normal equations of 16 features"):
        ridge_fit(many)
    with pytest.raises(MemoryError, match="kernel of 12 sequences"):
        ridge_fit(few)
    monkeypatch.setattr("attndyn.runtime.machine.available_memory", lambda: 1e4)
    with pytest.raises(MemoryError, match="singular values of 60 sequences"):
        ridge_fit(with_repetitions())


def first_of(data, P):
    """The first P of some summaries."""
    return replace(
        data,
        beta=data.beta[:P],
        mean_squares=data.mean_squares[:P],
        query=data.query[:P],
        labels=data.labels[:P],
    )
