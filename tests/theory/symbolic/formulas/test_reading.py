"""Formulas of users: what they mean, how mistakes are named, and that no string does anything else."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.symbolic import N, Prompt, average, symbolic_task
from attndyn.theory.symbolic.formulas.reading import (
    read_equation,
    read_equations,
    read_latex,
    read_text,
)
from attndyn.theory.symbolic.formulas.symbol_names import latex_names

value, key, query, U, v, u = sp.symbols(
    "value_1_2 key_1_1_2 query_1_1_2 key_query_1_2_3 v u_1", real=True
)
TASK = symbolic_task(2, teachers="general", noise=True, mixture=True)
l1, l2 = sp.symbols("lambda_1 lambda_2", positive=True)
O12, p, w01, sigma = (
    next(s for s in TASK.parameters if s.name == name)
    for name in ("Omega_12", "p", "w0_1", "sigma")
)
PROMPT = Prompt(2)
(x1, x2), y, (xq1, _), yq, (w1, _) = (
    PROMPT.x,
    PROMPT.y,
    PROMPT.query,
    PROMPT.label,
    PROMPT.teacher,
)
SYMBOLS = [
    value,
    key,
    query,
    U,
    v,
    u,
    N,
    *TASK.parameters,
    x1,
    x2,
    y,
    *PROMPT.query,
    yq,
    *PROMPT.teacher,
]
third = sp.Rational(1, 3)

TEXT = {
    "lambda_1^2*value_1_2 - 0.5*v": l1**2 * value - v / 2,
    "-v**2": -(v**2),
    "(-v)**2": v**2,
    "2/3*v": 2 * v / 3,
    "v/2/N": v / (2 * N),
    "v**2**3": v**8,
    "l - - +3": None,
    "3 - - +v": 3 + v,
    "lambda_1**(1/3)": sp.cbrt(l1),
    "cbrt(lambda_1)*sqrt(lambda_2)": sp.cbrt(l1) * sp.sqrt(l2),
    "exp(-2*v) + log(1 - v) + ln(N)": sp.exp(-2 * v) + sp.log(1 - v) + sp.log(N),
    "sinh(v) + cosh(v) + tanh(v)": sp.sinh(v) + sp.cosh(v) + sp.tanh(v),
    "arctan((2*v + 1)/sqrt(3)) - atan(v) + pi/6": sp.atan((2 * v + 1) / sp.sqrt(3))
    - sp.atan(v)
    + sp.pi / 6,
    "average(y*(x_1 + v*x_2) + 3)*x_q1": (average(y * x1) + v * average(y * x2) + 3)
    * xq1,
    "avg(y)^2": average(y) ** 2,
    "w0_1*p + Omega_12 − sigma·w_1": w01 * p + O12 - sigma * w1,
    "0.1 + .25 + 2.": sp.Rational(47, 20),
    "1e-3*v + 2.5E+2": v / 1000 + 250,
    "E**(2*v)": sp.exp(2 * v),
    "\n v +\n u_1": v + u,
}

LATEX = {
    r"\frac{N+2}{N} \lambda_1^2 v_{1,2}": (N + 2) / N * l1**2 * value,
    r"\tfrac12\,v - \dfrac{1}{3} v\; \cdot \frac1{N}": v / 2 - v / (3 * N),
    r"\frac12 v": v / 2,
    r"v_{12} k_{112} q_{1,1,2} \mathrm{key\_query}_{1,2,3} u_{123}": value
    * key
    * query
    * U**2,
    r"\mathrm{value}_{1,2} + \mathrm{value\_1\_2} + \operatorname{value}_{12}": 3
    * value,
    r"\lambda_{1}\lambda^2_1 \lambda_1^{2} \lambda_1^{-3}": l1**2,
    r"\Omega_{12} + \Omega_{1,2} + x_{q,1} + x_{q1} + y_q + w_{0,1} + w_1 + \sigma": 2
    * O12
    + 2 * xq1
    + yq
    + w01
    + w1
    + sigma,
    r"\left( v + u_1 \right) \bigl[ v \bigr] \{u_1\}": (v + u) * v * u,
    r"N(N+1)": N * (N + 1),
    r"2(v)": 2 * v,
    r"-v^2": -(v**2),
    r"{-v}^2": v**2,
    r"\sqrt{\lambda_1} \sqrt[3]{\lambda_2} \sqrt2": sp.sqrt(2 * l1) * sp.cbrt(l2),
    r"\lambda_1^{1/3} \lambda_2^{\frac{2}{3}}": sp.cbrt(l1) * sp.cbrt(l2) ** 2,
    r"e^{-2 v} \exp(u_1) \exp\left(v\right)": sp.exp(u) * sp.exp(-v),
    r"e^v": sp.exp(v),
    r"\ln(1 - v) + \log v + \ln\frac{v}{2} - \ln v^2": sp.log(1 - v)
    + sp.log(v)
    + sp.log(v / 2)
    - sp.log(v**2),
    r"\cosh^2 v - \sinh^{2}(v) + \log{\left(v \right)}^{2}": sp.cosh(v) ** 2
    - sp.sinh(v) ** 2
    + sp.log(v) ** 2,
    r"\arctan\frac{2v+1}{\sqrt3} + \operatorname{atan}{\left(v \right)}": sp.atan(
        (2 * v + 1) / sp.sqrt(3)
    )
    + sp.atan(v),
    r"\langle y x_1 \rangle x_{q,1} + \overline{y x_{2}^2} \left\langle y \right\rangle^2": average(
        y * x1
    )
    * xq1
    + average(y * x2**2) * average(y) ** 2,
    r"$ v \times u_1 $": u * v,
    r"0.1 \pi": sp.pi / 10,
    r"v &+ \\ &\quad u_1 \nonumber": u + v,
    r"v/2 \cdot u_1": u * v / 2,
}


@pytest.mark.parametrize("source", TEXT)
def test_text_means(source):
    if TEXT[source] is None:
        with pytest.raises(ValueError, match='unknown symbol "l"'):
            read_text(source, SYMBOLS)
    else:
        assert read_text(source, SYMBOLS) == TEXT[source]


@pytest.mark.parametrize("source", LATEX)
def test_latex_means(source):
    assert read_latex(source, SYMBOLS) == LATEX[source]


def test_misreadings_would_be_found():
    assert read_text("-v**2", SYMBOLS) != v**2
    assert read_text("2/3*v", SYMBOLS) != 2 / (3 * v)
    assert read_text("0.1", []) != sp.Rational(0.1)
    assert read_text("v**2**3", SYMBOLS) != v**6
    assert read_latex(r"v_{1,2}", SYMBOLS) != v
    assert read_latex(r"\ln v^2", SYMBOLS) != sp.log(v) ** 2


def test_definitions_are_replaced_in():
    a = {"a_1": l1**2 * (N + 2) / N, "m": 1 / l1}
    assert read_text("a_1*m*v", [v], a) == l1 * (N + 2) / N * v
    assert read_latex(r"\frac{a_1 m}{2} v", [v], a) == l1 * (N + 2) / N * v / 2
    with pytest.raises(ValueError, match="the name v has two meanings"):
        read_text("v", [v], {"v": u})
    with pytest.raises(ValueError, match="the name v has two meanings"):
        read_latex("v", [v, sp.Symbol("v")])


def test_equations():
    assert read_equation("v = 2*u_1", [u, v]) == (v, 2 * u)
    for source in ("dv/dt = u_1", "d v/dt = u_1", "d(v)/dt = u_1", "v' = u_1"):
        assert read_equation(source, [u, v], rate=True) == (v, u)
    rates = [
        r"\dot v_{1,2}",
        r"\dot{v}_{1,2}",
        r"\dot{v_{1,2}}",
        r"\frac{d v_{1,2}}{dt}",
        r"\frac{d}{dt} v_{1,2}",
    ]
    for left in [*rates, r"\frac{\mathrm{d} v_{1,2}}{\mathrm{d} t}"]:
        assert read_equation(left + r" = u_1,", [u, value], latex=True, rate=True) == (
            value,
            u,
        )
    block = r"\begin{align*} \dot u_1 &= v \\ &\quad + 1 \\ \dot v &= u_1 \end{align*}"
    assert read_equations(block, [u, v], latex=True, rate=True) == {u: v + 1, v: u}
    assert read_equations("u_1 = v\n + 1\n\nv = 2", [u, v]) == {u: v + 1, v: 2}


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("v = 1", {"rate": True}, r"left side must be a rate"),
        ("v' = 1", {}, r"left side must be a symbol"),
        (r"\dot v = 1", {"latex": True}, r"left side must be a symbol"),
        ("v + u_1", {}, r'"=" is missing'),
        ("v = 1\nv = 2", {}, "two equations for v, at position 7"),
        ("v = 1 = 2", {}, 'unexpected "=", at position 7'),
        ("v = 1\nu_1 = 2", {}, "one equation must be given, not 2"),
        ("2*v = 1", {}, "must have a known symbol"),
        (r"\frac{u_1}{v} = 1", {"latex": True}, "a rate must be written"),
        ("w = 1", {}, 'unknown symbol "w"'),
        ("  ", {}, "there is no equation"),
    ],
)
def test_wrong_equations(source, options, message):
    with pytest.raises(ValueError, match=message):
        read_equation(source, [u, v], **options)


WRONG = {
    "text": [
        ("", "the formula is empty, at position 1"),
        (
            "lamda_1*v",
            r'unknown symbol "lamda_1" \(did you mean lambda_1 or lambda_2\?\), at position 1',
        ),
        ("2*(v", r'"\(" is never closed, at position 3'),
        ("2*v)", r'unbalanced bracket "\)", at position 4'),
        ("v u_1", 'an operator is missing before "u_1", at position 3'),
        ("2v", 'an operator is missing before "v", at position 2'),
        ("1e", 'an operator is missing before "e"'),
        ("1e400", "a number may have 300 digits"),
        ("v +", "the formula is not complete, at position 4"),
        ("foo(v)", 'unknown function "foo": known are sqrt, cbrt'),
        ("lambda_3(v)", r'unknown symbol "lambda_3" \(did you mean lambda_'),
        ("v = 3", 'unexpected "=", at position 3'),
        (
            "v**N",
            r"an exponent must be a rational number p/q with \|p\| ≤ 64 and q ≤ 12, not N, at position 2",
        ),
        ("v**65", "not 65"),
        ("v**(1/13)", "not 1/13"),
        ("1/(v - v)", "division by zero, at position 2"),
        ("sqrt(-2)", "is no real number"),
        ("(-8)**(1/4)", "is no real number"),
        ("log(0)", "the logarithm of zero is not finite"),
        ("I*v", 'unknown symbol "I"'),
        ("average(w_1)", "w_1 is no variable of a token of the context.*at position 1"),
        ("average(average(y))", "only a polynomial"),
        ("1" * 301, "a number may have 300 digits, not 301"),
        ("(" * 51 + "v" + ")" * 51, "may be nested 50 deep"),
        ("v" * 100_001, "a formula may have 100000 characters, not 100001"),
        (5, "a formula must be text, not 5"),
    ],
    "latex": [
        ("", "the formula is empty, at position 1"),
        (r"v + \foo", r'unknown LaTeX command "\\foo", at position 5'),
        (r"\lamda_1", r'unknown LaTeX command "\\lamda" \(did you mean \\lambda'),
        (r"\lambda_3", r'unknown symbol "\\lambda_3" \(did you mean \\lambda_'),
        (r"v_{1,3}", r'unknown symbol "v_\{1,3\}" \(did you mean v_\{1,2\}'),
        (r"\left( v", r'"\(" is never closed, at position 6'),
        (r"v \right)", r'unbalanced bracket "\)"'),
        (r"( v ]", r'unbalanced bracket "\]", at position 5'),
        (r"\frac{1}{2", r'"\{" is never closed, at position 9'),
        (r"\frac{1}", "the formula is not complete"),
        (r"v/2N", "a/bc has two readings"),
        (r"v^12", 'write braces around "12"'),
        (r"v_12", 'write braces around "12"'),
        (r"v^-1", "an exponent must stand in braces"),
        (r"v 2", 'an operator is missing before "2"'),
        (r"\ln v u_1", r"write brackets around what \\ln is of"),
        (r"\cosh^{-1} v", "has two readings"),
        (r"\sqrt[x_1]{2}", "the order of a root must be a whole number"),
        (r"v^{N}", "an exponent must be a rational number"),
        (r"v_{\frac{1}{2}}", "only letters, numbers and commas may stand below"),
        (r"(v)_1", 'unexpected "_"'),
        (r"\langle w_1 \rangle", "w_1 is no variable of a token"),
        (r"\mathrm{}", r'unexpected "\\mathrm"'),
        (r"v # 2", 'unexpected character "#", at position 3'),
    ],
}


@pytest.mark.parametrize(
    ("kind", "source", "message"),
    [(k, *case) for k, cases in WRONG.items() for case in cases],
)
def test_a_mistake_is_named_with_its_place(kind, source, message):
    with pytest.raises(ValueError, match=message):
        (read_text if kind == "text" else read_latex)(source, SYMBOLS)


def expressions():
    leaves = st.sampled_from(
        [v, u, N, l1, l2, sp.Integer(3), sp.Rational(-2, 7), average(x1 * y), sp.pi]
    )
    functions = st.sampled_from([sp.exp, sp.log, sp.cosh, sp.sinh, sp.atan])

    def grown(parts):
        return st.one_of(
            st.lists(parts, min_size=2, max_size=3).map(lambda each: sp.Add(*each)),
            st.lists(parts, min_size=2, max_size=3).map(lambda each: sp.Mul(*each)),
            st.tuples(parts, st.sampled_from([-2, -1, 2, 3])).map(
                lambda pair: pair[0] ** pair[1] if pair[0] else l1
            ),
        )

    rational = st.recursive(leaves, grown, max_leaves=8)
    root = st.sampled_from(
        [l1**third, 1 / sp.sqrt(l1 + l2), (1 + v**2) ** (2 * third), sp.sqrt(N)]
    )
    return st.tuples(rational, root, functions, leaves).map(
        lambda parts: parts[0] + parts[1] * parts[0] + parts[2](1 + l1 * parts[3] ** 2)
    )


@settings(max_examples=25, deadline=None)
@given(expressions())
def test_what_sympy_prints_is_read_back(expression):
    assert read_text(str(expression), SYMBOLS) == expression
    names = latex_names(SYMBOLS)
    printed = sp.latex(expression.xreplace({average(x1 * y): v}), symbol_names=names)
    assert (
        sp.expand(
            read_latex(printed, SYMBOLS) - expression.xreplace({average(x1 * y): v})
        )
        == 0
    )
