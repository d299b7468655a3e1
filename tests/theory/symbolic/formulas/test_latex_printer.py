"""Equations in LaTeX: they are read back as what they were, compile, and are as short as they should be."""

import re

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.mathtext import MathTextParser

from attndyn import Merged, Separate
from attndyn.theory.symbolic import (
    N,
    Prompt,
    average,
    flow_equations,
    population_loss,
    symbolic_task,
)
from attndyn.theory.symbolic.algebra.zero_test import is_zero
from attndyn.theory.symbolic.formulas.latex_printer import (
    latex,
    latex_equations,
    latex_invariants,
)
from attndyn.theory.symbolic.formulas.reading import (
    read_equation,
    read_equations,
    read_latex,
)

l1, l2 = sp.symbols("lambda_1 lambda_2", positive=True)
value, k, q = sp.symbols("value_1_2 key_1_1_1 query_1_1_1", real=True)
x, y = sp.symbols("x y", positive=True)

CASES = [
    (Merged(1), 1, "full"),
    (Merged(2), 1, "full"),
    (Merged(1), 2, "full"),
    (Merged(2), 2, "restricted"),
    (Separate(1), 1, "full"),
    (Separate(1), 2, "restricted"),
    (Separate(2), 1, "full"),
    (Separate(1, rank=2), 2, "restricted"),
]


def compiles(source):
    """Whether matplotlib's TeX can set every line of a block."""
    body = re.sub(r"\\(begin|end)\{aligned\}|&|\\quad", "", source)
    for line in body.split(r"\\"):
        try:
            MathTextParser("path").parse(f"${' '.join(line.split())}$")
        except ValueError:
            return False
    return True


@pytest.mark.parametrize(("model", "dimension", "block"), CASES, ids=str)
def test_a_flow_is_read_back(model, dimension, block):
    task = symbolic_task(dimension)
    loss = population_loss(task, model, block)
    flow, ring = flow_equations(loss), loss.polynomial.ring
    source = latex_equations(flow)
    symbols = [*flow, *task.parameters, N]
    back = read_equations(source, symbols, latex=True, rate=True)
    assert list(back) == list(flow)
    assert all(
        ring.from_expr(back[weight]) == ring.from_expr(rate)
        for weight, rate in flow.items()
    )
    wrong = read_equations(
        source.replace("N + 2", "N + 1", 1), symbols, latex=True, rate=True
    )
    assert any(
        ring.from_expr(wrong[weight]) != ring.from_expr(rate)
        for weight, rate in flow.items()
    )


def test_a_loss_with_all_parameters_is_read_back():
    task = symbolic_task(2, teachers="general", noise=True)
    loss = population_loss(task, Merged(1), "restricted")
    L = sp.Symbol("L")
    source = latex_equations({L: loss.expression}, rates=False)
    left, right = read_equation(
        source, [L, *loss.weights, *task.parameters, N], latex=True
    )
    assert left == L
    assert loss.polynomial.ring.from_expr(right) == loss.polynomial
    assert compiles(source)


def test_lines_compile():
    flow = flow_equations(population_loss(symbolic_task(2), Separate(2), "restricted"))
    assert compiles(latex_equations(flow))
    assert compiles(latex_invariants([value**2 - k**2, sp.Symbol("gate_1") ** 2 - q]))
    assert not compiles(r"\frac{1}{2")
    assert not compiles(r"v \foo")


