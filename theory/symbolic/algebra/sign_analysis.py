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

# Of a polynomial in several symbols that is factored: higher degrees take minutes.
_MAX_DEGREE = 24

# Of any polynomial that is factored: more terms take long.
_MAX_TERMS = 400


class Factor(NamedTuple):
    """A polynomial, and how often it divides the numerator or the denominator of a fraction."""

    polynomial: Expr
    multiplicity: int


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
    sign = _sign(expression, inside=False)
    if sign.side and sign.strict:
        return True
    form = _RationalForm(inside=False)
    factors = form.factors(expression)
    if factors is None:
        return False

    # A polynomial of a whole number alone may change its sign between whole numbers: it has no whole root.
    open_factors = [
        factor for factor, _ in factors if integer_roots(factor, form.whole) != []
    ]
    some_are_decided = len(open_factors) < len(factors)
    return some_are_decided and all(form.sign(factor).strict for factor in open_factors)


def fractional_powers(expression: Expr) -> list[Expr]:
    """Every power with an exponent that is not whole, inner ones first."""
    powers = [power for power in expression.atoms(sp.Pow) if not power.exp.is_Integer]
    return sorted(
        powers, key=lambda power: (len(power.atoms(sp.Pow)), sp.default_sort_key(power))
    )


def in_exponentials(expression: Expr) -> Expr:
    """The expression with sinh, cosh, tanh … written by exp."""
    return expression.replace(
        lambda node: isinstance(node, HyperbolicFunction),
        lambda node: node.rewrite(sp.exp, deep=False),
    )


def _sign(expression: Expr, inside: bool) -> Sign:
    expression = sp.sympify(expression, strict=True)
    by_parts = _by_parts(expression, inside)
    if by_parts.side:
        return by_parts

    form = _RationalForm(inside)
    factors = form.factors(expression)
    if factors is None:
        return _UNKNOWN
    side = 1
    strict = True
    for factor, multiplicity in factors:
        sign = form.sign(factor)
        if multiplicity % 2:
            side *= sign.side
        strict = strict and sign.strict
    return Sign(side, strict)


def _by_parts(node: Expr, inside: bool) -> Sign:
    """The sign that the parts of an expression show by themselves."""
    if node.is_number:
        return constant_sign(node)
    if node.is_Symbol:
        return _of_symbol(node, inside)
    if node.is_Add:
        return _of_sum([_by_parts(term, inside) for term in node.args])
    if node.is_Mul:
        return _of_product([_by_parts(factor, inside) for factor in node.args])
    if node.is_Pow and node.exp.is_Rational:
        return _of_power(_by_parts(node.base, inside), node.exp)
    return _of_function(node, inside)


def _of_symbol(symbol: Expr, inside: bool) -> Sign:
    if symbol.is_positive:
        return _ABOVE
    if symbol.is_nonnegative:
        return Sign(1, inside)
    return _UNKNOWN


def _of_sum(terms: list[Sign]) -> Sign:
    """Terms of one sign make a sum of that sign, which vanishes only where all of them do."""
    sides = {term.side for term in terms}
    if len(sides) > 1:
        return _UNKNOWN
    return Sign(sides.pop(), any(term.strict for term in terms))


def _of_product(factors: list[Sign]) -> Sign:
    side = 1
    for factor in factors:
        side *= factor.side
    return Sign(side, all(factor.strict for factor in factors))


def _of_power(base: Sign, exponent: Expr) -> Sign:
    """Where a power with a negative exponent is defined, its base is not zero."""
    strict = base.strict or exponent < 0
    is_odd_power = exponent.q == 1 and exponent.p % 2
    if is_odd_power:
        return Sign(base.side, strict)
    # An even power, or a root, which is defined only where it is zero or more.
    return Sign(1, strict)


def _of_function(node: Expr, inside: bool) -> Sign:
    """The sign of a function, from that of its argument."""
    if isinstance(node, sp.exp | sp.cosh):
        return _ABOVE
    if isinstance(node, OddRoot | sp.sinh | sp.tanh | sp.atan):  # odd and increasing
        return _by_parts(node.args[0], inside)
    if isinstance(node, sp.Abs):
        return Sign(1, _by_parts(node.args[0], inside).strict)
    if isinstance(node, sp.log):  # increasing, and zero at 1
        return _by_parts(node.args[0] - 1, inside)
    return _UNKNOWN


class _Root(NamedTuple):
    """A symbol for a root: symbol^order = radicand."""

    order: int
    radicand: Expr


