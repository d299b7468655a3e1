"""Teachers of one length."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import whole_number
from ..runtime.decimals import Number, positive
from .pool import LawWithPools


@dataclass(frozen=True, init=False, eq=False, repr=False)
class Sphere(LawWithPools):
    """Teachers of one output that are uniform on the sphere |w| = radius, by default √D.

    ValueError for a dimension that is not a whole number of at least 1, and for a radius that is not positive.

    >>> np.linalg.norm(Sphere(4).draw(np.random.default_rng(0), 2), axis=-1)
    array([[2.],
           [2.]])
    """

    size: int
    """D, as it was given."""
    radius: float

    def __init__(self, dimension: int, radius: Number | None = None) -> None:
        D = whole_number(dimension, "dimension")
        length = np.sqrt(D) if radius is None else positive("radius", radius)
        object.__setattr__(self, "size", D)
        object.__setattr__(self, "radius", float(length))

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        return self.size

    @property
    def outputs(self) -> int:
        """K = 1."""
        return 1

    @property
    def symmetric(self) -> bool:
        """True: −w has the law of w."""
        return True

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, 1, D)."""
        z = generator.standard_normal((n, self.dimension))
        length = np.linalg.norm(z, axis=1, keepdims=True)
        return np.asarray(self.radius * z / length)[:, None, :]

    @classmethod
    def fields(cls) -> tuple[str, ...]:
        """Names that a file may hold."""
        return ("dimension", "radius")

    def to_dict(self) -> dict[str, Any]:
        """The arguments, and the name of the law."""
        settings: dict[str, Any] = {"law": "sphere", "dimension": self.dimension}
        if self.radius != np.sqrt(self.dimension):
            settings["radius"] = self.radius
        return settings
