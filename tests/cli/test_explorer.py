"""`attndyn explore`: its address, how it ends, and what it says where it cannot begin."""

import signal
import socket
import subprocess
import sys
import urllib.request

import pytest

from attndyn.cli import explorer, main


@pytest.fixture
def served():
    """The command in a process of its own, on a port that is free."""
    command = [sys.executable, "-m", "attndyn", "explore", "--no-browser", "--port=0"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    yield process
    process.kill()
    process.communicate()


def test_it_says_where_it_is_and_ends_at_ctrl_c_as_something_that_is_done(served):
    line = served.stdout.readline()
    assert line.startswith("The explorer is at http://127.0.0.1:")
    address = line.split()[4]
    with urllib.request.urlopen(address) as page:
        assert b"attndyn <span>explorer</span>" in page.read()
    served.send_signal(signal.SIGINT)
    output, errors = served.communicate(timeout=20)
    assert (served.returncode, output, errors) == (0, "", "")


def test_a_port_that_is_in_use_is_refused_in_a_sentence(capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["explore", "--no-browser", "--port", str(port)]) == 2
    said = capsys.readouterr().err
    assert said.startswith(
        f"attndyn: port {port} is in use or not allowed: pass another"
    )
    assert said.count("\n") == 1


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
def test_what_is_no_port_is_refused(port, capsys):
    assert main(["explore", "--no-browser", "--port", port]) == 2
    assert "port" in capsys.readouterr().err


def test_without_the_extra_it_names_it(monkeypatch, capsys):
    monkeypatch.setattr(explorer, "find_spec", lambda name: None)
    assert main(["explore", "--no-browser"]) == 2
    assert capsys.readouterr().err == (
        "attndyn: the explorer needs starlette and uvicorn: pip install 'attndyn[explore]'\n"
    )
