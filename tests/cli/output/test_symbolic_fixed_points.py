"""The command line in symbols: `fixed-points --symbolic`."""

import json
import re

import pytest
import sympy as sp

from attndyn.cli import main

SPECTRUM = ["fixed-points", "--eigenvalues", "3,2,1", "--context-length", "4"]
COMMUTING = "eigenvalues = [3.0, 2.0]\nteacher_covariance = [[0.5, 0.0], [0.0, 4.0]]\ncontext_length = 5\n"
OTHERWISE = "eigenvalues = [3.0, 2.0]\nteacher_covariance = [[1.0, 0.5], [0.5, 1.0]]\ncontext_length = 5\n"
MIXED = "eigenvalues = [3.0, 2.0]\nfixed_teacher = [1.0, 1.0]\nin_context_fraction = 0.5\ncontext_length = 5\n"


def printed(capsys, *arguments):
    assert main(arguments) == 0
    return capsys.readouterr().out


def at(text, **numbers):
    """The value of printed text."""
    assert re.fullmatch(r"[\w*/+() -]+", text)
    named = {name: sp.Symbol(name) for name in numbers}
    return float(
        sp.sympify(text, locals=named).subs(
            {named[name]: value for name, value in numbers.items()}
        )
    )


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--noise-variance", "0.5"],
        ["--divisor", "tokens"],
        ["--model", "merged"],
        ["--heads", "1", "--rank", "2", "--divisor", "none"],
        ["--context-length", "1..4"],
    ],
    ids=" ".join,
)
def test_json_in_symbols_is_json_in_numbers(capsys, options):
    there = {"lambda_1": 3, "lambda_2": 2, "lambda_3": 1, "N": 4, "sigma": sp.sqrt(0.5)}
    symbols = json.loads(printed(capsys, *SPECTRUM, *options, "--symbolic", "--json"))
    numbers = {
        tuple(p["subset"]): p
        for p in json.loads(printed(capsys, *SPECTRUM, *options, "--json"))
    }
    assert {tuple(p["subset"]) for p in symbols} == set(numbers)
    for point in symbols:
        other = numbers[tuple(point["subset"])]
        assert at(point["loss"], **there) == pytest.approx(other["loss"], rel=1e-12)
        for name in ("coefficients", "gains"):
            ours = [at(text, **there) for text in point[name]]
            assert ours == pytest.approx(other[name], rel=1e-12)
        for text in point["coefficients"]:
            shifted = at(text, **there | {"lambda_1": 4})
            assert all(abs(shifted / m - 1) > 1e-3 for m in other["coefficients"])


def test_text_defines_what_it_uses(capsys):
    lines = printed(capsys, *SPECTRUM, "--symbolic").splitlines()
    assert lines[0] == "L(0) = lambda_1 + lambda_2 + lambda_3"
    assert lines[1] == "m_1 = N/(N*lambda_1 + 2*lambda_1 + lambda_2 + lambda_3)"
    assert (
        lines[2]
        == "g_1 = N*lambda_1**2/(N*lambda_1 + 2*lambda_1 + lambda_2 + lambda_3)"
    )
    assert (
        lines[8] == "S = {1, 2}: M = m_1 e_1 e_1ᵀ + m_2 e_2 e_2ᵀ, L = L(0) - g_1 - g_2"
    )
    assert (len(lines), lines[-1]) == (1 + 6 + 8, "S = {}: M = 0, L = L(0)")


def test_a_limit_says_that_there_are_more(capsys):
    lines = printed(capsys, *SPECTRUM, "--symbolic", "--limit", "2").splitlines()
    assert lines[-2:] == [
        "S = {1, 2}: M = m_1 e_1 e_1ᵀ + m_2 e_2 e_2ᵀ, L = L(0) - g_1 - g_2",
        "these are the first 2 fixed points: --limit shows more",
    ]
    assert (
        len(
            json.loads(
                printed(capsys, *SPECTRUM, "--symbolic", "--limit", "2", "--json")
            )
        )
        == 2
    )
    assert "--limit" not in printed(capsys, *SPECTRUM, "--symbolic", "--limit", "8")


def test_latex_is_one_aligned_display(capsys):
    text = printed(
        capsys, *SPECTRUM, "--noise-variance", "0.1", "--symbolic", "--latex"
    )
    lines = text.splitlines()
    assert (lines[0], lines[-1]) == (r"\begin{align*}", r"\end{align*}")
    assert all(line.endswith(r" \\") for line in lines[1:-2])
    assert not lines[-2].endswith(r"\\")
    assert r"L(0) &= \lambda_1 + \lambda_2 + \lambda_3 + \sigma^{2} \\" in lines
    assert (
        r"M_{\{1, 3\}} &= m_{1} e_{1} e_{1}^\top + m_{3} e_{3} e_{3}^\top, & " in text
    )
    assert text.count("{") == text.count("}")
    assert {line.count("&") for line in lines[2:-1]} == {3}
    assert re.search(r"[^ -~\n]", text) is None


