"""A user's statements about a derivation: proved, or refuted at a point that is checked here by hand."""

import numpy as np
import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn import Separate, Task
from attndyn.theory.symbolic import N, Prompt, average, rational_task, symbolic_task
from attndyn.theory.symbolic.algebra.sign_analysis import is_nonnegative, is_positive
from attndyn.theory.symbolic.derivation import derive, derive_output
from attndyn.theory.symbolic.statements.checking import check_statement
from attndyn.theory.symbolic.statements.counterexamples import differing_point
from attndyn.theory.symbolic.statements.statements import (
    TIME,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedRate,
    StatedReduction,
    StatedSolution,
)

D1, D2 = (
    derive(symbolic_task(heads), Separate(heads), "restricted") for heads in (1, 2)
)
V, K, Q = D1.weights
LAMBDA = D1.parameters[0]
A = LAMBDA**2 * (N + 2) / N
M = V * K * Q
AMPLITUDE = sp.Symbol("a", real=True)
ALIGNED = {V: AMPLITUDE, K: AMPLITUDE, Q: AMPLITUDE}


def refuted(statement, derivation, failing=1):
    """The counterexample of a statement that must not hold, whose values are recomputed at its point."""
    finding = check_statement(statement, derivation)
    assert (finding.holds, finding.level, len(finding.failing)) == (
        False,
        "refuted",
        failing,
    )
    example = finding.counterexample
    assert example.identity is finding.failing[0]
    assert all(
        value.is_Rational and isinstance(value, sp.Rational)
        for value in example.point.values()
    )
    assert all(
        value > 0 for symbol, value in example.point.items() if symbol.is_positive
    )
    assert example.derived == example.identity.derived.subs(example.point)
    assert example.claimed == example.identity.claimed.subs(example.point)
    assert example.derived.is_finite
    assert example.claimed.is_finite
    assert example.derived != example.claimed
    assert str(finding).startswith("refuted: ")
    assert "\n" not in str(finding)
    return example


def proved(statement, derivation):
    finding = check_statement(statement, derivation)
    assert (finding.holds, finding.level, finding.counterexample) == (
        True,
        "proved",
        None,
    )
    assert str(finding).startswith("proved: ")
    return finding


# Loss


def test_a_loss_is_proved_in_any_form_and_wrong_ones_are_refuted():
    right = LAMBDA - 2 * LAMBDA**2 * M + A * LAMBDA * M**2
    proved(StatedLoss(right), D1)
    proved(StatedLoss(sp.factor(right)), D1)
    proved(
        StatedLoss((A * LAMBDA * (M - LAMBDA / A) ** 2) + LAMBDA - LAMBDA**3 / A), D1
    )
    refuted(StatedLoss(right.subs(N, N + 1)), D1)
    refuted(StatedLoss(LAMBDA - 2 * LAMBDA**2 * M + LAMBDA**3 * M**2), D1)
    refuted(StatedLoss(right + 1), D1)


def test_a_loss_on_an_ansatz():
    on = LAMBDA - 2 * LAMBDA**2 * AMPLITUDE**3 + A * LAMBDA * AMPLITUDE**6
    proved(StatedLoss(on, ALIGNED), D1)
    proved(StatedLoss(LAMBDA, {V: AMPLITUDE}), D1)
    refuted(StatedLoss(on, {**ALIGNED, Q: -AMPLITUDE}), D1)


# Equations of motion


def test_motion_of_a_weight():
    G = LAMBDA**2 - A * LAMBDA * M
    proved(StatedRate(V, K * Q * G), D1)
    proved(StatedRate(K, V * Q * G), D1)
    refuted(StatedRate(K, K * Q * G), D1)
    example = refuted(StatedRate(V, 2 * K * Q * G), D1)
    assert set(map(abs, example.point.values())) == {1}
    assert (example.derived, example.claimed) == (-2, -4)


def test_a_weight_that_does_not_stand_in_the_output_rests():
    last = D1.arrays["query"][0, 0, 1]
    assert last not in D1.weights
    proved(StatedRate(last, 0), D1)
    refuted(StatedRate(last, LAMBDA), D1)


# Invariants


