"""Where numbers lie in memory."""

import numpy as np
from numpy.typing import NDArray

LINE = 8
"""Numbers in a cache line of 64 bytes."""


def cache_lines(*shape: int) -> NDArray[np.float64]:
    """Zeros that begin with a cache line, since vectors of numbers that lie in two of them are slow to read.

    >>> array = cache_lines(3, 8)
    >>> array.shape, array.ctypes.data % 64
    ((3, 8), 0)
    """
    count = int(np.prod(shape))
    # As many numbers more as it takes to skip to the beginning of a line.
    zeros = np.zeros(count + LINE)
    first = -zeros.ctypes.data // zeros.itemsize % LINE
    return zeros[first : first + count].reshape(shape)
