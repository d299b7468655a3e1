"""Modular addition without PyTorch: its pairs, its splits and what is refused."""

import numpy as np
import pytest

from attndyn.simulate.torch_models import ModularAddition

P = 31


def square(mask):
    """The mask over pairs as a matrix (a, b)."""
    return mask.reshape(P, P)


def test_pairs_stand_where_the_mask_has_them():
    pairs = ModularAddition().pairs()
    assert np.array_equal(pairs[:, 0] * P + pairs[:, 1], np.arange(P**2))


def test_an_ordered_split_tells_the_two_orders_apart():
    mask = ModularAddition().train_mask(seed=0)
    assert mask.sum() == 480
    # A pair and its mirror are on one side by chance alone.
    assert np.mean(square(mask) == square(mask).T) < 0.6


def test_an_unordered_split_does_not():
    network = ModularAddition(split="unordered")
    mask = network.train_mask(seed=0)
    assert np.array_equal(square(mask), square(mask).T)
    on_and_above = np.triu_indices(P)
    assert square(mask)[on_and_above].sum() == 248  # half of p(p + 1)/2


@pytest.mark.parametrize("split", ["ordered", "unordered"])
def test_the_seed_draws_the_split_and_a_larger_part_contains_a_smaller(split):
    network = ModularAddition(split=split)
    mask = network.train_mask(seed=3)
    assert np.array_equal(mask, network.train_mask(seed=3))
    assert not np.array_equal(mask, network.train_mask(seed=4))
    larger = ModularAddition(split=split, fraction=0.8).train_mask(seed=3)
    assert np.all(larger[mask])


def test_the_file_has_the_keys_of_the_network():
    network = ModularAddition()
    assert list(network.shapes()) == [
        "E",
        "pos",
        "Q",
        "K",
        "V",
        "O",
        "W1",
        "b1",
        "W2",
        "b2",
        "U",
    ]
    assert network.shapes()["O"] == (2, 48, 24)
    constants = network.constants(seed=0)
    assert constants["prime"] == P
    assert np.array_equal(constants["train"], network.train_mask(seed=0))


WRONG = {
    "prime must be a whole number of at least 2, not 1": {"prime": 1},
    "prime must be a prime number, not 49": {"prime": 49},
    "heads must divide the dimension 48, not 5": {"heads": 5},
    "split must be one of ordered, unordered, not 'random'": {"split": "random"},
    "fraction must leave some of the 961 ordered pairs": {"fraction": 1},
    "of the 496 unordered pairs for training and some for testing, not 0.001": {
        "fraction": 0.001,
        "split": "unordered",
    },
    "learning_rate must be positive": {"learning_rate": 0},
    "weight_decay must be": {"weight_decay": -1},
    "hidden must be a whole number": {"hidden": 0},
}


@pytest.mark.parametrize("reason", WRONG)
def test_settings_of_no_network_are_refused(reason):
    with pytest.raises(ValueError, match="must") as error:
        ModularAddition(**WRONG[reason])
    assert reason in str(error.value)
