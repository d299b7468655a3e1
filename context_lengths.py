"""Context lengths: what a task is given, which lengths its loss averages over, and their weights."""

import math
import re
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeGuard

import numpy as np

from .runtime.arrays import FloatArray, read_only
from .runtime.checks import is_whole_number
from .runtime.decimals import Number, as_stored, exact_fraction, in_message, number

ContextLength = int | str | Sequence[int] | Mapping[int, Number]
"""N, "n0..N", a list of lengths, or {length: weight}."""

CheckedLength = int | str | tuple[int, ...] | dict[int, float | Fraction]
"""The same once it is checked: lengths in increasing order, one alone is N, a weight that no double says a fraction."""

MOST_LENGTHS = 10**6
"""Most context lengths of an average: a second's work for the theory."""

LARGEST_WEIGHT = 1e300
"""Largest weight of a context length: the sum of as many as there may be is finite."""

LONGEST = 2**53
"""Longest context: the whole numbers up to here are exact in floating point."""


def checked_context_length(value: object) -> CheckedLength:
    """N, "n0..N", lengths, or {length: weight}; ValueError for anything else, and for more than can be computed.

    >>> checked_context_length([5, 3]), checked_context_length("1..3")
    ((3, 5), '1..3')
    """
    if isinstance(value, str):
        return _length_of_text(value)
    if is_whole_number(value, least=1):
        return _one_length(int(value))
    if isinstance(value, Mapping) and value:
        _refuse_many_lengths(len(value))
        return _weighted_lengths(value)
    if _is_sequence(value) and len(value):
        _refuse_many_lengths(len(value))
        return _listed_lengths(list(value))
    raise _not_a_length(value)


def averaged_lengths(length: CheckedLength) -> tuple[int, ...]:
    """Every context length that the loss averages over, in increasing order.

    >>> averaged_lengths("2..4"), averaged_lengths(31)
    ((2, 3, 4), (31,))
    """
    if isinstance(length, int):
        return (length,)
    if isinstance(length, str):
        first, last = length.split("..")
        return tuple(range(int(first), int(last) + 1))
    return tuple(length)


def length_weights(length: CheckedLength) -> FloatArray:
    """The weight of each of the `averaged_lengths` in the loss, summing to 1, (L,).

    >>> length_weights({1: 1.0, 4: 3.0})
    array([0.25, 0.75])
    """
    if isinstance(length, dict):
        weights = np.array([float(weight) for weight in length.values()])
        return read_only(weights / math.fsum(weights))
    count = len(averaged_lengths(length))
    return read_only(np.full(count, 1 / count))


def written_length(length: CheckedLength) -> ContextLength:
    """The context length as an argument that prints: a weight that is a fraction as text.

    >>> written_length({1: Fraction(1, 3), 4: 3.0})
    {1: '1/3', 4: 3.0}
    """
    if not isinstance(length, dict):
        return length
    return {
        n: as_stored(float(weight), exact_fraction(weight))
        for n, weight in length.items()
    }


def stored_length(length: CheckedLength) -> Any:
    """The context length as JSON and TOML have it: lists, and tables with text for their keys.

    >>> stored_length({1: 1.0, 4: 3.0})
    {'1': 1.0, '4': 3.0}
    """
    written = written_length(length)
    if isinstance(written, Mapping):
        return {str(n): weight for n, weight in written.items()}
    return list(written) if isinstance(written, tuple) else written


def _not_a_length(value: object) -> ValueError:
    return ValueError(
        'context_length must be N ≥ 1, "n0..N" with n0 ≤ N, a list or {n: weight}, '
        f"not {in_message(value)}"
    )


def _length_of_text(text: str) -> int | str:
    """N or "n0..N", without spaces."""
    # At most 4001 digits, which Python turns into a number at once.
    digits = r"(0|[1-9][0-9]{0,4000})"
    match = re.fullmatch(rf" *(?:{digits} *\.\. *)?{digits} *", text)
    if match is None:
        raise _not_a_length(text)
    last = int(match[2])
    if match[1] is not None:
        return _range_of_lengths(int(match[1]), last, text)
    if last < 1:
        raise _not_a_length(text)
    return _one_length(last)


def _is_sequence(value: object) -> TypeGuard[Sequence[Any]]:
    """Whether a value lists lengths: not text, nor an array of no axis."""
    is_array = isinstance(value, np.ndarray) and value.ndim > 0
    return is_array or isinstance(value, (list, tuple, range))


def _refuse_many_lengths(count: int) -> None:
    if count > MOST_LENGTHS:
        raise ValueError(
            f"context_length averages over more than {MOST_LENGTHS} lengths: pass one N, or fewer"
        )


def _one_length(length: int) -> int:
    if length > LONGEST:
        raise ValueError(
            f"context_length must be at most {LONGEST}, up to where numbers are exact"
        )
    return length


def _range_of_lengths(first: int, last: int, given: str) -> str:
    if first > last or last < 1:
        raise _not_a_length(given)
    if last - first >= MOST_LENGTHS:
        raise ValueError(
            f"context_length {first}..{last} averages over more than {MOST_LENGTHS} lengths: pass one N"
        )
    _one_length(last)
    return f"{first}..{last}"


def _listed_lengths(lengths: list[Any]) -> int | tuple[int, ...]:
    """The lengths of a list in increasing order, or the only one."""
    for length in lengths:
        if not is_whole_number(length, least=0):
            raise ValueError(
                f"context_length must list whole numbers of at least 0, not {in_message(length)}"
            )
        _one_length(int(length))
    ordered = sorted(int(length) for length in lengths)
    if len(set(ordered)) < len(ordered):
        raise ValueError(
            "context_length lists a length twice: write {length: weight} to weigh them"
        )
    if ordered[-1] < 1:
        raise ValueError("context_length must hold a length of at least 1")
    return ordered[0] if len(ordered) == 1 else tuple(ordered)


def _weighted_lengths(weights: Mapping[Any, Any]) -> int | dict[int, float | Fraction]:
    """Length → weight in increasing order, or the only length; keys may be text, as files have them."""
    by_length: dict[int, float | Fraction] = {}
    for key, value in weights.items():
        is_text = isinstance(key, str) and re.fullmatch("[0-9]{1,16}", key)
        length = int(key) if is_text else key
        weight = number(value)
        # As a double: a fraction such as 10⁻⁴⁰⁰ would weigh nothing.
        if weight is None or not 0 < float(weight) <= LARGEST_WEIGHT:
            raise ValueError(
                f"the weight of context_length {key} must be a positive number, not {in_message(value)}"
            )
        if length in by_length:
            raise ValueError(f"context_length {length} is stated twice")
        by_length[length] = weight
    lengths = _listed_lengths(list(by_length))
    if isinstance(lengths, int):
        return lengths
    return {length: by_length[length] for length in lengths}
