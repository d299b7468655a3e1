"""Checks of arguments: one wording for each thing that can be wrong, whoever meets it.

A refusal says which argument it is, what is allowed and what was given. Shapes are written as in the docstrings,
"(T, D)": an axis is a number, a letter that stands for any size of at least 1, or a letter and a number, "N+1";
"..." stands for any leading axes. Letters whose size is known are passed by name.
"""

import inspect
import math
import pickle
import re
import reprlib
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .arrays import FloatArray
from .decimals import refuse_mask

_AXIS = re.compile(r"(?P<letter>[^\W\d]\w*)(?:\+(?P<offset>\d+))?")


def check_shape(array: NDArray[Any], name: str, *shapes: str, **sizes: int) -> None:
    """ValueError unless the array has one of these shapes; "()" is a number.

    >>> check_shape(np.zeros((3, 5, 2)), "tokens", "(P, N+1, D+1)")
    >>> check_shape(np.zeros(3), "u0", "()", "(D,)", D=4)
    Traceback (most recent call last):
    ValueError: u0 must be a number or have shape (4,), not (3,)
    """
    if any(_fits(array.shape, _axes(shape), sizes) for shape in shapes):
        return
    written = [_written(_axes(shape), sizes) for shape in shapes if shape != "()"]
    allowed = ["be a number"] if "()" in shapes else []
    if written:
        allowed.append(f"have shape {' or '.join(written)}")
    raise ValueError(f"{name} must {' or '.join(allowed)}, not {array.shape}")


def check_finite(array: NDArray[Any], name: str) -> None:
    """ValueError if an entry is nan or infinite.

    >>> check_finite(np.array([1.0, np.nan]), "weights")
    Traceback (most recent call last):
    ValueError: weights must be finite: it holds nan or inf
    """
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite: it holds nan or inf")