class _RationalForm:
    """Rational functions in symbols of known kinds for what one expression is made of.

    `kinds` says what a symbol may be, `whole` lists those for n in N = 1 + n, `numbers` has the real numbers that
    symbols stand for, `roots` the roots, and `symbol_of` what was met already, each part once.
    """

    def __init__(self, inside: bool) -> None:
        self.inside = inside
        self.kinds: dict[Expr, Kind] = {}
        self.whole: set[Expr] = set()
        self.numbers: dict[Expr, Expr] = {}
        self.roots: dict[Expr, _Root] = {}
        self.symbol_of: dict[Expr, Expr] = {}

    def factors(self, expression: Expr) -> list[Factor] | None:
        """The factors of the expression, above and below, with their multiplicities; None if it is too large."""
        # One fraction: factors above and below have the same say in the sign.
        fraction = sp.together(self.of(in_exponentials(expression)))
        factors: list[Factor] = []
        for part in sp.fraction(fraction):
            of_part = _polynomial_factors(part)
            if of_part is None:
                return None
            factors += of_part
        return factors

    def sign(self, factor: Expr) -> Sign:
        """The sign of a polynomial in the symbols of this form."""
        sign = self._polynomial_sign(factor)
        if sign.side:
            return sign
        return self._sign_by_root(factor)

    def _polynomial_sign(self, polynomial: Expr) -> Sign:
        return polynomial_sign(polynomial, self.kinds, self.numbers)

    def _sign_by_root(self, factor: Expr) -> Sign:
        """The sign of A √f + B for the first root √f by which the factor is linear, where A and B have signs."""
        # Only square roots by which the factor is linear: others do not come down to A² f − B².
        for symbol in sorted(self.roots.keys() & factor.free_symbols, key=str):
            order, radicand = self.roots[symbol]
            in_root = sp.Poly(factor, symbol)
            if order != 2 or in_root.degree() != 1:
                continue
            A, B = in_root.all_coeffs()
            of_A = self._polynomial_sign(A)
            of_B = self._polynomial_sign(B)
            if not of_A.side or not of_B.side:
                continue
            if of_A.side == of_B.side:
                return of_B
            return self._larger_term(A, B, radicand, of_A.side)
        return _UNKNOWN

    def _larger_term(self, A: Expr, B: Expr, radicand: Expr, side_of_A: int) -> Sign:
        """The sign of A √f + B with opposite signs: |A| √f > |B| exactly where A² f > B², and A's sign wins."""
        difference = sp.together(A**2 * radicand - B**2)
        top, bottom = sp.fraction(difference)
        of_top = self._polynomial_sign(sp.expand(top))
        of_bottom = self._polynomial_sign(sp.expand(bottom))
        side = of_top.side * of_bottom.side * side_of_A
        return Sign(side, of_top.strict and of_bottom.strict)

    def of(self, node: Expr) -> Expr:
        """The rational function of an expression."""
        if node.is_Rational:
            return node
        if node not in self.symbol_of:
            self.symbol_of[node] = self._of(node)
        return self.symbol_of[node]

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
            terms = sp.Add.make_args(node.args[0])
            return sp.Mul(*map(self._exponential, terms))
        return self._unknown(node)

    def _number(self, number: Expr) -> Expr:
        symbol = sp.Dummy("c")
        self.numbers[symbol] = number
        return symbol

    def _new(self, kind: Kind) -> Expr:
        """A new symbol; inside of a region nothing is at its border zero."""
        if kind == "nonnegative" and self.inside:
            kind = "positive"
        symbol = sp.Dummy("s", real=True)
        self.kinds[symbol] = kind
        return symbol

    def _symbol(self, symbol: Expr) -> Expr:
        # N = 1 + n with n ≥ 0: coefficients in n are often of one sign where those in N are not.
        if symbol.is_integer and symbol.is_positive:
            above_one = self._new("nonnegative")
            self.whole.add(above_one)
            return 1 + above_one
        if symbol.is_positive:
            return self._new("positive")
        return self._new("nonnegative" if symbol.is_nonnegative else "real")

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        if exponent.q == 1:
            return self.of(base) ** exponent
        key = sp.Pow(base, sp.Rational(1, exponent.q), evaluate=False)
        if key not in self.symbol_of:
            is_above = is_positive(base, self.inside)
            root = self._new("positive" if is_above else "nonnegative")
            self.symbol_of[key] = root
            self.roots[root] = _Root(int(exponent.q), self.of(base))
        return self.symbol_of[key] ** exponent.p

    def _exponential(self, term: Expr) -> Expr:
        """e to one term c a with a whole c, by 1 + ε or 1 / (1 + ε) with one ε for every c."""
        # e^(2a) is the square of e^a: one symbol for both.
        number, argument = term.as_coeff_Mul()
        if not number.is_Integer:
            number, argument = sp.Integer(1), term
        key = sp.exp(argument)
        if key not in self.symbol_of:
            self.symbol_of[key] = self._new_exponential(_sign(argument, self.inside))
        return self.symbol_of[key] ** number

    def _new_exponential(self, of_argument: Sign) -> Expr:
        if not of_argument.side:
            return self._new("positive")
        above_one = 1 + self._new("positive" if of_argument.strict else "nonnegative")
        return above_one**of_argument.side

    def _unknown(self, node: Expr) -> Expr:
        """A function of which only the sign is known."""
        sign = _by_parts(node, self.inside)
        if not sign.side:
            return self._new("real")
        return sign.side * self._new("positive" if sign.strict else "nonnegative")


def _polynomial_factors(part: Expr) -> list[Factor] | None:
    """The factors of a numerator or denominator; None where it is no polynomial, or too long to be factored."""
    symbols = sorted(part.free_symbols, key=str)
    if not part.is_polynomial(*symbols):
        return None
    if not symbols:
        return [Factor(part, 1)]
    polynomial = sp.Poly(part, *symbols)
    if len(polynomial.terms()) > _MAX_TERMS:
        return None
    if len(symbols) > 1 and polynomial.total_degree() > _MAX_DEGREE:
        return [Factor(part, 1)]
    content, factors = polynomial.factor_list()
    return [
        Factor(content, 1),
        *(Factor(factor.as_expr(), multiplicity) for factor, multiplicity in factors),
    ]
