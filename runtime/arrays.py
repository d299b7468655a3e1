"""Types of arrays, named once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
"""Real numbers in double precision."""

IndexArray = NDArray[np.intp]
"""Indices into other arrays."""

BoolArray = NDArray[np.bool_]
"""Masks."""


def read_only(array: FloatArray) -> FloatArray:
    """A copy that nobody can write to.

    >>> read_only(np.ones(1)).flags.writeable
    False
    """
    array = np.array(array)
    array.flags.writeable = False
    return array


def numbers_as_doubles(array: NDArray[Any]) -> NDArray[Any]:
    """The array with doubles in place of SymPy numbers, such as √2 of a model that proofs use too; others unchanged.

    >>> numbers_as_doubles(np.array([0.5, 2.0]))
    array([0.5, 2. ])
    """
    # An object that is no number, such as a symbol, has no double.
    if array.dtype != object or not all(
        getattr(entry, "is_number", False) for entry in array.flat
    ):
        return array
    numbers = np.array([complex(entry) for entry in array.flat]).reshape(array.shape)
    return numbers if np.any(numbers.imag) else numbers.real.copy()


def plain_array(value: Any, name: str) -> Any:
    """A tensor as a NumPy array, on any device and of any precision; a list of them one by one; the rest as it is.

    PyTorch is not imported: a tensor is what offers `detach`, `cpu` and `numpy`, and any other library's array goes
    through `__array__` or DLPack. Numbers that NumPy lacks (bfloat16) become doubles, which hold them exactly.
    ValueError for a tensor that cannot be read, such as a sparse one.

    >>> plain_array([1.0, 2.0], "loss")
    [1.0, 2.0]
    """
    if isinstance(value, (list, tuple)):
        return [
            entry if isinstance(entry, (int, float, str)) else plain_array(entry, name)
            for entry in value
        ]
    if isinstance(value, np.ndarray):
        return value
    try:
        if hasattr(value, "detach"):
            return _from_torch(value)
        if hasattr(value, "__dlpack__") and not hasattr(value, "__array__"):
            return np.from_dlpack(value)
    except (TypeError, RuntimeError, ValueError, AttributeError, BufferError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{name} cannot be read as an array ({reason}): pass a NumPy array of it"
        ) from None
    return value


def _from_torch(tensor: Any) -> NDArray[Any]:
    """A PyTorch tensor as a NumPy array; a gradient that it requires, its device and its precision do not matter."""
    tensor = tensor.detach().cpu()
    # Only real numbers have doubles: imaginary parts would be lost.
    if not tensor.is_complex():
        tensor = tensor.double()
    return np.asarray(tensor.numpy())
