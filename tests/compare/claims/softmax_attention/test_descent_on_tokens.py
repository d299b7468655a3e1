"""Descent on tokens, with fresh prompts in every step, is descent on the exact loss of the family."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention.setting import (
    family_weights,
    softmax_model,
    white_task,
)
from attndyn.simulate import train
from attndyn.theory.softmax_attention import (
    approximate_loss,
    exact_loss,
    head_scalars,
)

D = 3
TASK = white_task(D, 12)
OMEGA, MU = np.array([0.1, -0.12]), np.array([0.1, -0.08])
RATE, STEPS, RECORDED = 0.1, 40, [20, 40]
RUNS, PROMPTS = 8, 2000
"""Gradient noise shifts the mean of the runs by about η/P, which is small beside their standard error here."""


def descent(gradient_at):
    """ω and μ (recorded, 2H) of steps on a loss of ω and μ: ω_h stands in D entries of B_h."""
    ω, μ, states = OMEGA, MU, []
    for step in range(1, STEPS + 1):
        gradient = gradient_at(ω, μ).gradient
        ω, μ = ω - RATE * gradient.omega / D, μ - RATE * gradient.mu
        if step in RECORDED:
            states.append(np.concatenate([ω, μ]))
    return np.array(states)


def runs_on_tokens(query_token):
    """ω and μ (runs, recorded, 2H) of all entries of B and a, trained on fresh prompts."""
    model = softmax_model(2, query_token)
    start = family_weights(OMEGA, MU, D)
    runs = []
    for seed in range(RUNS):
        run = train(
            model,
            TASK,
            start,
            batch=PROMPTS,
            seed=seed,
            learning_rate=RATE,
            steps=STEPS,
            record=RECORDED,
        )
        ω, μ = head_scalars(model, run)
        runs.append(np.concatenate([ω, μ], axis=1)[-len(RECORDED) :])
    return np.array(runs)


def scores(runs, predicted):
    """By how many standard errors the mean of the runs is off."""
    error = runs.std(axis=0, ddof=1) / np.sqrt(len(runs))
    return (runs.mean(axis=0) - predicted) / error


@pytest.mark.parametrize("query_token", [False, True])
def test_fresh_prompts_follow_the_exact_loss(query_token):
    runs = runs_on_tokens(query_token)

    def exact(reads_query):
        return descent(
            lambda ω, μ: exact_loss(
                TASK, ω, μ, query_token=reads_query, nodes=8, gradient=True
            )
        )

    predicted = exact(query_token)
    assert np.max(np.abs(runs.mean(axis=0) / predicted - 1)) < 0.01
    # Eight numbers of seven degrees of freedom: chance lets one be above 5 in 80 cases.
    assert np.max(np.abs(scores(runs, predicted))) < 5
    # The controls: the other convention, and the approximate loss.
    assert np.max(np.abs(scores(runs, exact(not query_token)))) > 20
    approximate = descent(lambda ω, μ: approximate_loss(TASK, ω, μ, gradient=True))
    assert np.max(np.abs(scores(runs, approximate))) > 20
