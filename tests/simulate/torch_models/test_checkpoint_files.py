"""Files of checkpoints: what is written is read, and other files are refused."""

import json

import numpy as np
import pytest

from attndyn.simulate.torch_models import (
    ModularAddition,
    NetworkRun,
    load_network_run,
)
from attndyn.simulate.torch_models.training import initial_weights


def run():
    """Two checkpoints of a small network, the second of which is twice the first."""
    network = ModularAddition(prime=5, dimension=4, hidden=3)
    start = initial_weights(network, seed=1)
    constants = network.constants(seed=1)
    state = {f"weight_{name}": 2 * value for name, value in start.items()}
    return NetworkRun(
        settings={
            "network": network.to_dict(),
            "seed": 1,
            "torch": "2.13.0",
            "constants": sorted(constants),
        },
        steps=np.array([0, 100]),
        weights={name: np.stack([value, 2 * value]) for name, value in start.items()},
        log=np.array([[0, 3, 3, 0.1, 0.1, 50], [100, 1, 2, 0.9, 0.2, 60.0]]),
        log_columns=network.log_columns,
        constants=constants,
        state=state | {"step": np.array(100)},
    )


def test_what_is_written_is_read(tmp_path):
    written = run()
    written.save(tmp_path / "run.npz")
    read = load_network_run(tmp_path / "run.npz")
    assert read.settings == written.settings
    assert read.last_step == 100
    assert read.log_columns == written.log_columns
    for own, other in (
        (read.weights, written.weights),
        (read.constants, written.constants),
        (read.state, written.state),
        ({"log": read.log, "steps": read.steps}, vars(written)),
    ):
        assert set(own) <= set(other)
        assert all(np.array_equal(own[name], other[name]) for name in own)
    assert [path.name for path in tmp_path.iterdir()] == ["run.npz"]


def test_a_column_of_the_log_is_named():
    assert np.array_equal(run().logged("test accuracy"), [0.1, 0.2])
    with pytest.raises(ValueError, match=r"the log has the columns step, .*not 'loss'"):
        run().logged("loss")


def test_a_run_shows_itself_on_one_screen():
    lines = repr(run()).splitlines()
    assert "modular addition" in lines[1]
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 100


def test_other_files_are_refused(tmp_path):
    path = tmp_path / "other.npz"
    np.savez(path, steps=np.arange(3), E=np.ones((3, 2)))
    with pytest.raises(ValueError, match="no run of a network: it lacks log, log_col"):
        load_network_run(path)
    run().save(path)
    arrays = dict(np.load(path))
    for settings in ("no JSON", json.dumps({"seed": 1}), json.dumps([1])):
        np.savez(path, **arrays | {"settings": np.array(settings)})
        with pytest.raises(ValueError, match="its settings cannot be read"):
            load_network_run(path)
    path.write_bytes(b"text")
    with pytest.raises(ValueError, match="is not a whole npz file"):
        load_network_run(path)
