"""What a command's exit status means: the numbers that scripts rely on, and that the help tells them."""

import re
from pathlib import Path

import pytest

import attndyn
from attndyn.cli import main
from attndyn.cli.exit_status import MEANING, ExitStatus, in_words

NUMBERS = {
    "AS_EXPECTED": 0,
    "OTHER_THAN_EXPECTED": 1,
    "NOT_DONE": 2,
    "UNDECIDED": 3,
    "UNDEFINED": 4,
    "HUNG_UP": 129,
    "INTERRUPTED": 130,
    "NOBODY_READS": 141,
    "TERMINATED": 143,
}
COMMANDS = (
    "verify",
    "figures",
    "fixed-points",
    "derive",
    "check",
    "simulate",
    "sweep",
    "replay",
)


def test_the_numbers_are_those_that_scripts_rely_on():
    assert {status.name: int(status) for status in ExitStatus} == NUMBERS
    assert set(MEANING) == set(ExitStatus)
    assert len(set(MEANING.values())) == len(MEANING)


def shown(capsys, *arguments):
    """What a command prints, on one line."""
    assert main(arguments) == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_help_tells_every_status(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert in_words(*ExitStatus) in shown(capsys, "--help")
    assert in_words(*ExitStatus) in shown(capsys, "check", "--help")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_tells_its_statuses(capsys, command):
    help_text = shown(capsys, command, "--help")
    assert "Exit status: 0 done" in help_text
    assert MEANING[ExitStatus.NOT_DONE] in help_text
    judges = command in ("verify", "replay", "simulate", "check")
    assert (MEANING[ExitStatus.OTHER_THAN_EXPECTED] in help_text) == judges


def test_the_page_of_commands_has_the_same_table():
    page = (Path(attndyn.__file__).parent / "docs" / "commands.md").read_text(
        encoding="utf-8"
    )
    rows = dict(re.findall(r"^\| (\d+) \| (.*) \|$", page, re.MULTILINE))
    assert rows == {str(int(status)): meaning for status, meaning in MEANING.items()}
