"""The quadrature against closed integrals, sampling, differences and the numbers of another implementation."""

import re

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.integrate import quad
from scipy.special import expit

from attndyn import Task
from attndyn.inputs import Inputs
from attndyn.teachers import Pool
from attndyn.theory.softmax_attention import exact_loss
from attndyn.theory.softmax_attention.query_rules import (
    chi_square_rule,
    deviation_densities,
    gauss_rule,
)
from attndyn.theory.softmax_attention.softmax_moments import (
    score_moments,
    score_moments_and_derivatives,
)
from tests.oracles.white_tasks import white


def exponential_covariance(dimension=5, decay=0.7):
    distance = np.abs(np.subtract.outer(np.arange(dimension), np.arange(dimension)))
    return decay**distance


# ---- numbers of another implementation ----

REFERENCE = [
    (5, 40, [0.3, -0.2], [1.2, -1.5], 0.306263735852),
    (5, 40, [0.5177], [1.5523], 0.404893039297),
    (5, 40, [0.13, -0.13], [3.45, -3.45], 0.243243638479),
    (10, 20, [0.4, 0.1, -0.3], [1, 0.5, -1], 0.525770677794),
]


@pytest.mark.parametrize(("dimension", "length", "omega", "mu", "expected"), REFERENCE)
def test_losses_are_those_of_another_quadrature(dimension, length, omega, mu, expected):
    loss = exact_loss(white(dimension, length), omega, mu)
    # The other quadrature gave 12 digits, with an error of a few 1e-12.
    assert abs(float(loss) - expected) < 1e-11
    assert float(loss.error) < 1e-9 * expected


def test_losses_with_the_query_token_are_those_of_another_quadrature():
    task = white(5, 40)
    first = exact_loss(task, [0.3, -0.2], [1.2, -1.5], query_token=True)
    # Its error was 4e-9 at that number of nodes.
    assert abs(float(first) - 0.344326764) < 5e-9
    second = exact_loss(task, [0.13, -0.13], [3.45, -3.45], query_token=True)
    # It printed .2440530, which is 1.2e-7 off: more nodes, other rules and other grids all give .24405288.
    assert abs(float(second) - 0.2440530) < 1.5e-7


def test_gradients_are_those_of_another_quadrature():
    task = white(5, 40)
    without = exact_loss(task, [0.3, -0.2], [1.2, -1.5], gradient=True).gradient
    assert_allclose(without.omega, [-0.51612636, 0.75424039], atol=6e-9)
    assert_allclose(without.mu, [-0.15967193, 0.08559167], atol=6e-9)
    with_query = exact_loss(
        task, [0.3, -0.2], [1.2, -1.5], gradient=True, query_token=True
    ).gradient
    assert_allclose(with_query.omega, [-0.34668459, 0.92602573], atol=4e-8)
    assert_allclose(with_query.mu, [-0.16719603, 0.10359555], atol=6e-9)


@pytest.mark.parametrize(
    ("what", "wrong"),
    [
        ("the inputs' radius fixed to its mean", 0.3033733),
        ("the query's token among the keys", 0.3443268),
        ("one key more", 0.3041943),
        ("no noise in the query's label", 0.2062637),
    ],
)
def test_wrong_variants_are_told_apart(what, wrong):
    assert abs(float(exact_loss(white(5, 40), [0.3, -0.2], [1.2, -1.5])) - wrong) > 2e-3


# ---- moments against closed integrals ----


def test_one_token_has_weight_one():
    moments = score_moments(np.array([0.7, -1.3, 0.0]), 1)
    assert_allclose(moments.first, 0, atol=1e-12)
    assert_allclose(moments.overlap, 1, atol=1e-12)
    assert_allclose(moments.second, 1, atol=1e-12)


@pytest.mark.parametrize(
    ("first", "second"), [(0.3, -0.5), (1.1, 1.1), (2.5, -0.2), (6.0, 3.0)]
)
def test_two_tokens_are_one_integral(first, second):
    """N = 2: Σ_n s_n u_n = ū + (v/2) tanh(b v/2), with v = u_1 − u_2 ~ N(0, 2)."""
    moments = score_moments(np.array([first, second]), 2)
    g = average_of_difference(lambda v: v / 2 * np.tanh(first * v / 2))
    assert abs(moments.first[0] - g) < 2e-12
    for other, column in ((first, 0), (second, 1)):
        overlap, second_moment = two_token_products(first, other)
        assert abs(moments.overlap[0, column] - overlap) < 3e-12
        assert abs(moments.second[0, column] - second_moment) < 3e-11


