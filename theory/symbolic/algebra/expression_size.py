"""How large an expression is: its degree, its terms multiplied out, the bits of its numbers, its nesting."""

from collections.abc import Sequence
from math import ceil, comb, prod
from typing import NamedTuple

from ..task import Expr


class Size(NamedTuple):
    """Bounds: degree, terms when multiplied out, bits of a number, and how deep roots and functions are nested."""

    degree: int
    terms: int
    bits: int
    levels: int


def size(expression: Expr) -> Size:
    """The size of an expression, from its parts.

    >>> import sympy as sp
    >>> x, y = sp.symbols("x y")
    >>> size((x + y + 1) ** 4 * sp.sqrt(x))
    Size(degree=5, terms=15, bits=4, levels=1)
    """
    if expression.is_Rational:
        larger = max(abs(int(expression.p)), int(expression.q))
        return Size(degree=0, terms=1, bits=larger.bit_length(), levels=0)

    parts = [size(part) for part in expression.args]
    if expression.is_Add:
        return sum_size(parts)
    if expression.is_Mul:
        return product_size(parts)
    if expression.is_Pow and expression.exp.is_Rational:
        return power_size(parts[0], expression.exp)

    # A symbol, or a function: one term, one level deeper than its argument.
    bits = max((part.bits for part in parts), default=0)
    levels = max((part.levels + 1 for part in parts), default=0)
    return Size(degree=1, terms=1, bits=bits, levels=levels)


def sum_size(terms: Sequence[Size]) -> Size:
    """The size of a sum, before anything cancels."""
    degrees, counts, bits, levels = zip(*terms, strict=True)
    return Size(max(degrees), sum(counts), max(bits), max(levels))


def product_size(factors: Sequence[Size]) -> Size:
    """The size of a product, before anything cancels."""
    degrees, terms, bits, levels = zip(*factors, strict=True)
    return Size(sum(degrees), prod(terms), sum(bits), max(levels))


def power_size(base: Size, exponent: Expr) -> Size:
    """The size of a rational power; a sum of n terms to the power k has C(n + k − 1, k) terms multiplied out."""
    times = max(ceil(abs(exponent)), 1)
    terms = comb(base.terms + times - 1, times)
    is_root = not exponent.is_Integer
    return Size(base.degree * times, terms, base.bits * times, base.levels + is_root)
