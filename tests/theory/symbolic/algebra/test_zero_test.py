"""The exact zero test: what vanishes, what does not, and what it declines to decide."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.symbolic import N
from attndyn.theory.symbolic.algebra.odd_roots import OddRoot
from attndyn.theory.symbolic.algebra.zero_test import is_zero, normal_form

a, b, t = sp.symbols("a b t", positive=True)
x, y = sp.symbols("x y", real=True)
THIRD = sp.Rational(1, 3)
R = sp.sqrt(a**2 + b**2)

IDENTITIES = {
    "primes": (sp.sqrt(2) * sp.sqrt(3), sp.sqrt(6), sp.sqrt(5)),
    "square factors": (
        sp.sqrt(a**3 + a**2 * b),
        a * sp.sqrt(a + b),
        a**2 * sp.sqrt(a + b),
    ),
    "perfect squares": (sp.sqrt(a**2 + 2 * a * b + b**2), a + b, a - b),
    "perfect squares of any sign": (sp.sqrt(x**4 + 2 * x**2 + 1), x**2 + 1, x**2 - 1),
    "fractions under a root": (
        (a / (2 * b)) ** THIRD,
        (4 * a * b**2) ** THIRD / (2 * b),
        (a / b) ** THIRD,
    ),
    "rationalized": (
        1 / (1 - a**THIRD),
        (1 + a**THIRD + a ** (2 * THIRD)) / (1 - a),
        1 / (1 - a),
    ),
    "different orders": (
        a**THIRD * sp.sqrt(a),
        a ** sp.Rational(5, 6),
        a ** sp.Rational(2, 3),
    ),
    "conjugates": ((R - a) * (R + a), b**2, -(b**2)),
    "no known sign": (
        sp.sqrt(a - b) * sp.sqrt(a + b),
        sp.sqrt(a**2 - b**2),
        sp.sqrt(a**2 + b**2),
    ),
    "exponents": (sp.exp(t / 2) * sp.exp(t / 3), sp.exp(5 * t / 6), sp.exp(t)),
    "hidden exponents": (sp.exp((R**2 - a**2) * t), sp.exp(b * t) ** b, sp.exp(b * t)),
    "roots in exponents": (
        sp.exp(R * t) * sp.exp(-a * t),
        sp.exp((R - a) * t),
        sp.exp((R + a) * t),
    ),
    "numbers in exponents": (sp.exp(sp.sqrt(8)), sp.exp(sp.sqrt(2)) ** 2, sp.exp(2)),
    "roots of exponentials": (
        sp.sqrt(sp.exp(2 * t) + 2 * sp.exp(t) + 1),
        sp.exp(t) + 1,
        sp.exp(t) - 1,
    ),
    "hyperbolic": (sp.cosh(2 * R), 1 + 2 * sp.sinh(R) ** 2, sp.sinh(R) ** 2),
    "tangent": (sp.tanh(a * t), sp.sinh(a * t) / sp.cosh(a * t), sp.cosh(a * t)),
    "nested": (sp.sqrt(1 + sp.sqrt(a)) ** 4, 1 + 2 * sp.sqrt(a) + a, 1 + sp.sqrt(a)),
    "logarithms": (sp.exp(2 * sp.log(a)), a**2, 2 * a),
    "laws of the logarithm": (
        sp.log(a**2 * b),
        2 * sp.log(a) + sp.log(b),
        sp.log(a) + 2 * sp.log(b),
    ),
    "logarithms of numbers": (
        sp.log(sp.Rational(8, 9)),
        3 * sp.log(2) - 2 * sp.log(3),
        2 * sp.log(2) - sp.log(3),
    ),
    "logarithms of roots": (
        sp.log(sp.sqrt(a**3 + a**2)),
        sp.log(a) + sp.log(1 + a) / 2,
        sp.log(1 + a),
    ),
    "logarithms of exponentials": (
        sp.log(3 * sp.exp(a * t) ** 2),
        2 * a * t + sp.log(3),
        a * t + sp.log(3),
    ),
    "pi": (
        (a + sp.pi) ** 2,
        a**2 + 2 * a * sp.pi + sp.pi**2,
        a**2 + a * sp.pi + sp.pi**2,
    ),
    "pi under a root": (sp.sqrt(sp.pi**2 + 2 * sp.pi + 1), 1 + sp.pi, sp.pi),
    "pi in an exponent": (sp.exp(sp.pi * t) ** 2, sp.exp(2 * sp.pi * t), sp.exp(3 * t)),
    "nested numbers": (sp.sqrt(3 + 2 * sp.sqrt(2)), 1 + sp.sqrt(2), sp.sqrt(2)),
    "sums of roots": (
        sp.sqrt(2) + sp.sqrt(3),
        sp.sqrt(5 + 2 * sp.sqrt(6)),
        sp.sqrt(5 + 2 * sp.sqrt(5)),
    ),
    "nested cube roots": (
        (2 + sp.sqrt(5)) ** THIRD,
        (1 + sp.sqrt(5)) / 2,
        (1 + sp.sqrt(5)) / 3,
    ),
    "nested symbols": (
        sp.sqrt(a + b + 2 * sp.sqrt(a * b)),
        sp.sqrt(a) + sp.sqrt(b),
        sp.sqrt(a) + 2 * sp.sqrt(b),
    ),
    "whole numbers": (sp.sqrt(N**2 - 2 * N + 1), N - 1, N),
    "odd roots of any sign": (
        OddRoot(x**3 * y, 3),
        x * OddRoot(y, 3),
        -x * OddRoot(y, 3),
    ),
    "odd roots of negative numbers": (OddRoot(-x, 3), -OddRoot(x, 3), OddRoot(x, 3)),
    "odd roots of odd roots": (
        OddRoot(x, 3) ** 4 * OddRoot(x, 5),
        OddRoot(x**23, 15),
        OddRoot(x**21, 15),
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_vanish_and_wrong_ones_do_not(name):
    left, right, wrong = IDENTITIES[name]
    assert is_zero(left - right)
    assert normal_form((left - right) / (1 + a)) == 0
    assert not is_zero(left - wrong)
    assert not is_zero((left - wrong) / (1 + a))


UNDECIDED = {
    "a cube that may be negative": (x**3) ** THIRD - x,
    "signs of factors": sp.sqrt(x * y) - sp.sqrt(x) * sp.sqrt(y),
    "laws of the sine": sp.sin(a) ** 2 + sp.cos(a) ** 2 - 1,
    "a root of unknown functions": sp.sqrt(sp.sin(a) ** 2 + sp.cos(a) ** 2) - 1,
    "zero in a denominator": 1 / (sp.sqrt(a**2 + 2 * a * b + b**2) - a - b),
    "a power of zero": (sp.sqrt(a**2 + 2 * a * b + b**2) - a - b) ** sp.Rational(-1, 2),
    "floats": 0.25 * a - a / 2,
    "complex numbers": sp.sqrt(-a),
    "complex roots": sp.sqrt(-1 - x**2),
    "exponents of exponents": sp.exp(sp.exp(t)),
    "infinity": sp.oo * a,
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_cannot_be_decided_is_an_error_and_no_answer(name):
    with pytest.raises(
        ValueError, match=r"decide|divides by|power of zero|real roots|exponent"
    ):
        is_zero(UNDECIDED[name])


NOT_ZERO = {
    "true on one branch": sp.sqrt(x**2 * y) - x * sp.sqrt(y),
    "exponents of functions": sp.exp(sp.atan(t)) - 1,
    "exponents of nested roots": sp.exp(sp.sqrt(1 + sp.sqrt(a))) - 2,
    "pi": sp.pi * a - 3 * a,
    "near pi": sp.pi - sp.Rational(314159265358979323846, 10**20),
    "near a root": sp.sqrt(2)
    - sp.Rational(141421356237309504880168872420969807856967187537694, 10**50),
    "an almost identity": sp.exp(sp.pi) - sp.pi - 20,
    "nested, near": sp.sqrt(3 + 2 * sp.sqrt(2))
    - 1
    - sp.sqrt(2)
    - sp.Rational(1, 10**60),
}


@pytest.mark.parametrize("name", NOT_ZERO)
def test_what_differs_a_little_does_not_vanish(name):
    assert not is_zero(NOT_ZERO[name])


@pytest.mark.parametrize(
    ("symbol", "zeros"),
    [(N, range(1, 12)), (a, [THIRD * 7, *map(sp.Rational, range(1, 30))])],
)
def test_what_vanishes_at_the_points_that_are_tried_does_not_vanish(symbol, zeros):
    """A sum of what is zero and of a polynomial with zeros at these points."""
    nested = sp.sqrt(3 + 2 * sp.sqrt(2)) - 1 - sp.sqrt(2)
    points = [
        *zeros,
        sp.Rational(3, 11),
        sp.Rational(11, 5),
        sp.Rational(5, 13),
        sp.Rational(13, 2),
    ]
    with pytest.raises(ValueError, match="cannot be decided"):
        is_zero(nested + sp.Mul(*(symbol - point for point in points)))


def test_equal_arguments_of_a_function_are_one():
    assert is_zero(sp.atan(a / (a * b + b)) - sp.atan(1 / (b + b / a)))
    assert is_zero(sp.log(R**2 - a**2) - sp.log(b**2))


class LateRoot(sp.Function):
    """A root that SymPy writes only once the argument is a number."""

    @classmethod
    def eval(cls, argument):
        return sp.sqrt(argument) if argument.is_Integer else None


def test_a_root_that_appears_while_deciding_is_declined():
    late = LateRoot((2 * a + 2 * b) / (a + b))
    with pytest.raises(ValueError, match="cannot be decided"):
        is_zero(late - 1)
    assert is_zero(late - sp.sqrt(2))


leaves = st.sampled_from(
    [
        a,
        b,
        R,
        sp.sqrt(2),
        a**THIRD,
        sp.exp(t),
        sp.exp(a * t / 2),
        sp.sqrt(a + b),
        sp.Integer(2),
    ]
)
expressions = st.recursive(
    leaves,
    lambda inner: st.tuples(
        st.sampled_from(
            [sp.Add, sp.Mul, lambda p, q: p / (1 + q**2), lambda p, q: p - q]
        ),
        inner,
        inner,
    ).map(lambda parts: parts[0](parts[1], parts[2])),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(expressions, expressions)
def test_the_normal_form_has_the_value_of_the_expression(left, right):
    point = {a: sp.Rational(7, 5), b: sp.Rational(3, 11), t: sp.Rational(2, 3)}
    difference = left - right
    value = difference.subs(point).evalf(30, maxn=60, chop=False)
    assert abs(
        normal_form(difference).subs(point).evalf(30, maxn=60) - value
    ) < 1e-20 * (1 + abs(value))
    assert is_zero(difference) == (abs(value) < 1e-20)
    assert is_zero((left + right) ** 2 - left**2 - 2 * left * right - right**2)