def two_token_products(b, other):
    """C and S of two tokens, for heads with scores of these deviations."""

    def tanhs(v):
        return np.tanh(b * v / 2) * np.tanh(other * v / 2)

    overlap = average_of_difference(lambda v: (1 + tanhs(v)) / 2)
    second_moment = 0.5 + average_of_difference(lambda v: v**2 / 4 * tanhs(v))
    return overlap, second_moment


def average_of_difference(function):
    """The mean of a function of v ~ N(0, 2), by an adaptive quadrature."""

    def integrand(v):
        return function(v) * np.exp(-(v**2) / 4) / np.sqrt(4 * np.pi)

    return quad(integrand, -25, 25, epsabs=1e-13, limit=400)[0]


@pytest.mark.parametrize(
    ("b", "q"), [(0.5, 1.0), (2.0, 25.0), (4.0, 12.0), (5.0, -9.0), (-4.0, 40.0)]
)
def test_one_token_beside_the_query_is_one_integral(b, q):
    """N = 1: s = 1/(1 + e^{q − b u}), whichever of the two tokens is the larger one."""
    moments, derivatives = score_moments_and_derivatives(
        np.array([b]), 1, query_scores=np.array([q])
    )

    def weight(u):
        return expit(b * u - q)

    for name, function in (
        ("first", lambda u: u * weight(u)),
        ("overlap", lambda u: weight(u) ** 2),
        ("second", lambda u: (u * weight(u)) ** 2),
    ):
        expected = average_of_normal(function)
        assert_allclose(getattr(moments, name).item(), expected, rtol=1e-9, atol=2e-12)
    # ds/dq = −s(1 − s) and ds/db = u s(1 − s)
    by_b = average_of_normal(lambda u: u**2 * weight(u) * (1 - weight(u)))
    by_q = average_of_normal(lambda u: -u * weight(u) * (1 - weight(u)))
    assert_allclose(derivatives.by_deviation.first.item(), by_b, rtol=1e-8, atol=1e-11)
    assert_allclose(
        derivatives.by_query_score.first.item(), by_q, rtol=1e-8, atol=1e-11
    )


def average_of_normal(function):
    """The mean of a function of u ~ N(0, 1), by an adaptive quadrature."""

    def integrand(u):
        return function(u) * np.exp(-(u**2) / 2) / np.sqrt(2 * np.pi)

    return quad(integrand, -20, 20, epsabs=1e-14, limit=400, points=[-5, 0, 5])[0]


def test_equal_weights_where_scores_vanish():
    """ω → 0: C = S = 1/N, and 1/(N+1)² N with a query's token of the same score."""
    moments = score_moments(np.zeros(2), 7)
    assert_allclose(moments.overlap, 1 / 7, atol=1e-13)
    assert_allclose(moments.second, 1 / 7, atol=1e-13)
    with_query = score_moments(np.zeros(2), 7, query_scores=np.zeros(2))
    assert_allclose(with_query.overlap, 7 / 64, atol=1e-13)


def test_stein_identity():
    """Σ_n E[s_n u_n] = b (1 − E|s|²), by integration by parts."""
    for b in (0.2, 1.0, 3.5, 8.0):
        for N in (2, 10, 1000):
            moments = score_moments(np.array([b]), N)
            assert abs(moments.first[0] - b * (1 - moments.overlap[0, 0])) < 1e-10 * b


@pytest.mark.parametrize("query_score", [None, 1.3])
@pytest.mark.parametrize("length", [1, 2, 3, 40])
def test_derivatives_are_those_of_differences(length, query_score):
    b = np.array([0.7, -0.4])
    q = None if query_score is None else query_score * b
    _, derivatives = score_moments_and_derivatives(b, length, q)

    def at(change_b, change_q):
        changed_q = None if q is None else q + np.array([change_q, 0])
        return score_moments(b + np.array([change_b, 0]), length, changed_q)

    # Both heads of the diagonal entry change.
    both = np.array([2.0, 1.0])
    step = 1e-4

    def check(derivative, steps):
        more, less = at(*steps), at(*(-s for s in steps))
        more2, less2 = at(*(2 * s for s in steps)), at(*(-2 * s for s in steps))
        for name, factor in (("first", 1.0), ("overlap", both), ("second", both)):
            f = [getattr(m, name)[0] for m in (more2, more, less, less2)]
            difference = (-f[0] + 8 * f[1] - 8 * f[2] + f[3]) / (12 * step)
            assert_allclose(
                factor * getattr(derivative, name)[0],
                difference,
                atol=1e-9,
            )

    check(derivatives.by_deviation, (step, 0))
    if q is not None:
        check(derivatives.by_query_score, (0, step))


