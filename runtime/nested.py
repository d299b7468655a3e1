"""Nested dict, list, tuple, named tuple, numbers and arrays, as a description in JSON and a list of arrays."""

import copy
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


def refuse_unstorable(nest: object, name: str) -> None:
    """ValueError, in which `name` stands for the nest, for one that `pack` does not take.

    >>> refuse_unstorable({1: 2}, "state")
    Traceback (most recent call last):
    ValueError: state must have text for keys, not [1]
    """
    pack(nest, name)


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


def copied(nest: Any) -> Any:
    """The nest with copies of its arrays, so that writing into one leaves the other alone.

    Arrays of other libraries become NumPy's, so that a nest is the same whether it came from a file or not.

    >>> nest = {"mean": np.ones(2)}
    >>> copied(nest)["mean"] is nest["mean"]
    False
    """
    # The common types first: this is done in every step of a descent.
    kind = type(nest)
    if kind is np.ndarray:
        return nest.copy()
    if kind is dict:
        return {key: copied(value) for key, value in nest.items()}
    if _is_named(nest):
        return kind(*[copied(value) for value in nest])
    if kind is tuple or kind is list:
        return kind([copied(value) for value in nest])
    if hasattr(nest, "__array__") and not isinstance(nest, np.generic | np.ndarray):
        return np.array(nest)
    return copy.deepcopy(nest)


def with_classes_of(template: Any, nest: Any) -> Any:
    """The nest with the named tuples of a template in place of those that `unpack` made, known by name and fields.

    >>> with_classes_of(Packed([], []), [unpack(*pack(Packed(1, 2), "state"))])
    [Packed(description=1, arrays=2)]
    """
    classes: dict[Any, type] = {}
    _collect_classes(template, classes)
    return _with_classes(nest, classes)


def _collect_classes(nest: Any, classes: dict[Any, type]) -> None:
    """Adds the classes of all named tuples in a nest, under their names and fields."""
    if _is_named(nest):
        classes[type(nest).__name__, nest._fields] = type(nest)
    if isinstance(nest, Mapping):
        nest = tuple(nest.values())
    if isinstance(nest, list | tuple):
        for value in nest:
            _collect_classes(value, classes)


def _with_classes(nest: Any, classes: dict[Any, type]) -> Any:
    if _is_named(nest):
        cls = classes.get((type(nest).__name__, nest._fields), type(nest))
        return cls(*[_with_classes(value, classes) for value in nest])
    if isinstance(nest, dict):
        return {key: _with_classes(value, classes) for key, value in nest.items()}
    if type(nest) in (list, tuple):
        return type(nest)([_with_classes(value, classes) for value in nest])
    return nest


# Long because it lists every kind of value that a nest may hold.
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
