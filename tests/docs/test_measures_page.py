"""docs/measure-your-own-checkpoints.md: its code and its commands do what the page says of them."""

import csv
import json
import re
import shlex
from pathlib import Path

import pytest

import attndyn
from attndyn.cli import main

pytestmark = pytest.mark.checkout

DOCS = Path(attndyn.__file__).parent / "docs"
PAGE = (DOCS / "measure-your-own-checkpoints.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    first, *others = blocks("python")
    exec(first, {})
    printed = []
    for line in "".join(blocks("sh")).splitlines():
        words = shlex.split(line)
        assert words[:2] == ["attndyn", "measure"]
        assert main(words[1:]) == 0, capsys.readouterr().err
        printed.append(capsys.readouterr().out)
    assert Path("grokking.pdf").read_bytes().startswith(b"%PDF")
    with open("control.csv", encoding="utf-8", newline="") as file:
        last = list(csv.DictReader(file))[-1]
    # What the page says of the end: QK at 1, OV at 7 or 8, and no Fourier share.
    assert float(last["effective_rank QK head 0"]) < 1.1
    assert 7 < float(last["effective_rank OV head 1"]) < 8
    assert float(last["fourier_share embedding"]) < 0.5
    assert json.loads(printed[-1])["query_key"]["rank"] == [6] * 4
    for block in others:
        exec(block, {})
    assert "head 3" in capsys.readouterr().out


def test_every_option_of_the_command_is_on_the_page(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["measure", "--help"]) == 0
    options = set(re.findall(r"(--[a-z][a-z-]*) ", capsys.readouterr().out))
    commands = (DOCS / "commands.md").read_text(encoding="utf-8")
    missing = {
        option for option in options - {"--help"} if option not in PAGE + commands
    }
    assert missing == set()
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", PAGE))
    assert named <= options
