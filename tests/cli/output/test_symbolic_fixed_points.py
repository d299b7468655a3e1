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
