"""The command line derives: `attndyn derive`, with models of one's own, ansätze and LaTeX."""

import re

import pytest
import sympy as sp

from attndyn import Merged, Separate
from attndyn.cli import main
from attndyn.theory.symbolic import derive, is_zero, read_equations, symbolic_task

MODELS = """
import numpy as np

class Tied:
    def __init__(self, heads=1):
        self.head_count = heads
    def shapes(self, dimension):
        return {"value": (self.head_count, dimension + 1), "key": (self.head_count, dimension + 1)}
    def heads(self, weights):
        key = weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]

class Inverse(Tied):
    def heads(self, weights):
        key = 1 / weights["key"]
        return weights["value"], key[:, :, None] * key[:, None, :-1]

class Flat(Tied):
    def heads(self, weights):
        return weights["value"], weights["value"]

ready, number = Tied(2), 3
"""


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    (tmp_path / "models.py").write_text(MODELS)
    (tmp_path / "broken.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)


def printed(capsys, *arguments):
    assert main(["derive", *arguments]) == 0
    return capsys.readouterr().out


def refused(capsys, *arguments):
    status = main(["derive", *arguments])
    output = capsys.readouterr()
    assert status == 2
    assert output.out == ""
    assert output.err.startswith("attndyn: ")
    assert output.err.count("\n") == 1
    return output.err


def blocks(latex):
    return re.findall(r"\\begin\{aligned\}.*?\\end\{aligned\}", latex, re.DOTALL)


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (Separate(heads=1), ["--dim", "2"]),
        (
            Separate(heads=1, rank=2, divisor="tokens"),
            ["--dim", "2", "--rank", "2", "--divisor", "tokens"],
        ),
        (Merged(heads=2), ["--dim", "1", "--model", "merged", "--heads", "2"]),
    ],
    ids=["separate", "rank two", "merged"],
)
def test_latex_reads_back_as_the_flow(capsys, model, options):
    derivation = derive(symbolic_task(int(options[1])), model, "restricted")
    _, flow, *_ = blocks(printed(capsys, *options, "--block", "restricted", "--latex"))
    symbols = [
        *derivation.weights,
        *derivation.parameters,
        sp.Symbol("N", integer=True, positive=True),
    ]
    back = read_equations(flow, symbols, latex=True, rate=True)
    assert back.keys() == derivation.flow.keys()
    assert all(is_zero(back[weight] - rate) for weight, rate in derivation.flow.items())
    wrong = read_equations(flow.replace("N", "2", 1), symbols, latex=True, rate=True)
    assert not all(
        is_zero(wrong[weight] - rate) for weight, rate in derivation.flow.items()
    )


def test_text_has_loss_flow_invariants_and_reduced_equations(capsys):
    lines = printed(
        capsys, "--dim", "2", "--block", "restricted", "--reduce", "aligned"
    ).splitlines()
    assert [line.split(" = ")[0].split()[0] for line in lines] == [
        "L",
        *"ddddd",
        "I_1",
        "I_2",
        "where",
        "d",
    ]
    assert (
        lines[-1]
        == "d v_1/dt = lambda_1**2*v_1**2 - lambda_1**2*v_1**5*(N*lambda_1 + 2*lambda_1 + lambda_2)/N"
    )


def test_the_options_of_the_task_and_the_block_are_heard(capsys):
    common = ["--dim", "1", "--degree", "0", "--block", "restricted"]
    plain = printed(capsys, *common)
    for option, shown in (
        (["--noise"], "sigma"),
        (["--mixture"], "w0_1"),
        (["--teachers", "diagonal"], "omega_1"),
        (["--block", "full"], "value_1_1"),
        (["--heads", "2"], "value_2_2"),
        (["--degree", "2"], "is conserved"),
    ):
        assert shown in printed(capsys, *common, *option)
        assert shown not in plain
    assert printed(capsys, *common, "--block", "full") == printed(capsys, *common[:4])


def test_an_ansatz_in_text(capsys):
    text = "value_1_3 = s, key_1_1_1 = u, query_1_1_1 = u"
    last = printed(
        capsys, "--dim", "2", "--reduce", text, "--amplitudes", "s, u"
    ).splitlines()[-1]
    assert last.startswith("d u/dt = lambda_1**2*s*u - ")
    error = refused(
        capsys,
        "--dim",
        "2",
        "--reduce",
        text.replace("query_1_1_1", "query_1_1_2"),
        "--amplitudes",
        "s,u",
    )
    assert "the flow leaves this ansatz" in error


