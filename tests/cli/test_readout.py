"""attndyn predict readout: errors of the linear read-out as a table, JSON and files, and its mistakes."""

import csv
import json

import numpy as np
import pytest

from attndyn.cli import main
from attndyn.theory.asymptotics import bayes_error, errors, learning_curve

POINT = ["--tau", "2", "--alpha", "2", "--kappa", "1/2", "--noise", "0.1"]


@pytest.fixture
def call(capsys):
    """Calls the command; returns what it prints."""

    def run(*options):
        assert main(["predict", "readout", *options]) == 0
        return capsys.readouterr().out

    return run


def test_errors_of_the_ridge_solution(call):
    found = json.loads(call(*POINT, "--ridge", "0,0.1", "--json"))
    known = errors(tau=2, alpha=2, kappa=0.5, noise=0.1, ridge=[0, 0.1])
    for name in ("icl", "idg", "gap", "xi"):
        assert found[name] == getattr(known, name).tolist()
    assert found["bayes"] == [float(bayes_error(alpha=2, noise=0.1))] * 2
    assert found["tau"] == found["test_alpha"] == [2.0, 2.0]
    assert found["ridge"] == [0.0, 0.1]
    text = call(*POINT)
    assert "1.3385" in text
    assert "0.58628" in text
    assert "test" not in text


def test_infinite_ratios_are_valid_json(call):
    options = ["--tau", "inf", "--alpha", "100", "--kappa", "0.5,∞", "--noise", "0.01"]
    found = json.loads(call(*options, "--json"), parse_constant=pytest.fail)
    assert found["tau"] == ["inf", "inf"]
    assert found["kappa"] == [0.5, "inf"]
    assert found["gap"][0] == pytest.approx(0.5000471200, abs=1e-10)
    assert "inf" in call(*options)
    options = ["--tau", "2", "--alpha", "inf", "--kappa", "2"]
    assert json.loads(call(*options, "--json"))["icl"] == [0.0]
    assert "e-" not in call(*options)


def test_gradient_flow_in_a_file(call, tmp_path):
    path = tmp_path / "learning.csv"
    options = [*POINT, "--theta", "0.1,1,10", "--test-alpha", "4"]
    assert "3 sets of parameters" in call(*options, "--out", str(path))
    with path.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    known = learning_curve(
        [0.1, 1, 10], tau=2, alpha=2, kappa=0.5, noise=0.1, test_alpha=4
    )
    assert [float(row["icl"]) for row in rows] == known.icl.tolist()
    assert [float(row["theta"]) for row in rows] == [0.1, 1.0, 10.0]
    assert {row["test_alpha"] for row in rows} == {"4.0"}
    text = call(*options)
    assert "test" in text
    assert f"accurate to {known.error.max():.0e}" in text
    json_path = tmp_path / "learning.json"
    call(*options, "--out", str(json_path))
    stored = json.loads(json_path.read_text(encoding="utf-8"))
    np.testing.assert_array_equal(stored["idg"], known.idg)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--tau", "1"], "pole at tau = 1"),
        (["--tau", "0"], "tau must be positive numbers or inf, not 0"),
        (["--tau", "two"], "--tau"),
        (["--tau", "1,2", "--kappa", "1,2,3"], "--tau has 2, --kappa has 3"),
        (["--ridge", "0.1", "--theta", "1"], "exclude each other"),
        (["--ridge", "-1"], "ridge must be zero or more"),
        (["--out", "table.npz"], "csv"),
    ],
)
def test_a_mistake_is_one_line(options, message, capsys):
    given = dict(zip(POINT[::2], POINT[1::2], strict=True))
    given |= dict(zip(options[::2], options[1::2], strict=True))
    words = [word for pair in given.items() for word in pair]
    assert main(["predict", "readout", *words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.splitlines()) == 1


def test_a_file_that_is_there_stays(tmp_path, capsys):
    path = tmp_path / "table.json"
    path.write_text("mine")
    assert main(["predict", "readout", *POINT, "--out", str(path)]) == 2
    assert path.read_text() == "mine"
    assert main(["predict", "readout", *POINT, "--out", str(path), "--force"]) == 0
    assert json.loads(path.read_text())["alpha"] == [2.0]
    capsys.readouterr()
