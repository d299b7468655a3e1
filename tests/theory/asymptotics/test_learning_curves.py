"""Errors along gradient flow as D → ∞: against the law of Marchenko and Pastur where data or tasks are unlimited."""

import numpy as np
import pytest
from scipy.integrate import quad

from attndyn.theory.asymptotics import early_stopping, errors, learning_curve
from attndyn.theory.asymptotics import learning_curves as curves

TIMES = [0.0, 0.1, 1.0, 10.0, 100.0, 1e4]


def mean_over_spectrum(function, ratio):
    """∫ function dμ for the spectrum μ of (1/n) X Xᵀ with d/n = `ratio`, its weight at zero included."""
    low, high = (1 - np.sqrt(ratio)) ** 2, (1 + np.sqrt(ratio)) ** 2

    def integrand(angle):
        # Both edges are square roots: λ = low + (high − low) sin² makes the density smooth.
        sin, cos = np.sin(angle), np.cos(angle)
        at = low + (high - low) * sin**2
        density = (high - low) ** 2 * 2 * (sin * cos) ** 2 / (2 * np.pi * ratio * at)
        return density * function(at)

    bulk = quad(integrand, 0, np.pi / 2, epsabs=1e-13, epsrel=1e-13, limit=500)[0]
    return bulk + max(1 - 1 / ratio, 0.0) * function(0.0)


@pytest.mark.parametrize(
    ("kappa", "alpha", "noise"), [(0.5, 4.0, 0.05), (2.0, 10.0, 0.5), (1.0, 0.5, 0.0)]
)
def test_with_unlimited_sequences_it_is_the_flow_on_the_spectrum_of_the_tasks(
    kappa, alpha, noise
):
    x = (1 + noise) / alpha
    curve = learning_curve(TIMES, tau=np.inf, alpha=alpha, kappa=kappa, noise=noise)
    for θ, icl, idg in zip(TIMES, curve.icl, curve.idg, strict=True):

        def Γ(r, θ=θ):
            return r * -np.expm1(-θ * (r + x)) / (r + x)

        def mean(function):
            return mean_over_spectrum(function, 1 / kappa)

        in_context = 1 + noise - 2 * mean(Γ) + (1 + x) * mean(lambda r: Γ(r) ** 2)
        trained = mean(lambda r: -2 * r * Γ(r) + (r + x) * Γ(r) ** 2)
        assert icl == pytest.approx(in_context, abs=2e-10)
        assert idg == pytest.approx(1 + noise + trained, abs=2e-10)


@pytest.mark.parametrize(
    ("tau", "alpha", "noise"), [(1.25, 4.0, 0.05), (0.3, 10.0, 0.5), (1.0, 0.5, 0.0)]
)
def test_with_unlimited_tasks_it_is_the_flow_of_isotropic_regression(tau, alpha, noise):
    x = (1 + noise) / alpha
    residual = 1 + noise - 1 / (1 + x)
    curve = learning_curve(TIMES, tau=tau, alpha=alpha, kappa=np.inf, noise=noise)
    assert curve.icl == pytest.approx(curve.idg, abs=1e-10)
    for θ, found in zip(TIMES, curve.icl, strict=True):
        rate = θ * (1 + x)

        def missing(g, rate=rate):
            return np.exp(-2 * rate * g)

        def fitted_noise(g, rate=rate):
            return np.expm1(-rate * g) ** 2 / g if g else 0.0

        bias = mean_over_spectrum(missing, 1 / tau) / (1 + x)
        variance = residual / tau * mean_over_spectrum(fitted_noise, 1 / tau)
        assert found == pytest.approx(residual + bias + variance, rel=1e-9)


