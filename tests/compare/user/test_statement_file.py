"""Files of statements, read and decided: `attndyn check`."""

import json
import re
from decimal import Decimal
from pathlib import Path

import pytest

from attndyn.cli import main
from attndyn.compare.user.statement_file import load_statements, statements_of

ROOT = Path(__file__).parents[3]
HEAD = {
    "task": {"dimension": 1},
    "model": {"model": "separate", "heads": 1, "block": "restricted"},
}
A = "(lambda_1^2*(1 + 2/N))"
ANSATZ = {"value_1_2": "v", "key_1_1_1": "v", "query_1_1_1": "v"}
ROOTS = dict.fromkeys(ANSATZ, f"cbrt(lambda_1/{A})")
KINDS = {
    "loss": {
        "value": f"lambda_1 - 2*lambda_1^2*v^3 + {A}*lambda_1*v^6",
        "ansatz": ANSATZ,
        "amplitudes": ["v"],
    },
    "motion": {
        "weight": "value_1_2",
        "rate": f"key_1_1_1*query_1_1_1*(lambda_1^2 - {A}*lambda_1*value_1_2*key_1_1_1*query_1_1_1)",
    },
    "invariant": {"quantity": "value_1_2^2 - key_1_1_1^2"},
    "reduction": {
        "ansatz": ANSATZ,
        "equations": {"v": f"lambda_1^2*v^2 - lambda_1*{A}*v^5"},
        "amplitudes": ["v"],
    },
    "fixed point": {"values": ROOTS, "loss": f"lambda_1 - lambda_1^3/{A}"},
    "course": {
        "course": {"value_1_2": "v_0"},
        "start": {"value_1_2": "v_0"},
        "positive": ["v_0"],
    },
}
WRONG = {
    "loss": ("- 2*", "- 3*"),
    "motion": ("lambda_1^2 -", "lambda_1 -"),
    "invariant": (" - ", " + "),
    "reduction": ("v^5", "v^4"),
    "fixed point": ("2/N", "1/N"),
    "course": ('"start": {"value_1_2": "v_0"}', '"start": {"value_1_2": "1"}'),
}


def levels(*tables, **rest):
    return [
        answer.result.level
        for answer in statements_of(HEAD | {"statement": [*tables]} | rest).answers()
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_proved_or_refuted(kind):
    right = {"kind": kind, **KINDS[kind]}
    text = json.dumps(right)
    assert WRONG[kind][0] in text
    assert levels(right, json.loads(text.replace(*WRONG[kind]))) == [
        "proved",
        "refuted",
    ]


def test_latex_with_definitions_says_the_same():
    table = {
        "kind": "reduction",
        "amplitudes": ["v"],
        "ansatz": {"v_{1,2}": "v", "k_{1,1,1}": "v", "q_{1,1,1}": "v"},
        "equations": {"v": r"\lambda_1^2 v^2 - \lambda_1 a v^{5}"},
    }
    known = {
        "syntax": "latex",
        "definitions": {"a": r"\lambda_1^2 \left(1 + \frac{2}{N}\right)"},
    }
    assert levels(table, **known) == ["proved"]
    assert levels(
        table,
        **known | {"definitions": {"a": r"\lambda_1^2 \left(1 + \frac{1}{N}\right)"}},
    ) == ["refuted"]


def test_an_output_in_text_and_a_task_in_numbers():
    tables = {
        "task": {"eigenvalues": [2.0], "context_length": 4},
        "model": {"output": "m * average(x_1*y) * x_q1", "weights": ["m"]},
        "statement": [
            {"kind": "motion", "weight": "m", "rate": "4 - 12*m"},
            {
                "kind": "motion",
                "weight": "m",
                "rate": "4 - 11*m",
                "expected": "refuted",
            },
        ],
    }
    assert all(answer.holds for answer in statements_of(tables).answers())


def test_a_model_lies_beside_its_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "class Fixed:\n    def shapes(self, D):\n        return {'gate': ()}\n"
        "    def heads(self, w):\n        import numpy as np\n        one = np.eye(2, dtype=object)\n"
        "        return one[1:], w['gate'] * one[None, :, :1]\n"
    )
    path = tmp_path / "mine.toml"
    path.write_text(
        "task = {dimension = 1}\nmodel = {model = 'mine.py:Fixed'}\n[[statement]]\nkind = 'motion'\n"
        "weight = 'gate'\nrate = 'lambda_1^2 - lambda_1^3*(1 + 2/N)*gate'\n"
    )
    assert [answer.result.level for answer in load_statements(path).answers()] == [
        "proved"
    ]


def examples():
    page = (ROOT / "docs" / "check-your-derivation.md").read_text(encoding="utf-8")
    (shown,) = re.findall(r"```toml\n(.*?)```", page, re.DOTALL)
    return [
        shown,
        (ROOT / "examples" / "rank_one_head.toml").read_text(encoding="utf-8"),
    ]