# ---- laws of the query ----


@pytest.mark.parametrize("freedom", [1, 2, 5, 80, 600])
@pytest.mark.parametrize("nodes", [24, 60, 150])
def test_chi_square_rules_have_the_moments(freedom, nodes):
    """Rounding must not spoil small probabilities, which scaled rules with many nodes multiply by large factors."""
    r, probabilities = chi_square_rule(freedom, nodes)
    assert_allclose(np.sum(probabilities), 1, rtol=1e-9)
    assert_allclose(probabilities @ r, freedom, rtol=1e-9)
    assert_allclose(probabilities @ r**2, freedom * (freedom + 2), rtol=1e-9)
    inverse = probabilities @ (1 / (1 + r))
    from scipy.stats import chi2

    expected, _ = quad(
        lambda t: chi2.pdf(t, freedom) / (1 + t), 0, freedom + 60 * freedom**0.5 + 60,
        points=[freedom], limit=500,
    )  # fmt: skip
    assert_allclose(inverse, expected, rtol=1e-5)


@pytest.mark.parametrize(
    "p",
    [
        np.array([0.02, 0.5, 3.0]),
        np.array([1.0, 1e-12]),
        np.linspace(1, 2, 20),
        np.linspace(1, 2, 60),
        np.linspace(1, 2, 400),
        np.geomspace(1, 1e-3, 200),
    ],
)
def test_densities_of_sums_of_squares_have_their_moments(p):
    """Few directions and many, for which an inverse Laplace transform would lose every digit."""
    τ, laws = deviation_densities(p)
    freedoms = np.ones((len(p) + 1, len(p)))
    freedoms[1:] += 2 * np.eye(len(p))
    assert_allclose(np.sum(laws, axis=1), 1, atol=1e-11)
    mean = freedoms @ p
    assert_allclose(laws @ τ**2, mean, rtol=1e-10)
    assert_allclose(laws @ τ**4, mean**2 + 2 * freedoms @ p**2, rtol=1e-10)


def test_gauss_rules_integrate_polynomials():
    τ, laws = deviation_densities(np.array([1.0, 4.0]))
    nodes, weights = gauss_rule(τ, laws, 6)
    for power in range(12):
        assert_allclose(weights[0] @ nodes**power, laws[0] @ τ**power, rtol=1e-10)
    for power in range(6):
        assert_allclose(weights @ nodes**power, laws @ τ**power, rtol=1e-10)


# ---- losses against sampling ----


def drawn_prompts(task, prompts):
    """Contexts x (P, N, D) and y (P, N), queries (P, D) and their labels (P,)."""
    rng = np.random.default_rng(7)
    D, N = task.dimension, task.context_lengths[0]
    root = np.linalg.cholesky(task.covariance)
    x = rng.normal(size=(prompts, N, D)) @ root.T
    x_q = rng.normal(size=(prompts, D)) @ root.T
    w = rng.normal(size=(prompts, D)) @ np.linalg.cholesky(task.teacher_covariance).T
    y = np.einsum("pnd,pd->pn", x, w)
    y = y + rng.normal(size=y.shape) * task.noise_variance**0.5
    y_q = np.sum(w * x_q, axis=1)
    y_q = y_q + rng.normal(size=y_q.shape) * task.query_noise_variance**0.5
    return x, y, x_q, y_q


def sampled_loss(task, ω, μ, A, query_token, prompts=20_000):
    """The mean loss of softmax heads on drawn prompts, and its standard error: a plain computation."""
    x, y, x_q, y_q = drawn_prompts(task, prompts)
    scores = np.einsum("pnd,de,pe->pn", x, A, x_q)
    own = np.einsum("pd,de,pe->p", x_q, A, x_q)
    prediction = np.zeros(prompts)
    for ω_h, μ_h in zip(ω, μ, strict=True):
        weights = np.exp(ω_h * scores)
        total = weights.sum(axis=1) + (np.exp(ω_h * own) if query_token else 0)
        prediction += μ_h * np.sum(weights * y, axis=1) / total
    squares = (prediction - y_q) ** 2
    return squares.mean(), squares.std() / prompts**0.5


