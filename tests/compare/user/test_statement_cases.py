"""Files of statements as people write them: each holds, and says so."""

import tomllib
from pathlib import Path

import pytest

from attndyn.cli import main
from attndyn.compare.user.statement_file import load_statements, statements_of

CASES = Path(__file__).parents[2] / "data" / "statements"
HOLD = ("aligned_block", "tau_left", "white_course", "white_course_inline", "sci_e")
DECIMALS = (
    "decimal_trace",
    "decimal_zero",
    "decimal_noise",
    "decimal_task",
    "decimal_task_fraction",
)
SCALED = ("scaled_ScaledSympy", "scaled_D3")
NUMBERS = {"eigenvalues": [0.4, 0.3], "context_length": 31, "noise_variance": 0.25}
MERGED = {"model": "merged", "heads": 1, "block": "restricted"}


@pytest.mark.parametrize("name", HOLD + DECIMALS + SCALED)
def test_every_statement_of_the_file_is_proved(name):
    assert {
        answer.result.level
        for answer in load_statements(CASES / f"{name}.toml").answers()
    } == {"proved"}


def level(statement, task=None, **rest):
    tables = {
        "task": task or {"dimension": 1},
        "model": MERGED,
        "statement": [statement],
        **rest,
    }
    (answer,) = statements_of(tables).answers()
    return answer.result.level


def block(first, **more):
    ansatz = {"v_{1,2}": "a", "u_{1,1,1}": "b"}
    second = r"\dot b &= \lambda_1^2 a - \frac{N+2}{N} \lambda_1^3 b a^2."
    equations = rf"\begin{{aligned}} {first} \\ {second} \end{{aligned}}"
    table = {
        "kind": "reduction",
        "amplitudes": ["a", "b"],
        "ansatz": ansatz,
        "equations": equations,
    }
    return level(table | more, syntax="latex")


def test_a_block_of_equations_is_read_whole():
    assert (
        block(r"\dot a &= \lambda_1^2 b - \frac{N+2}{N} \lambda_1^3 b^2 a,") == "proved"
    )
    assert (
        block(r"2N \dot a &= 2 N \lambda_1^2 b - (2N+4) \lambda_1^3 b^2 a,") == "proved"
    )
    assert (
        block(r"2N \dot a &= N \lambda_1^2 b - (N+2) \lambda_1^3 b^2 a,") == "refuted"
    )


def test_a_table_may_have_constants_on_the_left():
    right = r"N \lambda_1^2 b - (N+2) \lambda_1^3 b^2 a"
    other = r"\lambda_1^2 a - \frac{N+2}{N} \lambda_1^3 b a^2"
    assert block("", equations={r"N \dot a": right, "b": other}) == "proved"
    assert block("", equations={r"\dot a": right, "b": other}) == "refuted"
    with pytest.raises(
        ValueError, match="a rate may have a constant before it, and b moves"
    ):
        block("", equations={r"b \dot a": right, "b": other})
    assert (
        block(
            "",
            equations={r"N \dot a": right, r"2 N \dot a": f"2 ({right})", "b": other},
        )
        == "proved"
    )
    assert (
        block("", equations={r"N \dot a": right, "a": right, "b": other}) == "refuted"
    )
    with pytest.raises(
        ValueError,
        match="equations must be a table of formulas, or equations in one text",
    ):
        block("", equations=right)


def loss(value, **rest):
    return level(
        {"kind": "fixed point", "values": {"value_1_3": "0"}, "loss": value},
        NUMBERS,
        **rest,
    )


def test_a_task_in_numbers_has_the_names_of_its_numbers():
    assert loss("lambda_1 + lambda_2 + sigma^2 + N - 31") == "proved"
    assert loss("lambda_1 + lambda_2 + sigma^2 + N - 30") == "refuted"
    assert (
        loss("lambda_1 + lambda_2 + s2", definitions={"s2": "sigma^2", "N": "31"})
        == "proved"
    )
    with pytest.raises(ValueError, match="definition N: it is 31 in the task, not 30"):
        loss("N", definitions={"N": "30"})


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"context_length": "1..4"}, "N"),
        ({"eigenvalues": [0.3, 0.4]}, "lambda_1"),
        ({"noise_variance": 0}, "sigma"),
    ],
)
def test_a_name_with_two_readings_is_unknown(changed, name):
    table = {"kind": "fixed point", "values": {"value_1_3": "0"}, "loss": name}
    with pytest.raises(ValueError, match=f'unknown symbol "{name}"'):
        level(table, NUMBERS | changed)


def test_a_byte_order_mark_is_no_part_of_a_file(tmp_path, capsys):
    path = tmp_path / "marked.toml"
    path.write_bytes(b"\xef\xbb\xbf" + (CASES / "sci_e.toml").read_bytes())
    assert main(["check", str(path)]) == 0
    task = tmp_path / "task.toml"
    task.write_bytes(b"\xef\xbb\xbfeigenvalues = [2, 1]\ncontext_length = 3\n")
    assert main(["fixed-points", "--task", str(task)]) == 0
    assert capsys.readouterr().out


@pytest.mark.parametrize(
    "name", ["scaled_Scaled", "scaled_ScaledNumpy", "scaled_wrong"]
)
def test_a_float_root_in_heads_is_refused_with_the_way_to_write_it(name):
    with pytest.raises(
        ValueError,
        match=r"hold the float 0.7071067811865475.*sympy.sqrt.*score_divisor",
    ):
        load_statements(CASES / f"{name}.toml")


def test_a_score_divisor_proves_what_a_float_root_cannot():
    def levels(name, **model):
        tables = tomllib.loads((CASES / f"{name}.toml").read_text(encoding="utf-8"))
        found = statements_of(tables | {"model": MERGED | model}).answers()
        return {answer.result.level for answer in found}

    assert levels("scaled_Scaled", score_divisor="sqrt_key") == {"proved"}
    assert levels("scaled_Scaled", score_divisor="sqrt(2)") == {"proved"}
    assert levels("scaled_Scaled", score_divisor=1.4) == {"refuted"}
    assert levels("scaled_wrong", score_divisor="sqrt_key") == {"refuted"}
    assert (
        levels("scaled_D3", score_divisor=2)
        == levels("scaled_D3", score_divisor="sqrt_key")
        == {"proved"}
    )