@pytest.mark.parametrize("number", [0, 1], ids=["page", "example"])
def test_the_command_finds_what_the_examples_expect(number, tmp_path, capsys):
    path = tmp_path / "example.toml"
    path.write_text(examples()[number], encoding="utf-8")
    assert main(["check", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {"proved", "refuted"} == {
        line.split(": ")[-2] if "refuted" not in line else "refuted" for line in lines
    }
    path.write_text(
        examples()[number].replace('expected = "refuted"', ""), encoding="utf-8"
    )
    assert main(["check", str(path)]) == 1
    assert "(expected: proved)" in capsys.readouterr().out


def test_json_has_a_row_for_each_statement(tmp_path, capsys):
    path = tmp_path / "example.toml"
    path.write_text(examples()[0], encoding="utf-8")
    assert main(["check", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["level"] for row in rows] == ["proved", "refuted"]
    assert all(row["holds"] and row["finding"].startswith(row["level"]) for row in rows)


GOOD = {"kind": "invariant", "quantity": "value_1_2^2 - key_1_1_1^2"}
BAD = {
    "there is no table [task]": {"task": {}},
    "there is no table [[statement]]": {"statement": []},
    "there is no table [model]": {"model": 3},
    "definitions must be a table": {"definitions": ["a"]},
    "kind must be one of loss": {"statement": [GOOD | {"kind": ["loss"]}]},
    "quantity must be one formula": {"statement": [GOOD | {"quantity": {"v": "1"}}]},
    "values must be a table of formulas": {
        "statement": [{"kind": "fixed point", "values": "1"}]
    },
    "the file has no field statment": {"statment": []},
    "task has no field dim": {"task": {"dimension": 1, "dim": 2}},
    "noise must be true or false, not 'no'": {"task": {"dimension": 1, "noise": "no"}},
    "noise must be true or false, not 1": {"task": {"dimension": 1, "noise": 1}},
    "mixture must be true or false, not 'false'": {
        "task": {"dimension": 1, "mixture": "false"}
    },
    "from 1 to 100 in symbols, not 2.0": {"task": {"dimension": Decimal("2.0")}},
    "syntax must be one of text, latex, not 'python'": {"syntax": "python"},
    "kind must be one of loss, motion": {"statement": [GOOD | {"kind": "law"}]},
    "a statement of kind invariant needs quantity": {
        "statement": [{"kind": "invariant"}]
    },
    "a statement of kind invariant has no field rate": {
        "statement": [GOOD | {"rate": "1"}]
    },
    "expected must be one of proved, refuted, undefined, undecided": {
        "statement": [GOOD | {"expected": "true"}]
    },
    "two statements have the name 'a'": {
        "statement": [GOOD | {"name": "a"}, GOOD | {"name": "a"}]
    },
    'unknown symbol "vlaue_1_2" (did you mean value_1_2': {
        "statement": [GOOD | {"quantity": "vlaue_1_2"}]
    },
    "names must be a list": {"statement": [GOOD | {"amplitudes": "v"}]},
    "unknown LaTeX command": {
        "syntax": "latex",
        "statement": [GOOD | {"quantity": r"\foo_1"}],
    },
    "definition a: the formula is not complete": {"definitions": {"a": "1/"}},
    "softmax": {"model": {"model": "separate", "heads": 1, "softmax": True}},
    "score_divisor = 0.100000000000000000001 of the model has more digits than a float": {
        "model": {
            "model": "separate",
            "heads": 1,
            "score_divisor": Decimal("0.100000000000000000001"),
        }
    },
}


@pytest.mark.parametrize("message", BAD)
def test_what_is_wrong_is_named_in_one_line(message):
    with pytest.raises(ValueError, match=re.escape(message)) as error:
        statements_of(HEAD | {"statement": [GOOD]} | BAD[message])
    assert "\n" not in str(error.value)


HOSTILE = [
    "__import__('os').system('touch owned')",
    "().__class__",
    "lambda: 0",
    "value_1_2.subs(1, 2)",
    "9**9**9**9",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_in_a_formula_is_run(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for syntax in ("text", "latex"):
        with pytest.raises(ValueError, match="statement 1: "):
            statements_of(
                HEAD | {"syntax": syntax, "statement": [GOOD | {"quantity": text}]}
            )
    assert [*tmp_path.iterdir()] == []


def test_a_file_that_is_no_toml_is_named(tmp_path, capsys):
    path = tmp_path / "file.toml"
    path.write_text("a = [")
    assert main(["check", str(path)]) == 2
    assert capsys.readouterr().err.startswith(f"attndyn: {path}: ")
