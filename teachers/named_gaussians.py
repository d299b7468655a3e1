"""Files that name a constructor of `Gaussian` in place of a covariance of all teachers."""

from collections.abc import Callable
from inspect import signature
from typing import Any

from ..runtime.serialisation import refuse_unknown
from .gaussian import Gaussian


def reader_of(make: Callable[..., Gaussian]) -> Callable[[dict[str, Any]], Gaussian]:
    """What reads the fields of a file that are the arguments of a constructor; it raises ValueError for other fields.

    >>> reader_of(Gaussian.on_supports)({"dimension": 3, "supports": [[0, 1], [2]]}).outputs
    2
    """
    parameters = signature(make).parameters
    needed = [each.name for each in parameters.values() if each.default is each.empty]
    owner = f"the law {make.__name__}"

    def read(settings: dict[str, Any]) -> Gaussian:
        refuse_unknown(settings, allowed=tuple(parameters), owner=owner)
        missing = [name for name in needed if name not in settings]
        if missing:
            raise ValueError(f"{owner} needs the field {', '.join(missing)}")
        return make(**settings)

    return read
