"""What training says without PyTorch, and the weights that it begins from; `make test-torch` trains."""

import sys

import numpy as np
import pytest

from attndyn.simulate.torch_models import (
    AttentionOnly,
    ModularAddition,
    train_torch_network,
)
from attndyn.simulate.torch_models.training import initial_weights

NETWORKS = [ModularAddition(), AttentionOnly()]


@pytest.mark.parametrize("network", NETWORKS)
def test_without_pytorch_the_extra_is_named(network, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torch", None)
    message = r"torch cannot be used .* pip install 'attndyn\[torch\]'"
    with pytest.raises(ValueError, match=message):
        train_torch_network(network, steps=5, out=tmp_path / "run.npz")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("network", NETWORKS)
def test_first_weights_have_the_scales_of_the_network(network):
    weights = initial_weights(network, seed=0)
    for name, value in weights.items():
        assert value.dtype == np.float32
        is_embedding = network == NETWORKS[1] and name in ("E", "pos")
        expected = 0.4 if is_embedding else 1 / np.sqrt(48)
        if name in ("b1", "b2"):
            expected = 0
        assert np.std(value) == pytest.approx(expected, rel=0.1)
    other = initial_weights(network, seed=1)
    assert not np.array_equal(weights["E"], other["E"])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"steps": 0}, "steps must be a whole number of at least 1, not 0"),
        ({"steps": 5, "seed": -1}, "seed must be a whole number of at least 0"),
        ({"steps": 5, "checkpoints": [0, 6]}, "from 0 to the 5 steps, not 6"),
        ({"steps": 5, "checkpoints": [0.5]}, "from 0 to the 5 steps, not 0.5"),
    ],
)
def test_what_is_no_run_is_refused(arguments, reason):
    with pytest.raises(ValueError, match=reason):
        train_torch_network(ModularAddition(), **arguments)


@pytest.mark.parametrize("network", ["modular addition", ModularAddition, None])
def test_what_is_no_network_is_refused(network):
    with pytest.raises(ValueError, match="network must be one, such as ModularAddi"):
        train_torch_network(network, steps=5)
