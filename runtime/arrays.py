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
