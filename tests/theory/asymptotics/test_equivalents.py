"""The deterministic equivalent against dense algebra, stored runs of others, its limits, and sampled fits."""

import time

import mpmath
import numpy as np
import pytest
from scipy.optimize import brentq

from attndyn import Task
from attndyn.compare.claims.asymptotics.published_runs import (
    GAP_NOISE,
    GAP_RIDGE,
    GAP_SETS,
    GAPS,
)
from attndyn.simulate import ridge_fit, sample_summaries
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere
from attndyn.theory.asymptotics import (
    deterministic_equivalent,
    errors,
    readout_loss,
    readout_moments,
    sandwich,
)
from attndyn.theory.asymptotics.equivalents import with_teachers


def white_task(D, law, N, noise=0.1):
    return Task([1 / D] * D, teachers=law, context_length=N, noise_variance=noise)


def dense_equivalent(train, test, P, ridge, penalty_root):
    """The losses from all features at once: S (ED, ED), features scaled by `penalty_root` (E,)."""
    D = len(train.Lambda)
    unit = np.repeat(1 / penalty_root, D)
    S = unit[:, None] * np.kron(train.A, train.Lambda) * unit
    S_test = unit[:, None] * np.kron(test.A, test.Lambda) * unit
    e = np.linalg.eigvalsh(S)

    def gap(ξ):
        return ξ - ridge - ξ / P * np.sum(e / (e + ξ))

    ξ = 0.0
    if ridge > 0 or len(e) > P:
        # Above the root the gap is positive; near 0 it is negative.
        ξ = brentq(gap, 1e-12 * e.mean(), ridge + e.sum(), xtol=1e-300, rtol=1e-15)
    inverse = np.linalg.inv(S + ξ * np.eye(len(S)))
    m = inverse @ (unit * train.B.ravel())
    M = (unit * m).reshape(train.B.shape)
    γ = np.trace(S @ inverse @ S @ inverse) / P
    train_loss = train.loss(M) / (1 - γ)
    spread = np.trace(S_test @ inverse @ S @ inverse) / P
    return train_loss, test.loss(M) + train_loss * spread, ξ


GENERAL = Task(
    covariance=[[1, 0.3, 0], [0.3, 0.6, 0.1], [0, 0.1, 0.2]],
    teachers=Pool([[1, 0, 0.5], [-1, 2, 0]]),
    context_length=4,
    noise_variance=0.2,
)
OTHER = Task(
    covariance=[[0.5, 0, 0.1], [0, 1, 0], [0.1, 0, 0.3]],
    teachers=Mixture((0.5, Sphere(3)), (0.5, Gaussian([1, 0, 2]))),
    context_length=[2, 9],
    noise_variance=0.1,
    query_noise_variance=0.4,
)


@pytest.mark.parametrize("ridge", [0.0, 1e-3, 0.2])
@pytest.mark.parametrize("P", [5, 7.5, 40])
@pytest.mark.parametrize("label_row", [False, True])
@pytest.mark.parametrize("weight", [1.0, 9.0])
def test_losses_are_those_of_dense_algebra(ridge, P, label_row, weight):
    row = {"label_row": label_row, "label_weight": weight if label_row else 1.0}
    train, test = (
        readout_moments(task, label_row=label_row) for task in (GENERAL, OTHER)
    )
    roots = np.ones(len(train.A))
    roots[3:] = np.sqrt(weight)
    known = dense_equivalent(train, test, P, ridge, roots)
    found = deterministic_equivalent(GENERAL, OTHER, P, ridge=ridge, **row)
    assert found.train_loss == pytest.approx(known[0], rel=1e-9)
    assert found.test_loss == pytest.approx(known[1], rel=1e-9)
    assert found.xi == pytest.approx(known[2], rel=1e-9, abs=1e-15)
    assert found.gap == found.test_loss - found.train_loss
    same = deterministic_equivalent(GENERAL, GENERAL, P, ridge=ridge, **row)
    assert same.test_loss == pytest.approx(same.train_loss, rel=1e-12)


