"""Which sign an expression has wherever its symbols are what they say: proved, or not known.

First part by part: a sum of terms of one sign has it. Else as a rational function of symbols that are zero or more,
in which N is 1 + n, roots are symbols of their own, and an exponential of something that is not negative is 1 + ε:
factor by factor the sign is that of all coefficients, or is found by `polynomial_signs`.
"""

from typing import NamedTuple

import sympy as sp
from sympy.functions.elementary.hyperbolic import HyperbolicFunction

from ..task import Expr
from .odd_roots import OddRoot
from .polynomial_signs import Kind, Sign, constant_sign, integer_roots, polynomial_sign

_UNKNOWN = Sign(0, False)
_ABOVE = Sign(1, True)
_HIGHEST_DEGREE = (
    24  # of a polynomial in several symbols that is factored: higher ones take minutes
)
_MOST_TERMS = 400  # of a polynomial that is factored: more take long


def is_positive(expression: Expr, inside: bool = False) -> bool:
    """Whether an expression is proved to be above zero, for all values of its symbols where it is defined.

    Positive symbols are above zero, positive whole ones 1 or more, all others real. True is a proof; False says
    nothing. With `inside` whole symbols are above 1 and those that may be zero are not.

    >>> a, b = sp.symbols("a b", positive=True)
    >>> is_positive(a / (a * b + 2)), is_positive(a**2 - a * b + b**2), is_positive(a - b)
    (True, True, False)
    """
    return _sign(expression, inside) == _ABOVE


def is_nonnegative(expression: Expr, inside: bool = False) -> bool:
    """Whether an expression is proved to be zero or more, in the same way as `is_positive`."""
    return _sign(expression, inside).side == 1


def is_nonzero(expression: Expr) -> bool:
    """Whether an expression is proved to vanish nowhere, in the same way as `is_positive`.

    >>> from attndyn.theory.symbolic import N
    >>> is_nonzero(N**2 - 2), is_nonzero(N - 2)
    (True, False)
    """
    found = _sign(expression, inside=False)
    if found.side and found.strict:
        return True
    lowered = _Lowered(inside=False)
    factors = lowered.factors(expression)
    if factors is None:
        return False
    others = [
        factor for factor, _ in factors if integer_roots(factor, lowered.whole) != []
    ]
    return len(others) < len(factors) and all(
        lowered.sign(factor).strict for factor in others
    )


def roots_in(expression: Expr) -> list[Expr]:
    """Every power with an exponent that is not whole, inner ones first."""
    powers = [each for each in expression.atoms(sp.Pow) if not each.exp.is_Integer]
    return sorted(
        powers, key=lambda power: (len(power.atoms(sp.Pow)), sp.default_sort_key(power))
    )


def in_exponentials(expression: Expr) -> Expr:
    """sinh, cosh, tanh … by exp."""
    return expression.replace(
        lambda node: isinstance(node, HyperbolicFunction),
        lambda node: node.rewrite(sp.exp, deep=False),
    )


def _sign(expression: Expr, inside: bool) -> Sign:
    expression = sp.sympify(expression, strict=True)
    by_parts = _by_parts(expression, inside)
    if by_parts.side:
        return by_parts
    lowered = _Lowered(inside)
    factors = lowered.factors(expression)
    if factors is None:
        return _UNKNOWN
    sign = Sign(1, True)
    for factor, multiplicity in factors:
        found = lowered.sign(factor)
        even = multiplicity % 2 == 0
        sign = Sign(
            sign.side * (1 if even else found.side), sign.strict and found.strict
        )
    return sign


def _by_parts(node: Expr, inside: bool) -> Sign:
    """The sign that the parts of an expression show by themselves."""
    if node.is_number:
        return constant_sign(node)
    if node.is_Symbol:
        return _of_symbol(node, inside)
    if node.is_Add:
        return _of_sum([_by_parts(part, inside) for part in node.args])
    if node.is_Mul:
        parts = [_by_parts(part, inside) for part in node.args]
        return Sign(
            int(sp.prod(part.side for part in parts)),
            all(part.strict for part in parts),
        )
    if node.is_Pow and node.exp.is_Rational:
        return _of_power(_by_parts(node.base, inside), node.exp)
    if isinstance(node, sp.exp | sp.cosh):
        return _ABOVE
    if isinstance(node, OddRoot | sp.sinh | sp.tanh | sp.atan):
        return _by_parts(node.args[0], inside)
    if isinstance(node, sp.Abs):
        return Sign(1, _by_parts(node.args[0], inside).strict)
    if isinstance(node, sp.log):
        return _by_parts(node.args[0] - 1, inside)
    return _UNKNOWN


def _of_symbol(symbol: Expr, inside: bool) -> Sign:
    if symbol.is_positive:
        return _ABOVE
    return Sign(1, inside) if symbol.is_nonnegative else _UNKNOWN


def _of_sum(parts: list[Sign]) -> Sign:
    sides = {part.side for part in parts}
    return (
        Sign(sides.pop(), any(part.strict for part in parts))
        if len(sides) == 1
        else _UNKNOWN
    )


def _of_power(base: Sign, exponent: Expr) -> Sign:
    """Where a power with a negative exponent is defined, its base is not zero."""
    strict = base.strict or exponent < 0
    if exponent.q == 1 and exponent.p % 2:
        return Sign(base.side, strict)
    return Sign(
        1, strict
    )  # an even power, or a root, which is defined only where it is zero or more


