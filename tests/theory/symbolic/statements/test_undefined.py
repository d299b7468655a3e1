"""What has no finite real value somewhere is never proved: every kind of statement, as text and as expressions."""

import json
from pathlib import Path

import pytest
import sympy as sp

from attndyn import Separate
from attndyn.cli import main
from attndyn.compare.user.statement_file import load_statements, statements_of
from attndyn.theory.symbolic import (
    TIME,
    N,
    StatedFixedPoint,
    StatedInvariant,
    StatedLoss,
    StatedSolution,
    check_statement,
    derive,
)
from attndyn.theory.symbolic.task import symbolic_task

DATA = Path(__file__).parents[3] / "data" / "statements"
HEAD = {"model": "separate", "heads": 1, "block": "restricted"}
PLAIN = {
    "task": {"dimension": 1},
    "model": {"model": "merged", "heads": 1, "block": "restricted"},
}
V, U = "value_1_2", "key_query_1_1_1"
LOSS = f"lambda_1 - 2*lambda_1^2*{V}*{U} + lambda_1^3*(1 + 2/N)*({V}*{U})^2"
RATE = f"lambda_1^2*{U} - lambda_1^3*(1 + 2/N)*{U}^2*{V}"
A_RATE = "lambda_1^2*a - lambda_1^3*(1 + 2/N)*a^3"

GOOD = {
    "loss": {"kind": "loss", "value": LOSS},
    "loss on an ansatz": {
        "kind": "loss",
        "amplitudes": ["a"],
        "ansatz": {V: "a", U: "a"},
        "value": "lambda_1 - 2*lambda_1^2*a^2 + lambda_1^3*(1 + 2/N)*a^4",
    },
    "motion": {"kind": "motion", "weight": V, "rate": RATE},
    "invariant": {"kind": "invariant", "quantity": f"{V}^2 - {U}^2"},
    "reduction": {
        "kind": "reduction",
        "amplitudes": ["a"],
        "ansatz": {V: "a", U: "a"},
        "equations": {"a": A_RATE},
    },
    "fixed point": {
        "kind": "fixed point",
        "values": {V: "1", U: "N/((N + 2)*lambda_1)"},
    },
    "loss at a fixed point": {
        "kind": "fixed point",
        "values": {V: "0"},
        "loss": "lambda_1",
    },
    "course": {"kind": "course", "course": {V: "0"}},
    "start": {"kind": "course", "course": {V: "0"}, "start": {V: "0"}},
}
"""What is true, of every kind."""

PLACES = {
    "loss": ("value",),
    "loss on an ansatz": ("ansatz", V),
    "motion": ("rate",),
    "invariant": ("quantity",),
    "reduction": ("equations", "a"),
    "fixed point": ("values", V),
    "loss at a fixed point": ("loss",),
    "course": ("course", V),
    "start": ("start", V),
}

NOTHING = {
    "0/(N - 1)": "N = 1",
    "0/(lambda_1 - 1)": "lambda_1 = 1",
    "0*(1/(lambda_1 - lambda_1))": "",
    "0*((lambda_1 - lambda_1)/(lambda_1 - lambda_1))": "",
    "0*log(-lambda_1)": "lambda_1 = 1",
    "0*log(0)": "",
    "0*log(lambda_1 - lambda_1)": "",
    "0*sqrt(-lambda_1)": "lambda_1 = 1",
    "0*sqrt(lambda_1 - 1)": "lambda_1 = 1/2",
    "0*(lambda_1 - 1)^0": "lambda_1 = 1",
    "0^0 - 1": "",
    "(lambda_1 - 1)/(lambda_1 - 1) - 1": "lambda_1 = 1",
    "0/(lambda_1^2 - 2)": "lambda_1 = sqrt(2)",
    "0/(N^2 - 9)": "N = 3",
    "0/(lambda_1*N - 12345)": "",
    "0*(lambda_1 - 1)^(-1/3)": "lambda_1 = 1",
    "0*(lambda_1 - 2)^(1/4)": "lambda_1 = 1",
    "0/(exp(lambda_1) - 2)": "lambda_1 = log(2)",
    "0/atan(N - 2)": "N = 2",
    "0*log(sqrt(3 + 2*sqrt(2)) - 1 - sqrt(2))": "",
}
"""Terms that are zero where they are defined, and a point at which they are not."""

