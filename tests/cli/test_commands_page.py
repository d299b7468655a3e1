"""docs/commands.md: every command that it shows does its work, and every option that it names is there."""

import re
import shlex
from pathlib import Path

import pytest

import attndyn
from attndyn import Task
from attndyn.cli import main

pytestmark = pytest.mark.checkout

PAGE = (Path(attndyn.__file__).parent / "docs" / "commands.md").read_text("utf-8")
COMMANDS = ("fixed-points", "predict", "simulate", "time-course")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def commands():
    """The arguments of each command of the page, its lines joined."""
    lines = "\n".join(blocks("sh")).replace("\\\n", " ").splitlines()
    words = [shlex.split(line, comments=True) for line in lines]
    return [line[1:] for line in words if line[:1] == ["attndyn"]]


def in_few_steps(arguments):
    """The same command with four steps, whatever it has."""
    return [
        "4" if before == "--steps" else argument
        for before, argument in zip(["", *arguments], arguments, strict=False)
    ]


def test_the_commands_do_their_work(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    supports, white = blocks("toml")
    assert Task.from_toml(supports).outputs == 2
    Path("supports.toml").write_text(supports, encoding="utf-8")
    Path("white.toml").write_text(white, encoding="utf-8")
    done = []
    for arguments in commands():
        if arguments[0] in COMMANDS:
            assert main(in_few_steps(arguments)) == 0, capsys.readouterr().err
            done.append(arguments[0])
    assert set(done) == set(COMMANDS)
    written = {path.name for path in tmp_path.iterdir()}
    expected = (
        "run.npz adam.npz schedule.npz course.csv course.pdf heads.npz learning.csv"
    )
    assert set(expected.split()) < written


@pytest.mark.parametrize("section", ["Tasks and models as options", "Training"])
def test_the_options_of_a_section_are_in_the_help(section, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["simulate", "--help"]) == 0
    shown = capsys.readouterr().out
    text = PAGE.split(f"## {section}\n")[1].split("\n## ")[0]
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z0-9-]*", text)) - {"--json"}
    assert len(named) > 10
    assert [option for option in sorted(named) if f"{option} " not in shown] == []


def test_every_option_of_simulate_is_on_the_page(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    for command in ("simulate", "time-course", "predict softmax"):
        assert main([*command.split(), "--help"]) == 0
        options = set(re.findall(r"(--[a-z][a-z0-9-]*) ", capsys.readouterr().out))
        # What the page does not explain says enough in the help.
        plain = {"--help", "--query-token", "--points"}
        plain |= {"--seed", "--scheme", "--whiten", "--centre", "--engine", "--record"}
        missing = {option for option in options - plain if option not in PAGE}
        assert missing == set()