class _Root(NamedTuple):
    """A symbol for a root: symbol^order = radicand."""

    order: int
    radicand: Expr


class _Lowered:
    """Rational functions in symbols of known kinds for what one expression is made of."""

    def __init__(self, inside: bool) -> None:
        self.inside = inside
        self.kinds: dict[Expr, Kind] = {}
        self.whole: set[Expr] = set()
        self.numbers: dict[Expr, Expr] = {}
        self.roots: dict[Expr, _Root] = {}
        self.made: dict[Expr, Expr] = {}

    def factors(self, expression: Expr) -> list[tuple[Expr, int]] | None:
        """The factors of the expression, above and below, with their multiplicities; None if it is too large."""
        rational = sp.together(self.of(in_exponentials(expression)))
        parts = sp.fraction(rational)
        found: list[tuple[Expr, int]] = []
        for part in parts:
            symbols = sorted(part.free_symbols, key=str)
            if not part.is_polynomial(*symbols):
                return None
            if not symbols:
                found.append((part, 1))
                continue
            polynomial = sp.Poly(part, *symbols)
            if len(polynomial.terms()) > _MOST_TERMS:
                return None
            if len(symbols) > 1 and polynomial.total_degree() > _HIGHEST_DEGREE:
                found.append((part, 1))
                continue
            content, factors = polynomial.factor_list()
            found.append((content, 1))
            found += [
                (factor.as_expr(), multiplicity) for factor, multiplicity in factors
            ]
        return found

    def sign(self, factor: Expr) -> Sign:
        """The sign of a polynomial in the symbols of this."""
        found = polynomial_sign(factor, self.kinds, self.numbers)
        return found if found.side else self._sign_by_root(factor)

    def _sign_by_root(self, factor: Expr) -> Sign:
        """The sign of B + A √f: that of both terms, or where they have opposite ones, from A² f − B²."""
        for symbol in sorted(self.roots.keys() & factor.free_symbols, key=str):
            order, radicand = self.roots[symbol]
            in_root = sp.Poly(factor, symbol)
            if order != 2 or in_root.degree() != 1:
                continue
            A, B = in_root.all_coeffs()
            of_A, of_B = (
                polynomial_sign(part, self.kinds, self.numbers) for part in (A, B)
            )
            if not of_A.side or not of_B.side:
                continue
            if of_A.side == of_B.side:
                return of_B
            top, bottom = sp.fraction(sp.together(A**2 * radicand - B**2))
            of_top, of_bottom = (
                polynomial_sign(sp.expand(part), self.kinds, self.numbers)
                for part in (top, bottom)
            )
            side = of_top.side * of_bottom.side * of_A.side
            return Sign(side, of_top.strict and of_bottom.strict)
        return _UNKNOWN

    def of(self, node: Expr) -> Expr:
        """The rational function of an expression."""
        if node.is_Rational:
            return node
        if node not in self.made:
            self.made[node] = self._of(node)
        return self.made[node]

    def _of(self, node: Expr) -> Expr:
        if node.is_number:
            return self._number(node)
        if node.is_Symbol:
            return self._symbol(node)
        if node.is_Add or node.is_Mul:
            return node.func(*map(self.of, node.args))
        if node.is_Pow and node.exp.is_Rational:
            return self._power(node.base, node.exp)
        if isinstance(node, sp.exp):
            return sp.Mul(*map(self._exponential, sp.Add.make_args(node.args[0])))
        return self._unknown(node)

    def _number(self, number: Expr) -> Expr:
        symbol = sp.Dummy("c")
        self.numbers[symbol] = number
        return symbol

    def _new(self, kind: Kind) -> Expr:
        symbol = sp.Dummy("s", real=True)
        self.kinds[symbol] = (
            "positive" if kind == "nonnegative" and self.inside else kind
        )
        return symbol

    def _symbol(self, symbol: Expr) -> Expr:
        if symbol.is_integer and symbol.is_positive:
            above_one = self._new("nonnegative")
            self.whole.add(above_one)
            return 1 + above_one
        return self._new(
            "positive"
            if symbol.is_positive
            else "nonnegative"
            if symbol.is_nonnegative
            else "real"
        )

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        if exponent.q == 1:
            return self.of(base) ** exponent
        key = sp.Pow(base, sp.Rational(1, exponent.q), evaluate=False)
        if key not in self.made:
            self.made[key] = self._new(
                "positive" if is_positive(base, self.inside) else "nonnegative"
            )
            self.roots[self.made[key]] = _Root(int(exponent.q), self.of(base))
        return self.made[key] ** exponent.p

    def _exponential(self, term: Expr) -> Expr:
        """e to one term c a with a whole c, by 1 + ε or 1 / (1 + ε) with one ε for every c."""
        number, rest = term.as_coeff_Mul()
        if not number.is_Integer:
            number, rest = sp.Integer(1), term
        key = sp.exp(rest)
        if key not in self.made:
            side = _sign(rest, self.inside)
            if side.side:
                above = 1 + self._new("positive" if side.strict else "nonnegative")
                self.made[key] = above**side.side
            else:
                self.made[key] = self._new("positive")
        return self.made[key] ** number

    def _unknown(self, node: Expr) -> Expr:
        """A function of which only the sign is known."""
        found = _by_parts(node, self.inside)
        if not found.side:
            return self._new("real")
        return found.side * self._new("positive" if found.strict else "nonnegative")
