"""The loss of one layer with any p and q, against sampled prompts, the moments of maps and finite differences."""

import numpy as np
import pytest

from attndyn import Merged, Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory import population
from attndyn.theory.linear_transformer import layer_loss
from attndyn.theory.linear_transformer.layer_losses import (
    gradient_of_layer,
    half_hessian_of_layer,
    layer_moments,
)


def any_task(generator, K, D):
    """A task with a generic law of K × D teachers, or a list of them."""
    if generator.random() < 0.5:
        root = generator.normal(size=(K * D, K * D))
        second = (root @ root.T).reshape(K, D, K, D)
        teachers = Gaussian(second if K > 1 else second[0, :, 0, :])
    else:
        teachers = Pool(list(generator.normal(size=(3, K, D))))
    inputs = generator.normal(size=(D, D))
    lengths = int(generator.integers(1, 9)) if generator.random() < 0.5 else (1, 4)
    return Task(
        covariance=inputs @ inputs.T,
        teachers=teachers,
        context_length=lengths,
        noise_variance=generator.choice([0, 0.4]),
    )


def unpacked(x, K):
    D = int(np.sqrt(len(x) - K * K))
    return x[: K * K].reshape(K, K), x[K * K :].reshape(D, D)


@pytest.mark.parametrize(
    ("seed", "K", "D"), [(0, 3, 2), (1, 2, 3), (2, 1, 2), (3, 2, 2)]
)
def test_derivatives_are_differences_of_the_loss_of_maps(seed, K, D):
    generator = np.random.default_rng(seed)
    task = any_task(generator, K, D)
    model = Merged(heads=1, outputs=K, divisor="tokens")
    loss, moments = population(task, model), layer_moments(task, model, "this test")

    def loss_of_map(x):
        p, q = unpacked(x, K)
        M = np.einsum("ij,ab->ijab", p, q)
        return loss.loss(M if K > 1 else M[0, 0])

    def gradient(x):
        found = gradient_of_layer(moments, *unpacked(x, K))
        return np.concatenate([found.by_p.ravel(), found.by_q.ravel()])

    x = generator.normal(size=K * K + D * D)
    p, q = unpacked(x, K)
    assert layer_loss(task, p, q, model) == pytest.approx(loss_of_map(x), rel=1e-12)
    steps = 1e-5 * np.eye(len(x))
    slopes = [(loss_of_map(x + e) - loss_of_map(x - e)) / 2e-5 for e in steps]
    assert gradient(x) == pytest.approx(
        np.array(slopes), abs=1e-8 * np.max(np.abs(slopes))
    )
    curvatures = np.array([gradient(x + e) - gradient(x - e) for e in steps]) / 4e-5
    hessian = half_hessian_of_layer(moments, p, q)
    assert hessian == pytest.approx(curvatures, abs=1e-8 * np.max(np.abs(curvatures)))


def test_it_is_the_mean_over_prompts():
    generator = np.random.default_rng(0)
    task = Task(
        [1.3, 0.4],
        teachers=Pool([np.diag([1.0, 2]), [[0, 1], [-1, 0.5]]]),
        context_length=2,
        noise_variance=0.3,
    )
    p, q = 0.4 * generator.normal(size=(2, 2, 2))
    count = 10**5
    W = task.teachers.draw(generator, count)
    x = generator.normal(size=(count, 3, 2)) * np.sqrt([1.3, 0.4])
    y = x @ W.transpose(0, 2, 1) + np.sqrt(0.3) * generator.normal(size=x.shape)
    β = np.einsum("pni,pna->pia", y[:, :2], x[:, :2]) / 2
    outputs = np.einsum("ij,pja,ab,pb->pi", p, β, q, x[:, 2])
    losses = np.sum((y[:, 2] - outputs) ** 2, axis=1)
    # Query labels have noise where contexts have.
    error = np.std(losses) / np.sqrt(count)
    assert float(layer_loss(task, p, q)) == pytest.approx(
        np.mean(losses), abs=4 * error
    )


def test_starts_go_through_in_one_call():
    generator = np.random.default_rng(1)
    task = any_task(generator, 2, 3)
    p, q = generator.normal(size=(4, 2, 2)), generator.normal(size=(4, 3, 3))
    found = layer_loss(task, p, q, gradient=True)
    for start in range(4):
        alone = layer_loss(task, p[start], q[start], gradient=True)
        assert found.loss[start] == pytest.approx(alone.loss, rel=1e-13)
        assert found.by_q[start] == pytest.approx(alone.by_q, rel=1e-12)


@pytest.mark.parametrize(
    ("p", "model", "message"),
    [
        (np.eye(3), None, r"p must have shape \(..., 2, 2\)"),
        (np.eye(2), Merged(heads=2, outputs=2), "one head"),
        (np.eye(2), Merged(heads=1), "outputs"),
    ],
)
def test_what_it_cannot_know_is_refused(p, model, message):
    task = Task([1, 2], teachers=Gaussian.shared_basis([1, 1]), context_length=5)
    with pytest.raises(ValueError, match=message):
        layer_loss(task, p, np.eye(2), model)