def gap_z_scores(pools):
    """Equivalent and closed form less the published gap, in standard errors, of each run at d = 10."""
    d, N, ridge = 10, 100, GAP_RIDGE
    scores = []
    for run in GAPS[d]:
        task = white_task(d, Sphere(d), N, GAP_NOISE)
        found = deterministic_equivalent(
            task, task, run.sequences, ridge=ridge / d**3, label_row=True,
            label_weight=d**2, tasks=run.tasks, pools=pools,
        )  # fmt: skip
        limit = errors(
            tau=run.sequences / (d * (d + 1)),
            alpha=N / d,
            kappa=run.tasks / d,
            noise=GAP_NOISE,
            ridge=ridge,
        )
        variance = run.deviation**2 / GAP_SETS + found.gap_spread**2 / pools
        distances = np.array([found.gap, limit.gap]) - run.mean
        scores.append(distances / np.sqrt(variance))
    return np.array(scores)


def test_stored_runs_of_others_are_met_and_not_by_the_limit():
    rms = np.sqrt(np.mean(gap_z_scores(100) ** 2, axis=0))
    assert 0.5 < rms[0] < 1.5
    assert rms[1] > 5


def test_large_sizes_reach_the_closed_form():
    τ, α, κ, noise, λ = 1.5, 4, 0.5, 0.1, 0.1
    limit = errors(tau=τ, alpha=α, kappa=κ, noise=noise, ridge=λ)
    gaps = []
    for d in (12, 24, 48):
        task = white_task(d, Sphere(d), α * d, noise)
        found = deterministic_equivalent(
            task, task, τ * d * (d + 1), ridge=λ / d**3, label_row=True,
            label_weight=d**2, tasks=int(κ * d), pools=60,
        )  # fmt: skip
        gaps.append(found.test_loss - limit.icl)
    # An error of O(1/d) halves.
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.2)
    assert gaps[1] / gaps[2] == pytest.approx(2, abs=0.2)
    assert found.train_loss == pytest.approx(limit.idg, rel=0.01)


def test_sampled_fits_have_the_losses_of_any_law():
    D, P = 16, 2048
    train = Task(
        1 / np.arange(1, D + 1),
        teacher_covariance=np.diag(np.arange(1, D + 1) ** 0.5),
        context_length=2 * D,
        noise_variance=0.1,
    )
    test = Task(1 / np.arange(D, 0, -1), context_length=7, noise_variance=0.5)
    moments = readout_moments(train)
    # The mean variance of a feature: the small ones are not learned.
    ridge = np.trace(moments.A) * np.trace(moments.Lambda) / D**2
    fits = [ridge_fit(sample_summaries(train, P, s), ridge=ridge) for s in range(12)]
    found = deterministic_equivalent(train, test, P, ridge=ridge)
    # Heavy tails make half a percent where the share of variance is 2 %.
    assert np.mean(readout_loss(train, fits)) == pytest.approx(
        found.train_loss, rel=0.01
    )
    assert np.mean(readout_loss(test, fits)) == pytest.approx(
        found.test_loss, rel=0.012
    )
    # The training law's numbers alone would be far off.
    assert found.test_loss < 0.75 * found.train_loss


def test_the_repair_is_nearer_to_sampled_fits():
    D = 12
    pool = Gaussian(np.ones(D)).pool(2 * D, seed=1)
    train = white_task(D, pool, D, 0.0)
    test = white_task(D, Gaussian(np.ones(D)), D, 0.0)
    P = 4 * D**2
    maps = [ridge_fit(sample_summaries(train, P, s, balanced=True)) for s in range(60)]
    plain = deterministic_equivalent(train, test, P)
    repaired = deterministic_equivalent(train, test, P, repaired=True)
    for task, name in ((train, "train_loss"), (test, "test_loss")):
        losses = readout_loss(task, maps)
        standard_error = losses.std() / np.sqrt(len(losses))
        before = losses.mean() - getattr(plain, name)
        after = losses.mean() - getattr(repaired, name)
        assert before > 5 * standard_error
        assert abs(after) < 0.4 * before


def test_the_repair_has_the_sandwich_as_its_limit():
    task = Task([4, 3, 2, 1], trace=1, context_length=31)
    P = 1e7
    repaired = deterministic_equivalent(task, task, P, repaired=True)
    plain = deterministic_equivalent(task, task, P)
    least = deterministic_equivalent(task, task, 1e15).train_loss
    assert P * (repaired.train_loss - least) == pytest.approx(
        sandwich(task).excess, rel=1e-4
    )
    assert P * (plain.train_loss - least) == pytest.approx(
        sandwich(task).homoscedastic, rel=1e-4
    )
    assert repaired.test_loss == pytest.approx(repaired.train_loss, rel=1e-12)


