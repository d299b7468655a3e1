"""The least loss of one layer on modes, against stored numbers and against a search."""

from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import minimize

from attndyn import Merged, Task
from attndyn.teachers import Gaussian, Pool
from attndyn.theory import population
from attndyn.theory.linear_transformer import minimum, mode_loss
from attndyn.theory.linear_transformer.mode_losses import velocity_of_modes
from attndyn.theory.linear_transformer.mode_tasks import mode_task

from .laws import hostile_task, modes


@pytest.mark.parametrize(
    ("task", "coefficients", "loss"),
    [
        (
            modes([2, 1, 0.5, 0.25], 20),
            [0.427416, 0.814426, 1.514566, 2.705883],
            0.6781508964,
        ),
        (
            modes([1, 0.5, 0.2, 0.05], 5),
            [0.63386, 1.10247, 1.93648, 0],
            0.7630644709,
        ),
        (
            modes([2, 1, 0.5, 0.25], 10, noise=0.3),
            [0.368770, 0.651144, 1.008781, 0.951885],
            None,
        ),
        (modes([1.3, 0.4], 2), [0.353364, 0.732408], 0.985629),
    ],
)
def test_coefficients_and_loss_are_the_known_ones(task, coefficients, loss):
    least = minimum(task)
    assert least.coefficients == pytest.approx(coefficients, abs=6e-6)
    if loss is not None:
        assert least.loss == pytest.approx(loss, abs=6e-7)


def test_modes_are_ordered_by_when_they_become_active():
    least = minimum(modes([2, 1, 0.5, 0.25], 8, [0.2, 1, 3, 0.5], 0.1))
    assert least.modes.inputs.tolist() == [0.5, 1, 2, 0.25]
    assert least.coefficients == pytest.approx(
        [1.409211, 0.659689, 0.251286, 0.238452], abs=6e-7
    )


@pytest.mark.parametrize("seed", range(6))
def test_it_is_what_a_search_over_p_and_q_finds(seed):
    generator = np.random.default_rng(seed)
    task, model = hostile_task(generator)
    least, modes = minimum(task, model), mode_task(task, model, "this test")
    D = task.dimension

    def loss(weights):
        return float(mode_loss(task, weights[:D], weights[D:], model))

    def gradient(weights):
        return -2 * np.concatenate(velocity_of_modes(modes, weights[:D], weights[D:]))

    found = min(
        minimize(loss, generator.normal(size=2 * D), jac=gradient, tol=1e-14).fun
        for _ in range(4)
    )
    assert least.loss == pytest.approx(found, rel=1e-10)


@pytest.mark.parametrize("seed", range(6))
def test_the_loss_of_modes_is_that_of_the_moments(seed):
    generator = np.random.default_rng(seed)
    task, model = hostile_task(generator)
    basis = minimum(task, model).modes.basis
    p, q = generator.normal(size=(2, task.dimension))
    maps = np.einsum(
        "ij,ab->ijab", basis @ np.diag(p) @ basis.T, basis @ np.diag(q) @ basis.T
    )
    expected = population(task, model).loss(maps)
    assert mode_loss(task, p, q, model) == pytest.approx(expected, rel=1e-12)


def test_a_mode_at_its_threshold_is_off():
    least = minimum(modes([9, 1], 1))
    assert least.active.tolist() == [True, False]
    # A rotation moves the threshold by rounding.
    basis = np.linalg.qr(np.random.default_rng(0).normal(size=(2, 2)))[0]
    task = Task(
        covariance=basis @ np.diag([9, 1]) @ basis.T,
        teachers=Gaussian.shared_basis([1, 1], basis),
        context_length=1,
    )
    assert minimum(task).active.tolist() == [True, False]


@pytest.mark.parametrize(
    ("task", "model", "message"),
    [
        (Task([1, 2], context_length=5), None, "share the eigenvectors"),
        (
            Task(
                [1, 2],
                teachers=Gaussian.kronecker(np.eye(2), np.eye(2)),
                context_length=5,
            ),
            None,
            "another second moment",
        ),
        (modes([1, 2], 5), Merged(heads=2, outputs=2), "one head"),
        (modes([1, 2], 5), Merged(heads=1, outputs=2, softmax=True), "linear"),
        (
            Task(
                [1, 2],
                teachers=Pool([np.eye(2), 3 * np.diag([1, 2])]),
                context_length=5,
            ),
            None,
            "−W has the law of W",
        ),
    ],
)
def test_what_has_no_modes_is_refused_in_one_sentence(task, model, message):
    with pytest.raises(ValueError, match=message):
        minimum(task, model)


@pytest.mark.parametrize("noise", [1e4, 1e10, 1e20])
def test_strong_noise_takes_no_digits_of_what_is_learned(noise):
    # One mode is left, with a = N/((N+1)s) [1 − r²/((N+1)ωs + r²)] in numbers of any length.
    least = minimum(modes([1, 0.5], 5, noise=noise))
    r_squared = 1 + Fraction(noise)
    expected = Fraction(5, 6) * (1 - r_squared / (6 + r_squared))
    assert least.active.tolist() == [True, False]
    assert least.coefficients[0] == pytest.approx(float(expected), rel=1e-14)