def test_only_what_is_in_the_task_has_a_symbol(capsys, tmp_path):
    file = tmp_path / "task.toml"
    file.write_text(COMMUTING)
    text = printed(capsys, "fixed-points", "--task", str(file), "--symbolic")
    assert "L(0) = lambda_1*omega_1 + lambda_2*omega_2" in text
    assert "sigma" not in text
    plain = printed(capsys, *SPECTRUM, "--symbolic")
    assert "omega" not in plain
    assert plain == printed(
        capsys, *SPECTRUM[:2], "9,8,7", *SPECTRUM[3:], "--trace", "2", "--symbolic"
    )
    assert plain != printed(capsys, *SPECTRUM, "--noise-variance", "0.1", "--symbolic")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (OTHERWISE, "commutes with the covariance"),
        (MIXED, "a fixed teacher moves weights"),
    ],
)
def test_refuses_what_has_no_enumeration(capsys, tmp_path, content, message):
    file = tmp_path / "task.toml"
    file.write_text(content)
    assert main(["fixed-points", "--task", str(file), "--symbolic"]) == 2
    assert message in capsys.readouterr().err


def test_refuses_two_formats(capsys):
    assert main([*SPECTRUM, "--symbolic", "--json", "--latex"]) == 2
    assert "choose one" in capsys.readouterr().err


MODES = """eigenvalues = [2.0, 1.0]
context_length = 20
teachers = {law = "shared_basis", variances = [1, 1]}
"""
KRONECKER = """eigenvalues = [2.0, 1.0]
context_length = 20
teachers = {law = "kronecker", outputs = [[1, 0.5], [0.5, 1]], inputs = [[2, 0], [0, 1]]}
"""
ALIKE = """eigenvalues = [2.0, 1.0]
context_length = 20
noise_variance = 0.1
teachers = {law = "kronecker", outputs = [[3, 0], [0, 3]], inputs = [[2, 0], [0, 1]]}
"""
ROWS = """eigenvalues = [2.0, 1.0]
context_length = 20
teachers = {law = "on_supports", dimension = 2, supports = [[0], [0, 1]]}
"""
OTHER_BASIS = KRONECKER.replace("[[2, 0], [0, 1]]", "[[2, 1], [1, 1]]")
ONE_HEAD = ("--model", "merged", "--heads", "1", "--symbolic")


def of_outputs(capsys, tmp_path, content, *options):
    file = tmp_path / "task.toml"
    file.write_text(content)
    return printed(capsys, "fixed-points", "--task", str(file), *ONE_HEAD, *options)


def test_several_outputs_have_a_condition_for_each_subset(capsys, tmp_path):
    lines = of_outputs(capsys, tmp_path, MODES).splitlines()
    assert "twice a loss that is defined with ½" in lines[0]
    assert "m_2 = N*(1 - Z/(N*sqrt(lambda_2)))/(lambda_2*(N + 1))" in lines
    assert lines[6].endswith(
        "exists if (sqrt(lambda_1)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2)) "
        "and (sqrt(lambda_2)*(N + 3) > sqrt(lambda_1) + sqrt(lambda_2))"
    )
    assert lines[7].endswith("L = L(0) - g_1, Z = N*sqrt(lambda_1)/(N + 2)")


def test_several_outputs_in_json_and_latex(capsys, tmp_path):
    rows = json.loads(of_outputs(capsys, tmp_path, MODES, "--json"))
    assert [len(row["conditions"]) for row in rows] == [2, 0, 0, 0]
    numbers = {"lambda_1": 2, "lambda_2": 1, "N": 20}
    # a = N/((N+1) s) [1 − 1/(N+2)] where one mode is learned alone.
    assert at(rows[1]["coefficients"][0], **numbers) == pytest.approx(20 / 44)
    text = of_outputs(capsys, tmp_path, MODES, "--latex")
    assert text.startswith("% L = E |y_q")
    assert r"\sqrt{\lambda_2} \left(N + 3\right) > \sqrt{\lambda_1} +" in text
    assert re.search(r"[^ -~\n]", text) is None


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (KRONECKER, "gamma_2*lambda_2*omega_2"),
        (ALIKE, "2*lambda_2*omega_2 + 2*sigma**2"),
    ],
)
def test_kronecker_teachers_are_all_or_nothing(capsys, tmp_path, content, line):
    text = of_outputs(capsys, tmp_path, content)
    assert line in text.splitlines()[1]
    assert [each for each in text.splitlines() if each.startswith("S = ")] == [
        "S = {1, 2}: M = m_1 e_1 e_1ᵀ + m_2 e_2 e_2ᵀ, L = L(0) - g_1 - g_2",
        "S = {}: M = 0, L = L(0)",
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (ROWS, "these teachers have another covariance"),
        (OTHER_BASIS, "Ω and Λ that commute"),
        (KRONECKER + "noise_variance = 0.1\n", "kronecker_minimum has it in numbers"),
        (MODES.replace("[2.0, 1.0]", "[2.0, 0.0]"), "stand for positive variances"),
    ],
)
def test_refuses_other_teachers_of_several_outputs(capsys, tmp_path, content, message):
    file = tmp_path / "task.toml"
    file.write_text(content)
    assert main(["fixed-points", "--task", str(file), *ONE_HEAD]) == 2
    assert message in capsys.readouterr().err
