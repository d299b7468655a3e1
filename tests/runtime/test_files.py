"""Files are read as far as they are asked for, and only where they are whole."""

import os

import numpy as np
import pytest

from attndyn.runtime.files import NotWhole, array_headers, read_arrays
from attndyn.simulate import load


def stored(folder, **arrays):
    np.savez(folder / "file.npz", **arrays)
    return folder / "file.npz"


def test_headers_are_those_of_the_arrays(tmp_path):
    arrays = {
        "a": np.zeros((2, 3)),
        "weights/é": np.ones(0, dtype=np.int8),
        "text": np.array("abc"),
    }
    headers = array_headers(stored(tmp_path, **arrays))
    assert {name: tuple(header) for name, header in headers.items()} == {
        name: (array.shape, array.dtype) for name, array in arrays.items()
    }


def test_only_the_arrays_that_are_asked_for_are_read(tmp_path):
    path = stored(tmp_path, a=np.ones(2), b=np.array([{}], dtype=object))
    assert list(read_arrays(path, ["a", "absent"])) == ["a"]
    with pytest.raises(
        NotWhole, match=r"b\.npy holds Python objects, which are not read"
    ):
        read_arrays(path)


def test_a_run_is_loaded_without_what_else_its_file_holds(tmp_path):
    lines = {
        name: np.arange(3.0)
        for name in ("time", "loss", "gradient_norm", "weight_time")
    }
    head = np.array(
        '{"format": "attndyn trajectory 1", "learning_rate": 0.1, "settings": {}}'
    )
    extra = {"notes": np.array([{}], dtype=object), "other/value": np.ones(3)}
    run = load(
        stored(
            tmp_path, head=head, **lines, **{"weights/value": np.ones((3, 2))}, **extra
        )
    )
    assert list(run.weights) == ["value"]


@pytest.mark.parametrize("read", [array_headers, read_arrays, load])
def test_a_pipe_does_not_block(tmp_path, read):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file, which alone can be read"):
        read(tmp_path / "pipe")


def test_a_file_of_arrays_in_fortran_order_and_in_old_types(tmp_path):
    array = np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3))
    assert np.array_equal(read_arrays(stored(tmp_path, a=array))["a"], array)
