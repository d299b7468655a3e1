"""What people write and a grammar could misread: each is read as it is meant, or refused in one sentence."""

import pytest
import sympy as sp

from attndyn.theory.symbolic import TIME, N, Prompt, average, symbolic_task
from attndyn.theory.symbolic.formulas.reading import (
    read_equation,
    read_equations,
    read_latex,
    read_text,
)

v, a, b, c, d, g, p, r, x, u1 = sp.symbols("value_1_2 a b c d g_1 p r x u_1", real=True)
TASK = symbolic_task(2, noise=True)
l1, l2, sigma = TASK.parameters
x1 = Prompt(2).x[0]
SYMBOLS = [v, a, b, c, d, g, p, r, x, u1, N, *TASK.parameters, TIME, x1]
DEFINITIONS = {"tau": 3 * a, "rate": b}

MEANT = {
    "1e-3": sp.Rational(1, 1000),
    r"1E3 a + 2.5e-1": 1000 * a + sp.Rational(1, 4),
    "2e a": 2 * sp.E * a,
    r"10^{-3} \cdot 2\times10^{3}": 2,
    r"a \\ + b": a + b,
    r"a + \\ &\quad b": a + b,
    r"a &- b \\[2pt] &\qquad + c": a - b + c,
    "ab(c+d)": a * b * (c + d),
    "N(N+1)": N * (N + 1),
    "2(a)": 2 * a,
    r"\frac12 a": a / 2,
    ".5": sp.Rational(1, 2),
    "g_1^2 + g^2_1 + {g}_{1}^2 + g _1^{2}": 4 * g**2,
    r"{\lambda}_{1} + \lambda _2": l1 + l2,
    r"{a \over b} c": a * c / b,
    r"\frac{1}{a \over b} + e^{a \over 2}": b / a + sp.exp(a / 2),
    r"\mathrm{e}^{a} + \mathrm e^2": sp.exp(a) + sp.exp(2),
    "e^{2t}": sp.exp(2 * TIME),
    "a % half of it": a,
    "a % a comment\n + b": a + b,
    "a.": a,
    r"a\,,": a,
    "a^2.": a**2,
    "$a.$": a,
    r"\[ a + b \]": a + b,
    r"\begin{equation} a \label{eq:1} \tag{3} \end{equation}": a,
    r"\pi + \tau + \mathrm{rate}": sp.pi + 3 * a + b,
    "a − b × c·2": a - 2 * b * c,
    "a^2/3": a**2 / 3,
    r"\exp(t) + \ln(a)": sp.exp(TIME) + sp.log(a),
    r"\langle x_1^2 \rangle": average(x1**2),
}

REFUSED = {
    r"a \\ b": "a line ends and the next begins with no sign between them",
    r"a & b": "& must stand beside a sign",
    r"a \quad b": "must stand beside a sign",
    r"a + \\[b]": "unknown LaTeX command",
    "tr(x)": '"tr" would be a product of letters',
    r"\operatorname{tr}(x)": 'no formula may have the function "tr": write a trace as the sum of its eigenvalues',
    r"\mathrm{tr}\, x": 'no formula may have the function "tr"',
    "sin x": '"sin" would be a product',
    r"\sin x": "unknown LaTeX command",
    "ln a": r"write \\operatorname\{ln\}",
    "lna": "would be a product",
    r"\log a b": "write brackets around what",
    r"\ln a/2": "write brackets around what",
    r"\ln a \cdot b": "write brackets around what",
    r"\exp -a": "write brackets around what",
    r"\log_2 a": "write brackets around what",
    "tau a": r'"tau" would be a product of letters: write \\tau',
    "rate": r'"rate" would be a product of letters: write \\mathrm\{rate\}',
    "pi": r"write \\pi",
    "a(t)": r"a name before \(t\) has two readings",
    "a^2(t)": r"a name before \(t\) has two readings",
    "g_1(0)": r"a name before \(0\) has two readings",
    "a(b)": "has two readings",
    "a^{(2)}": "has two readings",
    "a^{[2]}": "has two readings",
    "e^2t": "e.2t has two readings",
    "a^1/3": "has two readings",
    r"\frac{da}{dt}": "a derivative may stand on the left",
    r"\bar a": "only x and y of the context are averaged",
    r"\langle a \rangle": "only x and y of the context are averaged",
    r"a \over b": r"unexpected .\\over",
    r"\lambda_12": "write braces",
    "2^10^3": "write braces",
    r"\frac.52": "TeX takes its first character only",
    r"\frac12e3": "TeX takes its first character only",
    "1/2x": "two readings",
    "a/b c": "two readings",
    "|x|": "unexpected character",
    "x!": "unexpected character",
    "1,000": "a comma between digits",
    "0,5": "a comma between digits",
    "0{,}5": "unexpected",
    "a'": "unexpected character",
    "a – b": "unexpected character",
    "2 3": "an operator is missing",
    "1.5.2": "an operator is missing",
    "a . b": "unexpected",
    "xy": "unknown symbol",
    "i": "unknown symbol",
    "E": "unknown symbol",
    "I": "unknown symbol",
    "a^{T}": "unknown symbol",
    "a = b": "unexpected",
    "a, b": "unexpected",
    r"\sqrt{a}_1": "must stand inside of the braces",
    r"\frac{b}{a}_1": "must stand inside of the braces",
    r"\frac{a}_1{b}": "must stand inside of the braces",
}

