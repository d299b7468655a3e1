"""What commands print where the output knows no λ, is closed, is full, or is narrow."""

import json
import os
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from attndyn import Task
from attndyn.cli import main
from attndyn.cli.output.tables import print_ledger
from attndyn.compare import Ledger, verify
from attndyn.runtime.ascii_text import IN_ASCII, spelled
from attndyn.simulate import load

TINY = ["--eigenvalues", "2,1", "--context-length", "5"]
SHORT = [
    *TINY,
    "--sequences",
    "50",
    "--learning-rate",
    "0.01",
    "--steps",
    "20",
    "--scale",
    "0.3",
]
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
ENCODINGS = {
    "ascii": {"PYTHONIOENCODING": "ascii"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "locale C": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
GENERAL = 'covariance = [[2.0, 0.5], [0.5, 1.0]]\ncontext_length = "1..4"\n'


def shell(*arguments, environment=None, **options):
    """The command line in a process of its own, its output as bytes."""
    command = [sys.executable, "-m", "attndyn", *map(str, arguments)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    return subprocess.run(
        command, env=os.environ | (environment or {}), timeout=600, **pipes
    )


# Encodings


@pytest.mark.parametrize(
    ("text", "encoding", "expected"),
    [
        ("λ_1² ≥ 10⁻⁴", "ascii", "lambda_1^2 >= 10^-4"),
        ("Λ → ∅ – …", "ascii", "Lambda -> {} - ..."),
        ("M eᵀ, ŷ, λ̂₁₂, ½", "ascii", "M e^T, y, lambda_12, 1/2"),
        ("a² × η", "cp1252", "a² × eta"),
        ("λ → ∅", "utf-8", "λ → ∅"),
        ("snow ☃", "ascii", "snow \\u2603"),
    ],
)
def test_what_an_encoding_does_not_know_is_spelled(text, encoding, expected):
    assert spelled(text, encoding) == expected


def test_every_character_has_a_spelling_and_a_file_name_keeps_its_bytes():
    for code in range(0x80, 0x3000):
        spelled(chr(code), "ascii").encode("ascii")
    assert os.fsdecode(b"\xff.npz").encode("ascii", IN_ASCII) == b"\xff.npz"
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", IN_ASCII)  # it is for writing alone


CALLS = {
    "table": ["fixed-points", *TINY],
    "symbols": ["fixed-points", *TINY, "--symbolic"],
    "latex": ["fixed-points", *TINY, "--latex"],
    "json": ["fixed-points", *TINY, "--json"],
    "derive": ["derive", "--dim", "1"],
    "help": ["--help"],
    "cite": ["--cite"],
    "mistake": ["fixed-points", "--eigenvalues", "2,1", "--context-length", "λ"],
    "run": ["simulate", *SHORT, "--out", "run λ.npz"],
    "claim": ["verify", "fixed_points.count", "--out", "λ", "--workers", "1"],
}


# One process for each encoding, which loads what the calls load and forks for each: as if each had its own.
FORKS = """
import os, pkgutil, sys
from contextlib import suppress
from importlib import import_module
import attndyn.cli
from attndyn.compare.claims import all_claims

all_claims()
for found in pkgutil.walk_packages(attndyn.cli.__path__, "attndyn.cli."):
    import_module(found.name)
for name in "jinja2", "numba", "rich.table", "scipy.integrate", "sympy", "typer.rich_utils":
    import_module(name)
with suppress(ImportError):
    import typer._adapters  # with pydantic, where that is installed

for call in open("calls", "rb").read().split(b"\\0\\0"):
    name, *arguments = map(os.fsdecode, call.split(b"\\0"))  # as Python reads the command line
    child = os.fork()
    if child == 0:
        for kind, number in (("out", 1), ("err", 2)):
            file = os.open(f"{name}.{kind}", os.O_WRONLY | os.O_CREAT)
            os.dup2(file, number)
        status = attndyn.cli.main(arguments)
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)  # what is loaded need not be taken down
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    open(f"{name}.status", "w").write(str(status))
"""


@pytest.fixture(scope="module", params=ENCODINGS)
def outputs(request, tmp_path_factory):
    """The folder in which all calls ran with their output in this encoding."""
    folder = tmp_path_factory.mktemp("outputs")
    lines = ["\0".join([name, *call]) for name, call in CALLS.items()]
    (folder / "calls").write_bytes("\0\0".join(lines).encode())
    subprocess.run(
        [sys.executable, "-c", FORKS],
        env=os.environ | ENCODINGS[request.param],
        cwd=folder,
        check=True,
        timeout=600,
    )
    return folder


@pytest.mark.parametrize("call", CALLS)
def test_every_output_works_in_every_encoding(outputs, call, without_progress):
    done = subprocess.CompletedProcess(
        CALLS[call],
        int((outputs / f"{call}.status").read_text()),
        (outputs / f"{call}.out").read_bytes(),
        (outputs / f"{call}.err").read_bytes(),
    )
    assert done.returncode == (2 if call == "mistake" else 0), done.stderr
    complaints = without_progress(done.stderr.decode("latin-1"))
    assert bool(complaints) == (call == "mistake")
    assert b"codec" not in done.stderr
    if call == "table":
        assert b"{}" in done.stdout
    if call == "symbols":
        assert b"L(0) = lambda_1 + lambda_2" in done.stdout
    if call == "json":
        assert len(json.loads(done.stdout)) == 4
    if call == "run":
        assert len(load(outputs / "run λ.npz").loss) == 20
        assert b"->" in done.stdout
        assert done.stdout.startswith(
            "run λ.npz: ".encode()
        )  # a name is never another name
    if call == "claim":
        assert done.stdout.endswith("the rest is in λ\n".encode())


def test_a_missing_file_is_named_as_it_is(tmp_path):
    done = shell(
        "fixed-points",
        "--task",
        "né λ.toml",
        environment=ENCODINGS["ascii"],
        cwd=tmp_path,
    )
    assert (
        done.stderr
        == "attndyn: cannot read or write né λ.toml: No such file or directory\n".encode()
    )


def test_the_help_is_ascii_already(capsys):
    """Its frames would not fit around what is spelled longer."""
    for command in COMMANDS:
        assert main([command, "--help"]) == 0
        shown = capsys.readouterr().out
        assert {character for character in shown if not character.isascii()} <= set(
            "│─╭╮╰╯"
        ), command


def test_files_are_utf_8_whatever_the_output_is(outputs):
    assert "→" in (outputs / "λ" / "report.html").read_text(encoding="utf-8")
    json.loads((outputs / "λ" / "ledger.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""], ids=["with a mark", "without"])
def test_toml_with_a_byte_order_mark_is_read(tmp_path, capsys, mark):
    path = tmp_path / "task.toml"
    path.write_bytes(mark + f"# Λ\r\n{GENERAL}".encode())
    assert main(["fixed-points", "--task", str(path), "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)) == 4
    assert Task.from_toml(path.read_text(encoding="utf-8")) == Task.from_toml(GENERAL)
    assert Task.from_json(
        "\ufeff" + Task.from_toml(GENERAL).to_json()
    ) == Task.from_toml(GENERAL)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-32", "latin-1"])
def test_toml_that_is_no_utf_8_is_said_to_be_none(tmp_path, capsys, encoding):
    for command in (
        ["fixed-points", "--task"],
        ["sweep", "--out", str(tmp_path / "out")],
        ["check"],
    ):
        path = tmp_path / "file.toml"
        path.write_bytes(f"# é\n{GENERAL}".encode(encoding))
        assert main([*command, str(path)]) == 2
        message = capsys.readouterr().err
        assert message.startswith(f"attndyn: {path}")
        assert message.endswith("this is no UTF-8 text: save it as UTF-8\n")


# Outputs that are closed or full


def test_a_full_output_is_one_line(tmp_path):
    for arguments in (
        ["--help"],
        ["--version"],
        ["fixed-points", *TINY],
        ["fixed-points", *TINY, "--json"],
    ):
        with open("/dev/full", "wb") as full:
            done = shell(*arguments, stdout=full)
        assert (done.returncode, done.stderr) == (
            2,
            b"attndyn: cannot write the output: No space left on device\n",
        )


def test_a_run_is_saved_before_the_output_fails(tmp_path):
    with open("/dev/full", "wb") as full:
        assert (
            shell(
                "simulate", *SHORT, "--out", tmp_path / "run.npz", stdout=full
            ).returncode
            == 2
        )
    assert len(load(tmp_path / "run.npz").loss) == 20


def test_a_full_standard_error_is_no_crash():
    with open("/dev/full", "wb") as full:
        assert shell("no-such-command", stderr=full).returncode == 2


def test_closed_outputs_are_no_crash(tmp_path):
    begin = f"{shlex.quote(sys.executable)} -m attndyn"
    for end in (">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"):
        run = f"{begin} simulate {' '.join(SHORT)} --out {tmp_path}/run.npz {end}"
        done = subprocess.run(
            ["sh", "-c", f"{run}; echo $? >> {tmp_path}/statuses"], timeout=600
        )
        assert done.returncode == 0
        assert len(load(tmp_path / "run.npz").loss) == 20
        (tmp_path / "run.npz").unlink()
    assert (tmp_path / "statuses").read_text().split() == ["0"] * 4


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["fixed-points", *TINY], ["fixed-points", *TINY, "--json"]],
)
def test_nobody_who_reads_is_no_error(arguments):
    read, write = os.pipe()
    os.close(read)
    done = shell(*arguments, stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, b"")


# Tables

SPECTRA = {
    "few": "4,3,2,1",
    "eight": "8,7,6,5,4,4,2,1",
    "equal": "1,1,1,1",
    "large numbers": "2e7,1e6",
    "small numbers": "2e-7,1e-6",
    "many": ",".join(map(str, range(200, 0, -1))),
}


@pytest.mark.parametrize("length", ["31", "1..9"])
@pytest.mark.parametrize("spectrum", SPECTRA)
def test_a_table_of_fixed_points_fits_eighty_columns(
    capsys, monkeypatch, spectrum, length
):
    monkeypatch.setenv("COLUMNS", "80")
    arguments = [
        "fixed-points",
        "--eigenvalues",
        SPECTRA[spectrum],
        "--context-length",
        length,
        "--limit",
        "9",
    ]
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert max(map(len, lines)) <= 80
    shown = "\n".join(lines)
    assert all(f"{row['loss']:.8f}" in shown and row["kind"] in shown for row in rows)
    assert "coefficients" in shown


@pytest.mark.parametrize("columns", ["0", "1", "20", "40", "60"])
@pytest.mark.parametrize("spectrum", [name for name in SPECTRA if name != "many"])
def test_a_narrow_table_of_fixed_points_cuts_no_number(
    capsys, monkeypatch, spectrum, columns
):
    monkeypatch.setenv("COLUMNS", columns)
    arguments = [
        "fixed-points",
        "--eigenvalues",
        SPECTRA[spectrum],
        "--context-length",
        "31",
        "--limit",
        "9",
    ]
    assert main(arguments) == 0
    shown = capsys.readouterr().out
    assert main([*arguments, "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(f"{row['loss']:.8f} " in shown and row["kind"] in shown for row in rows)
    for row in rows:
        (line,) = [
            line for line in shown.splitlines() if f" {row['loss']:.8f} " in line
        ][:1]
        assert line.startswith(str(row["subset"][0]) if row["subset"] else "∅")


def test_a_table_in_ascii_has_straight_columns():
    task = ["--eigenvalues", SPECTRA["eight"], "--context-length", "31"]
    shown = shell(
        "fixed-points",
        *task,
        environment={"COLUMNS": "80", "PYTHONIOENCODING": "ascii"},
    ).stdout
    rows = [line for line in shown.decode("ascii").splitlines() if line.count("|") > 2]
    bars = {
        tuple(place for place, sign in enumerate(line) if sign == "|") for line in rows
    }
    assert len(bars) == 1
    assert len(rows) > 256
    assert max(map(len, rows)) <= 80


LONG = "a long account of what is there " * 9


def long_ledger(count):
    """Verdicts whose texts are long: the last one is refuted."""
    (verdict,) = verify(["fixed_points.count"], workers=1).verdicts
    names = [f"across_seeds.separate_later_exits_{number}" for number in range(count)]
    made = [
        replace(
            verdict,
            claim=replace(verdict.claim, id=name),
            evidence=replace(verdict.evidence, observed=LONG, expected=f"ώ {LONG}"),
            seconds=1234.5,
        )
        for name in names
    ]
    accepted = ("exponent 4 for 5", "no last term")
    variants = replace(verdict.variants, accepted=accepted)
    wrong = replace(made[-1], level="inconclusive", variants=variants)
    return Ledger((*made[:-1], wrong), 0)


@pytest.mark.parametrize("columns", ["80", "100", "200"])
@pytest.mark.parametrize("count", [2, 40])
def test_a_table_of_verdicts_fits_its_columns(
    capsys, monkeypatch, tmp_path, columns, count
):
    monkeypatch.setenv("COLUMNS", columns)
    ledger = long_ledger(count)
    print_ledger(ledger, Path("results"))
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= int(columns)
    shown = "\n".join(lines)
    assert all(verdict.id in shown for verdict in ledger.verdicts)
    assert shown.count("numerical") == count - 1
    assert "…" not in shown
    beside = int(columns) >= 120  # observed and expected stand in the table itself
    told = shown.count("observed a long account")
    assert told == (0 if beside else 2 if count == 2 else 1)
    assert f"{count - 1} of {count} claims are as expected" in shown


def test_what_rests_on_a_red_claim_is_named(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    (verdict,) = verify(["fixed_points.count"], workers=1).verdicts
    red = replace(verdict, level="refuted")
    assuming = replace(verdict.claim, id="made.up", assumes=(verdict.id,))
    print_ledger(Ledger((red, replace(verdict, claim=assuming)), 0), Path("results"))
    lines = capsys.readouterr().out.splitlines()
    assert "made.up rests on fixed_points.count, not as expected" in lines
