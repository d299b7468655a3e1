"""Attention against its networks: what the judge at published size takes for equal, and layers held to a block."""

import numpy as np
import pytest

from attndyn.compare.claims.linear_attention.common.experiments import (
    FOUR,
    MERGED,
    WHITE,
    merged_published,
)
from attndyn.compare.claims.linear_attention.setting.linear_networks import (
    EXACT,
    FEW,
    PublishedRun,
    _BlockAttention,
    _equal_on_block,
)
from attndyn.simulate import (
    initial_weights,
    network_features,
    network_weights,
    predict,
    sample,
)

LOSS, WEIGHTS = np.linspace(1.0, 0.1, 30), np.linspace(-0.3, 0.3, 60)


def judged(loss=LOSS, weights=WEIGHTS, free=LOSS + 0.02):
    return _equal_on_block([LOSS, WEIGHTS], PublishedRun([loss, weights], free))


def test_held_to_the_block_both_loss_and_weights_must_be_equal():
    assert judged().agrees
    assert judged(loss=LOSS * (1 + EXACT / 2)).agrees
    assert not judged(loss=LOSS * (1 + 3 * EXACT)).agrees
    assert not judged(weights=WEIGHTS * (1 + 3 * EXACT)).agrees


def test_what_training_all_weights_changes_is_beside_it_and_named():
    evidence = judged()
    assert evidence.residual == pytest.approx(0.02)
    assert dict(evidence.budget) == pytest.approx(
        {"weights off the restricted block": 0.02, "rounding": 0.0}
    )
    assert "all weights trained, the loss is within 0.02" in evidence.observed
    assert judged(
        free=LOSS + 0.5
    ).agrees  # it is no part of the claim, which its limit in P is for


def test_the_layer_held_to_the_block_predicts_what_the_network_does():
    data = sample(FOUR, FEW, 3)
    weights = initial_weights(MERGED, FOUR, 0.5, 3, "restricted")
    start = network_weights(weights)
    z, _ = network_features(data, MERGED)
    held = predict(_BlockAttention(), _BlockAttention().heads(start), data.tokens)
    assert np.allclose(
        held, z @ (start["output"] @ start["hidden"]), rtol=1e-12, atol=1e-14
    )
    assert np.allclose(
        held,
        predict(MERGED, MERGED.heads(weights), data.tokens),
        rtol=1e-12,
        atol=1e-14,
    )
    assert not np.allclose(
        held,
        predict(
            MERGED,
            MERGED.heads(weights | {"value": weights["value"] + 0.1}),
            data.tokens,
        ),
    )


@pytest.mark.parametrize("task", [FOUR, WHITE], ids=["general", "white"])
def test_the_published_run_is_the_published_one(task):
    run = merged_published(task, 0)
    shown = (
        run.sequences,
        run.scale,
        run.learning_rate,
        run.steps,
        run.model.head_count,
        run.model.divisor,
    )
    assert shown == (5_000, 1e-6, 1e-3, 6_001, 8, "none")
    assert run.whiten
    assert run.centre
    assert run.scheme == "zhang2025"