def test_a_model_of_the_users_own(capsys):
    out = printed(
        capsys,
        *["--dim", "1", "--model", "models.py:Tied", "--degree", "2"],
        *["--block", "restricted"],
    )
    assert "I_1 = -key_1_1**2 + 2*value_1_2**2 is conserved" in out
    assert "value_2_2" in printed(
        capsys,
        "--dim",
        "1",
        "--model",
        "models.py:Tied",
        "--heads",
        "2",
        "--degree",
        "0",
    )
    assert "value_2_2" in printed(
        capsys, "--dim", "1", "--model", "models.py:ready", "--degree", "0"
    )


BAD = {
    "key_1_1**(-2) is none": ["--model", "models.py:Inverse"],
    "heads must give a (H, D+1) and B (H, D+1, D)": ["--model", "models.py:Flat"],
    "has no 'Absent'": ["--model", "models.py:Absent"],
    "is no model": ["--model", "models.py:number"],
    "does not say which model": ["--model", "models.py"],
    "No such file": ["--model", "absent.py:Tied"],
    "broken.py cannot be run: ZeroDivisionError": ["--model", "broken.py:Tied"],
    "does not take these settings": ["--model", "models.py:Tied", "--rank", "2"],
    "model must be one of merged, separate, factorised, not 'both'": [
        "--model",
        "both",
    ],
    "heads must be a whole number of at least 1, not 0": ["--heads", "0"],
    "block must be full or restricted": ["--block", "half"],
    "teachers must be white, diagonal or general": ["--teachers", "black"],
    "divisor must be one of": ["--divisor", "two"],
    "Merged has no field rank": ["--model", "merged", "--rank", "2"],
    'unknown symbol "value_1_9" (did you mean value_1_2': ["--reduce", "value_1_9 = 1"],
    'whose amplitudes are none: unknown symbol "v"': ["--reduce", "value_1_2 = v"],
    'unknown symbol "lamda_1" (did you mean lambda_1': [
        "--reduce",
        "value_1_2 = lamda_1",
    ],
    "exp(v) is none": ["--reduce", "value_1_2 = exp(v)", "--amplitudes", "v"],
    "names must be a list": ["--reduce", "value_1_2 = v", "--amplitudes", "v+1"],
    "aligned weights are known for Merged and Separate": [
        "--model",
        "models.py:Tied",
        "--reduce",
        "aligned",
    ],
    "--degree": ["--degree", "-1"],
}


@pytest.mark.parametrize("message", BAD)
def test_a_mistake_is_named_in_one_line(capsys, message):
    assert message in refused(capsys, "--dim", "1", *BAD[message])


def test_a_task_in_numbers_comes_from_a_file(capsys, tmp_path):
    (tmp_path / "t.toml").write_text('eigenvalues = ["2/3"]\ncontext_length = 4')
    shown = printed(capsys, "--task", "t.toml", "--block", "restricted")
    assert "/3" in shown
    options = ["--model", "factorised", "--rank", "1", "--value-rank", "1"]
    by_symbols = printed(capsys, "--dim", "1", *options, "--block", "restricted")
    without = printed(
        capsys, "--dim", "1", *options, "--no-query-token", "--block", "full"
    )
    assert by_symbols != without


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "pass --dim for a task in symbols, or --task FILE.toml"),
        (["--task", "t.toml", "--dim", "1"], "leave --dim out"),
        (["--task", "t.toml", "--noise"], "leave --noise out"),
        (["--task", "t.toml", "--teachers", "white"], "leave --teachers out"),
        (["--dim", "1", "--value-rank", "1"], "value_rank"),
    ],
)
def test_a_task_is_of_numbers_or_of_symbols(capsys, tmp_path, options, message):
    (tmp_path / "t.toml").write_text("eigenvalues = [1]\ncontext_length = 4")
    assert message in refused(capsys, *options)


def test_several_outputs_by_option_and_by_file(capsys, tmp_path):
    merged = ("--model", "merged", "--block", "restricted", "--degree", "0")
    symbols = printed(capsys, "--dim", "2", "--shared-basis", *merged)
    assert symbols.startswith("convention: L = E |y_q − ŷ|², twice")
    file = tmp_path / "task.toml"
    file.write_text(
        "eigenvalues = [2.0, 1.0]\ncontext_length = 20\n"
        'teachers = {law = "shared_basis", variances = [1, 1]}\n'
    )
    numbers = printed(capsys, "--task", str(file), *merged)
    assert [line.split(" = ")[0] for line in symbols.splitlines()] == [
        line.split(" = ")[0] for line in numbers.splitlines()
    ]
    latex = printed(capsys, "--dim", "1", "--outputs", "2", *merged, "--latex")
    assert latex.startswith("% L = E |y_q - \\hat y|^2, twice")
    message = refused(capsys, "--task", str(file), "--shared-basis")
    assert "leave --shared-basis out" in message
    message = refused(
        capsys, "--dim", "2", "--shared-basis", *merged, "--reduce", "aligned"
    )
    assert "known for one output" in message
