"""Balls of python-flint: a midpoint and a radius, of which every operation returns one that holds the true result."""

import functools
import inspect
from collections.abc import Callable, Sequence
from fractions import Fraction
from threading import RLock
from typing import Any, ParamSpec, TypeVar

from ...runtime.decimals import exact_fraction

Ball = Any
"""A real ball of python-flint (`arb`), whose types its stubs do not tell."""

BallMatrix = Any
"""A matrix of balls (`arb_mat`)."""

RationalMatrix = Any
"""A matrix of exact rationals (`fmpq_mat`)."""

LEAST_BITS = 20
"""Fewest bits that are tried: fewer hold no six digits, and every certificate would be refused."""

MOST_BITS = 2**14
"""Most bits that are tried: 4900 digits. More than that is a mistake, and would not end."""

_ONE_AT_A_TIME = RLock()
"""Held while the precision is set: another thread would change it, and cut series short, which makes wrong balls."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class NoCertificate(ArithmeticError):
    """Nothing is claimed: why no enclosure could be certified, and what may help, in one sentence."""


def flint() -> Any:
    """The library python-flint; ValueError, which names the extra, where it is not installed."""
    try:
        import flint as library
    except ImportError:
        raise ValueError(
            "certified enclosures need the package python-flint: pip install 'attndyn[certified]'"
        ) from None
    return library


def with_precision(
    routine: Callable[Parameters, Result],
) -> Callable[Parameters, Result]:
    """The routine with the precision that its argument `bits` asks for, and the caller's one afterwards.

    Precision and length of series are global in python-flint: whoever leaves them changed breaks other code, and
    threads wait for each other.
    """

    default = inspect.signature(routine).parameters["bits"].default

    @functools.wraps(routine)
    def precise(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        context = flint().ctx
        bits = checked_bits(kwargs.get("bits", default))
        with _ONE_AT_A_TIME:
            before = context.prec, context.cap
            context.prec = bits
            try:
                return routine(*args, **kwargs)
            finally:
                context.prec, context.cap = before

    return precise


def checked_bits(bits: object) -> int:
    """The number of bits; ValueError unless it is a whole number that a computation can have."""
    return whole_number_between("bits", bits, LEAST_BITS, MOST_BITS)


def whole_number_between(name: str, value: object, least: int, most: int) -> int:
    """The whole number; ValueError names it unless it is one and lies between the two."""
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if is_whole and least <= value <= most:  # type: ignore[operator]
        return value  # type: ignore[return-value]
    raise ValueError(
        f"{name} must be a whole number from {least} to {most}, not {value!r}"
    )


def rational(name: str, value: object) -> Fraction:
    """The exact number that was written, a float as the decimal that Python prints; ValueError names what is none."""
    try:
        return exact_fraction(value)
    except ValueError as error:
        raise ValueError(f"{name} must be a rational number: {error}") from None


def positive_rational(name: str, value: object) -> Fraction:
    """`rational` of what is above zero; ValueError otherwise."""
    number = rational(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive, not {value!r}")
    return number


def fmpq(number: Fraction) -> Any:
    """A fraction as the exact rational of the library."""
    return flint().fmpq(number.numerator, number.denominator)


def ball(number: Fraction) -> Ball:
    """The ball around a fraction that the precision can hold."""
    return flint().arb(fmpq(number))


def rational_matrix(rows: Sequence[Sequence[Fraction]]) -> RationalMatrix:
    """Rows of fractions as an exact matrix."""
    entries = [fmpq(entry) for row in rows for entry in row]
    return flint().fmpq_mat(len(rows), len(rows[0]), entries)


def as_balls(matrix: RationalMatrix) -> BallMatrix:
    """The balls around the entries of an exact matrix."""
    arb = flint().arb
    entries = [arb(entry) for entry in matrix.entries()]
    return flint().arb_mat(matrix.nrows(), matrix.ncols(), entries)


def total(terms: Sequence[Ball]) -> Ball:
    """The sum of balls or of series, of which there is at least one."""
    first, *others = terms
    for term in others:
        first = first + term
    return first


def is_finite(value: Ball) -> bool:
    """Whether a ball bounds anything: one of infinite radius holds every number."""
    return bool(value.is_finite())
