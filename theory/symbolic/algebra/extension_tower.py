"""Generators for roots, exponentials and logarithms, and expressions as fractions of polynomials in them.

What makes a nonzero remainder a proof is that the generators are independent:

- roots of irreducible factors that differ, by unique factorization and Kneser's theorem (Acta Arith. 26, 1975), and
  roots of whole numbers that have no divisor in common and are no powers;
- exp of arguments that are linearly independent over the rationals, by the theorems of Ax (Ann. Math. 93, 1971) and
  of Lindemann and Weierstrass. Arguments are first written in such a basis.

Roots of other roots, and of what has no known sign, may depend on others, and so may logarithms, π and other
functions: `unsure` and `opaque` list their generators.
"""

from collections import defaultdict
from math import gcd, lcm
from typing import NamedTuple

import sympy as sp
from sympy.polys.fields import FracField
from sympy.polys.orderings import lex

from ..task import Expr
from .fraction_arithmetic import (
    Undecided,
    folded,
    fraction_product,
    fraction_sum,
    irreducible_factors,
)
from .odd_roots import OddRoot
from .polynomials import Element, Powers
from .sign_analysis import in_exponentials, is_nonnegative, is_positive

_EXPONENTIALS = (sp.exp, type(sp.E))

_DIVISION_BY_ZERO = "a part of the expression divides by zero"


class Root(NamedTuple):
    """What a root is of: root^order = radicand, in generators and symbols."""

    radicand: Expr
    order: int