def test_the_values_of_a_contour_of_640_nodes():
    curve = learning_curve([0.1, 1, 10, 100], tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    assert curve.icl == pytest.approx(
        [0.917289, 0.770456, 0.990375, 1.911680], abs=5e-7
    )
    assert curve.idg == pytest.approx(
        [0.660122, 0.264033, 0.316987, 0.614088], abs=5e-7
    )
    end = learning_curve(1e9, tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    assert end.icl == pytest.approx(2.4540477340, abs=1e-9)
    assert end.idg == pytest.approx(0.7869735103, abs=1e-9)


def random_points(count, seed=0):
    """Parameters over the decades that a theorist may ask for."""
    rng = np.random.default_rng(seed)
    exponents = {
        "theta": (-3, 6),
        "tau": (-2, 2),
        "alpha": (-2, 3),
        "kappa": (-2, 2),
        "noise": (-3, 1),
    }
    return {
        name: 10 ** rng.uniform(*range_, count) for name, range_ in exponents.items()
    }


def test_the_error_that_it_states_holds_against_more_nodes():
    """The terms of a rule with n nodes are as large as e^{.26 n}: at 36 nodes rounding is 10⁻¹¹ of the errors."""
    points = random_points(300)
    theta = points.pop("theta")
    curve = learning_curve(theta, **points)
    more = learning_curve(theta, nodes=36, **points)
    coarse = learning_curve(theta, nodes=20, **points)
    for name in ("icl", "idg"):
        value, exact = getattr(curve, name), getattr(more, name)
        assert np.all(
            np.abs(value - exact) <= curve.error + 1e-11 * (1 + points["noise"] + exact)
        )
        # A rule whose error does not change with its nodes would pass the above.
        assert np.any(np.abs(getattr(coarse, name) - exact) > 1e-10 * exact)
    assert np.max(curve.error / curve.icl) < 1e-9


def test_the_pairs_of_one_ridge_are_its_errors():
    """The rule sums pairs of ridges; a pair of equal ones has the closed form of one ridge."""
    points = random_points(50, seed=1)
    known = errors(ridge=points.pop("theta"), **points)
    ρ, b = points["noise"], 1 / points["kappa"]
    x = (1 + ρ) / points["alpha"]
    point = curves._Point(x, 1 / points["tau"], b, ρ, x, x)
    ν = x + known.xi
    # 1/M = ν + s with (1 − s)(ν + s) = s/κ.
    s = ((1 - b - ν) + np.sqrt((1 - b - ν) ** 2 + 4 * ν)) / 2
    t = s / (ν + s)
    g = t * b + s * t
    ridges = curves._Ridges(*(v[:, None, None] for v in (1 / (ν + s), t, g, s)))
    pair = curves._PairErrors.of(ridges, ridges, point)
    icl = 1 + ρ - 2 * t + pair.new_tasks[:, 0, 0]
    idg = 1 + ρ - 2 * g + pair.training_tasks[:, 0, 0]
    assert icl == pytest.approx(known.icl, rel=1e-8)
    assert idg == pytest.approx(known.idg, rel=1e-8)


def test_what_is_learnt_first_is_the_correlation_with_the_labels():
    """e = 1 + ρ − 2θ |E y x_q h|² for short times: R has trace 1 and R² trace 1 + 1/κ."""
    θ = 1e-7
    curve = learning_curve(θ, tau=0.7, alpha=3, kappa=0.5, noise=0.2)
    assert (1.2 - curve.icl) / (2 * θ) == pytest.approx(1.0, rel=1e-5)
    assert (1.2 - curve.idg) / (2 * θ) == pytest.approx(3.0, rel=1e-5)


def test_arguments_broadcast_and_infinite_ones_are_limits():
    tau = np.array([0.5, 1.0, 2.0, np.inf])
    curve = learning_curve(
        [[0.5], [3.0]], tau=tau, alpha=np.inf, kappa=np.inf, noise=0.1
    )
    assert curve.icl.shape == curve.error.shape == (2, 4)
    near = learning_curve(
        [[0.5], [3.0]], tau=np.minimum(tau, 1e9), alpha=1e9, kappa=1e9, noise=0.1
    )
    assert curve.icl == pytest.approx(near.icl, abs=1e-8)
    assert learning_curve(1.0, tau=1, alpha=1, kappa=1, noise=0).icl.shape == ()


def test_longer_test_prompts_change_the_error_on_new_tasks_alone():
    at = {"tau": 2, "alpha": 2, "kappa": 0.5, "noise": 0.1}
    same, longer = (
        learning_curve(2.0, **at),
        learning_curve(2.0, test_alpha=8, **at),
    )
    assert longer.idg == same.idg
    assert longer.icl < same.icl
    assert learning_curve(2.0, test_alpha=2, **at).icl == same.icl


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"theta": -1.0}, "theta must be zero or more and finite, not -1"),
        ({"theta": np.inf}, "theta must be zero or more and finite, not inf"),
        ({"theta": 1e200}, "theta must be at most 1e\\+100"),
        ({"tau": 0.0}, "tau must be positive numbers or inf, not 0"),
        ({"alpha": -2.0}, "alpha must be positive"),
        ({"kappa": np.nan}, "kappa must be positive"),
        ({"noise": -0.1}, "noise must be zero or more"),
        ({"tau": [1.0, 2.0], "kappa": [1.0, 2.0, 3.0]}, "must broadcast"),
        ({"nodes": 17}, "nodes must be an even number, not 17"),
        ({"nodes": 8}, "nodes"),
        ({"alpha": 1e-310}, "too large or too small"),
    ],
)
def test_what_it_does_not_cover_is_refused(changed, message):
    arguments = {"theta": 1.0, "tau": 2.0, "alpha": 2.0, "kappa": 0.5, "noise": 0.1}
    arguments |= changed
    theta = arguments.pop("theta")
    with pytest.raises(ValueError, match=message):
        learning_curve(theta, **arguments)


