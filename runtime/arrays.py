"""Types of arrays, named once."""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
"""Real numbers in double precision."""

IndexArray = NDArray[np.intp]
"""Indices into other arrays."""

BoolArray = NDArray[np.bool_]
"""Masks."""