def test_pools_are_averaged_with_their_spread():
    task = white_task(6, Sphere(6), 12)
    settings = {"tasks": 3, "pools": 5, "seed": 7}
    mean = deterministic_equivalent(task, task, 100, **settings)
    single = [
        deterministic_equivalent(
            with_teachers(task, Sphere(6).pool(3, seed)), task, 100
        )
        for seed in range(7, 12)
    ]
    gaps = [one.gap for one in single]
    assert mean.gap == pytest.approx(np.mean(gaps), rel=1e-13)
    assert mean.gap_spread == pytest.approx(np.std(gaps, ddof=1), rel=1e-12)
    assert (mean.pools, mean.map) == (5, None)
    assert single[0].map.shape == (6, 6)
    assert "±" in repr(mean)
    assert "±" not in repr(single[0])
    assert mean.to_dict()["map"] is None
    assert np.shape(single[0].to_dict()["map"]) == (6, 6)
    one = deterministic_equivalent(task, task, 100, tasks=3, pools=1, seed=7)
    assert one.gap == single[0].gap


def test_the_mean_map_is_the_mean_of_the_fits():
    task = white_task(4, Sphere(4).pool(3, seed=2), 8)
    fits = [ridge_fit(sample_summaries(task, 160, seed)) for seed in range(200)]
    found = deterministic_equivalent(task, task, 160)
    standard_error = np.std(fits, axis=0) / np.sqrt(len(fits))
    # The bias of the fits is O(1/P), a tenth of their scatter.
    assert np.max(np.abs(np.mean(fits, axis=0) - found.map) / standard_error) < 5


def test_singular_laws_of_tasks_and_of_inputs_are_taken():
    few = white_task(8, Sphere(8).pool(2, seed=0), 30)
    assert np.isfinite(deterministic_equivalent(few, few, 200).train_loss)
    flat = Task([1, 1, 0], context_length=5, noise_variance=0.1)
    plane = Task([1, 1], context_length=5, noise_variance=0.1)
    # Directions on which x does not vary make no features.
    in_space = deterministic_equivalent(flat, flat, 9)
    in_plane = deterministic_equivalent(plane, plane, 9)
    assert in_space.train_loss == pytest.approx(in_plane.train_loss, rel=1e-13)
    below = [
        deterministic_equivalent(task, task, 3).test_loss for task in (flat, plane)
    ]
    assert below[0] == pytest.approx(below[1], rel=1e-13)


def test_tasks_that_are_zero_leave_nothing_to_learn():
    task = Task([1, 1], teachers=Pool([[0, 0]]), context_length=5, noise_variance=0.3)
    found = deterministic_equivalent(task, task, 10)
    assert found.train_loss == pytest.approx(0.3 / (1 - 4 / 10))
    noiseless = Task([1, 1], teachers=Pool([[0, 0]]), context_length=5)
    for ridge in (0.0, 0.1):
        assert deterministic_equivalent(noiseless, noiseless, 10, ridge=ridge).gap == 0


@pytest.mark.slow
def test_a_hundred_pools_of_dimension_64_take_less_than_a_minute():
    task = white_task(64, Sphere(64), 640, 0.01)
    start = time.process_time()
    deterministic_equivalent(task, task, 41600, ridge=1e-12, label_row=True, tasks=128)
    assert time.process_time() - start < 60


