"""Laws of this package: what they share, and how a file names them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..runtime.arrays import FloatArray
from ..runtime.checks import check_choice
from ..runtime.serialisation import Settings
from .protocol import TeacherLaw

LAWS: dict[str, Callable[[dict[str, Any]], "Law"]] = {}
"""The field law of a file → what reads the other fields; `attndyn.teachers` fills it, so that a law may hold others."""


class Law(Settings):
    """Base of the laws of this package, which a file can hold."""

    @property
    def dimension(self) -> int:
        """D, the dimension of x."""
        raise NotImplementedError

    @property
    def outputs(self) -> int:
        """K, the number of labels of one x."""
        raise NotImplementedError

    @property
    def symmetric(self) -> bool:
        """Whether −W has the law of W, so that odd moments vanish."""
        raise NotImplementedError

    def draw(self, generator: np.random.Generator, n: int) -> FloatArray:
        """n teachers, (n, K, D)."""
        raise NotImplementedError

    def arguments(self) -> dict[str, Any]:
        """The settings without the name of the law, which its class says."""
        settings = self.to_dict()
        del settings["law"]
        return settings

    def __reduce__(self) -> tuple[Any, ...]:
        return law_from_dict, (self.to_dict(),)


def law_from_dict(settings: Mapping[str, Any]) -> TeacherLaw:
    """The law named by settings["law"], with the other fields.

    "gaussian", "sphere", "pool" and "mixture" have the arguments of their classes; "shared_basis", "kronecker" and
    "on_supports" those of the functions of `Gaussian`, as which such a law is stored.

    >>> law_from_dict({"law": "sphere", "dimension": 3})
    Sphere(dimension=3)
    >>> law_from_dict({"law": "on_supports", "dimension": 3, "supports": [[0, 1], [2]]}).outputs
    2
    """
    if not isinstance(settings, Mapping):
        raise ValueError(
            f"teachers must be a law, or a table with the field law, not {settings!r}"
        )
    name = settings.get("law")
    check_choice(name, "law", LAWS)
    arguments = dict(settings)
    del arguments["law"]
    return LAWS[str(name)](arguments)


def law_settings(law: TeacherLaw) -> dict[str, Any]:
    """The law as `law_from_dict` reads it; ValueError for a law of the user's own, which no file can hold."""
    if isinstance(law, Law):
        return law.to_dict()
    raise ValueError(
        f"{type(law).__name__} is a law of teachers of your own, which a file cannot hold: keep it in your script"
    )
