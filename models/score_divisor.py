"""What attention scores are divided by: a number, the root of one, or the root of the size of a key."""

import math
import re
from fractions import Fraction
from typing import Any

from ..runtime.decimals import is_short, nearest_double, number

SQRT_KEY = "sqrt_key"
"""√R where key and query are matrices of rank R, else √(D+1), the root of the size of a token."""

_SMALLEST, _LARGEST = (
    Fraction(1, 10**50),
    Fraction(10**50),
)  # moments hold the square, and its square is finite

_ROOT = re.compile(r"\s*sqrt\s*\(([^()]*)\)\s*")


def checked(value: Any) -> float | str:
    """A score divisor as models keep it: a double, text such as "2/3" or "sqrt(3)", or "sqrt_key".

    `value` is a positive number, in Python, SymPy or text, or the root of a rational one. ValueError otherwise.

    >>> checked(1), checked("0.50"), checked("sqrt(3)"), checked("sqrt(9/4)"), checked("sqrt_key")
    (1.0, 0.5, 'sqrt(3)', 1.5, 'sqrt_key')
    """
    if isinstance(value, str) and value == SQRT_KEY:
        return value
    plain = number(value)
    if plain is not None and _SMALLEST <= plain <= _LARGEST:
        return plain if isinstance(plain, float) else str(plain)
    square = _square(value)
    if square is None or not _SMALLEST**2 <= square <= _LARGEST**2:
        raise ValueError(
            'score_divisor must be "sqrt_key", a positive number (1e-50 to 1e50), a fraction such as "2/3" or a '
            f'root such as "sqrt(3)", not {value!r}'
        )
    return _root_text(square)


def in_numbers(divisor: float | str, key_size: int) -> float:
    """The double nearest to a checked score divisor, for keys of this size.

    >>> in_numbers("sqrt_key", 3) == in_numbers("sqrt(3)", 7) == math.sqrt(3)
    True
    """
    if isinstance(divisor, float):
        return divisor
    plain = number(divisor)
    if plain is not None:
        return nearest_double(Fraction(plain))
    return math.sqrt(nearest_double(exact_square(divisor, key_size)))


def exact_square(divisor: float | str, key_size: int) -> Fraction:
    """The square of a checked score divisor, exactly.

    ValueError for a double that is no short decimal: it was computed, and nobody knows from what.

    >>> exact_square("sqrt_key", 5), exact_square(0.5, 5)
    (Fraction(5, 1), Fraction(1, 4))
    """
    if divisor == SQRT_KEY:
        return Fraction(key_size)
    if isinstance(divisor, float):
        if not is_short(divisor):
            raise ValueError(
                f"the score_divisor {divisor!r} is no short decimal, so that nobody knows which number it rounds: "
                'write "sqrt_key", a root such as "sqrt(3)" or a fraction such as "1/3"'
            )
        return Fraction(repr(divisor)) ** 2
    root = _ROOT.fullmatch(divisor)
    return Fraction(root[1]) if root else Fraction(divisor) ** 2


def resolved(divisor: float | str, key_size: int) -> float | str:
    """A checked score divisor as a number or the root of one, so that equal ones have equal text."""
    return _root_text(Fraction(key_size)) if divisor == SQRT_KEY else divisor


def _square(value: Any) -> Fraction | None:
    """The square of text such as "sqrt(3)" or of a positive SymPy number, if that is rational."""
    if isinstance(value, str):
        root = _ROOT.fullmatch(value)
        inside = number(root[1]) if root else None
        return None if inside is None else _fraction(inside)
    if not getattr(value, "is_number", False) or not getattr(
        value, "is_positive", False
    ):
        return None
    squared = (value * value).expand()
    return Fraction(int(squared.p), int(squared.q)) if squared.is_Rational else None


def _root_text(square: Fraction) -> float | str:
    """The root of a number: itself where it is rational."""
    root = Fraction(math.isqrt(square.numerator), math.isqrt(square.denominator))
    if root**2 != square:
        return f"sqrt({square})"
    double = nearest_double(root)
    return double if Fraction(repr(double)) == root else str(root)


def _fraction(value: float | Fraction) -> Fraction:
    return value if isinstance(value, Fraction) else Fraction(repr(value))
