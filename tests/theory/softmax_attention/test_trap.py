"""The trap of heads of one sign against the measurements of another integration, and its Jacobian."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from attndyn.theory.softmax_attention import (
    approximate_loss,
    exact_loss,
    is_trapped,
    reduced_flow,
    trap_loss,
    trap_minimum,
    trap_probability,
)
from attndyn.theory.softmax_attention.exact_tables import exact_table
from tests.oracles.white_tasks import white


def test_the_trap_is_a_connected_set_of_minima():
    task = white()
    half = trap_minimum(task, [1, 1], metric="euclidean")
    assert_allclose(half.eigenvalues, [-3.189, -0.495, -0.171, 0], atol=6e-4)
    for shares in ([1, 3], [0.9, 0.1], [1, 2, 3], [1, 1, 1, 1]):
        point = trap_minimum(task, shares)
        found = approximate_loss(task, point.omega, point.mu, gradient=True)
        assert_allclose(np.concatenate(found.gradient), 0, atol=1e-13)
        assert_allclose([float(found), point.loss], 0.372073, atol=5e-7)
        heads = len(shares)
        assert_allclose(point.eigenvalues[-(heads - 1) :], 0, atol=1e-12)
        assert np.all(point.eigenvalues[: -(heads - 1)] < -1e-3)


def test_the_trap_on_the_exact_loss():
    """Second derivatives 0, .147, .207, 3.24 for two heads at ω = .5179, and any share of Σμ = 1.4971."""
    task = white()
    table = exact_table(task, 0.55)
    ω, μ = np.full(2, 0.51790), np.full(2, 1.4971 / 2)
    eigenvalues = np.linalg.eigvalsh(table.hessian(ω, μ))
    assert_allclose(eigenvalues, [0, 0.147, 0.207, 3.24], atol=5e-3)
    losses = [
        float(exact_loss(task, ω, 1.4971 * np.array([share, 1 - share])))
        for share in (0.5, 0.2)
    ]
    assert_allclose(losses, 0.403963, atol=1e-6)


def test_a_flow_from_one_sign_ends_in_the_trap_and_from_both_does_not():
    task = white()
    trapped = reduced_flow(task, [0.1, 0.05], [0.1, 0.1], [1e3], loss="approximate")
    assert abs(trapped.loss[0] - trap_loss(task)) < 1e-9
    assert is_trapped(task, trapped.loss[0])
    free = reduced_flow(task, [0.1, -0.05], [0.1, -0.1], [1e3], loss="approximate")
    assert not is_trapped(task, free.loss[0])


MEASURED = [
    # N, ρ, heads, α, share of trapped starts and its standard error
    (40, "euclidean", 2, 0.1, 0.430, 0.013),
    (40, "euclidean", 2, 1e-4, 0.378, 0.013),
    (40, "euclidean", 2, 1e-8, 0.308, 0.015),
    (40, "euclidean", 3, 0.01, 0.112, 0.008),
    (40, "euclidean", 4, 0.01, 0.022, 0.004),
    (40, "matrix", 2, 0.3, 0.300, 0.012),
    (40, "matrix", 2, 0.01, 0.245, 0.011),
    (40, "matrix", 2, 1e-4, 0.200, 0.013),
    (40, "matrix", 3, 0.01, 0.024, 0.005),
    (400, "matrix", 2, 0.01, 0.438, 0.016),
]


@pytest.mark.parametrize(
    ("length", "metric", "heads", "size", "share", "error"), MEASURED
)
def test_trapped_shares_are_those_of_another_integration(
    length, metric, heads, size, share, error
):
    task = white(length=length)
    found = trap_probability(task, heads, size, metric=metric, seed=1)
    assert found.starts == 1500
    assert abs(found.probability - share) < 3 * np.hypot(error, found.error)
    assert found.agreement > 0.82
    half = 2.0 ** (1 - heads)
    assert abs(found.one_sign - half) < 4 * np.sqrt(half / 1500)


def test_the_share_is_below_that_of_starts_of_one_sign():
    """By κ ln(1/α)/√ρ, so less so for long contexts; at α = 1e-4, ρ = 1/D it is far below ½."""
    found = [trap_probability(white(length=N), 2, 1e-4, seed=2) for N in (40, 4000)]
    shares = [each.probability for each in found]
    assert shares[0] < 0.5 - 10 * found[0].error
    assert shares[0] < shares[1]
    assert abs(shares[1] - found[1].one_sign) < 0.03


def test_outcomes_are_those_of_the_stiff_integrator():
    """Each start of a small draw followed alone."""
    task, ρ = white(), 0.2
    found = trap_probability(task, 2, 0.1, starts=8, seed=5)
    normal = np.random.default_rng(5).standard_normal((2, 8, 2))
    alone = [
        is_trapped(
            task,
            reduced_flow(
                task, 0.1 * np.sqrt(ρ) * ω, 0.1 * μ, [2e3], loss="approximate"
            ).loss[0],
        )
        for ω, μ in zip(*normal, strict=True)
    ]
    assert 0 < np.mean(alone) < 1
    assert found.probability == np.mean(alone)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: trap_probability(white(), 1, 0.1), "heads must be"),
        (lambda: trap_probability(white(), 2, 0.0), "size must be"),
        (lambda: trap_probability(white(), 2, 0.1, starts=1), "starts must be"),
        (lambda: trap_minimum(white(), [1, -1]), "shares must be positive"),
    ],
)
def test_what_has_no_trap_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
