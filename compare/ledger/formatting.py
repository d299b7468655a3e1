"""Numbers and names as the page writes them."""

import re

RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def number(value: float, digits: str = "") -> str:
    """A number in this format, by default three digits and small whole numbers as they are, as it is printed.

    >>> number(0.25), number(-1.5e-9), number(128_000), number(-0.5172, ".3f")
    ('0.25', '−1.5 × 10⁻⁹', '128000', '−0.517')
    """
    whole = abs(value) < 1e6 and value == int(value)
    mantissa, _, exponent = (
        f"{value:{digits or ('.0f' if whole else '.3g')}}".partition("e")
    )
    power = f" × 10{str(int(exponent)).translate(RAISED)}" if exponent else ""
    return mantissa.replace("-", "−") + power


def anchor(name: str) -> str:
    """The name of a claim as the name of a place in the page.

    >>> anchor("merged.aligned"), anchor('<a id="b">')
    ('merged.aligned', '-a-id--b--')
    """
    return re.sub(r"[^\w.-]", "-", name)