def test_invariants_and_the_rate_of_what_is_none():
    proved(StatedInvariant(V**2 - K**2), D1)
    proved(
        StatedInvariant((V**2 - Q**2) * (K**2 - Q**2) / (1 + (V**2 - Q**2) ** 2)), D1
    )
    example = refuted(StatedInvariant(V**2 - 2 * K**2), D1)
    G = LAMBDA**2 - A * LAMBDA * M
    assert example.derived == (-2 * M * G).subs(example.point) != 0
    assert example.claimed == 0


def test_a_constant_is_no_invariant():
    with pytest.raises(ValueError, match="lambda_1 has no weight in it"):
        check_statement(StatedInvariant(LAMBDA), D1)


# Reductions


def test_a_reduction_proves_ansatz_and_equations_together():
    rate = LAMBDA**2 * AMPLITUDE**2 - A * LAMBDA * AMPLITUDE**5
    finding = proved(StatedReduction(ALIGNED, {AMPLITUDE: rate}), D1)
    assert str(finding) == "proved: 3 identities, for all values of the symbols"
    refuted(StatedReduction(ALIGNED, {AMPLITUDE: rate.subs(N, N + 1)}), D1, failing=3)
    refuted(StatedReduction(ALIGNED, {AMPLITUDE: 2 * rate}), D1, failing=3)
    tilted = {V: AMPLITUDE, K: AMPLITUDE, Q: 2 * AMPLITUDE}
    assert "3 of 3 identities fail" in str(
        check_statement(StatedReduction(tilted, {AMPLITUDE: rate}), D1)
    )


def test_an_ansatz_that_the_flow_leaves_is_refuted_whatever_its_equations():
    """A head whose key and query differ in direction has forces along both, even where its own motion is right."""
    v, w = sp.symbols("v w", real=True)
    arrays = D2.arrays
    ansatz = {
        arrays["value"][0, 2]: v,
        arrays["key"][0, 0, 0]: v,
        arrays["query"][0, 0, 1]: w,
    }
    λ1, λ2 = D2.parameters
    a1 = λ1**2 * (1 + 1 / N) + λ1 * (λ1 + λ2) / N
    force = -a1 * λ2 * v**2 * w
    finding = check_statement(
        StatedReduction(ansatz, {v: force * v * w, w: force * v**2}), D2
    )
    assert [part.what for part in finding.failing] == [
        "d key_1_1_2/dt on the ansatz",
        "d query_1_1_1/dt on the ansatz",
    ]
    right = ansatz | {arrays["query"][0, 0, 1]: 0, arrays["query"][0, 0, 0]: v}
    proved(StatedReduction(right, {v: λ1**2 * v**2 - a1 * λ1 * v**5}), D2)
    refuted(
        StatedReduction(right, {v: λ1**2 * v**2 - (a1 - λ1 * λ2 / N) * λ1 * v**5}),
        D2,
        failing=3,
    )


def test_constants_of_an_ansatz_are_amplitudes_at_rest():
    c = sp.Symbol("c", real=True)
    proved(StatedReduction({V: c}, {c: 0}), D1)
    with pytest.raises(
        ValueError,
        match="c of the ansatz is no parameter and has no equation: state its rate",
    ):
        check_statement(StatedReduction({V: c}, {}), D1)


# Fixed points


def test_canonical_weights_with_cube_roots():
    root = sp.cbrt(LAMBDA / A)
    best = LAMBDA - LAMBDA**3 / A
    assert str(proved(StatedFixedPoint({V: root, K: root, Q: root}, best), D1)) == (
        "proved: 4 identities, for all values of the symbols"
    )
    wrong = sp.cbrt((LAMBDA / A).subs(N, N + 1))
    example = refuted(StatedFixedPoint({V: wrong, K: wrong, Q: wrong}), D1, failing=3)
    assert example.derived.is_Rational  # the point makes the radicand a cube
    refuted(StatedFixedPoint({V: root, K: root, Q: root}, best + 1), D1)
    refuted(StatedFixedPoint({V: root, K: root, Q: -root}), D1, failing=3)


