"""The symmetric family on data that are closed under its symmetries: no sampling error, and its own loss."""

import numpy as np
import pytest

from attndyn import Factorised, Merged, Task
from attndyn.compare.claims.softmax_attention.setting import (
    closed_orbit,
    family_weights,
)
from attndyn.simulate import objective, predict, prompts_from_tokens, sample
from attndyn.theory.softmax_attention import head_scalars

D, N = 3, 4
OMEGA, MU = np.array([0.3, -0.2]), np.array([1.2, -1.5])
TASK = Task(
    [1] * D, teacher_covariance=np.eye(D) / D, noise_variance=0.1, context_length=N
)
TOKENS = sample(TASK, 2, seed=4).tokens
CLOSED = closed_orbit(TOKENS)


def factorised_weights(model, divisor):
    """The same heads by four matrices, with other factors of each product."""
    weights = {name: np.zeros(shape) for name, shape in model.shapes(D).items()}
    for h, (ω, μ) in enumerate(zip(OMEGA, MU, strict=True)):
        key, output = 0.7 + 0.2 * h, -1.1 + 0.3 * h
        weights["key"][h, :D, :D] = key * np.eye(D)
        weights["query"][h, :D, :D] = ω * divisor / key * np.eye(D)
        weights["output"][h, 0, D] = output
        weights["value"][h, D, D] = μ / output
    return weights


def family_loss(ω, μ, query_token):
    """ŷ = Σ_h μ_h Σ_n softmax_n(ω_h x_nᵀ x_q) y_n as it is written, of real or complex ω and μ (H,)."""
    x, y, query = CLOSED.x[:, :-1], CLOSED.y[:, :-1], CLOSED.x[:, -1]
    products = np.einsum("pnd,pd->pn", x, query)
    weights = np.exp(ω[:, None, None] * products)  # (H, P, n)
    sums = np.sum(weights, axis=-1)
    if query_token:
        sums = sums + np.exp(ω[:, None] * np.sum(query**2, axis=-1))
    output = np.einsum("h,hp->p", μ, np.einsum("hpn,pn->hp", weights, y) / sums)
    return np.mean((output - CLOSED.labels) ** 2)


def family_slopes(query_token):
    """Its derivatives by ω and by μ, by complex steps."""
    scalars = np.concatenate([OMEGA, MU]).astype(complex)
    slopes = []
    for index in range(4):
        shifted = scalars.copy()
        shifted[index] += 1e-30j
        loss = family_loss(shifted[:2], shifted[2:], query_token)
        slopes.append(loss.imag / 1e-30)
    return np.array(slopes[:2]), np.array(slopes[2:])


def test_the_orbit_has_every_image_once():
    assert CLOSED.sequences == 2 * 2**D * 6
    images = {tokens.tobytes() for tokens in CLOSED.tokens + 0.0}
    assert len(images) == CLOSED.sequences
    # Reflections and permutations of an image are images: the second moments are multiples of the identity.
    moments = np.einsum("pni,pnj->ij", CLOSED.x, CLOSED.x)
    np.testing.assert_allclose(
        moments, moments[0, 0] * np.eye(D), atol=1e-12 * moments[0, 0]
    )


@pytest.mark.parametrize("query_token", [False, True])
def test_gradients_of_merged_heads_stay_in_the_family(query_token):
    model = Merged(2, softmax=True, query_token=query_token)
    weights = family_weights(OMEGA, MU, D)
    loss, gradients = objective(model, CLOSED)(weights)
    by_ω, by_μ = family_slopes(query_token)
    assert loss == pytest.approx(family_loss(OMEGA, MU, query_token), rel=1e-13)

    B, a = gradients["key_query"][..., :D], gradients["value"]
    diagonal = np.einsum("hdd->hd", B[:, :D])
    outside = B.copy()
    outside[:, :D] -= np.einsum("hd,de->hde", diagonal, np.eye(D))
    assert np.max(np.abs(outside)) < 1e-15
    assert np.max(np.abs(a[:, :D])) < 1e-15
    assert np.max(np.ptp(diagonal, axis=1)) < 1e-15
    # The mean diagonal is ∂L/∂ω over D: the metric of the flow is 1/D.
    np.testing.assert_allclose(D * diagonal.mean(axis=1), by_ω, rtol=1e-12)
    np.testing.assert_allclose(a[:, D], by_μ, rtol=1e-12)


@pytest.mark.parametrize("query_token", [False, True])
def test_gradients_of_four_matrices_stay_in_the_family(query_token):
    model = Factorised(
        2, softmax=True, query_token=query_token, score_divisor="sqrt_key"
    )
    divisor = np.sqrt(D + 1)
    weights = factorised_weights(model, divisor)
    scalars = head_scalars(model, weights, tolerance=1e-14)
    np.testing.assert_allclose(scalars, [OMEGA, MU], rtol=1e-14)

    _, gradients = objective(model, CLOSED)(weights)
    by_ω, by_μ = family_slopes(query_token)
    # Each factor has the other one's slope: ω = key·query over the divisor, μ = output·value.
    key, query = weights["key"][:, 0, 0], weights["query"][:, 0, 0]
    value, output = weights["value"][:, D, D], weights["output"][:, 0, D]
    expected = {name: np.zeros_like(array) for name, array in weights.items()}
    identity = np.zeros((D + 1, D + 1))
    identity[:D, :D] = np.eye(D) / (D * divisor)
    expected["key"] += np.multiply.outer(query * by_ω, identity)
    expected["query"] += np.multiply.outer(key * by_ω, identity)
    expected["value"][:, D, D] = output * by_μ
    expected["output"][:, 0, D] = value * by_μ
    for name, slope in expected.items():
        np.testing.assert_allclose(gradients[name], slope, rtol=1e-12, atol=1e-15)


def test_prompts_that_are_not_closed_leave_the_family():
    """The control: the prompts themselves, and their images under sign changes alone."""
    model = Merged(2, softmax=True, query_token=False)
    weights = family_weights(OMEGA, MU, D)
    signs = [np.append(s, 1) for s in ([1, 1, 1], [-1, 1, 1], [1, -1, 1], [1, 1, -1])]
    signs += [-sign * np.append(np.ones(D), -1) for sign in signs]
    reflected = np.concatenate([TOKENS * sign for sign in signs])
    for tokens, by_signs in ((TOKENS, False), (reflected, True)):
        _, gradients = objective(model, prompts_from_tokens(tokens))(weights)
        diagonal = np.einsum("hdd->hd", gradients["key_query"][:, :D, :D])
        assert np.max(np.ptp(diagonal, axis=1)) > 1e-3
        # Sign changes are enough for everything off the diagonal.
        off = gradients["key_query"][:, :D, :D] - diagonal[:, :, None] * np.eye(D)
        assert (np.max(np.abs(off)) < 1e-15) == by_signs


def test_the_family_predicts_what_is_written():
    model = Merged(2, softmax=True, query_token=False)
    output = predict(model, family_weights(OMEGA, MU, D), CLOSED)
    loss = np.mean((output - CLOSED.labels) ** 2)
    assert loss == pytest.approx(family_loss(OMEGA, MU, False), rel=1e-13)
