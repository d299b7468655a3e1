"""Errors as D → ∞ against stored numbers, the authors' formulas, and the textbook form in many digits."""

import time

import mpmath
import numpy as np
import pytest

from attndyn.compare.claims.asymptotics.textbook_form import published_values
from attndyn.theory.asymptotics import bayes_error, errors

PUBLISHED = published_values()
"""Values of the formulas of Lu et al. at random parameters, evaluated by their own code (MIT licence)."""


@pytest.mark.parametrize(
    ("point", "icl", "idg"),
    [
        ((2, 2, 0.5, 0.1, 0), 1.3384512936, 0.5862804563),
        ((0.5, 4, 0.5, 0.1, 0), 1.2253573636, 0.6417149035),
        ((1.5, 4, 2, 0.1, 0.1), 0.7177844469, 0.5581225240),
        ((10, 10, 0.5, 0.01, 1e-6), 0.5956961292, 0.0624443080),
        ((1.25, 4, 0.5, 0.05, 0), 2.4540477340, 0.7869735103),
    ],
)
def test_errors_are_the_known_ones(point, icl, idg):
    result = at(*point)
    assert result.icl == pytest.approx(icl, abs=6e-11)
    assert result.idg == pytest.approx(idg, abs=6e-11)
    assert result.gap == pytest.approx(icl - idg, abs=2e-10)


def at(tau, alpha, kappa, noise, ridge=0.0, test_alpha=None):
    return errors(
        tau=tau,
        alpha=alpha,
        kappa=kappa,
        noise=noise,
        ridge=ridge,
        test_alpha=test_alpha,
    )


def test_the_effective_ridge_is_the_known_one():
    assert at(0.5, 4, 0.5, 0.1).xi == pytest.approx(0.6796312111, abs=6e-11)
    assert at(1.5, 4, 2, 0.1, 0.1).xi == pytest.approx(0.2196396442, abs=6e-11)
    assert at(1.5, 4, 2, 0.1).xi == 0


@pytest.mark.parametrize(
    ("alpha", "kappa", "gap", "digits"),
    [
        (100, 0.5, 0.5000471200, 5e-11),
        (1e4, 1, 0.00502437193, 5e-12),
        (1e4, 2, 6.112367e-8, 5e-14),
    ],
)
def test_the_gap_of_unlimited_sequences_has_all_its_digits(alpha, kappa, gap, digits):
    assert at(np.inf, alpha, kappa, 0.01).gap == pytest.approx(gap, abs=digits)


def test_errors_double_and_descend_around_as_many_sequences_as_features():
    descent = at([0.9, 0.99, 1.01, 1.1], 1, 0.5, 0.01)
    assert descent.icl == pytest.approx([4.6006, 43.240, 43.756, 5.0996], rel=1e-5)


@pytest.mark.parametrize(("has_ridge", "gap"), [(False, 1e-13), (True, 2e-6)])
def test_errors_are_those_of_the_published_formulas(has_ridge, gap):
    rows = PUBLISHED[(PUBLISHED["ridge"] > 0) == has_ridge]
    names = ("tau", "alpha", "kappa", "noise_variance", "ridge")
    result = at(*(rows[name] for name in names))
    assert len(rows) == (20 if has_ridge else 60)
    np.testing.assert_allclose(result.icl, rows["icl"], rtol=gap)
    if not has_ridge:
        np.testing.assert_allclose(result.idg, rows["idg"], rtol=gap)


def textbook(tau, alpha, kappa, noise, ridge=0.0, test_alpha=None):
    """icl, idg, their difference and ξ as the paper writes them, in the digits that mpmath is set to."""
    τ, κ, ρ = (mpmath.mpf(value) for value in (tau, kappa, noise))
    x = (1 + ρ) / mpmath.mpf(alpha)
    x_test = (1 + ρ) / mpmath.mpf(alpha if test_alpha is None else test_alpha)
    ξ = largest_root(τ, κ, mpmath.mpf(ridge), x)
    ν = x + ξ
    M, slope = resolvent(ν, κ), slope_of_resolvent(ν, κ)
    T1, T2 = 1 - ν * M, 1 - 2 * ν * M - ν**2 * slope
    left = 1 - (1 - 2 * ξ * M - ξ**2 * slope) / τ
    idg = (ρ + ν - ν**2 * M - ξ * T2) / left
    icl = 1 + ρ - 2 * T1 + (1 + x_test) * (T2 + idg * (M + ξ * slope) / τ)
    return icl, idg, icl - idg, ξ