def test_two_directions_in_two_heads():
    λ1, λ2 = D2.parameters
    values = {}
    for h, λ in enumerate((λ1, λ2)):
        root = sp.cbrt(1 / (λ + (2 * λ + (λ1 + λ2 - λ)) / N))
        w = D2.arrays
        values |= {
            w["value"][h, 2]: root,
            w["key"][h, 0, h]: root,
            w["query"][h, 0, h]: root,
        }
    proved(StatedFixedPoint(values), D2)
    first = next(iter(values))
    assert not check_statement(
        StatedFixedPoint(values | {first: -values[first]}), D2
    ).holds


def test_a_wrong_fixed_point_of_four_directions_is_refuted_before_anything_is_expanded():
    derivation = derive(symbolic_task(4), Separate(4), "restricted")
    lam, w, values = derivation.parameters, derivation.arrays, {}
    gain = [λ**3 / (λ**2 * (1 + 1 / N) + λ * sum(lam) / N) for λ in lam]
    for d in range(4):
        root = sp.cbrt(gain[d] / lam[d] ** 2)
        values |= {
            w["value"][d, 4]: root,
            w["key"][d, 0, d]: root,
            w["query"][d, 0, d]: root,
        }
    loss = sum(lam) - sum(gain)
    proved(StatedFixedPoint(values, loss), derivation)
    wrong = {weight: value.subs(N, N + 1) for weight, value in values.items()}
    refuted(StatedFixedPoint(wrong, loss), derivation, failing=13)
    refuted(StatedFixedPoint(values, loss.subs(N, N + 1)), derivation)


def test_a_fixed_point_may_leave_weights_free():
    proved(StatedFixedPoint({V: V}, LAMBDA), D1)
    refuted(StatedFixedPoint({V: V, K: K}), D1)


def undefined(statement, derivation):
    """The point at which a statement has no value."""
    finding = check_statement(statement, derivation)
    assert (finding.holds, finding.level, finding.counterexample) == (
        False,
        "undefined",
        None,
    )
    assert str(finding).startswith("undefined")
    assert "\n" not in str(finding)
    return finding.undefined.point


def test_values_must_be_real():
    assert undefined(StatedFixedPoint({V: sp.sqrt(-LAMBDA)}), D1) == {}
    λ1, λ2 = D2.parameters
    value = D2.arrays["value"][0, 2]
    assert undefined(StatedFixedPoint({value: sp.sqrt(λ1 - λ2)}), D2) == {λ1: 1, λ2: 2}
    proved(StatedFixedPoint({value: sp.sqrt(λ1 + λ2)}), D2)
    proved(StatedFixedPoint({value: sp.sqrt(λ1**2 - λ1 * λ2 + λ2**2)}), D2)


def test_what_is_neither_proved_nor_refuted_is_undecided():
    for statement in (
        StatedLoss(sp.Function("f")(V)),
        StatedFixedPoint({V: sp.gamma(LAMBDA)}),
    ):
        finding = check_statement(statement, D1)
        assert (finding.holds, finding.level) == (False, "undecided")
        assert str(finding).startswith("undecided: ")


# Mistakes


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (
            StatedLoss(sp.Symbol("lamda_1", positive=True)),
            r"lamda_1, .* \(did you mean lambda_1\?\)",
        ),
        (
            StatedLoss(sp.Symbol("z")),
            "z, which does not stand there: N, key_1_1_1, .*, value_1_2 do",
        ),
        (
            StatedLoss(sp.Symbol("lambda_1")),
            "lambda_1 of the loss has other assumptions",
        ),
        (
            StatedRate(sp.Symbol("value_1_3", real=True), 0),
            r"value_1_3, .* \(did you mean .*value_1_2",
        ),
        (
            StatedRate("value_1_2", 0),
            "the statement must name symbols, not 'value_1_2'",
        ),
        (StatedInvariant(0.5 * V), r"inexact number 0.5.*: write sympy.Rational"),
        (
            StatedInvariant("v**2"),
            "must be a SymPy expression, not 'v.*2': read text by read_text",
        ),
        (StatedLoss(sp.oo), "must be a finite expression, not oo"),
        (StatedLoss(sp.Matrix([1])), "must be a finite expression"),
        (StatedReduction(ALIGNED, {sp.Symbol("b"): 0}), "the equations has b"),
        (
            StatedReduction({V: sp.Symbol("lamda_1")}, {}),
            r"no parameter \(did you mean lambda_1\?\) and has no eq",
        ),
        (
            StatedReduction({V: sp.Symbol("lambda_1")}, {}),
            "lambda_1 of the ansatz has other assumptions",
        ),
        (StatedFixedPoint({V: AMPLITUDE}), "the value of value_1_2 has a, which"),
        (
            "the loss is zero",
            "a statement is one of StatedLoss, .*, not 'the loss is zero'",
        ),
    ],
)
def test_mistakes_are_named(statement, message):
    with pytest.raises(ValueError, match=message):
        check_statement(statement, D1)


