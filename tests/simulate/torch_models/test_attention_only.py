"""Periodic sequences without PyTorch: their periods, their seeds and what is refused."""

import numpy as np
import pytest

from attndyn.simulate.torch_models import AttentionOnly

LENGTH = 24


def period_of(sequence):
    """The least shift under which a sequence continues itself."""
    return next(
        shift
        for shift in range(1, LENGTH)
        if np.array_equal(sequence[shift:], sequence[:-shift])
    )


def test_every_sequence_has_a_period_of_its_own():
    sequences = AttentionOnly(symbols=1000).sequences(4000, seed=0, step=7)
    assert sequences.shape == (4000, LENGTH)
    periods, counts = np.unique(
        [period_of(sequence) for sequence in sequences], return_counts=True
    )
    assert np.array_equal(periods, np.arange(5, 13))
    # 500 each, with a standard deviation of 21.
    assert np.max(np.abs(counts - 500)) < 100


def test_symbols_are_even():
    sequences = AttentionOnly().sequences(4000, seed=1, step=0)
    counts = np.bincount(sequences[:, 0], minlength=16)
    assert len(counts) == 16
    assert np.max(np.abs(counts - 250)) < 80


def test_batches_depend_on_seed_step_and_split():
    network = AttentionOnly()
    first = network.sequences(48, seed=0, step=0)
    assert np.array_equal(first, network.sequences(48, seed=0, step=0))
    for other in (
        network.sequences(48, seed=0, step=1),
        network.sequences(48, seed=1, step=0),
        network.sequences(48, seed=0, step=0, split="test"),
    ):
        assert not np.array_equal(first, other)


def test_products_are_stored_head_by_head():
    network = AttentionOnly(layers=2, dimension=6, heads=3)
    draws = np.random.default_rng(0)
    weights = {
        name: draws.normal(size=shape) for name, shape in network.shapes().items()
    }
    stored = network.stored(weights)
    assert stored["qk"].shape == stored["ov"].shape == (6, 6, 6)
    np.testing.assert_allclose(stored["qk"][4], weights["Q"][4].T @ weights["K"][4])
    np.testing.assert_allclose(stored["ov"][4], weights["O"][4] @ weights["V"][4])
    assert {"E", "pos", "U"} < set(stored)


WRONG = {
    "length must be a whole number of at least 24, not 23": {"length": 23},
    "longest must be a whole number of at least 5, not 4": {"longest": 4},
    "symbols must be a whole number of at least 2, not 1": {"symbols": 1},
    "heads must divide the dimension 48, not 7": {"heads": 7},
    "layers must be a whole number": {"layers": 0},
    "learning_rate must be positive": {"learning_rate": -1},
}


@pytest.mark.parametrize("reason", WRONG)
def test_settings_of_no_network_are_refused(reason):
    with pytest.raises(ValueError, match="must") as error:
        AttentionOnly(**WRONG[reason])
    assert reason in str(error.value)
