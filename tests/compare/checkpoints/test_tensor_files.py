"""Files of tensors: npz and safetensors as PyTorch writes it, and what is refused."""

import json
import os
import re
import struct
import sys

import numpy as np
import pytest

from attndyn.compare.checkpoints.tensor_files import open_tensors

RNG = np.random.default_rng(4)
ARRAY = RNG.normal(size=(3, 2)).astype(np.float32)


def write_safetensors(path, tensors, metadata=None):
    """A file after the specification of the format: {name: (type, shape, bytes)}, without the library."""
    header, contents = {}, b""
    if metadata is not None:
        header["__metadata__"] = metadata
    for name, (kind, shape, data) in tensors.items():
        offsets = [len(contents), len(contents) + len(data)]
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": offsets}
        contents += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + contents)
    return path


def test_both_formats_read_as_doubles(tmp_path):
    np.savez(tmp_path / "a.npz", W=ARRAY, n=np.int64(7))
    kinds = {
        "W": ("F32", (3, 2), ARRAY.tobytes()),
        "n": ("I64", (), np.int64(7).tobytes()),
    }
    write_safetensors(tmp_path / "a.safetensors", kinds, {"step": "7"})
    for ending in ("npz", "safetensors"):
        file = open_tensors(str(tmp_path / f"a.{ending}"))
        assert file.shapes == {"W": (3, 2), "n": ()}
        assert file.read("W").dtype == np.float64
        assert np.array_equal(file.read("W"), ARRAY)
        assert file.read("n") == 7
    assert file.metadata == {"step": "7"}


def test_half_precision_and_brain_floats_are_read(tmp_path):
    half = ARRAY.astype(np.float16)
    upper = (ARRAY.view(np.uint32) >> 16).astype("<u2")  # cut off, not rounded
    kinds = {
        "first": ("F32", (3, 2), ARRAY.tobytes()),
        "half": ("F16", (3, 2), half.tobytes()),
        "brain": ("BF16", (3, 2), upper.tobytes()),
    }
    file = open_tensors(write_safetensors(tmp_path / "a.safetensors", kinds))
    assert np.array_equal(file.read("half"), half.astype(np.float64))
    cut = (ARRAY.view(np.uint32) >> 16 << 16).view(np.float32)
    assert np.array_equal(file.read("brain"), cut)
    assert np.allclose(file.read("brain"), ARRAY, rtol=2**-7)


def test_doubles_are_read_as_they_are(tmp_path):
    exact = RNG.normal(size=(3, 2))
    kinds = {"W": ("F64", (3, 2), exact.tobytes())}
    file = open_tensors(write_safetensors(tmp_path / "a.safetensors", kinds))
    assert np.array_equal(file.read("W"), exact)


@pytest.mark.parametrize("kind", ["F32", "BF16"])
def test_a_file_that_is_replaced_while_it_is_read_is_refused(kind, tmp_path):
    size = {"F32": 4, "BF16": 2}[kind]
    path = tmp_path / "a.safetensors"
    file = open_tensors(write_safetensors(path, {"W": (kind, (3, 2), b"a" * 6 * size)}))
    assert file.read("W").shape == (3, 2)
    for other in (
        {"V": (kind, (1,), b"a" * size)},
        {"W": (kind, (2,), b"a" * 2 * size)},
    ):
        write_safetensors(path, other)
        with pytest.raises(ValueError, match="has changed while it was read"):
            file.read("W")


def refused(path, name="W"):
    with pytest.raises(ValueError, match=re.escape(path.name)) as error:
        open_tensors(path).read(name)
    return str(error.value)


def test_what_is_no_finite_number_is_refused(tmp_path):
    broken = ARRAY.copy()
    broken[1, 0] = np.nan
    np.savez(tmp_path / "nan.npz", W=broken)
    assert "not finite at index (1, 0)" in refused(tmp_path / "nan.npz")
    np.savez(tmp_path / "text.npz", W=np.array(["a"]))
    assert "must be real numbers" in refused(tmp_path / "text.npz")
    np.savez(tmp_path / "complex.npz", W=1j * ARRAY)
    assert "must be real numbers" in refused(tmp_path / "complex.npz")
    np.savez(tmp_path / "pickle.npz", W=np.array([None]))
    assert "Python objects" in refused(tmp_path / "pickle.npz")
    kinds = {"W": ("F8_E4M3", (2,), b"ab")}
    path = write_safetensors(tmp_path / "tiny.safetensors", kinds)
    assert "stored as F8_E4M3" in refused(path)


def test_what_is_no_such_file_is_refused(tmp_path):
    np.savez(tmp_path / "empty.npz")
    assert "holds no tensor" in refused(tmp_path / "empty.npz")
    write_safetensors(tmp_path / "empty.safetensors", {})
    assert "holds no tensor" in refused(tmp_path / "empty.safetensors")
    for name in ("cut.npz", "cut.safetensors"):
        (tmp_path / name).write_bytes(b"PK\x03\x04 and more")
        assert "whole" in refused(tmp_path / name)
    for name in ("model.pt", "pytorch_model.bin", "last.ckpt"):
        (tmp_path / name).write_bytes(b"PK")
        assert "safetensors.torch.save_file" in refused(tmp_path / name)
    assert "end in .npz or .safetensors" in refused(tmp_path / "weights.h5")
    for name in ("absent.npz", "absent.safetensors"):
        with pytest.raises(FileNotFoundError):
            open_tensors(tmp_path / name)
    os.mkfifo(tmp_path / "pipe.safetensors")
    with pytest.raises(OSError, match="not a regular file"):
        open_tensors(tmp_path / "pipe.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    with pytest.raises(OSError, match="folder"):
        open_tensors(tmp_path / "folder.safetensors")


def test_without_the_library_npz_is_still_read(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors", None)
    np.savez(tmp_path / "a.npz", W=ARRAY)
    assert np.array_equal(open_tensors(tmp_path / "a.npz").read("W"), ARRAY)
    write_safetensors(
        tmp_path / "a.safetensors", {"W": ("F32", (3, 2), ARRAY.tobytes())}
    )
    with pytest.raises(
        ValueError, match=re.escape("pip install 'attndyn[safetensors]'")
    ):
        open_tensors(tmp_path / "a.safetensors")