HARMLESS = [
    "0/(N^2 - 2)",
    "0/(lambda_1 + 1)",
    "0*log(lambda_1 + N)",
    "0*sqrt(lambda_1^2 - lambda_1*N + N^2)",
    "0*sqrt(N - 1)",
    "0*(lambda_1 - 1)^(1/3)",
    "0/(exp(lambda_1) - 1)",
    "0*(lambda_1^2)^0",
    "0/(sqrt(lambda_1^2 + 1) - lambda_1)",
    "0*atan(lambda_1 - 1)",
]
"""Terms that are zero, and defined for every value of their symbols."""


def with_term(name, term):
    """The true statement of a kind with a term added to one of its formulas."""
    table = json.loads(json.dumps(GOOD[name]))
    holder, *key = (table, *PLACES[name])
    *path, last = key
    for part in path:
        holder = holder[part]
    holder[last] = f"{holder[last]} + {term}"
    return table


def finding(table, head=PLAIN):
    (answer,) = statements_of(head | {"statement": [table]}).answers()
    return answer.result


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_is_proved_without_the_term(name):
    assert finding(GOOD[name]).level == "proved"


@pytest.mark.parametrize("name", GOOD)
def test_every_kind_is_undefined_with_a_term_that_is_not_defined(name):
    for term, point in NOTHING.items():
        found = finding(with_term(name, term))
        assert found.level == "undefined", (term, str(found))
        assert point in str(found), (term, str(found))
        assert not found.holds


@pytest.mark.parametrize("name", ["loss", "fixed point", "course"])
def test_terms_that_are_defined_everywhere_do_no_harm(name):
    for term in HARMLESS:
        assert finding(with_term(name, term)).level == "proved", term


NEAR = {
    "0/(sqrt(lambda_1 + 1) - lambda_1)": "undefined near lambda_1 = 1.61803",
    "0/(log(lambda_1) - 3)": "undefined near lambda_1 = 20.0855",
    "0/(exp(lambda_1) - 2 - lambda_1)": "undefined near lambda_1 = 1.14619",
    "0/(N*lambda_1 - sqrt(2))": "undefined near N = 1, lambda_1 = 1.41421",
}


@pytest.mark.parametrize("term", NEAR)
def test_a_change_of_sign_shows_where_something_vanishes(term):
    assert str(finding(with_term("loss", term))).startswith(NEAR[term])


EXACT = {
    f"sqrt({V}^2) - {V}": "refuted",
    f"sqrt({V}^4) - {V}^2": "proved",
    f"{V}^(1/2)*{V}^(1/2) - {V}": "undefined",
    f"{V}^(1/3)*{V}^(2/3) - {V}": "proved",
    f"{V}^(1/3)*{V}^(2/3)*{V}^(-1) - 1": "undefined",
    f"log({V}^2) - 2*log({V})": "undefined",
    "(sqrt(5) + 2)^(1/3) - (1 + sqrt(5))/2": "proved",
    "(2 - sqrt(5))^(1/3) - (1 - sqrt(5))/2": "proved",
    "(2 - sqrt(5))^(1/3) - (sqrt(5) - 1)/2": "refuted",
    "sqrt(N^2 - 2*N + 1) - N + 1": "proved",
    "sqrt(3 + 2*sqrt(2)) - 1 - sqrt(2)": "proved",
    "log(4) - 2*log(2)": "proved",
    "log(4*lambda_1) - 2*log(2) - log(lambda_1)": "proved",
    "(lambda_1 + pi)^2 - lambda_1^2 - 2*pi*lambda_1 - pi^2": "proved",
    "sqrt(pi^2) - 3": "refuted",
    "tanh(lambda_1) - sinh(lambda_1)/cosh(lambda_1)": "proved",
    "atan(lambda_1) + atan(1/lambda_1) - pi/2": "undecided",
    "cbrt((1 - lambda_1)^3) - 1 + lambda_1": "proved",
    "sqrt((1 - lambda_1)^2) - 1 + lambda_1": "refuted",
    "10^(-64)": "refuted",
}
"""What is added to a true loss, and what the sum is found to be."""


