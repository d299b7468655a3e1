"""Which sign an expression has wherever its symbols are what they say: proved, or not known."""

import sympy as sp

from .problem import Expr


def is_positive(expression: Expr) -> bool:
    """Whether an expression is proved to be above zero, for all values of its symbols where it is defined.

    Positive symbols are above zero, positive whole ones 1 or more, all others real. True is a proof: factor by
    factor, all terms have one sign. False says nothing.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> is_positive(a / (a * b + 2)), is_positive(a**2 - a * b + b**2)
    (True, False)
    """
    return _sign(expression, strict=True) == 1


def is_nonnegative(expression: Expr) -> bool:
    """Whether an expression is proved to be zero or more, in the same way as `is_positive`."""
    return _sign(expression, strict=False) == 1


def roots_in(expression: Expr) -> list[Expr]:
    """Every power with an exponent that is not whole, inner ones first."""
    powers = [each for each in expression.atoms(sp.Pow) if not each.exp.is_Integer]
    return sorted(powers, key=lambda power: (len(power.atoms(sp.Pow)), sp.default_sort_key(power)))


def _sign(expression: Expr, strict: bool) -> int:
    """1 or −1 where all terms, factor by factor, have a sign of their own, and 0 where that is not so."""
    if expression.is_number:
        above = expression.is_positive if strict else expression.is_nonnegative
        return 1 if above else -int(bool(expression.is_negative))
    rational = _rational(expression)
    if rational is None:
        return 0
    from_one = {each for each in rational.free_symbols if each.is_integer and each.is_positive}
    shifted = sp.factor(sp.together(rational.xreplace({each: each + 1 for each in from_one})))
    sign = 1
    for part in sp.fraction(shifted):
        content, factors = sp.factor_list(part, *sorted(rational.free_symbols, key=str))
        sign *= -1 if content < 0 else 1
        for factor, power in factors:
            if power % 2 or strict:
                sign *= _term_sign(factor, from_one, strict) ** int(2 - power % 2)
    return sign


def _rational(expression: Expr) -> Expr | None:
    """The expression with a positive symbol for each root of what is positive; None where some other root is."""
    for root in roots_in(expression):
        if root in expression.atoms(sp.Pow):
            if not root.exp.is_Rational or not is_positive(root.base):
                return None
            expression = expression.xreplace({root: sp.Dummy(positive=True)})
    return expression if expression.is_rational_function(*expression.free_symbols) else None


def _term_sign(factor: Expr, shifted: set[Expr], strict: bool) -> int:
    """1 or −1, the sign of all terms of a polynomial, or 0: terms differ, or all may vanish if strict."""
    symbols = sorted(factor.free_symbols, key=str)
    signs, certain = set(), not strict
    for powers, coefficient in sp.Poly(factor, *symbols).terms():
        held = [(symbol, power) for symbol, power in zip(symbols, powers, strict=True) if power]
        if any(power % 2 and not symbol.is_positive for symbol, power in held):
            return 0
        signs.add(1 if coefficient > 0 else -1)
        certain |= all(symbol.is_positive and symbol not in shifted for symbol, _ in held)
    return signs.pop() if len(signs) == 1 and certain else 0
