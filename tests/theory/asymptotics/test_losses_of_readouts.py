"""Losses of read-outs against moments of all features, the paper's form, and sampled prompts."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.simulate import exact_risk, sample
from attndyn.teachers import Gaussian, Mixture, Pool, Sphere
from attndyn.theory import feature_moments, population
from attndyn.theory.asymptotics import readout, readout_loss, readout_moments

D = 3
TASK_LAWS = [
    Sphere(D),
    Sphere(D).pool(2, seed=1),
    Pool([[1, 0, 0.5]]),
    Pool(np.eye(D) + 0.2, weights=[1, 2, 3]),
    Gaussian([1, 0.5, 0]),
    Gaussian([1, 0.5, 0.1], [0.3, -1, 0]),
    Mixture((0.4, Sphere(D)), (0.6, Pool([[1, 1, 1]]))),
]


def task_of(law, **changes):
    root = np.random.default_rng(5).normal(size=(D, D))
    settings = {"context_length": 4, "noise_variance": 0.3} | changes
    return Task(covariance=root @ root.T, teachers=law, **settings)


def features_of(M, moments):
    """M (E, D) as a map of all features: the rows (i, y) and (y, y)."""
    full = np.zeros(len(moments.indices))
    for position, (i, j, d) in enumerate(moments.indices):
        if j == D and i < len(M):
            full[position] = M[i, d]
    return full


@pytest.mark.parametrize("law", TASK_LAWS, ids=lambda law: type(law).__name__)
@pytest.mark.parametrize("lengths", [4, 1, "1..3", "0..2", {2: 0.3, 7: 0.7}])
def test_the_loss_is_that_of_the_moments_of_all_features(law, lengths):
    task = task_of(law, context_length=lengths, query_noise_variance=0.1)
    moments = feature_moments(task, Merged(heads=1, query_token=False))
    for rows in (D, D + 1):
        M = np.random.default_rng(rows).normal(size=(rows, D))
        known = moments.loss(features_of(M, moments))
        assert readout_loss(task, M) == pytest.approx(known, rel=1e-11)
        assert exact_risk(task, M) == pytest.approx(known, rel=1e-11)


def test_the_restricted_block_is_the_population_loss_for_inputs_of_any_law():
    M = np.random.default_rng(0).normal(size=(D, D))
    for inputs in ("gaussian", "uniform", "rademacher", "sphere"):
        task = task_of(Sphere(D), inputs=inputs, input_mean=[1, 0, -0.5])
        known = population(task, Merged(heads=1)).loss(M)
        assert readout_loss(task, M) == pytest.approx(known, rel=1e-12)


def paper_risk(Γ, tasks, N, noise, second=None):
    """e(Γ) = v̄ − (2/d) tr(ΓA) + (1/d) tr(ΓBΓᵀ) as the paper writes it, for tasks w (k, d)."""
    d = tasks.shape[1]
    v = noise + np.sum(tasks**2, axis=1) / d
    ww = np.einsum("ka,kb->kab", tasks, tasks)
    A = np.vstack([ww.mean(axis=0), np.mean(v[:, None] * tasks, axis=0)])
    B = np.empty((d + 1, d + 1))
    B[:d, :d] = d / N * v.mean() * np.eye(d) + (1 + 1 / N) * ww.mean(axis=0)
    B[d, :d] = B[:d, d] = (1 + 2 / N) * np.mean(v[:, None] * tasks, axis=0)
    B[d, d] = (1 + 2 / N) * np.mean(v**2) if second is None else second
    return v.mean() - 2 / d * np.trace(Γ @ A) + np.trace(Γ @ B @ Γ.T) / d


def test_the_loss_is_the_paper_s_form_of_it():
    d, N, noise = 6, 9, 0.3
    tasks = Sphere(d).pool(4, seed=2)
    task = Task([1 / d] * d, teachers=tasks, context_length=N, noise_variance=noise)
    Γ = np.random.default_rng(3).normal(size=(d, d + 1))
    known = paper_risk(Γ, tasks.members[:, 0], N, noise)
    M = readout(gamma=Γ).map
    assert readout_loss(task, M) == pytest.approx(known, rel=1e-13)
    # 1 + ρ² in place of (1 + ρ)²(1 + 2/N), as it stands in public code.
    wrong = paper_risk(Γ, tasks.members[:, 0], N, noise, second=1 + noise**2)
    assert readout_loss(task, M) != pytest.approx(wrong, rel=0.01)


@pytest.mark.parametrize("law", [Sphere(D), Sphere(D).pool(2, seed=4)])
def test_sampled_prompts_have_the_loss(law):
    task = task_of(law)
    M = 0.1 * np.random.default_rng(8).normal(size=(D + 1, D))
    errors = []
    for tokens, targets in sample(task, 60_000, seed=1).chunks():
        x, y = tokens[:, :-1, :-1], tokens[:, :-1, -1]
        h = np.column_stack([np.einsum("pn,pnd->pd", y, x), np.sum(y**2, axis=1)])
        predicted = np.einsum("pi,ij,pj->p", h / 4, M, tokens[:, -1, :-1])
        errors.append((targets[:, -1, 0] - predicted) ** 2)
    squares = np.concatenate(errors)
    standard_error = squares.std() / np.sqrt(len(squares))
    assert abs(squares.mean() - readout_loss(task, M)) < 4 * standard_error


def test_maps_may_have_leading_axes():
    task = task_of(Sphere(D))
    maps = np.random.default_rng(0).normal(size=(2, 5, D + 1, D))
    losses = readout_loss(task, maps)
    assert losses.shape == (2, 5)
    assert losses[1, 3] == pytest.approx(readout_loss(task, maps[1, 3]))


def test_moments_show_themselves():
    moments = readout_moments(task_of(Sphere(D)), label_row=True)
    assert "loss at M = 0" in repr(moments)
    assert np.shape(moments.to_dict()["A"]) == (D + 1, D + 1)


def test_what_has_no_known_loss_is_refused():
    with pytest.raises(ValueError, match="the task has 2 outputs"):
        readout_moments(
            Task([1, 1], teachers=Pool(np.ones((1, 2, 2))), context_length=3)
        )
    with pytest.raises(ValueError, match="the label row is known for Gaussian inputs"):
        readout_moments(task_of(Sphere(D), inputs="uniform"), label_row=True)
    with pytest.raises(ValueError, match="label_row must be True or False"):
        readout_moments(task_of(Sphere(D)), label_row=1)
    with pytest.raises(ValueError, match=r"M must have shape \(\.\.\., 3, 3\)"):
        readout_loss(task_of(Sphere(D)), np.eye(2))
    with pytest.raises(TypeError, match=r"call readout_loss\(task, M\)"):
        readout_loss(np.eye(3), task_of(Sphere(D)))
