"""Numbers as they are written: the exact fraction of a decimal, of text such as "2/5" and of a printed float."""

import re
from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction
from numbers import Rational, Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Numbers = ArrayLike | Sequence[Any]
"""Nested sequences of numbers, or of text such as "2/5"."""

Number = float | str | Decimal | Fraction
"""What one number may be given as: text such as "2/5" is exact, a float is the decimal that Python prints."""

_DECIMAL = r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
_TEXT = re.compile(rf"\s*({_DECIMAL})\s*(?:/\s*({_DECIMAL})\s*)?")
_MOST_DIGITS = 1000
_LARGEST_EXPONENT = 400  # beyond the range of doubles, and small enough that 10^exponent is made at once
_SHORT = 12  # digits: of the doubles that a computation rounds, one in ten thousand prints with as few
_ASYMMETRY = 1e-12  # relative: differences of entries that ought to be equal


class Written(NamedTuple):
    """Numbers as doubles, and exactly: None where every double prints as the number that was written."""

    doubles: NDArray[np.float64]
    exact: NDArray[Any] | None


def exact_fraction(value: object) -> Fraction:
    """The number that was written; a float is the shortest decimal that names it, as Python prints it.

    ValueError for what is no finite real number: text must be a decimal or a quotient of two.

    >>> exact_fraction(0.1), exact_fraction("2/5"), exact_fraction("1e-3")
    (Fraction(1, 10), Fraction(2, 5), Fraction(1, 1000))
    """
    if isinstance(value, str):
        return _of_text(value)
    if isinstance(value, Decimal):
        return _of_decimal(value)
    if isinstance(value, (bool, np.bool)):
        raise ValueError(f"{value!r} is no number")
    if isinstance(value, Rational):
        return Fraction(int(value.numerator), int(value.denominator))
    if isinstance(value, Real) and np.isfinite(float(value)):
        return Fraction(repr(float(value)))
    raise ValueError(f"{value!r} is no finite number")


def in_message(value: object) -> str:
    """What a message shows of a value: a decimal of a file as it is written there.

    >>> in_message([Decimal("0.10"), "2/5", 1])
    "[0.10, '2/5', 1]"
    """
    return re.sub(r"Decimal\('([^']*)'\)", r"\1", repr(value))


def in_one_line(value: object) -> str:
    """What a message shows of a value that may be an array, which prints in several lines.

    >>> in_one_line(np.eye(2))
    'array([[1., 0.], [0., 1.]])'
    """
    return " ".join(in_message(value).split())[:80]


def nearest_double(number: Fraction) -> float:
    """The double nearest to a fraction, infinite beyond the largest."""
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def written_array(value: Numbers) -> Written:
    """An array of numbers, or of decimals and text such as "2/5"; ValueError if anything is neither."""
    if isinstance(value, np.ndarray) and value.dtype.kind == "f":
        return Written(np.array(value, dtype=np.float64), None)
    objects = np.array(value, dtype=object)
    doubles_only = all(isinstance(entry, float) for entry in objects.flat)
    # What is infinite is refused by the caller, who knows its name.
    finite = all(_is_finite(entry) for entry in objects.flat)
    if doubles_only or not finite:
        return Written(np.array(objects, dtype=np.float64), None)
    exact = np.empty(objects.shape, dtype=object)
    for index in np.ndindex(objects.shape):
        exact[index] = exact_fraction(objects[index])
    return as_written(exact)


def as_written(exact: NDArray[Any]) -> Written:
    """Fractions with their nearest doubles, and without the fractions where the doubles say as much."""
    doubles = np.empty(exact.shape)
    for index, fraction in np.ndenumerate(exact):
        doubles[index] = nearest_double(fraction)
    if np.all(np.isfinite(doubles)) and np.array_equal(_printed(doubles), exact):
        return Written(doubles, None)
    return Written(doubles, exact)


def fractions_of(written: Written) -> NDArray[Any]:
    """The exact numbers, as an array of fractions of the same shape."""
    if written.exact is None:
        return _printed(written.doubles)
    return written.exact


def _printed(doubles: NDArray[np.float64]) -> NDArray[Any]:
    """The fractions that doubles print as."""
    exact = np.empty(doubles.shape, dtype=object)
    for index in np.ndindex(exact.shape):
        exact[index] = Fraction(repr(float(doubles[index])))
    return exact


def as_stored(value: float, exact: Fraction) -> float | str:
    """How a number is stored: the double where it prints as the number itself, else the fraction as text."""
    printed = Fraction(repr(float(value)))
    return value if printed == exact else str(exact)


def frozen_numbers(written: Written) -> NDArray[Any]:
    """What a task keeps of numbers that it was given: doubles, or fractions where these say more."""
    array = np.array(written.doubles if written.exact is None else written.exact)
    array.flags.writeable = False
    return array


def fractions(stored: NDArray[Any]) -> NDArray[Any]:
    """The exact numbers of what `frozen_numbers` keeps."""
    if stored.dtype == object:
        return stored
    return _printed(stored)


def exactly_symmetric(matrix: NDArray[Any]) -> NDArray[Any]:
    """(C + Cᵀ)/2 in fractions."""
    return np.asarray((matrix + matrix.T) / 2)