@pytest.mark.parametrize("query_token", [False, True])
@pytest.mark.parametrize("whitened", [False, True])
def test_losses_are_those_of_drawn_prompts(whitened, query_token):
    Λ = exponential_covariance(3)
    Ω = np.array([[0.5, 0.1, 0], [0.1, 0.3, 0], [0, 0, 0.2]])
    A = (
        np.linalg.inv(Λ)
        if whitened
        else np.array([[1, 0.3, 0], [0, 0.5, 0], [0.2, 0, 2]])
    )
    task = Task(
        covariance=Λ,
        teacher_covariance=Ω,
        noise_variance=0.3,
        query_noise_variance=0.05,
        context_length=8,
    )
    ω, μ = [0.4, -0.2], [0.9, -1.1]
    if query_token and not whitened:
        with pytest.raises(
            ValueError, match="with query_token the score of the query's own"
        ):
            exact_loss(task, ω, μ, matrix=A, query_token=True)
        return
    loss = exact_loss(task, ω, μ, matrix=A, query_token=query_token)
    mean, deviation = sampled_loss(task, ω, μ, A, query_token)
    assert abs(float(loss) - mean) < 4 * deviation
    # Heads of the opposite sign are told apart.
    wrong = exact_loss(task, np.negative(ω), μ, matrix=A, query_token=query_token)
    assert abs(float(wrong) - mean) > 6 * deviation


def test_one_covariance_in_two_units():
    """Heads (ω A) on Λ are heads (ω s² A) on Λ/s², with teachers s times as large."""
    Λ, s = exponential_covariance(4), 3.0
    Ω = np.diag([0.1, 0.4, 0.2, 0.3])
    task = Task(
        covariance=Λ, teacher_covariance=Ω, noise_variance=0.2, context_length=12
    )
    scaled = Task(
        covariance=Λ / s**2,
        teacher_covariance=Ω * s**2,
        noise_variance=0.2,
        context_length=12,
    )
    ω, μ = np.array([0.3, -0.5]), np.array([1.0, -0.7])
    one = exact_loss(task, ω, μ, gradient=True)
    other = exact_loss(scaled, ω * s**2, μ, gradient=True)
    assert_allclose(float(other), float(one), rtol=1e-9)
    assert_allclose(other.gradient.omega * s**2, one.gradient.omega, rtol=1e-7)


@pytest.mark.parametrize("scale", [1e-150, 1e150])
@pytest.mark.parametrize("eigenvalues", [[1.0, 1.0], [1.0, 2.0]])
def test_losses_do_not_depend_on_the_units_of_the_inputs(scale, eigenvalues):
    """Products of three covariances are no numbers there."""
    Λ, Ω = np.diag(eigenvalues), np.eye(2)
    task = Task(covariance=Λ, teacher_covariance=Ω, context_length=8)
    scaled = Task(covariance=scale * Λ, teacher_covariance=Ω / scale, context_length=8)
    ω, μ = np.array([0.2, -0.1]), np.array([1.0, -2.0])
    one = exact_loss(task, ω, μ, gradient=True)
    other = exact_loss(scaled, ω / scale, μ, gradient=True)
    assert_allclose(float(other), float(one), rtol=1e-11)
    assert_allclose(other.gradient.omega / scale, one.gradient.omega, rtol=1e-9)


def test_losses_do_not_depend_on_the_size_of_the_matrix():
    A = np.array([[1, 0.3], [-0.2, 0.5]])
    task = white(2, 8)
    one = exact_loss(task, [0.3, -0.2], [1.0, -1.0], matrix=A, gradient=True)
    other = exact_loss(
        task, [0.3e200, -0.2e200], [1.0, -1.0], matrix=A / 1e200, gradient=True
    )
    assert_allclose(float(other), float(one), rtol=1e-11)
    assert_allclose(other.gradient.omega * 1e200, one.gradient.omega, rtol=1e-8)


def test_directions_of_small_variance_keep_their_signals():
    """x_2 has no part in τ = |z_1|, but half of the signal: E[α g] = E[(z_1² + Ω_2 Λ_2²) g(ω |z_1|)/|z_1|]."""
    task = Task([1.0, 1e-6], teacher_covariance=np.diag([1.0, 1e12]), context_length=8)
    by_μ = exact_loss(task, [0.5], [0.0], gradient=True).gradient.mu.item()

    def signal(z):
        g = score_moments(np.array([0.5 * z]), 8).first[0]
        return (z + 1 / z) * g * np.exp(-(z**2) / 2) * np.sqrt(2 / np.pi)

    expected, _ = quad(signal, 1e-9, 9, epsabs=1e-11)
    assert_allclose(-by_μ / 2, expected, rtol=1e-8)


