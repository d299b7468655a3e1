"""`attndyn verify` on a user's file: what Ctrl-C and a killed worker leave, and how it goes on."""

import io
import json
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest

from attndyn.cli import main
from attndyn.compare import Ledger, verify
from attndyn.compare.ledger.progress_view import ProgressView, shown_progress
from attndyn.compare.ledger.verdict_store import load_verdict

SLOW = """
import os, signal, time
from pathlib import Path
import numpy as np
from attndyn.compare import claim, equal_within

HERE = Path(__file__).parent


def measured(name, context):
    with open(HERE / "begun", "a") as file:
        file.write(name + " ")
    while name == "stuck" and not (HERE / "free").exists():
        if len(list((context.folder.parent / "verdicts").glob("[!.]*"))) == 2 and (HERE / "deadly").exists():
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.02)
    return [np.ones(2)]


for name in ("quick", "stuck", "swift"):

    @claim(
        f"slow.{name}",
        measure=lambda context, name=name: measured(name, context),
        judge=equal_within(1e-9),
        controls=("two",),
    )
    def predict(context, variant):
        return [np.full(2, 2.0 if variant else 1.0)]
"""


@pytest.fixture(autouse=True)
def own_registry(monkeypatch):
    """A registry for each test."""
    monkeypatch.setattr("attndyn.compare.ledger.registry._registered", {})
    monkeypatch.setattr("attndyn.compare.ledger.registry._loaded", set())


@pytest.fixture
def slow(tmp_path):
    """A file with three claims, the second of which waits until a file `free` is there."""
    path = tmp_path / "slow.py"
    path.write_text(SLOW)
    return path


def begun(folder):
    return sorted((folder / "begun").read_text().split())


def verdicts(folder):
    """Ids of the verdicts that are there; every file is whole."""
    contents = [
        json.loads(path.read_text()) for path in (folder / "verdicts").iterdir()
    ]
    return sorted(each["id"] for each in contents)


def goes_on(slow, out, capsys):
    """Resuming makes what is missing and nothing else, and the ledger is that of an undisturbed run."""
    (slow.parent / "begun").unlink()
    (slow.parent / "free").touch()
    assert (
        main(["verify", str(slow), "--out", str(out), "--workers", "1", "--resume"])
        == 0
    )
    assert begun(slow.parent) == ["stuck"]
    assert "3 of 3 claims are as expected" in capsys.readouterr().out
    resumed = Ledger.from_json((out / "ledger.json").read_text())
    afresh = verify(
        [str(slow)], out=out, workers=1
    )  # control: without resuming all are checked
    assert begun(slow.parent) == ["quick", "stuck", "stuck", "swift"]
    assert timeless(resumed) == timeless(afresh)


def timeless(ledger):
    return [replace(verdict, seconds=0.0) for verdict in ledger.verdicts]


# Every signal raises what Ctrl-C raises: one shows what a process without workers keeps.
@pytest.mark.parametrize(
    ("workers", "ending"),
    [("1", "interrupted")]
    + [("2", message) for message in ("interrupted", "terminated", "hung up")],
    indirect=["ending"],
)
def test_a_signal_keeps_what_is_finished(
    slow, tmp_path, capsys, wait_for, hang, workers, ending
):
    out = tmp_path / "out"
    finished = ["slow.quick", "slow.swift"] if workers == "2" else ["slow.quick"]
    command = [
        sys.executable,
        "-m",
        "attndyn",
        "verify",
        str(slow),
        "--out",
        str(out),
        "--workers",
        workers,
    ]
    running = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        wait_for(
            lambda: (slow.parent / "begun").exists() and "stuck" in begun(slow.parent)
        )
        wait_for(lambda: len(list((out / "verdicts").glob("*.json"))) == len(finished))
        os.killpg(running.pid, ending.number)  # as a terminal does: to every process
        message = running.communicate(timeout=hang)[1]
    finally:
        running.kill()
        running.wait()
    assert running.returncode == ending.status
    assert message.splitlines()[-2:] == [
        f"attndyn: {len(finished)} of 3 verdicts are kept: go on with --resume, or resume=True in Python",
        f"attndyn: {ending.message}",
    ]
    assert verdicts(out) == finished
    assert not (out / "ledger.json").exists()
    if workers == "2":
        goes_on(slow, out, capsys)


def test_a_killed_worker_loses_nothing_that_is_finished(slow, tmp_path, capsys):
    out = tmp_path / "out"
    (tmp_path / "deadly").touch()
    assert main(["verify", str(slow), "--out", str(out), "--workers", "2"]) == 2
    message = capsys.readouterr().err
    assert (
        "a worker process was killed, as when memory runs out: choose fewer workers; 2 of 3 verdicts"
        in message
    )
    assert verdicts(out) == ["slow.quick", "slow.swift"]
    goes_on(slow, out, capsys)