def resolvent(z, κ):
    """The positive root M of (z/κ) M² + (z + 1 − 1/κ) M − 1."""
    if κ == mpmath.inf:
        return 1 / (1 + z)
    c = z + 1 - 1 / κ
    return (mpmath.sqrt(c**2 + 4 * z / κ) - c) / (2 * z / κ)


def slope_of_resolvent(z, κ):
    """M′(z)."""
    M = resolvent(z, κ)
    return -(M**2 / κ + M) / (2 * z * M / κ + z + 1 - 1 / κ)


def largest_root(τ, κ, λ, x):
    """ξ of ξ = λ + (ξ/τ)(1 − ξM(x + ξ)), with a ridge by bisection in log ξ."""
    if λ == 0:
        return mpmath.mpf(0) if τ > 1 else (1 - τ) / (τ * resolvent(x, κ / τ))
    if τ == mpmath.inf:
        return λ
    low, high = mpmath.log(λ) - 1, mpmath.log(λ + (1 + x) / τ) + 1
    for _ in range(4 * mpmath.mp.dps):
        middle = (low + high) / 2
        ξ = mpmath.exp(middle)
        if λ / ξ > 1 - (1 - ξ * resolvent(x + ξ, κ)) / τ:
            low = middle
        else:
            high = middle
    return mpmath.exp(low)


def random_point(generator, span):
    """Parameters within 10^±span, some of them at or next to a threshold."""
    power = generator.uniform(-span, span, 6)
    tau, alpha, kappa, noise, ridge, test_alpha = (10.0**power).tolist()
    noise = min(noise, 1e3)
    kind = generator.integers(9)
    if kind % 3 == 0:
        ridge = 0.0
    if kind == 1:
        noise = 0.0
    if kind in (2, 3):
        tau = 1 + generator.choice([-1, 1]) * 10 ** generator.uniform(-14, -1)
    if kind in (3, 4):
        kappa = 1 + generator.choice([-1, 0, 1]) * 10 ** generator.uniform(-14, -1)
    if kind == 5:
        kappa = tau
    if kind == 6:
        tau = np.inf
    return tau, alpha, kappa, noise, ridge, test_alpha if kind == 7 else None


@pytest.mark.parametrize("span", [1, 4, 12])
def test_no_digits_are_lost_at_random_and_extreme_points(span):
    generator = np.random.default_rng(span)
    with mpmath.workdps(120):
        for _ in range(15):
            point = random_point(generator, span)
            result = at(*point)
            icl, idg, gap, ξ = textbook(*point)
            # Where the gap changes sign, or comes from another context length, its terms are larger.
            size = max(abs(gap), 1e-3 * icl if point[-1] is not None else 0)
            assert abs(result.icl / icl - 1) < 1e-13, point
            assert abs(result.idg / idg - 1) < 1e-13, point
            assert abs(result.gap - gap) < 1e-10 * size, point
            assert ξ == 0 or abs(result.xi / ξ - 1) < 1e-13, point


def test_infinite_parameters_are_limits():
    large = 1e13
    finite = at(2, large, 2, 0.1, 0.2)
    infinite = at(2, np.inf, 2, 0.1, 0.2)
    assert infinite.icl == pytest.approx(finite.icl, rel=1e-10)
    assert at(2, 3, np.inf, 0.1).icl == pytest.approx(at(2, 3, large, 0.1).icl)
    assert at(np.inf, 3, 2, 0.1).icl == pytest.approx(at(large, 3, 2, 0.1).icl)
    x = 1.1 / 3
    known = at(np.inf, 3, np.inf, 0.1)
    assert known.icl == pytest.approx(0.1 + x / (1 + x), rel=1e-14)
    assert known.gap == 0
    assert at(np.inf, np.inf, 0.3, 0.1).gap == pytest.approx(0.7, rel=1e-14)
    assert at(np.inf, np.inf, 1.0, 0.1).gap == pytest.approx(0, abs=1e-40)


def test_arguments_broadcast():
    result = at(np.array([0.5, 2])[:, None], [1, 2, 4], 0.5, 0.1)
    assert result.icl.shape == result.idg.shape == result.gap.shape == (2, 3)
    assert result.xi[1].tolist() == [0, 0, 0]
    assert result.icl[0, 2] == pytest.approx(1.2253573636, abs=6e-11)
    assert set(result.to_dict()) == {"icl", "idg", "gap", "xi"}
    assert "gap" in repr(result)


