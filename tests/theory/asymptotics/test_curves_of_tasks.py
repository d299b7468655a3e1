"""Learning curves at finite size: their limits in time and in size, and sampled flows."""

import numpy as np
import pytest

from attndyn import Task
from attndyn.simulate import exact_risk, readout_flow, sample_summaries
from attndyn.teachers import Gaussian, Pool, Sphere
from attndyn.theory.asymptotics import (
    deterministic_equivalent,
    learning_curve,
    learning_curve_of_tasks,
)


def white_task(D, law, N, noise=0.1):
    return Task([1 / D] * D, teachers=law, context_length=N, noise_variance=noise)


TRAIN = Task(
    covariance=[[1, 0.3, 0], [0.3, 0.6, 0.1], [0, 0.1, 0.2]],
    teachers=Pool([[1, 0, 0.5], [-1, 2, 0]]),
    context_length=4,
    noise_variance=0.2,
)
TEST = Task(
    covariance=[[0.5, 0, 0.1], [0, 1, 0], [0.1, 0, 0.3]],
    teachers=Gaussian([1, 0, 2]),
    context_length=[2, 9],
    noise_variance=0.1,
    query_noise_variance=0.4,
)


@pytest.mark.parametrize("sequences", [5, 7.5, 40])
@pytest.mark.parametrize("row", [{}, {"label_row": True, "label_weight": 9.0}])
def test_after_a_long_time_it_is_the_equivalent_of_least_squares(sequences, row):
    curve = learning_curve_of_tasks(TRAIN, TEST, sequences, [0, 1e12], **row)
    end = deterministic_equivalent(TRAIN, TEST, sequences, **row)
    assert curve.train_loss[-1] == pytest.approx(end.train_loss, rel=1e-8)
    assert curve.test_loss[-1] == pytest.approx(end.test_loss, rel=1e-8)
    nothing = np.zeros((3, 3))
    assert curve.train_loss[0] == pytest.approx(exact_risk(TRAIN, nothing))
    assert curve.test_loss[0] == pytest.approx(exact_risk(TEST, nothing))


def test_as_many_sequences_as_features_are_no_pole():
    curve = learning_curve_of_tasks(TRAIN, TEST, 9, [1.0, 100.0])
    beside = [
        learning_curve_of_tasks(TRAIN, TEST, 9 + shift, [1.0, 100.0]).test_loss
        for shift in (-1e-6, 1e-6)
    ]
    assert curve.test_loss == pytest.approx(np.mean(beside, axis=0), rel=1e-9)


def test_with_unlimited_sequences_it_is_the_flow_of_the_population_loss():
    """Also an independent check of the rule: this flow has no pairs."""
    times = np.array([0.0, 0.5, 3.0, 40.0])
    curve = learning_curve_of_tasks(TRAIN, TEST, 1e15, times)
    many = readout_flow_of_population(TRAIN, times)
    assert curve.train_loss == pytest.approx(exact_risk(TRAIN, many), rel=1e-8)
    assert curve.test_loss == pytest.approx(exact_risk(TEST, many), rel=1e-8)


def readout_flow_of_population(task, times):
    """M(t) of dM/dt = B − A M Λ, by the matrix exponential of the whole system."""
    from scipy.linalg import expm

    from attndyn import Merged
    from attndyn.theory import population

    moments = population(task, Merged(heads=1))
    S = np.kron(moments.A, moments.Lambda)
    inverse = np.linalg.inv(S)
    b = moments.B.ravel()
    return np.array(
        [(inverse @ (np.eye(9) - expm(-S * t)) @ b).reshape(3, 3) for t in times]
    )