TASK = white_task(4, Sphere(4), 8)
FEW = white_task(4, Sphere(4).pool(3), 8)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((TASK, TASK, 0.5), {}, "sequences must be at least 1, not 0.5"),
        ((TASK, TASK, 0), {}, "sequences must be positive"),
        ((TASK, TASK, np.nan), {}, "sequences must be positive"),
        (
            (FEW, TASK, 2),
            {},
            "3 tasks need at least as many sequences, and there are 2",
        ),
        ((TASK, TASK, 10), {"tasks": 11}, "11 tasks need at least as many sequences"),
        ((TASK, TASK, 16), {}, "pole at as many sequences as features, 16"),
        ((TASK, TASK, 20), {"label_row": True}, "as many sequences as features, 20"),
        ((TASK, TASK, 9), {"ridge": -1}, "ridge must be zero or more"),
        ((TASK, TASK, 9), {"label_weight": 2.0}, "weighs the label row"),
        ((TASK, TASK, 9), {"tasks": 0}, "tasks must be a whole number"),
        ((TASK, TASK, 9), {"tasks": 2, "pools": 0}, "pools must be a whole number"),
        (
            (TASK, TASK, 9),
            {"label_row": True, "repaired": True},
            "without the label row",
        ),
        ((TASK, white_task(5, Sphere(5), 8), 9), {}, "D = 4, the test task D = 5"),
        (
            (Task([1, 0], context_length=3), Task([1, 0], context_length=3), 9),
            {"repaired": True},
            "is singular, and its inverse is needed",
        ),
    ],
)
def test_what_has_no_equivalent_is_refused(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        deterministic_equivalent(*arguments, **settings)


@pytest.mark.parametrize("ridge", [0.0, 1e-17, 1e-9])
@pytest.mark.parametrize("distance", [-1e-6, 1e-6])
def test_no_digits_are_lost_next_to_the_pole(ridge, distance):
    # White inputs and tasks: all 16 features have one variance e, so that ξ is the root of a quadratic.
    e = (readout_moments(TASK).A * 0.25)[0, 0]
    P = 16 * (1 + distance)
    with mpmath.workdps(50):
        # ξ² + ξ (e (1 − 16/P) − ridge) − ridge e = 0.
        b = e * (1 - 16 / mpmath.mpf(P)) - ridge
        ξ = (mpmath.sqrt(b**2 + 4 * mpmath.mpf(ridge) * e) - b) / 2
        γ = 16 / mpmath.mpf(P) * (e / (e + ξ)) ** 2
        known = [float(ξ), float(1 / (1 - γ))]
    found = deterministic_equivalent(TASK, TASK, P, ridge=ridge)
    assert found.xi == pytest.approx(known[0], rel=1e-8, abs=1e-300)
    bias = float(readout_moments(TASK).loss(found.map))
    assert found.train_loss / bias == pytest.approx(known[1], rel=1e-8)


@pytest.mark.parametrize("scale", [1e-300, 1e-100, 1e100, 1e300])
@pytest.mark.parametrize("label_row", [False, True])
def test_what_no_double_holds_is_refused(scale, label_row):
    task = Task([scale] * 3, context_length=5)
    with pytest.raises(ValueError, match=r"too (large|small).* for doubles"):
        deterministic_equivalent(task, task, 40, label_row=label_row)


def test_features_that_rounding_decides_are_refused_unless_a_ridge_hides_them():
    task = white_task(4, Sphere(4).pool(2, seed=1), 10**14)
    with pytest.raises(ValueError, match="do not resolve the least of them"):
        deterministic_equivalent(task, task, 40)
    assert deterministic_equivalent(task, task, 40, ridge=1e-9).train_loss < 0.13
    with pytest.raises(ValueError, match="a label_weight nearer to 1"):
        deterministic_equivalent(FEW, FEW, 40, label_row=True, label_weight=1e100)


def test_the_order_of_the_tasks_and_sequences_is_said():
    with pytest.raises(TypeError, match="call deterministic_equivalent"):
        deterministic_equivalent(TASK, 100, TASK)


def test_with_few_tasks_the_label_row_is_what_the_closed_form_misses():
    D, k, N = 32, 6, 320
    P = 10 * D * (D + 1)
    law = white_task(D, Sphere(D), N, noise=0.01)
    limit = errors(tau=10, alpha=10, kappa=k / D, noise=0.01)
    settings = {"tasks": k, "pools": 10}
    without = deterministic_equivalent(law, law, P, **settings)
    paper = {"label_row": True, "label_weight": D**2}
    with_row = deterministic_equivalent(law, law, P, **settings, **paper)
    assert without.gap == pytest.approx(limit.gap, rel=0.005)
    # The row learns the mean of the training tasks, whose square is D/k.
    assert with_row.test_loss - without.test_loss == pytest.approx(1 / k, rel=0.2)
    assert with_row.train_loss < without.train_loss
    # Which of the two it is stands in the result.
    assert with_row.to_dict()["label_row"] is True
    assert "none, unlike the paper's" in repr(without)
    assert "none" not in repr(with_row)


def test_a_label_row_that_repeats_the_labels_is_refused_at_its_pole():
    # Of one task without noise s = wᵀβ, so that 4 of the 6 features vary.
    one = Task([1, 0.5], teachers=Pool([[1, 0.5]]), context_length=3)
    below = deterministic_equivalent(one, one, 3, label_row=True)
    assert below.test_loss == pytest.approx(2.39219, rel=1e-5)
    with pytest.raises(ValueError, match="do not resolve"):
        deterministic_equivalent(one, one, 4, label_row=True)