def test_the_symbol_of_the_context_length_is_unknown_where_it_is_a_number():
    derivation = derive(
        rational_task(Task(eigenvalues=[2], context_length=3)),
        Separate(1),
        "restricted",
    )
    proved(StatedLoss(2 - 8 * M + sp.Rational(40, 3) * M**2), derivation)
    with pytest.raises(ValueError, match="the loss has N"):
        check_statement(StatedLoss(N), derivation)


def test_an_output_of_the_users_own():
    prompt, (u, v) = Prompt(1), sp.symbols("u v")
    output = u * v**2 * average(prompt.y * prompt.x[0]) * prompt.query[0]
    derivation = derive_output(symbolic_task(1), output, [u, v])
    proved(StatedInvariant(2 * u**2 - v**2), derivation)
    refuted(StatedInvariant(u**2 - v**2), derivation)
    with pytest.raises(ValueError, match="names of their own"):
        derive_output(symbolic_task(1), output, [u, v, sp.Symbol("u", real=True)])


# Points and signs

a, b = sp.symbols("a b", positive=True)
x = sp.Symbol("x", real=True)


def test_points_are_small_and_respect_the_symbols():
    assert differing_point(a * b, a + b - 1) == {a: 2, b: 2}
    assert differing_point(sp.Integer(1), sp.Integer(2)) == {}
    assert differing_point(a, a) is None
    assert differing_point((N - 1) * (N - 2) * N, sp.Integer(0)) == {N: 3}
    assert differing_point(1 / (a - 1), sp.Integer(0)) == {a: 2}
    p = sp.Symbol("p", real=True)
    assert differing_point(p, 1 - p, p) == {p: sp.Rational(2, 3)}
    assert differing_point(sp.sqrt(a + 1), sp.sqrt(a)) == {a: sp.Rational(16, 9)}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(-3, 3), min_size=1, max_size=4))
def test_a_point_is_found_for_every_polynomial_that_is_not_zero(roots):
    polynomial = sp.prod([x - root for root in roots]) * (a - 1)
    point = differing_point(polynomial, sp.Integer(0))
    assert polynomial.subs(point) != 0
    assert max(max(abs(value.p), value.q) for value in point.values()) <= 5


A_18, B_20 = a**18 - a**9 + 1, 10 * (a**20 - a**10 + 2)
"""Positive by their roots, not by their coefficients, and of a degree at which nothing is split."""


@pytest.mark.parametrize(
    ("expression", "positive", "nonnegative"),
    [
        (a / (a * b + 2), True, True),
        (a - b, False, False),
        (-a, False, False),
        (N - 1, False, True),
        ((N + 1) / N * a - a / N, True, True),
        (x**2, False, True),
        (1 / (1 + x**2), True, True),
        (x, False, False),
        ((a - b) ** 2, False, True),
        (sp.sqrt(1 + x**2) + a, True, True),
        (sp.sqrt(a - b), False, True),
        (sp.sqrt(2) - 1, True, True),
        (1 - sp.sqrt(2), False, False),
        (sp.Integer(0), False, True),
        (A_18 * sp.sqrt(1 + a) + B_20, True, True),
        (-A_18 * sp.sqrt(1 + a) - B_20, False, False),
        (B_20 - A_18 * sp.sqrt(1 + a), True, True),
        (A_18 * sp.sqrt(1 + a) - B_20, False, False),
    ],
)
def test_signs_are_proved_or_not_known(expression, positive, nonnegative):
    assert (is_positive(expression), is_nonnegative(expression)) == (
        positive,
        nonnegative,
    )