def test_a_kept_verdict_that_is_damaged_or_another_is_not_read(slow, tmp_path):
    (tmp_path / "free").touch()
    out = tmp_path / "out"
    first = verify([str(slow)], out=out, workers=1)
    half, other = (
        out / "verdicts" / f"{verdict.digest}.json" for verdict in first.verdicts[:2]
    )
    half.write_bytes(half.read_bytes()[:-20])
    other.write_text(json.dumps(json.loads(other.read_text()) | {"digest": "0"}))
    (tmp_path / "begun").unlink()
    again = verify([str(slow)], out=out, workers=1, resume=True)
    assert begun(tmp_path) == ["quick", "stuck"]
    assert timeless(again) == timeless(first)
    assert load_verdict(first.verdicts[0].digest, out / "verdicts") == again.verdicts[0]
    verify(
        [str(slow)], out=out, workers=1, resume=True, seed=1
    )  # control: another seed, other verdicts
    assert begun(tmp_path) == ["quick", "quick", "stuck", "stuck", "swift"]


MISTAKES = {
    "no claims": ("x = 1", "registers no claim: decorate"),
    "failure": ("import nothing_of_this_name", "cannot be run: ModuleNotFoundError"),
    "own mistake": (
        SLOW.replace("np.ones(2)", "np.oness(2)"),
        "claim slow.quick cannot be checked: AttributeError",
    ),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_is_one_line(tmp_path, capsys, name):
    text, reason = MISTAKES[name]
    path = tmp_path / "mistake.py"
    path.write_text(text)
    assert (
        main(["verify", str(path), "--out", str(tmp_path / "out"), "--workers", "1"])
        == 2
    )
    message = capsys.readouterr().err
    assert message.startswith("attndyn: ")
    assert reason in message
    assert message.count("\n") == 1


def test_a_file_that_is_not_there_is_one_line(tmp_path, capsys):
    assert (
        main(["verify", str(tmp_path / "no.py"), "--out", str(tmp_path / "out")]) == 2
    )
    assert (
        capsys.readouterr().err
        == f"attndyn: cannot read or write {tmp_path / 'no.py'}: No such file\n"
    )


# What is shown meanwhile


class Screen(io.StringIO):
    """Standard error that says whether it is a terminal."""

    def __init__(self, terminal):
        super().__init__()
        self.terminal = terminal

    def isatty(self):
        return self.terminal


def show(monkeypatch, terminal):
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setattr("attndyn.compare.ledger.progress_view.PATIENCE", 0.0)
    monkeypatch.setattr("attndyn.compare.ledger.progress_view.PLAIN", 0.02)
    screen = Screen(terminal)
    monkeypatch.setattr(sys, "stderr", screen)
    return screen


@pytest.mark.parametrize("terminal", [True, False])
def test_the_claims_under_way_are_shown(monkeypatch, wait_for, terminal):
    screen = show(monkeypatch, terminal)
    with shown_progress(5, 2) as view:
        view.begin("slow.first")
        view.end("slow.first")
        view.begin("slow.second")
        wait_for(lambda: "slow.second" in screen.getvalue())
    shown = screen.getvalue()
    assert "3/5 claims" in shown
    assert (
        shown.count("\x1b[?25h") == shown.count("\x1b[?25l") == int(terminal)
    )  # the cursor comes back
    if not terminal:
        assert re.fullmatch(
            r"verify: 3/5 claims, \d+ s; now slow.second \d+ s", shown.splitlines()[-1]
        )


def test_a_quick_ledger_says_nothing(monkeypatch):
    screen = show(monkeypatch, terminal=True)
    monkeypatch.setattr("attndyn.compare.ledger.progress_view.PATIENCE", 60.0)
    with shown_progress(1, 0) as view:
        view.begin("quick")
        view.end("quick")
    assert screen.getvalue() == ""
    assert (view.done, view.running) == (1, {})


def test_a_line_names_what_takes_longest():
    view = ProgressView(9, 0)
    for name in ("first", "second", "third", "fourth"):
        view.begin(name)
    assert re.fullmatch(
        r"verify: 0/9 claims, \d+ s; now first \d+ s, second \d+ s and 2 more",
        view.line(),
    )


def test_preparations_do_not_count():
    view = ProgressView(2, 0)
    view.begin("a run")
    view.end("a run", counts=False)
    assert view.line() == "verify: 0/2 claims, 0 s"