@pytest.mark.parametrize("term", EXACT)
def test_exact_algebra_decides(term):
    assert finding(with_term("loss", term)).level == EXACT[term]


@pytest.mark.parametrize("name", GOOD)
def test_weights_and_amplitudes_may_be_zero(name):
    amplitude = "a" if "amplitudes" in GOOD[name] else V
    if name in ("course", "start"):
        return
    table = with_term(name, f"0/{amplitude}")
    if name == "fixed point":
        table["values"][V] = f"1 + 0*{U}/{U}"
    found = finding(table)
    assert found.level == "undefined", str(found)
    assert " = 0" in str(found)


def test_definitions_count_where_they_are_used_only():
    known = {
        "definitions": {"bad": "1/(lambda_1 - 1)", "worse": "0*bad", "fine": "lambda_1"}
    }
    for term, level in {
        "0*bad": "undefined",
        "worse": "undefined",
        "0*fine": "proved",
    }.items():
        assert finding(with_term("loss", term), PLAIN | known).level == level


COURSES = {
    "a pole": ("0/(1 - t)", "t = 1"),
    "a pole at a time of parameters": ("0/(exp(2*lambda_1*t) - 2)", "t = log(2)/2"),
    "imaginary at the start": ("0*sqrt(t - 1)", "t = 0"),
    "infinite at the start": ("0*log(t)", "t = 0"),
    "zero over zero at the start": ("0*(exp(t) - 1)/t", "t = 0"),
}


@pytest.mark.parametrize("name", COURSES)
def test_a_course_has_a_value_at_every_time_from_zero(name):
    term, point = COURSES[name]
    found = finding(with_term("course", term))
    assert found.level == "undefined"
    assert point in str(found)
    assert (
        finding(
            with_term("course", "0/(1 + t) + 0*sqrt(t) + 0/(exp(lambda_1*t) - 1/2)")
        ).level
        == "proved"
    )


def test_the_slope_of_a_course_is_finite_as_well():
    derivation = derive(symbolic_task(1), Separate(heads=1), "restricted")
    value, key, _ = derivation.weights
    assert check_statement(
        StatedSolution({value: sp.sqrt(TIME) ** 2 * 0 + 1}), derivation
    ).holds
    found = check_statement(StatedSolution({value: sp.sqrt(TIME)}), derivation)
    assert found.level == "refuted"
    found = check_statement(StatedInvariant(sp.sqrt(value**2 - key**2)), derivation)
    assert found.level == "undefined"


def test_the_symbols_of_a_mixture_admit_what_a_task_admits():
    head = {
        "task": {
            "dimension": 1,
            "teachers": "diagonal",
            "mixture": True,
            "noise": True,
        },
        "model": HEAD,
    }
    levels = {
        "0/(p - 1)": "undefined",
        "0/p": "undefined",
        "0/(p - 2)": "proved",
        "0/(2*p - 3)": "proved",
        "0/(exp(p) - exp(1) - 10^-9)": "undecided",
        "0*sqrt(p*(1 - p))": "proved",
        "0*sqrt(p - 1/1000)": "undefined",
        "0/omega_1": "proved",
        "0/sigma": "proved",
        "0/w0_1": "undefined",
        "0*sqrt(w0_1^2 + sigma^2 - w0_1*sigma)": "proved",
    }
    for term, level in levels.items():
        found = finding({"kind": "fixed point", "values": {V: term}}, head)
        assert found.level == level, (term, str(found))