def test_signs_of_two_roots_that_agree_are_their_sign():
    """A √b + B with A, B > 0 is above zero, also where A² b < B²."""
    x, y = sp.Symbol("x", real=True), sp.Symbol("y", positive=True)
    A, B = (x**2 - 2) ** 2 + sp.Rational(1, 1000), (y + 2) * ((x**2 - 2) ** 2 + 1)
    above = sp.expand(A * sp.sqrt(y) + B)
    assert is_nonnegative(above)
    assert not is_nonnegative(-above)


def test_weights_that_never_move_have_no_course_and_no_rate():
    """The query's y meets no query token: it does not stand in the output, of whatever block."""
    full = derive(symbolic_task(1), Separate(heads=1), "full")
    still = full.arrays["query"][0, 0, 1]
    z = sp.Symbol("z", real=True)
    assert (
        check_statement(StatedSolution({still: sp.exp(TIME)}), full).level == "refuted"
    )
    proved(StatedSolution({still: sp.Integer(7)}), full)
    refuted(StatedReduction({still: z}, {z: z}), full)
    proved(StatedReduction({still: z}, {z: sp.Integer(0)}), full)


@pytest.mark.parametrize(
    "statement",
    [
        lambda off: StatedFixedPoint({off: sp.Integer(7)}),
        lambda off: StatedSolution({off: sp.exp(TIME)}),
        lambda off: StatedReduction({off: sp.Integer(1)}, {}),
        lambda off: StatedLoss(LAMBDA, {off: sp.Integer(3)}),
    ],
)
def test_weights_off_the_restricted_block_are_zero(statement):
    off = D1.arrays["value"][0, 0]
    with pytest.raises(
        ValueError, match="value_1_1 is zero in the restricted block, not"
    ):
        check_statement(statement(off), D1)
    proved(StatedFixedPoint({off: sp.Integer(0)}), D1)


@pytest.mark.parametrize("name", ["w0_1", "lambda_1", "N", "x_1", "y_q"])
def test_weights_have_names_of_their_own(name):
    prompt, weight = Prompt(1), sp.Symbol(name, real=True)
    with pytest.raises(
        ValueError,
        match=f"the weight {name} has the name of a number or a variable of the task",
    ):
        derive_output(
            symbolic_task(1, mixture=True),
            weight * average(prompt.y**2) * prompt.query[0],
            [weight],
        )


def test_heads_that_cannot_compute_with_symbols_are_named():
    class Numeric:
        def shapes(self, dimension):
            return {"value": (1, dimension + 1), "scale": (1,)}

        def heads(self, weights):
            B = np.zeros((1, 2, 1))
            B[0, 0, 0] = weights["scale"][0]
            return weights["value"], B

    with pytest.raises(
        ValueError, match="heads of Numeric cannot compute with symbols"
    ):
        derive(symbolic_task(1), Numeric())


@pytest.mark.parametrize(
    "kind", ["negative", "nonzero", "nonpositive", "imaginary", "even", "zero"]
)
def test_symbols_are_real_positive_or_nonnegative(kind):
    z = sp.Symbol("z", **{kind: True})
    with pytest.raises(
        ValueError, match="the symbol z must be real, positive or nonnegative"
    ):
        check_statement(
            StatedReduction(
                dict.fromkeys(ALIGNED, z), {z: LAMBDA**2 * z**2 - LAMBDA * A * z**5}
            ),
            D1,
        )


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"positive": True},
        {"nonnegative": True},
        {"integer": True, "positive": True},
    ],
)
def test_every_kind_of_symbol_may_be_an_amplitude(kind):
    z = sp.Symbol("z", **kind)
    proved(
        StatedReduction(
            dict.fromkeys(ALIGNED, z), {z: LAMBDA**2 * z**2 - LAMBDA * A * z**5}
        ),
        D1,
    )
    refuted(
        StatedReduction(
            dict.fromkeys(ALIGNED, z), {z: LAMBDA**2 * z**2 - LAMBDA * A * z**4}
        ),
        D1,
        failing=3,
    )