def test_large_sizes_reach_the_curve_of_the_limit():
    θ = np.array([0.1, 1, 10, 100])
    limit = learning_curve(θ, tau=1.25, alpha=4, kappa=0.5, noise=0.05)
    gaps = []
    for d in (12, 24, 48):
        task = white_task(d, Sphere(d), 4 * d, 0.05)
        curve = learning_curve_of_tasks(
            task, task, 1.25 * d * (d + 1), θ * d**3, label_row=True,
            label_weight=d**2, tasks=d // 2, pools=6,
        )  # fmt: skip
        assert np.max(curve.error) < 1e-9
        gaps.append(np.abs(curve.test_loss - limit.icl))
    ratios = np.array(gaps[:-1]) / np.array(gaps[1:])
    # Up to θ = 1 the scatter of six pools is as large as the distance; later an error of O(1/d) halves.
    assert np.all((ratios[:, 2:] > 1.6) & (ratios[:, 2:] < 2.6)), ratios


def test_sampled_flows_have_these_losses():
    D, P = 14, 1000
    train = Task(
        1 / np.arange(1, D + 1),
        teacher_covariance=np.diag(np.arange(1, D + 1) ** 0.5),
        context_length=2 * D,
        noise_variance=0.1,
    )
    test = Task(np.ones(D) / 3, context_length=9, noise_variance=0.5)
    times = np.array([1.0, 10.0, 100.0])
    maps = [readout_flow(sample_summaries(train, P, s), times) for s in range(24)]
    curve = learning_curve_of_tasks(train, test, P, times)
    other = learning_curve_of_tasks(train, test, 2 * P, times)
    for task, name in ((train, "train_loss"), (test, "test_loss")):
        mean = np.mean([exact_risk(task, each) for each in maps], axis=0)
        # Heavy tails of the features make 2 % at this size, as of the ridge solution; twice the data is far off.
        assert mean == pytest.approx(getattr(curve, name), rel=0.03)
        assert np.max(np.abs(mean / getattr(other, name) - 1)) > 0.06


def test_pools_are_averaged_with_their_spread():
    task = white_task(6, Sphere(6), 12)
    times = [10.0, 1e3]
    mean = learning_curve_of_tasks(task, task, 100, times, tasks=3, pools=4, seed=7)
    single = [
        learning_curve_of_tasks(
            white_task(6, Sphere(6).pool(3, seed), 12), task, 100, times
        )
        for seed in range(7, 11)
    ]
    losses = np.array([one.test_loss for one in single])
    assert mean.test_loss == pytest.approx(losses.mean(axis=0), rel=1e-13)
    assert mean.test_spread == pytest.approx(losses.std(axis=0, ddof=1), rel=1e-12)
    assert (mean.pools, single[0].pools) == (4, 1)
    assert np.all(single[0].test_spread == 0)
    assert "pools of tasks" in repr(mean)
    assert mean.to_dict()["sequences"] == 100


def test_tasks_that_are_zero_leave_nothing_to_learn():
    task = Task(
        [1, 1], teachers=Pool([[0, 0]]), context_length=5, query_noise_variance=0.3
    )
    curve = learning_curve_of_tasks(task, task, 10, [0, 7])
    assert np.all(curve.train_loss == 0.3)


@pytest.mark.parametrize(
    ("arguments", "settings", "message"),
    [
        ((TRAIN, TEST, 0.5, [1]), {}, "sequences must be at least 1"),
        ((TRAIN, TEST, 1, [1]), {}, "2 tasks need at least as many sequences"),
        ((TRAIN, TEST, 9, [-1]), {}, "flow_time"),
        ((TRAIN, TEST, 9, [np.inf]), {}, "flow_time"),
        ((TRAIN, TEST, 9, [1]), {"nodes": 17}, "even number"),
        ((TRAIN, TEST, 9, [1]), {"label_weight": 2.0}, "label row"),
        ((TRAIN, white_task(5, Sphere(5), 8), 9, [1]), {}, "D = 3, the test task"),
    ],
)
def test_what_it_does_not_cover_is_refused(arguments, settings, message):
    with pytest.raises(ValueError, match=message):
        learning_curve_of_tasks(*arguments, **settings)


def test_the_order_of_the_tasks_and_sequences_is_said():
    with pytest.raises(TypeError, match="call learning_curve_of_tasks"):
        learning_curve_of_tasks(TRAIN, 100, TEST, [1])