def test_stopping_early_beats_convergence():
    at = {"tau": 1.25, "alpha": 4, "kappa": 0.5, "noise": 0.05}
    new, trained = (
        early_stopping(on=on, **at) for on in ("new tasks", "training tasks")
    )
    assert new.error == pytest.approx(0.7695, abs=5e-5)
    assert new.theta == pytest.approx(1.2, abs=0.05)
    assert trained.error == pytest.approx(0.2492, abs=5e-5)
    assert trained.theta == pytest.approx(2.0, abs=0.1)
    assert new.end == pytest.approx(2.4540477340, abs=1e-8)


def test_where_the_error_falls_to_the_end_nothing_is_stopped():
    stop = early_stopping(tau=100, alpha=4, kappa=50, noise=0.05)
    assert stop.theta == np.inf
    assert stop.error == stop.end
    assert early_stopping(tau=1, alpha=4, kappa=0.5, noise=0.05).end == np.inf
    with pytest.raises(ValueError, match="on must be"):
        early_stopping(tau=1, alpha=4, kappa=0.5, noise=0.05, on="old tasks")


@pytest.mark.parametrize("name", ["tau", "alpha", "kappa", "noise"])
@pytest.mark.parametrize("value", [-1, "2", [0.5, 1], None, 1j])
def test_early_stopping_refuses_what_is_no_number_of_its_range(name, value):
    point = {"tau": 2, "alpha": 2, "kappa": 0.5, "noise": 0.1}
    with pytest.raises(ValueError, match=name):
        early_stopping(**(point | {name: value}))


def test_points_that_are_not_held_together_have_their_own_errors(monkeypatch):
    theta = np.linspace(0.1, 5, 8)
    setting = {"tau": 2, "alpha": 3, "kappa": 0.5, "noise": 0.1}
    together = learning_curve(theta, **setting)
    monkeypatch.setattr(curves, "_POINTS_AT_ONCE", 3)
    apart = learning_curve(theta, **setting)
    for name in ("icl", "idg"):
        assert getattr(apart, name) == pytest.approx(getattr(together, name), abs=1e-10)


def test_rounding_of_errors_that_fall_to_zero_is_no_gain():
    stop = early_stopping(tau=np.inf, alpha=1e20, kappa=1, noise=0, on="training tasks")
    assert stop.theta == np.inf
    assert stop.error == stop.end


def test_early_stopping_ends_on_the_ridgeless_error_with_hardly_any_tasks():
    point = {"tau": 2, "alpha": 2, "kappa": 1e-59, "noise": 0.1}
    assert early_stopping(**point).end == pytest.approx(errors(**point).icl, rel=1e-8)


def test_more_nodes_than_help_are_refused():
    with pytest.raises(ValueError, match="nodes must be at most 128"):
        learning_curve(1, tau=2, alpha=2, kappa=0.5, noise=0.1, nodes=10**9)
