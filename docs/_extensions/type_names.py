"""Signatures that can be read: array types by their names, and factories of defaults as dots.

NumPy spells ArrayLike and NDArray as unions and generics of several lines.
"""

from types import GenericAlias

import numpy.typing
from sphinx.application import Sphinx


class _NamedType(type):
    """Types that print as names and can stand in unions, as `ArrayLike | None`."""

    def __getitem__(cls, item: object) -> GenericAlias:
        return GenericAlias(cls, item if isinstance(item, tuple) else (item,))


def name_array_types() -> None:
    """Replace both by classes of the same name, in this process, which only writes documentation."""
    for name in ("ArrayLike", "NDArray"):
        stand_in = _NamedType(name, (), {"__module__": "numpy.typing"})
        setattr(numpy.typing, name, stand_in)


def dots_for_factories(*event: object) -> tuple[str, object] | None:
    """`= ...` for `= <factory>` of dataclasses, which is no Python: Sphinx would print all types raw."""
    *_, signature, returned = event
    if not isinstance(signature, str):
        return None
    return signature.replace("<factory>", "..."), returned


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("autodoc-process-signature", dots_for_factories)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