def test_a_general_covariance_is_positive_definite():
    head = {"task": {"dimension": 2, "teachers": "general"}, "model": PLAIN["model"]}
    rest = {"kind": "fixed point", "values": {"value_1_3": "0"}}
    levels = {
        "0/Omega_11": "proved",
        "0*sqrt(Omega_22)": "proved",
        "0/Omega_12": "undefined",
        "0/(Omega_11 - 1)": "undefined",
        "0*sqrt(Omega_11*Omega_22 - Omega_12^2)": "undecided",
        "0/(Omega_11*Omega_22 - Omega_12^2)": "undecided",
    }
    for term, level in levels.items():
        found = finding(rest | {"values": {"value_1_3": term}}, head)
        assert found.level == level, (term, str(found))


def test_expressions_pass_the_same_check():
    derivation = derive(symbolic_task(1), Separate(heads=1), "restricted")
    value = derivation.weights[0]
    (lam,) = derivation.parameters
    for expression in (
        sp.log(-lam),
        1 / (N - 1),
        sp.sqrt(lam - 1),
        sp.cbrt(value),
        sp.cbrt(1 - lam),
    ):
        assert (
            check_statement(StatedFixedPoint({value: expression}), derivation).level
            == "undefined"
        )
    assert (
        check_statement(StatedFixedPoint({value: sp.log(lam)}), derivation).level
        == "proved"
    )
    assert (
        check_statement(
            StatedLoss(derivation.loss.expression + sp.I * lam), derivation
        ).level
        == "undefined"
    )


def test_the_output_of_a_model_must_be_defined():
    levels = {
        "m": "proved",
        "m^2/m": "undefined at m = 0",
        "sqrt(m)*sqrt(m)": "undefined at m = -1",
        "m + 0/(N - 1)": "undefined at N = 1",
        "m + 0/lambda_1": "proved",
    }
    for factor, level in levels.items():
        head = {
            "task": {"dimension": 1},
            "model": {"output": f"({factor})*average(x_1*y)*x_q1", "weights": ["m"]},
        }
        rate = "lambda_1^2 - m*lambda_1^3*(1 + 2/N)"
        found = finding({"kind": "motion", "weight": "m", "rate": rate}, head)
        assert str(found).startswith(level), (factor, str(found))


def test_a_definition_of_a_number_of_the_task_must_be_defined():
    head = {"task": {"eigenvalues": [2], "context_length": 3}, "model": PLAIN["model"]}
    for meaning, level in {"2": "proved", "2 + 0/(3 - 3)": "undefined"}.items():
        table = {"kind": "fixed point", "values": {V: "0"}, "loss": "lambda_1"}
        assert (
            finding(table, head | {"definitions": {"lambda_1": meaning}}).level == level
        )


def test_a_power_of_an_odd_root_has_its_slope():
    quantity = f"cbrt({V}^2 - {U}^2)"
    assert finding({"kind": "invariant", "quantity": f"{quantity}^4"}).level == "proved"
    assert (
        finding({"kind": "invariant", "quantity": f"{quantity}^2"}).level == "undefined"
    )
    assert finding({"kind": "invariant", "quantity": f"cbrt({V})^4"}).level == "refuted"


def test_what_is_refuted_where_it_is_defined_is_refuted():
    found = finding(
        {"kind": "fixed point", "values": {V: "1/(N - 1)", U: "sqrt(lambda_1 - 1)"}}
    )
    assert found.level == "refuted"
    assert found.counterexample.point[N] > 1
    assert all(
        value > 1
        for symbol, value in found.counterexample.point.items()
        if symbol.name == "lambda_1"
    )


ODD = ["cbrt(-8)", "(-8)^(1/3)", "-2", "-cbrt(8)", "(-8)^(-2/3)*(-8)", "(-32)^(1/5)"]


@pytest.mark.parametrize("spelling", ODD)
def test_odd_roots_are_real(spelling):
    assert (
        finding(
            {"kind": "loss", "ansatz": {V: "0"}, "value": f"lambda_1 + 2 + {spelling}"}
        ).level
        == "proved"
    )
    assert (
        finding(
            {"kind": "loss", "ansatz": {V: "0"}, "value": f"lambda_1 - 2 + {spelling}"}
        ).level
        == "refuted"
    )