def nested_lists(doubles: NDArray[np.float64], exact: NDArray[Any] | None) -> list[Any]:
    """Nested lists of doubles, or of text where a fraction says more."""
    if exact is None:
        return list(doubles.tolist())
    rows = zip(doubles, exact, strict=True)
    if doubles.ndim > 1:
        return [nested_lists(row, exact_row) for row, exact_row in rows]
    return [as_stored(float(value), fraction) for value, fraction in rows]


def refuse_mask(name: str, value: object) -> None:
    """ValueError for a masked array: what it says of its numbers would be lost."""
    if isinstance(value, np.ma.MaskedArray):
        raise ValueError(
            f"{name} must be a plain array: the mask of a masked one would be lost"
        )


def number_array(
    name: str, value: Numbers | None, shape: tuple[int | None, ...]
) -> Written:
    """Finite numbers of this shape, None for any size; ValueError names them and what is wrong."""
    wanted = _shape_text(shape)
    refuse_mask(name, value)
    try:
        written = written_array(() if value is None else value)
    except (TypeError, ValueError):
        raise ValueError(
            f"{name} must be numbers of shape {wanted}, not {in_message(value)}"
        ) from None
    array = written.doubles
    if not _has_shape(array, shape):
        raise ValueError(f"{name} must have shape {wanted}, not {array.shape}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{name} must be finite: it holds nan or inf")
    # -0.0 and 0.0 are equal, and so must their JSON be.
    return Written(array + 0.0, written.exact)


def _has_shape(array: NDArray[Any], shape: tuple[int | None, ...]) -> bool:
    """Whether an array has entries, and the sizes that are named."""
    if array.ndim != len(shape) or array.size == 0:
        return False
    sizes = zip(shape, array.shape, strict=True)
    return all(wanted in (None, size) for wanted, size in sizes)


def _shape_text(shape: tuple[int | None, ...]) -> str:
    """A shape for a message, D standing for any size."""
    sizes = ["D" if size is None else str(size) for size in shape]
    comma = "," if len(sizes) == 1 else ""  # as Python writes a tuple of one
    return f"({', '.join(sizes)}{comma})"


def symmetric(name: str, value: Numbers, dimension: int | None) -> Written:
    """A symmetric matrix, a difference of rounding averaged away; ValueError as `number_array`."""
    array, exact = number_array(name, value, (dimension, dimension))
    if array.shape[0] != array.shape[1]:
        raise ValueError(
            f"{name} must be square, not {array.shape[0]} × {array.shape[1]}"
        )
    # What rounding leaves of a product such as R Λ Rᵀ.
    tolerance = _ASYMMETRY * float(np.max(np.abs(array)))
    if not np.allclose(array, array.T, rtol=_ASYMMETRY, atol=tolerance):
        raise ValueError(
            f"{name} must be symmetric: pass (C + C.T) / 2 if the difference is rounding"
        )
    if exact is None:
        # Halves before their sum: it may be beyond doubles. Equal entries stay, however small.
        mean = np.where(array == array.T, array, array / 2 + array.T / 2)
        return Written(mean, None)
    return as_written(exactly_symmetric(exact))


def nonnegative(name: str, value: object) -> float | Fraction:
    """`number` of what is zero or more; ValueError names it otherwise."""
    exact = number(value)
    if exact is None or not 0 <= float(exact) < np.inf:
        raise ValueError(
            f"{name} must be zero or more and finite, not {in_message(value)}"
        )
    return exact


def positive(name: str, value: object) -> float:
    """The double of a positive number, which may be text such as "1/2"; ValueError names it otherwise."""
    exact = number(value)
    if exact is None or not float(exact) > 0:
        raise ValueError(f"{name} must be positive and finite, not {in_message(value)}")
    return float(exact)


def number(value: object) -> float | Fraction | None:
    """The double that prints as this number, or the fraction that it is; None for what is no finite number."""
    try:
        exact = exact_fraction(value)
    except ValueError:
        return None
    double = nearest_double(exact)
    if not np.isfinite(double):
        return None
    return double if Fraction(repr(double)) == exact else exact


def number_of_text(text: object) -> float | Fraction:
    """`number`, or nan and infinity for the owner to refuse by name; ValueError for what is no number."""
    value = number(text)
    return float(str(text)) if value is None else value


def is_short(value: float) -> bool:
    """Whether a double prints as a decimal that a person may have written, and no computation."""
    digits = Decimal(repr(float(value))).normalize().as_tuple().digits
    return len(digits) <= _SHORT


def _is_finite(value: object) -> bool:
    """Whether this is not an infinite or undefined number; other things are for `exact_fraction` to refuse."""
    if isinstance(value, Decimal):
        return value.is_finite()
    return not isinstance(value, (float, np.floating)) or bool(np.isfinite(value))


def _of_text(text: str) -> Fraction:
    """The fraction that a decimal or a quotient of two says."""
    match = _TEXT.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is no number: write a decimal, or a fraction such as '2/5'"
        )
    numerator = _of_decimal(Decimal(match[1]))
    denominator = _of_decimal(Decimal(match[2] or "1"))
    if denominator == 0:
        raise ValueError(f"{text!r} divides by zero")
    return numerator / denominator


def _of_decimal(value: Decimal) -> Fraction:
    if not value.is_finite():
        raise ValueError(f"{value} is no finite number")
    if len(value.as_tuple().digits) > _MOST_DIGITS:
        raise ValueError(f"a number may have {_MOST_DIGITS} digits")
    if value and abs(value.adjusted()) > _LARGEST_EXPONENT:
        raise ValueError(f"{value} is outside the range of floating point")
    return Fraction(value)
