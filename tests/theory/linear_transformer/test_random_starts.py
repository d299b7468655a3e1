"""The law of half-times from random starts, against the closed form of every start and against samples."""

import numpy as np
import pytest

from attndyn.theory.linear_transformer import half_times
from attndyn.theory.linear_transformer.mode_flows import decoupled_rates
from attndyn.theory.linear_transformer.mode_tasks import mode_task
from attndyn.theory.two_layer import two_layer_amplitudes

from .laws import modes


def half_time(p, q, α, κ):
    """When p q of the closed form reaches α/(2κ), by bisection in 60 rounds of one time."""
    low, high = 0.0, 60.0
    for _ in range(60):
        middle = (low + high) / 2
        found = two_layer_amplitudes(middle, p, q, α, κ)
        is_late = float(found[0][0] * found[1][0]) > α / κ / 2
        low, high = (low, middle) if is_late else (middle, high)
    return high


def test_the_formula_is_off_by_the_square_of_the_size():
    task = modes([1.0], 10**9)
    α, κ = (float(x[0]) for x in decoupled_rates(mode_task(task, None, "this test")))
    draws = np.random.default_rng(0).normal(size=(12, 2))
    medians = []
    for w in (0.1, 0.01):
        law = half_times(task, w)
        χ = np.sum(draws, axis=1) ** 2 / 2
        predicted = (law.constants[0] - np.log(χ)) / (2 * law.rates[0])
        found = [half_time(*(w * draw), α, κ) for draw in draws]
        medians.append(np.median(np.abs(predicted - found)))
    assert medians[1] < 3e-5
    assert medians[0] / medians[1] == pytest.approx(100, rel=0.5)


def test_mean_spread_and_swaps_are_those_of_samples():
    law = half_times(modes([1, 0.8], 10**9), 0.01)
    logarithm = np.log(np.random.default_rng(0).normal(size=(10**5, 2)) ** 2)
    samples = (law.constants - logarithm) / (2 * law.rates)
    assert np.mean(samples, axis=0) == pytest.approx(law.mean, rel=3e-3)
    assert np.std(samples, axis=0) == pytest.approx(law.spread, rel=1e-2)
    swaps = np.mean(samples[:, 1] < samples[:, 0])
    assert swaps == pytest.approx(law.swap_probability[0, 1], abs=2e-3)
    # The exact flow swaps .0363 ± .0019 of its starts, a sample of the law .0358.
    assert law.swap_probability[0, 1] == pytest.approx(0.0358, abs=4e-4)
    assert law.spread == pytest.approx(1.1107 / np.array([1, 0.64]), rel=1e-4)
    both = law.swap_probability + law.swap_probability.T
    assert both == pytest.approx(np.ones((2, 2)), abs=1e-12)


def test_what_cannot_be_learned_has_no_half_time():
    law = half_times(modes([1, 0], 5), 0.01)
    assert law.mean[1] == np.inf
    assert np.isnan(law.swap_probability[0, 1])
    with pytest.raises(ValueError, match="size must be small"):
        half_times(modes([1, 0.5], 5), 3.0)
