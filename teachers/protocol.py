"""What a law of teachers must offer."""

from typing import Protocol, runtime_checkable

import numpy as np

from ..runtime.arrays import FloatArray


@runtime_checkable
class TeacherLaw(Protocol):
    """What a law of teachers must offer; a user's own needs no base class.

    Besides what is here the theory asks a law of the user's own for `second` (K, D, K, D) = E W_ia W_jb, and for
    `fourth`, the fourth moments, where all features of attention are meant.
    """

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""

    @property
    def symmetric(self) -> bool:
        """Whether −W has the law of W, so that odd moments vanish."""

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""
