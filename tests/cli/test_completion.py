"""Completion in the shell: what is offered, and that the script which a user installs works in a real bash."""

import os
import subprocess
import sys
from pathlib import Path

from attndyn.cli.completion import claims_that_begin, figures_that_begin

PROGRAM = Path(sys.executable).with_name("attndyn")


def offered(line, folder):
    """What the program answers to the tab key at the end of this line."""
    words = {
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
        "_ATTNDYN_COMPLETE": "complete_bash",
    }
    done = subprocess.run(
        [PROGRAM],
        env=os.environ | words,
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.split()


def test_commands_options_claims_and_figures_are_offered(tmp_path):
    assert {"verify", "fixed-points", "replay"} <= set(offered("attndyn ", tmp_path))
    assert offered("attndyn ver", tmp_path) == ["verify"]
    assert "--symbolic" in offered("attndyn fixed-points --", tmp_path)
    assert offered("attndyn verify fixed_points.c", tmp_path) == ["fixed_points.count"]
    assert offered("attndyn figures growing", tmp_path) == ["growing_mode_order"]
    assert offered("attndyn verify nothing_begins_so", tmp_path) == []


def test_files_of_claims_are_offered_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("mine.py", "mine.txt", "replay_mine.py"):
        Path(name).touch()
    assert claims_that_begin("mine") == ["mine.py"]
    assert claims_that_begin("replay")[0] == "replay"
    assert claims_that_begin("replay")[-1] == "replay_mine.py"
    assert figures_that_begin("") == sorted(
        figures_that_begin(""), key=figures_that_begin("").index
    )
    assert figures_that_begin("no figure") == []


def test_the_installed_script_completes_in_bash(tmp_path):
    home = {
        "HOME": str(tmp_path),
        "PATH": f"{PROGRAM.parent}{os.pathsep}{os.environ['PATH']}",
    }

    def bash(script):
        done = subprocess.run(
            ["bash", "-c", f"{script}; :"],
            env=os.environ | home,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    (tmp_path / ".bashrc").write_text("# mine\n")
    installed = tmp_path / ".bash_completions" / "attndyn.sh"
    assert str(installed) in bash("attndyn --install-completion")
    rc = (tmp_path / ".bashrc").read_text()
    assert rc.startswith("# mine\n")
    assert f"source '{installed}'" in rc
    assert bash("attndyn --show-completion").strip() == installed.read_text().strip()
    asked = "COMP_WORDS=(attndyn fix); COMP_CWORD=1; _attndyn_completion attndyn; echo ${COMPREPLY[@]}"
    assert bash(f". ~/.bashrc; {asked}") == "fixed-points\n"