def test_nearly_white_inputs_have_the_loss_of_white_ones():
    """The two quadratures over the query meet."""
    white_loss = exact_loss(white(3, 10), [0.5, -0.3], [1.0, -1.2])
    nearly = Task(
        [1 + 1e-7, 1, 1 - 1e-7],
        teacher_covariance=np.eye(3) / 3,
        noise_variance=0.1,
        context_length=10,
    )
    assert_allclose(
        float(exact_loss(nearly, [0.5, -0.3], [1.0, -1.2])),
        float(white_loss),
        rtol=1e-7,
    )


def test_gradients_are_those_of_differences():
    Λ = exponential_covariance(3)
    task = Task(
        covariance=Λ,
        teacher_covariance=np.eye(3) / 3,
        noise_variance=0.3,
        context_length=8,
    )
    ω, μ = np.array([0.4, -0.2]), np.array([0.9, -1.1])
    gradient = exact_loss(task, ω, μ, gradient=True).gradient
    step = 1e-4
    for h in range(2):
        change = step * np.eye(2)[h]
        points = exact_loss(
            task, [ω + change, ω - change, ω, ω], [μ, μ, μ + change, μ - change]
        ).loss
        assert abs((points[0] - points[1]) / (2 * step) - gradient.omega[h]) < 1e-7
        assert abs((points[2] - points[3]) / (2 * step) - gradient.mu[h]) < 1e-7


def test_context_lengths_are_averaged_by_their_weights():
    mixed = white(3, {0: 0.25, 4: 0.25, 9: 0.5})
    each = [float(exact_loss(white(3, N), [0.4], [0.8])) for N in (4, 9)]
    expected = 0.25 * 1.1 + 0.25 * each[0] + 0.5 * each[1]
    assert_allclose(float(exact_loss(mixed, [0.4], [0.8])), expected, rtol=1e-9)


def test_only_the_second_moment_of_the_teachers_matters():
    pool = Pool([[1.0, 0.0], [0.0, 2.0], [1.0, 1.0]])
    Ω = np.array([[2 / 3, 1 / 3], [1 / 3, 5 / 3]])
    of_pool = Task([1, 1], teachers=pool, noise_variance=0.1, context_length=6)
    of_gaussian = Task(
        [1, 1], teacher_covariance=Ω, noise_variance=0.1, context_length=6
    )
    assert_allclose(
        float(exact_loss(of_pool, [0.5], [1.0])),
        float(exact_loss(of_gaussian, [0.5], [1.0])),
        rtol=1e-12,
    )


@pytest.mark.parametrize("length", [1, 2, 5, 10_000])
def test_errors_are_estimated_from_above(length):
    task = white(4, length)
    fine = exact_loss(task, [0.6, -0.5], [1.0, -0.8], nodes=48)
    for nodes in (6, 13, 20):
        coarse = exact_loss(task, [0.6, -0.5], [1.0, -0.8], nodes=nodes)
        assert abs(float(coarse) - float(fine)) <= float(coarse.error)


@pytest.mark.parametrize(
    ("task", "ω", "query_token"),
    [
        (white(1, 3), 0.005, False),
        (white(3, 1), 0.3, False),
        (white(5, 8, noise=30.0, query_noise_variance=0.0), 0.4, False),
        (white(5, 5), 0.5, True),
        (white(200, 20), 0.08, True),
        (Task(np.linspace(1, 2, 150), context_length=5), 0.01, False),
    ],
)
def test_errors_are_no_less_than_the_distance_to_many_nodes(task, ω, query_token):
    """Small scores, one token, noise in the context alone, and many nodes, whose weights must not be rounding."""
    heads = {"omega": [ω, -ω], "mu": [1.5, -1.0], "query_token": query_token}
    chosen = exact_loss(task, **heads)
    fine = exact_loss(task, **heads, nodes=80)
    assert abs(float(chosen) - float(fine)) <= float(chosen.error)
    assert float(chosen.error) < 1e-8 * float(chosen)


