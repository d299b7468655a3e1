"""Training as He et al. train: Adam on fresh batches, all four matrices, heads of opposite signs and of one sign."""

from functools import cache

import numpy as np
import pytest

from attndyn import Factorised
from attndyn.compare.claims.softmax_attention.setting import PUBLISHED
from attndyn.simulate import Adam, initial_weights, train
from attndyn.theory.softmax_attention import exact_loss, head_scalars

MODEL = Factorised(heads=2, softmax=True, query_token=False, score_divisor="sqrt_key")
BEST_OF_TWO_HEADS, BEST_OF_ONE = 0.242824, 0.403963
"""Least exact losses of heads of the family at D = 5, N = 40, σ² = 0.1."""
D, STEPS = 5, 400


@cache
def trained(second_sign):
    """A run from a start near the family whose second head has this sign."""
    start = initial_weights(MODEL, PUBLISHED, scale=0.1)
    for head, sign in enumerate((1.0, second_sign)):
        start["key"][head, :D, :D] += 0.3 * np.eye(D)
        start["query"][head, :D, :D] += 0.3 * sign * np.eye(D)
        start["value"][head, D, D] += 0.5
        start["output"][head, 0, D] += 0.5 * sign
    return train(
        MODEL, PUBLISHED, start, optimizer=Adam(5e-3), batch=256, steps=STEPS, record=40
    )


def test_opposite_signs_come_near_the_optimum_of_two_heads():
    run = trained(-1.0)
    ω, μ = head_scalars(MODEL, run.final, tolerance=0.1)
    # One positive and one negative head of the same size, whose values cancel in their sum.
    assert ω[1] < -0.2 < 0.2 < ω[0]
    assert abs(ω[0] + ω[1]) < 0.05 * abs(ω[0])
    assert abs(np.sum(μ)) < 0.05 * np.sum(np.abs(μ))
    loss = float(exact_loss(PUBLISHED, ω, μ))
    assert BEST_OF_TWO_HEADS < loss < 1.02 * BEST_OF_TWO_HEADS
    # What the scalars leave out costs little: the batches' losses are the same.
    assert np.mean(run.loss[-100:]) == pytest.approx(loss, rel=0.05)


def test_one_sign_is_trapped_at_the_optimum_of_one_head():
    run = trained(1.0)
    # Heads of one sign share what is off the family, which their loss hardly sees.
    ω, μ = head_scalars(MODEL, run.final, tolerance=0.3)
    assert np.all(ω > 0.3)
    assert np.all(μ > 0)
    assert float(exact_loss(PUBLISHED, ω, μ)) == pytest.approx(BEST_OF_ONE, rel=0.02)
    assert np.mean(run.loss[-100:]) > 1.5 * BEST_OF_TWO_HEADS


def test_a_run_from_a_start_off_the_family_says_so():
    run = trained(-1.0)
    with pytest.raises(
        ValueError, match=r"distance from these is 0\.495 of their size at"
    ):
        head_scalars(MODEL, run)
    ω, μ = head_scalars(MODEL, run, tolerance=np.inf)
    assert ω.shape == μ.shape == (len(run.weight_time), 2)
    assert np.all(ω[:, 1] < 0)
