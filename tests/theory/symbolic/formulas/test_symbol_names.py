"""Names of symbols in LaTeX: the ones expected, no two alike, each read as its symbol."""

import pytest
import sympy as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from attndyn.theory.symbolic.formulas.reading import read_latex, read_text
from attndyn.theory.symbolic.formulas.symbol_names import latex_name, latex_names


def test_names_of_symbols():
    expected = [
        ("value_1_2", "v_{1,2}"),
        ("key_1_1_2", "k_{1,1,2}"),
        ("query_1_1_2", "q_{1,1,2}"),
        ("key_query_1_2_3", "u_{1,2,3}"),
        ("a_1_2", "a_{1,2}"),
        ("gate_1_2", r"\mathrm{gate}_{1,2}"),
        ("lambda_1", r"\lambda_1"),
        ("lambda_10", r"\lambda_{10}"),
        ("Omega_12", r"\Omega_{12}"),
        ("sigma", r"\sigma"),
        ("w0_1", "w_{0,1}"),
        ("x_1", "x_1"),
        ("x_q1", "x_{q,1}"),
        ("y_q", "y_q"),
        ("N", "N"),
        ("v", "v"),
        ("left_value_1", r"\mathrm{left}_{\mathrm{value},1}"),
    ]
    assert [(name, latex_name(sp.Symbol(name))) for name, _ in expected] == expected


def test_names_that_meet_are_told_apart():
    names = latex_names(sp.symbols("value_1_2 v_1_2 w_0_1 w0_1 x_q_1 x_q1 v_12"))
    assert list(names.values()) == [
        r"\mathrm{value}_{1,2}",
        "v_{1,2}",
        "w_{0,1}",
        r"\mathrm{w}_{0,1}",
        "x_{q,1}",
        r"\mathrm{x}_{q,1}",
        "v_{12}",
    ]
    with pytest.raises(ValueError, match="two symbols have the name v"):
        latex_names([sp.Symbol("v"), sp.Symbol("v", real=True)])
    with pytest.raises(ValueError, match="has no LaTeX name"):
        latex_names([sp.Symbol("a b")])


WORDS = "v value w w0 x key k query q key_query u lambda Lambda gate f1 v1 value_a x_q"
HEADS = st.sampled_from(WORDS.split())
NAMES = st.tuples(
    HEADS, st.lists(st.sampled_from(["0", "1", "2", "12", "q", "q1"]), max_size=3)
).map(lambda parts: "_".join([parts[0], *parts[1]]))


@settings(max_examples=25, deadline=None)
@given(st.sets(NAMES, min_size=2, max_size=12))
def test_every_name_is_read_as_its_symbol(names):
    symbols = [sp.Symbol(name, real=True) for name in sorted(names)]
    written = latex_names(symbols)
    assert len(set(written.values())) == len(symbols)
    for symbol, name in written.items():
        assert read_latex(name, symbols) == symbol
        assert read_latex(
            f"{name}^2 v_9", [*symbols, sp.Symbol("v_9")]
        ) == symbol**2 * sp.Symbol("v_9")
        assert read_text(symbol.name, symbols) == symbol