class Tower:
    """The generators that one expression needs, each a symbol; `meaning` says what it stands for.

    `order` is the q of every root, root^q = radicand, and `odd_order` that of odd roots of what may be negative.
    `roots` goes from radicand and order to root in the order in which they were met, `root_of` back. `unsure` lists
    the roots that may depend on others, `factors` the irreducible factors of radicands, `opaque` what else may
    depend on others.
    """

    def __init__(self, expression: Expr) -> None:
        self.expression = in_exponentials(expression)
        self.meaning: dict[Expr, Expr] = {}
        self.roots: dict[Root, Expr] = {}
        self.root_of: dict[Expr, Root] = {}
        self.unsure: list[Expr] = []
        self.factors: set[Expr] = set()
        self.opaque: set[Expr] = set()
        self.exponentials: dict[Expr, Expr] = {}

        # One order for all roots, so that √a and a^(1/3) are powers of the one generator a^(1/6).
        self.odd_order = lcm(*_odd_root_orders(self.expression))
        self.order = lcm(self.odd_order, *_power_orders(self.expression))
        self._add_exponentials()

    def value(self) -> Element:
        """The expression as a reduced fraction."""
        return self.element(self.rewritten(self.expression))

    def rewritten(self, node: Expr) -> Expr:
        """The expression with generators for its roots and functions: a rational one."""
        if node in self.exponentials:
            return self.exponentials[node]
        if node.is_Symbol or node.is_Rational:
            return node
        if node.is_Add or node.is_Mul:
            return node.func(*map(self.rewritten, node.args))
        if node is sp.pi:
            return self._generator(node)
        if node.is_Pow and node.exp.is_Rational:
            base = self.rewritten(node.base)
            if node.exp.is_Integer:
                return base**node.exp
            return self._power(base, node.exp)
        return self._rewritten_function(node)

    def _rewritten_function(self, node: Expr) -> Expr:
        if isinstance(node, OddRoot):
            radicand, order = node.args
            return self._odd_root(self.rewritten(radicand), int(order))
        if isinstance(node, sp.Abs):
            return self._power(self.rewritten(node.args[0]) ** 2, sp.Rational(1, 2))
        if isinstance(node, sp.log):
            return self._log(self.element(self.rewritten(node.args[0])))
        is_other_function = isinstance(node, sp.Function) and len(node.args) == 1
        if is_other_function and node.func not in _EXPONENTIALS:
            return self._function(node)
        raise Undecided(
            f"only exact rationals, symbols, roots, exp and log can be decided here, not {node}"
        )

    def element(self, rational: Expr) -> Element:
        """A rational expression in generators and symbols as a reduced fraction; `Undecided` if divided by 0."""
        symbols = rational.free_symbols.union(self.meaning)
        for root in self.roots:
            symbols |= root.radicand.free_symbols
        # One field for all symbols and generators at hand, over the whole numbers.
        field = FracField(sorted(symbols, key=sp.default_sort_key), sp.ZZ, lex)
        generators = dict(zip(field.symbols, field.gens, strict=True))
        return self.reduced(self._fraction(rational, field, generators))

    def _fraction(
        self, node: Expr, field: Element, generators: dict[Expr, Element]
    ) -> Element:
        """The fraction of a rational expression in a field whose `generators` are symbol → element."""
        if node in generators:
            return generators[node]
        if node.is_Rational:
            return field(int(node.p)) / int(node.q)
        if node.is_Add or node.is_Mul:
            parts = (self._fraction(part, field, generators) for part in node.args)
            if node.is_Add:
                return fraction_sum(parts, field)
            return self.reduced(fraction_product(parts, field))
        if not node.is_Pow:  # the infinities of SymPy
            raise Undecided(f"{_DIVISION_BY_ZERO}: take out {node}")

        base = self._fraction(node.base, field, generators)
        power = self.reduced(base ** abs(int(node.exp)))
        if node.exp > 0:
            return power
        if power == 0:
            raise Undecided(f"{_DIVISION_BY_ZERO}: take out {self.spelled(node)}")
        return 1 / power

    def spelled(self, expression: Expr) -> Expr:
        """An expression in what its generators stand for."""
        # What a generator stands for may hold earlier generators.
        while not expression.free_symbols.isdisjoint(self.meaning):
            expression = expression.xreplace(self.meaning)
        return expression

    def relation(self, root: Expr) -> Expr:
        """The polynomial that a root solves: root^order · below − above, for the radicand above/below."""
        radicand, order = self.root_of[root]
        return sp.numer(sp.together(root**order - radicand))

    def reduced(self, value: Element) -> Element:
        """The fraction with every root to a power below its order."""
        # The latest roots first: their radicands may hold earlier ones.
        for (radicand, order), root in reversed(self.roots.items()):
            if root not in value.field.symbols:
                continue
            i = value.field.symbols.index(root)
            if max(value.numer.degree(i), value.denom.degree(i)) < order:
                continue
            power = value.field.from_expr(radicand)
            denominator = folded(value.denom, i, order, power)
            if denominator == 0:
                raise Undecided(_DIVISION_BY_ZERO)
            value = folded(value.numer, i, order, power) / denominator
        return value

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        """base^exponent by roots of its positive irreducible factors, and one of the others together."""
        # A root that was not in the expression: its order is none of those that were planned for.
        if self.order % int(exponent.q):
            raise Undecided(
                f"a root appears where a function is evaluated and cannot be decided: {base}**({exponent})"
            )
        value = self.element(base)
        if value == 0 and exponent > 0:
            return sp.Integer(0)
        if value == 0:
            raise Undecided(
                f"{base}**({exponent}) is a power of zero: write 0, or take it out"
            )
        power = int(exponent * self.order)
        result = sp.Integer(1)
        others = []
        # √(ab) = √a √b holds where a or b is known not to be negative: the others stay together.
        for factor, multiplicity in irreducible_factors(value):
            if factor != -1 and is_nonnegative(self.spelled(factor)):
                result *= self._root([(factor, 1)]) ** (multiplicity * power)
            else:
                others.append((factor, multiplicity))
        if others:
            return result * self._root(others) ** power
        return result

    def _root(self, parts: list[tuple[Expr, int]]) -> Expr:
        """The generator whose radicand is a product of powers of irreducible factors.

        It is independent of the earlier ones if some factor is new and its multiplicity has no divisor in common
        with `order`, and no root stands inside.
        """
        radicand = sp.Mul(*(factor**multiplicity for factor, multiplicity in parts))
        if radicand.is_negative:
            raise Undecided(
                f"only real roots can be decided, not those of {self.spelled(radicand)}"
            )
        is_independent = any(
            self._is_new(factor) and gcd(multiplicity, self.order) == 1
            for factor, multiplicity in parts
        )
        root = self._new_root(Root(radicand, self.order), is_independent, is_odd=False)
        self.factors.update(factor for factor, _ in parts)
        return root

    def _odd_root(self, base: Expr, order: int) -> Expr:
        """The real root of odd order, factor by factor, whatever their signs."""
        value = self.element(base)
        if value == 0:
            return sp.Integer(0)
        result = sp.Integer(1)
        for factor, multiplicity in irreducible_factors(value):
            if factor == -1:
                # The real odd root of −1 is −1.
                result *= (-1) ** multiplicity
            elif is_nonnegative(self.spelled(factor)):
                root = self._root([(factor, 1)])
                result *= root ** (multiplicity * self.order // order)
            else:
                key = Root(factor, self.odd_order)
                root = self._new_root(key, self._is_new(factor), is_odd=True)
                self.factors.add(factor)
                result *= root ** (multiplicity * self.odd_order // order)
        return result

    def _is_new(self, factor: Expr) -> bool:
        """Whether a factor has nothing in common with the earlier ones; whole numbers may be products."""
        if factor == -1 or factor in self.factors:
            return False
        if not factor.is_Integer:
            return True
        # Distinct irreducible polynomials have nothing in common, whole numbers may.
        numbers = [
            int(other) for other in self.factors if other.is_Integer and other != -1
        ]
        return all(gcd(int(factor), number) == 1 for number in numbers)

    def _new_root(self, key: Root, independent: bool, is_odd: bool) -> Expr:
        """The generator of a root, made where it is not yet there."""
        if key in self.roots:
            return self.roots[key]
        if is_odd:
            symbol = sp.Dummy("r", real=True)
            self.meaning[symbol] = OddRoot(key.radicand, key.order)
        else:
            symbol = sp.Dummy("r", positive=True)
            self.meaning[symbol] = key.radicand ** sp.Rational(1, key.order)

        # Kneser's theorem speaks of roots of elements of the field below, not of roots of roots.
        doubtful = self.opaque.union(self.root_of)
        is_nested = not key.radicand.free_symbols.isdisjoint(doubtful)
        if is_nested or not independent:
            self.unsure.append(symbol)
        self.roots[key] = symbol
        self.root_of[symbol] = key
        return symbol

    def _log(self, value: Element) -> Expr:
        """The logarithm of a positive fraction: the sum of those of its irreducible factors."""
        if value == 0:
            raise Undecided("the logarithm of zero is not finite")
        result = sp.Integer(0)
        others = sp.Integer(1)
        for factor, multiplicity in irreducible_factors(value):
            of_factor = self._log_of_factor(factor)
            if of_factor is None:
                others *= factor**multiplicity
            else:
                result += multiplicity * of_factor
        if others == 1:
            return result
        return result + self._generator(sp.log(others))

    def _log_of_factor(self, factor: Expr) -> Expr | None:
        """The logarithm of a factor, log e^a = a and log r = (log r^q) / q; None if it may not be positive."""
        stands_for = self.meaning.get(factor)
        if isinstance(stands_for, sp.exp):
            return self.rewritten(stands_for.args[0])
        if factor in self.root_of:
            radicand, order = self.root_of[factor]
            return self._log(self.element(radicand)) / order
        if factor != -1 and is_positive(self.spelled(factor)):
            return self._generator(sp.log(factor))
        return None

    def _function(self, node: Expr) -> Expr:
        """A generator for atan f …: whatever its argument, its independence of the others is not known."""
        argument = self.element(self.rewritten(node.args[0]))
        value = node.func(argument.as_expr())
        if isinstance(value, node.func):
            return self._generator(value)
        return self.rewritten(value)  # SymPy has evaluated it, as atan(1)

    def _generator(self, value: Expr) -> Expr:
        """The opaque generator of a function of generators, or of π."""
        for generator in self.opaque:
            if self.meaning[generator] == value:
                return generator
        generator = sp.Dummy("f", real=True)
        self.opaque.add(generator)
        self.meaning[generator] = value
        return generator

    def _add_exponentials(self) -> None:
        """Exponential → monomial in generators exp(a), for a basis of the arguments over the rationals."""
        nodes = self.expression.atoms(*_EXPONENTIALS)
        exponentials = sorted(nodes, key=sp.default_sort_key)
        if not exponentials:
            return
        arguments = [_exponent(node) for node in exponentials]
        echelon, pivots = self._argument_matrix(arguments).rref()
        # Ax, Lindemann and Weierstrass ask for arguments whose independence is certain.
        is_certain = not (self.unsure or self.opaque)

        monomials = dict.fromkeys(exponentials, sp.Integer(1))
        for k, pivot in enumerate(pivots):
            # exp(a / scale), so that every exponential is a whole power of it.
            row = echelon.row(k)
            scale = lcm(*(int(entry.q) for entry in row))
            generator = self._new_exponential(arguments[pivot] / scale, is_certain)
            for exponent, node in zip(scale * row, exponentials, strict=True):
                monomials[node] *= generator**exponent
        self.exponentials = monomials

    def _new_exponential(self, argument: Expr, is_independent: bool) -> Expr:
        generator = sp.Dummy("e", positive=True)
        self.meaning[generator] = sp.exp(argument)
        if not is_independent:
            self.opaque.add(generator)
        return generator

    def _argument_matrix(self, arguments: list[Expr]) -> Expr:
        """A column of coefficients for each argument; their rational relations are those of the columns."""
        tags = [sp.Dummy("t") for _ in arguments]
        # One sum Σ t_i a_i, so that all arguments share their generators and denominator.
        tagged = [
            tag * self.rewritten(argument)
            for tag, argument in zip(tags, arguments, strict=True)
        ]
        return _coordinates(self.element(sp.Add(*tagged)).numer, tags)


def _odd_root_orders(expression: Expr) -> list[int]:
    return [int(root.args[1]) for root in expression.atoms(OddRoot)]


def _power_orders(expression: Expr) -> list[int]:
    """The q of every power p/q, and 2 where there is an absolute value: |x| = √(x²)."""
    exponents = [power.exp for power in expression.atoms(sp.Pow)]
    orders = [int(exponent.q) for exponent in exponents if exponent.is_Rational]
    if expression.has(sp.Abs):
        orders.append(2)
    return orders


def _exponent(exponential: Expr) -> Expr:
    """The a of e^a; SymPy's e itself has no argument."""
    if exponential is sp.E:
        return sp.Integer(1)
    return exponential.args[0]


def _coordinates(polynomial: Element, tags: list[Expr]) -> Expr:
    """The coefficients of a polynomial that is linear in the tags: a row for each monomial beside them."""
    tag_indices = [polynomial.ring.symbols.index(tag) for tag in tags]
    rows: dict[Powers, list[int]] = defaultdict(lambda: [0] * len(tags))
    for powers, coefficient in polynomial.terms():
        column = next(j for j, index in enumerate(tag_indices) if powers[index])
        monomial = tuple(
            power for i, power in enumerate(powers) if i not in tag_indices
        )
        rows[monomial][column] = int(coefficient)
    return sp.Matrix(list(rows.values()))
