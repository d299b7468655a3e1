"""Real odd roots: the cube root of −8 is −2, as in every formula about weights, and not a complex number."""

from typing import Any

import sympy as sp
from sympy.printing.precedence import PRECEDENCE

from ..task import Expr


class OddRoot(sp.Function):  # type: ignore[misc]  # SymPy announces no types
    """The real root of odd `order` of a real number whose sign is not known.

    SymPy's power x^(1/3) is complex for negative x, with the laws of complex numbers. Where the sign
    of the radicand is known, this becomes a power of something positive.

    >>> x, a = sp.Symbol("x", real=True), sp.Symbol("a", positive=True)
    >>> OddRoot(x, 3).subs(x, -8), OddRoot(-a, 3), OddRoot(x, 3)
    (-2, -a**(1/3), x**(1/3))
    """

    nargs = 2

    @classmethod
    def eval(cls, radicand: Expr, order: Expr) -> Expr | None:
        """The root as a power, or None where the sign of the radicand is not known."""
        if radicand.is_nonnegative:
            return sp.Pow(radicand, 1 / order)
        if radicand.is_nonpositive:
            return -sp.Pow(-radicand, 1 / order)
        if radicand.could_extract_minus_sign():
            return -cls(-radicand, order)
        return None

    def fdiff(self, argindex: int = 1) -> Expr:
        """d x^(1/q)/dx = x^((1 − q)/q) / q, a power of the root: that of x^(4/3) is finite where x vanishes."""
        order = self.args[1]
        return self ** (1 - order) / order

    def _eval_is_real(self) -> bool | None:
        return bool(self.args[0].is_real) or None

    def _eval_is_zero(self) -> bool | None:
        if self.args[0].is_zero is None:
            return None
        return bool(self.args[0].is_zero)

    def _sympystr(self, printer: Any) -> str:
        radicand = printer.parenthesize(self.args[0], PRECEDENCE["Pow"])
        return f"{radicand}**(1/{self.args[1]})"

    def _latex(self, printer: Any, exp: str | None = None) -> str:
        root = rf"\sqrt[{self.args[1]}]{{{printer._print(self.args[0])}}}"
        if exp is None:
            return root
        return rf"{root}^{{{exp}}}"


def odd_power(base: Expr, exponent: Expr) -> Expr:
    """base^(p/q) for odd q as a power of the real root; a whole power if q is 1.

    >>> odd_power(sp.Integer(-8), sp.Rational(2, 3))
    4
    """
    if exponent.q == 1:
        return sp.Pow(base, exponent)
    return sp.Pow(OddRoot(base, sp.Integer(exponent.q)), exponent.p)