TEXT_MEANT = {
    "1e-3": sp.Rational(1, 1000),
    "1E3*a.": 1000 * a,
    "a\n-b": a - b,
    "a*\nb": a * b,
    "E^(2*a)": sp.exp(2 * a),
    "a^(1/2)": sp.sqrt(a),
    "a − b × c·2;": a - 2 * b * c,
}

TEXT_REFUSED = (
    *(
        "1e",
        "1e400",
        "tr(x)",
        "a\nb",
        "xy",
        "lambda_12",
        "2^10^3",
        "1/2x",
        "a/b c",
        "sin x",
        "sin(x)",
        "log x",
    ),
    *(
        "|x|",
        "x!",
        "1,000",
        "0,5",
        "a'",
        "a – b",
        "e^a",
        "i",
        "I",
        "S",
        "Q",
        "a(t)",
        "a(0)",
        "a^1/3",
        "a % 3",
        "a^-1/2",
        "2**-1/2",
    ),
    *(
        "a//b",
        "a&b",
        "a\\b",
        "λ_1",
        "x²",
        "a.b",
        "1.2.3",
        "1_000",
        "0x10",
        "a[0]",
        "{a}",
        "a=b",
        "oo",
        "zoo",
    ),
)


@pytest.mark.parametrize("source", MEANT)
def test_latex_is_read_as_it_is_meant(source):
    assert sp.expand(read_latex(source, SYMBOLS, DEFINITIONS) - MEANT[source]) == 0


@pytest.mark.parametrize("source", REFUSED)
def test_latex_with_two_readings_is_refused(source):
    with pytest.raises(ValueError, match=REFUSED[source]):
        read_latex(source, SYMBOLS, DEFINITIONS)


@pytest.mark.parametrize("source", TEXT_MEANT)
def test_text_is_read_as_it_is_meant(source):
    assert read_text(source, SYMBOLS) == TEXT_MEANT[source]


@pytest.mark.parametrize("source", TEXT_REFUSED)
def test_text_with_two_readings_is_refused(source):
    with pytest.raises(ValueError, match="at position"):
        read_text(source, SYMBOLS)


def test_a_symbol_e_leaves_no_scientific_notation():
    with pytest.raises(ValueError, match="2e3 has two readings"):
        read_latex("2e3", [sp.Symbol("e")])


LEFT = {
    r"\tau \dot a = b": b / (3 * a),
    r"\tau \cdot \dot c = b.": b / (3 * a),
    r"\frac{1}{2} \frac{dc}{dt} = b": 2 * b,
    r"(\tau + 1) \frac{d}{dt} c = b": b / (3 * a + 1),
    r"2 \frac{\mathrm d c}{\mathrm d t} = b": b / 2,
}


@pytest.mark.parametrize("source", LEFT)
def test_a_constant_before_a_rate_divides(source):
    if r"\dot a" in source:  # τ = 3 a moves with a
        with pytest.raises(
            ValueError, match="a rate may have a constant before it, and a moves"
        ):
            read_equation(source, SYMBOLS, DEFINITIONS, latex=True, rate=True)
    else:
        assert read_equation(source, SYMBOLS, DEFINITIONS, latex=True, rate=True) == (
            c,
            LEFT[source],
        )


def test_blocks_of_equations():
    block = r"""\begin{equation} \begin{aligned}   % pasted whole
        \tau \dot b &= c \\ &\quad + d,\\[2pt]
        \dot c &= {b \over 2}.
        \end{aligned} \end{equation}"""
    assert read_equations(block, SYMBOLS, DEFINITIONS, latex=True, rate=True) == {
        b: (c + d) / (3 * a),
        c: b / 2,
    }
    text = "2*db/dt = c\n + d;\nc' = b/2."
    assert read_equations(text, SYMBOLS, rate=True) == {b: (c + d) / 2, c: b / 2}


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (r"\dot a = b \\ c", "a line ends"),
        (r"\dot a = b & c", "beside a sign"),
        (r"\dot a &= b & \dot b &= c", "beside a sign"),
        (r"\dot a = b, \dot b = c", "unexpected"),
        (r"0 \dot a = b", "division by zero"),
        (r"\dot a = \dot b", "unexpected"),
        (r"1 + 2 \dot a = b", "only a product may stand before a rate"),
        (r"b - d \dot a = c", "only a product may stand before a rate"),
        (r"b/d \dot a = c", "two readings"),
    ],
)
def test_blocks_with_two_readings(source, message):
    with pytest.raises(ValueError, match=message):
        read_equations(source, SYMBOLS, DEFINITIONS, latex=True, rate=True)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("1 + 2*dc/dt = b", "only a product may stand before a rate"),
        ("b - d*c' = a", "only a product may stand before a rate"),
        ("c/dt = b", "a rate must be written dc/dt or c'"),
    ],
)
def test_what_is_no_product_before_a_rate(source, message):
    with pytest.raises(ValueError, match=message):
        read_equation(source, SYMBOLS, rate=True)


def test_quotients_before_a_rate():
    assert read_equation("b/d*dc/dt = a", SYMBOLS, rate=True) == (c, a * d / b)
    assert read_equation("(b + d)*dc/dt = a", SYMBOLS, rate=True) == (c, a / (b + d))
    assert read_equation(r"b/d \cdot \dot c = a", SYMBOLS, latex=True, rate=True) == (
        c,
        a * d / b,
    )
    assert read_equation(r"b(d/2) \dot c = a", SYMBOLS, latex=True, rate=True) == (
        c,
        2 * a / (b * d),
    )
