"""What claims on softmax heads share: closed data sets, the symmetric family, and the judge of sampled numbers."""

import numpy as np
import pytest

from attndyn.compare.claims.softmax_attention.setting import (
    closed_orbit,
    family_weights,
    mean_diagonals,
    noise_share,
    sampled_losses,
    softmax_model,
    white_task,
)
from attndyn.compare.evidence.seed_judges import within_standard_errors
from attndyn.simulate import predict, sample


def test_a_closed_orbit_has_every_image_and_the_moments_of_the_population():
    tokens = sample(white_task(3, 4), 2, seed=1).tokens
    closed = closed_orbit(tokens).tokens
    assert closed.shape == (2 * 48, 5, 4)
    assert len(np.unique(closed.reshape(len(closed), -1), axis=0)) == len(closed)
    x, y = closed[..., :-1], closed[..., -1]
    np.testing.assert_allclose(x.mean(axis=0), 0, atol=1e-15)
    second = np.einsum("pni,pnj->ij", x, x)
    np.testing.assert_allclose(second, second[0, 0] * np.eye(3), atol=1e-12)
    np.testing.assert_allclose(np.einsum("pni,pn->i", x, y), 0, atol=1e-12)


def test_heads_of_the_family_predict_as_their_formula():
    task, ω, μ = white_task(2, 3), [0.7, -0.2], [1.1, -0.4]
    tokens = sample(task, 4, seed=2).tokens
    x, y, query = tokens[:, :-1, :-1], tokens[:, :-1, -1], tokens[:, -1, :-1]
    output = np.zeros(len(tokens))
    for one_ω, one_μ in zip(ω, μ, strict=True):
        scores = np.exp(one_ω * np.einsum("pni,pi->pn", x, query))
        weights = scores / scores.sum(axis=1, keepdims=True)
        output += one_μ * np.sum(weights * y, axis=1)
    weights = family_weights(ω, μ, 2)
    np.testing.assert_allclose(predict(softmax_model(2), weights, tokens), output)
    np.testing.assert_allclose(mean_diagonals(weights["key_query"]), ω)
    assert noise_share(task) == pytest.approx(1.1 / 3)


def test_sampled_gradients_are_those_of_the_sampled_loss():
    task, seeds = white_task(2, 3), [5]
    ω, μ, step = np.array([0.4]), np.array([0.9]), 1e-6

    def loss(ω, μ):
        return sampled_losses(task, (ω, μ), 50, seeds, False)[0]

    by_ω = (loss(ω + step, μ)[0] - loss(ω - step, μ)[0]) / (2 * step)
    by_μ = (loss(ω, μ + step)[0] - loss(ω, μ - step)[0]) / (2 * step)
    np.testing.assert_allclose(loss(ω, μ)[1:], [by_ω, by_μ], rtol=1e-7)


def test_means_are_judged_by_their_standard_errors():
    samples = np.random.default_rng(0).standard_normal((400, 3))
    right, wrong = np.zeros(3), np.array([0.0, 0.0, 0.5])
    assert within_standard_errors([right], [samples]).agrees
    assert not within_standard_errors([wrong], [samples]).agrees
    # One number that is far off is not hidden among many.
    assert not within_standard_errors([right, wrong], [samples, samples]).agrees