def real_array(value: ArrayLike, name: str, *shapes: str, **sizes: int) -> FloatArray:
    """A copy of real numbers in doubles; ValueError for anything else, and unless it has one of the shapes, if any.

    >>> real_array([1, 2], "x", "(N,)")
    array([1., 2.])
    """
    refuse_mask(name, value)
    try:
        array = np.asarray(value)
        # NumPy would drop imaginary parts with a warning, and take dates for numbers.
        if array.dtype.kind in "cmM":
            raise TypeError
        # And None for nan.
        if array.dtype.kind == "O" and any(entry is None for entry in array.flat):
            raise TypeError
        doubles = np.array(array, dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        given = reprlib.repr(value)
        raise ValueError(
            f"{name} must be an array of real numbers, not {given}"
        ) from None
    if shapes:
        check_shape(doubles, name, *shapes, **sizes)
    return doubles


def finite_array(value: ArrayLike, name: str, *shapes: str, **sizes: int) -> FloatArray:
    """A copy of finite real numbers in doubles; ValueError as `real_array` and `check_finite`.

    >>> finite_array([1, 2], "start", "()", "(D,)", D=2)
    array([1., 2.])
    """
    array = real_array(value, name, *shapes, **sizes)
    check_finite(array, name)
    return array


def positive_number(value: object, name: str) -> float:
    """A number above zero; ValueError if it is anything else, infinity included.

    >>> positive_number(-0.1, "learning_rate")
    Traceback (most recent call last):
    ValueError: learning_rate must be positive and finite, not -0.1
    """
    number = _finite_number(value)
    if not number > 0:  # nor is nan
        raise ValueError(f"{name} must be positive and finite, not {value!r}")
    return number


def nonnegative_number(value: object, name: str) -> float:
    """A number of zero or more; ValueError if it is anything else, infinity included.

    >>> nonnegative_number(-1, "tolerance")
    Traceback (most recent call last):
    ValueError: tolerance must be zero or more and finite, not -1
    """
    number = _finite_number(value)
    if not number >= 0:  # nor is nan
        raise ValueError(f"{name} must be zero or more and finite, not {value!r}")
    return number


def whole_number(value: object, name: str, *, least: int = 1) -> int:
    """A whole number of at least `least`; ValueError for anything else, True and 2.0 included.

    >>> whole_number(0, "heads")
    Traceback (most recent call last):
    ValueError: heads must be a whole number of at least 1, not 0
    """
    if not is_whole_number(value, least):
        raise ValueError(
            f"{name} must be a whole number of at least {least}, not {value!r}"
        )
    return int(value)


def is_whole_number(value: object, least: int) -> TypeGuard[int]:
    """Whether a value is a whole number of at least `least`; True and 2.0 are none."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return False
    return bool(value >= least)


def true_or_false(value: object, name: str) -> bool:
    """A truth value; ValueError for anything else, 0 and 1 included.

    >>> true_or_false(1, "softmax")
    Traceback (most recent call last):
    ValueError: softmax must be True or False, not 1
    """
    if not isinstance(value, (bool, np.bool)):
        raise ValueError(f"{name} must be True or False, not {value!r}")
    return bool(value)


def check_choice(value: object, name: str, choices: Iterable[str]) -> None:
    """ValueError unless the value is one of these names.

    >>> check_choice("row", "divisor", ("context", "tokens"))
    Traceback (most recent call last):
    ValueError: divisor must be one of context, tokens, not 'row'
    """
    choices = tuple(choices)
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, not {value!r}")


def refuse_wrong_order(call: str, in_order: bool, *given: object) -> None:
    """TypeError, with the right call and the types that were given, unless the arguments are `in_order`.

    >>> refuse_wrong_order("train(model, source, start)", False, 1.0, "merged")
    Traceback (most recent call last):
    TypeError: call train(model, source, start): got float, then str
    """
    if not in_order:
        types = ", then ".join(type(argument).__name__ for argument in given)
        raise TypeError(f"call {call}: got {types}")


def check_randomness(
    law: str, drawn: FloatArray, again: FloatArray, other: FloatArray | None
) -> None:
    """ValueError unless draws of a law come from the generator alone.

    `again` are those of another generator of the same seed, and `other`, unless None, those of another seed.

    >>> check_randomness("inputs", np.array([1.0]), np.array([1.0]), np.array([1.0]))
    Traceback (most recent call last):
    ValueError: draw of the law of inputs gives the same numbers for every seed: take them from its generator
    """
    if not np.array_equal(drawn, again):
        raise ValueError(
            f"draw of the law of {law} gives other numbers when it is called again with the same seed: take every "
            "random number from its generator"
        )
    if other is not None and np.array_equal(drawn, other):
        raise ValueError(
            f"draw of the law of {law} gives the same numbers for every seed: take them from its generator"
        )


def takes_arguments(function: Callable[..., Any], count: int) -> bool:
    """Whether a function can be called with so many arguments; True where it does not tell, as some of C do not.

    >>> takes_arguments(lambda step: 0.1, 1), takes_arguments(lambda step: 0.1, 3)
    (True, False)
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return True
    try:
        signature.bind(*range(count))
    except TypeError:
        return False
    return True


def refuse_unsendable(name: str, value: object) -> None:
    """ValueError if another process cannot be sent a value: a function or a class that no module names."""
    try:
        pickle.dumps(value)
    except Exception as error:  # whatever a class of the user's own raises
        raise ValueError(
            f"{name} of your own cannot be sent to another process: define the function or class at the top level "
            f"of a module, no lambda and not inside a function ({error})"
        ) from None


def _finite_number(value: object) -> float:
    """A real number of Python or NumPy as a double; nan for anything else, True and infinity included."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return math.nan
    try:
        number = float(value)
    except OverflowError:  # a whole number beyond the largest double
        return math.nan
    return number if math.isfinite(number) else math.nan


def _axes(shape: str) -> list[str]:
    """The axes of a shape as it is written: "(P, N+1)" → ["P", "N+1"]."""
    inside = shape.removeprefix("(").removesuffix(")")
    return [axis.strip() for axis in inside.split(",") if axis.strip()]


def _fits(shape: tuple[int, ...], axes: list[str], sizes: dict[str, int]) -> bool:
    """Whether an array's shape is the written one, each letter having one size."""
    if axes[:1] == ["..."]:
        axes = axes[1:]
        shape = shape[max(0, len(shape) - len(axes)) :]
    if len(shape) != len(axes):
        return False

    known = dict(sizes)
    for size, axis in zip(shape, axes, strict=True):
        letter, offset = _letter(axis)
        # The first axis with a letter says its size; a number is an offset from none.
        base = known.setdefault(letter, size - offset) if letter else 0
        if size != base + offset or (letter and base < 1):
            return False
    return True


def _written(axes: list[str], sizes: dict[str, int]) -> str:
    """A shape for a message, letters of known size as numbers: "(4,)" for "(D,)" with D = 4."""
    entries = []
    for axis in axes:
        letter, offset = ("...", 0) if axis == "..." else _letter(axis)
        known = letter in sizes
        entries.append(str(sizes[str(letter)] + offset) if known else axis)
    return f"({', '.join(entries)}{',' if len(entries) == 1 else ''})"


def _letter(axis: str) -> tuple[str | None, int]:
    """The letter of an axis and what is added to it; None and the size itself for a number."""
    if axis.isdigit():
        return None, int(axis)
    match = _AXIS.fullmatch(axis)
    if match is None:
        raise TypeError(f"{axis!r} is no axis of a shape: write a number, N or N+1")
    return match["letter"], int(match["offset"] or 0)
