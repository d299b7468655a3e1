"""ArrayLike and NDArray by their names: NumPy spells them as unions and generics of several lines."""

from types import GenericAlias

import numpy.typing


class _NamedType(type):
    """Types that print as names and can stand in unions, as `ArrayLike | None`."""

    def __getitem__(cls, item: object) -> GenericAlias:
        return GenericAlias(cls, item if isinstance(item, tuple) else (item,))


def name_array_types() -> None:
    """Replace both by classes of the same name, in this process, which only writes documentation."""
    for name in ("ArrayLike", "NDArray"):
        stand_in = _NamedType(name, (), {"__module__": "numpy.typing"})
        setattr(numpy.typing, name, stand_in)
