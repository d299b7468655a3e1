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
from collections.abc import Iterable, Iterator
from functools import cache
from math import gcd, lcm
from typing import Any

import sympy as sp
from sympy.polys.fields import FracField
from sympy.polys.orderings import lex

from ..task import Expr
from .odd_roots import OddRoot
from .sign_analysis import in_exponentials, is_nonnegative, is_positive

Element = Any
"""A rational function, an element of a SymPy field, or a polynomial of its ring."""

_EXPONENTIALS = (sp.exp, type(sp.E))
_MOST_TERMS = 300  # of a polynomial that is factored: more take minutes
_HIGHEST_DEGREE = (
    48  # in all symbols together, of a polynomial in several of them that is factored
)
_TRIAL_DIVISORS = (
    2**15
)  # beyond, a whole number of 256 bits takes minutes: it is not factored further


class Undecided(ValueError):
    """Neither proved nor refuted: what it takes is not known here."""


class Tower:
    """The generators that one expression needs, each a symbol; `meaning` says what it stands for.

    `order` is the q of every root, root^q = radicand, and `odd_order` that of odd roots of what may be negative.
    `roots` goes from radicand and order to root in the order in which they were met, `unsure` lists the roots that
    may depend on others, `factors` the irreducible factors of radicands, `opaque` what else may depend on others.
    """

    def __init__(self, expression: Expr) -> None:
        expression = in_exponentials(expression)
        exponents = [
            power.exp for power in expression.atoms(sp.Pow) if power.exp.is_Rational
        ]
        odd = [int(root.args[1]) for root in expression.atoms(OddRoot)]
        even = [2] if expression.has(sp.Abs) else []
        self.expression = expression
        self.order = lcm(*(int(exponent.q) for exponent in exponents), *odd, *even)
        self.odd_order = lcm(*odd)
        self.meaning: dict[Expr, Expr] = {}
        self.roots: dict[tuple[Expr, int], Expr] = {}
        self.unsure: list[Expr] = []
        self.factors: set[Expr] = set()
        self.opaque: set[Expr] = set()
        self.exponentials: dict[Expr, Expr] = {}
        self.exponentials = self._monomials(
            sorted(expression.atoms(*_EXPONENTIALS), key=sp.default_sort_key)
        )

    def value(self) -> Element:
        """The expression as a reduced fraction."""
        return self.element(self.rewritten(self.expression))

    def rewritten(self, node: Expr) -> Expr:
        """The expression with generators for its roots and functions: a rational one."""
        if node in self.exponentials:
            return self.exponentials[node]
        if node.is_Symbol or node.is_Rational:
            return node
        if node.is_Pow and node.exp.is_Rational:
            base = self.rewritten(node.base)
            return (
                base**node.exp if node.exp.is_Integer else self._power(base, node.exp)
            )
        if node.is_Add or node.is_Mul:
            return node.func(*map(self.rewritten, node.args))
        if node is sp.pi:
            return self._generator(node)
        if isinstance(node, OddRoot):
            return self._odd_root(self.rewritten(node.args[0]), int(node.args[1]))
        if isinstance(node, sp.Abs):
            return self._power(self.rewritten(node.args[0]) ** 2, sp.Rational(1, 2))
        if isinstance(node, sp.log):
            return self._log(self.element(self.rewritten(node.args[0])))
        if (
            isinstance(node, sp.Function)
            and len(node.args) == 1
            and node.func not in _EXPONENTIALS
        ):
            return self._function(node)
        raise Undecided(
            f"only exact rationals, symbols, roots, exp and log can be decided here, not {node}"
        )

    def element(self, rational: Expr) -> Element:
        """A rational expression in generators and symbols as a reduced fraction; `Undecided` if divided by 0."""
        radicands = (radicand.free_symbols for radicand, _ in self.roots)
        symbols = rational.free_symbols.union(self.meaning, *radicands)
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
                return self.reduced(_product(map(value, node.args), field))
            if not node.is_Pow:
                raise Undecided(
                    f"a part of the expression divides by zero: take out {node}"
                )
            base = self.reduced(value(node.base) ** abs(int(node.exp)))
            if node.exp < 0 and base == 0:
                raise Undecided(
                    f"a part of the expression divides by zero: take out {self.spelled(node)}"
                )
            return base if node.exp > 0 else 1 / base

        return self.reduced(value(rational))

    def spelled(self, expression: Expr) -> Expr:
        """An expression in what its generators stand for."""
        while not expression.free_symbols.isdisjoint(self.meaning):
            expression = expression.xreplace(self.meaning)
        return expression

    def relation(self, root: Expr) -> Expr:
        """The polynomial that a root solves: root^order · below − above, for the radicand above/below."""
        radicand, order = next(key for key, each in self.roots.items() if each == root)
        return sp.numer(sp.together(root**order - radicand))

    def radicand(self, root: Expr) -> tuple[Expr, int]:
        """The radicand of a root, in generators, and its order."""
        return next(key for key, each in self.roots.items() if each == root)

    def reduced(self, value: Element) -> Element:
        """The fraction with every root to a power below its order."""
        for (radicand, order), root in reversed(self.roots.items()):
            if root not in value.field.symbols:
                continue
            i = value.field.symbols.index(root)
            if max(value.numer.degree(i), value.denom.degree(i)) >= order:
                power = value.field.from_expr(radicand)
                below = _folded(value.denom, i, order, power)
                if below == 0:
                    raise Undecided("a part of the expression divides by zero")
                value = _folded(value.numer, i, order, power) / below
        return value

    def _power(self, base: Expr, exponent: Expr) -> Expr:
        """base^exponent by roots of its positive irreducible factors, and one of the others together."""
        if self.order % int(exponent.q):
            raise Undecided(
                f"a root appears where a function is evaluated and cannot be decided: {base}**({exponent})"
            )
        value = self.element(base)
        if value == 0:
            if exponent > 0:
                return sp.Integer(0)
            raise Undecided(
                f"{base}**({exponent}) is a power of zero: write 0, or take it out"
            )
        power = int(exponent * self.order)
        result, others = sp.Integer(1), []
        for factor, multiplicity in _factors(value):
            if factor != -1 and is_nonnegative(self.spelled(factor)):
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
            raise Undecided(
                f"only real roots can be decided, not those of {self.spelled(radicand)}"
            )
        fresh = (
            factor
            for factor, multiplicity in parts
            if self._is_new(factor) and gcd(multiplicity, self.order) == 1
        )
        self_contained = any(fresh)
        root = self._new_root(sp.Pow, radicand, self.order, self_contained)
        self.factors.update(factor for factor, _ in parts)
        return root

    def _odd_root(self, base: Expr, order: int) -> Expr:
        """The real root of odd order, factor by factor, whatever their signs."""
        value = self.element(base)
        if value == 0:
            return sp.Integer(0)
        result = sp.Integer(1)
        for factor, multiplicity in _factors(value):
            if factor == -1:
                result *= (-1) ** multiplicity
            elif is_nonnegative(self.spelled(factor)):
                result *= self._root([(factor, 1)]) ** (
                    multiplicity * self.order // order
                )
            else:
                root = self._new_root(
                    OddRoot, factor, self.odd_order, self._is_new(factor)
                )
                self.factors.add(factor)
                result *= root ** (multiplicity * self.odd_order // order)
        return result

    def _is_new(self, factor: Expr) -> bool:
        """Whether a factor has nothing in common with the earlier ones; whole numbers may be products."""
        if factor == -1 or factor in self.factors:
            return False
        if not factor.is_Integer:
            return True
        return all(
            gcd(int(factor), int(other)) == 1
            for other in self.factors
            if other.is_Integer and other != -1
        )

    def _new_root(
        self, kind: type, radicand: Expr, order: int, independent: bool
    ) -> Expr:
        if (radicand, order) in self.roots:
            return self.roots[radicand, order]
        root = (
            sp.Dummy("r", real=True)
            if kind is OddRoot
            else sp.Dummy("r", positive=True)
        )
        nested = not radicand.free_symbols.isdisjoint(
            self.opaque.union(self.roots.values())
        )
        if nested or not independent:
            self.unsure.append(root)
        self.roots[radicand, order] = root
        self.meaning[root] = (
            OddRoot(radicand, order)
            if kind is OddRoot
            else radicand ** sp.Rational(1, order)
        )
        return root

    def _log(self, value: Element) -> Expr:
        """The logarithm of a positive fraction: of its irreducible factors; generators are undone."""
        if value == 0:
            raise Undecided("the logarithm of zero is not finite")
        result, others = sp.Integer(0), sp.Integer(1)
        for factor, multiplicity in _factors(value):
            if factor in self.meaning and isinstance(self.meaning[factor], sp.exp):
                result += multiplicity * self.rewritten(self.meaning[factor].args[0])
            elif factor in self.roots.values():
                radicand, order = self.radicand(factor)
                result += sp.Rational(multiplicity, order) * self._log(
                    self.element(radicand)
                )
            elif factor != -1 and is_positive(self.spelled(factor)):
                result += multiplicity * self._generator(sp.log(factor))
            else:
                others *= factor**multiplicity
        return result if others == 1 else result + self._generator(sp.log(others))

    def _function(self, node: Expr) -> Expr:
        """A generator for atan f …: whatever its argument, its independence of the others is not known."""
        value = node.func(self.element(self.rewritten(node.args[0])).as_expr())
        return (
            self._generator(value)
            if isinstance(value, node.func)
            else self.rewritten(value)
        )

    def _generator(self, value: Expr) -> Expr:
        """The opaque generator of a function of generators, or of π."""
        known = (each for each in self.opaque if self.meaning[each] == value)
        generator = next(known, None) or sp.Dummy("f", real=True)
        self.opaque.add(generator)
        self.meaning[generator] = value
        return generator

    def _monomials(self, exponentials: list[Expr]) -> dict[Expr, Expr]:
        """Exponential → monomial in generators exp(a), for a basis of the arguments over the rationals."""
        arguments = [
            sp.Integer(1) if node is sp.E else node.args[0] for node in exponentials
        ]
        if not arguments:
            return {}
        tags = [sp.Dummy("t") for _ in arguments]
        total = self.element(
            sp.Add(
                *(
                    tag * self.rewritten(each)
                    for tag, each in zip(tags, arguments, strict=True)
                )
            )
        )
        certain = not self.unsure and not self.opaque
        echelon, pivots = _coordinates(total.numer, tags).rref()
        result = dict.fromkeys(exponentials, sp.Integer(1))
        for k, pivot in enumerate(pivots):
            scale = lcm(*(int(entry.q) for entry in echelon.row(k)))
            generator = sp.Dummy("e", positive=True)
            self.meaning[generator] = sp.exp(arguments[pivot] / scale)
            if not certain:
                self.opaque.add(generator)
            for j, node in enumerate(exponentials):
                result[node] *= generator ** (echelon[k, j] * scale)
        return result


def _folded(polynomial: Element, i: int, order: int, radicand: Element) -> Element:
    """A polynomial with the powers of one root from its order on replaced by those of the radicand."""
    parts: dict[int, dict[tuple[int, ...], Any]] = defaultdict(dict)
    for powers, coefficient in polynomial.terms():
        times, rest = divmod(powers[i], order)
        parts[times][(*powers[:i], rest, *powers[i + 1 :])] = coefficient
    field, ring = radicand.field, polynomial.ring
    return sum(
        (
            field(ring.from_dict(part)) * radicand**times
            for times, part in parts.items()
        ),
        field.zero,
    )


def _sum(values: Iterable[Element], field: Any) -> Element:
    """The sum of fractions, those of one denominator first: every sum of two costs a greatest common divisor."""
    numerators: dict[Element, Element] = defaultdict(lambda: field.ring.zero)
    for value in values:
        numerators[value.denom] += value.numer
    return sum(
        (
            field(numerator) / field(denominator)
            for denominator, numerator in numerators.items()
        ),
        field.zero,
    )


def _product(values: Iterable[Element], field: Any) -> Element:
    """The product of fractions with one greatest common divisor."""
    numerator = denominator = field.ring.one
    for value in values:
        numerator, denominator = numerator * value.numer, denominator * value.denom
    return field(numerator) / field(denominator)


def _factors(value: Element) -> Iterator[tuple[Expr, int]]:
    """The irreducible factors of a fraction, primes and −1 among them, with their multiplicities."""
    for polynomial, sign in ((value.numer, 1), (value.denom, -1)):
        if len(polynomial) > _MOST_TERMS:
            raise Undecided(
                f"what stands under a root or a logarithm has {len(polynomial)} terms: it is not factored"
            )
        if len(polynomial) > 1 and _is_hard(polynomial):
            raise Undecided(
                "what stands under a root or a logarithm has too high a degree to be factored"
            )
        content, factors = (
            (polynomial.LC, []) if polynomial.is_ground else polynomial.factor_list()
        )
        for number, multiplicity in _divisors(int(content)):
            yield sp.Integer(number), sign * multiplicity
        for factor, multiplicity in factors:
            yield factor.as_expr(), sign * int(multiplicity)


def _is_hard(polynomial: Element) -> bool:
    """Whether a polynomial in several symbols has a degree at which factoring takes minutes."""
    degrees = [degree for degree in polynomial.degrees() if degree > 0]
    return len(degrees) > 1 and sum(degrees) > _HIGHEST_DEGREE


@cache
def _divisors(number: int) -> tuple[tuple[int, int], ...]:
    """Small primes, −1 and what is left of a whole number, which is no power, with their multiplicities."""
    found = []
    for divisor, multiplicity in sp.factorint(
        number, limit=_TRIAL_DIVISORS, use_pm1=False, use_rho=False
    ).items():
        base, exponent = sp.perfect_power(divisor, factor=False) or (divisor, 1)
        found.append((int(base), int(multiplicity * exponent)))
    return tuple(found)


def _coordinates(polynomial: Element, tags: list[Expr]) -> Expr:
    """The coefficients of a polynomial that is linear in the tags: a row for each monomial beside them."""
    places = [polynomial.ring.symbols.index(tag) for tag in tags]
    rows: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * len(tags))
    for powers, coefficient in polynomial.terms():
        column = next(j for j, place in enumerate(places) if powers[place])
        rows[tuple(power for i, power in enumerate(powers) if i not in places)][
            column
        ] = int(coefficient)
    return sp.Matrix(list(rows.values()))
