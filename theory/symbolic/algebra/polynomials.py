"""Words of all exact algebra here: elements of SymPy's rings and fields, and powers of monomials."""

from typing import Any

Element = Any
"""An element of a SymPy ring of polynomials, of a field of fractions, or of their domain of coefficients."""

Powers = tuple[int, ...]
"""The exponents of a monomial, one for each generator of its ring."""


def added(*powers: Powers) -> Powers:
    """The powers of a product of monomials.

    >>> added((1, 0), (2, 3))
    (3, 3)
    """
    return tuple(map(sum, zip(*powers, strict=True)))


def lowered(powers: Powers, index: int) -> Powers:
    """The powers with one factor fewer at `index`."""
    return (*powers[:index], powers[index] - 1, *powers[index + 1 :])