def test_a_hundred_thousand_points_take_less_than_a_second():
    generator = np.random.default_rng(0)
    tau, alpha, kappa, noise, ridge = 10 ** generator.uniform(-3, 3, (5, 10**5))
    start = time.process_time()
    at(tau, alpha, kappa, noise, ridge)
    assert time.process_time() - start < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tau": 1}, "pole at tau = 1 without ridge"),
        ({"tau": [0.5, 1]}, "pole at tau = 1 without ridge"),
        ({"tau": 0}, "tau must be positive numbers or inf, not 0"),
        ({"alpha": [1, -2]}, "alpha must be positive numbers or inf, not -2"),
        ({"kappa": np.nan}, "kappa must be positive numbers or inf, not nan"),
        ({"noise": -0.1}, "noise must be zero or more and finite, not -0.1"),
        ({"noise": np.inf}, "noise must be zero or more and finite, not inf"),
        ({"ridge": -1}, "ridge must be zero or more and finite, not -1"),
        ({"test_alpha": 0}, "test_alpha must be positive numbers or inf, not 0"),
        ({"tau": "two"}, "tau must be an array of real numbers"),
        ({"kappa": None}, "kappa must be an array of real numbers, not None"),
        ({"alpha": [2, None]}, "alpha must be an array of real numbers"),
        ({"tau": [2, 3], "alpha": [1, 2, 3]}, "must broadcast to one shape, not tau"),
        ({"alpha": np.inf}, "grows without bound as alpha → ∞"),
        ({"alpha": 1e-310, "noise": 1e3}, "too large or too small for doubles"),
    ],
)
def test_what_has_no_error_is_refused(change, message):
    point = {"tau": 2, "alpha": 2, "kappa": 0.5, "noise": 0.1}
    with pytest.raises(ValueError, match=message):
        errors(**point | change)


def test_what_vanishes_in_an_infinite_context_is_zero():
    """At κ = 1 the gap is ½√x, beyond it x², and errors on training tasks are x."""
    vanishing = at([2, np.inf, np.inf, 1.001], np.inf, [2, np.inf, 1, 1], 0.0)
    for name in ("icl", "idg", "gap"):
        np.testing.assert_array_equal(getattr(vanishing, name), np.zeros(4))
    few = at(np.inf, np.inf, 0.5, 0.0)
    assert (few.icl, few.idg, few.gap) == (0.5, 0, 0.5)
    # A small ridge leaves errors of λ², which stay.
    ridge = at(2, np.inf, 2, 0.0, np.array([1e-3, 1e-30]))
    assert ridge.icl[1] == pytest.approx(ridge.icl[0] * 1e-54, rel=0.1)
    assert at(2, 1e90, 2, 0.0).icl == pytest.approx(3e-90)


def test_an_infinite_context_without_noise_has_its_limit():
    limit = at(4, np.inf, 0.5, 0.0)
    near = at(4, 1e12, 0.5, 0.0)
    assert limit.icl == pytest.approx(near.icl, rel=1e-9)
    assert limit.icl == pytest.approx(0.5 + 0.5 * 0.5 / (4 - 1), rel=1e-12)


def test_bayes_error_is_the_known_one_and_below_linear_attention():
    assert bayes_error(alpha=2, noise=0.1) == pytest.approx(0.184429, abs=6e-7)
    attention = at(np.inf, 2, np.inf, 0.1).icl
    assert attention == pytest.approx(0.454839, abs=6e-7)
    noiseless = bayes_error(alpha=[0.25, 1, 2, np.inf], noise=0)
    np.testing.assert_allclose(noiseless, [0.75, 0, 0, 0], atol=1e-15)
    with mpmath.workdps(60):
        for α, ρ in [(0.3, 1e-9), (1, 1e-12), (5, 200.0), (1e7, 1e-3)]:
            z = mpmath.mpf(ρ) / mpmath.mpf(α)
            known = ρ + z * resolvent(z, mpmath.mpf(α))
            assert bayes_error(alpha=α, noise=ρ) == pytest.approx(float(known))


@pytest.mark.parametrize("change", [{"alpha": 0}, {"noise": -1}, {"noise": np.nan}])
def test_bayes_error_refuses_what_is_no_parameter(change):
    with pytest.raises(ValueError, match="must be"):
        bayes_error(**{"alpha": 2, "noise": 0.1} | change)


def test_bayes_error_of_short_contexts_is_that_of_none_or_refused():
    assert bayes_error(alpha=1e-200, noise=0.1) == pytest.approx(1.1)
    with pytest.raises(ValueError, match="too large or too small"):
        bayes_error(alpha=1e-300, noise=1e10)
