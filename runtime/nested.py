"""Nested dict, list, tuple, named tuple, numbers and arrays, as a description in JSON and a list of arrays."""

import reprlib
from collections import namedtuple
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

_NUMBERS = (bool, int, float, str)
"""Plain values that JSON keeps as they are."""


class Packed(NamedTuple):
    """What `pack` makes of a nest: its description, which JSON holds, and its arrays in the order of their places."""

    description: Any
    arrays: list[NDArray[Any]]


def pack(nest: object, name: str) -> Packed:
    """A nest as a description and arrays; arrays of other libraries become NumPy's.

    ValueError, in which `name` stands for the nest, for anything else in it, for objects in an array, and for keys
    that are no text.

    >>> pack({"step": 3, "mean": (np.ones(2), None)}, "state").arrays
    [array([1., 1.])]
    """
    arrays: list[NDArray[Any]] = []
    return Packed(_described(nest, arrays, name), arrays)


def unpack(description: Any, arrays: Sequence[NDArray[Any]]) -> Any:
    """The nest that `pack` described; a named tuple comes back as one of the same name and fields.

    >>> unpack(*pack({"step": 3, "mean": (np.ones(2), None)}, "state"))
    {'step': 3, 'mean': (array([1., 1.]), None)}
    """
    kind, content = description
    if kind == "value":
        return content
    if kind == "array":
        return arrays[content]
    if kind == "scalar":
        return arrays[content][()]
    if kind == "dict":
        return {key: unpack(value, arrays) for key, value in content}
    if kind == "named":
        title, fields, values = content
        return namedtuple(title, fields)(*[unpack(value, arrays) for value in values])
    entries = [unpack(value, arrays) for value in content]
    return {"list": list, "tuple": tuple}[kind](entries)


def like(template: Any, nest: Any, name: str) -> Any:
    """The nest with the named tuples of a template in place of those that `unpack` made.

    ValueError, in which `name` stands for the nest, unless the two have the same form: keys, lengths, fields, and the
    shapes of arrays.

    >>> like({"mean": np.zeros(2)}, {"mean": np.ones(2)}, "state")
    {'mean': array([1., 1.])}
    """
    if _is_named(template):
        if not _is_named(nest) or nest._fields != template._fields:
            raise _misfit(template, nest, name)
        entries = zip(template, nest, strict=True)
        return type(template)(*[like(mine, theirs, name) for mine, theirs in entries])
    if isinstance(template, Mapping):
        if not isinstance(nest, Mapping) or set(nest) != set(template):
            raise _misfit(template, nest, name)
        return {key: like(template[key], nest[key], name) for key in template}
    if isinstance(template, list | tuple):
        if type(nest) is not type(template) or len(nest) != len(template):
            raise _misfit(template, nest, name)
        entries = zip(template, nest, strict=True)
        return type(template)(like(mine, theirs, name) for mine, theirs in entries)
    is_leaf = not isinstance(nest, Mapping | list | tuple)
    if not is_leaf or np.shape(nest) != np.shape(template):
        raise _misfit(template, nest, name)
    return nest


def _misfit(template: object, nest: object, name: str) -> ValueError:
    given, needed = reprlib.repr(nest), reprlib.repr(template)
    return ValueError(
        f"{name} does not have the form that it should: it holds {given} in place of {needed}"
    )


def _described(nest: object, arrays: list[NDArray[Any]], name: str) -> list[Any]:
    """The description of a nest, whose arrays go to the end of a list."""

    def inside(value: object) -> list[Any]:
        return _described(value, arrays, name)

    # Exactly these types: a subclass, such as an enumeration, would come back as another value.
    if nest is None or type(nest) in _NUMBERS:
        return ["value", nest]
    if _is_named(nest):
        values = [inside(value) for value in nest]
        return ["named", [type(nest).__name__, list(nest._fields), values]]
    if isinstance(nest, Mapping):
        if not all(isinstance(key, str) for key in nest):
            raise ValueError(f"{name} must have text for keys, not {list(nest)!r}")
        return ["dict", [[key, inside(value)] for key, value in nest.items()]]
    if isinstance(nest, list | tuple):
        kind = "list" if isinstance(nest, list) else "tuple"
        return [kind, [inside(value) for value in nest]]
    arrays.append(_as_array(nest, name))
    kind = "scalar" if isinstance(nest, np.generic) else "array"
    return [kind, len(arrays) - 1]


def _as_array(leaf: object, name: str) -> NDArray[Any]:
    """A copy of an array of NumPy, or of another library that knows how to become one."""
    if isinstance(leaf, np.ndarray | np.generic) or hasattr(leaf, "__array__"):
        array = np.array(leaf)
        if array.dtype.kind in "biufc":
            return array
    raise ValueError(
        f"{name} must be made of dict, list, tuple, numbers and arrays of numbers, not {reprlib.repr(leaf)}"
    )


def _is_named(nest: object) -> TypeGuard[Any]:
    return isinstance(nest, tuple) and hasattr(nest, "_fields")
