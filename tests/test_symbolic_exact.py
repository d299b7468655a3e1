"""The exact zero test: what vanishes, what does not, and what it declines to decide."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.symbolic.exact import is_zero, normal

a, b, t = sp.symbols("a b t", positive=True)
x, y = sp.symbols("x y", real=True)
THIRD = sp.Rational(1, 3)
R = sp.sqrt(a**2 + b**2)

IDENTITIES = {
    "primes": (sp.sqrt(2) * sp.sqrt(3), sp.sqrt(6), sp.sqrt(5)),
    "square factors": (sp.sqrt(a**3 + a**2 * b), a * sp.sqrt(a + b), a**2 * sp.sqrt(a + b)),
    "perfect squares": (sp.sqrt(a**2 + 2 * a * b + b**2), a + b, a - b),
    "perfect squares of any sign": (sp.sqrt(x**4 + 2 * x**2 + 1), x**2 + 1, x**2 - 1),
    "fractions under a root": ((a / (2 * b)) ** THIRD, (4 * a * b**2) ** THIRD / (2 * b), (a / b) ** THIRD),
    "rationalized": (1 / (1 - a**THIRD), (1 + a**THIRD + a ** (2 * THIRD)) / (1 - a), 1 / (1 - a)),
    "different orders": (a**THIRD * sp.sqrt(a), a ** sp.Rational(5, 6), a ** sp.Rational(2, 3)),
    "conjugates": ((R - a) * (R + a), b**2, -(b**2)),
    "no known sign": (sp.sqrt(a - b) * sp.sqrt(a + b), sp.sqrt(a**2 - b**2), sp.sqrt(a**2 + b**2)),
    "exponents": (sp.exp(t / 2) * sp.exp(t / 3), sp.exp(5 * t / 6), sp.exp(t)),
    "hidden exponents": (sp.exp((R**2 - a**2) * t), sp.exp(b * t) ** b, sp.exp(b * t)),
    "roots in exponents": (sp.exp(R * t) * sp.exp(-a * t), sp.exp((R - a) * t), sp.exp((R + a) * t)),
    "numbers in exponents": (sp.exp(sp.sqrt(8)), sp.exp(sp.sqrt(2)) ** 2, sp.exp(2)),
    "roots of exponentials": (sp.sqrt(sp.exp(2 * t) + 2 * sp.exp(t) + 1), sp.exp(t) + 1, sp.exp(t) - 1),
    "hyperbolic": (sp.cosh(2 * R), 1 + 2 * sp.sinh(R) ** 2, sp.sinh(R) ** 2),
    "tangent": (sp.tanh(a * t), sp.sinh(a * t) / sp.cosh(a * t), sp.cosh(a * t)),
    "nested": (sp.sqrt(1 + sp.sqrt(a)) ** 4, 1 + 2 * sp.sqrt(a) + a, 1 + sp.sqrt(a)),
    "logarithms": (sp.exp(2 * sp.log(a)), a**2, 2 * a),
}


@pytest.mark.parametrize("name", IDENTITIES)
def test_identities_vanish_and_wrong_ones_do_not(name):
    left, right, wrong = IDENTITIES[name]
    assert is_zero(left - right)
    assert normal((left - right) / (1 + a)) == 0
    assert not is_zero(left - wrong)
    assert not is_zero((left - wrong) / (1 + a))


UNDECIDED = {
    "a branch": sp.sqrt(x**2 * y) - x * sp.sqrt(y),
    "a cube that may be negative": (x**3) ** THIRD - x,
    "signs of factors": sp.sqrt(x * y) - sp.sqrt(x) * sp.sqrt(y),
    "nested roots": sp.sqrt(2) + sp.sqrt(3) - sp.sqrt(5 + 2 * sp.sqrt(6)),
    "laws of the logarithm": sp.log(a * b) - sp.log(a) - sp.log(b) + 1,
    "laws of the sine": sp.sin(a) ** 2 + sp.cos(a) ** 2 - 1,
    "a root of unknown functions": sp.sqrt(sp.sin(a) ** 2 + sp.cos(a) ** 2) - 1,
    "zero in a denominator": 1 / (sp.sqrt(a**2 + 2 * a * b + b**2) - a - b),
    "a power of zero": (sp.sqrt(a**2 + 2 * a * b + b**2) - a - b) ** sp.Rational(-1, 2),
    "floats": 0.25 * a - a / 2,
    "complex numbers": sp.sqrt(-a),
    "complex roots": sp.sqrt(-1 - x**2),
    "exponents of exponents": sp.exp(sp.exp(t)),
    "exponents of functions": sp.exp(sp.atan(t)),
    "exponents of nested roots": sp.exp(sp.sqrt(1 + sp.sqrt(a))),
    "pi": sp.pi * a,
    "infinity": sp.oo * a,
}


@pytest.mark.parametrize("name", UNDECIDED)
def test_what_cannot_be_decided_is_an_error_and_no_answer(name):
    with pytest.raises(ValueError, match=r"decide|divides by|power of zero|real roots|exponent"):
        is_zero(UNDECIDED[name])


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
    [a, b, R, sp.sqrt(2), a**THIRD, sp.exp(t), sp.exp(a * t / 2), sp.sqrt(a + b), sp.Integer(2)]
)
expressions = st.recursive(
    leaves,
    lambda inner: st.tuples(
        st.sampled_from([sp.Add, sp.Mul, lambda p, q: p / (1 + q**2), lambda p, q: p - q]), inner, inner
    ).map(lambda parts: parts[0](parts[1], parts[2])),
    max_leaves=5,
)


@settings(max_examples=25, deadline=None)
@given(expressions, expressions)
def test_the_normal_form_has_the_value_of_the_expression(left, right):
    point = {a: sp.Rational(7, 5), b: sp.Rational(3, 11), t: sp.Rational(2, 3)}
    difference = left - right
    value = difference.subs(point).evalf(30, maxn=60, chop=False)
    assert abs(normal(difference).subs(point).evalf(30, maxn=60) - value) < 1e-20 * (1 + abs(value))
    assert is_zero(difference) == (abs(value) < 1e-20)
    assert is_zero((left + right) ** 2 - left**2 - 2 * left * right - right**2)
