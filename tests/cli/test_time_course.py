"""attndyn time-course: the predicted curve as a table, JSON, CSV, npz and figure."""

import csv
import json

import numpy as np
import pytest

from attndyn import Merged, Separate, Task
from attndyn.cli import main
from attndyn.simulate import initial_weights, load
from attndyn.theory import TimeCourse, time_course

TASK = Task([2, 1], context_length=31)
TINY = ["--eigenvalues", "2,1", "--context-length", "31"]
TIMES = ["--flow-time", "0,10,1/2"]

CURVES = {
    "one number": (["--start", "0.1"], Separate(2), 0.1, 0.0),
    "one a direction": (["--start", "0.1,-0.2"], Separate(2), [0.1, -0.2], 0.0),
    "decay": (
        ["--start", "0.1", "--weight-decay", "3/100"],
        Separate(2),
        0.1,
        0.03,
    ),
    "rank 2": (
        ["--start", "0.1", "--heads", "1", "--rank", "2"],
        Separate(1, 2),
        0.1,
        0.0,
    ),
    "merged": (["--start", "0.1", "--model", "merged"], Merged(2), 0.1, 0.0),
    "merged pair": (
        ["--start", "0.1,0.2", "--model", "merged"],
        Merged(2),
        (0.1, 0.2),
        0.0,
    ),
    "merged with each u": (
        ["--start", "0.1,0.2,0", "--model", "merged"],
        Merged(2),
        (0.1, [0.2, 0.0]),
        0.0,
    ),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_curve_is_that_of_the_options(name, capsys):
    options, model, start, decay = CURVES[name]
    assert main(["time-course", *TINY, *TIMES, *options, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    wanted = time_course(TASK, model, [0, 10, 0.5], start, weight_decay=decay)
    assert printed == wanted.to_dict()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A run of attndyn simulate, and its first weights by name."""
    folder = tmp_path_factory.mktemp("starts")
    simulated = ["--sequences", "50", "--learning-rate", "0.01", "--steps", "5"]
    run = folder / "run.npz"
    assert (
        main(["simulate", *TINY, *simulated, "--scale", "0.1", "--out", str(run)]) == 0
    )
    start = initial_weights(Separate(2), TASK, 0.1)
    np.savez(folder / "weights.npz", **start)
    np.savez(folder / "others.npz", value=start["value"])
    return folder


@pytest.mark.parametrize("file", ["run.npz", "weights.npz"])
def test_a_file_says_where_it_starts(file, weights, capsys):
    start = ["--start", str(weights / file)]
    assert main(["time-course", *TINY, *TIMES, *start, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    first = load(weights / "run.npz").initial
    assert printed == time_course(TASK, Separate(2), [0, 10, 0.5], first).to_dict()
    assert printed["source"] == "staircase"


def test_files_of_every_format_hold_the_curve(tmp_path, capsys):
    begin = ["time-course", *TINY, "--start", "0.1", "--until", "20"]
    magic = {"pdf": b"%PDF", "png": b"\x89PNG", "SVG": b"<?xml"}
    for ending in ("csv", "json", "npz", *magic):
        out = tmp_path / "ein Ordner" / f"Verlauf ü.{ending}"
        assert main([*begin, "--out", str(out)]) == 0
        shown = capsys.readouterr().out
        assert shown.startswith(f"{out}: theory (closed form), 401 times, loss 2.99")
        assert out.read_bytes().startswith(magic.get(ending, b""))
    folder = tmp_path / "ein Ordner"
    wanted = time_course(TASK, Separate(2), np.linspace(0, 20, 401), 0.1)
    for read in (
        json.loads((folder / "Verlauf ü.json").read_text()),
        TimeCourse.load(folder / "Verlauf ü.npz").to_dict(),
    ):
        assert read["source"] == wanted.source
        np.testing.assert_allclose(read["loss"], wanted.loss, rtol=1e-12)
    with open(folder / "Verlauf ü.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "flow_time",
        "loss",
        "coefficient_1",
        "coefficient_2",
        "amplitude_1",
        "amplitude_2",
    ]
    np.testing.assert_allclose(
        [float(row["amplitude_2"]) for row in rows], wanted.amplitudes[:, 1], rtol=1e-12
    )


def test_a_merged_curve_names_s_and_u(tmp_path):
    out = tmp_path / "merged.csv"
    begin = ["time-course", *TINY, "--model", "merged", "--start", "0.1"]
    assert main([*begin, "--until", "9", "--points", "3", "--out", str(out)]) == 0
    head, *rows = out.read_text().splitlines()
    assert head == "flow_time,loss,coefficient_1,coefficient_2,s,u_1,u_2"
    assert [float(row.split(",")[0]) for row in rows] == [0, 4.5, 9]


def test_the_table_has_a_row_for_each_time(capsys):
    assert main(["time-course", *TINY, "--start", "0.1", "--until", "20"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("theory (closed form)")
    assert len(shown.splitlines()) == 3 + 21
    wanted = time_course(TASK, Separate(2), [20.0], 0.1)
    assert f"{wanted.loss[0]:.8f}" in shown


def test_a_file_that_is_there_is_replaced_only_if_asked(tmp_path, capsys):
    out = tmp_path / "course.csv"
    out.write_text("mine")
    begin = ["time-course", *TINY, "--start", "0.1", "--until", "9", "--out", str(out)]
    assert main(begin) == 2
    assert "is there already: pass --force" in capsys.readouterr().err
    assert out.read_text() == "mine"
    assert main([*begin, "--force"]) == 0
    assert out.read_text().startswith("flow_time,loss")


WRONG = {
    "neither": ([], "pass --until for a curve from 0 on, or --flow-time"),
    "both": (["--until", "9", *TIMES], "one of the two"),
    "points of own times": (["--points", "9", *TIMES], "leave it out"),
    "time": (["--flow-time", "0,x"], "--flow-time must be numbers"),
    "negative": (["--flow-time=-1"], "flow_time must be finite and zero or more"),
    "until": (["--until", "0"], "--until must be positive and finite"),
    "endless": (["--until", "inf"], "--until must be positive and finite"),
    "one point": (["--until", "9", "--points", "1"], "1 is less than 2"),
    "points": (["--until", "9", "--points", "1e9"], "--points must be at most 100000"),
    "start": ([*TIMES, "--start", "x"], "--start must be amplitudes such as 0.1"),
    "too many": ([*TIMES, "--start", "1,2,3"], "have shape (2,), not (3,)"),
    "heads": ([*TIMES, "--start", "1,2", "--heads", "1"], "hold 1 directions"),
    "decay": ([*TIMES, "--weight-decay=-1"], "weight_decay must be zero or more"),
    "format": ([*TIMES, "--out", "c.txt"], ".csv, .json, .npz, .pdf, .png or .svg"),
    "its start": (
        [*TIMES, "--start", "run.npz", "--out", "./run.npz", "--force"],
        "--out and --start name one file",
    ),
    "no file": ([*TIMES, "--start", "absent.npz"], "cannot read or write"),
    "half the weights": ([*TIMES, "--start", "others.npz"], "key is missing"),
    "run of another model": (
        [*TIMES, "--start", "run.npz", "--heads", "1"],
        "value must have shape",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_mistake_is_one_line(name, weights, monkeypatch, capsys):
    monkeypatch.chdir(weights)
    options, message = WRONG[name]
    start = [] if "--start" in options else ["--start", "0.1"]
    assert main(["time-course", *TINY, *start, *options]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.splitlines()
    assert line.startswith("attndyn: ")
    assert message in line
