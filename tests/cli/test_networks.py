"""train-network without PyTorch: one line that says what to install, and options that are explained."""

import sys

import pytest

from attndyn.cli import main
from attndyn.cli.exit_status import ExitStatus


@pytest.mark.parametrize("network", ["modular-addition", "attention-only"])
def test_without_pytorch_the_extra_is_named_and_no_file_changes(
    network, tmp_path, monkeypatch, capsys
):
    monkeypatch.setitem(sys.modules, "torch", None)
    out = tmp_path / "run.npz"
    out.write_bytes(b"of yesterday")
    arguments = ["train-network", network, "--steps", "5", "--out", str(out)]
    assert main([*arguments, "--force"]) == ExitStatus.NOT_DONE
    shown = capsys.readouterr().err
    assert "pip install 'attndyn[torch]'" in shown
    assert shown.count("\n") == 1
    assert out.read_bytes() == b"of yesterday"


@pytest.mark.parametrize(
    ("network", "options", "reason"),
    [
        ("modular-addition", ["--heads", "5"], "heads must divide the dimension 48"),
        ("modular-addition", ["--split", "half"], "split must be one of ordered, un"),
        ("modular-addition", ["--fraction", "3/2"], "fraction must leave some of"),
        ("modular-addition", ["--checkpoints", "0,x"], "--checkpoints: 'x' is no"),
        ("modular-addition", ["--checkpoints", "0,9"], "from 0 to the 5 steps, not 9"),
        ("attention-only", ["--longest", "20"], "length must be a whole number of"),
    ],
)
def test_options_of_no_network_are_refused_in_one_line(
    network, options, reason, tmp_path, capsys
):
    arguments = ["train-network", network, "--steps", "5", "--out"]
    status = main([*arguments, str(tmp_path / "run.npz"), *options])
    assert status == ExitStatus.NOT_DONE
    shown = capsys.readouterr().err
    assert reason in shown
    assert shown.count("\n") == 1
