"""Exact zero tests for expressions with roots and exponentials, by a normal form in a tower of fields.

Every root and every exponential becomes a generator, and an expression a fraction of polynomials in generators and
symbols, reduced by r^q = radicand. What makes a nonzero remainder a proof is that the generators are independent:

- roots of irreducible factors that differ, by unique factorization and Kneser's theorem (Acta Arith. 26, 1975);
- exp of arguments that are linearly independent over the rationals, by the theorems of Ax (Ann. Math. 93, 1971) and
  of Lindemann and Weierstrass. Arguments are first written in such a basis.

Roots of other roots, and of what has no known sign, may depend on others: then a norm that is not zero decides.
Other functions, such as log and atan, are symbols whose laws are not known: what vanishes all the same is zero, and
of the rest nothing is said.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from math import gcd, lcm
from typing import Any

import sympy as sp
from sympy.functions.elementary.hyperbolic import HyperbolicFunction
from sympy.polys.fields import FracField
from sympy.polys.orderings import lex

from .problem import Expr

Element = Any
"""A rational function, an element of a SymPy field, or a polynomial of its ring."""

_EXPONENTIALS = (sp.exp, type(sp.E))


def is_zero(expression: Expr) -> bool:
    """Whether an expression vanishes identically; exact both ways, and ValueError where it cannot decide.

    Decides sums, products, quotients and rational powers, nested or not, of rational numbers, symbols and
    exponentials (sinh, cosh, tanh … too) whose arguments hold no exponential themselves. Symbols stand for real
    numbers, and radicands for positive ones, so that roots and exponentials are real. √(ab) is split into √a √b
    where SymPy knows a or b to be positive: declare symbols positive that are. ValueError: a complex number, a
    float, a division by zero, what is true on one branch of a root only, such as √(x²) = x where x may be
    negative, and what vanishes only by the laws of log, atan and other functions, if it does.

    >>> a, b, t = sp.symbols("a b t", positive=True)
    >>> is_zero(sp.sqrt(a**2 * b + a * b**2) - sp.sqrt(a) * sp.sqrt(b) * sp.sqrt(a + b))
    True
    >>> is_zero(sp.cosh(a * t) ** 2 - sp.sinh(a * t) ** 2), is_zero(sp.exp(a * t) ** 2 - sp.exp(2 * a * t))
    (False, True)
    """
    tower, value = _in_tower(expression)
    return tower.vanishes(value)


def normal(expression: Expr) -> Expr:
    """The expression as one fraction in independent roots and exponentials: 0 just where it vanishes identically.

    Equal expressions may still have different fractions: compare by `is_zero` of their difference, whose domain and
    errors are those of this function.

    >>> x = sp.Symbol("x", positive=True)
    >>> normal(1 / (sp.sqrt(x) - 1) - (sp.sqrt(x) + 1) / (x - 1))
    0
    >>> normal(sp.sqrt(12) * sp.sqrt(x**3) + sp.sqrt(3 * x))
    sqrt(3)*sqrt(x)*(2*x + 1)
    """
    tower, value = _in_tower(expression)
    if tower.vanishes(value):
        return sp.Integer(0)
    return sp.factor_terms(tower.spelled(value.as_expr()))


def _in_tower(expression: Expr) -> tuple["_Tower", Element]:
    """The generators that an expression needs, and the expression in them."""
    tower = _Tower(_in_exponentials(sp.sympify(expression, strict=True)))
    return tower, tower.element(tower.rewritten(tower.expression))


class _Tower:
    """The generators that one expression needs, each a symbol; `meaning` says what it stands for.

    `order` is the q of every root: root^q = radicand. `roots` goes from radicand to root in the order in which they
    were met, `unsure` lists the roots that may depend on others, `factors` the irreducible factors of radicands,
    `opaque` the functions that are not known to be independent.
    """

    def __init__(self, expression: Expr) -> None:
        exponents = [power.exp for power in expression.atoms(sp.Pow) if power.exp.is_Rational]
        self.expression = expression
        self.order = lcm(*(int(exponent.q) for exponent in exponents))
        self.meaning: dict[Expr, Expr] = {}
        self.roots: dict[Expr, Expr] = {}
        self.unsure: list[Expr] = []
        self.factors: set[Expr] = set()
        self.opaque: set[Expr] = set()
        self.exponentials: dict[Expr, Expr] = {}
        self.exponentials = self._monomials(sorted(expression.atoms(*_EXPONENTIALS), key=sp.default_sort_key))

    def rewritten(self, node: Expr) -> Expr:
        """The expression with generators for its roots and exponentials: a rational one."""
        if node in self.exponentials:
            return self.exponentials[node]
        if node.is_Symbol or node.is_Rational:
            return node
        if node.is_Pow and node.exp.is_Rational:
            base = self.rewritten(node.base)
            return base**node.exp if node.exp.is_Integer else self._power(base, node.exp)
        if node.is_Add or node.is_Mul:
            return node.func(*map(self.rewritten, node.args))
        if isinstance(node, sp.Function) and len(node.args) == 1 and node.func not in _EXPONENTIALS:
            return self._function(node)
        raise ValueError(f"only exact rationals, symbols, roots and exp can be decided here, not {node}")

    def element(self, rational: Expr) -> Element:
        """A rational expression in generators and symbols as a reduced fraction; ValueError for a division by 0."""
        symbols = rational.free_symbols.union(self.meaning, *(radicand.free_symbols for radicand in self.roots))
        field = FracField(sorted(symbols, key=sp.default_sort_key), sp.ZZ, lex)
        gens = dict(zip(field.symbols, field.gens, strict=True))

        def value(node: Expr) -> Element:
            if node in gens:
                return gens[node]
            if node.is_Rational:
                return field(int(node.p)) / int(node.q)
            if node.is_Add:
                return _sum(map(value, node.args), field)
            if node.is_Mul:
                return self._reduced(_product(map(value, node.args), field))
            if not node.is_Pow:
                raise ValueError(f"a part of the expression divides by zero: take out {node}")
            base = self._reduced(value(node.base) ** abs(int(node.exp)))
            if node.exp < 0 and self.vanishes(base):
                raise ValueError(f"a part of the expression divides by zero: take out {self.spelled(node)}")
            return base if node.exp > 0 else 1 / base

        return self._reduced(value(rational))

    def spelled(self, expression: Expr) -> Expr:
        """An expression in the roots and exponentials that its generators stand for."""
        while not expression.free_symbols.isdisjoint(self.meaning):
            expression = expression.xreplace(self.meaning)
        return expression

    def vanishes(self, value: Element) -> bool:
        """Whether a reduced fraction is zero; ValueError if it may be so for some values of unsure generators."""
        norm = value.numer.as_expr()
        for root in reversed(self.unsure):
            if norm.has(root):
                relation = sp.numer(sp.together(root**self.order - self._radicand(root)))
                norm = self.element(sp.resultant(norm, relation, root)).numer.as_expr()
        if value != 0 and (norm == 0 or not norm.free_symbols.isdisjoint(self.opaque)):
            raise ValueError(
                f"it cannot be decided whether {self.spelled(value.as_expr())} vanishes: declare those symbols "
                f"positive that are, write nested roots out, and avoid functions other than exp"
            )
        return bool(value == 0)

    def _radicand(self, root: Expr) -> Expr:
        return next(radicand for radicand, each in self.roots.items() if each == root)

    def _reduced(self, value: Element) -> Element:
        """The fraction with every root to a power below `order`."""
        for radicand, root in reversed(self.roots.items()):
            if root not in value.field.symbols:
                continue
            i = value.field.symbols.index(root)
            if max(value.numer.degree(i), value.denom.degree(i)) >= self.order:
                power = value.field.from_expr(radicand)
                value = self._folded(value.numer, i, power) / self._folded(value.denom, i, power)
        return value

    def _folded(self, polynomial: Element, i: int, radicand: Element) -> Element:
        parts: dict[int, dict[tuple[int, ...], Any]] = defaultdict(dict)
        for powers, coefficient in polynomial.terms():
            times, rest = divmod(powers[i], self.order)
            parts[times][(*powers[:i], rest, *powers[i + 1 :])] = coefficient
        field, ring = radicand.field, polynomial.ring
        return sum((field(ring.from_dict(part)) * radicand**times for times, part in parts.items()), field.zero)

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        """base^exponent by roots of its positive irreducible factors, and one of the others together."""
        if self.order % int(exponent.q):
            raise ValueError(
                f"a root appears where a function is evaluated and cannot be decided: {base}**({exponent})"
            )
        value = self.element(base)
        if self.vanishes(value):
            raise ValueError(f"{base}**({exponent}) is a power of zero: write 0, or take it out")
        power = int(exponent * self.order)
        result, others = sp.Integer(1), []
        for factor, multiplicity in _factors(value):
            if factor.is_positive:
                result *= self._root([(factor, 1)]) ** (multiplicity * power)
            else:
                others.append((factor, multiplicity))
        return result * self._root(others) ** power if others else result

    def _root(self, parts: list[tuple[Expr, int]]) -> Expr:
        """The generator whose radicand is a product of powers of irreducible factors.

        It is independent of the earlier ones if some factor is new and its multiplicity has no divisor in common
        with `order`, and no root stands inside.
        """
        radicand = sp.Mul(*(factor**multiplicity for factor, multiplicity in parts))
        if radicand.is_negative:
            raise ValueError(f"only real roots can be decided, not those of {self.spelled(radicand)}")
        if radicand in self.roots:
            return self.roots[radicand]
        root = sp.Dummy("r", positive=True)
        nested = not radicand.free_symbols.isdisjoint(self.opaque.union(self.roots.values()))
        fresh = (f for f, m in parts if f != -1 and f not in self.factors and gcd(m, self.order) == 1)
        if nested or not any(fresh):
            self.unsure.append(root)
        self.factors.update(factor for factor, _ in parts)
        self.roots[radicand] = root
        self.meaning[root] = radicand ** sp.Rational(1, self.order)
        return root

    def _function(self, node: Expr) -> Expr:
        """A generator for log f, atan f …: whatever its argument, its independence of the others is not known."""
        value = node.func(self.element(self.rewritten(node.args[0])).as_expr())
        if not isinstance(value, node.func):
            return self.rewritten(value)
        known = (each for each in self.opaque if self.meaning[each] == value)
        generator = next(known, None) or sp.Dummy("f", real=True)
        self.opaque.add(generator)
        self.meaning[generator] = value
        return generator

    def _monomials(self, exponentials: list[Expr]) -> dict[Expr, Expr]:
        """Exponential → monomial in generators exp(a), for a basis of the arguments over the rationals."""
        arguments = [sp.Integer(1) if node is sp.E else node.args[0] for node in exponentials]
        if not arguments:
            return {}
        tags = [sp.Dummy("t") for _ in arguments]
        total = self.element(
            sp.Add(*(tag * self.rewritten(each) for tag, each in zip(tags, arguments, strict=True)))
        )
        for each in (*self.unsure, *self.opaque):
            raise ValueError(f"an exponent must be made of independent roots, not of {self.spelled(each)}")
        echelon, pivots = _coordinates(total.numer, tags).rref()
        result = dict.fromkeys(exponentials, sp.Integer(1))
        for k, pivot in enumerate(pivots):
            scale = lcm(*(int(entry.q) for entry in echelon.row(k)))
            generator = sp.Dummy("e", positive=True)
            self.meaning[generator] = sp.exp(arguments[pivot] / scale)
            for j, node in enumerate(exponentials):
                result[node] *= generator ** (echelon[k, j] * scale)
        return result


def _in_exponentials(expression: Expr) -> Expr:
    """sinh, cosh, tanh … by exp."""
    return expression.replace(
        lambda node: isinstance(node, HyperbolicFunction), lambda node: node.rewrite(sp.exp, deep=False)
    )


def _sum(values: Iterable[Element], field: Any) -> Element:
    """The sum of fractions, those of one denominator first: every sum of two costs a greatest common divisor."""
    numerators: dict[Element, Element] = defaultdict(lambda: field.ring.zero)
    for value in values:
        numerators[value.denom] += value.numer
    return sum((field(numerator) / field(denominator) for denominator, numerator in numerators.items()), field.zero)


def _product(values: Iterable[Element], field: Any) -> Element:
    """The product of fractions with one greatest common divisor."""
    numerator = denominator = field.ring.one
    for value in values:
        numerator, denominator = numerator * value.numer, denominator * value.denom
    return field(numerator) / field(denominator)


def _factors(value: Element) -> Iterator[tuple[Expr, int]]:
    """The irreducible factors of a fraction, primes and −1 among them, with their multiplicities."""
    for polynomial, sign in ((value.numer, 1), (value.denom, -1)):
        content, factors = (polynomial.LC, []) if polynomial.is_ground else polynomial.factor_list()
        for prime, multiplicity in sp.factorint(int(content)).items():
            yield sp.Integer(prime), sign * multiplicity
        for factor, multiplicity in factors:
            yield factor.as_expr(), sign * int(multiplicity)


def _coordinates(polynomial: Element, tags: list[Expr]) -> Expr:
    """The coefficients of a polynomial that is linear in the tags: a row for each monomial beside them."""
    places = [polynomial.ring.symbols.index(tag) for tag in tags]
    rows: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * len(tags))
    for powers, coefficient in polynomial.terms():
        column = next(j for j, place in enumerate(places) if powers[place])
        rows[tuple(power for i, power in enumerate(powers) if i not in places)][column] = int(coefficient)
    return sp.Matrix(list(rows.values()))