SHOWN = {
    r"\lambda_1^{2} v_{1,2}^{2} - \frac{N + 2}{N} \lambda_1^{3} v_{1,2}^{5}": l1**2
    * value**2
    - l1**3 * (N + 2) / N * value**5,
    r"k_{1,1,1} - \frac{\lambda_1 \left(\left(N + 2\right) \lambda_1 + \lambda_2\right)}{N} v_{1,2}^{5}": k
    - sp.expand(l1 * ((N + 2) * l1 + l2) / N * value**5),
    r"\left(k_{1,1,1} - q_{1,1,1}\right)^{3}": sp.expand((k - q) ** 3),
    r"v_{1,2}^{2} - k_{1,1,1}^{2}": value**2 - k**2,
    r"- \frac{N}{\left(N + 2\right) \lambda_1 + \lambda_2}": -N
    / (N * l1 + 2 * l1 + l2),
    r"\lambda_1 + \lambda_2 - \frac{N \lambda_1}{\left(N + 2\right) \lambda_1 + \lambda_2}": l1
    + l2
    - N * l1 / (N * l1 + 2 * l1 + l2),
    r"2 \left(N + 1\right) x": 2 * (N + 1) * x,
    r"\frac{2 \lambda_1^{2}}{N} x": 2 * l1**2 * x / N,
    r"\frac{3 \left(N + 2\right)}{N} x": (3 * N + 6) / N * x,
    r"\langle x_1 y \rangle^{2} x": average(Prompt(1).x[0] * Prompt(1).y) ** 2 * x,
    r"\lambda_1 \sqrt[3]{x}": l1 * sp.cbrt(x),
    r"e^{- 2 x}": sp.exp(-2 * x),
    r"0": sp.Integer(0),
    r"- \frac{2}{3}": sp.Rational(-2, 3),
    r"- \left(N - 1\right) + \lambda_1 x": 1 - N + l1 * x,
    r"\frac{\lambda_1 - \left(N - 1\right)}{N} x": (l1 + 1 - N) * x / N,
}


@pytest.mark.parametrize("source", SHOWN)
def test_the_form_is_the_short_one(source):
    assert latex(SHOWN[source]) == source
    assert compiles(source)


def test_names_come_from_all_symbols():
    other = sp.Symbol("v_1_2")
    assert latex(value) == "v_{1,2}"
    assert latex(value, [other]) == r"\mathrm{value}_{1,2}"
    assert (
        latex_equations({value: other}).splitlines()[1]
        == r"\dot{\mathrm{value}}_{1,2} &= v_{1,2}"
    )
    assert read_equations(
        latex_equations({value: other}), [value, other], latex=True, rate=True
    ) == {value: other}
    with pytest.raises(ValueError, match="e is a symbol and a number here"):
        latex(sp.Symbol("e") * sp.exp(x))
    with pytest.raises(ValueError, match=r"\\pi is a symbol and a number here"):
        latex(sp.Symbol("pi") + sp.pi)


def test_long_lines_are_broken_at_sums():
    flow = flow_equations(population_loss(symbolic_task(2), Merged(1), "full"))
    for width in (60, 110):
        rows = latex_equations(flow, width=width).splitlines()[1:-1]
        going_on = [row for row in rows if row.startswith(r"&\quad")]
        assert going_on
        assert all(re.match(r"&\\quad [+-] ", row) for row in going_on)
        assert all(row.endswith(r" \\") for row in rows[:-1])
        assert all(row.count(r"\left(") == row.count(r"\right)") for row in rows)
        dropped = re.compile(r"\\(left|right|frac|dot|quad|lambda)|[{}_^&\\ ]")
        assert max(len(dropped.sub("", row)) for row in rows) <= width
    short = latex_equations({value: k})
    assert short == "\\begin{aligned}\n\\dot v_{1,2} &= k_{1,1,1}\n\\end{aligned}"


def test_invariants():
    block = latex_invariants([value**2 - k**2] * 10).splitlines()
    assert block[1] == r"I_1 &= v_{1,2}^{2} - k_{1,1,1}^{2} = \mathrm{const} \\"
    assert block[10] == r"I_{10} &= v_{1,2}^{2} - k_{1,1,1}^{2} = \mathrm{const}"


POLYNOMIALS = st.lists(
    st.tuples(
        st.integers(-4, 4), *(st.integers(0, 2) for _ in range(4)), st.integers(0, 2)
    ),
    min_size=1,
    max_size=4,
).map(
    lambda terms: sp.Add(
        *(
            c * l1**a * l2**b * k**d * q**e * (N + c) / N**f
            for c, a, b, d, e, f in terms
        )
    )
)


@settings(max_examples=25, deadline=None)
@given(
    POLYNOMIALS,
    POLYNOMIALS,
    st.sampled_from(
        [sp.Integer(1), sp.sqrt(l1), 1 / sp.cbrt(l2), sp.exp(x), 1 / (l1 + N * l2)]
    ),
)
def test_any_expression_is_read_back(first, second, factor):
    for expression in (
        first,
        sp.expand(first * second),
        first + second * factor,
        first / (1 + second**2),
    ):
        back = read_latex(latex(expression), [l1, l2, k, q, x, N])
        assert is_zero(back - expression)
        assert not is_zero(back - expression - factor / 7)