def test_odd_roots_of_what_has_no_sign():
    right = {
        f"cbrt({V})^3": V,
        f"cbrt(-{V})": f"-cbrt({V})",
        f"cbrt({V}^2*{U})^3": f"{V}^2*{U}",
        f"sqrt(cbrt({V})^2)^6": f"{V}^2",
        f"cbrt({V}*lambda_1)": f"cbrt({V})*cbrt(lambda_1)",
        f"({V}^3)^(1/3)": V,
    }
    for left, value in right.items():
        table = {"kind": "loss", "value": f"{LOSS} + {left} - ({value})"}
        assert finding(table).level == "proved", (left, str(finding(table)))
        assert (
            finding(table | {"value": f"{LOSS} + {left} + ({value})"}).level
            == "refuted"
        ), left
    assert (
        finding(
            {"kind": "loss", "value": f"{LOSS} + sqrt(cbrt({V})^2) - cbrt({V})"}
        ).level
        == "refuted"
    )


def test_latex_reads_the_same_odd_roots():
    for spelling in (r"\sqrt[3]{-8}", r"(-8)^{1/3}", r"\left(-8\right)^{\frac{1}{3}}"):
        table = {
            "kind": "loss",
            "ansatz": {"v_{1,2}": "0"},
            "value": rf"\lambda_1 + 2 + {spelling}",
        }
        assert finding(table, PLAIN | {"syntax": "latex"}).level == "proved"


def test_a_weight_stated_twice_is_refuted_unless_both_say_the_same():
    twice = {"kind": "fixed point", "values": {V: "0", f"{V}*1": "1"}}
    found = finding(twice)
    assert str(found).startswith(
        "refuted: value_1_2, which is stated twice, is 0, not 1"
    )
    assert finding(twice | {"values": {V: "0", f"{V}*1": "1 - 1"}}).level == "proved"


FILES = {
    "undefined_values": ["undefined"] * 3,
    "undefined_course": ["undefined", "refuted"],
    "negative_root": ["proved"] * 3,
}


@pytest.mark.parametrize("name", FILES)
def test_files_are_found_as_they_expect(name, capsys):
    answers = list(load_statements(DATA / f"{name}.toml").answers())
    assert [answer.result.level for answer in answers] == FILES[name]
    assert main(["check", str(DATA / f"{name}.toml"), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert (
        [row["level"] for row in rows]
        == [row["expected_level"] for row in rows]
        == FILES[name]
    )


STATUSES = {
    0: ["proved"],
    1: ["proved", "undefined", "undecided", "refuted"],
    3: ["proved", "undecided"],
    4: ["undecided", "undefined", "proved"],
}
OF_LEVEL = {
    "proved": {V: "0"},
    "undefined": {V: "1/(N - 1)"},
    "undecided": {V: "0*sqrt(atan(lambda_1) + atan(1/lambda_1) - pi/2)"},
    "refuted": {V: "1", "key_1_1_1": "1", "query_1_1_1": "1"},
}


@pytest.mark.parametrize("status", STATUSES)
def test_the_exit_status_tells_levels_apart(status, tmp_path, capsys):
    lines = [
        "task = {dimension = 1}",
        "model = {model = 'separate', heads = 1, block = 'restricted'}",
    ]
    for level in STATUSES[status]:
        values = ", ".join(
            f"{weight} = '{value}'" for weight, value in OF_LEVEL[level].items()
        )
        lines.append(
            f"[[statement]]\nname = '{level}'\nkind = 'fixed point'\nvalues = {{{values}}}"
        )
    path = tmp_path / "file.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    assert main(["check", str(path)]) == status
    for level, line in zip(
        STATUSES[status], capsys.readouterr().out.splitlines(), strict=True
    ):
        assert line.startswith(f"{level}: {level}")


def test_what_cannot_be_read_has_a_status_of_its_own(tmp_path, capsys):
    path = tmp_path / "file.toml"
    path.write_text("task = {dimension = 1}", encoding="utf-8")
    assert main(["check", str(path)]) == 2
    assert "there is no table [model]" in capsys.readouterr().err
