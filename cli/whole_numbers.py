"""Whole numbers in the usual notations: 1000, 1e3 and 1_000 are one number."""

from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Any

import typer

_DIGITS = 40
"""More digits than any count or seed has: 1e999999999 is refused, not written out."""


def whole_number(text: str) -> int:
    """The whole number that a text writes; ValueError for anything else.

    >>> whole_number("1e3"), whole_number("2.5e1"), whole_number("-7")
    (1000, 25, -7)
    """
    try:
        number = Decimal(text.strip())
    except InvalidOperation:
        raise ValueError(f"{text!r} is no whole number, such as 1000 or 1e3") from None
    # The exponent is looked at first: 1e999999999 would be written out.
    if not number.is_finite() or number.adjusted() >= _DIGITS or number != int(number):
        raise ValueError(
            f"{text!r} is no whole number of at most {_DIGITS} digits, such as 1000 or 1e3"
        )
    return int(number)


def written_out(text: str) -> str:
    """The text with its whole numbers written out, also those of a range; what is none stays as it is.

    >>> written_out("1e3"), written_out("1..1e2"), written_out("1/2")
    ('1000', '1..100', '1/2')
    """
    ends = []
    for end in text.split(".."):
        try:
            ends.append(str(whole_number(end)))
        except ValueError:
            ends.append(end)
    return "..".join(ends)


def counted(help_text: str, *, least: int | None = None) -> Any:
    """An option that takes a whole number, of at least so many if `least` is given."""
    return typer.Option(
        help=help_text,
        parser=_parser(least),
        metavar="<int>",
    )


def _parser(least: int | None) -> Callable[[str | int], int]:
    """Reads an option; a default that is a number already stays what it is."""

    def read(value: str | int) -> int:
        # A default is a number already.
        number = value if isinstance(value, int) else whole_number(value)
        if least is not None and number < least:
            raise ValueError(f"{number} is less than {least}")
        return number

    return read
