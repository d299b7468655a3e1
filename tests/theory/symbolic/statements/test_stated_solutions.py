"""A time course that a user states, proved along the derived flow or refuted at a moment."""

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    TIME,
    N,
    StatedSolution,
    check_statement,
    derive,
    symbolic_task,
)

MERGED = derive(symbolic_task(1), Merged(heads=1), "restricted")
v, u = MERGED.weights
(lam,) = MERGED.parameters
a = sp.Symbol("a", real=True)
w0 = sp.Symbol("w_0", positive=True)


def balanced(speed=2, kappa=1 + 2 / N, start=w0**2):
    """sqrt(p) with p(t) = α e^{2αt} / (κ (e^{2αt} − 1) + α / w0²) at D = 1, or a wrong variant of it."""
    growth = sp.exp(speed * lam**2 * TIME)
    return sp.sqrt(lam**2 * growth / (lam**3 * kappa * (growth - 1) + lam**2 / start))


@pytest.mark.parametrize("on_weights", [True, False], ids=["weights", "amplitude"])
def test_the_balanced_course_of_merged_attention_is_proved(on_weights):
    if on_weights:
        statement = StatedSolution({v: balanced(), u: balanced()}, start={v: w0, u: w0})
    else:
        statement = StatedSolution({a: balanced()}, {v: a, u: a}, {a: w0})
    finding = check_statement(statement, MERGED)
    assert finding.holds
    assert len(finding.identities) == (4 if on_weights else 3)


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"speed": 1}, "d value_1_2/dt along the solution"),
        ({"kappa": 1 + 1 / N}, "d value_1_2/dt along the solution"),
        ({"start": w0}, "a at time 0"),
    ],
    ids=["half the speed", "trace dropped", "start not squared"],
)
def test_a_wrong_course_is_refuted_at_a_moment(wrong, where):
    finding = check_statement(
        StatedSolution({a: balanced(**wrong)}, {v: a, u: a}, {a: w0}), MERGED
    )
    assert finding.level == "refuted"
    assert finding.counterexample.identity.what == where
    assert finding.counterexample.derived != finding.counterexample.claimed


def test_a_weight_without_a_course_must_rest():
    separate = derive(symbolic_task(1), Separate(heads=1), "restricted")
    value, key, _ = separate.weights
    assert check_statement(StatedSolution({value: w0}), separate).holds
    assert not check_statement(StatedSolution({value: w0, key: w0}), separate).holds


BAD = {
    "has no solution": StatedSolution({}, {v: a, u: a}),
    "must be explicit in t, but it has value_1_2": StatedSolution({u: v * TIME}),
    "which does not stand there": StatedSolution({a: TIME}),
    "lambda_1 of the solution for value_1_2 has other assumptions": StatedSolution(
        {v: sp.Symbol("lambda_1") * TIME}
    ),
    "t of the solution for value_1_2 has other assumptions": StatedSolution(
        {v: sp.Symbol("t")}
    ),
    "has the inexact number 0.5": StatedSolution({v: 0.5 * TIME}),
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_no_course_is_named(message):
    with pytest.raises(ValueError, match=message):
        check_statement(BAD[message], MERGED)
