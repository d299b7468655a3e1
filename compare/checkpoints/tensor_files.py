"""Files of tensors by name, npz and safetensors, of which only what is asked for is read."""

import json
import math
from abc import abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...runtime.arrays import FloatArray
from ...runtime.files import AnyPath, array_headers, as_path, read_arrays, regular_file

_PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".tar", ".pkl")
"""What PyTorch and others write with pickle, which can run any code when it is read."""

_NUMBERS = "fiu"
"""Kinds of NumPy's types that are real numbers."""

_TINY = ("F8_", "F6_", "F4")
"""How the types of fewer than sixteen bits begin, which NumPy does not know; F64 is none of them."""


class TensorFile:
    """A file of tensors: `shapes` by name, and what else it says of itself as text, `metadata`."""

    def __init__(
        self,
        path: Path,
        shapes: Mapping[str, tuple[int, ...]],
        metadata: Mapping[str, str],
    ) -> None:
        self.path = path
        self.shapes = dict(shapes)
        self.metadata = dict(metadata)

    @abstractmethod
    def stored(self, name: str) -> NDArray[Any]:
        """The tensor of a name as it is stored."""

    def read(self, name: str) -> FloatArray:
        """The tensor of a name in doubles; ValueError where it has something else than finite real numbers."""
        array = self.stored(name)
        if array.dtype.kind not in _NUMBERS:
            raise ValueError(
                f"{name} in {self.path} must be real numbers, not {array.dtype}"
            )
        doubles = np.asarray(array, dtype=np.float64)
        if not np.all(np.isfinite(doubles)):
            first = np.argwhere(~np.isfinite(doubles))[0]
            place = f" at index {tuple(first.tolist())}" if doubles.ndim else ""
            raise ValueError(
                f"{name} in {self.path} is not finite{place}: training has diverged, or the file is damaged; leave "
                "this checkpoint out"
            )
        return doubles


class _ArchiveOfArrays(TensorFile):
    """An npz file."""

    def __init__(self, path: Path) -> None:
        headers = array_headers(path)
        shapes = {name: header.shape for name, header in headers.items()}
        super().__init__(path, shapes, {})

    def stored(self, name: str) -> NDArray[Any]:
        return read_arrays(self.path, [name])[name]


class _Safetensors(TensorFile):
    """A safetensors file, read by the library of that name; bfloat16, which NumPy does not know, by hand."""

    def __init__(self, path: Path) -> None:
        with _opened(path) as file:
            names = list(file.keys())  # it is no mapping, and has no other iterator
            slices = {name: file.get_slice(name) for name in names}
            shapes = {name: tuple(part.get_shape()) for name, part in slices.items()}
            self._types = {name: part.get_dtype() for name, part in slices.items()}
            metadata = file.metadata() or {}
        super().__init__(path, shapes, metadata)

    def stored(self, name: str) -> NDArray[Any]:
        from safetensors import SafetensorError

        kind = str(self._types[name])
        if kind.startswith(_TINY):
            raise ValueError(
                f"{name} in {self.path} is stored as {kind}, which is not read: save it in float32 or bfloat16"
            )
        try:
            if kind == "BF16":
                array = self._brain_floats(name)
            else:
                with _opened(self.path) as file:
                    array = np.asarray(file.get_tensor(name))
        except (SafetensorError, KeyError):
            array = np.empty(0)
        # A training that goes on may replace the file under our hands.
        if array.shape != self.shapes[name]:
            raise ValueError(
                f"{self.path} has changed while it was read, and lacks {name}: measure files that nothing writes to"
            )
        return array

    def _brain_floats(self, name: str) -> NDArray[Any]:
        """A tensor of bfloat16: the upper halves of numbers in float32."""
        with regular_file(self.path) as file:
            length = int.from_bytes(file.read(8), "little")
            header = json.loads(file.read(length))
            file.seek(8 + length + header[name]["data_offsets"][0])
            count = math.prod(header[name]["shape"])
            halves = np.frombuffer(file.read(2 * count), dtype="<u2")
        bits = halves.astype(np.uint32) << 16
        return bits.view(np.float32).reshape(header[name]["shape"])


def open_tensors(path: AnyPath) -> TensorFile:
    """The tensors of an npz or safetensors file, none of them read yet.

    ValueError for another file, a damaged or an empty one, and where `safetensors` is not installed; OSError if it
    cannot be opened or is no regular file.
    """
    file = as_path(path)
    ending = file.suffix.lower()
    if ending == ".npz":
        tensors: TensorFile = _ArchiveOfArrays(file)
    elif ending == ".safetensors":
        tensors = _Safetensors(file)
    else:
        raise ValueError(_refusal(file, ending))
    if not tensors.shapes:
        raise ValueError(f"{file} holds no tensor")
    return tensors


def _opened(path: Path) -> Any:
    """The safetensors file, opened by the library; ValueError without it, and for a damaged file."""
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        raise ValueError(
            "safetensors files need the package safetensors: pip install 'attndyn[safetensors]', or save npz files"
        ) from None
    with regular_file(path):  # an OSError that names the file
        pass
    try:
        return safe_open(path, framework="numpy")
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{path} is no whole safetensors file: {error}") from None


def _refusal(file: Path, ending: str) -> str:
    """Why a file that is neither npz nor safetensors is not read, and what to do."""
    if ending in _PICKLES:
        return (
            f"{file} may be a pickle, which is not read, since it can run any code: save it with "
            "safetensors.torch.save_file(model.state_dict(), 'step_100.safetensors') or with numpy.savez"
        )
    return (
        f"{file} must be an npz or a safetensors file, and end in .npz or .safetensors"
    )
