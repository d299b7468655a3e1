"""No string makes the reader run code, stall, or fail in any other way than by a message."""

import ast
import string
import time
from pathlib import Path

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

import attndyn
from attndyn.theory.symbolic import N, Prompt, symbolic_task
from attndyn.theory.symbolic.formulas.reading import (
    read_equations,
    read_latex,
    read_text,
)

PROMPT = Prompt(2)
OWN = sp.symbols("value_1_2 v u_1", real=True)
TASK = symbolic_task(2, teachers="general", noise=True, mixture=True)
SYMBOLS = [
    *OWN,
    N,
    *TASK.parameters,
    *PROMPT.x,
    PROMPT.y,
    *PROMPT.query,
    PROMPT.label,
    *PROMPT.teacher,
]

ATTACKS = [
    "__import__('os').system('true')",
    "x.__class__",
    "v.__class__.__mro__",
    "lambda: 0",
    "lambda_1.free_symbols",
    "os.system",
    "open(v)",
    "eval(v)",
    "print(1)",
    "[v for v in (1,)]",
    "v if v else v",
    "v; u_1",
    "Symbol(v)",
    "sympify(v)",
    "Integer(1)",
    "S",
    "oo",
    "nan",
    "zoo",
    "'v'",
    '"v"',
    "v\x00",
    "f(v)",
    "v[0].real",
    "v@u_1",
    "globals()",
    r"\input{x}",
    r"\write18{x}",
    r"\def\x{v}",
    r"\catcode 1",
    r"\mathrm{eval}(v)",
    r"\operatorname{open}(v)",
]


@pytest.mark.parametrize("source", ATTACKS)
def test_nothing_but_formulas_is_read(source):
    for read in (read_text, read_latex):
        with pytest.raises(ValueError, match=r"."):
            read(source, SYMBOLS)


def forbidden(source: str) -> set[str]:
    names = {
        node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)
    }
    names |= {
        node.attr
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Attribute)
    }
    return names & {
        "eval",
        "exec",
        "sympify",
        "S",
        "parse_expr",
        "parse_latex",
        "parsing",
        "__import__",
    }


def test_the_reader_calls_nothing_that_runs_text():
    engine = Path(attndyn.__file__).parent / "theory" / "symbolic"
    modules = (
        "formulas/tokens",
        "formulas/text_parser",
        "formulas/latex_parser",
        "formulas/size_limits",
        "formulas/reading",
        "formulas/ambiguities",
        "algebra/odd_roots",
        "algebra/expression_size",
    )
    for module in modules:
        source = (engine / f"{module}.py").read_text(encoding="utf-8")
        assert not forbidden(source), module
    assert forbidden("sp.sympify(eval(x))") == {"sympify", "eval"}


def refusal(read, source, **options):
    """The message with which the source is refused, or what it is read as."""
    try:
        return read(source, SYMBOLS, **options)
    except ValueError as error:
        return str(error)


def only_value_errors(read, source):
    result = refusal(read, source)
    if isinstance(result, str):
        assert "at position" in result or "characters" in result
        assert len(result) < 300 + len(source[:300])
        return
    assert isinstance(result, sp.Expr)
    assert result.free_symbols <= set(SYMBOLS)
    assert not result.has(sp.I, sp.nan, sp.oo, sp.zoo, sp.Float)


HOSTILE = [
    "2**64**64",
    "((((2**64)**64)**64)**64)*v",
    "(((v+1)**64+1)**64+1)**64",
    "(v+u_1+N+x_1+x_2+y+p+sigma+1)**64",
    "average((x_1+x_2+y+1)**64)",
    "average((((x_1+1)**4+y)**4+x_2)**4)",
    "exp(2**64*log(2) - N)",
    "exp(exp(exp(exp(v))))",
    "0/cosh(17 + exp(12**64*cbrt(value_1_2)))",
    "sqrt(exp(exp(exp(9))) - 1)",
    "sqrt(((v**64 - 3*v**63 + v - 5)**2)*exp(v))",
    "log(sqrt(2) + sqrt(3) - sqrt(5 + 2*sqrt(6)))",
    "*".join(["99999999999"] * 5000),
    "+".join(f"v/{n}" for n in range(1, 4000)),
    "v" + "*v" * 20_000,
    "-" * 90_000 + "v",
    "v**" * 30_000,
    "(" * 90_000,
    "sqrt(" * 20_000,
    "a" * 90_000,
    " " * 90_000,
    "atan(log(lambda_1**(-3) - sqrt(lambda_2)*cosh(y*v**3)**2*cosh(v**(-3) - log(x_1)**3 + cosh(u_1**(1/3)))))",
]


@pytest.mark.parametrize("source", HOSTILE, ids=lambda source: source[:20])
def test_no_formula_stalls_the_reader(source):
    start = time.process_time()
    for read, text in (
        (read_text, source),
        (read_latex, source.replace("**", "^").replace("*", " ")),
    ):
        only_value_errors(read, text)
    assert time.process_time() - start < 5


PIECES = (
    "v u_1 N lambda_1 x_1 y pi E 1 2 17 0.5 64 + - * / ** ^ ( ) ) "
    "sqrt( cbrt( exp( log( cosh( atan( average( = , '"
)
LATEX_PIECES = (
    r"v u_1 v_{1,2} \lambda_1 x_1 e \pi 1 2 17 + - \cdot / ^ _ { } } ( ) [ ] \left( \right) \frac \sqrt \sqrt[3] "
    r"\exp \ln \cosh^2 \overline{ \langle \rangle \dot \mathrm{value} \\ & = , ^{2} ^{1/2} _{1,2} e^{ \frac{1}{"
)


@settings(max_examples=25, deadline=None)
@given(st.text(max_size=30), st.text(alphabet=string.printable, max_size=30))
def test_any_text_is_read_or_refused(wild, printable):
    for source in (wild, printable):
        only_value_errors(read_text, source)
        only_value_errors(read_latex, source)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.sampled_from([*PIECES.split(), " "]), max_size=25),
    st.lists(st.sampled_from([*LATEX_PIECES.split(), " "]), max_size=25),
)
def test_any_row_of_pieces_is_read_or_refused(pieces, latex_pieces):
    only_value_errors(read_text, "".join(pieces))
    only_value_errors(read_latex, "".join(latex_pieces))
    for latex, row in ((False, pieces), (True, latex_pieces)):
        assert isinstance(
            refusal(read_equations, "v=" + "".join(row), latex=latex), str | dict
        )