def test_errors_hold_where_two_rules_in_a_row_are_off_by_the_same():
    """Here rules of 36 and 46 nodes are off by 5.5e-9 and 3.0e-9, more than they differ by."""
    task = white(8, 727, noise=1.0)
    chosen = exact_loss(task, [0.67538645], [2.94793541], query_token=True)
    fine = exact_loss(task, [0.67538645], [2.94793541], query_token=True, nodes=100)
    assert 3 * abs(float(chosen) - float(fine)) <= float(chosen.error)
    assert float(chosen.error) < 1e-8 * float(chosen)


def test_heads_far_from_each_other_and_large_values():
    """μ of hundreds at small ω, as optima of two heads have: errors count (Σ|μ|)² times."""
    task = white(80, 640)
    M = 640 + 80 * 1.1
    γ = 0.00157
    # L(0) − 2 s m + p m² for μ = (m, −m).
    at_one = exact_loss(task, [γ, -γ], [1.0, -1.0], gradient=True)
    by_m = float(at_one.gradient.mu @ [1.0, -1.0])
    p = by_m - (float(at_one) - 1.1)
    s = p - by_m / 2
    loss = exact_loss(task, [γ, -γ], [s / p, -s / p])
    gain = 1.1 - 639 / M - float(loss)
    assert_allclose(gain, 7.66e-10, rtol=0.01)


# ---- refusals ----

REFUSED = [
    ({"mu": [1.0, 2.0, 3.0]}, "omega and mu must have one shape, (H,) or (points, H): omega has shape (2,)"),
    ({"omega": [np.nan, 1.0]}, "omega must be finite: it holds nan or inf"),
    ({"omega": [5.0, 0.1]}, "standard deviation of up to"),
    ({"mu": [1.0, -1e200]}, "mu = 1e+200 gives losses beyond the largest number"),
    ({"omega": 0.3, "mu": 1.0}, "omega must have shape (H,) or (points, H), not ()"),
    ({"mu": [1e200, 1.0]}, "mu = 1e+200 gives losses beyond the largest number"),
    ({"nodes": 201}, "nodes may be at most 200, not 201"),
    ({"matrix": 1e308 * np.eye(5)}, "divide the matrix by a number and multiply omega by it"),
    ({"nodes": 3}, "nodes must be a whole number of at least 5, not 3"),
    ({"query_token": 1}, "query_token must be True or False"),
    ({"matrix": np.eye(3)}, "matrix must have shape (5, 5), not (3, 3)"),
    ({"matrix": np.zeros((5, 5))}, "matrix must give tokens different scores"),
]  # fmt: skip


@pytest.mark.parametrize(("changed", "message"), REFUSED)
def test_refusals(changed, message):
    arguments = {"omega": [0.3, -0.2], "mu": [1.2, -1.5]} | changed
    with pytest.raises(ValueError, match=re.escape(message)):
        exact_loss(white(5, 40), **arguments)


def test_other_tasks_are_refused():
    labels = Task(
        [1e200, 1e200], teacher_covariance=1e200 * np.eye(2), context_length=4
    )
    with pytest.raises(ValueError, match="labels of variance inf"):
        exact_loss(labels, [0.0], [1.0])
    draw = Inputs(lambda generator, shape: generator.choice([-1.0, 1.0], shape))
    uniform = Task([1, 1], inputs="uniform", context_length=5)
    own = Task([1, 1], inputs=draw, context_length=5)
    shifted = Task([1, 1], input_mean=[1, 0], context_length=5)
    for task, message in [
        (uniform, "known for Gaussian x, not for the inputs 'uniform'"),
        (own, "known for Gaussian x, not for the inputs"),
        (shifted, "known for x of mean zero"),
    ]:
        with pytest.raises(ValueError, match=message):
            exact_loss(task, [0.3], [1.0])
    with pytest.raises(TypeError, match=r"call exact_loss\(task, omega, mu\)"):
        exact_loss([0.3], uniform, [1.0])


def test_results_are_read_as_numbers_and_arrays():
    task = white(2, 6)
    one = exact_loss(task, [0.3], [1.0])
    many = exact_loss(task, [[0.3], [0.5]], [[1.0], [0.2]], gradient=True)
    assert float(one) == one.loss
    with pytest.raises(TypeError, match="these are the losses of 2 points"):
        float(many)
    assert np.asarray(many).shape == (2,)
    assert many.gradient.omega.shape == (2, 1)
    assert_allclose(np.asarray(many)[0], float(one), rtol=1e-10)
    assert one.gradient is None
    assert set(many.to_dict()) == {"loss", "gradient", "error"}
    assert "Exact loss" in repr(many)
