"""Exact moments against the statistics of sampled prompts, for tasks with numbers of every kind.

Means and standard errors come from independent batches. The limit is that of four standard errors for one normal
number, corrected for how many numbers are compared (Bonferroni) and how few batches estimate the error (Student).
"""

from dataclasses import replace

import numpy as np
import pytest
import sympy as sp
from scipy.stats import norm, t

from attndyn import Merged, Task
from attndyn.simulate import sample, statistics
from attndyn.theory import population
from attndyn.theory.symbolic import moments, rational_task

BATCHES, SEQUENCES = 40, 2_000
MODELS = {name: Merged(1, divisor=name) for name in ("context", "tokens", "none")}


def random_task(seed, dimension=2, **settings):
    """Λ and Ω with eigenvectors of their own, in numbers that are neither round nor small."""
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(2, dimension, dimension)) / 2
    Λ, Ω = (factor @ factor.T + np.eye(dimension) / 2 for factor in factors)
    return Task(covariance=Λ, teacher_covariance=Ω, **settings)


TASKS = {
    "general": (random_task(0, context_length=3), "context"),
    "noise": (random_task(1, context_length=2, noise_variance=0.7), "tokens"),
    "mixture": (
        random_task(
            2, context_length=4, fixed_teacher=[1.2, -0.7], in_context_fraction=0.3
        ),
        "context",
    ),
    "mixture, noise": (
        random_task(
            3,
            context_length=2,
            fixed_teacher=[-0.4, 1.1],
            in_context_fraction=0.6,
            noise_variance=0.4,
        ),
        "none",
    ),
    "every length": (
        random_task(4, context_length="1..3", noise_variance=0.3),
        "tokens",
    ),
}


def numbers(c, b, S):
    """c, b and the upper half of S in one vector."""
    S = np.array(S, dtype=float)
    return np.concatenate(
        [[float(c)], np.array(b, dtype=float).ravel(), S[np.triu_indices(len(S))]]
    )


def batches(task, model):
    """The same numbers of independent samples, one row a batch."""
    each = (
        statistics(sample(task, SEQUENCES, seed=seed), model) for seed in range(BATCHES)
    )
    return np.array([numbers(batch.c, batch.b, batch.S) for batch in each])


def excess(rows, claimed):
    """Largest distance from the mean in units of the limit."""
    limit = t.isf(norm.sf(4) / len(claimed), BATCHES - 1)
    standard = rows.std(axis=0, ddof=1) / np.sqrt(BATCHES)
    return float(np.max(np.abs(rows.mean(axis=0) - claimed) / standard)) / limit


def exact(task, divisor):
    found = moments(task, divisor)
    return numbers(found.c, found.b, found.S)


def wrong_tasks(task, divisor):
    right = rational_task(task)
    claims = {
        "N + 1 for N": (
            replace(right, context_lengths=tuple(n + 1 for n in right.context_lengths)),
            divisor,
        ),
        "other divisor": (right, "tokens" if divisor == "context" else "context"),
        "Ω and Λ exchanged": (
            replace(
                right,
                covariance=right.teacher_covariance,
                teacher_covariance=right.covariance,
            ),
            divisor,
        ),
        "white teachers": (replace(right, teacher_covariance=sp.eye(2)), divisor),
    }
    if task.noise_variance:
        claims["no noise"] = replace(right, noise_variance=sp.Integer(0)), divisor
    if task.fixed_teacher is not None:
        claims["no fixed teacher"] = (
            replace(right, in_context_fraction=sp.Integer(1)),
            divisor,
        )
        claims["other fraction"] = (
            replace(right, in_context_fraction=1 - right.in_context_fraction),
            divisor,
        )
    return claims


@pytest.mark.parametrize("name", TASKS)
def test_exact_moments_are_those_of_samples(name):
    task, divisor = TASKS[name]
    rows = batches(task, MODELS[divisor])
    assert rows.shape == (BATCHES, 1 + 12 + 78)
    assert excess(rows, exact(rational_task(task), divisor)) < 1
    near = {
        kind: excess(rows, exact(*claim))
        for kind, claim in wrong_tasks(task, divisor).items()
    }
    assert [kind for kind, distance in near.items() if distance < 1.5] == []


def restricted(task, model):
    """c, B and A of the numerical theory as c, b and S of the restricted block."""
    theirs = population(task, model)
    S = np.kron(theirs.A, theirs.Lambda)
    return numbers(theirs.c, theirs.B, S)


@pytest.mark.parametrize(
    "name", [name for name, (task, _) in TASKS.items() if task.fixed_teacher is None]
)
def test_exact_moments_are_those_of_the_numerical_theory(name):
    task, divisor = TASKS[name]
    ours = moments(rational_task(task), divisor, "restricted")
    theirs = restricted(task, MODELS[divisor])
    assert np.allclose(numbers(ours.c, ours.b, ours.S), theirs, rtol=1e-13, atol=1e-15)
    for kind, (wrong, other) in wrong_tasks(task, divisor).items():
        found = moments(wrong, other, "restricted")
        assert not np.allclose(numbers(found.c, found.b, found.S), theirs, rtol=1e-4), (
            kind
        )
