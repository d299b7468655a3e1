"""An interval of exact rational ends, which the true number lies in."""

import math
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from typing import Any

from ...runtime.decimals import exact_fraction
from ...runtime.display import Displayed, Summary
from .balls import Ball, NoCertificate, is_finite

RADIUS_DIGITS = 2
"""Digits of a radius in print: a bound needs no more."""

MOST_DIGITS = 60
"""Decimals of a number whose interval has no width in print."""


@dataclass(frozen=True, repr=False)
class Enclosure(Displayed):
    """The interval from `lower` to `upper`, both exact: of a result it holds the true number with certainty.

    Text such as "27.1" and floats are read as the decimals that they are written as. ValueError if `lower` is above
    `upper`, or for what is no finite number.

    >>> half = Enclosure.around("0.5", "1e-3")
    >>> half.contains("0.4999"), half.is_inside(Enclosure.around("0.5", "0.1"))
    (True, True)
    >>> half.is_disjoint(Enclosure.around("0.6", "1e-3"))
    True
    >>> print(half)
    0.5000 ± 1.0e-3
    """

    lower: Fraction
    upper: Fraction

    def __post_init__(self) -> None:
        # A double is not the decimal that it prints as: 0.1 lies above 1/10.
        object.__setattr__(self, "lower", exact_fraction(self.lower))
        object.__setattr__(self, "upper", exact_fraction(self.upper))
        if self.lower > self.upper:
            raise ValueError(
                "an interval goes from lower to upper, "
                f"not from {_quotient(self.lower)} down to {_quotient(self.upper)}"
            )

    @classmethod
    def around(cls, midpoint: object, radius: object = 0) -> "Enclosure":
        """The interval of this midpoint and radius; ValueError for a negative radius or what is no number."""
        middle = exact_fraction(midpoint)
        half_width = exact_fraction(radius)
        if half_width < 0:
            raise ValueError(f"a radius is zero or more, not {radius!r}")
        return cls(middle - half_width, middle + half_width)

    @classmethod
    def of_ball(cls, value: Ball) -> "Enclosure":
        """The interval of a ball, which is exact; NoCertificate for a ball that bounds nothing."""
        if not is_finite(value):
            raise NoCertificate(
                "the balls grew beyond every bound at this precision: more bits are needed"
            )
        middle = _dyadic(value.mid())
        radius = _dyadic(value.rad())
        return cls(middle - radius, middle + radius)

    @property
    def midpoint(self) -> Fraction:
        """The middle of the interval."""
        return (self.lower + self.upper) / 2

    @property
    def radius(self) -> Fraction:
        """Half the width."""
        return (self.upper - self.lower) / 2

    @property
    def width(self) -> Fraction:
        """The upper end less the lower one."""
        return self.upper - self.lower

    def contains(self, number: object) -> bool:
        """Whether a number, as it is written, lies in the interval; ValueError for what is none."""
        return self.lower <= exact_fraction(number) <= self.upper

    def is_inside(self, other: "Enclosure") -> bool:
        """Whether every point of this interval lies in the other one."""
        return other.lower <= self.lower and self.upper <= other.upper

    def is_disjoint(self, other: "Enclosure") -> bool:
        """Whether no point lies in both intervals."""
        return self.upper < other.lower or other.upper < self.lower

    def __str__(self) -> str:
        """Midpoint and radius in decimals, rounded so that the interval in print holds this one."""
        decimals = self._decimals()
        unit = Fraction(10) ** -decimals
        shown = round(self.midpoint / unit) * unit
        # What rounding the midpoint moved it by is added to the radius.
        radius = max(self.upper - shown, shown - self.lower)
        return f"{_decimal_text(shown, decimals)} ± {_upper_text(radius)}"

    def _decimals(self) -> int:
        """Decimals at which the second digit of the radius stands."""
        if self.width == 0:
            return MOST_DIGITS
        return RADIUS_DIGITS - 1 - _exponent(self.radius)

    def __float__(self) -> float:
        return float(self.midpoint)

    def to_dict(self) -> dict[str, Any]:
        """The exact ends as quotients in text, and the interval as it is printed."""
        return {
            "lower": _quotient(self.lower),
            "upper": _quotient(self.upper),
            "text": str(self),
        }

    def summary(self) -> Summary:
        """The interval on one screen."""
        return Summary(f"Enclosure {self}", {"width": _upper_text(self.width)})


def _dyadic(value: Ball) -> Fraction:
    """The exact value of a ball without a radius, an integer times a power of two."""
    mantissa, exponent = (int(part) for part in value.man_exp())
    return mantissa * Fraction(2) ** exponent


def _exponent(number: Fraction) -> int:
    """The power of ten of the first digit of a positive number."""
    bits = number.numerator.bit_length() - number.denominator.bit_length()
    # The number lies between 2^(bits − 1) and 2^(bits + 1): the power of ten is this one or one of its neighbours.
    power = math.floor(bits * math.log10(2)) + 1
    while number < Fraction(10) ** power:
        power -= 1
    return power


def _digits(number: int) -> str:
    """A whole number of any length: Python itself refuses to print more than 4300 digits."""
    return format(Decimal(number), "f")


def _quotient(number: Fraction) -> str:
    """A fraction of any length, as Python writes it.

    >>> _quotient(Fraction(-1, 3)), _quotient(Fraction(2))
    ('-1/3', '2')
    """
    numerator = _digits(number.numerator)
    if number.denominator == 1:
        return numerator
    return f"{numerator}/{_digits(number.denominator)}"


def _decimal_text(number: Fraction, decimals: int) -> str:
    """A number with so many decimals, all of them exact."""
    if decimals <= 0:
        return _digits(int(number))
    digits = _digits(abs(int(number * 10**decimals))).zfill(decimals + 1)
    sign = "-" if number < 0 else ""
    text = f"{sign}{digits[:-decimals]}.{digits[-decimals:]}"
    is_exact = decimals == MOST_DIGITS
    return text.rstrip("0").rstrip(".") if is_exact else text


def _upper_text(number: Fraction) -> str:
    """A number of zero or more, rounded upwards to two digits.

    >>> _upper_text(Fraction(1234, 10**7)), _upper_text(Fraction(0)), _upper_text(Fraction(999, 1000))
    ('1.3e-4', '0', '1.0e0')
    """
    if number == 0:
        return "0"
    exponent = _exponent(number)
    tenths = math.ceil(number / Fraction(10) ** exponent * 10)
    if tenths == 100:
        tenths, exponent = 10, exponent + 1
    return f"{tenths // 10}.{tenths % 10}e{exponent}"
