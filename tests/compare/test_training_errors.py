"""Errors along the training of merged attention on a pool, against its simulation and risks that share no code."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.compare import effective_map, population_statistics
from attndyn.compare.training_errors import errors_along_training
from attndyn.simulate import exact_risk, flow
from attndyn.teachers import Gaussian, Sphere
from attndyn.theory.asymptotics import errors

INPUTS = {"noise_variance": 0.1, "context_length": 8}
COVARIANCE = [[1, 0.3, 0], [0.3, 0.6, 0.1], [0, 0.1, 0.2]]


def pool_task(signs=True):
    pool = Sphere(3).pool(2, seed=1, signs=signs)
    return Task(covariance=COVARIANCE, teachers=pool, **INPUTS)


def test_maps_and_losses_are_those_of_gradient_flow():
    task = pool_task()
    new = Task(covariance=COVARIANCE, teachers=Sphere(3), **INPUTS)
    times = np.array([0.0, 5, 10, 20, 60])
    result = errors_along_training(task, new, times, 0.01)
    M0 = result.maps[0] / 0.01
    weights = {
        "value": np.array([[0, 0, 0, 0.01]]),
        "key_query": np.zeros((1, 4, 4)),
    }
    weights["key_query"][0, :3, :3] = M0
    model = Merged(heads=1)
    run = flow(model, population_statistics(task, model), weights, times)
    maps = effective_map(model, run)
    np.testing.assert_allclose(result.maps, maps, atol=2e-8)
    assert result.idg == pytest.approx(run.loss, abs=2e-8)
    assert result.idg == pytest.approx(exact_risk(task, maps), abs=2e-8)
    assert result.icl == pytest.approx(exact_risk(new, maps), abs=2e-8)


def test_few_tasks_leave_a_gap_that_more_tasks_close():
    """Means over four pools at D = 16, N = 64; the values for unlimited prompts as D → ∞ are O(1/D) away."""
    D, found = 16, {}
    inputs = {"eigenvalues": [1 / D] * D, "context_length": 64, "noise_variance": 0.1}
    new = Task(teachers=Sphere(D), **inputs)
    for k in (8, 32, 128):
        ends = []
        for seed in range(4):
            task = Task(teachers=Sphere(D).pool(k, seed, signs=True), **inputs)
            result = errors_along_training(task, new, [0, 1e3, 1e5], 1e-3)
            ends.append([result.icl[-1], result.idg[-1]])
        found[k] = np.mean(ends, axis=0)
        limit = errors(tau=np.inf, alpha=4, kappa=k / D, noise=0.1)
        assert found[k] == pytest.approx([limit.icl, limit.idg], rel=1.3 / D)
    gaps = [icl - idg for icl, idg in found.values()]
    assert np.all(np.diff(gaps) < 0)
    assert gaps[0] > 10 * gaps[-1]


def test_what_it_does_not_cover_is_refused():
    task = pool_task()
    with pytest.raises(ValueError, match="start must be"):
        errors_along_training(task, task, [0, 1], 0)
    other = Task(eigenvalues=[1, 1], **INPUTS)
    with pytest.raises(ValueError, match="D of the training tasks, 3, not 2"):
        errors_along_training(task, other, [0, 1], 0.1)
    lopsided = pool_task(signs=False)
    with pytest.raises(ValueError, match="restricted block"):
        errors_along_training(lopsided, task, [0, 1], 0.1)
    with pytest.raises(ValueError, match="flow_time"):
        errors_along_training(task, task, [0, -1], 0.1)


def test_it_shows_its_least_losses():
    task = Task(
        teachers=Gaussian([1, 1]).pool(1, seed=0, signs=True),
        eigenvalues=[1, 1],
        **INPUTS,
    )
    result = errors_along_training(task, Task([1, 1], **INPUTS), [0, 50], 0.1)
    assert "least" in repr(result)
    assert np.shape(result.to_dict()["maps"]) == (2, 2, 2)
